/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * udfctl map: a picture of the medium. The partition and the spare packets are
 * divided into cells; a cell shows the worst of its blocks.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "udfctl.h"
#include "udfctl_answer.h"
#include "udfctl_volume.h"

#define COLUMNS 64u
#define ROWS 16u
#define CELLS (COLUMNS * ROWS)
#define STEP_BLOCKS 8192u
/* Pixels of a cell in the SVG. */
#define CELL_PIXELS 10u

/* Of the partition's blocks as enum udf_block_state, and of spare packets. */
enum look {
	LOOK_FREE = UDF_BLOCK_FREE,
	LOOK_USED = UDF_BLOCK_USED,
	LOOK_RELOCATED = UDF_BLOCK_RELOCATED,
	LOOK_DEFECTIVE = UDF_BLOCK_DEFECTIVE,
	LOOKS,
};

static const struct {
	const char *name;
	char letter;
	const char *terminal; /* escape sequence */
	const char *svg;
} looks[LOOKS] = {
	[LOOK_FREE] = {"free", '.', "\033[90m", "#e8e8e8"},
	[LOOK_USED] = {"used", 'o', "\033[34m", "#4878b0"},
	[LOOK_RELOCATED] = {"relocated", 'R', "\033[33m", "#e0a030"},
	[LOOK_DEFECTIVE] = {"defective", 'X', "\033[31m", "#c03030"},
};

struct map {
	struct udfctl_volume *volume;
	const struct udfctl_geometry *geometry;
	uint32_t blocks_per_cell;
	uint32_t cells;
	uint8_t cell[CELLS]; /* enum look */
	uint64_t counts[LOOKS];
	struct udf_sparing_entry *entries;
	uint32_t spares;
	uint64_t spare_counts[LOOKS];
};

static enum look look_of_spare(const struct udf_sparing_entry *entry)
{
	if (entry->original == UDF_SPARE_FREE) {
		return LOOK_FREE;
	}
	if (entry->original == UDF_SPARE_DEFECTIVE) {
		return LOOK_DEFECTIVE;
	}
	return LOOK_RELOCATED;
}

static int gather(struct map *map)
{
	uint8_t states[STEP_BLOCKS];
	uint32_t blocks = map->geometry->blocks;
	uint32_t done = 0;
	uint32_t i = 0;
	int ret = 0;

	map->blocks_per_cell = (blocks + CELLS - 1) / CELLS;
	map->cells = (blocks + map->blocks_per_cell - 1) /
		     map->blocks_per_cell;
	while (done < blocks && ret == 0 && !udfctl_interrupted()) {
		uint32_t count = blocks - done;

		if (count > STEP_BLOCKS) {
			count = STEP_BLOCKS;
		}
		ret = udfctl_volume_map(map->volume, done, count, states);
		for (i = 0; i < count && ret == 0; i++) {
			uint8_t *cell = NULL;

			cell = &map->cell[(done + i) / map->blocks_per_cell];
			if (states[i] >= LOOKS) {
				continue;
			}
			map->counts[states[i]]++;
			if (states[i] > *cell) {
				*cell = states[i];
			}
		}
		done += count;
	}
	if (ret == 0) {
		ret = udfctl_volume_entries(map->volume, &map->entries,
					    &map->spares);
	}
	for (i = 0; i < map->spares && ret == 0; i++) {
		map->spare_counts[look_of_spare(&map->entries[i])]++;
	}
	return ret;
}

/* The worst spare of a cell, when spares are drawn in so many cells. */
static enum look spare_cell(const struct map *map, uint32_t cell,
			    uint32_t cells)
{
	uint64_t first = (uint64_t)cell * map->spares / cells;
	uint64_t end = ((uint64_t)cell + 1) * map->spares / cells;
	enum look worst = LOOK_FREE;

	for (; first < end; first++) {
		enum look look = look_of_spare(&map->entries[first]);

		if (look > worst) {
			worst = look;
		}
	}
	return worst;
}

static uint32_t spare_cells(const struct map *map)
{
	return map->spares < COLUMNS ? map->spares : COLUMNS;
}

static void put_cell(enum look look, bool color)
{
	if (color) {
		printf("%s%c\033[0m", looks[look].terminal, looks[look].letter);
	} else {
		putchar(looks[look].letter);
	}
}

static void print_text(const struct map *map)
{
	bool color = isatty(STDOUT_FILENO) != 0;
	uint32_t i = 0;

	printf("%s: %u blocks of %u bytes, %u in a cell\n",
	       map->geometry->label, map->geometry->blocks,
	       map->geometry->block_size, map->blocks_per_cell);
	for (i = 0; i < map->cells; i++) {
		put_cell(map->cell[i], color);
		if ((i + 1) % COLUMNS == 0 || i + 1 == map->cells) {
			putchar('\n');
		}
	}
	if (map->spares > 0) {
		printf("spares: %u packets of %u blocks\n", map->spares,
		       map->geometry->packet_blocks);
		for (i = 0; i < spare_cells(map); i++) {
			put_cell(spare_cell(map, i, spare_cells(map)), color);
		}
		putchar('\n');
	}
	for (i = 0; i < LOOKS; i++) {
		put_cell((enum look)i, color);
		printf(" %-10s %12" PRIu64 " blocks", looks[i].name,
		       map->counts[i]);
		if (map->spares > 0 && i != LOOK_USED) {
			printf(", %" PRIu64 " spares", map->spare_counts[i]);
		}
		putchar('\n');
	}
}

