/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Free space of the partition. See space.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "ecma167.h"
#include "mapped.h"
#include "space.h"
#include "space_bits.h"

/* Bytes of the bitmap that are read and kept together, about. */
#define CHUNK_TARGET 32768u

#define BITS_OFFSET UDF_SPACE_BITMAP_LEN

uint32_t udf_space_bit_chunk(const struct udf_space *space, uint32_t lbn,
			  uint64_t *bit)
{
	uint64_t position = (uint64_t)BITS_OFFSET * 8 + lbn;
	uint64_t chunk_bits = (uint64_t)space->chunk_bytes * 8;

	*bit = position % chunk_bits;
	return (uint32_t)(position / chunk_bits);
}

uint32_t udf_space_chunk_first(const struct udf_space *space, uint32_t index)
{
	uint64_t position = (uint64_t)index * space->chunk_bytes * 8;

	if (position < BITS_OFFSET * 8) {
		return 0;
	}
	return (uint32_t)(position - BITS_OFFSET * 8);
}

uint32_t udf_space_chunk_end(const struct udf_space *space, uint32_t index)
{
	uint32_t end = 0;

	if (index + 1 >= space->chunk_count) {
		return space->bits;
	}
	end = udf_space_chunk_first(space, index + 1);
	return end < space->bits ? end : space->bits;
}

static uint32_t chunk_blocks(const struct udf_space *space, uint32_t index)
{
	uint32_t block_size = space->info->block_size;
	uint64_t total = ((uint64_t)space->bitmap_bytes + block_size - 1) /
			 block_size;
	uint64_t per_chunk = space->chunk_bytes / block_size;
	uint64_t first = (uint64_t)index * per_chunk;

	if (total - first < per_chunk) {
		return (uint32_t)(total - first);
	}
	return (uint32_t)per_chunk;
}

/* Free blocks of a chunk that is in memory. */
static uint64_t chunk_count_free(const struct udf_space *space, uint32_t index)
{
	const struct udf_space_chunk *chunk = &space->chunks[index];
	uint32_t lbn = udf_space_chunk_first(space, index);
	uint32_t end = udf_space_chunk_end(space, index);
	uint64_t free_blocks = 0;
	uint64_t bit = 0;

	if (lbn >= end) {
		return 0;
	}
	udf_space_bit_chunk(space, lbn, &bit);
	while (lbn < end) {
		if (bit % 64 == 0 && end - lbn >= 64) {
			uint64_t word = get_le64(&chunk->bytes[bit / 8]);

			free_blocks += (uint64_t)__builtin_popcountll(word);
			lbn += 64;
			bit += 64;
			continue;
		}
		free_blocks += udf_space_bit(chunk->bytes, bit);
		lbn++;
		bit++;
	}
	return free_blocks;
}

/* The lbn of the bitmap's block i. */
static uint32_t bitmap_lbn(const struct udf_space *space, uint32_t i)
{
	return udf_volume_bitmap_lbn(space->volume, space->is_metadata, i);
}

/* Does the bitmap's file wait for blocks, since its ICB was lost? */
static bool is_lost(const struct udf_space *space)
{
	return space->is_metadata &&
	       udf_mapped_wants(udf_volume_metadata(space->volume),
				UDF_METADATA_BITMAP) > 0;
}

/* Blocks of the bitmap, those that are next to each other at once. */
static int bitmap_read(struct udf_space *space, uint32_t first, uint32_t count,
		       uint8_t *bytes)
{
	uint32_t block_size = space->info->block_size;

	while (count > 0) {
		uint32_t lbn = bitmap_lbn(space, first);
		uint32_t run = 1;
		int ret = 0;

		if (lbn == UINT32_MAX) {
			return is_lost(space) ? -EIO : -EUCLEAN;
		}
		while (run < count &&
		       bitmap_lbn(space, first + run) == lbn + run) {
			run++;
		}
		ret = udf_volume_read(space->volume, lbn, run, bytes);
		if (ret < 0) {
			return ret;
		}
		first += run;
		count -= run;
		bytes += (size_t)run * block_size;
	}
	return 0;
}

