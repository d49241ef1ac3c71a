/*
 * strict.h -- reads one HTTP request, strictly, from whatever pieces it comes in.
 *
 * Pure: bytes in, verdict out; no descriptor, no clock. llhttp (strict mode) does
 * the parsing; before it stands a reader of lines that refuses what llhttp lets
 * pass and a proxy in front might read otherwise: a bare CR or LF, a folded
 * header, a second space, another protocol, a method nobody knows. What remains
 * is written down anew for evhttp (strict_rewrite), so evhttp never sees a byte
 * that its own parser could misread: HTTP/1.1, one Content-Length or none, no
 * Transfer-Encoding, no Expect, no double slash.
 * Proof: tests/unit/test_gate.c.
 */
#ifndef PEERSCOPE_WORKER_STRICT_H
#define PEERSCOPE_WORKER_STRICT_H

#include <llhttp.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/reqid.h"

#define STRICT_HEADERS 100		/* header lines of a request; more is 431 */
#define STRICT_ETAG_MAX 200		/* kept bytes of If-None-Match */
#define STRICT_METHOD_MAX 16

/* Bytes of bodies beyond http.max_body, of all connections together. Buffers grow by
 * doubling: the memory is up to twice that. */
struct strict_room {
	size_t used, max;
};

struct strict_wide {
	const char *path;
	size_t body;			/* bytes */
	int torrent;			/* if it says that it is a .torrent, or begins with "d" */
};

struct strict_limits {
	size_t uri, header, body;	/* bytes: http.max_uri, max_header, max_body */
	/* A POST to one of these paths may have more, and come from pages of others (CORS).
	 * evhttp does not get such a body. */
	const struct strict_wide *wide;
	size_t nwide;
	struct strict_room *room;
};

enum strict_rc {
	STRICT_MORE = 0,		/* all bytes were taken; give more */
	STRICT_DONE = 1,		/* one request is complete; *used bytes belong to it */
	STRICT_BAD = 2,			/* refuse with status, word, why; then close */
};

struct strict {
	const struct strict_limits *lim;	/* borrowed */
	llhttp_t parser;
	struct buf target;		/* origin form: /path?query with single slashes, or "*" */
	struct buf head;		/* header lines that evhttp may see */
	struct buf body;		/* decoded */

	/* Of a complete request: */
	int method;			/* HTTP_GET ... of llhttp */
	int minor;			/* HTTP/1.minor */
	int keep_alive;
	int has_body;			/* a body was announced, maybe empty */
	int says_torrent;		/* Content-Type: application/x-bittorrent */
	int none_match;			/* If-None-Match: 0 none, 1 in etag, -1 too long to keep */
	char etag[STRICT_ETAG_MAX + 1];
	char request_id[REQID_MAX + 1];	/* X-Request-Id, if it is there once and sane; else "" */
	int nrequest_id;

	/* While reading: */
	int begun;			/* a byte of the request was seen */
	int wants_continue;		/* Expect: 100-continue, and the head is complete */

	/* Of a refused one: */
	int status;
	const char *word, *why;
	int no_room;			/* for want of strict_room */

	const struct strict_wide *wide;	/* of this request; NULL: none */
	size_t most, roomed;		/* bytes that the body may have; taken from room */
	uint64_t announced;		/* Content-Length, or 0 */
	/* The reader of lines. */
	int in_head, cr, blanks, after_method;
	unsigned lines;
	size_t column, head_bytes, body_bytes;
	size_t nmethod, ntail;
	char name[STRICT_METHOD_MAX + 1];	/* method */
	char tail[16];			/* last bytes of the first line */

	/* The header line under way. */
	size_t line_at, value_at;	/* in head */
	int header;			/* which one, strict.c */
	int nhost, nlength, nencoding, nexpect, chunked, trailing;
	int expect_bad, encoding_bad, host_bad, saw_version;
};

void strict_init(struct strict *s, const struct strict_limits *lim);
void strict_free(struct strict *s);
/* Ready for the next request of the connection; keeps small buffers. */
void strict_next(struct strict *s);
/* What the body has taken of the room is the caller's to give back, in bytes. */
size_t strict_keep_room(struct strict *s);
/* The body is not needed any more. */
void strict_drop_body(struct strict *s);
/* *used: bytes of data that were looked at; the rest belongs to the next request. */
PS_MUST enum strict_rc strict_feed(struct strict *s, const char *data, size_t len,
				   size_t *used);
/* The complete request in the form evhttp gets; close: say Connection: close. */
void strict_rewrite(const struct strict *s, struct buf *out, int close);
/* HEAD is asked as HEAD; a body is forwarded only where evhttp reads one. */
int strict_may_have_body(const struct strict *s);

#endif
