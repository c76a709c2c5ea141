/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Repair never makes it worse: a broken volume (broken.h) is repaired, and
 *
 *   - what could be read before, as it was written, can be read after, under
 *     the same name, or, when a repair must take that, under another;
 *   - the check finds nothing any more, or the repair has said why it does not
 *     go on: then a second one changes nothing either;
 *   - what had no error is not changed.
 *
 * Run by libFuzzer, or by mutants.c with inputs of its own. With
 * FUZZ_REPAIR_SHOW in the environment, errors that are left are printed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broken.h"
#include "udf_store/fs.h"
#include "udf_store/repair.h"

#define FILES_MAX 256u
#define DEPTH_MAX 8u
#define PATH_LEN 1024u
#define CHUNK 65536u

struct file {
	char path[PATH_LEN];
	uint64_t hash; /* of all that it holds */
};

struct listing {
	struct file files[FILES_MAX];
	size_t count;
	bool mounted;
};

/* How often what came out, for mutants.c. */
extern unsigned long fuzz_repair_counts[4];
unsigned long fuzz_repair_counts[4];

enum { WHOLE, REPAIRED, LEFT, UNREADABLE };

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct listing *originals; /* of each base */

static void no_log(void *private_data, enum udf_log_level level,
		   const char *line)
{
	(void)private_data;
	(void)level;
	(void)line;
}

static uint64_t hash_more(uint64_t hash, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	size_t i = 0;

	for (i = 0; i < len; i++) {
		hash = (hash ^ p[i]) * 0x100000001B3u;
	}
	return hash;
}

/* False: it cannot be read. */
static bool hash_file(struct udf_node *node, uint64_t *hash)
{
	static uint8_t buf[CHUNK];
	uint64_t offset = 0;
	struct stat st;

	*hash = 0xCBF29CE484222325u;
	if (udf_fs_getattr(node, &st) != 0) {
		return false;
	}
	*hash = hash_more(*hash, &st.st_size, sizeof(st.st_size));
	if (S_ISLNK(st.st_mode)) {
		ssize_t len = udf_fs_readlink(node, (char *)buf, sizeof(buf));

		*hash = hash_more(*hash, buf, len > 0 ? (size_t)len : 0);
		return len >= 0;
	}
	if (!S_ISREG(st.st_mode)) {
		return true;
	}
	while (offset < (uint64_t)st.st_size && offset < 64 * CHUNK) {
		ssize_t len = udf_fs_read(node, offset, sizeof(buf), buf);

		if (len <= 0) {
			return false;
		}
		*hash = hash_more(*hash, buf, (size_t)len);
		offset += (uint64_t)len;
	}
	return true;
}

static void list_directory(struct listing *listing, struct udf_node *directory,
			   const char *path, unsigned int depth)
{
	struct udf_fs_entry entry;
	uint64_t position = 0;
	unsigned int left = FILES_MAX;

	while (left > 0 &&
	       udf_fs_readdir(directory, &position, &entry) == 0) {
		struct file *file = &listing->files[listing->count];
		struct stat st;

		left--;
		if (entry.node == NULL || strcmp(entry.name, ".") == 0 ||
		    strcmp(entry.name, "..") == 0 ||
		    listing->count == FILES_MAX) {
			if (entry.node != NULL) {
				udf_fs_forget(entry.node, 1);
			}
			continue;
		}
		snprintf(file->path, sizeof(file->path), "%s/%s", path,
			 entry.name);
		if (udf_fs_getattr(entry.node, &st) == 0 &&
		    S_ISDIR(st.st_mode)) {
			if (depth < DEPTH_MAX) {
				char below[PATH_LEN];

				memcpy(below, file->path, sizeof(below));
				list_directory(listing, entry.node, below,
					       depth + 1);
			}
		} else if (hash_file(entry.node, &file->hash)) {
			listing->count++;
		}
		udf_fs_forget(entry.node, 1);
	}
}

static void list(struct listing *listing)
{
	const struct udf_volume_options options = {
		.read_only = true,
		.log = no_log,
	};
	struct udf_fs *fs = NULL;

	listing->count = 0;
	listing->mounted = udf_fs_mount(broken_path(), &options, &fs) == 0;
	if (listing->mounted) {
		list_directory(listing, udf_fs_root(fs), "", 0);
		(void)udf_fs_unmount(fs);
	}
}

