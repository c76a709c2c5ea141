/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the parts of a check share; see check.h.
 */
#ifndef UDF_STORE_CHECK_STATE_H
#define UDF_STORE_CHECK_STATE_H

#include "check.h"
#include "ecma167.h"
#include "volume.h"

struct udf_check {
	const struct udf_check_options *options;
	struct udf_check_summary *summary;
	struct udf_volume *volume;
	const struct udf_volume_info *info;
	/* A bit for each block of the partition, then of the one that lies in
	 * it: something refers to it; it is taken, but nothing does. */
	uint8_t *used;
	uint8_t *lost;
	/* More than one thing refers to it; NULL: there is none. */
	uint8_t *shared;
	/* Those within the partition; check_spares.c. */
	struct udf_check_spare *spares;
	uint32_t spare_count;
	uint8_t *non_allocatable; /* a bit for each block; NULL: none */
	uint64_t max_unique_id;
	uint32_t unread; /* blocks, in the last scan */
	bool counted;	/* the last finding is among the repairable ones */
	bool recounts;	/* there is a step for that */
	bool no_memory; /* for a step of the plan */
	bool no_tree; /* there is no way to any file */
	bool metadata_lost; /* the metadata file or its mirror, most likely */
};

void udf_check_found(struct udf_check *check, enum udf_finding_kind kind,
		     enum udf_finding_severity severity, const char *path,
		     uint32_t lbn, const char *format, ...)
	__attribute__((format(printf, 6, 7)));

/*
 * The last finding is put right by a step: path (NULL: none) and a sentence
 * say what it does. size: bytes of step->bytes.
 */
void udf_check_fix(struct udf_check *check, const struct udf_repair_step *step,
		   size_t size, const char *path, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

/* The last finding is put right by a step that is there already. */
void udf_check_fixed(struct udf_check *check);

/* The last finding is put right when all is counted anew. */
void udf_check_recount(struct udf_check *check);

bool udf_check_bit(const uint8_t *bits, uint32_t i);
void udf_check_set_bit(uint8_t *bits, uint32_t i);

/*
 * Something uses these blocks of the partition. Those that are used already
 * are shared from then on.
 */
void udf_check_use(struct udf_check *check, uint32_t lbn, uint64_t count);

/* check_volume.c: anchors, both sequences, sparing tables. -EIO, -ENOMEM. */
int udf_check_descriptors(struct udf_check *check, const char *path);

/* check_tree.c: from the file set down. -ENOMEM, -ECANCELED. */
int udf_check_tree(struct udf_check *check);

/*
 * What the space bitmaps say is in use, a bit for each block as in the used
 * ones, to be freed; all of it where a bitmap cannot be read. NULL: no memory.
 */
uint8_t *udf_check_taken(struct udf_check *check);

/*
 * The last finding: a step that marks a block as in use, in the bitmap of its
 * partition. -EUCLEAN: that is no bitmap; -EIO, -ENOMEM.
 */
int udf_check_take(struct udf_check *check, uint32_t lbn);

/*
 * check_scan.c: call found for each valid ICB of a file, or of its streams and
 * attributes, in the blocks of these bits; with mend, also for one of which
 * only the checksums are wrong. Stops when it returns non-zero, which is passed
 * on. check->unread: how many blocks could not be read. -ENOMEM, -ECANCELED.
 */
typedef int (*udf_check_icb_fn)(void *private_data, uint32_t lbn,
				const struct udf_icb *icb);
int udf_check_scan(struct udf_check *check, const uint8_t *bits, bool mend,
		   udf_check_icb_fn found, void *private_data);

/* check_orphans.c: files in lost blocks. -ENOMEM, -ECANCELED. */
int udf_check_orphans(struct udf_check *check);

/*
 * check_spares.c: spare packets within the partition. Begin before the tree;
 * cover: these blocks are in the Non-Allocatable Space; then report. -ENOMEM.
 */
int udf_check_spares_begin(struct udf_check *check);
void udf_check_spares_cover(struct udf_check *check, uint32_t lbn,
			    uint32_t count);
void udf_check_spares(struct udf_check *check);
void udf_check_spares_end(struct udf_check *check);

#endif /* UDF_STORE_CHECK_STATE_H */
