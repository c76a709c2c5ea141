/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The SMB2 request on whose behalf a VFS function was called; see
 * smb2_request.h.
 */
#include "smb2_request.h"
#include "smbd/smbd.h"
#include "smbd/globals.h"
#include "udf_config.h"
#include "../libcli/smb/smb_common.h"
#include "../lib/util/tevent_ntstatus.h"

/* MS-SMB2 2.2.21: Flags of the WRITE request. */
#define SMB2_WRITE_BODY_FLAGS_OFS 0x2C
#define SMB2_WRITE_BODY_MIN_LEN 0x30

/* talloc knows how large what smbd has allocated is. */
static bool smb2_size_fits(const void *ptr, size_t size)
{
	if (ptr == NULL || talloc_get_size(ptr) == size) {
		return true;
	}
	DBG_ERR("%s has %zu bytes in this smbd, and %zu where vfs_udf was "
		"built, for Samba %s: its shares are refused. Build it again "
		"(make install)\n",
		talloc_get_name(ptr),
		talloc_get_size(ptr),
		size,
		UDF_SAMBA_VERSION);
	return false;
}

bool smb2_request_layout_fits(struct connection_struct *conn)
{
	struct smbd_server_connection *sconn = NULL;
	struct smbXsrv_client *client = NULL;
	struct smbXsrv_connection *xconn = NULL;
	struct smbd_smb2_request *smb2req = NULL;

	/* From one to the next only when the one is known. */
	if (!smb2_size_fits(conn, sizeof(*conn))) {
		return false;
	}
	sconn = conn->sconn;
	if (!smb2_size_fits(sconn, sizeof(*sconn))) {
		return false;
	}
	client = sconn->client;
	if (client == NULL) {
		/* smbd connects for itself, without a client. */
		return true;
	}
	if (!smb2_size_fits(client, sizeof(*client))) {
		return false;
	}
	xconn = client->connections;
	if (xconn == NULL) {
		return true;
	}
	if (!smb2_size_fits(xconn, sizeof(*xconn))) {
		return false;
	}
	smb2req = xconn->smb2.requests;
	return smb2_size_fits(smb2req, sizeof(*smb2req));
}

struct smbd_smb2_request *smb2_request_of(TALLOC_CTX *mem_ctx)
{
	void *p = talloc_find_parent_byname(mem_ctx,
					    "struct smbd_smb2_request");

	return talloc_get_type(p, struct smbd_smb2_request);
}

void smb2_request_get_header(struct smbd_smb2_request *smb2req,
			     struct smb2_request_header *header)
{
	const uint8_t *inhdr = SMBD_SMB2_IN_HDR_PTR(smb2req);
	uint32_t flags = 0;

	*header = (struct smb2_request_header) { .replay = false };

	/* Before SMB 3 the field is a part of Status, which is reserved. */
	if (smb2req->xconn->protocol < PROTOCOL_SMB3_00) {
		return;
	}
	flags = IVAL(inhdr, SMB2_HDR_FLAGS);
	header->replay = ((flags & SMB2_HDR_FLAG_REPLAY_OPERATION) != 0);
	header->channel_sequence = SVAL(inhdr, SMB2_HDR_CHANNEL_SEQUENCE);
}

void smb2_request_get_reply(struct smbd_smb2_request *smb2req,
			    struct smb2_reply *reply)
{
	const uint8_t *inhdr = SMBD_SMB2_IN_HDR_PTR(smb2req);

	*reply = (struct smb2_reply) {
		.client = smb2req->xconn->client,
		.channel_id = smb2req->xconn->channel_id,
		.message_id = BVAL(inhdr, SMB2_HDR_MESSAGE_ID),
	};
}

enum smb2_reply_state smb2_reply_ask(const struct smb2_reply *reply)
{
	struct smbXsrv_connection *xconn = NULL;
	struct smbd_smb2_request *smb2req = NULL;

	xconn = reply->client->connections;
	while (xconn != NULL && xconn->channel_id != reply->channel_id) {
		xconn = xconn->next;
	}
	if (xconn == NULL) {
		return SMB2_REPLY_LOST;
	}

	for (smb2req = xconn->smb2.requests;
	     smb2req != NULL;
	     smb2req = smb2req->next)
	{
		const uint8_t *inhdr = SMBD_SMB2_IN_HDR_PTR(smb2req);

		if (BVAL(inhdr, SMB2_HDR_MESSAGE_ID) == reply->message_id) {
			return SMB2_REPLY_TO_COME;
		}
	}
	if (xconn->smb2.send_queue != NULL) {
		return SMB2_REPLY_TO_COME;
	}
	return NT_STATUS_IS_OK(xconn->transport.status) ? SMB2_REPLY_SENT
							: SMB2_REPLY_LOST;
}

