/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A hostile disk: libFuzzer breaks a volume, which then is checked, mounted,
 * walked, written to and unmounted. No input may crash any of it, hang it, or
 * make it use memory without bound.
 *
 * An input says what is done to a volume: see broken.h.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broken.h"
#include "udf_store/check.h"
#include "udf_store/fs.h"

#define ENTRIES_MAX 200u
#define DEPTH_MAX 6u

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	broken_init();
	return 0;
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

	(void)udf_check(broken_path(), &options, &summary);
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

	if (udf_fs_mount(broken_path(), &options, &fs) != 0) {
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
	if (size < 1) {
		return 0;
	}
	broken_begin(data, size);
	check();
	mount_and_use();
	check();
	broken_end();
	return 0;
}
