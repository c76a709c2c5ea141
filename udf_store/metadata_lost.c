/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A file of a metadata partition whose ICB is lost (UDF 2.60 2.2.13): see
 * mapped.h, and metadata_restore.c for where its blocks come from.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mapped_data.h"

static const char *const names[UDF_METADATA_PARTS] = {
	"metadata file",
	"metadata mirror file",
	"metadata bitmap file",
};

static const uint8_t types[UDF_METADATA_PARTS] = {
	UDF_FT_METADATA,
	UDF_FT_METADATA_MIRROR,
	UDF_FT_METADATA_BITMAP,
};

static struct udf_metadata_file *file_of(struct udf_mapped *mapped,
					 enum udf_metadata_part part)
{
	switch (part) {
	case UDF_METADATA_MAIN:
		return &mapped->main;
	case UDF_METADATA_MIRROR:
		return &mapped->mirror;
	default:
		return &mapped->bitmap;
	}
}

/* The one whose ICB tells what the other one's was. */
static const struct udf_metadata_file *
other_of(const struct udf_mapped *mapped, enum udf_metadata_part part)
{
	return part == UDF_METADATA_MIRROR ? &mapped->main : &mapped->mirror;
}

/* An ICB without blocks, in the manner of a good one. */
static int make_icb(struct udf_mapped *mapped,
		    const struct udf_metadata_file *like,
		    enum udf_metadata_part part, struct udf_metadata_file *file)
{
	uint32_t size = mapped->physical->block_size;
	struct udf_icb icb = { .unique_id = 0 };
	int ret = decode_icb(like->block, size, like->icb, &icb);

	if (ret < 0) {
		return ret;
	}
	file->block = calloc(1, size);
	if (file->block == NULL) {
		return -ENOMEM;
	}
	icb.tag.location = file->icb;
	icb.icbtag.file_type = types[part];
	icb.information_length = 0;
	icb.object_size = 0;
	icb.blocks_recorded = 0;
	icb.ea_length = 0;
	icb.ad_length = 0;
	ret = encode_icb(&icb, file->block, size);
	file->strategy = icb.icbtag.strategy;
	return ret < 0 ? ret : 0;
}

static int copy_table(const struct udf_run_table *from,
		      struct udf_run_table *to)
{
	int ret = 0;

	for (size_t i = 0; i < from->count && ret == 0; i++) {
		ret = udf_run_table_add(to, from->runs[i].lbn,
					from->runs[i].count);
	}
	return ret;
}

/* Do such blocks fit into the file's ICB? */
static int try_icb(const struct udf_mapped *mapped,
		   const struct udf_metadata_file *file,
		   const struct udf_run_table *data, uint64_t bytes)
{
	uint8_t *block = malloc(mapped->physical->block_size);
	int ret = -ENOMEM;

	if (block != NULL) {
		ret = udf_metadata_encode_file(mapped, file, data, bytes,
					       block);
	}
	free(block);
	return ret;
}

static int adopt(struct udf_mapped *mapped, enum udf_metadata_part part)
{
	struct udf_metadata_file *file = file_of(mapped, part);
	const struct udf_metadata_file *other = other_of(mapped, part);
	int ret = 0;

	if (other->block == NULL) {
		other = &mapped->main;
	}
	ret = make_icb(mapped, other, part, file);
	if (ret < 0) {
		return ret;
	}
	if (part == UDF_METADATA_BITMAP) {
		uint32_t bits = mapped->blocks;

		file->size = UDF_SPACE_BITMAP_LEN + bits / 8 + (bits % 8 != 0);
		file->wants_blocks = true;
	} else if (mapped->duplicate) {
		file->wants_blocks = true;
	} else {
		ret = copy_table(&other->data, &file->data);
		if (ret == 0) {
			file->size = other->size;
			ret = try_icb(mapped, file, &file->data, file->size);
		}
	}
	return ret;
}

void udf_mapped_adopt(struct udf_mapped *mapped, bool log)
{
	for (int part = 0; part < UDF_METADATA_PARTS; part++) {
		struct udf_metadata_file *file = file_of(mapped, part);
		int error = file->error;

		if (!file->icb_lost) {
			continue;
		}
		if (adopt(mapped, part) < 0) {
			udf_metadata_file_free(file);
			file->wants_blocks = false;
			continue;
		}
		file->error = 0;
		mapped->restored = true;
		if (log) {
			udf_log(mapped->physical->log, UDF_LOG_WARNING,
				"the ICB of the %s in block %u is lost (%s): "
				"it is made anew",
				names[part], file->icb, strerror(-error));
		}
	}
}

