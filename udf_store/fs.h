/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The UDF file system on a volume: what udfd.c offers to the kernel.
 *
 * Functions return 0 (or what they say) and a negative errno. They may be
 * called from several threads at once. A node that a function returns has a
 * reference for the caller, to be given back with udf_fs_forget().
 */
#ifndef UDF_STORE_FS_H
#define UDF_STORE_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

#include "extent.h"
#include "volume.h"

struct udf_fs;
struct udf_node;

/*
 * Open the volume and its file set. A volume that was not closed is repaired
 * first (recover.c), unless it is mounted read-only. Errors: those of
 * udf_volume_open(); one line in the log says what is wrong.
 */
int udf_fs_mount(const char *path, const struct udf_volume_options *options,
		 struct udf_fs **fs);

/* Start what runs beside the callers; after a fork, before the first call. */
int udf_fs_start(struct udf_fs *fs);

/* Write all, close the integrity descriptor, release everything. */
int udf_fs_unmount(struct udf_fs *fs);

struct udf_volume *udf_fs_volume(struct udf_fs *fs);
bool udf_fs_is_read_only(const struct udf_fs *fs);
struct udf_node *udf_fs_root(struct udf_fs *fs);
/* One more reference. */
void udf_fs_remember(struct udf_node *node);
void udf_fs_forget(struct udf_node *node, uint64_t count);

int udf_fs_statfs(struct udf_fs *fs, struct statvfs *st);
int udf_fs_getattr(struct udf_node *node, struct stat *st);

#define UDF_SET_MODE 0x1u
#define UDF_SET_UID 0x2u
#define UDF_SET_GID 0x4u
#define UDF_SET_SIZE 0x8u
#define UDF_SET_ACCESS 0x10u
#define UDF_SET_MODIFICATION 0x20u
/* Change what the mask says to what attr says; then fill in attr anew. */
int udf_fs_setattr(struct udf_node *node, struct stat *attr,
		   unsigned int mask);

ssize_t udf_fs_read(struct udf_node *node, uint64_t offset, size_t size,
		    void *buf);
ssize_t udf_fs_write(struct udf_node *node, uint64_t offset, size_t size,
		     const void *buf);
/* As fallocate(2); file.h says which modes. */
int udf_fs_allocate(struct udf_node *node, int mode, uint64_t offset,
		    uint64_t length);
off_t udf_fs_seek(struct udf_node *node, uint64_t offset, int whence);

/*
 * Extended attributes: as the calls of these names, with size 0 for the
 * length alone. xattr.h says which are kept; a volume that has none answers
 * false, and the others need not be called.
 */
bool udf_fs_has_xattrs(const struct udf_fs *fs);
ssize_t udf_fs_getxattr(struct udf_node *node, const char *name, void *value,
			size_t size);
int udf_fs_setxattr(struct udf_node *node, const char *name, const void *value,
		    size_t size, int flags);
ssize_t udf_fs_listxattr(struct udf_node *node, char *buf, size_t size);
int udf_fs_removexattr(struct udf_node *node, const char *name);

/* All done before is on the medium, of this node and of all others. */
int udf_fs_sync(struct udf_fs *fs);
/* Of this one and of all names; a directory: of all. */
int udf_fs_sync_node(struct udf_node *node);
/* What was written to this node is verified, where that is done at all. */
int udf_fs_flush(struct udf_node *node);
/* The same for what came after the last flush, whatever that one said. */
void udf_fs_flush_rest(struct udf_node *node);

/*
 * The kernel opened and closed the node. It tells of a close twice: before a
 * program's close(2) returns (udf_fs_note_closing() with true), and when
 * nobody has the open file any more (udf_fs_release()), which may be a moment
 * later. When it is used in between, somebody has it still: with false. An
 * open that comes when all others are closing waits for their end, but not
 * for long, since they may have been duplicated.
 */
void udf_fs_open(struct udf_node *node);
void udf_fs_note_closing(struct udf_node *node, bool closing);
void udf_fs_release(struct udf_node *node, bool was_closing);

/*
 * Defect management of a node: -EISDIR; -EOPNOTSUPP, the volume is not
 * managed; -EROFS (set). Ends with the last close, and no open that comes
 * after it finds it off.
 */
int udf_fs_get_unmanaged(struct udf_node *node, bool *unmanaged);
int udf_fs_set_unmanaged(struct udf_node *node, bool unmanaged);

uint64_t udf_fs_unique_id(struct udf_node *node);
struct udf_fs *udf_fs_of(struct udf_node *node);

/*
 * What the blocks of the partition from first on are (non_allocatable.c). 0,
 * or an error of reading the space bitmap.
 */
enum udf_block_state {
	UDF_BLOCK_FREE,
	UDF_BLOCK_USED,
	UDF_BLOCK_RELOCATED, /* used, in a relocated packet */
	UDF_BLOCK_DEFECTIVE, /* Non-Allocatable Space, or to be put there */
};
int udf_fs_map(struct udf_fs *fs, uint32_t first, uint32_t count,
	       uint8_t *states);

/* Extents of a node from index first on: how many, in all *total. */
size_t udf_fs_extents(struct udf_node *node, size_t first, size_t room,
		      struct udf_extent *extents, size_t *total);
uint32_t udf_fs_icb(struct udf_node *node);

struct udf_fs_volume_status {
	uint64_t free_blocks;
	uint32_t files;
	uint32_t directories;
	const char *copyright;
	const char *abstract;
};
void udf_fs_volume_status(struct udf_fs *fs,
			  struct udf_fs_volume_status *status);

/*
 * Names (names.c). -ENOTDIR, -ENOENT, -EEXIST, -ENAMETOOLONG, -EILSEQ (not
 * UTF-8), -EROFS, -ENOSPC, -EMLINK as of old.
 */
int udf_fs_lookup(struct udf_node *directory, const char *name,
		  struct udf_node **node);

struct udf_fs_create {
	mode_t mode; /* with its S_IFMT bits */
	uid_t uid;
	gid_t gid;
	dev_t device;
	const char *target; /* of a symbolic link */
};
int udf_fs_create(struct udf_node *directory, const char *name,
		  const struct udf_fs_create *create, struct udf_node **node);
int udf_fs_link(struct udf_node *node, struct udf_node *directory,
		const char *name);
int udf_fs_unlink(struct udf_node *directory, const char *name);
int udf_fs_rmdir(struct udf_node *directory, const char *name);
/* flags: 0, RENAME_NOREPLACE or RENAME_EXCHANGE. */
int udf_fs_rename(struct udf_node *directory, const char *name,
		  struct udf_node *new_directory, const char *new_name,
		  unsigned int flags);
int udf_fs_readlink(struct udf_node *node, char *target, size_t len);

/*
 * The next entry at *position (0: the first), "." and ".." included; ino is
 * 0 for one whose ICB cannot be read. -ENOENT: no more.
 */
struct udf_fs_entry {
	char name[1024];
	uint64_t ino;
	mode_t format;		/* S_IFMT bits, 0: unknown */
	struct udf_node *node; /* with a reference; NULL for "." and ".." */
};
int udf_fs_readdir(struct udf_node *directory, uint64_t *position,
		   struct udf_fs_entry *entry);

#endif /* UDF_STORE_FS_H */
