/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A node's metadata from and to the medium: the ICB (ECMA-167 4/14.9 and
 * 4/14.17), its allocation descriptors of any form, and the AEDs (4/14.5)
 * that continue them. Tolerant in reading; what we write is strategy 4 with
 * embedded data or short allocation descriptors, or long ones where the data
 * is in another partition than the ICB.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "node.h"
#include "state.h"

/* Strategy 4096: more indirections than any write-once disc has. */
#define INDIRECT_MAX 65536u

/* Descriptors that one udf_extent_map_set() can add, and the end of the file
 * within an extent. */
#define MAP_CHANGE_MAX 3u

#define INDIRECT_ICB_OFFSET (UDF_TAG_LEN + UDF_ICBTAG_LEN)

/* UDF permissions to mode bits: the same order, 5 bits apart. */
static mode_t mode_from_icb(const struct udf_icb *icb)
{
	uint32_t p = icb->permissions;
	mode_t mode = 0;

	mode |= (p >> UDF_PERM_OTHER_SHIFT) & 07;
	mode |= ((p >> UDF_PERM_GROUP_SHIFT) & 07) << 3;
	mode |= ((p >> UDF_PERM_OWNER_SHIFT) & 07) << 6;
	if (icb->icbtag.flags & UDF_ICB_SETUID) {
		mode |= S_ISUID;
	}
	if (icb->icbtag.flags & UDF_ICB_SETGID) {
		mode |= S_ISGID;
	}
	if (icb->icbtag.flags & UDF_ICB_STICKY) {
		mode |= S_ISVTX;
	}
	return mode;
}

/*
 * Mode bits to UDF permissions. The two that POSIX lacks follow writing (UDF
 * 3.3.3.3); the owner may always change attributes.
 */
static uint32_t permissions_from_mode(mode_t mode)
{
	static const unsigned int shifts[3] = {
		UDF_PERM_OTHER_SHIFT,
		UDF_PERM_GROUP_SHIFT,
		UDF_PERM_OWNER_SHIFT,
	};
	uint32_t permissions = 0;

	for (unsigned int i = 0; i < 3; i++) {
		uint32_t bits = (mode >> (3 * i)) & 07;

		if (bits & UDF_PERM_WRITE) {
			bits |= UDF_PERM_CHATTR | UDF_PERM_DELETE;
		}
		permissions |= bits << shifts[i];
	}
	return permissions | UDF_PERM_CHATTR << UDF_PERM_OWNER_SHIFT;
}

static uint16_t flags_from_mode(uint16_t flags, mode_t mode)
{
	flags &= (uint16_t)~(UDF_ICB_SETUID | UDF_ICB_SETGID | UDF_ICB_STICKY);
	if (mode & S_ISUID) {
		flags |= UDF_ICB_SETUID;
	}
	if (mode & S_ISGID) {
		flags |= UDF_ICB_SETGID;
	}
	if (mode & S_ISVTX) {
		flags |= UDF_ICB_STICKY;
	}
	return flags;
}

/* Where the walk along the allocation descriptors is. */
struct ad_walk {
	const struct udf_volume_info *info;
	struct udf_node *node;
	uint64_t position; /* bytes of the file described so far */
	uint32_t next_aed; /* lbn; 0: no more */
	bool ended;
	size_t used; /* bytes of descriptors before the one that ended it */
};

/* One descriptor into the map. */
static int ad_add(struct ad_walk *walk, const struct udf_ad *ad)
{
	struct udf_node *node = walk->node;
	uint32_t block_size = walk->info->block_size;
	struct udf_extent extent = { .type = ad->type };

	if (ad->type == UDF_EXTENT_NEXT) {
		walk->ended = true;
		return udf_volume_address(walk->info, &ad->addr, 1,
					  &walk->next_aed);
	}
	if (ad->length == 0) {
		walk->ended = true;
		return 0;
	}
	/* Only the extent with the end of the file may be part of a block. */
	if (walk->position % block_size != 0) {
		if (walk->position < node->size) {
			return -EUCLEAN;
		}
		walk->position += block_size - walk->position % block_size;
	}
	extent.block = walk->position / block_size;
	extent.count = ((uint64_t)ad->length + block_size - 1) / block_size;
	if (ad->type != UDF_EXTENT_HOLE) {
		int ret = udf_volume_address(walk->info, &ad->addr,
					     (uint32_t)extent.count,
					     &extent.lbn);

		if (ret < 0) {
			return ret;
		}
	}
	if (walk->position > (uint64_t)INT64_MAX - ad->length) {
		return -EUCLEAN;
	}
	walk->position += ad->length;
	return udf_extent_map_set(&node->map, &extent);
}

