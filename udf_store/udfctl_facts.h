/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a volume says of itself, from an image or block device, or through
 * the udfd that has it mounted.
 */
#ifndef UDF_STORE_UDFCTL_FACTS_H
#define UDF_STORE_UDFCTL_FACTS_H

#include "udfd_ioctl.h"
#include "volume.h"

/* Both sources fill in these, so that there is one way to print them. */
struct udfctl_facts {
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
	struct udf_sparing_entry *entries;
	uint32_t entry_count;
	/* Only when mounted: since then. */
	struct udfd_defect_info defects;
};

/*
 * Ask the udfd that has path mounted, else read the image. 0, or a negative
 * errno when a line on stderr has said what is wrong; -ETIMEDOUT: path does
 * not answer.
 */
int udfctl_facts_gather(char *path, struct udfctl_facts *facts);

/* The same, for as long as it takes. */
int udfctl_facts_read(char *path, struct udfctl_facts *facts);

void udfctl_facts_free(struct udfctl_facts *facts);

#endif /* UDF_STORE_UDFCTL_FACTS_H */
