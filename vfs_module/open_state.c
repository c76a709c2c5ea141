/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What is kept of the opens of a file; see open_state.h and
 * udf_open_state.idl.
 */
#include "open_state.h"
#include "system/filesys.h"
#include "lib/dbwrap/dbwrap.h"
#include "lib/dbwrap/dbwrap_open.h"
#include "lib/dbwrap/dbwrap_watch.h"
#include "lib/util/tevent_ntstatus.h"
#include "lib/util/util_tdb.h"
#include "serverid.h"
#include "util_tdb.h"
#include "ndr_udf_open_state.h"

#define OPEN_STATE_DB "udf_open_state.tdb"

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
};

struct open_state_key {
	uint8_t buf[OPEN_STATE_KEY_LEN];
};

static TDB_DATA open_state_make_key(const struct udf_file_key *key,
				    struct open_state_key *k)
{
	memcpy(k->buf, key->volume_id, UDF_STORE_VOLUME_ID_LEN);
	SBVAL(k->buf, UDF_STORE_VOLUME_ID_LEN, key->unique_id);
	SBVAL(k->buf, UDF_STORE_VOLUME_ID_LEN + 8, key->stream_id);

	return make_tdb_data(k->buf, sizeof(k->buf));
}

/* The reverse; false for what is no key. */
static bool open_state_pull_key(TDB_DATA raw, struct udf_file_key *key)
{
	if (raw.dsize != OPEN_STATE_KEY_LEN) {
		return false;
	}
	memcpy(key->volume_id, raw.dptr, UDF_STORE_VOLUME_ID_LEN);
	key->unique_id = BVAL(raw.dptr, UDF_STORE_VOLUME_ID_LEN);
	key->stream_id = BVAL(raw.dptr, UDF_STORE_VOLUME_ID_LEN + 8);
	return true;
}

/*
 * Decode a record. An empty one (new, or nothing but watchers) has no opens.
 * NT_STATUS_REVISION_MISMATCH: written by a newer release, leave it alone.
 */
static NTSTATUS open_state_parse(TALLOC_CTX *mem_ctx,
				 TDB_DATA value,
				 struct udf_open_state0 **_record)
{
	struct udf_open_stateB blob = {
		.version = UDF_OPEN_STATE_VERSION_0,
	};
	DATA_BLOB raw = data_blob_const(value.dptr, value.dsize);
	struct udf_open_state0 *record = NULL;
	enum ndr_err_code ndr_err;

	if (raw.length == 0) {
		record = talloc_zero(mem_ctx, struct udf_open_state0);
		if (record == NULL) {
			return NT_STATUS_NO_MEMORY;
		}
		*_record = record;
		return NT_STATUS_OK;
	}

	ndr_err = ndr_pull_struct_blob(
		&raw,
		mem_ctx,
		&blob,
		(ndr_pull_flags_fn_t)ndr_pull_udf_open_stateB);
	if (!NDR_ERR_CODE_IS_SUCCESS(ndr_err)) {
		DBG_ERR("damaged record of %zu bytes: %s\n",
			raw.length,
			ndr_map_error2string(ndr_err));
		return ndr_map_error2ntstatus(ndr_err);
	}
	if (blob.version != UDF_OPEN_STATE_VERSION_0) {
		DBG_ERR("record of version %u, known is %u\n",
			(unsigned)blob.version,
			UDF_OPEN_STATE_VERSION_0);
		return NT_STATUS_REVISION_MISMATCH;
	}
	if (blob.info.info0 == NULL) {
		DBG_ERR("record without content\n");
		return NT_STATUS_INTERNAL_DB_CORRUPTION;
	}

	*_record = blob.info.info0;
	return NT_STATUS_OK;
}

static NTSTATUS open_state_store(struct db_record *rec,
				 struct udf_open_state0 *record)
{
	struct udf_open_stateB blob = {
		.version = UDF_OPEN_STATE_VERSION_0,
		.info.info0 = record,
	};
	DATA_BLOB raw = data_blob_null;
	enum ndr_err_code ndr_err;
	NTSTATUS status;

	if (record->num_opens == 0) {
		return dbwrap_record_delete(rec);
	}

	ndr_err = ndr_push_struct_blob(
		&raw,
		record,
		&blob,
		(ndr_push_flags_fn_t)ndr_push_udf_open_stateB);
	if (!NDR_ERR_CODE_IS_SUCCESS(ndr_err)) {
		DBG_ERR("ndr_push_udf_open_stateB: %s\n",
			ndr_map_error2string(ndr_err));
		return ndr_map_error2ntstatus(ndr_err);
	}

