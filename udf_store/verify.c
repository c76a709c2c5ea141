/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Verify after write, and relocation: see verify.h.
 *
 * Written blocks are kept in the set "current". A drain takes blocks out of
 * it, flushes the device, reads them back from the medium in large pieces and
 * compares. A packet with a block that is not as written is written once more
 * and, when it still is not, relocated. What cannot be saved goes back to
 * current, marked as failed: it is read from there, and every later drain
 * tries again.
 *
 * Some drains take all that is kept, one at a time; others, the blocks of a
 * list, beside them and each other: so a sync of one file does not wait for
 * the data of others. Nobody relies on what an advisory drain finds: one with
 * a list takes its blocks away from those, and waits only for others that
 * have some of them.
 *
 * A thread drains as soon as a quarter of the limit is kept, so that writing
 * goes on meanwhile; a writer waits (udf_verify_throttle()) when half of it
 * is. The thread is started when it is first needed, so that a daemon may
 * fork after the open.
 *
 * Locks: drain_lock is held through a drain of all. lock guards the sets and
 * what is below it in the struct; it is never held across I/O. A block is in
 * one set at a time. The data of a draining chunk does not change: a newer
 * write of a block, or another drain, only clears its bit there. What is said
 * to be for cures belongs to who has map_lock exclusively.
 * Order: drain_lock, the partition's map_lock, lock.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "verify_state.h"

/* Bytes read back at once. */
#define READ_BACK_BYTES (1024u * 1024u)
#define READ_TRIES 3u

/* Drains that are kept for their next use. */
#define SPARE_DRAINS_MAX 4u

static struct udf_pending *new_pending(struct udf_verify *verify)
{
	struct udf_pending *pending = malloc(sizeof(*pending));

	if (pending != NULL) {
		udf_pending_init(pending, verify->partition->block_size,
				 &verify->pool);
	}
	return pending;
}

struct udf_verify *udf_verify_new(struct udf_partition *partition, size_t limit)
{
	struct udf_verify *verify = NULL;
	uint32_t packet = udf_sparing_packet_blocks(partition->sparing);
	size_t packet_bytes = (size_t)packet * partition->block_size;

	verify = calloc(1, sizeof(*verify));
	if (verify == NULL) {
		return NULL;
	}
	verify->partition = partition;
	verify->limit = limit != 0 ? limit : UDF_VERIFY_LIMIT_DEFAULT;
	verify->packet_blocks = packet;
	verify->chunk_blocks = UDF_PENDING_CHUNK_BYTES / partition->block_size;
	verify->pool.keep = verify->limit / UDF_PENDING_CHUNK_BYTES;
	pthread_mutex_init(&verify->drain_lock, NULL);
	pthread_mutex_init(&verify->lock, NULL);
	pthread_cond_init(&verify->changed, NULL);
	verify->read_back = udf_blockdev_alloc(packet_bytes);
	verify->packet = udf_blockdev_alloc(packet_bytes);
	verify->current = new_pending(verify);
	if (verify->read_back == NULL || verify->packet == NULL ||
	    verify->current == NULL) {
		udf_verify_free(verify);
		return NULL;
	}
	return verify;
}

static void free_pending(struct udf_pending *pending)
{
	if (pending != NULL) {
		udf_pending_clear(pending);
		free(pending);
	}
}

static void free_drain(struct udf_drain *drain)
{
	if (drain != NULL) {
		free_pending(drain->blocks);
		free(drain->read_back);
		free(drain);
	}
}

/* One with no blocks. NULL: no memory. */
static struct udf_drain *new_drain(struct udf_verify *verify)
{
	struct udf_drain *drain = NULL;

	pthread_mutex_lock(&verify->lock);
	drain = verify->spare_drains;
	if (drain != NULL) {
		verify->spare_drains = drain->next;
		verify->spare_count--;
	}
	pthread_mutex_unlock(&verify->lock);
	if (drain != NULL) {
		return drain;
	}
	drain = calloc(1, sizeof(*drain));
	if (drain == NULL) {
		return NULL;
	}
	drain->blocks = new_pending(verify);
	drain->read_back = udf_blockdev_alloc(READ_BACK_BYTES);
	if (drain->blocks == NULL || drain->read_back == NULL) {
		free_drain(drain);
		return NULL;
	}
	return drain;
}

