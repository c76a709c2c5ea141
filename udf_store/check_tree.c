/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Checking the tree of directories: ICBs, names, link counts, unique ids,
 * streams (ECMA-167 4/8 to 4/14, UDF 2.3, 3.2.1, 3.3.5).
 *
 * Directories are in a list, so depth costs no stack; an ICB is looked at
 * once, so circles end.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "bytes.h"
#include "check_tree.h"
#include "ecma167.h"
#include "osta.h"

#define DIRECTORY_BYTES_MAX (UINT64_C(1) << 30)
#define PROGRESS_STEP 256u
#define NAME_BYTES 1024
#define SYSTEM_STREAMS "system streams"
#define STREAMS "streams"
#define ATTRIBUTES "attributes"

const char *tree_path(struct tree *tree, size_t index)
{
	char *end = tree->path + sizeof(tree->path) - 1;
	char *p = end;
	size_t steps = 0;

	*end = '\0';
	while (index != NO_NODE && tree->nodes[index].name != NULL &&
	       steps < tree->count) {
		const struct node *node = &tree->nodes[index];
		size_t len = strlen(node->name);

		if (len + 1 > (size_t)(p - tree->path)) {
			break;
		}
		p -= len;
		memcpy(p, node->name, len);
		*--p = node->in_stream_directory ? ':' : '/';
		index = node->parent;
	}
	return p == end ? "/" : p;
}

void tree_found(struct tree *tree, enum udf_finding_kind kind,
		enum udf_finding_severity severity, size_t index,
		const char *text)
{
	udf_check_found(tree->check, kind, severity, tree_path(tree, index),
			tree->nodes[index].lbn, "%s", text);
}

int tree_read_icb(struct tree *tree, size_t index, uint8_t *block,
		  struct udf_icb *icb)
{
	const struct udf_volume_info *info = tree->check->info;
	const struct node *node = &tree->nodes[index];
	uint32_t location = udf_volume_location(info, node->lbn).block;
	int ret = udf_volume_read(tree->check->volume, node->lbn, 1, block);

	if (ret == 0 && node->icb_mended) {
		ret = mend_tag(block, info->block_size, get_le16(block),
			       location);
	}
	return ret < 0 ? ret
		       : decode_icb(block, info->block_size, location, icb);
}

static int slots_grow(struct tree *tree)
{
	size_t size = tree->slot_count == 0 ? 1024 : tree->slot_count * 2;
	size_t *slots = malloc(size * sizeof(*slots));
	size_t i = 0;

	if (slots == NULL) {
		return -ENOMEM;
	}
	memset(slots, 0xFF, size * sizeof(*slots));
	for (i = 0; i < tree->count; i++) {
		size_t at = (tree->nodes[i].lbn * 2654435761u) & (size - 1);

		while (slots[at] != NO_NODE) {
			at = (at + 1) & (size - 1);
		}
		slots[at] = i;
	}
	free(tree->slots);
	tree->slots = slots;
	tree->slot_count = size;
	return 0;
}

static size_t find_node(const struct tree *tree, uint32_t lbn)
{
	size_t mask = tree->slot_count - 1;
	size_t at = (lbn * 2654435761u) & mask;

	if (tree->slot_count == 0) {
		return NO_NODE;
	}
	while (tree->slots[at] != NO_NODE) {
		if (tree->nodes[tree->slots[at]].lbn == lbn) {
			return tree->slots[at];
		}
		at = (at + 1) & mask;
	}
	return NO_NODE;
}

/* A new node. *index; -ENOMEM. */
static int add_node(struct tree *tree, uint32_t lbn, size_t parent,
		    const char *name, size_t *index)
{
	struct node *node = NULL;
	size_t mask = 0;
	size_t at = 0;

	if (tree->count * 2 >= tree->slot_count && slots_grow(tree) < 0) {
		return -ENOMEM;
	}
	node = udf_array_grow(tree->nodes, tree->count, &tree->capacity,
			      sizeof(*node));
	if (node == NULL) {
		return -ENOMEM;
	}
	tree->nodes = node;
	node = &tree->nodes[tree->count];
	*node = (struct node){
		.lbn = lbn,
		.parent = parent,
		.cut_at = UINT64_MAX,
	};
	if (name != NULL) {
		node->name = strdup(name);
		if (node->name == NULL) {
			return -ENOMEM;
		}
	}
	mask = tree->slot_count - 1;
	at = (lbn * 2654435761u) & mask;
	while (tree->slots[at] != NO_NODE) {
		at = (at + 1) & mask;
	}
	tree->slots[at] = tree->count;
	*index = tree->count;
	tree->count++;
	return 0;
}

