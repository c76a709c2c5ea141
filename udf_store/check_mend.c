/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * An ICB, or an AED, of which only the tag's checksum or CRC is wrong, for the
 * check of the tree (check_tree.h).
 *
 * It may get new checksums only when every field that something else can tell
 * about agrees with that: so here much is refused that a reader would take. A
 * field that nothing else tells about (an owner, a time that is one) may still
 * be what was damaged.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "check_tree.h"

/* Where both kinds of ICB have their timestamps (ECMA-167 4/14.9, 4/14.17). */
static const size_t fe_times[] = {72, 84, 96};
static const size_t efe_times[] = {80, 92, 104, 116};

/* 15 bits are permissions (ECMA-167 4/14.9.5). */
#define PERMISSIONS_MAX 0x7FFFu
/* Bits 14 and 15 are reserved (4/14.6.8). */
#define ICB_FLAGS_MAX 0x3FFFu

static bool is_zero(const uint8_t *p, size_t length)
{
	size_t i = 0;

	for (i = 0; i < length; i++) {
		if (p[i] != 0) {
			return false;
		}
	}
	return true;
}

static bool times_are_valid(const uint8_t *block, uint16_t tag_id)
{
	const size_t *offsets = tag_id == UDF_TAG_FE ? fe_times : efe_times;
	size_t count = tag_id == UDF_TAG_FE
			       ? sizeof(fe_times) / sizeof(fe_times[0])
			       : sizeof(efe_times) / sizeof(efe_times[0]);
	struct timespec ts;
	size_t i = 0;

	for (i = 0; i < count; i++) {
		if (udf_decode_timestamp(block + offsets[i], &ts) < 0) {
			return false;
		}
	}
	return true;
}

/* "*" and letters, then zeroes (UDF 2.1.5). */
static bool regid_is_valid(const struct udf_regid *regid)
{
	size_t length = strlen(regid->identifier);
	size_t i = 0;

	if (regid->flags != 0 || length < 2 || regid->identifier[0] != '*') {
		return false;
	}
	for (i = 1; i < length; i++) {
		if (regid->identifier[i] < 0x20 ||
		    regid->identifier[i] > 0x7E) {
			return false;
		}
	}
	return is_zero((const uint8_t *)regid->identifier + length,
		       sizeof(regid->identifier) - length);
}

static bool type_is_valid(const struct udf_icb *icb)
{
	switch (icb->icbtag.file_type) {
	case UDF_FT_DIRECTORY:
	case UDF_FT_REGULAR:
	case UDF_FT_FIFO:
	case UDF_FT_SOCKET:
	case UDF_FT_SYMLINK:
		return icb->link_count > 0;
	case UDF_FT_STREAM_DIRECTORY:
		return true;
	default:
		return false;
	}
}

static bool tag_is_valid(const struct udf_icbtag *tag)
{
	return tag->prior_entries == 0 && tag->strategy == 4 &&
	       tag->strategy_parameter == 0 && tag->max_entries == 1 &&
	       tag->parent.block == 0 && tag->parent.partition == 0 &&
	       (tag->flags & ~ICB_FLAGS_MAX) == 0;
}

/* What does not depend on anything else than the block. */
static bool fields_are_valid(const struct tree *tree, const uint8_t *block,
			     const struct udf_icb *icb)
{
	size_t size = tree->check->info->block_size;
	size_t total = udf_icb_header_len(icb->tag.id) + icb->ea_length +
		       icb->ad_length;

	return icb->tag.version == tree->tag_version &&
	       icb->tag.crc_length == total - UDF_TAG_LEN &&
	       is_zero(block + total, size - total) &&
	       tag_is_valid(&icb->icbtag) && type_is_valid(icb) &&
	       icb->permissions <= PERMISSIONS_MAX &&
	       icb->record_format == 0 && icb->record_display == 0 &&
	       icb->record_length == 0 && icb->checkpoint == 1 &&
	       icb->ea_length == 0 && icb->ea_icb.length == 0 &&
	       icb->object_size >= icb->information_length &&
	       (icb->stream_dir_icb.length != 0 ||
		icb->object_size == icb->information_length) &&
	       times_are_valid(block, icb->tag.id) &&
	       regid_is_valid(&icb->implementation);
}

