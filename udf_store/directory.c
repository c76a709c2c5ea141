/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A directory in memory. See directory.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "bytes.h"
#include "directory_data.h"
#include "file.h"
#include "state.h"

/* Directories beyond are not loaded: 16 million names and more. */
#define DIRECTORY_SIZE_MAX (1u << 30)

/* A directory of one extent has at least so many free blocks behind it when it
 * was moved; a longer one than the other is not moved. */
#define GATHER_ROOM_MIN 8u
#define GATHER_BLOCKS_MAX (1u << 16)

/* What bad packets are given to (UDF 2.3.13): in the root until 1.50, later a
 * system stream. Nobody may read it, and to remove it would free them. */
#define NON_ALLOCATABLE_SPACE "Non-Allocatable Space"

/* The name of a deleted FID (UDF 2.00 2.1.1) is unlike any other: its first
 * byte says that it had 8 or 16 bit characters. Some readers know a deleted FID
 * by nothing else. */
#define DELETED_COMPRESSION_ID 254u
#define DELETED_COMPRESSION_ID_16 255u

/*
 * The name of a FID as we show it. One that a path component cannot be, or
 * that is no CS0, is shown with the bad characters replaced and a '#' and the
 * CRC of its bytes behind, so that it can be reached.
 */
static void fid_shown_name(const struct udf_fid *fid, char *name)
{
	int length = udf_cs0_to_utf8(fid->name, fid->name_length, name,
				     UDF_NAME_UTF8_MAX + 1);
	bool bad = length <= 0;

	if (bad) {
		strcpy(name, "_");
		length = 1;
	}
	for (int i = 0; i < length; i++) {
		if (name[i] == '/') {
			name[i] = '_';
			bad = true;
		}
	}
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
		memset(name, '_', (size_t)length);
		bad = true;
	}
	if (bad) {
		uint16_t crc = udf_crc16(0, fid->name, fid->name_length);
		static const char digits[] = "0123456789abcdef";

		name[length++] = '#';
		for (int shift = 12; shift >= 0; shift -= 4) {
			name[length++] = digits[(crc >> shift) & 15];
		}
		name[length] = '\0';
	}
}

void udf_directory_free(struct udf_directory *directory)
{
	if (directory == NULL) {
		return;
	}
	for (size_t i = 0; i < SLOT_CLASSES; i++) {
		free(directory->slots[i].offsets);
	}
	free(directory->duplicates.offsets);
	free(directory->retargeted.items);
	udf_hash_set_clear(&directory->removed_names);
	free(directory->removed.items);
	free(directory->removing.items);
	udf_name_index_free(&directory->index);
	free(directory->block_flags);
	free(directory->data);
	free(directory);
}

size_t udf_directory_footprint(const struct udf_directory *directory)
{
	size_t bytes = sizeof(*directory);

	if (directory == NULL) {
		return 0;
	}
	bytes += directory->capacity;
	bytes += directory->index.entry_capacity *
		 sizeof(*directory->index.entries);
	bytes += directory->index.bucket_count *
		 sizeof(*directory->index.buckets);
	bytes += directory->duplicates.capacity *
		 sizeof(*directory->duplicates.offsets);
	return bytes;
}

static struct udf_directory *directory_alloc(void)
{
	struct udf_directory *directory = calloc(1, sizeof(*directory));

	if (directory == NULL) {
		return NULL;
	}
	directory->parent_offset = UDF_NO_ENTRY;
	if (udf_name_index_init(&directory->index) < 0) {
		free(directory);
		return NULL;
	}
	return directory;
}

/* A FID at an offset. Returns its size or -EUCLEAN. */
static int fid_at(const struct udf_directory *directory, uint32_t offset,
		  struct udf_fid *fid)
{
	if (offset >= directory->size) {
		return -EUCLEAN;
	}
	return decode_fid(&directory->data[offset], directory->size - offset,
			  UDF_ANY_LOCATION, fid);
}

/*
 * The first FID at or after *offset. Returns its size; 0: there is none.
 * Bytes that are no FID are passed over.
 */
static int fid_next(const struct udf_directory *directory, uint32_t *offset,
		    struct udf_fid *fid)
{
	while (*offset < directory->size &&
	       directory->size - *offset >= UDF_FID_LEN) {
		/* Mostly it is none at the first look, where there is none. */
		bool may_be = get_le16(&directory->data[*offset]) ==
			      UDF_TAG_FID;
		int size = may_be ? fid_at(directory, *offset, fid) : 0;

		if (size > 0) {
			return size;
		}
		*offset += 4;
	}
	return 0;
}

