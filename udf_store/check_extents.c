/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Checking the extents of a file: its allocation descriptors of any form, the
 * AEDs that continue them (ECMA-167 4/14.14, 4/14.5), and its size.
 *
 * No file can have more blocks than the partition, which bounds every chain.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "check_tree.h"
#include "ecma167.h"

#define FILE_BYTES_MAX (UINT64_C(8) << 40) /* as the engine's */

static int extents_add(struct extents *extents, const struct extent *extent)
{
	struct extent *list = udf_array_grow(extents->list, extents->count,
					     &extents->capacity, sizeof(*list));

	if (list == NULL) {
		return -ENOMEM;
	}
	extents->list = list;
	extents->list[extents->count] = *extent;
	extents->count++;
	return 0;
}

/* One allocation descriptor. -EUCLEAN: it leads nowhere. */
static int take_ad(struct tree *tree, struct extents *extents,
		   const struct udf_ad *ad)
{
	const struct udf_volume_info *info = tree->check->info;
	struct extent extent = { .type = ad->type, .bytes = ad->length };
	int ret = 0;

	if (ad->type == UDF_EXTENT_NEXT) {
		extents->ended = true;
		extents->has_next = ad->length > 0;
		if (!extents->has_next) {
			return 0;
		}
		return udf_volume_address(info, &ad->addr, 1,
					  &extents->next_aed);
	}
	if (ad->length == 0) {
		extents->ended = true;
		return 0;
	}
	extent.count = ad->length / info->block_size +
		       (ad->length % info->block_size != 0);
	if (ad->type != UDF_EXTENT_HOLE) {
		ret = udf_volume_address(info, &ad->addr, extent.count,
					 &extent.lbn);
		if (ret < 0) {
			return ret;
		}
		extents->blocks += extent.count;
		if (extents->blocks > info->address_blocks) {
			return -EUCLEAN;
		}
	}
	if (extents->bytes > (uint64_t)INT64_MAX - ad->length) {
		return -EUCLEAN;
	}
	extents->bytes += ad->length;
	return extents_add(extents, &extent);
}

static int take_ads(struct tree *tree, struct extents *extents,
		    enum udf_ad_form form, uint16_t partition,
		    const uint8_t *ads, size_t length)
{
	size_t offset = 0;

	extents->ended = false;
	extents->has_next = false;
	while (!extents->ended && length - offset >= udf_ad_size(form)) {
		struct udf_ad ad = { .length = 0 };
		int ret = decode_ad(&ads[offset], length - offset, form,
				    partition, &ad);

		if (ret < 0) {
			return ret;
		}
		offset += (size_t)ret;
		ret = take_ad(tree, extents, &ad);
		if (ret < 0) {
			return ret;
		}
	}
	return 0;
}

void tree_free_extents(struct extents *extents)
{
	free(extents->list);
	udf_run_list_free(&extents->aeds);
	udf_run_list_free(&extents->mended);
	*extents = (struct extents){ .list = NULL };
}

/*
 * The AED that continues a file's extents, which previous leads to. -EUCLEAN:
 * there is none; -EIO, -ENOMEM.
 */
static int read_aed(struct tree *tree, struct extents *extents,
		    enum udf_ad_form form, uint32_t previous, uint8_t *block,
		    struct udf_aed *aed)
{
	const struct udf_volume_info *info = tree->check->info;
	uint32_t at = extents->next_aed;
	uint32_t location = udf_volume_location(info, at).block;
	int ret = udf_volume_read(tree->check->volume, at, 1, block);

	if (ret == 0) {
		ret = decode_aed(block, info->block_size, location, aed);
	}
	if (ret == -EUCLEAN && extents->mend &&
	    tree_mend_aed(tree, at, previous, form, block)) {
		ret = udf_run_list_add(&extents->mended, at, 1);
		if (ret == 0) {
			ret = decode_aed(block, info->block_size, location,
					 aed);
		}
	}
	if (ret == 0) {
		ret = udf_run_list_add(&extents->aeds, at, 1);
	}
	return ret;
}