static bool smb2_request_is(struct smbd_smb2_request *smb2req, uint16_t opcode)
{
	const uint8_t *inhdr = SMBD_SMB2_IN_HDR_PTR(smb2req);

	return SVAL(inhdr, SMB2_HDR_OPCODE) == opcode;
}

bool smb2_request_is_unbuffered_write(struct smbd_smb2_request *smb2req)
{
	const uint8_t *inbody = NULL;
	uint32_t flags = 0;

	if (!smb2_request_is(smb2req, SMB2_OP_WRITE)) {
		return false;
	}
	if (smb2req->xconn->protocol < PROTOCOL_SMB3_02) {
		return false;
	}
	if (SMBD_SMB2_IN_BODY_LEN(smb2req) < SMB2_WRITE_BODY_MIN_LEN) {
		return false;
	}
	inbody = SMBD_SMB2_IN_BODY_PTR(smb2req);
	flags = IVAL(inbody, SMB2_WRITE_BODY_FLAGS_OFS);

	return (flags & SMB2_WRITEFLAG_WRITE_UNBUFFERED) != 0;
}

bool smb2_request_can_wait(struct smbd_smb2_request *smb2req)
{
	return !smbd_smb2_is_compound(smb2req) ||
	       smbd_smb2_is_last_in_compound(smb2req);
}

/*
 * talloc has no iterator over children; its report has.
 */
struct smb2_find_child {
	const void *parent;
	bool (*match)(void *child);
	void *found;
};

static void smb2_find_child_cb(const void *ptr,
			       int depth,
			       int max_depth,
			       int is_ref,
			       void *private_data)
{
	struct smb2_find_child *f = private_data;
	void *child = discard_const(ptr);

	if (f->found != NULL || is_ref || ptr == f->parent) {
		return;
	}
	if (f->match(child)) {
		f->found = child;
	}
}

static void *smb2_find_child(const void *parent, bool (*match)(void *child))
{
	struct smb2_find_child f = {
		.parent = parent,
		.match = match,
	};

	talloc_report_depth_cb(parent, 0, 1, smb2_find_child_cb, &f);
	return f.found;
}

/* The request whose SMB2 layer's function a tevent_req is, or NULL. */
static struct smbd_smb2_request *smb2_request_of_layer(struct tevent_req *req)
{
	return talloc_get_type(talloc_parent(req), struct smbd_smb2_request);
}

static bool smb2_has_state(struct tevent_req *req, const char *state_name)
{
	return strcmp(talloc_get_name(_tevent_req_data(req)), state_name) == 0;
}

/* Is it the tevent_req of an SMB2 layer's function that may be overruled? */
static bool smb2_is_layer_req(void *child)
{
	static const char *const states[] = {
		"struct smbd_smb2_setinfo_state",
		"struct smbd_smb2_write_state",
		"struct smbd_smb2_ioctl_state",
	};
	struct tevent_req *req = talloc_get_type(child, struct tevent_req);
	struct smbd_smb2_request *smb2req = NULL;
	size_t i = 0;

	if (req == NULL || !tevent_req_is_in_progress(req)) {
		return false;
	}

	/* One that went asynchronous is not being processed now. */
	smb2req = smb2_request_of_layer(req);
	if (smb2req == NULL || smb2req->subreq == req) {
		return false;
	}

	for (i = 0; i < ARRAY_SIZE(states); i++) {
		if (smb2_has_state(req, states[i])) {
			return true;
		}
	}
	return false;
}

/* Is it that of a SET_INFO that went asynchronous? */
static bool smb2_is_waiting_setinfo(void *child)
{
	struct tevent_req *req = talloc_get_type(child, struct tevent_req);
	struct smbd_smb2_request *smb2req = NULL;

	if (req == NULL || !tevent_req_is_in_progress(req)) {
		return false;
	}
	smb2req = smb2_request_of_layer(req);

	return smb2req != NULL && smb2req->subreq == req &&
	       smb2_has_state(req, "struct smbd_smb2_setinfo_state");
}

/* All requests of a client, on all its connections. */
static struct smbd_smb2_request *smb2_first_request(struct smbXsrv_client *c)
{
	struct smbXsrv_connection *xconn = NULL;

	for (xconn = c->connections; xconn != NULL; xconn = xconn->next) {
		if (xconn->smb2.requests != NULL) {
			return xconn->smb2.requests;
		}
	}
	return NULL;
}

