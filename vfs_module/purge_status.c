/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * "udfctl purge status"; see purge_status.h.
 *
 * The database knows a file by its key. Its path is found through the
 * descriptors that the process which counts has of it.
 */
#include "purge_status.h"
#include "held_list.h"
#include "librpc/gen_ndr/ndr_misc.h"
#include "system/filesys.h"
#include "util_procid.h"
#include <dirent.h>
#include <sys/vfs.h>

/* statfs(2) f_type of FUSE, and of the kernel's UDF. */
#define FUSE_MAGIC_NUMBER 0x65735546
#define UDF_MAGIC_NUMBER 0x15013346

struct known_path {
	struct udf_file_key key;
	const char *path;
};

struct status {
	struct open_state_entry *entries;
	size_t num_entries;
	bool no_memory;
	bool all; /* also those that count nothing */
	const char *const *skip; /* as in purge_status_options */

	/* Only these files; NULL: all. */
	struct udf_file_key *wanted;
	size_t num_wanted;

	/* What the process looked at last has open. */
	pid_t pid;
	struct known_path *known;
	size_t num_known;
};

static int compare_numbers(uint64_t a, uint64_t b)
{
	if (a == b) {
		return 0;
	}
	return (a < b) ? -1 : 1;
}

static int compare_keys(const struct udf_file_key *a,
			const struct udf_file_key *b)
{
	int c = memcmp(a->volume_id, b->volume_id, sizeof(a->volume_id));

	if (c == 0) {
		c = compare_numbers(a->unique_id, b->unique_id);
	}
	if (c == 0) {
		c = compare_numbers(a->stream_id, b->stream_id);
	}
	return c;
}

static bool is_wanted(const struct status *s, const struct udf_file_key *key)
{
	size_t i = 0;

	if (s->wanted == NULL) {
		return true;
	}
	for (i = 0; i < s->num_wanted; i++) {
		if (compare_keys(&s->wanted[i], key) == 0) {
			return true;
		}
	}
	return false;
}

static bool collect(const struct open_state_entry *entry, void *private_data)
{
	struct status *s = private_data;
	struct open_state_entry *entries = NULL;

	if (entry->purge_count == 0 && !s->all) {
		return true;
	}
	if (!is_wanted(s, &entry->key)) {
		return true;
	}
	entries = talloc_realloc(s,
				 s->entries,
				 struct open_state_entry,
				 s->num_entries + 1);
	if (entries == NULL) {
		s->no_memory = true;
		return false;
	}
	entries[s->num_entries] = *entry;
	s->entries = entries;
	s->num_entries += 1;
	return true;
}

/* The entries of one process together, files in one order. */
static int compare_entries(const void *_a, const void *_b)
{
	const struct open_state_entry *a = _a;
	const struct open_state_entry *b = _b;
	int c = compare_numbers(a->owner.server_id.vnn, b->owner.server_id.vnn);

	if (c == 0) {
		c = compare_numbers(a->owner.server_id.pid,
				    b->owner.server_id.pid);
	}
	if (c == 0) {
		c = compare_keys(&a->key, &b->key);
	}
	return c;
}

static int compare_known(const void *_a, const void *_b)
{
	const struct known_path *a = _a;
	const struct known_path *b = _b;

	return compare_keys(&a->key, &b->key);
}

static bool is_skipped(const struct status *s, const char *path)
{
	size_t i = 0;

	for (i = 0; s->skip != NULL && s->skip[i] != NULL; i++) {
		size_t len = strlen(s->skip[i]);

		if (strncmp(path, s->skip[i], len) == 0 &&
		    (path[len] == '/' || path[len] == '\0'))
		{
			return true;
		}
	}
	return false;
}

/* Take down the path of a descriptor if it is of a file on a store. */
static void look_at_fd(struct status *s, const char *link)
{
	struct udf_file_key key = { .unique_id = 0 };
	struct known_path *known = NULL;
	struct statfs fs;
	struct stat st;
	char target[PATH_MAX];
	NTSTATUS status;
	ssize_t len = -1;
	int fd = -1;

	/* readlink() asks no file system, stat() and statfs() open nothing. */
	len = readlink(link, target, sizeof(target) - 1);
	if (len == -1) {
		return;
	}
	target[len] = '\0';
	if (is_skipped(s, target)) {
		return;
	}
	if (stat(link, &st) == -1 || !S_ISREG(st.st_mode)) {
		return;
	}
	if (statfs(link, &fs) == -1 ||
	    (fs.f_type != FUSE_MAGIC_NUMBER && fs.f_type != UDF_MAGIC_NUMBER))
	{
		return;
	}
	fd = open(link, O_RDONLY | O_CLOEXEC);
	if (fd == -1) {
		return;
	}
	status = local_scan_key_of_fd(fd, &key);
	close(fd);
	if (!NT_STATUS_IS_OK(status)) {
		return;
	}

	known = talloc_realloc(s,
			       s->known,
			       struct known_path,
			       s->num_known + 1);
	if (known == NULL) {
		return;
	}
	s->known = known;
	known[s->num_known] = (struct known_path) {
		.key = key,
		.path = talloc_strdup(known, target),
	};
	if (known[s->num_known].path != NULL) {
		s->num_known += 1;
	}
}

