/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What verify.c and verify_cure.c share.
 */
#ifndef UDF_STORE_VERIFY_STATE_H
#define UDF_STORE_VERIFY_STATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pending.h"
#include "verify.h"

struct udf_drain {
	struct udf_drain *next;
	uint64_t number; /* in the order of their begin */
	bool advisory;
	struct udf_pending *blocks;
	uint8_t *read_back; /* READ_BACK_BYTES */
	struct udf_pending_chunk **sorted; /* the chunks of blocks */
	size_t chunks;
};

struct udf_verify {
	struct udf_partition *partition;
	size_t limit;
	uint32_t packet_blocks;
	uint32_t chunk_blocks;

	pthread_mutex_t drain_lock;
	uint8_t *read_back; /* for cures: of packet_blocks */
	uint8_t *packet;    /* the same */
	bool told_exhausted; /* the same */

	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct udf_pending_pool pool;
	struct udf_pending *current;
	struct udf_drain *drains;	   /* that have blocks */
	struct udf_drain *spare_drains;
	size_t spare_count;
	uint64_t drains_begun;
	struct udf_block_list bad; /* packets that no spare was left for */
	size_t most_bytes;	   /* kept at once so far */
	int background_error;	/* not told to anybody yet */
	bool has_thread;
	bool wanted; /* the thread has something to do */
	bool stop;
	pthread_t thread;
};

/* First block of the packet of a block. */
uint32_t udf_verify_packet_of(const struct udf_verify *verify, uint32_t lbn);

/* Where on the device a block of the volume is, in bytes. */
uint64_t udf_verify_offset(const struct udf_verify *verify, uint32_t block);

/* Read blocks of the volume from the medium, trying again. */
int udf_verify_read_medium(struct udf_verify *verify, uint32_t block, void *buf,
			   size_t bytes);

/*
 * A block that is not on the medium goes back to current, as failed. lock is
 * held.
 */
void udf_verify_put_back(struct udf_verify *verify, uint32_t lbn,
			 const uint8_t *data);

/* Put all that is draining back, unless it was written again since. */
void udf_verify_undrain(struct udf_verify *verify, struct udf_drain *drain);

/*
 * Relocate those of the packets that are bad, then write the sparing table.
 * What cannot be saved goes back to current: -ENOSPC, -EIO, and all of it with
 * -ENOMEM.
 */
int udf_verify_cure(struct udf_verify *verify, struct udf_drain *drain,
		    const struct udf_block_list *suspects);

#endif /* UDF_STORE_VERIFY_STATE_H */
