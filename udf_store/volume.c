/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Opening a volume: what its descriptors mean for us, its integrity
 * descriptor, and the calls of volume.h.
 *
 * Locks: integrity_lock guards the integrity descriptor and is held while it
 * is written. Block I/O has its own rules, see partition.h. What
 * udf_volume_info() shows is not changed after the open.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blockdev.h"
#include "ecma167.h"
#include "integrity.h"
#include "mapped.h"
#include "partition.h"
#include "sparing.h"
#include "vds.h"
#include "verify.h"
#include "volume.h"

/*
 * The newest revision we write, without and with a metadata partition, which
 * there is from 2.50 on; and the newest we read.
 */
#define REVISION_WRITE_MAX 0x0201u
#define REVISION_METADATA_MIN 0x0250u
#define REVISION_METADATA_MAX 0x0260u
#define REVISION_READ_MAX 0x0260u

struct udf_volume {
	struct udf_log log;
	struct udf_volume_info info;
	struct udf_blockdev *dev;
	struct udf_sparing *sparing;
	struct udf_verify *verify;
	struct udf_partition partition;
	struct udf_mapped *mapped; /* NULL: no such partition */
	pthread_mutex_t integrity_lock;
	struct udf_integrity_sequence integrity;
	bool integrity_made_up; /* the medium has none */
	/* The sequences that say where the integrity sequence is. */
	struct udf_avdp anchor;
	bool anchor_found;
};

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

const struct udf_volume_info *udf_volume_info(const struct udf_volume *volume)
{
	return &volume->info;
}

bool udf_volume_anchor(const struct udf_volume *volume,
		       struct udf_avdp *anchor)
{
	*anchor = volume->anchor;
	return volume->anchor_found;
}

void udf_volume_log(struct udf_volume *volume, enum udf_log_level level,
		    const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	udf_vlog(&volume->log, level, format, ap);
	va_end(ap);
}

int udf_volume_address(const struct udf_volume_info *info,
		       const struct udf_lb_addr *addr, uint32_t count,
		       uint32_t *lbn)
{
	uint32_t first = 0;
	uint32_t blocks = 0;

	if (addr->partition == info->partition_ref) {
		blocks = info->partition_blocks;
	} else if (info->mapped_blocks > 0 &&
		   addr->partition == info->mapped_ref) {
		first = info->partition_blocks;
		blocks = info->mapped_blocks;
	}
	if (addr->block >= blocks || count > blocks - addr->block) {
		return -EUCLEAN;
	}
	*lbn = first + addr->block;
	return 0;
}

struct udf_lb_addr udf_volume_location(const struct udf_volume_info *info,
				       uint32_t lbn)
{
	if (lbn < info->partition_blocks) {
		return (struct udf_lb_addr){
			.block = lbn,
			.partition = info->partition_ref,
		};
	}
	return (struct udf_lb_addr){
		.block = lbn - info->partition_blocks,
		.partition = info->mapped_ref,
	};
}

int udf_volume_read(struct udf_volume *volume, uint32_t lbn, uint32_t count,
		    void *buf)
{
	uint32_t blocks = volume->info.partition_blocks;

	if (volume->mapped != NULL && lbn >= blocks) {
		return udf_mapped_read(volume->mapped, lbn - blocks, count,
				       buf);
	}
	return udf_partition_read(&volume->partition, lbn, count, buf);
}

int udf_volume_write(struct udf_volume *volume, uint32_t lbn, uint32_t count,
		     const void *buf, unsigned int flags)
{
	bool unmanaged = (flags & UDF_WRITE_UNMANAGED) != 0;
	uint32_t blocks = volume->info.partition_blocks;

	if (volume->info.read_only) {
		return -EROFS;
	}
	if (volume->mapped != NULL && lbn >= blocks) {
		return udf_mapped_write(volume->mapped, lbn - blocks, count,
					buf, unmanaged);
	}
	return udf_partition_write(&volume->partition, lbn, count, buf,
				   unmanaged);
}

uint32_t udf_volume_bitmap_lbn(const struct udf_volume *volume, bool metadata,
			       uint32_t i)
{
	const struct udf_volume_info *info = &volume->info;

	if (metadata) {
		return volume->mapped == NULL
			       ? UINT32_MAX
			       : udf_mapped_bitmap_lbn(volume->mapped, i);
	}
	if ((uint64_t)i * info->block_size >= info->space_bitmap_bytes) {
		return UINT32_MAX;
	}
	return info->space_bitmap_block + i;
}

