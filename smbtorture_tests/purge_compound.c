/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * udf.purge.compound: compounded requests (MS-SMB2 3.3.5.2.7) on a file that
 * is counted and mapped. Of a compound only the last request can wait; the
 * others have their statuses at once, in their order, and nothing hangs.
 * Needs --option=torture:mapper=COMMAND; see mapping.c.
 */
#include "includes.h"
#include "libcli/smb2/smb2.h"
#include "libcli/smb2/smb2_calls.h"
#include "libcli/smb/smbXcli_base.h"
#include "torture/torture.h"
#include "torture/smb2/proto.h"

#include "fsctl_udf.h"
#include "mapped_file.h"
#include "suites.h"

#define ENABLED UDF_PURGE_FAILURE_MODE_ENABLED
#define DISABLED UDF_PURGE_FAILURE_MODE_DISABLED

#define FNAME_OTHER UDF_TEST_PATH("mapped_other.dat")

/* Rounds after which a lost credit would show. */
#define CREDIT_ROUNDS 50

#define MAX_PARTS 4

enum part_kind {
	PART_CREATE, /* open MAPPED_FNAME */
	PART_CLOSE,
	PART_READ,
	PART_WRITE, /* the file's data at WRITE_OFFSET */
	PART_ENABLED,
	PART_DISABLED,
	PART_GROW,   /* end of file, a byte more */
	PART_SHRINK, /* end of file, a byte less */
};

struct part {
	enum part_kind kind;
	NTSTATUS expected;
};

/* A compound: its parts and on what. */
struct compound {
	struct mapped_file *file;
	struct smb2_handle handle; /* of all its parts */
	bool related; /* they take the handle of the first */
	const struct part *parts;
	size_t num;
};

static const char *part_name(enum part_kind kind)
{
	switch (kind) {
	case PART_CREATE:
		return "CREATE";
	case PART_CLOSE:
		return "CLOSE";
	case PART_READ:
		return "READ";
	case PART_WRITE:
		return "WRITE";
	case PART_ENABLED:
		return "ENABLED";
	case PART_DISABLED:
		return "DISABLED";
	case PART_GROW:
		return "growing";
	case PART_SHRINK:
		return "shrinking";
	}
	return "?";
}

static struct smb2_request *purge_send(struct smb2_tree *tree,
				       struct smb2_handle handle,
				       uint32_t flags)
{
	uint8_t buf[UDF_SET_PURGE_FAILURE_MODE_LEN] = {0};
	struct smb2_ioctl io = {
		.level = RAW_IOCTL_SMB2,
		.in.file.handle = handle,
		.in.function = UDF_FSCTL_SET_PURGE_FAILURE_MODE,
		.in.flags = SMB2_IOCTL_FLAG_IS_FSCTL,
		.in.out = data_blob_const(buf, sizeof(buf)),
	};

	SIVAL(buf, 0, flags);
	return smb2_ioctl_send(tree, &io);
}

static struct smb2_request *end_of_file_send(struct smb2_tree *tree,
					     struct smb2_handle handle,
					     uint64_t size)
{
	union smb_setfileinfo info = {
		.end_of_file_info.level = RAW_SFILEINFO_END_OF_FILE_INFORMATION,
		.end_of_file_info.in.file.handle = handle,
		.end_of_file_info.in.size = size,
	};

	return smb2_setinfo_file_send(tree, &info);
}

static struct smb2_request *part_send(const struct compound *c,
				      enum part_kind kind)
{
	struct smb2_tree *tree = c->file->writer;
	struct smb2_create create = {
		.in.desired_access = SEC_RIGHTS_FILE_ALL,
		.in.file_attributes = FILE_ATTRIBUTE_NORMAL,
		.in.share_access = NTCREATEX_SHARE_ACCESS_MASK,
		.in.create_disposition = NTCREATEX_DISP_OPEN,
		.in.impersonation_level = SMB2_IMPERSONATION_IMPERSONATION,
		.in.fname = MAPPED_FNAME,
	};
	struct smb2_close close_io = {.in.file.handle = c->handle};
	struct smb2_read read_io = {
		.in.file.handle = c->handle,
		.in.length = 16,
	};

