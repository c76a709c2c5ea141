/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * FIDs of which only the tag's checksum or CRC is wrong, for the check of the
 * tree (check_tree.h).
 *
 * A FID may get new checksums only when it lies exactly between others, and
 * leads to an ICB that is valid and agrees with all that the FID says of it:
 * else the name is lost, and its file gets another one in lost+found. How a
 * name is spelt nothing else tells: that may still be what was damaged. So a
 * name that the directory has already is never made out of it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "bytes.h"
#include "check_tree.h"
#include "osta.h"

#define NAME_BYTES 1024
#define FID_FLAGS                                                             \
	(UDF_FID_HIDDEN | UDF_FID_DIRECTORY | UDF_FID_PARENT | UDF_FID_METADATA)

/* Named streams, and unique ids in FIDs, are there from this revision on. */
#define REVISION_STREAMS 0x0200u

/* A FID that may get new checksums. */
struct mended {
	uint64_t offset;
	uint32_t length;
	bool dropped; /* its name is there twice */
};

struct mending {
	struct tree *tree;
	size_t directory;
	bool embedded;
	uint8_t *data; /* of the directory: whole blocks, unless it is embedded */
	uint64_t size;
	uint32_t *lbns; /* of its blocks; UINT32_MAX: a hole */
	uint64_t blocks;
	uint8_t *fid;	/* one of them, with other checksums */
	uint8_t *block; /* an ICB */
	struct mended *list;
	size_t count;
	size_t capacity;
};

/* Where the blocks of a directory are. -EUCLEAN, -EIO, -ENOMEM. */
static int find_blocks(struct mending *mending)
{
	struct tree *tree = mending->tree;
	const struct udf_volume_info *info = tree->check->info;
	const struct node *node = &tree->nodes[mending->directory];
	struct extents extents = { .mend = node->aeds_mended };
	struct udf_icb icb = { .unique_id = 0 };
	uint64_t at = 0;
	size_t i = 0;
	int ret = 0;

	mending->blocks = mending->size / info->block_size +
			  (mending->size % info->block_size != 0);
	mending->lbns = malloc((mending->blocks + 1) * sizeof(uint32_t));
	if (mending->lbns == NULL) {
		return -ENOMEM;
	}
	memset(mending->lbns, 0xFF, mending->blocks * sizeof(uint32_t));
	ret = tree_read_icb(tree, mending->directory, mending->block, &icb);
	if (ret == 0) {
		ret = tree_take_ads(tree, node->lbn, &icb, &extents);
	}
	if (ret == -EUCLEAN && node->cut_at != UINT64_MAX) {
		/* What is before the damage. */
		ret = 0;
	}
	for (i = 0; i < extents.count && ret == 0; i++) {
		const struct extent *e = &extents.list[i];
		uint32_t k = 0;

		for (k = 0; k < e->count && at < mending->blocks; k++) {
			if (e->type == UDF_EXTENT_RECORDED) {
				mending->lbns[at] = e->lbn + k;
			}
			at++;
		}
	}
	tree_free_extents(&extents);
	return ret;
}

/* The block that a byte of the directory is in; UINT32_MAX: none. */
static uint32_t lbn_at(const struct mending *mending, uint64_t offset)
{
	const struct tree *tree = mending->tree;

	return mending->embedded
		       ? tree->nodes[mending->directory].lbn
		       : mending->lbns[offset / tree->check->info->block_size];
}

/* What the tag of a FID has to say, but for its checksums. */
static bool begins_like_fid(const struct mending *mending, uint64_t offset)
{
	const struct tree *tree = mending->tree;
	const uint8_t *p = mending->data + offset;
	uint32_t lbn = 0;

	if (offset >= mending->size || mending->size - offset < UDF_FID_LEN) {
		return false;
	}
	lbn = lbn_at(mending, offset);
	return lbn != UINT32_MAX && get_le16(p) == UDF_TAG_FID &&
	       get_le16(p + 2) == tree->tag_version &&
	       get_le32(p + 12) ==
		       udf_volume_location(tree->check->info, lbn).block;
}

/* Can this be a name that somebody gave? */
static bool name_is_valid(const struct udf_fid *fid)
{
	char name[NAME_BYTES] = "";

	return udf_cs0_to_utf8(fid->name, fid->name_length, name,
			       sizeof(name)) > 0 &&
	       strchr(name, '/') == NULL;
}

