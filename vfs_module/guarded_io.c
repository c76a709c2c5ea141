/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The asynchronous VFS functions that change a file's data; see guarded_io.h.
 */
#include "guarded_io.h"
#include "held_ops.h"
#include "purge_guard.h"
#include "samba_compat.h"
#include "smb2_request.h"
#include "vfs_udf.h"
#include "smbd/smbd.h"
#include "smbd/globals.h"
#include "lib/util/tevent_ntstatus.h"
#include "lib/util/tevent_unix.h"

struct guarded_pwrite_state {
	struct vfs_handle_struct *handle;
	struct tevent_context *ev;
	struct files_struct *fsp;
	const void *data;
	size_t n;
	off_t offset; /* as smbd said it */
	off_t start;  /* where that is */

	struct smbd_smb2_request *smb2req; /* NULL: not SMB2 */
	struct tevent_req *held;
	ssize_t ret;
	struct vfs_aio_state aio_state;
};

static void guarded_pwrite_allowed(struct tevent_req *subreq);
static void guarded_pwrite_done(struct tevent_req *subreq);

/* Fail with an exact status, if the request can be told one. */
static void guarded_pwrite_refuse(struct tevent_req *req, NTSTATUS status)
{
	struct guarded_pwrite_state *state = tevent_req_data(
		req, struct guarded_pwrite_state);

	if (state->smb2req != NULL) {
		smb2_request_fail(state->smb2req, status);
	}
	tevent_req_error(req, PURGE_GUARD_ERRNO);
}

static bool guarded_pwrite_hold(struct tevent_req *req)
{
	struct guarded_pwrite_state *state = tevent_req_data(
		req, struct guarded_pwrite_state);
	struct udf_conn *conn = state->handle->data;
	struct udf_open *open = NULL;

	open = VFS_FETCH_FSP_EXTENSION(state->handle, state->fsp);
	if (open == NULL) {
		return false;
	}
	state->held = held_op_send(state,
				   state->ev,
				   conn->held,
				   state->smb2req,
				   state->fsp,
				   &open->key,
				   state->start,
				   (off_t)state->n);
	if (state->held == NULL) {
		return false;
	}
	tevent_req_set_callback(state->held, guarded_pwrite_allowed, req);
	return true;
}

struct tevent_req *guarded_pwrite_send(struct vfs_handle_struct *handle,
				       TALLOC_CTX *mem_ctx,
				       struct tevent_context *ev,
				       struct files_struct *fsp,
				       const void *data,
				       size_t n,
				       off_t offset)
{
	struct tevent_req *req = NULL;
	struct guarded_pwrite_state *state = NULL;
	struct smbd_smb2_request *smb2req = smb2_request_of(mem_ctx);
	off_t start = purge_guard_write_start(fsp, offset);
	enum purge_guard_verdict verdict;
	NTSTATUS status;

	verdict = purge_guard_check(handle,
				    fsp,
				    smb2req,
				    PURGE_GUARD_WRITE,
				    start,
				    (off_t)n,
				    &status);
	if (verdict == PURGE_GUARD_PROCEED) {
		return SMB_VFS_NEXT_PWRITE_SEND(mem_ctx,
						ev,
						handle,
						fsp,
						data,
						n,
						offset);
	}

	req = tevent_req_create(mem_ctx, &state, struct guarded_pwrite_state);
	if (req == NULL) {
		return NULL;
	}
	*state = (struct guarded_pwrite_state) {
		.handle = handle,
		.ev = ev,
		.fsp = fsp,
		.data = data,
		.n = n,
		.offset = offset,
		.start = start,
		.smb2req = smb2req,
		.ret = -1,
	};

	if (verdict == PURGE_GUARD_HOLD && guarded_pwrite_hold(req)) {
		return req;
	}
	guarded_pwrite_refuse(req, status);
	return tevent_req_post(req, ev);
}

