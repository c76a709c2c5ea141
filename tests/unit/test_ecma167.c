/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Decoding and encoding of ECMA-167 structures: round trips, known vectors,
 * hostile lengths, and every structure cut at every length.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "udf_store/bytes.h"
#include "udf_store/ecma167.h"

#define BLOCK 2048u

static void test_crc(void **state)
{
	/* CRC-16/XMODEM's check value; UDF 6.5 has 70 6A 77 -> 3299. */
	const uint8_t spec[] = {0x70, 0x6A, 0x77};
	uint16_t crc = 0;

	(void)state;
	assert_int_equal(udf_crc16(0, (const uint8_t *)"123456789", 9),
			 0x31C3);
	assert_int_equal(udf_crc16(0, spec, 3), 0x3299);
	assert_int_equal(udf_crc16(0, spec, 0), 0);
	/* It can be taken piece by piece. */
	crc = udf_crc16(0, spec, 1);
	assert_int_equal(udf_crc16(crc, spec + 1, 2), 0x3299);
}

static void test_tag(void **state)
{
	const struct udf_tag tag = {
		.id = UDF_TAG_FSD,
		.version = 3,
		.serial = 9,
		.location = 0x12345678,
	};
	struct udf_tag found = {0};
	uint8_t buf[64];
	size_t i = 0;

	(void)state;
	for (i = 0; i < sizeof(buf); i++) {
		buf[i] = (uint8_t)i;
	}
	assert_int_equal(encode_tag(&tag, buf, sizeof(buf), 49), -EOVERFLOW);
	assert_int_equal(encode_tag(&tag, buf, 15, 0), -EOVERFLOW);
	assert_int_equal(encode_tag(&tag, buf, sizeof(buf), 48), 0);
	assert_int_equal(check_tag(buf, sizeof(buf), UDF_TAG_FSD, 0x12345678,
				   &found),
			 0);
	assert_int_equal(found.version, 3);
	assert_int_equal(found.serial, 9);
	assert_int_equal(found.crc_length, 48);
	assert_int_equal(found.location, 0x12345678);
	assert_int_equal(check_tag(buf, sizeof(buf), UDF_TAG_FSD,
				   UDF_ANY_LOCATION, NULL),
			 0);
	assert_int_equal(check_tag(buf, sizeof(buf), UDF_TAG_FID,
				   UDF_ANY_LOCATION, NULL),
			 -EUCLEAN);
	assert_int_equal(check_tag(buf, sizeof(buf), UDF_TAG_FSD, 1, NULL),
			 -EUCLEAN);
	/* Each bit counts, of the tag and of what its CRC covers. */
	for (i = 0; i < sizeof(buf) * 8; i++) {
		buf[i / 8] ^= (uint8_t)(1 << i % 8);
		assert_int_equal(check_tag(buf, sizeof(buf), UDF_TAG_FSD,
					   0x12345678, NULL),
				 -EUCLEAN);
		buf[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	for (i = 0; i < sizeof(buf); i++) {
		assert_int_equal(check_tag(buf, i, UDF_TAG_FSD, 0x12345678,
					   NULL),
				 -EUCLEAN);
	}
}

static void test_ads(void **state)
{
	const struct udf_ad ad = {
		.length = 0x3FFFFFFF,
		.type = UDF_EXTENT_NEXT,
		.addr = {.block = 0xDEADBEEF, .partition = 0xABCD},
		.flags = 0x8001,
		.unique_id = 0x11223344,
		.recorded_length = 5,
		.information_length = 6,
	};
	static const size_t sizes[] = {8, 16, 20};
	struct udf_extent_ad extent = {.length = 1, .location = 2};
	struct udf_ad found = {0};
	uint8_t buf[20];
	size_t form = 0;
	size_t i = 0;

	(void)state;
	for (form = 0; form < 3; form++) {
		enum udf_ad_form f = (enum udf_ad_form)form;
		size_t size = sizes[form];

		memset(buf, 0xFF, sizeof(buf));
		assert_int_equal(udf_ad_size(f), size);
		for (i = 0; i < size; i++) {
			assert_int_equal(encode_ad(&ad, f, buf, i),
					 -EOVERFLOW);
			assert_int_equal(decode_ad(buf, i, f, 1, &found),
					 -EUCLEAN);
		}
		assert_int_equal(encode_ad(&ad, f, buf, size), size);
		assert_int_equal(decode_ad(buf, size, f, 0xABCD, &found),
				 size);
		assert_int_equal(found.length, ad.length);
		assert_int_equal(found.type, UDF_EXTENT_NEXT);
		assert_int_equal(found.addr.block, 0xDEADBEEF);
		assert_int_equal(found.addr.partition, 0xABCD);
		assert_int_equal(found.flags, form == 0 ? 0 : 0x8001);
		assert_int_equal(found.unique_id, form == 1 ? 0x11223344 : 0);
		assert_int_equal(found.recorded_length, form == 2 ? 5 : 0);
		assert_int_equal(found.information_length, form == 2 ? 6 : 0);
	}
	assert_int_equal(decode_ad(buf, 20, UDF_AD_IN_ICB, 0, &found),
			 -EUCLEAN);
	assert_int_equal(decode_ad(buf, 20, (enum udf_ad_form)7, 0, &found),
			 -EUCLEAN);
	encode_extent_ad(&extent, buf);
	extent = (struct udf_extent_ad){0};
	decode_extent_ad(buf, &extent);
	assert_int_equal(extent.length, 1);
	assert_int_equal(extent.location, 2);
}

static void test_strings(void **state)
{
	static const struct {
		const char *utf8;
		size_t cs0_len;
		const uint8_t cs0[16];
	} pairs[] = {
		{"", 0, {0}},
		{"a", 2, {8, 'a'}},
		{"/x", 3, {8, '/', 'x'}},
		{"\xC3\xBF", 2, {8, 0xFF}},		   /* U+00FF */
		{"\xC4\x80", 3, {16, 0x01, 0x00}},	   /* U+0100 */
		{"a\xE2\x82\xAC", 5, {16, 0, 'a', 0x20, 0xAC}}, /* U+20AC */
		/* U+10FFFF and U+1F600: surrogate pairs */
		{"\xF4\x8F\xBF\xBF", 5, {16, 0xDB, 0xFF, 0xDF, 0xFF}},
		{"\xF0\x9F\x98\x80", 5, {16, 0xD8, 0x3D, 0xDE, 0x00}},
		/* a lone high surrogate, and a lone low one */
		{"\xED\xA0\xBD!", 5, {16, 0xD8, 0x3D, 0, '!'}},
		{"\xED\xB8\x80", 3, {16, 0xDE, 0x00}},
	};
	static const struct {
		const char *utf8;
		size_t len;
	} bad[] = {
		{"\x80", 1},	     {"\xC0\xAF", 2},	 {"\xC3", 1},
		{"\xC3(", 2},	     {"\xE0\x80\x80", 3}, {"\xF0\x80\x80\x80", 4},
		{"\xF4\x90\x80\x80", 4}, {"\xFF", 1},	 {"a\0b", 3},
		{"\xEF\xBB\xBF", 3},    {"a\xEF\xBF\xBE", 4},
	};
	char utf8[64];
	uint8_t cs0[64];
	size_t i = 0;

	(void)state;
	for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		size_t len = strlen(pairs[i].utf8);

		assert_int_equal(udf_utf8_to_cs0(pairs[i].utf8, len, cs0,
						 sizeof(cs0)),
				 pairs[i].cs0_len);
		assert_memory_equal(cs0, pairs[i].cs0, pairs[i].cs0_len);
		assert_int_equal(udf_cs0_to_utf8(pairs[i].cs0,
						 pairs[i].cs0_len, utf8,
						 sizeof(utf8)),
				 len);
		assert_string_equal(utf8, pairs[i].utf8);
		/* Exactly enough room, and one byte less. */
		assert_int_equal(udf_cs0_to_utf8(pairs[i].cs0,
						 pairs[i].cs0_len, utf8,
						 len + 1),
				 len);
		assert_int_equal(udf_cs0_to_utf8(pairs[i].cs0,
						 pairs[i].cs0_len, utf8, len),
				 -ENAMETOOLONG);
		if (len > 0) {
			assert_int_equal(udf_utf8_to_cs0(pairs[i].utf8, len,
							 cs0,
							 pairs[i].cs0_len),
					 pairs[i].cs0_len);
			assert_int_equal(udf_utf8_to_cs0(pairs[i].utf8, len,
							 cs0,
							 pairs[i].cs0_len - 1),
					 -ENAMETOOLONG);
		}
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(udf_utf8_to_cs0(bad[i].utf8, bad[i].len, cs0,
						 sizeof(cs0)),
				 -EILSEQ);
	}
	/* Unknown compression, half a character, a NUL inside. */
	assert_int_equal(udf_cs0_to_utf8((const uint8_t *)"\x09x", 2, utf8, 64),
			 -EILSEQ);
	assert_int_equal(udf_cs0_to_utf8((const uint8_t *)"\x10\0a\0", 4, utf8,
					 64),
			 -EILSEQ);
	assert_int_equal(udf_cs0_to_utf8((const uint8_t *)"\x08"
							  "a\0b",
					 4, utf8, 64),
			 -EILSEQ);
	assert_string_equal(utf8, "");
}

static void test_name_limits(void **state)
{
	char utf8[UDF_NAME_UTF8_MAX];
	char back[UDF_NAME_UTF8_MAX];
	uint8_t cs0[UDF_NAME_MAX];
	size_t i = 0;

	(void)state;
	/* 254 characters of 8 bits. */
	memset(utf8, 'n', 255);
	assert_int_equal(udf_utf8_to_cs0(utf8, 254, cs0, sizeof(cs0)), 255);
	assert_int_equal(udf_utf8_to_cs0(utf8, 255, cs0, sizeof(cs0)),
			 -ENAMETOOLONG);
	/* 254 times U+00FF is the longest UTF-8 there can be. */
	for (i = 0; i < 254; i++) {
		memcpy(utf8 + 2 * i, "\xC3\xBF", 2);
	}
	assert_int_equal(udf_utf8_to_cs0(utf8, 508, cs0, sizeof(cs0)), 255);
	assert_int_equal(udf_cs0_to_utf8(cs0, 255, back, sizeof(back)), 508);
	/* 127 characters of 16 bits. */
	for (i = 0; i < 128; i++) {
		memcpy(utf8 + 3 * i, "\xE2\x82\xAC", 3);
	}
	assert_int_equal(udf_utf8_to_cs0(utf8, 127 * 3, cs0, sizeof(cs0)),
			 255);
	assert_int_equal(udf_utf8_to_cs0(utf8, 128 * 3, cs0, sizeof(cs0)),
			 -ENAMETOOLONG);
}

static void test_dstring(void **state)
{
	uint8_t field[32];
	char text[UDF_TEXT_LEN];

	(void)state;
	assert_int_equal(udf_encode_dstring("LinuxUDF", field, 32), 0);
	assert_int_equal(field[31], 9);
	assert_int_equal(udf_decode_dstring(field, 32, text, sizeof(text)), 8);
	assert_string_equal(text, "LinuxUDF");
	assert_int_equal(udf_encode_dstring("", field, 32), 0);
	assert_int_equal(udf_decode_dstring(field, 32, text, sizeof(text)), 0);
	/* 30 characters and the compression ID fill it. */
	assert_int_equal(udf_encode_dstring("123456789012345678901234567890",
					    field, 32),
			 0);
	assert_int_equal(udf_encode_dstring("1234567890123456789012345678901",
					    field, 32),
			 -ENAMETOOLONG);
	/* A length beyond the field. */
	memset(field, 8, sizeof(field));
	field[31] = 32;
	assert_int_equal(udf_decode_dstring(field, 32, text, sizeof(text)),
			 -EILSEQ);
	assert_int_equal(udf_decode_dstring(field, 0, text, sizeof(text)), 0);
}

static void test_timestamp(void **state)
{
	static const struct {
		time_t sec;
		const uint8_t bytes[12];
	} known[] = {
		{0, {0, 0x10, 0xB2, 0x07, 1, 1, 0, 0, 0, 0, 0, 0}},
		/* 2024-02-29T23:59:59Z */
		{1709251199, {0, 0x10, 0xE8, 0x07, 2, 29, 23, 59, 59, 0, 0, 0}},
		/* the same in UTC-5 (-300 minutes, 12 bits) */
		{1709251199,
		 {0xD4, 0x1E, 0xE8, 0x07, 2, 29, 18, 59, 59, 0, 0, 0}},
		/* and in UTC+5:45, on the next day */
		{1709251199,
		 {0x59, 0x11, 0xE8, 0x07, 3, 1, 5, 44, 59, 0, 0, 0}},
		/* no zone given (-2047): taken as UTC */
		{1709251199,
		 {0x01, 0x18, 0xE8, 0x07, 2, 29, 23, 59, 59, 0, 0, 0}},
		{-62135596800, {0, 0x10, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0}},
		{253402300799,
		 {0, 0x10, 0x0F, 0x27, 12, 31, 23, 59, 59, 0, 0, 0}},
	};
	static const uint8_t bad[][12] = {
		{0, 0x10, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0},
		{0, 0x10, 0xE7, 0x07, 2, 29, 0, 0, 0, 0, 0, 0},
		{0, 0x10, 0xE7, 0x07, 13, 1, 0, 0, 0, 0, 0, 0},
		{0, 0x10, 0xE7, 0x07, 0, 1, 0, 0, 0, 0, 0, 0},
		{0, 0x10, 0xE7, 0x07, 4, 31, 0, 0, 0, 0, 0, 0},
		{0, 0x10, 0xE7, 0x07, 4, 1, 24, 0, 0, 0, 0, 0},
		{0, 0x10, 0xE7, 0x07, 4, 1, 0, 60, 0, 0, 0, 0},
		{0, 0x10, 0xE7, 0x07, 4, 1, 0, 0, 61, 0, 0, 0},
		{0, 0x10, 0xE7, 0x07, 4, 1, 0, 0, 0, 100, 0, 0},
		{0xA1, 0x15, 0xE7, 0x07, 4, 1, 0, 0, 0, 0, 0, 0},
	};
	struct timespec ts = {0};
	uint8_t bytes[12];
	int64_t sec = 0;
	size_t i = 0;

	(void)state;
	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		assert_int_equal(udf_decode_timestamp(known[i].bytes, &ts), 0);
		assert_int_equal(ts.tv_sec, known[i].sec);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(udf_decode_timestamp(bad[i], &ts), -ERANGE);
		assert_int_equal(ts.tv_sec, 0);
	}
	/* Every 7 days and some over 400 years, against the C library. */
	for (sec = -62135596800; sec < -62135596800 + 12700000000LL;
	     sec += 619573) {
		struct tm tm = {0};
		time_t t = (time_t)sec;

		ts = (struct timespec){.tv_sec = t, .tv_nsec = 987654321};
		udf_encode_timestamp(&ts, bytes);
		assert_non_null(gmtime_r(&t, &tm));
		assert_int_equal(get_le16(bytes + 2), tm.tm_year + 1900);
		assert_int_equal(bytes[4], tm.tm_mon + 1);
		assert_int_equal(bytes[5], tm.tm_mday);
		assert_int_equal(bytes[6], tm.tm_hour);
		assert_int_equal(udf_decode_timestamp(bytes, &ts), 0);
		assert_int_equal(ts.tv_sec, sec);
		/* Cut to the microsecond, never later. */
		assert_int_equal(ts.tv_nsec, 987654000);
	}
	ts = (struct timespec){.tv_sec = INT64_MAX, .tv_nsec = 999999999};
	ts = udf_timestamp_round(ts);
	assert_int_equal(ts.tv_sec, 253402300799);
	ts = (struct timespec){.tv_sec = INT64_MIN};
	ts = udf_timestamp_round(ts);
	assert_int_equal(ts.tv_sec, -62135596800);
}

