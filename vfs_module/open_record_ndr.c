/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The NDR of a record at fixed offsets; see open_record_ndr.h. The offsets
 * follow from udf_open_state.idl (C706 chapter 14, little-endian NDR32): a
 * union has its discriminant before it, a unique pointer is a number that is
 * not 0, a conformant array has its size before the structure that it ends,
 * and each integer is aligned to its own size, but for NTTIME, to 4.
 * tests/unit/test_open_record.c compares with what pidl made of the IDL.
 */
#include "open_record_ndr.h"

/* struct udf_open_stateB, with struct udf_open_state0 behind its pointer */
#define HEAD_VERSION 0
#define HEAD_LEVEL 4
#define HEAD_POINTER 8
#define HEAD_ARRAY_SIZE 12
#define HEAD_NUM_OPENS 16
#define HEAD_LEN 20

/* Where the first entry is; without entries there is no padding before it. */
#define ENTRIES 24

/* What NDR gives the first unique pointer of a buffer. */
#define FIRST_POINTER 0x00020000

/* struct udf_open_entry0 */
#define ENTRY_PERSISTENT_ID 0
#define ENTRY_CLIENT_GUID 8
#define ENTRY_CREATE_GUID 24
#define ENTRY_OWNER_PID 40
#define ENTRY_OWNER_TASK_ID 48
#define ENTRY_OWNER_VNN 52
#define ENTRY_OWNER_UNIQUE_ID 56
#define ENTRY_FLAGS 64
#define ENTRY_TIMEOUT_MSEC 68
#define ENTRY_DISCONNECT_TIME 72
#define ENTRY_PURGE_COUNT 80
#define ENTRY_COUNTED_SINCE 84
#define ENTRY_LAST_ACTION 92
#define ENTRY_CHANNEL_SEQUENCE 96
#define ENTRY_SERIAL 104
#define ENTRY_LEN 112

/* struct GUID */
#define GUID_TIME_LOW 0
#define GUID_TIME_MID 4
#define GUID_TIME_HI 6
#define GUID_CLOCK_SEQ 8
#define GUID_NODE 10

/* The length of a value in a tdb has 32 bits. */
#define MAX_OPENS ((UINT32_MAX - ENTRIES) / ENTRY_LEN)

static size_t plain_length(uint32_t num_opens)
{
	if (num_opens == 0) {
		return HEAD_LEN;
	}
	return ENTRIES + (size_t)num_opens * ENTRY_LEN;
}

static void pull_guid(const uint8_t *p, struct GUID *guid)
{
	guid->time_low = IVAL(p, GUID_TIME_LOW);
	guid->time_mid = SVAL(p, GUID_TIME_MID);
	guid->time_hi_and_version = SVAL(p, GUID_TIME_HI);
	memcpy(guid->clock_seq, p + GUID_CLOCK_SEQ, sizeof(guid->clock_seq));
	memcpy(guid->node, p + GUID_NODE, sizeof(guid->node));
}

static void push_guid(uint8_t *p, const struct GUID *guid)
{
	SIVAL(p, GUID_TIME_LOW, guid->time_low);
	SSVAL(p, GUID_TIME_MID, guid->time_mid);
	SSVAL(p, GUID_TIME_HI, guid->time_hi_and_version);
	memcpy(p + GUID_CLOCK_SEQ, guid->clock_seq, sizeof(guid->clock_seq));
	memcpy(p + GUID_NODE, guid->node, sizeof(guid->node));
}

static void pull_entry(const uint8_t *p, struct udf_open_entry0 *entry)
{
	entry->persistent_id = BVAL(p, ENTRY_PERSISTENT_ID);
	pull_guid(p + ENTRY_CLIENT_GUID, &entry->client_guid);
	pull_guid(p + ENTRY_CREATE_GUID, &entry->create_guid);
	entry->owner.pid = BVAL(p, ENTRY_OWNER_PID);
	entry->owner.task_id = IVAL(p, ENTRY_OWNER_TASK_ID);
	entry->owner.vnn = IVAL(p, ENTRY_OWNER_VNN);
	entry->owner.unique_id = BVAL(p, ENTRY_OWNER_UNIQUE_ID);
	entry->flags = IVAL(p, ENTRY_FLAGS);
	entry->timeout_msec = IVAL(p, ENTRY_TIMEOUT_MSEC);
	entry->disconnect_time = BVAL(p, ENTRY_DISCONNECT_TIME);
	entry->purge_count = IVAL(p, ENTRY_PURGE_COUNT);
	entry->counted_since = BVAL(p, ENTRY_COUNTED_SINCE);
	entry->last_action = IVAL(p, ENTRY_LAST_ACTION);
	entry->last_channel_sequence = SVAL(p, ENTRY_CHANNEL_SEQUENCE);
	entry->serial = BVAL(p, ENTRY_SERIAL);
}

