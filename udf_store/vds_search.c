/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A search for the Volume Descriptor Sequences of a volume that has no valid
 * anchor; see vds.h.
 *
 * It looks where formatters put them, near the begin and the end of the
 * volume, for runs of valid descriptors that know their own place. A volume
 * has two of them, which say the same. What is older, of another format of
 * the medium, makes more, or they differ: then nothing is certain.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vds.h"

/* Blocks at each end of the volume where a sequence may be. */
#define SEARCH_BLOCKS 1024u

/* Sequences have at least 16 sectors (ECMA-167 3/8.4.2.2). */
#define SEQUENCE_BLOCKS_MIN 16u

/* Descriptors one after the other, up to a terminating one. */
struct run {
	uint32_t first;
	uint32_t count; /* blocks; 0: none */
	bool has_pvd;
	bool has_lvd;
	bool has_pd;
	uint8_t volume_set_id[UDF_VOLUME_SET_ID_LEN];
	uint8_t recorded_raw[UDF_TIMESTAMP_LEN];
	struct udf_tag tag; /* of the PVD */
	uint32_t partition_start;
	uint32_t partition_blocks;
};

struct search {
	struct udf_blockdev *dev;
	uint32_t block_size;
	uint32_t volume_blocks;
	uint8_t *block;
	struct run run; /* that is being read */
	struct run found[2];
	unsigned int count; /* more than two are counted, but not kept */
};

static void end_run(struct search *search)
{
	const struct run *run = &search->run;

	if (run->has_pvd && run->has_lvd && run->has_pd) {
		if (search->count < 2) {
			search->found[search->count] = *run;
		}
		search->count++;
	}
	search->run = (struct run){ .count = 0 };
}

static void take_pvd(struct search *search, uint32_t location)
{
	struct run *run = &search->run;
	struct udf_pvd pvd = {0};

	if (decode_pvd(search->block, search->block_size, location, &pvd) ==
	    0) {
		run->has_pvd = true;
		run->tag = pvd.tag;
		memcpy(run->volume_set_id, pvd.volume_set_id,
		       sizeof(run->volume_set_id));
		memcpy(run->recorded_raw, pvd.recorded_raw,
		       sizeof(run->recorded_raw));
	}
}

static void take_lvd(struct search *search, uint32_t location)
{
	struct udf_lvd lvd = {0};

	if (decode_lvd(search->block, search->block_size, location, &lvd) ==
		    0 &&
	    lvd.block_size == search->block_size) {
		search->run.has_lvd = true;
	}
}

static void take_pd(struct search *search, uint32_t location)
{
	struct run *run = &search->run;
	struct udf_pd pd = {0};

	if (decode_pd(search->block, search->block_size, location, &pd) == 0) {
		run->has_pd = true;
		run->partition_start = pd.start;
		run->partition_blocks = pd.length;
	}
}

static bool is_of_sequence(uint16_t id)
{
	return id == UDF_TAG_PVD || (id >= UDF_TAG_VDP && id <= UDF_TAG_TD);
}

static void look_at(struct search *search, uint32_t location)
{
	uint64_t offset = (uint64_t)location * search->block_size;
	struct run *run = &search->run;
	struct udf_tag tag = {0};

	if (udf_blockdev_read(search->dev, offset, search->block,
			      search->block_size) != 0 ||
	    decode_tag(search->block, search->block_size, &tag) != 0 ||
	    !is_of_sequence(tag.id) ||
	    check_tag(search->block, search->block_size, tag.id, location,
		      NULL) != 0) {
		end_run(search);
		return;
	}
	if (run->count == 0) {
		run->first = location;
	}
	run->count++;
	switch (tag.id) {
	case UDF_TAG_PVD:
		take_pvd(search, location);
		break;
	case UDF_TAG_LVD:
		take_lvd(search, location);
		break;
	case UDF_TAG_PD:
		take_pd(search, location);
		break;
	case UDF_TAG_TD:
		end_run(search);
		break;
	default:
		break;
	}
}

static bool is_outside_partition(const struct run *run)
{
	uint64_t end = (uint64_t)run->partition_start + run->partition_blocks;

	return run->first + run->count <= run->partition_start ||
	       run->first >= end;
}

/* Are these the two of one volume? */
static bool agree(const struct run *one, const struct run *other)
{
	return memcmp(one->volume_set_id, other->volume_set_id,
		      sizeof(one->volume_set_id)) == 0 &&
	       memcmp(one->recorded_raw, other->recorded_raw,
		      sizeof(one->recorded_raw)) == 0 &&
	       one->partition_start == other->partition_start &&
	       one->partition_blocks == other->partition_blocks &&
	       is_outside_partition(one) && is_outside_partition(other);
}

/* Its extent, as long as it has to be if nothing is in the way. */
static struct udf_extent_ad extent_of(const struct search *search,
				      const struct run *run, uint32_t limit)
{
	uint32_t blocks = run->count < SEQUENCE_BLOCKS_MIN ? SEQUENCE_BLOCKS_MIN
							   : run->count;

	if (run->first < run->partition_start &&
	    run->partition_start < limit) {
		limit = run->partition_start;
	}
	blocks = blocks < limit - run->first ? blocks : limit - run->first;
	return (struct udf_extent_ad){
		.length = blocks * search->block_size,
		.location = run->first,
	};
}

static void look_everywhere(struct search *search)
{
	uint32_t first = UDF_VRS_OFFSET / search->block_size;
	uint32_t block = 0;

	for (block = first; block < search->volume_blocks; block++) {
		if (block == SEARCH_BLOCKS &&
		    search->volume_blocks > 2 * SEARCH_BLOCKS) {
			end_run(search);
			block = search->volume_blocks - SEARCH_BLOCKS;
		}
		look_at(search, block);
	}
	end_run(search);
}

int udf_vds_search(struct udf_blockdev *dev, uint32_t block_size,
		   struct udf_avdp *anchor)
{
	struct search search = {
		.dev = dev,
		.block_size = block_size,
		.volume_blocks = (uint32_t)(dev->size / block_size),
	};
	const struct run *main = &search.found[0];
	const struct run *reserve = &search.found[1];

	if (dev->size / block_size > UINT32_MAX) {
		return -ENOENT;
	}
	search.block = udf_blockdev_alloc(block_size);
	if (search.block == NULL) {
		return -ENOMEM;
	}
	look_everywhere(&search);
	free(search.block);
	if (search.count != 2 || !agree(main, reserve)) {
		return -ENOENT;
	}
	*anchor = (struct udf_avdp){
		.tag.version = main->tag.version,
		.tag.serial = main->tag.serial,
		.main = extent_of(&search, main, reserve->first),
		.reserve = extent_of(&search, reserve, search.volume_blocks),
	};
	return 0;
}
