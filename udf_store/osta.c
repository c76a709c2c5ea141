/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * OSTA CS0 strings, dstrings, timestamps and entity identifiers: see osta.h.
 */
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "osta.h"

/*
 * One code point as UTF-8. Returns its bytes, 0 when out_len is too small for
 * them.
 */
static size_t put_utf8(uint32_t c, char *out, size_t out_len)
{
	uint8_t bytes[4] = {0};
	size_t n = 0;

	if (c < 0x80) {
		bytes[0] = (uint8_t)c;
		n = 1;
	} else if (c < 0x800) {
		bytes[0] = (uint8_t)(0xC0 | (c >> 6));
		bytes[1] = (uint8_t)(0x80 | (c & 0x3F));
		n = 2;
	} else if (c < 0x10000) {
		bytes[0] = (uint8_t)(0xE0 | (c >> 12));
		bytes[1] = (uint8_t)(0x80 | ((c >> 6) & 0x3F));
		bytes[2] = (uint8_t)(0x80 | (c & 0x3F));
		n = 3;
	} else {
		bytes[0] = (uint8_t)(0xF0 | (c >> 18));
		bytes[1] = (uint8_t)(0x80 | ((c >> 12) & 0x3F));
		bytes[2] = (uint8_t)(0x80 | ((c >> 6) & 0x3F));
		bytes[3] = (uint8_t)(0x80 | (c & 0x3F));
		n = 4;
	}
	if (n > out_len) {
		return 0;
	}
	memcpy(out, bytes, n);
	return n;
}

/*
 * One code point from UTF-8; surrogates are let through (see osta.h).
 * Returns its bytes, 0 when these are none.
 */
static size_t get_utf8(const uint8_t *p, size_t len, uint32_t *c)
{
	static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
	uint32_t value = 0;
	size_t n = 0;
	size_t i = 0;

	if (p[0] < 0x80) {
		*c = p[0];
		return 1;
	}
	if ((p[0] & 0xE0) == 0xC0) {
		n = 2;
		value = p[0] & 0x1F;
	} else if ((p[0] & 0xF0) == 0xE0) {
		n = 3;
		value = p[0] & 0x0F;
	} else if ((p[0] & 0xF8) == 0xF0) {
		n = 4;
		value = p[0] & 0x07;
	} else {
		return 0;
	}
	if (n > len) {
		return 0;
	}
	for (i = 1; i < n; i++) {
		if ((p[i] & 0xC0) != 0x80) {
			return 0;
		}
		value = (value << 6) | (p[i] & 0x3F);
	}
	if (value < least[n] || value > 0x10FFFF) {
		return 0;
	}
	*c = value;
	return n;
}

static bool is_high_surrogate(uint32_t c)
{
	return c >= 0xD800 && c < 0xDC00;
}

static bool is_low_surrogate(uint32_t c)
{
	return c >= 0xDC00 && c < 0xE000;
}

int udf_cs0_to_utf8(const uint8_t *cs0, size_t len, char *out, size_t out_len)
{
	size_t width = 0;
	size_t used = 0;
	size_t i = 1;

	if (out_len == 0) {
		return -ENAMETOOLONG;
	}
	out[0] = '\0';
	if (len == 0) {
		return 0;
	}
	if (cs0[0] == UDF_CS0_8BIT) {
		width = 1;
	} else if (cs0[0] == UDF_CS0_16BIT) {
		width = 2;
	} else {
		return -EILSEQ;
	}
	if ((len - 1) % width != 0) {
		return -EILSEQ;
	}

	while (i < len) {
		uint32_t c = cs0[i];
		size_t n = 0;

		if (width == 2) {
			c = ((uint32_t)cs0[i] << 8) | cs0[i + 1];
		}
		i += width;
		if (is_high_surrogate(c) && i < len) {
			uint32_t low = ((uint32_t)cs0[i] << 8) | cs0[i + 1];

			if (is_low_surrogate(low)) {
				c = 0x10000 + ((c - 0xD800) << 10) +
				    (low - 0xDC00);
				i += width;
			}
		}
		if (c == 0) {
			out[0] = '\0';
			return -EILSEQ;
		}
		n = put_utf8(c, out + used, out_len - 1 - used);
		if (n == 0) {
			out[0] = '\0';
			return -ENAMETOOLONG;
		}
		used += n;
	}
	out[used] = '\0';
	return (int)used;
}

