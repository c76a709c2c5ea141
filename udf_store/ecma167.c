/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * ECMA-167 descriptor tags, allocation descriptors and the structures of part
 * 4, the file structure: see ecma167.h. Part 3 is in ecma167_volume.c.
 */
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "ecma167.h"

uint16_t udf_crc16(uint16_t crc, const uint8_t *buf, size_t len)
{
	/* The polynomial 0x1021 over the values of a byte. */
	static const uint16_t table[256] = {
		0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50A5, 0x60C6, 0x70E7,
		0x8108, 0x9129, 0xA14A, 0xB16B, 0xC18C, 0xD1AD, 0xE1CE, 0xF1EF,
		0x1231, 0x0210, 0x3273, 0x2252, 0x52B5, 0x4294, 0x72F7, 0x62D6,
		0x9339, 0x8318, 0xB37B, 0xA35A, 0xD3BD, 0xC39C, 0xF3FF, 0xE3DE,
		0x2462, 0x3443, 0x0420, 0x1401, 0x64E6, 0x74C7, 0x44A4, 0x5485,
		0xA56A, 0xB54B, 0x8528, 0x9509, 0xE5EE, 0xF5CF, 0xC5AC, 0xD58D,
		0x3653, 0x2672, 0x1611, 0x0630, 0x76D7, 0x66F6, 0x5695, 0x46B4,
		0xB75B, 0xA77A, 0x9719, 0x8738, 0xF7DF, 0xE7FE, 0xD79D, 0xC7BC,
		0x48C4, 0x58E5, 0x6886, 0x78A7, 0x0840, 0x1861, 0x2802, 0x3823,
		0xC9CC, 0xD9ED, 0xE98E, 0xF9AF, 0x8948, 0x9969, 0xA90A, 0xB92B,
		0x5AF5, 0x4AD4, 0x7AB7, 0x6A96, 0x1A71, 0x0A50, 0x3A33, 0x2A12,
		0xDBFD, 0xCBDC, 0xFBBF, 0xEB9E, 0x9B79, 0x8B58, 0xBB3B, 0xAB1A,
		0x6CA6, 0x7C87, 0x4CE4, 0x5CC5, 0x2C22, 0x3C03, 0x0C60, 0x1C41,
		0xEDAE, 0xFD8F, 0xCDEC, 0xDDCD, 0xAD2A, 0xBD0B, 0x8D68, 0x9D49,
		0x7E97, 0x6EB6, 0x5ED5, 0x4EF4, 0x3E13, 0x2E32, 0x1E51, 0x0E70,
		0xFF9F, 0xEFBE, 0xDFDD, 0xCFFC, 0xBF1B, 0xAF3A, 0x9F59, 0x8F78,
		0x9188, 0x81A9, 0xB1CA, 0xA1EB, 0xD10C, 0xC12D, 0xF14E, 0xE16F,
		0x1080, 0x00A1, 0x30C2, 0x20E3, 0x5004, 0x4025, 0x7046, 0x6067,
		0x83B9, 0x9398, 0xA3FB, 0xB3DA, 0xC33D, 0xD31C, 0xE37F, 0xF35E,
		0x02B1, 0x1290, 0x22F3, 0x32D2, 0x4235, 0x5214, 0x6277, 0x7256,
		0xB5EA, 0xA5CB, 0x95A8, 0x8589, 0xF56E, 0xE54F, 0xD52C, 0xC50D,
		0x34E2, 0x24C3, 0x14A0, 0x0481, 0x7466, 0x6447, 0x5424, 0x4405,
		0xA7DB, 0xB7FA, 0x8799, 0x97B8, 0xE75F, 0xF77E, 0xC71D, 0xD73C,
		0x26D3, 0x36F2, 0x0691, 0x16B0, 0x6657, 0x7676, 0x4615, 0x5634,
		0xD94C, 0xC96D, 0xF90E, 0xE92F, 0x99C8, 0x89E9, 0xB98A, 0xA9AB,
		0x5844, 0x4865, 0x7806, 0x6827, 0x18C0, 0x08E1, 0x3882, 0x28A3,
		0xCB7D, 0xDB5C, 0xEB3F, 0xFB1E, 0x8BF9, 0x9BD8, 0xABBB, 0xBB9A,
		0x4A75, 0x5A54, 0x6A37, 0x7A16, 0x0AF1, 0x1AD0, 0x2AB3, 0x3A92,
		0xFD2E, 0xED0F, 0xDD6C, 0xCD4D, 0xBDAA, 0xAD8B, 0x9DE8, 0x8DC9,
		0x7C26, 0x6C07, 0x5C64, 0x4C45, 0x3CA2, 0x2C83, 0x1CE0, 0x0CC1,
		0xEF1F, 0xFF3E, 0xCF5D, 0xDF7C, 0xAF9B, 0xBFBA, 0x8FD9, 0x9FF8,
		0x6E17, 0x7E36, 0x4E55, 0x5E74, 0x2E93, 0x3EB2, 0x0ED1, 0x1EF0,
	};
	size_t i = 0;

	for (i = 0; i < len; i++) {
		crc = (uint16_t)((crc << 8) ^ table[(crc >> 8) ^ buf[i]]);
	}
	return crc;
}

