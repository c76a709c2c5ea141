/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A rename over a file of which a data scan has a bracket open.
 */
#ifndef VFS_UDF_GUARDED_RENAME_H
#define VFS_UDF_GUARDED_RENAME_H

#include "includes.h"
#include "samba_compat.h"

/*
 * SMB_VFS_RENAMEAT. A file that the rename would replace is changed by it, so
 * it obeys the rules: SET_INFO fails with PURGE_FAILED while its count is
 * above zero and it cannot be purged. -1 with PURGE_GUARD_ERRNO then.
 *
 * The file that is renamed keeps its data, and needs no purge.
 */
int guarded_renameat(struct vfs_handle_struct *handle,
		     struct files_struct *src_dirfsp,
		     const struct smb_filename *src,
		     struct files_struct *dst_dirfsp,
		     const struct smb_filename *dst
		     SAMBA_COMPAT_RENAME_HOW_PARAMETER);

#endif /* VFS_UDF_GUARDED_RENAME_H */
