/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A volume for udfctl's commands: see udfctl_volume.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "udfctl.h"
#include "udfctl_answer.h"
#include "udfctl_volume.h"
#include "udfd_ioctl.h"

#define WALK_FDS 32
#define BAR_WIDTH 30

struct udfctl_volume {
	struct udfctl_geometry geometry;
	struct udf_fs *fs; /* an image */
	int fd;		   /* or a file on a mount */
	char *path;
};

/* 0; -ENOTTY: not on a mount of udfd. */
static int open_mounted(const char *path, struct udfctl_volume *volume)
{
	struct udfctl_geometry *geometry = &volume->geometry;
	struct udfd_volume_info info = {0};
	struct udfd_sparing_info sparing = {0};
	struct stat st = {0};

	if (stat(path, &st) != 0) {
		return -errno;
	}
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
		return -ENOTTY;
	}
	volume->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (volume->fd < 0) {
		return -errno;
	}
	if (ioctl(volume->fd, UDFD_IOC_VOLUME_INFO, &info) != 0 ||
	    info.magic != UDFD_IOCTL_MAGIC) {
		return -ENOTTY;
	}
	if (info.version != UDFD_IOCTL_VERSION || info.block_size == 0 ||
	    info.total_blocks > UINT32_MAX) {
		return -EPROTO;
	}
	if (ioctl(volume->fd, UDFD_IOC_SPARING_INFO, &sparing) != 0) {
		return -errno;
	}
	geometry->mounted = true;
	geometry->defect_managed =
		(info.flags & UDFD_VOLUME_DEFECT_MANAGED) != 0;
	geometry->block_size = info.block_size;
	geometry->blocks = (uint32_t)info.total_blocks;
	geometry->packet_blocks = sparing.packet_bytes / info.block_size;
	memcpy(geometry->volume_id, info.volume_id,
	       sizeof(geometry->volume_id));
	snprintf(geometry->label, sizeof(geometry->label), "%.*s",
		 (int)sizeof(info.label) - 1, info.label);
	return 0;
}

static int open_image(char *path, bool write, struct udfctl_volume *volume)
{
	const struct udf_volume_options options = {
		.read_only = !write,
		.log = udfctl_show_log,
		.log_private = path,
	};
	struct udfctl_geometry *geometry = &volume->geometry;
	const struct udf_volume_info *info = NULL;
	int ret = udf_fs_mount(path, &options, &volume->fs);

	if (ret < 0) {
		return ret;
	}
	info = udf_volume_info(udf_fs_volume(volume->fs));
	geometry->defect_managed = info->defect_managed;
	geometry->block_size = info->block_size;
	geometry->blocks = info->partition_blocks;
	geometry->packet_blocks = info->packet_blocks;
	memcpy(geometry->volume_id, info->volume_id,
	       sizeof(geometry->volume_id));
	memcpy(geometry->label, info->label, sizeof(geometry->label));
	return 0;
}

int udfctl_volume_open(char *path, bool write, struct udfctl_volume **result)
{
	struct udfctl_volume *volume = NULL;
	struct stat st = {0};
	int ret = 0;

	if (!udfctl_answers(path)) {
		return -ETIMEDOUT;
	}
	volume = calloc(1, sizeof(*volume));
	if (volume == NULL) {
		return -ENOMEM;
	}
	volume->fd = -1;
	volume->path = path;
	ret = open_mounted(path, volume);
	if (ret == -ENOTTY && volume->fd >= 0) {
		close(volume->fd);
		volume->fd = -1;
	}
	if (ret == -ENOTTY && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		fprintf(stderr,
			"udfctl: %s is a directory, and not on a mount of "
			"udfd\n",
			path);
	} else if (ret == -ENOTTY) {
		/* Its log lines say what is wrong. */
		ret = open_image(path, write, volume);
	} else if (ret == -EPROTO) {
		fprintf(stderr,
			"udfctl: %s: the udfd there is of another version; "
			"mount the volume again\n",
			path);
	} else if (ret < 0) {
		fprintf(stderr, "udfctl: %s: %s\n", path, strerror(-ret));
	}
	if (ret < 0) {
		(void)udfctl_volume_close(volume);
		return ret;
	}
	*result = volume;
	return 0;
}

