/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The sparing table of a sparable partition (UDF 2.2.9, 2.2.11): which packet
 * was relocated where. In memory, the entries are sorted by original, as UDF
 * wants them on the medium; the free spares (FFFFFFFF) are last.
 *
 * No locks: whoever calls lookups may do so from several threads; relocate
 * and commit need the table for themselves.
 */
#ifndef UDF_STORE_SPARING_H
#define UDF_STORE_SPARING_H

#include <stdbool.h>
#include <stdint.h>

#include "blockdev.h"
#include "ecma167.h"
#include "log.h"

struct udf_sparing;

/* Where the table belongs. Blocks are logical blocks. */
struct udf_sparing_geometry {
	uint32_t block_size;	   /* bytes */
	uint32_t volume_blocks;	   /* blocks of the device */
	uint32_t partition_start;  /* block of the volume */
	uint32_t partition_blocks;
	uint16_t tag_version;	   /* 2: UDF 1.x, 3: 2.x */
};

struct udf_sparing_counts {
	uint32_t total; /* packets, whatever their state */
	uint32_t free;
	uint32_t relocated;
	uint32_t defective; /* must never be used */
	uint32_t copies;
	uint32_t sequence;
};

/*
 * Read all copies that the partition map names and take the valid one with
 * the highest sequence number; when repair is set, write it over those that
 * differ. A copy is refused, with a log line, when its tag or CRC is wrong or
 * it would lead astray: an original twice or not at the start of a packet, a
 * spare outside the volume, within a table or shared by two entries.
 *
 * -EUCLEAN: the map makes no sense or no copy is valid. dev and log must
 * outlive the table.
 */
int udf_sparing_load(struct udf_blockdev *dev, const struct udf_log *log,
		     const struct udf_sparing_geometry *geometry,
		     const struct udf_partition_map *map, bool repair,
		     struct udf_sparing **sparing);

/* NULL is fine. */
void udf_sparing_free(struct udf_sparing *sparing);

uint32_t udf_sparing_packet_blocks(const struct udf_sparing *sparing);

/*
 * Where block lbn of the partition is on the volume, and how many of the
 * count blocks from there on follow it there (at least 1).
 */
uint32_t udf_sparing_map(const struct udf_sparing *sparing, uint32_t lbn,
			 uint32_t count, uint32_t *run);

/*
 * Write a packet's data (its blocks within the partition, bytes long) to a
 * spare, see that the medium holds it there, and map the packet to it. A spare
 * that does not hold the data is marked defective and the next one is taken.
 * The table on the medium is that of before until udf_sparing_commit().
 *
 * original: first block of the packet. *spare: where it is now.
 * -ENOSPC: no spare is left; -EIO: spare after spare failed, as when the whole
 * device does; other: the device's surroundings failed.
 */
int udf_sparing_relocate(struct udf_sparing *sparing, uint32_t original,
			 const void *data, size_t bytes, uint32_t *spare);

/*
 * Do not use the free spare at a block of the volume: it counts as defective.
 * With record, the table says so from the next udf_sparing_commit() on; else
 * for as long as the table is open. -ENOMEM.
 */
int udf_sparing_refuse(struct udf_sparing *sparing, uint32_t mapped,
		       bool record);

/*
 * Write the table, if it changed, to each copy with the next sequence number:
 * each is on the medium before the next is begun. 0: at least one copy holds
 * it (a log line tells of the others). -EIO: none does; the next call tries
 * again.
 */
int udf_sparing_commit(struct udf_sparing *sparing);
/* There is something for it to write. */
bool udf_sparing_is_changed(const struct udf_sparing *sparing);

void udf_sparing_count(const struct udf_sparing *sparing,
		       struct udf_sparing_counts *counts);

/* The entries, sorted; *count of them. Valid until the next relocation. */
const struct udf_sparing_entry *
udf_sparing_entries(const struct udf_sparing *sparing, uint32_t *count);

#endif /* UDF_STORE_SPARING_H */
