/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Checking the tree of directories: ICBs, extents, names, link counts, unique
 * ids, streams (ECMA-167 4/8 to 4/14, UDF 2.3, 3.2.1, 3.3.5).
 *
 * Directories are in a list, so depth costs no stack; an ICB is looked at
 * once, so circles end; no file can have more blocks than the partition, which
 * bounds every chain.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check_state.h"
#include "ecma167.h"
#include "osta.h"

#define PATH_MAX_SHOWN 4096
#define DIRECTORY_BYTES_MAX (UINT64_C(1) << 30)
#define PROGRESS_STEP 256u
#define NO_NODE SIZE_MAX
#define ROOT 0u /* the first node */
#define NAME_BYTES 1024
#define SYSTEM_STREAMS "system streams"

/* An ICB that something refers to. */
struct node {
	uint32_t lbn;
	bool is_directory;
	bool is_stream_directory;
	bool in_stream_directory;
	bool unreadable;
	uint16_t recorded_links;
	uint32_t links; /* found */
	uint64_t unique_id;
	size_t parent; /* the first that names it; NO_NODE: the root */
	char *name;    /* there */
};

struct tree {
	struct udf_check *check;
	struct node *nodes;
	size_t count;
	size_t capacity;
	size_t *slots; /* of nodes, by lbn; a power of two of them */
	size_t slot_count;
	size_t next_directory; /* nodes before it have been read */
	uint8_t *block;
	char path[PATH_MAX_SHOWN];
};

/* The extents of one file. */
struct extent {
	enum udf_extent_type type;
	uint32_t lbn;
	uint32_t count; /* blocks */
	uint32_t bytes;
};

struct extents {
	struct extent *list;
	size_t count;
	size_t capacity;
	uint64_t bytes;
	uint64_t blocks; /* that are allocated */
	bool ended;
	bool has_next;
	uint32_t next_aed;
};

/* The path of a node, from the root on, cut off at the front if too long. */
static const char *path_of(struct tree *tree, size_t index)
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

