/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Kill a process at an exact place: at the N-th stop from now on, where each
 * system call stops twice, before it is done and after. So everything that
 * can be seen from outside happens up to there, and nothing after it.
 *
 * The process is not changed and knows nothing; it only runs slower.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

static const char usage[] =
	"usage: kill_at PID STOP\n"
	"\n"
	"Trace PID, say \"ready\", and kill it (SIGKILL) at the STOP-th stop at a\n"
	"system call, before or after the call. Says \"killed\" and where: the\n"
	"number of the system call; or \"ended\" when PID ends before, and after\n"
	"how many stops. STOP 0: never, only count.\n"
	"\n"
	"Exit status: 0, 1 if it cannot trace PID, 2 for wrong arguments.\n";

static int fail(const char *what)
{
	fprintf(stderr, "kill_at: %s: %s\n", what, strerror(errno));
	return 1;
}

static long number(const char *text)
{
	char *end = NULL;
	long value = 0;

	errno = 0;
	value = strtol(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || value < 0) {
		fputs(usage, stderr);
		exit(2);
	}
	return value;
}

static int run(pid_t pid, long stop)
{
	struct __ptrace_syscall_info info;
	long stops = 0;
	int status = 0;
	int deliver = 0;

	if (ptrace(PTRACE_SEIZE, pid, NULL, PTRACE_O_TRACESYSGOOD) == -1 ||
	    ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) == -1)
	{
		return fail("cannot trace");
	}
	if (waitpid(pid, &status, 0) == -1) {
		return fail("waitpid");
	}
	puts("ready");
	fflush(stdout);

	for (;;) {
		if (ptrace(PTRACE_SYSCALL, pid, NULL, (long)deliver) == -1 &&
		    errno != ESRCH)
		{
			return fail("cannot go on");
		}
		if (waitpid(pid, &status, 0) == -1) {
			return fail("waitpid");
		}
		deliver = 0;
		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			printf("ended after %ld\n", stops);
			return 0;
		}
		if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
			/* A signal of its own, unless it is our interrupt. */
			deliver = (status >> 16) == 0 ? WSTOPSIG(status) : 0;
			continue;
		}
		stops += 1;
		if (stops != stop) {
			continue;
		}
		memset(&info, 0, sizeof(info));
		ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info);
		kill(pid, SIGKILL);
		if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
			printf("killed before %llu\n",
			       (unsigned long long)info.entry.nr);
		} else {
			puts("killed after a call");
		}
		return 0;
	}
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		fputs(usage, stdout);
		return 0;
	}
	if (argc != 3) {
		fputs(usage, stderr);
		return 2;
	}
	return run((pid_t)number(argv[1]), number(argv[2]));
}
