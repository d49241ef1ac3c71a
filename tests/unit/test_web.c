/*
 * test_web.c -- outgoing HTTP against a server on loopback that is right, slow, silent,
 * lying, garrulous, rude or not there. The server is a script per path, on the same loop.
 * Names: getaddrinfo is ours here, so that a look-up can hang for as long as we like.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

#include "collector/web.h"
#include "common/clock.h"
#include "steady.h"

#define BODY_MAX 1000

/* ---- names -------------------------------------------------------------------------- */

static int hang_pipe[2];

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
		struct addrinfo **res)
{
	int (*real)(const char *, const char *, const struct addrinfo *,
		    struct addrinfo **);
	struct pollfd p = {.fd = hang_pipe[0], .events = POLLIN};

	*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
	if (node && strcmp(node, "hang.test") == 0) {
		(void)poll(&p, 1, 30000); /* until the test is over */
		return EAI_AGAIN;
	}
	if (node && strcmp(node, "nobody.test") == 0)
		return EAI_NONAME;
	return real(node, service, hints, res);
}

/* ---- the server ----------------------------------------------------------------------- */

struct server {
	struct event_base *base;
	struct evconnlistener *listener;
	int port, connections, requests;
	char last[2048]; /* the last request, as it came */
};

struct slow { /* one byte per turn, for ever */
	struct bufferevent *bev;
	struct event *ev;
};

static void on_slow(evutil_socket_t fd, short what, void *arg)
{
	struct slow *s = arg;

	(void)fd;
	(void)what;
	bufferevent_write(s->bev, "x", 1);
}

static struct slow slow_one;

static void say(struct bufferevent *b, const char *text)
{
	bufferevent_write(b, text, strlen(text));
}

static void say_and_close(struct bufferevent *b, const char *text)
{
	int fd = bufferevent_getfd(b);

	(void)!write(fd, text, strlen(text));
	bufferevent_free(b);
}

static void flood(struct bufferevent *b, const char *head, const char *line, int times)
{
	say(b, head);
	for (int i = 0; i < times; i++)
		say(b, line);
}

static void script(struct server *s, struct bufferevent *b, const char *path)
{
	static const struct timeval turn = {0, 20000};

	if (strcmp(path, "/ok") == 0)
		say(b, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
	else if (strcmp(path, "/chunked") == 0)
		say(b, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		       "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n");
	else if (strcmp(path, "/busy") == 0)
		say(b, "HTTP/1.1 429 Slow down\r\nRetry-After: 7\r\nContent-Length: "
		       "0\r\n\r\n");
	else if (strcmp(path, "/busy-for-years") == 0)
		say(b, "HTTP/1.1 503 No\r\nRetry-After: 999999999\r\nContent-Length: "
		       "0\r\n\r\n");
	else if (strcmp(path, "/elsewhere") == 0)
		say(b, "HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: "
		       "0\r\n\r\n");
	else if (strcmp(path, "/short") == 0)
		say_and_close(b, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello");
	else if (strcmp(path, "/huge-word") == 0)
		say(b, "HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\nhello");
	else if (strcmp(path, "/huge") == 0)
		flood(b, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		      "5\r\nhello\r\n", 1000);
	else if (strcmp(path, "/head") == 0)
		flood(b, "HTTP/1.1 200 OK\r\n", "X-More: and more and more\r\n", 5000);
	else if (strcmp(path, "/continue") == 0)
		flood(b, "", "HTTP/1.1 100 Continue\r\n\r\n", 5000);
	else if (strcmp(path, "/garbage") == 0)
		say_and_close(b, "SSH-2.0-OpenSSH_9.2\r\n\r\n");
	else if (strcmp(path, "/close") == 0)
		bufferevent_free(b);
	else if (strcmp(path, "/slow") == 0) {
		say(b, "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n");
		slow_one.bev = b;
		slow_one.ev = event_new(s->base, -1, EV_PERSIST, on_slow, &slow_one);
		event_add(slow_one.ev, &turn);
	} /* "/hang": not a word */
}

static void on_request(struct bufferevent *b, void *arg)
{
	struct server *s = arg;
	struct evbuffer *in = bufferevent_get_input(b);
	char path[64] = "";
	ev_ssize_t n;

	if (evbuffer_search(in, "\r\n\r\n", 4, NULL).pos < 0)
		return;
	n = evbuffer_remove(in, s->last, sizeof(s->last) - 1);
	s->last[n > 0 ? n : 0] = '\0';
	s->requests++;
	assert_int_equal(sscanf(s->last, "%*s %63s HTTP/1.1", path), 1);
	script(s, b, path);
}

static void on_gone(struct bufferevent *b, short what, void *arg)
{
	(void)arg;
	if (!(what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)))
		return;
	if (slow_one.bev == b && slow_one.ev) {
		event_free(slow_one.ev);
		memset(&slow_one, 0, sizeof(slow_one));
	}
	bufferevent_free(b);
}

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa,
		      int len, void *arg)
{
	struct server *s = arg;
	struct bufferevent *b =
		bufferevent_socket_new(s->base, fd, BEV_OPT_CLOSE_ON_FREE);

	(void)l;
	(void)sa;
	(void)len;
	s->connections++;
	bufferevent_setcb(b, on_request, NULL, on_gone, s);
	bufferevent_enable(b, EV_READ | EV_WRITE);
}

