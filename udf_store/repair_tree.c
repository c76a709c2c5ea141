/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The steps of a repair that change the tree; see repair.h.
 *
 * The file system is mounted for nobody else, so of its locks only those are
 * taken that what is called expects: each step is one operation.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "commit.h"
#include "directory.h"
#include "file.h"
#include "fs.h"
#include "operation.h"
#include "repair.h"
#include "state.h"

#define LOST_AND_FOUND "lost+found"

/* Blocks that are copied at once. */
#define COPY_BLOCKS 256u

/* A directory that is loaded, with a reference. */
static int get_directory(struct udf_fs *fs, uint32_t lbn,
			 struct udf_node **directory)
{
	int ret = udf_node_get(fs, lbn, directory);

	if (ret < 0) {
		return ret;
	}
	ret = udf_directory_load(*directory);
	if (ret == 0) {
		ret = udf_node_reserve_aeds(*directory);
	}
	if (ret < 0) {
		udf_node_put(*directory, 1);
	}
	return ret;
}

/*
 * The end of a change of a directory from get_directory(). What is not there
 * any more needs none.
 */
static int changed(struct udf_node *directory, int ret)
{
	if (ret == 0) {
		udf_commit_dirty(directory);
	}
	udf_node_put(directory, 1);
	return ret == -ENOENT ? 0 : ret;
}

/* The name at an offset. -ENOENT: it is not there any more. */
static int find_name(struct udf_node *directory, uint64_t offset,
		     struct udf_dirent *entry)
{
	uint64_t position = offset;
	int ret = udf_directory_next(directory, &position, entry);

	return ret == 0 && entry->offset != offset ? -ENOENT : ret;
}

static int remove_name(struct udf_fs *fs, const struct udf_repair_step *step)
{
	struct udf_node *directory = NULL;
	struct udf_dirent entry = { .offset = 0 };
	int ret = get_directory(fs, step->directory, &directory);

	if (ret < 0) {
		return ret;
	}
	ret = find_name(directory, step->offset, &entry);
	if (ret == 0) {
		ret = udf_directory_remove(directory, entry.offset);
	}
	return changed(directory, ret);
}

static int mark_name(struct udf_fs *fs, const struct udf_repair_step *step)
{
	struct udf_node *directory = NULL;
	struct udf_node *target = NULL;
	struct udf_dirent entry = { .offset = 0 };
	int ret = get_directory(fs, step->directory, &directory);

	if (ret < 0) {
		return ret;
	}
	ret = find_name(directory, step->offset, &entry);
	if (ret == 0) {
		ret = udf_node_get(fs, entry.icb, &target);
	}
	if (ret == 0) {
		ret = udf_directory_retarget(directory, entry.offset, target,
					     entry.fid_unique_id);
		udf_node_put(target, 1);
	}
	return changed(directory, ret);
}

static int fill(struct udf_fs *fs, const struct udf_repair_step *step)
{
	struct udf_node *directory = NULL;
	int ret = get_directory(fs, step->directory, &directory);

	if (ret < 0) {
		return ret;
	}
	ret = udf_directory_fill_damage(directory);
	return changed(directory, ret);
}

static int add_parent(struct udf_fs *fs, const struct udf_repair_step *step)
{
	struct udf_node *directory = NULL;
	struct udf_node *parent = NULL;
	uint32_t lbn = 0;
	int ret = get_directory(fs, step->directory, &directory);

	if (ret < 0) {
		return ret;
	}
	if (udf_directory_parent(directory, &lbn) < 0) {
		ret = udf_node_get(fs, step->lbn, &parent);
	}
	if (ret == 0 && parent != NULL) {
		ret = udf_directory_add_parent(directory, parent);
		udf_node_put(parent, 1);
	}
	return changed(directory, ret);
}

