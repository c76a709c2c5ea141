/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The bytes of a file. See file.h.
 *
 * Data goes to its blocks at once: volume.c keeps what is not verified yet,
 * the kernel's page cache what is read. A block that a write covers in part
 * is read, changed and written.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commit.h"
#include "file.h"
#include "state.h"

static uint32_t node_block_size(const struct udf_node *node)
{
	return node->fs->info->block_size;
}

static unsigned int write_flags(const struct udf_node *node)
{
	return __atomic_load_n(&node->unmanaged, __ATOMIC_RELAXED)
		       ? UDF_WRITE_UNMANAGED
		       : 0;
}

/* Part of one block. */
static int read_part(struct udf_node *node, uint32_t lbn, uint32_t from,
		     uint32_t length, uint8_t *out)
{
	uint8_t *block = malloc(node_block_size(node));
	int ret = 0;

	if (block == NULL) {
		return -ENOMEM;
	}
	ret = udf_volume_read(node->fs->volume, lbn, 1, block);
	if (ret == 0) {
		memcpy(out, &block[from], length);
	}
	free(block);
	return ret;
}

/*
 * Bytes from offset that lie within one extent and can be moved at once:
 * whole blocks, or a part of one. Fills in the extent from that block on.
 */
static size_t step_length(struct udf_node *node, uint64_t offset, size_t size,
			  struct udf_extent *e)
{
	uint32_t block_size = node_block_size(node);
	uint32_t within = (uint32_t)(offset % block_size);
	uint64_t room = 0;

	udf_extent_map_find(&node->map, offset / block_size, e);
	if (e->type != UDF_EXTENT_RECORDED) {
		room = e->count > UINT64_MAX / block_size
			       ? UINT64_MAX
			       : e->count * block_size;
		room -= within;
		return room < size ? (size_t)room : size;
	}
	if (within != 0 || size < block_size) {
		room = block_size - within;
		return room < size ? (size_t)room : size;
	}
	room = e->count * block_size;
	if (room > size) {
		room = size - size % block_size;
	}
	return (size_t)room;
}

ssize_t udf_file_read(struct udf_node *node, uint64_t offset, size_t size,
		      void *buf)
{
	uint32_t block_size = node_block_size(node);
	uint8_t *out = buf;
	size_t done = 0;

	if (offset >= node->size) {
		return 0;
	}
	if (size > node->size - offset) {
		size = (size_t)(node->size - offset);
	}
	if (node->map_error != 0) {
		return node->map_error;
	}
	if (node->embedded) {
		memcpy(out, &node->data[offset], size);
		return (ssize_t)size;
	}
	while (done < size) {
		struct udf_extent e = { .count = 0 };
		size_t step = step_length(node, offset + done, size - done, &e);
		uint32_t within = (uint32_t)((offset + done) % block_size);
		int ret = 0;

		if (e.type != UDF_EXTENT_RECORDED) {
			memset(&out[done], 0, step);
		} else if (within != 0 || step < block_size) {
			ret = read_part(node, e.lbn, within, (uint32_t)step,
					&out[done]);
		} else {
			ret = udf_volume_read(node->fs->volume, e.lbn,
					      (uint32_t)(step / block_size),
					      &out[done]);
		}
		if (ret < 0) {
			/* To the kernel, less than was asked for is the end
			 * of the file. */
			return ret;
		}
		done += step;
	}
	return (ssize_t)done;
}

/* Where new blocks of the file should be: behind what is before them. */
static uint32_t allocation_goal(const struct udf_node *node, uint64_t block)
{
	struct udf_extent e = { .count = 0 };

	if (block > 0) {
		udf_extent_map_find(&node->map, block - 1, &e);
		if (e.type != UDF_EXTENT_HOLE) {
			return e.lbn + 1;
		}
	}
	return node->map.count == 0 ? node->lbn + 1 : 0;
}