static int queue_part(struct tree *tree, size_t index, const struct udf_ad *ad,
		      const char *what);

/*
 * A node's ICB cannot be decoded; or it can be, but for its checksums: 0, and
 * it is in block, with others. -EUCLEAN, -EIO: as ret says.
 */
static int damaged_icb(struct tree *tree, size_t index, int ret, uint8_t *block,
		       struct udf_icb *icb)
{
	const struct udf_volume_info *info = tree->check->info;
	struct node *node = &tree->nodes[index];
	struct udf_repair_step step = {
		.action = UDF_REPAIR_WRITE,
		.lbn = node->lbn,
		.bytes = block,
	};

	if (ret == -EUCLEAN && tree_mend_icb(tree, index, block)) {
		node->icb_mended = true;
		udf_check_found(tree->check, UDF_FINDING_ICB,
				UDF_FINDING_ERROR, tree_path(tree, index),
				node->lbn,
				"the checksums of its ICB in block %u are "
				"wrong, and nothing else of it seems to be",
				node->lbn);
		udf_check_fix(tree->check, &step, info->block_size,
			      tree_path(tree, index),
			      "its ICB gets new checksums, as all fields agree "
			      "with the volume; times, owner and permissions "
			      "may be wrong nonetheless");
		return tree_read_icb(tree, index, block, icb);
	}
	node->unreadable = true;
	node->icb_damaged = ret == -EUCLEAN;
	udf_check_found(tree->check, UDF_FINDING_ICB, UDF_FINDING_ERROR,
			tree_path(tree, index), node->lbn,
			"its ICB in block %u %s", node->lbn,
			node->icb_damaged ? "is damaged" : "cannot be read");
	tree->check->summary->unreadable |= !node->icb_damaged;
	return ret;
}

/* What an ICB says, at the first of its names. -ENOMEM. */
static int check_icb(struct tree *tree, size_t index)
{
	const struct udf_volume_info *info = tree->check->info;
	struct node *node = &tree->nodes[index];
	struct extents extents = { .list = NULL };
	struct udf_icb icb = { .unique_id = 0 };
	uint8_t *block = NULL;
	int ret = 0;

	block = malloc(info->block_size);
	if (block == NULL) {
		return -ENOMEM;
	}
	ret = tree_read_icb(tree, index, block, &icb);
	udf_check_use(tree->check, node->lbn, 1);
	if (ret < 0) {
		ret = damaged_icb(tree, index, ret, block, &icb);
	}
	if (ret < 0) {
		free(block);
		return 0;
	}

	node->recorded_links = icb.link_count;
	node->unique_id = icb.unique_id;
	node->is_stream_directory =
		icb.icbtag.file_type == UDF_FT_STREAM_DIRECTORY;
	node->is_directory = icb.icbtag.file_type == UDF_FT_DIRECTORY ||
			     node->is_stream_directory;
	if (icb.unique_id > tree->check->max_unique_id) {
		tree->check->max_unique_id = icb.unique_id;
	}
	if (icb.icbtag.strategy != 4) {
		tree_found(tree, UDF_FINDING_ICB, UDF_FINDING_NOTE, index,
		      "its ICB is of a strategy for write-once media");
	}
	ret = tree_extents(tree, index, &icb, &extents);
	if (ret < 0 && ret != -ENOMEM) {
		node->unreadable = true;
		tree->check->summary->unreadable = true;
		ret = 0;
	}
	tree_free_extents(&extents);
	if (ret == 0 && icb.icbtag.file_type != UDF_FT_EXTENDED_ATTRIBUTES) {
		ret = queue_part(tree, index, &icb.ea_icb, ATTRIBUTES);
	}
	if (ret == 0 && !tree->nodes[index].is_stream_directory) {
		ret = queue_part(tree, index, &icb.stream_dir_icb, STREAMS);
	}
	free(block);
	return ret;
}

