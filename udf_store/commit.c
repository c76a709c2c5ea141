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
 *      which go to new blocks unless they say the same as before, new
 *      directories; and the space bitmap with the blocks of O and N in use
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
 *
 * A sync of one file does not wait for the data of others where writes are
 * verified and so it is known which of them are on the medium: a file with
 * data that is not is left out of its commit, and stays as it is in O; one
 * that O does not have is in N without data. Then nothing of O is freed. All
 * data is waited for outside of any commit, and again, with the
 * file's writers at their gates, when more has come meanwhile. So what is left
 * to do within a commit is little, and nobody waits long for it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "array.h"
#include "commit.h"
#include "directory.h"
#include "fs.h"
#include "non_allocatable.h"
#include "operation.h"
#include "owners.h"

/* Changes are on the medium after about this long, without an fsync. */
#define COMMIT_INTERVAL_S 5

/* More unverified data than this is waited for before gates are closed. */
#define SETTLE_BYTES (1024u * 1024u)

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
	uint64_t written; /* data, see node.h */
	bool was_fresh;
	bool is_empty; /* in N without its data */
};

/* Who waits for a commit, for a file (with a reference) or for all. */
struct udf_commit_waiter {
	struct udf_commit_waiter *next;
	struct udf_node *node; /* NULL: all */
	uint64_t written;      /* when the copy was taken */
	int result;
	bool done;
};

struct snapshot {
	struct udf_fs *fs;
	struct udf_commit_waiter *waiters;
	bool is_whole; /* no node is left out for its data */
	struct udf_run_list data; /* blocks to be on the medium before ICBs */
	int shared_error; /* with what all waiters need */
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