/* What of a file can be reached is all of it from now on. */
static int forget_damage(struct udf_node *node, uint64_t size)
{
	if (node->map_error == 0) {
		return 0;
	}
	if (node->embedded) {
		uint8_t *data = calloc(1, (size_t)node->damaged_length + 1);

		if (data == NULL || size > node->damaged_length) {
			free(data);
			return data == NULL ? -ENOMEM : -EUCLEAN;
		}
		memcpy(data, node->damaged, node->damaged_length);
		free(node->data);
		node->data = data;
	}
	free(node->damaged);
	node->damaged = NULL;
	node->damaged_length = 0;
	node->map_error = 0;
	return 0;
}

static int set_extents(struct udf_fs *fs, const struct udf_repair_step *step)
{
	uint32_t block_size = fs->info->block_size;
	uint64_t blocks = 0;
	struct udf_extent hole = { .type = UDF_EXTENT_HOLE };
	struct udf_node *node = NULL;
	int ret = udf_node_get(fs, step->lbn, &node);

	if (ret < 0) {
		return ret;
	}
	ret = forget_damage(node, step->offset);
	if (ret < 0) {
		goto out;
	}
	/* Its names are read anew, as far as they go now. */
	udf_directory_free(node->directory);
	node->directory = NULL;
	node->size = step->offset;
	blocks = node->size / block_size + (node->size % block_size != 0);
	if (!node->embedded) {
		hole.block = udf_extent_map_end(&node->map);
		hole.count = blocks > hole.block ? blocks - hole.block : 0;
		node->beyond_end = blocks < hole.block;
	}
	if (hole.count > 0) {
		ret = udf_extent_map_set(&node->map, &hole);
	}
	if (ret == 0) {
		ret = udf_node_reserve_aeds(node);
	}
	if (ret == 0) {
		udf_commit_dirty(node);
	}
out:
	udf_node_put(node, 1);
	return ret;
}

/*
 * A copy of so many blocks at a place of the map, for one that others have
 * too, which keep it. Returns how many, or a negative errno.
 */
static int64_t copy_blocks(struct udf_node *node, const struct udf_extent *from,
			   uint8_t *buffer)
{
	struct udf_fs *fs = node->fs;
	struct udf_extent to = *from;
	uint32_t count = from->count < COPY_BLOCKS ? (uint32_t)from->count
						   : COPY_BLOCKS;
	int ret = udf_space_allocate(udf_node_data_space(node), 0, &count,
				     &to.lbn);

	if (ret < 0) {
		return ret;
	}
	to.count = count;
	if (to.type == UDF_EXTENT_RECORDED) {
		ret = udf_volume_read(fs->volume, from->lbn, count, buffer);
		if (ret == 0) {
			udf_node_note_data(node, (uint64_t)count *
							 fs->info->block_size);
			ret = udf_volume_write(fs->volume, to.lbn, count,
					       buffer, 0);
		}
	}
	if (ret == 0) {
		ret = udf_node_reserve_aeds(node);
	}
	if (ret == 0) {
		ret = udf_extent_map_set(&node->map, &to);
	}
	if (ret < 0) {
		udf_space_release(&fs->space, to.lbn, count);
		return ret;
	}
	return count;
}

static int copy_run(struct udf_node *node, const struct udf_repair_run *run,
		    uint8_t *buffer)
{
	uint64_t done = 0;

	while (done < run->count) {
		struct udf_extent e = { .count = 0 };
		int64_t copied = 0;

		udf_extent_map_find(&node->map, run->block + done, &e);
		if (e.count > run->count - done) {
			e.count = run->count - done;
		}
		copied = e.type == UDF_EXTENT_HOLE
				 ? (int64_t)e.count
				 : copy_blocks(node, &e, buffer);
		if (copied < 0) {
			return (int)copied;
		}
		done += (uint64_t)copied;
	}
	return 0;
}

/*
 * Blocks of its own for what others have too. What was copied before an error
 * is kept: each part is whole.
 */
