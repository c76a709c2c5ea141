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
	uint8_t *block;
};

struct sequence {
	const char *name;
	struct descriptor descriptors[DESCRIPTORS_MAX];
	size_t count;
};

struct volume_check {
	struct udf_check *check;
	struct udf_blockdev *dev;
	uint32_t block_size;
	uint32_t volume_blocks;
	uint8_t *block;
	struct udf_avdp anchor;
	struct sequence main;
	struct sequence reserve;
};

static int read_blocks(struct volume_check *v, uint32_t block, size_t bytes,
		       void *buf)
{
	return udf_blockdev_read(v->dev, (uint64_t)block * v->block_size, buf,
				 bytes);
}

static void found(struct volume_check *v, enum udf_finding_kind kind,
		  const char *text)
{
	udf_check_found(v->check, kind, UDF_FINDING_ERROR, NULL, UINT32_MAX,
			"%s", text);
}

/* One of the places of an anchor. True: a valid one is there. */
static bool look_at_anchor(struct volume_check *v, uint32_t block,
			   unsigned int valid)
{
	struct udf_avdp anchor = {0};
	struct udf_tag tag = {0};
	int ret = 0;

	ret = read_blocks(v, block, v->block_size, v->block);
	if (ret < 0) {
		udf_check_found(v->check, UDF_FINDING_ANCHOR,
				UDF_FINDING_ERROR, NULL, UINT32_MAX,
				"block %u of the volume, where an anchor may "
				"be, cannot be read: %s",
				block, strerror(-ret));
		return false;
	}
	ret = decode_avdp(v->block, v->block_size, block, &anchor);
	if (ret < 0) {
		/* It need not be there; but if it is, it should be right. */
		if (decode_tag(v->block, v->block_size, &tag) == 0 &&
		    tag.id == UDF_TAG_AVDP) {
			udf_check_found(v->check, UDF_FINDING_ANCHOR,
					UDF_FINDING_ERROR, NULL, UINT32_MAX,
					"the anchor in block %u of the volume "
					"is damaged",
					block);
		}
		return false;
	}
	if (valid == 0) {
		v->anchor = anchor;
	} else if (anchor.main.location != v->anchor.main.location ||
		   anchor.reserve.location != v->anchor.reserve.location) {
		udf_check_found(v->check, UDF_FINDING_ANCHOR,
				UDF_FINDING_ERROR, NULL, UINT32_MAX,
				"the anchor in block %u of the volume names "
				"other descriptors than the first",
				block);
	}
	return true;
}

static unsigned int check_anchors(struct volume_check *v)
{
	const uint32_t places[] = {
		ANCHOR_BLOCK,
		v->volume_blocks - 1 - ANCHOR_BLOCK,
		v->volume_blocks - 1,
	};
	unsigned int valid = 0;
	size_t i = 0;

	if (v->volume_blocks <= 2 * ANCHOR_BLOCK) {
		return 0;
	}
	for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		valid += look_at_anchor(v, places[i], valid);
	}
	/* UDF 2.2.3 wants two, where the medium can have two. */
	if (valid == 1) {
		udf_check_found(v->check, UDF_FINDING_ANCHOR, UDF_FINDING_NOTE,
				NULL, UINT32_MAX,
				"there is one anchor; most volumes have two");
	}
	return valid;
}

/* A descriptor of a sequence, kept if it prevails. -ENOMEM. */
static int take_descriptor(struct volume_check *v, struct sequence *sequence,
			   const struct udf_tag *tag)
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
	memcpy(d->block, v->block, v->block_size);
	return 0;
}

static int read_sequence(struct volume_check *v,
			 const struct udf_extent_ad *extent,
			 struct sequence *sequence)
{
	uint32_t blocks = extent->length / v->block_size;
	uint32_t i = 0;

