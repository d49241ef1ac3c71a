/*
 * http.h -- one question of a client and the ways to answer it. Each is answered
 * exactly once, with one of http_json, http_body, http_file, http_empty, http_error or
 * http_fault; for HEAD
 * they send the same headers and no body.
 */
#ifndef PEERSCOPE_WORKER_HTTP_H
#define PEERSCOPE_WORKER_HTTP_H

#include <event2/buffer.h>
#include <stddef.h>

#include "common/buf.h"
#include "worker/worker.h"

#define HTTP_PART_MAX 256

/*
 * A question that is one of several of a request (metabatch.h): its answer is no answer of
 * the connection, but goes to done, as the bytes of a body; an error of it is the object
 * that it would be, with its status in it. Headers are nobody's.
 */
struct http_part {
	struct waiting *waiting;	/* http_wait's; NULL: nothing waits */
	void (*done)(struct http_part *p, struct evbuffer *body);	/* takes body; NULL: no memory */
};

struct ask {
	struct worker *w;
	struct gate_conn *conn;
	struct evhttp_request *req;
	char part[HTTP_PART_MAX + 1];	/* what stands for {} in the route, decoded */
	const char *query;		/* behind the '?', or "" */
	const char *type;		/* of the body of http_body; NULL: JSON */
	uint64_t timeout_ms;		/* metadata.c: ?timeout=, or UINT64_MAX */
	uint32_t retry_s;		/* Retry-After of an error; 0: a 503 says STATUS_RETRY_S */
	struct http_part *one;		/* NULL: a is a whole request */
};

/* The lines of the log that follow are about it, until log_about(""). */
void http_about(const struct ask *a);

/* What a question that waits for its answer leaves with http_wait. */
struct waiting {
	/* The client left. me is let go of; the request is freed after the call. */
	void (*gone)(struct worker *w, struct waiting *me);
};
/* me hears when the client leaves; NULL: nobody does any more. */
void http_wait(const struct ask *a, struct waiting *me);
/* The gate's hook for that. */
void http_gone(void *arg, struct gate_conn *c);

void http_header(struct ask *a, const char *name, const char *value);
/* Sends the bytes of body, as a->type, and empties it; a failed body becomes a 500. */
void http_json(struct ask *a, int status, struct buf *body);
/* By reference; unref is called once, when the last byte is sent or lost. */
void http_body(struct ask *a, int status, const char *p, size_t len,
	       evbuffer_ref_cleanup_cb unref, void *ref);
/* The bytes of front, which is emptied, and len bytes of the file fd from at on, as the
 * kernel reads them: nothing of the file is in our memory. fd is taken. */
void http_file(struct ask *a, int status, struct buf *front, int fd, uint64_t at,
	       uint64_t len);
/* Whatever it holds: takes body. */
void http_buffer(struct ask *a, int status, struct evbuffer *body);
void http_empty(struct ask *a, int status);	/* 204, 304; 200 without a body */
/* 503 gets its Retry-After here. */
void http_error(struct ask *a, int status, const char *word, const char *fmt, ...)
	PS_PRINTF(4, 5);
/* The same for a route whose contract has its own words for error. */
void http_fault(struct ask *a, int status, const char *error, const char *code,
		const char *fmt, ...) PS_PRINTF(5, 6);

/* If-None-Match of this question against our ETag (with its quotes). */
int http_none_match(const struct strict *rq, const char *etag);
/* "Sat, 31 Jan 2026 12:00:00 GMT" */
#define HTTP_DATE_MAX 40
void http_date(char out[HTTP_DATE_MAX], int64_t at_s);
/* If-Modified-Since names this second or a later one, and no If-None-Match stands beside
 * it (RFC 9110 13.1.3). */
int http_not_since(const struct ask *a, int64_t at_s);

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
