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
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "udfctl.h"
#include "udfctl_answer.h"
#include "udfctl_mounts.h"

/* Of "run": all that is not the command's own. */
#define EXIT_RUN_CANNOT 125

/* execv(3) takes no constant words. */
static char skip_option[] = "--skip";

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

/* Is it an absolute path of the word, from here? NULL: it is too long. */
static const char *absolute(const char *word, char *path, size_t len)
{
	char here[PATH_MAX] = {0};
	int n = 0;

	if (word[0] == '/') {
		return word;
	}
	if (getcwd(here, sizeof(here)) == NULL) {
		return NULL;
	}
	n = snprintf(path, len, "%s/%s", here, word);
	return (n > 0 && (size_t)n < len) ? path : NULL;
}

/*
 * Does a word of the command line name something on the mount, or above it?
 * Options and the like may be taken for names: that costs a question.
 */
static bool is_named(const struct udfctl_mount *mount, char **words)
{
	char path[2 * PATH_MAX] = {0};
	const char *name = NULL;
	size_t i = 0;

	for (i = 0; words[i] != NULL; i++) {
		name = absolute(words[i], path, sizeof(path));
		if (name != NULL && udfctl_paths_meet(name, mount->point)) {
			return true;
		}
	}
	return false;
}

/*
 * The arguments of udfctl-purge: for "status" with the mounts that it must not
 * touch. NULL, when a line on stderr has said what is wrong; *status is the
 * exit status then.
 */
static char **purge_arguments(int argc, char **argv,
			      const struct udfctl_mounts *mounts, int *status)
{
	bool is_status = argc > 1 && strcmp(argv[1], "status") == 0;
	bool is_run = argc > 1 && strcmp(argv[1], "run") == 0;
	char **words = NULL;
	size_t n = 0;
	size_t i = 0;

	words = calloc((size_t)argc + 2 * mounts->count + 1, sizeof(*words));
	if (words == NULL) {
		fprintf(stderr, "udfctl: no memory\n");
		*status = 1;
		return NULL;
	}
	for (n = 0; n < 2 && n < (size_t)argc; n++) {
		words[n] = argv[n];
	}
	for (i = 0; i < mounts->count; i++) {
		const struct udfctl_mount *mount = &mounts->mounts[i];
		bool named = is_named(mount, argv + 1);

		if ((!named && !is_status) || udfctl_answers(mount->point)) {
			continue;
		}
		if (named) {
			free(words);
			*status = is_run ? EXIT_RUN_CANNOT
					 : UDFCTL_EXIT_NO_ANSWER;
			return NULL;
		}
		words[n++] = skip_option;
		words[n++] = mount->point;
	}
	for (i = 2; i < (size_t)argc; i++) {
		words[n++] = argv[i];
	}
	return words;
}

int udfctl_purge(int argc, char **argv)
{
	struct udfctl_mounts mounts = {.count = 0};
	char path[PATH_MAX + 32] = {0};
	char **words = NULL;
	int status = 1;

	if (!udfctl_purge_program(path, sizeof(path)) ||
	    udfctl_mounts_read(&mounts) != 0) {
		return 1;
	}
	words = purge_arguments(argc, argv, &mounts, &status);
	if (words != NULL) {
		execv(path, words);
		fprintf(stderr,
			"udfctl: %s: %s; it is installed with the Samba "
			"module\n",
			path, strerror(errno));
	}
	free(words);
	udfctl_mounts_free(&mounts);
	return status;
}