uint32_t udf_volume_metadata_block_at(const struct udf_volume *volume,
				      uint32_t lbn)
{
	uint32_t block = UINT32_MAX;

	if (volume->info.has_metadata) {
		block = udf_mapped_block_at(volume->mapped, lbn);
	}
	return block == UINT32_MAX ? block
				   : volume->info.partition_blocks + block;
}

int udf_volume_metadata_runs(const struct udf_volume *volume,
			     udf_volume_run_fn visit, void *private_data)
{
	if (!volume->info.has_metadata) {
		return 0;
	}
	return udf_mapped_each_run(volume->mapped, visit, private_data);
}

struct udf_mapped *udf_volume_metadata(const struct udf_volume *volume)
{
	return volume->info.has_metadata ? volume->mapped : NULL;
}

uint32_t udf_volume_metadata_blocks(const struct udf_volume *volume)
{
	return volume->info.has_metadata ? udf_mapped_blocks(volume->mapped)
					 : 0;
}

bool udf_volume_metadata_is_stale(const struct udf_volume *volume)
{
	return volume->info.has_metadata && udf_mapped_was_cut(volume->mapped);
}

void udf_volume_metadata_units(const struct udf_volume *volume,
			       uint32_t *allocation, uint32_t *alignment,
			       bool *duplicate)
{
	udf_mapped_units(volume->mapped, allocation, alignment, duplicate);
}

uint32_t udf_volume_metadata_end(const struct udf_volume *volume,
				 bool of_mirror)
{
	return udf_mapped_end(volume->mapped, of_mirror);
}

int udf_volume_metadata_grow(struct udf_volume *volume,
			     const struct udf_metadata_growth *growth,
			     udf_volume_run_fn old_bitmap, void *private_data)
{
	uint32_t limit = volume->info.mapped_blocks;
	uint32_t blocks = udf_mapped_blocks(volume->mapped);

	if (blocks > limit || growth->count > limit - blocks) {
		return -ENOSPC;
	}
	return udf_mapped_grow(volume->mapped, growth, old_bitmap,
			       private_data);
}

int udf_volume_metadata_encode(struct udf_volume *volume,
			       udf_volume_store_fn store, void *private_data)
{
	return udf_mapped_encode(volume->mapped, store, private_data);
}

int udf_volume_metadata_compare(struct udf_volume *volume, const uint8_t *used,
				bool repair, uint32_t *differ)
{
	*differ = 0;
	if (!volume->info.has_metadata) {
		return 0;
	}
	return udf_mapped_compare(volume->mapped, used, repair, differ);
}

int udf_volume_sync(struct udf_volume *volume)
{
	if (volume->info.read_only) {
		return 0;
	}
	return udf_partition_sync(&volume->partition, NULL);
}

int udf_volume_sync_runs(struct udf_volume *volume,
			 const struct udf_run_list *runs)
{
	if (volume->info.read_only) {
		return 0;
	}
	/* What lies in the first partition through another has other blocks
	 * there. */
	if (volume->mapped != NULL &&
	    (volume->verify != NULL || runs->count > 0)) {
		runs = NULL;
	}
	return udf_partition_sync(&volume->partition, runs);
}

void udf_volume_settle(struct udf_volume *volume)
{
	if (volume->verify != NULL) {
		udf_verify_settle(volume->verify);
	}
}

int udf_volume_throttle(struct udf_volume *volume, bool is_small)
{
	if (volume->verify == NULL) {
		return 0;
	}
	return udf_verify_throttle(volume->verify, is_small);
}

size_t udf_volume_unverified(struct udf_volume *volume)
{
	struct udf_verify_memory memory = { .used = 0 };

	if (volume->verify != NULL) {
		udf_verify_memory(volume->verify, &memory);
	}
	return memory.used;
}

void udf_volume_forget(struct udf_volume *volume, uint32_t lbn, uint32_t count)
{
	uint32_t blocks = volume->info.partition_blocks;

	if (volume->mapped != NULL && lbn >= blocks) {
		udf_mapped_forget(volume->mapped, lbn - blocks, count);
		return;
	}
	udf_partition_forget(&volume->partition, lbn, count);
}

