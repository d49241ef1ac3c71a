/*
 * http.h -- one question of a client and the ways to answer it. Each is answered
 * exactly once, with one of http_json, http_body, http_empty or http_error; for HEAD
 * they send the same headers and no body.
 */
#ifndef PEERSCOPE_WORKER_HTTP_H
#define PEERSCOPE_WORKER_HTTP_H

#include <event2/buffer.h>
#include <stddef.h>

#include "common/buf.h"
#include "worker/worker.h"

#define HTTP_PART_MAX 256

struct ask {
	struct worker *w;
	struct gate_conn *conn;
	struct evhttp_request *req;
	char part[HTTP_PART_MAX + 1];	/* what stands for {} in the route, decoded */
	const char *query;		/* behind the '?', or "" */
	const char *type;		/* of the body of http_body; NULL: JSON */
	uint32_t retry_s;		/* Retry-After of a 503; 0: STATUS_RETRY_S */
};

void http_header(struct ask *a, const char *name, const char *value);
/* Sends the bytes of body and empties it; a failed body becomes a 500. */
void http_json(struct ask *a, int status, struct buf *body);
/* By reference; unref is called once, when the last byte is sent or lost. */
void http_body(struct ask *a, int status, const char *p, size_t len,
	       evbuffer_ref_cleanup_cb unref, void *ref);
void http_empty(struct ask *a, int status);	/* 204, 304 */
/* 503 gets its Retry-After here. */
void http_error(struct ask *a, int status, const char *word, const char *fmt, ...)
	PS_PRINTF(4, 5);

/* If-None-Match of this question against our ETag (with its quotes). */
int http_none_match(const struct strict *rq, const char *etag);

enum http_text { HTTP_TEXT_OK = 0, HTTP_TEXT_LONG = 1, HTTP_TEXT_BAD = 2 };

/* Percent-decode len bytes strictly; plus: '+' is a space. LONG: did not fit, out is
 * "". BAD: malformed, or a NUL. */
PS_MUST enum http_text http_decode(char *out, size_t size, const char *in, size_t len,
				   int plus);
/* Next name=value of a query. A name or value too long to be one of ours is "".
 * 1: one; 0: end; -1: malformed. */
#define HTTP_VALUE_MAX 1024
PS_MUST int http_param(const char **query, char name[32], char value[HTTP_VALUE_MAX]);

#endif
