/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The sparing table: look-up, choice of copies, refusals, and that a
 * relocation survives a cut at any write.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "fake_blockdev.h"
#include "udf_store/sparing.h"

/*
 * The volume: 1024 blocks of 2048 bytes; partition from 256 to 895; packets
 * of 16 blocks; spares from 128 on; tables at 100 and 1000.
 */
#define BLOCK 2048u
#define PACKET 16u
#define VOLUME_BLOCKS 1024u
#define PARTITION_START 256u
#define PARTITION_BLOCKS 640u
#define SPARES_START 128u
#define SPARES 4u
#define TABLE_1 100u
#define TABLE_2 1000u

struct rig {
	struct fake_blockdev *fake;
	struct udf_sparing *sparing;
	struct udf_log log;
	char last_line[512];
	unsigned int lines;
};

static const struct udf_sparing_geometry geometry = {
	.block_size = BLOCK,
	.volume_blocks = VOLUME_BLOCKS,
	.partition_start = PARTITION_START,
	.partition_blocks = PARTITION_BLOCKS,
	.tag_version = 3,
};

static const struct udf_partition_map map = {
	.kind = UDF_MAP_SPARABLE,
	.packet_length = PACKET,
	.tables = 2,
	.table_size = 2048,
	.table_locations = {TABLE_1, TABLE_2},
};

static void keep_line(void *private_data, enum udf_log_level level,
		      const char *line)
{
	struct rig *rig = private_data;

	(void)level;
	snprintf(rig->last_line, sizeof(rig->last_line), "%s", line);
	rig->lines++;
}

static void put_table(struct rig *rig, uint32_t location, uint32_t sequence,
		      const struct udf_sparing_entry *entries, uint16_t count)
{
	struct udf_sparing_header header = {
		.tag.version = 3,
		.tag.location = location,
		.count = count,
		.sequence = sequence,
	};
	uint8_t block[BLOCK];

	assert_true(encode_sparing_table(&header, entries, block, BLOCK) > 0);
	fake_blockdev_put(rig->fake, (uint64_t)location * BLOCK, block, BLOCK);
}

static void put_free_table(struct rig *rig, uint32_t location,
			   uint32_t sequence)
{
	struct udf_sparing_entry entries[SPARES];
	uint32_t i = 0;

	for (i = 0; i < SPARES; i++) {
		entries[i].original = UDF_SPARE_FREE;
		entries[i].mapped = SPARES_START + i * PACKET;
	}
	put_table(rig, location, sequence, entries, SPARES);
}

static int load(struct rig *rig, bool repair)
{
	udf_sparing_free(rig->sparing);
	rig->sparing = NULL;
	return udf_sparing_load(&rig->fake->dev, &rig->log, &geometry, &map,
				repair, &rig->sparing);
}

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	rig->fake = fake_blockdev_new(VOLUME_BLOCKS * BLOCK);
	rig->log.fn = keep_line;
	rig->log.private_data = rig;
	put_free_table(rig, TABLE_1, 7);
	put_free_table(rig, TABLE_2, 7);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	udf_sparing_free(rig->sparing);
	fake_blockdev_free(rig->fake);
	free(rig);
	return 0;
}

static uint32_t where(struct rig *rig, uint32_t lbn)
{
	uint32_t run = 0;

	return udf_sparing_map(rig->sparing, lbn, 1, &run);
}

static void test_map_and_runs(void **state)
{
	struct rig *rig = *state;
	const struct udf_sparing_entry entries[SPARES] = {
		{32, SPARES_START + 16},
		{64, SPARES_START},
		{UDF_SPARE_DEFECTIVE, SPARES_START + 32},
		{UDF_SPARE_FREE, SPARES_START + 48},
	};
	uint32_t run = 0;

	put_table(rig, TABLE_1, 9, entries, SPARES);
	assert_int_equal(load(rig, false), 0);

	/* Before the first relocated packet: up to it in one run. */
	assert_int_equal(udf_sparing_map(rig->sparing, 0, 500, &run),
			 PARTITION_START);
	assert_int_equal(run, 32);
	/* Within it: up to its end, at its spare. */
	assert_int_equal(udf_sparing_map(rig->sparing, 35, 500, &run),
			 SPARES_START + 16 + 3);
	assert_int_equal(run, 13);
	/* Between two, and from the middle of a packet. */
	assert_int_equal(udf_sparing_map(rig->sparing, 50, 500, &run),
			 PARTITION_START + 50);
	assert_int_equal(run, 14);
	assert_int_equal(udf_sparing_map(rig->sparing, 64, 2, &run),
			 SPARES_START);
	assert_int_equal(run, 2);
	/* Behind the last: all that was asked for. */
	assert_int_equal(udf_sparing_map(rig->sparing, 80, 500, &run),
			 PARTITION_START + 80);
	assert_int_equal(run, 500);
}

