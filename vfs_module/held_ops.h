/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Operations that wait until a file's purge-failure count is zero.
 *
 * While it waits, an operation costs nothing: no polling, its request is
 * pending on the wire. All that wait for one file share one watch of its
 * record. It ends with the count, with SMB2 CANCEL, with its handle, tree,
 * session or connection, or after a time-out. Overlapping operations of one
 * open are done in the order in which they came.
 */
#ifndef VFS_UDF_HELD_OPS_H
#define VFS_UDF_HELD_OPS_H

#include "includes.h"
#include "open_state.h"
#include "store.h"

struct smbd_smb2_request;

struct held_list;
struct held_ops; /* those of one tree connect */

struct held_ops_options {
	unsigned timeout;     /* seconds that an operation waits at most */
	bool fail_on_timeout; /* and then: PURGE_FAILED, or it is done */
	unsigned max;	      /* held at a time, in the whole process */
};

/* list: where an administrator sees them; it may be NULL. */
struct held_ops *held_ops_create(TALLOC_CTX *mem_ctx,
				 struct open_state *state,
				 struct held_list *list,
				 const struct held_ops_options *options);

/* Are as many held as may be? */
bool held_ops_full(const struct held_ops *ops);

/* Does an operation held or being done for the open overlap the range? */
bool held_ops_overlap(const struct held_ops *ops,
		      const struct files_struct *fsp,
		      off_t offset,
		      off_t len);

/* The open is being closed: its operations end with NT_STATUS_CANCELLED. */
void held_ops_close(struct held_ops *ops, const struct files_struct *fsp);

/*
 * Hold an operation on [offset, offset + len). mem_ctx is the VFS function's
 * own context or a child of it, smb2req its request.
 *
 * The request finishes, with success, when the operation may be done; free it
 * when it was done. When the operation is not to be done at all it fails, and
 * the status that the client sees has been seen to.
 */
struct tevent_req *held_op_send(TALLOC_CTX *mem_ctx,
				struct tevent_context *ev,
				struct held_ops *ops,
				struct smbd_smb2_request *smb2req,
				struct files_struct *fsp,
				const struct udf_file_key *key,
				off_t offset,
				off_t len);
NTSTATUS held_op_recv(struct tevent_req *req);

#endif /* VFS_UDF_HELD_OPS_H */
