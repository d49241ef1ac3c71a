/*
 * geoweb.c -- see geoweb.h.
 *
 *   wanted: NEW --GET--> LOOKING --not there--> READY --geopace says go--> flight
 *            '--- Redis is away ------------------^  |       |
 *            ^------ a while ago: other nodes ask, too       |
 *                    known <----- answer, hit ---------------'
 */
#include "collector/geoweb.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/geopace.h"
#include "collector/geosay.h"
#include "collector/lru.h"
#include "common/clock.h"
#include "common/log.h"
#include "shm/note.h"
#include "shm/stat.h"

#define URL_MAX 501     /* geo.online_url, and a slash */
#define STORED_MAX 4096 /* what we write has some 400 bytes */
#define KEY_PREFIX "peerscope:place:"
#define KEY_MAX (sizeof(KEY_PREFIX) + ADDR_TEXT_MAX)
/* What waited for so long another node may have asked about meanwhile. */
#define LOOK_AGAIN_MS 2000

enum stage { NEW = 0, LOOKING = 1, READY = 2 };

struct answer { /* in memory */
	struct place place;
	uint64_t until_ms; /* monotonic: it is fresh */
};

struct look {             /* Redis is asked about addr */
	struct geoweb *g; /* NULL: free */
	uint8_t addr[ADDR_LEN];
	struct redis_get *get;
};

struct flight {           /* the service is */
	struct geoweb *g; /* NULL: free */
	uint8_t addr[ADDR_LEN];
	struct web_req *req;
	int probe;
};

struct geoweb {
	struct web *web;
	struct redis *redis;
	geoweb_fn *fn;
	void *arg;
	char url[URL_MAX + 1];      /* with a slash at its end; "": off */
	char source[GEOSAY_SOURCE]; /* its host */
	struct geopace pace;
	enum online_state state;

	struct lru *known;
	struct answer *answer;
	struct lru *wanted;
	uint8_t stage[GEOWEB_WAITING];
	uint64_t ready_ms[GEOWEB_WAITING]; /* monotonic: READY since then */
	uint32_t fresh;                    /* of the wanted, those that are NEW */
	struct look look[GEOWEB_LOOKS];
	struct flight flight[GEOWEB_FLIGHTS];
	struct event *work;
};

static void arm(struct event *ev, uint64_t ms)
{
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000) * 1000};

	event_add(ev, &tv);
}

/* ---- how it is, for others ---------------------------------------------------------- */

static enum online_state state_of(const struct geoweb *g)
{
	if (!g->url[0])
		return ONLINE_OFF;
	if (g->pace.state == GEOPACE_LIMITED)
		return ONLINE_LIMITED;
	if (g->pace.state == GEOPACE_DOWN)
		return ONLINE_DOWN;
	return geopace_left(&g->pace, clock_wall_ms()) ? ONLINE_READY : ONLINE_SPENT;
}

static void show(const struct geoweb *g)
{
	uint64_t wall = clock_wall_ms();

	stat_set(geo_online_state, (uint64_t)state_of(g));
	stat_set(geo_online_waiting, lru_count(g->wanted));
	stat_set(geo_online_known, lru_count(g->known));
	stat_set(geo_online_day, g->pace.day);
	stat_set(geo_online_used, g->pace.used);
	stat_set(geo_online_left, geopace_left(&g->pace, wall));
}

/* why: what is wrong with the last answer; "": nothing; NULL: there was none. */
static void look_at_state(struct geoweb *g, const char *why)
{
	enum online_state was = g->state, now = state_of(g);
	uint64_t clock = clock_ms(), until = g->pace.until_ms;
	uint64_t wait_s = until > clock ? (until - clock) / 1000 : 0;

	g->state = now;
	if (why)
		note_set(NOTE_geo_online_detail, why);
	show(g);
	if (now == was || was == ONLINE_OFF || now == ONLINE_OFF)
		return;
	if (now == ONLINE_READY)
		log_notice("geo", "%s is asked again", g->url);
	else if (now == ONLINE_SPENT)
		log_warn("geo", "geo.online_daily is used up: %s is asked again tomorrow",
			 g->url);
	else
		log_warn("geo", "%s: %s; left alone for %llu s", g->url, why ? why : "",
			 (unsigned long long)wait_s);
}

