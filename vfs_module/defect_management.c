/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * MS-FSA's rules for FSCTL_SET_DEFECT_MANAGEMENT and the two queries; see
 * defect_management.h.
 */
#include "defect_management.h"
#include "fsctl_codec.h"
#include "fsctl_udf.h"
#include "samba_compat.h"
#include "vfs_udf.h"
#include "smbd/smbd.h"
#include "smbd/fd_handle.h"
#include "locking/share_mode_lock.h"
#include "locking/proto.h"
#include "librpc/gen_ndr/open_files.h"
#include "messages.h"
#include "lib/util/server_id.h"
#include "../libcli/security/security.h"

struct other_opens {
	struct server_id self;
	uint64_t gen_id;
	bool found;
};

static bool other_opens_fn(struct share_mode_entry *e,
			   bool *modified,
			   void *private_data)
{
	struct other_opens *o = private_data;

	if (server_id_equal(&e->pid, &o->self) &&
	    e->share_file_id == o->gen_id)
	{
		return false;
	}
	/* smbd's own, of the file below a client's open of a named stream. */
	if (samba_compat_is_stream_base(e)) {
		return false;
	}
	if (share_entry_stale_pid(e)) {
		return false;
	}
	o->found = true;
	return true;
}

/*
 * Is it the only open of its stream, over all processes and nodes? Opens that
 * only read attributes count as well: MS-FSA counts Opens.
 */
static NTSTATUS check_sole_open(struct udf_conn *conn,
				struct files_struct *fsp)
{
	struct other_opens o = {
		.self = messaging_server_id(conn->msg_ctx),
		.gen_id = fh_get_gen_id(fsp->fh),
	};
	struct share_mode_lock *lck = NULL;
	bool ok = false;

	lck = get_existing_share_mode_lock(talloc_tos(), fsp->file_id);
	if (lck == NULL) {
		return NT_STATUS_UNSUCCESSFUL;
	}
	ok = share_mode_forall_entries(lck, other_opens_fn, &o);
	TALLOC_FREE(lck);
	if (!ok) {
		return NT_STATUS_INTERNAL_DB_ERROR;
	}
	return o.found ? NT_STATUS_SHARING_VIOLATION : NT_STATUS_OK;
}

NTSTATUS defect_management_set(struct vfs_handle_struct *handle,
			       struct files_struct *fsp,
			       const uint8_t *in,
			       uint32_t in_len)
{
	struct udf_conn *conn = handle->data;
	struct udf_store *store = conn->store;
	struct udf_open *open = NULL;
	struct open_state_owner owner;
	enum fsctl_codec_result result;
	bool disable = false;
	bool was_disabled = false;
	int fd = -1;
	NTSTATUS status;

	/*
	 * The code's access bits: on Windows the I/O manager looks at them
	 * before the file system sees the code.
	 */
	if ((fsp->access_mask & SEC_FILE_WRITE_DATA) == 0) {
		return NT_STATUS_ACCESS_DENIED;
	}
	if (!store->ops->defect_managed(store)) {
		return NT_STATUS_INVALID_DEVICE_REQUEST;
	}
	if (fsp->fsp_flags.is_directory) {
		return NT_STATUS_INVALID_PARAMETER;
	}
	result = fsctl_codec_pull_defect(in, in_len, &disable);
	if (result != FSCTL_CODEC_OK) {
		return NT_STATUS_INVALID_PARAMETER;
	}
	status = check_sole_open(conn, fsp);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}

	status = udf_open_get_key(handle, fsp, &open);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}

	/* FILE_WRITE_DATA: the descriptor is a real one, open for writing. */
	fd = fsp_get_io_fd(fsp);
	status = store->ops->set_defect_management(store,
						   fd,
						   disable,
						   &was_disabled);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}

	udf_open_owner(conn, fsp, &owner);
	owner.unbuffered = open->unbuffered;
	status = open_state_set_defect(conn->state,
				       &open->key,
				       &owner,
				       disable);
	if (!NT_STATUS_IS_OK(status)) {
		/* Not recorded is not done. */
		store->ops->set_defect_management(store,
						  fd,
						  was_disabled,
						  &disable);
		return status;
	}
	open->has_entry = true;
	open->persistent_id = owner.persistent_id;
	return NT_STATUS_OK;
}

NTSTATUS defect_management_query_sparing(struct vfs_handle_struct *handle,
					 TALLOC_CTX *mem_ctx,
					 uint32_t max_out_len,
					 uint8_t **out,
					 uint32_t *out_len)
{
	struct udf_conn *conn = handle->data;
	struct udf_store *store = conn->store;
	struct fsctl_sparing_info info = { .unit_bytes = 0 };
	uint8_t *buf = NULL;
	NTSTATUS status;

	status = store->ops->sparing_info(store, &info);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}
	if (max_out_len < UDF_QUERY_SPARING_LEN) {
		return NT_STATUS_INVALID_PARAMETER;
	}

	buf = talloc_array(mem_ctx, uint8_t, UDF_QUERY_SPARING_LEN);
	if (buf == NULL) {
		return NT_STATUS_NO_MEMORY;
	}
	fsctl_codec_push_sparing(&info, buf, UDF_QUERY_SPARING_LEN);

	*out = buf;
	*out_len = UDF_QUERY_SPARING_LEN;
	return NT_STATUS_OK;
}

NTSTATUS defect_management_query_volume(struct vfs_handle_struct *handle,
					TALLOC_CTX *mem_ctx,
					uint32_t max_out_len,
					uint8_t **out,
					uint32_t *out_len)
{
	struct udf_conn *conn = handle->data;
	struct udf_store *store = conn->store;
	struct fsctl_volume_info info = { .directory_count = -1 };
	TALLOC_CTX *frame = talloc_stackframe();
	uint8_t *buf = NULL;
	NTSTATUS status;

	status = store->ops->volume_info(store, frame, &info);
	if (!NT_STATUS_IS_OK(status)) {
		goto done;
	}
	if (max_out_len < UDF_QUERY_ON_DISK_VOLUME_INFO_LEN) {
		status = NT_STATUS_BUFFER_TOO_SMALL;
		goto done;
	}

	buf = talloc_array(mem_ctx, uint8_t, UDF_QUERY_ON_DISK_VOLUME_INFO_LEN);
	if (buf == NULL) {
		status = NT_STATUS_NO_MEMORY;
		goto done;
	}
	fsctl_codec_push_volume_info(&info,
				     buf,
				     UDF_QUERY_ON_DISK_VOLUME_INFO_LEN);

	*out = buf;
	*out_len = UDF_QUERY_ON_DISK_VOLUME_INFO_LEN;
done:
	TALLOC_FREE(frame);
	return status;
}
