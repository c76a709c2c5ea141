/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Changes in memory to the medium, all at once and in an order that leaves a
 * whole file system at every step. commit.c has the order.
 */
#ifndef UDF_STORE_COMMIT_H
#define UDF_STORE_COMMIT_H

#include "node.h"
#include "state.h"

int udf_commit_init(struct udf_fs *fs);
void udf_commit_destroy(struct udf_fs *fs);

/* Commit every few seconds in a thread, until stopped. */
int udf_commit_start_thread(struct udf_fs *fs);
void udf_commit_stop_thread(struct udf_fs *fs);

/*
 * The node was changed. The caller is inside an operation and has the node's
 * lock for writing.
 */
void udf_commit_dirty(struct udf_node *node);

/*
 * The node, which the caller has a reference of, lost its last name: nothing
 * of it needs to be written any more.
 */
void udf_commit_forget(struct udf_node *node);

/*
 * All that was done before the call is on the medium when this returns 0. The
 * caller holds no lock and is in no operation. -EIO: what could not be
 * written stays in memory and is tried again with the next commit.
 */
int udf_commit(struct udf_fs *fs);

/*
 * The same for one node, its attributes and all names. Where writes are
 * verified, it neither waits for the data of other files nor tells of its
 * errors. The caller has a reference.
 */
int udf_commit_node(struct udf_node *node);

/*
 * The node's data written before the call is on the medium, if it is known
 * which is: else 0 at once. The caller holds no lock. -EIO, -ENOSPC.
 */
int udf_commit_await_data(struct udf_node *node);

/* Before a write, in no operation: wait while a commit waits for the others. */
void udf_commit_gate(struct udf_node *node);

#endif /* UDF_STORE_COMMIT_H */
