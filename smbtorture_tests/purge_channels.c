/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * udf.purge.channels: a client whose session has two connections (MS-SMB2
 * 3.3.5.5.2, multi-channel), one of which is lost while the server holds what
 * came over it, and what it sends again over the other (MS-SMB2 3.3.5.2.10,
 * ChannelSequence and SMB2_FLAGS_REPLAY_OPERATION). Each test is there for the
 * two requests that are held, WRITE and copy-chunk. Needs
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

#define FNAME_SOURCE UDF_TEST_PATH("channels_source.dat")

struct channels;

/* A request that changes the file's data at WRITE_OFFSET, and is held. */
struct channels_op {
	struct smb2_request *(*send)(struct channels *c,
				     struct smb2_tree *tree);
	NTSTATUS (*recv)(struct smb2_request *req);
	/* Have it write other data from now on; file.data says which. */
	void (*change)(struct channels *c);
};

/* A mapped file whose writer has a second channel. */
struct channels {
	struct mapped_file file;
	struct smb2_tree *first; /* NULL when lost */
	struct smb2_tree *second;

	const struct channels_op *op;
	/* Of the file that is copied from. */
	struct smb2_handle source;
	uint8_t key[UDF_RESUME_KEY_LEN];
	uint64_t from;
};

static struct smb2_request *send_write(struct channels *c,
				       struct smb2_tree *tree)
{
	return udf_write_send(tree,
			      c->file.write,
			      WRITE_OFFSET,
			      c->file.data,
			      WRITE_LENGTH,
			      0);
}

static void change_write(struct channels *c)
{
	memset(c->file.data, 0xA5, sizeof(c->file.data));
}

static const struct channels_op op_write = {
	.send = send_write,
	.recv = udf_write_recv,
	.change = change_write,
};

static struct smb2_request *send_copy(struct channels *c,
				      struct smb2_tree *tree)
{
	return udf_copy_chunk_send(tree,
				   c->key,
				   c->from,
				   c->file.write,
				   WRITE_OFFSET,
				   WRITE_LENGTH);
}

/* Copy from there. */
static void copy_from(struct channels *c, uint64_t from)
{
	size_t i;

	c->from = from;
	for (i = 0; i < sizeof(c->file.data); i++) {
		c->file.data[i] = udf_test_byte(from + i);
	}
}

static void change_copy(struct channels *c)
{
	copy_from(c, 3 * WRITE_LENGTH);
}

static const struct channels_op op_copy = {
	.send = send_copy,
	.recv = udf_copy_chunk_recv,
	.change = change_copy,
};

/* *reason says why the server copies nothing. */
static bool source_setup(struct torture_context *tctx, struct channels *c,
			 const char **reason)
{
	NTSTATUS status;

	status = udf_test_file(c->first, FNAME_SOURCE);
	torture_assert_ntstatus_ok(tctx, status, "making " FNAME_SOURCE);
	status = udf_open(c->first,
			  FNAME_SOURCE,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &c->source);
	torture_assert_ntstatus_ok(tctx, status, "opening " FNAME_SOURCE);
	status = udf_resume_key(c->first, c->source, c->key);
	if (!NT_STATUS_IS_OK(status)) {
		torture_comment(
			tctx, "the source's key: %s\n", nt_errstr(status));
		*reason = "FSCTL_SRV_COPYCHUNK does not work here\n";
		return true;
	}
	copy_from(c, 0);
	return true;
}

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

	*c = (struct channels){
		.first = writer,
		.op = tctx->active_test->data,
	};
	if (smbXcli_conn_protocol(conn) < PROTOCOL_SMB3_00 ||
	    (caps & SMB2_CAP_MULTI_CHANNEL) == 0) {
		*reason = "the server has no multi-channel\n";
		return true;
	}
	ok = mapped_setup(tctx, &c->file, scanner, writer, reason);
	if (!ok || *reason != NULL) {
		return ok;
	}
	if (c->op == &op_copy) {
		ok = source_setup(tctx, c, reason);
		if (!ok || *reason != NULL) {
			return ok;
		}
	}
	return bind_channel(tctx, writer, &c->second);
}

