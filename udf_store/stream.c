/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Named streams. See stream.h.
 */
#include <errno.h>
#include <limits.h>
#include <sys/xattr.h>

#include "commit.h"
#include "directory.h"
#include "file.h"
#include "state.h"
#include "stream.h"

bool udf_stream_supported(const struct udf_fs *fs)
{
	return fs->info->revision >= 0x0200;
}

/*
 * The stream directory, loaded, with a reference. -ENODATA: there is none.
 */
static int stream_directory_get(struct udf_node *node,
				struct udf_node **directory)
{
	const struct udf_ad *icb = &node->stream_dir_icb;
	int ret = 0;

	*directory = NULL;
	if (icb->length == 0 || icb->addr.block == node->lbn) {
		return -ENODATA;
	}
	ret = udf_node_get(node->fs, icb->addr.block, directory);
	if (ret < 0) {
		return ret;
	}
	ret = -EUCLEAN;
	if ((*directory)->file_type == UDF_FT_STREAM_DIRECTORY) {
		ret = udf_directory_load(*directory);
	}
	if (ret < 0) {
		udf_node_put(*directory, 1);
		*directory = NULL;
	}
	return ret;
}

/* Find a stream in its directory, whose lock is held. */
static int stream_find(struct udf_node *directory, const char *name,
		       struct udf_dirent *entry, struct udf_node **stream)
{
	int ret = udf_directory_find(directory, name, entry);

	*stream = NULL;
	if (ret < 0) {
		return ret == -ENOENT ? -ENODATA : ret;
	}
	if (entry->internal) {
		return -EPERM;
	}
	ret = udf_node_get(directory->fs, entry->icb, stream);
	if (ret < 0) {
		return ret;
	}
	/*
	 * What does not say that it is a stream, or has streams itself, may
	 * be a file with names: its lock has no place below this one's.
	 */
	if (udf_node_is_directory(*stream) ||
	    ((*stream)->icb_flags & UDF_ICB_STREAM) == 0 ||
	    (*stream)->stream_dir_icb.length > 0) {
		udf_node_put(*stream, 1);
		*stream = NULL;
		return -EUCLEAN;
	}
	return 0;
}

ssize_t udf_stream_get(struct udf_node *node, const char *name, void *value,
		       size_t size)
{
	struct udf_dirent entry = { .offset = 0 };
	struct udf_node *directory = NULL;
	struct udf_node *stream = NULL;
	ssize_t ret = stream_directory_get(node, &directory);

	if (ret < 0) {
		return ret;
	}
	pthread_rwlock_rdlock(&directory->lock);
	ret = stream_find(directory, name, &entry, &stream);
	pthread_rwlock_unlock(&directory->lock);
	if (ret == 0) {
		pthread_rwlock_rdlock(&stream->lock);
		if (stream->size > SSIZE_MAX) {
			ret = -EFBIG;
		} else if (size == 0) {
			ret = (ssize_t)stream->size;
		} else {
			ret = udf_file_read(stream, 0, size, value);
		}
		pthread_rwlock_unlock(&stream->lock);
		udf_node_put(stream, 1);
	}
	if (ret == -EPERM) {
		ret = -ENODATA;
	}
	udf_node_put(directory, 1);
	return ret;
}

/* A node of the file's, near to it: a stream, or the stream directory. */
static int part_create(struct udf_node *node, uint8_t file_type,
		       uint32_t goal, struct udf_node **part)
{
	struct udf_node_attributes attributes = {
		.file_type = file_type,
		.mode = node->mode & 0666,
		.uid = node->uid,
		.gid = node->gid,
		.unique_id = node->unique_id,
		.is_stream = file_type != UDF_FT_STREAM_DIRECTORY,
	};

	return udf_node_create(node->fs, &attributes, goal, part);
}

/* A new part is not wanted after all, or an old one not any more. */
static void part_end(struct udf_node *part)
{
	part->unlinked = true;
	udf_commit_forget(part);
	udf_node_put(part, 1);
}

/*
 * Only an Extended File Entry has a stream directory. It is longer, so what
 * is embedded may have to move out.
 */
