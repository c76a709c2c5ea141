/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Non-Allocatable Space: see non_allocatable.h.
 *
 * The blocks that data is moved away from are released like any others. At
 * the end of the commit, when nothing on the medium refers to them any more,
 * the space hands those of bad packets out as withheld instead of freeing
 * them, and the next commit records them: no block is ever claimed twice.
 *
 * An ICB and the space bitmap cannot move: names and descriptors lead to
 * their blocks. What was written there stays in memory, and each sync says
 * that it could not be saved.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "commit.h"
#include "directory.h"
#include "fs.h"
#include "non_allocatable.h"

#define FILE_NAME "Non-Allocatable Space"
#define STREAM_NAME "*UDF Non-Allocatable Space"

/* Blocks moved at once. */
#define MOVE_BLOCKS_MAX 256u

/* The file's node, with a reference. -ENOENT: the volume has none. */
static int find_file(struct udf_fs *fs, struct udf_node **file)
{
	const struct udf_ad *streams = &fs->system_stream_dir_icb;
	bool is_stream = fs->info->revision >= 0x0200;
	struct udf_dirent entry = { .offset = 0 };
	struct udf_node *directory = NULL;
	int ret = 0;

	if (!is_stream) {
		directory = fs->root;
		udf_node_ref(directory, 1);
	} else if (streams->length == 0) {
		return -ENOENT;
	} else {
		ret = udf_node_get(fs, streams->addr.block, &directory);
		if (ret < 0) {
			return ret;
		}
	}
	ret = udf_directory_load(directory);
	if (ret == 0) {
		ret = udf_directory_find(directory,
					 is_stream ? STREAM_NAME : FILE_NAME,
					 &entry);
	}
	udf_node_put(directory, 1);
	if (ret < 0) {
		return ret;
	}
	return udf_node_get(fs, entry.icb, file);
}

/* Put the runs behind what the file has. Those before *done are in it. */
static int append_runs(struct udf_node *file, const struct udf_run_list *runs,
		       size_t *done)
{
	int ret = 0;

	if (file->map_error != 0 || file->write_once || file->size != 0) {
		return -EUCLEAN;
	}
	if (file->embedded) {
		file->embedded = false;
		free(file->data);
		file->data = NULL;
	}
	while (*done < runs->count && ret == 0) {
		const struct udf_extent extent = {
			.block = udf_extent_map_end(&file->map),
			.count = runs->runs[*done].count,
			.lbn = runs->runs[*done].lbn,
			.type = UDF_EXTENT_ALLOCATED,
		};

		ret = udf_node_reserve_aeds(file);
		if (ret == 0) {
			ret = udf_extent_map_set(&file->map, &extent);
		}
		if (ret == 0) {
			(*done)++;
		}
	}
	if (*done > 0) {
		file->attribute = udf_node_now();
		udf_commit_dirty(file);
	}
	return ret;
}

static uint64_t count_blocks(const struct udf_run_list *runs, size_t first)
{
	uint64_t blocks = 0;

	for (size_t i = first; i < runs->count; i++) {
		blocks += runs->runs[i].count;
	}
	return blocks;
}

void udf_non_allocatable_record(struct udf_fs *fs)
{
	struct udf_run_list runs = { .runs = NULL };
	struct udf_node *file = NULL;
	size_t done = 0;
	int ret = 0;

	udf_space_take_withheld(&fs->space, &runs);
	if (runs.count == 0) {
		return;
	}
	ret = find_file(fs, &file);
	if (ret == 0) {
		pthread_rwlock_wrlock(&file->lock);
		ret = append_runs(file, &runs, &done);
		pthread_rwlock_unlock(&file->lock);
		udf_node_put(file, 1);
	}
	if (done > 0) {
		udf_volume_log(fs->volume, UDF_LOG_NOTICE,
			       "defect event=non-allocatable blocks=%llu",
			       (unsigned long long)(count_blocks(&runs, 0) -
						    count_blocks(&runs, done)));
	}
	if (ret < 0) {
		udf_volume_log(fs->volume, UDF_LOG_WARNING,
			       "defect event=not-recorded blocks=%llu: they "
			       "are not used during this mount, but cannot be "
			       "put into the Non-Allocatable Space: %s",
			       (unsigned long long)count_blocks(&runs, done),
			       strerror(-ret));
	}
	udf_run_list_free(&runs);
}