static void give_drain(struct udf_verify *verify, struct udf_drain *drain)
{
	pthread_mutex_lock(&verify->lock);
	if (verify->spare_count < SPARE_DRAINS_MAX) {
		drain->next = verify->spare_drains;
		verify->spare_drains = drain;
		verify->spare_count++;
		drain = NULL;
	}
	pthread_mutex_unlock(&verify->lock);
	free_drain(drain);
}

void udf_verify_free(struct udf_verify *verify)
{
	if (verify == NULL) {
		return;
	}
	if (verify->has_thread) {
		pthread_mutex_lock(&verify->lock);
		verify->stop = true;
		pthread_cond_broadcast(&verify->changed);
		pthread_mutex_unlock(&verify->lock);
		pthread_join(verify->thread, NULL);
	}
	free_pending(verify->current);
	while (verify->spare_drains != NULL) {
		struct udf_drain *drain = verify->spare_drains;

		verify->spare_drains = drain->next;
		free_drain(drain);
	}
	udf_pending_pool_clear(&verify->pool);
	udf_block_list_free(&verify->bad);
	free(verify->packet);
	free(verify->read_back);
	pthread_cond_destroy(&verify->changed);
	pthread_mutex_destroy(&verify->lock);
	pthread_mutex_destroy(&verify->drain_lock);
	free(verify);
}

/* Memory for unverified data, in use now; lock is held. */
static size_t kept_bytes(const struct udf_verify *verify)
{
	const struct udf_drain *drain = NULL;
	size_t bytes = udf_pending_bytes(verify->current);

	for (drain = verify->drains; drain != NULL; drain = drain->next) {
		bytes += udf_pending_bytes(drain->blocks);
	}
	return bytes;
}

/* Bytes of blocks that could not be saved so far; lock is held. */
static size_t failed_bytes(const struct udf_verify *verify)
{
	const struct udf_drain *drain = NULL;
	size_t blocks = verify->current->failed;

	for (drain = verify->drains; drain != NULL; drain = drain->next) {
		blocks += drain->blocks->failed;
	}
	return blocks * verify->partition->block_size;
}

/* No drain has to do with these blocks any more; lock is held. */
static void drop_draining(struct udf_verify *verify, uint32_t lbn,
			  uint32_t count)
{
	struct udf_drain *drain = NULL;

	for (drain = verify->drains; drain != NULL; drain = drain->next) {
		udf_pending_drop(drain->blocks, lbn, count);
	}
}

int udf_verify_remember(struct udf_verify *verify, uint32_t lbn, uint32_t count,
			const void *buf)
{
	int ret = 0;

	pthread_mutex_lock(&verify->lock);
	if (failed_bytes(verify) >= verify->limit) {
		/* There is no room for more that cannot be saved. */
		ret = -EIO;
	} else {
		ret = udf_pending_put(verify->current, lbn, count, buf);
	}
	if (ret == 0) {
		drop_draining(verify, lbn, count);
	}
	if (kept_bytes(verify) > verify->most_bytes) {
		verify->most_bytes = kept_bytes(verify);
	}
	pthread_mutex_unlock(&verify->lock);
	return ret;
}

void udf_verify_forget(struct udf_verify *verify, uint32_t lbn, uint32_t count)
{
	pthread_mutex_lock(&verify->lock);
	udf_pending_drop(verify->current, lbn, count);
	drop_draining(verify, lbn, count);
	pthread_mutex_unlock(&verify->lock);
}

void udf_verify_overlay(struct udf_verify *verify, uint32_t lbn, uint32_t count,
			void *buf)
{
	const struct udf_drain *drain = NULL;

	pthread_mutex_lock(&verify->lock);
	for (drain = verify->drains; drain != NULL; drain = drain->next) {
		udf_pending_overlay(drain->blocks, lbn, count, buf);
	}
	udf_pending_overlay(verify->current, lbn, count, buf);
	pthread_mutex_unlock(&verify->lock);
}