static int ads_add(struct ad_walk *walk, enum udf_ad_form form,
		   const uint8_t *ads, size_t length)
{
	const struct udf_lb_addr icb =
		udf_volume_location(walk->info, walk->node->lbn);
	size_t offset = 0;

	walk->next_aed = 0;
	walk->ended = false;
	walk->used = 0;
	while (!walk->ended && length - offset >= udf_ad_size(form)) {
		struct udf_ad ad = { .length = 0 };
		/* A short one is about the partition that it is in. */
		int ret = decode_ad(&ads[offset], length - offset, form,
				    icb.partition, &ad);

		if (ret < 0) {
			return ret;
		}
		offset += (size_t)ret;
		ret = ad_add(walk, &ad);
		if (ret < 0) {
			return ret;
		}
		if (!walk->ended) {
			walk->used = offset;
		}
	}
	return 0;
}

void udf_node_forget_aeds(struct udf_node *node)
{
	free(node->chain.ads);
	node->chain = (struct udf_aed_chain){ .first = 0 };
}

void udf_node_aeds_stored(struct udf_node *node)
{
	node->chain.unsure = false;
}

/* What the next AED has. Without memory it is not known. */
static void chain_append(struct udf_aed_chain *chain, const uint8_t *ads,
			 size_t length)
{
	uint8_t *longer = realloc(chain->ads, chain->length + length + 1);

	if (longer == NULL) {
		free(chain->ads);
		*chain = (struct udf_aed_chain){ .first = 0 };
		return;
	}
	memcpy(&longer[chain->length], ads, length);
	chain->ads = longer;
	chain->length += length;
}

/*
 * Follow the chain of AEDs. A chain that comes back to itself is found with
 * a marker that is moved on at each power of two.
 */
static int aeds_add(struct ad_walk *walk, enum udf_ad_form form)
{
	struct udf_fs *fs = walk->node->fs;
	uint32_t block_size = walk->info->block_size;
	uint32_t marker = 0;
	uint64_t steps = 0;
	uint64_t next_mark = 1;
	uint8_t *block = NULL;
	int ret = 0;

	if (walk->next_aed == 0) {
		return 0;
	}
	block = malloc(block_size);
	if (block == NULL) {
		return -ENOMEM;
	}
	walk->node->chain = (struct udf_aed_chain){
		.first = walk->next_aed,
		.form = (uint16_t)form,
		.in_icb = walk->used,
	};
	while (walk->next_aed != 0) {
		uint32_t lbn = walk->next_aed;
		struct udf_aed aed = { .ad_length = 0 };

		if (steps > 0 && lbn == marker) {
			ret = -EUCLEAN;
			break;
		}
		if (steps == next_mark || steps == 0) {
			marker = lbn;
			next_mark *= 2;
		}
		steps++;
		ret = udf_volume_read(fs->volume, lbn, 1, block);
		if (ret < 0) {
			break;
		}
		ret = decode_aed(block, block_size,
				 udf_volume_location(walk->info, lbn).block,
				 &aed);
		if (ret < 0) {
			break;
		}
		ret = udf_run_list_add(&walk->node->aeds, lbn, 1);
		if (ret == 0) {
			ret = udf_node_claim_memory(
				walk->node,
				aed.ad_length / udf_ad_size(form) *
					sizeof(struct udf_extent));
		}
		if (ret < 0) {
			break;
		}
		ret = ads_add(walk, form, aed.ads, aed.ad_length);
		if (ret < 0) {
			break;
		}
		if (walk->node->chain.first != 0) {
			chain_append(&walk->node->chain, aed.ads, walk->used);
		}
	}
	if (ret < 0) {
		udf_node_forget_aeds(walk->node);
	}
	free(block);
	return ret;
}

/*
 * Is all that is behind the end of the file allocated and not recorded, as it
 * has to be (ECMA-167 4/12.1)? Anything else is a slip of its writer.
 */
static bool tail_is_allocated(const struct udf_extent_map *map,
			      uint64_t blocks)
{
	for (size_t i = map->count; i > 0; i--) {
		const struct udf_extent *e = &map->extents[i - 1];

		if (e->block + e->count <= blocks) {
			break;
		}
		if (e->type != UDF_EXTENT_ALLOCATED) {
			return false;
		}
	}
	return true;
}