static void test_regid(void **state)
{
	struct udf_regid regid = {.flags = 2};
	struct udf_regid found = {0};
	uint8_t bytes[32];

	(void)state;
	/* All 23 characters are used, so nothing ends the string there. */
	memcpy(regid.identifier, "*abcdefghijklmnopqrstuv", 23);
	put_le16(regid.suffix, 0x0201);
	udf_encode_regid(&regid, bytes);
	udf_decode_regid(bytes, &found);
	assert_string_equal(found.identifier, "*abcdefghijklmnopqrstuv");
	assert_int_equal(found.flags, 2);
	assert_int_equal(udf_regid_revision(&found), 0x0201);
	udf_our_regid(&regid);
	assert_true(udf_regid_is(&regid, UDF_OUR_IDENTIFIER));
	assert_false(udf_regid_is(&regid, "*vfs_udf"));
}

/*
 * Each decoder on a block that is valid: with every shorter length, in memory
 * of exactly that length so that the sanitizer sees a byte too far.
 */
typedef int (*decode_fn)(const uint8_t *buf, size_t len);

static void cut_everywhere(const uint8_t *block, size_t needed, decode_fn fn)
{
	size_t len = 0;

	for (len = 0; len < needed; len++) {
		uint8_t *exact = malloc(len + 1);

		memcpy(exact + 1, block, len);
		assert_int_equal(fn(exact + 1, len), -EUCLEAN);
		free(exact);
	}
	assert_true(fn(block, needed) >= 0);
}

