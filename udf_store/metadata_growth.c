/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A metadata partition that gets longer: see metadata_growth.h.
 */
#include <errno.h>
#include <string.h>

#include "commit.h"
#include "mapped.h"
#include "metadata_growth.h"

/* It grows by this part of what it has, at least by so many bytes: so it does
 * not do so often, and its ICB has room for where all its parts are. */
#define GROWTH_PART 2u
#define GROWTH_MIN_BYTES (128u << 10)

/* This part of the partition behind the metadata file, and behind its mirror,
 * is the last to be used for anything else: so they grow in their place. */
#define ROOM_PART 8u

bool udf_metadata_is_short(struct udf_fs *fs)
{
	struct udf_space *metadata = udf_space_for_metadata(&fs->space);

	return metadata != &fs->space && udf_space_wanted(metadata) > 0;
}

void udf_metadata_keep_room(struct udf_fs *fs)
{
	uint32_t room = fs->info->partition_blocks / ROOM_PART;
	uint32_t unit = 1;
	uint32_t alignment = 1;
	bool duplicate = false;

	if (!fs->info->has_metadata) {
		return;
	}
	udf_volume_metadata_units(fs->volume, &unit, &alignment, &duplicate);
	udf_space_keep_room(&fs->space,
			    udf_volume_metadata_end(fs->volume, false), room);
	if (duplicate) {
		udf_space_keep_room(&fs->space,
				    udf_volume_metadata_end(fs->volume, true),
				    room);
	}
}

/* How many blocks more: whole units. */
static uint32_t choose_count(struct udf_fs *fs, uint32_t blocks,
			     uint32_t wanted, uint32_t unit)
{
	uint64_t count = blocks / GROWTH_PART;
	uint64_t least = GROWTH_MIN_BYTES / fs->info->block_size;

	count = count < least ? least : count;
	count = count < wanted ? wanted : count;
	count = (count + unit - 1) / unit * unit;
	return count < INT32_MAX ? (uint32_t)count : unit;
}

static int release_run(void *private_data, const char *name, uint32_t lbn,
		       uint32_t count)
{
	struct udf_fs *fs = private_data;

	(void)name;
	udf_space_release(&fs->space, lbn, count);
	return 0;
}

/*
 * Blocks that continue the files, so that these have not one more extent each:
 * some readers know only metadata files of one. At least as many as are wanted
 * now. -ENOSPC: there are not so many; nothing is taken.
 */
static int take_in_place(struct udf_fs *fs, struct udf_metadata_growth *growth)
{
	uint32_t wanted = udf_space_wanted(udf_space_for_metadata(&fs->space));
	struct udf_space *space = &fs->space;
	uint32_t unit = 1;
	uint32_t alignment = 1;
	uint32_t main_count = growth->count;
	uint32_t count = 0;
	bool duplicate = false;
	int ret = 0;

	udf_volume_metadata_units(fs->volume, &unit, &alignment, &duplicate);
	growth->main = udf_volume_metadata_end(fs->volume, false);
	ret = udf_space_allocate_at(space, growth->main, unit, &main_count);
	if (ret < 0) {
		return ret;
	}
	count = main_count;
	growth->mirror = growth->main;
	if (duplicate) {
		growth->mirror = udf_volume_metadata_end(fs->volume, true);
		ret = udf_space_allocate_at(space, growth->mirror, unit,
					    &count);
	}
	if (ret < 0) {
		udf_space_release(space, growth->main, main_count);
		return ret;
	}
	if (count < wanted) {
		udf_space_release(space, growth->main, main_count);
		if (duplicate) {
			udf_space_release(space, growth->mirror, count);
		}
		return -ENOSPC;
	}
	if (count < main_count) {
		udf_space_release(space, growth->main + count,
				  main_count - count);
	}
	growth->count = count;
	return 0;
}

/*
 * Blocks for the files: as many as wanted or, if there is no such run, fewer.
 * What was taken in vain is released.
 */
