/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Blocks that more than one thing has: who they are, who keeps the blocks, and
 * who gets a copy of its own.
 *
 * The walk over the tree has found which blocks these are. Here all that the
 * tree leads to is looked at once more, and what has such blocks is put into
 * the order in which it may keep them: what cannot move comes first, data of
 * files last. A copy is what the file reads now; whose data that was nobody
 * knows.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "check_tree.h"

/* More are left for the next round of a repair. */
#define CLAIMS_MAX (1u << 20)

#define DEFECTS_FILE "Non-Allocatable Space"
#define DEFECTS_STREAM "*UDF Non-Allocatable Space"

/* Who keeps a block: the lowest. */
enum rank {
	RANK_VOLUME, /* space bitmap, file set, metadata file */
	RANK_ICB,
	RANK_FIXED, /* of a file that is damaged otherwise, or bad blocks */
	RANK_AED,
	RANK_DIRECTORY,
	RANK_DATA,
};

/* A run of shared blocks, and something that has it. */
struct claim {
	enum rank rank;
	uint32_t lbn;
	uint32_t count;
	size_t index;	  /* of the node; NO_NODE: VOLUME */
	const char *name; /* VOLUME */
	uint64_t block;	  /* of the file, with DIRECTORY and DATA */
};

struct claims {
	struct claim *list;
	size_t count;
	size_t capacity;
};

/* A part of a claim that another claim goes before. */
struct conflict {
	const struct claim *claim;
	const struct claim *keeper;
	uint32_t lbn;
	uint32_t count;
};

struct shared {
	struct tree *tree;
	struct claims claims;
	struct claims kept; /* parts of claims, by lbn in the end */
	struct conflict *conflicts;
	size_t conflict_count;
	size_t conflict_capacity;
};

static int add_claim(struct claims *claims, const struct claim *claim)
{
	struct claim *list = NULL;

	if (claims->count == CLAIMS_MAX) {
		return 0;
	}
	list = udf_array_grow(claims->list, claims->count, &claims->capacity,
			      sizeof(*list));
	if (list == NULL) {
		return -ENOMEM;
	}
	claims->list = list;
	claims->list[claims->count] = *claim;
	claims->count++;
	return 0;
}

/* How many of the first blocks of a run are in the bits, or are not. */
static uint32_t run_length(const uint8_t *bits, uint32_t lbn, uint32_t count)
{
	bool first = udf_check_bit(bits, lbn);
	uint32_t length = 1;

	while (length < count && udf_check_bit(bits, lbn + length) == first) {
		length++;
	}
	return length;
}

/* The shared ones of the blocks of a claim. */
static int claim_blocks(struct shared *shared, const struct claim *claim)
{
	const struct udf_check *check = shared->tree->check;
	uint32_t i = 0;
	int ret = 0;

	while (i < claim->count && ret == 0) {
		uint32_t lbn = claim->lbn + i;
		uint32_t length = 0;

		if (lbn >= check->info->address_blocks) {
			break;
		}
		length = run_length(check->shared, lbn, claim->count - i);
		if (udf_check_bit(check->shared, lbn)) {
			struct claim part = *claim;

			part.lbn = lbn;
			part.count = length;
			part.block += i;
			ret = add_claim(&shared->claims, &part);
		}
		i += length;
	}
	return ret;
}

bool tree_is_defects(const struct tree *tree, size_t index)
{
	const struct node *node = &tree->nodes[index];
	const struct node *parent = NULL;

	if (node->name == NULL || node->parent == NO_NODE) {
		return false;
	}
	parent = &tree->nodes[node->parent];
	if (parent->is_stream_directory) {
		return parent->parent == NO_NODE &&
		       strcmp(node->name, DEFECTS_STREAM) == 0;
	}
	return node->parent == ROOT && strcmp(node->name, DEFECTS_FILE) == 0;
}

/* How the data of a node may be moved. */
static enum rank data_rank(const struct tree *tree, size_t index)
{
	const struct node *node = &tree->nodes[index];

	if (node->cut_at != UINT64_MAX || tree_is_defects(tree, index)) {
		return RANK_FIXED;
	}
	return node->is_directory ? RANK_DIRECTORY : RANK_DATA;
}