static int slot_list_add(struct slot_class *list, uint32_t offset)
{
	uint32_t *offsets = udf_array_grow(list->offsets, list->count,
					   &list->capacity, sizeof(*offsets));

	if (offsets == NULL) {
		return -ENOMEM;
	}
	list->offsets = offsets;
	list->offsets[list->count++] = offset;
	return 0;
}

void udf_directory_add_slot(struct udf_directory *directory, uint32_t offset,
		     uint32_t length)
{
	if (length < FID_MIN || length > SECTOR || length % 4 != 0) {
		return;
	}
	if (offset / SECTOR != (offset + length - 1) / SECTOR) {
		return;
	}
	(void)slot_list_add(&directory->slots[length / 4], offset);
}

/* The offset of a name's FID; UDF_NO_ENTRY: it is not there. */
static uint32_t index_find(const struct udf_directory *directory,
			   const char *name, uint32_t hash)
{
	const struct udf_name_entry *e = NULL;
	uint32_t position = UDF_NO_ENTRY;
	char shown[UDF_SHOWN_NAME_MAX];

	for (;;) {
		struct udf_fid fid = { .name_length = 0 };

		e = udf_name_index_next(&directory->index, hash, &position);
		if (e == NULL) {
			return UDF_NO_ENTRY;
		}
		if (fid_at(directory, e->offset, &fid) > 0) {
			fid_shown_name(&fid, shown);
			if (strcmp(shown, name) == 0) {
				return e->offset;
			}
		}
	}
}

/*
 * Index one FID. Of two with one name the older FID is shown: an interrupted
 * commit can leave such behind (commit.c), and nobody was told yet that the
 * newer one is there.
 */
static int index_fid(struct udf_directory *directory, uint32_t offset,
		     uint32_t length, const struct udf_fid *fid)
{
	char name[UDF_SHOWN_NAME_MAX];
	struct udf_fid other = { .name_length = 0 };
	uint32_t other_offset = 0;
	uint32_t hash = 0;
	int ret = 0;

	if (fid->characteristics & UDF_FID_DELETED) {
		udf_directory_add_slot(directory, offset, length);
		return 0;
	}
	if (fid->characteristics & UDF_FID_PARENT) {
		if (directory->parent_offset == UDF_NO_ENTRY) {
			directory->parent_offset = offset;
		}
		return 0;
	}
	if (fid->name_length == 0) {
		return 0;
	}
	fid_shown_name(fid, name);
	hash = udf_name_hash(name);
	ret = udf_name_index_reserve(&directory->index);
	if (ret < 0) {
		return ret;
	}
	other_offset = index_find(directory, name, hash);
	if (other_offset != UDF_NO_ENTRY) {
		if (fid_at(directory, other_offset, &other) > 0 &&
		    other.icb.unique_id <= fid->icb.unique_id) {
			return slot_list_add(&directory->duplicates, offset);
		}
		ret = slot_list_add(&directory->duplicates, other_offset);
		if (ret < 0) {
			return ret;
		}
		udf_name_index_remove(&directory->index, hash, other_offset);
	}
	udf_name_index_add(&directory->index, hash, offset, false);
	return 0;
}

bool udf_directory_is_damaged(const struct udf_node *node)
{
	return node->directory != NULL && node->directory->damaged;
}

/* Make room for size bytes. */
static int data_reserve(struct udf_directory *directory, uint32_t size,
			uint32_t block_size)
{
	uint32_t capacity = directory->capacity;
	uint32_t blocks = 0;
	uint8_t *data = NULL;
	uint8_t *flags = NULL;

	if (size <= capacity) {
		return 0;
	}
	while (capacity < size) {
		capacity = capacity < block_size ? block_size : capacity * 2;
	}
	blocks = capacity / block_size;
	data = realloc(directory->data, capacity);
	if (data == NULL) {
		return -ENOMEM;
	}
	memset(&data[directory->capacity], 0, capacity - directory->capacity);
	directory->data = data;
	flags = realloc(directory->block_flags, blocks);
	if (flags == NULL) {
		return -ENOMEM;
	}
	memset(&flags[directory->block_flags_count], 0,
	       blocks - directory->block_flags_count);
	directory->block_flags = flags;
	directory->block_flags_count = blocks;
	directory->capacity = capacity;
	return 0;
}

