/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Gathering what a volume says of itself: see udfctl_facts.h. Nothing here
 * writes to the volume.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "udfctl.h"
#include "udfctl_answer.h"
#include "udfctl_facts.h"
#include "udfd_ioctl.h"

void udfctl_show_log(void *private_data, enum udf_log_level level,
		     const char *line)
{
	const char *path = private_data;

	if (level <= UDF_LOG_WARNING) {
		fprintf(stderr, "udfctl: %s: %s\n", path, line);
	}
}

/* What UDF keeps in the file set and not in the volume. */
static void read_file_set(struct udf_volume *volume, struct udfctl_facts *facts)
{
	const struct udf_volume_info *info = udf_volume_info(volume);
	struct udf_fsd fsd = {0};
	uint8_t *block = malloc(info->block_size);

	if (block == NULL) {
		return;
	}
	if (udf_volume_read(volume, info->file_set, 1, block) == 0 &&
	    decode_fsd(block, info->block_size,
		       udf_volume_location(info, info->file_set).block,
		       &fsd) == 0) {
		memcpy(facts->copyright, fsd.copyright,
		       sizeof(facts->copyright));
		memcpy(facts->abstract, fsd.abstract, sizeof(facts->abstract));
	}
	free(block);
}

static void take_integrity(struct udf_volume *volume,
			   struct udfctl_facts *facts)
{
	struct udf_integrity integrity = {0};

	udf_volume_get_integrity(volume, &integrity);
	facts->closed = integrity.closed;
	facts->free_blocks = -1;
	facts->directories = -1;
	facts->files = -1;
	/* An open volume's counts are those of when it was closed last. */
	if (integrity.closed && integrity.free_blocks != UINT32_MAX) {
		facts->free_blocks = integrity.free_blocks;
	}
	if (integrity.closed) {
		facts->directories = integrity.directories;
		facts->files = integrity.files;
	}
	facts->updated = integrity.recorded;
	memcpy(facts->modifier, integrity.modifier, sizeof(facts->modifier));
}

static int facts_of_image(char *path, struct udfctl_facts *facts)
{
	const struct udf_volume_options options = {
		.read_only = true,
		.log = udfctl_show_log,
		.log_private = path,
	};
	const struct udf_volume_info *info = NULL;
	struct udf_sparing_status sparing = {0};
	struct udf_volume *volume = NULL;
	int ret = 0;

	ret = udf_volume_open(path, &options, &volume);
	if (ret != 0) {
		return ret;
	}
	info = udf_volume_info(volume);
	facts->read_only = info->read_only_reason[0] != '\0';
	memcpy(facts->reason, info->read_only_reason, sizeof(facts->reason));
	facts->sparable = info->packet_blocks != 0;
	facts->revision = info->revision;
	memcpy(facts->volume_id, info->volume_id, sizeof(facts->volume_id));
	facts->block_size = info->block_size;
	facts->total_blocks = info->partition_blocks;
	facts->formatted = info->format_time;
	memcpy(facts->label, info->label, sizeof(facts->label));
	memcpy(facts->formatter, info->formatter, sizeof(facts->formatter));
	read_file_set(volume, facts);
	take_integrity(volume, facts);

	udf_volume_sparing_status(volume, &sparing);
	facts->packet_blocks = sparing.packet_blocks;
	facts->packet_bytes = sparing.packet_blocks * info->block_size;
	facts->total_spare_blocks =
		sparing.total_packets * sparing.packet_blocks;
	facts->free_spare_blocks = sparing.free_packets * sparing.packet_blocks;
	facts->copies = sparing.copies;
	facts->sequence = sparing.sequence;
	ret = udf_volume_sparing_entries(volume, &facts->entries,
					 &facts->entry_count);
	(void)udf_volume_close(volume);
	return ret;
}

static void take_text(char *to, const char *from)
{
	memcpy(to, from, UDF_TEXT_LEN - 1);
	to[UDF_TEXT_LEN - 1] = '\0';
}

