/*
 * acewatch.c -- looks for the engines of swarms (acefind.c) while their mode says so, and
 * hands over what is found: endpoints to the swarm, what trackers and the DHT say to the
 * evidence about the path, and to a swarm that has no other sources as its own.
 */
#include <event2/event.h>
#include <string.h>

#include "collector/coll.h"
#include "common/clock.h"
#include "common/log.h"

void acewatch_found(struct coll *c, struct swarm *w, struct peer *p,
		    const struct swarm_news *news, const char *client)
{
	stat_add(STAT_peers_evicted, (uint64_t)news->evicted);
	if (!p)
		return;
	if (news->fresh) {
		stat_inc(peers_learned);
		(void)publish_place(c, w, p, 0);
	}
	if (client[0])
		p->client = ptab_string(c->ptab, client, strlen(client));
}

/* ---- endpoints ------------------------------------------------------------------------ */

/* Newcomers whose turn is BitTorrent's: the session dials them. */
struct handover {
	struct lt_endpoint to[64];
	size_t n;
};

static void hand_over(struct coll *c, struct swarm *w, struct handover *h)
{
	if (h->n && w->joined && lt_give(c->lt, w->id, h->to, h->n) != 0)
		stat_add(STAT_given_lost, h->n);
	h->n = 0;
}

static void found(struct coll *c, struct swarm *w, const struct acefind_news *news)
{
	uint32_t now_s = (uint32_t)(clock_wall_ms() / 1000);
	struct handover h = {.n = 0};

	for (uint32_t i = 0; i < news->n; i++) {
		const struct lt_endpoint *e = &news->peer[i];
		struct swarm_news heard;
		struct peer *p;

		if (!own_may_list(c, e->addr, e->port)) {
			stat_inc(peers_refused);
			continue;
		}
		p = swarm_ace_heard(w, e->addr, e->port, news->source, news->index,
				    clock_ms(), now_s, &heard);
		acewatch_found(c, w, p, &heard, "");
		if (!heard.fresh || !p || p->ace.turn != PEER_BITTORRENT)
			continue;
		h.to[h.n++] = *e;
		if (h.n == PS_ARRAY_LEN(h.to))
			hand_over(c, w, &h);
	}
	hand_over(c, w, &h);
}

/* ---- what the sources themselves say -------------------------------------------------- */

static struct lt_event event_of(const struct acefind_news *news, enum lt_kind kind)
{
	struct lt_event e;
	size_t len = news->text ? strlen(news->text) : 0;

	memset(&e, 0, sizeof(e));
	e.kind = (uint8_t)kind;
	memcpy(e.id, news->swarm, IH_LEN);
	e.tracker = news->tracker;
	e.seeds = news->seeds;
	e.leechers = news->leechers;
	e.n = kind == LT_TRACKER_FAILED ? (int32_t)news->failure : (int32_t)news->n;
	memcpy(e.text, news->text ? news->text : "",
	       len < LT_TEXT_MAX ? len : LT_TEXT_MAX);
	return e;
}

/* Its trackers are the swarm's own, whoever else is asked. */
static void to_swarm(struct coll *c, struct swarm *w, const struct lt_event *e)
{
	struct swarm_news news;

	swarm_ace_tracker(w, e, clock_ms(), (uint32_t)(clock_wall_ms() / 1000), &news);
	if (news.tracker_failed)
		publish_tracker_failed(c, w, e, c->kid.conf.acestream_trackers);
}

/* They are others now. */
void acewatch_forget(struct coll *c, struct swarm *w)
{
	const char *list =
		c->kid.conf.acestream_peers ? c->kid.conf.acestream_trackers : "";
	char site[TRACKER_SITE_MAX];
	uint32_t n = 0;

	for (uint32_t i = 0; i < w->nace_trackers; i++) {
		tracker_find(list, w->ace_tracker[i].hash, site);
		if (strstr(site, "://")) /* not "unknown" */
			w->ace_tracker[n++] = w->ace_tracker[i];
		else if (w->said_by == w->ace_tracker[i].hash)
			w->said = 0;
	}
	w->nace_trackers = n;
}

