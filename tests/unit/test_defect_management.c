/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Defect management: managed and unmanaged writes to a volume whose device has
 * bad sectors, loses power, or is full; several threads.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "udf_store/bytes.h"
#include "volume_images.h"

/* A sector (of 512 bytes) of a block of the partition. */
static uint64_t sector_of(uint32_t start, uint32_t lbn)
{
	return ((uint64_t)start + lbn) * 4;
}

/* On a CDRW_201 of 16 MiB the partition starts at block 1312. */
#define START 1312u
#define BAD 1005u	 /* block with the bad sector */
#define BAD_PACKET 992u /* first block of its packet */

static void set_fault(struct fake_blockdev *fake, enum fake_fault_kind kind,
		      uint32_t lbn)
{
	fake_blockdev_fault(fake, kind, sector_of(START, lbn) + 1, 1);
}

static void assert_spares(struct udf_volume *volume, uint32_t relocated,
			  uint32_t sequence)
{
	struct udf_sparing_status status = {0};

	udf_volume_sparing_status(volume, &status);
	assert_int_equal(status.relocated_packets, relocated);
	assert_int_equal(status.sequence, sequence);
}

/*
 * The four kinds of bad sector under a managed write: what was written, and
 * what was in its packet before, is there after a sync and a power cut.
 */
static void test_defects_managed(void **state)
{
	static const enum fake_fault_kind kinds[] = {
		FAKE_WRITE_ERROR, FAKE_READ_ERROR, FAKE_SILENT_DROP,
		FAKE_SILENT_CORRUPT};
	const size_t bytes = 96 * 2048;
	uint8_t *before = malloc(bytes);
	uint8_t *data = malloc(bytes);
	uint8_t *back = malloc(bytes);
	size_t i = 0;

	(void)state;
	for (i = 0; i < 4; i++) {
		struct fake_blockdev *fake = load_fake(CDRW_201);
		struct udf_volume *volume = NULL;

		assert_int_equal(open_fake(fake, &volume), 0);
		/* Three packets; the middle one has the bad sector. */
		fill(before, bytes, 10);
		assert_int_equal(udf_volume_write(volume, 960, 96, before, 0),
				 0);
		assert_int_equal(udf_volume_sync(volume), 0);
		assert_spares(volume, 0, 0);

		set_fault(fake, kinds[i], BAD);
		relocation_lines = 0;
		fill(data, bytes, 20);
		assert_int_equal(udf_volume_write(volume, BAD - 3, 8, data, 0),
				 0);
		memcpy(before + (BAD - 3 - 960) * 2048, data, 8 * 2048);
		assert_int_equal(udf_volume_read(volume, 960, 96, back), 0);
		assert_memory_equal(back, before, bytes);
		assert_int_equal(udf_volume_sync(volume), 0);
		assert_spares(volume, 1, 1);
		assert_int_equal(relocation_lines, 1);
		assert_int_equal(udf_volume_read(volume, 960, 96, back), 0);
		assert_memory_equal(back, before, bytes);

		/* The plug is pulled. */
		assert_int_equal(udf_volume_close(volume), 0);
		fake_blockdev_restart(fake);
		assert_int_equal(open_fake(fake, &volume), 0);
		assert_spares(volume, 1, 1);
		assert_int_equal(udf_volume_read(volume, 960, 96, back), 0);
		assert_memory_equal(back, before, bytes);
		assert_int_equal(udf_volume_close(volume), 0);
		fake_blockdev_free(fake);
	}
	free(before);
	free(data);
	free(back);
}

/*
 * A device that ends a request at its first bad sector: the packets behind it
 * are not as written either, but nothing is wrong with them.
 */
