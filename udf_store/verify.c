/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Verify after write, and relocation: see verify.h.
 *
 * Written blocks are kept in the set "current". A drain makes it the set
 * "draining", flushes the device, reads the blocks back from the medium in
 * large pieces and compares. A packet with a block that is not as written is
 * written once more and, when it still is not, relocated. What cannot be
 * saved goes back to current, marked as failed: it is read from there, and
 * every later drain tries again.
 *
 * A thread drains as soon as a quarter of the limit is kept, so that writing
 * goes on meanwhile; a writer waits when half of it is. The thread is
 * started when it is first needed, so that a daemon may fork after the open.
 *
 * Locks: drain_lock is held through a drain. lock guards the sets and what is
 * below it in the struct; it is never held across I/O. The data of a draining
 * chunk does not change: a newer write of a block only clears its bit there.
 * Order: drain_lock, the partition's map_lock, lock.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "lost.h"
#include "pending.h"
#include "verify.h"

/* Bytes read back at once. */
#define READ_BACK_BYTES (1024u * 1024u)
#define READ_TRIES 3u

/* A packet that has been relocated in this drain. */
struct relocation {
	uint32_t original; /* first block of the packet */
	uint32_t from;	   /* blocks of the volume */
	uint32_t to;
};

struct udf_verify {
	struct udf_partition *partition;
	size_t limit;
	uint32_t packet_blocks;
	uint32_t chunk_blocks;

	pthread_mutex_t drain_lock;
	uint8_t *read_back; /* READ_BACK_BYTES, and at least a packet */
	uint8_t *packet;    /* of packet_blocks */
	bool told_exhausted;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct udf_pending_pool pool;
	struct udf_pending *current;
	struct udf_pending *draining;
	struct udf_block_list bad; /* packets that no spare was left for */
	size_t failed;		   /* blocks that could not be saved */
	size_t most_bytes;	   /* kept at once so far */
	int background_error;	/* not told to anybody yet */
	bool has_thread;
	bool wanted; /* the thread has something to do */
	bool stop;
	pthread_t thread;
};

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
	verify->read_back = udf_blockdev_alloc(
		packet_bytes > READ_BACK_BYTES ? packet_bytes
					       : READ_BACK_BYTES);
	verify->packet = udf_blockdev_alloc(packet_bytes);
	verify->current = new_pending(verify);
	verify->draining = new_pending(verify);
	if (verify->read_back == NULL || verify->packet == NULL ||
	    verify->current == NULL || verify->draining == NULL) {
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
	free_pending(verify->draining);
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
	return udf_pending_bytes(verify->current) +
	       udf_pending_bytes(verify->draining);
}