static void say(struct coll *c, struct swarm *w, const struct acefind_news *news,
		enum lt_kind kind)
{
	struct lt_event e = event_of(news, kind);

	path_event(&c->path, &e, clock_ms());
	to_swarm(c, w, &e);
}

static void answered(struct coll *c, struct swarm *w, const struct acefind_news *news)
{
	struct lt_event count = event_of(news, LT_SCRAPE);

	w->ace.answered = 1;
	say(c, w, news, LT_TRACKER_OK);
	to_swarm(c, w, &count);
}

static void looked(struct swarm *w, const struct acefind_news *news)
{
	struct lt_event e = event_of(news, LT_DHT_REPLY);
	struct swarm_news none;

	if (swarm_ace_alone(w)) /* else the session's is; the path heard of each reply */
		swarm_event(w, &e, clock_ms(), (uint32_t)(clock_wall_ms() / 1000), &none);
}

static void on_news(void *arg, const struct acefind_news *news)
{
	struct coll *c = arg;
	struct swarm *w = swarms_find(c->swarms, news->swarm);

	if (!w || news->life != w->ace.life)
		return;
	switch (news->what) {
	case ACEFIND_FOUND: found(c, w, news); break;
	case ACEFIND_LOOKED: looked(w, news); break;
	case ACEFIND_ASKED: say(c, w, news, LT_TRACKER_ASKED); break;
	case ACEFIND_ANSWERED: answered(c, w, news); break;
	case ACEFIND_FAILED: say(c, w, news, LT_TRACKER_FAILED); break;
	case ACEFIND_ROUND: w->ace.find_done = 1; break;
	}
	acevisit_look(c, w);
	if (w->important)
		publish_soon(c);
	event_active(c->wake, EV_TIMEOUT, 0); /* who waits may be answered now */
}

void acewatch_event(struct coll *c, const struct lt_event *e)
{
	acefind_event(c->acefind, e);
}

/* ---- lives of swarms ------------------------------------------------------------------ */

void acewatch_follow(struct coll *c, struct swarm *w)
{
	const struct swarm_ace *a = &w->ace;

	if (!swarm_ace_on(w))
		acefind_stop(c->acefind, w->id);
	else if (acefind_start(c->acefind, w->id, a->life, a->key, a->nkeys) != 0)
		w->ace.find_done = 1; /* no room: it is not waited for */
	acefind_session_asks(c->acefind, w->id, w->joined && !w->quiet && w->dht);
	acevisit_look(c, w);
}

void acewatch_begin(struct coll *c, struct swarm *w)
{
	w->ace.life = ++c->ace_lives;
	w->ace.find_done = w->ace.answered = 0;
	acewatch_follow(c, w);
}

void acewatch_end(struct coll *c, const struct swarm *w)
{
	acefind_stop(c->acefind, w->id);
	ace_hush(c->ace, w->id);
}

void acewatch_configure(struct coll *c)
{
	ace_configure(c->ace, &c->kid.conf);
	acefind_configure(c->acefind, &c->kid.conf);
	acefind_hasten(c->acefind, NULL);
}

int acewatch_open(struct coll *c, char err[ERRLEN])
{
	if (acevisit_open(c, err) != 0)
		return -1;
	if (acefind_open(&c->acefind, c->base, &c->kid.conf, c->lt, on_news, c) != 0)
		return err_set(err, "out of memory");
	if (acepast_open(&c->acepast) != 0)
		return err_set(err, "out of memory");
	return 0;
}

void acewatch_close(struct coll *c)
{
	acepast_close(&c->acepast);
	acefind_close(&c->acefind);
	acevisit_close(c);
}
