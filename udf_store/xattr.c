/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Extended attributes, kept as named streams. See xattr.h.
 */
#include <errno.h>
#include <limits.h>
#include <linux/limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs.h"
#include "operation.h"
#include "stream.h"
#include "xattr.h"

#define ALTERNATE_PREFIX "user.DosStream."
#define ALTERNATE_SUFFIX ":$DATA"

/* Has the name one of the prefixes, and something behind it? */
static bool is_kept(const char *name)
{
	static const char *const prefixes[] = {
		"user.",
		"security.",
		"trusted.",
	};

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		size_t length = strlen(prefixes[i]);

		if (strncmp(name, prefixes[i], length) == 0) {
			return name[length] != '\0';
		}
	}
	return false;
}

/* The length of the stream's name in an attribute of the first kind, or 0. */
static size_t alternate_length(const char *name)
{
	const size_t prefix = strlen(ALTERNATE_PREFIX);
	const size_t suffix = strlen(ALTERNATE_SUFFIX);
	const char *stream = &name[prefix];
	size_t length = strlen(name);

	if (length <= prefix + suffix ||
	    strncmp(name, ALTERNATE_PREFIX, prefix) != 0 ||
	    strcmp(&name[length - suffix], ALTERNATE_SUFFIX) != 0) {
		return 0;
	}
	length -= prefix + suffix;
	if (is_kept(stream) || (length == 1 && stream[0] == '.') ||
	    (length == 2 && stream[0] == '.' && stream[1] == '.')) {
		return 0;
	}
	return length;
}

int udf_xattr_parse(const char *name, struct udf_xattr *xattr)
{
	size_t length = alternate_length(name);
	const char *from = name;

	xattr->alternate = length > 0;
	if (xattr->alternate) {
		from = &name[strlen(ALTERNATE_PREFIX)];
	} else {
		length = strlen(name);
		if (!is_kept(name)) {
			return -EOPNOTSUPP;
		}
	}
	if (length >= sizeof(xattr->stream)) {
		return -ERANGE;
	}
	memcpy(xattr->stream, from, length);
	xattr->stream[length] = '\0';
	return strchr(xattr->stream, '/') == NULL ? 0 : -EINVAL;
}

size_t udf_xattr_name(const char *stream, char name[UDF_XATTR_NAME_MAX])
{
	int length = 0;

	if (is_kept(stream)) {
		length = snprintf(name, UDF_XATTR_NAME_MAX, "%s", stream);
	} else {
		length = snprintf(name, UDF_XATTR_NAME_MAX, "%s%s%s",
				  ALTERNATE_PREFIX, stream, ALTERNATE_SUFFIX);
	}
	return (size_t)length;
}

ssize_t udf_fs_getxattr(struct udf_node *node, const char *name, void *value,
			size_t size)
{
	struct udf_xattr xattr = { .alternate = false };
	uint8_t *bytes = value;
	ssize_t length = udf_xattr_parse(name, &xattr);
	ssize_t got = 0;
	size_t nul = 0;

	if (length < 0) {
		return length;
	}
	nul = xattr.alternate ? 1 : 0;
	pthread_rwlock_rdlock(&node->lock);
	length = udf_stream_get(node, xattr.stream, NULL, 0);
	if (length >= 0 && (size_t)length > XATTR_SIZE_MAX - nul) {
		length = -E2BIG;
	}
	if (length > 0 && size > 0 && (size_t)length + nul <= size) {
		got = udf_stream_get(node, xattr.stream, bytes,
				     (size_t)length);
		length = got < 0 || got == length ? got : -EIO;
	}
	pthread_rwlock_unlock(&node->lock);
	if (length < 0) {
		return length;
	}
	length += (ssize_t)nul;
	if (size > 0 && (size_t)length > size) {
		return -ERANGE;
	}
	if (size > 0 && xattr.alternate) {
		bytes[length - 1] = '\0';
	}
	return length;
}

int udf_fs_setxattr(struct udf_node *node, const char *name, const void *value,
		    size_t size, int flags)
{
	struct udf_fs *fs = udf_fs_of(node);
	struct udf_xattr xattr = { .alternate = false };
	const uint8_t *bytes = value;
	unsigned int tries = 0;
	int ret = udf_xattr_parse(name, &xattr);

	if (ret < 0) {
		return ret;
	}
	if (size > XATTR_SIZE_MAX) {
		return -E2BIG;
	}
	if (xattr.alternate) {
		if (size == 0 || bytes[size - 1] != '\0') {
			return -EINVAL;
		}
		size--;
	}
	do {
		ret = udf_operation_begin(fs);
		if (ret < 0) {
			return ret;
		}
		pthread_rwlock_wrlock(&node->lock);
		ret = udf_stream_set(node, xattr.stream, value, size, flags);
		pthread_rwlock_unlock(&node->lock);
		udf_operation_end(fs);
	} while (udf_operation_again(fs, ret, &tries));
	return ret == -ENAMETOOLONG ? -ERANGE : ret;
}

int udf_fs_removexattr(struct udf_node *node, const char *name)
{
	struct udf_fs *fs = udf_fs_of(node);
	struct udf_xattr xattr = { .alternate = false };
	unsigned int tries = 0;
	int ret = udf_xattr_parse(name, &xattr);

	if (ret < 0) {
		return ret;
	}
	do {
		ret = udf_operation_begin(fs);
		if (ret < 0) {
			return ret;
		}
		pthread_rwlock_wrlock(&node->lock);
		ret = udf_stream_remove(node, xattr.stream);
		pthread_rwlock_unlock(&node->lock);
		udf_operation_end(fs);
	} while (udf_operation_again(fs, ret, &tries));
	return ret == -ENAMETOOLONG ? -ENODATA : ret;
}

struct name_list {
	char *buf;
	size_t size;
	size_t used;
};

static int list_add(void *private_data, const char *stream)
{
	struct name_list *list = private_data;
	char name[UDF_XATTR_NAME_MAX];
	size_t length = udf_xattr_name(stream, name) + 1;

	if (length > XATTR_NAME_MAX + 1) {
		/* A program could not ask for it. */
		return 0;
	}
	if (list->size > 0) {
		if (length > list->size - list->used) {
			return -ERANGE;
		}
		memcpy(&list->buf[list->used], name, length);
	}
	list->used += length;
	return list->used > XATTR_LIST_MAX ? -E2BIG : 0;
}

ssize_t udf_fs_listxattr(struct udf_node *node, char *buf, size_t size)
{
	struct name_list list = { .buf = buf, .size = size };
	int ret = 0;

	pthread_rwlock_rdlock(&node->lock);
	ret = udf_stream_each(node, list_add, &list);
	pthread_rwlock_unlock(&node->lock);
	return ret < 0 ? ret : (ssize_t)list.used;
}

bool udf_fs_has_xattrs(const struct udf_fs *fs)
{
	return udf_stream_supported(fs);
}