/* Of an ICB that it leads to: is it the one? */
static bool icb_agrees(const struct mending *mending, const struct udf_fid *fid,
		       const struct udf_icb *icb)
{
	const struct tree *tree = mending->tree;
	const struct node *directory = &tree->nodes[mending->directory];
	uint8_t type = icb->icbtag.file_type;
	bool is_stream = (icb->icbtag.flags & UDF_ICB_STREAM) != 0;
	bool has_id = fid->icb.unique_id == (uint32_t)icb->unique_id ||
		      (fid->icb.unique_id == 0 &&
		       tree->check->info->revision < REVISION_STREAMS);

	if (icb->icbtag.strategy != 4 || icb->link_count == 0 ||
	    type == UDF_FT_STREAM_DIRECTORY ||
	    type == UDF_FT_EXTENDED_ATTRIBUTES ||
	    ((fid->characteristics & UDF_FID_DIRECTORY) != 0) !=
		    (type == UDF_FT_DIRECTORY) ||
	    is_stream != directory->is_stream_directory) {
		return false;
	}
	if (is_stream) {
		return type != UDF_FT_DIRECTORY &&
		       icb->unique_id == directory->unique_id;
	}
	/* A further name has an id of its own (UDF 3.3.5.1). */
	return has_id || (type != UDF_FT_DIRECTORY && icb->link_count > 1);
}

static bool leads_to_its_file(struct mending *mending,
			      const struct udf_fid *fid, uint32_t lbn)
{
	struct tree *tree = mending->tree;
	struct udf_check *check = tree->check;
	const struct udf_volume_info *info = check->info;
	const uint8_t *taken = tree_taken(tree);
	struct udf_icb icb = { .unique_id = 0 };

	return taken != NULL && udf_check_bit(taken, lbn) &&
	       udf_volume_read(check->volume, lbn, 1, mending->block) == 0 &&
	       decode_icb(mending->block, info->block_size,
			  udf_volume_location(info, lbn).block, &icb) == 0 &&
	       icb_agrees(mending, fid, &icb) &&
	       /* One with a single name has none so far. */
	       (icb.link_count > 1 || !udf_check_bit(check->used, lbn));
}

static bool leads_to_parent(const struct mending *mending, uint32_t lbn)
{
	const struct tree *tree = mending->tree;
	const struct node *node = &tree->nodes[mending->directory];

	return lbn == (node->parent == NO_NODE
			       ? node->lbn
			       : tree->nodes[node->parent].lbn);
}

static bool fields_are_valid(const struct mending *mending,
			     const struct udf_fid *fid, uint32_t length)
{
	size_t bare = UDF_FID_LEN + fid->name_length + fid->impl_use_length;
	uint16_t crc_length = get_le16(mending->fid + 10);
	size_t i = 0;

	for (i = bare; i < length; i++) {
		if (mending->fid[i] != 0) {
			return false;
		}
	}
	return (crc_length == length - UDF_TAG_LEN ||
		crc_length == bare - UDF_TAG_LEN) &&
	       fid->version_number == 1 &&
	       (fid->characteristics & ~FID_FLAGS) == 0 &&
	       (fid->impl_use_length == 0 ||
		(fid->impl_use_length % 4 == 0 &&
		 fid->impl_use_length >= UDF_REGID_LEN)) &&
	       fid->icb.type == UDF_EXTENT_RECORDED &&
	       fid->icb.length == mending->tree->check->info->block_size;
}

/*
 * Is there a FID at an offset, before an end, but for its checksums? Its
 * length; 0: there is none.
 */
static uint32_t try_fid(struct mending *mending, uint64_t offset, uint64_t end)
{
	const struct udf_volume_info *info = mending->tree->check->info;
	const uint8_t *p = mending->data + offset;
	struct udf_fid fid = { .name_length = 0 };
	uint32_t length = 0;
	uint32_t lbn = 0;

	if (!begins_like_fid(mending, offset)) {
		return 0;
	}
	length = (uint32_t)udf_fid_size(p[19], get_le16(p + 36));
	if (length > end - offset) {
		return 0;
	}
	memcpy(mending->fid, p, length);
	if (mend_tag(mending->fid, length, UDF_TAG_FID, get_le32(p + 12)) < 0 ||
	    decode_fid(mending->fid, length, UDF_ANY_LOCATION, &fid) <= 0 ||
	    !fields_are_valid(mending, &fid, length) ||
	    udf_volume_address(info, &fid.icb.addr, 1, &lbn) < 0) {
		return 0;
	}
	if ((fid.characteristics & UDF_FID_PARENT) != 0) {
		return fid.name_length == 0 && leads_to_parent(mending, lbn)
			       ? length
			       : 0;
	}
	return name_is_valid(&fid) && leads_to_its_file(mending, &fid, lbn)
		       ? length
		       : 0;
}

