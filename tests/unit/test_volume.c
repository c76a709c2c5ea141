/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Volumes as mkudffs makes them: opening, damaged descriptors, the integrity
 * descriptor, locks, files as devices.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <errno.h>

#include "udf_store/bytes.h"
#include "volume_images.h"

static void test_open_all(void **state)
{
	uint8_t ids[IMAGES][UDF_VOLUME_ID_LEN];
	size_t i = 0;
	size_t j = 0;

	(void)state;
	for (i = 0; i < IMAGES; i++) {
		struct fake_blockdev *fake = load_fake((enum image)i);
		const struct udf_volume_info *info = NULL;
		struct udf_sparing_status sparing = {0};
		struct udf_integrity integrity = {0};
		struct udf_volume *volume = NULL;

		assert_int_equal(open_fake(fake, &volume), 0);
		info = udf_volume_info(volume);
		assert_int_equal(info->block_size, images[i].block_size);
		assert_int_equal(info->revision, images[i].revision);
		assert_int_equal(info->packet_blocks, images[i].packet_blocks);
		assert_int_equal(info->defect_managed,
				 images[i].packet_blocks != 0);
		assert_false(info->read_only);
		assert_string_equal(info->label, "LinuxUDF");
		assert_string_equal(info->formatter, "*Linux UDFFS");
		assert_true(info->space_bitmap_bytes > 24);
		memcpy(ids[i], info->volume_id, UDF_VOLUME_ID_LEN);
		udf_volume_get_integrity(volume, &integrity);
		assert_true(integrity.closed);
		assert_int_equal(integrity.min_write_revision,
				 images[i].revision);
		assert_true(integrity.free_blocks < info->partition_blocks);
		udf_volume_sparing_status(volume, &sparing);
		assert_int_equal(sparing.packet_blocks,
				 images[i].packet_blocks);
		assert_int_equal(sparing.free_packets, sparing.total_packets);
		assert_int_equal(sparing.copies,
				 images[i].packet_blocks != 0 ? 2 : 0);
		/* Opening a clean volume writes nothing. */
		assert_int_equal(udf_volume_close(volume), 0);
		for (j = 0; j < fake->records; j++) {
			assert_int_equal(fake->record[j].kind, FAKE_FLUSH);
		}
		fake_blockdev_free(fake);
		for (j = 0; j < i; j++) {
			assert_memory_not_equal(ids[i], ids[j],
						UDF_VOLUME_ID_LEN);
		}
	}
}

static void test_read_write(void **state)
{
	size_t i = 0;

	(void)state;
	for (i = 0; i < IMAGES; i++) {
		struct fake_blockdev *fake = load_fake((enum image)i);
		struct udf_volume *volume = NULL;
		uint32_t last = 0;
		uint8_t *data = malloc(100 * 2048);
		uint8_t *back = malloc(100 * 2048);
		size_t bytes = 100 * (size_t)images[i].block_size;

		assert_int_equal(open_fake(fake, &volume), 0);
		last = udf_volume_info(volume)->partition_blocks;
		fill(data, bytes, 1);
		assert_int_equal(udf_volume_write(volume, 1001, 100, data, 0),
				 0);
		assert_int_equal(udf_volume_read(volume, 1001, 100, back), 0);
		assert_memory_equal(back, data, bytes);
		assert_int_equal(udf_volume_sync(volume), 0);
		fill(data, bytes, 2);
		assert_int_equal(udf_volume_write(volume, last - 100, 100,
						  data, UDF_WRITE_UNMANAGED),
				 0);
		/* Not a block beyond. */
		assert_int_equal(udf_volume_write(volume, last - 99, 100, data,
						  0),
				 -EINVAL);
		assert_int_equal(udf_volume_read(volume, last, 1, back),
				 -EINVAL);
		assert_int_equal(udf_volume_read(volume, UINT32_MAX, 2, back),
				 -EINVAL);
		assert_int_equal(udf_volume_close(volume), 0);
		fake_blockdev_restart(fake);
		assert_int_equal(open_fake(fake, &volume), 0);
		assert_int_equal(
			udf_volume_read(volume, last - 100, 100, back), 0);
		assert_memory_equal(back, data, bytes);
		fill(data, bytes, 1);
		assert_int_equal(udf_volume_read(volume, 1001, 100, back), 0);
		assert_memory_equal(back, data, bytes);
		assert_int_equal(udf_volume_close(volume), 0);
		fake_blockdev_free(fake);
		free(data);
		free(back);
	}
}

