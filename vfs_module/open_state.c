/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What is kept of the opens of a file; see open_state.h and
 * udf_open_state.idl.
 */
#include "open_state_db.h"
#include "lib/dbwrap/dbwrap_watch.h"
#include "lib/util/tevent_ntstatus.h"

struct open_state_count_args {
	const struct open_state_owner *owner;
	const struct purge_mode_request *request;
	enum purge_mode_result result;
	uint64_t serial;
};

static NTSTATUS open_state_count_change(struct udf_open_state0 *record,
					bool *dirty,
					void *private_data)
{
	struct open_state_count_args *args = private_data;
	struct udf_open_entry0 *entry = NULL;
	struct purge_mode_open mode;
	uint64_t others = 0;

	others = open_record_sum(record, args->owner->persistent_id);
	entry = open_record_find_or_add(record, args->owner);
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
	if (args->result == PURGE_MODE_REPLAYED) {
		/*
		 * Whoever counted it may have died between the steps of its
		 * store, and the reply to this one is all the client waits
		 * for.
		 */
		args->serial = entry->serial;
		*dirty = true;
		return NT_STATUS_OK;
	}
	if (args->result != PURGE_MODE_COUNTED) {
		/* A new entry would say nothing; it is not stored. */
		*dirty = false;
		return NT_STATUS_OK;
	}

	open_record_set_owner(entry, args->owner);
	if (entry->purge_count == 0) {
		entry->counted_since = open_state_now();
	}
	entry->purge_count = mode.count;
	entry->last_action = mode.last_action;
	entry->last_channel_sequence = mode.last_channel_sequence;
	entry->flags |= UDF_OPEN_UNSETTLED;
	entry->serial += 1;
	args->serial = entry->serial;
	*dirty = true;
	return NT_STATUS_OK;
}

NTSTATUS open_state_count(struct open_state *state,
			  const struct udf_file_key *key,
			  const struct open_state_owner *owner,
			  const struct purge_mode_request *request,
			  enum purge_mode_result *result,
			  uint64_t *serial)
{
	struct open_state_count_args args = {
		.owner = owner,
		.request = request,
		.result = PURGE_MODE_UNDERFLOW,
	};
	NTSTATUS status;

	status = open_state_change(state,
				   key,
				   owner->persistent_id,
				   OPEN_STATE_DROP_GONE,
				   open_state_count_change,
				   &args);
	*result = args.result;
	if (serial != NULL) {
		*serial = args.serial;
	}
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

	entry = open_record_find_or_add(record, args->owner);
	if (entry == NULL) {
		return NT_STATUS_NO_MEMORY;
	}
	open_record_set_owner(entry, args->owner);
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

	return open_state_change(state,
				 key,
				 owner->persistent_id,
				 OPEN_STATE_DROP_GONE,
				 open_state_defect_change,
				 &args);
}

static NTSTATUS open_state_settle_change(struct udf_open_state0 *record,
					 bool *dirty,
					 void *private_data)
{
	uint64_t *persistent_id = private_data;
	struct udf_open_entry0 *entry = NULL;

	entry = open_record_find(record, *persistent_id);
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
				 persistent_id,
				 OPEN_STATE_DROP_GONE,
				 open_state_settle_change,
				 &persistent_id);
}

static NTSTATUS open_state_release_change(struct udf_open_state0 *record,
					  bool *dirty,
					  void *private_data)
{
	uint64_t *persistent_id = private_data;
	struct udf_open_entry0 *entry = NULL;

	entry = open_record_find(record, *persistent_id);
	if (entry == NULL) {
		return NT_STATUS_OK;
	}
	open_record_remove(record, entry);
	*dirty = true;
	return NT_STATUS_OK;
}

NTSTATUS open_state_release(struct open_state *state,
			    const struct udf_file_key *key,
			    uint64_t persistent_id)
{
	return open_state_change(state,
				 key,
				 persistent_id,
				 OPEN_STATE_DROP_GONE,
				 open_state_release_change,
				 &persistent_id);
}

struct open_state_sum_args {
	bool away;
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

	args->status = open_record_pull(frame, value, &record);
	if (NT_STATUS_IS_OK(args->status)) {
		open_state_prune(record);
		args->sum = open_record_sum(record, OPEN_RECORD_NO_OPEN);
		args->away = open_state_has_away(record);
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

	if (args.away) {
		open_state_tell_away(state, key);
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

	status = open_record_pull(frame, value, &record);
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
	status = open_record_pull(frame, dbwrap_record_get_value(rec), &record);
	if (!NT_STATUS_IS_OK(status)) {
		args->status = status;
		goto done;
	}
	open_state_prune(record);

	for (i = 0; i < record->num_opens && stop == 0; i++) {
		const struct udf_open_entry0 *e = &record->opens[i];

		open_state_show(e, &entry);
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
	bool away;
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

	args->status = open_record_pull(frame, value, &record);
	if (!NT_STATUS_IS_OK(args->status)) {
		goto done;
	}
	open_state_prune(record);
	sum = open_record_sum(record, OPEN_RECORD_NO_OPEN);
	blocker = open_record_blocker(record);
	args->away = open_state_has_away(record);

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
	if (args.away) {
		open_state_tell_away(w->state, &w->key);
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