int udf_verify_remember(struct udf_verify *verify, uint32_t lbn, uint32_t count,
			const void *buf)
{
	size_t failed_bytes = 0;
	int ret = 0;

	pthread_mutex_lock(&verify->lock);
	failed_bytes = verify->failed * verify->partition->block_size;
	if (failed_bytes >= verify->limit) {
		/* There is no room for more that cannot be saved. */
		ret = -EIO;
	} else {
		ret = udf_pending_put(verify->current, lbn, count, buf);
	}
	if (ret == 0) {
		udf_pending_drop(verify->draining, lbn, count);
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
	udf_pending_drop(verify->draining, lbn, count);
	pthread_mutex_unlock(&verify->lock);
}

void udf_verify_overlay(struct udf_verify *verify, uint32_t lbn, uint32_t count,
			void *buf)
{
	pthread_mutex_lock(&verify->lock);
	udf_pending_overlay(verify->draining, lbn, count, buf);
	udf_pending_overlay(verify->current, lbn, count, buf);
	pthread_mutex_unlock(&verify->lock);
}

bool udf_verify_holds(struct udf_verify *verify, uint32_t lbn)
{
	bool holds = false;

	pthread_mutex_lock(&verify->lock);
	holds = udf_pending_get(verify->current, lbn) != NULL ||
		udf_pending_get(verify->draining, lbn) != NULL;
	pthread_mutex_unlock(&verify->lock);
	return holds;
}

static uint32_t packet_of(const struct udf_verify *verify, uint32_t lbn)
{
	return lbn - lbn % verify->packet_blocks;
}

int udf_verify_failed(struct udf_verify *verify, struct udf_block_list *list)
{
	size_t i = 0;
	int ret = 0;

	*list = (struct udf_block_list){.count = 0};
	pthread_mutex_lock(&verify->drain_lock);
	pthread_mutex_lock(&verify->lock);
	for (i = 0; i < verify->bad.count && ret == 0; i++) {
		uint32_t lbn = verify->bad.blocks[i];
		uint32_t end = lbn + verify->packet_blocks;

		for (; lbn < end && ret == 0; lbn++) {
			if (udf_pending_is_failed(verify->current, lbn)) {
				ret = udf_block_list_add(list, lbn);
			}
		}
	}
	pthread_mutex_unlock(&verify->lock);
	pthread_mutex_unlock(&verify->drain_lock);
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
	bad = udf_block_list_has(&verify->bad, packet_of(verify, lbn), 1);
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
		.failed = verify->failed * verify->partition->block_size,
	};
	pthread_mutex_unlock(&verify->lock);
}

static uint64_t block_offset(const struct udf_verify *verify, uint32_t block)
{
	return (uint64_t)block * verify->partition->block_size;
}

/* Blocks [first, end) of the partition, bounded by it. */
static uint32_t range_end(const struct udf_verify *verify, uint32_t first,
			  uint32_t blocks)
{
	uint32_t left = verify->partition->blocks - first;

	return first + (blocks < left ? blocks : left);
}

static int read_medium_tries(struct udf_verify *verify, uint32_t block,
			     void *buf, size_t bytes)
{
	struct udf_blockdev *dev = verify->partition->dev;
	uint64_t offset = block_offset(verify, block);
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
 * by itself first.
 */
static int compare_blocks(struct udf_verify *verify,
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
		const uint8_t *found = verify->packet;
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

			ret = read_medium_tries(verify, block, verify->packet,
						size);
		}
		if (ret == 0 &&
		    memcmp(found, chunk->data + i * size, size) == 0) {
			udf_partition_count(verified, 1);
			continue;
		}
		if (ret != 0 && !udf_blockdev_is_medium_error(ret)) {
			return ret;
		}
		ret = udf_block_list_add(suspects, packet_of(verify, lbn));
		if (ret != 0) {
			return ret;
		}
	}
	return 0;
}

/*
 * Read back and compare the chunks of one region: neighbours on the
 * partition, of blocks in all, that fit read_back.
 */
static int check_region(struct udf_verify *verify,
			struct udf_pending_chunk **chunks, uint32_t blocks,
			struct udf_block_list *suspects)
{
	struct udf_partition *partition = verify->partition;
	size_t size = partition->block_size;
	uint32_t first = chunks[0]->first;
	uint32_t done = 0;
	int ret = 0;

	while (done < blocks) {
		uint32_t lbn = first + done;
		uint32_t run = 0;
		uint32_t block = udf_partition_map(partition, lbn,
						   blocks - done, &run);
		uint32_t end = done + run;
		const uint8_t *read = verify->read_back;

		ret = udf_blockdev_read_medium(partition->dev,
					       block_offset(verify, block),
					       verify->read_back, run * size);
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
			uint32_t count = verify->chunk_blocks - offset;

			if (count > end - done) {
				count = end - done;
			}
			ret = compare_blocks(verify, chunk, offset, count, read,
					     suspects);
			if (ret != 0) {
				return ret;
			}
			if (read != NULL) {
				read += count * size;
			}
			done += count;
		}
	}
	return 0;
}

