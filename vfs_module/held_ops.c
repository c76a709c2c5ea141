/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Operations that wait until a file's purge-failure count is zero; see
 * held_ops.h.
 */
#include "held_ops.h"
#include "held_list.h"
#include "samba_compat.h"
#include "smb2_request.h"
#include "smbd/smbd.h"
#include "smbd/globals.h"
#include "messages.h"
#include "lib/tsocket/tsocket.h"
#include "lib/util/tevent_ntstatus.h"

struct held_file;

enum held_op_phase {
	HELD_OP_WAITING,
	HELD_OP_RUNNING, /* allowed; its request has not been freed yet */
	HELD_OP_ENDED,	 /* the client has its answer, nothing is done */
};

/* One operation: the state of its tevent_req. */
struct held_op {
	struct held_op *prev, *next;

	struct tevent_req *req;
	struct held_file *file; /* NULL when ended */
	struct files_struct *fsp;
	off_t offset;
	off_t len;

	enum held_op_phase phase;
	bool released; /* the count was zero, or the time is up */
	struct smb2_pending *pending;
	struct tevent_timer *timer;
	struct held_list_note *note; /* while it waits; or NULL */
};

/* A file for which operations wait. */
struct held_file {
	struct held_file *prev, *next;

	struct held_ops *owner;
	struct tevent_context *ev;
	struct udf_file_key key;
	struct held_op *list;	  /* in the order of their arrival */
	struct tevent_req *watch; /* while one of them is not released */
	struct tevent_immediate *kick;
};

struct held_ops {
	struct open_state *state;
	struct held_list *list; /* or NULL */
	struct held_ops_options options;
	struct held_file *files;
};

/*
 * Operations that wait, over all tree connects of the process: smbd has a
 * process for each connection (with multichannel, for each client).
 */
static unsigned held_ops_waiting;

static void held_file_watch(struct held_file *file);
static void held_file_run(struct held_file *file);

struct held_ops *held_ops_create(TALLOC_CTX *mem_ctx,
				 struct open_state *state,
				 struct held_list *list,
				 const struct held_ops_options *options)
{
	struct held_ops *ops = NULL;

	ops = talloc_zero(mem_ctx, struct held_ops);
	if (ops == NULL) {
		return NULL;
	}
	ops->state = state;
	ops->list = list;
	ops->options = *options;
	return ops;
}

bool held_ops_full(const struct held_ops *ops)
{
	return held_ops_waiting >= ops->options.max;
}

static bool ranges_overlap(off_t a, off_t a_len, off_t b, off_t b_len)
{
	/* By differences, which cannot overflow for offsets that are >= 0. */
	if (a <= b) {
		return b - a < a_len;
	}
	return a - b < b_len;
}

/* Does it matter which comes first, this or one of fsp on the range? */
static bool held_op_overlaps(const struct held_op *op,
			     const struct files_struct *fsp,
			     off_t offset,
			     off_t len)
{
	if (op->fsp != fsp) {
		return false;
	}
	/* Where an append ends up depends on all that are done before. */
	return samba_compat_appends(fsp) ||
	       ranges_overlap(op->offset, op->len, offset, len);
}

bool held_ops_overlap(const struct held_ops *ops,
		      const struct files_struct *fsp,
		      off_t offset,
		      off_t len)
{
	const struct held_file *file = NULL;
	const struct held_op *op = NULL;

	for (file = ops->files; file != NULL; file = file->next) {
		for (op = file->list; op != NULL; op = op->next) {
			if (held_op_overlaps(op, fsp, offset, len)) {
				return true;
			}
		}
	}
	return false;
}

static void held_file_kicked(struct tevent_context *ev,
			     struct tevent_immediate *im,
			     void *private_data)
{
	struct held_file *file = talloc_get_type_abort(private_data,
						       struct held_file);

	if (file->list != NULL) {
		held_file_run(file);
		return;
	}
	DLIST_REMOVE(file->owner->files, file);
	TALLOC_FREE(file);
}

/* What is left to do when an operation went, but not from where it went. */
static void held_file_kick(struct held_file *file)
{
	tevent_schedule_immediate(file->kick, file->ev, held_file_kicked, file);
}

/* Take an operation out of the waiting ones. */
static void held_op_stop_waiting(struct held_op *op, enum held_op_phase phase)
{
	SMB_ASSERT(op->phase == HELD_OP_WAITING);

	op->phase = phase;
	held_ops_waiting -= 1;
	TALLOC_FREE(op->timer);
	TALLOC_FREE(op->note);
}

