/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A store that is a mount of the Linux kernel's UDF driver.
 *
 * The driver tells nothing of the volume, so its descriptors are read from
 * the device, through the same cache of the device that the driver writes
 * them to: what is read is what it has written last. It manages no defects.
 *
 * A file's key is the volume's identity and the inode number, which the
 * driver makes of the place of the file's ICB: the same after each mount. The
 * same two are smbd's file id.
 */
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "store.h"
#include "smbd/smbd.h"
#include "udf_store/volume.h"

/* statfs(2) f_type of the kernel's UDF file system. */
#define UDF_SUPER_MAGIC_NUMBER 0x15013346

/* Reads of the integrity descriptor, with a sync between them. */
#define INTEGRITY_TRIES 5

static_assert(UDF_STORE_VOLUME_ID_LEN == UDF_VOLUME_ID_LEN,
	      "the identity is copied as it is");

struct store_kernel {
	int root_fd; /* keeps the volume that was looked at mounted */
	dev_t dev;
	uint8_t volume_id[UDF_STORE_VOLUME_ID_LEN];
	bool told_unmanaged;
};

static int store_kernel_destructor(struct store_kernel *s)
{
	if (s->root_fd != -1) {
		close(s->root_fd);
		s->root_fd = -1;
	}
	return 0;
}

/*
 * The name of the device that is mounted, by sysfs: it says DEVNAME=NAME for
 * /dev/NAME. NULL: there is no such device, or no memory.
 */
static char *device_path(TALLOC_CTX *mem_ctx, dev_t dev)
{
	char line[NAME_MAX] = "";
	const char key[] = "DEVNAME=";
	char *uevent = NULL;
	char *path = NULL;
	FILE *file = NULL;
	struct stat st;
	int ret = -1;

	uevent = talloc_asprintf(mem_ctx,
				 "/sys/dev/block/%u:%u/uevent",
				 major(dev),
				 minor(dev));
	if (uevent == NULL) {
		return NULL;
	}
	file = fopen(uevent, "re");
	TALLOC_FREE(uevent);
	if (file == NULL) {
		return NULL;
	}
	while (path == NULL && fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, key, strlen(key)) != 0) {
			continue;
		}
		line[strcspn(line, "\n")] = '\0';
		path = talloc_asprintf(mem_ctx, "/dev/%s", line + strlen(key));
	}
	fclose(file);
	if (path == NULL) {
		return NULL;
	}

	ret = stat(path, &st);
	if (ret == -1 || !S_ISBLK(st.st_mode) || st.st_rdev != dev) {
		TALLOC_FREE(path);
	}
	return path;
}

static void store_kernel_log(void *private_data,
			     enum udf_log_level level,
			     const char *line)
{
	const char *path = private_data;

	if (level <= UDF_LOG_WARNING) {
		DBG_WARNING("%s: %s\n", path, line);
	} else {
		DBG_DEBUG("%s: %s\n", path, line);
	}
}

/*
 * Open the mounted volume's device, to be closed with udf_volume_close(). Only
 * root may read it.
 */
static NTSTATUS open_volume(struct store_kernel *s, struct udf_volume **volume)
{
	struct udf_volume_options options = {
		.read_only = true,
		.no_defect_management = true,
		.log = store_kernel_log,
	};
	char *path = NULL;
	int ret = -1;

	path = device_path(talloc_tos(), s->dev);
	if (path == NULL) {
		DBG_WARNING("no device %u:%u of the mounted volume in /sys and "
			    "/dev: its descriptors cannot be read\n",
			    major(s->dev),
			    minor(s->dev));
		return NT_STATUS_INVALID_DEVICE_REQUEST;
	}
	options.log_private = path;

	become_root();
	ret = udf_volume_open(path, &options, volume);
	unbecome_root();

	if (ret < 0) {
		DBG_WARNING("%s: %s\n", path, strerror(-ret));
	}
	TALLOC_FREE(path);
	/* The kernel has it mounted: what we cannot read, we do not serve. */
	return (ret < 0) ? NT_STATUS_INVALID_DEVICE_REQUEST : NT_STATUS_OK;
}