static int directory_read(struct udf_node *node, struct udf_directory **result)
{
	struct udf_directory *directory = NULL;
	uint64_t partition_bytes = 0;
	uint32_t offset = 0;
	ssize_t got = 0;
	int ret = 0;

	partition_bytes = (uint64_t)node->fs->info->address_blocks *
			  node->fs->info->block_size;
	if (node->size > DIRECTORY_SIZE_MAX || node->size > partition_bytes) {
		return -EFBIG;
	}
	ret = udf_node_claim_memory(node, (size_t)node->size);
	if (ret < 0) {
		return ret;
	}
	directory = directory_alloc();
	if (directory == NULL) {
		return -ENOMEM;
	}
	ret = data_reserve(directory, (uint32_t)node->size,
			   node->fs->info->block_size);
	if (ret < 0) {
		goto fail;
	}
	got = udf_file_read(node, 0, (size_t)node->size, directory->data);
	if (got < 0) {
		ret = (int)got;
		goto fail;
	}
	if ((uint64_t)got != node->size) {
		ret = -EIO;
		goto fail;
	}
	directory->size = (uint32_t)node->size;
	while (offset < directory->size) {
		struct udf_fid fid = { .name_length = 0 };
		uint32_t expected = offset;
		int length = fid_next(directory, &offset, &fid);

		if (offset != expected || (length == 0 &&
					   offset < directory->size)) {
			directory->damaged = true;
			udf_volume_log(node->fs->volume, UDF_LOG_WARNING,
				       "the directory with the ICB in block "
				       "%u is damaged at byte %u",
				       node->lbn, expected);
		}
		if (length == 0) {
			break;
		}
		ret = index_fid(directory, offset, (uint32_t)length, &fid);
		if (ret < 0) {
			goto fail;
		}
		offset += (uint32_t)length;
	}
	*result = directory;
	return 0;
fail:
	udf_directory_free(directory);
	return ret;
}

int udf_directory_load_locked(struct udf_node *node)
{
	struct udf_directory *directory = NULL;
	int ret = 0;

	if (node->directory != NULL) {
		return 0;
	}
	ret = directory_read(node, &directory);
	if (ret == 0) {
		__atomic_store_n(&node->directory, directory,
				 __ATOMIC_RELEASE);
	}
	return ret;
}

int udf_directory_load(struct udf_node *node)
{
	int ret = 0;

	if (!udf_node_is_directory(node)) {
		return -ENOTDIR;
	}
	if (__atomic_load_n(&node->directory, __ATOMIC_ACQUIRE) != NULL) {
		return 0;
	}
	pthread_rwlock_wrlock(&node->lock);
	ret = udf_directory_load_locked(node);
	pthread_rwlock_unlock(&node->lock);
	return ret;
}

uint32_t udf_directory_lbn(const struct udf_node *node, uint32_t offset)
{
	struct udf_extent e = { .count = 0 };

	if (node->embedded) {
		return node->lbn;
	}
	udf_extent_map_find(&node->map, offset / node->fs->info->block_size,
			    &e);
	return e.lbn;
}

uint32_t udf_directory_location(const struct udf_node *node, uint32_t offset)
{
	uint32_t lbn = udf_directory_lbn(node, offset);

	return udf_volume_location(node->fs->info, lbn).block;
}

void udf_directory_mark(struct udf_node *node, uint32_t offset,
			uint32_t length, uint8_t flag)
{
	struct udf_directory *directory = node->directory;
	uint32_t block_size = node->fs->info->block_size;
	uint32_t last = (offset + length - 1) / block_size;

	for (uint32_t b = offset / block_size; b <= last; b++) {
		directory->block_flags[b] |= flag;
	}
}

/* Write a FID into the data; it fits. */
static int fid_put(struct udf_node *node, uint32_t offset, uint32_t length,
		   struct udf_fid *fid)
{
	struct udf_fs *fs = node->fs;
	uint8_t encoded[SECTOR];
	int ret = 0;

	fid->tag.id = UDF_TAG_FID;
	fid->tag.version = fs->tag_version;
	fid->tag.serial = fs->tag_serial;
	fid->tag.location = udf_directory_location(node, offset);
	fid->version_number = 1;
	ret = encode_fid(fid, encoded, sizeof(encoded));
	if (ret < 0) {
		return ret;
	}
	if ((uint32_t)ret != length) {
		return -EOVERFLOW;
	}
	memcpy(&node->directory->data[offset], encoded, length);
	return 0;
}