/* ---- what is known --------------------------------------------------------------------- */

static void remember(struct geoweb *g, const uint8_t addr[ADDR_LEN],
		     const struct place *p, uint64_t for_ms)
{
	int gone;
	struct answer *a = &g->answer[lru_put(g->known, addr, &gone)];

	stat_add(STAT_geo_online_evicted, (uint64_t)gone);
	a->place = *p;
	a->until_ms = clock_ms() + for_ms;
}

/* What was known before stays true for the time. */
static void remember_failure(struct geoweb *g, const uint8_t addr[ADDR_LEN])
{
	static const struct place nowhere;
	uint32_t i = lru_find(g->known, addr);
	struct place was = i == LRU_NONE ? nowhere : g->answer[i].place;

	remember(g, addr, &was, GEOWEB_FAILED_MS);
}

static void take_answer(struct geoweb *g, const uint8_t addr[ADDR_LEN], enum geosay what,
			const struct place *p, uint64_t for_ms)
{
	static const struct place nowhere;

	remember(g, addr, what == GEOSAY_PLACE ? p : &nowhere, for_ms);
	if (what == GEOSAY_PLACE)
		g->fn(g->arg, addr);
}

/* ---- who waits --------------------------------------------------------------------------- */

static int is_asked(const struct geoweb *g, const uint8_t addr[ADDR_LEN])
{
	for (size_t i = 0; i < GEOWEB_FLIGHTS; i++)
		if (g->flight[i].g && memcmp(g->flight[i].addr, addr, ADDR_LEN) == 0)
			return 1;
	return 0;
}

static void set_stage(struct geoweb *g, uint32_t i, enum stage stage)
{
	g->fresh -= g->stage[i] == NEW;
	g->fresh += stage == NEW;
	g->stage[i] = (uint8_t)stage;
	if (stage == READY)
		g->ready_ms[i] = clock_ms();
}

static void unwant(struct geoweb *g, uint32_t i)
{
	set_stage(g, i, READY);
	lru_drop(g->wanted, i);
}

/* Numbers that are free have the stage READY. */
static void want(struct geoweb *g, const uint8_t addr[ADDR_LEN], enum stage stage)
{
	uint32_t i;
	int gone;

	if (lru_find(g->wanted, addr) != LRU_NONE || is_asked(g, addr))
		return;
	i = lru_put(g->wanted, addr, &gone);
	stat_add(STAT_geo_online_dropped, (uint64_t)gone);
	set_stage(g, i, stage);
	if (!event_pending(g->work, EV_TIMEOUT, NULL) || g->fresh == 1)
		arm(g->work, 0);
}

/* The newest at this stage. */
static uint32_t newest(const struct geoweb *g, enum stage a, enum stage b)
{
	uint32_t i = lru_newest(g->wanted);

	while (i != LRU_NONE && g->stage[i] != a && g->stage[i] != b)
		i = lru_older(g->wanted, i);
	return i;
}

/* ---- Redis ---------------------------------------------------------------------------------- */

static void key_of(char out[KEY_MAX], const uint8_t addr[ADDR_LEN])
{
	char text[ADDR_TEXT_MAX];

	addr_text(text, addr);
	snprintf(out, KEY_MAX, KEY_PREFIX "%s", text);
}

/* For the next life of ours, and for other nodes. */
static void write_down(struct geoweb *g, const uint8_t addr[ADDR_LEN], enum geosay what,
		       const struct place *p, uint64_t for_ms)
{
	char key[KEY_MAX];
	struct buf text;

	if (!redis_up(g->redis))
		return;
	key_of(key, addr);
	buf_init(&text, STORED_MAX);
	geosay_write(&text, addr, what, p, clock_wall_ms() + for_ms);
	if (!text.failed)
		redis_setex(g->redis, key, for_ms, text.p, text.len);
	buf_free(&text);
}

