/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The kernel's FUSE requests on a struct udf_fs, which is the session's user
 * data.
 */
#ifndef UDF_STORE_FUSE_OPS_H
#define UDF_STORE_FUSE_OPS_H

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>
#include <stddef.h>

const struct fuse_lowlevel_ops *udfd_operations(void);
size_t udfd_operations_size(void);

/* The ioctls of udfd_ioctl.h (fuse_ioctl.c). */
void udfd_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int command,
		void *arg, struct fuse_file_info *fi, unsigned int flags,
		const void *in, size_t in_size, size_t out_size);

/* An open file or directory: fi->fh. */
struct udfd_handle {
	int open_flags;
	bool closing; /* a descriptor was closed, and no other used; atomic */
};

struct udf_node;
struct udf_node *udfd_node(fuse_req_t req, fuse_ino_t ino);

/* The same for a request on an open file: somebody has it. */
struct udf_node *udfd_open_node(fuse_req_t req, fuse_ino_t ino,
				struct fuse_file_info *fi);

/* errno for the kernel: damage on the medium is an I/O error to a program. */
int udfd_errno(int ret);

#endif /* UDF_STORE_FUSE_OPS_H */
