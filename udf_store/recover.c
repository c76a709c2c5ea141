/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * After a volume was not closed. See recover.h; commit.c says what can be
 * found then.
 *
 * The tree is walked with a list of directories, so its depth costs no stack;
 * an ICB is looked at once, so circles end.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "commit.h"
#include "directory.h"
#include "metadata_restore.h"
#include "recover.h"

#define NO_SLOT SIZE_MAX

/* What a second file of a name has behind it: " (2)". */
#define NUMBER_LEN 16u

/* What is known of an ICB that the walk came to. */
struct seen {
	uint32_t lbn;
	bool used;
	bool is_directory;
	bool counted; /* its link count is ours to correct */
	uint32_t links;
	uint32_t names;
	/* Where its first name is. */
	uint32_t parent;
	uint32_t offset;
};

/* A further name of a directory. */
struct second_name {
	uint32_t lbn;
	uint32_t parent;
	uint32_t offset;
};

/* Blocks of ICBs that have to be looked at again. */
struct lbn_list {
	uint32_t *lbns;
	size_t count;
	size_t capacity;
};

struct walk {
	struct udf_fs *fs;
	uint8_t *used; /* a bit for each block of the partition */
	uint8_t *used_metadata; /* and of the metadata partition */
	struct seen *table; /* open addressing; size is a power of two */
	size_t table_size;
	size_t table_count;
	struct lbn_list queue;	/* directories to read */
	struct lbn_list hiding; /* directories with hidden names */
	struct second_name *seconds;
	size_t seconds_count;
	size_t seconds_capacity;
	bool corrects; /* more than the bitmaps */
	bool resolved; /* names that are there twice have been looked at */
	uint64_t next_unique_id;
	uint32_t files;
	uint32_t directories;
	uint32_t repaired;
	uint32_t unreadable;
	uint64_t shared; /* blocks that two files claim */
};

