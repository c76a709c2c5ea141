/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Files that no name leads to: ICBs in blocks that are neither free nor used.
 * They are left behind when a directory is damaged. A repair gives them names
 * again, if all of their blocks are such, too: else something else was written
 * there since. In free blocks nobody looks for them, since removed files are
 * there.
 *
 * What lies below an orphaned directory keeps its name there; of streams and
 * attributes the file is the orphan. Of directories that lead to each other in
 * a circle one gets a name, too: then ".." says which of its names is right.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "check_state.h"
#include "ecma167.h"

/* A chain of AEDs longer than that is none of an orphan's. */
#define AEDS_MAX 65536u
#define DIRECTORY_BYTES_MAX (UINT64_C(64) << 20)

struct orphan {
	uint32_t lbn;
	uint8_t file_type;
	bool whole;   /* all its blocks are lost ones, and no other's */
	bool torn;    /* but they end with an AED that is damaged */
	bool has_way; /* another orphan leads to it */
	size_t way;   /* the last one that does */
	bool reached; /* by way of one that gets a name, or needs none */
	size_t visit; /* the search for a circle that came here last */
};

/* An orphan leads to another one. */
struct way {
	size_t from;
	size_t to;
};

struct orphans {
	struct udf_check *check;
	uint8_t *lost; /* of the check; without what an orphan has claimed */
	uint32_t bits;
	struct orphan *list; /* by lbn */
	size_t count;
	size_t capacity;
	struct way *ways; /* by from */
	size_t way_count;
	size_t way_capacity;
	uint8_t *block;
};

static void clear_bit(uint8_t *bits, uint32_t i)
{
	bits[i / 8] &= (uint8_t)~(1u << (i % 8));
}

static int compare_orphans(const void *a, const void *b)
{
	const struct orphan *one = a;
	const struct orphan *other = b;

	return one->lbn < other->lbn ? -1 : one->lbn > other->lbn;
}

static struct orphan *find_orphan(const struct orphans *orphans, uint32_t lbn)
{
	const struct orphan key = { .lbn = lbn };

	if (orphans->count == 0) {
		return NULL;
	}
	return bsearch(&key, orphans->list, orphans->count, sizeof(key),
		       compare_orphans);
}

static int add_orphan(struct orphans *orphans, uint32_t lbn, uint8_t file_type)
{
	struct orphan *list = udf_array_grow(orphans->list, orphans->count,
					     &orphans->capacity, sizeof(*list));

	if (list == NULL) {
		return -ENOMEM;
	}
	orphans->list = list;
	orphans->list[orphans->count] = (struct orphan){
		.lbn = lbn,
		.file_type = file_type,
	};
	orphans->count++;
	return 0;
}

static bool is_file(uint8_t file_type)
{
	switch (file_type) {
	case UDF_FT_DIRECTORY:
	case UDF_FT_REGULAR:
	case UDF_FT_BLOCK_DEVICE:
	case UDF_FT_CHARACTER_DEVICE:
	case UDF_FT_EXTENDED_ATTRIBUTES:
	case UDF_FT_FIFO:
	case UDF_FT_SOCKET:
	case UDF_FT_SYMLINK:
	case UDF_FT_STREAM_DIRECTORY:
	case UDF_FT_REALTIME:
		return true;
	default:
		return false;
	}
}

static int found_icb(void *private_data, uint32_t lbn,
		     const struct udf_icb *icb)
{
	return is_file(icb->icbtag.file_type)
		       ? add_orphan(private_data, lbn, icb->icbtag.file_type)
		       : 0;
}

/* Take blocks for an orphan. False: they are not all lost, or not any more. */
static bool claim(struct orphans *orphans, uint32_t lbn, uint32_t count)
{
	uint32_t i = 0;

	if (count > orphans->bits || lbn > orphans->bits - count) {
		return false;
	}
	for (i = 0; i < count; i++) {
		if (!udf_check_bit(orphans->lost, lbn + i)) {
			return false;
		}
		clear_bit(orphans->lost, lbn + i);
	}
	return true;
}