static int fn_icb(const uint8_t *buf, size_t len)
{
	struct udf_icb icb = {0};

	return decode_icb(buf, len, 77, &icb);
}

static int fn_fid(const uint8_t *buf, size_t len)
{
	struct udf_fid fid = {0};

	return decode_fid(buf, len, 77, &fid);
}

static int fn_aed(const uint8_t *buf, size_t len)
{
	struct udf_aed aed = {0};

	return decode_aed(buf, len, 77, &aed);
}

static int fn_lvid(const uint8_t *buf, size_t len)
{
	struct udf_lvid lvid = {0};

	return decode_lvid(buf, len, 77, &lvid);
}

static int fn_bitmap(const uint8_t *buf, size_t len)
{
	struct udf_space_bitmap bitmap = {0};

	return decode_space_bitmap(buf, len, 77, &bitmap);
}

static int fn_sparing(const uint8_t *buf, size_t len)
{
	struct udf_sparing_header header = {0};

	return decode_sparing_table(buf, len, 77, &header);
}

/* A valid tag in front of what a test has changed. */
static void seal(uint8_t *block, uint16_t id, size_t crc_length)
{
	const struct udf_tag tag = {.id = id, .version = 3, .location = 77};

	assert_int_equal(encode_tag(&tag, block, BLOCK, crc_length), 0);
}

