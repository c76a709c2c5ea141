/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The kernel's FUSE requests. A FUSE node id is the address of the node, but
 * for the root's, which is 1; the kernel's lookup count is references.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs.h"
#include "fuse_ops.h"

/* Only udfd changes the volume, and only for the kernel: what the kernel
 * knows stays true until it changes it. */
#define CACHE_SECONDS 60.0

/* UDF keeps microseconds. */
#define TIME_GRANULARITY_NS 1000u

int udfd_errno(int ret)
{
	return ret == -EUCLEAN ? EIO : -ret;
}

struct udf_node *udfd_node(fuse_req_t req, fuse_ino_t ino)
{
	if (ino == FUSE_ROOT_ID) {
		return udf_fs_root(fuse_req_userdata(req));
	}
	return (struct udf_node *)(uintptr_t)ino;
}

static fuse_ino_t node_id(struct udf_node *node)
{
	if (node == udf_fs_root(udf_fs_of(node))) {
		return FUSE_ROOT_ID;
	}
	return (fuse_ino_t)(uintptr_t)node;
}

static void reply_errno(fuse_req_t req, int ret)
{
	fuse_reply_err(req, ret < 0 ? udfd_errno(ret) : 0);
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	/* Nobody else changes files behind the kernel's page cache. */
	conn->want &= ~(unsigned int)FUSE_CAP_AUTO_INVAL_DATA;
	/* The kernel takes setuid bits away itself, by setattr. */
	conn->want &= ~(unsigned int)FUSE_CAP_HANDLE_KILLPRIV;
	conn->want &= ~(unsigned int)FUSE_CAP_WRITEBACK_CACHE;
	conn->time_gran = TIME_GRANULARITY_NS;
}

static void entry_fill(struct udf_node *node, struct fuse_entry_param *entry)
{
	memset(entry, 0, sizeof(*entry));
	entry->ino = node_id(node);
	entry->generation = 1;
	entry->attr_timeout = CACHE_SECONDS;
	entry->entry_timeout = CACHE_SECONDS;
	udf_fs_getattr(node, &entry->attr);
}

/* Reply with a node whose reference becomes the kernel's. */
static void reply_entry(fuse_req_t req, struct udf_node *node)
{
	struct fuse_entry_param entry;

	entry_fill(node, &entry);
	if (fuse_reply_entry(req, &entry) < 0) {
		udf_fs_forget(node, 1);
	}
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param none = { .entry_timeout = CACHE_SECONDS };
	struct udf_node *node = NULL;
	int ret = udf_fs_lookup(udfd_node(req, parent), name, &node);

	if (ret == -ENOENT) {
		fuse_reply_entry(req, &none);
	} else if (ret < 0) {
		reply_errno(req, ret);
	} else {
		reply_entry(req, node);
	}
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	if (ino != FUSE_ROOT_ID) {
		udf_fs_forget(udfd_node(req, ino), count);
	}
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count,
			    struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++) {
		if (forgets[i].ino != FUSE_ROOT_ID) {
			udf_fs_forget(udfd_node(req, forgets[i].ino),
				      forgets[i].nlookup);
		}
	}
	fuse_reply_none(req);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino,
		       struct fuse_file_info *fi)
{
	struct stat st;

	(void)fi;
	udf_fs_getattr(udfd_node(req, ino), &st);
	fuse_reply_attr(req, &st, CACHE_SECONDS);
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr,
		       int to_set, struct fuse_file_info *fi)
{
	struct timespec now = { .tv_sec = 0 };
	unsigned int mask = 0;
	int ret = 0;

	(void)fi;
	clock_gettime(CLOCK_REALTIME, &now);
	if (to_set & FUSE_SET_ATTR_MODE) {
		mask |= UDF_SET_MODE;
	}
	if (to_set & FUSE_SET_ATTR_UID) {
		mask |= UDF_SET_UID;
	}
	if (to_set & FUSE_SET_ATTR_GID) {
		mask |= UDF_SET_GID;
	}
	if (to_set & FUSE_SET_ATTR_SIZE) {
		mask |= UDF_SET_SIZE;
	}
	if (to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW)) {
		mask |= UDF_SET_ACCESS;
	}
	if (to_set & FUSE_SET_ATTR_ATIME_NOW) {
		attr->st_atim = now;
	}
	if (to_set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)) {
		mask |= UDF_SET_MODIFICATION;
	}
	if (to_set & FUSE_SET_ATTR_MTIME_NOW) {
		attr->st_mtim = now;
	}
	ret = udf_fs_setattr(udfd_node(req, ino), attr, mask);
	if (ret < 0) {
		reply_errno(req, ret);
	} else {
		fuse_reply_attr(req, attr, CACHE_SECONDS);
	}
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	char target[PATH_MAX];
	int ret = udf_fs_readlink(udfd_node(req, ino), target, sizeof(target));

	if (ret < 0) {
		reply_errno(req, ret);
	} else {
		fuse_reply_readlink(req, target);
	}
}

