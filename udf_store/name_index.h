/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Where the FIDs of a directory are, by the hash of their names; and a set of
 * such hashes. No I/O, no locks. An entry is told from those that were there
 * before by the index's generation, which its owner counts on.
 */
#ifndef UDF_STORE_NAME_INDEX_H
#define UDF_STORE_NAME_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UDF_NO_ENTRY UINT32_MAX

struct udf_name_entry {
	uint32_t offset; /* of the FID */
	uint32_t hash;
	uint32_t next; /* of the bucket, or of the unused ones */
	uint32_t generation;
};

struct udf_name_index {
	struct udf_name_entry *entries;
	uint32_t entry_count; /* used or on the unused list */
	uint32_t entry_capacity;
	uint32_t unused_first;
	uint32_t *buckets;
	uint32_t bucket_count; /* a power of two */
	uint32_t live;
	uint32_t generation;
};

uint32_t udf_name_hash(const char *name);

int udf_name_index_init(struct udf_name_index *index);
void udf_name_index_free(struct udf_name_index *index);

/* Room for one more, so that udf_name_index_add() cannot fail. -ENOMEM. */
int udf_name_index_reserve(struct udf_name_index *index);
/* fresh: of this generation; else of an earlier one. */
void udf_name_index_add(struct udf_name_index *index, uint32_t hash,
			uint32_t offset, bool fresh);
void udf_name_index_remove(struct udf_name_index *index, uint32_t hash,
			   uint32_t offset);

/*
 * The entries with a hash, one after the other: the first when *position is
 * UDF_NO_ENTRY. NULL: no more.
 */
const struct udf_name_entry *
udf_name_index_next(const struct udf_name_index *index, uint32_t hash,
		    uint32_t *position);

/* Is the entry at an offset of this generation; has the hash one that is? */
bool udf_name_index_is_fresh(const struct udf_name_index *index, uint32_t hash,
			     uint32_t offset);
bool udf_name_index_has_fresh(const struct udf_name_index *index,
			      uint32_t hash);

/* A set of hashes. It does not take 0, and never has it. */
struct udf_hash_set {
	uint32_t *slots;
	size_t size; /* a power of two */
	size_t count;
};

int udf_hash_set_add(struct udf_hash_set *set, uint32_t hash);
bool udf_hash_set_has(const struct udf_hash_set *set, uint32_t hash);
void udf_hash_set_clear(struct udf_hash_set *set);

#endif /* UDF_STORE_NAME_INDEX_H */
