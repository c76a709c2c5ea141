/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * ECMA-167 and UDF structures: pure bytes <-> structs. No I/O, no state.
 *
 * decode_X(buf, len, x) reads no byte beyond len and believes no length it
 * has not compared with len. It returns 0 (or what it says) and -EUCLEAN when
 * the bytes cannot be an X: too short, a bad tag, a length that does not fit.
 * Pointers it leaves in x point into buf.
 *
 * encode_X(x, buf, len) writes an X and computes the tag's CRC and checksum;
 * tag.version, tag.serial and tag.location are the caller's. It returns the
 * bytes used, or -EOVERFLOW when they do not fit in len.
 *
 * Where only decode exists, nothing of ours ever writes that structure.
 *
 * Lengths of extents are in bytes, locations in blocks. Times are UTC.
 */
#ifndef UDF_STORE_ECMA167_H
#define UDF_STORE_ECMA167_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "osta.h"

#define UDF_TEXT_LEN 128

/* Descriptor tag (ECMA-167 3/7.2 and 4/7.2, UDF 2.2.1 and 2.3.1). */
#define UDF_TAG_LEN 16u

enum udf_tag_id {
	UDF_TAG_SPARING_TABLE = 0, /* UDF 2.2.11 */
	UDF_TAG_PVD = 1,
	UDF_TAG_AVDP = 2,
	UDF_TAG_VDP = 3,
	UDF_TAG_IUVD = 4,
	UDF_TAG_PD = 5,
	UDF_TAG_LVD = 6,
	UDF_TAG_USD = 7,
	UDF_TAG_TD = 8,
	UDF_TAG_LVID = 9,
	UDF_TAG_FSD = 256,
	UDF_TAG_FID = 257,
	UDF_TAG_AED = 258,
	UDF_TAG_INDIRECT = 259,
	UDF_TAG_TERMINAL = 260,
	UDF_TAG_FE = 261,
	UDF_TAG_EAHD = 262,
	UDF_TAG_SPACE_ENTRY = 263,
	UDF_TAG_SPACE_BITMAP = 264,
	UDF_TAG_EFE = 266,
};

struct udf_tag {
	uint16_t id;
	uint16_t version; /* 2: NSR02 (UDF 1.x), 3: NSR03 */
	uint16_t serial;
	uint16_t crc;	     /* decode only */
	uint16_t crc_length; /* decode only */
	uint32_t location;   /* the descriptor's own block */
};

/* CRC-16 of a tag: x^16 + x^12 + x^5 + 1, started at 0 (UDF 6.5). */
uint16_t udf_crc16(uint16_t crc, const uint8_t *buf, size_t len);

/* The tag alone: its checksum, not its CRC. */
int decode_tag(const uint8_t *buf, size_t len, struct udf_tag *tag);

#define UDF_ANY_LOCATION UINT32_MAX

/*
 * A descriptor's tag: checksum, CRC over the bytes it says, the identifier,
 * and the location unless that is UDF_ANY_LOCATION. tag may be NULL.
 */
int check_tag(const uint8_t *buf, size_t len, uint16_t id, uint32_t location,
	      struct udf_tag *tag);

/*
 * Put the tag in front of a descriptor that is otherwise complete;
 * crc_length bytes after the tag are covered by its CRC (cut to 65535, the
 * most a tag can say). -EOVERFLOW: they are not within len.
 */
int encode_tag(const struct udf_tag *tag, uint8_t *buf, size_t len,
	       size_t crc_length);
/* Change the location in a tag that is right otherwise: UDF_TAG_LEN bytes. */
void udf_tag_set_location(uint8_t *buf, uint32_t location);

/*
 * Compute checksum and CRC of a descriptor anew, when all else that its tag
 * says agrees with what it has to be: a version, the identifier, the location,
 * a CRC over no more than len. -EUCLEAN: it does not; nothing is changed.
 */
int mend_tag(uint8_t *buf, size_t len, uint16_t id, uint32_t location);

/* extent_ad (ECMA-167 3/7.1): blocks of the volume. */
#define UDF_EXTENT_AD_LEN 8u

struct udf_extent_ad {
	uint32_t length;
	uint32_t location;
};

void decode_extent_ad(const uint8_t *p, struct udf_extent_ad *ad);
void encode_extent_ad(const struct udf_extent_ad *ad, uint8_t *p);

