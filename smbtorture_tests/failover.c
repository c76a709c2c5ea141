/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * udf.failover: a client that loses its connection and reclaims its handle
 * has the count and the flag that were last acknowledged, and others see the
 * sum meanwhile (MS-SMB2 3.3.5.9.7, 3.3.5.9.12).
 *
 * --option=torture:othernode=ADDRESS names another node of the same
 * server: handles are reclaimed there then.
 */
#include "includes.h"
#include "libcli/smb2/smb2.h"
#include "libcli/smb2/smb2_calls.h"
#include "libcli/smb/smbXcli_base.h"
#include "lib/param/param.h"
#include "librpc/gen_ndr/ndr_misc.h"
#include "torture/torture.h"
#include "torture/smb2/proto.h"

#include "fsctl_udf.h"
#include "suites.h"
#include "util.h"

#define FNAME UDF_TEST_PATH("failover.dat")

#define ENABLED UDF_PURGE_FAILURE_MODE_ENABLED
#define DISABLED UDF_PURGE_FAILURE_MODE_DISABLED

/* How long the server has to notice that the connection ended. */
#define RECLAIM_TRIES 40
#define RECLAIM_PAUSE_MSEC 250

/* A client and its handle, which it can reclaim. */
struct failover {
	struct smb2_tree *tree;
	struct smb2_handle handle;
	struct GUID create_guid;
	bool persistent;
	bool defect; /* the server serves FSCTL_SET_DEFECT_MANAGEMENT */
};

static bool has_persistent_handles(struct smb2_tree *tree)
{
	struct smbXcli_conn *conn = tree->session->transport->conn;
	uint32_t server = smb2cli_conn_server_capabilities(conn);
	uint32_t share = smb2cli_tcon_capabilities(tree->smbXcli);

	return (server & SMB2_CAP_PERSISTENT_HANDLES) != 0 &&
	       (share & SMB2_SHARE_CAP_CONTINUOUS_AVAILABILITY) != 0;
}

/*
 * Make FNAME and open it durably; *reason says why that, or the code, is not
 * served here.
 */
static bool failover_setup(struct torture_context *tctx,
			   struct smb2_tree *tree,
			   bool persistent,
			   struct failover *f,
			   const char **reason)
{
	struct smbXcli_conn *conn = tree->session->transport->conn;
	struct smb2_create io = { .in.fname = FNAME };
	NTSTATUS status;

	*reason = NULL;
	*f = (struct failover) {
		.tree = tree,
		.create_guid = GUID_random(),
		.persistent = persistent,
	};
	if (smbXcli_conn_protocol(conn) < PROTOCOL_SMB3_00) {
		*reason = "handles of this kind came with SMB 3.0\n";
		return true;
	}
	if (persistent && !has_persistent_handles(tree)) {
		*reason = "the share has no persistent handles\n";
		return true;
	}
	if (!udf_test_dir(tctx, tree)) {
		return false;
	}
	status = udf_test_file(tree, FNAME);
	torture_assert_ntstatus_ok(tctx, status, "making " FNAME);

	io.in.desired_access = SEC_RIGHTS_FILE_ALL;
	io.in.file_attributes = FILE_ATTRIBUTE_NORMAL;
	io.in.share_access = NTCREATEX_SHARE_ACCESS_READ |
			     NTCREATEX_SHARE_ACCESS_WRITE |
			     NTCREATEX_SHARE_ACCESS_DELETE;
	io.in.create_disposition = NTCREATEX_DISP_OPEN;
	io.in.impersonation_level = NTCREATEX_IMPERSONATION_IMPERSONATION;
	io.in.oplock_level = persistent ? SMB2_OPLOCK_LEVEL_NONE
					: SMB2_OPLOCK_LEVEL_BATCH;
	io.in.durable_open_v2 = true;
	io.in.persistent_open = persistent;
	io.in.create_guid = f->create_guid;
	status = smb2_create(tree, tctx, &io);
	torture_assert_ntstatus_ok(tctx, status, "opening " FNAME);
	f->handle = io.out.file.handle;

	if (!io.out.durable_open_v2 || io.out.persistent_open != persistent) {
		*reason = persistent ? "no persistent handle was granted\n"
				     : "no durable handle was granted: a "
				       "continuously available share has "
				       "none; for others it needs 'posix "
				       "locking = no', no kernel oplocks\n";
		return true;
	}

	status = udf_set_purge(tree, f->handle, ENABLED);
	if (udf_not_served(status)) {
		*reason = "the server does not serve "
			  "FSCTL_SET_PURGE_FAILURE_MODE to clients\n";
		return true;
	}
	torture_assert_ntstatus_ok(tctx, status, "ENABLED");
	status = udf_set_purge(tree, f->handle, DISABLED);
	torture_assert_ntstatus_ok(tctx, status, "DISABLED");
	status = udf_set_defect(tree, f->handle, 0);
	f->defect = NT_STATUS_IS_OK(status);
	return true;
}

