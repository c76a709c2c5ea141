/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * udf.purge.expiry: a session whose Kerberos ticket expires (MS-SMB2 3.3.5.2.9)
 * while it has a count, or while the server holds something of it. Needs
 * Kerberos (--option="client use kerberos=required") and
 * --option=torture:mapper=COMMAND; see mapping.c.
 */
#include "includes.h"
#include "auth/credentials/credentials.h"
#include "lib/cmdline/cmdline.h"
#include "libcli/smb2/smb2.h"
#include "libcli/smb2/smb2_calls.h"
#include "libcli/smb/smbXcli_base.h"
#include "lib/param/param.h"
#include "torture/torture.h"
#include "torture/smb2/proto.h"

#include "fsctl_udf.h"
#include "mapped_file.h"
#include "suites.h"

#define ENABLED UDF_PURGE_FAILURE_MODE_ENABLED
#define DISABLED UDF_PURGE_FAILURE_MODE_DISABLED

#define FNAME_SOURCE UDF_TEST_PATH("expiry_source.dat")

/* For how long a ticket is asked for that has to expire. */
#define LIFE_SECONDS "3"

/* What that may take; a server may allow for clocks that differ. */
#define EXPIRED_MSEC 60000

/* Does the client use Kerberos? NULL, or why not. */
static const char *why_not(void)
{
	struct cli_credentials *creds = samba_cmdline_get_creds();

	if (cli_credentials_get_kerberos_state(creds) !=
	    CRED_USE_KERBEROS_REQUIRED)
	{
		return "needs Kerberos: "
		       "--option=\"client use kerberos=required\"\n";
	}
	return NULL;
}

static bool expiry_setup(struct torture_context *tctx,
			 struct mapped_file *file, struct smb2_tree *scanner,
			 struct smb2_tree *writer, const char **reason)
{
	*reason = why_not();
	if (*reason != NULL) {
		return true;
	}
	return mapped_setup(tctx, file, scanner, writer, reason);
}

/*
 * Authenticate the session again, with a new ticket of so many seconds, "0"
 * for as many as there are.
 */
static bool authenticate(struct torture_context *tctx, struct smb2_tree *tree,
			 const char *seconds)
{
	struct cli_credentials *creds = samba_cmdline_get_creds();
	const char *option = NULL;
	NTSTATUS status;

	option = talloc_asprintf(
		tctx, "gensec_gssapi:requested_life_time=%s", seconds);
	torture_assert(tctx, option != NULL, "memory");
	cli_credentials_invalidate_ccache(creds, CRED_SPECIFIED);
	lpcfg_set_option(tctx->lp_ctx, option);
	status = smb2_session_setup_spnego(tree->session, creds, 0);
	lpcfg_set_option(tctx->lp_ctx, "gensec_gssapi:requested_life_time=0");
	cli_credentials_invalidate_ccache(creds, CRED_SPECIFIED);
	torture_assert_ntstatus_ok(tctx, status, "authenticating again");
	return true;
}

/* Have the session, which has this open, expire. */
static bool expire(struct torture_context *tctx, struct smb2_tree *tree,
		   struct smb2_handle handle)
{
	struct timeval start = timeval_current();
	uint8_t byte = 0;
	NTSTATUS status = NT_STATUS_OK;

	if (!authenticate(tctx, tree, LIFE_SECONDS)) {
		return false;
	}
	while (NT_STATUS_IS_OK(status) &&
	       timeval_elapsed(&start) * 1000 < EXPIRED_MSEC)
	{
		udf_serve(tctx, 50);
		status = udf_read(tree, handle, 0, &byte, sizeof(byte));
	}
	torture_assert_ntstatus_equal(tctx,
				      status,
				      NT_STATUS_NETWORK_SESSION_EXPIRED,
				      "a READ when the ticket has expired");
	return true;
}