int udf_directory_put_unused(struct udf_node *node, uint32_t offset,
			     uint32_t length)
{
	uint8_t name[UDF_NAME_MAX] = { DELETED_COMPRESSION_ID };
	uint8_t filler[SECTOR] = { 0 };
	uint32_t name_length = length - UDF_FID_LEN;
	uint32_t filler_length = 0;
	struct udf_regid ours = { .flags = 0 };
	struct udf_fid fid = {
		.characteristics = UDF_FID_DELETED,
		.name = name,
		.impl_use = filler,
	};

	if (name_length > 251) {
		/* In steps of 4, as implementation use has to be. */
		filler_length = (name_length - 251 + 3) / 4 * 4;
		name_length -= filler_length;
		if (filler_length < UDF_REGID_LEN) {
			name_length -= UDF_REGID_LEN - filler_length;
			filler_length = UDF_REGID_LEN;
		}
		udf_our_regid(&ours);
		udf_encode_regid(&ours, filler);
	}
	fid.name_length = (uint8_t)name_length;
	fid.impl_use_length = (uint16_t)filler_length;
	return fid_put(node, offset, length, &fid);
}

/* What the medium gets back before removals is in the same place then. */
static void relocate_heads(struct udf_node *node, struct removed_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		struct removed_fid *fid = &list->items[i];

		udf_tag_set_location(fid->head,
				     udf_directory_location(node, fid->offset));
	}
}

int udf_directory_relocate(struct udf_node *node)
{
	struct udf_directory *directory = node->directory;
	uint32_t offset = 0;

	relocate_heads(node, &directory->removed);
	relocate_heads(node, &directory->retargeted);
	for (;;) {
		struct udf_fid fid = { .name_length = 0 };
		struct udf_tag tag = { .id = UDF_TAG_FID };
		int length = fid_next(directory, &offset, &fid);
		int ret = 0;

		if (length == 0) {
			return 0;
		}
		tag = fid.tag;
		tag.location = udf_directory_location(node, offset);
		ret = encode_tag(&tag, &directory->data[offset],
				 (size_t)length,
				 (size_t)length - UDF_TAG_LEN);
		if (ret < 0) {
			return ret;
		}
		offset += (uint32_t)length;
	}
}

static void release_run(void *private_data, uint32_t lbn, uint64_t count)
{
	struct udf_fs *fs = private_data;

	udf_space_release(&fs->space, lbn, count);
}

/*
 * A directory in several extents goes to a place where it is one, with room to
 * become twice as long: some readers know only its first extent, or refuse a
 * volume when its descriptors do not fit the ICB. All is written before the ICB
 * that leads there (commit.c). Where there is no such place, it stays.
 */
static void directory_gather(struct udf_node *node)
{
	struct udf_fs *fs = node->fs;
	uint64_t blocks = udf_extent_map_end(&node->map);
	struct udf_extent_map map = { .count = 0 };
	struct udf_extent whole = { .type = UDF_EXTENT_RECORDED };
	uint32_t room = GATHER_ROOM_MIN;
	int ret = 0;

	if (node->map.count <= 1 || blocks > GATHER_BLOCKS_MAX) {
		return;
	}
	if (room < blocks) {
		room = (uint32_t)blocks;
	}
	ret = udf_space_allocate_roomy(udf_space_for_metadata(&fs->space),
				       node->lbn, (uint32_t)blocks, room,
				       &whole.lbn);
	if (ret < 0) {
		return;
	}
	whole.count = blocks;
	ret = udf_extent_map_set(&map, &whole);
	if (ret < 0) {
		udf_space_release(&fs->space, whole.lbn, blocks);
		return;
	}
	udf_extent_map_cut(&node->map, 0, release_run, fs);
	udf_extent_map_free(&node->map);
	node->map = map;
	udf_directory_moved(node);
}

/* Let the directory be size bytes long, moving it out of the ICB if need be. */
static int directory_grow(struct udf_node *node, uint32_t size)
{
	struct udf_directory *directory = node->directory;
	uint32_t block_size = node->fs->info->block_size;
	int ret = 0;

	if (size > DIRECTORY_SIZE_MAX) {
		return -EFBIG;
	}
	ret = data_reserve(directory, size, block_size);
	if (ret < 0) {
		return ret;
	}
	if (node->embedded && size > udf_node_embedded_max(node)) {
		ret = udf_file_unembed(node);
		if (ret < 0) {
			return ret;
		}
		ret = udf_directory_relocate(node);
		if (ret < 0) {
			return ret;
		}
		udf_directory_mark(node, 0, directory->size, BLOCK_ADDED);
	}
	if (!node->embedded) {
		uint64_t blocks = ((uint64_t)size + block_size - 1) /
				  block_size;

		ret = udf_file_extend(node, blocks);
		if (ret < 0) {
			return ret;
		}
		directory_gather(node);
	}
	directory->size = size;
	node->size = size;
	return 0;
}

