/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The rounds of a repair, and its first and last stage; see repair.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blockdev.h"
#include "fs.h"
#include "repair.h"

/* Behind what a stage puts right there may be more, so that errors do not get
 * fewer each time; but so often in a row they should. */
#define VAIN_MAX 2u
#define ROUNDS_MAX 100u

enum stage {
	STAGE_COPIES,
	STAGE_BEGIN,
	STAGE_APART,
	STAGE_ORPHANS,
	STAGE_TREE,
	STAGE_RECOUNT,
	STAGES,
};

struct repair {
	const char *path;
	const struct udf_repair_options *options;
	struct udf_check_summary *summary;
	/* Errors when a stage was begun the last time. */
	uint64_t errors[STAGES];
	unsigned int vain[STAGES]; /* times since they got fewer */
};

static enum stage stage_of(const struct udf_repair_step *step)
{
	switch (step->action) {
	case UDF_REPAIR_BLOCK:
	case UDF_REPAIR_SPARING:
	case UDF_REPAIR_MIRROR:
		return STAGE_COPIES;
	case UDF_REPAIR_WRITE:
		return STAGE_BEGIN;
	case UDF_REPAIR_COPY:
		return STAGE_APART;
	case UDF_REPAIR_RECONNECT:
		return STAGE_ORPHANS;
	case UDF_REPAIR_RECOUNT:
		return STAGE_RECOUNT;
	default:
		break;
	}
	return step->of_orphan ? STAGE_ORPHANS : STAGE_TREE;
}

static void tell(const struct repair *repair,
		 const struct udf_repair_step *step, int error)
{
	repair->options->did(repair->options->private_data, step, error);
}

static bool is_stopped(const struct repair *repair)
{
	const struct udf_repair_options *options = repair->options;

	return options->stop != NULL && options->stop(options->private_data);
}

static void no_finding(void *private_data, const struct udf_finding *finding)
{
	(void)private_data;
	(void)finding;
}

static void no_log(void *private_data, enum udf_log_level level,
		   const char *line)
{
	(void)private_data;
	(void)level;
	(void)line;
}

static int check(struct repair *repair, struct udf_repair_plan *plan)
{
	const struct udf_repair_options *options = repair->options;
	const struct udf_check_options check_options = {
		.found = no_finding,
		.progress = options->progress,
		.searched = options->searched,
		.stop = options->stop,
		.private_data = options->private_data,
		/* The check before the repair has said it. */
		.log = no_log,
		.plan = plan,
	};

	return udf_check(repair->path, &check_options, repair->summary);
}

/* One block to the medium, and is it there? */
static int write_block(struct udf_blockdev *dev, uint32_t block_size,
		       const struct udf_repair_step *step)
{
	uint64_t offset = (uint64_t)step->lbn * block_size;
	uint8_t *written = udf_blockdev_alloc(block_size);
	uint8_t *back = udf_blockdev_alloc(block_size);
	int ret = -ENOMEM;

	if (written != NULL && back != NULL) {
		memcpy(written, step->bytes, block_size);
		ret = udf_blockdev_write_medium(dev, offset, written,
						block_size);
	}
	if (ret == 0) {
		ret = udf_blockdev_flush(dev);
	}
	if (ret == 0) {
		ret = udf_blockdev_read_medium(dev, offset, back, block_size);
	}
	if (ret == 0 && memcmp(written, back, block_size) != 0) {
		ret = -EIO;
	}
	free(written);
	free(back);
	return ret;
}

static struct udf_volume_options volume_options(const struct repair *repair)
{
	return (struct udf_volume_options){
		.repair = true,
		.log = repair->options->log,
		.log_private = repair->options->log_private,
	};
}

/* An open for writing writes the newest sparing table over the others. */
static int write_sparing(const struct repair *repair)
{
	const struct udf_volume_options options = volume_options(repair);
	struct udf_volume *volume = NULL;
	bool read_only = false;
	int ret = udf_volume_open(repair->path, &options, &volume);

	if (ret < 0) {
		return ret;
	}
	read_only = udf_volume_info(volume)->read_only;
	ret = udf_volume_close(volume);
	return ret == 0 && read_only ? -EROFS : ret;
}