/* Blocks of the file's data, with its own write flags. */
static int write_data(struct udf_node *node, uint32_t lbn, uint32_t count,
		      const uint8_t *bytes)
{
	unsigned int flags = write_flags(node);

	if ((flags & UDF_WRITE_UNMANAGED) == 0) {
		udf_node_note_data(node,
				   (uint64_t)count * node_block_size(node));
	}
	return udf_volume_write(node->fs->volume, lbn, count, bytes, flags);
}

/* The block's bytes with a part replaced; what is not on the medium is 0. */
static int write_part(struct udf_node *node, const struct udf_extent *e,
		      uint32_t lbn, uint32_t from, uint32_t length,
		      const uint8_t *bytes)
{
	struct udf_volume *volume = node->fs->volume;
	uint8_t *block = calloc(1, node_block_size(node));
	uint64_t position = e->block * node_block_size(node);
	int ret = 0;

	if (block == NULL) {
		return -ENOMEM;
	}
	if (e->type == UDF_EXTENT_RECORDED) {
		ret = udf_volume_read(volume, lbn, 1, block);
	}
	if (ret == 0) {
		/* What is behind the end of the file was never its data. */
		if (node->size < position + node_block_size(node)) {
			uint64_t keep = node->size > position
						? node->size - position
						: 0;

			memset(&block[keep], 0,
			       node_block_size(node) - (size_t)keep);
		}
		memcpy(&block[from], bytes, length);
		ret = write_data(node, lbn, 1, block);
	}
	free(block);
	return ret;
}

/*
 * One step of a write within one extent. Returns bytes or a negative errno.
 */
static ssize_t write_step(struct udf_node *node, uint64_t offset, size_t size,
			  const uint8_t *bytes)
{
	struct udf_fs *fs = node->fs;
	uint32_t block_size = node_block_size(node);
	uint32_t within = (uint32_t)(offset % block_size);
	struct udf_extent e = { .count = 0 };
	struct udf_extent fresh = { .type = UDF_EXTENT_RECORDED };
	uint32_t blocks = 1;
	size_t step = 0;
	bool taken = false;
	int ret = 0;

	udf_extent_map_find(&node->map, offset / block_size, &e);
	if (within != 0 || size < block_size) {
		step = block_size - within;
		step = step < size ? step : size;
	} else {
		size_t wanted = size / block_size;

		wanted = wanted < e.count ? wanted : (size_t)e.count;
		blocks = wanted < UINT32_MAX ? (uint32_t)wanted : UINT32_MAX;
	}
	fresh.lbn = e.lbn;
	if (e.type != UDF_EXTENT_RECORDED) {
		ret = udf_node_reserve_aeds(node);
		if (ret < 0) {
			return ret;
		}
	}
	if (e.type == UDF_EXTENT_HOLE) {
		ret = udf_space_allocate(udf_node_data_space(node),
					 allocation_goal(node, e.block),
					 &blocks, &fresh.lbn);
		if (ret < 0) {
			return ret;
		}
		taken = true;
	}
	if (step == 0) {
		step = (size_t)blocks * block_size;
		ret = write_data(node, fresh.lbn, blocks, bytes);
	} else {
		ret = write_part(node, &e, fresh.lbn, within, (uint32_t)step,
				 bytes);
	}
	if (ret == 0 && e.type != UDF_EXTENT_RECORDED) {
		fresh.block = e.block;
		fresh.count = blocks;
		ret = udf_extent_map_set(&node->map, &fresh);
		if (ret == 0) {
			taken = false;
		}
	}
	if (taken) {
		udf_space_release(&fs->space, fresh.lbn, blocks);
	}
	return ret < 0 ? ret : (ssize_t)step;
}

/* Zero the rest of the block with the end of the file. */
static int zero_tail(struct udf_node *node)
{
	uint32_t block_size = node_block_size(node);
	uint32_t within = (uint32_t)(node->size % block_size);
	struct udf_extent e = { .count = 0 };
	uint8_t zero = 0;

	if (node->embedded || within == 0) {
		return 0;
	}
	udf_extent_map_find(&node->map, node->size / block_size, &e);
	if (e.type != UDF_EXTENT_RECORDED) {
		return 0;
	}
	return write_part(node, &e, e.lbn, within, 1, &zero);
}

