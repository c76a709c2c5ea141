/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The mark of a lost block: see lost.h. A text, then the volume's identity
 * and the block as bytes, so that the mark of another volume or block, in a
 * copy of an image, say, is data.
 */
#include <assert.h>
#include <string.h>

#include "bytes.h"
#include "lost.h"

static const char text[] =
	"UDF LOST BLOCK\n"
	"This block could not be read when its packet was relocated.\n"
	"What was here is lost. Write the file again, or restore it.\n";

#define IDENTITY_AT 192u
#define LBN_AT (IDENTITY_AT + UDF_LOST_IDENTITY_LEN)
#define MARK_LEN (LBN_AT + 4u)

static_assert(sizeof(text) <= IDENTITY_AT, "the text fits");

static void mark(const uint8_t *identity, uint32_t lbn, uint8_t *out)
{
	memset(out, 0, MARK_LEN);
	memcpy(out, text, sizeof(text) - 1);
	memcpy(out + IDENTITY_AT, identity, UDF_LOST_IDENTITY_LEN);
	put_le32(out + LBN_AT, lbn);
}

void udf_lost_fill(const uint8_t *identity, uint32_t lbn, uint8_t *block,
		   uint32_t block_size)
{
	memset(block, 0, block_size);
	mark(identity, lbn, block);
}

bool udf_lost_is(const uint8_t *identity, uint32_t lbn, const uint8_t *block,
		 uint32_t block_size)
{
	uint8_t expected[MARK_LEN];
	uint32_t i = 0;

	if (memcmp(block, text, sizeof(text) - 1) != 0) {
		return false;
	}
	mark(identity, lbn, expected);
	if (memcmp(block, expected, MARK_LEN) != 0) {
		return false;
	}
	for (i = MARK_LEN; i < block_size; i++) {
		if (block[i] != 0) {
			return false;
		}
	}
	return true;
}
