/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Blocks kept in memory until they were seen on the medium: a hash of small
 * chunks of neighbouring blocks. No locks; verify.c has them.
 */
#ifndef UDF_STORE_PENDING_H
#define UDF_STORE_PENDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "run_list.h"

#define UDF_PENDING_CHUNK_BYTES 16384u
#define UDF_PENDING_BUCKETS 4096u

/* Blocks first to first + blocks per chunk - 1 of the partition. */
struct udf_pending_chunk {
	struct udf_pending_chunk *next; /* of the bucket, or of the pool */
	uint32_t first;
	uint32_t mask;	 /* bit i: block first + i is kept */
	uint32_t failed; /* of these: could not be saved so far */
	uint8_t data[UDF_PENDING_CHUNK_BYTES];
};

/* Chunks to use again. */
struct udf_pending_pool {
	struct udf_pending_chunk *free;
	size_t count;
	size_t keep; /* at most so many */
};

struct udf_pending {
	uint32_t block_size; /* 512 to 4096 */
	uint32_t chunk_blocks;
	size_t chunks;
	size_t failed; /* blocks */
	struct udf_pending_pool *pool;
	struct udf_pending_chunk *buckets[UDF_PENDING_BUCKETS];
};

void udf_pending_init(struct udf_pending *pending, uint32_t block_size,
		      struct udf_pending_pool *pool);
void udf_pending_clear(struct udf_pending *pending);
void udf_pending_pool_clear(struct udf_pending_pool *pool);

/* Bytes of memory that the blocks take. */
size_t udf_pending_bytes(const struct udf_pending *pending);

/*
 * Keep a copy of these blocks; what was kept of them is replaced and counts as
 * not failed. -ENOMEM: of the first ones, some may be kept.
 */
int udf_pending_put(struct udf_pending *pending, uint32_t lbn, uint32_t count,
		    const uint8_t *buf);

/* Keep these no longer. Their chunks stay until udf_pending_clear(), so an
 * array of udf_pending_sorted() stays valid. */
void udf_pending_drop(struct udf_pending *pending, uint32_t lbn,
		      uint32_t count);

/* Copy those of the blocks that are kept to their place in buf. */
void udf_pending_overlay(const struct udf_pending *pending, uint32_t lbn,
			 uint32_t count, uint8_t *buf);

/* The block's data, or NULL. */
const uint8_t *udf_pending_get(const struct udf_pending *pending, uint32_t lbn);

/* Mark a kept block as failed. */
void udf_pending_fail(struct udf_pending *pending, uint32_t lbn);
bool udf_pending_is_failed(const struct udf_pending *pending, uint32_t lbn);

/* Is one of the blocks of these runs kept? */
bool udf_pending_has(const struct udf_pending *pending,
		     const struct udf_run_list *runs);

/*
 * Move what is kept of the blocks of these runs to another set; what that one
 * has already stays there as it is. keep_chunks: as udf_pending_drop().
 * -ENOMEM: some are moved.
 */
int udf_pending_move(struct udf_pending *from, struct udf_pending *to,
		     const struct udf_run_list *runs, bool keep_chunks);

/* All chunks, sorted by block, to an array with room for them. */
void udf_pending_sort(const struct udf_pending *pending,
		      struct udf_pending_chunk **sorted);

#endif /* UDF_STORE_PENDING_H */
