/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * udfctl: what an administrator wants to know of a UDF volume, from an image
 * or block device by itself, or through the udfd that has it mounted. It
 * never writes to the volume.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "udfd_ioctl.h"
#include "volume.h"

/* Both sources fill in these, so that there is one way to print them. */
struct volume_facts {
	bool mounted; /* told by udfd */
	bool read_only;
	char reason[UDF_TEXT_LEN];
	bool sparable;
	bool defect_managed;
	bool closed; /* only when not mounted */
	uint16_t revision;
	uint8_t volume_id[UDF_VOLUME_ID_LEN];
	uint32_t block_size;
	uint64_t total_blocks;
	int64_t free_blocks; /* -1: unknown */
	int64_t directories;
	int64_t files;
	struct timespec formatted;
	struct timespec updated;
	char label[UDF_TEXT_LEN];
	char copyright[UDF_TEXT_LEN];
	char abstract[UDF_TEXT_LEN];
	char formatter[UDF_TEXT_LEN];
	char modifier[UDF_TEXT_LEN];
	/* Sparing; packet_bytes 0: none. */
	uint32_t packet_bytes;
	uint32_t packet_blocks;
	uint32_t total_spare_blocks;
	uint32_t free_spare_blocks;
	uint32_t copies;
	uint32_t sequence;
	/* Only when not mounted: */
	struct udf_sparing_entry *entries;
	uint32_t entry_count;
};

static void show_log(void *private_data, enum udf_log_level level,
		     const char *line)
{
	const char *path = private_data;

	if (level <= UDF_LOG_WARNING) {
		fprintf(stderr, "udfctl: %s: %s\n", path, line);
	}
}

/* What UDF keeps in the file set and not in the volume. */
static void read_file_set(struct udf_volume *volume, struct volume_facts *facts)
{
	const struct udf_volume_info *info = udf_volume_info(volume);
	struct udf_fsd fsd = {0};
	uint8_t *block = malloc(info->block_size);

	if (block == NULL) {
		return;
	}
	if (udf_volume_read(volume, info->file_set.block, 1, block) == 0 &&
	    decode_fsd(block, info->block_size, info->file_set.block, &fsd) ==
		    0) {
		memcpy(facts->copyright, fsd.copyright,
		       sizeof(facts->copyright));
		memcpy(facts->abstract, fsd.abstract, sizeof(facts->abstract));
	}
	free(block);
}

static void take_integrity(struct udf_volume *volume,
			   struct volume_facts *facts)
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

