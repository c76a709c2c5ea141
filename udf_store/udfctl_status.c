/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * udfctl status: the UDF volumes that are mounted here, and what Samba's
 * clients and local scans have open on them. The first is asked of each mount,
 * the second of "udfctl-purge status --all".
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "udfctl.h"
#include "udfctl_facts.h"

#define MOUNTS "/proc/self/mounts"
#define WATCH_SECONDS 2

/* More than a server could hold open; a runaway ends here. */
#define MAX_OUTPUT ((size_t)256 * 1024 * 1024)

struct status_options {
	bool json;
	const char *config_file;
	unsigned watch; /* seconds; 0: once */
};

struct volume {
	struct udfctl_facts facts;
	bool known; /* facts could be had */
	const char *server;
	char *mount_point;
	char *source;
};

/* "udfd", "kernel", or NULL for another file system. */
static const char *server_of(const struct mntent *entry)
{
	if (strcmp(entry->mnt_type, "fuse.udfd") == 0) {
		return "udfd";
	}
	if (strcmp(entry->mnt_type, "udf") == 0) {
		return "kernel";
	}
	return NULL;
}

static void free_volume(struct volume *volume)
{
	udfctl_facts_free(&volume->facts);
	free(volume->mount_point);
	free(volume->source);
}

/* Call fn for each mounted UDF volume. */
static int for_each_volume(void (*fn)(const struct volume *volume, size_t n))
{
	FILE *mounts = setmntent(MOUNTS, "re");
	struct mntent *entry = NULL;
	size_t n = 0;

	if (mounts == NULL) {
		fprintf(stderr, "udfctl: %s: %s\n", MOUNTS, strerror(errno));
		return -1;
	}
	while ((entry = getmntent(mounts)) != NULL) {
		struct volume volume = {.server = server_of(entry)};
		char *asked = NULL;

		if (volume.server == NULL) {
			continue;
		}
		volume.mount_point = strdup(entry->mnt_dir);
		volume.source = strdup(entry->mnt_fsname);
		if (volume.mount_point == NULL || volume.source == NULL) {
			fprintf(stderr, "udfctl: no memory\n");
			free_volume(&volume);
			endmntent(mounts);
			return -1;
		}
		/* The kernel's driver has no answer; its device has. */
		asked = (strcmp(volume.server, "udfd") == 0)
				? volume.mount_point
				: volume.source;
		volume.known = udfctl_facts_gather(asked, &volume.facts) == 0;
		fn(&volume, n);
		n++;
		free_volume(&volume);
	}
	endmntent(mounts);
	return 0;
}

static void print_volume_json(const struct volume *volume, size_t n)
{
	const struct udfctl_facts *facts = &volume->facts;

	printf("%s{\n", (n == 0) ? "" : ", ");
	udfctl_json_string("mount_point", volume->mount_point);
	udfctl_json_string("source", volume->source);
	udfctl_json_string("server", volume->server);
	if (volume->known) {
		udfctl_json_string("label", facts->label);
		udfctl_json_bool("read_only", facts->read_only);
		udfctl_json_bool("defect_managed", facts->defect_managed);
		udfctl_json_number("block_size", facts->block_size);
		udfctl_json_number("total_blocks",
				   (int64_t)facts->total_blocks);
		udfctl_json_number("free_blocks", facts->free_blocks);
		udfctl_json_number("total_spare_blocks",
				   facts->total_spare_blocks);
		udfctl_json_number("free_spare_blocks",
				   facts->free_spare_blocks);
	}
	printf("  \"known\": %s\n}", volume->known ? "true" : "false");
}

static void print_volume(const struct volume *volume, size_t n)
{
	const struct udfctl_facts *facts = &volume->facts;
	char free_space[32] = "unknown";
	char spares[32] = "none";
	char state[32] = "unknown";

	if (n == 0) {
		printf("%-20s  %-20s  %12s  %-16s  %s\n", "VOLUME", "STATE",
		       "FREE", "SPARES FREE", "MOUNTED AT");
	}
	if (volume->known) {
		snprintf(state, sizeof(state), "%s%s%s", volume->server,
			 facts->read_only ? ", read-only" : "",
			 facts->defect_managed ? ", managed" : "");
	}
	if (volume->known && facts->free_blocks >= 0) {
		snprintf(free_space, sizeof(free_space), "%" PRId64 " KiB",
			 facts->free_blocks * facts->block_size / 1024);
	}
	if (volume->known && facts->total_spare_blocks != 0) {
		snprintf(spares, sizeof(spares), "%u of %u",
			 facts->free_spare_blocks, facts->total_spare_blocks);
	}
	printf("%-20s  %-20s  %12s  %-16s  %s\n",
	       volume->known ? facts->label : "(no answer)", state, free_space,
	       spares, volume->mount_point);
}

