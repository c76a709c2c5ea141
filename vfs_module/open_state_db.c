/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The open-state database itself; see open_state_db.h.
 */
#include "open_state_db.h"
#include "open_state_keep.h"
#include "open_record_ndr.h"
#include "samba_compat.h"
#include "system/filesys.h"
#include "lib/dbwrap/dbwrap_open.h"
#include "lib/dbwrap/dbwrap_watch.h"
#include "lib/tdb_wrap/tdb_wrap.h"
#include "lib/util/util_tdb.h"
#include "util_tdb.h"
#include <libgen.h>

#define OPEN_STATE_DB "udf_open_state.tdb"
#define OPEN_STATE_TWINS_DB "udf_open_state_persistent.tdb"
#define OPEN_STATE_TDB_FLAGS (TDB_DEFAULT | TDB_INCOMPATIBLE_HASH | TDB_SEQNUM)

/*
 * Chains of its hash, as many as smbd gives its own databases: a lookup among
 * 100,000 records must not walk through hundreds of them.
 */
#define OPEN_STATE_DB_CHAINS 10007

TDB_DATA open_state_make_key(const struct udf_file_key *key,
			     struct open_state_key *k)
{
	memcpy(k->buf, key->volume_id, UDF_STORE_VOLUME_ID_LEN);
	SBVAL(k->buf, UDF_STORE_VOLUME_ID_LEN, key->unique_id);
	SBVAL(k->buf, UDF_STORE_VOLUME_ID_LEN + 8, key->stream_id);

	return make_tdb_data(k->buf, sizeof(k->buf));
}

bool open_state_pull_key(TDB_DATA raw, struct udf_file_key *key)
{
	if (raw.dsize != OPEN_STATE_KEY_LEN) {
		return false;
	}
	memcpy(key->volume_id, raw.dptr, UDF_STORE_VOLUME_ID_LEN);
	key->unique_id = BVAL(raw.dptr, UDF_STORE_VOLUME_ID_LEN);
	key->stream_id = BVAL(raw.dptr, UDF_STORE_VOLUME_ID_LEN + 8);
	return true;
}

NTTIME open_state_now(void)
{
	struct timeval now = timeval_current();

	return timeval_to_nttime(&now);
}

/*
 * When this host was started: without CTDB no plain handle is older. 0 where
 * handles outlive that, or it cannot be told.
 */
static NTTIME open_state_booted(void)
{
	struct timespec up = { .tv_sec = 0 };
	struct timeval boot = timeval_current();
	int ret = -1;

	if (lp_clustering()) {
		return 0;
	}
	ret = clock_gettime(CLOCK_BOOTTIME, &up);
	if (ret == -1 || boot.tv_sec <= up.tv_sec) {
		return 0;
	}
	boot.tv_sec -= up.tv_sec;
	return timeval_to_nttime(&boot);
}

enum open_presence open_state_presence(const struct udf_open_entry0 *entry)
{
	return open_record_presence(entry,
				    open_state_now(),
				    open_state_booted());
}

bool open_state_prune(struct udf_open_state0 *record)
{
	NTTIME now = 0;
	NTTIME booted = 0;

	if (open_record_has_disconnected(record)) {
		now = open_state_now();
		booted = open_state_booted();
	}
	return open_record_prune(record, now, booted);
}

void open_state_show(const struct udf_open_entry0 *e,
		     struct open_state_entry *entry)
{
	open_record_owner(e, &entry->owner);
	entry->purge_count = e->purge_count;
	entry->counted_since = nt_time_to_full_timespec(e->counted_since);
	entry->defect_disabled =
		(e->flags & UDF_OPEN_DEFECT_MANAGEMENT_DISABLED) != 0;
	entry->unsettled = (e->flags & UDF_OPEN_UNSETTLED) != 0;
	entry->serial = e->serial;
	entry->disconnected = (e->flags & UDF_OPEN_DISCONNECTED) != 0;
	entry->disconnect_time = e->disconnect_time;
}

bool open_state_has_away(const struct udf_open_state0 *record)
{
	uint32_t i = 0;

	for (i = 0; i < record->num_opens; i++) {
		if (open_state_presence(&record->opens[i]) == OPEN_AWAY) {
			return true;
		}
	}
	return false;
}

