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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "udfctl.h"
#include "udfctl_answer.h"
#include "udfctl_facts.h"
#include "udfctl_mounts.h"

#define WATCH_SECONDS 2

struct status_options {
	bool json;
	const char *config_file;
	unsigned watch; /* seconds; 0: once */
};

struct volume {
	const struct udfctl_mount *mount;
	struct udfctl_question *question;
	const struct udfctl_facts *facts; /* of the question; NULL: not known */
	int error;			  /* why not: a negative errno */
	bool gone;			  /* unmounted in the meantime */
};

struct volumes {
	struct udfctl_mounts mounts;
	struct volume *volumes; /* one for each mount */
};

/* In a child: what one mounted volume says of itself. */
static int ask_volume(const void *asked, void *reply)
{
	const struct udfctl_mount *mount = asked;
	struct udfctl_facts *facts = reply;
	int ret = udfctl_knock(mount->point);

	if (ret == 0) {
		/* The kernel's driver has no answer; its device has. */
		ret = udfctl_facts_read((strcmp(mount->server, "udfd") == 0)
						? mount->point
						: mount->source,
					facts);
	}
	/* They are this process's. */
	udfctl_facts_free(facts);
	return ret;
}

/* NULL: there is none. */
static const char *problem_of(const struct volume *volume)
{
	switch (volume->error) {
	case 0:
		return NULL;
	case -ETIMEDOUT:
		return "no answer";
	case -ENOTCONN:
		return "udfd has ended";
	default:
		return "unknown";
	}
}

static void take_answer(struct volume *volume, const struct timespec *deadline)
{
	int ret = -EIO;

	if (volume->question != NULL) {
		ret = udfctl_answer(volume->question, deadline);
	}
	if (ret == 0) {
		volume->facts = udfctl_reply(volume->question);
	} else if (!udfctl_mounts_still(volume->mount)) {
		volume->gone = true;
	} else {
		volume->error = ret;
	}
	if (volume->error == -ETIMEDOUT || volume->error == -ENOTCONN) {
		udfctl_print_no_answer(volume->mount->point, volume->error);
	}
}

/*
 * All are asked at once, so that several which do not answer cost no more
 * time than one. 0, or an exit status.
 */
static int ask_volumes(struct volumes *volumes)
{
	struct timespec deadline = {0};
	int status = 0;
	size_t i = 0;

	if (udfctl_mounts_read(&volumes->mounts) != 0) {
		return 1;
	}
	volumes->volumes = calloc(volumes->mounts.count + 1,
				  sizeof(*volumes->volumes));
	if (volumes->volumes == NULL) {
		fprintf(stderr, "udfctl: no memory\n");
		udfctl_mounts_free(&volumes->mounts);
		return 1;
	}
	for (i = 0; i < volumes->mounts.count; i++) {
		struct volume *volume = &volumes->volumes[i];
		int ret = 0;

		volume->mount = &volumes->mounts.mounts[i];
		ret = udfctl_ask(volume->mount->point, ask_volume,
				 volume->mount, sizeof(struct udfctl_facts),
				 &volume->question);
		if (ret != 0) {
			fprintf(stderr, "udfctl: %s: cannot be asked: %s\n",
				volume->mount->point, strerror(-ret));
		}
	}
	deadline = udfctl_deadline();
	for (i = 0; i < volumes->mounts.count; i++) {
		struct volume *volume = &volumes->volumes[i];

		take_answer(volume, &deadline);
		if (volume->error != 0 && status != UDFCTL_EXIT_NO_ANSWER) {
			status = udfctl_exit_status(volume->error);
		}
	}
	return status;
}

static void free_volumes(struct volumes *volumes)
{
	size_t i = 0;

	for (i = 0; i < volumes->mounts.count; i++) {
		udfctl_question_free(volumes->volumes[i].question);
	}
	free(volumes->volumes);
	udfctl_mounts_free(&volumes->mounts);
}

