/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What udfctl's commands share: see udfctl.h.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>

#include "udfctl.h"

int udfctl_path_arguments(int argc, char **argv, char **path, bool *json)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int c = 0;

	optind = 0;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'j':
			*json = true;
			break;
		case 'h':
			printf("usage: udfctl %s PATH [--json]\n", argv[0]);
			return 0;
		default:
			fprintf(stderr, "Try udfctl --help.\n");
			return 2;
		}
	}
	if (argc - optind != 1) {
		fprintf(stderr, "udfctl: %s takes one PATH\n", argv[0]);
		return 2;
	}
	*path = argv[optind];
	return -1;
}

void udfctl_json_text(const char *text)
{
	const char *p = NULL;

	putchar('"');
	for (p = text; *p != '\0'; p++) {
		unsigned char c = (unsigned char)*p;

		if (c == '"' || c == '\\') {
			printf("\\%c", c);
		} else if (c < 0x20) {
			printf("\\u%04x", c);
		} else {
			putchar(c);
		}
	}
	putchar('"');
}

void udfctl_json_string(const char *name, const char *text)
{
	printf("  \"%s\": ", name);
	udfctl_json_text(text);
	printf(",\n");
}

void udfctl_json_number(const char *name, int64_t value)
{
	if (value < 0) {
		printf("  \"%s\": null,\n", name);
	} else {
		printf("  \"%s\": %" PRId64 ",\n", name, value);
	}
}

void udfctl_json_bool(const char *name, bool value)
{
	printf("  \"%s\": %s,\n", name, value ? "true" : "false");
}