void open_state_tell_away(struct open_state *state,
			  const struct udf_file_key *key)
{
	if (state->away_fn != NULL) {
		state->away_fn(state, key);
	}
}

/* Store a record, an empty one too. */
static NTSTATUS open_state_store_record(struct db_record *rec,
					struct udf_open_state0 *record,
					bool twin)
{
	DATA_BLOB raw = data_blob_null;
	NTSTATUS status;

	status = open_record_ndr_push(record, record, &raw);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}

	status = dbwrap_record_store(rec,
				     make_tdb_data(raw.data, raw.length),
				     twin ? SAMBA_COMPAT_STORE_PERSISTENT : 0);
	TALLOC_FREE(raw.data);
	return status;
}

/*
 * Store a record, or delete an empty one; outlived: it had handles that outlive
 * smbd.
 *
 * CTDB deletes a record, and stores one without a twin, at this node alone.
 * Should the node die before CTDB's vacuuming has told the others, what they
 * have of the record comes back, and with it opens that were closed. So the
 * others are first told that the opens are gone.
 */
static NTSTATUS open_state_store(struct open_state *state,
				 struct db_record *rec,
				 struct udf_open_state0 *record,
				 bool outlived)
{
	bool outlives = open_record_outlives_smbd(record);
	bool twin = state->has_twin && outlives;
	NTSTATUS status;

	if (state->keep_db != NULL && (outlived || outlives)) {
		status = open_state_keep(state,
					 dbwrap_record_get_key(rec),
					 record);
		if (!NT_STATUS_IS_OK(status)) {
			return status;
		}
	}
	if (state->has_copies && outlived && !twin) {
		status = open_state_store_record(rec, record, true);
		if (!NT_STATUS_IS_OK(status)) {
			return status;
		}
	}
	if (record->num_opens == 0) {
		return dbwrap_record_delete(rec);
	}
	return open_state_store_record(rec, record, twin);
}

struct open_state_change {
	struct open_state *state;
	open_state_change_fn change;
	void *private_data;
	enum open_state_pruning pruning;
	/* Whose entry it changes, and how that was before. */
	uint64_t persistent_id;
	bool had_entry;
	struct udf_open_entry0 entry;
	bool store_failed;
	NTSTATUS status;
};

static void open_state_change_locked(struct db_record *rec,
				     TDB_DATA value,
				     void *private_data)
{
	struct open_state_change *c = private_data;
	struct udf_open_state0 *record = NULL;
	struct udf_open_entry0 *entry = NULL;
	bool outlived = false;
	bool dirty = false;

	c->status = open_record_pull(c->state, value, &record);
	if (!NT_STATUS_IS_OK(c->status)) {
		goto done;
	}
	outlived = open_record_outlives_smbd(record);
	if (c->pruning == OPEN_STATE_DROP_GONE) {
		dirty = open_state_prune(record);
		/* Nobody's: a node died that was about to delete it. */
		dirty |= (record->num_opens == 0 && value.dsize > 0);
	}

	entry = open_record_find(record, c->persistent_id);
	if (entry != NULL) {
		c->had_entry = true;
		c->entry = *entry;
	}

	c->status = c->change(record, &dirty, c->private_data);
	if (!NT_STATUS_IS_OK(c->status)) {
		goto done;
	}
	if (dirty) {
		c->status = open_state_store(c->state, rec, record, outlived);
		c->store_failed = !NT_STATUS_IS_OK(c->status);
	}
done:
	TALLOC_FREE(record);
}

