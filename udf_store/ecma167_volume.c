/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * ECMA-167 part 3, the volume structure, and UDF's sparing table: see
 * ecma167.h.
 */
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "ecma167.h"

#define VOLUME_DESCRIPTOR_LEN 512u
#define DSTRING_LABEL_LEN 128u

/* ECMA-167 2/9.1: structure type, standard identifier, version. */
enum udf_vsd decode_vsd(const uint8_t *buf, size_t len)
{
	static const struct {
		const char *identifier;
		enum udf_vsd vsd;
	} known[] = {
		{"BEA01", UDF_VSD_BEA01}, {"NSR02", UDF_VSD_NSR02},
		{"NSR03", UDF_VSD_NSR03}, {"TEA01", UDF_VSD_TEA01},
		{"BOOT2", UDF_VSD_OTHER}, {"CDW02", UDF_VSD_OTHER},
		{"CD001", UDF_VSD_OTHER},
	};
	size_t i = 0;

	if (len < 7) {
		return UDF_VSD_NONE;
	}
	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (memcmp(buf + 1, known[i].identifier, 5) == 0) {
			return known[i].vsd;
		}
	}
	return UDF_VSD_NONE;
}

/* All of part 3's descriptors but the LVID and the LVD are 512 bytes. */
static int check_volume_tag(const uint8_t *buf, size_t len, uint16_t id,
			    uint32_t location, struct udf_tag *tag)
{
	if (len < VOLUME_DESCRIPTOR_LEN) {
		return -EUCLEAN;
	}
	return check_tag(buf, len, id, location, tag);
}

int decode_avdp(const uint8_t *buf, size_t len, uint32_t location,
		struct udf_avdp *avdp)
{
	int ret = 0;

	*avdp = (struct udf_avdp){0};

	ret = check_volume_tag(buf, len, UDF_TAG_AVDP, location, &avdp->tag);
	if (ret != 0) {
		return ret;
	}
	decode_extent_ad(buf + 16, &avdp->main);
	decode_extent_ad(buf + 24, &avdp->reserve);
	return 0;
}

int encode_avdp(const struct udf_avdp *avdp, uint8_t *buf, size_t len)
{
	struct udf_tag tag = avdp->tag;

	if (len < VOLUME_DESCRIPTOR_LEN) {
		return -EOVERFLOW;
	}
	memset(buf, 0, len);
	encode_extent_ad(&avdp->main, buf + 16);
	encode_extent_ad(&avdp->reserve, buf + 24);
	tag.id = UDF_TAG_AVDP;
	return encode_tag(&tag, buf, len, VOLUME_DESCRIPTOR_LEN - UDF_TAG_LEN);
}

int decode_vdp(const uint8_t *buf, size_t len, uint32_t location,
	       struct udf_vdp *vdp)
{
	int ret = 0;

	*vdp = (struct udf_vdp){0};

	ret = check_volume_tag(buf, len, UDF_TAG_VDP, location, &vdp->tag);
	if (ret != 0) {
		return ret;
	}
	vdp->sequence = get_le32(buf + 16);
	decode_extent_ad(buf + 20, &vdp->next);
	return 0;
}

int decode_pvd(const uint8_t *buf, size_t len, uint32_t location,
	       struct udf_pvd *pvd)
{
	int ret = 0;

	*pvd = (struct udf_pvd){0};

	ret = check_volume_tag(buf, len, UDF_TAG_PVD, location, &pvd->tag);
	if (ret != 0) {
		return ret;
	}
	pvd->sequence = get_le32(buf + 16);
	pvd->number = get_le32(buf + 20);
	(void)udf_decode_dstring(buf + 24, 32, pvd->volume_id,
				 sizeof(pvd->volume_id));
	pvd->volume_sequence_number = get_le16(buf + 56);
	pvd->volume_set_id = buf + 72;
	udf_decode_regid(buf + 344, &pvd->application);
	pvd->recorded_raw = buf + 376;
	(void)udf_decode_timestamp(pvd->recorded_raw, &pvd->recorded);
	udf_decode_regid(buf + 388, &pvd->implementation);
	return 0;
}

int decode_iuvd(const uint8_t *buf, size_t len, uint32_t location,
		struct udf_iuvd *iuvd)
{
	int ret = 0;

	*iuvd = (struct udf_iuvd){0};

	ret = check_volume_tag(buf, len, UDF_TAG_IUVD, location, &iuvd->tag);
	if (ret != 0) {
		return ret;
	}
	iuvd->sequence = get_le32(buf + 16);
	udf_decode_regid(buf + 20, &iuvd->implementation);
	return 0;
}

