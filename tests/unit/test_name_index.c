/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The index of a directory's names: what is added is found until it is
 * removed, and names that somebody chose cannot collide all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "udf_store/name_index.h"

#define NAMES 5000u

/*
 * In each pair, one or the other leaves FNV-1a with 32 bits where it was, if
 * what is before it are such pairs: so do all names of one of each pair.
 */
#define PAIRS 6u
static const char *const pairs[PAIRS][2] = {
	{ "puxal", "byvw6" },
	{ "cgf5i", "dof7x" },
	{ "32kdm", "e3ou7" },
	{ "zrrcx", "0zix4" },
	{ "9mmgd", "lpo1z" },
	{ "seg6e", "pma6t" },
};

static uint32_t hash_of_choice(unsigned int choice)
{
	char name[PAIRS * 5 + 1] = { 0 };
	unsigned int i = 0;

	for (i = 0; i < PAIRS; i++) {
		strcat(name, pairs[i][(choice >> i) & 1]);
	}
	return udf_name_hash(name);
}

static void test_chosen_names(void **state)
{
	unsigned int collisions = 0;
	unsigned int i = 0;
	unsigned int k = 0;

	(void)state;
	for (i = 0; i < 1u << PAIRS; i++) {
		for (k = 0; k < i; k++) {
			if (hash_of_choice(i) == hash_of_choice(k)) {
				collisions++;
			}
		}
	}
	/* One can be chance, once in 30,000 runs. */
	assert_true(collisions <= 1);
}

static uint32_t hash_of_number(unsigned int number)
{
	char name[32] = { 0 };

	snprintf(name, sizeof(name), "name %u", number);
	return udf_name_hash(name);
}

static bool has(const struct udf_name_index *index, unsigned int number)
{
	const struct udf_name_entry *e = NULL;
	uint32_t position = UDF_NO_ENTRY;

	do {
		e = udf_name_index_next(index, hash_of_number(number),
					&position);
	} while (e != NULL && e->offset != number);
	return e != NULL;
}

static void test_add_and_remove(void **state)
{
	struct udf_name_index index = { .live = 0 };
	unsigned int i = 0;

	(void)state;
	assert_int_equal(udf_name_index_init(&index), 0);
	for (i = 0; i < NAMES; i++) {
		assert_false(has(&index, i));
		assert_int_equal(udf_name_index_reserve(&index), 0);
		udf_name_index_add(&index, hash_of_number(i), i, false);
		assert_true(has(&index, i));
	}
	for (i = 0; i < NAMES; i += 2) {
		udf_name_index_remove(&index, hash_of_number(i), i);
	}
	assert_int_equal(index.live, NAMES / 2);
	for (i = 0; i < NAMES; i++) {
		assert_int_equal(has(&index, i), i % 2);
	}
	udf_name_index_free(&index);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chosen_names),
		cmocka_unit_test(test_add_and_remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