	for (i = 0; i < blocks && i < SEQUENCE_BLOCKS_MAX; i++) {
		uint32_t block = extent->location + i;
		struct udf_tag tag = {0};
		int ret = read_blocks(v, block, v->block_size, v->block);

		if (ret == 0) {
			ret = decode_tag(v->block, v->block_size, &tag);
			if (ret < 0 && i > 0 && tag.id == 0) {
				/* Not every writer ends it with a TD. */
				return 0;
			}
		}
		if (ret == 0 && tag.id == UDF_TAG_TD) {
			return 0;
		}
		if (ret == 0) {
			ret = check_tag(v->block, v->block_size, tag.id, block,
					NULL);
		}
		if (ret < 0) {
			udf_check_found(v->check, UDF_FINDING_SEQUENCE,
					UDF_FINDING_ERROR, NULL, UINT32_MAX,
					"the %s Volume Descriptor Sequence: "
					"the descriptor in block %u of the "
					"volume is damaged",
					sequence->name, block);
			continue;
		}
		ret = take_descriptor(v, sequence, &tag);
		if (ret < 0) {
			return ret;
		}
	}
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

/* What the one has and the other has not, or otherwise. */
static void compare_sequences(struct volume_check *v,
			      const struct sequence *one,
			      const struct sequence *other, bool contents)
{
	size_t i = 0;

	for (i = 0; i < one->count; i++) {
		const struct descriptor *d = &one->descriptors[i];
		const struct descriptor *same =
			find_descriptor(other, d->id, d->number);

		if (same == NULL) {
			udf_check_found(v->check, UDF_FINDING_SEQUENCE,
					UDF_FINDING_ERROR, NULL, UINT32_MAX,
					"the %s Volume Descriptor Sequence has "
					"no valid descriptor of type %u, the "
					"%s one has",
					other->name, d->id, one->name);
		} else if (contents &&
			   memcmp(d->block + UDF_TAG_LEN,
				  same->block + UDF_TAG_LEN,
				  v->block_size - UDF_TAG_LEN) != 0) {
			udf_check_found(v->check, UDF_FINDING_SEQUENCE,
					UDF_FINDING_ERROR, NULL, UINT32_MAX,
					"the descriptors of type %u in the "
					"main and the reserve Volume "
					"Descriptor Sequence differ",
					d->id);
		}
	}
}

static int check_sequences(struct volume_check *v)
{
	int ret = 0;

	v->main.name = "main";
	v->reserve.name = "reserve";
	ret = read_sequence(v, &v->anchor.main, &v->main);
	if (ret == 0) {
		ret = read_sequence(v, &v->anchor.reserve, &v->reserve);
	}
	if (ret < 0) {
		return ret;
	}
	compare_sequences(v, &v->main, &v->reserve, true);
	compare_sequences(v, &v->reserve, &v->main, false);
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

/* A copy of the table; *sequence: its number, 0 when it is not valid. */
static int check_copy(struct volume_check *v, uint32_t location, uint32_t size,
		      uint32_t *sequence)
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
				"is damaged: %s",
				location, strerror(-ret));
	} else {
		*sequence = header.sequence + 1;
		if (!table_is_sorted(buf, header.count)) {
			udf_check_found(v->check, UDF_FINDING_SPARING,
					UDF_FINDING_ERROR, NULL, UINT32_MAX,
					"the sparing table in block %u of the "
					"volume is not sorted",
					location);
		}
	}
	free(buf);
	return 0;
}

static int check_sparing(struct volume_check *v,
			 const struct udf_partition_map *map)
{
	uint32_t sequences[UDF_MAX_SPARING_TABLES] = {0};
	uint32_t size = map->table_size;
	uint32_t newest = 0;
	uint32_t i = 0;

	if (size < UDF_SPARING_TABLE_LEN || size > SPARING_TABLE_MAX ||
	    map->tables > UDF_MAX_SPARING_TABLES) {
		found(v, UDF_FINDING_SPARING,
		      "the partition map makes no sense of the sparing table");
		return 0;
	}
	/* Tables are whole blocks. */
	size = (size + v->block_size - 1) / v->block_size * v->block_size;
	for (i = 0; i < map->tables; i++) {
		int ret = check_copy(v, map->table_locations[i], size,
				     &sequences[i]);

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
	} else if (check_anchors(&v) > 0) {
		ret = check_sequences(&v);
		if (ret == 0) {
			ret = check_maps(&v);
		}
	}
	free_sequence(&v.main);
	free_sequence(&v.reserve);
	free(v.block);
	udf_blockdev_close(v.dev);
	return ret;
}