/* lb_addr (ECMA-167 4/7.1): a block of a partition. */
#define UDF_LB_ADDR_LEN 6u

struct udf_lb_addr {
	uint32_t block;
	uint16_t partition; /* partition reference number */
};

void decode_lb_addr(const uint8_t *p, struct udf_lb_addr *addr);
void encode_lb_addr(const struct udf_lb_addr *addr, uint8_t *p);

/* Allocation descriptors (ECMA-167 4/14.14). */
#define UDF_SHORT_AD_LEN 8u
#define UDF_LONG_AD_LEN 16u
#define UDF_EXT_AD_LEN 20u
#define UDF_AD_MAX_LENGTH 0x3FFFFFFFu /* bytes one of them can describe */

/* Bits 30-31 of an extent's length (ECMA-167 4/14.14.1.1). */
enum udf_extent_type {
	UDF_EXTENT_RECORDED = 0,
	UDF_EXTENT_ALLOCATED = 1, /* not recorded: reads as zeroes */
	UDF_EXTENT_HOLE = 2,	  /* not allocated */
	UDF_EXTENT_NEXT = 3,	  /* continues in the AED there */
};

/* Which kind of them an ICB has (icbtag flags bits 0-2). */
enum udf_ad_form {
	UDF_AD_SHORT = 0,
	UDF_AD_LONG = 1,
	UDF_AD_EXTENDED = 2,
	UDF_AD_IN_ICB = 3, /* the data itself is there */
};

/* long_ad flags (UDF 2.3.10.1). */
#define UDF_AD_FLAG_ERASED 0x0001u

/* Any of the three; a field that a kind lacks is 0. */
struct udf_ad {
	uint32_t length; /* bytes, at most UDF_AD_MAX_LENGTH */
	enum udf_extent_type type;
	struct udf_lb_addr addr;
	uint16_t flags;		  /* long_ad, implementation use */
	uint32_t unique_id;	  /* long_ad in a FID: UDF 2.3.4.3 */
	uint32_t recorded_length; /* ext_ad */
	uint32_t information_length; /* ext_ad */
};

/* A short_ad has no partition: it is the one its ICB is in. */
void decode_short_ad(const uint8_t *p, uint16_t partition, struct udf_ad *ad);
void encode_short_ad(const struct udf_ad *ad, uint8_t *p);
void decode_long_ad(const uint8_t *p, struct udf_ad *ad);
void encode_long_ad(const struct udf_ad *ad, uint8_t *p);
void decode_ext_ad(const uint8_t *p, struct udf_ad *ad);
void encode_ext_ad(const struct udf_ad *ad, uint8_t *p);

/* Bytes of one descriptor of a form; 0 for UDF_AD_IN_ICB and unknown ones. */
size_t udf_ad_size(enum udf_ad_form form);

/*
 * Any form. Returns the bytes used; decode: -EUCLEAN when len is too short or
 * the form unknown; encode: -EOVERFLOW.
 */
int decode_ad(const uint8_t *buf, size_t len, enum udf_ad_form form,
	      uint16_t partition, struct udf_ad *ad);
int encode_ad(const struct udf_ad *ad, enum udf_ad_form form, uint8_t *buf,
	      size_t len);

/*
 * ICB: File Entry (ECMA-167 4/14.9) and Extended File Entry (4/14.17).
 */
#define UDF_FE_LEN 176u
#define UDF_EFE_LEN 216u
#define UDF_ICBTAG_LEN 20u

enum udf_file_type {
	UDF_FT_UNALLOCATED_SPACE = 1,
	UDF_FT_PARTITION_INTEGRITY = 2,
	UDF_FT_INDIRECT = 3,
	UDF_FT_DIRECTORY = 4,
	UDF_FT_REGULAR = 5,
	UDF_FT_BLOCK_DEVICE = 6,
	UDF_FT_CHARACTER_DEVICE = 7,
	UDF_FT_EXTENDED_ATTRIBUTES = 8,
	UDF_FT_FIFO = 9,
	UDF_FT_SOCKET = 10,
	UDF_FT_TERMINAL = 11,
	UDF_FT_SYMLINK = 12,
	UDF_FT_STREAM_DIRECTORY = 13,
	UDF_FT_VAT = 248,
	UDF_FT_REALTIME = 249,
	UDF_FT_METADATA = 250,
	UDF_FT_METADATA_MIRROR = 251,
	UDF_FT_METADATA_BITMAP = 252,
};

