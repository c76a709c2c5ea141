/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * udfd: mounts a UDF image or device through FUSE (libfuse3, low level).
 *
 * This file is the program: the command line, the daemon, its signals. The
 * kernel's requests are answered in fuse_ops.c.
 *
 * The kernel's page cache is used, so that files can be mapped; its writeback
 * cache is not: a write is in udfd before write(2) returns, so an error of
 * the medium reaches the writer that caused it.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "fs.h"
#include "fuse_ops.h"

/* Writers that wait for the medium must not keep all threads busy. */
#define THREADS_MAX 64u

struct settings {
	bool foreground;
	bool debug;
	bool read_only;
	bool no_defect_management;
	size_t metadata_limit; /* bytes; 0: the default */
	char *fuse_options; /* for -o, comma separated; ours to free */
	char *image;
	char *mountpoint;
};

struct daemon {
	struct fuse_session *session;
	pthread_t main_thread;
	pthread_t signal_thread;
	char *mountpoint;
};

static const char usage_text[] =
	"Usage: udfd [OPTION]... IMAGE MOUNTPOINT\n"
	"Mount a UDF image file or block device.\n"
	"\n"
	"  -f, --foreground         stay in the foreground\n"
	"  -d, --debug              print FUSE requests; implies -f\n"
	"  -o OPTION[,OPTION]...    mount options: ro, no-defect-management,\n"
	"                           metadata-memory=MIB, and FUSE's own\n"
	"      --read-only          write nothing at all; same as -o ro\n"
	"      --no-defect-management\n"
	"                           neither verify writes nor relocate\n"
	"      --metadata-memory=MIB\n"
	"                           for directories and files in use; a quarter\n"
	"                           of the machine's memory if not given\n"
	"  -h, --help               this text\n"
	"      --version            which version this is\n"
	"\n"
	"Exit status: 0, mounted (in the foreground: ended well); 1, the\n"
	"image cannot be mounted or not all could be written; 2, wrong usage.\n"
	"Unmount with fusermount3 -u or umount; SIGTERM does the same.\n";

static bool log_to_syslog = false;

static void log_line(void *private_data, enum udf_log_level level,
		     const char *line)
{
	static const int priorities[] = {
		[UDF_LOG_ERROR] = LOG_ERR,
		[UDF_LOG_WARNING] = LOG_WARNING,
		[UDF_LOG_NOTICE] = LOG_NOTICE,
		[UDF_LOG_DEBUG] = LOG_DEBUG,
	};
	const char *image = private_data;

	if (log_to_syslog) {
		syslog(priorities[level], "%s: %s", image, line);
	} else if (level != UDF_LOG_DEBUG) {
		fprintf(stderr, "udfd: %s: %s\n", image, line);
	}
}

/* Append to the mount options. */
static void option_add(struct settings *settings, const char *option)
{
	char *joined = NULL;
	int ret = 0;

	ret = asprintf(&joined, "%s%s%s",
		       settings->fuse_options ? settings->fuse_options : "",
		       settings->fuse_options ? "," : "", option);
	if (ret < 0) {
		fprintf(stderr, "udfd: out of memory\n");
		exit(1);
	}
	free(settings->fuse_options);
	settings->fuse_options = joined;
}

static int metadata_memory_parse(struct settings *settings, const char *text)
{
	char *end = NULL;
	unsigned long long mib = 0;

	errno = 0;
	mib = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 ||
	    mib == 0 || mib > SIZE_MAX >> 20) {
		fprintf(stderr,
			"udfd: metadata-memory is a number of MiB, not '%s'\n",
			text);
		return -EINVAL;
	}
	settings->metadata_limit = (size_t)mib << 20;
	return 0;
}

