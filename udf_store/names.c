/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The operations on names: lookup, create, link, unlink, rename, readdir.
 * Locks: see fs.c.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "commit.h"
#include "directory.h"
#include "file.h"
#include "fs.h"
#include "operation.h"
#include "symlink.h"

/* UDF's link count has 16 bits. */
#define LINK_MAX_UDF 65535u

/* Directories above one another; a longer way up is a circle. */
#define DEPTH_MAX 65536u

/* Positions of readdir before the first FID: ".", "..". */
#define POSITION_FIRST 2u

/* A stream directory belongs to a file; a name that leads to one is wrong. */
static bool is_part(const struct udf_node *node)
{
	return node->file_type == UDF_FT_STREAM_DIRECTORY;
}

int udf_fs_lookup(struct udf_node *directory, const char *name,
		  struct udf_node **node)
{
	struct udf_dirent entry = { .offset = 0 };
	int ret = udf_directory_load(directory);

	if (ret < 0) {
		return ret;
	}
	pthread_rwlock_rdlock(&directory->lock);
	ret = udf_directory_find(directory, name, &entry);
	if (ret == 0 && entry.internal) {
		ret = -ENOENT;
	}
	if (ret == 0) {
		ret = udf_node_get(directory->fs, entry.icb, node);
	}
	pthread_rwlock_unlock(&directory->lock);
	if (ret == 0 && is_part(*node)) {
		udf_node_put(*node, 1);
		*node = NULL;
		ret = -EUCLEAN;
	}
	return ret;
}

/* A directory got or lost a name. */
static void directory_changed(struct udf_node *directory)
{
	directory->modification = udf_node_now();
	directory->attribute = directory->modification;
	udf_commit_dirty(directory);
}

/* What may be done to the names of a directory whose lock is held. */
static int check_directory(const struct udf_node *directory)
{
	if (directory->unlinked) {
		return -ENOENT;
	}
	if (directory->map_error != 0) {
		return directory->map_error;
	}
	if (directory->write_once) {
		return -EROFS;
	}
	return 0;
}

static uint8_t file_type_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return UDF_FT_DIRECTORY;
	case S_IFLNK:
		return UDF_FT_SYMLINK;
	case S_IFIFO:
		return UDF_FT_FIFO;
	case S_IFSOCK:
		return UDF_FT_SOCKET;
	case S_IFBLK:
		return UDF_FT_BLOCK_DEVICE;
	case S_IFCHR:
		return UDF_FT_CHARACTER_DEVICE;
	default:
		return UDF_FT_REGULAR;
	}
}

static int write_symlink(struct udf_node *node, const char *target)
{
	uint32_t block_size = node->fs->info->block_size;
	uint8_t *path = malloc(block_size);
	ssize_t written = 0;
	int ret = 0;

	if (path == NULL) {
		return -ENOMEM;
	}
	/* Other implementations read no more than a block of it. */
	ret = udf_symlink_encode(target, path, block_size);
	if (ret >= 0) {
		written = udf_file_write(node, 0, (size_t)ret, path);
		ret = written < 0 ? (int)written : 0;
	}
	free(path);
	return ret;
}

/* What the new node is before it has a name. */
static int create_node(struct udf_node *directory,
		       const struct udf_fs_create *create,
		       struct udf_node **node)
{
	struct udf_fs *fs = directory->fs;
	struct udf_node_attributes attributes = {
		.file_type = file_type_of(create->mode),
		.mode = create->mode & 07777,
		.uid = create->uid,
		.gid = create->gid,
		.device_major = major(create->device),
		.device_minor = minor(create->device),
	};
	int ret = 0;

	if (directory->mode & S_ISGID) {
		attributes.gid = directory->gid;
		if (S_ISDIR(create->mode)) {
			attributes.mode |= S_ISGID;
		}
	}
	attributes.unique_id = udf_fs_next_unique_id(fs);
	/* Behind the one made before, so that none is passed twice. */
	ret = udf_node_create(fs, &attributes, directory->child_goal, node);
	if (ret < 0) {
		return ret;
	}
	directory->child_goal = (*node)->lbn + 1;
	(*node)->link_count = 1;
	if (S_ISDIR(create->mode)) {
		ret = udf_directory_init(*node, directory);
	} else if (S_ISLNK(create->mode)) {
		ret = write_symlink(*node, create->target);
	}
	return ret;
}

