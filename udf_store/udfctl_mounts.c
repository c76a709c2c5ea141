/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The list of mounted UDF volumes: see udfctl_mounts.h.
 */
#include <errno.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "udfctl_mounts.h"

#define MOUNTS "/proc/self/mounts"

/* NULL for another file system. */
static const char *server_of(const struct mntent *entry)
{
	if (strcmp(entry->mnt_type, "fuse.udfd") == 0) {
		return "udfd";
	}
	if (strcmp(entry->mnt_type, "udf") == 0) {
		return "kernel";
	}
	return NULL;
}

static int add(struct udfctl_mounts *mounts, const struct mntent *entry)
{
	struct udfctl_mount *bigger = NULL;
	struct udfctl_mount *mount = NULL;

	bigger = realloc(mounts->mounts,
			 (mounts->count + 1) * sizeof(*bigger));
	if (bigger == NULL) {
		return -ENOMEM;
	}
	mounts->mounts = bigger;
	mount = &bigger[mounts->count];
	mount->server = server_of(entry);
	mount->point = strdup(entry->mnt_dir);
	mount->source = strdup(entry->mnt_fsname);
	mounts->count++;
	if (mount->point == NULL || mount->source == NULL) {
		return -ENOMEM;
	}
	return 0;
}

int udfctl_mounts_read(struct udfctl_mounts *mounts)
{
	FILE *file = setmntent(MOUNTS, "re");
	struct mntent *entry = NULL;
	int ret = 0;

	*mounts = (struct udfctl_mounts){.count = 0};
	if (file == NULL) {
		ret = -errno;
	}
	while (ret == 0 && (entry = getmntent(file)) != NULL) {
		if (server_of(entry) != NULL) {
			ret = add(mounts, entry);
		}
	}
	if (file != NULL) {
		endmntent(file);
	}
	if (ret != 0) {
		fprintf(stderr, "udfctl: %s: %s\n", MOUNTS, strerror(-ret));
		udfctl_mounts_free(mounts);
	}
	return ret;
}

void udfctl_mounts_free(struct udfctl_mounts *mounts)
{
	size_t i = 0;

	for (i = 0; i < mounts->count; i++) {
		free(mounts->mounts[i].point);
		free(mounts->mounts[i].source);
	}
	free(mounts->mounts);
	*mounts = (struct udfctl_mounts){.count = 0};
}

bool udfctl_mounts_still(const struct udfctl_mount *mount)
{
	struct udfctl_mounts now = {.count = 0};
	bool still = false;
	size_t i = 0;

	if (udfctl_mounts_read(&now) != 0) {
		return true;
	}
	for (i = 0; i < now.count && !still; i++) {
		still = strcmp(now.mounts[i].point, mount->point) == 0;
	}
	udfctl_mounts_free(&now);
	return still;
}

static bool is_at_or_above(const char *a, const char *b)
{
	size_t len = strlen(a);

	while (len > 0 && a[len - 1] == '/') {
		len--;
	}
	return strncmp(a, b, len) == 0 && (b[len] == '/' || b[len] == '\0');
}

bool udfctl_paths_meet(const char *a, const char *b)
{
	return is_at_or_above(a, b) || is_at_or_above(b, a);
}
