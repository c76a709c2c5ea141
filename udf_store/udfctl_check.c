/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * udfctl check: is a volume whole, and putting right what is not (repair.h).
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "blockdev.h"
#include "check.h"
#include "repair.h"
#include "udfctl.h"
#include "udfctl_answer.h"

/* As fsck(8) has them. */
enum {
	EXIT_CLEAN = 0,
	EXIT_CORRECTED = 1,
	EXIT_ERRORS_LEFT = 4,
	EXIT_OPERATION = 8,
	EXIT_USAGE = 16,
	EXIT_STOPPED = 32,
};

/* Findings of a kind that are shown; the rest is counted. */
#define SHOWN_MAX 20u

struct check_run {
	bool json;
	bool quiet; /* count only */
	bool progress;
	bool dry_run;
	bool repair;
	const char *comma;
	uint64_t found; /* files that got a name in lost+found */
	unsigned int shown[UDF_FINDING_KINDS];
};

static volatile sig_atomic_t stopped;

static void on_signal(int signum)
{
	(void)signum;
	stopped = 1;
}

static bool is_stopped(void *private_data)
{
	(void)private_data;
	return stopped != 0;
}

static void clear_progress(const struct check_run *run)
{
	if (run->progress) {
		fputs("\r\033[K", stderr);
	}
}

static void show_progress(void *private_data, uint64_t directories,
			  uint64_t files)
{
	(void)private_data;
	fprintf(stderr,
		"\rchecked %" PRIu64 " directories, %" PRIu64 " files\033[K",
		directories, files);
}

static void show_searched(void *private_data, uint64_t blocks, uint64_t of)
{
	(void)private_data;
	fprintf(stderr, "\rsearched %" PRIu64 "%% of the volume\033[K",
		blocks * 100 / of);
}

static const char *plural(uint64_t count)
{
	return count == 1 ? "" : "s";
}

/* Why something could not be done, when a line before has not said it. */
static const char *reason_of(int error)
{
	switch (-error) {
	case ECANCELED:
		return "stopped";
	case EUCLEAN:
		return "it is too damaged to be mounted";
	case EROFS:
		return "it cannot be written";
	default:
		return strerror(-error);
	}
}

/* A name from the disk, without what a terminal would obey. */
static void print_plain(const char *text)
{
	const unsigned char *p = (const unsigned char *)text;

	for (; *p != '\0'; p++) {
		putchar(*p < 0x20 || *p == 0x7F ? '?' : *p);
	}
}

static void print_json_finding(struct check_run *run,
			       const struct udf_finding *finding)
{
	printf("%s\n    {\"kind\": ", run->comma);
	udfctl_json_text(udf_finding_kind_name(finding->kind));
	printf(", \"error\": %s",
	       finding->severity == UDF_FINDING_ERROR ? "true" : "false");
	if (finding->path != NULL) {
		printf(", \"path\": ");
		udfctl_json_text(finding->path);
	}
	if (finding->lbn != UINT32_MAX) {
		printf(", \"block\": %u", finding->lbn);
	}
	printf(", \"text\": ");
	udfctl_json_text(finding->text);
	printf("}");
	run->comma = ",";
}

static void show_finding(void *private_data, const struct udf_finding *finding)
{
	struct check_run *run = private_data;
	bool is_error = finding->severity == UDF_FINDING_ERROR;

	if (run->quiet) {
		return;
	}
	if (run->json) {
		print_json_finding(run, finding);
		return;
	}
	if (is_error) {
		run->shown[finding->kind]++;
		if (run->shown[finding->kind] > SHOWN_MAX) {
			return;
		}
	}
	clear_progress(run);
	printf("%s: %s: ", is_error ? "error" : "note",
	       udf_finding_kind_name(finding->kind));
	if (finding->path != NULL) {
		print_plain(finding->path);
		printf(": ");
	}
	print_plain(finding->text);
	printf("\n");
}

static void show_rest(const struct check_run *run)
{
	size_t i = 0;

	for (i = 0; i < UDF_FINDING_KINDS; i++) {
		if (run->shown[i] > SHOWN_MAX) {
			printf("error: %s: and %u more\n",
			       udf_finding_kind_name(i),
			       run->shown[i] - SHOWN_MAX);
		}
	}
}

static int check(const char *path, struct check_run *run,
		 struct udf_repair_plan *plan,
		 struct udf_check_summary *summary)
{
	char *log_path = strdup(path);
	struct udf_check_options options = {
		.found = show_finding,
		.progress = run->progress ? show_progress : NULL,
		.searched = run->progress ? show_searched : NULL,
		.stop = is_stopped,
		.private_data = run,
		.log = udfctl_show_log,
		.log_private = log_path,
		.plan = plan,
	};
	int ret = 0;

	if (log_path == NULL) {
		return -ENOMEM;
	}
	ret = udf_check(path, &options, summary);
	clear_progress(run);
	if (!run->json && !run->quiet) {
		show_rest(run);
	}
	free(log_path);
	return ret;
}