static void test_unsorted_is_sorted(void **state)
{
	struct rig *rig = *state;
	const struct udf_sparing_entry entries[SPARES] = {
		{UDF_SPARE_FREE, SPARES_START + 48},
		{64, SPARES_START},
		{UDF_SPARE_FREE, SPARES_START + 32},
		{16, SPARES_START + 16},
	};
	const struct udf_sparing_entry *sorted = NULL;
	uint32_t count = 0;

	put_table(rig, TABLE_1, 9, entries, SPARES);
	assert_int_equal(load(rig, false), 0);
	sorted = udf_sparing_entries(rig->sparing, &count);
	assert_int_equal(count, SPARES);
	assert_int_equal(sorted[0].original, 16);
	assert_int_equal(sorted[1].original, 64);
	assert_int_equal(sorted[2].mapped, SPARES_START + 32);
	assert_int_equal(sorted[3].mapped, SPARES_START + 48);
	assert_int_equal(where(rig, 17), SPARES_START + 17);
}

static void test_highest_sequence_wins(void **state)
{
	struct rig *rig = *state;
	const struct udf_sparing_entry newer[2] = {
		{16, SPARES_START},
		{UDF_SPARE_FREE, SPARES_START + 16},
	};
	struct udf_sparing_counts counts = {0};

	put_table(rig, TABLE_2, 8, newer, 2);
	assert_int_equal(load(rig, false), 0);
	udf_sparing_count(rig->sparing, &counts);
	assert_int_equal(counts.sequence, 8);
	assert_int_equal(counts.relocated, 1);
	assert_int_equal(counts.free, 1);
	assert_int_equal(counts.total, 2);
	assert_int_equal(rig->fake->records, 0);

	/* Of two with one number, the one that knows more (kernel driver). */
	put_table(rig, TABLE_2, 7, newer, 2);
	assert_int_equal(load(rig, false), 0);
	assert_int_equal(where(rig, 16), SPARES_START);
}

static void test_repair(void **state)
{
	struct rig *rig = *state;
	const struct udf_sparing_entry newer[2] = {
		{16, SPARES_START},
		{UDF_SPARE_FREE, SPARES_START + 16},
	};
	struct udf_sparing_header header = {0};
	uint8_t *copy = rig->fake->medium + (size_t)TABLE_1 * BLOCK;

	put_table(rig, TABLE_2, 8, newer, 2);
	assert_int_equal(load(rig, true), 0);
	assert_int_equal(decode_sparing_table(copy, BLOCK, TABLE_1, &header),
			 0);
	assert_int_equal(header.sequence, 8);
	assert_int_equal(header.count, 2);
	assert_non_null(strstr(rig->last_line, "repaired"));

	/* A damaged copy likewise, and the good one is not touched. */
	copy[60] ^= 1;
	rig->fake->records = 0;
	assert_int_equal(load(rig, true), 0);
	assert_int_equal(decode_sparing_table(copy, BLOCK, TABLE_1, &header),
			 0);
	assert_int_equal(rig->fake->records, 2);
	assert_int_equal(rig->fake->record[0].offset, TABLE_1 * BLOCK);

	/* Two that agree: no write at all. */
	rig->fake->records = 0;
	assert_int_equal(load(rig, true), 0);
	assert_int_equal(rig->fake->records, 0);
}

static void test_refusals(void **state)
{
	struct rig *rig = *state;
	static const struct {
		const char *why;
		struct udf_sparing_entry entries[2];
	} cases[] = {
		{"an original twice", {{16, 128}, {16, 144}}},
		{"starts no packet", {{17, 128}, {UDF_SPARE_FREE, 144}}},
		{"outside the partition", {{640, 128}, {UDF_SPARE_FREE, 144}}},
		{"outside the partition",
		 {{0xFFFFFFF1, 128}, {UDF_SPARE_FREE, 144}}},
		{"outside the volume", {{16, 1009}, {UDF_SPARE_FREE, 144}}},
		{"outside the volume",
		 {{16, 0xFFFFFFF8}, {UDF_SPARE_FREE, 144}}},
		{"within a sparing table", {{16, 90}, {UDF_SPARE_FREE, 144}}},
		{"within a sparing table",
		 {{UDF_SPARE_FREE, 1000}, {UDF_SPARE_FREE, 144}}},
		{"shared by two", {{16, 128}, {32, 128}}},
		{"shared by two",
		 {{UDF_SPARE_FREE, 128}, {UDF_SPARE_FREE, 143}}},
	};
	size_t i = 0;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		put_table(rig, TABLE_1, 99, cases[i].entries, 2);
		assert_int_equal(load(rig, false), 0);
		assert_non_null(strstr(rig->last_line, cases[i].why));
		/* The other copy is taken, although it is older. */
		assert_int_equal(where(rig, 16), PARTITION_START + 16);
	}
}

