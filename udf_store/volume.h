/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A UDF volume below its file system: descriptors, logical blocks, sparing,
 * verify after write, the integrity descriptor. Everything above (space,
 * nodes, directories) sees one partition of good logical blocks.
 *
 * Where a second partition lies in the first (virtual, metadata: mapped.h),
 * its blocks are numbered on from the end of the first one's: block b of it is
 * lbn partition_blocks + b. udf_volume_address() makes such a number of what
 * is recorded, udf_volume_location() leads back.
 *
 * All functions return 0 or a negative errno unless they say otherwise, and
 * may be called from several threads at once.
 */
#ifndef UDF_STORE_VOLUME_H
#define UDF_STORE_VOLUME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "ecma167.h"
#include "log.h"
#include "partition.h"
#include "run_list.h"
#include "scrub.h"
#include "verify.h"

struct udf_volume;

struct udf_volume_options {
	bool read_only;		   /* never write, not even the LVID */
	bool no_defect_management; /* never verify or relocate */
	/* Make up what a repair writes anew: an anchor, the integrity
	 * descriptor, the header of the space bitmap; free no block. See
	 * repair.h. */
	bool repair;
	/* Of two files that have one name in a directory, of which a recovery
	 * drops one when the commit that left them was ours, keep both. */
	bool keep_names;
	uint32_t block_size;	   /* bytes; 0: find out */
	size_t verify_limit;	   /* bytes kept until verified; 0: default */
	/* Bytes of memory for directories and files in use, of who mounts it
	 * (fs.h); 0: a quarter of the machine's. */
	size_t metadata_limit;
	udf_log_fn log;		   /* NULL: stderr */
	void *log_private;
};

#define UDF_VOLUME_ID_LEN 16

/* What does not change while the volume is open. */
struct udf_volume_info {
	uint32_t block_size;	   /* bytes of a logical block */
	uint32_t partition_start;  /* its first block on the volume */
	uint32_t partition_blocks; /* logical blocks of the partition */
	uint16_t partition_ref;	   /* its partition reference number */
	uint16_t mapped_ref;	   /* that of the mapped partition */
	/* Its logical blocks, 0: there is none. Of a metadata partition that
	 * we write, and which may grow: as many as it can get. */
	uint32_t mapped_blocks;
	uint32_t address_blocks;   /* both together: every lbn is below */
	uint32_t packet_blocks;	   /* blocks of a sparing packet; 0: none */
	uint16_t revision;	   /* of the file system, BCD: 0x0201 */
	bool read_only;		   /* asked for, or all we can do */
	char read_only_reason[UDF_TEXT_LEN]; /* "": we could write it */
	bool defect_managed;	   /* writes are verified, packets relocated */
	uint32_t file_set; /* lbn of the File Set Descriptor */
	/* Unallocated Space Bitmap of the partition header (ECMA-167
	 * 4/14.3): first block and bytes; 0 bytes: the volume has none. */
	uint32_t space_bitmap_block;
	uint32_t space_bitmap_bytes;
	/* A metadata partition, where ICBs, AEDs and directories go. */
	bool has_metadata;
	uint32_t metadata_bitmap_bytes; /* its bitmap at the open; 0: none */
	uint8_t volume_id[UDF_VOLUME_ID_LEN]; /* identity, see volume_open.c */
	struct timespec format_time;	      /* PVD: Recording Date and Time */
	char label[UDF_TEXT_LEN];	      /* LVD */
	char formatter[UDF_TEXT_LEN];	      /* LVD: Implementation Id */
};

/* Logical Volume Integrity Descriptor (ECMA-167 3/10.10, UDF 2.2.6). */
struct udf_integrity {
	bool found; /* read, not made up */
	bool closed;
	uint64_t next_unique_id;
	uint32_t free_blocks; /* UINT32_MAX: unknown */
	uint32_t metadata_free; /* of the metadata partition; as above */
	uint32_t files;	      /* UDF 2.2.6.4, implementation use */
	uint32_t directories;
	uint16_t min_read_revision;
	uint16_t min_write_revision;
	uint16_t max_write_revision;
	struct timespec recorded;
	char modifier[UDF_TEXT_LEN]; /* Implementation Id, as read */
};

struct udf_sparing_status {
	uint32_t packet_blocks;	   /* 0: the volume has no sparing */
	uint32_t total_packets;	   /* spares, whatever their state */
	uint32_t free_packets;
	uint32_t relocated_packets;
	uint32_t defective_packets; /* entries that must never be used */
	uint32_t copies;	    /* of the table */
	uint32_t sequence;	    /* of the newest copy */
};