static void test_integrity(void **state)
{
	size_t i = 0;

	(void)state;
	for (i = 0; i < IMAGES; i++) {
		struct fake_blockdev *fake = load_fake((enum image)i);
		struct udf_integrity integrity = {0};
		struct udf_integrity found = {0};
		struct udf_volume *volume = NULL;

		assert_int_equal(open_fake(fake, &volume), 0);
		udf_volume_get_integrity(volume, &integrity);
		integrity.closed = false;
		integrity.next_unique_id = 0x123456789AULL;
		integrity.free_blocks = 4711;
		integrity.files = 12;
		integrity.directories = 34;
		assert_int_equal(udf_volume_put_integrity(volume, &integrity),
				 0);
		assert_int_equal(udf_volume_close(volume), 0);
		fake_blockdev_restart(fake);
		assert_int_equal(open_fake(fake, &volume), 0);
		udf_volume_get_integrity(volume, &found);
		assert_false(found.closed);
		assert_int_equal(found.next_unique_id, 0x123456789AULL);
		assert_int_equal(found.free_blocks, 4711);
		assert_int_equal(found.files, 12);
		assert_int_equal(found.directories, 34);
		assert_int_equal(found.max_write_revision,
				 images[i].revision);
		assert_string_equal(found.modifier, UDF_OUR_IDENTIFIER);
		assert_true(found.recorded.tv_sec > 1700000000);
		assert_int_equal(udf_volume_close(volume), 0);
		fake_blockdev_free(fake);
	}
}

static void flip(struct fake_blockdev *fake, uint64_t offset)
{
	fake->medium[offset] ^= 0x10;
	fake->cache[offset] ^= 0x10;
}

static const uint16_t vds_tags[] = {UDF_TAG_PVD, UDF_TAG_PD, UDF_TAG_LVD};

/* Any byte of a descriptor of the main sequence: the reserve fills in. */
static void test_damaged_main(void **state)
{
	size_t i = 0;
	size_t t = 0;
	size_t byte = 0;

	(void)state;
	for (i = 0; i < 3; i++) {
		const enum image image = (enum image[]){PLAIN_512, CDRW_150,
							DVDRW_201}[i];
		struct fake_blockdev *fake = load_fake(image);
		uint32_t size = images[image].block_size;

		for (t = 0; t < 3; t++) {
			uint64_t block = find_tag(fake, size, 0, vds_tags[t]);

			for (byte = 0; byte < 440; byte += 13) {
				struct udf_volume *volume = NULL;

				flip(fake, block * size + byte);
				assert_int_equal(open_fake(fake, &volume), 0);
				assert_non_null(strstr(last_line, "reserve"));
				assert_string_equal(
					udf_volume_info(volume)->label,
					"LinuxUDF");
				assert_int_equal(udf_volume_close(volume), 0);
				flip(fake, block * size + byte);
			}
		}
		fake_blockdev_free(fake);
	}
}

static void test_damaged_both(void **state)
{
	size_t t = 0;

	(void)state;
	for (t = 0; t < 3; t++) {
		struct fake_blockdev *fake = load_fake(CDRW_150);
		struct udf_volume *volume = NULL;
		uint64_t block = 0;

		block = find_tag(fake, 2048, 0, vds_tags[t]);
		flip(fake, block * 2048 + 20);
		block = find_tag(fake, 2048, block + 1, vds_tags[t]);
		flip(fake, block * 2048 + 20);
		assert_int_equal(open_fake(fake, &volume), -EUCLEAN);
		assert_non_null(strstr(last_line, "damaged"));
		fake_blockdev_free(fake);
	}
}

static void test_damaged_anchors(void **state)
{
	size_t i = 0;

	(void)state;
	for (i = 0; i < IMAGES; i++) {
		struct fake_blockdev *fake = load_fake((enum image)i);
		uint32_t size = images[i].block_size;
		uint64_t blocks = fake->dev.size / size;
		struct udf_volume *volume = NULL;

		flip(fake, 256 * (uint64_t)size + 17);
		assert_int_equal(open_fake(fake, &volume), 0);
		assert_int_equal(udf_volume_close(volume), 0);
		flip(fake, (blocks - 1) * size + 17);
		assert_int_equal(open_fake(fake, &volume), 0);
		assert_int_equal(udf_volume_close(volume), 0);
		flip(fake, (blocks - 257) * size + 17);
		assert_int_equal(open_fake(fake, &volume), -EUCLEAN);
		fake_blockdev_free(fake);
	}
}

