/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Purge-failure mode's rules; see purge_guard.h.
 */
#include "purge_guard.h"
#include "fsctl_codec.h"
#include "page_cache.h"
#include "reply_note.h"
#include "samba_compat.h"
#include "smb2_request.h"
#include "vfs_udf.h"
#include "smbd/smbd.h"
#include "smbd/fd_handle.h"
#include "auth.h"
#include "../libcli/security/security.h"

/*
 * What an operation has to obey while the count is above zero: one row each.
 */
struct purge_guard_rule {
	bool purge; /* purge its range; without, it fails at once */
	bool hold;  /* when the purge fails, it waits if it can */
	NTSTATUS failed;
};

static const struct purge_guard_rule purge_guard_rules[] = {
	[PURGE_GUARD_WRITE] = { true, true, NT_STATUS_PURGE_FAILED },
	[PURGE_GUARD_WRITE_UNBUFFERED] = {
		true, false, NT_STATUS_PURGE_FAILED
	},
	/*
	 * Mapped or not: a scan's mapping may appear after the check, and
	 * what was cut off would be gone under it.
	 */
	[PURGE_GUARD_SHRINK] = { false, false, NT_STATUS_PURGE_FAILED },
	[PURGE_GUARD_OVERWRITE] = { true, false, NT_STATUS_USER_MAPPED_FILE },
	[PURGE_GUARD_REPLACE] = { true, false, NT_STATUS_PURGE_FAILED },
	[PURGE_GUARD_ZERO_DATA] = { true, false, NT_STATUS_PURGE_FAILED },
	[PURGE_GUARD_COPY_TARGET] = { true, true, NT_STATUS_PURGE_FAILED },
};

static bool user_may_purge(struct vfs_handle_struct *handle)
{
	struct udf_conn *conn = handle->data;
	struct connection_struct *c = handle->conn;
	const struct auth_session_info *session = c->session_info;

	if (conn->purge_users == NULL) {
		return true;
	}
	return samba_compat_name_in_list(session->unix_info->unix_name,
					 session->info->domain_name,
					 lp_const_servicename(SNUM(c)),
					 session->security_token,
					 conn->purge_users);
}

/*
 * Brackets that the opens of this process have: smbd serves a client in one
 * process, with all its connections and shares, so they are one client's.
 */
static uint64_t purge_guard_brackets;

void purge_guard_note_brackets(struct udf_open *open, uint32_t brackets)
{
	purge_guard_brackets -= open->brackets;
	purge_guard_brackets += brackets;
	open->brackets = brackets;
}

/* May this client send it on this handle, and what does it say? */
static NTSTATUS check_fsctl(struct vfs_handle_struct *handle,
			    const struct files_struct *fsp,
			    const uint8_t *in,
			    uint32_t in_len,
			    enum fsctl_purge_action *action)
{
	enum fsctl_codec_result decoded;

	if ((fsp->access_mask & SEC_FILE_READ_DATA) == 0) {
		return NT_STATUS_ACCESS_DENIED;
	}
	if (!user_may_purge(handle)) {
		return NT_STATUS_ACCESS_DENIED;
	}
	if (fsp->fsp_flags.is_directory) {
		return NT_STATUS_FILE_IS_A_DIRECTORY;
	}
	decoded = fsctl_codec_pull_purge(in, in_len, action);
	switch (decoded) {
	case FSCTL_CODEC_OK:
		break;
	case FSCTL_CODEC_SHORT:
		return NT_STATUS_BUFFER_TOO_SMALL;
	case FSCTL_CODEC_VALUE:
		return NT_STATUS_INVALID_PARAMETER;
	}
	return NT_STATUS_OK;
}

/* The record was changed, or looked at: what does the open have to know? */
static NTSTATUS note_result(struct files_struct *fsp,
			    struct udf_open *open,
			    const struct open_state_owner *owner,
			    enum fsctl_purge_action action,
			    enum purge_mode_result result)
{
	uint32_t brackets = open->brackets;

	switch (result) {
	case PURGE_MODE_COUNTED:
		if (action == FSCTL_PURGE_ENABLE) {
			brackets += 1;
		} else if (brackets > 0) {
			brackets -= 1;
		}
		purge_guard_note_brackets(open, brackets);
		open->has_entry = true;
		open->persistent_id = owner->persistent_id;
		open->unsettled = true;
		return NT_STATUS_OK;
	case PURGE_MODE_REPLAYED:
		return NT_STATUS_OK;
	case PURGE_MODE_QUOTA:
		DBG_NOTICE("%s: the client has %"PRIu64" brackets open, "
			   "udf:max brackets allows no more\n",
			   fsp_str_dbg(fsp),
			   purge_guard_brackets);
		return NT_STATUS_INSUFFICIENT_RESOURCES;
	case PURGE_MODE_OVERFLOW:
	case PURGE_MODE_UNDERFLOW:
		break;
	}
	return NT_STATUS_INVALID_PARAMETER;
}

