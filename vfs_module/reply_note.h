/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Which answers have left for their clients.
 *
 * A client whose smbd was killed replays what it has no answer to. When it
 * sends the same code twice in a row and smbd dies before it has counted the
 * second, the replay of that looks like one of the first. So it is noted, for
 * the smbd that comes after, when the answer to a counted request has been
 * given to the kernel: a kernel sends it also when the process is dead, and
 * then what is replayed is something new.
 *
 * The notes are of this host and of this boot, in a file that does not
 * survive either: where the host itself has failed they say nothing. In a
 * cluster a note is with the node that wrote it last, and every node can read
 * it there for as long as that lives.
 */
#ifndef VFS_UDF_REPLY_NOTE_H
#define VFS_UDF_REPLY_NOTE_H

#include "includes.h"
#include "open_state.h"

struct smbd_smb2_request;

/*
 * Open the notes, once per process; needs root. Without them (that was logged)
 * the other functions do nothing.
 */
void reply_note_init(struct messaging_context *msg_ctx);

/*
 * The request is about to be answered, and was the open's counted one with
 * this serial number: note it as soon as the answer has left.
 */
void reply_note_expect(const struct open_state_owner *owner,
		       uint64_t serial,
		       struct smbd_smb2_request *smb2req);

/* Note that the client has the answer, which it shows by going on. */
void reply_note_answered(const struct open_state_owner *owner, uint64_t serial);

/* The serial number of the last answer that has left; 0 if none is known. */
uint64_t reply_note_find(const struct open_state_owner *owner);

/* The open is closed, or it cannot be told any more what has left. */
void reply_note_forget(uint64_t persistent_id);

#endif /* VFS_UDF_REPLY_NOTE_H */