/* All that it has can be computed: the volume was not closed, that is all. */
static void test_damaged_integrity(void **state)
{
	struct fake_blockdev *fake = load_fake(DVDRW_201);
	struct udf_volume *volume = NULL;
	struct udf_integrity integrity = {0};
	uint64_t block = find_tag(fake, 2048, 0, UDF_TAG_LVID);

	(void)state;
	flip(fake, block * 2048 + 30);
	assert_int_equal(open_fake(fake, &volume), 0);
	assert_false(udf_volume_info(volume)->read_only);
	assert_non_null(strstr(last_line, "damaged"));
	udf_volume_get_integrity(volume, &integrity);
	assert_false(integrity.closed);
	assert_int_equal(integrity.free_blocks, UINT32_MAX);
	assert_int_equal(fake->records, 0);
	integrity.closed = true;
	assert_int_equal(udf_volume_put_integrity(volume, &integrity), 0);
	assert_int_equal(udf_volume_close(volume), 0);
	fake_blockdev_restart(fake);
	assert_int_equal(open_fake(fake, &volume), 0);
	udf_volume_get_integrity(volume, &integrity);
	assert_true(integrity.closed);
	assert_int_equal(udf_volume_close(volume), 0);
	fake_blockdev_free(fake);
}

/* There never was one: we do not know what its formatter had in mind. */
static void test_no_integrity(void **state)
{
	struct fake_blockdev *fake = load_fake(DVDRW_201);
	struct udf_volume *volume = NULL;
	uint64_t block = find_tag(fake, 2048, 0, UDF_TAG_LVID);
	uint8_t data[2048] = {0};

	(void)state;
	fake_blockdev_put(fake, block * 2048, data, sizeof(data));
	assert_int_equal(open_fake(fake, &volume), 0);
	assert_true(udf_volume_info(volume)->read_only);
	assert_non_null(strstr(udf_volume_info(volume)->read_only_reason,
			       "integrity"));
	assert_int_equal(udf_volume_write(volume, 5000, 1, data, 0), -EROFS);
	assert_int_equal(udf_volume_read(volume, 5000, 1, data), 0);
	assert_int_equal(udf_volume_close(volume), 0);
	assert_int_equal(fake->records, 0);
	fake_blockdev_free(fake);
}

static void test_unreadable_descriptors(void **state)
{
	struct fake_blockdev *fake = load_fake(CDRW_201);
	struct udf_volume *volume = NULL;

	(void)state;
	/* The whole main sequence, the first anchor, a sparing table. */
	fake_blockdev_fault(fake, FAKE_READ_ERROR, 96 * 4, 32 * 4);
	fake_blockdev_fault(fake, FAKE_READ_ERROR, 256 * 4, 4);
	fake_blockdev_fault(fake, FAKE_READ_ERROR, 160 * 4, 4);
	assert_int_equal(open_fake(fake, &volume), 0);
	assert_int_equal(udf_volume_close(volume), 0);
	fake_blockdev_free(fake);
}

/* Change a descriptor in both sequences and give it a valid tag again. */
static void patch(struct fake_blockdev *fake, uint32_t size, uint16_t id,
		  size_t offset, uint32_t value)
{
	uint64_t block = 0;
	unsigned int i = 0;

	for (i = 0; i < (id == UDF_TAG_LVID ? 1u : 2u); i++) {
		uint8_t copy[4096];
		struct udf_tag tag = {0};

		block = find_tag(fake, size, block + (i != 0), id);
		memcpy(copy, fake->medium + block * size, size);
		assert_int_equal(decode_tag(copy, size, &tag), 0);
		put_le32(copy + offset, value);
		assert_int_equal(encode_tag(&tag, copy, size, tag.crc_length),
				 0);
		fake_blockdev_put(fake, block * size, copy, size);
	}
}