static void test_one_bad_sector_one_spare(void **state)
{
	const size_t bytes = 512 * 2048;
	struct fake_blockdev *fake = load_fake(CDRW_201);
	struct udf_volume *volume = NULL;
	uint8_t *data = malloc(bytes);
	uint8_t *back = malloc(bytes);

	(void)state;
	assert_int_equal(open_fake(fake, &volume), 0);
	fake->direct = true;
	fill(data, bytes, 25);
	set_fault(fake, FAKE_WRITE_ERROR, BAD);
	assert_int_equal(udf_volume_write(volume, 960, 512, data, 0), 0);
	assert_int_equal(udf_volume_read(volume, 960, 512, back), 0);
	assert_memory_equal(back, data, bytes);
	assert_int_equal(udf_volume_sync(volume), 0);
	assert_spares(volume, 1, 1);
	assert_int_equal(udf_volume_close(volume), 0);
	fake_blockdev_restart(fake);
	assert_int_equal(open_fake(fake, &volume), 0);
	assert_int_equal(udf_volume_read(volume, 960, 512, back), 0);
	assert_memory_equal(back, data, bytes);
	assert_int_equal(udf_volume_close(volume), 0);
	fake_blockdev_free(fake);
	free(data);
	free(back);
}

/* A write error that does not come back costs no spare. */
static void test_transient_write_error(void **state)
{
	struct fake_blockdev *fake = load_fake(CDRW_201);
	struct udf_volume *volume = NULL;
	uint8_t data[2048];
	uint8_t back[2048];

	(void)state;
	assert_int_equal(open_fake(fake, &volume), 0);
	fill(data, sizeof(data), 32);
	set_fault(fake, FAKE_WRITE_ERROR, BAD);
	fake->fault[0].times = 1;
	assert_int_equal(udf_volume_write(volume, BAD, 1, data, 0), 0);
	assert_int_equal(udf_volume_sync(volume), 0);
	assert_int_equal(fake->fault[0].hits, 1);
	assert_spares(volume, 0, 0);
	fake_blockdev_restart(fake);
	assert_int_equal(udf_volume_read(volume, BAD, 1, back), 0);
	assert_memory_equal(back, data, sizeof(data));
	assert_int_equal(udf_volume_close(volume), 0);
	fake_blockdev_free(fake);
}

/*
 * A read error that was there before: the neighbour is lost, and says so,
 * also after a remount, also on a volume that is only read, until it is
 * written.
 */
static void test_lost_neighbour(void **state)
{
	const struct udf_volume_options reader = {
		.log = keep_line,
		.read_only = true,
	};
	struct fake_blockdev *fake = load_fake(CDRW_201);
	struct udf_block_list damage = {.count = 0};
	struct udf_defect_status status = {.bad_packets = 0};
	struct udf_volume *volume = NULL;
	uint8_t data[2048];
	uint8_t back[32 * 2048];

	(void)state;
	assert_int_equal(open_fake(fake, &volume), 0);
	fill(data, sizeof(data), 30);
	set_fault(fake, FAKE_READ_ERROR, BAD + 1);
	set_fault(fake, FAKE_WRITE_ERROR, BAD);
	assert_int_equal(udf_volume_read(volume, BAD + 1, 1, back), -EIO);
	assert_int_equal(udf_volume_write(volume, BAD, 1, data, 0), 0);
	assert_int_equal(udf_volume_sync(volume), 0);
	assert_spares(volume, 1, 1);
	assert_int_equal(udf_volume_read(volume, BAD, 1, back), 0);
	assert_memory_equal(back, data, sizeof(data));
	/* Not zeroes in place of data. */
	assert_int_equal(udf_volume_read(volume, BAD + 1, 1, back), -EIO);
	assert_int_equal(udf_volume_read(volume, BAD_PACKET, 32, back), -EIO);
	udf_volume_take_damage(volume, &damage);
	assert_int_equal(damage.count, 1);
	assert_int_equal(damage.blocks[0], BAD + 1);
	udf_block_list_free(&damage);
	udf_volume_defect_status(volume, &status);
	assert_int_equal(status.counts.lost_blocks, 1);
	assert_int_equal(status.counts.relocated_packets, 1);
	assert_int_equal(status.counts.unreadable_blocks, 1);
	assert_int_equal(udf_volume_close(volume), 0);

	fake_blockdev_restart(fake);
	assert_int_equal(udf_volume_open_device(&fake->dev, &reader, &volume),
			 0);
	assert_int_equal(udf_volume_read(volume, BAD + 1, 1, back), -EIO);
	assert_int_equal(udf_volume_read(volume, BAD_PACKET, 32, back), -EIO);
	assert_int_equal(udf_volume_read(volume, BAD, 1, back), 0);
	assert_memory_equal(back, data, sizeof(data));
	assert_int_equal(udf_volume_close(volume), 0);

	/* The packet moves once more, and what is lost with it. */
	fake_blockdev_restart(fake);
	fake_blockdev_fault(fake, FAKE_WRITE_ERROR,
			    288 * 4 + (BAD - BAD_PACKET + 4) * 4, 1);
	assert_int_equal(open_fake(fake, &volume), 0);
	assert_int_equal(udf_volume_write(volume, BAD + 4, 1, data, 0), 0);
	assert_int_equal(udf_volume_sync(volume), 0);
	assert_spares(volume, 1, 2);
	assert_int_equal(udf_volume_read(volume, BAD + 1, 1, back), -EIO);

	assert_int_equal(udf_volume_write(volume, BAD + 1, 1, data, 0), 0);
	assert_int_equal(udf_volume_read(volume, BAD + 1, 1, back), 0);
	assert_memory_equal(back, data, sizeof(data));
	assert_int_equal(udf_volume_sync(volume), 0);
	assert_int_equal(udf_volume_close(volume), 0);
	fake_blockdev_free(fake);
}

