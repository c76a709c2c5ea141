/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The NDR of a record, udf_open_state.idl's, read and written at fixed
 * offsets.
 *
 * Each counted FSCTL decodes a record and encodes it again, and NDR's general
 * code for that took longer than all the rest that the module does. What is in
 * the database is the same, byte for byte; a record that is anything but
 * ordinary is left to the general code, which knows what is wrong with it.
 */
#ifndef VFS_UDF_OPEN_RECORD_NDR_H
#define VFS_UDF_OPEN_RECORD_NDR_H

#include "includes.h"
#include "ndr_udf_open_state.h"

/* Is it a complete record of version 0, of the length its entries take? */
bool open_record_ndr_is_plain(DATA_BLOB raw);

/*
 * A record without opens. What so many opens and one more need, and what it
 * takes to encode them, is in one piece with it: it is made and freed for each
 * control code. NULL: no memory.
 */
struct udf_open_state0 *open_record_ndr_new(TALLOC_CTX *mem_ctx,
					    uint32_t num_opens);

/* Decode a plain record. NULL: no memory. */
struct udf_open_state0 *open_record_ndr_pull(TALLOC_CTX *mem_ctx,
					     DATA_BLOB raw);

/*
 * Encode a record; raw is a talloc child of mem_ctx. NT_STATUS_NO_MEMORY also
 * for one that is too long for a database.
 */
NTSTATUS open_record_ndr_push(TALLOC_CTX *mem_ctx,
			      const struct udf_open_state0 *record,
			      DATA_BLOB *raw);

#endif /* VFS_UDF_OPEN_RECORD_NDR_H */
