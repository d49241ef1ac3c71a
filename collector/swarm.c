/*
 * swarm.c -- see swarm.h.
 */
#include "collector/swarm.h"

#include <stdlib.h>
#include <string.h>

void swarm_free(struct swarm *w)
{
	free(w->peer);
	free(w->hash);
	free(w);
}

const uint8_t *swarm_infohash(const struct swarm *w)
{
	if (w->ih.has_v1)
		return w->ih.v1;
	return w->ih.has_v2 ? w->ih.v2 : w->id;
}

int swarm_has_hash(const struct swarm *w, const uint8_t id[IH_LEN])
{
	return memcmp(w->id, id, IH_LEN) == 0 ||
	       (w->ih.has_v1 && memcmp(w->ih.v1, id, IH_LEN) == 0) ||
	       (w->ih.has_v2 && memcmp(w->ih.v2, id, IH_LEN) == 0);
}

/* ---- peers of one swarm: an array, and a hash of endpoints -------------- */

static uint32_t endpoint_hash(const uint8_t addr[ADDR_LEN], uint16_t port)
{
	uint32_t h = 2166136261u ^ port;

	for (int i = 0; i < ADDR_LEN; i++)
		h = (h ^ addr[i]) * 16777619u;
	return h ^ (h >> 15);
}

static void hash_put(struct swarm *w, uint32_t index)
{
	const struct peer *p = &w->peer[index];
	uint32_t i = endpoint_hash(p->addr, p->port) & (w->hash_size - 1);

	while (w->hash[i])
		i = (i + 1) & (w->hash_size - 1);
	w->hash[i] = index + 1;
}

static void hash_rebuild(struct swarm *w)
{
	memset(w->hash, 0, w->hash_size * sizeof(*w->hash));
	for (uint32_t i = 0; i < w->npeers; i++)
		hash_put(w, i);
}

struct peer *swarm_find_peer(const struct swarm *w, const uint8_t addr[ADDR_LEN],
			     uint16_t port)
{
	uint32_t i;

	if (w->npeers == 0)
		return NULL;
	i = endpoint_hash(addr, port) & (w->hash_size - 1);
	for (; w->hash[i]; i = (i + 1) & (w->hash_size - 1)) {
		struct peer *p = &w->peer[w->hash[i] - 1];

		if (p->port == port && memcmp(p->addr, addr, ADDR_LEN) == 0)
			return p;
	}
	return NULL;
}

/* Room for one more; the hash is kept at most half full. */
static int peers_grow(struct swarm *w)
{
	uint32_t cap = w->cap ? w->cap * 2 : 16, hash_size = 32;
	struct peer *peer;
	uint32_t *hash;

	if (cap > CONF_SLOT_PEERS)
		cap = CONF_SLOT_PEERS;
	while (hash_size < 2 * cap)
		hash_size *= 2;
	peer = realloc(w->peer, cap * sizeof(*peer));
	if (!peer)
		return -1;
	w->peer = peer;
	hash = realloc(w->hash, hash_size * sizeof(*hash));
	if (!hash)
		return -1;
	w->hash = hash;
	w->hash_size = hash_size;
	w->cap = cap;
	hash_rebuild(w);
	return 0;
}

/* Takes peer i out; the last one moves into its place. The hash is stale after. */
static void peer_cut(struct swarm *w, uint32_t i)
{
	swarm_unwant(w, &w->peer[i]);
	swarm_ace_gone(w, &w->peer[i]);
	w->npeers--;
	if (i != w->npeers)
		w->peer[i] = w->peer[w->npeers];
}

/* At max_peers the longest unseen of the least known gives way, but never one that is
 * connected, and for a mere endpoint none that once shook hands: or whoever sends PEX
 * could flush the list. */
static int make_room(struct swarm *w, enum peer_state newcomer)
{
	uint32_t worst = UINT32_MAX;

	for (uint32_t i = 0; i < w->npeers; i++) {
		const struct peer *p = &w->peer[i],
				  *o = &w->peer[worst == UINT32_MAX ? i : worst];

		if (p->state == PEER_CONNECTED || p->links || p->ace.calling)
			continue;
		if (p->state == PEER_CONTACTED && newcomer < PEER_CONTACTED)
			continue;
		if (worst == UINT32_MAX || p->state < o->state ||
		    (p->state == o->state && p->last_seen_s < o->last_seen_s))
			worst = i;
	}
	if (worst == UINT32_MAX)
		return -1;
	peer_cut(w, worst);
	hash_rebuild(w);
	return 0;
}