int udf_volume_bad_packets(struct udf_volume *volume,
			   struct udf_block_list *list)
{
	*list = (struct udf_block_list){.count = 0};
	if (volume->verify == NULL) {
		return 0;
	}
	return udf_verify_bad_packets(volume->verify, list);
}

int udf_volume_failed_blocks(struct udf_volume *volume,
			     struct udf_block_list *list)
{
	*list = (struct udf_block_list){.count = 0};
	if (volume->verify == NULL) {
		return 0;
	}
	return udf_verify_failed(volume->verify, list);
}

bool udf_volume_is_bad(struct udf_volume *volume, uint32_t lbn)
{
	uint32_t blocks = volume->info.partition_blocks;
	uint32_t places[2] = { lbn, 0 };
	unsigned int count = 1;

	if (volume->verify == NULL) {
		return false;
	}
	if (volume->mapped != NULL && lbn >= blocks) {
		count = udf_mapped_places(volume->mapped, lbn - blocks, places);
	}
	for (unsigned int i = 0; i < count; i++) {
		if (udf_verify_is_bad(volume->verify, places[i])) {
			return true;
		}
	}
	return false;
}

void udf_volume_take_damage(struct udf_volume *volume,
			    struct udf_block_list *list)
{
	udf_partition_take_damage(&volume->partition, list);
}

int udf_volume_scrub(struct udf_volume *volume, uint32_t lbn, uint32_t count,
		     bool cure, uint32_t slow_ms,
		     struct udf_scrub_result *result)
{
	return udf_partition_scrub(&volume->partition, lbn, count, cure,
				   slow_ms, result);
}

static void load_count(const uint64_t *from, uint64_t *to)
{
	*to = __atomic_load_n(from, __ATOMIC_RELAXED);
}

void udf_volume_defect_status(struct udf_volume *volume,
			      struct udf_defect_status *status)
{
	const struct udf_defect_counts *counts = &volume->partition.counts;
	struct udf_block_list bad = {.count = 0};

	*status = (struct udf_defect_status){.bad_packets = 0};
	load_count(&counts->verified_blocks, &status->counts.verified_blocks);
	load_count(&counts->suspect_packets, &status->counts.suspect_packets);
	load_count(&counts->relocated_packets,
		   &status->counts.relocated_packets);
	load_count(&counts->unsaved_packets, &status->counts.unsaved_packets);
	load_count(&counts->retries, &status->counts.retries);
	load_count(&counts->unreadable_blocks,
		   &status->counts.unreadable_blocks);
	load_count(&counts->lost_blocks, &status->counts.lost_blocks);
	if (volume->verify == NULL) {
		return;
	}
	udf_verify_memory(volume->verify, &status->memory);
	if (udf_verify_bad_packets(volume->verify, &bad) == 0) {
		status->bad_packets = (uint32_t)bad.count;
	}
	udf_block_list_free(&bad);
}

void udf_volume_get_integrity(struct udf_volume *volume,
			      struct udf_integrity *integrity)
{
	const struct udf_lvid *lvid = &volume->integrity.lvid;
	const struct udf_volume_info *info = &volume->info;

	pthread_mutex_lock(&volume->integrity_lock);
	*integrity = (struct udf_integrity){
		.found = volume->integrity.found &&
			 !volume->integrity_made_up,
		.closed = volume->integrity.found &&
			  lvid->type == UDF_LVID_CLOSED,
		.next_unique_id = lvid->next_unique_id,
		.free_blocks = UINT32_MAX,
		.metadata_free = UINT32_MAX,
		.files = lvid->files,
		.directories = lvid->directories,
		.min_read_revision = lvid->min_read_revision,
		.min_write_revision = lvid->min_write_revision,
		.max_write_revision = lvid->max_write_revision,
		.recorded = lvid->recorded,
	};
	if (info->partition_ref < lvid->partitions) {
		integrity->free_blocks = lvid->free_blocks[info->partition_ref];
	}
	if (info->has_metadata && info->mapped_ref < lvid->partitions) {
		integrity->metadata_free = lvid->free_blocks[info->mapped_ref];
	}
	memcpy(integrity->modifier, lvid->implementation.identifier,
	       sizeof(lvid->implementation.identifier));
	pthread_mutex_unlock(&volume->integrity_lock);
}

/*
 * Write the descriptor. When its block is bad it is in another one, and the
 * Logical Volume Descriptors are to say so; if they cannot, the damaged block
 * leads a reader on, at least ours.
 */
