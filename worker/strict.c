/* strict.c -- reads one HTTP request strictly; see strict.h. */
#include <string.h>
#include <strings.h>

#include "worker/strict_int.h"

/* Raw bytes of a chunked body per decoded byte that we read on for: a client that
 * sends one byte per chunk is odd, one that sends more framing than this attacks. */
#define STRICT_CHUNK_FACTOR 8
#define STRICT_CHUNK_SLACK 8192

enum header {
	H_OTHER = 0, /* evhttp may see it */
	H_DROP,      /* between us and the client: ends here */
	H_HOST,
	H_EXPECT,
	H_LENGTH,
	H_ENCODING,
	H_NONE_MATCH,
	H_TYPE,
	H_REQUEST_ID,
};

static const struct {
	const char *name;
	enum header header;
} header_names[] = {
	{"host", H_HOST},
	{"expect", H_EXPECT},
	{"content-length", H_LENGTH},
	{"transfer-encoding", H_ENCODING},
	{"if-none-match", H_NONE_MATCH},
	{"content-type", H_TYPE},
	{"x-request-id", H_REQUEST_ID},
	{"connection", H_DROP},
	{"proxy-connection", H_DROP},
	{"keep-alive", H_DROP},
	{"upgrade", H_DROP},
	{"te", H_DROP},
	{"trailer", H_DROP},
};

int strict_refuse(struct strict *s, int status, const char *word, const char *why)
{
	if (s->status == 0) {
		s->status = status;
		s->word = word;
		s->why = why;
	}
	return HPE_USER;
}

/* --- callbacks of llhttp ------------------------------------------------ */

static int on_url(llhttp_t *p, const char *at, size_t len)
{
	struct strict *s = p->data;

	if (s->target.len + len > s->lim->uri)
		return strict_refuse(s, 414, "uri_too_long",
				     "The request target is too long.");
	buf_add(&s->target, at, len);
	return 0;
}

/* Absolute form (RFC 9112 3.2.2): everything up to the path goes. */
static int strip_authority(struct buf *t)
{
	static const char *const schemes[] = {"http://", "https://"};

	for (size_t i = 0; i < PS_ARRAY_LEN(schemes); i++) {
		size_t n = strlen(schemes[i]), end = n;

		if (t->len <= n || strncasecmp(t->p, schemes[i], n) != 0)
			continue;
		while (end < t->len && t->p[end] != '/' && t->p[end] != '?')
			end++;
		if (end == n)
			return -1;
		if (end == t->len || t->p[end] == '?')
			t->p[--end] = '/';
		memmove(t->p, t->p + end, t->len - end);
		t->len -= end;
		return 0;
	}
	return -1;
}

/* "//peers//x" is "/peers/x": evhttp would read the first part as a host, and the
 * orchestrator asks so when its configured URL ends in a slash. */
static void single_slashes(struct buf *t)
{
	size_t out = 0, in = 0;

	for (; in < t->len && t->p[in] != '?'; in++)
		if (t->p[in] != '/' || out == 0 || t->p[out - 1] != '/')
			t->p[out++] = t->p[in];
	memmove(t->p + out, t->p + in, t->len - in);
	t->len -= in - out;
	t->p[t->len] = '\0';
}

static int on_url_complete(llhttp_t *p)
{
	struct strict *s = p->data;
	struct buf *t = &s->target;
	static const char why[] = "The request target is not a path.";

	if (t->failed || t->len == 0)
		return strict_refuse(s, 400, "bad_request", why);
	if (memchr(t->p, '#', t->len))
		return strict_refuse(s, 400, "bad_request",
				     "The request target has a fragment.");
	if (t->len == 1 && t->p[0] == '*')
		return s->method == HTTP_OPTIONS
			       ? 0
			       : strict_refuse(s, 400, "bad_request", why);
	if (t->p[0] != '/' && strip_authority(t) != 0)
		return strict_refuse(s, 400, "bad_request", why);
	single_slashes(t);
	return 0;
}

static int on_version(llhttp_t *p, const char *at, size_t len)
{
	struct strict *s = p->data;

	(void)at;
	(void)len;
	s->saw_version = 1;
	return 0;
}

/* A piece of a header line. Of a trailer nothing is kept. */
static int on_line(llhttp_t *p, const char *at, size_t len)
{
	struct strict *s = p->data;

	if (s->trailing)
		return 0;
	if (len > s->lim->header || s->head.len + len > s->head.max)
		return strict_refuse(s, 431, "headers_too_large",
				     "The headers are too large.");
	buf_add(&s->head, at, len);
	return 0;
}

