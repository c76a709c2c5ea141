/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Records of disconnected handles, where smbd's databases cannot keep single
 * records: stand-alone, and without persistent handles.
 *
 * The open-state database is cleared when the first process opens it, for only
 * then may tdb lock it with mutexes, which cost no system calls. A durable
 * handle may outlive the last client's smbd, though, which is the last process
 * to have it open. So records that have one are in a file beside it as well,
 * and come from there after the database was cleared.
 */
#ifndef VFS_UDF_OPEN_STATE_KEEP_H
#define VFS_UDF_OPEN_STATE_KEEP_H

#include "open_state_db.h"

/*
 * Open the file, and bring its records into state->db if that was cleared
 * since somebody last did. On an error nobody may use the database.
 */
NTSTATUS open_state_keep_init(struct open_state *state);

/*
 * What is to be found after the database was cleared: the record if it has
 * disconnected handles, else nothing. To be called before it is stored in the
 * database, with it locked: whoever dies in between leaves a handle that was
 * never acknowledged, to be timed out.
 */
NTSTATUS open_state_keep(struct open_state *state,
			 TDB_DATA key,
			 const struct udf_open_state0 *record);

#endif /* VFS_UDF_OPEN_STATE_KEEP_H */
