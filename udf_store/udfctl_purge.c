/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * udfctl purge: hold writers while a program on this server scans files.
 *
 * It needs Samba's databases, of which nothing here knows: it is done by
 * udfctl-purge (vfs_module/purge_tool.c), a program beside this one that is
 * linked with Samba's libraries.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "udfctl.h"

/* Does the program find the libraries that it was linked with? */
static bool program_loads(const char *path)
{
	pid_t pid = fork();
	int status = 0;
	int fd = -1;

	if (pid == 0) {
		fd = open("/dev/null", O_WRONLY);
		if (fd == -1 || dup2(fd, STDOUT_FILENO) == -1) {
			_exit(0);
		}
		execl(path, path, "--version", NULL);
		/* That will be said when it is run for real. */
		_exit(0);
	}
	if (pid == -1 || waitpid(pid, &status, 0) == -1) {
		return true;
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool udfctl_purge_program(char *path, size_t len)
{
	static const char name[] = "udfctl-purge";
	char *slash = NULL;
	ssize_t n = 0;

	n = readlink("/proc/self/exe", path, len);
	if (n > 0 && (size_t)n < len) {
		path[n] = '\0';
		slash = strrchr(path, '/');
	}
	if (slash == NULL || slash + 1 + sizeof(name) > path + len) {
		fprintf(stderr, "udfctl: cannot find out where it is "
				"installed: is /proc mounted?\n");
		return false;
	}
	memcpy(slash + 1, name, sizeof(name));
	if (!program_loads(path)) {
		fprintf(stderr,
			"udfctl: %s was built for another version of Samba "
			"than is installed: build and install vfs_udf again\n",
			path);
		return false;
	}
	return true;
}

int udfctl_purge(int argc, char **argv)
{
	char path[PATH_MAX + 32] = {0};

	(void)argc;
	if (!udfctl_purge_program(path, sizeof(path))) {
		return 1;
	}
	execv(path, argv);
	fprintf(stderr,
		"udfctl: %s: %s; it is installed with the Samba module\n",
		path, strerror(errno));
	return 1;
}
