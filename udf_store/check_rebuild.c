/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Where the tree begins, when that is damaged: the File Set Descriptor, the
 * root directory, the system stream directory. Each is a block that a repair
 * can write anew, when a search for ICBs leaves no doubt what belongs there
 * and that nobody else has the block. Without file set nothing tells where the
 * root was: when its ICB is lost, too, the new one gets a free block.
 *
 * The names of a directory are lost with it. What they led to gets a name in
 * lost+found, like all that no name leads to; and until that is done nothing
 * of it may become free, whatever mounts the volume meanwhile. So the new
 * directory has one name, which leads to no ICB: it makes a recovery keep all
 * blocks (recover.c), and goes when lost+found has the rest, as names do that
 * lead to a damaged ICB.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check_tree.h"

#define OLD_ROOT "the names of the old root directory"
#define OLD_STREAMS "the names of the old system streams"
#define DEFECTS_FILE "Non-Allocatable Space"
#define DEFECTS_STREAM "*UDF Non-Allocatable Space"

/* Named streams are there from this revision on. */
#define REVISION_STREAMS 0x0200u

/* UDF 2.3.2, 3.2.1.1: what the File Set Descriptor leads to has this id. */
#define UNIQUE_ID_OF_ROOT 0u

/* Blocks that are tried for a new root: each costs a search. */
#define VACANT_TRIES 8u

/* What a search has to find out. */
struct search {
	struct tree *tree;
	uint32_t place; /* the block that is to be written */
	bool place_is_taken;
	uint8_t *block; /* of a directory */
	/* Of each kind how many there are, and the last one. */
	uint32_t roots;
	uint32_t root;
	uint32_t other_root; /* the one before, of two and more */
	struct udf_tag tag; /* of a root, or else of any ICB */
	uint32_t stream_directories;
	uint32_t stream_directory;
	uint32_t defects_files;
	uint32_t defects_file;
};

static bool covers(uint32_t lbn, uint32_t count, uint32_t place)
{
	return place >= lbn && place - lbn < count;
}

/* Does ".." of a directory lead to itself? */
static bool is_its_parent(struct search *search, uint32_t lbn,
			  const struct udf_icb *icb,
			  const struct extents *extents)
{
	struct tree *tree = search->tree;
	const struct udf_volume_info *info = tree->check->info;
	const uint8_t *data = icb->ads;
	size_t length = icb->ad_length;
	struct udf_fid fid = { .name_length = 0 };
	uint32_t parent = 0;

	if ((icb->icbtag.flags & UDF_ICB_AD_MASK) != UDF_AD_IN_ICB) {
		if (extents->count == 0 ||
		    extents->list[0].type != UDF_EXTENT_RECORDED ||
		    udf_volume_read(tree->check->volume, extents->list[0].lbn,
				    1, search->block) < 0) {
			return false;
		}
		data = search->block;
		length = info->block_size;
	}
	return decode_fid(data, length, UDF_ANY_LOCATION, &fid) > 0 &&
	       (fid.characteristics & UDF_FID_PARENT) != 0 &&
	       udf_volume_address(info, &fid.icb.addr, 1, &parent) == 0 &&
	       parent == lbn;
}

/* The file that has the bad blocks (UDF 2.3.13): of no bytes, the system's. */
static bool is_defects(const struct udf_volume_info *info,
		       const struct udf_icb *icb, const struct extents *extents)
{
	bool is_stream = (icb->icbtag.flags & UDF_ICB_STREAM) != 0;
	size_t i = 0;

	if (icb->icbtag.file_type != UDF_FT_REGULAR ||
	    (icb->icbtag.flags & UDF_ICB_SYSTEM) == 0 ||
	    is_stream != (info->revision >= REVISION_STREAMS) ||
	    icb->information_length != 0) {
		return false;
	}
	for (i = 0; i < extents->count; i++) {
		if (extents->list[i].type != UDF_EXTENT_ALLOCATED) {
			return false;
		}
	}
	return true;
}

