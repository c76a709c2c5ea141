/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The metadata partition gets longer when it is full (UDF 2.60 2.2.10): the
 * metadata file, and its mirror where that has blocks of its own, get a run of
 * blocks from the partition, and the metadata bitmap a new place.
 *
 * It is part of a commit. Its first step writes both bitmaps, the second the
 * ICBs of the three files; only when all is on the medium are the new blocks
 * used. So after a cut the files may be of different lengths, but nothing is
 * in what not all of them have: the next mount lets it go.
 */
#ifndef UDF_STORE_METADATA_GROWTH_H
#define UDF_STORE_METADATA_GROWTH_H

#include <stdbool.h>

#include "state.h"

/*
 * Was a block of metadata asked for in vain, so that the partition should
 * grow?
 */
bool udf_metadata_is_short(struct udf_fs *fs);

/*
 * Let there be room behind the metadata file and its mirror, if there is a
 * metadata partition: for a mount that is to write, and after each growth.
 */
void udf_metadata_keep_room(struct udf_fs *fs);

/*
 * Let it grow, and commit. In no operation. -ENOSPC: there is no room, which
 * the log says once; or the error of the commit.
 */
int udf_metadata_grow(struct udf_fs *fs);

#endif /* UDF_STORE_METADATA_GROWTH_H */
