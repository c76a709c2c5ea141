/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The order of a check, its findings, and free space; see check.h.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check_state.h"
#include "ecma167.h"
#include "mapped.h"

#define TEXT_MAX 512

static const struct {
	const char *name;
	bool recount; /* a mount that counts anew puts it right */
} kinds[UDF_FINDING_KINDS] = {
	[UDF_FINDING_ANCHOR] = {"anchor", false},
	[UDF_FINDING_SEQUENCE] = {"volume descriptors", false},
	[UDF_FINDING_SPARING] = {"sparing table", false},
	[UDF_FINDING_METADATA] = {"metadata mirror", false},
	[UDF_FINDING_INTEGRITY] = {"integrity descriptor", true},
	[UDF_FINDING_SPACE_FREE] = {"used block is free", true},
	[UDF_FINDING_SPACE_LOST] = {"lost block", true},
	[UDF_FINDING_SHARED_BLOCK] = {"block used twice", false},
	[UDF_FINDING_ICB] = {"ICB", false},
	[UDF_FINDING_EXTENT] = {"extent", false},
	[UDF_FINDING_DIRECTORY] = {"directory", false},
	[UDF_FINDING_PARENT] = {"parent", false},
	[UDF_FINDING_LINKS] = {"link count", true},
	[UDF_FINDING_UNIQUE_ID] = {"unique id", false},
	[UDF_FINDING_STREAM] = {"stream", false},
	[UDF_FINDING_ORPHAN] = {"orphan", false},
};

const char *udf_finding_kind_name(enum udf_finding_kind kind)
{
	return kinds[kind].name;
}

uint64_t udf_check_errors(const struct udf_check_summary *summary)
{
	uint64_t sum = 0;
	size_t i = 0;

	for (i = 0; i < UDF_FINDING_KINDS; i++) {
		sum += summary->errors[i];
	}
	return sum;
}

void udf_check_found(struct udf_check *check, enum udf_finding_kind kind,
		     enum udf_finding_severity severity, const char *path,
		     uint32_t lbn, const char *format, ...)
{
	char text[TEXT_MAX];
	struct udf_finding finding = {
		.kind = kind,
		.severity = severity,
		.path = path,
		.lbn = lbn,
		.text = text,
	};
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	if (severity == UDF_FINDING_ERROR) {
		check->summary->errors[kind]++;
	} else {
		check->summary->notes++;
	}
	/* There is nothing to be counted of a note. */
	check->counted = severity != UDF_FINDING_ERROR;
	check->options->found(check->options->private_data, &finding);
	if (kinds[kind].recount && severity == UDF_FINDING_ERROR) {
		udf_check_recount(check);
	}
}

void udf_check_fixed(struct udf_check *check)
{
	if (check->info->read_only_reason[0] != '\0') {
		/* What we cannot write. */
		return;
	}
	if (!check->counted) {
		check->summary->repairable++;
		check->counted = true;
	}
}

void udf_check_fix(struct udf_check *check, const struct udf_repair_step *step,
		   size_t size, const char *path, const char *format, ...)
{
	struct udf_repair_plan *plan = check->options->plan;
	char sentence[TEXT_MAX];
	char *text = NULL;
	va_list ap;

	udf_check_fixed(check);
	if (plan == NULL || check->info->read_only_reason[0] != '\0') {
		return;
	}
	va_start(ap, format);
	vsnprintf(sentence, sizeof(sentence), format, ap);
	va_end(ap);
	if (asprintf(&text, "%s%s%s", path != NULL ? path : "",
		     path != NULL ? ": " : "", sentence) < 0) {
		check->no_memory = true;
		return;
	}
	if (udf_repair_plan_add(plan, step, size, text) < 0) {
		check->no_memory = true;
	}
	free(text);
}

void udf_check_recount(struct udf_check *check)
{
	const struct udf_repair_step step = { .action = UDF_REPAIR_RECOUNT };

	if (check->recounts) {
		udf_check_fixed(check);
		return;
	}
	check->recounts = true;
	udf_check_fix(check, &step, 0, NULL,
		      "free space, link counts, \"..\", second names and the "
		      "integrity descriptor: counted anew from the tree");
}

bool udf_check_bit(const uint8_t *bits, uint32_t i)
{
	return (bits[i / 8] & (1u << (i % 8))) != 0;
}

void udf_check_set_bit(uint8_t *bits, uint32_t i)
{
	bits[i / 8] |= (uint8_t)(1u << (i % 8));
}