static void failover_teardown(struct failover *f)
{
	if (f->tree == NULL) {
		return;
	}
	udf_close(f->tree, &f->handle);
	udf_remove(f->tree, FNAME);
}

/* A new connection of the same client, to the other node if there is one. */
static bool connect_again(struct torture_context *tctx,
			  const struct smbcli_options *options,
			  struct smb2_tree **tree)
{
	const char *home = torture_setting_string(tctx, "host", NULL);
	const char *other = torture_setting_string(tctx,
						   "othernode",
						   NULL);
	bool ok;

	if (other != NULL) {
		lpcfg_set_cmdline(tctx->lp_ctx, "torture:host", other);
	}
	ok = torture_smb2_connection_ext(tctx, 0, options, tree);
	if (other != NULL) {
		lpcfg_set_cmdline(tctx->lp_ctx, "torture:host", home);
	}
	return ok;
}

/*
 * Drop the connection, as a cable that is pulled does. The handle is what it
 * was, tree is NULL.
 */
static void drop_connection(struct failover *f, struct smbcli_options *options)
{
	*options = f->tree->session->transport->options;
	TALLOC_FREE(f->tree);
}

/* Connect again and reclaim the handle. */
static bool reclaim(struct torture_context *tctx,
		    const struct smbcli_options *options,
		    struct failover *f)
{
	struct smb2_create io = { .in.fname = FNAME };
	NTSTATUS status = NT_STATUS_OK;
	int i;

	if (!connect_again(tctx, options, &f->tree)) {
		return false;
	}
	/* The server of the old connection may not know yet that it ended. */
	for (i = 0; i < RECLAIM_TRIES; i++) {
		io.in.durable_handle_v2 = &f->handle;
		io.in.persistent_open = f->persistent;
		io.in.create_guid = f->create_guid;
		io.in.oplock_level = f->persistent ? SMB2_OPLOCK_LEVEL_NONE
						   : SMB2_OPLOCK_LEVEL_BATCH;
		status = smb2_create(f->tree, tctx, &io);
		if (NT_STATUS_IS_OK(status)) {
			f->handle = io.out.file.handle;
			return true;
		}
		smb_msleep(RECLAIM_PAUSE_MSEC);
	}
	torture_assert_ntstatus_ok(tctx, status, "reclaiming the handle");
	return false;
}

/* One byte less: refused when and only when the file's sum is above zero. */
static NTSTATUS shrink(struct smb2_tree *tree, struct smb2_handle handle)
{
	return udf_set_end_of_file(tree, handle, UDF_TEST_FILE_SIZE - 1);
}

