/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A rename over a counted file; see guarded_rename.h.
 */
#include "guarded_rename.h"
#include "purge_guard.h"
#include "smb2_request.h"
#include "vfs_udf.h"

/*
 * Open the file that would be replaced, to ask who it is and to purge it. As
 * root: whoever may replace a name needs no right to read what is there. -1:
 * there is none, or none with data.
 */
static int open_target(struct files_struct *dirfsp,
		       const struct smb_filename *src,
		       const struct smb_filename *dst)
{
	struct stat st;
	int dir_fd = fsp_get_pathref_fd(dirfsp);
	int fd = -1;
	int ret = -1;

	ret = fstatat(dir_fd, dst->base_name, &st, AT_SYMLINK_NOFOLLOW);
	if (ret == -1 || !S_ISREG(st.st_mode)) {
		return -1;
	}
	if (VALID_STAT(src->st) && src->st.st_ex_dev == st.st_dev &&
	    src->st.st_ex_ino == st.st_ino)
	{
		/* Another name of the same file, or the same in other case. */
		return -1;
	}

	become_root();
	fd = openat(dir_fd,
		    dst->base_name,
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	unbecome_root();
	return fd;
}

int guarded_renameat(struct vfs_handle_struct *handle,
		     struct files_struct *src_dirfsp,
		     const struct smb_filename *src,
		     struct files_struct *dst_dirfsp,
		     const struct smb_filename *dst
		     SAMBA_COMPAT_RENAME_HOW_PARAMETER)
{
	NTSTATUS status = NT_STATUS_OK;
	int fd = -1;

	if (handle->data != NULL && !is_named_stream(dst)) {
		fd = open_target(dst_dirfsp, src, dst);
	}
	if (fd != -1) {
		status = purge_guard_check_fd(handle, fd);
		close(fd);
	}
	if (!NT_STATUS_IS_OK(status)) {
		smb2_request_fail_rename(handle->conn, src, status);
		errno = PURGE_GUARD_ERRNO;
		return -1;
	}
	return SAMBA_COMPAT_NEXT_RENAMEAT(handle,
					  src_dirfsp,
					  src,
					  dst_dirfsp,
					  dst);
}
