/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Arrays that grow by doubling: see array.h.
 */
#include <stdint.h>
#include <stdlib.h>

#include "array.h"

#define FIRST_CAPACITY 8u

void *udf_array_grow(void *array, size_t count, size_t *capacity,
		     size_t item_size)
{
	size_t more = *capacity == 0 ? FIRST_CAPACITY : *capacity;
	void *bigger = NULL;

	if (count < *capacity) {
		return array;
	}
	if (more > SIZE_MAX - *capacity) {
		return NULL;
	}
	bigger = reallocarray(array, *capacity + more, item_size);
	if (bigger != NULL) {
		*capacity += more;
	}
	return bigger;
}