static int add_mended(struct mending *mending, uint64_t offset, uint32_t length)
{
	struct mended *list = udf_array_grow(mending->list, mending->count,
					     &mending->capacity, sizeof(*list));

	if (list == NULL) {
		return -ENOMEM;
	}
	mending->list = list;
	mending->list[mending->count] = (struct mended){
		.offset = offset,
		.length = length,
	};
	mending->count++;
	return 0;
}

/* Between two offsets no FID is valid: those that may be. -ENOMEM. */
static int look_between(struct mending *mending, uint64_t offset, uint64_t end)
{
	uint64_t at = offset;

	while (at < end) {
		uint32_t length = try_fid(mending, at, end);
		int ret = 0;

		if (length == 0 || (at + length < end &&
				    !begins_like_fid(mending, at + length))) {
			at += end - at < 4 ? end - at : 4;
			continue;
		}
		ret = add_mended(mending, at, length);
		if (ret < 0) {
			return ret;
		}
		at += length;
	}
	return 0;
}

static int look_at_all(struct mending *mending)
{
	uint64_t at = 0;
	int ret = 0;

	while (at < mending->size && ret == 0) {
		struct udf_fid fid = { .name_length = 0 };
		uint64_t bad = tree_damaged_bytes(mending->data, at,
						  mending->size);

		if (bad > 0) {
			ret = look_between(mending, at, at + bad);
			at += bad;
		} else {
			at += (uint64_t)decode_fid(mending->data + at,
						   mending->size - at,
						   UDF_ANY_LOCATION, &fid);
		}
	}
	return ret;
}

/* A name of the directory; mended: what makes it one, NULL: it is valid. */
static struct tree_name name_at(const struct mending *mending, uint64_t offset,
				struct mended *mended)
{
	const uint8_t *p = mending->data + offset;

	return (struct tree_name){
		.bytes = p + UDF_FID_LEN + get_le16(p + 36),
		.length = p[19],
		.of = mended,
	};
}

/* All names that are valid, ".." too, and those that may be. How many. */
static size_t list_names(const struct mending *mending,
			 struct tree_name *names)
{
	size_t count = 0;
	size_t next = 0;
	uint64_t at = 0;

	while (at < mending->size) {
		struct udf_fid fid = { .name_length = 0 };
		struct mended *mended = next < mending->count
						? &mending->list[next]
						: NULL;
		int length = 0;

		if (mended != NULL && mended->offset == at) {
			names[count] = name_at(mending, at, mended);
			count++;
			next++;
			at += mended->length;
			continue;
		}
		length = decode_fid(mending->data + at, mending->size - at,
				    UDF_ANY_LOCATION, &fid);
		if (length > 0 && (fid.characteristics & UDF_FID_DELETED) == 0) {
			names[count] = name_at(mending, at, NULL);
			count++;
		}
		at += length > 0 ? (uint64_t)length : 4;
	}
	return count;
}

static void drop(struct mended *mended)
{
	if (mended != NULL) {
		mended->dropped = true;
	}
}

/* Names that would be there twice are not to be. -ENOMEM. */
static int drop_twice(struct mending *mending)
{
	struct tree_name *names = calloc(mending->size / UDF_FID_LEN + 1,
					 sizeof(*names));
	size_t count = 0;
	size_t i = 0;

	if (names == NULL) {
		return -ENOMEM;
	}
	count = list_names(mending, names);
	qsort(names, count, sizeof(*names), tree_compare_names);
	for (i = 1; i < count; i++) {
		if (tree_compare_names(&names[i - 1], &names[i]) == 0) {
			drop(names[i - 1].of);
			drop(names[i].of);
		}
	}
	free(names);
	return 0;
}

