/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * udfctl info: what a volume says of itself.
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "udfctl.h"
#include "udfctl_answer.h"
#include "udfctl_facts.h"

static void format_time(const struct timespec *ts, char *text, size_t len)
{
	struct tm tm = {0};
	time_t seconds = ts->tv_sec;

	if (gmtime_r(&seconds, &tm) == NULL ||
	    strftime(text, len, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0) {
		text[0] = '\0';
	}
}

static void format_id(const struct udfctl_facts *facts, char *text)
{
	size_t i = 0;

	for (i = 0; i < UDF_VOLUME_ID_LEN; i++) {
		sprintf(text + 2 * i, "%02x", facts->volume_id[i]);
	}
}

static void format_revision(const struct udfctl_facts *facts, char *text,
			    size_t len)
{
	snprintf(text, len, "%x.%02x", facts->revision >> 8,
		 facts->revision & 0xFF);
}

static void print_counter(const char *name, uint64_t value, const char *comma)
{
	printf("    \"%s\": %" PRIu64 "%s\n", name, value, comma);
}

/* What was met since the mount. */
static void print_defects_json(const struct udfd_defect_info *defects)
{
	printf("  \"defects\": {\n");
	print_counter("verified_blocks", defects->verified_blocks, ",");
	print_counter("verify_failures", defects->suspect_packets, ",");
	print_counter("relocated_packets", defects->relocated_packets, ",");
	print_counter("unsaved_packets", defects->unsaved_packets, ",");
	print_counter("retries", defects->retries, ",");
	print_counter("unreadable_blocks", defects->unreadable_blocks, ",");
	print_counter("lost_blocks", defects->lost_blocks, ",");
	print_counter("bad_packets", defects->bad_packets, ",");
	print_counter("memory_limit", defects->memory_limit, ",");
	print_counter("memory_used", defects->memory_used, ",");
	print_counter("memory_most", defects->memory_most, ",");
	print_counter("memory_failed", defects->memory_failed, "");
	printf("  },\n");
}

static void print_info_json(const struct udfctl_facts *facts)
{
	char revision[16] = {0};
	char formatted[32] = {0};
	char updated[32] = {0};
	char id[2 * UDF_VOLUME_ID_LEN + 1] = {0};

	format_revision(facts, revision, sizeof(revision));
	format_time(&facts->formatted, formatted, sizeof(formatted));
	format_time(&facts->updated, updated, sizeof(updated));
	format_id(facts, id);

	printf("{\n");
	udfctl_json_bool("mounted", facts->mounted);
	udfctl_json_string("label", facts->label);
	udfctl_json_string("volume_id", id);
	udfctl_json_string("revision", revision);
	udfctl_json_bool("read_only", facts->read_only);
	udfctl_json_string("read_only_reason", facts->reason);
	if (!facts->mounted) {
		udfctl_json_bool("closed", facts->closed);
	} else {
		udfctl_json_bool("defect_managed", facts->defect_managed);
	}
	udfctl_json_number("block_size", facts->block_size);
	udfctl_json_number("total_blocks", (int64_t)facts->total_blocks);
	udfctl_json_number("free_blocks", facts->free_blocks);
	udfctl_json_number("directories", facts->directories);
	udfctl_json_number("files", facts->files);
	udfctl_json_string("format_time", formatted);
	udfctl_json_string("update_time", updated);
	udfctl_json_string("copyright", facts->copyright);
	udfctl_json_string("abstract", facts->abstract);
	udfctl_json_string("formatter", facts->formatter);
	udfctl_json_string("modifier", facts->modifier);
	udfctl_json_number("total_spare_blocks", facts->total_spare_blocks);
	udfctl_json_number("free_spare_blocks", facts->free_spare_blocks);
	if (facts->mounted) {
		print_defects_json(&facts->defects);
	}
	/* No comma after the last. */
	printf("  \"sparable\": %s\n}\n", facts->sparable ? "true" : "false");
}

static void print_count(const char *name, int64_t value)
{
	if (value < 0) {
		printf("%-16s unknown\n", name);
	} else {
		printf("%-16s %" PRId64 "\n", name, value);
	}
}

static void print_info(const struct udfctl_facts *facts)
{
	char revision[16] = {0};
	char formatted[32] = {0};
	char updated[32] = {0};
	char id[2 * UDF_VOLUME_ID_LEN + 1] = {0};
	const char *state = NULL;

	format_revision(facts, revision, sizeof(revision));
	format_time(&facts->formatted, formatted, sizeof(formatted));
	format_time(&facts->updated, updated, sizeof(updated));
	format_id(facts, id);

	if (facts->mounted) {
		state = facts->read_only ? "mounted read-only by udfd"
					 : "mounted by udfd";
	} else {
		state = facts->closed ? "closed" : "open (in use, or not "
						   "closed properly)";
	}
	printf("%-16s %s\n", "label", facts->label);
	printf("%-16s %s\n", "volume id", id);
	printf("%-16s %s\n", "UDF revision", revision);
	printf("%-16s %s\n", "state", state);
	if (facts->reason[0] != '\0') {
		printf("%-16s %s\n", "read-only", facts->reason);
	}
	printf("%-16s %u bytes\n", "block size", facts->block_size);
	print_count("blocks", (int64_t)facts->total_blocks);
	print_count("free blocks", facts->free_blocks);
	print_count("directories", facts->directories);
	print_count("files", facts->files);
	printf("%-16s %s\n", "formatted", formatted);
	printf("%-16s %s\n", "last changed", updated);
	printf("%-16s %s\n", "formatter", facts->formatter);
	printf("%-16s %s\n", "last writer", facts->modifier);
	if (facts->copyright[0] != '\0') {
		printf("%-16s %s\n", "copyright", facts->copyright);
	}
	if (facts->abstract[0] != '\0') {
		printf("%-16s %s\n", "abstract", facts->abstract);
	}
	if (facts->mounted && facts->defect_managed) {
		printf("%-16s %" PRIu64 " relocated, %" PRIu64
		       " without a spare, %" PRIu64 " blocks lost\n",
		       "bad packets", facts->defects.relocated_packets,
		       facts->defects.unsaved_packets,
		       facts->defects.lost_blocks);
	}
	if (facts->sparable) {
		printf("%-16s %u of %u blocks free\n", "spares",
		       facts->free_spare_blocks, facts->total_spare_blocks);
	} else {
		printf("%-16s none: the volume is not sparable\n", "spares");
	}
}

int udfctl_info(int argc, char **argv)
{
	struct udfctl_facts facts = {0};
	char *path = NULL;
	bool json = false;
	int ret = udfctl_path_arguments(argc, argv, &path, &json);

	if (ret >= 0) {
		return ret;
	}
	ret = udfctl_facts_gather(path, &facts);
	if (ret != 0) {
		return udfctl_exit_status(ret);
	}
	if (json) {
		print_info_json(&facts);
	} else {
		print_info(&facts);
	}
	udfctl_facts_free(&facts);
	return 0;
}
