/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A scan that runs on this server: the files it brackets, counted with the
 * same counter as an SMB client's FSCTL_SET_PURGE_FAILURE_MODE.
 *
 * The count belongs to this process: when it ends, however it ends, its
 * entries count for nothing and whoever waits for them goes on.
 *
 * Functions that fail have said why on standard error.
 */
#ifndef VFS_UDF_LOCAL_SCAN_H
#define VFS_UDF_LOCAL_SCAN_H

#include "includes.h"
#include "open_state.h"

/* What messages on standard error begin with. */
#define LOCAL_SCAN_NAME "udfctl purge"

struct local_scan;

/*
 * Join the Samba of a configuration file (NULL: its own): needs root, and to
 * be called once in a process. NULL: it failed.
 */
struct local_scan *local_scan_init(TALLOC_CTX *mem_ctx,
				   const char *config_file);

struct open_state *local_scan_state(struct local_scan *scan);
struct tevent_context *local_scan_events(struct local_scan *scan);

/*
 * The key of a file that is open for reading. NT_STATUS_NOT_FOUND: it is not
 * on a store. Says nothing on standard error.
 */
NTSTATUS local_scan_key_of_fd(int fd, struct udf_file_key *key);

/*
 * The key of a regular file on a store. *fd, if asked for, is an O_PATH
 * descriptor of it for the caller to close.
 */
bool local_scan_key(const char *path, struct udf_file_key *key, int *fd);

/*
 * Call fn for each path; with recursive, for a directory's regular files on
 * the same file system instead. Symbolic links are followed in paths, not
 * below. Ends at the first failure.
 */
bool local_scan_for_files(char *const *paths,
			  bool recursive,
			  bool (*fn)(const char *path, void *private_data),
			  void *private_data);

/*
 * Count a file once. kind is not OPEN_STATE_SMB; it and whole_view are the
 * same for all files of a process.
 */
bool local_scan_count(struct local_scan *scan,
		      const char *path,
		      enum open_state_kind kind,
		      bool whole_view);

/* How many files has this process counted that still count? */
size_t local_scan_counted(struct local_scan *scan);

/* Take all counts back. */
bool local_scan_release(struct local_scan *scan);

#endif /* VFS_UDF_LOCAL_SCAN_H */