static void on_stored(void *arg, const char *value, size_t len)
{
	struct look *l = arg;
	struct geoweb *g = l->g;
	uint32_t i = lru_find(g->wanted, l->addr);
	enum geosay what = GEOSAY_NONSENSE;
	struct place p;
	uint64_t left_ms;

	if (value)
		what = geosay_stored(&p, &left_ms, l->addr, value, len, clock_wall_ms());
	if (what != GEOSAY_NONSENSE) {
		stat_inc(geo_online_redis);
		take_answer(g, l->addr, what, &p, left_ms);
		if (i != LRU_NONE)
			unwant(g, i);
	} else if (i != LRU_NONE) {
		set_stage(g, i, READY);
	}
	memset(l, 0, sizeof(*l));
	arm(g->work, 0);
}

static struct look *free_look(struct geoweb *g)
{
	for (size_t i = 0; i < GEOWEB_LOOKS; i++)
		if (!g->look[i].g)
			return &g->look[i];
	return NULL;
}

static void look_up(struct geoweb *g)
{
	char key[KEY_MAX];
	struct look *l;
	uint32_t i;

	while (g->fresh && redis_up(g->redis) && (l = free_look(g)) != NULL) {
		i = newest(g, NEW, NEW);
		PS_ASSERT(i != LRU_NONE);
		memcpy(l->addr, lru_key(g->wanted, i), ADDR_LEN);
		key_of(key, l->addr);
		l->get = redis_get(g->redis, key, GEOWEB_REDIS_MS, STORED_MAX, on_stored,
				   l);
		if (l->get)
			l->g = g;
		set_stage(g, i, l->get ? LOOKING : READY);
	}
}

/* ---- the service ------------------------------------------------------------------------------ */

static void take_verdict(struct geoweb *g, const struct flight *f, enum geosay what,
			 const struct place *p, uint64_t retry_ms)
{
	uint64_t for_ms = geosay_ttl_ms(what), now = clock_ms();

	if (what == GEOSAY_LIMITED) {
		stat_inc(geo_online_limited);
		geopace_limited(&g->pace, now, retry_ms, f->probe);
		want(g, f->addr, READY);
	} else if (what == GEOSAY_NONSENSE) {
		stat_inc(geo_online_failed);
		geopace_failed(&g->pace, now, f->probe);
		remember_failure(g, f->addr);
	} else {
		stat_inc(geo_online_answered);
		geopace_answered(&g->pace, f->probe);
		take_answer(g, f->addr, what, p, for_ms);
		write_down(g, f->addr, what, p, for_ms);
	}
}

static void on_answer(void *arg, const struct web_answer *a)
{
	struct flight *at = arg, f = *at;
	struct geoweb *g = f.g;
	char why[ERRLEN] = "";
	enum geosay what;
	struct place p;

	memset(at, 0, sizeof(*at));
	what = geosay_answer(&p, f.addr, a, why);
	if (what == GEOSAY_PLACE)
		memcpy(p.source, g->source, sizeof(p.source));
	take_verdict(g, &f, what, &p, a->retry_after_ms);
	if (what == GEOSAY_NOTHING || what == GEOSAY_RESERVED)
		why[0] = '\0'; /* an answer like others */
	look_at_state(g, why);
	arm(g->work, 0);
}