/* The extent map, made whole up to the end of the file. */
static int node_load_map(struct udf_node *node, const struct udf_icb *icb)
{
	struct ad_walk walk = {
		.info = node->fs->info,
		.node = node,
	};
	enum udf_ad_form form = icb->icbtag.flags & UDF_ICB_AD_MASK;
	uint32_t block_size = node->fs->info->block_size;
	uint64_t blocks = 0;
	uint64_t end = 0;
	int ret = 0;

	if (udf_ad_size(form) == 0) {
		return -EUCLEAN;
	}
	ret = ads_add(&walk, form, icb->ads, icb->ad_length);
	if (ret < 0) {
		return ret;
	}
	ret = aeds_add(&walk, form);
	if (ret < 0) {
		return ret;
	}
	if (node->size > (uint64_t)INT64_MAX - block_size) {
		return -EUCLEAN;
	}
	blocks = (node->size + block_size - 1) / block_size;
	end = udf_extent_map_end(&node->map);
	node->beyond_end = !tail_is_allocated(&node->map, blocks);
	if (end < blocks) {
		struct udf_extent hole = {
			.block = end,
			.count = blocks - end,
			.type = UDF_EXTENT_HOLE,
		};

		ret = udf_extent_map_set(&node->map, &hole);
	}
	return ret;
}

static int node_load_data(struct udf_node *node, const struct udf_icb *icb)
{
	if ((icb->icbtag.flags & UDF_ICB_AD_MASK) != UDF_AD_IN_ICB) {
		return node_load_map(node, icb);
	}
	node->embedded = true;
	if (node->size > icb->ad_length) {
		return -EUCLEAN;
	}
	node->data = malloc(node->size + 1);
	if (node->data == NULL) {
		return -ENOMEM;
	}
	memcpy(node->data, icb->ads, node->size);
	return 0;
}

/*
 * Strategy 4096 (UDF 2.3.5.1): behind each ICB an indirect entry may lead to
 * a newer one.
 */
static int icb_follow(struct udf_fs *fs, uint8_t *block, uint32_t *lbn)
{
	uint32_t block_size = fs->info->block_size;
	uint8_t *next = malloc(block_size);
	struct udf_icb icb = { .unique_id = 0 };
	int ret = 0;

	if (next == NULL) {
		return -ENOMEM;
	}
	for (uint32_t steps = 0; steps < INDIRECT_MAX; steps++) {
		struct udf_ad ad = { .length = 0 };

		uint32_t newer = 0;

		if (*lbn + 1 >= fs->info->address_blocks) {
			break;
		}
		ret = udf_volume_read(fs->volume, *lbn + 1, 1, next);
		if (ret < 0) {
			break;
		}
		if (check_tag(next, block_size, UDF_TAG_INDIRECT,
			      udf_volume_location(fs->info, *lbn + 1).block,
			      NULL) < 0) {
			break;
		}
		decode_long_ad(&next[INDIRECT_ICB_OFFSET], &ad);
		if (ad.length == 0 ||
		    udf_volume_address(fs->info, &ad.addr, 1, &newer) < 0) {
			break;
		}
		ret = udf_volume_read(fs->volume, newer, 1, next);
		if (ret < 0) {
			break;
		}
		if (decode_icb(next, block_size, ad.addr.block, &icb) < 0) {
			break;
		}
		memcpy(block, next, block_size);
		*lbn = newer;
	}
	free(next);
	return ret;
}

/* The device of a device node, from its attribute. */
static void node_load_device(struct udf_node *node)
{
	uint32_t length = 0;
	const uint8_t *attribute = NULL;

	if (node->file_type != UDF_FT_BLOCK_DEVICE &&
	    node->file_type != UDF_FT_CHARACTER_DEVICE) {
		return;
	}
	attribute = udf_ea_find(node->ea, node->ea_length, UDF_EA_DEVICE,
				&length);
	if (attribute == NULL) {
		return;
	}
	if (decode_ea_device(node->ea, node->ea_length, &node->device_major,
			     &node->device_minor) < 0) {
		node->device_major = 0;
		node->device_minor = 0;
	}
}

/*
 * A file whose data cannot be reached can still get another mode or name: its
 * ICB is written with the descriptors as they are.
 */
