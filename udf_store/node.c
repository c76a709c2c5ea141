/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The cache of nodes, and the life of a node. See node.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "directory.h"
#include "node.h"
#include "state.h"

/* Nodes without references that are kept, and the memory they may take. */
#define IDLE_MAX 2048u
#define IDLE_BYTES_MAX (64u * 1024u * 1024u)

/* The limit of memory for all nodes is no lower on any machine. */
#define LIMIT_MIN ((size_t)256 * 1024 * 1024)

/* Unique ids below are not a file's (UDF 3.2.1.1); we use one for the root. */
#define UNIQUE_ID_FIRST 16u
#define ROOT_INO 1u

/* Inode numbers that we make up for files without a unique id of their own. */
#define MADE_UP_INO (1ULL << 62)

static size_t default_limit(void)
{
	long pages = sysconf(_SC_PHYS_PAGES);
	long page_bytes = sysconf(_SC_PAGESIZE);
	uint64_t limit = 0;

	if (pages > 0 && page_bytes > 0) {
		limit = (uint64_t)pages / 4 * (uint64_t)page_bytes;
	}
	if (limit > SIZE_MAX / 2) {
		limit = SIZE_MAX / 2;
	}
	return limit > LIMIT_MIN ? (size_t)limit : LIMIT_MIN;
}

int udf_node_cache_init(struct udf_node_cache *cache, size_t limit)
{
	*cache = (struct udf_node_cache){
		.bucket_count = UDF_NODE_BUCKETS_MIN,
		.limit = limit != 0 ? limit : default_limit(),
	};
	cache->buckets = calloc(cache->bucket_count, sizeof(struct udf_node *));
	cache->ino_buckets = calloc(cache->bucket_count,
				    sizeof(struct udf_node *));
	if (cache->buckets == NULL || cache->ino_buckets == NULL) {
		free(cache->buckets);
		free(cache->ino_buckets);
		cache->buckets = NULL;
		cache->ino_buckets = NULL;
		return -ENOMEM;
	}
	pthread_mutex_init(&cache->lock, NULL);
	pthread_cond_init(&cache->loaded, NULL);
	return 0;
}

void udf_node_free(struct udf_node *node)
{
	if (node->aeds_reserved > 0) {
		udf_space_unreserve(udf_space_for_metadata(&node->fs->space),
				    node->aeds_reserved);
	}
	udf_directory_free(node->directory);
	udf_extent_map_free(&node->map);
	udf_run_list_free(&node->aeds);
	udf_node_forget_aeds(node);
	free(node->ea);
	free(node->damaged);
	free(node->data);
	pthread_rwlock_destroy(&node->lock);
	free(node);
}

void udf_node_cache_destroy(struct udf_node_cache *cache)
{
	if (cache->buckets == NULL) {
		return;
	}
	for (size_t i = 0; i < cache->bucket_count; i++) {
		while (cache->buckets[i] != NULL) {
			struct udf_node *node = cache->buckets[i];

			cache->buckets[i] = node->hash_next;
			udf_node_free(node);
		}
	}
	while (cache->orphans != NULL) {
		struct udf_node *node = cache->orphans;

		cache->orphans = node->orphan_next;
		udf_node_free(node);
	}
	free(cache->buckets);
	free(cache->ino_buckets);
	cache->buckets = NULL;
	pthread_mutex_destroy(&cache->lock);
	pthread_cond_destroy(&cache->loaded);
}

static size_t bucket_of(const struct udf_node_cache *cache, uint64_t key)
{
	key *= 0x9E3779B97F4A7C15ULL;
	return (size_t)(key >> 20) & (cache->bucket_count - 1);
}

static struct udf_node *cache_find(struct udf_node_cache *cache, uint32_t lbn)
{
	struct udf_node *node = cache->buckets[bucket_of(cache, lbn)];

	while (node != NULL && node->lbn != lbn) {
		node = node->hash_next;
	}
	return node;
}

