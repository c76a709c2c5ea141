/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Where free blocks are looked for, and taken. See space.h.
 */
#include <errno.h>

#include "bytes.h"
#include "space.h"
#include "space_bits.h"

/*
 * The first free run of a loaded chunk at or after a block. Returns its
 * length, at most limit; 0: none.
 */
static uint32_t chunk_find_run(const struct udf_space *space, uint32_t index,
			       uint32_t from, uint32_t limit, uint32_t *found)
{
	const struct udf_space_chunk *chunk = &space->chunks[index];
	uint32_t end = udf_space_chunk_end(space, index);
	uint32_t lbn = from;
	uint32_t length = 0;
	uint64_t bit = 0;

	if (lbn >= end) {
		return 0;
	}
	udf_space_bit_chunk(space, lbn, &bit);
	while (lbn < end && !udf_space_bit(chunk->bytes, bit)) {
		if (bit % 64 == 0 && end - lbn >= 64 &&
		    get_le64(&chunk->bytes[bit / 8]) == 0) {
			lbn += 64;
			bit += 64;
			continue;
		}
		lbn++;
		bit++;
	}
	*found = lbn;
	while (lbn < end && length < limit &&
	       udf_space_bit(chunk->bytes, bit)) {
		if (bit % 64 == 0 && end - lbn >= 64 && limit - length >= 64 &&
		    get_le64(&chunk->bytes[bit / 8]) == UINT64_MAX) {
			lbn += 64;
			bit += 64;
			length += 64;
			continue;
		}
		lbn++;
		bit++;
		length++;
	}
	return length;
}

/*
 * As chunk_find_run(), without what is others' room if that is to be avoided.
 * From where to go on is *next, udf_space_chunk_end() when nothing is left.
 */
static uint32_t chunk_next_run(const struct udf_space *space, uint32_t index,
			       uint32_t from, uint32_t limit, uint32_t goal,
			       bool avoid, uint32_t *found, uint32_t *next)
{
	struct udf_space_run run = { .first = from };
	uint32_t begin = 0;

	do {
		run.count = chunk_find_run(space, index, run.first, limit,
					   &run.first);
		if (run.count == 0) {
			*next = udf_space_chunk_end(space, index);
			return 0;
		}
		begin = run.first;
		if (avoid) {
			udf_space_rooms_avoid(&space->rooms, goal, &run);
		}
	} while (run.first != begin);
	*found = run.first;
	*next = run.first + run.count;
	return run.count;
}

/*
 * Look through the chunks from a block on, around the end once. The first
 * chunk is looked at up to twice: from the goal, and at the end from its
 * beginning. Keeps the longest run; a whole one ends the search, and so does
 * the end of the first chunk with any free block after the goal.
 */
static int search_runs(struct udf_space *space, uint32_t goal, uint32_t wanted,
		       bool avoid, uint32_t *lbn, uint32_t *length)
{
	uint64_t bit = 0;
	uint32_t first = 0;

	if (goal >= space->bits) {
		goal = 0;
	}
	first = udf_space_bit_chunk(space, goal, &bit);
	*length = 0;
	for (uint32_t n = 0; n <= space->chunk_count; n++) {
		uint32_t index = (first + n) % space->chunk_count;
		uint32_t from = udf_space_chunk_first(space, index);
		int ret = 0;

		if (n == 0) {
			from = goal;
		}
		ret = udf_space_chunk_load(space, index);
		if (ret < 0) {
			return ret;
		}
		while (space->chunks[index].free > 0) {
			uint32_t found = 0;
			uint32_t run = chunk_next_run(space, index, from,
						      wanted, goal, avoid,
						      &found, &from);

			if (run > *length || (run > 0 && found == goal)) {
				*lbn = found;
				*length = run;
			}
			if (run == 0 || run == wanted || found == goal) {
				break;
			}
		}
		if (*length > 0) {
			return 0;
		}
	}
	return -ENOSPC;
}

