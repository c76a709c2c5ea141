/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the udf torture suites share: opening files, sending the four control
 * codes and raw WRITE flags, waiting for held requests, and having a file
 * mapped by a process on the server.
 */
#ifndef SMBTORTURE_TESTS_UTIL_H
#define SMBTORTURE_TESTS_UTIL_H

/* Everything the suites make on the share is in this directory. */
#define UDF_TEST_DIR "smbtorture_udf"
#define UDF_TEST_PATH(name) UDF_TEST_DIR "\\" name

/* Bytes in a file made by udf_test_file(). */
#define UDF_TEST_FILE_SIZE 65536

/* End the test as skipped when reason, a string, is not NULL. */
#define UDF_SKIP_IF(tctx, reason, ret, label)                                  \
	do {                                                                   \
		const char *_reason = (reason);                                \
		if (_reason != NULL) {                                         \
			(ret) = true;                                          \
			torture_skip_goto((tctx), label, _reason);             \
		}                                                              \
	} while (0)

/* A status that must be this one. The variables ret and done are the test's. */
#define UDF_STATUS(tctx, got, expected, what)                                  \
	torture_assert_ntstatus_equal_goto(tctx, got, expected, ret, done, what)

/* A status that must be NT_STATUS_OK. */
#define UDF_OK(tctx, got, what)                                                \
	torture_assert_ntstatus_ok_goto(tctx, got, ret, done, what)

/*
 * Make the suites' directory if it is not there. False, with the test's result
 * set, when the share does not allow it.
 */
bool udf_test_dir(struct torture_context *tctx, struct smb2_tree *tree);

/* Delete name, and the suites' directory if that was all in it. */
void udf_remove(struct smb2_tree *tree, const char *name);

/*
 * Open name with access and NTCREATEX_DISP_*, NTCREATEX_OPTIONS_* values,
 * sharing everything.
 */
NTSTATUS udf_open(struct smb2_tree *tree, const char *name, uint32_t access,
		  uint32_t disposition, uint32_t options,
		  struct smb2_handle *handle);

/* Close handle if it is open, and forget it. */
void udf_close(struct smb2_tree *tree, struct smb2_handle *handle);

/*
 * Make name anew with UDF_TEST_FILE_SIZE bytes that differ from byte to byte,
 * and leave it closed.
 */
NTSTATUS udf_test_file(struct smb2_tree *tree, const char *name);

/* What udf_test_file() writes at offset. */
uint8_t udf_test_byte(uint64_t offset);

/*
 * Send one control code with this input, allowing max_output bytes back. The
 * output, allocated on mem_ctx, is set only on success; NULL when it is not
 * of interest.
 */
NTSTATUS udf_fsctl(struct smb2_tree *tree, TALLOC_CTX *mem_ctx,
		   struct smb2_handle handle, uint32_t code, DATA_BLOB input,
		   uint32_t max_output, DATA_BLOB *output);

/* FSCTL_SET_DEFECT_MANAGEMENT with a one-byte input. */
NTSTATUS udf_set_defect(struct smb2_tree *tree, struct smb2_handle handle,
			uint8_t disable);

/* FSCTL_SET_PURGE_FAILURE_MODE with a four-byte input. */
NTSTATUS udf_set_purge(struct smb2_tree *tree, struct smb2_handle handle,
		       uint32_t flags);

/*
 * Does a status say that the server does not serve a control code at all? A
 * Windows server says one of these for the codes that it keeps local.
 */
bool udf_not_served(NTSTATUS status);

/*
 * WRITE with these SMB2_WRITEFLAG_* flags. smb2_write() has no name for them:
 * they are the upper half of its second unknown (MS-SMB2 2.2.21, Flags).
 */
NTSTATUS udf_write(struct smb2_tree *tree, struct smb2_handle handle,
		   uint64_t offset, const void *data, size_t length,
		   uint32_t flags);
