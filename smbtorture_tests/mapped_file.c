/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A file that is mapped on the server, counted, and written to; see
 * mapped_file.h.
 */
#include "includes.h"
#include "libcli/smb2/smb2.h"
#include "libcli/smb2/smb2_calls.h"
#include "torture/torture.h"
#include "torture/smb2/proto.h"

#include "fsctl_udf.h"
#include "mapped_file.h"

#define FNAME MAPPED_FNAME

#define ENABLED UDF_PURGE_FAILURE_MODE_ENABLED
#define DISABLED UDF_PURGE_FAILURE_MODE_DISABLED

bool mapped_setup(struct torture_context *tctx, struct mapped_file *file,
		  struct smb2_tree *scanner, struct smb2_tree *writer,
		  const char **reason)
{
	NTSTATUS status;

	*reason = NULL;
	*file = (struct mapped_file){.scanner = scanner, .writer = writer};
	memset(file->data, 0x5A, sizeof(file->data));

	if (!udf_test_dir(tctx, scanner)) {
		return false;
	}
	status = udf_test_file(scanner, FNAME);
	torture_assert_ntstatus_ok(tctx, status, "making " FNAME);
	status = udf_open(scanner,
			  FNAME,
			  SEC_FILE_READ_DATA,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &file->scan);
	torture_assert_ntstatus_ok(tctx, status, "opening to scan");
	status = udf_open(writer,
			  FNAME,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &file->write);
	torture_assert_ntstatus_ok(tctx, status, "opening to write");

	status = udf_set_purge(scanner, file->scan, ENABLED);
	if (udf_not_served(status)) {
		*reason = "the server does not serve "
			  "FSCTL_SET_PURGE_FAILURE_MODE to clients\n";
		return true;
	}
	torture_assert_ntstatus_ok(tctx, status, "ENABLED");

	if (!udf_map(tctx, FNAME, &file->mapping)) {
		return false;
	}
	if (file->mapping == NULL) {
		*reason = UDF_NO_MAPPER;
	}
	return true;
}

bool mapped_wait_closed(struct torture_context *tctx,
			struct mapped_file *file)
{
	struct timeval start = timeval_current();
	/* Not to be had together with an open for writing. */
	struct smb2_create io = {
		.in.desired_access = SEC_FILE_READ_DATA,
		.in.file_attributes = FILE_ATTRIBUTE_NORMAL,
		.in.share_access = NTCREATEX_SHARE_ACCESS_READ,
		.in.create_disposition = NTCREATEX_DISP_OPEN,
		.in.impersonation_level = SMB2_IMPERSONATION_IMPERSONATION,
		.in.fname = FNAME,
	};
	NTSTATUS status = NT_STATUS_SHARING_VIOLATION;

	while (NT_STATUS_EQUAL(status, NT_STATUS_SHARING_VIOLATION) &&
	       timeval_elapsed(&start) * 1000 < CLOSED_MSEC)
	{
		udf_serve(tctx, 10);
		status = smb2_create(file->scanner, tctx, &io);
	}
	torture_assert_ntstatus_ok(tctx, status, "the writer is gone");
	udf_close(file->scanner, &io.out.file.handle);
	return true;
}

void mapped_teardown(struct mapped_file *file)
{
	udf_unmap(file->mapping);
	file->mapping = NULL;
	if (file->scanner == NULL) {
		return;
	}
	udf_close(file->scanner, &file->scan);
	if (file->writer != NULL) {
		udf_close(file->writer, &file->write);
	}
	udf_remove(file->scanner, FNAME);
}

bool mapped_check_content(struct torture_context *tctx,
			  struct mapped_file *file, bool written)
{
	return udf_check_content(tctx,
				 file->scanner,
				 file->scan,
				 WRITE_OFFSET,
				 written ? file->data : NULL,
				 WRITE_LENGTH);
}

bool mapped_check_never_written(struct torture_context *tctx,
				struct mapped_file *file)
{
	NTSTATUS status;

	if (!mapped_check_content(tctx, file, false)) {
		return false;
	}
	status = udf_set_purge(file->scanner, file->scan, DISABLED);
	torture_assert_ntstatus_ok(tctx, status, "DISABLED");
	udf_serve(tctx, HELD_MSEC);
	return mapped_check_content(tctx, file, false);
}

bool mapped_stays_held(struct torture_context *tctx, struct smb2_request *req)
{
	bool pending, replied;

	torture_assert(tctx, req != NULL, "sending what is held");
	pending = udf_wait_pending(tctx, req, PENDING_MSEC);
	torture_assert(tctx,
		       pending,
		       talloc_asprintf(tctx,
				       "it is held: %s",
				       nt_errstr(req->status)));
	replied = udf_wait_reply(tctx, req, HELD_MSEC);
	torture_assert(tctx,
		       !replied,
		       talloc_asprintf(tctx,
				       "what is held stays held: %s",
				       nt_errstr(req->status)));
	return true;
}

bool mapped_send_held(struct torture_context *tctx, struct mapped_file *file,
		      struct smb2_tree *tree, struct smb2_handle handle,
		      struct smb2_request **req)
{
	*req = udf_write_send(
		tree, handle, WRITE_OFFSET, file->data, WRITE_LENGTH, 0);
	return mapped_stays_held(tctx, *req);
}

bool mapped_recv_held(struct torture_context *tctx, struct smb2_request *req,
		      NTSTATUS expected, const char *what)
{
	struct timeval start = timeval_current();
	NTSTATUS status;
	bool replied;

	replied = udf_wait_reply(tctx, req, RELEASE_MSEC);
	torture_assert(tctx, replied, what);
	torture_comment(tctx,
			"%s: answered after %.1f ms\n",
			what,
			timeval_elapsed(&start) * 1000);
	status = udf_write_recv(req);
	torture_assert_ntstatus_equal(tctx, status, expected, what);
	return true;
}