/* Three brackets and the flag, twice over a lost connection. */
static bool check_kept(struct torture_context *tctx, struct smb2_tree *tree,
		       bool persistent)
{
	struct smbcli_options options;
	struct failover f;
	const char *reason = NULL;
	bool ret = true;
	bool ok;
	int i;
	NTSTATUS status;

	if (!failover_setup(tctx, tree, persistent, &f, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	for (i = 0; i < 3; i++) {
		status = udf_set_purge(f.tree, f.handle, ENABLED);
		UDF_OK(tctx, status, "ENABLED");
	}
	if (f.defect) {
		status = udf_set_defect(f.tree, f.handle, 1);
		UDF_OK(tctx, status, "defect management off");
	}

	drop_connection(&f, &options);
	ok = reclaim(tctx, &options, &f);
	torture_assert_goto(tctx, ok, ret, done, "reclaim");
	drop_connection(&f, &options);
	ok = reclaim(tctx, &options, &f);
	torture_assert_goto(tctx, ok, ret, done, "reclaim again");

	for (i = 0; i < 3; i++) {
		status = shrink(f.tree, f.handle);
		UDF_STATUS(tctx,
			   status,
			   NT_STATUS_PURGE_FAILED,
			   "shrinking with a count that came back");
		status = udf_set_purge(f.tree, f.handle, DISABLED);
		UDF_OK(tctx, status, "DISABLED");
	}
	status = udf_set_purge(f.tree, f.handle, DISABLED);
	UDF_STATUS(tctx,
		   status,
		   NT_STATUS_INVALID_PARAMETER,
		   "one DISABLED more than were acknowledged");
	status = shrink(f.tree, f.handle);
	UDF_OK(tctx, status, "shrinking with the count at zero");
	if (f.defect) {
		status = udf_set_defect(f.tree, f.handle, 0);
		UDF_OK(tctx, status, "defect management on again");
	}
done:
	failover_teardown(&f);
	return ret;
}

static bool test_durable(struct torture_context *tctx, struct smb2_tree *tree)
{
	return check_kept(tctx, tree, false);
}

static bool test_persistent(struct torture_context *tctx,
			    struct smb2_tree *tree)
{
	return check_kept(tctx, tree, true);
}

/* What the client has no answer to, it replays on the new connection. */
static bool check_replay(struct torture_context *tctx, struct smb2_tree *tree,
			 bool persistent)
{
	struct smbXcli_session *session = NULL;
	struct smbcli_options options;
	struct failover f;
	const char *reason = NULL;
	bool ret = true;
	bool ok;
	NTSTATUS status;

	if (!failover_setup(tctx, tree, persistent, &f, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	/* Its answer is taken for lost. */
	status = udf_set_purge(f.tree, f.handle, ENABLED);
	UDF_OK(tctx, status, "ENABLED");
	drop_connection(&f, &options);
	ok = reclaim(tctx, &options, &f);
	torture_assert_goto(tctx, ok, ret, done, "reclaim");

	session = f.tree->session->smbXcli;
	smb2cli_session_increment_channel_sequence(session);
	smb2cli_session_start_replay(session);
	status = udf_set_purge(f.tree, f.handle, ENABLED);
	smb2cli_session_stop_replay(session);
	UDF_OK(tctx, status, "ENABLED replayed");
	status = udf_set_purge(f.tree, f.handle, ENABLED);
	UDF_OK(tctx, status, "ENABLED, another");
	status = udf_set_purge(f.tree, f.handle, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	status = udf_set_purge(f.tree, f.handle, DISABLED);
	UDF_OK(tctx, status, "DISABLED: two were counted");
	status = udf_set_purge(f.tree, f.handle, DISABLED);
	UDF_STATUS(tctx,
		   status,
		   NT_STATUS_INVALID_PARAMETER,
		   "DISABLED: no more than two");
done:
	failover_teardown(&f);
	return ret;
}

static bool test_durable_replay(struct torture_context *tctx,
				struct smb2_tree *tree)
{
	return check_replay(tctx, tree, false);
}

static bool test_persistent_replay(struct torture_context *tctx,
				   struct smb2_tree *tree)
{
	return check_replay(tctx, tree, true);
}

/* Another client, which has the file open all the time, sees the sum. */
static bool test_sum_meanwhile(struct torture_context *tctx,
			       struct smb2_tree *tree,
			       struct smb2_tree *tree2)
{
	struct smb2_handle handle2 = {{0}};
	struct smbcli_options options;
	struct failover f;
	const char *reason = NULL;
	bool ret = true;
	bool ok;
	NTSTATUS status;

	if (!failover_setup(tctx, tree, true, &f, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);
	status = udf_open(tree2,
			  FNAME,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &handle2);
	UDF_OK(tctx, status, "opening " FNAME " as another client");

	status = udf_set_purge(f.tree, f.handle, ENABLED);
	UDF_OK(tctx, status, "ENABLED");
	drop_connection(&f, &options);
	smb_msleep(RECLAIM_PAUSE_MSEC);
	status = shrink(tree2, handle2);
	UDF_STATUS(tctx,
		   status,
		   NT_STATUS_PURGE_FAILED,
		   "shrinking while nobody has the handle that counts");
	ok = reclaim(tctx, &options, &f);
	torture_assert_goto(tctx, ok, ret, done, "reclaim");
	status = shrink(tree2, handle2);
	UDF_STATUS(tctx,
		   status,
		   NT_STATUS_PURGE_FAILED,
		   "shrinking after it was reclaimed");
	status = udf_set_purge(f.tree, f.handle, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	status = shrink(tree2, handle2);
	UDF_OK(tctx, status, "shrinking with the count at zero");
done:
	udf_close(tree2, &handle2);
	failover_teardown(&f);
	return ret;
}

/* Closed is closed: what a handle counted does not wait for anybody. */
static bool test_close(struct torture_context *tctx, struct smb2_tree *tree)
{
	struct smb2_handle handle = {{0}};
	struct failover f;
	const char *reason = NULL;
	bool persistent = has_persistent_handles(tree);
	bool ret = true;
	NTSTATUS status;

	if (!failover_setup(tctx, tree, persistent, &f, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_set_purge(f.tree, f.handle, ENABLED);
	UDF_OK(tctx, status, "ENABLED");
	udf_close(f.tree, &f.handle);
	status = udf_open(f.tree,
			  FNAME,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &handle);
	UDF_OK(tctx, status, "opening " FNAME " again");
	status = shrink(f.tree, handle);
	UDF_OK(tctx, status, "shrinking after the close of what counted");
done:
	udf_close(f.tree, &handle);
	failover_teardown(&f);
	return ret;
}

struct torture_suite *udf_failover_suite(TALLOC_CTX *ctx)
{
	struct torture_suite *suite = torture_suite_create(ctx, "failover");

	if (suite == NULL) {
		return NULL;
	}
	suite->description = talloc_strdup(suite,
					   "Handles that are reclaimed");
	torture_suite_add_1smb2_test(suite, "durable", test_durable);
	torture_suite_add_1smb2_test(
		suite, "durable_replay", test_durable_replay);
	torture_suite_add_1smb2_test(suite, "persistent", test_persistent);
	torture_suite_add_1smb2_test(
		suite, "persistent_replay", test_persistent_replay);
	torture_suite_add_2smb2_test(
		suite, "sum_meanwhile", test_sum_meanwhile);
	torture_suite_add_1smb2_test(suite, "close", test_close);
	return suite;
}