static int node_keep_damaged(struct udf_node *node, const struct udf_icb *icb)
{
	node->damaged = malloc((size_t)icb->ad_length + 1);
	if (node->damaged == NULL) {
		return -ENOMEM;
	}
	memcpy(node->damaged, icb->ads, icb->ad_length);
	node->damaged_length = icb->ad_length;
	return 0;
}

struct udf_ad udf_node_part(const struct udf_volume_info *info,
			    const struct udf_ad *ad)
{
	struct udf_ad part = *ad;
	uint32_t lbn = 0;

	if (ad->length > 0 &&
	    udf_volume_address(info, &ad->addr, 1, &lbn) == 0) {
		part.addr.block = lbn;
		part.addr.partition = UDF_PARTITION_LBN;
	}
	return part;
}

struct udf_ad udf_node_part_recorded(const struct udf_volume_info *info,
				     const struct udf_ad *part)
{
	struct udf_ad ad = *part;

	if (part->addr.partition == UDF_PARTITION_LBN) {
		ad.addr = udf_volume_location(info, part->addr.block);
	}
	return ad;
}

int udf_node_load(struct udf_node *node)
{
	struct udf_fs *fs = node->fs;
	uint32_t block_size = fs->info->block_size;
	uint32_t lbn = node->lbn;
	struct udf_icb icb = { .unique_id = 0 };
	uint8_t *block = NULL;
	int ret = 0;

	if (lbn >= fs->info->address_blocks) {
		return -EUCLEAN;
	}
	block = malloc(block_size);
	if (block == NULL) {
		return -ENOMEM;
	}
	ret = udf_volume_read(fs->volume, lbn, 1, block);
	if (ret < 0) {
		goto out;
	}
	ret = decode_icb(block, block_size,
			 udf_volume_location(fs->info, lbn).block, &icb);
	if (ret < 0) {
		goto out;
	}
	if (icb.icbtag.strategy == 4096) {
		node->write_once = true;
		ret = icb_follow(fs, block, &lbn);
		if (ret < 0) {
			goto out;
		}
		ret = decode_icb(block, block_size,
				 udf_volume_location(fs->info, lbn).block,
				 &icb);
		if (ret < 0) {
			goto out;
		}
	}

	node->tag_id = icb.tag.id;
	node->icbtag = icb.icbtag;
	node->icb_flags = icb.icbtag.flags;
	node->file_type = icb.icbtag.file_type;
	node->mode = mode_from_icb(&icb);
	node->uid = icb.uid;
	node->gid = icb.gid;
	node->link_count = icb.link_count;
	node->size = icb.information_length;
	node->access = icb.access;
	node->modification = icb.modification;
	node->creation = icb.creation;
	node->attribute = icb.attribute;
	node->checkpoint = icb.checkpoint;
	node->unique_id = icb.unique_id;
	node->blocks_recorded = icb.blocks_recorded;
	node->ea_icb = udf_node_part(fs->info, &icb.ea_icb);
	node->stream_dir_icb = udf_node_part(fs->info, &icb.stream_dir_icb);
	if (icb.tag.id == UDF_TAG_EFE &&
	    icb.object_size > icb.information_length) {
		node->streams_size = icb.object_size - icb.information_length;
	}
	if (icb.ea_length > 0) {
		node->ea = malloc(icb.ea_length);
		if (node->ea == NULL) {
			ret = -ENOMEM;
			goto out;
		}
		memcpy(node->ea, icb.ea, icb.ea_length);
		node->ea_length = icb.ea_length;
	}
	node_load_device(node);
	ret = node_load_data(node, &icb);
	if (ret == -EUCLEAN || ret == -EIO) {
		node->map_error = ret;
		ret = node_keep_damaged(node, &icb);
		udf_volume_log(fs->volume, UDF_LOG_WARNING,
			       "the file with the ICB in block %u has damaged "
			       "allocation descriptors",
			       node->lbn);
	}
out:
	free(block);
	return ret;
}

/*
 * A short descriptor is about the partition that it is in: it will not do for
 * a file's data when its ICB is in the metadata partition. A directory's
 * blocks are there too, unless a foreign writer put some elsewhere.
 */
static enum udf_ad_form node_ad_form(const struct udf_node *node)
{
	const struct udf_volume_info *info = node->fs->info;
	uint16_t partition = udf_volume_location(info, node->lbn).partition;

