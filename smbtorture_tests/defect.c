/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * udf.defect: FSCTL_SET_DEFECT_MANAGEMENT (MS-FSA 2.1.5.10.31; MS-FSCC,
 * FSCTL_SET_DEFECT_MANAGEMENT Request). The checks in MS-FSA's order, behind
 * the access that the control code itself asks for.
 */
#include "includes.h"
#include "libcli/smb2/smb2.h"
#include "libcli/smb2/smb2_calls.h"
#include "torture/torture.h"
#include "torture/smb2/proto.h"

#include "fsctl_udf.h"
#include "suites.h"
#include "util.h"

#define FNAME UDF_TEST_PATH("defect.dat")
#define FNAME_OTHER UDF_TEST_PATH("defect_other.dat")
#define SNAME FNAME ":stream"
#define DNAME UDF_TEST_PATH("defect_dir")

#define DEFECT_OFF 1
#define DEFECT_ON 0

static NTSTATUS set_defect_input(struct smb2_tree *tree,
				 struct smb2_handle handle, const void *input,
				 size_t length)
{
	return udf_fsctl(tree,
			 tree,
			 handle,
			 UDF_FSCTL_SET_DEFECT_MANAGEMENT,
			 data_blob_const(input, length),
			 0,
			 NULL);
}

/*
 * Make FNAME and leave it open alone, with all rights; *reason says why the
 * code is not served here.
 */
static bool defect_setup(struct torture_context *tctx, struct smb2_tree *tree,
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

	status = udf_set_defect(tree, *handle, DEFECT_ON);
	if (udf_not_served(status)) {
		*reason = "the volume is not software defect managed, or the "
			  "server does not say so\n";
	}
	return true;
}

static void defect_teardown(struct smb2_tree *tree, struct smb2_handle *handle)
{
	udf_close(tree, handle);
	udf_remove(tree, FNAME);
}

/* Off, on, and again the same: each is fine and says nothing back. */
static bool test_off_and_on(struct torture_context *tctx,
			    struct smb2_tree *tree)
{
	static const uint8_t sequence[] = {
		DEFECT_OFF, DEFECT_ON, DEFECT_ON, DEFECT_OFF, DEFECT_OFF,
	};
	struct smb2_handle handle = {{0}};
	DATA_BLOB output = data_blob_null;
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;
	size_t i;

	if (!defect_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	for (i = 0; i < ARRAY_SIZE(sequence); i++) {
		status = udf_fsctl(tree,
				   tctx,
				   handle,
				   UDF_FSCTL_SET_DEFECT_MANAGEMENT,
				   data_blob_const(&sequence[i], 1),
				   64,
				   &output);
		UDF_OK(tctx, status, "SET_DEFECT_MANAGEMENT");
		torture_assert_u64_equal_goto(tctx,
					      output.length,
					      0,
					      ret,
					      done,
					      "the reply has no output");
	}
done:
	defect_teardown(tree, &handle);
	return ret;
}

/* Disable is a BOOLEAN: any value but zero is TRUE, none is refused. */
static bool test_any_nonzero(struct torture_context *tctx,
			     struct smb2_tree *tree)
{
	static const uint8_t values[] = {0x02, 0x7F, 0x80, 0xFE, 0xFF};
	struct smb2_handle handle = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;
	size_t i;