static void serve(struct server *s, struct event_base *base)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	socklen_t len = sizeof(at);

	memset(s, 0, sizeof(*s));
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	s->base = base;
	s->listener = evconnlistener_new_bind(base, on_accept, s, LEV_OPT_CLOSE_ON_FREE,
					      16, (struct sockaddr *)&at, sizeof(at));
	assert_non_null(s->listener);
	assert_int_equal(getsockname(evconnlistener_get_fd(s->listener),
				     (struct sockaddr *)&at, &len),
			 0);
	s->port = ntohs(at.sin_port);
}

/* ---- the asker --------------------------------------------------------------------------- */

struct asked {
	int calls, status;
	enum web_rc rc;
	uint64_t retry_after_ms;
	size_t len;
	char body[BODY_MAX + 1], error[300];
	struct event_base *base;
};

struct fixture {
	struct event_base *base;
	struct server server;
	struct web *web;
};

static void on_answer(void *arg, const struct web_answer *a)
{
	struct asked *q = arg;

	q->calls++;
	q->rc = a->rc;
	q->status = a->status;
	q->retry_after_ms = a->retry_after_ms;
	q->len = a->len;
	assert_true(a->len <= BODY_MAX);
	memcpy(q->body, a->body, a->len + 1);
	snprintf(q->error, sizeof(q->error), "%s", a->error);
	if (q->base)
		event_base_loopbreak(q->base);
}

static struct web_ask question(struct asked *q, const char *url)
{
	struct web_ask ask = {.url = url,
			      .timeout_ms = 5000,
			      .connect_ms = 3000,
			      .max_body = BODY_MAX,
			      .fn = on_answer,
			      .arg = q};

	return ask;
}

static void run_ms(struct event_base *base, int ms)
{
	struct timeval tv = {ms / 1000, (ms % 1000) * 1000};

	event_base_loopexit(base, &tv);
	event_base_dispatch(base);
}

static void ask_as(struct fixture *f, struct asked *q, struct web_ask *ask)
{
	char err[ERRLEN] = "";

	q->base = f->base;
	if (!web_start(f->web, ask, err))
		fail_msg("%s: %s", ask->url, err);
	assert_int_equal(q->calls, 0); /* never before web_start returns */
	while (q->calls == 0)
		event_base_dispatch(f->base);
}

static void ask_path(struct fixture *f, struct asked *q, const char *path)
{
	char url[128];
	struct web_ask ask;

	memset(q, 0, sizeof(*q));
	snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", f->server.port, path);
	ask = question(q, url);
	ask.timeout_ms = 400;
	ask_as(f, q, &ask);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char err[ERRLEN] = "";

	f->base = event_base_new();
	serve(&f->server, f->base);
	if (web_open(&f->web, f->base, err) != 0)
		fail_msg("%s", err);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	web_close(&f->web);
	assert_null(f->web);
	web_close(&f->web);
	evconnlistener_free(f->server.listener);
	run_ms(f->base, 20); /* the server's ends see that ours are closed */
	event_base_free(f->base);
	free(f);
	return 0;
}

/* ---- what a server may say ------------------------------------------------------------- */

static void test_whole_answers(void **state)
{
	struct asked q;

	ask_path(*state, &q, "/ok");
	assert_int_equal(q.rc, WEB_OK);
	assert_int_equal(q.status, 200);
	assert_string_equal(q.body, "hello");
	assert_string_equal(q.error, "");
	assert_int_equal(q.retry_after_ms, 0);
	ask_path(*state, &q, "/chunked");
	assert_int_equal(q.rc, WEB_OK);
	assert_string_equal(q.body, "hello");
	ask_path(*state, &q, "/busy");
	assert_int_equal(q.status, 429);
	assert_int_equal(q.retry_after_ms, 7000);
	assert_string_equal(q.body, "");
	ask_path(*state, &q, "/busy-for-years");
	assert_int_equal(q.retry_after_ms, WEB_RETRY_MAX_MS);
}