/* smbd has asked before the write was held; locks may have come since. */
static bool guarded_pwrite_is_locked(struct guarded_pwrite_state *state)
{
	struct files_struct *fsp = state->fsp;
	struct lock_struct lock;

	samba_compat_write_lock(fsp,
				fsp->op->global->open_persistent_id,
				state->offset,
				state->n,
				&lock);

	return !SMB_VFS_STRICT_LOCK_CHECK(fsp->conn, fsp, &lock);
}

static void guarded_pwrite_allowed(struct tevent_req *subreq)
{
	struct tevent_req *req = tevent_req_callback_data(
		subreq, struct tevent_req);
	struct guarded_pwrite_state *state = tevent_req_data(
		req, struct guarded_pwrite_state);
	NTSTATUS status;
	bool ok = false;

	status = held_op_recv(subreq);
	if (!NT_STATUS_IS_OK(status)) {
		tevent_req_error(req, PURGE_GUARD_ERRNO);
		return;
	}

	/* Another request may have been served since: whose turn is it? */
	ok = change_to_user_and_service_by_fsp(state->fsp);
	if (!ok) {
		tevent_req_error(req, EACCES);
		return;
	}
	if (guarded_pwrite_is_locked(state)) {
		guarded_pwrite_refuse(req, NT_STATUS_FILE_LOCK_CONFLICT);
		return;
	}

	subreq = SMB_VFS_NEXT_PWRITE_SEND(state,
					  state->ev,
					  state->handle,
					  state->fsp,
					  state->data,
					  state->n,
					  state->offset);
	if (tevent_req_nomem(subreq, req)) {
		return;
	}
	tevent_req_set_callback(subreq, guarded_pwrite_done, req);
}

static void guarded_pwrite_done(struct tevent_req *subreq)
{
	struct tevent_req *req = tevent_req_callback_data(
		subreq, struct tevent_req);
	struct guarded_pwrite_state *state = tevent_req_data(
		req, struct guarded_pwrite_state);

	state->ret = SMB_VFS_PWRITE_RECV(subreq, &state->aio_state);
	TALLOC_FREE(subreq);
	/* What was held behind it may go now. */
	TALLOC_FREE(state->held);

	if (state->ret == -1) {
		tevent_req_error(req, state->aio_state.error);
		return;
	}
	tevent_req_done(req);
}

ssize_t guarded_pwrite_recv(struct tevent_req *req,
			    struct vfs_aio_state *aio_state)
{
	struct guarded_pwrite_state *state = talloc_get_type(
		_tevent_req_data(req), struct guarded_pwrite_state);
	ssize_t ret = -1;

	if (state == NULL) {
		/* It went straight through: the request is the next one's. */
		return SMB_VFS_PWRITE_RECV(req, aio_state);
	}

	if (tevent_req_is_unix_error(req, &aio_state->error)) {
		tevent_req_received(req);
		return -1;
	}
	*aio_state = state->aio_state;
	ret = state->ret;
	tevent_req_received(req);
	return ret;
}

struct guarded_offload_state {
	struct vfs_handle_struct *handle;
	struct tevent_context *ev;
	uint32_t fsctl;
	DATA_BLOB *token;
	off_t transfer_offset;
	struct files_struct *dest_fsp;
	off_t dest_off;
	off_t to_copy;

	struct tevent_req *held;
	off_t copied;
};

static void guarded_offload_allowed(struct tevent_req *subreq);
static void guarded_offload_start(struct tevent_req *req);
static void guarded_offload_done(struct tevent_req *subreq);

