/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Arrays that grow by doubling.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "udf_store/array.h"

#define ITEMS 10000u

static void test_grows(void **state)
{
	uint32_t *array = NULL;
	size_t capacity = 0;
	unsigned int moves = 0;
	uint32_t i = 0;

	(void)state;
	for (i = 0; i < ITEMS; i++) {
		size_t before = capacity;

		array = udf_array_grow(array, i, &capacity, sizeof(*array));
		assert_non_null(array);
		assert_true(capacity > i);
		moves += capacity != before;
		array[i] = i;
	}
	for (i = 0; i < ITEMS; i++) {
		assert_int_equal(array[i], i);
	}
	assert_true(moves < 20);
	free(array);
}

static void test_has_room(void **state)
{
	size_t capacity = 4;
	char *array = malloc(capacity);

	(void)state;
	assert_non_null(array);
	assert_ptr_equal(udf_array_grow(array, 3, &capacity, 1), array);
	assert_int_equal(capacity, 4);
	free(array);
}

/* What no size_t can say is no memory, and nothing is changed. */
static void test_overflow(void **state)
{
	const size_t sizes[] = { SIZE_MAX, SIZE_MAX / 2 + 1, SIZE_MAX / 16 + 1 };
	size_t i = 0;

	(void)state;
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t capacity = sizes[i];
		uint64_t item = 7;

		assert_null(udf_array_grow(&item, capacity, &capacity,
					   sizeof(item)));
		assert_int_equal(capacity, sizes[i]);
		assert_int_equal(item, 7);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grows),
		cmocka_unit_test(test_has_room),
		cmocka_unit_test(test_overflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
