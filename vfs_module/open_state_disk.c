/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Is what has to outlive this host on a disk? See open_state.h.
 */
#include "open_state_db.h"
#include "lib/util/util_tdb.h"
#include <sys/vfs.h>
#include <linux/magic.h>

/* Not a file's key; its record says that somebody was told already. */
#define OPEN_STATE_TOLD "in-memory"

static bool open_state_is_in_memory(const char *path)
{
	struct statfs fs;
	int ret = -1;

	ret = statfs(path, &fs);
	if (ret == -1) {
		return false;
	}
	return fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC;
}

static void open_state_told_parser(TDB_DATA key,
				   TDB_DATA value,
				   void *private_data)
{
}

/*
 * Note that somebody is told; false if somebody was, by a process that has the
 * database open still or by one whose successor has.
 */
static bool open_state_tell_once(struct open_state *state)
{
	TDB_DATA key = string_term_tdb_data(OPEN_STATE_TOLD);
	NTSTATUS status;

	status = dbwrap_parse_record(state->db,
				     key,
				     open_state_told_parser,
				     NULL);
	if (NT_STATUS_IS_OK(status)) {
		return false;
	}
	status = dbwrap_store(state->db, key, key, 0);
	if (!NT_STATUS_IS_OK(status)) {
		DBG_WARNING("dbwrap_store: %s\n", nt_errstr(status));
	}
	return true;
}

void open_state_check_disk(struct open_state *state)
{
	static bool checked;
	const char *directory = lp_lock_directory();

	if (checked || !state->has_twin || state->has_copies) {
		return;
	}
	checked = true;
	if (!open_state_is_in_memory(directory) || !open_state_tell_once(state))
	{
		return;
	}
	DBG_ERR("%s is in memory: persistent handles, with their counts and "
		"flags, end with this host. Set 'lock directory' in smb.conf "
		"to a directory on a disk (docs/FAILOVER.md), and start smbd "
		"again\n",
		directory);
}
