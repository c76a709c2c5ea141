/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A list of runs of blocks: see run_list.h.
 */
#include <errno.h>
#include <stdlib.h>

#include "array.h"
#include "run_list.h"

int udf_run_list_add(struct udf_run_list *list, uint32_t lbn, uint32_t count)
{
	struct udf_run *runs = NULL;
	struct udf_run *last = NULL;

	if (list->count > 0) {
		last = &list->runs[list->count - 1];
		if (last->lbn + last->count == lbn) {
			last->count += count;
			return 0;
		}
		if (lbn + count == last->lbn) {
			last->lbn = lbn;
			last->count += count;
			return 0;
		}
	}
	runs = udf_array_grow(list->runs, list->count, &list->capacity,
			      sizeof(*runs));
	if (runs == NULL) {
		return -ENOMEM;
	}
	list->runs = runs;
	list->runs[list->count].lbn = lbn;
	list->runs[list->count].count = count;
	list->count++;
	return 0;
}

static int compare_runs(const void *a, const void *b)
{
	const struct udf_run *x = a;
	const struct udf_run *y = b;

	if (x->lbn == y->lbn) {
		return 0;
	}
	return x->lbn < y->lbn ? -1 : 1;
}

void udf_run_list_sort(struct udf_run_list *list)
{
	if (list->count > 1) {
		qsort(list->runs, list->count, sizeof(*list->runs),
		      compare_runs);
	}
}

/* Index of the first run that ends behind a block. */
static size_t find_run(const struct udf_run_list *list, uint32_t lbn)
{
	size_t low = 0;
	size_t high = list->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct udf_run *run = &list->runs[middle];

		if ((uint64_t)run->lbn + run->count <= lbn) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low;
}

uint32_t udf_run_list_mask(const struct udf_run_list *list, uint32_t first,
			   uint32_t blocks)
{
	uint64_t end = (uint64_t)first + blocks;
	uint32_t mask = 0;

	for (size_t i = find_run(list, first); i < list->count; i++) {
		uint64_t from = list->runs[i].lbn;
		uint64_t to = from + list->runs[i].count;

		if (from >= end) {
			break;
		}
		from = from < first ? first : from;
		to = to < end ? to : end;
		for (; from < to; from++) {
			mask |= UINT32_C(1) << (from - first);
		}
	}
	return mask;
}

void udf_run_list_free(struct udf_run_list *list)
{
	free(list->runs);
	*list = (struct udf_run_list){ .runs = NULL };
}
