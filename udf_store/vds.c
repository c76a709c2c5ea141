/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Recognising a UDF volume: see vds.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vds.h"

#define BLOCK_SIZE_MAX 4096u
#define ANCHOR_BLOCK 256u
/* A sequence is 16 blocks or so; these bounds stop a hostile one. */
#define SEQUENCE_BLOCKS_MAX 1024u
#define SEQUENCE_EXTENTS_MAX 8u
#define READ_TRIES 3u

struct vds_reader {
	struct udf_blockdev *dev;
	const struct udf_log *log;
	uint8_t *block;
	bool io_error; /* something could not be read at all */
};

static int read_block(struct vds_reader *reader, uint32_t block_size,
		      uint32_t block)
{
	uint64_t offset = (uint64_t)block * block_size;
	unsigned int tries = 0;
	int ret = 0;

	for (tries = 0; tries < READ_TRIES; tries++) {
		ret = udf_blockdev_read(reader->dev, offset, reader->block,
					block_size);
		if (ret == 0 || ret == -EINVAL) {
			return ret;
		}
	}
	reader->io_error = true;
	return ret;
}

static int take_pvd(const uint8_t *block, uint32_t size, uint32_t location,
		    struct udf_vds *vds)
{
	struct udf_pvd pvd = {0};
	int ret = 0;

	ret = decode_pvd(block, size, location, &pvd);
	if (ret != 0 || (vds->has_pvd && pvd.sequence < vds->pvd_sequence)) {
		return ret;
	}
	vds->has_pvd = true;
	vds->pvd_sequence = pvd.sequence;
	memcpy(vds->volume_set_id, pvd.volume_set_id,
	       sizeof(vds->volume_set_id));
	memcpy(vds->recorded_raw, pvd.recorded_raw, sizeof(vds->recorded_raw));
	vds->recorded = pvd.recorded;
	return 0;
}

static int take_lvd(const uint8_t *block, uint32_t size, uint32_t location,
		    struct udf_vds *vds)
{
	struct udf_lvd lvd = {0};
	int ret = 0;

	ret = decode_lvd(block, size, location, &lvd);
	if (ret != 0 || (vds->has_lvd && lvd.sequence < vds->lvd.sequence)) {
		return ret;
	}
	vds->has_lvd = true;
	vds->lvd = lvd;
	return 0;
}

static int take_pd(const uint8_t *block, uint32_t size, uint32_t location,
		   struct udf_vds *vds)
{
	struct udf_pd pd = {0};
	uint32_t i = 0;
	int ret = 0;

	ret = decode_pd(block, size, location, &pd);
	if (ret != 0) {
		return ret;
	}
	for (i = 0; i < vds->partitions; i++) {
		if (vds->pd[i].number == pd.number) {
			break;
		}
	}
	if (i == UDF_MAX_PARTITIONS) {
		return ret;
	}
	if (i == vds->partitions) {
		vds->partitions++;
	} else if (pd.sequence < vds->pd[i].sequence) {
		return ret;
	}
	vds->pd[i] = pd;
	return 0;
}

