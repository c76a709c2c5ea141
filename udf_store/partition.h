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

#include "blockdev.h"
#include "log.h"
#include "sparing.h"

struct udf_verify;

struct udf_partition {
	struct udf_blockdev *dev;
	const struct udf_log *log;
	uint32_t block_size; /* bytes */
	uint32_t start;	     /* block of the volume */
	uint32_t blocks;
	struct udf_sparing *sparing; /* NULL: a type 1 partition */
	struct udf_verify *verify;   /* NULL: writes are not verified */
	pthread_rwlock_t map_lock;
	/* A flush failed: what was lost is not known (atomic). */
	int flush_error;
};

void udf_partition_init(struct udf_partition *partition,
			struct udf_blockdev *dev, const struct udf_log *log,
			uint32_t block_size, uint32_t start, uint32_t blocks);
/* Does not free dev, sparing or verify. */
void udf_partition_destroy(struct udf_partition *partition);

/* Where block lbn is, and how many of count follow it there. */
uint32_t udf_partition_map(const struct udf_partition *partition, uint32_t lbn,
			   uint32_t count, uint32_t *run);

/* As udf_volume_read(), udf_volume_write() and udf_volume_sync(). */
int udf_partition_read(struct udf_partition *partition, uint32_t lbn,
		       uint32_t count, void *buf);
int udf_partition_write(struct udf_partition *partition, uint32_t lbn,
			uint32_t count, const void *buf, bool unmanaged);
int udf_partition_sync(struct udf_partition *partition);

/* As udf_volume_forget(). */
void udf_partition_forget(struct udf_partition *partition, uint32_t lbn,
			  uint32_t count);

/*
 * One block from the medium itself, trying again, and from the cache at last.
 * map_lock is held by the caller.
 */
int udf_partition_rescue(struct udf_partition *partition, uint32_t lbn,
			 void *buf);

#endif /* UDF_STORE_PARTITION_H */
