/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A node: an ICB in memory, with its extent map or its embedded data, and the
 * cache of nodes by the block of their ICB.
 *
 * A node stays in the cache while it has references. The kernel's lookups
 * hold one each, the list of dirty nodes holds one, a running commit too: so
 * what is not in the cache is on the medium as last changed. Some nodes
 * without references are kept for their next use.
 */
#ifndef UDF_STORE_NODE_H
#define UDF_STORE_NODE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "ecma167.h"
#include "extent.h"
#include "space.h"

struct udf_fs;
struct udf_directory;

/*
 * An ICB that we make is never longer than this: what a medium writes whole,
 * whatever its block is made of. So an ICB is old or new after a power cut.
 */
#define UDF_ICB_ATOMIC_LEN 512u

/* The largest file: what the descriptors of one hole of that size take is
 * still a small chain of AEDs. */
#define UDF_FILE_SIZE_MAX (8ULL << 40)

/*
 * The allocation descriptors that a node's AEDs have on the medium: while its
 * map says the same, its ICB can be written again and leave the AEDs as they
 * are. That takes no block, so a name can be removed on a full volume.
 */
struct udf_aed_chain {
	uint32_t first;	 /* lbn of the first AED */
	uint16_t form;	 /* enum udf_ad_form */
	size_t in_icb;	 /* bytes of descriptors in front of it */
	uint8_t *ads;	 /* in all AEDs together; NULL: not known */
	size_t length;	 /* bytes */
	/* The commit that wrote them did not end well, or has not ended: they
	 * have to be written again, where they are. */
	bool unsure;
};

struct udf_node {
	struct udf_fs *fs;
	uint32_t lbn; /* of the ICB; never changes */

	/* The cache's lock protects these. */
	struct udf_node *hash_next;
	struct udf_node *idle_prev;
	struct udf_node *idle_next;
	struct udf_node *orphan_next;
	uint64_t references;
	bool loading;
	bool is_idle; /* on the list of nodes without references */
	int load_error;
	uint64_t ino;
	struct udf_node *ino_next;
	size_t footprint; /* bytes of memory that were counted for it */

	/* Protects what follows; changed only inside an operation (fs.h). */
	pthread_rwlock_t lock;

	uint8_t file_type; /* enum udf_file_type */
	mode_t mode;
	uint32_t uid;
	uint32_t gid;
	uint32_t link_count; /* FIDs that name it, a child's parent FID too */
	uint64_t size;
	struct timespec access;
	struct timespec modification;
	struct timespec creation;
	struct timespec attribute;
	uint64_t unique_id;
	uint32_t device_major;
	uint32_t device_minor;

	/* Kept as read, to be written again. */
	uint16_t tag_id; /* UDF_TAG_FE or UDF_TAG_EFE */
	uint16_t icb_flags;
	struct udf_icbtag icbtag;
	struct udf_ad ea_icb;
	struct udf_ad stream_dir_icb;
	bool write_once; /* strategy 4096: the newest ICB is elsewhere */
	uint64_t streams_size; /* object size without the main stream */
	uint32_t checkpoint;
	uint8_t *ea;
	uint32_t ea_length;

	/* The data: embedded in the ICB, or in extents. */
	bool embedded;
	uint8_t *data; /* embedded: size bytes */
	struct udf_extent_map map;
	int map_error; /* the descriptors are damaged: no I/O */
	uint8_t *damaged; /* then: what the ICB has there, to be kept */
	uint32_t damaged_length;
	uint64_t blocks_recorded; /* as read */
	bool beyond_end; /* blocks are allocated behind the end of the file */

	/* AEDs: where they are on the medium, how many are reserved, and what
	 * is known to be in them. */
	struct udf_run_list aeds;
	uint32_t aeds_reserved;
	struct udf_aed_chain chain;

	struct udf_directory *directory; /* loaded; NULL: not yet */
	uint32_t child_goal; /* block where the next file's ICB should be */

	/* The dirty list's lock (commit.c). */
	bool dirty;
	bool fresh; /* never on the medium */
	struct udf_node *dirty_next;
	struct udf_node *dirty_prev;

	/* Opens by the kernel, and how many of them are about to end:
	 * opens_lock (fs.c). */
	uint32_t opens;
	uint32_t closing;
	bool unmanaged; /* no defect management until the last close */
	/* Bytes written to blocks and managed, ever; and of these, what is
	 * verified. Atomic. */
	uint64_t data_written;
	uint64_t data_synced;
	uint64_t data_flushed; /* written before the last flush */
	bool replaces; /* its name was another's before the last commit */
	unsigned int gates; /* writers wait: commit.lock, read atomically */
	/* No name is left: it ends with its last reference. */
	bool unlinked;
};

#define UDF_NODE_BUCKETS_MIN 1024u

struct udf_node_cache {
	pthread_mutex_t lock;
	pthread_cond_t loaded;
	struct udf_node **buckets;
	struct udf_node **ino_buckets;
	size_t bucket_count;
	size_t node_count;
	struct udf_node *idle_first; /* least recently used */
	struct udf_node *idle_last;
	size_t idle_count;
	size_t footprint; /* bytes of memory of all nodes, about */
	size_t idle_footprint;
	size_t limit; /* bytes, of what is read from the medium */
	bool told_limit; /* the log says that it was reached */
	struct udf_node *orphans; /* unlinked, last reference gone */
};

/* limit: of the memory for nodes, in bytes; 0: a quarter of the machine's. */
int udf_node_cache_init(struct udf_node_cache *cache, size_t limit);
/* All nodes are freed; none may be in use. */
void udf_node_cache_destroy(struct udf_node_cache *cache);