int tree_take_ads(struct tree *tree, uint32_t lbn, const struct udf_icb *icb,
		  struct extents *extents)
{
	const struct udf_volume_info *info = tree->check->info;
	const uint16_t partition = udf_volume_location(info, lbn).partition;
	enum udf_ad_form form = icb->icbtag.flags & UDF_ICB_AD_MASK;
	uint32_t previous = lbn;
	uint8_t *block = NULL;
	uint32_t steps = 0;
	int ret = 0;

	if (udf_ad_size(form) == 0) {
		return -EUCLEAN;
	}
	ret = take_ads(tree, extents, form, partition, icb->ads,
		       icb->ad_length);
	if (ret < 0 || !extents->has_next) {
		return ret;
	}
	block = malloc(info->block_size);
	if (block == NULL) {
		return -ENOMEM;
	}
	while (ret == 0 && extents->has_next) {
		struct udf_aed aed = { .ad_length = 0 };
		uint32_t at = extents->next_aed;

		if (steps == info->address_blocks) {
			/* A circle. */
			ret = -EUCLEAN;
			break;
		}
		steps++;
		ret = read_aed(tree, extents, form, previous, block, &aed);
		if (ret == 0) {
			ret = take_ads(tree, extents, form, partition, aed.ads,
				       aed.ad_length);
		}
		previous = at;
	}
	free(block);
	return ret;
}

/* The last finding, about a file's extents: cut it, or let it have a hole. */
static void fix_extents(struct tree *tree, size_t index, uint64_t recorded,
			uint64_t size)
{
	const struct udf_repair_step step = {
		.action = UDF_REPAIR_EXTENTS,
		.lbn = tree->nodes[index].lbn,
		.offset = size,
	};

	udf_check_fix(tree->check, &step, 0, tree_path(tree, index),
		      size > recorded
			      ? "behind its byte %llu it gets a hole, which "
				"reads as zeroes"
			      : "it is cut to the %llu bytes that can be "
				"reached: what follows them is lost",
		      (unsigned long long)recorded);
}

/* An AED with other checksums is written. The last finding is about it. */
static void fix_aed(struct tree *tree, size_t index, uint32_t lbn)
{
	const struct udf_volume_info *info = tree->check->info;
	struct udf_repair_step step = {
		.action = UDF_REPAIR_WRITE,
		.lbn = lbn,
		.bytes = tree->block,
	};

	if (udf_volume_read(tree->check->volume, lbn, 1, tree->block) == 0 &&
	    mend_tag(tree->block, info->block_size, UDF_TAG_AED,
		     udf_volume_location(info, lbn).block) == 0) {
		udf_check_fix(tree->check, &step, info->block_size,
			      tree_path(tree, index),
			      "the allocation descriptors in block %u get new "
			      "checksums, as they agree with its ICB and its "
			      "size",
			      lbn);
	}
}

/*
 * AEDs of which only the checksums are wrong: extents are those that they lead
 * to then. -EUCLEAN: there is more wrong, and extents are as they were. -EIO,
 * -ENOMEM.
 */
static int mend_aeds(struct tree *tree, size_t index, const struct udf_icb *icb,
		     struct extents *extents)
{
	struct node *node = &tree->nodes[index];
	struct extents mended = { .mend = true };
	size_t i = 0;
	int ret = tree_take_ads(tree, node->lbn, icb, &mended);

	if (ret < 0 || mended.mended.count == 0 ||
	    !tree_extents_agree(tree, icb, &mended)) {
		tree_free_extents(&mended);
		return ret < 0 ? ret : -EUCLEAN;
	}
	node->aeds_mended = true;
	for (i = 0; i < mended.mended.count; i++) {
		const struct udf_run *run = &mended.mended.runs[i];
		uint32_t k = 0;

		for (k = 0; k < run->count; k++) {
			udf_check_found(tree->check, UDF_FINDING_EXTENT,
					UDF_FINDING_ERROR,
					tree_path(tree, index), run->lbn + k,
					"the checksums of its allocation "
					"descriptors in block %u are wrong, "
					"and nothing else of them seems to be",
					run->lbn + k);
			fix_aed(tree, index, run->lbn + k);
		}
	}
	tree_free_extents(extents);
	*extents = mended;
	return 0;
}

