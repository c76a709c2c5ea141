/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The ABI between an open file or directory on a udfd mount and its callers
 * (the Samba module's store_udfd.c, udfctl, tests).
 *
 * Each ioctl works on any file or directory of the mount that was opened for
 * real (not O_PATH). Integers are in host byte order: both ends are on one
 * machine. Strings are UTF-8, ended by a NUL and padded with zeroes.
 *
 * Errors, for all: ENOTTY, not a udfd mount; EIO, the daemon is gone.
 */
#ifndef UDFD_IOCTL_H
#define UDFD_IOCTL_H

#include <assert.h>
#include <stdint.h>
#include <sys/ioctl.h>

/* The first words of each reply: tell udfd from any other FUSE daemon. */
#define UDFD_IOCTL_MAGIC 0x44464455u /* "UDFD" */
#define UDFD_IOCTL_VERSION 1u

#define UDFD_VOLUME_ID_LEN 16u
#define UDFD_TEXT_LEN 128u

/* udfd_volume_info.flags */
#define UDFD_VOLUME_READ_ONLY 0x1u      /* mounted read-only */
#define UDFD_VOLUME_SPARABLE 0x2u       /* has sparing tables */
#define UDFD_VOLUME_DEFECT_MANAGED 0x4u /* udfd verifies and relocates */
#define UDFD_VOLUME_NAMED_STREAMS 0x8u  /* serves named streams */

struct udfd_volume_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint16_t udf_revision; /* BCD: 0x0150, 0x0201 */
	uint16_t reserved;
	/* The same on every machine and after every mount, as long as the
	 * volume is not formatted again. */
	uint8_t volume_id[UDFD_VOLUME_ID_LEN];
	uint32_t block_size; /* bytes of a logical block */
	uint32_t reserved2;
	uint64_t total_blocks;   /* logical blocks of the partition */
	uint64_t free_blocks;    /* of these unallocated */
	int64_t directory_count; /* -1: unknown */
	int64_t file_count;      /* -1: unknown */
	int64_t format_time_sec; /* seconds of 1970 UTC */
	uint32_t format_time_nsec;
	uint32_t update_time_nsec;
	int64_t update_time_sec;
	char label[UDFD_TEXT_LEN];     /* Logical Volume Identifier */
	char copyright[UDFD_TEXT_LEN]; /* FSD: Copyright File Identifier */
	char abstract[UDFD_TEXT_LEN];  /* FSD: Abstract File Identifier */
	char formatter[UDFD_TEXT_LEN]; /* LVD: Implementation Identifier */
	char modifier[UDFD_TEXT_LEN];  /* LVID: Implementation Identifier */
};

struct udfd_sparing_info {
	uint32_t magic;
	uint32_t version;
	uint32_t packet_bytes;	     /* bytes of one sparing packet; 0: none */
	uint32_t defect_managed;     /* 1: udfd relocates bad packets */
	uint32_t total_spare_blocks; /* logical blocks, free or in use */
	uint32_t free_spare_blocks;  /* logical blocks */
	uint32_t table_copies;	     /* copies of the sparing table */
	uint32_t table_sequence;     /* sequence number of the newest */
};

/*
 * Who a file is: the same on every machine and after every mount. stream_id
 * is 0 for a file's main stream, else the unique id of the named stream.
 */
struct udfd_file_id {
	uint32_t magic;
	uint32_t version;
	uint8_t volume_id[UDFD_VOLUME_ID_LEN];
	uint64_t unique_id;
	uint64_t stream_id;
};

/*
 * Defect management of one file (of one stream): disabled != 0 turns it off.
 * Volatile: it ends when the file's last open is closed. EXCHANGE sets it as
 * SET does and its reply says how it was before, in one round trip; a udfd
 * that was started before there was EXCHANGE answers ENOTTY.
 *
 * Errors: EISDIR, a directory; EINVAL, another magic or version;
 * EOPNOTSUPP, the volume is not defect managed; EROFS; EBADF, not open for
 * writing (SET and EXCHANGE only).
 */
struct udfd_defect_management {
	uint32_t magic;
	uint32_t version;
	uint32_t disabled;
	uint32_t reserved;
};

/* What defect management met since the volume was mounted. */
struct udfd_defect_info {
	uint32_t magic;
	uint32_t version;
	uint64_t verified_blocks;   /* seen on the medium as written */
	uint64_t suspect_packets;   /* not as written at the first look */
	uint64_t relocated_packets;
	uint64_t unsaved_packets;   /* bad, and there was no spare */
	uint64_t retries;	    /* of reads */
	uint64_t unreadable_blocks; /* found by reads */
	uint64_t lost_blocks;	    /* unreadable when relocated */
	/* Bytes of data that is not verified yet: the limit, now, the most
	 * there was, and of now what could not be saved. */
	uint64_t memory_limit;
	uint64_t memory_used;
	uint64_t memory_most;
	uint64_t memory_failed;
	uint32_t bad_packets; /* that no spare was left for */
	uint32_t reserved;
};