/* Blocks that the bitmap has as taken, and nothing was found to use so far. */
static bool blocks_are_its_own(const struct tree *tree, uint32_t lbn,
			       uint32_t count)
{
	const struct udf_check *check = tree->check;
	uint32_t i = 0;

	for (i = 0; i < count; i++) {
		if (!udf_check_bit(tree->taken, lbn + i) ||
		    udf_check_bit(check->used, lbn + i)) {
			return false;
		}
	}
	return true;
}

/* Does a file have no block twice? */
static bool blocks_are_once(const struct extents *extents)
{
	struct udf_run_list runs = { .runs = NULL };
	size_t i = 0;
	int ret = 0;

	for (i = 0; i < extents->count && ret == 0; i++) {
		const struct extent *e = &extents->list[i];

		if (e->type != UDF_EXTENT_HOLE) {
			ret = udf_run_list_add(&runs, e->lbn, e->count);
		}
	}
	for (i = 0; i < extents->aeds.count && ret == 0; i++) {
		ret = udf_run_list_add(&runs, extents->aeds.runs[i].lbn,
				       extents->aeds.runs[i].count);
	}
	udf_run_list_sort(&runs);
	for (i = 1; i < runs.count && ret == 0; i++) {
		const struct udf_run *run = &runs.runs[i - 1];

		if (runs.runs[i].lbn - run->lbn < run->count) {
			ret = -EUCLEAN;
		}
	}
	udf_run_list_free(&runs);
	return ret == 0;
}

bool tree_extents_agree(struct tree *tree, const struct udf_icb *icb,
			const struct extents *extents)
{
	uint32_t block_size = tree->check->info->block_size;
	uint64_t size = icb->information_length;
	uint64_t recorded = 0;
	uint64_t at = 0;
	size_t i = 0;

	if (tree_taken(tree) == NULL) {
		return false;
	}
	for (i = 0; i < extents->count; i++) {
		const struct extent *e = &extents->list[i];
		bool is_tail = at >= size;

		if ((is_tail && e->type != UDF_EXTENT_ALLOCATED) ||
		    (!is_tail && (at % block_size != 0 ||
				  e->bytes > size - at)) ||
		    (e->type != UDF_EXTENT_HOLE &&
		     !blocks_are_its_own(tree, e->lbn, e->count))) {
			return false;
		}
		recorded += e->type == UDF_EXTENT_RECORDED ? e->count : 0;
		at += e->bytes;
	}
	for (i = 0; i < extents->aeds.count; i++) {
		if (!blocks_are_its_own(tree, extents->aeds.runs[i].lbn,
					extents->aeds.runs[i].count)) {
			return false;
		}
	}
	return at >= size && icb->blocks_recorded == recorded &&
	       blocks_are_once(extents);
}

static bool data_is_valid(struct tree *tree, uint32_t lbn,
			  const struct udf_icb *icb)
{
	struct extents extents = { .list = NULL };
	bool valid = false;

	if ((icb->icbtag.flags & UDF_ICB_AD_MASK) == UDF_AD_IN_ICB) {
		return icb->information_length == icb->ad_length &&
		       icb->blocks_recorded == 0;
	}
	valid = tree_take_ads(tree, lbn, icb, &extents) == 0 &&
		tree_extents_agree(tree, icb, &extents);
	tree_free_extents(&extents);
	return valid;
}

