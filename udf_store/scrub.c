/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Reading blocks to know that they can be read: see scrub.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lost.h"
#include "partition.h"
#include "scrub.h"
#include "verify.h"

/* Read at once, where there are no packets. */
#define PIECE_BYTES 65536u

static uint64_t now_ns(void)
{
	struct timespec ts = {0};

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* A piece that could not be read at once; *helped: retries did. */
static int read_singly(struct udf_partition *partition, uint32_t lbn,
		       uint32_t count, uint8_t *buf,
		       struct udf_scrub_result *result, bool *helped)
{
	uint32_t i = 0;
	int ret = 0;

	for (i = 0; i < count; i++) {
		unsigned int tries = 0;

		if (partition->verify != NULL &&
		    udf_verify_holds(partition->verify, lbn + i)) {
			continue;
		}
		ret = udf_partition_rescue(partition, lbn + i, buf, &tries);
		if (ret == 0 && tries > 1) {
			result->retried++;
			*helped = true;
		}
		if (ret != 0) {
			ret = udf_block_list_add(&result->bad, lbn + i);
		}
		if (ret != 0) {
			return ret;
		}
	}
	return 0;
}

/* The blocks of a relocated packet that were lost before. */
static int list_lost(struct udf_partition *partition, uint32_t lbn,
		     uint32_t count, const uint8_t *buf,
		     struct udf_scrub_result *result)
{
	uint32_t size = partition->block_size;
	uint32_t i = 0;
	int ret = 0;

	for (i = 0; i < count && ret == 0; i++) {
		if (udf_lost_is(partition->identity, lbn + i,
				buf + (size_t)i * size, size)) {
			ret = udf_block_list_add(&result->bad, lbn + i);
		}
	}
	return ret;
}

/* One piece, within one packet. *doubtful: it should be made well. */
static int read_piece(struct udf_partition *partition, uint32_t lbn,
		      uint32_t count, uint8_t *buf, uint32_t slow_ms,
		      struct udf_scrub_result *result, bool *doubtful)
{
	size_t bytes = (size_t)count * partition->block_size;
	size_t bad_before = result->bad.count;
	uint64_t begin = now_ns();
	uint64_t took = 0;
	uint32_t run = 0;
	uint32_t block = udf_partition_map(partition, lbn, count, &run);
	uint64_t offset = (uint64_t)block * partition->block_size;
	bool helped = false;
	int ret = 0;

	ret = udf_blockdev_read_medium(partition->dev, offset, buf, bytes);
	if (udf_blockdev_is_medium_error(ret)) {
		/* Doubtful, also if each block is read at once now. */
		helped = true;
		ret = read_singly(partition, lbn, count, buf, result, &helped);
	} else if (ret == 0 && block != partition->start + lbn) {
		ret = list_lost(partition, lbn, count, buf, result);
	}
	took = now_ns() - begin;
	if (took > result->slowest_ns) {
		result->slowest_ns = took;
	}
	if (slow_ms != 0 && took / 1000000u > slow_ms) {
		result->slow++;
		helped = true;
	}
	*doubtful = helped && result->bad.count == bad_before;
	return ret;
}

/* Packets that are doubtful, one after the other. */
static int cure_packets(struct udf_partition *partition,
			const struct udf_block_list *doubtful,
			struct udf_scrub_result *result)
{
	size_t i = 0;
	int error = 0;

	for (i = 0; i < doubtful->count; i++) {
		int ret = udf_verify_refresh(partition->verify,
					     doubtful->blocks[i]);

		if (ret == 1) {
			result->relocated++;
		} else if (ret == 0) {
			result->refreshed++;
		} else if (ret == -ENOSPC ||
			   udf_blockdev_is_medium_error(ret)) {
			result->not_cured++;
		} else {
			error = ret;
		}
	}
	return error;
}

int udf_partition_scrub(struct udf_partition *partition, uint32_t lbn,
			uint32_t count, bool cure, uint32_t slow_ms,
			struct udf_scrub_result *result)
{
	struct udf_block_list doubtful = {.count = 0};
	uint32_t packet = PIECE_BYTES / partition->block_size;
	uint32_t end = lbn + count;
	uint8_t *buf = NULL;
	int ret = 0;

	if (count > UDF_SCRUB_BLOCKS_MAX || count > partition->blocks ||
	    lbn > partition->blocks - count) {
		return -EINVAL;
	}
	if (partition->sparing != NULL) {
		packet = udf_sparing_packet_blocks(partition->sparing);
	}
	buf = udf_blockdev_alloc((size_t)packet * partition->block_size);
	if (buf == NULL) {
		return -ENOMEM;
	}
	pthread_rwlock_rdlock(&partition->map_lock);
	while (lbn < end && ret == 0) {
		uint32_t first = lbn - lbn % packet;
		uint32_t piece = packet - lbn % packet;
		bool is_doubtful = false;

		if (piece > end - lbn) {
			piece = end - lbn;
		}
		ret = read_piece(partition, lbn, piece, buf, slow_ms, result,
				 &is_doubtful);
		if (ret == 0 && is_doubtful) {
			ret = udf_block_list_add(&doubtful, first);
		}
		lbn += piece;
	}
	pthread_rwlock_unlock(&partition->map_lock);
	if (ret == 0 && cure && partition->verify != NULL) {
		ret = cure_packets(partition, &doubtful, result);
	}
	udf_block_list_free(&doubtful);
	free(buf);
	return ret;
}
