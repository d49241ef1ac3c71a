/* gate_conn.c -- one connection: what comes in, goes out, takes too long, ends. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "shm/stat.h"
#include "worker/gate_int.h"
#include "worker/status.h"

#define TOLD_PATH 200 /* bytes of a path that the log shows */

/* --- ends ---------------------------------------------------------------- */

static void conn_free(struct gate_conn *c)
{
	if (c->gate)
		TAILQ_REMOVE(&c->gate->conns, c, link);
	strict_free(&c->in);
	free(c->held);
	if (c->out)
		evbuffer_free(c->out);
	free(c);
}

/* evhttp's part of the connection goes, with the request that it may have. */
static void front_drop(struct gate_conn *c)
{
	if (!c->front || c->front_gone)
		return;
	c->front_gone = 1;
	bufferevent_trigger_event(c->front, BEV_EVENT_EOF | BEV_EVENT_READING, 0);
	if (c->req) /* evhttp let go of it: the handler had not answered */
		evhttp_request_free(c->req);
	c->req = NULL;
}

/* c may be freed, if evhttp holds nothing of it any more. */
void gate_conn_close(struct gate_conn *c)
{
	struct gate *g = c->gate;

	if (c->state == CONN_DEAD)
		return;
	if (c->state == CONN_LINGER)
		g->lingering--;
	else if (c->state == CONN_NEW)
		g->newborn--;
	else
		g->open--;
	c->state = CONN_DEAD;
	if (c->req)
		g->hooks.gone(g->hooks.arg, c);
	/* c may outlive the gate, of whose room the body has taken. */
	strict_drop_body(&c->in);
	front_drop(c); /* before close: evhttp shuts the descriptor down */
	evtimer_del(&c->timer);
	if (c->fd >= 0) {
		event_del(&c->ev);
		close(c->fd);
		c->fd = -1;
	}
	if (!c->front)
		conn_free(c);
	if (g->draining && gate_connections(g) == 0 && g->hooks.empty)
		g->hooks.empty(g->hooks.arg);
}

/* The filter is gone for good: libevent's last call for this connection. */
void gate_front_freed(void *arg)
{
	struct gate_conn *c = arg;

	c->front = NULL;
	c->front_gone = 1;
	if (c->state == CONN_DEAD)
		conn_free(c);
	else if (c->state != CONN_LINGER)
		gate_conn_close(c);
}

/* --- clocks -------------------------------------------------------------- */

static void conn_arm(struct gate_conn *c, uint64_t at_ms)
{
	uint64_t now = c->gate->now, ms = at_ms > now ? at_ms - now : 0;
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

	evtimer_add(&c->timer, &tv);
	c->armed_ms = at_ms;
}

/* 0: never. A timer that is set already and too early finds out when it fires. */
void gate_conn_until(struct gate_conn *c, uint64_t at_ms)
{
	c->deadline_ms = at_ms;
	if (at_ms && (!c->armed_ms || at_ms < c->armed_ms))
		conn_arm(c, at_ms);
}

void gate_conn_again(struct gate_conn *c)
{
	c->again = 1;
	conn_arm(c, c->gate->now);
}

/* --- out ----------------------------------------------------------------- */

static void conn_drop_input(struct gate_conn *c)
{
	struct gate *g = c->gate;

	while (c->readable) {
		ssize_t n = recv(c->fd, g->rd, sizeof g->rd, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			c->readable = 0;
			return;
		}
		if (n > 0)
			c->dropped += (size_t)n;
		if (n <= 0 || c->dropped > GATE_LINGER_BYTES) {
			gate_conn_close(c);
			return;
		}
	}
}

/* Half-close and wait: closing at once, with bytes unread, would send a RST, and the
 * client might lose the answer that it has not read yet. */
static void conn_linger(struct gate_conn *c)
{
	struct gate *g = c->gate;

	front_drop(c); /* which half-closes */
	g->open--;
	g->lingering++;
	c->state = CONN_LINGER;
	free(c->held);
	c->held = NULL;
	c->nheld = 0;
	if (g->lingering > GATE_LINGERING) {
		gate_conn_close(c);
		return;
	}
	gate_conn_until(c, g->now + GATE_LINGER_MS);
	c->readable = 1;
	conn_drop_input(c);
}

