/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A search for ICBs, whatever leads to them; see check_state.h.
 */
#include <errno.h>
#include <stdlib.h>

#include "bytes.h"
#include "check_state.h"
#include "ecma167.h"

#define READ_BLOCKS 64u
#define STOP_STEP 4096u

struct scan {
	struct udf_check *check;
	bool mend;
	udf_check_icb_fn found;
	void *private_data;
};

/* No name leads to these: they may have no links. */
static bool is_part(uint8_t file_type)
{
	return file_type == UDF_FT_STREAM_DIRECTORY ||
	       file_type == UDF_FT_EXTENDED_ATTRIBUTES;
}

/* Is there an ICB of a file in this block, or of a part of one? */
static bool is_icb(const struct scan *scan, uint32_t lbn, uint8_t *block,
		   struct udf_icb *icb)
{
	const struct udf_volume_info *info = scan->check->info;
	uint32_t location = udf_volume_location(info, lbn).block;
	int ret = decode_icb(block, info->block_size, location, icb);

	if (ret == -EUCLEAN && scan->mend &&
	    mend_tag(block, info->block_size, get_le16(block), location) == 0) {
		ret = decode_icb(block, info->block_size, location, icb);
	}
	return ret == 0 && icb->icbtag.strategy == 4 &&
	       (icb->link_count > 0 || is_part(icb->icbtag.file_type));
}

static int look_at_blocks(const struct scan *scan, uint32_t first,
			  uint32_t count, uint8_t *buf)
{
	const struct udf_volume_info *info = scan->check->info;
	uint32_t i = 0;
	int ret = 0;

	if (udf_volume_read(scan->check->volume, first, count, buf) < 0) {
		scan->check->unread += count == 1;
		/* Of one block that is bad the others may be good. */
		for (i = 0; i < count && count > 1 && ret == 0; i++) {
			ret = look_at_blocks(scan, first + i, 1, buf);
		}
		return ret;
	}
	for (i = 0; i < count && ret == 0; i++) {
		struct udf_icb icb = { .unique_id = 0 };

		if (is_icb(scan, first + i, buf + (size_t)i * info->block_size,
			   &icb)) {
			ret = scan->found(scan->private_data, first + i, &icb);
		}
	}
	return ret;
}

int udf_check_scan(struct udf_check *check, const uint8_t *bits, bool mend,
		   udf_check_icb_fn found, void *private_data)
{
	const struct udf_check_options *options = check->options;
	const struct scan scan = {
		.check = check,
		.mend = mend,
		.found = found,
		.private_data = private_data,
	};
	uint32_t blocks = check->info->address_blocks;
	uint8_t *buf = malloc((size_t)READ_BLOCKS * check->info->block_size);
	uint32_t next_stop = STOP_STEP;
	uint32_t i = 0;
	int ret = 0;

	if (buf == NULL) {
		return -ENOMEM;
	}
	check->unread = 0;
	while (i < blocks && ret == 0) {
		uint32_t count = 0;

		while (count < READ_BLOCKS && i + count < blocks &&
		       udf_check_bit(bits, i + count)) {
			count++;
		}
		if (count > 0) {
			ret = look_at_blocks(&scan, i, count, buf);
		}
		i += count > 0 ? count : 1;
		if (i < next_stop) {
			continue;
		}
		next_stop = i + STOP_STEP;
		if (options->searched != NULL) {
			options->searched(options->private_data, i, blocks);
		}
		if (options->stop != NULL &&
		    options->stop(options->private_data)) {
			ret = -ECANCELED;
		}
	}
	free(buf);
	return ret;
}