static void found(struct tree *tree, enum udf_finding_kind kind,
		  enum udf_finding_severity severity, size_t index,
		  const char *text)
{
	udf_check_found(tree->check, kind, severity, path_of(tree, index),
			tree->nodes[index].lbn, "%s", text);
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
	if (tree->count == tree->capacity) {
		size_t capacity = tree->capacity == 0 ? 256
						      : tree->capacity * 2;

		node = reallocarray(tree->nodes, capacity, sizeof(*node));
		if (node == NULL) {
			return -ENOMEM;
		}
		tree->nodes = node;
		tree->capacity = capacity;
	}
	node = &tree->nodes[tree->count];
	*node = (struct node){ .lbn = lbn, .parent = parent };
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

static int extents_add(struct extents *extents, const struct extent *extent)
{
	if (extents->count == extents->capacity) {
		size_t capacity = extents->capacity == 0
					  ? 16
					  : extents->capacity * 2;
		struct extent *list = NULL;

		list = reallocarray(extents->list, capacity, sizeof(*list));
		if (list == NULL) {
			return -ENOMEM;
		}
		extents->list = list;
		extents->capacity = capacity;
	}
	extents->list[extents->count] = *extent;
	extents->count++;
	return 0;
}

/* One allocation descriptor. -EUCLEAN: it leads nowhere. */
static int take_ad(struct tree *tree, struct extents *extents,
		   const struct udf_ad *ad)
{
	const struct udf_volume_info *info = tree->check->info;
	struct extent extent = { .type = ad->type, .bytes = ad->length };
	int ret = 0;

	if (ad->type == UDF_EXTENT_NEXT) {
		extents->ended = true;
		extents->has_next = ad->length > 0;
		if (!extents->has_next) {
			return 0;
		}
		return udf_volume_address(info, &ad->addr, 1,
					  &extents->next_aed);
	}
	if (ad->length == 0) {
		extents->ended = true;
		return 0;
	}
	extent.count = ad->length / info->block_size +
		       (ad->length % info->block_size != 0);
	if (ad->type != UDF_EXTENT_HOLE) {
		ret = udf_volume_address(info, &ad->addr, extent.count,
					 &extent.lbn);
		if (ret < 0) {
			return ret;
		}
		extents->blocks += extent.count;
		if (extents->blocks > info->address_blocks) {
			return -EUCLEAN;
		}
	}
	if (extents->bytes > (uint64_t)INT64_MAX - ad->length) {
		return -EUCLEAN;
	}
	extents->bytes += ad->length;
	return extents_add(extents, &extent);
}

static int take_ads(struct tree *tree, struct extents *extents,
		    enum udf_ad_form form, uint16_t partition,
		    const uint8_t *ads, size_t length)
{
	size_t offset = 0;

	extents->ended = false;
	extents->has_next = false;
	while (!extents->ended && length - offset >= udf_ad_size(form)) {
		struct udf_ad ad = { .length = 0 };
		int ret = decode_ad(&ads[offset], length - offset, form,
				    partition, &ad);

		if (ret < 0) {
			return ret;
		}
		offset += (size_t)ret;
		ret = take_ad(tree, extents, &ad);
		if (ret < 0) {
			return ret;
		}
	}
	return 0;
}

/* All extents of a file, its AEDs among the used blocks. */
static int take_all_ads(struct tree *tree, size_t index,
			const struct udf_icb *icb, struct extents *extents)
{
	const struct udf_volume_info *info = tree->check->info;
	const uint32_t lbn = tree->nodes[index].lbn;
	const uint16_t partition = udf_volume_location(info, lbn).partition;
	enum udf_ad_form form = icb->icbtag.flags & UDF_ICB_AD_MASK;
	uint8_t *block = NULL;
	uint32_t steps = 0;
	int ret = 0;

	if (udf_ad_size(form) == 0) {
		return -EUCLEAN;
	}
	ret = take_ads(tree, extents, form, partition, icb->ads,
		       icb->ad_length);
	if (ret < 0 || !extents->has_next) {
		return ret;
	}
	block = malloc(info->block_size);
	if (block == NULL) {
		return -ENOMEM;
	}
	while (ret == 0 && extents->has_next) {
		struct udf_aed aed = { .ad_length = 0 };
		uint32_t at = extents->next_aed;

		if (steps == info->address_blocks) {
			/* A circle. */
			ret = -EUCLEAN;
			break;
		}
		steps++;
		ret = udf_volume_read(tree->check->volume, at, 1, block);
		if (ret == 0) {
			ret = decode_aed(block, info->block_size,
					 udf_volume_location(info, at).block,
					 &aed);
		}
		if (ret == 0) {
			udf_check_use(tree->check, path_of(tree, index), at, 1);
			ret = take_ads(tree, extents, form, partition, aed.ads,
				       aed.ad_length);
		}
	}
	free(block);
	return ret;
}

/* What a file's size and its extents say of each other. */
static void check_size(struct tree *tree, size_t index,
		       const struct udf_icb *icb,
		       const struct extents *extents)
{
	uint32_t block_size = tree->check->info->block_size;
	uint64_t at = 0;
	size_t i = 0;

	for (i = 0; i < extents->count; i++) {
		const struct extent *e = &extents->list[i];

		if (at < icb->information_length && at % block_size != 0) {
			found(tree, UDF_FINDING_EXTENT, UDF_FINDING_ERROR,
			      index,
			      "an extent before the last is not whole blocks");
			return;
		}
		if (at >= icb->information_length &&
		    e->type != UDF_EXTENT_ALLOCATED) {
			found(tree, UDF_FINDING_EXTENT, UDF_FINDING_NOTE,
			      index,
			      "extents behind the end of the file are "
			      "recorded, or holes");
			return;
		}
		at += e->bytes;
	}
	if (at < icb->information_length) {
		udf_check_found(tree->check, UDF_FINDING_EXTENT,
				UDF_FINDING_ERROR, path_of(tree, index),
				tree->nodes[index].lbn,
				"it is %llu bytes long, but its extents have "
				"only %llu",
				(unsigned long long)icb->information_length,
				(unsigned long long)at);
	}
}

static int check_extents(struct tree *tree, size_t index,
			 const struct udf_icb *icb, struct extents *extents)
{
	const char *path = NULL;
	size_t i = 0;
	int ret = 0;

	if ((icb->icbtag.flags & UDF_ICB_AD_MASK) == UDF_AD_IN_ICB) {
		if (icb->information_length > icb->ad_length) {
			found(tree, UDF_FINDING_EXTENT, UDF_FINDING_ERROR,
			      index,
			      "its data does not fit its ICB, in which it is");
			return -EUCLEAN;
		}
		return 0;
	}
	ret = take_all_ads(tree, index, icb, extents);
	path = path_of(tree, index);
	for (i = 0; i < extents->count; i++) {
		if (extents->list[i].type != UDF_EXTENT_HOLE) {
			udf_check_use(tree->check, path, extents->list[i].lbn,
				      extents->list[i].count);
		}
	}
	if (ret == -ENOMEM) {
		return ret;
	}
	if (ret < 0) {
		udf_check_found(tree->check, UDF_FINDING_EXTENT,
				UDF_FINDING_ERROR, path,
				tree->nodes[index].lbn,
				"its allocation descriptors lead outside the "
				"partition, in a circle, or cannot be read");
		return ret;
	}
	check_size(tree, index, icb, extents);
	return 0;
}

static int queue_part(struct tree *tree, size_t index, const struct udf_ad *ad,
		      const char *what);

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
	ret = udf_volume_read(tree->check->volume, node->lbn, 1, block);
	if (ret == 0) {
		ret = decode_icb(block, info->block_size,
				 udf_volume_location(info, node->lbn).block,
				 &icb);
	}
	udf_check_use(tree->check, path_of(tree, index), node->lbn, 1);
	if (ret < 0) {
		node->unreadable = true;
		udf_check_found(tree->check, UDF_FINDING_ICB,
				UDF_FINDING_ERROR, path_of(tree, index),
				node->lbn, "its ICB in block %u %s", node->lbn,
				ret == -EIO ? "cannot be read" : "is damaged");
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
		found(tree, UDF_FINDING_ICB, UDF_FINDING_NOTE, index,
		      "its ICB is of a strategy for write-once media");
	}
	ret = check_extents(tree, index, &icb, &extents);
	if (ret < 0 && ret != -ENOMEM) {
		node->unreadable = true;
		ret = 0;
	}
	free(extents.list);
	if (ret == 0 && icb.icbtag.file_type != UDF_FT_EXTENDED_ATTRIBUTES) {
		ret = queue_part(tree, index, &icb.ea_icb, "attributes");
	}
	if (ret == 0 && !tree->nodes[index].is_stream_directory) {
		ret = queue_part(tree, index, &icb.stream_dir_icb, "streams");
	}
	free(block);
	return ret;
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
				UDF_FINDING_ERROR, path_of(tree, index),
				tree->nodes[index].lbn,
				"the ICB of its %s is %s", what,
				ret < 0 ? "outside the partition"
					: "in use by another file");
		return 0;
	}
	ret = add_node(tree, lbn, index, NULL, &part);
	if (ret == 0 && strcmp(what, SYSTEM_STREAMS) == 0) {
		/* They belong to no file, not even the root. */
		tree->nodes[part].parent = NO_NODE;
	}
	return ret < 0 ? ret : check_icb(tree, part);
}

