/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * From blocks to names: see owners.h. The directories to read are on a list,
 * and each is read once, so depth costs no stack and circles end.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "directory.h"
#include "owners.h"
#include "state.h"

#define PATH_LEN 4096u

struct directory_item {
	uint32_t lbn;
	char separator; /* between its path and the names in it */
	char *path;
};

struct walk {
	struct udf_fs *fs;
	const struct udf_block_list *blocks;
	udf_owner_fn found;
	void *private_data;
	uint8_t *seen; /* a bit for each block that is a directory's ICB */
	struct directory_item *items;
	size_t count;
	size_t room;
};

const char *udf_owner_kind_name(enum udf_owner_kind kind)
{
	static const char *const names[] = {
		[UDF_OWNER_DATA] = "data",
		[UDF_OWNER_DIRECTORY] = "directory",
		[UDF_OWNER_ICB] = "icb",
		[UDF_OWNER_VOLUME] = "volume",
	};

	return names[kind];
}

/* Put a directory on the list, once. */
static int walk_add(struct walk *walk, uint32_t lbn, const char *path,
		    char separator)
{
	struct directory_item *items = NULL;
	struct directory_item *item = NULL;

	if (lbn >= walk->fs->info->address_blocks ||
	    ((walk->seen[lbn / 8] >> (lbn % 8)) & 1) != 0) {
		return 0;
	}
	walk->seen[lbn / 8] |= (uint8_t)(1u << (lbn % 8));
	items = udf_array_grow(walk->items, walk->count, &walk->room,
			       sizeof(*items));
	if (items == NULL) {
		return -ENOMEM;
	}
	walk->items = items;
	item = &walk->items[walk->count];
	item->lbn = lbn;
	item->separator = separator;
	item->path = strdup(path);
	if (item->path == NULL) {
		return -ENOMEM;
	}
	walk->count++;
	return 0;
}

/* Tell of the listed blocks among count from lbn on. */
static int report_blocks(struct walk *walk, struct udf_owner *owner,
			 uint32_t lbn, uint64_t count, uint64_t offset)
{
	const struct udf_block_list *blocks = walk->blocks;
	uint32_t block_size = walk->fs->info->block_size;
	size_t i = udf_block_list_find(blocks, lbn);
	int ret = 0;

	while (ret == 0 && i < blocks->count && blocks->blocks[i] - lbn < count) {
		owner->lbn = blocks->blocks[i];
		owner->count = 0;
		owner->offset = offset +
				(uint64_t)(owner->lbn - lbn) * block_size;
		while (i < blocks->count && blocks->blocks[i] - lbn < count &&
		       blocks->blocks[i] == owner->lbn + owner->count) {
			owner->count++;
			i++;
		}
		ret = walk->found(walk->private_data, owner);
	}
	return ret;
}

static int report_node(struct walk *walk, struct udf_node *node,
		       const char *path)
{
	uint32_t block_size = walk->fs->info->block_size;
	struct udf_owner owner = { .kind = UDF_OWNER_ICB, .path = path };
	int ret = 0;

	ret = report_blocks(walk, &owner, node->lbn, 1, 0);
	for (size_t i = 0; i < node->aeds.count && ret == 0; i++) {
		ret = report_blocks(walk, &owner, node->aeds.runs[i].lbn,
				    node->aeds.runs[i].count, 0);
	}
	owner.kind = UDF_OWNER_DATA;
	if (udf_node_is_directory(node)) {
		owner.kind = UDF_OWNER_DIRECTORY;
	}
	for (size_t i = 0; i < node->map.count && ret == 0; i++) {
		const struct udf_extent *e = &node->map.extents[i];

		if (e->type == UDF_EXTENT_RECORDED) {
			ret = report_blocks(walk, &owner, e->lbn, e->count,
					    e->block * block_size);
		}
	}
	return ret;
}