/*
 * The node of the ICB at lbn, with a reference for the caller. -EUCLEAN: no
 * ICB there; -EIO; -ENOMEM.
 */
int udf_node_get(struct udf_fs *fs, uint32_t lbn, struct udf_node **node);
/* One more reference to a node that the caller has one of. */
void udf_node_ref(struct udf_node *node, uint64_t count);
/*
 * Give back references. The last one of an unlinked node puts it on the
 * cache's list of orphans, for udf_node_next_orphan().
 */
void udf_node_put(struct udf_node *node, uint64_t count);
/* Take a node off the list of orphans; NULL: none. It is the caller's. */
struct udf_node *udf_node_next_orphan(struct udf_fs *fs);
/* At the end of the mount: nobody has references, whatever the counts say. */
void udf_node_abandon_unlinked(struct udf_fs *fs);
/* Free a node that is an orphan of the caller's. */
void udf_node_free(struct udf_node *node);

/*
 * A new node, in a block taken near goal: type, mode, owner and unique id as
 * given, times now, embedded and empty, no links. One reference; dirty after
 * udf_commit_dirty(). -ENOSPC, -EIO, -ENOMEM.
 */
struct udf_node_attributes {
	uint8_t file_type;
	mode_t mode; /* permission bits */
	uint32_t uid;
	uint32_t gid;
	uint64_t unique_id;
	uint32_t device_major;
	uint32_t device_minor;
	bool is_stream; /* a named stream, with its file's unique id */
};
int udf_node_create(struct udf_fs *fs,
		    const struct udf_node_attributes *attributes,
		    uint32_t goal, struct udf_node **node);

/*
 * Release all blocks of a node that no name leads to: data, AEDs, streams,
 * attributes, the ICB itself.
 */
void udf_node_release_blocks(struct udf_node *node);

/* Release what is allocated behind the end of the file. */
void udf_node_trim(struct udf_node *node);

/* Data bytes that fit in this node's ICB. */
uint32_t udf_node_embedded_max(const struct udf_node *node);

/*
 * Have enough blocks reserved for the AEDs that the extent map needs when it
 * is written next, also after one more change of the map. -ENOSPC.
 */
int udf_node_reserve_aeds(struct udf_node *node);
/*
 * The same before a change that leaves the extents as they are: no space is
 * needed when the AEDs on the medium will do.
 */
int udf_node_reserve_same(struct udf_node *node);
/* The same for the map when it has been cut to so many blocks. */
int udf_node_reserve_cut(struct udf_node *node, uint64_t blocks);
/* Nothing is known any more of what is in the AEDs on the medium. */
void udf_node_forget_aeds(struct udf_node *node);
/* A commit with the node ended well: they are on the medium. */
void udf_node_aeds_stored(struct udf_node *node);

/*
 * The blocks of the node's metadata as they shall be on the medium: AEDs that
 * change go to new blocks (out of the reserve; the old ones are released), the
 * ICB to its own. AEDs of which a commit that failed has written the same go
 * where they are: so one that is tried again on a full volume takes no space.
 * Each is given to store. embedded_data: what to put into the ICB instead of
 * node->data, or NULL.
 */
typedef int (*udf_node_store_fn)(void *private_data, uint32_t lbn,
				 const uint8_t *block, bool is_icb);
int udf_node_encode(struct udf_node *node, const uint8_t *embedded_data,
		    udf_node_store_fn store, void *private_data);
/* The ICB alone, of a file without data. */
int udf_node_encode_empty(struct udf_node *node, udf_node_store_fn store,
			  void *private_data);

/*
 * The address of an ICB that belongs to another one (its streams, its
 * attributes), with an lbn as its block and UDF_PARTITION_LBN as its
 * partition; and back. One that is nowhere stays what it is, to be written
 * again as it was.
 */
#define UDF_PARTITION_LBN UINT16_MAX
struct udf_ad udf_node_part(const struct udf_volume_info *info,
			    const struct udf_ad *ad);
struct udf_ad udf_node_part_recorded(const struct udf_volume_info *info,
				     const struct udf_ad *part);

/* Where blocks for the node's data come from: those of a directory are
 * metadata. */
struct udf_space *udf_node_data_space(struct udf_node *node);

/*
 * Before so many bytes of memory are taken for what the medium says of the
 * node. A few blocks of it can say more than any machine has memory for.
 * -ENOMEM: it is beyond the limit; said so in the log once.
 */
int udf_node_claim_memory(struct udf_node *node, size_t bytes);

/* Fill in a node from the ICB at its block (icb.c). */
int udf_node_load(struct udf_node *node);

bool udf_node_is_directory(const struct udf_node *node);

/* Data was written to blocks; that many bytes of the node are verified. */
void udf_node_note_data(struct udf_node *node, uint64_t bytes);
void udf_node_note_synced(struct udf_node *node, uint64_t written);
uint64_t udf_node_data_written(const struct udf_node *node);
/* Bytes written, one over the other too, and not verified; 0 where nothing
 * ever is. */
uint64_t udf_node_unsynced(const struct udf_node *node);
bool udf_node_has_unsynced(const struct udf_node *node);
/* The same where nothing is verified: data that no commit has synced. */
bool udf_node_has_unflushed(const struct udf_node *node);

/* Add the recorded blocks of the node's data. -ENOMEM. The lock is held. */
int udf_node_add_runs(const struct udf_node *node, struct udf_run_list *runs);

/* S_IFMT bits of the node's type. */
mode_t udf_node_format(const struct udf_node *node);

/* The time as UDF keeps it. */
struct timespec udf_node_now(void);

#endif /* UDF_STORE_NODE_H */
