/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A list of runs of blocks.
 */
#ifndef UDF_STORE_RUN_LIST_H
#define UDF_STORE_RUN_LIST_H

#include <stddef.h>
#include <stdint.h>

struct udf_run {
	uint32_t lbn;
	uint32_t count;
};

struct udf_run_list {
	struct udf_run *runs;
	size_t count;
	size_t capacity;
};

/* Behind the others; joined with the last one if it continues it. -ENOMEM. */
int udf_run_list_add(struct udf_run_list *list, uint32_t lbn, uint32_t count);

/* By their first blocks. */
void udf_run_list_sort(struct udf_run_list *list);

/*
 * Which of at most 32 blocks from first on a sorted list without overlaps has:
 * bit i is block first + i.
 */
uint32_t udf_run_list_mask(const struct udf_run_list *list, uint32_t first,
			   uint32_t blocks);

/* The list is empty afterwards. */
void udf_run_list_free(struct udf_run_list *list);

#endif /* UDF_STORE_RUN_LIST_H */
