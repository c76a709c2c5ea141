/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Opening a volume: what its descriptors mean for us. And closing it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vds.h"
#include "volume.h"
#include "volume_state.h"

/*
 * The newest revision we write, without and with a metadata partition, which
 * there is from 2.50 on; and the newest we read.
 */
#define REVISION_WRITE_MAX 0x0201u
#define REVISION_METADATA_MIN 0x0250u
#define REVISION_METADATA_MAX 0x0260u
#define REVISION_READ_MAX 0x0260u

/* The volume can be read but not written: keep the first reason. */
__attribute__((format(printf, 2, 3))) static void
make_read_only(struct udf_volume *volume, const char *format, ...)
{
	va_list ap;

	volume->info.read_only = true;
	if (volume->info.read_only_reason[0] != '\0') {
		return;
	}
	va_start(ap, format);
	vsnprintf(volume->info.read_only_reason,
		  sizeof(volume->info.read_only_reason), format, ap);
	va_end(ap);
}

/*
 * The volume's identity: FNV-1a, 128 bits, over what a formatter writes once
 * and must make unique: the Volume Set Identifier (UDF 2.2.2.5; all 128 bytes
 * of its dstring) and the PVD's Recording Date and Time as recorded. The
 * label is left out, since it can be changed without formatting.
 */
static void derive_volume_id(const struct udf_vds *vds, uint8_t *id)
{
	const unsigned __int128 prime =
		((unsigned __int128)0x0000000001000000ULL << 64) | 0x13BU;
	unsigned __int128 hash =
		((unsigned __int128)0x6C62272E07BB0142ULL << 64) |
		0x62B821756295C58DULL;
	size_t i = 0;

	for (i = 0; i < sizeof(vds->volume_set_id); i++) {
		hash = (hash ^ vds->volume_set_id[i]) * prime;
	}
	for (i = 0; i < sizeof(vds->recorded_raw); i++) {
		hash = (hash ^ vds->recorded_raw[i]) * prime;
	}
	for (i = 0; i < UDF_VOLUME_ID_LEN; i++) {
		id[i] = (uint8_t)(hash >> (8 * (UDF_VOLUME_ID_LEN - 1 - i)));
	}
}

/*
 * The partition that we follow, and the one that lies in it (NULL: none), or
 * why there is none.
 */
static int choose_maps(struct udf_volume *volume, const struct udf_lvd *lvd,
		       const struct udf_partition_map **physical,
		       const struct udf_partition_map **mapped)
{
	uint32_t i = 0;

	for (i = 0; i < lvd->map_count; i++) {
		const struct udf_partition_map *map = &lvd->maps[i];

		switch (map->kind) {
		case UDF_MAP_TYPE1:
		case UDF_MAP_SPARABLE:
			if (*physical != NULL) {
				goto too_many;
			}
			*physical = map;
			volume->info.partition_ref = (uint16_t)i;
			break;
		case UDF_MAP_VIRTUAL:
		case UDF_MAP_METADATA:
			if (*mapped != NULL) {
				goto too_many;
			}
			*mapped = map;
			volume->info.mapped_ref = (uint16_t)i;
			if (map->kind == UDF_MAP_VIRTUAL) {
				make_read_only(volume, "it is on a write-once "
						       "medium");
			}
			break;
		case UDF_MAP_UNKNOWN:
			udf_log(&volume->log, UDF_LOG_ERROR,
				"the volume has a partition map of unknown "
				"type, which is not supported");
			return -EOPNOTSUPP;
		}
	}
	if (*physical == NULL) {
		udf_log(&volume->log, UDF_LOG_ERROR,
			"damaged UDF volume: no physical partition");
		return -EUCLEAN;
	}
	if (*mapped != NULL &&
	    (*mapped)->partition_number != (*physical)->partition_number) {
		goto too_many;
	}
	return 0;

too_many:
	udf_log(&volume->log, UDF_LOG_ERROR,
		"the volume has several partitions; one is supported");
	return -EOPNOTSUPP;
}