	if (!info->has_metadata) {
		return UDF_AD_SHORT;
	}
	if (!udf_node_is_directory(node)) {
		return UDF_AD_LONG;
	}
	for (size_t i = 0; i < node->map.count; i++) {
		const struct udf_extent *e = &node->map.extents[i];

		if (e->type != UDF_EXTENT_HOLE &&
		    udf_volume_location(info, e->lbn).partition != partition) {
			return UDF_AD_LONG;
		}
	}
	return UDF_AD_SHORT;
}

/* Bytes of the ICB's block for allocation descriptors. */
static uint32_t icb_room(const struct udf_node *node)
{
	uint32_t block_size = node->fs->info->block_size;
	uint32_t used = (uint32_t)udf_icb_header_len(node->tag_id) +
			node->ea_length;
	uint32_t limit = block_size < UDF_ICB_ATOMIC_LEN ? block_size
							 : UDF_ICB_ATOMIC_LEN;

	if (used + 2 * udf_ad_size(node_ad_form(node)) > limit) {
		limit = block_size;
	}
	return used < limit ? limit - used : 0;
}

uint32_t udf_node_embedded_max(const struct udf_node *node)
{
	uint32_t used = (uint32_t)udf_icb_header_len(node->tag_id) +
			node->ea_length;

	return used < UDF_ICB_ATOMIC_LEN ? UDF_ICB_ATOMIC_LEN - used : 0;
}

/* The longest extent of whole blocks that one descriptor can say. */
static uint64_t ad_max_blocks(const struct udf_node *node)
{
	return UDF_AD_MAX_LENGTH / node->fs->info->block_size;
}

/* AEDs for so many descriptors: of each but the last one leads on. */
static uint64_t aeds_for(uint64_t ads, uint64_t per_aed)
{
	if (ads <= per_aed) {
		return 1;
	}
	return 1 + (ads - per_aed + per_aed - 2) / (per_aed - 1);
}

static uint64_t aeds_needed(const struct udf_node *node, uint64_t ads)
{
	size_t ad_size = udf_ad_size(node_ad_form(node));
	uint64_t in_icb = icb_room(node) / ad_size;
	uint64_t per_aed = (node->fs->info->block_size - UDF_AED_LEN) / ad_size;

	if (ads <= in_icb) {
		return 0;
	}
	/* One of the ICB's leads on. */
	return aeds_for(ads - (in_icb - 1), per_aed);
}

/* For a map of so many extents, which end at a block. */
static int reserve_aeds(struct udf_node *node, uint64_t extents, uint64_t end)
{
	uint64_t ads = extents + MAP_CHANGE_MAX + end / ad_max_blocks(node);
	uint64_t needed = 0;
	int ret = 0;

	if (node->embedded || node->map_error != 0) {
		return 0;
	}
	if (icb_room(node) < 2 * udf_ad_size(node_ad_form(node))) {
		return -ENOSPC;
	}
	needed = aeds_needed(node, ads);
	if (needed <= node->aeds_reserved) {
		return 0;
	}
	if (needed > UINT32_MAX) {
		return -EFBIG;
	}
	ret = udf_space_reserve(udf_space_for_metadata(&node->fs->space),
				(uint32_t)needed - node->aeds_reserved);
	if (ret == 0) {
		node->aeds_reserved = (uint32_t)needed;
	}
	return ret;
}

int udf_node_reserve_aeds(struct udf_node *node)
{
	return reserve_aeds(node, node->map.count,
			    udf_extent_map_end(&node->map));
}

int udf_node_reserve_cut(struct udf_node *node, uint64_t blocks)
{
	uint64_t extents = 0;

	while (extents < node->map.count &&
	       node->map.extents[extents].block < blocks) {
		extents++;
	}
	return reserve_aeds(node, extents, blocks);
}

/*
 * All descriptors of the map, one after the other: the file's body, which
 * ends with its last byte, then whole blocks of the tail.
 */