static void test_redirects_are_answers(void **state)
{
	struct fixture *f = *state;
	struct asked q;

	ask_path(f, &q, "/elsewhere");
	assert_int_equal(q.rc, WEB_OK);
	assert_int_equal(q.status, 302);
	assert_int_equal(f->server.requests, 1);
}

static void test_one_connection_serves_many(void **state)
{
	struct fixture *f = *state;
	struct asked q;

	for (int i = 0; i < 5; i++)
		ask_path(f, &q, "/ok");
	assert_int_equal(f->server.requests, 5);
	assert_int_equal(f->server.connections, 1);
}

static void test_what_is_sent(void **state)
{
	static const char *const headers[] = {"X-API-Key: secret", NULL};
	struct fixture *f = *state;
	struct asked q = {0};
	char url[64];
	struct web_ask ask;

	snprintf(url, sizeof(url), "http://127.0.0.1:%d/ok", f->server.port);
	ask = question(&q, url);
	ask.headers = headers;
	ask.user = "me";
	ask.password = "a:b";
	ask_as(f, &q, &ask);
	assert_int_equal(q.status, 200);
	assert_non_null(strstr(f->server.last, "X-API-Key: secret\r\n"));
	assert_non_null(strstr(f->server.last, "Authorization: Basic bWU6YTpi\r\n"));
	assert_non_null(strstr(f->server.last, "User-Agent: peerscope/"));
}

static void test_lies_and_noise(void **state)
{
	static const struct {
		const char *path;
		enum web_rc rc;
		int status;
	} cases[] = {
		{"/short", WEB_FAILED, 0},     {"/huge-word", WEB_TOO_LARGE, 200},
		{"/huge", WEB_TOO_LARGE, 200}, {"/head", WEB_TOO_LARGE, 200},
		{"/garbage", WEB_FAILED, 0},   {"/continue", WEB_TOO_LARGE, 100},
		{"/close", WEB_FAILED, 0},     {"/hang", WEB_TIMEOUT, 0},
		{"/slow", WEB_TIMEOUT, 0},
	};
	struct asked q;

	for (size_t i = 0; i < PS_ARRAY_LEN(cases); i++) {
		ask_path(*state, &q, cases[i].path);
		if (q.rc != cases[i].rc || q.status != cases[i].status || !q.error[0] ||
		    q.len != 0)
			fail_msg("%s: rc %d, status %d, \"%s\"", cases[i].path, q.rc,
				 q.status, q.error);
	}
}

static void test_nobody_there(void **state)
{
	struct fixture *f = *state;
	struct asked q = {0};
	struct web_ask ask;
	struct server gone;
	char url[64];

	serve(&gone, f->base);
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/ok", gone.port);
	evconnlistener_free(gone.listener);
	ask = question(&q, url);
	ask_as(f, &q, &ask);
	assert_int_equal(q.rc, WEB_REFUSED);
	assert_string_equal(q.error, "Connection refused");
	memset(&q, 0, sizeof(q));
	ask = question(&q, "http://nobody.test/");
	ask_as(f, &q, &ask);
	assert_int_equal(q.rc, WEB_FAILED);
}

static void test_tls_that_is_none(void **state)
{
	struct fixture *f = *state;
	struct asked q = {0};
	struct web_ask ask;
	char url[64];

	snprintf(url, sizeof(url), "https://127.0.0.1:%d/ok", f->server.port);
	ask = question(&q, url);
	ask.timeout_ms = 500; /* the server waits for a request that never ends */
	ask_as(f, &q, &ask);
	assert_int_not_equal(q.rc, WEB_OK);
}

/* ---- what the asker may do ---------------------------------------------------------------- */

static void refused(struct web *web, const char *url, const char *header)
{
	const char *const headers[] = {header, NULL};
	struct asked q = {0};
	struct web_ask ask = question(&q, url);
	char err[ERRLEN] = "";

	ask.headers = headers;
	assert_null(web_start(web, &ask, err));
	assert_true(err[0]);
}

static void test_refused_at_once(void **state)
{
	struct fixture *f = *state;

	refused(f->web, "ftp://127.0.0.1/", NULL);
	refused(f->web, "file:///etc/passwd", NULL);
	refused(f->web, "127.0.0.1:8000", NULL);
	refused(f->web, "http://127.0.0.1/a b", NULL);
	refused(f->web, "http://127.0.0.1/\r\nX: y", NULL);
	refused(f->web, "http://127.0.0.1/", "X-Key: a\r\nX-Other: b");
	refused(f->web, "http://127.0.0.1/", "no colon");
}