/* icbtag flags (ECMA-167 4/14.6.8). */
#define UDF_ICB_AD_MASK 0x0007u
#define UDF_ICB_SORTED 0x0008u
#define UDF_ICB_NON_RELOCATABLE 0x0010u
#define UDF_ICB_ARCHIVE 0x0020u
#define UDF_ICB_SETUID 0x0040u
#define UDF_ICB_SETGID 0x0080u
#define UDF_ICB_STICKY 0x0100u
#define UDF_ICB_CONTIGUOUS 0x0200u
#define UDF_ICB_SYSTEM 0x0400u
#define UDF_ICB_TRANSFORMED 0x0800u
#define UDF_ICB_MULTI_VERSIONS 0x1000u
#define UDF_ICB_STREAM 0x2000u

/* Permissions (ECMA-167 4/14.9.5): 5 bits each for other, group, owner. */
#define UDF_PERM_EXECUTE 0x01u
#define UDF_PERM_WRITE 0x02u
#define UDF_PERM_READ 0x04u
#define UDF_PERM_CHATTR 0x08u
#define UDF_PERM_DELETE 0x10u
#define UDF_PERM_OTHER_SHIFT 0u
#define UDF_PERM_GROUP_SHIFT 5u
#define UDF_PERM_OWNER_SHIFT 10u

/* ECMA-167 4/14.6 */
struct udf_icbtag {
	uint32_t prior_entries;
	uint16_t strategy; /* 4, or 4096 for write-once */
	uint16_t strategy_parameter;
	uint16_t max_entries;
	uint8_t file_type; /* enum udf_file_type */
	struct udf_lb_addr parent;
	uint16_t flags;
};

struct udf_icb {
	struct udf_tag tag; /* id UDF_TAG_FE or UDF_TAG_EFE */
	struct udf_icbtag icbtag;
	uint32_t uid; /* UINT32_MAX: not specified */
	uint32_t gid;
	uint32_t permissions;
	uint16_t link_count;
	uint8_t record_format;
	uint8_t record_display;
	uint32_t record_length;
	uint64_t information_length; /* bytes of the file */
	uint64_t object_size;	     /* EFE: with its streams; FE: as above */
	uint64_t blocks_recorded;
	struct timespec access;
	struct timespec modification;
	struct timespec creation; /* EFE; FE: 0 (an attribute may say) */
	struct timespec attribute;
	uint32_t checkpoint;
	struct udf_ad ea_icb;
	struct udf_ad stream_dir_icb; /* EFE */
	struct udf_regid implementation;
	uint64_t unique_id;
	uint32_t ea_length;
	uint32_t ad_length;
	const uint8_t *ea;  /* ea_length bytes */
	const uint8_t *ads; /* ad_length bytes: descriptors, or the data */
};

/* Bytes before the extended attributes: UDF_FE_LEN or UDF_EFE_LEN. */
size_t udf_icb_header_len(uint16_t tag_id);

/*
 * location: the block the ICB was read from (its tag must agree), or
 * UDF_ANY_LOCATION.
 */
int decode_icb(const uint8_t *buf, size_t len, uint32_t location,
	       struct udf_icb *icb);

/*
 * len is the block's size; the rest of the block is zeroed. ea and ads are
 * copied and may not overlap buf.
 */
int encode_icb(const struct udf_icb *icb, uint8_t *buf, size_t len);

/* File Identifier Descriptor (ECMA-167 4/14.4, UDF 2.3.4). */
#define UDF_FID_LEN 38u
#define UDF_FID_MAX_LEN (UDF_FID_LEN + 65535u + 255u + 3u)

#define UDF_FID_HIDDEN 0x01u
#define UDF_FID_DIRECTORY 0x02u
#define UDF_FID_DELETED 0x04u
#define UDF_FID_PARENT 0x08u
#define UDF_FID_METADATA 0x10u /* UDF 2.00: a stream of the system's */

