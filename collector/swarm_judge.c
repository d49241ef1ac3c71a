/*
 * swarm_judge.c -- what to make of a swarm: is the first round over, which phase is
 * it in, why is it empty, and its list as others get to see it. See swarm.h.
 */
#include <stdlib.h>
#include <string.h>

#include "collector/swarm.h"

/* One answer is enough: a tracker is asked from each of our addresses. */
static int tracker_answered(const struct swarm_tracker *t)
{
	return t->ok || (t->failed && t->answered >= t->asked);
}

static int trackers_done(const struct swarm *w)
{
	if (w->ntrackers < w->trackers_expected)
		return 0;
	for (uint32_t i = 0; i < w->ntrackers; i++)
		if (!tracker_answered(&w->tracker[i]))
			return 0;
	return 1;
}

/* The first of several times to look again; 0: none yet. */
static void look_at(uint64_t when_ms, uint64_t *recheck_ms)
{
	if (*recheck_ms == 0 || when_ms < *recheck_ms)
		*recheck_ms = when_ms;
}

/* One that is not connected. The first round does not wait long for a second way; the
 * swarm is not settled before it is clear (a uTP peer that refuses encryption is dialled
 * plain a second later). */
static int away_done(const struct peer *p, int settled, uint64_t now_ms,
		     uint64_t *recheck_ms)
{
	int idle = p->dialled && p->links == 0 && !p->next;
	uint64_t end = p->second_ms + (settled ? SWARM_CLEAR_MS : SWARM_SECOND_MS);

	/* revisited, or hopeless: its turn is over */
	if (p->fails >= SWARM_FAILS || (p->state == PEER_CONTACTED && p->shaken_ms))
		return 1;
	if (p->second_ms == 0)
		return idle || p->fails;
	if (now_ms >= end)
		return !settled || idle || p->fails;
	look_at(end, recheck_ms);
	return 0;
}

/* 1: nothing more is to be expected of this peer now; else 0, and *recheck_ms. */
static int peer_done(const struct peer *p, int settled, uint64_t now_ms,
		     uint64_t *recheck_ms)
{
	int named = p->told & (TOLD_CLIENT | TOLD_NO_EXTENSION);
	uint64_t end =
		named ? p->named_ms + SWARM_PIECES_MS : p->shaken_ms + SWARM_TELL_MS;

	if (p->state != PEER_CONNECTED)
		return away_done(p, settled, now_ms, recheck_ms);
	if ((named && (p->told & TOLD_PIECES)) || now_ms >= end)
		return 1;
	look_at(end, recheck_ms);
	return 0;
}

static int peers_done(const struct swarm *w, int settled, uint64_t now_ms,
		      uint64_t *recheck_ms)
{
	int done = 1;

	for (uint32_t i = 0; i < w->npeers; i++) {
		const struct peer *p = &w->peer[i];

		if (p->ace.turn == PEER_ACESTREAM)
			done &= swarm_ace_done(p, now_ms, recheck_ms);
		else
			done &= peer_done(p, settled, now_ms, recheck_ms);
	}
	return done;
}

int swarm_round_done(struct swarm *w, uint64_t now_ms, uint64_t *recheck_ms)
{
	*recheck_ms = 0;
	if (w->round_done)
		return 1;
	if (!trackers_done(w) || swarm_ace_waits(w))
		return 0;
	/* Trackers that know nobody say little while the DHT has not answered. */
	if ((w->npeers == 0 || (w->trackers_expected == 0 && !w->trackers_at_ms)) &&
	    w->dht && !w->dht_at_s && !swarm_ace_alone(w))
		return 0;
	if (!peers_done(w, 0, now_ms, recheck_ms))
		return 0;
	if (!w->pieces && w->offered_ms && now_ms < w->offered_ms + SWARM_METADATA_MS) {
		*recheck_ms = w->offered_ms + SWARM_METADATA_MS;
		return 0;
	}
	w->round_done = 1;
	return 1;
}

enum swarm_phase swarm_phase(const struct swarm *w, uint64_t now_ms)
{
	uint64_t recheck;

	if (!w->round_done)
		return SWARM_JOINING;
	if (w->npeers == 0 && now_ms - w->joined_ms >= SWARM_DEAD_MS)
		return SWARM_DEAD;
	if (!trackers_done(w) || now_ms - w->grew_ms < SWARM_QUIET_MS)
		return SWARM_COLLECTING;
	if (w->npeers == 0 && w->dht && !w->dht_at_s)
		return SWARM_COLLECTING;
	return peers_done(w, 1, now_ms, &recheck) ? SWARM_SETTLED : SWARM_COLLECTING;
}

/* All that were asked, or are to be. */
static uint32_t all_trackers(const struct swarm *w)
{
	uint32_t n =
		w->ntrackers > w->trackers_expected ? w->ntrackers : w->trackers_expected;

	return n + w->nace_trackers;
}

/* How many failed with an answer that is none, and for their names. */
static void count_failed(const struct swarm_tracker *t, uint32_t n, uint32_t *said,
			 uint32_t *unnamed)
{
	for (uint32_t i = 0; i < n; i++) {
		*said +=
			t[i].failed == LT_FAIL_ANSWERED || t[i].failed == LT_FAIL_GARBLED;
		*unnamed += t[i].failed == LT_FAIL_NAME;
	}
}

/* No tracker's answer helped, and the DHT is off or silent. */
static enum swarm_why why_silent(const struct swarm *w)
{
	uint32_t said = 0, unnamed = 0;

