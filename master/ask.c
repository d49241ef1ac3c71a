/* ask.c -- one HTTP question; see ask.h. */
#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

int ask_base(char out[ASK_URL_MAX], const char *url, const struct conf *c,
	     char err[ERRLEN])
{
	struct sock_addr addr[CONF_MAX_LISTEN];
	char host[64];

	if (url) {
		size_t len = strlen(url);

		while (len > 0 && url[len - 1] == '/')
			len--;
		if (len >= ASK_URL_MAX)
			return err_set(err, "--url is too long");
		snprintf(out, ASK_URL_MAX, "%.*s", (int)len, url);
		return 0;
	}
	if (sock_parse_list(addr, c->http_listen, err) < 0)
		return -1;
	if (strcmp(strrchr(addr[0].text, ':'), ":0") == 0)
		return err_set(err,
			       "http.listen has port 0: say where it listens with --url");
	to_reachable(&addr[0], host);
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

int ask_get(struct ask_reply *out, const char *base, const char *path, int timeout_s,
	    char err[ERRLEN])
{
	struct ask a = {.out = out, .err = err, .rc = -1};
	struct evhttp_uri *uri = evhttp_uri_parse(base);
	struct evhttp_connection *conn = NULL;

	memset(out, 0, sizeof *out);
	err[0] = '\0';
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
