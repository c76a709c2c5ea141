/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A store that is a udfd mount: everything goes by ioctl on an open file of
 * the mount (include/udfd_ioctl.h).
 */
#include "store.h"
#include "udfd_ioctl.h"

struct store_udfd {
	int root_fd; /* the share's root, for questions about the volume */
	bool defect_managed; /* as long as it is mounted */
	bool told; /* that it fails */
};

static int store_udfd_destructor(struct store_udfd *s)
{
	if (s->root_fd != -1) {
		close(s->root_fd);
		s->root_fd = -1;
	}
	return 0;
}

/*
 * The daemon may have gone, or another file system may have been mounted
 * over: every reply is checked, none of these errors is the client's fault.
 * But the client decides how often it asks: only the first is for everybody's
 * log.
 */
static NTSTATUS
store_udfd_error(struct udf_store *store, const char *what, int err)
{
	struct store_udfd *s = talloc_get_type_abort(store->private_data,
						     struct store_udfd);

	if (!s->told) {
		DBG_ERR("udfd: %s: %s; further failures are logged at level "
			"3\n",
			what,
			strerror(err));
		s->told = true;
	} else {
		DBG_NOTICE("udfd: %s: %s\n", what, strerror(err));
	}

	switch (err) {
	case ENOTTY:
	case EIO:
	case ENOTCONN:
		return NT_STATUS_IO_DEVICE_ERROR;
	default:
		return map_nt_error_from_unix(err);
	}
}

static bool store_udfd_is_reply(uint32_t magic, uint32_t version)
{
	return magic == UDFD_IOCTL_MAGIC && version == UDFD_IOCTL_VERSION;
}

static NTSTATUS store_udfd_get_volume(struct udf_store *store,
				      struct udfd_volume_info *info)
{
	struct store_udfd *s = talloc_get_type_abort(store->private_data,
						     struct store_udfd);
	int ret = -1;

	*info = (struct udfd_volume_info){0};

	ret = ioctl(s->root_fd, UDFD_IOC_VOLUME_INFO, info);
	if (ret == -1) {
		return store_udfd_error(store, "UDFD_IOC_VOLUME_INFO", errno);
	}
	if (!store_udfd_is_reply(info->magic, info->version)) {
		return store_udfd_error(store, "UDFD_IOC_VOLUME_INFO", EIO);
	}
	return NT_STATUS_OK;
}

static NTSTATUS store_udfd_get_sparing(struct udf_store *store,
				       struct udfd_sparing_info *info)
{
	struct store_udfd *s = talloc_get_type_abort(store->private_data,
						     struct store_udfd);
	int ret = -1;

	*info = (struct udfd_sparing_info){0};

	ret = ioctl(s->root_fd, UDFD_IOC_SPARING_INFO, info);
	if (ret == -1) {
		return store_udfd_error(store, "UDFD_IOC_SPARING_INFO", errno);
	}
	if (!store_udfd_is_reply(info->magic, info->version)) {
		return store_udfd_error(store, "UDFD_IOC_SPARING_INFO", EIO);
	}
	return NT_STATUS_OK;
}

static NTSTATUS store_udfd_sparing_info(struct udf_store *store,
					struct fsctl_sparing_info *info)
{
	struct udfd_sparing_info raw;
	NTSTATUS status;

	status = store_udfd_get_sparing(store, &raw);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}

	*info = (struct fsctl_sparing_info) {
		.unit_bytes = raw.packet_bytes,
		.software_sparing = (raw.defect_managed != 0),
		.total_blocks = raw.total_spare_blocks,
		.free_blocks = raw.free_spare_blocks,
	};
	return NT_STATUS_OK;
}

static NTSTATUS store_udfd_volume_info(struct udf_store *store,
				       TALLOC_CTX *mem_ctx,
				       struct fsctl_volume_info *info)
{
	struct udfd_volume_info raw;
	const char *copyright = NULL;
	const char *abstract = NULL;
	const char *formatter = NULL;
	const char *modifier = NULL;
	NTSTATUS status;

	status = store_udfd_get_volume(store, &raw);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}

	copyright = talloc_strndup(mem_ctx, raw.copyright, UDFD_TEXT_LEN);
	abstract = talloc_strndup(mem_ctx, raw.abstract, UDFD_TEXT_LEN);
	formatter = talloc_strndup(mem_ctx, raw.formatter, UDFD_TEXT_LEN);
	modifier = talloc_strndup(mem_ctx, raw.modifier, UDFD_TEXT_LEN);
	if (copyright == NULL || abstract == NULL ||
	    formatter == NULL || modifier == NULL)
	{
		return NT_STATUS_NO_MEMORY;
	}

	*info = (struct fsctl_volume_info) {
		.directory_count = raw.directory_count,
		.file_count = raw.file_count,
		.udf_revision = raw.udf_revision,
		.format_time = {
			.sec = raw.format_time_sec,
			.nsec = raw.format_time_nsec,
		},
		.update_time = {
			.sec = raw.update_time_sec,
			.nsec = raw.update_time_nsec,
		},
		.copyright = copyright,
		.abstract = abstract,
		.formatter = formatter,
		.modifier = modifier,
	};
	return NT_STATUS_OK;
}

static bool store_udfd_defect_managed(struct udf_store *store)
{
	struct store_udfd *s = talloc_get_type_abort(store->private_data,
						     struct store_udfd);

	return s->defect_managed;
}

/* In two round trips, for a udfd that does not know the one that does both. */
static int store_udfd_get_and_set(int fd,
				  const struct udfd_defect_management *dm,
				  struct udfd_defect_management *before)
{
	int ret = -1;