/* The bytes of a directory, to be freed. -EUCLEAN, -EIO, -ENOMEM. */
static int read_directory(struct tree *tree, size_t index, uint8_t **_data,
			  uint64_t *size, bool *embedded)
{
	const struct udf_volume_info *info = tree->check->info;
	struct udf_volume *volume = tree->check->volume;
	uint32_t lbn = tree->nodes[index].lbn;
	struct extents extents = { .list = NULL };
	struct udf_icb icb = { .unique_id = 0 };
	uint8_t *data = NULL;
	uint64_t at = 0;
	size_t i = 0;
	int ret = 0;

	ret = udf_volume_read(volume, lbn, 1, tree->block);
	if (ret == 0) {
		ret = decode_icb(tree->block, info->block_size,
				 udf_volume_location(info, lbn).block, &icb);
	}
	if (ret < 0) {
		return ret;
	}
	*size = icb.information_length;
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
	/* Their blocks were counted when the ICB was looked at. */
	ret = take_ads(tree, &extents, icb.icbtag.flags & UDF_ICB_AD_MASK,
		       udf_volume_location(info, lbn).partition, icb.ads,
		       icb.ad_length);
	while (ret == 0 && extents.has_next) {
		struct udf_aed aed = { .ad_length = 0 };
		uint32_t next = extents.next_aed;

		ret = udf_volume_read(volume, next, 1, tree->block);
		if (ret == 0) {
			ret = decode_aed(tree->block, info->block_size,
					 udf_volume_location(info, next).block,
					 &aed);
		}
		if (ret == 0) {
			ret = take_ads(tree, &extents,
				       icb.icbtag.flags & UDF_ICB_AD_MASK,
				       udf_volume_location(info, lbn).partition,
				       aed.ads, aed.ad_length);
		}
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
	free(extents.list);
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
				UDF_FINDING_ERROR, path_of(tree, index),
				node->lbn,
				"its parent entry leads to block %u, not to "
				"the directory it is in, block %u",
				lbn, expected);
	}
}

