/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A directory: its FIDs (ECMA-167 4/14.4) in memory as they are on the
 * medium, with a hash index over the names.
 *
 * A FID that we write lies within one 512 byte sector, so a change of one
 * name is whole or not there after a power cut. A slot is split when a
 * shorter FID takes it but never joined with another: the places of FIDs do
 * not move, so a position of readdir stays good under change.
 *
 * A removed FID goes to the medium only when all that the same commit adds
 * is there (udf_directory_store), so that a file that is renamed always has
 * one of its names; its slot can be taken again after that.
 *
 * The node's lock protects all of it. Functions that change take it for
 * writing; they work on loaded directories.
 */
#ifndef UDF_STORE_DIRECTORY_H
#define UDF_STORE_DIRECTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "ecma167.h"
#include "node.h"

struct udf_directory;

/* A name as shown, with its NUL: room for what marks one we cannot show. */
#define UDF_SHOWN_NAME_MAX (UDF_NAME_UTF8_MAX + 8u)

struct udf_dirent {
	uint32_t offset; /* of the FID: who it is */
	uint8_t characteristics;
	uint32_t icb; /* block of its ICB */
	uint32_t fid_unique_id;
	bool internal; /* the volume's own, not for programs */
	char name[UDF_SHOWN_NAME_MAX];
};

/* Read the directory if it is not in memory yet. Takes the lock itself. */
int udf_directory_load(struct udf_node *node);
/* The same by one who has the lock for writing. */
int udf_directory_load_locked(struct udf_node *node);
void udf_directory_free(struct udf_directory *directory);
/* Bytes of memory that it takes, about; 0 of NULL. */
size_t udf_directory_footprint(const struct udf_directory *directory);

/* Make an empty one in a new node: the parent's FID alone. */
int udf_directory_init(struct udf_node *node, const struct udf_node *parent);

/* Move it out of the ICB if that has no room for it any more. */
int udf_directory_fit(struct udf_node *node);

/* -ENOENT; -ENAMETOOLONG; -EILSEQ: not UTF-8. */
int udf_directory_find(struct udf_node *node, const char *name,
		       struct udf_dirent *entry);

/*
 * Add a name. The caller knows that it is not there, or removes the other
 * FID of the name after this; *offset, unless NULL, is the new one's. Checks
 * the name as udf_directory_find() does, and "." and "..". -ENOSPC, -EFBIG.
 */
int udf_directory_insert(struct udf_node *node, const char *name,
			 const struct udf_node *target, uint32_t fid_unique_id,
			 uint32_t *offset);

/* Remove the name at an offset. */
int udf_directory_remove(struct udf_node *node, uint32_t offset);

/*
 * Let the name at an offset lead to another node, at one stroke. When it is
 * removed before the next commit it goes as what it is on the medium.
 */
int udf_directory_retarget(struct udf_node *node, uint32_t offset,
			   const struct udf_node *target,
			   uint32_t fid_unique_id);

/* Let ".." lead to another directory. */
int udf_directory_set_parent(struct udf_node *node,
			     const struct udf_node *parent);
/* The ICB's block of "..": -ENOENT, it has no parent FID. */
int udf_directory_parent(const struct udf_node *node, uint32_t *lbn);

/* For one that has no "..", a damaged one. -ENOSPC. */
int udf_directory_add_parent(struct udf_node *node,
			     const struct udf_node *parent);

/*
 * Put deleted FIDs over all that is damaged, so that other readers come past
 * it (directory_repair.c). -EUCLEAN: there is a gap too short for one.
 */
int udf_directory_fill_damage(struct udf_node *node);

/* Was a part of it no FID when it was read? There may have been names. */
bool udf_directory_is_damaged(const struct udf_node *node);

/* No names but ".." */
bool udf_directory_is_empty(const struct udf_node *node);

/*
 * The next name at or after *position (0: the first); *position moves behind
 * it. "." and ".." are not among them. -ENOENT: no more.
 */
int udf_directory_next(struct udf_node *node, uint64_t *position,
		       struct udf_dirent *entry);

/*
 * Call visit for each FID, deleted ones and the parent too; stops when it
 * returns non-zero, which is passed on.
 */
typedef int (*udf_fid_visit_fn)(void *private_data, const struct udf_fid *fid);
int udf_directory_each(struct udf_node *node, udf_fid_visit_fn visit,
		       void *private_data);

/* The directory's blocks moved: its FIDs say where they are (ECMA-167
 * 4/7.2.8), so all of them are to be written again. */
void udf_directory_moved(struct udf_node *node);

/*
 * FIDs whose name another FID has too, which an interrupted commit can leave
 * behind: one of a name is shown, the others are hidden. How many are hidden;
 * the index-th of them and the one that is shown in its place; and drop one
 * of the two, which makes the list shorter.
 */
size_t udf_directory_hidden_count(const struct udf_node *node);
int udf_directory_hidden(struct udf_node *node, size_t index,
			 struct udf_dirent *hidden, struct udf_dirent *shown);
int udf_directory_resolve(struct udf_node *node, size_t index,
			  bool keep_hidden);

/* Is there a name at an offset that leads to an ICB's block? */
bool udf_directory_leads_to(const struct udf_node *node, uint32_t offset,
			    uint32_t icb);

/*
 * The commit's snapshot (commit.c), nothing changes meanwhile. Each changed
 * block is given to store once for each stage in which it is another one than
 * before; those of a directory that was never on the medium, which has nothing
 * to keep, once for the first one. lbn is the block; for an embedded directory,
 * store_embedded gets the data. The directory is clean then, and what it
 * removed is on its way.
 */
enum udf_directory_stage {
	UDF_STAGE_NEW,	    /* nothing leads to the directory yet */
	UDF_STAGE_NAMES,    /* new names are there, removed ones still are */
	UDF_STAGE_REPLACED, /* of two FIDs of a name the old one is not */
	UDF_STAGE_REMOVED,  /* as it shall be */
};

struct udf_directory_sink {
	int (*store)(void *private_data, uint32_t lbn, const uint8_t *block,
		     enum udf_directory_stage stage);
	int (*store_embedded)(void *private_data, struct udf_node *node,
			      const uint8_t *data,
			      enum udf_directory_stage stage);
	void *private_data;
};
int udf_directory_store(struct udf_node *node,
			const struct udf_directory_sink *sink);
/* The commit ended: slots are free again, or, failed, all is dirty again. */
void udf_directory_stored(struct udf_node *node, bool good);

#endif /* UDF_STORE_DIRECTORY_H */
