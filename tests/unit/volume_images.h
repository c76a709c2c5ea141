/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Images made by mkudffs, once for all tests of a program, and volumes opened
 * from them on a fake device.
 */
#ifndef TESTS_UNIT_VOLUME_IMAGES_H
#define TESTS_UNIT_VOLUME_IMAGES_H

#include <stddef.h>
#include <stdint.h>

#include "fake_blockdev.h"
#include "udf_store/volume.h"

#define MIB (1024u * 1024u)

/* The images, of 16 MiB each. */
enum image {
	PLAIN_512,
	PLAIN_2048,
	CDRW_150,
	CDRW_201,
	DVDRW_201,
	SPARABLE_512,
	IMAGES
};

struct image_kind {
	const char *name;
	const char *options; /* of mkudffs */
	uint32_t block_size;
	uint16_t revision;
	uint32_t packet_blocks;
};
extern const struct image_kind images[];

/* cmocka's group setup and teardown. */
int make_images(void **state);
int remove_images(void **state);

/* Where the image's file is, or another file beside it. */
void image_path(const char *name, char *path, size_t len);

/* A fake device with a copy of the image. */
struct fake_blockdev *load_fake(enum image image);

/* Open it for writing; its log goes to keep_line(). */
int open_fake(struct fake_blockdev *fake, struct udf_volume **volume);

/* A log function: the last line that was no debug line, and how many told of
 * a relocation. */
#define LAST_LINE_LEN 512
extern char last_line[LAST_LINE_LEN];
extern unsigned int relocation_lines;
void keep_line(void *private_data, enum udf_log_level level,
	       const char *line);

/* Bytes that the seed determines. */
void fill(uint8_t *p, size_t len, unsigned int seed);

/* First block with such a descriptor from block on; the tag says where. */
uint64_t find_tag(const struct fake_blockdev *fake, uint32_t block_size,
		  uint64_t block, uint16_t id);

#endif /* TESTS_UNIT_VOLUME_IMAGES_H */
