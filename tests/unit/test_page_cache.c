/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Purging the page cache: a mapping by another process is always seen, and
 * what passes by is never taken for one: readers, pipes, neighbours in a large
 * folio, others that look. Nothing is lost.
 *
 * On whatever file system TMPDIR is, if it has a page cache that can be
 * dropped. store/test_page_cache and kernel/test_page_cache run it on others.
 * VFS_UDF_PURGE_TRIES says how often.
 */
#include <errno.h>
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
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "vfs_module/page_cache.h"

#define MIB ((size_t)1024 * 1024)
#define SIZE (8 * MIB)
#define PAGE ((size_t)4096)
#define CHILDREN 8

#define DEFAULT_TRIES 300

#define TMPFS_MAGIC_NUMBER 0x01021994
#define OVERLAYFS_MAGIC_NUMBER 0x794c7630

static char turns_path[] = "/tmp/page_cache.turns.XXXXXX";

struct fixture {
	char path[4096];
	int fd;
	pid_t children[CHILDREN];
	size_t num_children;
};

/* As the module does it, which takes turns by its database. */
static enum page_cache_result purge(int fd, off_t offset, off_t len)
{
	struct flock turn = { .l_type = F_WRLCK };
	enum page_cache_result result = page_cache_drop(fd, offset, len);
	int turns = -1;
	int saved_errno = 0;

	if (result == PAGE_CACHE_STAYS) {
		turns = open(turns_path, O_RDWR);
		if (turns == -1 || fcntl(turns, F_SETLKW, &turn) == -1) {
			return PAGE_CACHE_ERROR;
		}
		result = page_cache_look(fd, offset, len);
		saved_errno = errno;
		close(turns);
		errno = saved_errno;
	}
	return result;
}

static int tries(void)
{
	const char *text = getenv("VFS_UDF_PURGE_TRIES");
	int n = text != NULL ? atoi(text) : 0;

	return n > 0 ? n : DEFAULT_TRIES;
}

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

static void end_children(struct fixture *f)
{
	size_t i = 0;

	for (i = 0; i < f->num_children; i++) {
		kill(f->children[i], SIGKILL);
		waitpid(f->children[i], NULL, 0);
	}
	f->num_children = 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	end_children(f);
	close(f->fd);
	unlink(f->path);
	free(f);
	return 0;
}

static void skip_without_page_cache(struct fixture *f)
{
	struct statfs fs;

	assert_int_equal(fstatfs(f->fd, &fs), 0);
	if (fs.f_type == TMPFS_MAGIC_NUMBER ||
	    fs.f_type == OVERLAYFS_MAGIC_NUMBER) {
		print_message("# %s has no page cache of its own\n", f->path);
		skip();
	}
}

/*
 * A child that runs fn until it is killed. fn writes a byte to ready when it
 * has come to the point; from there it must not end.
 */
static void start_child(struct fixture *f,
			void (*fn)(struct fixture *f, int ready))
{
	int ready[2];
	pid_t pid = -1;
	char c = 0;

	assert_true(f->num_children < CHILDREN);
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ready[0]);
		fn(f, ready[1]);
		_exit(1);
	}
	f->children[f->num_children] = pid;
	f->num_children += 1;
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
}

static void assert_children_run(struct fixture *f)
{
	size_t i = 0;

	for (i = 0; i < f->num_children; i++) {
		assert_int_equal(waitpid(f->children[i], NULL, WNOHANG), 0);
	}
}

static void say_ready(int ready)
{
	if (write(ready, "r", 1) != 1) {
		_exit(1);
	}
}

static void hold_mapping(struct fixture *f,
			 int ready,
			 int prot,
			 int flags,
			 size_t size)
{
	int fd = open(f->path, O_RDWR);
	volatile uint8_t *map = NULL;

	map = mmap(NULL, size, prot, flags, fd, 0);
	if (map == MAP_FAILED || map[5000] != 'p') {
		return;
	}
	say_ready(ready);
	for (;;) {
		pause();
	}
}

static void map_a_page(struct fixture *f, int ready)
{
	hold_mapping(f, ready, PROT_READ, MAP_SHARED, SIZE);
}

