/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * After a volume was not closed. See recover.h; commit.c says what can be
 * found then.
 *
 * The tree is walked with a list of directories, so its depth costs no stack;
 * an ICB is looked at once, so circles end.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "commit.h"
#include "directory.h"
#include "recover.h"

#define NO_SLOT SIZE_MAX

/* What is known of an ICB that the walk came to. */
struct seen {
	uint32_t lbn;
	bool used;
	bool is_directory;
	bool counted; /* its link count is ours to correct */
	uint32_t links;
	/* Where the name of a directory is. */
	uint32_t parent;
	uint32_t offset;
};

struct walk {
	struct udf_fs *fs;
	uint8_t *used;
	struct seen *table; /* open addressing; size is a power of two */
	size_t table_size;
	size_t table_count;
	uint32_t *queue; /* directories to read */
	size_t queue_count;
	size_t queue_capacity;
	uint64_t next_unique_id;
	uint32_t files;
	uint32_t directories;
	uint32_t repaired;
	uint32_t unreadable;
	uint64_t shared; /* blocks that two files claim */
};

static void mark_used(struct walk *walk, uint32_t lbn, uint64_t count)
{
	uint32_t limit = walk->fs->info->partition_blocks;

	for (uint64_t i = 0; i < count && lbn + i < limit; i++) {
		uint8_t *byte = &walk->used[(lbn + i) / 8];
		uint8_t bit = (uint8_t)(1u << ((lbn + i) % 8));

		walk->shared += (*byte & bit) != 0;
		*byte |= bit;
	}
}

static size_t table_slot(const struct walk *walk, uint32_t lbn)
{
	size_t mask = walk->table_size - 1;
	size_t i = (lbn * 2654435761u) & mask;

	while (walk->table[i].used && walk->table[i].lbn != lbn) {
		i = (i + 1) & mask;
	}
	return i;
}

static int table_grow(struct walk *walk)
{
	struct seen *old = walk->table;
	size_t old_size = walk->table_size;
	size_t size = old_size == 0 ? 1024 : old_size * 2;

	walk->table = calloc(size, sizeof(*walk->table));
	if (walk->table == NULL) {
		walk->table = old;
		return -ENOMEM;
	}
	walk->table_size = size;
	for (size_t i = 0; i < old_size; i++) {
		if (old[i].used) {
			walk->table[table_slot(walk, old[i].lbn)] = old[i];
		}
	}
	free(old);
	return 0;
}

/* The entry of an ICB, made if it is new. NULL: no memory. */
static struct seen *table_entry(struct walk *walk, uint32_t lbn, bool *is_new)
{
	size_t i = 0;

	if (walk->table_count * 2 >= walk->table_size &&
	    table_grow(walk) < 0) {
		return NULL;
	}
	i = table_slot(walk, lbn);
	*is_new = !walk->table[i].used;
	if (*is_new) {
		walk->table[i] = (struct seen){ .lbn = lbn, .used = true };
		walk->table_count++;
	}
	return &walk->table[i];
}

static int queue_add(struct walk *walk, uint32_t lbn)
{
	if (walk->queue_count == walk->queue_capacity) {
		size_t capacity = walk->queue_capacity < 64
					  ? 64
					  : walk->queue_capacity * 2;
		uint32_t *bigger = NULL;

		bigger = realloc(walk->queue, capacity * sizeof(*bigger));
		if (bigger == NULL) {
			return -ENOMEM;
		}
		walk->queue = bigger;
		walk->queue_capacity = capacity;
	}
	walk->queue[walk->queue_count++] = lbn;
	return 0;
}

static int visit_part(struct walk *walk, const struct udf_ad *icb);

/* All blocks of a node that was not seen before. */
static int visit_node(struct walk *walk, struct udf_node *node)
{
	int ret = 0;

	mark_used(walk, node->lbn, 1);
	for (size_t i = 0; i < node->map.count; i++) {
		const struct udf_extent *e = &node->map.extents[i];

		if (e->type != UDF_EXTENT_HOLE) {
			mark_used(walk, e->lbn, e->count);
		}
	}
	for (size_t i = 0; i < node->aeds.count; i++) {
		mark_used(walk, node->aeds.runs[i].lbn,
			  node->aeds.runs[i].count);
	}
	if (node->map_error != 0 || node->write_once) {
		walk->unreadable++;
	}
	if (node->unique_id >= walk->next_unique_id) {
		walk->next_unique_id = node->unique_id + 1;
	}
	if (node->file_type != UDF_FT_EXTENDED_ATTRIBUTES) {
		ret = visit_part(walk, &node->ea_icb);
	}
	if (ret == 0 && node->file_type != UDF_FT_STREAM_DIRECTORY) {
		ret = visit_part(walk, &node->stream_dir_icb);
	}
	return ret;
}