static const struct udf_pd *find_pd(const struct udf_vds *vds, uint16_t number)
{
	uint32_t i = 0;

	for (i = 0; i < vds->partitions; i++) {
		if (vds->pd[i].number == number) {
			return &vds->pd[i];
		}
	}
	return NULL;
}

static void judge_access(struct udf_volume *volume, const struct udf_pd *pd)
{
	switch (pd->access_type) {
	case UDF_ACCESS_REWRITABLE:
	case UDF_ACCESS_OVERWRITABLE:
		break;
	case UDF_ACCESS_READ_ONLY:
		make_read_only(volume, "its partition is marked read-only");
		break;
	case UDF_ACCESS_WRITE_ONCE:
		make_read_only(volume, "its partition is write-once");
		break;
	case UDF_ACCESS_PSEUDO_OVERWRITABLE:
		make_read_only(volume,
			       "its partition is pseudo-overwritable");
		break;
	default:
		make_read_only(volume, "its access type %u is unknown",
			       pd->access_type);
		break;
	}
}

/* Where free space is kept (ECMA-167 4/14.3). */
static int take_space(struct udf_volume *volume, const struct udf_pd *pd)
{
	const struct udf_ad *bitmap = &pd->unallocated_bitmap;
	uint32_t block_size = volume->info.block_size;
	uint32_t blocks = 0;

	if (bitmap->length > 0) {
		blocks = bitmap->length / block_size +
			 (bitmap->length % block_size != 0);
		if (blocks > pd->length ||
		    bitmap->addr.block > pd->length - blocks) {
			udf_log(&volume->log, UDF_LOG_ERROR,
				"damaged Partition Descriptor: the space "
				"bitmap is outside the partition");
			return -EUCLEAN;
		}
		volume->info.space_bitmap_block = bitmap->addr.block;
		volume->info.space_bitmap_bytes = bitmap->length;
	}
	if (pd->freed_bitmap.length > 0 || pd->freed_table.length > 0) {
		make_read_only(volume, "it keeps freed space apart, to be "
				       "erased before use");
	} else if (pd->unallocated_table.length > 0) {
		make_read_only(volume, "it keeps free space in a table, not "
				       "in a bitmap");
	} else if (bitmap->length == 0) {
		make_read_only(volume, "it has no record of free space");
	}
	return 0;
}

static int take_partition(struct udf_volume *volume, const struct udf_vds *vds,
			  const struct udf_partition_map *map, bool write_once)
{
	const struct udf_pd *pd = find_pd(vds, map->partition_number);
	uint32_t length = 0;

	if (map->volume_sequence_number > 1) {
		udf_log(&volume->log, UDF_LOG_ERROR,
			"the partition is on volume %u of a set; one volume "
			"is supported",
			map->volume_sequence_number);
		return -EOPNOTSUPP;
	}
	if (pd == NULL) {
		udf_log(&volume->log, UDF_LOG_ERROR,
			"damaged UDF volume: Partition Descriptor %u is "
			"missing",
			map->partition_number);
		return -EUCLEAN;
	}
	length = pd->length;
	if (write_once && pd->start < vds->volume_blocks &&
	    length > vds->volume_blocks - pd->start) {
		/* All that the medium takes, of which a part is recorded. */
		length = vds->volume_blocks - pd->start;
	}
	if (length == 0 || length > vds->volume_blocks ||
	    pd->start > vds->volume_blocks - length) {
		udf_log(&volume->log, UDF_LOG_ERROR,
			"the partition ends at block %llu, the device at %u: "
			"the image is cut short",
			(unsigned long long)pd->start + pd->length,
			vds->volume_blocks);
		return -EUCLEAN;
	}
	volume->info.partition_start = pd->start;
	volume->info.partition_blocks = length;
	volume->info.address_blocks = length;
	udf_partition_init(&volume->partition, volume->dev, &volume->log,
			   volume->info.volume_id, vds->block_size, pd->start,
			   length);
	judge_access(volume, pd);
	return take_space(volume, pd);
}