/* What is kept of a block, or NULL; lock is held. */
static const uint8_t *kept_block(const struct udf_verify *verify, uint32_t lbn)
{
	const struct udf_drain *drain = verify->drains;
	const uint8_t *data = udf_pending_get(verify->current, lbn);

	while (data == NULL && drain != NULL) {
		data = udf_pending_get(drain->blocks, lbn);
		drain = drain->next;
	}
	return data;
}

bool udf_verify_holds(struct udf_verify *verify, uint32_t lbn)
{
	bool holds = false;

	pthread_mutex_lock(&verify->lock);
	holds = kept_block(verify, lbn) != NULL;
	pthread_mutex_unlock(&verify->lock);
	return holds;
}

bool udf_verify_copy(struct udf_verify *verify, uint32_t lbn, void *buf)
{
	const uint8_t *data = NULL;

	pthread_mutex_lock(&verify->lock);
	data = kept_block(verify, lbn);
	if (data != NULL) {
		memcpy(buf, data, verify->partition->block_size);
	}
	pthread_mutex_unlock(&verify->lock);
	return data != NULL;
}

/* lock is held. */
static bool is_failed(const struct udf_verify *verify, uint32_t lbn)
{
	const struct udf_drain *drain = NULL;
	bool failed = udf_pending_is_failed(verify->current, lbn);

	for (drain = verify->drains; drain != NULL; drain = drain->next) {
		failed = failed || udf_pending_is_failed(drain->blocks, lbn);
	}
	return failed;
}

void udf_verify_put_back(struct udf_verify *verify, uint32_t lbn,
			 const uint8_t *data)
{
	int *flush_error = &verify->partition->flush_error;

	if (udf_pending_put(verify->current, lbn, 1, data) == 0) {
		udf_pending_fail(verify->current, lbn);
	} else {
		/* No memory: forgotten, so every later sync has to fail. */
		__atomic_store_n(flush_error, -EIO, __ATOMIC_RELEASE);
	}
}

uint32_t udf_verify_packet_of(const struct udf_verify *verify, uint32_t lbn)
{
	return lbn - lbn % verify->packet_blocks;
}

int udf_verify_failed(struct udf_verify *verify, struct udf_block_list *list)
{
	size_t i = 0;
	int ret = 0;

	*list = (struct udf_block_list){.count = 0};
	pthread_mutex_lock(&verify->lock);
	for (i = 0; i < verify->bad.count && ret == 0; i++) {
		uint32_t lbn = verify->bad.blocks[i];
		uint32_t end = lbn + verify->packet_blocks;

		for (; lbn < end && ret == 0; lbn++) {
			if (is_failed(verify, lbn)) {
				ret = udf_block_list_add(list, lbn);
			}
		}
	}
	pthread_mutex_unlock(&verify->lock);
	if (ret != 0) {
		udf_block_list_free(list);
	}
	return ret;
}

int udf_verify_bad_packets(struct udf_verify *verify,
			   struct udf_block_list *list)
{
	int ret = 0;

	pthread_mutex_lock(&verify->lock);
	ret = udf_block_list_copy(&verify->bad, list);
	pthread_mutex_unlock(&verify->lock);
	return ret;
}

bool udf_verify_is_bad(struct udf_verify *verify, uint32_t lbn)
{
	bool bad = false;

	pthread_mutex_lock(&verify->lock);
	bad = udf_block_list_has(&verify->bad, udf_verify_packet_of(verify, lbn), 1);
	pthread_mutex_unlock(&verify->lock);
	return bad;
}

void udf_verify_memory(struct udf_verify *verify,
		       struct udf_verify_memory *memory)
{
	pthread_mutex_lock(&verify->lock);
	*memory = (struct udf_verify_memory){
		.limit = verify->limit,
		.used = kept_bytes(verify),
		.most = verify->most_bytes,
		.failed = failed_bytes(verify),
	};
	pthread_mutex_unlock(&verify->lock);
}