/*
 * Read back all that is draining and list the packets of what is not as
 * written. 0, or an error that is not the medium's.
 */
static int check_all(struct udf_verify *verify,
		     struct udf_pending_chunk **sorted, size_t chunks,
		     struct udf_block_list *suspects)
{
	const size_t region_chunks = READ_BACK_BYTES / UDF_PENDING_CHUNK_BYTES;
	size_t i = 0;
	int ret = 0;

	pthread_rwlock_rdlock(&verify->partition->map_lock);
	while (i < chunks && ret == 0) {
		size_t n = 1;
		uint32_t blocks = 0;

		while (n < region_chunks && i + n < chunks &&
		       sorted[i + n]->first ==
			       sorted[i + n - 1]->first +
				       verify->chunk_blocks) {
			n++;
		}
		blocks = (uint32_t)n * verify->chunk_blocks;
		blocks = range_end(verify, sorted[i]->first, blocks) -
			 sorted[i]->first;
		ret = check_region(verify, &sorted[i], blocks, suspects);
		i += n;
	}
	pthread_rwlock_unlock(&verify->partition->map_lock);
	return ret;
}

/*
 * Blocks from lbn on that are draining, as many as follow each other; their
 * data goes to verify->packet. map_lock is held exclusively, so that no
 * writer changes it.
 */
static uint32_t gather_run(struct udf_verify *verify, uint32_t lbn,
			   uint32_t end)
{
	size_t size = verify->partition->block_size;
	uint32_t count = 0;

	pthread_mutex_lock(&verify->lock);
	while (lbn + count < end) {
		const uint8_t *data = NULL;

		data = udf_pending_get(verify->draining, lbn + count);
		if (data == NULL) {
			break;
		}
		memcpy(verify->packet + count * size, data, size);
		count++;
	}
	pthread_mutex_unlock(&verify->lock);
	return count;
}

/*
 * Write what is draining of a suspect packet once more, by itself and past
 * the cache, and look again. The first look may have been at a neighbour's
 * fault: one bad sector fails a whole request, which can be many packets
 * long. And a write may have come between. map_lock is held exclusively.
 */
static bool packet_is_bad(struct udf_verify *verify, uint32_t first,
			  uint32_t end)
{
	struct udf_partition *partition = verify->partition;
	uint32_t lbn = first;

	while (lbn < end) {
		uint32_t count = gather_run(verify, lbn, end);
		size_t bytes = (size_t)count * partition->block_size;
		uint32_t block = 0;
		uint32_t run = 0;

		if (count == 0) {
			lbn++;
			continue;
		}
		/* A packet is in one piece, wherever it is. */
		block = udf_partition_map(partition, lbn, count, &run);
		(void)udf_blockdev_write_medium(partition->dev,
						block_offset(verify, block),
						verify->packet, bytes);
		if (read_medium_tries(verify, block, verify->read_back,
				      bytes) != 0 ||
		    memcmp(verify->read_back, verify->packet, bytes) != 0) {
			return true;
		}
		lbn += count;
	}
	return false;
}

/*
 * Gather the packet's newest data in verify->packet: what is kept, else what
 * the medium has. A neighbour that cannot be read is lost, and said so.
 */
static void gather_packet(struct udf_verify *verify, uint32_t first,
			  uint32_t end, struct udf_block_list *lost)
{
	struct udf_partition *partition = verify->partition;
	size_t size = partition->block_size;
	uint32_t lbn = 0;

	for (lbn = first; lbn < end; lbn++) {
		uint8_t *p = verify->packet + (lbn - first) * size;
		int ret = 0;

		if (udf_verify_holds(verify, lbn)) {
			continue;
		}
		ret = udf_partition_rescue(partition, lbn, p, NULL);
		if (ret == 0) {
			continue;
		}
		udf_lost_fill(partition->identity, lbn, p,
			      partition->block_size);
		/* Without memory it is not logged, but marked all the same. */
		(void)udf_block_list_add(lost, lbn);
	}
	udf_verify_overlay(verify, first, end - first, verify->packet);
}

