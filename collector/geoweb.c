/*
 * geoweb.c -- see geoweb.h.
 *
 *   wanted: NEW --GET--> LOOKING --not there--> READY --geopace says go--> flight
 *            '--- Redis is away ------------------^  |       |
 *            ^------ a while ago: other nodes ask, too       |
 *                    known <----- answer, hit ---------------'
 */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/geosay.h"
#include "collector/geoweb_int.h"
#include "collector/lru.h"
#include "common/clean.h"
#include "common/clock.h"
#include "common/log.h"
#include "shm/note.h"
#include "shm/stat.h"

void geoweb_arm(struct geoweb *g, uint64_t ms)
{
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000) * 1000};

	event_add(g->work, &tv);
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
	char words[ERRLEN];

	g->state = now;
	if (why)
		note_set(NOTE_geo_online_detail, why);
	show(g);
	if (now == was || was == ONLINE_OFF || now == ONLINE_OFF)
		return;
	snprintf(words, sizeof(words), "%s", why ? why : "");
	clean_addresses(words); /* it may name whom it was asked about */
	if (now == ONLINE_READY)
		log_notice("geo", "%s is asked again", g->source);
	else if (now == ONLINE_SPENT)
		log_warn("geo", "geo.online_daily is used up: %s is asked again tomorrow",
			 g->source);
	else
		log_warn("geo", "%s: %s; left alone for %llu s", g->source, words,
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

void geoweb_take(struct geoweb *g, const uint8_t addr[ADDR_LEN], enum geosay what,
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

void geoweb_stage(struct geoweb *g, uint32_t i, enum geoweb_stage stage)
{
	g->fresh -= g->stage[i] == GEOWEB_NEW;
	g->fresh += stage == GEOWEB_NEW;
	g->stage[i] = (uint8_t)stage;
	if (stage == GEOWEB_READY)
		g->ready_ms[i] = clock_ms();
}

void geoweb_unwant(struct geoweb *g, uint32_t i)
{
	geoweb_stage(g, i, GEOWEB_READY);
	lru_drop(g->wanted, i);
}

/* Numbers that are free have the stage GEOWEB_READY. */
static void want(struct geoweb *g, const uint8_t addr[ADDR_LEN], enum geoweb_stage stage)
{
	uint32_t i;
	int gone;

	if (lru_find(g->wanted, addr) != LRU_NONE || is_asked(g, addr))
		return;
	i = lru_put(g->wanted, addr, &gone);
	stat_add(STAT_geo_online_dropped, (uint64_t)gone);
	geoweb_stage(g, i, stage);
	g->again_ms[i] = GEOWEB_AGAIN_MS;
	geoweb_arm(g, 0);
}

uint32_t geoweb_newest(const struct geoweb *g, enum geoweb_stage a, enum geoweb_stage b)
{
	uint32_t i = lru_newest(g->wanted);

	while (i != LRU_NONE && g->stage[i] != a && g->stage[i] != b)
		i = lru_older(g->wanted, i);
	return i;
}

/* ---- the service ------------------------------------------------------------------------------ */

static void take_verdict(struct geoweb *g, const struct flight *f, enum geosay what,
			 const struct place *p, uint64_t retry_ms)
{
	uint64_t for_ms = geosay_ttl_ms(what), now = clock_ms();

	if (what == GEOSAY_LIMITED) {
		stat_inc(geo_online_limited);
		geopace_limited(&g->pace, now, retry_ms, f->probe);
		want(g, f->addr, GEOWEB_READY);
	} else if (what == GEOSAY_NONSENSE) {
		stat_inc(geo_online_failed);
		geopace_failed(&g->pace, now, f->probe);
		remember_failure(g, f->addr);
	} else {
		stat_inc(geo_online_answered);
		geopace_answered(&g->pace, f->probe);
		geoweb_take(g, f->addr, what, p, for_ms);
		geoweb_write_down(g, f->addr, what, p, for_ms);
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
	geoweb_arm(g, 0);
}

/* -1: no transfer is to be had now. */
static int take_off(struct geoweb *g, struct flight *f, const uint8_t addr[ADDR_LEN],
		    int probe)
{
	static const char *const headers[] = {"Accept: application/json", NULL};
	char url[GEOWEB_URL_MAX + ADDR_TEXT_MAX], text[ADDR_TEXT_MAX], err[ERRLEN];
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

/* -1: not now; on_work comes again. */
static int ask_one(struct geoweb *g, struct flight *f, uint32_t i)
{
	uint64_t wait_ms;
	enum geopace_go go =
		geopace_next(&g->pace, clock_ms(), clock_wall_ms(), &wait_ms);

	PS_ASSERT(go != GEOPACE_WAIT);
	if (take_off(g, f, lru_key(g->wanted, i), go == GEOPACE_PROBE) != 0) {
		geopace_cancelled(&g->pace, go == GEOPACE_PROBE);
		return -1;
	}
	geoweb_unwant(g, i);
	return 0;
}

/* How long until a question may be asked; UINT64_MAX: when an answer came, or one waits. */
static uint64_t ask(struct geoweb *g)
{
	struct flight *f;
	uint64_t wait_ms;
	uint32_t i;

	while ((f = free_flight(g)) != NULL) {
		i = geoweb_newest(g, GEOWEB_READY,
				  redis_up(g->redis) ? GEOWEB_READY : GEOWEB_NEW);
		if (i == LRU_NONE)
			break;
		wait_ms = geopace_wait_ms(&g->pace, clock_ms(), clock_wall_ms());
		if (wait_ms)
			return wait_ms;
		if (geoweb_look_again(g, i))
			break;
		if (ask_one(g, f, i) != 0)
			return 1000;
	}
	return UINT64_MAX;
}

static void on_work(evutil_socket_t fd, short what, void *arg)
{
	struct geoweb *g = arg;
	uint64_t look_ms, ask_ms;

	(void)fd;
	(void)what;
	look_ms = geoweb_look_due(g);
	ask_ms = ask(g);
	if (look_ms != UINT64_MAX || ask_ms != UINT64_MAX)
		geoweb_arm(g, look_ms < ask_ms ? look_ms : ask_ms);
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
		want(g, subject, GEOWEB_NEW);
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
	want(g, subject, GEOWEB_NEW);
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
		geoweb_unwant(g, lru_newest(g->wanted));
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
	memset(g->stage, GEOWEB_READY, sizeof(g->stage));
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
	char to[GEOWEB_URL_MAX + 1];
	size_t len = strlen(url);

	PS_ASSERT(len < GEOWEB_URL_MAX);
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
				   g->source);
	}
	if (other)
		look_at_state(g, "");
	geoweb_arm(g, 0);
	return was_off && g->url[0];
}

void geoweb_set_redis(struct geoweb *g, struct redis *r)
{
	g->redis = r;
}