/* An operation on names begins and ends. */
static int names_begin(struct udf_fs *fs, bool exclusive)
{
	int ret = udf_operation_begin(fs);

	if (ret < 0) {
		return ret;
	}
	if (exclusive) {
		pthread_rwlock_wrlock(&fs->names);
	} else {
		pthread_rwlock_rdlock(&fs->names);
	}
	return 0;
}

static void names_end(struct udf_fs *fs)
{
	pthread_rwlock_unlock(&fs->names);
	udf_operation_end(fs);
}

/* With the directory's lock. */
static int create_locked(struct udf_node *directory, const char *name,
			 const struct udf_fs_create *create,
			 struct udf_node **result)
{
	bool is_directory = S_ISDIR(create->mode);
	struct udf_dirent entry = { .offset = 0 };
	struct udf_node *node = NULL;
	int ret = check_directory(directory);

	if (ret < 0) {
		return ret;
	}
	ret = udf_directory_find(directory, name, &entry);
	if (ret != -ENOENT) {
		return ret == 0 ? -EEXIST : ret;
	}
	if (is_directory && directory->link_count >= LINK_MAX_UDF) {
		return -EMLINK;
	}
	ret = udf_node_reserve_aeds(directory);
	if (ret < 0) {
		return ret;
	}
	ret = create_node(directory, create, &node);
	if (ret == 0) {
		ret = udf_directory_insert(directory, name, node,
					   (uint32_t)node->unique_id, NULL);
	}
	if (ret < 0) {
		if (node != NULL) {
			node->unlinked = true;
			udf_node_put(node, 1);
		}
		return ret;
	}
	if (is_directory) {
		directory->link_count++;
	}
	udf_commit_dirty(node);
	directory_changed(directory);
	udf_count_nodes(directory->fs, is_directory ? 0 : 1,
			is_directory ? 1 : 0);
	*result = node;
	return 0;
}

int udf_fs_create(struct udf_node *directory, const char *name,
		  const struct udf_fs_create *create, struct udf_node **node)
{
	struct udf_fs *fs = directory->fs;
	unsigned int tries = 0;
	int ret = udf_directory_load(directory);

	if (ret < 0) {
		return ret;
	}
	do {
		ret = names_begin(fs, false);
		if (ret < 0) {
			return ret;
		}
		pthread_rwlock_wrlock(&directory->lock);
		ret = create_locked(directory, name, create, node);
		pthread_rwlock_unlock(&directory->lock);
		names_end(fs);
	} while (udf_operation_again(fs, ret, &tries));
	return ret;
}

/* With both locks. */
static int link_locked(struct udf_node *node, struct udf_node *directory,
		       const char *name)
{
	struct udf_dirent entry = { .offset = 0 };
	uint64_t unique_id = 0;
	int ret = check_directory(directory);

	if (ret < 0) {
		return ret;
	}
	ret = udf_directory_find(directory, name, &entry);
	if (ret != -ENOENT) {
		return ret == 0 ? -EEXIST : ret;
	}
	if (node->unlinked) {
		return -ENOENT;
	}
	if (node->write_once) {
		return -EROFS;
	}
	if (node->link_count >= LINK_MAX_UDF) {
		return -EMLINK;
	}
	ret = udf_node_reserve_aeds(directory);
	if (ret == 0) {
		ret = udf_node_reserve_same(node);
	}
	if (ret < 0) {
		return ret;
	}
	/* UDF 3.2.1.1: a further name has a unique id of its own. */
	unique_id = udf_fs_next_unique_id(node->fs);
	ret = udf_directory_insert(directory, name, node,
				   (uint32_t)unique_id, NULL);
	if (ret < 0) {
		return ret;
	}
	node->link_count++;
	node->attribute = udf_node_now();
	udf_commit_dirty(node);
	directory_changed(directory);
	return 0;
}