static bool is_zero(const uint8_t *p, size_t len)
{
	return p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

/*
 * Take all descriptors of one sequence. Returns false when a block of it
 * could not be read or was damaged.
 */
static bool read_sequence(struct vds_reader *reader,
			  struct udf_extent_ad extent, struct udf_vds *vds)
{
	uint32_t size = vds->block_size;
	uint32_t blocks = extent.length / size;
	uint32_t location = extent.location;
	uint32_t total = 0;
	uint32_t extents = 0;
	bool intact = true;

	while (blocks > 0 && total < SEQUENCE_BLOCKS_MAX) {
		struct udf_tag tag = {0};
		struct udf_vdp vdp = {0};
		int ret = 0;

		ret = read_block(reader, size, location);
		if (ret != 0) {
			intact = false;
			goto next;
		}
		ret = decode_tag(reader->block, size, &tag);
		if (ret != 0 || is_zero(reader->block, size)) {
			if (is_zero(reader->block, size)) {
				return intact;
			}
			intact = false;
			goto next;
		}
		switch (tag.id) {
		case UDF_TAG_PVD:
			ret = take_pvd(reader->block, size, location, vds);
			break;
		case UDF_TAG_LVD:
			ret = take_lvd(reader->block, size, location, vds);
			break;
		case UDF_TAG_PD:
			ret = take_pd(reader->block, size, location, vds);
			break;
		case UDF_TAG_VDP:
			ret = decode_vdp(reader->block, size, location, &vdp);
			if (ret == 0 && extents < SEQUENCE_EXTENTS_MAX) {
				extents++;
				location = vdp.next.location;
				blocks = vdp.next.length / size;
				continue;
			}
			break;
		case UDF_TAG_TD:
			return intact;
		default:
			break;
		}
		if (ret != 0) {
			intact = false;
		}
next:
		location++;
		blocks--;
		total++;
	}
	return intact;
}

static bool has_partition(const struct udf_vds *vds, uint16_t number)
{
	uint32_t i = 0;

	for (i = 0; i < vds->partitions; i++) {
		if (vds->pd[i].number == number) {
			return true;
		}
	}
	return false;
}

/* All that is needed, the partitions of the logical volume among it. */
static bool is_complete(const struct udf_vds *vds)
{
	uint32_t i = 0;

	if (!vds->has_pvd || !vds->has_lvd || vds->partitions == 0) {
		return false;
	}
	for (i = 0; i < vds->lvd.map_count; i++) {
		const struct udf_partition_map *map = &vds->lvd.maps[i];

		if (map->kind != UDF_MAP_UNKNOWN &&
		    !has_partition(vds, map->partition_number)) {
			return false;
		}
	}
	return true;
}

/* Read the sequences of an anchor: the main one and, if need be, the other. */
static void read_sequences(struct vds_reader *reader,
			   const struct udf_avdp *avdp, struct udf_vds *vds)
{
	bool intact = false;

	intact = read_sequence(reader, avdp->main, vds);
	if (intact && is_complete(vds)) {
		return;
	}
	(void)read_sequence(reader, avdp->reserve, vds);
	if (is_complete(vds)) {
		udf_log(reader->log, UDF_LOG_WARNING,
			"the Main Volume Descriptor Sequence at block %u is "
			"damaged; the reserve at block %u fills in",
			avdp->main.location, avdp->reserve.location);
	}
}

/* What a look with one block size found. */
enum finding {
	FOUND_NOTHING,
	FOUND_ANCHOR, /* whose sequences lack what is needed */
	FOUND_VOLUME, /* *vds is filled */
};

static enum finding try_block_size(struct vds_reader *reader,
				   uint32_t block_size, struct udf_vds *vds)
{
	uint64_t blocks = reader->dev->size / block_size;
	uint64_t anchors[3] = {ANCHOR_BLOCK, blocks - 1,
			       blocks - 1 - ANCHOR_BLOCK};
	enum finding found = FOUND_NOTHING;
	size_t i = 0;

	if (blocks <= ANCHOR_BLOCK || blocks > UINT32_MAX) {
		return FOUND_NOTHING;
	}
	for (i = 0; i < 3; i++) {
		struct udf_avdp avdp = {0};
		struct udf_vds candidate = {
			.block_size = block_size,
			.volume_blocks = (uint32_t)blocks,
		};
		uint32_t location = (uint32_t)anchors[i];

		if (read_block(reader, block_size, location) != 0) {
			continue;
		}
		if (decode_avdp(reader->block, block_size, location, &avdp) !=
		    0) {
			continue;
		}
		found = FOUND_ANCHOR;
		read_sequences(reader, &avdp, &candidate);
		if (!is_complete(&candidate)) {
			continue;
		}
		if (candidate.lvd.block_size != block_size) {
			/* An older volume's anchor. */
			continue;
		}
		*vds = candidate;
		vds->anchor = avdp;
		vds->anchor_found = true;
		return FOUND_VOLUME;
	}
	return found;
}

/* What a volume has without its anchors. */
static enum finding search_block_size(struct vds_reader *reader,
				      uint32_t block_size, struct udf_vds *vds)
{
	struct udf_vds candidate = {
		.block_size = block_size,
		.volume_blocks = (uint32_t)(reader->dev->size / block_size),
	};

	if (udf_vds_search(reader->dev, block_size, &candidate.anchor) != 0) {
		return FOUND_NOTHING;
	}
	read_sequences(reader, &candidate.anchor, &candidate);
	if (!is_complete(&candidate)) {
		return FOUND_NOTHING;
	}
	udf_log(reader->log, UDF_LOG_WARNING,
		"no valid Anchor Volume Descriptor Pointer; a search found the "
		"Volume Descriptor Sequences at blocks %u and %u",
		candidate.anchor.main.location,
		candidate.anchor.reserve.location);
	*vds = candidate;
	return FOUND_VOLUME;
}

/* Is there at least a Volume Recognition Sequence? (ECMA-167 2/8.3) */
static bool has_nsr(struct vds_reader *reader)
{
	uint64_t offset = UDF_VRS_OFFSET;
	unsigned int i = 0;

	for (i = 0; i < 32; i++) {
		enum udf_vsd vsd = UDF_VSD_NONE;

		if (udf_blockdev_read(reader->dev, offset, reader->block,
				      UDF_VRS_SECTOR) != 0) {
			return false;
		}
		vsd = decode_vsd(reader->block, UDF_VRS_SECTOR);
		if (vsd == UDF_VSD_NSR02 || vsd == UDF_VSD_NSR03) {
			return true;
		}
		offset += UDF_VRS_SECTOR;
	}
	return false;
}

/* Why no volume was found. */
static int explain(struct vds_reader *reader, enum finding found)
{
	if (found == FOUND_ANCHOR) {
		udf_log(reader->log, UDF_LOG_ERROR,
			"damaged UDF volume: no valid Primary Volume, Logical "
			"Volume and Partition Descriptor in the main or the "
			"reserve sequence");
		return -EUCLEAN;
	}
	if (has_nsr(reader)) {
		udf_log(reader->log, UDF_LOG_ERROR,
			"damaged or cut short UDF volume: no valid Anchor "
			"Volume Descriptor Pointer; udfctl check --dry-run "
			"searches for what it led to");
		return -EUCLEAN;
	}
	if (reader->io_error) {
		udf_log(reader->log, UDF_LOG_ERROR,
			"the device cannot be read where a UDF volume has its "
			"anchors");
		return -EIO;
	}
	udf_log(reader->log, UDF_LOG_ERROR,
		"no UDF volume is there; mkudffs makes one");
	return -EMEDIUMTYPE;
}

int udf_vds_read(struct udf_blockdev *dev, const struct udf_log *log,
		 uint32_t block_size, bool search, struct udf_vds *vds)
{
	struct vds_reader reader = {.dev = dev, .log = log};
	/* The usual ones first. */
	const uint32_t sizes[] = {2048, 512, 4096, 1024};
	enum finding found = FOUND_NOTHING;
	int ret = 0;
	size_t i = 0;

	reader.block = udf_blockdev_alloc(BLOCK_SIZE_MAX);
	if (reader.block == NULL) {
		return -ENOMEM;
	}
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		enum finding tried = FOUND_NOTHING;

		if (block_size != 0 && sizes[i] != block_size) {
			continue;
		}
		tried = try_block_size(&reader, sizes[i], vds);
		if (tried > found) {
			found = tried;
		}
		if (found == FOUND_VOLUME) {
			break;
		}
	}
	/* Without a recognition sequence it may be another file system now. */
	if (found == FOUND_NOTHING && search && has_nsr(&reader)) {
		for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]) &&
			    found != FOUND_VOLUME; i++) {
			if (block_size == 0 || sizes[i] == block_size) {
				found = search_block_size(&reader, sizes[i],
							  vds);
			}
		}
	}
	if (found != FOUND_VOLUME) {
		ret = explain(&reader, found);
	}
	free(reader.block);
	return ret;
}

