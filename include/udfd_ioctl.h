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
 * Volatile: it ends when the file's last open is closed.
 *
 * Errors: EISDIR, a directory; EINVAL, another magic or version;
 * EOPNOTSUPP, the volume is not defect managed; EROFS; EBADF, not open for
 * writing (SET only).
 */
struct udfd_defect_management {
	uint32_t magic;
	uint32_t version;
	uint32_t disabled;
	uint32_t reserved;
};

#define UDFD_IOC_VOLUME_INFO _IOR('U', 0xD0, struct udfd_volume_info)
#define UDFD_IOC_SPARING_INFO _IOR('U', 0xD1, struct udfd_sparing_info)
#define UDFD_IOC_FILE_ID _IOR('U', 0xD2, struct udfd_file_id)
#define UDFD_IOC_GET_DEFECT_MANAGEMENT                                         \
	_IOR('U', 0xD3, struct udfd_defect_management)
#define UDFD_IOC_SET_DEFECT_MANAGEMENT                                         \
	_IOW('U', 0xD4, struct udfd_defect_management)

static_assert(sizeof(struct udfd_volume_info) == 736, "ABI");
static_assert(sizeof(struct udfd_sparing_info) == 32, "ABI");
static_assert(sizeof(struct udfd_file_id) == 40, "ABI");
static_assert(sizeof(struct udfd_defect_management) == 16, "ABI");

#endif /* UDFD_IOCTL_H */