	switch (kind) {
	case PART_CREATE:
		return smb2_create_send(tree, &create);
	case PART_CLOSE:
		return smb2_close_send(tree, &close_io);
	case PART_READ:
		return smb2_read_send(tree, &read_io);
	case PART_WRITE:
		return udf_write_send(tree,
				      c->handle,
				      WRITE_OFFSET,
				      c->file->data,
				      WRITE_LENGTH,
				      0);
	case PART_ENABLED:
		return purge_send(tree, c->handle, ENABLED);
	case PART_DISABLED:
		return purge_send(tree, c->handle, DISABLED);
	case PART_GROW:
		return end_of_file_send(
			tree, c->handle, UDF_TEST_FILE_SIZE + 1);
	case PART_SHRINK:
		return end_of_file_send(
			tree, c->handle, UDF_TEST_FILE_SIZE - 1);
	}
	return NULL;
}

static bool compound_send(struct torture_context *tctx,
			  const struct compound *c,
			  struct smb2_request *reqs[MAX_PARTS])
{
	struct smb2_transport *transport = c->file->writer->session->transport;
	NTSTATUS status;
	size_t i;

	SMB_ASSERT(c->num <= MAX_PARTS);
	status = smb2_transport_compound_start(transport, c->num);
	torture_assert_ntstatus_ok(tctx, status, "a compound");
	for (i = 0; i < c->num; i++) {
		smb2_transport_compound_set_related(transport,
						    c->related && i > 0);
		reqs[i] = part_send(c, c->parts[i].kind);
		torture_assert(tctx, reqs[i] != NULL, "sending a part");
	}
	return true;
}

/* Its answer must come before long and be this one; frees the request. */
static bool part_recv(struct torture_context *tctx, struct smb2_request *req,
		      enum part_kind kind, NTSTATUS expected)
{
	NTSTATUS status;
	bool replied;

	replied = udf_wait_reply(tctx, req, RELEASE_MSEC);
	torture_assert(tctx,
		       replied,
		       talloc_asprintf(
			       tctx, "%s has no answer", part_name(kind)));
	status = req->status;
	smb2_request_destroy(req);
	torture_assert_ntstatus_equal(
		tctx, status, expected, part_name(kind));
	return true;
}

/* Send it; every part must have its answer at once. */
static bool compound_run(struct torture_context *tctx,
			 const struct compound *c)
{
	struct smb2_request *reqs[MAX_PARTS] = {NULL};
	size_t i;

	if (!compound_send(tctx, c, reqs)) {
		return false;
	}
	for (i = 0; i < c->num; i++) {
		const struct part *part = &c->parts[i];

		if (!part_recv(tctx, reqs[i], part->kind, part->expected)) {
			return false;
		}
	}
	return true;
}

static const struct smb2_handle handle_of_the_first = {
	.data = {UINT64_MAX, UINT64_MAX},
};

/* CREATE, WRITE and CLOSE that go on with the handle of the CREATE. */
static bool test_related(struct torture_context *tctx, struct smb2_tree *tree,
			 struct smb2_tree *tree2)
{
	struct mapped_file file = {0};
	struct part parts[] = {
		{PART_CREATE, NT_STATUS_OK},
		{PART_WRITE, NT_STATUS_PURGE_FAILED},
		{PART_CLOSE, NT_STATUS_OK},
	};
	struct compound c = {
		.file = &file,
		.handle = handle_of_the_first,
		.related = true,
		.parts = parts,
		.num = ARRAY_SIZE(parts),
	};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	ret = mapped_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	ret = compound_run(tctx, &c);
	if (!ret) {
		goto done;
	}
	CHECK_CONTENT(tctx, &file, false);
	status = udf_set_purge(tree, file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	parts[1].expected = NT_STATUS_OK;
	ret = compound_run(tctx, &c);
	if (!ret) {
		goto done;
	}
	CHECK_CONTENT(tctx, &file, true);
done:
	mapped_teardown(&file);
	return ret;
}

/* A WRITE that others follow is refused; what is around it is done. */
static bool test_not_last(struct torture_context *tctx,
			  struct smb2_tree *tree, struct smb2_tree *tree2)
{
	struct mapped_file file = {0};
	const struct part parts[] = {
		{PART_WRITE, NT_STATUS_PURGE_FAILED},
		{PART_READ, NT_STATUS_OK},
		{PART_WRITE, NT_STATUS_PURGE_FAILED},
		{PART_READ, NT_STATUS_OK},
	};
	struct compound c = {
		.file = &file,
		.parts = parts,
		.num = ARRAY_SIZE(parts),
	};
	const char *reason = NULL;
	bool ret = true;

