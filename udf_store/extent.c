/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The extent map of a file. See extent.h.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "extent.h"

void udf_extent_map_free(struct udf_extent_map *map)
{
	free(map->extents);
	map->extents = NULL;
	map->count = 0;
	map->capacity = 0;
}

uint64_t udf_extent_map_end(const struct udf_extent_map *map)
{
	const struct udf_extent *last = NULL;

	if (map->count == 0) {
		return 0;
	}
	last = &map->extents[map->count - 1];
	return last->block + last->count;
}

/* The index of the extent with this block; count when it is behind all. */
static size_t map_index(const struct udf_extent_map *map, uint64_t block)
{
	size_t low = 0;
	size_t high = map->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct udf_extent *e = &map->extents[middle];

		if (block < e->block) {
			high = middle;
		} else if (block - e->block >= e->count) {
			low = middle + 1;
		} else {
			return middle;
		}
	}
	return map->count;
}

/* The extent without its first blocks. */
static struct udf_extent extent_after(const struct udf_extent *e,
				      uint64_t skipped)
{
	struct udf_extent rest = *e;

	rest.block += skipped;
	rest.count -= skipped;
	if (rest.type != UDF_EXTENT_HOLE) {
		rest.lbn += (uint32_t)skipped;
	}
	return rest;
}

void udf_extent_map_find(const struct udf_extent_map *map, uint64_t block,
			 struct udf_extent *found)
{
	size_t i = map_index(map, block);

	if (i == map->count) {
		*found = (struct udf_extent){
			.block = block,
			.count = UINT64_MAX - block,
			.type = UDF_EXTENT_HOLE,
		};
		return;
	}
	*found = extent_after(&map->extents[i], block - map->extents[i].block);
}

static bool extent_continues(const struct udf_extent *a,
			     const struct udf_extent *b)
{
	if (a->type != b->type || a->block + a->count != b->block) {
		return false;
	}
	return a->type == UDF_EXTENT_HOLE || a->lbn + a->count == b->lbn;
}

/* Append to a short list, joining what continues. */
static size_t piece_add(struct udf_extent *pieces, size_t count,
			const struct udf_extent *e)
{
	if (e->count == 0) {
		return count;
	}
	if (count > 0 && extent_continues(&pieces[count - 1], e)) {
		pieces[count - 1].count += e->count;
		return count;
	}
	pieces[count] = *e;
	return count + 1;
}

static int map_reserve(struct udf_extent_map *map, size_t needed)
{
	struct udf_extent *bigger = NULL;
	size_t capacity = map->capacity;

	if (needed <= capacity) {
		return 0;
	}
	capacity = capacity < 4 ? 4 : capacity * 2;
	if (capacity < needed) {
		capacity = needed;
	}
	bigger = realloc(map->extents, capacity * sizeof(*bigger));
	if (bigger == NULL) {
		return -ENOMEM;
	}
	map->extents = bigger;
	map->capacity = capacity;
	return 0;
}

int udf_extent_map_set(struct udf_extent_map *map,
		       const struct udf_extent *extent)
{
	struct udf_extent pieces[5];
	size_t pieces_count = 0;
	uint64_t end = extent->block + extent->count;
	size_t first = 0;
	size_t after = 0;
	int ret = 0;

	if (extent->count == 0) {
		return 0;
	}
	if (extent->block > udf_extent_map_end(map)) {
		return -EINVAL;
	}

	/* [first, after) is replaced: what is touched and its neighbours. */
	first = map_index(map, extent->block);
	if (first > 0) {
		first--;
	}
	after = map_index(map, end);
	if (after < map->count) {
		after++;
	}

	for (size_t i = first; i < after; i++) {
		struct udf_extent e = map->extents[i];

		if (e.block >= extent->block) {
			break;
		}
		if (e.block + e.count > extent->block) {
			e.count = extent->block - e.block;
		}
		pieces_count = piece_add(pieces, pieces_count, &e);
	}
	pieces_count = piece_add(pieces, pieces_count, extent);
	if (after > first) {
		struct udf_extent e = map->extents[after - 1];

		if (e.block < end && e.block + e.count > end) {
			e = extent_after(&e, end - e.block);
		}
		if (e.block >= end) {
			pieces_count = piece_add(pieces, pieces_count, &e);
		}
	}

	ret = map_reserve(map, map->count - (after - first) + pieces_count);
	if (ret < 0) {
		return ret;
	}
	memmove(&map->extents[first + pieces_count], &map->extents[after],
		(map->count - after) * sizeof(*map->extents));
	memcpy(&map->extents[first], pieces,
	       pieces_count * sizeof(*map->extents));
	map->count = map->count - (after - first) + pieces_count;
	return 0;
}

void udf_extent_map_cut(struct udf_extent_map *map, uint64_t end,
			udf_extent_release_fn release, void *private_data)
{
	while (map->count > 0) {
		struct udf_extent *last = &map->extents[map->count - 1];
		uint64_t keep = 0;

		if (last->block + last->count <= end) {
			break;
		}
		if (last->block < end) {
			keep = end - last->block;
		}
		if (last->type != UDF_EXTENT_HOLE && release != NULL) {
			release(private_data, last->lbn + (uint32_t)keep,
				last->count - keep);
		}
		last->count = keep;
		if (keep > 0) {
			break;
		}
		map->count--;
	}
}

uint64_t udf_extent_map_recorded(const struct udf_extent_map *map)
{
	uint64_t blocks = 0;

	for (size_t i = 0; i < map->count; i++) {
		if (map->extents[i].type == UDF_EXTENT_RECORDED) {
			blocks += map->extents[i].count;
		}
	}
	return blocks;
}

uint64_t udf_extent_map_allocated(const struct udf_extent_map *map)
{
	uint64_t blocks = 0;

	for (size_t i = 0; i < map->count; i++) {
		if (map->extents[i].type != UDF_EXTENT_HOLE) {
			blocks += map->extents[i].count;
		}
	}
	return blocks;
}