/* -1: no transfer is to be had now. */
static int take_off(struct geoweb *g, struct flight *f, const uint8_t addr[ADDR_LEN],
		    int probe)
{
	static const char *const headers[] = {"Accept: application/json", NULL};
	char url[URL_MAX + ADDR_TEXT_MAX], text[ADDR_TEXT_MAX], err[ERRLEN];
	struct web_ask ask = {.url = url,
			      .headers = headers,
			      .timeout_ms = GEOWEB_TIMEOUT_MS,
			      .connect_ms = GEOWEB_CONNECT_MS,
			      .max_body = GEOWEB_BODY_MAX,
			      .fn = on_answer,
			      .arg = f};

	addr_text(text, addr);
	snprintf(url, sizeof(url), "%s%s", g->url, text);
	f->req = web_start(g->web, &ask, err);
	if (!f->req) {
		log_warn("geo", "%s", err);
		return -1;
	}
	f->g = g;
	f->probe = probe;
	memcpy(f->addr, addr, ADDR_LEN);
	stat_inc(geo_online_asked);
	return 0;
}

static struct flight *free_flight(struct geoweb *g)
{
	for (size_t i = 0; i < GEOWEB_FLIGHTS; i++)
		if (!g->flight[i].g)
			return &g->flight[i];
	return NULL;
}

/* 0: on its way. Else: how long to wait until the next try; UINT64_MAX: for an answer. */
static uint64_t ask_one(struct geoweb *g, struct flight *f, uint32_t i)
{
	uint64_t wait_ms;
	enum geopace_go go =
		geopace_next(&g->pace, clock_ms(), clock_wall_ms(), &wait_ms);

	if (go == GEOPACE_WAIT)
		return wait_ms;
	if (take_off(g, f, lru_key(g->wanted, i), go == GEOPACE_PROBE) != 0) {
		geopace_cancelled(&g->pace, go == GEOPACE_PROBE);
		return 1000;
	}
	unwant(g, i);
	return 0;
}

/* 1: Redis is asked about i once more, before the service is. */
static int look_again(struct geoweb *g, uint32_t i)
{
	if (g->stage[i] != READY || !redis_up(g->redis) ||
	    clock_ms() - g->ready_ms[i] < LOOK_AGAIN_MS)
		return 0;
	set_stage(g, i, NEW);
	look_up(g);
	return g->stage[i] != READY;
}

static void on_work(evutil_socket_t fd, short what, void *arg)
{
	struct geoweb *g = arg;
	struct flight *f;
	uint64_t wait_ms = 0;
	uint32_t i;

	(void)fd;
	(void)what;
	look_up(g);
	while (wait_ms == 0 && (f = free_flight(g)) != NULL) {
		i = newest(g, READY, redis_up(g->redis) ? READY : NEW);
		if (i == LRU_NONE || look_again(g, i))
			break;
		wait_ms = ask_one(g, f, i);
	}
	if (wait_ms && wait_ms != UINT64_MAX)
		arm(g->work, wait_ms);
	look_at_state(g, NULL);
}

/* ---- for the owner ------------------------------------------------------------------------------ */

int geoweb_place(struct geoweb *g, const uint8_t addr[ADDR_LEN], struct place *p)
{
	uint8_t subject[ADDR_LEN];
	uint32_t i;

	if (!g->url[0] || geosay_subject(subject, addr) != 0)
		return 0;
	i = lru_find(g->known, subject);
	if (i == LRU_NONE || g->answer[i].until_ms <= clock_ms())
		want(g, subject, NEW);
	if (i == LRU_NONE)
		return 0;
	lru_touch(g->known, i);
	if (geosay_wanted(&g->answer[i].place))
		return 0;
	geosay_fill(p, &g->answer[i].place); /* an old answer is better than none */
	return 1;
}

int geoweb_knows(const struct geoweb *g, const uint8_t addr[ADDR_LEN])
{
	uint8_t subject[ADDR_LEN];
	uint32_t i;

	if (!g->url[0] || geosay_subject(subject, addr) != 0)
		return 0;
	i = lru_find(g->known, subject);
	return i != LRU_NONE && !geosay_wanted(&g->answer[i].place);
}

