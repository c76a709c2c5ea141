/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Purge a byte range of a file from the page cache; see page_cache.h.
 *
 * Dropping is cheap: write back, drop, and see whether pages stay. Only when
 * they do, looking maps the range and asks for each page whether ours is its
 * only mapping. While the kernel is moving a page that cannot be told, so what
 * seems mapped is looked at again.
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
#include <time.h>
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

/* How often a page must seem mapped to count as mapped, and the pause. */
#define LOOKS 3
#define LOOK_PAUSE_NS 50000

/* Looked at so many bytes at a time. */
#define WINDOW ((off_t)4 * 1024 * 1024)
#define WINDOW_PAGES (WINDOW / 4096)

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
 * [*start, *end): the part of the range that the file has. PURGED: it has
 * none; STAYS: go on with it.
 */
static enum page_cache_result
clip(int fd, off_t offset, off_t len, off_t *start, off_t *end)
{
	struct stat st;
	int ret = -1;

	if (offset < 0 || len < 0 || sysconf(_SC_PAGESIZE) < 4096) {
		errno = EINVAL;
		return PAGE_CACHE_ERROR;
	}
	ret = fstat(fd, &st);
	if (ret == -1) {
		return PAGE_CACHE_ERROR;
	}
	*start = offset;
	*end = (len == 0 || len > INT64_MAX - offset) ? INT64_MAX
						      : offset + len;
	if (*end > st.st_size) {
		*end = st.st_size;
	}
	return (*start < *end) ? PAGE_CACHE_STAYS : PAGE_CACHE_PURGED;
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
		/* An old kernel, or no right to know: mincore will tell. */
		return true;
	}
	return st.nr_cache != 0;
}

/* Drop what is clean and not mapped. */
static enum page_cache_result drop(int fd, off_t start, off_t end)
{
	off_t page_size = sysconf(_SC_PAGESIZE);
	off_t drop_start = round_down(start, FOLIO_MAX);
	off_t drop_end = round_up(end, FOLIO_MAX);
	int ret = -1;

	ret = posix_fadvise(fd,
			    drop_start,
			    drop_end - drop_start,
			    POSIX_FADV_DONTNEED);
	if (ret != 0) {
		errno = ret;
		return PAGE_CACHE_ERROR;
	}
	start = round_down(start, page_size);
	end = round_up(end, page_size);
	return pages_stay(fd, start, end) ? PAGE_CACHE_STAYS
					  : PAGE_CACHE_PURGED;
}

enum page_cache_result page_cache_drop(int fd, off_t offset, off_t len)
{
	enum page_cache_result result;
	off_t start = 0;
	off_t end = 0;
	int try = 0;
	int ret = -1;

	result = clip(fd, offset, len, &start, &end);
	if (result != PAGE_CACHE_STAYS) {
		return result;
	}
	ret = fdatasync(fd);
	if (ret == -1) {
		return PAGE_CACHE_ERROR;
	}
	for (try = 0; try < DROP_TRIES && result == PAGE_CACHE_STAYS; try++) {
		result = drop(fd, start, end);
	}
	return result;
}

/*
 * Fault in the resident pages, and no others, and never by touching them: the
 * file may be truncated under us, and a touch would be a SIGBUS. A page that
 * is gone or cannot be read is marked as not resident: nobody can map it.
 */
static bool populate(uint8_t *map,
		     unsigned char *resident,
		     size_t pages,
		     size_t page_size)
{
	size_t first = 0;
	size_t end = 0;
	int ret = -1;

	while (first < pages) {
		if ((resident[first] & 1) == 0) {
			first += 1;
			continue;
		}
		for (end = first; end < pages && (resident[end] & 1) != 0;) {
			end += 1;
		}
		ret = madvise(map + first * page_size,
			      (end - first) * page_size,
			      MADV_POPULATE_READ);
		if (ret == 0) {
			first = end;
			continue;
		}
		if (errno != EFAULT && errno != EHWPOISON) {
			/* EINVAL: an old kernel. ENOMEM: who knows. */
			return false;
		}
		/* One of them: this page by itself, then go on after it. */
		ret = madvise(map + first * page_size,
			      page_size,
			      MADV_POPULATE_READ);
		if (ret == -1) {
			resident[first] = 0;
		}
		first += 1;
	}
	return true;
}

