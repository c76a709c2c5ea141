/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Volumes as mkudffs makes them: opening, damaged descriptors, the integrity
 * descriptor, locks, and defect management on a device with bad sectors.
 */
#include <pthread.h>
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

#include "fake_blockdev.h"
#include "udf_store/bytes.h"
#include "udf_store/volume.h"

#define MIB (1024u * 1024u)

/* The images, made once. */
enum image {
	PLAIN_512,
	PLAIN_2048,
	CDRW_150,
	CDRW_201,
	DVDRW_201,
	SPARABLE_512
};

static const struct {
	const char *name;
	const char *options;
	uint32_t block_size;
	uint16_t revision;
	uint32_t packet_blocks;
} images[] = {
	[PLAIN_512] = {"plain512", "--media-type=hd --blocksize=512 -r 1.50",
		       512, 0x0150, 0},
	[PLAIN_2048] = {"plain2048",
			"--media-type=hd --blocksize=2048 -r 2.01", 2048,
			0x0201, 0},
	[CDRW_150] = {"cdrw150", "--media-type=cdrw -r 1.50", 2048, 0x0150,
		      32},
	[CDRW_201] = {"cdrw201", "--media-type=cdrw -r 2.01", 2048, 0x0201,
		      32},
	[DVDRW_201] = {"dvdrw201", "--media-type=dvdrw -r 2.01", 2048, 0x0201,
		       16},
	[SPARABLE_512] = {"sparable512",
			  "--media-type=hd --blocksize=512 -r 2.01 --spartable",
			  512, 0x0201, 1},
};
#define IMAGES (sizeof(images) / sizeof(images[0]))

static char directory[] = "/tmp/test_volume.XXXXXX";
static char last_line[512];
static unsigned int relocation_lines;

static void keep_line(void *private_data, enum udf_log_level level,
		      const char *line)
{
	(void)private_data;
	if (level != UDF_LOG_DEBUG) {
		snprintf(last_line, sizeof(last_line), "%s", line);
	}
	if (strstr(line, " relocated from ") != NULL) {
		relocation_lines++;
	}
}

static void image_path(const char *name, char *path, size_t len)
{
	snprintf(path, len, "%s/%s", directory, name);
}

static int make_images(void **state)
{
	size_t i = 0;

	(void)state;
	if (mkdtemp(directory) == NULL) {
		return -1;
	}
	for (i = 0; i < IMAGES; i++) {
		char path[64] = {0};
		char command[256] = {0};
		FILE *f = NULL;

		image_path(images[i].name, path, sizeof(path));
		f = fopen(path, "w");
		if (f == NULL || ftruncate(fileno(f), 16 * MIB) != 0) {
			return -1;
		}
		fclose(f);
		snprintf(command, sizeof(command),
			 "PATH=$PATH:/usr/sbin mkudffs %s %s >/dev/null",
			 images[i].options, path);
		if (system(command) != 0) {
			return -1;
		}
	}
	return 0;
}

static int remove_images(void **state)
{
	char command[128] = {0};

	(void)state;
	snprintf(command, sizeof(command), "rm -r '%s'", directory);
	return system(command);
}

static struct fake_blockdev *load_fake(enum image image)
{
	struct fake_blockdev *fake = NULL;
	char path[64] = {0};

	image_path(images[image].name, path, sizeof(path));
	fake = fake_blockdev_load(path);
	assert_non_null(fake);
	return fake;
}

static int open_fake(struct fake_blockdev *fake, struct udf_volume **volume)
{
	const struct udf_volume_options options = {.log = keep_line};

	last_line[0] = '\0';
	*volume = NULL;
	return udf_volume_open_device(&fake->dev, &options, volume);
}

static void fill(uint8_t *p, size_t len, unsigned int seed)
{
	size_t i = 0;

	for (i = 0; i < len; i++) {
		seed = seed * 1103515245u + 12345u;
		p[i] = (uint8_t)(seed >> 16);
	}
}

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

/* First block with such a descriptor from block on; the tag says where. */
static uint64_t find_tag(const struct fake_blockdev *fake, uint32_t block_size,
			 uint64_t block, uint16_t id)
{
	uint64_t blocks = fake->dev.size / block_size;

	for (; block < blocks; block++) {
		const uint8_t *p = fake->medium + block * block_size;

		if (check_tag(p, block_size, id, (uint32_t)block, NULL) == 0) {
			return block;
		}
	}
	fail_msg("no descriptor %u", id);
	return 0;
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

static void test_damaged_integrity(void **state)
{
	struct fake_blockdev *fake = load_fake(DVDRW_201);
	struct udf_volume *volume = NULL;
	uint64_t block = find_tag(fake, 2048, 0, UDF_TAG_LVID);
	uint8_t data[2048] = {0};

	(void)state;
	flip(fake, block * 2048 + 30);
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

/* A read error that was there before: the neighbour is lost, and says so. */
static void test_lost_neighbour(void **state)
{
	struct fake_blockdev *fake = load_fake(CDRW_201);
	struct udf_volume *volume = NULL;
	uint8_t data[2048];
	uint8_t back[2048];

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
	/* Not zeroes in place of data: an error, until it is written. */
	assert_int_equal(udf_volume_read(volume, BAD + 1, 1, back), -EIO);
	assert_int_equal(udf_volume_read(volume, BAD_PACKET, 32, back), -EIO);
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
		fake_blockdev_fault(fake, kinds[i], block * 4, 1);
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
		assert_int_equal(udf_volume_write(volume, lbn + 1000, count,
						  data + lbn * 2048u, 0),
				 0);
		lbn += count;
		step = step * 7 + 3;
	}
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
		cmocka_unit_test(test_open_all),
		cmocka_unit_test(test_read_write),
		cmocka_unit_test(test_integrity),
		cmocka_unit_test(test_damaged_main),
		cmocka_unit_test(test_damaged_both),
		cmocka_unit_test(test_damaged_anchors),
		cmocka_unit_test(test_damaged_integrity),
		cmocka_unit_test(test_unreadable_descriptors),
		cmocka_unit_test(test_read_only_reasons),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_cut_short),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_file_alignment),
		cmocka_unit_test(test_defects_managed),
		cmocka_unit_test(test_one_bad_sector_one_spare),
		cmocka_unit_test(test_transient_write_error),
		cmocka_unit_test(test_lost_neighbour),
		cmocka_unit_test(test_transient_read_error),
		cmocka_unit_test(test_unmanaged),
		cmocka_unit_test(test_spares_exhausted),
		cmocka_unit_test(test_surroundings_fail),
		cmocka_unit_test(test_plain_write_error),
		cmocka_unit_test(test_integrity_write_error),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_threads),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, make_images, remove_images);
}
