/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Blocks kept in memory: see pending.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pending.h"

void udf_pending_init(struct udf_pending *pending, uint32_t block_size,
		      struct udf_pending_pool *pool)
{
	*pending = (struct udf_pending){
		.block_size = block_size,
		.chunk_blocks = UDF_PENDING_CHUNK_BYTES / block_size,
		.pool = pool,
	};
}

static void release_chunk(struct udf_pending_pool *pool,
			  struct udf_pending_chunk *chunk)
{
	if (pool->count >= pool->keep) {
		free(chunk);
		return;
	}
	chunk->next = pool->free;
	pool->free = chunk;
	pool->count++;
}

static struct udf_pending_chunk *take_chunk(struct udf_pending_pool *pool)
{
	struct udf_pending_chunk *chunk = pool->free;

	if (chunk == NULL) {
		return malloc(sizeof(*chunk));
	}
	pool->free = chunk->next;
	pool->count--;
	return chunk;
}

void udf_pending_clear(struct udf_pending *pending)
{
	size_t i = 0;

	for (i = 0; i < UDF_PENDING_BUCKETS && pending->chunks > 0; i++) {
		struct udf_pending_chunk *chunk = pending->buckets[i];

		while (chunk != NULL) {
			struct udf_pending_chunk *next = chunk->next;

			release_chunk(pending->pool, chunk);
			pending->chunks--;
			chunk = next;
		}
		pending->buckets[i] = NULL;
	}
	pending->failed = 0;
}

void udf_pending_pool_clear(struct udf_pending_pool *pool)
{
	while (pool->free != NULL) {
		struct udf_pending_chunk *chunk = pool->free;

		pool->free = chunk->next;
		free(chunk);
	}
	pool->count = 0;
}

size_t udf_pending_bytes(const struct udf_pending *pending)
{
	return pending->chunks * sizeof(struct udf_pending_chunk);
}

/* Neighbouring chunks go to neighbouring buckets. */
static size_t bucket_of(const struct udf_pending *pending, uint32_t first)
{
	return first / pending->chunk_blocks % UDF_PENDING_BUCKETS;
}

static struct udf_pending_chunk *find_chunk(const struct udf_pending *pending,
					    uint32_t first)
{
	struct udf_pending_chunk *chunk = NULL;

	chunk = pending->buckets[bucket_of(pending, first)];
	while (chunk != NULL && chunk->first != first) {
		chunk = chunk->next;
	}
	return chunk;
}

static struct udf_pending_chunk *make_chunk(struct udf_pending *pending,
					    uint32_t first)
{
	struct udf_pending_chunk *chunk = take_chunk(pending->pool);
	size_t bucket = bucket_of(pending, first);

	if (chunk == NULL) {
		return NULL;
	}
	chunk->first = first;
	chunk->mask = 0;
	chunk->failed = 0;
	chunk->next = pending->buckets[bucket];
	pending->buckets[bucket] = chunk;
	pending->chunks++;
	return chunk;
}

static size_t count_bits(uint32_t mask)
{
	return (size_t)__builtin_popcount(mask);
}

/* These blocks of a chunk have not failed, whatever they did. */
static void pardon_blocks(struct udf_pending *pending,
			  struct udf_pending_chunk *chunk, uint32_t mask)
{
	pending->failed -= count_bits(chunk->failed & mask);
	chunk->failed &= ~mask;
}

static void drop_blocks(struct udf_pending *pending,
			struct udf_pending_chunk *chunk, uint32_t mask)
{
	pardon_blocks(pending, chunk, mask);
	chunk->mask &= ~mask;
}

/* Part of a range that lies in one chunk. */
struct span {
	uint32_t first;	 /* of the chunk */
	uint32_t offset; /* blocks into the chunk */
	uint32_t count;
	uint32_t mask;
};

static struct span span_at(const struct udf_pending *pending, uint32_t lbn,
			   uint32_t count)
{
	struct span span = {0};
	uint64_t ones = 0;

	span.offset = lbn % pending->chunk_blocks;
	span.first = lbn - span.offset;
	span.count = pending->chunk_blocks - span.offset;
	if (span.count > count) {
		span.count = count;
	}
	ones = ((uint64_t)1 << span.count) - 1;
	span.mask = (uint32_t)(ones << span.offset);
	return span;
}

int udf_pending_put(struct udf_pending *pending, uint32_t lbn, uint32_t count,
		    const uint8_t *buf)
{
	while (count > 0) {
		struct span span = span_at(pending, lbn, count);
		struct udf_pending_chunk *chunk = NULL;
		size_t bytes = (size_t)span.count * pending->block_size;
		size_t offset = (size_t)span.offset * pending->block_size;

		chunk = find_chunk(pending, span.first);
		if (chunk == NULL) {
			chunk = make_chunk(pending, span.first);
		}
		if (chunk == NULL) {
			return -ENOMEM;
		}
		memcpy(chunk->data + offset, buf, bytes);
		chunk->mask |= span.mask;
		pardon_blocks(pending, chunk, span.mask);
		lbn += span.count;
		count -= span.count;
		buf += bytes;
	}
	return 0;
}

void udf_pending_drop(struct udf_pending *pending, uint32_t lbn,
		      uint32_t count)
{
	while (count > 0 && pending->chunks > 0) {
		struct span span = span_at(pending, lbn, count);
		struct udf_pending_chunk *chunk = NULL;

		chunk = find_chunk(pending, span.first);
		if (chunk != NULL) {
			drop_blocks(pending, chunk, span.mask);
		}
		lbn += span.count;
		count -= span.count;
	}
}