static void conn_answered(struct gate_conn *c)
{
	c->replied = 0;
	c->user = NULL;
	strict_next(&c->in);
	c->state = CONN_READING;
	gate_conn_until(c, c->gate->now + c->gate->conf.idle_ms);
}

/* All bytes of the answer are the kernel's. evhttp hears of it only now, because it
 * may shut the socket down on the spot. */
static void conn_flushed(struct gate_conn *c)
{
	if (c->state == CONN_ANSWERING)
		bufferevent_trigger(c->front, EV_WRITE, 0);
	if (c->front_gone || c->closes)
		conn_linger(c);
	else
		conn_answered(c);
}

/* The clock of a stalled client starts anew with each byte that it takes. */
static void conn_stalled(struct gate_conn *c, int progress)
{
	if (progress || !c->deadline_ms)
		gate_conn_until(c, c->gate->now + c->gate->conf.write_ms);
}

void gate_conn_flush(struct gate_conn *c)
{
	struct evbuffer *out =
		c->state == CONN_ANSWERING ? bufferevent_get_output(c->front) : c->out;
	int progress = 0;

	while (evbuffer_get_length(out) > 0) {
		int n;

		errno = 0;
		n = evbuffer_write(out, c->fd);

		if (n > 0) {
			progress = 1;
		} else if (n <= 0 && errno == EAGAIN) { /* of a file 0 says so, too */
			conn_stalled(c, progress);
			return;
		} else if (n == 0 || errno != EINTR) {
			gate_conn_close(c);
			return;
		}
	}
	conn_flushed(c);
}

/* The last lines of a head: what the request is called, and the end. */
#define LAST_LINES (sizeof "X-Request-Id: \r\n\r\n" + REQID_MAX)
static size_t last_lines(const struct gate_conn *c, char out[LAST_LINES])
{
	static const char name[] = "X-Request-Id: ";
	size_t n = sizeof name - 1, len = strlen(c->in.request_id);

	memcpy(out, name, n);
	memcpy(out + n, c->in.request_id, len);
	memcpy(out + n + len, "\r\n\r\n", 4);
	return n + len + 4;
}

void gate_send(struct gate_conn *c, const char *head, size_t head_len, const char *body,
	       size_t body_len, evbuffer_ref_cleanup_cb unref, void *ref)
{
	char last[LAST_LINES];
	size_t last_len = last_lines(c, last);
	struct iovec iov[3] = {{(char *)(uintptr_t)head, head_len},
			       {last, last_len},
			       {(char *)(uintptr_t)body, body_len}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = body_len ? 3 : 2};
	ssize_t n = sendmsg(c->fd, &msg, MSG_NOSIGNAL);
	size_t sent = n > 0 ? (size_t)n : 0;

	if (sent == head_len + last_len + body_len)
		goto done;
	if ((n < 0 && errno != EAGAIN && errno != EINTR) ||
	    (!c->out && !(c->out = evbuffer_new())) ||
	    evbuffer_add(c->out, head, head_len) != 0 ||
	    evbuffer_add(c->out, last, last_len) != 0)
		goto broken;
	c->state = CONN_FLUSHING;
	gate_conn_until(c, c->gate->now + c->gate->conf.write_ms);
	if (body_len == 0 ||
	    evbuffer_add_reference(c->out, body, body_len, unref, ref) == 0) {
		evbuffer_drain(c->out, sent);
		return;
	}
broken:
	gate_conn_close(c);
done:
	if (unref)
		unref(body, body_len, ref);
}

/* 5xx at info, all at debug; access logs are the proxy's. Without its query, in which
 * x.pe names peers. "-": it was not read so far. */
static void conn_tell(const struct gate_conn *c, int status, uint64_t us)
{
	const char *target = c->in.target.len ? c->in.target.p : "-";
	const char *name = c->in.name[0] ? c->in.name : "-";
	int len = (int)strcspn(target, "?");

	log_about(c->in.request_id);
	len = len > TOLD_PATH ? TOLD_PATH : len;
	if (status >= 500)
		log_info("http", "%s %.*s: %d in %llu us", name, len, target, status,
			 (unsigned long long)us);
	else
		log_debug("http", "%s %.*s: %d in %llu us", name, len, target, status,
			  (unsigned long long)us);
}

