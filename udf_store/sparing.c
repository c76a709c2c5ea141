/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The sparing table: see sparing.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "bytes.h"
#include "sparing.h"

/* So many spares may fail one after the other before the device as a whole
 * is taken to be at fault. */
#define SPARES_TRIED_MAX 8u
#define READ_TRIES 3u
/* Packets are 64 KiB or less; this bounds what a damaged map asks for. */
#define PACKET_BYTES_MAX (16u * 1024u * 1024u)

struct sparing_copy {
	uint32_t location; /* block of the volume */
	bool failing;	   /* its last write did not hold; said so */
};

struct udf_sparing {
	struct udf_blockdev *dev;
	const struct udf_log *log;
	struct udf_sparing_geometry geometry;
	uint32_t packet_blocks;
	uint32_t sequence;
	bool changed; /* since the last commit */
	uint32_t copies;
	struct sparing_copy copy[UDF_MAX_SPARING_TABLES];
	uint32_t count;
	struct udf_sparing_entry *entries;
	/* Free spares that are not to be used, by their blocks. */
	uint32_t *refused;
	size_t refused_count;
	size_t refused_capacity;
};

static bool is_relocated(const struct udf_sparing_entry *entry)
{
	return entry->original < UDF_SPARE_DEFECTIVE;
}

static int compare_entries(const void *a, const void *b)
{
	const struct udf_sparing_entry *x = a;
	const struct udf_sparing_entry *y = b;

	if (x->original != y->original) {
		return x->original < y->original ? -1 : 1;
	}
	if (x->mapped != y->mapped) {
		return x->mapped < y->mapped ? -1 : 1;
	}
	return 0;
}

static int compare_mapped(const void *a, const void *b)
{
	const struct udf_sparing_entry *x = a;
	const struct udf_sparing_entry *y = b;

	if (x->mapped != y->mapped) {
		return x->mapped < y->mapped ? -1 : 1;
	}
	return 0;
}

static void sort_entries(struct udf_sparing *sparing)
{
	qsort(sparing->entries, sparing->count, sizeof(sparing->entries[0]),
	      compare_entries);
}

/* Index of the first entry with an original of at least this. */
static uint32_t lower_bound(const struct udf_sparing *sparing,
			    uint32_t original)
{
	uint32_t low = 0;
	uint32_t high = sparing->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (sparing->entries[middle].original < original) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low;
}

/* Blocks of a table with so many entries. */
static uint32_t table_blocks(const struct udf_sparing *sparing, uint32_t count)
{
	uint32_t bytes = UDF_SPARING_TABLE_LEN + count * UDF_SPARING_ENTRY_LEN;
	uint32_t block_size = sparing->geometry.block_size;

	return (bytes + block_size - 1) / block_size;
}

static bool in_volume(const struct udf_sparing *sparing, uint32_t location,
		      uint32_t blocks)
{
	uint32_t volume_blocks = sparing->geometry.volume_blocks;

	return blocks <= volume_blocks && location <= volume_blocks - blocks;
}

static uint64_t block_offset(const struct udf_sparing *sparing, uint32_t block)
{
	return (uint64_t)block * sparing->geometry.block_size;
}

static bool ranges_meet(uint64_t a, uint64_t a_blocks, uint64_t b,
			uint64_t b_blocks)
{
	return a < b + b_blocks && b < a + a_blocks;
}

/* NULL, or why the table that was read would lead astray. entries is sorted
 * by original. */
static const char *fault_of_originals(const struct udf_sparing *sparing,
				      const struct udf_sparing_entry *entries,
				      uint32_t count)
{
	uint32_t i = 0;

	for (i = 0; i < count; i++) {
		uint32_t original = entries[i].original;

		if (original == UDF_SPARE_FREE ||
		    original == UDF_SPARE_DEFECTIVE) {
			continue;
		}
		if (original >= sparing->geometry.partition_blocks) {
			return "an original outside the partition";
		}
		if (original % sparing->packet_blocks != 0) {
			return "an original that starts no packet";
		}
		if (i > 0 && entries[i - 1].original == original) {
			return "an original twice";
		}
	}
	return NULL;
}

