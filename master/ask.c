/* ask.c -- one HTTP question; see ask.h. */
#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "master/ask.h"
#include "master/sock.h"

struct ask {
	struct event_base *base;
	struct ask_reply *out;
	char *err;
	int rc;
};

/* 0.0.0.0 and [::] are where it listens, not where one can ask. */
static void to_reachable(struct sock_addr *a, char host[64])
{
	struct sockaddr_in *sin = (struct sockaddr_in *)&a->sa;
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&a->sa;
	char text[INET6_ADDRSTRLEN] = "";

	if (a->sa.ss_family == AF_INET) {
		if (sin->sin_addr.s_addr == htonl(INADDR_ANY))
			sin->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		inet_ntop(AF_INET, &sin->sin_addr, text, sizeof text);
		snprintf(host, 64, "%s:%u", text, ntohs(sin->sin_port));
	} else {
		if (IN6_IS_ADDR_UNSPECIFIED(&sin6->sin6_addr))
			sin6->sin6_addr = in6addr_loopback;
		inet_ntop(AF_INET6, &sin6->sin6_addr, text, sizeof text);
		snprintf(host, 64, "[%s]:%u", text, ntohs(sin6->sin6_port));
	}
}

/* An address is what others can use, too; else it is the first unix socket. */
static struct sock_addr *best(struct sock_addr *addr, int n)
{
	for (int i = 0; i < n; i++)
		if (!sock_is_unix(&addr[i]))
			return &addr[i];
	return &addr[0];
}

int ask_base(char out[ASK_URL_MAX], const char *url, const struct conf *c,
	     char err[ERRLEN])
{
	struct sock_addr addr[CONF_MAX_LISTEN], *at;
	char host[64];
	int n;

	if (url) {
		size_t len = strlen(url);

		while (len > 0 && url[len - 1] == '/')
			len--;
		if (len >= ASK_URL_MAX)
			return err_set(err, "--url is too long");
		snprintf(out, ASK_URL_MAX, "%.*s", (int)len, url);
		return 0;
	}
	n = sock_parse_list(addr, c->http_listen, err);
	if (n < 0)
		return -1;
	at = best(addr, n);
	if (sock_is_unix(at)) {
		snprintf(out, ASK_URL_MAX, "%s", at->text);
		return 0;
	}
	if (strcmp(strrchr(at->text, ':'), ":0") == 0)
		return err_set(err,
			       "http.listen has port 0: say where it listens with --url");
	to_reachable(at, host);
	snprintf(out, ASK_URL_MAX, "http://%s", host);
	return 0;
}

static const char *error_text(enum evhttp_request_error e)
{
	switch (e) {
	case EVREQ_HTTP_TIMEOUT: return "no answer in time";
	case EVREQ_HTTP_EOF: return "closed without an answer";
	case EVREQ_HTTP_INVALID_HEADER: return "the answer is not HTTP";
	case EVREQ_HTTP_DATA_TOO_LONG: return "the answer is too long";
	default: return "the connection failed";
	}
}

static void on_error(enum evhttp_request_error e, void *arg)
{
	struct ask *a = arg;

	err_set(a->err, "%s", error_text(e));
}

static void on_done(struct evhttp_request *req, void *arg)
{
	struct ask *a = arg;
	struct evbuffer *in;

	event_base_loopbreak(a->base);
	if (!req || evhttp_request_get_response_code(req) == 0) {
		if (!a->err[0])
			err_set(a->err, "nobody listens there");
		return;
	}
	in = evhttp_request_get_input_buffer(req);
	a->out->status = evhttp_request_get_response_code(req);
	a->out->len = evbuffer_get_length(in);
	a->out->body = calloc(1, a->out->len + 1);
	if (!a->out->body || evbuffer_remove(in, a->out->body, a->out->len) < 0) {
		err_set(a->err, "out of memory");
		return;
	}
	a->rc = 0;
}

/* evhttp takes an IPv6 host without its brackets to connect, with them as header. */
static struct evhttp_connection *dial(struct event_base *base,
				      const struct evhttp_uri *uri, int timeout_s)
{
	const char *host = evhttp_uri_get_host(uri);
	int port = evhttp_uri_get_port(uri);
	struct evhttp_connection *conn;
	char bare[256];
	size_t len = strlen(host);

	if (len >= sizeof bare)
		return NULL;
	if (host[0] == '[' && len > 2)
		snprintf(bare, sizeof bare, "%.*s", (int)len - 2, host + 1);
	else
		snprintf(bare, sizeof bare, "%s", host);
	conn = evhttp_connection_base_new(base, NULL, bare,
					  port < 0 ? 80 : (uint16_t)port);
	if (conn) {
		evhttp_connection_set_timeout(conn, timeout_s);
		evhttp_connection_set_max_body_size(conn, ASK_BODY_MAX);
	}
	return conn;
}

