/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What differs between the Samba versions the module is built for. The
 * HAVE_ defines come from configure checks (vfs_module/wscript).
 */
#ifndef VFS_UDF_SAMBA_COMPAT_H
#define VFS_UDF_SAMBA_COMPAT_H

#include "includes.h"
#include "smbd/smbd.h"

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
	return token_contains_name_in_list(username,
					   domain,
					   sharename,
					   token,
					   list);
}

#endif /* VFS_UDF_SAMBA_COMPAT_H */
