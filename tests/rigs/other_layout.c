/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Lets a stock smbd look like one with another layout of a structure.
 *
 * This object, named in LD_PRELOAD, has talloc say that what is called
 * UDF_OTHER_LAYOUT, "struct smbd_smb2_request" for instance, is larger than it
 * is: so it would be in an smbd whose structure has more members.
 */
#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#define MORE_BYTES 16

size_t talloc_get_size(const void *ptr)
{
	static size_t (*get_size)(const void *);
	const char *name = getenv("UDF_OTHER_LAYOUT");

	if (get_size == NULL) {
		get_size = (size_t(*)(const void *))dlsym(RTLD_NEXT,
							  "talloc_get_size");
	}
	if (name != NULL && ptr != NULL &&
	    strcmp(talloc_get_name(ptr), name) == 0)
	{
		return get_size(ptr) + MORE_BYTES;
	}
	return get_size(ptr);
}