/* An error that goes away by itself is none. */
static void test_transient_read_error(void **state)
{
	struct fake_blockdev *fake = load_fake(CDRW_201);
	struct udf_volume *volume = NULL;
	uint8_t data[2048];

	(void)state;
	assert_int_equal(open_fake(fake, &volume), 0);
	fill(data, sizeof(data), 31);
	set_fault(fake, FAKE_READ_ERROR, BAD);
	fake->fault[0].times = 2;
	assert_int_equal(udf_volume_write(volume, BAD, 1, data, 0), 0);
	assert_int_equal(udf_volume_sync(volume), 0);
	assert_int_equal(fake->fault[0].hits, 2);
	assert_spares(volume, 0, 0);
	assert_int_equal(udf_volume_close(volume), 0);
	fake_blockdev_free(fake);
}

static void test_unmanaged(void **state)
{
	struct fake_blockdev *fake = load_fake(CDRW_201);
	struct udf_volume *volume = NULL;
	uint8_t data[2048];
	uint8_t back[2048];

	(void)state;
	assert_int_equal(open_fake(fake, &volume), 0);
	fill(data, sizeof(data), 40);
	set_fault(fake, FAKE_WRITE_ERROR, BAD);
	set_fault(fake, FAKE_SILENT_CORRUPT, BAD + 1);

	/* The error comes at once, and nothing is relocated. */
	assert_int_equal(udf_volume_write(volume, BAD, 1, data,
					  UDF_WRITE_UNMANAGED),
			 -EIO);
	assert_int_equal(udf_volume_write(volume, BAD + 1, 1, data,
					  UDF_WRITE_UNMANAGED),
			 0);
	assert_int_equal(udf_volume_sync(volume), 0);
	assert_spares(volume, 0, 0);

	/* It replaces what was written before and not verified yet. */
	assert_int_equal(udf_volume_write(volume, BAD + 2, 1, data, 0), 0);
	fill(data, sizeof(data), 41);
	assert_int_equal(udf_volume_write(volume, BAD + 2, 1, data,
					  UDF_WRITE_UNMANAGED),
			 0);
	assert_int_equal(udf_volume_sync(volume), 0);
	assert_spares(volume, 0, 0);
	assert_int_equal(udf_volume_read(volume, BAD + 2, 1, back), 0);
	assert_memory_equal(back, data, sizeof(data));

	/* In a relocated packet it goes where the packet is. */
	assert_int_equal(udf_volume_write(volume, BAD, 1, data, 0), 0);
	assert_int_equal(udf_volume_sync(volume), 0);
	assert_spares(volume, 1, 1);
	fill(data, sizeof(data), 42);
	assert_int_equal(udf_volume_write(volume, BAD, 1, data,
					  UDF_WRITE_UNMANAGED),
			 0);
	assert_int_equal(udf_volume_read(volume, BAD, 1, back), 0);
	assert_memory_equal(back, data, sizeof(data));
	assert_int_equal(udf_volume_close(volume), 0);
	fake_blockdev_free(fake);
}

