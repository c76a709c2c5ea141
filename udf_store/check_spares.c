/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Checking the spare packets that lie within the partition: all their blocks
 * have to be in the Non-Allocatable Space (UDF 2.60 2.2.11; spares.h says
 * why), or nobody's, so that they can be put there.
 */
#include <errno.h>
#include <stdlib.h>

#include "check_state.h"
#include "ecma167.h"

/* The blocks of one that are within the partition. */
struct udf_check_spare {
	struct udf_sparing_entry entry;
	struct udf_run part;
};

int udf_check_spares_begin(struct udf_check *check)
{
	struct udf_sparing_entry *entries = NULL;
	size_t bytes = (size_t)check->info->partition_blocks / 8 + 1;
	uint32_t count = 0;
	uint32_t i = 0;
	int ret = udf_volume_sparing_entries(check->volume, &entries, &count);

	if (ret == 0 && count > 0) {
		check->spares = calloc(count, sizeof(*check->spares));
		ret = check->spares == NULL ? -ENOMEM : 0;
	}
	for (i = 0; i < count && ret == 0; i++) {
		struct udf_run part = { .count = 0 };

		if (entries[i].original != UDF_SPARE_DEFECTIVE &&
		    udf_volume_spare_within(check->info, entries[i].mapped,
					    &part)) {
			check->spares[check->spare_count].entry = entries[i];
			check->spares[check->spare_count].part = part;
			check->spare_count++;
		}
	}
	free(entries);
	if (ret == 0 && check->spare_count > 0) {
		check->non_allocatable = calloc(1, bytes);
		ret = check->non_allocatable == NULL ? -ENOMEM : 0;
	}
	return ret;
}

void udf_check_spares_cover(struct udf_check *check, uint32_t lbn,
			    uint32_t count)
{
	uint32_t limit = check->info->partition_blocks;
	uint32_t i = 0;

	if (check->non_allocatable == NULL) {
		return;
	}
	for (i = 0; i < count && lbn + i < limit; i++) {
		udf_check_set_bit(check->non_allocatable, lbn + i);
	}
}

/* Are all its blocks in the Non-Allocatable Space? Has a file some of them? */
static void look(const struct udf_check *check,
		 const struct udf_check_spare *spare, bool *is_covered,
		 bool *is_others)
{
	uint32_t i = 0;

	*is_covered = true;
	*is_others = false;
	for (i = 0; i < spare->part.count; i++) {
		uint32_t lbn = spare->part.lbn + i;
		bool covered = udf_check_bit(check->non_allocatable, lbn);

		*is_covered = *is_covered && covered;
		if (!covered && udf_check_bit(check->used, lbn)) {
			*is_others = true;
		}
	}
}

void udf_check_spares(struct udf_check *check)
{
	uint32_t i = 0;

	for (i = 0; i < check->spare_count; i++) {
		const struct udf_check_spare *spare = &check->spares[i];
		bool in_use = spare->entry.original != UDF_SPARE_FREE;
		bool is_covered = false;
		bool is_others = false;

		look(check, spare, &is_covered, &is_others);
		if (is_covered) {
			/* What it shares is said for the file that it is. */
			continue;
		}
		udf_check_found(check, UDF_FINDING_SPARING, UDF_FINDING_ERROR,
				NULL, spare->part.lbn,
				"the %s packet at block %u of the volume lies "
				"in the partition, but not in the "
				"Non-Allocatable Space%s",
				in_use ? "relocated" : "spare",
				spare->entry.mapped,
				is_others ? ": a file has blocks of it" : "");
		/* A mount does not use it, or puts what is free there. */
		if (!is_others || !in_use) {
			udf_check_recount(check);
		}
	}
}

void udf_check_spares_end(struct udf_check *check)
{
	free(check->spares);
	free(check->non_allocatable);
	check->spares = NULL;
	check->non_allocatable = NULL;
}