/*
 * Does somebody else map one of the window's cached pages? MAPPED is what it
 * seems at this moment.
 */
static enum page_cache_result
look_at_pages(uint8_t *map, size_t pages, size_t page_size, int pagemap_fd)
{
	unsigned char resident[WINDOW_PAGES];
	uint64_t entries[WINDOW_PAGES];
	size_t len = pages * sizeof(entries[0]);
	off_t offset = (off_t)((uintptr_t)map / page_size * sizeof(entries[0]));
	ssize_t n = -1;
	size_t i = 0;
	int ret = -1;

	ret = mincore(map, pages * page_size, resident);
	if (ret == -1) {
		return PAGE_CACHE_ERROR;
	}
	if (!populate(map, resident, pages, page_size)) {
		return PAGE_CACHE_MAPPED;
	}
	n = pread(pagemap_fd, entries, len, offset);
	if (n != (ssize_t)len) {
		return PAGE_CACHE_MAPPED;
	}
	for (i = 0; i < pages; i++) {
		if ((resident[i] & 1) == 0) {
			continue;
		}
		/* Not present: it is on the move, whoever has it mapped. */
		if ((entries[i] & PAGEMAP_PRESENT) == 0 ||
		    (entries[i] & PAGEMAP_EXCLUSIVE) == 0)
		{
			return PAGE_CACHE_MAPPED;
		}
	}
	return PAGE_CACHE_PURGED;
}

static enum page_cache_result
look_at_window(int fd, off_t start, off_t end, int pagemap_fd)
{
	enum page_cache_result result;
	size_t page_size = (size_t)sysconf(_SC_PAGESIZE);
	size_t pages = ((size_t)(end - start) + page_size - 1) / page_size;
	size_t len = pages * page_size;
	uint8_t *map = NULL;
	int saved_errno = 0;

	map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, start);
	if (map == MAP_FAILED && errno == ENODEV) {
		/* Nobody can map this file (FUSE with direct_io). */
		return PAGE_CACHE_PURGED;
	}
	if (map == MAP_FAILED) {
		return PAGE_CACHE_ERROR;
	}
	result = look_at_pages(map, pages, page_size, pagemap_fd);
	saved_errno = errno;
	munmap(map, len);
	errno = saved_errno;
	return result;
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

enum page_cache_result page_cache_look(int fd, off_t offset, off_t len)
{
	enum page_cache_result result;
	off_t start = 0;
	off_t end = 0;
	const struct timespec pause = { .tv_nsec = LOOK_PAUSE_NS };
	int read_fd = -1;
	int pagemap_fd = -1;
	int looks = 0;
	int saved_errno = 0;

	result = clip(fd, offset, len, &start, &end);
	if (result != PAGE_CACHE_STAYS) {
		return result;
	}
	start = round_down(start, sysconf(_SC_PAGESIZE));
	read_fd = readable_fd(fd);
	if (read_fd == -1) {
		return PAGE_CACHE_ERROR;
	}
	pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (pagemap_fd == -1) {
		result = PAGE_CACHE_ERROR;
		goto done;
	}

	result = PAGE_CACHE_PURGED;
	while (start < end) {
		off_t window = (end - start < WINDOW) ? end - start : WINDOW;

		result = drop(fd, start, start + window);
		if (result == PAGE_CACHE_STAYS) {
			result = look_at_window(read_fd,
						start,
						start + window,
						pagemap_fd);
		}
		if (result == PAGE_CACHE_PURGED) {
			start += window;
			looks = 0;
			continue;
		}
		looks += 1;
		if (result == PAGE_CACHE_ERROR || looks == LOOKS) {
			break;
		}
		(void)nanosleep(&pause, NULL);
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