int udf_fs_link(struct udf_node *node, struct udf_node *directory,
		const char *name)
{
	struct udf_fs *fs = directory->fs;
	unsigned int tries = 0;
	int ret = udf_directory_load(directory);

	if (ret < 0) {
		return ret;
	}
	if (udf_node_is_directory(node)) {
		return -EPERM;
	}
	do {
		ret = names_begin(fs, false);
		if (ret < 0) {
			return ret;
		}
		pthread_rwlock_wrlock(&directory->lock);
		pthread_rwlock_wrlock(&node->lock);
		ret = link_locked(node, directory, name);
		pthread_rwlock_unlock(&node->lock);
		pthread_rwlock_unlock(&directory->lock);
		names_end(fs);
	} while (udf_operation_again(fs, ret, &tries));
	return ret;
}

/* A node, whose lock is held, lost a name. */
static void node_lost_name(struct udf_node *node)
{
	bool is_directory = udf_node_is_directory(node);

	if (is_directory || node->link_count <= 1) {
		node->link_count = 0;
		node->unlinked = true;
		udf_count_nodes(node->fs, is_directory ? 0 : -1,
				is_directory ? -1 : 0);
		node->attribute = udf_node_now();
		udf_commit_forget(node);
		return;
	}
	node->link_count--;
	node->attribute = udf_node_now();
	udf_commit_dirty(node);
}

/* What a node is never changes: no lock is needed. */
static int check_kind(const struct udf_node *node, bool want_directory)
{
	bool is_directory = udf_node_is_directory(node);

	if (want_directory && !is_directory) {
		return -ENOTDIR;
	}
	if (!want_directory && is_directory) {
		return -EISDIR;
	}
	return 0;
}

/* May this node lose its name to an unlink, a rmdir, a rename over it? */
static int check_victim(struct udf_node *node, bool want_directory)
{
	bool is_directory = udf_node_is_directory(node);
	int ret = check_kind(node, want_directory);

	if (ret < 0) {
		return ret;
	}
	if (node->write_once) {
		return -EROFS;
	}
	if (is_directory && node->directory == NULL) {
		return -EUCLEAN;
	}
	if (is_directory && !udf_directory_is_empty(node)) {
		return -ENOTEMPTY;
	}
	return 0;
}

/* One that keeps another name is written again, with one link less. */
static int reserve_victim(struct udf_node *node)
{
	if (udf_node_is_directory(node) || node->link_count <= 1) {
		return 0;
	}
	return udf_node_reserve_same(node);
}

/* With the directory's lock. */
static int remove_locked(struct udf_node *directory, const char *name,
			 bool want_directory)
{
	struct udf_dirent entry = { .offset = 0 };
	struct udf_node *node = NULL;
	int ret = check_directory(directory);

	if (ret < 0) {
		return ret;
	}
	ret = udf_directory_find(directory, name, &entry);
	if (ret == 0 && entry.internal) {
		ret = -EPERM;
	}
	if (ret < 0) {
		return ret;
	}
	ret = udf_node_get(directory->fs, entry.icb, &node);
	if (ret < 0) {
		return ret;
	}
	if (node == directory) {
		udf_node_put(node, 1);
		return -EUCLEAN;
	}
	/* Before its lock: see fs.c. */
	ret = check_kind(node, want_directory);
	if (ret == 0 && want_directory) {
		ret = udf_directory_load(node);
	}
	if (ret < 0) {
		udf_node_put(node, 1);
		return ret;
	}
	pthread_rwlock_wrlock(&node->lock);
	ret = check_victim(node, want_directory);
	if (ret == 0) {
		ret = udf_node_reserve_same(directory);
	}
	if (ret == 0) {
		ret = reserve_victim(node);
	}
	if (ret == 0) {
		ret = udf_directory_remove(directory, entry.offset);
	}
	if (ret == 0) {
		node_lost_name(node);
		if (want_directory && directory->link_count > 1) {
			directory->link_count--;
		}
		directory_changed(directory);
	}
	pthread_rwlock_unlock(&node->lock);
	udf_node_put(node, 1);
	return ret;
}