struct udf_fid {
	struct udf_tag tag;
	uint16_t version_number; /* 1 */
	uint8_t characteristics;
	struct udf_ad icb; /* unique_id: UDF 2.00 and later */
	uint16_t impl_use_length;
	uint8_t name_length; /* bytes, with the compression ID; 0: parent */
	const uint8_t *impl_use;
	const uint8_t *name; /* OSTA CS0 */
};

/* Bytes of such a FID, padded to 4. */
size_t udf_fid_size(size_t name_length, size_t impl_use_length);

/*
 * Returns the size in bytes (padding included), or -EUCLEAN. location as for
 * decode_icb(); foreign writers are careless with it.
 */
int decode_fid(const uint8_t *buf, size_t len, uint32_t location,
	       struct udf_fid *fid);
int encode_fid(const struct udf_fid *fid, uint8_t *buf, size_t len);

/* Allocation Extent Descriptor (ECMA-167 4/14.5, UDF 2.3.11). */
#define UDF_AED_LEN 24u

struct udf_aed {
	struct udf_tag tag;
	uint32_t previous_extent; /* UDF: 0 */
	uint32_t ad_length;
	const uint8_t *ads;
};

int decode_aed(const uint8_t *buf, size_t len, uint32_t location,
	       struct udf_aed *aed);
/* The rest of the block is zeroed; ads may not overlap buf. */
int encode_aed(const struct udf_aed *aed, uint8_t *buf, size_t len);

/*
 * Space Bitmap Descriptor (ECMA-167 4/14.12, UDF 2.3.3): this header, then
 * the bits, least significant first; 1 is free.
 */
#define UDF_SPACE_BITMAP_LEN 24u

struct udf_space_bitmap {
	struct udf_tag tag;
	uint32_t bits;
	uint32_t bytes;
};

/* len may end after the header: the bits are read apart. */
int decode_space_bitmap(const uint8_t *buf, size_t len, uint32_t location,
			struct udf_space_bitmap *bitmap);
/* The header alone; its CRC covers only itself, so bits may change. */
int encode_space_bitmap(const struct udf_space_bitmap *bitmap, uint8_t *buf,
			size_t len);

/* File Set Descriptor (ECMA-167 4/14.1, UDF 2.3.2). */
#define UDF_FSD_LEN 512u

struct udf_fsd {
	struct udf_tag tag;
	struct timespec recorded;
	uint32_t number;
	char label[UDF_TEXT_LEN]; /* Logical Volume Identifier */
	char identifier[UDF_TEXT_LEN];
	char copyright[UDF_TEXT_LEN];
	char abstract[UDF_TEXT_LEN];
	struct udf_ad root_icb;
	struct udf_regid domain;
	struct udf_ad next_extent;
	struct udf_ad system_stream_dir_icb;
};

int decode_fsd(const uint8_t *buf, size_t len, uint32_t location,
	       struct udf_fsd *fsd);
/*
 * Interchange levels and character sets are those that UDF asks for (2.3.2);
 * the rest of the block is zeroed. -EOVERFLOW: it is too short; -EILSEQ,
 * -ENAMETOOLONG: a text does not fit its field.
 */
int encode_fsd(const struct udf_fsd *fsd, uint8_t *buf, size_t len);

/*
 * Extended attributes in an ICB (ECMA-167 4/14.10, UDF 3.3.4): a header
 * descriptor, then attributes.
 */
#define UDF_EAHD_LEN 24u
#define UDF_EA_FILE_TIMES 5u
#define UDF_EA_DEVICE 12u

/*
 * The first attribute of a type and subtype 1, as whole bytes with its
 * header. NULL: none, or the attributes are damaged before it.
 */
const uint8_t *udf_ea_find(const uint8_t *ea, size_t ea_length, uint32_t type,
			   uint32_t *attribute_length);

/* Device Specification attribute (ECMA-167 4/14.10.7): major and minor. */
int decode_ea_device(const uint8_t *ea, size_t ea_length, uint32_t *major,
		     uint32_t *minor);
/*
 * A whole attribute area for an ICB at location: header and device
 * attribute. Returns its length.
 */
int encode_ea_device(uint16_t tag_version, uint32_t location, uint32_t major,
		     uint32_t minor, uint8_t *buf, size_t len);

/*
 * Volume structures (ECMA-167 part 3).
 */