#define EXPIRED(tctx, got, what)                                               \
	UDF_STATUS(tctx, got, NT_STATUS_NETWORK_SESSION_EXPIRED, what)

/*
 * The session with the count expires: the count stays, and cannot be changed
 * until it is authenticated again.
 */
static bool test_count(struct torture_context *tctx, struct smb2_tree *tree,
		       struct smb2_tree *tree2)
{
	struct mapped_file file = {0};
	struct smb2_request *req = NULL;
	const char *reason = NULL;
	bool replied;
	bool ret = true;
	NTSTATUS status;

	ret = expiry_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	ret = expire(tctx, tree, file.scan);
	if (!ret) {
		goto done;
	}
	status = udf_set_purge(tree, file.scan, ENABLED);
	EXPIRED(tctx, status, "ENABLED");
	status = udf_set_purge(tree, file.scan, DISABLED);
	EXPIRED(tctx, status, "DISABLED");
	ret = mapped_send_held(tctx, &file, tree2, file.write, &req);
	if (!ret) {
		goto done;
	}
	status = udf_set_end_of_file(tree2, file.write, WRITE_OFFSET);
	UDF_STATUS(tctx, status, NT_STATUS_PURGE_FAILED, "a shrink");

	ret = authenticate(tctx, tree, "0");
	if (!ret) {
		goto done;
	}
	replied = udf_wait_reply(tctx, req, HELD_MSEC);
	torture_assert_goto(tctx, !replied, ret, done, "it stays held");
	CHECK_CONTENT(tctx, &file, false);
	status = udf_set_purge(tree, file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED, authenticated again");
	ret = mapped_recv_held(tctx, req, NT_STATUS_OK, "after DISABLED");
	if (!ret) {
		goto done;
	}
	CHECK_CONTENT(tctx, &file, true);
	status = udf_set_purge(tree, file.scan, DISABLED);
	UDF_STATUS(tctx,
		   status,
		   NT_STATUS_INVALID_PARAMETER,
		   "nothing was counted while it had expired");
done:
	mapped_teardown(&file);
	return ret;
}

/* What ends a session, or what was asked for in it, when it has expired. */
enum expiry_end {
	EXPIRY_CLOSE,
	EXPIRY_LOGOFF,
	EXPIRY_DISCONNECT,
};

static NTSTATUS expiry_end(struct smb2_tree *tree, struct smb2_handle handle,
			   enum expiry_end how)
{
	NTSTATUS status = NT_STATUS_OK;