/* One name of a directory. -ENOMEM. */
static int check_name(struct tree *tree, size_t directory,
		      const struct udf_fid *fid)
{
	bool streams = tree->nodes[directory].is_stream_directory;
	char name[NAME_BYTES] = "";
	struct node *node = NULL;
	uint32_t lbn = 0;
	size_t index = 0;
	int ret = 0;

	fid_name(fid, name);
	ret = udf_volume_address(tree->check->info, &fid->icb.addr, 1, &lbn);
	if (ret < 0) {
		udf_check_found(tree->check, UDF_FINDING_DIRECTORY,
				UDF_FINDING_ERROR, path_of(tree, directory),
				tree->nodes[directory].lbn,
				"the name '%s' leads outside the partition",
				name);
		return 0;
	}
	if (fid->icb.unique_id > tree->check->max_unique_id) {
		tree->check->max_unique_id = fid->icb.unique_id;
	}
	index = find_node(tree, lbn);
	if (index == NO_NODE) {
		ret = add_node(tree, lbn, directory, name, &index);
		if (ret < 0) {
			return ret;
		}
		tree->nodes[index].in_stream_directory = streams;
		ret = check_icb(tree, index);
		if (ret < 0) {
			return ret;
		}
		node = &tree->nodes[index];
		if (!streams && !node->unreadable) {
			tree->check->summary->directories +=
				node->is_directory;
			tree->check->summary->files += !node->is_directory;
		}
	} else if (tree->nodes[index].is_directory) {
		udf_check_found(tree->check, UDF_FINDING_DIRECTORY,
				UDF_FINDING_ERROR, path_of(tree, directory),
				tree->nodes[directory].lbn,
				"the directory '%s' has a second name here",
				name);
	}
	node = &tree->nodes[index];
	node->links++;
	if (!node->unreadable &&
	    ((fid->characteristics & UDF_FID_DIRECTORY) != 0) !=
		    node->is_directory) {
		udf_check_found(tree->check, UDF_FINDING_DIRECTORY,
				UDF_FINDING_ERROR, path_of(tree, directory),
				tree->nodes[directory].lbn,
				"the name '%s' is marked as that of a %s, "
				"which it is not",
				name, node->is_directory ? "file"
							 : "directory");
	}
	return 0;
}

/* Compare names as recorded, for those that are twice in a directory. */
struct name {
	const uint8_t *bytes;
	uint8_t length;
};

static int compare_names(const void *a, const void *b)
{
	const struct name *one = a;
	const struct name *other = b;

	if (one->length != other->length) {
		return one->length < other->length ? -1 : 1;
	}
	return memcmp(one->bytes, other->bytes, one->length);
}

static void check_twice(struct tree *tree, size_t index, struct name *names,
			size_t count)
{
	size_t i = 0;

	qsort(names, count, sizeof(*names), compare_names);
	for (i = 1; i < count; i++) {
		struct udf_fid fid = {
			.name = names[i].bytes,
			.name_length = names[i].length,
		};
		char name[NAME_BYTES] = "";

		if (compare_names(&names[i - 1], &names[i]) != 0) {
			continue;
		}
		fid_name(&fid, name);
		udf_check_found(tree->check, UDF_FINDING_DIRECTORY,
				UDF_FINDING_ERROR, path_of(tree, index),
				tree->nodes[index].lbn,
				"the name '%s' is there twice", name);
	}
}