static int write_lvid(struct udf_volume *volume, const struct udf_lvid *lvid)
{
	struct udf_integrity_sequence *sequence = &volume->integrity;
	struct udf_extent_ad extent = {0};
	uint32_t before = sequence->block;
	bool moved = false;
	int ret = 0;

	ret = udf_integrity_write(sequence, lvid, &moved);
	if (ret != 0) {
		udf_log(&volume->log, UDF_LOG_ERROR,
			"the integrity descriptor cannot be written: %s",
			strerror(-ret));
		return ret;
	}
	if (moved) {
		extent.location = sequence->block;
		extent.length = (sequence->end - sequence->block) *
				sequence->block_size;
		udf_log(&volume->log, UDF_LOG_NOTICE,
			"defect event=integrity-moved from=%u to=%u", before,
			sequence->block);
		(void)udf_vds_set_integrity(volume->dev, &volume->log,
					    volume->info.block_size,
					    &volume->anchor, extent);
	}
	return 0;
}

int udf_volume_put_integrity(struct udf_volume *volume,
			     const struct udf_integrity *integrity)
{
	struct udf_lvid lvid = {0};
	int sync_ret = 0;
	int ret = 0;

	if (volume->info.read_only) {
		return -EROFS;
	}
	sync_ret = udf_partition_sync(&volume->partition, NULL);
	if (sync_ret != 0 && integrity->closed) {
		/* Closed would say that all is on the medium. */
		return sync_ret;
	}

	pthread_mutex_lock(&volume->integrity_lock);
	lvid = volume->integrity.lvid;
	lvid.type = integrity->closed ? UDF_LVID_CLOSED : UDF_LVID_OPEN;
	lvid.next_unique_id = integrity->next_unique_id;
	lvid.free_blocks[volume->info.partition_ref] = integrity->free_blocks;
	if (volume->info.has_metadata) {
		/* UDF 2.60 2.2.6.2, 2.2.6.3: only of virtual partitions they
		 * are not told. */
		lvid.free_blocks[volume->info.mapped_ref] =
			integrity->metadata_free;
		lvid.size_blocks[volume->info.mapped_ref] =
			udf_mapped_blocks(volume->mapped);
	}
	lvid.files = integrity->files;
	lvid.directories = integrity->directories;
	lvid.has_impl_use = true;
	udf_our_regid(&lvid.implementation);
	clock_gettime(CLOCK_REALTIME, &lvid.recorded);
	lvid.recorded = udf_timestamp_round(lvid.recorded);
	ret = write_lvid(volume, &lvid);
	volume->integrity_made_up = volume->integrity_made_up && ret != 0;
	pthread_mutex_unlock(&volume->integrity_lock);
	return ret != 0 ? ret : sync_ret;
}

void udf_volume_sparing_status(struct udf_volume *volume,
			       struct udf_sparing_status *status)
{
	struct udf_sparing_counts counts = {0};

	*status = (struct udf_sparing_status){0};
	if (volume->sparing == NULL) {
		return;
	}
	pthread_rwlock_rdlock(&volume->partition.map_lock);
	udf_sparing_count(volume->sparing, &counts);
	pthread_rwlock_unlock(&volume->partition.map_lock);
	*status = (struct udf_sparing_status){
		.packet_blocks = volume->info.packet_blocks,
		.total_packets = counts.total,
		.free_packets = counts.free,
		.relocated_packets = counts.relocated,
		.defective_packets = counts.defective,
		.copies = counts.copies,
		.sequence = counts.sequence,
	};
}

int udf_volume_sparing_entries(struct udf_volume *volume,
			       struct udf_sparing_entry **entries,
			       uint32_t *count)
{
	const struct udf_sparing_entry *table = NULL;
	struct udf_sparing_entry *copy = NULL;
	int ret = 0;

	*entries = NULL;
	*count = 0;
	if (volume->sparing == NULL) {
		return 0;
	}
	pthread_rwlock_rdlock(&volume->partition.map_lock);
	table = udf_sparing_entries(volume->sparing, count);
	copy = calloc(*count + 1u, sizeof(*copy));
	if (copy == NULL) {
		ret = -ENOMEM;
		*count = 0;
	} else {
		memcpy(copy, table, *count * sizeof(*copy));
	}
	pthread_rwlock_unlock(&volume->partition.map_lock);
	*entries = copy;
	return ret;
}
