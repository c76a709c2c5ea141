/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The buffers of the four control codes: every length, hostile input, exact
 * bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fsctl_udf.h"
#include "vfs_module/fsctl_codec.h"

#define CANARY 0xA5

static void test_pull_defect(void **state)
{
	unsigned v = 0;
	bool disable = false;

	assert_int_equal(fsctl_codec_pull_defect(NULL, 0, &disable),
			 FSCTL_CODEC_SHORT);
	for (v = 0; v < 256; v++) {
		uint8_t in = (uint8_t)v;

		assert_int_equal(fsctl_codec_pull_defect(&in, 1, &disable),
				 FSCTL_CODEC_OK);
		assert_int_equal(disable, v != 0);
	}
}

/* What follows the byte is ignored. */
static void test_pull_defect_long(void **state)
{
	uint8_t in[64] = { 0 };
	bool disable = true;

	memset(in + 1, 0xFF, sizeof(in) - 1);
	assert_int_equal(fsctl_codec_pull_defect(in, sizeof(in), &disable),
			 FSCTL_CODEC_OK);
	assert_false(disable);
}

static enum fsctl_codec_result pull_purge(uint32_t flags,
					  size_t len,
					  enum fsctl_purge_action *action)
{
	/* From the heap, so that a sanitizer sees a byte too many. */
	uint8_t *in = malloc(len + 1);
	enum fsctl_codec_result result;
	size_t i = 0;

	assert_non_null(in);
	for (i = 0; i < len; i++) {
		in[i] = (i < 4) ? (uint8_t)(flags >> (8 * i)) : 0xFF;
	}
	result = fsctl_codec_pull_purge(in, len, action);
	free(in);
	return result;
}

static void test_pull_purge_lengths(void **state)
{
	enum fsctl_purge_action action = FSCTL_PURGE_DISABLE;
	size_t len = 0;

	assert_int_equal(fsctl_codec_pull_purge(NULL, 0, &action),
			 FSCTL_CODEC_SHORT);
	for (len = 0; len < 64; len++) {
		assert_int_equal(pull_purge(1, len, &action),
				 len < 4 ? FSCTL_CODEC_SHORT : FSCTL_CODEC_OK);
	}
	assert_int_equal(action, FSCTL_PURGE_ENABLE);
}

static void test_pull_purge_values(void **state)
{
	enum fsctl_purge_action action = FSCTL_PURGE_ENABLE;
	uint32_t bad[] = { 0, 3, 4, 5, 6, 7, 0x100, 0x01000000, 0x80000001,
			   0x80000002, 0xFFFFFFFF };
	size_t i = 0;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(pull_purge(bad[i], 4, &action),
				 FSCTL_CODEC_VALUE);
	}
	assert_int_equal(pull_purge(2, 4, &action), FSCTL_CODEC_OK);
	assert_int_equal(action, FSCTL_PURGE_DISABLE);
	assert_int_equal(pull_purge(1, 4, &action), FSCTL_CODEC_OK);
	assert_int_equal(action, FSCTL_PURGE_ENABLE);
}

static void test_push_sparing(void **state)
{
	const struct fsctl_sparing_info info = {
		.unit_bytes = 0x00010203,
		.software_sparing = true,
		.total_blocks = 0x04050607,
		.free_blocks = 0xFFFFFFFE,
	};
	const uint8_t expected[UDF_QUERY_SPARING_LEN] = {
		0x03, 0x02, 0x01, 0x00, 1,    0,    0,    0,
		0x07, 0x06, 0x05, 0x04, 0xFE, 0xFF, 0xFF, 0xFF,
	};
	uint8_t out[UDF_QUERY_SPARING_LEN + 1];
	size_t len = 0;

	for (len = 0; len < UDF_QUERY_SPARING_LEN; len++) {
		memset(out, CANARY, sizeof(out));
		assert_int_equal(fsctl_codec_push_sparing(&info, out, len),
				 FSCTL_CODEC_SHORT);
		assert_int_equal(out[0], CANARY);
	}
	assert_int_equal(fsctl_codec_push_sparing(&info, out, sizeof(out)),
			 FSCTL_CODEC_OK);
	assert_memory_equal(out, expected, sizeof(expected));
	assert_int_equal(out[UDF_QUERY_SPARING_LEN], CANARY);
}

