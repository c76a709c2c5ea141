/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The SMB2 request on whose behalf a VFS function was called.
 *
 * The VFS says errno where SMB2 says NTSTATUS, and errno has no PURGE_FAILED.
 * So the module reaches for the request itself. This is the only file that
 * knows smbd's request structures; it uses them, talloc and tevent, and
 * nothing that a stock smbd does not export.
 */
#ifndef VFS_UDF_SMB2_REQUEST_H
#define VFS_UDF_SMB2_REQUEST_H

#include "includes.h"

struct smbd_smb2_request;

/*
 * Are smbd's structures as large as they were where the module was compiled?
 * Asked at tree connect. Where it is false nothing below may be called; the
 * log says which one differs.
 */
bool smb2_request_layout_fits(struct connection_struct *conn);

/* The request to which a VFS function's memory context belongs, or NULL. */
struct smbd_smb2_request *smb2_request_of(TALLOC_CTX *mem_ctx);

/* What the header of the request says. */
struct smb2_request_header {
	bool replay; /* SMB2_FLAGS_REPLAY_OPERATION */
	uint16_t channel_sequence;
};
void smb2_request_get_header(struct smbd_smb2_request *smb2req,
			     struct smb2_request_header *header);

/*
 * Has the answer left for the client? Can be asked when the request itself is
 * gone: a reply is a note of which one it was.
 */
struct smb2_reply {
	struct smbXsrv_client *client;
	uint64_t channel_id;
	uint64_t message_id;
};
enum smb2_reply_state {
	SMB2_REPLY_TO_COME,
	SMB2_REPLY_SENT, /* the kernel has it */
	SMB2_REPLY_LOST, /* its connection has gone */
};
void smb2_request_get_reply(struct smbd_smb2_request *smb2req,
			    struct smb2_reply *reply);
enum smb2_reply_state smb2_reply_ask(const struct smb2_reply *reply);

/* Is it a WRITE with SMB2_WRITEFLAG_WRITE_UNBUFFERED (3.0.2 and later)? */
bool smb2_request_is_unbuffered_write(struct smbd_smb2_request *smb2req);

/*
 * Can it be answered later? Of the parts of a compound only the last one
 * (MS-SMB2 3.3.5.2.7).
 */
bool smb2_request_can_wait(struct smbd_smb2_request *smb2req);

/*
 * The VFS function that serves the request is about to fail: let the client
 * see this status instead of what the errno maps to. False: no memory.
 */
bool smb2_request_fail(struct smbd_smb2_request *smb2req, NTSTATUS status);

/*
 * The same for a VFS function that has no request, but the open of the one
 * that is being processed. False: there is no such request (SMB1, an open of
 * smbd's own), the client gets the errno's status.
 */
bool smb2_request_fail_with(struct files_struct *fsp, NTSTATUS status);

/*
 * The same for the rename of src, which has no fsp: the connection's request
 * that is being served now, or the SET_INFO that has waited to rename it.
 */
bool smb2_request_fail_rename(struct connection_struct *conn,
			      const struct smb_filename *src,
			      NTSTATUS status);

/*
 * A request that stays pending in the module, in a VFS function that has
 * returned an unfinished tevent_req. It can be ended from outside, by SMB2
 * CANCEL, by the close of its handle, tree or session: then ended() is
 * called, which must finish the tevent_req with an error. The modules above
 * this one, which have a state of their own for it, and smbd see it fail; the
 * client gets the status.
 *
 * Lives on mem_ctx, the VFS function's own or a child of it.
 */
struct smb2_pending;
struct smb2_pending *smb2_request_pend(TALLOC_CTX *mem_ctx,
				       struct tevent_context *ev,
				       struct smbd_smb2_request *smb2req,
				       struct files_struct *fsp,
				       void (*ended)(NTSTATUS status,
						     void *private_data),
				       void *private_data);

/*
 * Give the request back to smbd: the operation is done now, and the tevent_req
 * will finish. pending is gone; false: no memory, nothing has changed.
 */
bool smb2_pending_resume(struct smb2_pending *pending);

/*
 * End it with a status. pending is gone, and all that depends on the
 * tevent_req; the client is answered from the next turn of the event loop. For
 * use from another event or VFS function than the one that made it.
 */
void smb2_pending_end(struct smb2_pending *pending, NTSTATUS status);

#endif /* VFS_UDF_SMB2_REQUEST_H */