int udf_space_chunk_load(struct udf_space *space, uint32_t index)
{
	struct udf_space_chunk *chunk = &space->chunks[index];
	uint32_t block_size = space->info->block_size;
	uint32_t blocks = chunk_blocks(space, index);
	uint32_t first = index * (space->chunk_bytes / block_size);
	uint8_t *bytes = NULL;
	bool *dirty = NULL;
	int ret = 0;

	if (chunk->bytes != NULL) {
		return 0;
	}
	bytes = calloc(1, space->chunk_bytes);
	dirty = calloc(blocks, sizeof(*dirty));
	if (bytes == NULL || dirty == NULL) {
		ret = -ENOMEM;
		goto fail;
	}
	ret = bitmap_read(space, first, blocks, bytes);
	if (ret == -EIO && space->rebuilding) {
		/* Used, all of it, until it is computed. */
		memset(bytes, 0, space->chunk_bytes);
		memset(dirty, true, blocks * sizeof(*dirty));
		space->damaged = true;
		ret = 0;
	}
	if (ret < 0) {
		goto fail;
	}
	chunk->bytes = bytes;
	chunk->dirty = dirty;
	chunk->free = chunk_count_free(space, index);
	return 0;
fail:
	free(bytes);
	free(dirty);
	return ret;
}

/* A header for a bitmap whose own cannot be read. */
static void make_up_header(struct udf_space *space, uint32_t blocks,
			   struct udf_space_bitmap *bitmap)
{
	udf_volume_log(space->volume, UDF_LOG_WARNING,
		       "the %s bitmap cannot be read: it is computed from "
		       "the tree",
		       space->is_metadata ? "metadata" : "space");
	*bitmap = (struct udf_space_bitmap){
		.tag.id = UDF_TAG_SPACE_BITMAP,
		.tag.version = space->info->revision >= 0x0200 ? 3 : 2,
		.tag.location = bitmap_lbn(space, 0),
		.bits = blocks,
		.bytes = blocks / 8 + (blocks % 8 != 0),
	};
	space->damaged = true;
}

/* One bitmap, of a partition of so many blocks. */
static int space_open(struct udf_space *space, uint32_t blocks,
		      uint32_t free_blocks, bool rebuild, bool repair)
{
	const struct udf_volume_info *info = space->info;
	struct udf_space_bitmap bitmap = { .bits = 0 };
	uint8_t *header = NULL;
	uint64_t room = 0;
	int ret = 0;

	space->rebuilding = rebuild;
	space->keep_released = repair;
	pthread_mutex_init(&space->lock, NULL);
	if (space->bitmap_bytes < BITS_OFFSET) {
		return -EUCLEAN;
	}
	header = malloc(info->block_size);
	if (header == NULL) {
		return -ENOMEM;
	}
	ret = bitmap_read(space, 0, 1, header);
	if (ret == 0) {
		ret = decode_space_bitmap(header, info->block_size,
					  UDF_ANY_LOCATION, &bitmap);
	}
	if ((ret == -EIO && rebuild) || (ret == -EUCLEAN && repair)) {
		make_up_header(space, blocks, &bitmap);
		ret = 0;
	}
	if (ret < 0) {
		goto out;
	}
	room = ((uint64_t)space->bitmap_bytes - BITS_OFFSET) * 8;
	space->bits = bitmap.bits;
	if (space->bits > room) {
		space->bits = (uint32_t)room;
	}
	if (space->bits > blocks) {
		space->bits = blocks;
	}
	space->chunk_bytes = CHUNK_TARGET;
	if (space->chunk_bytes < info->block_size) {
		space->chunk_bytes = info->block_size;
	}
	space->chunk_count = (space->bitmap_bytes - 1) / space->chunk_bytes + 1;
	space->chunks = calloc(space->chunk_count, sizeof(*space->chunks));
	if (space->chunks == NULL) {
		ret = -ENOMEM;
		goto out;
	}
	ret = udf_space_chunk_load(space, 0);
	if (ret < 0) {
		goto out;
	}
	/* A CRC that covers bits would have to change with each of them:
	 * UDF 2.3.3 lets it cover the header alone. */
	ret = encode_space_bitmap(&bitmap, space->chunks[0].bytes,
				  space->chunk_bytes);
	if (ret < 0) {
		goto out;
	}
	ret = 0;
	if (space->damaged) {
		space->chunks[0].dirty[0] = true;
	}
	space->free_blocks = free_blocks;
	if (free_blocks > space->bits || space->damaged) {
		space->free_blocks = 0;
		for (uint32_t i = 0; i < space->chunk_count; i++) {
			ret = udf_space_chunk_load(space, i);
			if (ret < 0) {
				goto out;
			}
			space->free_blocks += space->chunks[i].free;
		}
	}
out:
	space->rebuilding = false;
	free(header);
	return ret;
}

