/*
 * engine.c -- see engine.h.
 *
 *   UNKNOWN --answers--> UP --fails--> DOWN --answers--> UP
 *      '------------fails--------------^ | ^
 *                                        '-' probe: at once, then with back-off
 */
#include "collector/engine.h"

#include <cjson/cJSON.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/reqid.h"
#include "shm/note.h"
#include "shm/stat.h"

#define URL_MAX 500
#define STORED_MAX 4096 /* what we write has 120 bytes */
#define KEY_PREFIX "peerscope:resolved:"

/* An id being asked about: in Redis, then by the engine. */
struct flight {
	struct engine *e; /* NULL: free */
	uint8_t id[IH_LEN];
	uint64_t end_ms; /* monotonic: acestream.timeout is over */
	struct redis_get *get;
	struct web_req *req;
	char request[REQID_MAX + 1]; /* who asked first, for the log */
};

struct engine {
	struct event_base *base;
	struct web *web;
	struct redis *redis;
	engine_fn *fn;
	void *arg;
	char url[URL_MAX + 1]; /* without slashes at its end; "": none */
	uint64_t timeout_ms;
	struct rescache *cache;
	struct flight flight[ENGINE_FLIGHTS];
	enum engine_state state;
	uint32_t era; /* how often it came up */
	struct web_req *probe;
	struct event *timer; /* next probe, while it is not up */
	uint64_t backoff_ms;
};

static void start_probe(struct engine *e);

/* ---- up or down ------------------------------------------------------------------- */

static void set_state(struct engine *e, enum engine_state state, const char *why)
{
	if (state == ENGINE_DOWN && e->state != ENGINE_DOWN)
		log_warn("engine", "%s: %s; ids are taken as infohashes meanwhile",
			 e->url, why);
	if (state == ENGINE_UP && e->state != ENGINE_UP) {
		log_notice("engine", "%s answers", e->url);
		e->era++;
	}
	if (state != e->state)
		stat_set(engine_since_s, clock_wall_ms() / 1000);
	e->state = state;
	stat_set(engine_state, (uint64_t)state);
	note_set(NOTE_engine_detail, why);
}

static void is_up(struct engine *e)
{
	set_state(e, ENGINE_UP, "");
	e->backoff_ms = ENGINE_PROBE_MIN_MS;
	event_del(e->timer);
	web_cancel(&e->probe);
}

/* Is it the engine, or only this question? Ask the cheapest one, at once. */
static void is_down(struct engine *e, const char *why)
{
	int was = e->state == ENGINE_DOWN;

	set_state(e, ENGINE_DOWN, why);
	if (!was && !e->probe)
		start_probe(e);
}

static void probe_later(struct engine *e)
{
	struct timeval tv = {(time_t)(e->backoff_ms / 1000),
			     (suseconds_t)(e->backoff_ms % 1000) * 1000};

	event_add(e->timer, &tv);
	e->backoff_ms = e->backoff_ms * 2 > ENGINE_PROBE_MAX_MS ? ENGINE_PROBE_MAX_MS
								: e->backoff_ms * 2;
}

static void http_error(char why[ERRLEN], const struct web_answer *a)
{
	if (a->rc == WEB_OK)
		(void)err_set(why, "it answers with HTTP status %d", a->status);
	else
		(void)err_set(why, "%s", a->error);
}

static void on_probe(void *arg, const struct web_answer *a)
{
	struct engine *e = arg;
	char why[ERRLEN];

	e->probe = NULL;
	if (a->rc == WEB_OK && a->status / 100 == 2 &&
	    resolve_is_engine(a->body, a->len, why)) {
		is_up(e);
		return;
	}
	if (a->rc != WEB_OK || a->status / 100 != 2)
		http_error(why, a);
	set_state(e, ENGINE_DOWN, why);
	probe_later(e);
}

static void start_probe(struct engine *e)
{
	char url[URL_MAX + 64], err[ERRLEN];
	struct web_ask ask = {.url = url,
			      .timeout_ms = e->timeout_ms,
			      .connect_ms = e->timeout_ms,
			      .max_body = ENGINE_BODY_MAX,
			      .fn = on_probe,
			      .arg = e};

	snprintf(url, sizeof(url), "%s/webui/api/service?method=get_version", e->url);
	e->probe = web_start(e->web, &ask, err);
	if (e->probe)
		return;
	set_state(e, ENGINE_DOWN, err);
	probe_later(e);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct engine *e = arg;

	(void)fd;
	(void)what;
	if (!e->probe)
		start_probe(e);
}

/* ---- what is known ------------------------------------------------------------------ */

