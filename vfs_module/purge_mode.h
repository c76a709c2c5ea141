/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The purge-failure counter of one file, as a pure state machine.
 *
 * Each open has a count of its own; a file's purge-failure mode is on while
 * their sum is above zero. An open can take back only what it added itself,
 * and its count goes when it goes.
 *
 * Pure: no I/O, no Samba. open_state.c keeps the state of the opens in a
 * database record and calls this with the record locked.
 */
#ifndef VFS_UDF_PURGE_MODE_H
#define VFS_UDF_PURGE_MODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The sum of a file cannot go beyond this (FastFAT: 0xFFFFFFFF). */
#define PURGE_MODE_MAX_SUM UINT32_MAX

enum purge_mode_action {
	PURGE_MODE_NONE, /* nothing counted yet */
	PURGE_MODE_ENABLE,
	PURGE_MODE_DISABLE,
};

/*
 * One open's part. The last_ fields remember its last counted request, to
 * tell that request from its replay: SMB2 keeps no reply of an IOCTL, so a
 * replayed one arrives as if it were new (MS-SMB2 3.3.5.2.10).
 */
struct purge_mode_open {
	uint32_t count;
	enum purge_mode_action last_action;
	uint16_t last_channel_sequence;
	/*
	 * The client has sent something later through this open, so it has
	 * the answer of the last counted request and will not replay it.
	 */
	bool settled;
};

/* What the request's SMB2 header says. */
struct purge_mode_request {
	enum purge_mode_action action;
	bool replay; /* SMB2_FLAGS_REPLAY_OPERATION */
	/* The client has as many brackets open as it may. */
	bool quota_reached;
	uint16_t channel_sequence;
};

enum purge_mode_result {
	PURGE_MODE_COUNTED,   /* the open changed: store it */
	PURGE_MODE_REPLAYED,  /* counted before: answer success */
	PURGE_MODE_OVERFLOW,  /* the file's sum is at its limit */
	PURGE_MODE_UNDERFLOW, /* this open has nothing to take back */
	PURGE_MODE_QUOTA,     /* the client may have no more brackets */
};

/*
 * Apply one request to an open. others is the sum of the file's other opens.
 * The open changes only when PURGE_MODE_COUNTED is returned.
 */
enum purge_mode_result
purge_mode_apply(struct purge_mode_open *open,
		 uint64_t others,
		 const struct purge_mode_request *request);

/*
 * The client has sent another request through this open. Returns true when
 * that is news.
 */
bool purge_mode_settle(struct purge_mode_open *open);

#endif /* VFS_UDF_PURGE_MODE_H */
