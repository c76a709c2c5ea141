/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * udf.purge.life: what the count of an open outlives and what it does not:
 * an oplock break, a delete that is pending, very many brackets.
 */
#include "includes.h"
#include "libcli/smb2/smb2.h"
#include "libcli/smb2/smb2_calls.h"
#include "torture/torture.h"
#include "torture/smb2/proto.h"

#include "fsctl_udf.h"
#include "suites.h"
#include "util.h"

#define FNAME UDF_TEST_PATH("purge_life.dat")

#define ENABLED UDF_PURGE_FAILURE_MODE_ENABLED
#define DISABLED UDF_PURGE_FAILURE_MODE_DISABLED

/* How many brackets are open at a time in test_many. */
#define MANY 10000

static NTSTATUS shrink(struct smb2_tree *tree, struct smb2_handle handle)
{
	return udf_set_end_of_file(tree, handle, UDF_TEST_FILE_SIZE - 1);
}

/* Does the server serve the code to clients? Opens FNAME with an oplock. */
static bool life_setup(struct torture_context *tctx, struct smb2_tree *tree,
		       uint8_t oplock, struct smb2_handle *handle,
		       const char **reason)
{
	struct smb2_create io = {
		.in.desired_access = SEC_RIGHTS_FILE_ALL,
		.in.file_attributes = FILE_ATTRIBUTE_NORMAL,
		.in.share_access = NTCREATEX_SHARE_ACCESS_MASK,
		.in.create_disposition = NTCREATEX_DISP_OPEN,
		.in.impersonation_level = SMB2_IMPERSONATION_IMPERSONATION,
		.in.oplock_level = oplock,
		.in.fname = FNAME,
	};
	NTSTATUS status;

	*reason = NULL;
	if (!udf_test_dir(tctx, tree)) {
		return false;
	}
	status = udf_test_file(tree, FNAME);
	torture_assert_ntstatus_ok(tctx, status, "making " FNAME);
	status = smb2_create(tree, tctx, &io);
	torture_assert_ntstatus_ok(tctx, status, "opening " FNAME);
	*handle = io.out.file.handle;

	status = udf_set_purge(tree, *handle, ENABLED);
	if (udf_not_served(status)) {
		*reason = "the server does not serve "
			  "FSCTL_SET_PURGE_FAILURE_MODE to clients\n";
		return true;
	}
	torture_assert_ntstatus_ok(tctx, status, "ENABLED");
	if (oplock != SMB2_OPLOCK_LEVEL_NONE &&
	    io.out.oplock_level != oplock)
	{
		*reason = "the server grants no batch oplock\n";
	}
	return true;
}

struct life_break {
	struct smb2_tree *tree;
	unsigned int count;
};

static void life_break_done(struct smb2_request *req)
{
	struct smb2_break io = {.in.oplock_level = 0};

	smb2_break_recv(req, &io);
}

/* Acknowledge; called while the other client's open waits. */
static bool life_break_handler(struct smb2_transport *transport,
			       const struct smb2_handle *handle,
			       uint8_t level, void *private_data)
{
	struct life_break *seen = private_data;
	struct smb2_break io = {
		.in.file.handle = *handle,
		.in.oplock_level = level,
	};
	struct smb2_request *req = NULL;

	seen->count += 1;
	req = smb2_break_send(seen->tree, &io);
	if (req == NULL) {
		return false;
	}
	req->async.fn = life_break_done;
	return true;
}

