/*
 * acefind_ask.c -- announces to trackers and look-ups in the DHT, under way: see
 * acefind_int.h.
 */
#include "collector/acefind_int.h"

#include <string.h>
#include <sys/random.h>

#include "collector/acewire.h"
#include "shm/peerwords.h"

/* Of the announces under way so many may be to trackers that failed the last time: they
 * take long, and the others are not to wait for them. */
#define DOUBTFUL_MAX (ACEFIND_ANNOUNCES / 4)
/* A poll that began before the look-up does not know it. */
#define POLL_MS 500u
/* Where nothing listens: trackers refuse 0, and this one is nobody's. */
#define NO_PORT 1

/* ---- news ---------------------------------------------------------------------------- */

static struct acefind_news news_of(const struct acefind_swarm *w, const uint8_t *key,
				   enum acefind_what what)
{
	struct acefind_news news = {.what = what, .life = w->life, .key = key};

	memcpy(news.swarm, w->id, IH_LEN);
	while (key && memcmp(w->key[news.index].id, key, IH_LEN) != 0)
		news.index++;
	return news;
}

static void say(struct acefind *f, const struct acefind_news *news)
{
	f->fn(f->arg, news);
}

/* ---- trackers -------------------------------------------------------------------------- */

static void track_answered(struct acefind_flight *fl, struct acefind_key *k,
			   struct acefind_at *at, const struct acetrack_answer *a,
			   struct acefind_tracker *tr)
{
	struct acefind *f = fl->f;
	struct acefind_news news = news_of(fl->w, fl->key, ACEFIND_ANSWERED), found;
	uint8_t key[IH_LEN];

	at->due_ms = clock_ms() + acefind_again_ms(a->interval_s, 0);
	at->fails = tr->fails = 0;
	at->done = 1;
	k->announced_ms = clock_ms();
	stat_add(STAT_ace_found, a->n);
	memcpy(key, fl->key, IH_LEN);
	news.key = key;
	news.tracker = tr->hash;
	news.seeds = (int32_t)(a->seeders & INT32_MAX);
	news.leechers = (int32_t)(a->leechers & INT32_MAX);
	news.n = a->n;
	found = news;
	found.what = ACEFIND_FOUND;
	found.source = PEER_SRC_TRACKER;
	found.peer = a->peer;
	acefind_wake(f, 0);
	say(f, &news);
	if (a->n && acefind_swarm(f, news.swarm)) /* it may have been stopped */
		say(f, &found);
}

static void track_failed(struct acefind_flight *fl, struct acefind_at *at,
			 const struct acetrack_news *t, struct acefind_tracker *tr)
{
	struct acefind_news news = news_of(fl->w, fl->key, ACEFIND_FAILED);

	at->fails++;
	tr->fails++;
	at->due_ms = clock_ms() + acefind_again_ms(0, at->fails);
	at->done = 1;
	stat_inc(ace_tracker_failures);
	news.tracker = tr->hash;
	news.failure = t->failure;
	news.text = t->text;
	acefind_wake(fl->f, 0);
	say(fl->f, &news);
}

static void on_track(void *arg, const struct acetrack_news *t)
{
	struct acefind_flight *fl = arg;
	struct acefind_key *k = acefind_key(fl->w, fl->key);
	uint32_t i = acefind_tracker(fl->f, fl->tracker);
	struct acefind_news news;

	PS_ASSERT(k && i < fl->f->ntrackers); /* or it was landed */
	switch (t->what) {
	case ACETRACK_ASKED:
		stat_inc(ace_announces);
		k->announced_ms = clock_ms();
		news = news_of(fl->w, fl->key, ACEFIND_ASKED);
		news.tracker = fl->tracker;
		say(fl->f, &news);
		break;
	case ACETRACK_ANSWERED:
		track_answered(fl, k, &k->at[i], t->answer, &fl->f->tracker[i]);
		break;
	case ACETRACK_FAILED: track_failed(fl, &k->at[i], t, &fl->f->tracker[i]); break;
	case ACETRACK_OVER:
		k->at[i].flying = 0;
		fl->t = NULL;
		acefind_wake(fl->f, 0);
		break;
	}
}

void acefind_land(struct acefind_flight *fl, int stop)
{
	struct acefind_key *k = acefind_key(fl->w, fl->key);
	uint32_t i = acefind_tracker(fl->f, fl->tracker);

	if (k && i < fl->f->ntrackers)
		k->at[i].flying = 0;
	acetrack_end(&fl->t, stop);
}

/* A free place; NULL: none, or none for such a tracker. */
static struct acefind_flight *flight_take(struct acefind *f, int doubtful)
{
	struct acefind_flight *out = NULL;
	uint32_t n = 0;

	for (uint32_t i = 0; i < ACEFIND_ANNOUNCES; i++) {
		if (!f->flight[i].t)
			out = &f->flight[i];
		else
			n += (uint32_t)f->flight[i].doubtful;
	}
	return doubtful && n >= DOUBTFUL_MAX ? NULL : out;
}

/* A peer like any other of these swarms, another one each time. */
static int make_ask(const struct acefind *f, const uint8_t key[IH_LEN],
		    struct acetrack_ask *ask)
{
	uint8_t hand[AW_HAND];

	if (acewire_hand(hand, key) != 0 ||
	    getrandom(&ask->key, sizeof(ask->key), GRND_NONBLOCK) !=
		    (ssize_t)sizeof(ask->key))
		return -1;
	memcpy(ask->hash, key, IH_LEN);
	memcpy(ask->peer_id, hand + AW_HAND_ID, AW_ID_LEN);
	ask->port = f->port ? f->port : NO_PORT;
	return 0;
}

