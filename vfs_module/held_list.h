/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The operations that all smbds hold, for "udfctl status" to show. Nothing
 * depends on it: an operation that could not be listed is held all the same.
 */
#ifndef VFS_UDF_HELD_LIST_H
#define VFS_UDF_HELD_LIST_H

#include "includes.h"
#include "librpc/gen_ndr/misc.h"
#include "librpc/gen_ndr/server_id.h"

struct held_list; /* the database */

struct held_list_entry {
	struct server_id server_id; /* of the smbd */
	struct GUID client_guid;
	const char *address; /* the client's; empty: not known */
	const char *user;
	const char *path;
	uint64_t offset;
	uint64_t length;
	struct timespec since;
};

/* Open the database, once per process. Needs root. */
NTSTATUS held_list_init(struct held_list **list);

/* Listed until it is freed. */
struct held_list_note;

/* NULL: it could not be listed, which was logged. */
struct held_list_note *held_list_add(TALLOC_CTX *mem_ctx,
				     struct held_list *list,
				     const struct held_list_entry *entry);

/* Call fn for each that a living smbd holds, in no order, until it is false. */
NTSTATUS held_list_for_each(struct held_list *list,
			    bool (*fn)(const struct held_list_entry *entry,
				       void *private_data),
			    void *private_data);

#endif /* VFS_UDF_HELD_LIST_H */
