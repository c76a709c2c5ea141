/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The blocks of a partition: found through the sparing table, read with
 * retries, written with or without verification.
 *
 * Locks: map_lock is held shared while blocks are looked up and transferred,
 * so data I/O runs in parallel, and exclusive while a packet is relocated. No
 * other lock of the engine is held across data I/O. Order: drain lock of
 * verify.c, map_lock, pending lock of verify.c.
 */
#ifndef UDF_STORE_PARTITION_H
#define UDF_STORE_PARTITION_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "block_list.h"
#include "blockdev.h"
#include "log.h"
#include "run_list.h"
#include "sparing.h"

struct udf_verify;

/* Since the volume was opened; each is changed atomically. */
struct udf_defect_counts {
	uint64_t verified_blocks;   /* seen on the medium as written */
	uint64_t suspect_packets;   /* not as written at the first look */
	uint64_t relocated_packets;
	uint64_t unsaved_packets;   /* bad, and there was no spare */
	uint64_t retries;	    /* of reads */
	uint64_t unreadable_blocks; /* found by reads */
	uint64_t lost_blocks;	    /* unreadable when relocated */
};

/* Unreadable blocks that the log knows of, the newest ones. */
#define UDF_TOLD_MAX 256u
/* Damaged blocks whose files are not named yet; more stay without names. */
#define UDF_DAMAGED_MAX 4096u

struct udf_partition {
	struct udf_blockdev *dev;
	const struct udf_log *log;
	uint32_t block_size; /* bytes */
	uint32_t start;	     /* block of the volume */
	uint32_t blocks;
	struct udf_sparing *sparing; /* NULL: a type 1 partition */
	struct udf_verify *verify;   /* NULL: writes are not verified */
	const uint8_t *identity; /* of the volume, for lost.h */
	pthread_rwlock_t map_lock;
	struct udf_defect_counts counts;
	pthread_mutex_t told_lock; /* of the next three */
	uint32_t told[UDF_TOLD_MAX];
	uint32_t told_count; /* ever */
	struct udf_block_list damaged;
	/*
	 * Without verification: writes that came back (atomic), how many of
	 * them a flush has covered, and is one running? It is for all who wait
	 * when it begins.
	 */
	pthread_mutex_t flush_lock;
	pthread_cond_t flush_ended;
	uint64_t writes;
	uint64_t flushed;
	bool flushing;
	/* A flush failed: what was lost is not known. */
	int flush_error;
};

void udf_partition_init(struct udf_partition *partition,
			struct udf_blockdev *dev, const struct udf_log *log,
			const uint8_t *identity, uint32_t block_size,
			uint32_t start, uint32_t blocks);
/* Does not free dev, sparing or verify. */
void udf_partition_destroy(struct udf_partition *partition);

/* Add to one of the counts. */
void udf_partition_count(uint64_t *counter, uint64_t n);

/* Remember that the block's data is gone, for udf_partition_take_damage(). */
void udf_partition_note_damage(struct udf_partition *partition, uint32_t lbn);

/* What was noted since the last call. */
void udf_partition_take_damage(struct udf_partition *partition,
			       struct udf_block_list *list);

/* Where block lbn is, and how many of count follow it there. */
uint32_t udf_partition_map(const struct udf_partition *partition, uint32_t lbn,
			   uint32_t count, uint32_t *run);

/* As udf_volume_read(), udf_volume_write() and udf_volume_sync(). */
int udf_partition_read(struct udf_partition *partition, uint32_t lbn,
		       uint32_t count, void *buf);
int udf_partition_write(struct udf_partition *partition, uint32_t lbn,
			uint32_t count, const void *buf, bool unmanaged);
/*
 * runs: only these (sorted), where it is known what is written; or NULL. No
 * runs: what failed before is told.
 */
int udf_partition_sync(struct udf_partition *partition,
		       const struct udf_run_list *runs);

/* As udf_volume_forget(). */
void udf_partition_forget(struct udf_partition *partition, uint32_t lbn,
			  uint32_t count);

/*
 * One block from the medium itself, trying again, and from the cache at last.
 * *tries, unless NULL: how often. map_lock is held by the caller.
 */
int udf_partition_rescue(struct udf_partition *partition, uint32_t lbn,
			 void *buf, unsigned int *tries);

#endif /* UDF_STORE_PARTITION_H */