/*
 * A block that is not on the medium goes back to current, as failed. lock is
 * held.
 */
static void put_back(struct udf_verify *verify, uint32_t lbn,
		     const uint8_t *data)
{
	int *flush_error = &verify->partition->flush_error;

	if (udf_pending_put(verify->current, lbn, 1, data) == 0) {
		udf_pending_fail(verify->current, lbn);
		verify->failed++;
	} else {
		/* No memory: forgotten, so every later sync has to fail. */
		__atomic_store_n(flush_error, -EIO, __ATOMIC_RELEASE);
	}
}

/* What is draining of the packet goes back. */
static void keep_failed(struct udf_verify *verify, uint32_t first, uint32_t end,
			int error)
{
	bool first_time = false;
	uint32_t lbn = 0;

	pthread_mutex_lock(&verify->lock);
	for (lbn = first; lbn < end; lbn++) {
		const uint8_t *data = udf_pending_get(verify->draining, lbn);

		if (data == NULL ||
		    udf_pending_get(verify->current, lbn) != NULL) {
			continue;
		}
		if (!udf_pending_is_failed(verify->draining, lbn)) {
			first_time = true;
		}
		put_back(verify, lbn, data);
	}
	pthread_mutex_unlock(&verify->lock);
	if (first_time) {
		udf_partition_count(
			&verify->partition->counts.unsaved_packets, 1);
		udf_log(verify->partition->log, UDF_LOG_ERROR,
			"defect event=unsaved packet=%u error=\"%s\"", first,
			strerror(-error));
	}
}

/*
 * The blocks that gather_packet() did not get are lost for good now: a line
 * for each run of them.
 */
static void report_losses(struct udf_verify *verify,
			  const struct udf_block_list *lost)
{
	struct udf_partition *partition = verify->partition;
	size_t i = 0;

	udf_partition_count(&partition->counts.lost_blocks, lost->count);
	while (i < lost->count) {
		uint32_t first = lost->blocks[i];
		uint32_t count = 0;

		while (i < lost->count && lost->blocks[i] == first + count) {
			udf_partition_note_damage(partition, first + count);
			count++;
			i++;
		}
		udf_log(partition->log, UDF_LOG_ERROR,
			"defect event=lost block=%u blocks=%u packet=%u",
			first, count, packet_of(verify, first));
	}
}

/* No spare is left for a bad packet. */
static void note_bad(struct udf_verify *verify, uint32_t first)
{
	struct udf_partition *partition = verify->partition;

	pthread_mutex_lock(&verify->lock);
	/* Without memory the packet's blocks are used again; they fail. */
	(void)udf_block_list_add(&verify->bad, first);
	pthread_mutex_unlock(&verify->lock);
	if (!verify->told_exhausted) {
		verify->told_exhausted = true;
		udf_log(partition->log, UDF_LOG_ERROR,
			"defect event=spares-exhausted packet=%u: bad packets "
			"cannot be relocated any more; copy the data to a new "
			"medium",
			first);
	}
}

/* One suspect packet. 1: relocated; 0: it was good; or an error. */
static int cure_packet(struct udf_verify *verify, uint32_t first,
		       struct relocation *relocation)
{
	struct udf_partition *partition = verify->partition;
	uint32_t end = range_end(verify, first, verify->packet_blocks);
	size_t bytes = (size_t)(end - first) * partition->block_size;
	struct udf_block_list lost = {.count = 0};
	uint32_t run = 0;
	int ret = 0;