/* No spare left: ENOSPC from each sync, the data kept, until it is cured. */
static void test_spares_exhausted(void **state)
{
	struct fake_blockdev *fake = load_fake(CDRW_201);
	struct udf_sparing_status status = {0};
	struct udf_volume *volume = NULL;
	struct udf_integrity integrity = {0};
	uint8_t data[2048];
	uint8_t back[2048];
	uint32_t i = 0;

	(void)state;
	assert_int_equal(open_fake(fake, &volume), 0);
	udf_volume_sparing_status(volume, &status);
	fill(data, sizeof(data), 50);
	/* More bad packets than there are spares. */
	fake_blockdev_fault(fake, FAKE_WRITE_ERROR, sector_of(START, 320),
			    (uint64_t)(status.total_packets + 1) * 32 * 4);
	for (i = 0; i < status.total_packets; i++) {
		assert_int_equal(udf_volume_write(volume, 320 + i * 32, 1,
						  data, 0),
				 0);
	}
	assert_int_equal(udf_volume_sync(volume), 0);
	assert_spares(volume, status.total_packets, 1);

	assert_int_equal(udf_volume_write(volume, 320 + i * 32, 1, data, 0),
			 0);
	assert_int_equal(udf_volume_sync(volume), -ENOSPC);
	assert_int_equal(udf_volume_sync(volume), -ENOSPC);
	assert_int_equal(udf_volume_read(volume, 320 + i * 32, 1, back), 0);
	assert_memory_equal(back, data, sizeof(data));
	/* Such a volume cannot be called closed. */
	udf_volume_get_integrity(volume, &integrity);
	assert_int_equal(udf_volume_put_integrity(volume, &integrity),
			 -ENOSPC);
	/* Other blocks go on working, and the sync still tells. */
	assert_int_equal(udf_volume_write(volume, 100, 1, data, 0), 0);
	assert_int_equal(udf_volume_sync(volume), -ENOSPC);
	/* The medium recovers: the next sync makes up for it. */
	fake->faults = 0;
	assert_int_equal(udf_volume_sync(volume), 0);
	assert_int_equal(udf_volume_close(volume), 0);
	fake_blockdev_restart(fake);
	assert_int_equal(open_fake(fake, &volume), 0);
	assert_int_equal(udf_volume_read(volume, 320 + i * 32, 1, back), 0);
	assert_memory_equal(back, data, sizeof(data));
	assert_int_equal(udf_volume_close(volume), 0);
	fake_blockdev_free(fake);
}

/* The file system that has the image is full: no spare is wasted on that. */
static void test_surroundings_fail(void **state)
{
	struct fake_blockdev *fake = load_fake(CDRW_201);
	struct udf_volume *volume = NULL;
	uint8_t data[2048];
	uint8_t back[2048];

	(void)state;
	assert_int_equal(open_fake(fake, &volume), 0);
	fill(data, sizeof(data), 60);
	assert_int_equal(udf_volume_write(volume, BAD, 1, data, 0), 0);
	fake->flush_error = -ENOSPC;
	assert_int_equal(udf_volume_sync(volume), -ENOSPC);
	fake->flush_error = 0;
	assert_int_equal(udf_volume_sync(volume), 0);
	assert_spares(volume, 0, 0);
	fake_blockdev_restart(fake);
	assert_int_equal(udf_volume_read(volume, BAD, 1, back), 0);
	assert_memory_equal(back, data, sizeof(data));
	assert_int_equal(udf_volume_close(volume), 0);
	fake_blockdev_free(fake);
}