	ret = mapped_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	c.handle = file.write;
	ret = compound_run(tctx, &c);
	if (!ret) {
		goto done;
	}
	CHECK_CONTENT(tctx, &file, false);
	c.related = true;
	ret = compound_run(tctx, &c);
	if (!ret) {
		goto done;
	}
	CHECK_CONTENT(tctx, &file, false);
done:
	mapped_teardown(&file);
	return ret;
}

/*
 * As the last part it is held, where the server can hold it there; the first
 * one is answered meanwhile. Else it is refused at once. Returns with the
 * request when it is held.
 */
static bool last_send(struct torture_context *tctx, struct mapped_file *file,
		      bool related, struct smb2_request **held)
{
	const struct part parts[] = {
		{PART_READ, NT_STATUS_OK},
		{PART_WRITE, NT_STATUS_OK},
	};
	struct compound c = {
		.file = file,
		.handle = file->write,
		.related = related,
		.parts = parts,
		.num = ARRAY_SIZE(parts),
	};
	struct smb2_request *reqs[MAX_PARTS] = {NULL};
	bool ok;

	*held = NULL;
	ok = compound_send(tctx, &c, reqs) &&
	     part_recv(tctx, reqs[0], PART_READ, NT_STATUS_OK);
	if (!ok) {
		return false;
	}
	if (!udf_wait_reply(tctx, reqs[1], HELD_MSEC)) {
		*held = reqs[1];
		return true;
	}
	return part_recv(tctx, reqs[1], PART_WRITE, NT_STATUS_PURGE_FAILED);
}

static bool check_last(struct torture_context *tctx, struct smb2_tree *tree,
		       struct smb2_tree *tree2, bool related)
{
	struct mapped_file file = {0};
	struct smb2_request *held = NULL;
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	ret = mapped_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	ret = last_send(tctx, &file, related, &held);
	if (!ret) {
		goto done;
	}
	CHECK_CONTENT(tctx, &file, false);
	if (held != NULL) {
		smb2_cancel(held);
		ret = mapped_recv_held(
			tctx, held, NT_STATUS_CANCELLED, "after CANCEL");
		if (!ret) {
			goto done;
		}
		ret = last_send(tctx, &file, related, &held);
		if (!ret) {
			goto done;
		}
	}
	CHECK_CONTENT(tctx, &file, false);

