/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Checking what a volume has more than once: anchors, the two Volume
 * Descriptor Sequences (ECMA-167 3/8.4), the copies of the sparing table (UDF
 * 2.2.11). The engine needs one of each; a check wants all.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blockdev.h"
#include "check_state.h"
#include "ecma167.h"

#define ANCHOR_BLOCK 256u
#define SEQUENCE_BLOCKS_MAX 1024u
#define DESCRIPTORS_MAX 64u
#define SPARING_TABLE_MAX (16u * 1024 * 1024)

/* One prevailing descriptor: that with the highest sequence number. */
struct descriptor {
	uint16_t id;
	uint16_t number; /* of a partition */
	uint32_t sequence;
	uint32_t location; /* block of the volume */
	uint8_t *block;
};

struct sequence {
	const char *name;
	struct udf_extent_ad extent;
	struct descriptor descriptors[DESCRIPTORS_MAX];
	size_t count;
	/* Blocks of it, from its first on, that are damaged. */
	uint32_t damaged[DESCRIPTORS_MAX];
	size_t damaged_count;
	uint32_t end; /* what ends it, likewise */
	bool goes_on; /* in another extent */
	/* A mount sees that it is damaged or not complete, and reads the other
	 * one too. */
	bool distrusted;
};

struct volume_check {
	struct udf_check *check;
	struct udf_blockdev *dev;
	uint32_t block_size;
	uint32_t volume_blocks;
	uint8_t *block;
	struct udf_avdp anchor;
	uint8_t *anchor_block; /* as it is recorded */
	struct sequence main;
	struct sequence reserve;
};

static int read_blocks(struct volume_check *v, uint32_t block, size_t bytes,
		       void *buf)
{
	return udf_blockdev_read(v->dev, (uint64_t)block * v->block_size, buf,
				 bytes);
}

/* Can the descriptor be what its tag says? */
static int decode_descriptor(const struct volume_check *v, uint32_t location,
			     struct udf_tag *tag)
{
	uint32_t size = v->block_size;
	struct udf_pvd pvd = { .sequence = 0 };
	struct udf_lvd lvd = { .sequence = 0 };
	struct udf_pd pd = { .sequence = 0 };
	int ret = decode_tag(v->block, size, tag);

	if (ret < 0) {
		*tag = (struct udf_tag){0};
		return ret;
	}
	switch (tag->id) {
	case UDF_TAG_PVD:
		return decode_pvd(v->block, size, location, &pvd);
	case UDF_TAG_LVD:
		return decode_lvd(v->block, size, location, &lvd);
	case UDF_TAG_PD:
		return decode_pd(v->block, size, location, &pd);
	default:
		return check_tag(v->block, size, tag->id, location, NULL);
	}
}

/* A descriptor as it is in one place, for another. -EUCLEAN: too long. */
static int move_descriptor(struct volume_check *v, const uint8_t *from,
			   uint32_t location, uint8_t *to)
{
	struct udf_tag tag = {0};
	int ret = decode_tag(from, v->block_size, &tag);

	if (ret < 0) {
		return ret;
	}
	tag.location = location;
	memcpy(to, from, v->block_size);
	return encode_tag(&tag, to, v->block_size, tag.crc_length);
}

/* Is this no block of the partition? Nothing of ours may be written there. */
static bool place_is_free(const struct volume_check *v, uint32_t block)
{
	const struct udf_volume_info *info = v->check->info;

	return block < v->volume_blocks &&
	       (block < info->partition_start ||
		block - info->partition_start >= info->partition_blocks);
}

/* The last finding is put right by a descriptor in a block of the volume. */
static void fix_block(struct volume_check *v, uint32_t location,
		      const uint8_t *descriptor, const char *what)
{
	struct udf_repair_step step = {
		.action = UDF_REPAIR_BLOCK,
		.lbn = location,
	};

	if (!place_is_free(v, location)) {
		return;
	}
	step.bytes = malloc(v->block_size);
	if (step.bytes == NULL) {
		v->check->no_memory = true;
		return;
	}
	if (move_descriptor(v, descriptor, location, step.bytes) >= 0) {
		udf_check_fix(v->check, &step, v->block_size, NULL,
			      "block %u of the volume: %s", location, what);
	}
	free(step.bytes);
}

