/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A sorted list of block numbers, each once.
 */
#ifndef UDF_STORE_BLOCK_LIST_H
#define UDF_STORE_BLOCK_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct udf_block_list {
	uint32_t *blocks;
	size_t count;
	size_t room;
};

/* Index of the first listed block of at least lbn; count: none. */
size_t udf_block_list_find(const struct udf_block_list *list, uint32_t lbn);

/* Is one of these blocks listed? */
bool udf_block_list_has(const struct udf_block_list *list, uint32_t lbn,
			uint32_t count);

/* -ENOMEM: not added. */
int udf_block_list_add(struct udf_block_list *list, uint32_t lbn);

/* -ENOMEM: *to is empty. */
int udf_block_list_copy(const struct udf_block_list *from,
			struct udf_block_list *to);

/* The list is empty afterwards. */
void udf_block_list_free(struct udf_block_list *list);

#endif /* UDF_STORE_BLOCK_LIST_H */
