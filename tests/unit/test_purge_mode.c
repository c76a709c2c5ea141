/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The purge-failure counter's state machine: sums, limits, replays.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "vfs_module/purge_mode.h"

#define ENABLE PURGE_MODE_ENABLE
#define DISABLE PURGE_MODE_DISABLE

static enum purge_mode_result apply(struct purge_mode_open *open,
				    uint64_t others,
				    enum purge_mode_action action)
{
	struct purge_mode_request request = { .action = action };

	return purge_mode_apply(open, others, &request);
}

static enum purge_mode_result replay(struct purge_mode_open *open,
				     enum purge_mode_action action,
				     uint16_t channel_sequence)
{
	struct purge_mode_request request = {
		.action = action,
		.replay = true,
		.channel_sequence = channel_sequence,
	};

	return purge_mode_apply(open, 0, &request);
}

static void test_pairs(void **state)
{
	struct purge_mode_open open = { .count = 0 };

	assert_int_equal(apply(&open, 0, ENABLE), PURGE_MODE_COUNTED);
	assert_int_equal(apply(&open, 0, ENABLE), PURGE_MODE_COUNTED);
	assert_int_equal(open.count, 2);
	assert_int_equal(apply(&open, 0, DISABLE), PURGE_MODE_COUNTED);
	assert_int_equal(apply(&open, 0, DISABLE), PURGE_MODE_COUNTED);
	assert_int_equal(open.count, 0);
	assert_int_equal(apply(&open, 0, DISABLE), PURGE_MODE_UNDERFLOW);
	assert_int_equal(open.count, 0);
}

/* An open takes back only its own, whatever the others hold. */
static void test_only_its_own(void **state)
{
	struct purge_mode_open open = { .count = 0 };

	assert_int_equal(apply(&open, 5, DISABLE), PURGE_MODE_UNDERFLOW);
	assert_int_equal(open.last_action, PURGE_MODE_NONE);
	assert_int_equal(open.count, 0);
}

static void test_limit_of_one_open(void **state)
{
	struct purge_mode_open open = { .count = UINT32_MAX - 1 };

	assert_int_equal(apply(&open, 0, ENABLE), PURGE_MODE_COUNTED);
	assert_int_equal(open.count, UINT32_MAX);
	assert_int_equal(apply(&open, 0, ENABLE), PURGE_MODE_OVERFLOW);
	assert_int_equal(open.count, UINT32_MAX);
	assert_int_equal(apply(&open, 0, DISABLE), PURGE_MODE_COUNTED);
	assert_int_equal(apply(&open, 0, ENABLE), PURGE_MODE_COUNTED);
}

static void test_limit_of_the_sum(void **state)
{
	struct purge_mode_open open = { .count = 0 };
	const uint64_t max = UINT32_MAX;

	assert_int_equal(apply(&open, max - 1, ENABLE), PURGE_MODE_COUNTED);
	assert_int_equal(apply(&open, max - 1, ENABLE), PURGE_MODE_OVERFLOW);
	assert_int_equal(open.count, 1);
	/* A sum that cannot be, from a damaged record. */
	assert_int_equal(apply(&open, max, ENABLE), PURGE_MODE_OVERFLOW);
	assert_int_equal(apply(&open, UINT64_MAX, ENABLE),
			 PURGE_MODE_OVERFLOW);
	assert_int_equal(open.count, 1);
}

static void test_replay_counts_once(void **state)
{
	struct purge_mode_open open = { .count = 0 };

	assert_int_equal(apply(&open, 0, ENABLE), PURGE_MODE_COUNTED);
	assert_int_equal(replay(&open, ENABLE, 1), PURGE_MODE_REPLAYED);
	assert_int_equal(open.count, 1);
	/* Its answer may be lost again. */
	assert_int_equal(replay(&open, ENABLE, 2), PURGE_MODE_REPLAYED);
	assert_int_equal(open.count, 1);
	/* The last DISABLED leaves nothing to take back: not an error. */
	assert_int_equal(apply(&open, 0, DISABLE), PURGE_MODE_COUNTED);
	assert_int_equal(replay(&open, DISABLE, 3), PURGE_MODE_REPLAYED);
	assert_int_equal(open.count, 0);
}

/* Without a newer channel sequence it is a new request. */
static void test_replay_of_the_same_sequence(void **state)
{
	struct purge_mode_open open = { .count = 0 };

	assert_int_equal(replay(&open, ENABLE, 7), PURGE_MODE_COUNTED);
	assert_int_equal(replay(&open, ENABLE, 7), PURGE_MODE_COUNTED);
	assert_int_equal(replay(&open, ENABLE, 6), PURGE_MODE_COUNTED);
	assert_int_equal(open.count, 3);
}

