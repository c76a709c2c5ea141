/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One record of the open-state database, decoded; see open_record.h.
 */
#include "open_record.h"
#include "open_record_ndr.h"
#include "samba_compat.h"
#include "librpc/gen_ndr/ndr_misc.h"
#include "serverid.h"
#include "lib/util/server_id.h"

/* NTTIME counts 100 ns. */
#define NTTIME_PER_MSEC 10000

NTSTATUS open_record_pull(TALLOC_CTX *mem_ctx,
			  TDB_DATA value,
			  struct udf_open_state0 **_record)
{
	struct udf_open_stateB *blob = NULL;
	DATA_BLOB raw = data_blob_const(value.dptr, value.dsize);
	struct udf_open_state0 *record = NULL;
	enum ndr_err_code ndr_err;
	uint32_t version = 0;

	if (raw.length == 0) {
		record = open_record_ndr_new(mem_ctx, 0);
		if (record == NULL) {
			return NT_STATUS_NO_MEMORY;
		}
		*_record = record;
		return NT_STATUS_OK;
	}
	if (open_record_ndr_is_plain(raw)) {
		record = open_record_ndr_pull(mem_ctx, raw);
		if (record == NULL) {
			return NT_STATUS_NO_MEMORY;
		}
		*_record = record;
		return NT_STATUS_OK;
	}

	/* It comes first. Decoding what follows a newer one says less. */
	if (raw.length >= sizeof(version)) {
		version = IVAL(raw.data, 0);
	}
	if (version != UDF_OPEN_STATE_VERSION_0) {
		DBG_ERR("record of version %"PRIu32" (or damaged), known is "
			"%u\n",
			version,
			UDF_OPEN_STATE_VERSION_0);
		return NT_STATUS_REVISION_MISMATCH;
	}

	blob = talloc_zero(mem_ctx, struct udf_open_stateB);
	if (blob == NULL) {
		return NT_STATUS_NO_MEMORY;
	}
	ndr_err = ndr_pull_struct_blob(
		&raw,
		blob,
		blob,
		(ndr_pull_flags_fn_t)ndr_pull_udf_open_stateB);
	if (!NDR_ERR_CODE_IS_SUCCESS(ndr_err)) {
		DBG_ERR("damaged record of %zu bytes: %s\n",
			raw.length,
			ndr_map_error2string(ndr_err));
		TALLOC_FREE(blob);
		return ndr_map_error2ntstatus(ndr_err);
	}
	if (blob->info.info0 == NULL) {
		DBG_ERR("record without content\n");
		TALLOC_FREE(blob);
		return NT_STATUS_INTERNAL_DB_CORRUPTION;
	}

	*_record = talloc_move(mem_ctx, &blob->info.info0);
	TALLOC_FREE(blob);
	return NT_STATUS_OK;
}

/* Has the time run out in which a handle that nobody has is kept? */
static bool open_record_is_overdue(const struct udf_open_entry0 *entry,
				   NTTIME now,
				   NTTIME booted)
{
	uint64_t kept_msec = (uint64_t)entry->timeout_msec +
			     SAMBA_COMPAT_GONE_GRACE_MSEC;

	if ((entry->flags & UDF_OPEN_PERSISTENT) == 0 &&
	    entry->disconnect_time < booted)
	{
		return true;
	}
	if (now <= entry->disconnect_time) {
		return false;
	}
	return now - entry->disconnect_time > kept_msec * NTTIME_PER_MSEC;
}

/* Of this process; asking whether it lives costs two system calls. */
static struct server_id open_record_self;

void open_record_set_self(const struct server_id *self)
{
	open_record_self = *self;
}

static bool open_record_owner_lives(const struct server_id *owner)
{
	return server_id_equal(owner, &open_record_self) ||
	       serverid_exists(owner);
}

enum open_presence open_record_presence(const struct udf_open_entry0 *entry,
					NTTIME now,
					NTTIME booted)
{
	if ((entry->flags & UDF_OPEN_DISCONNECTED) != 0) {
		return open_record_is_overdue(entry, now, booted) ? OPEN_GONE
								  : OPEN_AWAY;
	}
	if (open_record_owner_lives(&entry->owner)) {
		return OPEN_PRESENT;
	}
	/* Its smbd was killed, or its node is down. */
	if ((entry->flags & UDF_OPEN_PERSISTENT) != 0) {
		return OPEN_AWAY;
	}
	return OPEN_GONE;
}

bool open_record_prune(struct udf_open_state0 *record,
		       NTTIME now,
		       NTTIME booted)
{
	uint32_t i = 0;
	uint32_t kept = 0;
	bool pruned = false;

	for (i = 0; i < record->num_opens; i++) {
		enum open_presence presence = open_record_presence(
			&record->opens[i], now, booted);

		if (presence == OPEN_GONE) {
			continue;
		}
		record->opens[kept] = record->opens[i];
		kept += 1;
	}

	pruned = (kept != record->num_opens);
	record->num_opens = kept;
	return pruned;
}

