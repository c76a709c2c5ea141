/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A disk with defects, for tests and the demo.
 *
 * Serves two files on a FUSE mount: "disk" is the backing file or device,
 * sector by sector, and "control" says which sectors are bad and how. What
 * reaches "disk" reaches the backing file with the same call, so the backing
 * file shows at any time what the medium holds.
 */
#define FUSE_USE_VERSION 312

#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <fuse_lowlevel.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR_BYTES 512u
#define SERVER_THREADS 8u

enum fault_kind {
	FAIL_WRITE,
	FAIL_READ,
	DROP_WRITE,
	CORRUPT_WRITE,
	HOLD_READ,
	FAULT_KINDS,
};

static const char *const kind_names[FAULT_KINDS] = {
	[FAIL_WRITE] = "fail-write",
	[FAIL_READ] = "fail-read",
	[DROP_WRITE] = "drop-write",
	[CORRUPT_WRITE] = "corrupt-write",
	[HOLD_READ] = "hold-read",
};

/*
 * One bad sector. At most one fault of a sector concerns writes (the last one
 * given), and another one its reads.
 */
struct fault {
	uint64_t sector;
	enum fault_kind kind;
	bool heals; /* the next write of the sector ends the fault */
	bool once;  /* its first hit ends it */
	uint64_t hits;
};

/* Sorted by sector; of one sector, the fault of its writes first. */
struct fault_table {
	struct fault *faults;
	size_t count;
	size_t room;
	uint64_t totals[FAULT_KINDS]; /* hits, also of faults now gone */
};

static struct {
	int fd;
	uint64_t bytes;
	bool read_only;
	pthread_mutex_t lock; /* of the table */
	pthread_cond_t changed;
	struct fault_table table;
	unsigned int held; /* readers that wait for a change of it */
} disk = {
	.fd = -1,
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.changed = PTHREAD_COND_INITIALIZER,
};

static bool concerns_reads(enum fault_kind kind)
{
	return kind == FAIL_READ || kind == HOLD_READ;
}

/* Where the sort order puts a fault: twice the sector, plus one for reads. */
static uint64_t fault_key(uint64_t sector, bool reads)
{
	return sector * 2 + (reads ? 1 : 0);
}

/* The index of the first fault at or behind a key. */
static size_t table_find(const struct fault_table *table, uint64_t key)
{
	size_t low = 0;
	size_t high = table->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct fault *fault = &table->faults[middle];
		bool reads = concerns_reads(fault->kind);

		if (fault_key(fault->sector, reads) < key) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low;
}

static void table_remove(struct fault_table *table, size_t i)
{
	table->count -= 1;
	memmove(&table->faults[i],
		&table->faults[i + 1],
		(table->count - i) * sizeof(table->faults[0]));
}

/* Add a fault, in place of an earlier one of the same sector and direction. */
static int table_set(struct fault_table *table, const struct fault *fault)
{
	bool reads = concerns_reads(fault->kind);
	size_t i = table_find(table, fault_key(fault->sector, reads));
	struct fault *old = NULL;

	if (i < table->count) {
		old = &table->faults[i];
		if (old->sector == fault->sector &&
		    concerns_reads(old->kind) == reads) {
			*old = *fault;
			return 0;
		}
	}
	if (table->count == table->room) {
		size_t room = table->room * 2 + 64;
		struct fault *grown = reallocarray(table->faults,
						   room,
						   sizeof(*grown));

		if (grown == NULL) {
			return -ENOMEM;
		}
		table->faults = grown;
		table->room = room;
	}
	memmove(&table->faults[i + 1],
		&table->faults[i],
		(table->count - i) * sizeof(table->faults[0]));
	table->faults[i] = *fault;
	table->count += 1;
	return 0;
}

static void table_hit(struct fault_table *table, size_t i)
{
	struct fault *fault = &table->faults[i];

	fault->hits += 1;
	table->totals[fault->kind] += 1;
}