/* Extend the map with a hole so that it reaches a size. */
static int extend_hole(struct udf_node *node, uint64_t size)
{
	uint32_t block_size = node_block_size(node);
	uint64_t end = udf_extent_map_end(&node->map);
	uint64_t blocks = (size + block_size - 1) / block_size;
	struct udf_extent hole = {
		.block = end,
		.count = blocks - end,
		.type = UDF_EXTENT_HOLE,
	};

	if (blocks <= end) {
		return 0;
	}
	return udf_extent_map_set(&node->map, &hole);
}

static int resize_embedded(struct udf_node *node, uint64_t size)
{
	uint8_t *bigger = NULL;

	if (size > node->size) {
		bigger = realloc(node->data, size + 1);
		if (bigger == NULL) {
			return -ENOMEM;
		}
		node->data = bigger;
		memset(&node->data[node->size], 0, size - node->size);
	}
	node->size = size;
	return 0;
}

static void release_cut(void *private_data, uint32_t lbn, uint64_t count)
{
	struct udf_fs *fs = private_data;

	udf_space_release(&fs->space, lbn, count);
}

int udf_file_unembed(struct udf_node *node)
{
	uint64_t size = node->size;
	uint8_t *data = node->data;
	ssize_t written = 0;
	int ret = 0;

	if (!node->embedded) {
		return 0;
	}
	node->embedded = false;
	if (udf_node_is_directory(node)) {
		uint32_t block_size = node_block_size(node);

		ret = udf_file_extend(node,
				      (size + block_size - 1) / block_size);
		if (ret < 0) {
			node->embedded = true;
			return ret;
		}
		node->data = NULL;
		free(data);
		udf_commit_dirty(node);
		return 0;
	}
	node->size = 0;
	while (node->size < size) {
		written = write_step(node, node->size,
				     (size_t)(size - node->size),
				     &data[node->size]);
		if (written < 0) {
			udf_extent_map_cut(&node->map, 0, release_cut,
					   node->fs);
			node->size = size;
			node->embedded = true;
			return (int)written;
		}
		node->size += (uint64_t)written;
	}
	node->data = NULL;
	free(data);
	/* Whatever comes of what it was done for: it has blocks now. */
	udf_commit_dirty(node);
	return 0;
}

int udf_file_extend(struct udf_node *node, uint64_t blocks)
{
	struct udf_fs *fs = node->fs;
	uint64_t before = udf_extent_map_end(&node->map);
	int ret = 0;

	while (udf_extent_map_end(&node->map) < blocks) {
		uint64_t end = udf_extent_map_end(&node->map);
		uint64_t missing = blocks - end;
		uint32_t count = missing < UINT32_MAX ? (uint32_t)missing
						      : UINT32_MAX;
		struct udf_extent e = {
			.block = end,
			.type = UDF_EXTENT_RECORDED,
		};

		ret = udf_space_allocate(udf_node_data_space(node),
					 allocation_goal(node, end), &count,
					 &e.lbn);
		if (ret < 0) {
			break;
		}
		e.count = count;
		ret = udf_extent_map_set(&node->map, &e);
		if (ret < 0) {
			udf_space_release(&fs->space, e.lbn, count);
			break;
		}
	}
	if (ret == 0) {
		ret = udf_node_reserve_aeds(node);
	}
	if (ret < 0) {
		udf_extent_map_cut(&node->map, before, release_cut, fs);
	}
	return ret;
}

/*
 * Release what is behind the end of the file. It is a change by itself: if
 * the medium did not learn of it, others would get blocks that it still gives
 * to this file.
 */
static void drop_tail(struct udf_node *node)
{
	if (node->beyond_end) {
		udf_commit_dirty(node);
	}
}