static int remove_name(struct udf_node *directory, const char *name,
		       bool want_directory)
{
	struct udf_fs *fs = directory->fs;
	unsigned int tries = 0;
	int ret = udf_directory_load(directory);

	if (ret < 0) {
		return ret;
	}
	do {
		ret = names_begin(fs, want_directory);
		if (ret < 0) {
			return ret;
		}
		pthread_rwlock_wrlock(&directory->lock);
		ret = remove_locked(directory, name, want_directory);
		pthread_rwlock_unlock(&directory->lock);
		names_end(fs);
	} while (udf_operation_again(fs, ret, &tries));
	return ret;
}

int udf_fs_unlink(struct udf_node *directory, const char *name)
{
	return remove_name(directory, name, false);
}

int udf_fs_rmdir(struct udf_node *directory, const char *name)
{
	return remove_name(directory, name, true);
}

/*
 * Is a directory above another, or it itself? Nobody's parent changes: the
 * lock of names is held exclusively.
 */
static int check_not_above(struct udf_node *above, struct udf_node *directory)
{
	struct udf_fs *fs = directory->fs;
	struct udf_node *node = directory;
	int ret = 0;

	udf_node_ref(node, 1);
	for (uint32_t depth = 0; depth < DEPTH_MAX; depth++) {
		struct udf_node *parent = NULL;
		uint32_t lbn = 0;

		if (node == above) {
			ret = -EINVAL;
			break;
		}
		if (node == fs->root) {
			break;
		}
		ret = udf_directory_load(node);
		if (ret < 0) {
			break;
		}
		ret = udf_directory_parent(node, &lbn);
		if (ret < 0) {
			ret = -EUCLEAN;
			break;
		}
		ret = udf_node_get(fs, lbn, &parent);
		if (ret < 0) {
			break;
		}
		udf_node_put(node, 1);
		node = parent;
		ret = -ELOOP;
	}
	if (ret == -ELOOP && node == fs->root) {
		ret = 0;
	}
	udf_node_put(node, 1);
	return ret;
}

struct rename {
	struct udf_node *from;
	struct udf_node *to;
	struct udf_node *first; /* the two in the order of their locks */
	struct udf_node *second; /* NULL: they are one */
	const char *name;
	const char *new_name;
	bool no_replace;
	bool exchange;
	struct udf_dirent entry;
	struct udf_dirent new_entry;
	struct udf_node *source;
	struct udf_node *target; /* NULL: the new name is free */
};

/* Find both names and their nodes. 1: they are one file, nothing to do. */
static int rename_find(struct rename *r)
{
	struct udf_fs *fs = r->from->fs;
	int ret = check_directory(r->from);

	if (ret == 0) {
		ret = check_directory(r->to);
	}
	if (ret == 0) {
		ret = udf_directory_find(r->from, r->name, &r->entry);
	}
	if (ret == 0 && r->entry.internal) {
		ret = -EPERM;
	}
	if (ret < 0) {
		return ret;
	}
	ret = udf_node_get(fs, r->entry.icb, &r->source);
	if (ret < 0) {
		return ret;
	}
	ret = udf_directory_find(r->to, r->new_name, &r->new_entry);
	if (ret == -ENOENT && !r->exchange) {
		return 0;
	}
	if (ret < 0) {
		return ret;
	}
	if (r->no_replace) {
		return -EEXIST;
	}
	if (r->new_entry.internal) {
		return -EPERM;
	}
	if (r->new_entry.icb == r->entry.icb) {
		return 1;
	}
	return udf_node_get(fs, r->new_entry.icb, &r->target);
}

/* May both take the other's place? */
static int check_exchange(const struct rename *r)
{
	bool source_moves = udf_node_is_directory(r->source);
	bool target_moves = udf_node_is_directory(r->target);

	if (r->source->write_once || r->target->write_once) {
		return -EROFS;
	}
	if (r->from == r->to || source_moves == target_moves) {
		return 0;
	}
	if (source_moves && r->to->link_count >= LINK_MAX_UDF) {
		return -EMLINK;
	}
	if (target_moves && r->from->link_count >= LINK_MAX_UDF) {
		return -EMLINK;
	}
	return 0;
}

