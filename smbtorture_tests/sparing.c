/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * udf.sparing: FSCTL_QUERY_SPARING_INFO (MS-FSA 2.1.5.10.26; MS-FSCC,
 * FSCTL_QUERY_SPARING_INFO Reply).
 */
#include "includes.h"
#include "libcli/smb2/smb2.h"
#include "libcli/smb2/smb2_calls.h"
#include "torture/torture.h"
#include "torture/smb2/proto.h"

#include "fsctl_udf.h"
#include "suites.h"
#include "util.h"

#define FNAME UDF_TEST_PATH("sparing.dat")

/* The smallest sector of any medium that UDF is on. */
#define SECTOR_BYTES 512u

static NTSTATUS query_sparing(struct smb2_tree *tree, TALLOC_CTX *mem_ctx,
			      struct smb2_handle handle, uint32_t max_output,
			      DATA_BLOB *output)
{
	return udf_fsctl(tree,
			 mem_ctx,
			 handle,
			 UDF_FSCTL_QUERY_SPARING_INFO,
			 data_blob_null,
			 max_output,
			 output);
}

/*
 * Open the share's root, any right of which will do, and see whether the
 * server answers the code. *reason says why not.
 */
static bool sparing_setup(struct torture_context *tctx, struct smb2_tree *tree,
			  struct smb2_handle *root, const char **reason)
{
	NTSTATUS status;

	*reason = NULL;
	status = udf_open(tree,
			  "",
			  SEC_FILE_READ_ATTRIBUTE,
			  NTCREATEX_DISP_OPEN,
			  0,
			  root);
	torture_assert_ntstatus_ok(tctx, status, "opening the share's root");

	status = query_sparing(tree, tctx, *root, UDF_QUERY_SPARING_LEN, NULL);
	if (udf_not_served(status)) {
		*reason = "FSCTL_QUERY_SPARING_INFO is not served here\n";
	}
	return true;
}