static void push_entry(uint8_t *p, const struct udf_open_entry0 *entry)
{
	SBVAL(p, ENTRY_PERSISTENT_ID, entry->persistent_id);
	push_guid(p + ENTRY_CLIENT_GUID, &entry->client_guid);
	push_guid(p + ENTRY_CREATE_GUID, &entry->create_guid);
	SBVAL(p, ENTRY_OWNER_PID, entry->owner.pid);
	SIVAL(p, ENTRY_OWNER_TASK_ID, entry->owner.task_id);
	SIVAL(p, ENTRY_OWNER_VNN, entry->owner.vnn);
	SBVAL(p, ENTRY_OWNER_UNIQUE_ID, entry->owner.unique_id);
	SIVAL(p, ENTRY_FLAGS, entry->flags);
	SIVAL(p, ENTRY_TIMEOUT_MSEC, entry->timeout_msec);
	SBVAL(p, ENTRY_DISCONNECT_TIME, entry->disconnect_time);
	SIVAL(p, ENTRY_PURGE_COUNT, entry->purge_count);
	SBVAL(p, ENTRY_COUNTED_SINCE, entry->counted_since);
	SIVAL(p, ENTRY_LAST_ACTION, entry->last_action);
	SSVAL(p, ENTRY_CHANNEL_SEQUENCE, entry->last_channel_sequence);
	SBVAL(p, ENTRY_SERIAL, entry->serial);
}

bool open_record_ndr_is_plain(DATA_BLOB raw)
{
	uint32_t num_opens = 0;

	if (raw.length < HEAD_LEN) {
		return false;
	}
	num_opens = IVAL(raw.data, HEAD_NUM_OPENS);
	if (num_opens > MAX_OPENS) {
		return false;
	}
	return IVAL(raw.data, HEAD_VERSION) == UDF_OPEN_STATE_VERSION_0 &&
	       IVAL(raw.data, HEAD_LEVEL) == UDF_OPEN_STATE_VERSION_0 &&
	       IVAL(raw.data, HEAD_POINTER) != 0 &&
	       IVAL(raw.data, HEAD_ARRAY_SIZE) == num_opens &&
	       raw.length == plain_length(num_opens);
}

struct udf_open_state0 *open_record_ndr_new(TALLOC_CTX *mem_ctx,
					    uint32_t num_opens)
{
	size_t most = (size_t)num_opens + 1;
	size_t each = sizeof(struct udf_open_entry0) + ENTRY_LEN;
	struct udf_open_state0 *record = NULL;

	record = talloc_pooled_object(mem_ctx,
				      struct udf_open_state0,
				      2,
				      most * each + ENTRIES);
	if (record == NULL) {
		return NULL;
	}
	*record = (struct udf_open_state0) { .num_opens = 0 };
	return record;
}

struct udf_open_state0 *open_record_ndr_pull(TALLOC_CTX *mem_ctx,
					     DATA_BLOB raw)
{
	uint32_t num_opens = IVAL(raw.data, HEAD_NUM_OPENS);
	struct udf_open_state0 *record = NULL;
	const uint8_t *p = NULL;
	uint32_t i = 0;

	record = open_record_ndr_new(mem_ctx, num_opens);
	if (record == NULL) {
		return NULL;
	}
	record->num_opens = num_opens;
	record->opens = talloc_array(record,
				     struct udf_open_entry0,
				     record->num_opens);
	if (record->opens == NULL) {
		TALLOC_FREE(record);
		return NULL;
	}
	for (i = 0; i < record->num_opens; i++) {
		p = raw.data + ENTRIES + (size_t)i * ENTRY_LEN;
		pull_entry(p, &record->opens[i]);
	}
	return record;
}

NTSTATUS open_record_ndr_push(TALLOC_CTX *mem_ctx,
			      const struct udf_open_state0 *record,
			      DATA_BLOB *raw)
{
	size_t len = 0;
	uint8_t *p = NULL;
	uint8_t *entry = NULL;
	uint32_t i = 0;

	if (record->num_opens > MAX_OPENS) {
		return NT_STATUS_NO_MEMORY;
	}
	len = plain_length(record->num_opens);
	/* Padding is zero. */
	p = talloc_zero_size(mem_ctx, len);
	if (p == NULL) {
		return NT_STATUS_NO_MEMORY;
	}
	*raw = data_blob_const(p, len);

	SIVAL(p, HEAD_VERSION, UDF_OPEN_STATE_VERSION_0);
	SIVAL(p, HEAD_LEVEL, UDF_OPEN_STATE_VERSION_0);
	SIVAL(p, HEAD_POINTER, FIRST_POINTER);
	SIVAL(p, HEAD_ARRAY_SIZE, record->num_opens);
	SIVAL(p, HEAD_NUM_OPENS, record->num_opens);
	for (i = 0; i < record->num_opens; i++) {
		entry = p + ENTRIES + (size_t)i * ENTRY_LEN;
		push_entry(entry, &record->opens[i]);
	}
	return NT_STATUS_OK;
}
