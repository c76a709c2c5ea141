/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The operations that all smbds hold; see held_list.h and udf_held_op.idl.
 */
#include "held_list.h"
#include "system/filesys.h"
#include "lib/dbwrap/dbwrap.h"
#include "lib/dbwrap/dbwrap_open.h"
#include "lib/util/util_tdb.h"
#include "serverid.h"
#include "util_tdb.h"
#include "ndr_udf_held_op.h"

#define HELD_LIST_DB "udf_held_ops.tdb"

/* The smbd, and a number of its own: pid, vnn, unique_id, number. */
#define HELD_LIST_KEY_LEN (8 + 4 + 8 + 8)

struct held_list {
	struct db_context *db;
};

struct held_list_note {
	struct held_list *list;
	uint8_t key[HELD_LIST_KEY_LEN];
};

static TDB_DATA note_key(struct held_list_note *note)
{
	return make_tdb_data(note->key, sizeof(note->key));
}

static int held_list_note_destructor(struct held_list_note *note)
{
	NTSTATUS status;

	status = dbwrap_delete(note->list->db, note_key(note));
	if (!NT_STATUS_IS_OK(status)) {
		DBG_WARNING("an operation stays listed: %s\n",
			    nt_errstr(status));
	}
	return 0;
}

static NTSTATUS note_store(struct held_list_note *note,
			   const struct held_list_entry *entry)
{
	struct udf_held_op1 op = {
		.owner = entry->server_id,
		.client_guid = entry->client_guid,
		.since = full_timespec_to_nt_time(&entry->since),
		.offset = entry->offset,
		.length = entry->length,
		.address = data_blob_string_const(entry->address),
		.user = data_blob_string_const(entry->user),
		.path = data_blob_string_const(entry->path),
	};
	struct udf_held_opB record = {
		.version = UDF_HELD_OP_VERSION_1,
		.info.info1 = &op,
	};
	DATA_BLOB raw = data_blob_null;
	enum ndr_err_code ndr_err;
	NTSTATUS status;

	ndr_err = ndr_push_struct_blob(
		&raw,
		note,
		&record,
		(ndr_push_flags_fn_t)ndr_push_udf_held_opB);
	if (!NDR_ERR_CODE_IS_SUCCESS(ndr_err)) {
		return ndr_map_error2ntstatus(ndr_err);
	}
	status = dbwrap_store(note->list->db,
			      note_key(note),
			      make_tdb_data(raw.data, raw.length),
			      0);
	data_blob_free(&raw);
	return status;
}

struct held_list_note *held_list_add(TALLOC_CTX *mem_ctx,
				     struct held_list *list,
				     const struct held_list_entry *entry)
{
	static uint64_t number;
	struct held_list_note *note = NULL;
	NTSTATUS status;

	note = talloc_zero(mem_ctx, struct held_list_note);
	if (note == NULL) {
		return NULL;
	}
	note->list = list;
	number += 1;
	SBVAL(note->key, 0, entry->server_id.pid);
	SIVAL(note->key, 8, entry->server_id.vnn);
	SBVAL(note->key, 12, entry->server_id.unique_id);
	SBVAL(note->key, 20, number);

	status = note_store(note, entry);
	if (!NT_STATUS_IS_OK(status)) {
		DBG_WARNING("%s: %s\n", entry->path, nt_errstr(status));
		TALLOC_FREE(note);
		return NULL;
	}
	talloc_set_destructor(note, held_list_note_destructor);
	return note;
}

struct held_list_for_each_args {
	bool (*fn)(const struct held_list_entry *entry, void *private_data);
	void *private_data;
};

/* NULL: of a newer release, or damaged. */
static const struct udf_held_op1 *pull_record(TALLOC_CTX *mem_ctx,
					      TDB_DATA value)
{
	struct udf_held_opB record = { .version = UDF_HELD_OP_VERSION_1 };
	DATA_BLOB raw = data_blob_const(value.dptr, value.dsize);
	const struct udf_held_op0 *old = NULL;
	struct udf_held_op1 *op = NULL;
	enum ndr_err_code ndr_err;

	ndr_err = ndr_pull_struct_blob(
		&raw,
		mem_ctx,
		&record,
		(ndr_pull_flags_fn_t)ndr_pull_udf_held_opB);
	if (!NDR_ERR_CODE_IS_SUCCESS(ndr_err) ||
	    record.version > UDF_HELD_OP_VERSION_1)
	{
		DBG_WARNING("a record of %zu bytes is not understood\n",
			    raw.length);
		return NULL;
	}
	if (record.version == UDF_HELD_OP_VERSION_1) {
		return record.info.info1;
	}
	/* Of an smbd that has the module of before an upgrade still. */
	old = record.info.info0;
	op = talloc_zero(mem_ctx, struct udf_held_op1);
	if (old == NULL || op == NULL) {
		return NULL;
	}
	*op = (struct udf_held_op1) {
		.owner = old->owner,
		.client_guid = old->client_guid,
		.since = old->since,
		.offset = old->offset,
		.length = old->length,
		.path = old->path,
	};
	return op;
}

