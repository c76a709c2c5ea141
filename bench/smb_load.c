/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The load generator of the SMB benchmarks: one connection to a share, in a
 * module of the stock smbtorture. It reads a command a line from standard
 * input, does it, and says how long it took:
 *
 *	load: done NANOSECONDS
 *	load: failed NTSTATUS
 *
 * The driver, bench/bench, decides what is run when; so two connections can
 * take turns in slices of a tenth of a second, which is what makes the ratio
 * of the two mean something on a machine that has other work as well.
 *
 *	open NAME           make the file that the following commands use
 *	fill BYTES          write that much to it
 *	write BYTES COUNT SPAN    sequential WRITEs, over and over in SPAN bytes
 *	read BYTES COUNT SPAN     the same with READs
 *	files COUNT         create, query, delete, one file after the other
 *	keep NAME           as open, with a persistent handle
 *	handles COUNT       open the file with a persistent handle, and close it
 *	echo COUNT          ECHO
 *	purge COUNT         SET_PURGE_FAILURE_MODE, ENABLED and DISABLED in turn
 *	defect COUNT        SET_DEFECT_MANAGEMENT, on and off in turn
 *	sparing COUNT       QUERY_SPARING_INFO
 *	refused COUNT       a control code that smbd does not know
 *	hold PREFIX COUNT   open that many files, a bracket on each, and keep them
 *	store BYTES COUNT   have the server store a record of that size so often,
 *	                    in one request (raw_store.h)
 *	toggle              as purge, until there is another command
 */
#include "includes.h"
#include "libcli/smb2/smb2.h"
#include "libcli/smb2/smb2_calls.h"
#include "torture/smbtorture.h"
#include "torture/smb2/proto.h"

#include <poll.h>
#include <stdio.h>

#include "fsctl_udf.h"
#include "raw_store.h"
#include "smbtorture_tests/util.h"

/* READs and WRITEs that are under way at a time. */
#define LOAD_DEPTH 4

#define LOAD_MAX_BYTES (1024 * 1024)

/* A code of UDF's device type that nobody has defined. */
#define LOAD_UNKNOWN_FSCTL 0x00093FFCu

struct load {
	struct torture_context *tctx;
	struct smb2_tree *tree;
	struct smb2_handle file;
	uint8_t *data; /* LOAD_MAX_BYTES */
};

/* A command; what each means by the numbers is in the comment at the top. */
struct load_command {
	const char *name;
	NTSTATUS (*run)(struct load *load,
			const char *word,
			const uint64_t *numbers);
	bool has_word;
	unsigned int num_numbers;
};

NTSTATUS torture_udf_load_init(TALLOC_CTX *ctx);

static NTSTATUS load_open(struct load *load,
			  const char *word,
			  const uint64_t *numbers)
{
	udf_close(load->tree, &load->file);
	return udf_open(load->tree,
			word,
			SEC_RIGHTS_FILE_ALL,
			NTCREATEX_DISP_OPEN_IF,
			NTCREATEX_OPTIONS_NON_DIRECTORY_FILE,
			&load->file);
}

static NTSTATUS load_fill(struct load *load,
			  const char *word,
			  const uint64_t *numbers)
{
	uint64_t offset = 0;
	NTSTATUS status = NT_STATUS_OK;

	while (offset < numbers[0] && NT_STATUS_IS_OK(status)) {
		size_t length = MIN(numbers[0] - offset, LOAD_MAX_BYTES);

		status = udf_write(load->tree,
				   load->file,
				   offset,
				   load->data,
				   length,
				   0);
		offset += length;
	}
	return status;
}

/* Wait for the answer of a WRITE or a READ. */
static NTSTATUS load_transfer_recv(struct smb2_request *req, bool writing)
{
	struct smb2_read in = { .in.length = 0 };
	TALLOC_CTX *frame = NULL;
	NTSTATUS status;

	if (writing) {
		return udf_write_recv(req);
	}
	frame = talloc_stackframe();
	status = smb2_read_recv(req, frame, &in);
	TALLOC_FREE(frame);
	return status;
}

static struct smb2_request *load_transfer_send(struct load *load,
					       bool writing,
					       uint64_t offset,
					       uint32_t bytes)
{
	struct smb2_read in = {
		.in.file.handle = load->file,
		.in.length = bytes,
		.in.offset = offset,
	};

	if (writing) {
		return udf_write_send(load->tree,
				      load->file,
				      offset,
				      load->data,
				      bytes,
				      0);
	}
	return smb2_read_send(load->tree, &in);
}

