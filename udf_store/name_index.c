/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A directory's index of names. See name_index.h.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "name_index.h"

#define BUCKETS_MIN 16u
#define SET_MIN 64u

/* 2^31 - 1, a prime. */
#define HASH_FIELD INT32_MAX

static uint64_t hash_point;
static pthread_once_t hash_point_chosen = PTHREAD_ONCE_INIT;

static void choose_hash_point(void)
{
	uint64_t point = 0;

	if (getrandom(&point, sizeof(point), 0) != sizeof(point)) {
		point = (uint64_t)time(NULL);
	}
	hash_point = 2 + point % (HASH_FIELD - 2);
}

/*
 * The polynomial of the name's bytes over a field, at a point that is this
 * process's secret. Else a client could make up names that collide, and each
 * of them makes all lookups in their directory slower. Two names of n bytes
 * collide for no more than n of 2^31 points.
 */
uint32_t udf_name_hash(const char *name)
{
	uint64_t hash = 0;

	pthread_once(&hash_point_chosen, choose_hash_point);
	for (const char *p = name; *p != '\0'; p++) {
		hash = (hash * hash_point + (uint8_t)*p) % HASH_FIELD;
	}
	/* 0 has no place in a set. */
	return (uint32_t)hash + 1;
}

static uint32_t *buckets_alloc(uint32_t count)
{
	uint32_t *buckets = malloc(count * sizeof(*buckets));

	if (buckets != NULL) {
		memset(buckets, 0xFF, count * sizeof(*buckets));
	}
	return buckets;
}

int udf_name_index_init(struct udf_name_index *index)
{
	*index = (struct udf_name_index){
		.unused_first = UDF_NO_ENTRY,
		.bucket_count = BUCKETS_MIN,
		.buckets = buckets_alloc(BUCKETS_MIN),
	};
	return index->buckets == NULL ? -ENOMEM : 0;
}

void udf_name_index_free(struct udf_name_index *index)
{
	free(index->entries);
	free(index->buckets);
	*index = (struct udf_name_index){ .live = 0 };
}

static uint32_t *bucket_of(const struct udf_name_index *index, uint32_t hash)
{
	return &index->buckets[hash & (index->bucket_count - 1)];
}

/* Twice as many buckets; without memory it stays as it is, only slower. */
static void index_rehash(struct udf_name_index *index)
{
	uint32_t count = index->bucket_count * 2;
	uint32_t *buckets = buckets_alloc(count);

	if (buckets == NULL) {
		return;
	}
	for (uint32_t b = 0; b < index->bucket_count; b++) {
		uint32_t i = index->buckets[b];

		while (i != UDF_NO_ENTRY) {
			struct udf_name_entry *e = &index->entries[i];
			uint32_t next = e->next;

			e->next = buckets[e->hash & (count - 1)];
			buckets[e->hash & (count - 1)] = i;
			i = next;
		}
	}
	free(index->buckets);
	index->buckets = buckets;
	index->bucket_count = count;
}

int udf_name_index_reserve(struct udf_name_index *index)
{
	struct udf_name_entry *entries = NULL;
	uint32_t capacity = index->entry_capacity;

	if (index->unused_first != UDF_NO_ENTRY ||
	    index->entry_count < capacity) {
		return 0;
	}
	capacity = capacity < 8 ? 8 : capacity * 2;
	entries = realloc(index->entries, capacity * sizeof(*entries));
	if (entries == NULL) {
		return -ENOMEM;
	}
	index->entries = entries;
	index->entry_capacity = capacity;
	return 0;
}

void udf_name_index_add(struct udf_name_index *index, uint32_t hash,
			uint32_t offset, bool fresh)
{
	uint32_t i = index->unused_first;
	uint32_t *bucket = bucket_of(index, hash);

	if (i != UDF_NO_ENTRY) {
		index->unused_first = index->entries[i].next;
	} else {
		i = index->entry_count++;
	}
	index->entries[i] = (struct udf_name_entry){
		.offset = offset,
		.hash = hash,
		.next = *bucket,
		.generation = index->generation - (fresh ? 0 : 1),
	};
	*bucket = i;
	index->live++;
	if (index->live > index->bucket_count) {
		index_rehash(index);
	}
}

void udf_name_index_remove(struct udf_name_index *index, uint32_t hash,
			   uint32_t offset)
{
	uint32_t *p = bucket_of(index, hash);

	while (*p != UDF_NO_ENTRY) {
		struct udf_name_entry *e = &index->entries[*p];
		uint32_t i = *p;

		if (e->offset == offset) {
			*p = e->next;
			e->next = index->unused_first;
			index->unused_first = i;
			index->live--;
			return;
		}
		p = &e->next;
	}
}

const struct udf_name_entry *
udf_name_index_next(const struct udf_name_index *index, uint32_t hash,
		    uint32_t *position)
{
	uint32_t i = *bucket_of(index, hash);

	if (*position != UDF_NO_ENTRY) {
		i = index->entries[*position].next;
	}
	while (i != UDF_NO_ENTRY && index->entries[i].hash != hash) {
		i = index->entries[i].next;
	}
	*position = i;
	return i == UDF_NO_ENTRY ? NULL : &index->entries[i];
}

bool udf_name_index_is_fresh(const struct udf_name_index *index, uint32_t hash,
			     uint32_t offset)
{
	const struct udf_name_entry *e = NULL;
	uint32_t position = UDF_NO_ENTRY;

	do {
		e = udf_name_index_next(index, hash, &position);
	} while (e != NULL && e->offset != offset);
	return e != NULL && e->generation == index->generation;
}

bool udf_name_index_has_fresh(const struct udf_name_index *index,
			      uint32_t hash)
{
	const struct udf_name_entry *e = NULL;
	uint32_t position = UDF_NO_ENTRY;

	do {
		e = udf_name_index_next(index, hash, &position);
	} while (e != NULL && e->generation != index->generation);
	return e != NULL;
}

static size_t set_slot(const struct udf_hash_set *set, uint32_t hash)
{
	size_t i = hash & (set->size - 1);

	while (set->slots[i] != 0 && set->slots[i] != hash) {
		i = (i + 1) & (set->size - 1);
	}
	return i;
}

bool udf_hash_set_has(const struct udf_hash_set *set, uint32_t hash)
{
	return set->count > 0 && set->slots[set_slot(set, hash)] != 0;
}

int udf_hash_set_add(struct udf_hash_set *set, uint32_t hash)
{
	struct udf_hash_set bigger = { .size = set->size * 2 };

	if (set->count * 2 >= set->size) {
		bigger.size = bigger.size < SET_MIN ? SET_MIN : bigger.size;
		bigger.slots = calloc(bigger.size, sizeof(*bigger.slots));
		if (bigger.slots == NULL) {
			return -ENOMEM;
		}
		bigger.count = set->count;
		for (size_t i = 0; i < set->size; i++) {
			uint32_t old = set->slots[i];

			if (old != 0) {
				bigger.slots[set_slot(&bigger, old)] = old;
			}
		}
		free(set->slots);
		*set = bigger;
	}
	if (hash != 0 && !udf_hash_set_has(set, hash)) {
		set->slots[set_slot(set, hash)] = hash;
		set->count++;
	}
	return 0;
}

void udf_hash_set_clear(struct udf_hash_set *set)
{
	free(set->slots);
	*set = (struct udf_hash_set){ .slots = NULL };
}
