/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The UDF volumes that are mounted on this machine, as the kernel lists them:
 * none of them is touched.
 */
#ifndef UDF_STORE_UDFCTL_MOUNTS_H
#define UDF_STORE_UDFCTL_MOUNTS_H

#include <stdbool.h>
#include <stddef.h>

struct udfctl_mount {
	const char *server; /* "udfd" or "kernel" */
	char *point;
	char *source;
};

struct udfctl_mounts {
	struct udfctl_mount *mounts;
	size_t count;
};

/* 0, or a negative errno when a line on stderr has said what is wrong. */
int udfctl_mounts_read(struct udfctl_mounts *mounts);
void udfctl_mounts_free(struct udfctl_mounts *mounts);

/* Is it mounted still? True also when that cannot be found out. */
bool udfctl_mounts_still(const struct udfctl_mount *mount);

/* Is one of two absolute paths the other, or above it? By their names only. */
bool udfctl_paths_meet(const char *a, const char *b);

#endif /* UDF_STORE_UDFCTL_MOUNTS_H */
