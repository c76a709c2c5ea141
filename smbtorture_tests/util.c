/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the udf torture suites share: opening files, sending the four control
 * codes and raw WRITE flags, and waiting for held requests. The mapper is in
 * mapping.c.
 */
#include "includes.h"
#include "lib/events/events.h"
#include "libcli/smb2/smb2.h"
#include "libcli/smb2/smb2_calls.h"
#include "libcli/smb/smbXcli_base.h"
#include "librpc/gen_ndr/ndr_ioctl.h"
#include "torture/torture.h"
#include "torture/smb2/proto.h"

#include "fsctl_udf.h"
#include "util.h"

bool udf_test_dir(struct torture_context *tctx, struct smb2_tree *tree)
{
	struct smb2_handle handle = {{0}};
	NTSTATUS status;

	status = udf_open(tree,
			  UDF_TEST_DIR,
			  SEC_FILE_READ_ATTRIBUTE,
			  NTCREATEX_DISP_OPEN_IF,
			  NTCREATEX_OPTIONS_DIRECTORY,
			  &handle);
	torture_assert_ntstatus_ok(tctx, status, "making " UDF_TEST_DIR);
	udf_close(tree, &handle);
	return true;
}

void udf_remove(struct smb2_tree *tree, const char *name)
{
	smb2_util_unlink(tree, name);
	smb2_util_rmdir(tree, UDF_TEST_DIR);
}

NTSTATUS udf_open(struct smb2_tree *tree, const char *name, uint32_t access,
		  uint32_t disposition, uint32_t options,
		  struct smb2_handle *handle)
{
	struct smb2_create io = {
		.in.desired_access = access,
		.in.file_attributes = FILE_ATTRIBUTE_NORMAL,
		.in.share_access = NTCREATEX_SHARE_ACCESS_MASK,
		.in.create_disposition = disposition,
		.in.create_options = options,
		.in.impersonation_level = SMB2_IMPERSONATION_IMPERSONATION,
		.in.fname = name,
	};
	TALLOC_CTX *frame = talloc_stackframe();
	NTSTATUS status;

	if (options & NTCREATEX_OPTIONS_DIRECTORY) {
		io.in.file_attributes = FILE_ATTRIBUTE_DIRECTORY;
	}

	status = smb2_create(tree, frame, &io);
	if (NT_STATUS_IS_OK(status)) {
		*handle = io.out.file.handle;
	}
	TALLOC_FREE(frame);
	return status;
}

void udf_close(struct smb2_tree *tree, struct smb2_handle *handle)
{
	if (smb2_util_handle_empty(*handle)) {
		return;
	}
	smb2_util_close(tree, *handle);
	*handle = (struct smb2_handle){{0}};
}

uint8_t udf_test_byte(uint64_t offset)
{
	return (uint8_t)(offset * 7 + offset / 251);
}

NTSTATUS udf_test_file(struct smb2_tree *tree, const char *name)
{
	struct smb2_handle handle = {{0}};
	uint8_t *data = NULL;
	NTSTATUS status;
	size_t i;

	data = talloc_array(tree, uint8_t, UDF_TEST_FILE_SIZE);
	if (data == NULL) {
		return NT_STATUS_NO_MEMORY;
	}
	for (i = 0; i < UDF_TEST_FILE_SIZE; i++) {
		data[i] = udf_test_byte(i);
	}

	smb2_util_unlink(tree, name);
	status = udf_open(tree,
			  name,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_CREATE,
			  NTCREATEX_OPTIONS_NON_DIRECTORY_FILE,
			  &handle);
	if (!NT_STATUS_IS_OK(status)) {
		TALLOC_FREE(data);
		return status;
	}
	status = smb2_util_write(tree, handle, data, 0, UDF_TEST_FILE_SIZE);
	udf_close(tree, &handle);
	TALLOC_FREE(data);
	return status;
}