static void print_volume_json(const struct volume *volume)
{
	const struct udfctl_facts *facts = volume->facts;
	const char *problem = problem_of(volume);

	printf("{\n");
	udfctl_json_string("mount_point", volume->mount->point);
	udfctl_json_string("source", volume->mount->source);
	udfctl_json_string("server", volume->mount->server);
	if (facts != NULL) {
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
	if (problem != NULL) {
		udfctl_json_string("problem", problem);
	}
	printf("  \"known\": %s\n}", facts != NULL ? "true" : "false");
}

static void print_volumes_json(const struct volumes *volumes)
{
	const char *comma = "";
	size_t i = 0;

	printf("{\"volumes\": [");
	for (i = 0; i < volumes->mounts.count; i++) {
		if (!volumes->volumes[i].gone) {
			printf("%s", comma);
			print_volume_json(&volumes->volumes[i]);
			comma = ", ";
		}
	}
	printf("]");
}

static void print_volume(const struct volume *volume)
{
	const struct udfctl_facts *facts = volume->facts;
	char free_space[32] = "unknown";
	char spares[32] = "none";
	char state[32] = "";

	if (facts == NULL) {
		printf("%-20s  %-20s  %12s  %-16s  %s\n", "-",
		       problem_of(volume), "-", "-", volume->mount->point);
		return;
	}
	snprintf(state, sizeof(state), "%s%s%s", volume->mount->server,
		 facts->read_only ? ", read-only" : "",
		 facts->defect_managed ? ", managed" : "");
	if (facts->free_blocks >= 0) {
		snprintf(free_space, sizeof(free_space), "%" PRId64 " KiB",
			 facts->free_blocks * facts->block_size / 1024);
	}
	if (facts->total_spare_blocks != 0) {
		snprintf(spares, sizeof(spares), "%u of %u",
			 facts->free_spare_blocks, facts->total_spare_blocks);
	}
	printf("%-20s  %-20s  %12s  %-16s  %s\n", facts->label, state,
	       free_space, spares, volume->mount->point);
}

static void print_volumes(const struct volumes *volumes)
{
	bool any = false;
	size_t i = 0;

	for (i = 0; i < volumes->mounts.count; i++) {
		if (volumes->volumes[i].gone) {
			continue;
		}
		if (!any) {
			printf("%-20s  %-20s  %12s  %-16s  %s\n", "VOLUME",
			       "STATE", "FREE", "SPARES FREE", "MOUNTED AT");
		}
		any = true;
		print_volume(&volumes->volumes[i]);
	}
	if (!any) {
		printf("no UDF volume is mounted\n");
	}
}

struct samba_question {
	const char *path;  /* of udfctl-purge */
	const char **argv; /* NULL-terminated */
};

/* In a child: become udfctl-purge. */
static int ask_purge_program(const void *asked, void *reply)
{
	const struct samba_question *question = asked;

	(void)reply;
	execv(question->path, (char *const *)(uintptr_t)question->argv);
	fprintf(stderr,
		"udfctl: %s: %s; it is installed with the Samba module\n",
		question->path, strerror(errno));
	_exit(1);
}

/* Its arguments, with the mounts that it must not touch; to be freed. */
static const char **purge_arguments(const struct status_options *options,
				    const struct volumes *volumes)
{
	const char **argv = NULL;
	size_t n = 0;
	size_t i = 0;

	argv = calloc(8 + 2 * volumes->mounts.count, sizeof(*argv));
	if (argv == NULL) {
		return NULL;
	}
	argv[n++] = "udfctl-purge";
	argv[n++] = "status";
	argv[n++] = "--all";
	if (options->json) {
		argv[n++] = "--json";
	}
	if (options->config_file != NULL) {
		argv[n++] = "--configfile";
		argv[n++] = options->config_file;
	}
	for (i = 0; i < volumes->mounts.count; i++) {
		if (volumes->volumes[i].error != 0) {
			argv[n++] = "--skip";
			argv[n++] = volumes->mounts.mounts[i].point;
		}
	}
	return argv;
}

/*
 * What Samba's database has, as a text to be freed; NULL: that is not known,
 * and a line on stderr has said why.
 */
static char *ask_samba(const struct status_options *options,
		       const struct volumes *volumes)
{
	const struct timespec deadline = udfctl_deadline();
	struct samba_question asked = {.path = NULL};
	struct udfctl_question *question = NULL;
	char path[PATH_MAX + 32] = {0};
	char *text = NULL;
	int ret = 0;

	if (!udfctl_purge_program(path, sizeof(path))) {
		return NULL;
	}
	asked.path = path;
	asked.argv = purge_arguments(options, volumes);
	if (asked.argv == NULL) {
		fprintf(stderr, "udfctl: no memory\n");
		return NULL;
	}
	ret = udfctl_ask(path, ask_purge_program, &asked, 0, &question);
	if (ret != 0) {
		fprintf(stderr, "udfctl: %s: %s\n", path, strerror(-ret));
	} else {
		ret = udfctl_answer(question, &deadline);
	}
	if (ret == -ETIMEDOUT) {
		fprintf(stderr,
			"udfctl: Samba's databases gave no answer within %u "
			"s: does 'smbstatus' get one? udfctl --timeout "
			"SECONDS waits longer\n",
			udfctl_timeout());
	} else if (ret == 0) {
		text = udfctl_printed(question);
	}
	udfctl_question_free(question);
	free(asked.argv);
	return text;
}

/* The exit status. */
static int print_status(const struct status_options *options)
{
	struct volumes volumes = {.volumes = NULL};
	int status = ask_volumes(&volumes);
	char *opens = ask_samba(options, &volumes);

	if (opens == NULL && status == 0) {
		status = 1;
	}
	if (options->json) {
		print_volumes_json(&volumes);
		/* What the tool printed is an object: it goes on in ours. */
		printf(", %s", (opens != NULL && opens[0] == '{')
				       ? opens + 1
				       : "\"opens\": null, \"held\": null}\n");
	} else {
		print_volumes(&volumes);
		printf("\n%s", (opens != NULL)
				       ? opens
				       : "what Samba's clients have open is "
					 "not known\n");
	}
	free(opens);
	free_volumes(&volumes);
	return status;
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
			fflush(stdout);
		}
		ret = print_status(&options);
		if (options.watch == 0 || fflush(stdout) != 0) {
			break;
		}
		sleep(options.watch);
	}
	return ret;
}
