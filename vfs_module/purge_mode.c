/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The purge-failure counter of one file; see purge_mode.h.
 */
#include "purge_mode.h"

/*
 * MS-SMB2 3.3.5.2.10: a channel sequence is newer when it is ahead by less
 * than half of the 16-bit circle.
 */
static bool channel_sequence_newer(uint16_t candidate, uint16_t reference)
{
	uint16_t ahead = (uint16_t)(candidate - reference);

	return ahead != 0 && ahead < 0x8000;
}

static bool is_repeat(const struct purge_mode_open *open,
		      const struct purge_mode_request *request)
{
	if (!request->replay || open->settled) {
		return false;
	}
	if (open->last_action != request->action) {
		return false;
	}
	return channel_sequence_newer(request->channel_sequence,
				      open->last_channel_sequence);
}

enum purge_mode_result
purge_mode_apply(struct purge_mode_open *open,
		 uint64_t others,
		 const struct purge_mode_request *request)
{
	if (is_repeat(open, request)) {
		return PURGE_MODE_REPLAYED;
	}

	if (request->action == PURGE_MODE_ENABLE) {
		if (request->quota_reached) {
			return PURGE_MODE_QUOTA;
		}
		if (others >= PURGE_MODE_MAX_SUM ||
		    open->count >= PURGE_MODE_MAX_SUM - others) {
			return PURGE_MODE_OVERFLOW;
		}
		open->count += 1;
	} else {
		if (open->count == 0) {
			return PURGE_MODE_UNDERFLOW;
		}
		open->count -= 1;
	}

	open->last_action = request->action;
	open->last_channel_sequence = request->channel_sequence;
	open->settled = false;

	return PURGE_MODE_COUNTED;
}

bool purge_mode_settle(struct purge_mode_open *open)
{
	if (open->settled || open->last_action == PURGE_MODE_NONE) {
		return false;
	}

	open->settled = true;
	return true;
}
