/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * udf.purge.channels: a client whose session has two connections (MS-SMB2
 * 3.3.5.5.2, multi-channel), one of which is lost while the server holds a
 * WRITE that came over it, and what it sends again over the other (MS-SMB2
 * 3.3.5.2.10, ChannelSequence and SMB2_FLAGS_REPLAY_OPERATION). Needs
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

/* A mapped file whose writer has a second channel. */
struct channels {
	struct mapped_file file;
	struct smb2_tree *first; /* NULL when lost */
	struct smb2_tree *second;
};

/* A second connection of the client's, bound to tree's session. */
static bool bind_channel(struct torture_context *tctx, struct smb2_tree *tree,
			 struct smb2_tree **bound)
{
	struct smbcli_options options = tree->session->transport->options;
	struct gensec_settings *settings = NULL;
	struct smb2_session *session = NULL;
	struct smb2_tree *other = NULL;
	NTSTATUS status;
	bool ok;

	options.only_negprot = true;
	ok = torture_smb2_connection_ext(tctx, 0, &options, &other);
	torture_assert(tctx, ok, "a second connection");

	settings = lpcfg_gensec_settings(tctx, tctx->lp_ctx);
	session = smb2_session_channel(
		other->session->transport, settings, tctx, tree->session);
	torture_assert(tctx, session != NULL, "a channel's session");
	status = smb2_session_setup_spnego(
		session, samba_cmdline_get_creds(), 0);
	torture_assert_ntstatus_ok(tctx, status, "binding the session");

	other->smbXcli = tree->smbXcli;
	other->session = session;
	*bound = other;
	return true;
}

/* *reason says why there can be no such thing here. */
static bool channels_setup(struct torture_context *tctx, struct channels *c,
			   struct smb2_tree *scanner,
			   struct smb2_tree *writer, const char **reason)
{
	struct smbXcli_conn *conn = writer->session->transport->conn;
	uint32_t caps = smb2cli_conn_server_capabilities(conn);
	bool ok;

	*c = (struct channels){.first = writer};
	if (smbXcli_conn_protocol(conn) < PROTOCOL_SMB3_00 ||
	    (caps & SMB2_CAP_MULTI_CHANNEL) == 0) {
		*reason = "the server has no multi-channel\n";
		return true;
	}
	ok = mapped_setup(tctx, &c->file, scanner, writer, reason);
	if (!ok || *reason != NULL) {
		return ok;
	}
	return bind_channel(tctx, writer, &c->second);
}

/*
 * Drop a connection, as a cable that is pulled does, and wait for the answer
 * of what was sent over it: there is none.
 */
static bool lose(struct torture_context *tctx, struct smb2_tree **tree,
		 struct smb2_request *req)
{
	struct smb2_transport *transport = (*tree)->session->transport;
	NTSTATUS status;
	bool replied;

	smbXcli_conn_disconnect(transport->conn, NT_STATUS_LOCAL_DISCONNECT);
	*tree = NULL;
	replied = udf_wait_reply(tctx, req, RELEASE_MSEC);
	torture_assert(tctx, replied, "losing a connection");
	status = udf_write_recv(req);
	torture_assert_ntstatus_equal(
		tctx, status, NT_STATUS_LOCAL_DISCONNECT, "no answer");
	return true;
}

/* Hold a WRITE over the first channel and lose that. */
static bool hold_and_lose_first(struct torture_context *tctx,
				struct channels *c)
{
	struct smb2_request *req = NULL;
	bool ok;

	ok = mapped_send_held(tctx, &c->file, c->first, c->file.write, &req);
	if (!ok || !lose(tctx, &c->first, req)) {
		return false;
	}
	c->file.writer = c->second;
	/* The server's reading of the end of the connection goes first. */
	udf_serve(tctx, HELD_MSEC);
	return mapped_check_content(tctx, &c->file, false);
}

/* A WRITE of file.data over the second channel, as one that is sent again. */
static struct smb2_request *replay_send(struct channels *c)
{
	struct smbXcli_session *session = c->second->session->smbXcli;
	struct smb2_request *req = NULL;

	smb2cli_session_start_replay(session);
	req = udf_write_send(c->second,
			     c->file.write,
			     WRITE_OFFSET,
			     c->file.data,
			     WRITE_LENGTH,
			     0);
	smb2cli_session_stop_replay(session);
	return req;
}