static int on_field_complete(llhttp_t *p)
{
	struct strict *s = p->data;
	size_t len = s->head.len - s->line_at;
	const char *name = s->head.p + s->line_at;

	if (s->trailing)
		return 0;
	if (s->head.failed || s->head.len == s->line_at)
		return strict_refuse(s, 400, "bad_request", "A header line has no name.");
	s->header = H_OTHER;
	for (size_t i = 0; i < PS_ARRAY_LEN(header_names); i++)
		if (strlen(header_names[i].name) == len &&
		    strncasecmp(name, header_names[i].name, len) == 0)
			s->header = (int)header_names[i].header;
	buf_add(&s->head, ": ", 2);
	s->value_at = s->head.len;
	return 0;
}

static int host_ok(const char *v, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!strict_is_token((unsigned char)v[i]) && !strchr("()[],;=:", v[i]))
			return 0;
	return 1;
}

static void keep_etag(struct strict *s, const char *v, size_t len)
{
	if (s->none_match != 0 || len > STRICT_ETAG_MAX) {
		s->none_match = -1;
		return;
	}
	memcpy(s->etag, v, len);
	s->etag[len] = '\0';
	s->none_match = 1;
}

static void keep_request_id(struct strict *s, const char *v, size_t len)
{
	s->request_id[0] = '\0';
	if (s->nrequest_id++ == 0 && reqid_sane(v, len)) {
		memcpy(s->request_id, v, len);
		s->request_id[len] = '\0';
	}
}

static int is_word(const char *v, size_t len, const char *word)
{
	return len == strlen(word) && strncasecmp(v, word, len) == 0;
}

static int is_torrent(const char *v, size_t len)
{
	static const char type[] = "application/x-bittorrent";
	size_t n = sizeof type - 1;

	return len >= n && strncasecmp(v, type, n) == 0 &&
	       (len == n || strchr("; \t", v[n]));
}

/* 1: evhttp may see the line. */
static int value_seen(struct strict *s, const char *v, size_t len)
{
	switch ((enum header)s->header) {
	case H_HOST:
		s->nhost++;
		s->host_bad |= !host_ok(v, len);
		return 1;
	case H_EXPECT:
		s->nexpect++;
		s->expect_bad |= !is_word(v, len, "100-continue");
		return 0;
	case H_LENGTH: s->nlength++; return 0;
	case H_ENCODING:
		s->nencoding++;
		s->encoding_bad |= !is_word(v, len, "chunked");
		return 0;
	case H_NONE_MATCH: keep_etag(s, v, len); return 1;
	case H_TYPE: s->says_torrent = is_torrent(v, len); return 1;
	case H_REQUEST_ID: keep_request_id(s, v, len); return 0;
	case H_DROP: return 0;
	case H_OTHER: break;
	}
	return 1;
}

static int on_value_complete(llhttp_t *p)
{
	struct strict *s = p->data;
	struct buf *h = &s->head;

	if (s->trailing)
		return 0;
	if (h->failed)
		return strict_refuse(s, 503, "no_memory",
				     "There is no memory for this request.");
	while (h->len > s->value_at &&
	       (h->p[h->len - 1] == ' ' || h->p[h->len - 1] == '\t'))
		h->len--;
	if (value_seen(s, h->p + s->value_at, h->len - s->value_at))
		buf_add(h, "\r\n", 2);
	else
		h->len = s->line_at;
	s->line_at = h->len;
	return 0;
}

static int too_large(struct strict *s)
{
	return strict_refuse(s, 413, "body_too_large", "The request body is too large.");
}

/* The path of this POST, if its body may be wider than others. */
static const struct strict_wide *wide_of(const struct strict *s)
{
	const struct strict_wide *w = s->lim->wide;

	if (s->method != HTTP_POST)
		return NULL;
	for (size_t i = 0; i < s->lim->nwide; i++, w++) {
		size_t n = strlen(w->path);

		if (s->target.len >= n && memcmp(s->target.p, w->path, n) == 0 &&
		    (s->target.len == n || s->target.p[n] == '?'))
			return w;
	}
	return NULL;
}

static int check_framing(struct strict *s)
{
	static const char word[] = "bad_request";

	if (s->nencoding > 1 || s->encoding_bad)
		return strict_refuse(s, 400, word,
				     "Transfer-Encoding may only be: chunked.");
	if (s->nencoding && (s->nlength || s->minor == 0))
		return strict_refuse(s, 400, word,
				     "Transfer-Encoding does not fit the request.");
	if (s->nlength > 1)
		return strict_refuse(s, 400, word, "Content-Length stands there twice.");
	s->wide = wide_of(s);
	s->most = s->wide && s->wide->body > s->lim->body ? s->wide->body : s->lim->body;
	s->announced = s->nlength ? s->parser.content_length : 0;
	return s->announced > s->most ? too_large(s) : 0;
}