/* The same for the spares; entries is sorted by mapped. */
static const char *fault_of_spares(const struct udf_sparing *sparing,
				   const struct udf_sparing_entry *entries,
				   uint32_t count)
{
	const struct udf_sparing_entry *last = NULL;
	uint32_t blocks = table_blocks(sparing, count);
	uint32_t i = 0;
	uint32_t j = 0;

	for (i = 0; i < count; i++) {
		const struct udf_sparing_entry *entry = &entries[i];

		/* What is never used can do no harm. */
		if (entry->original == UDF_SPARE_DEFECTIVE) {
			continue;
		}
		if (!in_volume(sparing, entry->mapped,
			       sparing->packet_blocks)) {
			return "a spare outside the volume";
		}
		for (j = 0; j < sparing->copies; j++) {
			if (ranges_meet(entry->mapped, sparing->packet_blocks,
					sparing->copy[j].location, blocks)) {
				return "a spare within a sparing table";
			}
		}
		if (last != NULL && ranges_meet(last->mapped,
						sparing->packet_blocks,
						entry->mapped,
						sparing->packet_blocks)) {
			return "a spare shared by two entries";
		}
		last = entry;
	}
	return NULL;
}

/*
 * Is there room for the copies as they are, beside the partition and each
 * other? A table is as long as its entries make it: often longer than a
 * packet, and than the block that the kernel's driver reads.
 */
static bool copies_fit(const struct udf_sparing *sparing, uint32_t count)
{
	const struct udf_sparing_geometry *geometry = &sparing->geometry;
	uint32_t blocks = table_blocks(sparing, count);
	uint32_t i = 0;
	uint32_t j = 0;

	for (i = 0; i < sparing->copies; i++) {
		uint32_t location = sparing->copy[i].location;

		if (ranges_meet(location, blocks, geometry->partition_start,
				geometry->partition_blocks)) {
			return false;
		}
		for (j = 0; j < i; j++) {
			if (ranges_meet(location, blocks,
					sparing->copy[j].location, blocks)) {
				return false;
			}
		}
	}
	return true;
}

/* A copy as it was found. */
struct table_image {
	struct udf_sparing_header header;
	uint32_t bytes; /* of the blocks it takes */
	uint8_t *raw;
	struct udf_sparing_entry *entries; /* sorted; NULL: refused */
};

static void free_image(struct table_image *image)
{
	free(image->raw);
	free(image->entries);
	*image = (struct table_image){0};
}

static int read_tries(struct udf_blockdev *dev, uint64_t offset, void *buf,
		      size_t len)
{
	unsigned int tries = 0;
	int ret = 0;

	for (tries = 0; tries < READ_TRIES; tries++) {
		ret = udf_blockdev_read_medium(dev, offset, buf, len);
		if (ret == 0 || !udf_blockdev_is_medium_error(ret)) {
			break;
		}
	}
	return ret;
}

/* The blocks of a copy. NULL, or why there are none. */
static const char *read_raw(const struct udf_sparing *sparing,
			    uint32_t location, struct table_image *image)
{
	uint32_t block_size = sparing->geometry.block_size;
	struct udf_tag tag = {0};
	uint32_t blocks = 0;

	if (!in_volume(sparing, location, 1)) {
		return "it is outside the volume";
	}
	image->raw = udf_blockdev_alloc(block_size);
	if (image->raw == NULL) {
		return "no memory";
	}
	if (read_tries(sparing->dev, block_offset(sparing, location),
		       image->raw, block_size) != 0) {
		return "it cannot be read";
	}
	/* The count says how much to read; the CRC then says if it is true. */
	if (decode_tag(image->raw, block_size, &tag) != 0 ||
	    tag.id != UDF_TAG_SPARING_TABLE) {
		return "no sparing table is there";
	}
	blocks = table_blocks(sparing, get_le16(image->raw + 48));
	if (!in_volume(sparing, location, blocks)) {
		return "it is longer than the volume";
	}
	free(image->raw);
	image->bytes = blocks * block_size;
	image->raw = udf_blockdev_alloc(image->bytes);
	if (image->raw == NULL) {
		return "no memory";
	}
	if (read_tries(sparing->dev, block_offset(sparing, location),
		       image->raw, image->bytes) != 0) {
		return "it cannot be read";
	}
	return NULL;
}

/* The entries of a copy. NULL, or why there are none. */
static const char *read_entries(const struct udf_sparing *sparing,
				uint32_t location, struct table_image *image)
{
	struct udf_sparing_entry *entries = NULL;
	const char *fault = NULL;
	uint32_t count = 0;
	uint32_t i = 0;

	if (decode_sparing_table(image->raw, image->bytes, location,
				 &image->header) != 0) {
		return "its tag, CRC or length is wrong";
	}
	count = image->header.count;
	entries = calloc(count + 1u, sizeof(*entries));
	if (entries == NULL) {
		return "no memory";
	}
	for (i = 0; i < count; i++) {
		decode_sparing_entry(image->raw + UDF_SPARING_TABLE_LEN +
					     i * UDF_SPARING_ENTRY_LEN,
				     &entries[i]);
	}
	if (!copies_fit(sparing, count)) {
		free(entries);
		return "it would lie over the partition or another copy";
	}
	qsort(entries, count, sizeof(*entries), compare_mapped);
	fault = fault_of_spares(sparing, entries, count);
	if (fault == NULL) {
		qsort(entries, count, sizeof(*entries), compare_entries);
		fault = fault_of_originals(sparing, entries, count);
	}
	if (fault != NULL) {
		free(entries);
		return fault;
	}
	image->entries = entries;
	return NULL;
}

