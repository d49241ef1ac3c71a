/* gate.c -- the strict gate in front of evhttp: accepting, and its face; see gate.h. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <event2/util.h>

#include "common/clock.h"
#include "common/log.h"
#include "shm/stat.h"
#include "worker/gate_int.h"
#include "worker/status.h"

static struct gate *only; /* for the one callback that has no argument of ours */

/* --- birth --------------------------------------------------------------- */

/* At once: of a client that has reset its connection later, nobody could say who it was,
 * though its request is read. */
static int conn_peer(struct gate_conn *c)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;

	if (getpeername(c->fd, (struct sockaddr *)&ss, &len) != 0)
		return -1;
	if (ss.ss_family == AF_UNIX)
		return 0; /* all zero */
	return addr_from_sa(c->peer, NULL, (struct sockaddr *)&ss);
}

void gate_conn_start(struct gate_conn *c)
{
	struct gate *g = c->gate;
	int one = 1;

	c->fd = bufferevent_getfd(c->under);
	if (c->fd < 0 ||
	    g->open + g->lingering >= g->conf.max_connections + GATE_LINGERING ||
	    conn_peer(c) != 0) {
		gate_conn_close(c);
		return;
	}
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	event_assign(&c->ev, g->base, c->fd,
		     EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST, gate_conn_event,
		     c);
	if (event_add(&c->ev, NULL) != 0) {
		gate_conn_close(c);
		return;
	}
	c->state = CONN_READING;
	g->newborn--;
	stat_inc(http_connections);
	if (g->open++ < g->conf.max_connections) {
		gate_conn_until(c, g->now + g->conf.idle_ms);
		return;
	}
	stat_inc(http_connections_refused);
	gate_conn_refuse(c, 503, "too_many_connections",
			 "This server has no room for one more.");
}

static enum bufferevent_filter_result inert(struct evbuffer *src, struct evbuffer *dst,
					    ev_ssize_t limit,
					    enum bufferevent_flush_mode mode, void *arg)
{
	(void)src;
	(void)dst;
	(void)limit;
	(void)mode;
	(void)arg;
	return BEV_NEED_MORE;
}

/* evhttp asks for the bufferevent of a connection that it just accepted. The filter
 * passes nothing by itself: the gate fills its input and empties its output. Without
 * memory here evhttp would use a socket of its own, past the gate: rather die. */
static struct bufferevent *gate_bev(struct event_base *base, void *arg)
{
	struct gate *g = arg;
	struct gate_conn *c = xcalloc(1, sizeof *c);
	struct timeval now = {0, 0};

	c->gate = g;
	c->fd = -1;
	strict_init(&c->in, &g->conf.limits);
	TAILQ_INSERT_TAIL(&g->conns, c, link);
	c->under = bufferevent_socket_new(base, -1, 0);
	PS_ASSERT(c->under);
	c->front = bufferevent_filter_new(c->under, inert, inert, BEV_OPT_CLOSE_ON_FREE,
					  gate_front_freed, c);
	PS_ASSERT(c->front);
	bufferevent_disable(c->under, EV_READ | EV_WRITE); /* it only carries the fd */
	evtimer_assign(&c->timer, base, gate_conn_timer, c);
	evtimer_add(&c->timer, &now);
	g->newborn++; /* a drain must not overlook it: its client has begun */
	return c->front;
}

static void front_closed(struct evhttp_connection *evcon, void *arg)
{
	struct gate_conn *c = arg;

	(void)evcon;
	c->front_gone = 1;
}

static void gate_request_cb(struct evhttp_request *req, void *arg)
{
	struct gate *g = arg;
	struct gate_conn *c = g->asking;

	PS_ASSERT(c && c->state == CONN_ANSWERING);
	c->req = req;
	evhttp_connection_set_closecb(evhttp_request_get_connection(req), front_closed,
				      c);
	g->hooks.request(g->hooks.arg, c, req);
}

void gate_answer(struct gate_conn *c, struct evhttp_request *req, int status,
		 struct evbuffer *body)
{
	struct gate *g = c->gate;
	struct evkeyvalq *h = evhttp_request_get_output_headers(req);

	PS_ASSERT(c->req == req && !c->replied);
	if (g->draining && !c->closes) {
		c->closes = 1;
		evhttp_add_header(h, "Connection", "close");
	} else if (c->in.minor == 0 && !c->closes) {
		evhttp_add_header(h, "Connection", "keep-alive");
	}
	c->req = NULL;
	c->replied = 1;
	gate_count(c, status);
	evhttp_add_header(h, "X-Request-Id", c->in.request_id);
	evhttp_send_reply(req, status, status_phrase(status), body);
	if (g->asking == c) /* evhttp is below us on the stack: later */
		return;
	g->now = clock_ms();
	gate_conn_flush(c);
	if (c->state == CONN_READING && (c->nheld || c->readable))
		gate_conn_again(c);
}

/* --- the gate ------------------------------------------------------------ */

static void gate_listeners(struct gate *g)
{
	for (int i = 0; i < g->nlisten; i++) {
		if (g->listen[i].on && !g->draining)
			evconnlistener_enable(g->listen[i].listener);
		else
			evconnlistener_disable(g->listen[i].listener);
	}
}

