/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * udf.purge.cells: the table of docs/PROTOCOL.md, "While a file's sum is above
 * zero", one test for each cell. A row is an operation; a column is the state
 * of the file's bracket; and each is done by the open that has the bracket, by
 * another open of its client, and by another client.
 *
 * With --option=torture:othernode=HOST the other client is at another node of
 * a cluster. A mapping needs --option=torture:mapper=COMMAND; see mapping.c.
 */
#include "includes.h"
#include "libcli/smb2/smb2.h"
#include "libcli/smb2/smb2_calls.h"
#include "librpc/gen_ndr/ndr_ioctl.h"
#include "lib/param/param.h"
#include "lib/util/dlinklist.h"
#include "torture/torture.h"
#include "torture/smb2/proto.h"

#include "fsctl_udf.h"
#include "suites.h"
#include "util.h"

#define FNAME UDF_TEST_PATH("cell.dat")
#define FNAME_OTHER UDF_TEST_PATH("cell_other.dat")

#define ENABLED UDF_PURGE_FAILURE_MODE_ENABLED
#define DISABLED UDF_PURGE_FAILURE_MODE_DISABLED

/* What a request is watched for to be held, and may take when let go. */
#define HELD_MSEC 250
#define RELEASE_MSEC 5000

#define OFFSET 8192
#define LENGTH 4096

enum cell_actor {
	ACTOR_OWN,    /* the open that has the bracket */
	ACTOR_OPEN,   /* another open of the same client */
	ACTOR_CLIENT, /* another client */
	NUM_ACTORS,
};

enum cell_state {
	STATE_ZERO,    /* no bracket; mapped, if there is a mapper */
	STATE_COUNTED, /* a bracket, and no mapping */
	STATE_MAPPED,  /* a bracket and a mapping */
	NUM_STATES,
};

enum cell_outcome {
	DONE,
	HELD,
	PURGE_FAILED,
	USER_MAPPED_FILE,
};

static const char *const actor_names[NUM_ACTORS] = {
	[ACTOR_OWN] = "own",
	[ACTOR_OPEN] = "open",
	[ACTOR_CLIENT] = "client",
};

static const char *const state_names[NUM_STATES] = {
	[STATE_ZERO] = "zero",
	[STATE_COUNTED] = "counted",
	[STATE_MAPPED] = "mapped",
};

/* The connections of a row: its scanner's, and another client's. */
struct cell_fixture {
	struct smb2_tree *scanner;
	struct smb2_tree *other;
};

struct cell {
	struct torture_context *tctx;
	struct smb2_tree *scanner;
	struct smb2_tree *actor;
	struct smb2_handle scan;   /* has the bracket */
	struct smb2_handle handle; /* of whoever acts; may be scan */
	bool handle_is_scan;
	struct udf_mapping *mapping;
	uint8_t data[LENGTH];
};

struct cell_row {
	const char *name;
	/* Sends it; or, where libcli has it only as a whole, does it. */
	struct smb2_request *(*send)(struct cell *cell);
	NTSTATUS (*recv)(struct cell *cell, struct smb2_request *req);
	NTSTATUS (*whole)(struct cell *cell);
	uint32_t options;     /* NTCREATEX_OPTIONS_* of the actor's open */
	bool may_be_denied;   /* ACCESS_DENIED in any state is right, too */
	bool needs_dialect;   /* the WRITE_UNBUFFERED flag: 3.0.2 */
	uint64_t written_at;  /* where the cell's data is then; 0: nowhere */
	enum cell_outcome outcome[NUM_STATES];
};

static NTSTATUS recv_write(struct cell *cell, struct smb2_request *req)
{
	return udf_write_recv(req);
}

static struct smb2_request *send_write_flags(struct cell *cell, uint32_t flags)
{
	return udf_write_send(
		cell->actor, cell->handle, OFFSET, cell->data, LENGTH, flags);
}

static struct smb2_request *send_write(struct cell *cell)
{
	return send_write_flags(cell, 0);
}

static struct smb2_request *send_write_through(struct cell *cell)
{
	return send_write_flags(cell, SMB2_WRITEFLAG_WRITE_THROUGH);
}

static struct smb2_request *send_write_unbuffered(struct cell *cell)
{
	return send_write_flags(cell, SMB2_WRITEFLAG_WRITE_UNBUFFERED);
}

