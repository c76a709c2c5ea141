/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A device in memory for tests: it has a cache that a flush empties, records
 * writes and flushes, has bad sectors, and can die at any write.
 */
#ifndef TESTS_UNIT_FAKE_BLOCKDEV_H
#define TESTS_UNIT_FAKE_BLOCKDEV_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "udf_store/blockdev.h"

#define FAKE_SECTOR 512u
#define FAKE_FAULTS_MAX 64u
#define FAKE_RECORDS_MAX 4096u

enum fake_fault_kind {
	FAKE_WRITE_ERROR,   /* the flush fails, the sector keeps its content */
	FAKE_READ_ERROR,    /* reads that reach the medium fail */
	FAKE_SILENT_DROP,   /* nothing is written, nothing is said */
	FAKE_SILENT_CORRUPT /* something else is written, nothing is said */
};

struct fake_fault {
	enum fake_fault_kind kind;
	uint64_t sector;
	uint64_t count;
	unsigned int times; /* so often; 0: always */
	unsigned int hits;
};

enum fake_record_kind { FAKE_WRITE, FAKE_FLUSH, FAKE_WRITE_MEDIUM };

struct fake_record {
	enum fake_record_kind kind;
	uint64_t offset;
	size_t len;
};

struct fake_blockdev {
	struct udf_blockdev dev;
	pthread_mutex_t lock; /* held through each callback */
	uint8_t *cache;
	uint8_t *medium;
	bool *dirty; /* of each sector */
	bool keep;   /* close leaves it; fake_blockdev_free() frees it */
	/* Every write goes to the medium at once, as if the cache was
	 * written back in that order. */
	bool write_through;
	/* No cache: a write goes to the medium and ends at its first bad
	 * sector, with an error. */
	bool direct;
	/* Writes that still succeed; then the device is dead. */
	bool mortal;
	size_t writes_left;
	/* Of the write it dies at, the first half of the sectors arrives. */
	bool tears;
	int flush_error; /* returned by each flush, if not 0 */
	size_t faults;
	struct fake_fault fault[FAKE_FAULTS_MAX];
	size_t records;
	struct fake_record record[FAKE_RECORDS_MAX];
};

/* size in bytes, a multiple of FAKE_SECTOR; all zeroes. */
struct fake_blockdev *fake_blockdev_new(size_t size);

/* With the contents of a file. NULL: it cannot be read. */
struct fake_blockdev *fake_blockdev_load(const char *path);

void fake_blockdev_free(struct fake_blockdev *fake);

/* Bytes, both in the cache and on the medium. */
void fake_blockdev_put(struct fake_blockdev *fake, uint64_t offset,
		       const void *data, size_t len);

void fake_blockdev_fault(struct fake_blockdev *fake, enum fake_fault_kind kind,
			 uint64_t sector, uint64_t count);

/* Power off and on: what was not flushed is gone. Faults stay. */
void fake_blockdev_restart(struct fake_blockdev *fake);

#endif /* TESTS_UNIT_FAKE_BLOCKDEV_H */