static const struct udf_icb sample_icb = {
	.tag = {.version = 3, .location = 77},
	.icbtag = {.strategy = 4,
		   .max_entries = 1,
		   .file_type = UDF_FT_REGULAR,
		   .parent = {.block = 5, .partition = 6},
		   .flags = UDF_AD_SHORT | UDF_ICB_ARCHIVE},
	.uid = 1000,
	.gid = UINT32_MAX,
	.permissions = 0x1CA5,
	.link_count = 3,
	.record_format = 1,
	.record_display = 2,
	.record_length = 4,
	.information_length = 0x123456789ULL,
	.object_size = 0x22345678AULL,
	.blocks_recorded = 0x99,
	.access = {.tv_sec = 1, .tv_nsec = 1000},
	.modification = {.tv_sec = 2, .tv_nsec = 2000},
	.creation = {.tv_sec = 3, .tv_nsec = 3000},
	.attribute = {.tv_sec = 4, .tv_nsec = 4000},
	.checkpoint = 8,
	.ea_icb = {.length = 2048, .addr = {.block = 9}},
	.stream_dir_icb = {.length = 2048, .addr = {.block = 10}},
	.unique_id = 0xFEDCBA9876543210ULL,
	.ea_length = 24,
	.ad_length = 16,
	.ea = (const uint8_t *)"extended attribute area.",
	.ads = (const uint8_t *)"allocation descs",
};