static struct smb2_request *send_write_nothing(struct cell *cell)
{
	return udf_write_send(
		cell->actor, cell->handle, OFFSET, cell->data, 0, 0);
}

static struct smb2_request *send_append(struct cell *cell)
{
	return udf_write_send(cell->actor,
			      cell->handle,
			      UDF_TEST_FILE_SIZE,
			      cell->data,
			      LENGTH,
			      0);
}

static NTSTATUS do_end_of_file_shrink(struct cell *cell)
{
	return udf_set_end_of_file(cell->actor, cell->handle, LENGTH);
}

static NTSTATUS do_end_of_file_extend(struct cell *cell)
{
	return udf_set_end_of_file(
		cell->actor, cell->handle, 2 * UDF_TEST_FILE_SIZE);
}

static NTSTATUS do_allocation_shrink(struct cell *cell)
{
	return udf_set_allocation(cell->actor, cell->handle, LENGTH);
}

static NTSTATUS do_allocation_extend(struct cell *cell)
{
	return udf_set_allocation(
		cell->actor, cell->handle, 2 * UDF_TEST_FILE_SIZE);
}

static NTSTATUS do_valid_data_length(struct cell *cell)
{
	uint8_t length[8] = {0};
	/* SMB2_0_INFO_FILE, FileValidDataLengthInformation (MS-FSCC 2.4.49),
	 * which smb2_setinfo_file() does not know. */
	struct smb2_setinfo io = {
		.in.level = 0x2701,
		.in.file.handle = cell->handle,
		.in.blob = data_blob_const(length, sizeof(length)),
	};

	SBVAL(length, 0, UDF_TEST_FILE_SIZE);
	return smb2_setinfo(cell->actor, &io);
}

static NTSTATUS set_disposition(struct cell *cell, bool delete_on_close)
{
	union smb_setfileinfo info = {
		.disposition_info.level = RAW_SFILEINFO_DISPOSITION_INFORMATION,
		.disposition_info.in.file.handle = cell->handle,
		.disposition_info.in.delete_on_close = delete_on_close,
	};

	return smb2_setinfo_file(cell->actor, &info);
}

/* Marked for deletion, and spared again. */
static NTSTATUS do_disposition(struct cell *cell)
{
	NTSTATUS status;

	status = set_disposition(cell, true);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}
	return set_disposition(cell, false);
}

static NTSTATUS rename_handle(struct cell *cell, struct smb2_handle handle,
			      const char *name, bool overwrite)
{
	union smb_setfileinfo info = {
		.rename_information.level = RAW_SFILEINFO_RENAME_INFORMATION,
		.rename_information.in.file.handle = handle,
		.rename_information.in.overwrite = overwrite,
		.rename_information.in.new_name = name,
	};

	return smb2_setinfo_file(cell->actor, &info);
}

/* There and back again. */
static NTSTATUS do_rename(struct cell *cell)
{
	NTSTATUS status;

	status = rename_handle(cell, cell->handle, FNAME_OTHER, false);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}
	return rename_handle(cell, cell->handle, FNAME, false);
}

static NTSTATUS do_rename_over(struct cell *cell)
{
	struct smb2_handle other = {{0}};
	NTSTATUS status;

	status = udf_test_file(cell->actor, FNAME_OTHER);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}
	status = udf_open(cell->actor,
			  FNAME_OTHER,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &other);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}
	status = rename_handle(cell, other, FNAME, true);
	udf_close(cell->actor, &other);
	return status;
}

/* FileLinkInformation for SMB2 (MS-FSCC 2.4.28.2), which libcli has not. */
#define LINK_NAME_OFFSET 20

/* Another name of the file. */
static NTSTATUS do_link(struct cell *cell)
{
	TALLOC_CTX *frame = talloc_stackframe();
	struct smb2_setinfo io = {
		.in.level = 0x0B01,
		.in.file.handle = cell->handle,
	};
	uint8_t *name = NULL;
	size_t name_len = 0;
	NTSTATUS status = NT_STATUS_NO_MEMORY;
	bool ok;

	ok = push_ucs2_talloc(frame,
			      (smb_ucs2_t **)&name,
			      FNAME_OTHER,
			      &name_len);
	if (!ok) {
		goto done;
	}
	/* Without the zero at its end. */
	name_len -= sizeof(smb_ucs2_t);
	io.in.blob = data_blob_talloc_zero(frame, LINK_NAME_OFFSET + name_len);
	if (io.in.blob.data == NULL) {
		goto done;
	}
	SIVAL(io.in.blob.data, 16, name_len);
	memcpy(io.in.blob.data + LINK_NAME_OFFSET, name, name_len);
	status = smb2_setinfo(cell->actor, &io);
done:
	TALLOC_FREE(frame);
	return status;
}