int acefind_announce(struct acefind *f, struct acefind_swarm *w, struct acefind_key *k,
		     uint32_t i, uint64_t now)
{
	struct acefind_tracker *tr = &f->tracker[i];
	struct acefind_flight *fl = flight_take(f, tr->fails > 0);
	struct acetrack_ask ask;

	if (!fl)
		return -1;
	fl->f = f;
	fl->w = w;
	fl->tracker = tr->hash;
	fl->doubtful = tr->fails > 0;
	memcpy(fl->key, k->id, IH_LEN);
	if (make_ask(f, k->id, &ask) != 0 ||
	    acetrack_begin(&fl->t, f->base, &tr->url, &ask, &f->way, on_track, fl) != 0)
		k->at[i].due_ms = now + 1000;
	else
		k->at[i].flying = 1;
	return 0;
}

/* ---- the DHT ----------------------------------------------------------------------------- */

int acefind_may_look(const struct acefind *f)
{
	return f->dht && f->lt;
}

void acefind_drop_lookup(struct acefind *f, struct acefind_key *k)
{
	if (k->looking_ms)
		f->lookups--;
	k->looking_ms = k->replied_ms = 0;
}

int acefind_look(struct acefind *f, struct acefind_key *k, uint64_t now)
{
	if (f->lookups >= ACEFIND_LOOKUPS)
		return -1;
	if (lt_dht_find(f->lt, k->id) != 0) {
		k->due_ms = now + 1000;
		return 0;
	}
	stat_inc(ace_lookups);
	f->lookups++;
	k->looking_ms = now;
	k->replied_ms = 0;
	k->named = 0;
	k->at_work = 0;
	return 0;
}

static void looked(struct acefind *f, struct acefind_swarm *w, struct acefind_key *k,
		   uint64_t now)
{
	struct acefind_news news = news_of(w, NULL, ACEFIND_LOOKED);
	uint8_t key[IH_LEN];

	acefind_drop_lookup(f, k);
	k->looked = 1;
	k->empty = k->named ? 0 : k->empty + 1;
	k->due_ms = now + acefind_lookup_ms(f->lookup_ms, k->empty);
	memcpy(key, k->id, IH_LEN);
	news.key = key;
	news.index = (uint32_t)(k - w->key);
	news.source = PEER_SRC_DHT;
	news.n = k->named;
	acefind_wake(f, 0);
	say(f, &news);
}

static void found(struct acefind *f, struct acefind_swarm *w, struct acefind_key *k,
		  const struct lt_event *e)
{
	struct acefind_news news = news_of(w, e->id, ACEFIND_FOUND);
	struct lt_endpoint to = {.port = e->port};

	if (to.port == 0)
		return;
	k->replied_ms = clock_ms();
	if (!w->round_said)
		acefind_wake(f, 0);
	if (k->named++ >= ACEFIND_FOUND_MAX) {
		stat_inc(ace_found_lost);
		return;
	}
	stat_inc(ace_found);
	memcpy(to.addr, e->addr, ADDR_LEN);
	news.source = PEER_SRC_DHT;
	news.peer = &to;
	news.n = 1;
	say(f, &news);
}

/* The first one that matches, if any is looked up: fn may have changed the table since the
 * last one was looked for. */
static int next_ended(struct acefind *f, uint64_t now)
{
	for (struct acefind_swarm *w = f->first; w; w = w->next)
		for (uint32_t i = 0; i < w->nkeys; i++) {
			struct acefind_key *k = &w->key[i];

			if (k->looking_ms && !k->at_work &&
			    now - k->looking_ms >= POLL_MS) {
				looked(f, w, k, now);
				return 1;
			}
		}
	return 0;
}

static void polled(struct acefind *f)
{
	uint64_t now = clock_ms();

	for (struct acefind_swarm *w = f->first; w; w = w->next)
		for (uint32_t i = 0; i < w->nkeys; i++)
			if (now - w->key[i].looking_ms >= ACEFIND_LOOKUP_MS)
				w->key[i].at_work = 0; /* whatever it does there */
	while (f->lookups && next_ended(f, now))
		;
	for (struct acefind_swarm *w = f->first; w; w = w->next)
		for (uint32_t i = 0; i < w->nkeys; i++)
			w->key[i].at_work = 0;
}

/* A key that an engine resolved and an id that was asked for as it is may be the same, in
 * two swarms: each is told. The table is walked anew after each, as fn may have changed it.
 * None: a torrent of the session is announced. */
static void heard(struct acefind *f, const struct lt_event *e)
{
	struct acefind_swarm *w = f->first;

	f->heard++;
	while (w) {
		struct acefind_key *k = acefind_key(w, e->id);
		struct acefind_swarm *next = w->next;

		if (k && k->looking_ms && k->heard != f->heard) {
			k->heard = f->heard;
			k->at_work |= e->kind == LT_DHT_AT_WORK;
			if (e->kind == LT_DHT_FOUND) {
				found(f, w, k, e);
				next = f->first;
			}
		}
		w = next;
	}
}

void acefind_event(struct acefind *f, const struct lt_event *e)
{
	if (f->suspended || f->lookups == 0)
		return;
	if (e->kind == LT_STATS)
		polled(f);
	else if (e->kind == LT_DHT_FOUND || e->kind == LT_DHT_AT_WORK)
		heard(f, e);
}