static void note_shared(struct udf_check *check, uint32_t block)
{
	if (check->shared == NULL) {
		check->shared = calloc(
			1, (size_t)check->info->address_blocks / 8 + 1);
	}
	if (check->shared == NULL) {
		check->no_memory = true;
		return;
	}
	udf_check_set_bit(check->shared, block);
}

void udf_check_use(struct udf_check *check, uint32_t lbn, uint64_t count)
{
	uint32_t limit = check->info->address_blocks;
	uint64_t i = 0;

	for (i = 0; i < count && lbn + i < limit; i++) {
		uint32_t block = lbn + (uint32_t)i;

		if (udf_check_bit(check->used, block)) {
			note_shared(check, block);
			continue;
		}
		udf_check_set_bit(check->used, block);
		/* Of the metadata partition they are in the metadata file's. */
		check->summary->used_blocks +=
			block < check->info->partition_blocks;
	}
}

/* A bitmap, of the partition or of the metadata partition. */
struct bitmap {
	bool is_metadata;
	const char *name;
	uint32_t base;	 /* lbn of what its first bit is about */
	uint32_t blocks; /* of the partition */
	uint32_t bytes;	 /* as recorded, with the header */
};

/* A run of blocks that the bitmap and the tree see differently. */
struct space_run {
	const struct bitmap *of;
	bool lost;
	uint32_t first;
	uint32_t count;
};

static void report_run(struct udf_check *check, const struct space_run *run)
{
	/* A mount counts free space when the volume was not closed. */
	enum udf_finding_severity severity =
		check->summary->closed ? UDF_FINDING_ERROR : UDF_FINDING_NOTE;
	bool unreadable = check->summary->unreadable;

	if (run->count == 0) {
		return;
	}
	if (run->lost) {
		udf_check_found(check, UDF_FINDING_SPACE_LOST,
				unreadable ? UDF_FINDING_NOTE : severity, NULL,
				run->of->base + run->first,
				"%u blocks from %u on are not free in the %s "
				"bitmap, but nothing %suses them",
				run->count, run->first, run->of->name,
				unreadable ? "that can be read " : "");
	} else {
		udf_check_found(check, UDF_FINDING_SPACE_FREE, severity, NULL,
				run->of->base + run->first,
				"%u blocks from %u on are used, but the %s "
				"bitmap has them as free",
				run->count, run->first, run->of->name);
	}
}

static void compare_bits(struct udf_check *check, const struct bitmap *of,
			 const uint8_t *bits, uint32_t count,
			 uint32_t *free_blocks)
{
	struct space_run run = { .count = 0 };
	uint32_t i = 0;

	for (i = 0; i < count; i++) {
		bool is_free = udf_check_bit(bits, i);
		bool used = udf_check_bit(check->used, of->base + i);

		*free_blocks += is_free;
		if (is_free != used) {
			continue;
		}
		if (!used) {
			udf_check_set_bit(check->lost, of->base + i);
		}
		if (run.count > 0 && run.lost == !used &&
		    run.first + run.count == i) {
			run.count++;
			continue;
		}
		report_run(check, &run);
		run = (struct space_run){
			.of = of,
			.lost = !used,
			.first = i,
			.count = 1,
		};
	}
	report_run(check, &run);
}

/* The bytes of a bitmap, wherever its blocks are. */
static int read_bitmap(struct udf_check *check, const struct bitmap *of,
		       uint8_t *buf)
{
	uint32_t block_size = check->info->block_size;
	uint64_t blocks = ((uint64_t)of->bytes + block_size - 1) / block_size;

	for (uint32_t i = 0; i < blocks; i++) {
		uint32_t lbn = udf_volume_bitmap_lbn(check->volume,
						     of->is_metadata, i);
		int ret = udf_volume_read(check->volume, lbn, 1,
					  buf + (size_t)i * block_size);

		if (ret < 0) {
			return ret;
		}
	}
	return 0;
}

/*
 * A bitmap as it is recorded, to be freed, and how many blocks of its partition
 * it is about. -EUCLEAN: it is none; -EIO, -ENOMEM.
 */
