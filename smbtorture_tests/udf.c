/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The torture suite "udf" as a loadable module of the stock smbtorture: UDF's
 * four control codes over SMB2/3, for any server named on the command line.
 */
#include "includes.h"
#include "libcli/smb2/smb2.h"
#include "torture/smbtorture.h"

#include "suites.h"

NTSTATUS torture_udf_init(TALLOC_CTX *ctx);

NTSTATUS torture_udf_init(TALLOC_CTX *ctx)
{
	struct torture_suite *suite = NULL;
	bool ok;

	suite = torture_suite_create(ctx, "udf");
	if (suite == NULL) {
		return NT_STATUS_NO_MEMORY;
	}
	suite->description = talloc_strdup(suite, "UDF control codes");

	ok = torture_suite_add_suite(suite, udf_volinfo_suite(suite)) &&
	     torture_suite_add_suite(suite, udf_sparing_suite(suite)) &&
	     torture_suite_add_suite(suite, udf_defect_suite(suite)) &&
	     torture_suite_add_suite(suite, udf_purge_suite(suite)) &&
	     torture_suite_add_suite(suite, udf_failover_suite(suite));
	if (!ok) {
		return NT_STATUS_NO_MEMORY;
	}

	ok = torture_register_suite(ctx, suite);
	if (!ok) {
		return NT_STATUS_NO_MEMORY;
	}
	return NT_STATUS_OK;
}
