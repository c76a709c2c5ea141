/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Records of the open-state database: what is written and read at fixed
 * offsets is what the IDL says.
 */
#include "includes.h"
#include "util_tdb.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "vfs_module/open_record.h"
#include "vfs_module/open_record_ndr.h"

#define RECORDS 2000
#define MOST_OPENS 9

/* The same numbers in each run (xorshift64). */
static uint64_t next_number(void)
{
	static uint64_t x = 0x9E3779B97F4A7C15u;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

static void random_bytes(void *to, size_t len)
{
	uint8_t *p = to;
	size_t i = 0;

	for (i = 0; i < len; i++) {
		p[i] = (uint8_t)(next_number() >> 32);
	}
}

/* All fields are integers: any bytes will do. */
static struct udf_open_state0 *random_record(TALLOC_CTX *mem_ctx,
					     uint32_t num_opens)
{
	struct udf_open_state0 *record = NULL;

	record = talloc_zero(mem_ctx, struct udf_open_state0);
	assert_non_null(record);
	record->num_opens = num_opens;
	record->opens = talloc_zero_array(record,
					  struct udf_open_entry0,
					  num_opens);
	assert_non_null(record->opens);
	random_bytes(record->opens, num_opens * sizeof(*record->opens));
	return record;
}

static DATA_BLOB ndr_of(TALLOC_CTX *mem_ctx, struct udf_open_state0 *record)
{
	struct udf_open_stateB blob = {
		.version = UDF_OPEN_STATE_VERSION_0,
		.info.info0 = record,
	};
	DATA_BLOB raw = data_blob_null;
	enum ndr_err_code err;

	err = ndr_push_struct_blob(
		&raw,
		mem_ctx,
		&blob,
		(ndr_push_flags_fn_t)ndr_push_udf_open_stateB);
	assert_int_equal(err, NDR_ERR_SUCCESS);
	return raw;
}

static void assert_same_bytes(DATA_BLOB a, DATA_BLOB b)
{
	assert_int_equal(a.length, b.length);
	assert_memory_equal(a.data, b.data, a.length);
}

static void test_is_the_ndr(void **state)
{
	int i = 0;

	for (i = 0; i < RECORDS; i++) {
		TALLOC_CTX *frame = talloc_stackframe();
		struct udf_open_state0 *record = NULL;
		struct udf_open_state0 *again = NULL;
		DATA_BLOB expected = data_blob_null;
		DATA_BLOB raw = data_blob_null;
		NTSTATUS status;

		record = random_record(frame, i % (MOST_OPENS + 1));
		expected = ndr_of(frame, record);

		status = open_record_ndr_push(frame, record, &raw);
		assert_true(NT_STATUS_IS_OK(status));
		assert_same_bytes(raw, expected);

		assert_true(open_record_ndr_is_plain(raw));
		again = open_record_ndr_pull(frame, raw);
		assert_non_null(again);
		assert_same_bytes(ndr_of(frame, again), expected);
		TALLOC_FREE(frame);
	}
}

/*
 * Damaged records: what is taken for plain, the general code takes as well,
 * and reads the same from it.
 */
static void test_damaged(void **state)
{
	int i = 0;

	for (i = 0; i < RECORDS; i++) {
		TALLOC_CTX *frame = talloc_stackframe();
		struct udf_open_stateB blob = { .version = 0 };
		struct udf_open_state0 *record = NULL;
		struct udf_open_state0 *plain = NULL;
		DATA_BLOB raw = data_blob_null;
		size_t cut = 0;
		enum ndr_err_code err;

		record = random_record(frame, 1 + i % MOST_OPENS);
		raw = ndr_of(frame, record);
		/* In the head, where it matters, or the end is missing. */
		raw.data[next_number() % 20] ^= (uint8_t)(1 + i % 255);
		if (i % 3 == 0) {
			cut = next_number() % raw.length;
			raw.length -= cut;
		}
		if (!open_record_ndr_is_plain(raw)) {
			TALLOC_FREE(frame);
			continue;
		}

		err = ndr_pull_struct_blob(
			&raw,
			frame,
			&blob,
			(ndr_pull_flags_fn_t)ndr_pull_udf_open_stateB);
		assert_int_equal(err, NDR_ERR_SUCCESS);
		assert_int_equal(blob.version, UDF_OPEN_STATE_VERSION_0);
		assert_non_null(blob.info.info0);
		plain = open_record_ndr_pull(frame, raw);
		assert_non_null(plain);
		assert_same_bytes(ndr_of(frame, plain),
				  ndr_of(frame, blob.info.info0));
		TALLOC_FREE(frame);
	}
}

static void assert_refused(const uint8_t *bytes, size_t len, NTSTATUS expected)
{
	TALLOC_CTX *frame = talloc_stackframe();
	struct udf_open_state0 *record = NULL;
	uint8_t *copy = talloc_memdup(frame, bytes, len);
	NTSTATUS status;

	status = open_record_pull(frame, make_tdb_data(copy, len), &record);
	if (NT_STATUS_IS_OK(expected)) {
		/* Any error will do. */
		assert_false(NT_STATUS_IS_OK(status));
	} else {
		assert_int_equal(NT_STATUS_V(status), NT_STATUS_V(expected));
	}
	TALLOC_FREE(frame);
}

/* What is not plain still gets its exact answer. */
static void test_refused(void **state)
{
	TALLOC_CTX *frame = talloc_stackframe();
	struct udf_open_state0 *record = random_record(frame, 3);
	DATA_BLOB raw = ndr_of(frame, record);
	uint8_t saved = 0;

	/* The last bytes are an entry's number, after its padding. */
	assert_refused(raw.data, raw.length - 1, NT_STATUS_OK);
	assert_refused(raw.data, 24, NT_STATUS_OK);
	assert_refused(raw.data, 3, NT_STATUS_OK);

	saved = raw.data[0];
	raw.data[0] = 1;
	raw.data[4] = 1;
	assert_refused(raw.data, raw.length, NT_STATUS_REVISION_MISMATCH);
	raw.data[0] = saved;
	raw.data[4] = saved;

	/* More opens than there are, and a pointer to nothing. */
	SIVAL(raw.data, 12, UINT32_MAX);
	SIVAL(raw.data, 16, UINT32_MAX);
	assert_refused(raw.data, raw.length, NT_STATUS_OK);
	SIVAL(raw.data, 12, 3);
	SIVAL(raw.data, 16, 3);
	SIVAL(raw.data, 8, 0);
	assert_refused(raw.data, raw.length, NT_STATUS_INTERNAL_DB_CORRUPTION);
	TALLOC_FREE(frame);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_is_the_ndr),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
