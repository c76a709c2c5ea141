/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What libudfread, a reader of others, sees on an image, for test_libudfread.
 *
 * libudfread_walk IMAGE prints a record for each name, ended by a NUL byte:
 *
 *	d PATH			a directory
 *	f SIZE CRC PATH		a file, with the CRC-32 of its bytes (as zlib's)
 *	e PATH			what cannot be opened or read to its end
 *
 * Exit status: 0 if everything was read, 1 if something was not, 2 if the
 * image cannot be opened.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <udfread/udfread.h>

/* A volume whose directories lead back to each other has no end. */
#define DEPTH_MAX 128
#define BUFFER_BYTES (1 << 20)

static uint32_t crc_table[256];
static uint8_t buffer[BUFFER_BYTES];
static bool failed;

static void make_crc_table(void)
{
	uint32_t value = 0;
	uint32_t i = 0;
	int bit = 0;

	for (i = 0; i < 256; i++) {
		value = i;
		for (bit = 0; bit < 8; bit++) {
			value = (value & 1) != 0 ? value >> 1 ^ 0xEDB88320 :
						   value >> 1;
		}
		crc_table[i] = value;
	}
}

static uint32_t add_crc(uint32_t crc, const uint8_t *bytes, size_t length)
{
	size_t i = 0;

	for (i = 0; i < length; i++) {
		crc = crc >> 8 ^ crc_table[(crc ^ bytes[i]) & 0xFF];
	}
	return crc;
}

static void put_error(const char *path)
{
	printf("e %s%c", path, '\0');
	failed = true;
}

static void show_file(UDFDIR *parent, const char *name, const char *path)
{
	UDFFILE *file = NULL;
	uint32_t crc = 0xFFFFFFFF;
	int64_t size = 0;
	int64_t done = 0;
	ssize_t got = 0;

	file = udfread_file_openat(parent, name);
	if (file == NULL) {
		put_error(path);
		return;
	}
	size = udfread_file_size(file);
	while (done < size) {
		got = udfread_file_read(file, buffer, sizeof(buffer));
		if (got <= 0) {
			break;
		}
		crc = add_crc(crc, buffer, (size_t)got);
		done += got;
	}
	udfread_file_close(file);
	if (size < 0 || done != size) {
		put_error(path);
		return;
	}
	printf("f %lld %u %s%c", (long long)size, crc ^ 0xFFFFFFFF, path, '\0');
}

static void show_directory(UDFDIR *directory, const char *path, int depth);

static void show_entry(UDFDIR *parent, const struct udfread_dirent *entry,
		       const char *path, int depth)
{
	UDFDIR *directory = NULL;

	if (entry->d_type != UDF_DT_DIR) {
		show_file(parent, entry->d_name, path);
		return;
	}
	directory = udfread_opendir_at(parent, entry->d_name);
	if (directory == NULL) {
		put_error(path);
		return;
	}
	printf("d %s%c", path, '\0');
	show_directory(directory, path, depth + 1);
	udfread_closedir(directory);
}

static void show_directory(UDFDIR *directory, const char *path, int depth)
{
	struct udfread_dirent entry = { .d_type = UDF_DT_UNKNOWN };
	char *full = NULL;

	if (depth > DEPTH_MAX) {
		put_error(path);
		return;
	}
	while (udfread_readdir(directory, &entry) != NULL) {
		/* The entry of the parent has no name on the volume. */
		if (strcmp(entry.d_name, ".") == 0 ||
		    strcmp(entry.d_name, "..") == 0) {
			continue;
		}
		if (asprintf(&full, "%s%s%s", path, path[0] == '\0' ? "" : "/",
			     entry.d_name) < 0) {
			put_error(path);
			return;
		}
		show_entry(directory, &entry, full, depth);
		free(full);
	}
}

int main(int argc, char **argv)
{
	udfread *volume = NULL;
	UDFDIR *root = NULL;

	if (argc != 2) {
		fprintf(stderr, "usage: libudfread_walk IMAGE\n");
		return 2;
	}
	make_crc_table();
	volume = udfread_init();
	if (volume == NULL || udfread_open(volume, argv[1]) < 0) {
		fprintf(stderr, "libudfread cannot open %s\n", argv[1]);
		udfread_close(volume);
		return 2;
	}
	root = udfread_opendir(volume, "/");
	if (root == NULL) {
		fprintf(stderr, "libudfread finds no root on %s\n", argv[1]);
		udfread_close(volume);
		return 2;
	}
	show_directory(root, "", 0);
	udfread_closedir(root);
	udfread_close(volume);
	return failed ? 1 : 0;
}