enum anchor_state {
	ANCHOR_NONE, /* no anchor, and nothing like one */
	ANCHOR_DAMAGED,
	ANCHOR_OTHER, /* valid, but names other sequences */
	ANCHOR_VALID,
};

static bool is_same_extent(const struct udf_extent_ad *one,
			   const struct udf_extent_ad *other)
{
	return one->location == other->location && one->length == other->length;
}

/* How many of the sequences that an anchor names begin like one. */
static unsigned int count_sequences(struct volume_check *v,
				    const struct udf_avdp *anchor)
{
	const uint32_t locations[] = {
		anchor->main.location,
		anchor->reserve.location,
	};
	unsigned int count = 0;
	size_t i = 0;

	for (i = 0; i < 2; i++) {
		struct udf_tag tag = {0};

		if (read_blocks(v, locations[i], v->block_size, v->block) ==
			    0 &&
		    decode_descriptor(v, locations[i], &tag) == 0 &&
		    tag.id >= UDF_TAG_PVD && tag.id <= UDF_TAG_USD &&
		    tag.id != UDF_TAG_AVDP) {
			count++;
		}
	}
	return count;
}

/*
 * Keep the anchor that is in v->block, if it is better than what we have. It
 * must be about the volume that was opened, not about an older one.
 */
static void keep_anchor(struct volume_check *v, const struct udf_avdp *anchor,
			unsigned int *best)
{
	struct udf_avdp opened = {0};
	unsigned int sequences = 0;
	uint8_t *copy = NULL;

	(void)udf_volume_anchor(v->check->volume, &opened);
	if (!is_same_extent(&anchor->main, &opened.main) &&
	    !is_same_extent(&anchor->reserve, &opened.reserve)) {
		return;
	}
	copy = malloc(v->block_size);
	if (copy == NULL) {
		v->check->no_memory = true;
		return;
	}
	memcpy(copy, v->block, v->block_size);
	sequences = count_sequences(v, anchor);
	if (v->anchor_block != NULL && sequences <= *best) {
		free(copy);
		return;
	}
	*best = sequences;
	free(v->anchor_block);
	v->anchor_block = copy;
	v->anchor = *anchor;
}

/* One of the places of an anchor, against the one that was kept. */
static enum anchor_state look_at_anchor(struct volume_check *v, uint32_t block)
{
	struct udf_avdp anchor = {0};
	struct udf_tag tag = {0};

	if (read_blocks(v, block, v->block_size, v->block) < 0) {
		return ANCHOR_DAMAGED;
	}
	if (decode_avdp(v->block, v->block_size, block, &anchor) < 0) {
		if (decode_tag(v->block, v->block_size, &tag) == 0 &&
		    tag.id == UDF_TAG_AVDP) {
			return ANCHOR_DAMAGED;
		}
		return ANCHOR_NONE;
	}
	if (!is_same_extent(&anchor.main, &v->anchor.main) ||
	    !is_same_extent(&anchor.reserve, &v->anchor.reserve)) {
		return ANCHOR_OTHER;
	}
	return ANCHOR_VALID;
}

/* Does the way through the descriptors end at a file set? */
static bool has_file_set(struct volume_check *v)
{
	const struct udf_volume_info *info = v->check->info;
	struct udf_fsd fsd = { .number = 0 };

	return udf_volume_read(v->check->volume, info->file_set, 1, v->block) ==
		       0 &&
	       decode_fsd(v->block, v->block_size,
			  udf_volume_location(info, info->file_set).block,
			  &fsd) == 0;
}

/*
 * The anchor that the open made up, as none is valid. NULL in v->anchor_block:
 * it is not to be written.
 */