	status = dbwrap_record_store(rec,
				     make_tdb_data(raw.data, raw.length),
				     0);
	data_blob_free(&raw);
	return status;
}

/* Drop the entries of dead processes; true when there were any. */
static bool open_state_prune(struct udf_open_state0 *record)
{
	uint32_t i = 0;
	uint32_t kept = 0;
	bool pruned = false;

	for (i = 0; i < record->num_opens; i++) {
		if (!serverid_exists(&record->opens[i].owner)) {
			continue;
		}
		record->opens[kept] = record->opens[i];
		kept += 1;
	}

	pruned = (kept != record->num_opens);
	record->num_opens = kept;
	return pruned;
}

/* The sum of all entries but that of one open; one that counts, if asked. */
static uint64_t open_state_sum_others(const struct udf_open_state0 *record,
				      uint64_t persistent_id,
				      struct server_id *blocker)
{
	uint64_t sum = 0;
	uint32_t i = 0;

	for (i = 0; i < record->num_opens; i++) {
		const struct udf_open_entry0 *e = &record->opens[i];

		if (e->persistent_id == persistent_id) {
			continue;
		}
		if (e->purge_count > 0 && blocker != NULL) {
			*blocker = e->owner;
		}
		sum += e->purge_count;
	}
	return sum;
}

/* No open has this persistent id (smbXsrv_open ids are not all ones). */
#define OPEN_STATE_NO_OPEN UINT64_MAX

static struct udf_open_entry0 *open_state_find(struct udf_open_state0 *record,
					       uint64_t persistent_id)
{
	uint32_t i = 0;

	for (i = 0; i < record->num_opens; i++) {
		if (record->opens[i].persistent_id == persistent_id) {
			return &record->opens[i];
		}
	}
	return NULL;
}

static uint32_t open_state_owner_flags(const struct open_state_owner *owner)
{
	uint32_t flags = 0;

	if (owner->kind != OPEN_STATE_SMB) {
		flags |= UDF_OPEN_LOCAL;
	}
	if (owner->kind == OPEN_STATE_LOCAL_BACKGROUND) {
		flags |= UDF_OPEN_BACKGROUND;
	}
	if (owner->whole_view) {
		flags |= UDF_OPEN_WHOLE_VIEW;
	}
	return flags;
}

static enum open_state_kind open_state_kind_of(uint32_t flags)
{
	if ((flags & UDF_OPEN_LOCAL) == 0) {
		return OPEN_STATE_SMB;
	}
	if ((flags & UDF_OPEN_BACKGROUND) != 0) {
		return OPEN_STATE_LOCAL_BACKGROUND;
	}
	return OPEN_STATE_LOCAL;
}

/* Find the open's entry, or make one. NULL: no memory. */
static struct udf_open_entry0 *
open_state_find_or_add(struct udf_open_state0 *record,
		       const struct open_state_owner *owner)
{
	struct udf_open_entry0 *entry = NULL;
	struct udf_open_entry0 *opens = NULL;

	entry = open_state_find(record, owner->persistent_id);
	if (entry != NULL) {
		return entry;
	}

	opens = talloc_realloc(record,
			       record->opens,
			       struct udf_open_entry0,
			       record->num_opens + 1);
	if (opens == NULL) {
		return NULL;
	}
	record->opens = opens;
	entry = &opens[record->num_opens];
	*entry = (struct udf_open_entry0) {
		.persistent_id = owner->persistent_id,
		.client_guid = owner->client_guid,
		.create_guid = owner->create_guid,
		.owner = owner->server_id,
		.flags = open_state_owner_flags(owner),
		.last_action = PURGE_MODE_NONE,
	};
	record->num_opens += 1;
	return entry;
}

/*
 * Change a record under its lock. change() says with *dirty whether it is to
 * be stored; what it gave back must not be believed when the status is an
 * error.
 */
struct open_state_change {
	NTSTATUS (*change)(struct udf_open_state0 *record,
			   bool *dirty,
			   void *private_data);
	void *private_data;
	NTSTATUS status;
};