	*commit = (struct udf_commit){ .running = false };
	pthread_mutex_init(&commit->lock, NULL);
	pthread_cond_init(&commit->done, NULL);
	pthread_cond_init(&commit->opened, NULL);
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
	pthread_cond_destroy(&commit->opened);
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

/* Take a node off the list of dirty ones; lock is held. */
static void unlist_dirty(struct udf_commit *commit, struct udf_node *node)
{
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

void udf_commit_forget(struct udf_node *node)
{
	struct udf_commit *commit = &node->fs->commit;
	bool was_dirty = false;

	pthread_mutex_lock(&commit->lock);
	was_dirty = node->dirty;
	if (was_dirty) {
		unlist_dirty(commit, node);
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
	struct image *images = udf_array_grow(list->images, list->count,
					      &list->capacity, sizeof(*images));
	uint8_t *bytes = NULL;

	if (images == NULL) {
		return -ENOMEM;
	}
	list->images = images;
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
	case UDF_STAGE_NEW:
		return PHASE_NEW;
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

/* Does somebody wait for this node, or for all? */
static bool is_awaited(const struct snapshot *snapshot,
		       const struct udf_node *node)
{
	const struct udf_commit_waiter *waiter = snapshot->waiters;

	while (waiter != NULL && waiter->node != NULL &&
	       waiter->node != node) {
		waiter = waiter->next;
	}
	return waiter != NULL;
}

/*
 * The node's data would have to be waited for, and nobody asked for that. An
 * attribute (a named stream) belongs to a file that somebody may have asked
 * for, and a file that took another's name must not be empty under it.
 */
static bool is_left_out(const struct snapshot *snapshot,
			const struct udf_node *node)
{
	return udf_node_has_unsynced(node) &&
	       node->file_type == UDF_FT_REGULAR &&
	       (node->icb_flags & UDF_ICB_STREAM) == 0 && !node->replaces &&
	       !node->unlinked && !is_awaited(snapshot, node);
}

/* Choose the nodes; with references. No operation is running. */
static int choose_nodes(struct snapshot *snapshot)
{
	struct udf_commit *commit = &snapshot->fs->commit;
	struct udf_node *node = NULL;
	struct udf_node *next = NULL;

	pthread_mutex_lock(&commit->lock);
	snapshot->nodes = calloc(commit->dirty_count + 1,
				 sizeof(*snapshot->nodes));
	if (snapshot->nodes == NULL) {
		pthread_mutex_unlock(&commit->lock);
		return -ENOMEM;
	}
	for (node = commit->dirty_first; node != NULL; node = next) {
		struct committed_node *chosen = NULL;
		bool left_out = is_left_out(snapshot, node);

		next = node->dirty_next;
		if (left_out) {
			snapshot->is_whole = false;
		}
		if (left_out && !node->fresh) {
			continue;
		}
		chosen = &snapshot->nodes[snapshot->node_count];
		snapshot->node_count++;
		chosen->node = node;
		chosen->written = udf_node_data_written(node);
		chosen->was_fresh = node->fresh;
		chosen->is_empty = left_out;
		if (left_out) {
			/* It stays on the list, which has a reference. */
			udf_node_ref(node, 1);
		} else {
			unlist_dirty(commit, node);
		}
	}
	pthread_mutex_unlock(&commit->lock);
	return 0;
}

/* Data that is to be on the medium before the ICBs that lead to it. */
static int gather_data(struct snapshot *snapshot)
{
	struct udf_commit_waiter *waiter = snapshot->waiters;
	int ret = 0;

	for (size_t i = 0; i < snapshot->node_count && ret == 0; i++) {
		const struct committed_node *chosen = &snapshot->nodes[i];

		if (!chosen->is_empty && udf_node_has_unsynced(chosen->node)) {
			ret = udf_node_add_runs(chosen->node, &snapshot->data);
		}
	}
	for (; waiter != NULL && ret == 0; waiter = waiter->next) {
		if (waiter->node == NULL) {
			continue;
		}
		waiter->written = udf_node_data_written(waiter->node);
		if (udf_node_has_unsynced(waiter->node)) {
			ret = udf_node_add_runs(waiter->node, &snapshot->data);
		}
	}
	return ret;
}

static int snapshot_chosen(struct snapshot *snapshot,
			   const struct committed_node *chosen)
{
	if (chosen->is_empty) {
		snapshot->icb_phase = PHASE_NEW;
		return udf_node_encode_empty(chosen->node, store_node,
					     snapshot);
	}
	return snapshot_node(snapshot, chosen->node);
}

/* Copy all that changed. No operation is running. */
static int snapshot_take(struct snapshot *snapshot)
{
	struct udf_fs *fs = snapshot->fs;
	int result = 0;
	int ret = choose_nodes(snapshot);

	if (ret < 0) {
		return ret;
	}
	result = gather_data(snapshot);
	for (size_t i = 0; i < snapshot->node_count; i++) {
		struct udf_node *node = snapshot->nodes[i].node;

		ret = 0;
		/* Nothing on the medium will lead to an ended node. */
		if (!node->unlinked) {
			ret = snapshot_chosen(snapshot, &snapshot->nodes[i]);
			result = result < 0 ? result : ret;
		}
		if (ret == 0) {
			node->fresh = false;
		}
	}
	/* What was left out may lead to what it has released. */
	if (snapshot->is_whole) {
		udf_space_detach_released(&fs->space, &snapshot->released);
	}
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
		/* What is found bad elsewhere is for another commit. */
		(void)udf_volume_throttle(fs->volume, true);
		ret = udf_volume_write(fs->volume, first, count, buffer, 0);
		if (ret < 0) {
			result = ret;
		}
	}
	free(buffer);
	return result;
}

/* The blocks of a phase, and others (NULL: none), are on the medium. */
static int sync_phase(struct snapshot *snapshot, enum phase phase,
		      const struct udf_run_list *also)
{
	const struct image_list *list = &snapshot->phases[phase];
	struct udf_run_list runs = { .runs = NULL };
	int ret = 0;

	for (size_t i = 0; i < list->count && ret == 0; i++) {
		ret = udf_run_list_add(&runs, list->images[i].lbn, 1);
	}
	for (size_t i = 0; also != NULL && i < also->count && ret == 0; i++) {
		ret = udf_run_list_add(&runs, also->runs[i].lbn,
				       also->runs[i].count);
	}
	if (ret == 0) {
		udf_run_list_sort(&runs);
		ret = udf_volume_sync_runs(snapshot->fs->volume, &runs);
	}
	udf_run_list_free(&runs);
	return ret;
}

/* The data of a node is on the medium. */
static int sync_data(struct udf_node *node)
{
	struct udf_run_list runs = { .runs = NULL };
	int ret = 0;

	pthread_rwlock_rdlock(&node->lock);
	ret = udf_node_add_runs(node, &runs);
	pthread_rwlock_unlock(&node->lock);
	if (ret == 0) {
		udf_run_list_sort(&runs);
		ret = udf_volume_sync_runs(node->fs->volume, &runs);
	}
	udf_run_list_free(&runs);
	return ret;
}

/* Something of the first phase cannot be saved: whom does that concern? */
static void share_error(struct snapshot *snapshot, int error)
{
	struct udf_commit_waiter *waiter = snapshot->waiters;
	int ret = sync_phase(snapshot, PHASE_NEW, NULL);

	if (snapshot->shared_error == 0) {
		snapshot->shared_error = ret;
	}
	for (; waiter != NULL; waiter = waiter->next) {
		waiter->result = waiter->node != NULL ? sync_data(waiter->node)
						      : error;
	}
}

/*
 * Without verification a sync is a flush of the whole device. Is there
 * something to be on the medium before the other phases, or for who waits?
 */
static bool needs_flush(const struct snapshot *snapshot)
{
	const struct udf_commit_waiter *waiter = snapshot->waiters;

	if (snapshot->phases[PHASE_NEW].count > 0) {
		return true;
	}
	for (size_t i = 0; i < snapshot->node_count; i++) {
		if (udf_node_has_unflushed(snapshot->nodes[i].node)) {
			return true;
		}
	}
	while (waiter != NULL && waiter->node != NULL &&
	       !udf_node_has_unflushed(waiter->node)) {
		waiter = waiter->next;
	}
	return waiter != NULL;
}

static int sync_new(struct snapshot *snapshot)
{
	struct udf_fs *fs = snapshot->fs;
	int ret = 0;

	if (!fs->info->defect_managed && needs_flush(snapshot)) {
		ret = udf_volume_sync(fs->volume);
	} else {
		ret = sync_phase(snapshot, PHASE_NEW, &snapshot->data);
	}
	if (ret < 0) {
		share_error(snapshot, ret);
	}
	return ret;
}

/*
 * All phases. After an error the rest is written all the same: what the
 * medium still takes is better there than lost with the memory. The caller
 * is told, nothing is freed, and all is written again with the next commit.
 */
static int snapshot_write(struct snapshot *snapshot)
{
	int result = 0;

	for (int phase = 0; phase < PHASE_COUNT; phase++) {
		int write_ret = 0;
		int sync_ret = 0;

		if (phase > 0 && snapshot->phases[phase].count == 0) {
			continue;
		}
		write_ret = phase_write(snapshot, phase);
		if (phase == PHASE_NEW) {
			sync_ret = sync_new(snapshot);
		} else {
			sync_ret = sync_phase(snapshot, phase, NULL);
		}
		if ((write_ret < 0 && write_ret != -ENOSPC) ||
		    (sync_ret < 0 && sync_ret != -ENOSPC)) {
			snapshot->only_no_spare = false;
		}
		if (snapshot->shared_error == 0) {
			snapshot->shared_error = write_ret;
		}
		if (snapshot->shared_error == 0 && phase != PHASE_NEW) {
			snapshot->shared_error = sync_ret;
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

	if (!snapshot->only_no_spare || !snapshot->is_whole ||
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
		const struct committed_node *chosen = &snapshot->nodes[i];
		struct udf_node *node = chosen->node;

		if (!chosen->is_empty) {
			udf_directory_stored(node, result == 0);
		}
		if (result < 0 && !node->unlinked) {
			node->fresh = chosen->was_fresh;
			/* For AEDs that have to leave a bad packet; as they
			 * are they need no space. */
			(void)udf_node_reserve_aeds(node);
			udf_commit_dirty(node);
		} else if (!chosen->is_empty) {
			udf_node_note_synced(node, chosen->written);
			udf_node_aeds_stored(node);
			node->replaces = false;
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
	udf_run_list_free(&snapshot->data);
	for (int phase = 0; phase < PHASE_COUNT; phase++) {
		struct image_list *list = &snapshot->phases[phase];

		for (size_t i = 0; i < list->count; i++) {
			free(list->images[i].bytes);
		}
		free(list->images);
	}
}

/* One commit. Each waiter gets its own result; the returned one is of all. */
static int commit_run(struct udf_fs *fs, struct udf_commit_waiter *waiters)
{
	struct snapshot snapshot = {
		.fs = fs,
		.waiters = waiters,
		.is_whole = true,
	};
	struct udf_commit_waiter *waiter = NULL;
	int result = 0;
	int ret = 0;

	for (waiter = waiters; waiter != NULL; waiter = waiter->next) {
		waiter->result = 0;
	}
	pthread_rwlock_wrlock(&fs->operations);
	udf_non_allocatable_record(fs);
	result = snapshot_take(&snapshot);
	pthread_rwlock_unlock(&fs->operations);

	snapshot.only_no_spare = result == 0;
	snapshot.shared_error = result;
	ret = snapshot_write(&snapshot);
	result = result < 0 ? result : ret;
	for (waiter = waiters; waiter != NULL; waiter = waiter->next) {
		if (snapshot.shared_error < 0) {
			waiter->result = snapshot.shared_error;
		} else if (waiter->node != NULL && waiter->result == 0) {
			udf_node_note_synced(waiter->node, waiter->written);
		}
	}
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
static void commit_and_evacuate(struct udf_fs *fs,
				struct udf_commit_waiter *waiters)
{
	bool again = fs->info->defect_managed;
	unsigned int tries = 0;
	int result = commit_run(fs, waiters);

	while (result < 0 && again && tries < EVACUATIONS_MAX) {
		pthread_rwlock_wrlock(&fs->operations);
		again = udf_non_allocatable_evacuate(fs) || tries == 0;
		pthread_rwlock_unlock(&fs->operations);
		if (again) {
			result = commit_run(fs, waiters);
		}
		tries++;
	}
}

/* Wait for a commit that begins after this call: of a node, or of all. */
static int commit_join(struct udf_fs *fs, struct udf_node *node)
{
	struct udf_commit *commit = &fs->commit;
	struct udf_commit_waiter self = { .node = node };
	struct udf_commit_waiter *waiters = NULL;

	pthread_mutex_lock(&commit->lock);
	self.next = commit->waiting;
	commit->waiting = &self;
	while (!self.done) {
		if (commit->running) {
			pthread_cond_wait(&commit->done, &commit->lock);
			continue;
		}
		commit->running = true;
		waiters = commit->waiting;
		commit->waiting = NULL;
		pthread_mutex_unlock(&commit->lock);
		commit_and_evacuate(fs, waiters);
		pthread_mutex_lock(&commit->lock);
		commit->running = false;
		for (; waiters != NULL; waiters = waiters->next) {
			waiters->done = true;
		}
		pthread_cond_broadcast(&commit->done);
	}
	pthread_mutex_unlock(&commit->lock);
	return self.result;
}

void udf_commit_gate(struct udf_node *node)
{
	struct udf_commit *commit = &node->fs->commit;

	if (__atomic_load_n(&node->gates, __ATOMIC_RELAXED) == 0) {
		return;
	}
	pthread_mutex_lock(&commit->lock);
	while (node->gates > 0) {
		pthread_cond_wait(&commit->opened, &commit->lock);
	}
	pthread_mutex_unlock(&commit->lock);
}

static void add_gates(struct udf_node *node, int change)
{
	__atomic_fetch_add(&node->gates, (unsigned int)change,
			   __ATOMIC_RELAXED);
}

/* All nodes with data that is not verified, with references. */
struct gated {
	struct udf_node **nodes;
	size_t count;
};

/* Without memory, none: then the commit waits, and others for it. */
static void close_gates(struct udf_fs *fs, struct gated *gated)
{
	struct udf_commit *commit = &fs->commit;
	struct udf_node *node = NULL;

	pthread_mutex_lock(&commit->lock);
	gated->nodes = calloc(commit->dirty_count + 1, sizeof(*gated->nodes));
	node = gated->nodes != NULL ? commit->dirty_first : NULL;
	for (; node != NULL; node = node->dirty_next) {
		if (udf_node_has_unsynced(node)) {
			udf_node_ref(node, 1);
			add_gates(node, 1);
			gated->nodes[gated->count] = node;
			gated->count++;
		}
	}
	pthread_mutex_unlock(&commit->lock);
}

static void open_gates(struct udf_fs *fs, struct gated *gated)
{
	struct udf_commit *commit = &fs->commit;

	pthread_mutex_lock(&commit->lock);
	for (size_t i = 0; i < gated->count; i++) {
		add_gates(gated->nodes[i], -1);
	}
	pthread_cond_broadcast(&commit->opened);
	pthread_mutex_unlock(&commit->lock);
	for (size_t i = 0; i < gated->count; i++) {
		udf_fs_forget(gated->nodes[i], 1);
	}
	free(gated->nodes);
}

int udf_commit(struct udf_fs *fs)
{
	struct gated gated = { .count = 0 };
	int result = 0;

	if (fs->read_only) {
		return 0;
	}
	/* Most of it without keeping anybody from writing. */
	if (udf_volume_unverified(fs->volume) > SETTLE_BYTES) {
		udf_volume_settle(fs->volume);
	}
	close_gates(fs, &gated);
	if (gated.count > 0) {
		udf_volume_settle(fs->volume);
	}
	result = commit_join(fs, NULL);
	open_gates(fs, &gated);
	return result;
}

static void gate_one(struct udf_node *node, struct gated *gated)
{
	struct udf_commit *commit = &node->fs->commit;

	gated->nodes = calloc(1, sizeof(*gated->nodes));
	if (gated->nodes == NULL) {
		return;
	}
	udf_node_ref(node, 1);
	gated->nodes[0] = node;
	gated->count = 1;
	pthread_mutex_lock(&commit->lock);
	add_gates(node, 1);
	pthread_mutex_unlock(&commit->lock);
}

int udf_commit_await_data(struct udf_node *node)
{
	uint64_t written = udf_node_data_written(node);
	int ret = 0;

	if (udf_node_has_unsynced(node)) {
		ret = sync_data(node);
		if (ret == 0) {
			udf_node_note_synced(node, written);
		}
	}
	return ret;
}

int udf_commit_node(struct udf_node *node)
{
	struct udf_fs *fs = node->fs;
	struct gated gated = { .nodes = NULL };
	int result = 0;

	if (fs->read_only) {
		return 0;
	}
	/* The commit tells of the error, when it is one for good. */
	result = udf_commit_await_data(node);
	if (result == 0 && udf_node_has_unsynced(node)) {
		gate_one(node, &gated);
		(void)udf_commit_await_data(node);
	}
	result = commit_join(fs, node);
	open_gates(fs, &gated);
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