static void read_copy(const struct udf_sparing *sparing, uint32_t number,
		      struct table_image *image)
{
	uint32_t location = sparing->copy[number].location;
	const char *fault = NULL;

	fault = read_raw(sparing, location, image);
	if (fault == NULL) {
		fault = read_entries(sparing, location, image);
	}
	if (fault != NULL) {
		udf_log(sparing->log, UDF_LOG_WARNING,
			"sparing table %u at block %u is not used: %s",
			number + 1, location, fault);
	}
}

/* The table as bytes for the copy at location. NULL: no memory. */
static uint8_t *encode_copy(const struct udf_sparing *sparing,
			    uint32_t location, size_t *bytes)
{
	struct udf_sparing_header header = {
		.tag.version = sparing->geometry.tag_version,
		.tag.location = location,
		.count = (uint16_t)sparing->count,
		.sequence = sparing->sequence,
	};
	uint8_t *raw = NULL;

	*bytes = (size_t)table_blocks(sparing, sparing->count) *
		 sparing->geometry.block_size;
	raw = udf_blockdev_alloc(*bytes);
	if (raw == NULL) {
		return NULL;
	}
	if (encode_sparing_table(&header, sparing->entries, raw, *bytes) < 0) {
		free(raw);
		return NULL;
	}
	return raw;
}

/*
 * Write, flush, and see that it is there. What the flush says may be about
 * other blocks: the medium decides.
 */
static int write_and_check(struct udf_blockdev *dev, uint64_t offset,
			   const uint8_t *data, size_t bytes)
{
	uint8_t *check = NULL;
	int flush_ret = 0;
	int ret = 0;

	ret = udf_blockdev_write(dev, offset, data, bytes);
	if (ret != 0 && !udf_blockdev_is_medium_error(ret)) {
		return ret;
	}
	flush_ret = udf_blockdev_flush(dev);
	if (flush_ret != 0 && !udf_blockdev_is_medium_error(flush_ret)) {
		return flush_ret;
	}
	check = udf_blockdev_alloc(bytes);
	if (check == NULL) {
		return -ENOMEM;
	}
	ret = read_tries(dev, offset, check, bytes);
	if (ret == 0 && memcmp(check, data, bytes) != 0) {
		ret = -EIO;
	}
	free(check);
	return ret;
}

static int write_copy(struct udf_sparing *sparing, uint32_t number)
{
	struct sparing_copy *copy = &sparing->copy[number];
	uint8_t *raw = NULL;
	size_t bytes = 0;
	int ret = 0;

	raw = encode_copy(sparing, copy->location, &bytes);
	if (raw == NULL) {
		return -ENOMEM;
	}
	ret = write_and_check(sparing->dev,
			      block_offset(sparing, copy->location), raw,
			      bytes);
	free(raw);
	if (ret != 0 && !copy->failing) {
		udf_log(sparing->log, UDF_LOG_WARNING,
			"sparing table %u at block %u cannot be written: %s",
			number + 1, copy->location, strerror(-ret));
	}
	copy->failing = ret != 0;
	return ret;
}

/* Do two copies say the same? Their tags differ by location. */
static bool same_table(const struct table_image *a, const struct table_image *b)
{
	if (a->entries == NULL || b->entries == NULL ||
	    a->header.sequence != b->header.sequence ||
	    a->header.count != b->header.count) {
		return false;
	}
	return memcmp(a->entries, b->entries,
		      a->header.count * sizeof(a->entries[0])) == 0;
}

static uint32_t relocated_entries(const struct table_image *image)
{
	uint32_t n = 0;

	while (n < image->header.count && is_relocated(&image->entries[n])) {
		n++;
	}
	return n;
}

/*
 * The higher sequence number. The kernel driver's ioctl adds to one copy and
 * leaves the number: of two with the same, the one that knows more.
 */
static bool is_newer(const struct table_image *a, const struct table_image *b)
{
	if (a->header.sequence != b->header.sequence) {
		return a->header.sequence > b->header.sequence;
	}
	return relocated_entries(a) > relocated_entries(b);
}