uint64_t udf_verify_offset(const struct udf_verify *verify, uint32_t block)
{
	return (uint64_t)block * verify->partition->block_size;
}

int udf_verify_read_medium(struct udf_verify *verify, uint32_t block, void *buf,
			   size_t bytes)
{
	struct udf_blockdev *dev = verify->partition->dev;
	uint64_t offset = udf_verify_offset(verify, block);
	unsigned int tries = 0;
	int ret = 0;

	for (tries = 0; tries < READ_TRIES; tries++) {
		ret = udf_blockdev_read_medium(dev, offset, buf, bytes);
		if (!udf_blockdev_is_medium_error(ret)) {
			break;
		}
		udf_partition_count(&verify->partition->counts.retries, 1);
	}
	return ret;
}

/* The bits of a draining chunk that still count. */
static uint32_t chunk_mask(struct udf_verify *verify,
			   const struct udf_pending_chunk *chunk)
{
	uint32_t mask = 0;

	pthread_mutex_lock(&verify->lock);
	mask = chunk->mask;
	pthread_mutex_unlock(&verify->lock);
	return mask;
}

/*
 * Compare count blocks of a chunk, from block offset of it on, with what was
 * read; list the packets of those that differ. read == NULL: read each block
 * by itself first, to the drain's buffer.
 */
static int compare_blocks(struct udf_verify *verify, struct udf_drain *drain,
			  const struct udf_pending_chunk *chunk,
			  uint32_t offset, uint32_t count, const uint8_t *read,
			  struct udf_block_list *suspects)
{
	uint64_t *verified = &verify->partition->counts.verified_blocks;
	size_t size = verify->partition->block_size;
	uint32_t mask = chunk_mask(verify, chunk);
	uint32_t wanted = 0;
	uint32_t i = 0;

	/* Mostly a chunk is kept as a whole, and all is well. */
	wanted = (uint32_t)((((uint64_t)1 << count) - 1) << offset);
	if (read != NULL && (mask & wanted) == wanted &&
	    memcmp(read, chunk->data + offset * size, count * size) == 0) {
		udf_partition_count(verified, count);
		return 0;
	}
	for (i = offset; i < offset + count; i++) {
		uint32_t lbn = chunk->first + i;
		const uint8_t *found = drain->read_back;
		int ret = 0;

		if (((mask >> i) & 1) == 0) {
			continue;
		}
		if (read != NULL) {
			found = read + (i - offset) * size;
		} else {
			uint32_t run = 0;
			uint32_t block = udf_partition_map(verify->partition,
							   lbn, 1, &run);

			ret = udf_verify_read_medium(verify, block,
						drain->read_back, size);
		}
		if (ret == 0 &&
		    memcmp(found, chunk->data + i * size, size) == 0) {
			udf_partition_count(verified, 1);
			continue;
		}
		if (ret != 0 && !udf_blockdev_is_medium_error(ret)) {
			return ret;
		}
		ret = udf_block_list_add(suspects, udf_verify_packet_of(verify, lbn));
		if (ret != 0) {
			return ret;
		}
	}
	return 0;
}

/*
 * Read back and compare count blocks from lbn on, which lie in these chunks:
 * neighbours on the partition, the first one with lbn in it. map_lock is held.
 */
