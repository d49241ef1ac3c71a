/*
 * redis.c -- see redis.h.
 *
 *   DOWN --timer--> RESOLVING --> CONNECTING --> HELLO (AUTH, SELECT, PING) --> UP
 *     ^                |              |              |                         |
 *     +----------------+--------------+--- time-out, error, disconnect --------+
 *
 * A context belongs to hiredis once it is made: it is freed behind our back when
 * the connection ends, so ctx is set to NULL in the disconnect callback, and no
 * other pointer to it is kept.
 */
#include "collector/redis.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <event2/util.h>
#include <hiredis/adapters/libevent.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>

#include "collector/resolver.h"
#include "common/clock.h"
#include "common/log.h"
#include "shm/stat.h"

#define BACKOFF_MIN_MS 100u
#define BACKOFF_MAX_MS 10000u
#define PING_MS 5000u

enum redis_state { R_DOWN, R_RESOLVING, R_CONNECTING, R_HELLO, R_UP };

struct redis {
	struct event_base *base;
	struct redis_target target;
	char name[272]; /* host:port or path, for the log */
	uint64_t timeout_ms;
	enum redis_state state;
	redisAsyncContext *ctx; /* hiredis's, see above */
	struct event *timer;    /* back-off, step time-out, or next PING */
	struct resolver_query *lookup;
	unsigned dials; /* by name */
	unsigned inflight;
	uint64_t oldest_ms; /* when the oldest unanswered command left */
	uint64_t backoff_ms;
	int complained; /* one warning per outage */
};

static void on_timer(evutil_socket_t fd, short what, void *arg);
static void redis_dial(struct redis *r, const char *address);

/* ---- the URL ------------------------------------------------------------- */

static int parse_number(const char *s, long max, long *out)
{
	char *end;

	errno = 0;
	*out = strtol(s, &end, 10);
	return *s && *end == '\0' && errno == 0 && *out >= 0 && *out <= max ? 0 : -1;
}

static int parse_unix(struct redis_target *t, const char *rest, char err[ERRLEN])
{
	const char *q = strchr(rest, '?');
	size_t len = q ? (size_t)(q - rest) : strlen(rest);
	long db = 0;

	if (len == 0 || len >= sizeof(t->host) || rest[0] != '/')
		return err_set(err, "redis.url: the socket's path must be absolute");
	memcpy(t->host, rest, len);
	if (q && (strncmp(q, "?db=", 4) != 0 || parse_number(q + 4, 9999, &db) != 0))
		return err_set(err, "redis.url: after the path only ?db=N is known");
	t->db = (int)db;
	return 0;
}

/* host[:port][/db], host may be [v6] */
static int parse_host(struct redis_target *t, char *s, char err[ERRLEN])
{
	char *slash = strchr(s, '/'), *close = s[0] == '[' ? strchr(s, ']') : NULL;
	char *colon;
	long n = 6379;

	if (s[0] == '[' && !close)
		return err_set(err,
			       "redis.url: the bracket of the address is not closed");
	if (slash)
		*slash = '\0';
	if (slash && slash[1]) {
		if (parse_number(slash + 1, 9999, &n) != 0)
			return err_set(err, "redis.url: the database is a number");
		t->db = (int)n;
		n = 6379;
	}
	colon = strrchr(close ? close : s, ':');
	if (colon) {
		*colon = '\0';
		if (parse_number(colon + 1, 65535, &n) != 0 || n == 0)
			return err_set(err, "redis.url: a port is 1 to 65535");
	}
	if (close) {
		*close = '\0';
		s++;
	}
	if (*s == '\0')
		return err_set(err, "redis.url: the host is missing");
	t->tcp = 1;
	t->port = (uint16_t)n;
	memcpy(t->host, s, strlen(s) + 1);
	return 0;
}