/* Twice as many buckets; without memory it stays as it is, only slower. */
static void cache_grow(struct udf_node_cache *cache)
{
	size_t old_count = cache->bucket_count;
	struct udf_node **old = cache->buckets;
	struct udf_node **old_ino = cache->ino_buckets;
	struct udf_node **buckets = calloc(old_count * 2, sizeof(*buckets));
	struct udf_node **ino_buckets = calloc(old_count * 2, sizeof(*buckets));

	if (buckets == NULL || ino_buckets == NULL) {
		free(buckets);
		free(ino_buckets);
		return;
	}
	cache->bucket_count = old_count * 2;
	cache->buckets = buckets;
	cache->ino_buckets = ino_buckets;
	for (size_t i = 0; i < old_count; i++) {
		while (old[i] != NULL) {
			struct udf_node *node = old[i];
			size_t bucket = bucket_of(cache, node->lbn);

			old[i] = node->hash_next;
			node->hash_next = buckets[bucket];
			buckets[bucket] = node;
		}
		while (old_ino[i] != NULL) {
			struct udf_node *node = old_ino[i];
			size_t bucket = bucket_of(cache, node->ino);

			old_ino[i] = node->ino_next;
			node->ino_next = ino_buckets[bucket];
			ino_buckets[bucket] = node;
		}
	}
	free(old);
	free(old_ino);
}

static void cache_insert(struct udf_node_cache *cache, struct udf_node *node)
{
	size_t bucket = 0;

	if (cache->node_count >= cache->bucket_count) {
		cache_grow(cache);
	}
	bucket = bucket_of(cache, node->lbn);
	node->hash_next = cache->buckets[bucket];
	cache->buckets[bucket] = node;
	cache->node_count++;
}

static void cache_remove(struct udf_node_cache *cache, struct udf_node *node)
{
	struct udf_node **p = &cache->buckets[bucket_of(cache, node->lbn)];

	while (*p != node) {
		p = &(*p)->hash_next;
	}
	*p = node->hash_next;
	cache->node_count--;
	cache->footprint -= node->footprint;
	node->footprint = 0;

	p = &cache->ino_buckets[bucket_of(cache, node->ino)];
	while (*p != NULL && *p != node) {
		p = &(*p)->ino_next;
	}
	if (*p == node) {
		*p = node->ino_next;
	}
}

/*
 * The inode number: the unique id, when it can be one and no other node of
 * the cache has it; else one made of the ICB's block.
 */
static void cache_number(struct udf_node_cache *cache, struct udf_node *node)
{
	uint64_t ino = node->unique_id;
	struct udf_node *other = NULL;
	size_t bucket = 0;

	if (node->lbn == node->fs->root_lbn) {
		ino = ROOT_INO;
	} else if (ino < UNIQUE_ID_FIRST || ino >= MADE_UP_INO ||
		   (node->icb_flags & UDF_ICB_STREAM) != 0 ||
		   node->file_type == UDF_FT_STREAM_DIRECTORY) {
		/* Streams have the unique id of their file. */
		ino = MADE_UP_INO | node->lbn;
	}
	other = cache->ino_buckets[bucket_of(cache, ino)];
	while (other != NULL && other->ino != ino) {
		other = other->ino_next;
	}
	if (other != NULL) {
		ino = MADE_UP_INO | node->lbn;
	}
	node->ino = ino;
	bucket = bucket_of(cache, ino);
	node->ino_next = cache->ino_buckets[bucket];
	cache->ino_buckets[bucket] = node;
}

static void idle_remove(struct udf_node_cache *cache, struct udf_node *node)
{
	if (!node->is_idle) {
		return;
	}
	if (node->idle_prev != NULL) {
		node->idle_prev->idle_next = node->idle_next;
	} else {
		cache->idle_first = node->idle_next;
	}
	if (node->idle_next != NULL) {
		node->idle_next->idle_prev = node->idle_prev;
	} else {
		cache->idle_last = node->idle_prev;
	}
	node->idle_prev = NULL;
	node->idle_next = NULL;
	node->is_idle = false;
	cache->idle_count--;
	cache->idle_footprint -= node->footprint;
}