static int make_extended(struct udf_node *node)
{
	int ret = 0;

	if (node->tag_id == UDF_TAG_EFE) {
		return 0;
	}
	node->tag_id = UDF_TAG_EFE;
	if (udf_node_is_directory(node)) {
		ret = udf_directory_load_locked(node);
		if (ret == 0) {
			ret = udf_directory_fit(node);
		}
	} else if (node->embedded &&
		   node->size > udf_node_embedded_max(node)) {
		ret = udf_file_unembed(node);
	}
	if (ret == 0) {
		ret = udf_node_reserve_aeds(node);
	}
	if (ret < 0) {
		node->tag_id = UDF_TAG_FE;
		return ret;
	}
	node->creation = node->modification;
	return 0;
}

/* A stream directory for a file that has none. */
static int stream_directory_create(struct udf_node *node,
				   struct udf_node **directory)
{
	const struct udf_volume_info *info = node->fs->info;
	int ret = make_extended(node);

	*directory = NULL;
	if (ret == 0) {
		ret = part_create(node, UDF_FT_STREAM_DIRECTORY,
				  node->lbn + 1, directory);
	}
	if (ret < 0) {
		return ret;
	}
	ret = udf_directory_init(*directory, node);
	if (ret < 0) {
		part_end(*directory);
		*directory = NULL;
		return ret;
	}
	node->stream_dir_icb = (struct udf_ad){
		.length = info->block_size,
		.addr = {
			.block = (*directory)->lbn,
			.partition = UDF_PARTITION_LBN,
		},
	};
	return 0;
}

/* Nothing is left in it: the file has no stream directory any more. */
static void stream_directory_drop(struct udf_node *node,
				  struct udf_node *directory)
{
	node->stream_dir_icb = (struct udf_ad){ .length = 0 };
	directory->unlinked = true;
	udf_commit_forget(directory);
}

/* A stream with its value and no name yet. */
static int stream_create(struct udf_node *node, struct udf_node *directory,
			 const uint8_t *value, size_t size,
			 struct udf_node **stream)
{
	size_t done = 0;
	int ret = part_create(node, UDF_FT_REGULAR, directory->child_goal,
			      stream);

	if (ret < 0) {
		return ret;
	}
	directory->child_goal = (*stream)->lbn + 1;
	(*stream)->link_count = 1;
	while (done < size) {
		ssize_t written = udf_file_write(*stream, done, size - done,
						 &value[done]);

		if (written < 0) {
			part_end(*stream);
			*stream = NULL;
			return (int)written;
		}
		done += (size_t)written;
	}
	udf_commit_dirty(*stream);
	return 0;
}

/*
 * Change a value that fits the ICB before and after, which is written at one
 * stroke. False: it does not.
 */
static bool stream_change_embedded(struct udf_node *stream,
				   const uint8_t *value, size_t size)
{
	bool fits = false;

	pthread_rwlock_wrlock(&stream->lock);
	fits = stream->embedded && stream->map_error == 0 &&
	       !stream->write_once && size <= udf_node_embedded_max(stream) &&
	       udf_file_truncate(stream, size) == 0;
	if (fits) {
		if (size > 0) {
			(void)udf_file_write(stream, 0, size, value);
		}
		stream->modification = udf_node_now();
		stream->attribute = stream->modification;
		udf_commit_dirty(stream);
	}
	pthread_rwlock_unlock(&stream->lock);
	return fits;
}

/* The object size counts all streams (ECMA-167 4/14.17.8). */
static void count_stream(struct udf_node *node, uint64_t removed,
			 uint64_t added)
{
	if (removed > node->streams_size) {
		removed = node->streams_size;
	}
	node->streams_size = node->streams_size - removed + added;
	node->attribute = udf_node_now();
	udf_commit_dirty(node);
}