/*
 * Entries of the sparing table, sorted, from index first on (in); count of
 * them are in the reply, total in all. As on the medium: original is a block
 * of the partition, FFFFFFFF a free spare, FFFFFFF0 a defective one; mapped
 * is a block of the volume. A volume without sparing has 0.
 */
#define UDFD_SPARING_ENTRIES 256u

struct udfd_sparing_entries {
	uint32_t magic;
	uint32_t version;
	uint32_t first;
	uint32_t count;
	uint32_t total;
	uint32_t reserved;
	struct {
		uint32_t original;
		uint32_t mapped;
	} entries[UDFD_SPARING_ENTRIES];
};

/* What each block of the partition is, from block first on (in). */
#define UDFD_MAP_BLOCKS 8192u

#define UDFD_BLOCK_FREE 0u
#define UDFD_BLOCK_USED 1u
#define UDFD_BLOCK_RELOCATED 2u /* used, in a relocated packet */
#define UDFD_BLOCK_DEFECTIVE 3u /* Non-Allocatable Space, or to be put there */

struct udfd_map {
	uint32_t magic;
	uint32_t version;
	uint32_t first;
	uint32_t count; /* of states; 0: there are no more */
	uint8_t states[UDFD_MAP_BLOCKS];
};

/*
 * Read blocks from the medium, to know that it can be done; with
 * UDFD_SCRUB_CURE make well what is going bad. Root, or udfd's own user, else
 * EPERM; EINVAL: blocks that are not there; EROFS: CURE, and mounted
 * read-only.
 */
#define UDFD_SCRUB_BAD 256u
#define UDFD_SCRUB_BLOCKS 2048u /* at most */

#define UDFD_SCRUB_CURE 0x1u

struct udfd_scrub {
	uint32_t magic;
	uint32_t version;
	uint32_t first; /* in: block of the partition */
	uint32_t count; /* in */
	uint32_t flags; /* in */
	uint32_t slow_ms; /* in: a packet that takes longer is doubtful; 0 */
	uint32_t retried;   /* out: blocks that needed a second try */
	uint32_t slow;	    /* packets */
	uint32_t refreshed; /* packets that were written again */
	uint32_t relocated; /* packets */
	uint64_t slowest_ns; /* of a packet */
	uint32_t bad_count;  /* unreadable blocks, also those bad has no room
			      * for */
	uint32_t not_cured;  /* packets that should move: no good spare */
	uint32_t bad[UDFD_SCRUB_BAD];
};

/*
 * The blocks of the open file or directory: its ICB's, and extents from index
 * first on (in). Types as in ECMA-167 4/14.14.1.1: 0 recorded, 1 allocated, 2
 * a hole. An embedded file has no extents.
 */
#define UDFD_EXTENTS 256u

struct udfd_extents {
	uint32_t magic;
	uint32_t version;
	uint32_t first;
	uint32_t count;
	uint32_t total;
	uint32_t icb; /* block of the partition */
	struct {
		uint64_t file_block;
		uint64_t count;
		uint32_t block; /* of the partition */
		uint32_t type;
	} extents[UDFD_EXTENTS];
};

#define UDFD_IOC_VOLUME_INFO _IOR('U', 0xD0, struct udfd_volume_info)
#define UDFD_IOC_SPARING_INFO _IOR('U', 0xD1, struct udfd_sparing_info)
#define UDFD_IOC_FILE_ID _IOR('U', 0xD2, struct udfd_file_id)
#define UDFD_IOC_GET_DEFECT_MANAGEMENT                                         \
	_IOR('U', 0xD3, struct udfd_defect_management)
#define UDFD_IOC_SET_DEFECT_MANAGEMENT                                         \
	_IOW('U', 0xD4, struct udfd_defect_management)
#define UDFD_IOC_DEFECT_INFO _IOR('U', 0xD5, struct udfd_defect_info)
#define UDFD_IOC_SPARING_ENTRIES _IOWR('U', 0xD6, struct udfd_sparing_entries)
#define UDFD_IOC_MAP _IOWR('U', 0xD7, struct udfd_map)
#define UDFD_IOC_SCRUB _IOWR('U', 0xD8, struct udfd_scrub)
#define UDFD_IOC_EXTENTS _IOWR('U', 0xD9, struct udfd_extents)
#define UDFD_IOC_EXCHANGE_DEFECT_MANAGEMENT                                    \
	_IOWR('U', 0xDA, struct udfd_defect_management)

static_assert(sizeof(struct udfd_volume_info) == 736, "ABI");
static_assert(sizeof(struct udfd_sparing_info) == 32, "ABI");
static_assert(sizeof(struct udfd_file_id) == 40, "ABI");
static_assert(sizeof(struct udfd_defect_management) == 16, "ABI");
static_assert(sizeof(struct udfd_defect_info) == 104, "ABI");
static_assert(sizeof(struct udfd_sparing_entries) == 2072, "ABI");
static_assert(sizeof(struct udfd_map) == 8208, "ABI");
static_assert(sizeof(struct udfd_scrub) == 1080, "ABI");
static_assert(sizeof(struct udfd_extents) == 6168, "ABI");

#endif /* UDFD_IOCTL_H */
