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
	PAGE_CACHE_MAPPED, /* somebody has, or it cannot be ruled out */
	PAGE_CACHE_ERROR,  /* errno says what; nothing was lost */
};

/*
 * Write back and drop the pages of [offset, offset + len) of a regular file;
 * len 0 means to the end of the file.
 *
 * fd may be open in any way but O_PATH. The caller must be root or own the
 * file (cachestat, mincore and the file's reopening ask for it).
 *
 * PAGE_CACHE_ERROR with the errno of a failed write-back means that data
 * written earlier did not reach the store.
 */
enum page_cache_result page_cache_purge(int fd, off_t offset, off_t len);

#endif /* VFS_UDF_PAGE_CACHE_H */