static void note_kind(struct search *search, uint32_t lbn,
		      const struct udf_icb *icb, const struct extents *extents)
{
	if (icb->unique_id != UNIQUE_ID_OF_ROOT) {
		return;
	}
	if (icb->icbtag.file_type == UDF_FT_DIRECTORY &&
	    is_its_parent(search, lbn, icb, extents)) {
		search->roots++;
		search->other_root = search->root;
		search->root = lbn;
		search->tag = icb->tag;
	} else if (icb->icbtag.file_type == UDF_FT_STREAM_DIRECTORY &&
		   is_its_parent(search, lbn, icb, extents)) {
		search->stream_directories++;
		search->stream_directory = lbn;
	} else if (is_defects(search->tree->check->info, icb, extents)) {
		search->defects_files++;
		search->defects_file = lbn;
	}
}

static int note_icb(void *private_data, uint32_t lbn, const struct udf_icb *icb)
{
	struct search *search = private_data;
	struct extents extents = { .list = NULL };
	size_t i = 0;
	int ret = 0;

	if ((icb->icbtag.flags & UDF_ICB_AD_MASK) != UDF_AD_IN_ICB) {
		ret = tree_take_ads(search->tree, lbn, icb, &extents);
	}
	for (i = 0; i < extents.count; i++) {
		const struct extent *e = &extents.list[i];

		search->place_is_taken |= e->type != UDF_EXTENT_HOLE &&
					  covers(e->lbn, e->count,
						 search->place);
	}
	for (i = 0; i < extents.aeds.count; i++) {
		search->place_is_taken |= covers(extents.aeds.runs[i].lbn,
						 extents.aeds.runs[i].count,
						 search->place);
	}
	if (search->tag.id == 0) {
		search->tag = icb->tag;
	}
	if (ret == 0) {
		note_kind(search, lbn, icb, &extents);
	}
	tree_free_extents(&extents);
	return ret == -ENOMEM ? ret : 0;
}

/* The same where only the checksums of a root may be wrong. */
static int note_damaged_root(void *private_data, uint32_t lbn,
			     const struct udf_icb *icb)
{
	return icb->icbtag.file_type == UDF_FT_DIRECTORY &&
			       icb->unique_id == UNIQUE_ID_OF_ROOT
		       ? note_icb(private_data, lbn, icb)
		       : 0;
}

static int note_run(void *private_data, const char *name, uint32_t lbn,
		    uint32_t count)
{
	struct search *search = private_data;

	(void)name;
	search->place_is_taken |= covers(lbn, count, search->place);
	return 0;
}

/* What is the volume's own has no ICB. */
static int note_volume(struct search *search)
{
	const struct udf_check *check = search->tree->check;
	const struct udf_volume_info *info = check->info;

	search->place_is_taken |=
		covers(info->space_bitmap_block,
		       info->space_bitmap_bytes / info->block_size +
			       (info->space_bitmap_bytes % info->block_size !=
				0),
		       search->place);
	return udf_volume_metadata_runs(check->volume, note_run, search);
}

/*
 * Look at all that is in use; with wants_root, also for a root of which only
 * the checksums are wrong. -ENOMEM, -ECANCELED.
 */
static int search_all(struct tree *tree, uint32_t place, bool wants_root,
		      struct search *search)
{
	uint8_t *taken = udf_check_taken(tree->check);
	int ret = -ENOMEM;

	*search = (struct search){
		.tree = tree,
		.place = place,
		.block = malloc(tree->check->info->block_size),
	};
	if (taken != NULL && search->block != NULL) {
		ret = note_volume(search);
	}
	if (ret == 0) {
		ret = udf_check_scan(tree->check, taken, false, note_icb,
				     search);
	}
	if (ret == 0 && wants_root && search->roots == 0) {
		ret = udf_check_scan(tree->check, taken, true,
				     note_damaged_root, search);
	}
	free(taken);
	free(search->block);
	return ret;
}

/* An address of an ICB, as directories and the file set have it. */
static struct udf_ad icb_address(const struct udf_volume_info *info,
				 uint32_t lbn)
{
	return (struct udf_ad){
		.length = info->block_size,
		.addr = udf_volume_location(info, lbn),
	};
}

/* The last finding: a block that is written. */
static void fix_block(struct tree *tree, uint32_t lbn, uint8_t *block,
		      const char *text)
{
	const struct udf_repair_step step = {
		.action = UDF_REPAIR_WRITE,
		.lbn = lbn,
		.bytes = block,
	};

	udf_check_fix(tree->check, &step, tree->check->info->block_size, NULL,
		      "%s", text);
}