NTSTATUS udf_fsctl(struct smb2_tree *tree, TALLOC_CTX *mem_ctx,
		   struct smb2_handle handle, uint32_t code, DATA_BLOB input,
		   uint32_t max_output, DATA_BLOB *output)
{
	union smb_ioctl io = {
		.smb2.level = RAW_IOCTL_SMB2,
		.smb2.in.file.handle = handle,
		.smb2.in.function = code,
		.smb2.in.max_output_response = max_output,
		.smb2.in.flags = SMB2_IOCTL_FLAG_IS_FSCTL,
		.smb2.in.out = input,
	};
	TALLOC_CTX *frame = talloc_stackframe();
	NTSTATUS status;

	/* For libcli "out" is the first of the two buffers on the wire, which
	 * is the request's input (MS-SMB2 2.2.31, InputOffset). */
	status = smb2_ioctl(tree, frame, &io.smb2);
	if (NT_STATUS_IS_OK(status) && output != NULL) {
		*output = io.smb2.out.out;
		talloc_steal(mem_ctx, output->data);
	}
	TALLOC_FREE(frame);
	return status;
}

NTSTATUS udf_set_defect(struct smb2_tree *tree, struct smb2_handle handle,
			uint8_t disable)
{
	DATA_BLOB input = data_blob_const(&disable, UDF_SET_DEFECT_MGMT_LEN);

	return udf_fsctl(tree,
			 tree,
			 handle,
			 UDF_FSCTL_SET_DEFECT_MANAGEMENT,
			 input,
			 0,
			 NULL);
}

NTSTATUS udf_set_purge(struct smb2_tree *tree, struct smb2_handle handle,
		       uint32_t flags)
{
	uint8_t buf[UDF_SET_PURGE_FAILURE_MODE_LEN] = {0};
	DATA_BLOB input = data_blob_const(buf, sizeof(buf));

	SIVAL(buf, 0, flags);
	return udf_fsctl(tree,
			 tree,
			 handle,
			 UDF_FSCTL_SET_PURGE_FAILURE_MODE,
			 input,
			 0,
			 NULL);
}

bool udf_not_served(NTSTATUS status)
{
	return NT_STATUS_EQUAL(status, NT_STATUS_INVALID_DEVICE_REQUEST) ||
	       NT_STATUS_EQUAL(status, NT_STATUS_NOT_SUPPORTED) ||
	       NT_STATUS_EQUAL(status, NT_STATUS_FS_DRIVER_REQUIRED);
}

static struct smb2_write udf_write_io(struct smb2_handle handle,
				      uint64_t offset, const void *data,
				      size_t length, uint32_t flags)
{
	struct smb2_write io = {
		.in.file.handle = handle,
		.in.offset = offset,
		.in.data = data_blob_const(data, length),
		.in.unknown2 = (uint64_t)flags << 32,
	};

	return io;
}

NTSTATUS udf_write(struct smb2_tree *tree, struct smb2_handle handle,
		   uint64_t offset, const void *data, size_t length,
		   uint32_t flags)
{
	struct smb2_write io =
		udf_write_io(handle, offset, data, length, flags);
	NTSTATUS status;

	status = smb2_write(tree, &io);
	if (NT_STATUS_IS_OK(status) && io.out.nwritten != length) {
		return NT_STATUS_UNEXPECTED_IO_ERROR;
	}
	return status;
}

struct smb2_request *udf_write_send(struct smb2_tree *tree,
				    struct smb2_handle handle, uint64_t offset,
				    const void *data, size_t length,
				    uint32_t flags)
{
	struct smb2_write io =
		udf_write_io(handle, offset, data, length, flags);

	return smb2_write_send(tree, &io);
}

NTSTATUS udf_write_recv(struct smb2_request *req)
{
	struct smb2_write io = {.in.offset = 0};

	return smb2_write_recv(req, &io);
}