/*
 * A whole number, at most max. Returns false if the word is something else.
 */
static bool parse_number(const char *word, uint64_t max, uint64_t *value)
{
	unsigned long long n = 0;
	char *end = NULL;

	if (word == NULL || word[0] < '0' || word[0] > '9') {
		return false;
	}
	errno = 0;
	n = strtoull(word, &end, 0);
	if (errno != 0 || *end != '\0' || n > max) {
		return false;
	}
	*value = n;
	return true;
}

/* Obey one line of the control file. -EINVAL: not a command. */
static int control_line(struct fault_table *table, char *line)
{
	const char *blanks = " \t\r";
	char *save = NULL;
	char *word = strtok_r(line, blanks, &save);
	uint64_t sectors = disk.bytes / SECTOR_BYTES;
	uint64_t count = 1;
	struct fault fault = { .kind = FAIL_WRITE };
	uint64_t i = 0;

	if (word == NULL || word[0] == '#') {
		return 0;
	}
	if (strcmp(word, "clear") == 0) {
		table->count = 0;
		memset(table->totals, 0, sizeof(table->totals));
		return strtok_r(NULL, blanks, &save) == NULL ? 0 : -EINVAL;
	}
	while (strcmp(word, kind_names[fault.kind]) != 0) {
		fault.kind += 1;
		if (fault.kind == FAULT_KINDS) {
			return -EINVAL;
		}
	}

	word = strtok_r(NULL, blanks, &save);
	if (sectors == 0 || !parse_number(word, sectors - 1, &fault.sector)) {
		return -EINVAL;
	}
	word = strtok_r(NULL, blanks, &save);
	if (parse_number(word, sectors - fault.sector, &count)) {
		word = strtok_r(NULL, blanks, &save);
	}
	if (word != NULL) {
		fault.heals = strcmp(word, "heal") == 0;
		fault.once = strcmp(word, "once") == 0;
		word = strtok_r(NULL, blanks, &save);
		if ((!fault.heals && !fault.once) || word != NULL) {
			return -EINVAL;
		}
	}

	for (i = 0; i < count; i++) {
		int ret = table_set(table, &fault);

		if (ret != 0) {
			return ret;
		}
		fault.sector += 1;
	}
	return 0;
}

/* A deep copy, for a change that is made as a whole or not at all. */
static int table_copy(const struct fault_table *from, struct fault_table *to)
{
	size_t room = from->count + 64;

	*to = *from;
	to->room = room;
	to->faults = calloc(room, sizeof(to->faults[0]));
	if (to->faults == NULL) {
		return -ENOMEM;
	}
	if (from->count > 0) {
		memcpy(to->faults,
		       from->faults,
		       from->count * sizeof(from->faults[0]));
	}
	return 0;
}

/*
 * Obey the lines of one write. A line that is not understood makes the whole
 * write fail with EINVAL, and no line of it counts.
 */
static int control_write(const char *buf, size_t size)
{
	struct fault_table changed = { .count = 0 };
	char *text = strndup(buf, size);
	char *save = NULL;
	char *line = NULL;
	int ret = 0;

	if (text == NULL) {
		return -ENOMEM;
	}

	pthread_mutex_lock(&disk.lock);
	ret = table_copy(&disk.table, &changed);
	line = strtok_r(text, "\n", &save);
	while (ret == 0 && line != NULL) {
		ret = control_line(&changed, line);
		line = strtok_r(NULL, "\n", &save);
	}
	if (ret == 0) {
		free(disk.table.faults);
		disk.table = changed;
		pthread_cond_broadcast(&disk.changed);
	} else {
		free(changed.faults);
	}
	pthread_mutex_unlock(&disk.lock);

	free(text);
	return ret == 0 ? (int)size : ret;
}