static void look_at_process(struct status *s, pid_t pid)
{
	char name[64];
	char link[64 + 256];
	struct dirent *entry = NULL;
	DIR *dir = NULL;

	s->pid = pid;
	TALLOC_FREE(s->known);
	s->num_known = 0;

	snprintf(name, sizeof(name), "/proc/%jd/fd", (intmax_t)pid);
	dir = opendir(name);
	if (dir == NULL) {
		return;
	}
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.') {
			continue;
		}
		snprintf(link, sizeof(link), "%s/%s", name, entry->d_name);
		look_at_fd(s, link);
	}
	closedir(dir);
	if (s->num_known > 1) {
		qsort(s->known,
		      s->num_known,
		      sizeof(s->known[0]),
		      compare_known);
	}
}

/* NULL: not known. */
static const char *path_of(struct status *s,
			   const struct open_state_entry *entry)
{
	const struct known_path wanted = { .key = entry->key };
	const struct known_path *known = NULL;
	pid_t pid = entry->owner.server_id.pid;

	if (!procid_is_local(&entry->owner.server_id)) {
		return NULL;
	}
	if (s->pid != pid) {
		look_at_process(s, pid);
	}
	if (s->num_known == 0) {
		return NULL;
	}
	known = bsearch(&wanted,
			s->known,
			s->num_known,
			sizeof(s->known[0]),
			compare_known);
	return (known == NULL) ? NULL : known->path;
}

static const char *kind_name(enum open_state_kind kind)
{
	switch (kind) {
	case OPEN_STATE_SMB:
		return "smb";
	case OPEN_STATE_LOCAL:
		return "run";
	case OPEN_STATE_LOCAL_BACKGROUND:
		return "enable";
	}
	return "unknown";
}

static void format_volume_id(const struct udf_file_key *key,
			     char text[2 * UDF_STORE_VOLUME_ID_LEN + 1])
{
	size_t i = 0;

	for (i = 0; i < UDF_STORE_VOLUME_ID_LEN; i++) {
		snprintf(text + 2 * i, 3, "%02x", key->volume_id[i]);
	}
}