int udf_space_open(struct udf_space *space, struct udf_volume *volume,
		   uint32_t free_blocks, uint32_t metadata_free, bool rebuild,
		   bool repair)
{
	const struct udf_volume_info *info = udf_volume_info(volume);
	struct udf_space *metadata = NULL;
	int ret = 0;

	*space = (struct udf_space){
		.volume = volume,
		.info = info,
		.bitmap_bytes = info->space_bitmap_bytes,
	};
	ret = space_open(space, info->partition_blocks, free_blocks, rebuild,
			 repair);
	if (ret < 0 || !info->has_metadata) {
		goto out;
	}
	metadata = calloc(1, sizeof(*metadata));
	if (metadata == NULL) {
		ret = -ENOMEM;
		goto out;
	}
	*metadata = (struct udf_space){
		.volume = volume,
		.info = info,
		.is_metadata = true,
		.base = info->partition_blocks,
		.bitmap_bytes = info->metadata_bitmap_bytes,
	};
	space->metadata = metadata;
	ret = space_open(metadata, udf_volume_metadata_blocks(volume),
			 metadata_free, rebuild, repair);
	space->damaged = space->damaged || metadata->damaged;
out:
	if (ret < 0) {
		udf_space_close(space);
	}
	return ret;
}

static void space_close(struct udf_space *space)
{
	for (uint32_t i = 0; space->chunks != NULL && i < space->chunk_count;
	     i++) {
		free(space->chunks[i].bytes);
		free(space->chunks[i].dirty);
	}
	free(space->chunks);
	space->chunks = NULL;
	space->chunk_count = 0;
	udf_run_list_free(&space->released);
	udf_run_list_free(&space->withheld);
}

void udf_space_close(struct udf_space *space)
{
	space_close(space);
	if (space->metadata != NULL) {
		space_close(space->metadata);
		free(space->metadata);
		space->metadata = NULL;
	}
}

struct udf_space *udf_space_for_metadata(struct udf_space *space)
{
	return space->metadata != NULL ? space->metadata : space;
}

/* The space that a block belongs to. */
static struct udf_space *space_of(struct udf_space *space, uint32_t lbn)
{
	if (space->metadata != NULL && lbn >= space->metadata->base) {
		return space->metadata;
	}
	return space;
}

/*
 * 64 blocks of a chunk at once, if they all change: a large file comes and
 * goes with nothing else going on. False: by the block.
 */
static bool word_mark(struct udf_space *space, struct udf_space_chunk *chunk,
		      uint64_t bit, uint32_t count, bool is_free)
{
	uint8_t *word = &chunk->bytes[bit / 8];

	if (bit % 64 != 0 || count < 64 ||
	    bit / 8 + 8 > space->chunk_bytes ||
	    get_le64(word) != (is_free ? 0 : UINT64_MAX)) {
		return false;
	}
	if (!is_free && space->free_blocks < 64) {
		return false;
	}
	memset(word, is_free ? 0xFF : 0, 8);
	chunk->dirty[bit / 8 / space->info->block_size] = true;
	if (is_free) {
		chunk->free += 64;
		space->free_blocks += 64;
	} else {
		chunk->free -= 64;
		space->free_blocks -= 64;
	}
	return true;
}

