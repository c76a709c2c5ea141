/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The ioctls of include/udfd_ioctl.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/*
 * *was is how it was before. The order of the checks is that of udfd_ioctl.h.
 */
static int set_management(struct udf_node *node, struct fuse_file_info *fi,
			  const void *in, size_t in_size, bool *was)
{
	const struct udfd_handle *handle = (void *)(uintptr_t)fi->fh;
	struct udfd_defect_management request = { .magic = 0 };
	int ret = udf_fs_get_unmanaged(node, was);

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

static void reply_set_management(fuse_req_t req, struct udf_node *node,
				 unsigned int command,
				 struct fuse_file_info *fi, const void *in,
				 size_t in_size)
{
	struct udfd_defect_management reply = {
		.magic = UDFD_IOCTL_MAGIC,
		.version = UDFD_IOCTL_VERSION,
	};
	bool was = false;
	int ret = set_management(node, fi, in, in_size, &was);

	if (ret < 0) {
		fuse_reply_err(req, -ret);
	} else if (command == UDFD_IOC_SET_DEFECT_MANAGEMENT) {
		fuse_reply_ioctl(req, 0, NULL, 0);
	} else {
		reply.disabled = was;
		fuse_reply_ioctl(req, 0, &reply, sizeof(reply));
	}
}

static void reply_defect_info(fuse_req_t req, struct udf_fs *fs)
{
	struct udf_defect_status status = { .bad_packets = 0 };
	struct udfd_defect_info reply = {
		.magic = UDFD_IOCTL_MAGIC,
		.version = UDFD_IOCTL_VERSION,
	};

	udf_volume_defect_status(udf_fs_volume(fs), &status);
	reply.verified_blocks = status.counts.verified_blocks;
	reply.suspect_packets = status.counts.suspect_packets;
	reply.relocated_packets = status.counts.relocated_packets;
	reply.unsaved_packets = status.counts.unsaved_packets;
	reply.retries = status.counts.retries;
	reply.unreadable_blocks = status.counts.unreadable_blocks;
	reply.lost_blocks = status.counts.lost_blocks;
	reply.memory_limit = status.memory.limit;
	reply.memory_used = status.memory.used;
	reply.memory_most = status.memory.most;
	reply.memory_failed = status.memory.failed;
	reply.bad_packets = status.bad_packets;
	fuse_reply_ioctl(req, 0, &reply, sizeof(reply));
}

/*
 * A request that begins with magic and version; size bytes of it go to copy,
 * which is the reply then.
 */
static int take_request(const void *in, size_t in_size, void *copy, size_t size)
{
	uint32_t head[2] = {0};

	if (in_size < size) {
		return -EINVAL;
	}
	memcpy(copy, in, size);
	memcpy(head, in, sizeof(head));
	if (head[0] != UDFD_IOCTL_MAGIC || head[1] != UDFD_IOCTL_VERSION) {
		return -EINVAL;
	}
	return 0;
}

/* These fill in *reply, which has the request, and return 0 or an errno. */

static int sparing_entries(struct udf_fs *fs,
			   struct udfd_sparing_entries *reply)
{
	struct udf_sparing_entry *entries = NULL;
	uint32_t total = 0;
	uint32_t i = 0;
	int ret = udf_volume_sparing_entries(udf_fs_volume(fs), &entries,
					     &total);

	if (ret < 0) {
		return ret;
	}
	memset(reply->entries, 0, sizeof(reply->entries));
	for (i = 0; i < UDFD_SPARING_ENTRIES && reply->first < total &&
		    i < total - reply->first;
	     i++) {
		reply->entries[i].original = entries[reply->first + i].original;
		reply->entries[i].mapped = entries[reply->first + i].mapped;
	}
	reply->count = i;
	reply->total = total;
	free(entries);
	return 0;
}

static int map(struct udf_fs *fs, struct udfd_map *reply)
{
	uint32_t blocks = udf_volume_info(udf_fs_volume(fs))->partition_blocks;

	memset(reply->states, 0, sizeof(reply->states));
	reply->count = 0;
	if (reply->first >= blocks) {
		return 0;
	}
	reply->count = UDFD_MAP_BLOCKS;
	if (reply->count > blocks - reply->first) {
		reply->count = blocks - reply->first;
	}
	return udf_fs_map(fs, reply->first, reply->count, reply->states);
}

static int scrub(fuse_req_t req, struct udf_fs *fs, struct udfd_scrub *reply)
{
	uid_t uid = fuse_req_ctx(req)->uid;
	struct udf_scrub_result result = { .retried = 0 };
	bool cure = (reply->flags & UDFD_SCRUB_CURE) != 0;
	size_t i = 0;
	int ret = 0;

	if (uid != 0 && uid != geteuid()) {
		return -EPERM;
	}
	if ((reply->flags & ~UDFD_SCRUB_CURE) != 0) {
		return -EINVAL;
	}
	if (cure && udf_fs_is_read_only(fs)) {
		return -EROFS;
	}
	ret = udf_volume_scrub(udf_fs_volume(fs), reply->first, reply->count,
			       cure, reply->slow_ms, &result);
	reply->retried = result.retried;
	reply->slow = result.slow;
	reply->refreshed = result.refreshed;
	reply->relocated = result.relocated;
	reply->not_cured = result.not_cured;
	reply->slowest_ns = result.slowest_ns;
	reply->bad_count = (uint32_t)result.bad.count;
	memset(reply->bad, 0, sizeof(reply->bad));
	for (i = 0; i < result.bad.count && i < UDFD_SCRUB_BAD; i++) {
		reply->bad[i] = result.bad.blocks[i];
	}
	udf_block_list_free(&result.bad);
	return ret;
}

static int extents(struct udf_node *node, struct udfd_extents *reply)
{
	struct udf_extent found[UDFD_EXTENTS];
	size_t total = 0;
	size_t count = udf_fs_extents(node, reply->first, UDFD_EXTENTS, found,
				      &total);
	size_t i = 0;

	memset(reply->extents, 0, sizeof(reply->extents));
	for (i = 0; i < count; i++) {
		reply->extents[i].file_block = found[i].block;
		reply->extents[i].count = found[i].count;
		reply->extents[i].block = found[i].lbn;
		reply->extents[i].type = found[i].type;
	}
	reply->count = (uint32_t)count;
	reply->total = total < UINT32_MAX ? (uint32_t)total : UINT32_MAX;
	reply->icb = udf_fs_icb(node);
	return 0;
}

/* The ioctls that take a request and answer with the same struct. */
static void query(fuse_req_t req, struct udf_node *node, unsigned int command,
		  const void *in, size_t in_size)
{
	struct udf_fs *fs = udf_fs_of(node);
	size_t size = _IOC_SIZE(command);
	union {
		struct udfd_sparing_entries entries;
		struct udfd_map map;
		struct udfd_scrub scrub;
		struct udfd_extents extents;
	} *reply = NULL;
	int ret = -ENOMEM;

	reply = calloc(1, sizeof(*reply));
	if (reply != NULL) {
		ret = take_request(in, in_size, reply, size);
	}
	if (ret == 0) {
		switch (command) {
		case UDFD_IOC_SPARING_ENTRIES:
			ret = sparing_entries(fs, &reply->entries);
			break;
		case UDFD_IOC_MAP:
			ret = map(fs, &reply->map);
			break;
		case UDFD_IOC_SCRUB:
			ret = scrub(req, fs, &reply->scrub);
			break;
		default:
			ret = extents(node, &reply->extents);
			break;
		}
	}
	if (ret < 0) {
		fuse_reply_err(req, -ret);
	} else {
		fuse_reply_ioctl(req, 0, reply, size);
	}
	free(reply);
}

void udfd_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int command,
		void *arg, struct fuse_file_info *fi, unsigned int flags,
		const void *in, size_t in_size, size_t out_size)
{
	struct udf_node *node = udfd_open_node(req, ino, fi);

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
	case UDFD_IOC_EXCHANGE_DEFECT_MANAGEMENT:
		reply_set_management(req, node, command, fi, in, in_size);
		break;
	case UDFD_IOC_DEFECT_INFO:
		reply_defect_info(req, udf_fs_of(node));
		break;
	case UDFD_IOC_SPARING_ENTRIES:
	case UDFD_IOC_MAP:
	case UDFD_IOC_SCRUB:
	case UDFD_IOC_EXTENTS:
		query(req, node, command, in, in_size);
		break;
	default:
		fuse_reply_err(req, ENOTTY);
		break;
	}
}
