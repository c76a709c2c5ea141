/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What is kept of the opens of a file: a database record per file, an entry
 * per open, seen by every smbd process (and, under CTDB, by every node).
 *
 * A change is in the database before the function returns: a request that
 * could not be recorded has not happened.
 *
 * An open that can be reclaimed (a durable handle whose connection ended in
 * order, a persistent one in any case) keeps its entry while nobody has it,
 * and counts, until it is reclaimed or timed out. Entries of other opens
 * whose smbd has died count for nothing and go when the record is next
 * touched.
 */
#ifndef VFS_UDF_OPEN_STATE_H
#define VFS_UDF_OPEN_STATE_H

#include "includes.h"
#include "librpc/gen_ndr/misc.h"
#include "librpc/gen_ndr/server_id.h"
#include "purge_mode.h"
#include "store.h"

struct open_state; /* the database */

enum open_state_kind {
	OPEN_STATE_SMB,		     /* an open of smbd's */
	OPEN_STATE_LOCAL,	     /* none: a process on the server */
	OPEN_STATE_LOCAL_BACKGROUND, /* one that stays until it is told */
};

/* Who an open is. */
struct open_state_owner {
	uint64_t persistent_id; /* smbXsrv_open_global's */
	struct GUID client_guid;
	struct GUID create_guid;
	struct server_id server_id; /* of this process */
	enum open_state_kind kind;
	/*
	 * Its count stands for a view of all of the file, whatever pages are
	 * in memory: no purge succeeds.
	 */
	bool whole_view;
	/*
	 * The handle outlives its connection; its smbd and its node as well;
	 * and how long, in milliseconds.
	 */
	bool durable;
	bool persistent;
	uint32_t timeout_msec;
	bool unbuffered; /* opened with FILE_NO_INTERMEDIATE_BUFFERING */
};

/* Remembers that a file had no count; zero-initialise. */
struct open_state_cache {
	bool quiet;
	int seqnum;
};

/*
 * Open the database, once per process; it is shared by all shares. Needs
 * root.
 */
NTSTATUS open_state_init(struct messaging_context *msg_ctx,
			 struct open_state **state);

/*
 * Log it, once, if persistent handles are to be kept, and Samba's lock
 * directory is in memory (Debian's is). In a cluster that is for CTDB. Needs
 * root.
 */
void open_state_check_disk(struct open_state *state);

/*
 * From now on call fn whenever a look at a file finds an open that nobody
 * has. Records may be locked then: fn may only make a note. Also drops what
 * others left behind, in all of the database; once per process.
 */
typedef void (*open_state_away_fn)(struct open_state *state,
				   const struct udf_file_key *key);
NTSTATUS open_state_look_after(struct open_state *state,
			       open_state_away_fn fn);

/*
 * Count one FSCTL_SET_PURGE_FAILURE_MODE. *result says what came of it, and
 * *serial, if that is wanted, how many of the open were counted; the status is
 * for the database alone, and when it is an error nothing has changed.
 */
NTSTATUS open_state_count(struct open_state *state,
			  const struct udf_file_key *key,
			  const struct open_state_owner *owner,
			  const struct purge_mode_request *request,
			  enum purge_mode_result *result,
			  uint64_t *serial);

/* The open has turned defect management off, or on again. */
NTSTATUS open_state_set_defect(struct open_state *state,
			       const struct udf_file_key *key,
			       const struct open_state_owner *owner,
			       bool disabled);

/*
 * The client has sent another request through the open: it will not replay
 * the last counted one any more (purge_mode_settle).
 */
NTSTATUS open_state_settle(struct open_state *state,
			   const struct udf_file_key *key,
			   uint64_t persistent_id);

/*
 * Nobody will have the open from now on, until it is reclaimed. settled: the
 * client has the answer to its last counted request.
 */
NTSTATUS open_state_disconnect(struct open_state *state,
			       const struct udf_file_key *key,
			       uint64_t persistent_id,
			       bool settled);

/* One open's entry, as it is shown to an administrator. */
struct open_state_entry {
	struct udf_file_key key;
	struct open_state_owner owner;
	uint32_t purge_count;
	struct timespec counted_since; /* of purge_count */
	bool defect_disabled;
	bool unsettled; /* the last counted request may be replayed */
	uint64_t serial; /* its number */
	/* It was given up in order, or found without an owner, at that time. */
	bool disconnected;
	NTTIME disconnect_time;
};

/*
 * The open was reclaimed: owner has it now. *found is what it had. The client
 * has had the answer to the counted request with the number answered_serial,
 * if not 0. NT_STATUS_NOT_FOUND: nothing was kept of the open.
 */
NTSTATUS open_state_reclaim(struct open_state *state,
			    const struct udf_file_key *key,
			    const struct open_state_owner *owner,
			    uint64_t answered_serial,
			    struct open_state_entry *found);

/*
 * Those of a file's opens that nobody has, as a talloc array; none where the
 * record cannot be used, which is logged. Records must not be locked.
 */
NTSTATUS open_state_list_away(struct open_state *state,
			      const struct udf_file_key *key,
			      TALLOC_CTX *mem_ctx,
			      struct open_state_entry **entries);

/*
 * If nobody has the open still: drop its entry; or note that its time-out
 * starts now.
 */
NTSTATUS open_state_drop_away(struct open_state *state,
			      const struct udf_file_key *key,
			      uint64_t persistent_id);
NTSTATUS open_state_stamp_away(struct open_state *state,
			       const struct udf_file_key *key,
			       uint64_t persistent_id);

/* The open is gone, and what it counted with it. */
NTSTATUS open_state_release(struct open_state *state,
			    const struct udf_file_key *key,
			    uint64_t persistent_id);

/* The file's sum over all opens, also those that wait to be reclaimed. */
NTSTATUS open_state_sum(struct open_state *state,
			const struct udf_file_key *key,
			uint64_t *sum);

/*
 * Does somebody who counts have a view of all of the file? For a file with a
 * count. True also when the database cannot tell.
 */
bool open_state_is_viewed(struct open_state *state,
			  const struct udf_file_key *key);

/*
 * Call fn while no other process of this host is in such a call for the same
 * file: callers take turns. The file's record is not locked. On an error fn may
 * not have been called.
 */
NTSTATUS open_state_take_turns(struct open_state *state,
			       const struct udf_file_key *key,
			       void (*fn)(void *private_data),
			       void *private_data);

/*
 * Call fn for each entry that counts, in no order, until it returns false. fn
 * must not change the database.
 */
NTSTATUS open_state_for_each(struct open_state *state,
			     bool (*fn)(const struct open_state_entry *entry,
					void *private_data),
			     void *private_data);

/*
 * Is it known without asking the database that the file has no count? Cheap
 * enough for each write: the database has not changed at all since a sum of
 * 0 was seen and noted with open_state_note_quiet().
 *
 * seqnum is open_state_seqnum() from before the sum was read.
 */
bool open_state_is_quiet(struct open_state *state,
			 const struct open_state_cache *cache);
int open_state_seqnum(struct open_state *state);
void open_state_note_quiet(struct open_state *state,
			   struct open_state_cache *cache,
			   int seqnum);

/*
 * Wait until the file's sum is 0. Wakes when an open counts down or goes, in
 * whichever process or node, when an smbd that holds a count dies, and when
 * an open that nobody has is timed out.
 */
struct tevent_req *open_state_wait_send(TALLOC_CTX *mem_ctx,
					struct tevent_context *ev,
					struct open_state *state,
					const struct udf_file_key *key);
NTSTATUS open_state_wait_recv(struct tevent_req *req);

#endif /* VFS_UDF_OPEN_STATE_H */