/* Without sparing a lost write is an error for good. */
static void test_plain_write_error(void **state)
{
	struct fake_blockdev *fake = load_fake(PLAIN_2048);
	struct udf_volume *volume = NULL;
	struct udf_integrity integrity = {0};
	uint8_t data[2048] = {1};

	(void)state;
	assert_int_equal(open_fake(fake, &volume), 0);
	/* This one starts at block 257. */
	fake_blockdev_fault(fake, FAKE_WRITE_ERROR, sector_of(257, 500), 1);
	assert_int_equal(udf_volume_write(volume, 500, 1, data, 0), 0);
	assert_int_equal(udf_volume_sync(volume), -EIO);
	assert_int_equal(udf_volume_sync(volume), -EIO);
	udf_volume_get_integrity(volume, &integrity);
	assert_int_equal(udf_volume_put_integrity(volume, &integrity), -EIO);
	assert_int_equal(udf_volume_close(volume), -EIO);
	fake_blockdev_free(fake);
}

/*
 * A bad sector under the integrity descriptor: it goes to the next block, and
 * both Logical Volume Descriptors lead there. On volumes with and without
 * sparing.
 */
static void test_integrity_moves(void **state)
{
	static const enum fake_fault_kind kinds[] = {
		FAKE_WRITE_ERROR, FAKE_SILENT_DROP, FAKE_SILENT_CORRUPT,
		FAKE_READ_ERROR};
	size_t i = 0;

	(void)state;
	for (i = 0; i < 8; i++) {
		struct fake_blockdev *fake =
			load_fake(i < 4 ? CDRW_201 : PLAIN_2048);
		struct udf_volume *volume = NULL;
		struct udf_integrity integrity = {0};
		struct udf_integrity after = {0};
		uint64_t block = find_tag(fake, 2048, 0, UDF_TAG_LVID);
		uint64_t main = find_tag(fake, 2048, 0, UDF_TAG_LVD);
		uint64_t reserve = find_tag(fake, 2048, main + 1, UDF_TAG_LVD);

		assert_int_equal(open_fake(fake, &volume), 0);
		udf_volume_get_integrity(volume, &integrity);
		integrity.closed = false;
		integrity.files = 77;
		fake_blockdev_fault(fake, kinds[i % 4], block * 4, 1);
		/* The second place is bad as well. */
		fake_blockdev_fault(fake, kinds[i % 4], block * 4 + 4, 1);
		assert_int_equal(udf_volume_put_integrity(volume, &integrity),
				 0);
		assert_int_equal(udf_volume_close(volume), 0);
		fake_blockdev_restart(fake);
		assert_int_equal(get_le32(fake->medium + main * 2048 + 436),
				 block + 2);
		assert_int_equal(get_le32(fake->medium + reserve * 2048 + 436),
				 block + 2);
		assert_int_equal(open_fake(fake, &volume), 0);
		udf_volume_get_integrity(volume, &after);
		assert_false(after.closed);
		assert_int_equal(after.files, 77);
		integrity.closed = true;
		assert_int_equal(udf_volume_put_integrity(volume, &integrity),
				 0);
		assert_int_equal(udf_volume_close(volume), 0);
		fake_blockdev_free(fake);
	}
}

/* Nor does it matter if that cannot be said: the damaged blocks lead on. */
static void test_integrity_moves_alone(void **state)
{
	struct fake_blockdev *fake = load_fake(CDRW_201);
	struct udf_volume *volume = NULL;
	struct udf_integrity integrity = {0};
	uint64_t block = find_tag(fake, 2048, 0, UDF_TAG_LVID);
	uint64_t main = find_tag(fake, 2048, 0, UDF_TAG_LVD);
	uint64_t reserve = find_tag(fake, 2048, main + 1, UDF_TAG_LVD);

	(void)state;
	assert_int_equal(open_fake(fake, &volume), 0);
	udf_volume_get_integrity(volume, &integrity);
	integrity.files = 78;
	fake_blockdev_fault(fake, FAKE_READ_ERROR, block * 4, 1);
	fake_blockdev_fault(fake, FAKE_WRITE_ERROR, main * 4, 1);
	fake_blockdev_fault(fake, FAKE_WRITE_ERROR, reserve * 4, 1);
	assert_int_equal(udf_volume_put_integrity(volume, &integrity), 0);
	assert_int_equal(udf_volume_close(volume), 0);
	fake_blockdev_restart(fake);
	assert_int_equal(open_fake(fake, &volume), 0);
	udf_volume_get_integrity(volume, &integrity);
	assert_int_equal(integrity.files, 78);
	/* It could be one of long ago, so all is computed anew. */
	assert_false(integrity.closed);
	assert_int_equal(udf_volume_close(volume), 0);
	fake_blockdev_free(fake);
}

