/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The suites under "udf". Each function makes its suite on ctx and returns
 * it, NULL when out of memory.
 */
#ifndef SMBTORTURE_TESTS_SUITES_H
#define SMBTORTURE_TESTS_SUITES_H

struct torture_suite *udf_defect_suite(TALLOC_CTX *ctx);
struct torture_suite *udf_failover_suite(TALLOC_CTX *ctx);
struct torture_suite *udf_sparing_suite(TALLOC_CTX *ctx);
struct torture_suite *udf_volinfo_suite(TALLOC_CTX *ctx);
/* The counter, and operations that need no mapping. */
struct torture_suite *udf_purge_suite(TALLOC_CTX *ctx);
/* What a real mapping makes fail or wait; part of udf.purge. */
struct torture_suite *udf_purge_mapped_suite(TALLOC_CTX *ctx);
/* Each operation, bracket's state and actor; part of udf.purge. */
struct torture_suite *udf_purge_cells_suite(TALLOC_CTX *ctx);
/* A session of several connections, one is lost; part of udf.purge. */
struct torture_suite *udf_purge_channels_suite(TALLOC_CTX *ctx);
/* Compounded requests; part of udf.purge. */
struct torture_suite *udf_purge_compound_suite(TALLOC_CTX *ctx);
/* A session whose Kerberos ticket expires; part of udf.purge. */
struct torture_suite *udf_purge_expiry_suite(TALLOC_CTX *ctx);
/* A session that is authenticated again, or ends; part of udf.purge. */
struct torture_suite *udf_purge_sessions_suite(TALLOC_CTX *ctx);
/* What a count outlives; part of udf.purge. */
struct torture_suite *udf_purge_life_suite(TALLOC_CTX *ctx);

#endif /* SMBTORTURE_TESTS_SUITES_H */
