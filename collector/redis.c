/*
 * redis.c -- see redis.h.
 *
 *   DOWN --timer--> RESOLVING --> CONNECTING --> HELLO (AUTH, SELECT, PING) --> UP
 *     ^                |              |              |                         |
 *     +----------------+--------------+--- time-out, error, disconnect, garbage +
 *
 * A context belongs to hiredis once it is made: it is freed behind our back when
 * the connection ends, so ctx is set to NULL in the disconnect callback, and no
 * other pointer to it is kept.
 */
#include "collector/redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <event2/util.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>

#include "collector/redis_guard.h"
#include "collector/resolver.h"
#include "common/clock.h"
#include "common/log.h"
#include "shm/note.h"
#include "shm/stat.h"

#define BACKOFF_MIN_MS 100u
#define BACKOFF_MAX_MS 10000u
#define STEADY_MS 5000u /* who is up and down again sooner is left alone for longer */
#define PING_MS 5000u
#define COMPLAIN_MS 60000u

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
	size_t bytes;       /* of values in them */
	uint64_t oldest_ms; /* when the oldest unanswered command left */
	int slow;           /* somebody waited in vain, and nothing has come since */
	uint64_t backoff_ms, up_ms;
	int complained;   /* one warning per outage */
	uint64_t said_ms; /* that it answers with errors; 0: never */
	enum redis_how how;
	uint64_t write_ms, write_wait_ms; /* refused: the next one, not before */
};

static void on_timer(evutil_socket_t fd, short what, void *arg);
static void redis_dial(struct redis *r, const char *address);

/* ---- the connection -------------------------------------------------------- */

static void arm(struct redis *r, uint64_t ms)
{
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000) * 1000};

	event_add(r->timer, &tv);
}

static void is_how(struct redis *r, enum redis_how how, const char *why)
{
	r->how = how;
	stat_set(redis_state, how);
	note_set(NOTE_redis_detail, why);
}

static void go_down(struct redis *r, enum redis_how how, const char *why)
{
	redisAsyncContext *ctx = r->ctx;

	if (!r->complained)
		log_warn("redis", "%s: %s; trying again behind the scenes", r->name, why);
	r->complained = 1;
	if (r->state == R_UP && clock_ms() - r->up_ms >= STEADY_MS)
		r->backoff_ms = BACKOFF_MIN_MS;
	is_how(r, how, why);
	r->state = R_DOWN;
	r->ctx = NULL;
	r->inflight = 0;
	r->bytes = 0;
	r->slow = 0;
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

/* The same, when it is up: its answer is due. */
static void sent_up(struct redis *r)
{
	sent(r);
	if (r->inflight == 1)
		arm(r, r->timeout_ms);
}

/* The same for the end of it that hiredis saw; *why is its word. */
static void ended(struct redis *r, const char *why)
{
	enum redis_how how = redis_guard_error(why);

	go_down(r, how == REDISHOW_ERROR ? REDISHOW_DOWN : how, why);
}

/* Full, a replica, another type under our key: it may say so for each command. Where it wants
 * a password now, or loads, it is greeted anew until it does not. */
static void complain(struct redis *r, const char *bad)
{
	enum redis_how how = redis_guard_error(bad);
	uint64_t now = clock_ms();

	if (how == REDISHOW_PASSWORD || how == REDISHOW_LOADING) {
		go_down(r, how, bad);
		return;
	}
	is_how(r, how, bad);
	if (r->said_ms && now - r->said_ms < COMPLAIN_MS)
		return;
	r->said_ms = now;
	log_warn("redis", "%s answers: %s", r->name, bad);
}

/* One answer came: whose, and was it an error (text in *bad)? NULL: the connection is
 * ending, and go_down has seen to it or will. */
static struct redis *take_reply(const redisAsyncContext *ctx, const redisReply *rep,
				const char **bad)
{
	struct redis *r = ctx->data;
	const char *wrong;

	if (!r || r->ctx != ctx || !rep)
		return NULL;
	r->inflight--;
	r->slow = 0;
	r->oldest_ms = clock_ms(); /* answers come in order: the next one starts now */
	*bad = rep->type == REDIS_REPLY_ERROR ? rep->str : NULL;
	if (*bad)
		stat_inc(redis_errors);
	wrong = redis_guard_reply(ctx, r->inflight);
	if (!wrong)
		return r;
	go_down(r, REDISHOW_GARBAGE, wrong);
	return NULL;
}

/* Full, or not to be written to: it is left alone for a while, so that lists are not made and
 * sent for nothing; then one write tries it again. */
static void hold_writes(struct redis *r)
{
	r->write_ms = clock_ms() + r->write_wait_ms;
	r->write_wait_ms = r->write_wait_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS
								 : r->write_wait_ms * 2;
}

static void write_taken(struct redis *r)
{
	r->write_ms = 0;
	r->write_wait_ms = BACKOFF_MIN_MS;
	if (r->how != REDISHOW_UP && r->how != REDISHOW_CLUSTER)
		is_how(r, REDISHOW_UP, "");
}

/* arg: bytes of the value that was sent. */
static void on_reply(redisAsyncContext *ctx, void *reply, void *arg)
{
	const char *bad = NULL;
	struct redis *r = take_reply(ctx, reply, &bad);

	if (!r)
		return;
	r->bytes -= (size_t)(uintptr_t)arg;
	if (!bad) {
		write_taken(r);
		return;
	}
	if (!r->write_ms)
		hold_writes(r);
	complain(r, bad);
}

/* AUTH or SELECT: without it, nothing may be sent. */
static void on_hello(redisAsyncContext *ctx, void *reply, void *arg)
{
	const char *bad = NULL;
	struct redis *r = take_reply(ctx, reply, &bad);

	(void)arg;
	if (r && bad)
		go_down(r, redis_guard_error(bad), bad);
}

/* The last word of the greeting, and every PING after it. */
static void on_pong(redisAsyncContext *ctx, void *reply, void *arg)
{
	const redisReply *rep = reply;
	const char *bad = NULL;
	struct redis *r = take_reply(ctx, reply, &bad);

	(void)arg;
	if (!r)
		return;
	if (bad || rep->type != REDIS_REPLY_STATUS || strcmp(rep->str, "PONG") != 0) {
		go_down(r, bad ? redis_guard_error(bad) : REDISHOW_GARBAGE,
			bad ? bad : "does not answer as Redis does");
		return;
	}
	if (r->state != R_UP) {
		log_notice("redis", "connected to %s", r->name);
		is_how(r, REDISHOW_UP, "");
		r->up_ms = clock_ms();
		r->write_ms = 0; /* it may be another one */
		r->write_wait_ms = BACKOFF_MIN_MS;
	}
	r->state = R_UP;
	r->complained = 0;
	stat_set(redis_up, 1);
	arm(r, r->inflight ? r->timeout_ms : PING_MS);
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
		go_down(r, REDISHOW_DOWN, ctx->errstr);
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
	ended(r, status == REDIS_OK ? "closed" : ctx->errstr);
}

/* In place of hiredis' own: not all that comes is for it. */
static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	redisAsyncContext *ctx = arg;
	struct redis *r = ctx->data;
	const char *wrong =
		r && r->ctx == ctx ? redis_guard_read(ctx, r->inflight) : NULL;

	(void)fd;
	(void)what;
	if (wrong)
		go_down(r, REDISHOW_GARBAGE, wrong);
	else
		redisAsyncHandleRead(ctx);
}

