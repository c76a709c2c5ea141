/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Opens that nobody has: how they are given up, reclaimed and timed out; see
 * open_state.h.
 */
#include "open_state_db.h"

struct open_state_disconnect_args {
	uint64_t persistent_id;
	bool settled;
};

static NTSTATUS open_state_disconnect_change(struct udf_open_state0 *record,
					     bool *dirty,
					     void *private_data)
{
	struct open_state_disconnect_args *args = private_data;
	struct udf_open_entry0 *entry = NULL;

	entry = open_record_find(record, args->persistent_id);
	if (entry == NULL) {
		return NT_STATUS_NOT_FOUND;
	}
	if (args->settled) {
		entry->flags &= ~UDF_OPEN_UNSETTLED;
	}
	entry->flags |= UDF_OPEN_DISCONNECTED;
	entry->disconnect_time = open_state_now();
	*dirty = true;
	return NT_STATUS_OK;
}

NTSTATUS open_state_disconnect(struct open_state *state,
			       const struct udf_file_key *key,
			       uint64_t persistent_id,
			       bool settled)
{
	struct open_state_disconnect_args args = {
		.persistent_id = persistent_id,
		.settled = settled,
	};

	return open_state_change(state,
				 key,
				 persistent_id,
				 OPEN_STATE_DROP_GONE,
				 open_state_disconnect_change,
				 &args);
}

struct open_state_reclaim_args {
	const struct open_state_owner *owner;
	uint64_t answered_serial;
	struct open_state_entry *found;
};

static NTSTATUS open_state_reclaim_change(struct udf_open_state0 *record,
					  bool *dirty,
					  void *private_data)
{
	struct open_state_reclaim_args *args = private_data;
	struct udf_open_entry0 *entry = NULL;
	bool is_same = false;

	entry = open_record_find(record, args->owner->persistent_id);
	if (entry == NULL) {
		return NT_STATUS_NOT_FOUND;
	}
	is_same = GUID_equal(&entry->create_guid, &args->owner->create_guid);
	if (!is_same) {
		return NT_STATUS_NOT_FOUND;
	}

	open_record_set_owner(entry, args->owner);
	if (args->answered_serial != 0 &&
	    args->answered_serial == entry->serial)
	{
		entry->flags &= ~UDF_OPEN_UNSETTLED;
	}
	open_state_show(entry, args->found);
	*dirty = true;
	return NT_STATUS_OK;
}

NTSTATUS open_state_reclaim(struct open_state *state,
			    const struct udf_file_key *key,
			    const struct open_state_owner *owner,
			    uint64_t answered_serial,
			    struct open_state_entry *found)
{
	struct open_state_reclaim_args args = {
		.owner = owner,
		.answered_serial = answered_serial,
		.found = found,
	};

	found->key = *key;
	return open_state_change(state,
				 key,
				 owner->persistent_id,
				 OPEN_STATE_KEEP_GONE,
				 open_state_reclaim_change,
				 &args);
}

struct open_state_list_args {
	TALLOC_CTX *mem_ctx;
	const struct udf_file_key *key;
	struct open_state_entry *entries;
	NTSTATUS status;
};

static void open_state_list_parser(TDB_DATA key,
				   TDB_DATA value,
				   void *private_data)
{
	struct open_state_list_args *args = private_data;
	struct udf_open_state0 *record = NULL;
	TALLOC_CTX *frame = talloc_stackframe();
	size_t num = 0;
	uint32_t i = 0;

	args->status = open_record_pull(frame, value, &record);
	if (!NT_STATUS_IS_OK(args->status)) {
		goto done;
	}
	for (i = 0; i < record->num_opens; i++) {
		const struct udf_open_entry0 *e = &record->opens[i];

		if (open_state_presence(e) == OPEN_PRESENT) {
			continue;
		}
		args->entries = talloc_realloc(args->mem_ctx,
					       args->entries,
					       struct open_state_entry,
					       num + 1);
		if (args->entries == NULL) {
			args->status = NT_STATUS_NO_MEMORY;
			goto done;
		}
		args->entries[num].key = *args->key;
		open_state_show(e, &args->entries[num]);
		num += 1;
	}
done:
	TALLOC_FREE(frame);
}

NTSTATUS open_state_list_away(struct open_state *state,
			      const struct udf_file_key *key,
			      TALLOC_CTX *mem_ctx,
			      struct open_state_entry **entries)
{
	struct open_state_list_args args = {
		.mem_ctx = mem_ctx,
		.key = key,
		.status = NT_STATUS_OK,
	};
	struct open_state_key k;
	NTSTATUS status;