/* LOAD_DEPTH requests under way; all are waited for. */
static NTSTATUS load_transfer(struct load *load,
			      bool writing,
			      const uint64_t *numbers)
{
	struct smb2_request *reqs[LOAD_DEPTH] = { NULL };
	uint32_t bytes = MIN(numbers[0], LOAD_MAX_BYTES);
	uint64_t count = numbers[1];
	uint64_t span = MAX(numbers[2], bytes);
	uint64_t offset = 0;
	uint64_t i = 0;
	NTSTATUS result = NT_STATUS_OK;

	for (i = 0; i < count + LOAD_DEPTH; i++) {
		struct smb2_request **slot = &reqs[i % LOAD_DEPTH];
		NTSTATUS status;

		if (*slot != NULL) {
			status = load_transfer_recv(*slot, writing);
			if (!NT_STATUS_IS_OK(status)) {
				result = status;
			}
			*slot = NULL;
		}
		if (i >= count || !NT_STATUS_IS_OK(result)) {
			continue;
		}
		*slot = load_transfer_send(load, writing, offset, bytes);
		if (*slot == NULL) {
			result = NT_STATUS_NO_MEMORY;
		}
		offset += bytes;
		if (offset + bytes > span) {
			offset = 0;
		}
	}
	return result;
}

static NTSTATUS load_write(struct load *load,
			   const char *word,
			   const uint64_t *numbers)
{
	return load_transfer(load, true, numbers);
}

static NTSTATUS load_read(struct load *load,
			  const char *word,
			  const uint64_t *numbers)
{
	return load_transfer(load, false, numbers);
}

static NTSTATUS load_one_file(struct load *load, const char *name)
{
	union smb_fileinfo info = {
		.all_info2.level = RAW_FILEINFO_SMB2_ALL_INFORMATION,
	};
	struct smb2_handle handle = {{0}};
	TALLOC_CTX *frame = talloc_stackframe();
	NTSTATUS status;

	status = udf_open(load->tree,
			  name,
			  SEC_RIGHTS_FILE_ALL,
			  NTCREATEX_DISP_CREATE,
			  NTCREATEX_OPTIONS_NON_DIRECTORY_FILE,
			  &handle);
	if (!NT_STATUS_IS_OK(status)) {
		goto done;
	}
	info.all_info2.in.file.handle = handle;
	status = smb2_getinfo_file(load->tree, frame, &info);
	udf_close(load->tree, &handle);
	if (!NT_STATUS_IS_OK(status)) {
		goto done;
	}
	status = smb2_util_unlink(load->tree, name);
done:
	TALLOC_FREE(frame);
	return status;
}

static NTSTATUS load_files(struct load *load,
			   const char *word,
			   const uint64_t *numbers)
{
	char name[64];
	uint64_t i = 0;
	NTSTATUS status = NT_STATUS_OK;

	for (i = 0; i < numbers[0] && NT_STATUS_IS_OK(status); i++) {
		snprintf(name,
			 sizeof(name),
			 "load.%d.%" PRIu64,
			 (int)getpid(),
			 i);
		status = load_one_file(load, name);
	}
	return status;
}

static NTSTATUS load_open_persistent(struct load *load,
				     const char *name,
				     struct smb2_handle *handle)
{
	struct smb2_create io = {
		.in.fname = name,
		.in.desired_access = SEC_RIGHTS_FILE_ALL,
		.in.file_attributes = FILE_ATTRIBUTE_NORMAL,
		.in.share_access = NTCREATEX_SHARE_ACCESS_MASK,
		.in.create_disposition = NTCREATEX_DISP_OPEN_IF,
		.in.impersonation_level = NTCREATEX_IMPERSONATION_IMPERSONATION,
		.in.oplock_level = SMB2_OPLOCK_LEVEL_NONE,
		.in.durable_open_v2 = true,
		.in.persistent_open = true,
		.in.create_guid = GUID_random(),
	};
	TALLOC_CTX *frame = talloc_stackframe();
	NTSTATUS status;

	status = smb2_create(load->tree, frame, &io);
	TALLOC_FREE(frame);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}
	*handle = io.out.file.handle;
	if (!io.out.durable_open_v2 || !io.out.persistent_open) {
		udf_close(load->tree, handle);
		return NT_STATUS_NOT_SUPPORTED;
	}
	return NT_STATUS_OK;
}

static NTSTATUS load_keep(struct load *load,
			  const char *word,
			  const uint64_t *numbers)
{
	udf_close(load->tree, &load->file);
	return load_open_persistent(load, word, &load->file);
}

