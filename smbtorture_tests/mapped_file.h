/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the suites with a real mapping share: a file that a process on the
 * server has mapped, with a bracket of one client's and an open of another's
 * who wants to write, and a WRITE that is held. Needs
 * --option=torture:mapper=COMMAND; see mapping.c.
 */
#ifndef SMBTORTURE_TESTS_MAPPED_FILE_H
#define SMBTORTURE_TESTS_MAPPED_FILE_H

#include "util.h"

#define MAPPED_FNAME UDF_TEST_PATH("mapped.dat")

/* What a held write may take to be answered with STATUS_PENDING, how long it
 * is watched to stay held, and what it may take when it is let go. */
#define PENDING_MSEC 5000
#define HELD_MSEC 300
#define RELEASE_MSEC 5000

/* What the server may take to know that a connection is lost. */
#define CLOSED_MSEC 20000

#define WRITE_OFFSET 8192
#define WRITE_LENGTH 4096

/*
 * A file that is mapped on the server, with a bracket of the scanner's open
 * and an open of somebody who wants to write.
 */
struct mapped_file {
	struct smb2_tree *scanner;
	struct smb2_tree *writer;
	struct smb2_handle scan;
	struct smb2_handle write;
	struct udf_mapping *mapping;
	uint8_t data[WRITE_LENGTH];
};

/*
 * Make the file, open it for both, open the bracket and have it mapped.
 * *reason, when not NULL, says why there can be no such thing here. False,
 * with the test's result set, when something failed; in each case there is
 * something for mapped_teardown() to do.
 */
bool mapped_setup(struct torture_context *tctx, struct mapped_file *file,
		  struct smb2_tree *scanner, struct smb2_tree *writer,
		  const char **reason);

/*
 * The writer's connection is lost: wait until the server knows, and has closed
 * its open. False: it does not; the test's result is set.
 */
bool mapped_wait_closed(struct torture_context *tctx,
			struct mapped_file *file);

/*
 * The scanner ends the bracket: nothing was written, and nothing will be.
 * False: the test's result is set.
 */
bool mapped_check_never_written(struct torture_context *tctx,
				struct mapped_file *file);

/* Whose trees are NULL meanwhile is taken for gone. */
void mapped_teardown(struct mapped_file *file);

/*
 * Is the file as udf_test_file() made it, but for file->data at WRITE_OFFSET
 * if written is set? Read by the scanner. False: the test's result is set.
 */
bool mapped_check_content(struct torture_context *tctx,
			  struct mapped_file *file, bool written);

/* The same; the variables ret and done are the test's. */
#define CHECK_CONTENT(tctx, file, written)                                     \
	do {                                                                   \
		if (!mapped_check_content((tctx), (file), (written))) {        \
			ret = false;                                           \
			goto done;                                             \
		}                                                              \
	} while (0)

/*
 * Send a cached WRITE of file->data, which must become pending and stay so.
 * False: the test's result is set.
 */
bool mapped_send_held(struct torture_context *tctx, struct mapped_file *file,
		      struct smb2_tree *tree, struct smb2_handle handle,
		      struct smb2_request **req);

/*
 * What was sent must become pending, and stay so. False: the test's result is
 * set.
 */
bool mapped_stays_held(struct torture_context *tctx, struct smb2_request *req);

/*
 * The held WRITE must be answered with this status before long. False: the
 * test's result is set.
 */
bool mapped_recv_held(struct torture_context *tctx, struct smb2_request *req,
		      NTSTATUS expected, const char *what);

#endif /* SMBTORTURE_TESTS_MAPPED_FILE_H */