static void make_anchor(struct volume_check *v)
{
	(void)udf_volume_anchor(v->check->volume, &v->anchor);
	if (!has_file_set(v)) {
		udf_check_found(v->check, UDF_FINDING_ANCHOR,
				UDF_FINDING_ERROR, NULL, UINT32_MAX,
				"no anchor is valid, and what a search found "
				"leads to no file set");
		return;
	}
	v->anchor_block = malloc(v->block_size);
	if (v->anchor_block == NULL ||
	    encode_avdp(&v->anchor, v->anchor_block, v->block_size) < 0) {
		v->check->no_memory = true;
	}
}

/*
 * UDF 2.2.3 wants two of the three. Block 256 is where every reader looks
 * first; of the others one is enough.
 */
static void check_anchors(struct volume_check *v)
{
	static const char written[] = "the anchor is written again";
	const uint32_t places[] = {
		ANCHOR_BLOCK,
		v->volume_blocks - 1,
		v->volume_blocks - 1 - ANCHOR_BLOCK,
	};
	enum anchor_state states[3] = { ANCHOR_NONE };
	unsigned int valid = 0;
	unsigned int best = 0;
	size_t i = 0;

	if (v->volume_blocks <= 2 * ANCHOR_BLOCK) {
		return;
	}
	for (i = 0; i < 3; i++) {
		struct udf_avdp anchor = {0};

		if (read_blocks(v, places[i], v->block_size, v->block) == 0 &&
		    decode_avdp(v->block, v->block_size, places[i],
				&anchor) == 0) {
			keep_anchor(v, &anchor, &best);
		}
	}
	if (v->anchor_block == NULL) {
		make_anchor(v);
	}
	if (v->anchor_block == NULL) {
		return;
	}
	for (i = 0; i < 3; i++) {
		states[i] = look_at_anchor(v, places[i]);
		valid += states[i] == ANCHOR_VALID;
	}
	for (i = 0; i < 3; i++) {
		bool needed = i == 0 || valid < 2;

		if (states[i] == ANCHOR_VALID ||
		    (states[i] == ANCHOR_NONE &&
		     (!needed || !place_is_free(v, places[i])))) {
			continue;
		}
		udf_check_found(v->check, UDF_FINDING_ANCHOR,
				UDF_FINDING_ERROR, NULL, UINT32_MAX,
				"the anchor in block %u of the volume %s",
				places[i],
				states[i] == ANCHOR_NONE ? "is not there"
				: states[i] == ANCHOR_DAMAGED
					? "is damaged"
					: "names other descriptors than "
					  "another one");
		fix_block(v, places[i], v->anchor_block, written);
		valid++;
	}
}

/* As ECMA-167 3/7.2.1 has it. */
static const char *descriptor_name(uint16_t id)
{
	switch (id) {
	case UDF_TAG_PVD:
		return "Primary Volume Descriptor";
	case UDF_TAG_VDP:
		return "Volume Descriptor Pointer";
	case UDF_TAG_IUVD:
		return "Implementation Use Volume Descriptor";
	case UDF_TAG_PD:
		return "Partition Descriptor";
	case UDF_TAG_LVD:
		return "Logical Volume Descriptor";
	case UDF_TAG_USD:
		return "Unallocated Space Descriptor";
	default:
		return "descriptor of its kind";
	}
}

/* A descriptor of a sequence, kept if it prevails. -ENOMEM. */
static int take_descriptor(struct volume_check *v, struct sequence *sequence,
			   const struct udf_tag *tag, uint32_t location)
{
	/* All of them have it there, but for a terminating one. */
	uint32_t number = (uint32_t)v->block[16] |
			  (uint32_t)v->block[17] << 8 |
			  (uint32_t)v->block[18] << 16 |
			  (uint32_t)v->block[19] << 24;
	struct udf_pd pd = { .number = 0 };
	struct descriptor *d = NULL;
	size_t i = 0;

	if (tag->id == UDF_TAG_PD &&
	    decode_pd(v->block, v->block_size, UDF_ANY_LOCATION, &pd) < 0) {
		return 0;
	}
	for (i = 0; i < sequence->count; i++) {
		d = &sequence->descriptors[i];
		if (d->id == tag->id && d->number == pd.number) {
			break;
		}
	}
	if (i == sequence->count) {
		if (i == DESCRIPTORS_MAX) {
			return 0;
		}
		d = &sequence->descriptors[i];
		d->block = malloc(v->block_size);
		if (d->block == NULL) {
			return -ENOMEM;
		}
		d->id = tag->id;
		d->number = pd.number;
		sequence->count++;
	} else if (number < d->sequence) {
		return 0;
	}
	d->sequence = number;
	d->location = location;
	memcpy(d->block, v->block, v->block_size);
	return 0;
}

