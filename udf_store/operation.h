/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The frame around everything that changes the file system (fs.c, names.c).
 */
#ifndef UDF_STORE_OPERATION_H
#define UDF_STORE_OPERATION_H

#include <stdbool.h>

#include "state.h"

/*
 * Begin an operation: the volume's integrity descriptor says open from now
 * on; a commit takes no copy until the end. -EROFS, -EIO.
 */
int udf_operation_begin(struct udf_fs *fs);
void udf_operation_end(struct udf_fs *fs);

/*
 * After the end: release what nobody uses any more. When the operation found
 * no space, though a commit would free some or the metadata partition can
 * grow, have that done and say true, a few times at most: the caller does it
 * again. *tries is 0 the first time.
 */
bool udf_operation_again(struct udf_fs *fs, int result, unsigned int *tries);

/* Release the blocks of nodes that ended; in no operation. */
void udf_operation_reap(struct udf_fs *fs);

/* Add to the counts of the integrity descriptor. */
void udf_count_nodes(struct udf_fs *fs, int files, int directories);

#endif /* UDF_STORE_OPERATION_H */
