/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A hostile client: the buffers of the control codes, and the counter under
 * any sequence of requests. What must always hold is checked, beside what the
 * sanitizers look for:
 *
 * - no byte outside the buffer is read, whatever its length;
 * - an open takes back no more than it counted, and the sum has its limit;
 * - a replay of an unsettled request changes nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "fsctl_udf.h"
#include "vfs_module/fsctl_codec.h"
#include "vfs_module/purge_mode.h"

#define OPENS 4u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds) {
		abort();
	}
}

/* A copy that ends where the sanitizer sees a byte more being read. */
static uint8_t *exact_copy(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size);

	if (copy != NULL && size > 0) {
		memcpy(copy, data, size);
	}
	return copy;
}

static void try_input(const uint8_t *data, size_t size)
{
	enum fsctl_purge_action action = FSCTL_PURGE_ENABLE;
	enum fsctl_codec_result result;
	uint8_t *copy = exact_copy(data, size);
	bool disable = false;

	if (copy == NULL) {
		return;
	}
	result = fsctl_codec_pull_defect(copy, size, &disable);
	must((result == FSCTL_CODEC_OK) == (size >= UDF_SET_DEFECT_MGMT_LEN));
	result = fsctl_codec_pull_purge(copy, size, &action);
	must((result == FSCTL_CODEC_SHORT) ==
	     (size < UDF_SET_PURGE_FAILURE_MODE_LEN));
	free(copy);
}

/* A volume whose texts a disk chose, into a buffer of any size. */
static void try_output(const uint8_t *data, size_t size)
{
	struct fsctl_volume_info volume = { .udf_revision = 0x0201 };
	struct fsctl_sparing_info sparing = { .unit_bytes = 65536 };
	size_t room = size * 3 % (2 * UDF_QUERY_ON_DISK_VOLUME_INFO_LEN);
	char *text = malloc(size + 1);
	uint8_t *out = malloc(room + 1);
	enum fsctl_codec_result result;

	if (text == NULL || out == NULL) {
		free(text);
		free(out);
		return;
	}
	memcpy(text, data, size);
	text[size] = '\0';
	volume.copyright = text;
	volume.abstract = text + size / 2;
	volume.formatter = NULL;
	volume.modifier = text;
	if (size >= 8) {
		memcpy(&volume.format_time.sec, data, 8);
	}
	result = fsctl_codec_push_volume_info(&volume, out, room);
	must((result == FSCTL_CODEC_OK) ==
	     (room >= UDF_QUERY_ON_DISK_VOLUME_INFO_LEN));
	result = fsctl_codec_push_sparing(&sparing, out, room);
	must((result == FSCTL_CODEC_OK) == (room >= UDF_QUERY_SPARING_LEN));
	free(text);
	free(out);
}

static uint64_t sum_but(const struct purge_mode_open *opens, size_t but)
{
	uint64_t sum = 0;
	size_t i = 0;

	for (i = 0; i < OPENS; i++) {
		if (i != but) {
			sum += opens[i].count;
		}
	}
	return sum;
}

static void check_result(const struct purge_mode_open *before,
			 const struct purge_mode_open *after,
			 const struct purge_mode_request *request,
			 uint64_t others, enum purge_mode_result result)
{
	switch (result) {
	case PURGE_MODE_COUNTED:
		must(others + after->count <= PURGE_MODE_MAX_SUM);
		must(!after->settled);
		must(request->action == PURGE_MODE_ENABLE
			     ? after->count == before->count + 1
			     : before->count == after->count + 1);
		return;
	case PURGE_MODE_REPLAYED:
		must(request->replay && !before->settled);
		must(before->last_action == request->action);
		break;
	case PURGE_MODE_OVERFLOW:
	case PURGE_MODE_QUOTA:
		must(request->action == PURGE_MODE_ENABLE);
		break;
	case PURGE_MODE_UNDERFLOW:
		must(before->count == 0);
		break;
	}
	must(before->count == after->count);
	must(before->settled == after->settled);
	must(before->last_channel_sequence == after->last_channel_sequence);
}

static void try_sequence(const uint8_t *data, size_t size)
{
	struct purge_mode_open opens[OPENS];
	size_t i = 0;

	memset(opens, 0, sizeof(opens));
	for (i = 0; i + 4 <= size; i += 4) {
		size_t which = data[i] % OPENS;
		struct purge_mode_open *open = &opens[which];
		struct purge_mode_open before = *open;
		uint64_t others = sum_but(opens, which);
		struct purge_mode_request request = {
			.action = (data[i + 1] & 1) ? PURGE_MODE_ENABLE
						    : PURGE_MODE_DISABLE,
			.replay = (data[i + 1] & 2) != 0,
			.quota_reached = (data[i + 1] & 12) == 12,
			.channel_sequence =
				(uint16_t)(data[i + 2] | data[i + 3] << 8),
		};
		enum purge_mode_result result;

		if ((data[i + 1] & 16) != 0) {
			(void)purge_mode_settle(open);
			before = *open;
		}
		if ((data[i + 1] & 32) != 0) {
			/* Near the limit, where nobody gets by counting. */
			open->count = UINT32_MAX - data[i + 2];
			if (sum_but(opens, OPENS) > PURGE_MODE_MAX_SUM) {
				open->count = before.count;
			}
			before = *open;
		}
		result = purge_mode_apply(open, others, &request);
		check_result(&before, open, &request, others, result);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	try_input(data, size);
	try_output(data, size);
	try_sequence(data, size);
	return 0;
}