static void open_state_change_fn(struct db_record *rec,
				 TDB_DATA value,
				 void *private_data)
{
	struct open_state_change *c = private_data;
	struct udf_open_state0 *record = NULL;
	TALLOC_CTX *frame = talloc_stackframe();
	bool dirty = false;

	c->status = open_state_parse(frame, value, &record);
	if (!NT_STATUS_IS_OK(c->status)) {
		goto done;
	}
	dirty = open_state_prune(record);

	c->status = c->change(record, &dirty, c->private_data);
	if (!NT_STATUS_IS_OK(c->status)) {
		goto done;
	}
	if (dirty) {
		c->status = open_state_store(rec, record);
	}
done:
	TALLOC_FREE(frame);
}

static NTSTATUS open_state_change(
	struct open_state *state,
	const struct udf_file_key *key,
	NTSTATUS (*change)(struct udf_open_state0 *record,
			   bool *dirty,
			   void *private_data),
	void *private_data)
{
	struct open_state_key k;
	struct open_state_change c = {
		.change = change,
		.private_data = private_data,
		.status = NT_STATUS_INTERNAL_ERROR,
	};
	NTSTATUS status;

	status = dbwrap_do_locked(state->db,
				  open_state_make_key(key, &k),
				  open_state_change_fn,
				  &c);
	if (!NT_STATUS_IS_OK(status)) {
		DBG_ERR("dbwrap_do_locked: %s\n", nt_errstr(status));
		return status;
	}
	return c.status;
}

struct open_state_count_args {
	const struct open_state_owner *owner;
	const struct purge_mode_request *request;
	enum purge_mode_result result;
};

static NTSTATUS open_state_count_change(struct udf_open_state0 *record,
					bool *dirty,
					void *private_data)
{
	struct open_state_count_args *args = private_data;
	struct udf_open_entry0 *entry = NULL;
	struct purge_mode_open mode;
	struct timeval now = timeval_current();
	uint64_t others = 0;

	others = open_state_sum_others(record,
				       args->owner->persistent_id,
				       NULL);
	entry = open_state_find_or_add(record, args->owner);
	if (entry == NULL) {
		return NT_STATUS_NO_MEMORY;
	}

	mode = (struct purge_mode_open) {
		.count = entry->purge_count,
		.last_action = entry->last_action,
		.last_channel_sequence = entry->last_channel_sequence,
		.settled = ((entry->flags & UDF_OPEN_UNSETTLED) == 0),
	};

	args->result = purge_mode_apply(&mode, others, args->request);
	if (args->result != PURGE_MODE_COUNTED) {
		/* A new entry would say nothing; it is not stored. */
		*dirty = false;
		return NT_STATUS_OK;
	}

	if (entry->purge_count == 0) {
		entry->counted_since = timeval_to_nttime(&now);
	}
	entry->purge_count = mode.count;
	entry->last_action = mode.last_action;
	entry->last_channel_sequence = mode.last_channel_sequence;
	entry->flags |= UDF_OPEN_UNSETTLED;
	*dirty = true;
	return NT_STATUS_OK;
}

NTSTATUS open_state_count(struct open_state *state,
			  const struct udf_file_key *key,
			  const struct open_state_owner *owner,
			  const struct purge_mode_request *request,
			  enum purge_mode_result *result)
{
	struct open_state_count_args args = {
		.owner = owner,
		.request = request,
		.result = PURGE_MODE_UNDERFLOW,
	};
	NTSTATUS status;

	status = open_state_change(state,
				   key,
				   open_state_count_change,
				   &args);
	*result = args.result;
	return status;
}

struct open_state_defect_args {
	const struct open_state_owner *owner;
	bool disabled;
};

static NTSTATUS open_state_defect_change(struct udf_open_state0 *record,
					 bool *dirty,
					 void *private_data)
{
	struct open_state_defect_args *args = private_data;
	struct udf_open_entry0 *entry = NULL;

	entry = open_state_find_or_add(record, args->owner);
	if (entry == NULL) {
		return NT_STATUS_NO_MEMORY;
	}
	if (args->disabled) {
		entry->flags |= UDF_OPEN_DEFECT_MANAGEMENT_DISABLED;
	} else {
		entry->flags &= ~UDF_OPEN_DEFECT_MANAGEMENT_DISABLED;
	}
	*dirty = true;
	return NT_STATUS_OK;
}

NTSTATUS open_state_set_defect(struct open_state *state,
			       const struct udf_file_key *key,
			       const struct open_state_owner *owner,
			       bool disabled)
{
	struct open_state_defect_args args = {
		.owner = owner,
		.disabled = disabled,
	};

	return open_state_change(state, key, open_state_defect_change, &args);
}