static void no_answer(struct resolved *r, const uint8_t id[IH_LEN])
{
	memcpy(r->infohash, id, IH_LEN);
	r->how = RESOLVED_NO_ANSWER;
	r->title[0] = '\0';
}

/* unasked: only because the engine is down; when it is up that is no longer true. */
static void remember(struct engine *e, const uint8_t id[IH_LEN], const struct resolved *r,
		     uint64_t for_ms, int unasked)
{
	struct resentry entry = {.r = *r,
				 .until_ms = clock_ms() + for_ms,
				 .era = e->era,
				 .unasked = (uint8_t)unasked};

	memcpy(entry.id, id, IH_LEN);
	stat_add(STAT_engine_evicted, (uint64_t)rescache_put(e->cache, &entry));
}

static void redis_key(char out[64], const uint8_t id[IH_LEN])
{
	char hex[IH_HEX_LEN];

	ih_hex(hex, id);
	snprintf(out, 64, KEY_PREFIX "%s", hex);
}

/* For the next life of ours, and for other nodes. */
static void write_down(struct engine *e, const uint8_t id[IH_LEN],
		       const struct resolved *r, uint64_t for_ms)
{
	struct buf text;
	char key[64];

	if (!redis_up(e->redis))
		return;
	redis_key(key, id);
	buf_init(&text, STORED_MAX);
	resolve_write(&text, r, clock_wall_ms() + for_ms);
	if (!text.failed)
		redis_setex(e->redis, key, for_ms, text.p, text.len);
	buf_free(&text);
}

/* ---- one question --------------------------------------------------------------------- */

/* Out of the table first: fn may ask again. */
static void land(struct flight *f, const struct resolved *r, uint64_t for_ms, int unasked)
{
	struct engine *e = f->e;
	struct flight was = *f;

	memset(f, 0, sizeof(*f));
	remember(e, was.id, r, for_ms, unasked);
	log_about(was.request);
	e->fn(e->arg, was.id, r);
	log_about("");
}

/* What was known before stays true. */
static void land_without(struct flight *f, int unasked)
{
	const struct resentry *known = rescache_find(f->e->cache, f->id);
	struct resolved r;

	no_answer(&r, f->id);
	if (known)
		r = known->r;
	land(f, &r, RESOLVE_NO_ANSWER_MS, unasked);
}

static void on_answer(void *arg, const struct web_answer *a)
{
	struct flight *f = arg;
	struct engine *e = f->e;
	struct resolved r;
	char why[ERRLEN];

	f->req = NULL;
	if (a->rc == WEB_OK && a->status == 200 &&
	    resolve_parse(&r, f->id, a->body, a->len, why) == 0) {
		is_up(e);
		write_down(e, f->id, &r, resolve_ttl_ms(&r));
		land(f, &r, resolve_ttl_ms(&r), 0);
		return;
	}
	if (a->rc != WEB_OK || a->status != 200)
		http_error(why, a);
	stat_inc(engine_failed);
	is_down(e, why);
	land_without(f, a->rc == WEB_REFUSED);
}

/* 0: on its way. -1: nobody can be asked now. */
static int ask_engine(struct flight *f)
{
	struct engine *e = f->e;
	uint64_t now = clock_ms(), left = f->end_ms > now ? f->end_ms - now : 1;
	char url[URL_MAX + 128], hex[IH_HEX_LEN], err[ERRLEN];
	struct web_ask ask = {.url = url,
			      .timeout_ms = left,
			      .connect_ms = left,
			      .max_body = ENGINE_BODY_MAX,
			      .fn = on_answer,
			      .arg = f};

	if (e->state == ENGINE_DOWN)
		return -1;
	ih_hex(hex, f->id);
	snprintf(url, sizeof(url),
		 "%s/server/api?api_version=3&method=analyze_content&query=%s", e->url,
		 hex);
	f->req = web_start(e->web, &ask, err);
	if (!f->req) {
		log_warn("engine", "%s", err);
		stat_inc(engine_full);
		return -1;
	}
	stat_inc(engine_asked);
	return 0;
}

static void on_stored(void *arg, const char *value, size_t len)
{
	struct flight *f = arg;
	struct resolved r;
	uint64_t left_ms;

	f->get = NULL;
	if (value &&
	    resolve_read(&r, &left_ms, f->id, value, len, clock_wall_ms()) == 0) {
		stat_inc(engine_redis);
		land(f, &r, left_ms, 0);
	} else if (ask_engine(f) != 0) {
		land_without(f, 1);
	}
}