static void test_read_only_reasons(void **state)
{
	static const struct {
		uint16_t id;
		size_t offset;
		uint32_t value;
		const char *reason;
	} cases[] = {
		{UDF_TAG_PD, 184, 1, "read-only"},
		{UDF_TAG_PD, 184, 2, "write-once"},
		{UDF_TAG_PD, 184, 0, "pseudo-overwritable"},
		{UDF_TAG_PD, 184, 77, "unknown"},
		{UDF_TAG_PD, 64, 0, "no record of free space"},
		{UDF_TAG_PD, 56, 2048, "in a table"},
		{UDF_TAG_PD, 88, 2048, "freed space"},
		/* domain suffix: revision, then flags */
		{UDF_TAG_LVD, 240, 0x00010150, "write-protected"},
		{UDF_TAG_LVD, 240, 0x00020150, "write-protected"},
		{UDF_TAG_LVD, 240, 0x00000250, "newer"},
		/* implementation use behind the two tables of one word */
		{UDF_TAG_LVID, 80 + 8 + 42, 0x02600250, "2.50"},
	};
	const struct udf_volume_options options = {
		.read_only = true,
		.log = keep_line,
	};
	size_t i = 0;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fake_blockdev *fake = load_fake(CDRW_150);
		const struct udf_volume_info *info = NULL;
		struct udf_volume *volume = NULL;

		patch(fake, 2048, cases[i].id, cases[i].offset,
		      cases[i].value);
		assert_int_equal(open_fake(fake, &volume), 0);
		info = udf_volume_info(volume);
		assert_true(info->read_only);
		assert_false(info->defect_managed);
		assert_non_null(strstr(info->read_only_reason,
				       cases[i].reason));
		assert_int_equal(udf_volume_close(volume), 0);
		assert_int_equal(fake->records, 0);

		/* The reason is known also when nobody wants to write. */
		assert_int_equal(udf_volume_open_device(&fake->dev, &options,
							&volume),
				 0);
		assert_non_null(strstr(
			udf_volume_info(volume)->read_only_reason,
			cases[i].reason));
		assert_int_equal(udf_volume_close(volume), 0);
		fake_blockdev_free(fake);
	}
}

static void test_refused(void **state)
{
	static const struct {
		uint16_t id;
		size_t offset;
		uint32_t value;
		int error;
	} cases[] = {
		/* the partition: start, length, number */
		{UDF_TAG_PD, 188, 0xFFFFFF00, -EUCLEAN},
		{UDF_TAG_PD, 192, 0x00FFFFFF, -EUCLEAN},
		{UDF_TAG_PD, 20, 0x00070000, -EUCLEAN},
		/* the space bitmap outside of it */
		{UDF_TAG_PD, 68, 0x00FFFFFF, -EUCLEAN},
		/* the logical volume: domain, revision, maps */
		{UDF_TAG_LVD, 220, 0x41414141, -EMEDIUMTYPE},
		{UDF_TAG_LVD, 240, 0x00000300, -EOPNOTSUPP},
		{UDF_TAG_LVD, 264, 0xFFFFFFFF, -EUCLEAN},
		{UDF_TAG_LVD, 268, 0, -EUCLEAN},
		{UDF_TAG_LVD, 268, 0xFFFFFFFF, -EUCLEAN},
		/* the map's type and identifier */
		{UDF_TAG_LVD, 440, 0x00004003, -EOPNOTSUPP},
		{UDF_TAG_LVD, 450, 0x41414141, -EOPNOTSUPP},
		/* packet length and table count, locations */
		{UDF_TAG_LVD, 480, 0x00020000, -EUCLEAN},
		{UDF_TAG_LVD, 480, 0x00000020, -EUCLEAN},
	};
	size_t i = 0;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fake_blockdev *fake = load_fake(CDRW_150);
		struct udf_volume *volume = NULL;

		patch(fake, 2048, cases[i].id, cases[i].offset,
		      cases[i].value);
		assert_int_equal(open_fake(fake, &volume), cases[i].error);
		assert_null(volume);
		assert_true(last_line[0] != '\0');
		fake_blockdev_free(fake);
	}
}

/* An image that ends early, in steps: an errno, never a crash. */
static void test_cut_short(void **state)
{
	const size_t sizes[] = {512,	    32768,  65536,   131072,
				256 * 2048, 540672, 8 * MIB, 12 * MIB};
	size_t i = 0;

	(void)state;
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct fake_blockdev *fake = load_fake(CDRW_150);
		struct udf_volume *volume = NULL;
		int ret = 0;

		fake->dev.size = sizes[i];
		ret = open_fake(fake, &volume);
		assert_true(ret == -EUCLEAN || ret == -EMEDIUMTYPE);
		fake_blockdev_free(fake);
	}
}

