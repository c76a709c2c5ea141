/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A directory's data, for directory.c, which has its names, and
 * directory_store.c, which writes it. Others know directory.h.
 */
#ifndef UDF_STORE_DIRECTORY_DATA_H
#define UDF_STORE_DIRECTORY_DATA_H

#include "directory.h"
#include "name_index.h"

/* What a medium writes whole: a FID of ours lies within one of these. */
#define SECTOR 512u

/* A FID without a name, padded. */
#define FID_MIN 40u

/* What of a FID a removal changes: the tag, the fields up to the ICB, and the
 * first byte of a name that is right behind them. */
#define FID_HEAD 40u

/* Free slots by length in steps of 4 bytes; longer ones are not used. */
#define SLOT_CLASSES (SECTOR / 4 + 1)

enum {
	BLOCK_ADDED = 1,   /* must be written before removals may be */
	BLOCK_REMOVED = 2, /* has removals */
};

/* A FID that was removed, or leads elsewhere now. */
struct removed_fid {
	uint32_t offset;
	uint32_t length;
	uint32_t hash; /* of its name */
	bool replaced; /* another FID has the name now */
	uint8_t head[FID_HEAD]; /* as it is on the medium */
};

struct removed_list {
	struct removed_fid *items;
	size_t count;
	size_t capacity;
};

struct slot_class {
	uint32_t *offsets;
	size_t count;
	size_t capacity;
};

struct udf_directory {
	uint8_t *data;
	uint32_t size;
	uint32_t capacity;
	uint8_t *block_flags; /* BLOCK_*, per block */
	uint32_t block_flags_count;

	struct udf_name_index index;

	struct slot_class slots[SLOT_CLASSES];
	struct removed_list retargeted; /* since the last snapshot */
	struct removed_list removed;  /* since the last snapshot */
	struct udf_hash_set removed_names;
	struct removed_list removing; /* in the running commit */

	uint32_t parent_offset; /* UDF_NO_ENTRY: no parent FID */
	bool damaged; /* parts of it are no FIDs: names may be lost */
	struct slot_class duplicates; /* FIDs hidden by another of that name */
};

/* The partition's block that a byte of the directory is in. */
uint32_t udf_directory_lbn(const struct udf_node *node, uint32_t offset);
/* That block as the tag of a FID in it says it. */
uint32_t udf_directory_location(const struct udf_node *node, uint32_t offset);

/* These bytes have changed: BLOCK_ADDED or BLOCK_REMOVED or both. */
void udf_directory_mark(struct udf_node *node, uint32_t offset,
			uint32_t length, uint8_t flag);

/* All FIDs say the block they begin in; after a move they are written anew. */
int udf_directory_relocate(struct udf_node *node);

/* Fill a place with a deleted FID of just that length, from FID_MIN to SECTOR
 * and a multiple of 4. */
int udf_directory_put_unused(struct udf_node *node, uint32_t offset,
			     uint32_t length);

/*
 * A slot that can be taken again. One that crosses a sector cannot be changed
 * at one stroke and stays unused; so does one for which there is no memory.
 */
void udf_directory_add_slot(struct udf_directory *directory, uint32_t offset,
			    uint32_t length);

#endif /* UDF_STORE_DIRECTORY_DATA_H */