int udfctl_volume_close(struct udfctl_volume *volume)
{
	int ret = 0;

	if (volume->fs != NULL) {
		ret = udf_fs_unmount(volume->fs);
	}
	if (volume->fd >= 0) {
		close(volume->fd);
	}
	free(volume);
	return ret;
}

const struct udfctl_geometry *
udfctl_volume_geometry(const struct udfctl_volume *volume)
{
	return &volume->geometry;
}

int udfctl_volume_map(struct udfctl_volume *volume, uint32_t first,
		      uint32_t count, uint8_t *states)
{
	struct udfd_map request = {
		.magic = UDFD_IOCTL_MAGIC,
		.version = UDFD_IOCTL_VERSION,
		.first = first,
	};

	if (volume->fs != NULL) {
		return udf_fs_map(volume->fs, first, count, states);
	}
	if (ioctl(volume->fd, UDFD_IOC_MAP, &request) != 0) {
		return -errno;
	}
	if (request.count < count) {
		return -EPROTO;
	}
	memcpy(states, request.states, count);
	return 0;
}

int udfctl_volume_entries(struct udfctl_volume *volume,
			  struct udf_sparing_entry **entries, uint32_t *count)
{
	struct udfd_sparing_entries request = {
		.magic = UDFD_IOCTL_MAGIC,
		.version = UDFD_IOCTL_VERSION,
	};
	uint32_t room = 1;
	uint32_t i = 0;

	*entries = NULL;
	*count = 0;
	if (volume->fs != NULL) {
		return udf_volume_sparing_entries(udf_fs_volume(volume->fs),
						  entries, count);
	}
	do {
		struct udf_sparing_entry *bigger = NULL;

		request.first = *count;
		if (ioctl(volume->fd, UDFD_IOC_SPARING_ENTRIES, &request) !=
			    0 ||
		    request.count > UDFD_SPARING_ENTRIES) {
			free(*entries);
			return errno != 0 ? -errno : -EPROTO;
		}
		room += request.count;
		bigger = realloc(*entries, room * sizeof(*bigger));
		if (bigger == NULL) {
			free(*entries);
			return -ENOMEM;
		}
		*entries = bigger;
		for (i = 0; i < request.count; i++) {
			bigger[*count].original = request.entries[i].original;
			bigger[*count].mapped = request.entries[i].mapped;
			(*count)++;
		}
	} while (request.count > 0 && *count < request.total);
	return 0;
}

int udfctl_volume_scrub(struct udfctl_volume *volume, uint32_t first,
			uint32_t count, bool cure, uint32_t slow_ms,
			struct udf_scrub_result *result)
{
	struct udfd_scrub request = {
		.magic = UDFD_IOCTL_MAGIC,
		.version = UDFD_IOCTL_VERSION,
		.first = first,
		.count = count,
		.flags = cure ? UDFD_SCRUB_CURE : 0,
		.slow_ms = slow_ms,
	};
	uint32_t i = 0;
	int ret = 0;

	if (volume->fs != NULL) {
		return udf_volume_scrub(udf_fs_volume(volume->fs), first,
					count, cure, slow_ms, result);
	}
	if (ioctl(volume->fd, UDFD_IOC_SCRUB, &request) != 0) {
		return -errno;
	}
	result->retried += request.retried;
	result->slow += request.slow;
	result->refreshed += request.refreshed;
	result->relocated += request.relocated;
	result->not_cured += request.not_cured;
	if (request.slowest_ns > result->slowest_ns) {
		result->slowest_ns = request.slowest_ns;
	}
	for (i = 0; i < request.bad_count && i < UDFD_SCRUB_BAD && ret == 0;
	     i++) {
		ret = udf_block_list_add(&result->bad, request.bad[i]);
	}
	return ret;
}

