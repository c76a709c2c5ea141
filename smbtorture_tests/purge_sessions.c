/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * udf.purge.sessions: a session that is authenticated again, logged off or
 * taken over (MS-SMB2 3.3.5.5.3, PreviousSessionId) while the server holds a
 * WRITE of it. Needs --option=torture:mapper=COMMAND; see mapping.c.
 */
#include "includes.h"
#include "auth/credentials/credentials.h"
#include "lib/cmdline/cmdline.h"
#include "libcli/smb2/smb2.h"
#include "libcli/smb2/smb2_calls.h"
#include "libcli/smb/smbXcli_base.h"
#include "torture/torture.h"
#include "torture/smb2/proto.h"

#include "fsctl_udf.h"
#include "mapped_file.h"
#include "suites.h"

#define DISABLED UDF_PURGE_FAILURE_MODE_DISABLED

/* The same user again: what is held knows nothing of it. */
static bool test_reauth(struct torture_context *tctx, struct smb2_tree *tree,
			struct smb2_tree *tree2)
{
	struct mapped_file file = {0};
	struct smb2_request *req = NULL;
	const char *reason = NULL;
	bool replied;
	bool ret = true;
	NTSTATUS status;

	ret = mapped_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	ret = mapped_send_held(tctx, &file, tree2, file.write, &req);
	if (!ret) {
		goto done;
	}
	/* The writer's session, and the scanner's, whose count must stay. */
	status = smb2_session_setup_spnego(
		tree2->session, samba_cmdline_get_creds(), 0);
	UDF_OK(tctx, status, "the writer again");
	status = smb2_session_setup_spnego(
		tree->session, samba_cmdline_get_creds(), 0);
	UDF_OK(tctx, status, "the scanner again");
	replied = udf_wait_reply(tctx, req, HELD_MSEC);
	torture_assert_goto(tctx, !replied, ret, done, "it stays held");
	CHECK_CONTENT(tctx, &file, false);

	status = udf_set_purge(tree, file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	ret = mapped_recv_held(tctx, req, NT_STATUS_OK, "after DISABLED");
	if (!ret) {
		goto done;
	}
	CHECK_CONTENT(tctx, &file, true);
done:
	mapped_teardown(&file);
	return ret;
}

/*
 * The session is nobody's when the bracket ends: the WRITE is done or not, as
 * its answer says; and so is the next one, which is sent then.
 */
static bool test_reauth_anonymous(struct torture_context *tctx,
				  struct smb2_tree *tree,
				  struct smb2_tree *tree2)
{
	struct mapped_file file = {0};
	struct smb2_request *req = NULL;
	struct cli_credentials *nobody = NULL;
	const char *reason = NULL;
	bool replied;
	bool ret = true;
	NTSTATUS status;
	NTSTATUS held_status;

	ret = mapped_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	ret = mapped_send_held(tctx, &file, tree2, file.write, &req);
	if (!ret) {
		goto done;
	}
	nobody = cli_credentials_init_anon(tctx);
	torture_assert_goto(tctx, nobody != NULL, ret, done, "memory");
	status = smb2_session_setup_spnego(tree2->session, nobody, 0);
	if (!NT_STATUS_IS_OK(status)) {
		torture_comment(tctx, "anonymous: %s\n", nt_errstr(status));
		torture_skip_goto(
			tctx, done, "a session cannot become anonymous\n");
	}
	status = udf_set_purge(tree, file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	replied = udf_wait_reply(tctx, req, RELEASE_MSEC);
	torture_assert_goto(
		tctx, replied, ret, done, "it is answered after DISABLED");
	held_status = udf_write_recv(req);
	torture_comment(tctx, "held: %s\n", nt_errstr(held_status));
	CHECK_CONTENT(tctx, &file, NT_STATUS_IS_OK(held_status));

	memset(file.data, 0xA5, sizeof(file.data));
	status = udf_write(tree2,
			   file.write,
			   WRITE_OFFSET,
			   file.data,
			   WRITE_LENGTH,
			   0);
	UDF_STATUS(tctx,
		   status,
		   held_status,
		   "a WRITE that is sent now has the same status");

	status = smb2_session_setup_spnego(
		tree2->session, samba_cmdline_get_creds(), 0);
	UDF_OK(tctx, status, "the user again");
	status = udf_write(tree2,
			   file.write,
			   WRITE_OFFSET,
			   file.data,
			   WRITE_LENGTH,
			   0);
	UDF_OK(tctx, status, "the handle is as good as before");
	CHECK_CONTENT(tctx, &file, true);
done:
	mapped_teardown(&file);
	return ret;
}

/* The session ends while its WRITE is held: that ends, and is never done. */
static bool check_gone(struct torture_context *tctx, struct mapped_file *file,
		       struct smb2_request *req)
{
	NTSTATUS status;
	bool replied;