/* With the stream directory's lock. */
static int set_locked(struct udf_node *node, struct udf_node *directory,
		      const char *name, const uint8_t *value, size_t size,
		      int flags)
{
	struct udf_dirent entry = { .offset = 0 };
	struct udf_node *old = NULL;
	struct udf_node *stream = NULL;
	uint64_t old_size = 0;
	int ret = stream_find(directory, name, &entry, &old);

	if (ret < 0 && ret != -ENODATA) {
		return ret;
	}
	if (ret == -ENODATA && (flags & XATTR_REPLACE) != 0) {
		return ret;
	}
	if (ret == 0 && (flags & XATTR_CREATE) != 0) {
		udf_node_put(old, 1);
		return -EEXIST;
	}
	if (old != NULL) {
		old_size = old->size;
		if (stream_change_embedded(old, value, size)) {
			udf_node_put(old, 1);
			count_stream(node, old_size, size);
			return 0;
		}
	}
	ret = udf_node_reserve_aeds(directory);
	if (ret == 0) {
		ret = stream_create(node, directory, value, size, &stream);
	}
	if (ret == 0 && old != NULL) {
		ret = udf_directory_retarget(directory, entry.offset, stream,
					     (uint32_t)node->unique_id);
	} else if (ret == 0) {
		ret = udf_directory_insert(directory, name, stream,
					   (uint32_t)node->unique_id, NULL);
	}
	if (ret < 0) {
		if (stream != NULL) {
			part_end(stream);
		}
		if (old != NULL) {
			udf_node_put(old, 1);
		}
		return ret;
	}
	udf_node_put(stream, 1);
	if (old != NULL) {
		part_end(old);
	}
	directory->modification = udf_node_now();
	directory->attribute = directory->modification;
	udf_commit_dirty(directory);
	count_stream(node, old_size, size);
	return 0;
}

int udf_stream_set(struct udf_node *node, const char *name, const void *value,
		   size_t size, int flags)
{
	struct udf_node *directory = NULL;
	int ret = 0;

	if (node->write_once) {
		return -EROFS;
	}
	ret = udf_node_reserve_aeds(node);
	if (ret == 0) {
		ret = stream_directory_get(node, &directory);
	}
	if (ret == -ENODATA && (flags & XATTR_REPLACE) == 0) {
		ret = stream_directory_create(node, &directory);
	}
	if (ret < 0) {
		return ret;
	}
	pthread_rwlock_wrlock(&directory->lock);
	if (directory->write_once) {
		ret = -EROFS;
	} else {
		ret = set_locked(node, directory, name, value, size, flags);
	}
	if (ret < 0 && udf_directory_is_empty(directory)) {
		stream_directory_drop(node, directory);
		udf_commit_dirty(node);
	}
	pthread_rwlock_unlock(&directory->lock);
	udf_node_put(directory, 1);
	return ret;
}

int udf_stream_remove(struct udf_node *node, const char *name)
{
	struct udf_dirent entry = { .offset = 0 };
	struct udf_node *directory = NULL;
	struct udf_node *stream = NULL;
	uint64_t size = 0;
	int ret = 0;

	if (node->write_once) {
		return -EROFS;
	}
	ret = udf_node_reserve_same(node);
	if (ret == 0) {
		ret = stream_directory_get(node, &directory);
	}
	if (ret < 0) {
		return ret;
	}
	pthread_rwlock_wrlock(&directory->lock);
	ret = directory->write_once ? -EROFS : 0;
	if (ret == 0) {
		ret = udf_node_reserve_same(directory);
	}
	if (ret == 0) {
		ret = stream_find(directory, name, &entry, &stream);
	}
	if (ret == 0) {
		size = stream->size;
		ret = udf_directory_remove(directory, entry.offset);
	}
	if (ret == 0) {
		part_end(stream);
		stream = NULL;
		if (udf_directory_is_empty(directory)) {
			stream_directory_drop(node, directory);
		} else {
			directory->modification = udf_node_now();
			directory->attribute = directory->modification;
			udf_commit_dirty(directory);
		}
		count_stream(node, size, 0);
	}
	pthread_rwlock_unlock(&directory->lock);
	if (stream != NULL) {
		udf_node_put(stream, 1);
	}
	udf_node_put(directory, 1);
	return ret;
}

int udf_stream_each(struct udf_node *node, udf_stream_visit_fn visit,
		    void *private_data)
{
	struct udf_node *directory = NULL;
	uint64_t position = 0;
	int ret = stream_directory_get(node, &directory);

	if (ret < 0) {
		return ret == -ENODATA ? 0 : ret;
	}
	pthread_rwlock_rdlock(&directory->lock);
	while (ret == 0) {
		struct udf_dirent entry = { .offset = 0 };

		ret = udf_directory_next(directory, &position, &entry);
		if (ret == 0 && !entry.internal) {
			ret = visit(private_data, entry.name);
		}
	}
	pthread_rwlock_unlock(&directory->lock);
	udf_node_put(directory, 1);
	return ret == -ENOENT ? 0 : ret;
}
