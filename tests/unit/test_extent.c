/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The extent map of a file against an array with an entry per block, and the
 * path components of symbolic links.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "udf_store/extent.h"
#include "udf_store/symlink.h"

#define MODEL_BLOCKS 200u
#define ROUNDS 20000u

struct model {
	uint32_t lbn[MODEL_BLOCKS]; /* 0: a hole */
	uint64_t end;
	uint64_t released;
};

static struct udf_extent extent(uint64_t block, uint64_t count, uint32_t lbn)
{
	return (struct udf_extent){
		.block = block,
		.count = count,
		.lbn = lbn,
		.type = lbn == 0 ? UDF_EXTENT_HOLE : UDF_EXTENT_RECORDED,
	};
}

static void check_map(const struct udf_extent_map *map,
		      const struct model *model)
{
	uint64_t recorded = 0;
	uint64_t next = 0;

	assert_int_equal(udf_extent_map_end(map), model->end);
	for (size_t i = 0; i < map->count; i++) {
		const struct udf_extent *e = &map->extents[i];

		assert_true(e->count > 0);
		assert_int_equal(e->block, next);
		next = e->block + e->count;
		if (i > 0) {
			const struct udf_extent *before = e - 1;

			/* Neighbours that continue are one. */
			assert_false(before->type == e->type &&
				     (e->type == UDF_EXTENT_HOLE ||
				      before->lbn + before->count == e->lbn));
		}
	}
	for (uint64_t b = 0; b < model->end; b++) {
		struct udf_extent found = { .count = 0 };

		udf_extent_map_find(map, b, &found);
		assert_int_equal(found.block, b);
		assert_int_equal(found.lbn, model->lbn[b]);
		recorded += model->lbn[b] != 0;
	}
	assert_int_equal(udf_extent_map_recorded(map), recorded);
}

static void count_released(void *private_data, uint32_t lbn, uint64_t count)
{
	struct model *model = private_data;

	(void)lbn;
	model->released += count;
}

static void test_random(void **state)
{
	struct udf_extent_map map = { .count = 0 };
	struct model model = { .end = 0 };

	(void)state;
	srandom(1);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		uint64_t block = (uint64_t)random() % (model.end + 1);
		uint64_t count = 1 + (uint64_t)random() % 20;
		uint32_t lbn = random() % 3 == 0 ? 0 : 1 + random() % 1000;
		struct udf_extent e = extent(block, count, lbn);

		if (random() % 10 == 0) {
			uint64_t expected = 0;

			for (uint64_t b = block; b < model.end; b++) {
				expected += model.lbn[b] != 0;
			}
			model.released = 0;
			udf_extent_map_cut(&map, block, count_released,
					   &model);
			assert_int_equal(model.released, expected);
			model.end = block;
		} else if (block + count <= MODEL_BLOCKS) {
			assert_int_equal(udf_extent_map_set(&map, &e), 0);
			for (uint64_t b = 0; b < count; b++) {
				model.lbn[block + b] =
					lbn == 0 ? 0 : lbn + (uint32_t)b;
			}
			if (block + count > model.end) {
				model.end = block + count;
			}
		}
		check_map(&map, &model);
	}
	udf_extent_map_free(&map);
}

static void test_borders(void **state)
{
	struct udf_extent_map map = { .count = 0 };
	struct udf_extent e = extent(1, 1, 7);
	struct udf_extent found = { .count = 0 };

	(void)state;
	/* Not behind the end. */
	assert_int_equal(udf_extent_map_set(&map, &e), -EINVAL);
	udf_extent_map_find(&map, 5, &found);
	assert_int_equal(found.type, UDF_EXTENT_HOLE);
	assert_int_equal(found.block, 5);
	e = extent(0, 0, 7);
	assert_int_equal(udf_extent_map_set(&map, &e), 0);
	assert_int_equal(map.count, 0);
	/* A hole longer than a block number of the partition. */
	e = extent(0, 1ULL << 40, 0);
	assert_int_equal(udf_extent_map_set(&map, &e), 0);
	e = extent(1ULL << 39, 1, 9);
	assert_int_equal(udf_extent_map_set(&map, &e), 0);
	assert_int_equal(map.count, 3);
	assert_int_equal(udf_extent_map_end(&map), 1ULL << 40);
	udf_extent_map_free(&map);
}

static void test_symlinks(void **state)
{
	static const struct {
		const char *target;
		const char *back;
	} cases[] = {
		{ "a", "a" },
		{ "/", "/" },
		{ "/usr/bin", "/usr/bin" },
		{ "../a/./b", "../a/./b" },
		{ "a//b/", "a/b" },
		{ "...", "..." },
		{ "\xc3\xa4/\xe4\xb8\xad", "\xc3\xa4/\xe4\xb8\xad" },
	};
	uint8_t path[512];
	char back[512];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int len = udf_symlink_encode(cases[i].target, path,
					     sizeof(path));

		assert_true(len > 0);
		assert_int_equal(udf_symlink_decode(path, (size_t)len, back,
						    sizeof(back)),
				 strlen(cases[i].back));
		assert_string_equal(back, cases[i].back);
		/* Neither fits a byte less. */
		assert_int_equal(udf_symlink_decode(path, (size_t)len, back,
						    strlen(cases[i].back)),
				 -ENAMETOOLONG);
		assert_int_equal(udf_symlink_encode(cases[i].target, path,
						    (size_t)len - 1),
				 -ENAMETOOLONG);
	}
	assert_int_equal(udf_symlink_encode("", path, sizeof(path)), -ENOENT);
	assert_int_equal(udf_symlink_encode("\xff", path, sizeof(path)),
			 -EILSEQ);
}

static void test_bad_symlinks(void **state)
{
	/* Type, length of the name, version; then the name. */
	static const uint8_t too_long[] = { 5, 4, 0, 0, 8, 'a' };
	static const uint8_t unknown[] = { 9, 0, 0, 0 };
	static const uint8_t slash[] = { 5, 4, 0, 0, 8, 'a', '/', 'b' };
	static const uint8_t empty[] = { 5, 0, 0, 0 };
	char target[64];

	(void)state;
	assert_int_equal(udf_symlink_decode(too_long, sizeof(too_long), target,
					    sizeof(target)),
			 -EUCLEAN);
	assert_int_equal(udf_symlink_decode(unknown, sizeof(unknown), target,
					    sizeof(target)),
			 -EUCLEAN);
	assert_int_equal(udf_symlink_decode(slash, sizeof(slash), target,
					    sizeof(target)),
			 -EUCLEAN);
	assert_int_equal(udf_symlink_decode(empty, sizeof(empty), target,
					    sizeof(target)),
			 -EUCLEAN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_borders),
		cmocka_unit_test(test_symlinks),
		cmocka_unit_test(test_bad_symlinks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
