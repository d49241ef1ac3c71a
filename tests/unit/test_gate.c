/*
 * The strict gate: a table of good and bad requests, each fed whole, byte by byte and
 * in random pieces, first to the reader alone and then over a socket through evhttp.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "steady.h"
#include "worker/gate.h"

#define ID "94c2fd8fb9bc8f2fc71a2cbe9d4b866f227a0209"
#define H "Host: a\r\n"
#define LIMITS                                         \
	{                                              \
		.uri = 256, .header = 1024, .body = 64 \
	}

struct row {
	const char *bytes;  /* what the client sends; NUL-terminated */
	int status;         /* 200: passes */
	const char *target; /* of a passing one */
};

static const struct row rows[] = {
	{"GET / HTTP/1.1\r\n" H "\r\n", 200, "/"},
	{"\r\nGET / HTTP/1.1\r\n" H "\r\n", 200, "/"},
	{"GET /a?b=c//d HTTP/1.1\r\n" H "\r\n", 200, "/a?b=c//d"},
	{"GET //peers///" ID " HTTP/1.1\r\n" H "\r\n", 200, "/peers/" ID},
	{"GET http://h:80/x?y HTTP/1.1\r\n" H "\r\n", 200, "/x?y"},
	{"GET HTTP://h?y HTTP/1.1\r\n" H "\r\n", 200, "/?y"},
	{"GET http://h HTTP/1.1\r\n" H "\r\n", 200, "/"},
	{"OPTIONS * HTTP/1.1\r\n" H "\r\n", 200, "*"},
	{"HEAD / HTTP/1.1\r\n" H "\r\n", 200, "/"},
	{"TRACE / HTTP/1.1\r\n" H "\r\n", 200, "/"},
	{"GET / HTTP/1.0\r\n\r\n", 200, "/"},
	{"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, "/"},
	{"GET / HTTP/1.1\r\nHost: \r\n\r\n", 200, "/"},
	{"GET / HTTP/1.1\r\nhOsT:[::1]:80 \t\r\n\r\n", 200, "/"},
	{"GET / HTTP/1.1\r\n" H "A:\r\nB: \xff\xfe\r\n\r\n", 200, "/"},
	{"POST / HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc", 200, "/"},
	{"POST / HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", 200, "/"},
	{"POST / HTTP/1.1\r\n" H "\r\n", 200, "/"},
	{"GET / HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc", 200, "/"},
	{"POST / HTTP/1.1\r\n" H
	 "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	 200, "/"},
	{"POST / HTTP/1.1\r\n" H
	 "Transfer-Encoding: Chunked \r\n\r\n3;x=y\r\nabc\r\n0\r\nT: u\r\n\r\n",
	 200, "/"},
	{"GET / HTTP/1.1\r\n" H
	 "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
	 200, "/"},
	{"POST / HTTP/1.1\r\n" H "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\nx",
	 200, "/"},

	/* first line */
	{"asdf\r\n\r\n", 400, NULL},
	{"\x16\x03\x01\x02", 400, NULL},
	{"\r\n\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n", 400, NULL},
	{"\nGET / HTTP/1.1\r\n" H "\r\n", 400, NULL},
	{" GET / HTTP/1.1\r\n" H "\r\n", 400, NULL},
	{"GET\t/ HTTP/1.1\r\n" H "\r\n", 400, NULL},
	{"GET  / HTTP/1.1\r\n" H "\r\n", 400, NULL},
	{"GET /  HTTP/1.1\r\n" H "\r\n", 400, NULL},
	{"GET / HTTP/1.1 \r\n" H "\r\n", 400, NULL},
	{"GET /\r\n\r\n", 400, NULL},
	{"GET / RTSP/1.0\r\n\r\n", 400, NULL},
	{"GET / http/1.1\r\n" H "\r\n", 400, NULL},
	{"GET / HTTP/x\r\n" H "\r\n", 400, NULL},
	{"GET x HTTP/1.1\r\n" H "\r\n", 400, NULL},
	{"GET * HTTP/1.1\r\n" H "\r\n", 400, NULL},
	{"GET ftp://h/ HTTP/1.1\r\n" H "\r\n", 400, NULL},
	{"GET http:///x HTTP/1.1\r\n" H "\r\n", 400, NULL},
	{"GET /#f HTTP/1.1\r\n" H "\r\n", 400, NULL},
	{"GET /\x80 HTTP/1.1\r\n" H "\r\n", 400, NULL},
	{"GET /\x01 HTTP/1.1\r\n" H "\r\n", 400, NULL},
	{"GET / HTTP/1.1\n" H "\r\n", 400, NULL},
	{"GET / HTTP/1.1\r" H "\r\n", 400, NULL},
	{"FOO / HTTP/1.1\r\n" H "\r\n", 501, NULL},
	{"get / HTTP/1.1\r\n" H "\r\n", 501, NULL},
	{"GETX / HTTP/1.1\r\n" H "\r\n", 501, NULL},
	{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 501, NULL},
	{"CONNECT a:1 HTTP/1.1\r\n" H "\r\n", 501, NULL},
	{"PROPFIND / HTTP/1.1\r\n" H "\r\n", 501, NULL},
	{"AVERYLONGMETHODNAMEINDEED / HTTP/1.1\r\n" H "\r\n", 501, NULL},
	{"GET / HTTP/2.0\r\n" H "\r\n", 505, NULL},
	{"GET / HTTP/3.1\r\n" H "\r\n", 505, NULL},
	{"GET / HTTP/1.2\r\n" H "\r\n", 505, NULL},
	{"GET / HTTP/0.9\r\n\r\n", 505, NULL},

	/* header lines */
	{"GET / HTTP/1.1\r\n\r\n", 400, NULL},
	{"GET / HTTP/1.1\r\n" H H "\r\n", 400, NULL},
	{"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, NULL},
	{"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, NULL},
	{"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400, NULL},
	{"GET / HTTP/1.1\r\n" H "A\r\n\r\n", 400, NULL},
	{"GET / HTTP/1.1\r\n" H ": x\r\n\r\n", 400, NULL},
	{"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, NULL},
	{"GET / HTTP/1.1\r\n " H "\r\n", 400, NULL},
	{"GET / HTTP/1.1\r\n" H "A: b\r\n c\r\n\r\n", 400, NULL},
	{"GET / HTTP/1.1\r\n" H "A: b\r\n\tc\r\n\r\n", 400, NULL},
	{"GET / HTTP/1.1\r\n" H "A: b\x01\r\n\r\n", 400, NULL},
	{"GET / HTTP/1.1\r\n" H "A: b\x7f\r\n\r\n", 400, NULL},
	{"GET / HTTP/1.1\r\n" H "A(: b\r\n\r\n", 400, NULL},
	{"GET / HTTP/1.1\r\n" H "A: b\n\r\n", 400, NULL},
	{"GET / HTTP/1.1\r\n" H "A: b\rB: c\r\n\r\n", 400, NULL},
	{"GET / HTTP/1.1\r\n" H "A: b\r\r\n\r\n", 400, NULL},
	{"GET / HTTP/1.1\r\n" H "\n", 400, NULL},
	{"GET / HTTP/1.1\r\n" H "Expect: 200-ok\r\n\r\n", 417, NULL},
	{"GET / HTTP/1.1\r\n" H "Expect: 100-continue\r\nExpect: x\r\n\r\n", 417, NULL},

	/* smuggling */
	{"POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400,
	 NULL},
	{"POST / HTTP/1.1\r\n" H "Content-Length: 1, 1\r\n\r\nx", 400, NULL},
	{"POST / HTTP/1.1\r\n" H "Content-Length: +1\r\n\r\nx", 400, NULL},
	{"POST / HTTP/1.1\r\n" H "Content-Length: -1\r\n\r\nx", 400, NULL},
	{"POST / HTTP/1.1\r\n" H "Content-Length: 0x1\r\n\r\nx", 400, NULL},
	{"POST / HTTP/1.1\r\n" H "Content-Length: 1 1\r\n\r\nx", 400, NULL},
	{"POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\nx", 400, NULL},
	{"POST / HTTP/1.1\r\n" H "Content-Length: 99999999999999999999999\r\n\r\nx", 400,
	 NULL},
	{"POST / HTTP/1.1\r\n" H "Content-Length : 1\r\n\r\nx", 400, NULL},
	{"POST / HTTP/1.1\r\n" H
	 "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
	 400, NULL},
	{"POST / HTTP/1.1\r\n" H
	 "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	 400, NULL},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400,
	 NULL},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
	 400, NULL},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400,
	 NULL},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: \x0b"
	 "chunked\r\n\r\n0\r\n\r\n",
	 400, NULL},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n\r\n", 400, NULL},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n\r\n", 400, NULL},
	{"POST / HTTP/1.1\r\n" H
	 "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	 400, NULL},
	{"POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
	 NULL},
	{"POST / HTTP/1.1\r\n" H
	 "Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
	 400, NULL},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n",
	 400, NULL},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
	 400, NULL},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n1\r\naXX0\r\n\r\n",
	 400, NULL},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n-1\r\na\r\n", 400,
	 NULL},
	{"POST / HTTP/1.1\r\n" H
	 "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n",
	 400, NULL},

	/* limits */
	{"POST / HTTP/1.1\r\n" H "Content-Length: 65\r\n\r\n", 413, NULL},
	{"POST / HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 65\r\n\r\n",
	 413, NULL},
};

