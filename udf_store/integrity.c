/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The Logical Volume Integrity Sequence: see integrity.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "integrity.h"

/* Descriptors read before a sequence is taken for endless. */
#define BLOCKS_MAX 4096u
#define READ_TRIES 3u
/* A write error may be a passing one. */
#define WRITE_TRIES 2u

static uint64_t block_offset(const struct udf_integrity_sequence *sequence,
			     uint32_t block)
{
	return (uint64_t)block * sequence->block_size;
}

enum content {
	CONTENT_LVID,
	CONTENT_END,	 /* another descriptor, or never written */
	CONTENT_DAMAGED, /* not to be read, or what it says is not true */
};

static enum content read_block(const struct udf_integrity_sequence *sequence,
			       uint32_t block, uint8_t *buf,
			       struct udf_lvid *lvid)
{
	uint32_t size = sequence->block_size;
	struct udf_tag tag = {0};
	unsigned int tries = 0;
	int ret = -EIO;

	for (tries = 0; tries < READ_TRIES && ret != 0; tries++) {
		ret = udf_blockdev_read(sequence->dev,
					block_offset(sequence, block), buf,
					size);
		if (ret == -EINVAL) {
			return CONTENT_END;
		}
	}
	if (ret != 0) {
		return CONTENT_DAMAGED;
	}
	if (decode_lvid(buf, size, block, lvid) == 0) {
		return CONTENT_LVID;
	}
	if (buf[0] == 0 && memcmp(buf, buf + 1, size - 1) == 0) {
		return CONTENT_END;
	}
	if (decode_tag(buf, size, &tag) == 0 && tag.id != UDF_TAG_LVID) {
		return CONTENT_END;
	}
	return CONTENT_DAMAGED;
}

void udf_integrity_read(struct udf_integrity_sequence *sequence,
			struct udf_extent_ad extent)
{
	uint32_t size = sequence->block_size;
	uint32_t blocks = extent.length / size;
	uint32_t block = extent.location;
	uint32_t total = 0;
	bool damaged = false;
	uint8_t *buf = NULL;

	sequence->block = block;
	sequence->end = block + blocks;
	if (blocks > UINT32_MAX - block) {
		sequence->end = block;
		return;
	}
	buf = udf_blockdev_alloc(size);
	if (buf == NULL) {
		return;
	}
	while (blocks > 0 && total < BLOCKS_MAX) {
		struct udf_lvid lvid = {0};
		enum content content = read_block(sequence, block, buf, &lvid);

		if (content == CONTENT_END) {
			break;
		}
		if (content == CONTENT_DAMAGED) {
			damaged = true;
		} else {
			sequence->lvid = lvid;
			sequence->block = block;
			sequence->end = block + blocks;
			sequence->found = true;
			sequence->damaged = damaged;
		}
		total++;
		if (content == CONTENT_LVID && lvid.next.length >= size &&
		    lvid.next.length / size < UINT32_MAX - lvid.next.location) {
			block = lvid.next.location;
			blocks = lvid.next.length / size;
		} else {
			block++;
			blocks--;
		}
	}
	if (!sequence->found) {
		sequence->damaged = damaged;
	}
	free(buf);
}

/*
 * Past the cache, so that an error is about this block. Then all the same a
 * flush: the device may have a cache of its own.
 */
static int write_block(struct udf_integrity_sequence *sequence, uint32_t block,
		       const uint8_t *buf, uint8_t *check)
{
	uint64_t offset = block_offset(sequence, block);
	uint32_t size = sequence->block_size;
	int ret = 0;

	ret = udf_blockdev_write_medium(sequence->dev, offset, buf, size);
	if (ret == 0) {
		ret = udf_blockdev_flush(sequence->dev);
	}
	if (ret != 0 && !udf_blockdev_is_medium_error(ret)) {
		return ret;
	}
	/* A flush may tell of other blocks: what is there decides. */
	ret = udf_blockdev_read_medium(sequence->dev, offset, check, size);
	if (ret == 0 && memcmp(buf, check, size) != 0) {
		ret = -EIO;
	}
	return ret;
}

int udf_integrity_write(struct udf_integrity_sequence *sequence,
			const struct udf_lvid *lvid, bool *moved)
{
	uint32_t size = sequence->block_size;
	struct udf_lvid copy = *lvid;
	uint32_t block = sequence->block;
	unsigned int tries = 0;
	uint8_t *buf = NULL;
	uint8_t *check = NULL;
	int ret = -ENOMEM;

	*moved = false;
	buf = udf_blockdev_alloc(size);
	check = udf_blockdev_alloc(size);
	if (buf == NULL || check == NULL) {
		goto out;
	}
	do {
		copy.tag.location = block;
		ret = encode_lvid(&copy, buf, size);
		if (ret < 0) {
			goto out;
		}
		ret = -EIO;
		for (tries = 0; tries < WRITE_TRIES && ret != 0; tries++) {
			ret = write_block(sequence, block, buf, check);
		}
		if (ret == 0) {
			break;
		}
		udf_log(sequence->log, UDF_LOG_ERROR,
			"defect event=integrity block=%u error=\"%s\"", block,
			strerror(-ret));
		block++;
	} while (udf_blockdev_is_medium_error(ret) && block < sequence->end);
	if (ret == 0) {
		*moved = block != sequence->block;
		sequence->block = block;
		sequence->lvid = copy;
		sequence->found = true;
	}

out:
	free(buf);
	free(check);
	return udf_blockdev_is_medium_error(ret) ? -EIO : ret;
}