int udf_directory_fit(struct udf_node *node)
{
	return directory_grow(node, node->directory->size);
}

/*
 * A place for a FID of a length: a free slot, the smallest that does, or at
 * the end, where the rest of a sector that is too short is filled up.
 */
static int slot_take(struct udf_node *node, uint32_t length, uint32_t *offset)
{
	struct udf_directory *directory = node->directory;
	uint32_t end = directory->size;
	uint32_t left = SECTOR - end % SECTOR;
	int ret = 0;

	for (uint32_t c = length / 4; c < SLOT_CLASSES; c++) {
		struct slot_class *list = &directory->slots[c];
		uint32_t rest = c * 4 - length;

		if (list->count == 0 || (rest > 0 && rest < FID_MIN)) {
			continue;
		}
		*offset = list->offsets[list->count - 1];
		if (rest > 0) {
			ret = udf_directory_put_unused(node, *offset + length,
						       rest);
			if (ret < 0) {
				return ret;
			}
			udf_directory_add_slot(directory, *offset + length,
					       rest);
		}
		list->count--;
		return 0;
	}

	if (end % 4 != 0) {
		return -EUCLEAN;
	}
	if (length <= left) {
		*offset = end;
		return directory_grow(node, end + length);
	}
	/* No FID is as short as a short rest: that one crosses the sector's
	 * end, which does no harm, as it is never changed again. */
	left = left < FID_MIN ? FID_MIN : left;
	ret = directory_grow(node, end + left + length);
	if (ret < 0) {
		return ret;
	}
	ret = udf_directory_put_unused(node, end, left);
	if (ret < 0) {
		return ret;
	}
	udf_directory_mark(node, end, left, BLOCK_ADDED);
	udf_directory_add_slot(directory, end, left);
	*offset = end + left;
	return 0;
}

static void fid_set_target(struct udf_fid *fid, const struct udf_node *target,
			   uint32_t fid_unique_id)
{
	const struct udf_volume_info *info = target->fs->info;

	fid->icb = (struct udf_ad){
		.length = info->block_size,
		.addr = udf_volume_location(info, target->lbn),
		.unique_id = fid_unique_id,
	};
	fid->characteristics &= (uint8_t)~UDF_FID_DIRECTORY;
	if (udf_node_is_directory(target)) {
		fid->characteristics |= UDF_FID_DIRECTORY;
	}
}

int udf_directory_init(struct udf_node *node, const struct udf_node *parent)
{
	node->directory = directory_alloc();
	if (node->directory == NULL) {
		return -ENOMEM;
	}
	return udf_directory_add_parent(node, parent);
}

int udf_directory_add_parent(struct udf_node *node,
			     const struct udf_node *parent)
{
	struct udf_directory *directory = node->directory;
	struct udf_fid fid = { .characteristics = UDF_FID_PARENT };
	uint32_t offset = 0;
	int ret = 0;

	fid_set_target(&fid, parent, (uint32_t)parent->unique_id);
	fid.characteristics |= UDF_FID_DIRECTORY;
	ret = slot_take(node, FID_MIN, &offset);
	if (ret == 0) {
		ret = fid_put(node, offset, FID_MIN, &fid);
	}
	if (ret == 0) {
		directory->parent_offset = offset;
		udf_directory_mark(node, offset, FID_MIN, BLOCK_ADDED);
	}
	return ret;
}

/* The lbn of its ICB. One that is nowhere is found out when it is read. */
static uint32_t fid_target(const struct udf_volume_info *info,
			   const struct udf_fid *fid)
{
	uint32_t lbn = UINT32_MAX;

	(void)udf_volume_address(info, &fid->icb.addr, 1, &lbn);
	return lbn;
}

static void entry_fill(const struct udf_node *node, uint32_t offset,
		       const struct udf_fid *fid, struct udf_dirent *entry)
{
	entry->offset = offset;
	entry->characteristics = fid->characteristics;
	entry->icb = fid_target(node->fs->info, fid);
	entry->fid_unique_id = fid->icb.unique_id;
	fid_shown_name(fid, entry->name);
	entry->internal = (fid->characteristics & UDF_FID_METADATA) != 0;
	if (node == node->fs->root &&
	    strcmp(entry->name, NON_ALLOCATABLE_SPACE) == 0) {
		entry->internal = true;
	}
}

