/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Care for opens that nobody has: a durable or persistent handle that was not
 * reclaimed yet. Its count holds up others until it times out, and smbd tells
 * no module when it gives a handle up.
 */
#ifndef VFS_UDF_AWAY_OPENS_H
#define VFS_UDF_AWAY_OPENS_H

#include "includes.h"
#include "open_state.h"

/*
 * From now on see to it that such opens, wherever this process meets one, go
 * from the database when their handles are given up. Once per process; what
 * fails is logged.
 */
void away_opens_look_after(struct open_state *state,
			   struct messaging_context *msg_ctx);

#endif /* VFS_UDF_AWAY_OPENS_H */