static int check_region(struct udf_verify *verify, struct udf_drain *drain,
			struct udf_pending_chunk **chunks, uint32_t lbn,
			uint32_t count, struct udf_block_list *suspects)
{
	struct udf_partition *partition = verify->partition;
	size_t size = partition->block_size;
	uint32_t done = lbn - chunks[0]->first;
	uint32_t blocks = done + count;
	int ret = 0;

	while (done < blocks) {
		uint32_t at = chunks[0]->first + done;
		uint32_t run = 0;
		uint32_t block = udf_partition_map(partition, at,
						   blocks - done, &run);
		uint32_t end = done + run;
		const uint8_t *read = drain->read_back;

		ret = udf_blockdev_read_medium(partition->dev,
					       udf_verify_offset(verify, block),
					       drain->read_back, run * size);
		if (ret != 0 && !udf_blockdev_is_medium_error(ret)) {
			return ret;
		}
		if (ret != 0) {
			read = NULL;
		}
		while (done < end) {
			const struct udf_pending_chunk *chunk =
				chunks[done / verify->chunk_blocks];
			uint32_t offset = done % verify->chunk_blocks;
			uint32_t part = verify->chunk_blocks - offset;

			if (part > end - done) {
				part = end - done;
			}
			ret = compare_blocks(verify, drain, chunk, offset,
					     part, read, suspects);
			if (ret != 0) {
				return ret;
			}
			if (read != NULL) {
				read += part * size;
			}
			done += part;
		}
	}
	return 0;
}

/* The first of the blocks of a chunk that still count, and behind the last. */
struct span {
	uint32_t first;
	uint32_t end;
};

static struct span chunk_span(struct udf_verify *verify,
			      const struct udf_pending_chunk *chunk)
{
	uint32_t mask = chunk_mask(verify, chunk);
	struct span span = { .first = chunk->first, .end = chunk->first };

	if (mask != 0) {
		span.first += (uint32_t)__builtin_ctz(mask);
		span.end += 32u - (uint32_t)__builtin_clz(mask);
	}
	return span;
}

/*
 * Read back all that is draining and list the packets of what is not as
 * written. Only what is wanted is read, and what lies between: next to it may
 * be what takes the medium long. 0, or an error that is not the medium's.
 */
static int check_all(struct udf_verify *verify, struct udf_drain *drain,
		     struct udf_block_list *suspects)
{
	pthread_rwlock_t *map_lock = &verify->partition->map_lock;
	const size_t region_chunks = READ_BACK_BYTES / UDF_PENDING_CHUNK_BYTES;
	size_t i = 0;
	int ret = 0;

	while (i < drain->chunks && ret == 0) {
		struct udf_pending_chunk **chunks = &drain->sorted[i];
		struct span region = chunk_span(verify, chunks[0]);
		size_t n = 1;

		while (n < region_chunks && i + n < drain->chunks) {
			struct span next = chunk_span(verify, chunks[n]);

			if (next.first != region.end ||
			    next.first == next.end ||
			    chunks[n]->first != region.end) {
				break;
			}
			region.end = next.end;
			n++;
		}
		if (region.end > region.first) {
			pthread_rwlock_rdlock(map_lock);
			ret = check_region(verify, drain, chunks, region.first,
					   region.end - region.first, suspects);
			pthread_rwlock_unlock(map_lock);
		}
		i += n;
	}
	return ret;
}

void udf_verify_undrain(struct udf_verify *verify, struct udf_drain *drain)
{
	size_t size = verify->partition->block_size;
	size_t i = 0;
	uint32_t j = 0;

	pthread_mutex_lock(&verify->lock);
	for (i = 0; i < drain->chunks; i++) {
		const struct udf_pending_chunk *chunk = drain->sorted[i];

		for (j = 0; j < verify->chunk_blocks; j++) {
			if (((chunk->mask >> j) & 1) == 0) {
				continue;
			}
			udf_verify_put_back(verify, chunk->first + j,
					    chunk->data + j * size);
		}
	}
	pthread_mutex_unlock(&verify->lock);
}

/* An earlier relocation is not in the table on the medium. */
static bool is_table_changed(struct udf_partition *partition)
{
	bool changed = false;

	pthread_rwlock_rdlock(&partition->map_lock);
	changed = udf_sparing_is_changed(partition->sparing);
	pthread_rwlock_unlock(&partition->map_lock);
	return changed;
}