struct peer *swarm_add_peer(struct swarm *w, const uint8_t addr[ADDR_LEN], uint16_t port,
			    enum peer_state as, uint64_t now_ms, uint32_t now_s,
			    struct swarm_news *news)
{
	struct peer *p;

	while (w->npeers >= w->max_peers) { /* more than one after a reload */
		if (make_room(w, as) != 0)
			return NULL;
		if (news)
			news->evicted++;
	}
	if (w->npeers == w->cap && peers_grow(w) != 0)
		return NULL;
	p = &w->peer[w->npeers++];
	memset(p, 0, sizeof(*p));
	memcpy(p->addr, addr, ADDR_LEN);
	p->port = port;
	p->first_seen_s = p->last_seen_s = now_s;
	swarm_ace_fresh(w, p, now_ms);
	hash_put(w, w->npeers - 1);
	w->grew_ms = now_ms;
	if (news)
		news->fresh = p;
	return p;
}

void swarm_forget(struct swarm *w, const uint8_t addr[ADDR_LEN], uint16_t port)
{
	struct peer *p = swarm_find_peer(w, addr, port);

	if (!p)
		return;
	peer_cut(w, (uint32_t)(p - w->peer));
	hash_rebuild(w);
	w->important = 1;
}

uint32_t swarm_expire(struct swarm *w, uint32_t before_s, uint64_t now_ms)
{
	uint32_t gone = 0;

	for (uint32_t i = w->npeers; i-- > 0;) {
		const struct peer *p = &w->peer[i];

		if (p->state == PEER_CONNECTED || p->links || p->last_seen_s >= before_s)
			continue;
		if (p->ace.calling || swarm_ace_reached(w, p, now_ms))
			continue;
		peer_cut(w, i);
		gone++;
	}
	if (gone)
		hash_rebuild(w);
	return gone;
}

struct peer *swarm_seed(struct swarm *w, const struct shm_peer *s, uint64_t now_ms)
{
	struct peer *p;

	if (s->port == 0 || swarm_find_peer(w, s->addr, s->port))
		return NULL;
	p = swarm_add_peer(w, s->addr, s->port, s->state, now_ms, s->last_seen_s, NULL);
	if (!p)
		return NULL;
	p->state = s->state == PEER_CONNECTED ? PEER_CONTACTED : s->state;
	p->sources = s->sources;
	p->flags = s->flags;
	p->progress = s->progress;
	p->first_seen_s = s->first_seen_s;
	p->client = s->client;
	p->place = s->place;
	return p;
}

int swarm_knows(const struct swarm *w, const uint8_t addr[ADDR_LEN], uint16_t port)
{
	return swarm_find_peer(w, addr, port) != NULL;
}

struct peer *swarm_give(struct swarm *w, const uint8_t addr[ADDR_LEN], uint16_t port,
			uint64_t now_ms, uint32_t now_s, struct swarm_news *news)
{
	struct peer *p = swarm_find_peer(w, addr, port);

	memset(news, 0, sizeof(*news));
	if (!p)
		p = swarm_add_peer(w, addr, port, PEER_KNOWN, now_ms, now_s, news);
	if (!p)
		return NULL;
	p->last_seen_s = now_s;
	w->changed_ms = now_ms;
	if (p->sources & PEER_SRC_GIVEN)
		return p;
	swarm_ace_named(w, p, PEER_SRC_GIVEN, now_ms);
	p->sources |= PEER_SRC_GIVEN;
	if (p->fails)
		p->fails--; /* as with any other source that is new to it */
	w->important = 1;
	return p;
}

void swarm_hang_up(struct swarm *w)
{
	for (uint32_t i = 0; i < w->npeers; i++) {
		struct peer *p = &w->peer[i];

		if (p->state == PEER_CONNECTED)
			p->state = PEER_CONTACTED;
		swarm_unwant(w, p);
		p->links = p->dialled = p->told = 0;
		p->tried = p->reached = p->stood = p->failed = 0;
		p->dialled_ms = p->second_ms = 0;
	}
	w->revisit_ms = w->revisit_gap_ms = 0;
}

