/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Reading and writing the blocks of a partition: see partition.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lost.h"
#include "partition.h"
#include "verify.h"

#define READ_TRIES 3u

/* Counts for what an earlier process has left in the device's cache. */
#define FIRST_WRITE 1u

void udf_partition_init(struct udf_partition *partition,
			struct udf_blockdev *dev, const struct udf_log *log,
			const uint8_t *identity, uint32_t block_size,
			uint32_t start, uint32_t blocks)
{
	pthread_rwlockattr_t attr;

	*partition = (struct udf_partition){
		.dev = dev,
		.log = log,
		.identity = identity,
		.block_size = block_size,
		.start = start,
		.blocks = blocks,
		.writes = FIRST_WRITE,
	};
	/* A relocation must not starve behind readers. */
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(
		&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&partition->map_lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	pthread_mutex_init(&partition->told_lock, NULL);
	pthread_mutex_init(&partition->flush_lock, NULL);
	pthread_cond_init(&partition->flush_ended, NULL);
}

void udf_partition_destroy(struct udf_partition *partition)
{
	udf_block_list_free(&partition->damaged);
	pthread_cond_destroy(&partition->flush_ended);
	pthread_mutex_destroy(&partition->flush_lock);
	pthread_mutex_destroy(&partition->told_lock);
	pthread_rwlock_destroy(&partition->map_lock);
}

void udf_partition_count(uint64_t *counter, uint64_t n)
{
	__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

uint32_t udf_partition_map(const struct udf_partition *partition, uint32_t lbn,
			   uint32_t count, uint32_t *run)
{
	if (partition->sparing != NULL) {
		return udf_sparing_map(partition->sparing, lbn, count, run);
	}
	*run = count;
	return partition->start + lbn;
}

static bool in_partition(const struct udf_partition *partition, uint32_t lbn,
			 uint32_t count)
{
	return count <= partition->blocks && lbn <= partition->blocks - count;
}

static uint64_t block_offset(const struct udf_partition *partition,
			     uint32_t block)
{
	return (uint64_t)block * partition->block_size;
}

static size_t block_bytes(const struct udf_partition *partition, uint32_t count)
{
	return (size_t)count * partition->block_size;
}

int udf_partition_rescue(struct udf_partition *partition, uint32_t lbn,
			 void *buf, unsigned int *tries)
{
	uint32_t run = 0;
	uint32_t block = udf_partition_map(partition, lbn, 1, &run);
	uint64_t offset = block_offset(partition, block);
	unsigned int n = 0;
	int ret = -EIO;

	while (n < READ_TRIES && ret != 0) {
		n++;
		ret = udf_blockdev_read_medium(partition->dev, offset, buf,
					       partition->block_size);
	}
	if (tries != NULL) {
		*tries = n;
	}
	udf_partition_count(&partition->counts.retries, n - 1);
	if (ret == 0) {
		return 0;
	}
	return udf_blockdev_read(partition->dev, offset, buf,
				 partition->block_size);
}

void udf_partition_note_damage(struct udf_partition *partition, uint32_t lbn)
{
	pthread_mutex_lock(&partition->told_lock);
	if (partition->damaged.count < UDF_DAMAGED_MAX) {
		(void)udf_block_list_add(&partition->damaged, lbn);
	}
	pthread_mutex_unlock(&partition->told_lock);
}

void udf_partition_take_damage(struct udf_partition *partition,
			       struct udf_block_list *list)
{
	pthread_mutex_lock(&partition->told_lock);
	*list = partition->damaged;
	partition->damaged = (struct udf_block_list){.count = 0};
	pthread_mutex_unlock(&partition->told_lock);
}

/* One line for a block, however often it is read. */
static void tell_unreadable(struct udf_partition *partition, uint32_t lbn,
			    int error)
{
	uint32_t known = 0;
	uint32_t i = 0;

	pthread_mutex_lock(&partition->told_lock);
	known = partition->told_count < UDF_TOLD_MAX ? partition->told_count
						     : UDF_TOLD_MAX;
	while (i < known && partition->told[i] != lbn) {
		i++;
	}
	if (i == known) {
		partition->told[partition->told_count % UDF_TOLD_MAX] = lbn;
		partition->told_count++;
	}
	pthread_mutex_unlock(&partition->told_lock);
	if (i < known) {
		return;
	}
	udf_partition_count(&partition->counts.unreadable_blocks, 1);
	udf_log(partition->log, UDF_LOG_ERROR,
		"defect event=unreadable block=%u error=\"%s\"", lbn,
		strerror(-error));
	udf_partition_note_damage(partition, lbn);
}

/* A run that could not be read at once, block by block. */
static int read_singly(struct udf_partition *partition, uint32_t lbn,
		       uint32_t count, uint8_t *buf)
{
	uint32_t i = 0;

	for (i = 0; i < count; i++) {
		uint8_t *p = buf + block_bytes(partition, i);
		int ret = 0;

		if (partition->verify != NULL &&
		    udf_verify_copy(partition->verify, lbn + i, p)) {
			continue;
		}
		ret = udf_partition_rescue(partition, lbn + i, p, NULL);
		if (ret != 0) {
			tell_unreadable(partition, lbn + i, ret);
			return udf_blockdev_is_medium_error(ret) ? -EIO : ret;
		}
	}
	return 0;
}

/* Blocks of a relocated packet: is one of them lost? */
static bool any_lost(struct udf_partition *partition, uint32_t lbn,
		     uint32_t count, const uint8_t *buf)
{
	uint32_t i = 0;

	for (i = 0; i < count; i++) {
		if (!udf_lost_is(partition->identity, lbn + i,
				 buf + block_bytes(partition, i),
				 partition->block_size)) {
			continue;
		}
		if (partition->verify == NULL ||
		    !udf_verify_holds(partition->verify, lbn + i)) {
			return true;
		}
	}
	return false;
}

static int read_runs(struct udf_partition *partition, uint32_t lbn,
		     uint32_t count, uint8_t *buf)
{
	int ret = 0;

	while (count > 0 && ret == 0) {
		uint32_t run = 0;
		uint32_t block = udf_partition_map(partition, lbn, count, &run);

		ret = udf_blockdev_read(partition->dev,
					block_offset(partition, block), buf,
					block_bytes(partition, run));
		if (udf_blockdev_is_medium_error(ret)) {
			ret = read_singly(partition, lbn, run, buf);
		}
		if (ret == 0 && block != partition->start + lbn &&
		    any_lost(partition, lbn, run, buf)) {
			ret = -EIO;
		}
		lbn += run;
		count -= run;
		buf += block_bytes(partition, run);
	}
	return ret;
}

int udf_partition_read(struct udf_partition *partition, uint32_t lbn,
		       uint32_t count, void *buf)
{
	struct udf_verify *verify = partition->verify;
	int ret = 0;

	if (!in_partition(partition, lbn, count)) {
		return -EINVAL;
	}
	pthread_rwlock_rdlock(&partition->map_lock);
	ret = read_runs(partition, lbn, count, buf);
	if (ret == 0 && verify != NULL) {
		udf_verify_overlay(verify, lbn, count, buf);
	}
	pthread_rwlock_unlock(&partition->map_lock);
	return ret;
}

/* Past the cache: streaming. The error is the caller's. */
static int write_unmanaged(struct udf_partition *partition, uint32_t lbn,
			   uint32_t count, const uint8_t *buf)
{
	int ret = 0;

	if (partition->verify != NULL) {
		udf_verify_forget(partition->verify, lbn, count);
	}
	while (count > 0 && ret == 0) {
		uint32_t run = 0;
		uint32_t block = udf_partition_map(partition, lbn, count, &run);

		ret = udf_blockdev_write_medium(partition->dev,
						block_offset(partition, block),
						buf,
						block_bytes(partition, run));
		lbn += run;
		count -= run;
		buf += block_bytes(partition, run);
	}
	return udf_blockdev_is_medium_error(ret) ? -EIO : ret;
}

static int write_run(struct udf_partition *partition, uint64_t offset,
		     const uint8_t *buf, size_t len)
{
	int ret = 0;

	if (partition->verify == NULL) {
		return udf_blockdev_write(partition->dev, offset, buf, len);
	}
	ret = udf_blockdev_write_large(partition->dev, offset, buf, len);
	/* Not final: what the medium holds at the next sync decides. */
	return udf_blockdev_is_medium_error(ret) ? 0 : ret;
}

static int write_runs(struct udf_partition *partition, uint32_t lbn,
			  uint32_t count, const uint8_t *buf)
{
	int ret = 0;

	while (count > 0) {
		uint32_t run = 0;
		uint32_t block = udf_partition_map(partition, lbn, count, &run);

		ret = write_run(partition, block_offset(partition, block), buf,
				block_bytes(partition, run));
		if (ret != 0) {
			break;
		}
		lbn += run;
		count -= run;
		buf += block_bytes(partition, run);
	}
	return udf_blockdev_is_medium_error(ret) ? -EIO : ret;
}

static int write_managed(struct udf_partition *partition, uint32_t lbn,
			 uint32_t count, const void *buf)
{
	int ret = 0;

	/*
	 * Remember first: a drain that comes between finds the medium wrong,
	 * takes map_lock for itself to make sure, and so waits for the write.
	 */
	ret = udf_verify_remember(partition->verify, lbn, count, buf);
	if (ret != 0) {
		return ret;
	}
	ret = write_runs(partition, lbn, count, buf);
	if (ret != 0) {
		/* Not written, and not for the medium's fault. */
		udf_verify_forget(partition->verify, lbn, count);
	}
	return ret;
}

int udf_partition_write(struct udf_partition *partition, uint32_t lbn,
			uint32_t count, const void *buf, bool unmanaged)
{
	int ret = 0;

	if (!in_partition(partition, lbn, count)) {
		return -EINVAL;
	}
	pthread_rwlock_rdlock(&partition->map_lock);
	if (unmanaged) {
		ret = write_unmanaged(partition, lbn, count, buf);
	} else if (partition->verify != NULL) {
		ret = write_managed(partition, lbn, count, buf);
	} else {
		ret = write_runs(partition, lbn, count, buf);
	}
	/* Counted when it is done: no flush that began before covers it. */
	__atomic_fetch_add(&partition->writes, 1, __ATOMIC_RELEASE);
	pthread_rwlock_unlock(&partition->map_lock);

	if (ret != 0) {
		udf_log(partition->log, UDF_LOG_ERROR,
			"blocks %u to %u of the partition cannot be written: "
			"%s",
			lbn, lbn + count - 1, strerror(-ret));
		return ret;
	}
	if (partition->verify != NULL && !unmanaged) {
		udf_verify_relieve(partition->verify);
	}
	return 0;
}

/*
 * Let a flush cover so many writes. One at a time runs; it is also for all who
 * wait by then, and who comes later waits for the next one.
 */
static int flush_writes(struct udf_partition *partition, uint64_t wanted)
{
	int ret = 0;

	pthread_mutex_lock(&partition->flush_lock);
	while (partition->flush_error == 0 && partition->flushed < wanted) {
		uint64_t covered = 0;

		if (partition->flushing) {
			pthread_cond_wait(&partition->flush_ended,
					  &partition->flush_lock);
			continue;
		}
		partition->flushing = true;
		covered = __atomic_load_n(&partition->writes, __ATOMIC_ACQUIRE);
		pthread_mutex_unlock(&partition->flush_lock);
		ret = udf_blockdev_flush(partition->dev);
		pthread_mutex_lock(&partition->flush_lock);
		partition->flushing = false;
		if (ret == 0) {
			partition->flushed = covered;
		} else {
			/*
			 * The kernel has marked the pages clean and forgets:
			 * which blocks were lost is not known, so neither who
			 * waits nor any later sync can be told that its own
			 * are there.
			 */
			partition->flush_error = ret;
			udf_log(partition->log, UDF_LOG_ERROR,
				"the device lost writes: %s; unmount and "
				"check the volume",
				strerror(-ret));
		}
		pthread_cond_broadcast(&partition->flush_ended);
	}
	ret = partition->flush_error;
	pthread_mutex_unlock(&partition->flush_lock);
	return ret;
}

int udf_partition_sync(struct udf_partition *partition,
		       const struct udf_run_list *runs)
{
	uint64_t wanted = FIRST_WRITE;

	if (partition->verify != NULL) {
		return udf_verify_sync(partition->verify, runs);
	}
	if (runs == NULL || runs->count > 0) {
		wanted = __atomic_load_n(&partition->writes, __ATOMIC_ACQUIRE);
	}
	return flush_writes(partition, wanted);
}

void udf_partition_forget(struct udf_partition *partition, uint32_t lbn,
			  uint32_t count)
{
	if (partition->verify != NULL && in_partition(partition, lbn, count)) {
		udf_verify_forget(partition->verify, lbn, count);
	}
}