static int load_bitmap(struct udf_check *check, const struct bitmap *of,
		       uint8_t **_buf, uint32_t *count)
{
	struct udf_space_bitmap bitmap = { .bits = 0 };
	uint64_t bytes = of->bytes;
	uint32_t lbn = udf_volume_bitmap_lbn(check->volume, of->is_metadata, 0);
	uint8_t *buf = malloc(bytes + check->info->block_size);
	int ret = 0;

	if (buf == NULL) {
		return -ENOMEM;
	}
	ret = read_bitmap(check, of, buf);
	if (ret == 0) {
		ret = decode_space_bitmap(buf, bytes,
					  of->is_metadata ? UDF_ANY_LOCATION
							  : lbn,
					  &bitmap);
	}
	if (ret == 0 && (bitmap.bytes > bytes - UDF_SPACE_BITMAP_LEN ||
			 bitmap.bits > 8 * (uint64_t)bitmap.bytes)) {
		ret = -EUCLEAN;
	}
	if (ret < 0) {
		free(buf);
		return ret;
	}
	*_buf = buf;
	*count = bitmap.bits < of->blocks ? bitmap.bits : of->blocks;
	return 0;
}

/*
 * A bitmap against what the walk found. *free_blocks: those it has as free;
 * UINT32_MAX when it cannot be read.
 */
static int check_bitmap(struct udf_check *check, const struct bitmap *of,
			uint32_t *free_blocks)
{
	uint32_t count = 0;
	uint8_t *buf = NULL;
	int ret = 0;

	*free_blocks = UINT32_MAX;
	if (of->bytes == 0) {
		return 0;
	}
	ret = load_bitmap(check, of, &buf, &count);
	if (ret == -ENOMEM) {
		return ret;
	}
	if (ret < 0) {
		udf_check_found(check, UDF_FINDING_SPACE_FREE,
				UDF_FINDING_ERROR, NULL,
				udf_volume_bitmap_lbn(check->volume,
						      of->is_metadata, 0),
				"the %s bitmap %s", of->name,
				ret == -EUCLEAN ? "is damaged"
						: "cannot be read");
		return 0;
	}
	*free_blocks = 0;
	compare_bits(check, of, buf + UDF_SPACE_BITMAP_LEN, count, free_blocks);
	free(buf);
	return 0;
}

static struct bitmap space_bitmap(const struct udf_check *check)
{
	return (struct bitmap){
		.name = "space",
		.blocks = check->info->partition_blocks,
		.bytes = check->info->space_bitmap_bytes,
	};
}

static struct bitmap metadata_bitmap(const struct udf_check *check)
{
	return (struct bitmap){
		.is_metadata = true,
		.name = "metadata",
		.base = check->info->partition_blocks,
		.blocks = check->info->mapped_blocks,
		.bytes = check->info->metadata_bitmap_bytes,
	};
}

/* Clear the bits of what a bitmap has as free. -ENOMEM. */
static int clear_free(struct udf_check *check, const struct bitmap *of,
		      uint8_t *bits)
{
	uint32_t count = 0;
	uint8_t *buf = NULL;
	uint32_t i = 0;
	int ret = 0;

	if (of->bytes == 0) {
		return 0;
	}
	ret = load_bitmap(check, of, &buf, &count);
	if (ret < 0) {
		return ret == -ENOMEM ? ret : 0;
	}
	for (i = 0; i < count; i++) {
		uint32_t block = of->base + i;

		if (udf_check_bit(buf + UDF_SPACE_BITMAP_LEN, i)) {
			bits[block / 8] &= (uint8_t)~(1u << (block % 8));
		}
	}
	free(buf);
	return 0;
}

uint8_t *udf_check_taken(struct udf_check *check)
{
	const struct bitmap space = space_bitmap(check);
	const struct bitmap metadata = metadata_bitmap(check);
	size_t size = (size_t)check->info->address_blocks / 8 + 1;
	uint8_t *bits = malloc(size);
	int ret = 0;

	if (bits == NULL) {
		return NULL;
	}
	memset(bits, 0xFF, size);
	ret = clear_free(check, &space, bits);
	if (ret == 0 && check->info->has_metadata) {
		ret = clear_free(check, &metadata, bits);
	}
	if (ret < 0) {
		free(bits);
		return NULL;
	}
	return bits;
}

/* A block of a bitmap, with all its bytes in buf, is written. */
static void write_bitmap_block(struct udf_check *check,
			       const struct bitmap *of, uint8_t *buf,
			       uint32_t number, const char *text)
{
	uint32_t size = check->info->block_size;
	const struct udf_repair_step step = {
		.action = UDF_REPAIR_WRITE,
		.lbn = udf_volume_bitmap_lbn(check->volume, of->is_metadata,
					     number),
		.bytes = buf + (size_t)number * size,
	};

	udf_check_fix(check, &step, size, NULL, "the %s bitmap %s", of->name,
		      text);
}

