/*
 * redis_ask.c -- commands whose answer somebody waits for, a little while; see redis.h.
 */
#include <stdio.h>
#include <stdlib.h>

#include "collector/redis_int.h"
#include "shm/stat.h"

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
	struct redis *r = redis_take_reply(ctx, rep, &bad);

	if (r && bad)
		redis_complain(r, bad);
	event_del(g->late);
	get_done(g, fits ? rep->str : NULL, fits ? rep->len : 0);
	event_free(g->late);
	free(g);
}

/* NULL: nobody is to be asked. */
static struct redis_get *get_new(struct redis *r, size_t max, redis_get_fn *fn, void *arg)
{
	struct redis_get *g =
		redis_may_send(r, 0) && !r->slow ? calloc(1, sizeof(*g)) : NULL;

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
	redis_sent(g->r);
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