	replied = udf_wait_reply(tctx, req, RELEASE_MSEC);
	torture_assert(tctx, replied, "it ends with its session");
	status = udf_write_recv(req);
	torture_comment(tctx, "held: %s\n", nt_errstr(status));
	torture_assert(tctx, !NT_STATUS_IS_OK(status), "it was not done");
	return mapped_check_never_written(tctx, file);
}

static bool test_logoff(struct torture_context *tctx, struct smb2_tree *tree,
			struct smb2_tree *tree2)
{
	struct mapped_file file = {0};
	struct smb2_request *req = NULL;
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	ret = mapped_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	ret = mapped_send_held(tctx, &file, tree2, file.write, &req);
	if (!ret) {
		goto done;
	}
	file.writer = NULL;
	status = smb2_logoff(tree2->session);
	UDF_OK(tctx, status, "LOGOFF");
	ret = check_gone(tctx, &file, req);
done:
	mapped_teardown(&file);
	return ret;
}

/*
 * A client that came back, which the server may not know yet, and says which
 * session was its: that of same_client has the client's GUID, too.
 */
static bool check_previous(struct torture_context *tctx,
			   struct smb2_tree *tree, struct smb2_tree *tree2,
			   bool same_client)
{
	struct mapped_file file = {0};
	struct smbcli_options options = tree2->session->transport->options;
	uint64_t id = smb2cli_session_current_id(tree2->session->smbXcli);
	struct smb2_tree *back = NULL;
	struct smb2_request *req = NULL;
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	ret = mapped_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	ret = mapped_send_held(tctx, &file, tree2, file.write, &req);
	if (!ret) {
		goto done;
	}
	file.writer = NULL;
	if (!same_client) {
		options.client_guid = GUID_random();
	}
	ret = torture_smb2_connection_ext(tctx, id, &options, &back);
	torture_assert_goto(tctx, ret, ret, done, "connecting again");
	ret = check_gone(tctx, &file, req);
	if (!ret) {
		goto done;
	}

	status = udf_open(back,
			  MAPPED_FNAME,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &file.write);
	UDF_OK(tctx, status, "opening in the new session");
	file.writer = back;
	status = udf_write(back,
			   file.write,
			   WRITE_OFFSET,
			   file.data,
			   WRITE_LENGTH,
			   0);
	UDF_OK(tctx, status, "writing in the new session");
	CHECK_CONTENT(tctx, &file, true);
done:
	mapped_teardown(&file);
	return ret;
}

static bool test_previous(struct torture_context *tctx,
			  struct smb2_tree *tree, struct smb2_tree *tree2)
{
	return check_previous(tctx, tree, tree2, true);
}

static bool test_previous_other(struct torture_context *tctx,
				struct smb2_tree *tree,
				struct smb2_tree *tree2)
{
	return check_previous(tctx, tree, tree2, false);
}

struct torture_suite *udf_purge_sessions_suite(TALLOC_CTX *ctx)
{
	struct torture_suite *suite = NULL;

	suite = torture_suite_create(ctx, "sessions");
	if (suite == NULL) {
		return NULL;
	}
	suite->description = talloc_strdup(
		suite, "Held requests of a session that changes");

	torture_suite_add_2smb2_test(suite, "reauth", test_reauth);
	torture_suite_add_2smb2_test(
		suite, "reauth_anonymous", test_reauth_anonymous);
	torture_suite_add_2smb2_test(suite, "logoff", test_logoff);
	torture_suite_add_2smb2_test(suite, "previous", test_previous);
	torture_suite_add_2smb2_test(
		suite, "previous_other", test_previous_other);
	return suite;
}