static void create_and_reply(fuse_req_t req, fuse_ino_t parent,
			     const char *name, mode_t mode, dev_t device,
			     const char *target)
{
	const struct fuse_ctx *context = fuse_req_ctx(req);
	struct udf_fs_create create = {
		.mode = mode,
		.uid = context->uid,
		.gid = context->gid,
		.device = device,
		.target = target,
	};
	struct udf_node *node = NULL;
	int ret = udf_fs_create(udfd_node(req, parent), name, &create, &node);

	if (ret < 0) {
		reply_errno(req, ret);
	} else {
		reply_entry(req, node);
	}
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name,
		     mode_t mode, dev_t device)
{
	create_and_reply(req, parent, name, mode, device, NULL);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name,
		     mode_t mode)
{
	create_and_reply(req, parent, name, (mode & 07777) | S_IFDIR, 0, NULL);
}

static void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent,
		       const char *name)
{
	create_and_reply(req, parent, name, S_IFLNK | 0777, 0, target);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent,
		    const char *name)
{
	struct udf_node *node = udfd_node(req, ino);
	struct fuse_entry_param entry;
	int ret = udf_fs_link(node, udfd_node(req, parent), name);

	if (ret < 0) {
		reply_errno(req, ret);
		return;
	}
	/* The reply counts as a lookup. */
	udf_fs_remember(node);
	entry_fill(node, &entry);
	if (fuse_reply_entry(req, &entry) < 0) {
		udf_fs_forget(node, 1);
	}
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	reply_errno(req, udf_fs_unlink(udfd_node(req, parent), name));
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	reply_errno(req, udf_fs_rmdir(udfd_node(req, parent), name));
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
		      fuse_ino_t new_parent, const char *new_name,
		      unsigned int flags)
{
	reply_errno(req, udf_fs_rename(udfd_node(req, parent), name,
				       udfd_node(req, new_parent), new_name,
				       flags));
}

static bool handle_open(struct udf_node *node, struct fuse_file_info *fi)
{
	struct udfd_handle *handle = calloc(1, sizeof(*handle));

	if (handle == NULL) {
		return false;
	}
	handle->open_flags = fi->flags;
	fi->fh = (uintptr_t)handle;
	fi->keep_cache = 1;
	udf_fs_open(node);
	return true;
}

static struct udfd_handle *handle_of(const struct fuse_file_info *fi)
{
	return (struct udfd_handle *)(uintptr_t)fi->fh;
}

static void handle_set_closing(struct udf_node *node,
			       struct udfd_handle *handle, bool closing)
{
	bool was = __atomic_exchange_n(&handle->closing, closing,
				       __ATOMIC_ACQ_REL);

	if (was != closing) {
		udf_fs_note_closing(node, closing);
	}
}

struct udf_node *udfd_open_node(fuse_req_t req, fuse_ino_t ino,
				struct fuse_file_info *fi)
{
	struct udf_node *node = udfd_node(req, ino);
	struct udfd_handle *handle = handle_of(fi);

	if (__atomic_load_n(&handle->closing, __ATOMIC_ACQUIRE)) {
		handle_set_closing(node, handle, false);
	}
	return node;
}

static void handle_close(struct udf_node *node, struct fuse_file_info *fi)
{
	struct udfd_handle *handle = handle_of(fi);

	udf_fs_release(node, handle->closing);
	free(handle);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct udf_node *node = udfd_node(req, ino);
	struct stat attr = { .st_size = 0 };
	int ret = 0;

	if (fi->flags & O_TRUNC) {
		ret = udf_fs_setattr(node, &attr, UDF_SET_SIZE);
		if (ret < 0) {
			reply_errno(req, ret);
			return;
		}
	}
	if (!handle_open(node, fi)) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	if (fuse_reply_open(req, fi) < 0) {
		handle_close(node, fi);
	}
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name,
		      mode_t mode, struct fuse_file_info *fi)
{
	const struct fuse_ctx *context = fuse_req_ctx(req);
	struct udf_fs_create create = {
		.mode = (mode & 07777) | S_IFREG,
		.uid = context->uid,
		.gid = context->gid,
	};
	struct fuse_entry_param entry;
	struct udf_node *node = NULL;
	int ret = udf_fs_create(udfd_node(req, parent), name, &create, &node);

	if (ret < 0) {
		reply_errno(req, ret);
		return;
	}
	if (!handle_open(node, fi)) {
		udf_fs_forget(node, 1);
		fuse_reply_err(req, ENOMEM);
		return;
	}
	entry_fill(node, &entry);
	if (fuse_reply_create(req, &entry, fi) < 0) {
		handle_close(node, fi);
		udf_fs_forget(node, 1);
	}
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		    struct fuse_file_info *fi)
{
	struct udf_node *node = udfd_open_node(req, ino, fi);
	char *buf = malloc(size + 1);
	ssize_t ret = -ENOMEM;

	if (buf != NULL) {
		ret = udf_fs_read(node, (uint64_t)offset, size, buf);
	}
	if (ret < 0) {
		reply_errno(req, (int)ret);
	} else {
		fuse_reply_buf(req, buf, (size_t)ret);
	}
	free(buf);
}