static int facts_of_image(char *path, struct volume_facts *facts)
{
	const struct udf_volume_options options = {
		.read_only = true,
		.log = show_log,
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

/* 0, or -ENOTTY when path is not on a mount of udfd. */
static int facts_of_mount(const char *path, struct volume_facts *facts)
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
	ret = 0;

out:
	close(fd);
	return ret;
}

static int gather(char *path, struct volume_facts *facts)
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

static void print_json_string(const char *name, const char *text)
{
	const char *p = NULL;

	printf("  \"%s\": \"", name);
	for (p = text; *p != '\0'; p++) {
		unsigned char c = (unsigned char)*p;

		if (c == '"' || c == '\\') {
			printf("\\%c", c);
		} else if (c < 0x20) {
			printf("\\u%04x", c);
		} else {
			putchar(c);
		}
	}
	printf("\",\n");
}

static void print_json_number(const char *name, int64_t value)
{
	if (value < 0) {
		printf("  \"%s\": null,\n", name);
	} else {
		printf("  \"%s\": %" PRId64 ",\n", name, value);
	}
}

static void print_json_bool(const char *name, bool value)
{
	printf("  \"%s\": %s,\n", name, value ? "true" : "false");
}

static void format_time(const struct timespec *ts, char *text, size_t len)
{
	struct tm tm = {0};
	time_t seconds = ts->tv_sec;

	if (gmtime_r(&seconds, &tm) == NULL ||
	    strftime(text, len, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0) {
		text[0] = '\0';
	}
}

static void format_id(const struct volume_facts *facts, char *text)
{
	size_t i = 0;

	for (i = 0; i < UDF_VOLUME_ID_LEN; i++) {
		sprintf(text + 2 * i, "%02x", facts->volume_id[i]);
	}
}

static void format_revision(const struct volume_facts *facts, char *text,
			    size_t len)
{
	snprintf(text, len, "%x.%02x", facts->revision >> 8,
		 facts->revision & 0xFF);
}

static void print_info_json(const struct volume_facts *facts)
{
	char revision[16] = {0};
	char formatted[32] = {0};
	char updated[32] = {0};
	char id[2 * UDF_VOLUME_ID_LEN + 1] = {0};

	format_revision(facts, revision, sizeof(revision));
	format_time(&facts->formatted, formatted, sizeof(formatted));
	format_time(&facts->updated, updated, sizeof(updated));
	format_id(facts, id);

	printf("{\n");
	print_json_bool("mounted", facts->mounted);
	print_json_string("label", facts->label);
	print_json_string("volume_id", id);
	print_json_string("revision", revision);
	print_json_bool("read_only", facts->read_only);
	print_json_string("read_only_reason", facts->reason);
	if (!facts->mounted) {
		print_json_bool("closed", facts->closed);
	} else {
		print_json_bool("defect_managed", facts->defect_managed);
	}
	print_json_number("block_size", facts->block_size);
	print_json_number("total_blocks", (int64_t)facts->total_blocks);
	print_json_number("free_blocks", facts->free_blocks);
	print_json_number("directories", facts->directories);
	print_json_number("files", facts->files);
	print_json_string("format_time", formatted);
	print_json_string("update_time", updated);
	print_json_string("copyright", facts->copyright);
	print_json_string("abstract", facts->abstract);
	print_json_string("formatter", facts->formatter);
	print_json_string("modifier", facts->modifier);
	print_json_number("total_spare_blocks", facts->total_spare_blocks);
	print_json_number("free_spare_blocks", facts->free_spare_blocks);
	/* No comma after the last. */
	printf("  \"sparable\": %s\n}\n", facts->sparable ? "true" : "false");
}

static void print_count(const char *name, int64_t value)
{
	if (value < 0) {
		printf("%-16s unknown\n", name);
	} else {
		printf("%-16s %" PRId64 "\n", name, value);
	}
}

static void print_info(const struct volume_facts *facts)
{
	char revision[16] = {0};
	char formatted[32] = {0};
	char updated[32] = {0};
	char id[2 * UDF_VOLUME_ID_LEN + 1] = {0};
	const char *state = NULL;

	format_revision(facts, revision, sizeof(revision));
	format_time(&facts->formatted, formatted, sizeof(formatted));
	format_time(&facts->updated, updated, sizeof(updated));
	format_id(facts, id);

	if (facts->mounted) {
		state = facts->read_only ? "mounted read-only by udfd"
					 : "mounted by udfd";
	} else {
		state = facts->closed ? "closed" : "open (in use, or not "
						   "closed properly)";
	}
	printf("%-16s %s\n", "label", facts->label);
	printf("%-16s %s\n", "volume id", id);
	printf("%-16s %s\n", "UDF revision", revision);
	printf("%-16s %s\n", "state", state);
	if (facts->reason[0] != '\0') {
		printf("%-16s %s\n", "read-only", facts->reason);
	}
	printf("%-16s %u bytes\n", "block size", facts->block_size);
	print_count("blocks", (int64_t)facts->total_blocks);
	print_count("free blocks", facts->free_blocks);
	print_count("directories", facts->directories);
	print_count("files", facts->files);
	printf("%-16s %s\n", "formatted", formatted);
	printf("%-16s %s\n", "last changed", updated);
	printf("%-16s %s\n", "formatter", facts->formatter);
	printf("%-16s %s\n", "last writer", facts->modifier);
	if (facts->copyright[0] != '\0') {
		printf("%-16s %s\n", "copyright", facts->copyright);
	}
	if (facts->abstract[0] != '\0') {
		printf("%-16s %s\n", "abstract", facts->abstract);
	}
	if (facts->sparable) {
		printf("%-16s %u of %u blocks free\n", "spares",
		       facts->free_spare_blocks, facts->total_spare_blocks);
	} else {
		printf("%-16s none: the volume is not sparable\n", "spares");
	}
}

static bool is_special(const struct udf_sparing_entry *entry)
{
	return entry->original >= UDF_SPARE_DEFECTIVE;
}

static void print_sparing_json(const struct volume_facts *facts)
{
	const char *comma = "";
	uint32_t i = 0;

	printf("{\n");
	print_json_bool("sparable", facts->sparable);
	print_json_bool("mounted", facts->mounted);
	if (facts->mounted) {
		print_json_bool("defect_managed", facts->defect_managed);
	}
	print_json_number("packet_bytes", facts->packet_bytes);
	print_json_number("packet_blocks", facts->packet_blocks);
	print_json_number("total_spare_blocks", facts->total_spare_blocks);
	print_json_number("free_spare_blocks", facts->free_spare_blocks);
	print_json_number("table_copies", facts->copies);
	if (!facts->mounted) {
		printf("  \"relocated\": [");
		for (i = 0; i < facts->entry_count; i++) {
			const struct udf_sparing_entry *entry =
				&facts->entries[i];

			if (is_special(entry)) {
				continue;
			}
			printf("%s{\"original\": %u, \"mapped\": %u}", comma,
			       entry->original, entry->mapped);
			comma = ", ";
		}
		printf("],\n  \"defective\": [");
		comma = "";
		for (i = 0; i < facts->entry_count; i++) {
			const struct udf_sparing_entry *entry =
				&facts->entries[i];

			if (entry->original != UDF_SPARE_DEFECTIVE) {
				continue;
			}
			printf("%s%u", comma, entry->mapped);
			comma = ", ";
		}
		printf("],\n");
	}
	printf("  \"table_sequence\": %u\n}\n", facts->sequence);
}

static void print_sparing(const struct volume_facts *facts)
{
	uint32_t i = 0;

	if (!facts->sparable) {
		printf("the volume is not sparable: it has no spare packets\n");
		return;
	}
	printf("%-16s %u blocks, %u bytes\n", "packet", facts->packet_blocks,
	       facts->packet_bytes);
	printf("%-16s %u blocks\n", "spares", facts->total_spare_blocks);
	printf("%-16s %u blocks\n", "free", facts->free_spare_blocks);
	printf("%-16s %u copies, sequence %u\n", "table", facts->copies,
	       facts->sequence);
	if (facts->mounted) {
		printf("%-16s %s\n", "management",
		       facts->defect_managed ? "on" : "off");
		return;
	}
	for (i = 0; i < facts->entry_count; i++) {
		const struct udf_sparing_entry *entry = &facts->entries[i];

		if (entry->original == UDF_SPARE_DEFECTIVE) {
			printf("%-16s spare at block %u of the volume\n",
			       "defective", entry->mapped);
		} else if (!is_special(entry)) {
			printf("%-16s packet at block %u of the partition, "
			       "now at block %u of the volume\n",
			       "relocated", entry->original, entry->mapped);
		}
	}
}

static void usage(FILE *f)
{
	fprintf(f, "usage: udfctl COMMAND PATH [--json]\n"
		   "\n"
		   "PATH is a UDF image, a block device, or a file or directory "
		   "on a mount of udfd.\n"
		   "\n"
		   "commands:\n"
		   "  info      what the volume says of itself\n"
		   "  sparing   spare packets, and what was relocated\n"
		   "\n"
		   "  --json    print JSON\n"
		   "  --help    print this\n"
		   "  --version\n");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{NULL, 0, NULL, 0},
	};
	struct volume_facts facts = {0};
	const char *command = NULL;
	bool json = false;
	bool sparing = false;
	int c = 0;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'j':
			json = true;
			break;
		case 'h':
			usage(stdout);
			return 0;
		case 'V':
			printf("udfctl %s\n", UDF_VERSION);
			return 0;
		default:
			fprintf(stderr, "Try udfctl --help.\n");
			return 2;
		}
	}
	if (optind == argc) {
		usage(stderr);
		return 2;
	}
	command = argv[optind];
	sparing = strcmp(command, "sparing") == 0;
	if (!sparing && strcmp(command, "info") != 0) {
		fprintf(stderr,
			"udfctl: there is no command '%s'; there are info and "
			"sparing\n",
			command);
		return 2;
	}
	if (argc - optind != 2) {
		fprintf(stderr, "udfctl: %s takes one PATH\n", command);
		return 2;
	}
	if (gather(argv[optind + 1], &facts) != 0) {
		return 1;
	}
	if (sparing && json) {
		print_sparing_json(&facts);
	} else if (sparing) {
		print_sparing(&facts);
	} else if (json) {
		print_info_json(&facts);
	} else {
		print_info(&facts);
	}
	free(facts.entries);
	if (fflush(stdout) != 0) {
		fprintf(stderr, "udfctl: cannot write the output: %s\n",
			strerror(errno));
		return 1;
	}
	return 0;
}
