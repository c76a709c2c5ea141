/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Named streams (ECMA-167 4/9.2, UDF 3.3.5): a file or directory can have a
 * stream directory, whose names lead to streams, which are files without
 * names of their own. Both take their unique id from the file (UDF 3.2.1.1).
 *
 * The caller holds the lock of the file's node, for writing where a function
 * changes something, and is in an operation then. Locks of the stream
 * directory and the stream are taken below it, in this order.
 *
 * A stream's value is replaced whole: after a power cut it is the old or the
 * new one.
 */
#ifndef UDF_STORE_STREAM_H
#define UDF_STORE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "node.h"

/* Can files of this volume have streams? From UDF 2.00 on. */
bool udf_stream_supported(const struct udf_fs *fs);

/*
 * Bytes of a stream, copied to value as far as size reaches; with size 0 the
 * length alone. -ENODATA: no such stream; -EIO, -EUCLEAN.
 */
ssize_t udf_stream_get(struct udf_node *node, const char *name, void *value,
		       size_t size);

/*
 * Give a stream a value. flags: XATTR_CREATE, the name must be new (-EEXIST);
 * XATTR_REPLACE, it must be there (-ENODATA); 0. -EPERM: a stream that is the
 * volume's own; -EROFS; -ENAMETOOLONG, -EILSEQ, -ENOSPC, -EIO.
 */
int udf_stream_set(struct udf_node *node, const char *name, const void *value,
		   size_t size, int flags);

/* Remove a stream. -ENODATA, -EPERM, -EROFS. */
int udf_stream_remove(struct udf_node *node, const char *name);

/*
 * Call visit for each stream that is not the volume's own. Stops when it
 * returns non-zero, which is passed on.
 */
typedef int (*udf_stream_visit_fn)(void *private_data, const char *name);
int udf_stream_each(struct udf_node *node, udf_stream_visit_fn visit,
		    void *private_data);

#endif /* UDF_STORE_STREAM_H */