static int claim_extents(struct shared *shared, size_t index,
			 const struct extents *extents)
{
	struct claim claim = {
		.index = index,
		.rank = data_rank(shared->tree, index),
	};
	uint64_t block = 0;
	size_t i = 0;
	int ret = 0;

	for (i = 0; i < extents->count && ret == 0; i++) {
		const struct extent *e = &extents->list[i];

		claim.lbn = e->lbn;
		claim.count = e->count;
		claim.block = block;
		block += e->count;
		if (e->type != UDF_EXTENT_HOLE) {
			ret = claim_blocks(shared, &claim);
		}
	}
	claim.block = 0;
	claim.rank = claim.rank == RANK_FIXED ? RANK_FIXED : RANK_AED;
	for (i = 0; i < extents->aeds.count && ret == 0; i++) {
		claim.lbn = extents->aeds.runs[i].lbn;
		claim.count = extents->aeds.runs[i].count;
		ret = claim_blocks(shared, &claim);
	}
	return ret;
}

/* All that a node has. -ENOMEM. */
static int claim_node(struct shared *shared, size_t index)
{
	struct tree *tree = shared->tree;
	const struct node *node = &tree->nodes[index];
	const struct claim claim = {
		.rank = RANK_ICB,
		.lbn = node->lbn,
		.count = 1,
		.index = index,
	};
	struct extents extents = { .mend = node->aeds_mended };
	struct udf_icb icb = { .unique_id = 0 };
	int ret = 0;

	if (node->icb_damaged) {
		/* Its name goes, and nothing of it is left. */
		return 0;
	}
	ret = claim_blocks(shared, &claim);
	if (ret < 0 || node->unreadable ||
	    tree_read_icb(tree, index, tree->block, &icb) < 0 ||
	    (icb.icbtag.flags & UDF_ICB_AD_MASK) == UDF_AD_IN_ICB) {
		return ret;
	}
	ret = tree_take_ads(tree, node->lbn, &icb, &extents);
	if (ret != -ENOMEM) {
		/* What is before the damage, if there is any. */
		ret = claim_extents(shared, index, &extents);
	}
	tree_free_extents(&extents);
	return ret;
}

static int claim_run(void *private_data, const char *name, uint32_t lbn,
		     uint32_t count)
{
	const struct claim claim = {
		.rank = RANK_VOLUME,
		.lbn = lbn,
		.count = count,
		.index = NO_NODE,
		.name = name,
	};

	return claim_blocks(private_data, &claim);
}

static int claim_all(struct shared *shared, uint32_t file_set_end)
{
	struct tree *tree = shared->tree;
	const struct udf_volume_info *info = tree->check->info;
	size_t i = 0;
	int ret = 0;

	ret = claim_run(shared, "(file set)", info->file_set,
			file_set_end - info->file_set);
	if (ret == 0) {
		ret = claim_run(shared, "(space bitmap)",
				info->space_bitmap_block,
				info->space_bitmap_bytes / info->block_size +
					(info->space_bitmap_bytes %
						 info->block_size !=
					 0));
	}
	if (ret == 0) {
		ret = udf_volume_metadata_runs(tree->check->volume, claim_run,
					       shared);
	}
	for (i = 0; i < tree->count && ret == 0; i++) {
		ret = claim_node(shared, i);
	}
	return ret;
}

static int compare_ranks(const void *a, const void *b)
{
	const struct claim *one = a;
	const struct claim *other = b;

	if (one->rank != other->rank) {
		return one->rank < other->rank ? -1 : 1;
	}
	if (one->index != other->index) {
		return one->index < other->index ? -1 : 1;
	}
	if (one->block != other->block) {
		return one->block < other->block ? -1 : 1;
	}
	return one->lbn < other->lbn ? -1 : one->lbn > other->lbn;
}

static int compare_lbns(const void *a, const void *b)
{
	const struct claim *one = a;
	const struct claim *other = b;

	return one->lbn < other->lbn ? -1 : one->lbn > other->lbn;
}

static void sort_claims(struct claims *claims,
			int (*compare)(const void *a, const void *b))
{
	if (claims->count > 0) {
		qsort(claims->list, claims->count, sizeof(*claims->list),
		      compare);
	}
}

/* The claim that keeps a block; NULL: not known. */
static const struct claim *find_keeper(const struct claims *kept, uint32_t lbn)
{
	size_t low = 0;
	size_t high = kept->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct claim *claim = &kept->list[middle];

		if (lbn < claim->lbn) {
			high = middle;
		} else if (lbn - claim->lbn >= claim->count) {
			low = middle + 1;
		} else {
			return claim;
		}
	}
	return NULL;
}

static int add_conflict(struct shared *shared, const struct conflict *conflict)
{
	struct conflict *list = NULL;

	if (shared->conflict_count == CLAIMS_MAX) {
		return 0;
	}
	list = udf_array_grow(shared->conflicts, shared->conflict_count,
			      &shared->conflict_capacity, sizeof(*list));
	if (list == NULL) {
		return -ENOMEM;
	}
	shared->conflicts = list;
	shared->conflicts[shared->conflict_count] = *conflict;
	shared->conflict_count++;
	return 0;
}