/* A file or directory, and what belongs to it. */
static int visit_node(struct walk *walk, uint32_t lbn, const char *path)
{
	struct udf_node *node = NULL;
	int ret = udf_node_get(walk->fs, lbn, &node);

	if (ret < 0) {
		struct udf_owner owner = {
			.kind = UDF_OWNER_ICB,
			.path = path,
			.lbn = lbn,
			.count = 1,
		};

		if (ret == -ENOMEM) {
			return ret;
		}
		if (!udf_block_list_has(walk->blocks, lbn, 1)) {
			return 0;
		}
		return walk->found(walk->private_data, &owner);
	}
	pthread_rwlock_rdlock(&node->lock);
	ret = report_node(walk, node, path);
	if (ret == 0 && udf_node_is_directory(node)) {
		ret = walk_add(walk, lbn, path, '/');
	}
	if (ret == 0 && node->stream_dir_icb.length > 0) {
		ret = walk_add(walk, node->stream_dir_icb.addr.block, path,
			       ':');
	}
	pthread_rwlock_unlock(&node->lock);
	udf_node_put(node, 1);
	return ret;
}

/* The next name of a directory; false: no more. */
static bool next_name(struct udf_node *directory, uint64_t *position,
		      struct udf_dirent *entry)
{
	int ret = 0;

	pthread_rwlock_rdlock(&directory->lock);
	ret = udf_directory_next(directory, position, entry);
	pthread_rwlock_unlock(&directory->lock);
	return ret == 0;
}

static int visit_directory(struct walk *walk, const struct directory_item *item)
{
	struct udf_node *directory = NULL;
	struct udf_dirent entry = { .offset = 0 };
	char path[PATH_LEN];
	uint64_t position = 0;
	int ret = udf_node_get(walk->fs, item->lbn, &directory);

	if (ret < 0) {
		return ret == -ENOMEM ? ret : 0;
	}
	if (item->separator == ':') {
		pthread_rwlock_rdlock(&directory->lock);
		ret = report_node(walk, directory, item->path);
		pthread_rwlock_unlock(&directory->lock);
	}
	if (ret == 0 && udf_directory_load(directory) < 0) {
		/* Its names are unreadable, and whose they were. */
		udf_node_put(directory, 1);
		return 0;
	}
	while (ret == 0 && next_name(directory, &position, &entry)) {
		int length = snprintf(path, sizeof(path), "%s%c%s", item->path,
				      item->separator, entry.name);

		if (length >= 0 && (size_t)length < sizeof(path)) {
			ret = visit_node(walk, entry.icb, path);
		}
	}
	udf_node_put(directory, 1);
	return ret;
}

/* What is the volume's own, and the root. */
static int visit_volume(struct walk *walk)
{
	const struct udf_volume_info *info = walk->fs->info;
	const struct udf_ad *streams = &walk->fs->system_stream_dir_icb;
	struct udf_owner owner = {
		.kind = UDF_OWNER_VOLUME,
		.path = "(space bitmap)",
	};
	uint32_t blocks = (info->space_bitmap_bytes + info->block_size - 1) /
			  info->block_size;
	int ret = report_blocks(walk, &owner, info->space_bitmap_block, blocks,
				0);

	if (ret == 0) {
		owner.path = "(file set)";
		ret = report_blocks(walk, &owner, info->file_set, 1, 0);
	}
	if (ret == 0) {
		ret = visit_node(walk, walk->fs->root->lbn, "");
	}
	if (ret == 0 && streams->length > 0) {
		ret = walk_add(walk, streams->addr.block, "(system)", ':');
	}
	return ret;
}

/*
 * The list, and for those of its blocks that hold blocks of the metadata
 * partition the latter's: it is these that something refers to.
 */
static int add_metadata(struct udf_fs *fs, const struct udf_block_list *blocks,
			struct udf_block_list *with_metadata)
{
	int ret = 0;

	for (size_t i = 0; i < blocks->count && ret == 0; i++) {
		uint32_t lbn = blocks->blocks[i];
		uint32_t at = udf_volume_metadata_block_at(fs->volume, lbn);

		ret = udf_block_list_add(with_metadata, lbn);
		if (ret == 0 && at != UINT32_MAX) {
			ret = udf_block_list_add(with_metadata, at);
		}
	}
	return ret;
}