/* The last finding: a file's streams or attributes are not what they say. */
static void detach(struct tree *tree, size_t index, const char *what)
{
	struct udf_repair_step step = {
		.action = UDF_REPAIR_DETACH,
		.lbn = tree->nodes[index].lbn,
	};

	if (strcmp(what, SYSTEM_STREAMS) == 0) {
		return;
	}
	step.offset = strcmp(what, STREAMS) == 0;
	udf_check_fix(tree->check, &step, 0, tree_path(tree, index),
		      "it has no %s any more: they are lost", what);
}

/* The ICB that belongs to a file's: it has no name and is its alone. */
static int queue_part(struct tree *tree, size_t index, const struct udf_ad *ad,
		      const char *what)
{
	uint32_t lbn = 0;
	size_t part = 0;
	int ret = 0;

	if (ad->length == 0) {
		return 0;
	}
	ret = udf_volume_address(tree->check->info, &ad->addr, 1, &lbn);
	if (ret < 0 || find_node(tree, lbn) != NO_NODE) {
		udf_check_found(tree->check, UDF_FINDING_STREAM,
				UDF_FINDING_ERROR, tree_path(tree, index),
				tree->nodes[index].lbn,
				"the ICB of its %s is %s", what,
				ret < 0 ? "outside the partition"
					: "in use by another file");
		detach(tree, index, what);
		return 0;
	}
	ret = add_node(tree, lbn, index, NULL, &part);
	if (ret == 0 && strcmp(what, SYSTEM_STREAMS) == 0) {
		/* They belong to no file, not even the root. */
		tree->nodes[part].parent = NO_NODE;
	}
	if (ret == 0) {
		ret = check_icb(tree, part);
	}
	if (ret == 0 && tree->nodes[part].icb_damaged) {
		detach(tree, index, what);
	}
	return ret;
}

/* The bytes of a directory, to be freed. -EUCLEAN, -EIO, -ENOMEM. */
static int read_directory(struct tree *tree, size_t index, uint8_t **_data,
			  uint64_t *size, bool *embedded)
{
	const struct udf_volume_info *info = tree->check->info;
	struct udf_volume *volume = tree->check->volume;
	uint32_t lbn = tree->nodes[index].lbn;
	struct extents extents = { .mend = tree->nodes[index].aeds_mended };
	struct udf_icb icb = { .unique_id = 0 };
	uint8_t *data = NULL;
	uint64_t at = 0;
	size_t i = 0;
	int ret = 0;

	ret = tree_read_icb(tree, index, tree->block, &icb);
	if (ret < 0) {
		return ret;
	}
	*size = icb.information_length;
	if (*size > tree->nodes[index].cut_at) {
		*size = tree->nodes[index].cut_at;
	}
	if (*size > DIRECTORY_BYTES_MAX ||
	    *size > (uint64_t)info->address_blocks * info->block_size) {
		return -EUCLEAN;
	}
	data = calloc(1, *size + info->block_size);
	if (data == NULL) {
		return -ENOMEM;
	}
	*embedded = (icb.icbtag.flags & UDF_ICB_AD_MASK) == UDF_AD_IN_ICB;
	if (*embedded) {
		memcpy(data, icb.ads, *size);
		*_data = data;
		return 0;
	}
	/* Their blocks were counted when the ICB was looked at, and what is
	 * wrong with them was said. */
	ret = tree_take_ads(tree, lbn, &icb, &extents);
	if (ret == -EUCLEAN && tree->nodes[index].cut_at != UINT64_MAX) {
		ret = 0;
	}
	for (i = 0; ret == 0 && i < extents.count && at < *size; i++) {
		const struct extent *e = &extents.list[i];
		uint64_t left = *size - at;
		uint32_t blocks = e->count;

		if ((uint64_t)blocks * info->block_size > left) {
			blocks = (uint32_t)((left + info->block_size - 1) /
					    info->block_size);
		}
		if (e->type == UDF_EXTENT_RECORDED) {
			ret = udf_volume_read(volume, e->lbn, blocks,
					      data + at);
		}
		at += (uint64_t)blocks * info->block_size;
	}
	tree_free_extents(&extents);
	if (ret < 0) {
		free(data);
		return ret;
	}
	*_data = data;
	return 0;
}

