/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Reading blocks of a partition for no other reason than to know that they
 * can be read, and making those well that are going bad.
 */
#ifndef UDF_STORE_SCRUB_H
#define UDF_STORE_SCRUB_H

#include <stdbool.h>
#include <stdint.h>

#include "block_list.h"

struct udf_partition;

/* Blocks that one call may ask for, at most. */
#define UDF_SCRUB_BLOCKS_MAX 2048u

struct udf_scrub_result {
	uint32_t retried;   /* blocks that were read at a later try only */
	uint32_t slow;	    /* packets that took longer than allowed */
	uint32_t refreshed; /* packets written again where they are */
	uint32_t relocated; /* packets */
	uint32_t not_cured; /* packets: no spare is left, or none is good */
	uint64_t slowest_ns; /* the longest read of a packet */
	struct udf_block_list bad; /* unreadable, or lost before (lost.h) */
};

/*
 * Read blocks from the medium, past any cache. With cure, on a volume with
 * defect management, a packet that was read only with retries, or took longer
 * than slow_ms milliseconds (0: any time is good), and of which all can be
 * read, is written again, and relocated if that does not help. What cannot be
 * read is left alone: a later try may still succeed.
 *
 * Adds to *result; the caller frees bad. -EINVAL: not within the partition,
 * or too many; -ENOMEM; or an error that is not the medium's.
 */
int udf_partition_scrub(struct udf_partition *partition, uint32_t lbn,
			uint32_t count, bool cure, uint32_t slow_ms,
			struct udf_scrub_result *result);

#endif /* UDF_STORE_SCRUB_H */