bool open_record_outlives_smbd(const struct udf_open_state0 *record)
{
	const uint32_t outlives = UDF_OPEN_PERSISTENT | UDF_OPEN_DISCONNECTED;
	uint32_t i = 0;

	for (i = 0; i < record->num_opens; i++) {
		if ((record->opens[i].flags & outlives) != 0) {
			return true;
		}
	}
	return false;
}

bool open_record_has_disconnected(const struct udf_open_state0 *record)
{
	uint32_t i = 0;

	for (i = 0; i < record->num_opens; i++) {
		if ((record->opens[i].flags & UDF_OPEN_DISCONNECTED) != 0) {
			return true;
		}
	}
	return false;
}

uint64_t open_record_sum(const struct udf_open_state0 *record,
			 uint64_t but_persistent_id)
{
	uint64_t sum = 0;
	uint32_t i = 0;

	for (i = 0; i < record->num_opens; i++) {
		if (record->opens[i].persistent_id == but_persistent_id) {
			continue;
		}
		sum += record->opens[i].purge_count;
	}
	return sum;
}

struct server_id open_record_blocker(const struct udf_open_state0 *record)
{
	struct server_id none = { .pid = 0 };
	uint32_t i = 0;

	for (i = 0; i < record->num_opens; i++) {
		const struct udf_open_entry0 *e = &record->opens[i];

		if (e->purge_count == 0) {
			continue;
		}
		if (open_record_presence(e, 0, 0) == OPEN_PRESENT) {
			return e->owner;
		}
	}
	return none;
}

struct udf_open_entry0 *open_record_find(struct udf_open_state0 *record,
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

static uint32_t open_record_owner_flags(const struct open_state_owner *owner)
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
	if (owner->durable) {
		flags |= UDF_OPEN_DURABLE;
	}
	if (owner->persistent) {
		flags |= UDF_OPEN_PERSISTENT;
	}
	if (owner->unbuffered) {
		flags |= UDF_OPEN_UNBUFFERED;
	}
	return flags;
}

static enum open_state_kind open_record_kind(uint32_t flags)
{
	if ((flags & UDF_OPEN_LOCAL) == 0) {
		return OPEN_STATE_SMB;
	}
	if ((flags & UDF_OPEN_BACKGROUND) != 0) {
		return OPEN_STATE_LOCAL_BACKGROUND;
	}
	return OPEN_STATE_LOCAL;
}

void open_record_set_owner(struct udf_open_entry0 *entry,
			   const struct open_state_owner *owner)
{
	/* Unbuffered it stays: a reclaim does not say it again. */
	const uint32_t of_owner = UDF_OPEN_LOCAL |
				  UDF_OPEN_BACKGROUND |
				  UDF_OPEN_WHOLE_VIEW |
				  UDF_OPEN_DURABLE |
				  UDF_OPEN_PERSISTENT |
				  UDF_OPEN_DISCONNECTED;

	entry->owner = owner->server_id;
	entry->flags &= ~of_owner;
	entry->flags |= open_record_owner_flags(owner);
	entry->timeout_msec = owner->timeout_msec;
	entry->disconnect_time = 0;
}

struct udf_open_entry0 *
open_record_find_or_add(struct udf_open_state0 *record,
			const struct open_state_owner *owner)
{
	struct udf_open_entry0 *entry = NULL;
	struct udf_open_entry0 *opens = NULL;
	bool is_same = false;

	entry = open_record_find(record, owner->persistent_id);
	if (entry != NULL) {
		is_same = GUID_equal(&entry->create_guid, &owner->create_guid);
		if (is_same) {
			return entry;
		}
		/* smbd gave the number out again: the old open is gone. */
		open_record_remove(record, entry);
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
		.last_action = PURGE_MODE_NONE,
	};
	open_record_set_owner(entry, owner);
	record->num_opens += 1;
	return entry;
}

void open_record_remove(struct udf_open_state0 *record,
			struct udf_open_entry0 *entry)
{
	*entry = record->opens[record->num_opens - 1];
	record->num_opens -= 1;
}

void open_record_owner(const struct udf_open_entry0 *entry,
		       struct open_state_owner *owner)
{
	*owner = (struct open_state_owner) {
		.persistent_id = entry->persistent_id,
		.client_guid = entry->client_guid,
		.create_guid = entry->create_guid,
		.server_id = entry->owner,
		.kind = open_record_kind(entry->flags),
		.whole_view = (entry->flags & UDF_OPEN_WHOLE_VIEW) != 0,
		.durable = (entry->flags & UDF_OPEN_DURABLE) != 0,
		.persistent = (entry->flags & UDF_OPEN_PERSISTENT) != 0,
		.timeout_msec = entry->timeout_msec,
		.unbuffered = (entry->flags & UDF_OPEN_UNBUFFERED) != 0,
	};
}
