/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A mounted UDF file system: mount and unmount, the frame of operations,
 * attributes and data. Names are in names.c.
 *
 * Locks, in the order in which they are taken:
 *
 *   fs->operations   shared by each change from its begin to its end,
 *                    exclusive for a commit's copy (commit.c)
 *   fs->names        shared by changes of names, exclusive for renames, so
 *                    that nobody's parent changes under the next, and for
 *                    removals of directories
 *   node->lock       a directory before a file in it; two directories only
 *                    with names held exclusively, since on a damaged volume
 *                    each can be in the other; all that reads or writes data
 *                    takes just one
 *   commit.lock, counters_lock, cache.lock, space.lock
 *                    short, in this order; the volume has its own below
 *
 * No lock of all files is held exclusively around data I/O.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "commit.h"
#include "directory.h"
#include "file.h"
#include "fs.h"
#include "metadata_growth.h"
#include "metadata_restore.h"
#include "operation.h"
#include "osta.h"
#include "owners.h"
#include "recover.h"
#include "spares.h"

/* Shown for an owner that UDF calls "not specified". */
#define NOBODY 65534u

/* So long an open waits for the end of others that were closed. */
#define RELEASE_PATIENCE_S 1

/* So often may the metadata partition grow for one operation. */
#define GROWTHS_MAX 8u

/* Who has less than this that is not verified waits for memory last. */
#define SMALL_WRITER_BYTES (1024u * 1024u)

/* Names that any file system user expects to fit. */
#define NAME_MAX_SHOWN 254u

uint64_t udf_fs_next_unique_id(struct udf_fs *fs)
{
	uint64_t id = 0;

	pthread_mutex_lock(&fs->counters_lock);
	id = fs->next_unique_id++;
	/* UDF 3.2.1.1: the low half skips 0 to 15. */
	if ((fs->next_unique_id & UINT32_MAX) == 0) {
		fs->next_unique_id += 16;
	}
	pthread_mutex_unlock(&fs->counters_lock);
	return id;
}

void udf_count_nodes(struct udf_fs *fs, int files, int directories)
{
	pthread_mutex_lock(&fs->counters_lock);
	if (files >= 0 || fs->files > 0) {
		fs->files = (uint32_t)((int64_t)fs->files + files);
	}
	if (directories >= 0 || fs->directories > 0) {
		fs->directories =
			(uint32_t)((int64_t)fs->directories + directories);
	}
	pthread_mutex_unlock(&fs->counters_lock);
}

/* The integrity descriptor with what we know now. */
static int put_integrity(struct udf_fs *fs, bool closed)
{
	struct udf_integrity integrity = { .closed = false };
	uint64_t free_blocks = udf_space_unallocated(&fs->space);

	udf_volume_get_integrity(fs->volume, &integrity);
	integrity.closed = closed;
	integrity.next_unique_id = fs->next_unique_id;
	integrity.free_blocks = (uint32_t)free_blocks;
	if (fs->info->has_metadata) {
		struct udf_space *metadata =
			udf_space_for_metadata(&fs->space);

		free_blocks = udf_space_unallocated(metadata);
		integrity.metadata_free = (uint32_t)free_blocks;
	}
	integrity.files = fs->files;
	integrity.directories = fs->directories;
	return udf_volume_put_integrity(fs->volume, &integrity);
}

/* Before the first change. */
static int open_integrity(struct udf_fs *fs)
{
	int ret = 0;

	if (__atomic_load_n(&fs->integrity_open, __ATOMIC_ACQUIRE)) {
		return 0;
	}
	pthread_mutex_lock(&fs->counters_lock);
	if (!fs->integrity_open) {
		ret = put_integrity(fs, false);
		if (ret == 0) {
			__atomic_store_n(&fs->integrity_open, true,
					 __ATOMIC_RELEASE);
		}
	}
	pthread_mutex_unlock(&fs->counters_lock);
	return ret;
}

