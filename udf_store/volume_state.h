/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * An open volume, for volume_open.c and volume.c only.
 *
 * Locks: integrity_lock guards the integrity descriptor and is held while it
 * is written. Block I/O has its own rules, see partition.h. What
 * udf_volume_info() shows is not changed after the open.
 */
#ifndef UDF_STORE_VOLUME_STATE_H
#define UDF_STORE_VOLUME_STATE_H

#include <pthread.h>
#include <stdbool.h>

#include "blockdev.h"
#include "ecma167.h"
#include "integrity.h"
#include "mapped.h"
#include "partition.h"
#include "sparing.h"
#include "verify.h"
#include "volume.h"

struct udf_volume {
	struct udf_log log;
	struct udf_volume_info info;
	struct udf_blockdev *dev;
	struct udf_sparing *sparing;
	struct udf_verify *verify;
	struct udf_partition partition;
	struct udf_mapped *mapped; /* NULL: no such partition */
	pthread_mutex_t integrity_lock;
	struct udf_integrity_sequence integrity;
	bool integrity_made_up; /* the medium has none */
	/* The sequences that say where the integrity sequence is. */
	struct udf_avdp anchor;
	bool anchor_found;
};

#endif /* UDF_STORE_VOLUME_STATE_H */
