/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A file of the share mapped by a process on the server. A client cannot map
 * a file over there, so the person who runs the suite names a command that
 * does (tests/rigs/mapper here, or the same behind ssh).
 */
#include "includes.h"
#include "system/filesys.h"
#include "system/select.h"
#include "system/wait.h"
#include "libcli/smb2/smb2.h"
#include "torture/torture.h"

#include "util.h"

#define UDF_MAPPER_ANSWER "mapped\n"
#define UDF_MAPPER_TIMEOUT_MSEC 20000

struct udf_mapping {
	pid_t pid;
	int to;
	int from;
};

void udf_unmap(struct udf_mapping *mapping)
{
	int status = 0;
	pid_t pid;

	if (mapping == NULL) {
		return;
	}
	close(mapping->to);
	close(mapping->from);
	do {
		pid = waitpid(mapping->pid, &status, 0);
	} while (pid == -1 && errno == EINTR);
	free(mapping);
}

static void udf_mapper_exec(const char *command, const char *path, int input,
			    int output)
{
	char *script = NULL;
	int ret;

	ret = dup2(input, STDIN_FILENO);
	if (ret == -1) {
		_exit(126);
	}
	ret = dup2(output, STDOUT_FILENO);
	if (ret == -1) {
		_exit(126);
	}
	/* A connection that the test closes must not live on in the child. */
	closefrom(STDERR_FILENO + 1);
	/* The command comes from the command line of this very program, so a
	 * shell may split it; the path is an argument, not a part of it. */
	ret = asprintf(&script, "exec %s \"$1\"", command);
	if (ret == -1) {
		_exit(126);
	}
	execl("/bin/sh", "sh", "-c", script, "mapper", path, NULL);
	_exit(127);
}

/* True: the line that says the file is mapped has come. */
static bool udf_mapper_answered(int fd)
{
	const size_t length = strlen(UDF_MAPPER_ANSWER);
	char answer[sizeof(UDF_MAPPER_ANSWER)] = {0};
	size_t got = 0;
	ssize_t nread;
	int ret;

	while (got < length) {
		struct pollfd pfd = {.fd = fd, .events = POLLIN};

		ret = poll(&pfd, 1, UDF_MAPPER_TIMEOUT_MSEC);
		if (ret == -1 && errno == EINTR) {
			continue;
		}
		if (ret <= 0) {
			return false;
		}
		nread = read(fd, answer + got, length - got);
		if (nread <= 0) {
			return false;
		}
		got += nread;
	}
	return strcmp(answer, UDF_MAPPER_ANSWER) == 0;
}

static struct udf_mapping *udf_mapper_start(const char *command,
					    const char *path)
{
	struct udf_mapping *mapping = NULL;
	int input[2] = {-1, -1};
	int output[2] = {-1, -1};
	int ret;

	mapping = calloc(1, sizeof(*mapping));
	if (mapping == NULL) {
		return NULL;
	}
	ret = pipe2(input, O_CLOEXEC);
	if (ret == -1) {
		goto fail;
	}
	ret = pipe2(output, O_CLOEXEC);
	if (ret == -1) {
		goto fail_input;
	}
	mapping->pid = fork();
	if (mapping->pid == -1) {
		goto fail_output;
	}
	if (mapping->pid == 0) {
		udf_mapper_exec(command, path, input[0], output[1]);
	}
	close(input[0]);
	close(output[1]);
	mapping->to = input[1];
	mapping->from = output[0];
	return mapping;

fail_output:
	close(output[0]);
	close(output[1]);
fail_input:
	close(input[0]);
	close(input[1]);
fail:
	free(mapping);
	return NULL;
}

bool udf_map(struct torture_context *tctx, const char *name,
	     struct udf_mapping **mapping)
{
	const char *command = torture_setting_string(tctx, "mapper", NULL);
	char *path = NULL;
	bool answered;

	*mapping = NULL;
	if (command == NULL) {
		return true;
	}

	path = talloc_strdup(tctx, name);
	torture_assert(tctx, path != NULL, "memory");
	string_replace(path, '\\', '/');

	*mapping = udf_mapper_start(command, path);
	torture_assert(tctx, *mapping != NULL, "starting the mapper");
	answered = udf_mapper_answered((*mapping)->from);
	if (!answered) {
		udf_unmap(*mapping);
		*mapping = NULL;
		torture_result(tctx,
			       TORTURE_FAIL,
			       "the mapper (%s) did not map %s\n",
			       command,
			       path);
		TALLOC_FREE(path);
		return false;
	}
	TALLOC_FREE(path);
	return true;
}