/*
 * Each block to the first that claims it. The bits of those that are given
 * away are cleared: what comes to them later is in conflict.
 */
static int give_blocks(struct shared *shared)
{
	uint8_t *bits = shared->tree->check->shared;
	size_t i = 0;
	int ret = 0;

	for (i = 0; i < shared->claims.count && ret == 0; i++) {
		const struct claim *claim = &shared->claims.list[i];
		uint32_t done = 0;

		while (done < claim->count && ret == 0) {
			uint32_t lbn = claim->lbn + done;
			uint32_t length = run_length(bits, lbn,
						     claim->count - done);
			const struct conflict conflict = {
				.claim = claim,
				.lbn = lbn,
				.count = length,
			};
			struct claim part = *claim;

			part.lbn = lbn;
			part.count = length;
			if (!udf_check_bit(bits, lbn)) {
				ret = add_conflict(shared, &conflict);
			} else {
				ret = add_claim(&shared->kept, &part);
			}
			for (uint32_t j = 0; j < length; j++) {
				bits[(lbn + j) / 8] &=
					(uint8_t)~(1u << ((lbn + j) % 8));
			}
			done += length;
		}
	}
	return ret;
}

/* Who keeps the blocks of each conflict, which is split where that changes. */
static int find_keepers(struct shared *shared)
{
	size_t i = 0;
	int ret = 0;

	sort_claims(&shared->kept, compare_lbns);
	for (i = 0; i < shared->conflict_count && ret == 0; i++) {
		struct conflict *conflict = &shared->conflicts[i];
		struct conflict rest = *conflict;
		const struct claim *keeper =
			find_keeper(&shared->kept, conflict->lbn);
		uint32_t length = 0;

		conflict->keeper = keeper;
		if (keeper == NULL) {
			continue;
		}
		length = keeper->count - (conflict->lbn - keeper->lbn);
		if (length < conflict->count) {
			conflict->count = length;
			rest.lbn += length;
			rest.count -= length;
			ret = add_conflict(shared, &rest);
		}
	}
	return ret;
}

static int compare_conflicts(const void *a, const void *b)
{
	const struct conflict *one = a;
	const struct conflict *other = b;

	if (one->claim->index != other->claim->index) {
		return one->claim->index < other->claim->index ? -1 : 1;
	}
	if (one->keeper->index != other->keeper->index) {
		return one->keeper->index < other->keeper->index ? -1 : 1;
	}
	return one->lbn < other->lbn ? -1 : one->lbn > other->lbn;
}

/* Is the ICB of a node in blocks that another file has as well? */
static bool has_shared_icb(const struct shared *shared, size_t index)
{
	const struct claim key = {
		.rank = RANK_ICB,
		.index = index,
		.lbn = shared->tree->nodes[index].lbn,
	};

	return bsearch(&key, shared->claims.list, shared->claims.count,
		       sizeof(key), compare_ranks) != NULL;
}

static bool can_move(const struct conflict *conflict)
{
	return conflict->claim->rank >= RANK_AED;
}

static const char *claim_path(struct tree *tree, const struct claim *claim)
{
	return claim->index == NO_NODE ? claim->name
				       : tree_path(tree, claim->index);
}

/* What a node and one other have both: the conflicts from first to end. */
static int report_pair(struct shared *shared, size_t first, size_t end)
{
	struct tree *tree = shared->tree;
	const struct conflict *conflict = &shared->conflicts[first];
	const struct claim *claim = conflict->claim;
	char *other = strdup(claim_path(tree, conflict->keeper));
	uint64_t blocks = 0;
	bool fixed = true;
	size_t i = 0;

	if (other == NULL) {
		return -ENOMEM;
	}
	for (i = first; i < end; i++) {
		const struct claim *mover = shared->conflicts[i].claim;

		blocks += shared->conflicts[i].count;
		/* One that is cut is looked at again after that. */
		fixed &= can_move(&shared->conflicts[i]) ||
			 (mover->index != NO_NODE &&
			  tree->nodes[mover->index].cut_at != UINT64_MAX);
	}
	udf_check_found(tree->check, UDF_FINDING_SHARED_BLOCK,
			UDF_FINDING_ERROR, claim_path(tree, claim),
			conflict->lbn,
			"%llu of its blocks, from %u on, are used by %s as "
			"well",
			(unsigned long long)blocks, conflict->lbn, other);
	if (fixed) {
		udf_check_fixed(tree->check);
	}
	free(other);
	return 0;
}