static unsigned seed;

static unsigned dice(unsigned n)
{
	seed = seed * 1103515245u + 12345u;
	return (seed >> 16) % n;
}

/* Size of the next piece: mode 0 all, 1 a byte, 2 random. */
static size_t piece(int mode, size_t left)
{
	if (mode == 0)
		return left;
	if (mode == 1)
		return 1;
	return 1 + dice((unsigned)(left < 40 ? left : 40));
}

static enum strict_rc read_all(struct strict *s, const char *p, size_t n, int mode,
			       size_t *took)
{
	size_t at = 0, used;
	enum strict_rc rc = STRICT_MORE;

	while (at < n && rc == STRICT_MORE) {
		size_t k = piece(mode, n - at);

		rc = strict_feed(s, p + at, k, &used);
		if (rc == STRICT_MORE)
			assert_int_equal(used, k);
		assert_true(used <= k);
		at += used;
	}
	*took = at;
	return rc;
}

static void check_row(const struct row *r, int mode)
{
	static const struct strict_limits lim = LIMITS;
	struct strict s;
	size_t took, n = strlen(r->bytes);
	enum strict_rc rc;

	strict_init(&s, &lim);
	rc = read_all(&s, r->bytes, n, mode, &took);
	if (rc == STRICT_MORE)
		fail_msg("no verdict (mode %d): %s", mode, r->bytes);
	if (r->status != 200) {
		if (rc != STRICT_BAD || s.status != r->status)
			fail_msg("mode %d: %d instead of %d: %s", mode,
				 rc == STRICT_BAD ? s.status : 200, r->status, r->bytes);
		assert_non_null(s.word);
		assert_non_null(s.why);
	} else {
		if (rc != STRICT_DONE)
			fail_msg("mode %d: %d (%s): %s", mode, s.status, s.why, r->bytes);
		assert_int_equal(took, n);
		assert_string_equal(s.target.p, r->target);
	}
	strict_free(&s);
}

static void test_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(rows); i++)
		for (int mode = 0; mode < 12; mode++)
			check_row(&rows[i], mode < 2 ? mode : 2);
}

/* Two requests in one stream, cut anywhere: the first ends where it should, and no
 * byte of the second is lost. */