void swarm_rejoin(struct swarm *w, uint64_t now_ms)
{
	swarm_hang_up(w);
	for (uint32_t i = 0; i < w->npeers; i++) {
		struct peer *p = &w->peer[i];

		p->shaken_ms = 0;
		if (p->ace.speaks != PEER_ACESTREAM)
			p->down_rate = p->up_rate = 0;
	}
	if (!swarm_ace_alone(w))
		w->ntrackers = w->said = w->counted_by = 0;
	swarm_ace_rejoin(w, now_ms);
	w->dht_at_s = 0;
	w->round_done = 0;
	for (uint32_t i = 0; i < SWARM_IDS; i++)
		w->ids[i].had_slot |= w->ids[i].written;
	w->joined_ms = w->grew_ms = now_ms;
	w->changed_ms = now_ms;
}

/* What one of two lists knows of a peer that is in both. */
static void peer_absorb(struct peer *p, const struct peer *o)
{
	p->sources |= o->sources;
	p->flags |= o->flags;
	if (o->state > p->state)
		p->state = o->state;
	if (o->progress > p->progress)
		p->progress = o->progress;
	if (o->first_seen_s < p->first_seen_s)
		p->first_seen_s = o->first_seen_s;
	if (o->last_seen_s > p->last_seen_s)
		p->last_seen_s = o->last_seen_s;
	if (!p->client)
		p->client = o->client;
	if (!p->place)
		p->place = o->place;
}

void swarm_absorb(struct swarm *w, const struct swarm *from, uint64_t now_ms)
{
	for (uint32_t i = 0; i < from->npeers; i++) {
		const struct peer *o = &from->peer[i];
		struct peer *p = swarm_find_peer(w, o->addr, o->port);

		if (p) {
			peer_absorb(p, o);
			continue;
		}
		p = swarm_add_peer(w, o->addr, o->port, o->state, now_ms, o->last_seen_s,
				   NULL);
		if (p) {
			*p = *o;
			p->links = p->dialled = p->told = 0;
			swarm_ace_fresh(w, p, now_ms); /* other keys, other twins */
		}
	}
	if (!w->pieces)
		w->pieces = from->pieces;
	if (!w->title)
		w->title = from->title;
	if (from->places_owed)
		w->places_owed = from->places_owed;
	w->changed_ms = now_ms;
	w->important = 1;
}

/* ---- events -------------------------------------------------------------- */

static void set_progress(const struct swarm *w, struct peer *p)
{
	uint32_t all = w->pieces ? w->pieces : p->pieces;

	p->flags &= (uint8_t)~PEER_F_SEED;
	if (p->have == LT_ALL_PIECES || (all && p->have >= all) ||
	    (p->likely_seed && !w->pieces)) {
		p->progress = 10000;
		p->flags |= PEER_F_SEED;
	} else if (all) {
		p->progress = (uint16_t)((uint64_t)p->have * 10000 / all);
	}
}

static void on_handshake(struct swarm *w, struct peer *p, const struct lt_event *e,
			 uint64_t now_ms, struct swarm_news *news)
{
	news->contacted = p->state < PEER_CONTACTED;
	if (p->links == 0 || (e->incoming && p->links < UINT8_MAX))
		p->links++; /* an incoming one was not dialled */
	p->state = PEER_CONNECTED;
	p->shaken_ms = now_ms;
	p->dialled = p->reached = 1;
	p->fails = 0;
	swarm_unwant(w, p);
	swarm_ace_bt_answered(w, p, now_ms);
	if (!e->incoming)
		p->way = (uint8_t)(e->way + 1);
	p->flags = (uint8_t)((p->flags & PEER_F_SEED) | e->flags);
	if (e->incoming)
		p->sources |= PEER_SRC_INCOMING;
	if (!e->extended) {
		p->told |= TOLD_NO_EXTENSION;
		p->named_ms = now_ms;
	}
	if (e->text[0] && !(p->told & TOLD_CLIENT))
		news->named = p;
}