/* The step for all that a node gets: the conflicts from first to end. */
static int plan_node(struct shared *shared, size_t first, size_t end)
{
	struct tree *tree = shared->tree;
	size_t index = shared->conflicts[first].claim->index;
	struct udf_repair_step step = { .action = UDF_REPAIR_COPY };
	struct udf_repair_run *runs = NULL;
	uint64_t blocks = 0;
	bool any = false;
	size_t i = 0;

	runs = calloc(end - first, sizeof(*runs));
	if (runs == NULL) {
		return -ENOMEM;
	}
	for (i = first; i < end; i++) {
		const struct conflict *conflict = &shared->conflicts[i];
		const struct claim *claim = conflict->claim;

		if (!can_move(conflict)) {
			continue;
		}
		any = true;
		if (claim->rank == RANK_AED) {
			/* AEDs are new whenever they are written. */
			continue;
		}
		runs[step.count] = (struct udf_repair_run){
			.block = claim->block + (conflict->lbn - claim->lbn),
			.count = conflict->count,
		};
		blocks += conflict->count;
		step.count++;
	}
	if (any) {
		step.lbn = tree->nodes[index].lbn;
		step.bytes = runs;
		udf_check_fix(tree->check, &step, step.count * sizeof(*runs),
			      tree_path(tree, index),
			      "it gets a copy of its own of %llu blocks that "
			      "others have too: look at all of them, since "
			      "one may have what another wrote",
			      (unsigned long long)blocks);
	}
	free(runs);
	return 0;
}

/* The first conflict behind those of the same node, and of the same keeper. */
static size_t end_of(const struct shared *shared, size_t first,
		     bool same_keeper)
{
	const struct conflict *conflict = &shared->conflicts[first];
	size_t end = first + 1;

	while (end < shared->conflict_count) {
		const struct conflict *other = &shared->conflicts[end];

		if (other->claim->index != conflict->claim->index ||
		    (same_keeper &&
		     other->keeper->index != conflict->keeper->index)) {
			break;
		}
		end++;
	}
	return end;
}

/*
 * Steps for the nodes whose ICB is theirs alone, or for the others. An ICB is
 * written where it is, so what else has its block gets its copy before.
 */
static int plan_nodes(struct shared *shared, bool with_shared_icb, bool *any)
{
	size_t i = 0;
	int ret = 0;

	while (i < shared->conflict_count && ret == 0) {
		size_t index = shared->conflicts[i].claim->index;
		size_t end = end_of(shared, i, false);

		if (index != NO_NODE &&
		    has_shared_icb(shared, index) == with_shared_icb) {
			*any = true;
			ret = plan_node(shared, i, end);
		}
		i = end;
	}
	return ret;
}

static int report_all(struct shared *shared)
{
	bool any = false;
	size_t i = 0;
	int ret = 0;

	while (i < shared->conflict_count && ret == 0) {
		size_t end = end_of(shared, i, true);

		ret = report_pair(shared, i, end);
		i = end;
	}
	if (ret == 0) {
		ret = plan_nodes(shared, false, &any);
	}
	if (ret == 0 && !any) {
		ret = plan_nodes(shared, true, &any);
	}
	return ret;
}

/* Conflicts of which nobody is known that keeps the blocks: too many claims. */
static void drop_unknown(struct shared *shared)
{
	size_t count = 0;
	size_t i = 0;

	for (i = 0; i < shared->conflict_count; i++) {
		if (shared->conflicts[i].keeper != NULL) {
			shared->conflicts[count] = shared->conflicts[i];
			count++;
		}
	}
	shared->conflict_count = count;
}

int tree_shared(struct tree *tree, uint32_t file_set_end)
{
	struct shared shared = { .tree = tree };
	int ret = 0;

	if (tree->check->shared == NULL) {
		return 0;
	}
	ret = claim_all(&shared, file_set_end);
	if (ret == 0) {
		sort_claims(&shared.claims, compare_ranks);
		ret = give_blocks(&shared);
	}
	if (ret == 0) {
		ret = find_keepers(&shared);
	}
	drop_unknown(&shared);
	if (ret == 0 && shared.conflict_count > 0) {
		qsort(shared.conflicts, shared.conflict_count,
		      sizeof(*shared.conflicts), compare_conflicts);
		ret = report_all(&shared);
	}
	free(shared.claims.list);
	free(shared.kept.list);
	free(shared.conflicts);
	return ret;
}