/* An ICB that belongs to a file: attributes or the stream directory. */
static int visit_part(struct walk *walk, const struct udf_ad *icb)
{
	struct udf_node *node = NULL;
	struct seen *seen = NULL;
	bool is_new = false;
	int ret = 0;

	if (icb->length == 0) {
		return 0;
	}
	seen = table_entry(walk, icb->addr.block, &is_new);
	if (seen == NULL) {
		return -ENOMEM;
	}
	if (!is_new) {
		return 0;
	}
	ret = udf_node_get(walk->fs, icb->addr.block, &node);
	if (ret < 0) {
		walk->unreadable++;
		return ret == -ENOMEM ? ret : 0;
	}
	mark_used(walk, node->lbn, 1);
	if (node->map_error != 0 || node->write_once) {
		walk->unreadable++;
	}
	/* One level below its file: attributes have no attributes here. */
	if (node->file_type == UDF_FT_STREAM_DIRECTORY) {
		ret = queue_add(walk, node->lbn);
	}
	if (ret == 0) {
		struct udf_node *part = node;

		for (size_t i = 0; i < part->map.count; i++) {
			const struct udf_extent *e = &part->map.extents[i];

			if (e->type != UDF_EXTENT_HOLE) {
				mark_used(walk, e->lbn, e->count);
			}
		}
		for (size_t i = 0; i < part->aeds.count; i++) {
			mark_used(walk, part->aeds.runs[i].lbn,
				  part->aeds.runs[i].count);
		}
	}
	udf_node_put(node, 1);
	return ret;
}

/*
 * A directory that has two names: a rename was interrupted. Its ".." says
 * which is the right one; the other is removed.
 */
static int drop_second_name(struct walk *walk, struct seen *seen,
			    struct udf_node *parent, uint32_t offset)
{
	struct udf_node *node = NULL;
	struct udf_node *other = NULL;
	uint32_t says = 0;
	int ret = udf_node_get(walk->fs, seen->lbn, &node);

	if (ret < 0) {
		return 0;
	}
	ret = udf_directory_load(node);
	if (ret == 0) {
		ret = udf_directory_parent(node, &says);
	}
	udf_node_put(node, 1);
	if (ret == 0 && says == parent->lbn && seen->parent != parent->lbn) {
		uint32_t old_offset = seen->offset;

		ret = udf_node_get(walk->fs, seen->parent, &other);
		seen->parent = parent->lbn;
		seen->offset = offset;
		offset = old_offset;
	} else {
		other = parent;
		udf_node_ref(other, 1);
		ret = 0;
	}
	if (ret < 0) {
		return 0;
	}
	ret = udf_directory_load(other);
	if (ret == 0) {
		ret = udf_directory_remove(other, offset);
	}
	if (ret == 0) {
		udf_commit_dirty(other);
		walk->repaired++;
	}
	udf_node_put(other, 1);
	return ret == -ENOMEM ? ret : 0;
}

/* One name of a directory. */
static int visit_name(struct walk *walk, struct udf_node *parent,
		      const struct udf_dirent *entry)
{
	bool streams = parent->file_type == UDF_FT_STREAM_DIRECTORY;
	struct udf_node *node = NULL;
	struct seen *seen = NULL;
	bool is_new = false;
	int ret = 0;

	if (entry->fid_unique_id >= walk->next_unique_id) {
		walk->next_unique_id = (uint64_t)entry->fid_unique_id + 1;
	}
	seen = table_entry(walk, entry->icb, &is_new);
	if (seen == NULL) {
		return -ENOMEM;
	}
	if (!is_new) {
		if (seen->is_directory) {
			return drop_second_name(walk, seen, parent,
						entry->offset);
		}
		seen->links++;
		return 0;
	}
	ret = udf_node_get(walk->fs, entry->icb, &node);
	if (ret < 0) {
		walk->unreadable++;
		mark_used(walk, entry->icb, 1);
		return ret == -ENOMEM ? ret : 0;
	}
	seen->links = 1;
	seen->counted = !streams;
	seen->parent = parent->lbn;
	seen->offset = entry->offset;
	if (udf_node_is_directory(node)) {
		seen->is_directory = true;
		ret = queue_add(walk, node->lbn);
		walk->directories += !streams;
	} else {
		walk->files += !streams;
	}
	/* The table may move now. */
	if (ret == 0) {
		ret = visit_node(walk, node);
	}
	udf_node_put(node, 1);
	return ret;
}

