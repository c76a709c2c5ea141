/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The open-state database itself, for the files that implement open_state.h:
 * how it is opened, and how a record is read and changed.
 */
#ifndef VFS_UDF_OPEN_STATE_DB_H
#define VFS_UDF_OPEN_STATE_DB_H

#include "open_record.h"
#include "open_state.h"
#include "lib/dbwrap/dbwrap.h"

/* volume_id, unique_id, stream_id */
#define OPEN_STATE_KEY_LEN (UDF_STORE_VOLUME_ID_LEN + 8 + 8)

struct open_state {
	struct db_context *db;
	/*
	 * A stand-alone tdb has its sequence number in mapped memory. With
	 * CTDB it costs a round trip to ctdbd, more than looking at the
	 * record.
	 */
	bool cheap_seqnum;
	/* Records may be kept on disk as well, on every node of a cluster. */
	bool has_twin;
	/* Those are in the memory of all nodes, too, until CTDB tidies up. */
	bool has_copies;
	/* Or those of disconnected handles in a file: open_state_keep.h. */
	struct db_context *keep_db;
	/* open_state_turns.c */
	struct tdb_wrap *turns;
	open_state_away_fn away_fn;
	bool is_swept;
};

struct open_state_key {
	uint8_t buf[OPEN_STATE_KEY_LEN];
};

/* The database's key of a file; it lives in *k. */
TDB_DATA open_state_make_key(const struct udf_file_key *key,
			     struct open_state_key *k);

/* The reverse; false for what is no key. */
bool open_state_pull_key(TDB_DATA raw, struct udf_file_key *key);

/* Wall clock time, which an open that nobody has is timed out by. */
NTTIME open_state_now(void);

/* Where the owner of an entry is now. */
enum open_presence open_state_presence(const struct udf_open_entry0 *entry);

/* Drop the entries that are gone; true when there were any. */
bool open_state_prune(struct udf_open_state0 *record);

/* Has an open that nobody has now a part in the record? */
bool open_state_has_away(const struct udf_open_state0 *record);

/* Call what open_state_look_after() set. */
void open_state_tell_away(struct open_state *state,
			  const struct udf_file_key *key);

/* All of an entry but its key. */
void open_state_show(const struct udf_open_entry0 *e,
		     struct open_state_entry *entry);

/*
 * Change a record under its lock: what persistent_id's entry says, and no
 * other (OPEN_RECORD_NO_OPEN: none). change() says with *dirty whether it is
 * to be stored; what it gave back must not be believed when the status is an
 * error. When the store failed the entry is what it was before.
 *
 * Entries that are gone are dropped first, unless OPEN_STATE_KEEP_GONE.
 */
enum open_state_pruning {
	OPEN_STATE_DROP_GONE,
	OPEN_STATE_KEEP_GONE,
};
typedef NTSTATUS (*open_state_change_fn)(struct udf_open_state0 *record,
					 bool *dirty,
					 void *private_data);
NTSTATUS open_state_change(struct open_state *state,
			   const struct udf_file_key *key,
			   uint64_t persistent_id,
			   enum open_state_pruning pruning,
			   open_state_change_fn change,
			   void *private_data);

/* Open what open_state_take_turns() needs; open_state_turns.c. */
NTSTATUS open_state_turns_init(struct open_state *state);

#endif /* VFS_UDF_OPEN_STATE_DB_H */