/* An oplock is lost to another open; the bracket is not. */
static bool test_oplock_break(struct torture_context *tctx,
			      struct smb2_tree *tree, struct smb2_tree *tree2)
{
	struct smb2_transport *transport = tree->session->transport;
	struct life_break seen = {.tree = tree};
	struct smb2_handle handle = {{0}};
	struct smb2_handle second = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	transport->oplock.handler = life_break_handler;
	transport->oplock.private_data = &seen;
	if (!life_setup(tctx,
			tree,
			SMB2_OPLOCK_LEVEL_BATCH,
			&handle,
			&reason))
	{
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_open(tree2,
			  FNAME,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &second);
	UDF_OK(tctx, status, "opening " FNAME " from another client");
	torture_assert_goto(
		tctx, seen.count > 0, ret, done, "there was no oplock break");
	status = shrink(tree2, second);
	UDF_STATUS(tctx,
		   status,
		   NT_STATUS_PURGE_FAILED,
		   "shrinking after the break");
	status = udf_set_purge(tree, handle, DISABLED);
	UDF_OK(tctx, status, "DISABLED after the break");
	status = shrink(tree2, second);
	UDF_OK(tctx, status, "shrinking after DISABLED");
done:
	transport->oplock.handler = NULL;
	udf_close(tree2, &second);
	udf_close(tree, &handle);
	udf_remove(tree, FNAME);
	return ret;
}

/*
 * A file that is counted is deleted: its count goes with its last handle, and
 * a new file of the same name starts at zero.
 */
static bool test_delete(struct torture_context *tctx, struct smb2_tree *tree)
{
	struct smb2_handle handle = {{0}};
	struct smb2_handle second = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (!life_setup(tctx, tree, SMB2_OPLOCK_LEVEL_NONE, &handle, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_open(tree,
			  FNAME,
			  SEC_STD_DELETE,
			  NTCREATEX_DISP_OPEN,
			  NTCREATEX_OPTIONS_DELETE_ON_CLOSE,
			  &second);
	UDF_OK(tctx, status, "opening " FNAME " to delete it");
	udf_close(tree, &second);
	/* The delete is pending now. */
	status = udf_set_purge(tree, handle, ENABLED);
	UDF_OK(tctx, status, "ENABLED with the delete pending");
	status = udf_set_purge(tree, handle, DISABLED);
	UDF_OK(tctx, status, "DISABLED with the delete pending");
	udf_close(tree, &handle);

	status = udf_open(tree,
			  FNAME,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &handle);
	UDF_STATUS(tctx,
		   status,
		   NT_STATUS_OBJECT_NAME_NOT_FOUND,
		   "opening what was deleted");
	status = udf_test_file(tree, FNAME);
	UDF_OK(tctx, status, "making " FNAME " again");
	status = udf_open(tree,
			  FNAME,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &handle);
	UDF_OK(tctx, status, "opening the new " FNAME);
	status = shrink(tree, handle);
	UDF_OK(tctx, status, "shrinking the new " FNAME);
done:
	udf_close(tree, &second);
	udf_close(tree, &handle);
	udf_remove(tree, FNAME);
	return ret;
}

/* MANY brackets on one file, of two opens: the sum is right all the way. */
static bool test_many(struct torture_context *tctx, struct smb2_tree *tree)
{
	struct smb2_handle handles[2] = {{{0}}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;
	unsigned int i;

	if (!life_setup(
		    tctx, tree, SMB2_OPLOCK_LEVEL_NONE, &handles[0], &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_open(tree,
			  FNAME,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &handles[1]);
	UDF_OK(tctx, status, "opening " FNAME " again");

	/* The first was counted by life_setup(). */
	for (i = 1; i < MANY; i++) {
		status = udf_set_purge(tree, handles[i % 2], ENABLED);
		UDF_OK(tctx, status, "ENABLED");
	}
	for (i = 1; i < MANY; i++) {
		status = udf_set_purge(tree, handles[i % 2], DISABLED);
		UDF_OK(tctx, status, "DISABLED");
	}
	status = shrink(tree, handles[1]);
	UDF_STATUS(tctx,
		   status,
		   NT_STATUS_PURGE_FAILED,
		   "shrinking with one bracket left");
	status = udf_set_purge(tree, handles[1], DISABLED);
	UDF_STATUS(tctx,
		   status,
		   NT_STATUS_INVALID_PARAMETER,
		   "DISABLED once more by the other open");
	status = udf_set_purge(tree, handles[0], DISABLED);
	UDF_OK(tctx, status, "the last DISABLED");
	status = shrink(tree, handles[1]);
	UDF_OK(tctx, status, "shrinking with none left");
done:
	udf_close(tree, &handles[1]);
	udf_close(tree, &handles[0]);
	udf_remove(tree, FNAME);
	return ret;
}

struct torture_suite *udf_purge_life_suite(TALLOC_CTX *ctx)
{
	struct torture_suite *suite = NULL;

	suite = torture_suite_create(ctx, "life");
	if (suite == NULL) {
		return NULL;
	}
	suite->description = talloc_strdup(
		suite, "What the count of an open outlives");

	torture_suite_add_2smb2_test(suite, "oplock_break", test_oplock_break);
	torture_suite_add_1smb2_test(suite, "delete", test_delete);
	torture_suite_add_1smb2_test(suite, "many", test_many);
	return suite;
}