int udf_utf8_to_cs0(const char *utf8, size_t len, uint8_t *out, size_t out_len)
{
	const uint8_t *p = (const uint8_t *)utf8;
	bool wide = false;
	size_t used = 1;
	size_t i = 0;

	if (len == 0) {
		return 0;
	}
	while (i < len) {
		uint32_t c = 0;
		size_t n = get_utf8(p + i, len - i, &c);

		/* UDF 2.1.1: CS0 lacks the byte order marks. */
		if (n == 0 || c == 0 || c == 0xFEFF || c == 0xFFFE) {
			return -EILSEQ;
		}
		wide = wide || c > 0xFF;
		i += n;
	}
	if (out_len == 0) {
		return -ENAMETOOLONG;
	}
	out[0] = wide ? UDF_CS0_16BIT : UDF_CS0_8BIT;

	i = 0;
	while (i < len) {
		uint32_t c = 0;
		size_t need = wide ? 2 : 1;

		i += get_utf8(p + i, len - i, &c);
		if (c > 0xFFFF) {
			need = 4;
		}
		if (need > out_len - used) {
			return -ENAMETOOLONG;
		}
		if (need == 4) {
			uint32_t high = 0xD800 + ((c - 0x10000) >> 10);

			out[used] = (uint8_t)(high >> 8);
			out[used + 1] = (uint8_t)high;
			used += 2;
			c = 0xDC00 + (c & 0x3FF);
		}
		if (wide) {
			out[used++] = (uint8_t)(c >> 8);
		}
		out[used++] = (uint8_t)c;
	}
	return (int)used;
}

int udf_decode_dstring(const uint8_t *field, size_t len, char *out,
		       size_t out_len)
{
	size_t used = 0;

	if (out_len == 0) {
		return -ENAMETOOLONG;
	}
	out[0] = '\0';
	if (len == 0) {
		return 0;
	}
	used = field[len - 1];
	if (used > len - 1) {
		return -EILSEQ;
	}
	return udf_cs0_to_utf8(field, used, out, out_len);
}

int udf_encode_dstring(const char *utf8, uint8_t *field, size_t len)
{
	int used = 0;

	memset(field, 0, len);
	if (len == 0) {
		return -ENAMETOOLONG;
	}
	used = udf_utf8_to_cs0(utf8, strlen(utf8), field, len - 1);
	if (used < 0) {
		memset(field, 0, len);
		return used;
	}
	field[len - 1] = (uint8_t)used;
	return 0;
}

#define TIMESTAMP_TYPE_LOCAL 1u
#define TIMESTAMP_NO_ZONE (-2047)

/* Days from 1970-01-01 of a proleptic Gregorian date. */
static int64_t days_of_date(int64_t year, unsigned int month, unsigned int day)
{
	/* Count from March, so that a leap day ends its year. */
	int64_t y = month > 2 ? year : year - 1;
	int64_t m = month > 2 ? month - 3 : month + 9;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t year_of_era = y - era * 400;
	int64_t day_of_year = (153 * m + 2) / 5 + day - 1;
	int64_t day_of_era = year_of_era * 365 + year_of_era / 4 -
			     year_of_era / 100 + day_of_year;

	/* 719468 days from 0000-03-01 to 1970-01-01. */
	return era * 146097 + day_of_era - 719468;
}

