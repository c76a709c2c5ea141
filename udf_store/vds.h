/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Recognising a UDF volume: anchors, the block size, and the Volume
 * Descriptor Sequences (ECMA-167 3/8.4).
 */
#ifndef UDF_STORE_VDS_H
#define UDF_STORE_VDS_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "blockdev.h"
#include "ecma167.h"
#include "log.h"

#define UDF_MAX_PARTITIONS 4u
#define UDF_VOLUME_SET_ID_LEN 128u

/* The prevailing descriptors: of each kind the highest sequence number. */
struct udf_vds {
	uint32_t block_size;	/* bytes */
	uint32_t volume_blocks; /* blocks of the device */
	struct udf_avdp anchor; /* where the sequences are */
	bool anchor_found;	/* it was read, not made up */
	bool has_pvd;
	uint32_t pvd_sequence;
	uint8_t volume_set_id[UDF_VOLUME_SET_ID_LEN];
	uint8_t recorded_raw[UDF_TIMESTAMP_LEN];
	struct timespec recorded;
	bool has_lvd;
	struct udf_lvd lvd;
	uint32_t partitions;
	struct udf_pd pd[UDF_MAX_PARTITIONS];
};

/*
 * Find the volume on the device. block_size in bytes, 0: try them all. With
 * search, for a repair, the sequences are looked for when no anchor is valid.
 *
 * -EMEDIUMTYPE: no UDF volume; -EUCLEAN: it is one, but neither sequence has
 * the descriptors that are needed; -EIO. One log line says so.
 */
int udf_vds_read(struct udf_blockdev *dev, const struct udf_log *log,
		 uint32_t block_size, bool search, struct udf_vds *vds);

/*
 * vds_search.c: an anchor for the sequences of a volume that has none, without
 * a location. -ENOENT: there are not just two, or they do not agree; -ENOMEM.
 */
int udf_vds_search(struct udf_blockdev *dev, uint32_t block_size,
		   struct udf_avdp *anchor);

/*
 * Let the Logical Volume Descriptors of both sequences say that the integrity
 * sequence is in this extent: the reserve first, each on the medium before
 * the next. 0: at least one says so.
 */
int udf_vds_set_integrity(struct udf_blockdev *dev, const struct udf_log *log,
			  uint32_t block_size, const struct udf_avdp *anchor,
			  struct udf_extent_ad extent);

#endif /* UDF_STORE_VDS_H */
