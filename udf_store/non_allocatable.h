/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Bad packets that no spare is left for: their blocks go to the volume's
 * Non-Allocatable Space (UDF 2.3.13), and data that was to go there goes
 * elsewhere.
 *
 * That space is a file without a name for programs: until UDF 1.50 in the
 * root directory, later a stream of the system stream directory. It has the
 * blocks as extents that are allocated and not recorded, behind its end.
 */
#ifndef UDF_STORE_NON_ALLOCATABLE_H
#define UDF_STORE_NON_ALLOCATABLE_H

#include <stdbool.h>

#include "state.h"

/*
 * Give what udf_space_withhold() and the end of commits held back to the
 * Non-Allocatable Space. Called before a commit's snapshot, while no
 * operation is running. Without such a file, or without space for it, the
 * blocks stay taken until the volume is recovered; a log line says so.
 */
void udf_non_allocatable_record(struct udf_fs *fs);

/*
 * After a commit failed: take the free blocks of bad packets out of use, and
 * move the data of files and directories that no spare could take to other
 * blocks. Called while no operation is running. True: something was moved, so
 * the commit may succeed now.
 */
bool udf_non_allocatable_evacuate(struct udf_fs *fs);

/*
 * All blocks of the Non-Allocatable Space, sorted. Empty if the volume has no
 * such file. -EUCLEAN, -EIO, -ENOMEM.
 */
int udf_non_allocatable_runs(struct udf_fs *fs, struct udf_run_list *runs);

#endif /* UDF_STORE_NON_ALLOCATABLE_H */