static void print_summary(const struct check_run *run,
			  const struct udf_check_summary *summary)
{
	uint64_t errors = udf_check_errors(summary);

	if (run->json) {
		return;
	}
	printf("%" PRIu64 " directories, %" PRIu64 " files, %" PRIu64
	       " of %" PRIu64 " blocks in use\n",
	       summary->directories, summary->files, summary->used_blocks,
	       summary->total_blocks);
	if (!summary->closed) {
		printf("the volume was not closed: the next mount counts its "
		       "free space anew\n");
	}
	if (summary->unreadable) {
		printf("something cannot be read, and what it may lead to is "
		       "left as it is: copy the volume to another medium, as "
		       "with ddrescue(1), and check the copy\n");
	}
	if (errors == 0) {
		printf("no errors\n");
	} else if (summary->why_not[0] != '\0') {
		printf("%" PRIu64 " error%s; a repair cannot write this "
		       "volume: %s\n",
		       errors, plural(errors), summary->why_not);
	} else {
		printf("%" PRIu64 " error%s, of which %" PRIu64
		       " can be repaired\n",
		       errors, plural(errors), summary->repairable);
	}
	if (summary->repairable > 0 && !run->dry_run && !run->repair) {
		printf("udfctl check --dry-run says what a repair would do, "
		       "and what is lost by it\n");
	}
}

/* A step that was done, or would be. */
static void show_step(void *private_data, const struct udf_repair_step *step,
		      int error)
{
	struct check_run *run = private_data;

	run->found += step->action == UDF_REPAIR_RECONNECT && error == 0;
	if (run->json) {
		printf("%s\n    {\"text\": ", run->comma);
		udfctl_json_text(step->text);
		if (error < 0) {
			printf(", \"failed\": ");
			udfctl_json_text(strerror(-error));
		}
		printf("}");
		run->comma = ",";
		return;
	}
	clear_progress(run);
	printf("%s: ", run->dry_run ? "would repair" : "repair");
	print_plain(step->text);
	if (error < 0) {
		printf(": it failed: %s", strerror(-error));
	}
	printf("\n");
}

/* What a dry run would do, one line for each step. */
static void show_plan(struct check_run *run, const struct udf_repair_plan *plan)
{
	size_t i = 0;

	for (i = 0; i < plan->count; i++) {
		show_step(run, &plan->steps[i], 0);
	}
}

/* left: UINT64_MAX, a repair was begun and did not come to its end. */
static void print_json_summary(const struct udf_check_summary *summary,
			       uint64_t left, bool repaired)
{
	printf("\n  ],\n");
	udfctl_json_bool("closed", summary->closed);
	udfctl_json_number("directories", (int64_t)summary->directories);
	udfctl_json_number("files", (int64_t)summary->files);
	udfctl_json_number("used_blocks", (int64_t)summary->used_blocks);
	udfctl_json_number("total_blocks", (int64_t)summary->total_blocks);
	udfctl_json_number("errors", (int64_t)udf_check_errors(summary));
	udfctl_json_number("repairable", (int64_t)summary->repairable);
	if (summary->why_not[0] != '\0') {
		printf("  \"not_writable\": ");
		udfctl_json_text(summary->why_not);
		printf(",\n");
	} else {
		printf("  \"not_writable\": null,\n");
	}
	udfctl_json_bool("unreadable", summary->unreadable);
	udfctl_json_bool("repaired", repaired);
	if (left == UINT64_MAX) {
		printf("  \"errors_left\": null\n}\n");
	} else {
		printf("  \"errors_left\": %" PRIu64 "\n}\n", left);
	}
}

/* What is left is shown as what was found. The exit status. */
static int show_left(const char *path, struct check_run *run, uint64_t *left)
{
	struct check_run again = {
		.quiet = run->json,
		.progress = run->progress,
		.comma = "",
	};
	struct udf_check_summary summary;
	int ret = 0;

	if (!run->json && *left > 0) {
		printf("what is left:\n");
	}
	ret = check(path, &again, NULL, &summary);
	if (ret < 0) {
		fprintf(stderr, "udfctl: %s: it was not checked again: %s\n",
			path, reason_of(ret));
		return ret == -ECANCELED ? EXIT_STOPPED : EXIT_OPERATION;
	}
	*left = udf_check_errors(&summary);
	if (!run->json && *left > 0) {
		printf("repaired as far as can be; %" PRIu64 " error%s left: "
		       "%s\n",
		       *left, *left == 1 ? " is" : "s are",
		       summary.unreadable
			       ? "copy the volume to another medium, as with "
				 "ddrescue(1), and repair the copy"
			       : "copy what you need from a read-only mount of "
				 "the volume, and format it");
	}
	return *left == 0 ? EXIT_CORRECTED : EXIT_ERRORS_LEFT;
}

