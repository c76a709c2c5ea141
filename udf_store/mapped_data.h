/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the files of mapped.h share: where the blocks of a table's file are,
 * and the mapped partition itself. mapped.c has the virtual partition and what
 * both kinds have, metadata_files.c the metadata partition.
 */
#ifndef UDF_STORE_MAPPED_DATA_H
#define UDF_STORE_MAPPED_DATA_H

#include <pthread.h>

#include "mapped.h"

/* Blocks of a table's file, and where they are. */
struct udf_file_run {
	uint32_t block; /* of the file */
	uint32_t count;
	uint32_t lbn; /* of the physical partition */
};

struct udf_run_table {
	struct udf_file_run *runs; /* by block, without gaps */
	size_t count;
	uint32_t blocks; /* in all */
};

/* One of the three files of a metadata partition (UDF 2.60 2.2.13). */
struct udf_metadata_file {
	uint32_t icb;		/* where it is; UINT32_MAX: there is none */
	int error;		/* why it cannot be read; the tables are empty */
	bool icb_lost;		/* ... since there is no ICB any more */
	bool wants_blocks;	/* it has a new ICB, but no blocks so far */
	uint16_t strategy;
	uint64_t size;		/* bytes */
	uint8_t *block;		/* of the ICB, as read; NULL: it was not */
	struct udf_run_table data;
	struct udf_run_table aeds;
};

struct udf_mapped {
	struct udf_partition *physical;
	/* The number of blocks, and the tables of a metadata partition: they
	 * change when it grows. */
	pthread_rwlock_t lock;
	uint32_t blocks;
	/* metadata */
	struct udf_metadata_file main;
	struct udf_metadata_file mirror;
	struct udf_metadata_file bitmap;
	bool duplicate; /* the mirror has blocks of its own */
	bool cut;	/* what not all of the files have was cut off */
	bool restored;	/* an ICB that was lost has to be written */
	uint32_t allocation_unit;
	uint32_t alignment_unit;
	/* virtual; NULL otherwise */
	uint32_t *vat;
};

/* Put so many blocks behind what the table has. -ENOMEM. */
int udf_run_table_add(struct udf_run_table *table, uint32_t lbn,
		      uint32_t count);

/* The run that has the block; NULL: none. */
const struct udf_file_run *udf_run_table_find(const struct udf_run_table *table,
					      uint32_t block);

/* The lbn of a block of a file; UINT32_MAX: it has none. */
uint32_t udf_run_table_lbn(const struct udf_run_table *table, uint32_t block);

/*
 * Where the blocks are of a file whose ICB has been read, and its AEDs (NULL:
 * not wanted). -EUCLEAN, -EIO, -ENOMEM.
 */
int udf_file_runs(struct udf_partition *physical, const struct udf_icb *icb,
		  struct udf_run_table *table, struct udf_run_table *aeds);

/* Are so many blocks from block on within the partition? */
bool udf_mapped_has(struct udf_mapped *mapped, uint32_t block, uint32_t count);

/* metadata_files.c */
void udf_metadata_file_free(struct udf_metadata_file *file);
int udf_metadata_read(struct udf_mapped *mapped, uint32_t block, void *buf);
/*
 * The ICB of a file with these blocks and bytes. -ENOSPC: they are in too many
 * places for one ICB. -ENOMEM, -EUCLEAN.
 */
int udf_metadata_encode_file(const struct udf_mapped *mapped,
			     const struct udf_metadata_file *file,
			     const struct udf_run_table *data, uint64_t bytes,
			     uint8_t *block);

#endif /* UDF_STORE_MAPPED_DATA_H */