static void test_pipeline(void **state)
{
	static const struct strict_limits lim = LIMITS;
	struct strict s;

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(rows); i++) {
		char two[1024];
		size_t took, n;

		if (rows[i].status != 200)
			continue;
		n = (size_t)snprintf(two, sizeof two,
				     "%sGET /second HTTP/1.1\r\n" H "\r\n",
				     rows[i].bytes);
		for (int mode = 0; mode < 8; mode++) {
			strict_init(&s, &lim);
			assert_int_equal(read_all(&s, two, n, mode < 2 ? mode : 2, &took),
					 STRICT_DONE);
			assert_int_equal(took, strlen(rows[i].bytes));
			strict_next(&s);
			assert_int_equal(read_all(&s, two + took, n - took,
						  mode < 2 ? mode : 2, &took),
					 STRICT_DONE);
			assert_string_equal(s.target.p, "/second");
			strict_free(&s);
		}
	}
}

/* head, then fill bytes of c, then tail. */
static char *long_request(const char *head, size_t fill, char c, const char *tail)
{
	size_t h = strlen(head), t = strlen(tail);
	char *p = malloc(h + fill + t + 1);

	assert_non_null(p);
	memcpy(p, head, h);
	memset(p + h, c, fill);
	memcpy(p + h + fill, tail, t + 1);
	return p;
}

static void test_limits(void **state)
{
	static const struct {
		const char *head;
		size_t fill;
		char c;
		const char *tail;
		int status;
	} t[] = {
		{"GET /", 255, 'a', " HTTP/1.1\r\n" H "\r\n", 200},
		{"GET /", 256, 'a', " HTTP/1.1\r\n" H "\r\n", 414},
		{"GET /", 5000, 'a', " HTTP/1.1\r\n" H "\r\n", 414},
		{"GET / HTTP/1.1\r\n" H "A: ", 1024 - 9 - 5, 'a', "\r\n\r\n", 200},
		{"GET / HTTP/1.1\r\n" H "A: ", 1024 - 9 - 4, 'a', "\r\n\r\n", 431},
		{"GET / HTTP/1.1\r\n" H "A: ", 5000, 'a', "\r\n\r\n", 431},
		{"GET / HTTP/1.1\r\n" H "A:", 5000, ' ', "b\r\n\r\n", 431},
		{"GET / HTTP/1.1\r\n" H, 5000, 'a', ": b\r\n\r\n", 431},
		{"POST / HTTP/1.1\r\n" H "Content-Length: 64\r\n\r\n", 64, 'a', "", 200},
		{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n40\r\n", 64,
		 'a', "\r\n0\r\n\r\n", 200},
		{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n41\r\n", 65,
		 'a', "\r\n0\r\n\r\n", 413},
		{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n1;", 20000,
		 'x', "\r\na\r\n0\r\n\r\n", 413},
		{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\nT: ",
		 20000, 'x', "\r\n\r\n", 413},
		{"", 5000, 'A', " / HTTP/1.1\r\n", 501},
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(t); i++) {
		char *p = long_request(t[i].head, t[i].fill, t[i].c, t[i].tail);
		struct row r = {p, t[i].status, NULL};
		char target[300];

		if (t[i].status == 200) {
			const char *at = strchr(p, '/');

			snprintf(target, sizeof target, "%.*s", (int)strcspn(at, " "),
				 at);
			r.target = target;
		}
		for (int mode = 0; mode < 4; mode++)
			check_row(&r, mode < 2 ? mode : 2);
		free(p);
	}
}

static void test_many_headers(void **state)
{
	static const struct strict_limits lim = {.uri = 256, .header = 65536, .body = 64};

	(void)state;
	for (int n = STRICT_HEADERS - 1; n <= STRICT_HEADERS + 1; n++) {
		struct buf b;
		struct strict s;
		size_t used;

		buf_init(&b, 65536);
		buf_str(&b, "GET / HTTP/1.1\r\n" H);
		for (int i = 1; i < n; i++)
			buf_printf(&b, "X%d: y\r\n", i);
		buf_str(&b, "\r\n");
		strict_init(&s, &lim);
		assert_int_equal(strict_feed(&s, b.p, b.len, &used),
				 n <= STRICT_HEADERS ? STRICT_DONE : STRICT_BAD);
		assert_int_equal(s.status, n <= STRICT_HEADERS ? 0 : 431);
		strict_free(&s);
		buf_free(&b);
	}
}

/* --- uploads ------------------------------------------------------------------- */

/* head, then a body of n bytes that begins with first, in pieces. 0: done; or the status. */
static int upload(const struct strict_limits *lim, struct strict *s, const char *head,
		  char first, size_t n)
{
	struct buf b;
	enum strict_rc rc = STRICT_MORE;
	size_t at = 0, used;

	buf_init(&b, 4096);
	buf_str(&b, head);
	for (size_t i = 0; i < n; i++)
		buf_add(&b, i ? "x" : &first, 1);
	assert_false(b.failed);
	strict_init(s, lim);
	while (rc == STRICT_MORE && at < b.len) {
		size_t some = 1 + dice(40);

		rc = strict_feed(s, b.p + at, at + some < b.len ? some : b.len - at,
				 &used);
		at += used;
	}
	buf_free(&b);
	assert_true(rc != STRICT_MORE);
	return rc == STRICT_DONE ? 0 : s->status;
}

static const struct strict_wide wide[] = {{"/up", 500, 1}, {"/list", 300, 0}};

#define UP "POST /up HTTP/1.1\r\n" H
#define LIST "POST /list HTTP/1.1\r\n" H
#define TORRENT "Content-Type: application/x-bittorrent\r\n"