int udf_operation_begin(struct udf_fs *fs)
{
	int ret = 0;

	if (fs->read_only) {
		return -EROFS;
	}
	pthread_rwlock_rdlock(&fs->operations);
	ret = open_integrity(fs);
	if (ret < 0) {
		pthread_rwlock_unlock(&fs->operations);
	}
	return ret;
}

void udf_operation_end(struct udf_fs *fs)
{
	pthread_rwlock_unlock(&fs->operations);
}

void udf_operation_reap(struct udf_fs *fs)
{
	struct udf_node *node = udf_node_next_orphan(fs);

	while (node != NULL) {
		if (udf_operation_begin(fs) == 0) {
			udf_node_release_blocks(node);
			udf_operation_end(fs);
		}
		udf_node_free(node);
		node = udf_node_next_orphan(fs);
	}
}

/* Is there data that no spare could take? A commit moves it. */
static bool has_failed_blocks(struct udf_fs *fs)
{
	struct udf_block_list failed = { .count = 0 };
	int ret = udf_volume_failed_blocks(fs->volume, &failed);

	udf_block_list_free(&failed);
	return ret == 0 && failed.count > 0;
}

/* Would a commit make room, for an operation that was not done yet again? */
static bool is_commit_worth_it(struct udf_fs *fs, int result)
{
	if (result == -ENOSPC && udf_space_has_released(&fs->space)) {
		return true;
	}
	return (result == -ENOSPC || result == -EIO) && has_failed_blocks(fs);
}

bool udf_operation_again(struct udf_fs *fs, int result, unsigned int *tries)
{
	udf_operation_reap(fs);
	if (*tries > GROWTHS_MAX) {
		return false;
	}
	if (*tries == 0 && is_commit_worth_it(fs, result)) {
		(*tries)++;
		return udf_commit(fs) == 0;
	}
	if (result == -ENOSPC && udf_metadata_is_short(fs)) {
		(*tries)++;
		return udf_metadata_grow(fs) == 0;
	}
	return false;
}

static int read_file_set(struct udf_fs *fs)
{
	const struct udf_volume_info *info = fs->info;
	struct udf_fsd fsd = { .number = 0 };
	uint8_t *block = malloc(info->block_size);
	int ret = 0;

	if (block == NULL) {
		return -ENOMEM;
	}
	ret = udf_volume_read(fs->volume, info->file_set, 1, block);
	if (ret < 0) {
		goto out;
	}
	ret = decode_fsd(block, info->block_size,
			 udf_volume_location(info, info->file_set).block, &fsd);
	if (ret < 0) {
		goto out;
	}
	ret = udf_volume_address(info, &fsd.root_icb.addr, 1, &fs->root_lbn);
	if (ret < 0) {
		goto out;
	}
	fs->tag_version = fsd.tag.version;
	fs->tag_serial = fsd.tag.serial;
	fs->system_stream_dir_icb =
		udf_node_part(info, &fsd.system_stream_dir_icb);
	strcpy(fs->copyright, fsd.copyright);
	strcpy(fs->abstract, fsd.abstract);
out:
	if (ret < 0) {
		udf_volume_log(fs->volume, UDF_LOG_ERROR,
			       "the File Set Descriptor in block %u cannot "
			       "be read: %s",
			       info->file_set, strerror(-ret));
	}
	free(block);
	return ret;
}

static int read_root(struct udf_fs *fs)
{
	int ret = udf_node_get(fs, fs->root_lbn, &fs->root);

	if (ret == 0) {
		ret = udf_directory_load(fs->root);
	}
	if (ret < 0) {
		udf_volume_log(fs->volume, UDF_LOG_ERROR,
			       "the root directory (ICB in block %u) cannot be "
			       "read: %s",
			       fs->root_lbn, strerror(-ret));
	} else if (fs->root->write_once && !fs->read_only) {
		udf_volume_log(fs->volume, UDF_LOG_WARNING,
			       "the volume is read-only for us: its ICBs are "
			       "of strategy 4096, for write-once media; copy "
			       "its files to another volume to change them");
		fs->read_only = true;
	}
	return ret;
}