NTSTATUS udf_read(struct smb2_tree *tree, struct smb2_handle handle,
		  uint64_t offset, void *data, size_t length)
{
	struct smb2_read io = {
		.in.file.handle = handle,
		.in.length = length,
		.in.offset = offset,
	};
	TALLOC_CTX *frame = talloc_stackframe();
	NTSTATUS status;

	status = smb2_read(tree, frame, &io);
	if (NT_STATUS_IS_OK(status)) {
		if (io.out.data.length == length) {
			memcpy(data, io.out.data.data, length);
		} else {
			status = NT_STATUS_END_OF_FILE;
		}
	}
	TALLOC_FREE(frame);
	return status;
}

bool udf_check_content(struct torture_context *tctx, struct smb2_tree *tree,
		       struct smb2_handle handle, size_t offset,
		       const uint8_t *written, size_t length)
{
	uint8_t *got = NULL;
	NTSTATUS status;
	size_t i;

	got = talloc_array(tctx, uint8_t, UDF_TEST_FILE_SIZE);
	torture_assert(tctx, got != NULL, "memory");
	status = udf_read(tree, handle, 0, got, UDF_TEST_FILE_SIZE);
	torture_assert_ntstatus_ok(tctx, status, "reading the file");
	for (i = 0; i < UDF_TEST_FILE_SIZE; i++) {
		uint8_t expected = udf_test_byte(i);

		if (written != NULL && i >= offset && i < offset + length) {
			expected = written[i - offset];
		}
		torture_assert_int_equal(tctx,
					 got[i],
					 expected,
					 talloc_asprintf(
						 tctx, "byte %zu", i));
	}
	TALLOC_FREE(got);
	return true;
}

NTSTATUS udf_flush(struct smb2_tree *tree, struct smb2_handle handle)
{
	struct smb2_flush io = {.in.file.handle = handle};

	return smb2_flush(tree, &io);
}

NTSTATUS udf_set_end_of_file(struct smb2_tree *tree, struct smb2_handle handle,
			     uint64_t size)
{
	union smb_setfileinfo info = {
		.end_of_file_info.level = RAW_SFILEINFO_END_OF_FILE_INFORMATION,
		.end_of_file_info.in.file.handle = handle,
		.end_of_file_info.in.size = size,
	};

	return smb2_setinfo_file(tree, &info);
}

NTSTATUS udf_set_allocation(struct smb2_tree *tree, struct smb2_handle handle,
			    uint64_t size)
{
	union smb_setfileinfo info = {
		.allocation_info.level = RAW_SFILEINFO_ALLOCATION_INFORMATION,
		.allocation_info.in.file.handle = handle,
		.allocation_info.in.alloc_size = size,
	};

	return smb2_setinfo_file(tree, &info);
}

NTSTATUS udf_zero_data(struct smb2_tree *tree, struct smb2_handle handle,
		       uint64_t offset, uint64_t length)
{
	uint8_t input[16] = {0};

	/* FILE_ZERO_DATA_INFORMATION: from FileOffset to BeyondFinalZero. */
	SBVAL(input, 0, offset);
	SBVAL(input, 8, offset + length);
	return udf_fsctl(tree,
			 tree,
			 handle,
			 FSCTL_SET_ZERO_DATA,
			 data_blob_const(input, sizeof(input)),
			 0,
			 NULL);
}

NTSTATUS udf_resume_key(struct smb2_tree *tree, struct smb2_handle source,
			uint8_t key[UDF_RESUME_KEY_LEN])
{
	DATA_BLOB output = data_blob_null;
	NTSTATUS status;

	/* The key, and a context of which nothing is known. */
	status = udf_fsctl(tree,
			   tree,
			   source,
			   FSCTL_SRV_REQUEST_RESUME_KEY,
			   data_blob_null,
			   UDF_RESUME_KEY_LEN + 8,
			   &output);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}
	if (output.length < UDF_RESUME_KEY_LEN) {
		data_blob_free(&output);
		return NT_STATUS_INVALID_NETWORK_RESPONSE;
	}
	memcpy(key, output.data, UDF_RESUME_KEY_LEN);
	data_blob_free(&output);
	return NT_STATUS_OK;
}

