/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Durable and persistent handles (MS-SMB2 3.3.5.9.7, 3.3.5.9.12): what the
 * module keeps of an open stays when its connection ends, and comes back with
 * it. smbd's cookie is left alone; the state is in the database, where the
 * other opens of the file see it meanwhile.
 */
#ifndef VFS_UDF_DURABLE_OPEN_H
#define VFS_UDF_DURABLE_OPEN_H

#include "includes.h"
#include "samba_compat.h"

/*
 * A CREATE has made a file, or taken its data. If the handle is persistent the
 * file is on the medium when this returns: the client may have to reclaim the
 * handle of a server that knows no more than that. The errors are the store's.
 */
NTSTATUS durable_open_commit(struct vfs_handle_struct *handle,
			     struct files_struct *fsp);

/* The connection of a durable handle has ended, and smbd closes the file. */
NTSTATUS durable_open_disconnect(struct vfs_handle_struct *handle,
				 struct files_struct *fsp,
				 const DATA_BLOB old_cookie,
				 TALLOC_CTX *mem_ctx,
				 DATA_BLOB *new_cookie);

/*
 * A client reclaims its handle. Refused when what it had cannot be restored:
 * the client must not go on without it.
 */
NTSTATUS durable_open_reconnect(struct vfs_handle_struct *handle,
				struct smb_request *smb1req,
				struct smbXsrv_open *op,
				const DATA_BLOB old_cookie,
				SAMBA_COMPAT_LEASE_PARAMETER
				TALLOC_CTX *mem_ctx,
				struct files_struct **fsp,
				DATA_BLOB *new_cookie);

#endif /* VFS_UDF_DURABLE_OPEN_H */