	if (!packet_is_bad(verify, first, end)) {
		return 0;
	}
	relocation->original = first;
	relocation->from = udf_partition_map(partition, first, 1, &run);
	gather_packet(verify, first, end, &lost);
	ret = udf_sparing_relocate(partition->sparing, first, verify->packet,
				   bytes, &relocation->to);
	if (ret == 0) {
		report_losses(verify, &lost);
		udf_partition_count(&partition->counts.relocated_packets, 1);
		ret = 1;
	} else {
		if (ret == -ENOSPC) {
			note_bad(verify, first);
		}
		keep_failed(verify, first, end, ret);
	}
	udf_block_list_free(&lost);
	return ret;
}

static void log_relocations(struct udf_verify *verify,
			    const struct relocation *done, size_t count)
{
	struct udf_sparing_counts counts = {0};
	size_t i = 0;

	udf_sparing_count(verify->partition->sparing, &counts);
	for (i = 0; i < count; i++) {
		udf_log(verify->partition->log, UDF_LOG_NOTICE,
			"defect event=relocated packet=%u from=%u to=%u "
			"sequence=%u spares=%u/%u",
			done[i].original, done[i].from, done[i].to,
			counts.sequence, counts.free, counts.total);
	}
}

/* verify->packet is on the medium where the packet is, and read at once. */
static bool rewrite_in_place(struct udf_verify *verify, uint32_t first,
			     size_t bytes)
{
	struct udf_partition *partition = verify->partition;
	uint32_t run = 0;
	uint32_t block = udf_partition_map(partition, first, 1, &run);
	uint64_t offset = block_offset(verify, block);
	int ret = 0;

	ret = udf_blockdev_write_medium(partition->dev, offset, verify->packet,
					bytes);
	if (ret == 0) {
		ret = udf_blockdev_read_medium(partition->dev, offset,
					       verify->read_back, bytes);
	}
	return ret == 0 &&
	       memcmp(verify->read_back, verify->packet, bytes) == 0;
}

/* With drain_lock and map_lock. */
static int refresh_packet(struct udf_verify *verify, uint32_t first)
{
	struct udf_partition *partition = verify->partition;
	uint32_t end = range_end(verify, first, verify->packet_blocks);
	size_t bytes = (size_t)(end - first) * partition->block_size;
	struct udf_block_list lost = {.count = 0};
	struct relocation relocation = {.original = first};
	uint32_t run = 0;
	int ret = 0;

	gather_packet(verify, first, end, &lost);
	ret = lost.count > 0 ? -EIO : 0;
	udf_block_list_free(&lost);
	if (ret != 0 || rewrite_in_place(verify, first, bytes)) {
		return ret;
	}
	relocation.from = udf_partition_map(partition, first, 1, &run);
	ret = udf_sparing_relocate(partition->sparing, first, verify->packet,
				   bytes, &relocation.to);
	if (ret == 0) {
		ret = udf_sparing_commit(partition->sparing);
	}
	if (ret != 0) {
		return ret;
	}
	udf_partition_count(&partition->counts.relocated_packets, 1);
	log_relocations(verify, &relocation, 1);
	return 1;
}

int udf_verify_refresh(struct udf_verify *verify, uint32_t first)
{
	int ret = 0;

	pthread_mutex_lock(&verify->drain_lock);
	pthread_rwlock_wrlock(&verify->partition->map_lock);
	ret = refresh_packet(verify, first);
	pthread_rwlock_unlock(&verify->partition->map_lock);
	pthread_mutex_unlock(&verify->drain_lock);
	return ret;
}

