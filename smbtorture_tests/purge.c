/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * udf.purge: FSCTL_SET_PURGE_FAILURE_MODE (ntifs.h): the counter, and what a
 * bracket does to operations when nothing maps the file. What a mapping
 * changes is in purge_mapped.c.
 */
#include "includes.h"
#include "libcli/smb2/smb2.h"
#include "libcli/smb2/smb2_calls.h"
#include "libcli/smb/smbXcli_base.h"
#include "torture/torture.h"
#include "torture/smb2/proto.h"

#include "fsctl_udf.h"
#include "suites.h"
#include "util.h"

#define FNAME UDF_TEST_PATH("purge.dat")
#define FNAME_OTHER UDF_TEST_PATH("purge_other.dat")
#define SNAME FNAME ":stream"
#define DNAME UDF_TEST_PATH("purge_dir")

#define ENABLED UDF_PURGE_FAILURE_MODE_ENABLED
#define DISABLED UDF_PURGE_FAILURE_MODE_DISABLED

static NTSTATUS set_purge_input(struct smb2_tree *tree,
				struct smb2_handle handle, const void *input,
				size_t length)
{
	return udf_fsctl(tree,
			 tree,
			 handle,
			 UDF_FSCTL_SET_PURGE_FAILURE_MODE,
			 data_blob_const(input, length),
			 0,
			 NULL);
}

/*
 * Make FNAME and open it with all rights; *reason says why the code is not
 * served here.
 */
static bool purge_setup(struct torture_context *tctx, struct smb2_tree *tree,
			struct smb2_handle *handle, const char **reason)
{
	NTSTATUS status;

	*reason = NULL;
	if (!udf_test_dir(tctx, tree)) {
		return false;
	}
	status = udf_test_file(tree, FNAME);
	torture_assert_ntstatus_ok(tctx, status, "making " FNAME);
	status = udf_open(tree,
			  FNAME,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN,
			  0,
			  handle);
	torture_assert_ntstatus_ok(tctx, status, "opening " FNAME);

	status = udf_set_purge(tree, *handle, ENABLED);
	if (udf_not_served(status)) {
		*reason = "the server does not serve "
			  "FSCTL_SET_PURGE_FAILURE_MODE to clients\n";
		return true;
	}
	torture_assert_ntstatus_ok(tctx, status, "ENABLED");
	status = udf_set_purge(tree, *handle, DISABLED);
	torture_assert_ntstatus_ok(tctx, status, "DISABLED");
	return true;
}

static void purge_teardown(struct smb2_tree *tree, struct smb2_handle *handle)
{
	udf_close(tree, handle);
	udf_remove(tree, FNAME);
}

/* One byte less: refused when and only when the file's sum is above zero. */
static NTSTATUS shrink(struct smb2_tree *tree, struct smb2_handle handle)
{
	return udf_set_end_of_file(tree, handle, UDF_TEST_FILE_SIZE - 1);
}