/* What the control file says now; the caller frees it. NULL: no memory. */
static char *control_text(void)
{
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);
	size_t i = 0;

	if (out == NULL) {
		return NULL;
	}
	pthread_mutex_lock(&disk.lock);
	for (i = 0; i < disk.table.count; i++) {
		const struct fault *fault = &disk.table.faults[i];

		fprintf(out,
			"%s %" PRIu64 "%s%s hits %" PRIu64 "\n",
			kind_names[fault->kind],
			fault->sector,
			fault->heals ? " heal" : "",
			fault->once ? " once" : "",
			fault->hits);
	}
	for (i = 0; i < FAULT_KINDS; i++) {
		fprintf(out,
			"total %s hits %" PRIu64 "\n",
			kind_names[i],
			disk.table.totals[i]);
	}
	fprintf(out, "held %u\n", disk.held);
	pthread_mutex_unlock(&disk.lock);
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* Write all of it to the backing file. */
static int backing_write(const char *buf, uint64_t from, uint64_t to,
			 uint64_t buf_offset)
{
	while (from < to) {
		ssize_t n = pwrite(disk.fd,
				   buf + (from - buf_offset),
				   to - from,
				   (off_t)from);

		if (n == -1 && errno == EINTR) {
			continue;
		}
		if (n == -1) {
			return -errno;
		}
		from += (uint64_t)n;
	}
	return 0;
}

/*
 * Write around the bad sectors. The sectors before one that fails are done,
 * those behind it are not, as on a real disk.
 */
static int disk_write(const char *buf, size_t size, uint64_t offset)
{
	uint64_t end = 0;
	uint64_t done = offset;
	size_t i = 0;
	int ret = 0;

	if (disk.read_only) {
		return -EROFS;
	}
	if (offset >= disk.bytes) {
		return -ENOSPC;
	}
	if (size > disk.bytes - offset) {
		size = disk.bytes - offset;
	}
	end = offset + size;

	pthread_mutex_lock(&disk.lock);
	i = table_find(&disk.table, fault_key(offset / SECTOR_BYTES, false));
	while (i < disk.table.count && ret == 0) {
		const struct fault fault = disk.table.faults[i];
		uint64_t bad = fault.sector * SECTOR_BYTES;
		uint64_t bad_end = bad + SECTOR_BYTES;
		char byte = 0;

		if (bad >= end) {
			break;
		}
		if (concerns_reads(fault.kind)) {
			if (fault.heals) {
				table_remove(&disk.table, i);
			} else {
				i += 1;
			}
			continue;
		}

		table_hit(&disk.table, i);
		if (bad < offset) {
			bad = offset;
		}
		if (bad_end > end) {
			bad_end = end;
		}
		ret = backing_write(buf, done, bad, offset);
		done = bad_end;
		if (ret == 0 && fault.kind == FAIL_WRITE) {
			ret = -EIO;
		}
		if (ret == 0 && fault.kind == CORRUPT_WRITE) {
			byte = buf[bad - offset] ^ 0x20;
			ret = backing_write(buf, bad, bad_end, offset);
			if (ret == 0) {
				ret = backing_write(&byte, bad, bad + 1, bad);
			}
		}
		if (fault.heals || fault.once) {
			table_remove(&disk.table, i);
		} else {
			i += 1;
		}
	}
	pthread_mutex_unlock(&disk.lock);

	if (ret == 0) {
		ret = backing_write(buf, done, end, offset);
	}
	return ret == 0 ? (int)size : ret;
}

/* Wait while a sector of the range is held; lock is held. */
static void await_release(uint64_t offset, size_t size)
{
	size_t i = table_find(&disk.table,
			      fault_key(offset / SECTOR_BYTES, false));

	while (i < disk.table.count &&
	       disk.table.faults[i].sector * SECTOR_BYTES < offset + size) {
		if (disk.table.faults[i].kind != HOLD_READ) {
			i += 1;
			continue;
		}
		table_hit(&disk.table, i);
		disk.held += 1;
		pthread_cond_wait(&disk.changed, &disk.lock);
		disk.held -= 1;
		i = table_find(&disk.table,
			       fault_key(offset / SECTOR_BYTES, false));
	}
}