static int encode_map(const struct udf_node *node, enum udf_ad_form form,
		      uint8_t **ads, size_t *count)
{
	const struct udf_volume_info *info = node->fs->info;
	size_t ad_size = udf_ad_size(form);
	uint32_t block_size = info->block_size;
	uint64_t max_blocks = ad_max_blocks(node);
	uint64_t left = node->size;
	size_t total = 0;
	uint8_t *out = NULL;

	for (size_t i = 0; i < node->map.count; i++) {
		total += (node->map.extents[i].count - 1) / max_blocks + 1;
	}
	/* One extent may be a body's end and a tail's begin. */
	total++;
	out = malloc(total * ad_size);
	if (out == NULL) {
		return -ENOMEM;
	}
	*ads = out;
	*count = 0;
	for (size_t i = 0; i < node->map.count; i++) {
		const struct udf_extent *e = &node->map.extents[i];
		uint64_t done = 0;

		while (done < e->count) {
			struct udf_ad ad = { .type = e->type };
			uint64_t blocks = e->count - done;
			uint64_t bytes = 0;

			if (blocks > max_blocks) {
				blocks = max_blocks;
			}
			bytes = blocks * block_size;
			if (left > 0 && bytes > left) {
				bytes = left;
				blocks = (left + block_size - 1) / block_size;
			}
			ad.length = (uint32_t)bytes;
			if (e->type != UDF_EXTENT_HOLE) {
				ad.addr = udf_volume_location(
					info, e->lbn + (uint32_t)done);
			}
			(void)encode_ad(&ad, form, out, ad_size);
			out += ad_size;
			(*count)++;
			done += blocks;
			left -= left > 0 ? bytes : 0;
		}
	}
	return 0;
}

/* Are these the descriptors that the AEDs on the medium have? */
static bool chain_has(const struct udf_node *node, enum udf_ad_form form,
		      size_t in_icb, const uint8_t *ads, size_t length)
{
	const struct udf_aed_chain *chain = &node->chain;

	if (chain->ads == NULL || chain->form != form ||
	    chain->in_icb != in_icb || chain->length != length ||
	    memcmp(chain->ads, ads, length) != 0) {
		return false;
	}
	/* From a bad packet they have to move. */
	for (size_t i = 0; i < node->aeds.count; i++) {
		const struct udf_run *run = &node->aeds.runs[i];

		for (uint32_t k = 0; k < run->count; k++) {
			if (udf_volume_is_bad(node->fs->volume, run->lbn + k)) {
				return false;
			}
		}
	}
	return true;
}

/* Would the node be written without new AEDs, as it is now? */
static bool keeps_aeds(const struct udf_node *node)
{
	enum udf_ad_form form = node_ad_form(node);
	size_t ad_size = udf_ad_size(form);
	size_t in_icb = icb_room(node) / ad_size;
	uint8_t *ads = NULL;
	size_t count = 0;
	bool keeps = false;

	if (node->chain.ads == NULL || node->beyond_end || in_icb < 2 ||
	    encode_map(node, form, &ads, &count) < 0) {
		return false;
	}
	if (count > in_icb) {
		size_t here = in_icb - 1;

		keeps = chain_has(node, form, here * ad_size,
				  &ads[here * ad_size],
				  (count - here) * ad_size);
	}
	free(ads);
	return keeps;
}

int udf_node_reserve_same(struct udf_node *node)
{
	int ret = udf_node_reserve_aeds(node);

	return ret == -ENOSPC && keeps_aeds(node) ? 0 : ret;
}

static void encode_next_ad(const struct udf_node *node, enum udf_ad_form form,
			   uint32_t lbn, uint8_t *p)
{
	struct udf_ad next = {
		.type = UDF_EXTENT_NEXT,
		.length = node->fs->info->block_size,
		.addr = udf_volume_location(node->fs->info, lbn),
	};

	(void)encode_ad(&next, form, p, udf_ad_size(form));
}

/* A block for an AED: one of the reserve, or any when nothing was reserved. */
static int take_aed(struct udf_node *node, uint32_t goal, uint32_t *lbn)
{
	struct udf_space *space = udf_space_for_metadata(&node->fs->space);
	uint32_t count = 1;
	int ret = 0;

	if (node->aeds_reserved == 0) {
		return udf_space_allocate(space, goal, &count, lbn);
	}
	ret = udf_space_take(space, goal, lbn);
	if (ret == 0) {
		node->aeds_reserved--;
	}
	return ret;
}

static void release_aeds(struct udf_node *node, struct udf_run_list *aeds)
{
	for (size_t i = 0; i < aeds->count; i++) {
		udf_space_release(&node->fs->space, aeds->runs[i].lbn,
				  aeds->runs[i].count);
	}
	udf_run_list_free(aeds);
}

/* New blocks for so many AEDs. */
static int take_aeds(struct udf_node *node, uint64_t count,
		     struct udf_run_list *aeds)
{
	uint32_t lbn = node->lbn;
	int ret = 0;