	switch (how) {
	case EXPIRY_CLOSE:
		status = smb2_util_close(tree, handle);
		break;
	case EXPIRY_LOGOFF:
		status = smb2_logoff(tree->session);
		break;
	case EXPIRY_DISCONNECT:
		smbXcli_conn_disconnect(tree->session->transport->conn,
					NT_STATUS_LOCAL_DISCONNECT);
		break;
	}
	return status;
}

/* The count of an expired session goes with its open, and with it. */
static bool check_count_ends(struct torture_context *tctx,
			     struct smb2_tree *tree, struct smb2_tree *tree2,
			     enum expiry_end how)
{
	struct mapped_file file = {0};
	struct smb2_request *req = NULL;
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	ret = expiry_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	ret = mapped_send_held(tctx, &file, tree2, file.write, &req);
	if (!ret) {
		goto done;
	}
	ret = expire(tctx, tree, file.scan);
	if (!ret) {
		goto done;
	}
	torture_assert_goto(tctx,
			    !udf_wait_reply(tctx, req, HELD_MSEC),
			    ret,
			    done,
			    "it stays held");
	status = expiry_end(tree, file.scan, how);
	UDF_OK(tctx, status, "an expired session may end");
	/* The writer is the one who can look. */
	file.scanner = tree2;
	file.scan = file.write;
	file.writer = NULL;
	ret = mapped_recv_held(tctx, req, NT_STATUS_OK, "the count has ended");
	if (!ret) {
		goto done;
	}
	CHECK_CONTENT(tctx, &file, true);
	status = udf_set_end_of_file(
		tree2, file.write, UDF_TEST_FILE_SIZE / 2);
	UDF_OK(tctx, status, "a shrink");
done:
	mapped_teardown(&file);
	return ret;
}

static bool test_count_close(struct torture_context *tctx,
			     struct smb2_tree *tree, struct smb2_tree *tree2)
{
	return check_count_ends(tctx, tree, tree2, EXPIRY_CLOSE);
}

static bool test_count_logoff(struct torture_context *tctx,
			      struct smb2_tree *tree, struct smb2_tree *tree2)
{
	return check_count_ends(tctx, tree, tree2, EXPIRY_LOGOFF);
}

static bool test_count_disconnect(struct torture_context *tctx,
				  struct smb2_tree *tree,
				  struct smb2_tree *tree2)
{
	return check_count_ends(tctx, tree, tree2, EXPIRY_DISCONNECT);
}

/* The writer's session has expired: what it asks for is not done or held. */
static bool test_write(struct torture_context *tctx, struct smb2_tree *tree,
		       struct smb2_tree *tree2)
{
	struct mapped_file file = {0};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	ret = expiry_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	ret = expire(tctx, tree2, file.write);
	if (!ret) {
		goto done;
	}
	status = udf_write(
		tree2, file.write, WRITE_OFFSET, file.data, WRITE_LENGTH, 0);
	EXPIRED(tctx, status, "a WRITE that would be held");
	status = udf_set_end_of_file(tree2, file.write, WRITE_OFFSET);
	EXPIRED(tctx, status, "a shrink that would be refused");
	status = udf_zero_data(tree2, file.write, WRITE_OFFSET, WRITE_LENGTH);
	EXPIRED(tctx, status, "FSCTL_SET_ZERO_DATA");
	status = udf_set_purge(tree2, file.write, ENABLED);
	EXPIRED(tctx, status, "ENABLED");
	CHECK_CONTENT(tctx, &file, false);

	status = udf_set_purge(tree, file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	udf_serve(tctx, HELD_MSEC);
	CHECK_CONTENT(tctx, &file, false);
	status = udf_write(
		tree2, file.write, WRITE_OFFSET, file.data, WRITE_LENGTH, 0);
	EXPIRED(tctx, status, "a WRITE without a bracket");
	CHECK_CONTENT(tctx, &file, false);

	ret = authenticate(tctx, tree2, "0");
	if (!ret) {
		goto done;
	}
	status = udf_set_purge(tree2, file.write, DISABLED);
	UDF_STATUS(tctx,
		   status,
		   NT_STATUS_INVALID_PARAMETER,
		   "ENABLED was not counted");
	status = udf_write(
		tree2, file.write, WRITE_OFFSET, file.data, WRITE_LENGTH, 0);
	UDF_OK(tctx, status, "a WRITE, authenticated again");
	CHECK_CONTENT(tctx, &file, true);
done:
	mapped_teardown(&file);
	return ret;
}

/* A copy-chunk into the mapped file, from another, which must be held. */
static bool send_held_copy(struct torture_context *tctx,
			   struct mapped_file *file,
			   struct smb2_handle *source,
			   struct smb2_request **req)
{
	uint8_t key[UDF_RESUME_KEY_LEN] = {0};
	NTSTATUS status;
	size_t i;

