/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The ordered write-back of metadata.
 *
 * A commit stops all operations for as long as it takes to copy what they
 * changed, then writes the copy while they go on. On the medium is a whole
 * file system before it (O) and after it (N). What is written, in this order,
 * each step on the medium before the next:
 *
 *   1. what O does not refer to: data (written by then), new ICBs, AEDs,
 *      which always go to new blocks, new directories; and the space bitmap
 *      with the blocks of O and N in use
 *   2. ICBs of files; blocks of directories with the names that are new, but
 *      with the names that go still there
 *   3. ICBs of directories, which make appended names visible
 *   4. blocks of directories without the FIDs of names that have another one
 *      now
 *   5. blocks of directories without the names that go
 *
 * After it the blocks that N does not use are free. So a name never leads to
 * an ICB that is not there, a file that is renamed has its old name, its new
 * name or both, and no block of O is used for something else before N is
 * complete. What a power cut can leave behind is repaired at the next mount
 * (recover.c): link counts that are off by the commit's changes, two FIDs of
 * one name, blocks that nothing uses. Of the two FIDs the older one stays,
 * unless what it leads to has another name and the newer one's has not: so it
 * may not outlive the old name of a file that came in its place, hence step 4
 * before 5.
 *
 * When the metadata partition has grown (metadata_growth.h), the ICBs of its
 * files are written in step 2, and its new blocks are free after the commit.
 *
 * Many callers that wait at once are served by one commit.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "commit.h"
#include "directory.h"
#include "non_allocatable.h"
#include "operation.h"
#include "owners.h"

/* Changes are on the medium after about this long, without an fsync. */
#define COMMIT_INTERVAL_S 5

/* So often is data moved off bad packets before a commit fails. */
#define EVACUATIONS_MAX 64u

/* Blocks joined into one write. */
#define WRITE_BLOCKS_MAX 256u

enum phase {
	PHASE_NEW,
	PHASE_NAMES,
	PHASE_DIRECTORIES,
	PHASE_REPLACED,
	PHASE_REMOVALS,
	PHASE_COUNT,
};

struct image {
	uint32_t lbn;
	uint8_t *bytes;
};

struct image_list {
	struct image *images;
	size_t count;
	size_t capacity;
};

struct committed_node {
	struct udf_node *node;
	bool was_fresh;
};

struct snapshot {
	struct udf_fs *fs;
	struct image_list phases[PHASE_COUNT];
	struct committed_node *nodes;
	size_t node_count;
	struct udf_run_list released;
	bool has_growth; /* of the metadata partition */
	enum phase icb_phase; /* of the node that is being encoded */
	bool only_no_spare; /* all that went wrong were bad packets */
};

