/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A device in memory for tests: see fake_blockdev.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_blockdev.h"

static struct fake_blockdev *fake_of(struct udf_blockdev *dev)
{
	return (struct fake_blockdev *)dev;
}

static void record(struct fake_blockdev *fake, enum fake_record_kind kind,
		   uint64_t offset, size_t len)
{
	if (fake->records < FAKE_RECORDS_MAX) {
		fake->record[fake->records++] = (struct fake_record){
			.kind = kind,
			.offset = offset,
			.len = len,
		};
	}
}

/* The fault that acts on a sector, or NULL; counts the hit. */
static struct fake_fault *find_fault(struct fake_blockdev *fake,
				     uint64_t sector, bool reading)
{
	size_t i = 0;

	for (i = 0; i < fake->faults; i++) {
		struct fake_fault *fault = &fake->fault[i];

		if ((fault->kind == FAKE_READ_ERROR) != reading) {
			continue;
		}
		if (sector < fault->sector ||
		    sector - fault->sector >= fault->count) {
			continue;
		}
		if (fault->times != 0 && fault->hits >= fault->times) {
			continue;
		}
		fault->hits++;
		return fault;
	}
	return NULL;
}

/* A sector from the cache to the medium. */
static int store_sector(struct fake_blockdev *fake, uint64_t sector)
{
	struct fake_fault *fault = find_fault(fake, sector, false);
	uint8_t *to = fake->medium + sector * FAKE_SECTOR;

	fake->dirty[sector] = false;
	if (fault == NULL) {
		memcpy(to, fake->cache + sector * FAKE_SECTOR, FAKE_SECTOR);
		return 0;
	}
	switch (fault->kind) {
	case FAKE_WRITE_ERROR:
		return -EIO;
	case FAKE_SILENT_CORRUPT:
		memcpy(to, fake->cache + sector * FAKE_SECTOR, FAKE_SECTOR);
		to[FAKE_SECTOR / 2] ^= 0x55;
		return 0;
	case FAKE_SILENT_DROP:
	case FAKE_READ_ERROR:
		break;
	}
	return 0;
}

static int store_all(struct fake_blockdev *fake)
{
	uint64_t sectors = fake->dev.size / FAKE_SECTOR;
	uint64_t i = 0;
	int error = 0;

	for (i = 0; i < sectors; i++) {
		if (fake->dirty[i]) {
			int ret = store_sector(fake, i);

			error = ret != 0 ? ret : error;
		}
	}
	return error;
}

/* Take one write of life; false: dead. */
static bool live(struct fake_blockdev *fake, uint64_t offset, const void *buf,
		 size_t len)
{
	if (!fake->mortal) {
		return true;
	}
	if (fake->writes_left > 0) {
		fake->writes_left--;
		return true;
	}
	if (fake->tears) {
		size_t half = len / FAKE_SECTOR / 2 * FAKE_SECTOR;

		memcpy(fake->medium + offset, buf, half);
		fake->tears = false;
	}
	return false;
}

static int do_read(struct fake_blockdev *fake, uint64_t offset, void *buf,
		   size_t len)
{
	uint64_t sector = 0;

	for (sector = offset / FAKE_SECTOR;
	     sector * FAKE_SECTOR < offset + len; sector++) {
		if (!fake->dirty[sector] &&
		    find_fault(fake, sector, true) != NULL) {
			return -EIO;
		}
	}
	memcpy(buf, fake->cache + offset, len);
	return 0;
}

static int do_write(struct fake_blockdev *fake, uint64_t offset,
		    const void *buf, size_t len)
{
	uint64_t sector = 0;

	record(fake, FAKE_WRITE, offset, len);
	if (!live(fake, offset, buf, len)) {
		return -EIO;
	}
	memcpy(fake->cache + offset, buf, len);
	for (sector = offset / FAKE_SECTOR;
	     sector * FAKE_SECTOR < offset + len; sector++) {
		int ret = 0;

		fake->dirty[sector] = true;
		if (fake->direct) {
			ret = store_sector(fake, sector);
		}
		if (ret != 0) {
			return ret;
		}
	}
	if (fake->write_through) {
		(void)store_all(fake);
	}
	return 0;
}

static int do_flush(struct fake_blockdev *fake)
{
	record(fake, FAKE_FLUSH, 0, 0);
	if (fake->flush_error != 0) {
		return fake->flush_error;
	}
	if (fake->mortal && fake->writes_left == 0) {
		return -EIO;
	}
	return store_all(fake);
}

static int do_read_medium(struct fake_blockdev *fake, uint64_t offset,
			  void *buf, size_t len)
{
	uint64_t sector = 0;

	for (sector = offset / FAKE_SECTOR;
	     sector * FAKE_SECTOR < offset + len; sector++) {
		if (find_fault(fake, sector, true) != NULL) {
			return -EIO;
		}
	}
	memcpy(buf, fake->medium + offset, len);
	return 0;
}

static int do_write_medium(struct fake_blockdev *fake, uint64_t offset,
			   const void *buf, size_t len)
{
	uint64_t sector = 0;

	record(fake, FAKE_WRITE_MEDIUM, offset, len);
	if (!live(fake, offset, buf, len)) {
		return -EIO;
	}
	memcpy(fake->cache + offset, buf, len);
	for (sector = offset / FAKE_SECTOR;
	     sector * FAKE_SECTOR < offset + len; sector++) {
		int ret = store_sector(fake, sector);

		if (ret != 0) {
			return ret;
		}
	}
	return 0;
}