/*
 * Pages of a mapping: the kernel does not look at how much of them was
 * written. Only an error tells it, and msync(2), that not all was.
 */
static ssize_t write_pages(struct udf_node *node, uint64_t offset,
			   size_t size, const char *buf)
{
	size_t done = 0;

	while (done < size) {
		ssize_t ret = udf_fs_write(node, offset + done, size - done,
					   &buf[done]);

		if (ret <= 0) {
			return ret < 0 ? ret : -EIO;
		}
		done += (size_t)ret;
	}
	return (ssize_t)done;
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf,
		     size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct udf_node *node = udfd_open_node(req, ino, fi);
	ssize_t ret = 0;

	if (fi->writepage) {
		ret = write_pages(node, (uint64_t)offset, size, buf);
	} else {
		ret = udf_fs_write(node, (uint64_t)offset, size, buf);
	}
	if (ret < 0) {
		reply_errno(req, (int)ret);
	} else {
		fuse_reply_write(req, (size_t)ret);
	}
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct udf_node *node = udfd_node(req, ino);
	int ret = udf_fs_flush(node);

	handle_set_closing(node, handle_of(fi), true);
	reply_errno(req, ret);
}

static void op_release(fuse_req_t req, fuse_ino_t ino,
		       struct fuse_file_info *fi)
{
	struct udf_node *node = udfd_node(req, ino);

	handle_close(node, fi);
	/* Nobody would be told of an error. */
	udf_fs_flush_rest(node);
	fuse_reply_err(req, 0);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int data_only,
		     struct fuse_file_info *fi)
{
	(void)data_only;
	reply_errno(req, udf_fs_sync_node(udfd_open_node(req, ino, fi)));
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino,
		       struct fuse_file_info *fi)
{
	struct udf_node *node = udfd_node(req, ino);

	if (!handle_open(node, fi)) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	/* All changes come through the kernel, which knows its listing old. */
	fi->cache_readdir = 1;
	if (fuse_reply_open(req, fi) < 0) {
		handle_close(node, fi);
	}
}

static void op_releasedir(fuse_req_t req, fuse_ino_t ino,
			  struct fuse_file_info *fi)
{
	handle_close(udfd_node(req, ino), fi);
	fuse_reply_err(req, 0);
}

/* One entry into the buffer. Returns the bytes it takes, or would take. */
static size_t add_entry(fuse_req_t req, char *buf, size_t room,
			struct udf_fs_entry *found, uint64_t next, bool plus)
{
	struct fuse_entry_param entry = { .ino = 0 };
	size_t used = 0;

	if (found->node != NULL) {
		entry_fill(found->node, &entry);
	} else {
		/* One whose ICB is unreadable is a name with a number. */
		entry.attr.st_ino = found->ino != 0 ? found->ino
						    : UINT64_MAX - next;
		entry.attr.st_mode = found->format;
	}
	if (plus) {
		used = fuse_add_direntry_plus(req, buf, room, found->name,
					      &entry, (off_t)next);
	} else {
		used = fuse_add_direntry(req, buf, room, found->name,
					 &entry.attr, (off_t)next);
	}
	/* What is in a plus buffer is a lookup of the kernel's. */
	if (found->node != NULL && (!plus || used > room)) {
		udf_fs_forget(found->node, 1);
	}
	return used;
}

