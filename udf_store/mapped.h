/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Partitions that lie in another one: the virtual partition of write-once
 * media (UDF 2.2.8, 2.2.11) and the metadata partition (UDF 2.50 2.2.10,
 * 2.2.13). Each of their blocks is somewhere in the physical partition; a
 * table in that partition says where.
 *
 * A virtual partition is only read. What a metadata partition has is written
 * to the metadata file and, where the volume keeps its metadata twice, to the
 * mirror as well.
 */
#ifndef UDF_STORE_MAPPED_H
#define UDF_STORE_MAPPED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ecma167.h"
#include "partition.h"

struct udf_mapped;

/* Non-zero stops a visit, which returns that. */
typedef int (*udf_mapped_visit_fn)(void *private_data, const char *name,
				   uint32_t lbn, uint32_t count);

/*
 * Read the table of a metadata partition: the metadata file, or its mirror
 * when that is damaged.
 *
 * 0, or a negative errno after one log line: -EUCLEAN, neither can be
 * understood; -EIO; -ENOMEM.
 */
int udf_mapped_open_metadata(struct udf_partition *physical,
			     const struct udf_partition_map *map,
			     struct udf_mapped **mapped);

/*
 * Read the Virtual Allocation Table, whose ICB is the last thing recorded on
 * the medium. Errors as above.
 */
int udf_mapped_open_virtual(struct udf_partition *physical,
			    uint32_t volume_blocks, struct udf_mapped **mapped);

void udf_mapped_free(struct udf_mapped *mapped);

/* Logical blocks of the partition. */
uint32_t udf_mapped_blocks(struct udf_mapped *mapped);

/*
 * Read count blocks from block on; -EUCLEAN: they are not all within the
 * partition. What the metadata file cannot give is taken from its mirror.
 * -EIO, also for a block that is nowhere.
 */
int udf_mapped_read(struct udf_mapped *mapped, uint32_t block,
		    uint32_t count, void *buf);

/*
 * A volume that was not closed may have been cut off while its metadata grew:
 * what not both the metadata file and its mirror have is not used yet. Let
 * them end where the shorter one does; udf_mapped_encode() says so on the
 * medium.
 */
void udf_mapped_cut(struct udf_mapped *mapped);
bool udf_mapped_was_cut(const struct udf_mapped *mapped);

/*
 * A file of a metadata partition whose ICB is lost (unreadable, or no
 * descriptor at all) gets another one, made of what a good file's tells, where
 * that is sure: the mirror's describes the same blocks where metadata is there
 * once. Else the file waits for blocks of its own: udf_mapped_restore(). Before
 * udf_mapped_judge(); log: say that it is made anew.
 */
void udf_mapped_adopt(struct udf_mapped *mapped, bool log);

enum udf_metadata_part {
	UDF_METADATA_MAIN,
	UDF_METADATA_MIRROR,
	UDF_METADATA_BITMAP,
	UDF_METADATA_PARTS,
};

/* How many blocks a file waits for; 0: it does not. */
uint32_t udf_mapped_wants(struct udf_mapped *mapped,
			  enum udf_metadata_part part);

/* Has udf_mapped_adopt() made an ICB? */
bool udf_mapped_was_restored(const struct udf_mapped *mapped);

/* Visit those: what they are and where, each with a count of 1. */
int udf_mapped_each_lost(struct udf_mapped *mapped, udf_mapped_visit_fn visit,
			 void *private_data);

/*
 * Let a file have these blocks, as many as it waits for. The metadata file or
 * its mirror gets what the other one has, for the blocks that have a bit in
 * used; that is on the medium when this returns. What is lost besides is a
 * block that cannot be read: -EIO. -ENOSPC: too many runs for an ICB; -ENOMEM.
 */
int udf_mapped_restore(struct udf_mapped *mapped, enum udf_metadata_part part,
		       const struct udf_run_list *runs, const uint8_t *used);

/*
 * Are the ICBs of all three files on the medium, so that the next mount finds
 * them? -EIO, -EUCLEAN: no.
 */
int udf_mapped_confirm(struct udf_mapped *mapped);