static int disk_read(char *buf, size_t size, uint64_t offset)
{
	bool bad = false;
	size_t done = 0;
	size_t i = 0;

	if (offset >= disk.bytes) {
		return 0;
	}
	if (size > disk.bytes - offset) {
		size = disk.bytes - offset;
	}

	pthread_mutex_lock(&disk.lock);
	await_release(offset, size);
	i = table_find(&disk.table, fault_key(offset / SECTOR_BYTES, false));
	for (; i < disk.table.count && !bad; i++) {
		const struct fault *fault = &disk.table.faults[i];

		if (fault->sector * SECTOR_BYTES >= offset + size) {
			break;
		}
		if (fault->kind == FAIL_READ) {
			table_hit(&disk.table, i);
			bad = true;
			if (fault->once) {
				table_remove(&disk.table, i);
			}
		}
	}
	pthread_mutex_unlock(&disk.lock);
	if (bad) {
		return -EIO;
	}

	while (done < size) {
		ssize_t n = pread(disk.fd,
				  buf + done,
				  size - done,
				  (off_t)(offset + done));

		if (n == -1 && errno == EINTR) {
			continue;
		}
		if (n == -1) {
			return -errno;
		}
		if (n == 0) {
			break;
		}
		done += (size_t)n;
	}
	return (int)done;
}

static bool is_disk(const char *path)
{
	return strcmp(path, "/disk") == 0;
}

static bool is_control(const char *path)
{
	return strcmp(path, "/control") == 0;
}

static int op_getattr(const char *path, struct stat *st,
		      struct fuse_file_info *fi)
{
	(void)fi;
	st->st_uid = getuid();
	st->st_gid = getgid();
	st->st_nlink = 1;
	if (strcmp(path, "/") == 0) {
		st->st_mode = S_IFDIR | 0755;
		st->st_nlink = 2;
	} else if (is_disk(path)) {
		st->st_mode = S_IFREG | (disk.read_only ? 0400 : 0600);
		st->st_size = (off_t)disk.bytes;
		st->st_blocks = (blkcnt_t)(disk.bytes / 512);
		st->st_blksize = 4096;
	} else if (is_control(path)) {
		st->st_mode = S_IFREG | 0600;
	} else {
		return -ENOENT;
	}
	return 0;
}

static int op_readdir(const char *path, void *buf, fuse_fill_dir_t fill,
		      off_t offset, struct fuse_file_info *fi,
		      enum fuse_readdir_flags flags)
{
	(void)path;
	(void)offset;
	(void)fi;
	(void)flags;
	fill(buf, ".", NULL, 0, 0);
	fill(buf, "..", NULL, 0, 0);
	fill(buf, "disk", NULL, 0, 0);
	fill(buf, "control", NULL, 0, 0);
	return 0;
}

static int op_open(const char *path, struct fuse_file_info *fi)
{
	char *text = NULL;

	if (is_disk(path)) {
		if (disk.read_only && (fi->flags & O_ACCMODE) != O_RDONLY) {
			return -EROFS;
		}
	} else {
		/* A reader sees one state, however many reads it takes. */
		text = control_text();
		if (text == NULL) {
			return -ENOMEM;
		}
		fi->fh = (uint64_t)(uintptr_t)text;
	}
	fi->direct_io = 1;
	return 0;
}

static int op_release(const char *path, struct fuse_file_info *fi)
{
	(void)path;
	free((char *)(uintptr_t)fi->fh);
	return 0;
}

static int op_read(const char *path, char *buf, size_t size, off_t offset,
		   struct fuse_file_info *fi)
{
	const char *text = (const char *)(uintptr_t)fi->fh;
	size_t length = 0;

