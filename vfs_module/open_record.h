/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One record of the open-state database, decoded: the entries of a file's
 * opens, and who of them still counts. No database here, open_state.c has it.
 */
#ifndef VFS_UDF_OPEN_RECORD_H
#define VFS_UDF_OPEN_RECORD_H

#include "includes.h"
#include "lib/dbwrap/dbwrap.h"
#include "ndr_udf_open_state.h"
#include "open_state.h"

/* No open has this persistent id (smbXsrv_open ids are not all ones). */
#define OPEN_RECORD_NO_OPEN UINT64_MAX

/*
 * Decode a record, all of it a talloc child of mem_ctx. An empty one (new, or
 * nothing but watchers) has no opens.
 * NT_STATUS_REVISION_MISMATCH: written by a newer release, leave it alone.
 * Any other error: it is damaged; that was logged.
 */
NTSTATUS open_record_pull(TALLOC_CTX *mem_ctx,
			  TDB_DATA value,
			  struct udf_open_state0 **record);

/* Say which server id is this process's own, which lives. */
void open_record_set_self(const struct server_id *self);

/* Where the owner of an entry is. */
enum open_presence {
	OPEN_PRESENT, /* connected: its process lives */
	OPEN_AWAY,    /* nobody has it, but it may be reclaimed: it counts */
	OPEN_GONE,    /* it cannot come back: it counts for nothing */
};

/*
 * now is wall clock time; booted, when this host was started, or 0 when
 * opens outlive that.
 */
enum open_presence open_record_presence(const struct udf_open_entry0 *entry,
					NTTIME now,
					NTTIME booted);

/* Drop the entries that are gone; true when there were any. */
bool open_record_prune(struct udf_open_state0 *record,
		       NTTIME now,
		       NTTIME booted);

/* Has it an entry that must be there after smbd's and the host's restart? */
bool open_record_outlives_smbd(const struct udf_open_state0 *record);

/* Has it an entry whose presence depends on the time? */
bool open_record_has_disconnected(const struct udf_open_state0 *record);

/*
 * The sum of all entries but that of one open (OPEN_RECORD_NO_OPEN: of all).
 */
uint64_t open_record_sum(const struct udf_open_state0 *record,
			 uint64_t but_persistent_id);

/* A living process that counts; pid 0: there is none. */
struct server_id open_record_blocker(const struct udf_open_state0 *record);

/* The open's entry; NULL: it has none. */
struct udf_open_entry0 *open_record_find(struct udf_open_state0 *record,
					 uint64_t persistent_id);

/* Find the open's entry, or make one. NULL: no memory. */
struct udf_open_entry0 *
open_record_find_or_add(struct udf_open_state0 *record,
			const struct open_state_owner *owner);

/* Make owner the one who has the entry. */
void open_record_set_owner(struct udf_open_entry0 *entry,
			   const struct open_state_owner *owner);

void open_record_remove(struct udf_open_state0 *record,
			struct udf_open_entry0 *entry);

/* Who the entry says its open is. */
void open_record_owner(const struct udf_open_entry0 *entry,
		       struct open_state_owner *owner);

#endif /* VFS_UDF_OPEN_RECORD_H */
