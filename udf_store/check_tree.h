/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The tree as the check walks it, for check_tree.c, and for check_extents.c,
 * which has the functions on extents.
 */
#ifndef UDF_STORE_CHECK_TREE_H
#define UDF_STORE_CHECK_TREE_H

#include "check_state.h"
#include "ecma167.h"

#define PATH_MAX_SHOWN 4096
#define NO_NODE SIZE_MAX
#define ROOT 0u /* the first node */

/* An ICB that something refers to. */
struct node {
	uint32_t lbn;
	bool is_directory;
	bool is_stream_directory;
	bool in_stream_directory;
	bool unreadable;
	bool icb_damaged; /* it was read, and is none */
	bool icb_mended; /* it is one with other checksums (check_mend.c) */
	bool aeds_mended; /* so are some of its AEDs (check_extents.c) */
	uint64_t cut_at;  /* bytes its extents have before the first bad one;
			   * UINT64_MAX: all are good */
	uint16_t recorded_links;
	uint32_t links; /* found */
	uint64_t unique_id;
	/* What its first name says; not of parts, which have none. */
	uint32_t named_unique_id;
	bool named_directory;
	size_t parent; /* the first that names it; NO_NODE: the root */
	char *name;    /* there */
};

struct tree {
	struct udf_check *check;
	struct node *nodes;
	size_t count;
	size_t capacity;
	size_t *slots; /* of nodes, by lbn; a power of two of them */
	size_t slot_count;
	size_t next_directory; /* nodes before it have been read */
	uint8_t *block;
	uint16_t tag_version; /* of the file set */
	uint8_t *taken; /* udf_check_taken(), when it was needed; else NULL */
	char path[PATH_MAX_SHOWN];
};

/* The extents of one file. */
struct extent {
	enum udf_extent_type type;
	uint32_t lbn;
	uint32_t count; /* blocks */
	uint32_t bytes;
};

struct extents {
	struct extent *list;
	size_t count;
	size_t capacity;
	struct udf_run_list aeds;
	uint64_t bytes;
	uint64_t blocks; /* that are allocated */
	bool ended;
	bool has_next;
	uint32_t next_aed;
	bool mend; /* take AEDs of which only the checksums are wrong */
	struct udf_run_list mended; /* those that were */
};

/* The path of a node, from the root on, cut off at the front if too long. It
 * is good until the next call. */
const char *tree_path(struct tree *tree, size_t index);

/*
 * The ICB of a node, in block. -EUCLEAN: there is none; -EIO.
 */
int tree_read_icb(struct tree *tree, size_t index, uint8_t *block,
		  struct udf_icb *icb);

/* A finding about a node. */
void tree_found(struct tree *tree, enum udf_finding_kind kind,
		enum udf_finding_severity severity, size_t index,
		const char *text);

/*
 * What the bitmaps say is in use, from the first time it is wanted on. NULL:
 * no memory, which check->no_memory says then.
 */
const uint8_t *tree_taken(struct tree *tree);

/*
 * All extents of the file with an ICB at lbn, and its AEDs, into extents that
 * are empty, but for what to take; tree_free_extents() them. -EUCLEAN: a
 * descriptor leads nowhere, in a circle or to no AED; what comes before it is
 * in extents. -EIO, -ENOMEM.
 */
int tree_take_ads(struct tree *tree, uint32_t lbn, const struct udf_icb *icb,
		  struct extents *extents);
void tree_free_extents(struct extents *extents);

/*
 * Report on a file's extents, which are among the used blocks then. -EIO: they
 * cannot be read; -ENOMEM.
 */
int tree_extents(struct tree *tree, size_t index, const struct udf_icb *icb,
		 struct extents *extents);

/*
 * check_mend.c: may the ICB of a node, which is damaged, get new checksums?
 * block is as it was read; it has them then.
 */
bool tree_mend_icb(struct tree *tree, size_t index, uint8_t *block);

/*
 * The same for an AED: is all else of it as it has to be? previous: the block
 * of what leads to it.
 */
bool tree_mend_aed(const struct tree *tree, uint32_t lbn, uint32_t previous,
		   enum udf_ad_form form, uint8_t *block);

/*
 * check_mend.c: do extents agree with what their ICB says, and are all their
 * blocks in use by nothing else that was found so far?
 */
bool tree_extents_agree(struct tree *tree, const struct udf_icb *icb,
			const struct extents *extents);

/*
 * check_mend_names.c: let FIDs of a directory that are damaged only in their
 * checksums have others, in data (whole blocks, unless it is embedded), and
 * report them. -ENOMEM.
 */
int tree_mend_names(struct tree *tree, size_t index, uint8_t *data,
		    uint64_t size, bool embedded);

/* A name of a directory as recorded, to look for those that are twice in it. */
struct tree_name {
	const uint8_t *bytes;
	uint8_t length;
	void *of; /* whatever the list is for */
};

/* For qsort(): 0, they are the same. */
int tree_compare_names(const void *a, const void *b);

/* Bytes of a directory before the next FID, in steps as the engine's. */
uint64_t tree_damaged_bytes(const uint8_t *data, uint64_t offset,
			    uint64_t size);

/*
 * check_rebuild.c: what to write in the place of a File Set Descriptor, or of
 * the directory of a node that the file set names, which is damaged. The last
 * finding was about it.
 *
 * tree_rebuild_file_set() fills in what it will be; new_root: it leads to a
 * free block, as there is no root any more. -EUCLEAN: that is not certain, and
 * a note has said why. tree_rebuild_directory(): 0 also when it is not.
 * -ENOMEM, -ECANCELED.
 */
int tree_rebuild_file_set(struct tree *tree, struct udf_fsd *fsd,
			  bool *new_root);
int tree_rebuild_directory(struct tree *tree, size_t index,
			   const struct udf_fsd *fsd, bool is_root);

/*
 * check_shared.c: report the blocks that were used more than once, with both
 * that have them. file_set_end: the block behind the file set. -ENOMEM.
 */
int tree_shared(struct tree *tree, uint32_t file_set_end);

/*
 * Is a node the Non-Allocatable Space (UDF 2.3.13)? The blocks in it are bad:
 * its place is all there is to it.
 */
bool tree_is_defects(const struct tree *tree, size_t index);

#endif /* UDF_STORE_CHECK_TREE_H */