int udf_check_take(struct udf_check *check, uint32_t lbn)
{
	const size_t header = UDF_SPACE_BITMAP_LEN - UDF_TAG_LEN;
	const struct bitmap of = lbn < check->info->partition_blocks
					 ? space_bitmap(check)
					 : metadata_bitmap(check);
	struct udf_tag tag = { .id = 0 };
	uint32_t bit = lbn - of.base;
	uint32_t count = 0;
	uint32_t number = 0;
	uint8_t *buf = NULL;
	size_t at = 0;
	int ret = load_bitmap(check, &of, &buf, &count);

	if (ret < 0) {
		return ret;
	}
	ret = bit < count ? decode_tag(buf, of.bytes, &tag) : -EUCLEAN;
	if (ret == 0 && tag.crc_length > header) {
		/* A CRC of the bits as well: it is optional (UDF 2.3.3). */
		ret = encode_tag(&tag, buf, of.bytes, header);
	}
	if (ret == 0) {
		at = UDF_SPACE_BITMAP_LEN + bit / 8;
		number = (uint32_t)(at / check->info->block_size);
		buf[at] &= (uint8_t)~(1u << (bit % 8));
	}
	if (ret == 0 && number > 0 && tag.crc_length > header) {
		write_bitmap_block(check, &of, buf, 0,
				   "has a CRC of its header alone");
	}
	if (ret == 0) {
		write_bitmap_block(check, &of, buf, number,
				   "has a block more in use, for the root "
				   "directory");
	}
	free(buf);
	return ret;
}

/* One of the files of a metadata partition has no ICB any more. */
static int report_lost_file(void *private_data, const char *name, uint32_t lbn,
			    uint32_t count)
{
	const struct udf_repair_step step = { .action = UDF_REPAIR_RECOUNT };
	struct udf_check *check = private_data;

	(void)count;
	check->metadata_lost = true;
	udf_check_found(check, UDF_FINDING_METADATA, UDF_FINDING_ERROR, NULL,
			lbn, "the ICB of the %s in block %u is lost", name,
			lbn);
	udf_check_fix(check, &step, 0, NULL,
		      "the %s gets another ICB in block %u, and what it had is "
		      "written from what is left, as a writable mount does",
		      name, lbn);
	return 0;
}

/* The metadata file against its mirror, where something uses them. */
static int check_mirror(struct udf_check *check)
{
	const struct udf_volume_info *info = check->info;
	/* After a cut they differ by what was written last. */
	enum udf_finding_severity severity =
		check->summary->closed ? UDF_FINDING_ERROR : UDF_FINDING_NOTE;
	uint32_t differ = 0;
	uint8_t *used = NULL;
	int ret = 0;

	used = calloc(1, (size_t)info->mapped_blocks / 8 + 1);
	if (used == NULL) {
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < info->mapped_blocks; i++) {
		if (udf_check_bit(check->used, info->partition_blocks + i)) {
			udf_check_set_bit(used, i);
		}
	}
	ret = udf_volume_metadata_compare(check->volume, used, false, &differ);
	if (ret == 0 && differ > 0 && !check->metadata_lost) {
		const struct udf_repair_step step = {
			.action = UDF_REPAIR_MIRROR,
		};

		udf_check_found(check, UDF_FINDING_METADATA, severity, NULL,
				UINT32_MAX,
				"%u blocks of the metadata file and its mirror "
				"are not the same, or one cannot be read",
				differ);
		udf_check_fix(check, &step, 0, NULL,
			      "the metadata file and its mirror are written "
			      "from each other");
	}
	free(used);
	return ret;
}

/* Free space, as its bitmaps have it and as the walk has found it. */
static int check_space(struct udf_check *check, uint32_t *free_blocks,
		       uint32_t *metadata_free)
{
	const struct udf_volume_info *info = check->info;
	const struct bitmap space = space_bitmap(check);
	const struct bitmap metadata = metadata_bitmap(check);
	int ret = 0;

	*free_blocks = UINT32_MAX;
	*metadata_free = UINT32_MAX;
	if (info->mapped_blocks > 0 && !info->has_metadata) {
		udf_check_found(check, UDF_FINDING_SPACE_LOST,
				UDF_FINDING_NOTE, NULL, UINT32_MAX,
				"free space is not checked on a volume with a "
				"virtual partition");
		return 0;
	}
	ret = check_bitmap(check, &space, free_blocks);
	if (ret == 0 && info->has_metadata) {
		ret = check_bitmap(check, &metadata, metadata_free);
	}
	if (ret == 0 && info->has_metadata) {
		ret = check_mirror(check);
	}
	if (ret == 0) {
		ret = udf_check_orphans(check);
	}
	return ret;
}

