/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What differs between the Samba versions the module is built for. The
 * HAVE_ defines come from configure checks (vfs_module/wscript).
 */
#ifndef VFS_UDF_SAMBA_COMPAT_H
#define VFS_UDF_SAMBA_COMPAT_H

#include "includes.h"
#include "smbd/smbd.h"
#include "smbd/globals.h"
#include "locking/proto.h"
#include "librpc/gen_ndr/open_files.h"
#include "lib/dbwrap/dbwrap.h"
#include "udf_config.h"
#ifdef HAVE_SMBXSRV_OPEN_GLOBAL
#include "smbd/scavenger.h"
#include "smbd/smbXsrv_open.h"
#endif

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

/*
 * An SMB3 POSIX client's open for appending: its writes go to the end of the
 * file, wherever that is when they are done, and say VFS_PWRITE_APPEND_OFFSET.
 */
static inline bool samba_compat_appends(const struct files_struct *fsp)
{
#ifdef HAVE_POSIX_APPEND
	return fsp->fsp_flags.posix_append;
#else
	return false;
#endif
}

/* What smbd's database of opens has of one. */
#ifdef HAVE_SMBXSRV_OPEN_GLOBAL
typedef struct smbXsrv_open_global samba_compat_open_global;
static inline bool
samba_compat_is_persistent(const samba_compat_open_global *global)
{
	return global->persistent;
}
#else
typedef struct smbXsrv_open_global0 samba_compat_open_global;
static inline bool
samba_compat_is_persistent(const samba_compat_open_global *global)
{
	return false;
}
#endif

/*
 * A reconnect has the client's lease since persistent handles came. The
 * second is for a hook that was declared with the first.
 */
#ifdef HAVE_DURABLE_RECONNECT_LEASE
#define SAMBA_COMPAT_LEASE_PARAMETER const struct smb2_lease *lease,
#define SAMBA_COMPAT_NEXT_DURABLE_RECONNECT(h, req, op, old, mem, fsp, new) \
	SMB_VFS_NEXT_DURABLE_RECONNECT(h, req, op, old, lease, mem, fsp, new)
#else
#define SAMBA_COMPAT_LEASE_PARAMETER
#define SAMBA_COMPAT_NEXT_DURABLE_RECONNECT(h, req, op, old, mem, fsp, new) \
	SMB_VFS_NEXT_DURABLE_RECONNECT(h, req, op, old, mem, fsp, new)
#endif

/*
 * A rename says how it is meant since 4.23. The second is for a hook that was
 * declared with the first.
 */
#ifdef HAVE_VFS_RENAME_HOW
#define SAMBA_COMPAT_RENAME_HOW_PARAMETER , const struct vfs_rename_how *how
#define SAMBA_COMPAT_NEXT_RENAMEAT(h, src_dirfsp, src, dst_dirfsp, dst) \
	SMB_VFS_NEXT_RENAMEAT(h, src_dirfsp, src, dst_dirfsp, dst, how)
#else
#define SAMBA_COMPAT_RENAME_HOW_PARAMETER
#define SAMBA_COMPAT_NEXT_RENAMEAT(h, src_dirfsp, src, dst_dirfsp, dst) \
	SMB_VFS_NEXT_RENAMEAT(h, src_dirfsp, src, dst_dirfsp, dst)
#endif

/*
 * How long after its time-out an open that nobody has is taken for gone though
 * smbd was not asked. Where it can be asked that is only for an open that
 * smbd's database has lost: clocks differ between nodes, and are set, and an
 * entry that goes before its handle would be missed by the client that
 * reclaims it. Elsewhere it is what smbd's own timer may be late.
 */
#ifdef HAVE_SMBXSRV_OPEN_GLOBAL
#define SAMBA_COMPAT_GONE_GRACE_MSEC 600000
#else
#define SAMBA_COMPAT_GONE_GRACE_MSEC 2000
#endif