/* Wait until what was held is written; nobody gets an answer for it. */
static bool wait_until_written(struct torture_context *tctx,
			       struct channels *c)
{
	struct timeval start = timeval_current();
	uint8_t got = 0;
	NTSTATUS status;

	while (timeval_elapsed(&start) * 1000 < RELEASE_MSEC) {
		status = udf_read(c->file.scanner,
				  c->file.scan,
				  WRITE_OFFSET,
				  &got,
				  sizeof(got));
		torture_assert_ntstatus_ok(tctx, status, "reading");
		if (got == c->file.data[0]) {
			break;
		}
		udf_serve(tctx, 10);
	}
	return mapped_check_content(tctx, &c->file, true);
}

/*
 * What is held outlives its channel while the session has another, and is
 * done at the end of the bracket.
 */
static bool test_lost(struct torture_context *tctx, struct smb2_tree *tree,
		      struct smb2_tree *tree2)
{
	struct channels c = {.second = NULL};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	ret = channels_setup(tctx, &c, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	ret = hold_and_lose_first(tctx, &c);
	if (!ret) {
		goto done;
	}
	status = udf_set_purge(tree, c.file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	ret = wait_until_written(tctx, &c);
	if (!ret) {
		goto done;
	}
	status = udf_write(c.second, c.file.write, 0, "after", 5, 0);
	UDF_OK(tctx, status, "the handle is as good as before");
done:
	mapped_teardown(&c.file);
	return ret;
}

/*
 * The client sends it again over the other channel. The first such request
 * raises the open's channel sequence and waits behind the one that it
 * repeats; any other gets FILE_NOT_AVAILABLE as long as that one is not done.
 */
static bool test_replay(struct torture_context *tctx, struct smb2_tree *tree,
			struct smb2_tree *tree2)
{
	struct channels c = {.second = NULL};
	struct smb2_request *req = NULL;
	struct smb2_request *again = NULL;
	const char *reason = NULL;
	bool replied;
	bool ret = true;
	NTSTATUS status;

	ret = channels_setup(tctx, &c, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	ret = hold_and_lose_first(tctx, &c);
	if (!ret) {
		goto done;
	}
	smb2cli_session_increment_channel_sequence(c.second->session->smbXcli);
	req = replay_send(&c);
	ret = udf_wait_pending(tctx, req, PENDING_MSEC);
	torture_assert_goto(tctx, ret, ret, done, "the replay is held");
	again = replay_send(&c);
	ret = mapped_recv_held(
		tctx, again, NT_STATUS_FILE_NOT_AVAILABLE, "another replay");
	if (!ret) {
		goto done;
	}
	replied = udf_wait_reply(tctx, req, HELD_MSEC);
	torture_assert_goto(
		tctx, !replied, ret, done, "the first replay stays held");
	CHECK_CONTENT(tctx, &c.file, false);

	status = udf_set_purge(tree, c.file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	ret = mapped_recv_held(
		tctx, req, NT_STATUS_OK, "the replay after DISABLED");
	if (!ret) {
		goto done;
	}
	CHECK_CONTENT(tctx, &c.file, true);
	req = replay_send(&c);
	ret = mapped_recv_held(tctx, req, NT_STATUS_OK, "one more replay");
	if (!ret) {
		goto done;
	}
	CHECK_CONTENT(tctx, &c.file, true);
done:
	mapped_teardown(&c.file);
	return ret;
}

/*
 * A client that goes on without a replay, with a new channel sequence: its
 * WRITE of the same place comes after the one that is still held.
 */
static bool test_write_after(struct torture_context *tctx,
			     struct smb2_tree *tree, struct smb2_tree *tree2)
{
	struct channels c = {.second = NULL};
	struct smb2_request *req = NULL;
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	ret = channels_setup(tctx, &c, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	ret = hold_and_lose_first(tctx, &c);
	if (!ret) {
		goto done;
	}
	smb2cli_session_increment_channel_sequence(c.second->session->smbXcli);
	memset(c.file.data, 0xA5, sizeof(c.file.data));
	ret = mapped_send_held(
		tctx, &c.file, c.second, c.file.write, &req);
	if (!ret) {
		goto done;
	}
	status = udf_set_purge(tree, c.file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	ret = mapped_recv_held(tctx, req, NT_STATUS_OK, "after DISABLED");
	if (!ret) {
		goto done;
	}
	CHECK_CONTENT(tctx, &c.file, true);
done:
	mapped_teardown(&c.file);
	return ret;
}

/* Each WRITE is answered over the channel that it came over. */
static bool test_both(struct torture_context *tctx, struct smb2_tree *tree,
		      struct smb2_tree *tree2)
{
	struct channels c = {.second = NULL};
	struct smb2_request *first = NULL;
	struct smb2_request *second = NULL;
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	ret = channels_setup(tctx, &c, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	ret = mapped_send_held(
		tctx, &c.file, c.second, c.file.write, &second);
	if (!ret) {
		goto done;
	}
	memset(c.file.data, 0xA5, sizeof(c.file.data));
	ret = mapped_send_held(tctx, &c.file, c.first, c.file.write, &first);
	if (!ret) {
		goto done;
	}
	status = udf_set_purge(tree, c.file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	ret = mapped_recv_held(tctx, first, NT_STATUS_OK, "the first channel");
	if (!ret) {
		goto done;
	}
	ret = mapped_recv_held(
		tctx, second, NT_STATUS_OK, "the second channel");
	if (!ret) {
		goto done;
	}
	CHECK_CONTENT(tctx, &c.file, true);
done:
	mapped_teardown(&c.file);
	return ret;
}

/* CANCEL ends the one that it names, and not that of the other channel. */
static bool test_cancel(struct torture_context *tctx, struct smb2_tree *tree,
			struct smb2_tree *tree2)
{
	struct channels c = {.second = NULL};
	struct smb2_request *first = NULL;
	struct smb2_request *second = NULL;
	const char *reason = NULL;
	bool replied;
	bool ret = true;
	NTSTATUS status;

	ret = channels_setup(tctx, &c, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	ret = mapped_send_held(tctx, &c.file, c.first, c.file.write, &first);
	if (!ret) {
		goto done;
	}
	ret = mapped_send_held(
		tctx, &c.file, c.second, c.file.write, &second);
	if (!ret) {
		goto done;
	}
	smb2_cancel(second);
	ret = mapped_recv_held(
		tctx, second, NT_STATUS_CANCELLED, "the second channel");
	if (!ret) {
		goto done;
	}
	replied = udf_wait_reply(tctx, first, HELD_MSEC);
	torture_assert_goto(
		tctx, !replied, ret, done, "the first channel's stays held");
	CHECK_CONTENT(tctx, &c.file, false);
	status = udf_set_purge(tree, c.file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	ret = mapped_recv_held(tctx, first, NT_STATUS_OK, "the first channel");
	if (!ret) {
		goto done;
	}
	CHECK_CONTENT(tctx, &c.file, true);
done:
	mapped_teardown(&c.file);
	return ret;
}

/* The scanner ends the bracket: nothing was written, and nothing will be. */
static bool check_never_written(struct torture_context *tctx,
				struct channels *c)
{
	NTSTATUS status;

	if (!mapped_check_content(tctx, &c->file, false)) {
		return false;
	}
	status = udf_set_purge(c->file.scanner, c->file.scan, DISABLED);
	torture_assert_ntstatus_ok(tctx, status, "DISABLED");
	udf_serve(tctx, HELD_MSEC);
	return mapped_check_content(tctx, &c->file, false);
}

/* With the last channel the session goes, and what it had asked for. */
static bool test_all_lost(struct torture_context *tctx, struct smb2_tree *tree,
			  struct smb2_tree *tree2)
{
	struct channels c = {.second = NULL};
	struct smb2_request *req = NULL;
	const char *reason = NULL;
	bool ret = true;

	ret = channels_setup(tctx, &c, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	ret = hold_and_lose_first(tctx, &c);
	if (!ret) {
		goto done;
	}
	ret = mapped_send_held(tctx, &c.file, c.second, c.file.write, &req);
	if (!ret) {
		goto done;
	}
	ret = lose(tctx, &c.second, req);
	c.file.writer = NULL;
	if (!ret) {
		goto done;
	}
	ret = mapped_wait_closed(tctx, &c.file);
	if (!ret) {
		goto done;
	}
	ret = check_never_written(tctx, &c);
done:
	mapped_teardown(&c.file);
	return ret;
}

/* What the client does over the channel that it still has. */
enum channels_end {
	CHANNELS_CLOSE,
	CHANNELS_TREE_DISCONNECT,
	CHANNELS_LOGOFF,
};

static NTSTATUS channels_end(struct channels *c, enum channels_end how)
{
	NTSTATUS status = NT_STATUS_INVALID_PARAMETER;

	switch (how) {
	case CHANNELS_CLOSE:
		return smb2_util_close(c->second, c->file.write);
	case CHANNELS_TREE_DISCONNECT:
		status = smb2_tdis(c->second);
		break;
	case CHANNELS_LOGOFF:
		status = smb2_logoff(c->second->session);
		break;
	}
	return status;
}

static bool test_end(struct torture_context *tctx, struct smb2_tree *tree,
		     struct smb2_tree *tree2, enum channels_end how)
{
	struct channels c = {.second = NULL};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	ret = channels_setup(tctx, &c, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	ret = hold_and_lose_first(tctx, &c);
	if (!ret) {
		goto done;
	}
	c.file.writer = NULL;
	status = channels_end(&c, how);
	UDF_OK(tctx, status, "over the other channel");
	ret = check_never_written(tctx, &c);
	if (!ret) {
		goto done;
	}
	status = smb2_keepalive(c.second->session->transport);
	UDF_OK(tctx, status, "the other channel is there");
done:
	mapped_teardown(&c.file);
	return ret;
}

static bool test_lost_close(struct torture_context *tctx,
			    struct smb2_tree *tree, struct smb2_tree *tree2)
{
	return test_end(tctx, tree, tree2, CHANNELS_CLOSE);
}

static bool test_lost_tree_disconnect(struct torture_context *tctx,
				      struct smb2_tree *tree,
				      struct smb2_tree *tree2)
{
	return test_end(tctx, tree, tree2, CHANNELS_TREE_DISCONNECT);
}

static bool test_lost_logoff(struct torture_context *tctx,
			     struct smb2_tree *tree, struct smb2_tree *tree2)
{
	return test_end(tctx, tree, tree2, CHANNELS_LOGOFF);
}

/*
 * The answer of an ENABLED was lost with its channel; sent again over the
 * other one it does not count twice.
 */
static bool test_fsctl_replay(struct torture_context *tctx,
			      struct smb2_tree *tree, struct smb2_tree *tree2)
{
	struct channels c = {.second = NULL};
	struct smbXcli_session *session = NULL;
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	ret = channels_setup(tctx, &c, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_set_purge(c.first, c.file.write, ENABLED);
	UDF_OK(tctx, status, "ENABLED over the first channel");
	smbXcli_conn_disconnect(c.first->session->transport->conn,
				NT_STATUS_LOCAL_DISCONNECT);
	c.first = NULL;
	c.file.writer = c.second;
	session = c.second->session->smbXcli;
	smb2cli_session_increment_channel_sequence(session);
	smb2cli_session_start_replay(session);
	status = udf_set_purge(c.second, c.file.write, ENABLED);
	smb2cli_session_stop_replay(session);
	UDF_OK(tctx, status, "ENABLED again, as a replay");

	status = udf_set_purge(c.second, c.file.write, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	status = udf_set_purge(c.second, c.file.write, DISABLED);
	UDF_STATUS(tctx,
		   status,
		   NT_STATUS_INVALID_PARAMETER,
		   "it was counted once");
done:
	mapped_teardown(&c.file);
	return ret;
}

struct torture_suite *udf_purge_channels_suite(TALLOC_CTX *ctx)
{
	struct torture_suite *suite = NULL;

	suite = torture_suite_create(ctx, "channels");
	if (suite == NULL) {
		return NULL;
	}
	suite->description =
		talloc_strdup(suite, "Purge failures over several channels");

	torture_suite_add_2smb2_test(suite, "lost", test_lost);
	torture_suite_add_2smb2_test(suite, "replay", test_replay);
	torture_suite_add_2smb2_test(suite, "write_after", test_write_after);
	torture_suite_add_2smb2_test(suite, "both", test_both);
	torture_suite_add_2smb2_test(suite, "cancel", test_cancel);
	torture_suite_add_2smb2_test(suite, "all_lost", test_all_lost);
	torture_suite_add_2smb2_test(suite, "lost_close", test_lost_close);
	torture_suite_add_2smb2_test(
		suite, "lost_tree_disconnect", test_lost_tree_disconnect);
	torture_suite_add_2smb2_test(suite, "lost_logoff", test_lost_logoff);
	torture_suite_add_2smb2_test(suite, "fsctl_replay", test_fsctl_replay);
	return suite;
}
