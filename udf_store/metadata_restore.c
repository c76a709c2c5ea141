/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Lost files of the metadata partition: see metadata_restore.h.
 *
 * New blocks are written and synced first, the bitmaps and the ICBs follow
 * with a commit (as when the partition grows). Whenever that is cut off, the
 * next mount finds the ICB lost, and begins again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "commit.h"
#include "mapped.h"
#include "metadata_restore.h"

static struct udf_mapped *mapped_of(struct udf_fs *fs)
{
	return udf_volume_metadata(fs->volume);
}

bool udf_metadata_is_lost(struct udf_fs *fs)
{
	struct udf_mapped *mapped = mapped_of(fs);

	return mapped != NULL && !fs->read_only &&
	       udf_mapped_was_restored(mapped);
}

static void become_read_only(struct udf_fs *fs, const char *why)
{
	udf_volume_log(fs->volume, UDF_LOG_WARNING,
		       "the volume is read-only for us: a lost file of its "
		       "metadata partition cannot be made anew: %s",
		       why);
	fs->read_only = true;
}

static void release_runs(struct udf_fs *fs, const struct udf_run_list *runs)
{
	for (size_t i = 0; i < runs->count; i++) {
		udf_space_release(&fs->space, runs->runs[i].lbn,
				  runs->runs[i].count);
	}
}

/* So many blocks, in whole units but for the last one. */
static int take_runs(struct udf_fs *fs, uint32_t blocks, uint32_t unit,
		     uint32_t alignment, struct udf_run_list *runs)
{
	struct udf_space *space = &fs->space;

	while (blocks > 0) {
		uint32_t count = (blocks / unit + (blocks % unit != 0)) * unit;
		uint32_t lbn = 0;
		uint32_t kept = 0;
		int ret = udf_space_allocate_aligned(space, 0, unit, alignment,
						     &count, &lbn);

		if (ret < 0) {
			return ret;
		}
		kept = count < blocks ? count : blocks;
		if (kept < count) {
			udf_space_release(space, lbn + kept, count - kept);
		}
		ret = udf_run_list_add(runs, lbn, kept);
		if (ret < 0) {
			udf_space_release(space, lbn, kept);
			return ret;
		}
		blocks -= kept;
	}
	return 0;
}

static int restore_part(struct udf_fs *fs, enum udf_metadata_part part,
			const uint8_t *used)
{
	struct udf_mapped *mapped = mapped_of(fs);
	uint32_t blocks = udf_mapped_wants(mapped, part);
	struct udf_run_list runs = { .runs = NULL };
	uint32_t unit = 1;
	uint32_t alignment = 1;
	bool duplicate = false;
	int ret = 0;

	if (blocks == 0) {
		return 0;
	}
	if (part != UDF_METADATA_BITMAP) {
		udf_mapped_units(mapped, &unit, &alignment, &duplicate);
	}
	ret = take_runs(fs, blocks, unit, alignment, &runs);
	if (ret == 0) {
		ret = udf_mapped_restore(mapped, part, &runs, used);
	}
	if (ret < 0) {
		release_runs(fs, &runs);
	}
	udf_run_list_free(&runs);
	return ret;
}

/* The metadata bitmap has a new place, which its descriptor has to name. */
static int move_bitmap(struct udf_fs *fs)
{
	struct udf_space *metadata = udf_space_for_metadata(&fs->space);
	uint32_t blocks = udf_volume_metadata_blocks(fs->volume);
	uint32_t bytes = UDF_SPACE_BITMAP_LEN + blocks / 8 + (blocks % 8 != 0);

	return udf_space_grow(metadata, blocks, bytes);
}

/*
 * A bit for each block of the metadata partition that is not free, to be
 * freed: a repair looks for lost files there. NULL: no memory.
 */
static uint8_t *taken_blocks(struct udf_fs *fs)
{
	uint32_t blocks = udf_volume_metadata_blocks(fs->volume);
	uint32_t base = fs->info->partition_blocks;
	uint8_t *bits = calloc(1, (size_t)blocks / 8 + 1);

	for (uint32_t i = 0; i < blocks && bits != NULL; i++) {
		uint8_t is_free = 0;

		if (udf_space_look(&fs->space, base + i, 1, &is_free) < 0 ||
		    is_free == 0) {
			bits[i / 8] |= (uint8_t)(1u << (i % 8));
		}
	}
	return bits;
}

int udf_metadata_restore(struct udf_fs *fs, const uint8_t *used, bool is_sure)
{
	struct udf_mapped *mapped = mapped_of(fs);
	uint8_t *taken = NULL;
	bool new_bitmap = false;
	int ret = 0;

	if (!udf_metadata_is_lost(fs)) {
		return 0;
	}
	if (fs->repairing) {
		/* It has the bitmap keep all that is not free. */
		taken = taken_blocks(fs);
		if (taken == NULL) {
			return -ENOMEM;
		}
		used = taken;
		is_sure = true;
	}
	if (!is_sure) {
		become_read_only(fs, "parts of the tree are damaged; see "
				     "udfctl check");
		return 0;
	}
	new_bitmap = udf_mapped_wants(mapped, UDF_METADATA_BITMAP) > 0;
	for (int part = 0; part < UDF_METADATA_PARTS && ret == 0; part++) {
		ret = restore_part(fs, part, used);
	}
	free(taken);
	if (ret == 0 && new_bitmap) {
		ret = move_bitmap(fs);
	}
	if (ret == -ENOMEM) {
		return ret;
	}
	if (ret < 0) {
		become_read_only(fs, strerror(-ret));
		return 0;
	}
	/* Their ICBs are written as after a growth. */
	fs->growth_pending = true;
	return 0;
}

void udf_metadata_save(struct udf_fs *fs)
{
	int ret = udf_commit(fs);

	if (ret == 0) {
		ret = udf_mapped_confirm(mapped_of(fs));
	}
	if (ret < 0) {
		become_read_only(fs, strerror(-ret));
	}
}
