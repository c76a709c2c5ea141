/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * udf.purge.mapped: what fails or waits within a bracket because a process on
 * the server really has the file mapped, as the scanner has for which the mode
 * was made. Needs --option=torture:mapper=COMMAND; see mapping.c.
 */
#include "includes.h"
#include "libcli/smb2/smb2.h"
#include "libcli/smb2/smb2_calls.h"
#include "librpc/gen_ndr/ndr_ioctl.h"
#include "torture/torture.h"
#include "torture/smb2/proto.h"

#include "fsctl_udf.h"
#include "mapped_file.h"
#include "suites.h"
#include "util.h"

#define FNAME MAPPED_FNAME
#define FNAME_SOURCE UDF_TEST_PATH("mapped_source.dat")

#define ENABLED UDF_PURGE_FAILURE_MODE_ENABLED
#define DISABLED UDF_PURGE_FAILURE_MODE_DISABLED

/* SMB 3.0.2's flag: PURGE_FAILED, and nothing is written. */
static bool test_unbuffered_flag(struct torture_context *tctx,
				 struct smb2_tree *tree,
				 struct smb2_tree *tree2)
{
	struct mapped_file file = {0};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (!udf_has_write_unbuffered(tree2)) {
		torture_skip(tctx, "WRITE_UNBUFFERED came with SMB 3.0.2\n");
	}
	ret = mapped_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_write(tree2,
			   file.write,
			   WRITE_OFFSET,
			   file.data,
			   WRITE_LENGTH,
			   SMB2_WRITEFLAG_WRITE_UNBUFFERED);
	UDF_STATUS(tctx, status, NT_STATUS_PURGE_FAILED, "unbuffered write");
	CHECK_CONTENT(tctx, &file, false);

	status = udf_set_purge(tree, file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	status = udf_write(tree2,
			   file.write,
			   WRITE_OFFSET,
			   file.data,
			   WRITE_LENGTH,
			   SMB2_WRITEFLAG_WRITE_UNBUFFERED);
	UDF_OK(tctx, status, "unbuffered write after the bracket");
	CHECK_CONTENT(tctx, &file, true);
done:
	mapped_teardown(&file);
	return ret;
}

/* FILE_NO_INTERMEDIATE_BUFFERING makes every write of the open unbuffered. */
static bool test_unbuffered_open(struct torture_context *tctx,
				 struct smb2_tree *tree,
				 struct smb2_tree *tree2)
{
	struct mapped_file file = {0};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	ret = mapped_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	udf_close(tree2, &file.write);
	status = udf_open(tree2,
			  FNAME,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN,
			  NTCREATEX_OPTIONS_NO_INTERMEDIATE_BUFFERING,
			  &file.write);
	UDF_OK(tctx, status, "opening without intermediate buffering");
	status = udf_write(tree2,
			   file.write,
			   WRITE_OFFSET,
			   file.data,
			   WRITE_LENGTH,
			   0);
	UDF_STATUS(tctx, status, NT_STATUS_PURGE_FAILED, "unbuffered write");
	CHECK_CONTENT(tctx, &file, false);