/* Before any change: is there something that forbids it? */
static int check_writable(const struct udf_node *node)
{
	if (node->map_error != 0) {
		return node->map_error;
	}
	if (node->write_once) {
		return -EROFS;
	}
	return 0;
}

ssize_t udf_file_write(struct udf_node *node, uint64_t offset, size_t size,
		       const void *buf)
{
	const uint8_t *bytes = buf;
	uint64_t old_size = node->size;
	uint64_t old_end = 0;
	bool fits = false;
	size_t done = 0;
	int ret = check_writable(node);

	if (ret < 0) {
		return ret;
	}
	if (offset >= UDF_FILE_SIZE_MAX) {
		return -EFBIG;
	}
	if (size > UDF_FILE_SIZE_MAX - offset) {
		size = (size_t)(UDF_FILE_SIZE_MAX - offset);
	}
	if (size == 0) {
		return 0;
	}
	drop_tail(node);
	if (node->embedded) {
		uint64_t limit = udf_node_embedded_max(node);

		/* Unmanaged data has blocks of its own: it must not depend on
		 * what is done to save the ICB. */
		fits = offset + size <= limit &&
		       !__atomic_load_n(&node->unmanaged, __ATOMIC_RELAXED);
		if (fits && offset + size > node->size) {
			ret = resize_embedded(node, offset + size);
			if (ret < 0) {
				return ret;
			}
		}
		if (fits) {
			memcpy(&node->data[offset], bytes, size);
			return (ssize_t)size;
		}
		ret = udf_file_unembed(node);
		if (ret < 0) {
			return ret;
		}
	}
	old_end = udf_extent_map_end(&node->map);
	if (offset > node->size) {
		ret = udf_file_truncate(node, offset);
		if (ret < 0) {
			return ret;
		}
	}
	while (done < size) {
		ssize_t step = write_step(node, offset + done, size - done,
					  &bytes[done]);

		if (step < 0) {
			ret = (int)step;
			break;
		}
		done += (size_t)step;
		if (offset + done > node->size) {
			node->size = offset + done;
		}
	}
	if (done > 0) {
		return (ssize_t)done;
	}
	/* A write that failed leaves no hole in front of it. */
	if (old_size < node->size) {
		node->size = old_size;
		udf_extent_map_cut(&node->map, old_end, release_cut, node->fs);
	}
	return ret;
}

int udf_file_truncate(struct udf_node *node, uint64_t size)
{
	uint64_t old_size = node->size;
	int ret = check_writable(node);

	if (ret < 0) {
		return ret;
	}
	if (size > UDF_FILE_SIZE_MAX) {
		return -EFBIG;
	}
	drop_tail(node);
	if (node->embedded && size <= udf_node_embedded_max(node)) {
		return resize_embedded(node, size);
	}
	if (node->embedded && size < node->size) {
		node->size = size;
		return 0;
	}
	if (size > node->size) {
		ret = udf_file_unembed(node);
		if (ret < 0) {
			return ret;
		}
		ret = zero_tail(node);
		if (ret < 0) {
			return ret;
		}
		ret = extend_hole(node, size);
		if (ret < 0) {
			return ret;
		}
		node->size = size;
		ret = udf_node_reserve_aeds(node);
		if (ret < 0) {
			node->size = old_size;
			node->beyond_end = true;
			udf_node_trim(node);
		}
		return ret;
	}
	ret = udf_node_reserve_cut(node, (size + node_block_size(node) - 1) /
						 node_block_size(node));
	if (ret < 0) {
		return ret;
	}
	node->size = size;
	node->beyond_end = true;
	drop_tail(node);
	return 0;
}

/*
 * Make a range of a file read as zeroes without writing it: its blocks become
 * a hole and are released, or stay as allocated and not recorded.
 */
static int clear_blocks(struct udf_node *node, uint64_t block, uint64_t end,
			enum udf_extent_type type)
{
	struct udf_fs *fs = node->fs;
	uint64_t map_end = udf_extent_map_end(&node->map);