static void channels_teardown(struct channels *c)
{
	if (c->second != NULL) {
		/* Without a session this fails: it is closed then. */
		udf_close(c->second, &c->source);
	}
	if (c->file.scanner != NULL) {
		smb2_util_unlink(c->file.scanner, FNAME_SOURCE);
	}
	mapped_teardown(&c->file);
}

/* Send it over this channel: it must be held. */
static bool send_held(struct torture_context *tctx, struct channels *c,
		      struct smb2_tree *tree, struct smb2_request **req)
{
	*req = c->op->send(c, tree);
	return mapped_stays_held(tctx, *req);
}

/* What was held must be answered with this status before long. */
static bool recv_held(struct torture_context *tctx, struct channels *c,
		      struct smb2_request *req, NTSTATUS expected,
		      const char *what)
{
	NTSTATUS status;
	bool replied;

	replied = udf_wait_reply(tctx, req, RELEASE_MSEC);
	torture_assert(tctx, replied, what);
	status = c->op->recv(req);
	torture_assert_ntstatus_equal(tctx, status, expected, what);
	return true;
}

/*
 * Drop a connection, as a cable that is pulled does, and wait for the answer
 * of what was sent over it: there is none.
 */
static bool lose(struct torture_context *tctx, struct channels *c,
		 struct smb2_tree **tree, struct smb2_request *req)
{
	struct smb2_transport *transport = (*tree)->session->transport;

	smbXcli_conn_disconnect(transport->conn, NT_STATUS_LOCAL_DISCONNECT);
	*tree = NULL;
	return recv_held(
		tctx, c, req, NT_STATUS_LOCAL_DISCONNECT, "no answer");
}

/* Have it held over the first channel and lose that. */
static bool hold_and_lose_first(struct torture_context *tctx,
				struct channels *c)
{
	struct smb2_request *req = NULL;
	bool ok;

	ok = send_held(tctx, c, c->first, &req);
	if (!ok || !lose(tctx, c, &c->first, req)) {
		return false;
	}
	c->file.writer = c->second;
	/* The server's reading of the end of the connection goes first. */
	udf_serve(tctx, HELD_MSEC);
	return mapped_check_content(tctx, &c->file, false);
}

/* Over the second channel, as what is sent again. */
static struct smb2_request *replay_send(struct channels *c)
{
	struct smbXcli_session *session = c->second->session->smbXcli;
	struct smb2_request *req = NULL;

	smb2cli_session_start_replay(session);
	req = c->op->send(c, c->second);
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
	channels_teardown(&c);
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
	ret = recv_held(tctx,
			&c,
			again,
			NT_STATUS_FILE_NOT_AVAILABLE,
			"another replay");
	if (!ret) {
		goto done;
	}
	replied = udf_wait_reply(tctx, req, HELD_MSEC);
	torture_assert_goto(
		tctx, !replied, ret, done, "the first replay stays held");
	CHECK_CONTENT(tctx, &c.file, false);

	status = udf_set_purge(tree, c.file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	ret = recv_held(
		tctx, &c, req, NT_STATUS_OK, "the replay after DISABLED");
	if (!ret) {
		goto done;
	}
	CHECK_CONTENT(tctx, &c.file, true);
	req = replay_send(&c);
	ret = recv_held(tctx, &c, req, NT_STATUS_OK, "one more replay");
	if (!ret) {
		goto done;
	}
	CHECK_CONTENT(tctx, &c.file, true);
done:
	channels_teardown(&c);
	return ret;
}

/*
 * A client that goes on without a replay, with a new channel sequence: what
 * it writes to the same place comes after the one that is still held.
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
	c.op->change(&c);
	ret = send_held(tctx, &c, c.second, &req);
	if (!ret) {
		goto done;
	}
	status = udf_set_purge(tree, c.file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	ret = recv_held(tctx, &c, req, NT_STATUS_OK, "after DISABLED");
	if (!ret) {
		goto done;
	}
	CHECK_CONTENT(tctx, &c.file, true);
done:
	channels_teardown(&c);
	return ret;
}

/* Each is answered over the channel that it came over. */
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