int geoweb_offer(struct geoweb *g, const uint8_t addr[ADDR_LEN])
{
	uint8_t subject[ADDR_LEN];
	uint32_t i;

	if (!g->url[0] || geosay_subject(subject, addr) != 0)
		return 0;
	i = lru_find(g->known, subject);
	if (i != LRU_NONE && g->answer[i].until_ms > clock_ms())
		return !geosay_wanted(&g->answer[i].place);
	if (lru_count(g->wanted) == GEOWEB_WAITING)
		return -1;
	want(g, subject, NEW);
	return 0;
}

int geoweb_has_room(const struct geoweb *g)
{
	return g->url[0] && lru_count(g->wanted) < GEOWEB_WAITING / 2;
}

/* ---- life ------------------------------------------------------------------------------------------ */

static void cancel(struct geoweb *g)
{
	for (size_t i = 0; i < GEOWEB_LOOKS; i++) {
		redis_get_cancel(&g->look[i].get);
		memset(&g->look[i], 0, sizeof(g->look[i]));
	}
	for (size_t i = 0; i < GEOWEB_FLIGHTS; i++) {
		struct flight *f = &g->flight[i];

		web_cancel(&f->req);
		if (f->g)
			geopace_cancelled(&g->pace, f->probe);
		memset(f, 0, sizeof(*f));
	}
	while (lru_newest(g->wanted) != LRU_NONE)
		unwant(g, lru_newest(g->wanted));
	event_del(g->work);
}

int geoweb_open(struct geoweb **out, struct event_base *base, struct web *web,
		uint64_t day, uint64_t used, geoweb_fn *fn, void *arg)
{
	struct geoweb *g = calloc(1, sizeof(*g));

	if (!g)
		return -1;
	g->web = web;
	g->fn = fn;
	g->arg = arg;
	g->pace.day = day;
	g->pace.used = used < UINT32_MAX ? (uint32_t)used : UINT32_MAX;
	memset(g->stage, READY, sizeof(g->stage));
	g->answer = calloc(GEOWEB_KNOWN, sizeof(*g->answer));
	g->work = evtimer_new(base, on_work, g);
	if (!g->answer || !g->work || lru_open(&g->known, GEOWEB_KNOWN, ADDR_LEN) != 0 ||
	    lru_open(&g->wanted, GEOWEB_WAITING, ADDR_LEN) != 0) {
		geoweb_close(&g);
		return -1;
	}
	*out = g;
	return 0;
}

void geoweb_close(struct geoweb **gp)
{
	struct geoweb *g = *gp;

	if (!g)
		return;
	*gp = NULL;
	if (g->wanted)
		cancel(g);
	if (g->work)
		event_free(g->work);
	lru_close(&g->known);
	lru_close(&g->wanted);
	free(g->answer);
	free(g);
}

/* 1: it is another one. */
static int set_url(struct geoweb *g, const char *url)
{
	char to[URL_MAX + 1];
	size_t len = strlen(url);

	PS_ASSERT(len < URL_MAX);
	snprintf(to, sizeof(to), "%s%s", url, len && url[len - 1] != '/' ? "/" : "");
	if (strcmp(to, g->url) == 0)
		return 0;
	memcpy(g->url, to, sizeof(to));
	geosay_source(g->source, g->url);
	return 1;
}

int geoweb_configure(struct geoweb *g, const struct conf *conf)
{
	int was_off = !g->url[0];
	int other = set_url(g, conf->geo_online ? conf->geo_online_url : "");

	geopace_configure(&g->pace, (uint32_t)conf->geo_online_rate,
			  (uint32_t)conf->geo_online_burst,
			  (uint32_t)conf->geo_online_daily, clock_ms());
	if (other) {
		cancel(g);
		geopace_forgive(&g->pace);
		g->state = ONLINE_OFF; /* what the former one did is not worth a line */
		if (g->url[0])
			log_notice("geo",
				   "addresses that no database knows are sent to %s; "
				   "geo.online = off ends that",
				   g->url);
	}
	if (other)
		look_at_state(g, "");
	arm(g->work, 0);
	return was_off && g->url[0];
}

void geoweb_set_redis(struct geoweb *g, struct redis *r)
{
	g->redis = r;
}
