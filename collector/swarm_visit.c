/*
 * swarm_visit.c -- whom to dial, in which way, and when again; when to tell trackers.
 * See swarm.h.
 */
#include <string.h>

#include "collector/swarm.h"

void swarm_want(struct swarm *w, struct peer *p, enum lt_way way)
{
	w->plans += p->next == 0;
	p->next = (uint8_t)(way + 1);
}

void swarm_unwant(struct swarm *w, struct peer *p)
{
	w->plans -= p->next != 0;
	p->next = 0;
}

static unsigned bit(int way)
{
	return 1u << way;
}

/* A transport, with whichever hash. */
static unsigned bits(enum lt_way way)
{
	return bit(way) | bit(way + LT_WAY_V2);
}

/* A way that stood, with the other hash of a hybrid; -1: none, or both were said. */
static int other_hash(const struct swarm *w, const struct peer *p)
{
	if (!w->ih.has_v1 || !w->ih.has_v2)
		return -1;
	for (int way = 0; way < LT_WAYS; way++) {
		int other = (way + LT_WAY_V2) % LT_WAYS;

		if ((p->stood & bit(way)) && !(p->tried & bit(other)))
			return other;
	}
	return -1;
}

/* The way to go after one failed; -1: all were tried. */
static int next_way(const struct swarm *w, const struct peer *p)
{
	int other = other_hash(w, p);

	/* Whoever accepts a connection and then hangs up wants something else on it. */
	if (other >= 0)
		return other;
	if ((p->stood & ~bits(LT_WAY_UTP)) && !(p->tried & bits(LT_WAY_ENCRYPTED)))
		return LT_WAY_ENCRYPTED;
	if (!(p->tried & bits(LT_WAY_UTP)))
		return LT_WAY_UTP;
	return p->tried & bits(LT_WAY_PLAIN) ? -1 : LT_WAY_PLAIN;
}

void swarm_attempt_failed(struct swarm *w, struct peer *p, const struct lt_event *e,
			  uint64_t now_ms)
{
	int way;

	if (e->connected)
		p->stood |= (uint8_t)bit(e->way);
	way = next_way(w, p);
	if (p->reached || p->next)
		return;
	if (way >= 0) {
		swarm_want(w, p, (enum lt_way)way);
		p->second_ms = now_ms;
	} else if (p->links == 0 && !p->failed) {
		/* once in a round: a uTP attempt may be two, encrypted and plain */
		p->failed = 1;
		p->fails++;
		swarm_ace_bt_failed(w, p, now_ms);
	}
}

size_t swarm_visits(struct swarm *w, uint64_t now_ms, struct swarm_visit *out, size_t max)
{
	size_t n = 0;

	for (uint32_t i = 0; i < w->npeers && n < max && w->plans; i++) {
		struct peer *p = &w->peer[i];

		if (p->next == 0)
			continue;
		out[n].way = (enum lt_way)(p->next - 1);
		memcpy(out[n].to.addr, p->addr, ADDR_LEN);
		out[n++].to.port = p->port;
		p->tried |= (uint8_t)bit(p->next - 1);
		if (p->dialled_ms == 0)
			p->dialled_ms = now_ms;
		swarm_unwant(w, p);
	}
	return n;
}

void swarm_visit_later(struct swarm *w, const struct swarm_visit *v)
{
	struct peer *p = swarm_find_peer(w, v->to.addr, v->to.port);

	if (!p || p->next)
		return;
	p->tried &= (uint8_t)~bit(v->way);
	swarm_want(w, p, v->way);
}

static void look_for_silence(struct swarm *w, struct peer *p, uint64_t now_ms)
{
	if (p->links == 0 || p->reached || p->next || p->state == PEER_CONNECTED ||
	    now_ms - p->dialled_ms < SWARM_SILENT_MS || (p->tried & bits(LT_WAY_UTP)))
		return;
	swarm_want(w, p, LT_WAY_UTP);
	if (p->second_ms == 0)
		p->second_ms = now_ms;
}

static int is_under_way(const struct peer *p, uint64_t now_ms)
{
	return p->links || p->next ||
	       (p->tried && !p->reached && !p->failed &&
		now_ms - p->dialled_ms < SWARM_ROUND_MS);
}

/* A peer that was never reached is tried in all ways again, a few times. */
static void visit_again(struct swarm *w, struct peer *p, uint64_t now_ms)
{
	if (p->state == PEER_CONNECTED || is_under_way(p, now_ms) || !p->dialled ||
	    p->fails >= SWARM_FAILS || !swarm_ace_bt_may(w, p, now_ms))
		return;
	p->tried = p->reached = p->stood = p->failed = 0;
	p->dialled_ms = 0;
	swarm_want(w, p, p->way ? (enum lt_way)(p->way - 1) : LT_WAY_PLAIN);
}

void swarm_plan(struct swarm *w, uint64_t now_ms, uint64_t gap_ms, uint64_t max_ms)
{
	int due = w->revisit_ms && now_ms >= w->revisit_ms;

	for (uint32_t i = 0; i < w->npeers; i++) {
		look_for_silence(w, &w->peer[i], now_ms);
		if (due)
			visit_again(w, &w->peer[i], now_ms);
	}
	if (w->revisit_ms == 0) {
		if (w->round_done)
			w->revisit_ms =
				now_ms +
				(gap_ms < SWARM_AGAIN_MS ? gap_ms : SWARM_AGAIN_MS);
		return;
	}
	if (!due)
		return;
	w->revisit_gap_ms = w->revisit_gap_ms ? w->revisit_gap_ms * 2 : gap_ms;
	if (w->revisit_gap_ms > max_ms)
		w->revisit_gap_ms = max_ms;
	w->revisit_ms = now_ms + w->revisit_gap_ms;
}

void swarm_plan_metadata(struct swarm *w, uint64_t now_ms)
{
	uint64_t gap;

	if (w->pieces || !w->offered_ms || now_ms < w->metadata_ms ||
	    now_ms - w->offered_ms < SWARM_METADATA_LATE_MS)
		return;
	gap = SWARM_METADATA_APART_MS +
	      (uint64_t)w->metadata_visits * SWARM_METADATA_STEP_MS;
	gap = gap < SWARM_METADATA_GAP_MS ? gap : SWARM_METADATA_GAP_MS;
	for (uint32_t i = 0; i < w->npeers; i++) {
		uint32_t at = (w->metadata_turn + i) % w->npeers;
		struct peer *p = &w->peer[at];

		if (p->state != PEER_CONNECTED || p->next || !p->links)
			continue;
		swarm_want(w, p, p->way ? (enum lt_way)(p->way - 1) : LT_WAY_PLAIN);
		w->metadata_turn = at + 1;
		w->metadata_visits++;
		w->metadata_ms = now_ms + gap;
		return;
	}
}

int swarm_keep_interval(struct swarm *w, uint64_t at_ms, uint64_t gap_ms, uint64_t now_ms)
{
	if (at_ms == 0 || now_ms - at_ms >= gap_ms)
		return 0;
	w->announced_ms = at_ms;
	w->trackers_at_ms = at_ms + gap_ms;
	w->trackers_expected = 0;
	return 1;
}
