/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Free space of the partition: the Unallocated Space Bitmap (ECMA-167
 * 4/14.12), read in chunks when first needed, so that memory follows use.
 *
 * A metadata partition has a bitmap of its own, in a file (UDF 2.60 2.2.13.3),
 * and so a space of its own: it is part of the partition's, which passes on
 * what is about the blocks of the other. Only who allocates has to say which
 * of the two: udf_space_for_metadata().
 *
 * A block that is released stays taken until the change that released it is
 * on the medium: release puts it on a list, the commit takes the list with
 * its snapshot and, when all is written, makes its blocks free.
 *
 * Every function takes the space's own short lock; none does I/O but the
 * first use of a chunk.
 */
#ifndef UDF_STORE_SPACE_H
#define UDF_STORE_SPACE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "run_list.h"
#include "space_room.h"
#include "volume.h"

struct udf_space_chunk {
	uint8_t *bytes; /* as on the medium; NULL: not read yet */
	uint64_t free;
	bool *dirty; /* per block of the chunk */
};

struct udf_space {
	struct udf_volume *volume;
	const struct udf_volume_info *info;
	struct udf_space *metadata; /* NULL: none, or it is that itself */
	bool is_metadata;
	uint32_t base; /* lbn of the partition's first block */
	uint32_t wanted; /* blocks that could not be had; 0: none */
	uint32_t grown_bits; /* what bits will be after a commit; 0: the same */
	uint32_t bitmap_bytes;
	pthread_mutex_t lock;
	struct udf_space_chunk *chunks;
	uint32_t chunk_count;
	uint32_t chunk_bytes;
	uint32_t bits; /* blocks that the bitmap describes */
	uint64_t free_blocks;
	uint64_t reserved_blocks; /* promised to the commit */
	uint64_t released_blocks; /* free when a commit has ended */
	struct udf_run_list released;
	struct udf_run_list withheld; /* bad: taken for good */
	struct udf_space_rooms rooms; /* of blocks without the base */
	uint32_t hint;
	bool rebuilding; /* what cannot be read counts as used */
	bool damaged; /* parts could not be read at the open */
	/* Nothing becomes free: another file may have it as well (repair.h). */
	bool keep_released;
};

/*
 * Read the bitmap's header, and that of the metadata partition if there is
 * one. free_blocks, metadata_free: what the integrity descriptor says, or
 * UINT32_MAX to count now. -EUCLEAN: no usable bitmap. With rebuild, what
 * cannot be read is taken for used and damaged is set: the caller has to call
 * udf_space_rebuild() then. With repair, so is a bitmap whose header is not
 * valid, and nothing becomes free until udf_space_close().
 */
int udf_space_open(struct udf_space *space, struct udf_volume *volume,
		   uint32_t free_blocks, uint32_t metadata_free, bool rebuild,
		   bool repair);
void udf_space_close(struct udf_space *space);

/* Where ICBs, AEDs and directories go: the metadata partition, if any. */
struct udf_space *udf_space_for_metadata(struct udf_space *space);

/*
 * Take a run of at most *count blocks, at the goal or as near behind it as
 * there is one; prefers a run of the whole length nearby to a shorter one at
 * once. Returns the first block in *lbn, its length in *count.
 * A goal in the other partition is none. -ENOSPC, -EIO.
 */
int udf_space_allocate(struct udf_space *space, uint32_t goal, uint32_t *count,
		       uint32_t *lbn);

/*
 * As udf_space_allocate(), but the run begins on a multiple of alignment in the
 * partition, and its length is a multiple of unit. -ENOSPC: there is none.
 */
int udf_space_allocate_aligned(struct udf_space *space, uint32_t goal,
			       uint32_t unit, uint32_t alignment,
			       uint32_t *count, uint32_t *lbn);

/*
 * The run that begins with this block: of whole units, at most *count blocks,
 * which is set to its length. -ENOSPC: less than a unit is free there.
 */
int udf_space_allocate_at(struct udf_space *space, uint32_t lbn, uint32_t unit,
			  uint32_t *count);

/*
 * All count blocks in one run, with so many free ones behind them, or at least
 * a quarter of these, which are room for them (space_room.h). -ENOSPC: there is
 * no such run.
 */
int udf_space_allocate_roomy(struct udf_space *space, uint32_t goal,
			     uint32_t count, uint32_t room, uint32_t *lbn);

/* Lead others away from these blocks; see space_room.h. */
void udf_space_keep_room(struct udf_space *space, uint32_t lbn, uint32_t count);

/* Blocks promised to the commit: it takes them with udf_space_take(). */
int udf_space_reserve(struct udf_space *space, uint32_t count);
void udf_space_unreserve(struct udf_space *space, uint32_t count);
/* One block out of the reserve. */
int udf_space_take(struct udf_space *space, uint32_t goal, uint32_t *lbn);

/* These blocks are free when the next commit has ended. */
void udf_space_release(struct udf_space *space, uint32_t lbn, uint64_t count);

/* For each of the blocks, whether it is free; -EINVAL, -EIO. */
int udf_space_look(struct udf_space *space, uint32_t lbn, uint32_t count,
		   uint8_t *is_free);

/* What can be allocated in this one, and what will be after a commit. */
uint64_t udf_space_free(struct udf_space *space);
/* The same with what is reserved: what the bitmap will call free then. */
uint64_t udf_space_unallocated(struct udf_space *space);
/* Of one of both there will be more after a commit. */
bool udf_space_has_released(struct udf_space *space);

/*
 * Take those of the blocks that are free out of use. They, and what a commit
 * would free of the volume's bad packets, are handed out once, to be put into
 * the Non-Allocatable Space.
 */
void udf_space_withhold(struct udf_space *space, uint32_t lbn, uint32_t count);
void udf_space_take_withheld(struct udf_space *space,
			     struct udf_run_list *runs);

/* The commit's three steps. */
void udf_space_detach_released(struct udf_space *space,
			       struct udf_run_list *runs);
void udf_space_free_runs(struct udf_space *space, struct udf_run_list *runs);
/* The commit failed: they wait for the next one. */
void udf_space_reattach(struct udf_space *space, struct udf_run_list *runs);

/*
 * Give each changed block of the bitmap to store (lbn, bytes of one block)
 * and call it clean. Stops at the first error, which it returns.
 */
typedef int (*udf_space_store_fn)(void *private_data, uint32_t lbn,
				  const uint8_t *block);
int udf_space_store(struct udf_space *space, udf_space_store_fn store,
		    void *private_data);
void udf_space_mark_all_dirty(struct udf_space *space);

/*
 * The metadata partition grows: how many blocks were last asked of it in vain,
 * 0: none, or there are enough now. Then its bitmap describes bits blocks, in
 * a file of so many bytes, which the volume knows already and where all of it
 * will be stored. The new blocks are free from udf_space_use_growth() on, when
 * all that is on the medium.
 */
uint32_t udf_space_wanted(struct udf_space *space);
/* Have all of the bitmap in memory: the old place is not read any more. */
int udf_space_load_all(struct udf_space *space);
int udf_space_grow(struct udf_space *space, uint32_t bits,
		   uint32_t bitmap_bytes);
void udf_space_use_growth(struct udf_space *space);

/*
 * Replace the bitmap of this one by a computed one (recover.c): used has one
 * bit per block of its partition, 1 is used, least significant first. With
 * keep_used, what the bitmap on the medium calls used stays so. *changed:
 * blocks that differed.
 */
int udf_space_rebuild(struct udf_space *space, const uint8_t *used,
		      bool keep_used, uint64_t *changed);

#endif /* UDF_STORE_SPACE_H */
