/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The options of a share; see share_options.h.
 */
#include "share_options.h"
#include "lib/util/smb_strtox.h"

#define HOLD_TIMEOUT_DEFAULT 60
#define MAX_HELD_DEFAULT 128
#define MAX_BRACKETS_DEFAULT 1000000

enum hold_action {
	HOLD_PROCEED,
	HOLD_FAIL,
};

static const struct enum_list hold_actions[] = {
	{ HOLD_PROCEED, "proceed" },
	{ HOLD_FAIL, "fail" },
	{ -1, NULL },
};

/*
 * lp_parm_int() takes "2 min" for 2, and "two" for 0: no limit of these would
 * be left, and nobody told.
 */
static uint32_t get_number(int snum, const char *option, uint32_t standard)
{
	const char *text = lp_parm_const_string(snum, "udf", option, NULL);
	unsigned long number = 0;
	int error = 0;

	if (text == NULL) {
		return standard;
	}
	number = smb_strtoul(text, NULL, 10, &error, SMB_STR_FULL_STR_CONV);
	if (error != 0 || number > INT32_MAX) {
		DBG_ERR("share %s: udf:%s = %s is no number from 0 to %d: it "
			"is %"PRIu32"\n",
			lp_const_servicename(snum),
			option,
			text,
			INT32_MAX,
			standard);
		return standard;
	}
	return number;
}

bool share_options_require_store(int snum)
{
	return lp_parm_bool(snum, "udf", "require store", false);
}

NTSTATUS share_options_get(TALLOC_CTX *mem_ctx,
			   int snum,
			   struct share_options *options)
{
	const char **users = NULL;
	char **copy = NULL;
	int action = HOLD_PROCEED;

	action = lp_parm_enum(snum,
			      "udf",
			      "hold timeout action",
			      hold_actions,
			      HOLD_PROCEED);
	options->held = (struct held_ops_options) {
		.timeout = get_number(snum,
				      "hold timeout",
				      HOLD_TIMEOUT_DEFAULT),
		.fail_on_timeout = (action == HOLD_FAIL),
		.max = get_number(snum, "max held", MAX_HELD_DEFAULT),
	};
	options->max_brackets = get_number(snum,
					   "max brackets",
					   MAX_BRACKETS_DEFAULT);

	users = lp_parm_string_list(snum, "udf", "purge mode users", NULL);
	if (users == NULL) {
		options->purge_users = NULL;
		return NT_STATUS_OK;
	}
	/* smb.conf's own list goes when that is read again. */
	copy = str_list_copy(mem_ctx, users);
	if (copy == NULL) {
		return NT_STATUS_NO_MEMORY;
	}
	options->purge_users = discard_const_p(const char *, copy);
	return NT_STATUS_OK;
}