/* Times and attributes: nothing of the file's data. */
static NTSTATUS do_attributes(struct cell *cell)
{
	union smb_setfileinfo info = {
		.basic_info.level = RAW_SFILEINFO_BASIC_INFORMATION,
		.basic_info.in.file.handle = cell->handle,
		.basic_info.in.write_time = 0x01D0000000000000ULL,
		.basic_info.in.attrib = FILE_ATTRIBUTE_HIDDEN,
	};

	return smb2_setinfo_file(cell->actor, &info);
}

static NTSTATUS create(struct cell *cell, uint32_t disposition,
		       uint32_t options)
{
	struct smb2_handle handle = {{0}};
	NTSTATUS status;

	status = udf_open(cell->actor,
			  FNAME,
			  SEC_RIGHTS_FILE_ALL,
			  disposition,
			  options,
			  &handle);
	udf_close(cell->actor, &handle);
	return status;
}

static NTSTATUS do_open(struct cell *cell)
{
	return create(cell, NTCREATEX_DISP_OPEN, 0);
}

static NTSTATUS do_supersede(struct cell *cell)
{
	return create(cell, NTCREATEX_DISP_SUPERSEDE, 0);
}

static NTSTATUS do_overwrite(struct cell *cell)
{
	return create(cell, NTCREATEX_DISP_OVERWRITE, 0);
}

static NTSTATUS do_overwrite_if(struct cell *cell)
{
	return create(cell, NTCREATEX_DISP_OVERWRITE_IF, 0);
}

static NTSTATUS do_delete_on_close(struct cell *cell)
{
	return create(cell,
		      NTCREATEX_DISP_OPEN,
		      NTCREATEX_OPTIONS_DELETE_ON_CLOSE);
}

static NTSTATUS do_zero_data(struct cell *cell)
{
	return udf_zero_data(cell->actor, cell->handle, OFFSET, LENGTH);
}

static NTSTATUS do_set_sparse(struct cell *cell)
{
	return udf_fsctl(cell->actor,
			 cell->actor,
			 cell->handle,
			 FSCTL_SET_SPARSE,
			 data_blob_null,
			 0,
			 NULL);
}

/* Both ends in the file itself: from its start to OFFSET. */
static struct smb2_request *send_copy_chunk(struct cell *cell)
{
	uint8_t key[UDF_RESUME_KEY_LEN] = {0};
	NTSTATUS status;

	status = udf_resume_key(cell->actor, cell->handle, key);
	if (!NT_STATUS_IS_OK(status)) {
		return NULL;
	}
	return udf_copy_chunk_send(
		cell->actor, key, 0, cell->handle, OFFSET, LENGTH);
}

static NTSTATUS recv_copy_chunk(struct cell *cell, struct smb2_request *req)
{
	return udf_copy_chunk_recv(req);
}

static NTSTATUS do_duplicate_extents(struct cell *cell)
{
	uint8_t input[40] = {0};

	/* MS-FSCC 2.3.7: source FileId, SourceFileOffset, TargetFileOffset,
	 * ByteCount. */
	SBVAL(input, 0, cell->handle.data[0]);
	SBVAL(input, 8, cell->handle.data[1]);
	SBVAL(input, 24, OFFSET);
	SBVAL(input, 32, LENGTH);
	return udf_fsctl(cell->actor,
			 cell->actor,
			 cell->handle,
			 FSCTL_DUP_EXTENTS_TO_FILE,
			 data_blob_const(input, sizeof(input)),
			 0,
			 NULL);
}

static NTSTATUS do_read(struct cell *cell)
{
	uint8_t got[LENGTH] = {0};

	return udf_read(cell->actor, cell->handle, OFFSET, got, sizeof(got));
}

static NTSTATUS do_flush(struct cell *cell)
{
	return udf_flush(cell->actor, cell->handle);
}

static NTSTATUS lock(struct cell *cell, uint32_t flags)
{
	struct smb2_lock_element element = {
		.offset = OFFSET,
		.length = LENGTH,
		.flags = flags,
	};
	struct smb2_lock io = {
		.in.file.handle = cell->handle,
		.in.lock_count = 1,
		.in.locks = &element,
	};

	return smb2_lock(cell->actor, &io);
}

