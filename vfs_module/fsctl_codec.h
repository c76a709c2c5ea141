/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The buffers of the four control codes: bytes to structures and back.
 *
 * Pure: no I/O, no Samba, nothing is kept. Offsets and lengths come from
 * include/fsctl_udf.h. The bytes given to the pull functions come from a
 * client and may be anything; input may be NULL when its length is 0.
 */
#ifndef VFS_UDF_FSCTL_CODEC_H
#define VFS_UDF_FSCTL_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fsctl_codec_result {
	FSCTL_CODEC_OK,
	FSCTL_CODEC_SHORT, /* the buffer is too short for the structure */
	FSCTL_CODEC_VALUE, /* a field has a value that is not allowed */
};

/* What FSCTL_SET_PURGE_FAILURE_MODE asks for. */
enum fsctl_purge_action {
	FSCTL_PURGE_ENABLE,
	FSCTL_PURGE_DISABLE,
};

/* FILE_QUERY_SPARING_BUFFER, MS-FSCC. */
struct fsctl_sparing_info {
	uint32_t unit_bytes;   /* bytes of a sparing packet; 0: none */
	bool software_sparing; /* the file system relocates bad packets */
	uint32_t total_blocks; /* spare logical blocks */
	uint32_t free_blocks;  /* of these not in use */
};

/* A point in time, seconds and nanoseconds of 1970 UTC. */
struct fsctl_time {
	int64_t sec;
	uint32_t nsec;
};

/* FILE_QUERY_ON_DISK_VOL_INFO_BUFFER, MS-FSCC. */
struct fsctl_volume_info {
	int64_t directory_count; /* -1: unknown */
	int64_t file_count;	 /* -1: unknown */
	uint16_t udf_revision;	 /* BCD: 0x0150, 0x0201 */
	struct fsctl_time format_time;
	struct fsctl_time update_time;
	const char *copyright; /* UTF-8, NULL is empty */
	const char *abstract;
	const char *formatter;
	const char *modifier;
};

/*
 * FILE_SET_DEFECT_MGMT_BUFFER: Disable, one byte, anything but 0 is TRUE.
 * FSCTL_CODEC_SHORT: no byte.
 */
enum fsctl_codec_result fsctl_codec_pull_defect(const uint8_t *in,
						size_t in_len,
						bool *disable);

/*
 * SET_PURGE_FAILURE_MODE_INPUT: exactly one of the two flags.
 * FSCTL_CODEC_SHORT: less than 4 bytes; FSCTL_CODEC_VALUE: neither flag,
 * both, or a flag that is not known.
 */
enum fsctl_codec_result fsctl_codec_pull_purge(const uint8_t *in,
					       size_t in_len,
					       enum fsctl_purge_action *action);

/*
 * Write UDF_QUERY_SPARING_LEN bytes at out. FSCTL_CODEC_SHORT: out_len is
 * less; nothing was written.
 */
enum fsctl_codec_result
fsctl_codec_push_sparing(const struct fsctl_sparing_info *info,
			 uint8_t *out,
			 size_t out_len);

/*
 * Write UDF_QUERY_ON_DISK_VOLUME_INFO_LEN bytes at out. Texts longer than
 * 33 UTF-16 units are cut before the character that does not fit; bytes that
 * are not UTF-8 become U+FFFD. FSCTL_CODEC_SHORT: out_len is less; nothing
 * was written.
 */
enum fsctl_codec_result
fsctl_codec_push_volume_info(const struct fsctl_volume_info *info,
			     uint8_t *out,
			     size_t out_len);

#endif /* VFS_UDF_FSCTL_CODEC_H */
