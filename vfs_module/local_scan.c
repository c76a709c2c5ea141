/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A scan that runs on this server; see local_scan.h.
 */
#include "local_scan.h"
#include "lib/global_contexts.h"
#include "messages.h"
#include "system/filesys.h"
#include <fts.h>
#include <linux/openat2.h>
#include <sys/resource.h>
#include <sys/syscall.h>

/* smbXsrv_open's persistent ids have 32 bits: no open of smbd's has this. */
#define LOCAL_SCAN_ID_BIT (UINT64_C(1) << 63)

struct local_scan_file {
	struct udf_file_key key;
	/*
	 * O_PATH: keeps the file's identity its own while it is counted, and
	 * shows its name to "udfctl purge status". An open for real would
	 * lengthen the life of the file's defect management flag.
	 */
	int fd;
};

struct local_scan {
	struct messaging_context *msg_ctx;
	struct open_state *state;
	struct local_scan_file *files;
	size_t num_files;
	size_t max_files; /* that there is room for */
};

void local_scan_print_path(FILE *f, const char *path)
{
	const char *p = NULL;

	for (p = path; *p != '\0'; p++) {
		unsigned char c = (unsigned char)*p;

		if (c < 0x20 || c == 0x7f || c == '\\') {
			fprintf(f, "\\%03o", c);
		} else {
			putc(c, f);
		}
	}
}

static void complain(const char *path, const char *why)
{
	fprintf(stderr, "%s: ", LOCAL_SCAN_NAME);
	local_scan_print_path(stderr, path);
	fprintf(stderr, ": %s\n", why);
}

/* A scan may have more files than the usual limit of descriptors. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static bool load_configuration(const char **config_file)
{
	if (*config_file == NULL) {
		*config_file = get_dyn_CONFIGFILE();
	}
	if (access(*config_file, R_OK) == -1) {
		complain(*config_file, strerror(errno));
		fprintf(stderr,
			"%s: name the configuration file of the smbd that "
			"serves the volume with --configfile\n",
			LOCAL_SCAN_NAME);
		return false;
	}
	if (!lp_load_initial_only(*config_file)) {
		complain(*config_file, "Samba cannot read it; see testparm");
		return false;
	}
	return true;
}

struct local_scan *local_scan_init(TALLOC_CTX *mem_ctx,
				   const char *config_file)
{
	struct local_scan *scan = NULL;
	NTSTATUS status;

	if (geteuid() != 0) {
		fprintf(stderr,
			"%s: only root may do that: Samba's databases are "
			"root's\n",
			LOCAL_SCAN_NAME);
		return NULL;
	}

	smb_init_locale();
	setup_logging(LOCAL_SCAN_NAME, DEBUG_DEFAULT_STDERR);
	store_lp_set_cmdline("log level", "0");
	raise_file_limit();

	scan = talloc_zero(mem_ctx, struct local_scan);
	if (scan == NULL) {
		fprintf(stderr, "%s: no memory\n", LOCAL_SCAN_NAME);
		return NULL;
	}
	if (!load_configuration(&config_file)) {
		goto fail;
	}

	scan->msg_ctx = global_messaging_context();
	if (scan->msg_ctx == NULL) {
		fprintf(stderr,
			"%s: %s: cannot join Samba's messaging; its lock "
			"directory is %s\n",
			LOCAL_SCAN_NAME,
			config_file,
			lp_lock_directory());
		goto fail;
	}
	/* Now a configuration that is in the registry can be read, too. */
	if (!lp_load_global(config_file)) {
		complain(config_file, "Samba cannot read it; see testparm");
		goto fail;
	}

	status = open_state_init(scan->msg_ctx, &scan->state);
	if (!NT_STATUS_IS_OK(status)) {
		complain(lp_lock_directory(), nt_errstr(status));
		goto fail;
	}
	return scan;

fail:
	TALLOC_FREE(scan);
	return NULL;
}

struct open_state *local_scan_state(struct local_scan *scan)
{
	return scan->state;
}

struct tevent_context *local_scan_events(struct local_scan *scan)
{
	return messaging_tevent_context(scan->msg_ctx);
}

/* The store that a file is on, found through the file itself. */
static NTSTATUS find_store(TALLOC_CTX *mem_ctx, int fd, struct udf_store **store)
{
	NTSTATUS status;
	int store_fd = -1;

	store_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (store_fd == -1) {
		return map_nt_error_from_unix(errno);
	}
	status = store_udfd_open(mem_ctx, store_fd, store);
	if (NT_STATUS_EQUAL(status, NT_STATUS_NOT_FOUND)) {
		status = store_kernel_open(mem_ctx, store_fd, store);
	}
	if (!NT_STATUS_IS_OK(status)) {
		close(store_fd);
	}
	return status;
}

