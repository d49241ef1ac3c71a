/* http.c -- answers; see http.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <event2/util.h>

#include "common/ident.h"
#include "common/log.h"
#include "worker/http.h"
#include "worker/status.h"

void http_header(struct ask *a, const char *name, const char *value)
{
	/* Fails only without memory; the answer is right without its header too. */
	if (!a->one)
		(void)evhttp_add_header(evhttp_request_get_output_headers(a->req), name,
					value);
}

static void free_bytes(const void *data, size_t len, void *arg)
{
	(void)data;
	(void)len;
	free(arg);
}

void http_empty(struct ask *a, int status)
{
	gate_answer(a->conn, a->req, status, NULL);
}

void http_body(struct ask *a, int status, const char *p, size_t len,
	       evbuffer_ref_cleanup_cb unref, void *ref)
{
	int head = gate_request(a->conn)->method == HTTP_HEAD;
	struct evbuffer *body = head ? NULL : evbuffer_new();
	char text[24];

	http_header(a, "Content-Type", a->type ? a->type : "application/json");
	/* evhttp counts no body of a HEAD, so its length is set by hand. */
	snprintf(text, sizeof text, "%zu", len);
	if (!head && len > 0 &&
	    (!body || evbuffer_add_reference(body, p, len, unref, ref) != 0)) {
		unref(p, len, ref);
		status = 503;
		snprintf(text, sizeof text, "0");
	}
	if (a->one) {
		a->one->done(a->one, body);
		return;
	}
	http_header(a, "Content-Length", text);
	gate_answer(a->conn, a->req, status, body);
	if (head || len == 0)
		unref(p, len, ref);
	if (body)
		evbuffer_free(body);
}

void http_json(struct ask *a, int status, struct buf *body)
{
	size_t len;
	char *p;

	if (body->failed) {
		buf_free(body);
		http_error(a, 500, "internal", "The answer could not be written.");
		return;
	}
	p = buf_take(body, &len);
	http_body(a, status, p, len, free_bytes, p);
}

/* fd is the buffer's from here on, or closed. */
static int add_file(struct evbuffer *body, int fd, uint64_t at, uint64_t len)
{
	struct evbuffer_file_segment *seg;
	int rc;

	seg = evbuffer_file_segment_new(fd, (ev_off_t)at, (ev_off_t)len,
					EVBUF_FS_CLOSE_ON_FREE |
						EVBUF_FS_DISABLE_LOCKING);
	if (!seg) {
		close(fd);
		return -1;
	}
	rc = evbuffer_add_file_segment(body, seg, 0, -1);
	evbuffer_file_segment_free(seg);
	return rc;
}

/* evbuffer_write sends a segment with sendfile(2) only from a buffer that says where it
 * will be drained to; else it would be mapped into memory. */
static struct evbuffer *file_body(struct buf *front, int fd, uint64_t at, uint64_t len)
{
	struct evbuffer *body = evbuffer_new();

	if (!body || front->failed ||
	    evbuffer_set_flags(body, EVBUFFER_FLAG_DRAINS_TO_FD) != 0 ||
	    evbuffer_add(body, front->p, front->len) != 0) {
		close(fd);
	} else if (add_file(body, fd, at, len) == 0) {
		return body;
	}
	if (body)
		evbuffer_free(body);
	return NULL;
}

void http_file(struct ask *a, int status, struct buf *front, int fd, uint64_t at,
	       uint64_t len)
{
	int head = gate_request(a->conn)->method == HTTP_HEAD;
	struct evbuffer *body = NULL;
	char text[24];

	snprintf(text, sizeof text, "%llu", (unsigned long long)(front->len + len));
	if (head)
		close(fd);
	else
		body = file_body(front, fd, at, len);
	buf_free(front);
	if (!head && !body) {
		http_error(a, 503, "no_memory", "There is no memory for this answer.");
		return;
	}
	if (a->one) {
		a->one->done(a->one, body);
		return;
	}
	http_header(a, "Content-Type", a->type ? a->type : "application/json");
	http_header(a, "Content-Length", text);
	gate_answer(a->conn, a->req, status, body);
	if (body)
		evbuffer_free(body);
}

void http_buffer(struct ask *a, int status, struct evbuffer *body)
{
	char text[24];

	snprintf(text, sizeof text, "%zu", evbuffer_get_length(body));
	http_header(a, "Content-Type", a->type ? a->type : "application/json");
	http_header(a, "Content-Length", text);
	gate_answer(a->conn, a->req, status, body);
	evbuffer_free(body);
}

void http_wait(const struct ask *a, struct waiting *me)
{
	if (a->one)
		a->one->waiting = me;
	else if (a->conn)
		gate_set_user(a->conn, me);
}

void http_about(const struct ask *a)
{
	log_about(a->conn ? gate_request_id(a->conn) : "");
}

void http_gone(void *arg, struct gate_conn *c)
{
	struct waiting *me = gate_user(c);

	if (me)
		me->gone(arg, me);
}

