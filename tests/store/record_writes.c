/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Preloaded into udfd: writes down what it writes to the image and when it
 * flushes, in order, for test_powercut.
 *
 * RECORD_IMAGE is the image, RECORD_LOG the file to append to. A record is
 * three 64 bit integers (kind, offset, length), and the bytes of a write.
 *
 * RECORD_FLUSH_MS lets each flush take so long at least. While there is a file
 * with the log's name and .fail behind it, flushes fail.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum record_kind {
	RECORD_WRITE = 0,
	RECORD_FLUSHED = 1,
	RECORD_FLUSH_BEGINS = 2,
};

typedef ssize_t (*pwrite_fn)(int, const void *, size_t, off_t);
typedef int (*flush_fn)(int);

ssize_t pwrite(int fd, const void *buf, size_t len, off_t offset);
int fdatasync(int fd);
int fsync(int fd);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = -1;
static struct stat image;
static useconds_t flush_us;
static char fail_path[PATH_MAX];

__attribute__((constructor)) static void record_init(void)
{
	const char *log = getenv("RECORD_LOG");
	const char *path = getenv("RECORD_IMAGE");

	if (log == NULL || path == NULL || stat(path, &image) != 0) {
		return;
	}
	log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	snprintf(fail_path, sizeof(fail_path), "%s.fail", log);
	if (getenv("RECORD_FLUSH_MS") != NULL) {
		flush_us = 1000 * (useconds_t)atoi(getenv("RECORD_FLUSH_MS"));
	}
	/* Programs that udfd starts are not to be recorded. */
	unsetenv("LD_PRELOAD");
}

static bool is_image(int fd)
{
	struct stat st;

	return log_fd >= 0 && fstat(fd, &st) == 0 &&
	       st.st_dev == image.st_dev && st.st_ino == image.st_ino;
}

static void record(enum record_kind kind, uint64_t offset, uint64_t len,
		   const void *bytes)
{
	uint64_t head[3] = { kind, offset, len };
	struct iovec parts[2] = {
		{ .iov_base = head, .iov_len = sizeof(head) },
		{ .iov_len = bytes != NULL ? len : 0 },
	};

	memcpy(&parts[1].iov_base, &bytes, sizeof(bytes));
	if (writev(log_fd, parts, 2) < 0) {
		abort();
	}
}

/* With 64 bit offsets, as udfd is built, its symbol is pwrite64. */
ssize_t pwrite(int fd, const void *buf, size_t len, off_t offset)
{
	static pwrite_fn next;
	ssize_t ret = 0;

	if (next == NULL) {
		*(void **)&next = dlsym(RTLD_NEXT, "pwrite64");
	}
	if (!is_image(fd)) {
		return next(fd, buf, len, offset);
	}
	pthread_mutex_lock(&lock);
	ret = next(fd, buf, len, offset);
	if (ret > 0) {
		record(RECORD_WRITE, (uint64_t)offset, (uint64_t)ret, buf);
	}
	pthread_mutex_unlock(&lock);
	return ret;
}

static void record_flush(enum record_kind kind)
{
	pthread_mutex_lock(&lock);
	record(kind, 0, 0, NULL);
	pthread_mutex_unlock(&lock);
}

int fdatasync(int fd)
{
	static flush_fn next;
	int ret = 0;

	if (next == NULL) {
		*(void **)&next = dlsym(RTLD_NEXT, "fdatasync");
	}
	if (!is_image(fd)) {
		return next(fd);
	}
	/* Only what was written before it began is sure to be flushed. */
	record_flush(RECORD_FLUSH_BEGINS);
	usleep(flush_us);
	if (access(fail_path, F_OK) == 0) {
		errno = EIO;
		return -1;
	}
	ret = next(fd);
	if (ret == 0) {
		record_flush(RECORD_FLUSHED);
	}
	return ret;
}

int fsync(int fd)
{
	return fdatasync(fd);
}