/* Without a bitmap of free space there is no writing. */
static void open_space(struct udf_fs *fs, const struct udf_integrity *integrity,
		       bool repair)
{
	bool closed = integrity->closed;
	int ret = udf_space_open(&fs->space, fs->volume,
				 closed ? integrity->free_blocks : UINT32_MAX,
				 closed ? integrity->metadata_free : UINT32_MAX,
				 !fs->read_only, repair && !fs->read_only);

	if (ret < 0 && !fs->read_only) {
		udf_volume_log(fs->volume, UDF_LOG_WARNING,
			       "no usable space bitmap: mounting read-only");
		fs->read_only = true;
	}
}

static void locks_init(struct udf_fs *fs)
{
	pthread_rwlockattr_t attributes;
	pthread_condattr_t monotonic;

	/* A commit must not wait for an end of operations that never comes,
	 * nor a rename for one of changes of names. */
	pthread_rwlockattr_init(&attributes);
	pthread_rwlockattr_setkind_np(
		&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&fs->operations, &attributes);
	pthread_rwlock_init(&fs->names, &attributes);
	pthread_rwlockattr_destroy(&attributes);
	pthread_mutex_init(&fs->counters_lock, NULL);
	pthread_mutex_init(&fs->opens_lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&fs->opens_changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
}

int udf_fs_mount(const char *path, const struct udf_volume_options *options,
		 struct udf_fs **result)
{
	struct udf_integrity integrity = { .closed = false };
	struct udf_fs *fs = calloc(1, sizeof(*fs));
	bool recovered = false;
	bool restore = false;
	int ret = 0;

	*result = NULL;
	if (fs == NULL) {
		return -ENOMEM;
	}
	ret = udf_volume_open(path, options, &fs->volume);
	if (ret < 0) {
		free(fs);
		return ret;
	}
	fs->info = udf_volume_info(fs->volume);
	fs->read_only = fs->info->read_only;
	locks_init(fs);
	udf_commit_init(fs);
	ret = udf_node_cache_init(&fs->cache, options->metadata_limit);
	if (ret < 0) {
		goto fail;
	}
	ret = read_file_set(fs);
	if (ret < 0) {
		goto fail;
	}
	udf_volume_get_integrity(fs->volume, &integrity);
	fs->next_unique_id = integrity.next_unique_id;
	if ((fs->next_unique_id & UINT32_MAX) < 16) {
		fs->next_unique_id |= 16;
	}
	fs->files = integrity.files;
	fs->directories = integrity.directories;
	fs->integrity_open = !integrity.closed;
	fs->repairing = options->repair;
	fs->keeps_names = options->keep_names ||
			  strcmp(integrity.modifier, UDF_OUR_IDENTIFIER) != 0;
	fs->growth_pending = udf_volume_metadata_is_stale(fs->volume);
	open_space(fs, &integrity, options->repair);
	if (!fs->read_only) {
		udf_metadata_keep_room(fs);
	}
	ret = read_root(fs);
	if (ret < 0) {
		goto fail;
	}
	restore = udf_metadata_is_lost(fs);
	if ((!integrity.closed || fs->space.damaged || fs->repairing ||
	     restore) &&
	    !fs->read_only) {
		/* What the recovery changes is written like any change. */
		ret = open_integrity(fs);
		if (ret == 0) {
			ret = udf_recover(fs);
		}
		if (ret < 0) {
			goto fail;
		}
		recovered = true;
	}
	if (!fs->read_only) {
		/* Before the first block of a file is written. */
		ret = udf_spares_judge(fs, recovered);
		if (ret < 0) {
			goto fail;
		}
	}
	if (restore && !fs->read_only) {
		udf_metadata_save(fs);
	}
	*result = fs;
	return 0;
fail:
	fs->read_only = true;
	udf_fs_unmount(fs);
	return ret;
}

int udf_fs_start(struct udf_fs *fs)
{
	return udf_commit_start_thread(fs);
}

/*
 * The end of a writable mount. Only a volume that is wholly written is
 * closed.
 */
static int close_volume(struct udf_fs *fs)
{
	int ret = 0;

	if (!fs->integrity_open) {
		return 0;
	}
	/* The first writes all changes and lets go of nodes, the second what
	 * the end of unlinked ones changes, the third the bitmap without the
	 * blocks that these freed. */
	for (int i = 0; i < 3 && ret == 0; i++) {
		ret = udf_commit(fs);
		udf_node_abandon_unlinked(fs);
		udf_operation_reap(fs);
	}
	if (ret == 0) {
		ret = put_integrity(fs, true);
	}
	if (ret < 0) {
		udf_volume_log(fs->volume, UDF_LOG_ERROR,
			       "not everything could be written: %s; the "
			       "volume stays marked open and is repaired at "
			       "the next mount",
			       strerror(-ret));
	}
	return ret;
}

int udf_fs_unmount(struct udf_fs *fs)
{
	int result = 0;
	int ret = 0;

	udf_commit_stop_thread(fs);
	if (fs->root != NULL) {
		udf_owners_report_damage(fs);
		udf_node_put(fs->root, 1);
	}
	if (!fs->read_only) {
		result = close_volume(fs);
	}
	udf_node_cache_destroy(&fs->cache);
	udf_space_close(&fs->space);
	udf_commit_destroy(fs);
	pthread_rwlock_destroy(&fs->operations);
	pthread_rwlock_destroy(&fs->names);
	pthread_cond_destroy(&fs->opens_changed);
	pthread_mutex_destroy(&fs->opens_lock);
	pthread_mutex_destroy(&fs->counters_lock);
	ret = udf_volume_close(fs->volume);
	free(fs);
	return result < 0 ? result : ret;
}

struct udf_volume *udf_fs_volume(struct udf_fs *fs)
{
	return fs->volume;
}

bool udf_fs_is_read_only(const struct udf_fs *fs)
{
	return fs->read_only;
}

struct udf_node *udf_fs_root(struct udf_fs *fs)
{
	return fs->root;
}

void udf_fs_remember(struct udf_node *node)
{
	udf_node_ref(node, 1);
}

void udf_fs_forget(struct udf_node *node, uint64_t count)
{
	struct udf_fs *fs = node->fs;

	udf_node_put(node, count);
	udf_operation_reap(fs);
}

int udf_fs_statfs(struct udf_fs *fs, struct statvfs *st)
{
	memset(st, 0, sizeof(*st));
	st->f_bsize = fs->info->block_size;
	st->f_frsize = fs->info->block_size;
	st->f_blocks = fs->info->partition_blocks;
	st->f_bfree = udf_space_free(&fs->space);
	st->f_bavail = st->f_bfree;
	pthread_mutex_lock(&fs->counters_lock);
	st->f_files = (uint64_t)fs->files + fs->directories + st->f_bfree;
	pthread_mutex_unlock(&fs->counters_lock);
	st->f_ffree = st->f_bfree;
	st->f_favail = st->f_bfree;
	st->f_namemax = NAME_MAX_SHOWN;
	return 0;
}

static void fill_stat(const struct udf_node *node, struct stat *st)
{
	const struct udf_fs *fs = node->fs;

	memset(st, 0, sizeof(*st));
	st->st_ino = node->ino;
	st->st_mode = udf_node_format(node) | node->mode;
	st->st_nlink = node->link_count;
	if (udf_node_is_directory(node) && !node->unlinked) {
		/* Its own ".", which UDF does not have. */
		st->st_nlink++;
	}
	st->st_uid = node->uid == UINT32_MAX ? NOBODY : node->uid;
	st->st_gid = node->gid == UINT32_MAX ? NOBODY : node->gid;
	st->st_rdev = makedev(node->device_major, node->device_minor);
	st->st_size = (off_t)node->size;
	st->st_blksize = (blksize_t)fs->info->block_size;
	if (node->embedded) {
		st->st_blocks = (blkcnt_t)((node->size + 511) / 512);
	} else {
		st->st_blocks = (blkcnt_t)(udf_extent_map_allocated(&node->map) *
					   (fs->info->block_size / 512));
	}
	st->st_atim = node->access;
	st->st_mtim = node->modification;
	st->st_ctim = node->attribute;
}

int udf_fs_getattr(struct udf_node *node, struct stat *st)
{
	char target[PATH_MAX];
	int length = 0;

	pthread_rwlock_rdlock(&node->lock);
	fill_stat(node, st);
	pthread_rwlock_unlock(&node->lock);
	if (S_ISLNK(st->st_mode)) {
		length = udf_fs_readlink(node, target, sizeof(target));
		st->st_size = length < 0 ? 0 : length;
	}
	return 0;
}

static int setattr_locked(struct udf_node *node, const struct stat *attr,
			  unsigned int mask)
{
	int ret = 0;

	if (node->write_once) {
		return -EROFS;
	}
	if (mask & UDF_SET_SIZE) {
		if (udf_node_format(node) != S_IFREG) {
			return -EINVAL;
		}
		if (attr->st_size < 0) {
			return -EINVAL;
		}
		ret = udf_file_truncate(node, (uint64_t)attr->st_size);
		if (ret < 0) {
			return ret;
		}
		node->modification = udf_node_now();
	}
	ret = udf_node_reserve_same(node);
	if (ret < 0) {
		return ret;
	}
	if (mask & UDF_SET_MODE) {
		node->mode = attr->st_mode & 07777;
	}
	if (mask & UDF_SET_UID) {
		node->uid = attr->st_uid;
	}
	if (mask & UDF_SET_GID) {
		node->gid = attr->st_gid;
	}
	if (mask & UDF_SET_ACCESS) {
		node->access = udf_timestamp_round(attr->st_atim);
	}
	if (mask & UDF_SET_MODIFICATION) {
		node->modification = udf_timestamp_round(attr->st_mtim);
	}
	node->attribute = udf_node_now();
	udf_commit_dirty(node);
	return 0;
}

int udf_fs_setattr(struct udf_node *node, struct stat *attr, unsigned int mask)
{
	struct udf_fs *fs = node->fs;
	unsigned int tries = 0;
	int ret = 0;

	do {
		ret = udf_operation_begin(fs);
		if (ret < 0) {
			return ret;
		}
		pthread_rwlock_wrlock(&node->lock);
		ret = setattr_locked(node, attr, mask);
		pthread_rwlock_unlock(&node->lock);
		udf_operation_end(fs);
	} while (udf_operation_again(fs, ret, &tries));
	if (ret < 0) {
		return ret;
	}
	return udf_fs_getattr(node, attr);
}

ssize_t udf_fs_read(struct udf_node *node, uint64_t offset, size_t size,
		    void *buf)
{
	ssize_t ret = 0;

	pthread_rwlock_rdlock(&node->lock);
	ret = udf_file_read(node, offset, size, buf);
	pthread_rwlock_unlock(&node->lock);
	return ret;
}

static ssize_t write_locked(struct udf_node *node, uint64_t offset,
			    size_t size, const uint8_t *bytes)
{
	bool within = offset <= node->size && size <= node->size - offset;
	ssize_t ret = 0;

	/* What it changes of the extents it reserves by itself, but for the
	 * end of the file in the last one. */
	ret = within ? udf_node_reserve_same(node)
		     : udf_node_reserve_aeds(node);
	if (ret < 0) {
		return ret;
	}
	ret = udf_file_write(node, offset, size, bytes);
	if (ret > 0) {
		node->modification = udf_node_now();
		node->attribute = node->modification;
		udf_commit_dirty(node);
	}
	return ret;
}

/* One that has little to wait for is not to wait for others. */
static bool is_small_writer(const struct udf_node *node)
{
	return udf_node_unsynced(node) < SMALL_WRITER_BYTES;
}

ssize_t udf_fs_write(struct udf_node *node, uint64_t offset, size_t size,
		     const void *buf)
{
	struct udf_fs *fs = node->fs;
	const uint8_t *bytes = buf;
	unsigned int tries = 0;
	size_t done = 0;
	ssize_t ret = 0;

	do {
		/* In no operation: a commit waits for the end of all. */
		udf_commit_gate(node);
		ret = udf_volume_throttle(fs->volume,
					  is_small_writer(node));
		if (ret < 0) {
			/* Who wrote it is told; we may move it elsewhere. */
			(void)udf_commit(fs);
		}
		ret = udf_operation_begin(fs);
		if (ret < 0) {
			break;
		}
		pthread_rwlock_wrlock(&node->lock);
		while (done < size) {
			ret = write_locked(node, offset + done, size - done,
					   &bytes[done]);
			if (ret <= 0) {
				break;
			}
			done += (size_t)ret;
		}
		pthread_rwlock_unlock(&node->lock);
		udf_operation_end(fs);
	} while (udf_operation_again(fs, ret < 0 ? (int)ret : 0, &tries));
	return ret < 0 && done == 0 ? ret : (ssize_t)done;
}

static int allocate_locked(struct udf_node *node, int mode, uint64_t offset,
			   uint64_t length)
{
	int ret = 0;

	if (udf_node_format(node) != S_IFREG) {
		return -ENODEV;
	}
	ret = udf_node_reserve_aeds(node);
	if (ret < 0) {
		return ret;
	}
	ret = udf_file_allocate(node, mode, offset, length);
	if (ret != -EINVAL && ret != -EOPNOTSUPP) {
		/* After an error a part may have been done. */
		node->modification = udf_node_now();
		node->attribute = node->modification;
		udf_commit_dirty(node);
	}
	return ret;
}

int udf_fs_allocate(struct udf_node *node, int mode, uint64_t offset,
		    uint64_t length)
{
	struct udf_fs *fs = node->fs;
	unsigned int tries = 0;
	int ret = 0;

	do {
		ret = udf_operation_begin(fs);
		if (ret < 0) {
			return ret;
		}
		pthread_rwlock_wrlock(&node->lock);
		ret = allocate_locked(node, mode, offset, length);
		pthread_rwlock_unlock(&node->lock);
		udf_operation_end(fs);
	} while (udf_operation_again(fs, ret, &tries));
	return ret;
}

off_t udf_fs_seek(struct udf_node *node, uint64_t offset, int whence)
{
	off_t ret = 0;

	pthread_rwlock_rdlock(&node->lock);
	ret = udf_file_seek(node, offset, whence);
	pthread_rwlock_unlock(&node->lock);
	return ret;
}

int udf_fs_sync(struct udf_fs *fs)
{
	return udf_commit(fs);
}

int udf_fs_sync_node(struct udf_node *node)
{
	/* Who syncs a directory wants what was done in it. */
	if (udf_node_is_directory(node)) {
		return udf_commit(node->fs);
	}
	return udf_commit_node(node);
}

int udf_fs_flush(struct udf_node *node)
{
	uint64_t written = udf_node_data_written(node);
	int ret = 0;

	__atomic_store_n(&node->data_flushed, written, __ATOMIC_RELAXED);
	ret = udf_commit_await_data(node);
	if (ret < 0 && has_failed_blocks(node->fs)) {
		ret = udf_commit_node(node);
	}
	return ret;
}

void udf_fs_flush_rest(struct udf_node *node)
{
	uint64_t flushed = __atomic_load_n(&node->data_flushed,
					   __ATOMIC_RELAXED);

	if (flushed != udf_node_data_written(node)) {
		(void)udf_fs_flush(node);
	}
}

/* Is its defect management off for none but opens that are about to end? */
static bool is_flag_ending(const struct udf_node *node)
{
	return __atomic_load_n(&node->unmanaged, __ATOMIC_RELAXED) &&
	       node->opens > 0 && node->closing == node->opens;
}

void udf_fs_open(struct udf_node *node)
{
	struct udf_fs *fs = node->fs;
	struct timespec until = { .tv_sec = 0 };
	int ret = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += RELEASE_PATIENCE_S;
	pthread_mutex_lock(&fs->opens_lock);
	while (is_flag_ending(node) && ret == 0) {
		ret = pthread_cond_timedwait(&fs->opens_changed,
					     &fs->opens_lock, &until);
	}
	node->opens++;
	pthread_mutex_unlock(&fs->opens_lock);
}

void udf_fs_note_closing(struct udf_node *node, bool closing)
{
	struct udf_fs *fs = node->fs;

	pthread_mutex_lock(&fs->opens_lock);
	if (closing) {
		node->closing++;
	} else {
		node->closing--;
		pthread_cond_broadcast(&fs->opens_changed);
	}
	pthread_mutex_unlock(&fs->opens_lock);
}

void udf_fs_release(struct udf_node *node, bool was_closing)
{
	struct udf_fs *fs = node->fs;

	pthread_mutex_lock(&fs->opens_lock);
	node->opens--;
	if (was_closing) {
		node->closing--;
	}
	if (node->opens == 0) {
		/* No write is half done. */
		__atomic_store_n(&node->unmanaged, false, __ATOMIC_RELAXED);
	}
	pthread_cond_broadcast(&fs->opens_changed);
	pthread_mutex_unlock(&fs->opens_lock);
}

int udf_fs_get_unmanaged(struct udf_node *node, bool *unmanaged)
{
	if (udf_node_is_directory(node)) {
		return -EISDIR;
	}
	if (!node->fs->info->defect_managed) {
		return -EOPNOTSUPP;
	}
	*unmanaged = __atomic_load_n(&node->unmanaged, __ATOMIC_RELAXED);
	return 0;
}

int udf_fs_set_unmanaged(struct udf_node *node, bool unmanaged)
{
	if (udf_node_is_directory(node)) {
		return -EISDIR;
	}
	if (!node->fs->info->defect_managed) {
		return -EOPNOTSUPP;
	}
	if (node->fs->read_only) {
		return -EROFS;
	}
	/* Not while a write is half done. */
	pthread_rwlock_wrlock(&node->lock);
	__atomic_store_n(&node->unmanaged, unmanaged, __ATOMIC_RELAXED);
	pthread_rwlock_unlock(&node->lock);
	return 0;
}

size_t udf_fs_extents(struct udf_node *node, size_t first, size_t room,
		      struct udf_extent *extents, size_t *total)
{
	size_t count = 0;

	pthread_rwlock_rdlock(&node->lock);
	*total = node->embedded ? 0 : node->map.count;
	while (count < room && first + count < *total) {
		extents[count] = node->map.extents[first + count];
		count++;
	}
	pthread_rwlock_unlock(&node->lock);
	return count;
}

uint32_t udf_fs_icb(struct udf_node *node)
{
	return node->lbn;
}

uint64_t udf_fs_unique_id(struct udf_node *node)
{
	/* A file without a unique id of its own has its ICB's block. */
	if (node->ino != node->unique_id && node != node->fs->root) {
		return node->ino;
	}
	return node->unique_id;
}

struct udf_fs *udf_fs_of(struct udf_node *node)
{
	return node->fs;
}

void udf_fs_volume_status(struct udf_fs *fs,
			  struct udf_fs_volume_status *status)
{
	status->free_blocks = udf_space_free(&fs->space);
	pthread_mutex_lock(&fs->counters_lock);
	status->files = fs->files;
	status->directories = fs->directories;
	pthread_mutex_unlock(&fs->counters_lock);
	status->copyright = fs->copyright;
	status->abstract = fs->abstract;
}
