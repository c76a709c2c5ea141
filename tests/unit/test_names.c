/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Names on a volume whose directories contain each other, and themselves. The
 * kernel keeps one that is above another from appearing below it as well, so
 * here threads call the file system themselves: none may wait for another for
 * ever.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>
#include <errno.h>

#include "udf_store/directory.h"
#include "udf_store/fs.h"
#include "udf_store/operation.h"
#include "volume_images.h"

#define ROUNDS 20000u
#define PATIENCE_S 120
#define THREADS 5u

/* What one thread does again and again, and how that has to end. */
struct worker {
	struct udf_node *directory;
	const char *name;
	int (*act)(struct worker *worker);
	struct udf_node *other;
	int expected;
	unsigned int unexpected;
	pthread_t thread;
};

static int act_rmdir(struct worker *worker)
{
	return udf_fs_rmdir(worker->directory, worker->name);
}

static int act_unlink(struct worker *worker)
{
	return udf_fs_unlink(worker->directory, worker->name);
}

/* A directory into itself, over the one that it comes from. */
static int act_rename(struct worker *worker)
{
	return udf_fs_rename(worker->directory, worker->name, worker->other,
			     "two", 0);
}

static void *work(void *private_data)
{
	struct worker *worker = private_data;
	unsigned int i = 0;

	for (i = 0; i < ROUNDS; i++) {
		if (worker->act(worker) != worker->expected) {
			worker->unexpected++;
		}
	}
	return NULL;
}

static struct udf_node *make_directory(struct udf_fs *fs, const char *name)
{
	const struct udf_fs_create create = { .mode = S_IFDIR | 0755 };
	struct udf_node *node = NULL;

	assert_int_equal(udf_fs_create(udf_fs_root(fs), name, &create, &node),
			 0);
	return node;
}

/* As a damaged volume has it. */
static void put_into(struct udf_node *directory, const char *name,
		     const struct udf_node *target)
{
	int ret = udf_operation_begin(directory->fs);

	assert_int_equal(ret, 0);
	ret = udf_directory_insert(directory, name, target, 100, NULL);
	assert_int_equal(ret, 0);
	udf_operation_end(directory->fs);
}

static void test_loops(void **state)
{
	const struct udf_volume_options options = { .log = keep_line };
	struct worker workers[THREADS];
	struct timespec until = { .tv_sec = 0 };
	struct udf_node *one = NULL;
	struct udf_node *two = NULL;
	struct udf_fs *fs = NULL;
	char path[64] = { 0 };
	size_t i = 0;

	(void)state;
	image_path(images[PLAIN_2048].name, path, sizeof(path));
	assert_int_equal(udf_fs_mount(path, &options, &fs), 0);
	one = make_directory(fs, "one");
	two = make_directory(fs, "two");
	put_into(one, "two", two);
	put_into(two, "one", one);
	put_into(one, "self", one);
	workers[0] = (struct worker){
		.directory = one,
		.name = "two",
		.act = act_rmdir,
		.expected = -ENOTEMPTY,
	};
	workers[1] = (struct worker){
		.directory = two,
		.name = "one",
		.act = act_rmdir,
		.expected = -ENOTEMPTY,
	};
	workers[2] = (struct worker){
		.directory = one,
		.name = "two",
		.act = act_unlink,
		.expected = -EISDIR,
	};
	workers[3] = (struct worker){
		.directory = one,
		.name = "self",
		.act = act_rmdir,
		.expected = -EUCLEAN,
	};
	workers[4] = (struct worker){
		.directory = two,
		.name = "one",
		.act = act_rename,
		.other = one,
		.expected = -EINVAL,
	};
	for (i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work,
						&workers[i]),
				 0);
	}
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE_S;
	for (i = 0; i < THREADS; i++) {
		int ret = pthread_timedjoin_np(workers[i].thread, NULL, &until);

		assert_int_equal(ret, 0);
		assert_int_equal(workers[i].unexpected, 0);
	}
	udf_fs_forget(one, 1);
	udf_fs_forget(two, 1);
	assert_int_equal(udf_fs_unmount(fs), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_loops),
	};

	return cmocka_run_group_tests(tests, make_images, remove_images);
}