static void held_op_unlink(struct held_op *op)
{
	struct held_file *file = op->file;

	DLIST_REMOVE(file->list, op);
	op->file = NULL;
	held_file_kick(file);
}

static int held_op_destructor(struct held_op *op)
{
	if (op->file == NULL) {
		return 0;
	}
	if (op->phase == HELD_OP_WAITING) {
		held_op_stop_waiting(op, HELD_OP_ENDED);
	}
	held_op_unlink(op);
	return 0;
}

/* Nothing is to be done any more; whoever waits for it hears of that. */
static void held_op_ended(NTSTATUS status, void *private_data)
{
	struct held_op *op = talloc_get_type_abort(private_data,
						   struct held_op);

	/* Freed by the caller. */
	op->pending = NULL;
	held_op_stop_waiting(op, HELD_OP_ENDED);
	held_op_unlink(op);
	tevent_req_nterror(op->req, status);
}

static void held_op_timeout(struct tevent_context *ev,
			    struct tevent_timer *te,
			    struct timeval now,
			    void *private_data)
{
	struct held_op *op = talloc_get_type_abort(private_data,
						   struct held_op);
	struct held_file *file = op->file;
	bool fail = file->owner->options.fail_on_timeout;

	op->timer = NULL;
	DBG_ERR("%s: a write of %jd bytes at %jd was held for %u s, "
		"purge-failure mode is still on: %s\n",
		fsp_str_dbg(op->fsp),
		(intmax_t)op->len,
		(intmax_t)op->offset,
		file->owner->options.timeout,
		fail ? "it fails" : "it is done now");

	if (fail) {
		smb2_pending_end(op->pending, NT_STATUS_PURGE_FAILED);
		return;
	}
	op->released = true;
	held_file_run(file);
}

/* Must it wait for one that came before through the same open? */
static bool held_op_is_behind(const struct held_op *op)
{
	const struct held_op *o = NULL;

	for (o = op->file->list; o != op; o = o->next) {
		if (held_op_overlaps(o, op->fsp, op->offset, op->len)) {
			return true;
		}
	}
	return false;
}

static struct held_op *held_file_next(struct held_file *file)
{
	struct held_op *op = NULL;

	for (op = file->list; op != NULL; op = op->next) {
		if (op->phase == HELD_OP_WAITING && op->released &&
		    !held_op_is_behind(op))
		{
			return op;
		}
	}
	return NULL;
}

/* Let go what may go. Each start can change the list. */
static void held_file_run(struct held_file *file)
{
	struct held_op *op = NULL;

	while ((op = held_file_next(file)) != NULL) {
		if (!smb2_pending_resume(op->pending)) {
			op->released = false;
			smb2_pending_end(op->pending, NT_STATUS_NO_MEMORY);
			continue;
		}
		op->pending = NULL;
		held_op_stop_waiting(op, HELD_OP_RUNNING);
		tevent_req_done(op->req);
	}
}

static void held_file_zero(struct tevent_req *subreq)
{
	struct held_file *file = tevent_req_callback_data(subreq,
							  struct held_file);
	struct held_op *op = NULL;
	struct held_op *next = NULL;
	NTSTATUS status;

	status = open_state_wait_recv(subreq);
	TALLOC_FREE(subreq);
	file->watch = NULL;

	if (!NT_STATUS_IS_OK(status)) {
		DBG_ERR("cannot wait for the count: %s\n", nt_errstr(status));
	}

	for (op = file->list; op != NULL; op = next) {
		next = op->next;
		if (op->phase != HELD_OP_WAITING || op->released) {
			continue;
		}
		if (NT_STATUS_IS_OK(status)) {
			op->released = true;
			continue;
		}
		smb2_pending_end(op->pending, NT_STATUS_PURGE_FAILED);
	}
	held_file_run(file);
}

static void held_file_watch(struct held_file *file)
{
	if (file->watch != NULL) {
		return;
	}
	file->watch = open_state_wait_send(file,
					   file->ev,
					   file->owner->state,
					   &file->key);
	if (file->watch == NULL) {
		return;
	}
	tevent_req_set_callback(file->watch, held_file_zero, file);
}

/* With the tree connect; its requests are answered or their client is gone. */
static int held_file_destructor(struct held_file *file)
{
	struct held_op *op = NULL;

	while ((op = file->list) != NULL) {
		DLIST_REMOVE(file->list, op);
		if (op->phase == HELD_OP_WAITING) {
			held_ops_waiting -= 1;
		}
		TALLOC_FREE(op->timer);
		TALLOC_FREE(op->note);
		op->phase = HELD_OP_ENDED;
		op->file = NULL;
	}
	return 0;
}

