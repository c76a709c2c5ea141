/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * After a volume was not closed: free space, counts, link counts and the next
 * unique id, from the tree of directories.
 */
#ifndef UDF_STORE_RECOVER_H
#define UDF_STORE_RECOVER_H

#include "state.h"

/*
 * Walk the tree and correct the file system in memory; the next commit writes
 * it. Not called when mounted read-only. -EIO and -EUCLEAN: the root itself
 * cannot be read; directories below it that cannot be read, or are damaged, only
 * make it more careful: what the bitmap says is in use stays so. For a repair (repair.h)
 * nothing but the bitmaps is corrected, and nothing becomes free.
 *
 * Of two FIDs of a name that a commit of ours can have left (commit.c) one
 * goes. When somebody else wrote the volume, or had closed it, both files stay,
 * one with a number behind its name.
 */
int udf_recover(struct udf_fs *fs);

#endif /* UDF_STORE_RECOVER_H */