/* What a name of a stream directory adds to its file's object size. */
static uint64_t stream_size(struct udf_node *directory,
			    const struct udf_dirent *entry)
{
	struct udf_node *stream = NULL;
	uint64_t size = 0;

	if (directory->file_type == UDF_FT_STREAM_DIRECTORY &&
	    udf_node_get(directory->fs, entry->icb, &stream) == 0) {
		size = stream->size;
		udf_node_put(stream, 1);
	}
	return size;
}

/* The file of a stream directory counts its streams' bytes. */
static int correct_streams_size(struct walk *walk, struct udf_node *directory,
				uint64_t streams)
{
	struct udf_node *node = NULL;
	uint32_t lbn = 0;

	if (udf_directory_parent(directory, &lbn) < 0 ||
	    udf_node_get(walk->fs, lbn, &node) < 0) {
		return 0;
	}
	if (node->stream_dir_icb.length > 0 &&
	    node->stream_dir_icb.addr.block == directory->lbn &&
	    node->streams_size != streams && !node->write_once &&
	    udf_node_reserve_aeds(node) == 0) {
		node->streams_size = streams;
		udf_commit_dirty(node);
		walk->repaired++;
	}
	udf_node_put(node, 1);
	return 0;
}

static int visit_directory(struct walk *walk, uint32_t lbn)
{
	struct udf_node *directory = NULL;
	uint64_t position = 0;
	uint64_t streams = 0;
	int ret = udf_node_get(walk->fs, lbn, &directory);

	if (ret == 0) {
		ret = udf_directory_load(directory);
	}
	if (ret < 0) {
		walk->unreadable++;
		if (directory != NULL) {
			udf_node_put(directory, 1);
		}
		return ret == -ENOMEM ? ret : 0;
	}
	if (udf_directory_drop_duplicates(directory) > 0) {
		udf_commit_dirty(directory);
		walk->repaired++;
	}
	for (;;) {
		struct udf_dirent entry = { .offset = 0 };

		ret = udf_directory_next(directory, &position, &entry);
		if (ret < 0) {
			break;
		}
		ret = visit_name(walk, directory, &entry);
		if (ret < 0) {
			break;
		}
		streams += stream_size(directory, &entry);
	}
	if (ret == -ENOENT) {
		ret = directory->file_type == UDF_FT_STREAM_DIRECTORY
			      ? correct_streams_size(walk, directory, streams)
			      : 0;
	}
	udf_node_put(directory, 1);
	return ret;
}

/* ".." of each directory, and how many it is for. */
static int count_parents(struct walk *walk)
{
	for (size_t i = 0; i < walk->table_size; i++) {
		struct seen *seen = &walk->table[i];
		struct udf_node *node = NULL;
		struct udf_node *parent = NULL;
		uint32_t says = 0;
		size_t above = 0;

		if (!seen->used || !seen->is_directory || !seen->counted) {
			continue;
		}
		above = table_slot(walk, seen->parent);
		if (seen->lbn != walk->fs->root->lbn) {
			walk->table[above].links++;
		}
		if (udf_node_get(walk->fs, seen->lbn, &node) < 0) {
			continue;
		}
		if (udf_directory_load(node) == 0 &&
		    udf_directory_parent(node, &says) == 0 &&
		    says != seen->parent &&
		    udf_node_get(walk->fs, seen->parent, &parent) == 0) {
			(void)udf_directory_set_parent(node, parent);
			udf_commit_dirty(node);
			udf_node_put(parent, 1);
			walk->repaired++;
		}
		udf_node_put(node, 1);
	}
	return 0;
}