int udf_space_mark(struct udf_space *space, uint32_t lbn, uint32_t count,
		    bool is_free)
{
	uint32_t block_size = space->info->block_size;

	while (count > 0) {
		uint64_t bit = 0;
		uint32_t index = udf_space_bit_chunk(space, lbn, &bit);
		struct udf_space_chunk *chunk = NULL;
		int ret = udf_space_chunk_load(space, index);

		if (ret < 0) {
			return ret;
		}
		chunk = &space->chunks[index];
		if (word_mark(space, chunk, bit, count, is_free)) {
			lbn += 64;
			count -= 64;
			continue;
		}
		if (udf_space_bit(chunk->bytes, bit) != is_free) {
			chunk->bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
			chunk->dirty[bit / 8 / block_size] = true;
			if (is_free) {
				chunk->free++;
				space->free_blocks++;
			} else {
				chunk->free--;
				space->free_blocks -= space->free_blocks > 0;
			}
		}
		lbn++;
		count--;
	}
	return 0;
}

uint32_t udf_space_wanted(struct udf_space *space)
{
	uint32_t wanted = 0;

	pthread_mutex_lock(&space->lock);
	if (space->free_blocks < space->reserved_blocks + space->wanted) {
		wanted = space->wanted;
	}
	pthread_mutex_unlock(&space->lock);
	return wanted;
}

int udf_space_load_all(struct udf_space *space)
{
	int ret = 0;

	pthread_mutex_lock(&space->lock);
	for (uint32_t i = 0; i < space->chunk_count && ret == 0; i++) {
		ret = udf_space_chunk_load(space, i);
	}
	pthread_mutex_unlock(&space->lock);
	return ret;
}

/* Chunks for a longer bitmap, with the bytes of those there are. */
static struct udf_space_chunk *chunks_for(struct udf_space *space,
					  uint32_t bitmap_bytes,
					  uint32_t count)
{
	uint32_t before = space->bitmap_bytes;
	struct udf_space_chunk *chunks = calloc(count, sizeof(*chunks));
	bool good = chunks != NULL;

	space->bitmap_bytes = bitmap_bytes;
	for (uint32_t i = 0; i < count && good; i++) {
		chunks[i].bytes = calloc(1, space->chunk_bytes);
		chunks[i].dirty = calloc(chunk_blocks(space, i),
					 sizeof(*chunks[i].dirty));
		good = chunks[i].bytes != NULL && chunks[i].dirty != NULL;
		if (good && i < space->chunk_count) {
			memcpy(chunks[i].bytes, space->chunks[i].bytes,
			       space->chunk_bytes);
			chunks[i].free = space->chunks[i].free;
		}
	}
	if (good) {
		return chunks;
	}
	space->bitmap_bytes = before;
	for (uint32_t i = 0; chunks != NULL && i < count; i++) {
		free(chunks[i].bytes);
		free(chunks[i].dirty);
	}
	free(chunks);
	return NULL;
}

static int space_grow(struct udf_space *space, uint32_t bits,
		      uint32_t bitmap_bytes)
{
	uint32_t count = (bitmap_bytes - 1) / space->chunk_bytes + 1;
	struct udf_space_bitmap bitmap = { .bits = 0 };
	struct udf_space_chunk *chunks = NULL;
	int ret = 0;

	ret = decode_space_bitmap(space->chunks[0].bytes, space->chunk_bytes,
				  UDF_ANY_LOCATION, &bitmap);
	if (ret < 0) {
		return ret;
	}
	chunks = chunks_for(space, bitmap_bytes, count);
	if (chunks == NULL) {
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < space->chunk_count; i++) {
		free(space->chunks[i].bytes);
		free(space->chunks[i].dirty);
	}
	free(space->chunks);
	space->chunks = chunks;
	space->chunk_count = count;
	for (uint32_t lbn = space->bits; lbn < bits; lbn++) {
		uint64_t bit = 0;
		uint32_t index = udf_space_bit_chunk(space, lbn, &bit);

		chunks[index].bytes[bit / 8] |= (uint8_t)(1u << (bit % 8));
	}
	bitmap.bits = bits;
	bitmap.bytes = bits / 8 + (bits % 8 != 0);
	bitmap.tag.location = bitmap_lbn(space, 0);
	ret = encode_space_bitmap(&bitmap, chunks[0].bytes, space->chunk_bytes);
	space->grown_bits = bits;
	return ret < 0 ? ret : 0;
}