static void read_directory(fuse_req_t req, fuse_ino_t ino, size_t size,
			   off_t offset, bool plus)
{
	struct udf_node *node = udfd_node(req, ino);
	uint64_t position = (uint64_t)offset;
	char *buf = malloc(size);
	size_t done = 0;
	int ret = 0;

	if (buf == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	for (;;) {
		struct udf_fs_entry found = { .ino = 0 };
		size_t used = 0;

		ret = udf_fs_readdir(node, &position, &found);
		if (ret < 0) {
			break;
		}
		used = add_entry(req, &buf[done], size - done, &found,
				 position, plus);
		if (used > size - done) {
			break;
		}
		done += used;
	}
	if (ret < 0 && ret != -ENOENT && done == 0) {
		reply_errno(req, ret);
	} else {
		fuse_reply_buf(req, buf, done);
	}
	free(buf);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size,
		       off_t offset, struct fuse_file_info *fi)
{
	(void)fi;
	read_directory(req, ino, size, offset, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size,
			   off_t offset, struct fuse_file_info *fi)
{
	(void)fi;
	read_directory(req, ino, size, offset, true);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st;

	(void)ino;
	udf_fs_statfs(fuse_req_userdata(req), &st);
	fuse_reply_statfs(req, &st);
}

static void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode,
			 off_t offset, off_t length, struct fuse_file_info *fi)
{
	int ret = -EINVAL;

	(void)fi;
	if (offset >= 0 && length > 0) {
		ret = udf_fs_allocate(udfd_node(req, ino), mode,
				      (uint64_t)offset, (uint64_t)length);
	}
	reply_errno(req, ret);
}

/* The kernel asks no more after ENOSYS: programs get EOPNOTSUPP. */
static bool refuse_xattrs(fuse_req_t req)
{
	if (udf_fs_has_xattrs(fuse_req_userdata(req))) {
		return false;
	}
	fuse_reply_err(req, ENOSYS);
	return true;
}

static void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
			const char *value, size_t size, int flags)
{
	if (!refuse_xattrs(req)) {
		reply_errno(req, udf_fs_setxattr(udfd_node(req, ino), name,
						 value, size, flags));
	}
}

static void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	if (!refuse_xattrs(req)) {
		reply_errno(req,
			    udf_fs_removexattr(udfd_node(req, ino), name));
	}
}

/* Bytes of an attribute or a list, or their number when size is 0. */
static void reply_xattr(fuse_req_t req, ssize_t length, const char *buf,
			size_t size)
{
	if (length < 0) {
		reply_errno(req, (int)length);
	} else if (size == 0) {
		fuse_reply_xattr(req, (size_t)length);
	} else {
		fuse_reply_buf(req, buf, (size_t)length);
	}
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
			size_t size)
{
	ssize_t ret = -ENOMEM;
	char *buf = NULL;

	if (refuse_xattrs(req)) {
		return;
	}
	buf = malloc(size + 1);
	if (buf != NULL) {
		ret = udf_fs_getxattr(udfd_node(req, ino), name, buf, size);
	}
	reply_xattr(req, ret, buf, size);
	free(buf);
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	ssize_t ret = -ENOMEM;
	char *buf = NULL;

	if (refuse_xattrs(req)) {
		return;
	}
	buf = malloc(size + 1);
	if (buf != NULL) {
		ret = udf_fs_listxattr(udfd_node(req, ino), buf, size);
	}
	reply_xattr(req, ret, buf, size);
	free(buf);
}

static void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence,
		     struct fuse_file_info *fi)
{
	off_t ret = -EINVAL;

	(void)fi;
	if (offset >= 0 && (whence == SEEK_DATA || whence == SEEK_HOLE)) {
		ret = udf_fs_seek(udfd_node(req, ino), (uint64_t)offset,
				  whence);
	}
	if (ret < 0) {
		reply_errno(req, (int)ret);
	} else {
		fuse_reply_lseek(req, ret);
	}
}

const struct fuse_lowlevel_ops *udfd_operations(void)
{
	static const struct fuse_lowlevel_ops operations = {
		.init = op_init,
		.lookup = op_lookup,
		.forget = op_forget,
		.forget_multi = op_forget_multi,
		.getattr = op_getattr,
		.setattr = op_setattr,
		.readlink = op_readlink,
		.mknod = op_mknod,
		.mkdir = op_mkdir,
		.unlink = op_unlink,
		.rmdir = op_rmdir,
		.symlink = op_symlink,
		.rename = op_rename,
		.link = op_link,
		.open = op_open,
		.create = op_create,
		.read = op_read,
		.write = op_write,
		.flush = op_flush,
		.release = op_release,
		.fsync = op_fsync,
		.opendir = op_opendir,
		.readdir = op_readdir,
		.readdirplus = op_readdirplus,
		.releasedir = op_releasedir,
		.fsyncdir = op_fsync,
		.statfs = op_statfs,
		.fallocate = op_fallocate,
		.setxattr = op_setxattr,
		.getxattr = op_getxattr,
		.listxattr = op_listxattr,
		.removexattr = op_removexattr,
		.lseek = op_lseek,
		.ioctl = udfd_ioctl,
	};

	return &operations;
}

size_t udfd_operations_size(void)
{
	return sizeof(struct fuse_lowlevel_ops);
}