	if (end > map_end) {
		end = map_end;
	}
	while (block < end) {
		struct udf_extent e = { .count = 0 };
		struct udf_extent cleared = { .type = type };
		int ret = 0;

		udf_extent_map_find(&node->map, block, &e);
		if (e.count > end - block) {
			e.count = end - block;
		}
		if (e.type != UDF_EXTENT_HOLE && e.type != type) {
			ret = udf_node_reserve_aeds(node);
			if (ret < 0) {
				return ret;
			}
			cleared.block = e.block;
			cleared.count = e.count;
			if (type != UDF_EXTENT_HOLE) {
				cleared.lbn = e.lbn;
			}
			ret = udf_extent_map_set(&node->map, &cleared);
			if (ret < 0) {
				return ret;
			}
			if (type == UDF_EXTENT_HOLE) {
				udf_space_release(&fs->space, e.lbn, e.count);
			}
		}
		block += e.count;
	}
	return 0;
}

/* Write zeroes over a part of one block, where it has data. */
static int zero_part(struct udf_node *node, uint64_t offset, uint64_t end)
{
	uint32_t block_size = node_block_size(node);
	uint32_t within = (uint32_t)(offset % block_size);
	struct udf_extent e = { .count = 0 };
	uint8_t *zeroes = NULL;
	int ret = 0;

	udf_extent_map_find(&node->map, offset / block_size, &e);
	if (offset >= end || e.type != UDF_EXTENT_RECORDED) {
		return 0;
	}
	zeroes = calloc(1, (size_t)(end - offset));
	if (zeroes == NULL) {
		return -ENOMEM;
	}
	ret = write_part(node, &e, e.lbn, within, (uint32_t)(end - offset),
			 zeroes);
	free(zeroes);
	return ret;
}

/*
 * Let a range of the file read as zeroes: its whole blocks become of a type,
 * of others a part is overwritten. A block with the end of the file is whole
 * when the range reaches the end.
 */
static int clear_range(struct udf_node *node, uint64_t offset, uint64_t end,
		       enum udf_extent_type type)
{
	uint32_t block_size = node_block_size(node);
	uint64_t first = (offset + block_size - 1) / block_size;
	uint64_t last = end / block_size;
	int ret = 0;

	if (end >= node->size) {
		end = node->size;
		last = (end + block_size - 1) / block_size;
	}
	if (offset >= end) {
		return 0;
	}
	if (node->embedded) {
		memset(&node->data[offset], 0, (size_t)(end - offset));
		return 0;
	}
	if (first > last) {
		return zero_part(node, offset, end);
	}
	ret = zero_part(node, offset, first * block_size);
	if (ret == 0 && last * block_size < end) {
		ret = zero_part(node, last * block_size, end);
	}
	if (ret == 0) {
		ret = clear_blocks(node, first, last, type);
	}
	return ret;
}

/* Blocks of the file that a range has and the partition not. */
static uint64_t count_missing(const struct udf_node *node, uint64_t block,
			      uint64_t end)
{
	uint64_t missing = 0;

	while (block < end) {
		struct udf_extent e = { .count = 0 };
		uint64_t count = 0;

		udf_extent_map_find(&node->map, block, &e);
		count = e.count < end - block ? e.count : end - block;
		if (e.type == UDF_EXTENT_HOLE) {
			missing += count;
		}
		block += count;
	}
	return missing;
}

/* Take blocks for the holes of a range; they read as zeroes as before. */
static int fill_holes(struct udf_node *node, uint64_t block, uint64_t end)
{
	struct udf_fs *fs = node->fs;

	while (block < end) {
		struct udf_extent e = { .count = 0 };
		uint64_t left = end - block;
		uint32_t count = 0;
		int ret = 0;

		udf_extent_map_find(&node->map, block, &e);
		left = e.count < left ? e.count : left;
		if (e.type != UDF_EXTENT_HOLE) {
			block += left;
			continue;
		}
		ret = udf_node_reserve_aeds(node);
		if (ret < 0) {
			return ret;
		}
		count = left < UINT32_MAX ? (uint32_t)left : UINT32_MAX;
		e.type = UDF_EXTENT_ALLOCATED;
		ret = udf_space_allocate(udf_node_data_space(node),
					 allocation_goal(node, block), &count,
					 &e.lbn);
		if (ret < 0) {
			return ret;
		}
		e.count = count;
		ret = udf_extent_map_set(&node->map, &e);
		if (ret < 0) {
			udf_space_release(&fs->space, e.lbn, count);
			return ret;
		}
		block += count;
	}
	return 0;
}

