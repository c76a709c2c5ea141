/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * mutants SEED COUNT: inputs for fuzz_repair.c without libFuzzer, the same
 * for the same seed: a few changes each, in sectors that hold something. Most
 * hit what a volume is made of, since a small volume has little else.
 *
 * Prints how many were whole, were repaired, were refused in part, and could
 * not be checked at all.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broken.h"

#define CHANGES_MAX 6u
#define INPUT_MAX 512u

extern unsigned long fuzz_repair_counts[4];

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* xorshift64*; the C library's differ between machines. */
static uint64_t state;

static uint32_t random_below(uint32_t limit)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (uint32_t)((state * 0x2545F4914F6CDD1Du) >> 32) % limit;
}

static uint8_t random_byte(void)
{
	static const uint8_t likely[] = {0, 1, 0x7F, 0x80, 0xFF};

	if (random_below(2) == 0) {
		return likely[random_below(sizeof(likely))];
	}
	return (uint8_t)random_below(256);
}

static size_t make_change(uint8_t *input, const uint16_t *sectors,
			  size_t sector_count)
{
	uint16_t sector = sectors[random_below((uint32_t)sector_count)];
	/* Few fields of a descriptor are behind its first half. */
	uint16_t offset = (uint16_t)random_below(random_below(3) > 0 ? 256
								    : 512);
	uint8_t what = (uint8_t)random_below(4);
	uint8_t count = (uint8_t)random_below(random_below(2) ? 4 : 16);
	size_t length = 0;
	size_t i = 0;

	input[0] = (uint8_t)sector;
	input[1] = (uint8_t)(sector >> 8);
	input[2] = (uint8_t)offset;
	input[3] = (uint8_t)(offset >> 8);
	input[4] = what;
	input[5] = count;
	length = 6;
	for (i = 0; what != 3 && i <= count; i++) {
		input[length] = random_byte();
		length++;
	}
	return length;
}

int main(int argc, char **argv)
{
	unsigned long count = 0;
	unsigned long i = 0;

	if (argc != 3) {
		fprintf(stderr, "usage: mutants SEED COUNT\n");
		return 2;
	}
	state = strtoull(argv[1], NULL, 0) * 0x9E3779B97F4A7C15u + 1;
	count = strtoul(argv[2], NULL, 0);
	LLVMFuzzerInitialize(&argc, &argv);
	for (i = 0; i < count; i++) {
		uint8_t input[INPUT_MAX];
		uint32_t base = random_below((uint32_t)broken_bases());
		size_t sector_count = 0;
		const uint16_t *sectors =
			broken_used_sectors(base, &sector_count);
		uint32_t changes = 1 + random_below(CHANGES_MAX);
		size_t size = 1;

		input[0] = (uint8_t)base;
		while (changes > 0) {
			size += make_change(&input[size], sectors,
					    sector_count);
			changes--;
		}
		LLVMFuzzerTestOneInput(input, size);
		if (i % 1000 == 999) {
			fprintf(stderr, "%lu\n", i + 1);
		}
	}
	printf("whole %lu repaired %lu left %lu unreadable %lu\n",
	       fuzz_repair_counts[0], fuzz_repair_counts[1],
	       fuzz_repair_counts[2], fuzz_repair_counts[3]);
	return 0;
}
