/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A directory to the medium: the stages in which a commit writes it. See
 * directory.h, and commit.c for their order.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "directory_data.h"
#include "state.h"

/*
 * Put back, in a copy that begins at from, what removals have changed; of
 * replaced names not from their stage on.
 */
static void undo_removals(const struct udf_directory *directory,
			  enum udf_directory_stage stage, uint8_t *copy,
			  uint32_t from, uint32_t length)
{
	for (size_t i = 0; i < directory->removed.count; i++) {
		const struct removed_fid *r = &directory->removed.items[i];

		if ((stage == UDF_STAGE_REPLACED && r->replaced) ||
		    r->offset + FID_HEAD <= from ||
		    r->offset >= from + length) {
			continue;
		}
		for (uint32_t k = 0; k < FID_HEAD; k++) {
			uint32_t at = r->offset + k;

			if (at >= from && at - from < length) {
				copy[at - from] = r->head[k];
			}
		}
	}
}

/* Which removed FIDs have a successor of their name? Are there any? */
static bool find_replaced(struct udf_directory *directory)
{
	bool any = false;

	for (size_t i = 0; i < directory->removed.count; i++) {
		struct removed_fid *r = &directory->removed.items[i];

		r->replaced = udf_name_index_has_fresh(&directory->index,
						       r->hash);
		any = any || r->replaced;
	}
	return any;
}

static int store_embedded(struct udf_node *node, bool any_replaced,
			  const struct udf_directory_sink *sink)
{
	struct udf_directory *directory = node->directory;
	uint8_t *copy = NULL;
	int ret = 0;

	if (node->fresh) {
		return sink->store_embedded(sink->private_data, node,
					    directory->data, UDF_STAGE_NEW);
	}
	copy = malloc(directory->size + 1);
	if (copy == NULL) {
		return -ENOMEM;
	}
	for (enum udf_directory_stage stage = UDF_STAGE_NAMES;
	     stage <= UDF_STAGE_REMOVED && ret == 0; stage++) {
		if (stage == UDF_STAGE_REPLACED && !any_replaced) {
			continue;
		}
		if (stage != UDF_STAGE_NAMES && directory->removed.count == 0) {
			continue;
		}
		memcpy(copy, directory->data, directory->size);
		if (stage != UDF_STAGE_REMOVED) {
			undo_removals(directory, stage, copy, 0,
				      directory->size);
		}
		ret = sink->store_embedded(sink->private_data, node, copy,
					   stage);
	}
	free(copy);
	return ret;
}

static int store_blocks(struct udf_node *node, bool any_replaced,
			const struct udf_directory_sink *sink)
{
	struct udf_directory *directory = node->directory;
	uint32_t block_size = node->fs->info->block_size;
	uint32_t blocks = (directory->size + block_size - 1) / block_size;
	uint8_t *copy = malloc(block_size);
	int ret = 0;

	if (copy == NULL) {
		return -ENOMEM;
	}
	for (uint32_t b = 0; b < blocks && ret == 0; b++) {
		uint8_t flags = directory->block_flags[b];
		uint32_t from = b * block_size;
		uint32_t lbn = udf_directory_lbn(node, from);

		if (node->fresh) {
			if (flags & (BLOCK_ADDED | BLOCK_REMOVED)) {
				ret = sink->store(sink->private_data, lbn,
						  &directory->data[from],
						  UDF_STAGE_NEW);
			}
			continue;
		}
		if (flags & BLOCK_ADDED) {
			memcpy(copy, &directory->data[from], block_size);
			undo_removals(directory, UDF_STAGE_NAMES, copy, from,
				      block_size);
			ret = sink->store(sink->private_data, lbn, copy,
					  UDF_STAGE_NAMES);
		}
		if (ret == 0 && any_replaced && (flags & BLOCK_REMOVED)) {
			memcpy(copy, &directory->data[from], block_size);
			undo_removals(directory, UDF_STAGE_REPLACED, copy,
				      from, block_size);
			ret = sink->store(sink->private_data, lbn, copy,
					  UDF_STAGE_REPLACED);
		}
		if (ret == 0 && (flags & BLOCK_REMOVED)) {
			ret = sink->store(sink->private_data, lbn,
					  &directory->data[from],
					  UDF_STAGE_REMOVED);
		}
	}
	free(copy);
	return ret;
}

int udf_directory_store(struct udf_node *node,
			const struct udf_directory_sink *sink)
{
	struct udf_directory *directory = node->directory;
	bool any_replaced = find_replaced(directory);
	int ret = 0;

	if (node->embedded) {
		ret = store_embedded(node, any_replaced, sink);
	} else {
		ret = store_blocks(node, any_replaced, sink);
	}
	if (ret < 0) {
		return ret;
	}
	memset(directory->block_flags, 0, directory->block_flags_count);
	directory->removing = directory->removed;
	directory->removed = (struct removed_list){ .items = NULL };
	udf_hash_set_clear(&directory->removed_names);
	directory->retargeted.count = 0;
	directory->index.generation++;
	return 0;
}

void udf_directory_stored(struct udf_node *node, bool good)
{
	struct udf_directory *directory = node->directory;

	if (directory == NULL) {
		return;
	}
	if (good) {
		for (size_t i = 0; i < directory->removing.count; i++) {
			const struct removed_fid *r =
				&directory->removing.items[i];

			udf_directory_add_slot(directory, r->offset, r->length);
		}
	} else if (directory->size > 0) {
		/* Their slots wait for the next mount; all is written again,
		 * without the order that this commit could not keep. */
		udf_directory_mark(node, 0, directory->size,
			    BLOCK_ADDED | BLOCK_REMOVED);
	}
	free(directory->removing.items);
	directory->removing = (struct removed_list){ .items = NULL };
}

void udf_directory_moved(struct udf_node *node)
{
	struct udf_directory *directory = node->directory;

	if (directory->size == 0) {
		return;
	}
	/* It can only fail on a FID that we could not have read. */
	(void)udf_directory_relocate(node);
	udf_directory_mark(node, 0, directory->size, BLOCK_ADDED);
}
