/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * "udfctl purge status": which files are counted, how often, by whom and
 * since when.
 */
#ifndef VFS_UDF_PURGE_STATUS_H
#define VFS_UDF_PURGE_STATUS_H

#include "local_scan.h"

/*
 * Print what counts, as a table or as one JSON object; with paths
 * (NULL-terminated, not empty) only what counts for these files.
 */
bool purge_status_print(struct local_scan *scan,
			char *const *paths,
			bool json);

#endif /* VFS_UDF_PURGE_STATUS_H */