/* All extents of an open file on a mount; *icb, unless NULL. */
static int read_extents(int fd, struct udf_extent **extents, size_t *count,
			uint32_t *icb)
{
	struct udfd_extents request = {
		.magic = UDFD_IOCTL_MAGIC,
		.version = UDFD_IOCTL_VERSION,
	};
	uint32_t i = 0;

	*extents = NULL;
	*count = 0;
	do {
		struct udf_extent *bigger = NULL;

		request.first = (uint32_t)*count;
		if (ioctl(fd, UDFD_IOC_EXTENTS, &request) != 0) {
			free(*extents);
			*extents = NULL;
			return -errno;
		}
		bigger = realloc(*extents, (*count + UDFD_EXTENTS) *
						   sizeof(*bigger));
		if (bigger == NULL) {
			free(*extents);
			*extents = NULL;
			return -ENOMEM;
		}
		*extents = bigger;
		for (i = 0; i < request.count && i < UDFD_EXTENTS; i++) {
			bigger[*count] = (struct udf_extent){
				.block = request.extents[i].file_block,
				.count = request.extents[i].count,
				.lbn = request.extents[i].block,
				.type = request.extents[i].type,
			};
			(*count)++;
		}
	} while (request.count > 0 && *count < request.total);
	if (icb != NULL) {
		*icb = request.icb;
	}
	return 0;
}

int udfctl_volume_file_extents(struct udfctl_volume *volume,
			       struct udf_extent **extents, size_t *count)
{
	struct stat st = {0};

	if (volume->fs != NULL || fstat(volume->fd, &st) != 0 ||
	    !S_ISREG(st.st_mode)) {
		return -EISDIR;
	}
	return read_extents(volume->fd, extents, count, NULL);
}

/* nftw(3) has no argument for its callback. */
static struct {
	const struct udf_block_list *blocks;
	udf_owner_fn found;
	void *private_data;
	uint32_t block_size;
	size_t prefix; /* of the paths, to the mount point */
} walk;

/* The listed blocks of one run. */
static int report_run(struct udf_owner *owner, uint32_t lbn, uint64_t count,
		      uint64_t offset)
{
	const struct udf_block_list *blocks = walk.blocks;
	size_t i = udf_block_list_find(blocks, lbn);
	int ret = 0;

	while (ret == 0 && i < blocks->count &&
	       blocks->blocks[i] - lbn < count) {
		owner->lbn = blocks->blocks[i];
		owner->count = 0;
		owner->offset = offset + (uint64_t)(owner->lbn - lbn) *
						 walk.block_size;
		while (i < blocks->count && blocks->blocks[i] - lbn < count &&
		       blocks->blocks[i] == owner->lbn + owner->count) {
			owner->count++;
			i++;
		}
		ret = walk.found(walk.private_data, owner);
	}
	return ret;
}

static int visit(const char *path, const struct stat *st, int type,
		 struct FTW *ftw)
{
	struct udf_owner owner = {
		.kind = UDF_OWNER_ICB,
		.path = path + walk.prefix,
	};
	struct udf_extent *extents = NULL;
	uint32_t icb = 0;
	size_t count = 0;
	size_t i = 0;
	int ret = 0;
	int fd = -1;

	(void)type;
	(void)ftw;
	if (!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode)) {
		return 0;
	}
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		return 0;
	}
	ret = read_extents(fd, &extents, &count, &icb);
	close(fd);
	if (ret < 0) {
		return ret == -ENOMEM ? ret : 0;
	}
	ret = report_run(&owner, icb, 1, 0);
	owner.kind = S_ISDIR(st->st_mode) ? UDF_OWNER_DIRECTORY
					  : UDF_OWNER_DATA;
	for (i = 0; i < count && ret == 0; i++) {
		if (extents[i].type == UDF_EXTENT_RECORDED) {
			ret = report_run(&owner, extents[i].lbn,
					 extents[i].count,
					 extents[i].block * walk.block_size);
		}
	}
	free(extents);
	return ret;
}