/* NULL: no memory. */
static const char *blob_string(TALLOC_CTX *mem_ctx, DATA_BLOB blob)
{
	return talloc_strndup(mem_ctx,
			      (blob.data == NULL) ? "" : (char *)blob.data,
			      blob.length);
}

static int held_list_for_each_fn(struct db_record *rec, void *private_data)
{
	struct held_list_for_each_args *args = private_data;
	TALLOC_CTX *frame = talloc_stackframe();
	const struct udf_held_op1 *op = NULL;
	struct held_list_entry entry;
	int stop = 0;

	op = pull_record(frame, dbwrap_record_get_value(rec));
	if (op == NULL || !serverid_exists(&op->owner)) {
		goto done;
	}
	entry = (struct held_list_entry) {
		.server_id = op->owner,
		.client_guid = op->client_guid,
		.address = blob_string(frame, op->address),
		.user = blob_string(frame, op->user),
		.path = blob_string(frame, op->path),
		.offset = op->offset,
		.length = op->length,
		.since = nt_time_to_full_timespec(op->since),
	};
	if (entry.address != NULL && entry.user != NULL && entry.path != NULL) {
		stop = args->fn(&entry, args->private_data) ? 0 : 1;
	}
done:
	TALLOC_FREE(frame);
	return stop;
}

NTSTATUS held_list_for_each(struct held_list *list,
			    bool (*fn)(const struct held_list_entry *entry,
				       void *private_data),
			    void *private_data)
{
	struct held_list_for_each_args args = {
		.fn = fn,
		.private_data = private_data,
	};

	return dbwrap_traverse_read(list->db,
				    held_list_for_each_fn,
				    &args,
				    NULL);
}

/* What an smbd that died has left. */
static int held_list_sweep_fn(struct db_record *rec, void *private_data)
{
	TALLOC_CTX *frame = talloc_stackframe();
	const struct udf_held_op1 *op = NULL;
	NTSTATUS status;

	op = pull_record(frame, dbwrap_record_get_value(rec));
	if (op != NULL && !serverid_exists(&op->owner)) {
		status = dbwrap_record_delete(rec);
		if (!NT_STATUS_IS_OK(status)) {
			DBG_WARNING("dbwrap_record_delete: %s\n",
				    nt_errstr(status));
		}
	}
	TALLOC_FREE(frame);
	return 0;
}

NTSTATUS held_list_init(struct held_list **_list)
{
	static struct held_list *process_list;
	struct held_list *list = NULL;
	char *path = NULL;
	NTSTATUS status;

	if (process_list != NULL) {
		*_list = process_list;
		return NT_STATUS_OK;
	}

	list = talloc_zero(NULL, struct held_list);
	if (list == NULL) {
		return NT_STATUS_NO_MEMORY;
	}
	path = lock_path(list, HELD_LIST_DB);
	if (path == NULL) {
		TALLOC_FREE(list);
		return NT_STATUS_NO_MEMORY;
	}
	list->db = db_open(list,
			   path,
			   0,
			   TDB_DEFAULT |
			   TDB_CLEAR_IF_FIRST |
			   TDB_INCOMPATIBLE_HASH,
			   O_RDWR | O_CREAT,
			   0600,
			   DBWRAP_LOCK_ORDER_NONE,
			   DBWRAP_FLAG_NONE);
	if (list->db == NULL) {
		status = map_nt_error_from_unix(errno);
		DBG_ERR("cannot open %s: %s\n", path, strerror(errno));
		TALLOC_FREE(list);
		return status;
	}
	TALLOC_FREE(path);

	status = dbwrap_traverse(list->db, held_list_sweep_fn, NULL, NULL);
	if (!NT_STATUS_IS_OK(status)) {
		DBG_WARNING("cannot sweep %s: %s\n",
			    HELD_LIST_DB,
			    nt_errstr(status));
	}
	process_list = list;
	*_list = list;
	return NT_STATUS_OK;
}