static bool is_zero(const uint8_t *p, size_t len)
{
	return p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

/* Descriptors that a mount reads; of others it knows the tag alone. */
static bool is_needed(uint16_t id)
{
	return id == UDF_TAG_PVD || id == UDF_TAG_LVD || id == UDF_TAG_PD ||
	       id == UDF_TAG_VDP;
}

static int read_sequence(struct volume_check *v, struct sequence *sequence)
{
	uint32_t blocks = sequence->extent.length / v->block_size;
	uint32_t i = 0;

	for (i = 0; i < blocks && i < SEQUENCE_BLOCKS_MAX; i++) {
		uint32_t block = sequence->extent.location + i;
		struct udf_tag tag = {0};
		int ret = read_blocks(v, block, v->block_size, v->block);

		sequence->end = i;
		if (ret == 0 && i > 0 && is_zero(v->block, v->block_size)) {
			/* Not every writer ends it with a TD. */
			return 0;
		}
		if (ret == 0) {
			ret = decode_descriptor(v, block, &tag);
		}
		if (ret < 0 && (tag.id == 0 || is_needed(tag.id))) {
			sequence->distrusted = true;
		}
		if (ret == 0 && tag.id == UDF_TAG_TD) {
			return 0;
		}
		sequence->goes_on |= ret == 0 && tag.id == UDF_TAG_VDP;
		if (ret < 0) {
			if (sequence->damaged_count < DESCRIPTORS_MAX) {
				sequence->damaged[sequence->damaged_count] = i;
				sequence->damaged_count++;
			}
			continue;
		}
		ret = take_descriptor(v, sequence, &tag, block);
		if (ret < 0) {
			return ret;
		}
	}
	sequence->end = i;
	return 0;
}

static const struct descriptor *find_descriptor(const struct sequence *sequence,
						uint16_t id, uint16_t number)
{
	size_t i = 0;

	for (i = 0; i < sequence->count; i++) {
		const struct descriptor *d = &sequence->descriptors[i];

		if (d->id == id && d->number == number) {
			return d;
		}
	}
	return NULL;
}

/* What belongs into a damaged block of a sequence; NULL: that is not known. */
static const uint8_t *descriptor_for(struct volume_check *v,
				     const struct sequence *sequence,
				     const struct sequence *other,
				     uint32_t index)
{
	uint32_t block = other->extent.location + index;
	struct udf_tag tag = {0};
	size_t i = 0;

	/* Most writers make the two alike. */
	if (index < other->extent.length / v->block_size &&
	    read_blocks(v, block, v->block_size, v->block) == 0 &&
	    !is_zero(v->block, v->block_size) &&
	    decode_descriptor(v, block, &tag) == 0 &&
	    (tag.id != UDF_TAG_TD || index >= sequence->count)) {
		return v->block;
	}
	for (i = 0; i < other->count; i++) {
		const struct descriptor *d = &other->descriptors[i];

		if (find_descriptor(sequence, d->id, d->number) == NULL) {
			return d->block;
		}
	}
	/* One that is there twice does no harm, and a damaged one might. */
	return sequence->count > 0 ? sequence->descriptors[0].block : NULL;
}

static void check_damaged(struct volume_check *v, struct sequence *sequence,
			  const struct sequence *other)
{
	size_t i = 0;

	for (i = 0; i < sequence->damaged_count; i++) {
		uint32_t index = sequence->damaged[i];
		uint32_t block = sequence->extent.location + index;
		const uint8_t *descriptor = NULL;

		udf_check_found(v->check, UDF_FINDING_SEQUENCE,
				UDF_FINDING_ERROR, NULL, UINT32_MAX,
				"the %s Volume Descriptor Sequence: the "
				"descriptor in block %u of the volume is "
				"damaged",
				sequence->name, block);
		descriptor = descriptor_for(v, sequence, other, index);
		if (descriptor != NULL && !sequence->goes_on &&
		    !other->goes_on) {
			fix_block(v, block, descriptor,
				  "the descriptor is written again");
		}
	}
}

/*
 * A descriptor in the place of what ends the sequence, which is written behind
 * it first. The last finding is about that.
 */
static void append_descriptor(struct volume_check *v,
			      struct sequence *sequence, const uint8_t *what)
{
	uint32_t end = sequence->extent.location + sequence->end;
	struct udf_tag tag = {0};

	if (read_blocks(v, end, v->block_size, v->block) < 0) {
		return;
	}
	if (decode_tag(v->block, v->block_size, &tag) == 0 &&
	    tag.id == UDF_TAG_TD) {
		fix_block(v, end + 1, v->block,
			  "the Terminating Descriptor moves here");
	}
	fix_block(v, end, what, "the descriptor is written again");
	sequence->end++;
}

/*
 * What is behind an end that comes too early, from the other sequence: the
 * block at that end last, which makes the others part of the sequence.
 */
static void copy_rest(struct volume_check *v, struct sequence *sequence,
		      const struct sequence *other)
{
	uint32_t i = other->end + 1;

	while (i > sequence->end) {
		uint32_t block = other->extent.location + i - 1;
		struct udf_tag tag = {0};

		i--;
		if (read_blocks(v, block, v->block_size, v->block) == 0 &&
		    !is_zero(v->block, v->block_size) &&
		    decode_descriptor(v, block, &tag) == 0) {
			fix_block(v, sequence->extent.location + i, v->block,
				  "the descriptor is written again");
		}
	}
}

/* Can all that is missing from an index on be copied from the same place? */
static bool ends_early(const struct volume_check *v,
		       const struct sequence *sequence,
		       const struct sequence *other)
{
	size_t i = 0;

	for (i = 0; i < other->count; i++) {
		const struct descriptor *d = &other->descriptors[i];

		if (d->location - other->extent.location < sequence->end &&
		    find_descriptor(sequence, d->id, d->number) == NULL) {
			return false;
		}
	}
	return other->damaged_count == 0 &&
	       other->end + 1 < sequence->extent.length / v->block_size;
}

/* What the other sequence has and this one has not. */
static void check_missing(struct volume_check *v, struct sequence *sequence,
			  const struct sequence *other)
{
	uint32_t blocks = sequence->extent.length / v->block_size;
	bool fixed = sequence->goes_on || other->goes_on;
	size_t i = 0;

	for (i = 0; i < other->count; i++) {
		const struct descriptor *d = &other->descriptors[i];

		if (find_descriptor(sequence, d->id, d->number) != NULL) {
			continue;
		}
		udf_check_found(v->check, UDF_FINDING_SEQUENCE,
				UDF_FINDING_ERROR, NULL, UINT32_MAX,
				"the %s Volume Descriptor Sequence has no "
				"valid %s, the %s one has",
				sequence->name, descriptor_name(d->id),
				other->name);
		if (sequence->goes_on || other->goes_on) {
			continue;
		}
		if (fixed || sequence->damaged_count > 0) {
			/* A damaged block becomes it, now or when the next
			 * check is done. */
			udf_check_fixed(v->check);
		} else if (ends_early(v, sequence, other)) {
			copy_rest(v, sequence, other);
		} else if (sequence->end + 1 < blocks) {
			append_descriptor(v, sequence, d->block);
		}
		fixed = true;
	}
}

/*
 * Where both have one, the newer prevails; of two of one age the main one,
 * unless its sequence is damaged: as a mount takes them.
 */
static void check_differences(struct volume_check *v)
{
	size_t i = 0;

	for (i = 0; i < v->main.count; i++) {
		const struct descriptor *d = &v->main.descriptors[i];
		const struct descriptor *same =
			find_descriptor(&v->reserve, d->id, d->number);
		bool main_is_old = false;

		if (same == NULL ||
		    memcmp(d->block + UDF_TAG_LEN, same->block + UDF_TAG_LEN,
			   v->block_size - UDF_TAG_LEN) == 0) {
			continue;
		}
		udf_check_found(v->check, UDF_FINDING_SEQUENCE,
				UDF_FINDING_ERROR, NULL, UINT32_MAX,
				"the main and the reserve Volume Descriptor "
				"Sequence have different %ss",
				descriptor_name(d->id));
		main_is_old = same->sequence > d->sequence ||
			      (same->sequence == d->sequence &&
			       v->main.distrusted);
		fix_block(v, main_is_old ? d->location : same->location,
			  main_is_old ? same->block : d->block,
			  main_is_old ? "as the reserve sequence has it"
				      : "as the main sequence has it");
	}
}

/*
 * Can there be a sequence? Where not, one finding is enough; and one that is
 * over the other, or in the partition, is not to be written.
 */
static bool has_place(struct volume_check *v, const struct sequence *sequence)
{
	uint32_t blocks = sequence->extent.length / v->block_size;
	uint32_t first = sequence->extent.location;

	if (blocks > 0 && blocks <= SEQUENCE_BLOCKS_MAX &&
	    first < v->volume_blocks && blocks <= v->volume_blocks - first) {
		return true;
	}
	udf_check_found(v->check, UDF_FINDING_SEQUENCE, UDF_FINDING_ERROR, NULL,
			UINT32_MAX,
			"the anchor has the %s Volume Descriptor Sequence where "
			"there can be none, at block %u",
			sequence->name, first);
	return false;
}

static bool extents_overlap(const struct volume_check *v,
			    const struct udf_extent_ad *one,
			    const struct udf_extent_ad *other)
{
	return one->location < other->location + other->length /
						v->block_size &&
	       other->location < one->location + one->length / v->block_size;
}

/* Has it what a mount needs of it (vds.c)? */
static bool is_complete(const struct volume_check *v,
			const struct sequence *sequence)
{
	const struct descriptor *d = find_descriptor(sequence, UDF_TAG_LVD, 0);
	struct udf_lvd lvd = {0};
	uint32_t i = 0;

	if (d == NULL || find_descriptor(sequence, UDF_TAG_PVD, 0) == NULL ||
	    decode_lvd(d->block, v->block_size, UDF_ANY_LOCATION, &lvd) < 0) {
		return false;
	}
	for (i = 0; i < lvd.map_count; i++) {
		if (lvd.maps[i].kind != UDF_MAP_UNKNOWN &&
		    find_descriptor(sequence, UDF_TAG_PD,
				    lvd.maps[i].partition_number) == NULL) {
			return false;
		}
	}
	return lvd.map_count > 0;
}

static int check_sequences(struct volume_check *v)
{
	int ret = 0;

	v->main.name = "main";
	v->main.extent = v->anchor.main;
	v->reserve.name = "reserve";
	v->reserve.extent = v->anchor.reserve;
	if (!has_place(v, &v->main) || !has_place(v, &v->reserve)) {
		return 0;
	}
	if (extents_overlap(v, &v->main.extent, &v->reserve.extent)) {
		udf_check_found(v->check, UDF_FINDING_SEQUENCE,
				UDF_FINDING_ERROR, NULL, UINT32_MAX,
				"the anchor has both Volume Descriptor "
				"Sequences in the same place");
		return 0;
	}
	ret = read_sequence(v, &v->main);
	if (ret == 0) {
		ret = read_sequence(v, &v->reserve);
	}
	if (ret < 0) {
		return ret;
	}
	v->main.distrusted |= !is_complete(v, &v->main);
	/* What prevails has to do so before a sequence is whole again. */
	check_differences(v);
	check_damaged(v, &v->main, &v->reserve);
	check_damaged(v, &v->reserve, &v->main);
	check_missing(v, &v->main, &v->reserve);
	check_missing(v, &v->reserve, &v->main);
	return 0;
}

static void free_sequence(struct sequence *sequence)
{
	size_t i = 0;

	for (i = 0; i < sequence->count; i++) {
		free(sequence->descriptors[i].block);
	}
}

/* Sorted by the originals; what is free or defective is at the end. */
static bool table_is_sorted(const uint8_t *buf, uint16_t count)
{
	struct udf_sparing_entry previous = {0};
	uint32_t i = 0;

	for (i = 0; i < count; i++) {
		struct udf_sparing_entry entry = {0};

		decode_sparing_entry(buf + UDF_SPARING_TABLE_LEN +
					     (size_t)i * UDF_SPARING_ENTRY_LEN,
				     &entry);
		if (i > 0 && entry.original < previous.original) {
			return false;
		}
		previous = entry;
	}
	return true;
}

static int compare_entries(const void *a, const void *b)
{
	const struct udf_sparing_entry *x = a;
	const struct udf_sparing_entry *y = b;

	if (x->original != y->original) {
		return x->original < y->original ? -1 : 1;
	}
	return x->mapped < y->mapped ? -1 : x->mapped > y->mapped;
}

/* Has a copy the entries of the table that the open has chosen? -ENOMEM. */
static int table_is_used(struct volume_check *v, const uint8_t *buf,
			 uint16_t count, bool *is_used)
{
	struct udf_sparing_entry *used = NULL;
	struct udf_sparing_entry *own = NULL;
	uint32_t used_count = 0;
	uint32_t i = 0;
	int ret = udf_volume_sparing_entries(v->check->volume, &used,
					     &used_count);

	if (ret < 0) {
		return ret;
	}
	own = calloc(count + 1u, sizeof(*own));
	if (own == NULL) {
		free(used);
		return -ENOMEM;
	}
	for (i = 0; i < count; i++) {
		decode_sparing_entry(buf + UDF_SPARING_TABLE_LEN +
					     (size_t)i * UDF_SPARING_ENTRY_LEN,
				     &own[i]);
	}
	qsort(own, count, sizeof(*own), compare_entries);
	*is_used = count == used_count;
	for (i = 0; i < count && *is_used; i++) {
		*is_used = compare_entries(&own[i], &used[i]) == 0;
	}
	free(used);
	free(own);
	return 0;
}

/* An open of the volume for writing does it. */
static void fix_table(struct volume_check *v)
{
	const struct udf_repair_step step = { .action = UDF_REPAIR_SPARING };
	const struct udf_repair_plan *plan = v->check->options->plan;

	if (plan != NULL && udf_repair_plan_has(plan, UDF_REPAIR_SPARING)) {
		udf_check_fixed(v->check);
		return;
	}
	udf_check_fix(v->check, &step, 0, NULL,
		      "the newest copy of the sparing table is written to all "
		      "its places");
}

/*
 * A copy of the table; *sequence: its number, 0 when it is not valid; *is_used:
 * it says the same as the one that is used.
 */
static int check_copy(struct volume_check *v, uint32_t location, uint32_t size,
		      uint32_t *sequence, bool *is_used)
{
	struct udf_sparing_header header = {0};
	uint8_t *buf = NULL;
	int ret = 0;

	*sequence = 0;
	buf = malloc(size);
	if (buf == NULL) {
		return -ENOMEM;
	}
	ret = read_blocks(v, location, size, buf);
	if (ret == 0) {
		ret = decode_sparing_table(buf, size, location, &header);
	}
	if (ret < 0) {
		udf_check_found(v->check, UDF_FINDING_SPARING,
				UDF_FINDING_ERROR, NULL, UINT32_MAX,
				"the sparing table in block %u of the volume "
				"%s",
				location,
				ret == -EUCLEAN ? "is damaged"
						: "cannot be read");
		fix_table(v);
	} else {
		*sequence = header.sequence + 1;
		if (!table_is_sorted(buf, header.count)) {
			udf_check_found(v->check, UDF_FINDING_SPARING,
					UDF_FINDING_ERROR, NULL, UINT32_MAX,
					"the sparing table in block %u of the "
					"volume is not sorted",
					location);
			fix_table(v);
		}
		ret = table_is_used(v, buf, header.count, is_used);
	}
	free(buf);
	return ret == -ENOMEM ? ret : 0;
}

static int check_sparing(struct volume_check *v,
			 const struct udf_partition_map *map)
{
	uint32_t sequences[UDF_MAX_SPARING_TABLES] = {0};
	bool used[UDF_MAX_SPARING_TABLES] = {false};
	uint32_t size = map->table_size;
	uint32_t newest = 0;
	uint32_t i = 0;

	if (size < UDF_SPARING_TABLE_LEN || size > SPARING_TABLE_MAX ||
	    map->tables > UDF_MAX_SPARING_TABLES) {
		udf_check_found(v->check, UDF_FINDING_SPARING,
				UDF_FINDING_ERROR, NULL, UINT32_MAX,
				"the partition map makes no sense of the "
				"sparing table");
		return 0;
	}
	/* Tables are whole blocks. */
	size = (size + v->block_size - 1) / v->block_size * v->block_size;
	for (i = 0; i < map->tables; i++) {
		int ret = check_copy(v, map->table_locations[i], size,
				     &sequences[i], &used[i]);

		if (ret < 0) {
			return ret;
		}
		if (sequences[i] > newest) {
			newest = sequences[i];
		}
	}
	for (i = 0; i < map->tables; i++) {
		if (sequences[i] != 0 && sequences[i] != newest) {
			udf_check_found(v->check, UDF_FINDING_SPARING,
					UDF_FINDING_ERROR, NULL, UINT32_MAX,
					"the sparing table in block %u of the "
					"volume is older than another copy",
					map->table_locations[i]);
			fix_table(v);
		} else if (sequences[i] != 0 && !used[i]) {
			udf_check_found(v->check, UDF_FINDING_SPARING,
					UDF_FINDING_ERROR, NULL, UINT32_MAX,
					"the sparing table in block %u of the "
					"volume does not say what the copy "
					"says that is used",
					map->table_locations[i]);
			fix_table(v);
		}
	}
	return 0;
}

static int check_maps(struct volume_check *v)
{
	const struct descriptor *d = find_descriptor(&v->main, UDF_TAG_LVD, 0);
	struct udf_lvd lvd = {0};
	uint32_t i = 0;
	int ret = 0;

	if (d == NULL) {
		d = find_descriptor(&v->reserve, UDF_TAG_LVD, 0);
	}
	if (d == NULL || decode_lvd(d->block, v->block_size, UDF_ANY_LOCATION,
				    &lvd) < 0) {
		return 0;
	}
	for (i = 0; i < lvd.map_count && ret == 0; i++) {
		if (lvd.maps[i].kind == UDF_MAP_SPARABLE) {
			ret = check_sparing(v, &lvd.maps[i]);
		}
	}
	return ret;
}

int udf_check_descriptors(struct udf_check *check, const char *path)
{
	struct volume_check v = {
		.check = check,
		.block_size = check->info->block_size,
	};
	int ret = 0;

	ret = udf_blockdev_open(path, true, &v.dev);
	if (ret < 0) {
		return ret;
	}
	v.volume_blocks = (uint32_t)(v.dev->size / v.block_size);
	v.block = malloc(v.block_size);
	if (v.block == NULL) {
		ret = -ENOMEM;
	} else {
		check_anchors(&v);
	}
	if (v.anchor_block != NULL) {
		ret = check_sequences(&v);
		if (ret == 0) {
			ret = check_maps(&v);
		}
	}
	free(v.anchor_block);
	free_sequence(&v.main);
	free_sequence(&v.reserve);
	free(v.block);
	udf_blockdev_close(v.dev);
	return ret;
}