NTSTATUS local_scan_key_of_fd(int fd, struct udf_file_key *key)
{
	TALLOC_CTX *frame = talloc_stackframe();
	struct udf_store *store = NULL;
	NTSTATUS status;

	status = find_store(frame, fd, &store);
	if (NT_STATUS_IS_OK(status)) {
		status = store->ops->file_key(store, fd, key);
	}
	TALLOC_FREE(frame);
	return status;
}

/*
 * An O_PATH descriptor of a regular file; what else there may be is not
 * opened, for that can have effects.
 */
static NTSTATUS open_path(const struct local_scan_name *name, int *_fd)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = name->found ? RESOLVE_NO_SYMLINKS : 0,
	};
	NTSTATUS status = NT_STATUS_INVALID_PARAMETER;
	struct stat st;
	int fd = -1;

	/* openat2(2), Linux 5.6; the C library has no function for it. */
	fd = (int)syscall(SYS_openat2,
			  AT_FDCWD,
			  name->path,
			  &how,
			  sizeof(how));
	if (fd == -1 && errno == ENOENT && name->found) {
		return NT_STATUS_OBJECT_NAME_NOT_FOUND;
	}
	if (fd == -1 && errno == EMFILE) {
		complain(name->path,
			 "too many files: raise the limit of open files "
			 "(ulimit -n)");
		return NT_STATUS_TOO_MANY_OPENED_FILES;
	}
	if (fd == -1 || fstat(fd, &st) == -1) {
		complain(name->path, strerror(errno));
		goto fail;
	}
	if (S_ISDIR(st.st_mode)) {
		complain(name->path,
			 "is a directory; --recursive means the files below "
			 "it");
		goto fail;
	}
	if (!S_ISREG(st.st_mode)) {
		complain(name->path, "is not a regular file");
		goto fail;
	}
	*_fd = fd;
	return NT_STATUS_OK;

fail:
	if (fd != -1) {
		close(fd);
	}
	return status;
}

NTSTATUS local_scan_key(const struct local_scan_name *name,
			struct udf_file_key *key,
			int *_fd)
{
	char link[sizeof("/proc/self/fd/") + 3 * sizeof(int)];
	NTSTATUS status;
	int path_fd = -1;
	int fd = -1;

	status = open_path(name, &path_fd);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}
	snprintf(link, sizeof(link), "/proc/self/fd/%d", path_fd);
	fd = open(link, O_RDONLY | O_CLOEXEC);
	if (fd == -1) {
		complain(name->path, strerror(errno));
		close(path_fd);
		return NT_STATUS_ACCESS_DENIED;
	}

	status = local_scan_key_of_fd(fd, key);
	close(fd);
	if (NT_STATUS_EQUAL(status, NT_STATUS_NOT_FOUND)) {
		complain(name->path,
			 "is not on a UDF volume that udfd or the kernel has "
			 "mounted");
	} else if (!NT_STATUS_IS_OK(status)) {
		complain(name->path, nt_errstr(status));
	}

	if (NT_STATUS_IS_OK(status) && _fd != NULL) {
		*_fd = path_fd;
	} else {
		close(path_fd);
	}
	return status;
}

/* fts_open() sorts nothing, so that a large directory needs little memory. */
static bool for_files_below(const char *path,
			    local_scan_fn fn,
			    void *private_data)
{
	char *top = realpath(path, NULL);
	char *const paths[] = { top, NULL };
	struct local_scan_name name = { .found = true };
	FTS *fts = NULL;
	FTSENT *entry = NULL;
	bool ok = true;

	if (top == NULL) {
		complain(path, strerror(errno));
		return false;
	}
	fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
	if (fts == NULL) {
		complain(path, strerror(errno));
		free(top);
		return false;
	}

	while (ok) {
		errno = 0;
		entry = fts_read(fts);
		if (entry == NULL && errno != 0) {
			complain(path, strerror(errno));
			ok = false;
		}
		if (entry == NULL) {
			break;
		}
		switch (entry->fts_info) {
		case FTS_F:
			name.path = entry->fts_accpath;
			ok = fn(&name, private_data);
			break;
		case FTS_DNR:
		case FTS_ERR:
		case FTS_NS:
			/* What vanished since needs no bracket. */
			if (entry->fts_errno == ENOENT &&
			    entry->fts_level > 0)
			{
				break;
			}
			complain(entry->fts_path, strerror(entry->fts_errno));
			ok = false;
			break;
		default:
			break;
		}
	}
	fts_close(fts);
	free(top);
	return ok;
}