static void idle_append(struct udf_node_cache *cache, struct udf_node *node)
{
	node->idle_prev = cache->idle_last;
	node->idle_next = NULL;
	if (cache->idle_last != NULL) {
		cache->idle_last->idle_next = node;
	} else {
		cache->idle_first = node;
	}
	cache->idle_last = node;
	node->is_idle = true;
	cache->idle_count++;
	cache->idle_footprint += node->footprint;
}

/*
 * Count the memory of a node that nobody else uses now, and that is not on
 * the list of idle ones: what can be out of proportion. All else is less than
 * its ICB's block, and the kernel, which remembers the node, lets go of it
 * when memory is short.
 */
static void account(struct udf_node_cache *cache, struct udf_node *node)
{
	size_t bytes = node->chain.length;

	bytes += node->map.capacity * sizeof(*node->map.extents);
	bytes += udf_directory_footprint(node->directory);
	cache->footprint += bytes;
	cache->footprint -= node->footprint;
	node->footprint = bytes;
}

/*
 * Take idle nodes out of the cache until they are no more than this. Returns
 * a list of them, by hash_next, to be freed without the lock.
 */
static struct udf_node *evict(struct udf_node_cache *cache, size_t count,
			      size_t bytes)
{
	struct udf_node *evicted = NULL;

	while (cache->idle_first != NULL && (cache->idle_count > count ||
					     cache->idle_footprint > bytes)) {
		struct udf_node *node = cache->idle_first;

		idle_remove(cache, node);
		cache_remove(cache, node);
		node->hash_next = evicted;
		evicted = node;
	}
	return evicted;
}

static void free_evicted(struct udf_node *evicted)
{
	while (evicted != NULL) {
		struct udf_node *next = evicted->hash_next;

		udf_node_free(evicted);
		evicted = next;
	}
}

int udf_node_claim_memory(struct udf_node *node, size_t bytes)
{
	struct udf_node_cache *cache = &node->fs->cache;
	struct udf_node *evicted = NULL;
	bool tell = false;
	int ret = 0;

	pthread_mutex_lock(&cache->lock);
	if (bytes > cache->limit || cache->footprint > cache->limit - bytes) {
		evicted = evict(cache, 0, 0);
	}
	if (bytes > cache->limit || cache->footprint > cache->limit - bytes) {
		ret = -ENOMEM;
		tell = !cache->told_limit;
		cache->told_limit = true;
	} else {
		cache->footprint += bytes;
		node->footprint += bytes;
	}
	pthread_mutex_unlock(&cache->lock);
	free_evicted(evicted);
	if (tell) {
		udf_volume_log(node->fs->volume, UDF_LOG_ERROR,
			       "the directories and files in use take %zu MiB "
			       "of memory, the limit: no more are opened; see "
			       "--metadata-memory",
			       cache->limit >> 20);
	}
	return ret;
}

static struct udf_node *node_alloc(struct udf_fs *fs, uint32_t lbn)
{
	struct udf_node *node = calloc(1, sizeof(*node));

	if (node == NULL) {
		return NULL;
	}
	node->fs = fs;
	node->lbn = lbn;
	node->references = 1;
	node->child_goal = lbn;
	pthread_rwlock_init(&node->lock, NULL);
	return node;
}

