/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A sorted list of block numbers: see block_list.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "block_list.h"

size_t udf_block_list_find(const struct udf_block_list *list, uint32_t lbn)
{
	size_t low = 0;
	size_t high = list->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (list->blocks[middle] < lbn) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low;
}

bool udf_block_list_has(const struct udf_block_list *list, uint32_t lbn,
			uint32_t count)
{
	size_t i = udf_block_list_find(list, lbn);

	return i < list->count && list->blocks[i] - lbn < count;
}

int udf_block_list_add(struct udf_block_list *list, uint32_t lbn)
{
	size_t i = udf_block_list_find(list, lbn);
	uint32_t *blocks = NULL;

	if (i < list->count && list->blocks[i] == lbn) {
		return 0;
	}
	blocks = udf_array_grow(list->blocks, list->count, &list->room,
				sizeof(*blocks));
	if (blocks == NULL) {
		return -ENOMEM;
	}
	list->blocks = blocks;
	memmove(&list->blocks[i + 1], &list->blocks[i],
		(list->count - i) * sizeof(list->blocks[0]));
	list->blocks[i] = lbn;
	list->count++;
	return 0;
}

int udf_block_list_copy(const struct udf_block_list *from,
			struct udf_block_list *to)
{
	*to = (struct udf_block_list){.count = 0};
	if (from->count == 0) {
		return 0;
	}
	to->blocks = calloc(from->count, sizeof(*to->blocks));
	if (to->blocks == NULL) {
		return -ENOMEM;
	}
	memcpy(to->blocks, from->blocks, from->count * sizeof(*to->blocks));
	to->count = from->count;
	to->room = from->count;
	return 0;
}

void udf_block_list_free(struct udf_block_list *list)
{
	free(list->blocks);
	*list = (struct udf_block_list){.count = 0};
}