int redis_parse_url(struct redis_target *out, const char *url, char err[ERRLEN])
{
	char rest[256];
	char *at, *host;

	memset(out, 0, sizeof(*out));
	if (strncmp(url, "unix://", 7) == 0)
		return parse_unix(out, url + 7, err);
	if (strncmp(url, "rediss://", 9) == 0)
		return err_set(err,
			       "redis.url: rediss:// (TLS) is not supported; run a local "
			       "stunnel and use redis://127.0.0.1:PORT");
	if (strncmp(url, "redis://", 8) != 0)
		return err_set(err, "redis.url: must begin with redis:// or unix://");
	if (strlen(url + 8) >= sizeof(rest))
		return err_set(err, "redis.url: too long");
	memcpy(rest, url + 8, strlen(url + 8) + 1);
	host = rest;
	at = strrchr(rest, '@');
	if (at) {
		*at = '\0';
		host = at + 1;
		if (rest[0] != ':')
			return err_set(err, "redis.url: only a password is supported, as "
					    "redis://:password@host");
		memcpy(out->password, rest + 1, strlen(rest + 1) + 1);
	}
	return parse_host(out, host, err);
}

/* ---- the connection -------------------------------------------------------- */

static void arm(struct redis *r, uint64_t ms)
{
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000) * 1000};

	event_add(r->timer, &tv);
}

static void go_down(struct redis *r, const char *why)
{
	redisAsyncContext *ctx = r->ctx;

	if (!r->complained)
		log_warn("redis", "%s: %s; trying again behind the scenes", r->name, why);
	r->complained = 1;
	r->state = R_DOWN;
	r->ctx = NULL;
	r->inflight = 0;
	stat_set(redis_up, 0);
	if (ctx) {
		ctx->data = NULL; /* its callbacks find nobody */
		redisAsyncFree(ctx);
	}
	arm(r, r->backoff_ms);
	r->backoff_ms =
		r->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : r->backoff_ms * 2;
}

static void sent(struct redis *r)
{
	if (r->inflight++ == 0)
		r->oldest_ms = clock_ms();
	stat_inc(redis_commands);
}

/* One answer came: whose, and was it an error (text in *bad)? NULL: the connection is
 * ending, and go_down has seen to it or will. */
static struct redis *take_reply(const redisAsyncContext *ctx, const redisReply *rep,
				const char **bad)
{
	struct redis *r = ctx->data;

	if (!r || r->ctx != ctx || !rep)
		return NULL;
	r->inflight--;
	r->oldest_ms = clock_ms(); /* answers come in order: the next one starts now */
	*bad = rep->type == REDIS_REPLY_ERROR ? rep->str : NULL;
	if (*bad)
		stat_inc(redis_errors);
	return r;
}

static void on_reply(redisAsyncContext *ctx, void *reply, void *arg)
{
	const char *bad = NULL;

	(void)arg;
	if (take_reply(ctx, reply, &bad) && bad)
		log_warn("redis", "answer: %s", bad);
}

/* AUTH or SELECT: without it, nothing may be sent. */
static void on_hello(redisAsyncContext *ctx, void *reply, void *arg)
{
	const char *bad = NULL;
	struct redis *r = take_reply(ctx, reply, &bad);

	(void)arg;
	if (r && bad)
		go_down(r, bad);
}

/* The last word of the greeting, and every PING after it. */
static void on_pong(redisAsyncContext *ctx, void *reply, void *arg)
{
	const char *bad = NULL;
	struct redis *r = take_reply(ctx, reply, &bad);

	(void)arg;
	if (!r)
		return;
	if (bad) {
		go_down(r, bad);
		return;
	}
	if (r->state != R_UP)
		log_notice("redis", "connected to %s", r->name);
	r->state = R_UP;
	r->backoff_ms = BACKOFF_MIN_MS;
	r->complained = 0;
	stat_set(redis_up, 1);
	arm(r, PING_MS);
}