static struct smbd_smb2_request *
smb2_next_request(struct smbd_smb2_request *smb2req)
{
	struct smbXsrv_connection *xconn = smb2req->xconn->next;

	if (smb2req->next != NULL) {
		return smb2req->next;
	}
	while (xconn != NULL && xconn->smb2.requests == NULL) {
		xconn = xconn->next;
	}
	return (xconn == NULL) ? NULL : xconn->smb2.requests;
}

/* The one that is being served now; of the open fsp, unless that is NULL. */
static struct tevent_req *smb2_current_req(struct connection_struct *conn,
					   struct files_struct *fsp)
{
	struct smbXsrv_client *client = conn->sconn->client;
	struct smbd_smb2_request *smb2req = NULL;
	struct tevent_req *req = NULL;

	if (client == NULL) {
		return NULL;
	}

	for (smb2req = smb2_first_request(client);
	     smb2req != NULL;
	     smb2req = smb2_next_request(smb2req))
	{
		if (fsp != NULL && smb2req->compat_chain_fsp != fsp) {
			continue;
		}
		req = smb2_find_child(smb2req, smb2_is_layer_req);
		if (req != NULL) {
			return req;
		}
	}
	return NULL;
}

/*
 * A rename first waits until other clients have given up their leases. Then
 * it is no more the one that smbd is serving; it is one of this file.
 */
static struct tevent_req *smb2_waiting_rename(struct connection_struct *conn,
					      const struct smb_filename *src)
{
	struct smbXsrv_client *client = conn->sconn->client;
	struct smbd_smb2_request *smb2req = NULL;
	struct tevent_req *req = NULL;

	if (client == NULL || !VALID_STAT(src->st)) {
		return NULL;
	}

	for (smb2req = smb2_first_request(client);
	     smb2req != NULL;
	     smb2req = smb2_next_request(smb2req))
	{
		const struct files_struct *fsp = smb2req->compat_chain_fsp;
		const SMB_STRUCT_STAT *st = NULL;

		if (fsp == NULL) {
			continue;
		}
		st = &fsp->fsp_name->st;
		if (st->st_ex_dev != src->st.st_ex_dev ||
		    st->st_ex_ino != src->st.st_ex_ino)
		{
			continue;
		}
		req = smb2_find_child(smb2req, smb2_is_waiting_setinfo);
		if (req != NULL) {
			return req;
		}
	}
	return NULL;
}

struct smb2_exact_status {
	NTSTATUS status;
};

static bool smb2_is_exact_status(void *child)
{
	return talloc_get_type(child, struct smb2_exact_status) != NULL;
}

/* smbd has failed the request with what the errno maps to: overrule it. */
static void smb2_exact_status_cleanup(struct tevent_req *req,
				      enum tevent_req_state req_state)
{
	struct smb2_exact_status *exact = NULL;
	struct smbd_smb2_request *smb2req = NULL;
	NTSTATUS status;

	if (req_state != TEVENT_REQ_USER_ERROR) {
		return;
	}
	exact = talloc_get_type(smb2_find_child(req, smb2_is_exact_status),
				struct smb2_exact_status);
	if (exact == NULL) {
		return;
	}
	status = exact->status;
	tevent_req_set_cleanup_fn(req, NULL);
	TALLOC_FREE(exact);

	/*
	 * Of a request that went asynchronous smbd's callback is set, and
	 * frees it. So it must not be called for this failure, which is
	 * within the other, nor for that one before everybody on the stack
	 * has done with the request.
	 */
	smb2req = smb2_request_of_layer(req);
	tevent_req_defer_callback(req, smb2req->sconn->ev_ctx);
	tevent_req_nterror(req, status);
	tevent_req_defer_callback(req, smb2req->sconn->ev_ctx);
}

static bool smb2_fail_req(struct tevent_req *req, NTSTATUS status)
{
	struct smb2_exact_status *exact = NULL;

	if (req == NULL) {
		return false;
	}
	exact = talloc_get_type(smb2_find_child(req, smb2_is_exact_status),
				struct smb2_exact_status);
	if (exact == NULL) {
		exact = talloc(req, struct smb2_exact_status);
	}
	if (exact == NULL) {
		return false;
	}
	exact->status = status;
	tevent_req_set_cleanup_fn(req, smb2_exact_status_cleanup);
	return true;
}

bool smb2_request_fail(struct smbd_smb2_request *smb2req, NTSTATUS status)
{
	struct tevent_req *req = smb2req->subreq;

	if (req == NULL) {
		req = smb2_find_child(smb2req, smb2_is_layer_req);
	}
	return smb2_fail_req(req, status);
}

bool smb2_request_fail_with(struct files_struct *fsp, NTSTATUS status)
{
	return smb2_fail_req(smb2_current_req(fsp->conn, fsp), status);
}