void gate_count(struct gate_conn *c, int status)
{
	uint64_t us = c->began_us ? clock_us() - c->began_us : 0;

	status_count(status);
	if (c->began_us)
		httpstat_answered(c->route, status, us);
	else
		httpstat_refused(status);
	c->began_us = 0;
	if (log_wants(status >= 500 ? LOG_INFO : LOG_DEBUG))
		conn_tell(c, status, us);
	log_about(""); /* what comes is about no request any more */
}

/* What a request is called if its client did not say, or not well. */
static void conn_name(struct gate_conn *c)
{
	if (c->in.request_id[0])
		return;
	stat_add(STAT_http_ids_refused, c->in.nrequest_id > 0);
	reqid_make(c->in.request_id);
}

/* The gate's own answer, always the last of its connection. */
void gate_conn_refuse(struct gate_conn *c, int status, const char *word, const char *why)
{
	struct buf body;

	conn_name(c);
	buf_init(&body, 4096);
	status_error_json(&body, word, why, word, c->in.request_id);
	if (body.failed || (!c->out && !(c->out = evbuffer_new()))) {
		buf_free(&body);
		gate_conn_close(c);
		return;
	}
	evbuffer_add_printf(c->out,
			    "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\n"
			    "Content-Length: %zu\r\nDate: %s\r\nConnection: close\r\n"
			    "X-Request-Id: %s\r\n",
			    status, status_phrase(status), body.len, gate_date(c->gate),
			    c->in.request_id);
	if (status == 503)
		evbuffer_add_printf(c->out, "Retry-After: %d\r\n", STATUS_RETRY_S);
	if (c->in.wide) /* pages of others may post there, and want to know why */
		evbuffer_add_printf(c->out, "Access-Control-Allow-Origin: *\r\n");
	evbuffer_add(c->out, "\r\n", 2);
	if (c->in.method != HTTP_HEAD)
		evbuffer_add(c->out, body.p, body.len);
	buf_free(&body);
	gate_count(c, status);
	c->closes = 1;
	c->state = CONN_FLUSHING;
	gate_conn_until(c, 0);
	gate_conn_flush(c);
}

/* --- in ------------------------------------------------------------------ */

static void conn_hold(struct gate_conn *c, const char *p, size_t n)
{
	c->held = malloc(n);
	if (!c->held) { /* its next request is lost: end after this one */
		c->closes = 1;
		return;
	}
	memcpy(c->held, p, n);
	c->nheld = n;
}

/* A client that left shows as EV_CLOSED; one that was reset only as an error. */
static void conn_watch(struct gate_conn *c)
{
	struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};

	if (!c->peer_closed && poll(&p, 1, 0) <= 0)
		return;
	stat_inc(http_clients_gone);
	gate_conn_close(c);
}

static void conn_to_evhttp(struct gate_conn *c)
{
	struct gate *g = c->gate;
	struct buf out;

	c->route = 0;
	buf_init(&out, g->conf.limits.uri + 2 * g->conf.limits.header +
			       g->conf.limits.body + 4096);
	strict_rewrite(&c->in, &out, c->closes);
	if (out.failed ||
	    evbuffer_add(bufferevent_get_input(c->front), out.p, out.len) != 0) {
		buf_free(&out);
		gate_conn_refuse(c, 503, "no_memory",
				 "There is no memory for this request.");
		return;
	}
	buf_free(&out);
	c->state = CONN_ANSWERING;
	gate_conn_until(c, 0); /* a parked request has its own deadline (park.c) */
	g->asking = c;
	log_about(c->in.request_id);
	bufferevent_trigger(c->front, EV_READ, 0);
	log_about("");
	g->asking = NULL;
	if (c->replied)
		gate_conn_flush(c);
	else if (!c->req) /* evhttp answers by itself: never its HTML */
		gate_conn_refuse(c, 400, "bad_request",
				 "This is not a request we understand.");
	else
		conn_watch(c);
}

static void conn_ask(struct gate_conn *c)
{
	struct gate *g = c->gate;

	c->timing = 0;
	c->began_us = clock_us();
	conn_name(c);
	c->route = g->conf.hot_route;
	c->closes = !c->in.keep_alive || g->draining;
	if (c->closes || !g->hooks.hot || !g->hooks.hot(g->hooks.arg, c, &c->in))
		conn_to_evhttp(c);
	else if (c->state == CONN_READING)
		conn_answered(c);
}