static int on_told(struct swarm *w, struct peer *p, const struct lt_event *e,
		   uint64_t now_ms, struct swarm_news *news)
{
	int important = 0;

	p->down_rate = e->down_rate;
	p->up_rate = e->up_rate;
	p->flags = (uint8_t)((p->flags & PEER_F_SEED) | e->flags);
	if (e->extended && !(p->told & TOLD_CLIENT)) {
		p->told |= TOLD_CLIENT;
		p->named_ms = now_ms;
		important = 1;
	}
	if (e->text[0])
		news->named = p;
	if (e->metadata && !w->offered_ms)
		w->offered_ms = now_ms;
	if (e->pieces && (p->have != e->have || !(p->told & TOLD_PIECES))) {
		p->told |= TOLD_PIECES;
		p->have = e->have;
		p->pieces = e->pieces;
		p->likely_seed = e->likely_seed;
		set_progress(w, p);
		important = 1;
	}
	return important;
}

static void on_gone(struct swarm *w, struct peer *p, const struct lt_event *e,
		    uint64_t now_ms)
{
	p->dialled = 1;
	p->down_rate = p->up_rate = 0;
	swarm_ace_bt_ended(p, now_ms);
	if (p->links)
		p->links--;
	if (p->links == 0 && p->state == PEER_CONNECTED)
		p->state = PEER_CONTACTED;
	if (p->state == PEER_KNOWN)
		p->state = PEER_TRIED;
	if (e->forget)
		swarm_forget(w, e->addr, e->port);
	else if (!e->incoming)
		swarm_attempt_failed(w, p, e, now_ms);
}

static void peer_event(struct swarm *w, const struct lt_event *e, uint64_t now_ms,
		       uint32_t now_s, struct swarm_news *news)
{
	struct peer *p = swarm_find_peer(w, e->addr, e->port);
	int important = 1;

	if (!p && e->kind != LT_PEER_GONE && e->kind != LT_PEER_TOLD && e->port != 0)
		p = swarm_add_peer(w, e->addr, e->port,
				   e->kind == LT_PEER_HANDSHAKE ? PEER_CONNECTED
								: PEER_KNOWN,
				   now_ms, now_s, news);
	if (!p)
		return;
	switch (e->kind) {
	case LT_PEER_LEARNED:
		/* no source: we told the session of it ourselves, from an earlier life */
		if (e->source)
			p->last_seen_s = now_s;
		if ((e->source & ~p->sources) && p->fails)
			p->fails--; /* somebody else can reach it, it seems */
		swarm_ace_named(w, p, e->source, now_ms);
		p->sources |= e->source;
		if (e->source)
			swarm_ace_under(w, p, 0, now_ms); /* its key in the session */
		if (e->filtered)
			swarm_ace_filtered(w, p);
		/* new to us, or given by us as such, but the session has dialled it before
		 * we forgot it */
		if (e->again && (news->fresh || !e->source) && !p->dialled && !p->links)
			swarm_want(w, p, LT_WAY_PLAIN);
		important = news->fresh != NULL;
		break;
	case LT_PEER_DIALLED:
		if (p->links < UINT8_MAX)
			p->links++;
		if (p->state == PEER_KNOWN)
			p->state = PEER_TRIED;
		/* A visit's way was noted when it was taken; the second of a uTP attempt may
		 * be of the round before. */
		if (e->way == LT_WAY_PLAIN)
			p->tried |= 1u << LT_WAY_PLAIN;
		if (p->dialled_ms == 0)
			p->dialled_ms = now_ms;
		important = 0;
		break;
	case LT_PEER_HANDSHAKE:
		p->last_seen_s = now_s;
		p->sources |= e->source;
		on_handshake(w, p, e, now_ms, news);
		break;
	case LT_PEER_TOLD:
		p->last_seen_s = now_s;
		important = on_told(w, p, e, now_ms, news);
		break;
	case LT_PEER_GONE: on_gone(w, p, e, now_ms); break;
	}
	w->changed_ms = now_ms;
	w->important |= important;
}

/* Once all that are configured are known, an answer of another is a late one of a
 * tracker that a reload took away. */
static struct swarm_tracker *tracker_of(struct swarm *w, uint32_t hash)
{
	for (uint32_t i = 0; i < w->ntrackers; i++)
		if (w->tracker[i].hash == hash)
			return &w->tracker[i];
	if (w->ntrackers == SWARM_TRACKERS || w->ntrackers >= w->trackers_expected)
		return NULL;
	memset(&w->tracker[w->ntrackers], 0, sizeof(w->tracker[0]));
	w->tracker[w->ntrackers].hash = hash;
	return &w->tracker[w->ntrackers++];
}