int udf_mapped_each_lost(struct udf_mapped *mapped, udf_mapped_visit_fn visit,
			 void *private_data)
{
	int ret = 0;

	for (int part = 0; part < UDF_METADATA_PARTS && ret == 0; part++) {
		const struct udf_metadata_file *file = file_of(mapped, part);

		if (file->icb_lost && file->error == 0) {
			ret = visit(private_data, names[part], file->icb, 1);
		}
	}
	return ret;
}

bool udf_mapped_was_restored(const struct udf_mapped *mapped)
{
	return mapped->restored;
}

uint32_t udf_mapped_wants(struct udf_mapped *mapped,
			  enum udf_metadata_part part)
{
	const struct udf_metadata_file *file = file_of(mapped, part);
	uint32_t size = mapped->physical->block_size;

	if (!file->wants_blocks) {
		return 0;
	}
	if (part != UDF_METADATA_BITMAP) {
		return mapped->blocks;
	}
	return (uint32_t)((file->size + size - 1) / size);
}

/* Blocks in use from the other file, which is the only one that has them. */
static int copy_blocks(struct udf_mapped *mapped,
		       const struct udf_run_table *to, const uint8_t *used)
{
	uint8_t *buf = malloc(mapped->physical->block_size);
	int ret = buf == NULL ? -ENOMEM : 0;

	for (uint32_t block = 0; block < to->blocks && ret == 0; block++) {
		if (((used[block / 8] >> (block % 8)) & 1) == 0) {
			continue;
		}
		ret = udf_metadata_read(mapped, block, buf);
		if (ret == 0) {
			ret = udf_partition_write(mapped->physical,
						  udf_run_table_lbn(to, block),
						  1, buf, false);
		}
	}
	free(buf);
	if (ret == 0) {
		ret = udf_partition_sync(mapped->physical, NULL);
	}
	return ret;
}

int udf_mapped_restore(struct udf_mapped *mapped, enum udf_metadata_part part,
		       const struct udf_run_list *runs, const uint8_t *used)
{
	struct udf_metadata_file *file = file_of(mapped, part);
	struct udf_run_table table = { .runs = NULL };
	uint64_t bytes = file->size;
	int ret = 0;

	for (size_t i = 0; i < runs->count && ret == 0; i++) {
		ret = udf_run_table_add(&table, runs->runs[i].lbn,
					runs->runs[i].count);
	}
	if (part != UDF_METADATA_BITMAP) {
		bytes = (uint64_t)table.blocks * mapped->physical->block_size;
	}
	if (ret == 0) {
		ret = try_icb(mapped, file, &table, bytes);
	}
	if (ret == 0 && part != UDF_METADATA_BITMAP) {
		ret = copy_blocks(mapped, &table, used);
	}
	if (ret < 0) {
		free(table.runs);
		return ret;
	}
	pthread_rwlock_wrlock(&mapped->lock);
	file->data = table;
	file->size = bytes;
	file->wants_blocks = false;
	pthread_rwlock_unlock(&mapped->lock);
	return 0;
}

/* The block is read from the medium, and not from what we have in memory. */
static int read_medium(struct udf_partition *physical, uint32_t lbn,
		       uint8_t *buf)
{
	uint32_t run = 0;
	uint32_t block = 0;
	int ret = 0;

	pthread_rwlock_rdlock(&physical->map_lock);
	block = udf_partition_map(physical, lbn, 1, &run);
	ret = udf_blockdev_read_medium(physical->dev,
				       (uint64_t)block * physical->block_size,
				       buf, physical->block_size);
	pthread_rwlock_unlock(&physical->map_lock);
	return ret;
}

int udf_mapped_confirm(struct udf_mapped *mapped)
{
	uint32_t size = mapped->physical->block_size;
	uint8_t *buf = udf_blockdev_alloc(size);
	int ret = buf == NULL ? -ENOMEM : 0;

	for (int part = 0; part < UDF_METADATA_PARTS && ret == 0; part++) {
		uint32_t lbn = file_of(mapped, part)->icb;
		struct udf_icb icb = { .unique_id = 0 };

		ret = read_medium(mapped->physical, lbn, buf);
		if (ret == 0) {
			ret = decode_icb(buf, size, lbn, &icb);
		}
		if (ret == 0 && icb.icbtag.file_type != types[part]) {
			ret = -EUCLEAN;
		}
	}
	free(buf);
	return ret;
}