static NTSTATUS load_handles(struct load *load,
			     const char *word,
			     const uint64_t *numbers)
{
	struct smb2_handle handle = {{0}};
	char name[64];
	uint64_t i = 0;
	NTSTATUS status = NT_STATUS_OK;

	snprintf(name, sizeof(name), "handles.%d", (int)getpid());
	for (i = 0; i < numbers[0] && NT_STATUS_IS_OK(status); i++) {
		status = load_open_persistent(load, name, &handle);
		if (NT_STATUS_IS_OK(status)) {
			status = smb2_util_close(load->tree, handle);
		}
	}
	return status;
}

static NTSTATUS load_store(struct load *load,
			   const char *word,
			   const uint64_t *numbers)
{
	uint8_t input[RAW_STORE_INPUT_LEN] = { 0 };
	TALLOC_CTX *frame = talloc_stackframe();
	NTSTATUS status;

	SIVAL(input, RAW_STORE_BYTES_OFFSET, numbers[0]);
	SIVAL(input, RAW_STORE_COUNT_OFFSET, numbers[1]);
	status = udf_fsctl(load->tree,
			   frame,
			   load->file,
			   RAW_STORE_FSCTL,
			   data_blob_const(input, sizeof(input)),
			   0,
			   NULL);
	TALLOC_FREE(frame);
	return status;
}

static NTSTATUS load_echo(struct load *load,
			  const char *word,
			  const uint64_t *numbers)
{
	uint64_t i = 0;
	NTSTATUS status = NT_STATUS_OK;

	for (i = 0; i < numbers[0] && NT_STATUS_IS_OK(status); i++) {
		status = smb2_keepalive(load->tree->session->transport);
	}
	return status;
}

static NTSTATUS load_purge(struct load *load,
			   const char *word,
			   const uint64_t *numbers)
{
	uint64_t i = 0;
	NTSTATUS status = NT_STATUS_OK;

	for (i = 0; i < numbers[0] && NT_STATUS_IS_OK(status); i++) {
		uint32_t flags = (i % 2 == 0)
					 ? UDF_PURGE_FAILURE_MODE_ENABLED
					 : UDF_PURGE_FAILURE_MODE_DISABLED;

		status = udf_set_purge(load->tree, load->file, flags);
	}
	return status;
}

static NTSTATUS load_defect(struct load *load,
			    const char *word,
			    const uint64_t *numbers)
{
	uint64_t i = 0;
	NTSTATUS status = NT_STATUS_OK;

	for (i = 0; i < numbers[0] && NT_STATUS_IS_OK(status); i++) {
		status = udf_set_defect(load->tree, load->file, i % 2 == 0);
	}
	return status;
}

static NTSTATUS load_sparing(struct load *load,
			     const char *word,
			     const uint64_t *numbers)
{
	TALLOC_CTX *frame = talloc_stackframe();
	uint64_t i = 0;
	NTSTATUS status = NT_STATUS_OK;

	for (i = 0; i < numbers[0] && NT_STATUS_IS_OK(status); i++) {
		status = udf_fsctl(load->tree,
				   frame,
				   load->file,
				   UDF_FSCTL_QUERY_SPARING_INFO,
				   data_blob_null,
				   UDF_QUERY_SPARING_LEN,
				   NULL);
	}
	TALLOC_FREE(frame);
	return status;
}

/* What smbd and the client need for any IOCTL: no store is asked. */
static NTSTATUS load_refused(struct load *load,
			     const char *word,
			     const uint64_t *numbers)
{
	TALLOC_CTX *frame = talloc_stackframe();
	uint64_t i = 0;
	NTSTATUS status = NT_STATUS_OK;

	for (i = 0; i < numbers[0] && NT_STATUS_IS_OK(status); i++) {
		status = udf_fsctl(load->tree,
				   frame,
				   load->file,
				   LOAD_UNKNOWN_FSCTL,
				   data_blob_null,
				   0,
				   NULL);
		if (NT_STATUS_IS_OK(status)) {
			status = NT_STATUS_UNSUCCESSFUL;
		} else if (udf_not_served(status)) {
			status = NT_STATUS_OK;
		}
	}
	TALLOC_FREE(frame);
	return status;
}

static NTSTATUS load_hold(struct load *load,
			  const char *word,
			  const uint64_t *numbers)
{
	struct smb2_handle handle = {{0}};
	char name[128];
	uint64_t i = 0;
	NTSTATUS status = NT_STATUS_OK;

	for (i = 0; i < numbers[0] && NT_STATUS_IS_OK(status); i++) {
		snprintf(name, sizeof(name), "%s%" PRIu64, word, i);
		status = udf_open(load->tree,
				  name,
				  SEC_FILE_READ_DATA,
				  NTCREATEX_DISP_OPEN_IF,
				  NTCREATEX_OPTIONS_NON_DIRECTORY_FILE,
				  &handle);
		if (NT_STATUS_IS_OK(status)) {
			status = udf_set_purge(load->tree,
					       handle,
					       UDF_PURGE_FAILURE_MODE_ENABLED);
		}
	}
	return status;
}

