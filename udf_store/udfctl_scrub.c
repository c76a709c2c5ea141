/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * udfctl scrub: read a whole volume and make well what is going bad.
 *
 * It goes over the partition in steps, reads each from the medium, and rests
 * after each for as long as it took, so that others have the device half of
 * the time; --rate and --busy change that. The place is kept in a file if one
 * is given, so that an interrupted scrub goes on.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "udfctl.h"
#include "udfctl_answer.h"
#include "udfctl_volume.h"

#define SLOW_MS_DEFAULT 2000u
/* linux/ioprio.h: class idle, for this process. */
#define IOPRIO_WHO_PROCESS 1
#define IOPRIO_IDLE (3 << 13)

struct scrub {
	char *path;
	bool json;
	bool cure;
	bool busy;	   /* without rests */
	uint32_t rate;	   /* MiB per second, 0: as above */
	uint32_t slow_ms;
	const char *state; /* file with the place; NULL: none */
	struct udfctl_volume *volume;
	const struct udfctl_geometry *geometry;
	uint32_t next; /* block */
	uint64_t read; /* blocks of this run */
	struct udf_scrub_result result;
};

static void usage(FILE *f)
{
	fprintf(f,
		"usage: udfctl scrub PATH [--json] [--read-only] [--busy] "
		"[--rate MIB]\n"
		"                    [--slow MS] [--resume FILE]\n"
		"\n"
		"Reads the whole volume from its medium. A packet that is read "
		"only after\n"
		"retries, or too slowly, is written again, and relocated if "
		"that does not help.\n"
		"\n"
		"  --read-only    only look\n"
		"  --busy         do not rest between reads\n"
		"  --rate MIB     at most so many MiB per second\n"
		"  --slow MS      a packet that takes longer is going bad "
		"(%u; 0: never)\n"
		"  --resume FILE  keep the place there, and go on from it\n"
		"  --json         print JSON\n"
		"\n"
		"Exit status: 0, all was read; 1, it cannot be done; 2, wrong "
		"usage; 3, parts\n"
		"cannot be read; 4, interrupted.\n",
		SLOW_MS_DEFAULT);
}

static bool parse_number(const char *text, uint32_t *number)
{
	char *end = NULL;
	unsigned long long value = 0;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 ||
	    value > UINT32_MAX) {
		fprintf(stderr, "udfctl: '%s' is no number\n", text);
		return false;
	}
	*number = (uint32_t)value;
	return true;
}

/* -1: go on; else the exit status. */
static int parse(int argc, char **argv, struct scrub *scrub)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{"read-only", no_argument, NULL, 'n'},
		{"busy", no_argument, NULL, 'b'},
		{"rate", required_argument, NULL, 'r'},
		{"slow", required_argument, NULL, 's'},
		{"resume", required_argument, NULL, 'R'},
		{NULL, 0, NULL, 0},
	};
	int c = 0;

	scrub->cure = true;
	scrub->slow_ms = SLOW_MS_DEFAULT;
	optind = 0;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		bool good = true;

		switch (c) {
		case 'j':
			scrub->json = true;
			break;
		case 'h':
			usage(stdout);
			return 0;
		case 'n':
			scrub->cure = false;
			break;
		case 'b':
			scrub->busy = true;
			break;
		case 'r':
			good = parse_number(optarg, &scrub->rate);
			break;
		case 's':
			good = parse_number(optarg, &scrub->slow_ms);
			break;
		case 'R':
			scrub->state = optarg;
			break;
		default:
			good = false;
			break;
		}
		if (!good) {
			fprintf(stderr, "Try udfctl scrub --help.\n");
			return 2;
		}
	}
	if (argc - optind != 1) {
		fprintf(stderr, "udfctl: scrub takes one PATH\n");
		return 2;
	}
	scrub->path = argv[optind];
	return -1;
}