/* An orphan's extents, one after the other. */
struct extent_walk {
	struct orphans *orphans;
	uint8_t *aed; /* the AED that the descriptors are in; NULL: the ICB */
	enum udf_ad_form form;
	uint16_t partition;
	const uint8_t *ads;
	size_t length;
	uint32_t next; /* the AED that follows what comes before it */
	bool has_next;
	bool torn; /* that is damaged */
	uint32_t steps;
};

/* The descriptors go on in an AED. */
static int walk_on(struct extent_walk *walk)
{
	const struct udf_volume_info *info = walk->orphans->check->info;
	struct udf_aed aed = { .ad_length = 0 };
	uint32_t lbn = walk->next;
	int ret = 0;

	walk->has_next = false;
	if (walk->steps == AEDS_MAX) {
		return -EUCLEAN;
	}
	walk->steps++;
	if (walk->aed == NULL) {
		walk->aed = malloc(info->block_size);
	}
	if (walk->aed == NULL) {
		return -ENOMEM;
	}
	ret = udf_volume_read(walk->orphans->check->volume, lbn, 1, walk->aed);
	if (ret == 0) {
		ret = decode_aed(walk->aed, info->block_size,
				 udf_volume_location(info, lbn).block, &aed);
		walk->torn = ret == -EUCLEAN;
	}
	walk->ads = aed.ads;
	walk->length = ret == 0 ? aed.ad_length : 0;
	return ret;
}

/*
 * The next extent that has blocks, or AED: 1, and *lbn, *count, *bytes (0: an
 * AED, which is read with the next call). 0: no more. -EUCLEAN, -EIO, -ENOMEM.
 */
static int next_extent(struct extent_walk *walk, uint32_t *lbn,
		       uint32_t *count, uint32_t *bytes)
{
	const struct udf_volume_info *info = walk->orphans->check->info;
	int ret = walk->has_next ? walk_on(walk) : 0;

	while (ret >= 0 && walk->length >= udf_ad_size(walk->form)) {
		struct udf_ad ad = { .length = 0 };

		ret = decode_ad(walk->ads, walk->length, walk->form,
				walk->partition, &ad);
		if (ret < 0) {
			return ret;
		}
		walk->ads += ret;
		walk->length -= (size_t)ret;
		if (ad.length == 0) {
			return 0;
		}
		*count = ad.length / info->block_size +
			 (ad.length % info->block_size != 0);
		*bytes = ad.length;
		if (ad.type == UDF_EXTENT_HOLE) {
			continue;
		}
		if (ad.type == UDF_EXTENT_NEXT) {
			*count = 1;
			*bytes = 0;
		}
		ret = udf_volume_address(info, &ad.addr, *count, lbn);
		walk->has_next = ret == 0 && ad.type == UDF_EXTENT_NEXT;
		walk->next = *lbn;
		return ret < 0 ? ret : 1;
	}
	return ret < 0 ? ret : 0;
}

static int begin_walk(struct orphans *orphans, uint32_t lbn,
		      struct udf_icb *icb, struct extent_walk *walk)
{
	const struct udf_volume_info *info = orphans->check->info;
	int ret = udf_volume_read(orphans->check->volume, lbn, 1,
				  orphans->block);

	if (ret == 0) {
		ret = decode_icb(orphans->block, info->block_size,
				 udf_volume_location(info, lbn).block, icb);
	}
	*walk = (struct extent_walk){
		.orphans = orphans,
		.form = icb->icbtag.flags & UDF_ICB_AD_MASK,
		.partition = udf_volume_location(info, lbn).partition,
		.ads = icb->ads,
		.length = icb->ad_length,
	};
	if (ret == 0 && walk->form == UDF_AD_IN_ICB) {
		walk->length = 0;
		ret = icb->information_length > icb->ad_length ? -EUCLEAN : 0;
	} else if (ret == 0 && udf_ad_size(walk->form) == 0) {
		ret = -EUCLEAN;
	}
	return ret;
}

/*
 * Are an orphan's blocks its own? Of one with a damaged AED, those that come
 * before that: when it has a name, it ends there, or the AED can be mended.
 * -ENOMEM.
 */