static NTSTATUS do_lock(struct cell *cell)
{
	NTSTATUS status;

	status = lock(cell,
		      SMB2_LOCK_FLAG_EXCLUSIVE |
			      SMB2_LOCK_FLAG_FAIL_IMMEDIATELY);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}
	return lock(cell, SMB2_LOCK_FLAG_UNLOCK);
}

static NTSTATUS do_query(struct cell *cell)
{
	union smb_fileinfo info = {
		.standard_info.level = RAW_FILEINFO_STANDARD_INFORMATION,
		.standard_info.in.file.handle = cell->handle,
	};

	return smb2_getinfo_file(cell->actor, cell->tctx, &info);
}

#define IN_ALL_STATES(outcome) {outcome, outcome, outcome}
#define MAPPED_ONLY(outcome) {DONE, DONE, outcome}
#define WHEN_COUNTED(outcome) {DONE, outcome, outcome}

static const struct cell_row cell_rows[] = {
	{.name = "write",
	 .send = send_write,
	 .recv = recv_write,
	 .written_at = OFFSET,
	 .outcome = MAPPED_ONLY(HELD)},
	{.name = "write_through",
	 .send = send_write_through,
	 .recv = recv_write,
	 .written_at = OFFSET,
	 .outcome = MAPPED_ONLY(HELD)},
	{.name = "write_unbuffered_flag",
	 .send = send_write_unbuffered,
	 .recv = recv_write,
	 .written_at = OFFSET,
	 .needs_dialect = true,
	 .outcome = MAPPED_ONLY(PURGE_FAILED)},
	{.name = "write_unbuffered_open",
	 .send = send_write,
	 .recv = recv_write,
	 .written_at = OFFSET,
	 .options = NTCREATEX_OPTIONS_NO_INTERMEDIATE_BUFFERING,
	 .outcome = MAPPED_ONLY(PURGE_FAILED)},
	{.name = "write_nothing",
	 .send = send_write_nothing,
	 .recv = recv_write,
	 .outcome = IN_ALL_STATES(DONE)},
	{.name = "append",
	 .send = send_append,
	 .recv = recv_write,
	 .written_at = UDF_TEST_FILE_SIZE,
	 .outcome = IN_ALL_STATES(DONE)},
	{.name = "end_of_file_shrink",
	 .whole = do_end_of_file_shrink,
	 .outcome = WHEN_COUNTED(PURGE_FAILED)},
	{.name = "end_of_file_extend",
	 .whole = do_end_of_file_extend,
	 .outcome = IN_ALL_STATES(DONE)},
	{.name = "allocation_shrink",
	 .whole = do_allocation_shrink,
	 .outcome = WHEN_COUNTED(PURGE_FAILED)},
	{.name = "allocation_extend",
	 .whole = do_allocation_extend,
	 .outcome = IN_ALL_STATES(DONE)},
	{.name = "valid_data_length",
	 .whole = do_valid_data_length,
	 .outcome = IN_ALL_STATES(DONE)},
	{.name = "disposition",
	 .whole = do_disposition,
	 .outcome = IN_ALL_STATES(DONE)},
	{.name = "rename",
	 .whole = do_rename,
	 .outcome = IN_ALL_STATES(DONE)},
	{.name = "rename_over",
	 .whole = do_rename_over,
	 .may_be_denied = true,
	 .outcome = MAPPED_ONLY(PURGE_FAILED)},
	{.name = "link", .whole = do_link, .outcome = IN_ALL_STATES(DONE)},
	{.name = "attributes",
	 .whole = do_attributes,
	 .outcome = IN_ALL_STATES(DONE)},
	{.name = "create_open",
	 .whole = do_open,
	 .outcome = IN_ALL_STATES(DONE)},
	{.name = "create_supersede",
	 .whole = do_supersede,
	 .outcome = MAPPED_ONLY(USER_MAPPED_FILE)},
	{.name = "create_overwrite",
	 .whole = do_overwrite,
	 .outcome = MAPPED_ONLY(USER_MAPPED_FILE)},
	{.name = "create_overwrite_if",
	 .whole = do_overwrite_if,
	 .outcome = MAPPED_ONLY(USER_MAPPED_FILE)},
	{.name = "delete_on_close",
	 .whole = do_delete_on_close,
	 .outcome = IN_ALL_STATES(DONE)},
	{.name = "zero_data",
	 .whole = do_zero_data,
	 .outcome = MAPPED_ONLY(PURGE_FAILED)},
	{.name = "set_sparse",
	 .whole = do_set_sparse,
	 .outcome = IN_ALL_STATES(DONE)},
	{.name = "copy_chunk",
	 .send = send_copy_chunk,
	 .recv = recv_copy_chunk,
	 .outcome = MAPPED_ONLY(HELD)},
	{.name = "duplicate_extents",
	 .whole = do_duplicate_extents,
	 .outcome = MAPPED_ONLY(PURGE_FAILED)},
	{.name = "read", .whole = do_read, .outcome = IN_ALL_STATES(DONE)},
	{.name = "flush", .whole = do_flush, .outcome = IN_ALL_STATES(DONE)},
	{.name = "lock", .whole = do_lock, .outcome = IN_ALL_STATES(DONE)},
	{.name = "query", .whole = do_query, .outcome = IN_ALL_STATES(DONE)},
};