int udf_space_grow(struct udf_space *space, uint32_t bits,
		   uint32_t bitmap_bytes)
{
	int ret = 0;

	pthread_mutex_lock(&space->lock);
	ret = space_grow(space, bits, bitmap_bytes);
	pthread_mutex_unlock(&space->lock);
	if (ret == 0) {
		udf_space_mark_all_dirty(space);
	}
	return ret;
}

void udf_space_use_growth(struct udf_space *space)
{
	pthread_mutex_lock(&space->lock);
	if (space->grown_bits > space->bits) {
		space->free_blocks += space->grown_bits - space->bits;
		space->bits = space->grown_bits;
		for (uint32_t i = 0; i < space->chunk_count; i++) {
			space->chunks[i].free = chunk_count_free(space, i);
		}
	}
	space->grown_bits = 0;
	pthread_mutex_unlock(&space->lock);
}

/* Does the bitmap describe these blocks? */
static bool is_within(const struct udf_space *space, uint32_t lbn,
		      uint64_t count)
{
	uint32_t block = lbn - space->base;

	return lbn >= space->base && block < space->bits &&
	       count <= space->bits - block;
}

int udf_space_reserve(struct udf_space *space, uint32_t count)
{
	int ret = 0;

	pthread_mutex_lock(&space->lock);
	if (space->free_blocks < space->reserved_blocks + count) {
		space->wanted = count;
		ret = -ENOSPC;
	} else {
		space->reserved_blocks += count;
	}
	pthread_mutex_unlock(&space->lock);
	return ret;
}

void udf_space_unreserve(struct udf_space *space, uint32_t count)
{
	pthread_mutex_lock(&space->lock);
	space->reserved_blocks -= count;
	pthread_mutex_unlock(&space->lock);
}

void udf_space_release(struct udf_space *space, uint32_t lbn, uint64_t count)
{
	int ret = 0;

	space = space_of(space, lbn);
	if (space->keep_released) {
		return;
	}
	pthread_mutex_lock(&space->lock);
	if (is_within(space, lbn, count)) {
		ret = udf_run_list_add(&space->released, lbn, (uint32_t)count);
		if (ret == 0) {
			space->released_blocks += count;
		}
	}
	pthread_mutex_unlock(&space->lock);
	/* Without memory the blocks stay taken until the next recovery. */
}

int udf_space_look(struct udf_space *space, uint32_t lbn, uint32_t count,
		   uint8_t *is_free)
{
	int ret = 0;

	space = space_of(space, lbn);
	if (!is_within(space, lbn, count)) {
		return -EINVAL;
	}
	pthread_mutex_lock(&space->lock);
	for (uint32_t i = 0; i < count && ret == 0; i++) {
		uint64_t bit = 0;
		uint32_t block = lbn - space->base + i;
		uint32_t index = udf_space_bit_chunk(space, block, &bit);

		ret = udf_space_chunk_load(space, index);
		if (ret == 0) {
			is_free[i] = udf_space_bit(
				space->chunks[index].bytes, bit);
		}
	}
	pthread_mutex_unlock(&space->lock);
	return ret;
}

uint64_t udf_space_unallocated(struct udf_space *space)
{
	uint64_t blocks = 0;

	pthread_mutex_lock(&space->lock);
	blocks = space->free_blocks + space->released_blocks;
	pthread_mutex_unlock(&space->lock);
	return blocks;
}

uint64_t udf_space_free(struct udf_space *space)
{
	uint64_t blocks = 0;

	pthread_mutex_lock(&space->lock);
	blocks = space->free_blocks + space->released_blocks;
	if (blocks > space->reserved_blocks) {
		blocks -= space->reserved_blocks;
	} else {
		blocks = 0;
	}
	pthread_mutex_unlock(&space->lock);
	return blocks;
}