/* Volume Recognition Sequence (ECMA-167 2/9.1): blocks of 2048 bytes. */
#define UDF_VRS_OFFSET 32768u
#define UDF_VRS_SECTOR 2048u

enum udf_vsd {
	UDF_VSD_NONE,
	UDF_VSD_BEA01,
	UDF_VSD_NSR02,
	UDF_VSD_NSR03,
	UDF_VSD_TEA01,
	UDF_VSD_OTHER, /* BOOT2, CDW02, CD001 */
};

enum udf_vsd decode_vsd(const uint8_t *buf, size_t len);

/* Anchor Volume Description Pointer (3/10.2). */
struct udf_avdp {
	struct udf_tag tag;
	struct udf_extent_ad main;
	struct udf_extent_ad reserve;
};

int decode_avdp(const uint8_t *buf, size_t len, uint32_t location,
		struct udf_avdp *avdp);
/* The rest of the block is zeroed. -EOVERFLOW: it is too short. */
int encode_avdp(const struct udf_avdp *avdp, uint8_t *buf, size_t len);

/* Volume Descriptor Pointer (3/10.3). */
struct udf_vdp {
	struct udf_tag tag;
	uint32_t sequence;
	struct udf_extent_ad next;
};

int decode_vdp(const uint8_t *buf, size_t len, uint32_t location,
	       struct udf_vdp *vdp);

/* Primary Volume Descriptor (3/10.1). */
struct udf_pvd {
	struct udf_tag tag;
	uint32_t sequence;
	uint32_t number;
	char volume_id[UDF_TEXT_LEN];
	uint16_t volume_sequence_number;
	const uint8_t *volume_set_id; /* the dstring's 128 bytes */
	const uint8_t *recorded_raw;  /* its 12 bytes */
	struct timespec recorded;
	struct udf_regid application;
	struct udf_regid implementation;
};

int decode_pvd(const uint8_t *buf, size_t len, uint32_t location,
	       struct udf_pvd *pvd);

/* Implementation Use Volume Descriptor (3/10.4). */
struct udf_iuvd {
	struct udf_tag tag;
	uint32_t sequence;
	struct udf_regid implementation; /* "*UDF LV Info" */
};

int decode_iuvd(const uint8_t *buf, size_t len, uint32_t location,
		struct udf_iuvd *iuvd);

/* Partition Descriptor (3/10.5) with Partition Header Descriptor (4/14.3). */
enum udf_access_type {
	UDF_ACCESS_PSEUDO_OVERWRITABLE = 0,
	UDF_ACCESS_READ_ONLY = 1,
	UDF_ACCESS_WRITE_ONCE = 2,
	UDF_ACCESS_REWRITABLE = 3,
	UDF_ACCESS_OVERWRITABLE = 4,
};

struct udf_pd {
	struct udf_tag tag;
	uint32_t sequence;
	uint16_t flags;
	uint16_t number;
	struct udf_regid contents; /* "+NSR02" or "+NSR03" */
	struct udf_ad unallocated_table;
	struct udf_ad unallocated_bitmap;
	struct udf_ad freed_table;
	struct udf_ad freed_bitmap;
	uint32_t access_type;
	uint32_t start; /* blocks of the volume */
	uint32_t length;
};

int decode_pd(const uint8_t *buf, size_t len, uint32_t location,
	      struct udf_pd *pd);

/* Partition maps (3/10.7, UDF 2.2.8 to 2.2.10). */
enum udf_map_kind {
	UDF_MAP_UNKNOWN,
	UDF_MAP_TYPE1,
	UDF_MAP_VIRTUAL,
	UDF_MAP_SPARABLE,
	UDF_MAP_METADATA,
};

#define UDF_MAX_SPARING_TABLES 4u
#define UDF_MAX_PARTITION_MAPS 8u

/* Flags of a metadata partition map (UDF 2.60 2.2.10). */
#define UDF_METADATA_DUPLICATE 0x01u /* the mirror has blocks of its own */

struct udf_partition_map {
	enum udf_map_kind kind;
	uint16_t volume_sequence_number;
	uint16_t partition_number;
	uint16_t revision; /* of the type 2 identifier */
	/* sparable */
	uint16_t packet_length; /* blocks */
	uint8_t tables;
	uint32_t table_size; /* bytes, as recorded */
	uint32_t table_locations[UDF_MAX_SPARING_TABLES];
	/* metadata */
	uint32_t metadata_main;
	uint32_t metadata_mirror;
	uint32_t metadata_bitmap;
	uint32_t allocation_unit; /* blocks */
	uint16_t alignment_unit;  /* blocks */
	uint8_t metadata_flags;
};