static void format_time(const struct timespec *when, char *text, size_t len)
{
	struct tm tm = { .tm_year = 0 };
	time_t seconds = when->tv_sec;

	if (gmtime_r(&seconds, &tm) == NULL ||
	    strftime(text, len, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
	{
		text[0] = '\0';
	}
}

struct process_text {
	char text[48];
};

/* Its id, in a cluster after that of its node. */
static struct process_text format_process(const struct server_id *id)
{
	struct process_text p = { .text = "" };

	if (id->vnn == NONCLUSTER_VNN) {
		snprintf(p.text, sizeof(p.text), "%" PRIu64, id->pid);
	} else {
		snprintf(p.text,
			 sizeof(p.text),
			 "%" PRIu32 ":%" PRIu64,
			 id->vnn,
			 id->pid);
	}
	return p;
}

static void print_json_node(const struct server_id *id)
{
	if (id->vnn == NONCLUSTER_VNN) {
		printf("null");
	} else {
		printf("%" PRIu32, id->vnn);
	}
}

/* A path can have any bytes: what is not UTF-8 is shown as U+FFFD. */
static void print_json_string(const char *text)
{
	const char *p = text;

	putchar('"');
	while (*p != '\0') {
		unsigned char c = (unsigned char)*p;
		size_t len = 0;
		codepoint_t point = next_codepoint_ext(p,
						       strlen(p),
						       CH_UTF8,
						       &len);

		if (point == INVALID_CODEPOINT || len == 0) {
			printf("\\ufffd");
			p += 1;
			continue;
		}
		if (c == '"' || c == '\\') {
			printf("\\%c", c);
		} else if (c < 0x20 || c == 0x7f) {
			printf("\\u%04x", c);
		} else {
			printf("%.*s", (int)len, p);
		}
		p += len;
	}
	putchar('"');
}

static void print_entry_json(struct status *s,
			     const struct open_state_entry *entry)
{
	const struct server_id *id = &entry->owner.server_id;
	char volume[2 * UDF_STORE_VOLUME_ID_LEN + 1] = "";
	char since[32] = "";
	struct GUID_txt_buf guid;
	const char *path = path_of(s, entry);

	format_volume_id(&entry->key, volume);
	format_time(&entry->counted_since, since, sizeof(since));

	printf("{\"file\": ");
	if (path == NULL) {
		printf("null");
	} else {
		print_json_string(path);
	}
	printf(", \"volume_id\": \"%s\", \"unique_id\": %" PRIu64
	       ", \"stream_id\": %" PRIu64,
	       volume,
	       entry->key.unique_id,
	       entry->key.stream_id);
	printf(", \"count\": %" PRIu32 ", \"by\": \"%s\", \"pid\": %" PRIu64,
	       entry->purge_count,
	       kind_name(entry->owner.kind),
	       id->pid);
	printf(", \"node\": ");
	print_json_node(id);
	if (entry->owner.kind == OPEN_STATE_SMB) {
		printf(", \"client_guid\": \"%s\"",
		       GUID_buf_string(&entry->owner.client_guid, &guid));
	} else {
		printf(", \"client_guid\": null");
	}
	printf(", \"whole_view\": %s, \"since\": ",
	       entry->owner.whole_view ? "true" : "false");
	if (entry->purge_count == 0) {
		printf("null");
	} else {
		printf("\"%s\"", since);
	}
	printf(", \"defect_management\": %s, \"disconnected\": %s}",
	       entry->defect_disabled ? "false" : "true",
	       entry->disconnected ? "true" : "false");
}

static void print_entry(struct status *s, const struct open_state_entry *entry)
{
	const struct server_id *id = &entry->owner.server_id;
	char volume[2 * UDF_STORE_VOLUME_ID_LEN + 1] = "";
	char since[32] = "";
	const char *path = path_of(s, entry);

	format_volume_id(&entry->key, volume);
	if (entry->purge_count == 0) {
		snprintf(since, sizeof(since), "-");
	} else {
		format_time(&entry->counted_since, since, sizeof(since));
	}

	printf("%10" PRIu32 "  %-6s  %-10s  %-20s  ",
	       entry->purge_count,
	       kind_name(entry->owner.kind),
	       format_process(id).text,
	       since);
	if (s->all) {
		printf("%-6s  %-12s  ",
		       entry->defect_disabled ? "off" : "on",
		       entry->disconnected ? "disconnected" : "open");
	}
	if (path != NULL) {
		local_scan_print_path(stdout, path);
	} else {
		printf("(file %" PRIu64 " of volume %s)",
		       entry->key.unique_id,
		       volume);
	}
	putchar('\n');
}

/* Empty: null. */
static void print_json_known(const char *text)
{
	if (text[0] == '\0') {
		printf("null");
	} else {
		print_json_string(text);
	}
}

struct print_held_args {
	bool json;
	size_t n;
};

static bool print_held(const struct held_list_entry *entry, void *private_data)
{
	struct print_held_args *args = private_data;
	struct timespec now = timespec_current();
	const struct server_id *id = &entry->server_id;
	double age = timespec_elapsed2(&entry->since, &now);
	char since[32] = "";
	struct GUID_txt_buf guid;

	format_time(&entry->since, since, sizeof(since));
	if (args->json) {
		printf("%s{\"file\": ", (args->n == 0) ? "\n  " : ",\n  ");
		print_json_string(entry->path);
		printf(", \"client\": ");
		print_json_known(entry->address);
		printf(", \"user\": ");
		print_json_known(entry->user);
		printf(", \"offset\": %" PRIu64 ", \"length\": %" PRIu64
		       ", \"pid\": %" PRIu64 ", \"node\": ",
		       entry->offset,
		       entry->length,
		       id->pid);
		print_json_node(id);
		printf(", \"client_guid\": \"%s\", \"since\": \"%s\", "
		       "\"seconds\": %.3f}",
		       GUID_buf_string(&entry->client_guid, &guid),
		       since,
		       age);
	} else {
		if (args->n == 0) {
			printf("\n%10s  %-10s  %-15s  %-12s  %14s  %10s  %s\n",
			       "HELD FOR", "PROCESS", "CLIENT", "USER",
			       "OFFSET", "LENGTH", "FILE");
		}
		printf("%8.1f s  %-10s  %-15s  %-12s  %14" PRIu64
		       "  %10" PRIu64 "  ",
		       age,
		       format_process(id).text,
		       (entry->address[0] != '\0') ? entry->address : "-",
		       (entry->user[0] != '\0') ? entry->user : "-",
		       entry->offset,
		       entry->length);
		local_scan_print_path(stdout, entry->path);
		putchar('\n');
	}
	args->n += 1;
	return true;
}

/* What writers wait for: the other side of the counts. */
static bool print_all_held(bool json)
{
	struct print_held_args args = { .json = json };
	struct held_list *list = NULL;
	NTSTATUS status;

	status = held_list_init(&list);
	if (NT_STATUS_IS_OK(status)) {
		status = held_list_for_each(list, print_held, &args);
	}
	if (!NT_STATUS_IS_OK(status)) {
		fprintf(stderr,
			"%s: cannot read the list of what is held: %s\n",
			LOCAL_SCAN_NAME,
			nt_errstr(status));
		return false;
	}
	if (args.n == 0 && !json) {
		printf("\nnothing is held\n");
	}
	return true;
}

static bool print_all(struct status *s, bool json)
{
	size_t i = 0;
	bool ok = true;

	if (json) {
		printf("{\"%s\": [", s->all ? "opens" : "counted");
	} else if (s->num_entries == 0) {
		printf("no file is counted%s\n",
		       s->all ? ", and nothing else is kept" : "");
	} else {
		printf("%10s  %-6s  %-10s  %-20s  ",
		       "COUNT", "BY", "PROCESS", "SINCE");
		if (s->all) {
			printf("%-6s  %-12s  ", "DEFECT", "HANDLE");
		}
		printf("FILE\n");
	}
	for (i = 0; i < s->num_entries; i++) {
		if (json) {
			printf(i == 0 ? "\n  " : ",\n  ");
			print_entry_json(s, &s->entries[i]);
		} else {
			print_entry(s, &s->entries[i]);
		}
	}
	if (json) {
		printf("]");
	}
	if (s->all) {
		printf("%s", json ? ", \"held\": [" : "");
		ok = print_all_held(json);
		printf("%s", json ? "]" : "");
	}
	if (json) {
		printf("}\n");
	}
	return ok;
}

static bool want(const struct local_scan_name *name, void *private_data)
{
	struct status *s = private_data;
	struct udf_file_key *wanted = NULL;
	NTSTATUS status;

	wanted = talloc_realloc(s,
				s->wanted,
				struct udf_file_key,
				s->num_wanted + 1);
	if (wanted == NULL) {
		s->no_memory = true;
		return false;
	}
	s->wanted = wanted;
	status = local_scan_key(name, &wanted[s->num_wanted], NULL);
	if (!NT_STATUS_IS_OK(status)) {
		return false;
	}
	s->num_wanted += 1;
	return true;
}

bool purge_status_print(struct local_scan *scan,
			const struct purge_status_options *options)
{
	struct status *s = talloc_zero(scan, struct status);
	NTSTATUS status;
	bool ok = false;

	if (s == NULL) {
		fprintf(stderr, "%s: no memory\n", LOCAL_SCAN_NAME);
		return false;
	}
	s->all = options->all;
	s->skip = options->skip;
	if (options->paths != NULL &&
	    !local_scan_for_files(options->paths, false, want, s))
	{
		goto done;
	}

	status = open_state_for_each(local_scan_state(scan), collect, s);
	if (!NT_STATUS_IS_OK(status)) {
		fprintf(stderr,
			"%s: cannot read the database: %s\n",
			LOCAL_SCAN_NAME,
			nt_errstr(status));
		goto done;
	}
	if (s->no_memory) {
		fprintf(stderr, "%s: no memory\n", LOCAL_SCAN_NAME);
		goto done;
	}
	if (s->num_entries > 1) {
		qsort(s->entries,
		      s->num_entries,
		      sizeof(s->entries[0]),
		      compare_entries);
	}
	ok = print_all(s, options->json);

done:
	if (fflush(stdout) != 0) {
		fprintf(stderr,
			"%s: cannot write the output: %s\n",
			LOCAL_SCAN_NAME,
			strerror(errno));
		ok = false;
	}
	TALLOC_FREE(s);
	return ok;
}