/* Others' room is for when nothing else is free. */
static int space_search(struct udf_space *space, uint32_t goal,
			uint32_t wanted, uint32_t *lbn, uint32_t *length)
{
	int ret = search_runs(space, goal, wanted, true, lbn, length);

	if (ret == -ENOSPC) {
		ret = search_runs(space, goal, wanted, false, lbn, length);
	}
	return ret;
}

/* Take a run of free blocks. */
static int run_take(struct udf_space *space, uint32_t first, uint32_t count)
{
	int ret = udf_space_mark(space, first, count, false);

	if (ret == 0) {
		udf_space_rooms_take(&space->rooms, first, count);
	}
	return ret;
}

/* Blocks that can be allocated. lock is held. */
static uint64_t available_blocks(const struct udf_space *space)
{
	if (space->free_blocks <= space->reserved_blocks) {
		return 0;
	}
	return space->free_blocks - space->reserved_blocks;
}

/* A goal as a block of the partition: none, or one elsewhere, is the hint. */
static uint32_t goal_within(const struct udf_space *space, uint32_t goal)
{
	if (goal == 0 || goal < space->base ||
	    goal - space->base >= space->bits) {
		return space->hint;
	}
	return goal - space->base;
}

int udf_space_allocate(struct udf_space *space, uint32_t goal, uint32_t *count,
		       uint32_t *lbn)
{
	uint32_t wanted = *count;
	uint32_t length = 0;
	uint32_t found = 0;
	uint64_t available = 0;
	int ret = 0;

	pthread_mutex_lock(&space->lock);
	available = available_blocks(space);
	if (available == 0) {
		space->wanted = wanted;
		ret = -ENOSPC;
		goto out;
	}
	if (wanted > available) {
		wanted = (uint32_t)available;
	}
	ret = space_search(space, goal_within(space, goal), wanted, &found,
			   &length);
	if (ret < 0) {
		goto out;
	}
	ret = run_take(space, found, length);
	if (ret < 0) {
		goto out;
	}
	space->hint = found + length;
	*lbn = space->base + found;
	*count = length;
out:
	pthread_mutex_unlock(&space->lock);
	return ret;
}

/* The aligned part of a free run that is whole units long; its length. */
static uint32_t aligned_part(uint32_t run, uint32_t unit, uint32_t alignment,
			     uint32_t *first)
{
	uint32_t skip = (alignment - *first % alignment) % alignment;

	if (run <= skip) {
		return 0;
	}
	*first += skip;
	return (run - skip) / unit * unit;
}

/* The first such run of the wanted length, or the longest. */
static int search_aligned(struct udf_space *space, uint32_t goal,
			  uint32_t unit, uint32_t alignment, uint32_t wanted,
			  bool avoid, uint32_t *lbn, uint32_t *length)
{
	uint64_t bit = 0;
	uint32_t first = udf_space_bit_chunk(space, goal, &bit);

	*length = 0;
	for (uint32_t n = 0; n <= space->chunk_count; n++) {
		uint32_t index = (first + n) % space->chunk_count;
		uint32_t from = n == 0 ? goal
				       : udf_space_chunk_first(space, index);
		int ret = udf_space_chunk_load(space, index);

		if (ret < 0) {
			return ret;
		}
		while (space->chunks[index].free > 0) {
			uint32_t found = 0;
			uint32_t run = chunk_next_run(space, index, from,
						      UINT32_MAX, goal, avoid,
						      &found, &from);
			uint32_t part = 0;

			if (run == 0) {
				break;
			}
			part = aligned_part(run, unit, alignment, &found);
			if (part > *length) {
				*lbn = found;
				*length = part;
			}
			if (*length >= wanted) {
				*length = wanted;
				return 0;
			}
		}
	}
	return *length > 0 ? 0 : -ENOSPC;
}

