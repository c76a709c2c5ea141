/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The three files of a metadata partition (UDF 2.60 2.2.10, 2.2.13): the
 * metadata file, its mirror, and the bitmap; see mapped.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bytes.h"
#include "mapped_data.h"
#include "osta.h"

/* What a medium writes whole: an ICB that changes is not longer. */
#define ICB_MAX 512u

void udf_metadata_file_free(struct udf_metadata_file *file)
{
	free(file->data.runs);
	free(file->aeds.runs);
	free(file->block);
	file->block = NULL;
	file->data = (struct udf_run_table){ .runs = NULL };
	file->aeds = (struct udf_run_table){ .runs = NULL };
}

/* Is this the type of one of the two files with the metadata? */
static bool is_metadata_type(uint8_t type)
{
	return type == UDF_FT_METADATA || type == UDF_FT_METADATA_MIRROR;
}

/* Does the block hold a descriptor that was recorded there? */
static bool is_descriptor(uint32_t block, const uint8_t *bytes, uint32_t size)
{
	struct udf_tag tag = { .id = 0 };

	return decode_tag(bytes, size, &tag) == 0 &&
	       check_tag(bytes, size, tag.id, block, NULL) == 0;
}

/* The same, but a wiped block is none: its tag agrees with itself. */
static bool is_icb_lost(uint32_t lbn, const uint8_t *bytes, uint32_t size)
{
	struct udf_tag tag = { .id = 0 };

	return !is_descriptor(lbn, bytes, size) ||
	       (decode_tag(bytes, size, &tag) == 0 && tag.id == 0);
}

/* One of the files. On an error its tables are empty. */
static int metadata_file_read(struct udf_partition *physical, uint32_t lbn,
			      bool is_bitmap, struct udf_metadata_file *file)
{
	uint32_t size = physical->block_size;
	struct udf_icb icb = { .unique_id = 0 };
	bool right_type = false;
	bool lost = false;
	int ret = 0;

	*file = (struct udf_metadata_file){ .icb = lbn };
	file->block = malloc(size);
	if (file->block == NULL) {
		return -ENOMEM;
	}
	ret = udf_partition_read(physical, lbn, 1, file->block);
	lost = ret == -EIO;
	if (ret == 0) {
		lost = is_icb_lost(lbn, file->block, size);
		ret = decode_icb(file->block, size, lbn, &icb);
	}
	right_type = is_bitmap ? icb.icbtag.file_type == UDF_FT_METADATA_BITMAP
			       : is_metadata_type(icb.icbtag.file_type);
	if (ret == 0 && !right_type) {
		ret = -EUCLEAN;
	}
	if (ret == 0) {
		file->strategy = icb.icbtag.strategy;
		file->size = icb.information_length;
		ret = udf_file_runs(physical, &icb, &file->data, &file->aeds);
	}
	if (ret == 0 && file->data.blocks == 0) {
		ret = -EUCLEAN;
	}
	if (ret < 0) {
		udf_metadata_file_free(file);
		file->error = ret;
		file->icb_lost = lost;
	}
	return ret;
}

int udf_mapped_open_metadata(struct udf_partition *physical,
			     const struct udf_partition_map *map,
			     struct udf_mapped **_mapped)
{
	struct udf_mapped *mapped = NULL;
	int main_ret = 0;
	int mirror_ret = 0;