/* A directory went from one directory to another. */
static void directory_moved(struct udf_node *directory, struct udf_node *from,
			    struct udf_node *to)
{
	if (!udf_node_is_directory(directory) || from == to) {
		return;
	}
	(void)udf_directory_set_parent(directory, to);
	if (from->link_count > 1) {
		from->link_count--;
	}
	to->link_count++;
}

/*
 * Let each of two names lead to the other's file. Both get a new FID, and the
 * old ones go at the end of the commit, so that no file is without a name at
 * any time (commit.c); recovery knows what to make of the four.
 */
static int exchange_locked(struct rename *r)
{
	uint64_t unique_id = 0;
	uint32_t added = 0;
	uint32_t new_added = 0;
	int ret = check_exchange(r);

	if (ret == 0) {
		ret = udf_node_reserve_aeds(r->from);
	}
	if (ret == 0) {
		ret = udf_node_reserve_aeds(r->to);
	}
	if (ret == 0) {
		ret = udf_node_reserve_same(r->source);
	}
	if (ret == 0) {
		ret = udf_node_reserve_same(r->target);
	}
	if (ret == 0) {
		unique_id = udf_fs_next_unique_id(r->from->fs);
		ret = udf_directory_insert(r->from, r->name, r->target,
					   (uint32_t)unique_id, &added);
	}
	if (ret < 0) {
		return ret;
	}
	unique_id = udf_fs_next_unique_id(r->from->fs);
	ret = udf_directory_insert(r->to, r->new_name, r->source,
				   (uint32_t)unique_id, &new_added);
	if (ret < 0) {
		(void)udf_directory_remove(r->from, added);
		return ret;
	}
	ret = udf_directory_remove(r->from, r->entry.offset);
	if (ret == 0) {
		ret = udf_directory_remove(r->to, r->new_entry.offset);
	}
	if (ret < 0) {
		return ret;
	}
	directory_moved(r->source, r->from, r->to);
	directory_moved(r->target, r->to, r->from);
	/* As when one takes the other's place: that one may go next. */
	r->source->replaces = true;
	r->target->replaces = true;
	r->source->attribute = udf_node_now();
	r->target->attribute = r->source->attribute;
	udf_commit_dirty(r->source);
	udf_commit_dirty(r->target);
	directory_changed(r->from);
	if (r->to != r->from) {
		directory_changed(r->to);
	}
	return 0;
}

/* With the locks of both directories; all other renames wait. */
static int rename_locked(struct rename *r)
{
	bool is_directory = udf_node_is_directory(r->source);
	bool moves = is_directory && r->from != r->to;
	uint32_t added = 0;
	int ret = 0;

	if (r->source->write_once) {
		return -EROFS;
	}
	if (moves && r->target == NULL && r->to->link_count >= LINK_MAX_UDF) {
		return -EMLINK;
	}
	ret = udf_node_reserve_same(r->from);
	if (ret == 0 && r->target == NULL) {
		ret = udf_node_reserve_aeds(r->to);
	} else if (ret == 0) {
		ret = udf_node_reserve_same(r->to);
	}
	if (ret == 0) {
		ret = udf_node_reserve_same(r->source);
	}
	if (ret == 0 && r->target != NULL) {
		ret = check_victim(r->target, is_directory);
	}
	if (ret == 0 && r->target != NULL) {
		ret = reserve_victim(r->target);
	}
	if (ret < 0) {
		return ret;
	}
	if (r->target != NULL) {
		ret = udf_directory_retarget(r->to, r->new_entry.offset,
					     r->source,
					     r->entry.fid_unique_id);
	} else {
		ret = udf_directory_insert(r->to, r->new_name, r->source,
					   r->entry.fid_unique_id, &added);
	}
	if (ret < 0) {
		return ret;
	}
	ret = udf_directory_remove(r->from, r->entry.offset);
	if (ret < 0) {
		if (r->target != NULL) {
			(void)udf_directory_retarget(
				r->to, r->new_entry.offset, r->target,
				r->new_entry.fid_unique_id);
		} else {
			(void)udf_directory_remove(r->to, added);
		}
		return ret;
	}
	directory_moved(r->source, r->from, r->to);
	if (r->target != NULL) {
		/* Or a cut would leave nothing under the name. */
		r->source->replaces = true;
		if (is_directory && r->to->link_count > 1) {
			r->to->link_count--;
		}
		node_lost_name(r->target);
	}
	r->source->attribute = udf_node_now();
	udf_commit_dirty(r->source);
	directory_changed(r->from);
	if (r->to != r->from) {
		directory_changed(r->to);
	}
	return 0;
}

