/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A hostile disk: libFuzzer breaks a volume, which then is checked, mounted,
 * walked, written to and unmounted. No input may crash any of it, hang it, or
 * make it use memory without bound.
 *
 * An input is no image but what to do to one: the number of a base image (from
 * the directory $UDF_FUZZ_BASES, in the order of their names), then changes.
 * Most changes put the checksum and CRC of the descriptor right again, so that
 * they come further than the first check.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "udf_store/bytes.h"
#include "udf_store/check.h"
#include "udf_store/ecma167.h"
#include "udf_store/fs.h"

#define SECTOR 512u
#define ENTRIES_MAX 200u
#define DEPTH_MAX 6u

struct base {
	uint8_t *data;
	size_t size;
};

static struct base *bases;
static size_t base_count;
static int image_fd = -1;
static uint8_t *image;
static size_t image_size;
static char image_path[64];

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void give_up(const char *what)
{
	fprintf(stderr, "fuzz_volume: %s: %s\n", what, strerror(errno));
	exit(1);
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
	bases = reallocarray(bases, base_count + 1, sizeof(*bases));
	if (bases == NULL) {
		give_up(path);
	}
	bases[base_count++] = base;
	if (base.size > image_size) {
		image_size = base.size;
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *directory = getenv("UDF_FUZZ_BASES");
	struct dirent **names = NULL;
	char path[4096];
	int count = 0;
	int i = 0;

	(void)argc;
	(void)argv;
	if (directory == NULL) {
		fprintf(stderr, "fuzz_volume: UDF_FUZZ_BASES is not set; "
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
	return 0;
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

static void no_log(void *private_data, enum udf_log_level level,
		   const char *line)
{
	(void)private_data;
	(void)level;
	(void)line;
}

static void no_finding(void *private_data, const struct udf_finding *finding)
{
	(void)private_data;
	if (strlen(finding->text) == 0) {
		abort();
	}
}

static void check(void)
{
	struct udf_check_options options = {
		.found = no_finding,
		.log = no_log,
	};
	struct udf_check_summary summary;

	(void)udf_check(image_path, &options, &summary);
}

static void look_at(struct udf_node *node, unsigned int depth,
		    unsigned int *left)
{
	static char buf[65536];
	struct udf_fs_entry entry;
	struct stat st;
	uint64_t position = 0;
	ssize_t length = 0;

	if (udf_fs_getattr(node, &st) != 0) {
		return;
	}
	length = udf_fs_listxattr(node, buf, sizeof(buf));
	if (length > 0) {
		(void)udf_fs_getxattr(node, buf, buf, sizeof(buf));
	}
	if (S_ISLNK(st.st_mode)) {
		(void)udf_fs_readlink(node, buf, sizeof(buf));
	}
	if (S_ISREG(st.st_mode)) {
		(void)udf_fs_read(node, 0, sizeof(buf), buf);
		(void)udf_fs_read(node, (uint64_t)st.st_size / 2, 5000, buf);
		(void)udf_fs_seek(node, 0, SEEK_HOLE);
	}
	if (!S_ISDIR(st.st_mode) || depth == DEPTH_MAX) {
		return;
	}
	while (*left > 0 && udf_fs_readdir(node, &position, &entry) == 0) {
		(*left)--;
		if (entry.node != NULL) {
			look_at(entry.node, depth + 1, left);
			udf_fs_forget(entry.node, 1);
		}
	}
}

static void change(struct udf_fs *fs)
{
	static const char text[3000] = "written by the fuzzer";
	const struct udf_fs_create file = { .mode = S_IFREG | 0644 };
	const struct udf_fs_create directory = { .mode = S_IFDIR | 0755 };
	struct udf_node *root = udf_fs_root(fs);
	struct udf_node *node = NULL;
	struct udf_fs_entry entry;
	uint64_t position = 0;
	unsigned int left = 8;

	if (udf_fs_create(root, "new", &file, &node) == 0) {
		(void)udf_fs_write(node, 0, sizeof(text), text);
		(void)udf_fs_write(node, 100000, 10, text);
		(void)udf_fs_setxattr(node, "user.a", text, 20, 0);
		udf_fs_forget(node, 1);
	}
	if (udf_fs_create(root, "dir", &directory, &node) == 0) {
		(void)udf_fs_rename(root, "new", node, "moved", 0);
		udf_fs_forget(node, 1);
	}
	/* What is there already is changed and removed as well. */
	while (left > 0 && udf_fs_readdir(root, &position, &entry) == 0) {
		left--;
		if (entry.node == NULL) {
			continue;
		}
		(void)udf_fs_write(entry.node, 1000, 100, text);
		udf_fs_forget(entry.node, 1);
		if (left % 2 == 0) {
			(void)udf_fs_unlink(root, entry.name);
		}
	}
	(void)udf_fs_sync(fs);
}

static void mount_and_use(void)
{
	const struct udf_volume_options options = { .log = no_log };
	struct udf_fs *fs = NULL;
	struct udf_node *root = NULL;
	unsigned int left = ENTRIES_MAX;

	if (udf_fs_mount(image_path, &options, &fs) != 0) {
		return;
	}
	root = udf_fs_root(fs);
	look_at(root, 0, &left);
	if (!udf_fs_is_read_only(fs)) {
		change(fs);
	}
	(void)udf_fs_unmount(fs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t used = 0;

	if (size < 1) {
		return 0;
	}
	used = prepare(data, size);
	/* The end of the largest image is not the end of this one. */
	if (ftruncate(image_fd, (off_t)used) != 0) {
		abort();
	}
	check();
	mount_and_use();
	check();
	if (ftruncate(image_fd, (off_t)image_size) != 0) {
		abort();
	}
	return 0;
}