bool udf_space_has_released(struct udf_space *space)
{
	bool some = false;

	pthread_mutex_lock(&space->lock);
	some = space->released_blocks > 0;
	pthread_mutex_unlock(&space->lock);
	if (!some && space->metadata != NULL) {
		some = udf_space_has_released(space->metadata);
	}
	return some;
}

/* Put the runs of one list behind those of another, which takes them. */
static int run_list_join(struct udf_run_list *list, struct udf_run_list *more)
{
	size_t count = list->count + more->count;
	struct udf_run *bigger = NULL;

	if (more->count == 0) {
		return 0;
	}
	bigger = reallocarray(list->runs, count, sizeof(*bigger));
	if (bigger == NULL) {
		return -ENOMEM;
	}
	memcpy(&bigger[list->count], more->runs,
	       more->count * sizeof(*bigger));
	list->runs = bigger;
	list->count = count;
	list->capacity = count;
	udf_run_list_free(more);
	return 0;
}

void udf_space_detach_released(struct udf_space *space,
			       struct udf_run_list *runs)
{
	struct udf_space *metadata = space->metadata;

	pthread_mutex_lock(&space->lock);
	*runs = space->released;
	space->released = (struct udf_run_list){ .runs = NULL };
	pthread_mutex_unlock(&space->lock);
	if (metadata != NULL) {
		pthread_mutex_lock(&metadata->lock);
		/* Without memory they wait for the next commit. */
		(void)run_list_join(runs, &metadata->released);
		pthread_mutex_unlock(&metadata->lock);
	}
}

void udf_space_withhold(struct udf_space *space, uint32_t lbn, uint32_t count)
{
	space = space_of(space, lbn);
	pthread_mutex_lock(&space->lock);
	for (; count > 0 && is_within(space, lbn, 1); count--, lbn++) {
		uint64_t bit = 0;
		uint32_t index = udf_space_bit_chunk(space, lbn - space->base,
						     &bit);

		if (udf_space_chunk_load(space, index) < 0 ||
		    !udf_space_bit(space->chunks[index].bytes, bit)) {
			continue;
		}
		/* Without memory it is not recorded, but taken all the same. */
		(void)udf_space_mark(space, lbn - space->base, 1, false);
		(void)udf_run_list_add(&space->withheld, lbn, 1);
	}
	pthread_mutex_unlock(&space->lock);
}

void udf_space_take_withheld(struct udf_space *space, struct udf_run_list *runs)
{
	pthread_mutex_lock(&space->lock);
	*runs = space->withheld;
	space->withheld = (struct udf_run_list){ .runs = NULL };
	pthread_mutex_unlock(&space->lock);
	if (space->metadata != NULL) {
		pthread_mutex_lock(&space->metadata->lock);
		(void)run_list_join(runs, &space->metadata->withheld);
		pthread_mutex_unlock(&space->metadata->lock);
	}
}

/* Free a run, or a part of it that is in one packet. lock is held. */
static void run_free(struct udf_space *space, uint32_t lbn, uint32_t count)
{
	int ret = 0;

	if (udf_volume_is_bad(space->volume, lbn)) {
		ret = udf_run_list_add(&space->withheld, lbn, count);
	} else {
		ret = udf_space_mark(space, lbn - space->base, count, true);
	}
	if (ret < 0) {
		udf_volume_log(space->volume, UDF_LOG_WARNING,
			       "%u blocks from %u on stay taken: %s", count,
			       lbn, strerror(-ret));
	}
}

/* Free a released run. A packet is bad as a whole, metadata by the block. */
static void released_free(struct udf_space *space, const struct udf_run *run)
{
	uint32_t packet = space->is_metadata ? 1 : space->info->packet_blocks;
	uint32_t lbn = run->lbn;
	uint32_t left = run->count;

	if (!space->info->defect_managed) {
		packet = 0;
	}
	pthread_mutex_lock(&space->lock);
	while (left > 0) {
		uint32_t part = left;

		if (packet > 0 && part > packet - lbn % packet) {
			part = packet - lbn % packet;
		}
		run_free(space, lbn, part);
		lbn += part;
		left -= part;
	}
	space->released_blocks -= run->count;
	pthread_mutex_unlock(&space->lock);
}

