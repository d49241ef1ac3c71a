/* strict_lines.c -- the reader of lines before llhttp; see strict.h. */
#include <string.h>

#include "worker/strict_int.h"

#define STRICT_LINE_SLACK 40 /* method, spaces and protocol of the first line */

static const struct {
	const char *name;
	int method;
} methods[] = {
	{"GET", HTTP_GET},     {"HEAD", HTTP_HEAD},     {"POST", HTTP_POST},
	{"PUT", HTTP_PUT},     {"DELETE", HTTP_DELETE}, {"OPTIONS", HTTP_OPTIONS},
	{"PATCH", HTTP_PATCH}, {"TRACE", HTTP_TRACE},
};

int strict_is_token(unsigned char c)
{
	static const char others[] = "!#$%&'*+-.^_`|~";

	if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))
		return 1;
	return c != 0 && strchr(others, c) != NULL;
}

static int method_known(struct strict *s)
{
	s->name[s->nmethod] = '\0';
	for (size_t i = 0; i < PS_ARRAY_LEN(methods); i++)
		if (strcmp(methods[i].name, s->name) == 0) {
			s->method = methods[i].method;
			return 1;
		}
	return 0;
}

size_t strict_read_method(struct strict *s, const char *p, size_t n, int *done)
{
	size_t i;

	for (i = 0; i < n && s->status == 0; i++) {
		if (s->nmethod == 0 && (p[i] == '\r' || p[i] == '\n')) {
			if ((p[i] == '\n') != s->cr || ++s->blanks > 4)
				strict_refuse(s, 400, "bad_request",
					      "The first line is empty.");
			s->cr = p[i] == '\r';
		} else if (s->cr) {
			strict_refuse(s, 400, "bad_request", "A line ends in CR alone.");
		} else if (strict_is_token((unsigned char)p[i])) {
			if (s->nmethod == STRICT_METHOD_MAX)
				strict_refuse(s, 501, "not_implemented",
					      "This method is unknown.");
			else
				s->name[s->nmethod++] = p[i];
		} else if (p[i] != ' ' || s->nmethod == 0) {
			strict_refuse(s, 400, "bad_request",
				      "The first line is malformed.");
		} else if (!method_known(s)) {
			strict_refuse(s, 501, "not_implemented",
				      "This method is unknown.");
		} else {
			*done = 1;
			return i + 1;
		}
	}
	return i;
}

static void keep_tail(struct strict *s, const char *p, size_t n)
{
	size_t keep = sizeof s->tail;

	if (n < keep) {
		size_t old = s->ntail + n > keep ? keep - n : s->ntail;

		memmove(s->tail, s->tail + s->ntail - old, old);
		memcpy(s->tail + old, p, n);
		s->ntail = old + n;
		return;
	}
	memcpy(s->tail, p + n - keep, keep);
	s->ntail = keep;
}

/* What the first line says at its end: 0 fine, else 505 for another HTTP, or 400. */
static int protocol_status(const struct strict *s)
{
	size_t n = s->ntail, at;

	while (n > 0 && (s->tail[n - 1] == '\n' || s->tail[n - 1] == '\r'))
		n--;
	for (at = n; at > 0 && s->tail[at - 1] != ' '; at--)
		;
	if (n - at < 6 || memcmp(s->tail + at, "HTTP/", 5) != 0 ||
	    strspn(s->tail + at + 5, "0123456789.") < n - at - 5)
		return 400;
	if (n - at != 8 || memcmp(s->tail + at, "HTTP/1.", 7) != 0 ||
	    (s->tail[n - 1] != '0' && s->tail[n - 1] != '1'))
		return 505;
	return at < 2 || s->tail[at - 2] == ' ' ? 400 : 0;
}

int strict_refuse_protocol(struct strict *s)
{
	int status = protocol_status(s);

	if (status == 505)
		return strict_refuse(s, 505, "version_not_supported",
				     "Only HTTP/1.0 and HTTP/1.1.");
	return status ? strict_refuse(s, 400, "bad_request",
				      "The first line is malformed.")
		      : 0;
}

static int line_ends(struct strict *s)
{
	size_t len = s->column - 2;

	s->column = 0;
	if (s->lines == 0)
		(void)strict_refuse_protocol(s);
	else if (len == 0)
		return 1;
	if (++s->lines > STRICT_HEADERS + 1)
		strict_refuse(s, 431, "headers_too_large",
			      "There are too many header lines.");
	return 0;
}

static int cr_ok(struct strict *s, const char *p, size_t n, int complete)
{
	const char *cr = memchr(p, '\r', n);
	int was = s->cr;

	s->cr = 0;
	if (was) /* only a line feed may follow */
		return n == 1 && complete;
	if (complete)
		return n >= 2 && cr == p + n - 2;
	s->cr = cr != NULL;
	return cr == NULL || cr == p + n - 1;
}

/* A piece of one line; complete: it ends in LF. 1: the head is complete. */
static int line_part(struct strict *s, const char *p, size_t n, int complete)
{
	int blank = *p == ' ' || *p == '\t';

	if (!cr_ok(s, p, n, complete))
		strict_refuse(s, 400, "bad_request", "A line does not end in CR LF.");
	if (s->after_method && blank)
		strict_refuse(s, 400, "bad_request", "The first line is malformed.");
	if (s->lines > 0 && s->column == 0 && blank)
		strict_refuse(s, 400, "bad_request",
			      "A header is folded over two lines.");
	s->after_method = 0;
	s->column += n;
	if (s->lines == 0) {
		keep_tail(s, p, n);
		if (s->column > s->lim->uri + STRICT_LINE_SLACK)
			strict_refuse(s, 414, "uri_too_long",
				      "The request target is too long.");
	} else {
		s->head_bytes += n;
		if (s->head_bytes > s->lim->header + 2)
			strict_refuse(s, 431, "headers_too_large",
				      "The headers are too large.");
	}
	return complete && s->status == 0 ? line_ends(s) : 0;
}

size_t strict_read_lines(struct strict *s, const char *p, size_t n)
{
	size_t i = 0;

	while (i < n && s->status == 0) {
		const char *nl = memchr(p + i, '\n', n - i);
		size_t end = nl ? (size_t)(nl - p) + 1 : n;
		int done = line_part(s, p + i, end - i, nl != NULL);

		i = end;
		if (done)
			break;
	}
	return i;
}
