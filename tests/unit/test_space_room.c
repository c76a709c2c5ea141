/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Room to grow: whom it keeps away, and who gets it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "udf_store/space_room.h"

#define NO_GOAL 0u

static void check_avoid(const struct udf_space_rooms *rooms, uint32_t goal,
			struct udf_space_run run, uint32_t first,
			uint32_t count)
{
	udf_space_rooms_avoid(rooms, goal, &run);
	assert_int_equal(run.count, count);
	assert_int_equal(run.first, first);
}

static void test_none(void **state)
{
	struct udf_space_rooms rooms = { .used = 0 };

	(void)state;
	check_avoid(&rooms, NO_GOAL, (struct udf_space_run){ 10, 5 }, 10, 5);
}

static void test_avoided(void **state)
{
	struct udf_space_rooms rooms = { .used = 0 };

	(void)state;
	udf_space_rooms_add(&rooms, 100, 50);
	/* Before, up to it, in it, from within it, over it, behind it. */
	check_avoid(&rooms, NO_GOAL, (struct udf_space_run){ 90, 10 }, 90, 10);
	check_avoid(&rooms, NO_GOAL, (struct udf_space_run){ 90, 20 }, 90, 10);
	check_avoid(&rooms, NO_GOAL, (struct udf_space_run){ 110, 5 }, 150, 0);
	check_avoid(&rooms, NO_GOAL, (struct udf_space_run){ 100, 50 }, 150, 0);
	check_avoid(&rooms, NO_GOAL, (struct udf_space_run){ 140, 20 }, 150,
		    10);
	check_avoid(&rooms, NO_GOAL, (struct udf_space_run){ 90, 100 }, 90, 10);
	check_avoid(&rooms, NO_GOAL, (struct udf_space_run){ 150, 9 }, 150, 9);
}

static void test_neighbours(void **state)
{
	struct udf_space_rooms rooms = { .used = 0 };

	(void)state;
	udf_space_rooms_add(&rooms, 150, 50);
	udf_space_rooms_add(&rooms, 100, 50);
	/* Who looks goes on behind the first. */
	check_avoid(&rooms, NO_GOAL, (struct udf_space_run){ 110, 100 }, 150,
		    0);
	check_avoid(&rooms, NO_GOAL, (struct udf_space_run){ 150, 60 }, 200,
		    10);
}

static void test_owner(void **state)
{
	struct udf_space_rooms rooms = { .used = 0 };

	(void)state;
	udf_space_rooms_add(&rooms, 100, 50);
	check_avoid(&rooms, 100, (struct udf_space_run){ 100, 20 }, 100, 20);
	udf_space_rooms_take(&rooms, 100, 20);
	/* What is left is still the owner's alone. */
	check_avoid(&rooms, 100, (struct udf_space_run){ 120, 10 }, 150, 0);
	check_avoid(&rooms, 120, (struct udf_space_run){ 120, 10 }, 120, 10);
	udf_space_rooms_take(&rooms, 120, 30);
	check_avoid(&rooms, NO_GOAL, (struct udf_space_run){ 100, 90 }, 100,
		    90);
}

static void test_cut(void **state)
{
	struct udf_space_rooms rooms = { .used = 0 };

	(void)state;
	udf_space_rooms_add(&rooms, 100, 50);
	udf_space_rooms_take(&rooms, 130, 1);
	check_avoid(&rooms, NO_GOAL, (struct udf_space_run){ 131, 9 }, 131, 9);
	check_avoid(&rooms, NO_GOAL, (struct udf_space_run){ 101, 9 }, 130, 0);
}

static void test_too_many(void **state)
{
	struct udf_space_rooms rooms = { .used = 0 };
	uint32_t i = 0;

	(void)state;
	for (i = 0; i < 2 * UDF_SPACE_ROOMS + 1; i++) {
		udf_space_rooms_add(&rooms, 1000 + 10 * i, 5);
	}
	assert_int_equal(rooms.used, UDF_SPACE_ROOMS);
	/* The last is there, the first is not. */
	check_avoid(&rooms, NO_GOAL,
		    (struct udf_space_run){ 1000 + 10 * (i - 1), 3 },
		    1005 + 10 * (i - 1), 0);
	check_avoid(&rooms, NO_GOAL, (struct udf_space_run){ 1000, 3 }, 1000,
		    3);
	/* One that begins where there is one takes its place. */
	udf_space_rooms_add(&rooms, 1000 + 10 * (i - 1), 1);
	check_avoid(&rooms, NO_GOAL,
		    (struct udf_space_run){ 1001 + 10 * (i - 1), 3 },
		    1001 + 10 * (i - 1), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_avoided),
		cmocka_unit_test(test_neighbours),
		cmocka_unit_test(test_owner),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