/* The whole extent is bad. */
static void test_integrity_write_error(void **state)
{
	static const enum fake_fault_kind kinds[] = {
		FAKE_WRITE_ERROR, FAKE_SILENT_DROP, FAKE_SILENT_CORRUPT};
	size_t i = 0;

	(void)state;
	for (i = 0; i < 3; i++) {
		struct fake_blockdev *fake = load_fake(CDRW_201);
		struct udf_volume *volume = NULL;
		struct udf_integrity integrity = {0};
		struct udf_integrity after = {0};
		uint64_t block = find_tag(fake, 2048, 0, UDF_TAG_LVID);

		assert_int_equal(open_fake(fake, &volume), 0);
		udf_volume_get_integrity(volume, &integrity);
		integrity.closed = false;
		fake_blockdev_fault(fake, kinds[i], block * 4, 32 * 4);
		assert_int_equal(udf_volume_put_integrity(volume, &integrity),
				 -EIO);
		udf_volume_get_integrity(volume, &after);
		assert_true(after.closed);
		(void)udf_volume_close(volume);
		fake_blockdev_free(fake);
	}
}

/* Much more than the limit, in odd pieces and over bad sectors. */
static void test_limit(void **state)
{
	const struct udf_volume_options options = {
		.log = keep_line,
		.verify_limit = 256 * 1024,
	};
	struct fake_blockdev *fake = load_fake(CDRW_201);
	struct udf_volume *volume = NULL;
	struct udf_defect_status status = { .bad_packets = 0 };
	const uint32_t blocks = 3000;
	uint8_t *data = malloc(blocks * 2048u);
	uint8_t *back = malloc(blocks * 2048u);
	uint32_t lbn = 0;
	uint32_t step = 1;

	(void)state;
	fill(data, blocks * 2048u, 70);
	set_fault(fake, FAKE_SILENT_DROP, 1500);
	set_fault(fake, FAKE_WRITE_ERROR, 2700);
	assert_int_equal(
		udf_volume_open_device(&fake->dev, &options, &volume), 0);
	while (lbn < blocks) {
		uint32_t count = step % 61 + 1;

		if (count > blocks - lbn) {
			count = blocks - lbn;
		}
		assert_int_equal(udf_volume_throttle(volume, false), 0);
		assert_int_equal(udf_volume_write(volume, lbn + 1000, count,
						  data + lbn * 2048u, 0),
				 0);
		lbn += count;
		step = step * 7 + 3;
	}
	udf_volume_defect_status(volume, &status);
	/* With what one write is more, in current and in what is drained. */
	assert_true(status.memory.most <= 3 * options.verify_limit);
	assert_int_equal(udf_volume_sync(volume), 0);
	assert_int_equal(udf_volume_close(volume), 0);
	fake_blockdev_restart(fake);
	assert_int_equal(open_fake(fake, &volume), 0);
	assert_int_equal(udf_volume_read(volume, 1000, blocks, back), 0);
	assert_memory_equal(back, data, blocks * 2048u);
	udf_volume_close(volume);
	fake_blockdev_free(fake);
	free(data);
	free(back);
}

/*
 * The plug is pulled at each write of a work with bad sectors in it: the
 * volume opens again, and what a sync acknowledged is there, or what was
 * written over it later.
 */
#define CUT_FIRST 960u
#define CUT_BLOCKS 96u
#define CUT_BYTES (CUT_BLOCKS * 2048u)

struct cut_rig {
	struct fake_blockdev *fake;
	struct udf_volume *volume;
	uint8_t synced[CUT_BYTES];
	uint8_t newest[CUT_BYTES];
};

