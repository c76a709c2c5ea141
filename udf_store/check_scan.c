/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A search for ICBs, whatever leads to them; see check_state.h.
 */
#include <errno.h>
#include <stdlib.h>

#include "check_state.h"
#include "ecma167.h"

#define READ_BLOCKS 64u
#define STOP_STEP 4096u

struct scan {
	struct udf_check *check;
	udf_check_icb_fn found;
	void *private_data;
};

static int look_at_blocks(const struct scan *scan, uint32_t first,
			  uint32_t count, uint8_t *buf)
{
	const struct udf_volume_info *info = scan->check->info;
	uint32_t i = 0;
	int ret = 0;

	if (udf_volume_read(scan->check->volume, first, count, buf) < 0) {
		/* Of one block that is bad the others may be good. */
		for (i = 0; i < count && count > 1 && ret == 0; i++) {
			ret = look_at_blocks(scan, first + i, 1, buf);
		}
		return ret;
	}
	for (i = 0; i < count && ret == 0; i++) {
		struct udf_icb icb = { .unique_id = 0 };

		if (decode_icb(buf + (size_t)i * info->block_size,
			       info->block_size,
			       udf_volume_location(info, first + i).block,
			       &icb) == 0 &&
		    icb.icbtag.strategy == 4 && icb.link_count > 0) {
			ret = scan->found(scan->private_data, first + i, &icb);
		}
	}
	return ret;
}

int udf_check_scan(struct udf_check *check, const uint8_t *bits,
		   udf_check_icb_fn found, void *private_data)
{
	const struct udf_check_options *options = check->options;
	const struct scan scan = {
		.check = check,
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
		if (i >= next_stop && options->stop != NULL &&
		    options->stop(options->private_data)) {
			ret = -ECANCELED;
		}
		next_stop = i >= next_stop ? i + STOP_STEP : next_stop;
	}
	free(buf);
	return ret;
}
