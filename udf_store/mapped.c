/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Virtual and metadata partitions; see mapped.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "mapped.h"

/* AEDs in a chain before it is taken for endless. */
#define AEDS_MAX 65536u

/* Blocks from the end of the medium in which the VAT's ICB is looked for. */
#define VAT_SEARCH_BLOCKS 512u

/* Virtual Allocation Table (UDF 2.2.11): a header since 2.00... */
#define VAT_HEADER_LEN 152u
/* ... and 1.50's: behind the table an identifier and the previous ICB. */
#define VAT_150_TRAILER_LEN 36u
#define VAT_150_IDENTIFIER "*UDF Virtual Alloc Tbl"
#define VAT_UNUSED UINT32_MAX

/* Blocks of a table's file, and where they are. */
struct run {
	uint32_t block; /* of the file */
	uint32_t count;
	uint32_t lbn; /* of the physical partition */
};

struct run_table {
	struct run *runs; /* by block, without gaps */
	size_t count;
	uint32_t blocks; /* in all */
};

/* One of the three files of a metadata partition (UDF 2.60 2.2.13). */
struct metadata_file {
	uint32_t icb;		/* where it is; UINT32_MAX: there is none */
	int error;		/* why it cannot be read; the tables are empty */
	uint16_t strategy;
	uint64_t size;		/* bytes */
	struct run_table data;
	struct run_table aeds;
};

struct udf_mapped {
	struct udf_partition *physical;
	uint32_t blocks;
	/* metadata */
	struct metadata_file main;
	struct metadata_file mirror;
	struct metadata_file bitmap;
	bool duplicate; /* the mirror has blocks of its own */
	/* virtual; NULL otherwise */
	uint32_t *vat;
};

static int run_table_add(struct run_table *table, uint32_t lbn, uint32_t count)
{
	struct run *runs = NULL;

	runs = reallocarray(table->runs, table->count + 1, sizeof(*runs));
	if (runs == NULL) {
		return -ENOMEM;
	}
	table->runs = runs;
	runs[table->count] = (struct run){
		.block = table->blocks,
		.count = count,
		.lbn = lbn,
	};
	table->count++;
	table->blocks += count;
	return 0;
}

/* The run that has the block; NULL: none. */
static const struct run *run_table_find(const struct run_table *table,
					uint32_t block)
{
	size_t low = 0;
	size_t high = table->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct run *run = &table->runs[middle];

		if (block < run->block) {
			high = middle;
		} else if (block - run->block >= run->count) {
			low = middle + 1;
		} else {
			return run;
		}
	}
	return NULL;
}

/* The file of a table while it is read. */
struct table_file {
	struct udf_partition *physical;
	struct run_table *table;
	struct run_table *aeds; /* NULL: not wanted */
	enum udf_ad_form form;
	uint32_t next_aed;
	bool has_next;
	bool ended;
};

static int file_add(struct table_file *file, const struct udf_ad *ad)
{
	struct udf_partition *physical = file->physical;
	uint32_t count = 0;

	if (ad->addr.block >= physical->blocks && ad->length > 0) {
		return -EUCLEAN;
	}
	if (ad->type == UDF_EXTENT_NEXT) {
		file->next_aed = ad->addr.block;
		file->has_next = ad->length > 0;
		file->ended = true;
		return 0;
	}
	if (ad->length == 0) {
		file->ended = true;
		return 0;
	}
	if (ad->type != UDF_EXTENT_RECORDED) {
		return -EUCLEAN;
	}
	count = ad->length / physical->block_size +
		(ad->length % physical->block_size != 0);
	/* No block is there twice, so the partition bounds them all. */
	if (count > physical->blocks - ad->addr.block ||
	    count > physical->blocks - file->table->blocks) {
		return -EUCLEAN;
	}
	return run_table_add(file->table, ad->addr.block, count);
}