/* 0: fn will say. */
static int take_off(struct engine *e, struct flight *f, const uint8_t id[IH_LEN])
{
	char key[64];
	uint64_t redis_ms =
		e->timeout_ms / 4 < ENGINE_REDIS_MS ? e->timeout_ms / 4 : ENGINE_REDIS_MS;

	f->e = e;
	memcpy(f->id, id, IH_LEN);
	snprintf(f->request, sizeof(f->request), "%s", log_subject());
	f->end_ms = clock_ms() + e->timeout_ms;
	redis_key(key, id);
	if (redis_up(e->redis))
		f->get = redis_get(e->redis, key, redis_ms, STORED_MAX, on_stored, f);
	if (f->get || ask_engine(f) == 0)
		return 0;
	memset(f, 0, sizeof(*f));
	return -1;
}

static struct flight *flight_of(struct engine *e, const uint8_t id[IH_LEN],
				struct flight **empty)
{
	*empty = NULL;
	for (size_t i = 0; i < ENGINE_FLIGHTS; i++) {
		struct flight *f = &e->flight[i];

		if (f->e && memcmp(f->id, id, IH_LEN) == 0)
			return f;
		if (!f->e)
			*empty = f;
	}
	return NULL;
}

static int is_valid(const struct engine *e, const struct resentry *known)
{
	return known->until_ms > clock_ms() && !(known->unasked && known->era != e->era);
}

enum engine_rc engine_look(struct engine *e, const uint8_t id[IH_LEN],
			   struct resolved *out)
{
	const struct resentry *known = e->url[0] ? rescache_find(e->cache, id) : NULL;
	struct flight *empty;

	if (known)
		*out = known->r;
	if (known)
		return ENGINE_KNOWN;
	return flight_of(e, id, &empty) ? ENGINE_ASKED : ENGINE_NOBODY;
}

enum engine_rc engine_ask(struct engine *e, const uint8_t id[IH_LEN],
			  struct resolved *out)
{
	const struct resentry *known;
	struct flight *empty;

	if (!e->url[0])
		return ENGINE_NOBODY;
	known = rescache_find(e->cache, id);
	if (known)
		*out = known->r; /* an old answer is better than none */
	if (known && is_valid(e, known)) {
		stat_inc(engine_known);
		return ENGINE_KNOWN;
	}
	if (flight_of(e, id, &empty) || (empty && take_off(e, empty, id) == 0))
		return known ? ENGINE_KNOWN : ENGINE_ASKED;
	if (!empty)
		stat_inc(engine_full);
	if (!known)
		no_answer(out, id);
	if (empty) /* nobody to ask, for a while */
		remember(e, id, out, RESOLVE_NO_ANSWER_MS, 1);
	return ENGINE_KNOWN;
}

/* ---- life -------------------------------------------------------------------------------- */

static void cancel(struct engine *e, int tell)
{
	web_cancel(&e->probe);
	event_del(e->timer);
	for (size_t i = 0; i < ENGINE_FLIGHTS; i++) {
		struct flight *f = &e->flight[i];

		redis_get_cancel(&f->get);
		web_cancel(&f->req);
		if (f->e && tell)
			land_without(f, 1);
	}
}

int engine_open(struct engine **out, struct event_base *base, struct web *web,
		engine_fn *fn, void *arg)
{
	struct engine *e = calloc(1, sizeof(*e));

	if (!e)
		return -1;
	e->base = base;
	e->web = web;
	e->fn = fn;
	e->arg = arg;
	e->timer = evtimer_new(base, on_timer, e);
	if (!e->timer || rescache_open(&e->cache, RESOLVE_MAX) != 0) {
		engine_close(&e);
		return -1;
	}
	*out = e;
	return 0;
}

void engine_close(struct engine **ep)
{
	struct engine *e = *ep;

	if (!e)
		return;
	*ep = NULL;
	if (e->timer) {
		cancel(e, 0);
		event_free(e->timer);
	}
	rescache_close(&e->cache);
	free(e);
}

void engine_configure(struct engine *e, const char *url, uint64_t timeout_ms)
{
	size_t len = strlen(url);

	e->timeout_ms = timeout_ms;
	while (len && url[len - 1] == '/')
		len--;
	PS_ASSERT(len <= URL_MAX);
	if (strlen(e->url) == len && memcmp(e->url, url, len) == 0)
		return;
	memcpy(e->url, url, len);
	e->url[len] = '\0';
	e->era++;
	e->backoff_ms = ENGINE_PROBE_MIN_MS;
	set_state(e, len ? ENGINE_UNKNOWN : ENGINE_OFF, "");
	cancel(e, 1);
	if (len)
		start_probe(e);
}

void engine_set_redis(struct engine *e, struct redis *r)
{
	e->redis = r;
}
