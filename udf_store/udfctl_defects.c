/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * udfctl defects: which parts of which files cannot be read, or would be hit
 * by a bad region. It only looks.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "udfctl.h"
#include "udfctl_answer.h"
#include "udfctl_volume.h"

/* Not more than the reply of one ioctl has room for, if all of it is bad. */
#define STEP_BLOCKS 256u
#define MAP_BLOCKS 8192u
/* Blocks that --blocks may name. */
#define REGION_MAX (1u << 24)

struct look {
	struct udfctl_volume *volume;
	const struct udfctl_geometry *geometry;
	struct udf_scrub_result result;
};

/* Read a run of blocks. */
static int read_run(struct look *look, uint32_t lbn, uint64_t count)
{
	int ret = 0;

	while (count > 0 && ret == 0) {
		uint32_t part = count < STEP_BLOCKS ? (uint32_t)count
						    : STEP_BLOCKS;

		if (udfctl_interrupted()) {
			return -EINTR;
		}
		ret = udfctl_volume_scrub(look->volume, lbn, part, false, 0,
					  &look->result);
		lbn += part;
		count -= part;
	}
	return ret;
}

/* The blocks of one file. -EISDIR: it is none. */
static int read_file(struct look *look)
{
	struct udf_extent *extents = NULL;
	size_t count = 0;
	size_t i = 0;
	int ret = udfctl_volume_file_extents(look->volume, &extents, &count);

	for (i = 0; i < count && ret == 0; i++) {
		if (extents[i].type == UDF_EXTENT_RECORDED) {
			ret = read_run(look, extents[i].lbn, extents[i].count);
		}
		udfctl_progress("look", i + 1, count, 0);
	}
	udfctl_progress_end();
	free(extents);
	return ret;
}

/* All blocks in use. */
static int read_volume(struct look *look)
{
	uint32_t blocks = look->geometry->blocks;
	uint8_t states[MAP_BLOCKS];
	uint32_t done = 0;
	int ret = 0;

	while (done < blocks && ret == 0) {
		uint32_t count = blocks - done;
		uint32_t i = 0;

		if (count > MAP_BLOCKS) {
			count = MAP_BLOCKS;
		}
		ret = udfctl_volume_map(look->volume, done, count, states);
		while (i < count && ret == 0) {
			uint32_t run = 0;

			while (i + run < count && run < STEP_BLOCKS &&
			       (states[i + run] == UDF_BLOCK_USED ||
				states[i + run] == UDF_BLOCK_RELOCATED)) {
				run++;
			}
			ret = read_run(look, done + i, run);
			i += run > 0 ? run : 1;
			udfctl_progress("look", done + i, blocks,
					look->geometry->block_size);
		}
		done += count;
	}
	udfctl_progress_end();
	return ret;
}

/* FIRST or FIRST-LAST. */
static bool parse_region(const char *text, struct udf_block_list *list)
{
	unsigned long first = 0;
	unsigned long last = 0;
	char *end = NULL;

	first = strtoul(text, &end, 10);
	last = first;
	if (*end == '-') {
		last = strtoul(end + 1, &end, 10);
	}
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || last < first ||
	    last >= UINT32_MAX || last - first >= REGION_MAX) {
		fprintf(stderr,
			"udfctl: --blocks takes FIRST or FIRST-LAST, not "
			"'%s'\n",
			text);
		return false;
	}
	for (; first <= last; first++) {
		if (udf_block_list_add(list, (uint32_t)first) != 0) {
			fprintf(stderr, "udfctl: out of memory\n");
			return false;
		}
	}
	return true;
}

static void usage(FILE *f)
{
	fprintf(f,
		"usage: udfctl defects PATH [--blocks FIRST[-LAST]] [--json]\n"
		"\n"
		"Reads what is in use from the medium and names the files whose "
		"parts cannot be\n"
		"read or were lost when their packet was relocated. PATH as a "
		"file on a mount of\n"
		"udfd: that file alone.\n"
		"\n"
		"  --blocks FIRST[-LAST]  name the files that have these blocks "
		"of the\n"
		"                         partition, without reading them\n"
		"  --json                 print JSON\n"
		"\n"
		"Exit status: 0, nothing is damaged; 1, it cannot be done; 2, "
		"wrong usage; 3,\n"
		"something is.\n");
}

static int report(struct look *look, bool json)
{
	const struct udf_block_list *bad = &look->result.bad;
	struct udfctl_damage damage = {
		.json = json,
		.block_size = look->geometry->block_size,
	};
	int ret = 0;

	if (json) {
		printf("{\n");
		udfctl_json_string("label", look->geometry->label);
		udfctl_json_number("blocks", (int64_t)bad->count);
		printf("  \"files\": [");
	}
	if (bad->count > 0) {
		ret = udfctl_volume_owners(look->volume, bad,
					   udfctl_print_owner, &damage);
	}
	if (json) {
		printf("%s]\n}\n", damage.any ? "\n  " : "");
	} else if (bad->count == 0) {
		printf("nothing is damaged\n");
	} else if (ret == 0 && damage.named == 0) {
		printf("%zu blocks, but no file has them\n", bad->count);
	}
	return ret;
}

int udfctl_defects(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{"blocks", required_argument, NULL, 'b'},
		{NULL, 0, NULL, 0},
	};
	struct look look = {.volume = NULL};
	bool has_region = false;
	bool json = false;
	bool found = false;
	int ret = 0;
	int c = 0;

	optind = 0;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'j':
			json = true;
			break;
		case 'b':
			has_region = true;
			if (!parse_region(optarg, &look.result.bad)) {
				return 2;
			}
			break;
		case 'h':
			usage(stdout);
			return 0;
		default:
			fprintf(stderr, "Try udfctl defects --help.\n");
			return 2;
		}
	}
	if (argc - optind != 1) {
		fprintf(stderr, "udfctl: defects takes one PATH\n");
		return 2;
	}
	ret = udfctl_volume_open(argv[optind], false, &look.volume);
	if (ret != 0) {
		return udfctl_exit_status(ret);
	}
	look.geometry = udfctl_volume_geometry(look.volume);
	udfctl_catch_interrupt();
	if (!has_region) {
		ret = read_file(&look);
		if (ret == -EISDIR) {
			ret = read_volume(&look);
		}
	}
	if (ret == 0) {
		ret = report(&look, json);
	}
	if (ret != 0) {
		fprintf(stderr, "udfctl: %s: %s\n", argv[optind],
			strerror(-ret));
	}
	found = look.result.bad.count > 0;
	udf_block_list_free(&look.result.bad);
	(void)udfctl_volume_close(look.volume);
	if (ret != 0) {
		return 1;
	}
	return found && !has_region ? 3 : 0;
}
