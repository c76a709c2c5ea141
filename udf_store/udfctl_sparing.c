/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * udfctl sparing: the spare packets, and what was relocated.
 */
#include <stdio.h>

#include "udfctl.h"
#include "udfctl_answer.h"
#include "udfctl_facts.h"

static bool is_special(const struct udf_sparing_entry *entry)
{
	return entry->original >= UDF_SPARE_DEFECTIVE;
}

static void print_sparing_json(const struct udfctl_facts *facts)
{
	const char *comma = "";
	uint32_t i = 0;

	printf("{\n");
	udfctl_json_bool("sparable", facts->sparable);
	udfctl_json_bool("mounted", facts->mounted);
	if (facts->mounted) {
		udfctl_json_bool("defect_managed", facts->defect_managed);
	}
	udfctl_json_number("packet_bytes", facts->packet_bytes);
	udfctl_json_number("packet_blocks", facts->packet_blocks);
	udfctl_json_number("total_spare_blocks", facts->total_spare_blocks);
	udfctl_json_number("free_spare_blocks", facts->free_spare_blocks);
	udfctl_json_number("table_copies", facts->copies);
	printf("  \"relocated\": [");
	for (i = 0; i < facts->entry_count; i++) {
		const struct udf_sparing_entry *entry =
			&facts->entries[i];

		if (is_special(entry)) {
			continue;
		}
		printf("%s{\"original\": %u, \"mapped\": %u}", comma,
		       entry->original, entry->mapped);
		comma = ", ";
	}
	printf("],\n  \"defective\": [");
	comma = "";
	for (i = 0; i < facts->entry_count; i++) {
		const struct udf_sparing_entry *entry =
			&facts->entries[i];

		if (entry->original != UDF_SPARE_DEFECTIVE) {
			continue;
		}
		printf("%s%u", comma, entry->mapped);
		comma = ", ";
	}
	printf("],\n");
	printf("  \"table_sequence\": %u\n}\n", facts->sequence);
}

static void print_sparing(const struct udfctl_facts *facts)
{
	uint32_t i = 0;

	if (!facts->sparable) {
		printf("the volume is not sparable: it has no spare packets\n");
		return;
	}
	printf("%-16s %u blocks, %u bytes\n", "packet", facts->packet_blocks,
	       facts->packet_bytes);
	printf("%-16s %u blocks\n", "spares", facts->total_spare_blocks);
	printf("%-16s %u blocks\n", "free", facts->free_spare_blocks);
	printf("%-16s %u copies, sequence %u\n", "table", facts->copies,
	       facts->sequence);
	if (facts->mounted) {
		printf("%-16s %s\n", "management",
		       facts->defect_managed ? "on" : "off");
	}
	for (i = 0; i < facts->entry_count; i++) {
		const struct udf_sparing_entry *entry = &facts->entries[i];

		if (entry->original == UDF_SPARE_DEFECTIVE) {
			printf("%-16s spare at block %u of the volume\n",
			       "defective", entry->mapped);
		} else if (!is_special(entry)) {
			printf("%-16s packet at block %u of the partition, "
			       "now at block %u of the volume\n",
			       "relocated", entry->original, entry->mapped);
		}
	}
}

int udfctl_sparing(int argc, char **argv)
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
		print_sparing_json(&facts);
	} else {
		print_sparing(&facts);
	}
	udfctl_facts_free(&facts);
	return 0;
}