	status = udf_set_purge(tree, file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	status = udf_write(tree2,
			   file.write,
			   WRITE_OFFSET,
			   file.data,
			   WRITE_LENGTH,
			   0);
	UDF_OK(tctx, status, "unbuffered write after the bracket");
	CHECK_CONTENT(tctx, &file, true);
done:
	mapped_teardown(&file);
	return ret;
}

/* Once the mapping is gone the purge succeeds, within the bracket. */
static bool test_unmapped(struct torture_context *tctx,
			  struct smb2_tree *tree, struct smb2_tree *tree2)
{
	struct mapped_file file = {0};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (!udf_has_write_unbuffered(tree2)) {
		torture_skip(tctx, "WRITE_UNBUFFERED came with SMB 3.0.2\n");
	}
	ret = mapped_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	udf_unmap(file.mapping);
	file.mapping = NULL;
	status = udf_write(tree2,
			   file.write,
			   WRITE_OFFSET,
			   file.data,
			   WRITE_LENGTH,
			   SMB2_WRITEFLAG_WRITE_UNBUFFERED);
	UDF_OK(tctx, status, "unbuffered write without the mapping");
	CHECK_CONTENT(tctx, &file, true);
done:
	mapped_teardown(&file);
	return ret;
}

/* With the count at zero a mapping is no obstacle to anything. */
static bool test_count_zero(struct torture_context *tctx,
			    struct smb2_tree *tree, struct smb2_tree *tree2)
{
	struct mapped_file file = {0};
	struct smb2_handle again = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	ret = mapped_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_set_purge(tree, file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	status = udf_write(tree2,
			   file.write,
			   WRITE_OFFSET,
			   file.data,
			   WRITE_LENGTH,
			   0);
	UDF_OK(tctx, status, "cached write");
	status = udf_write(tree2,
			   file.write,
			   WRITE_OFFSET,
			   file.data,
			   WRITE_LENGTH,
			   SMB2_WRITEFLAG_WRITE_UNBUFFERED);
	UDF_OK(tctx, status, "unbuffered write");
	CHECK_CONTENT(tctx, &file, true);
	status = udf_set_end_of_file(tree2, file.write, WRITE_OFFSET);
	UDF_OK(tctx, status, "shrinking");
	status = udf_open(tree2,
			  FNAME,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OVERWRITE,
			  0,
			  &again);
	UDF_OK(tctx, status, "overwriting");
done:
	udf_close(tree2, &again);
	mapped_teardown(&file);
	return ret;
}

/* CREATE that would empty the file: USER_MAPPED_FILE, and it does not. */
static bool test_destroy(struct torture_context *tctx, struct smb2_tree *tree,
			 struct smb2_tree *tree2, uint32_t disposition)
{
	struct mapped_file file = {0};
	struct smb2_handle again = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	ret = mapped_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_open(tree2,
			  FNAME,
			  SEC_RIGHTS_FILE_ALL,
			  disposition,
			  0,
			  &again);
	UDF_STATUS(tctx,
		   status,
		   NT_STATUS_USER_MAPPED_FILE,
		   "a destructive create");
	CHECK_CONTENT(tctx, &file, false);
	status = udf_set_purge(tree, file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	status = udf_open(tree2,
			  FNAME,
			  SEC_RIGHTS_FILE_ALL,
			  disposition,
			  0,
			  &again);
	UDF_OK(tctx, status, "a destructive create after the bracket");
done:
	udf_close(tree2, &again);
	mapped_teardown(&file);
	return ret;
}

static bool test_overwrite(struct torture_context *tctx,
			   struct smb2_tree *tree, struct smb2_tree *tree2)
{
	return test_destroy(tctx, tree, tree2, NTCREATEX_DISP_OVERWRITE);
}

static bool test_overwrite_if(struct torture_context *tctx,
			      struct smb2_tree *tree, struct smb2_tree *tree2)
{
	return test_destroy(tctx, tree, tree2, NTCREATEX_DISP_OVERWRITE_IF);
}

static bool test_supersede(struct torture_context *tctx,
			   struct smb2_tree *tree, struct smb2_tree *tree2)
{
	return test_destroy(tctx, tree, tree2, NTCREATEX_DISP_SUPERSEDE);
}

/* An open that destroys nothing is not refused. */
static bool test_open(struct torture_context *tctx, struct smb2_tree *tree,
		      struct smb2_tree *tree2)
{
	struct mapped_file file = {0};
	struct smb2_handle again = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	ret = mapped_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_open(tree2,
			  FNAME,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN_IF,
			  0,
			  &again);
	UDF_OK(tctx, status, "open_if of a file that is there");
	CHECK_CONTENT(tctx, &file, false);
done:
	udf_close(tree2, &again);
	mapped_teardown(&file);
	return ret;
}

static bool test_shrink(struct torture_context *tctx, struct smb2_tree *tree,
			struct smb2_tree *tree2)
{
	struct mapped_file file = {0};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	ret = mapped_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_set_end_of_file(tree2, file.write, WRITE_OFFSET);
	UDF_STATUS(tctx, status, NT_STATUS_PURGE_FAILED, "end of file");
	status = udf_set_allocation(tree2, file.write, WRITE_OFFSET);
	UDF_STATUS(tctx, status, NT_STATUS_PURGE_FAILED, "allocation");
	CHECK_CONTENT(tctx, &file, false);
done:
	mapped_teardown(&file);
	return ret;
}

/* A cached write is held, and done when the count reaches zero. */
static bool test_held(struct torture_context *tctx, struct smb2_tree *tree,
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

/* It waits for the file's last bracket, not for the first that ends. */
static bool test_held_nested(struct torture_context *tctx,
			     struct smb2_tree *tree, struct smb2_tree *tree2)
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

	status = udf_set_purge(tree, file.scan, ENABLED);
	UDF_OK(tctx, status, "ENABLED, again");
	ret = mapped_send_held(tctx, &file, tree2, file.write, &req);
	if (!ret) {
		goto done;
	}
	status = udf_set_purge(tree, file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	replied = udf_wait_reply(tctx, req, HELD_MSEC);
	torture_assert_goto(
		tctx, !replied, ret, done, "one bracket is still open");
	status = udf_set_purge(tree, file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED, the last");
	ret = mapped_recv_held(tctx, req, NT_STATUS_OK, "after the last DISABLED");
	if (!ret) {
		goto done;
	}
	CHECK_CONTENT(tctx, &file, true);
done:
	mapped_teardown(&file);
	return ret;
}

/* The bracket's own connection can write, and still end the bracket. */
static bool test_held_own(struct torture_context *tctx, struct smb2_tree *tree)
{
	struct mapped_file file = {0};
	struct smb2_request *req = NULL;
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	ret = mapped_setup(tctx, &file, tree, tree, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	ret = mapped_send_held(tctx, &file, tree, file.write, &req);
	if (!ret) {
		goto done;
	}
	status = udf_set_purge(tree, file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED on the same connection");
	ret = mapped_recv_held(tctx, req, NT_STATUS_OK, "after DISABLED");
	if (!ret) {
		goto done;
	}
	CHECK_CONTENT(tctx, &file, true);
done:
	mapped_teardown(&file);
	return ret;
}

/* SMB2 CANCEL: CANCELLED, and the data is never written. */
static bool test_held_cancel(struct torture_context *tctx,
			     struct smb2_tree *tree, struct smb2_tree *tree2)
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
	smb2_cancel(req);
	ret = mapped_recv_held(tctx, req, NT_STATUS_CANCELLED, "after CANCEL");
	if (!ret) {
		goto done;
	}
	CHECK_CONTENT(tctx, &file, false);
	status = udf_set_purge(tree, file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	udf_serve(tctx, HELD_MSEC);
	CHECK_CONTENT(tctx, &file, false);

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

/* The bracket ends with its handle. */
static bool test_held_close(struct torture_context *tctx,
			    struct smb2_tree *tree, struct smb2_tree *tree2)
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
	udf_close(tree, &file.scan);
	ret = mapped_recv_held(
		tctx, req, NT_STATUS_OK, "after the scanner's CLOSE");
	if (!ret) {
		goto done;
	}
	status = udf_open(tree,
			  FNAME,
			  SEC_FILE_READ_DATA,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &file.scan);
	UDF_OK(tctx, status, "opening to look");
	CHECK_CONTENT(tctx, &file, true);
done:
	mapped_teardown(&file);
	return ret;
}

/* The bracket ends with its connection. */
static bool test_held_disconnect(struct torture_context *tctx,
				 struct smb2_tree *tree,
				 struct smb2_tree *tree2)
{
	struct mapped_file file = {0};
	struct smb2_request *req = NULL;
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	/* tree2 scans here, so that tree is left to clean up. */
	ret = mapped_setup(tctx, &file, tree2, tree, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	ret = mapped_send_held(tctx, &file, tree, file.write, &req);
	if (!ret) {
		goto done;
	}
	TALLOC_FREE(tree2);
	file.scanner = tree;
	file.scan = (struct smb2_handle){{0}};
	ret = mapped_recv_held(
		tctx, req, NT_STATUS_OK, "after the scanner's disconnect");
	if (!ret) {
		goto done;
	}
	status = udf_open(tree,
			  FNAME,
			  SEC_FILE_READ_DATA,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &file.scan);
	UDF_OK(tctx, status, "opening to look");
	CHECK_CONTENT(tctx, &file, true);
done:
	mapped_teardown(&file);
	return ret;
}

/* Hold some writes of one place, let them go, and see whose data is there. */
static bool held_order_round(struct torture_context *tctx,
			     struct mapped_file *file, uint8_t first)
{
	enum { WRITES = 4 };
	struct smb2_request *req[WRITES] = {NULL};
	uint8_t data[WRITES][WRITE_LENGTH] = {{0}};
	bool ok;
	NTSTATUS status;
	size_t i;

	for (i = 0; i < WRITES; i++) {
		memset(data[i], first + i, sizeof(data[i]));
		req[i] = udf_write_send(file->writer,
					file->write,
					WRITE_OFFSET,
					data[i],
					WRITE_LENGTH,
					0);
		torture_assert(tctx, req[i] != NULL, "sending a WRITE");
		ok = udf_wait_pending(tctx, req[i], PENDING_MSEC);
		torture_assert(tctx, ok, "each write is held");
	}
	status = udf_set_purge(file->scanner, file->scan, DISABLED);
	torture_assert_ntstatus_ok(tctx, status, "DISABLED");
	for (i = 0; i < WRITES; i++) {
		ok = udf_wait_reply(tctx, req[i], RELEASE_MSEC);
		torture_assert(tctx, ok, "each write is answered");
		status = udf_write_recv(req[i]);
		torture_assert_ntstatus_ok(tctx, status, "a held write");
	}
	memcpy(file->data, data[WRITES - 1], sizeof(file->data));
	return mapped_check_content(tctx, file, true);
}

/*
 * Writes of one open that overlap are done in the order they came. What does
 * them in another order may do so only now and then, so look several times.
 */
static bool test_held_order(struct torture_context *tctx,
			    struct smb2_tree *tree, struct smb2_tree *tree2)
{
	struct mapped_file file = {0};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;
	int i;

	ret = mapped_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	for (i = 0; i < 20; i++) {
		ret = held_order_round(tctx, &file, 4 * i);
		if (!ret) {
			goto done;
		}
		status = udf_set_purge(tree, file.scan, ENABLED);
		UDF_OK(tctx, status, "ENABLED, for the next round");
	}
done:
	mapped_teardown(&file);
	return ret;
}

/* A writer that closes its handle: its write ends, done or not. */
static bool test_held_writer_close(struct torture_context *tctx,
				   struct smb2_tree *tree,
				   struct smb2_tree *tree2)
{
	struct mapped_file file = {0};
	struct smb2_close close_io = {.in.flags = 0};
	struct smb2_request *req = NULL;
	struct smb2_request *close_req = NULL;
	const char *reason = NULL;
	bool replied;
	bool ret = true;
	NTSTATUS status, write_status;

	ret = mapped_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	ret = mapped_send_held(tctx, &file, tree2, file.write, &req);
	if (!ret) {
		goto done;
	}
	close_io.in.file.handle = file.write;
	close_req = smb2_close_send(tree2, &close_io);
	torture_assert_goto(
		tctx, close_req != NULL, ret, done, "sending a CLOSE");
	file.write = (struct smb2_handle){{0}};
	replied = udf_wait_reply(tctx, req, RELEASE_MSEC);
	torture_assert_goto(
		tctx, replied, ret, done, "the write ends with its handle");
	write_status = udf_write_recv(req);
	torture_comment(tctx, "the write: %s\n", nt_errstr(write_status));
	replied = udf_wait_reply(tctx, close_req, RELEASE_MSEC);
	torture_assert_goto(tctx, replied, ret, done, "the CLOSE is answered");
	status = smb2_close_recv(close_req, &close_io);
	UDF_OK(tctx, status, "CLOSE");

	torture_assert_goto(tctx,
			    !NT_STATUS_IS_OK(write_status),
			    ret,
			    done,
			    "the write was not done within the bracket");
	CHECK_CONTENT(tctx, &file, false);
	status = udf_set_purge(tree, file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	udf_serve(tctx, HELD_MSEC);
	CHECK_CONTENT(tctx, &file, false);
done:
	mapped_teardown(&file);
	return ret;
}

/* A writer that goes away: nothing is written for it, and nothing hangs. */
static bool test_held_writer_disconnect(struct torture_context *tctx,
					struct smb2_tree *tree,
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
	TALLOC_FREE(tree2);
	file.writer = NULL;
	ret = mapped_wait_closed(tctx, &file);
	if (!ret) {
		goto done;
	}
	CHECK_CONTENT(tctx, &file, false);

	status = udf_set_purge(tree, file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	udf_serve(tctx, HELD_MSEC);
	CHECK_CONTENT(tctx, &file, false);
done:
	mapped_teardown(&file);
	return ret;
}

static NTSTATUS zero_data(struct smb2_tree *tree, struct smb2_handle handle)
{
	return udf_zero_data(tree, handle, WRITE_OFFSET, WRITE_LENGTH);
}

/* FSCTL_SET_ZERO_DATA writes, too. */
static bool test_zero_data(struct torture_context *tctx,
			   struct smb2_tree *tree, struct smb2_tree *tree2)
{
	struct mapped_file file = {0};
	struct smb2_handle probe = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	ret = mapped_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	/* Not every store can: see on a file without a bracket. */
	status = udf_test_file(tree2, FNAME_SOURCE);
	UDF_OK(tctx, status, "making " FNAME_SOURCE);
	status = udf_open(tree2,
			  FNAME_SOURCE,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &probe);
	UDF_OK(tctx, status, "opening " FNAME_SOURCE);
	status = zero_data(tree2, probe);
	if (!NT_STATUS_IS_OK(status)) {
		torture_comment(tctx, "zeroing: %s\n", nt_errstr(status));
		torture_skip_goto(
			tctx, done, "FSCTL_SET_ZERO_DATA does not work here\n");
	}

	status = zero_data(tree2, file.write);
	UDF_STATUS(tctx, status, NT_STATUS_PURGE_FAILED, "zeroing");
	CHECK_CONTENT(tctx, &file, false);
	status = udf_set_purge(tree, file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	status = zero_data(tree2, file.write);
	UDF_OK(tctx, status, "zeroing after the bracket");
	memset(file.data, 0, sizeof(file.data));
	CHECK_CONTENT(tctx, &file, true);
done:
	udf_close(tree2, &probe);
	smb2_util_unlink(tree2, FNAME_SOURCE);
	mapped_teardown(&file);
	return ret;
}

/* From the start of the key's file to WRITE_OFFSET of target. */
static struct smb2_request *
copy_chunk_send_key(struct smb2_tree *tree,
		    const uint8_t key[UDF_RESUME_KEY_LEN],
		    struct smb2_handle target)
{
	return udf_copy_chunk_send(
		tree, key, 0, target, WRITE_OFFSET, WRITE_LENGTH);
}

static struct smb2_request *copy_chunk_send(struct smb2_tree *tree,
					    struct smb2_handle source,
					    struct smb2_handle target)
{
	uint8_t key[UDF_RESUME_KEY_LEN] = {0};
	NTSTATUS status;

	status = udf_resume_key(tree, source, key);
	if (!NT_STATUS_IS_OK(status)) {
		return NULL;
	}
	return copy_chunk_send_key(tree, key, target);
}

/*
 * So does FSCTL_SRV_COPYCHUNK, in the file that it copies to. A server may
 * hold it, as anything that can wait, or refuse it at once.
 */
static bool test_copy_chunk(struct torture_context *tctx,
			    struct smb2_tree *tree, struct smb2_tree *tree2)
{
	struct mapped_file file = {0};
	struct smb2_handle source = {{0}};
	struct smb2_request *req = NULL;
	const char *reason = NULL;
	bool held;
	bool ret = true;
	NTSTATUS status;
	size_t i;

	ret = mapped_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_test_file(tree2, FNAME_SOURCE);
	UDF_OK(tctx, status, "making " FNAME_SOURCE);
	status = udf_open(tree2,
			  FNAME_SOURCE,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &source);
	UDF_OK(tctx, status, "opening " FNAME_SOURCE);
	req = copy_chunk_send(tree2, source, source);
	status = udf_copy_chunk_recv(req);
	if (!NT_STATUS_IS_OK(status)) {
		torture_comment(tctx, "copying: %s\n", nt_errstr(status));
		torture_skip_goto(
			tctx, done, "FSCTL_SRV_COPYCHUNK does not work here\n");
	}

	req = copy_chunk_send(tree2, source, file.write);
	torture_assert_goto(tctx, req != NULL, ret, done, "sending a copy");
	/* STATUS_PENDING alone does not mean held: a copy may be slow. */
	held = !udf_wait_reply(tctx, req, HELD_MSEC);
	if (!held) {
		status = udf_copy_chunk_recv(req);
		UDF_STATUS(tctx, status, NT_STATUS_PURGE_FAILED, "copying");
	}
	CHECK_CONTENT(tctx, &file, false);
	status = udf_set_purge(tree, file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	if (held) {
		ret = udf_wait_reply(tctx, req, RELEASE_MSEC);
		torture_assert_goto(
			tctx, ret, ret, done, "a held copy after DISABLED");
	} else {
		req = copy_chunk_send(tree2, source, file.write);
	}
	status = udf_copy_chunk_recv(req);
	UDF_OK(tctx, status, "copying after the bracket");
	for (i = 0; i < sizeof(file.data); i++) {
		file.data[i] = udf_test_byte(i);
	}
	CHECK_CONTENT(tctx, &file, true);
done:
	udf_close(tree2, &source);
	smb2_util_unlink(tree2, FNAME_SOURCE);
	mapped_teardown(&file);
	return ret;
}

/*
 * The file that is copied from is closed while the copy is held: that is done
 * or not, as its answer says, and the file is as good as before.
 */
static bool test_copy_source_closed(struct torture_context *tctx,
				    struct smb2_tree *tree,
				    struct smb2_tree *tree2)
{
	struct mapped_file file = {0};
	struct smb2_handle source = {{0}};
	struct smb2_request *req = NULL;
	const char *reason = NULL;
	bool replied;
	bool ret = true;
	NTSTATUS status;
	size_t i;

	ret = mapped_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_test_file(tree2, FNAME_SOURCE);
	UDF_OK(tctx, status, "making " FNAME_SOURCE);
	status = udf_open(tree2,
			  FNAME_SOURCE,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &source);
	UDF_OK(tctx, status, "opening " FNAME_SOURCE);
	req = copy_chunk_send(tree2, source, file.write);
	if (req == NULL) {
		torture_skip_goto(
			tctx, done, "FSCTL_SRV_COPYCHUNK does not work here\n");
	}
	ret = mapped_stays_held(tctx, req);
	if (!ret) {
		goto done;
	}
	udf_close(tree2, &source);
	replied = udf_wait_reply(tctx, req, HELD_MSEC);
	torture_assert_goto(tctx, !replied, ret, done, "it stays held");

	status = udf_set_purge(tree, file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	replied = udf_wait_reply(tctx, req, RELEASE_MSEC);
	torture_assert_goto(tctx, replied, ret, done, "after DISABLED");
	status = udf_copy_chunk_recv(req);
	torture_comment(tctx, "held: %s\n", nt_errstr(status));
	for (i = 0; i < sizeof(file.data); i++) {
		file.data[i] = udf_test_byte(i);
	}
	CHECK_CONTENT(tctx, &file, NT_STATUS_IS_OK(status));

	memset(file.data, 0xA5, sizeof(file.data));
	status = udf_write(
		tree2, file.write, WRITE_OFFSET, file.data, WRITE_LENGTH, 0);
	UDF_OK(tctx, status, "a WRITE afterwards");
	CHECK_CONTENT(tctx, &file, true);
done:
	udf_close(tree2, &source);
	smb2_util_unlink(tree2, FNAME_SOURCE);
	mapped_teardown(&file);
	return ret;
}

/* Lock or unlock what is written, as flags say. */
static NTSTATUS lock_range(struct smb2_tree *tree, struct smb2_handle handle,
			   uint32_t flags)
{
	struct smb2_lock_element element = {
		.offset = WRITE_OFFSET,
		.length = WRITE_LENGTH,
		.flags = flags,
	};
	struct smb2_lock io = {
		.in.lock_count = 1,
		.in.file.handle = handle,
		.in.locks = &element,
	};

	return smb2_lock(tree, &io);
}

/* Another client locks the range while a WRITE or a copy is held. */
static bool check_locked(struct torture_context *tctx, struct smb2_tree *tree,
			 struct smb2_tree *tree2, bool copy)
{
	struct mapped_file file = {0};
	struct smb2_handle source = {{0}};
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

	if (copy) {
		status = udf_test_file(tree2, FNAME_SOURCE);
		UDF_OK(tctx, status, "making " FNAME_SOURCE);
		status = udf_open(tree2,
				  FNAME_SOURCE,
				  SEC_RIGHTS_FILE_ALL,
				  NTCREATEX_DISP_OPEN,
				  0,
				  &source);
		UDF_OK(tctx, status, "opening " FNAME_SOURCE);
		req = copy_chunk_send(tree2, source, file.write);
		ret = mapped_stays_held(tctx, req);
	} else {
		ret = mapped_send_held(tctx, &file, tree2, file.write, &req);
	}
	if (!ret) {
		goto done;
	}
	status = lock_range(tree,
			    file.scan,
			    SMB2_LOCK_FLAG_EXCLUSIVE |
				    SMB2_LOCK_FLAG_FAIL_IMMEDIATELY);
	UDF_OK(tctx, status, "a lock by another client");
	status = udf_set_purge(tree, file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	replied = udf_wait_reply(tctx, req, RELEASE_MSEC);
	torture_assert_goto(tctx, replied, ret, done, "after DISABLED");
	status = copy ? udf_copy_chunk_recv(req) : udf_write_recv(req);
	UDF_STATUS(tctx,
		   status,
		   NT_STATUS_FILE_LOCK_CONFLICT,
		   "what was held, of a range that is locked now");
	CHECK_CONTENT(tctx, &file, false);

	status = lock_range(tree, file.scan, SMB2_LOCK_FLAG_UNLOCK);
	UDF_OK(tctx, status, "unlocking");
	status = udf_write(
		tree2, file.write, WRITE_OFFSET, file.data, WRITE_LENGTH, 0);
	UDF_OK(tctx, status, "a WRITE without the lock");
	CHECK_CONTENT(tctx, &file, true);
done:
	udf_close(tree2, &source);
	smb2_util_unlink(tree2, FNAME_SOURCE);
	mapped_teardown(&file);
	return ret;
}

static bool test_held_locked(struct torture_context *tctx,
			     struct smb2_tree *tree, struct smb2_tree *tree2)
{
	return check_locked(tctx, tree, tree2, false);
}

static bool test_copy_locked(struct torture_context *tctx,
			     struct smb2_tree *tree, struct smb2_tree *tree2)
{
	return check_locked(tctx, tree, tree2, true);
}

/*
 * Of a compound only the last request can wait (MS-SMB2 3.3.5.2.7): a WRITE
 * before it is refused, and answered while the copy is held.
 */
static bool test_compound(struct torture_context *tctx, struct smb2_tree *tree,
			  struct smb2_tree *tree2)
{
	struct mapped_file file = {0};
	struct smb2_transport *transport = tree2->session->transport;
	struct smb2_handle source = {{0}};
	struct smb2_request *write = NULL;
	struct smb2_request *copy = NULL;
	uint8_t key[UDF_RESUME_KEY_LEN] = {0};
	const char *reason = NULL;
	bool replied;
	bool ret = true;
	NTSTATUS status;
	size_t i;

	ret = mapped_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_test_file(tree2, FNAME_SOURCE);
	UDF_OK(tctx, status, "making " FNAME_SOURCE);
	status = udf_open(tree2,
			  FNAME_SOURCE,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &source);
	UDF_OK(tctx, status, "opening " FNAME_SOURCE);
	status = udf_resume_key(tree2, source, key);
	if (!NT_STATUS_IS_OK(status)) {
		torture_skip_goto(
			tctx, done, "FSCTL_SRV_COPYCHUNK does not work here\n");
	}

	status = smb2_transport_compound_start(transport, 2);
	UDF_OK(tctx, status, "a compound");
	write = udf_write_send(tree2,
			       file.write,
			       WRITE_OFFSET,
			       file.data,
			       sizeof(file.data),
			       0);
	copy = copy_chunk_send_key(tree2, key, file.write);
	torture_assert_goto(tctx,
			    write != NULL && copy != NULL,
			    ret,
			    done,
			    "sending a compound");

	replied = udf_wait_reply(tctx, write, RELEASE_MSEC);
	torture_assert_goto(
		tctx, replied, ret, done, "the first is answered at once");
	status = udf_write_recv(write);
	UDF_STATUS(tctx, status, NT_STATUS_PURGE_FAILED, "the first");
	replied = udf_wait_reply(tctx, copy, HELD_MSEC);
	torture_assert_goto(tctx, !replied, ret, done, "the last is held");
	CHECK_CONTENT(tctx, &file, false);

	status = udf_set_purge(tree, file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	replied = udf_wait_reply(tctx, copy, RELEASE_MSEC);
	torture_assert_goto(
		tctx, replied, ret, done, "the last after DISABLED");
	status = udf_copy_chunk_recv(copy);
	UDF_OK(tctx, status, "the last after DISABLED");
	for (i = 0; i < sizeof(file.data); i++) {
		file.data[i] = udf_test_byte(i);
	}
	CHECK_CONTENT(tctx, &file, true);
done:
	udf_close(tree2, &source);
	smb2_util_unlink(tree2, FNAME_SOURCE);
	mapped_teardown(&file);
	return ret;
}

struct torture_suite *udf_purge_mapped_suite(TALLOC_CTX *ctx)
{
	struct torture_suite *suite = NULL;

	suite = torture_suite_create(ctx, "mapped");
	if (suite == NULL) {
		return NULL;
	}
	suite->description =
		talloc_strdup(suite, "Purge failures with a real mapping");

	torture_suite_add_2smb2_test(
		suite, "unbuffered_flag", test_unbuffered_flag);
	torture_suite_add_2smb2_test(
		suite, "unbuffered_open", test_unbuffered_open);
	torture_suite_add_2smb2_test(suite, "unmapped", test_unmapped);
	torture_suite_add_2smb2_test(suite, "count_zero", test_count_zero);
	torture_suite_add_2smb2_test(suite, "overwrite", test_overwrite);
	torture_suite_add_2smb2_test(suite, "overwrite_if", test_overwrite_if);
	torture_suite_add_2smb2_test(suite, "supersede", test_supersede);
	torture_suite_add_2smb2_test(suite, "open", test_open);
	torture_suite_add_2smb2_test(suite, "shrink", test_shrink);
	torture_suite_add_2smb2_test(suite, "held", test_held);
	torture_suite_add_2smb2_test(suite, "held_nested", test_held_nested);
	torture_suite_add_1smb2_test(suite, "held_own", test_held_own);
	torture_suite_add_2smb2_test(suite, "held_cancel", test_held_cancel);
	torture_suite_add_2smb2_test(suite, "held_close", test_held_close);
	torture_suite_add_2smb2_test(
		suite, "held_disconnect", test_held_disconnect);
	torture_suite_add_2smb2_test(suite, "held_order", test_held_order);
	torture_suite_add_2smb2_test(
		suite, "held_writer_close", test_held_writer_close);
	torture_suite_add_2smb2_test(
		suite, "held_writer_disconnect", test_held_writer_disconnect);
	torture_suite_add_2smb2_test(suite, "zero_data", test_zero_data);
	torture_suite_add_2smb2_test(suite, "held_locked", test_held_locked);
	torture_suite_add_2smb2_test(suite, "copy_chunk", test_copy_chunk);
	torture_suite_add_2smb2_test(suite, "copy_locked", test_copy_locked);
	torture_suite_add_2smb2_test(
		suite, "copy_source_closed", test_copy_source_closed);
	torture_suite_add_2smb2_test(suite, "compound", test_compound);
	return suite;
}
