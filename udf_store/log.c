/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Log lines: see log.h.
 */
#include <stdio.h>

#include "log.h"

#define LOG_LINE_LEN 512

void udf_vlog(const struct udf_log *log, enum udf_log_level level,
	      const char *format, va_list ap)
{
	static const char *const names[] = {"error", "warning", "notice",
					    "debug"};
	char line[LOG_LINE_LEN] = {0};

	vsnprintf(line, sizeof(line), format, ap);
	if (log->fn != NULL) {
		log->fn(log->private_data, level, line);
	} else if (level != UDF_LOG_DEBUG) {
		fprintf(stderr, "udf: %s: %s\n", names[level], line);
	}
}

void udf_log(const struct udf_log *log, enum udf_log_level level,
	     const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	udf_vlog(log, level, format, ap);
	va_end(ap);
}