/* What a server answers that does not have the operation at all. */
static bool not_here(NTSTATUS status)
{
	return udf_not_served(status) ||
	       NT_STATUS_EQUAL(status, NT_STATUS_INVALID_INFO_CLASS) ||
	       NT_STATUS_EQUAL(status, NT_STATUS_INVALID_LEVEL) ||
	       NT_STATUS_EQUAL(status, NT_STATUS_NOT_IMPLEMENTED);
}

static NTSTATUS cell_open(struct smb2_tree *tree, uint32_t options,
			  struct smb2_handle *handle)
{
	return udf_open(tree,
			FNAME,
			SEC_RIGHTS_FILE_ALL,
			NTCREATEX_DISP_OPEN,
			options,
			handle);
}

static bool cell_setup(struct cell *cell, const struct cell_row *row,
		       enum cell_actor actor, enum cell_state state,
		       const char **reason)
{
	struct torture_context *tctx = cell->tctx;
	uint32_t scan_options = (actor == ACTOR_OWN) ? row->options : 0;
	NTSTATUS status;

	*reason = NULL;
	if (!udf_test_dir(tctx, cell->scanner)) {
		return false;
	}
	status = udf_test_file(cell->scanner, FNAME);
	torture_assert_ntstatus_ok(tctx, status, "making " FNAME);
	status = cell_open(cell->scanner, scan_options, &cell->scan);
	torture_assert_ntstatus_ok(tctx, status, "opening to scan");
	if (actor == ACTOR_OWN) {
		cell->handle = cell->scan;
		cell->handle_is_scan = true;
	} else {
		status = cell_open(cell->actor, row->options, &cell->handle);
		torture_assert_ntstatus_ok(tctx, status, "opening to act");
	}

	if (state != STATE_ZERO) {
		status = udf_set_purge(cell->scanner, cell->scan, ENABLED);
		if (udf_not_served(status)) {
			*reason = "the server does not serve "
				  "FSCTL_SET_PURGE_FAILURE_MODE to clients\n";
			return true;
		}
		torture_assert_ntstatus_ok(tctx, status, "ENABLED");
	}
	if (state == STATE_COUNTED) {
		return true;
	}
	if (!udf_map(tctx, FNAME, &cell->mapping)) {
		return false;
	}
	if (cell->mapping == NULL && state == STATE_MAPPED) {
		*reason = UDF_NO_MAPPER;
	}
	return true;
}

static void cell_teardown(struct cell *cell)
{
	udf_unmap(cell->mapping);
	cell->mapping = NULL;
	if (!cell->handle_is_scan) {
		udf_close(cell->actor, &cell->handle);
	}
	udf_close(cell->scanner, &cell->scan);
	smb2_util_unlink(cell->scanner, FNAME_OTHER);
	udf_remove(cell->scanner, FNAME);
}

/* Is the file as udf_test_file() made it? */
static bool check_untouched(struct cell *cell)
{
	return udf_check_content(
		cell->tctx, cell->scanner, cell->scan, 0, NULL, 0);
}

