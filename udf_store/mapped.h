/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Partitions that lie in another one: the virtual partition of write-once
 * media (UDF 2.2.8, 2.2.11) and the metadata partition (UDF 2.50 2.2.10,
 * 2.2.13). Each of their blocks is somewhere in the physical partition; a
 * table in that partition says where.
 *
 * Only read. The table does not change while the volume is open.
 */
#ifndef UDF_STORE_MAPPED_H
#define UDF_STORE_MAPPED_H

#include <stdint.h>

#include "ecma167.h"
#include "partition.h"

struct udf_mapped;

/*
 * Read the table of a metadata partition: the metadata file, or its mirror
 * when that is damaged.
 *
 * 0, or a negative errno after one log line: -EUCLEAN, neither can be
 * understood; -EIO; -ENOMEM.
 */
int udf_mapped_open_metadata(struct udf_partition *physical,
			     const struct udf_partition_map *map,
			     struct udf_mapped **mapped);

/*
 * Read the Virtual Allocation Table, whose ICB is the last thing recorded on
 * the medium. Errors as above.
 */
int udf_mapped_open_virtual(struct udf_partition *physical,
			    uint32_t volume_blocks, struct udf_mapped **mapped);

void udf_mapped_free(struct udf_mapped *mapped);

/* Logical blocks of the partition. */
uint32_t udf_mapped_blocks(const struct udf_mapped *mapped);

/*
 * Read count blocks from block on, which must be within the partition. What
 * the metadata file cannot give is taken from its mirror. -EIO, also for a
 * block that is nowhere.
 */
int udf_mapped_read(const struct udf_mapped *mapped, uint32_t block,
		    uint32_t count, void *buf);

#endif /* UDF_STORE_MAPPED_H */