#define TAG_CHECKSUM_OFS 4u

static uint8_t tag_checksum(const uint8_t *buf)
{
	uint8_t sum = 0;
	size_t i = 0;

	for (i = 0; i < UDF_TAG_LEN; i++) {
		if (i != TAG_CHECKSUM_OFS) {
			sum = (uint8_t)(sum + buf[i]);
		}
	}
	return sum;
}

int decode_tag(const uint8_t *buf, size_t len, struct udf_tag *tag)
{
	if (len < UDF_TAG_LEN) {
		return -EUCLEAN;
	}
	if (buf[TAG_CHECKSUM_OFS] != tag_checksum(buf)) {
		return -EUCLEAN;
	}
	tag->id = get_le16(buf);
	tag->version = get_le16(buf + 2);
	tag->serial = get_le16(buf + 6);
	tag->crc = get_le16(buf + 8);
	tag->crc_length = get_le16(buf + 10);
	tag->location = get_le32(buf + 12);
	return 0;
}

int check_tag(const uint8_t *buf, size_t len, uint16_t id, uint32_t location,
	      struct udf_tag *tag)
{
	struct udf_tag found = {0};
	uint16_t crc = 0;
	int ret = 0;

	ret = decode_tag(buf, len, &found);
	if (ret != 0) {
		return ret;
	}
	if (found.id != id) {
		return -EUCLEAN;
	}
	if (location != UDF_ANY_LOCATION && found.location != location) {
		return -EUCLEAN;
	}
	if (found.crc_length > len - UDF_TAG_LEN) {
		return -EUCLEAN;
	}
	crc = udf_crc16(0, buf + UDF_TAG_LEN, found.crc_length);
	if (crc != found.crc) {
		return -EUCLEAN;
	}
	if (tag != NULL) {
		*tag = found;
	}
	return 0;
}

int mend_tag(uint8_t *buf, size_t len, uint16_t id, uint32_t location)
{
	struct udf_tag tag = { .id = id, .location = location };
	uint16_t length = 0;

	if (len < UDF_TAG_LEN) {
		return -EUCLEAN;
	}
	tag.version = get_le16(buf + 2);
	tag.serial = get_le16(buf + 6);
	length = get_le16(buf + 10);
	if (get_le16(buf) != id || get_le32(buf + 12) != location ||
	    tag.version < 2 || tag.version > 3 || buf[5] != 0 || length == 0 ||
	    length > len - UDF_TAG_LEN) {
		return -EUCLEAN;
	}
	return encode_tag(&tag, buf, len, length);
}