static void run(struct ask *a, struct evhttp_connection *conn,
		const struct evhttp_uri *uri, const char *base, const char *path)
{
	struct evhttp_request *req = evhttp_request_new(on_done, a);
	char target[ASK_URL_MAX + ASK_PATH_MAX];

	if (!req) {
		err_set(a->err, "out of memory");
		return;
	}
	evhttp_request_set_error_cb(req, on_error);
	evhttp_add_header(evhttp_request_get_output_headers(req), "Host",
			  strstr(base, "://") + 3);
	evhttp_add_header(evhttp_request_get_output_headers(req), "Connection", "close");
	snprintf(target, sizeof target, "%s%s", evhttp_uri_get_path(uri), path);
	/* From here on conn owns req, also if this fails. */
	if (evhttp_make_request(conn, req, EVHTTP_REQ_GET, target) != 0)
		err_set(a->err, "the connection failed");
	else
		event_base_dispatch(a->base);
}

/* --- over a unix socket, which evhttp's client can't -------------------------- */

static int dial_path(const char *path, int timeout_s, char err[ERRLEN])
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct timeval tv = {.tv_sec = timeout_s};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_errno(err, "socket");
	if (strlen(path) < sizeof sun.sun_path &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv) == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv) == 0) {
		memcpy(sun.sun_path, path, strlen(path) + 1);
		if (connect(fd, (struct sockaddr *)&sun, sizeof sun) == 0)
			return fd;
	}
	err_errno(err, "%s", path);
	close(fd);
	return -1;
}

/* Everything until it is closed. */
static int read_all(struct buf *in, int fd, uint64_t until_ms, char err[ERRLEN])
{
	char some[16384];
	ssize_t n;

	while ((n = recv(fd, some, sizeof some, 0)) > 0 && clock_ms() < until_ms)
		buf_add(in, some, (size_t)n);
	if (n != 0)
		return err_set(err, "no answer in time");
	return in->failed ? err_set(err, "the answer is too long") : 0;
}

/* The whole answer: a head, an empty line, the body. */
static int take(struct ask_reply *out, const struct buf *in, char err[ERRLEN])
{
	const char *end = in->p ? memmem(in->p, in->len, "\r\n\r\n", 4) : NULL;

	if (!end || strncmp(in->p, "HTTP/1.", 7) != 0 || in->p[8] != ' ')
		return err_set(err, "the answer is not HTTP");
	end += 4;
	out->status = (int)strtol(in->p + 9, NULL, 10);
	out->len = in->len - (size_t)(end - in->p);
	out->body = calloc(1, out->len + 1);
	if (!out->body)
		return err_set(err, "out of memory");
	memcpy(out->body, end, out->len);
	return 0;
}

static int get_by_path(struct ask_reply *out, const char *path, const char *target,
		       int timeout_s, char err[ERRLEN])
{
	uint64_t until_ms = clock_ms() + (uint64_t)timeout_s * 1000;
	int rc = -1, fd = dial_path(path, timeout_s, err);
	struct buf q, in;

	if (fd < 0)
		return -1;
	buf_init(&q, ASK_PATH_MAX + 256);
	buf_init(&in, ASK_BODY_MAX + 65536);
	buf_printf(&q, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
		   target);
	if (q.failed || send(fd, q.p, q.len, MSG_NOSIGNAL) != (ssize_t)q.len)
		err_set(err, "the connection failed");
	else if (read_all(&in, fd, until_ms, err) == 0)
		rc = take(out, &in, err);
	buf_free(&q);
	buf_free(&in);
	close(fd);
	return rc;
}

int ask_get(struct ask_reply *out, const char *base, const char *path, int timeout_s,
	    char err[ERRLEN])
{
	struct ask a = {.out = out, .err = err, .rc = -1};
	struct evhttp_connection *conn = NULL;
	struct evhttp_uri *uri;

	memset(out, 0, sizeof *out);
	err[0] = '\0';
	if (strncmp(base, "unix:", 5) == 0)
		return get_by_path(out, base + 5, path, timeout_s, err);
	uri = evhttp_uri_parse(base);
	if (!uri || !evhttp_uri_get_scheme(uri) || !evhttp_uri_get_host(uri) ||
	    strcmp(evhttp_uri_get_scheme(uri), "http") != 0 ||
	    !evhttp_uri_get_host(uri)[0]) {
		err_set(err, "that is not a URL such as http://127.0.0.1:8080");
		goto out;
	}
	a.base = event_base_new();
	if (a.base)
		conn = dial(a.base, uri, timeout_s);
	if (conn)
		run(&a, conn, uri, base, path);
	else
		err_set(err, "out of memory");
out:
	if (a.rc != 0) {
		free(out->body);
		out->body = NULL;
	}
	if (conn)
		evhttp_connection_free(conn);
	if (a.base)
		event_base_free(a.base);
	if (uri)
		evhttp_uri_free(uri);
	return a.rc;
}