static NTSTATUS open_state_settle_change(struct udf_open_state0 *record,
					 bool *dirty,
					 void *private_data)
{
	uint64_t *persistent_id = private_data;
	struct udf_open_entry0 *entry = NULL;

	entry = open_state_find(record, *persistent_id);
	if (entry == NULL || (entry->flags & UDF_OPEN_UNSETTLED) == 0) {
		return NT_STATUS_OK;
	}
	entry->flags &= ~UDF_OPEN_UNSETTLED;
	*dirty = true;
	return NT_STATUS_OK;
}

NTSTATUS open_state_settle(struct open_state *state,
			   const struct udf_file_key *key,
			   uint64_t persistent_id)
{
	return open_state_change(state,
				 key,
				 open_state_settle_change,
				 &persistent_id);
}

static NTSTATUS open_state_release_change(struct udf_open_state0 *record,
					  bool *dirty,
					  void *private_data)
{
	uint64_t *persistent_id = private_data;
	struct udf_open_entry0 *entry = NULL;

	entry = open_state_find(record, *persistent_id);
	if (entry == NULL) {
		return NT_STATUS_OK;
	}
	*entry = record->opens[record->num_opens - 1];
	record->num_opens -= 1;
	*dirty = true;
	return NT_STATUS_OK;
}

NTSTATUS open_state_release(struct open_state *state,
			    const struct udf_file_key *key,
			    uint64_t persistent_id)
{
	return open_state_change(state,
				 key,
				 open_state_release_change,
				 &persistent_id);
}

struct open_state_sum_args {
	uint64_t sum;
	NTSTATUS status;
};

static void open_state_sum_parser(TDB_DATA key,
				  TDB_DATA value,
				  void *private_data)
{
	struct open_state_sum_args *args = private_data;
	struct udf_open_state0 *record = NULL;
	TALLOC_CTX *frame = talloc_stackframe();

	args->status = open_state_parse(frame, value, &record);
	if (NT_STATUS_IS_OK(args->status)) {
		open_state_prune(record);
		args->sum = open_state_sum_others(record,
						  OPEN_STATE_NO_OPEN,
						  NULL);
	}
	TALLOC_FREE(frame);
}

NTSTATUS open_state_sum(struct open_state *state,
			const struct udf_file_key *key,
			uint64_t *sum)
{
	struct open_state_sum_args args = { .status = NT_STATUS_OK };
	struct open_state_key k;
	NTSTATUS status;

	status = dbwrap_parse_record(state->db,
				     open_state_make_key(key, &k),
				     open_state_sum_parser,
				     &args);
	if (NT_STATUS_EQUAL(status, NT_STATUS_NOT_FOUND)) {
		*sum = 0;
		return NT_STATUS_OK;
	}
	if (!NT_STATUS_IS_OK(status)) {
		DBG_ERR("dbwrap_parse_record: %s\n", nt_errstr(status));
		return status;
	}

	*sum = args.sum;
	return args.status;
}

struct open_state_viewed_args {
	bool viewed;
};

static void open_state_viewed_parser(TDB_DATA key,
				     TDB_DATA value,
				     void *private_data)
{
	struct open_state_viewed_args *args = private_data;
	struct udf_open_state0 *record = NULL;
	TALLOC_CTX *frame = talloc_stackframe();
	NTSTATUS status;
	uint32_t i = 0;

	status = open_state_parse(frame, value, &record);
	if (!NT_STATUS_IS_OK(status)) {
		args->viewed = true;
		goto done;
	}
	open_state_prune(record);
	for (i = 0; i < record->num_opens; i++) {
		const struct udf_open_entry0 *e = &record->opens[i];

		if (e->purge_count > 0 &&
		    (e->flags & UDF_OPEN_WHOLE_VIEW) != 0)
		{
			args->viewed = true;
		}
	}
done:
	TALLOC_FREE(frame);
}

bool open_state_is_viewed(struct open_state *state,
			  const struct udf_file_key *key)
{
	struct open_state_viewed_args args = { .viewed = false };
	struct open_state_key k;
	NTSTATUS status;

	status = dbwrap_parse_record(state->db,
				     open_state_make_key(key, &k),
				     open_state_viewed_parser,
				     &args);
	if (NT_STATUS_EQUAL(status, NT_STATUS_NOT_FOUND)) {
		return false;
	}
	if (!NT_STATUS_IS_OK(status)) {
		DBG_ERR("dbwrap_parse_record: %s\n", nt_errstr(status));
		return true;
	}
	return args.viewed;
}