static void push_volume(const struct fsctl_volume_info *info, uint8_t *out)
{
	memset(out, CANARY, UDF_QUERY_ON_DISK_VOLUME_INFO_LEN);
	assert_int_equal(fsctl_codec_push_volume_info(
				 info, out, UDF_QUERY_ON_DISK_VOLUME_INFO_LEN),
			 FSCTL_CODEC_OK);
}

static uint16_t unit(const uint8_t *field, size_t i)
{
	return (uint16_t)(field[2 * i] | field[2 * i + 1] << 8);
}

static uint64_t u64(const uint8_t *p)
{
	uint64_t v = 0;
	int i = 0;

	for (i = 7; i >= 0; i--) {
		v = v << 8 | p[i];
	}
	return v;
}

static void test_push_volume_lengths(void **state)
{
	struct fsctl_volume_info info = { .directory_count = -1 };
	uint8_t out[UDF_QUERY_ON_DISK_VOLUME_INFO_LEN];
	size_t len = 0;

	for (len = 0; len < sizeof(out); len++) {
		out[0] = CANARY;
		assert_int_equal(fsctl_codec_push_volume_info(&info, out, len),
				 FSCTL_CODEC_SHORT);
		assert_int_equal(out[0], CANARY);
	}
	push_volume(&info, out);
}

static void test_push_volume_fields(void **state)
{
	struct fsctl_volume_info info = {
		.directory_count = -1,
		.file_count = 0x0102030405060708,
		.udf_revision = 0x0250,
		.format_time = { .sec = 0, .nsec = 0 },
		.update_time = { .sec = 1, .nsec = 999999999 },
		.copyright = "c",
		.abstract = NULL,
		.formatter = "*Linux mkudffs",
		.modifier = "",
	};
	uint8_t out[UDF_QUERY_ON_DISK_VOLUME_INFO_LEN];

	push_volume(&info, out);
	assert_true(u64(out) == UINT64_MAX);
	assert_true(u64(out + 8) == 0x0102030405060708);
	assert_int_equal(unit(out + 16, 0), 2);
	assert_int_equal(unit(out + 18, 0), 50);
	assert_memory_equal(out + 20, "U\0D\0F\0\0\0", 8);
	assert_memory_equal(out + 44, "\0\0\0\0", 4);
	assert_true(u64(out + 48) == UINT64_C(116444736000000000));
	assert_true(u64(out + 56) == UINT64_C(116444736019999999));
	assert_int_equal(unit(out + 64, 0), 'c');
	assert_int_equal(unit(out + 64, 1), 0);
	assert_int_equal(unit(out + 132, 0), 0);
	assert_int_equal(unit(out + 200, 0), '*');
	assert_int_equal(unit(out + 268, 0), 0);
}

static void test_push_volume_times(void **state)
{
	struct fsctl_volume_info info = {
		.format_time = { .sec = INT64_MIN },
		.update_time = { .sec = INT64_MAX, .nsec = UINT32_MAX },
	};
	uint8_t out[UDF_QUERY_ON_DISK_VOLUME_INFO_LEN];

	push_volume(&info, out);
	assert_true(u64(out + 48) == 0);
	assert_true(u64(out + 56) == INT64_MAX);

	info.format_time.sec = -INT64_C(11644473600);
	push_volume(&info, out);
	assert_true(u64(out + 48) == 0);
	info.format_time.sec += 1;
	info.format_time.nsec = UINT32_MAX;
	push_volume(&info, out);
	assert_true(u64(out + 48) == 19999999);
}

/* The text becomes these UTF-16 units, the rest of the field is zero. */
static void check_text(const char *text, const uint16_t *units, size_t count)
{
	struct fsctl_volume_info info = { .modifier = text };
	uint8_t out[UDF_QUERY_ON_DISK_VOLUME_INFO_LEN];
	size_t i = 0;

	push_volume(&info, out);
	for (i = 0; i < UDF_VOLINFO_TEXT_CHARS; i++) {
		assert_int_equal(unit(out + UDF_VOLINFO_MODIFIER_OFS, i),
				 i < count ? units[i] : 0);
	}
}

