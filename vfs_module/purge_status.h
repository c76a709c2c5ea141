/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * "udfctl purge status": which files are counted, how often, by whom and
 * since when; and what else the module keeps of opens.
 */
#ifndef VFS_UDF_PURGE_STATUS_H
#define VFS_UDF_PURGE_STATUS_H

#include "local_scan.h"

struct purge_status_options {
	/* Only these files, NULL-terminated and not empty; NULL: all. */
	char *const *paths;
	/*
	 * Opens that count nothing, too: defect management is off for them,
	 * or they wait to be reclaimed.
	 */
	bool all;
	bool json; /* one object instead of a table */
	/*
	 * Directories, NULL-terminated: files below them are not touched,
	 * since their file system does not answer. NULL: there are none.
	 */
	const char *const *skip;
};

bool purge_status_print(struct local_scan *scan,
			const struct purge_status_options *options);

#endif /* VFS_UDF_PURGE_STATUS_H */