int udf_node_get(struct udf_fs *fs, uint32_t lbn, struct udf_node **result)
{
	struct udf_node_cache *cache = &fs->cache;
	struct udf_node *node = NULL;
	int ret = 0;

	*result = NULL;
	pthread_mutex_lock(&cache->lock);
	node = cache_find(cache, lbn);
	if (node != NULL) {
		idle_remove(cache, node);
		node->references++;
		while (node->loading) {
			pthread_cond_wait(&cache->loaded, &cache->lock);
		}
		ret = node->load_error;
		if (ret < 0) {
			node->references--;
			if (node->references == 0) {
				udf_node_free(node);
			}
			node = NULL;
		}
		pthread_mutex_unlock(&cache->lock);
		*result = node;
		return ret;
	}
	node = node_alloc(fs, lbn);
	if (node == NULL) {
		pthread_mutex_unlock(&cache->lock);
		return -ENOMEM;
	}
	node->loading = true;
	cache_insert(cache, node);
	pthread_mutex_unlock(&cache->lock);

	ret = udf_node_load(node);

	pthread_mutex_lock(&cache->lock);
	node->loading = false;
	node->load_error = ret;
	if (ret < 0) {
		cache_remove(cache, node);
		node->references--;
		if (node->references == 0) {
			udf_node_free(node);
		}
		node = NULL;
	} else {
		cache_number(cache, node);
		account(cache, node);
	}
	pthread_cond_broadcast(&cache->loaded);
	pthread_mutex_unlock(&cache->lock);
	*result = node;
	return ret;
}

void udf_node_ref(struct udf_node *node, uint64_t count)
{
	struct udf_node_cache *cache = &node->fs->cache;

	pthread_mutex_lock(&cache->lock);
	node->references += count;
	pthread_mutex_unlock(&cache->lock);
}

void udf_node_put(struct udf_node *node, uint64_t count)
{
	struct udf_node_cache *cache = &node->fs->cache;
	struct udf_node *evicted = NULL;

	pthread_mutex_lock(&cache->lock);
	node->references -= count;
	if (node->references == 0) {
		if (node->unlinked) {
			cache_remove(cache, node);
			node->orphan_next = cache->orphans;
			cache->orphans = node;
		} else {
			account(cache, node);
			idle_append(cache, node);
		}
	}
	evicted = evict(cache, IDLE_MAX, IDLE_BYTES_MAX);
	pthread_mutex_unlock(&cache->lock);
	free_evicted(evicted);
}

struct udf_node *udf_node_next_orphan(struct udf_fs *fs)
{
	struct udf_node_cache *cache = &fs->cache;
	struct udf_node *node = NULL;

	pthread_mutex_lock(&cache->lock);
	node = cache->orphans;
	if (node != NULL) {
		cache->orphans = node->orphan_next;
		node->orphan_next = NULL;
	}
	pthread_mutex_unlock(&cache->lock);
	return node;
}

void udf_node_abandon_unlinked(struct udf_fs *fs)
{
	struct udf_node_cache *cache = &fs->cache;

	pthread_mutex_lock(&cache->lock);
	for (size_t i = 0; i < cache->bucket_count; i++) {
		struct udf_node *node = cache->buckets[i];

		while (node != NULL) {
			struct udf_node *next = node->hash_next;

			if (node->unlinked) {
				idle_remove(cache, node);
				cache_remove(cache, node);
				node->orphan_next = cache->orphans;
				cache->orphans = node;
			}
			node = next;
		}
	}
	pthread_mutex_unlock(&cache->lock);
}

bool udf_node_is_directory(const struct udf_node *node)
{
	return node->file_type == UDF_FT_DIRECTORY ||
	       node->file_type == UDF_FT_STREAM_DIRECTORY;
}

mode_t udf_node_format(const struct udf_node *node)
{
	switch (node->file_type) {
	case UDF_FT_DIRECTORY:
	case UDF_FT_STREAM_DIRECTORY:
		return S_IFDIR;
	case UDF_FT_SYMLINK:
		return S_IFLNK;
	case UDF_FT_FIFO:
		return S_IFIFO;
	case UDF_FT_SOCKET:
		return S_IFSOCK;
	case UDF_FT_BLOCK_DEVICE:
		return S_IFBLK;
	case UDF_FT_CHARACTER_DEVICE:
		return S_IFCHR;
	default:
		return S_IFREG;
	}
}

struct timespec udf_node_now(void)
{
	struct timespec now = { .tv_sec = 0 };

	clock_gettime(CLOCK_REALTIME, &now);
	return udf_timestamp_round(now);
}

