/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Room to grow: free blocks behind a directory or the metadata file, which
 * others are led away from as long as there are other free blocks. So these
 * stay in one extent, which is all that some readers know (docs/FORMAT.md).
 *
 * Room is a wish, in memory alone: it is free space as any other, it is given
 * to others when nothing else is free, and the oldest is forgotten when there
 * are too many. No locks: it belongs to a space, which is locked.
 */
#ifndef UDF_STORE_SPACE_ROOM_H
#define UDF_STORE_SPACE_ROOM_H

#include <stddef.h>
#include <stdint.h>

/* Whoever allocates looks at all of them. */
#define UDF_SPACE_ROOMS 64u

struct udf_space_run {
	uint32_t first;
	uint32_t count;
};

struct udf_space_rooms {
	struct udf_space_run rooms[UDF_SPACE_ROOMS]; /* count 0: none */
	size_t used; /* none is at this index or behind it */
	size_t next; /* to be replaced */
};

/* Remember room. It is in the place of one that begins there too. */
void udf_space_rooms_add(struct udf_space_rooms *rooms, uint32_t first,
			 uint32_t count);

/*
 * Shorten a free run to its first part that is nobody's room, which may have
 * no blocks; its first block is behind the room then. Room that begins at the
 * goal belongs to who asks.
 */
void udf_space_rooms_avoid(const struct udf_space_rooms *rooms, uint32_t goal,
			   struct udf_space_run *run);

/* These blocks are taken: by who has the room, if it begins there; room that
 * is cut by them ends before them. */
void udf_space_rooms_take(struct udf_space_rooms *rooms, uint32_t first,
			  uint32_t count);

#endif /* UDF_STORE_SPACE_ROOM_H */
