/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Whose blocks these are: the way back from blocks of the partition to names,
 * by a walk through the tree. It is for reports about few blocks; it reads
 * every directory and ICB of the volume.
 */
#ifndef UDF_STORE_OWNERS_H
#define UDF_STORE_OWNERS_H

#include <stdint.h>

#include "block_list.h"
#include "fs.h"

enum udf_owner_kind {
	UDF_OWNER_DATA,
	UDF_OWNER_DIRECTORY, /* its names */
	UDF_OWNER_ICB,	     /* the ICB, or what continues it */
	UDF_OWNER_VOLUME,    /* space bitmap or file set */
};

/* A run of the blocks that were asked for. */
struct udf_owner {
	enum udf_owner_kind kind;
	/* From the root on, "/a/b"; a named stream is "/a/b:stream". For what
	 * is the volume's own, a word for it. */
	const char *path;
	uint64_t offset; /* bytes, of DATA */
	uint32_t lbn;
	uint32_t count;
};

/* Non-zero stops the search and is passed on. */
typedef int (*udf_owner_fn)(void *private_data, const struct udf_owner *owner);

/*
 * Call found for each run of listed blocks that a file has, once for each of
 * its names. The mount may be in use. What cannot be read is left out.
 * -ENOMEM.
 */
int udf_owners_find(struct udf_fs *fs, const struct udf_block_list *blocks,
		    udf_owner_fn found, void *private_data);

/* The name of a kind, as reports use it. */
const char *udf_owner_kind_name(enum udf_owner_kind kind);

/* One log line for each place in a file whose data was found to be gone. */
void udf_owners_report_damage(struct udf_fs *fs);

#endif /* UDF_STORE_OWNERS_H */