	mapped = calloc(1, sizeof(*mapped));
	if (mapped == NULL) {
		return -ENOMEM;
	}
	mapped->physical = physical;
	mapped->duplicate = (map->metadata_flags & UDF_METADATA_DUPLICATE) != 0;
	mapped->allocation_unit = map->allocation_unit;
	mapped->alignment_unit = map->alignment_unit;
	pthread_rwlock_init(&mapped->lock, NULL);
	main_ret = metadata_file_read(physical, map->metadata_main, false,
				      &mapped->main);
	mirror_ret = metadata_file_read(physical, map->metadata_mirror, false,
					&mapped->mirror);
	if (main_ret < 0 && mirror_ret < 0) {
		udf_log(physical->log, UDF_LOG_ERROR,
			"damaged UDF volume: neither the metadata file in "
			"block %u nor its mirror in block %u can be read: %s",
			map->metadata_main, map->metadata_mirror,
			strerror(-main_ret));
		udf_mapped_free(mapped);
		return main_ret;
	}
	if (main_ret < 0) {
		udf_log(physical->log, UDF_LOG_WARNING,
			"the metadata file in block %u cannot be read (%s): "
			"its mirror is used",
			map->metadata_main, strerror(-main_ret));
	}
	/* A read-only partition need not have a bitmap. */
	(void)metadata_file_read(physical, map->metadata_bitmap, true,
				 &mapped->bitmap);
	mapped->blocks = mapped->main.data.blocks > mapped->mirror.data.blocks
				 ? mapped->main.data.blocks
				 : mapped->mirror.data.blocks;
	*_mapped = mapped;
	return 0;
}

unsigned int udf_mapped_places(struct udf_mapped *mapped, uint32_t block,
			       uint32_t places[2])
{
	uint32_t main = 0;
	uint32_t mirror = 0;
	unsigned int count = 0;

	pthread_rwlock_rdlock(&mapped->lock);
	main = udf_run_table_lbn(&mapped->main.data, block);
	mirror = udf_run_table_lbn(&mapped->mirror.data, block);
	pthread_rwlock_unlock(&mapped->lock);
	if (main != UINT32_MAX) {
		places[count] = main;
		count++;
	}
	if (mirror != UINT32_MAX && mirror != main) {
		places[count] = mirror;
		count++;
	}
	return count;
}

/* The block of a file that is at this place; UINT32_MAX: none. */
static uint32_t block_at(const struct udf_run_table *table, uint32_t lbn)
{
	for (size_t i = 0; i < table->count; i++) {
		const struct udf_file_run *run = &table->runs[i];

		if (lbn >= run->lbn && lbn - run->lbn < run->count) {
			return run->block + (lbn - run->lbn);
		}
	}
	return UINT32_MAX;
}

uint32_t udf_mapped_block_at(struct udf_mapped *mapped, uint32_t lbn)
{
	uint32_t block = 0;

	pthread_rwlock_rdlock(&mapped->lock);
	block = block_at(&mapped->main.data, lbn);
	if (block == UINT32_MAX) {
		block = block_at(&mapped->mirror.data, lbn);
	}
	pthread_rwlock_unlock(&mapped->lock);
	return block;
}

int udf_metadata_read(struct udf_mapped *mapped, uint32_t block,
			 void *buf)
{
	uint32_t places[2] = { 0 };
	unsigned int count = udf_mapped_places(mapped, block, places);
	int ret = -EIO;

	for (unsigned int i = 0; i < count && ret != 0; i++) {
		ret = udf_partition_read(mapped->physical, places[i], 1, buf);
	}
	return ret;
}

/* Blocks of one file, run by run. */
static int table_write(struct udf_mapped *mapped,
		       const struct udf_run_table *table, uint32_t block,
		       uint32_t count, const uint8_t *buf, bool unmanaged)
{
	uint32_t size = mapped->physical->block_size;

	while (count > 0) {
		const struct udf_file_run *run = NULL;
		uint32_t lbn = 0;
		uint32_t part = 0;
		int ret = 0;

		pthread_rwlock_rdlock(&mapped->lock);
		run = udf_run_table_find(table, block);
		if (run != NULL) {
			part = run->count - (block - run->block);
			lbn = run->lbn + (block - run->block);
		}
		pthread_rwlock_unlock(&mapped->lock);
		if (part == 0) {
			return -EIO;
		}
		part = part < count ? part : count;
		ret = udf_partition_write(mapped->physical, lbn, part, buf,
					  unmanaged);
		if (ret != 0) {
			return ret;
		}
		block += part;
		count -= part;
		buf += (size_t)part * size;
	}
	return 0;
}

