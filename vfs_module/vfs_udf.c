/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * vfs_udf: UDF's own control codes for the clients of a Samba share.
 *
 * This file has the tree connect and the table of hooks; each hook only
 * decides whether it is concerned. On a share that is not on a UDF store
 * handle->data is NULL and all of them pass through.
 */
#include "vfs_udf.h"
#include "away_opens.h"
#include "defect_management.h"
#include "durable_open.h"
#include "fsctl_udf.h"
#include "guarded_io.h"
#include "guarded_rename.h"
#include "held_list.h"
#include "purge_guard.h"
#include "reply_note.h"
#include "samba_compat.h"
#include "share_options.h"
#include "smb2_request.h"
#include "smbd/smbd.h"
#include "smbd/globals.h"
#include "smbd/fd_handle.h"
#include "messages.h"
#include "../libcli/smb/smb_constants.h"

/* MS-FSCC 2.5.1, FileSystemAttributes; Samba has no name for it. */
#define UDF_FILE_SUPPORTS_HARD_LINKS 0x00400000

/* What FileFsAttributeInformation calls the file system. */
#define UDF_FS_NAME "UDF"

struct udf_open *udf_open_get(struct vfs_handle_struct *handle,
			      struct files_struct *fsp)
{
	struct udf_open *open = NULL;

	open = VFS_FETCH_FSP_EXTENSION(handle, fsp);
	if (open != NULL) {
		return open;
	}
	return VFS_ADD_FSP_EXTENSION(handle, fsp, struct udf_open, NULL);
}

NTSTATUS udf_open_get_key(struct vfs_handle_struct *handle,
			  struct files_struct *fsp,
			  struct udf_open **_open)
{
	struct udf_conn *conn = handle->data;
	struct udf_open *open = NULL;
	NTSTATUS status;

	open = udf_open_get(handle, fsp);
	if (open == NULL) {
		return NT_STATUS_NO_MEMORY;
	}
	if (!open->key_known) {
		if (fsp->fsp_flags.is_pathref) {
			/* No descriptor that could be asked. */
			return NT_STATUS_ACCESS_DENIED;
		}
		status = conn->store->ops->file_key(conn->store,
						    fsp_get_io_fd(fsp),
						    &open->key);
		if (!NT_STATUS_IS_OK(status)) {
			return status;
		}
		open->key_known = true;
	}
	*_open = open;
	return NT_STATUS_OK;
}

void udf_open_owner(struct udf_conn *conn,
		    const struct files_struct *fsp,
		    struct open_state_owner *owner)
{
	const samba_compat_open_global *global = fsp->op->global;

	*owner = (struct open_state_owner) {
		.persistent_id = global->open_persistent_id,
		.client_guid = global->client_guid,
		.create_guid = global->create_guid,
		.server_id = messaging_server_id(conn->msg_ctx),
		.durable = global->durable,
		.persistent = samba_compat_is_persistent(global),
		.timeout_msec = global->durable_timeout_msec,
	};
}

/*
 * Windows programs look at the file system's name before they send these
 * codes. smbd answers with "fstype", unless the administrator has chosen
 * another name than its default; a reload of smb.conf sets it back.
 */
static void udf_set_fstype(struct vfs_handle_struct *handle)
{
	int snum = SNUM(handle->conn);

	if (strcmp(lp_fstype(snum), "NTFS") == 0) {
		lp_do_parameter(snum, "fstype", UDF_FS_NAME);
	}
}

/* NT_STATUS_NOT_FOUND: the path is not on a store. */
static NTSTATUS udf_find_store(TALLOC_CTX *mem_ctx,
			       const char *path,
			       struct udf_store **store)
{
	NTSTATUS status;
	int fd = -1;

	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1) {
		return map_nt_error_from_unix(errno);
	}

	status = store_udfd_open(mem_ctx, fd, store);
	if (NT_STATUS_EQUAL(status, NT_STATUS_NOT_FOUND)) {
		status = store_kernel_open(mem_ctx, fd, store);
	}
	if (!NT_STATUS_IS_OK(status)) {
		close(fd);
	}
	return status;
}

/* Takes the store over, in any case. */
static NTSTATUS udf_conn_create(struct vfs_handle_struct *handle,
				struct udf_store *store,
				struct udf_conn **_conn)
{
	int snum = SNUM(handle->conn);
	struct messaging_context *msg_ctx = handle->conn->sconn->msg_ctx;
	struct share_options options = { .purge_users = NULL };
	struct udf_conn *conn = NULL;
	struct held_list *list = NULL;
	NTSTATUS status;