NTSTATUS purge_guard_fsctl(struct vfs_handle_struct *handle,
			   struct files_struct *fsp,
			   TALLOC_CTX *mem_ctx,
			   const uint8_t *in,
			   uint32_t in_len)
{
	struct udf_conn *conn = handle->data;
	struct udf_open *open = NULL;
	struct smbd_smb2_request *smb2req = NULL;
	struct smb2_request_header header = { .replay = false };
	struct purge_mode_request request = { .action = PURGE_MODE_NONE };
	struct open_state_owner owner;
	enum fsctl_purge_action action = FSCTL_PURGE_DISABLE;
	enum purge_mode_result result;
	uint64_t serial = 0;
	NTSTATUS status;

	status = check_fsctl(handle, fsp, in, in_len, &action);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}
	status = udf_open_get_key(handle, fsp, &open);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}

	smb2req = smb2_request_of(mem_ctx);
	if (smb2req != NULL) {
		smb2_request_get_header(smb2req, &header);
	}
	request = (struct purge_mode_request) {
		.action = (action == FSCTL_PURGE_ENABLE) ? PURGE_MODE_ENABLE
							 : PURGE_MODE_DISABLE,
		.replay = header.replay,
		.quota_reached = (purge_guard_brackets >= conn->max_brackets),
		.channel_sequence = header.channel_sequence,
	};

	udf_open_owner(conn, fsp, &owner);
	owner.unbuffered = open->unbuffered;
	if (open->reclaimed_serial != 0 && !header.replay) {
		/* A client that goes on has nothing to replay. */
		reply_note_answered(&owner, open->reclaimed_serial);
	}
	open->reclaimed_serial = 0;
	status = open_state_count(conn->state,
				  &open->key,
				  &owner,
				  &request,
				  &result,
				  &serial);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}
	status = note_result(fsp, open, &owner, action, result);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}

	if (owner.persistent && smb2req != NULL) {
		reply_note_expect(&owner, serial, smb2req);
		open->has_note = true;
	}
	return NT_STATUS_OK;
}

void purge_guard_settle(struct vfs_handle_struct *handle,
			struct files_struct *fsp)
{
	struct udf_conn *conn = handle->data;
	struct udf_open *open = VFS_FETCH_FSP_EXTENSION(handle, fsp);
	NTSTATUS status;

	if (open == NULL || !open->unsettled) {
		return;
	}
	status = open_state_settle(conn->state,
				   &open->key,
				   open->persistent_id);
	if (!NT_STATUS_IS_OK(status)) {
		/* The next request tries again. */
		DBG_WARNING("%s: %s\n", fsp_str_dbg(fsp), nt_errstr(status));
		return;
	}
	open->unsettled = false;
}

/*
 * Ask the database for the sum. When it cannot tell, the file is taken for
 * counted: a scan must not be given up because a record is damaged.
 */
static bool ask_for_count(struct udf_conn *conn, struct udf_open *open)
{
	uint64_t sum = 0;
	int seqnum = open_state_seqnum(conn->state);
	NTSTATUS status;

	status = open_state_sum(conn->state, &open->key, &sum);
	if (!NT_STATUS_IS_OK(status)) {
		return true;
	}
	if (sum != 0) {
		return true;
	}
	open_state_note_quiet(conn->state, &open->cache, seqnum);
	return false;
}

bool purge_guard_is_counted(struct vfs_handle_struct *handle,
			    struct files_struct *fsp)
{
	struct udf_conn *conn = handle->data;
	struct udf_open *open = NULL;
	NTSTATUS status;

	open = VFS_FETCH_FSP_EXTENSION(handle, fsp);
	if (open != NULL && open_state_is_quiet(conn->state, &open->cache)) {
		return false;
	}

	status = udf_open_get_key(handle, fsp, &open);
	if (!NT_STATUS_IS_OK(status)) {
		/* Not a file of the store: nobody can count it either. */
		return false;
	}
	return ask_for_count(conn, open);
}

struct look {
	int fd;
	off_t offset;
	off_t len;
	enum page_cache_result result;
	int error;
};

static void look_in_turn(void *private_data)
{
	struct look *look = private_data;

	become_root();
	look->result = page_cache_look(look->fd, look->offset, look->len);
	look->error = errno;
	unbecome_root();
}

static enum page_cache_result purge_range(struct udf_conn *conn,
					  const struct udf_file_key *key,
					  int fd,
					  off_t offset,
					  off_t len)
{
	struct look look = {
		.fd = fd,
		.offset = offset,
		.len = len,
		.result = PAGE_CACHE_MAPPED,
	};
	enum page_cache_result result;
	NTSTATUS status;

	/* "udfctl purge": in view without a mapping of ours to be found. */
	if (open_state_is_viewed(conn->state, key)) {
		return PAGE_CACHE_MAPPED;
	}

	result = page_cache_drop(fd, offset, len);
	if (result != PAGE_CACHE_STAYS) {
		return result;
	}

	/* Another smbd that looks at the file would be seen. */
	status = open_state_take_turns(conn->state, key, look_in_turn, &look);
	if (!NT_STATUS_IS_OK(status)) {
		DBG_ERR("looking for mappings: %s\n", nt_errstr(status));
	}
	errno = look.error;
	return look.result;
}