/* The descriptor as it is but for its checksums, and the root it leads to. */
static bool mend_file_set(struct tree *tree, uint8_t *block,
			  struct udf_fsd *fsd, uint32_t *root)
{
	const struct udf_volume_info *info = tree->check->info;
	uint32_t location = udf_volume_location(info, info->file_set).block;

	return mend_tag(block, info->block_size, UDF_TAG_FSD, location) == 0 &&
	       decode_fsd(block, info->block_size, location, fsd) == 0 &&
	       udf_regid_is(&fsd->domain, UDF_DOMAIN_IDENTIFIER) &&
	       udf_volume_address(info, &fsd->root_icb.addr, 1, root) == 0;
}

/* A new one, for what was found. */
static int make_file_set(struct tree *tree, const struct search *search,
			 uint8_t *block, struct udf_fsd *fsd)
{
	const struct udf_volume_info *info = tree->check->info;

	*fsd = (struct udf_fsd){
		.tag.version = search->tag.version,
		.tag.serial = search->tag.serial,
		.tag.location =
			udf_volume_location(info, info->file_set).block,
		.root_icb = icb_address(info, search->root),
	};
	clock_gettime(CLOCK_REALTIME, &fsd->recorded);
	strcpy(fsd->label, info->label);
	strcpy(fsd->domain.identifier, UDF_DOMAIN_IDENTIFIER);
	fsd->domain.suffix[0] = (uint8_t)info->revision;
	fsd->domain.suffix[1] = (uint8_t)(info->revision >> 8);
	if (search->stream_directories == 1) {
		fsd->system_stream_dir_icb =
			icb_address(info, search->stream_directory);
	}
	return encode_fsd(fsd, block, info->block_size);
}

/* Say why there will be no file set. */
static int refuse(struct tree *tree, const char *format, ...)
{
	char why[256] = "";
	va_list ap;

	va_start(ap, format);
	vsnprintf(why, sizeof(why), format, ap);
	va_end(ap);
	udf_check_found(tree->check, UDF_FINDING_DIRECTORY, UDF_FINDING_NOTE,
			NULL, tree->check->info->file_set,
			"the file set is not made anew: %s", why);
	return -EUCLEAN;
}

/* Is there anything against a new file set? -EUCLEAN: yes. */
static int judge_search(struct tree *tree, const struct search *search)
{
	if (search->place_is_taken) {
		return refuse(tree, "its block %u is in use by something else",
			      tree->check->info->file_set);
	}
	if (search->roots > 1) {
		return refuse(tree,
			      "%u directories may be the root, among them "
			      "those with the ICBs in block %u and %u",
			      search->roots, search->other_root, search->root);
	}
	if (search->stream_directories > 1) {
		return refuse(tree,
			      "%u directories may have the system streams",
			      search->stream_directories);
	}
	if (search->roots == 0 && tree->check->unread > 0) {
		return refuse(tree,
			      "no root directory was found, but %u blocks "
			      "cannot be read: copy the medium, and repair the "
			      "copy",
			      tree->check->unread);
	}
	if (search->tag.id == 0) {
		return refuse(tree, "neither a file nor a directory was found");
	}
	return 0;
}

/* Is a free block free indeed, and nothing like a descriptor? */
static bool is_vacant(struct tree *tree, uint32_t lbn)
{
	const struct udf_volume_info *info = tree->check->info;
	struct udf_tag tag = { .id = 0 };

	return udf_volume_read(tree->check->volume, lbn, 1, tree->block) == 0 &&
	       (decode_tag(tree->block, info->block_size, &tag) < 0 ||
		tag.id == 0 ||
		tag.location != udf_volume_location(info, lbn).block);
}

/*
 * A block for a new root, where the file set is: free, and no file's that was
 * found. -EUCLEAN: there is none; -ENOMEM, -ECANCELED.
 */
static int find_vacant(struct tree *tree, uint32_t *place)
{
	const struct udf_volume_info *info = tree->check->info;
	bool is_mapped = info->file_set >= info->partition_blocks;
	uint32_t end = is_mapped ? info->address_blocks
				 : info->partition_blocks;
	const uint8_t *taken = tree_taken(tree);
	uint32_t tries = 0;
	uint32_t lbn = 0;

	if (taken == NULL) {
		return -ENOMEM;
	}
	for (lbn = is_mapped ? info->partition_blocks : 0;
	     lbn < end && tries < VACANT_TRIES; lbn++) {
		struct search search = { .roots = 0 };
		int ret = 0;

		if (udf_check_bit(taken, lbn) || !is_vacant(tree, lbn)) {
			continue;
		}
		tries++;
		ret = search_all(tree, lbn, false, &search);
		if (ret < 0) {
			return ret;
		}
		if (!search.place_is_taken) {
			*place = lbn;
			return 0;
		}
	}
	return -EUCLEAN;
}