	conn = talloc_zero(handle->conn, struct udf_conn);
	if (conn == NULL) {
		TALLOC_FREE(store);
		return NT_STATUS_NO_MEMORY;
	}
	conn->msg_ctx = msg_ctx;
	conn->store = talloc_move(conn, &store);
	status = share_options_get(conn, snum, &options);
	if (!NT_STATUS_IS_OK(status)) {
		goto fail;
	}
	conn->purge_users = options.purge_users;
	conn->max_brackets = options.max_brackets;

	status = open_state_init(msg_ctx, &conn->state);
	if (!NT_STATUS_IS_OK(status)) {
		goto fail;
	}
	open_state_check_disk(conn->state);
	away_opens_look_after(conn->state, msg_ctx);
	reply_note_init(msg_ctx);

	status = held_list_init(&list);
	if (!NT_STATUS_IS_OK(status)) {
		DBG_WARNING("what is held is not listed: %s\n",
			    nt_errstr(status));
	}
	conn->held = held_ops_create(conn, conn->state, list, &options.held);
	if (conn->held == NULL) {
		status = NT_STATUS_NO_MEMORY;
		goto fail;
	}

	*_conn = conn;
	return NT_STATUS_OK;

fail:
	TALLOC_FREE(conn);
	return status;
}

static void udf_conn_free(void **data)
{
	struct udf_conn *conn = talloc_get_type_abort(*data, struct udf_conn);

	TALLOC_FREE(conn);
	*data = NULL;
}

static void udf_tell_no_store(const char *service,
			      const char *path,
			      bool refused,
			      NTSTATUS status)
{
	const char *result = refused ? "and udf:require store is set: refused"
				     : "UDF's control codes are not served";

	if (NT_STATUS_EQUAL(status, NT_STATUS_NOT_FOUND)) {
		DBG_ERR("share %s: %s is not on a UDF volume mounted by udfd "
			"or the kernel, %s\n",
			service,
			path,
			result);
	} else {
		DBG_ERR("share %s: %s: %s, %s\n",
			service,
			path,
			nt_errstr(status),
			result);
	}
}

static int udf_connect(struct vfs_handle_struct *handle,
		       const char *service,
		       const char *user)
{
	struct udf_conn *conn = NULL;
	struct udf_store *store = NULL;
	const char *path = handle->conn->connectpath;
	bool require = false;
	NTSTATUS status;
	int ret = -1;

	ret = SMB_VFS_NEXT_CONNECT(handle, service, user);
	if (ret < 0 || IS_IPC(handle->conn) || IS_PRINT(handle->conn)) {
		return ret;
	}

	if (!smb2_request_layout_fits(handle->conn)) {
		goto fail;
	}

	require = share_options_require_store(SNUM(handle->conn));

	status = udf_find_store(handle->conn, path, &store);
	if (!NT_STATUS_IS_OK(status)) {
		udf_tell_no_store(service, path, require, status);
		if (require) {
			goto fail;
		}
		return 0;
	}

	/*
	 * What cannot be refused or held must not be done either: others see
	 * to the brackets of this volume.
	 */
	status = udf_conn_create(handle, store, &conn);
	if (!NT_STATUS_IS_OK(status)) {
		DBG_ERR("share %s: %s: %s, refused\n",
			service,
			path,
			nt_errstr(status));
		goto fail;
	}
	SMB_VFS_HANDLE_SET_DATA(handle,
				conn,
				udf_conn_free,
				struct udf_conn,
				goto fail);
	udf_set_fstype(handle);
	DBG_NOTICE("share %s: %s is on a UDF store (%s)\n",
		   service,
		   path,
		   conn->store->ops->name);
	return 0;

fail:
	TALLOC_FREE(conn);
	SMB_VFS_NEXT_DISCONNECT(handle);
	errno = ENODEV;
	return -1;
}

/*
 * What a UDF volume can, beside what smbd says for every share (MS-FSCC
 * 2.5.1).
 */
static uint32_t udf_fs_capabilities(struct vfs_handle_struct *handle,
				    enum timestamp_set_resolution *p_ts_res)
{
	struct udf_conn *conn = handle->data;
	uint32_t caps = SMB_VFS_NEXT_FS_CAPABILITIES(handle, p_ts_res);