static int take_map(struct udf_sparing *sparing,
		    const struct udf_partition_map *map)
{
	uint32_t block_size = sparing->geometry.block_size;
	uint32_t i = 0;

	sparing->packet_blocks = map->packet_length;
	sparing->copies = map->tables;
	if (map->packet_length == 0 ||
	    sparing->packet_blocks > PACKET_BYTES_MAX / block_size ||
	    map->tables == 0 ||
	    map->tables > UDF_MAX_SPARING_TABLES) {
		udf_log(sparing->log, UDF_LOG_ERROR,
			"the sparable partition map is damaged: packets of %u "
			"blocks, %u tables",
			map->packet_length, map->tables);
		return -EUCLEAN;
	}
	for (i = 0; i < map->tables; i++) {
		sparing->copy[i].location = map->table_locations[i];
	}
	return 0;
}

/* Bring the copies that differ from the best one up to date. */
static void repair_copies(struct udf_sparing *sparing,
			  const struct table_image *images, uint32_t best)
{
	uint32_t i = 0;

	for (i = 0; i < sparing->copies; i++) {
		if (same_table(&images[i], &images[best])) {
			continue;
		}
		if (!in_volume(sparing, sparing->copy[i].location,
			       table_blocks(sparing, sparing->count))) {
			continue;
		}
		if (write_copy(sparing, i) == 0) {
			udf_log(sparing->log, UDF_LOG_NOTICE,
				"sparing table %u at block %u repaired from "
				"table %u, sequence %u",
				i + 1, sparing->copy[i].location, best + 1,
				sparing->sequence);
		}
	}
}

int udf_sparing_load(struct udf_blockdev *dev, const struct udf_log *log,
		     const struct udf_sparing_geometry *geometry,
		     const struct udf_partition_map *map, bool repair,
		     struct udf_sparing **sparing)
{
	struct table_image images[UDF_MAX_SPARING_TABLES] = {0};
	struct udf_sparing *s = NULL;
	uint32_t best = UINT32_MAX;
	uint32_t i = 0;
	int ret = 0;

	s = calloc(1, sizeof(*s));
	if (s == NULL) {
		return -ENOMEM;
	}
	s->dev = dev;
	s->log = log;
	s->geometry = *geometry;
	ret = take_map(s, map);
	if (ret != 0) {
		goto out;
	}
	for (i = 0; i < s->copies; i++) {
		read_copy(s, i, &images[i]);
		if (images[i].entries == NULL) {
			continue;
		}
		if (best == UINT32_MAX || is_newer(&images[i], &images[best])) {
			best = i;
		}
	}
	if (best == UINT32_MAX) {
		udf_log(log, UDF_LOG_ERROR,
			"none of the %u sparing tables is valid: relocated "
			"packets cannot be found",
			s->copies);
		ret = -EUCLEAN;
		goto out;
	}
	s->sequence = images[best].header.sequence;
	s->count = images[best].header.count;
	s->entries = calloc(s->count + 1u, sizeof(s->entries[0]));
	if (s->entries == NULL) {
		ret = -ENOMEM;
		goto out;
	}
	memcpy(s->entries, images[best].entries,
	       s->count * sizeof(s->entries[0]));
	if (repair) {
		repair_copies(s, images, best);
	}
	*sparing = s;
	s = NULL;

out:
	for (i = 0; i < UDF_MAX_SPARING_TABLES; i++) {
		free_image(&images[i]);
	}
	udf_sparing_free(s);
	return ret;
}

void udf_sparing_free(struct udf_sparing *sparing)
{
	if (sparing != NULL) {
		free(sparing->entries);
		free(sparing->refused);
		free(sparing);
	}
}

uint32_t udf_sparing_packet_blocks(const struct udf_sparing *sparing)
{
	return sparing->packet_blocks;
}

uint32_t udf_sparing_map(const struct udf_sparing *sparing, uint32_t lbn,
			 uint32_t count, uint32_t *run)
{
	uint32_t offset = lbn % sparing->packet_blocks;
	uint32_t packet = lbn - offset;
	uint32_t i = lower_bound(sparing, packet);
	uint32_t before_next = count;
	uint32_t block = sparing->geometry.partition_start + lbn;

	if (i < sparing->count && sparing->entries[i].original == packet) {
		before_next = sparing->packet_blocks - offset;
		block = sparing->entries[i].mapped + offset;
	} else if (i < sparing->count && is_relocated(&sparing->entries[i])) {
		before_next = sparing->entries[i].original - lbn;
	}
	*run = count < before_next ? count : before_next;
	return block;
}