int decode_pd(const uint8_t *buf, size_t len, uint32_t location,
	      struct udf_pd *pd)
{
	int ret = 0;

	*pd = (struct udf_pd){0};

	ret = check_volume_tag(buf, len, UDF_TAG_PD, location, &pd->tag);
	if (ret != 0) {
		return ret;
	}
	pd->sequence = get_le32(buf + 16);
	pd->flags = get_le16(buf + 20);
	pd->number = get_le16(buf + 22);
	udf_decode_regid(buf + 24, &pd->contents);
	decode_short_ad(buf + 56, 0, &pd->unallocated_table);
	decode_short_ad(buf + 64, 0, &pd->unallocated_bitmap);
	decode_short_ad(buf + 80, 0, &pd->freed_table);
	decode_short_ad(buf + 88, 0, &pd->freed_bitmap);
	pd->access_type = get_le32(buf + 184);
	pd->start = get_le32(buf + 188);
	pd->length = get_le32(buf + 192);
	return 0;
}

/* A type 2 map of 64 bytes (UDF 2.2.8 to 2.2.10). */
static void decode_map_type2(const uint8_t *p, struct udf_partition_map *map)
{
	struct udf_regid regid = {0};
	size_t i = 0;

	udf_decode_regid(p + 4, &regid);
	map->revision = udf_regid_revision(&regid);
	map->volume_sequence_number = get_le16(p + 36);
	map->partition_number = get_le16(p + 38);

	if (udf_regid_is(&regid, "*UDF Virtual Partition")) {
		map->kind = UDF_MAP_VIRTUAL;
	} else if (udf_regid_is(&regid, "*UDF Sparable Partition")) {
		map->kind = UDF_MAP_SPARABLE;
		map->packet_length = get_le16(p + 40);
		map->tables = p[42];
		map->table_size = get_le32(p + 44);
		for (i = 0; i < UDF_MAX_SPARING_TABLES; i++) {
			map->table_locations[i] = get_le32(p + 48 + 4 * i);
		}
	} else if (udf_regid_is(&regid, "*UDF Metadata Partition")) {
		map->kind = UDF_MAP_METADATA;
		map->metadata_main = get_le32(p + 40);
		map->metadata_mirror = get_le32(p + 44);
		map->metadata_bitmap = get_le32(p + 48);
		map->allocation_unit = get_le32(p + 52);
		map->alignment_unit = get_le16(p + 56);
		map->metadata_flags = p[58];
	}
}

/* The partition maps of an LVD, len bytes of them. */
static int decode_maps(const uint8_t *p, size_t len, struct udf_lvd *lvd)
{
	size_t ofs = 0;
	uint32_t i = 0;

	for (i = 0; i < lvd->map_count; i++) {
		struct udf_partition_map *map = &lvd->maps[i];
		size_t map_len = 0;

		if (len - ofs < 2) {
			return -EUCLEAN;
		}
		map_len = p[ofs + 1];
		if (map_len < 2 || map_len > len - ofs) {
			return -EUCLEAN;
		}
		if (p[ofs] == 1 && map_len == 6) {
			map->kind = UDF_MAP_TYPE1;
			map->volume_sequence_number = get_le16(p + ofs + 2);
			map->partition_number = get_le16(p + ofs + 4);
		} else if (p[ofs] == 2 && map_len == 64) {
			decode_map_type2(p + ofs, map);
		}
		ofs += map_len;
	}
	return 0;
}

int decode_lvd(const uint8_t *buf, size_t len, uint32_t location,
	       struct udf_lvd *lvd)
{
	const size_t header = 440;
	uint32_t maps_len = 0;
	int ret = 0;

	*lvd = (struct udf_lvd){0};

	ret = check_volume_tag(buf, len, UDF_TAG_LVD, location, &lvd->tag);
	if (ret != 0) {
		return ret;
	}
	lvd->sequence = get_le32(buf + 16);
	(void)udf_decode_dstring(buf + 84, DSTRING_LABEL_LEN, lvd->label,
				 sizeof(lvd->label));
	lvd->block_size = get_le32(buf + 212);
	udf_decode_regid(buf + 216, &lvd->domain);
	decode_long_ad(buf + 248, &lvd->file_set);
	maps_len = get_le32(buf + 264);
	lvd->map_count = get_le32(buf + 268);
	udf_decode_regid(buf + 272, &lvd->implementation);
	decode_extent_ad(buf + 432, &lvd->integrity);
	if (maps_len > len - header ||
	    lvd->map_count > UDF_MAX_PARTITION_MAPS) {
		return -EUCLEAN;
	}
	return decode_maps(buf + header, maps_len, lvd);
}