	if (is_disk(path)) {
		return disk_read(buf, size, (uint64_t)offset);
	}
	length = strlen(text);
	if ((uint64_t)offset >= length) {
		return 0;
	}
	if (size > length - (size_t)offset) {
		size = length - (size_t)offset;
	}
	memcpy(buf, text + offset, size);
	return (int)size;
}

static int op_write(const char *path, const char *buf, size_t size,
		    off_t offset, struct fuse_file_info *fi)
{
	(void)fi;
	if (is_disk(path)) {
		return disk_write(buf, size, (uint64_t)offset);
	}
	return control_write(buf, size);
}

/* A disk keeps its size; the control file may be opened with O_TRUNC. */
static int op_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
	(void)fi;
	if (is_disk(path) && (uint64_t)size != disk.bytes) {
		return -EPERM;
	}
	return 0;
}

static int op_fsync(const char *path, int datasync, struct fuse_file_info *fi)
{
	(void)datasync;
	(void)fi;
	if (is_disk(path) && fdatasync(disk.fd) == -1) {
		return -errno;
	}
	return 0;
}

static void *op_init(struct fuse_conn_info *conn, struct fuse_config *config)
{
	(void)conn;
	config->direct_io = 1;
	return NULL;
}

static const struct fuse_operations operations = {
	.init = op_init,
	.getattr = op_getattr,
	.readdir = op_readdir,
	.open = op_open,
	.release = op_release,
	.read = op_read,
	.write = op_write,
	.truncate = op_truncate,
	.fsync = op_fsync,
};

struct arguments {
	char *backing;
	char *mountpoint;
	bool help;
};

enum argument_key {
	ARGUMENT_HELP,
	ARGUMENT_FOREGROUND,
};

static const struct fuse_opt argument_table[] = {
	FUSE_OPT_KEY("-h", ARGUMENT_HELP),
	FUSE_OPT_KEY("--help", ARGUMENT_HELP),
	FUSE_OPT_KEY("--foreground", ARGUMENT_FOREGROUND),
	FUSE_OPT_END,
};

static int take_argument(void *data, const char *arg, int key,
			 struct fuse_args *out)
{
	struct arguments *arguments = data;

	if (key == ARGUMENT_HELP) {
		arguments->help = true;
		return 0;
	}
	if (key == ARGUMENT_FOREGROUND) {
		return fuse_opt_add_arg(out, "-f") == 0 ? 0 : -1;
	}
	if (key == FUSE_OPT_KEY_NONOPT && arguments->backing == NULL) {
		arguments->backing = strdup(arg);
		return arguments->backing != NULL ? 0 : -1;
	}
	if (key == FUSE_OPT_KEY_NONOPT && arguments->mountpoint == NULL) {
		arguments->mountpoint = strdup(arg);
		return arguments->mountpoint != NULL ? 1 : -1;
	}
	if (key == FUSE_OPT_KEY_NONOPT) {
		fprintf(stderr, "faultdisk: too many arguments: %s\n", arg);
		return -1;
	}
	return 1;
}

static void print_help(void)
{
	printf("Usage: faultdisk [--foreground] [-o OPTIONS] BACKING MOUNTPOINT\n"
	       "Serve the file or device BACKING as MOUNTPOINT/disk, with the\n"
	       "defects that are written to MOUNTPOINT/control.\n"
	       "\n"
	       "  -f, --foreground   do not become a daemon\n"
	       "  -o OPTIONS         mount options of FUSE\n"
	       "  -h, --help         this text\n"
	       "\n"
	       "Lines of the control file (a sector has 512 bytes; COUNT is 1\n"
	       "if left out):\n"
	       "  fail-write SECTOR [COUNT] [heal|once]     EIO, not written\n"
	       "  fail-read SECTOR [COUNT] [heal|once]      EIO\n"
	       "  drop-write SECTOR [COUNT] [heal|once]     success, not written\n"
	       "  corrupt-write SECTOR [COUNT] [heal|once]  success, a byte wrong\n"
	       "  hold-read SECTOR [COUNT]                  a read waits for the\n"
	       "                                            next clear, say\n"
	       "  clear                                     no defects, no counts\n"
	       "With heal the next write of the sector is the last to suffer,\n"
	       "and repairs its reads. With once the first hit ends the defect.\n"
	       "Reading the control file lists the defects, how often each was\n"
	       "hit, and how many reads are held.\n"
	       "\n"
	       "Ends at fusermount3 -u MOUNTPOINT, SIGTERM, SIGINT or SIGHUP.\n"
	       "Exit status: 0, or 1 with a line on stderr.\n");
}