/* Cut path down to the mount point that it is below. */
static int find_mount_point(char *path)
{
	struct stat st = {0};
	struct stat above = {0};

	if (stat(path, &st) != 0) {
		return -errno;
	}
	while (strcmp(path, "/") != 0) {
		char parent[PATH_MAX + 4];

		snprintf(parent, sizeof(parent), "%s", path);
		*(strrchr(parent, '/') + 1) = '\0';
		if (stat(parent, &above) != 0) {
			return -errno;
		}
		if (above.st_dev != st.st_dev) {
			return 0;
		}
		if (parent[1] != '\0') {
			parent[strlen(parent) - 1] = '\0';
		}
		strcpy(path, parent);
	}
	return 0;
}

int udfctl_volume_owners(struct udfctl_volume *volume,
			 const struct udf_block_list *blocks,
			 udf_owner_fn found, void *private_data)
{
	char *top = NULL;
	int ret = 0;

	if (volume->fs != NULL) {
		return udf_owners_find(volume->fs, blocks, found,
				       private_data);
	}
	top = malloc(PATH_MAX);
	if (top == NULL) {
		return -ENOMEM;
	}
	if (realpath(volume->path, top) == NULL) {
		ret = -errno;
	} else {
		ret = find_mount_point(top);
	}
	if (ret == 0) {
		walk.blocks = blocks;
		walk.found = found;
		walk.private_data = private_data;
		walk.block_size = volume->geometry.block_size;
		walk.prefix = strlen(top);
		ret = nftw(top, visit, WALK_FDS, FTW_PHYS | FTW_MOUNT);
		if (ret == -1) {
			ret = -errno;
		}
	}
	free(top);
	return ret;
}

int udfctl_print_owner(void *private_data, const struct udf_owner *owner)
{
	struct udfctl_damage *damage = private_data;
	const char *path = owner->path[0] != '\0' ? owner->path : "/";
	uint64_t bytes = (uint64_t)owner->count * damage->block_size;
	const char *part = udf_owner_kind_name(owner->kind);

	damage->named += owner->count;
	if (damage->json) {
		printf("%s\n    {\"path\": ", damage->any ? "," : "");
		udfctl_json_text(path);
		printf(", \"part\": \"%s\", \"offset\": %llu, \"bytes\": %llu, "
		       "\"block\": %u, \"blocks\": %u}",
		       part, (unsigned long long)owner->offset,
		       (unsigned long long)bytes, owner->lbn, owner->count);
	} else if (owner->kind == UDF_OWNER_DATA) {
		printf("%s: %llu bytes at %llu (block %u)\n", path,
		       (unsigned long long)bytes,
		       (unsigned long long)owner->offset, owner->lbn);
	} else {
		printf("%s: %s (block %u)\n", path, part, owner->lbn);
	}
	damage->any = true;
	return 0;
}

static struct timespec progress_shown;
static struct timespec progress_begun;

void udfctl_progress(const char *what, uint64_t done, uint64_t all,
		     uint64_t bytes_per_unit)
{
	struct timespec now = {0};
	double seconds = 0;
	double rate = 0;
	int filled = 0;

	if (!isatty(STDERR_FILENO) || all == 0) {
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (progress_begun.tv_sec == 0) {
		progress_begun = now;
	} else if (now.tv_sec == progress_shown.tv_sec && done < all) {
		return;
	}
	progress_shown = now;
	seconds = (double)(now.tv_sec - progress_begun.tv_sec) +
		  (double)(now.tv_nsec - progress_begun.tv_nsec) / 1e9;
	if (seconds > 0) {
		rate = (double)(done * bytes_per_unit) / seconds / 1048576.0;
	}
	filled = (int)(done * BAR_WIDTH / all);
	fprintf(stderr, "\r%s [%.*s%*s] %3d%%  %.1f MiB/s ", what, filled,
		"##############################", BAR_WIDTH - filled, "",
		(int)(done * 100 / all), rate);
}

void udfctl_progress_end(void)
{
	if (progress_shown.tv_sec != 0) {
		fprintf(stderr, "\r%70s\r", "");
	}
}

static volatile sig_atomic_t interrupted;

static void interrupt(int signum)
{
	(void)signum;
	interrupted = 1;
}

void udfctl_catch_interrupt(void)
{
	struct sigaction action = {.sa_handler = interrupt};

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

bool udfctl_interrupted(void)
{
	return interrupted != 0;
}
