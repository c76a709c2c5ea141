/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The bits of a space, for space.c, which reads and writes them, and
 * space_allocate.c, which looks for free ones. Others know space.h. Blocks are
 * without the base of the space; its lock is held.
 */
#ifndef UDF_STORE_SPACE_BITS_H
#define UDF_STORE_SPACE_BITS_H

#include "space.h"

static inline bool udf_space_bit(const uint8_t *bytes, uint64_t bit)
{
	return (bytes[bit / 8] >> (bit % 8)) & 1;
}

/*
 * Where the bit of a block is: its chunk and its bit within the chunk's
 * bytes. The descriptor's header is part of the first chunk.
 */
uint32_t udf_space_bit_chunk(const struct udf_space *space, uint32_t lbn,
			     uint64_t *bit);

/* The block of the first bit of a chunk. */
uint32_t udf_space_chunk_first(const struct udf_space *space, uint32_t index);

/* One past the last block that a chunk describes. */
uint32_t udf_space_chunk_end(const struct udf_space *space, uint32_t index);

/* Have a chunk in memory; -EIO, -EUCLEAN, -ENOMEM. */
int udf_space_chunk_load(struct udf_space *space, uint32_t index);

/* Set or clear the bits of a run, which is within the bitmap. */
int udf_space_mark(struct udf_space *space, uint32_t lbn, uint32_t count,
		   bool is_free);

#endif /* UDF_STORE_SPACE_BITS_H */