static int take_entries(int fd, struct udfctl_facts *facts)
{
	struct udfd_sparing_entries request = {
		.magic = UDFD_IOCTL_MAGIC,
		.version = UDFD_IOCTL_VERSION,
	};
	uint32_t i = 0;

	do {
		struct udf_sparing_entry *bigger = NULL;

		request.first = facts->entry_count;
		if (ioctl(fd, UDFD_IOC_SPARING_ENTRIES, &request) != 0) {
			return -errno;
		}
		bigger = realloc(facts->entries,
				 (facts->entry_count + UDFD_SPARING_ENTRIES) *
					 sizeof(*bigger));
		if (bigger == NULL) {
			return -ENOMEM;
		}
		facts->entries = bigger;
		for (i = 0; i < request.count && i < UDFD_SPARING_ENTRIES;
		     i++) {
			bigger[facts->entry_count].original =
				request.entries[i].original;
			bigger[facts->entry_count].mapped =
				request.entries[i].mapped;
			facts->entry_count++;
		}
	} while (request.count > 0 && facts->entry_count < request.total);
	return 0;
}

/* 0, or -ENOTTY when path is not on a mount of udfd. */
static int facts_of_mount(const char *path, struct udfctl_facts *facts)
{
	struct udfd_volume_info info = {0};
	struct udfd_sparing_info sparing = {0};
	struct stat st = {0};
	int fd = -1;
	int ret = -ENOTTY;

	if (stat(path, &st) != 0 ||
	    !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))) {
		return -ENOTTY;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		return -ENOTTY;
	}
	if (ioctl(fd, UDFD_IOC_VOLUME_INFO, &info) != 0 ||
	    info.magic != UDFD_IOCTL_MAGIC) {
		goto out;
	}
	if (info.version != UDFD_IOCTL_VERSION) {
		ret = -EPROTO;
		goto out;
	}
	if (ioctl(fd, UDFD_IOC_SPARING_INFO, &sparing) != 0) {
		ret = -errno;
		goto out;
	}
	facts->mounted = true;
	facts->read_only = (info.flags & UDFD_VOLUME_READ_ONLY) != 0;
	facts->sparable = (info.flags & UDFD_VOLUME_SPARABLE) != 0;
	facts->defect_managed = (info.flags & UDFD_VOLUME_DEFECT_MANAGED) != 0;
	facts->revision = info.udf_revision;
	memcpy(facts->volume_id, info.volume_id, sizeof(facts->volume_id));
	facts->block_size = info.block_size;
	facts->total_blocks = info.total_blocks;
	facts->free_blocks = (int64_t)info.free_blocks;
	facts->directories = info.directory_count;
	facts->files = info.file_count;
	facts->formatted.tv_sec = info.format_time_sec;
	facts->updated.tv_sec = info.update_time_sec;
	take_text(facts->label, info.label);
	take_text(facts->copyright, info.copyright);
	take_text(facts->abstract, info.abstract);
	take_text(facts->formatter, info.formatter);
	take_text(facts->modifier, info.modifier);
	facts->packet_bytes = sparing.packet_bytes;
	if (info.block_size != 0) {
		facts->packet_blocks = sparing.packet_bytes / info.block_size;
	}
	facts->total_spare_blocks = sparing.total_spare_blocks;
	facts->free_spare_blocks = sparing.free_spare_blocks;
	facts->copies = sparing.table_copies;
	facts->sequence = sparing.table_sequence;
	if (ioctl(fd, UDFD_IOC_DEFECT_INFO, &facts->defects) != 0) {
		ret = -errno;
		goto out;
	}
	ret = take_entries(fd, facts);

out:
	close(fd);
	return ret;
}

int udfctl_facts_gather(char *path, struct udfctl_facts *facts)
{
	if (!udfctl_answers(path)) {
		return -ETIMEDOUT;
	}
	return udfctl_facts_read(path, facts);
}

int udfctl_facts_read(char *path, struct udfctl_facts *facts)
{
	struct stat st = {0};
	int ret = 0;

	if (stat(path, &st) != 0) {
		fprintf(stderr, "udfctl: %s: %s\n", path, strerror(errno));
		return -errno;
	}
	ret = facts_of_mount(path, facts);
	if (ret == -EPROTO) {
		fprintf(stderr,
			"udfctl: %s: the udfd there is of another version; "
			"mount the volume again\n",
			path);
		return ret;
	}
	if (ret != -ENOTTY) {
		if (ret != 0) {
			fprintf(stderr, "udfctl: %s: %s\n", path,
				strerror(-ret));
		}
		return ret;
	}
	if (S_ISDIR(st.st_mode)) {
		fprintf(stderr,
			"udfctl: %s is a directory, and not on a mount of "
			"udfd\n",
			path);
		return ret;
	}
	return facts_of_image(path, facts);
}

void udfctl_facts_free(struct udfctl_facts *facts)
{
	free(facts->entries);
	facts->entries = NULL;
}
