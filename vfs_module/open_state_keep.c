/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Records of disconnected handles; see open_state_keep.h.
 */
#include "open_state_keep.h"
#include "open_record_ndr.h"
#include "system/filesys.h"
#include "lib/dbwrap/dbwrap_open.h"
#include "lib/util/util_tdb.h"
#include "util_tdb.h"

#define OPEN_STATE_KEEP_DB "udf_open_state_disconnected.tdb"

/* Not a file's key; its record says that the database has them. */
#define OPEN_STATE_RESTORED "restored"

NTSTATUS open_state_keep(struct open_state *state,
			 TDB_DATA key,
			 const struct udf_open_state0 *record)
{
	DATA_BLOB raw = data_blob_null;
	NTSTATUS status;

	if (!open_record_has_disconnected(record)) {
		status = dbwrap_delete(state->keep_db, key);
		if (NT_STATUS_EQUAL(status, NT_STATUS_NOT_FOUND)) {
			return NT_STATUS_OK;
		}
		return status;
	}

	status = open_record_ndr_push(state, record, &raw);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}
	status = dbwrap_store(state->keep_db,
			      key,
			      make_tdb_data(raw.data, raw.length),
			      0);
	TALLOC_FREE(raw.data);
	return status;
}

struct open_state_restore {
	struct open_state *state;
	NTSTATUS status;
};

static int open_state_restore_fn(struct db_record *rec, void *private_data)
{
	struct open_state_restore *restore = private_data;

	restore->status = dbwrap_store(restore->state->db,
				       dbwrap_record_get_key(rec),
				       dbwrap_record_get_value(rec),
				       0);
	return NT_STATUS_IS_OK(restore->status) ? 0 : -1;
}

static void open_state_restore_locked(struct db_record *rec,
				      TDB_DATA value,
				      void *private_data)
{
	struct open_state_restore *restore = private_data;
	NTSTATUS status;

	if (value.dsize != 0) {
		return;
	}
	status = dbwrap_traverse_read(restore->state->keep_db,
				      open_state_restore_fn,
				      restore,
				      NULL);
	if (!NT_STATUS_IS_OK(restore->status)) {
		return;
	}
	if (!NT_STATUS_IS_OK(status)) {
		restore->status = status;
		return;
	}
	restore->status = dbwrap_record_store(
		rec, string_term_tdb_data(OPEN_STATE_RESTORED), 0);
}

NTSTATUS open_state_keep_init(struct open_state *state)
{
	struct open_state_restore restore = {
		.state = state,
		.status = NT_STATUS_OK,
	};
	char *path = NULL;
	NTSTATUS status;

	path = lock_path(state, OPEN_STATE_KEEP_DB);
	if (path == NULL) {
		return NT_STATUS_NO_MEMORY;
	}
	state->keep_db = db_open(state,
				 path,
				 0,
				 TDB_DEFAULT | TDB_INCOMPATIBLE_HASH,
				 O_RDWR | O_CREAT,
				 0600,
				 DBWRAP_LOCK_ORDER_NONE,
				 DBWRAP_FLAG_NONE);
	if (state->keep_db == NULL) {
		status = map_nt_error_from_unix(errno);
		DBG_ERR("cannot open %s: %s\n", path, strerror(errno));
		return status;
	}

	/* Under the lock of that record: a second process waits for the first. */
	status = dbwrap_do_locked(state->db,
				  string_term_tdb_data(OPEN_STATE_RESTORED),
				  open_state_restore_locked,
				  &restore);
	if (NT_STATUS_IS_OK(status)) {
		status = restore.status;
	}
	if (!NT_STATUS_IS_OK(status)) {
		DBG_ERR("cannot read the disconnected handles of %s: %s\n",
			path,
			nt_errstr(status));
	}
	TALLOC_FREE(path);
	return status;
}