static void correct_links(struct walk *walk)
{
	for (size_t i = 0; i < walk->table_size; i++) {
		const struct seen *seen = &walk->table[i];
		struct udf_node *node = NULL;

		if (!seen->used || !seen->counted) {
			continue;
		}
		if (udf_node_get(walk->fs, seen->lbn, &node) < 0) {
			continue;
		}
		if (node->link_count != seen->links && !node->write_once &&
		    udf_node_reserve_aeds(node) == 0) {
			node->link_count = seen->links;
			udf_commit_dirty(node);
			walk->repaired++;
		}
		udf_node_put(node, 1);
	}
}

/* What is no file: the bitmap itself and the File Set Descriptors. */
static int mark_fixed(struct walk *walk)
{
	const struct udf_volume_info *info = walk->fs->info;
	uint32_t block_size = info->block_size;
	uint8_t *block = malloc(block_size);
	uint32_t lbn = info->file_set;
	struct udf_tag tag = { .id = 0 };

	if (block == NULL) {
		return -ENOMEM;
	}
	mark_used(walk, info->space_bitmap_block,
		  ((uint64_t)info->space_bitmap_bytes + block_size - 1) /
			  block_size);
	mark_used(walk, lbn, 1);
	while (lbn + 1 < info->partition_blocks) {
		lbn++;
		if (udf_volume_read(walk->fs->volume, lbn, 1, block) < 0 ||
		    decode_tag(block, block_size, &tag) < 0 ||
		    tag.location != lbn ||
		    (tag.id != UDF_TAG_FSD && tag.id != UDF_TAG_TD &&
		     tag.id != UDF_TAG_TERMINAL)) {
			break;
		}
		mark_used(walk, lbn, 1);
	}
	free(block);
	return 0;
}

static int walk_tree(struct walk *walk)
{
	struct udf_fs *fs = walk->fs;
	struct seen *root = NULL;
	bool is_new = false;
	int ret = mark_fixed(walk);

	if (ret < 0) {
		return ret;
	}
	root = table_entry(walk, fs->root->lbn, &is_new);
	if (root == NULL) {
		return -ENOMEM;
	}
	root->is_directory = true;
	root->counted = true;
	root->links = 1; /* its own parent FID */
	root->parent = fs->root->lbn;
	walk->directories = 1;
	ret = visit_node(walk, fs->root);
	if (ret == 0) {
		ret = queue_add(walk, fs->root->lbn);
	}
	if (ret == 0) {
		ret = visit_part(walk, &fs->system_stream_dir_icb);
	}
	while (ret == 0 && walk->queue_count > 0) {
		walk->queue_count--;
		ret = visit_directory(walk, walk->queue[walk->queue_count]);
	}
	return ret;
}

int udf_recover(struct udf_fs *fs)
{
	struct walk walk = {
		.fs = fs,
		.next_unique_id = fs->next_unique_id,
	};
	uint64_t changed = 0;
	int ret = 0;

	walk.used = calloc(1, (size_t)fs->info->partition_blocks / 8 + 1);
	if (walk.used == NULL) {
		return -ENOMEM;
	}
	ret = walk_tree(&walk);
	if (ret == 0) {
		ret = count_parents(&walk);
	}
	if (ret == 0) {
		/* What could not be read may use what seems to be free. */
		ret = udf_space_rebuild(&fs->space, walk.used,
					walk.unreadable > 0, &changed);
	}
	if (ret == 0) {
		correct_links(&walk);
		fs->files = walk.files;
		fs->directories = walk.directories;
		fs->next_unique_id = walk.next_unique_id;
		if ((fs->next_unique_id & UINT32_MAX) < 16) {
			fs->next_unique_id |= 16;
		}
		udf_volume_log(fs->volume, UDF_LOG_NOTICE,
			       "the volume was not closed: %u files and %u "
			       "directories; %llu blocks of the space bitmap "
			       "and %u other things were corrected%s",
			       walk.files, walk.directories,
			       (unsigned long long)changed, walk.repaired,
			       walk.unreadable > 0
				       ? "; parts are unreadable"
				       : "");
	}
	if (ret == 0 && walk.shared > 0) {
		udf_volume_log(fs->volume, UDF_LOG_WARNING,
			       "%llu blocks belong to two files at once: copy "
			       "what you need from this volume and format it",
			       (unsigned long long)walk.shared);
	}
	free(walk.used);
	free(walk.table);
	free(walk.queue);
	return ret;
}
