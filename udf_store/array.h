/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Arrays that grow by doubling.
 */
#ifndef UDF_STORE_ARRAY_H
#define UDF_STORE_ARRAY_H

#include <stddef.h>

/*
 * Room for one item more behind the count that an array has. Returns the
 * array, which may have moved, with its new *capacity (in items; 0 and NULL:
 * there is none yet). NULL: no memory, or more than a size_t can say; the
 * array is as it was.
 */
void *udf_array_grow(void *array, size_t count, size_t *capacity,
		     size_t item_size);

#endif /* UDF_STORE_ARRAY_H */
