/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The asynchronous VFS functions that change a file's data, under the rules
 * of purge_guard.h: they proceed, wait, or fail with an exact status.
 */
#ifndef VFS_UDF_GUARDED_IO_H
#define VFS_UDF_GUARDED_IO_H

#include "includes.h"

struct tevent_req *guarded_pwrite_send(struct vfs_handle_struct *handle,
				       TALLOC_CTX *mem_ctx,
				       struct tevent_context *ev,
				       struct files_struct *fsp,
				       const void *data,
				       size_t n,
				       off_t offset);
ssize_t guarded_pwrite_recv(struct tevent_req *req,
			    struct vfs_aio_state *aio_state);

struct tevent_req *guarded_offload_write_send(struct vfs_handle_struct *handle,
					      TALLOC_CTX *mem_ctx,
					      struct tevent_context *ev,
					      uint32_t fsctl,
					      DATA_BLOB *token,
					      off_t transfer_offset,
					      struct files_struct *dest_fsp,
					      off_t dest_off,
					      off_t to_copy);
NTSTATUS guarded_offload_write_recv(struct vfs_handle_struct *handle,
				    struct tevent_req *req,
				    off_t *copied);

#endif /* VFS_UDF_GUARDED_IO_H */