/*
 * Open the volume in an image file or block device.
 *
 * For writing, the device is locked: -EBUSY when another process holds it.
 * -EMEDIUMTYPE: no UDF volume; -EUCLEAN: a descriptor is damaged (no good
 * copy); -EROFS: the file cannot be opened for writing and read_only was not
 * asked for; -EOPNOTSUPP: UDF of a kind that we cannot read (several volumes,
 * several partitions). One log line says what is wrong and
 * what to do.
 * A volume that we cannot write is opened read-only, with its reason.
 */
int udf_volume_open(const char *path, const struct udf_volume_options *options,
		    struct udf_volume **volume);

/*
 * The same on a device of the caller's making (a faulty one, in tests). The
 * volume owns it from here on, also when this fails.
 */
struct udf_blockdev;
int udf_volume_open_device(struct udf_blockdev *dev,
			   const struct udf_volume_options *options,
			   struct udf_volume **volume);

/*
 * Sync and release. The integrity descriptor is left as last written: the
 * file system above says whether the volume is closed. NULL is fine.
 */
int udf_volume_close(struct udf_volume *volume);

const struct udf_volume_info *udf_volume_info(const struct udf_volume *volume);

/* Write one line to the volume's log. */
void udf_volume_log(struct udf_volume *volume, enum udf_log_level level,
		    const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * The lbn of count blocks at a recorded address. -EUCLEAN: they are not all
 * within a partition that we follow.
 */
int udf_volume_address(const struct udf_volume_info *info,
		       const struct udf_lb_addr *addr, uint32_t count,
		       uint32_t *lbn);

/* An lbn as it is recorded: in descriptor tags, and in addresses. */
struct udf_lb_addr udf_volume_location(const struct udf_volume_info *info,
				       uint32_t lbn);

/*
 * Read count logical blocks of a partition from lbn on, through the sparing
 * table. Sees all earlier writes. -EIO: unreadable after retries; -EINVAL or
 * -EUCLEAN: not within one partition.
 */
int udf_volume_read(struct udf_volume *volume, uint32_t lbn, uint32_t count,
		    void *buf);

/*
 * The lbn of block i of the space bitmap, or of the metadata partition's own.
 * UINT32_MAX: it has no such block.
 */
uint32_t udf_volume_bitmap_lbn(const struct udf_volume *volume, bool metadata,
			       uint32_t i);

/*
 * Where blocks of the metadata partition are in the physical one, and what
 * that has for them, as mapped.h says. Of a volume that has none:
 * udf_volume_metadata_block_at() is UINT32_MAX, the others do nothing.
 */
uint32_t udf_volume_metadata_block_at(const struct udf_volume *volume,
				      uint32_t lbn);
typedef int (*udf_volume_run_fn)(void *private_data, const char *name,
				 uint32_t lbn, uint32_t count);
int udf_volume_metadata_runs(const struct udf_volume *volume,
			     udf_volume_run_fn visit, void *private_data);
int udf_volume_metadata_compare(struct udf_volume *volume, const uint8_t *used,
				bool repair, uint32_t *differ);

/* The metadata partition itself; NULL: there is none. */
struct udf_mapped;
struct udf_mapped *udf_volume_metadata(const struct udf_volume *volume);

/*
 * The growth of the metadata partition, as mapped.h has it, with lbns of the
 * partition. udf_volume_metadata_blocks(): what it has now. stale: the ICBs of
 * its files on the medium do not say how long it is, since a growth was cut
 * off.
 */
struct udf_metadata_growth;
uint32_t udf_volume_metadata_blocks(const struct udf_volume *volume);
bool udf_volume_metadata_is_stale(const struct udf_volume *volume);
void udf_volume_metadata_units(const struct udf_volume *volume,
			       uint32_t *allocation, uint32_t *alignment,
			       bool *duplicate);
uint32_t udf_volume_metadata_end(const struct udf_volume *volume,
				 bool of_mirror);
int udf_volume_metadata_grow(struct udf_volume *volume,
			     const struct udf_metadata_growth *growth,
			     udf_volume_run_fn old_bitmap, void *private_data);
typedef int (*udf_volume_store_fn)(void *private_data, uint32_t lbn,
				   const uint8_t *block);
int udf_volume_metadata_encode(struct udf_volume *volume,
			       udf_volume_store_fn store, void *private_data);

/* Write without verify or relocation: an error of the medium is returned. */
#define UDF_WRITE_UNMANAGED 0x1u

/*
 * Write count logical blocks. What is written is on the medium, verified,
 * after udf_volume_sync(), which tells of its errors. With UDF_WRITE_UNMANAGED
 * the data goes straight to the medium before the call returns.
 */
int udf_volume_write(struct udf_volume *volume, uint32_t lbn, uint32_t count,
		     const void *buf, unsigned int flags);

/*
 * Everything written before the call is on the medium and, where managed,
 * verified; bad packets are relocated. -EIO, or -ENOSPC when no spare is left:
 * something could not be saved (logged with its block). Where writes are
 * verified, its data is kept and read from memory, and each later sync tries
 * again and returns the error until it has been saved. Where they are not,
 * the blocks are not known, and every later sync returns the error.
 */
int udf_volume_sync(struct udf_volume *volume);

/*
 * The same for these runs, sorted, and without waiting for, or telling of
 * errors with, other blocks where writes are verified. Where they are not, the
 * device does not say which blocks it has written: the same as for all.
 */
int udf_volume_sync_runs(struct udf_volume *volume,
			 const struct udf_run_list *runs);

/*
 * Where writes are verified: bytes that are not so far. Verify them now, for
 * who wants to have less to wait for in the next sync.
 */
size_t udf_volume_unverified(struct udf_volume *volume);
void udf_volume_settle(struct udf_volume *volume);

/*
 * Before much is written: wait while there is too much that is not verified.
 * The memory for that is bounded only by those who call this, and they hold
 * no lock that a sync could need. For little (is_small) there is a quarter
 * more: it need not wait for what is large. An error is not about the caller's
 * blocks: some were found bad that have to go elsewhere, or be given up.
 */
int udf_volume_throttle(struct udf_volume *volume, bool is_small);

/*
 * Nothing refers to these blocks any more: what was written there needs not
 * be saved, and no later sync fails because of it.
 */
void udf_volume_forget(struct udf_volume *volume, uint32_t lbn, uint32_t count);

/*
 * Defects. Packets that were bad when no spare was left: their blocks must
 * not be used any more (is_bad: a block of one of them), and of those that
 * are written in vain the data is kept in memory (failed), to be read there
 * and written elsewhere. A volume without defect management has none of them.
 * Damage: blocks that could not be read, or could not when their packet was
 * relocated, once for each time that the log tells of them. -ENOMEM.
 */
int udf_volume_bad_packets(struct udf_volume *volume,
			   struct udf_block_list *list);
int udf_volume_failed_blocks(struct udf_volume *volume,
			     struct udf_block_list *list);
bool udf_volume_is_bad(struct udf_volume *volume, uint32_t lbn);
void udf_volume_take_damage(struct udf_volume *volume,
			    struct udf_block_list *list);

/* What was met since the volume was opened. */
struct udf_defect_status {
	struct udf_defect_counts counts;
	struct udf_verify_memory memory; /* zeroes: nothing is verified */
	uint32_t bad_packets;
};
void udf_volume_defect_status(struct udf_volume *volume,
			      struct udf_defect_status *status);

/* As udf_partition_scrub(). */
int udf_volume_scrub(struct udf_volume *volume, uint32_t lbn, uint32_t count,
		     bool cure, uint32_t slow_ms,
		     struct udf_scrub_result *result);

/*
 * The anchor whose sequences were read. False: none is valid, and this one,
 * which has no location, was made up for a repair.
 */
bool udf_volume_anchor(const struct udf_volume *volume,
		       struct udf_avdp *anchor);

/* The integrity descriptor as last read or written. */
void udf_volume_get_integrity(struct udf_volume *volume,
			      struct udf_integrity *integrity);

/*
 * Sync, then write the integrity descriptor (closed, next_unique_id,
 * free_blocks, files, directories; recorded is set to now, modifier to ours)
 * and see that it is on the medium. When the sync fails, "closed" is not
 * written.
 */
int udf_volume_put_integrity(struct udf_volume *volume,
			     const struct udf_integrity *integrity);

void udf_volume_sparing_status(struct udf_volume *volume,
			       struct udf_sparing_status *status);

/*
 * The blocks that a spare packet at a block of the volume has within the
 * partition; false: none.
 */
bool udf_volume_spare_within(const struct udf_volume_info *info,
			     uint32_t mapped, struct udf_run *part);

/*
 * Never relocate a packet to the free spare at a block of the volume. With
 * record, the next change of the table on the medium says so, too. -ENOMEM.
 */
int udf_volume_refuse_spare(struct udf_volume *volume, uint32_t mapped,
			    bool record);

/*
 * A copy of the sparing table's entries, sorted; free() it. *entries is NULL
 * and *count 0 when the volume has none. -ENOMEM.
 */
int udf_volume_sparing_entries(struct udf_volume *volume,
			       struct udf_sparing_entry **entries,
			       uint32_t *count);

#endif /* UDF_STORE_VOLUME_H */
