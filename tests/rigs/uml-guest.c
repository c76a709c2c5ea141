/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the guest of the uml rig needs and a small machine has no command for:
 * load kernel modules by their path, and halt without an init system.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

static int load_module(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int ret = 0;

	if (fd == -1) {
		fprintf(stderr,
			"uml-guest: cannot open %s: %s\n",
			path,
			strerror(errno));
		return 1;
	}
	ret = (int)syscall(SYS_finit_module, fd, "", 0);
	if (ret == -1 && errno != EEXIST) {
		fprintf(stderr,
			"uml-guest: cannot load %s: %s\n",
			path,
			strerror(errno));
		close(fd);
		return 1;
	}
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	int i = 0;

	if (argc > 2 && strcmp(argv[1], "load") == 0) {
		for (i = 2; i < argc; i++) {
			if (load_module(argv[i]) != 0) {
				return 1;
			}
		}
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "halt") == 0) {
		sync();
		reboot(RB_POWER_OFF);
		perror("uml-guest: cannot halt");
		return 1;
	}
	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		printf("Usage: uml-guest load MODULE...\n"
		       "       uml-guest halt\n");
		return 0;
	}
	fprintf(stderr, "uml-guest: load MODULE... or halt is needed\n");
	return 2;
}
