/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The extent map of a file: which logical block of the file is in which block
 * of the partition. A sorted array without gaps from block 0 on; holes are
 * extents too. No I/O, no locks: the node that has it is locked.
 */
#ifndef UDF_STORE_EXTENT_H
#define UDF_STORE_EXTENT_H

#include <stddef.h>
#include <stdint.h>

#include "ecma167.h"

struct udf_extent {
	uint64_t block; /* of the file */
	uint64_t count;
	uint32_t lbn; /* of the partition; 0 for a hole */
	enum udf_extent_type type;
};

struct udf_extent_map {
	struct udf_extent *extents;
	size_t count;
	size_t capacity;
};

void udf_extent_map_free(struct udf_extent_map *map);

/* Blocks of the file that the map describes. */
uint64_t udf_extent_map_end(const struct udf_extent_map *map);

/*
 * What is at a block of the file: fills in *found with the part of its extent
 * from that block on. Behind the map's end: a hole that does not end.
 */
void udf_extent_map_find(const struct udf_extent_map *map, uint64_t block,
			 struct udf_extent *found);

/*
 * Put an extent over whatever the map says there (which becomes the caller's
 * to release); it may begin at the end at most. Neighbours that continue
 * each other become one. -ENOMEM: nothing is changed.
 */
int udf_extent_map_set(struct udf_extent_map *map,
		       const struct udf_extent *extent);

/*
 * End the map at a block of the file. Each run of blocks that is cut off is
 * given to release, from the end backwards; holes are not.
 */
typedef void (*udf_extent_release_fn)(void *private_data, uint32_t lbn,
				      uint64_t count);
void udf_extent_map_cut(struct udf_extent_map *map, uint64_t end,
			udf_extent_release_fn release, void *private_data);

/* Blocks of the partition that are recorded; that the file has at all. */
uint64_t udf_extent_map_recorded(const struct udf_extent_map *map);
uint64_t udf_extent_map_allocated(const struct udf_extent_map *map);

#endif /* UDF_STORE_EXTENT_H */