static NTSTATUS load_toggle(struct load *load,
			    const char *word,
			    const uint64_t *numbers)
{
	const uint64_t pair = 2;
	struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
	NTSTATUS status = NT_STATUS_OK;

	while (poll(&in, 1, 0) == 0 && NT_STATUS_IS_OK(status)) {
		status = load_purge(load, NULL, &pair);
	}
	return status;
}

static const struct load_command load_commands[] = {
	{ "open", load_open, true, 0 },
	{ "fill", load_fill, false, 1 },
	{ "write", load_write, false, 3 },
	{ "read", load_read, false, 3 },
	{ "files", load_files, false, 1 },
	{ "keep", load_keep, true, 0 },
	{ "handles", load_handles, false, 1 },
	{ "echo", load_echo, false, 1 },
	{ "purge", load_purge, false, 1 },
	{ "defect", load_defect, false, 1 },
	{ "sparing", load_sparing, false, 1 },
	{ "refused", load_refused, false, 1 },
	{ "store", load_store, false, 2 },
	{ "hold", load_hold, true, 1 },
	{ "toggle", load_toggle, false, 0 },
};

static const struct load_command *load_find(const char *name)
{
	size_t i = 0;

	for (i = 0; i < ARRAY_SIZE(load_commands); i++) {
		if (strcmp(load_commands[i].name, name) == 0) {
			return &load_commands[i];
		}
	}
	return NULL;
}

/* One line of input. */
static NTSTATUS load_line(struct load *load, char *line)
{
	const struct load_command *command = NULL;
	const char *word = NULL;
	uint64_t numbers[3] = { 0 };
	char *rest = NULL;
	char *name = strtok_r(line, " \n", &rest);
	unsigned int i = 0;

	command = (name != NULL) ? load_find(name) : NULL;
	if (command == NULL) {
		return NT_STATUS_INVALID_PARAMETER;
	}
	if (command->has_word) {
		word = strtok_r(NULL, " \n", &rest);
		if (word == NULL) {
			return NT_STATUS_INVALID_PARAMETER;
		}
	}
	for (i = 0; i < command->num_numbers; i++) {
		const char *number = strtok_r(NULL, " \n", &rest);

		if (number == NULL) {
			return NT_STATUS_INVALID_PARAMETER;
		}
		numbers[i] = strtoull(number, NULL, 10);
	}
	return command->run(load, word, numbers);
}

static uint64_t load_now(void)
{
	struct timespec now = { .tv_sec = 0 };

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static bool load_serve(struct torture_context *tctx, struct smb2_tree *tree)
{
	struct load load = { .tctx = tctx, .tree = tree };
	char line[256];

	load.data = talloc_array(tctx, uint8_t, LOAD_MAX_BYTES);
	if (load.data == NULL) {
		return false;
	}
	memset(load.data, 'l', LOAD_MAX_BYTES);

	/* poll() in load_toggle() must see what was not read yet. */
	setvbuf(stdin, NULL, _IONBF, 0);
	printf("load: ready\n");
	fflush(stdout);

	while (fgets(line, sizeof(line), stdin) != NULL) {
		uint64_t began = load_now();
		uint64_t ended = 0;
		NTSTATUS status;

		status = load_line(&load, line);
		ended = load_now();
		if (NT_STATUS_IS_OK(status)) {
			printf("load: done %" PRIu64 "\n", ended - began);
		} else {
			printf("load: failed %s\n", nt_errstr(status));
		}
		fflush(stdout);
	}
	/* A persistent handle would wait for us. */
	udf_close(tree, &load.file);
	return true;
}

NTSTATUS torture_udf_load_init(TALLOC_CTX *ctx)
{
	struct torture_suite *suite = torture_suite_create(ctx, "udf_load");
	bool ok = false;

	if (suite == NULL) {
		return NT_STATUS_NO_MEMORY;
	}
	suite->description = talloc_strdup(suite,
					   "load generator of make bench");
	torture_suite_add_1smb2_test(suite, "serve", load_serve);
	ok = torture_register_suite(ctx, suite);

	return ok ? NT_STATUS_OK : NT_STATUS_NO_MEMORY;
}