int udf_directory_find(struct udf_node *node, const char *name,
		       struct udf_dirent *entry)
{
	struct udf_directory *directory = node->directory;
	struct udf_fid fid = { .name_length = 0 };
	uint8_t cs0[UDF_NAME_MAX];
	uint32_t offset = index_find(directory, name, udf_name_hash(name));
	int ret = 0;

	if (offset == UDF_NO_ENTRY) {
		ret = udf_utf8_to_cs0(name, strlen(name), cs0, sizeof(cs0));
		return ret < 0 ? ret : -ENOENT;
	}
	if (fid_at(directory, offset, &fid) <= 0) {
		return -EUCLEAN;
	}
	entry_fill(node, offset, &fid, entry);
	return 0;
}

int udf_directory_insert(struct udf_node *node, const char *name,
			 const struct udf_node *target, uint32_t fid_unique_id,
			 uint32_t *result)
{
	struct udf_directory *directory = node->directory;
	uint8_t cs0[UDF_NAME_MAX];
	struct udf_fid fid = { .name = cs0 };
	uint32_t offset = 0;
	uint32_t length = 0;
	int ret = 0;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
		return -EEXIST;
	}
	ret = udf_utf8_to_cs0(name, strlen(name), cs0, sizeof(cs0));
	if (ret < 0) {
		return ret;
	}
	if (ret == 0) {
		return -ENOENT;
	}
	fid.name_length = (uint8_t)ret;
	if (!target->fresh && node->file_type == UDF_FT_DIRECTORY &&
	    udf_hash_set_has(&directory->removed_names, udf_name_hash(name))) {
		/* Until the end of the commit the medium has both FIDs of the
		 * name, and has to tell which one is older. */
		fid_unique_id = (uint32_t)udf_fs_next_unique_id(node->fs);
	}
	fid_set_target(&fid, target, fid_unique_id);
	length = (uint32_t)udf_fid_size(fid.name_length, 0);
	ret = udf_name_index_reserve(&directory->index);
	if (ret < 0) {
		return ret;
	}
	ret = slot_take(node, length, &offset);
	if (ret < 0) {
		return ret;
	}
	ret = fid_put(node, offset, length, &fid);
	if (ret < 0) {
		return ret;
	}
	udf_directory_mark(node, offset, length, BLOCK_ADDED);
	udf_name_index_add(&directory->index, udf_name_hash(name), offset,
			   true);
	if (result != NULL) {
		*result = offset;
	}
	return 0;
}

/* Change a FID's head in place; what follows it stays. */
static int fid_rewrite(struct udf_node *node, uint32_t offset,
		       const struct udf_fid *fid, uint32_t length)
{
	uint8_t *data = &node->directory->data[offset];
	struct udf_tag tag = fid->tag;

	tag.location = udf_directory_location(node, offset);
	data[18] = fid->characteristics;
	encode_long_ad(&fid->icb, &data[20]);
	return encode_tag(&tag, data, length, length - UDF_TAG_LEN);
}

static int removed_list_add(struct removed_list *list,
			    const struct removed_fid *fid)
{
	struct removed_fid *items = udf_array_grow(list->items, list->count,
						   &list->capacity,
						   sizeof(*items));

	if (items == NULL) {
		return -ENOMEM;
	}
	list->items = items;
	list->items[list->count++] = *fid;
	return 0;
}

static const struct removed_fid *
removed_list_find(const struct removed_list *list, uint32_t offset)
{
	for (size_t i = list->count; i > 0; i--) {
		if (list->items[i - 1].offset == offset) {
			return &list->items[i - 1];
		}
	}
	return NULL;
}

/* What a FID is on the medium, which has it. */
static void fid_on_medium(const struct udf_directory *directory,
			  uint32_t offset, uint32_t length,
			  struct removed_fid *fid)
{
	const struct removed_fid *old =
		removed_list_find(&directory->retargeted, offset);

	if (old != NULL) {
		*fid = *old;
		return;
	}
	fid->offset = offset;
	fid->length = length;
	memcpy(fid->head, &directory->data[offset], FID_HEAD);
}

/* UDF 2.3.4.2: a deleted FID has no ICB, and no name but for those bytes of it
 * that are behind the first. */
static void fid_make_deleted(struct udf_directory *directory, uint32_t offset,
			     struct udf_fid *fid)
{
	uint8_t *name = &directory->data[offset + UDF_FID_LEN];

