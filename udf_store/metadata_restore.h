/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A file of the metadata partition whose ICB is lost is made anew at the
 * mount: the metadata file from its mirror or the other way round, in other
 * blocks where each has its own, and the bitmap from the tree (UDF 2.60
 * 2.2.13). What it had before is free, since nothing leads there.
 */
#ifndef UDF_STORE_METADATA_RESTORE_H
#define UDF_STORE_METADATA_RESTORE_H

#include <stdbool.h>

#include "state.h"

/* Is there something to do? Then the mount has to walk the tree. */
bool udf_metadata_is_lost(struct udf_fs *fs);

/*
 * Give new blocks to the files that need some, when both bitmaps are as the
 * tree says. used: the blocks of metadata in use, a bit for each. is_sure: the
 * whole tree could be read, and no block belongs to two. A repair goes by what
 * the bitmap has instead, which leads to all that was lost. When it cannot be
 * done the file system is read-only from now on, and the log says why. -ENOMEM.
 */
int udf_metadata_restore(struct udf_fs *fs, const uint8_t *used, bool is_sure);

/*
 * Have it on the medium. When it does not get there the file system is
 * read-only: what the mirror did not get would be lost with the next mount.
 */
void udf_metadata_save(struct udf_fs *fs);

#endif /* UDF_STORE_METADATA_RESTORE_H */