struct smb2_request *udf_copy_chunk_send(struct smb2_tree *tree,
					 const uint8_t key[UDF_RESUME_KEY_LEN],
					 uint64_t from,
					 struct smb2_handle target,
					 uint64_t offset, uint32_t length)
{
	uint8_t input[UDF_RESUME_KEY_LEN + 32] = {0};
	struct smb2_ioctl io = {
		.level = RAW_IOCTL_SMB2,
		.in.file.handle = target,
		.in.function = FSCTL_SRV_COPYCHUNK,
		.in.max_output_response = 12,
		.in.flags = SMB2_IOCTL_FLAG_IS_FSCTL,
		.in.out = data_blob_const(input, sizeof(input)),
	};

	/* MS-SMB2 2.2.31.1: the key, the count, then the chunks. */
	memcpy(input, key, UDF_RESUME_KEY_LEN);
	SIVAL(input, 24, 1);
	SBVAL(input, 32, from);
	SBVAL(input, 40, offset);
	SIVAL(input, 48, length);
	return smb2_ioctl_send(tree, &io);
}

NTSTATUS udf_copy_chunk_recv(struct smb2_request *req)
{
	struct smb2_ioctl io = {.in.function = FSCTL_SRV_COPYCHUNK};
	TALLOC_CTX *frame = NULL;
	NTSTATUS status;

	if (req == NULL) {
		return NT_STATUS_NOT_SUPPORTED;
	}
	frame = talloc_stackframe();
	status = smb2_ioctl_recv(req, frame, &io);
	TALLOC_FREE(frame);
	return status;
}

bool udf_has_write_unbuffered(struct smb2_tree *tree)
{
	struct smbXcli_conn *conn = tree->session->transport->conn;

	return smbXcli_conn_protocol(conn) >= PROTOCOL_SMB3_02;
}

static void udf_timer_handler(struct tevent_context *ev,
			      struct tevent_timer *timer, struct timeval now,
			      void *private_data)
{
	bool *elapsed = private_data;

	*elapsed = true;
}

/* What udf_wait() waits for. */
enum udf_wait_for {
	UDF_WAIT_INTERIM,
	UDF_WAIT_FINAL,
	UDF_WAIT_TIME,
};

static bool udf_arrived(const struct smb2_request *req, enum udf_wait_for what)
{
	switch (what) {
	case UDF_WAIT_INTERIM:
		return req->cancel.can_cancel ||
		       req->state > SMB2_REQUEST_RECV;
	case UDF_WAIT_FINAL:
		return req->state > SMB2_REQUEST_RECV;
	case UDF_WAIT_TIME:
		return false;
	}
	return false;
}

static bool udf_wait(struct torture_context *tctx,
		     const struct smb2_request *req, enum udf_wait_for what,
		     unsigned int msec)
{
	struct tevent_timer *timer = NULL;
	struct timeval end = timeval_current_ofs_msec(msec);
	bool elapsed = false;
	int ret;

	timer = tevent_add_timer(
		tctx->ev, tctx, end, udf_timer_handler, &elapsed);
	if (timer == NULL) {
		return false;
	}
	while (!elapsed && !udf_arrived(req, what)) {
		ret = tevent_loop_once(tctx->ev);
		if (ret != 0) {
			break;
		}
	}
	if (!elapsed) {
		TALLOC_FREE(timer);
	}
	return udf_arrived(req, what);
}

bool udf_wait_pending(struct torture_context *tctx, struct smb2_request *req,
		      unsigned int msec)
{
	bool arrived;

	arrived = udf_wait(tctx, req, UDF_WAIT_INTERIM, msec);
	return arrived && req->state <= SMB2_REQUEST_RECV;
}

bool udf_wait_reply(struct torture_context *tctx, struct smb2_request *req,
		    unsigned int msec)
{
	return udf_wait(tctx, req, UDF_WAIT_FINAL, msec);
}

void udf_serve(struct torture_context *tctx, unsigned int msec)
{
	udf_wait(tctx, NULL, UDF_WAIT_TIME, msec);
}
