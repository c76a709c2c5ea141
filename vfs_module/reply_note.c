/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Which answers have left for their clients; see reply_note.h.
 */
#include "reply_note.h"
#include "samba_compat.h"
#include "smb2_request.h"
#include "messages.h"
#include "lib/dbwrap/dbwrap_open.h"
#include "lib/util/util_tdb.h"
#include "librpc/gen_ndr/ndr_misc.h"
#include "../lib/util/dlinklist.h"

#define REPLY_NOTE_DB "udf_replies.tdb"
#define REPLY_NOTE_BOOT_ID "/proc/sys/kernel/random/boot_id"
#define REPLY_NOTE_BOOT_ID_LEN 36

/* The key is a persistent id; the value: */
struct reply_note {
	char boot_id[REPLY_NOTE_BOOT_ID_LEN];
	uint8_t create_guid[16];
	uint8_t serial[8];
};

/* An answer that is to come. */
struct reply_expected {
	struct reply_expected *prev, *next;
	struct smb2_reply reply;
	uint64_t persistent_id;
	struct reply_note note;
	unsigned looks;
};

static struct {
	struct db_context *db;
	struct tevent_context *ev;
	/* Zeros in a cluster, whose notes end with its last node. */
	char boot_id[REPLY_NOTE_BOOT_ID_LEN];
	struct reply_expected *expected;
} notes;

/* The first look comes before smbd answers, the second right after. */
#define REPLY_NOTE_FAST_LOOKS 4
#define REPLY_NOTE_SLOW_LOOKS 1000 /* one each millisecond */

static TDB_DATA reply_note_key(uint64_t persistent_id, uint8_t key[8])
{
	SBVAL(key, 0, persistent_id);
	return make_tdb_data(key, 8);
}

static void reply_note_make(const struct open_state_owner *owner,
			    uint64_t serial,
			    struct reply_note *note)
{
	struct GUID_ndr_buf buf;

	memcpy(note->boot_id, notes.boot_id, sizeof(note->boot_id));
	GUID_to_ndr_buf(&owner->create_guid, &buf);
	memcpy(note->create_guid, buf.buf, sizeof(note->create_guid));
	SBVAL(note->serial, 0, serial);
}

static void reply_note_write(uint64_t persistent_id, struct reply_note *note)
{
	uint8_t buf[8];
	TDB_DATA value = make_tdb_data((uint8_t *)note, sizeof(*note));
	NTSTATUS status;

	status = dbwrap_store(notes.db,
			      reply_note_key(persistent_id, buf),
			      value,
			      TDB_REPLACE);
	if (!NT_STATUS_IS_OK(status)) {
		DBG_WARNING("%s: %s\n", REPLY_NOTE_DB, nt_errstr(status));
	}
}

static void reply_note_done(struct reply_expected *e)
{
	DLIST_REMOVE(notes.expected, e);
	TALLOC_FREE(e);
}

static void reply_note_look(struct reply_expected *e);

static void reply_note_soon(struct tevent_context *ev,
			    struct tevent_immediate *im,
			    void *private_data)
{
	struct reply_expected *e = talloc_get_type_abort(
		private_data, struct reply_expected);

	TALLOC_FREE(im);
	reply_note_look(e);
}

static void reply_note_later(struct tevent_context *ev,
			     struct tevent_timer *timer,
			     struct timeval now,
			     void *private_data)
{
	struct reply_expected *e = talloc_get_type_abort(
		private_data, struct reply_expected);

	reply_note_look(e);
}

/* Look again, when smbd has gone on. */
static bool reply_note_again(struct reply_expected *e)
{
	struct tevent_immediate *im = NULL;
	struct tevent_timer *timer = NULL;

	e->looks += 1;
	if (e->looks <= REPLY_NOTE_FAST_LOOKS) {
		im = tevent_create_immediate(e);
		if (im == NULL) {
			return false;
		}
		tevent_schedule_immediate(im, notes.ev, reply_note_soon, e);
		return true;
	}
	if (e->looks > REPLY_NOTE_SLOW_LOOKS) {
		return false;
	}
	timer = tevent_add_timer(notes.ev,
				 e,
				 timeval_current_ofs_msec(1),
				 reply_note_later,
				 e);
	return timer != NULL;
}

static void reply_note_look(struct reply_expected *e)
{
	switch (smb2_reply_ask(&e->reply)) {
	case SMB2_REPLY_TO_COME:
		if (reply_note_again(e)) {
			return;
		}
		break;
	case SMB2_REPLY_SENT:
		reply_note_write(e->persistent_id, &e->note);
		break;
	case SMB2_REPLY_LOST:
		break;
	}
	reply_note_done(e);
}

