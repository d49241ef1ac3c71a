/*
 * web.h -- outgoing HTTP: the one way in which Peerscope asks a web server (libcurl).
 *
 * One transfer is one web_start and one call of its function, later, from the loop; or
 * one web_cancel and no call. Nothing here waits: libcurl's multi interface runs on the
 * loop's events, and Debian's libcurl looks names up in a thread of its own.
 *
 * GET and POST of http:// and https:// alone; certificates are checked; redirects are answers
 * like others; no proxy, cookie, netrc or password comes from anywhere but the caller.
 * Bounds: WEB_MAX transfers under way (more are refused and counted), body, time and
 * head (WEB_HEAD_MAX) of each.
 * Proof: tests/unit/test_web.c, against a server that hangs, lies and leaves.
 */
#ifndef PEERSCOPE_COLLECTOR_WEB_H
#define PEERSCOPE_COLLECTOR_WEB_H

#include <stddef.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/err.h"

/* Under way at once, all users together: engine, Gluetun and places are one each or a
 * few; each costs about 30 KiB and a descriptor. */
#define WEB_MAX 64
/* All header lines of an answer, 1xx and trailers included. */
#define WEB_HEAD_MAX 32768u
/* A server that says Retry-After for longer is not believed further. */
#define WEB_RETRY_MAX_MS 86400000u

struct event_base;
struct web;				/* opaque */
struct web_req;				/* a transfer under way; opaque */

enum web_rc {
	WEB_OK = 0,			/* a whole answer, whatever its status */
	WEB_REFUSED = 1,		/* nobody listens there: connection refused, at once */
	WEB_TIMEOUT = 2,		/* connect_ms or timeout_ms is over */
	WEB_TOO_LARGE = 3,		/* body or head */
	WEB_FAILED = 4,			/* anything else: name, route, TLS, cut short, garbage */
	WEB_DENIED = 5,			/* no address of it may be asked: web_ask.may */
};

struct web_answer {
	enum web_rc rc;
	int status;			/* 100 .. 999; 0 unless WEB_OK or WEB_TOO_LARGE */
	const char *body;		/* NUL-terminated, may hold other NULs; "" unless WEB_OK */
	size_t len;
	uint64_t retry_after_ms;	/* 0: the server did not say */
	const char *error;		/* a sentence; "" if WEB_OK */
};

/* All of it is valid only during the call. The transfer is over: its web_req is gone.
 * May start and cancel transfers; may not close web. */
typedef void web_fn(void *arg, const struct web_answer *a);

struct web_ask {			/* copied; nothing is borrowed after web_start */
	const char *url;		/* without user and password */
	const char *const *headers;	/* "Name: value", NULL-terminated; NULL: none */
	const char *user, *password;	/* basic auth; NULL or "" user: none */
	uint64_t timeout_ms;		/* for all of it; at least 1 */
	uint64_t connect_ms;		/* for name, connection and TLS; at least 1 */
	size_t max_body;		/* bytes; at least 1 */
	const char *post;		/* NULL: GET; else what is posted */
	size_t post_len;
	/* NULL, or: may this address be connected to? Asked of each that the name turned out
	 * to have, when its socket is made, so that no name can mean another one by then; and
	 * no connection of others is used. It may do nothing else. */
	int (*may)(void *arg, const uint8_t addr[ADDR_LEN]);
	web_fn *fn;
	void *arg;
};

/* Before any other thread is started (libcurl's own rule for its first call). Borrows
 * base. */
PS_MUST int web_open(struct web **out, struct event_base *base, char err[ERRLEN]);
void web_close(struct web **web);	/* cancels all; NULL is fine */
/* NULL with err: a URL that can't be meant, a line break in a header, WEB_MAX under way
 * or no memory. fn is never called before this returns. */
PS_MUST struct web_req *web_start(struct web *web, const struct web_ask *ask,
				  char err[ERRLEN]);
/* fn will not be called. Not for a transfer whose fn was. NULL is fine. */
void web_cancel(struct web_req **req);

#endif