int udf_owners_find(struct udf_fs *fs, const struct udf_block_list *blocks,
		    udf_owner_fn found, void *private_data)
{
	struct udf_block_list with_metadata = { .count = 0 };
	struct walk walk = {
		.fs = fs,
		.blocks = &with_metadata,
		.found = found,
		.private_data = private_data,
	};
	int ret = 0;

	walk.seen = calloc(1, (size_t)fs->info->address_blocks / 8 + 1);
	if (walk.seen == NULL) {
		return -ENOMEM;
	}
	ret = add_metadata(fs, blocks, &with_metadata);
	if (ret == 0) {
		ret = visit_volume(&walk);
	}
	while (ret == 0 && walk.count > 0) {
		struct directory_item item = walk.items[--walk.count];

		ret = visit_directory(&walk, &item);
		free(item.path);
	}
	while (walk.count > 0) {
		free(walk.items[--walk.count].path);
	}
	free(walk.items);
	free(walk.seen);
	udf_block_list_free(&with_metadata);
	return ret;
}

/* A name within quotes in a log line: one line, whatever a client chose. */
static void quote_name(const char *name, char *out, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	size_t n = 0;

	for (; *name != '\0' && n + 5 < len; name++) {
		unsigned char c = (unsigned char)*name;

		if (c == '"' || c == '\\') {
			out[n++] = '\\';
			out[n++] = *name;
		} else if (c < 0x20 || c == 0x7f) {
			out[n++] = '\\';
			out[n++] = 'x';
			out[n++] = digits[c >> 4];
			out[n++] = digits[c & 15];
		} else {
			out[n++] = *name;
		}
	}
	out[n] = '\0';
}

struct damage_report {
	struct udf_fs *fs;
	uint64_t named; /* blocks */
};

static int log_owner(void *private_data, const struct udf_owner *owner)
{
	struct damage_report *report = private_data;
	char name[PATH_LEN];

	quote_name(owner->path[0] != '\0' ? owner->path : "/", name,
		   sizeof(name));
	report->named += owner->count;
	udf_volume_log(report->fs->volume, UDF_LOG_ERROR,
		       "defect event=damaged block=%u blocks=%u part=%s "
		       "offset=%llu file=\"%s\"",
		       owner->lbn, owner->count,
		       udf_owner_kind_name(owner->kind),
		       (unsigned long long)owner->offset, name);
	return 0;
}

/*
 * What was written since, or given to another file, is no damage any more:
 * keep what still cannot be read.
 */
static int keep_unreadable(struct udf_fs *fs, struct udf_block_list *damaged)
{
	uint8_t *block = malloc(fs->info->block_size);
	size_t kept = 0;

	if (block == NULL) {
		return -ENOMEM;
	}
	for (size_t i = 0; i < damaged->count; i++) {
		uint32_t lbn = damaged->blocks[i];

		if (udf_volume_read(fs->volume, lbn, 1, block) < 0) {
			damaged->blocks[kept++] = lbn;
		}
	}
	damaged->count = kept;
	free(block);
	return 0;
}

void udf_owners_report_damage(struct udf_fs *fs)
{
	struct damage_report report = { .fs = fs };
	struct udf_block_list damaged = { .count = 0 };
	int ret = 0;

	udf_volume_take_damage(fs->volume, &damaged);
	if (damaged.count > 0) {
		ret = keep_unreadable(fs, &damaged);
	}
	if (damaged.count == 0) {
		udf_block_list_free(&damaged);
		return;
	}
	if (ret == 0) {
		ret = udf_owners_find(fs, &damaged, log_owner, &report);
	}
	if (ret < 0) {
		udf_volume_log(fs->volume, UDF_LOG_ERROR,
			       "no memory to find the files that %zu damaged "
			       "blocks belong to; udfctl defects names them",
			       damaged.count);
	} else if (report.named == 0) {
		udf_volume_log(fs->volume, UDF_LOG_NOTICE,
			       "defect event=damaged block=%u blocks=%zu "
			       "part=unused",
			       damaged.blocks[0], damaged.count);
	}
	udf_block_list_free(&damaged);
}