static int cut_write(struct cut_rig *rig, uint32_t offset, uint32_t count,
		     unsigned int seed)
{
	uint8_t *data = rig->newest + offset * 2048;

	fill(data, count * 2048, seed);
	return udf_volume_write(rig->volume, CUT_FIRST + offset, count, data,
				0);
}

static int cut_sync(struct cut_rig *rig)
{
	int ret = udf_volume_sync(rig->volume);

	if (ret == 0) {
		memcpy(rig->synced, rig->newest, CUT_BYTES);
	}
	return ret;
}

/* Returns whether all of it was acknowledged. */
static bool cut_work(struct cut_rig *rig)
{
	struct udf_integrity integrity = {0};

	udf_volume_get_integrity(rig->volume, &integrity);
	integrity.closed = false;
	if (udf_volume_put_integrity(rig->volume, &integrity) != 0 ||
	    cut_write(rig, 0, 96, 1) != 0 || cut_sync(rig) != 0 ||
	    cut_write(rig, 40, 20, 2) != 0 || cut_write(rig, 1, 1, 3) != 0 ||
	    cut_sync(rig) != 0 || cut_write(rig, 45, 1, 4) != 0 ||
	    cut_sync(rig) != 0) {
		return false;
	}
	integrity.closed = true;
	return udf_volume_put_integrity(rig->volume, &integrity) == 0;
}

static void cut_check(struct cut_rig *rig)
{
	uint8_t *back = malloc(CUT_BYTES);
	size_t i = 0;

	assert_int_equal(open_fake(rig->fake, &rig->volume), 0);
	assert_false(udf_volume_info(rig->volume)->read_only);
	assert_int_equal(udf_volume_read(rig->volume, CUT_FIRST, CUT_BLOCKS,
					 back),
			 0);
	for (i = 0; i < CUT_BYTES; i += FAKE_SECTOR) {
		if (memcmp(back + i, rig->newest + i, FAKE_SECTOR) != 0) {
			assert_memory_equal(back + i, rig->synced + i,
					    FAKE_SECTOR);
		}
	}
	assert_int_equal(udf_volume_close(rig->volume), 0);
	free(back);
}

static void test_cut(void **state)
{
	struct cut_rig *rig = NULL;
	bool finished = false;
	unsigned int variant = 0;
	size_t cut = 0;

	(void)state;
	for (variant = 0; variant < 3; variant++) {
		finished = false;
		for (cut = 0; !finished; cut++) {
			rig = calloc(1, sizeof(*rig));
			rig->fake = load_fake(CDRW_201);
			fake_blockdev_put(rig->fake,
					  (START + CUT_FIRST) * 2048u,
					  rig->synced, CUT_BYTES);
			set_fault(rig->fake, FAKE_SILENT_DROP, BAD);
			set_fault(rig->fake, FAKE_WRITE_ERROR, CUT_FIRST + 1);
			/* In the first spare, too. */
			fake_blockdev_fault(rig->fake, FAKE_SILENT_CORRUPT,
					    288 * 4 + 100, 1);
			rig->fake->mortal = true;
			rig->fake->writes_left = cut;
			rig->fake->write_through = variant > 0;
			rig->fake->tears = variant > 1;
			assert_int_equal(open_fake(rig->fake, &rig->volume),
					 0);
			finished = cut_work(rig);
			(void)udf_volume_close(rig->volume);
			fake_blockdev_restart(rig->fake);
			rig->fake->write_through = false;
			cut_check(rig);
			fake_blockdev_free(rig->fake);
			free(rig);
			assert_true(cut < 100);
		}
		/* There was something to cut. */
		assert_true(cut > 12);
	}
}

/*
 * Writers, readers and syncs at once, over bad sectors: each writer has its
 * own stretch of blocks and must find there what it wrote last.
 */
#define WRITERS 4u
#define STRETCH 320u /* blocks */
#define ROUNDS 60u

struct writer {
	struct udf_volume *volume;
	uint32_t first;
	unsigned int number;
	uint8_t shadow[STRETCH * 2048];
	bool failed;
};