int udf_mapped_write(struct udf_mapped *mapped, uint32_t block,
		     uint32_t count, const void *buf, bool unmanaged)
{
	int mirror_ret = 0;
	int ret = 0;

	if (!udf_mapped_has(mapped, block, count)) {
		return -EUCLEAN;
	}
	if (!mapped->main.wants_blocks) {
		ret = table_write(mapped, &mapped->main.data, block, count,
				  buf, unmanaged);
	}
	if (mapped->duplicate && !mapped->mirror.wants_blocks) {
		mirror_ret = table_write(mapped, &mapped->mirror.data, block,
					 count, buf, unmanaged);
	}
	return ret != 0 ? ret : mirror_ret;
}

void udf_mapped_forget(struct udf_mapped *mapped, uint32_t block,
		       uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t places[2] = { 0 };
		unsigned int n = udf_mapped_places(mapped, block + i, places);

		for (unsigned int k = 0; k < n; k++) {
			udf_partition_forget(mapped->physical, places[k], 1);
		}
	}
}

uint32_t udf_mapped_bitmap_bytes(struct udf_mapped *mapped)
{
	uint64_t room = 0;
	uint64_t size = 0;

	pthread_rwlock_rdlock(&mapped->lock);
	room = (uint64_t)mapped->bitmap.data.blocks *
	       mapped->physical->block_size;
	size = mapped->bitmap.size;
	if (size > room && !mapped->bitmap.wants_blocks) {
		size = room;
	}
	pthread_rwlock_unlock(&mapped->lock);
	return size < UINT32_MAX ? (uint32_t)size : UINT32_MAX;
}

uint32_t udf_mapped_bitmap_lbn(struct udf_mapped *mapped, uint32_t i)
{
	uint32_t lbn = 0;

	pthread_rwlock_rdlock(&mapped->lock);
	lbn = udf_run_table_lbn(&mapped->bitmap.data, i);
	pthread_rwlock_unlock(&mapped->lock);
	return lbn;
}

static int file_each_run(const struct udf_metadata_file *file, const char *name,
			 bool with_data, udf_mapped_visit_fn visit,
			 void *private_data)
{
	int ret = 0;

	if (file->icb != UINT32_MAX && file->error == 0) {
		ret = visit(private_data, name, file->icb, 1);
	}
	for (size_t i = 0; i < file->aeds.count && ret == 0; i++) {
		ret = visit(private_data, name, file->aeds.runs[i].lbn,
			    file->aeds.runs[i].count);
	}
	for (size_t i = 0; with_data && i < file->data.count && ret == 0;
	     i++) {
		ret = visit(private_data, name, file->data.runs[i].lbn,
			    file->data.runs[i].count);
	}
	return ret;
}

int udf_mapped_each_run(struct udf_mapped *mapped,
			udf_mapped_visit_fn visit, void *private_data)
{
	bool own = mapped->duplicate || mapped->main.error != 0;
	int ret = 0;

	if (mapped->vat != NULL) {
		return 0;
	}
	ret = file_each_run(&mapped->main, "(metadata file)", true, visit,
			    private_data);
	if (ret == 0) {
		ret = file_each_run(&mapped->mirror, "(metadata mirror)", own,
				    visit, private_data);
	}
	if (ret == 0) {
		ret = file_each_run(&mapped->bitmap, "(metadata bitmap)", true,
				    visit, private_data);
	}
	return ret;
}

/* Are the blocks of two files the same ones, in the same order? */
static bool tables_same(const struct udf_run_table *a,
			const struct udf_run_table *b)
{
	if (a->blocks != b->blocks) {
		return false;
	}
	for (size_t i = 0; i < a->count; i++) {
		const struct udf_file_run *run = &a->runs[i];

		for (uint32_t k = 0; k < run->count; k++) {
			if (udf_run_table_lbn(b, run->block + k) != run->lbn + k) {
				return false;
			}
		}
	}
	return true;
}

