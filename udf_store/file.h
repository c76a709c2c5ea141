/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The bytes of a file: reading, writing, truncating, holes.
 *
 * The caller holds the node's lock (for reading, or for writing where the
 * function changes the node) and, for changes, is inside an operation and
 * calls udf_commit_dirty() after it.
 */
#ifndef UDF_STORE_FILE_H
#define UDF_STORE_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "node.h"

/* Bytes read (less than size at the end of the file), or a negative errno. */
ssize_t udf_file_read(struct udf_node *node, uint64_t offset, size_t size,
		      void *buf);

/*
 * Bytes written, less than size when an error stopped it behind them; or a
 * negative errno: -EFBIG, -ENOSPC, -EIO. A gap before offset becomes a hole.
 */
ssize_t udf_file_write(struct udf_node *node, uint64_t offset, size_t size,
		       const void *buf);

/* Cut, or extend with a hole. */
int udf_file_truncate(struct udf_node *node, uint64_t size);

/*
 * fallocate(2): mode is 0, FALLOC_FL_KEEP_SIZE, one of these with
 * FALLOC_FL_ZERO_RANGE, or FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE; offset
 * and length in bytes. Blocks are taken as "allocated but not recorded", a
 * hole is "not allocated" (ECMA-167 4/14.14.1.1). -EINVAL: an empty range;
 * -EOPNOTSUPP: another mode, or behind the end of the file and not next to
 * what it has; -EFBIG, -ENOSPC, -EIO.
 */
int udf_file_allocate(struct udf_node *node, int mode, uint64_t offset,
		      uint64_t length);

/*
 * Move embedded data to blocks. Its size stays; the blocks are written but
 * for a directory, which writes them itself.
 */
int udf_file_unembed(struct udf_node *node);

/*
 * Make the map reach blocks; the new ones are taken but not written. It is
 * for directories: nothing else may see such blocks.
 */
int udf_file_extend(struct udf_node *node, uint64_t blocks);

/*
 * Where the next data at or after offset begins (whence SEEK_DATA), or the
 * next hole (SEEK_HOLE). -ENXIO: none.
 */
off_t udf_file_seek(struct udf_node *node, uint64_t offset, int whence);

#endif /* UDF_STORE_FILE_H */