/* Its streams have its unique id (UDF 3.3.5.1). */
static bool streams_are_valid(struct tree *tree, const struct udf_icb *icb)
{
	const struct udf_volume_info *info = tree->check->info;
	struct udf_icb streams = { .unique_id = 0 };
	uint8_t *block = NULL;
	uint32_t lbn = 0;
	bool valid = false;

	if (icb->stream_dir_icb.length == 0) {
		return true;
	}
	if (udf_volume_address(info, &icb->stream_dir_icb.addr, 1, &lbn) < 0) {
		return false;
	}
	block = malloc(info->block_size);
	valid = block != NULL &&
		udf_volume_read(tree->check->volume, lbn, 1, block) == 0 &&
		decode_icb(block, info->block_size,
			   udf_volume_location(info, lbn).block,
			   &streams) == 0 &&
		streams.icbtag.file_type == UDF_FT_STREAM_DIRECTORY &&
		streams.unique_id == icb->unique_id;
	free(block);
	return valid;
}

/* What the name, or what it is a part of, says of it. */
static bool agrees_with_way(const struct tree *tree, size_t index,
			    const struct udf_icb *icb)
{
	const struct node *node = &tree->nodes[index];
	bool is_directory = icb->icbtag.file_type == UDF_FT_DIRECTORY;
	bool is_streams = icb->icbtag.file_type == UDF_FT_STREAM_DIRECTORY;
	struct udf_integrity integrity = { .closed = false };

	if (index == ROOT) {
		return is_directory && icb->unique_id == 0;
	}
	if (node->name == NULL) {
		return is_streams &&
		       icb->unique_id ==
			       (node->parent == NO_NODE
					? 0
					: tree->nodes[node->parent].unique_id);
	}
	if (node->in_stream_directory) {
		return !is_directory && !is_streams &&
		       (icb->icbtag.flags & UDF_ICB_STREAM) != 0 &&
		       icb->unique_id ==
			       tree->nodes[node->parent].unique_id;
	}
	udf_volume_get_integrity(tree->check->volume, &integrity);
	return is_directory == node->named_directory && !is_streams &&
	       (icb->icbtag.flags & UDF_ICB_STREAM) == 0 &&
	       icb->unique_id != 0 &&
	       (uint32_t)icb->unique_id == node->named_unique_id &&
	       (!integrity.found ||
		icb->unique_id < integrity.next_unique_id);
}

const uint8_t *tree_taken(struct tree *tree)
{
	if (tree->taken == NULL) {
		tree->taken = udf_check_taken(tree->check);
	}
	if (tree->taken == NULL) {
		tree->check->no_memory = true;
	}
	return tree->taken;
}

bool tree_mend_icb(struct tree *tree, size_t index, uint8_t *block)
{
	const struct udf_volume_info *info = tree->check->info;
	uint32_t lbn = tree->nodes[index].lbn;
	uint32_t location = udf_volume_location(info, lbn).block;
	struct udf_icb icb = { .unique_id = 0 };

	if (tree_taken(tree) == NULL) {
		return false;
	}
	if (mend_tag(block, info->block_size, get_le16(block), location) < 0 ||
	    decode_icb(block, info->block_size, location, &icb) < 0) {
		return false;
	}
	/* Its own block is among the used ones already. */
	return udf_check_bit(tree->taken, lbn) &&
	       fields_are_valid(tree, block, &icb) &&
	       agrees_with_way(tree, index, &icb) &&
	       data_is_valid(tree, lbn, &icb) && streams_are_valid(tree, &icb);
}

bool tree_mend_aed(const struct tree *tree, uint32_t lbn, uint32_t previous,
		   enum udf_ad_form form, uint8_t *block)
{
	const struct udf_volume_info *info = tree->check->info;
	struct udf_aed aed = { .ad_length = 0 };
	uint32_t location = udf_volume_location(info, lbn).block;
	size_t total = 0;

	if (mend_tag(block, info->block_size, UDF_TAG_AED, location) < 0 ||
	    decode_aed(block, info->block_size, location, &aed) < 0) {
		return false;
	}
	total = UDF_AED_LEN + aed.ad_length;
	return aed.tag.version == tree->tag_version &&
	       aed.tag.crc_length == total - UDF_TAG_LEN &&
	       aed.ad_length % udf_ad_size(form) == 0 &&
	       (aed.previous_extent == 0 ||
		aed.previous_extent ==
			udf_volume_location(info, previous).block) &&
	       is_zero(block + total, info->block_size - total);
}