	if (!defect_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	for (i = 0; i < ARRAY_SIZE(values); i++) {
		status = udf_set_defect(tree, handle, values[i]);
		UDF_OK(tctx,
		       status,
		       talloc_asprintf(tctx, "Disable 0x%02x", values[i]));
	}
done:
	defect_teardown(tree, &handle);
	return ret;
}

static bool test_no_input(struct torture_context *tctx, struct smb2_tree *tree)
{
	struct smb2_handle handle = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (!defect_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = set_defect_input(tree, handle, NULL, 0);
	UDF_STATUS(tctx, status, NT_STATUS_INVALID_PARAMETER, "no input");
done:
	defect_teardown(tree, &handle);
	return ret;
}

/* Only the first byte is looked at. */
static bool test_long_input(struct torture_context *tctx,
			    struct smb2_tree *tree)
{
	static const size_t lengths[] = {2, 3, 4, 8, 4096, 65536};
	struct smb2_handle handle = {{0}};
	const char *reason = NULL;
	uint8_t *input = NULL;
	bool ret = true;
	NTSTATUS status;
	size_t i;

	if (!defect_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	input = talloc_zero_array(tctx, uint8_t, 65536);
	torture_assert_goto(tctx, input != NULL, ret, done, "memory");
	input[0] = DEFECT_OFF;
	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		status = set_defect_input(tree, handle, input, lengths[i]);
		UDF_OK(tctx,
		       status,
		       talloc_asprintf(tctx, "input of %zu", lengths[i]));
	}
done:
	TALLOC_FREE(input);
	defect_teardown(tree, &handle);
	return ret;
}

/* A directory, whatever the input. */
static bool test_directory(struct torture_context *tctx,
			   struct smb2_tree *tree)
{
	struct smb2_handle handle = {{0}};
	struct smb2_handle dir = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (!defect_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_open(tree,
			  DNAME,
			  SEC_DIR_ADD_FILE | SEC_DIR_LIST,
			  NTCREATEX_DISP_OPEN_IF,
			  NTCREATEX_OPTIONS_DIRECTORY,
			  &dir);
	UDF_OK(tctx, status, "opening " DNAME);

	status = udf_set_defect(tree, dir, DEFECT_OFF);
	UDF_STATUS(tctx, status, NT_STATUS_INVALID_PARAMETER, "off");
	status = udf_set_defect(tree, dir, DEFECT_ON);
	UDF_STATUS(tctx, status, NT_STATUS_INVALID_PARAMETER, "on");
	status = set_defect_input(tree, dir, NULL, 0);
	UDF_STATUS(tctx, status, NT_STATUS_INVALID_PARAMETER, "no input");
done:
	udf_close(tree, &dir);
	smb2_util_rmdir(tree, DNAME);
	defect_teardown(tree, &handle);
	return ret;
}

/*
 * Bits 14-15 of the control code ask for FILE_WRITE_DATA, which Windows' I/O
 * manager checks before the file system sees the request: first of all.
 */
static bool test_access(struct torture_context *tctx, struct smb2_tree *tree)
{
	static const struct {
		const char *name;
		uint32_t access;
		bool enough;
	} cases[] = {
		{"FILE_READ_DATA", SEC_FILE_READ_DATA, false},
		{"FILE_READ_ATTRIBUTES", SEC_FILE_READ_ATTRIBUTE, false},
		{"FILE_APPEND_DATA", SEC_FILE_APPEND_DATA, false},
		{"FILE_WRITE_ATTRIBUTES", SEC_FILE_WRITE_ATTRIBUTE, false},
		{"FILE_WRITE_DATA", SEC_FILE_WRITE_DATA, true},
	};
	struct smb2_handle handle = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;
	size_t i;

	if (!defect_setup(tctx, tree, &handle, &reason)) {
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
		status = udf_set_defect(tree, handle, DEFECT_OFF);
		if (cases[i].enough) {
			UDF_OK(tctx, status, cases[i].name);
			udf_close(tree, &handle);
			continue;
		}
		UDF_STATUS(
			tctx, status, NT_STATUS_ACCESS_DENIED, cases[i].name);
		status = set_defect_input(tree, handle, NULL, 0);
		UDF_STATUS(tctx,
			   status,
			   NT_STATUS_ACCESS_DENIED,
			   "access is checked before the input");
		udf_close(tree, &handle);
	}
done:
	defect_teardown(tree, &handle);
	return ret;
}

/* Access comes before the kind of handle, too. */
static bool test_directory_access(struct torture_context *tctx,
				  struct smb2_tree *tree)
{
	struct smb2_handle handle = {{0}};
	struct smb2_handle dir = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (!defect_setup(tctx, tree, &handle, &reason)) {
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
	status = udf_set_defect(tree, dir, DEFECT_OFF);
	UDF_STATUS(
		tctx, status, NT_STATUS_ACCESS_DENIED, "FILE_LIST_DIRECTORY");
done:
	udf_close(tree, &dir);
	smb2_util_rmdir(tree, DNAME);
	defect_teardown(tree, &handle);
	return ret;
}

/*
 * With a second open of tree2 (the same connection or another's) the code is
 * refused, for either value and from either open; with that gone it is not.
 */
static bool defect_shared(struct torture_context *tctx, struct smb2_tree *tree,
			  struct smb2_tree *tree2, uint32_t access)
{
	struct smb2_handle handle = {{0}};
	struct smb2_handle second = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (!defect_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_open(
		tree2, FNAME, access, NTCREATEX_DISP_OPEN, 0, &second);
	UDF_OK(tctx, status, "opening " FNAME " again");

	status = udf_set_defect(tree, handle, DEFECT_OFF);
	UDF_STATUS(tctx, status, NT_STATUS_SHARING_VIOLATION, "off");
	status = udf_set_defect(tree, handle, DEFECT_ON);
	UDF_STATUS(tctx, status, NT_STATUS_SHARING_VIOLATION, "on");
	if (access & SEC_FILE_WRITE_DATA) {
		status = udf_set_defect(tree2, second, DEFECT_OFF);
		UDF_STATUS(tctx,
			   status,
			   NT_STATUS_SHARING_VIOLATION,
			   "from the second open");
	}
	status = set_defect_input(tree, handle, NULL, 0);
	UDF_STATUS(tctx,
		   status,
		   NT_STATUS_INVALID_PARAMETER,
		   "the input is checked before the opens");

	udf_close(tree2, &second);
	status = udf_set_defect(tree, handle, DEFECT_OFF);
	UDF_OK(tctx, status, "alone again");
done:
	udf_close(tree2, &second);
	defect_teardown(tree, &handle);
	return ret;
}

static bool test_second_open(struct torture_context *tctx,
			     struct smb2_tree *tree)
{
	return defect_shared(tctx, tree, tree, SEC_RIGHTS_FILE_ALL);
}

static bool test_second_client(struct torture_context *tctx,
			       struct smb2_tree *tree, struct smb2_tree *tree2)
{
	return defect_shared(tctx, tree, tree2, SEC_RIGHTS_FILE_ALL);
}

static bool test_second_reader(struct torture_context *tctx,
			       struct smb2_tree *tree, struct smb2_tree *tree2)
{
	return defect_shared(tctx, tree, tree2, SEC_FILE_READ_DATA);
}

/* An open that can only read attributes is an Open as well. */
static bool test_second_attributes(struct torture_context *tctx,
				   struct smb2_tree *tree,
				   struct smb2_tree *tree2)
{
	return defect_shared(tctx, tree, tree2, SEC_FILE_READ_ATTRIBUTE);
}

/* A client that vanishes no longer counts. */
static bool test_vanished_client(struct torture_context *tctx,
				 struct smb2_tree *tree,
				 struct smb2_tree *tree2)
{
	struct smb2_handle handle = {{0}};
	struct smb2_handle second = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;
	int tries;

	if (!defect_setup(tctx, tree, &handle, &reason)) {
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
	status = udf_set_defect(tree, handle, DEFECT_OFF);
	UDF_STATUS(tctx, status, NT_STATUS_SHARING_VIOLATION, "two clients");

	TALLOC_FREE(tree2);
	/* The server learns of it a moment later. */
	for (tries = 0; tries < 50; tries++) {
		status = udf_set_defect(tree, handle, DEFECT_OFF);
		if (!NT_STATUS_EQUAL(status, NT_STATUS_SHARING_VIOLATION)) {
			break;
		}
		udf_serve(tctx, 100);
	}
	UDF_OK(tctx, status, "with the second client gone");
done:
	defect_teardown(tree, &handle);
	return ret;
}

/* Another file's opens do not matter. */
static bool test_other_file(struct torture_context *tctx,
			    struct smb2_tree *tree)
{
	struct smb2_handle handle = {{0}};
	struct smb2_handle other = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (!defect_setup(tctx, tree, &handle, &reason)) {
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
	status = udf_set_defect(tree, handle, DEFECT_OFF);
	UDF_OK(tctx, status, "off for one file");
	status = udf_set_defect(tree, other, DEFECT_OFF);
	UDF_OK(tctx, status, "off for the other");
	status = udf_set_defect(tree, other, DEFECT_ON);
	UDF_OK(tctx, status, "on for the other");
done:
	udf_close(tree, &other);
	smb2_util_unlink(tree, FNAME_OTHER);
	defect_teardown(tree, &handle);
	return ret;
}

/* The flag is the stream's: another stream's opens do not matter. */
static bool test_stream(struct torture_context *tctx, struct smb2_tree *tree)
{
	union smb_fsinfo info = {
		.generic.level = RAW_QFS_ATTRIBUTE_INFORMATION,
	};
	struct smb2_handle handle = {{0}};
	struct smb2_handle stream = {{0}};
	struct smb2_handle again = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (!defect_setup(tctx, tree, &handle, &reason)) {
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
	status = udf_set_defect(tree, stream, DEFECT_OFF);
	UDF_OK(tctx, status, "off for the stream");
	status = udf_set_defect(tree, handle, DEFECT_OFF);
	UDF_OK(tctx, status, "off for the main stream");

	status = udf_open(tree,
			  SNAME,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &again);
	UDF_OK(tctx, status, "opening " SNAME " again");
	status = udf_set_defect(tree, stream, DEFECT_ON);
	UDF_STATUS(tctx,
		   status,
		   NT_STATUS_SHARING_VIOLATION,
		   "for the stream with two opens");
	status = udf_set_defect(tree, handle, DEFECT_ON);
	UDF_OK(tctx, status, "on for the main stream");
done:
	udf_close(tree, &again);
	udf_close(tree, &stream);
	defect_teardown(tree, &handle);
	return ret;
}

/* A flag that was set is no obstacle to a second open or to a delete. */
static bool test_close(struct torture_context *tctx, struct smb2_tree *tree)
{
	struct smb2_handle handle = {{0}};
	struct smb2_handle second = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (!defect_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_set_defect(tree, handle, DEFECT_OFF);
	UDF_OK(tctx, status, "off");
	status = udf_open(tree,
			  FNAME,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &second);
	UDF_OK(tctx, status, "a second open");
	udf_close(tree, &handle);
	status = udf_set_defect(tree, second, DEFECT_ON);
	UDF_OK(tctx, status, "on, from the open that is left");
	udf_close(tree, &second);
	status = smb2_util_unlink(tree, FNAME);
	UDF_OK(tctx, status, "deleting " FNAME);
done:
	udf_close(tree, &second);
	defect_teardown(tree, &handle);
	return ret;
}

/* Data is the same whichever way it was written. */
static bool test_data(struct torture_context *tctx, struct smb2_tree *tree)
{
	uint8_t data[8192] = {0};
	uint8_t got[sizeof(data)] = {0};
	struct smb2_handle handle = {{0}};
	const char *reason = NULL;
	uint8_t disable;
	bool ret = true;
	NTSTATUS status;

	if (!defect_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	for (disable = 0; disable < 4; disable++) {
		uint64_t offset = 1000 + 5000 * disable;

		status = udf_set_defect(tree, handle, disable & 1);
		UDF_OK(tctx, status, "SET_DEFECT_MANAGEMENT");
		memset(data, 0x30 + disable, sizeof(data));
		status = udf_write(
			tree, handle, offset, data, sizeof(data), 0);
		UDF_OK(tctx, status, "write");
		status = udf_flush(tree, handle);
		UDF_OK(tctx, status, "flush");
		udf_close(tree, &handle);

		status = udf_open(tree,
				  FNAME,
				  SEC_RIGHTS_FILE_ALL,
				  NTCREATEX_DISP_OPEN,
				  0,
				  &handle);
		UDF_OK(tctx, status, "opening " FNAME);
		status = udf_read(tree, handle, offset, got, sizeof(got));
		UDF_OK(tctx, status, "read");
		torture_assert_mem_equal_goto(tctx,
					      got,
					      data,
					      sizeof(data),
					      ret,
					      done,
					      "what was written");
	}
	status = udf_read(tree, handle, 0, got, 1000);
	UDF_OK(tctx, status, "read");
	torture_assert_int_equal_goto(tctx,
				      got[999],
				      udf_test_byte(999),
				      ret,
				      done,
				      "what was not written over");
done:
	defect_teardown(tree, &handle);
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

	if (!defect_setup(tctx, tree, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	stale = handle;
	udf_close(tree, &handle);
	status = udf_set_defect(tree, stale, DEFECT_OFF);
	UDF_STATUS(tctx, status, NT_STATUS_FILE_CLOSED, "on a closed handle");
done:
	defect_teardown(tree, &handle);
	return ret;
}

struct torture_suite *udf_defect_suite(TALLOC_CTX *ctx)
{
	struct torture_suite *suite = NULL;

	suite = torture_suite_create(ctx, "defect");
	if (suite == NULL) {
		return NULL;
	}
	suite->description =
		talloc_strdup(suite, "FSCTL_SET_DEFECT_MANAGEMENT");

	torture_suite_add_1smb2_test(suite, "off_and_on", test_off_and_on);
	torture_suite_add_1smb2_test(suite, "any_nonzero", test_any_nonzero);
	torture_suite_add_1smb2_test(suite, "no_input", test_no_input);
	torture_suite_add_1smb2_test(suite, "long_input", test_long_input);
	torture_suite_add_1smb2_test(suite, "directory", test_directory);
	torture_suite_add_1smb2_test(suite, "access", test_access);
	torture_suite_add_1smb2_test(
		suite, "directory_access", test_directory_access);
	torture_suite_add_1smb2_test(suite, "second_open", test_second_open);
	torture_suite_add_2smb2_test(
		suite, "second_client", test_second_client);
	torture_suite_add_2smb2_test(
		suite, "second_reader", test_second_reader);
	torture_suite_add_2smb2_test(
		suite, "second_attributes", test_second_attributes);
	torture_suite_add_2smb2_test(
		suite, "vanished_client", test_vanished_client);
	torture_suite_add_1smb2_test(suite, "other_file", test_other_file);
	torture_suite_add_1smb2_test(suite, "stream", test_stream);
	torture_suite_add_1smb2_test(suite, "close", test_close);
	torture_suite_add_1smb2_test(suite, "data", test_data);
	torture_suite_add_1smb2_test(
		suite, "closed_handle", test_closed_handle);
	return suite;
}
