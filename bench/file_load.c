/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The load generator of the file system benchmarks: one workload on a file or
 * a directory, its duration in nanoseconds on standard output.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "udfd_ioctl.h"

#define BLOCK (1024u * 1024u)

#define LOOKUP_STRIDE 7919u /* a prime: every name is met, in no order */

static const char usage[] =
	"usage: file_load WORKLOAD PATH COUNT\n"
	"\n"
	"  write FILE BYTES      write sequentially, 1 MiB at a time, and fsync\n"
	"  unmanaged FILE BYTES  the same with defect management off\n"
	"  read FILE BYTES       read what was written, none of it cached\n"
	"  create DIR COUNT      make empty files\n"
	"  stat DIR COUNT        look at each, in another order\n"
	"  unlink DIR COUNT      delete them\n"
	"  lookup DIR COUNT      ask for names that are not there\n"
	"\n"
	"Prints the nanoseconds it took.\n";

static int fail(const char *what)
{
	fprintf(stderr, "file_load: %s: %s\n", what, strerror(errno));
	return 1;
}

static uint64_t now(void)
{
	struct timespec t = { .tv_sec = 0 };

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void report(uint64_t began)
{
	printf("%" PRIu64 "\n", now() - began);
}

static int switch_management_off(int fd)
{
	struct udfd_defect_management off = {
		.magic = UDFD_IOCTL_MAGIC,
		.version = UDFD_IOCTL_VERSION,
		.disabled = 1,
	};

	return ioctl(fd, UDFD_IOC_SET_DEFECT_MANAGEMENT, &off);
}

/* 1 MiB that differs from word to word. */
static uint64_t *make_block(void)
{
	uint64_t *block = malloc(BLOCK);
	uint64_t word = 88172645463325252u;

	if (block == NULL) {
		return NULL;
	}
	for (size_t i = 0; i < BLOCK / sizeof(*block); i++) {
		word ^= word << 13;
		word ^= word >> 7;
		word ^= word << 17;
		block[i] = word;
	}
	return block;
}

static int write_blocks(int fd, uint64_t *block, uint64_t bytes)
{
	for (uint64_t done = 0; done < bytes; done += BLOCK) {
		/* No two blocks are alike. */
		block[0] = done;
		if (write(fd, block, BLOCK) != (ssize_t)BLOCK) {
			return -1;
		}
	}
	return fsync(fd);
}

static int do_write(const char *path, uint64_t bytes, bool managed)
{
	uint64_t *block = make_block();
	uint64_t began = 0;
	int fd = -1;
	int ret = -1;

	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
	if (fd < 0 || block == NULL) {
		free(block);
		return fail(path);
	}
	if (!managed) {
		ret = switch_management_off(fd);
	}
	if (managed || ret == 0) {
		began = now();
		ret = write_blocks(fd, block, bytes);
	}
	if (ret < 0) {
		ret = fail(path);
	} else {
		report(began);
	}
	close(fd);
	free(block);
	return ret;
}

static int do_read(const char *path, uint64_t bytes)
{
	void *block = malloc(BLOCK);
	uint64_t began = 0;
	uint64_t done = 0;
	ssize_t got = 1;
	int fd = -1;

	fd = open(path, O_RDONLY);
	if (fd < 0 || block == NULL) {
		free(block);
		return fail(path);
	}
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	began = now();
	while (done < bytes && got > 0) {
		got = read(fd, block, BLOCK);
		done += got > 0 ? (uint64_t)got : 0;
	}
	if (done != bytes) {
		fprintf(stderr, "file_load: %s is too short\n", path);
	} else {
		report(began);
	}
	close(fd);
	free(block);
	return done == bytes ? 0 : 1;
}

static int create_one(const char *name)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);

	return fd < 0 ? -1 : close(fd);
}

static int stat_one(const char *name)
{
	struct stat st;

	return stat(name, &st);
}

static int lookup_one(const char *name)
{
	struct stat st;
	char other[300];

	/* Not a name that the kernel remembers from an earlier run. */
	snprintf(other, sizeof(other), "%s.none-%d", name, (int)getpid());
	return stat(other, &st) < 0 && errno == ENOENT ? 0 : -1;
}

static int do_names(const char *directory, uint64_t count, bool shuffled,
		    int (*one)(const char *name))
{
	uint64_t began = now();
	uint64_t number = 0;
	char name[256];

	if (chdir(directory) < 0) {
		return fail(directory);
	}
	for (uint64_t i = 0; i < count; i++) {
		number = shuffled ? i * LOOKUP_STRIDE % count : i;
		snprintf(name, sizeof(name), "file-%" PRIu64, number);
		if (one(name) < 0) {
			return fail(name);
		}
	}
	report(began);
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t count = 0;
	const char *what = NULL;

	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		fputs(usage, stdout);
		return 0;
	}
	if (argc != 4) {
		fputs(usage, stderr);
		return 2;
	}
	what = argv[1];
	count = strtoull(argv[3], NULL, 10);
	if (count == 0) {
		fputs(usage, stderr);
		return 2;
	}
	if (strcmp(what, "write") == 0) {
		return do_write(argv[2], count, true);
	}
	if (strcmp(what, "unmanaged") == 0) {
		return do_write(argv[2], count, false);
	}
	if (strcmp(what, "read") == 0) {
		return do_read(argv[2], count);
	}
	if (strcmp(what, "create") == 0) {
		return do_names(argv[2], count, false, create_one);
	}
	if (strcmp(what, "stat") == 0) {
		return do_names(argv[2], count, true, stat_one);
	}
	if (strcmp(what, "unlink") == 0) {
		return do_names(argv[2], count, false, unlink);
	}
	if (strcmp(what, "lookup") == 0) {
		return do_names(argv[2], count, true, lookup_one);
	}
	fputs(usage, stderr);
	return 2;
}
