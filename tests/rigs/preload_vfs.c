/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Lets a stock smbd preload a VFS module from any directory.
 *
 * smbd registers its built-in VFS modules when it needs the first one and none
 * is registered. A module that "preload modules" loaded has registered itself
 * by then, so the built-in ones stay out and no share can be connected. Named
 * before it in "preload modules", this one makes smbd register its own first.
 *
 * Only for test rigs: an installed module is loaded by name and needs none of
 * this.
 */
#include "includes.h"
#include "smbd/smbd.h"

NTSTATUS vfs_preload_init(TALLOC_CTX *mem_ctx);

NTSTATUS vfs_preload_init(TALLOC_CTX *mem_ctx)
{
	connection_struct *conn = NULL;
	bool ok;

	/* Asking for a module is what registers the built-in ones. */
	conn = talloc_zero(mem_ctx, connection_struct);
	if (conn == NULL) {
		return NT_STATUS_NO_MEMORY;
	}

	ok = vfs_init_custom(conn, DEFAULT_VFS_MODULE_NAME);
	TALLOC_FREE(conn);
	if (!ok) {
		return NT_STATUS_UNSUCCESSFUL;
	}

	return NT_STATUS_OK;
}