static int file_add_all(struct table_file *file, const uint8_t *ads,
			size_t length)
{
	size_t offset = 0;

	file->has_next = false;
	file->ended = false;
	while (!file->ended && length - offset >= udf_ad_size(file->form)) {
		struct udf_ad ad = { .length = 0 };
		int ret = decode_ad(&ads[offset], length - offset, file->form,
				    0, &ad);

		if (ret < 0) {
			return ret;
		}
		offset += (size_t)ret;
		ret = file_add(file, &ad);
		if (ret < 0) {
			return ret;
		}
	}
	return 0;
}

/* Where the blocks are of a file whose ICB has been read into block. */
static int file_runs(struct udf_partition *physical, const struct udf_icb *icb,
		     struct run_table *table, struct run_table *aeds)
{
	struct table_file file = {
		.physical = physical,
		.table = table,
		.aeds = aeds,
		.form = icb->icbtag.flags & UDF_ICB_AD_MASK,
	};
	uint32_t size = physical->block_size;
	uint32_t steps = 0;
	uint8_t *block = NULL;
	int ret = 0;

	if (udf_ad_size(file.form) == 0) {
		return -EUCLEAN;
	}
	ret = file_add_all(&file, icb->ads, icb->ad_length);
	if (ret < 0 || !file.has_next) {
		return ret;
	}
	block = malloc(size);
	if (block == NULL) {
		return -ENOMEM;
	}
	while (file.has_next && ret == 0) {
		struct udf_aed aed = { .ad_length = 0 };
		uint32_t lbn = file.next_aed;

		if (steps == AEDS_MAX) {
			ret = -EUCLEAN;
			break;
		}
		steps++;
		ret = udf_partition_read(physical, lbn, 1, block);
		if (ret < 0) {
			break;
		}
		ret = decode_aed(block, size, lbn, &aed);
		if (ret < 0) {
			break;
		}
		ret = file_add_all(&file, aed.ads, aed.ad_length);
		if (ret == 0 && aeds != NULL) {
			ret = run_table_add(aeds, lbn, 1);
		}
	}
	free(block);
	return ret;
}

static void metadata_file_free(struct metadata_file *file)
{
	free(file->data.runs);
	free(file->aeds.runs);
	file->data = (struct run_table){ .runs = NULL };
	file->aeds = (struct run_table){ .runs = NULL };
}

/* Is this the type of one of the two files with the metadata? */
static bool is_metadata_type(uint8_t type)
{
	return type == UDF_FT_METADATA || type == UDF_FT_METADATA_MIRROR;
}