/* It is longer than its extents: the bytes that a repair leaves it. */
static uint64_t size_without_extents(const struct node *node,
				     uint64_t recorded, uint64_t size)
{
	/* A directory has no holes, and no hole is that long. */
	if (node->is_directory || size > FILE_BYTES_MAX) {
		return recorded;
	}
	return size;
}

/* What a file's size and its extents say of each other. */
static void check_size(struct tree *tree, size_t index,
		       const struct udf_icb *icb,
		       const struct extents *extents)
{
	uint32_t block_size = tree->check->info->block_size;
	uint64_t size = icb->information_length;
	uint64_t at = 0;
	size_t i = 0;

	for (i = 0; i < extents->count; i++) {
		const struct extent *e = &extents->list[i];

		if (at < size && at % block_size != 0) {
			tree_found(tree, UDF_FINDING_EXTENT, UDF_FINDING_ERROR,
			      index,
			      "an extent before the last is not whole blocks");
			tree->nodes[index].cut_at = at;
			fix_extents(tree, index, at, at);
			return;
		}
		if (at >= size && e->type != UDF_EXTENT_ALLOCATED) {
			tree_found(tree, UDF_FINDING_EXTENT, UDF_FINDING_NOTE,
			      index,
			      "extents behind the end of the file are "
			      "recorded, or holes");
			return;
		}
		at += e->bytes;
	}
	if (at < size) {
		udf_check_found(tree->check, UDF_FINDING_EXTENT,
				UDF_FINDING_ERROR, tree_path(tree, index),
				tree->nodes[index].lbn,
				"it is %llu bytes long, but its extents have "
				"only %llu",
				(unsigned long long)size,
				(unsigned long long)at);
		tree->nodes[index].cut_at = at;
		fix_extents(tree, index, at,
			    size_without_extents(&tree->nodes[index], at,
						 size));
	}
}

int tree_extents(struct tree *tree, size_t index, const struct udf_icb *icb,
		 struct extents *extents)
{
	struct node *node = &tree->nodes[index];
	const char *path = NULL;
	size_t i = 0;
	int ret = 0;

	if ((icb->icbtag.flags & UDF_ICB_AD_MASK) == UDF_AD_IN_ICB) {
		if (icb->information_length > icb->ad_length) {
			tree_found(tree, UDF_FINDING_EXTENT, UDF_FINDING_ERROR,
			      index,
			      "its data does not fit its ICB, in which it is");
			node->cut_at = icb->ad_length;
			fix_extents(tree, index, node->cut_at, node->cut_at);
		}
		return 0;
	}
	ret = tree_take_ads(tree, node->lbn, icb, extents);
	if (ret == -EUCLEAN) {
		ret = mend_aeds(tree, index, icb, extents);
	}
	path = tree_path(tree, index);
	for (i = 0; i < extents->aeds.count; i++) {
		udf_check_use(tree->check, extents->aeds.runs[i].lbn,
			      extents->aeds.runs[i].count);
	}
	for (i = 0; i < extents->count; i++) {
		const struct extent *e = &extents->list[i];

		if (e->type == UDF_EXTENT_HOLE) {
			continue;
		}
		udf_check_use(tree->check, e->lbn, e->count);
		if (tree_is_defects(tree, index)) {
			udf_check_spares_cover(tree->check, e->lbn, e->count);
		}
	}
	if (ret == -ENOMEM) {
		return ret;
	}
	if (ret < 0) {
		udf_check_found(tree->check, UDF_FINDING_EXTENT,
				UDF_FINDING_ERROR, path, node->lbn,
				"its allocation descriptors %s",
				ret == -EUCLEAN
					? "lead outside the partition, or in "
					  "a circle, or are damaged"
					: "cannot be read");
	}
	if (ret == -EUCLEAN) {
		node->cut_at = extents->bytes;
		fix_extents(tree, index, extents->bytes, extents->bytes);
		return 0;
	}
	if (ret < 0) {
		return ret;
	}
	check_size(tree, index, icb, extents);
	return 0;
}