static void format_id(const struct scrub *scrub, char *text)
{
	size_t i = 0;

	for (i = 0; i < UDF_VOLUME_ID_LEN; i++) {
		sprintf(text + 2 * i, "%02x", scrub->geometry->volume_id[i]);
	}
}

/* Go on where the file says, if it is about this volume. */
static void load_state(struct scrub *scrub)
{
	char id[2 * UDF_VOLUME_ID_LEN + 1] = {0};
	char found[2 * UDF_VOLUME_ID_LEN + 1] = {0};
	uint32_t next = 0;
	FILE *f = NULL;

	if (scrub->state == NULL) {
		return;
	}
	f = fopen(scrub->state, "r");
	if (f == NULL) {
		return;
	}
	format_id(scrub, id);
	if (fscanf(f, "udfctl-scrub %32s %" SCNu32, found, &next) == 2 &&
	    strcmp(id, found) == 0 && next < scrub->geometry->blocks) {
		scrub->next = next;
	}
	fclose(f);
}

/* A new file takes the old one's place. 0, or it was said what is wrong. */
static int save_state(const struct scrub *scrub)
{
	char id[2 * UDF_VOLUME_ID_LEN + 1] = {0};
	char *name = NULL;
	FILE *f = NULL;
	int ret = 0;

	if (scrub->state == NULL) {
		return 0;
	}
	if (asprintf(&name, "%s.new", scrub->state) < 0) {
		return -ENOMEM;
	}
	format_id(scrub, id);
	f = fopen(name, "w");
	if (f == NULL || fprintf(f, "udfctl-scrub %s %" PRIu32 "\n", id,
				 scrub->next) < 0) {
		ret = -errno;
	}
	if (f != NULL && fclose(f) != 0) {
		ret = -errno;
	}
	if (ret == 0 && rename(name, scrub->state) != 0) {
		ret = -errno;
	}
	if (ret != 0) {
		fprintf(stderr, "udfctl: cannot keep the place in %s: %s\n",
			scrub->state, strerror(-ret));
	}
	free(name);
	return ret;
}

static double seconds_since(const struct timespec *begin)
{
	struct timespec now = {0};

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - begin->tv_sec) +
	       (double)(now.tv_nsec - begin->tv_nsec) / 1e9;
}

/* A step took some time and moved some bytes: leave others theirs. */
static void rest(const struct scrub *scrub, double took, uint64_t bytes)
{
	struct timespec pause = {0};
	double seconds = took;

	if (scrub->busy) {
		return;
	}
	if (scrub->rate > 0) {
		seconds = (double)bytes / 1048576.0 / scrub->rate - took;
	}
	if (seconds <= 0) {
		return;
	}
	pause.tv_sec = (time_t)seconds;
	pause.tv_nsec = (long)((seconds - (double)pause.tv_sec) * 1e9);
	(void)nanosleep(&pause, NULL);
}

static int run(struct scrub *scrub)
{
	const struct udfctl_geometry *geometry = scrub->geometry;
	bool cure = scrub->cure && geometry->defect_managed;
	struct timespec saved = {0};
	int ret = 0;

	clock_gettime(CLOCK_MONOTONIC, &saved);
	while (scrub->next < geometry->blocks && ret == 0 &&
	       !udfctl_interrupted()) {
		uint32_t count = geometry->blocks - scrub->next;
		struct timespec begin = {0};

		/* Not more than there is room for in the reply, if all of it
		 * is bad. */
		if (count > 256) {
			count = 256;
		}
		clock_gettime(CLOCK_MONOTONIC, &begin);
		ret = udfctl_volume_scrub(scrub->volume, scrub->next, count,
					  cure, scrub->slow_ms,
					  &scrub->result);
		if (ret != 0) {
			break;
		}
		scrub->next += count;
		scrub->read += count;
		udfctl_progress("scrub", scrub->next, geometry->blocks,
				geometry->block_size);
		rest(scrub, seconds_since(&begin),
		     (uint64_t)count * geometry->block_size);
		if (seconds_since(&saved) > 1) {
			clock_gettime(CLOCK_MONOTONIC, &saved);
			ret = save_state(scrub);
		}
	}
	udfctl_progress_end();
	return ret;
}