static void test_uploads(void **state)
{
	static struct strict_room room = {0, 10000};
	static const struct strict_limits lim = {256, 1024, 64, wide, 2, &room};
	static const struct {
		const char *head;
		char first;
		size_t n;
		int status;
	} t[] = {
		{UP "Content-Length: 64\r\n\r\n", '{', 64, 0},
		{UP "Content-Length: 65\r\n\r\n", '{', 65, 413},
		{UP "Content-Length: 65\r\n\r\n", 'd', 65, 0},
		{UP "Content-Length: 500\r\n\r\n", 'd', 500, 0},
		{UP "Content-Length: 501\r\n\r\n", 'd', 0, 413},
		{UP TORRENT "Content-Length: 500\r\n\r\n", 'x', 500, 0},
		{UP TORRENT "Content-Length: 501\r\n\r\n", 'x', 0, 413},
		{UP "Content-Type: Application/X-BitTorrent; a\r\n"
		    "Content-Length: 99\r\n\r\n",
		 'x', 99, 0},
		{UP "Content-Type: application/x-bittorrents\r\n"
		    "Content-Length: 99\r\n\r\n",
		 'x', 99, 413},
		{"POST /up?a=b HTTP/1.1\r\n" H "Content-Length: 99\r\n\r\n", 'd', 99, 0},
		{"POST /upper HTTP/1.1\r\n" H "Content-Length: 99\r\n\r\n", 'd', 0, 413},
		{"POST /u HTTP/1.1\r\n" H "Content-Length: 99\r\n\r\n", 'd', 0, 413},
		{"PUT /up HTTP/1.1\r\n" H "Content-Length: 99\r\n\r\n", 'd', 0, 413},
		{LIST "Content-Length: 300\r\n\r\n", '[', 300, 0},
		{LIST "Content-Length: 301\r\n\r\n", '[', 0, 413},
		{"GET /list HTTP/1.1\r\n" H "Content-Length: 99\r\n\r\n", '[', 0, 413},
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(t); i++) {
		for (int again = 0; again < 5; again++) {
			struct strict s;
			int status = upload(&lim, &s, t[i].head, t[i].first, t[i].n);

			if (status != t[i].status)
				fail_msg("%s: %d", t[i].head, status);
			if (status == 0)
				assert_int_equal(s.body.len, t[i].n);
			strict_free(&s);
			assert_int_equal(room.used, 0);
		}
	}
}

/* What is beyond the usual bound counts for all connections together, until it is let go. */
static void test_uploads_share_their_room(void **state)
{
	static struct strict_room room = {0, 600};
	static const struct strict_limits lim = {256, 1024, 64, wide, 2, &room};
	struct strict a, b, c;
	struct buf out;

	(void)state;
	assert_int_equal(upload(&lim, &a, UP "Content-Length: 464\r\n\r\n", 'd', 464), 0);
	assert_int_equal(room.used, 400);
	assert_int_equal(upload(&lim, &b, UP "Content-Length: 264\r\n\r\n", 'd', 264), 0);
	assert_int_equal(room.used, 600);
	assert_int_equal(upload(&lim, &c, UP "Content-Length: 65\r\n\r\n", 'd', 65), 503);
	assert_true(c.no_room);
	strict_free(&c);
	assert_int_equal(upload(&lim, &c, UP "Content-Length: 64\r\n\r\n", 'd', 64), 0);
	strict_free(&c);
	/* evhttp has no use for it */
	buf_init(&out, 4096);
	strict_rewrite(&a, &out, 0);
	assert_non_null(strstr(out.p, "Content-Length: 0\r\n\r\n"));
	buf_free(&out);
	strict_drop_body(&a);
	assert_int_equal(room.used, 200);
	assert_int_equal(a.body.len, 0);
	/* or its bytes lie elsewhere, and still count */
	assert_int_equal(strict_keep_room(&b), 200);
	strict_drop_body(&b);
	strict_next(&b);
	assert_int_equal(room.used, 200);
	assert_int_equal(upload(&lim, &c, UP "Content-Length: 465\r\n\r\n", 'd', 465),
			 503);
	strict_free(&c);
	room.used -= 200;
	strict_free(&a);
	strict_free(&b);
	assert_int_equal(room.used, 0);
}

/* What evhttp gets: hop-by-hop lines gone, framing ours. */
static void test_rewrite(void **state)
{
	static const struct strict_limits lim = LIMITS;
	static const char in[] =
		"POST //x HTTP/1.0\r\n" H
		"Connection: keep-alive\r\nKeep-Alive: 5\r\nTE: x\r\n"
		"Upgrade: y\r\nX-A:  b \r\nIf-None-Match: \"q\"\r\nContent-Length: 2\r\n\r\nhi";
	struct strict s;
	struct buf out;
	size_t used;

	(void)state;
	strict_init(&s, &lim);
	buf_init(&out, 4096);
	assert_int_equal(strict_feed(&s, in, sizeof in - 1, &used), STRICT_DONE);
	assert_true(s.keep_alive);
	assert_int_equal(s.none_match, 1);
	assert_string_equal(s.etag, "\"q\"");
	strict_rewrite(&s, &out, 0);
	assert_string_equal(
		out.p, "POST /x HTTP/1.1\r\n" H
		       "X-A: b\r\nIf-None-Match: \"q\"\r\nContent-Length: 2\r\n\r\nhi");
	buf_reset(&out);
	strict_rewrite(&s, &out, 1);
	assert_non_null(strstr(out.p, "\r\nConnection: close\r\n"));
	strict_free(&s);
	buf_free(&out);
}

/* --- over a socket ---------------------------------------------------------- */

struct world {
	struct event_base *base;
	struct gate *gate;
	struct sockaddr_in sin;
	int listen_fd;
	struct gate_conn *parked[64];
	struct evhttp_request *parked_req[64];
	int nparked, gone, asked, empty;
	size_t big; /* bytes of an answer to /big */
};

