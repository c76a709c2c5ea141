/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The buffers of the four control codes; see fsctl_codec.h.
 */
#include <string.h>

#include "fsctl_codec.h"
#include "fsctl_udf.h"

/* FILETIME counts 100 ns since 1601; seconds from there to 1970. */
#define FILETIME_EPOCH_SECONDS INT64_C(11644473600)
#define FILETIME_TICKS_PER_SECOND INT64_C(10000000)
#define NANOSECONDS_PER_TICK 100u
#define NANOSECONDS_PER_SECOND 1000000000u

#define UTF_REPLACEMENT 0xFFFDu

static void push_le16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static void push_le32(uint8_t *p, uint32_t v)
{
	push_le16(p, (uint16_t)v);
	push_le16(p + 2, (uint16_t)(v >> 16));
}

static void push_le64(uint8_t *p, uint64_t v)
{
	push_le32(p, (uint32_t)v);
	push_le32(p + 4, (uint32_t)(v >> 32));
}

static uint32_t pull_le32(const uint8_t *p)
{
	return (uint32_t)p[0] | ((uint32_t)p[1] << 8) |
	       ((uint32_t)p[2] << 16) | ((uint32_t)p[3] << 24);
}

/* A time before 1601 becomes 0, "not known"; one too late the largest. */
static uint64_t filetime(const struct fsctl_time *t)
{
	int64_t sec = 0;
	uint32_t nsec = t->nsec;

	if (t->sec < -FILETIME_EPOCH_SECONDS) {
		return 0;
	}
	if (t->sec > INT64_MAX / FILETIME_TICKS_PER_SECOND -
			     FILETIME_EPOCH_SECONDS - 1) {
		return INT64_MAX;
	}
	if (nsec >= NANOSECONDS_PER_SECOND) {
		nsec = NANOSECONDS_PER_SECOND - 1;
	}
	sec = t->sec + FILETIME_EPOCH_SECONDS;

	return (uint64_t)(sec * FILETIME_TICKS_PER_SECOND +
			  nsec / NANOSECONDS_PER_TICK);
}

/*
 * Decode one character of a NUL-terminated string (RFC 3629: no overlong
 * forms, no surrogates, at most U+10FFFF). Returns the bytes it took, at
 * least 1; a byte that starts no character is U+FFFD.
 */
static size_t pull_utf8(const char *s, uint32_t *cp)
{
	const uint8_t *p = (const uint8_t *)s;
	size_t len = 0;
	size_t i = 0;
	uint32_t v = 0;
	uint32_t least = 0;

	if (p[0] < 0x80) {
		*cp = p[0];
		return 1;
	}
	if ((p[0] & 0xE0) == 0xC0) {
		len = 2;
		least = 0x80;
		v = p[0] & 0x1Fu;
	} else if ((p[0] & 0xF0) == 0xE0) {
		len = 3;
		least = 0x800;
		v = p[0] & 0x0Fu;
	} else if ((p[0] & 0xF8) == 0xF0) {
		len = 4;
		least = 0x10000;
		v = p[0] & 0x07u;
	} else {
		*cp = UTF_REPLACEMENT;
		return 1;
	}

	for (i = 1; i < len; i++) {
		/* The terminating NUL is no continuation byte either. */
		if ((p[i] & 0xC0) != 0x80) {
			*cp = UTF_REPLACEMENT;
			return 1;
		}
		v = (v << 6) | (p[i] & 0x3Fu);
	}
	if (v < least || v > 0x10FFFF || (v >= 0xD800 && v <= 0xDFFF)) {
		*cp = UTF_REPLACEMENT;
		return 1;
	}

	*cp = v;
	return len;
}

/*
 * Write a text as UTF-16LE into units code units that are zero already. The
 * last one stays zero, so that a client may take the field for a C string.
 */
static void push_text(uint8_t *p, size_t units, const char *s)
{
	size_t n = 0;

	if (s == NULL) {
		return;
	}

	while (*s != '\0') {
		uint32_t cp = 0;
		size_t need = 0;

		s += pull_utf8(s, &cp);
		need = (cp >= 0x10000) ? 2 : 1;
		if (n + need > units - 1) {
			return;
		}
		if (need == 2) {
			cp -= 0x10000;
			push_le16(p + 2 * n, (uint16_t)(0xD800 | (cp >> 10)));
			push_le16(p + 2 * n + 2,
				  (uint16_t)(0xDC00 | (cp & 0x3FF)));
		} else {
			push_le16(p + 2 * n, (uint16_t)cp);
		}
		n += need;
	}
}