static int on_headers_complete(llhttp_t *p)
{
	struct strict *s = p->data;

	if (!s->saw_version)
		return strict_refuse(s, 400, "bad_request",
				     "The first line names no protocol.");
	if (p->http_major != 1 || p->http_minor > 1)
		return strict_refuse(s, 505, "version_not_supported",
				     "Only HTTP/1.0 and HTTP/1.1.");
	s->minor = p->http_minor;
	if (check_framing(s) != 0)
		return HPE_USER;
	if (s->nhost > 1 || s->host_bad)
		return strict_refuse(s, 400, "bad_request",
				     "Host must be there once, as a host name.");
	if (s->nhost == 0 && s->minor == 1)
		return strict_refuse(s, 400, "bad_request",
				     "HTTP/1.1 needs a Host header.");
	if (s->expect_bad && s->minor == 1)
		return strict_refuse(s, 417, "expectation_failed",
				     "Expect may only be: 100-continue.");
	p->upgrade = 0; /* we speak nothing else: read on as HTTP/1 */
	s->in_head = 0;
	s->trailing = 1;
	s->chunked = s->nencoding > 0;
	s->has_body = s->chunked || s->nlength > 0;
	s->wants_continue = s->nexpect > 0 && s->minor == 1 && s->has_body;
	return 0;
}

/* So many bytes in all: 0, or -1: there is no room. */
static int take_room(struct strict *s, size_t bytes)
{
	struct strict_room *room = s->lim->room;
	size_t more = bytes - s->roomed;

	if (room->max - room->used < more)
		return -1;
	room->used += more;
	s->roomed = bytes;
	return 0;
}

static void leave_room(struct strict *s)
{
	if (s->roomed)
		s->lim->room->used -= s->roomed;
	s->roomed = 0;
}

static int on_body(llhttp_t *p, const char *at, size_t len)
{
	struct strict *s = p->data;

	/* What only a .torrent may be, its first byte has to confirm, unless its type does. */
	if (s->wide && s->wide->torrent && s->body.len == 0 && len > 0 &&
	    !s->says_torrent && *at != 'd')
		s->most = s->lim->body;
	if (s->announced > s->most || s->body.len + len > s->most)
		return too_large(s);
	if (s->body.len + len > s->lim->body &&
	    take_room(s, s->body.len + len - s->lim->body) != 0) {
		s->no_room = 1;
		return strict_refuse(
			s, 503, "busy",
			"Too many long requests are under way (http.max_uploads).");
	}
	buf_add(&s->body, at, len);
	return 0;
}

static int on_complete(llhttp_t *p)
{
	struct strict *s = p->data;

	s->keep_alive = llhttp_should_keep_alive(p);
	s->wants_continue = 0;
	return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
	.on_url = on_url,
	.on_url_complete = on_url_complete,
	.on_version = on_version,
	.on_header_field = on_line,
	.on_header_field_complete = on_field_complete,
	.on_header_value = on_line,
	.on_header_value_complete = on_value_complete,
	.on_headers_complete = on_headers_complete,
	.on_body = on_body,
	.on_message_complete = on_complete,
};

/* --- the face ------------------------------------------------------------ */

static void begin(struct strict *s)
{
	const struct strict_limits *lim = s->lim;
	struct buf target = s->target, head = s->head, body = s->body;

	memset(s, 0, sizeof *s);
	s->lim = lim;
	s->target = target;
	s->head = head;
	s->body = body;
	s->in_head = 1;
	s->most = lim->body;
	llhttp_init(&s->parser, HTTP_REQUEST, &settings);
	s->parser.data = s;
}

void strict_init(struct strict *s, const struct strict_limits *lim)
{
	size_t most = lim->body;

	for (size_t i = 0; i < lim->nwide; i++)
		most = lim->wide[i].body > most ? lim->wide[i].body : most;
	s->lim = lim;
	buf_init(&s->target, lim->uri + 1);
	buf_init(&s->head, lim->header + 2 * STRICT_HEADERS + 64);
	buf_init(&s->body, 1 + most);
	begin(s);
}

void strict_free(struct strict *s)
{
	leave_room(s);
	buf_free(&s->target);
	buf_free(&s->head);
	buf_free(&s->body);
}

/* Idle connections are many: they keep little. */
static void shrink(struct buf *b)
{
	size_t max = b->max;

	if (b->cap <= 1024 && !b->failed) {
		buf_reset(b);
		return;
	}
	buf_free(b);
	buf_init(b, max);
}