static void answer(struct gate_conn *c, struct evhttp_request *req, size_t fill)
{
	const struct strict *rq = gate_request(c);
	struct evbuffer *b = evbuffer_new();
	char *big = long_request("", fill, 'x', "");

	evbuffer_add_printf(b, "%s %.*s", rq->target.p, (int)rq->body.len,
			    rq->body.len ? rq->body.p : "");
	evbuffer_add(b, big, fill);
	gate_answer(c, req, 200, b);
	evbuffer_free(b);
	free(big);
}

static void on_request(void *arg, struct gate_conn *c, struct evhttp_request *req)
{
	struct world *w = arg;
	const char *target = gate_request(c)->target.p;

	w->asked++;
	if (strncmp(target, "/park", 5) == 0) {
		assert_true(w->nparked < 64);
		gate_set_user(c, w);
		w->parked[w->nparked] = c;
		w->parked_req[w->nparked++] = req;
		return;
	}
	answer(c, req, strcmp(target, "/big") == 0 ? w->big : 0);
}

static void on_gone(void *arg, struct gate_conn *c)
{
	struct world *w = arg;

	assert_ptr_equal(gate_user(c), w);
	for (int i = 0; i < w->nparked; i++)
		if (w->parked[i] == c)
			w->parked[i] = NULL;
	w->gone++;
}

static void on_empty(void *arg)
{
	((struct world *)arg)->empty++;
}

static int on_hot(void *arg, struct gate_conn *c, const struct strict *rq);

static void world_open(struct world *w, const struct gate_conf *conf)
{
	struct gate_hooks hooks = {w, on_request, on_gone, on_hot, on_empty};
	struct event_config *ec = event_config_new();
	socklen_t len = sizeof w->sin;
	char err[ERRLEN];

	memset(w, 0, sizeof *w);
	event_config_require_features(ec, EV_FEATURE_ET | EV_FEATURE_EARLY_CLOSE);
	w->base = event_base_new_with_config(ec);
	event_config_free(ec);
	assert_non_null(w->base);
	assert_int_equal(gate_new(&w->gate, w->base, conf, &hooks, err), 0);
	w->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	w->sin.sin_family = AF_INET;
	w->sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(w->listen_fd, (struct sockaddr *)&w->sin, sizeof w->sin),
			 0);
	assert_int_equal(listen(w->listen_fd, 128), 0);
	assert_int_equal(getsockname(w->listen_fd, (struct sockaddr *)&w->sin, &len), 0);
	assert_int_equal(gate_listen(w->gate, w->listen_fd, 1), 0);
}

static void world_close(struct world *w)
{
	gate_free(&w->gate);
	event_base_free(w->base);
}

static const struct gate_conf usual = {LIMITS, 5000, 5000, 5000, 100, 0, {0}};

static int client(struct world *w)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&w->sin, sizeof w->sin), 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

static void turn(struct world *w)
{
	assert_true(event_base_loop(w->base, EVLOOP_NONBLOCK) >= 0);
}

