/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Images of mkudffs on fake devices; see volume_images.h.
 */
#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "udf_store/bytes.h"
#include "volume_images.h"

const struct image_kind images[] = {
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
static_assert(sizeof(images) / sizeof(images[0]) == IMAGES, "images");

static char directory[] = "/tmp/test_images.XXXXXX";
char last_line[LAST_LINE_LEN];
unsigned int relocation_lines;

void keep_line(void *private_data, enum udf_log_level level,
	       const char *line)
{
	(void)private_data;
	if (level != UDF_LOG_DEBUG) {
		snprintf(last_line, sizeof(last_line), "%s", line);
	}
	if (strstr(line, " event=relocated ") != NULL) {
		relocation_lines++;
	}
}

void image_path(const char *name, char *path, size_t len)
{
	snprintf(path, len, "%s/%s", directory, name);
}

int make_images(void **state)
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

int remove_images(void **state)
{
	char command[128] = {0};

	(void)state;
	snprintf(command, sizeof(command), "rm -r '%s'", directory);
	return system(command);
}

struct fake_blockdev *load_fake(enum image image)
{
	struct fake_blockdev *fake = NULL;
	char path[64] = {0};

	image_path(images[image].name, path, sizeof(path));
	fake = fake_blockdev_load(path);
	assert_non_null(fake);
	return fake;
}

int open_fake(struct fake_blockdev *fake, struct udf_volume **volume)
{
	const struct udf_volume_options options = {.log = keep_line};

	last_line[0] = '\0';
	*volume = NULL;
	return udf_volume_open_device(&fake->dev, &options, volume);
}

void fill(uint8_t *p, size_t len, unsigned int seed)
{
	size_t i = 0;

	for (i = 0; i < len; i++) {
		seed = seed * 1103515245u + 12345u;
		p[i] = (uint8_t)(seed >> 16);
	}
}

uint64_t find_tag(const struct fake_blockdev *fake, uint32_t block_size,
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
