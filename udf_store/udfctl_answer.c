/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Asking with a time limit: see udfctl_answer.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "udfctl_answer.h"
#include "udfd_ioctl.h"

#define TIMEOUT_SECONDS 10

/* More than a server could have open; a runaway ends here. */
#define MAX_PRINTED ((size_t)256 * 1024 * 1024)

/* In memory that both processes see. */
struct answer {
	int ret;
	_Alignas(max_align_t) unsigned char reply[];
};

struct udfctl_question {
	char *name;
	struct answer *answer;
	size_t answer_len;
	pid_t pid; /* 0: it has ended, or was never there */
	int pidfd;
	int printed; /* files in memory: the child's stdout and stderr */
	int complaints;
};

/* A child that could not be ended yet. */
struct stuck {
	struct stuck *next;
	char *name;
	pid_t pid;
};

static struct stuck *stuck_children;
static unsigned timeout_seconds = TIMEOUT_SECONDS;

void udfctl_set_timeout(unsigned seconds)
{
	timeout_seconds = seconds;
}

unsigned udfctl_timeout(void)
{
	return timeout_seconds;
}

struct timespec udfctl_deadline(void)
{
	struct timespec deadline = {0};

	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += (time_t)timeout_seconds;
	return deadline;
}

/* Milliseconds, rounded up; 0: it is over. */
static int time_left(const struct timespec *deadline)
{
	struct timespec now = {0};
	int64_t ms = 0;

	clock_gettime(CLOCK_MONOTONIC, &now);
	ms = (int64_t)(deadline->tv_sec - now.tv_sec) * 1000 +
	     (deadline->tv_nsec - now.tv_nsec + 999999) / 1000000;
	if (ms < 0) {
		return 0;
	}
	return (ms < INT32_MAX) ? (int)ms : INT32_MAX;
}

/* Does a child still wait there? Those that have ended are forgotten. */
static bool is_stuck(const char *name)
{
	struct stuck **link = &stuck_children;
	bool found = false;

	while (*link != NULL) {
		struct stuck *stuck = *link;

		if (waitpid(stuck->pid, NULL, WNOHANG) != 0) {
			*link = stuck->next;
			free(stuck->name);
			free(stuck);
			continue;
		}
		found = found || strcmp(stuck->name, name) == 0;
		link = &stuck->next;
	}
	return found;
}

/* The child of a question, which is killed already. */
static void remember_stuck(struct udfctl_question *question)
{
	struct stuck *stuck = calloc(1, sizeof(*stuck));

	if (stuck == NULL) {
		return;
	}
	stuck->name = question->name;
	question->name = NULL;
	stuck->pid = question->pid;
	stuck->next = stuck_children;
	stuck_children = stuck;
}

/*
 * It may outlive its parent: nobody is to wait for the end of what that has
 * open, a pipe or a lock.
 */
static void child(struct udfctl_question *question, udfctl_ask_fn fn,
		  const void *asked)
{
	int null = open("/dev/null", O_RDONLY);

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (null == -1 || dup2(null, STDIN_FILENO) == -1 ||
	    dup2(question->printed, STDOUT_FILENO) == -1 ||
	    dup2(question->complaints, STDERR_FILENO) == -1) {
		_exit(1);
	}
	(void)syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0);
	question->answer->ret = fn(asked, question->answer->reply);
	fflush(stdout);
	_exit(0);
}