static void print_result(struct scrub *scrub)
{
	const struct udf_scrub_result *result = &scrub->result;
	const struct udfctl_geometry *geometry = scrub->geometry;
	struct udfctl_damage damage = {
		.json = scrub->json,
		.block_size = geometry->block_size,
	};
	int ret = 0;

	if (scrub->json) {
		printf("{\n");
		udfctl_json_string("label", geometry->label);
		udfctl_json_bool("complete", scrub->next == geometry->blocks);
		udfctl_json_number("blocks", geometry->blocks);
		udfctl_json_number("read", (int64_t)scrub->read);
		udfctl_json_number("next", scrub->next);
		udfctl_json_number("unreadable", (int64_t)result->bad.count);
		udfctl_json_number("retried", result->retried);
		udfctl_json_number("slow_packets", result->slow);
		udfctl_json_number("refreshed_packets", result->refreshed);
		udfctl_json_number("relocated_packets", result->relocated);
		udfctl_json_number("not_cured_packets", result->not_cured);
		udfctl_json_number("slowest_us",
				   (int64_t)(result->slowest_ns / 1000));
		printf("  \"damaged\": [");
	} else {
		printf("%-16s %" PRIu64 " of %u blocks\n", "read", scrub->read,
		       geometry->blocks);
		printf("%-16s %zu blocks\n", "unreadable", result->bad.count);
		printf("%-16s %u blocks\n", "retried", result->retried);
		printf("%-16s %u packets\n", "slow", result->slow);
		printf("%-16s %u packets\n", "written again",
		       result->refreshed);
		printf("%-16s %u packets\n", "relocated", result->relocated);
		if (result->not_cured > 0) {
			printf("%-16s %u packets: no good spare is left\n",
			       "not cured", result->not_cured);
		}
	}
	if (result->bad.count > 0) {
		ret = udfctl_volume_owners(scrub->volume, &result->bad,
					   udfctl_print_owner, &damage);
	}
	if (ret < 0) {
		fprintf(stderr, "udfctl: cannot name the files: %s\n",
			strerror(-ret));
	}
	if (scrub->json) {
		printf("%s]\n}\n", damage.any ? "\n  " : "");
	}
}

int udfctl_scrub(int argc, char **argv)
{
	struct scrub scrub = {.next = 0};
	bool interrupted = false;
	int status = parse(argc, argv, &scrub);
	int ret = 0;

	if (status >= 0) {
		return status;
	}
	ret = udfctl_volume_open(scrub.path, scrub.cure, &scrub.volume);
	if (ret != 0) {
		return udfctl_exit_status(ret);
	}
	scrub.geometry = udfctl_volume_geometry(scrub.volume);
	/* Of an image, the reads are ours; where it is refused, so be it. */
	(void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_IDLE);
	udfctl_catch_interrupt();
	load_state(&scrub);
	ret = run(&scrub);
	interrupted = udfctl_interrupted();
	if (ret != 0) {
		fprintf(stderr, "udfctl: %s: at block %u: %s\n", scrub.path,
			scrub.next, strerror(-ret));
		status = 1;
	} else {
		print_result(&scrub);
		status = scrub.result.bad.count > 0 ? 3 : 0;
	}
	if (ret == 0 && scrub.next < scrub.geometry->blocks) {
		status = interrupted && save_state(&scrub) == 0 ? 4 : 1;
	} else if (ret == 0 && scrub.state != NULL) {
		(void)unlink(scrub.state);
	}
	udf_block_list_free(&scrub.result.bad);
	ret = udfctl_volume_close(scrub.volume);
	return ret != 0 && status == 0 ? 1 : status;
}