static int claim_orphan(struct orphans *orphans, struct orphan *orphan)
{
	struct extent_walk walk = { .aed = NULL };
	struct udf_icb icb = { .unique_id = 0 };
	uint32_t lbn = 0;
	uint32_t count = 0;
	uint32_t bytes = 0;
	bool whole = claim(orphans, orphan->lbn, 1);
	int ret = begin_walk(orphans, orphan->lbn, &icb, &walk);

	if (ret == 0 && walk.form != UDF_AD_IN_ICB) {
		ret = next_extent(&walk, &lbn, &count, &bytes);
	}
	while (ret > 0 && whole) {
		whole = claim(orphans, lbn, count);
		ret = next_extent(&walk, &lbn, &count, &bytes);
	}
	free(walk.aed);
	orphan->torn = walk.torn;
	orphan->whole = whole && (ret >= 0 || walk.torn);
	return ret == -ENOMEM ? ret : 0;
}

static void add_way(struct orphans *orphans, size_t from, size_t to)
{
	struct way *ways = udf_array_grow(orphans->ways, orphans->way_count,
					  &orphans->way_capacity,
					  sizeof(*ways));

	if (ways == NULL) {
		orphans->check->no_memory = true;
		return;
	}
	orphans->ways = ways;
	/* They come in the order of the list, so they are sorted. */
	orphans->ways[orphans->way_count] = (struct way){
		.from = from,
		.to = to,
	};
	orphans->way_count++;
}

/* An orphan leads to this ICB. False: which cannot be saved. */
static bool note_way(struct orphans *orphans, const struct orphan *from,
		     const struct udf_ad *ad)
{
	const struct udf_volume_info *info = orphans->check->info;
	struct orphan *orphan = NULL;
	uint32_t lbn = 0;

	if (udf_volume_address(info, &ad->addr, 1, &lbn) < 0) {
		return false;
	}
	orphan = find_orphan(orphans, lbn);
	if (orphan == NULL || !orphan->whole) {
		return false;
	}
	orphan->has_way = true;
	orphan->way = (size_t)(from - orphans->list);
	add_way(orphans, orphan->way, (size_t)(orphan - orphans->list));
	return true;
}

/* Streams (1) or attributes (0) of an orphan. */
static void note_part(struct orphans *orphans, const struct orphan *orphan,
		      const struct udf_ad *ad, uint64_t which)
{
	const struct udf_repair_step step = {
		.action = UDF_REPAIR_DETACH,
		.of_orphan = true,
		.lbn = orphan->lbn,
		.offset = which,
	};

	if (ad->length > 0 && !note_way(orphans, orphan, ad) &&
	    !orphans->check->summary->unreadable) {
		udf_check_fix(orphans->check, &step, 0, NULL,
			      "the file in block %u has no %s any more: they "
			      "are lost",
			      orphan->lbn, which ? "streams" : "attributes");
	}
}

/* A name of an orphan. */
static void note_name(struct orphans *orphans, const struct orphan *orphan,
		      uint64_t offset, const struct udf_fid *fid)
{
	const struct udf_repair_step step = {
		.action = UDF_REPAIR_REMOVE_NAME,
		.of_orphan = true,
		.directory = orphan->lbn,
		.offset = offset,
	};

	if (!note_way(orphans, orphan, &fid->icb) &&
	    !orphans->check->summary->unreadable) {
		udf_check_fix(orphans->check, &step, 0, NULL,
			      "the directory in block %u loses a name: it "
			      "leads to no file",
			      orphan->lbn);
	}
}

/* The bytes of an orphaned directory, to be freed. */
static int read_names(struct orphans *orphans, const struct orphan *orphan,
		      struct udf_icb *icb, uint8_t **_data, uint64_t *size)
{
	const struct udf_volume_info *info = orphans->check->info;
	struct extent_walk walk = { .aed = NULL };
	uint8_t *data = NULL;
	uint64_t at = 0;
	uint32_t lbn = 0;
	uint32_t count = 0;
	uint32_t bytes = 0;
	int ret = begin_walk(orphans, orphan->lbn, icb, &walk);