static int aligned_search(struct udf_space *space, uint32_t goal,
			  uint32_t unit, uint32_t alignment, uint32_t wanted,
			  uint32_t *lbn, uint32_t *length)
{
	int ret = search_aligned(space, goal, unit, alignment, wanted, true,
				 lbn, length);

	if (ret == -ENOSPC || (ret == 0 && *length < wanted)) {
		ret = search_aligned(space, goal, unit, alignment, wanted,
				     false, lbn, length);
	}
	return ret;
}

int udf_space_allocate_at(struct udf_space *space, uint32_t lbn, uint32_t unit,
			  uint32_t *count)
{
	uint32_t block = lbn - space->base;
	uint32_t length = 0;
	uint32_t found = 0;
	uint64_t bit = 0;
	uint32_t index = 0;
	int ret = -ENOSPC;

	pthread_mutex_lock(&space->lock);
	if (lbn < space->base || block >= space->bits ||
	    available_blocks(space) < *count) {
		goto out;
	}
	index = udf_space_bit_chunk(space, block, &bit);
	ret = udf_space_chunk_load(space, index);
	if (ret < 0) {
		goto out;
	}
	length = chunk_find_run(space, index, block, *count, &found);
	length = length / unit * unit;
	if (length == 0 || found != block) {
		ret = -ENOSPC;
		goto out;
	}
	ret = run_take(space, block, length);
	if (ret == 0) {
		*count = length;
	}
out:
	pthread_mutex_unlock(&space->lock);
	return ret;
}

int udf_space_allocate_roomy(struct udf_space *space, uint32_t goal,
			     uint32_t count, uint32_t room, uint32_t *lbn)
{
	uint32_t length = 0;
	uint32_t found = 0;
	int ret = -ENOSPC;

	pthread_mutex_lock(&space->lock);
	if (available_blocks(space) >= (uint64_t)count + room) {
		ret = search_aligned(space, goal_within(space, goal), 1, 1,
				     count + room, true, &found, &length);
	}
	if (ret == 0 && length < count + room / 4) {
		ret = -ENOSPC;
	}
	if (ret == 0) {
		ret = run_take(space, found, count);
	}
	if (ret == 0) {
		*lbn = space->base + found;
		udf_space_rooms_add(&space->rooms, found + count,
				    length - count);
	}
	pthread_mutex_unlock(&space->lock);
	return ret;
}

void udf_space_keep_room(struct udf_space *space, uint32_t lbn, uint32_t count)
{
	pthread_mutex_lock(&space->lock);
	if (lbn >= space->base) {
		udf_space_rooms_add(&space->rooms, lbn - space->base, count);
	}
	pthread_mutex_unlock(&space->lock);
}

int udf_space_allocate_aligned(struct udf_space *space, uint32_t goal,
			       uint32_t unit, uint32_t alignment,
			       uint32_t *count, uint32_t *lbn)
{
	uint32_t wanted = *count / unit * unit;
	uint32_t length = 0;
	uint32_t found = 0;
	uint64_t available = 0;
	int ret = 0;

	pthread_mutex_lock(&space->lock);
	available = available_blocks(space);
	if (wanted > available) {
		wanted = (uint32_t)available / unit * unit;
	}
	if (wanted == 0) {
		ret = -ENOSPC;
		goto out;
	}
	ret = aligned_search(space, goal_within(space, goal), unit, alignment,
			     wanted, &found, &length);
	if (ret == 0) {
		ret = run_take(space, found, length);
	}
	if (ret == 0) {
		*lbn = space->base + found;
		*count = length;
	}
out:
	pthread_mutex_unlock(&space->lock);
	return ret;
}

int udf_space_take(struct udf_space *space, uint32_t goal, uint32_t *lbn)
{
	uint32_t length = 0;
	uint32_t found = 0;
	int ret = 0;

	pthread_mutex_lock(&space->lock);
	ret = space_search(space, goal_within(space, goal), 1, &found, &length);
	if (ret == 0) {
		ret = run_take(space, found, 1);
	}
	if (ret == 0) {
		*lbn = space->base + found;
		space->reserved_blocks--;
	}
	pthread_mutex_unlock(&space->lock);
	return ret;
}