/* Bits of the physical partition that a file has taken. */
struct overlap {
	uint8_t *bits;
	uint32_t blocks;
	bool found;
};

static int overlap_visit(void *private_data, const char *name, uint32_t lbn,
			 uint32_t count)
{
	struct overlap *overlap = private_data;

	(void)name;
	for (uint32_t i = 0; i < count && lbn + i < overlap->blocks; i++) {
		uint8_t bit = (uint8_t)(1u << ((lbn + i) % 8));

		overlap->found = overlap->found ||
				 (overlap->bits[(lbn + i) / 8] & bit) != 0;
		overlap->bits[(lbn + i) / 8] |= bit;
	}
	return 0;
}

static int any_overlap(struct udf_mapped *mapped, bool *found)
{
	struct overlap overlap = { .blocks = mapped->physical->blocks };

	overlap.bits = calloc(1, (size_t)overlap.blocks / 8 + 1);
	if (overlap.bits == NULL) {
		return -ENOMEM;
	}
	(void)udf_mapped_each_run(mapped, overlap_visit, &overlap);
	free(overlap.bits);
	*found = overlap.found;
	return 0;
}

/* What is wrong with a file that has to be written; NULL: nothing. */
static const char *file_fault(struct udf_mapped *mapped,
			      const struct udf_metadata_file *file)
{
	uint64_t bytes = (uint64_t)file->data.blocks *
			 mapped->physical->block_size;

	if (file->error != 0) {
		return "cannot be read";
	}
	if (file->strategy != 4) {
		return "has an ICB for write-once media";
	}
	if (file->size > bytes && !file->wants_blocks) {
		return "is shorter than it says";
	}
	return NULL;
}

/* Let a file end at a block. */
static void file_cut(struct udf_metadata_file *file, uint32_t blocks,
		     uint32_t block_size)
{
	struct udf_run_table *table = &file->data;

	while (table->count > 0 && table->blocks > blocks) {
		struct udf_file_run *last = &table->runs[table->count - 1];
		uint32_t more = table->blocks - blocks;

		if (more >= last->count) {
			table->blocks -= last->count;
			table->count--;
		} else {
			table->blocks -= more;
			last->count -= more;
		}
	}
	file->size = (uint64_t)table->blocks * block_size;
}

void udf_mapped_cut(struct udf_mapped *mapped)
{
	uint32_t size = mapped->physical->block_size;
	uint32_t main = mapped->main.data.blocks;
	uint32_t mirror = mapped->mirror.data.blocks;
	uint32_t blocks = main < mirror ? main : mirror;

	if (main == mirror || blocks == 0) {
		return;
	}
	file_cut(&mapped->main, blocks, size);
	file_cut(&mapped->mirror, blocks, size);
	mapped->blocks = blocks;
	mapped->cut = true;
}

bool udf_mapped_was_cut(const struct udf_mapped *mapped)
{
	return mapped->cut;
}

int udf_mapped_judge(struct udf_mapped *mapped, bool *can_write,
		     char *text, size_t len)
{
	static const char *const names[3] = {
		"metadata file", "metadata mirror file", "metadata bitmap file",
	};
	const struct udf_metadata_file *files[3] = {
		&mapped->main, &mapped->mirror, &mapped->bitmap,
	};
	bool overlap = false;
	int ret = 0;

	*can_write = false;
	for (size_t i = 0; i < 3; i++) {
		const char *fault = file_fault(mapped, files[i]);

		if (fault != NULL) {
			snprintf(text, len, "its %s %s", names[i], fault);
			return 0;
		}
	}
	if (mapped->main.data.blocks != mapped->mirror.data.blocks &&
	    !mapped->main.wants_blocks && !mapped->mirror.wants_blocks) {
		snprintf(text, len, "its metadata file has %u blocks, but the "
				    "mirror %u",
			 mapped->main.data.blocks, mapped->mirror.data.blocks);
		return 0;
	}
	if (!mapped->duplicate &&
	    !tables_same(&mapped->main.data, &mapped->mirror.data)) {
		snprintf(text, len, "its metadata mirror file has other "
				    "blocks, although the metadata is said "
				    "to be there once");
		return 0;
	}
	ret = any_overlap(mapped, &overlap);
	if (ret < 0) {
		return ret;
	}
	if (overlap) {
		snprintf(text, len, "its metadata files have blocks in common");
		return 0;
	}
	*can_write = true;
	return 0;
}