	if (ret < 0) {
		return ret;
	}
	*size = icb->information_length;
	if (*size > DIRECTORY_BYTES_MAX) {
		return -EUCLEAN;
	}
	data = calloc(1, *size + info->block_size);
	if (data == NULL) {
		return -ENOMEM;
	}
	if (walk.form == UDF_AD_IN_ICB) {
		memcpy(data, icb->ads, *size);
	} else {
		ret = next_extent(&walk, &lbn, &count, &bytes);
	}
	while (ret > 0 && at < *size) {
		uint64_t left = (*size - at + info->block_size - 1) /
				info->block_size;

		count = count < left ? count : (uint32_t)left;
		if (bytes > 0) {
			ret = udf_volume_read(orphans->check->volume, lbn,
					      count, data + at);
			at += (uint64_t)count * info->block_size;
		}
		if (ret >= 0) {
			ret = next_extent(&walk, &lbn, &count, &bytes);
		}
	}
	free(walk.aed);
	if (ret < 0 && !walk.torn) {
		free(data);
		return ret;
	}
	*_data = data;
	return 0;
}

static bool has_names(const struct orphan *orphan)
{
	return orphan->file_type == UDF_FT_DIRECTORY ||
	       orphan->file_type == UDF_FT_STREAM_DIRECTORY;
}

/*
 * What an orphan leads to, once it is known which are whole; before that, only
 * whether it can be read. -ENOMEM.
 */
static int follow(struct orphans *orphans, struct orphan *orphan, bool note)
{
	struct udf_icb icb = { .unique_id = 0 };
	struct extent_walk walk = { .aed = NULL };
	uint8_t *data = NULL;
	uint64_t size = 0;
	uint64_t at = 0;
	int ret = 0;

	if (!orphan->whole) {
		return 0;
	}
	if (has_names(orphan)) {
		ret = read_names(orphans, orphan, &icb, &data, &size);
	} else {
		ret = begin_walk(orphans, orphan->lbn, &icb, &walk);
	}
	if (ret < 0) {
		orphan->whole = false;
		return ret == -ENOMEM ? ret : 0;
	}
	if (note) {
		note_part(orphans, orphan, &icb.ea_icb, 0);
		note_part(orphans, orphan, &icb.stream_dir_icb, 1);
	}
	while (note && at < size) {
		struct udf_fid fid = { .name_length = 0 };
		uint64_t offset = at;
		int length = decode_fid(&data[at], size - at, UDF_ANY_LOCATION,
					&fid);

		at += length > 0 ? (uint64_t)length : 4;
		if (length > 0 && (fid.characteristics &
				   (UDF_FID_PARENT | UDF_FID_DELETED)) == 0) {
			note_name(orphans, orphan, offset, &fid);
		}
	}
	free(data);
	return 0;
}

static enum udf_finding_severity severity_of(const struct udf_check *check)
{
	/* A crash leaves files behind that had been removed. */
	return check->summary->closed ? UDF_FINDING_ERROR : UDF_FINDING_NOTE;
}

/* Nothing leads to it: it gets a name. */
static void report(struct orphans *orphans, const struct orphan *orphan)
{
	struct udf_check *check = orphans->check;
	const struct udf_repair_step step = {
		.action = UDF_REPAIR_RECONNECT,
		.lbn = orphan->lbn,
	};
	const char *what = orphan->file_type == UDF_FT_DIRECTORY ? "directory"
								  : "file";

	udf_check_found(check, UDF_FINDING_ORPHAN, severity_of(check), NULL,
			orphan->lbn,
			"no name leads to the %s with the ICB in block %u%s%s",
			what, orphan->lbn,
			orphan->torn ? ", whose allocation descriptors are "
				       "damaged"
				     : "",
			check->summary->unreadable
				? ", but it may have one in what cannot be read"
				: "");
	if (!check->summary->unreadable) {
		udf_check_fix(check, &step, 0, NULL,
			      "the %s in block %u gets the name "
			      "/lost+found/#%u",
			      what, orphan->lbn, orphan->lbn);
	}
}

static void report_broken(struct orphans *orphans, const struct orphan *orphan)
{
	udf_check_found(orphans->check, UDF_FINDING_ORPHAN, UDF_FINDING_NOTE,
			NULL, orphan->lbn,
			"in block %u was a file that no name leads to; it "
			"cannot be saved, as others have its blocks now",
			orphan->lbn);
}