struct open_state_for_each_args {
	bool (*fn)(const struct open_state_entry *entry, void *private_data);
	void *private_data;
	NTSTATUS status;
};

static int open_state_for_each_fn(struct db_record *rec, void *private_data)
{
	struct open_state_for_each_args *args = private_data;
	struct udf_open_state0 *record = NULL;
	struct open_state_entry entry = { .purge_count = 0 };
	TALLOC_CTX *frame = talloc_stackframe();
	NTSTATUS status;
	uint32_t i = 0;
	int stop = 0;

	if (!open_state_pull_key(dbwrap_record_get_key(rec), &entry.key)) {
		goto done;
	}
	status = open_state_parse(frame, dbwrap_record_get_value(rec), &record);
	if (!NT_STATUS_IS_OK(status)) {
		args->status = status;
		goto done;
	}
	open_state_prune(record);

	for (i = 0; i < record->num_opens && stop == 0; i++) {
		const struct udf_open_entry0 *e = &record->opens[i];

		entry.owner = (struct open_state_owner) {
			.persistent_id = e->persistent_id,
			.client_guid = e->client_guid,
			.create_guid = e->create_guid,
			.server_id = e->owner,
			.kind = open_state_kind_of(e->flags),
			.whole_view = (e->flags & UDF_OPEN_WHOLE_VIEW) != 0,
		};
		entry.purge_count = e->purge_count;
		entry.counted_since = nt_time_to_full_timespec(
			e->counted_since);
		entry.defect_disabled =
			(e->flags & UDF_OPEN_DEFECT_MANAGEMENT_DISABLED) != 0;
		stop = args->fn(&entry, args->private_data) ? 0 : 1;
	}
done:
	TALLOC_FREE(frame);
	return stop;
}

NTSTATUS open_state_for_each(struct open_state *state,
			     bool (*fn)(const struct open_state_entry *entry,
					void *private_data),
			     void *private_data)
{
	struct open_state_for_each_args args = {
		.fn = fn,
		.private_data = private_data,
		.status = NT_STATUS_OK,
	};
	NTSTATUS status;

	status = dbwrap_traverse_read(state->db,
				      open_state_for_each_fn,
				      &args,
				      NULL);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}
	return args.status;
}

int open_state_seqnum(struct open_state *state)
{
	return state->cheap_seqnum ? dbwrap_get_seqnum(state->db) : 0;
}

bool open_state_is_quiet(struct open_state *state,
			 const struct open_state_cache *cache)
{
	return cache->quiet && cache->seqnum == open_state_seqnum(state);
}

void open_state_note_quiet(struct open_state *state,
			   struct open_state_cache *cache,
			   int seqnum)
{
	cache->quiet = state->cheap_seqnum;
	cache->seqnum = seqnum;
}

struct open_state_wait_state {
	struct tevent_context *ev;
	struct open_state *state;
	struct udf_file_key key;
	uint64_t instance; /* of our watch, kept between two looks */
};

static void open_state_wait_look(struct tevent_req *req);
static void open_state_wait_woken(struct tevent_req *subreq);

struct tevent_req *open_state_wait_send(TALLOC_CTX *mem_ctx,
					struct tevent_context *ev,
					struct open_state *state,
					const struct udf_file_key *key)
{
	struct tevent_req *req = NULL;
	struct open_state_wait_state *w = NULL;

	req = tevent_req_create(mem_ctx, &w, struct open_state_wait_state);
	if (req == NULL) {
		return NULL;
	}
	w->ev = ev;
	w->state = state;
	w->key = *key;

	open_state_wait_look(req);
	if (!tevent_req_is_in_progress(req)) {
		return tevent_req_post(req, ev);
	}
	return req;
}

struct open_state_wait_args {
	struct tevent_req *req;
	struct tevent_req *subreq;
	bool is_zero;
	NTSTATUS status;
};

/*
 * Only the first watcher of a record is woken by a change. So a watcher that
 * goes on waiting keeps its place, and one that is content leaves, which
 * wakes the next.
 */