struct smb2_request *udf_write_send(struct smb2_tree *tree,
				    struct smb2_handle handle, uint64_t offset,
				    const void *data, size_t length,
				    uint32_t flags);
/* The status of a WRITE that was sent; frees the request. */
NTSTATUS udf_write_recv(struct smb2_request *req);

/* Read length bytes into data; a short read is NT_STATUS_END_OF_FILE. */
NTSTATUS udf_read(struct smb2_tree *tree, struct smb2_handle handle,
		  uint64_t offset, void *data, size_t length);

/*
 * Does a file have what udf_test_file() made, but for length bytes at offset,
 * which are those of written (NULL: none)? The test fails where it has not.
 */
bool udf_check_content(struct torture_context *tctx, struct smb2_tree *tree,
		       struct smb2_handle handle, size_t offset,
		       const uint8_t *written, size_t length);

/* FLUSH: what was written is on the medium. */
NTSTATUS udf_flush(struct smb2_tree *tree, struct smb2_handle handle);

/* SET_INFO FileEndOfFileInformation and FileAllocationInformation. */
NTSTATUS udf_set_end_of_file(struct smb2_tree *tree, struct smb2_handle handle,
			     uint64_t size);
NTSTATUS udf_set_allocation(struct smb2_tree *tree, struct smb2_handle handle,
			    uint64_t size);

/* FSCTL_SET_ZERO_DATA. */
NTSTATUS udf_zero_data(struct smb2_tree *tree, struct smb2_handle handle,
		       uint64_t offset, uint64_t length);

/* MS-SMB2 2.2.32.3: what FSCTL_SRV_REQUEST_RESUME_KEY gives for a source. */
#define UDF_RESUME_KEY_LEN 24

NTSTATUS udf_resume_key(struct smb2_tree *tree, struct smb2_handle source,
			uint8_t key[UDF_RESUME_KEY_LEN]);

/* FSCTL_SRV_COPYCHUNK: one chunk of the key's file into target. */
struct smb2_request *udf_copy_chunk_send(struct smb2_tree *tree,
					 const uint8_t key[UDF_RESUME_KEY_LEN],
					 uint64_t from,
					 struct smb2_handle target,
					 uint64_t offset, uint32_t length);
/* The status of a copy that was sent; frees the request. */
NTSTATUS udf_copy_chunk_recv(struct smb2_request *req);

/* The dialect of the connection knows the WRITE_UNBUFFERED flag (3.0.2). */
bool udf_has_write_unbuffered(struct smb2_tree *tree);

/*
 * Serve the connections until req has its interim response (STATUS_PENDING),
 * its reply, or msec milliseconds have gone. True: it is pending.
 */
bool udf_wait_pending(struct torture_context *tctx, struct smb2_request *req,
		      unsigned int msec);

/*
 * Serve the connections until req has its reply or msec milliseconds have
 * gone. True: it has.
 */
bool udf_wait_reply(struct torture_context *tctx, struct smb2_request *req,
		    unsigned int msec);

/* Serve the connections for msec milliseconds. */
void udf_serve(struct torture_context *tctx, unsigned int msec);

/* A process on the server that has a file of the share mapped. */
struct udf_mapping;

/*
 * Have the command of --option=torture:mapper map name. The command gets the
 * file's path below the share, with slashes, as its last argument; says
 * "mapped" on a line of its own once the file's pages are in its mapping; and
 * unmaps at the end of its standard input.
 *
 * mapping is NULL when there is no such option. False, with the test's result
 * set, when the command did not map the file.
 */
bool udf_map(struct torture_context *tctx, const char *name,
	     struct udf_mapping **mapping);

/* End the mapping and wait for the process. NULL is fine. */
void udf_unmap(struct udf_mapping *mapping);

/* Why a test that needs a mapping is skipped. */
#define UDF_NO_MAPPER                                                          \
	"needs a process on the server that maps a file: "                     \
	"--option=torture:mapper=COMMAND\n"

#endif /* SMBTORTURE_TESTS_UTIL_H */
