/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The open-state database itself; see open_state_db.h.
 */
#include "open_state_db.h"
#include "open_record_ndr.h"
#include "samba_compat.h"
#include "system/filesys.h"
#include "lib/dbwrap/dbwrap_open.h"
#include "lib/dbwrap/dbwrap_tdb.h"
#include "lib/dbwrap/dbwrap_watch.h"
#include "lib/util/util_tdb.h"
#include "util_tdb.h"

#define OPEN_STATE_DB "udf_open_state.tdb"

/*
 * Chains of its hash, as many as smbd gives its own databases: a lookup among
 * 100,000 records must not walk through hundreds of them.
 */
#define OPEN_STATE_DB_CHAINS 10007

/* Bytes for a record of a few opens, decoded and encoded. */
#define OPEN_STATE_POOL 2048

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

/* Must the record be kept on disk, and on every node? */
static bool open_state_needs_twin(struct open_state *state,
				  const struct udf_open_state0 *record)
{
	return state->has_twin && open_record_outlives_smbd(record);
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
 * CTDB deletes a record, and stores one without a twin, at this node alone.
 * Should the node die before CTDB's vacuuming has told the others, what they
 * have of the record comes back, and with it opens that were closed. So the
 * others are first told that the opens are gone.
 */
static NTSTATUS open_state_store(struct open_state *state,
				 struct db_record *rec,
				 struct udf_open_state0 *record,
				 bool had_twin)
{
	bool twin = open_state_needs_twin(state, record);
	NTSTATUS status;

	if (had_twin && !twin && state->has_copies) {
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
	TALLOC_CTX *frame = talloc_stackframe_pool(OPEN_STATE_POOL);
	bool had_twin = false;
	bool dirty = false;

	c->status = open_record_pull(frame, value, &record);
	if (!NT_STATUS_IS_OK(c->status)) {
		goto done;
	}
	had_twin = open_state_needs_twin(c->state, record);
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
		c->status = open_state_store(c->state, rec, record, had_twin);
		c->store_failed = !NT_STATUS_IS_OK(c->status);
	}
done:
	TALLOC_FREE(frame);
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
	twin = open_state_needs_twin(c->state, record);
	c->status = open_state_store_record(rec, record, twin);
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

static struct db_context *open_state_open(struct open_state *state,
					  const char *path,
					  uint64_t db_flags)
{
	int tdb_flags = TDB_DEFAULT | TDB_INCOMPATIBLE_HASH | TDB_SEQNUM;
	int open_flags = O_RDWR | O_CREAT;
	struct db_context *db = NULL;
	/*
	 * No place in Samba's lock order would do: a close comes with the
	 * byte-range locks' record locked (2), and a store with a twin in a
	 * cluster locks g_lock's (3). Under ours nothing is locked but by its
	 * own store.
	 */
	enum dbwrap_lock_order order = DBWRAP_LOCK_ORDER_NONE;

	/*
	 * With a twin on disk, or CTDB, records come back when the first
	 * process opens the database. Without, they must stay: the last
	 * client's smbd may have gone, and the client come back.
	 */
	if (state->has_twin || lp_clustering()) {
		tdb_flags |= TDB_CLEAR_IF_FIRST;
	}

	/*
	 * A transaction in the twin waits for the disk with fdatasync, and
	 * where the tdb is mapped each time with msync again, so that it takes
	 * twice as long. db_open() cannot be told not to map it, since it wants
	 * the robust mutexes. Only db_open() can join an smbd that still runs
	 * with an earlier build of this module, which has them.
	 */
	if (state->has_twin && !state->has_copies) {
		db = db_open_tdb(state,
				 path,
				 OPEN_STATE_DB_CHAINS,
				 tdb_flags | TDB_NOMMAP,
				 open_flags,
				 0600,
				 order,
				 db_flags);
	}
	if (db == NULL) {
		db = db_open(state,
			     path,
			     OPEN_STATE_DB_CHAINS,
			     tdb_flags,
			     open_flags,
			     0600,
			     order,
			     db_flags);
	}
	return db;
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
	open_record_set_self(&self);

	process_state = state;
	*_state = state;
	return NT_STATUS_OK;

fail:
	TALLOC_FREE(state);
	return status;
}
