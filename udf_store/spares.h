/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Spare packets that lie within the partition.
 *
 * UDF 2.60 2.2.11 allows them if they are marked as allocated and are in the
 * Non-Allocatable Space. One that is not can have blocks of a file: what is
 * written to the packet that is relocated there would go over that file, and
 * the other way round.
 */
#ifndef UDF_STORE_SPARES_H
#define UDF_STORE_SPARES_H

#include <stdbool.h>

#include "state.h"

/*
 * Look at the spares of a volume that is about to be written, with its space
 * as it is after a recovery. Blocks of them that are free are taken, for the
 * Non-Allocatable Space, if there is one. Of those that somebody else may
 * have, a free one is not used, for good if recovered says that the space is
 * counted from the tree; for one in use the mount becomes read-only. The log
 * says which.
 * -EIO, -ENOMEM.
 */
int udf_spares_judge(struct udf_fs *fs, bool recovered);

#endif /* UDF_STORE_SPARES_H */
