/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The control code of bench/raw_store.c: how its client asks for stores.
 */
#ifndef BENCH_RAW_STORE_H
#define BENCH_RAW_STORE_H

#include "fsctl_udf.h"

/*
 * Store one record over and over. No output; a status that is an error says
 * that a store failed, NT_STATUS_NOT_SUPPORTED that the server keeps no
 * single records on disk.
 */
#define RAW_STORE_FSCTL UDF_CTL_CODE(0x8F0u, UDF_FILE_ANY_ACCESS)

/* Its input: two u32, little-endian. */
#define RAW_STORE_BYTES_OFFSET 0 /* of the record */
#define RAW_STORE_COUNT_OFFSET 4 /* how many times */
#define RAW_STORE_INPUT_LEN 8

#define RAW_STORE_MAX_BYTES 65536u

#endif /* BENCH_RAW_STORE_H */