/* The kernel may map a folio as a whole, but not beyond what is asked for. */
static void map_no_more(struct fixture *f, int ready)
{
	hold_mapping(f, ready, PROT_READ, MAP_SHARED, 2 * PAGE);
}

static void map_private(struct fixture *f, int ready)
{
	hold_mapping(f, ready, PROT_READ | PROT_WRITE, MAP_PRIVATE, SIZE);
}

static void map_and_protect(struct fixture *f, int ready)
{
	int fd = open(f->path, O_RDWR);
	volatile uint8_t *map = NULL;

	map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED || map[5000] != 'p' ||
	    mprotect((void *)(uintptr_t)map, SIZE, PROT_NONE) != 0) {
		return;
	}
	say_ready(ready);
	for (;;) {
		pause();
	}
}

static void read_all_the_time(struct fixture *f, int ready)
{
	uint8_t *buf = malloc(MIB);
	int fd = open(f->path, O_RDONLY);

	if (buf == NULL || pread(fd, buf, MIB, 0) <= 0) {
		return;
	}
	say_ready(ready);
	while (pread(fd, buf, MIB, 0) > 0) {
	}
}

/* Another smbd with a client that writes: it must not see us either. */
static void purge_all_the_time(struct fixture *f, int ready)
{
	int fd = open(f->path, O_RDWR);

	say_ready(ready);
	while (purge(fd, 0, (off_t)MIB) == PAGE_CACHE_PURGED) {
	}
}

/* The same beside a mapping. */
static void look_all_the_time(struct fixture *f, int ready)
{
	int fd = open(f->path, O_RDWR);

	say_ready(ready);
	while (purge(fd, 0, (off_t)MIB) != PAGE_CACHE_ERROR) {
	}
}

static void keep_in_a_pipe(struct fixture *f, int ready)
{
	int fds[2];
	off_t offset = 0;
	int fd = open(f->path, O_RDONLY);

	if (pipe(fds) != 0 ||
	    splice(fd, &offset, fds[1], NULL, 16 * PAGE, 0) <= 0) {
		return;
	}
	say_ready(ready);
	for (;;) {
		pause();
	}
}

/* Sizes change under whoever looks. */
static void truncate_all_the_time(struct fixture *f, int ready)
{
	int fd = open(f->path, O_RDWR);

	say_ready(ready);
	while (ftruncate(fd, (off_t)PAGE + 100) == 0 &&
	       ftruncate(fd, SIZE) == 0) {
	}
}

static void test_not_mapped(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(purge(f->fd, 0, 0), PAGE_CACHE_PURGED);
	assert_int_equal(purge(f->fd, 4097, 1), PAGE_CACHE_PURGED);
}

static void test_mapped(void **state)
{
	struct fixture *f = *state;
	int write_only = -1;

	skip_without_page_cache(f);
	start_child(f, map_a_page);
	assert_int_equal(purge(f->fd, 0, 0), PAGE_CACHE_MAPPED);
	assert_int_equal(purge(f->fd, 5000, 1), PAGE_CACHE_MAPPED);
	/* As a client that may not read has opened it. */
	write_only = open(f->path, O_WRONLY);
	assert_true(write_only >= 0);
	assert_int_equal(purge(write_only, 0, 0), PAGE_CACHE_MAPPED);
	close(write_only);
	/* Megabytes away nobody has a page. */
	assert_int_equal(purge(f->fd, 6 * MIB, MIB), PAGE_CACHE_PURGED);
	end_children(f);
	assert_int_equal(purge(f->fd, 0, 0), PAGE_CACHE_PURGED);
}

static void test_kinds_of_mappings(void **state)
{
	struct fixture *f = *state;

	skip_without_page_cache(f);
	start_child(f, map_private);
	assert_int_equal(purge(f->fd, 0, 0), PAGE_CACHE_MAPPED);
	end_children(f);
	start_child(f, map_and_protect);
	assert_int_equal(purge(f->fd, 0, 0), PAGE_CACHE_MAPPED);
	end_children(f);
	assert_int_equal(purge(f->fd, 0, 0), PAGE_CACHE_PURGED);
}