static void test_no_valid_copy(void **state)
{
	struct rig *rig = *state;

	fake_blockdev_fault(rig->fake, FAKE_READ_ERROR, TABLE_1 * 4, 4);
	rig->fake->medium[TABLE_2 * BLOCK + 56] ^= 1;
	assert_int_equal(load(rig, true), -EUCLEAN);
	assert_null(rig->sparing);
	assert_int_equal(rig->fake->records, 0);
}

static void test_senseless_maps(void **state)
{
	struct rig *rig = *state;
	struct udf_partition_map bad = map;

	bad.packet_length = 0;
	assert_int_equal(udf_sparing_load(&rig->fake->dev, &rig->log,
					  &geometry, &bad, true,
					  &rig->sparing),
			 -EUCLEAN);
	bad = map;
	bad.tables = 5;
	assert_int_equal(udf_sparing_load(&rig->fake->dev, &rig->log,
					  &geometry, &bad, true,
					  &rig->sparing),
			 -EUCLEAN);
	bad = map;
	bad.table_locations[0] = 0xFFFFFFFF;
	bad.table_locations[1] = VOLUME_BLOCKS;
	assert_int_equal(udf_sparing_load(&rig->fake->dev, &rig->log,
					  &geometry, &bad, true,
					  &rig->sparing),
			 -EUCLEAN);
}

/* Copies that lie over the partition or over each other: writing one would
 * destroy the rest. */
static void test_no_room(void **state)
{
	struct rig *rig = *state;
	struct udf_partition_map bad = map;

	bad.tables = 2;
	bad.table_locations[1] = TABLE_1;
	assert_int_equal(udf_sparing_load(&rig->fake->dev, &rig->log,
					  &geometry, &bad, true,
					  &rig->sparing),
			 -EUCLEAN);
	bad.table_locations[1] = PARTITION_START + PACKET;
	assert_int_equal(udf_sparing_load(&rig->fake->dev, &rig->log,
					  &geometry, &bad, true,
					  &rig->sparing),
			 -EUCLEAN);
	assert_int_equal(rig->fake->records, 0);
}

static void fill_packet(uint8_t *data, uint8_t seed)
{
	size_t i = 0;

	for (i = 0; i < PACKET * BLOCK; i++) {
		data[i] = (uint8_t)(seed + i * 7 + i / BLOCK);
	}
}

static void assert_record(const struct rig *rig, size_t i,
			  enum fake_record_kind kind, uint32_t block)
{
	assert_true(i < rig->fake->records);
	assert_int_equal(rig->fake->record[i].kind, kind);
	if (kind == FAKE_WRITE) {
		assert_int_equal(rig->fake->record[i].offset,
				 (uint64_t)block * BLOCK);
	}
}

static void test_order(void **state)
{
	struct rig *rig = *state;
	struct udf_sparing_counts counts = {0};
	uint8_t data[PACKET * BLOCK];
	uint32_t spare = 0;

	fill_packet(data, 1);
	assert_int_equal(load(rig, true), 0);
	assert_int_equal(udf_sparing_relocate(rig->sparing, 48, data,
					      sizeof(data), &spare),
			 0);
	assert_int_equal(udf_sparing_commit(rig->sparing), 0);
	assert_int_equal(spare, SPARES_START);

	assert_int_equal(rig->fake->records, 6);
	assert_record(rig, 0, FAKE_WRITE, SPARES_START);
	assert_record(rig, 1, FAKE_FLUSH, 0);
	assert_record(rig, 2, FAKE_WRITE, TABLE_1);
	assert_record(rig, 3, FAKE_FLUSH, 0);
	assert_record(rig, 4, FAKE_WRITE, TABLE_2);
	assert_record(rig, 5, FAKE_FLUSH, 0);

	assert_int_equal(load(rig, false), 0);
	udf_sparing_count(rig->sparing, &counts);
	assert_int_equal(counts.sequence, 8);
	assert_int_equal(counts.relocated, 1);
	assert_int_equal(where(rig, 48), SPARES_START);
	assert_memory_equal(rig->fake->medium + SPARES_START * BLOCK, data,
			    sizeof(data));

	/* Nothing changed: nothing is written. */
	rig->fake->records = 0;
	assert_int_equal(udf_sparing_commit(rig->sparing), 0);
	assert_int_equal(rig->fake->records, 0);
}