static void test_user_in_url(void **state)
{
	struct fixture *f = *state;
	struct asked q = {0};
	char url[64];
	struct web_ask ask;

	snprintf(url, sizeof(url), "http://me:pw@127.0.0.1:%d/ok", f->server.port);
	ask = question(&q, url);
	ask_as(f, &q, &ask);
	assert_int_equal(q.rc, WEB_FAILED);
	assert_int_equal(f->server.requests, 0);
}

static void test_no_proxy_from_outside(void **state)
{
	struct asked q;

	setenv("http_proxy", "http://127.0.0.1:1", 1);
	setenv("all_proxy", "http://127.0.0.1:1", 1);
	ask_path(*state, &q, "/ok");
	unsetenv("http_proxy");
	unsetenv("all_proxy");
	assert_int_equal(q.status, 200);
}

static void test_bound_and_cancel(void **state)
{
	struct fixture *f = *state;
	struct web_req *req[WEB_MAX];
	struct asked q = {0};
	struct web_ask ask;
	char url[64], err[ERRLEN] = "";

	snprintf(url, sizeof(url), "http://127.0.0.1:%d/hang", f->server.port);
	ask = question(&q, url);
	for (int i = 0; i < WEB_MAX; i++) {
		req[i] = web_start(f->web, &ask, err);
		assert_non_null(req[i]);
	}
	assert_null(web_start(f->web, &ask, err));
	assert_non_null(strstr(err, "too many"));
	run_ms(f->base, 50);
	web_cancel(&req[7]);
	assert_null(req[7]);
	web_cancel(&req[7]); /* NULL is fine */
	assert_non_null(req[7] = web_start(f->web, &ask, err));
	for (int i = 0; i < WEB_MAX - 1; i++)
		web_cancel(&req[i]);
	run_ms(f->base, 50);
	assert_int_equal(q.calls, 0);
	/* the last one goes with web_close */
}

/* A caller's function may start the next transfer, and cancel others. */
struct chain {
	struct fixture *f;
	struct web_req *other;
	int left, others;
	char url[64];
};

static void on_other(void *arg, const struct web_answer *a)
{
	struct chain *ch = arg;

	(void)a;
	ch->others++;
}

static void on_link(void *arg, const struct web_answer *a)
{
	struct chain *ch = arg;
	struct web_ask ask = question(NULL, ch->url);
	char err[ERRLEN] = "";

	assert_int_equal(a->status, 200);
	web_cancel(&ch->other);
	if (--ch->left == 0) {
		event_base_loopbreak(ch->f->base);
		return;
	}
	ask.arg = ch;
	ask.fn = on_other;
	ch->other = web_start(ch->f->web, &ask, err);
	assert_non_null(ch->other);
	web_cancel(&ch->other);
	ask.fn = on_link;
	assert_non_null(web_start(ch->f->web, &ask, err));
}

static void test_from_inside(void **state)
{
	struct chain ch = {.f = *state, .left = 5};
	struct web_ask ask;
	char err[ERRLEN] = "";

	snprintf(ch.url, sizeof(ch.url), "http://127.0.0.1:%d/ok", ch.f->server.port);
	ask = question(NULL, ch.url);
	ask.arg = &ch;
	ask.fn = on_link;
	assert_non_null(web_start(ch.f->web, &ask, err));
	ask.fn = on_other;
	ch.other = web_start(ch.f->web, &ask, err);
	assert_non_null(ch.other);
	event_base_dispatch(ch.f->base);
	assert_int_equal(ch.left, 0);
	assert_true(ch.others <= 1); /* it may have been first; never after its cancel */
}

/* A name server that does not answer: the time limit holds, and neither the limit nor a
 * cancel keeps the loop waiting for the thread that looks the name up. */
static void test_name_that_hangs(void **state)
{
	struct fixture *f = *state;
	struct asked q = {0}, never = {0};
	struct web_ask ask = question(&q, "http://hang.test/");
	struct web_req *req;
	uint64_t from = clock_ms();
	char err[ERRLEN] = "";

	ask.timeout_ms = ask.connect_ms = 200;
	ask_as(f, &q, &ask);
	assert_int_equal(q.rc, WEB_TIMEOUT);
	ask = question(&never, "http://hang.test/");
	req = web_start(f->web, &ask, err);
	assert_non_null(req);
	run_ms(f->base, 50);
	web_cancel(&req);
	assert_true(clock_ms() - from < 5000);
	assert_int_equal(never.calls, 0);
	ask_path(f, &q, "/ok");
	assert_int_equal(q.status, 200);
}

