/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * udf.volinfo: FSCTL_QUERY_ON_DISK_VOLUME_INFO (MS-FSA 2.1.5.10.25; MS-FSCC,
 * FSCTL_QUERY_ON_DISK_VOLUME_INFO Reply) and what the share says of its file
 * system, which Windows programs look at before they send UDF's codes.
 */
#include "includes.h"
#include "libcli/smb2/smb2.h"
#include "libcli/smb2/smb2_calls.h"
#include "torture/torture.h"
#include "torture/smb2/proto.h"

#include "fsctl_udf.h"
#include "suites.h"
#include "util.h"

#define FNAME UDF_TEST_PATH("volinfo.dat")

/* 1995-01-01, as NTTIME: UDF was not there before. */
#define UDF_FIRST_NTTIME 124333920000000000ULL
/* What two clocks may differ by: a day, since a volume's own time zone may
 * have been wrong. */
#define CLOCK_SLACK_NTTIME (24ULL * 3600 * 10000000)

/* MS-FSCC 2.5.1, FileSystemAttributes; Samba has no name for it. */
#define UDF_SUPPORTS_HARD_LINKS 0x00400000u

/* MS-FSA: UDFS file names. */
#define UDF_COMPONENT_LENGTH 254u

static NTSTATUS query_volinfo(struct smb2_tree *tree, TALLOC_CTX *mem_ctx,
			      struct smb2_handle handle, uint32_t max_output,
			      DATA_BLOB *output)
{
	return udf_fsctl(tree,
			 mem_ctx,
			 handle,
			 UDF_FSCTL_QUERY_ON_DISK_VOLUME_INFO,
			 data_blob_null,
			 max_output,
			 output);
}

/* Open the share's root; *reason says why the code is not served here. */
static bool volinfo_setup(struct torture_context *tctx, struct smb2_tree *tree,
			  struct smb2_handle *root, const char **reason)
{
	NTSTATUS status;

	*reason = NULL;
	status = udf_open(tree,
			  "",
			  SEC_FILE_READ_ATTRIBUTE,
			  NTCREATEX_DISP_OPEN,
			  0,
			  root);
	torture_assert_ntstatus_ok(tctx, status, "opening the share's root");

	status = query_volinfo(tree,
			       tctx,
			       *root,
			       UDF_QUERY_ON_DISK_VOLUME_INFO_LEN,
			       NULL);
	if (udf_not_served(status)) {
		*reason = "FSCTL_QUERY_ON_DISK_VOLUME_INFO is not served "
			  "here\n";
	}
	return true;
}

/* As volinfo_setup(), with the 336 bytes. */
static bool volinfo_get(struct torture_context *tctx, struct smb2_tree *tree,
			struct smb2_handle *root, const char **reason,
			DATA_BLOB *output)
{
	NTSTATUS status;

	if (!volinfo_setup(tctx, tree, root, reason)) {
		return false;
	}
	if (*reason != NULL) {
		return true;
	}
	status = query_volinfo(tree,
			       tctx,
			       *root,
			       UDF_QUERY_ON_DISK_VOLUME_INFO_LEN,
			       output);
	torture_assert_ntstatus_ok(tctx, status, "QUERY_ON_DISK_VOLUME_INFO");
	torture_assert_u64_equal(tctx,
				 output->length,
				 UDF_QUERY_ON_DISK_VOLUME_INFO_LEN,
				 "length of the reply");
	return true;
}