/* One of the files. On an error its tables are empty. */
static int metadata_file_read(struct udf_partition *physical, uint32_t lbn,
			      bool is_bitmap, struct metadata_file *file)
{
	uint32_t size = physical->block_size;
	struct udf_icb icb = { .unique_id = 0 };
	uint8_t *block = NULL;
	bool right_type = false;
	int ret = 0;

	*file = (struct metadata_file){ .icb = lbn };
	block = malloc(size);
	if (block == NULL) {
		return -ENOMEM;
	}
	ret = udf_partition_read(physical, lbn, 1, block);
	if (ret == 0) {
		ret = decode_icb(block, size, lbn, &icb);
	}
	right_type = is_bitmap ? icb.icbtag.file_type == UDF_FT_METADATA_BITMAP
			       : is_metadata_type(icb.icbtag.file_type);
	if (ret == 0 && !right_type) {
		ret = -EUCLEAN;
	}
	if (ret == 0) {
		file->strategy = icb.icbtag.strategy;
		file->size = icb.information_length;
		ret = file_runs(physical, &icb, &file->data, &file->aeds);
	}
	if (ret == 0 && file->data.blocks == 0) {
		ret = -EUCLEAN;
	}
	if (ret < 0) {
		metadata_file_free(file);
		file->error = ret;
	}
	free(block);
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

/* The bytes of the VAT's file; free() them. */
static int vat_read_file(struct udf_partition *physical,
			 const struct udf_icb *icb, uint8_t **_data)
{
	struct run_table table = { .runs = NULL };
	uint64_t length = icb->information_length;
	uint64_t limit = 4 * (uint64_t)physical->blocks + UINT16_MAX;
	uint32_t size = physical->block_size;
	uint8_t *data = NULL;
	size_t i = 0;
	int ret = 0;

	if (length > limit) {
		return -EUCLEAN;
	}
	if ((icb->icbtag.flags & UDF_ICB_AD_MASK) == UDF_AD_IN_ICB) {
		if (length > icb->ad_length) {
			return -EUCLEAN;
		}
		data = malloc(length + 1);
		if (data == NULL) {
			return -ENOMEM;
		}
		memcpy(data, icb->ads, length);
		*_data = data;
		return 0;
	}

	ret = file_runs(physical, icb, &table, NULL);
	if (ret == 0 && (uint64_t)table.blocks * size < length) {
		ret = -EUCLEAN;
	}
	if (ret == 0) {
		data = malloc((size_t)table.blocks * size + 1);
		ret = data == NULL ? -ENOMEM : 0;
	}
	for (i = 0; i < table.count && ret == 0; i++) {
		const struct run *run = &table.runs[i];

		ret = udf_partition_read(physical, run->lbn, run->count,
					 data + (size_t)run->block * size);
	}
	free(table.runs);
	if (ret < 0) {
		free(data);
		return ret;
	}
	*_data = data;
	return 0;
}

/* Where the table is in the bytes of its file. */
static int vat_find_table(const struct udf_icb *icb, const uint8_t *data,
			  uint64_t length, uint64_t *start, uint64_t *end)
{
	struct udf_regid regid = { .flags = 0 };
	uint16_t header_length = 0;

	if (icb->icbtag.file_type == UDF_FT_VAT) {
		if (length < VAT_HEADER_LEN) {
			return -EUCLEAN;
		}
		header_length = get_le16(data);
		if (header_length < VAT_HEADER_LEN || header_length > length) {
			return -EUCLEAN;
		}
		*start = header_length;
		*end = length;
		return 0;
	}
	if (length < VAT_150_TRAILER_LEN) {
		return -EUCLEAN;
	}
	udf_decode_regid(data + length - VAT_150_TRAILER_LEN, &regid);
	if (!udf_regid_is(&regid, VAT_150_IDENTIFIER)) {
		return -EUCLEAN;
	}
	*start = 0;
	*end = length - VAT_150_TRAILER_LEN;
	return 0;
}

static int vat_take(struct udf_mapped *mapped, const struct udf_icb *icb)
{
	uint8_t *data = NULL;
	uint64_t start = 0;
	uint64_t end = 0;
	uint32_t i = 0;
	int ret = 0;

	ret = vat_read_file(mapped->physical, icb, &data);
	if (ret < 0) {
		return ret;
	}
	ret = vat_find_table(icb, data, icb->information_length, &start, &end);
	if (ret == 0 && (end - start) / 4 == 0) {
		ret = -EUCLEAN;
	}
	if (ret == 0) {
		mapped->blocks = (uint32_t)((end - start) / 4);
		mapped->vat = calloc(mapped->blocks, sizeof(*mapped->vat));
		ret = mapped->vat == NULL ? -ENOMEM : 0;
	}
	for (i = 0; ret == 0 && i < mapped->blocks; i++) {
		mapped->vat[i] = get_le32(data + start + 4 * (uint64_t)i);
	}
	free(data);
	return ret;
}

/* Is there a VAT's ICB in this block of the partition? */
static bool vat_try(struct udf_mapped *mapped, uint32_t lbn, uint8_t *block)
{
	struct udf_partition *physical = mapped->physical;
	struct udf_icb icb = { .unique_id = 0 };
	uint32_t size = physical->block_size;

	if (udf_partition_read(physical, lbn, 1, block) < 0 ||
	    decode_icb(block, size, lbn, &icb) < 0) {
		return false;
	}
	/* 1.50 has no file type for it. */
	if (icb.icbtag.file_type != UDF_FT_VAT && icb.icbtag.file_type != 0) {
		return false;
	}
	return vat_take(mapped, &icb) == 0;
}

int udf_mapped_open_virtual(struct udf_partition *physical,
			    uint32_t volume_blocks, struct udf_mapped **_mapped)
{
	struct udf_mapped *mapped = NULL;
	uint8_t *block = NULL;
	uint32_t last = 0;
	uint32_t i = 0;
	bool found = false;

	if (volume_blocks <= physical->start) {
		return -EUCLEAN;
	}
	/* The medium may end before the partition does. */
	last = volume_blocks - physical->start;
	if (last > physical->blocks) {
		last = physical->blocks;
	}
	mapped = calloc(1, sizeof(*mapped));
	block = malloc(physical->block_size);
	if (mapped == NULL || block == NULL) {
		free(mapped);
		free(block);
		return -ENOMEM;
	}
	mapped->physical = physical;
	for (i = 0; i < VAT_SEARCH_BLOCKS && i < last && !found; i++) {
		found = vat_try(mapped, last - 1 - i, block);
	}
	free(block);
	if (!found) {
		udf_log(physical->log, UDF_LOG_ERROR,
			"no virtual allocation table in the last %u blocks: "
			"the medium was not finished, or the image is cut "
			"short",
			i);
		udf_mapped_free(mapped);
		return -EUCLEAN;
	}
	*_mapped = mapped;
	return 0;
}

void udf_mapped_free(struct udf_mapped *mapped)
{
	if (mapped == NULL) {
		return;
	}
	metadata_file_free(&mapped->main);
	metadata_file_free(&mapped->mirror);
	metadata_file_free(&mapped->bitmap);
	free(mapped->vat);
	free(mapped);
}

uint32_t udf_mapped_blocks(const struct udf_mapped *mapped)
{
	return mapped->blocks;
}

static int virtual_read(const struct udf_mapped *mapped, uint32_t block,
			void *buf)
{
	uint32_t lbn = mapped->vat[block];

	if (lbn == VAT_UNUSED || lbn >= mapped->physical->blocks) {
		return -EIO;
	}
	return udf_partition_read(mapped->physical, lbn, 1, buf);
}

/* The lbn of a block of a file; UINT32_MAX: it has none. */
static uint32_t table_lbn(const struct run_table *table, uint32_t block)
{
	const struct run *run = run_table_find(table, block);

	return run == NULL ? UINT32_MAX : run->lbn + (block - run->block);
}

unsigned int udf_mapped_places(const struct udf_mapped *mapped, uint32_t block,
			       uint32_t places[2])
{
	uint32_t main = table_lbn(&mapped->main.data, block);
	uint32_t mirror = table_lbn(&mapped->mirror.data, block);
	unsigned int count = 0;

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

uint32_t udf_mapped_block_at(const struct udf_mapped *mapped, uint32_t lbn)
{
	const struct run_table *tables[2] = {
		&mapped->main.data,
		&mapped->mirror.data,
	};

	for (size_t t = 0; t < 2; t++) {
		for (size_t i = 0; i < tables[t]->count; i++) {
			const struct run *run = &tables[t]->runs[i];

			if (lbn >= run->lbn && lbn - run->lbn < run->count) {
				return run->block + (lbn - run->lbn);
			}
		}
	}
	return UINT32_MAX;
}

static int metadata_read(const struct udf_mapped *mapped, uint32_t block,
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

static bool in_mapped(const struct udf_mapped *mapped, uint32_t block,
		      uint32_t count)
{
	return count <= mapped->blocks && block <= mapped->blocks - count;
}

int udf_mapped_read(const struct udf_mapped *mapped, uint32_t block,
		    uint32_t count, void *buf)
{
	uint32_t size = mapped->physical->block_size;
	uint8_t *p = buf;
	uint32_t i = 0;
	int ret = 0;

	if (!in_mapped(mapped, block, count)) {
		return -EUCLEAN;
	}
	/* Metadata is small: blocks one by one are fast enough. */
	for (i = 0; i < count && ret == 0; i++) {
		void *to = p + (size_t)i * size;

		if (mapped->vat != NULL) {
			ret = virtual_read(mapped, block + i, to);
		} else {
			ret = metadata_read(mapped, block + i, to);
		}
	}
	return ret;
}

/* Blocks of one file, run by run. */
static int table_write(const struct udf_mapped *mapped,
		       const struct run_table *table, uint32_t block,
		       uint32_t count, const uint8_t *buf, bool unmanaged)
{
	uint32_t size = mapped->physical->block_size;

	while (count > 0) {
		const struct run *run = run_table_find(table, block);
		uint32_t part = 0;
		int ret = 0;

		if (run == NULL) {
			return -EIO;
		}
		part = run->count - (block - run->block);
		part = part < count ? part : count;
		ret = udf_partition_write(mapped->physical,
					  run->lbn + (block - run->block),
					  part, buf, unmanaged);
		if (ret != 0) {
			return ret;
		}
		block += part;
		count -= part;
		buf += (size_t)part * size;
	}
	return 0;
}

int udf_mapped_write(const struct udf_mapped *mapped, uint32_t block,
		     uint32_t count, const void *buf, bool unmanaged)
{
	int mirror_ret = 0;
	int ret = 0;

	if (!in_mapped(mapped, block, count)) {
		return -EUCLEAN;
	}
	ret = table_write(mapped, &mapped->main.data, block, count, buf,
			  unmanaged);
	if (mapped->duplicate) {
		mirror_ret = table_write(mapped, &mapped->mirror.data, block,
					 count, buf, unmanaged);
	}
	return ret != 0 ? ret : mirror_ret;
}

void udf_mapped_forget(const struct udf_mapped *mapped, uint32_t block,
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

uint32_t udf_mapped_bitmap_bytes(const struct udf_mapped *mapped)
{
	uint64_t room = (uint64_t)mapped->bitmap.data.blocks *
			mapped->physical->block_size;
	uint64_t size = mapped->bitmap.size < room ? mapped->bitmap.size : room;

	return size < UINT32_MAX ? (uint32_t)size : UINT32_MAX;
}

uint32_t udf_mapped_bitmap_lbn(const struct udf_mapped *mapped, uint32_t i)
{
	return table_lbn(&mapped->bitmap.data, i);
}

static int file_each_run(const struct metadata_file *file, const char *name,
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

int udf_mapped_each_run(const struct udf_mapped *mapped,
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
static bool tables_same(const struct run_table *a, const struct run_table *b)
{
	if (a->blocks != b->blocks) {
		return false;
	}
	for (size_t i = 0; i < a->count; i++) {
		const struct run *run = &a->runs[i];

		for (uint32_t k = 0; k < run->count; k++) {
			if (table_lbn(b, run->block + k) != run->lbn + k) {
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

static int any_overlap(const struct udf_mapped *mapped, bool *found)
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
static const char *file_fault(const struct udf_mapped *mapped,
			      const struct metadata_file *file)
{
	uint64_t bytes = (uint64_t)file->data.blocks *
			 mapped->physical->block_size;

	if (file->error != 0) {
		return "cannot be read";
	}
	if (file->strategy != 4) {
		return "has an ICB for write-once media";
	}
	if (file->size > bytes) {
		return "is shorter than it says";
	}
	return NULL;
}

int udf_mapped_judge(const struct udf_mapped *mapped, bool *can_write,
		     char *text, size_t len)
{
	static const char *const names[3] = {
		"metadata file", "metadata mirror file", "metadata bitmap file",
	};
	const struct metadata_file *files[3] = {
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
	if (mapped->main.data.blocks != mapped->mirror.data.blocks) {
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

static bool is_descriptor(uint32_t block, const uint8_t *bytes, uint32_t size)
{
	struct udf_tag tag = { .id = 0 };

	return decode_tag(bytes, size, &tag) == 0 &&
	       check_tag(bytes, size, tag.id, block, NULL) == 0;
}

/*
 * Of two that differ: is the first no descriptor, but the second, behind it,
 * one of that block? Else the first is newer, as it is written first.
 */
static bool is_worse(uint32_t block, const uint8_t *bytes, uint32_t size)
{
	return !is_descriptor(block, bytes, size) &&
	       is_descriptor(block, bytes + size, size);
}

int udf_mapped_compare(const struct udf_mapped *mapped, const uint8_t *used,
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
		uint32_t main = table_lbn(&mapped->main.data, block);
		uint32_t mirror = table_lbn(&mapped->mirror.data, block);
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
