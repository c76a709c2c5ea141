/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * udfctl: what an administrator wants to know of a UDF volume and do to it.
 * Here is the table of its commands; udfctl.h says what one is.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "udfctl.h"
#include "udfctl_answer.h"

#define MAX_TIMEOUT 86400u

static const struct {
	const char *name;
	udfctl_fn run;
	const char *summary;
} commands[] = {
	{"info", udfctl_info, "what the volume says of itself"},
	{"sparing", udfctl_sparing, "spare packets, and what was relocated"},
	{"scrub", udfctl_scrub, "read all, and make well what is going bad"},
	{"map", udfctl_map, "a picture of the medium"},
	{"defects", udfctl_defects, "which files are damaged"},
	{"status", udfctl_status, "mounted volumes, and what is open on them"},
	{"check", udfctl_check, "is the volume whole? And repair it"},
	{"purge", udfctl_purge, "hold writers while a program scans files"},
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void usage(FILE *f)
{
	size_t i = 0;

	fprintf(f, "usage: udfctl [--timeout SECONDS] COMMAND PATH "
		   "[--json] [OPTION...]\n"
		   "\n"
		   "PATH is a UDF image, a block device, or a file or directory "
		   "on a mount of udfd.\n"
		   "\n"
		   "commands:\n");
	for (i = 0; i < COMMANDS; i++) {
		fprintf(f, "  %-9s %s\n", commands[i].name,
			commands[i].summary);
	}
	fprintf(f, "\n"
		   "  --timeout SECONDS  how long a mounted volume may take "
		   "to answer [10]\n"
		   "  --json             print JSON\n"
		   "  --help             print this; udfctl COMMAND --help: "
		   "its options\n"
		   "  --version\n");
}

static udfctl_fn find_command(const char *name)
{
	size_t i = 0;

	for (i = 0; i < COMMANDS; i++) {
		if (strcmp(commands[i].name, name) == 0) {
			return commands[i].run;
		}
	}
	return NULL;
}

static bool take_timeout(const char *text)
{
	char *end = NULL;
	unsigned long seconds = 0;

	seconds = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end != '\0' || seconds == 0 ||
	    seconds > MAX_TIMEOUT) {
		fprintf(stderr,
			"udfctl: --timeout wants 1 to %u seconds, not '%s'\n",
			MAX_TIMEOUT, text);
		return false;
	}
	udfctl_set_timeout((unsigned)seconds);
	return true;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"timeout", required_argument, NULL, 't'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{NULL, 0, NULL, 0},
	};
	udfctl_fn run = NULL;
	int status = 0;
	int c = 0;

	/* "+": what follows the command's name is the command's. */
	while ((c = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		switch (c) {
		case 't':
			if (!take_timeout(optarg)) {
				return 2;
			}
			break;
		case 'h':
			usage(stdout);
			return 0;
		case 'V':
			printf("udfctl %s\n", UDF_VERSION);
			return 0;
		default:
			fprintf(stderr, "Try udfctl --help.\n");
			return 2;
		}
	}
	if (optind == argc) {
		usage(stderr);
		return 2;
	}
	run = find_command(argv[optind]);
	if (run == NULL) {
		fprintf(stderr,
			"udfctl: there is no command '%s'; udfctl --help lists "
			"them\n",
			argv[optind]);
		return 2;
	}
	status = run(argc - optind, argv + optind);
	if (fflush(stdout) != 0) {
		fprintf(stderr, "udfctl: cannot write the output: %s\n",
			strerror(errno));
		return 1;
	}
	return status;
}