static void fid_name(const struct udf_fid *fid, char *name)
{
	if (udf_cs0_to_utf8(fid->name, fid->name_length, name, NAME_BYTES) <
	    0) {
		strcpy(name, "(a name that is none)");
	}
}

/* ".." must lead to where the directory is. */
static void check_parent(struct tree *tree, size_t index,
			 const struct udf_fid *fid)
{
	const struct node *node = &tree->nodes[index];
	uint32_t expected = node->parent == NO_NODE
				    ? node->lbn
				    : tree->nodes[node->parent].lbn;
	uint32_t lbn = UINT32_MAX;

	(void)udf_volume_address(tree->check->info, &fid->icb.addr, 1, &lbn);
	if (lbn != expected) {
		udf_check_found(tree->check, UDF_FINDING_PARENT,
				UDF_FINDING_ERROR, tree_path(tree, index),
				node->lbn,
				"its parent entry leads to block %u, not to "
				"the directory it is in, block %u",
				lbn, expected);
		udf_check_recount(tree->check);
	}
}

/* The last finding, about a name of a directory: it goes, or is changed. */
static void fix_name(struct tree *tree, size_t directory, uint64_t offset,
		     enum udf_repair_action action, const char *text,
		     const char *name)
{
	const struct udf_repair_step step = {
		.action = action,
		.directory = tree->nodes[directory].lbn,
		.offset = offset,
	};

	udf_check_fix(tree->check, &step, 0, tree_path(tree, directory),
		      "the name '%s' %s", name, text);
}

/* The node a name leads to, when nothing led there before. -ENOMEM. */
static int add_named(struct tree *tree, size_t directory, const char *name,
		     const struct udf_fid *fid, uint32_t lbn, size_t *index)
{
	bool streams = tree->nodes[directory].is_stream_directory;
	struct node *node = NULL;
	int ret = add_node(tree, lbn, directory, name, index);

	if (ret < 0) {
		return ret;
	}
	node = &tree->nodes[*index];
	node->in_stream_directory = streams;
	node->named_directory = (fid->characteristics & UDF_FID_DIRECTORY) != 0;
	node->named_unique_id = fid->icb.unique_id;
	ret = check_icb(tree, *index);
	if (ret < 0) {
		return ret;
	}
	node = &tree->nodes[*index];
	if (!streams && !node->unreadable) {
		tree->check->summary->directories += node->is_directory;
		tree->check->summary->files += !node->is_directory;
	}
	return 0;
}

/* Is what a name leads to one of those that have none? */
static bool is_part(const struct tree *tree, size_t index)
{
	const struct node *node = &tree->nodes[index];

	return index != ROOT && (node->name == NULL ||
				 node->is_stream_directory);
}

/* One name of a directory, with its FID at offset. -ENOMEM. */
static int check_name(struct tree *tree, size_t directory, uint64_t offset,
		      const struct udf_fid *fid)
{
	char name[NAME_BYTES] = "";
	struct node *node = NULL;
	uint32_t lbn = 0;
	size_t index = 0;
	int ret = 0;

	fid_name(fid, name);
	ret = udf_volume_address(tree->check->info, &fid->icb.addr, 1, &lbn);
	if (ret < 0) {
		udf_check_found(tree->check, UDF_FINDING_DIRECTORY,
				UDF_FINDING_ERROR, tree_path(tree, directory),
				tree->nodes[directory].lbn,
				"the name '%s' leads outside the partition",
				name);
		fix_name(tree, directory, offset, UDF_REPAIR_REMOVE_NAME,
			 "is removed: it leads nowhere", name);
		return 0;
	}
	if (fid->icb.unique_id > tree->check->max_unique_id) {
		tree->check->max_unique_id = fid->icb.unique_id;
	}
	index = find_node(tree, lbn);
	if (index == NO_NODE) {
		ret = add_named(tree, directory, name, fid, lbn, &index);
		if (ret < 0) {
			return ret;
		}
	} else if (tree->nodes[index].is_directory && !is_part(tree, index)) {
		udf_check_found(tree->check, UDF_FINDING_DIRECTORY,
				UDF_FINDING_ERROR, tree_path(tree, directory),
				tree->nodes[directory].lbn,
				"the directory '%s' has a second name here",
				name);
		udf_check_recount(tree->check);
	}
	node = &tree->nodes[index];
	if (node->icb_damaged) {
		fix_name(tree, directory, offset, UDF_REPAIR_REMOVE_NAME,
			 "is removed: the file is lost with its ICB", name);
	} else if (is_part(tree, index)) {
		udf_check_found(tree->check, UDF_FINDING_DIRECTORY,
				UDF_FINDING_ERROR, tree_path(tree, directory),
				tree->nodes[directory].lbn,
				"the name '%s' leads to streams or attributes "
				"of a file",
				name);
		fix_name(tree, directory, offset, UDF_REPAIR_REMOVE_NAME,
			 "is removed: it leads to no file", name);
		return 0;
	}
	node->links++;
	if (!node->unreadable &&
	    ((fid->characteristics & UDF_FID_DIRECTORY) != 0) !=
		    node->is_directory) {
		udf_check_found(tree->check, UDF_FINDING_DIRECTORY,
				UDF_FINDING_ERROR, tree_path(tree, directory),
				tree->nodes[directory].lbn,
				"the name '%s' is marked as that of a %s, "
				"which it is not",
				name, node->is_directory ? "file"
							 : "directory");
		fix_name(tree, directory, offset, UDF_REPAIR_MARK_NAME,
			 node->is_directory ? "is marked as a directory's"
					    : "is marked as a file's", name);
	}
	return 0;
}