static uint16_t from_bcd(uint8_t v)
{
	return (uint16_t)((v >> 4) * 10 + (v & 0x0F));
}

enum fsctl_codec_result fsctl_codec_pull_defect(const uint8_t *in,
						size_t in_len,
						bool *disable)
{
	if (in_len < UDF_SET_DEFECT_MGMT_LEN) {
		return FSCTL_CODEC_SHORT;
	}

	*disable = (in[0] != 0);
	return FSCTL_CODEC_OK;
}

enum fsctl_codec_result fsctl_codec_pull_purge(const uint8_t *in,
					       size_t in_len,
					       enum fsctl_purge_action *action)
{
	if (in_len < UDF_SET_PURGE_FAILURE_MODE_LEN) {
		return FSCTL_CODEC_SHORT;
	}

	switch (pull_le32(in)) {
	case UDF_PURGE_FAILURE_MODE_ENABLED:
		*action = FSCTL_PURGE_ENABLE;
		return FSCTL_CODEC_OK;
	case UDF_PURGE_FAILURE_MODE_DISABLED:
		*action = FSCTL_PURGE_DISABLE;
		return FSCTL_CODEC_OK;
	default:
		return FSCTL_CODEC_VALUE;
	}
}

enum fsctl_codec_result
fsctl_codec_push_sparing(const struct fsctl_sparing_info *info,
			 uint8_t *out,
			 size_t out_len)
{
	if (out_len < UDF_QUERY_SPARING_LEN) {
		return FSCTL_CODEC_SHORT;
	}

	memset(out, 0, UDF_QUERY_SPARING_LEN);
	push_le32(out + UDF_SPARING_UNIT_BYTES_OFS, info->unit_bytes);
	out[UDF_SPARING_SOFTWARE_OFS] = info->software_sparing ? 1 : 0;
	push_le32(out + UDF_SPARING_TOTAL_OFS, info->total_blocks);
	push_le32(out + UDF_SPARING_FREE_OFS, info->free_blocks);

	return FSCTL_CODEC_OK;
}

enum fsctl_codec_result
fsctl_codec_push_volume_info(const struct fsctl_volume_info *info,
			     uint8_t *out,
			     size_t out_len)
{
	if (out_len < UDF_QUERY_ON_DISK_VOLUME_INFO_LEN) {
		return FSCTL_CODEC_SHORT;
	}

	memset(out, 0, UDF_QUERY_ON_DISK_VOLUME_INFO_LEN);
	push_le64(out + UDF_VOLINFO_DIRECTORIES_OFS,
		  (uint64_t)info->directory_count);
	push_le64(out + UDF_VOLINFO_FILES_OFS, (uint64_t)info->file_count);
	/* UDF 2.1.5.3: the revision is BCD, 2.01 is 0x0201. */
	push_le16(out + UDF_VOLINFO_MAJOR_OFS,
		  from_bcd((uint8_t)(info->udf_revision >> 8)));
	push_le16(out + UDF_VOLINFO_MINOR_OFS,
		  from_bcd((uint8_t)info->udf_revision));
	push_text(out + UDF_VOLINFO_NAME_OFS, UDF_VOLINFO_NAME_CHARS, "UDF");
	push_le64(out + UDF_VOLINFO_FORMAT_TIME_OFS,
		  filetime(&info->format_time));
	push_le64(out + UDF_VOLINFO_UPDATE_TIME_OFS,
		  filetime(&info->update_time));
	push_text(out + UDF_VOLINFO_COPYRIGHT_OFS,
		  UDF_VOLINFO_TEXT_CHARS,
		  info->copyright);
	push_text(out + UDF_VOLINFO_ABSTRACT_OFS,
		  UDF_VOLINFO_TEXT_CHARS,
		  info->abstract);
	push_text(out + UDF_VOLINFO_FORMATTER_OFS,
		  UDF_VOLINFO_TEXT_CHARS,
		  info->formatter);
	push_text(out + UDF_VOLINFO_MODIFIER_OFS,
		  UDF_VOLINFO_TEXT_CHARS,
		  info->modifier);

	return FSCTL_CODEC_OK;
}
