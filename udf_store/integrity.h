/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The Logical Volume Integrity Sequence (ECMA-167 3/10.10.4): where its last
 * descriptor is, and writing it, to the next block of its extent when the
 * medium does not hold it. No locks: volume.c has one.
 */
#ifndef UDF_STORE_INTEGRITY_H
#define UDF_STORE_INTEGRITY_H

#include <stdbool.h>
#include <stdint.h>

#include "blockdev.h"
#include "ecma167.h"
#include "log.h"

struct udf_integrity_sequence {
	struct udf_blockdev *dev;
	const struct udf_log *log;
	uint32_t block_size; /* bytes */
	bool found;	     /* there is a valid descriptor */
	bool damaged;	     /* a block before it is not, and should be */
	uint32_t block;	     /* where it is on the volume */
	uint32_t end;	     /* of its extent */
	struct udf_lvid lvid;
};

/*
 * Follow the sequence that begins with this extent: the last descriptor
 * prevails, and may name a next extent. A block that cannot be read, or holds
 * something damaged, does not end it: what it had may have moved behind it.
 * Without a valid descriptor, block is the first of the extent.
 */
void udf_integrity_read(struct udf_integrity_sequence *sequence,
			struct udf_extent_ad extent);

/*
 * Write the descriptor where the last one is (it fits one sector, which a
 * device writes whole or not at all) and see that the medium has it; else to
 * the first block behind it in the extent that does. *moved: block is another
 * one now. -EIO: no block of the extent holds it.
 */
int udf_integrity_write(struct udf_integrity_sequence *sequence,
			const struct udf_lvid *lvid, bool *moved);

#endif /* UDF_STORE_INTEGRITY_H */