/* Relocate the suspects that are bad, then write the sparing table. */
static int cure(struct udf_verify *verify, const struct udf_block_list *suspects)
{
	struct udf_partition *partition = verify->partition;
	struct relocation *done = NULL;
	size_t relocated = 0;
	size_t i = 0;
	int error = 0;
	int ret = 0;

	done = calloc(suspects->count + 1, sizeof(*done));
	if (done == NULL) {
		return -ENOMEM;
	}
	udf_partition_count(&partition->counts.suspect_packets,
			    suspects->count);
	pthread_rwlock_wrlock(&partition->map_lock);
	for (i = 0; i < suspects->count; i++) {
		ret = cure_packet(verify, suspects->blocks[i],
				  &done[relocated]);
		if (ret == 1) {
			relocated++;
		} else if (ret != 0 && error == 0) {
			error = ret;
		}
	}
	ret = udf_sparing_commit(partition->sparing);
	if (ret != 0 && error == 0) {
		error = ret;
	}
	log_relocations(verify, done, relocated);
	pthread_rwlock_unlock(&partition->map_lock);
	free(done);
	return error;
}

/* Put all that is draining back, unless it was written again since. */
static void undrain(struct udf_verify *verify,
		    struct udf_pending_chunk **sorted, size_t chunks)
{
	size_t size = verify->partition->block_size;
	size_t i = 0;
	uint32_t j = 0;

	pthread_mutex_lock(&verify->lock);
	for (i = 0; i < chunks; i++) {
		for (j = 0; j < verify->chunk_blocks; j++) {
			uint32_t lbn = sorted[i]->first + j;

			if (((sorted[i]->mask >> j) & 1) == 0) {
				continue;
			}
			put_back(verify, lbn, sorted[i]->data + j * size);
		}
	}
	pthread_mutex_unlock(&verify->lock);
}

/* The work of a drain, once draining is filled. */
static int check_and_cure(struct udf_verify *verify,
			  struct udf_pending_chunk **sorted, size_t chunks)
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
		ret = check_all(verify, sorted, chunks, &suspects);
	}
	if (ret == 0) {
		ret = cure(verify, &suspects);
	} else {
		udf_log(partition->log, UDF_LOG_ERROR,
			"writes cannot be verified: %s", strerror(-ret));
		undrain(verify, sorted, chunks);
	}
	udf_block_list_free(&suspects);
	return ret;
}

/* Verify all that is kept. Takes drain_lock. */
static int drain(struct udf_verify *verify)
{
	struct udf_pending_chunk **sorted = NULL;
	struct udf_pending *set = NULL;
	size_t chunks = 0;
	int ret = -ENOMEM;

	pthread_mutex_lock(&verify->drain_lock);
	pthread_mutex_lock(&verify->lock);
	sorted = udf_pending_sorted(verify->current);
	if (sorted == NULL) {
		goto out;
	}
	set = verify->current;
	verify->current = verify->draining;
	verify->draining = set;
	verify->failed = 0;
	chunks = set->chunks;
	pthread_cond_broadcast(&verify->changed);
	pthread_mutex_unlock(&verify->lock);

	ret = check_and_cure(verify, sorted, chunks);

	pthread_mutex_lock(&verify->lock);
	udf_pending_clear(verify->draining);
out:
	pthread_mutex_unlock(&verify->lock);
	pthread_mutex_unlock(&verify->drain_lock);
	free(sorted);
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
		ret = drain(verify);
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

int udf_verify_relieve(struct udf_verify *verify)
{
	bool by_hand = false;
	int ret = 0;

	pthread_mutex_lock(&verify->lock);
	if (udf_pending_bytes(verify->current) >= verify->limit / 4) {
		by_hand = !want_thread(verify);
	}
	/* Half in current, half in draining. */
	while (verify->wanted &&
	       udf_pending_bytes(verify->current) >= verify->limit / 2) {
		pthread_cond_wait(&verify->changed, &verify->lock);
	}
	ret = verify->background_error;
	verify->background_error = 0;
	pthread_mutex_unlock(&verify->lock);
	if (by_hand) {
		ret = drain(verify);
	}
	return ret;
}

int udf_verify_sync(struct udf_verify *verify)
{
	int ret = drain(verify);

	if (ret == 0) {
		ret = __atomic_load_n(&verify->partition->flush_error,
				      __ATOMIC_ACQUIRE);
	}
	return ret;
}