bool local_scan_for_files(char *const *paths,
			  bool recursive,
			  local_scan_fn fn,
			  void *private_data)
{
	size_t i = 0;
	bool ok = true;

	for (i = 0; ok && paths[i] != NULL; i++) {
		const struct local_scan_name name = { .path = paths[i] };

		if (recursive) {
			ok = for_files_below(paths[i], fn, private_data);
		} else {
			ok = fn(&name, private_data);
		}
	}
	return ok;
}

static void make_owner(struct local_scan *scan,
		       enum open_state_kind kind,
		       bool whole_view,
		       struct open_state_owner *owner)
{
	struct server_id id = messaging_server_id(scan->msg_ctx);

	*owner = (struct open_state_owner) {
		.persistent_id = id.unique_id | LOCAL_SCAN_ID_BIT,
		.server_id = id,
		.kind = kind,
		.whole_view = whole_view,
	};
}

static bool make_room(struct local_scan *scan)
{
	struct local_scan_file *files = NULL;
	size_t max = scan->max_files * 2 + 16;

	if (scan->num_files < scan->max_files) {
		return true;
	}
	files = talloc_realloc(scan, scan->files, struct local_scan_file, max);
	if (files == NULL) {
		return false;
	}
	scan->files = files;
	scan->max_files = max;
	return true;
}

bool local_scan_count(struct local_scan *scan,
		      const struct local_scan_name *name,
		      enum open_state_kind kind,
		      bool whole_view)
{
	struct purge_mode_request request = { .action = PURGE_MODE_ENABLE };
	struct local_scan_file file = { .fd = -1 };
	struct open_state_owner owner;
	const char *path = name->path;
	enum purge_mode_result result;
	NTSTATUS status;

	if (!make_room(scan)) {
		complain(path, "no memory");
		return false;
	}
	status = local_scan_key(name, &file.key, &file.fd);
	if (NT_STATUS_EQUAL(status, NT_STATUS_OBJECT_NAME_NOT_FOUND)) {
		/* What is gone needs no bracket. */
		return true;
	}
	if (!NT_STATUS_IS_OK(status)) {
		return false;
	}

	make_owner(scan, kind, whole_view, &owner);
	status = open_state_count(scan->state,
				  &file.key,
				  &owner,
				  &request,
				  &result,
				  NULL);
	if (!NT_STATUS_IS_OK(status)) {
		complain(path, nt_errstr(status));
		goto fail;
	}
	if (result != PURGE_MODE_COUNTED) {
		complain(path, "its count is at the limit");
		goto fail;
	}

	scan->files[scan->num_files] = file;
	scan->num_files += 1;
	return true;

fail:
	close(file.fd);
	return false;
}

struct counted_args {
	uint64_t persistent_id;
	size_t counted;
};

static bool counted_fn(const struct open_state_entry *entry,
		       void *private_data)
{
	struct counted_args *args = private_data;

	if (entry->owner.persistent_id == args->persistent_id &&
	    entry->purge_count > 0)
	{
		args->counted += 1;
	}
	return true;
}

size_t local_scan_counted(struct local_scan *scan)
{
	struct counted_args args = { .counted = 0 };
	struct open_state_owner owner;
	NTSTATUS status;

	make_owner(scan, OPEN_STATE_LOCAL, false, &owner);
	args.persistent_id = owner.persistent_id;
	status = open_state_for_each(scan->state, counted_fn, &args);
	if (!NT_STATUS_IS_OK(status)) {
		/* It cannot tell: nothing is given up. */
		return scan->num_files;
	}
	return args.counted;
}

bool local_scan_release(struct local_scan *scan)
{
	struct open_state_owner owner;
	NTSTATUS status;
	bool ok = true;
	size_t i = 0;

	make_owner(scan, OPEN_STATE_LOCAL, false, &owner);
	for (i = 0; i < scan->num_files; i++) {
		struct local_scan_file *file = &scan->files[i];

		status = open_state_release(scan->state,
					    &file->key,
					    owner.persistent_id);
		if (!NT_STATUS_IS_OK(status)) {
			fprintf(stderr,
				"%s: a count could not be taken back: %s\n",
				LOCAL_SCAN_NAME,
				nt_errstr(status));
			ok = false;
		}
		close(file->fd);
	}
	TALLOC_FREE(scan->files);
	scan->num_files = 0;
	scan->max_files = 0;
	return ok;
}