/* 16 bytes, whose fields make sense together. */
static bool test_values(struct torture_context *tctx, struct smb2_tree *tree)
{
	struct smb2_handle root = {{0}};
	DATA_BLOB output = data_blob_null;
	const char *reason = NULL;
	uint32_t unit, total, free_blocks;
	uint8_t software;
	bool ret = true;
	NTSTATUS status;

	if (!sparing_setup(tctx, tree, &root, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = query_sparing(
		tree, tctx, root, UDF_QUERY_SPARING_LEN, &output);
	UDF_OK(tctx, status, "QUERY_SPARING_INFO");
	torture_assert_u64_equal_goto(tctx,
				      output.length,
				      UDF_QUERY_SPARING_LEN,
				      ret,
				      done,
				      "length of the reply");

	unit = IVAL(output.data, UDF_SPARING_UNIT_BYTES_OFS);
	software = CVAL(output.data, UDF_SPARING_SOFTWARE_OFS);
	total = IVAL(output.data, UDF_SPARING_TOTAL_OFS);
	free_blocks = IVAL(output.data, UDF_SPARING_FREE_OFS);
	torture_comment(tctx,
			"packet %u bytes, software sparing %u, "
			"%u of %u spare blocks free\n",
			unit,
			software,
			free_blocks,
			total);

	torture_assert_goto(tctx,
			    software <= 1,
			    ret,
			    done,
			    "SoftwareSparing is a BOOLEAN");
	torture_assert_mem_equal_goto(
		tctx,
		output.data + UDF_SPARING_SOFTWARE_OFS + 1,
		"\0\0\0",
		3,
		ret,
		done,
		"the reserved bytes are zero");
	torture_assert_goto(tctx,
			    free_blocks <= total,
			    ret,
			    done,
			    "FreeSpareBlocks within TotalSpareBlocks");
	torture_assert_goto(tctx,
			    unit % SECTOR_BYTES == 0,
			    ret,
			    done,
			    "SparingUnitBytes in whole sectors");
	torture_assert_goto(tctx,
			    total == 0 || unit != 0,
			    ret,
			    done,
			    "a volume with spare blocks has a sparing unit");
	torture_assert_goto(tctx,
			    software == 0 || unit != 0,
			    ret,
			    done,
			    "a volume that spares has a sparing unit");
done:
	udf_close(tree, &root);
	return ret;
}

/* Any handle of the volume gets the same answer. */
static bool test_any_handle(struct torture_context *tctx,
			    struct smb2_tree *tree)
{
	struct smb2_handle root = {{0}};
	struct smb2_handle file = {{0}};
	DATA_BLOB by_root = data_blob_null;
	DATA_BLOB by_file = data_blob_null;
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (!sparing_setup(tctx, tree, &root, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);
	if (!udf_test_dir(tctx, tree)) {
		ret = false;
		goto done;
	}
	status = udf_test_file(tree, FNAME);
	UDF_OK(tctx, status, "making " FNAME);
	status = udf_open(tree,
			  FNAME,
			  SEC_FILE_READ_ATTRIBUTE,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &file);
	UDF_OK(tctx, status, "opening " FNAME);

	status = query_sparing(
		tree, tctx, root, UDF_QUERY_SPARING_LEN, &by_root);
	UDF_OK(tctx, status, "on a directory");
	status = query_sparing(
		tree, tctx, file, UDF_QUERY_SPARING_LEN, &by_file);
	UDF_OK(tctx, status, "on a file");
	torture_assert_u64_equal_goto(tctx,
				      by_file.length,
				      by_root.length,
				      ret,
				      done,
				      "same length");
	torture_assert_mem_equal_goto(tctx,
				      by_file.data,
				      by_root.data,
				      by_root.length,
				      ret,
				      done,
				      "same answer");
done:
	udf_close(tree, &file);
	udf_close(tree, &root);
	udf_remove(tree, FNAME);
	return ret;
}

/* The reply has exactly 16 bytes however much is allowed. */
static bool test_large_output(struct torture_context *tctx,
			      struct smb2_tree *tree)
{
	struct smb2_handle root = {{0}};
	DATA_BLOB output = data_blob_null;
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (!sparing_setup(tctx, tree, &root, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = query_sparing(tree, tctx, root, 4096, &output);
	UDF_OK(tctx, status, "with 4096 bytes allowed");
	torture_assert_u64_equal_goto(tctx,
				      output.length,
				      UDF_QUERY_SPARING_LEN,
				      ret,
				      done,
				      "length of the reply");
done:
	udf_close(tree, &root);
	return ret;
}

/* MS-FSA: an output buffer that is too short is an INVALID_PARAMETER. */
static bool test_short_output(struct torture_context *tctx,
			      struct smb2_tree *tree)
{
	struct smb2_handle root = {{0}};
	const char *reason = NULL;
	uint32_t max_output;
	bool ret = true;
	NTSTATUS status;

	if (!sparing_setup(tctx, tree, &root, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	for (max_output = 0; max_output < UDF_QUERY_SPARING_LEN; max_output++) {
		status = query_sparing(tree, tctx, root, max_output, NULL);
		UDF_STATUS(tctx,
			   status,
			   NT_STATUS_INVALID_PARAMETER,
			   talloc_asprintf(
				   tctx, "with %u bytes allowed", max_output));
	}
done:
	udf_close(tree, &root);
	return ret;
}

/* The code takes no input; what comes all the same is not looked at. */
static bool test_input_ignored(struct torture_context *tctx,
			       struct smb2_tree *tree)
{
	struct smb2_handle root = {{0}};
	uint8_t noise[64] = {0};
	DATA_BLOB output = data_blob_null;
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (!sparing_setup(tctx, tree, &root, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	memset(noise, 0xA5, sizeof(noise));
	status = udf_fsctl(tree,
			   tctx,
			   root,
			   UDF_FSCTL_QUERY_SPARING_INFO,
			   data_blob_const(noise, sizeof(noise)),
			   UDF_QUERY_SPARING_LEN,
			   &output);
	UDF_OK(tctx, status, "with an input");
	torture_assert_u64_equal_goto(tctx,
				      output.length,
				      UDF_QUERY_SPARING_LEN,
				      ret,
				      done,
				      "length of the reply");
done:
	udf_close(tree, &root);
	return ret;
}

static bool test_closed_handle(struct torture_context *tctx,
			       struct smb2_tree *tree)
{
	struct smb2_handle root = {{0}};
	struct smb2_handle stale = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (!sparing_setup(tctx, tree, &root, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	stale = root;
	udf_close(tree, &root);
	status = query_sparing(tree, tctx, stale, UDF_QUERY_SPARING_LEN, NULL);
	UDF_STATUS(tctx, status, NT_STATUS_FILE_CLOSED, "on a closed handle");
done:
	udf_close(tree, &root);
	return ret;
}

struct torture_suite *udf_sparing_suite(TALLOC_CTX *ctx)
{
	struct torture_suite *suite = NULL;

	suite = torture_suite_create(ctx, "sparing");
	if (suite == NULL) {
		return NULL;
	}
	suite->description = talloc_strdup(suite, "FSCTL_QUERY_SPARING_INFO");

	torture_suite_add_1smb2_test(suite, "values", test_values);
	torture_suite_add_1smb2_test(suite, "any_handle", test_any_handle);
	torture_suite_add_1smb2_test(suite, "large_output", test_large_output);
	torture_suite_add_1smb2_test(suite, "short_output", test_short_output);
	torture_suite_add_1smb2_test(
		suite, "input_ignored", test_input_ignored);
	torture_suite_add_1smb2_test(
		suite, "closed_handle", test_closed_handle);
	return suite;
}