	if (conn == NULL) {
		return caps;
	}
	caps |= FILE_CASE_SENSITIVE_SEARCH |
		FILE_CASE_PRESERVED_NAMES |
		FILE_UNICODE_ON_DISK |
		UDF_FILE_SUPPORTS_HARD_LINKS;
	/*
	 * smbd says this for every file system of a system that has
	 * fallocate, but FSCTL_SET_SPARSE needs an extended attribute to keep
	 * its flag in, and FSCTL_SET_ZERO_DATA a file system that punches
	 * holes.
	 */
	if (!conn->store->sparse_files ||
	    !lp_store_dos_attributes(SNUM(handle->conn))) {
		caps &= ~FILE_SUPPORTS_SPARSE_FILES;
	}
	if (conn->store->read_only) {
		caps |= FILE_READ_ONLY_VOLUME;
	}
	return caps;
}

/*
 * udfd was started again, or another volume mounted, under a connected client:
 * smbd, which goes by the share's path, is on the new mount then, and other
 * clients' smbds know files there by another number than that of the mount.
 */
static void udf_conn_follow(struct vfs_handle_struct *handle, dev_t dev)
{
	struct udf_conn *conn = handle->data;
	const char *path = handle->conn->connectpath;
	struct udf_store *store = NULL;
	struct stat st;
	NTSTATUS status;
	int ret = -1;

	ret = stat(path, &st);
	if (ret == -1 || st.st_dev != dev) {
		/* A file of what is mounted below the share. */
		return;
	}

	become_root();
	status = udf_find_store(conn, path, &store);
	unbecome_root();
	if (!NT_STATUS_IS_OK(status)) {
		return;
	}
	DBG_NOTICE("%s was mounted anew (%s)\n", path, store->ops->name);
	TALLOC_FREE(conn->store);
	conn->store = store;
}

/*
 * What smbd's databases call a file: the same on every node and after every
 * mount. Device numbers are not, and a handle could not be reclaimed where
 * the volume has gone. (SMB_VFS_FS_FILE_ID, which clients see, is the inode
 * number alone.)
 */
static struct file_id udf_file_id_create(struct vfs_handle_struct *handle,
					 const SMB_STRUCT_STAT *sbuf)
{
	const struct udf_conn *conn = handle->data;
	struct file_id id = SMB_VFS_NEXT_FILE_ID_CREATE(handle, sbuf);
	int saved_errno = errno;

	if (conn == NULL) {
		return id;
	}
	if (sbuf->st_ex_dev != conn->store->mounted_dev) {
		udf_conn_follow(handle, sbuf->st_ex_dev);
		errno = saved_errno;
	}
	if (conn->store->lasting_dev != 0 &&
	    id.devid == conn->store->mounted_dev)
	{
		id.devid = conn->store->lasting_dev;
	}
	return id;
}

static NTSTATUS
udf_create_file(struct vfs_handle_struct *handle,
		struct smb_request *req,
		struct files_struct *dirfsp,
		struct smb_filename *smb_fname,
		uint32_t access_mask,
		uint32_t share_access,
		uint32_t create_disposition,
		uint32_t create_options,
		uint32_t file_attributes,
		uint32_t oplock_request,
		const struct smb2_lease *lease,
		uint64_t allocation_size,
		uint32_t private_flags,
		struct security_descriptor *sd,
		struct ea_list *ea_list,
		files_struct **result,
		int *pinfo,
		const struct smb2_create_blobs *in_context_blobs,
		struct smb2_create_blobs *out_context_blobs)
{
	struct udf_conn *conn = handle->data;
	struct udf_open *open = NULL;
	NTSTATUS status;
	int info = FILE_WAS_OPENED;

	if (conn != NULL) {
		udf_set_fstype(handle);
		conn->creating += 1;
		conn->create_purge_failed = false;
	}

	status = SMB_VFS_NEXT_CREATE_FILE(handle,
					  req,
					  dirfsp,
					  smb_fname,
					  access_mask,
					  share_access,
					  create_disposition,
					  create_options,
					  file_attributes,
					  oplock_request,
					  lease,
					  allocation_size,
					  private_flags,
					  sd,
					  ea_list,
					  result,
					  &info,
					  in_context_blobs,
					  out_context_blobs);
	if (pinfo != NULL) {
		*pinfo = info;
	}
	if (conn == NULL) {
		return status;
	}
	conn->creating -= 1;

	if (!NT_STATUS_IS_OK(status)) {
		if (conn->create_purge_failed) {
			conn->create_purge_failed = false;
			return NT_STATUS_USER_MAPPED_FILE;
		}
		return status;
	}

	if (info != FILE_WAS_OPENED) {
		status = durable_open_commit(handle, *result);
		if (!NT_STATUS_IS_OK(status)) {
			DBG_ERR("%s cannot be saved, the open is refused: %s\n",
				fsp_str_dbg(*result),
				nt_errstr(status));
			close_file_free(req, result, ERROR_CLOSE);
			return status;
		}
	}

