/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Volumes that an input breaks.
 *
 * An input is no image but what to do to one: the number of a base image (from
 * the directory $UDF_FUZZ_BASES, in the order of their names), then changes.
 * Most changes put the checksum and CRC of the descriptor right again, so that
 * they come further than the first check.
 */
#ifndef TESTS_FUZZ_BROKEN_H
#define TESTS_FUZZ_BROKEN_H

#include <stddef.h>
#include <stdint.h>

/* Read the bases, once. Ends the program when there are none. */
void broken_init(void);

/* How many there are, and the sectors of one that are not all zeroes. */
size_t broken_bases(void);
const uint16_t *broken_used_sectors(size_t base, size_t *count);

/* The image at broken_path() is what the input makes of its base; size > 0. */
void broken_begin(const uint8_t *data, size_t size);
void broken_end(void);
const char *broken_path(void);

#endif /* TESTS_FUZZ_BROKEN_H */