int udfctl_ask(const char *name, udfctl_ask_fn fn, const void *asked,
	       size_t reply_len, struct udfctl_question **result)
{
	struct udfctl_question *question = calloc(1, sizeof(*question));
	int ret = -ENOMEM;

	if (question == NULL) {
		return -ENOMEM;
	}
	question->pidfd = -1;
	question->complaints = -1;
	question->answer_len = sizeof(*question->answer) + reply_len;
	question->answer = mmap(NULL, question->answer_len,
				PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	question->printed = memfd_create("printed", MFD_CLOEXEC);
	question->name = strdup(name);
	if (question->answer == MAP_FAILED) {
		question->answer = NULL;
		goto fail;
	}
	question->complaints = memfd_create("complaints", MFD_CLOEXEC);
	if (question->name == NULL || question->printed == -1 ||
	    question->complaints == -1) {
		goto fail;
	}
	*result = question;
	if (is_stuck(name)) {
		return 0;
	}

	fflush(stdout);
	question->pid = fork();
	if (question->pid == 0) {
		child(question, fn, asked);
	}
	if (question->pid == -1) {
		question->pid = 0;
		ret = -errno;
		goto fail;
	}
	question->pidfd = (int)syscall(SYS_pidfd_open, question->pid, 0);
	if (question->pidfd == -1) {
		ret = -errno;
		goto fail;
	}
	return 0;

fail:
	udfctl_question_free(question);
	*result = NULL;
	return ret;
}

/* All of a file in memory; the caller frees it. */
static char *read_memory(int fd, size_t *len)
{
	struct stat st = {0};
	char *text = NULL;
	ssize_t n = 0;

	if (fstat(fd, &st) != 0 || (uint64_t)st.st_size > MAX_PRINTED) {
		return NULL;
	}
	text = malloc((size_t)st.st_size + 1);
	if (text == NULL) {
		return NULL;
	}
	n = pread(fd, text, (size_t)st.st_size, 0);
	*len = (n > 0) ? (size_t)n : 0;
	text[*len] = '\0';
	return text;
}

static void pass_complaints(int fd)
{
	size_t len = 0;
	char *text = read_memory(fd, &len);

	if (text != NULL) {
		fwrite(text, 1, len, stderr);
	}
	free(text);
}

int udfctl_answer(struct udfctl_question *question,
		  const struct timespec *deadline)
{
	struct pollfd ended = {.fd = question->pidfd, .events = POLLIN};
	int status = 0;
	int ret = 0;

	if (question->pid == 0) {
		return -ETIMEDOUT;
	}
	do {
		ret = poll(&ended, 1, time_left(deadline));
	} while (ret == -1 && errno == EINTR);
	if (ret <= 0) {
		return -ETIMEDOUT;
	}
	if (waitpid(question->pid, &status, 0) != question->pid) {
		return -errno;
	}
	question->pid = 0;
	pass_complaints(question->complaints);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		return -EIO;
	}
	return question->answer->ret;
}

void *udfctl_reply(struct udfctl_question *question)
{
	return question->answer->reply;
}

char *udfctl_printed(struct udfctl_question *question)
{
	size_t len = 0;

	return read_memory(question->printed, &len);
}

void udfctl_question_free(struct udfctl_question *question)
{
	if (question == NULL) {
		return;
	}
	if (question->pid != 0) {
		kill(question->pid, SIGKILL);
		if (waitpid(question->pid, NULL, WNOHANG) == 0) {
			remember_stuck(question);
		}
	}
	if (question->pidfd != -1) {
		close(question->pidfd);
	}
	if (question->printed != -1) {
		close(question->printed);
	}
	if (question->complaints != -1) {
		close(question->complaints);
	}
	if (question->answer != NULL) {
		munmap(question->answer, question->answer_len);
	}
	free(question->name);
	free(question);
}

int udfctl_knock(const char *path)
{
	struct udfd_volume_info info = {0};
	struct stat st = {0};
	int ret = 0;
	int fd = -1;

	if (stat(path, &st) != 0) {
		return (errno == ENOTCONN) ? -ENOTCONN : 0;
	}
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
		return 0;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd == -1) {
		return (errno == ENOTCONN) ? -ENOTCONN : 0;
	}
	if (ioctl(fd, UDFD_IOC_VOLUME_INFO, &info) != 0 && errno == ENOTCONN) {
		ret = -ENOTCONN;
	}
	close(fd);
	return ret;
}

static int ask_path(const void *asked, void *reply)
{
	(void)reply;
	return udfctl_knock(asked);
}

bool udfctl_answers(const char *path)
{
	const struct timespec deadline = udfctl_deadline();
	struct udfctl_question *question = NULL;
	int ret = udfctl_ask(path, ask_path, path, 0, &question);

	if (ret == 0) {
		ret = udfctl_answer(question, &deadline);
	}
	udfctl_question_free(question);
	if (ret == -ETIMEDOUT || ret == -ENOTCONN) {
		udfctl_print_no_answer(path, ret);
		return false;
	}
	/* Any other error is one of asking: it will be met again. */
	return true;
}

void udfctl_print_no_answer(const char *path, int ret)
{
	if (ret == -ENOTCONN) {
		fprintf(stderr,
			"udfctl: %s: the udfd of this mount has ended; the "
			"system log may say why: umount %s, and mount the "
			"volume again\n",
			path, path);
		return;
	}
	fprintf(stderr,
		"udfctl: %s: no answer within %u s; 'ps -L -C udfd -o "
		"pid,stat,args' shows whether its udfd is stopped (T: kill "
		"-CONT PID) or waits for its disk (D: see the kernel's log)\n",
		path, timeout_seconds);
}

int udfctl_exit_status(int ret)
{
	if (ret == -ETIMEDOUT || ret == -ENOTCONN) {
		return UDFCTL_EXIT_NO_ANSWER;
	}
	return 1;
}