static int take_logical_volume(struct udf_volume *volume,
			       const struct udf_vds *vds)
{
	const struct udf_lvd *lvd = &vds->lvd;
	struct udf_volume_info *info = &volume->info;
	uint8_t domain_flags = lvd->domain.suffix[2];

	info->block_size = vds->block_size;
	info->revision = udf_regid_revision(&lvd->domain);
	info->format_time = vds->recorded;
	memcpy(info->label, lvd->label, sizeof(info->label));
	memcpy(info->formatter, lvd->implementation.identifier,
	       sizeof(lvd->implementation.identifier));
	derive_volume_id(vds, info->volume_id);

	if (!udf_regid_is(&lvd->domain, UDF_DOMAIN_IDENTIFIER)) {
		udf_log(&volume->log, UDF_LOG_ERROR,
			"an ECMA-167 volume, but of another domain than UDF");
		return -EMEDIUMTYPE;
	}
	if (info->revision > REVISION_READ_MAX) {
		udf_log(&volume->log, UDF_LOG_ERROR,
			"UDF revision %x.%02x is not supported",
			info->revision >> 8, info->revision & 0xFF);
		return -EOPNOTSUPP;
	}
	if (domain_flags & UDF_DOMAIN_HARD_WRITE_PROTECT) {
		make_read_only(volume, "it is marked write-protected");
	} else if (domain_flags & UDF_DOMAIN_SOFT_WRITE_PROTECT) {
		make_read_only(volume, "it is marked write-protected by a "
				       "user");
	}
	return 0;
}

static uint16_t write_max(const struct udf_volume *volume)
{
	return volume->info.has_metadata ? REVISION_METADATA_MAX
					 : REVISION_WRITE_MAX;
}

/* Is this partition of a revision that we write? */
static void judge_revision(struct udf_volume *volume,
			   const struct udf_partition_map *mapped)
{
	struct udf_volume_info *info = &volume->info;
	unsigned int major = info->revision >> 8;
	unsigned int minor = info->revision & 0xFF;

	info->has_metadata = mapped != NULL && mapped->kind == UDF_MAP_METADATA;
	if (info->has_metadata && info->revision < REVISION_METADATA_MIN) {
		make_read_only(volume, "it has a metadata partition, which "
				       "UDF revision %x.%02x does not have",
			       major, minor);
	} else if (info->revision > write_max(volume)) {
		make_read_only(volume, "UDF revision %x.%02x is newer than we "
				       "write without a metadata partition",
			       major, minor);
	}
}

/* Where the descriptor can be, if there is none: all else is computed. */
static void make_up_integrity(struct udf_volume *volume,
			      const struct udf_vds *vds)
{
	struct udf_integrity_sequence *sequence = &volume->integrity;

	udf_log(&volume->log, UDF_LOG_WARNING,
		"the integrity descriptor at block %u is damaged: the volume "
		"is treated as not closed",
		sequence->block);
	sequence->lvid = (struct udf_lvid){
		.tag.id = UDF_TAG_LVID,
		.tag.version = vds->lvd.tag.version,
		.tag.serial = vds->lvd.tag.serial,
		.type = UDF_LVID_OPEN,
		.next_unique_id = 16,
		.partitions = vds->lvd.map_count,
		.has_impl_use = true,
		.min_read_revision = volume->info.revision,
		.min_write_revision = volume->info.revision,
		.max_write_revision = volume->info.revision,
	};
	for (uint32_t i = 0; i < vds->lvd.map_count; i++) {
		sequence->lvid.free_blocks[i] = UINT32_MAX;
		sequence->lvid.size_blocks[i] = UINT32_MAX;
	}
	sequence->lvid.size_blocks[volume->info.partition_ref] =
		volume->info.partition_blocks;
	sequence->found = true;
}

/*
 * Is the extent of the integrity sequence one that may be written without a
 * descriptor there: on the device, and not within the partition?
 */
