/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What smbd loads as vfs/udf.so. It looks whether this is the Samba that the
 * module was built for, and if it is loads the rest of it, udf/module.so beside
 * this file.
 *
 * The module knows smbd's private structures, which have no version, and uses
 * functions that come and go. smbd binds all that a module uses when it loads
 * it: with another Samba that ends with the name of a missing function, before
 * any code of the module runs, and with no word about versions. What this file
 * uses has been in every Samba for ten years.
 */
#include <dlfcn.h>

#include "includes.h"
#include "smbd/smbd.h"
#include "udf_config.h"

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_VFS

#define REST_OF_MODULE "udf/module.so"
#define INIT_FUNCTION "samba_init_module"

/* How much of a version is its series: "4.17" of "4.17.12-Debian". */
static size_t series_length(const char *version)
{
	size_t length = strcspn(version, ".");

	if (version[length] == '.') {
		length++;
		length += strspn(version + length, "0123456789");
	}
	return length;
}

/*
 * Within a series Samba keeps its interface for modules. Of another one this
 * module must not touch anything.
 */
static bool is_same_series(const char *a, const char *b)
{
	size_t length = series_length(a);

	return length == series_length(b) && strncmp(a, b, length) == 0;
}

/*
 * The name of a file by its place relative to the directory of this one, which
 * may have been found by a symbolic link.
 */
static char *name_beside(TALLOC_CTX *mem_ctx, const char *file)
{
	static const char here = '\0';
	Dl_info info = { .dli_fname = NULL };
	char real[PATH_MAX] = "";
	char *slash = NULL;
	int ret = 0;

	ret = dladdr(&here, &info);
	if (ret == 0 || realpath(info.dli_fname, real) == NULL) {
		return NULL;
	}
	slash = strrchr(real, '/');
	if (slash == NULL) {
		return NULL;
	}
	*slash = '\0';
	return talloc_asprintf(mem_ctx, "%s/%s", real, file);
}

/* Load the rest of the module, and have it register itself with smbd. */
static NTSTATUS load_rest(TALLOC_CTX *mem_ctx, const char *file)
{
	init_module_fn init = NULL;
	void *library = NULL;
	NTSTATUS status;

	/* It stays: its functions are in smbd's tables then. */
	library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
	if (library != NULL) {
		init = (init_module_fn)dlsym(library, INIT_FUNCTION);
	}
	if (init == NULL) {
		DBG_ERR("vfs_udf, built for Samba %s, is not complete: %s. "
			"Install it again\n",
			UDF_SAMBA_VERSION,
			dlerror());
		status = NT_STATUS_DLL_NOT_FOUND;
		goto fail;
	}
	status = init(mem_ctx);
	if (!NT_STATUS_IS_OK(status)) {
		goto fail;
	}
	return NT_STATUS_OK;

fail:
	if (library != NULL) {
		dlclose(library);
	}
	return status;
}

static_decl_vfs;
NTSTATUS vfs_udf_gate_init(TALLOC_CTX *mem_ctx)
{
	const char *version = samba_version_string();
	char *file = NULL;
	NTSTATUS status;

	if (!is_same_series(version, UDF_SAMBA_VERSION)) {
		DBG_ERR("vfs_udf was built for Samba %s, and this is Samba %s: "
			"it is not loaded, and shares that name it are "
			"refused. Install the samba-vfs-udf that belongs to "
			"this Samba, or build it again (make install)\n",
			UDF_SAMBA_VERSION,
			version);
		return NT_STATUS_REVISION_MISMATCH;
	}
	if (strcmp(version, UDF_SAMBA_VERSION) != 0) {
		DBG_WARNING("vfs_udf was built for Samba %s, and this is Samba "
			    "%s: it should do, but build it again (make "
			    "install)\n",
			    UDF_SAMBA_VERSION,
			    version);
	}

	file = name_beside(mem_ctx, REST_OF_MODULE);
	if (file == NULL) {
		return NT_STATUS_NO_MEMORY;
	}
	status = load_rest(mem_ctx, file);
	TALLOC_FREE(file);
	return status;
}
