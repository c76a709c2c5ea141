/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Spare packets that lie within the partition: see spares.h.
 */
#include <errno.h>
#include <stdlib.h>

#include "non_allocatable.h"
#include "spares.h"

/* Is each of the blocks free, or one of the runs? */
static int is_nobodys(struct udf_fs *fs, const struct udf_run_list *runs,
		      const struct udf_run *part, bool *nobodys)
{
	uint8_t *is_free = malloc(part->count);
	int ret = -ENOMEM;

	*nobodys = true;
	if (is_free != NULL) {
		ret = udf_space_look(&fs->space, part->lbn, part->count,
				     is_free);
	}
	for (uint32_t i = 0; ret == 0 && i < part->count; i++) {
		if (!is_free[i] &&
		    udf_run_list_mask(runs, part->lbn + i, 1) == 0) {
			*nobodys = false;
			break;
		}
	}
	free(is_free);
	return ret;
}

/* Blocks that are free are taken when the others are nobody's. */
static int judge_one(struct udf_fs *fs, const struct udf_sparing_entry *entry,
		     const struct udf_run_list *runs, bool *good)
{
	struct udf_run part = { .count = 0 };
	int ret = 0;

	*good = true;
	if (entry->original == UDF_SPARE_DEFECTIVE ||
	    !udf_volume_spare_within(fs->info, entry->mapped, &part)) {
		return 0;
	}
	ret = is_nobodys(fs, runs, &part, good);
	if (ret == 0 && *good) {
		udf_space_withhold(&fs->space, part.lbn, part.count);
	}
	return ret;
}

static void refuse_volume(struct udf_fs *fs,
			  const struct udf_sparing_entry *entry)
{
	udf_volume_log(fs->volume, UDF_LOG_ERROR,
		       "mounting read-only: packet %u is relocated to block %u "
		       "of the volume, which is in the partition, but not in "
		       "the Non-Allocatable Space, and may be a file's; copy "
		       "the files to another volume",
		       entry->original, entry->mapped);
	fs->read_only = true;
}

static int judge_all(struct udf_fs *fs, const struct udf_sparing_entry *entries,
		     uint32_t count, const struct udf_run_list *runs,
		     bool recovered)
{
	uint32_t refused = 0;
	uint32_t first = 0;
	int ret = 0;

	for (uint32_t i = 0; i < count && ret == 0; i++) {
		bool good = true;

		ret = judge_one(fs, &entries[i], runs, &good);
		if (ret < 0 || good) {
			continue;
		}
		if (entries[i].original != UDF_SPARE_FREE) {
			refuse_volume(fs, &entries[i]);
			return 0;
		}
		ret = udf_volume_refuse_spare(fs->volume, entries[i].mapped,
					      recovered);
		first = refused == 0 ? entries[i].mapped : first;
		refused++;
	}
	if (refused > 0) {
		udf_volume_log(fs->volume, UDF_LOG_WARNING,
			       "defect event=spares-refused spares=%u "
			       "block=%u: they are in the partition, but not "
			       "in the Non-Allocatable Space, and may be a "
			       "file's",
			       refused, first);
	}
	return ret;
}

static bool any_within(const struct udf_volume_info *info,
		       const struct udf_sparing_entry *entries, uint32_t count)
{
	struct udf_run part = { .count = 0 };

	for (uint32_t i = 0; i < count; i++) {
		if (entries[i].original != UDF_SPARE_DEFECTIVE &&
		    udf_volume_spare_within(info, entries[i].mapped, &part)) {
			return true;
		}
	}
	return false;
}

int udf_spares_judge(struct udf_fs *fs, bool recovered)
{
	struct udf_run_list runs = { .runs = NULL };
	struct udf_sparing_entry *entries = NULL;
	uint32_t count = 0;
	int ret = udf_volume_sparing_entries(fs->volume, &entries, &count);

	if (ret == 0 && any_within(fs->info, entries, count)) {
		ret = udf_non_allocatable_runs(fs, &runs);
		if (ret == 0) {
			ret = judge_all(fs, entries, count, &runs, recovered);
		}
	}
	udf_run_list_free(&runs);
	free(entries);
	return ret;
}