static int copy_apart(struct udf_fs *fs, const struct udf_repair_step *step)
{
	const struct udf_repair_run *runs = step->bytes;
	struct udf_node *node = NULL;
	uint8_t *buffer = NULL;
	uint32_t i = 0;
	int ret = udf_node_get(fs, step->lbn, &node);

	if (ret < 0) {
		return ret;
	}
	buffer = malloc((size_t)COPY_BLOCKS * fs->info->block_size);
	if (buffer == NULL) {
		ret = -ENOMEM;
	} else if (node->map_error != 0) {
		ret = node->map_error;
	} else if (udf_node_is_directory(node)) {
		ret = udf_directory_load(node);
	}
	if (ret == 0) {
		ret = udf_node_reserve_aeds(node);
	}
	for (i = 0; i < step->count && ret == 0; i++) {
		ret = copy_run(node, &runs[i], buffer);
	}
	if (node->directory != NULL) {
		udf_directory_moved(node);
	}
	if (node->map_error == 0) {
		udf_commit_dirty(node);
	}
	free(buffer);
	udf_node_put(node, 1);
	return ret;
}

/* Streams have the unique id of their file (UDF 3.3.5). */
static int set_ids_of_streams(struct udf_node *node)
{
	struct udf_node *streams = NULL;
	struct udf_node *stream = NULL;
	struct udf_dirent entry = { .offset = 0 };
	uint64_t position = 0;
	int ret = 0;

	if (node->stream_dir_icb.length == 0) {
		return 0;
	}
	ret = get_directory(node->fs, node->stream_dir_icb.addr.block,
			    &streams);
	if (ret < 0) {
		return ret;
	}
	streams->unique_id = node->unique_id;
	udf_commit_dirty(streams);
	while (ret == 0) {
		ret = udf_directory_next(streams, &position, &entry);
		if (ret == 0 &&
		    udf_node_get(node->fs, entry.icb, &stream) == 0) {
			stream->unique_id = node->unique_id;
			ret = udf_node_reserve_aeds(stream);
			udf_commit_dirty(stream);
			udf_node_put(stream, 1);
		}
	}
	udf_node_put(streams, 1);
	return ret == -ENOENT ? 0 : ret;
}

/* The name in its directory that says a file's unique id. */
static int set_id_of_name(struct udf_node *node, uint32_t directory_lbn)
{
	struct udf_node *directory = NULL;
	struct udf_dirent entry = { .offset = 0 };
	uint64_t position = 0;
	int ret = get_directory(node->fs, directory_lbn, &directory);

	if (ret < 0) {
		return ret;
	}
	do {
		ret = udf_directory_next(directory, &position, &entry);
	} while (ret == 0 && entry.icb != node->lbn);
	if (ret == 0) {
		ret = udf_directory_retarget(directory, entry.offset, node,
					     (uint32_t)node->unique_id);
	}
	return changed(directory, ret);
}

static int set_unique_id(struct udf_fs *fs, const struct udf_repair_step *step)
{
	struct udf_node *node = NULL;
	int ret = udf_node_get(fs, step->lbn, &node);

	if (ret < 0) {
		return ret;
	}
	ret = udf_node_reserve_aeds(node);
	if (ret == 0) {
		node->unique_id = udf_fs_next_unique_id(fs);
		udf_commit_dirty(node);
		ret = set_id_of_name(node, step->directory);
	}
	if (ret == 0) {
		ret = set_ids_of_streams(node);
	}
	udf_node_put(node, 1);
	return ret;
}

static int detach(struct udf_fs *fs, const struct udf_repair_step *step)
{
	struct udf_node *node = NULL;
	int ret = udf_node_get(fs, step->lbn, &node);

	if (ret < 0) {
		return ret;
	}
	ret = udf_node_reserve_aeds(node);
	if (ret == 0 && step->offset == 1) {
		node->stream_dir_icb = (struct udf_ad){ .length = 0 };
		node->streams_size = 0;
	} else if (ret == 0) {
		node->ea_icb = (struct udf_ad){ .length = 0 };
	}
	if (ret == 0) {
		udf_commit_dirty(node);
	}
	udf_node_put(node, 1);
	return ret;
}

