/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The small values inside descriptors: OSTA CS0 strings (UDF 2.1.1),
 * dstrings (ECMA-167 1/7.2.12, UDF 2.1.3), timestamps (1/7.3, UDF 2.1.4) and
 * entity identifiers (1/7.4, UDF 2.1.5). Pure bytes; no I/O.
 */
#ifndef UDF_STORE_OSTA_H
#define UDF_STORE_OSTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* Compression IDs (UDF 2.1.1). */
#define UDF_CS0_8BIT 8u
#define UDF_CS0_16BIT 16u

/* A file identifier, with its compression ID, is at most this long. */
#define UDF_NAME_MAX 255u
/* What a file identifier can become in UTF-8, with the NUL: 254 characters
 * of 8 bits take 2 bytes each, 127 of 16 bits take 3. */
#define UDF_NAME_UTF8_MAX 509u

/*
 * OSTA CS0 to UTF-8. cs0 has len bytes, the first of which is the
 * compression ID (8 or 16); len 0 is the empty string. The result is ended
 * by a NUL. Surrogate pairs become one character; a lone surrogate keeps its
 * value as three bytes, and udf_utf8_to_cs0() turns those back, so that every
 * name on a volume can be looked up.
 *
 * Returns bytes without the NUL; -EILSEQ, an unknown compression ID, half a
 * character, or U+0000 inside; -ENAMETOOLONG, out_len is too small. '/' is
 * passed on: who wants a path component must look for it.
 */
int udf_cs0_to_utf8(const uint8_t *cs0, size_t len, char *out, size_t out_len);

/*
 * UTF-8 to OSTA CS0, with the shortest compression ID that holds it.
 *
 * Returns bytes used in out (0 for the empty string); -EILSEQ, not UTF-8;
 * -ENAMETOOLONG, longer than out_len (UDF_NAME_MAX for a file identifier).
 */
int udf_utf8_to_cs0(const char *utf8, size_t len, uint8_t *out, size_t out_len);

/*
 * A dstring field of len bytes to UTF-8; as udf_cs0_to_utf8(). A length byte
 * beyond the field is -EILSEQ.
 */
int udf_decode_dstring(const uint8_t *field, size_t len, char *out,
		       size_t out_len);

/*
 * UTF-8 to a dstring field of len bytes (at most 256), zero-padded, with the
 * length in the last byte. Returns 0 or as udf_utf8_to_cs0().
 */
int udf_encode_dstring(const char *utf8, uint8_t *field, size_t len);

#define UDF_TIMESTAMP_LEN 12u

/*
 * A timestamp to UTC. A time without a time zone is taken as UTC. Returns 0,
 * or -ERANGE with *ts set to 1970 when a field is out of its range (an unused
 * timestamp is all zeroes).
 */
int udf_decode_timestamp(const uint8_t *p, struct timespec *ts);

/*
 * A time to a timestamp, in UTC (type 1, offset 0). UDF knows microseconds:
 * the rest is cut off, so a recorded time is never later than the given one.
 * Times before year 1 or after year 9999 become the nearest that fits.
 */
void udf_encode_timestamp(const struct timespec *ts, uint8_t *p);

/* The time as a timestamp keeps it. */
struct timespec udf_timestamp_round(struct timespec ts);

#define UDF_REGID_LEN 32u

/* EntityID (regid). */
struct udf_regid {
	uint8_t flags;
	char identifier[24]; /* ended by a NUL */
	uint8_t suffix[8];
};

/* What we call ourselves where UDF asks for an implementation. */
#define UDF_OUR_IDENTIFIER "*vfs_udf udfd"

void udf_decode_regid(const uint8_t *p, struct udf_regid *regid);
void udf_encode_regid(const struct udf_regid *regid, uint8_t *p);

/* Fill in our implementation identifier; its suffix names Linux (UDF 6.3). */
void udf_our_regid(struct udf_regid *regid);

/* The identifier is exactly this one. */
bool udf_regid_is(const struct udf_regid *regid, const char *identifier);

/* UDF revision in a domain or UDF entity's suffix, BCD (UDF 2.1.5.3). */
uint16_t udf_regid_revision(const struct udf_regid *regid);

#endif /* UDF_STORE_OSTA_H */
