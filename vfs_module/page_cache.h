/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Purge a byte range of a file from the page cache, and say what happened.
 *
 * What Windows calls a failed purge is, on Linux, a page that somebody else
 * has mapped: everything else that keeps a page (a reader passing by, a pipe)
 * lets go by itself and sees new data anyway.
 *
 * Pure Linux: no Samba. Blocks while dirty pages are written back.
 */
#ifndef VFS_UDF_PAGE_CACHE_H
#define VFS_UDF_PAGE_CACHE_H

#include <sys/types.h>

enum page_cache_result {
	PAGE_CACHE_PURGED, /* nobody has the range mapped */
	PAGE_CACHE_STAYS,  /* pages stay: page_cache_look() knows why */
	PAGE_CACHE_MAPPED, /* somebody has, or it cannot be ruled out */
	PAGE_CACHE_ERROR,  /* errno says what; nothing was lost */
};

/*
 * For both, of a regular file: the range is [offset, offset + len); len 0
 * means to the end of the file. fd may be open in any way but O_PATH. Not for
 * file systems stacked on others (overlayfs), whose pages are elsewhere.
 */

/*
 * Write back and drop the pages of the range: PURGED, STAYS or ERROR. Needs
 * no privilege; a descriptor that cannot write, of somebody else's file, is
 * told STAYS.
 *
 * ERROR with the errno of a failed write-back means that data written earlier
 * did not reach the store.
 */
enum page_cache_result page_cache_drop(int fd, off_t offset, off_t len);

/*
 * Pages stay: is it because somebody has them mapped? PURGED, MAPPED or
 * ERROR. Needs root, to see a file's pages and this process's mappings.
 *
 * It maps the pages itself for a moment, and another process that looks at
 * the file then would take that for what it looks for: for one file, callers
 * must take turns.
 */
enum page_cache_result page_cache_look(int fd, off_t offset, off_t len);

#endif /* VFS_UDF_PAGE_CACHE_H */