	/* It has smbd answer an SMB1 write before it is done, or refused. */
	(*result)->fsp_flags.aio_write_behind = false;

	if ((create_options & FILE_NO_INTERMEDIATE_BUFFERING) != 0) {
		open = udf_open_get(handle, *result);
		if (open != NULL) {
			open->unbuffered = true;
		}
	}
	return status;
}

/*
 * The open is gone, and what it counted with it. Not if it may come back:
 * smbd closes the file of a durable handle as well.
 */
static int udf_close(struct vfs_handle_struct *handle,
		     struct files_struct *fsp)
{
	struct udf_conn *conn = handle->data;
	struct udf_open *open = NULL;
	NTSTATUS status;

	if (conn != NULL) {
		held_ops_close(conn->held, fsp);
		open = VFS_FETCH_FSP_EXTENSION(handle, fsp);
	}
	if (open != NULL) {
		purge_guard_note_brackets(open, 0);
	}
	if (open != NULL && open->has_entry && !open->kept) {
		status = open_state_release(conn->state,
					    &open->key,
					    open->persistent_id);
		if (!NT_STATUS_IS_OK(status)) {
			DBG_ERR("%s: the count of an open stays until this "
				"process ends: %s\n",
				fsp_str_dbg(fsp),
				nt_errstr(status));
		}
		if (open->has_note) {
			reply_note_forget(open->persistent_id);
		}
		open->has_entry = false;
	}
	return SMB_VFS_NEXT_CLOSE(handle, fsp);
}

static ssize_t udf_pwrite(struct vfs_handle_struct *handle,
			  struct files_struct *fsp,
			  const void *data,
			  size_t n,
			  off_t offset)
{
	off_t start = purge_guard_write_start(fsp, offset);

	if (handle->data != NULL &&
	    !purge_guard_sync(handle, fsp, PURGE_GUARD_WRITE, start, n))
	{
		return -1;
	}
	return SMB_VFS_NEXT_PWRITE(handle, fsp, data, n, offset);
}

static struct tevent_req *udf_pwrite_send(struct vfs_handle_struct *handle,
					  TALLOC_CTX *mem_ctx,
					  struct tevent_context *ev,
					  struct files_struct *fsp,
					  const void *data,
					  size_t n,
					  off_t offset)
{
	if (handle->data != NULL) {
		return guarded_pwrite_send(handle,
					   mem_ctx,
					   ev,
					   fsp,
					   data,
					   n,
					   offset);
	}
	return SMB_VFS_NEXT_PWRITE_SEND(mem_ctx,
					ev,
					handle,
					fsp,
					data,
					n,
					offset);
}

static ssize_t udf_recvfile(struct vfs_handle_struct *handle,
			    int fromfd,
			    files_struct *tofsp,
			    off_t offset,
			    size_t count)
{
	off_t start = purge_guard_write_start(tofsp, offset);

	if (handle->data != NULL &&
	    !purge_guard_sync(handle, tofsp, PURGE_GUARD_WRITE, start, count))
	{
		/* What is not written must still leave the socket. */
		drain_socket(fromfd, count);
		errno = PURGE_GUARD_ERRNO;
		return -1;
	}
	return SMB_VFS_NEXT_RECVFILE(handle, fromfd, tofsp, offset, count);
}

static int udf_ftruncate(struct vfs_handle_struct *handle,
			 struct files_struct *fsp,
			 off_t size)
{
	struct udf_conn *conn = handle->data;
	struct stat st;
	int ret = -1;

	if (conn == NULL || !purge_guard_is_counted(handle, fsp)) {
		return SMB_VFS_NEXT_FTRUNCATE(handle, fsp, size);
	}

	ret = fstat(fsp_get_io_fd(fsp), &st);
	if (ret == -1) {
		return -1;
	}
	if (size >= st.st_size) {
		return SMB_VFS_NEXT_FTRUNCATE(handle, fsp, size);
	}

	if (conn->creating > 0) {
		if (!purge_guard_sync(handle,
				      fsp,
				      PURGE_GUARD_OVERWRITE,
				      size,
				      0))
		{
			conn->create_purge_failed = true;
			return -1;
		}
	} else if (!purge_guard_sync(handle, fsp, PURGE_GUARD_SHRINK, size, 0))
	{
		return -1;
	}
	return SMB_VFS_NEXT_FTRUNCATE(handle, fsp, size);
}