static void redis_dial(struct redis *r, const char *address)
{
	redisAsyncContext *ctx = r->target.tcp
					 ? redisAsyncConnect(address, r->target.port)
					 : redisAsyncConnectUnix(r->target.host);

	if (!ctx) {
		go_down(r, REDISHOW_DOWN, "out of memory");
		return;
	}
	r->ctx = ctx;
	ctx->data = r;
	if (ctx->err) {
		go_down(r, REDISHOW_DOWN, ctx->errstr);
		return;
	}
	r->state = R_CONNECTING;
	arm(r, r->timeout_ms);
	if (redis_guard_attach(ctx, r->base, on_readable) != 0) {
		go_down(r, REDISHOW_DOWN, "out of memory");
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
		go_down(r, REDISHOW_DOWN, "the host name can't be resolved");
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
		go_down(r, REDISHOW_DOWN, "out of memory");
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
		go_down(r, REDISHOW_DOWN, "the resolver does not answer");
		return;
	case R_CONNECTING: go_down(r, REDISHOW_DOWN, "can't be reached"); return;
	case R_HELLO: go_down(r, REDISHOW_SILENT, "does not answer"); return;
	case R_UP:
		if (r->inflight && clock_ms() - r->oldest_ms >= r->timeout_ms) {
			stat_inc(redis_errors);
			go_down(r, REDISHOW_SILENT, "does not answer");
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
	r->backoff_ms = r->write_wait_ms = BACKOFF_MIN_MS;
	r->timer = evtimer_new(base, on_timer, r);
	if (!r->timer) {
		free(r);
		return -1;
	}
	stat_set(redis_up, 0);
	is_how(r, REDISHOW_CONNECTING, "");
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
	r->state = R_DOWN; /* who is told below asks nothing more */
	resolver_cancel(&r->lookup);
	if (r->ctx) {
		redisAsyncContext *ctx = r->ctx;

		r->ctx = NULL;
		ctx->data = NULL;
		redisAsyncFree(ctx);
	}
	event_free(r->timer);
	is_how(r, REDISHOW_OFF, "");
	stat_set(redis_up, 0);
	free(r);
}

int redis_up(const struct redis *r)
{
	return r && r->state == R_UP;
}

int redis_takes(const struct redis *r)
{
	return redis_up(r) && clock_ms() >= r->write_ms;
}

/* Can a command be sent now, with so many bytes of a value? */
static int may_send(const struct redis *r, size_t bytes)
{
	return redis_up(r) && r->inflight < REDIS_INFLIGHT_MAX &&
	       r->bytes + bytes <= REDIS_UNSENT_MAX;
}

void redis_setex(struct redis *r, const char *key, uint64_t ttl_ms, const char *value,
		 size_t len)
{
	unsigned long long ttl_s = ttl_ms < 1000 ? 1 : ttl_ms / 1000;

	if (!may_send(r, len) || !redis_takes(r) ||
	    redisAsyncCommand(r->ctx, on_reply, (void *)(uintptr_t)len,
			      "SETEX %s %llu %b", key, ttl_s, value, len) != REDIS_OK) {
		stat_inc(redis_skipped);
		return;
	}
	r->bytes += len;
	if (r->write_ms)
		hold_writes(r); /* but for this one */
	sent_up(r);
}

void redis_flush(struct redis *r)
{
	if (redis_up(r))
		redisAsyncHandleWrite(r->ctx);
}

/* ---- questions ------------------------------------------------------------------ */

/* hiredis calls back for each command in the end, with a reply or with none when the
 * connection is over: that call frees it. Before, the caller may have lost interest, or
 * been told that it is too late: then fn is NULL. */
struct redis_get {
	struct redis *r;
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
	struct redis_get *g = arg;

	(void)fd;
	(void)what;
	g->r->slow = 1;
	stat_inc(redis_gets_late);
	get_done(g, NULL, 0);
}

static void on_got(redisAsyncContext *ctx, void *reply, void *arg)
{
	const redisReply *rep = reply;
	struct redis_get *g = arg;
	const char *bad = NULL;
	int fits = rep && rep->type == REDIS_REPLY_STRING && rep->len > 0 &&
		   rep->len <= g->max;
	struct redis *r = take_reply(ctx, rep, &bad);

	if (r && bad)
		complain(r, bad);
	event_del(g->late);
	get_done(g, fits ? rep->str : NULL, fits ? rep->len : 0);
	event_free(g->late);
	free(g);
}

/* NULL: nobody is to be asked. */
static struct redis_get *get_new(struct redis *r, size_t max, redis_get_fn *fn, void *arg)
{
	struct redis_get *g = may_send(r, 0) && !r->slow ? calloc(1, sizeof(*g)) : NULL;

	if (g && !(g->late = evtimer_new(r->base, on_late, g))) {
		free(g);
		g = NULL;
	}
	if (!g)
		return NULL;
	g->r = r;
	g->fn = fn;
	g->arg = arg;
	g->max = max;
	return g;
}

/* rc: of queueing its command. */
static struct redis_get *get_sent(struct redis_get *g, int rc, uint64_t timeout_ms)
{
	struct timeval tv = {(time_t)(timeout_ms / 1000),
			     (suseconds_t)(timeout_ms % 1000) * 1000};

	if (rc != REDIS_OK) {
		event_free(g->late);
		free(g);
		return NULL;
	}
	event_add(g->late, &tv);
	sent_up(g->r);
	return g;
}

/* Not GET: hiredis would hold a value of half a gigabyte before it could be refused. */
struct redis_get *redis_get(struct redis *r, const char *key, uint64_t timeout_ms,
			    size_t max, redis_get_fn *fn, void *arg)
{
	struct redis_get *g = get_new(r, max, fn, arg);

	if (g)
		g = get_sent(g,
			     redisAsyncCommand(r->ctx, on_got, g, "GETRANGE %s 0 %llu",
					       key, (unsigned long long)max),
			     timeout_ms);
	if (!g)
		stat_inc(redis_skipped);
	return g;
}

struct redis_get *redis_eval(struct redis *r, const struct redis_script *s,
			     uint64_t timeout_ms, redis_get_fn *fn, void *arg)
{
	const char *argv[3 + REDIS_KEYS_MAX + REDIS_ARGS_MAX] = {"EVAL", s->text};
	struct redis_get *g = get_new(r, REDIS_KEYS_MAX, fn, arg);
	char nkeys[16];
	int n = 3;

	PS_ASSERT(s->nkeys <= REDIS_KEYS_MAX && s->nargs <= REDIS_ARGS_MAX);
	snprintf(nkeys, sizeof(nkeys), "%u", s->nkeys);
	argv[2] = nkeys;
	for (unsigned i = 0; i < s->nkeys; i++)
		argv[n++] = s->key[i];
	for (unsigned i = 0; i < s->nargs; i++)
		argv[n++] = s->arg[i];
	if (g)
		g = get_sent(g, redisAsyncCommandArgv(r->ctx, on_got, g, n, argv, NULL),
			     timeout_ms);
	if (!g)
		stat_inc(redis_skipped);
	return g;
}

void redis_get_cancel(struct redis_get **gp)
{
	if (*gp)
		(*gp)->fn = NULL;
	*gp = NULL;
}