static void test_replay_of_another_action(void **state)
{
	struct purge_mode_open open = { .count = 0 };

	assert_int_equal(apply(&open, 0, ENABLE), PURGE_MODE_COUNTED);
	assert_int_equal(replay(&open, DISABLE, 1), PURGE_MODE_COUNTED);
	assert_int_equal(open.count, 0);
}

/* The server never saw the first: the replay is the first. */
static void test_replay_of_an_unseen_request(void **state)
{
	struct purge_mode_open open = { .count = 0 };

	assert_int_equal(replay(&open, ENABLE, 1), PURGE_MODE_COUNTED);
	assert_int_equal(open.count, 1);
}

static void test_settled_is_no_replay(void **state)
{
	struct purge_mode_open open = { .count = 0 };

	assert_false(purge_mode_settle(&open));
	assert_int_equal(apply(&open, 0, ENABLE), PURGE_MODE_COUNTED);
	assert_true(purge_mode_settle(&open));
	assert_false(purge_mode_settle(&open));
	assert_int_equal(replay(&open, ENABLE, 1), PURGE_MODE_COUNTED);
	assert_int_equal(open.count, 2);
	assert_false(open.settled);
}

/* 16 bits go round: 1 is newer than 0xFFFF, 0x8001 is not newer than 1. */
static void test_sequence_wraps(void **state)
{
	struct purge_mode_open open = {
		.count = 1,
		.last_action = ENABLE,
		.last_channel_sequence = 0xFFFF,
	};

	assert_int_equal(replay(&open, ENABLE, 1), PURGE_MODE_REPLAYED);
	open.last_channel_sequence = 1;
	assert_int_equal(replay(&open, ENABLE, 0x8000), PURGE_MODE_REPLAYED);
	assert_int_equal(replay(&open, ENABLE, 0x8001), PURGE_MODE_COUNTED);
}

/* A refused request leaves the memory of the last counted one alone. */
static void test_refusal_changes_nothing(void **state)
{
	struct purge_mode_open open = { .count = 0 };
	struct purge_mode_open before;

	assert_int_equal(apply(&open, 0, ENABLE), PURGE_MODE_COUNTED);
	before = open;
	assert_int_equal(apply(&open, UINT32_MAX, ENABLE),
			 PURGE_MODE_OVERFLOW);
	assert_memory_equal(&open, &before, sizeof(open));
	assert_int_equal(replay(&open, ENABLE, 1), PURGE_MODE_REPLAYED);
	assert_memory_equal(&open, &before, sizeof(open));
}

/* Any sequence of requests of several opens, against plain arithmetic. */
static void test_against_a_ledger(void **state)
{
	enum { OPENS = 4, STEPS = 20000, LIMIT = 3 };
	struct purge_mode_open opens[OPENS] = { { .count = 0 } };
	uint32_t ledger[OPENS] = { 0 };
	unsigned seed = 20120808;
	int step = 0;

	for (step = 0; step < STEPS; step++) {
		int who = 0;
		int i = 0;
		enum purge_mode_action action = ENABLE;
		enum purge_mode_result expected = PURGE_MODE_COUNTED;
		uint64_t others = 0;

		seed = seed * 1103515245u + 12345u;
		who = (seed >> 16) % OPENS;
		action = ((seed >> 24) & 1) ? ENABLE : DISABLE;
		/* As if the rest of the file were near the limit. */
		others = (uint64_t)UINT32_MAX - LIMIT;
		for (i = 0; i < OPENS; i++) {
			others += (i == who) ? 0 : ledger[i];
		}

		if (action == ENABLE && others + ledger[who] >= UINT32_MAX) {
			expected = PURGE_MODE_OVERFLOW;
		} else if (action == DISABLE && ledger[who] == 0) {
			expected = PURGE_MODE_UNDERFLOW;
		} else {
			ledger[who] += (action == ENABLE) ? 1 : -1;
		}
		assert_int_equal(apply(&opens[who], others, action), expected);
		assert_int_equal(opens[who].count, ledger[who]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_only_its_own),
		cmocka_unit_test(test_limit_of_one_open),
		cmocka_unit_test(test_limit_of_the_sum),
		cmocka_unit_test(test_replay_counts_once),
		cmocka_unit_test(test_replay_of_the_same_sequence),
		cmocka_unit_test(test_replay_of_another_action),
		cmocka_unit_test(test_replay_of_an_unseen_request),
		cmocka_unit_test(test_settled_is_no_replay),
		cmocka_unit_test(test_sequence_wraps),
		cmocka_unit_test(test_refusal_changes_nothing),
		cmocka_unit_test(test_against_a_ledger),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