static void test_passing_reader(void **state)
{
	struct fixture *f = *state;
	int i = 0;

	start_child(f, read_all_the_time);
	for (i = 0; i < tries(); i++) {
		assert_int_equal(purge(f->fd, 0, (off_t)MIB),
				 PAGE_CACHE_PURGED);
	}
	assert_children_run(f);
}

/*
 * To look means to map for a moment, which must not be taken for a scan's
 * mapping: several clients that write beside a reader.
 */
static void test_several_look(void **state)
{
	struct fixture *f = *state;
	int i = 0;

	start_child(f, read_all_the_time);
	start_child(f, read_all_the_time);
	start_child(f, purge_all_the_time);
	start_child(f, purge_all_the_time);
	for (i = 0; i < tries(); i++) {
		assert_int_equal(purge(f->fd, 0, (off_t)MIB),
				 PAGE_CACHE_PURGED);
	}
	assert_children_run(f);
}

/* Whatever else goes on, a mapping is seen. */
static void test_never_missed(void **state)
{
	struct fixture *f = *state;
	int i = 0;

	skip_without_page_cache(f);
	start_child(f, map_a_page);
	start_child(f, read_all_the_time);
	start_child(f, look_all_the_time);
	for (i = 0; i < tries() / 3; i++) {
		assert_int_equal(purge(f->fd, 0, (off_t)MIB),
				 PAGE_CACHE_MAPPED);
	}
	assert_children_run(f);
}

static void test_splice(void **state)
{
	struct fixture *f = *state;
	int i = 0;

	start_child(f, keep_in_a_pipe);
	for (i = 0; i < tries(); i++) {
		assert_int_equal(purge(f->fd, 0, 0), PAGE_CACHE_PURGED);
	}
	assert_children_run(f);
}

/*
 * A folio of many pages of which one is mapped cannot go, but the others are
 * nobody's.
 */
static void test_large_folio(void **state)
{
	struct fixture *f = *state;
	static const size_t sizes[] = { 64 * 1024, MIB, 2 * MIB };
	uint8_t *buf = malloc(2 * MIB);
	size_t i = 0;
	int n = 0;

	skip_without_page_cache(f);
	assert_non_null(buf);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		/* Written at once, and read at once: large where it can be. */
		assert_int_equal(purge(f->fd, 0, 0), PAGE_CACHE_PURGED);
		memset(buf, 'p', sizes[i]);
		assert_int_equal(pwrite(f->fd, buf, sizes[i], 0), sizes[i]);
		assert_int_equal(pread(f->fd, buf, sizes[i], 0), sizes[i]);
		start_child(f, map_no_more);
		assert_int_equal(purge(f->fd, 4096, 4096), PAGE_CACHE_MAPPED);
		for (n = 0; n < tries() / 3; n++) {
			assert_int_equal(purge(f->fd,
					       (off_t)(MIB + MIB / 2),
					       (off_t)PAGE),
					 PAGE_CACHE_PURGED);
		}
		end_children(f);
		assert_int_equal(purge(f->fd, 0, 0), PAGE_CACHE_PURGED);
	}
	free(buf);
}

/* What was not written back yet is not lost. */
static void test_dirty(void **state)
{
	struct fixture *f = *state;
	char back[5] = "";

	assert_int_equal(pwrite(f->fd, "dirty", 5, 100), 5);
	assert_int_equal(purge(f->fd, 0, 0), PAGE_CACHE_PURGED);
	assert_int_equal(pread(f->fd, back, 5, 100), 5);
	assert_memory_equal(back, "dirty", 5);
}

/*
 * Writers by descriptor and by mapping while others purge: each reads back
 * what it wrote last, whatever was dropped meanwhile.
 */
