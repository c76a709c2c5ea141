/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What differs between the Samba versions the module is built for. The
 * HAVE_ defines come from configure checks (vfs_module/wscript).
 */
#ifndef VFS_UDF_SAMBA_COMPAT_H
#define VFS_UDF_SAMBA_COMPAT_H

#include "includes.h"
#include "smbd/smbd.h"
#include "locking/proto.h"
#include "librpc/gen_ndr/open_files.h"
#include "udf_config.h"

/*
 * Is the user, or a group of theirs, in a list such as "valid users"? When
 * that cannot be found out they are not.
 */
static inline bool
samba_compat_name_in_list(const char *username,
			  const char *domain,
			  const char *sharename,
			  const struct security_token *token,
			  const char **list)
{
#ifdef HAVE_TOKEN_LIST_MATCH
	bool match = false;
	bool ok = false;

	ok = token_contains_name_in_list(username,
					 domain,
					 sharename,
					 token,
					 list,
					 &match);
	return ok && match;
#else
	return token_contains_name_in_list(username,
					   domain,
					   sharename,
					   token,
					   list);
#endif
}

/* Is it smbd's own open of the file below an open of a named stream? */
static inline bool
samba_compat_is_stream_base(const struct share_mode_entry *e)
{
#ifdef HAVE_SHARE_MODE_ENTRY_PRIVATE_OPTIONS
	return (e->private_options & NTCREATEX_FLAG_STREAM_BASEOPEN) != 0;
#else
	return (e->flags & SHARE_ENTRY_FLAG_STREAM_BASEOPEN) != 0;
#endif
}

/* The lock a WRITE of an open asks for. */
static inline void
samba_compat_write_lock(struct files_struct *fsp,
			uint64_t smblctx,
			uint64_t offset,
			uint64_t len,
			struct lock_struct *lock)
{
#ifdef HAVE_STRICT_LOCK_FLAVOUR
	init_strict_lock_struct(fsp,
				smblctx,
				offset,
				len,
				WRITE_LOCK,
				lp_posix_cifsu_locktype(fsp),
				lock);
#else
	init_strict_lock_struct(fsp, smblctx, offset, len, WRITE_LOCK, lock);
#endif
}

#endif /* VFS_UDF_SAMBA_COMPAT_H */