int decode_usd(const uint8_t *buf, size_t len, uint32_t location,
	       struct udf_usd *usd)
{
	int ret = 0;

	*usd = (struct udf_usd){0};

	ret = check_tag(buf, len, UDF_TAG_USD, location, &usd->tag);
	if (ret != 0) {
		return ret;
	}
	if (len < 24) {
		return -EUCLEAN;
	}
	usd->sequence = get_le32(buf + 16);
	usd->count = get_le32(buf + 20);
	if (usd->count > (len - 24) / UDF_EXTENT_AD_LEN) {
		return -EUCLEAN;
	}
	usd->extents = buf + 24;
	return 0;
}

int decode_td(const uint8_t *buf, size_t len, uint32_t location)
{
	return check_volume_tag(buf, len, UDF_TAG_TD, location, NULL);
}

int decode_lvid(const uint8_t *buf, size_t len, uint32_t location,
		struct udf_lvid *lvid)
{
	const uint8_t *table = NULL;
	const uint8_t *use = NULL;
	uint32_t use_len = 0;
	size_t rest = 0;
	size_t table_len = 0;
	uint32_t i = 0;
	int ret = 0;

	*lvid = (struct udf_lvid){0};

	ret = check_tag(buf, len, UDF_TAG_LVID, location, &lvid->tag);
	if (ret != 0) {
		return ret;
	}
	if (len < UDF_LVID_LEN) {
		return -EUCLEAN;
	}
	(void)udf_decode_timestamp(buf + 16, &lvid->recorded);
	lvid->type = get_le32(buf + 28);
	decode_extent_ad(buf + 32, &lvid->next);
	lvid->next_unique_id = get_le64(buf + 40);
	lvid->partitions = get_le32(buf + 72);
	use_len = get_le32(buf + 76);
	if (lvid->partitions > UDF_MAX_PARTITION_MAPS) {
		return -EUCLEAN;
	}
	table_len = 4u * (size_t)lvid->partitions;
	rest = len - UDF_LVID_LEN;
	if (rest < 2 * table_len || use_len > rest - 2 * table_len) {
		return -EUCLEAN;
	}
	table = buf + UDF_LVID_LEN;
	for (i = 0; i < lvid->partitions; i++) {
		lvid->free_blocks[i] = get_le32(table + 4 * i);
		lvid->size_blocks[i] = get_le32(table + table_len + 4 * i);
	}
	if (use_len < UDF_LVID_IMPL_USE_LEN) {
		return 0;
	}
	use = table + 2 * table_len;
	lvid->has_impl_use = true;
	udf_decode_regid(use, &lvid->implementation);
	lvid->files = get_le32(use + 32);
	lvid->directories = get_le32(use + 36);
	lvid->min_read_revision = get_le16(use + 40);
	lvid->min_write_revision = get_le16(use + 42);
	lvid->max_write_revision = get_le16(use + 44);
	return 0;
}

int encode_lvid(const struct udf_lvid *lvid, uint8_t *buf, size_t len)
{
	struct udf_tag tag = lvid->tag;
	uint8_t *table = NULL;
	uint8_t *use = NULL;
	size_t table_len = 4u * (size_t)lvid->partitions;
	size_t total = 0;
	uint32_t i = 0;
	int ret = 0;

	if (lvid->partitions > UDF_MAX_PARTITION_MAPS) {
		return -EOVERFLOW;
	}
	total = UDF_LVID_LEN + 2 * table_len + UDF_LVID_IMPL_USE_LEN;
	if (len < total) {
		return -EOVERFLOW;
	}
	memset(buf, 0, len);
	udf_encode_timestamp(&lvid->recorded, buf + 16);
	put_le32(buf + 28, lvid->type);
	encode_extent_ad(&lvid->next, buf + 32);
	put_le64(buf + 40, lvid->next_unique_id);
	put_le32(buf + 72, lvid->partitions);
	put_le32(buf + 76, UDF_LVID_IMPL_USE_LEN);
	table = buf + UDF_LVID_LEN;
	for (i = 0; i < lvid->partitions; i++) {
		put_le32(table + 4 * i, lvid->free_blocks[i]);
		put_le32(table + table_len + 4 * i, lvid->size_blocks[i]);
	}
	use = table + 2 * table_len;
	udf_encode_regid(&lvid->implementation, use);
	put_le32(use + 32, lvid->files);
	put_le32(use + 36, lvid->directories);
	put_le16(use + 40, lvid->min_read_revision);
	put_le16(use + 42, lvid->min_write_revision);
	put_le16(use + 44, lvid->max_write_revision);
	tag.id = UDF_TAG_LVID;
	ret = encode_tag(&tag, buf, len, total - UDF_TAG_LEN);
	if (ret != 0) {
		return ret;
	}
	return (int)total;
}