static void test_icb(void **state)
{
	static const uint16_t ids[] = {UDF_TAG_FE, UDF_TAG_EFE};
	size_t i = 0;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct udf_icb icb = sample_icb;
		struct udf_icb found = {0};
		uint8_t block[BLOCK];
		uint8_t again[BLOCK];
		size_t header = udf_icb_header_len(ids[i]);
		size_t total = header + 40;
		bool extended = ids[i] == UDF_TAG_EFE;

		icb.tag.id = ids[i];
		udf_our_regid(&icb.implementation);
		assert_int_equal(encode_icb(&icb, block, total - 1),
				 -EOVERFLOW);
		assert_int_equal(encode_icb(&icb, block, BLOCK), total);
		assert_int_equal(decode_icb(block, BLOCK, 77, &found), 0);
		assert_int_equal(found.tag.id, ids[i]);
		assert_memory_equal(&found.icbtag, &icb.icbtag,
				    sizeof(icb.icbtag));
		assert_int_equal(found.uid, 1000);
		assert_int_equal(found.gid, UINT32_MAX);
		assert_int_equal(found.permissions, 0x1CA5);
		assert_int_equal(found.link_count, 3);
		assert_int_equal(found.record_length, 4);
		assert_int_equal(found.information_length, 0x123456789ULL);
		assert_int_equal(found.object_size, extended ? 0x22345678AULL
							     : 0x123456789ULL);
		assert_int_equal(found.blocks_recorded, 0x99);
		assert_int_equal(found.access.tv_sec, 1);
		assert_int_equal(found.modification.tv_nsec, 2000);
		assert_int_equal(found.creation.tv_sec, extended ? 3 : 0);
		assert_int_equal(found.attribute.tv_sec, 4);
		assert_int_equal(found.checkpoint, 8);
		assert_int_equal(found.ea_icb.addr.block, 9);
		assert_int_equal(found.stream_dir_icb.addr.block,
				 extended ? 10 : 0);
		assert_int_equal(found.unique_id, 0xFEDCBA9876543210ULL);
		assert_memory_equal(found.ea, icb.ea, 24);
		assert_memory_equal(found.ads, icb.ads, 16);
		assert_true(udf_regid_is(&found.implementation,
					 UDF_OUR_IDENTIFIER));
		/* Decoded and encoded again: the same bytes. */
		assert_int_equal(encode_icb(&found, again, BLOCK), total);
		assert_memory_equal(again, block, BLOCK);
		assert_int_equal(decode_icb(block, BLOCK, 78, &found),
				 -EUCLEAN);

		cut_everywhere(block, total, fn_icb);
		/* Lengths that do not fit, also when their sum wraps. */
		put_le32(block + header - 8, 0xFFFFFFFF);
		seal(block, ids[i], header - 16);
		assert_int_equal(fn_icb(block, BLOCK), -EUCLEAN);
		put_le32(block + header - 4, 25);
		seal(block, ids[i], header - 16);
		assert_int_equal(fn_icb(block, BLOCK), -EUCLEAN);
		put_le32(block + header - 8, 0);
		put_le32(block + header - 4, (uint32_t)(BLOCK - header) + 1);
		seal(block, ids[i], header - 16);
		assert_int_equal(fn_icb(block, BLOCK), -EUCLEAN);
		put_le32(block + header - 4, (uint32_t)(BLOCK - header));
		seal(block, ids[i], header - 16);
		assert_int_equal(fn_icb(block, BLOCK), 0);
	}
}

static void test_fid(void **state)
{
	const struct udf_fid fid = {
		.tag = {.version = 2, .location = 77},
		.version_number = 1,
		.characteristics = UDF_FID_DIRECTORY,
		.icb = {.length = 2048,
			.addr = {.block = 4, .partition = 1},
			.unique_id = 99},
		.impl_use_length = 32,
		.name_length = 5,
		.impl_use = (const uint8_t *)"01234567890123456789012345678901",
		.name = (const uint8_t *)"\x08name",
	};
	struct udf_fid found = {0};
	uint8_t block[BLOCK];

	(void)state;
	assert_int_equal(udf_fid_size(0, 0), 40);
	assert_int_equal(udf_fid_size(2, 0), 40);
	assert_int_equal(udf_fid_size(3, 0), 44);
	assert_int_equal(encode_fid(&fid, block, 75), -EOVERFLOW);
	assert_int_equal(encode_fid(&fid, block, BLOCK), 76);
	assert_int_equal(decode_fid(block, BLOCK, 77, &found), 76);
	assert_int_equal(found.characteristics, UDF_FID_DIRECTORY);
	assert_int_equal(found.icb.addr.block, 4);
	assert_int_equal(found.icb.unique_id, 99);
	assert_int_equal(found.name_length, 5);
	assert_memory_equal(found.name, fid.name, 5);
	assert_memory_equal(found.impl_use, fid.impl_use, 32);
	cut_everywhere(block, 76, fn_fid);
	put_le16(block + 36, 0xFFFF);
	seal(block, UDF_TAG_FID, 60);
	assert_int_equal(fn_fid(block, BLOCK), -EUCLEAN);
}

static void test_aed(void **state)
{
	const struct udf_aed aed = {
		.tag = {.version = 3, .location = 77},
		.ad_length = 16,
		.ads = (const uint8_t *)"allocation descs",
	};
	struct udf_aed found = {0};
	uint8_t block[BLOCK];

	(void)state;
	assert_int_equal(encode_aed(&aed, block, 39), -EOVERFLOW);
	assert_int_equal(encode_aed(&aed, block, BLOCK), 40);
	assert_int_equal(decode_aed(block, BLOCK, 77, &found), 0);
	assert_int_equal(found.ad_length, 16);
	assert_memory_equal(found.ads, aed.ads, 16);
	cut_everywhere(block, 40, fn_aed);
	put_le32(block + 20, BLOCK - 23);
	seal(block, UDF_TAG_AED, 8);
	assert_int_equal(fn_aed(block, BLOCK), -EUCLEAN);
	put_le32(block + 20, 0xFFFFFFFF);
	seal(block, UDF_TAG_AED, 8);
	assert_int_equal(fn_aed(block, BLOCK), -EUCLEAN);
}