/* The block of the directory with all its names, in mending->block. */
static int encode_block(struct mending *mending, uint32_t lbn, uint64_t number)
{
	struct tree *tree = mending->tree;
	uint32_t size = tree->check->info->block_size;
	struct udf_icb icb = { .unique_id = 0 };
	int ret = 0;

	if (!mending->embedded) {
		memcpy(mending->block, mending->data + number * size, size);
		return 0;
	}
	ret = tree_read_icb(tree, mending->directory, mending->block, &icb);
	if (ret < 0) {
		return ret;
	}
	memcpy(mending->block + (icb.ads - mending->block), mending->data,
	       mending->size);
	return mend_tag(mending->block, size, get_le16(mending->block),
			udf_volume_location(tree->check->info, lbn).block);
}

/* The last finding: write one of the directory's blocks. */
static void fix_block(struct mending *mending, uint64_t number)
{
	struct tree *tree = mending->tree;
	uint32_t size = tree->check->info->block_size;
	struct udf_repair_step step = {
		.action = UDF_REPAIR_WRITE,
		.lbn = lbn_at(mending, number * size),
		.bytes = mending->block,
	};

	if (step.lbn != UINT32_MAX &&
	    encode_block(mending, step.lbn, number) == 0) {
		udf_check_fix(tree->check, &step, size,
			      tree_path(tree, mending->directory),
			      "names in block %u get new checksums, as they "
			      "agree with the files that they lead to; how "
			      "they are spelt may be wrong nonetheless",
			      step.lbn);
	}
}

static void report_name(struct mending *mending, const struct mended *mended)
{
	struct tree *tree = mending->tree;
	const struct tree_name name = name_at(mending, mended->offset, NULL);
	char text[NAME_BYTES] = "";

	(void)udf_cs0_to_utf8(name.bytes, name.length, text, sizeof(text));
	udf_check_found(tree->check, UDF_FINDING_DIRECTORY, UDF_FINDING_ERROR,
			tree_path(tree, mending->directory),
			tree->nodes[mending->directory].lbn,
			"the checksums of %s%s%s are wrong, and nothing else "
			"of it seems to be",
			name.length > 0 ? "the name '" : "its parent entry",
			text, name.length > 0 ? "'" : "");
}

/* Say what was found, and write each block once. */
static void report_all(struct mending *mending)
{
	uint32_t size = mending->tree->check->info->block_size;
	uint64_t written = 0; /* blocks before this one are */
	size_t i = 0;

	for (i = 0; i < mending->count; i++) {
		const struct mended *mended = &mending->list[i];
		uint64_t first = mended->offset / size;
		uint64_t last = (mended->offset + UDF_TAG_LEN - 1) / size;

		if (mended->dropped) {
			continue;
		}
		report_name(mending, mended);
		first = mending->embedded ? 0 : first;
		last = mending->embedded ? 0 : last;
		if (last < written) {
			udf_check_fixed(mending->tree->check);
			continue;
		}
		for (first = first < written ? written : first; first <= last;
		     first++) {
			fix_block(mending, first);
		}
		written = last + 1;
	}
}

/* The names get their checksums in memory. */
static void mend_all(struct mending *mending)
{
	size_t i = 0;

	for (i = 0; i < mending->count; i++) {
		const struct mended *mended = &mending->list[i];
		uint8_t *p = mending->data + mended->offset;

		if (!mended->dropped) {
			(void)mend_tag(p, mended->length, UDF_TAG_FID,
				       get_le32(p + 12));
		}
	}
}

int tree_mend_names(struct tree *tree, size_t index, uint8_t *data,
		    uint64_t size, bool embedded)
{
	struct mending mending = {
		.tree = tree,
		.directory = index,
		.embedded = embedded,
		.data = data,
		.size = size,
	};
	int ret = -ENOMEM;

	mending.fid = malloc(UDF_FID_MAX_LEN);
	mending.block = malloc(tree->check->info->block_size);
	if (mending.fid != NULL && mending.block != NULL) {
		ret = embedded ? 0 : find_blocks(&mending);
	}
	if (ret == 0) {
		ret = look_at_all(&mending);
	}
	if (ret == 0 && mending.count > 0) {
		ret = drop_twice(&mending);
	}
	if (ret == 0 && mending.count > 0) {
		mend_all(&mending);
		report_all(&mending);
	}
	free(mending.lbns);
	free(mending.fid);
	free(mending.block);
	free(mending.list);
	return ret == -ENOMEM ? ret : 0;
}