/* The error of one of several. */
static void fail_part(struct ask *a, int status, const char *error, const char *code,
		      const char *message)
{
	struct evbuffer *body = evbuffer_new();
	struct buf text;

	buf_init(&text, 4096);
	status_part_json(&text, error, message, code, status,
			 status == 503 && !a->retry_s ? STATUS_RETRY_S : a->retry_s);
	if (body && (text.failed || evbuffer_add(body, text.p, text.len) != 0)) {
		evbuffer_free(body);
		body = NULL;
	}
	buf_free(&text);
	a->one->done(a->one, body);
}

static void fail(struct ask *a, int status, const char *error, const char *code,
		 const char *fmt, va_list ap)
{
	char message[ERRLEN + 64], text[24];
	struct buf body;

	vsnprintf(message, sizeof message, fmt, ap);
	if (a->one) {
		fail_part(a, status, error, code, message);
		return;
	}
	buf_init(&body, 4096);
	status_error_json(&body, error, message, code, gate_request_id(a->conn));
	if (status == 503 || a->retry_s) {
		snprintf(text, sizeof text, "%u",
			 a->retry_s ? a->retry_s : STATUS_RETRY_S);
		http_header(a, "Retry-After", text);
	}
	if (status != 405)
		http_header(a, "Cache-Control", "no-store");
	a->type = NULL;
	if (body.failed) {
		buf_free(&body);
		http_header(a, "Content-Length", "0");
		http_empty(a, status);
		return;
	}
	http_json(a, status, &body);
}

void http_error(struct ask *a, int status, const char *word, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fail(a, status, word, word, fmt, ap);
	va_end(ap);
}

void http_fault(struct ask *a, int status, const char *error, const char *code,
		const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fail(a, status, error, code, fmt, ap);
	va_end(ap);
}

/* RFC 9110 13.1.2: a list, "*", weak comparison. */
int http_none_match(const struct strict *rq, const char *etag)
{
	const char *p = rq->etag;
	size_t n = strlen(etag);

	if (rq->none_match != 1)
		return 0;
	while (*p) {
		p += strspn(p, " \t,");
		if (p[0] == '*')
			return 1;
		if (p[0] == 'W' && p[1] == '/')
			p += 2;
		if (strncmp(p, etag, n) == 0 && strchr(" \t,", p[n]))
			return 1;
		p += strcspn(p, ",");
	}
	return 0;
}

void http_date(char out[HTTP_DATE_MAX], int64_t at_s)
{
	time_t t = (time_t)at_s;
	struct tm tm;

	gmtime_r(&t, &tm);
	evutil_date_rfc1123(out, HTTP_DATE_MAX, &tm);
}

/* The one form that RFC 9110 5.6.7 lets anybody write; another one is no condition. */
int http_not_since(const struct ask *a, int64_t at_s)
{
	struct evkeyvalq *h = evhttp_request_get_input_headers(a->req);
	const char *since = evhttp_find_header(h, "If-Modified-Since"), *end;
	struct tm tm = {0};

	if (!since || gate_request(a->conn)->none_match != 0)
		return 0;
	end = strptime(since, "%a, %d %b %Y %H:%M:%S GMT", &tm);
	return end && *end == '\0' && timegm(&tm) >= at_s;
}

/* One byte of text at in, which has len bytes left; *took of them. -1: malformed. */
static int decode_byte(const char *in, size_t len, int plus, size_t *took)
{
	int hi, lo;

	*took = 1;
	if (*in == '+' && plus)
		return ' ';
	if (*in != '%')
		return (unsigned char)*in;
	hi = len > 2 ? hex_value(in[1]) : -1;
	lo = len > 2 ? hex_value(in[2]) : -1;
	if (hi < 0 || lo < 0 || hi + lo == 0)
		return -1;
	*took = 3;
	return hi * 16 + lo;
}

enum http_text http_decode(char *out, size_t size, const char *in, size_t len, int plus)
{
	size_t n = 0, took;

	out[0] = '\0';
	for (size_t i = 0; i < len; i += took) {
		int c = decode_byte(in + i, len - i, plus, &took);

		if (c < 0)
			return HTTP_TEXT_BAD;
		if (n + 1 < size)
			out[n] = (char)c;
		n++;
	}
	if (n + 1 > size)
		return HTTP_TEXT_LONG;
	out[n] = '\0';
	return HTTP_TEXT_OK;
}

static enum http_text decode_field(char *out, size_t size, const char *in, size_t len)
{
	enum http_text rc = http_decode(out, size, in, len, 1);

	if (rc == HTTP_TEXT_LONG)
		out[0] = '\0';
	return rc;
}

int http_param(const char **query, char name[32], char value[HTTP_VALUE_MAX])
{
	const char *p = *query + strspn(*query, "&");
	size_t all = strcspn(p, "&"), key = strcspn(p, "&=");

	if (*p == '\0')
		return 0;
	*query = p + all;
	value[0] = '\0';
	if (decode_field(name, 32, p, key) == HTTP_TEXT_BAD)
		return -1;
	if (key < all && decode_field(value, HTTP_VALUE_MAX, p + key + 1,
				      all - key - 1) == HTTP_TEXT_BAD)
		return -1;
	return 1;
}
