/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * udfctl's commands, each in udfctl_NAME.c, and what they share. To add one:
 * declare its function here, and name it in the table of udfctl.c.
 */
#ifndef UDF_STORE_UDFCTL_H
#define UDF_STORE_UDFCTL_H

#include <stdbool.h>
#include <stdint.h>

#include "log.h"

/*
 * argv[0] is the command's name; each parses its own options, --help among
 * them. Returns the exit status: 0, all is well; 1, it cannot be done, and a
 * line on stderr says why; 2, wrong usage; 5, a mounted volume does not answer
 * (udfctl_answer.h); more, as the command's manual says.
 */
typedef int (*udfctl_fn)(int argc, char **argv);

int udfctl_info(int argc, char **argv);
int udfctl_sparing(int argc, char **argv);
int udfctl_scrub(int argc, char **argv);
int udfctl_map(int argc, char **argv);
int udfctl_defects(int argc, char **argv);
int udfctl_status(int argc, char **argv);
int udfctl_purge(int argc, char **argv);
int udfctl_check(int argc, char **argv);

/*
 * The path of udfctl-purge, beside this program. False, and a line on stderr,
 * when it is not to be used.
 */
bool udfctl_purge_program(char *path, size_t len);

/*
 * The arguments of a command that takes PATH [--json]. -1: go on with *path
 * and *json; else the exit status.
 */
int udfctl_path_arguments(int argc, char **argv, char **path, bool *json);

/* Errors and warnings of the engine to stderr; private_data: the path. */
void udfctl_show_log(void *private_data, enum udf_log_level level,
		     const char *line);

/* Text as a JSON string, with its quotes. */
void udfctl_json_text(const char *text);

/* Members of a JSON object, a line each, with a comma behind. */
void udfctl_json_string(const char *name, const char *text);
/* Less than 0: null. */
void udfctl_json_number(const char *name, int64_t value);
void udfctl_json_bool(const char *name, bool value);

#endif /* UDF_STORE_UDFCTL_H */