/* Open the backing file, read-only if need be, and learn its size. */
static bool open_backing(const char *path)
{
	off_t end = 0;

	disk.fd = open(path, O_RDWR | O_CLOEXEC);
	if (disk.fd == -1 && (errno == EROFS || errno == EACCES)) {
		disk.read_only = true;
		disk.fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (disk.fd == -1) {
		fprintf(stderr,
			"faultdisk: cannot open %s: %s\n",
			path,
			strerror(errno));
		return false;
	}
	end = lseek(disk.fd, 0, SEEK_END);
	if (end < (off_t)SECTOR_BYTES) {
		fprintf(stderr,
			"faultdisk: %s is no file or device of at least one "
			"sector\n",
			path);
		return false;
	}
	disk.bytes = (uint64_t)end;
	return true;
}

/*
 * Mount, serve until the end and unmount. What fuse_main() does, but an end
 * by signal is a good end.
 */
static bool serve(struct fuse_args *args)
{
	struct fuse_cmdline_opts options = { .mountpoint = NULL };
	struct fuse_loop_config *loop = NULL;
	struct fuse *fuse = NULL;
	bool mounted = false;
	bool good = false;
	int ret = fuse_parse_cmdline(args, &options);

	if (ret != 0) {
		return false;
	}
	fuse = fuse_new(args, &operations, sizeof(operations), NULL);
	if (fuse == NULL) {
		goto done;
	}
	ret = fuse_mount(fuse, options.mountpoint);
	if (ret != 0) {
		goto done;
	}
	mounted = true;
	ret = fuse_daemonize(options.foreground);
	if (ret != 0) {
		goto done;
	}
	ret = fuse_set_signal_handlers(fuse_get_session(fuse));
	if (ret != 0) {
		goto done;
	}
	loop = fuse_loop_cfg_create();
	if (loop != NULL) {
		fuse_loop_cfg_set_max_threads(loop, SERVER_THREADS);
		ret = fuse_loop_mt(fuse, loop);
		good = ret >= 0;
		fuse_loop_cfg_destroy(loop);
	}
	fuse_remove_signal_handlers(fuse_get_session(fuse));

done:
	if (mounted) {
		fuse_unmount(fuse);
	}
	if (fuse != NULL) {
		fuse_destroy(fuse);
	}
	free(options.mountpoint);
	return good;
}

int main(int argc, char **argv)
{
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	struct arguments arguments = { .backing = NULL };
	int ret = 1;

	if (fuse_opt_parse(&args,
			   &arguments,
			   argument_table,
			   take_argument) == -1) {
		goto done;
	}
	if (arguments.help) {
		print_help();
		ret = 0;
		goto done;
	}
	if (arguments.mountpoint == NULL) {
		fprintf(stderr,
			"faultdisk: BACKING and MOUNTPOINT are needed, see "
			"--help\n");
		goto done;
	}
	if (!open_backing(arguments.backing)) {
		goto done;
	}
	ret = serve(&args) ? 0 : 1;

done:
	if (disk.fd != -1) {
		close(disk.fd);
	}
	free(disk.table.faults);
	free(arguments.backing);
	free(arguments.mountpoint);
	fuse_opt_free_args(&args);
	return ret;
}