static void test_nothing_is_lost(void **state)
{
	struct fixture *f = *state;
	uint64_t *map = NULL;
	uint64_t back = 0;
	uint64_t i = 0;
	off_t at = 0;

	start_child(f, look_all_the_time);
	start_child(f, look_all_the_time);
	map = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	assert_true(map != MAP_FAILED);
	for (i = 1; i <= (uint64_t)tries(); i++) {
		size_t page = i % (MIB / PAGE);

		map[page * PAGE / sizeof(map[0])] = i;
		at = (off_t)(page * PAGE + PAGE / 2);
		assert_int_equal(pwrite(f->fd, &i, sizeof(i), at), sizeof(i));
		assert_int_not_equal(page_cache_drop(f->fd, at, sizeof(i)),
				     PAGE_CACHE_ERROR);
		assert_int_equal(pread(f->fd, &back, sizeof(back), at),
				 sizeof(back));
		assert_int_equal(back, i);
		at = (off_t)(page * PAGE);
		assert_int_equal(pread(f->fd, &back, sizeof(back), at),
				 sizeof(back));
		assert_int_equal(back, i);
	}
	assert_children_run(f);
	end_children(f);
	munmap(map, MIB);

	/* And from the medium. */
	assert_int_equal(purge(f->fd, 0, 0), PAGE_CACHE_PURGED);
	for (i = (uint64_t)tries(); i > 0 &&
	     i + MIB / PAGE > (uint64_t)tries(); i--) {
		at = (off_t)(i % (MIB / PAGE) * PAGE);
		assert_int_equal(pread(f->fd, &back, sizeof(back), at),
				 sizeof(back));
		assert_int_equal(back, i);
	}
}

static void test_truncated_meanwhile(void **state)
{
	struct fixture *f = *state;
	enum page_cache_result result;
	int i = 0;

	start_child(f, truncate_all_the_time);
	start_child(f, read_all_the_time);
	for (i = 0; i < tries() / 3; i++) {
		result = purge(f->fd, 0, 0);
		assert_int_not_equal(result, PAGE_CACHE_ERROR);
		assert_int_not_equal(result, PAGE_CACHE_MAPPED);
	}
}

static void test_ranges(void **state)
{
	struct fixture *f = *state;

	skip_without_page_cache(f);
	start_child(f, map_a_page);
	/* Behind the end there is nothing to purge. */
	assert_int_equal(purge(f->fd, SIZE, 1), PAGE_CACHE_PURGED);
	assert_int_equal(purge(f->fd, INT64_MAX - 1, INT64_MAX),
			 PAGE_CACHE_PURGED);
	assert_int_equal(purge(f->fd, 0, INT64_MAX), PAGE_CACHE_MAPPED);
	assert_int_equal(purge(f->fd, -1, 1), PAGE_CACHE_ERROR);
	assert_int_equal(purge(f->fd, 0, -1), PAGE_CACHE_ERROR);
	assert_int_equal(purge(-1, 0, 0), PAGE_CACHE_ERROR);
	assert_int_equal(page_cache_look(f->fd, -1, 1), PAGE_CACHE_ERROR);
	assert_int_equal(page_cache_look(-1, 0, 0), PAGE_CACHE_ERROR);
	assert_int_equal(page_cache_look(f->fd, SIZE, 1), PAGE_CACHE_PURGED);
}

/* Dropping needs no privilege, and never says that nobody has it mapped. */
static void drop_as_nobody(struct fixture *f, int ready)
{
	int reader = open(f->path, O_RDONLY);
	int writer = open(f->path, O_RDWR);

	if (setgid(65534) != 0 || setuid(65534) != 0) {
		return;
	}
	if (page_cache_drop(reader, 0, 0) != PAGE_CACHE_STAYS ||
	    page_cache_drop(writer, 0, 0) != PAGE_CACHE_STAYS) {
		return;
	}
	say_ready(ready);
	for (;;) {
		pause();
	}
}

static void test_no_privilege(void **state)
{
	struct fixture *f = *state;

	skip_without_page_cache(f);
	if (geteuid() != 0) {
		skip();
	}
	start_child(f, map_a_page);
	start_child(f, drop_as_nobody);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_not_mapped),
		TEST(test_mapped),
		TEST(test_kinds_of_mappings),
		TEST(test_passing_reader),
		TEST(test_several_look),
		TEST(test_never_missed),
		TEST(test_splice),
		TEST(test_large_folio),
		TEST(test_dirty),
		TEST(test_nothing_is_lost),
		TEST(test_truncated_meanwhile),
		TEST(test_ranges),
		TEST(test_no_privilege),
	};

	int turns = mkstemp(turns_path);
	int failed = 0;

	if (turns == -1) {
		perror(turns_path);
		return 1;
	}
	close(turns);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(turns_path);
	return failed;
}
