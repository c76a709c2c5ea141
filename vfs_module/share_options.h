/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The options of a share, as they are in smb.conf at the tree connect; see
 * vfs_udf(8).
 */
#ifndef VFS_UDF_SHARE_OPTIONS_H
#define VFS_UDF_SHARE_OPTIONS_H

#include "includes.h"
#include "held_ops.h"

struct share_options {
	const char **purge_users; /* udf:purge mode users; NULL: everybody */
	uint64_t max_brackets;	  /* udf:max brackets */
	struct held_ops_options held;
};

/* udf:require store: is the tree connect refused when there is no store? */
bool share_options_require_store(int snum);

/*
 * All others. What cannot be understood is logged, and the default used. The
 * texts live on mem_ctx.
 */
NTSTATUS share_options_get(TALLOC_CTX *mem_ctx,
			   int snum,
			   struct share_options *options);

#endif /* VFS_UDF_SHARE_OPTIONS_H */
