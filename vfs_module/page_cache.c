/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Purge a byte range of a file from the page cache; see page_cache.h.
 *
 * Stage 1 is cheap: write back, drop, and look whether pages stay. Only when
 * they do, stage 2 maps the range and asks for each page whether ours is its
 * only mapping.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "page_cache.h"

/* cachestat(2), Linux 6.5; the number is the same on all architectures. */
#ifndef __NR_cachestat
#define __NR_cachestat 451
#endif

/* madvise(2), Linux 5.14: fault in, with an error where a read would fault. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

struct page_cache_range {
	uint64_t off;
	uint64_t len;
};

struct page_cache_stat {
	uint64_t nr_cache;
	uint64_t nr_dirty;
	uint64_t nr_writeback;
	uint64_t nr_evicted;
	uint64_t nr_recently_evicted;
};

/* Large folios go only as a whole; none is larger than this. */
#define FOLIO_MAX ((off_t)2 * 1024 * 1024)

/* A page that is being read or written back is let go in a moment. */
#define DROP_TRIES 3

/* Stage 2 looks at this many bytes at a time. */
#define WINDOW ((off_t)4 * 1024 * 1024)

/* Documentation/admin-guide/mm/pagemap.rst */
#define PAGEMAP_EXCLUSIVE (UINT64_C(1) << 56)
#define PAGEMAP_PRESENT (UINT64_C(1) << 63)

static off_t round_down(off_t v, off_t unit)
{
	return v - v % unit;
}

static off_t round_up(off_t v, off_t unit)
{
	if (v > INT64_MAX - unit) {
		return round_down(INT64_MAX, unit);
	}
	return round_down(v + unit - 1, unit);
}

/*
 * Stage 2 for one window: are pages of it in the cache, and does somebody
 * else map one of them?
 *
 * Only pages that are cached are faulted in, and never by touching them: the
 * file may be truncated under us, and a touch would be a SIGBUS.
 */
static enum page_cache_result
look_at_pages(uint8_t *map, size_t pages, size_t page_size, int pagemap_fd)
{
	unsigned char resident[WINDOW / 4096];
	size_t i = 0;
	int ret = -1;

	ret = mincore(map, pages * page_size, resident);
	if (ret == -1) {
		return PAGE_CACHE_ERROR;
	}

	for (i = 0; i < pages; i++) {
		uint8_t *page = map + i * page_size;
		off_t entry_ofs = (off_t)((uintptr_t)page / page_size * 8);
		uint64_t entry = 0;
		ssize_t n = -1;

		if ((resident[i] & 1) == 0) {
			continue;
		}

		ret = madvise(page, page_size, MADV_POPULATE_READ);
		if (ret == -1 && errno == EINVAL) {
			/* An old kernel: it cannot be ruled out. */
			return PAGE_CACHE_MAPPED;
		}
		if (ret == -1) {
			/* Truncated, or unreadable: no page to worry about. */
			continue;
		}

		n = pread(pagemap_fd, &entry, sizeof(entry), entry_ofs);
		if (n != sizeof(entry)) {
			return PAGE_CACHE_MAPPED;
		}
		if ((entry & PAGEMAP_PRESENT) != 0 &&
		    (entry & PAGEMAP_EXCLUSIVE) == 0)
		{
			return PAGE_CACHE_MAPPED;
		}
	}
	return PAGE_CACHE_PURGED;
}

/*
 * Mapping needs a descriptor that can read. Opening another is the last
 * resort: a FUSE daemon that does not say FOPEN_KEEP_CACHE makes the kernel
 * take the file's pages, mapped ones too, away at each open, and then there
 * is nothing left to see.
 */
static int readable_fd(int fd)
{
	char path[sizeof("/proc/self/fd/") + 3 * sizeof(int)];
	int flags = fcntl(fd, F_GETFL);

	if (flags == -1 || (flags & O_ACCMODE) != O_WRONLY) {
		return fd;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* Stage 2 for a range that starts at a page. */
static enum page_cache_result
look_for_mappings(int fd, off_t start, off_t end, size_t page_size)
{
	enum page_cache_result result = PAGE_CACHE_PURGED;
	int read_fd = -1;
	int pagemap_fd = -1;
	int saved_errno = 0;
	off_t pos = start;

	read_fd = readable_fd(fd);
	if (read_fd == -1) {
		return PAGE_CACHE_ERROR;
	}
	pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (pagemap_fd == -1) {
		result = PAGE_CACHE_ERROR;
		goto done;
	}

	while (pos < end && result == PAGE_CACHE_PURGED) {
		off_t len = (end - pos < WINDOW) ? end - pos : WINDOW;
		size_t pages = ((size_t)len + page_size - 1) / page_size;
		size_t bytes = pages * page_size;
		uint8_t *map = NULL;

		map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, read_fd, pos);
		if (map == MAP_FAILED && errno == ENODEV) {
			/* Nobody can map this file (FUSE with direct_io). */
			break;
		}
		if (map == MAP_FAILED) {
			result = PAGE_CACHE_ERROR;
			break;
		}
		result = look_at_pages(map, pages, page_size, pagemap_fd);
		saved_errno = errno;
		munmap(map, bytes);
		errno = saved_errno;
		pos += (off_t)bytes;
	}

done:
	saved_errno = errno;
	if (pagemap_fd != -1) {
		close(pagemap_fd);
	}
	if (read_fd != fd) {
		close(read_fd);
	}
	errno = saved_errno;
	return result;
}

/* Are there pages in the range? True also when it cannot be found out. */
static bool pages_stay(int fd, off_t start, off_t end)
{
	struct page_cache_range range = {
		.off = (uint64_t)start,
		.len = (uint64_t)(end - start),
	};
	struct page_cache_stat st = { .nr_cache = 0 };
	long ret = -1;

	ret = syscall(__NR_cachestat, fd, &range, &st, 0);
	if (ret == -1) {
		/* ENOSYS: stage 2 asks mincore. */
		return true;
	}
	return st.nr_cache != 0;
}

enum page_cache_result page_cache_purge(int fd, off_t offset, off_t len)
{
	size_t page_size = (size_t)sysconf(_SC_PAGESIZE);
	struct stat st;
	off_t end = 0;
	off_t drop_start = 0;
	off_t drop_end = 0;
	int try = 0;
	int ret = -1;

	if (offset < 0 || len < 0 || page_size < 4096) {
		errno = EINVAL;
		return PAGE_CACHE_ERROR;
	}

	ret = fstat(fd, &st);
	if (ret == -1) {
		return PAGE_CACHE_ERROR;
	}
	end = (len == 0 || len > INT64_MAX - offset) ? INT64_MAX
						     : offset + len;
	if (end > st.st_size) {
		end = st.st_size;
	}
	if (offset >= end) {
		return PAGE_CACHE_PURGED;
	}
	drop_start = round_down(offset, FOLIO_MAX);
	drop_end = round_up(end, FOLIO_MAX);
	offset = round_down(offset, (off_t)page_size);
	end = round_up(end, (off_t)page_size);

	ret = fdatasync(fd);
	if (ret == -1) {
		return PAGE_CACHE_ERROR;
	}

	for (try = 0; try < DROP_TRIES; try++) {
		ret = posix_fadvise(fd,
				    drop_start,
				    drop_end - drop_start,
				    POSIX_FADV_DONTNEED);
		if (ret != 0) {
			errno = ret;
			return PAGE_CACHE_ERROR;
		}
		if (!pages_stay(fd, offset, end)) {
			return PAGE_CACHE_PURGED;
		}
	}

	return look_for_mappings(fd, offset, end, page_size);
}