int encode_tag(const struct udf_tag *tag, uint8_t *buf, size_t len,
	       size_t crc_length)
{
	uint16_t crc = 0;

	if (len < UDF_TAG_LEN || crc_length > len - UDF_TAG_LEN) {
		return -EOVERFLOW;
	}
	if (crc_length > UINT16_MAX) {
		crc_length = UINT16_MAX;
	}
	crc = udf_crc16(0, buf + UDF_TAG_LEN, crc_length);
	put_le16(buf, tag->id);
	put_le16(buf + 2, tag->version);
	buf[TAG_CHECKSUM_OFS] = 0;
	buf[5] = 0;
	put_le16(buf + 6, tag->serial);
	put_le16(buf + 8, crc);
	put_le16(buf + 10, (uint16_t)crc_length);
	put_le32(buf + 12, tag->location);
	buf[TAG_CHECKSUM_OFS] = tag_checksum(buf);
	return 0;
}

void udf_tag_set_location(uint8_t *buf, uint32_t location)
{
	put_le32(buf + 12, location);
	buf[TAG_CHECKSUM_OFS] = tag_checksum(buf);
}

void decode_extent_ad(const uint8_t *p, struct udf_extent_ad *ad)
{
	ad->length = get_le32(p);
	ad->location = get_le32(p + 4);
}

void encode_extent_ad(const struct udf_extent_ad *ad, uint8_t *p)
{
	put_le32(p, ad->length);
	put_le32(p + 4, ad->location);
}

void decode_lb_addr(const uint8_t *p, struct udf_lb_addr *addr)
{
	addr->block = get_le32(p);
	addr->partition = get_le16(p + 4);
}

void encode_lb_addr(const struct udf_lb_addr *addr, uint8_t *p)
{
	put_le32(p, addr->block);
	put_le16(p + 4, addr->partition);
}

static void decode_length_and_type(const uint8_t *p, struct udf_ad *ad)
{
	uint32_t word = get_le32(p);

	*ad = (struct udf_ad){
		.length = word & UDF_AD_MAX_LENGTH,
		.type = (enum udf_extent_type)(word >> 30),
	};
}

static void encode_length_and_type(const struct udf_ad *ad, uint8_t *p)
{
	uint32_t word = ad->length & UDF_AD_MAX_LENGTH;

	put_le32(p, word | ((uint32_t)ad->type << 30));
}

void decode_short_ad(const uint8_t *p, uint16_t partition, struct udf_ad *ad)
{
	decode_length_and_type(p, ad);
	ad->addr.block = get_le32(p + 4);
	ad->addr.partition = partition;
}

void encode_short_ad(const struct udf_ad *ad, uint8_t *p)
{
	encode_length_and_type(ad, p);
	put_le32(p + 4, ad->addr.block);
}

void decode_long_ad(const uint8_t *p, struct udf_ad *ad)
{
	decode_length_and_type(p, ad);
	decode_lb_addr(p + 4, &ad->addr);
	ad->flags = get_le16(p + 10);
	ad->unique_id = get_le32(p + 12);
}

void encode_long_ad(const struct udf_ad *ad, uint8_t *p)
{
	encode_length_and_type(ad, p);
	encode_lb_addr(&ad->addr, p + 4);
	put_le16(p + 10, ad->flags);
	put_le32(p + 12, ad->unique_id);
}

void decode_ext_ad(const uint8_t *p, struct udf_ad *ad)
{
	decode_length_and_type(p, ad);
	ad->recorded_length = get_le32(p + 4);
	ad->information_length = get_le32(p + 8);
	decode_lb_addr(p + 12, &ad->addr);
	ad->flags = get_le16(p + 18);
}

void encode_ext_ad(const struct udf_ad *ad, uint8_t *p)
{
	encode_length_and_type(ad, p);
	put_le32(p + 4, ad->recorded_length);
	put_le32(p + 8, ad->information_length);
	encode_lb_addr(&ad->addr, p + 12);
	put_le16(p + 18, ad->flags);
}

size_t udf_ad_size(enum udf_ad_form form)
{
	switch (form) {
	case UDF_AD_SHORT:
		return UDF_SHORT_AD_LEN;
	case UDF_AD_LONG:
		return UDF_LONG_AD_LEN;
	case UDF_AD_EXTENDED:
		return UDF_EXT_AD_LEN;
	case UDF_AD_IN_ICB:
		break;
	}
	return 0;
}