static void mark_used(struct walk *walk, uint32_t lbn, uint64_t count)
{
	const struct udf_volume_info *info = walk->fs->info;
	uint32_t limit = info->partition_blocks;
	uint8_t *used = walk->used;

	if (lbn >= limit) {
		lbn -= limit;
		limit = info->mapped_blocks;
		used = walk->used_metadata;
	}
	for (uint64_t i = 0; i < count && lbn + i < limit; i++) {
		uint8_t *byte = &used[(lbn + i) / 8];
		uint8_t bit = (uint8_t)(1u << ((lbn + i) % 8));

		if (bit == 1 && *byte == 0 && count - i >= 8 &&
		    limit - (lbn + i) >= 8) {
			*byte = UINT8_MAX;
			i += 7;
			continue;
		}
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

static int lbn_list_add(struct lbn_list *list, uint32_t lbn)
{
	uint32_t *lbns = udf_array_grow(list->lbns, list->count,
					&list->capacity, sizeof(*lbns));

	if (lbns == NULL) {
		return -ENOMEM;
	}
	list->lbns = lbns;
	list->lbns[list->count++] = lbn;
	return 0;
}

static int second_name_add(struct walk *walk, uint32_t lbn, uint32_t parent,
			   uint32_t offset)
{
	struct second_name *seconds = NULL;

	seconds = udf_array_grow(walk->seconds, walk->seconds_count,
				 &walk->seconds_capacity, sizeof(*seconds));
	if (seconds == NULL) {
		return -ENOMEM;
	}
	walk->seconds = seconds;
	walk->seconds[walk->seconds_count++] = (struct second_name){
		.lbn = lbn,
		.parent = parent,
		.offset = offset,
	};
	return 0;
}

static int visit_part(struct walk *walk, const struct udf_ad *icb);

/* All blocks of a node that was not seen before. */
static void mark_node(struct walk *walk, const struct udf_node *node)
{
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
}

static int visit_node(struct walk *walk, struct udf_node *node)
{
	int ret = 0;

	mark_node(walk, node);
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
	mark_node(walk, node);
	/* One level below its file: attributes have no attributes here. */
	if (node->file_type == UDF_FT_STREAM_DIRECTORY) {
		ret = lbn_list_add(&walk->queue, node->lbn);
	}
	udf_node_put(node, 1);
	return ret;
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
	if (!is_new && walk->resolved && seen->is_directory) {
		return 0;
	}
	seen->names++;
	if (!is_new) {
		if (seen->is_directory) {
			return second_name_add(walk, seen->lbn, parent->lbn,
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
		ret = lbn_list_add(&walk->queue, node->lbn);
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

	if (!walk->corrects || udf_directory_parent(directory, &lbn) < 0 ||
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

/* Names that are there twice count until it is known which one goes. */
static int visit_hidden(struct walk *walk, struct udf_node *directory)
{
	size_t count = udf_directory_hidden_count(directory);
	int ret = 0;

	for (size_t i = 0; i < count && ret == 0; i++) {
		struct udf_dirent hidden = { .offset = 0 };
		struct udf_dirent shown = { .offset = 0 };

		if (udf_directory_hidden(directory, i, &hidden, &shown) == 0) {
			ret = visit_name(walk, directory, &hidden);
		}
	}
	if (ret == 0 && count > 0 && !walk->resolved) {
		ret = lbn_list_add(&walk->hiding, directory->lbn);
	}
	return ret;
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
	/* A name that is damaged may lead to what seems to be free. */
	walk->unreadable += udf_directory_is_damaged(directory);
	ret = visit_hidden(walk, directory);
	while (ret == 0) {
		struct udf_dirent entry = { .offset = 0 };

		ret = udf_directory_next(directory, &position, &entry);
		if (ret == 0) {
			ret = visit_name(walk, directory, &entry);
		}
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

/*
 * Give what a hidden name leads to another one beside it, with a number that
 * grows from *number on; the hidden one can go then.
 */
static int name_anew(struct udf_node *directory,
		     const struct udf_dirent *hidden, struct udf_node *target,
		     unsigned int *number)
{
	struct udf_dirent found = { .offset = 0 };
	char name[UDF_SHOWN_NAME_MAX + NUMBER_LEN];
	size_t length = strlen(hidden->name);
	int ret = udf_node_reserve_aeds(directory);

	while (ret == 0) {
		snprintf(name, sizeof(name), "%.*s (%u)", (int)length,
			 hidden->name, *number);
		ret = udf_directory_find(directory, name, &found);
		while ((ret == -ENAMETOOLONG || ret == -EILSEQ) && length > 1) {
			/* Until it fits, and ends with a whole character. */
			length--;
			snprintf(name, sizeof(name), "%.*s (%u)", (int)length,
				 hidden->name, *number);
			ret = udf_directory_find(directory, name, &found);
		}
		(*number)++;
	}
	if (ret == -ENOENT) {
		ret = udf_directory_insert(directory, name, target,
					   hidden->fid_unique_id, NULL);
	}
	if (ret == 0) {
		udf_volume_log(directory->fs->volume, UDF_LOG_WARNING,
			       "two files were named '%s' in one directory: "
			       "one is '%s' now",
			       hidden->name, name);
	}
	return ret;
}

/* Both FIDs of a name are the only ones of what they lead to: keep both. */
static int keep_both(struct walk *walk, struct udf_node *directory,
		     const struct udf_dirent *hidden, unsigned int *number)
{
	struct udf_node *target = NULL;
	int ret = udf_node_get(walk->fs, hidden->icb, &target);

	if (ret == 0) {
		ret = name_anew(directory, hidden, target, number);
		udf_node_put(target, 1);
	}
	return ret;
}

/*
 * Of two FIDs of a name one goes (commit.c): the newer one, unless it is the
 * last name of what it leads to, and the older one is not. If it is the last
 * name and we did not put it there, the file has been made, and gets another.
 */
static int resolve_hidden(struct walk *walk, struct udf_node *directory)
{
	size_t i = udf_directory_hidden_count(directory);
	unsigned int number = 2;
	int ret = 0;

	while (i > 0 && ret == 0) {
		struct udf_dirent hidden = { .offset = 0 };
		struct udf_dirent shown = { .offset = 0 };
		struct seen *of_hidden = NULL;
		struct seen *of_shown = NULL;
		bool keep_hidden = false;

		i--;
		ret = udf_directory_hidden(directory, i, &hidden, &shown);
		if (ret < 0) {
			break;
		}
		of_hidden = &walk->table[table_slot(walk, hidden.icb)];
		of_shown = &walk->table[table_slot(walk, shown.icb)];
		keep_hidden = of_hidden->names <= 1 && of_shown->names > 1;
		if (walk->fs->keeps_names && of_hidden->names == 1 &&
		    !keep_hidden) {
			ret = keep_both(walk, directory, &hidden, &number);
			if (ret < 0) {
				/* It stays hidden, and its blocks are used. */
				ret = ret == -ENOMEM ? ret : 0;
				continue;
			}
		}
		ret = udf_directory_resolve(directory, i, keep_hidden);
		if (ret == 0 && keep_hidden) {
			of_shown->names--;
		} else if (ret == 0 && of_hidden->names > 0) {
			of_hidden->names--;
		}
		walk->repaired++;
	}
	udf_commit_dirty(directory);
	return ret == -ENOMEM ? ret : 0;
}

/* Is a name of a directory still there? With a reference to where it is. */
static bool name_is_there(struct walk *walk, const struct second_name *name,
			  struct udf_node **parent)
{
	if (udf_node_get(walk->fs, name->parent, parent) < 0) {
		return false;
	}
	if (udf_directory_load(*parent) == 0 &&
	    udf_directory_leads_to(*parent, name->offset, name->lbn)) {
		return true;
	}
	udf_node_put(*parent, 1);
	return false;
}

/* What ".." of a directory says; 0: nothing. */
static uint32_t parent_of(struct walk *walk, uint32_t lbn)
{
	struct udf_node *node = NULL;
	uint32_t says = 0;

	if (udf_node_get(walk->fs, lbn, &node) < 0) {
		return 0;
	}
	if (udf_directory_load(node) < 0 ||
	    udf_directory_parent(node, &says) < 0) {
		says = 0;
	}
	udf_node_put(node, 1);
	return says;
}

/*
 * A directory that has two names: a rename was interrupted. Its ".." says
 * which is the right one; the other is removed.
 */
static int resolve_second(struct walk *walk, const struct second_name *second)
{
	struct seen *seen = &walk->table[table_slot(walk, second->lbn)];
	struct second_name first = {
		.lbn = seen->lbn,
		.parent = seen->parent,
		.offset = seen->offset,
	};
	struct udf_node *first_parent = NULL;
	struct udf_node *second_parent = NULL;
	struct udf_node *loser = NULL;
	uint32_t offset = 0;
	int ret = 0;

	if (!name_is_there(walk, second, &second_parent)) {
		return 0;
	}
	if (!name_is_there(walk, &first, &first_parent)) {
		seen->parent = second->parent;
		seen->offset = second->offset;
		udf_node_put(second_parent, 1);
		return 0;
	}
	loser = second_parent;
	offset = second->offset;
	if (second->parent != first.parent &&
	    parent_of(walk, second->lbn) == second->parent) {
		loser = first_parent;
		offset = first.offset;
		seen->parent = second->parent;
		seen->offset = second->offset;
	}
	ret = udf_directory_remove(loser, offset);
	if (ret == 0) {
		udf_commit_dirty(loser);
		walk->repaired++;
	}
	udf_node_put(first_parent, 1);
	udf_node_put(second_parent, 1);
	return ret == -ENOMEM ? ret : 0;
}

/* Let every name be there once, and every directory have one name. */
static int resolve_names(struct walk *walk)
{
	int ret = 0;

	for (size_t i = 0; i < walk->hiding.count && ret == 0; i++) {
		struct udf_node *directory = NULL;

		if (udf_node_get(walk->fs, walk->hiding.lbns[i],
				 &directory) < 0) {
			continue;
		}
		if (udf_directory_load(directory) == 0) {
			ret = resolve_hidden(walk, directory);
		}
		udf_node_put(directory, 1);
	}
	for (size_t i = 0; i < walk->seconds_count && ret == 0; i++) {
		ret = resolve_second(walk, &walk->seconds[i]);
	}
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

static int mark_run(void *private_data, const char *name, uint32_t lbn,
		    uint32_t count)
{
	struct walk *walk = private_data;

	(void)name;
	mark_used(walk, lbn, count);
	return 0;
}

/*
 * What has no name: the bitmap itself, the files of the metadata partition,
 * and the File Set Descriptors.
 */
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
	(void)udf_volume_metadata_runs(walk->fs->volume, mark_run, walk);
	mark_used(walk, lbn, 1);
	while (lbn + 1 < info->address_blocks) {
		lbn++;
		if (udf_volume_read(walk->fs->volume, lbn, 1, block) < 0 ||
		    decode_tag(block, block_size, &tag) < 0 ||
		    tag.location != udf_volume_location(info, lbn).block ||
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
		ret = lbn_list_add(&walk->queue, fs->root->lbn);
	}
	if (ret == 0) {
		ret = visit_part(walk, &fs->system_stream_dir_icb);
	}
	while (ret == 0 && walk->queue.count > 0) {
		walk->queue.count--;
		ret = visit_directory(walk,
				      walk->queue.lbns[walk->queue.count]);
	}
	return ret;
}

/* After names have gone the tree is another one: forget what was counted. */
static void walk_restart(struct walk *walk)
{
	memset(walk->used, 0,
	       (size_t)walk->fs->info->partition_blocks / 8 + 1);
	memset(walk->used_metadata, 0,
	       (size_t)walk->fs->info->mapped_blocks / 8 + 1);
	memset(walk->table, 0, walk->table_size * sizeof(*walk->table));
	walk->table_count = 0;
	walk->queue.count = 0;
	walk->files = 0;
	walk->directories = 0;
	walk->unreadable = 0;
	walk->shared = 0;
	walk->resolved = true;
}

/* Both bitmaps anew, from what the walk has seen. */
static int rebuild_space(struct walk *walk, uint64_t *changed)
{
	struct udf_space *space = &walk->fs->space;
	struct udf_space *metadata = udf_space_for_metadata(space);
	uint64_t more = 0;
	/* What could not be read may use what seems to be free; and a repair
	 * looks for lost files there. */
	bool keep_used = walk->unreadable > 0 || walk->fs->repairing;
	int ret = udf_space_rebuild(space, walk->used, keep_used, changed);

	if (ret == 0 && metadata != space) {
		ret = udf_space_rebuild(metadata, walk->used_metadata,
					keep_used, &more);
		*changed += more;
	}
	return ret;
}

/* The metadata file and its mirror may differ by what was being written. */
static int repair_mirror(struct walk *walk)
{
	uint32_t differ = 0;
	int ret = 0;

	if (udf_volume_metadata_is_stale(walk->fs->volume) &&
	    walk->unreadable > 0) {
		udf_volume_log(walk->fs->volume, UDF_LOG_WARNING,
			       "the volume is read-only for us: its metadata "
			       "file and the mirror are not of the same "
			       "length, and parts are unreadable");
		walk->fs->read_only = true;
		return 0;
	}
	ret = udf_volume_metadata_compare(walk->fs->volume,
					      walk->used_metadata, true,
					      &differ);

	walk->repaired += differ;
	if (ret < 0 && ret != -ENOMEM) {
		/* What is there can be read all the same. */
		udf_volume_log(walk->fs->volume, UDF_LOG_WARNING,
			       "the volume is read-only for us: the metadata "
			       "file and its mirror cannot be made the same: "
			       "%s",
			       strerror(-ret));
		walk->fs->read_only = true;
		ret = 0;
	}
	return ret;
}

int udf_recover(struct udf_fs *fs)
{
	struct walk walk = {
		.fs = fs,
		.next_unique_id = fs->next_unique_id,
		/* A repair has steps for the rest, in an order of its own. */
		.corrects = !fs->repairing,
	};
	uint64_t changed = 0;
	int ret = 0;

	walk.used = calloc(1, (size_t)fs->info->partition_blocks / 8 + 1);
	walk.used_metadata = calloc(1, (size_t)fs->info->mapped_blocks / 8 + 1);
	if (walk.used == NULL || walk.used_metadata == NULL) {
		free(walk.used);
		free(walk.used_metadata);
		return -ENOMEM;
	}
	ret = walk_tree(&walk);
	if (ret == 0 && walk.corrects &&
	    walk.hiding.count + walk.seconds_count > 0) {
		ret = resolve_names(&walk);
		if (ret == 0) {
			walk_restart(&walk);
			ret = walk_tree(&walk);
		}
	}
	if (ret == 0 && walk.corrects) {
		ret = count_parents(&walk);
	}
	if (ret == 0) {
		ret = rebuild_space(&walk, &changed);
	}
	if (ret == 0) {
		ret = udf_metadata_restore(fs, walk.used_metadata,
					   walk.unreadable == 0 &&
						   walk.shared == 0);
	}
	if (ret == 0 && !fs->read_only) {
		ret = repair_mirror(&walk);
	}
	if (ret == 0 && walk.corrects) {
		correct_links(&walk);
	}
	if (ret == 0) {
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
	if (ret == 0 && walk.shared > 0 && walk.corrects) {
		udf_volume_log(fs->volume, UDF_LOG_WARNING,
			       "%llu blocks belong to two files at once: "
			       "unmount the volume, and give each its own with "
			       "udfctl check --repair",
			       (unsigned long long)walk.shared);
	}
	free(walk.used);
	free(walk.used_metadata);
	free(walk.table);
	free(walk.queue.lbns);
	free(walk.hiding.lbns);
	free(walk.seconds);
	return ret;
}