static bool is_leap_year(int64_t year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

int udf_decode_timestamp(const uint8_t *p, struct timespec *ts)
{
	static const uint8_t month_days[12] = {31, 28, 31, 30, 31, 30,
					       31, 31, 30, 31, 30, 31};
	uint16_t type_and_zone = get_le16(p);
	unsigned int type = type_and_zone >> 12;
	int zone = type_and_zone & 0x0FFF;
	int64_t year = (int16_t)get_le16(p + 2);
	unsigned int month = p[4];
	unsigned int day = p[5];
	unsigned int last_day = 0;
	int64_t seconds = 0;

	*ts = (struct timespec){0};

	if (zone & 0x0800) {
		zone -= 0x1000;
	}
	if (type != TIMESTAMP_TYPE_LOCAL || zone == TIMESTAMP_NO_ZONE) {
		zone = 0;
	}
	if (zone < -1440 || zone > 1440 || year < 1 || year > 9999 ||
	    month < 1 || month > 12) {
		return -ERANGE;
	}
	last_day = month_days[month - 1];
	if (month == 2 && is_leap_year(year)) {
		last_day++;
	}
	/* 60: a leap second, which becomes the next minute's first. */
	if (day < 1 || day > last_day || p[6] > 23 || p[7] > 59 || p[8] > 60 ||
	    p[9] > 99 || p[10] > 99 || p[11] > 99) {
		return -ERANGE;
	}

	seconds = days_of_date(year, month, day) * 86400;
	seconds += p[6] * 3600 + p[7] * 60 + p[8];
	seconds -= (int64_t)zone * 60;
	ts->tv_sec = (time_t)seconds;
	ts->tv_nsec = p[9] * 10000000L + p[10] * 100000L + p[11] * 1000L;
	return 0;
}

/* Seconds of 1970 of 0001-01-01T00:00:00 and 9999-12-31T23:59:59. */
#define TIMESTAMP_FIRST (-62135596800LL)
#define TIMESTAMP_LAST 253402300799LL

void udf_encode_timestamp(const struct timespec *ts, uint8_t *p)
{
	int64_t seconds = ts->tv_sec;
	long micro = ts->tv_nsec / 1000;
	int64_t days = 0;
	int64_t rest = 0;
	int64_t era = 0;
	int64_t day_of_era = 0;
	int64_t year_of_era = 0;
	int64_t day_of_year = 0;
	int64_t year = 0;
	int64_t m = 0;

	if (seconds < TIMESTAMP_FIRST) {
		seconds = TIMESTAMP_FIRST;
		micro = 0;
	}
	if (seconds > TIMESTAMP_LAST) {
		seconds = TIMESTAMP_LAST;
		micro = 999999;
	}
	days = seconds / 86400;
	rest = seconds % 86400;
	if (rest < 0) {
		rest += 86400;
		days--;
	}

	/* The inverse of days_of_date(). Dates from year 1 on are positive. */
	days += 719468;
	era = days / 146097;
	day_of_era = days % 146097;
	year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 -
		       day_of_era / 146096) /
		      365;
	day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 -
				    year_of_era / 100);
	m = (5 * day_of_year + 2) / 153;
	year = year_of_era + era * 400 + (m >= 10 ? 1 : 0);

	put_le16(p, TIMESTAMP_TYPE_LOCAL << 12);
	put_le16(p + 2, (uint16_t)year);
	p[4] = (uint8_t)(m < 10 ? m + 3 : m - 9);
	p[5] = (uint8_t)(day_of_year - (153 * m + 2) / 5 + 1);
	p[6] = (uint8_t)(rest / 3600);
	p[7] = (uint8_t)(rest / 60 % 60);
	p[8] = (uint8_t)(rest % 60);
	p[9] = (uint8_t)(micro / 10000);
	p[10] = (uint8_t)(micro / 100 % 100);
	p[11] = (uint8_t)(micro % 100);
}

struct timespec udf_timestamp_round(struct timespec ts)
{
	uint8_t p[UDF_TIMESTAMP_LEN];

	udf_encode_timestamp(&ts, p);
	(void)udf_decode_timestamp(p, &ts);
	return ts;
}

#define REGID_IDENTIFIER_OFS 1u
#define REGID_IDENTIFIER_LEN 23u
#define REGID_SUFFIX_OFS 24u

void udf_decode_regid(const uint8_t *p, struct udf_regid *regid)
{
	*regid = (struct udf_regid){.flags = p[0]};
	memcpy(regid->identifier, p + REGID_IDENTIFIER_OFS,
	       REGID_IDENTIFIER_LEN);
	memcpy(regid->suffix, p + REGID_SUFFIX_OFS, sizeof(regid->suffix));
}

void udf_encode_regid(const struct udf_regid *regid, uint8_t *p)
{
	size_t len = strnlen(regid->identifier, REGID_IDENTIFIER_LEN);

	memset(p, 0, UDF_REGID_LEN);
	p[0] = regid->flags;
	memcpy(p + REGID_IDENTIFIER_OFS, regid->identifier, len);
	memcpy(p + REGID_SUFFIX_OFS, regid->suffix, sizeof(regid->suffix));
}

/* UDF 6.3: OS class UNIX, identifier Linux. */
#define OS_CLASS_UNIX 4u
#define OS_ID_LINUX 5u

void udf_our_regid(struct udf_regid *regid)
{
	*regid = (struct udf_regid){0};
	strcpy(regid->identifier, UDF_OUR_IDENTIFIER);
	regid->suffix[0] = OS_CLASS_UNIX;
	regid->suffix[1] = OS_ID_LINUX;
}

bool udf_regid_is(const struct udf_regid *regid, const char *identifier)
{
	return strcmp(regid->identifier, identifier) == 0;
}

uint16_t udf_regid_revision(const struct udf_regid *regid)
{
	return get_le16(regid->suffix);
}