int decode_ad(const uint8_t *buf, size_t len, enum udf_ad_form form,
	      uint16_t partition, struct udf_ad *ad)
{
	size_t size = udf_ad_size(form);

	if (size == 0 || len < size) {
		return -EUCLEAN;
	}
	if (form == UDF_AD_SHORT) {
		decode_short_ad(buf, partition, ad);
	} else if (form == UDF_AD_LONG) {
		decode_long_ad(buf, ad);
	} else {
		decode_ext_ad(buf, ad);
	}
	return (int)size;
}

int encode_ad(const struct udf_ad *ad, enum udf_ad_form form, uint8_t *buf,
	      size_t len)
{
	size_t size = udf_ad_size(form);

	if (size == 0 || len < size) {
		return -EOVERFLOW;
	}
	if (form == UDF_AD_SHORT) {
		encode_short_ad(ad, buf);
	} else if (form == UDF_AD_LONG) {
		encode_long_ad(ad, buf);
	} else {
		encode_ext_ad(ad, buf);
	}
	return (int)size;
}

static void decode_icbtag(const uint8_t *p, struct udf_icbtag *icbtag)
{
	icbtag->prior_entries = get_le32(p);
	icbtag->strategy = get_le16(p + 4);
	icbtag->strategy_parameter = get_le16(p + 6);
	icbtag->max_entries = get_le16(p + 8);
	icbtag->file_type = p[11];
	decode_lb_addr(p + 12, &icbtag->parent);
	icbtag->flags = get_le16(p + 18);
}

static void encode_icbtag(const struct udf_icbtag *icbtag, uint8_t *p)
{
	put_le32(p, icbtag->prior_entries);
	put_le16(p + 4, icbtag->strategy);
	put_le16(p + 6, icbtag->strategy_parameter);
	put_le16(p + 8, icbtag->max_entries);
	p[10] = 0;
	p[11] = icbtag->file_type;
	encode_lb_addr(&icbtag->parent, p + 12);
	put_le16(p + 18, icbtag->flags);
}

size_t udf_icb_header_len(uint16_t tag_id)
{
	return tag_id == UDF_TAG_EFE ? UDF_EFE_LEN : UDF_FE_LEN;
}

/* A time nobody recorded is 1970, as in a file system without it. */
static void decode_time(const uint8_t *p, struct timespec *ts)
{
	(void)udf_decode_timestamp(p, ts);
}

/* Bytes 64 to 176 of a File Entry. */
static void decode_fe(const uint8_t *buf, struct udf_icb *icb)
{
	icb->object_size = icb->information_length;
	icb->blocks_recorded = get_le64(buf + 64);
	decode_time(buf + 72, &icb->access);
	decode_time(buf + 84, &icb->modification);
	decode_time(buf + 96, &icb->attribute);
	icb->checkpoint = get_le32(buf + 108);
	decode_long_ad(buf + 112, &icb->ea_icb);
	udf_decode_regid(buf + 128, &icb->implementation);
	icb->unique_id = get_le64(buf + 160);
	icb->ea_length = get_le32(buf + 168);
	icb->ad_length = get_le32(buf + 172);
}

/* Bytes 64 to 216 of an Extended File Entry. */
static void decode_efe(const uint8_t *buf, struct udf_icb *icb)
{
	icb->object_size = get_le64(buf + 64);
	icb->blocks_recorded = get_le64(buf + 72);
	decode_time(buf + 80, &icb->access);
	decode_time(buf + 92, &icb->modification);
	decode_time(buf + 104, &icb->creation);
	decode_time(buf + 116, &icb->attribute);
	icb->checkpoint = get_le32(buf + 128);
	decode_long_ad(buf + 136, &icb->ea_icb);
	decode_long_ad(buf + 152, &icb->stream_dir_icb);
	udf_decode_regid(buf + 168, &icb->implementation);
	icb->unique_id = get_le64(buf + 200);
	icb->ea_length = get_le32(buf + 208);
	icb->ad_length = get_le32(buf + 212);
}

int decode_icb(const uint8_t *buf, size_t len, uint32_t location,
	       struct udf_icb *icb)
{
	struct udf_tag tag = {0};
	size_t header = 0;
	int ret = 0;