/*
 * Is a metadata partition such that we can keep its main file, mirror and
 * bitmap right? If not, the reason is put into text. -ENOMEM.
 */
int udf_mapped_judge(struct udf_mapped *mapped, bool *can_write,
		     char *text, size_t len);

/*
 * Write count blocks of a metadata partition, to the mirror too if that has
 * blocks of its own. Errors and unmanaged as of udf_partition_write(), and
 * -EUCLEAN as above. When one of the two files takes them and the other does
 * not, it is an error all the same. A file that waits for blocks gets them
 * from the other one, when it has some.
 */
int udf_mapped_write(struct udf_mapped *mapped, uint32_t block,
		     uint32_t count, const void *buf, bool unmanaged);

/* As udf_partition_forget(), for the places of these blocks. */
void udf_mapped_forget(struct udf_mapped *mapped, uint32_t block,
		       uint32_t count);

/*
 * Where a block of a metadata partition is in the physical one: in the
 * metadata file, and in the mirror. Returns how many places, at most two; 0:
 * nowhere.
 */
unsigned int udf_mapped_places(struct udf_mapped *mapped, uint32_t block,
			       uint32_t places[2]);

/* The other way round: what block is at this one; UINT32_MAX: none. */
uint32_t udf_mapped_block_at(struct udf_mapped *mapped, uint32_t lbn);

/*
 * The metadata bitmap file: its bytes, 0 when there is none, and the lbn of
 * its block i, UINT32_MAX when it has no such block.
 */
uint32_t udf_mapped_bitmap_bytes(struct udf_mapped *mapped);
uint32_t udf_mapped_bitmap_lbn(struct udf_mapped *mapped, uint32_t i);

/*
 * All blocks of the physical partition that the files of a metadata partition
 * take, each run once: their ICBs, AEDs and data.
 */
int udf_mapped_each_run(struct udf_mapped *mapped,
			udf_mapped_visit_fn visit, void *private_data);

/*
 * Compare the metadata file with its mirror, for the blocks that have a bit
 * in used (least significant first). *differ: blocks that are not the same or
 * that only one of them can give. With repair the one that has a block gives
 * it to the other; when both do, main to mirror, unless that has a valid
 * descriptor and main none, or fewer damaged FIDs. Blocks that neither has are
 * not counted. -ENOMEM, or the error of a write.
 */
int udf_mapped_compare(struct udf_mapped *mapped, const uint8_t *used,
		       bool repair, uint32_t *differ);

/*
 * Growth of a metadata partition. Its files grow by whole allocation units,
 * each a run that begins on a multiple of the alignment unit (UDF 2.60
 * 2.2.10; both in blocks, at least 1). duplicate: the mirror has blocks of its
 * own. udf_mapped_end(): the lbn behind the last run of the metadata file, or
 * of its mirror.
 */
void udf_mapped_units(const struct udf_mapped *mapped, uint32_t *allocation,
		      uint32_t *alignment, bool *duplicate);
uint32_t udf_mapped_end(struct udf_mapped *mapped, bool of_mirror);

struct udf_metadata_growth {
	uint32_t count;	 /* blocks more */
	uint32_t main;	 /* where they are: lbn */
	uint32_t mirror; /* the same as main, unless duplicate */
	uint32_t bitmap; /* the bitmap's new place: lbn, one run */
	uint32_t bitmap_bytes;
};

/*
 * Let the files have these blocks. The runs that the bitmap had are given to
 * old_bitmap. Nothing is written. -ENOSPC: the ICB of a file has no room for
 * one more run; -ENOMEM, -EUCLEAN: nothing is changed.
 */
int udf_mapped_grow(struct udf_mapped *mapped,
		    const struct udf_metadata_growth *growth,
		    udf_mapped_visit_fn old_bitmap, void *private_data);

/* The blocks of the three files' ICBs as they shall be on the medium. */
typedef int (*udf_mapped_store_fn)(void *private_data, uint32_t lbn,
				   const uint8_t *block);
int udf_mapped_encode(struct udf_mapped *mapped, udf_mapped_store_fn store,
		      void *private_data);

#endif /* UDF_STORE_MAPPED_H */