/* The work of a drain, once it has its blocks. */
static int check_and_cure(struct udf_verify *verify, struct udf_drain *drain)
{
	struct udf_partition *partition = verify->partition;
	struct udf_block_list suspects = {0};
	int ret = 0;

	ret = udf_blockdev_flush(partition->dev);
	if (udf_blockdev_is_medium_error(ret)) {
		/* About some block, not said which: reading it back tells. */
		ret = 0;
	}
	if (ret == 0) {
		ret = check_all(verify, drain, &suspects);
	}
	if (ret == 0 && (suspects.count > 0 || is_table_changed(partition))) {
		ret = udf_verify_cure(verify, drain, &suspects);
	} else if (ret != 0) {
		udf_log(partition->log, UDF_LOG_ERROR,
			"writes cannot be verified: %s", strerror(-ret));
		udf_verify_undrain(verify, drain);
	}
	udf_block_list_free(&suspects);
	return ret;
}

/* An array for all chunks that a drain could take; lock is held. */
static bool make_sorted(struct udf_verify *verify, struct udf_drain *drain)
{
	const struct udf_drain *other = NULL;
	size_t room = verify->current->chunks + 1;

	for (other = verify->drains; other != NULL; other = other->next) {
		room += other->blocks->chunks;
	}
	drain->sorted = calloc(room, sizeof(*drain->sorted));
	return drain->sorted != NULL;
}

/* Wait until no drain that began before is under way; lock is held. */
static void await_older(struct udf_verify *verify, uint64_t number)
{
	struct udf_drain *other = verify->drains;

	while (other != NULL) {
		if (other->number < number) {
			pthread_cond_wait(&verify->changed, &verify->lock);
			other = verify->drains;
		} else {
			other = other->next;
		}
	}
}

/* Take all that is kept; lock is held. */
static int take_all(struct udf_verify *verify, struct udf_drain *drain)
{
	struct udf_pending *set = NULL;

	/* What they do not save comes back. */
	await_older(verify, verify->drains_begun + 1);
	if (!make_sorted(verify, drain)) {
		return -ENOMEM;
	}
	set = verify->current;
	verify->current = drain->blocks;
	drain->blocks = set;
	return 0;
}

/* Wait for those whose answer somebody waits for; lock is held. */
static void await_owners(struct udf_verify *verify,
			 const struct udf_run_list *runs)
{
	struct udf_drain *other = verify->drains;

	while (other != NULL) {
		if (!other->advisory && udf_pending_has(other->blocks, runs)) {
			pthread_cond_wait(&verify->changed, &verify->lock);
			other = verify->drains;
		} else {
			other = other->next;
		}
	}
}

/*
 * Take what is kept of these blocks; lock is held. Without memory the drain
 * has some of them and must go on.
 */
static int take_runs(struct udf_verify *verify, struct udf_drain *drain,
		     const struct udf_run_list *runs)
{
	struct udf_drain *other = NULL;
	int ret = 0;

	await_owners(verify, runs);
	if (!make_sorted(verify, drain)) {
		return -ENOMEM;
	}
	ret = udf_pending_move(verify->current, drain->blocks, runs, false);
	for (other = verify->drains; other != NULL && ret == 0;
	     other = other->next) {
		if (other->advisory) {
			ret = udf_pending_move(other->blocks, drain->blocks,
					       runs, true);
		}
	}
	return ret;
}

static void list_drain(struct udf_verify *verify, struct udf_drain *drain)
{
	verify->drains_begun++;
	drain->number = verify->drains_begun;
	drain->chunks = drain->blocks->chunks;
	udf_pending_sort(drain->blocks, drain->sorted);
	drain->next = verify->drains;
	verify->drains = drain;
	pthread_cond_broadcast(&verify->changed);
}

static void unlist_drain(struct udf_verify *verify, struct udf_drain *drain)
{
	struct udf_drain **link = &verify->drains;

	while (*link != drain) {
		link = &(*link)->next;
	}
	*link = drain->next;
	udf_pending_clear(drain->blocks);
	pthread_cond_broadcast(&verify->changed);
}