	count_failed(w->tracker, w->ntrackers, &said, &unnamed);
	count_failed(w->ace_tracker, w->nace_trackers, &said, &unnamed);
	if (said)
		return WHY_TRACKERS_ERROR;
	if (unnamed && unnamed == all_trackers(w))
		return WHY_TRACKERS_NAMES;
	if (!w->dht)
		return WHY_TRACKERS_FAIL;
	return all_trackers(w) ? WHY_SILENCE : WHY_DHT_SILENT;
}

enum swarm_why swarm_why(const struct swarm *w)
{
	uint32_t ok = 0;

	if (w->npeers)
		return WHY_NONE;
	if (!w->trackers_expected && !w->trackers_at_ms && !w->dht &&
	    !(swarm_ace_on(w) && w->ace.has_trackers))
		return WHY_NO_SOURCE;
	if (!w->round_done)
		return WHY_JOINING;
	ok = w->ace.answered;
	for (uint32_t i = 0; i < w->ntrackers; i++)
		ok += w->tracker[i].ok;
	if (!ok && !w->dht_at_s)
		return why_silent(w);
	if (ok && w->dht_at_s)
		return WHY_NOBODY;
	if (ok)
		return w->dht ? WHY_NOBODY_NO_DHT : WHY_NOBODY_TRACKERS;
	return all_trackers(w) ? WHY_NOBODY_NO_TRACKER : WHY_NOBODY_DHT;
}

/* Best first: state, then last seen, then the address so that the order is stable. */
static int better(const void *a, const void *b)
{
	const struct shm_peer *x = a, *y = b;

	if (x->state != y->state)
		return x->state > y->state ? -1 : 1;
	if (x->last_seen_s != y->last_seen_s && x->state != PEER_CONNECTED)
		return x->last_seen_s > y->last_seen_s ? -1 : 1;
	return memcmp(x->addr, y->addr, sizeof(x->addr) + sizeof(x->port));
}

static void record(const struct swarm *w, const struct peer *p, uint32_t now_s,
		   struct shm_peer *out)
{
	memset(out, 0, sizeof(*out));
	memcpy(out->addr, p->addr, sizeof(out->addr));
	out->port = p->port;
	out->state = p->state;
	out->sources = p->sources;
	out->flags = p->flags;
	out->progress = p->progress;
	out->down_rate = p->down_rate;
	out->up_rate = p->up_rate;
	out->first_seen_s = p->first_seen_s;
	out->last_seen_s = p->state == PEER_CONNECTED ? now_s : p->last_seen_s;
	out->client = p->client;
	out->place = p->place;
	swarm_ace_record(w, p, out);
}

/* Peers as they are listed, a node of AceStream once; how many. */
static uint32_t records(struct swarm *w, uint32_t now_s, struct shm_swarm *head,
			struct shm_peer *out)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < w->npeers; i++) {
		struct peer *p = &w->peer[i];

		if (p->ace.twin)
			continue;
		if (p->state == PEER_CONNECTED) {
			p->last_seen_s = now_s;
			head->connected++;
		}
		head->contacted += p->state == PEER_CONTACTED;
		head->tried += p->state == PEER_TRIED;
		head->incoming |= (p->sources & PEER_SRC_INCOMING) != 0;
		record(w, p, now_s, &out[n++]);
	}
	qsort(out, n, sizeof(*out), better);
	return n;
}

/* In both lists: it counts once. */
static const struct swarm_tracker *same_tracker(const struct swarm *w, uint32_t hash)
{
	for (uint32_t i = 0; i < w->ntrackers; i++)
		if (w->tracker[i].hash == hash)
			return &w->tracker[i];
	return NULL;
}

static void count_trackers(const struct swarm *w, struct shm_swarm *head)
{
	for (uint32_t i = 0; i < w->ntrackers; i++) {
		head->trackers++;
		head->trackers_ok += w->tracker[i].ok;
	}
	for (uint32_t i = 0; i < w->nace_trackers; i++) {
		const struct swarm_tracker *same =
			same_tracker(w, w->ace_tracker[i].hash);

		head->trackers += !same;
		head->trackers_ok += w->ace_tracker[i].ok && !(same && same->ok);
	}
}

void swarm_snapshot(struct swarm *w, uint64_t now_ms, uint64_t wall_ms,
		    struct shm_swarm *head, struct shm_peer *out)
{
	uint32_t now_s = (uint32_t)(wall_ms / 1000);

	memset(head, 0, sizeof(*head));
	memcpy(head->id, w->id, sizeof(head->id));
	memcpy(head->infohash, swarm_infohash(w), sizeof(head->infohash));
	w->published_phase = swarm_phase(w, now_ms);
	head->phase = (uint8_t)w->published_phase;
	head->why = (uint8_t)swarm_why(w);
	head->verdict = VERDICT_UNKNOWN;
	swarm_ace_head(w, now_ms, now_s, head);
	head->cached_at_ms = wall_ms;
	head->npeers = head->total_peers = records(w, now_s, head, out);
	head->connected_at_s = now_s;
	head->tracker_seeds = w->seeds > 0 ? (uint32_t)w->seeds : 0;
	head->tracker_leechers = w->leechers > 0 ? (uint32_t)w->leechers : 0;
	head->tracker_at_s = w->seeds < 0 && w->leechers < 0 ? 0 : w->tracker_at_s;
	head->dht_peers = w->dht_peers;
	head->dht_at_s = w->dht_at_s;
	head->pieces = w->pieces;
	count_trackers(w, head);
	head->tracker_said = w->said;
	head->title = w->title;
	head->joined_at_s = (uint32_t)((wall_ms - (now_ms - w->joined_ms)) / 1000);
	head->has_v2 = w->ih.has_v2;
	memcpy(head->v2, w->ih.v2, sizeof(head->v2));
	w->changed_ms = 0;
	w->important = 0;
}
