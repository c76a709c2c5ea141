/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * MS-FSA's rules for FSCTL_SET_DEFECT_MANAGEMENT and the two queries.
 * docs/PROTOCOL.md lists the checks and statuses.
 */
#ifndef VFS_UDF_DEFECT_MANAGEMENT_H
#define VFS_UDF_DEFECT_MANAGEMENT_H

#include "includes.h"

/* FSCTL_SET_DEFECT_MANAGEMENT, MS-FSA 2.1.5.10.31. */
NTSTATUS defect_management_set(struct vfs_handle_struct *handle,
			       struct files_struct *fsp,
			       const uint8_t *in,
			       uint32_t in_len);

/*
 * FSCTL_QUERY_SPARING_INFO, MS-FSA 2.1.5.10.26. *out is a talloc child of
 * mem_ctx.
 */
NTSTATUS defect_management_query_sparing(struct vfs_handle_struct *handle,
					 TALLOC_CTX *mem_ctx,
					 uint32_t max_out_len,
					 uint8_t **out,
					 uint32_t *out_len);

/* FSCTL_QUERY_ON_DISK_VOLUME_INFO, MS-FSA 2.1.5.10.25; likewise. */
NTSTATUS defect_management_query_volume(struct vfs_handle_struct *handle,
					TALLOC_CTX *mem_ctx,
					uint32_t max_out_len,
					uint8_t **out,
					uint32_t *out_len);

#endif /* VFS_UDF_DEFECT_MANAGEMENT_H */
