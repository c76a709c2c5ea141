/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a repair would do: steps, which the check (check.h) puts down beside
 * what it finds, and the repair (repair.h) carries out.
 */
#ifndef UDF_STORE_REPAIR_PLAN_H
#define UDF_STORE_REPAIR_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum udf_repair_action {
	/* Below the file system. */
	UDF_REPAIR_BLOCK,   /* write bytes to a block of the volume */
	UDF_REPAIR_SPARING, /* the newest sparing table to all its places */
	UDF_REPAIR_MIRROR,  /* the metadata file and its mirror from each other */
	/* Where the tree begins. */
	UDF_REPAIR_WRITE, /* bytes to a block of the partition */
	/* Blocks that another file has too are copied for this one. */
	UDF_REPAIR_COPY,
	/* What no name leads to gets one, in lost+found. */
	UDF_REPAIR_RECONNECT,
	/* The tree. */
	UDF_REPAIR_EXTENTS,	/* cut a file where its descriptors end */
	UDF_REPAIR_FILL,	/* deleted FIDs over a directory's damage */
	UDF_REPAIR_PARENT,	/* give a directory its ".." */
	UDF_REPAIR_REMOVE_NAME,
	UDF_REPAIR_MARK_NAME,	/* as that of a file, or of a directory */
	UDF_REPAIR_UNIQUE_ID,	/* a new one */
	UDF_REPAIR_DETACH,	/* streams or attributes from their file */
	/* Space, counts and links, from the tree. */
	UDF_REPAIR_RECOUNT,
};

struct udf_repair_step {
	enum udf_repair_action action;
	bool of_orphan;	    /* to be done before it gets a name */
	uint32_t lbn; /* ICB; WRITE: the block; BLOCK: one of the volume */
	uint32_t directory; /* ICB of the directory that has the name */
	uint64_t offset;    /* of the FID in it */
	uint32_t count;	    /* COPY: runs */
	/* BLOCK, WRITE: one block; COPY: struct udf_repair_run[count]. */
	void *bytes;
	char *text; /* for a person: where, and what is done; what is lost */
};

/* Blocks of a file. */
struct udf_repair_run {
	uint64_t block;
	uint64_t count;
};

struct udf_repair_plan {
	struct udf_repair_step *steps;
	size_t count;
	size_t capacity;
};

/*
 * Add a step. bytes is copied (size may be 0), text as well. -ENOMEM.
 */
int udf_repair_plan_add(struct udf_repair_plan *plan,
			const struct udf_repair_step *step, size_t size,
			const char *text);

/* Is there such a step? */
bool udf_repair_plan_has(const struct udf_repair_plan *plan,
			 enum udf_repair_action action);

void udf_repair_plan_free(struct udf_repair_plan *plan);

#endif /* UDF_STORE_REPAIR_PLAN_H */