void udf_space_free_runs(struct udf_space *space, struct udf_run_list *runs)
{
	for (size_t i = 0; i < runs->count; i++) {
		const struct udf_run *run = &runs->runs[i];

		released_free(space_of(space, run->lbn), run);
	}
	udf_run_list_free(runs);
}

void udf_space_reattach(struct udf_space *space, struct udf_run_list *runs)
{
	for (size_t i = 0; i < runs->count; i++) {
		const struct udf_run *run = &runs->runs[i];
		struct udf_space *of = space_of(space, run->lbn);
		int ret = 0;

		pthread_mutex_lock(&of->lock);
		ret = udf_run_list_add(&of->released, run->lbn, run->count);
		if (ret < 0) {
			of->released_blocks -= run->count;
		}
		pthread_mutex_unlock(&of->lock);
	}
	udf_run_list_free(runs);
}

int udf_space_store(struct udf_space *space, udf_space_store_fn store,
		    void *private_data)
{
	uint32_t block_size = space->info->block_size;
	int ret = 0;

	pthread_mutex_lock(&space->lock);
	for (uint32_t i = 0; i < space->chunk_count && ret == 0; i++) {
		struct udf_space_chunk *chunk = &space->chunks[i];
		uint32_t blocks = chunk_blocks(space, i);
		uint32_t first = i * (space->chunk_bytes / block_size);

		if (chunk->bytes == NULL) {
			continue;
		}
		for (uint32_t b = 0; b < blocks; b++) {
			if (!chunk->dirty[b]) {
				continue;
			}
			ret = store(private_data, bitmap_lbn(space, first + b),
				    &chunk->bytes[(size_t)b * block_size]);
			if (ret < 0) {
				break;
			}
			chunk->dirty[b] = false;
		}
	}
	pthread_mutex_unlock(&space->lock);
	if (ret == 0 && space->metadata != NULL) {
		ret = udf_space_store(space->metadata, store, private_data);
	}
	return ret;
}

void udf_space_mark_all_dirty(struct udf_space *space)
{
	pthread_mutex_lock(&space->lock);
	for (uint32_t i = 0; i < space->chunk_count; i++) {
		struct udf_space_chunk *chunk = &space->chunks[i];
		uint32_t blocks = chunk_blocks(space, i);

		for (uint32_t b = 0; chunk->bytes != NULL && b < blocks; b++) {
			chunk->dirty[b] = true;
		}
	}
	pthread_mutex_unlock(&space->lock);
	if (space->metadata != NULL) {
		udf_space_mark_all_dirty(space->metadata);
	}
}

int udf_space_rebuild(struct udf_space *space, const uint8_t *used,
		      bool keep_used, uint64_t *changed)
{
	uint32_t lbn = 0;
	int ret = 0;

	*changed = 0;
	pthread_mutex_lock(&space->lock);
	space->rebuilding = true;
	space->free_blocks = 0;
	for (uint32_t i = 0; i < space->chunk_count; i++) {
		ret = udf_space_chunk_load(space, i);
		if (ret < 0) {
			goto out;
		}
		space->free_blocks += space->chunks[i].free;
	}
	while (lbn < space->bits) {
		uint64_t bit = 0;
		uint32_t index = udf_space_bit_chunk(space, lbn, &bit);
		const uint8_t *bytes = space->chunks[index].bytes;
		bool was_free = udf_space_bit(bytes, bit);
		bool is_free = !udf_space_bit(used, lbn);

		/* Where nothing differs, 64 at a time. */
		if (lbn % 64 == 0 && bit % 64 == 0 && space->bits - lbn >= 64 &&
		    get_le64(&bytes[bit / 8]) == ~get_le64(&used[lbn / 8])) {
			lbn += 64;
			continue;
		}
		if (was_free != is_free && !(keep_used && is_free)) {
			ret = udf_space_mark(space, lbn, 1, is_free);
			if (ret < 0) {
				goto out;
			}
			(*changed)++;
		}
		lbn++;
	}
out:
	space->rebuilding = false;
	pthread_mutex_unlock(&space->lock);
	return ret;
}
