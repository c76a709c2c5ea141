/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Lets a stock Samba program load modules from another directory.
 *
 * Where modules are is compiled into Samba's library; no option and no
 * environment variable changes it, but a function that the library exports
 * does. This object, named in LD_PRELOAD, calls it with the directory of
 * UDF_MODULES_DIR before the program starts. It wants no privilege and no
 * mounts, so it works in a plain chroot too.
 *
 * Only for test rigs: what is installed is found without it.
 */
#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>

static void set_modules_dir(void) __attribute__((constructor));

static void set_modules_dir(void)
{
	const char *directory = getenv("UDF_MODULES_DIR");
	const char *(*set)(const char *) = NULL;

	/* Programs that this one starts have nothing to do with it. */
	unsetenv("LD_PRELOAD");

	set = (const char *(*)(const char *))dlsym(RTLD_DEFAULT,
						    "set_dyn_MODULESDIR");
	if (set != NULL && directory != NULL) {
		set(directory);
	}
}