/* The directory for files without names; made when it is not there. */
static int lost_and_found(struct udf_fs *fs, struct udf_node **directory)
{
	const struct udf_fs_create create = { .mode = S_IFDIR | 0700 };
	char name[32] = LOST_AND_FOUND;
	unsigned int i = 0;
	int ret = 0;

	for (i = 0; i < 100; i++) {
		ret = udf_fs_lookup(udf_fs_root(fs), name, directory);
		if (ret == -ENOENT) {
			return udf_fs_create(udf_fs_root(fs), name, &create,
					     directory);
		}
		if (ret == 0 && udf_node_is_directory(*directory) &&
		    (*directory)->map_error == 0) {
			return udf_directory_load(*directory);
		}
		if (ret == 0) {
			udf_node_put(*directory, 1);
		}
		snprintf(name, sizeof(name), LOST_AND_FOUND ".%u", i + 1);
	}
	return -EEXIST;
}

static int reconnect_in(struct udf_node *directory, struct udf_node *node)
{
	struct udf_dirent entry = { .offset = 0 };
	char name[16] = "";
	int ret = 0;

	snprintf(name, sizeof(name), "#%u", node->lbn);
	ret = udf_directory_find(directory, name, &entry);
	if (ret != -ENOENT) {
		return ret;
	}
	ret = udf_node_reserve_aeds(directory);
	if (ret == 0) {
		ret = udf_node_reserve_aeds(node);
	}
	if (ret == 0) {
		ret = udf_directory_insert(directory, name, node,
					   (uint32_t)node->unique_id, NULL);
	}
	if (ret == 0 && udf_node_is_directory(node)) {
		ret = udf_directory_load(node);
		if (ret == 0) {
			ret = udf_directory_set_parent(node, directory);
		}
	}
	if (ret == 0) {
		/* A stream without its file is a file. */
		node->icb_flags &= (uint16_t)~UDF_ICB_STREAM;
		udf_commit_dirty(node);
		udf_commit_dirty(directory);
	}
	return ret;
}

static int reconnect(struct udf_fs *fs, const struct udf_repair_step *step)
{
	struct udf_node *directory = NULL;
	struct udf_node *node = NULL;
	int ret = lost_and_found(fs, &directory);

	if (ret < 0) {
		return ret;
	}
	ret = udf_node_get(fs, step->lbn, &node);
	if (ret == 0) {
		ret = udf_operation_begin(fs);
	}
	if (ret == 0) {
		ret = reconnect_in(directory, node);
		udf_operation_end(fs);
	}
	if (node != NULL) {
		udf_node_put(node, 1);
	}
	udf_node_put(directory, 1);
	return ret;
}

static int change(struct udf_fs *fs, const struct udf_repair_step *step)
{
	switch (step->action) {
	case UDF_REPAIR_COPY:
		return copy_apart(fs, step);
	case UDF_REPAIR_REMOVE_NAME:
		return remove_name(fs, step);
	case UDF_REPAIR_MARK_NAME:
		return mark_name(fs, step);
	case UDF_REPAIR_FILL:
		return fill(fs, step);
	case UDF_REPAIR_PARENT:
		return add_parent(fs, step);
	case UDF_REPAIR_EXTENTS:
		return set_extents(fs, step);
	case UDF_REPAIR_UNIQUE_ID:
		return set_unique_id(fs, step);
	case UDF_REPAIR_DETACH:
		return detach(fs, step);
	default:
		return -EINVAL;
	}
}

int udf_repair_tree_step(struct udf_fs *fs, const struct udf_repair_step *step)
{
	int ret = 0;

	if (step->action == UDF_REPAIR_RECONNECT) {
		/* It makes a directory, which is an operation. */
		return reconnect(fs, step);
	}
	ret = udf_operation_begin(fs);
	if (ret < 0) {
		return ret;
	}
	ret = change(fs, step);
	udf_operation_end(fs);
	return ret;
}