/* ---- what is posted, and to whom ---------------------------------------------------------- */

static int may_calls;

static int may_not(void *arg, const uint8_t addr[ADDR_LEN])
{
	(void)arg;
	may_calls++;
	return addr_is_global(addr);
}

static int may(void *arg, const uint8_t addr[ADDR_LEN])
{
	(void)arg;
	(void)addr;
	may_calls++;
	return 1;
}

static void ask_guarded(struct fixture *f, struct asked *q, const char *host,
			int (*guard)(void *, const uint8_t *))
{
	char url[128];
	struct web_ask ask;

	memset(q, 0, sizeof(*q));
	snprintf(url, sizeof(url), "http://%s:%d/ok", host, f->server.port);
	ask = question(q, url);
	ask.may = guard;
	may_calls = 0;
	ask_as(f, q, &ask);
}

static void test_posts(void **state)
{
	struct fixture *f = *state;
	const char *headers[] = {"Content-Type: application/json", "Expect:", NULL};
	struct asked q = {0};
	char url[128];
	struct web_ask ask;

	snprintf(url, sizeof(url), "http://127.0.0.1:%d/ok", f->server.port);
	ask = question(&q, url);
	ask.headers = headers;
	ask.post = "{\"a\":\"\0\"}";
	ask.post_len = 9;
	ask_as(f, &q, &ask);
	assert_int_equal(q.rc, WEB_OK);
	assert_string_equal(q.body, "hello");
	assert_memory_equal(f->server.last, "POST /ok HTTP/1.1\r\n", 19);
	assert_non_null(strstr(f->server.last, "\r\nContent-Length: 9\r\n"));
	assert_non_null(strstr(f->server.last, "\r\nContent-Type: application/json\r\n"));
	assert_null(strstr(f->server.last, "Expect"));
	assert_memory_equal(strstr(f->server.last, "\r\n\r\n") + 4, ask.post, 9);
}

/* Whatever the name is spelled like: its address is looked at when it is known. */
static void test_guarded_names(void **state)
{
	static const char *const host[] = {"127.0.0.1", "localhost",  "2130706433",
					   "0x7f.1",    "0177.0.0.1", "127.1"};
	struct fixture *f = *state;
	struct asked q;

	for (size_t i = 0; i < PS_ARRAY_LEN(host); i++) {
		ask_guarded(f, &q, host[i], may_not);
		assert_int_equal(q.rc, WEB_DENIED);
		assert_true(may_calls >= 1);
		assert_non_null(strstr(q.error, "may not"));
		assert_int_equal(q.status, 0);
	}
	assert_int_equal(f->server.connections, 0);
	ask_guarded(f, &q, "localhost", may);
	assert_int_equal(q.rc, WEB_OK);
	assert_true(may_calls >= 1);
}

/* Nobody looked at the address of a connection that another transfer left open. */
static void test_guarded_ones_share_no_connection(void **state)
{
	struct fixture *f = *state;
	struct asked q;

	ask_path(f, &q, "/ok"); /* is kept */
	assert_int_equal(f->server.connections, 1);
	ask_guarded(f, &q, "127.0.0.1", may_not);
	assert_int_equal(q.rc, WEB_DENIED);
	assert_int_equal(f->server.requests, 1);
	ask_guarded(f, &q, "127.0.0.1", may);
	assert_int_equal(q.rc, WEB_OK);
	assert_int_equal(f->server.connections, 2);
	ask_guarded(f, &q, "127.0.0.1", may); /* not kept either */
	assert_int_equal(f->server.connections, 3);
	ask_path(f, &q, "/ok");
	assert_int_equal(f->server.connections, 3);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_posts),
		CASE(test_guarded_names),
		CASE(test_guarded_ones_share_no_connection),
		CASE(test_whole_answers),
		CASE(test_redirects_are_answers),
		CASE(test_one_connection_serves_many),
		CASE(test_what_is_sent),
		CASE(test_lies_and_noise),
		CASE(test_nobody_there),
		CASE(test_tls_that_is_none),
		CASE(test_refused_at_once),
		CASE(test_user_in_url),
		CASE(test_no_proxy_from_outside),
		CASE(test_bound_and_cancel),
		CASE(test_from_inside),
		CASE(test_name_that_hangs),
	};
	int rc;

	if (pipe(hang_pipe) != 0)
		return 1;
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	close(hang_pipe[1]); /* the look-ups end */
	return rc;
}
