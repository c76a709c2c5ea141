/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the parts of a mounted file system share. Only the file system's own
 * files include this; udfd.c knows fs.h.
 */
#ifndef UDF_STORE_STATE_H
#define UDF_STORE_STATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "node.h"
#include "space.h"
#include "volume.h"

struct udf_commit_waiter;

struct udf_commit {
	pthread_mutex_t lock; /* of all below, and of the nodes' gates */
	pthread_cond_t done;
	pthread_cond_t opened; /* a gate */
	struct udf_node *dirty_first;
	size_t dirty_count;
	bool running;
	struct udf_commit_waiter *waiting; /* for the next commit */
	pthread_t thread;
	bool thread_started;
	bool stop;
	pthread_cond_t wake;
};

struct udf_fs {
	struct udf_volume *volume;
	const struct udf_volume_info *info;
	bool read_only;
	bool repairing; /* see repair.h */
	bool keeps_names; /* two of a name are none of our commits' */
	uint16_t tag_version;
	uint16_t tag_serial;
	uint32_t root_lbn;
	struct udf_ad system_stream_dir_icb;
	char copyright[UDF_TEXT_LEN];
	char abstract[UDF_TEXT_LEN];

	struct udf_space space;
	struct udf_node_cache cache;
	struct udf_node *root;

	/* fs.c says in which order these are taken. */
	pthread_rwlock_t operations;
	pthread_rwlock_t names;
	struct udf_commit commit;

	pthread_mutex_t opens_lock; /* of what nodes know of their opens */
	pthread_cond_t opens_changed;

	pthread_mutex_t counters_lock;
	bool integrity_open; /* the LVID on the medium says open */
	bool told_full; /* the log says that the metadata partition is full */
	bool growth_pending; /* its files' ICBs have to be written; operations */
	uint64_t next_unique_id;
	uint32_t files;
	uint32_t directories;
};

/* A unique id for a new file (UDF 3.2.1.1). */
uint64_t udf_fs_next_unique_id(struct udf_fs *fs);

#endif /* UDF_STORE_STATE_H */