static NTSTATUS store_kernel_sparing_info(struct udf_store *store,
					  struct fsctl_sparing_info *info)
{
	struct store_kernel *s = talloc_get_type_abort(store->private_data,
						       struct store_kernel);
	struct udf_sparing_status sparing = { .packet_blocks = 0 };
	const struct udf_volume_info *about = NULL;
	struct udf_volume *volume = NULL;
	NTSTATUS status;

	status = open_volume(s, &volume);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}
	about = udf_volume_info(volume);
	udf_volume_sparing_status(volume, &sparing);
	*info = (struct fsctl_sparing_info) {
		.unit_bytes = sparing.packet_blocks * about->block_size,
		/* The table is there, but the driver relocates nothing. */
		.software_sparing = false,
		.total_blocks = sparing.total_packets * sparing.packet_blocks,
		.free_blocks = sparing.free_packets * sparing.packet_blocks,
	};
	udf_volume_close(volume);
	return NT_STATUS_OK;
}

/*
 * While it counts, the driver leaves the integrity descriptor with the
 * checksum of before, and puts that right when the file system is synced.
 */
static NTSTATUS open_volume_whole(struct store_kernel *s,
				  struct udf_volume **_volume,
				  struct udf_integrity *integrity)
{
	struct udf_volume *volume = NULL;
	NTSTATUS status;
	int try = 0;
	int ret = -1;

	for (try = 0; try < INTEGRITY_TRIES; try++) {
		status = open_volume(s, &volume);
		if (!NT_STATUS_IS_OK(status)) {
			return status;
		}
		udf_volume_get_integrity(volume, integrity);
		if (integrity->recorded.tv_sec != 0) {
			*_volume = volume;
			return NT_STATUS_OK;
		}
		udf_volume_close(volume);

		ret = syncfs(s->root_fd);
		if (ret == -1) {
			return map_nt_error_from_unix(errno);
		}
	}
	/* Busy all the time, or damaged. */
	return NT_STATUS_DEVICE_DATA_ERROR;
}

/* What UDF keeps in the file set and not in the volume. */
static NTSTATUS read_file_set(struct udf_volume *volume, struct udf_fsd *fsd)
{
	const struct udf_volume_info *about = udf_volume_info(volume);
	uint8_t *block = NULL;
	int ret = -1;

	block = talloc_array(talloc_tos(), uint8_t, about->block_size);
	if (block == NULL) {
		return NT_STATUS_NO_MEMORY;
	}
	ret = udf_volume_read(volume, about->file_set, 1, block);
	if (ret == 0) {
		ret = decode_fsd(
			block,
			about->block_size,
			udf_volume_location(about, about->file_set).block,
			fsd);
	}
	TALLOC_FREE(block);
	return (ret < 0) ? NT_STATUS_IO_DEVICE_ERROR : NT_STATUS_OK;
}

static NTSTATUS store_kernel_volume_info(struct udf_store *store,
					 TALLOC_CTX *mem_ctx,
					 struct fsctl_volume_info *info)
{
	struct store_kernel *s = talloc_get_type_abort(store->private_data,
						       struct store_kernel);
	const struct udf_volume_info *about = NULL;
	struct udf_integrity integrity = { .closed = false };
	struct udf_fsd fsd = { .number = 0 };
	struct udf_volume *volume = NULL;
	const char *copyright = NULL;
	const char *abstract = NULL;
	const char *formatter = NULL;
	const char *modifier = NULL;
	NTSTATUS status;

	status = open_volume_whole(s, &volume, &integrity);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}
	status = read_file_set(volume, &fsd);
	if (!NT_STATUS_IS_OK(status)) {
		goto done;
	}
	about = udf_volume_info(volume);

	copyright = talloc_strdup(mem_ctx, fsd.copyright);
	abstract = talloc_strdup(mem_ctx, fsd.abstract);
	formatter = talloc_strdup(mem_ctx, about->formatter);
	modifier = talloc_strdup(mem_ctx, integrity.modifier);
	if (copyright == NULL || abstract == NULL ||
	    formatter == NULL || modifier == NULL)
	{
		status = NT_STATUS_NO_MEMORY;
		goto done;
	}

	*info = (struct fsctl_volume_info) {
		/* The driver counts in the descriptor, open or closed. */
		.directory_count = integrity.directories,
		.file_count = integrity.files,
		.udf_revision = about->revision,
		.format_time = {
			.sec = about->format_time.tv_sec,
			.nsec = (uint32_t)about->format_time.tv_nsec,
		},
		.update_time = {
			.sec = integrity.recorded.tv_sec,
			.nsec = (uint32_t)integrity.recorded.tv_nsec,
		},
		.copyright = copyright,
		.abstract = abstract,
		.formatter = formatter,
		.modifier = modifier,
	};
