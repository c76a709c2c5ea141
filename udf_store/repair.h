/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Putting right what a check (check.h) finds, so that nothing that could be
 * read before is worse off, and so that it can be stopped anywhere.
 *
 * It goes in rounds: check, carry out the steps of the first stage that has
 * some, check again. The stages, in the order that makes each safe:
 *
 *   1. copies below the file system, from another copy: descriptors, anchors
 *      (or for what a search found, vds_search.c), sparing tables. Only blocks
 *      that hold nothing valid, or what is older, are written, one at a time.
 *   2. where the tree begins: a File Set Descriptor, a root or system stream
 *      directory that is damaged is made anew (check_rebuild.c).
 *   3. of files that have the same blocks all but one get a copy of them, so
 *      that none is changed with another. Before that, and before 4 and 5, the
 *      space bitmap learns of all that is in use (recover.c), and nothing
 *      becomes free.
 *   4. files that no name leads to get one.
 *   5. the tree: names that lead to nothing go, directories lose what is
 *      damaged, files end where their extents do. By now what such a name
 *      once led to is in lost+found.
 *   6. space, link counts and the integrity descriptor are counted anew; only
 *      now what nothing uses becomes free.
 *
 * A lost ICB of the metadata partition's files is made anew by the first of
 * these stages that mounts the volume (metadata_restore.h), from 3 on.
 *
 * Stages 3 to 6 are changes of a mounted file system, written as such
 * (commit.c), with the volume marked open: after a cut the same stage, or the
 * next mount, goes on. A file's content is never guessed at: what two files
 * have in the same blocks both have after it.
 *
 * Metadata that a volume keeps twice (UDF 2.2.13) is put right in stage 1: a
 * block that is not the same in the metadata file and in its mirror, or that
 * cannot be read from one of them, is written from the other. Which of the two
 * is right its tag and checksums, and those of FIDs in it, say; where both or
 * none of them are valid the
 * metadata file's prevails, as it is written first. So an ICB or a directory
 * that is damaged in one of the two is none that later stages give up.
 */
#ifndef UDF_STORE_REPAIR_H
#define UDF_STORE_REPAIR_H

#include <stdbool.h>
#include <stdint.h>

#include "check.h"
#include "repair_plan.h"

struct udf_fs;

struct udf_repair_options {
	/* A step was tried; error: 0, or a negative errno. */
	void (*did)(void *private_data, const struct udf_repair_step *step,
		    int error);
	/* As in udf_check_options; may be NULL. */
	void (*progress)(void *private_data, uint64_t directories,
			 uint64_t files);
	void (*searched)(void *private_data, uint64_t blocks, uint64_t of);
	bool (*stop)(void *private_data);
	void *private_data;
	udf_log_fn log;
	void *log_private;
};

/*
 * Repair the volume in an image or device that is not mounted. summary: what
 * is left, as the last check found it.
 *
 * 0: all was tried that can be. -EROFS: a volume that we cannot write.
 * -ECANCELED: stopped; it can be begun again. Errors of udf_check() and
 * udf_fs_mount(), of which a log line says more.
 */
int udf_repair(const char *path, const struct udf_repair_options *options,
	       struct udf_check_summary *summary);

/*
 * repair_tree.c: a step of stages 3 to 5 on a file system that was mounted for
 * repair; the next commit writes it. 0 also when there is nothing to do any
 * more.
 */
int udf_repair_tree_step(struct udf_fs *fs, const struct udf_repair_step *step);

#endif /* UDF_STORE_REPAIR_H */
