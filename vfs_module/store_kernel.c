/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A store that is a mount of the Linux kernel's UDF driver.
 *
 * The driver neither spares nor tells about sparing, so defect management and
 * the two queries are refused; purge-failure mode needs nothing of it. A
 * file's key is its device and inode number, good while it is mounted.
 */
#include <sys/vfs.h>

#include "store.h"

/* statfs(2) f_type of the kernel's UDF file system. */
#define UDF_SUPER_MAGIC_NUMBER 0x15013346

struct store_kernel {
	int root_fd; /* keeps the volume that was looked at mounted */
};

static int store_kernel_destructor(struct store_kernel *s)
{
	if (s->root_fd != -1) {
		close(s->root_fd);
		s->root_fd = -1;
	}
	return 0;
}

static NTSTATUS store_kernel_sparing_info(struct udf_store *store,
					  struct fsctl_sparing_info *info)
{
	return NT_STATUS_INVALID_DEVICE_REQUEST;
}

static NTSTATUS store_kernel_volume_info(struct udf_store *store,
					 TALLOC_CTX *mem_ctx,
					 struct fsctl_volume_info *info)
{
	return NT_STATUS_INVALID_DEVICE_REQUEST;
}

static bool store_kernel_defect_managed(struct udf_store *store)
{
	return false;
}

static NTSTATUS store_kernel_set_defect_management(struct udf_store *store,
						   int fd,
						   bool disable,
						   bool *was)
{
	return NT_STATUS_INVALID_DEVICE_REQUEST;
}

static NTSTATUS store_kernel_file_key(struct udf_store *store,
				      int fd,
				      struct udf_file_key *key)
{
	struct stat st;
	uint64_t dev = 0;
	int ret = -1;

	ret = fstat(fd, &st);
	if (ret == -1) {
		return map_nt_error_from_unix(errno);
	}

	*key = (struct udf_file_key) { .unique_id = st.st_ino };
	dev = st.st_dev;
	memcpy(key->volume_id, &dev, sizeof(dev));
	return NT_STATUS_OK;
}

static const struct udf_store_ops store_kernel_ops = {
	.name = "kernel",
	.sparing_info = store_kernel_sparing_info,
	.volume_info = store_kernel_volume_info,
	.defect_managed = store_kernel_defect_managed,
	.set_defect_management = store_kernel_set_defect_management,
	.file_key = store_kernel_file_key,
};

NTSTATUS store_kernel_open(TALLOC_CTX *mem_ctx,
			   int fd,
			   struct udf_store **_store)
{
	struct udf_store *store = NULL;
	struct store_kernel *s = NULL;
	struct statfs fs;
	int ret = -1;

	ret = fstatfs(fd, &fs);
	if (ret == -1) {
		return map_nt_error_from_unix(errno);
	}
	if (fs.f_type != UDF_SUPER_MAGIC_NUMBER) {
		return NT_STATUS_NOT_FOUND;
	}

	store = talloc_zero(mem_ctx, struct udf_store);
	if (store == NULL) {
		return NT_STATUS_NO_MEMORY;
	}
	s = talloc_zero(store, struct store_kernel);
	if (s == NULL) {
		TALLOC_FREE(store);
		return NT_STATUS_NO_MEMORY;
	}
	s->root_fd = fd;
	talloc_set_destructor(s, store_kernel_destructor);

	store->ops = &store_kernel_ops;
	store->private_data = s;
	store->read_only = ((fs.f_flags & ST_RDONLY) != 0);

	*_store = store;
	return NT_STATUS_OK;
}
