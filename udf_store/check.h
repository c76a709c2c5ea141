/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Does a volume obey ECMA-167 and UDF, and agree with itself? A walk of its
 * own over everything that is recorded, with the decoders of the engine but
 * none of what the engine believes. Nothing is written; what a repair could do
 * is written down as a plan, for repair.h.
 */
#ifndef UDF_STORE_CHECK_H
#define UDF_STORE_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "ecma167.h"
#include "log.h"
#include "repair_plan.h"

enum udf_finding_severity {
	UDF_FINDING_NOTE,  /* foreign or to be expected; nothing is wrong */
	UDF_FINDING_ERROR, /* data or space may be lost by it */
};

/* What is wrong: the names are those of udf_finding_kind_name(). */
enum udf_finding_kind {
	UDF_FINDING_ANCHOR,
	UDF_FINDING_SEQUENCE,  /* Volume Descriptor Sequences */
	UDF_FINDING_SPARING,   /* copies of the sparing table */
	UDF_FINDING_METADATA,  /* the metadata file and its mirror differ */
	UDF_FINDING_INTEGRITY, /* Logical Volume Integrity Descriptor */
	UDF_FINDING_SPACE_FREE,	  /* a block is used, and free in the bitmap */
	UDF_FINDING_SPACE_LOST,	  /* taken in the bitmap, and used by nothing */
	UDF_FINDING_SHARED_BLOCK, /* used by two files */
	UDF_FINDING_ICB,
	UDF_FINDING_EXTENT,
	UDF_FINDING_DIRECTORY,
	UDF_FINDING_PARENT, /* ".." of a directory */
	UDF_FINDING_LINKS,
	UDF_FINDING_UNIQUE_ID,
	UDF_FINDING_STREAM,
	UDF_FINDING_ORPHAN, /* a file that no name leads to */
	UDF_FINDING_KINDS,
};

struct udf_finding {
	enum udf_finding_kind kind;
	enum udf_finding_severity severity;
	/* From the root on, or NULL: it is about no file. */
	const char *path;
	/* The block of the partition it is about; UINT32_MAX: none. */
	uint32_t lbn;
	const char *text; /* a sentence for a person */
};

struct udf_check_options {
	void (*found)(void *private_data, const struct udf_finding *finding);
	/* Now and then; NULL: not wanted. Directories and files so far. */
	void (*progress)(void *private_data, uint64_t directories,
			 uint64_t files);
	/* The same while blocks in use are searched for ICBs, of so many. */
	void (*searched)(void *private_data, uint64_t blocks, uint64_t of);
	/* Stop as soon as possible when it says so; NULL: never. */
	bool (*stop)(void *private_data);
	void *private_data;
	udf_log_fn log; /* what the volume's opening says */
	void *log_private;
	/* Gets the steps of a repair; udf_repair_plan_free() it. NULL: not
	 * wanted. */
	struct udf_repair_plan *plan;
};

struct udf_check_summary {
	uint32_t block_size; /* bytes */
	bool closed; /* the last writer closed the volume */
	uint64_t directories;
	uint64_t files;
	uint64_t used_blocks;
	uint64_t total_blocks;
	uint64_t errors[UDF_FINDING_KINDS];
	uint64_t repairable; /* errors that udf_repair() can put right */
	uint64_t notes;
	/* Something could not be read: what seems to be lost may be behind. */
	bool unreadable;
	/* Why a repair cannot write this volume; "": it can. */
	char why_not[UDF_TEXT_LEN];
};

/*
 * Check the volume in an image or device. 0: it was checked, what was found
 * is in the summary; -ECANCELED: stopped; other: it could not be checked, and
 * one log line said why (as udf_volume_open() does).
 *
 * Memory: two bits for each block of the partition and of the metadata
 * partition, three when some are used twice, and about 100 bytes for each
 * file.
 */
int udf_check(const char *path, const struct udf_check_options *options,
	      struct udf_check_summary *summary);

const char *udf_finding_kind_name(enum udf_finding_kind kind);

uint64_t udf_check_errors(const struct udf_check_summary *summary);

#endif /* UDF_STORE_CHECK_H */