/* Of an exchange: may the target go where the source is? */
static int check_other_way(struct rename *r)
{
	int ret = 0;

	if (r->target == r->from || r->target == r->to) {
		return -EINVAL;
	}
	if (!udf_node_is_directory(r->target)) {
		return 0;
	}
	ret = udf_directory_load(r->target);
	if (ret == 0 && r->from != r->to) {
		ret = check_not_above(r->target, r->from);
	}
	return ret;
}

/*
 * A directory is locked before what is in it; of two that are in neither the
 * one with the lower block.
 */
static void order_directories(struct rename *r)
{
	bool to_first = r->to->lbn < r->from->lbn;

	r->first = r->from;
	r->second = NULL;
	if (r->from == r->to) {
		return;
	}
	if (check_not_above(r->to, r->from) == -EINVAL) {
		to_first = true;
	} else if (check_not_above(r->from, r->to) == -EINVAL) {
		to_first = false;
	}
	r->first = to_first ? r->to : r->from;
	r->second = to_first ? r->from : r->to;
}

static void lock_directories(struct rename *r)
{
	pthread_rwlock_wrlock(&r->first->lock);
	if (r->second != NULL) {
		pthread_rwlock_wrlock(&r->second->lock);
	}
}

static void unlock_directories(struct rename *r)
{
	if (r->second != NULL) {
		pthread_rwlock_unlock(&r->second->lock);
	}
	pthread_rwlock_unlock(&r->first->lock);
}

/* Two nodes of which neither is in the other; the second may be NULL. */
static void lock_two(struct udf_node *one, struct udf_node *two)
{
	if (two != NULL && two->lbn < one->lbn) {
		pthread_rwlock_wrlock(&two->lock);
	}
	pthread_rwlock_wrlock(&one->lock);
	if (two != NULL && two->lbn > one->lbn) {
		pthread_rwlock_wrlock(&two->lock);
	}
}

static void unlock_two(struct udf_node *one, struct udf_node *two)
{
	if (two != NULL) {
		pthread_rwlock_unlock(&two->lock);
	}
	pthread_rwlock_unlock(&one->lock);
}

static int rename_once(struct rename *r)
{
	int ret = 0;

	order_directories(r);
	lock_directories(r);
	ret = rename_find(r);
	unlock_directories(r);
	if (ret != 0) {
		return ret < 0 ? ret : 0;
	}

	/* These look at directories whose locks are not to be held. */
	if (udf_node_is_directory(r->source)) {
		ret = udf_directory_load(r->source);
		if (ret == 0 && r->from != r->to) {
			ret = check_not_above(r->source, r->to);
		}
	}
	if (ret == 0 && (r->source == r->to || r->source == r->from)) {
		ret = -EINVAL;
	}
	if (ret == 0 && r->exchange) {
		ret = check_other_way(r);
	} else if (ret == 0 && r->target != NULL) {
		if (r->target == r->from || r->target == r->to) {
			ret = -ENOTEMPTY;
		} else if (udf_node_is_directory(r->target)) {
			ret = udf_directory_load(r->target);
		}
	}
	if (ret < 0) {
		return ret;
	}

	/* Nothing else changes names now, so the entries still hold. */
	lock_directories(r);
	lock_two(r->source, r->target);
	ret = r->exchange ? exchange_locked(r) : rename_locked(r);
	unlock_two(r->source, r->target);
	unlock_directories(r);
	return ret;
}