	status = dbwrap_parse_record(state->db,
				     open_state_make_key(key, &k),
				     open_state_list_parser,
				     &args);
	*entries = args.entries;
	if (NT_STATUS_EQUAL(status, NT_STATUS_NOT_FOUND)) {
		return NT_STATUS_OK;
	}
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}
	if (!NT_STATUS_IS_OK(args.status)) {
		/*
		 * Nor will it be of use at the next look. Should it be some
		 * day, whoever asks for the file's sum finds these opens.
		 */
		DBG_WARNING("a record cannot be read, its opens are left "
			    "alone: %s\n",
			    nt_errstr(args.status));
		TALLOC_FREE(*entries);
	}
	return NT_STATUS_OK;
}

struct open_state_away_args {
	uint64_t persistent_id;
	bool drop;
};

static NTSTATUS open_state_away_change(struct udf_open_state0 *record,
				       bool *dirty,
				       void *private_data)
{
	struct open_state_away_args *args = private_data;
	struct udf_open_entry0 *entry = NULL;

	entry = open_record_find(record, args->persistent_id);
	if (entry == NULL) {
		return NT_STATUS_OK;
	}
	if (open_state_presence(entry) == OPEN_PRESENT) {
		return NT_STATUS_OK;
	}
	if (args->drop) {
		open_record_remove(record, entry);
	} else {
		entry->flags |= UDF_OPEN_DISCONNECTED;
		entry->disconnect_time = open_state_now();
	}
	*dirty = true;
	return NT_STATUS_OK;
}

NTSTATUS open_state_drop_away(struct open_state *state,
			      const struct udf_file_key *key,
			      uint64_t persistent_id)
{
	struct open_state_away_args args = {
		.persistent_id = persistent_id,
		.drop = true,
	};

	return open_state_change(state,
				 key,
				 persistent_id,
				 OPEN_STATE_DROP_GONE,
				 open_state_away_change,
				 &args);
}

NTSTATUS open_state_stamp_away(struct open_state *state,
			       const struct udf_file_key *key,
			       uint64_t persistent_id)
{
	struct open_state_away_args args = {
		.persistent_id = persistent_id,
		.drop = false,
	};

	return open_state_change(state,
				 key,
				 persistent_id,
				 OPEN_STATE_DROP_GONE,
				 open_state_away_change,
				 &args);
}

struct open_state_sweep {
	struct udf_file_key *keys;
	size_t num_keys;
};

/* Note the records that dead processes or handles are in. */
static int open_state_sweep_fn(struct db_record *rec, void *private_data)
{
	struct open_state_sweep *sweep = private_data;
	struct udf_file_key *keys = NULL;
	struct udf_open_state0 *record = NULL;
	struct udf_file_key key;
	TALLOC_CTX *frame = talloc_stackframe();
	bool is_due = false;
	NTSTATUS status;

	if (!open_state_pull_key(dbwrap_record_get_key(rec), &key)) {
		goto done;
	}
	status = open_record_pull(frame, dbwrap_record_get_value(rec), &record);
	if (!NT_STATUS_IS_OK(status)) {
		DBG_WARNING("a record stays as it is: %s\n",
			    nt_errstr(status));
		goto done;
	}
	is_due = open_state_prune(record) || open_state_has_away(record) ||
		 record->num_opens == 0;
	if (!is_due) {
		goto done;
	}

	keys = talloc_realloc(NULL,
			      sweep->keys,
			      struct udf_file_key,
			      sweep->num_keys + 1);
	if (keys == NULL) {
		goto done;
	}
	sweep->keys = keys;
	sweep->keys[sweep->num_keys] = key;
	sweep->num_keys += 1;
done:
	TALLOC_FREE(frame);
	return 0;
}

static NTSTATUS open_state_prune_change(struct udf_open_state0 *record,
					bool *dirty,
					void *private_data)
{
	bool *away = private_data;

	*away = open_state_has_away(record);
	return NT_STATUS_OK;
}

static NTSTATUS open_state_sweep(struct open_state *state)
{
	struct open_state_sweep sweep = { .keys = NULL };
	NTSTATUS result;
	size_t i = 0;

	/*
	 * A traverse gives the records without their watchers: they cannot be
	 * stored from there.
	 */
	result = dbwrap_traverse_read(state->db,
				      open_state_sweep_fn,
				      &sweep,
				      NULL);
	for (i = 0; i < sweep.num_keys; i++) {
		bool away = false;
		NTSTATUS status;

		status = open_state_change(state,
					   &sweep.keys[i],
					   OPEN_RECORD_NO_OPEN,
					   OPEN_STATE_DROP_GONE,
					   open_state_prune_change,
					   &away);
		if (!NT_STATUS_IS_OK(status)) {
			result = status;
		}
		if (away) {
			open_state_tell_away(state, &sweep.keys[i]);
		}
	}
	TALLOC_FREE(sweep.keys);
	return result;
}

NTSTATUS open_state_look_after(struct open_state *state,
			       open_state_away_fn fn)
{
	NTSTATUS status;

	if (state->is_swept) {
		return NT_STATUS_OK;
	}
	state->away_fn = fn;
	status = open_state_sweep(state);
	state->is_swept = NT_STATUS_IS_OK(status);
	return status;
}