/* Each block of the metadata file and of its mirror from the other one. */
static int write_mirror(const struct repair *repair)
{
	const struct udf_volume_options options = volume_options(repair);
	struct udf_volume *volume = NULL;
	uint8_t *all = NULL;
	uint32_t differ = 0;
	size_t size = 0;
	int close_ret = 0;
	int ret = udf_volume_open(repair->path, &options, &volume);

	if (ret < 0) {
		return ret;
	}
	size = (size_t)udf_volume_info(volume)->mapped_blocks / 8 + 1;
	all = malloc(size);
	if (all == NULL) {
		ret = -ENOMEM;
	} else if (udf_volume_info(volume)->read_only) {
		ret = -EROFS;
	} else {
		memset(all, 0xFF, size);
		ret = udf_volume_metadata_compare(volume, all, true, &differ);
	}
	free(all);
	close_ret = udf_volume_close(volume);
	return ret < 0 ? ret : close_ret;
}

static int write_copies(struct repair *repair,
			const struct udf_repair_plan *plan)
{
	struct udf_blockdev *dev = NULL;
	size_t i = 0;
	int ret = 0;

	/* The table first: all others are found through it. */
	for (i = 0; i < plan->count; i++) {
		if (plan->steps[i].action == UDF_REPAIR_SPARING) {
			tell(repair, &plan->steps[i], write_sparing(repair));
		}
	}
	ret = udf_blockdev_open(repair->path, false, &dev);
	if (ret < 0) {
		return ret;
	}
	for (i = 0; i < plan->count && !is_stopped(repair); i++) {
		const struct udf_repair_step *step = &plan->steps[i];

		if (step->action == UDF_REPAIR_BLOCK) {
			tell(repair, step,
			     write_block(dev, repair->summary->block_size,
					 step));
		}
	}
	udf_blockdev_close(dev);
	/* Where it is, the descriptors say. */
	for (i = 0; i < plan->count && !is_stopped(repair); i++) {
		if (plan->steps[i].action == UDF_REPAIR_MIRROR) {
			tell(repair, &plan->steps[i], write_mirror(repair));
		}
	}
	return 0;
}

/* Blocks of the partition, each on the medium before the next. */
static int write_begin(struct repair *repair,
		       const struct udf_repair_plan *plan)
{
	const struct udf_volume_options options = volume_options(repair);
	struct udf_volume *volume = NULL;
	size_t i = 0;
	int ret = udf_volume_open(repair->path, &options, &volume);

	if (ret < 0) {
		return ret;
	}
	for (i = 0; i < plan->count && !is_stopped(repair); i++) {
		const struct udf_repair_step *step = &plan->steps[i];

		if (step->action == UDF_REPAIR_WRITE) {
			ret = udf_volume_write(volume, step->lbn, 1,
					       step->bytes, 0);
			if (ret == 0) {
				ret = udf_volume_sync(volume);
			}
			tell(repair, step, ret);
		}
	}
	return udf_volume_close(volume);
}

/* The steps of a stage on the mounted file system; names that go first. */
static int change_tree(struct repair *repair,
		       const struct udf_repair_plan *plan, enum stage stage)
{
	const struct udf_volume_options options = volume_options(repair);
	struct udf_fs *fs = NULL;
	size_t i = 0;
	int ret = udf_fs_mount(repair->path, &options, &fs);

	if (ret < 0) {
		return ret;
	}
	if (udf_fs_is_read_only(fs)) {
		(void)udf_fs_unmount(fs);
		return -EROFS;
	}
	for (i = 0; i < plan->count && !is_stopped(repair); i++) {
		const struct udf_repair_step *step = &plan->steps[i];

		if (stage_of(step) == stage && stage != STAGE_RECOUNT) {
			tell(repair, step, udf_repair_tree_step(fs, step));
		}
	}
	return udf_fs_unmount(fs);
}