/* All that a program prints, ended by a NUL; NULL when it cannot be had. */
static char *read_all(int fd)
{
	char *text = NULL;
	size_t len = 0;
	size_t room = 0;
	ssize_t n = 0;

	do {
		if (room - len < 4096) {
			char *more = NULL;

			if (room < MAX_OUTPUT) {
				more = realloc(text, room + 65536);
			}
			if (more == NULL) {
				free(text);
				return NULL;
			}
			text = more;
			room += 65536;
		}
		n = read(fd, text + len, room - len - 1);
		if (n > 0) {
			len += (size_t)n;
		}
	} while (n > 0 || (n == -1 && errno == EINTR));
	text[len] = '\0';
	return text;
}

/* What Samba's database has; NULL: that is not known, and it was said why. */
static char *ask_samba(const struct status_options *options)
{
	char path[PATH_MAX + 32] = {0};
	const char *argv[8] = {"udfctl-purge", "status", "--all"};
	char *text = NULL;
	size_t n = 3;
	int fds[2] = {-1, -1};
	int status = 0;
	pid_t pid = 0;

	if (!udfctl_purge_program(path, sizeof(path))) {
		return NULL;
	}
	if (options->json) {
		argv[n] = "--json";
		n++;
	}
	if (options->config_file != NULL) {
		argv[n] = "--configfile";
		argv[n + 1] = options->config_file;
	}
	if (pipe(fds) != 0) {
		fprintf(stderr, "udfctl: pipe: %s\n", strerror(errno));
		return NULL;
	}
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], STDOUT_FILENO);
		close(fds[0]);
		close(fds[1]);
		execv(path, (char *const *)(uintptr_t)argv);
		fprintf(stderr,
			"udfctl: %s: %s; it is installed with the Samba "
			"module\n",
			path, strerror(errno));
		_exit(1);
	}
	close(fds[1]);
	if (pid != -1) {
		text = read_all(fds[0]);
	}
	close(fds[0]);
	if (pid == -1 || waitpid(pid, &status, 0) != pid ||
	    !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

static int print_json(const struct status_options *options)
{
	char *opens = ask_samba(options);
	int ret = 0;

	printf("{\"volumes\": [");
	ret = for_each_volume(print_volume_json);
	/* What the tool printed is an object: its members go on in ours. */
	if (opens != NULL && opens[0] == '{') {
		printf("], %s", opens + 1);
	} else {
		printf("], \"opens\": null, \"held\": null}\n");
		ret = -1;
	}
	free(opens);
	return ret;
}

static int print_tables(const struct status_options *options)
{
	char *opens = ask_samba(options);
	int ret = for_each_volume(print_volume);

	printf("\n%s", (opens != NULL) ? opens
				       : "what Samba's clients have open is "
					 "not known\n");
	if (opens == NULL) {
		ret = -1;
	}
	free(opens);
	return ret;
}

static void usage(void)
{
	printf("usage: udfctl status [--json] [--watch[=SECONDS]] "
	       "[-s FILE]\n"
	       "\n"
	       "The UDF volumes that are mounted, and what is open on them.\n"
	       "\n"
	       "      --json             print JSON\n"
	       "      --watch[=SECONDS]  again and again, until interrupted\n"
	       "  -s, --configfile FILE  smbd's configuration file\n"
	       "      --help             print this\n");
}

/* -1: go on; else the exit status. */
static int parse(int argc, char **argv, struct status_options *status)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},
		{"watch", optional_argument, NULL, 'w'},
		{"configfile", required_argument, NULL, 's'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	char *end = NULL;
	unsigned long seconds = 0;
	int c = 0;

	optind = 0;
	while ((c = getopt_long(argc, argv, "s:", options, NULL)) != -1) {
		switch (c) {
		case 'j':
			status->json = true;
			break;
		case 'w':
			status->watch = WATCH_SECONDS;
			if (optarg == NULL) {
				break;
			}
			seconds = strtoul(optarg, &end, 10);
			if (*optarg < '0' || *optarg > '9' || *end != '\0' ||
			    seconds == 0 || seconds > 86400) {
				fprintf(stderr,
					"udfctl: --watch wants 1 to 86400 "
					"seconds, not '%s'\n",
					optarg);
				return 2;
			}
			status->watch = (unsigned)seconds;
			break;
		case 's':
			status->config_file = optarg;
			break;
		case 'h':
			usage();
			return 0;
		default:
			fprintf(stderr, "Try udfctl status --help.\n");
			return 2;
		}
	}
	if (optind != argc) {
		fprintf(stderr, "udfctl: status takes no PATH\n");
		return 2;
	}
	return -1;
}

int udfctl_status(int argc, char **argv)
{
	struct status_options options = {.json = false};
	int ret = parse(argc, argv, &options);

	if (ret >= 0) {
		return ret;
	}
	for (;;) {
		if (options.watch != 0 && !options.json &&
		    isatty(STDOUT_FILENO)) {
			/* Home, and clear (ECMA-48). */
			printf("\033[H\033[2J");
		}
		ret = options.json ? print_json(&options)
				   : print_tables(&options);
		if (options.watch == 0 || fflush(stdout) != 0) {
			break;
		}
		sleep(options.watch);
	}
	return (ret == 0) ? 0 : 1;
}