static int take_blocks(struct udf_fs *fs, struct udf_metadata_growth *growth)
{
	struct udf_space *space = &fs->space;
	uint32_t unit = 1;
	uint32_t alignment = 1;
	uint32_t count = growth->count;
	bool duplicate = false;
	int ret = take_in_place(fs, growth);

	if (ret != -ENOSPC) {
		return ret;
	}
	udf_volume_metadata_units(fs->volume, &unit, &alignment, &duplicate);
	ret = udf_space_allocate_aligned(space,
					 udf_volume_metadata_end(fs->volume,
								 false),
					 unit, alignment, &count,
					 &growth->main);
	if (ret < 0) {
		return ret;
	}
	growth->count = count;
	growth->mirror = growth->main;
	if (!duplicate) {
		return 0;
	}
	ret = udf_space_allocate_aligned(space, 0, unit, alignment, &count,
					 &growth->mirror);
	if (ret < 0) {
		udf_space_release(space, growth->main, growth->count);
		return ret;
	}
	if (count < growth->count) {
		udf_space_release(space, growth->main + count,
				  growth->count - count);
		growth->count = count;
	}
	return 0;
}

static void release_blocks(struct udf_fs *fs,
			   const struct udf_metadata_growth *growth)
{
	udf_space_release(&fs->space, growth->main, growth->count);
	if (growth->mirror != growth->main) {
		udf_space_release(&fs->space, growth->mirror, growth->count);
	}
}

/* A place for the bitmap of so many blocks. */
static int take_bitmap(struct udf_fs *fs, uint32_t bits,
		       struct udf_metadata_growth *growth)
{
	uint32_t block_size = fs->info->block_size;
	uint32_t blocks = 0;
	uint32_t count = 0;

	growth->bitmap_bytes = UDF_SPACE_BITMAP_LEN + bits / 8 +
			       (bits % 8 != 0);
	blocks = growth->bitmap_bytes / block_size +
		 (growth->bitmap_bytes % block_size != 0);
	count = blocks;
	return udf_space_allocate_aligned(&fs->space, 0, blocks, 1, &count,
					  &growth->bitmap);
}

/* In no operation, and no other can begin. */
static int grow_locked(struct udf_fs *fs)
{
	struct udf_space *metadata = udf_space_for_metadata(&fs->space);
	uint32_t blocks = udf_volume_metadata_blocks(fs->volume);
	struct udf_metadata_growth growth = { .count = 0 };
	uint32_t unit = 1;
	uint32_t alignment = 1;
	bool duplicate = false;
	int ret = udf_space_load_all(metadata);

	if (ret < 0) {
		return ret;
	}
	udf_volume_metadata_units(fs->volume, &unit, &alignment, &duplicate);
	growth.count = choose_count(fs, blocks, udf_space_wanted(metadata),
				    unit);
	ret = take_blocks(fs, &growth);
	if (ret < 0) {
		return ret;
	}
	ret = take_bitmap(fs, blocks + growth.count, &growth);
	if (ret < 0) {
		release_blocks(fs, &growth);
		return ret;
	}
	ret = udf_volume_metadata_grow(fs->volume, &growth, release_run, fs);
	if (ret < 0) {
		udf_space_release(&fs->space, growth.bitmap,
				  (growth.bitmap_bytes +
				   fs->info->block_size - 1) /
					  fs->info->block_size);
		release_blocks(fs, &growth);
		return ret;
	}
	/* Whatever happens, what is on the medium has to follow. */
	fs->growth_pending = true;
	udf_metadata_keep_room(fs);
	ret = udf_space_grow(metadata, blocks + growth.count,
			     growth.bitmap_bytes);
	if (ret < 0) {
		udf_space_mark_all_dirty(metadata);
		return ret;
	}
	udf_volume_log(fs->volume, UDF_LOG_NOTICE,
		       "the metadata partition grows by %u blocks to %u",
		       growth.count, blocks + growth.count);
	return 0;
}

/* There may be room for data, but none for a file. */
static void tell_full(struct udf_fs *fs, int error)
{
	if (__atomic_exchange_n(&fs->told_full, true, __ATOMIC_ACQ_REL)) {
		return;
	}
	udf_volume_log(fs->volume, UDF_LOG_WARNING,
		       "the metadata partition is full and cannot grow (%s): "
		       "no more files and directories can be made before some "
		       "are removed",
		       strerror(-error));
}

int udf_metadata_grow(struct udf_fs *fs)
{
	int ret = 0;

	pthread_rwlock_wrlock(&fs->operations);
	/* Another thread may have done it, or be at it. */
	if (!fs->growth_pending && udf_metadata_is_short(fs)) {
		ret = grow_locked(fs);
	}
	pthread_rwlock_unlock(&fs->operations);
	if (ret < 0) {
		tell_full(fs, ret);
		return ret;
	}
	return udf_commit(fs);
}
