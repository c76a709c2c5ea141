/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What can be asked of, and done with, an open volume (volume.h): its blocks,
 * its integrity descriptor, its metadata partition, its bad packets.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vds.h"
#include "volume.h"
#include "volume_state.h"

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

bool udf_volume_spare_within(const struct udf_volume_info *info,
			     uint32_t mapped, struct udf_run *part)
{
	uint64_t start = info->partition_start;
	uint64_t end = start + info->partition_blocks;
	uint64_t first = mapped > start ? mapped : start;
	uint64_t behind = (uint64_t)mapped + info->packet_blocks;

	behind = behind < end ? behind : end;
	if (first >= behind) {
		return false;
	}
	part->lbn = (uint32_t)(first - start);
	part->count = (uint32_t)(behind - first);
	return true;
}

int udf_volume_refuse_spare(struct udf_volume *volume, uint32_t mapped,
			    bool record)
{
	int ret = 0;

	if (volume->sparing == NULL) {
		return 0;
	}
	pthread_rwlock_wrlock(&volume->partition.map_lock);
	ret = udf_sparing_refuse(volume->sparing, mapped, record);
	pthread_rwlock_unlock(&volume->partition.map_lock);
	return ret;
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