	*icb = (struct udf_icb){0};

	ret = decode_tag(buf, len, &tag);
	if (ret != 0) {
		return ret;
	}
	if (tag.id != UDF_TAG_FE && tag.id != UDF_TAG_EFE) {
		return -EUCLEAN;
	}
	ret = check_tag(buf, len, tag.id, location, &icb->tag);
	if (ret != 0) {
		return ret;
	}
	header = udf_icb_header_len(tag.id);
	if (len < header) {
		return -EUCLEAN;
	}
	decode_icbtag(buf + 16, &icb->icbtag);
	icb->uid = get_le32(buf + 36);
	icb->gid = get_le32(buf + 40);
	icb->permissions = get_le32(buf + 44);
	icb->link_count = get_le16(buf + 48);
	icb->record_format = buf[50];
	icb->record_display = buf[51];
	icb->record_length = get_le32(buf + 52);
	icb->information_length = get_le64(buf + 56);
	if (tag.id == UDF_TAG_FE) {
		decode_fe(buf, icb);
	} else {
		decode_efe(buf, icb);
	}
	if (icb->ea_length > len - header ||
	    icb->ad_length > len - header - icb->ea_length) {
		return -EUCLEAN;
	}
	icb->ea = buf + header;
	icb->ads = icb->ea + icb->ea_length;
	return 0;
}

static void encode_fe(const struct udf_icb *icb, uint8_t *buf)
{
	put_le64(buf + 64, icb->blocks_recorded);
	udf_encode_timestamp(&icb->access, buf + 72);
	udf_encode_timestamp(&icb->modification, buf + 84);
	udf_encode_timestamp(&icb->attribute, buf + 96);
	put_le32(buf + 108, icb->checkpoint);
	encode_long_ad(&icb->ea_icb, buf + 112);
	udf_encode_regid(&icb->implementation, buf + 128);
	put_le64(buf + 160, icb->unique_id);
	put_le32(buf + 168, icb->ea_length);
	put_le32(buf + 172, icb->ad_length);
}

static void encode_efe(const struct udf_icb *icb, uint8_t *buf)
{
	put_le64(buf + 64, icb->object_size);
	put_le64(buf + 72, icb->blocks_recorded);
	udf_encode_timestamp(&icb->access, buf + 80);
	udf_encode_timestamp(&icb->modification, buf + 92);
	udf_encode_timestamp(&icb->creation, buf + 104);
	udf_encode_timestamp(&icb->attribute, buf + 116);
	put_le32(buf + 128, icb->checkpoint);
	encode_long_ad(&icb->ea_icb, buf + 136);
	encode_long_ad(&icb->stream_dir_icb, buf + 152);
	udf_encode_regid(&icb->implementation, buf + 168);
	put_le64(buf + 200, icb->unique_id);
	put_le32(buf + 208, icb->ea_length);
	put_le32(buf + 212, icb->ad_length);
}

int encode_icb(const struct udf_icb *icb, uint8_t *buf, size_t len)
{
	size_t header = udf_icb_header_len(icb->tag.id);
	size_t total = 0;
	int ret = 0;

	if (len < header || icb->ea_length > len - header ||
	    icb->ad_length > len - header - icb->ea_length) {
		return -EOVERFLOW;
	}
	memset(buf, 0, len);
	encode_icbtag(&icb->icbtag, buf + 16);
	put_le32(buf + 36, icb->uid);
	put_le32(buf + 40, icb->gid);
	put_le32(buf + 44, icb->permissions);
	put_le16(buf + 48, icb->link_count);
	buf[50] = icb->record_format;
	buf[51] = icb->record_display;
	put_le32(buf + 52, icb->record_length);
	put_le64(buf + 56, icb->information_length);
	if (icb->tag.id == UDF_TAG_EFE) {
		encode_efe(icb, buf);
	} else {
		encode_fe(icb, buf);
	}
	total = header;
	if (icb->ea_length > 0) {
		memcpy(buf + total, icb->ea, icb->ea_length);
		total += icb->ea_length;
	}
	if (icb->ad_length > 0) {
		memcpy(buf + total, icb->ads, icb->ad_length);
		total += icb->ad_length;
	}
	ret = encode_tag(&icb->tag, buf, len, total - UDF_TAG_LEN);
	if (ret != 0) {
		return ret;
	}
	return (int)total;
}