static void print_json(const struct map *map)
{
	uint32_t i = 0;

	printf("{\n");
	udfctl_json_string("label", map->geometry->label);
	udfctl_json_bool("mounted", map->geometry->mounted);
	udfctl_json_number("block_size", map->geometry->block_size);
	udfctl_json_number("blocks", map->geometry->blocks);
	udfctl_json_number("blocks_per_cell", map->blocks_per_cell);
	printf("  \"cells\": \"");
	for (i = 0; i < map->cells; i++) {
		putchar(looks[map->cell[i]].letter);
	}
	printf("\",\n  \"spares\": \"");
	for (i = 0; i < map->spares; i++) {
		putchar(looks[look_of_spare(&map->entries[i])].letter);
	}
	printf("\",\n");
	for (i = 0; i < LOOKS; i++) {
		printf("  \"%s\": %" PRIu64 "%s\n", looks[i].name,
		       map->counts[i], i + 1 < LOOKS ? "," : "");
	}
	printf("}\n");
}

static void put_rect(FILE *f, uint32_t column, uint32_t row, enum look look)
{
	fprintf(f, "<rect x=\"%u\" y=\"%u\" width=\"%u\" height=\"%u\" "
		   "fill=\"%s\"><title>%s</title></rect>\n",
		column * CELL_PIXELS, row * CELL_PIXELS, CELL_PIXELS - 1,
		CELL_PIXELS - 1, looks[look].svg, looks[look].name);
}

/* The picture; a legend and the spares below it. 0 or a negative errno. */
static int write_svg(const struct map *map, const char *path)
{
	uint32_t rows = (map->cells + COLUMNS - 1) / COLUMNS;
	uint32_t row = rows + 2;
	uint32_t i = 0;
	FILE *f = fopen(path, "w");
	int ret = 0;

	if (f == NULL) {
		return -errno;
	}
	fprintf(f, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" "
		   "height=\"%u\" font-family=\"sans-serif\" "
		   "font-size=\"%u\">\n"
		   "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
		COLUMNS * CELL_PIXELS, (row + 5) * CELL_PIXELS, CELL_PIXELS);
	for (i = 0; i < map->cells; i++) {
		put_rect(f, i % COLUMNS, i / COLUMNS, map->cell[i]);
	}
	if (map->spares > 0) {
		fprintf(f, "<text x=\"0\" y=\"%u\">spare packets: %u</text>\n",
			(rows + 2) * CELL_PIXELS - 2, map->spares);
		for (i = 0; i < spare_cells(map); i++) {
			put_rect(f, i, row,
				 spare_cell(map, i, spare_cells(map)));
		}
	}
	row += 2;
	for (i = 0; i < LOOKS; i++) {
		put_rect(f, i * COLUMNS / LOOKS, row, (enum look)i);
		fprintf(f, "<text x=\"%u\" y=\"%u\">%s: %" PRIu64
			   " blocks</text>\n",
			(i * COLUMNS / LOOKS + 1) * CELL_PIXELS + 2,
			(row + 1) * CELL_PIXELS - 1, looks[i].name,
			map->counts[i]);
	}
	fprintf(f, "</svg>\n");
	if (ferror(f)) {
		ret = -EIO;
	}
	if (fclose(f) != 0) {
		ret = -errno;
	}
	return ret;
}

static void usage(FILE *f)
{
	fprintf(f, "usage: udfctl map PATH [--json] [--svg FILE]\n"
		   "\n"
		   "Shows the partition's blocks, and the spare packets: free, "
		   "used, relocated,\n"
		   "defective. A cell shows the worst of its blocks.\n"
		   "\n"
		   "  --svg FILE  write a picture there\n"
		   "  --json      print JSON\n");
}

int udfctl_map(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{"svg", required_argument, NULL, 's'},
		{NULL, 0, NULL, 0},
	};
	struct map map = {.cells = 0};
	const char *svg = NULL;
	bool json = false;
	int ret = 0;
	int c = 0;

	optind = 0;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'j':
			json = true;
			break;
		case 's':
			svg = optarg;
			break;
		case 'h':
			usage(stdout);
			return 0;
		default:
			fprintf(stderr, "Try udfctl map --help.\n");
			return 2;
		}
	}
	if (argc - optind != 1) {
		fprintf(stderr, "udfctl: map takes one PATH\n");
		return 2;
	}
	ret = udfctl_volume_open(argv[optind], false, &map.volume);
	if (ret != 0) {
		return udfctl_exit_status(ret);
	}
	map.geometry = udfctl_volume_geometry(map.volume);
	udfctl_catch_interrupt();
	ret = gather(&map);
	if (udfctl_interrupted()) {
		ret = -EINTR;
	}
	if (ret == 0 && svg != NULL) {
		ret = write_svg(&map, svg);
	}
	if (ret != 0) {
		fprintf(stderr, "udfctl: %s: %s\n",
			svg != NULL ? svg : argv[optind], strerror(-ret));
	} else if (json) {
		print_json(&map);
	} else if (svg == NULL) {
		print_text(&map);
	}
	free(map.entries);
	(void)udfctl_volume_close(map.volume);
	return ret == 0 ? 0 : 1;
}