size_t strict_keep_room(struct strict *s)
{
	size_t taken = s->roomed;

	s->roomed = 0;
	return taken;
}

void strict_drop_body(struct strict *s)
{
	leave_room(s);
	shrink(&s->body);
}

void strict_next(struct strict *s)
{
	leave_room(s);
	shrink(&s->target);
	shrink(&s->head);
	shrink(&s->body);
	begin(s);
}

/* Give bytes to llhttp. What a callback or llhttp itself says concerns earlier
 * bytes than what the reader of lines found (late), so it comes first. */
static enum strict_rc parse(struct strict *s, const char *p, size_t n, size_t *used)
{
	int late = s->status;
	const char *word = s->word, *why = s->why;
	enum llhttp_errno e;

	s->status = 0;
	e = llhttp_execute(&s->parser, p, n);
	*used = n;
	if (s->status)
		return STRICT_BAD;
	if (e == HPE_INVALID_VERSION)
		strict_refuse_protocol(s);
	else if (e != HPE_OK && e != HPE_PAUSED)
		strict_refuse(s, 400, "bad_request",
			      "This is not a well-formed HTTP request.");
	else if (late)
		strict_refuse(s, late, word, why);
	if (s->status)
		return STRICT_BAD;
	if (e == HPE_OK)
		return STRICT_MORE;
	if (e == HPE_INVALID_VERSION) {
		strict_refuse(s, 400, "bad_request", "The first line is malformed.");
		return STRICT_BAD;
	}
	*used = (size_t)(llhttp_get_error_pos(&s->parser) - p);
	return STRICT_DONE;
}

static int over_framing(struct strict *s, size_t n)
{
	s->body_bytes += n;
	if (!s->chunked ||
	    s->body_bytes <= s->most * STRICT_CHUNK_FACTOR + STRICT_CHUNK_SLACK)
		return 0;
	strict_refuse(s, 413, "body_too_large", "The request body is too large.");
	return 1;
}

/* 1: go on; 0: more bytes are needed; -1: refused. */
static int feed_method(struct strict *s, const char *data, size_t len, size_t *at)
{
	int done = 0;
	size_t used;

	*at = strict_read_method(s, data, len, &done);
	if (s->status)
		return -1;
	if (!done)
		return 0;
	s->column = s->nmethod + 1;
	s->after_method = 1;
	s->name[s->nmethod] = ' ';
	if (parse(s, s->name, s->nmethod + 1, &used) != STRICT_MORE)
		return -1;
	s->name[s->nmethod] = '\0';
	return 1;
}

enum strict_rc strict_feed(struct strict *s, const char *data, size_t len, size_t *used)
{
	size_t at = 0;

	*used = 0;
	s->begun |= len > 0;
	if (s->column == 0 && s->lines == 0) {
		int go = feed_method(s, data, len, &at);

		*used = at;
		if (go <= 0)
			return go < 0 ? STRICT_BAD : STRICT_MORE;
	}
	while (at < len) {
		size_t took, n = len - at;
		enum strict_rc rc;

		if (s->in_head)
			n = strict_read_lines(s, data + at, n);
		else if (over_framing(s, n))
			return STRICT_BAD;
		rc = parse(s, data + at, n, &took);
		at += took;
		*used = at;
		if (rc != STRICT_MORE)
			return rc;
	}
	if (s->target.failed || s->head.failed || s->body.failed) {
		strict_refuse(s, 503, "no_memory",
			      "There is no memory for this request.");
		return STRICT_BAD;
	}
	return STRICT_MORE;
}

int strict_may_have_body(const struct strict *s)
{
	return s->method == HTTP_POST || s->method == HTTP_PUT || s->method == HTTP_PATCH;
}

void strict_rewrite(const struct strict *s, struct buf *out, int close)
{
	buf_printf(out, "%s ", s->name);
	if (s->target.p[0] == '/')
		buf_add(out, s->target.p, s->target.len);
	else
		buf_add(out, "/", 1); /* OPTIONS *: evhttp knows only paths */
	buf_str(out, " HTTP/1.1\r\n");
	buf_add(out, s->head.p, s->head.len);
	if (close)
		buf_str(out, "Connection: close\r\n");
	if (strict_may_have_body(s) && s->body.len > s->lim->body) {
		buf_str(out, "Content-Length: 0\r\n\r\n"); /* the handler looks here */
	} else if (strict_may_have_body(s)) {
		buf_printf(out, "Content-Length: %zu\r\n\r\n", s->body.len);
		buf_add(out, s->body.p, s->body.len);
	} else {
		buf_str(out, "\r\n");
	}
}