/*
 * Relocate one packet after another (the second twice, as when its spare goes
 * bad) on a device that dies at write number cut. Returns how many
 * relocations were acknowledged.
 */
static unsigned int relocate_until_dead(struct rig *rig)
{
	static const uint32_t originals[3] = {48, 16, 16};
	uint8_t data[PACKET * BLOCK];
	uint32_t spare = 0;
	unsigned int i = 0;

	for (i = 0; i < 3; i++) {
		fill_packet(data, (uint8_t)i);
		if (udf_sparing_relocate(rig->sparing, originals[i], data,
					 sizeof(data), &spare) != 0 ||
		    udf_sparing_commit(rig->sparing) != 0) {
			break;
		}
	}
	return i;
}

static void check_packet(struct rig *rig, uint32_t original, uint8_t seed)
{
	uint8_t data[PACKET * BLOCK];
	uint32_t block = where(rig, original);

	fill_packet(data, seed);
	assert_memory_equal(rig->fake->medium + (size_t)block * BLOCK, data,
			    sizeof(data));
}

static void check_after_cut(struct rig *rig, unsigned int done)
{
	/* Where the packets are when nothing was relocated. */
	const uint32_t home_48 = PARTITION_START + 48;
	const uint32_t home_16 = PARTITION_START + 16;

	fake_blockdev_restart(rig->fake);
	assert_int_equal(load(rig, true), 0);
	/* What was acknowledged is there; what was not is old or new. */
	if (done >= 1 || where(rig, 48) != home_48) {
		check_packet(rig, 48, 0);
	}
	if (done >= 3) {
		check_packet(rig, 16, 2);
	} else if (done == 2 || where(rig, 16) != home_16) {
		uint8_t first[PACKET * BLOCK];
		uint32_t block = where(rig, 16);

		fill_packet(first, 1);
		if (memcmp(rig->fake->medium + (size_t)block * BLOCK, first,
			   sizeof(first)) != 0) {
			check_packet(rig, 16, 2);
		}
	}
	/* The copies agree after the load repaired them. */
	rig->fake->records = 0;
	assert_int_equal(load(rig, true), 0);
	assert_int_equal(rig->fake->records, 0);
}

static void cut_everywhere(void **state, bool write_through, bool tears)
{
	struct rig *rig = *state;
	unsigned int done = 0;
	size_t cut = 0;

	/* Three relocations make nine writes. */
	for (cut = 0; cut <= 9; cut++) {
		(void)teardown(state);
		(void)setup(state);
		rig = *state;
		assert_int_equal(load(rig, true), 0);
		rig->fake->write_through = write_through;
		rig->fake->mortal = true;
		rig->fake->writes_left = cut;
		rig->fake->tears = tears;
		done = relocate_until_dead(rig);
		/* One copy of the table is enough, even one whose write
		 * failed, when it is found on the medium. */
		assert_true(cut < 9 || done == 3);
		assert_true(cut >= 7 || done < 3);
		check_after_cut(rig, done);
	}
}

static void test_cut(void **state)
{
	cut_everywhere(state, false, false);
}

static void test_cut_written_back(void **state)
{
	cut_everywhere(state, true, false);
}

static void test_cut_torn(void **state)
{
	cut_everywhere(state, true, true);
}

static void test_bad_spare(void **state)
{
	static const enum fake_fault_kind kinds[] = {
		FAKE_WRITE_ERROR, FAKE_READ_ERROR, FAKE_SILENT_DROP,
		FAKE_SILENT_CORRUPT};
	struct rig *rig = *state;
	uint8_t data[PACKET * BLOCK];
	size_t i = 0;

	fill_packet(data, 3);
	for (i = 0; i < 4; i++) {
		struct udf_sparing_counts counts = {0};
		uint32_t spare = 0;

		(void)teardown(state);
		(void)setup(state);
		rig = *state;
		/* One sector within the first spare. */
		fake_blockdev_fault(rig->fake, kinds[i],
				    SPARES_START * 4 + 21, 1);
		assert_int_equal(load(rig, true), 0);
		assert_int_equal(udf_sparing_relocate(rig->sparing, 48, data,
						      sizeof(data), &spare),
				 0);
		assert_int_equal(spare, SPARES_START + PACKET);
		assert_int_equal(udf_sparing_commit(rig->sparing), 0);
		assert_int_equal(load(rig, false), 0);
		udf_sparing_count(rig->sparing, &counts);
		assert_int_equal(counts.defective, 1);
		assert_int_equal(counts.free, 2);
		check_packet(rig, 48, 3);
	}
}