int tree_compare_names(const void *a, const void *b)
{
	const struct tree_name *one = a;
	const struct tree_name *other = b;

	if (one->length != other->length) {
		return one->length < other->length ? -1 : 1;
	}
	return memcmp(one->bytes, other->bytes, one->length);
}

static void check_twice(struct tree *tree, size_t index,
			struct tree_name *names, size_t count)
{
	size_t i = 0;

	qsort(names, count, sizeof(*names), tree_compare_names);
	for (i = 1; i < count; i++) {
		struct udf_fid fid = {
			.name = names[i].bytes,
			.name_length = names[i].length,
		};
		char name[NAME_BYTES] = "";

		if (tree_compare_names(&names[i - 1], &names[i]) != 0) {
			continue;
		}
		fid_name(&fid, name);
		udf_check_found(tree->check, UDF_FINDING_DIRECTORY,
				UDF_FINDING_ERROR, tree_path(tree, index),
				tree->nodes[index].lbn,
				"the name '%s' is there twice", name);
		udf_check_recount(tree->check);
	}
}

uint64_t tree_damaged_bytes(const uint8_t *data, uint64_t offset,
			    uint64_t size)
{
	uint64_t at = offset;

	while (at < size) {
		struct udf_fid fid = { .name_length = 0 };

		if (decode_fid(&data[at], size - at, UDF_ANY_LOCATION, &fid) >
		    0) {
			break;
		}
		at += size - at < 4 ? size - at : 4;
	}
	return at - offset;
}

/* What is between the FIDs of a directory. *fixed: there is a step for it. */
static void report_damage(struct tree *tree, size_t index, uint64_t offset,
			  uint64_t length, bool *fixed)
{
	const struct udf_repair_step step = {
		.action = UDF_REPAIR_FILL,
		.directory = tree->nodes[index].lbn,
	};

	udf_check_found(tree->check, UDF_FINDING_DIRECTORY, UDF_FINDING_ERROR,
			tree_path(tree, index), tree->nodes[index].lbn,
			"%llu bytes from byte %llu on are no names: those "
			"that were there are lost",
			(unsigned long long)length,
			(unsigned long long)offset);
	if (*fixed) {
		udf_check_fixed(tree->check);
		return;
	}
	*fixed = true;
	udf_check_fix(tree->check, &step, 0, tree_path(tree, index),
		      "deleted names take the place of what is damaged; files "
		      "that have no name any more are looked for");
}

static void check_has_parent(struct tree *tree, size_t index)
{
	const struct node *node = &tree->nodes[index];
	const struct udf_repair_step step = {
		.action = UDF_REPAIR_PARENT,
		.directory = node->lbn,
		.lbn = node->parent == NO_NODE
			       ? node->lbn
			       : tree->nodes[node->parent].lbn,
	};

	tree_found(tree, UDF_FINDING_PARENT, UDF_FINDING_ERROR, index,
	      "it has no parent entry");
	udf_check_fix(tree->check, &step, 0, tree_path(tree, index),
		      "it gets a parent entry");
}