/* FIDs of that block of which the checksums are wrong. */
static unsigned int damaged_fids(uint32_t block, const uint8_t *bytes,
				 uint32_t size)
{
	unsigned int count = 0;
	uint32_t at = 0;

	while (size - at >= UDF_FID_LEN) {
		const uint8_t *p = bytes + at;
		struct udf_fid fid = { .name_length = 0 };
		int length = decode_fid(p, size - at, block, &fid);

		if (length <= 0 && get_le16(p) == UDF_TAG_FID &&
		    get_le32(p + 12) == block) {
			count++;
		}
		at += length > 0 ? (uint32_t)length : 4;
	}
	return count;
}

/*
 * Of two that differ: is the first no descriptor, but the second, behind it,
 * one of that block, or has the first more FIDs that are damaged? Else the
 * first is newer, as it is written first.
 */
static bool is_worse(uint32_t block, const uint8_t *bytes, uint32_t size)
{
	return (!is_descriptor(block, bytes, size) &&
		is_descriptor(block, bytes + size, size)) ||
	       damaged_fids(block, bytes, size) >
		       damaged_fids(block, bytes + size, size);
}

int udf_mapped_compare(struct udf_mapped *mapped, const uint8_t *used,
		       bool repair, uint32_t *differ)
{
	uint32_t size = mapped->physical->block_size;
	uint8_t *blocks = NULL;
	int result = 0;

	*differ = 0;
	if (mapped->vat != NULL || !mapped->duplicate) {
		return 0;
	}
	blocks = malloc(2 * (size_t)size);
	if (blocks == NULL) {
		return -ENOMEM;
	}
	for (uint32_t block = 0; block < mapped->blocks; block++) {
		uint32_t main = udf_run_table_lbn(&mapped->main.data, block);
		uint32_t mirror = udf_run_table_lbn(&mapped->mirror.data, block);
		int main_ret = -EIO;
		int mirror_ret = -EIO;
		int ret = 0;

		if (((used[block / 8] >> (block % 8)) & 1) == 0) {
			continue;
		}
		if (main != UINT32_MAX) {
			main_ret = udf_partition_read(mapped->physical, main,
						      1, blocks);
		}
		if (mirror != UINT32_MAX) {
			mirror_ret = udf_partition_read(mapped->physical,
							mirror, 1,
							&blocks[size]);
		}
		if ((main_ret < 0 && mirror_ret < 0) ||
		    (main_ret == 0 && mirror_ret == 0 &&
		     memcmp(blocks, &blocks[size], size) == 0)) {
			continue;
		}
		(*differ)++;
		if (!repair || main == UINT32_MAX || mirror == UINT32_MAX) {
			continue;
		}
		if (main_ret == 0 &&
		    (mirror_ret < 0 || !is_worse(block, blocks, size))) {
			ret = udf_partition_write(mapped->physical, mirror, 1,
						  blocks, false);
		} else {
			ret = udf_partition_write(mapped->physical, main, 1,
						  &blocks[size], false);
		}
		result = result < 0 ? result : ret;
	}
	free(blocks);
	return result;
}

/*
 * Growth. The tables are changed at once, all or none; what is on the medium
 * follows with udf_mapped_encode().
 */