static void test_space_bitmap(void **state)
{
	const struct udf_space_bitmap bitmap = {
		.tag = {.version = 3, .location = 77},
		.bits = 1001,
		.bytes = 126,
	};
	struct udf_space_bitmap found = {0};
	uint8_t block[BLOCK] = {0};

	(void)state;
	assert_int_equal(encode_space_bitmap(&bitmap, block, 23), -EOVERFLOW);
	assert_int_equal(encode_space_bitmap(&bitmap, block, BLOCK), 24);
	assert_int_equal(decode_space_bitmap(block, BLOCK, 77, &found), 0);
	assert_int_equal(found.bits, 1001);
	assert_int_equal(found.bytes, 126);
	/* Bits may change without a new tag. */
	block[100] ^= 1;
	assert_int_equal(fn_bitmap(block, BLOCK), 0);
	cut_everywhere(block, 24, fn_bitmap);
	/* Fewer bytes than bits need; 2^32 - 1 bits do not wrap. */
	put_le32(block + 20, 125);
	seal(block, UDF_TAG_SPACE_BITMAP, 8);
	assert_int_equal(fn_bitmap(block, BLOCK), -EUCLEAN);
	put_le32(block + 16, 0xFFFFFFFF);
	seal(block, UDF_TAG_SPACE_BITMAP, 8);
	assert_int_equal(fn_bitmap(block, BLOCK), -EUCLEAN);
}

static void test_lvid(void **state)
{
	struct udf_lvid lvid = {
		.tag = {.version = 3, .location = 77},
		.recorded = {.tv_sec = 1700000000},
		.type = UDF_LVID_CLOSED,
		.next = {.length = 2048, .location = 5},
		.next_unique_id = 0x1234567890ULL,
		.partitions = 2,
		.free_blocks = {1, 2},
		.size_blocks = {3, 4},
		.files = 5,
		.directories = 6,
		.min_read_revision = 0x0102,
		.min_write_revision = 0x0150,
		.max_write_revision = 0x0201,
	};
	struct udf_lvid found = {0};
	uint8_t block[BLOCK];
	size_t total = 80 + 16 + 46;

	(void)state;
	udf_our_regid(&lvid.implementation);
	assert_int_equal(encode_lvid(&lvid, block, total - 1), -EOVERFLOW);
	assert_int_equal(encode_lvid(&lvid, block, BLOCK), total);
	assert_int_equal(decode_lvid(block, BLOCK, 77, &found), 0);
	assert_int_equal(found.recorded.tv_sec, 1700000000);
	assert_int_equal(found.type, UDF_LVID_CLOSED);
	assert_int_equal(found.next.location, 5);
	assert_int_equal(found.next_unique_id, 0x1234567890ULL);
	assert_int_equal(found.partitions, 2);
	assert_int_equal(found.free_blocks[1], 2);
	assert_int_equal(found.size_blocks[1], 4);
	assert_true(found.has_impl_use);
	assert_int_equal(found.files, 5);
	assert_int_equal(found.directories, 6);
	assert_int_equal(found.min_read_revision, 0x0102);
	assert_int_equal(found.max_write_revision, 0x0201);
	cut_everywhere(block, total, fn_lvid);

	/* Without implementation use: valid, and known to lack it. */
	put_le32(block + 76, 0);
	seal(block, UDF_TAG_LVID, 80);
	assert_int_equal(decode_lvid(block, BLOCK, 77, &found), 0);
	assert_false(found.has_impl_use);
	put_le32(block + 76, 0xFFFFFFFF);
	seal(block, UDF_TAG_LVID, 80);
	assert_int_equal(fn_lvid(block, BLOCK), -EUCLEAN);
	put_le32(block + 72, 0x40000001);
	seal(block, UDF_TAG_LVID, 80);
	assert_int_equal(fn_lvid(block, BLOCK), -EUCLEAN);
	lvid.partitions = UDF_MAX_PARTITION_MAPS + 1;
	assert_int_equal(encode_lvid(&lvid, block, BLOCK), -EOVERFLOW);
}

static void test_sparing_table(void **state)
{
	const struct udf_sparing_entry entries[3] = {
		{32, 400}, {UDF_SPARE_DEFECTIVE, 432}, {UDF_SPARE_FREE, 464}};
	const struct udf_sparing_header header = {
		.tag = {.version = 2, .location = 77},
		.count = 3,
		.sequence = 5,
	};
	struct udf_sparing_header found = {0};
	struct udf_sparing_entry entry = {0};
	uint8_t block[BLOCK];

	(void)state;
	assert_int_equal(encode_sparing_table(&header, entries, block, 79),
			 -EOVERFLOW);
	assert_int_equal(encode_sparing_table(&header, entries, block, BLOCK),
			 80);
	assert_int_equal(decode_sparing_table(block, BLOCK, 77, &found), 0);
	assert_int_equal(found.count, 3);
	assert_int_equal(found.sequence, 5);
	decode_sparing_entry(block + 56 + 8, &entry);
	assert_int_equal(entry.original, UDF_SPARE_DEFECTIVE);
	assert_int_equal(entry.mapped, 432);
	cut_everywhere(block, 80, fn_sparing);
	put_le16(block + 48, 250);
	seal(block, UDF_TAG_SPARING_TABLE, 64);
	assert_int_equal(fn_sparing(block, BLOCK), -EUCLEAN);
	put_le16(block + 48, 249);
	seal(block, UDF_TAG_SPARING_TABLE, 64);
	assert_int_equal(fn_sparing(block, BLOCK), 0);
	block[20] = 'X';
	seal(block, UDF_TAG_SPARING_TABLE, 64);
	assert_int_equal(fn_sparing(block, BLOCK), -EUCLEAN);
	/* An empty block has a checksum that fits, and identifier 0. */
	memset(block, 0, sizeof(block));
	assert_int_equal(decode_sparing_table(block, BLOCK, 0, &found),
			 -EUCLEAN);
}