/* Make the entry what it was before a change that could not be stored. */
static void open_state_undo_locked(struct db_record *rec,
				   TDB_DATA value,
				   void *private_data)
{
	struct open_state_change *c = private_data;
	struct udf_open_state0 *record = NULL;
	struct udf_open_entry0 *entry = NULL;
	struct open_state_owner owner;
	TALLOC_CTX *frame = talloc_stackframe();
	bool twin = false;

	c->status = open_record_pull(frame, value, &record);
	if (!NT_STATUS_IS_OK(c->status)) {
		goto done;
	}
	entry = open_record_find(record, c->persistent_id);
	if (c->had_entry && entry == NULL) {
		open_record_owner(&c->entry, &owner);
		entry = open_record_find_or_add(record, &owner);
		if (entry == NULL) {
			c->status = NT_STATUS_NO_MEMORY;
			goto done;
		}
	}
	if (c->had_entry) {
		*entry = c->entry;
	} else if (entry != NULL) {
		open_record_remove(record, entry);
	}
	/*
	 * Memory comes first in a store and last in a deletion: a store that
	 * fails at the disk again has done what is needed.
	 */
	twin = c->state->has_twin && open_record_outlives_smbd(record);
	c->status = open_state_store_record(rec, record, twin);
	if (NT_STATUS_IS_OK(c->status) && c->state->keep_db != NULL) {
		c->status = open_state_keep(c->state,
					    dbwrap_record_get_key(rec),
					    record);
	}
done:
	TALLOC_FREE(frame);
}

/* Is the entry what it was before? */
static void open_state_check_undone(TDB_DATA key,
				    TDB_DATA value,
				    void *private_data)
{
	struct open_state_change *c = private_data;
	struct udf_open_state0 *record = NULL;
	struct udf_open_entry0 *entry = NULL;
	TALLOC_CTX *frame = talloc_stackframe();

	c->status = open_record_pull(frame, value, &record);
	if (!NT_STATUS_IS_OK(c->status)) {
		goto done;
	}
	entry = open_record_find(record, c->persistent_id);
	if ((entry != NULL) != c->had_entry) {
		c->status = NT_STATUS_INTERNAL_DB_CORRUPTION;
	} else if (entry != NULL &&
		   entry->purge_count != c->entry.purge_count)
	{
		c->status = NT_STATUS_INTERNAL_DB_CORRUPTION;
	}
done:
	TALLOC_FREE(frame);
}

/*
 * A store has several steps: memory, disk, other nodes. One that failed may
 * have done some, and what the client was refused must not count.
 */
static void open_state_undo(struct open_state_change *c, TDB_DATA key)
{
	NTSTATUS status;

	status = dbwrap_do_locked(c->state->db,
				  key,
				  open_state_undo_locked,
				  c);
	if (NT_STATUS_IS_OK(status)) {
		status = dbwrap_parse_record(c->state->db,
					     key,
					     open_state_check_undone,
					     c);
	}
	if (NT_STATUS_EQUAL(status, NT_STATUS_NOT_FOUND) && !c->had_entry) {
		return;
	}
	if (NT_STATUS_IS_OK(status)) {
		status = c->status;
	}
	if (!NT_STATUS_IS_OK(status)) {
		DBG_ERR("the open 0x%"PRIx64" may count what its client was "
			"refused, until it is closed: %s\n",
			c->persistent_id,
			nt_errstr(status));
	}
}

NTSTATUS open_state_change(struct open_state *state,
			   const struct udf_file_key *key,
			   uint64_t persistent_id,
			   enum open_state_pruning pruning,
			   open_state_change_fn change,
			   void *private_data)
{
	struct open_state_key k;
	TDB_DATA raw_key = open_state_make_key(key, &k);
	struct open_state_change c = {
		.state = state,
		.change = change,
		.private_data = private_data,
		.persistent_id = persistent_id,
		.pruning = pruning,
		.status = NT_STATUS_INTERNAL_ERROR,
	};
	NTSTATUS status;

	status = dbwrap_do_locked(state->db,
				  raw_key,
				  open_state_change_locked,
				  &c);
	if (!NT_STATUS_IS_OK(status)) {
		DBG_ERR("dbwrap_do_locked: %s\n", nt_errstr(status));
		return status;
	}
	status = c.status;
	if (c.store_failed) {
		DBG_ERR("cannot store the state of the open 0x%"PRIx64": %s\n",
			persistent_id,
			nt_errstr(status));
		open_state_undo(&c, raw_key);
	}
	return status;
}