void udf_mapped_units(const struct udf_mapped *mapped, uint32_t *allocation,
		      uint32_t *alignment, bool *duplicate)
{
	*allocation = mapped->allocation_unit > 0 ? mapped->allocation_unit : 1;
	*alignment = mapped->alignment_unit > 0 ? mapped->alignment_unit : 1;
	*duplicate = mapped->duplicate;
}

uint32_t udf_mapped_end(struct udf_mapped *mapped, bool of_mirror)
{
	const struct udf_run_table *table =
		of_mirror ? &mapped->mirror.data : &mapped->main.data;
	uint32_t lbn = 0;

	pthread_rwlock_rdlock(&mapped->lock);
	if (table->count > 0) {
		const struct udf_file_run *last = &table->runs[table->count - 1];

		lbn = last->lbn + last->count;
	}
	pthread_rwlock_unlock(&mapped->lock);
	return lbn;
}

/* A copy of a table with so many blocks more at its end. -ENOMEM. */
static int table_extend(const struct udf_run_table *from, uint32_t lbn,
			uint32_t count, struct udf_run_table *to)
{
	struct udf_file_run *last = NULL;

	*to = (struct udf_run_table){ .runs = NULL };
	to->runs = calloc(from->count + 1, sizeof(*to->runs));
	if (to->runs == NULL) {
		return -ENOMEM;
	}
	if (from->count > 0) {
		memcpy(to->runs, from->runs, from->count * sizeof(*to->runs));
	}
	to->count = from->count;
	to->blocks = from->blocks + count;
	last = &to->runs[to->count];
	if (to->count > 0 && last[-1].lbn + last[-1].count == lbn) {
		last[-1].count += count;
		return 0;
	}
	*last = (struct udf_file_run){
		.block = from->blocks,
		.count = count,
		.lbn = lbn,
	};
	to->count++;
	return 0;
}

int udf_metadata_encode_file(const struct udf_mapped *mapped,
			     const struct udf_metadata_file *file,
			     const struct udf_run_table *data, uint64_t bytes,
			     uint8_t *block)
{
	uint32_t size = mapped->physical->block_size;
	uint32_t max = UDF_AD_MAX_LENGTH / size;
	struct udf_icb icb = { .unique_id = 0 };
	uint8_t ads[ICB_MAX] = { 0 };
	uint64_t left = bytes;
	uint32_t room = 0;
	uint32_t used = 0;
	int ret = decode_icb(file->block, size, file->icb, &icb);

	if (ret < 0) {
		return ret;
	}
	room = (uint32_t)udf_icb_header_len(icb.tag.id) + icb.ea_length;
	room = room < ICB_MAX ? ICB_MAX - room : 0;
	for (size_t i = 0; i < data->count; i++) {
		const struct udf_file_run *run = &data->runs[i];
		uint32_t done = 0;

		while (done < run->count) {
			struct udf_ad ad = { .type = UDF_EXTENT_RECORDED };
			uint32_t count = run->count - done;
			uint64_t length = 0;

			if (room - used < UDF_SHORT_AD_LEN) {
				return -ENOSPC;
			}
			count = count < max ? count : max;
			length = (uint64_t)count * size;
			length = length < left ? length : left;
			ad.length = (uint32_t)length;
			ad.addr.block = run->lbn + done;
			encode_short_ad(&ad, &ads[used]);
			used += UDF_SHORT_AD_LEN;
			left -= length;
			done += count;
		}
	}
	icb.icbtag.flags &= (uint16_t)~(UDF_ICB_AD_MASK | UDF_ICB_CONTIGUOUS);
	icb.icbtag.flags |= UDF_AD_SHORT;
	icb.information_length = bytes;
	icb.object_size = bytes;
	icb.blocks_recorded = data->blocks;
	icb.ads = ads;
	icb.ad_length = used;
	clock_gettime(CLOCK_REALTIME, &icb.modification);
	icb.modification = udf_timestamp_round(icb.modification);
	icb.attribute = icb.modification;
	udf_our_regid(&icb.implementation);
	ret = encode_icb(&icb, block, size);
	return ret < 0 ? ret : 0;
}