size_t udf_fid_size(size_t name_length, size_t impl_use_length)
{
	return (UDF_FID_LEN + name_length + impl_use_length + 3) & ~(size_t)3;
}

int decode_fid(const uint8_t *buf, size_t len, uint32_t location,
	       struct udf_fid *fid)
{
	size_t size = 0;
	int ret = 0;

	*fid = (struct udf_fid){0};

	ret = check_tag(buf, len, UDF_TAG_FID, location, &fid->tag);
	if (ret != 0) {
		return ret;
	}
	if (len < UDF_FID_LEN) {
		return -EUCLEAN;
	}
	fid->version_number = get_le16(buf + 16);
	fid->characteristics = buf[18];
	fid->name_length = buf[19];
	decode_long_ad(buf + 20, &fid->icb);
	fid->impl_use_length = get_le16(buf + 36);
	size = udf_fid_size(fid->name_length, fid->impl_use_length);
	if (size > len) {
		return -EUCLEAN;
	}
	fid->impl_use = buf + UDF_FID_LEN;
	fid->name = fid->impl_use + fid->impl_use_length;
	return (int)size;
}

int encode_fid(const struct udf_fid *fid, uint8_t *buf, size_t len)
{
	struct udf_tag tag = fid->tag;
	size_t size = udf_fid_size(fid->name_length, fid->impl_use_length);
	int ret = 0;

	if (size > len) {
		return -EOVERFLOW;
	}
	memset(buf, 0, size);
	put_le16(buf + 16, fid->version_number);
	buf[18] = fid->characteristics;
	buf[19] = fid->name_length;
	encode_long_ad(&fid->icb, buf + 20);
	put_le16(buf + 36, fid->impl_use_length);
	if (fid->impl_use_length > 0) {
		memcpy(buf + UDF_FID_LEN, fid->impl_use, fid->impl_use_length);
	}
	if (fid->name_length > 0) {
		memcpy(buf + UDF_FID_LEN + fid->impl_use_length, fid->name,
		       fid->name_length);
	}
	tag.id = UDF_TAG_FID;
	ret = encode_tag(&tag, buf, len, size - UDF_TAG_LEN);
	if (ret != 0) {
		return ret;
	}
	return (int)size;
}

int decode_aed(const uint8_t *buf, size_t len, uint32_t location,
	       struct udf_aed *aed)
{
	int ret = 0;

	*aed = (struct udf_aed){0};

	ret = check_tag(buf, len, UDF_TAG_AED, location, &aed->tag);
	if (ret != 0) {
		return ret;
	}
	if (len < UDF_AED_LEN) {
		return -EUCLEAN;
	}
	aed->previous_extent = get_le32(buf + 16);
	aed->ad_length = get_le32(buf + 20);
	if (aed->ad_length > len - UDF_AED_LEN) {
		return -EUCLEAN;
	}
	aed->ads = buf + UDF_AED_LEN;
	return 0;
}

int encode_aed(const struct udf_aed *aed, uint8_t *buf, size_t len)
{
	struct udf_tag tag = aed->tag;
	size_t total = 0;
	int ret = 0;

	if (len < UDF_AED_LEN || aed->ad_length > len - UDF_AED_LEN) {
		return -EOVERFLOW;
	}
	total = UDF_AED_LEN + aed->ad_length;
	memset(buf, 0, len);
	put_le32(buf + 16, aed->previous_extent);
	put_le32(buf + 20, aed->ad_length);
	if (aed->ad_length > 0) {
		memcpy(buf + UDF_AED_LEN, aed->ads, aed->ad_length);
	}
	tag.id = UDF_TAG_AED;
	ret = encode_tag(&tag, buf, len, total - UDF_TAG_LEN);
	if (ret != 0) {
		return ret;
	}
	return (int)total;
}

