/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Turns that the smbds of this host take with a file; see open_state.h.
 *
 * Not by the lock of the file's record, though there is one: whoever has its
 * turn may have to wait for a slow medium, and meanwhile other files' records
 * must be there for all, and CTDB must be able to move and recover them.
 */
#include "open_state_db.h"
#include "system/filesys.h"
#include "lib/tdb_wrap/tdb_wrap.h"
#include "lib/util/util_tdb.h"
#include "util_tdb.h"

/* It has no records, only the locks of their places. */
#define OPEN_STATE_TURNS_DB "udf_turns.tdb"

/* Two files of one place wait for each other. */
#define OPEN_STATE_TURNS_PLACES 10007

NTSTATUS open_state_turns_init(struct open_state *state)
{
	char *path = NULL;
	NTSTATUS status = NT_STATUS_OK;

	path = lock_path(state, OPEN_STATE_TURNS_DB);
	if (path == NULL) {
		return NT_STATUS_NO_MEMORY;
	}
	state->turns = tdb_wrap_open(state,
				     path,
				     OPEN_STATE_TURNS_PLACES,
				     TDB_CLEAR_IF_FIRST | TDB_INCOMPATIBLE_HASH,
				     O_RDWR | O_CREAT,
				     0600);
	if (state->turns == NULL) {
		status = map_nt_error_from_unix(errno);
		DBG_ERR("cannot open %s: %s\n", path, strerror(errno));
	}
	TALLOC_FREE(path);
	return status;
}

NTSTATUS open_state_take_turns(struct open_state *state,
			       const struct udf_file_key *key,
			       void (*fn)(void *private_data),
			       void *private_data)
{
	struct tdb_context *tdb = state->turns->tdb;
	struct open_state_key k;
	TDB_DATA raw_key = open_state_make_key(key, &k);
	int ret = -1;

	ret = tdb_chainlock(tdb, raw_key);
	if (ret == -1) {
		return map_nt_error_from_tdb(tdb_error(tdb));
	}
	fn(private_data);
	ret = tdb_chainunlock(tdb, raw_key);
	if (ret == -1) {
		return map_nt_error_from_tdb(tdb_error(tdb));
	}
	return NT_STATUS_OK;
}