static bool may_have_name(const struct orphan *orphan)
{
	return orphan->file_type != UDF_FT_STREAM_DIRECTORY &&
	       orphan->file_type != UDF_FT_EXTENDED_ATTRIBUTES;
}

/* The first way from an orphan on. */
static size_t first_way(const struct orphans *orphans, size_t from)
{
	size_t low = 0;
	size_t high = orphans->way_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (orphans->ways[middle].from < from) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low;
}

/* All that an orphan leads to is reached. todo has room for all orphans. */
static void reach(struct orphans *orphans, size_t start, size_t *todo)
{
	size_t count = 1;

	orphans->list[start].reached = true;
	todo[0] = start;
	while (count > 0) {
		size_t from = todo[count - 1];
		size_t i = first_way(orphans, from);

		count--;
		while (i < orphans->way_count &&
		       orphans->ways[i].from == from) {
			size_t to = orphans->ways[i].to;

			i++;
			if (!orphans->list[to].reached) {
				orphans->list[to].reached = true;
				todo[count] = to;
				count++;
			}
		}
	}
}

/*
 * One of those in the circle that leads to an orphan nothing else leads to:
 * the way back from there ends in it. SIZE_MAX: none can have a name.
 */
static size_t find_circle(struct orphans *orphans, size_t start)
{
	const size_t visit = start + 1;
	size_t at = start;
	size_t first = 0;

	while (orphans->list[at].visit != visit) {
		orphans->list[at].visit = visit;
		at = orphans->list[at].way;
	}
	first = at;
	while (!may_have_name(&orphans->list[at])) {
		at = orphans->list[at].way;
		if (at == first) {
			return SIZE_MAX;
		}
	}
	return at;
}

/* Of each circle that nothing leads to let one have no way to it. */
static int open_circles(struct orphans *orphans)
{
	size_t *todo = calloc(orphans->count + 1, sizeof(*todo));
	size_t i = 0;

	if (todo == NULL) {
		return -ENOMEM;
	}
	for (i = 0; i < orphans->count; i++) {
		if (orphans->list[i].whole && !orphans->list[i].has_way) {
			reach(orphans, i, todo);
		}
	}
	for (i = 0; i < orphans->count; i++) {
		const struct orphan *orphan = &orphans->list[i];
		size_t one = 0;

		if (!orphan->whole || orphan->reached) {
			continue;
		}
		one = find_circle(orphans, i);
		if (one != SIZE_MAX) {
			orphans->list[one].has_way = false;
			reach(orphans, one, todo);
		} else {
			reach(orphans, i, todo);
		}
	}
	free(todo);
	return 0;
}

static int judge(struct orphans *orphans)
{
	size_t i = 0;
	int ret = 0;

	for (i = 0; i < orphans->count && ret == 0; i++) {
		ret = claim_orphan(orphans, &orphans->list[i]);
	}
	for (i = 0; i < orphans->count && ret == 0; i++) {
		ret = follow(orphans, &orphans->list[i], false);
	}
	for (i = 0; i < orphans->count && ret == 0; i++) {
		ret = follow(orphans, &orphans->list[i], true);
	}
	if (ret == 0) {
		ret = open_circles(orphans);
	}
	for (i = 0; i < orphans->count && ret == 0; i++) {
		const struct orphan *orphan = &orphans->list[i];

		if (!orphan->whole) {
			report_broken(orphans, orphan);
		} else if (may_have_name(orphan) && !orphan->has_way) {
			report(orphans, orphan);
		}
	}
	return ret;
}

int udf_check_orphans(struct udf_check *check)
{
	struct orphans orphans = {
		.check = check,
		.lost = check->lost,
		.bits = check->info->address_blocks,
	};
	int ret = -ENOMEM;

	orphans.block = malloc(check->info->block_size);
	if (orphans.block != NULL) {
		ret = udf_check_scan(check, orphans.lost, false, found_icb,
				     &orphans);
		if (ret == 0) {
			ret = judge(&orphans);
		}
	}
	free(orphans.list);
	free(orphans.ways);
	free(orphans.block);
	return ret;
}