int udf_fs_rename(struct udf_node *directory, const char *name,
		  struct udf_node *new_directory, const char *new_name,
		  unsigned int flags)
{
	struct udf_fs *fs = directory->fs;
	unsigned int tries = 0;
	int ret = 0;

	if (flags != 0 && flags != RENAME_NOREPLACE &&
	    flags != RENAME_EXCHANGE) {
		return -EINVAL;
	}
	ret = udf_directory_load(directory);
	if (ret == 0) {
		ret = udf_directory_load(new_directory);
	}
	if (ret < 0) {
		return ret;
	}
	do {
		struct rename r = {
			.from = directory,
			.to = new_directory,
			.name = name,
			.new_name = new_name,
			.no_replace = flags == RENAME_NOREPLACE,
			.exchange = flags == RENAME_EXCHANGE,
		};

		ret = names_begin(fs, true);
		if (ret < 0) {
			return ret;
		}
		ret = rename_once(&r);
		if (r.source != NULL) {
			udf_node_put(r.source, 1);
		}
		if (r.target != NULL) {
			udf_node_put(r.target, 1);
		}
		names_end(fs);
	} while (udf_operation_again(fs, ret, &tries));
	return ret;
}

int udf_fs_readlink(struct udf_node *node, char *target, size_t len)
{
	size_t limit = (size_t)PATH_MAX * 4;
	uint8_t *path = NULL;
	ssize_t got = 0;
	int ret = 0;

	if (node->file_type != UDF_FT_SYMLINK) {
		return -EINVAL;
	}
	path = malloc(limit);
	if (path == NULL) {
		return -ENOMEM;
	}
	pthread_rwlock_rdlock(&node->lock);
	if (node->size > limit) {
		ret = -EUCLEAN;
	} else {
		got = udf_file_read(node, 0, (size_t)node->size, path);
		ret = got < 0 ? (int)got : 0;
	}
	pthread_rwlock_unlock(&node->lock);
	if (ret == 0) {
		ret = udf_symlink_decode(path, (size_t)got, target, len);
	}
	free(path);
	return ret;
}

/* ".", and ".." of a directory. */
static int readdir_dots(struct udf_node *directory, uint64_t *position,
			struct udf_fs_entry *entry)
{
	struct udf_node *parent = NULL;
	uint32_t lbn = 0;

	entry->format = S_IFDIR;
	entry->ino = directory->ino;
	if (*position == 0) {
		strcpy(entry->name, ".");
	} else {
		strcpy(entry->name, "..");
		pthread_rwlock_rdlock(&directory->lock);
		if (directory == directory->fs->root ||
		    udf_directory_parent(directory, &lbn) < 0) {
			lbn = directory->lbn;
		}
		pthread_rwlock_unlock(&directory->lock);
		if (udf_node_get(directory->fs, lbn, &parent) == 0) {
			entry->ino = parent->ino;
			udf_node_put(parent, 1);
		}
	}
	(*position)++;
	return 0;
}

int udf_fs_readdir(struct udf_node *directory, uint64_t *position,
		   struct udf_fs_entry *entry)
{
	struct udf_dirent found = { .offset = 0 };
	uint64_t fid_position = 0;
	int ret = udf_directory_load(directory);

	if (ret < 0) {
		return ret;
	}
	entry->node = NULL;
	entry->ino = 0;
	entry->format = 0;
	if (*position < POSITION_FIRST) {
		return readdir_dots(directory, position, entry);
	}
	fid_position = *position - POSITION_FIRST;
	pthread_rwlock_rdlock(&directory->lock);
	do {
		ret = udf_directory_next(directory, &fid_position, &found);
	} while (ret == 0 && found.internal);
	if (ret == 0) {
		*position = fid_position + POSITION_FIRST;
		strcpy(entry->name, found.name);
		ret = udf_node_get(directory->fs, found.icb, &entry->node);
		if (ret == 0 && is_part(entry->node)) {
			udf_node_put(entry->node, 1);
			entry->node = NULL;
		}
		ret = 0;
		if (entry->node != NULL) {
			entry->ino = entry->node->ino;
			entry->format = udf_node_format(entry->node);
		}
	}
	pthread_rwlock_unlock(&directory->lock);
	return ret;
}
