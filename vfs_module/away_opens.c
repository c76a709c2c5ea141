/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Care for opens that nobody has; see away_opens.h.
 */
#include "away_opens.h"
#include "samba_compat.h"
#include "messages.h"
#include "../lib/util/dlinklist.h"

/* NTTIME counts 100 ns. */
#define NTTIME_PER_MSEC 10000

/* smbd's own timer may be this late, where smbd cannot be asked. */
#define AWAY_GRACE_MSEC 2000

/* How long after the time-out to look whether smbd has given a handle up. */
#define AWAY_LOOK_MSEC 100

/* How long until the next look at one that could not be given up yet. */
#define AWAY_AGAIN_MSEC 500

/* How long until the database is read again, if that failed. */
#define AWAY_FAILED_MSEC 5000

/* A file that has such opens: looked at again when the timer fires. */
struct away_file {
	struct away_file *prev, *next;
	struct open_state *state;
	struct udf_file_key key;
	struct tevent_timer *timer;
};

static struct messaging_context *away_msg_ctx;
static struct away_file *away_files;
static struct tevent_timer *away_sweep_timer;

static void away_file_run(struct tevent_context *ev,
			  struct tevent_timer *timer,
			  struct timeval now,
			  void *private_data);

static bool away_file_set_timer(struct away_file *file, uint32_t msec)
{
	struct tevent_context *ev = messaging_tevent_context(away_msg_ctx);
	struct timeval at = timeval_current_ofs_msec(msec);

	TALLOC_FREE(file->timer);
	file->timer = tevent_add_timer(ev, file, at, away_file_run, file);
	return file->timer != NULL;
}

static void away_file_forget(struct away_file *file)
{
	DLIST_REMOVE(away_files, file);
	TALLOC_FREE(file);
}

static void away_note(struct open_state *state, const struct udf_file_key *key)
{
	struct away_file *file = NULL;

	for (file = away_files; file != NULL; file = file->next) {
		if (memcmp(&file->key, key, sizeof(*key)) == 0) {
			return;
		}
	}

	file = talloc_zero(NULL, struct away_file);
	if (file == NULL) {
		return;
	}
	file->state = state;
	file->key = *key;
	DLIST_ADD(away_files, file);
	/* Records may be locked now. */
	if (!away_file_set_timer(file, 0)) {
		away_file_forget(file);
	}
}

/* Milliseconds since (the argument); 0 if that is yet to come. */
static uint64_t away_msec_since(NTTIME then)
{
	struct timeval tv = timeval_current();
	NTTIME now = timeval_to_nttime(&tv);

	return (now <= then) ? 0 : (now - then) / NTTIME_PER_MSEC;
}

/*
 * Look at one open. Returns after how many milliseconds to look again, 0:
 * it has gone.
 */
static uint32_t away_open_look(struct away_file *file,
			       const struct open_state_entry *entry)
{
	const struct open_state_owner *owner = &entry->owner;
	uint32_t timeout = MIN(owner->timeout_msec,
			       UINT32_MAX - AWAY_GRACE_MSEC);
	enum samba_compat_handle handle;
	uint64_t away_msec = 0;
	bool given_up = false;
	bool is_first = !entry->disconnected;
	NTSTATUS status;

	if (is_first && !owner->persistent) {
		goto drop;
	}

	handle = samba_compat_ask_handle(owner->persistent_id,
					 &owner->create_guid);
	if (handle == SAMBA_COMPAT_HANDLE_GONE) {
		goto drop;
	}
	if (is_first) {
		status = open_state_stamp_away(file->state,
					       &file->key,
					       owner->persistent_id);
		if (!NT_STATUS_IS_OK(status)) {
			return AWAY_AGAIN_MSEC;
		}
		return timeout + AWAY_LOOK_MSEC;
	}

	away_msec = away_msec_since(entry->disconnect_time);
	if (away_msec < timeout) {
		return timeout - away_msec + AWAY_LOOK_MSEC;
	}
	if (handle == SAMBA_COMPAT_HANDLE_BUSY) {
		return AWAY_AGAIN_MSEC;
	}
	if (handle == SAMBA_COMPAT_HANDLE_KEPT) {
		become_root();
		given_up = samba_compat_give_up_handle(owner->persistent_id);
		unbecome_root();
		if (!given_up) {
			return AWAY_AGAIN_MSEC;
		}
	} else if (away_msec < timeout + AWAY_GRACE_MSEC) {
		return AWAY_AGAIN_MSEC;
	}
drop:
	status = open_state_drop_away(file->state,
				      &file->key,
				      owner->persistent_id);
	/* CTDB may be at work on its databases. */
	return NT_STATUS_IS_OK(status) ? 0 : AWAY_AGAIN_MSEC;
}

static void away_file_run(struct tevent_context *ev,
			  struct tevent_timer *timer,
			  struct timeval now,
			  void *private_data)
{
	struct away_file *file = talloc_get_type_abort(private_data,
						       struct away_file);
	struct open_state_entry *entries = NULL;
	TALLOC_CTX *frame = talloc_stackframe();
	uint32_t next = 0;
	NTSTATUS status;
	size_t i = 0;

	file->timer = NULL;

	status = open_state_list_away(file->state, &file->key, frame, &entries);
	if (!NT_STATUS_IS_OK(status)) {
		DBG_WARNING("open_state_list_away: %s\n", nt_errstr(status));
		next = AWAY_FAILED_MSEC;
	}
	for (i = 0; i < talloc_array_length(entries); i++) {
		uint32_t again = away_open_look(file, &entries[i]);

		if (again != 0 && (next == 0 || again < next)) {
			next = again;
		}
	}
	TALLOC_FREE(frame);

	if (next == 0 || !away_file_set_timer(file, next)) {
		away_file_forget(file);
	}
}

static void away_sweep(struct open_state *state);

static void away_sweep_again(struct tevent_context *ev,
			     struct tevent_timer *timer,
			     struct timeval now,
			     void *private_data)
{
	away_sweep_timer = NULL;
	away_sweep(private_data);
}

static void away_sweep(struct open_state *state)
{
	struct tevent_context *ev = messaging_tevent_context(away_msg_ctx);
	struct timeval at = timeval_current_ofs_msec(AWAY_FAILED_MSEC);
	NTSTATUS status;

	status = open_state_look_after(state, away_note);
	if (NT_STATUS_IS_OK(status)) {
		return;
	}
	DBG_WARNING("cannot look after opens that nobody has, now: %s\n",
		    nt_errstr(status));
	away_sweep_timer = tevent_add_timer(ev,
					    NULL,
					    at,
					    away_sweep_again,
					    state);
}

void away_opens_look_after(struct open_state *state,
			   struct messaging_context *msg_ctx)
{
	away_msg_ctx = msg_ctx;
	if (away_sweep_timer == NULL) {
		away_sweep(state);
	}
}
