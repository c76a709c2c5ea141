/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What becomes of packets that are not on the medium as written: see verify.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lost.h"
#include "verify_state.h"

/* A packet that has been relocated in this drain. */
struct relocation {
	uint32_t original; /* first block of the packet */
	uint32_t from;	   /* blocks of the volume */
	uint32_t to;
};

/* Blocks [first, end) of the partition, bounded by it. */
static uint32_t range_end(const struct udf_verify *verify, uint32_t first,
			  uint32_t blocks)
{
	uint32_t left = verify->partition->blocks - first;

	return first + (blocks < left ? blocks : left);
}

/*
 * Blocks from lbn on that are draining, as many as follow each other; their
 * data goes to verify->packet. map_lock is held exclusively, so that no
 * writer changes it.
 */
static uint32_t gather_run(struct udf_verify *verify, struct udf_drain *drain,
			   uint32_t lbn, uint32_t end)
{
	size_t size = verify->partition->block_size;
	uint32_t count = 0;

	pthread_mutex_lock(&verify->lock);
	while (lbn + count < end) {
		const uint8_t *data = NULL;

		data = udf_pending_get(drain->blocks, lbn + count);
		if (data == NULL) {
			break;
		}
		memcpy(verify->packet + count * size, data, size);
		count++;
	}
	pthread_mutex_unlock(&verify->lock);
	return count;
}

/*
 * Write what is draining of a suspect packet once more, by itself and past
 * the cache, and look again. The first look may have been at a neighbour's
 * fault: one bad sector fails a whole request, which can be many packets
 * long. And a write may have come between. map_lock is held exclusively.
 */
static bool packet_is_bad(struct udf_verify *verify, struct udf_drain *drain,
			  uint32_t first, uint32_t end)
{
	struct udf_partition *partition = verify->partition;
	uint32_t lbn = first;

	while (lbn < end) {
		uint32_t count = gather_run(verify, drain, lbn, end);
		size_t bytes = (size_t)count * partition->block_size;
		uint32_t block = 0;
		uint32_t run = 0;

		if (count == 0) {
			lbn++;
			continue;
		}
		/* A packet is in one piece, wherever it is. */
		block = udf_partition_map(partition, lbn, count, &run);
		(void)udf_blockdev_write_medium(partition->dev,
						udf_verify_offset(verify, block),
						verify->packet, bytes);
		if (udf_verify_read_medium(verify, block, verify->read_back,
					   bytes) != 0 ||
		    memcmp(verify->read_back, verify->packet, bytes) != 0) {
			return true;
		}
		lbn += count;
	}
	return false;
}

/*
 * Gather the packet's newest data in verify->packet: what is kept, else what
 * the medium has. A neighbour that cannot be read is lost, and said so.
 */
static void gather_packet(struct udf_verify *verify, uint32_t first,
			  uint32_t end, struct udf_block_list *lost)
{
	struct udf_partition *partition = verify->partition;
	size_t size = partition->block_size;
	uint32_t lbn = 0;

	for (lbn = first; lbn < end; lbn++) {
		uint8_t *p = verify->packet + (lbn - first) * size;
		int ret = 0;

		/* At once: another drain may see to its end meanwhile. */
		if (udf_verify_copy(verify, lbn, p)) {
			continue;
		}
		ret = udf_partition_rescue(partition, lbn, p, NULL);
		if (ret == 0) {
			continue;
		}
		udf_lost_fill(partition->identity, lbn, p,
			      partition->block_size);
		/* Without memory it is not logged, but marked all the same. */
		(void)udf_block_list_add(lost, lbn);
	}
}

/* What is draining of the packet goes back. */
static void keep_failed(struct udf_verify *verify, struct udf_drain *drain,
			uint32_t first, uint32_t end, int error)
{
	bool first_time = false;
	uint32_t lbn = 0;

	pthread_mutex_lock(&verify->lock);
	for (lbn = first; lbn < end; lbn++) {
		const uint8_t *data = udf_pending_get(drain->blocks, lbn);

		if (data == NULL ||
		    udf_pending_get(verify->current, lbn) != NULL) {
			continue;
		}
		if (!udf_pending_is_failed(drain->blocks, lbn)) {
			first_time = true;
		}
		udf_verify_put_back(verify, lbn, data);
	}
	pthread_mutex_unlock(&verify->lock);
	if (first_time) {
		udf_partition_count(
			&verify->partition->counts.unsaved_packets, 1);
		udf_log(verify->partition->log, UDF_LOG_ERROR,
			"defect event=unsaved packet=%u error=\"%s\"", first,
			strerror(-error));
	}
}

/*
 * The blocks that gather_packet() did not get are lost for good now: a line
 * for each run of them.
 */
static void report_losses(struct udf_verify *verify,
			  const struct udf_block_list *lost)
{
	struct udf_partition *partition = verify->partition;
	size_t i = 0;

	udf_partition_count(&partition->counts.lost_blocks, lost->count);
	while (i < lost->count) {
		uint32_t first = lost->blocks[i];
		uint32_t count = 0;

		while (i < lost->count && lost->blocks[i] == first + count) {
			udf_partition_note_damage(partition, first + count);
			count++;
			i++;
		}
		udf_log(partition->log, UDF_LOG_ERROR,
			"defect event=lost block=%u blocks=%u packet=%u",
			first, count, udf_verify_packet_of(verify, first));
	}
}