static const struct file *find_path(const struct listing *listing,
				    const char *path)
{
	size_t i = 0;

	for (i = 0; i < listing->count; i++) {
		if (strcmp(listing->files[i].path, path) == 0) {
			return &listing->files[i];
		}
	}
	return NULL;
}

static bool has_hash(const struct listing *listing, uint64_t hash)
{
	size_t i = 0;

	for (i = 0; i < listing->count; i++) {
		if (listing->files[i].hash == hash) {
			return true;
		}
	}
	return false;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	size_t i = 0;

	(void)argc;
	(void)argv;
	broken_init();
	originals = calloc(broken_bases(), sizeof(*originals));
	if (originals == NULL) {
		abort();
	}
	for (i = 0; i < broken_bases(); i++) {
		const uint8_t input = (uint8_t)i;

		broken_begin(&input, 1);
		list(&originals[i]);
		broken_end();
		if (originals[i].count == 0) {
			fprintf(stderr, "fuzz_repair: base %zu is empty\n", i);
			abort();
		}
	}
	return 0;
}

static void no_finding(void *private_data, const struct udf_finding *finding)
{
	const bool *verbose = private_data;

	if (*verbose && finding->severity == UDF_FINDING_ERROR) {
		fprintf(stderr, "%s: %s: %s\n",
			udf_finding_kind_name(finding->kind),
			finding->path != NULL ? finding->path : "",
			finding->text);
	}
}

static void did(void *private_data, const struct udf_repair_step *step,
		int error)
{
	const bool *verbose = private_data;

	if (*verbose) {
		fprintf(stderr, "step: %s: %s\n", step->text,
			strerror(-error));
	}
}

/* Errors; UINT64_MAX: it cannot be checked. */
static uint64_t check(bool verbose)
{
	const struct udf_check_options options = {
		.found = no_finding,
		.private_data = &verbose,
		.log = no_log,
	};
	struct udf_check_summary summary;

	if (udf_check(broken_path(), &options, &summary) != 0) {
		return UINT64_MAX;
	}
	return udf_check_errors(&summary);
}

static int repair(bool verbose)
{
	const struct udf_repair_options options = {
		.did = did,
		.private_data = &verbose,
		.log = no_log,
	};
	struct udf_check_summary summary;

	return udf_repair(broken_path(), &options, &summary);
}

static void fail(const uint8_t *data, size_t size, const char *what,
		 const char *path)
{
	fprintf(stderr, "fuzz_repair: %s: %s\n", what, path);
	broken_end();
	broken_begin(data, size);
	(void)check(true);
	(void)repair(true);
	fprintf(stderr, "after:\n");
	(void)check(true);
	abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct listing before;
	static struct listing after;
	const struct listing *original = NULL;
	uint64_t errors = 0;
	uint64_t left = 0;
	size_t i = 0;

	if (size < 1) {
		return 0;
	}
	original = &originals[data[0] % broken_bases()];
	broken_begin(data, size);
	list(&before);
	errors = check(false);
	(void)repair(false);
	left = check(false);
	list(&after);
	if (before.mounted && !after.mounted) {
		fail(data, size, "it cannot be mounted any more", "");
	}
	if (errors != UINT64_MAX && left > errors && left > 0 && errors == 0) {
		fail(data, size, "a whole volume has errors", "");
	}
	for (i = 0; i < before.count; i++) {
		const struct file *was = &before.files[i];
		const struct file *wrote = find_path(original, was->path);
		const struct file *is = find_path(&after, was->path);

		if (wrote == NULL || wrote->hash != was->hash) {
			/* It was broken. */
			continue;
		}
		if ((is == NULL || is->hash != was->hash) &&
		    !has_hash(&after, was->hash)) {
			fail(data, size, "a file is lost", was->path);
		}
	}
	if (left != UINT64_MAX && left > 0) {
		if (getenv("FUZZ_REPAIR_SHOW") != NULL) {
			(void)check(true);
		}
		(void)repair(false);
		if (check(false) != left) {
			fail(data, size, "a second repair does more", "");
		}
	}
	fuzz_repair_counts[errors == UINT64_MAX ? UNREADABLE
			   : errors == 0	? WHOLE
			   : left == 0		? REPAIRED
						: LEFT]++;
	broken_end();
	return 0;
}