	for (uint64_t i = 0; i < count && ret == 0; i++) {
		ret = take_aed(node, lbn, &lbn);
		if (ret < 0) {
			break;
		}
		ret = udf_run_list_add(aeds, lbn, 1);
		if (ret < 0) {
			udf_space_release(&node->fs->space, lbn, 1);
		}
	}
	if (ret < 0) {
		release_aeds(node, aeds);
	}
	return ret;
}

/* The index-th block of runs that have so many. */
static uint32_t run_block(const struct udf_run_list *runs, uint64_t index)
{
	size_t i = 0;

	while (index >= runs->runs[i].count) {
		index -= runs->runs[i].count;
		i++;
	}
	return runs->runs[i].lbn + (uint32_t)index;
}

/* Write the descriptors that do not fit the ICB to AEDs in these blocks. */
static int encode_aeds(const struct udf_node *node, enum udf_ad_form form,
		       const uint8_t *ads, size_t count,
		       const struct udf_run_list *blocks,
		       udf_node_store_fn store, void *private_data)
{
	struct udf_fs *fs = node->fs;
	size_t ad_size = udf_ad_size(form);
	uint32_t block_size = fs->info->block_size;
	size_t per_aed = (block_size - UDF_AED_LEN) / ad_size;
	uint8_t *block = NULL;
	uint8_t *part = NULL;
	uint64_t index = 0;
	int ret = 0;

	block = malloc(block_size);
	part = malloc(block_size);
	if (block == NULL || part == NULL) {
		ret = -ENOMEM;
	}
	while (count > 0 && ret == 0) {
		uint32_t lbn = run_block(blocks, index);
		struct udf_aed aed = {
			.tag = {
				.id = UDF_TAG_AED,
				.version = fs->tag_version,
				.serial = fs->tag_serial,
				.location =
					udf_volume_location(fs->info, lbn).block,
			},
		};
		size_t here = count > per_aed ? per_aed - 1 : count;

		index++;
		memcpy(part, ads, here * ad_size);
		aed.ads = part;
		aed.ad_length = (uint32_t)(here * ad_size);
		if (here < count) {
			encode_next_ad(node, form, run_block(blocks, index),
				       &part[aed.ad_length]);
			aed.ad_length += (uint32_t)ad_size;
		}
		ret = encode_aed(&aed, block, block_size);
		if (ret >= 0) {
			ret = store(private_data, lbn, block, false);
		}
		ads += here * ad_size;
		count -= here;
	}
	free(block);
	free(part);
	return ret;
}

/*
 * The descriptors behind those in the ICB: in the AEDs there are, or new ones.
 * The old ones stay as they are until the ICB has left them behind.
 */
static int store_aeds(struct udf_node *node, enum udf_ad_form form,
		      size_t in_icb, const uint8_t *ads, size_t count,
		      udf_node_store_fn store, void *private_data,
		      uint32_t *first)
{
	size_t ad_size = udf_ad_size(form);
	uint32_t block_size = node->fs->info->block_size;
	size_t length = count * ad_size;
	struct udf_run_list fresh = { .runs = NULL };
	int ret = 0;

	if (chain_has(node, form, in_icb, ads, length)) {
		*first = node->chain.first;
		return node->chain.unsure
			       ? encode_aeds(node, form, ads, count,
					     &node->aeds, store, private_data)
			       : 0;
	}
	ret = take_aeds(node,
			aeds_for(count, (block_size - UDF_AED_LEN) / ad_size),
			&fresh);
	if (ret == 0) {
		ret = encode_aeds(node, form, ads, count, &fresh, store,
				  private_data);
	}
	if (ret < 0) {
		/* Nothing leads to those of a chain that was not finished. */
		release_aeds(node, &fresh);
		return ret;
	}
	release_aeds(node, &node->aeds);
	node->aeds = fresh;
	*first = run_block(&fresh, 0);
	udf_node_forget_aeds(node);
	node->chain.first = *first;
	node->chain.form = (uint16_t)form;
	node->chain.in_icb = in_icb;
	node->chain.unsure = true;
	chain_append(&node->chain, ads, length);
	return 0;
}

/* What an ICB says of its file's data. */
struct icb_data {
	uint64_t size; /* bytes */
	uint64_t blocks_recorded;
	uint16_t ad_type;   /* of UDF_ICB_AD_MASK */
	const uint8_t *ads; /* descriptors, or the data itself */
	size_t ad_length;
};

