/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Volumes that an input breaks; see broken.h.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "broken.h"
#include "udf_store/bytes.h"
#include "udf_store/ecma167.h"

#define SECTOR 512u

struct base {
	uint8_t *data;
	size_t size;
	uint16_t *used; /* sectors that are not all zeroes */
	size_t used_count;
};

static struct base *bases;
static size_t base_count;
static int image_fd = -1;
static uint8_t *image;
static size_t image_size;
static char image_path[64];

static void give_up(const char *what)
{
	fprintf(stderr, "fuzz: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void find_used(struct base *base)
{
	static const uint8_t zeroes[SECTOR];
	size_t sectors = base->size / SECTOR;
	size_t i = 0;

	base->used = calloc(sectors + 1, sizeof(*base->used));
	if (base->used == NULL) {
		give_up("memory");
	}
	for (i = 0; i < sectors && i <= UINT16_MAX; i++) {
		if (memcmp(base->data + i * SECTOR, zeroes, SECTOR) != 0) {
			base->used[base->used_count] = (uint16_t)i;
			base->used_count++;
		}
	}
}

static void load_base(const char *path)
{
	struct base base = { .size = 0 };
	FILE *f = fopen(path, "re");
	long size = 0;

	if (f == NULL || fseek(f, 0, SEEK_END) != 0 || (size = ftell(f)) <= 0) {
		give_up(path);
	}
	rewind(f);
	base.size = (size_t)size;
	base.data = malloc(base.size);
	if (base.data == NULL || fread(base.data, 1, base.size, f) !=
					 base.size) {
		give_up(path);
	}
	fclose(f);
	find_used(&base);
	bases = reallocarray(bases, base_count + 1, sizeof(*bases));
	if (bases == NULL) {
		give_up(path);
	}
	bases[base_count++] = base;
	if (base.size > image_size) {
		image_size = base.size;
	}
}

void broken_init(void)
{
	const char *directory = getenv("UDF_FUZZ_BASES");
	struct dirent **names = NULL;
	char path[4096];
	int count = 0;
	int i = 0;

	if (directory == NULL) {
		fprintf(stderr, "fuzz: UDF_FUZZ_BASES is not set; "
				"tests/store/test_fuzz sets it\n");
		exit(1);
	}
	count = scandir(directory, &names, NULL, alphasort);
	for (i = 0; i < count; i++) {
		if (names[i]->d_name[0] != '.') {
			snprintf(path, sizeof(path), "%s/%s", directory,
				 names[i]->d_name);
			load_base(path);
		}
		free(names[i]);
	}
	free(names);
	if (base_count == 0) {
		give_up(directory);
	}
	image_fd = memfd_create("volume", MFD_CLOEXEC);
	if (image_fd < 0 || ftruncate(image_fd, (off_t)image_size) != 0) {
		give_up("memfd");
	}
	image = mmap(NULL, image_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		     image_fd, 0);
	if (image == MAP_FAILED) {
		give_up("mmap");
	}
	snprintf(image_path, sizeof(image_path), "/proc/self/fd/%d", image_fd);
}

/* Make the descriptor at the start of this sector valid, if it is one. */
static void seal(size_t at, size_t size)
{
	uint8_t *p = image + at;
	struct udf_tag tag = { .id = 0 };
	uint16_t length = get_le16(p + 10);

	if (length > size - at - UDF_TAG_LEN) {
		return;
	}
	tag.id = get_le16(p);
	tag.version = get_le16(p + 2);
	tag.serial = get_le16(p + 6);
	tag.location = get_le32(p + 12);
	(void)encode_tag(&tag, p, size - at, length);
}

/* What the input says, done to the base image. Returns its size. */
static size_t prepare(const uint8_t *data, size_t len)
{
	const struct base *base = &bases[data[0] % base_count];
	size_t sectors = base->size / SECTOR;
	size_t at = 1;

	memcpy(image, base->data, base->size);
	while (len - at >= 6) {
		size_t sector = get_le16(data + at) % sectors;
		size_t offset = get_le16(data + at + 2) % SECTOR;
		unsigned int what = data[at + 4] % 4;
		size_t count = data[at + 5] % 16 + 1;

		at += 6;
		if (what == 3) {
			/* A sector where another one was. */
			size_t from = (sector + count * 37) % sectors;

			memmove(image + sector * SECTOR,
				image + from * SECTOR, SECTOR);
			continue;
		}
		if (count > len - at) {
			break;
		}
		if (count > SECTOR - offset) {
			count = SECTOR - offset;
		}
		memcpy(image + sector * SECTOR + offset, data + at, count);
		at += count;
		if (what != 0) {
			seal(sector * SECTOR, base->size);
		}
	}
	return base->size;
}

static void set_size(size_t size)
{
	/* The end of the largest image is not the end of this one. */
	if (ftruncate(image_fd, (off_t)size) != 0) {
		give_up("ftruncate");
	}
}

size_t broken_bases(void)
{
	return base_count;
}

const uint16_t *broken_used_sectors(size_t base, size_t *count)
{
	*count = bases[base].used_count;
	return bases[base].used;
}

void broken_begin(const uint8_t *data, size_t size)
{
	set_size(prepare(data, size));
}

void broken_end(void)
{
	set_size(image_size);
}

const char *broken_path(void)
{
	return image_path;
}