/* There is one counted request of an open at a time: the last. */
static void reply_note_drop_expected(uint64_t persistent_id)
{
	struct reply_expected *e = NULL;
	struct reply_expected *next = NULL;

	for (e = notes.expected; e != NULL; e = next) {
		next = e->next;
		if (e->persistent_id == persistent_id) {
			reply_note_done(e);
		}
	}
}

void reply_note_expect(const struct open_state_owner *owner,
		       uint64_t serial,
		       struct smbd_smb2_request *smb2req)
{
	struct reply_expected *e = NULL;

	if (notes.db == NULL) {
		return;
	}
	reply_note_drop_expected(owner->persistent_id);

	e = talloc_zero(NULL, struct reply_expected);
	if (e == NULL) {
		return;
	}
	e->persistent_id = owner->persistent_id;
	reply_note_make(owner, serial, &e->note);
	smb2_request_get_reply(smb2req, &e->reply);
	DLIST_ADD(notes.expected, e);

	if (!reply_note_again(e)) {
		reply_note_done(e);
	}
}

void reply_note_answered(const struct open_state_owner *owner, uint64_t serial)
{
	struct reply_note note;

	if (notes.db == NULL) {
		return;
	}
	reply_note_make(owner, serial, &note);
	reply_note_write(owner->persistent_id, &note);
}

struct reply_note_find_state {
	struct reply_note wanted;
	uint64_t serial;
};

static void reply_note_find_fn(TDB_DATA key,
			       TDB_DATA value,
			       void *private_data)
{
	struct reply_note_find_state *state = private_data;
	struct reply_note note;

	if (value.dsize != sizeof(note)) {
		return;
	}
	memcpy(&note, value.dptr, sizeof(note));
	if (memcmp(note.boot_id,
		   state->wanted.boot_id,
		   sizeof(note.boot_id)) == 0 &&
	    memcmp(note.create_guid,
		   state->wanted.create_guid,
		   sizeof(note.create_guid)) == 0)
	{
		state->serial = BVAL(note.serial, 0);
	}
}

uint64_t reply_note_find(const struct open_state_owner *owner)
{
	struct reply_note_find_state state = { .serial = 0 };
	uint8_t buf[8];

	if (notes.db == NULL) {
		return 0;
	}
	reply_note_make(owner, 0, &state.wanted);
	dbwrap_parse_record(notes.db,
			    reply_note_key(owner->persistent_id, buf),
			    reply_note_find_fn,
			    &state);
	return state.serial;
}

void reply_note_forget(uint64_t persistent_id)
{
	uint8_t buf[8];

	if (notes.db == NULL) {
		return;
	}
	reply_note_drop_expected(persistent_id);
	dbwrap_delete(notes.db, reply_note_key(persistent_id, buf));
}

static bool reply_note_read_boot_id(void)
{
	ssize_t len = -1;
	int fd = -1;

	fd = open(REPLY_NOTE_BOOT_ID, O_RDONLY | O_CLOEXEC);
	if (fd == -1) {
		return false;
	}
	len = read(fd, notes.boot_id, sizeof(notes.boot_id));
	close(fd);
	return len == sizeof(notes.boot_id);
}

void reply_note_init(struct messaging_context *msg_ctx)
{
	int tdb_flags = TDB_DEFAULT | TDB_INCOMPATIBLE_HASH;
	char *path = NULL;

	if (notes.db != NULL) {
		return;
	}
	if (lp_clustering()) {
		/* Volatile: kept by the nodes, and by none on disk. */
		tdb_flags |= TDB_CLEAR_IF_FIRST;
	} else if (!reply_note_read_boot_id()) {
		DBG_WARNING("cannot read %s\n", REPLY_NOTE_BOOT_ID);
		return;
	}
	notes.ev = messaging_tevent_context(msg_ctx);

	path = lock_path(NULL, REPLY_NOTE_DB);
	if (path == NULL) {
		return;
	}
	notes.db = db_open(NULL,
			   path,
			   0,
			   tdb_flags,
			   O_RDWR | O_CREAT,
			   0600,
			   DBWRAP_LOCK_ORDER_NONE,
			   DBWRAP_FLAG_NONE);
	if (notes.db == NULL) {
		DBG_WARNING("cannot open %s: %s\n", path, strerror(errno));
	}
	TALLOC_FREE(path);
}