static void test_spare_goes_bad(void **state)
{
	struct rig *rig = *state;
	struct udf_sparing_counts counts = {0};
	uint8_t data[PACKET * BLOCK];
	uint32_t spare = 0;

	fill_packet(data, 4);
	assert_int_equal(load(rig, true), 0);
	assert_int_equal(udf_sparing_relocate(rig->sparing, 48, data,
					      sizeof(data), &spare),
			 0);
	assert_int_equal(udf_sparing_relocate(rig->sparing, 48, data,
					      sizeof(data), &spare),
			 0);
	assert_int_equal(udf_sparing_commit(rig->sparing), 0);
	assert_int_equal(spare, SPARES_START + PACKET);
	assert_int_equal(load(rig, false), 0);
	udf_sparing_count(rig->sparing, &counts);
	assert_int_equal(counts.relocated, 1);
	assert_int_equal(counts.defective, 1);
	assert_int_equal(counts.free, 2);
}

static void test_exhausted(void **state)
{
	struct rig *rig = *state;
	uint8_t data[PACKET * BLOCK];
	uint32_t spare = 0;
	uint32_t i = 0;

	fill_packet(data, 5);
	assert_int_equal(load(rig, true), 0);
	for (i = 0; i < SPARES; i++) {
		assert_int_equal(udf_sparing_relocate(rig->sparing, i * PACKET,
						      data, sizeof(data),
						      &spare),
				 0);
	}
	assert_int_equal(udf_sparing_relocate(rig->sparing, 160, data,
					      sizeof(data), &spare),
			 -ENOSPC);
	/* The others are not disturbed. */
	assert_int_equal(where(rig, 160), PARTITION_START + 160);
	assert_int_equal(where(rig, 0), SPARES_START);
}

static void test_one_table_fails(void **state)
{
	struct rig *rig = *state;
	uint8_t data[PACKET * BLOCK];
	uint32_t spare = 0;

	fill_packet(data, 6);
	assert_int_equal(load(rig, true), 0);
	fake_blockdev_fault(rig->fake, FAKE_WRITE_ERROR, TABLE_1 * 4, 1);
	assert_int_equal(udf_sparing_relocate(rig->sparing, 48, data,
					      sizeof(data), &spare),
			 0);
	assert_int_equal(udf_sparing_commit(rig->sparing), 0);
	assert_non_null(strstr(rig->last_line, "sparing table 1"));
	assert_int_equal(load(rig, false), 0);
	check_packet(rig, 48, 6);
}

static void test_all_tables_fail(void **state)
{
	struct rig *rig = *state;
	struct udf_sparing_counts counts = {0};
	uint8_t data[PACKET * BLOCK];
	uint32_t spare = 0;

	fill_packet(data, 7);
	assert_int_equal(load(rig, true), 0);
	fake_blockdev_fault(rig->fake, FAKE_SILENT_DROP, TABLE_1 * 4, 4);
	fake_blockdev_fault(rig->fake, FAKE_READ_ERROR, TABLE_2 * 4, 4);
	assert_int_equal(udf_sparing_relocate(rig->sparing, 48, data,
					      sizeof(data), &spare),
			 0);
	assert_int_equal(udf_sparing_commit(rig->sparing), -EIO);
	assert_int_equal(udf_sparing_commit(rig->sparing), -EIO);
	/* The device recovers: the next commit makes up for it. */
	rig->fake->faults = 0;
	assert_int_equal(udf_sparing_commit(rig->sparing), 0);
	assert_int_equal(load(rig, false), 0);
	udf_sparing_count(rig->sparing, &counts);
	assert_int_equal(counts.sequence, 10);
	check_packet(rig, 48, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_map_and_runs, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_unsorted_is_sorted, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_highest_sequence_wins,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_repair, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_valid_copy, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_senseless_maps, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_no_room, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cut, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cut_written_back, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_cut_torn, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_spare, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_spare_goes_bad, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_exhausted, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_one_table_fails, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_all_tables_fail, setup,
						teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