void decode_sparing_entry(const uint8_t *p, struct udf_sparing_entry *entry)
{
	entry->original = get_le32(p);
	entry->mapped = get_le32(p + 4);
}

void encode_sparing_entry(const struct udf_sparing_entry *entry, uint8_t *p)
{
	put_le32(p, entry->original);
	put_le32(p + 4, entry->mapped);
}

#define SPARING_IDENTIFIER "*UDF Sparing Table"

/*
 * A table can be longer than its tag can say (16 bits). mkudffs writes the
 * length modulo 65536 then, with the CRC of the whole.
 */
static int check_long_table(const uint8_t *buf, size_t len, uint32_t location,
			    struct udf_tag *tag)
{
	size_t total = 0;
	int ret = 0;

	ret = decode_tag(buf, len, tag);
	if (ret != 0 || len < UDF_SPARING_TABLE_LEN ||
	    tag->id != UDF_TAG_SPARING_TABLE || tag->location != location) {
		return -EUCLEAN;
	}
	total = UDF_SPARING_TABLE_LEN - UDF_TAG_LEN +
		(size_t)get_le16(buf + 48) * UDF_SPARING_ENTRY_LEN;
	if (total <= UINT16_MAX || total > len - UDF_TAG_LEN ||
	    (uint16_t)total != tag->crc_length ||
	    udf_crc16(0, buf + UDF_TAG_LEN, total) != tag->crc) {
		return -EUCLEAN;
	}
	return 0;
}

int decode_sparing_table(const uint8_t *buf, size_t len, uint32_t location,
			 struct udf_sparing_header *header)
{
	struct udf_regid regid = {0};
	size_t room = 0;
	int ret = 0;

	*header = (struct udf_sparing_header){0};

	ret = check_tag(buf, len, UDF_TAG_SPARING_TABLE, location,
			&header->tag);
	if (ret != 0) {
		ret = check_long_table(buf, len, location, &header->tag);
	}
	if (ret != 0) {
		return ret;
	}
	if (len < UDF_SPARING_TABLE_LEN) {
		return -EUCLEAN;
	}
	udf_decode_regid(buf + 16, &regid);
	if (!udf_regid_is(&regid, SPARING_IDENTIFIER)) {
		return -EUCLEAN;
	}
	header->count = get_le16(buf + 48);
	header->sequence = get_le32(buf + 52);
	room = (len - UDF_SPARING_TABLE_LEN) / UDF_SPARING_ENTRY_LEN;
	if (header->count > room) {
		return -EUCLEAN;
	}
	return 0;
}

int encode_sparing_table(const struct udf_sparing_header *header,
			 const struct udf_sparing_entry *entries, uint8_t *buf,
			 size_t len)
{
	struct udf_tag tag = header->tag;
	struct udf_regid regid = {.identifier = SPARING_IDENTIFIER};
	size_t total = 0;
	size_t i = 0;
	int ret = 0;

	total = UDF_SPARING_TABLE_LEN +
		(size_t)header->count * UDF_SPARING_ENTRY_LEN;
	if (len < total) {
		return -EOVERFLOW;
	}
	memset(buf, 0, len);
	/* UDF 2.1.5.3: the revision and who wrote it (6.3: UNIX, Linux). */
	put_le16(regid.suffix, tag.version >= 3 ? 0x0201 : 0x0150);
	regid.suffix[2] = 4;
	regid.suffix[3] = 5;
	udf_encode_regid(&regid, buf + 16);
	put_le16(buf + 48, header->count);
	put_le32(buf + 52, header->sequence);
	for (i = 0; i < header->count; i++) {
		encode_sparing_entry(&entries[i],
				     buf + UDF_SPARING_TABLE_LEN +
					     i * UDF_SPARING_ENTRY_LEN);
	}
	tag.id = UDF_TAG_SPARING_TABLE;
	ret = encode_tag(&tag, buf, len, total - UDF_TAG_LEN);
	if (ret != 0) {
		return ret;
	}
	return (int)total;
}