/* Have blocks for a range, behind the end of the file too. */
static int allocate_range(struct udf_node *node, uint64_t offset, uint64_t end)
{
	uint32_t block_size = node_block_size(node);
	uint64_t first = offset / block_size;
	uint64_t last = (end + block_size - 1) / block_size;
	uint64_t map_end = 0;
	int ret = 0;

	if (node->embedded && end <= udf_node_embedded_max(node)) {
		return 0;
	}
	if (first > (node->size + block_size - 1) / block_size &&
	    first > udf_extent_map_end(&node->map)) {
		/* What is behind the end of a file is allocated, without
		 * holes (ECMA-167 4/12.1, file tail). */
		return -EOPNOTSUPP;
	}
	ret = udf_file_unembed(node);
	if (ret < 0) {
		return ret;
	}
	map_end = udf_extent_map_end(&node->map);
	if (count_missing(node, first, last) > udf_space_free(udf_node_data_space(node))) {
		return -ENOSPC;
	}
	ret = fill_holes(node, first, last);
	if (ret == 0) {
		ret = udf_node_reserve_aeds(node);
	}
	if (ret < 0) {
		udf_extent_map_cut(&node->map, map_end, release_cut, node->fs);
	}
	return ret;
}

int udf_file_allocate(struct udf_node *node, int mode, uint64_t offset,
		      uint64_t length)
{
	uint64_t old_size = node->size;
	uint64_t end = offset + length;
	bool grows = false;
	int ret = check_writable(node);

	if (ret < 0) {
		return ret;
	}
	if (length == 0 || end < offset) {
		return -EINVAL;
	}
	if (mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)) {
		drop_tail(node);
		return clear_range(node, offset, end, UDF_EXTENT_HOLE);
	}
	if ((mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_ZERO_RANGE)) != 0) {
		return -EOPNOTSUPP;
	}
	if (end > UDF_FILE_SIZE_MAX) {
		return -EFBIG;
	}
	drop_tail(node);
	grows = end > node->size && (mode & FALLOC_FL_KEEP_SIZE) == 0;
	if (grows) {
		ret = udf_file_truncate(node, end);
	}
	if (ret == 0) {
		ret = allocate_range(node, offset, end);
	}
	if (ret == 0 && (mode & FALLOC_FL_ZERO_RANGE) != 0) {
		ret = clear_range(node, offset, end, UDF_EXTENT_ALLOCATED);
	}
	if (ret < 0 && grows && node->size > old_size) {
		(void)udf_file_truncate(node, old_size);
	}
	return ret;
}

off_t udf_file_seek(struct udf_node *node, uint64_t offset, int whence)
{
	uint32_t block_size = node_block_size(node);

	if (offset >= node->size) {
		return -ENXIO;
	}
	if (node->map_error != 0) {
		return node->map_error;
	}
	if (node->embedded) {
		return whence == SEEK_DATA ? (off_t)offset : (off_t)node->size;
	}
	while (offset < node->size) {
		struct udf_extent e = { .count = 0 };
		bool data = false;

		udf_extent_map_find(&node->map, offset / block_size, &e);
		data = e.type == UDF_EXTENT_RECORDED;
		if (data == (whence == SEEK_DATA)) {
			return (off_t)offset;
		}
		if (e.count > INT64_MAX / block_size - e.block) {
			break;
		}
		offset = (e.block + e.count) * block_size;
	}
	return whence == SEEK_DATA ? -ENXIO : (off_t)node->size;
}