/* Verify what is kept of these blocks, or all of it (runs is NULL). */
static int drain_blocks(struct udf_verify *verify,
			const struct udf_run_list *runs, bool advisory)
{
	struct udf_drain *drain = new_drain(verify);
	int take_ret = 0;
	int ret = 0;

	if (drain == NULL) {
		return -ENOMEM;
	}
	if (runs == NULL) {
		pthread_mutex_lock(&verify->drain_lock);
	}
	pthread_mutex_lock(&verify->lock);
	drain->advisory = advisory;
	if (runs == NULL) {
		take_ret = take_all(verify, drain);
	} else {
		take_ret = take_runs(verify, drain, runs);
	}
	if (drain->sorted != NULL) {
		list_drain(verify, drain);
		pthread_mutex_unlock(&verify->lock);
		ret = check_and_cure(verify, drain);
		pthread_mutex_lock(&verify->lock);
		unlist_drain(verify, drain);
		free(drain->sorted);
		drain->sorted = NULL;
	}
	pthread_mutex_unlock(&verify->lock);
	if (runs == NULL) {
		pthread_mutex_unlock(&verify->drain_lock);
	}
	give_drain(verify, drain);
	ret = take_ret != 0 ? take_ret : ret;
	return udf_blockdev_is_medium_error(ret) ? -EIO : ret;
}

static void *drain_thread(void *private_data)
{
	struct udf_verify *verify = private_data;

	pthread_mutex_lock(&verify->lock);
	while (!verify->stop) {
		int ret = 0;

		if (!verify->wanted) {
			pthread_cond_wait(&verify->changed, &verify->lock);
			continue;
		}
		pthread_mutex_unlock(&verify->lock);
		ret = drain_blocks(verify, NULL, true);
		pthread_mutex_lock(&verify->lock);
		verify->wanted = false;
		if (ret != 0) {
			verify->background_error = ret;
		}
		pthread_cond_broadcast(&verify->changed);
	}
	pthread_mutex_unlock(&verify->lock);
	return NULL;
}

/* The process's signals are for its other threads. lock is held. */
static bool start_thread(struct udf_verify *verify)
{
	sigset_t all;
	sigset_t before;
	int ret = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = pthread_create(&verify->thread, NULL, drain_thread, verify);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return ret == 0;
}

/* lock is held. */
static bool want_thread(struct udf_verify *verify)
{
	if (!verify->has_thread) {
		verify->has_thread = start_thread(verify);
	}
	if (verify->has_thread && !verify->wanted) {
		verify->wanted = true;
		pthread_cond_broadcast(&verify->changed);
	}
	return verify->has_thread;
}

void udf_verify_relieve(struct udf_verify *verify)
{
	bool by_hand = false;
	int ret = 0;

	pthread_mutex_lock(&verify->lock);
	if (udf_pending_bytes(verify->current) >= verify->limit / 4) {
		by_hand = !want_thread(verify);
	}
	pthread_mutex_unlock(&verify->lock);
	if (!by_hand) {
		return;
	}
	ret = drain_blocks(verify, NULL, true);
	if (ret != 0) {
		pthread_mutex_lock(&verify->lock);
		verify->background_error = ret;
		pthread_mutex_unlock(&verify->lock);
	}
}

/* lock is held. */
static bool is_full(const struct udf_verify *verify, bool is_small)
{
	if (is_small) {
		return kept_bytes(verify) >= verify->limit + verify->limit / 4;
	}
	/* Half in current, half draining. */
	return udf_pending_bytes(verify->current) >= verify->limit / 2;
}

int udf_verify_throttle(struct udf_verify *verify, bool is_small)
{
	int ret = 0;

	pthread_mutex_lock(&verify->lock);
	while (verify->wanted && is_full(verify, is_small)) {
		pthread_cond_wait(&verify->changed, &verify->lock);
	}
	ret = verify->background_error;
	verify->background_error = 0;
	pthread_mutex_unlock(&verify->lock);
	return ret;
}

void udf_verify_settle(struct udf_verify *verify)
{
	(void)drain_blocks(verify, NULL, true);
}

int udf_verify_sync(struct udf_verify *verify, const struct udf_run_list *runs)
{
	int ret = drain_blocks(verify, runs, false);

	if (ret == 0) {
		ret = __atomic_load_n(&verify->partition->flush_error,
				      __ATOMIC_ACQUIRE);
	}
	return ret;
}
