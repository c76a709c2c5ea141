/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The ioctls of include/udfd_ioctl.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "fs.h"
#include "fuse_ops.h"
#include "udfd_ioctl.h"

static_assert(UDFD_TEXT_LEN == UDF_TEXT_LEN, "texts are copied as they are");
static_assert(UDFD_VOLUME_ID_LEN == UDF_VOLUME_ID_LEN, "so is the identity");

/* A text of at most UDF_TEXT_LEN with its NUL; the reply was zero before. */
static void copy_text(char *to, const char *from)
{
	memcpy(to, from, strnlen(from, UDF_TEXT_LEN - 1));
}

static void reply_volume_info(fuse_req_t req, struct udf_fs *fs)
{
	struct udf_volume *volume = udf_fs_volume(fs);
	const struct udf_volume_info *info = udf_volume_info(volume);
	struct udf_fs_volume_status status = { .free_blocks = 0 };
	struct udf_integrity integrity = { .closed = false };
	struct udfd_volume_info reply = {
		.magic = UDFD_IOCTL_MAGIC,
		.version = UDFD_IOCTL_VERSION,
	};

	udf_fs_volume_status(fs, &status);
	udf_volume_get_integrity(volume, &integrity);
	if (udf_fs_is_read_only(fs)) {
		reply.flags |= UDFD_VOLUME_READ_ONLY;
	}
	if (info->packet_blocks > 0) {
		reply.flags |= UDFD_VOLUME_SPARABLE;
	}
	if (info->defect_managed) {
		reply.flags |= UDFD_VOLUME_DEFECT_MANAGED;
	}
	reply.udf_revision = info->revision;
	memcpy(reply.volume_id, info->volume_id, sizeof(reply.volume_id));
	reply.block_size = info->block_size;
	reply.total_blocks = info->partition_blocks;
	reply.free_blocks = status.free_blocks;
	reply.directory_count = status.directories;
	reply.file_count = status.files;
	reply.format_time_sec = info->format_time.tv_sec;
	reply.format_time_nsec = (uint32_t)info->format_time.tv_nsec;
	reply.update_time_sec = integrity.recorded.tv_sec;
	reply.update_time_nsec = (uint32_t)integrity.recorded.tv_nsec;
	copy_text(reply.label, info->label);
	copy_text(reply.copyright, status.copyright);
	copy_text(reply.abstract, status.abstract);
	copy_text(reply.formatter, info->formatter);
	copy_text(reply.modifier, integrity.modifier);
	fuse_reply_ioctl(req, 0, &reply, sizeof(reply));
}

static void reply_sparing_info(fuse_req_t req, struct udf_fs *fs)
{
	struct udf_volume *volume = udf_fs_volume(fs);
	const struct udf_volume_info *info = udf_volume_info(volume);
	struct udf_sparing_status status = { .packet_blocks = 0 };
	struct udfd_sparing_info reply = {
		.magic = UDFD_IOCTL_MAGIC,
		.version = UDFD_IOCTL_VERSION,
	};

	udf_volume_sparing_status(volume, &status);
	reply.packet_bytes = status.packet_blocks * info->block_size;
	reply.defect_managed = info->defect_managed;
	reply.total_spare_blocks = status.total_packets * status.packet_blocks;
	reply.free_spare_blocks = status.free_packets * status.packet_blocks;
	reply.table_copies = status.copies;
	reply.table_sequence = status.sequence;
	fuse_reply_ioctl(req, 0, &reply, sizeof(reply));
}

static void reply_file_id(fuse_req_t req, struct udf_node *node)
{
	struct udf_volume *volume = udf_fs_volume(udf_fs_of(node));
	struct udfd_file_id reply = {
		.magic = UDFD_IOCTL_MAGIC,
		.version = UDFD_IOCTL_VERSION,
		.unique_id = udf_fs_unique_id(node),
	};

	memcpy(reply.volume_id, udf_volume_info(volume)->volume_id,
	       sizeof(reply.volume_id));
	fuse_reply_ioctl(req, 0, &reply, sizeof(reply));
}

static void reply_get_management(fuse_req_t req, struct udf_node *node)
{
	struct udfd_defect_management reply = {
		.magic = UDFD_IOCTL_MAGIC,
		.version = UDFD_IOCTL_VERSION,
	};
	bool unmanaged = false;
	int ret = udf_fs_get_unmanaged(node, &unmanaged);

	if (ret < 0) {
		fuse_reply_err(req, -ret);
		return;
	}
	reply.disabled = unmanaged;
	fuse_reply_ioctl(req, 0, &reply, sizeof(reply));
}

/* The order of the checks is that of udfd_ioctl.h. */
static int set_management(struct udf_node *node, struct fuse_file_info *fi,
			  const void *in, size_t in_size)
{
	const struct udfd_handle *handle = (void *)(uintptr_t)fi->fh;
	struct udfd_defect_management request = { .magic = 0 };
	bool unmanaged = false;
	int ret = udf_fs_get_unmanaged(node, &unmanaged);

	if (ret == -EISDIR) {
		return ret;
	}
	if (in_size < sizeof(request)) {
		return -EINVAL;
	}
	memcpy(&request, in, sizeof(request));
	if (request.magic != UDFD_IOCTL_MAGIC ||
	    request.version != UDFD_IOCTL_VERSION) {
		return -EINVAL;
	}
	if (ret < 0) {
		return ret;
	}
	if (udf_fs_is_read_only(udf_fs_of(node))) {
		return -EROFS;
	}
	if ((handle->open_flags & O_ACCMODE) == O_RDONLY) {
		return -EBADF;
	}
	return udf_fs_set_unmanaged(node, request.disabled != 0);
}

void udfd_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int command,
		void *arg, struct fuse_file_info *fi, unsigned int flags,
		const void *in, size_t in_size, size_t out_size)
{
	struct udf_node *node = udfd_node(req, ino);
	int ret = 0;

	(void)arg;
	(void)flags;
	(void)out_size;
	switch (command) {
	case UDFD_IOC_VOLUME_INFO:
		reply_volume_info(req, udf_fs_of(node));
		break;
	case UDFD_IOC_SPARING_INFO:
		reply_sparing_info(req, udf_fs_of(node));
		break;
	case UDFD_IOC_FILE_ID:
		reply_file_id(req, node);
		break;
	case UDFD_IOC_GET_DEFECT_MANAGEMENT:
		reply_get_management(req, node);
		break;
	case UDFD_IOC_SET_DEFECT_MANAGEMENT:
		ret = set_management(node, fi, in, in_size);
		if (ret < 0) {
			fuse_reply_err(req, -ret);
		} else {
			fuse_reply_ioctl(req, 0, NULL, 0);
		}
		break;
	default:
		fuse_reply_err(req, ENOTTY);
		break;
	}
}