static void gate_resume(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	gate_listeners(arg);
}

/* Out of descriptors: the listener would be ready for ever, so it rests. libevent
 * hands over evhttp's argument, which does not lead back to us. EINVAL: somebody who
 * holds the socket too has shut it down, because the daemon leaves or its master is
 * dead; the channel tells us in a moment, and nothing went wrong. */
static void gate_accept_failed(struct evconnlistener *listener, void *http)
{
	struct timeval tv = {0, GATE_PAUSE_MS * 1000};

	(void)http;
	if (errno == EINVAL || (only && only->draining)) {
		evconnlistener_disable(listener);
		return;
	}
	log_warn("http", "accept: %s", strerror(errno));
	if (!only)
		return;
	for (int i = 0; i < only->nlisten; i++)
		evconnlistener_disable(only->listen[i].listener);
	evtimer_add(only->pause, &tv);
}

int gate_new(struct gate **out, struct event_base *base, const struct gate_conf *conf,
	     const struct gate_hooks *hooks, char err[ERRLEN])
{
	struct gate *g = xcalloc(1, sizeof *g);

	PS_ASSERT(!only);
	g->base = base;
	g->conf = *conf;
	g->hooks = *hooks;
	g->now = clock_ms();
	TAILQ_INIT(&g->conns);
	g->http = evhttp_new(base);
	g->pause = evtimer_new(base, gate_resume, g);
	only = g;
	if (!g->http || !g->pause) {
		gate_free(&g);
		return err_set(err, "evhttp: no memory");
	}
	/* Its own limits are a far stop: ours came first. */
	evhttp_set_max_headers_size(g->http, (ssize_t)(conf->limits.uri +
						       2 * conf->limits.header + 4096));
	evhttp_set_max_body_size(g->http, (ssize_t)conf->limits.body + 1024);
	evhttp_set_allowed_methods(g->http, 0xffff);
	evhttp_set_default_content_type(g->http, NULL);
	evhttp_set_bevcb(g->http, gate_bev, g);
	evhttp_set_gencb(g->http, gate_request_cb, g);
	*out = g;
	return 0;
}

void gate_free(struct gate **gp)
{
	struct gate *g = *gp;
	struct gate_conn *c, *next;

	if (!g)
		return;
	*gp = NULL;
	g->hooks.empty = NULL;
	for (c = TAILQ_FIRST(&g->conns); c; c = next) {
		next = TAILQ_NEXT(c, link);
		gate_conn_close(c);
	}
	TAILQ_FOREACH(c, &g->conns, link)
	c->gate = NULL; /* libevent frees their filters with its base */
	if (g->http)
		evhttp_free(g->http);
	if (g->pause)
		event_free(g->pause);
	only = NULL;
	free(g);
}

int gate_listen(struct gate *g, int fd, int on)
{
	struct evhttp_bound_socket *bound;
	int i = 0;

	while (i < g->nlisten && g->listen[i].fd != fd)
		i++;
	if (i == g->nlisten && !on)
		return 0;
	if (i == g->nlisten) {
		if (i == GATE_LISTEN || evutil_make_socket_nonblocking(fd) != 0)
			return -1;
		bound = evhttp_accept_socket_with_handle(g->http, fd);
		if (!bound)
			return -1;
		g->listen[i].fd = fd;
		g->listen[i].listener = evhttp_bound_socket_get_listener(bound);
		evconnlistener_set_error_cb(g->listen[i].listener, gate_accept_failed);
		g->nlisten++;
	}
	g->listen[i].on = on;
	gate_listeners(g);
	return 0;
}

const char *gate_date(struct gate *g)
{
	time_t now = (time_t)(clock_wall_ms() / 1000);
	struct tm tm;

	if (now != g->date_s) {
		gmtime_r(&now, &tm);
		evutil_date_rfc1123(g->date, sizeof g->date, &tm);
		g->date_s = now;
	}
	return g->date;
}

void gate_drain(struct gate *g)
{
	g->draining = 1;
	gate_listeners(g);
}

int gate_draining(const struct gate *g)
{
	return g->draining;
}

uint32_t gate_connections(const struct gate *g)
{
	return g->newborn + g->open + g->lingering;
}

void gate_set_route(struct gate_conn *c, uint32_t route)
{
	c->route = route;
}

const struct strict *gate_request(const struct gate_conn *c)
{
	return &c->in;
}

size_t gate_keep_room(struct gate_conn *c)
{
	return strict_keep_room(&c->in);
}

void gate_drop_body(struct gate_conn *c)
{
	strict_drop_body(&c->in);
}

void gate_client(const struct gate_conn *c, uint8_t addr[ADDR_LEN])
{
	memcpy(addr, c->peer, ADDR_LEN);
	proxies_client(&c->gate->conf.proxies, addr, c->in.head.p, c->in.head.len);
}

const char *gate_request_id(const struct gate_conn *c)
{
	return c->in.request_id;
}

void gate_set_user(struct gate_conn *c, void *user)
{
	c->user = user;
}

void *gate_user(const struct gate_conn *c)
{
	return c->user;
}