	ret = send_held(tctx, &c, c.second, &second);
	if (!ret) {
		goto done;
	}
	c.op->change(&c);
	ret = send_held(tctx, &c, c.first, &first);
	if (!ret) {
		goto done;
	}
	status = udf_set_purge(tree, c.file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	ret = recv_held(tctx, &c, first, NT_STATUS_OK, "the first channel");
	if (!ret) {
		goto done;
	}
	ret = recv_held(tctx, &c, second, NT_STATUS_OK, "the second channel");
	if (!ret) {
		goto done;
	}
	CHECK_CONTENT(tctx, &c.file, true);
done:
	channels_teardown(&c);
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

	ret = send_held(tctx, &c, c.first, &first);
	if (!ret) {
		goto done;
	}
	ret = send_held(tctx, &c, c.second, &second);
	if (!ret) {
		goto done;
	}
	smb2_cancel(second);
	ret = recv_held(
		tctx, &c, second, NT_STATUS_CANCELLED, "the second channel");
	if (!ret) {
		goto done;
	}
	replied = udf_wait_reply(tctx, first, HELD_MSEC);
	torture_assert_goto(
		tctx, !replied, ret, done, "the first channel's stays held");
	CHECK_CONTENT(tctx, &c.file, false);
	status = udf_set_purge(tree, c.file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	ret = recv_held(tctx, &c, first, NT_STATUS_OK, "the first channel");
	if (!ret) {
		goto done;
	}
	CHECK_CONTENT(tctx, &c.file, true);
done:
	channels_teardown(&c);
	return ret;
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
	ret = send_held(tctx, &c, c.second, &req);
	if (!ret) {
		goto done;
	}
	ret = lose(tctx, &c, &c.second, req);
	c.file.writer = NULL;
	if (!ret) {
		goto done;
	}
	ret = mapped_wait_closed(tctx, &c.file);
	if (!ret) {
		goto done;
	}
	ret = mapped_check_never_written(tctx, &c.file);
done:
	channels_teardown(&c);
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
	ret = mapped_check_never_written(tctx, &c.file);
	if (!ret) {
		goto done;
	}
	status = smb2_keepalive(c.second->session->transport);
	UDF_OK(tctx, status, "the other channel is there");
done:
	channels_teardown(&c);
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

/* What is refused and not held. */
struct refused_op {
	const char *name;
	NTSTATUS (*run)(struct smb2_tree *tree, struct smb2_handle handle);
};

static NTSTATUS refused_zero_data(struct smb2_tree *tree,
				  struct smb2_handle handle)
{
	return udf_zero_data(tree, handle, WRITE_OFFSET, WRITE_LENGTH);
}

static NTSTATUS refused_end_of_file(struct smb2_tree *tree,
				    struct smb2_handle handle)
{
	return udf_set_end_of_file(tree, handle, WRITE_OFFSET);
}

static const struct refused_op refused_ops[] = {
	{"FSCTL_SET_ZERO_DATA", refused_zero_data},
	{"SET_INFO end of file", refused_end_of_file},
};

static NTSTATUS refused_replay(struct channels *c, const struct refused_op *op)
{
	struct smbXcli_session *session = c->second->session->smbXcli;
	NTSTATUS status;

	smb2cli_session_start_replay(session);
	status = op->run(c->second, c->file.write);
	smb2cli_session_stop_replay(session);
	return status;
}

/*
 * FSCTL_SET_ZERO_DATA and SET_INFO cannot wait: refused over one channel, and
 * as replays over the other, which is let through when the bracket has ended.
 */
static bool test_refused(struct torture_context *tctx, struct smb2_tree *tree,
			 struct smb2_tree *tree2)
{
	struct channels c = {.second = NULL};
	const struct refused_op *op = NULL;
	union smb_fileinfo info = {
		.generic.level = RAW_FILEINFO_STANDARD_INFORMATION,
	};
	const char *reason = NULL;
	bool zeroed = false;
	bool ret = true;
	NTSTATUS status;
	size_t i;

	ret = channels_setup(tctx, &c, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	for (i = 0; i < ARRAY_SIZE(refused_ops); i++) {
		op = &refused_ops[i];
		status = op->run(c.first, c.file.write);
		UDF_STATUS(tctx, status, NT_STATUS_PURGE_FAILED, op->name);
	}
	smbXcli_conn_disconnect(c.first->session->transport->conn,
				NT_STATUS_LOCAL_DISCONNECT);
	c.first = NULL;
	c.file.writer = c.second;
	smb2cli_session_increment_channel_sequence(c.second->session->smbXcli);
	for (i = 0; i < ARRAY_SIZE(refused_ops); i++) {
		op = &refused_ops[i];
		status = refused_replay(&c, op);
		UDF_STATUS(tctx, status, NT_STATUS_PURGE_FAILED, op->name);
	}
	CHECK_CONTENT(tctx, &c.file, false);

	status = udf_set_purge(tree, c.file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	status = refused_replay(&c, &refused_ops[0]);
	/* Linux's udf driver has it refused like this, bracket or not. */
	zeroed = !NT_STATUS_EQUAL(status, NT_STATUS_NOT_SUPPORTED);
	if (zeroed) {
		UDF_OK(tctx, status, refused_ops[0].name);
		memset(c.file.data, 0, sizeof(c.file.data));
	}
	CHECK_CONTENT(tctx, &c.file, zeroed);
	status = refused_replay(&c, &refused_ops[1]);
	UDF_OK(tctx, status, refused_ops[1].name);
	info.generic.in.file.handle = c.file.scan;
	status = smb2_getinfo_file(tree, tctx, &info);
	UDF_OK(tctx, status, "the file's size");
	torture_assert_u64_equal_goto(tctx,
				      info.standard_info.out.size,
				      WRITE_OFFSET,
				      ret,
				      done,
				      "the file's size");
done:
	channels_teardown(&c);
	return ret;
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
	channels_teardown(&c);
	return ret;
}

static const struct channels_test {
	const char *name;
	bool (*run)(struct torture_context *tctx, struct smb2_tree *tree,
		    struct smb2_tree *tree2);
	const struct channels_op *op;
} channels_tests[] = {
	{"lost", test_lost, &op_write},
	{"replay", test_replay, &op_write},
	{"write_after", test_write_after, &op_write},
	{"both", test_both, &op_write},
	{"cancel", test_cancel, &op_write},
	{"all_lost", test_all_lost, &op_write},
	{"lost_close", test_lost_close, &op_write},
	{"lost_tree_disconnect", test_lost_tree_disconnect, &op_write},
	{"lost_logoff", test_lost_logoff, &op_write},
	{"copy_lost", test_lost, &op_copy},
	{"copy_replay", test_replay, &op_copy},
	{"copy_after", test_write_after, &op_copy},
	{"copy_both", test_both, &op_copy},
	{"copy_cancel", test_cancel, &op_copy},
	{"copy_all_lost", test_all_lost, &op_copy},
	{"copy_lost_close", test_lost_close, &op_copy},
	{"copy_lost_tree_disconnect", test_lost_tree_disconnect, &op_copy},
	{"copy_lost_logoff", test_lost_logoff, &op_copy},
	{"refused", test_refused, &op_write},
	{"fsctl_replay", test_fsctl_replay, &op_write},
};

struct torture_suite *udf_purge_channels_suite(TALLOC_CTX *ctx)
{
	struct torture_suite *suite = NULL;
	size_t i;

	suite = torture_suite_create(ctx, "channels");
	if (suite == NULL) {
		return NULL;
	}
	suite->description =
		talloc_strdup(suite, "Purge failures over several channels");

	for (i = 0; i < ARRAY_SIZE(channels_tests); i++) {
		const struct channels_test *entry = &channels_tests[i];
		struct torture_test *test = NULL;

		test = torture_suite_add_2smb2_test(
			suite, entry->name, entry->run);
		test->data = discard_const_p(struct channels_op, entry->op);
	}
	return suite;
}