/* Logical Volume Descriptor (3/10.6). */
struct udf_lvd {
	struct udf_tag tag;
	uint32_t sequence;
	char label[UDF_TEXT_LEN];
	uint32_t block_size;
	struct udf_regid domain; /* "*OSTA UDF Compliant" */
	struct udf_ad file_set;
	struct udf_regid implementation;
	struct udf_extent_ad integrity;
	uint32_t map_count;
	struct udf_partition_map maps[UDF_MAX_PARTITION_MAPS];
};

#define UDF_DOMAIN_IDENTIFIER "*OSTA UDF Compliant"
/* Byte 2 of the domain identifier's suffix (UDF 2.1.5.3). */
#define UDF_DOMAIN_HARD_WRITE_PROTECT 0x01u
#define UDF_DOMAIN_SOFT_WRITE_PROTECT 0x02u

int decode_lvd(const uint8_t *buf, size_t len, uint32_t location,
	       struct udf_lvd *lvd);

/* Unallocated Space Descriptor (3/10.8). */
struct udf_usd {
	struct udf_tag tag;
	uint32_t sequence;
	uint32_t count;
	const uint8_t *extents; /* count extent_ads */
};

int decode_usd(const uint8_t *buf, size_t len, uint32_t location,
	       struct udf_usd *usd);

/* Terminating Descriptor (3/10.9). */
int decode_td(const uint8_t *buf, size_t len, uint32_t location);

/* Logical Volume Integrity Descriptor (3/10.10, UDF 2.2.6). */
#define UDF_LVID_LEN 80u
#define UDF_LVID_IMPL_USE_LEN 46u
#define UDF_LVID_OPEN 0u
#define UDF_LVID_CLOSED 1u

struct udf_lvid {
	struct udf_tag tag;
	struct timespec recorded;
	uint32_t type;
	struct udf_extent_ad next;
	uint64_t next_unique_id;
	uint32_t partitions; /* at most UDF_MAX_PARTITION_MAPS */
	uint32_t free_blocks[UDF_MAX_PARTITION_MAPS];
	uint32_t size_blocks[UDF_MAX_PARTITION_MAPS];
	bool has_impl_use; /* UDF 2.2.6.4; foreign ones may be short */
	struct udf_regid implementation;
	uint32_t files;
	uint32_t directories;
	uint16_t min_read_revision;
	uint16_t min_write_revision;
	uint16_t max_write_revision;
};

int decode_lvid(const uint8_t *buf, size_t len, uint32_t location,
		struct udf_lvid *lvid);
/* With UDF's implementation use; the rest of the block is zeroed. */
int encode_lvid(const struct udf_lvid *lvid, uint8_t *buf, size_t len);

/* Sparing table (UDF 2.2.11). */
#define UDF_SPARING_TABLE_LEN 56u
#define UDF_SPARING_ENTRY_LEN 8u
#define UDF_SPARE_FREE 0xFFFFFFFFu
#define UDF_SPARE_DEFECTIVE 0xFFFFFFF0u

struct udf_sparing_entry {
	uint32_t original; /* first block of a packet, of the partition */
	uint32_t mapped;   /* first block of its spare, of the volume */
};

struct udf_sparing_header {
	struct udf_tag tag;
	uint16_t count;
	uint32_t sequence;
};

void decode_sparing_entry(const uint8_t *p, struct udf_sparing_entry *entry);
void encode_sparing_entry(const struct udf_sparing_entry *entry, uint8_t *p);

/*
 * The header and count entries behind it. decode: all entries are within
 * len; the tag's CRC covers at most 65535 bytes. encode: the rest of buf is
 * zeroed.
 */
int decode_sparing_table(const uint8_t *buf, size_t len, uint32_t location,
			 struct udf_sparing_header *header);
int encode_sparing_table(const struct udf_sparing_header *header,
			 const struct udf_sparing_entry *entries, uint8_t *buf,
			 size_t len);

#endif /* UDF_STORE_ECMA167_H */