	status = udf_test_file(file->writer, FNAME_SOURCE);
	torture_assert_ntstatus_ok(tctx, status, "making " FNAME_SOURCE);
	status = udf_open(file->writer,
			  FNAME_SOURCE,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN,
			  0,
			  source);
	torture_assert_ntstatus_ok(tctx, status, "opening " FNAME_SOURCE);
	status = udf_resume_key(file->writer, *source, key);
	torture_assert_ntstatus_ok(tctx, status, "the source's key");
	for (i = 0; i < sizeof(file->data); i++) {
		file->data[i] = udf_test_byte(i);
	}
	*req = udf_copy_chunk_send(file->writer,
				   key,
				   0,
				   file->write,
				   WRITE_OFFSET,
				   WRITE_LENGTH);
	return mapped_stays_held(tctx, *req);
}

/*
 * What is held was asked for when the session was good: it is done at the end
 * of the bracket, and answered, although the session has expired.
 */
static bool check_held_done(struct torture_context *tctx,
			    struct smb2_tree *tree, struct smb2_tree *tree2,
			    bool copy)
{
	struct mapped_file file = {0};
	struct smb2_handle source = {{0}};
	struct smb2_request *req = NULL;
	const char *reason = NULL;
	bool replied;
	bool ret = true;
	NTSTATUS status;

	ret = expiry_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	if (copy) {
		ret = send_held_copy(tctx, &file, &source, &req);
	} else {
		ret = mapped_send_held(tctx, &file, tree2, file.write, &req);
	}
	if (!ret) {
		goto done;
	}
	ret = expire(tctx, tree2, file.write);
	if (!ret) {
		goto done;
	}
	replied = udf_wait_reply(tctx, req, HELD_MSEC);
	torture_assert_goto(tctx, !replied, ret, done, "it stays held");
	CHECK_CONTENT(tctx, &file, false);

	status = udf_set_purge(tree, file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	replied = udf_wait_reply(tctx, req, RELEASE_MSEC);
	torture_assert_goto(tctx, replied, ret, done, "after DISABLED");
	status = copy ? udf_copy_chunk_recv(req) : udf_write_recv(req);
	UDF_OK(tctx, status, "after DISABLED");
	CHECK_CONTENT(tctx, &file, true);

	memset(file.data, 0xA5, sizeof(file.data));
	status = udf_write(
		tree2, file.write, WRITE_OFFSET, file.data, WRITE_LENGTH, 0);
	EXPIRED(tctx, status, "a WRITE that is sent now");
	ret = authenticate(tctx, tree2, "0");
	if (!ret) {
		goto done;
	}
	status = udf_write(
		tree2, file.write, WRITE_OFFSET, file.data, WRITE_LENGTH, 0);
	UDF_OK(tctx, status, "a WRITE, authenticated again");
	CHECK_CONTENT(tctx, &file, true);
done:
	udf_close(tree2, &source);
	smb2_util_unlink(tree, FNAME_SOURCE);
	mapped_teardown(&file);
	return ret;
}

static bool test_held(struct torture_context *tctx, struct smb2_tree *tree,
		      struct smb2_tree *tree2)
{
	return check_held_done(tctx, tree, tree2, false);
}

static bool test_held_copy(struct torture_context *tctx,
			   struct smb2_tree *tree, struct smb2_tree *tree2)
{
	return check_held_done(tctx, tree, tree2, true);
}

/* Authenticated again while it is held: nothing has happened. */
static bool test_held_reauth(struct torture_context *tctx,
			     struct smb2_tree *tree, struct smb2_tree *tree2)
{
	struct mapped_file file = {0};
	struct smb2_request *req = NULL;
	const char *reason = NULL;
	bool replied;
	bool ret = true;
	NTSTATUS status;

	ret = expiry_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	ret = mapped_send_held(tctx, &file, tree2, file.write, &req);
	if (!ret) {
		goto done;
	}
	ret = expire(tctx, tree2, file.write);
	if (!ret) {
		goto done;
	}
	ret = authenticate(tctx, tree2, "0");
	if (!ret) {
		goto done;
	}
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

/* The client may still take back what is held. */
static bool test_held_cancel(struct torture_context *tctx,
			     struct smb2_tree *tree, struct smb2_tree *tree2)
{
	struct mapped_file file = {0};
	struct smb2_request *req = NULL;
	const char *reason = NULL;
	bool ret = true;

	ret = expiry_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	ret = mapped_send_held(tctx, &file, tree2, file.write, &req);
	if (!ret) {
		goto done;
	}
	ret = expire(tctx, tree2, file.write);
	if (!ret) {
		goto done;
	}
	smb2_cancel(req);
	ret = mapped_recv_held(tctx, req, NT_STATUS_CANCELLED, "CANCEL");
	if (!ret) {
		goto done;
	}
	ret = mapped_check_never_written(tctx, &file);
done:
	mapped_teardown(&file);
	return ret;
}

/* What is held of an expired session ends with its open, and with it. */
static bool check_held_ends(struct torture_context *tctx,
			    struct smb2_tree *tree, struct smb2_tree *tree2,
			    enum expiry_end how)
{
	struct mapped_file file = {0};
	struct smb2_request *req = NULL;
	const char *reason = NULL;
	bool replied;
	bool ret = true;
	NTSTATUS status;

	ret = expiry_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	ret = mapped_send_held(tctx, &file, tree2, file.write, &req);
	if (!ret) {
		goto done;
	}
	ret = expire(tctx, tree2, file.write);
	if (!ret) {
		goto done;
	}
	file.writer = NULL;
	status = expiry_end(tree2, file.write, how);
	UDF_OK(tctx, status, "an expired session may end");
	replied = udf_wait_reply(tctx, req, RELEASE_MSEC);
	torture_assert_goto(tctx, replied, ret, done, "what is held ends");
	status = udf_write_recv(req);
	torture_comment(tctx, "held: %s\n", nt_errstr(status));
	torture_assert_goto(
		tctx, !NT_STATUS_IS_OK(status), ret, done, "it was not done");
	ret = mapped_wait_closed(tctx, &file);
	if (!ret) {
		goto done;
	}
	ret = mapped_check_never_written(tctx, &file);
done:
	mapped_teardown(&file);
	return ret;
}

static bool test_held_close(struct torture_context *tctx,
			    struct smb2_tree *tree, struct smb2_tree *tree2)
{
	return check_held_ends(tctx, tree, tree2, EXPIRY_CLOSE);
}

static bool test_held_logoff(struct torture_context *tctx,
			     struct smb2_tree *tree, struct smb2_tree *tree2)
{
	return check_held_ends(tctx, tree, tree2, EXPIRY_LOGOFF);
}

static bool test_held_disconnect(struct torture_context *tctx,
				 struct smb2_tree *tree,
				 struct smb2_tree *tree2)
{
	return check_held_ends(tctx, tree, tree2, EXPIRY_DISCONNECT);
}

struct torture_suite *udf_purge_expiry_suite(TALLOC_CTX *ctx)
{
	struct torture_suite *suite = NULL;

	suite = torture_suite_create(ctx, "expiry");
	if (suite == NULL) {
		return NULL;
	}
	suite->description = talloc_strdup(
		suite, "Counts and held requests of a session that expires");

	torture_suite_add_2smb2_test(suite, "count", test_count);
	torture_suite_add_2smb2_test(suite, "count_close", test_count_close);
	torture_suite_add_2smb2_test(suite, "count_logoff", test_count_logoff);
	torture_suite_add_2smb2_test(
		suite, "count_disconnect", test_count_disconnect);
	torture_suite_add_2smb2_test(suite, "write", test_write);
	torture_suite_add_2smb2_test(suite, "held", test_held);
	torture_suite_add_2smb2_test(suite, "held_copy", test_held_copy);
	torture_suite_add_2smb2_test(suite, "held_reauth", test_held_reauth);
	torture_suite_add_2smb2_test(suite, "held_cancel", test_held_cancel);
	torture_suite_add_2smb2_test(suite, "held_close", test_held_close);
	torture_suite_add_2smb2_test(suite, "held_logoff", test_held_logoff);
	torture_suite_add_2smb2_test(
		suite, "held_disconnect", test_held_disconnect);
	return suite;
}