static void hello(struct redis *r)
{
	r->state = R_HELLO;
	arm(r, r->timeout_ms);
	/* Each sent() only if queued: an ending context refuses. */
	if (r->target.password[0] && redisAsyncCommand(r->ctx, on_hello, NULL, "AUTH %s",
						       r->target.password) == REDIS_OK)
		sent(r);
	if (r->target.db && redisAsyncCommand(r->ctx, on_hello, NULL, "SELECT %d",
					      r->target.db) == REDIS_OK)
		sent(r);
	if (redisAsyncCommand(r->ctx, on_pong, NULL, "PING") == REDIS_OK)
		sent(r);
}

static void on_connect(const redisAsyncContext *ctx, int status)
{
	struct redis *r = ctx->data;

	if (!r || r->ctx != ctx)
		return;
	if (status != REDIS_OK) {
		r->ctx = NULL; /* hiredis frees it after this call */
		go_down(r, ctx->errstr);
		return;
	}
	stat_inc(redis_connects);
	hello(r);
}

static void on_disconnect(const redisAsyncContext *ctx, int status)
{
	struct redis *r = ctx->data;

	if (!r || r->ctx != ctx)
		return;
	r->ctx = NULL; /* freed after this call */
	go_down(r, status == REDIS_OK ? "closed" : ctx->errstr);
}

static void redis_dial(struct redis *r, const char *address)
{
	redisAsyncContext *ctx = r->target.tcp
					 ? redisAsyncConnect(address, r->target.port)
					 : redisAsyncConnectUnix(r->target.host);

	if (!ctx) {
		go_down(r, "out of memory");
		return;
	}
	r->ctx = ctx;
	ctx->data = r;
	if (ctx->err) {
		go_down(r, ctx->errstr);
		return;
	}
	r->state = R_CONNECTING;
	arm(r, r->timeout_ms);
	if (redisLibeventAttach(ctx, r->base) != REDIS_OK) {
		go_down(r, "out of memory");
		return;
	}
	redisAsyncSetConnectCallback(ctx, on_connect);
	redisAsyncSetDisconnectCallback(ctx, on_disconnect);
}

static void on_address(void *arg, const uint8_t (*addr)[ADDR_LEN], size_t n)
{
	struct redis *r = arg;
	char text[ADDR_TEXT_MAX];

	r->lookup = NULL;
	if (n == 0) {
		go_down(r, "the host name can't be resolved");
		return;
	}
	/* another one each time: localhost may be ::1 first, where nobody listens */
	addr_text(text, addr[r->dials++ % n]);
	redis_dial(r, text);
}

static void redis_connect(struct redis *r)
{
	if (!r->target.tcp) {
		redis_dial(r, NULL);
		return;
	}
	r->lookup = resolver_ask(r->base, r->target.host, on_address, r);
	if (!r->lookup) {
		go_down(r, "out of memory");
		return;
	}
	r->state = R_RESOLVING;
	arm(r, r->timeout_ms);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct redis *r = arg;

	(void)fd;
	(void)what;
	switch (r->state) {
	case R_DOWN: redis_connect(r); return;
	case R_RESOLVING:
		resolver_cancel(&r->lookup);
		go_down(r, "the resolver does not answer");
		return;
	case R_CONNECTING:
	case R_HELLO: go_down(r, "does not answer"); return;
	case R_UP:
		if (r->inflight && clock_ms() - r->oldest_ms >= r->timeout_ms) {
			stat_inc(redis_errors);
			go_down(r, "does not answer");
			return;
		}
		if (r->inflight == 0 &&
		    redisAsyncCommand(r->ctx, on_pong, NULL, "PING") == REDIS_OK)
			sent(r);
		arm(r, r->inflight ? r->timeout_ms : PING_MS);
		return;
	}
}