static void open_state_wait_look_fn(struct db_record *rec,
				    TDB_DATA value,
				    void *private_data)
{
	struct open_state_wait_args *args = private_data;
	struct open_state_wait_state *w = tevent_req_data(
		args->req, struct open_state_wait_state);
	struct udf_open_state0 *record = NULL;
	struct server_id blocker = { .pid = 0 };
	TALLOC_CTX *frame = talloc_stackframe();
	uint64_t sum = 0;

	args->status = open_state_parse(frame, value, &record);
	if (!NT_STATUS_IS_OK(args->status)) {
		goto done;
	}
	open_state_prune(record);
	sum = open_state_sum_others(record, OPEN_STATE_NO_OPEN, &blocker);

	if (sum == 0) {
		args->is_zero = true;
		if (w->instance != 0) {
			dbwrap_watched_watch_remove_instance(rec, w->instance);
			w->instance = 0;
		}
		goto done;
	}

	args->subreq = dbwrap_watched_watch_send(w,
						 w->ev,
						 rec,
						 w->instance,
						 blocker);
	if (args->subreq == NULL) {
		args->status = NT_STATUS_NO_MEMORY;
	}
done:
	TALLOC_FREE(frame);
}

static void open_state_wait_look(struct tevent_req *req)
{
	struct open_state_wait_state *w = tevent_req_data(
		req, struct open_state_wait_state);
	struct open_state_wait_args args = {
		.req = req,
		.status = NT_STATUS_INTERNAL_ERROR,
	};
	struct open_state_key k;
	NTSTATUS status;

	status = dbwrap_do_locked(w->state->db,
				  open_state_make_key(&w->key, &k),
				  open_state_wait_look_fn,
				  &args);
	if (tevent_req_nterror(req, status)) {
		return;
	}
	if (tevent_req_nterror(req, args.status)) {
		return;
	}
	if (args.is_zero) {
		tevent_req_done(req);
		return;
	}
	tevent_req_set_callback(args.subreq, open_state_wait_woken, req);
}

static void open_state_wait_woken(struct tevent_req *subreq)
{
	struct tevent_req *req = tevent_req_callback_data(
		subreq, struct tevent_req);
	struct open_state_wait_state *w = tevent_req_data(
		req, struct open_state_wait_state);
	NTSTATUS status;

	status = dbwrap_watched_watch_recv(subreq, &w->instance, NULL, NULL);
	TALLOC_FREE(subreq);
	if (tevent_req_nterror(req, status)) {
		return;
	}
	open_state_wait_look(req);
}

NTSTATUS open_state_wait_recv(struct tevent_req *req)
{
	return tevent_req_simple_recv_ntstatus(req);
}

/* Drop what dead processes left in one record. */
static int open_state_sweep_fn(struct db_record *rec, void *private_data)
{
	struct udf_open_state0 *record = NULL;
	TALLOC_CTX *frame = talloc_stackframe();
	NTSTATUS status;

	status = open_state_parse(frame, dbwrap_record_get_value(rec), &record);
	if (NT_STATUS_IS_OK(status) && open_state_prune(record)) {
		status = open_state_store(rec, record);
	}
	if (!NT_STATUS_IS_OK(status)) {
		DBG_WARNING("a record stays as it is: %s\n",
			    nt_errstr(status));
	}
	TALLOC_FREE(frame);
	return 0;
}

NTSTATUS open_state_init(struct messaging_context *msg_ctx,
			 struct open_state **_state)
{
	static struct open_state *process_state;
	struct open_state *state = NULL;
	struct db_context *backend = NULL;
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

	/*
	 * The last in the lock order: a destructive create asks for the sum
	 * with the file's share mode record locked.
	 */
	backend = db_open(state,
			  path,
			  0,
			  TDB_DEFAULT |
			  TDB_CLEAR_IF_FIRST |
			  TDB_INCOMPATIBLE_HASH |
			  TDB_SEQNUM,
			  O_RDWR | O_CREAT,
			  0600,
			  DBWRAP_LOCK_ORDER_4,
			  DBWRAP_FLAG_NONE);
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

	status = dbwrap_traverse(state->db, open_state_sweep_fn, NULL, NULL);
	if (!NT_STATUS_IS_OK(status)) {
		DBG_WARNING("cannot sweep %s: %s\n",
			    OPEN_STATE_DB,
			    nt_errstr(status));
	}

	process_state = state;
	*_state = state;
	return NT_STATUS_OK;

fail:
	TALLOC_FREE(state);
	return status;
}