static int check_entries(struct tree *tree, size_t index, uint8_t *data,
			 uint64_t size, bool embedded)
{
	struct tree_name *names = NULL;
	size_t count = 0;
	uint64_t offset = 0;
	bool has_parent = false;
	bool mended = false;
	bool fixed = false;
	int ret = 0;

	names = calloc(size / UDF_FID_LEN + 1, sizeof(*names));
	if (names == NULL) {
		return -ENOMEM;
	}
	while (ret >= 0 && offset < size) {
		struct udf_fid fid = { .name_length = 0 };
		uint64_t at = offset;
		int length = decode_fid(&data[at], size - at, UDF_ANY_LOCATION,
					&fid);

		if (length <= 0) {
			uint64_t lost = 0;

			if (!mended) {
				mended = true;
				ret = tree_mend_names(tree, index, data, size,
						      embedded);
				continue;
			}
			lost = tree_damaged_bytes(data, at, size);
			report_damage(tree, index, at, lost, &fixed);
			offset += lost;
			continue;
		}
		offset += (uint64_t)length;
		if (fid.characteristics & UDF_FID_PARENT) {
			has_parent = true;
			check_parent(tree, index, &fid);
		} else if ((fid.characteristics & UDF_FID_DELETED) == 0) {
			names[count].bytes = fid.name;
			names[count].length = fid.name_length;
			count++;
			ret = check_name(tree, index, at, &fid);
		}
	}
	if (ret >= 0 && !has_parent) {
		check_has_parent(tree, index);
	}
	if (ret >= 0) {
		check_twice(tree, index, names, count);
	}
	free(names);
	return ret;
}

static int check_directory(struct tree *tree, size_t index)
{
	uint8_t *data = NULL;
	uint64_t size = 0;
	bool embedded = false;
	int ret = 0;

	ret = read_directory(tree, index, &data, &size, &embedded);
	if (ret == -ENOMEM) {
		return ret;
	}
	if (ret < 0) {
		udf_check_found(tree->check, UDF_FINDING_DIRECTORY,
				UDF_FINDING_ERROR, tree_path(tree, index),
				tree->nodes[index].lbn,
				"its names cannot be read: %s",
				ret == -EUCLEAN ? "its size makes no sense"
						: strerror(-ret));
		tree->check->summary->unreadable = true;
		return 0;
	}
	ret = check_entries(tree, index, data, size, embedded);
	free(data);
	return ret;
}

/* Each subdirectory's ".." is a link to its parent, but for streams'. */
static void count_parent_links(struct tree *tree)
{
	size_t i = 0;

	for (i = 0; i < tree->count; i++) {
		const struct node *node = &tree->nodes[i];

		if (node->is_directory && !node->is_stream_directory &&
		    node->parent != NO_NODE && !node->unreadable) {
			tree->nodes[node->parent].links++;
		}
	}
}

static void check_links(struct tree *tree, size_t index)
{
	const struct node *node = &tree->nodes[index];
	uint32_t expected = node->links;

	if (node->unreadable || (index != ROOT && node->name == NULL)) {
		return;
	}
	if (index == ROOT && node->recorded_links == expected + 1) {
		/* Its own ".." may count. */
		return;
	}
	if (node->recorded_links != expected) {
		udf_check_found(tree->check, UDF_FINDING_LINKS,
				UDF_FINDING_ERROR, tree_path(tree, index),
				node->lbn,
				"its link count is %u, but %u names lead to "
				"it",
				node->recorded_links, expected);
	}
}

static int compare_ids(const void *a, const void *b)
{
	const struct node *one = *(const struct node *const *)a;
	const struct node *other = *(const struct node *const *)b;

	if (one->unique_id != other->unique_id) {
		return one->unique_id < other->unique_id ? -1 : 1;
	}
	return one->lbn < other->lbn ? -1 : one->lbn > other->lbn;
}

static void fix_unique_id(struct tree *tree, size_t index)
{
	const struct node *node = &tree->nodes[index];
	const struct udf_repair_step step = {
		.action = UDF_REPAIR_UNIQUE_ID,
		.lbn = node->lbn,
		.directory = tree->nodes[node->parent].lbn,
	};

	udf_check_fix(tree->check, &step, 0, tree_path(tree, index),
		      "it gets a unique id of its own");
}

