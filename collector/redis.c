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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/util.h>

#include "collector/redis_guard.h"
#include "collector/redis_int.h"
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

/* One that greets and hangs up is dialled as seldom as one that is not there, and as quietly;
 * one that stayed is another matter when it ends. */
static void forgive(struct redis *r)
{
	if (r->state != R_UP || r->forgiven || clock_ms() - r->up_ms < STEADY_MS)
		return;
	r->forgiven = 1;
	r->backoff_ms = BACKOFF_MIN_MS;
	r->complained = 0;
	if (r->flaps)
		log_notice("redis", "%s stays, after it had ended %u times", r->name,
			   r->flaps);
	r->flaps = 0;
}

static void go_down(struct redis *r, enum redis_how how, const char *why)
{
	redisAsyncContext *ctx = r->ctx;

	forgive(r);
	r->flaps += r->state == R_UP && !r->forgiven;
	r->forgiven = 0;
	stat_inc(redis_lost);
	if (!r->complained)
		log_warn("redis", "%s: %s; trying again behind the scenes", r->name, why);
	r->complained = 1;
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

void redis_sent(struct redis *r)
{
	sent(r);
	if (r->inflight == 1)
		arm(r, r->timeout_ms);
}

/* hiredis saw the end of the connection; why is its word. */
static void ended(struct redis *r, const char *why)
{
	enum redis_how how = redis_guard_error(why);

	go_down(r, how == REDISHOW_ERROR ? REDISHOW_DOWN : how, why);
}

void redis_complain(struct redis *r, const char *bad)
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

struct redis *redis_take_reply(const redisAsyncContext *ctx, const redisReply *rep,
			       const char **bad)
{
	struct redis *r = ctx->data;
	const char *wrong;

	if (!r || r->ctx != ctx || !rep)
		return NULL;
	forgive(r);
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
	struct redis *r = redis_take_reply(ctx, reply, &bad);

	if (!r)
		return;
	r->bytes -= (size_t)(uintptr_t)arg;
	if (!bad) {
		write_taken(r);
		return;
	}
	if (!r->write_ms)
		hold_writes(r);
	redis_complain(r, bad);
}

/* AUTH or SELECT: without it, nothing may be sent. */
static void on_hello(redisAsyncContext *ctx, void *reply, void *arg)
{
	const char *bad = NULL;
	struct redis *r = redis_take_reply(ctx, reply, &bad);

	(void)arg;
	if (r && bad)
		go_down(r, redis_guard_error(bad), bad);
}

/* The last word of the greeting, and every PING after it. */
static void on_pong(redisAsyncContext *ctx, void *reply, void *arg)
{
	const redisReply *rep = reply;
	const char *bad = NULL;
	struct redis *r = redis_take_reply(ctx, reply, &bad);

	(void)arg;
	if (!r)
		return;
	if (bad || rep->type != REDIS_REPLY_STATUS || strcmp(rep->str, "PONG") != 0) {
		go_down(r, bad ? redis_guard_error(bad) : REDISHOW_GARBAGE,
			bad ? bad : "does not answer as Redis does");
		return;
	}
	if (r->state != R_UP) {
		if (!r->flaps)
			log_notice("redis", "connected to %s", r->name);
		r->up_ms = clock_ms();
		is_how(r, REDISHOW_UP, "");
		r->write_ms = 0; /* it may be another one */
		r->write_wait_ms = BACKOFF_MIN_MS;
	}
	r->state = R_UP;
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
	ended(r, status == REDIS_OK ? "closed" : redis_guard_end(ctx));
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

int redis_may_send(const struct redis *r, size_t bytes)
{
	return redis_up(r) && r->inflight < REDIS_INFLIGHT_MAX &&
	       r->bytes + bytes <= REDIS_UNSENT_MAX;
}

void redis_setex(struct redis *r, const char *key, uint64_t ttl_ms, const char *value,
		 size_t len)
{
	unsigned long long ttl_s = ttl_ms < 1000 ? 1 : ttl_ms / 1000;

	if (!redis_may_send(r, len) || !redis_takes(r) ||
	    redisAsyncCommand(r->ctx, on_reply, (void *)(uintptr_t)len,
			      "SETEX %s %llu %b", key, ttl_s, value, len) != REDIS_OK) {
		stat_inc(redis_skipped);
		return;
	}
	r->bytes += len;
	if (r->write_ms)
		hold_writes(r); /* but for this one */
	redis_sent(r);
}

void redis_flush(struct redis *r)
{
	if (redis_up(r))
		redisAsyncHandleWrite(r->ctx);
}