int decode_space_bitmap(const uint8_t *buf, size_t len, uint32_t location,
			struct udf_space_bitmap *bitmap)
{
	struct udf_tag tag = {0};
	int ret = 0;

	*bitmap = (struct udf_space_bitmap){0};

	if (len < UDF_SPACE_BITMAP_LEN) {
		return -EUCLEAN;
	}
	ret = decode_tag(buf, len, &tag);
	if (ret != 0) {
		return ret;
	}
	/*
	 * A CRC over the bits (foreign writers, UDF 2.3.3 allows it) cannot
	 * be checked from the header, and the kernel driver does not keep it
	 * up to date either: only a CRC over the header itself counts.
	 */
	if (tag.crc_length <= UDF_SPACE_BITMAP_LEN - UDF_TAG_LEN) {
		ret = check_tag(buf, len, UDF_TAG_SPACE_BITMAP, location, NULL);
		if (ret != 0) {
			return ret;
		}
	}
	if (tag.id != UDF_TAG_SPACE_BITMAP) {
		return -EUCLEAN;
	}
	if (location != UDF_ANY_LOCATION && tag.location != location) {
		return -EUCLEAN;
	}
	bitmap->tag = tag;
	bitmap->bits = get_le32(buf + 16);
	bitmap->bytes = get_le32(buf + 20);
	if (bitmap->bytes < bitmap->bits / 8 + (bitmap->bits % 8 != 0)) {
		return -EUCLEAN;
	}
	return 0;
}

int encode_space_bitmap(const struct udf_space_bitmap *bitmap, uint8_t *buf,
			size_t len)
{
	struct udf_tag tag = bitmap->tag;
	int ret = 0;

	if (len < UDF_SPACE_BITMAP_LEN) {
		return -EOVERFLOW;
	}
	put_le32(buf + 16, bitmap->bits);
	put_le32(buf + 20, bitmap->bytes);
	tag.id = UDF_TAG_SPACE_BITMAP;
	ret = encode_tag(&tag, buf, len, UDF_SPACE_BITMAP_LEN - UDF_TAG_LEN);
	if (ret != 0) {
		return ret;
	}
	return (int)UDF_SPACE_BITMAP_LEN;
}

/* A text that is not CS0 is shown as empty: it is information only. */
static void decode_text(const uint8_t *field, size_t len, char *out)
{
	(void)udf_decode_dstring(field, len, out, UDF_TEXT_LEN);
}

int decode_fsd(const uint8_t *buf, size_t len, uint32_t location,
	       struct udf_fsd *fsd)
{
	int ret = 0;

	*fsd = (struct udf_fsd){0};

	ret = check_tag(buf, len, UDF_TAG_FSD, location, &fsd->tag);
	if (ret != 0) {
		return ret;
	}
	if (len < UDF_FSD_LEN) {
		return -EUCLEAN;
	}
	decode_time(buf + 16, &fsd->recorded);
	fsd->number = get_le32(buf + 40);
	decode_text(buf + 112, 128, fsd->label);
	decode_text(buf + 304, 32, fsd->identifier);
	decode_text(buf + 336, 32, fsd->copyright);
	decode_text(buf + 368, 32, fsd->abstract);
	decode_long_ad(buf + 400, &fsd->root_icb);
	udf_decode_regid(buf + 416, &fsd->domain);
	decode_long_ad(buf + 448, &fsd->next_extent);
	decode_long_ad(buf + 464, &fsd->system_stream_dir_icb);
	return 0;
}

/* A charspec (ECMA-167 1/7.2.1) of OSTA Compressed Unicode (UDF 2.1.2). */
static void encode_charspec(uint8_t *p)
{
	static const char information[] = "OSTA Compressed Unicode";

	p[0] = 0;
	memcpy(p + 1, information, sizeof(information) - 1);
}