/* The name is "UDF", the revision one that was published. */
static bool test_format(struct torture_context *tctx, struct smb2_tree *tree)
{
	static const struct {
		uint16_t major, minor;
	} revisions[] = {
		{1, 1}, {1, 2}, {1, 50}, {2, 0}, {2, 1}, {2, 50}, {2, 60},
	};
	/* "UDF" in UTF-16LE, padded with zeroes to the field's 12. */
	static const uint8_t name[2 * UDF_VOLINFO_NAME_CHARS] = {
		'U', 0, 'D', 0, 'F', 0,
	};
	struct smb2_handle root = {{0}};
	DATA_BLOB output = data_blob_null;
	const char *reason = NULL;
	uint16_t major, minor;
	bool known = false;
	bool ret = true;
	size_t i;

	if (!volinfo_get(tctx, tree, &root, &reason, &output)) {
		ret = false;
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	torture_assert_mem_equal_goto(tctx,
				      output.data + UDF_VOLINFO_NAME_OFS,
				      name,
				      sizeof(name),
				      ret,
				      done,
				      "FsFormatName");
	major = SVAL(output.data, UDF_VOLINFO_MAJOR_OFS);
	minor = SVAL(output.data, UDF_VOLINFO_MINOR_OFS);
	torture_comment(tctx, "UDF %u.%02u\n", major, minor);
	for (i = 0; i < ARRAY_SIZE(revisions); i++) {
		if (revisions[i].major == major &&
		    revisions[i].minor == minor) {
			known = true;
		}
	}
	torture_assert_goto(
		tctx, known, ret, done, "a revision that was published");
	torture_assert_mem_equal_goto(tctx,
				      output.data + UDF_VOLINFO_NAME_OFS +
					      sizeof(name),
				      "\0\0\0\0",
				      4,
				      ret,
				      done,
				      "the padding is zero");
done:
	udf_close(tree, &root);
	return ret;
}

/* Formatted after UDF was invented, changed since, not in the future. */
static bool test_times(struct torture_context *tctx, struct smb2_tree *tree)
{
	struct smb2_handle root = {{0}};
	DATA_BLOB output = data_blob_null;
	const char *reason = NULL;
	NTTIME format_time, update_time, now;
	bool ret = true;

	if (!volinfo_get(tctx, tree, &root, &reason, &output)) {
		ret = false;
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	format_time = BVAL(output.data, UDF_VOLINFO_FORMAT_TIME_OFS);
	update_time = BVAL(output.data, UDF_VOLINFO_UPDATE_TIME_OFS);
	unix_to_nt_time(&now, time(NULL));
	torture_comment(tctx,
			"formatted %s, changed %s\n",
			nt_time_string(tctx, format_time),
			nt_time_string(tctx, update_time));

	torture_assert_goto(tctx,
			    format_time >= UDF_FIRST_NTTIME,
			    ret,
			    done,
			    "FormatTime is of this standard's days");
	torture_assert_goto(tctx,
			    update_time + CLOCK_SLACK_NTTIME >= format_time,
			    ret,
			    done,
			    "LastUpdateTime is not before FormatTime");
	torture_assert_goto(tctx,
			    format_time <= now + CLOCK_SLACK_NTTIME &&
				    update_time <= now + CLOCK_SLACK_NTTIME,
			    ret,
			    done,
			    "no time is in the future");
done:
	udf_close(tree, &root);
	return ret;
}

/* Counts are -1, unknown, or plausible. */
static bool test_counts(struct torture_context *tctx, struct smb2_tree *tree)
{
	struct smb2_handle root = {{0}};
	DATA_BLOB output = data_blob_null;
	const char *reason = NULL;
	int64_t directories, files;
	bool ret = true;

	if (!volinfo_get(tctx, tree, &root, &reason, &output)) {
		ret = false;
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	directories = (int64_t)BVAL(output.data, UDF_VOLINFO_DIRECTORIES_OFS);
	files = (int64_t)BVAL(output.data, UDF_VOLINFO_FILES_OFS);
	torture_comment(tctx,
			"%lld directories, %lld files\n",
			(long long)directories,
			(long long)files);
	torture_assert_goto(tctx,
			    directories == -1 || directories >= 1,
			    ret,
			    done,
			    "the root is a directory");
	torture_assert_goto(tctx,
			    files >= -1 && files <= UINT32_MAX,
			    ret,
			    done,
			    "FileCount");
done:
	udf_close(tree, &root);
	return ret;
}

/* One more file is one more in FileCount, if the server counts. */
static bool test_counts_follow(struct torture_context *tctx,
			       struct smb2_tree *tree)
{
	struct smb2_handle root = {{0}};
	DATA_BLOB output = data_blob_null;
	const char *reason = NULL;
	int64_t before, with_file, after;
	bool ret = true;
	NTSTATUS status;

	if (!udf_test_dir(tctx, tree)) {
		return false;
	}
	smb2_util_unlink(tree, FNAME);
	if (!volinfo_get(tctx, tree, &root, &reason, &output)) {
		ret = false;
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);
	before = (int64_t)BVAL(output.data, UDF_VOLINFO_FILES_OFS);
	if (before == -1) {
		torture_skip_goto(
			tctx, done, "the server does not count files\n");
	}

	status = udf_test_file(tree, FNAME);
	UDF_OK(tctx, status, "making " FNAME);
	status = query_volinfo(tree,
			       tctx,
			       root,
			       UDF_QUERY_ON_DISK_VOLUME_INFO_LEN,
			       &output);
	UDF_OK(tctx, status, "with one more file");
	with_file = (int64_t)BVAL(output.data, UDF_VOLINFO_FILES_OFS);
	torture_assert_goto(tctx,
			    with_file == before + 1,
			    ret,
			    done,
			    "FileCount grows with a file");

	status = smb2_util_unlink(tree, FNAME);
	UDF_OK(tctx, status, "deleting " FNAME);
	status = query_volinfo(tree,
			       tctx,
			       root,
			       UDF_QUERY_ON_DISK_VOLUME_INFO_LEN,
			       &output);
	UDF_OK(tctx, status, "after the file");
	after = (int64_t)BVAL(output.data, UDF_VOLINFO_FILES_OFS);
	torture_assert_goto(tctx,
			    after == before,
			    ret,
			    done,
			    "FileCount shrinks with a file");
done:
	udf_close(tree, &root);
	udf_remove(tree, FNAME);
	return ret;
}

/* The four texts are UTF-16, ended or filled, with nothing after their end. */
static bool test_texts(struct torture_context *tctx, struct smb2_tree *tree)
{
	static const struct {
		const char *name;
		size_t offset;
	} fields[] = {
		{"CopyrightInfo", UDF_VOLINFO_COPYRIGHT_OFS},
		{"AbstractInfo", UDF_VOLINFO_ABSTRACT_OFS},
		{"FormattingImplementationInfo", UDF_VOLINFO_FORMATTER_OFS},
		{"LastModifyingImplementationInfo", UDF_VOLINFO_MODIFIER_OFS},
	};
	struct smb2_handle root = {{0}};
	DATA_BLOB output = data_blob_null;
	const char *reason = NULL;
	bool ret = true;
	size_t i, j;

	if (!volinfo_get(tctx, tree, &root, &reason, &output)) {
		ret = false;
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	for (i = 0; i < ARRAY_SIZE(fields); i++) {
		const uint8_t *text = output.data + fields[i].offset;
		bool ended = false;

		for (j = 0; j < UDF_VOLINFO_TEXT_CHARS; j++) {
			uint16_t c = SVAL(text, 2 * j);

			torture_assert_goto(
				tctx,
				!ended || c == 0,
				ret,
				done,
				talloc_asprintf(tctx,
						"%s: nothing after its end",
						fields[i].name));
			ended = ended || c == 0;
		}
	}
	torture_assert_goto(tctx,
			    SVAL(output.data, UDF_VOLINFO_FORMATTER_OFS) != 0,
			    ret,
			    done,
			    "some implementation formatted the volume");
done:
	udf_close(tree, &root);
	return ret;
}

/* Any handle of the volume gets the same answer. */
static bool test_any_handle(struct torture_context *tctx,
			    struct smb2_tree *tree)
{
	struct smb2_handle root = {{0}};
	struct smb2_handle file = {{0}};
	DATA_BLOB by_root = data_blob_null;
	DATA_BLOB by_file = data_blob_null;
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (!udf_test_dir(tctx, tree)) {
		return false;
	}
	status = udf_test_file(tree, FNAME);
	UDF_OK(tctx, status, "making " FNAME);
	status = udf_open(tree,
			  FNAME,
			  SEC_FILE_READ_ATTRIBUTE,
			  NTCREATEX_DISP_OPEN,
			  0,
			  &file);
	UDF_OK(tctx, status, "opening " FNAME);
	if (!volinfo_get(tctx, tree, &root, &reason, &by_root)) {
		ret = false;
		goto done;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = query_volinfo(tree,
			       tctx,
			       file,
			       UDF_QUERY_ON_DISK_VOLUME_INFO_LEN,
			       &by_file);
	UDF_OK(tctx, status, "on a file");
	torture_assert_u64_equal_goto(tctx,
				      by_file.length,
				      by_root.length,
				      ret,
				      done,
				      "same length");
	/* LastUpdateTime may move on between the two. */
	torture_assert_mem_equal_goto(
		tctx,
		by_file.data + UDF_VOLINFO_MAJOR_OFS,
		by_root.data + UDF_VOLINFO_MAJOR_OFS,
		UDF_VOLINFO_UPDATE_TIME_OFS - UDF_VOLINFO_MAJOR_OFS,
		ret,
		done,
		"same format");
	torture_assert_mem_equal_goto(
		tctx,
		by_file.data + UDF_VOLINFO_COPYRIGHT_OFS,
		by_root.data + UDF_VOLINFO_COPYRIGHT_OFS,
		UDF_VOLINFO_MODIFIER_OFS - UDF_VOLINFO_COPYRIGHT_OFS,
		ret,
		done,
		"same texts");
done:
	udf_close(tree, &file);
	udf_close(tree, &root);
	udf_remove(tree, FNAME);
	return ret;
}

/* The reply has exactly 336 bytes however much is allowed. */
static bool test_large_output(struct torture_context *tctx,
			      struct smb2_tree *tree)
{
	struct smb2_handle root = {{0}};
	DATA_BLOB output = data_blob_null;
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (!volinfo_setup(tctx, tree, &root, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	status = query_volinfo(tree, tctx, root, 4096, &output);
	UDF_OK(tctx, status, "with 4096 bytes allowed");
	torture_assert_u64_equal_goto(tctx,
				      output.length,
				      UDF_QUERY_ON_DISK_VOLUME_INFO_LEN,
				      ret,
				      done,
				      "length of the reply");
done:
	udf_close(tree, &root);
	return ret;
}

/* MS-FSA: an output buffer that is too short is BUFFER_TOO_SMALL. */
static bool test_short_output(struct torture_context *tctx,
			      struct smb2_tree *tree)
{
	static const uint32_t lengths[] = {
		0, 1, 64, UDF_QUERY_ON_DISK_VOLUME_INFO_LEN - 4,
		UDF_QUERY_ON_DISK_VOLUME_INFO_LEN - 1,
	};
	struct smb2_handle root = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;
	size_t i;

	if (!volinfo_setup(tctx, tree, &root, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		status = query_volinfo(tree, tctx, root, lengths[i], NULL);
		UDF_STATUS(tctx,
			   status,
			   NT_STATUS_BUFFER_TOO_SMALL,
			   talloc_asprintf(
				   tctx, "with %u bytes allowed", lengths[i]));
	}
done:
	udf_close(tree, &root);
	return ret;
}

static bool test_closed_handle(struct torture_context *tctx,
			       struct smb2_tree *tree)
{
	struct smb2_handle root = {{0}};
	struct smb2_handle stale = {{0}};
	const char *reason = NULL;
	bool ret = true;
	NTSTATUS status;

	if (!volinfo_setup(tctx, tree, &root, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	stale = root;
	udf_close(tree, &root);
	status = query_volinfo(tree,
			       tctx,
			       stale,
			       UDF_QUERY_ON_DISK_VOLUME_INFO_LEN,
			       NULL);
	UDF_STATUS(tctx, status, NT_STATUS_FILE_CLOSED, "on a closed handle");
done:
	udf_close(tree, &root);
	return ret;
}

/* FileFsAttributeInformation says UDF, with UDFS's attributes. */
static bool test_file_system(struct torture_context *tctx,
			     struct smb2_tree *tree)
{
	static const struct {
		const char *name;
		uint32_t bit;
	} wanted[] = {
		{"CASE_SENSITIVE_SEARCH", FILE_CASE_SENSITIVE_SEARCH},
		{"CASE_PRESERVED_NAMES", FILE_CASE_PRESERVED_NAMES},
		{"UNICODE_ON_DISK", FILE_UNICODE_ON_DISK},
		{"SUPPORTS_HARD_LINKS", UDF_SUPPORTS_HARD_LINKS},
	};
	union smb_fsinfo info = {
		.generic.level = RAW_QFS_ATTRIBUTE_INFORMATION,
	};
	struct smb2_handle root = {{0}};
	const char *reason = NULL;
	uint32_t attributes;
	bool ret = true;
	NTSTATUS status;
	size_t i;

	if (!volinfo_setup(tctx, tree, &root, &reason)) {
		return false;
	}
	UDF_SKIP_IF(tctx, reason, ret, done);

	info.generic.handle = root;
	status = smb2_getinfo_fs(tree, tctx, &info);
	UDF_OK(tctx, status, "FileFsAttributeInformation");
	attributes = info.attribute_info.out.fs_attr;
	torture_comment(tctx,
			"%s, attributes 0x%08x, names of %u\n",
			info.attribute_info.out.fs_type.s,
			attributes,
			info.attribute_info.out.max_file_component_length);

	torture_assert_str_equal_goto(tctx,
				      info.attribute_info.out.fs_type.s,
				      "UDF",
				      ret,
				      done,
				      "the file system's name");
	for (i = 0; i < ARRAY_SIZE(wanted); i++) {
		torture_assert_goto(tctx,
				    attributes & wanted[i].bit,
				    ret,
				    done,
				    wanted[i].name);
	}
	torture_assert_goto(
		tctx,
		info.attribute_info.out.max_file_component_length >=
			UDF_COMPONENT_LENGTH,
		ret,
		done,
		"names as long as UDF's");
done:
	udf_close(tree, &root);
	return ret;
}

struct torture_suite *udf_volinfo_suite(TALLOC_CTX *ctx)
{
	struct torture_suite *suite = NULL;

	suite = torture_suite_create(ctx, "volinfo");
	if (suite == NULL) {
		return NULL;
	}
	suite->description =
		talloc_strdup(suite, "FSCTL_QUERY_ON_DISK_VOLUME_INFO");

	torture_suite_add_1smb2_test(suite, "format", test_format);
	torture_suite_add_1smb2_test(suite, "times", test_times);
	torture_suite_add_1smb2_test(suite, "counts", test_counts);
	torture_suite_add_1smb2_test(
		suite, "counts_follow", test_counts_follow);
	torture_suite_add_1smb2_test(suite, "texts", test_texts);
	torture_suite_add_1smb2_test(suite, "any_handle", test_any_handle);
	torture_suite_add_1smb2_test(suite, "large_output", test_large_output);
	torture_suite_add_1smb2_test(suite, "short_output", test_short_output);
	torture_suite_add_1smb2_test(
		suite, "closed_handle", test_closed_handle);
	torture_suite_add_1smb2_test(suite, "file_system", test_file_system);
	return suite;
}