/* A row that writes: what it was told is done must be in the file. */
static bool check_written(struct cell *cell, const struct cell_row *row)
{
	struct torture_context *tctx = cell->tctx;
	uint8_t got[LENGTH] = {0};
	NTSTATUS status;

	if (row->written_at == 0) {
		return true;
	}
	status = udf_read(cell->scanner,
			  cell->scan,
			  row->written_at,
			  got,
			  sizeof(got));
	torture_assert_ntstatus_ok(tctx, status, "reading what was written");
	torture_assert_mem_equal(
		tctx, got, cell->data, sizeof(got), "what was written");
	return true;
}

static NTSTATUS cell_act(struct cell *cell, const struct cell_row *row)
{
	struct smb2_request *req = NULL;

	if (row->whole != NULL) {
		return row->whole(cell);
	}
	req = row->send(cell);
	if (req == NULL) {
		return NT_STATUS_NOT_SUPPORTED;
	}
	return row->recv(cell, req);
}

/* Held until the bracket is closed, and then done. */
static bool check_held(struct cell *cell, const struct cell_row *row)
{
	struct torture_context *tctx = cell->tctx;
	struct smb2_request *req = row->send(cell);
	NTSTATUS status;
	bool replied;

	torture_assert(tctx, req != NULL, "sending it");
	/* STATUS_PENDING alone does not mean held: it may be slow. */
	replied = udf_wait_reply(tctx, req, HELD_MSEC);
	if (replied) {
		status = row->recv(cell, req);
		torture_result(tctx,
			       TORTURE_FAIL,
			       "not held, but answered: %s\n",
			       nt_errstr(status));
		return false;
	}
	if (!check_untouched(cell)) {
		return false;
	}
	status = udf_set_purge(cell->scanner, cell->scan, DISABLED);
	torture_assert_ntstatus_ok(tctx, status, "DISABLED");
	replied = udf_wait_reply(tctx, req, RELEASE_MSEC);
	torture_assert(tctx, replied, "answered after DISABLED");
	status = row->recv(cell, req);
	torture_assert_ntstatus_ok(tctx, status, "after DISABLED");
	return check_written(cell, row);
}

/* Refused at once, without a change; and done after the bracket. */
static bool check_refused(struct cell *cell, const struct cell_row *row,
			  NTSTATUS expected, const char **reason)
{
	struct torture_context *tctx = cell->tctx;
	NTSTATUS status;

	status = cell_act(cell, row);
	if (not_here(status)) {
		*reason = "the server or the store does not have it\n";
		return true;
	}
	if (row->may_be_denied &&
	    NT_STATUS_EQUAL(status, NT_STATUS_ACCESS_DENIED)) {
		torture_comment(tctx, "refused in any case, it is open\n");
		return true;
	}
	torture_assert_ntstatus_equal(
		tctx, status, expected, "within the bracket");
	if (!check_untouched(cell)) {
		return false;
	}
	status = udf_set_purge(cell->scanner, cell->scan, DISABLED);
	torture_assert_ntstatus_ok(tctx, status, "DISABLED");
	status = cell_act(cell, row);
	if (not_here(status)) {
		/* The bracket is asked about before the store. */
		*reason = "the server or the store does not have it\n";
		return true;
	}
	torture_assert_ntstatus_ok(tctx, status, "after DISABLED");
	return check_written(cell, row);
}

static bool check_done(struct cell *cell, const struct cell_row *row,
		       const char **reason)
{
	struct torture_context *tctx = cell->tctx;
	NTSTATUS status;

	status = cell_act(cell, row);
	if (not_here(status)) {
		*reason = "the server or the store does not have it\n";
		return true;
	}
	if (row->may_be_denied &&
	    NT_STATUS_EQUAL(status, NT_STATUS_ACCESS_DENIED)) {
		torture_comment(tctx, "refused in any case, it is open\n");
		return true;
	}
	torture_assert_ntstatus_ok(tctx, status, "it is done");
	return check_written(cell, row);
}

static bool cell_check(struct cell *cell, const struct cell_row *row,
		       enum cell_state state, const char **reason)
{
	switch (row->outcome[state]) {
	case DONE:
		return check_done(cell, row, reason);
	case HELD:
		return check_held(cell, row);
	case PURGE_FAILED:
		return check_refused(
			cell, row, NT_STATUS_PURGE_FAILED, reason);
	case USER_MAPPED_FILE:
		return check_refused(
			cell, row, NT_STATUS_USER_MAPPED_FILE, reason);
	}
	return false;
}