/* The exit status; *left: the errors after it. */
static int repair(char *path, struct check_run *run, uint64_t *left)
{
	const struct udf_repair_options options = {
		.did = show_step,
		.progress = run->progress ? show_progress : NULL,
		.searched = run->progress ? show_searched : NULL,
		.stop = is_stopped,
		.private_data = run,
		.log = udfctl_show_log,
		.log_private = path,
	};
	struct udf_check_summary summary;
	int ret = udf_repair(path, &options, &summary);

	clear_progress(run);
	if (ret == -ECANCELED) {
		fprintf(stderr,
			"udfctl: %s: stopped; begin again to go on\n", path);
		return EXIT_STOPPED;
	}
	if (ret < 0) {
		fprintf(stderr, "udfctl: %s: it was not repaired: %s\n", path,
			reason_of(ret));
		return EXIT_OPERATION;
	}
	if (run->found > 0 && !run->json) {
		printf("%" PRIu64 " file%s or director%s without a name got "
		       "one in /lost+found\n",
		       run->found, plural(run->found),
		       run->found == 1 ? "y" : "ies");
	}
	*left = udf_check_errors(&summary);
	if (*left > 0) {
		return show_left(path, run, left);
	}
	if (!run->json) {
		printf("repaired; no errors are left\n");
	}
	return EXIT_CORRECTED;
}

static void usage(FILE *f)
{
	fprintf(f,
		"usage: udfctl check [--repair | --dry-run] [--json] IMAGE\n"
		"\n"
		"Check a volume that is not mounted: descriptors, sparing "
		"tables, directories,\n"
		"link counts, extents, free space. Nothing is written without "
		"--repair.\n"
		"\n"
		"  --repair   put right what can be, and say of each step what "
		"it does and what is\n"
		"             lost; files that no name leads to get one in "
		"/lost+found. It can be\n"
		"             stopped at any time, and begun again\n"
		"  --dry-run  say what --repair would do; it may find more to "
		"do behind that\n"
		"  --json     print JSON\n"
		"\n"
		"Exit status, as of fsck: 0, no errors; 1, errors were "
		"repaired; 4, errors are\n"
		"left; 8, the check failed; 16, wrong usage; 32, stopped by "
		"Ctrl-C.\n");
}

/* The options, and IMAGE. -1: go on; else the exit status. */
static int parse(int argc, char **argv, struct check_run *run)
{
	static const struct option options[] = {
		{"repair", no_argument, NULL, 'r'},
		{"dry-run", no_argument, NULL, 'n'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int c = 0;

	optind = 0;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'r':
			run->repair = true;
			break;
		case 'n':
			run->dry_run = true;
			break;
		case 'j':
			run->json = true;
			break;
		case 'h':
			usage(stdout);
			return EXIT_CLEAN;
		default:
			fprintf(stderr, "Try udfctl check --help.\n");
			return EXIT_USAGE;
		}
	}
	if (argc - optind != 1 || (run->repair && run->dry_run)) {
		usage(stderr);
		return EXIT_USAGE;
	}
	return -1;
}

/* The report, and what comes after it. The exit status. */
static int report(char *path, struct check_run *run,
		  const struct udf_check_summary *summary,
		  const struct udf_repair_plan *plan)
{
	uint64_t left = udf_check_errors(summary);
	int status = left == 0 ? EXIT_CLEAN : EXIT_ERRORS_LEFT;
	bool repaired = run->repair && left > 0 && plan->count > 0;

	print_summary(run, summary);
	if (run->json) {
		printf("\n  ],\n  \"steps\": [");
		run->comma = "";
	}
	if (run->dry_run && left > 0) {
		show_plan(run, plan);
	}
	if (repaired) {
		status = repair(path, run, &left);
		repaired = status == EXIT_CORRECTED ||
			   status == EXIT_ERRORS_LEFT;
		left = repaired ? left : UINT64_MAX;
	}
	if (run->json) {
		print_json_summary(summary, left, repaired);
	}
	return status;
}

int udfctl_check(int argc, char **argv)
{
	struct sigaction stop = { .sa_handler = on_signal };
	struct udf_repair_plan plan = { .count = 0 };
	struct check_run run = { .comma = "" };
	struct udf_check_summary summary;
	char *path = NULL;
	int ret = parse(argc, argv, &run);

	if (ret >= 0) {
		return ret;
	}
	path = argv[optind];
	if (!udfctl_answers(path)) {
		return EXIT_OPERATION;
	}
	if (udf_blockdev_is_in_use(path)) {
		fprintf(stderr,
			"udfctl: %s: it is mounted, or another program writes "
			"to it; unmount it first\n",
			path);
		return EXIT_OPERATION;
	}
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	run.progress = !run.json && isatty(STDERR_FILENO);
	if (run.json) {
		printf("{\n  \"findings\": [");
	}
	ret = check(path, &run, &plan, &summary);
	if (ret < 0) {
		if (run.json) {
			printf("],\n  \"error\": true,\n  \"reason\": ");
			udfctl_json_text(reason_of(ret));
			printf("\n}\n");
		}
		fprintf(stderr, "udfctl: %s: it was not checked: %s\n", path,
			reason_of(ret));
		ret = ret == -ECANCELED ? EXIT_STOPPED : EXIT_OPERATION;
	} else {
		ret = report(path, &run, &summary, &plan);
	}
	udf_repair_plan_free(&plan);
	return ret;
}