/* Is a node a file that has to have an id of its own? */
static bool has_own_id(const struct tree *tree, size_t index)
{
	const struct node *node = &tree->nodes[index];

	/* Streams have their file's. */
	return node->name != NULL && !node->in_stream_directory &&
	       !node->unreadable && !tree_is_defects(tree, index);
}

/*
 * Files without a unique id (0), where others have one: with all of them it is
 * a way of their writer, and does no harm.
 */
static void check_missing_ids(struct tree *tree, size_t with_id)
{
	size_t i = 0;

	for (i = 0; i < tree->count; i++) {
		if (!has_own_id(tree, i) || tree->nodes[i].unique_id != 0) {
			continue;
		}
		if (with_id == 0) {
			tree_found(tree, UDF_FINDING_UNIQUE_ID,
				   UDF_FINDING_NOTE, i,
				   "it has no unique id, like all files here");
			return;
		}
		tree_found(tree, UDF_FINDING_UNIQUE_ID, UDF_FINDING_ERROR, i,
			   "it has no unique id");
		fix_unique_id(tree, i);
	}
}

static int check_unique_ids(struct tree *tree)
{
	const struct node **sorted = NULL;
	size_t count = 0;
	size_t i = 0;

	sorted = calloc(tree->count + 1, sizeof(const struct node *));
	if (sorted == NULL) {
		return -ENOMEM;
	}
	for (i = 0; i < tree->count; i++) {
		if (has_own_id(tree, i) && tree->nodes[i].unique_id != 0) {
			sorted[count] = &tree->nodes[i];
			count++;
		}
	}
	check_missing_ids(tree, count);
	qsort(sorted, count, sizeof(const struct node *), compare_ids);
	for (i = 1; i < count; i++) {
		size_t index = (size_t)(sorted[i] - tree->nodes);

		if (sorted[i]->unique_id == sorted[i - 1]->unique_id) {
			udf_check_found(
				tree->check, UDF_FINDING_UNIQUE_ID,
				UDF_FINDING_ERROR, tree_path(tree, index),
				sorted[i]->lbn,
				"another file, in block %u, has its unique "
				"id, %llu",
				sorted[i - 1]->lbn,
				(unsigned long long)sorted[i]->unique_id);
			fix_unique_id(tree, index);
		}
	}
	free(sorted);
	return 0;
}

static int walk(struct tree *tree)
{
	const struct udf_check_options *options = tree->check->options;
	int ret = 0;

	while (tree->next_directory < tree->count && ret >= 0) {
		size_t index = tree->next_directory;

		tree->next_directory++;
		if (tree->nodes[index].is_directory &&
		    !tree->nodes[index].unreadable) {
			ret = check_directory(tree, index);
		}
		if (options->stop != NULL &&
		    options->stop(options->private_data)) {
			return -ECANCELED;
		}
		if (options->progress != NULL && index % PROGRESS_STEP == 0) {
			options->progress(options->private_data,
					  tree->check->summary->directories,
					  tree->check->summary->files);
		}
	}
	return ret;
}

static int use_run(void *private_data, const char *name, uint32_t lbn,
		   uint32_t count)
{
	(void)name;
	udf_check_use(private_data, lbn, count);
	return 0;
}

/* The root, in a block that will be written. */
static void add_new_root(struct tree *tree, size_t index)
{
	struct node *node = &tree->nodes[index];

	node->unreadable = true;
	node->icb_damaged = true;
	udf_check_found(tree->check, UDF_FINDING_ICB, UDF_FINDING_ERROR, "/",
			node->lbn,
			"the root directory is lost with the file set: no ICB "
			"of one is left");
}