/* The new state of a file, before it is the file's. */
struct change {
	struct udf_metadata_file *file;
	struct udf_run_table data;
	uint64_t bytes;
};

static int change_prepare(const struct udf_mapped *mapped,
			  struct udf_metadata_file *file, uint32_t lbn,
			  uint32_t count, struct change *change)
{
	uint32_t size = mapped->physical->block_size;
	uint8_t *block = NULL;
	int ret = 0;

	change->file = file;
	if (file->aeds.count > 0) {
		/* A foreign writer's: not in one ICB. */
		return -ENOSPC;
	}
	ret = table_extend(&file->data, lbn, count, &change->data);
	if (ret < 0) {
		return ret;
	}
	change->bytes = (uint64_t)change->data.blocks * size;
	block = malloc(size);
	if (block == NULL) {
		return -ENOMEM;
	}
	ret = udf_metadata_encode_file(mapped, file, &change->data,
				       change->bytes, block);
	free(block);
	return ret;
}

static void change_make(struct change *change)
{
	free(change->file->data.runs);
	change->file->data = change->data;
	change->file->size = change->bytes;
	change->data = (struct udf_run_table){ .runs = NULL };
}

int udf_mapped_grow(struct udf_mapped *mapped,
		    const struct udf_metadata_growth *growth,
		    udf_mapped_visit_fn old_bitmap, void *private_data)
{
	uint32_t size = mapped->physical->block_size;
	uint32_t bitmap_blocks = growth->bitmap_bytes / size +
				 (growth->bitmap_bytes % size != 0);
	struct change main = { .bytes = 0 };
	struct change mirror = { .bytes = 0 };
	struct change bitmap = {
		.file = &mapped->bitmap,
		.bytes = growth->bitmap_bytes,
	};
	int ret = 0;

	ret = change_prepare(mapped, &mapped->main, growth->main, growth->count,
			     &main);
	if (ret == 0) {
		ret = change_prepare(mapped, &mapped->mirror, growth->mirror,
				     growth->count, &mirror);
	}
	if (ret == 0) {
		ret = udf_run_table_add(&bitmap.data, growth->bitmap,
					bitmap_blocks);
	}
	if (ret < 0) {
		free(main.data.runs);
		free(mirror.data.runs);
		free(bitmap.data.runs);
		return ret;
	}
	for (size_t i = 0; i < mapped->bitmap.data.count; i++) {
		const struct udf_file_run *run = &mapped->bitmap.data.runs[i];

		(void)old_bitmap(private_data, "", run->lbn, run->count);
	}
	for (size_t i = 0; i < mapped->bitmap.aeds.count; i++) {
		const struct udf_file_run *run = &mapped->bitmap.aeds.runs[i];

		(void)old_bitmap(private_data, "", run->lbn, run->count);
	}
	pthread_rwlock_wrlock(&mapped->lock);
	change_make(&main);
	change_make(&mirror);
	change_make(&bitmap);
	free(mapped->bitmap.aeds.runs);
	mapped->bitmap.aeds = (struct udf_run_table){ .runs = NULL };
	mapped->blocks = mapped->main.data.blocks;
	pthread_rwlock_unlock(&mapped->lock);
	return 0;
}

int udf_mapped_encode(struct udf_mapped *mapped, udf_mapped_store_fn store,
		      void *private_data)
{
	const struct udf_metadata_file *files[3] = {
		&mapped->main, &mapped->mirror, &mapped->bitmap,
	};
	uint8_t *block = malloc(mapped->physical->block_size);
	int ret = block == NULL ? -ENOMEM : 0;

	for (size_t i = 0; i < 3 && ret == 0; i++) {
		ret = udf_metadata_encode_file(mapped, files[i],
					       &files[i]->data, files[i]->size,
					       block);
		if (ret == 0) {
			ret = store(private_data, files[i]->icb, block);
		}
	}
	free(block);
	return ret;
}
