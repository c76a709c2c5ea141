/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Purging the page cache: a mapping by another process is seen, a passing
 * reader is not taken for one. On whatever file system TMPDIR is, if it has a
 * page cache that can be dropped (tmpfs has not).
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "vfs_module/page_cache.h"

#define MIB ((size_t)1024 * 1024)
#define SIZE (8 * MIB)
#define TMPFS_MAGIC_NUMBER 0x01021994

struct fixture {
	char path[4096];
	int fd;
	pid_t child;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const char *dir = getenv("TMPDIR");
	uint8_t *block = malloc(MIB);
	size_t i = 0;

	if (f == NULL || block == NULL) {
		return -1;
	}
	snprintf(f->path,
		 sizeof(f->path),
		 "%s/page_cache.XXXXXX",
		 dir != NULL ? dir : "/var/tmp");
	f->fd = mkstemp(f->path);
	if (f->fd == -1) {
		return -1;
	}
	memset(block, 'p', MIB);
	for (i = 0; i < SIZE / MIB; i++) {
		if (write(f->fd, block, MIB) != (ssize_t)MIB) {
			return -1;
		}
	}
	free(block);
	*state = f;
	return 0;
}

static void end_child(struct fixture *f)
{
	if (f->child > 0) {
		kill(f->child, SIGKILL);
		waitpid(f->child, NULL, 0);
		f->child = 0;
	}
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	end_child(f);
	close(f->fd);
	unlink(f->path);
	free(f);
	return 0;
}

static void skip_without_page_cache(struct fixture *f)
{
	struct statfs fs;

	assert_int_equal(fstatfs(f->fd, &fs), 0);
	if (fs.f_type == TMPFS_MAGIC_NUMBER) {
		skip();
	}
}

/* A child that maps the file, has touched one byte, and waits. */
static void map_in_child(struct fixture *f, size_t touch)
{
	int ready[2];
	char c = 0;

	assert_int_equal(pipe(ready), 0);
	f->child = fork();
	assert_true(f->child >= 0);
	if (f->child == 0) {
		volatile uint8_t *map = NULL;
		int fd = open(f->path, O_RDONLY);

		map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
		if (map == MAP_FAILED || map[touch] != 'p') {
			_exit(1);
		}
		if (write(ready[1], "m", 1) != 1) {
			_exit(1);
		}
		for (;;) {
			pause();
		}
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
}

static void test_not_mapped(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(page_cache_purge(f->fd, 0, 0), PAGE_CACHE_PURGED);
	assert_int_equal(page_cache_purge(f->fd, 4097, 1), PAGE_CACHE_PURGED);
}

static void test_mapped(void **state)
{
	struct fixture *f = *state;
	int write_only = -1;

	skip_without_page_cache(f);
	map_in_child(f, 5000);
	assert_int_equal(page_cache_purge(f->fd, 0, 0), PAGE_CACHE_MAPPED);
	assert_int_equal(page_cache_purge(f->fd, 5000, 1), PAGE_CACHE_MAPPED);
	/* As a client that may not read has opened it. */
	write_only = open(f->path, O_WRONLY);
	assert_true(write_only >= 0);
	assert_int_equal(page_cache_purge(write_only, 0, 0),
			 PAGE_CACHE_MAPPED);
	close(write_only);
	/* Megabytes away nobody has a page. */
	assert_int_equal(page_cache_purge(f->fd, 6 * MIB, MIB),
			 PAGE_CACHE_PURGED);
	end_child(f);
	assert_int_equal(page_cache_purge(f->fd, 0, 0), PAGE_CACHE_PURGED);
}

static void test_passing_reader(void **state)
{
	struct fixture *f = *state;
	int i = 0;

	f->child = fork();
	assert_true(f->child >= 0);
	if (f->child == 0) {
		uint8_t *buf = malloc(MIB);
		int fd = open(f->path, O_RDONLY);

		while (buf != NULL && pread(fd, buf, MIB, 0) > 0) {
		}
		_exit(1);
	}
	for (i = 0; i < 300; i++) {
		assert_int_equal(page_cache_purge(f->fd, 0, (off_t)MIB),
				 PAGE_CACHE_PURGED);
	}
	assert_int_equal(waitpid(f->child, NULL, WNOHANG), 0);
}

/* What was not written back yet is not lost. */
static void test_dirty(void **state)
{
	struct fixture *f = *state;
	char back[5] = "";

	assert_int_equal(pwrite(f->fd, "dirty", 5, 100), 5);
	assert_int_equal(page_cache_purge(f->fd, 0, 0), PAGE_CACHE_PURGED);
	assert_int_equal(pread(f->fd, back, 5, 100), 5);
	assert_memory_equal(back, "dirty", 5);
}

static void test_ranges(void **state)
{
	struct fixture *f = *state;

	skip_without_page_cache(f);
	map_in_child(f, 0);
	/* Behind the end there is nothing to purge. */
	assert_int_equal(page_cache_purge(f->fd, SIZE, 1), PAGE_CACHE_PURGED);
	assert_int_equal(page_cache_purge(f->fd, INT64_MAX - 1, INT64_MAX),
			 PAGE_CACHE_PURGED);
	assert_int_equal(page_cache_purge(f->fd, 0, INT64_MAX),
			 PAGE_CACHE_MAPPED);
	assert_int_equal(page_cache_purge(f->fd, -1, 1), PAGE_CACHE_ERROR);
	assert_int_equal(page_cache_purge(f->fd, 0, -1), PAGE_CACHE_ERROR);
	assert_int_equal(page_cache_purge(-1, 0, 0), PAGE_CACHE_ERROR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_not_mapped, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_mapped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_passing_reader, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_dirty, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ranges, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