/*
 * Open dbwrap's file of the twins before dbwrap does, which then shares what is
 * open, for the sake of a flag that dbwrap does not know: a transaction waits
 * for the disk with fdatasync, and where the tdb is mapped each time with msync
 * again, so that it takes twice as long. The database itself has to be mapped
 * to be locked with mutexes. Without this all works, but slower.
 */
static void open_state_open_twins(struct open_state *state, const char *path)
{
	TALLOC_CTX *frame = talloc_stackframe();
	struct tdb_wrap *twins = NULL;
	char *directory = NULL;
	char *twins_path = NULL;

	/* Letter by letter as dbwrap names it, or it would not be the same. */
	directory = talloc_strdup(frame, path);
	if (directory != NULL) {
		twins_path = talloc_asprintf(frame,
					     "%s/" OPEN_STATE_TWINS_DB,
					     dirname(directory));
	}
	if (twins_path != NULL) {
		twins = tdb_wrap_open(state,
				      twins_path,
				      OPEN_STATE_DB_CHAINS,
				      OPEN_STATE_TDB_FLAGS | TDB_NOMMAP,
				      O_RDWR | O_CREAT,
				      0600);
	}
	if (twins == NULL) {
		DBG_WARNING("cannot open " OPEN_STATE_TWINS_DB " beside %s: "
			    "%s\n",
			    path,
			    strerror(errno));
	}
	TALLOC_FREE(frame);
}

static struct db_context *open_state_open(struct open_state *state,
					  const char *path,
					  uint64_t db_flags)
{
	/*
	 * No place in Samba's lock order would do: a close comes with the
	 * byte-range locks' record locked (2), and a store with a twin in a
	 * cluster locks g_lock's (3). Under ours nothing is locked but by its
	 * own store, and what is kept of it.
	 */
	enum dbwrap_lock_order order = DBWRAP_LOCK_ORDER_NONE;

	if (state->has_twin && !state->has_copies) {
		open_state_open_twins(state, path);
	}
	/* Cleared by the first, so that tdb may lock it with mutexes. */
	return db_open(state,
		       path,
		       OPEN_STATE_DB_CHAINS,
		       OPEN_STATE_TDB_FLAGS | TDB_CLEAR_IF_FIRST,
		       O_RDWR | O_CREAT,
		       0600,
		       order,
		       db_flags);
}

NTSTATUS open_state_init(struct messaging_context *msg_ctx,
			 struct open_state **_state)
{
	static struct open_state *process_state;
	struct open_state *state = NULL;
	struct db_context *backend = NULL;
	struct server_id self = messaging_server_id(msg_ctx);
	uint64_t db_flags = samba_compat_twin_db_flags();
	char *path = NULL;
	NTSTATUS status;

	if (process_state != NULL) {
		*_state = process_state;
		return NT_STATUS_OK;
	}

	state = talloc_zero(NULL, struct open_state);
	if (state == NULL) {
		return NT_STATUS_NO_MEMORY;
	}

	path = lock_path(state, OPEN_STATE_DB);
	if (path == NULL) {
		status = NT_STATUS_NO_MEMORY;
		goto fail;
	}

	state->has_twin = (db_flags != 0);
	state->has_copies = state->has_twin && lp_clustering();
	backend = open_state_open(state, path, db_flags);
	if (backend == NULL) {
		status = map_nt_error_from_unix(errno);
		DBG_ERR("cannot open %s: %s\n", path, strerror(errno));
		goto fail;
	}

	state->db = db_open_watched(state, &backend, msg_ctx);
	if (state->db == NULL) {
		status = NT_STATUS_NO_MEMORY;
		goto fail;
	}
	state->cheap_seqnum = !lp_clustering();
	TALLOC_FREE(path);

	status = open_state_turns_init(state);
	if (!NT_STATUS_IS_OK(status)) {
		goto fail;
	}
	open_record_set_self(&self);

	if (!state->has_twin && !lp_clustering()) {
		status = open_state_keep_init(state);
		if (!NT_STATUS_IS_OK(status)) {
			goto fail;
		}
	}

	process_state = state;
	*_state = state;
	return NT_STATUS_OK;

fail:
	TALLOC_FREE(state);
	return status;
}