static void check_count(struct udf_check *check, const char *what,
			uint64_t recorded, uint64_t found)
{
	bool unreadable = check->summary->unreadable;

	if (recorded != found) {
		udf_check_found(check, UDF_FINDING_INTEGRITY,
				unreadable ? UDF_FINDING_NOTE
					   : UDF_FINDING_ERROR,
				NULL, UINT32_MAX,
				"the integrity descriptor has %llu %s, the "
				"volume %llu%s",
				(unsigned long long)recorded, what,
				(unsigned long long)found,
				unreadable ? " that can be read" : "");
	}
}

/* What the Logical Volume Integrity Descriptor says of a closed volume. */
static void check_integrity(struct udf_check *check, uint32_t free_blocks,
			    uint32_t metadata_free)
{
	struct udf_integrity integrity = { .closed = false };

	udf_volume_get_integrity(check->volume, &integrity);
	if (!integrity.found) {
		udf_check_found(check, UDF_FINDING_INTEGRITY,
				UDF_FINDING_ERROR, NULL, UINT32_MAX,
				"the integrity descriptor is damaged, or is "
				"not there");
		return;
	}
	if (!integrity.closed) {
		return;
	}
	if (free_blocks != UINT32_MAX &&
	    integrity.free_blocks != UINT32_MAX) {
		check_count(check, "free blocks", integrity.free_blocks,
			    free_blocks);
	}
	if (metadata_free != UINT32_MAX &&
	    integrity.metadata_free != UINT32_MAX) {
		check_count(check, "free blocks of metadata",
			    integrity.metadata_free, metadata_free);
	}
	check_count(check, "files", integrity.files, check->summary->files);
	check_count(check, "directories", integrity.directories,
		    check->summary->directories);
	if (integrity.next_unique_id <= check->max_unique_id) {
		udf_check_found(check, UDF_FINDING_INTEGRITY,
				UDF_FINDING_ERROR, NULL, UINT32_MAX,
				"the next unique id, %llu, is not above the "
				"highest in use, %llu",
				(unsigned long long)integrity.next_unique_id,
				(unsigned long long)check->max_unique_id);
	}
}

static int check_opened(struct udf_check *check, const char *path)
{
	struct udf_integrity integrity = { .closed = false };
	uint32_t free_blocks = UINT32_MAX;
	uint32_t metadata_free = UINT32_MAX;
	int ret = 0;

	check->info = udf_volume_info(check->volume);
	check->summary->block_size = check->info->block_size;
	check->summary->total_blocks = check->info->partition_blocks;
	udf_volume_get_integrity(check->volume, &integrity);
	check->summary->closed = integrity.closed;
	snprintf(check->summary->why_not, sizeof(check->summary->why_not),
		 "%s", check->info->read_only_reason);
	check->used = calloc(1, (size_t)check->info->address_blocks / 8 + 1);
	check->lost = calloc(1, (size_t)check->info->address_blocks / 8 + 1);
	if (check->used == NULL || check->lost == NULL) {
		free(check->used);
		free(check->lost);
		return -ENOMEM;
	}
	ret = udf_check_descriptors(check, path);
	if (ret == 0 && check->info->has_metadata) {
		ret = udf_mapped_each_lost(udf_volume_metadata(check->volume),
					   report_lost_file, check);
	}
	if (ret == 0) {
		ret = udf_check_spares_begin(check);
	}
	if (ret == 0) {
		ret = udf_check_tree(check);
	}
	if (ret == 0 && !check->no_tree) {
		udf_check_spares(check);
	}
	/* Without a tree all would be lost, and nothing could be done. */
	if (ret == 0 && !check->no_tree) {
		ret = check_space(check, &free_blocks, &metadata_free);
	}
	if (ret == 0 && !check->no_tree) {
		check_integrity(check, free_blocks, metadata_free);
	}
	if (ret == 0 && check->no_memory) {
		ret = -ENOMEM;
	}
	udf_check_spares_end(check);
	free(check->used);
	free(check->lost);
	free(check->shared);
	return ret;
}

int udf_check(const char *path, const struct udf_check_options *options,
	      struct udf_check_summary *summary)
{
	struct udf_volume_options volume_options = {
		.read_only = true,
		.repair = true,
		.log = options->log,
		.log_private = options->log_private,
	};
	struct udf_check check = {
		.options = options,
		.summary = summary,
	};
	int ret = 0;

	*summary = (struct udf_check_summary){ .closed = false };
	ret = udf_volume_open(path, &volume_options, &check.volume);
	if (ret < 0) {
		return ret;
	}
	ret = check_opened(&check, path);
	udf_volume_close(check.volume);
	return ret;
}