/* Does smbd still keep a durable handle that nobody has? */
enum samba_compat_handle {
	SAMBA_COMPAT_HANDLE_KEPT,
	SAMBA_COMPAT_HANDLE_GONE,
	SAMBA_COMPAT_HANDLE_BUSY, /* its database does not tell now */
	SAMBA_COMPAT_HANDLE_UNKNOWN, /* this Samba cannot be asked */
};

/* Ask smbd's database of opens; no record may be locked. */
static inline enum samba_compat_handle
samba_compat_ask_handle(uint64_t persistent_id, const struct GUID *create_guid)
{
#ifdef HAVE_SMBXSRV_OPEN_GLOBAL
	TALLOC_CTX *frame = talloc_stackframe();
	const struct smbXsrv_open_global *global = NULL;
	enum samba_compat_handle result = SAMBA_COMPAT_HANDLE_KEPT;
	NTSTATUS status;

	status = smbXsrv_open_global_lookup(frame,
					    (uint32_t)persistent_id,
					    &global);
	if (NT_STATUS_EQUAL(status, NT_STATUS_NOT_FOUND)) {
		result = SAMBA_COMPAT_HANDLE_GONE;
	} else if (!NT_STATUS_IS_OK(status)) {
		result = SAMBA_COMPAT_HANDLE_BUSY;
	} else if (!GUID_equal(&global->create_guid, create_guid)) {
		/* The number was given out again. */
		result = SAMBA_COMPAT_HANDLE_GONE;
	}
	TALLOC_FREE(frame);
	return result;
#else
	return SAMBA_COMPAT_HANDLE_UNKNOWN;
#endif
}

/*
 * The time-out of a handle that nobody has is over: give it up, as smbd's
 * scavenger does, which for a handle whose smbd was killed has no timer. Its
 * timer is not to be had either: when it fires it deletes a handle whose smbd
 * is dead, be it for a moment only and for the second time. False: somebody
 * has the handle, or it cannot be told. Needs root; no record may be locked.
 */
static inline bool
samba_compat_give_up_handle(uint64_t persistent_id)
{
#ifdef HAVE_SMBXSRV_OPEN_GLOBAL
	TALLOC_CTX *frame = talloc_stackframe();
	const struct smbXsrv_open_global *global = NULL;
	NTSTATUS status;
	bool ok = false;

	status = smbXsrv_open_global_lookup(frame,
					    (uint32_t)persistent_id,
					    &global);
	if (!NT_STATUS_IS_OK(status)) {
		goto done;
	}
	/* Refused while its smbd lives, or smbd's own clock says later. */
	status = smbXsrv_open_cleanup(persistent_id);
	if (!NT_STATUS_IS_OK(status)) {
		goto done;
	}
	ok = share_mode_cleanup_disconnected(global->file_id,
					     persistent_id,
					     global->name_hash);
	if (!ok) {
		DBG_WARNING("the share mode of the open 0x%"PRIx64" stays\n",
			    persistent_id);
	}
	ok = true;
done:
	TALLOC_FREE(frame);
	return ok;
#else
	return false;
#endif
}

/*
 * Can smbd keep single records on disk, on every node of a cluster? It does
 * for its own when handles may be persistent. The flags with which to open a
 * database then (0: no), and to store a record.
 */
#ifdef HAVE_DBWRAP_STORE_PERSISTENT
#define SAMBA_COMPAT_STORE_PERSISTENT DBWRAP_STORE_PERSISTENT
static inline uint64_t samba_compat_twin_db_flags(void)
{
	return lp_persistent_handles() ? DBWRAP_FLAG_PER_REC_PERSISTENT : 0;
}
#else
#define SAMBA_COMPAT_STORE_PERSISTENT 0
static inline uint64_t samba_compat_twin_db_flags(void)
{
	return 0;
}
#endif

#endif /* VFS_UDF_SAMBA_COMPAT_H */
