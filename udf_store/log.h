/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Where the engine says what happened, one line at a time.
 */
#ifndef UDF_STORE_LOG_H
#define UDF_STORE_LOG_H

#include <stdarg.h>

/* One line for a person, without a newline. */
enum udf_log_level {
	UDF_LOG_ERROR,
	UDF_LOG_WARNING,
	UDF_LOG_NOTICE, /* a defect relocated, a table repaired */
	UDF_LOG_DEBUG,
};
typedef void (*udf_log_fn)(void *private_data, enum udf_log_level level,
			   const char *line);

struct udf_log {
	udf_log_fn fn; /* NULL: stderr, without debug lines */
	void *private_data;
};

void udf_log(const struct udf_log *log, enum udf_log_level level,
	     const char *format, ...) __attribute__((format(printf, 3, 4)));
void udf_vlog(const struct udf_log *log, enum udf_log_level level,
	      const char *format, va_list ap)
	__attribute__((format(printf, 3, 0)));

#endif /* UDF_STORE_LOG_H */
