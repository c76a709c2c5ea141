/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Purge-failure mode's rules: FSCTL_SET_PURGE_FAILURE_MODE itself, and what
 * every operation that changes a file's data has to obey while the file's
 * count is above zero. docs/PROTOCOL.md has both tables.
 */
#ifndef VFS_UDF_PURGE_GUARD_H
#define VFS_UDF_PURGE_GUARD_H

#include "includes.h"

struct smbd_smb2_request;
struct udf_open;

/*
 * FSCTL_SET_PURGE_FAILURE_MODE. mem_ctx is that of the fsctl hook.
 */
NTSTATUS purge_guard_fsctl(struct vfs_handle_struct *handle,
			   struct files_struct *fsp,
			   TALLOC_CTX *mem_ctx,
			   const uint8_t *in,
			   uint32_t in_len);

/*
 * A request other than FSCTL_SET_PURGE_FAILURE_MODE came through the open: the
 * client will not replay the last one of those.
 */
void purge_guard_settle(struct vfs_handle_struct *handle,
			struct files_struct *fsp);

/*
 * The open has so many brackets now; 0 when it goes. All those of a process
 * are limited by udf:max brackets.
 */
void purge_guard_note_brackets(struct udf_open *open, uint32_t brackets);

/*
 * The errno of what is refused, for a client that cannot be told the exact
 * status because it does not speak SMB2: ACCESS_DENIED. What ends with
 * SHARING_VIOLATION is tried by smbd's SMB1 server again and again instead,
 * and never answered.
 */
#define PURGE_GUARD_ERRNO EACCES

/* What is about to be done to a file. */
enum purge_guard_op {
	PURGE_GUARD_WRITE,	      /* cached */
	PURGE_GUARD_WRITE_UNBUFFERED,
	PURGE_GUARD_SHRINK,	      /* end of file or allocation */
	PURGE_GUARD_OVERWRITE,	      /* destructive CREATE */
	PURGE_GUARD_REPLACE,	      /* by a rename */
	PURGE_GUARD_ZERO_DATA,
	PURGE_GUARD_COPY_TARGET,      /* copy-chunk, duplicate extents */
};

enum purge_guard_verdict {
	PURGE_GUARD_PROCEED,
	PURGE_GUARD_HOLD, /* until the count is zero */
	PURGE_GUARD_FAIL, /* with the status */
};

/*
 * May the file be changed now? Purges what has to be purged. A WRITE is taken
 * for an unbuffered one by itself if its request or its open says so.
 *
 * smb2req is the request that could wait, NULL for a synchronous path: then
 * PURGE_GUARD_HOLD is never returned. len 0 means to the end of the file.
 */
enum purge_guard_verdict purge_guard_check(struct vfs_handle_struct *handle,
					   struct files_struct *fsp,
					   struct smbd_smb2_request *smb2req,
					   enum purge_guard_op op,
					   off_t offset,
					   off_t len,
					   NTSTATUS *status);

/*
 * Where a WRITE that says offset goes to, for purge_guard_check() and for
 * holding it: the end of the file if its open appends.
 */
off_t purge_guard_write_start(const struct files_struct *fsp, off_t offset);

/*
 * For a synchronous VFS function that returns -1: may it go on? If not, errno
 * is set (PURGE_GUARD_ERRNO), and the status the client will see is seen to.
 */
bool purge_guard_sync(struct vfs_handle_struct *handle,
		      struct files_struct *fsp,
		      enum purge_guard_op op,
		      off_t offset,
		      off_t len);

/*
 * May a file that is no open of smbd's be replaced? fd is open for reading.
 * NT_STATUS_OK, or what a SET_INFO is to be answered with.
 */
NTSTATUS purge_guard_check_fd(struct vfs_handle_struct *handle, int fd);

/* Has the file a count (for all that is known)? */
bool purge_guard_is_counted(struct vfs_handle_struct *handle,
			    struct files_struct *fsp);

#endif /* VFS_UDF_PURGE_GUARD_H */