done:
	udf_volume_close(volume);
	return status;
}

static bool store_kernel_defect_managed(struct udf_store *store)
{
	struct store_kernel *s = talloc_get_type_abort(store->private_data,
						       struct store_kernel);

	if (!s->told_unmanaged) {
		DBG_WARNING("the kernel's udf driver manages no defects: "
			    "FSCTL_SET_DEFECT_MANAGEMENT is refused. Mount "
			    "the volume with udfd to have it\n");
		s->told_unmanaged = true;
	}
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
	struct store_kernel *s = talloc_get_type_abort(store->private_data,
						       struct store_kernel);
	struct stat st;
	int ret = -1;

	ret = fstat(fd, &st);
	if (ret == -1) {
		return map_nt_error_from_unix(errno);
	}
	if (st.st_dev != s->dev) {
		/* Of another file system, mounted below the share. */
		return NT_STATUS_INVALID_DEVICE_REQUEST;
	}

	*key = (struct udf_file_key) { .unique_id = st.st_ino };
	memcpy(key->volume_id, s->volume_id, sizeof(key->volume_id));
	return NT_STATUS_OK;
}

/* The driver's fsync saves a file, and not the directory it is in. */
static NTSTATUS store_kernel_commit(struct udf_store *store, int fd)
{
	struct store_kernel *s = talloc_get_type_abort(store->private_data,
						       struct store_kernel);
	int ret = -1;

	ret = syncfs(s->root_fd);
	if (ret == -1) {
		return map_nt_error_from_unix(errno);
	}
	return NT_STATUS_OK;
}

static const struct udf_store_ops store_kernel_ops = {
	.name = "kernel",
	.sparing_info = store_kernel_sparing_info,
	.volume_info = store_kernel_volume_info,
	.defect_managed = store_kernel_defect_managed,
	.set_defect_management = store_kernel_set_defect_management,
	.file_key = store_kernel_file_key,
	.commit = store_kernel_commit,
};

/*
 * The volume's identity. Without its device the number of the device has to
 * do: good on this machine, while the volume is mounted.
 */
static void take_identity(struct udf_store *store, struct store_kernel *s)
{
	struct udf_volume *volume = NULL;
	uint64_t dev = s->dev;
	NTSTATUS status;

	status = open_volume(s, &volume);
	if (!NT_STATUS_IS_OK(status)) {
		memcpy(s->volume_id, &dev, sizeof(dev));
		return;
	}
	memcpy(s->volume_id,
	       udf_volume_info(volume)->volume_id,
	       sizeof(s->volume_id));
	udf_volume_close(volume);

	store->lasting_dev = udf_store_lasting_dev(s->volume_id);
}

NTSTATUS store_kernel_open(TALLOC_CTX *mem_ctx,
			   int fd,
			   struct udf_store **_store)
{
	struct udf_store *store = NULL;
	struct store_kernel *s = NULL;
	struct statfs fs;
	struct stat st;
	int ret = -1;

	ret = fstatfs(fd, &fs);
	if (ret == -1) {
		return map_nt_error_from_unix(errno);
	}
	if (fs.f_type != UDF_SUPER_MAGIC_NUMBER) {
		return NT_STATUS_NOT_FOUND;
	}
	ret = fstat(fd, &st);
	if (ret == -1) {
		return map_nt_error_from_unix(errno);
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
	s->dev = st.st_dev;
	take_identity(store, s);
	talloc_set_destructor(s, store_kernel_destructor);

	store->ops = &store_kernel_ops;
	store->private_data = s;
	store->mounted_dev = s->dev;
	store->read_only = ((fs.f_flags & ST_RDONLY) != 0);

	*_store = store;
	return NT_STATUS_OK;
}
