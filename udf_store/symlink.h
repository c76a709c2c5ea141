/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The target of a symbolic link as path components (ECMA-167 4/14.16).
 * Pure bytes; no I/O.
 */
#ifndef UDF_STORE_SYMLINK_H
#define UDF_STORE_SYMLINK_H

#include <stddef.h>
#include <stdint.h>

/*
 * A path to path components. Empty components and a slash at the end are
 * lost: UDF cannot say them. Returns bytes; -ENAMETOOLONG; -EILSEQ; -ENOENT
 * for the empty path.
 */
int udf_symlink_encode(const char *target, uint8_t *buf, size_t len);

/* The other way. Returns bytes without the NUL; -EUCLEAN; -ENAMETOOLONG. */
int udf_symlink_decode(const uint8_t *buf, size_t len, char *target,
		       size_t target_len);

#endif /* UDF_STORE_SYMLINK_H */