static int fake_read(struct udf_blockdev *dev, uint64_t offset, void *buf,
		     size_t len)
{
	struct fake_blockdev *fake = fake_of(dev);
	int ret = 0;

	pthread_mutex_lock(&fake->lock);
	ret = do_read(fake, offset, buf, len);
	pthread_mutex_unlock(&fake->lock);
	return ret;
}

static int fake_write(struct udf_blockdev *dev, uint64_t offset,
		      const void *buf, size_t len)
{
	struct fake_blockdev *fake = fake_of(dev);
	int ret = 0;

	pthread_mutex_lock(&fake->lock);
	ret = do_write(fake, offset, buf, len);
	pthread_mutex_unlock(&fake->lock);
	return ret;
}

static int fake_flush(struct udf_blockdev *dev)
{
	struct fake_blockdev *fake = fake_of(dev);
	int ret = 0;

	pthread_mutex_lock(&fake->lock);
	ret = do_flush(fake);
	pthread_mutex_unlock(&fake->lock);
	return ret;
}

static int fake_read_medium(struct udf_blockdev *dev, uint64_t offset,
			    void *buf, size_t len)
{
	struct fake_blockdev *fake = fake_of(dev);
	int ret = 0;

	pthread_mutex_lock(&fake->lock);
	ret = do_read_medium(fake, offset, buf, len);
	pthread_mutex_unlock(&fake->lock);
	return ret;
}

static int fake_write_medium(struct udf_blockdev *dev, uint64_t offset,
			     const void *buf, size_t len)
{
	struct fake_blockdev *fake = fake_of(dev);
	int ret = 0;

	pthread_mutex_lock(&fake->lock);
	ret = do_write_medium(fake, offset, buf, len);
	pthread_mutex_unlock(&fake->lock);
	return ret;
}

static void fake_close(struct udf_blockdev *dev)
{
	struct fake_blockdev *fake = fake_of(dev);

	if (!fake->keep) {
		fake_blockdev_free(fake);
	}
}

static const struct udf_blockdev_ops fake_ops = {
	.read = fake_read,
	.write = fake_write,
	.flush = fake_flush,
	.read_medium = fake_read_medium,
	.write_medium = fake_write_medium,
	.close = fake_close,
};

struct fake_blockdev *fake_blockdev_new(size_t size)
{
	struct fake_blockdev *fake = calloc(1, sizeof(*fake));

	if (fake == NULL) {
		return NULL;
	}
	pthread_mutex_init(&fake->lock, NULL);
	fake->dev.ops = &fake_ops;
	fake->dev.size = size;
	fake->dev.uncached = true;
	fake->keep = true;
	fake->cache = calloc(1, size);
	fake->medium = calloc(1, size);
	fake->dirty = calloc(size / FAKE_SECTOR, sizeof(bool));
	if (fake->cache == NULL || fake->medium == NULL ||
	    fake->dirty == NULL) {
		fake_blockdev_free(fake);
		return NULL;
	}
	return fake;
}

struct fake_blockdev *fake_blockdev_load(const char *path)
{
	struct fake_blockdev *fake = NULL;
	FILE *f = fopen(path, "r");
	long size = 0;

	if (f == NULL) {
		return NULL;
	}
	if (fseek(f, 0, SEEK_END) == 0) {
		size = ftell(f);
		rewind(f);
	}
	if (size > 0) {
		fake = fake_blockdev_new((size_t)size);
	}
	if (fake != NULL &&
	    fread(fake->cache, 1, (size_t)size, f) != (size_t)size) {
		fake_blockdev_free(fake);
		fake = NULL;
	}
	if (fake != NULL) {
		memcpy(fake->medium, fake->cache, (size_t)size);
	}
	fclose(f);
	return fake;
}

void fake_blockdev_free(struct fake_blockdev *fake)
{
	if (fake != NULL) {
		pthread_mutex_destroy(&fake->lock);
		free(fake->cache);
		free(fake->medium);
		free(fake->dirty);
		free(fake);
	}
}

void fake_blockdev_put(struct fake_blockdev *fake, uint64_t offset,
		       const void *data, size_t len)
{
	memcpy(fake->cache + offset, data, len);
	memcpy(fake->medium + offset, data, len);
}

void fake_blockdev_fault(struct fake_blockdev *fake, enum fake_fault_kind kind,
			 uint64_t sector, uint64_t count)
{
	pthread_mutex_lock(&fake->lock);
	if (fake->faults < FAKE_FAULTS_MAX) {
		fake->fault[fake->faults++] = (struct fake_fault){
			.kind = kind,
			.sector = sector,
			.count = count,
		};
	}
	pthread_mutex_unlock(&fake->lock);
}

void fake_blockdev_restart(struct fake_blockdev *fake)
{
	size_t size = (size_t)fake->dev.size;

	memcpy(fake->cache, fake->medium, size);
	memset(fake->dirty, 0, size / FAKE_SECTOR * sizeof(bool));
	fake->mortal = false;
	fake->tears = false;
	fake->flush_error = 0;
}