static void *write_and_read(void *private_data)
{
	struct writer *writer = private_data;
	uint8_t *back = malloc(STRETCH * 2048);
	unsigned int seed = writer->number;
	unsigned int round = 0;

	for (round = 0; round < ROUNDS && !writer->failed; round++) {
		uint32_t offset = 0;
		uint32_t count = 0;
		uint8_t *data = NULL;
		unsigned int flags = 0;
		int ret = 0;

		seed = seed * 1103515245u + 12345u;
		offset = (seed >> 8) % STRETCH;
		count = (seed >> 4) % (STRETCH - offset) + 1;
		/* Past the cache only where nothing is bad. */
		if (offset >= 64 && (seed >> 20) % 4 == 0) {
			flags = UDF_WRITE_UNMANAGED;
		}
		data = writer->shadow + offset * 2048;
		fill(data, count * 2048, seed);
		ret = udf_volume_write(writer->volume, writer->first + offset,
				       count, data, flags);
		if (ret == 0 && round % 5 == writer->number) {
			ret = udf_volume_sync(writer->volume);
		}
		if (ret == 0) {
			ret = udf_volume_read(writer->volume, writer->first,
					      STRETCH, back);
		}
		writer->failed = ret != 0 || memcmp(back, writer->shadow,
						    STRETCH * 2048) != 0;
	}
	free(back);
	return NULL;
}

static void test_threads(void **state)
{
	const struct udf_volume_options options = {
		.log = keep_line,
		.verify_limit = 512 * 1024,
	};
	struct fake_blockdev *fake = load_fake(CDRW_201);
	struct writer *writers[WRITERS] = {NULL};
	struct udf_volume *volume = NULL;
	pthread_t threads[WRITERS];
	uint8_t *back = malloc(STRETCH * 2048);
	uint32_t i = 0;

	(void)state;
	assert_int_equal(
		udf_volume_open_device(&fake->dev, &options, &volume), 0);
	for (i = 0; i < WRITERS; i++) {
		writers[i] = calloc(1, sizeof(*writers[i]));
		writers[i]->volume = volume;
		writers[i]->number = i;
		writers[i]->first = 640 + i * STRETCH;
		set_fault(fake, (enum fake_fault_kind)i,
			  writers[i]->first + 9 * i);
		assert_int_equal(udf_volume_write(volume, writers[i]->first,
						  STRETCH, writers[i]->shadow,
						  0),
				 0);
	}
	for (i = 0; i < WRITERS; i++) {
		assert_int_equal(pthread_create(&threads[i], NULL,
						write_and_read, writers[i]),
				 0);
	}
	for (i = 0; i < WRITERS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	}
	assert_int_equal(udf_volume_sync(volume), 0);
	assert_int_equal(udf_volume_close(volume), 0);
	fake_blockdev_restart(fake);
	assert_int_equal(open_fake(fake, &volume), 0);
	for (i = 0; i < WRITERS; i++) {
		assert_false(writers[i]->failed);
		assert_int_equal(udf_volume_read(volume, writers[i]->first,
						 STRETCH, back),
				 0);
		assert_memory_equal(back, writers[i]->shadow, STRETCH * 2048);
		free(writers[i]);
	}
	assert_int_equal(udf_volume_close(volume), 0);
	fake_blockdev_free(fake);
	free(back);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defects_managed),
		cmocka_unit_test(test_one_bad_sector_one_spare),
		cmocka_unit_test(test_transient_write_error),
		cmocka_unit_test(test_lost_neighbour),
		cmocka_unit_test(test_transient_read_error),
		cmocka_unit_test(test_unmanaged),
		cmocka_unit_test(test_spares_exhausted),
		cmocka_unit_test(test_surroundings_fail),
		cmocka_unit_test(test_plain_write_error),
		cmocka_unit_test(test_integrity_moves),
		cmocka_unit_test(test_integrity_moves_alone),
		cmocka_unit_test(test_integrity_write_error),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_threads),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, make_images, remove_images);
}