	status = udf_set_purge(tree, file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	if (held != NULL) {
		ret = mapped_recv_held(
			tctx, held, NT_STATUS_OK, "after DISABLED");
		if (!ret) {
			goto done;
		}
		CHECK_CONTENT(tctx, &file, true);
	} else {
		torture_comment(tctx, "it cannot be held here\n");
	}
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

static bool test_last(struct torture_context *tctx, struct smb2_tree *tree,
		      struct smb2_tree *tree2)
{
	return check_last(tctx, tree, tree2, false);
}

static bool test_last_related(struct torture_context *tctx,
			      struct smb2_tree *tree, struct smb2_tree *tree2)
{
	return check_last(tctx, tree, tree2, true);
}

/* A whole bracket in one message: each part has the effect of those before. */
static bool test_bracket(struct torture_context *tctx, struct smb2_tree *tree,
			 struct smb2_tree *tree2)
{
	struct mapped_file file = {0};
	struct part parts[] = {
		{PART_ENABLED, NT_STATUS_OK},
		{PART_WRITE, NT_STATUS_PURGE_FAILED},
		{PART_DISABLED, NT_STATUS_OK},
		{PART_WRITE, NT_STATUS_OK},
	};
	struct compound c = {
		.file = &file,
		.parts = parts,
		.num = ARRAY_SIZE(parts) - 1,
	};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	ret = mapped_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = udf_set_purge(tree, file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED of the scanner");
	c.handle = file.write;
	ret = compound_run(tctx, &c);
	if (!ret) {
		goto done;
	}
	CHECK_CONTENT(tctx, &file, false);
	c.related = true;
	ret = compound_run(tctx, &c);
	if (!ret) {
		goto done;
	}
	CHECK_CONTENT(tctx, &file, false);
	c.num = ARRAY_SIZE(parts);
	ret = compound_run(tctx, &c);
	if (!ret) {
		goto done;
	}
	CHECK_CONTENT(tctx, &file, true);

	/* Without the mapping the purge succeeds. */
	udf_unmap(file.mapping);
	file.mapping = NULL;
	memset(file.data, 0xA5, sizeof(file.data));
	parts[1].expected = NT_STATUS_OK;
	c.num = 3;
	ret = compound_run(tctx, &c);
	if (!ret) {
		goto done;
	}
	CHECK_CONTENT(tctx, &file, true);
	status = udf_set_purge(tree2, file.write, DISABLED);
	UDF_STATUS(tctx,
		   status,
		   NT_STATUS_INVALID_PARAMETER,
		   "each ENABLED had its DISABLED");
done:
	mapped_teardown(&file);
	return ret;
}

/* SET_INFO after SET_INFO: the status of one is not that of the next. */
static bool test_set_info(struct torture_context *tctx,
			  struct smb2_tree *tree, struct smb2_tree *tree2)
{
	struct mapped_file file = {0};
	const struct part parts[] = {
		{PART_SHRINK, NT_STATUS_PURGE_FAILED},
		{PART_GROW, NT_STATUS_OK},
		{PART_SHRINK, NT_STATUS_PURGE_FAILED},
		{PART_READ, NT_STATUS_OK},
	};
	struct compound c = {
		.file = &file,
		.parts = parts,
		.num = ARRAY_SIZE(parts),
	};
	uint8_t last = 1;
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	ret = mapped_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	c.handle = file.write;
	ret = compound_run(tctx, &c);
	if (!ret) {
		goto done;
	}
	CHECK_CONTENT(tctx, &file, false);
	status = udf_read(
		tree, file.scan, UDF_TEST_FILE_SIZE, &last, sizeof(last));
	UDF_OK(tctx, status, "reading the byte that it grew by");
	torture_assert_int_equal_goto(tctx, last, 0, ret, done, "that byte");
	c.related = true;
	ret = compound_run(tctx, &c);
done:
	mapped_teardown(&file);
	return ret;
}

/* The parts are about two files, of which one is counted. */
static bool test_two_files(struct torture_context *tctx,
			   struct smb2_tree *tree, struct smb2_tree *tree2)
{
	struct mapped_file file = {0};
	struct smb2_transport *transport = tree2->session->transport;
	struct smb2_handle other = {{0}};
	struct smb2_request *reqs[3] = {NULL};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;
	size_t i;

	ret = mapped_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);
	status = udf_test_file(tree2, FNAME_OTHER);
	UDF_OK(tctx, status, "making " FNAME_OTHER);
	status = udf_open(tree2,
			  FNAME_OTHER,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &other);
	UDF_OK(tctx, status, "opening " FNAME_OTHER);

	status = smb2_transport_compound_start(transport, ARRAY_SIZE(reqs));
	UDF_OK(tctx, status, "a compound");
	for (i = 0; i < ARRAY_SIZE(reqs); i++) {
		reqs[i] = udf_write_send(tree2,
					 (i == 1) ? file.write : other,
					 WRITE_OFFSET,
					 file.data,
					 WRITE_LENGTH,
					 0);
		torture_assert_goto(
			tctx, reqs[i] != NULL, ret, done, "sending a part");
	}
	ret = mapped_recv_held(tctx, reqs[0], NT_STATUS_OK, "the other file");
	if (!ret) {
		goto done;
	}
	ret = mapped_recv_held(
		tctx, reqs[1], NT_STATUS_PURGE_FAILED, "the counted file");
	if (!ret) {
		goto done;
	}
	ret = mapped_recv_held(
		tctx, reqs[2], NT_STATUS_OK, "the other file again");
	if (!ret) {
		goto done;
	}
	CHECK_CONTENT(tctx, &file, false);
done:
	udf_close(tree2, &other);
	smb2_util_unlink(tree2, FNAME_OTHER);
	mapped_teardown(&file);
	return ret;
}

/* Neither a refused part nor a held one costs a credit for good. */
static bool test_credits(struct torture_context *tctx, struct smb2_tree *tree,
			 struct smb2_tree *tree2)
{
	struct mapped_file file = {0};
	struct smbXcli_conn *conn = tree2->session->transport->conn;
	const struct part parts[] = {
		{PART_WRITE, NT_STATUS_PURGE_FAILED},
		{PART_SHRINK, NT_STATUS_PURGE_FAILED},
		{PART_READ, NT_STATUS_OK},
	};
	struct compound c = {
		.file = &file,
		.parts = parts,
		.num = ARRAY_SIZE(parts),
	};
	struct smb2_request *held = NULL;
	const char *reason = NULL;
	uint16_t before = 0;
	bool ret = true;
	NTSTATUS status;
	int i;

	ret = mapped_setup(tctx, &file, tree, tree2, &reason);
	if (!ret) {
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	before = smb2cli_conn_get_cur_credits(conn);
	c.handle = file.write;
	for (i = 0; i < CREDIT_ROUNDS; i++) {
		ret = compound_run(tctx, &c);
		if (!ret) {
			goto done;
		}
	}
	ret = last_send(tctx, &file, false, &held);
	if (!ret) {
		goto done;
	}
	/* While it is held: its credit came with the interim response. */
	ret = smb2cli_conn_get_cur_credits(conn) >= before;
	torture_assert_goto(tctx, ret, ret, done, "credits, while held");
	status = udf_set_purge(tree, file.scan, DISABLED);
	UDF_OK(tctx, status, "DISABLED");
	if (held != NULL) {
		ret = mapped_recv_held(
			tctx, held, NT_STATUS_OK, "after DISABLED");
		if (!ret) {
			goto done;
		}
	}
	ret = smb2cli_conn_get_cur_credits(conn) >= before;
	torture_assert_goto(tctx, ret, ret, done, "credits, at the end");
done:
	mapped_teardown(&file);
	return ret;
}

struct torture_suite *udf_purge_compound_suite(TALLOC_CTX *ctx)
{
	struct torture_suite *suite = NULL;

	suite = torture_suite_create(ctx, "compound");
	if (suite == NULL) {
		return NULL;
	}
	suite->description =
		talloc_strdup(suite, "Purge failures in compounded requests");

	torture_suite_add_2smb2_test(suite, "related", test_related);
	torture_suite_add_2smb2_test(suite, "not_last", test_not_last);
	torture_suite_add_2smb2_test(suite, "last", test_last);
	torture_suite_add_2smb2_test(suite, "last_related", test_last_related);
	torture_suite_add_2smb2_test(suite, "bracket", test_bracket);
	torture_suite_add_2smb2_test(suite, "set_info", test_set_info);
	torture_suite_add_2smb2_test(suite, "two_files", test_two_files);
	torture_suite_add_2smb2_test(suite, "credits", test_credits);
	return suite;
}