void udf_pending_overlay(const struct udf_pending *pending, uint32_t lbn,
			 uint32_t count, uint8_t *buf)
{
	size_t size = pending->block_size;

	while (count > 0 && pending->chunks > 0) {
		struct span span = span_at(pending, lbn, count);
		const struct udf_pending_chunk *chunk = NULL;
		uint32_t i = 0;

		chunk = find_chunk(pending, span.first);
		if (chunk != NULL) {
			for (i = 0; i < span.count; i++) {
				uint32_t n = span.offset + i;

				if ((chunk->mask >> n) & 1) {
					memcpy(buf + i * size,
					       chunk->data + n * size, size);
				}
			}
		}
		lbn += span.count;
		count -= span.count;
		buf += span.count * size;
	}
}

const uint8_t *udf_pending_get(const struct udf_pending *pending, uint32_t lbn)
{
	struct span span = span_at(pending, lbn, 1);
	const struct udf_pending_chunk *chunk = NULL;

	chunk = find_chunk(pending, span.first);
	if (chunk == NULL || (chunk->mask & span.mask) == 0) {
		return NULL;
	}
	return chunk->data + (size_t)span.offset * pending->block_size;
}

void udf_pending_fail(struct udf_pending *pending, uint32_t lbn)
{
	struct span span = span_at(pending, lbn, 1);
	struct udf_pending_chunk *chunk = find_chunk(pending, span.first);

	if (chunk != NULL) {
		uint32_t fresh = chunk->mask & span.mask & ~chunk->failed;

		chunk->failed |= fresh;
		pending->failed += count_bits(fresh);
	}
}

bool udf_pending_is_failed(const struct udf_pending *pending, uint32_t lbn)
{
	struct span span = span_at(pending, lbn, 1);
	const struct udf_pending_chunk *chunk = NULL;

	chunk = find_chunk(pending, span.first);
	return chunk != NULL && (chunk->failed & span.mask) != 0;
}

static int compare_chunks(const void *a, const void *b)
{
	const struct udf_pending_chunk *const *x = a;
	const struct udf_pending_chunk *const *y = b;

	if ((*x)->first == (*y)->first) {
		return 0;
	}
	return (*x)->first < (*y)->first ? -1 : 1;
}

void udf_pending_sort(const struct udf_pending *pending,
		      struct udf_pending_chunk **sorted)
{
	size_t n = 0;
	size_t i = 0;

	for (i = 0; i < UDF_PENDING_BUCKETS && n < pending->chunks; i++) {
		struct udf_pending_chunk *chunk = pending->buckets[i];

		for (; chunk != NULL; chunk = chunk->next) {
			sorted[n++] = chunk;
		}
	}
	qsort(sorted, n, sizeof(struct udf_pending_chunk *), compare_chunks);
}

bool udf_pending_has(const struct udf_pending *pending,
		     const struct udf_run_list *runs)
{
	size_t n = 0;
	size_t i = 0;

	for (i = 0; i < UDF_PENDING_BUCKETS && n < pending->chunks; i++) {
		const struct udf_pending_chunk *chunk = pending->buckets[i];

		for (; chunk != NULL; chunk = chunk->next) {
			uint32_t wanted = 0;

			n++;
			wanted = udf_run_list_mask(runs, chunk->first,
						   pending->chunk_blocks);
			if ((chunk->mask & wanted) != 0) {
				return true;
			}
		}
	}
	return false;
}

/* Some blocks of a chunk. */
static int move_blocks(struct udf_pending *from,
		       struct udf_pending_chunk *chunk, struct udf_pending *to,
		       uint32_t wanted)
{
	size_t size = from->block_size;
	struct udf_pending_chunk *other = find_chunk(to, chunk->first);
	uint32_t copied = 0;
	uint32_t failed = 0;
	uint32_t i = 0;

	if (other == NULL) {
		other = make_chunk(to, chunk->first);
	}
	if (other == NULL) {
		return -ENOMEM;
	}
	copied = wanted & ~other->mask;
	for (i = 0; i < from->chunk_blocks; i++) {
		if ((copied >> i) & 1) {
			memcpy(other->data + i * size, chunk->data + i * size,
			       size);
		}
	}
	failed = chunk->failed & copied;
	other->mask |= copied;
	other->failed |= failed;
	to->failed += count_bits(failed);
	drop_blocks(from, chunk, wanted);
	return 0;
}

int udf_pending_move(struct udf_pending *from, struct udf_pending *to,
		     const struct udf_run_list *runs, bool keep_chunks)
{
	size_t left = from->chunks;
	size_t i = 0;
	int ret = 0;

	for (i = 0; i < UDF_PENDING_BUCKETS && left > 0 && ret == 0; i++) {
		struct udf_pending_chunk **link = &from->buckets[i];

		while (*link != NULL && ret == 0) {
			struct udf_pending_chunk *chunk = *link;
			uint32_t wanted = 0;

			left--;
			wanted = chunk->mask &
				 udf_run_list_mask(runs, chunk->first,
						   from->chunk_blocks);
			if (wanted != 0) {
				ret = move_blocks(from, chunk, to, wanted);
			}
			if (chunk->mask != 0 || keep_chunks) {
				link = &chunk->next;
				continue;
			}
			*link = chunk->next;
			release_chunk(from->pool, chunk);
			from->chunks--;
		}
	}
	return ret;
}
