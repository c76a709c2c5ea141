/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Durable and persistent handles; see durable_open.h.
 */
#include "durable_open.h"
#include "purge_guard.h"
#include "reply_note.h"
#include "vfs_udf.h"
#include "smbd/fd_handle.h"
#include "smbd/smbXsrv_open.h"
#include "messages.h"

NTSTATUS durable_open_commit(struct vfs_handle_struct *handle,
			     struct files_struct *fsp)
{
	struct udf_conn *conn = handle->data;
	struct udf_store *store = conn->store;
	int fd = -1;

	if (fsp->op == NULL || !samba_compat_is_persistent(fsp->op->global)) {
		return NT_STATUS_OK;
	}
	/* An open for attributes alone has no descriptor to be synced. */
	if (!fsp->fsp_flags.is_pathref) {
		fd = fsp_get_io_fd(fsp);
	}
	return store->ops->commit(store, fd);
}

NTSTATUS durable_open_disconnect(struct vfs_handle_struct *handle,
				 struct files_struct *fsp,
				 const DATA_BLOB old_cookie,
				 TALLOC_CTX *mem_ctx,
				 DATA_BLOB *new_cookie)
{
	struct udf_conn *conn = handle->data;
	struct udf_open *open = NULL;
	NTSTATUS status;

	if (conn != NULL) {
		open = VFS_FETCH_FSP_EXTENSION(handle, fsp);
	}
	if (open != NULL && open->has_entry) {
		/*
		 * First: once the file is closed it is too late to refuse.
		 */
		status = open_state_disconnect(conn->state,
					       &open->key,
					       open->persistent_id,
					       !open->unsettled);
		if (!NT_STATUS_IS_OK(status)) {
			DBG_ERR("%s: the handle cannot be kept: %s\n",
				fsp_str_dbg(fsp),
				nt_errstr(status));
			return status;
		}
		open->kept = true;
		/* The connection took the answers along that were on the way. */
		if (open->has_note) {
			reply_note_forget(open->persistent_id);
		}
	}

	status = SMB_VFS_NEXT_DURABLE_DISCONNECT(handle,
						 fsp,
						 old_cookie,
						 mem_ctx,
						 new_cookie);
	if (!NT_STATUS_IS_OK(status) && open != NULL) {
		/* It is closed instead. */
		open->kept = false;
	}
	return status;
}

/* Give an open that came back what it had. */
static NTSTATUS durable_open_restore(struct vfs_handle_struct *handle,
				     struct files_struct *fsp)
{
	struct udf_conn *conn = handle->data;
	struct udf_store *store = conn->store;
	struct open_state_entry found = { .purge_count = 0 };
	struct open_state_owner owner;
	struct udf_open *open = NULL;
	bool was_disabled = false;
	NTSTATUS status;

	status = udf_open_get_key(handle, fsp, &open);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}

	udf_open_owner(conn, fsp, &owner);
	status = open_state_reclaim(conn->state,
				    &open->key,
				    &owner,
				    reply_note_find(&owner),
				    &found);
	if (NT_STATUS_EQUAL(status, NT_STATUS_NOT_FOUND)) {
		return NT_STATUS_OK;
	}
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}
	open->has_entry = true;
	open->persistent_id = owner.persistent_id;
	open->unsettled = found.unsettled;
	purge_guard_note_brackets(open, found.purge_count);
	open->reclaimed_serial = found.unsettled ? found.serial : 0;
	open->unbuffered = found.owner.unbuffered;
	open->has_note = owner.persistent;

	if (!found.defect_disabled) {
		return NT_STATUS_OK;
	}
	return store->ops->set_defect_management(store,
						 fsp_get_io_fd(fsp),
						 true,
						 &was_disabled);
}

/* A talloc destructor: whoever frees the open now must not. */
static int durable_open_stay(struct smbXsrv_open *op)
{
	return -1;
}

/*
 * A reconnect is refused after all: give the handle up in order, so that the
 * client may try again. Closing the fsp frees its open too, which is the
 * caller's: newer Samba frees it when a reconnect has failed, 4.17 with its
 * table. What smbd's own destructor does is done here.
 */
static void durable_open_give_up(struct smb_request *smb1req,
				 struct smbXsrv_open *op,
				 struct files_struct **fsp)
{
	NTTIME now = timeval_to_nttime(&smb1req->request_time);
	NTSTATUS status;

	talloc_set_destructor(op, durable_open_stay);
	status = close_file_free(smb1req, fsp, SHUTDOWN_CLOSE);
	if (!NT_STATUS_IS_OK(status)) {
		DBG_WARNING("close_file_free: %s\n", nt_errstr(status));
	}
	/* Nothing is left to do if that was the end of a durable handle. */
	status = smbXsrv_open_close(op, now);
	if (!NT_STATUS_IS_OK(status)) {
		DBG_WARNING("smbXsrv_open_close: %s\n", nt_errstr(status));
	}
	talloc_set_destructor(op, NULL);
}

NTSTATUS durable_open_reconnect(struct vfs_handle_struct *handle,
				struct smb_request *smb1req,
				struct smbXsrv_open *op,
				const DATA_BLOB old_cookie,
				SAMBA_COMPAT_LEASE_PARAMETER
				TALLOC_CTX *mem_ctx,
				struct files_struct **fsp,
				DATA_BLOB *new_cookie)
{
	NTSTATUS status;

	status = SAMBA_COMPAT_NEXT_DURABLE_RECONNECT(handle,
						     smb1req,
						     op,
						     old_cookie,
						     mem_ctx,
						     fsp,
						     new_cookie);
	if (!NT_STATUS_IS_OK(status) || handle->data == NULL) {
		return status;
	}

	status = durable_open_restore(handle, *fsp);
	if (!NT_STATUS_IS_OK(status)) {
		DBG_ERR("%s: the handle's state cannot be restored, it is not "
			"given back: %s\n",
			fsp_str_dbg(*fsp),
			nt_errstr(status));
		durable_open_give_up(smb1req, op, fsp);
	}
	return status;
}
