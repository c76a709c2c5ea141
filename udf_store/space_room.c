/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Room to grow. See space_room.h.
 */
#include <stdbool.h>

#include "space_room.h"

static bool is_within(const struct udf_space_run *run, uint32_t block)
{
	return block >= run->first && block - run->first < run->count;
}

void udf_space_rooms_add(struct udf_space_rooms *rooms, uint32_t first,
			 uint32_t count)
{
	size_t index = rooms->next;

	for (size_t i = 0; i < rooms->used; i++) {
		if (rooms->rooms[i].count == 0 ||
		    rooms->rooms[i].first == first) {
			index = i;
			break;
		}
	}
	if (index == rooms->next) {
		rooms->next = (rooms->next + 1) % UDF_SPACE_ROOMS;
	}
	if (index >= rooms->used) {
		rooms->used = index + 1;
	}
	rooms->rooms[index] = (struct udf_space_run){
		.first = first,
		.count = count,
	};
}

void udf_space_rooms_avoid(const struct udf_space_rooms *rooms, uint32_t goal,
			   struct udf_space_run *run)
{
	size_t i = 0;

	while (i < rooms->used && run->count > 0) {
		const struct udf_space_run *room = &rooms->rooms[i];
		uint32_t skipped = 0;

		i++;
		if (room->count == 0 || room->first == goal) {
			continue;
		}
		if (is_within(run, room->first) && room->first != run->first) {
			run->count = room->first - run->first;
			continue;
		}
		if (!is_within(room, run->first)) {
			continue;
		}
		skipped = room->count - (run->first - room->first);
		run->first += skipped;
		run->count -= skipped < run->count ? skipped : run->count;
		/* What is behind may be the room of one that was looked at. */
		i = 0;
	}
}

void udf_space_rooms_take(struct udf_space_rooms *rooms, uint32_t first,
			  uint32_t count)
{
	const struct udf_space_run taken = { .first = first, .count = count };

	for (size_t i = 0; i < rooms->used; i++) {
		struct udf_space_run *room = &rooms->rooms[i];

		if (room->count == 0) {
			continue;
		}
		if (is_within(&taken, room->first)) {
			uint32_t used = count - (room->first - first);

			room->first += used;
			room->count -= used < room->count ? used : room->count;
		} else if (is_within(room, first)) {
			room->count = first - room->first;
		}
	}
}