/* Mount options: those that are ours, the rest for FUSE. */
static int options_parse(struct settings *settings, char *options)
{
	static const char memory[] = "metadata-memory=";
	char *rest = NULL;
	char *option = strtok_r(options, ",", &rest);
	int ret = 0;

	while (option != NULL) {
		if (strcmp(option, "ro") == 0) {
			settings->read_only = true;
		} else if (strcmp(option, "no-defect-management") == 0) {
			/* In /etc/fstab there are no other options. */
			settings->no_defect_management = true;
		} else if (strncmp(option, memory, strlen(memory)) == 0) {
			ret = metadata_memory_parse(settings,
						    &option[strlen(memory)]);
		} else if (strcmp(option, "rw") != 0) {
			option_add(settings, option);
		}
		if (ret < 0) {
			return ret;
		}
		option = strtok_r(NULL, ",", &rest);
	}
	return 0;
}

static int settings_parse(struct settings *settings, int argc, char **argv)
{
	enum {
		OPTION_READ_ONLY = 256,
		OPTION_NO_DEFECT_MANAGEMENT,
		OPTION_METADATA_MEMORY,
		OPTION_VERSION,
	};
	static const struct option options[] = {
		{ "foreground", no_argument, NULL, 'f' },
		{ "debug", no_argument, NULL, 'd' },
		{ "help", no_argument, NULL, 'h' },
		{ "read-only", no_argument, NULL, OPTION_READ_ONLY },
		{ "no-defect-management", no_argument, NULL,
		  OPTION_NO_DEFECT_MANAGEMENT },
		{ "metadata-memory", required_argument, NULL,
		  OPTION_METADATA_MEMORY },
		{ "version", no_argument, NULL, OPTION_VERSION },
		{ NULL, 0, NULL, 0 },
	};
	int c = 0;

	while ((c = getopt_long(argc, argv, "fdho:", options, NULL)) != -1) {
		switch (c) {
		case 'f':
			settings->foreground = true;
			break;
		case 'd':
			settings->debug = true;
			settings->foreground = true;
			break;
		case 'h':
			fputs(usage_text, stdout);
			exit(0);
		case OPTION_VERSION:
			puts("udfd (vfs_udf) " UDF_VERSION);
			exit(0);
		case 'o':
			if (options_parse(settings, optarg) < 0) {
				return -EINVAL;
			}
			break;
		case OPTION_METADATA_MEMORY:
			if (metadata_memory_parse(settings, optarg) < 0) {
				return -EINVAL;
			}
			break;
		case OPTION_READ_ONLY:
			settings->read_only = true;
			break;
		case OPTION_NO_DEFECT_MANAGEMENT:
			settings->no_defect_management = true;
			break;
		default:
			fputs("Try 'udfd --help'.\n", stderr);
			return -EINVAL;
		}
	}
	if (argc - optind != 2) {
		fputs("udfd: give an image and a mount point; try "
		      "'udfd --help'.\n",
		      stderr);
		return -EINVAL;
	}
	settings->image = argv[optind];
	settings->mountpoint = argv[optind + 1];
	return 0;
}

/* What FUSE itself shall know. */
static void settings_complete(struct settings *settings, bool read_only)
{
	char *name = NULL;
	char *in = NULL;
	char *out = NULL;

	option_add(settings, "default_permissions");
	option_add(settings, "subtype=udfd");
	if (geteuid() == 0) {
		option_add(settings, "allow_other");
	}
	option_add(settings, read_only ? "ro" : "rw");
	/* A comma in the image's name would end the option. */
	if (asprintf(&name, "fsname=%s", settings->image) >= 0) {
		for (in = name, out = name; *in != '\0'; in++) {
			if (*in != ',' && *in != '\\') {
				*out++ = *in;
			}
		}
		*out = '\0';
		option_add(settings, name);
		free(name);
	}
}

static void nothing(int signum)
{
	(void)signum;
}

/*
 * SIGTERM and SIGINT end the mount. What programs have written into shared
 * mappings is asked from the kernel before, while requests are answered.
 */
static void *signal_loop(void *private_data)
{
	struct daemon *daemon = private_data;
	sigset_t signals;
	int signum = 0;
	int fd = -1;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigwait(&signals, &signum);

	fd = open(daemon->mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		syncfs(fd);
		close(fd);
	}
	fuse_session_exit(daemon->session);
	pthread_kill(daemon->main_thread, SIGUSR1);
	return NULL;
}