static void test_files(void **state)
{
	struct udf_volume_options options = {.log = keep_line};
	struct udf_volume *volume = NULL;
	struct udf_volume *second = NULL;
	uint8_t data[4 * 2048];
	uint8_t back[4 * 2048];
	char path[64] = {0};
	FILE *f = NULL;

	(void)state;
	image_path("nothing", path, sizeof(path));
	assert_int_equal(udf_volume_open(path, &options, &volume), -ENOENT);
	assert_int_equal(udf_volume_open("/", &options, &volume),
			 -EMEDIUMTYPE);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(udf_volume_open(path, &options, &volume),
			 -EMEDIUMTYPE);
	assert_int_equal(ftruncate(fileno(f), 4 * MIB), 0);
	fclose(f);
	assert_int_equal(udf_volume_open(path, &options, &volume),
			 -EMEDIUMTYPE);

	image_path(images[DVDRW_201].name, path, sizeof(path));
	assert_int_equal(udf_volume_open(path, &options, &volume), 0);
	assert_int_equal(udf_volume_open(path, &options, &second), -EBUSY);
	assert_non_null(strstr(last_line, "in use"));
	options.read_only = true;
	assert_int_equal(udf_volume_open(path, &options, &second), 0);
	assert_string_equal(udf_volume_info(second)->read_only_reason, "");
	assert_int_equal(udf_volume_write(second, 3000, 4, data, 0), -EROFS);
	assert_int_equal(udf_volume_close(second), 0);
	options.read_only = false;

	fill(data, sizeof(data), 5);
	assert_int_equal(udf_volume_write(volume, 3001, 4, data, 0), 0);
	assert_int_equal(udf_volume_sync(volume), 0);
	fill(data, sizeof(data), 6);
	assert_int_equal(udf_volume_write(volume, 3003, 4, data,
					  UDF_WRITE_UNMANAGED),
			 0);
	assert_int_equal(udf_volume_read(volume, 3003, 4, back), 0);
	assert_memory_equal(back, data, sizeof(data));
	assert_int_equal(udf_volume_read(volume, 3001, 2, back), 0);
	fill(data, sizeof(data), 5);
	assert_memory_equal(back, data, 2 * 2048);
	assert_int_equal(udf_volume_close(volume), 0);

	if (geteuid() != 0) {
		f = fopen(path, "r");
		assert_int_equal(fchmod(fileno(f), 0444), 0);
		fclose(f);
		assert_int_equal(udf_volume_open(path, &options, &volume),
				 -EROFS);
	}
}

/* Real files: large writes that start and end anywhere in a page. */
static void test_file_alignment(void **state)
{
	static const enum image kinds[] = {PLAIN_512, SPARABLE_512, DVDRW_201};
	const struct udf_volume_options options = {.log = keep_line};
	const uint32_t blocks = 1200;
	uint8_t *shadow = malloc(blocks * 2048);
	uint8_t *back = malloc(blocks * 2048);
	size_t i = 0;

	(void)state;
	for (i = 0; i < 3; i++) {
		size_t size = images[kinds[i]].block_size;
		struct udf_volume *volume = NULL;
		unsigned int seed = 80;
		uint32_t n = 0;
		char path[64] = {0};

		image_path(images[kinds[i]].name, path, sizeof(path));
		assert_int_equal(udf_volume_open(path, &options, &volume), 0);
		memset(shadow, 0, blocks * size);
		assert_int_equal(udf_volume_write(volume, 2001, blocks, shadow,
						  0),
				 0);
		for (n = 0; n < 60; n++) {
			uint32_t offset = 0;
			uint32_t count = 0;
			unsigned int flags = 0;
			int ret = 0;

			seed = seed * 1103515245u + 12345u;
			offset = (seed >> 8) % blocks;
			count = (seed >> 5) % (blocks - offset) + 1;
			flags = (seed >> 16) % 3 == 0 ? UDF_WRITE_UNMANAGED : 0;
			fill(shadow + offset * size, count * size, seed);
			ret = udf_volume_write(volume, 2001 + offset, count,
					       shadow + offset * size, flags);
			assert_int_equal(ret, 0);
			ret = udf_volume_read(volume, 2001, blocks, back);
			assert_int_equal(ret, 0);
			assert_memory_equal(back, shadow, blocks * size);
		}
		assert_int_equal(udf_volume_close(volume), 0);
		assert_int_equal(udf_volume_open(path, &options, &volume), 0);
		assert_int_equal(udf_volume_read(volume, 2001, blocks, back),
				 0);
		assert_memory_equal(back, shadow, blocks * size);
		assert_int_equal(udf_volume_close(volume), 0);
	}
	free(shadow);
	free(back);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open_all),
		cmocka_unit_test(test_read_write),
		cmocka_unit_test(test_integrity),
		cmocka_unit_test(test_damaged_main),
		cmocka_unit_test(test_damaged_both),
		cmocka_unit_test(test_damaged_anchors),
		cmocka_unit_test(test_damaged_integrity),
		cmocka_unit_test(test_no_integrity),
		cmocka_unit_test(test_unreadable_descriptors),
		cmocka_unit_test(test_read_only_reasons),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_cut_short),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_file_alignment),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, make_images, remove_images);
}
