/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Mending a directory; see directory.h. Only bytes that are no FID are
 * changed, so whatever part of it a cut leaves, no name is lost by it.
 */
#include <errno.h>

#include "directory_data.h"

/*
 * The length of the next deleted FID in a gap: up to the end of the sector if
 * both it and what is left of the gap are long enough for one.
 */
static uint32_t piece_of(uint32_t offset, uint32_t left)
{
	uint32_t piece = SECTOR - offset % SECTOR;

	piece = piece < FID_MIN ? FID_MIN : piece;
	if (piece >= left) {
		return left;
	}
	if (left - piece < FID_MIN) {
		/* Both halves of so little are long enough, or it is one. */
		piece = left >= 2 * FID_MIN ? left - FID_MIN : left;
	}
	return piece;
}

/* A gap between FIDs, or at the end. -EUCLEAN: it is too short. */
static int fill_gap(struct udf_node *node, uint32_t offset, uint32_t length)
{
	uint32_t left = length;
	int ret = 0;

	while (left > 0) {
		uint32_t piece = piece_of(offset, left);

		if (left < FID_MIN) {
			return -EUCLEAN;
		}
		ret = udf_directory_put_unused(node, offset, piece);
		if (ret < 0) {
			return ret;
		}
		udf_directory_mark(node, offset, piece, BLOCK_ADDED);
		udf_directory_add_slot(node->directory, offset, piece);
		offset += piece;
		left -= piece;
	}
	return 0;
}

/* The rest of a directory that is no FID and too short for one goes. */
static void cut(struct udf_node *node, uint32_t size)
{
	node->directory->size = size;
	node->size = size;
	/* It may have one block less now. */
	node->beyond_end = !node->embedded;
}

/* What is damaged from an offset on, up to a FID or the end. */
static int fill_at(struct udf_node *node, uint32_t offset, uint32_t *end)
{
	const struct udf_directory *directory = node->directory;
	struct udf_fid fid = { .name_length = 0 };
	uint32_t at = offset;

	while (at < directory->size &&
	       decode_fid(&directory->data[at], directory->size - at,
			  UDF_ANY_LOCATION, &fid) <= 0) {
		at += directory->size - at < 4 ? directory->size - at : 4;
	}
	*end = at;
	if (at == directory->size) {
		uint32_t whole = (at - offset) / 4 * 4;

		whole = whole < FID_MIN ? 0 : whole;
		if (offset + whole < at) {
			cut(node, offset + whole);
		}
		*end = offset + whole;
	}
	return *end == offset ? 0 : fill_gap(node, offset, *end - offset);
}

int udf_directory_fill_damage(struct udf_node *node)
{
	const struct udf_directory *directory = node->directory;
	uint32_t offset = 0;

	while (offset < directory->size) {
		struct udf_fid fid = { .name_length = 0 };
		int length = decode_fid(&directory->data[offset],
					directory->size - offset,
					UDF_ANY_LOCATION, &fid);
		int ret = 0;

		if (length > 0) {
			offset += (uint32_t)length;
			continue;
		}
		ret = fill_at(node, offset, &offset);
		if (ret < 0) {
			return ret;
		}
	}
	return 0;
}