/* No spare is left for a bad packet. */
static void note_bad(struct udf_verify *verify, uint32_t first)
{
	struct udf_partition *partition = verify->partition;

	pthread_mutex_lock(&verify->lock);
	/* Without memory the packet's blocks are used again; they fail. */
	(void)udf_block_list_add(&verify->bad, first);
	pthread_mutex_unlock(&verify->lock);
	if (!verify->told_exhausted) {
		verify->told_exhausted = true;
		udf_log(partition->log, UDF_LOG_ERROR,
			"defect event=spares-exhausted packet=%u: bad packets "
			"cannot be relocated any more; copy the data to a new "
			"medium",
			first);
	}
}

/* One suspect packet. 1: relocated; 0: it was good; or an error. */
static int cure_packet(struct udf_verify *verify, struct udf_drain *drain,
		       uint32_t first, struct relocation *relocation)
{
	struct udf_partition *partition = verify->partition;
	uint32_t end = range_end(verify, first, verify->packet_blocks);
	size_t bytes = (size_t)(end - first) * partition->block_size;
	struct udf_block_list lost = {.count = 0};
	uint32_t run = 0;
	int ret = 0;

	if (!packet_is_bad(verify, drain, first, end)) {
		return 0;
	}
	relocation->original = first;
	relocation->from = udf_partition_map(partition, first, 1, &run);
	gather_packet(verify, first, end, &lost);
	ret = udf_sparing_relocate(partition->sparing, first, verify->packet,
				   bytes, &relocation->to);
	if (ret == 0) {
		report_losses(verify, &lost);
		udf_partition_count(&partition->counts.relocated_packets, 1);
		ret = 1;
	} else {
		if (ret == -ENOSPC) {
			note_bad(verify, first);
		}
		keep_failed(verify, drain, first, end, ret);
	}
	udf_block_list_free(&lost);
	return ret;
}

static void log_relocations(struct udf_verify *verify,
			    const struct relocation *done, size_t count)
{
	struct udf_sparing_counts counts = {0};
	size_t i = 0;

	udf_sparing_count(verify->partition->sparing, &counts);
	for (i = 0; i < count; i++) {
		udf_log(verify->partition->log, UDF_LOG_NOTICE,
			"defect event=relocated packet=%u from=%u to=%u "
			"sequence=%u spares=%u/%u",
			done[i].original, done[i].from, done[i].to,
			counts.sequence, counts.free, counts.total);
	}
}

/* verify->packet is on the medium where the packet is, and read at once. */
static bool rewrite_in_place(struct udf_verify *verify, uint32_t first,
			     size_t bytes)
{
	struct udf_partition *partition = verify->partition;
	uint32_t run = 0;
	uint32_t block = udf_partition_map(partition, first, 1, &run);
	uint64_t offset = udf_verify_offset(verify, block);
	int ret = 0;

	ret = udf_blockdev_write_medium(partition->dev, offset, verify->packet,
					bytes);
	if (ret == 0) {
		ret = udf_blockdev_read_medium(partition->dev, offset,
					       verify->read_back, bytes);
	}
	return ret == 0 &&
	       memcmp(verify->read_back, verify->packet, bytes) == 0;
}

/* With map_lock. */
static int refresh_packet(struct udf_verify *verify, uint32_t first)
{
	struct udf_partition *partition = verify->partition;
	uint32_t end = range_end(verify, first, verify->packet_blocks);
	size_t bytes = (size_t)(end - first) * partition->block_size;
	struct udf_block_list lost = {.count = 0};
	struct relocation relocation = {.original = first};
	uint32_t run = 0;
	int ret = 0;

	gather_packet(verify, first, end, &lost);
	ret = lost.count > 0 ? -EIO : 0;
	udf_block_list_free(&lost);
	if (ret != 0 || rewrite_in_place(verify, first, bytes)) {
		return ret;
	}
	relocation.from = udf_partition_map(partition, first, 1, &run);
	ret = udf_sparing_relocate(partition->sparing, first, verify->packet,
				   bytes, &relocation.to);
	if (ret == 0) {
		ret = udf_sparing_commit(partition->sparing);
	}
	if (ret != 0) {
		return ret;
	}
	udf_partition_count(&partition->counts.relocated_packets, 1);
	log_relocations(verify, &relocation, 1);
	return 1;
}

int udf_verify_refresh(struct udf_verify *verify, uint32_t first)
{
	int ret = 0;

	pthread_rwlock_wrlock(&verify->partition->map_lock);
	ret = refresh_packet(verify, first);
	pthread_rwlock_unlock(&verify->partition->map_lock);
	return ret;
}

int udf_verify_cure(struct udf_verify *verify, struct udf_drain *drain,
		    const struct udf_block_list *suspects)
{
	struct udf_partition *partition = verify->partition;
	struct relocation *done = NULL;
	size_t relocated = 0;
	size_t i = 0;
	int error = 0;
	int ret = 0;

	done = calloc(suspects->count + 1, sizeof(*done));
	if (done == NULL) {
		/* The next sync must not say that all is well. */
		udf_verify_undrain(verify, drain);
		return -ENOMEM;
	}
	udf_partition_count(&partition->counts.suspect_packets,
			    suspects->count);
	pthread_rwlock_wrlock(&partition->map_lock);
	for (i = 0; i < suspects->count; i++) {
		ret = cure_packet(verify, drain, suspects->blocks[i],
				  &done[relocated]);
		if (ret == 1) {
			relocated++;
		} else if (ret != 0 && error == 0) {
			error = ret;
		}
	}
	ret = udf_sparing_commit(partition->sparing);
	if (ret != 0 && error == 0) {
		error = ret;
	}
	log_relocations(verify, done, relocated);
	pthread_rwlock_unlock(&partition->map_lock);
	free(done);
	return error;
}