/* Offset of the Integrity Sequence Extent in the LVD (ECMA-167 3/10.6). */
#define LVD_INTEGRITY_AT 432u

/* Rewrite the descriptor that is in reader->block. */
static int rewrite_lvd(struct vds_reader *reader, uint32_t block_size,
		       uint32_t location, const struct udf_tag *tag,
		       struct udf_extent_ad extent)
{
	uint64_t offset = (uint64_t)location * block_size;
	uint8_t *check = NULL;
	int ret = 0;

	encode_extent_ad(&extent, reader->block + LVD_INTEGRITY_AT);
	ret = encode_tag(tag, reader->block, block_size, tag->crc_length);
	if (ret < 0) {
		return ret;
	}
	ret = udf_blockdev_write_medium(reader->dev, offset, reader->block,
					block_size);
	if (ret == 0) {
		ret = udf_blockdev_flush(reader->dev);
	}
	check = udf_blockdev_alloc(block_size);
	if (check == NULL) {
		return -ENOMEM;
	}
	if (ret == 0) {
		ret = udf_blockdev_read_medium(reader->dev, offset, check,
					       block_size);
	}
	if (ret == 0 && memcmp(check, reader->block, block_size) != 0) {
		ret = -EIO;
	}
	free(check);
	return ret;
}

/* All LVDs of one sequence. 0: at least one, and all of them. */
static int set_integrity(struct vds_reader *reader, uint32_t block_size,
			 struct udf_extent_ad sequence,
			 struct udf_extent_ad extent)
{
	uint32_t blocks = sequence.length / block_size;
	uint32_t i = 0;
	int result = -ENOENT;

	for (i = 0; i < blocks && i < SEQUENCE_BLOCKS_MAX; i++) {
		uint32_t location = sequence.location + i;
		struct udf_tag tag = {0};
		int ret = 0;

		if (read_block(reader, block_size, location) != 0 ||
		    check_tag(reader->block, block_size, UDF_TAG_LVD, location,
			      &tag) != 0) {
			continue;
		}
		ret = rewrite_lvd(reader, block_size, location, &tag, extent);
		if (ret != 0) {
			udf_log(reader->log, UDF_LOG_WARNING,
				"the Logical Volume Descriptor at block %u "
				"cannot be written: %s",
				location, strerror(-ret));
			return ret;
		}
		result = 0;
	}
	return result;
}

int udf_vds_set_integrity(struct udf_blockdev *dev, const struct udf_log *log,
			  uint32_t block_size, const struct udf_avdp *anchor,
			  struct udf_extent_ad extent)
{
	struct vds_reader reader = {.dev = dev, .log = log};
	int reserve = 0;
	int main = 0;

	reader.block = udf_blockdev_alloc(BLOCK_SIZE_MAX);
	if (reader.block == NULL) {
		return -ENOMEM;
	}
	reserve = set_integrity(&reader, block_size, anchor->reserve, extent);
	main = set_integrity(&reader, block_size, anchor->main, extent);
	free(reader.block);
	return main == 0 ? 0 : reserve;
}