static void test_device_attribute(void **state)
{
	uint8_t ea[128];
	uint32_t major = 0;
	uint32_t minor = 0;
	uint32_t length = 0;
	int used = 0;
	size_t i = 0;

	(void)state;
	used = encode_ea_device(3, 77, 8, 0x12345, ea, sizeof(ea));
	assert_int_equal(used, 80);
	assert_int_equal(encode_ea_device(3, 77, 8, 1, ea, 79), -EOVERFLOW);
	assert_int_equal(decode_ea_device(ea, 80, &major, &minor), 0);
	assert_int_equal(major, 8);
	assert_int_equal(minor, 0x12345);
	assert_null(udf_ea_find(ea, 80, UDF_EA_FILE_TIMES, &length));
	for (i = 0; i < 80; i++) {
		uint8_t *exact = malloc(i + 1);

		memcpy(exact + 1, ea, i);
		assert_int_equal(decode_ea_device(exact + 1, i, &major,
						  &minor),
				 -EUCLEAN);
		free(exact);
	}
	/* Lengths that go nowhere or too far. */
	put_le32(ea + 24, UDF_EA_FILE_TIMES);
	put_le32(ea + 32, 0);
	assert_int_equal(decode_ea_device(ea, 80, &major, &minor), -EUCLEAN);
	put_le32(ea + 32, 0xFFFFFFFF);
	assert_int_equal(decode_ea_device(ea, 80, &major, &minor), -EUCLEAN);
}

static void test_lvd_maps(void **state)
{
	static const struct {
		const char *identifier;
		enum udf_map_kind kind;
	} kinds[] = {
		{"*UDF Virtual Partition", UDF_MAP_VIRTUAL},
		{"*UDF Sparable Partition", UDF_MAP_SPARABLE},
		{"*UDF Metadata Partition", UDF_MAP_METADATA},
		{"*UDF Something Else", UDF_MAP_UNKNOWN},
	};
	uint8_t block[BLOCK] = {0};
	struct udf_lvd lvd = {0};
	size_t i = 0;

	(void)state;
	put_le32(block + 264, 70);
	put_le32(block + 268, 2);
	block[440] = 1;
	block[441] = 6;
	put_le16(block + 444, 3);
	block[446] = 2;
	block[447] = 64;
	for (i = 0; i < 4; i++) {
		memset(block + 446 + 5, 0, 23);
		memcpy(block + 446 + 5, kinds[i].identifier,
		       strlen(kinds[i].identifier));
		seal(block, UDF_TAG_LVD, 494);
		assert_int_equal(decode_lvd(block, BLOCK, 77, &lvd), 0);
		assert_int_equal(lvd.map_count, 2);
		assert_int_equal(lvd.maps[0].kind, UDF_MAP_TYPE1);
		assert_int_equal(lvd.maps[0].partition_number, 3);
		assert_int_equal(lvd.maps[1].kind, kinds[i].kind);
	}
	/* A map of no length; one that ends beyond the maps' length. */
	block[441] = 0;
	seal(block, UDF_TAG_LVD, 494);
	assert_int_equal(decode_lvd(block, BLOCK, 77, &lvd), -EUCLEAN);
	block[441] = 6;
	put_le32(block + 264, 69);
	seal(block, UDF_TAG_LVD, 494);
	assert_int_equal(decode_lvd(block, BLOCK, 77, &lvd), -EUCLEAN);
	put_le32(block + 264, 7);
	seal(block, UDF_TAG_LVD, 494);
	assert_int_equal(decode_lvd(block, BLOCK, 77, &lvd), -EUCLEAN);
	put_le32(block + 264, BLOCK);
	seal(block, UDF_TAG_LVD, 494);
	assert_int_equal(decode_lvd(block, BLOCK, 77, &lvd), -EUCLEAN);
}

/* The other descriptors of the volume: short ones, wrong ones. */
static void test_volume_descriptors(void **state)
{
	static const uint16_t ids[] = {UDF_TAG_PVD,  UDF_TAG_AVDP, UDF_TAG_VDP,
				       UDF_TAG_IUVD, UDF_TAG_PD,   UDF_TAG_USD,
				       UDF_TAG_TD,   UDF_TAG_FSD};
	size_t i = 0;
	size_t len = 0;

	(void)state;
	for (i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		uint8_t block[BLOCK] = {0};

		seal(block, ids[i], 496);
		for (len = 0; len <= 512; len++) {
			int expected = len == 512 ? 0 : -EUCLEAN;
			uint8_t *exact = malloc(len + 1);
			const uint8_t *p = exact + 1;
			struct udf_pvd pvd;
			struct udf_avdp avdp;
			struct udf_vdp vdp;
			struct udf_iuvd iuvd;
			struct udf_pd pd;
			struct udf_usd usd;
			struct udf_fsd fsd;
			int rets[8];
			size_t j = 0;

			memcpy(exact + 1, block, len);
			rets[0] = decode_pvd(p, len, 77, &pvd);
			rets[1] = decode_avdp(p, len, 77, &avdp);
			rets[2] = decode_vdp(p, len, 77, &vdp);
			rets[3] = decode_iuvd(p, len, 77, &iuvd);
			rets[4] = decode_pd(p, len, 77, &pd);
			rets[5] = decode_usd(p, len, 77, &usd);
			rets[6] = decode_td(p, len, 77);
			rets[7] = decode_fsd(p, len, 77, &fsd);
			for (j = 0; j < 8; j++) {
				assert_int_equal(rets[j], i == j ? expected
								 : -EUCLEAN);
			}
			free(exact);
		}
	}
}

