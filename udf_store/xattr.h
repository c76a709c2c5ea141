/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Which named stream an extended attribute of Linux is (docs/FORMAT.md):
 *
 *   user.DosStream.NAME:$DATA   the stream NAME. This is how Samba's
 *                               streams_xattr calls an alternate stream; it
 *                               puts a NUL byte behind its data, which the
 *                               stream does not have.
 *   user.*, security.*,         the stream of that name, byte for byte
 *   trusted.*
 *
 * A stream has one name of the two: NAME is no name of the first kind when it
 * begins like one of the second.
 */
#ifndef UDF_STORE_XATTR_H
#define UDF_STORE_XATTR_H

#include <stdbool.h>
#include <stddef.h>

#include "directory.h"

struct udf_xattr {
	char stream[UDF_SHOWN_NAME_MAX];
	bool alternate; /* of the first kind: with a NUL behind the value */
};

/*
 * The stream of an attribute. -EOPNOTSUPP: of a kind that is not kept;
 * -EINVAL: no name of a stream, or it has a '/'; -ERANGE: too long.
 */
int udf_xattr_parse(const char *name, struct udf_xattr *xattr);

/* Room for the attribute's name of any stream, with its NUL. */
#define UDF_XATTR_NAME_MAX (UDF_SHOWN_NAME_MAX + 24u)

/* The attribute of a stream. Returns the length without the NUL. */
size_t udf_xattr_name(const char *stream, char name[UDF_XATTR_NAME_MAX]);

#endif /* UDF_STORE_XATTR_H */