int udf_commit_init(struct udf_fs *fs)
{
	struct udf_commit *commit = &fs->commit;
	pthread_condattr_t attributes;

	*commit = (struct udf_commit){ .result = 0 };
	pthread_mutex_init(&commit->lock, NULL);
	pthread_cond_init(&commit->done, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&commit->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	return 0;
}

void udf_commit_destroy(struct udf_fs *fs)
{
	struct udf_commit *commit = &fs->commit;

	pthread_cond_destroy(&commit->wake);
	pthread_cond_destroy(&commit->done);
	pthread_mutex_destroy(&commit->lock);
}

void udf_commit_dirty(struct udf_node *node)
{
	struct udf_commit *commit = &node->fs->commit;

	udf_node_trim(node);
	pthread_mutex_lock(&commit->lock);
	/* Nothing on the medium leads to a node without a name. */
	if (!node->dirty && !node->unlinked) {
		node->dirty = true;
		node->dirty_prev = NULL;
		node->dirty_next = commit->dirty_first;
		if (node->dirty_next != NULL) {
			node->dirty_next->dirty_prev = node;
		}
		commit->dirty_first = node;
		commit->dirty_count++;
		udf_node_ref(node, 1);
	}
	pthread_mutex_unlock(&commit->lock);
}

void udf_commit_forget(struct udf_node *node)
{
	struct udf_commit *commit = &node->fs->commit;
	bool was_dirty = false;

	pthread_mutex_lock(&commit->lock);
	was_dirty = node->dirty;
	if (was_dirty) {
		if (node->dirty_prev != NULL) {
			node->dirty_prev->dirty_next = node->dirty_next;
		} else {
			commit->dirty_first = node->dirty_next;
		}
		if (node->dirty_next != NULL) {
			node->dirty_next->dirty_prev = node->dirty_prev;
		}
		node->dirty = false;
		node->dirty_next = NULL;
		node->dirty_prev = NULL;
		commit->dirty_count--;
	}
	pthread_mutex_unlock(&commit->lock);
	if (was_dirty) {
		udf_node_put(node, 1);
	}
}

static int image_add(struct snapshot *snapshot, enum phase phase, uint32_t lbn,
		     const uint8_t *block)
{
	struct image_list *list = &snapshot->phases[phase];
	uint32_t block_size = snapshot->fs->info->block_size;
	uint8_t *bytes = NULL;

	if (list->count == list->capacity) {
		size_t capacity = list->capacity < 64 ? 64 : list->capacity * 2;
		struct image *bigger = NULL;

		bigger = realloc(list->images, capacity * sizeof(*bigger));
		if (bigger == NULL) {
			return -ENOMEM;
		}
		list->images = bigger;
		list->capacity = capacity;
	}
	bytes = malloc(block_size);
	if (bytes == NULL) {
		return -ENOMEM;
	}
	memcpy(bytes, block, block_size);
	list->images[list->count].lbn = lbn;
	list->images[list->count].bytes = bytes;
	list->count++;
	return 0;
}

static int store_bitmap(void *private_data, uint32_t lbn, const uint8_t *block)
{
	return image_add(private_data, PHASE_NEW, lbn, block);
}

/* An ICB of a metadata partition's files, behind what it leads to. */
static int store_metadata_icb(void *private_data, uint32_t lbn,
			      const uint8_t *block)
{
	return image_add(private_data, PHASE_NAMES, lbn, block);
}

static int store_node(void *private_data, uint32_t lbn, const uint8_t *block,
		      bool is_icb)
{
	struct snapshot *snapshot = private_data;

	return image_add(snapshot, is_icb ? snapshot->icb_phase : PHASE_NEW,
			 lbn, block);
}

static enum phase phase_of_stage(enum udf_directory_stage stage)
{
	switch (stage) {
	case UDF_STAGE_NAMES:
		return PHASE_NAMES;
	case UDF_STAGE_REPLACED:
		return PHASE_REPLACED;
	case UDF_STAGE_REMOVED:
		break;
	}
	return PHASE_REMOVALS;
}

static int store_directory(void *private_data, uint32_t lbn,
			   const uint8_t *block,
			   enum udf_directory_stage stage)
{
	return image_add(private_data, phase_of_stage(stage), lbn, block);
}

static int store_embedded(void *private_data, struct udf_node *node,
			  const uint8_t *data, enum udf_directory_stage stage)
{
	struct snapshot *snapshot = private_data;

	snapshot->icb_phase = phase_of_stage(stage);
	if (node->fresh) {
		snapshot->icb_phase = PHASE_NEW;
	}
	return udf_node_encode(node, data, store_node, snapshot);
}

/* Copy one node as it shall be on the medium. */
static int snapshot_node(struct snapshot *snapshot, struct udf_node *node)
{
	struct udf_directory_sink sink = {
		.store = store_directory,
		.store_embedded = store_embedded,
		.private_data = snapshot,
	};
	int ret = 0;

	if (node->directory != NULL) {
		ret = udf_directory_store(node, &sink);
		if (ret < 0 || node->embedded) {
			return ret;
		}
	}
	snapshot->icb_phase = PHASE_NAMES;
	if (node->fresh) {
		snapshot->icb_phase = PHASE_NEW;
	} else if (udf_node_is_directory(node)) {
		snapshot->icb_phase = PHASE_DIRECTORIES;
	}
	return udf_node_encode(node, NULL, store_node, snapshot);
}

/* Copy all that changed. No operation is running. */
static int snapshot_take(struct snapshot *snapshot)
{
	struct udf_fs *fs = snapshot->fs;
	struct udf_commit *commit = &fs->commit;
	struct udf_node *node = NULL;
	size_t count = 0;
	int result = 0;
	int ret = 0;

	pthread_mutex_lock(&commit->lock);
	node = commit->dirty_first;
	count = commit->dirty_count;
	snapshot->nodes = calloc(count + 1, sizeof(*snapshot->nodes));
	if (snapshot->nodes == NULL) {
		pthread_mutex_unlock(&commit->lock);
		return -ENOMEM;
	}
	commit->dirty_first = NULL;
	commit->dirty_count = 0;
	while (node != NULL) {
		struct udf_node *next = node->dirty_next;

		snapshot->nodes[snapshot->node_count].node = node;
		snapshot->nodes[snapshot->node_count].was_fresh = node->fresh;
		snapshot->node_count++;
		node->dirty = false;
		node->dirty_next = NULL;
		node->dirty_prev = NULL;
		node = next;
	}
	pthread_mutex_unlock(&commit->lock);

	for (size_t i = 0; i < snapshot->node_count; i++) {
		node = snapshot->nodes[i].node;
		/* Nothing on the medium will lead to an ended node. */
		if (!node->unlinked) {
			ret = snapshot_node(snapshot, node);
			result = result < 0 ? result : ret;
		}
		if (ret == 0) {
			node->fresh = false;
		}
	}
	udf_space_detach_released(&fs->space, &snapshot->released);
	/* Else a bad block of a file that is gone would fail each commit. */
	for (size_t i = 0; i < snapshot->released.count; i++) {
		const struct udf_run *run = &snapshot->released.runs[i];

		udf_volume_forget(fs->volume, run->lbn, run->count);
	}
	ret = udf_space_store(&fs->space, store_bitmap, snapshot);
	result = result < 0 ? result : ret;
	if (fs->growth_pending) {
		snapshot->has_growth = true;
		ret = udf_volume_metadata_encode(fs->volume,
						 store_metadata_icb, snapshot);
		result = result < 0 ? result : ret;
	}
	return result;
}

static int image_compare(const void *a, const void *b)
{
	const struct image *x = a;
	const struct image *y = b;

	return x->lbn < y->lbn ? -1 : x->lbn > y->lbn;
}

/* Write one phase, neighbouring blocks together. Goes on after an error. */
static int phase_write(struct snapshot *snapshot, enum phase phase)
{
	struct udf_fs *fs = snapshot->fs;
	struct image_list *list = &snapshot->phases[phase];
	uint32_t block_size = fs->info->block_size;
	uint8_t *buffer = NULL;
	int result = 0;
	size_t i = 0;

	if (list->count == 0) {
		return 0;
	}
	buffer = malloc((size_t)WRITE_BLOCKS_MAX * block_size);
	if (buffer == NULL) {
		return -ENOMEM;
	}
	qsort(list->images, list->count, sizeof(*list->images), image_compare);
	while (i < list->count) {
		uint32_t first = list->images[i].lbn;
		uint32_t count = 0;
		int ret = 0;

		/* Two partitions are not next to each other. */
		while (i < list->count && count < WRITE_BLOCKS_MAX &&
		       list->images[i].lbn == first + count &&
		       (count == 0 ||
			first + count != fs->info->partition_blocks)) {
			memcpy(&buffer[(size_t)count * block_size],
			       list->images[i].bytes, block_size);
			count++;
			i++;
		}
		ret = udf_volume_write(fs->volume, first, count, buffer, 0);
		if (ret < 0) {
			result = ret;
		}
	}
	free(buffer);
	return result;
}

/*
 * All phases. After an error the rest is written all the same: what the
 * medium still takes is better there than lost with the memory. The caller
 * is told, nothing is freed, and all is written again with the next commit.
 */
static int snapshot_write(struct snapshot *snapshot)
{
	struct udf_fs *fs = snapshot->fs;
	int result = 0;

	for (int phase = 0; phase < PHASE_COUNT; phase++) {
		int write_ret = 0;
		int sync_ret = 0;

		if (phase > 0 && snapshot->phases[phase].count == 0) {
			continue;
		}
		write_ret = phase_write(snapshot, phase);
		sync_ret = udf_volume_sync(fs->volume);
		if ((write_ret < 0 && write_ret != -ENOSPC) ||
		    (sync_ret < 0 && sync_ret != -ENOSPC)) {
			snapshot->only_no_spare = false;
		}
		result = result < 0 ? result : write_ret;
		result = result < 0 ? result : sync_ret;
	}
	return result;
}

/* How many of the listed blocks are data of a file. */
static uint64_t count_data(struct udf_node *node,
			   const struct udf_block_list *blocks)
{
	uint64_t count = 0;

	if (udf_node_is_directory(node) || node->embedded) {
		return 0;
	}
	pthread_rwlock_rdlock(&node->lock);
	for (size_t i = 0; i < node->map.count; i++) {
		const struct udf_extent *e = &node->map.extents[i];
		size_t n = udf_block_list_find(blocks, e->lbn);

		while (e->type == UDF_EXTENT_RECORDED && n < blocks->count &&
		       blocks->blocks[n] - e->lbn < e->count) {
			count++;
			n++;
		}
	}
	pthread_rwlock_unlock(&node->lock);
	return count;
}

/*
 * The commit failed: is the whole tree N on the medium all the same, since
 * all that could not be saved is data of files? Then what N does not use can
 * be free; without that, no space could be made for such data by removing
 * other files.
 */
static bool is_tree_saved(const struct snapshot *snapshot)
{
	struct udf_volume *volume = snapshot->fs->volume;
	struct udf_defect_status status = { .bad_packets = 0 };
	struct udf_block_list failed = { .count = 0 };
	uint64_t data = 0;
	uint64_t all = 0;
	bool saved = false;

	if (!snapshot->only_no_spare ||
	    udf_volume_failed_blocks(volume, &failed) < 0) {
		return false;
	}
	udf_volume_defect_status(volume, &status);
	all = status.memory.failed / snapshot->fs->info->block_size;
	for (size_t i = 0; i < snapshot->node_count; i++) {
		data += count_data(snapshot->nodes[i].node, &failed);
	}
	saved = data == failed.count && all == failed.count;
	udf_block_list_free(&failed);
	return saved;
}

static void snapshot_finish(struct snapshot *snapshot, int result)
{
	struct udf_fs *fs = snapshot->fs;

	pthread_rwlock_wrlock(&fs->operations);
	for (size_t i = 0; i < snapshot->node_count; i++) {
		struct udf_node *node = snapshot->nodes[i].node;

		udf_directory_stored(node, result == 0);
		if (result < 0 && !node->unlinked) {
			node->fresh = snapshot->nodes[i].was_fresh;
			udf_commit_dirty(node);
		}
	}
	if (result < 0 && !is_tree_saved(snapshot)) {
		udf_space_reattach(&fs->space, &snapshot->released);
	} else {
		udf_space_free_runs(&fs->space, &snapshot->released);
	}
	if (result < 0) {
		udf_space_mark_all_dirty(&fs->space);
	} else if (snapshot->has_growth) {
		fs->growth_pending = false;
		udf_space_use_growth(udf_space_for_metadata(&fs->space));
	}
	pthread_rwlock_unlock(&fs->operations);

	for (size_t i = 0; i < snapshot->node_count; i++) {
		udf_node_put(snapshot->nodes[i].node, 1);
	}
	free(snapshot->nodes);
	for (int phase = 0; phase < PHASE_COUNT; phase++) {
		struct image_list *list = &snapshot->phases[phase];

		for (size_t i = 0; i < list->count; i++) {
			free(list->images[i].bytes);
		}
		free(list->images);
	}
}

static int commit_run(struct udf_fs *fs)
{
	struct snapshot snapshot = { .fs = fs };
	int result = 0;
	int ret = 0;

	pthread_rwlock_wrlock(&fs->operations);
	udf_non_allocatable_record(fs);
	result = snapshot_take(&snapshot);
	pthread_rwlock_unlock(&fs->operations);

	snapshot.only_no_spare = result == 0;
	ret = snapshot_write(&snapshot);
	result = result < 0 ? result : ret;
	snapshot_finish(&snapshot, result);
	/* The list of dirty nodes may have been the last to know some. */
	udf_operation_reap(fs);
	return result;
}

/*
 * Where a bad packet has no spare, its data goes elsewhere, if it can. With
 * defect management a commit is tried twice in any case: the error may be one
 * that the volume found in the background, of blocks that were released since.
 */
static int commit_and_evacuate(struct udf_fs *fs)
{
	bool again = fs->info->defect_managed;
	unsigned int tries = 0;
	int result = commit_run(fs);

	while (result < 0 && again && tries < EVACUATIONS_MAX) {
		pthread_rwlock_wrlock(&fs->operations);
		again = udf_non_allocatable_evacuate(fs) || tries == 0;
		pthread_rwlock_unlock(&fs->operations);
		if (again) {
			result = commit_run(fs);
		}
		tries++;
	}
	return result;
}

int udf_commit(struct udf_fs *fs)
{
	struct udf_commit *commit = &fs->commit;
	uint64_t wanted = 0;
	int result = 0;

	if (fs->read_only) {
		return 0;
	}
	pthread_mutex_lock(&commit->lock);
	/* One that already runs may have taken its copy before. */
	wanted = commit->started + 1;
	while (commit->finished < wanted) {
		if (commit->running) {
			pthread_cond_wait(&commit->done, &commit->lock);
			continue;
		}
		commit->running = true;
		commit->started++;
		pthread_mutex_unlock(&commit->lock);
		result = commit_and_evacuate(fs);
		pthread_mutex_lock(&commit->lock);
		commit->running = false;
		commit->finished = commit->started;
		commit->result = result;
		pthread_cond_broadcast(&commit->done);
	}
	result = commit->result;
	pthread_mutex_unlock(&commit->lock);
	return result;
}

static void *commit_thread(void *private_data)
{
	struct udf_fs *fs = private_data;
	struct udf_commit *commit = &fs->commit;

	pthread_mutex_lock(&commit->lock);
	while (!commit->stop) {
		struct timespec until = { .tv_sec = 0 };
		bool needed = false;
		int ret = 0;

		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += COMMIT_INTERVAL_S;
		while (!commit->stop && ret == 0) {
			ret = pthread_cond_timedwait(&commit->wake,
						     &commit->lock, &until);
		}
		needed = !commit->stop &&
			 (commit->dirty_count > 0 ||
			  udf_space_has_released(&fs->space));
		pthread_mutex_unlock(&commit->lock);
		if (needed) {
			ret = udf_commit(fs);
			if (ret < 0) {
				udf_volume_log(fs->volume, UDF_LOG_ERROR,
					       "changes could not be written: "
					       "%s; they stay in memory",
					       strerror(-ret));
			}
		}
		udf_owners_report_damage(fs);
		pthread_mutex_lock(&commit->lock);
	}
	pthread_mutex_unlock(&commit->lock);
	return NULL;
}

int udf_commit_start_thread(struct udf_fs *fs)
{
	struct udf_commit *commit = &fs->commit;
	int ret = 0;

	if (fs->read_only) {
		return 0;
	}
	ret = pthread_create(&commit->thread, NULL, commit_thread, fs);
	if (ret != 0) {
		return -ret;
	}
	commit->thread_started = true;
	return 0;
}

void udf_commit_stop_thread(struct udf_fs *fs)
{
	struct udf_commit *commit = &fs->commit;

	if (!commit->thread_started) {
		return;
	}
	pthread_mutex_lock(&commit->lock);
	commit->stop = true;
	pthread_cond_broadcast(&commit->wake);
	pthread_mutex_unlock(&commit->lock);
	pthread_join(commit->thread, NULL);
	commit->thread_started = false;
}