static void test_usd_count(void **state)
{
	uint8_t block[BLOCK] = {0};
	struct udf_usd usd = {0};

	(void)state;
	put_le32(block + 20, (BLOCK - 24) / 8);
	seal(block, UDF_TAG_USD, 496);
	assert_int_equal(decode_usd(block, BLOCK, 77, &usd), 0);
	put_le32(block + 20, (BLOCK - 24) / 8 + 1);
	seal(block, UDF_TAG_USD, 496);
	assert_int_equal(decode_usd(block, BLOCK, 77, &usd), -EUCLEAN);
	put_le32(block + 20, 0x20000000);
	seal(block, UDF_TAG_USD, 496);
	assert_int_equal(decode_usd(block, BLOCK, 77, &usd), -EUCLEAN);
}

static void test_fsd(void **state)
{
	uint8_t block[BLOCK];
	struct udf_fsd fsd = {
		.tag.version = 3,
		.tag.location = 77,
		.recorded.tv_sec = 1000000000,
		.number = 2,
		.label = "a label",
		.copyright = "copy",
		.root_icb = {.length = BLOCK, .addr.block = 9},
		.domain.identifier = UDF_DOMAIN_IDENTIFIER,
		.domain.suffix = {0x01, 0x02},
		.system_stream_dir_icb = {.length = BLOCK, .addr.block = 11},
	};
	struct udf_fsd back;

	(void)state;
	memset(block, 0xFF, sizeof(block));
	assert_int_equal(encode_fsd(&fsd, block, UDF_FSD_LEN - 1), -EOVERFLOW);
	assert_int_equal(encode_fsd(&fsd, block, BLOCK), 0);
	assert_int_equal(block[BLOCK - 1], 0);
	assert_int_equal(decode_fsd(block, BLOCK, 77, &back), 0);
	assert_int_equal(back.tag.version, 3);
	assert_int_equal(back.recorded.tv_sec, 1000000000);
	assert_int_equal(back.number, 2);
	assert_string_equal(back.label, "a label");
	assert_string_equal(back.copyright, "copy");
	assert_string_equal(back.abstract, "");
	assert_int_equal(back.root_icb.addr.block, 9);
	assert_int_equal(back.system_stream_dir_icb.addr.block, 11);
	assert_true(udf_regid_is(&back.domain, UDF_DOMAIN_IDENTIFIER));
	assert_int_equal(udf_regid_revision(&back.domain), 0x0201);
	memset(fsd.copyright, 'c', 40);
	assert_int_equal(encode_fsd(&fsd, block, BLOCK), -ENAMETOOLONG);
}

static void test_mend_tag(void **state)
{
	/* Bytes that are computed, and others, of which each must be right. */
	static const size_t computed[] = {4, 8, 9};
	static const size_t others[] = {0, 2, 5, 12};
	uint8_t whole[BLOCK] = {0};
	uint8_t block[BLOCK];
	size_t i = 0;

	(void)state;
	seal(whole, UDF_TAG_FSD, 496);
	for (i = 0; i < sizeof(computed) / sizeof(computed[0]); i++) {
		memcpy(block, whole, BLOCK);
		block[computed[i]] ^= 0xFF;
		assert_int_equal(mend_tag(block, BLOCK, UDF_TAG_FSD, 77), 0);
		assert_memory_equal(block, whole, BLOCK);
	}
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		uint8_t before[BLOCK];

		memcpy(block, whole, BLOCK);
		block[others[i]] ^= 0xFF;
		memcpy(before, block, BLOCK);
		assert_int_equal(mend_tag(block, BLOCK, UDF_TAG_FSD, 77),
				 -EUCLEAN);
		assert_memory_equal(block, before, BLOCK);
	}
	assert_int_equal(mend_tag(whole, 100, UDF_TAG_FSD, 77), -EUCLEAN);
	assert_int_equal(mend_tag(whole, 8, UDF_TAG_FSD, 77), -EUCLEAN);
}

static void test_vsd(void **state)
{
	uint8_t sector[2048] = {0};

	(void)state;
	assert_int_equal(decode_vsd(sector, 2048), UDF_VSD_NONE);
	memcpy(sector + 1, "NSR03", 5);
	assert_int_equal(decode_vsd(sector, 2048), UDF_VSD_NSR03);
	assert_int_equal(decode_vsd(sector, 6), UDF_VSD_NONE);
	memcpy(sector + 1, "CD001", 5);
	assert_int_equal(decode_vsd(sector, 2048), UDF_VSD_OTHER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc),
		cmocka_unit_test(test_tag),
		cmocka_unit_test(test_ads),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_name_limits),
		cmocka_unit_test(test_dstring),
		cmocka_unit_test(test_timestamp),
		cmocka_unit_test(test_regid),
		cmocka_unit_test(test_icb),
		cmocka_unit_test(test_fid),
		cmocka_unit_test(test_aed),
		cmocka_unit_test(test_space_bitmap),
		cmocka_unit_test(test_lvid),
		cmocka_unit_test(test_sparing_table),
		cmocka_unit_test(test_device_attribute),
		cmocka_unit_test(test_lvd_maps),
		cmocka_unit_test(test_volume_descriptors),
		cmocka_unit_test(test_usd_count),
		cmocka_unit_test(test_fsd),
		cmocka_unit_test(test_mend_tag),
		cmocka_unit_test(test_vsd),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