struct tevent_req *guarded_offload_write_send(struct vfs_handle_struct *handle,
					      TALLOC_CTX *mem_ctx,
					      struct tevent_context *ev,
					      uint32_t fsctl,
					      DATA_BLOB *token,
					      off_t transfer_offset,
					      struct files_struct *dest_fsp,
					      off_t dest_off,
					      off_t to_copy)
{
	struct udf_conn *conn = handle->data;
	struct tevent_req *req = NULL;
	struct guarded_offload_state *state = NULL;
	struct smbd_smb2_request *smb2req = smb2_request_of(mem_ctx);
	struct udf_open *open = NULL;
	enum purge_guard_verdict verdict;
	NTSTATUS status;

	req = tevent_req_create(mem_ctx, &state, struct guarded_offload_state);
	if (req == NULL) {
		return NULL;
	}
	*state = (struct guarded_offload_state) {
		.handle = handle,
		.ev = ev,
		.fsctl = fsctl,
		.token = token,
		.transfer_offset = transfer_offset,
		.dest_fsp = dest_fsp,
		.dest_off = dest_off,
		.to_copy = to_copy,
	};

	verdict = purge_guard_check(handle,
				    dest_fsp,
				    smb2req,
				    PURGE_GUARD_COPY_TARGET,
				    dest_off,
				    to_copy,
				    &status);
	switch (verdict) {
	case PURGE_GUARD_PROCEED:
		guarded_offload_start(req);
		if (!tevent_req_is_in_progress(req)) {
			return tevent_req_post(req, ev);
		}
		return req;
	case PURGE_GUARD_FAIL:
		tevent_req_nterror(req, status);
		return tevent_req_post(req, ev);
	case PURGE_GUARD_HOLD:
		break;
	}

	open = VFS_FETCH_FSP_EXTENSION(handle, dest_fsp);
	state->held = held_op_send(state,
				   ev,
				   conn->held,
				   smb2req,
				   dest_fsp,
				   &open->key,
				   dest_off,
				   to_copy);
	if (tevent_req_nomem(state->held, req)) {
		return tevent_req_post(req, ev);
	}
	tevent_req_set_callback(state->held, guarded_offload_allowed, req);
	return req;
}

static void guarded_offload_allowed(struct tevent_req *subreq)
{
	struct tevent_req *req = tevent_req_callback_data(
		subreq, struct tevent_req);
	struct guarded_offload_state *state = tevent_req_data(
		req, struct guarded_offload_state);
	NTSTATUS status;
	bool ok = false;

	status = held_op_recv(subreq);
	if (tevent_req_nterror(req, status)) {
		return;
	}
	ok = change_to_user_and_service_by_fsp(state->dest_fsp);
	if (!ok) {
		tevent_req_nterror(req, NT_STATUS_ACCESS_DENIED);
		return;
	}
	guarded_offload_start(req);
}

static void guarded_offload_start(struct tevent_req *req)
{
	struct guarded_offload_state *state = tevent_req_data(
		req, struct guarded_offload_state);
	struct tevent_req *subreq = NULL;

	subreq = SMB_VFS_NEXT_OFFLOAD_WRITE_SEND(state->handle,
						 state,
						 state->ev,
						 state->fsctl,
						 state->token,
						 state->transfer_offset,
						 state->dest_fsp,
						 state->dest_off,
						 state->to_copy);
	if (tevent_req_nomem(subreq, req)) {
		return;
	}
	tevent_req_set_callback(subreq, guarded_offload_done, req);
}

static void guarded_offload_done(struct tevent_req *subreq)
{
	struct tevent_req *req = tevent_req_callback_data(
		subreq, struct tevent_req);
	struct guarded_offload_state *state = tevent_req_data(
		req, struct guarded_offload_state);
	NTSTATUS status;

	status = SMB_VFS_NEXT_OFFLOAD_WRITE_RECV(state->handle,
						 subreq,
						 &state->copied);
	TALLOC_FREE(subreq);
	TALLOC_FREE(state->held);
	if (tevent_req_nterror(req, status)) {
		return;
	}
	tevent_req_done(req);
}

NTSTATUS guarded_offload_write_recv(struct vfs_handle_struct *handle,
				    struct tevent_req *req,
				    off_t *copied)
{
	struct guarded_offload_state *state = talloc_get_type(
		_tevent_req_data(req), struct guarded_offload_state);
	NTSTATUS status;

	if (state == NULL) {
		/* The share is not on a store: the request is the next's. */
		return SMB_VFS_NEXT_OFFLOAD_WRITE_RECV(handle, req, copied);
	}

	*copied = state->copied;
	if (tevent_req_is_nterror(req, &status)) {
		tevent_req_received(req);
		return status;
	}
	tevent_req_received(req);
	return NT_STATUS_OK;
}