static bool integrity_has_place(const struct udf_volume *volume,
				const struct udf_vds *vds)
{
	const struct udf_integrity_sequence *sequence = &volume->integrity;
	const struct udf_partition *partition = &volume->partition;
	uint64_t end = (uint64_t)partition->start + partition->blocks;

	return sequence->block < sequence->end &&
	       sequence->end <= vds->volume_blocks &&
	       (sequence->end <= partition->start || sequence->block >= end);
}

static void read_integrity(struct udf_volume *volume,
			   const struct udf_vds *vds, bool repair)
{
	struct udf_integrity_sequence *sequence = &volume->integrity;

	*sequence = (struct udf_integrity_sequence){
		.dev = volume->dev,
		.log = &volume->log,
		.block_size = vds->block_size,
	};
	volume->anchor = vds->anchor;
	volume->anchor_found = vds->anchor_found;
	udf_integrity_read(sequence, vds->lvd.integrity);
	if (sequence->found && sequence->damaged) {
		/* It may be an old one. */
		sequence->lvid.type = UDF_LVID_OPEN;
	} else if (!sequence->found && (sequence->damaged || repair) &&
		   integrity_has_place(volume, vds)) {
		make_up_integrity(volume, vds);
		volume->integrity_made_up = true;
	}
}

static void judge_integrity(struct udf_volume *volume, uint32_t map_count)
{
	struct udf_lvid *lvid = &volume->integrity.lvid;
	uint16_t revision = volume->info.revision;

	if (!volume->integrity.found) {
		make_read_only(volume, "it has no valid integrity descriptor");
		return;
	}
	if (lvid->partitions != map_count) {
		make_read_only(volume, "its integrity descriptor is about %u "
				       "partitions, not %u",
			       lvid->partitions, map_count);
	}
	if (!lvid->has_impl_use) {
		/* A foreign writer left it out: what the revision says. */
		lvid->min_read_revision = revision;
		lvid->min_write_revision = revision;
		lvid->max_write_revision = revision;
	}
	if (lvid->min_write_revision > write_max(volume)) {
		make_read_only(volume, "it wants writers of UDF %x.%02x",
			       lvid->min_write_revision >> 8,
			       lvid->min_write_revision & 0xFF);
	}
}

/* With may_repair, copies of the table that are not the newest are written. */
static int load_sparing(struct udf_volume *volume, const struct udf_vds *vds,
			const struct udf_partition_map *map, bool may_repair)
{
	const struct udf_sparing_geometry geometry = {
		.block_size = vds->block_size,
		.volume_blocks = vds->volume_blocks,
		.partition_start = volume->partition.start,
		.partition_blocks = volume->partition.blocks,
		.tag_version = vds->lvd.tag.version,
	};
	int ret = 0;

	udf_sparing_free(volume->sparing);
	volume->sparing = NULL;
	volume->partition.sparing = NULL;
	ret = udf_sparing_load(volume->dev, &volume->log, &geometry, map,
			       may_repair, &volume->sparing);
	if (ret != 0) {
		return ret;
	}
	volume->partition.sparing = volume->sparing;
	volume->info.packet_blocks =
		udf_sparing_packet_blocks(volume->sparing);
	return 0;
}

static int start_verify(struct udf_volume *volume, size_t limit)
{
	if (volume->dev->uncached) {
		udf_log(&volume->log, UDF_LOG_DEBUG,
			"writes are verified past the page cache");
	} else {
		udf_log(&volume->log, UDF_LOG_DEBUG,
			"O_DIRECT is refused: writes are verified after "
			"dropping them from the page cache");
	}
	volume->verify = udf_verify_new(&volume->partition, limit);
	if (volume->verify == NULL) {
		return -ENOMEM;
	}
	volume->partition.verify = volume->verify;
	volume->info.defect_managed = true;
	return 0;
}