	fid->characteristics |= UDF_FID_DELETED;
	fid->icb = (struct udf_ad){ .length = 0 };
	/* Behind implementation use it is not within the head of the FID,
	 * which is what the medium gets back before step 5 of a commit. */
	if (fid->impl_use_length > 0 || fid->name_length == 0) {
		return;
	}
	if (name[0] == UDF_CS0_8BIT) {
		name[0] = DELETED_COMPRESSION_ID;
	} else if (name[0] == UDF_CS0_16BIT) {
		name[0] = DELETED_COMPRESSION_ID_16;
	}
}

/* fresh: the medium has never had it. hash: of its name. */
static int fid_delete(struct udf_node *node, uint32_t offset, uint32_t hash,
		      bool fresh)
{
	struct udf_directory *directory = node->directory;
	struct removed_fid removed = { .offset = offset };
	struct udf_fid fid = { .name_length = 0 };
	int length = fid_at(directory, offset, &fid);
	int ret = 0;

	if (length <= 0) {
		return -EUCLEAN;
	}
	if (!fresh) {
		fid_on_medium(directory, offset, (uint32_t)length, &removed);
		removed.hash = hash;
		ret = udf_hash_set_add(&directory->removed_names, hash);
		if (ret == 0) {
			ret = removed_list_add(&directory->removed, &removed);
		}
		if (ret < 0) {
			return ret;
		}
	}
	fid_make_deleted(directory, offset, &fid);
	ret = fid_rewrite(node, offset, &fid, (uint32_t)length);
	if (ret < 0) {
		directory->removed.count -= fresh ? 0 : 1;
		return ret;
	}
	if (fresh) {
		udf_directory_mark(node, offset, (uint32_t)length, BLOCK_ADDED);
		udf_directory_add_slot(directory, offset, (uint32_t)length);
	} else {
		udf_directory_mark(node, offset, (uint32_t)length,
				   BLOCK_REMOVED);
	}
	return 0;
}

int udf_directory_remove(struct udf_node *node, uint32_t offset)
{
	struct udf_directory *directory = node->directory;
	struct udf_fid fid = { .name_length = 0 };
	char name[UDF_SHOWN_NAME_MAX];
	uint32_t hash = 0;
	int ret = 0;

	if (fid_at(directory, offset, &fid) <= 0) {
		return -EUCLEAN;
	}
	fid_shown_name(&fid, name);
	hash = udf_name_hash(name);
	ret = fid_delete(node, offset, hash,
			 udf_name_index_is_fresh(&directory->index, hash,
						 offset));
	if (ret == 0) {
		udf_name_index_remove(&directory->index, hash, offset);
	}
	return ret;
}

size_t udf_directory_hidden_count(const struct udf_node *node)
{
	return node->directory->duplicates.count;
}

int udf_directory_hidden(struct udf_node *node, size_t index,
			 struct udf_dirent *hidden, struct udf_dirent *shown)
{
	struct udf_directory *directory = node->directory;
	uint32_t offset = directory->duplicates.offsets[index];
	struct udf_fid fid = { .name_length = 0 };

	if (fid_at(directory, offset, &fid) <= 0) {
		return -EUCLEAN;
	}
	entry_fill(node, offset, &fid, hidden);
	offset = index_find(directory, hidden->name,
			    udf_name_hash(hidden->name));
	if (offset == UDF_NO_ENTRY || fid_at(directory, offset, &fid) <= 0) {
		return -EUCLEAN;
	}
	entry_fill(node, offset, &fid, shown);
	return 0;
}

int udf_directory_resolve(struct udf_node *node, size_t index,
			  bool keep_hidden)
{
	struct udf_directory *directory = node->directory;
	struct slot_class *list = &directory->duplicates;
	struct udf_dirent hidden = { .offset = 0 };
	struct udf_dirent shown = { .offset = 0 };
	int ret = udf_directory_hidden(node, index, &hidden, &shown);

	if (ret == 0 && !keep_hidden) {
		ret = fid_delete(node, hidden.offset,
				 udf_name_hash(hidden.name), false);
	} else if (ret == 0) {
		ret = udf_directory_remove(node, shown.offset);
		if (ret == 0) {
			/* The removal left room in the index. */
			udf_name_index_add(&directory->index,
					   udf_name_hash(hidden.name),
					   hidden.offset, false);
		}
	}
	if (ret == 0) {
		list->count--;
		list->offsets[index] = list->offsets[list->count];
	}
	return ret;
}

