/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What `make bench BENCH=record` compares an FSCTL with: a VFS module that, on
 * a control code of its own (raw_store.h), does nothing but store one record
 * as often as it is told, in a database that is opened as smbd opens its own of
 * persistent handles, each store on disk and on all nodes before the next.
 * So what it needs is what Samba's database needs, in an smbd of the same
 * server, without requests, answers, decoding, or watchers.
 */
#include "includes.h"
#include "smbd/smbd.h"
#include "lib/dbwrap/dbwrap.h"
#include "lib/dbwrap/dbwrap_open.h"
#include "lib/util/util_tdb.h"
#include "raw_store.h"
#include "vfs_module/samba_compat.h"

#define RAW_STORE_DB "bench_raw_store.tdb"

/* As smbd's own databases. */
#define RAW_STORE_DB_CHAINS 10007

/* As long as the module's (open_state_db.h). */
#define RAW_STORE_KEY "a key of the length of the module's"
#define RAW_STORE_KEY_LEN 32

static_assert(sizeof(RAW_STORE_KEY) > RAW_STORE_KEY_LEN, "the key");

NTSTATUS vfs_raw_store_init(TALLOC_CTX *ctx);

struct raw_store {
	uint8_t *record;
	size_t length;
	NTSTATUS status;
};

static NTSTATUS raw_store_open(struct db_context **_db)
{
	/* Once per process, as the module's. */
	static struct db_context *db;
	uint64_t db_flags = samba_compat_twin_db_flags();
	char *path = NULL;

	if (db_flags == 0) {
		return NT_STATUS_NOT_SUPPORTED;
	}
	if (db == NULL) {
		path = lock_path(talloc_tos(), RAW_STORE_DB);
		if (path == NULL) {
			return NT_STATUS_NO_MEMORY;
		}
		db = db_open(NULL,
			     path,
			     RAW_STORE_DB_CHAINS,
			     TDB_DEFAULT | TDB_INCOMPATIBLE_HASH | TDB_SEQNUM |
				     TDB_CLEAR_IF_FIRST,
			     O_RDWR | O_CREAT,
			     0600,
			     DBWRAP_LOCK_ORDER_NONE,
			     db_flags);
		TALLOC_FREE(path);
	}
	if (db == NULL) {
		return NT_STATUS_INTERNAL_DB_ERROR;
	}
	*_db = db;
	return NT_STATUS_OK;
}

static void raw_store_locked(struct db_record *rec,
			     TDB_DATA value,
			     void *private_data)
{
	struct raw_store *raw = private_data;

	raw->status = dbwrap_record_store(rec,
					  make_tdb_data(raw->record,
							raw->length),
					  SAMBA_COMPAT_STORE_PERSISTENT);
}

static NTSTATUS raw_store_many(struct raw_store *raw, uint32_t count)
{
	TDB_DATA key = make_tdb_data((const uint8_t *)RAW_STORE_KEY,
				     RAW_STORE_KEY_LEN);
	struct db_context *db = NULL;
	uint32_t i = 0;
	NTSTATUS status;

	status = raw_store_open(&db);
	for (i = 0; i < count && NT_STATUS_IS_OK(status); i++) {
		/* Each differs from the last. */
		SIVAL(raw->record, 0, i);
		status = dbwrap_do_locked(db, key, raw_store_locked, raw);
		if (NT_STATUS_IS_OK(status)) {
			status = raw->status;
		}
	}
	return status;
}

static NTSTATUS raw_store_serve(TALLOC_CTX *ctx,
				const uint8_t *input,
				uint32_t length)
{
	struct raw_store raw = { .status = NT_STATUS_INTERNAL_ERROR };
	uint32_t count = 0;
	NTSTATUS status;

	if (length < RAW_STORE_INPUT_LEN) {
		return NT_STATUS_INVALID_PARAMETER;
	}
	raw.length = IVAL(input, RAW_STORE_BYTES_OFFSET);
	count = IVAL(input, RAW_STORE_COUNT_OFFSET);
	if (raw.length < sizeof(uint32_t) || raw.length > RAW_STORE_MAX_BYTES) {
		return NT_STATUS_INVALID_PARAMETER;
	}
	raw.record = talloc_zero_array(ctx, uint8_t, raw.length);
	if (raw.record == NULL) {
		return NT_STATUS_NO_MEMORY;
	}

	become_root();
	status = raw_store_many(&raw, count);
	unbecome_root();

	TALLOC_FREE(raw.record);
	return status;
}

static NTSTATUS raw_store_fsctl(struct vfs_handle_struct *handle,
				struct files_struct *fsp,
				TALLOC_CTX *ctx,
				uint32_t function,
				uint16_t req_flags,
				const uint8_t *in_data,
				uint32_t in_len,
				uint8_t **out_data,
				uint32_t max_out_len,
				uint32_t *out_len)
{
	if (function == RAW_STORE_FSCTL) {
		*out_len = 0;
		return raw_store_serve(ctx, in_data, in_len);
	}
	return SMB_VFS_NEXT_FSCTL(handle,
				  fsp,
				  ctx,
				  function,
				  req_flags,
				  in_data,
				  in_len,
				  out_data,
				  max_out_len,
				  out_len);
}

static struct vfs_fn_pointers raw_store_fns = {
	.fsctl_fn = raw_store_fsctl,
};

NTSTATUS vfs_raw_store_init(TALLOC_CTX *ctx)
{
	return smb_register_vfs(SMB_VFS_INTERFACE_VERSION,
				"raw_store",
				&raw_store_fns);
}