/*
 * Move a run of blocks of a node elsewhere. Returns how many were moved, or a
 * negative errno.
 */
static int64_t move_run(struct udf_node *node, const struct udf_extent *from,
			uint8_t *buffer)
{
	struct udf_fs *fs = node->fs;
	struct udf_extent to = *from;
	uint32_t count = (uint32_t)from->count;
	int ret = 0;

	ret = udf_space_allocate(&fs->space, 0, &count, &to.lbn);
	if (ret < 0) {
		return ret;
	}
	to.count = count;
	ret = udf_volume_read(fs->volume, from->lbn, count, buffer);
	if (ret == 0) {
		udf_node_note_data(node,
				   (uint64_t)count * fs->info->block_size);
		ret = udf_volume_write(fs->volume, to.lbn, count, buffer, 0);
	}
	if (ret == 0) {
		ret = udf_node_reserve_aeds(node);
	}
	if (ret == 0) {
		ret = udf_extent_map_set(&node->map, &to);
	}
	if (ret < 0) {
		udf_volume_forget(fs->volume, to.lbn, count);
		udf_space_release(&fs->space, to.lbn, count);
		return ret;
	}
	udf_volume_forget(fs->volume, from->lbn, count);
	udf_space_release(&fs->space, from->lbn, count);
	return count;
}

/* The first run of failed blocks in an extent; false: none. */
static bool failed_run(const struct udf_extent *e,
		       const struct udf_block_list *failed,
		       struct udf_extent *run)
{
	size_t i = udf_block_list_find(failed, e->lbn);

	if (e->type != UDF_EXTENT_RECORDED || i == failed->count ||
	    failed->blocks[i] - e->lbn >= e->count) {
		return false;
	}
	*run = *e;
	run->lbn = failed->blocks[i];
	run->block += run->lbn - e->lbn;
	run->count = 0;
	while (i < failed->count && run->count < MOVE_BLOCKS_MAX &&
	       failed->blocks[i] == run->lbn + run->count &&
	       failed->blocks[i] - e->lbn < e->count) {
		run->count++;
		i++;
	}
	return true;
}

/* Move all failed blocks of a node that can move; how many were. */
static uint64_t evacuate_node(struct udf_node *node,
			      const struct udf_block_list *failed,
			      uint8_t *buffer)
{
	uint64_t end = udf_extent_map_end(&node->map);
	uint64_t block = 0;
	uint64_t moved = 0;

	if (node->map_error != 0 || node->embedded || node->unlinked) {
		return 0;
	}
	while (block < end) {
		struct udf_extent run = { .count = 0 };
		struct udf_extent e = { .count = 0 };
		int64_t ret = 0;

		udf_extent_map_find(&node->map, block, &e);
		if (!failed_run(&e, failed, &run)) {
			block = e.block + e.count;
			continue;
		}
		ret = move_run(node, &run, buffer);
		if (ret > 0) {
			moved += (uint64_t)ret;
			block = run.block + (uint64_t)ret;
		} else {
			block = run.block + run.count;
		}
	}
	if (moved > 0 && node->directory != NULL) {
		udf_directory_moved(node);
	}
	return moved;
}

/* Nothing new goes to a bad packet. */
static void withhold_packets(struct udf_fs *fs)
{
	struct udf_block_list bad = { .count = 0 };

	if (udf_volume_bad_packets(fs->volume, &bad) < 0) {
		return;
	}
	for (size_t i = 0; i < bad.count; i++) {
		udf_space_withhold(&fs->space, bad.blocks[i],
				   fs->info->packet_blocks);
	}
	udf_block_list_free(&bad);
}