/* A tracker is asked from each of our addresses. From one that can't reach it nothing
 * new is heard of a tracker that has answered another; what it says itself is news. */
static void tracker_failed(struct swarm_tracker *t, const struct lt_event *e,
			   struct swarm_news *news)
{
	news->tracker_failed =
		!t->ok || e->n == LT_FAIL_ANSWERED || e->n == LT_FAIL_GARBLED;
	t->failed = (uint8_t)(e->n ? e->n : LT_FAIL_SILENT);
}

static void tracker_event(struct swarm *w, struct swarm_tracker *t,
			  const struct lt_event *e, struct swarm_news *news)
{
	if (!t)
		return;
	if (e->kind == LT_TRACKER_ASKED) {
		if (t->asked < UINT16_MAX)
			t->asked++;
		return;
	}
	if (t->answered < UINT16_MAX)
		t->answered++;
	if (e->kind == LT_TRACKER_FAILED) {
		tracker_failed(t, e, news);
		return;
	}
	t->ok = 1;
	if (w->said_by == t->hash)
		w->said = 0; /* that is over */
}

static void on_metadata(struct swarm *w, uint32_t pieces)
{
	w->pieces = pieces;
	for (uint32_t i = 0; i < w->npeers; i++)
		if (w->peer[i].told & TOLD_PIECES)
			set_progress(w, &w->peer[i]);
}

/* The numbers and their time are those of one tracker: the one that counts most. What it
 * says now stands for what it said before; a number of an earlier life for nothing. */
static int counts_more(const struct swarm *w, const struct lt_event *e)
{
	return e->tracker == w->counted_by || w->counted_by == 0 ||
	       (int64_t)e->seeds + e->leechers >= (int64_t)w->seeds + w->leechers;
}

void swarm_event(struct swarm *w, const struct lt_event *e, uint64_t now_ms,
		 uint32_t now_s, struct swarm_news *news)
{
	memset(news, 0, sizeof(*news));
	switch (e->kind) {
	case LT_TRACKER_OK:
	case LT_TRACKER_ASKED:
		w->announced_ms = now_ms;
		tracker_event(w, tracker_of(w, e->tracker), e, news);
		break;
	case LT_TRACKER_FAILED:
		tracker_event(w, tracker_of(w, e->tracker), e, news);
		break;
	case LT_SCRAPE:
		if (!counts_more(w, e))
			return;
		w->seeds = e->seeds;
		w->leechers = e->leechers;
		w->tracker_at_s = now_s;
		w->counted_by = e->tracker;
		break;
	case LT_DHT_REPLY:
		w->dht_peers = e->n > 0 ? (uint32_t)e->n : 0;
		w->dht_at_s = now_s;
		break;
	case LT_METADATA:
		on_metadata(w, e->pieces);
		w->important = 1;
		break;
	case LT_CONFLICT: return; /* ids.c sees to it */
	default: peer_event(w, e, now_ms, now_s, news); return;
	}
	w->changed_ms = now_ms;
}

/* Of acestream.trackers one is known from when it is asked on. */
static struct swarm_tracker *ace_tracker_of(struct swarm *w, const struct lt_event *e)
{
	struct swarm_tracker *t = w->ace_tracker;

	for (; t < w->ace_tracker + w->nace_trackers; t++)
		if (t->hash == e->tracker)
			return t;
	if (e->kind != LT_TRACKER_ASKED || w->nace_trackers == SWARM_TRACKERS)
		return NULL;
	memset(t, 0, sizeof(*t));
	t->hash = e->tracker;
	w->nace_trackers++;
	return t;
}

void swarm_ace_tracker(struct swarm *w, const struct lt_event *e, uint64_t now_ms,
		       uint32_t now_s, struct swarm_news *news)
{
	if (e->kind == LT_SCRAPE) {
		swarm_event(w, e, now_ms, now_s, news);
		return;
	}
	memset(news, 0, sizeof(*news));
	tracker_event(w, ace_tracker_of(w, e), e, news);
	w->changed_ms = now_ms;
}
