/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A volume as udfctl's commands about its medium see it: through the udfd
 * that has it mounted (include/udfd_ioctl.h), or an image or device by itself.
 */
#ifndef UDF_STORE_UDFCTL_VOLUME_H
#define UDF_STORE_UDFCTL_VOLUME_H

#include <stdbool.h>
#include <stdint.h>

#include "ecma167.h"
#include "owners.h"
#include "scrub.h"

struct udfctl_volume;

struct udfctl_geometry {
	bool mounted;
	bool defect_managed;
	uint32_t block_size;
	uint32_t blocks;	/* of the partition */
	uint32_t packet_blocks; /* 0: no sparing */
	uint8_t volume_id[UDF_VOLUME_ID_LEN];
	char label[UDF_TEXT_LEN];
};

/*
 * Open it; write: blocks may be made well (an image is repaired first, if it
 * was not closed). 0, or a negative errno when a line on stderr has said what
 * is wrong; -ETIMEDOUT: path does not answer. The functions below return 0 or
 * a negative errno and print nothing.
 */
int udfctl_volume_open(char *path, bool write, struct udfctl_volume **volume);
int udfctl_volume_close(struct udfctl_volume *volume);

const struct udfctl_geometry *
udfctl_volume_geometry(const struct udfctl_volume *volume);

/* enum udf_block_state of each block from first on; at most 8192. */
int udfctl_volume_map(struct udfctl_volume *volume, uint32_t first,
		      uint32_t count, uint8_t *states);

/* The sparing table; free() *entries. */
int udfctl_volume_entries(struct udfctl_volume *volume,
			  struct udf_sparing_entry **entries, uint32_t *count);

/* As udf_volume_scrub(). */
int udfctl_volume_scrub(struct udfctl_volume *volume, uint32_t first,
			uint32_t count, bool cure, uint32_t slow_ms,
			struct udf_scrub_result *result);

/* As udf_owners_find(); of a mount, without alternate streams. */
int udfctl_volume_owners(struct udfctl_volume *volume,
			 const struct udf_block_list *blocks,
			 udf_owner_fn found, void *private_data);

/*
 * The recorded blocks of the one file that was opened through a mount.
 * -EISDIR: it was no regular file.
 */
int udfctl_volume_file_extents(struct udfctl_volume *volume,
			       struct udf_extent **extents, size_t *count);

/* Print what was found damaged: text lines, or a JSON array's elements. */
struct udfctl_damage {
	bool json;
	bool any;	     /* an element was printed */
	uint32_t block_size;
	uint64_t named; /* blocks */
};
int udfctl_print_owner(void *private_data, const struct udf_owner *owner);

/* A bar on stderr, when that is a terminal; done of all units. */
void udfctl_progress(const char *what, uint64_t done, uint64_t all,
		     uint64_t bytes_per_unit);
void udfctl_progress_end(void);

/* SIGINT and SIGTERM were asked for and came: end cleanly. */
void udfctl_catch_interrupt(void);
bool udfctl_interrupted(void);

#endif /* UDF_STORE_UDFCTL_VOLUME_H */
