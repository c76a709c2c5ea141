/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The UDF file system under a share, as the module sees it.
 *
 * A store is found once, at tree connect. Only store_*.c know what kind it
 * is. The functions that take an fd want one that was opened for real, not
 * with O_PATH; they may be called as the connected user.
 */
#ifndef VFS_UDF_STORE_H
#define VFS_UDF_STORE_H

#include "includes.h"
#include "fsctl_codec.h"

#define UDF_STORE_VOLUME_ID_LEN 16

/*
 * Who a file (a stream of a file) is: the same on every machine and after
 * every mount.
 */
struct udf_file_key {
	uint8_t volume_id[UDF_STORE_VOLUME_ID_LEN];
	uint64_t unique_id;
	uint64_t stream_id;
};

struct udf_store;

struct udf_store_ops {
	const char *name;

	/*
	 * The queries. NT_STATUS_INVALID_DEVICE_REQUEST: this store cannot
	 * tell. The texts of volume_info are talloc children of mem_ctx.
	 */
	NTSTATUS (*sparing_info)(struct udf_store *store,
				 struct fsctl_sparing_info *info);
	NTSTATUS (*volume_info)(struct udf_store *store,
				TALLOC_CTX *mem_ctx,
				struct fsctl_volume_info *info);

	/*
	 * Is software defect management there to be turned off? And do it
	 * for the file of an fd that is open for writing; *was is how it
	 * was before.
	 */
	bool (*defect_managed)(struct udf_store *store);
	NTSTATUS (*set_defect_management)(struct udf_store *store,
					  int fd,
					  bool disable,
					  bool *was);

	NTSTATUS (*file_key)(struct udf_store *store,
			     int fd,
			     struct udf_file_key *key);

	/*
	 * All names are on the medium when this returns, and so is the file
	 * of an fd (-1: none).
	 */
	NTSTATUS (*commit)(struct udf_store *store, int fd);
};

struct udf_store {
	const struct udf_store_ops *ops;
	bool read_only;
	/* Punches holes, and keeps the extended attribute of the flag. */
	bool sparse_files;
	/*
	 * st_dev of its files, as it is mounted now, and what stands for the
	 * volume wherever it is mounted, if st_ino is as lasting; else 0.
	 */
	dev_t mounted_dev;
	uint64_t lasting_dev;
	void *private_data;
};

/* A volume's identity in the 64 bits that smbd has for a device. */
static inline uint64_t
udf_store_lasting_dev(const uint8_t volume_id[UDF_STORE_VOLUME_ID_LEN])
{
	return BVAL(volume_id, 0) ^ BVAL(volume_id, 8);
}

/*
 * Look whether fd, the share's root directory, is on a store of this kind.
 * NT_STATUS_NOT_FOUND: it is not. The store lives on mem_ctx and takes fd
 * over when it is found.
 */
NTSTATUS store_udfd_open(TALLOC_CTX *mem_ctx,
			 int fd,
			 struct udf_store **store);
NTSTATUS store_kernel_open(TALLOC_CTX *mem_ctx,
			   int fd,
			   struct udf_store **store);

#endif /* VFS_UDF_STORE_H */