/* Is a WRITE unbuffered, by its open or by its own flag? */
static bool is_unbuffered(const struct udf_open *open,
			  struct smbd_smb2_request *smb2req)
{
	if (open != NULL && open->unbuffered) {
		return true;
	}
	return smb2req != NULL && smb2_request_is_unbuffered_write(smb2req);
}

off_t purge_guard_write_start(const struct files_struct *fsp, off_t offset)
{
	struct stat st = { .st_size = 0 };
	int ret = -1;

	if (!samba_compat_appends(fsp)) {
		return offset;
	}
	ret = fstat(fsp_get_io_fd(fsp), &st);
	if (ret == -1) {
		/* The purge will not know the file either, and say so. */
		return 0;
	}
	return st.st_size;
}

enum purge_guard_verdict purge_guard_check(struct vfs_handle_struct *handle,
					   struct files_struct *fsp,
					   struct smbd_smb2_request *smb2req,
					   enum purge_guard_op op,
					   off_t offset,
					   off_t len,
					   NTSTATUS *status)
{
	struct udf_conn *conn = handle->data;
	struct udf_open *open = NULL;
	const struct purge_guard_rule *rule = NULL;
	bool counted = purge_guard_is_counted(handle, fsp);
	bool behind = false;

	/*
	 * It must not overtake one that was held, not even when the count has
	 * come to zero and the other has yet to hear of it.
	 */
	behind = held_ops_overlap(conn->held,
				  fsp,
				  offset,
				  (len == 0) ? INT64_MAX : len);
	if (!counted && !behind) {
		return PURGE_GUARD_PROCEED;
	}

	open = VFS_FETCH_FSP_EXTENSION(handle, fsp);
	if (op == PURGE_GUARD_WRITE && is_unbuffered(open, smb2req)) {
		op = PURGE_GUARD_WRITE_UNBUFFERED;
	}
	rule = &purge_guard_rules[op];
	*status = rule->failed;

	if (!rule->purge) {
		return counted ? PURGE_GUARD_FAIL : PURGE_GUARD_PROCEED;
	}

	if (!behind) {
		switch (purge_range(conn,
				    &open->key,
				    fsp_get_io_fd(fsp),
				    offset,
				    len))
		{
		case PAGE_CACHE_PURGED:
			return PURGE_GUARD_PROCEED;
		case PAGE_CACHE_ERROR:
			*status = map_nt_error_from_unix(errno);
			return PURGE_GUARD_FAIL;
		case PAGE_CACHE_STAYS:
		case PAGE_CACHE_MAPPED:
			break;
		}
	}

	/* What waits for another, and for no purge, is held whatever it is. */
	if ((counted && !rule->hold) || smb2req == NULL ||
	    !smb2_request_can_wait(smb2req) || held_ops_full(conn->held))
	{
		return PURGE_GUARD_FAIL;
	}
	return PURGE_GUARD_HOLD;
}

NTSTATUS purge_guard_check_fd(struct vfs_handle_struct *handle, int fd)
{
	struct udf_conn *conn = handle->data;
	struct udf_file_key key;
	uint64_t sum = 0;
	NTSTATUS status;

	status = conn->store->ops->file_key(conn->store, fd, &key);
	if (!NT_STATUS_IS_OK(status)) {
		/*
		 * Not a file of the store, but of what is mounted below the
		 * share: nobody can count it either.
		 */
		return NT_STATUS_OK;
	}
	status = open_state_sum(conn->state, &key, &sum);
	if (NT_STATUS_IS_OK(status) && sum == 0) {
		return NT_STATUS_OK;
	}
	/* When it cannot tell, the file is taken for counted. */
	switch (purge_range(conn, &key, fd, 0, 0)) {
	case PAGE_CACHE_PURGED:
		return NT_STATUS_OK;
	case PAGE_CACHE_ERROR:
		return map_nt_error_from_unix(errno);
	case PAGE_CACHE_STAYS:
	case PAGE_CACHE_MAPPED:
		break;
	}
	return purge_guard_rules[PURGE_GUARD_REPLACE].failed;
}

bool purge_guard_sync(struct vfs_handle_struct *handle,
		      struct files_struct *fsp,
		      enum purge_guard_op op,
		      off_t offset,
		      off_t len)
{
	enum purge_guard_verdict verdict;
	NTSTATUS status;

	verdict = purge_guard_check(handle,
				    fsp,
				    NULL,
				    op,
				    offset,
				    len,
				    &status);
	if (verdict == PURGE_GUARD_PROCEED) {
		return true;
	}

	smb2_request_fail_with(fsp, status);
	errno = PURGE_GUARD_ERRNO;
	return false;
}