/* A block for the root, and the step that takes it. */
static int place_root(struct tree *tree, uint32_t *root)
{
	int ret = find_vacant(tree, root);

	if (ret == 0) {
		ret = udf_check_take(tree->check, *root);
	}
	if (ret == -ENOMEM || ret == -ECANCELED || ret == 0) {
		return ret;
	}
	return refuse(tree, "there is no root directory any more, and no block "
			    "for another one: the volume is full, or its "
			    "space bitmap is damaged");
}

/*
 * Where the root is to be, which nothing is left of: where a File Set
 * Descriptor with wrong checksums says, if nobody else has that block, or else
 * in a free one. -EUCLEAN, -ENOMEM, -ECANCELED.
 */
static int choose_root(struct tree *tree, bool has_file_set, uint32_t said,
		       uint32_t *root, bool *new_root)
{
	const uint8_t *taken = tree_taken(tree);
	struct search search = { .roots = 0 };
	int ret = 0;

	*new_root = false;
	if (taken == NULL) {
		return -ENOMEM;
	}
	if (has_file_set && said != tree->check->info->file_set &&
	    udf_check_bit(taken, said)) {
		ret = search_all(tree, said, false, &search);
		if (ret < 0 || !search.place_is_taken) {
			*root = said;
			return ret;
		}
	}
	*new_root = true;
	return place_root(tree, root);
}

int tree_rebuild_file_set(struct tree *tree, struct udf_fsd *fsd,
			  bool *new_root)
{
	const struct udf_volume_info *info = tree->check->info;
	uint8_t *block = malloc(info->block_size);
	struct search search = { .roots = 0 };
	bool is_mended = false;
	uint32_t said = 0;
	int ret = -ENOMEM;

	if (block != NULL) {
		ret = udf_volume_read(tree->check->volume, info->file_set, 1,
				      block);
	}
	if (ret == 0) {
		is_mended = mend_file_set(tree, block, fsd, &said);
		ret = search_all(tree, info->file_set, true, &search);
	}
	if (ret == 0) {
		ret = judge_search(tree, &search);
	}
	if (ret == 0 && search.roots == 0) {
		ret = choose_root(tree, is_mended, said, &search.root,
				  new_root);
	}
	if (ret == 0 && is_mended && said == search.root) {
		fix_block(tree, info->file_set, block,
			  "the File Set Descriptor gets new checksums: all "
			  "else that it says agrees with the volume");
	} else if (ret == 0) {
		ret = make_file_set(tree, &search, block, fsd);
		if (ret == 0) {
			fix_block(tree, info->file_set, block,
				  *new_root
					  ? "the File Set Descriptor is made "
					    "anew, for a new root directory"
					  : "the File Set Descriptor is made "
					    "anew, for the root directory that "
					    "was found; the names of its "
					    "copyright and abstract files are "
					    "lost");
		}
	}
	free(block);
	return ret;
}

/* A directory that is being made. */
struct new_directory {
	struct tree *tree;
	uint32_t lbn;
	struct udf_tag tag; /* version and serial as the file set has them */
	uint8_t data[512];
	size_t length;
};

/* A name that leads to lbn; NULL: "..". */
static int add_fid(struct new_directory *directory, const char *name,
		   uint32_t lbn, uint8_t characteristics)
{
	const struct udf_volume_info *info = directory->tree->check->info;
	uint8_t cs0[UDF_NAME_MAX];
	struct udf_fid fid = {
		.tag = directory->tag,
		.version_number = 1,
		.characteristics = characteristics,
		.icb = icb_address(info, lbn),
		.name = cs0,
	};
	int ret = 0;

	if (name != NULL) {
		ret = udf_utf8_to_cs0(name, strlen(name), cs0, sizeof(cs0));
		if (ret < 0) {
			return ret;
		}
		fid.name_length = (uint8_t)ret;
	}
	ret = encode_fid(&fid, directory->data + directory->length,
			 sizeof(directory->data) - directory->length);
	if (ret < 0) {
		return ret;
	}
	directory->length += (size_t)ret;
	return 0;
}

