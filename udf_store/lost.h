/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A block that could not be read when its packet was relocated. What takes
 * its place on the spare says so (docs/DEFECTS.md): a reader that knows this
 * answers with an error, one that does not shows a text, and neither takes
 * zeroes for the data. It moves with the packet, is as durable as the
 * sparing table, and ends when the block is written.
 */
#ifndef UDF_STORE_LOST_H
#define UDF_STORE_LOST_H

#include <stdbool.h>
#include <stdint.h>

#define UDF_LOST_IDENTITY_LEN 16u

/*
 * Fill a block (block_size bytes, at least 512) with the mark of block lbn of
 * the volume with this identity.
 */
void udf_lost_fill(const uint8_t *identity, uint32_t lbn, uint8_t *block,
		   uint32_t block_size);

/* Is it just that mark? Only blocks of relocated packets need to be asked. */
bool udf_lost_is(const uint8_t *identity, uint32_t lbn, const uint8_t *block,
		 uint32_t block_size);

#endif /* UDF_STORE_LOST_H */