/* Turn the loop until cond, or fail after five seconds. */
#define UNTIL(w, cond)                                        \
	do {                                                  \
		uint64_t end_ = clock_ms() + 5000;            \
		while (!(cond)) {                             \
			turn(w);                              \
			if (clock_ms() > end_)                \
				fail_msg("never: %s", #cond); \
		}                                             \
	} while (0)

static void put(struct world *w, int fd, const char *p, size_t n)
{
	size_t at = 0;

	UNTIL(w, ({
		      ssize_t k = send(fd, p + at, n - at, MSG_NOSIGNAL);
		      at += k > 0 ? (size_t)k : 0;
		      at == n || (k < 0 && errno != EAGAIN);
	      }));
}

static void say(struct world *w, int fd, const char *text)
{
	put(w, fd, text, strlen(text));
}

/* Read until the other side closes; the status of the last answer, and a NUL. */
static int slurp(struct world *w, int fd, struct buf *out)
{
	char tmp[4096];
	ssize_t n = -1;
	const char *last = NULL;

	UNTIL(w, ({
		      n = recv(fd, tmp, sizeof tmp, 0);
		      if (n > 0)
			      buf_add(out, tmp, (size_t)n);
		      n == 0 || (n < 0 && errno != EAGAIN);
	      }));
	assert_int_equal(n, 0); /* an end, not a reset */
	for (const char *p = out->p; p && (p = strstr(p, "HTTP/1.1 ")); p++)
		if (p[9] >= '1' && p[9] <= '5')
			last = p;
	return last ? (int)strtol(last + 9, NULL, 10) : 0;
}

static int get_more(int fd, struct buf *out)
{
	char tmp[4096];
	ssize_t n = recv(fd, tmp, sizeof tmp, 0);

	if (n > 0)
		buf_add(out, tmp, (size_t)n);
	return n > 0;
}

static int has(int fd, struct buf *out, const char *what)
{
	get_more(fd, out);
	return out->p && strstr(out->p, what) != NULL;
}

static void live_row(struct world *w, const struct row *r, int mode)
{
	int fd = client(w), status;
	size_t n = strlen(r->bytes), at = 0;
	struct buf out;

	buf_init(&out, 1 << 20);
	while (at < n) {
		size_t k = piece(mode, n - at);
		ssize_t sent = send(fd, r->bytes + at, k, MSG_NOSIGNAL);

		if (sent < 0) /* refused before its end: fine */
			break;
		at += (size_t)sent;
		turn(w);
	}
	if (r->status == 200) {
		UNTIL(w, has(fd, &out, "\r\n\r\n"));
		shutdown(fd, SHUT_WR);
	}
	status = slurp(w, fd, &out);
	if (status != r->status)
		fail_msg("mode %d: %d instead of %d: %s", mode, status, r->status,
			 r->bytes);
	if (status != 200) {
		assert_non_null(strstr(out.p, "\r\nContent-Type: application/json\r\n"));
		assert_non_null(strstr(out.p, "\r\nConnection: close\r\n"));
		assert_non_null(strstr(out.p, "{\"error\":\""));
		assert_non_null(strstr(out.p, "\"message\":\""));
	}
	assert_null(strstr(out.p, "<HTML>"));
	buf_free(&out);
	close(fd);
}

static void test_live_table(void **state)
{
	struct world w;

	(void)state;
	world_open(&w, &usual);
	for (size_t i = 0; i < PS_ARRAY_LEN(rows); i++)
		for (int mode = 0; mode < 3; mode++)
			live_row(&w, &rows[i], mode);
	UNTIL(&w, gate_connections(w.gate) == 0);
	world_close(&w);
}

static void test_keep_alive(void **state)
{
	static const char rq[] = "POST /e HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nhi";
	struct world w;
	struct buf out;
	int fd;

	(void)state;
	world_open(&w, &usual);
	fd = client(&w);
	buf_init(&out, 1 << 20);
	for (int i = 0; i < 20; i++) {
		buf_reset(&out);
		put(&w, fd, rq, sizeof rq - 1);
		UNTIL(&w, has(fd, &out, "/e hi"));
		assert_int_equal(w.asked, i + 1);
	}
	buf_reset(&out);
	for (int i = 0; i < 300; i++) /* pipelined */
		put(&w, fd, rq, sizeof rq - 1);
	UNTIL(&w, (get_more(fd, &out), w.asked == 320));
	say(&w, fd, "GET /last HTTP/1.1\r\n" H "Connection: close\r\n\r\n");
	assert_int_equal(slurp(&w, fd, &out), 200);
	assert_non_null(strstr(out.p, "/last"));
	close(fd);
	buf_free(&out);
	world_close(&w);
}

/* Bytes behind a parked request do no harm and are answered in order. */
static void test_parked_bytes(void **state)
{
	static const char second[] = "GET /second HTTP/1.1\r\n" H "\r\n";
	struct world w;
	struct buf out;
	int fd;

	(void)state;
	world_open(&w, &usual);
	fd = client(&w);
	buf_init(&out, 1 << 20);
	say(&w, fd, "GET /park HTTP/1.1\r\n" H "\r\n");
	UNTIL(&w, w.nparked == 1);
	for (size_t i = 0; i < sizeof second - 1; i++) {
		put(&w, fd, second + i, 1);
		turn(&w);
	}
	assert_int_equal(w.asked, 1);
	assert_int_equal(w.gone, 0);
	answer(w.parked[0], w.parked_req[0], 0);
	UNTIL(&w, has(fd, &out, "/second"));
	assert_true(strstr(out.p, "/park") < strstr(out.p, "/second"));
	close(fd);
	buf_free(&out);
	world_close(&w);
}

static void test_parked_leaves(void **state)
{
	struct world w;

	(void)state;
	world_open(&w, &usual);
	for (int how = 0; how < 4; how++) {
		int fd = client(&w);
		struct linger hard = {1, 0};

		say(&w, fd, "GET /park HTTP/1.1\r\n" H "\r\n");
		UNTIL(&w, w.nparked == how + 1);
		if (how & 1) /* with unread bytes behind it */
			say(&w, fd, "GET /x");
		if (how & 2) /* a reset */
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
		if (how == 0)
			shutdown(fd, SHUT_WR);
		else
			close(fd);
		UNTIL(&w, w.gone == how + 1);
		if (how == 0)
			close(fd);
	}
	UNTIL(&w, gate_connections(w.gate) == 0);
	world_close(&w);
}

/* A slow reader gets all of a large answer, piece by piece. */
static void test_big(void **state)
{
	struct world w;
	struct buf out;
	int fd;

	(void)state;
	world_open(&w, &usual);
	w.big = 8 << 20;
	fd = client(&w);
	buf_init(&out, 64 << 20);
	say(&w, fd, "GET /big HTTP/1.1\r\n" H "Connection: close\r\n\r\n");
	for (int i = 0; i < 100; i++)
		turn(&w);
	assert_int_equal(slurp(&w, fd, &out), 200);
	assert_int_equal(out.len - (size_t)(strstr(out.p, "\r\n\r\n") + 4 - out.p),
			 w.big + 5);
	close(fd);
	buf_free(&out);
	world_close(&w);
}

static void test_clocks(void **state)
{
	static const struct gate_conf quick = {LIMITS, 150, 1000, 200, 100, 0, {0}};
	struct world w;
	struct buf out;
	int idle, slow, stuck;
	uint64_t began = clock_ms(), next = began;

	(void)state;
	world_open(&w, &quick);
	w.big = 32 << 20;
	buf_init(&out, 1 << 20);
	idle = client(&w);
	slow = client(&w);
	stuck = client(&w);
	say(&w, stuck, "GET /big HTTP/1.1\r\n" H "\r\n");
	say(&w, slow, "GET / HTTP/1.1\r\n");
	UNTIL(&w, ({ /* a byte now and then does not help */
		     if (clock_ms() >= next) {
			     send(slow, "A", 1, MSG_NOSIGNAL);
			     next = clock_ms() + 20;
		     }
		     has(slow, &out, "HTTP/1.1 408 ");
	}));
	assert_true(clock_ms() - began >= 150);
	assert_int_equal(slurp(&w, slow, &out), 408);
	buf_reset(&out);
	assert_int_equal(slurp(&w, idle, &out), 0);
	assert_int_equal(out.len, 0);
	UNTIL(&w, gate_connections(w.gate) == 0); /* the stuck one was cut */
	close(idle);
	close(slow);
	close(stuck);
	buf_free(&out);
	world_close(&w);
}

static void test_continue(void **state)
{
	static const char head[] = "POST /c HTTP/1.1\r\n" H
				   "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n";
	struct world w;
	struct buf out;
	int fd;

	(void)state;
	world_open(&w, &usual);
	fd = client(&w);
	buf_init(&out, 1 << 20);
	put(&w, fd, head, sizeof head - 1);
	UNTIL(&w, has(fd, &out, "HTTP/1.1 100 Continue\r\n\r\n"));
	say(&w, fd, "hi");
	UNTIL(&w, has(fd, &out, "/c hi"));
	assert_null(strstr(strstr(out.p, "100 Continue") + 1, "100 Continue"));
	close(fd);
	buf_free(&out);
	world_close(&w);
}

static void test_too_many(void **state)
{
	static const struct gate_conf few = {LIMITS, 5000, 5000, 5000, 16, 0, {0}};
	struct world w;
	struct buf out;
	int fd[17];

	(void)state;
	world_open(&w, &few);
	buf_init(&out, 1 << 20);
	for (int i = 0; i < 16; i++) {
		fd[i] = client(&w);
		UNTIL(&w, gate_connections(w.gate) == (uint32_t)i + 1);
	}
	fd[16] = client(&w);
	assert_int_equal(slurp(&w, fd[16], &out), 503);
	assert_non_null(strstr(out.p, "\r\nRetry-After: 1\r\n"));
	close(fd[0]);
	close(fd[16]);
	UNTIL(&w, gate_connections(w.gate) == 15);
	fd[0] = client(&w);
	buf_reset(&out);
	say(&w, fd[0], "GET /ok HTTP/1.1\r\n" H "\r\n");
	UNTIL(&w, has(fd[0], &out, "/ok"));
	for (int i = 0; i < 16; i++)
		close(fd[i]);
	buf_free(&out);
	world_close(&w);
}

static void test_drain(void **state)
{
	struct world w;
	struct buf out;
	int idle, parked;

	(void)state;
	world_open(&w, &usual);
	buf_init(&out, 1 << 20);
	idle = client(&w);
	parked = client(&w);
	say(&w, parked, "GET /park HTTP/1.1\r\n" H "\r\n");
	UNTIL(&w, w.nparked == 1 && gate_connections(w.gate) == 2);
	gate_drain(w.gate);
	say(&w, idle, "GET /one HTTP/1.1\r\n" H "\r\n");
	assert_int_equal(slurp(&w, idle, &out), 200);
	assert_non_null(strstr(out.p, "\r\nConnection: close\r\n"));
	close(idle);
	assert_int_equal(w.empty, 0);
	buf_reset(&out);
	answer(w.parked[0], w.parked_req[0], 0);
	assert_int_equal(slurp(&w, parked, &out), 200);
	assert_non_null(strstr(out.p, "\r\nConnection: close\r\n"));
	close(parked);
	UNTIL(&w, w.empty == 1);
	buf_free(&out);
	world_close(&w);
}

static int hot_refs;

static void hot_unref(const void *data, size_t len, void *arg)
{
	(void)data;
	(void)len;
	free(arg);
	hot_refs--;
}

static int on_hot(void *arg, struct gate_conn *c, const struct strict *rq)
{
	struct world *w = arg;
	char head[64], *body;
	size_t n = w->big + 3;

	if (strcmp(rq->target.p, "/hot") != 0)
		return 0;
	body = long_request("hot", w->big, 'x', "");
	hot_refs++;
	gate_send(c, head,
		  (size_t)snprintf(head, sizeof head,
				   "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n", n),
		  body, n, hot_unref, body);
	return 1;
}

static void test_hot(void **state)
{
	struct world w;
	struct buf out;
	char *body;
	int fd;

	(void)state;
	world_open(&w, &usual);
	buf_init(&out, 64 << 20);
	fd = client(&w);
	say(&w, fd, "GET /hot HTTP/1.1\r\n" H "\r\nGET /hot HTTP/1.1\r\n" H "\r\n");
	say(&w, fd, "GET /x HTTP/1.1\r\n" H "\r\n");
	UNTIL(&w, has(fd, &out, "/x"));
	w.big = 4 << 20; /* more than a socket takes at once */
	say(&w, fd, "GET /hot HTTP/1.1\r\n" H "\r\n");
	say(&w, fd, "GET /hot HTTP/1.1\r\n" H "Connection: close\r\n\r\n");
	assert_int_equal(slurp(&w, fd, &out), 200);
	body = strstr(out.p, "\r\n\r\nhotxx");
	assert_non_null(body);
	assert_int_equal(strspn(body + 7, "x"), w.big); /* in pieces, and whole */
	assert_int_equal(hot_refs, 0);
	close(fd);
	fd = client(&w); /* a client that leaves in the middle frees the body */
	say(&w, fd, "GET /hot HTTP/1.1\r\n" H "\r\n");
	UNTIL(&w, get_more(fd, &out));
	close(fd);
	UNTIL(&w, hot_refs == 0 && gate_connections(w.gate) == 0);
	buf_free(&out);
	world_close(&w);
}

/* A worker leaves: libevent lets go of the connection after the gate, whose room is gone then. */
static void test_half_an_upload_at_the_end(void **state)
{
	static struct strict_room room = {0, 10000};
	char *half =
		long_request("POST /up HTTP/1.1\r\n" H "Content-Length: 400\r\n\r\nd",
			     200, 'x', "");
	struct gate_conf conf = usual;
	struct world w;
	int fd;

	(void)state;
	conf.limits.wide = wide;
	conf.limits.nwide = PS_ARRAY_LEN(wide);
	conf.limits.room = &room;
	world_open(&w, &conf);
	fd = client(&w);
	say(&w, fd, half);
	UNTIL(&w, room.used == 201 - conf.limits.body);
	gate_free(&w.gate);
	assert_int_equal(room.used, 0);
	event_base_free(w.base);
	close(fd);
	free(half);
}

/* What the answer to this request calls it; the client closes behind it. */
static void ask_id(struct world *w, char id[REQID_MAX + 2], const char *fmt, ...)
{
	static const char name[] = "\r\nX-Request-Id: ";
	char text[512];
	const char *at;
	struct buf out;
	va_list ap;
	int fd = client(w);

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	buf_init(&out, 1 << 20);
	say(w, fd, text);
	shutdown(fd, SHUT_WR);
	(void)slurp(w, fd, &out);
	at = out.p ? strstr(out.p, name) : NULL;
	assert_non_null(at);
	at += sizeof name - 1;
	snprintf(id, REQID_MAX + 2, "%.*s", (int)strcspn(at, "\r"), at);
	assert_null(strstr(at, name)); /* once */
	/* our own errors have it, too */
	if (strstr(out.p, "{\"error\"")) {
		snprintf(text, sizeof text, "\"request_id\":\"%s\"}", id);
		assert_non_null(strstr(out.p, text));
	}
	buf_free(&out);
	close(fd);
}

static int is_made(const char *id)
{
	return strlen(id) == REQID_MADE && strspn(id, "0123456789abcdef") == REQID_MADE;
}

/* Each way to answer says what the request is called: as the client calls it, if that is
 * sane, else as we do, each time anew. */
static void test_request_ids(void **state)
{
	static const char *const ways[] = {
		"GET /x HTTP/1.1\r\n" H "Connection: close\r\n", /* evhttp */
		"GET /hot HTTP/1.1\r\n" H,                       /* the hot hook */
		"GET /x HTTP/1.1\r\n" H H,                       /* refused */
	};
	char id[REQID_MAX + 2], other[REQID_MAX + 2], longest[REQID_MAX + 2];
	struct world w;

	(void)state;
	world_open(&w, &usual);
	memset(longest, 'z', sizeof longest);
	longest[REQID_MAX + 1] = '\0';
	for (size_t i = 0; i < PS_ARRAY_LEN(ways); i++) {
		ask_id(&w, id, "%sx-rEQUEST-iD: nginx-7/+=\r\n\r\n", ways[i]);
		assert_string_equal(id, "nginx-7/+=");
		ask_id(&w, id, "%sX-Request-Id: %s\r\n\r\n", ways[i], longest + 1);
		assert_string_equal(id, longest + 1);
		ask_id(&w, id, "%s\r\n", ways[i]);
		ask_id(&w, other, "%s\r\n", ways[i]);
		assert_true(is_made(id) && is_made(other) && strcmp(id, other) != 0);
		ask_id(&w, id, "%sX-Request-Id: %s\r\n\r\n", ways[i], longest);
		assert_true(is_made(id));
		ask_id(&w, id, "%sX-Request-Id:\r\n\r\n", ways[i]);
		assert_true(is_made(id));
		ask_id(&w, id, "%sX-Request-Id: a b\r\n\r\n", ways[i]);
		assert_true(is_made(id));
		ask_id(&w, id, "%sX-Request-Id: a\"\xff\r\n\r\n", ways[i]);
		assert_true(is_made(id));
		ask_id(&w, id, "%sX-Request-Id: a\r\nX-Request-Id: a\r\n\r\n", ways[i]);
		assert_true(is_made(id));
	}
	ask_id(&w, id, "GET / HTTP/1.1\r\nX-Request-Id: early\r\nHost: u@a\r\n\r\n");
	assert_string_equal(id, "early");
	world_close(&w);
}

/* A connection's next request has a name of its own. */
static void test_request_ids_are_not_kept(void **state)
{
	struct world w;
	struct buf out;
	char *at;
	int fd;

	(void)state;
	world_open(&w, &usual);
	fd = client(&w);
	buf_init(&out, 1 << 20);
	say(&w, fd,
	    "GET /x HTTP/1.1\r\n" H "X-Request-Id: one\r\n\r\n"
	    "GET /hot HTTP/1.1\r\n" H "X-Request-Id: two\r\n\r\n"
	    "GET /x HTTP/1.1\r\n" H "Connection: close\r\n\r\n");
	assert_int_equal(slurp(&w, fd, &out), 200);
	at = strstr(out.p, "X-Request-Id: one\r\n");
	assert_non_null(at);
	at = strstr(at, "X-Request-Id: two\r\n");
	assert_non_null(at);
	at = strstr(at + 1, "X-Request-Id: ");
	assert_non_null(at);
	assert_int_equal(strcspn(at + 14, "\r"), REQID_MADE);
	buf_free(&out);
	close(fd);
	world_close(&w);
}

/* Rubbish, whole and in pieces: never a crash, always an end. */
static void test_noise(void **state)
{
	static const struct strict_limits lim = LIMITS;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		const struct row *r = &rows[dice(PS_ARRAY_LEN(rows))];
		struct strict s;
		char *p = long_request(r->bytes, 0, 0, "");
		size_t n = strlen(p), used;
		enum strict_rc rc = STRICT_MORE;

		for (unsigned k = dice(4); k > 0; k--)
			p[dice((unsigned)n)] = (char)dice(256);
		strict_init(&s, &lim);
		for (size_t at = 0; at < n && rc == STRICT_MORE; at += used) {
			size_t len = piece(2, n - at);

			rc = strict_feed(&s, p + at, len, &used);
			assert_true(used <= len && (rc != STRICT_MORE || used == len));
		}
		if (rc == STRICT_BAD)
			assert_true(s.status >= 400 && s.word && s.why);
		strict_free(&s);
		free(p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_pipeline),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_many_headers),
		cmocka_unit_test(test_uploads),
		cmocka_unit_test(test_uploads_share_their_room),
		cmocka_unit_test(test_rewrite),
		cmocka_unit_test(test_noise),
		cmocka_unit_test(test_live_table),
		cmocka_unit_test(test_keep_alive),
		cmocka_unit_test(test_parked_bytes),
		cmocka_unit_test(test_parked_leaves),
		cmocka_unit_test(test_big),
		cmocka_unit_test(test_clocks),
		cmocka_unit_test(test_continue),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_hot),
		cmocka_unit_test(test_half_an_upload_at_the_end),
		cmocka_unit_test(test_request_ids),
		cmocka_unit_test(test_request_ids_are_not_kept),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