/* Can we write the metadata partition? A check asks what a mount would do. */
static int judge_metadata(struct udf_volume *volume, bool repair)
{
	struct udf_volume_info *info = &volume->info;
	const struct udf_integrity_sequence *sequence = &volume->integrity;
	char reason[UDF_TEXT_LEN] = "";
	bool mends = !info->read_only ||
		     (repair && info->read_only_reason[0] == '\0');
	bool can_write = false;
	int ret = 0;

	if (mends) {
		udf_mapped_adopt(volume->mapped, !info->read_only);
	}
	info->metadata_bitmap_bytes = udf_mapped_bitmap_bytes(volume->mapped);
	if (mends && sequence->lvid.type == UDF_LVID_OPEN) {
		udf_mapped_cut(volume->mapped);
	}
	ret = udf_mapped_judge(volume->mapped, &can_write, reason,
			       sizeof(reason));
	if (ret == 0 && !can_write) {
		make_read_only(volume, "%s", reason);
	}
	return ret;
}

/* How many blocks the partition has, or can get. */
static int count_mapped(struct udf_volume *volume)
{
	struct udf_volume_info *info = &volume->info;
	uint32_t blocks = udf_mapped_blocks(volume->mapped);
	uint32_t room = UINT32_MAX - info->partition_blocks;

	if (blocks > room) {
		udf_log(&volume->log, UDF_LOG_ERROR,
			"damaged UDF volume: its %s partition has %u blocks",
			info->has_metadata ? "metadata" : "virtual", blocks);
		return -EUCLEAN;
	}
	info->mapped_blocks = blocks;
	if (info->has_metadata && !info->read_only) {
		info->mapped_blocks = info->partition_blocks < room
					      ? info->partition_blocks
					      : room;
	}
	info->address_blocks = info->partition_blocks + info->mapped_blocks;
	return 0;
}

/* The partition that lies in the one we have. */
static int open_mapped(struct udf_volume *volume, const struct udf_vds *vds,
		       const struct udf_partition_map *map, bool repair)
{
	struct udf_volume_info *info = &volume->info;
	int ret = 0;

	if (map->kind == UDF_MAP_VIRTUAL) {
		ret = udf_mapped_open_virtual(&volume->partition,
					      vds->volume_blocks,
					      &volume->mapped);
	} else {
		ret = udf_mapped_open_metadata(&volume->partition, map,
					       &volume->mapped);
	}
	if (ret != 0) {
		return ret;
	}
	ret = info->has_metadata ? judge_metadata(volume, repair) : 0;
	return ret == 0 ? count_mapped(volume) : ret;
}

/*
 * What is needed to find blocks. What lies in a mapped partition decides
 * whether we write, and so whether a copy of the sparing table is repaired,
 * but the table is needed to look there.
 */
static int open_maps(struct udf_volume *volume, const struct udf_vds *vds,
		     const struct udf_partition_map *map,
		     const struct udf_partition_map *mapped, bool repair)
{
	bool sparable = map->kind == UDF_MAP_SPARABLE;
	int ret = 0;

	if (sparable) {
		ret = load_sparing(volume, vds, map,
				   !volume->info.read_only && mapped == NULL);
	}
	if (ret != 0 || mapped == NULL) {
		return ret;
	}
	ret = open_mapped(volume, vds, mapped, repair);
	if (ret == 0 && sparable && !volume->info.read_only) {
		ret = load_sparing(volume, vds, map, true);
	}
	return ret;
}

static int find_file_set(struct udf_volume *volume, const struct udf_lvd *lvd)
{
	int ret = udf_volume_address(&volume->info, &lvd->file_set.addr, 1,
				     &volume->info.file_set);

	if (ret != 0) {
		udf_log(&volume->log, UDF_LOG_ERROR,
			"damaged UDF volume: its File Set Descriptor is "
			"outside the partition");
	}
	return ret;
}