/* Have the engine count everything anew, as after a crash. */
static int recount(const struct repair *repair)
{
	struct udf_volume_options options = volume_options(repair);
	struct udf_integrity integrity = { .closed = false };
	struct udf_volume *volume = NULL;
	struct udf_fs *fs = NULL;
	int ret = udf_volume_open(repair->path, &options, &volume);

	if (ret < 0) {
		return ret;
	}
	if (udf_volume_info(volume)->read_only) {
		(void)udf_volume_close(volume);
		return -EROFS;
	}
	udf_volume_get_integrity(volume, &integrity);
	/* Names that are there twice are not an interrupted commit's then. */
	options.keep_names = integrity.closed;
	integrity.closed = false;
	ret = udf_volume_put_integrity(volume, &integrity);
	if (ret < 0) {
		(void)udf_volume_close(volume);
		return ret;
	}
	ret = udf_volume_close(volume);
	if (ret < 0) {
		return ret;
	}
	options.repair = false;
	ret = udf_fs_mount(repair->path, &options, &fs);
	if (ret < 0) {
		return ret;
	}
	return udf_fs_unmount(fs);
}

static int recount_stage(struct repair *repair,
			 const struct udf_repair_plan *plan)
{
	size_t i = 0;
	int ret = 0;

	if (repair->summary->errors[UDF_FINDING_SPACE_FREE] > 0) {
		/* The bitmap may be none that a mount takes: mend it first. */
		ret = change_tree(repair, plan, STAGE_RECOUNT);
	}
	if (ret == 0) {
		ret = recount(repair);
	}
	for (i = 0; i < plan->count; i++) {
		if (plan->steps[i].action == UDF_REPAIR_RECOUNT) {
			tell(repair, &plan->steps[i], ret);
		}
	}
	return ret;
}

/* The first stage that has something to do; STAGES: none. */
static enum stage choose_stage(struct repair *repair,
			       const struct udf_repair_plan *plan)
{
	enum stage first = STAGES;
	size_t i = 0;

	for (i = 0; i < plan->count; i++) {
		enum stage stage = stage_of(&plan->steps[i]);

		if (stage < first && repair->vain[stage] < VAIN_MAX) {
			first = stage;
		}
	}
	return first;
}

static int run_stage(struct repair *repair, const struct udf_repair_plan *plan,
		     enum stage stage)
{
	switch (stage) {
	case STAGE_COPIES:
		return write_copies(repair, plan);
	case STAGE_BEGIN:
		return write_begin(repair, plan);
	case STAGE_RECOUNT:
		return recount_stage(repair, plan);
	default:
		return change_tree(repair, plan, stage);
	}
}

/* A check and a stage. 1: there may be more to do; 0: that was all. */
static int round_of_repair(struct repair *repair)
{
	struct udf_repair_plan plan = { .count = 0 };
	enum stage stage = STAGES;
	uint64_t errors = 0;
	int ret = check(repair, &plan);

	if (ret < 0) {
		goto out;
	}
	errors = udf_check_errors(repair->summary);
	if (errors == 0) {
		goto out;
	}
	stage = choose_stage(repair, &plan);
	if (stage == STAGES) {
		goto out;
	}
	if (repair->errors[stage] > 0 && errors >= repair->errors[stage]) {
		repair->vain[stage]++;
	} else {
		repair->vain[stage] = 0;
	}
	repair->errors[stage] = errors;
	ret = run_stage(repair, &plan, stage);
	if (ret == 0) {
		ret = is_stopped(repair) ? -ECANCELED : 1;
	}
out:
	udf_repair_plan_free(&plan);
	return ret;
}

int udf_repair(const char *path, const struct udf_repair_options *options,
	       struct udf_check_summary *summary)
{
	struct repair repair = {
		.path = path,
		.options = options,
		.summary = summary,
	};
	unsigned int rounds = 0;
	int ret = 1;

	while (ret > 0 && rounds < ROUNDS_MAX) {
		ret = round_of_repair(&repair);
		rounds++;
	}
	return ret < 0 ? ret : 0;
}