bool udf_directory_leads_to(const struct udf_node *node, uint32_t offset,
			    uint32_t icb)
{
	struct udf_fid fid = { .name_length = 0 };

	return fid_at(node->directory, offset, &fid) > 0 &&
	       (fid.characteristics & UDF_FID_DELETED) == 0 &&
	       fid_target(node->fs->info, &fid) == icb;
}

int udf_directory_retarget(struct udf_node *node, uint32_t offset,
			   const struct udf_node *target,
			   uint32_t fid_unique_id)
{
	struct udf_directory *directory = node->directory;
	struct removed_fid old = { .offset = offset };
	struct udf_fid fid = { .name_length = 0 };
	int length = fid_at(directory, offset, &fid);
	int ret = 0;

	if (length <= 0) {
		return -EUCLEAN;
	}
	if (offset != directory->parent_offset) {
		fid_on_medium(directory, offset, (uint32_t)length, &old);
		ret = removed_list_add(&directory->retargeted, &old);
		if (ret < 0) {
			return ret;
		}
	}
	fid_set_target(&fid, target, fid_unique_id);
	ret = fid_rewrite(node, offset, &fid, (uint32_t)length);
	if (ret == 0) {
		udf_directory_mark(node, offset, (uint32_t)length, BLOCK_ADDED);
	}
	return ret;
}

int udf_directory_set_parent(struct udf_node *node,
			     const struct udf_node *parent)
{
	uint32_t offset = node->directory->parent_offset;

	if (offset == UDF_NO_ENTRY) {
		return 0;
	}
	return udf_directory_retarget(node, offset, parent,
				      (uint32_t)parent->unique_id);
}

int udf_directory_parent(const struct udf_node *node, uint32_t *lbn)
{
	const struct udf_directory *directory = node->directory;
	struct udf_fid fid = { .name_length = 0 };

	if (directory->parent_offset == UDF_NO_ENTRY ||
	    fid_at(directory, directory->parent_offset, &fid) <= 0) {
		return -ENOENT;
	}
	*lbn = fid_target(node->fs->info, &fid);
	return 0;
}

bool udf_directory_is_empty(const struct udf_node *node)
{
	const struct udf_directory *directory = node->directory;

	return directory->index.live == 0 && directory->duplicates.count == 0;
}

/* Is this the FID that the index has for its name? */
static bool fid_is_shown(const struct udf_directory *directory,
			 uint32_t offset, const struct udf_fid *fid)
{
	const struct udf_name_entry *e = NULL;
	uint32_t position = UDF_NO_ENTRY;
	char name[UDF_SHOWN_NAME_MAX];
	uint32_t hash = 0;

	/* Not by the list of the others: a damaged directory can have more of
	 * them than anybody could wait for. */
	if (directory->duplicates.count == 0) {
		return true;
	}
	fid_shown_name(fid, name);
	hash = udf_name_hash(name);
	do {
		e = udf_name_index_next(&directory->index, hash, &position);
	} while (e != NULL && e->offset != offset);
	return e != NULL;
}

int udf_directory_next(struct udf_node *node, uint64_t *position,
		       struct udf_dirent *entry)
{
	struct udf_directory *directory = node->directory;
	uint32_t offset = 0;

	if (*position > directory->size) {
		return -ENOENT;
	}
	offset = (uint32_t)*position;
	for (;;) {
		struct udf_fid fid = { .name_length = 0 };
		int length = fid_next(directory, &offset, &fid);

		if (length == 0) {
			return -ENOENT;
		}
		*position = offset + (uint32_t)length;
		if ((fid.characteristics &
		     (UDF_FID_DELETED | UDF_FID_PARENT)) == 0 &&
		    fid.name_length > 0 &&
		    fid_is_shown(directory, offset, &fid)) {
			entry_fill(node, offset, &fid, entry);
			return 0;
		}
		offset += (uint32_t)length;
	}
}

int udf_directory_each(struct udf_node *node, udf_fid_visit_fn visit,
		       void *private_data)
{
	uint32_t offset = 0;
	int ret = udf_directory_load(node);

	if (ret < 0) {
		return ret;
	}
	for (;;) {
		struct udf_fid fid = { .name_length = 0 };
		int length = fid_next(node->directory, &offset, &fid);

		if (length == 0) {
			return 0;
		}
		ret = visit(private_data, &fid);
		if (ret != 0) {
			return ret;
		}
		offset += (uint32_t)length;
	}
}