/* What a test of a row is about. */
struct cell_place {
	const struct cell_row *row;
	enum cell_actor actor;
	enum cell_state state;
};

static bool cell_run(struct torture_context *tctx, struct torture_tcase *tcase,
		     struct torture_test *test)
{
	const struct cell_fixture *fixture = tcase->data;
	const struct cell_place *place = test->data;
	const struct cell_row *row = place->row;
	struct cell cell = {
		.tctx = tctx,
		.scanner = fixture->scanner,
		.actor = (place->actor == ACTOR_CLIENT) ? fixture->other
							: fixture->scanner,
	};
	const char *reason = NULL;
	bool ret = true;

	if (row->needs_dialect && !udf_has_write_unbuffered(cell.actor)) {
		torture_skip(tctx, "the flag needs SMB 3.0.2\n");
	}
	memset(cell.data, 0x5A, sizeof(cell.data));
	ret = cell_setup(&cell, row, place->actor, place->state, &reason);
	if (ret && reason == NULL) {
		ret = cell_check(&cell, row, place->state, &reason);
	}
	cell_teardown(&cell);
	if (ret && reason != NULL) {
		torture_skip(tctx, reason);
	}
	return ret;
}

/* A connection to another node of the cluster. */
static bool connect_other(struct torture_context *tctx,
			  struct smb2_tree **tree)
{
	const char *node = torture_setting_string(tctx, "othernode", NULL);
	const char *host = torture_setting_string(tctx, "host", NULL);
	bool ok;

	if (node != NULL) {
		lpcfg_set_cmdline(tctx->lp_ctx, "torture:host", node);
	}
	ok = torture_smb2_connection(tctx, tree);
	if (node != NULL) {
		lpcfg_set_cmdline(tctx->lp_ctx, "torture:host", host);
	}
	return ok;
}

static bool row_setup(struct torture_context *tctx, void **data)
{
	struct cell_fixture *fixture = talloc_zero(tctx, struct cell_fixture);
	bool ok;

	torture_assert(tctx, fixture != NULL, "memory");
	ok = torture_smb2_connection(tctx, &fixture->scanner);
	torture_assert(tctx, ok, "connecting the scanner");
	ok = connect_other(tctx, &fixture->other);
	torture_assert(tctx, ok, "connecting another client");
	*data = fixture;
	return true;
}

static bool row_teardown(struct torture_context *tctx, void *data)
{
	struct cell_fixture *fixture = data;

	TALLOC_FREE(fixture->scanner);
	TALLOC_FREE(fixture->other);
	return true;
}

/* One cell of a row. False: out of memory. */
static bool row_add(struct torture_tcase *tcase, const struct cell_row *row,
		    enum cell_actor actor, enum cell_state state)
{
	struct torture_test *test = NULL;
	struct cell_place *place = NULL;

	test = talloc_zero(tcase, struct torture_test);
	place = talloc(tcase, struct cell_place);
	if (test == NULL || place == NULL) {
		return false;
	}
	*place = (struct cell_place){
		.row = row,
		.actor = actor,
		.state = state,
	};
	test->name = talloc_asprintf(test,
				     "%s.%s",
				     actor_names[actor],
				     state_names[state]);
	test->run = cell_run;
	test->data = place;
	test->tcase = tcase;
	DLIST_ADD_END(tcase->tests, test);
	return test->name != NULL;
}

struct torture_suite *udf_purge_cells_suite(TALLOC_CTX *ctx)
{
	struct torture_suite *suite = NULL;
	struct torture_tcase *tcase = NULL;
	enum cell_actor actor;
	enum cell_state state;
	size_t i;

	suite = torture_suite_create(ctx, "cells");
	if (suite == NULL) {
		return NULL;
	}
	suite->description = talloc_strdup(
		suite, "Each operation with and without a bracket");

	for (i = 0; i < ARRAY_SIZE(cell_rows); i++) {
		tcase = torture_suite_add_tcase(suite, cell_rows[i].name);
		if (tcase == NULL) {
			return NULL;
		}
		torture_tcase_set_fixture(tcase, row_setup, row_teardown);
		tcase->fixture_persistent = true;
		for (actor = 0; actor < NUM_ACTORS; actor++) {
			for (state = 0; state < NUM_STATES; state++) {
				if (!row_add(tcase,
					     &cell_rows[i],
					     actor,
					     state)) {
					return NULL;
				}
			}
		}
	}
	return suite;
}