/* The File Set Descriptor, and the root that it names. */
static int start(struct tree *tree, struct udf_fsd *fsd)
{
	const struct udf_volume_info *info = tree->check->info;
	uint32_t lbn = info->file_set;
	bool new_root = false;
	size_t index = 0;
	int ret = 0;

	udf_check_use(tree->check, info->file_set, 1);
	ret = udf_volume_read(tree->check->volume, lbn, 1, tree->block);
	if (ret == 0) {
		ret = decode_fsd(tree->block, info->block_size,
				 udf_volume_location(info, lbn).block, fsd);
	}
	if (ret == 0) {
		ret = udf_volume_address(info, &fsd->root_icb.addr, 1, &lbn);
	}
	if (ret < 0) {
		udf_check_found(tree->check, UDF_FINDING_DIRECTORY,
				UDF_FINDING_ERROR, NULL, info->file_set,
				"the File Set Descriptor %s: no file can be "
				"reached without it",
				ret == -EUCLEAN ? "is damaged"
						: "cannot be read");
	}
	if (ret == -EUCLEAN) {
		ret = tree_rebuild_file_set(tree, fsd, &new_root);
	}
	if (ret == 0) {
		ret = udf_volume_address(info, &fsd->root_icb.addr, 1, &lbn);
	}
	if (ret < 0) {
		return ret == -ENOMEM || ret == -ECANCELED ? ret : -EUCLEAN;
	}
	udf_check_use(tree->check, info->space_bitmap_block,
		      ((uint64_t)info->space_bitmap_bytes + info->block_size -
		       1) / info->block_size);
	(void)udf_volume_metadata_runs(tree->check->volume, use_run,
				       tree->check);
	tree->tag_version = fsd->tag.version;
	ret = add_node(tree, lbn, NO_NODE, NULL, &index);
	if (ret == 0) {
		tree->check->summary->directories++;
	}
	if (ret == 0 && new_root) {
		add_new_root(tree, index);
	} else if (ret == 0) {
		ret = check_icb(tree, index);
	}
	if (ret == 0 && tree->nodes[index].icb_damaged) {
		ret = tree_rebuild_directory(tree, index, fsd, true);
	}
	return ret;
}

/*
 * What follows the file set: a terminating descriptor, or other file sets.
 * The block behind them.
 */
static uint32_t use_after_file_set(struct tree *tree)
{
	const struct udf_volume_info *info = tree->check->info;
	uint32_t lbn = info->file_set;
	struct udf_tag tag = { .id = 0 };

	while (lbn + 1 < info->address_blocks) {
		lbn++;
		if (udf_volume_read(tree->check->volume, lbn, 1,
				    tree->block) < 0 ||
		    decode_tag(tree->block, info->block_size, &tag) < 0 ||
		    tag.location != udf_volume_location(info, lbn).block ||
		    (tag.id != UDF_TAG_FSD && tag.id != UDF_TAG_TD &&
		     tag.id != UDF_TAG_TERMINAL)) {
			return lbn;
		}
		udf_check_use(tree->check, lbn, 1);
	}
	return lbn + 1;
}

static int check_all(struct tree *tree)
{
	struct udf_fsd fsd = { .number = 0 };
	uint32_t file_set_end = 0;
	size_t i = 0;
	int ret = start(tree, &fsd);

	if (ret == -EUCLEAN) {
		/* Found and said. */
		tree->check->no_tree = true;
		return 0;
	}
	if (ret < 0) {
		return ret;
	}
	file_set_end = use_after_file_set(tree);
	if (fsd.system_stream_dir_icb.length > 0) {
		size_t index = tree->count;

		ret = queue_part(tree, ROOT, &fsd.system_stream_dir_icb,
				 SYSTEM_STREAMS);
		if (ret == 0 && index < tree->count &&
		    tree->nodes[index].icb_damaged) {
			ret = tree_rebuild_directory(tree, index, &fsd, false);
		}
	}
	if (ret == 0) {
		ret = walk(tree);
	}
	if (ret < 0) {
		return ret;
	}
	count_parent_links(tree);
	for (i = 0; i < tree->count; i++) {
		check_links(tree, i);
	}
	ret = tree_shared(tree, file_set_end);
	return ret == 0 ? check_unique_ids(tree) : ret;
}

int udf_check_tree(struct udf_check *check)
{
	struct tree tree = { .check = check };
	size_t i = 0;
	int ret = -ENOMEM;

	tree.block = malloc(check->info->block_size);
	if (tree.block != NULL) {
		ret = check_all(&tree);
	}
	for (i = 0; i < tree.count; i++) {
		free(tree.nodes[i].name);
	}
	free(tree.nodes);
	free(tree.slots);
	free(tree.taken);
	free(tree.block);
	return ret;
}