int redis_open(struct redis **out, struct event_base *base,
	       const struct redis_target *target, uint64_t timeout_ms)
{
	struct redis *r = calloc(1, sizeof(*r));

	if (!r)
		return -1;
	r->base = base;
	r->target = *target;
	if (target->tcp)
		evutil_snprintf(r->name, sizeof(r->name), "%s:%u", target->host,
				target->port);
	else
		evutil_snprintf(r->name, sizeof(r->name), "%s", target->host);
	r->timeout_ms = timeout_ms;
	r->backoff_ms = BACKOFF_MIN_MS;
	r->timer = evtimer_new(base, on_timer, r);
	if (!r->timer) {
		free(r);
		return -1;
	}
	stat_set(redis_up, 0);
	*out = r;
	redis_connect(r);
	return 0;
}

void redis_close(struct redis **rp)
{
	struct redis *r = *rp;

	if (!r)
		return;
	*rp = NULL;
	resolver_cancel(&r->lookup);
	if (r->ctx) {
		redisAsyncContext *ctx = r->ctx;

		r->ctx = NULL;
		ctx->data = NULL;
		redisAsyncFree(ctx);
	}
	event_free(r->timer);
	stat_set(redis_up, 0);
	free(r);
}

int redis_up(const struct redis *r)
{
	return r && r->state == R_UP;
}

void redis_setex(struct redis *r, const char *key, uint64_t ttl_ms, const char *value,
		 size_t len)
{
	unsigned long long ttl_s = ttl_ms < 1000 ? 1 : ttl_ms / 1000;

	if (!redis_up(r) || r->inflight >= REDIS_INFLIGHT_MAX) {
		stat_inc(redis_skipped);
		return;
	}
	if (redisAsyncCommand(r->ctx, on_reply, NULL, "SETEX %s %llu %b", key, ttl_s,
			      value, len) != REDIS_OK) {
		stat_inc(redis_skipped);
		return;
	}
	sent(r);
	if (r->inflight == 1)
		arm(r, r->timeout_ms);
}

/* ---- GET ---------------------------------------------------------------------- */

/* hiredis calls back for each command in the end, with a reply or with none when the
 * connection is over: that call frees it. Before, the caller may have lost interest, or
 * been told that it is too late: then fn is NULL. */
struct redis_get {
	redis_get_fn *fn;
	void *arg;
	size_t max;
	struct event *late;
};

static void get_done(struct redis_get *g, const char *value, size_t len)
{
	redis_get_fn *fn = g->fn;

	g->fn = NULL;
	if (fn)
		fn(g->arg, value, len);
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	stat_inc(redis_gets_late);
	get_done(arg, NULL, 0);
}

static void on_got(redisAsyncContext *ctx, void *reply, void *arg)
{
	const redisReply *rep = reply;
	struct redis_get *g = arg;
	const char *bad = NULL;
	int fits = rep && rep->type == REDIS_REPLY_STRING && rep->len <= g->max;

	(void)take_reply(ctx, rep, &bad);
	event_del(g->late);
	get_done(g, fits ? rep->str : NULL, fits ? rep->len : 0);
	event_free(g->late);
	free(g);
}

struct redis_get *redis_get(struct redis *r, const char *key, uint64_t timeout_ms,
			    size_t max, redis_get_fn *fn, void *arg)
{
	struct timeval tv = {(time_t)(timeout_ms / 1000),
			     (suseconds_t)(timeout_ms % 1000) * 1000};
	struct redis_get *g = NULL;

	if (!redis_up(r) || r->inflight >= REDIS_INFLIGHT_MAX)
		goto skip;
	g = calloc(1, sizeof(*g));
	if (!g || !(g->late = evtimer_new(r->base, on_late, g)))
		goto skip;
	g->fn = fn;
	g->arg = arg;
	g->max = max;
	if (redisAsyncCommand(r->ctx, on_got, g, "GET %s", key) != REDIS_OK)
		goto skip;
	event_add(g->late, &tv);
	sent(r);
	if (r->inflight == 1)
		arm(r, r->timeout_ms);
	return g;
skip:
	stat_inc(redis_skipped);
	if (g && g->late)
		event_free(g->late);
	free(g);
	return NULL;
}

void redis_get_cancel(struct redis_get **gp)
{
	if (*gp)
		(*gp)->fn = NULL;
	*gp = NULL;
}