/* All that the descriptors say, in the order in which one leads to another. */
static int interpret(struct udf_volume *volume,
		     const struct udf_volume_options *options)
{
	const struct udf_partition_map *map = NULL;
	const struct udf_partition_map *mapped = NULL;
	struct udf_vds vds = {0};
	int ret = 0;

	ret = udf_vds_read(volume->dev, &volume->log, options->block_size,
			   options->repair, &vds);
	if (ret != 0) {
		return ret;
	}
	ret = take_logical_volume(volume, &vds);
	if (ret != 0) {
		return ret;
	}
	ret = choose_maps(volume, &vds.lvd, &map, &mapped);
	if (ret != 0) {
		return ret;
	}
	ret = take_partition(volume, &vds, map,
			     mapped != NULL && mapped->kind == UDF_MAP_VIRTUAL);
	if (ret != 0) {
		return ret;
	}
	judge_revision(volume, mapped);
	read_integrity(volume, &vds, options->repair);
	judge_integrity(volume, vds.lvd.map_count);
	ret = open_maps(volume, &vds, map, mapped, options->repair);
	if (ret != 0) {
		return ret;
	}
	ret = find_file_set(volume, &vds.lvd);
	if (ret != 0) {
		return ret;
	}
	if (volume->sparing != NULL && !volume->info.read_only &&
	    !options->no_defect_management) {
		ret = start_verify(volume, options->verify_limit);
	}
	return ret;
}

static void explain_open(const struct udf_log *log, const char *path, int error)
{
	switch (-error) {
	case EBUSY:
		udf_log(log, UDF_LOG_ERROR,
			"%s is in use by another process that writes to it",
			path);
		break;
	case EROFS:
		udf_log(log, UDF_LOG_ERROR,
			"%s cannot be opened for writing; use --read-only",
			path);
		break;
	case EMEDIUMTYPE:
		udf_log(log, UDF_LOG_ERROR,
			"%s is neither an image file nor a block device", path);
		break;
	default:
		udf_log(log, UDF_LOG_ERROR, "%s cannot be opened: %s", path,
			strerror(-error));
		break;
	}
}

int udf_volume_open_device(struct udf_blockdev *dev,
			   const struct udf_volume_options *options,
			   struct udf_volume **volume)
{
	struct udf_volume *v = NULL;
	int ret = 0;

	v = calloc(1, sizeof(*v));
	if (v == NULL) {
		udf_blockdev_close(dev);
		return -ENOMEM;
	}
	v->dev = dev;
	v->log.fn = options->log;
	v->log.private_data = options->log_private;
	v->info.read_only = options->read_only;
	pthread_mutex_init(&v->integrity_lock, NULL);

	ret = interpret(v, options);
	if (ret != 0) {
		(void)udf_volume_close(v);
		return ret;
	}
	if (v->info.read_only && !options->read_only) {
		udf_log(&v->log, UDF_LOG_WARNING,
			"the volume is read-only for us: %s",
			v->info.read_only_reason);
	}
	*volume = v;
	return 0;
}

int udf_volume_open(const char *path, const struct udf_volume_options *options,
		    struct udf_volume **volume)
{
	const struct udf_log log = {
		.fn = options->log,
		.private_data = options->log_private,
	};
	struct udf_blockdev *dev = NULL;
	int ret = 0;

	ret = udf_blockdev_open(path, options->read_only, &dev);
	if (ret != 0) {
		explain_open(&log, path, ret);
		return ret;
	}
	return udf_volume_open_device(dev, options, volume);
}

int udf_volume_close(struct udf_volume *volume)
{
	int ret = 0;

	if (volume == NULL) {
		return 0;
	}
	if (volume->partition.dev != NULL) {
		if (!volume->info.read_only) {
			ret = udf_partition_sync(&volume->partition, NULL);
		}
		udf_verify_free(volume->verify);
		udf_partition_destroy(&volume->partition);
	}
	udf_mapped_free(volume->mapped);
	udf_sparing_free(volume->sparing);
	udf_blockdev_close(volume->dev);
	pthread_mutex_destroy(&volume->integrity_lock);
	free(volume);
	return ret;
}