static int udf_fallocate(struct vfs_handle_struct *handle,
			 struct files_struct *fsp,
			 uint32_t mode,
			 off_t offset,
			 off_t len)
{
	/* Without one of these no data that is there is changed. */
	const uint32_t changes = VFS_FALLOCATE_FL_PUNCH_HOLE;

	if (handle->data != NULL && (mode & changes) != 0 &&
	    !purge_guard_sync(handle, fsp, PURGE_GUARD_ZERO_DATA, offset, len))
	{
		return -1;
	}
	return SMB_VFS_NEXT_FALLOCATE(handle, fsp, mode, offset, len);
}

static struct tevent_req *
udf_offload_write_send(struct vfs_handle_struct *handle,
		       TALLOC_CTX *mem_ctx,
		       struct tevent_context *ev,
		       uint32_t fsctl,
		       DATA_BLOB *token,
		       off_t transfer_offset,
		       struct files_struct *dest_fsp,
		       off_t dest_off,
		       off_t to_copy)
{
	if (handle->data != NULL) {
		return guarded_offload_write_send(handle,
						  mem_ctx,
						  ev,
						  fsctl,
						  token,
						  transfer_offset,
						  dest_fsp,
						  dest_off,
						  to_copy);
	}
	return SMB_VFS_NEXT_OFFLOAD_WRITE_SEND(handle,
					       mem_ctx,
					       ev,
					       fsctl,
					       token,
					       transfer_offset,
					       dest_fsp,
					       dest_off,
					       to_copy);
}

/* smbd asks before each read and write, whichever way it goes. */
static bool udf_strict_lock_check(struct vfs_handle_struct *handle,
				  struct files_struct *fsp,
				  struct lock_struct *plock)
{
	if (handle->data != NULL) {
		purge_guard_settle(handle, fsp);
	}
	return SMB_VFS_NEXT_STRICT_LOCK_CHECK(handle, fsp, plock);
}

/*
 * Writes smaller than "aio write size" would come synchronously, and could
 * not wait: until the count is zero, or until what was held is done.
 */
static bool udf_aio_force(struct vfs_handle_struct *handle,
			  struct files_struct *fsp)
{
	struct udf_conn *conn = handle->data;

	if (conn != NULL &&
	    (purge_guard_is_counted(handle, fsp) ||
	     held_ops_overlap(conn->held, fsp, 0, INT64_MAX)))
	{
		return true;
	}
	return SMB_VFS_NEXT_AIO_FORCE(handle, fsp);
}

static NTSTATUS udf_fsctl(struct vfs_handle_struct *handle,
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
	if (handle->data == NULL) {
		goto next;
	}

	if (function != UDF_FSCTL_SET_PURGE_FAILURE_MODE) {
		purge_guard_settle(handle, fsp);
	}

	switch (function) {
	case UDF_FSCTL_SET_DEFECT_MANAGEMENT:
		*out_len = 0;
		return defect_management_set(handle, fsp, in_data, in_len);
	case UDF_FSCTL_QUERY_SPARING_INFO:
		return defect_management_query_sparing(handle,
						       ctx,
						       max_out_len,
						       out_data,
						       out_len);
	case UDF_FSCTL_QUERY_ON_DISK_VOLUME_INFO:
		return defect_management_query_volume(handle,
						      ctx,
						      max_out_len,
						      out_data,
						      out_len);
	case UDF_FSCTL_SET_PURGE_FAILURE_MODE:
		*out_len = 0;
		return purge_guard_fsctl(handle, fsp, ctx, in_data, in_len);
	}
next:
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

static struct vfs_fn_pointers vfs_udf_fns = {
	.connect_fn = udf_connect,
	.fs_capabilities_fn = udf_fs_capabilities,
	.file_id_create_fn = udf_file_id_create,
	.create_file_fn = udf_create_file,
	.close_fn = udf_close,
	.durable_disconnect_fn = durable_open_disconnect,
	.durable_reconnect_fn = durable_open_reconnect,
	.pwrite_fn = udf_pwrite,
	.pwrite_send_fn = udf_pwrite_send,
	.pwrite_recv_fn = guarded_pwrite_recv,
	.recvfile_fn = udf_recvfile,
	.renameat_fn = guarded_renameat,
	.ftruncate_fn = udf_ftruncate,
	.fallocate_fn = udf_fallocate,
	.offload_write_send_fn = udf_offload_write_send,
	.offload_write_recv_fn = guarded_offload_write_recv,
	.strict_lock_check_fn = udf_strict_lock_check,
	.aio_force_fn = udf_aio_force,
	.fsctl_fn = udf_fsctl,
};

static_decl_vfs;
NTSTATUS vfs_udf_init(TALLOC_CTX *ctx)
{
	return smb_register_vfs(SMB_VFS_INTERFACE_VERSION, "udf", &vfs_udf_fns);
}