/* ENABLED and DISABLED are paired, and nest. */
static bool test_pairs(struct torture_context *tctx, struct smb2_tree *tree)
{
	struct smb2_handle handle = {{0}};
	const char *reason = NULL;
	int depth, i;
	bool ret = true;
	NTSTATUS status;

	if (!purge_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	for (depth = 1; depth <= 20; depth++) {
		for (i = 0; i < depth; i++) {
			status = udf_set_purge(tree, handle, ENABLED);
			UDF_OK(tctx, status, "ENABLED");
		}
		for (i = 0; i < depth; i++) {
			status = shrink(tree, handle);
			UDF_STATUS(tctx,
				   status,
				   NT_STATUS_PURGE_FAILED,
				   "shrinking with the count above zero");
			status = udf_set_purge(tree, handle, DISABLED);
			UDF_OK(tctx, status, "DISABLED");
		}
		status = udf_set_purge(tree, handle, DISABLED);
		UDF_STATUS(tctx,
			   status,
			   NT_STATUS_INVALID_PARAMETER,
			   "one DISABLED too many");
	}
	status = shrink(tree, handle);
	UDF_OK(tctx, status, "shrinking with the count at zero");
done:
	purge_teardown(tree, &handle);
	return ret;
}

static bool test_unpaired(struct torture_context *tctx, struct smb2_tree *tree)
{
	struct smb2_handle handle = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (!purge_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_set_purge(tree, handle, DISABLED);
	UDF_STATUS(tctx,
		   status,
		   NT_STATUS_INVALID_PARAMETER,
		   "DISABLED without an ENABLED");
	status = udf_set_purge(tree, handle, ENABLED);
	UDF_OK(tctx, status, "the refusal left nothing behind");
	status = shrink(tree, handle);
	UDF_STATUS(tctx, status, NT_STATUS_PURGE_FAILED, "shrinking");
done:
	purge_teardown(tree, &handle);
	return ret;
}

/* The reply has no output, however much is allowed. */
static bool test_no_output(struct torture_context *tctx,
			   struct smb2_tree *tree)
{
	static const uint8_t input[] = {ENABLED, 0, 0, 0};
	struct smb2_handle handle = {{0}};
	DATA_BLOB output = data_blob_null;
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (!purge_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_fsctl(tree,
			   tctx,
			   handle,
			   UDF_FSCTL_SET_PURGE_FAILURE_MODE,
			   data_blob_const(input, sizeof(input)),
			   64,
			   &output);
	UDF_OK(tctx, status, "ENABLED with output allowed");
	torture_assert_u64_equal_goto(
		tctx, output.length, 0, ret, done, "length of the reply");
done:
	purge_teardown(tree, &handle);
	return ret;
}

/* The Flags are four bytes; whatever follows is not looked at. */
static bool test_input_length(struct torture_context *tctx,
			      struct smb2_tree *tree)
{
	uint8_t input[4096] = {ENABLED};
	struct smb2_handle handle = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;
	size_t length;

	if (!purge_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	for (length = 0; length < UDF_SET_PURGE_FAILURE_MODE_LEN; length++) {
		status = set_purge_input(tree, handle, input, length);
		UDF_STATUS(tctx,
			   status,
			   NT_STATUS_BUFFER_TOO_SMALL,
			   talloc_asprintf(tctx, "input of %zu", length));
	}
	status = shrink(tree, handle);
	UDF_OK(tctx, status, "nothing was counted");

	memset(input + 4, 0xFF, sizeof(input) - 4);
	status = set_purge_input(tree, handle, input, 5);
	UDF_OK(tctx, status, "input of 5");
	status = set_purge_input(tree, handle, input, sizeof(input));
	UDF_OK(tctx, status, "input of 4096");
	status = udf_set_purge(tree, handle, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	status = udf_set_purge(tree, handle, DISABLED);
	UDF_OK(tctx, status, "DISABLED, once more");
done:
	purge_teardown(tree, &handle);
	return ret;
}

/* Exactly one of the two flags. */
static bool test_flags(struct torture_context *tctx, struct smb2_tree *tree)
{
	static const uint32_t flags[] = {
		0,
		ENABLED | DISABLED,
		4,
		ENABLED | 4,
		DISABLED | 4,
		0x100,
		0x01000000,
		0x80000000,
		0x80000000 | ENABLED,
		0xFFFFFFFF,
	};
	struct smb2_handle handle = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;
	size_t i;

	if (!purge_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		status = udf_set_purge(tree, handle, flags[i]);
		UDF_STATUS(tctx,
			   status,
			   NT_STATUS_INVALID_PARAMETER,
			   talloc_asprintf(tctx, "flags 0x%08x", flags[i]));
	}
	status = shrink(tree, handle);
	UDF_OK(tctx, status, "nothing was counted");

	status = udf_set_purge(tree, handle, ENABLED);
	UDF_OK(tctx, status, "ENABLED");
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		status = udf_set_purge(tree, handle, flags[i]);
		UDF_STATUS(tctx,
			   status,
			   NT_STATUS_INVALID_PARAMETER,
			   talloc_asprintf(tctx, "flags 0x%08x", flags[i]));
	}
	status = udf_set_purge(tree, handle, DISABLED);
	UDF_OK(tctx, status, "the count was left alone");
done:
	purge_teardown(tree, &handle);
	return ret;
}

/* A directory, before its input is looked at. */
static bool test_directory(struct torture_context *tctx,
			   struct smb2_tree *tree)
{
	struct smb2_handle handle = {{0}};
	struct smb2_handle dir = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (!purge_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_open(tree,
			  DNAME,
			  SEC_DIR_LIST,
			  NTCREATEX_DISP_OPEN_IF,
			  NTCREATEX_OPTIONS_DIRECTORY,
			  &dir);
	UDF_OK(tctx, status, "opening " DNAME);
	status = udf_set_purge(tree, dir, ENABLED);
	UDF_STATUS(tctx, status, NT_STATUS_FILE_IS_A_DIRECTORY, "ENABLED");
	status = udf_set_purge(tree, dir, DISABLED);
	UDF_STATUS(tctx, status, NT_STATUS_FILE_IS_A_DIRECTORY, "DISABLED");
	status = udf_set_purge(tree, dir, 0);
	UDF_STATUS(tctx, status, NT_STATUS_FILE_IS_A_DIRECTORY, "no flag");
	status = set_purge_input(tree, dir, NULL, 0);
	UDF_STATUS(tctx, status, NT_STATUS_FILE_IS_A_DIRECTORY, "no input");
done:
	udf_close(tree, &dir);
	smb2_util_rmdir(tree, DNAME);
	purge_teardown(tree, &handle);
	return ret;
}

/* A scanner reads: the handle must have FILE_READ_DATA. */
static bool test_access(struct torture_context *tctx, struct smb2_tree *tree)
{
	static const struct {
		const char *name;
		uint32_t access;
		bool enough;
	} cases[] = {
		{"FILE_WRITE_DATA", SEC_FILE_WRITE_DATA, false},
		{"FILE_APPEND_DATA", SEC_FILE_APPEND_DATA, false},
		{"FILE_READ_ATTRIBUTES", SEC_FILE_READ_ATTRIBUTE, false},
		{"FILE_READ_DATA", SEC_FILE_READ_DATA, true},
	};
	struct smb2_handle handle = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;
	size_t i;

	if (!purge_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);
	udf_close(tree, &handle);

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		status = udf_open(tree,
				  FNAME,
				  cases[i].access,
				  NTCREATEX_DISP_OPEN,
				  0,
				  &handle);
		UDF_OK(tctx, status, cases[i].name);
		status = udf_set_purge(tree, handle, ENABLED);
		if (cases[i].enough) {
			UDF_OK(tctx, status, cases[i].name);
			udf_close(tree, &handle);
			continue;
		}
		UDF_STATUS(
			tctx, status, NT_STATUS_ACCESS_DENIED, cases[i].name);
		status = set_purge_input(tree, handle, NULL, 0);
		UDF_STATUS(tctx,
			   status,
			   NT_STATUS_ACCESS_DENIED,
			   "access is checked before the input");
		udf_close(tree, &handle);
	}
done:
	purge_teardown(tree, &handle);
	return ret;
}

/* No open can undo another's ENABLED; tree2 may be another client's. */
static bool other_open(struct torture_context *tctx, struct smb2_tree *tree,
		       struct smb2_tree *tree2)
{
	struct smb2_handle handle = {{0}};
	struct smb2_handle second = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (!purge_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_open(tree2,
			  FNAME,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &second);
	UDF_OK(tctx, status, "opening " FNAME " again");
	status = udf_set_purge(tree, handle, ENABLED);
	UDF_OK(tctx, status, "ENABLED");
	status = udf_set_purge(tree2, second, DISABLED);
	UDF_STATUS(tctx,
		   status,
		   NT_STATUS_INVALID_PARAMETER,
		   "DISABLED from another open");
	status = shrink(tree2, second);
	UDF_STATUS(tctx,
		   status,
		   NT_STATUS_PURGE_FAILED,
		   "shrinking from another open");
	status = shrink(tree, handle);
	UDF_STATUS(tctx,
		   status,
		   NT_STATUS_PURGE_FAILED,
		   "shrinking from the bracket's open");
	status = udf_set_purge(tree, handle, DISABLED);
	UDF_OK(tctx, status, "DISABLED from the same open");
	status = shrink(tree2, second);
	UDF_OK(tctx, status, "shrinking after the bracket");
done:
	udf_close(tree2, &second);
	purge_teardown(tree, &handle);
	return ret;
}

static bool test_other_open(struct torture_context *tctx,
			    struct smb2_tree *tree)
{
	return other_open(tctx, tree, tree);
}

static bool test_other_client(struct torture_context *tctx,
			      struct smb2_tree *tree, struct smb2_tree *tree2)
{
	return other_open(tctx, tree, tree2);
}

/* The file's count is the sum of its opens'. */
static bool two_counts(struct torture_context *tctx, struct smb2_tree *tree,
		       struct smb2_tree *tree2)
{
	struct smb2_handle handle = {{0}};
	struct smb2_handle second = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (!purge_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_open(tree2,
			  FNAME,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &second);
	UDF_OK(tctx, status, "opening " FNAME " again");
	status = udf_set_purge(tree, handle, ENABLED);
	UDF_OK(tctx, status, "ENABLED by one");
	status = udf_set_purge(tree2, second, ENABLED);
	UDF_OK(tctx, status, "ENABLED by the other");
	status = udf_set_purge(tree2, second, ENABLED);
	UDF_OK(tctx, status, "ENABLED by the other, twice");

	status = udf_set_purge(tree, handle, DISABLED);
	UDF_OK(tctx, status, "DISABLED by one");
	status = udf_set_purge(tree, handle, DISABLED);
	UDF_STATUS(tctx,
		   status,
		   NT_STATUS_INVALID_PARAMETER,
		   "the other's counts are not one's own");
	status = shrink(tree, handle);
	UDF_STATUS(tctx, status, NT_STATUS_PURGE_FAILED, "two are left");
	status = udf_set_purge(tree2, second, DISABLED);
	UDF_OK(tctx, status, "DISABLED by the other");
	status = shrink(tree, handle);
	UDF_STATUS(tctx, status, NT_STATUS_PURGE_FAILED, "one is left");
	status = udf_set_purge(tree2, second, DISABLED);
	UDF_OK(tctx, status, "DISABLED by the other");
	status = shrink(tree, handle);
	UDF_OK(tctx, status, "none is left");
done:
	udf_close(tree2, &second);
	purge_teardown(tree, &handle);
	return ret;
}

static bool test_two_opens(struct torture_context *tctx,
			   struct smb2_tree *tree)
{
	return two_counts(tctx, tree, tree);
}

static bool test_two_clients(struct torture_context *tctx,
			     struct smb2_tree *tree, struct smb2_tree *tree2)
{
	return two_counts(tctx, tree, tree2);
}

/* All that an open counted goes with it; what others counted stays. */
static bool test_close(struct torture_context *tctx, struct smb2_tree *tree,
		       struct smb2_tree *tree2)
{
	struct smb2_handle handle = {{0}};
	struct smb2_handle second = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;
	int i;

	if (!purge_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_open(tree2,
			  FNAME,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &second);
	UDF_OK(tctx, status, "opening " FNAME " again");
	for (i = 0; i < 3; i++) {
		status = udf_set_purge(tree2, second, ENABLED);
		UDF_OK(tctx, status, "ENABLED");
	}
	status = udf_set_purge(tree, handle, ENABLED);
	UDF_OK(tctx, status, "ENABLED by the one that stays");

	udf_close(tree2, &second);
	status = shrink(tree, handle);
	UDF_STATUS(tctx,
		   status,
		   NT_STATUS_PURGE_FAILED,
		   "the one that stays is counted");
	status = udf_set_purge(tree, handle, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	status = shrink(tree, handle);
	UDF_OK(tctx, status, "what was closed is not counted");
done:
	udf_close(tree2, &second);
	purge_teardown(tree, &handle);
	return ret;
}

/* Closing the file's last open leaves no count for the next. */
static bool test_last_close(struct torture_context *tctx,
			    struct smb2_tree *tree)
{
	struct smb2_handle handle = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (!purge_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_set_purge(tree, handle, ENABLED);
	UDF_OK(tctx, status, "ENABLED");
	udf_close(tree, &handle);

	status = udf_open(tree,
			  FNAME,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &handle);
	UDF_OK(tctx, status, "opening " FNAME);
	status = udf_set_purge(tree, handle, DISABLED);
	UDF_STATUS(tctx,
		   status,
		   NT_STATUS_INVALID_PARAMETER,
		   "a new open starts at zero");
	status = shrink(tree, handle);
	UDF_OK(tctx, status, "shrinking");
done:
	purge_teardown(tree, &handle);
	return ret;
}

/* What a client counted vanishes with its connection. */
static bool test_disconnect(struct torture_context *tctx,
			    struct smb2_tree *tree, struct smb2_tree *tree2)
{
	struct smb2_handle handle = {{0}};
	struct smb2_handle second = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;
	int tries;

	if (!purge_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_open(tree2,
			  FNAME,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &second);
	UDF_OK(tctx, status, "opening " FNAME " again");
	status = udf_set_purge(tree2, second, ENABLED);
	UDF_OK(tctx, status, "ENABLED");
	status = shrink(tree, handle);
	UDF_STATUS(tctx, status, NT_STATUS_PURGE_FAILED, "shrinking");

	TALLOC_FREE(tree2);
	/* The server learns of it a moment later. */
	for (tries = 0; tries < 50; tries++) {
		status = shrink(tree, handle);
		if (!NT_STATUS_EQUAL(status, NT_STATUS_PURGE_FAILED)) {
			break;
		}
		udf_serve(tctx, 100);
	}
	UDF_OK(tctx, status, "shrinking with that client gone");
done:
	purge_teardown(tree, &handle);
	return ret;
}

/* A tree disconnect closes its handles, and so releases their counts. */
static bool test_tree_disconnect(struct torture_context *tctx,
				 struct smb2_tree *tree,
				 struct smb2_tree *tree2)
{
	struct smb2_handle handle = {{0}};
	struct smb2_handle second = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (!purge_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_open(tree2,
			  FNAME,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &second);
	UDF_OK(tctx, status, "opening " FNAME " again");
	status = udf_set_purge(tree2, second, ENABLED);
	UDF_OK(tctx, status, "ENABLED");
	status = smb2_tdis(tree2);
	UDF_OK(tctx, status, "TREE_DISCONNECT");
	status = shrink(tree, handle);
	UDF_OK(tctx, status, "shrinking with that tree gone");
done:
	purge_teardown(tree, &handle);
	return ret;
}

/* Nor does a logoff leave a count behind. */
static bool test_logoff(struct torture_context *tctx, struct smb2_tree *tree,
			struct smb2_tree *tree2)
{
	struct smb2_handle handle = {{0}};
	struct smb2_handle second = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (!purge_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_open(tree2,
			  FNAME,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &second);
	UDF_OK(tctx, status, "opening " FNAME " again");
	status = udf_set_purge(tree2, second, ENABLED);
	UDF_OK(tctx, status, "ENABLED");
	status = smb2_logoff(tree2->session);
	UDF_OK(tctx, status, "LOGOFF");
	status = shrink(tree, handle);
	UDF_OK(tctx, status, "shrinking with that session gone");
done:
	purge_teardown(tree, &handle);
	return ret;
}

/* Every way to make a file smaller by SET_INFO, mapped or not. */
static bool test_shrink(struct torture_context *tctx, struct smb2_tree *tree,
			struct smb2_tree *tree2)
{
	struct smb2_handle handle = {{0}};
	struct smb2_handle second = {{0}};
	uint8_t last = 0;
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (!purge_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_open(tree2,
			  FNAME,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &second);
	UDF_OK(tctx, status, "opening " FNAME " again");
	status = udf_set_purge(tree, handle, ENABLED);
	UDF_OK(tctx, status, "ENABLED");

	status = udf_set_end_of_file(tree2, second, UDF_TEST_FILE_SIZE / 2);
	UDF_STATUS(tctx, status, NT_STATUS_PURGE_FAILED, "half");
	status = udf_set_end_of_file(tree2, second, 0);
	UDF_STATUS(tctx, status, NT_STATUS_PURGE_FAILED, "nothing");
	status = udf_set_allocation(tree2, second, UDF_TEST_FILE_SIZE / 2);
	UDF_STATUS(tctx, status, NT_STATUS_PURGE_FAILED, "half allocated");
	status = udf_set_allocation(tree2, second, 0);
	UDF_STATUS(tctx, status, NT_STATUS_PURGE_FAILED, "none allocated");
	status = udf_read(tree2, second, UDF_TEST_FILE_SIZE - 1, &last, 1);
	UDF_OK(tctx, status, "the file kept its size");
	torture_assert_int_equal_goto(tctx,
				      last,
				      udf_test_byte(UDF_TEST_FILE_SIZE - 1),
				      ret,
				      done,
				      "the file kept its data");

	status = udf_set_purge(tree, handle, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	status = udf_set_allocation(tree2, second, UDF_TEST_FILE_SIZE / 2);
	UDF_OK(tctx, status, "half allocated, after the bracket");
	status = udf_set_end_of_file(tree2, second, 0);
	UDF_OK(tctx, status, "nothing, after the bracket");
done:
	udf_close(tree2, &second);
	purge_teardown(tree, &handle);
	return ret;
}

/* What needs no purge is done within a bracket as ever. */
static bool test_harmless(struct torture_context *tctx, struct smb2_tree *tree,
			  struct smb2_tree *tree2)
{
	union smb_fileinfo info = {
		.all_info2.level = RAW_FILEINFO_SMB2_ALL_INFORMATION,
	};
	struct smb2_handle handle = {{0}};
	struct smb2_handle second = {{0}};
	uint8_t data[4096] = {0};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;
	size_t i;

	if (!purge_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_open(tree2,
			  FNAME,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &second);
	UDF_OK(tctx, status, "opening " FNAME " again");
	status = udf_set_purge(tree, handle, ENABLED);
	UDF_OK(tctx, status, "ENABLED");

	status = udf_read(tree2, second, 4096, data, sizeof(data));
	UDF_OK(tctx, status, "reading");
	for (i = 0; i < sizeof(data); i++) {
		torture_assert_int_equal_goto(tctx,
					      data[i],
					      udf_test_byte(4096 + i),
					      ret,
					      done,
					      "what was read");
	}
	status = udf_set_end_of_file(tree2, second, UDF_TEST_FILE_SIZE);
	UDF_OK(tctx, status, "end of file as it is");
	status = udf_set_end_of_file(tree2, second, 2 * UDF_TEST_FILE_SIZE);
	UDF_OK(tctx, status, "extending the end of file");
	status = udf_set_allocation(tree2, second, 2 * UDF_TEST_FILE_SIZE);
	UDF_OK(tctx, status, "allocation as large as the file");

	info.all_info2.in.file.handle = second;
	status = smb2_getinfo_file(tree2, tctx, &info);
	UDF_OK(tctx, status, "querying");
	torture_assert_u64_equal_goto(tctx,
				      info.all_info2.out.size,
				      2 * UDF_TEST_FILE_SIZE,
				      ret,
				      done,
				      "the extended size");
	status = udf_flush(tree2, second);
	UDF_OK(tctx, status, "flushing");
done:
	udf_close(tree2, &second);
	purge_teardown(tree, &handle);
	return ret;
}

/* With no mapping a purge succeeds, and so do the writes. */
static bool test_write(struct torture_context *tctx, struct smb2_tree *tree,
		       struct smb2_tree *tree2)
{
	static const struct {
		const char *name;
		uint32_t flags;
		uint32_t options;
	} cases[] = {
		{"cached", 0, 0},
		{"write-through", SMB2_WRITEFLAG_WRITE_THROUGH, 0},
		{"WRITE_UNBUFFERED", SMB2_WRITEFLAG_WRITE_UNBUFFERED, 0},
		{"opened without intermediate buffering",
		 0,
		 NTCREATEX_OPTIONS_NO_INTERMEDIATE_BUFFERING},
	};
	struct smb2_handle handle = {{0}};
	struct smb2_handle second = {{0}};
	uint8_t data[4096] = {0};
	uint8_t got[sizeof(data)] = {0};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;
	size_t i;

	if (!purge_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_set_purge(tree, handle, ENABLED);
	UDF_OK(tctx, status, "ENABLED");
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		memset(data, 0xA0 + i, sizeof(data));
		status = udf_open(tree2,
				  FNAME,
				  SEC_RIGHTS_FILE_ALL,
				  NTCREATEX_DISP_OPEN,
				  cases[i].options,
				  &second);
		UDF_OK(tctx, status, cases[i].name);
		status = udf_write(tree2,
				   second,
				   4096 * i,
				   data,
				   sizeof(data),
				   cases[i].flags);
		UDF_OK(tctx, status, cases[i].name);
		udf_close(tree2, &second);
		status = udf_read(tree, handle, 4096 * i, got, sizeof(got));
		UDF_OK(tctx, status, "reading back");
		torture_assert_mem_equal_goto(tctx,
					      got,
					      data,
					      sizeof(data),
					      ret,
					      done,
					      cases[i].name);
	}
	status = udf_set_purge(tree, handle, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
done:
	udf_close(tree2, &second);
	purge_teardown(tree, &handle);
	return ret;
}

/* With no mapping a destructive create succeeds within a bracket. */
static bool test_destroy(struct torture_context *tctx, struct smb2_tree *tree,
			 struct smb2_tree *tree2)
{
	static const struct {
		const char *name;
		uint32_t disposition;
	} cases[] = {
		{"overwrite", NTCREATEX_DISP_OVERWRITE},
		{"overwrite_if", NTCREATEX_DISP_OVERWRITE_IF},
		{"supersede", NTCREATEX_DISP_SUPERSEDE},
	};
	struct smb2_handle handle = {{0}};
	struct smb2_handle second = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;
	size_t i;

	if (!purge_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_set_purge(tree, handle, ENABLED);
	UDF_OK(tctx, status, "ENABLED");
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		status = udf_open(tree2,
				  FNAME,
				  SEC_RIGHTS_FILE_ALL,
				  cases[i].disposition,
				  0,
				  &second);
		UDF_OK(tctx, status, cases[i].name);
		udf_close(tree2, &second);
	}
done:
	udf_close(tree2, &second);
	purge_teardown(tree, &handle);
	return ret;
}

/* The count is the file's: another file is left alone, and free again. */
static bool test_other_file(struct torture_context *tctx,
			    struct smb2_tree *tree)
{
	struct smb2_handle handle = {{0}};
	struct smb2_handle other = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (!purge_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_test_file(tree, FNAME_OTHER);
	UDF_OK(tctx, status, "making " FNAME_OTHER);
	status = udf_open(tree,
			  FNAME_OTHER,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &other);
	UDF_OK(tctx, status, "opening " FNAME_OTHER);
	status = udf_set_purge(tree, handle, ENABLED);
	UDF_OK(tctx, status, "ENABLED");
	status = shrink(tree, other);
	UDF_OK(tctx, status, "shrinking the other file");
	status = udf_set_purge(tree, other, DISABLED);
	UDF_STATUS(tctx,
		   status,
		   NT_STATUS_INVALID_PARAMETER,
		   "DISABLED on the other file");
	status = shrink(tree, handle);
	UDF_STATUS(tctx, status, NT_STATUS_PURGE_FAILED, "shrinking the file");
done:
	udf_close(tree, &other);
	smb2_util_unlink(tree, FNAME_OTHER);
	purge_teardown(tree, &handle);
	return ret;
}

/* Each stream counts by itself. */
static bool test_stream(struct torture_context *tctx, struct smb2_tree *tree)
{
	union smb_fsinfo info = {
		.generic.level = RAW_QFS_ATTRIBUTE_INFORMATION,
	};
	struct smb2_handle handle = {{0}};
	struct smb2_handle stream = {{0}};
	uint8_t data[64] = {0};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (!purge_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	info.generic.handle = handle;
	status = smb2_getinfo_fs(tree, tctx, &info);
	UDF_OK(tctx, status, "FileFsAttributeInformation");
	if (!(info.attribute_info.out.fs_attr & FILE_NAMED_STREAMS)) {
		torture_skip_goto(
			tctx, done, "the share has no named streams\n");
	}

	status = udf_open(tree,
			  SNAME,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN_IF,
			  0,
			  &stream);
	UDF_OK(tctx, status, "opening " SNAME);
	status = udf_write(tree, stream, 0, data, sizeof(data), 0);
	UDF_OK(tctx, status, "writing " SNAME);
	status = udf_set_purge(tree, stream, ENABLED);
	UDF_OK(tctx, status, "ENABLED on the stream");
	status = shrink(tree, handle);
	UDF_OK(tctx, status, "shrinking the main stream");
	status = udf_set_end_of_file(tree, stream, 0);
	UDF_STATUS(
		tctx, status, NT_STATUS_PURGE_FAILED, "shrinking the stream");
done:
	udf_close(tree, &stream);
	purge_teardown(tree, &handle);
	return ret;
}

/*
 * MS-SMB2 3.3.5.2.10: a server keeps no reply of an IOCTL. A client that lost
 * the reply sends the request again, with the REPLAY flag and a newer channel
 * sequence; that must not count twice.
 */
static bool test_replay(struct torture_context *tctx, struct smb2_tree *tree)
{
	struct smbXcli_conn *conn = tree->session->transport->conn;
	struct smbXcli_session *session = tree->session->smbXcli;
	struct smb2_handle handle = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (smbXcli_conn_protocol(conn) < PROTOCOL_SMB3_00) {
		torture_skip(tctx, "the REPLAY flag came with SMB 3.0\n");
	}
	if (!purge_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_set_purge(tree, handle, ENABLED);
	UDF_OK(tctx, status, "ENABLED");
	smb2cli_session_increment_channel_sequence(session);
	smb2cli_session_start_replay(session);
	status = udf_set_purge(tree, handle, ENABLED);
	smb2cli_session_stop_replay(session);
	UDF_OK(tctx, status, "ENABLED replayed");
	status = udf_set_purge(tree, handle, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	smb2cli_session_increment_channel_sequence(session);
	smb2cli_session_start_replay(session);
	status = udf_set_purge(tree, handle, DISABLED);
	smb2cli_session_stop_replay(session);
	UDF_OK(tctx, status, "DISABLED replayed");
	status = udf_set_purge(tree, handle, DISABLED);
	UDF_STATUS(tctx,
		   status,
		   NT_STATUS_INVALID_PARAMETER,
		   "the ENABLED was counted once");
	status = shrink(tree, handle);
	UDF_OK(tctx, status, "shrinking with the count at zero");
done:
	purge_teardown(tree, &handle);
	return ret;
}

/* A request that came after the first shows that its reply was seen. */
static bool test_replay_settled(struct torture_context *tctx,
				struct smb2_tree *tree)
{
	struct smbXcli_conn *conn = tree->session->transport->conn;
	struct smbXcli_session *session = tree->session->smbXcli;
	struct smb2_handle handle = {{0}};
	uint8_t data[16] = {0};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (smbXcli_conn_protocol(conn) < PROTOCOL_SMB3_00) {
		torture_skip(tctx, "the REPLAY flag came with SMB 3.0\n");
	}
	if (!purge_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_set_purge(tree, handle, ENABLED);
	UDF_OK(tctx, status, "ENABLED");
	status = udf_read(tree, handle, 0, data, sizeof(data));
	UDF_OK(tctx, status, "a later request of this open");
	/* So this is no repetition: it is the first of its requests that the
	 * server sees. */
	smb2cli_session_increment_channel_sequence(session);
	smb2cli_session_start_replay(session);
	status = udf_set_purge(tree, handle, ENABLED);
	smb2cli_session_stop_replay(session);
	UDF_OK(tctx, status, "ENABLED, another, with the REPLAY flag");
	status = udf_set_purge(tree, handle, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	status = udf_set_purge(tree, handle, DISABLED);
	UDF_OK(tctx, status, "DISABLED: two were counted");
	status = udf_set_purge(tree, handle, DISABLED);
	UDF_STATUS(tctx,
		   status,
		   NT_STATUS_INVALID_PARAMETER,
		   "DISABLED: no more than two");
done:
	purge_teardown(tree, &handle);
	return ret;
}

static bool test_closed_handle(struct torture_context *tctx,
			       struct smb2_tree *tree)
{
	struct smb2_handle handle = {{0}};
	struct smb2_handle stale = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (!purge_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	stale = handle;
	udf_close(tree, &handle);
	status = udf_set_purge(tree, stale, ENABLED);
	UDF_STATUS(tctx, status, NT_STATUS_FILE_CLOSED, "on a closed handle");
done:
	purge_teardown(tree, &handle);
	return ret;
}

struct torture_suite *udf_purge_suite(TALLOC_CTX *ctx)
{
	struct torture_suite *suite = NULL;

	suite = torture_suite_create(ctx, "purge");
	if (suite == NULL) {
		return NULL;
	}
	suite->description =
		talloc_strdup(suite, "FSCTL_SET_PURGE_FAILURE_MODE");

	torture_suite_add_1smb2_test(suite, "pairs", test_pairs);
	torture_suite_add_1smb2_test(suite, "unpaired", test_unpaired);
	torture_suite_add_1smb2_test(suite, "no_output", test_no_output);
	torture_suite_add_1smb2_test(suite, "input_length", test_input_length);
	torture_suite_add_1smb2_test(suite, "flags", test_flags);
	torture_suite_add_1smb2_test(suite, "directory", test_directory);
	torture_suite_add_1smb2_test(suite, "access", test_access);
	torture_suite_add_1smb2_test(suite, "other_open", test_other_open);
	torture_suite_add_2smb2_test(suite, "other_client", test_other_client);
	torture_suite_add_1smb2_test(suite, "two_opens", test_two_opens);
	torture_suite_add_2smb2_test(suite, "two_clients", test_two_clients);
	torture_suite_add_2smb2_test(suite, "close", test_close);
	torture_suite_add_1smb2_test(suite, "last_close", test_last_close);
	torture_suite_add_2smb2_test(suite, "disconnect", test_disconnect);
	torture_suite_add_2smb2_test(
		suite, "tree_disconnect", test_tree_disconnect);
	torture_suite_add_2smb2_test(suite, "logoff", test_logoff);
	torture_suite_add_2smb2_test(suite, "shrink", test_shrink);
	torture_suite_add_2smb2_test(suite, "harmless", test_harmless);
	torture_suite_add_2smb2_test(suite, "write", test_write);
	torture_suite_add_2smb2_test(suite, "destroy", test_destroy);
	torture_suite_add_1smb2_test(suite, "other_file", test_other_file);
	torture_suite_add_1smb2_test(suite, "stream", test_stream);
	torture_suite_add_1smb2_test(suite, "replay", test_replay);
	torture_suite_add_1smb2_test(
		suite, "replay_settled", test_replay_settled);
	torture_suite_add_1smb2_test(
		suite, "closed_handle", test_closed_handle);
	torture_suite_add_suite(suite, udf_purge_cells_suite(suite));
	torture_suite_add_suite(suite, udf_purge_channels_suite(suite));
	torture_suite_add_suite(suite, udf_purge_compound_suite(suite));
	torture_suite_add_suite(suite, udf_purge_life_suite(suite));
	torture_suite_add_suite(suite, udf_purge_mapped_suite(suite));
	torture_suite_add_suite(suite, udf_purge_expiry_suite(suite));
	torture_suite_add_suite(suite, udf_purge_sessions_suite(suite));
	return suite;
}