bool udf_non_allocatable_evacuate(struct udf_fs *fs)
{
	struct udf_block_list failed = { .count = 0 };
	struct udf_node *node = NULL;
	uint8_t *buffer = NULL;
	uint64_t moved = 0;

	if (udf_volume_failed_blocks(fs->volume, &failed) < 0 ||
	    failed.count == 0) {
		return false;
	}
	withhold_packets(fs);
	buffer = malloc((size_t)MOVE_BLOCKS_MAX * fs->info->block_size);
	if (buffer == NULL) {
		goto out;
	}
	/* What a failed commit was about is on the list of changes again, and
	 * what is not there was saved by an earlier one. */
	pthread_mutex_lock(&fs->commit.lock);
	node = fs->commit.dirty_first;
	pthread_mutex_unlock(&fs->commit.lock);
	while (node != NULL) {
		pthread_rwlock_wrlock(&node->lock);
		moved += evacuate_node(node, &failed, buffer);
		pthread_rwlock_unlock(&node->lock);
		node = node->dirty_next;
	}
	if (moved > 0) {
		udf_volume_log(fs->volume, UDF_LOG_NOTICE,
			       "defect event=moved blocks=%llu: data of bad "
			       "packets is elsewhere now",
			       (unsigned long long)moved);
	}
out:
	free(buffer);
	udf_block_list_free(&failed);
	return moved > 0;
}

int udf_non_allocatable_runs(struct udf_fs *fs, struct udf_run_list *runs)
{
	struct udf_node *file = NULL;
	int ret = find_file(fs, &file);

	if (ret < 0) {
		return ret == -ENOENT ? 0 : ret;
	}
	pthread_rwlock_rdlock(&file->lock);
	for (size_t i = 0; i < file->map.count && ret == 0; i++) {
		const struct udf_extent *e = &file->map.extents[i];

		if (e->type != UDF_EXTENT_HOLE) {
			ret = udf_run_list_add(runs, e->lbn,
					       (uint32_t)e->count);
		}
	}
	pthread_rwlock_unlock(&file->lock);
	udf_node_put(file, 1);
	udf_run_list_sort(runs);
	return ret;
}

static void set_state(uint8_t *states, uint32_t first, uint32_t count,
		      uint32_t lbn, uint64_t blocks, uint8_t state)
{
	uint64_t end = lbn + blocks;
	uint32_t i = lbn < first ? 0 : lbn - first;

	for (; i < count && first + i < end; i++) {
		if (states[i] != UDF_BLOCK_FREE) {
			states[i] = state;
		}
	}
}

static void mark_relocated(struct udf_fs *fs, uint32_t first, uint32_t count,
			   uint8_t *states)
{
	struct udf_sparing_entry *entries = NULL;
	uint32_t n = 0;

	if (udf_volume_sparing_entries(fs->volume, &entries, &n) < 0) {
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		if (entries[i].original < UDF_SPARE_DEFECTIVE) {
			set_state(states, first, count, entries[i].original,
				  fs->info->packet_blocks,
				  UDF_BLOCK_RELOCATED);
		}
	}
	free(entries);
}

static void mark_defective(struct udf_fs *fs, uint32_t first, uint32_t count,
			   uint8_t *states)
{
	struct udf_block_list bad = { .count = 0 };
	struct udf_node *file = NULL;

	if (udf_volume_bad_packets(fs->volume, &bad) == 0) {
		for (size_t i = 0; i < bad.count; i++) {
			set_state(states, first, count, bad.blocks[i],
				  fs->info->packet_blocks,
				  UDF_BLOCK_DEFECTIVE);
		}
	}
	udf_block_list_free(&bad);
	if (find_file(fs, &file) < 0) {
		return;
	}
	pthread_rwlock_rdlock(&file->lock);
	for (size_t i = 0; i < file->map.count; i++) {
		const struct udf_extent *e = &file->map.extents[i];

		if (e->type == UDF_EXTENT_ALLOCATED) {
			set_state(states, first, count, e->lbn, e->count,
				  UDF_BLOCK_DEFECTIVE);
		}
	}
	pthread_rwlock_unlock(&file->lock);
	udf_node_put(file, 1);
}

int udf_fs_map(struct udf_fs *fs, uint32_t first, uint32_t count,
	       uint8_t *states)
{
	int ret = udf_space_look(&fs->space, first, count, states);

	if (ret < 0) {
		return ret;
	}
	for (uint32_t i = 0; i < count; i++) {
		states[i] = states[i] ? UDF_BLOCK_FREE : UDF_BLOCK_USED;
	}
	mark_relocated(fs, first, count, states);
	mark_defective(fs, first, count, states);
	return 0;
}