int encode_fsd(const struct udf_fsd *fsd, uint8_t *buf, size_t len)
{
	const struct {
		const char *text;
		size_t offset;
		size_t len;
	} texts[] = {
		{fsd->label, 112, 128},
		{fsd->identifier, 304, 32},
		{fsd->copyright, 336, 32},
		{fsd->abstract, 368, 32},
	};
	struct udf_tag tag = fsd->tag;
	size_t i = 0;

	if (len < UDF_FSD_LEN) {
		return -EOVERFLOW;
	}
	memset(buf, 0, len);
	udf_encode_timestamp(&fsd->recorded, buf + 16);
	put_le16(buf + 28, 3); /* interchange level, and its maximum */
	put_le16(buf + 30, 3);
	put_le32(buf + 32, 1); /* character set list, and its maximum: CS0 */
	put_le32(buf + 36, 1);
	put_le32(buf + 40, fsd->number);
	encode_charspec(buf + 48);
	encode_charspec(buf + 240);
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		int ret = udf_encode_dstring(texts[i].text,
					     buf + texts[i].offset,
					     texts[i].len);

		if (ret != 0) {
			return ret;
		}
	}
	encode_long_ad(&fsd->root_icb, buf + 400);
	udf_encode_regid(&fsd->domain, buf + 416);
	encode_long_ad(&fsd->next_extent, buf + 448);
	encode_long_ad(&fsd->system_stream_dir_icb, buf + 464);
	tag.id = UDF_TAG_FSD;
	return encode_tag(&tag, buf, len, UDF_FSD_LEN - UDF_TAG_LEN);
}

/* Of an attribute: type u32, subtype u8, reserved u8[3], length u32. */
#define EA_HEADER_LEN 12u

const uint8_t *udf_ea_find(const uint8_t *ea, size_t ea_length, uint32_t type,
			   uint32_t *attribute_length)
{
	size_t ofs = UDF_EAHD_LEN;

	if (ea_length < UDF_EAHD_LEN) {
		return NULL;
	}
	while (ea_length - ofs >= EA_HEADER_LEN) {
		const uint8_t *p = ea + ofs;
		uint32_t length = get_le32(p + 8);

		if (length < EA_HEADER_LEN || length > ea_length - ofs) {
			return NULL;
		}
		if (get_le32(p) == type && p[4] == 1) {
			*attribute_length = length;
			return p;
		}
		ofs += length;
	}
	return NULL;
}

/* Header, implementation use length u32, major u32, minor u32. */
#define EA_DEVICE_LEN 24u

int decode_ea_device(const uint8_t *ea, size_t ea_length, uint32_t *major,
		     uint32_t *minor)
{
	const uint8_t *p = NULL;
	uint32_t length = 0;

	p = udf_ea_find(ea, ea_length, UDF_EA_DEVICE, &length);
	if (p == NULL || length < EA_DEVICE_LEN) {
		return -EUCLEAN;
	}
	*major = get_le32(p + 16);
	*minor = get_le32(p + 20);
	return 0;
}

int encode_ea_device(uint16_t tag_version, uint32_t location, uint32_t major,
		     uint32_t minor, uint8_t *buf, size_t len)
{
	const uint32_t used = UDF_EAHD_LEN + EA_DEVICE_LEN + UDF_REGID_LEN;
	struct udf_tag tag = {
		.id = UDF_TAG_EAHD,
		.version = tag_version,
		.location = location,
	};
	struct udf_regid regid = {0};
	uint8_t *p = buf + UDF_EAHD_LEN;
	int ret = 0;

	if (len < used) {
		return -EOVERFLOW;
	}
	memset(buf, 0, used);
	/* No implementation or application attributes follow. */
	put_le32(buf + 16, used);
	put_le32(buf + 20, used);
	ret = encode_tag(&tag, buf, len, UDF_EAHD_LEN - UDF_TAG_LEN);
	if (ret != 0) {
		return ret;
	}
	put_le32(p, UDF_EA_DEVICE);
	p[4] = 1;
	put_le32(p + 8, EA_DEVICE_LEN + UDF_REGID_LEN);
	/* UDF 3.3.4.4: the implementation use is our identifier. */
	put_le32(p + 12, UDF_REGID_LEN);
	put_le32(p + 16, major);
	put_le32(p + 20, minor);
	udf_our_regid(&regid);
	udf_encode_regid(&regid, p + EA_DEVICE_LEN);
	return (int)used;
}