/* The ICB around its descriptors or data. */
static int encode_node_icb(const struct udf_node *node,
			   const struct icb_data *data, uint8_t *block)
{
	struct udf_fs *fs = node->fs;
	struct udf_icb icb = {
		.tag = {
			.id = node->tag_id,
			.version = fs->tag_version,
			.serial = fs->tag_serial,
			.location = udf_volume_location(fs->info,
							node->lbn).block,
		},
		.icbtag = node->icbtag,
		.uid = node->uid,
		.gid = node->gid,
		.permissions = permissions_from_mode(node->mode),
		.link_count = (uint16_t)node->link_count,
		.information_length = data->size,
		.object_size = data->size + node->streams_size,
		.blocks_recorded = data->blocks_recorded,
		.access = node->access,
		.modification = node->modification,
		.creation = node->creation,
		.attribute = node->attribute,
		.checkpoint = node->checkpoint,
		.ea_icb = udf_node_part_recorded(fs->info, &node->ea_icb),
		.stream_dir_icb = udf_node_part_recorded(
			fs->info, &node->stream_dir_icb),
		.unique_id = node->unique_id,
		.ea_length = node->ea_length,
		.ea = node->ea,
		.ads = data->ads,
		.ad_length = (uint32_t)data->ad_length,
	};
	uint16_t flags = flags_from_mode(node->icb_flags, node->mode);
	int ret = 0;

	flags &= (uint16_t)~(UDF_ICB_CONTIGUOUS | UDF_ICB_AD_MASK);
	icb.icbtag.flags = flags | data->ad_type;
	udf_our_regid(&icb.implementation);
	ret = encode_icb(&icb, block, fs->info->block_size);
	return ret < 0 ? ret : 0;
}

int udf_node_encode_empty(struct udf_node *node, udf_node_store_fn store,
			  void *private_data)
{
	const struct icb_data empty = { .ad_type = UDF_AD_IN_ICB };
	uint8_t *block = malloc(node->fs->info->block_size);
	int ret = 0;

	if (block == NULL) {
		return -ENOMEM;
	}
	ret = encode_node_icb(node, &empty, block);
	if (ret == 0) {
		ret = store(private_data, node->lbn, block, true);
	}
	free(block);
	return ret;
}

int udf_node_encode(struct udf_node *node, const uint8_t *embedded_data,
		    udf_node_store_fn store, void *private_data)
{
	struct icb_data data = { .size = node->size };
	enum udf_ad_form form = node_ad_form(node);
	size_t ad_size = udf_ad_size(form);
	size_t in_icb = icb_room(node) / ad_size;
	uint8_t *block = malloc(node->fs->info->block_size);
	uint8_t *ads = NULL;
	size_t count = 0;
	int ret = 0;

	if (block == NULL) {
		return -ENOMEM;
	}
	if (node->map_error != 0) {
		data.ad_type = node->icb_flags & UDF_ICB_AD_MASK;
		data.blocks_recorded = node->blocks_recorded;
		data.ads = node->damaged;
		data.ad_length = node->damaged_length;
	} else if (node->embedded) {
		data.ad_type = UDF_AD_IN_ICB;
		data.ads = embedded_data != NULL ? embedded_data : node->data;
		data.ad_length = node->size;
	} else {
		ret = encode_map(node, form, &ads, &count);
		if (ret < 0) {
			goto out;
		}
		if (count > in_icb) {
			size_t here = in_icb - 1;
			uint8_t *rest = &ads[here * ad_size];
			uint32_t first = 0;

			ret = store_aeds(node, form, here * ad_size, rest,
					 count - here, store, private_data,
					 &first);
			if (ret < 0) {
				goto out;
			}
			encode_next_ad(node, form, first, rest);
			count = in_icb;
		} else {
			udf_node_forget_aeds(node);
			release_aeds(node, &node->aeds);
		}
		data.ad_type = (uint16_t)form;
		data.blocks_recorded = udf_extent_map_recorded(&node->map);
		data.ads = ads;
		data.ad_length = count * ad_size;
	}
	ret = encode_node_icb(node, &data, block);
	if (ret < 0) {
		goto out;
	}
	ret = store(private_data, node->lbn, block, true);
	if (node->aeds_reserved > 0) {
		udf_space_unreserve(udf_space_for_metadata(&node->fs->space),
				    node->aeds_reserved);
		node->aeds_reserved = 0;
	}
out:
	free(ads);
	free(block);
	return ret;
}
