/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Mapped partitions: what both kinds have, and the virtual one; see mapped.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "mapped_data.h"

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

int udf_run_table_add(struct udf_run_table *table, uint32_t lbn, uint32_t count)
{
	struct udf_file_run *runs = NULL;

	runs = reallocarray(table->runs, table->count + 1, sizeof(*runs));
	if (runs == NULL) {
		return -ENOMEM;
	}
	table->runs = runs;
	runs[table->count] = (struct udf_file_run){
		.block = table->blocks,
		.count = count,
		.lbn = lbn,
	};
	table->count++;
	table->blocks += count;
	return 0;
}

const struct udf_file_run *udf_run_table_find(const struct udf_run_table *table,
					uint32_t block)
{
	size_t low = 0;
	size_t high = table->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct udf_file_run *run = &table->runs[middle];

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
	struct udf_run_table *table;
	struct udf_run_table *aeds; /* NULL: not wanted */
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
	return udf_run_table_add(file->table, ad->addr.block, count);
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

int udf_file_runs(struct udf_partition *physical, const struct udf_icb *icb,
		     struct udf_run_table *table, struct udf_run_table *aeds)
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
			ret = udf_run_table_add(aeds, lbn, 1);
		}
	}
	free(block);
	return ret;
}

uint32_t udf_run_table_lbn(const struct udf_run_table *table, uint32_t block)
{
	const struct udf_file_run *run = udf_run_table_find(table, block);

	return run == NULL ? UINT32_MAX : run->lbn + (block - run->block);
}

/* The bytes of the VAT's file; free() them. */
static int vat_read_file(struct udf_partition *physical,
			 const struct udf_icb *icb, uint8_t **_data)
{
	struct udf_run_table table = { .runs = NULL };
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

	ret = udf_file_runs(physical, icb, &table, NULL);
	if (ret == 0 && (uint64_t)table.blocks * size < length) {
		ret = -EUCLEAN;
	}
	if (ret == 0) {
		data = malloc((size_t)table.blocks * size + 1);
		ret = data == NULL ? -ENOMEM : 0;
	}
	for (i = 0; i < table.count && ret == 0; i++) {
		const struct udf_file_run *run = &table.runs[i];

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
	pthread_rwlock_init(&mapped->lock, NULL);
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
	udf_metadata_file_free(&mapped->main);
	udf_metadata_file_free(&mapped->mirror);
	udf_metadata_file_free(&mapped->bitmap);
	free(mapped->vat);
	pthread_rwlock_destroy(&mapped->lock);
	free(mapped);
}

uint32_t udf_mapped_blocks(struct udf_mapped *mapped)
{
	uint32_t blocks = 0;

	pthread_rwlock_rdlock(&mapped->lock);
	blocks = mapped->blocks;
	pthread_rwlock_unlock(&mapped->lock);
	return blocks;
}

static int virtual_read(struct udf_mapped *mapped, uint32_t block,
			void *buf)
{
	uint32_t lbn = mapped->vat[block];

	if (lbn == VAT_UNUSED || lbn >= mapped->physical->blocks) {
		return -EIO;
	}
	return udf_partition_read(mapped->physical, lbn, 1, buf);
}

bool udf_mapped_has(struct udf_mapped *mapped, uint32_t block,
		      uint32_t count)
{
	uint32_t blocks = udf_mapped_blocks(mapped);

	return count <= blocks && block <= blocks - count;
}

int udf_mapped_read(struct udf_mapped *mapped, uint32_t block,
		    uint32_t count, void *buf)
{
	uint32_t size = mapped->physical->block_size;
	uint8_t *p = buf;
	uint32_t i = 0;
	int ret = 0;

	if (!udf_mapped_has(mapped, block, count)) {
		return -EUCLEAN;
	}
	/* Metadata is small: blocks one by one are fast enough. */
	for (i = 0; i < count && ret == 0; i++) {
		void *to = p + (size_t)i * size;

		if (mapped->vat != NULL) {
			ret = virtual_read(mapped, block + i, to);
		} else {
			ret = udf_metadata_read(mapped, block + i, to);
		}
	}
	return ret;
}