bool smb2_request_fail_rename(struct connection_struct *conn,
			      const struct smb_filename *src,
			      NTSTATUS status)
{
	struct tevent_req *req = NULL;

	req = smb2_current_req(conn, NULL);
	if (req == NULL) {
		req = smb2_waiting_rename(conn, src);
	}
	return smb2_fail_req(req, status);
}

struct smb2_pending {
	struct smb2_pending *prev, *next;

	struct smbd_smb2_request *smb2req;
	struct files_struct *fsp;
	void (*ended)(NTSTATUS status, void *private_data);
	void *private_data;

	struct tevent_immediate *im;
	/* Known from the first event on: */
	struct tevent_req *layer_req; /* of the SMB2 layer */
	struct tevent_req *aio_req;   /* what fsp->aio_requests had */
	bool parked;		      /* and has no more */
};

static bool smb2_is_aio_link(void *child)
{
	return strcmp(talloc_get_name(child), "struct aio_req_fsp_link") == 0;
}

/*
 * smbd puts what is asynchronous down at its handle: a close waits until it
 * is done, and a close for which nobody can wait (an administrator's, of one
 * file) is a panic. While a request is held nothing of it is being done, so
 * it is taken off; a close then reaches the module, which ends it.
 */
static void smb2_pending_park(struct smb2_pending *p)
{
	void *link = NULL;

	if (p->aio_req == NULL) {
		return;
	}
	link = smb2_find_child(p->aio_req, smb2_is_aio_link);
	p->parked = (link != NULL);
	TALLOC_FREE(link);
}

bool smb2_pending_resume(struct smb2_pending *p)
{
	if (p->parked && !aio_add_req_to_fsp(p->fsp, p->aio_req)) {
		return false;
	}
	TALLOC_FREE(p);
	return true;
}

/* All of this process; a cancel function is told nothing but its request. */
static struct smb2_pending *smb2_pendings;

static int smb2_pending_destructor(struct smb2_pending *p)
{
	DLIST_REMOVE(smb2_pendings, p);
	return 0;
}

void smb2_pending_end(struct smb2_pending *p, NTSTATUS status)
{
	void (*ended)(NTSTATUS status, void *private_data) = p->ended;
	void *private_data = p->private_data;

	smb2_request_fail(p->smb2req, status);
	TALLOC_FREE(p);
	ended(status, private_data);
}

static bool smb2_pending_cancel_fn(struct tevent_req *req)
{
	struct smb2_pending *p = NULL;

	for (p = smb2_pendings; p != NULL; p = p->next) {
		if (p->layer_req == req) {
			smb2_pending_end(p, NT_STATUS_CANCELLED);
			return true;
		}
	}
	return false;
}

/*
 * The first event after the VFS function returned: now smbd has made what is
 * to be taken over.
 */
static void smb2_pending_event(struct tevent_context *ev,
			       struct tevent_immediate *im,
			       void *private_data)
{
	struct smb2_pending *p = talloc_get_type_abort(private_data,
						       struct smb2_pending);
	struct files_struct *fsp = p->fsp;
	unsigned i = 0;

	p->layer_req = p->smb2req->subreq;
	for (i = 0; i < fsp->num_aio_requests; i++) {
		if (talloc_is_parent(p, fsp->aio_requests[i])) {
			p->aio_req = fsp->aio_requests[i];
		}
	}
	if (p->layer_req == NULL) {
		/* smbd did not wait for us after all. */
		return;
	}

	tevent_req_set_cancel_fn(p->layer_req, smb2_pending_cancel_fn);
	smb2_pending_park(p);
}

struct smb2_pending *smb2_request_pend(TALLOC_CTX *mem_ctx,
				       struct tevent_context *ev,
				       struct smbd_smb2_request *smb2req,
				       struct files_struct *fsp,
				       void (*ended)(NTSTATUS status,
						     void *private_data),
				       void *private_data)
{
	struct smb2_pending *p = NULL;

	p = talloc_zero(mem_ctx, struct smb2_pending);
	if (p == NULL) {
		return NULL;
	}
	*p = (struct smb2_pending) {
		.smb2req = smb2req,
		.fsp = fsp,
		.ended = ended,
		.private_data = private_data,
	};
	p->im = tevent_create_immediate(p);
	if (p->im == NULL) {
		TALLOC_FREE(p);
		return NULL;
	}
	DLIST_ADD(smb2_pendings, p);
	talloc_set_destructor(p, smb2_pending_destructor);
	tevent_schedule_immediate(p->im, ev, smb2_pending_event, p);
	return p;
}