	ret = ioctl(fd, UDFD_IOC_GET_DEFECT_MANAGEMENT, before);
	if (ret == 0) {
		ret = ioctl(fd, UDFD_IOC_SET_DEFECT_MANAGEMENT, dm);
	}
	return ret;
}

static NTSTATUS store_udfd_set_defect_management(struct udf_store *store,
						 int fd,
						 bool disable,
						 bool *was)
{
	const struct udfd_defect_management dm = {
		.magic = UDFD_IOCTL_MAGIC,
		.version = UDFD_IOCTL_VERSION,
		.disabled = disable ? 1 : 0,
	};
	struct udfd_defect_management before = dm;
	int ret = -1;

	/* The reply takes the request's place. */
	ret = ioctl(fd, UDFD_IOC_EXCHANGE_DEFECT_MANAGEMENT, &before);
	if (ret == -1 && errno == ENOTTY) {
		ret = store_udfd_get_and_set(fd, &dm, &before);
	}
	if (ret == 0) {
		*was = (before.disabled != 0);
		return NT_STATUS_OK;
	}

	switch (errno) {
	case EOPNOTSUPP:
		return NT_STATUS_INVALID_DEVICE_REQUEST;
	case EISDIR:
		return NT_STATUS_INVALID_PARAMETER;
	case EBADF:
		return NT_STATUS_ACCESS_DENIED;
	default:
		return store_udfd_error(store,
					"UDFD_IOC_EXCHANGE_DEFECT_MANAGEMENT",
					errno);
	}
}

static NTSTATUS store_udfd_file_key(struct udf_store *store,
				    int fd,
				    struct udf_file_key *key)
{
	struct udfd_file_id raw = { .magic = 0 };
	int ret = -1;

	ret = ioctl(fd, UDFD_IOC_FILE_ID, &raw);
	if (ret == -1 && errno == ENOTTY) {
		/*
		 * Not a file of the store: an alternate stream that a module
		 * keeps in an extended attribute has no descriptor of its
		 * own.
		 */
		return NT_STATUS_INVALID_DEVICE_REQUEST;
	}
	if (ret == -1) {
		return store_udfd_error(store, "UDFD_IOC_FILE_ID", errno);
	}
	if (!store_udfd_is_reply(raw.magic, raw.version)) {
		return store_udfd_error(store, "UDFD_IOC_FILE_ID", EIO);
	}

	*key = (struct udf_file_key) {
		.unique_id = raw.unique_id,
		.stream_id = raw.stream_id,
	};
	memcpy(key->volume_id, raw.volume_id, sizeof(key->volume_id));
	return NT_STATUS_OK;
}

/* udfd saves what is known of all names with each file. */
static NTSTATUS store_udfd_commit(struct udf_store *store, int fd)
{
	struct store_udfd *s = talloc_get_type_abort(store->private_data,
						     struct store_udfd);
	int ret = -1;

	if (fd != -1) {
		ret = fsync(fd);
		if (ret == -1 && errno == EINVAL) {
			/* Not a file of the store, as above. */
			fd = -1;
		}
	}
	if (fd == -1) {
		ret = fsync(s->root_fd);
	}
	if (ret == -1) {
		return store_udfd_error(store, "fsync", errno);
	}
	return NT_STATUS_OK;
}

static const struct udf_store_ops store_udfd_ops = {
	.name = "udfd",
	.sparing_info = store_udfd_sparing_info,
	.volume_info = store_udfd_volume_info,
	.defect_managed = store_udfd_defect_managed,
	.set_defect_management = store_udfd_set_defect_management,
	.file_key = store_udfd_file_key,
	.commit = store_udfd_commit,
};

/* udfd's inode numbers are UDF unique ids. */
static void store_udfd_set_dev(struct udf_store *store,
			       int fd,
			       const struct udfd_volume_info *info)
{
	struct stat st = { .st_dev = 0 };
	int ret = -1;

	ret = fstat(fd, &st);
	if (ret == -1) {
		return;
	}
	store->mounted_dev = st.st_dev;
	store->lasting_dev = udf_store_lasting_dev(info->volume_id);
}

NTSTATUS store_udfd_open(TALLOC_CTX *mem_ctx,
			 int fd,
			 struct udf_store **_store)
{
	struct udf_store *store = NULL;
	struct store_udfd *s = NULL;
	struct udfd_volume_info info = { .magic = 0 };
	int ret = -1;

	ret = ioctl(fd, UDFD_IOC_VOLUME_INFO, &info);
	if (ret == -1 || info.magic != UDFD_IOCTL_MAGIC) {
		return NT_STATUS_NOT_FOUND;
	}
	if (info.version != UDFD_IOCTL_VERSION) {
		DBG_ERR("udfd speaks version %"PRIu32" of its ioctls, this "
			"module version %u: install both from one release\n",
			info.version,
			UDFD_IOCTL_VERSION);
		return NT_STATUS_REVISION_MISMATCH;
	}

	store = talloc_zero(mem_ctx, struct udf_store);
	if (store == NULL) {
		return NT_STATUS_NO_MEMORY;
	}
	s = talloc_zero(store, struct store_udfd);
	if (s == NULL) {
		TALLOC_FREE(store);
		return NT_STATUS_NO_MEMORY;
	}
	s->root_fd = fd;
	s->defect_managed = ((info.flags & UDFD_VOLUME_DEFECT_MANAGED) != 0);
	talloc_set_destructor(s, store_udfd_destructor);

	store->ops = &store_udfd_ops;
	store->private_data = s;
	store->read_only = ((info.flags & UDFD_VOLUME_READ_ONLY) != 0);
	/* udfd has extended attributes from UDF 2.00 on. */
	store->sparse_files = (flistxattr(fd, NULL, 0) != -1);
	store_udfd_set_dev(store, fd, &info);

	*_store = store;
	return NT_STATUS_OK;
}