/* The attribute that says which device a device node is. */
static int node_make_device(struct udf_node *node)
{
	struct udf_fs *fs = node->fs;
	uint32_t block_size = fs->info->block_size;
	int ret = 0;

	node->ea = malloc(block_size);
	if (node->ea == NULL) {
		return -ENOMEM;
	}
	ret = encode_ea_device(fs->tag_version,
			       udf_volume_location(fs->info, node->lbn).block,
			       node->device_major, node->device_minor,
			       node->ea, block_size);
	if (ret < 0) {
		return ret;
	}
	node->ea_length = (uint32_t)ret;
	return 0;
}

int udf_node_create(struct udf_fs *fs,
		    const struct udf_node_attributes *attributes,
		    uint32_t goal, struct udf_node **result)
{
	struct udf_node_cache *cache = &fs->cache;
	struct udf_node *node = NULL;
	uint32_t count = 1;
	uint32_t lbn = 0;
	int ret = 0;

	*result = NULL;
	ret = udf_space_allocate(udf_space_for_metadata(&fs->space), goal,
				 &count, &lbn);
	if (ret < 0) {
		return ret;
	}
	node = node_alloc(fs, lbn);
	if (node == NULL) {
		udf_space_release(&fs->space, lbn, 1);
		return -ENOMEM;
	}
	node->file_type = attributes->file_type;
	node->mode = attributes->mode;
	node->uid = attributes->uid;
	node->gid = attributes->gid;
	node->unique_id = attributes->unique_id;
	node->device_major = attributes->device_major;
	node->device_minor = attributes->device_minor;
	node->access = udf_node_now();
	node->modification = node->access;
	node->creation = node->access;
	node->attribute = node->access;
	node->checkpoint = 1;
	node->tag_id = UDF_TAG_FE;
	if (fs->info->revision >= 0x0200) {
		node->tag_id = UDF_TAG_EFE;
	}
	node->icbtag.strategy = 4;
	node->icbtag.max_entries = 1;
	node->icbtag.file_type = attributes->file_type;
	node->icb_flags = UDF_AD_IN_ICB | UDF_ICB_ARCHIVE;
	if (attributes->is_stream) {
		node->icb_flags |= UDF_ICB_STREAM;
	}
	node->embedded = true;
	node->fresh = true;
	node->data = malloc(1);
	if (node->data == NULL) {
		ret = -ENOMEM;
	}
	if (ret == 0 && (attributes->file_type == UDF_FT_BLOCK_DEVICE ||
			 attributes->file_type == UDF_FT_CHARACTER_DEVICE)) {
		ret = node_make_device(node);
	}
	if (ret < 0) {
		udf_node_free(node);
		udf_space_release(&fs->space, lbn, 1);
		return ret;
	}
	pthread_mutex_lock(&cache->lock);
	cache_insert(cache, node);
	cache_number(cache, node);
	pthread_mutex_unlock(&cache->lock);
	*result = node;
	return 0;
}

struct udf_space *udf_node_data_space(struct udf_node *node)
{
	struct udf_space *space = &node->fs->space;

	return udf_node_is_directory(node) ? udf_space_for_metadata(space)
					   : space;
}

static void release_run(void *private_data, uint32_t lbn, uint64_t count)
{
	struct udf_fs *fs = private_data;

	udf_space_release(&fs->space, lbn, count);
}

void udf_node_trim(struct udf_node *node)
{
	uint32_t block_size = node->fs->info->block_size;
	uint64_t blocks = (node->size + block_size - 1) / block_size;

	if (!node->beyond_end || node->map_error != 0) {
		return;
	}
	udf_extent_map_cut(&node->map, blocks, release_run, node->fs);
	node->beyond_end = false;
}

/*
 * What belongs to an ended node ends with it: it becomes an orphan itself as
 * soon as nobody uses it. Only what says that it belongs to a file is
 * believed; an ICB that is a file of its own stays.
 */
