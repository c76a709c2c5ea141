/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The wire: UDF's file system control codes and their buffers.
 *
 * MS-FSCC gives the codes and layouts of the first three; the fourth is
 * documented for Windows file systems only (ntifs.h, Windows 8 and later).
 * All integers are little-endian. A control code is
 *
 *   DeviceType << 16 | Access << 14 | Function << 2 | Method
 *
 * Samba's own header gives the two QUERY codes a write-access bit that they
 * do not have on the wire, and lacks the two SET codes; so they are defined
 * here, under names that cannot clash.
 *
 * This header knows nothing of Samba: the module, the torture suites, the
 * tools and the unit tests include it.
 */
#ifndef FSCTL_UDF_H
#define FSCTL_UDF_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define UDF_FILE_DEVICE_FILE_SYSTEM 0x00000009u
#define UDF_FILE_ANY_ACCESS 0u
#define UDF_FILE_WRITE_DATA_ACCESS 2u
#define UDF_METHOD_BUFFERED 0u

#define UDF_CTL_CODE(function, access)                                         \
	((UDF_FILE_DEVICE_FILE_SYSTEM << 16) | ((access) << 14) |              \
	 ((function) << 2) | UDF_METHOD_BUFFERED)

/* MS-FSCC: turn defect management of one file off or on. */
#define UDF_FSCTL_SET_DEFECT_MANAGEMENT                                        \
	UDF_CTL_CODE(77u, UDF_FILE_WRITE_DATA_ACCESS)
/* MS-FSCC: the sparing packets of the volume. */
#define UDF_FSCTL_QUERY_SPARING_INFO UDF_CTL_CODE(78u, UDF_FILE_ANY_ACCESS)
/* MS-FSCC: what the volume says of itself. */
#define UDF_FSCTL_QUERY_ON_DISK_VOLUME_INFO                                    \
	UDF_CTL_CODE(79u, UDF_FILE_ANY_ACCESS)
/* ntifs.h: bracket a data scan of one file. */
#define UDF_FSCTL_SET_PURGE_FAILURE_MODE                                       \
	UDF_CTL_CODE(156u, UDF_FILE_ANY_ACCESS)

static_assert(UDF_FSCTL_SET_DEFECT_MANAGEMENT == 0x00098134u,
	      "FSCTL_SET_DEFECT_MANAGEMENT");
static_assert(UDF_FSCTL_QUERY_SPARING_INFO == 0x00090138u,
	      "FSCTL_QUERY_SPARING_INFO");
static_assert(UDF_FSCTL_QUERY_ON_DISK_VOLUME_INFO == 0x0009013Cu,
	      "FSCTL_QUERY_ON_DISK_VOLUME_INFO");
static_assert(UDF_FSCTL_SET_PURGE_FAILURE_MODE == 0x00090270u,
	      "FSCTL_SET_PURGE_FAILURE_MODE");

/*
 * FILE_SET_DEFECT_MGMT_BUFFER: one byte, Disable; any nonzero value is TRUE.
 */
#define UDF_SET_DEFECT_MGMT_LEN 1u

/*
 * SET_PURGE_FAILURE_MODE_INPUT: u32 Flags, one of the two below.
 */
#define UDF_SET_PURGE_FAILURE_MODE_LEN 4u
#define UDF_PURGE_FAILURE_MODE_ENABLED 0x00000001u
#define UDF_PURGE_FAILURE_MODE_DISABLED 0x00000002u

/*
 * FILE_QUERY_SPARING_BUFFER, byte offsets:
 *
 *    0  u32     SparingUnitBytes   bytes of one sparing packet
 *    4  u8      SoftwareSparing    the file system does the sparing
 *    5  u8[3]   reserved, zero
 *    8  u32     TotalSpareBlocks   logical blocks set aside for sparing
 *   12  u32     FreeSpareBlocks    logical blocks of these not in use
 */
#define UDF_SPARING_UNIT_BYTES_OFS 0u
#define UDF_SPARING_SOFTWARE_OFS 4u
#define UDF_SPARING_TOTAL_OFS 8u
#define UDF_SPARING_FREE_OFS 12u
#define UDF_QUERY_SPARING_LEN 16u

/*
 * FILE_QUERY_ON_DISK_VOL_INFO_BUFFER, byte offsets. The fields sum to 332
 * bytes; the native C structure pads to put FormatTime on an 8-byte boundary
 * and ends at 336, and that is what a Windows server copies to the wire.
 *
 *    0  i64        DirectoryCount   -1 unknown
 *    8  i64        FileCount        -1 unknown
 *   16  i16        FsFormatMajVersion
 *   18  i16        FsFormatMinVersion
 *   20  WCHAR[12]  FsFormatName     "UDF"
 *   44  u8[4]      padding, zero
 *   48  FILETIME   FormatTime
 *   56  FILETIME   LastUpdateTime
 *   64  WCHAR[34]  CopyrightInfo
 *  132  WCHAR[34]  AbstractInfo
 *  200  WCHAR[34]  FormattingImplementationInfo
 *  268  WCHAR[34]  LastModifyingImplementationInfo
 */
#define UDF_VOLINFO_DIRECTORIES_OFS 0u
#define UDF_VOLINFO_FILES_OFS 8u
#define UDF_VOLINFO_MAJOR_OFS 16u
#define UDF_VOLINFO_MINOR_OFS 18u
#define UDF_VOLINFO_NAME_OFS 20u
#define UDF_VOLINFO_NAME_CHARS 12u
#define UDF_VOLINFO_FORMAT_TIME_OFS 48u
#define UDF_VOLINFO_UPDATE_TIME_OFS 56u
#define UDF_VOLINFO_COPYRIGHT_OFS 64u
#define UDF_VOLINFO_ABSTRACT_OFS 132u
#define UDF_VOLINFO_FORMATTER_OFS 200u
#define UDF_VOLINFO_MODIFIER_OFS 268u
#define UDF_VOLINFO_TEXT_CHARS 34u
#define UDF_QUERY_ON_DISK_VOLUME_INFO_LEN 336u

static_assert(UDF_VOLINFO_NAME_OFS + 2u * UDF_VOLINFO_NAME_CHARS == 44u,
	      "padding follows the format name");
static_assert(UDF_VOLINFO_MODIFIER_OFS + 2u * UDF_VOLINFO_TEXT_CHARS ==
		      UDF_QUERY_ON_DISK_VOLUME_INFO_LEN,
	      "the last text ends the buffer");

#endif /* FSCTL_UDF_H */
