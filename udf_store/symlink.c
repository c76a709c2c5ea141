/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Path components of a symbolic link. See symlink.h.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "osta.h"
#include "symlink.h"

/* Component type, length of the name, and a file version number of 2. */
#define COMPONENT_LEN 4u

enum component_type {
	COMPONENT_AGREED_ROOT = 1, /* agreed on outside: we take it for "/" */
	COMPONENT_ROOT = 2,
	COMPONENT_PARENT = 3,
	COMPONENT_CURRENT = 4,
	COMPONENT_NAME = 5,
};

static int component_put(enum component_type type, const char *name,
			 size_t name_len, uint8_t *buf, size_t len)
{
	int used = 0;

	if (len < COMPONENT_LEN) {
		return -ENAMETOOLONG;
	}
	memset(buf, 0, COMPONENT_LEN);
	buf[0] = (uint8_t)type;
	if (type == COMPONENT_NAME) {
		size_t room = len - COMPONENT_LEN;

		room = room < UDF_NAME_MAX ? room : UDF_NAME_MAX;
		used = udf_utf8_to_cs0(name, name_len, &buf[COMPONENT_LEN],
				       room);
		if (used < 0) {
			return used;
		}
		buf[1] = (uint8_t)used;
	}
	return (int)COMPONENT_LEN + used;
}

int udf_symlink_encode(const char *target, uint8_t *buf, size_t len)
{
	size_t done = 0;
	int ret = 0;

	if (*target == '\0') {
		return -ENOENT;
	}
	if (*target == '/') {
		ret = component_put(COMPONENT_ROOT, NULL, 0, buf, len);
		if (ret < 0) {
			return ret;
		}
		done += (size_t)ret;
	}
	while (*target != '\0') {
		size_t name_len = strcspn(target, "/");
		enum component_type type = COMPONENT_NAME;

		if (name_len == 0) {
			target++;
			continue;
		}
		if (name_len == 1 && target[0] == '.') {
			type = COMPONENT_CURRENT;
		}
		if (name_len == 2 && target[0] == '.' && target[1] == '.') {
			type = COMPONENT_PARENT;
		}
		ret = component_put(type, target, name_len, &buf[done],
				    len - done);
		if (ret < 0) {
			return ret;
		}
		done += (size_t)ret;
		target += name_len;
	}
	return (int)done;
}

struct path {
	char *text;
	size_t length;
	size_t room; /* with the NUL */
};

static int path_append(struct path *path, const char *text, size_t length)
{
	if (length >= path->room - path->length) {
		return -ENAMETOOLONG;
	}
	memcpy(&path->text[path->length], text, length);
	path->length += length;
	path->text[path->length] = '\0';
	return 0;
}

/* One component, with the slash before it when there is something before. */
static int path_append_component(struct path *path, const uint8_t *component,
				 size_t name_len)
{
	char name[UDF_NAME_UTF8_MAX + 1];
	const char *text = name;
	int ret = 0;

	switch (component[0]) {
	case COMPONENT_AGREED_ROOT:
	case COMPONENT_ROOT:
		path->length = 0;
		return path_append(path, "/", 1);
	case COMPONENT_PARENT:
		text = "..";
		break;
	case COMPONENT_CURRENT:
		text = ".";
		break;
	case COMPONENT_NAME:
		ret = udf_cs0_to_utf8(&component[COMPONENT_LEN], name_len, name,
				      sizeof(name));
		if (ret <= 0 || strchr(name, '/') != NULL) {
			return -EUCLEAN;
		}
		break;
	default:
		return -EUCLEAN;
	}
	if (path->length > 0 && path->text[path->length - 1] != '/') {
		ret = path_append(path, "/", 1);
		if (ret < 0) {
			return ret;
		}
	}
	return path_append(path, text, strlen(text));
}

int udf_symlink_decode(const uint8_t *buf, size_t len, char *target,
		       size_t target_len)
{
	struct path path = { .text = target, .room = target_len };
	size_t offset = 0;

	if (target_len == 0) {
		return -ENAMETOOLONG;
	}
	target[0] = '\0';
	while (len - offset >= COMPONENT_LEN) {
		size_t name_len = buf[offset + 1];
		int ret = 0;

		if (name_len > len - offset - COMPONENT_LEN) {
			return -EUCLEAN;
		}
		ret = path_append_component(&path, &buf[offset], name_len);
		if (ret < 0) {
			return ret;
		}
		offset += COMPONENT_LEN + name_len;
	}
	return (int)path.length;
}