#define CHECK_TEXT(text, ...)                                                  \
	do {                                                                   \
		const uint16_t units[] = { __VA_ARGS__ };                      \
		check_text(text, units, sizeof(units) / sizeof(units[0]));     \
	} while (0)

static void test_utf8(void **state)
{
	CHECK_TEXT("\xC3\xAB", 0x00EB);
	CHECK_TEXT("\xE2\x82\xAC", 0x20AC);
	CHECK_TEXT("\xF0\x9F\x93\x80", 0xD83D, 0xDCC0);
	CHECK_TEXT("\xF4\x8F\xBF\xBF", 0xDBFF, 0xDFFF);
}

/* One U+FFFD for each byte that is no part of a character. */
static void test_bad_utf8(void **state)
{
	CHECK_TEXT("\xC0\x80", 0xFFFD, 0xFFFD);		 /* overlong */
	CHECK_TEXT("\xE0\x80\x80", 0xFFFD, 0xFFFD, 0xFFFD);
	CHECK_TEXT("\xED\xA0\x80", 0xFFFD, 0xFFFD, 0xFFFD); /* surrogate */
	CHECK_TEXT("\xF4\x90\x80\x80", 0xFFFD, 0xFFFD, 0xFFFD, 0xFFFD);
	CHECK_TEXT("\xFF" "a", 0xFFFD, 'a');
	CHECK_TEXT("\x80", 0xFFFD);
	CHECK_TEXT("\xE2\x82", 0xFFFD, 0xFFFD); /* cut off by the end */
	CHECK_TEXT("\xF0", 0xFFFD);
}

/* A text that fills the field is cut, never within a character. */
static void test_long_text(void **state)
{
	char text[4 * UDF_VOLINFO_TEXT_CHARS + 5];
	uint16_t units[UDF_VOLINFO_TEXT_CHARS];
	size_t i = 0;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	for (i = 0; i < UDF_VOLINFO_TEXT_CHARS; i++) {
		units[i] = 'x';
	}
	check_text(text, units, UDF_VOLINFO_TEXT_CHARS - 1);

	/* 32 units, then a character of two that would be the 33rd and 34th. */
	memcpy(text + UDF_VOLINFO_TEXT_CHARS - 2, "\xF0\x9F\x93\x80", 5);
	check_text(text, units, UDF_VOLINFO_TEXT_CHARS - 2);
}

/* Any bytes as a text: nothing is written beyond the field. */
static void test_random_text(void **state)
{
	char text[200];
	unsigned seed = 1;
	int round = 0;
	size_t i = 0;

	for (round = 0; round < 5000; round++) {
		struct fsctl_volume_info info = { .abstract = text };
		uint8_t out[UDF_QUERY_ON_DISK_VOLUME_INFO_LEN];

		for (i = 0; i < sizeof(text) - 1; i++) {
			seed = seed * 1103515245u + 12345u;
			text[i] = (char)(seed >> 16);
		}
		text[(seed >> 8) % sizeof(text)] = '\0';
		text[sizeof(text) - 1] = '\0';
		push_volume(&info, out);
		assert_int_equal(unit(out + UDF_VOLINFO_ABSTRACT_OFS,
				      UDF_VOLINFO_TEXT_CHARS - 1), 0);
		for (i = UDF_VOLINFO_FORMATTER_OFS; i < sizeof(out); i++) {
			assert_int_equal(out[i], 0);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pull_defect),
		cmocka_unit_test(test_pull_defect_long),
		cmocka_unit_test(test_pull_purge_lengths),
		cmocka_unit_test(test_pull_purge_values),
		cmocka_unit_test(test_push_sparing),
		cmocka_unit_test(test_push_volume_lengths),
		cmocka_unit_test(test_push_volume_fields),
		cmocka_unit_test(test_push_volume_times),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_bad_utf8),
		cmocka_unit_test(test_long_text),
		cmocka_unit_test(test_random_text),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