static int check_entries(struct tree *tree, size_t index, const uint8_t *data,
			 uint64_t size)
{
	struct name *names = NULL;
	size_t count = 0;
	uint64_t offset = 0;
	bool has_parent = false;
	int ret = 0;

	names = calloc(size / UDF_FID_LEN + 1, sizeof(*names));
	if (names == NULL) {
		return -ENOMEM;
	}
	while (ret >= 0 && offset < size) {
		struct udf_fid fid = { .name_length = 0 };
		int length = decode_fid(&data[offset], size - offset,
					UDF_ANY_LOCATION, &fid);

		if (length <= 0) {
			udf_check_found(tree->check, UDF_FINDING_DIRECTORY,
					UDF_FINDING_ERROR,
					path_of(tree, index),
					tree->nodes[index].lbn,
					"what follows its byte %llu is no "
					"name: all behind it is lost",
					(unsigned long long)offset);
			break;
		}
		offset += (uint64_t)length;
		if (fid.characteristics & UDF_FID_PARENT) {
			has_parent = true;
			check_parent(tree, index, &fid);
		} else if ((fid.characteristics & UDF_FID_DELETED) == 0) {
			names[count].bytes = fid.name;
			names[count].length = fid.name_length;
			count++;
			ret = check_name(tree, index, &fid);
		}
	}
	if (ret >= 0 && !has_parent) {
		found(tree, UDF_FINDING_PARENT, UDF_FINDING_ERROR, index,
		      "it has no parent entry");
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
				UDF_FINDING_ERROR, path_of(tree, index),
				tree->nodes[index].lbn,
				"its names cannot be read: %s",
				strerror(-ret));
		return 0;
	}
	ret = check_entries(tree, index, data, size);
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
				UDF_FINDING_ERROR, path_of(tree, index),
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

/* Streams have their file's id; foreign writers may give none (0). */
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
		const struct node *node = &tree->nodes[i];

		if (node->name != NULL && !node->in_stream_directory &&
		    !node->unreadable && node->unique_id != 0) {
			sorted[count] = node;
			count++;
		}
	}
	qsort(sorted, count, sizeof(const struct node *), compare_ids);
	for (i = 1; i < count; i++) {
		size_t index = (size_t)(sorted[i] - tree->nodes);

		if (sorted[i]->unique_id == sorted[i - 1]->unique_id) {
			udf_check_found(
				tree->check, UDF_FINDING_UNIQUE_ID,
				UDF_FINDING_ERROR, path_of(tree, index),
				sorted[i]->lbn,
				"another file, in block %u, has its unique "
				"id, %llu",
				sorted[i - 1]->lbn,
				(unsigned long long)sorted[i]->unique_id);
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

/* The File Set Descriptor, and the root that it names. */
static int start(struct tree *tree, struct udf_fsd *fsd)
{
	const struct udf_volume_info *info = tree->check->info;
	uint32_t lbn = info->file_set;
	size_t index = 0;
	int ret = 0;

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
				"the File Set Descriptor is damaged: %s",
				strerror(-ret));
		return -EUCLEAN;
	}
	udf_check_use(tree->check, "(file set)", info->file_set, 1);
	udf_check_use(tree->check, "(space bitmap)", info->space_bitmap_block,
		      ((uint64_t)info->space_bitmap_bytes + info->block_size -
		       1) / info->block_size);
	ret = add_node(tree, lbn, NO_NODE, NULL, &index);
	if (ret == 0) {
		tree->check->summary->directories++;
		ret = check_icb(tree, index);
	}
	return ret;
}

/* What follows the file set: a terminating descriptor, or other file sets. */
static void use_after_file_set(struct tree *tree)
{
	const struct udf_volume_info *info = tree->check->info;
	uint32_t lbn = info->file_set;
	struct udf_tag tag = { .id = 0 };

	while (lbn + 1 < info->partition_blocks) {
		lbn++;
		if (udf_volume_read(tree->check->volume, lbn, 1,
				    tree->block) < 0 ||
		    decode_tag(tree->block, info->block_size, &tag) < 0 ||
		    tag.location != lbn ||
		    (tag.id != UDF_TAG_FSD && tag.id != UDF_TAG_TD &&
		     tag.id != UDF_TAG_TERMINAL)) {
			return;
		}
		udf_check_use(tree->check, "(file set)", lbn, 1);
	}
}

static int check_all(struct tree *tree)
{
	struct udf_fsd fsd = { .number = 0 };
	size_t i = 0;
	int ret = start(tree, &fsd);

	if (ret == -EUCLEAN) {
		/* Found and said; there is no tree. */
		return 0;
	}
	if (ret < 0) {
		return ret;
	}
	use_after_file_set(tree);
	if (fsd.system_stream_dir_icb.length > 0) {
		ret = queue_part(tree, 0, &fsd.system_stream_dir_icb,
				 SYSTEM_STREAMS);
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
	return check_unique_ids(tree);
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
	free(tree.block);
	return ret;
}