/* Its ICB, with all of it inside. */
static int encode_directory(const struct new_directory *directory,
			    uint8_t file_type, uint8_t *block)
{
	const struct udf_volume_info *info = directory->tree->check->info;
	struct udf_icb icb = {
		.tag = directory->tag,
		.icbtag.strategy = 4,
		.icbtag.max_entries = 1,
		.icbtag.file_type = file_type,
		.icbtag.flags = UDF_AD_IN_ICB,
		.permissions = UDF_PERM_READ | UDF_PERM_EXECUTE |
			       (UDF_PERM_READ | UDF_PERM_EXECUTE)
				       << UDF_PERM_GROUP_SHIFT |
			       (UDF_PERM_READ | UDF_PERM_EXECUTE |
				UDF_PERM_WRITE | UDF_PERM_CHATTR |
				UDF_PERM_DELETE)
				       << UDF_PERM_OWNER_SHIFT,
		.link_count = 1,
		.information_length = directory->length,
		.object_size = directory->length,
		.checkpoint = 1,
		.ads = directory->data,
		.ad_length = (uint32_t)directory->length,
	};
	int ret = 0;

	icb.tag.id = info->revision >= REVISION_STREAMS ? UDF_TAG_EFE
							: UDF_TAG_FE;
	clock_gettime(CLOCK_REALTIME, &icb.modification);
	icb.access = icb.modification;
	icb.creation = icb.modification;
	icb.attribute = icb.modification;
	udf_our_regid(&icb.implementation);
	ret = encode_icb(&icb, block, info->block_size);
	return ret < 0 ? ret : 0;
}

static int make_directory(struct new_directory *directory,
			  const struct search *search, bool is_root,
			  uint8_t *block)
{
	const struct udf_volume_info *info = directory->tree->check->info;
	bool has_streams = info->revision >= REVISION_STREAMS;
	int ret = add_fid(directory, NULL, directory->lbn,
			  UDF_FID_PARENT | UDF_FID_DIRECTORY);

	if (ret == 0 && search->defects_files == 1 && is_root != has_streams) {
		ret = add_fid(directory,
			      is_root ? DEFECTS_FILE : DEFECTS_STREAM,
			      search->defects_file,
			      is_root ? UDF_FID_HIDDEN : UDF_FID_METADATA);
	}
	if (ret == 0) {
		/* It leads to no ICB; see above. */
		ret = add_fid(directory, is_root ? OLD_ROOT : OLD_STREAMS,
			      info->file_set, 0);
	}
	if (ret == 0) {
		ret = encode_directory(directory,
				       is_root ? UDF_FT_DIRECTORY
					       : UDF_FT_STREAM_DIRECTORY,
				       block);
	}
	return ret;
}

int tree_rebuild_directory(struct tree *tree, size_t index,
			   const struct udf_fsd *fsd, bool is_root)
{
	const struct udf_volume_info *info = tree->check->info;
	uint32_t lbn = tree->nodes[index].lbn;
	struct new_directory directory = {
		.tree = tree,
		.lbn = lbn,
		.tag.version = fsd->tag.version,
		.tag.serial = fsd->tag.serial,
		.tag.location = udf_volume_location(info, lbn).block,
	};
	struct search search = { .roots = 0 };
	uint8_t *block = NULL;
	int ret = search_all(tree, lbn, false, &search);

	if (ret < 0) {
		return ret;
	}
	if (search.place_is_taken || lbn == info->file_set ||
	    search.defects_files > 1 || (is_root && search.roots > 0)) {
		/* It may be that the way to it is what is wrong. */
		return 0;
	}
	block = malloc(info->block_size);
	if (block == NULL) {
		return -ENOMEM;
	}
	ret = make_directory(&directory, &search, is_root, block);
	if (ret == 0) {
		fix_block(tree, lbn, block,
			  is_root ? "the root directory is made anew: what "
				    "was in it gets a name in /lost+found"
				  : "the system stream directory is made "
				    "anew, with the Non-Allocatable Space if "
				    "that was found; other streams get a name "
				    "in /lost+found");
	}
	free(block);
	return ret == -ENOMEM ? ret : 0;
}
