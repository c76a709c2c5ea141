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

/* A file that is scanned, as it was named or found. */
struct local_scan_name {
	const char *path;
	/*
	 * Found below a directory, whose owner is not trusted: no symbolic
	 * link may lead to it.
	 */
	bool found;
};

/*
 * The key of a regular file on a store. *fd, if asked for, is an O_PATH
 * descriptor of it for the caller to close.
 *
 * NT_STATUS_OBJECT_NAME_NOT_FOUND: it was found, and has gone since; nothing
 * was said about that.
 */
NTSTATUS local_scan_key(const struct local_scan_name *name,
			struct udf_file_key *key,
			int *fd);

/* Print a path to f, whatever bytes it has: no control characters. */
void local_scan_print_path(FILE *f, const char *path);

typedef bool (*local_scan_fn)(const struct local_scan_name *name,
			      void *private_data);

/*
 * Call fn for each path; with recursive, for a directory's regular files on
 * the same file system instead. Symbolic links are followed in paths, not
 * below. Ends at the first failure.
 */
bool local_scan_for_files(char *const *paths,
			  bool recursive,
			  local_scan_fn fn,
			  void *private_data);

/*
 * Count a file once. kind is not OPEN_STATE_SMB; it and whole_view are the
 * same for all files of a process.
 */
bool local_scan_count(struct local_scan *scan,
		      const struct local_scan_name *name,
		      enum open_state_kind kind,
		      bool whole_view);

/* How many files has this process counted that still count? */
size_t local_scan_counted(struct local_scan *scan);

/* Take all counts back. */
bool local_scan_release(struct local_scan *scan);

#endif /* VFS_UDF_LOCAL_SCAN_H */