/* The clock of a request runs from its first byte, whatever comes later. */
static void conn_partial(struct gate_conn *c)
{
	static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";

	if (!c->timing) {
		c->timing = 1;
		gate_conn_until(c, c->gate->now + c->gate->conf.request_ms);
	}
	if (!c->in.wants_continue)
		return;
	c->in.wants_continue = 0;
	if (send(c->fd, go_on, sizeof go_on - 1, MSG_NOSIGNAL) != sizeof go_on - 1)
		gate_conn_close(c);
}

static void conn_feed(struct gate_conn *c, const char *p, size_t n)
{
	while (n > 0 && c->state == CONN_READING) {
		size_t used;
		enum strict_rc rc = strict_feed(&c->in, p, n, &used);

		p += used;
		n -= used;
		if (rc == STRICT_MORE) {
			conn_partial(c);
			return;
		}
		if (rc == STRICT_BAD) {
			stat_inc(http_gate_refused);
			stat_add(STAT_http_uploads_full, (uint64_t)c->in.no_room);
			gate_conn_refuse(c, c->in.status, c->in.word, c->in.why);
			return;
		}
		conn_ask(c);
	}
	if (n > 0 && (c->state == CONN_ANSWERING || c->state == CONN_FLUSHING))
		conn_hold(c, p, n);
}

static void conn_read(struct gate_conn *c)
{
	struct gate *g = c->gate;
	ssize_t n = recv(c->fd, g->rd, sizeof g->rd, 0);

	if (n > 0) { /* edge-triggered: a short read emptied the socket */
		c->readable = (size_t)n == sizeof g->rd || c->peer_closed;
		conn_feed(c, g->rd, (size_t)n);
	} else if (n < 0 && errno == EAGAIN) {
		c->readable = 0;
	} else if (n == 0 || errno != EINTR) {
		gate_conn_close(c);
	}
}

static void conn_run(struct gate_conn *c)
{
	for (int turn = 0; turn < GATE_TURNS; turn++) {
		if (c->state != CONN_READING)
			return;
		if (c->nheld) {
			char *held = c->held;
			size_t n = c->nheld;

			c->held = NULL;
			c->nheld = 0;
			conn_feed(c, held, n);
			free(held);
		} else if (c->readable) {
			conn_read(c);
		} else {
			return;
		}
	}
	if (c->state == CONN_READING)
		gate_conn_again(c);
}

void gate_conn_event(evutil_socket_t fd, short what, void *arg)
{
	struct gate_conn *c = arg;

	(void)fd;
	c->gate->now = clock_ms();
	if (what & EV_CLOSED)
		c->peer_closed = 1;
	if (what & (EV_READ | EV_CLOSED))
		c->readable = 1;
	if (c->state == CONN_LINGER) {
		conn_drop_input(c);
		return;
	}
	if (c->state == CONN_ANSWERING && !c->replied) {
		conn_watch(c);
		return;
	}
	if (c->state == CONN_ANSWERING || c->state == CONN_FLUSHING)
		gate_conn_flush(c);
	conn_run(c);
}

static void conn_expire(struct gate_conn *c)
{
	int idle = c->state == CONN_READING && !c->in.begun;

	if (c->state != CONN_LINGER && !idle)
		stat_inc(http_timeouts);
	if (c->state == CONN_READING && c->in.begun)
		gate_conn_refuse(c, 408, "request_timeout",
				 "The request did not arrive in time.");
	else
		gate_conn_close(c);
}

void gate_conn_timer(evutil_socket_t fd, short what, void *arg)
{
	struct gate_conn *c = arg;

	(void)fd;
	(void)what;
	c->gate->now = clock_ms();
	c->armed_ms = 0;
	if (c->state == CONN_NEW) {
		gate_conn_start(c);
		return;
	}
	if (c->again) {
		c->again = 0;
		conn_run(c);
	}
	if (c->state == CONN_DEAD || !c->deadline_ms || c->armed_ms)
		return;
	if (c->gate->now >= c->deadline_ms)
		conn_expire(c);
	else
		conn_arm(c, c->deadline_ms);
}