static void signals_block(void)
{
	struct sigaction wake = { .sa_handler = nothing };
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	sigaction(SIGUSR1, &wake, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static int session_loop(struct daemon *daemon)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int ret = 0;

	if (config == NULL) {
		return -ENOMEM;
	}
	daemon->main_thread = pthread_self();
	ret = pthread_create(&daemon->signal_thread, NULL, signal_loop, daemon);
	if (ret != 0) {
		fuse_loop_cfg_destroy(config);
		return -ret;
	}
	fuse_loop_cfg_set_max_threads(config, THREADS_MAX);
	/* Ends with a signal or when the file system was unmounted. */
	ret = fuse_session_loop_mt(daemon->session, config);
	fuse_loop_cfg_destroy(config);
	pthread_kill(daemon->signal_thread, SIGTERM);
	pthread_join(daemon->signal_thread, NULL);
	return ret < 0 ? ret : 0;
}

/* Mount, serve, unmount. The volume is open. */
static int serve(struct settings *settings, struct udf_fs *fs)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct daemon daemon = { .session = NULL };
	struct stat st = {0};
	int ret = -EIO;

	if (fuse_opt_add_arg(&args, "udfd") != 0 ||
	    fuse_opt_add_arg(&args, "-o") != 0 ||
	    fuse_opt_add_arg(&args, settings->fuse_options) != 0 ||
	    (settings->debug && fuse_opt_add_arg(&args, "-d") != 0)) {
		ret = -ENOMEM;
		goto out;
	}
	daemon.mountpoint = realpath(settings->mountpoint, NULL);
	if (daemon.mountpoint == NULL) {
		ret = -errno;
		fprintf(stderr, "udfd: %s: %s\n", settings->mountpoint,
			strerror(errno));
		goto out;
	}
	/* On a file, FUSE would mount something that nobody can use. */
	if (stat(daemon.mountpoint, &st) == 0 && !S_ISDIR(st.st_mode)) {
		fprintf(stderr, "udfd: %s: %s\n", settings->mountpoint,
			strerror(ENOTDIR));
		goto out;
	}
	daemon.session = fuse_session_new(&args, udfd_operations(),
					  udfd_operations_size(), fs);
	if (daemon.session == NULL) {
		fprintf(stderr, "udfd: FUSE refuses the mount options '%s'\n",
			settings->fuse_options);
		goto out;
	}
	if (fuse_session_mount(daemon.session, daemon.mountpoint) != 0) {
		fprintf(stderr, "udfd: cannot mount on %s\n",
			daemon.mountpoint);
		goto out;
	}
	/* Changes the directory, so it comes after realpath(). */
	if (fuse_daemonize(settings->foreground) != 0) {
		fprintf(stderr, "udfd: cannot become a daemon\n");
		goto unmount;
	}
	if (!settings->foreground) {
		openlog("udfd", LOG_PID, LOG_DAEMON);
		log_to_syslog = true;
	}
	signals_block();
	ret = udf_fs_start(fs);
	if (ret == 0) {
		ret = session_loop(&daemon);
	}
unmount:
	fuse_session_unmount(daemon.session);
out:
	if (daemon.session != NULL) {
		fuse_session_destroy(daemon.session);
	}
	fuse_opt_free_args(&args);
	free(daemon.mountpoint);
	return ret;
}

int main(int argc, char **argv)
{
	struct settings settings = { .foreground = false };
	struct udf_volume_options options = { .log = log_line };
	struct udf_fs *fs = NULL;
	int result = 0;
	int ret = 0;

	ret = settings_parse(&settings, argc, argv);
	if (ret < 0) {
		return 2;
	}
	options.read_only = settings.read_only;
	options.no_defect_management = settings.no_defect_management;
	options.metadata_limit = settings.metadata_limit;
	options.log_private = settings.image;
	ret = udf_fs_mount(settings.image, &options, &fs);
	if (ret < 0) {
		free(settings.fuse_options);
		return 1;
	}
	settings_complete(&settings, udf_fs_is_read_only(fs));
	result = serve(&settings, fs);
	ret = udf_fs_unmount(fs);
	free(settings.fuse_options);
	return result < 0 || ret < 0 ? 1 : 0;
}