static void end_part(struct udf_fs *fs, uint32_t lbn, uint8_t file_type)
{
	struct udf_node *part = NULL;

	if (udf_node_get(fs, lbn, &part) < 0) {
		return;
	}
	if (part->file_type == file_type) {
		part->unlinked = true;
	}
	udf_node_put(part, 1);
}

static int end_stream(void *private_data, const struct udf_fid *fid)
{
	struct udf_fs *fs = private_data;
	struct udf_node *stream = NULL;
	uint32_t lbn = 0;

	if (fid->characteristics & (UDF_FID_DELETED | UDF_FID_PARENT)) {
		return 0;
	}
	if (udf_volume_address(fs->info, &fid->icb.addr, 1, &lbn) < 0 ||
	    udf_node_get(fs, lbn, &stream) < 0) {
		return 0;
	}
	if ((stream->icb_flags & UDF_ICB_STREAM) &&
	    !udf_node_is_directory(stream)) {
		stream->unlinked = true;
	}
	udf_node_put(stream, 1);
	return 0;
}

void udf_node_release_blocks(struct udf_node *node)
{
	struct udf_fs *fs = node->fs;

	if (node->stream_dir_icb.length > 0 &&
	    node->stream_dir_icb.addr.block != node->lbn) {
		end_part(fs, node->stream_dir_icb.addr.block,
			 UDF_FT_STREAM_DIRECTORY);
	}
	if (node->ea_icb.length > 0 &&
	    node->ea_icb.addr.block != node->lbn) {
		end_part(fs, node->ea_icb.addr.block,
			 UDF_FT_EXTENDED_ATTRIBUTES);
	}
	if (node->file_type == UDF_FT_STREAM_DIRECTORY) {
		udf_directory_each(node, end_stream, fs);
	}
	if (node->map_error == 0) {
		udf_extent_map_cut(&node->map, 0, release_run, fs);
		for (size_t i = 0; i < node->aeds.count; i++) {
			udf_space_release(&fs->space, node->aeds.runs[i].lbn,
					  node->aeds.runs[i].count);
		}
		udf_run_list_free(&node->aeds);
	}
	udf_space_release(&fs->space, node->lbn, 1);
}

void udf_node_note_data(struct udf_node *node, uint64_t bytes)
{
	__atomic_fetch_add(&node->data_written, bytes, __ATOMIC_RELEASE);
}

uint64_t udf_node_data_written(const struct udf_node *node)
{
	return __atomic_load_n(&node->data_written, __ATOMIC_ACQUIRE);
}

void udf_node_note_synced(struct udf_node *node, uint64_t written)
{
	uint64_t synced = __atomic_load_n(&node->data_synced, __ATOMIC_ACQUIRE);

	while (synced < written &&
	       !__atomic_compare_exchange_n(&node->data_synced, &synced,
					    written, false, __ATOMIC_RELEASE,
					    __ATOMIC_ACQUIRE)) {
	}
}

uint64_t udf_node_unsynced(const struct udf_node *node)
{
	/* In this order: the difference is never negative. */
	uint64_t synced = __atomic_load_n(&node->data_synced, __ATOMIC_ACQUIRE);

	if (!node->fs->info->defect_managed) {
		return 0;
	}
	return udf_node_data_written(node) - synced;
}

bool udf_node_has_unsynced(const struct udf_node *node)
{
	return udf_node_unsynced(node) > 0;
}

bool udf_node_has_unflushed(const struct udf_node *node)
{
	uint64_t synced = __atomic_load_n(&node->data_synced, __ATOMIC_ACQUIRE);

	return udf_node_data_written(node) != synced;
}

int udf_node_add_runs(const struct udf_node *node, struct udf_run_list *runs)
{
	int ret = 0;

	if (node->embedded || node->map_error != 0) {
		return 0;
	}
	for (size_t i = 0; i < node->map.count && ret == 0; i++) {
		const struct udf_extent *e = &node->map.extents[i];

		if (e->type == UDF_EXTENT_RECORDED) {
			ret = udf_run_list_add(runs, e->lbn,
					       (uint32_t)e->count);
		}
	}
	return ret;
}