static struct held_file *held_file_get(struct held_ops *ops,
				       struct tevent_context *ev,
				       const struct udf_file_key *key)
{
	struct held_file *file = NULL;

	for (file = ops->files; file != NULL; file = file->next) {
		if (memcmp(&file->key, key, sizeof(*key)) == 0) {
			return file;
		}
	}

	file = talloc_zero(ops, struct held_file);
	if (file == NULL) {
		return NULL;
	}
	file->kick = tevent_create_immediate(file);
	if (file->kick == NULL) {
		TALLOC_FREE(file);
		return NULL;
	}
	file->owner = ops;
	file->ev = ev;
	file->key = *key;
	DLIST_ADD(ops->files, file);
	talloc_set_destructor(file, held_file_destructor);
	return file;
}

static struct held_op *held_ops_first_of(struct held_ops *ops,
					 const struct files_struct *fsp)
{
	struct held_file *file = NULL;
	struct held_op *op = NULL;

	for (file = ops->files; file != NULL; file = file->next) {
		for (op = file->list; op != NULL; op = op->next) {
			if (op->fsp == fsp && op->phase == HELD_OP_WAITING) {
				return op;
			}
		}
	}
	return NULL;
}

void held_ops_close(struct held_ops *ops, const struct files_struct *fsp)
{
	struct held_op *op = NULL;

	while ((op = held_ops_first_of(ops, fsp)) != NULL) {
		smb2_pending_end(op->pending, NT_STATUS_CANCELLED);
	}
}

static void held_op_list(struct held_op *op)
{
	struct held_list *list = op->file->owner->list;
	struct files_struct *fsp = op->fsp;
	struct smbd_server_connection *sconn = fsp->conn->sconn;
	struct messaging_context *msg_ctx = sconn->msg_ctx;
	struct held_list_entry entry = {
		.user = fsp->conn->session_info->unix_info->unix_name,
		.server_id = messaging_server_id(msg_ctx),
		.client_guid = fsp->op->global->client_guid,
		.offset = op->offset,
		.length = op->len,
		.since = timespec_current(),
	};
	TALLOC_CTX *frame = NULL;

	if (list == NULL) {
		return;
	}
	frame = talloc_stackframe();
	entry.address = tsocket_address_inet_addr_string(sconn->remote_address,
							 frame);
	if (entry.address == NULL) {
		entry.address = "";
	}
	entry.path = talloc_asprintf(frame,
				     "%s/%s",
				     fsp->conn->connectpath,
				     fsp_str_dbg(fsp));
	if (entry.path != NULL) {
		op->note = held_list_add(op, list, &entry);
	}
	TALLOC_FREE(frame);
}

struct tevent_req *held_op_send(TALLOC_CTX *mem_ctx,
				struct tevent_context *ev,
				struct held_ops *ops,
				struct smbd_smb2_request *smb2req,
				struct files_struct *fsp,
				const struct udf_file_key *key,
				off_t offset,
				off_t len)
{
	struct tevent_req *req = NULL;
	struct held_op *op = NULL;
	struct held_file *file = NULL;
	struct timeval end = timeval_current_ofs(ops->options.timeout, 0);

	req = tevent_req_create(mem_ctx, &op, struct held_op);
	if (req == NULL) {
		return NULL;
	}
	*op = (struct held_op) {
		.req = req,
		.fsp = fsp,
		.offset = offset,
		.len = len,
		.phase = HELD_OP_WAITING,
	};

	file = held_file_get(ops, ev, key);
	if (file == NULL) {
		TALLOC_FREE(req);
		return NULL;
	}
	op->file = file;
	held_ops_waiting += 1;
	DLIST_ADD_END(file->list, op);
	talloc_set_destructor(op, held_op_destructor);

	op->pending = smb2_request_pend(op,
					ev,
					smb2req,
					fsp,
					held_op_ended,
					op);
	op->timer = tevent_add_timer(ev, op, end, held_op_timeout, op);
	if (op->pending == NULL || op->timer == NULL) {
		TALLOC_FREE(req);
		return NULL;
	}

	held_file_watch(file);
	if (file->watch == NULL) {
		TALLOC_FREE(req);
		return NULL;
	}
	held_op_list(op);
	return req;
}

NTSTATUS held_op_recv(struct tevent_req *req)
{
	NTSTATUS status = NT_STATUS_OK;

	/*
	 * Not tevent_req_received(): it would free the state, and with it the
	 * place that keeps later operations behind this one.
	 */
	tevent_req_is_nterror(req, &status);
	return status;
}
