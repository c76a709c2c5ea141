/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Software defect management (UDF 2.2.11, MS-FSA's "software defect
 * managed"): what was written is kept until the medium was seen to hold it,
 * and a packet that does not hold its data is relocated.
 */
#ifndef UDF_STORE_VERIFY_H
#define UDF_STORE_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "block_list.h"
#include "partition.h"
#include "run_list.h"

struct udf_verify;

#define UDF_VERIFY_LIMIT_DEFAULT (32u * 1024u * 1024u)

/* limit: bytes to keep until verified; 0: default. NULL: no memory. */
struct udf_verify *udf_verify_new(struct udf_partition *partition,
				  size_t limit);

/* What is not verified by now is not. NULL is fine. */
void udf_verify_free(struct udf_verify *verify);

/*
 * Called with map_lock held shared.
 */

/* Keep a copy of what is about to be written. -ENOMEM. */
int udf_verify_remember(struct udf_verify *verify, uint32_t lbn, uint32_t count,
			const void *buf);

/* These blocks are not ours to verify any more. */
void udf_verify_forget(struct udf_verify *verify, uint32_t lbn, uint32_t count);

/* Put what is kept of these blocks over what was read of them. */
void udf_verify_overlay(struct udf_verify *verify, uint32_t lbn, uint32_t count,
			void *buf);

/* The block's data is kept, so it need not be readable. */
bool udf_verify_holds(struct udf_verify *verify, uint32_t lbn);

/* The same, and its data goes to buf. */
bool udf_verify_copy(struct udf_verify *verify, uint32_t lbn, void *buf);

/*
 * Called without map_lock.
 */

/*
 * The blocks that could not be saved so far and that are kept in memory, in
 * packets that are bad and for which no spare was left. -ENOMEM.
 */
int udf_verify_failed(struct udf_verify *verify, struct udf_block_list *list);

/* First blocks of all packets that were bad when no spare was left. -ENOMEM. */
int udf_verify_bad_packets(struct udf_verify *verify,
			   struct udf_block_list *list);
/* The block is in such a packet. */
bool udf_verify_is_bad(struct udf_verify *verify, uint32_t lbn);

struct udf_verify_memory {
	size_t limit; /* bytes to keep until verified */
	size_t used;
	size_t most; /* ever used */
	size_t failed; /* of used: could not be saved, waits */
};
void udf_verify_memory(struct udf_verify *verify,
		       struct udf_verify_memory *memory);

/* Begin to verify, in a thread, when a quarter of the limit is kept. */
void udf_verify_relieve(struct udf_verify *verify);

/*
 * Wait while half of the limit is kept, besides what is looked at, and
 * something is done about it; is_small: while a quarter more than the limit is
 * kept in all. Returns the last error, not returned yet, of verifying in the
 * thread: the data is kept, and whoever syncs it is told.
 */
int udf_verify_throttle(struct udf_verify *verify, bool is_small);

/* Verify all that is kept, for who wants to have less to wait for later. */
void udf_verify_settle(struct udf_verify *verify);

/*
 * Write a packet, which is read with difficulty, again where it is; relocate
 * it when it is not read at once then. 1: relocated; 0: written again; -EIO:
 * a part cannot be read, nothing is done; -ENOSPC: no spare is left.
 */
int udf_verify_refresh(struct udf_verify *verify, uint32_t first);

/*
 * Verify all that was written before the call, or what of it is in these runs
 * (sorted): as udf_volume_sync() and udf_volume_sync_runs().
 */
int udf_verify_sync(struct udf_verify *verify, const struct udf_run_list *runs);

#endif /* UDF_STORE_VERIFY_H */