static bool is_refused(const struct udf_sparing *sparing, uint32_t mapped)
{
	size_t i = 0;

	while (i < sparing->refused_count && sparing->refused[i] != mapped) {
		i++;
	}
	return i < sparing->refused_count;
}

/* Of the entries, the first free spare that can be used; count: none. */
static uint32_t first_free(const struct udf_sparing *sparing)
{
	uint32_t i = lower_bound(sparing, UDF_SPARE_FREE);

	while (i < sparing->count &&
	       is_refused(sparing, sparing->entries[i].mapped)) {
		i++;
	}
	return i;
}

/* Record it as defective. */
static void spoil(struct udf_sparing *sparing, uint32_t mapped)
{
	uint32_t i = lower_bound(sparing, UDF_SPARE_FREE);

	while (i < sparing->count && sparing->entries[i].mapped != mapped) {
		i++;
	}
	if (i < sparing->count) {
		sparing->entries[i].original = UDF_SPARE_DEFECTIVE;
		sparing->changed = true;
		sort_entries(sparing);
	}
}

int udf_sparing_refuse(struct udf_sparing *sparing, uint32_t mapped,
		       bool record)
{
	uint32_t *refused = NULL;

	if (record) {
		spoil(sparing, mapped);
		return 0;
	}
	if (is_refused(sparing, mapped)) {
		return 0;
	}
	refused = udf_array_grow(sparing->refused, sparing->refused_count,
				 &sparing->refused_capacity, sizeof(*refused));
	if (refused == NULL) {
		return -ENOMEM;
	}
	sparing->refused = refused;
	sparing->refused[sparing->refused_count] = mapped;
	sparing->refused_count++;
	return 0;
}

int udf_sparing_relocate(struct udf_sparing *sparing, uint32_t original,
			 const void *data, size_t bytes, uint32_t *spare)
{
	unsigned int tried = 0;
	uint32_t old = 0;
	uint32_t i = 0;
	int ret = -EIO;

	while (ret != 0) {
		i = first_free(sparing);
		if (i == sparing->count) {
			return -ENOSPC;
		}
		if (tried == SPARES_TRIED_MAX) {
			return -EIO;
		}
		*spare = sparing->entries[i].mapped;
		ret = write_and_check(sparing->dev,
				      block_offset(sparing, *spare), data,
				      bytes);
		if (ret == 0) {
			break;
		}
		if (!udf_blockdev_is_medium_error(ret)) {
			return ret;
		}
		udf_log(sparing->log, UDF_LOG_NOTICE,
			"defect event=bad-spare block=%u", *spare);
		sparing->entries[i].original = UDF_SPARE_DEFECTIVE;
		sparing->changed = true;
		sort_entries(sparing);
		tried++;
	}

	/* A packet that was relocated before: its spare went bad. */
	old = lower_bound(sparing, original);
	if (old < sparing->count &&
	    sparing->entries[old].original == original) {
		sparing->entries[old].original = UDF_SPARE_DEFECTIVE;
	}
	sparing->entries[i].original = original;
	sparing->changed = true;
	sort_entries(sparing);
	return 0;
}

int udf_sparing_commit(struct udf_sparing *sparing)
{
	uint32_t good = 0;
	uint32_t i = 0;
	int error = 0;

	if (!sparing->changed) {
		return 0;
	}
	/* Used up even when all fails: a copy may have got to the medium. */
	sparing->sequence++;
	for (i = 0; i < sparing->copies; i++) {
		int ret = write_copy(sparing, i);

		if (ret == 0) {
			good++;
		} else {
			error = ret;
		}
	}
	if (good == 0) {
		return error;
	}
	sparing->changed = false;
	return 0;
}

bool udf_sparing_is_changed(const struct udf_sparing *sparing)
{
	return sparing->changed;
}

void udf_sparing_count(const struct udf_sparing *sparing,
		       struct udf_sparing_counts *counts)
{
	uint32_t i = 0;

	*counts = (struct udf_sparing_counts){
		.total = sparing->count,
		.copies = sparing->copies,
		.sequence = sparing->sequence,
	};
	for (i = 0; i < sparing->count; i++) {
		uint32_t original = sparing->entries[i].original;

		if (original == UDF_SPARE_FREE) {
			counts->free++;
		} else if (original == UDF_SPARE_DEFECTIVE) {
			counts->defective++;
		} else {
			counts->relocated++;
		}
	}
	counts->free -= (uint32_t)sparing->refused_count;
	counts->defective += (uint32_t)sparing->refused_count;
}

const struct udf_sparing_entry *
udf_sparing_entries(const struct udf_sparing *sparing, uint32_t *count)
{
	*count = sparing->count;
	return sparing->entries;
}
