/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the module keeps of a tree connect and of an open.
 */
#ifndef VFS_UDF_H
#define VFS_UDF_H

#include "includes.h"
#include "held_ops.h"
#include "open_state.h"
#include "store.h"

/* A tree connect to a share that is on a store. */
struct udf_conn {
	struct udf_store *store;
	struct open_state *state;
	struct held_ops *held;
	struct messaging_context *msg_ctx;
	const char **purge_users; /* udf:purge mode users; NULL: everybody */
	uint64_t max_brackets;	  /* udf:max brackets */

	/*
	 * While a CREATE is in smbd's hands: a truncation is its doing, and
	 * was it refused because the file could not be purged?
	 */
	unsigned creating;
	bool create_purge_failed;
};

/* An open: an fsp extension, made when there is something to keep. */
struct udf_open {
	bool key_known;
	struct udf_file_key key;

	bool unbuffered; /* opened with FILE_NO_INTERMEDIATE_BUFFERING */
	bool has_entry;	 /* in open_state: to be released at close */
	uint64_t persistent_id; /* of that entry */
	bool kept; /* the entry stays when smbd closes the file */
	bool unsettled;	 /* its last counted request may be replayed */
	uint32_t brackets; /* that it has open, see purge_guard.h */
	/* Reclaimed with that request (its number) open; 0: it is not. */
	uint64_t reclaimed_serial;
	bool has_note; /* in reply_note, or may have */
	struct open_state_cache cache;
};

/*
 * The fsp's extension, made if it has none. NULL: no memory.
 */
struct udf_open *udf_open_get(struct vfs_handle_struct *handle,
			      struct files_struct *fsp);

/*
 * The same, with the key filled in. An error when the file cannot be
 * identified: it is no file of the store, or the store is gone.
 */
NTSTATUS udf_open_get_key(struct vfs_handle_struct *handle,
			  struct files_struct *fsp,
			  struct udf_open **open);

/* Who the fsp is in the database. */
void udf_open_owner(struct udf_conn *conn,
		    const struct files_struct *fsp,
		    struct open_state_owner *owner);

#endif /* VFS_UDF_H */
