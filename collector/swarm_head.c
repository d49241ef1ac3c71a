/*
 * swarm_head.c -- where a live stream is: its head, who lags behind it, and whether it
 * moves on at all. See swarm_ace.h; contracts/acestream-wire.md, section 4.
 *
 * The head is the greatest claim that is believed. A claim is believed if a peer at another
 * address claims about the same: pieces that the time between both samples explains, and
 * ACE_SPAN. Where no ACE_QUORUM addresses agree on anything, a peer is believed, too, whose
 * head was seen to move on at a sane pace; among them that would be one liar's word against
 * all of theirs. So one liar never wins against a few honest peers, nor do several at one
 * address; who is in league with another address does. Where nobody agrees with anybody,
 * it is the second greatest, or the only one.
 */
#include <string.h>

#include "collector/swarm.h"

/* Greatest claims looked at before nobody is believed. */
#define CLAIMS_MAX 32
/* Addresses that agree with each other. */
#define ACE_QUORUM 3
/* Claims looked at before there is none: each is compared with all others. */
#define QUORUM_TRIES 256

static int claims(const struct swarm *w, const struct peer *p, uint64_t now_ms)
{
	return p->ace.head != SHM_UNKNOWN && p->ace.sampled_ms && !p->ace.twin &&
	       swarm_ace_reached(w, p, now_ms);
}

static uint64_t apart(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

/* Fewest milliseconds that a piece may take: measured ones vary. */
static uint64_t piece_least_ms(const struct swarm *w)
{
	uint64_t half = w->ace.piece_ms / 2;

	return half > ACE_PIECE_LEAST_MS ? half : ACE_PIECE_LEAST_MS;
}

static int same_addr(const struct peer *p, const struct peer *q)
{
	return memcmp(p->addr, q->addr, ADDR_LEN) == 0;
}

static int agree(const struct swarm *w, const struct peer_ace *a,
		 const struct peer_ace *b)
{
	uint64_t time = apart(a->sampled_ms, b->sampled_ms) / piece_least_ms(w);

	return apart(a->head, b->head) <= ACE_SPAN + time;
}

/* Other addresses that agree with p, up to ACE_QUORUM - 1. */
static int supporters(const struct swarm *w, const struct peer *p, uint64_t now_ms)
{
	const struct peer *other[ACE_QUORUM - 1];
	int n = 0;

	for (uint32_t i = 0; i < w->npeers && n < ACE_QUORUM - 1; i++) {
		const struct peer *q = &w->peer[i];

		if (!claims(w, q, now_ms) || same_addr(p, q) ||
		    !agree(w, &p->ace, &q->ace))
			continue;
		if (n == 0 || !same_addr(q, other[n - 1]))
			other[n++] = q;
	}
	return n;
}

static int has_quorum(const struct swarm *w, uint64_t now_ms)
{
	int tries = 0;

	for (uint32_t i = 0; i < w->npeers && tries < QUORUM_TRIES; i++) {
		const struct peer *p = &w->peer[i];

		if (!claims(w, p, now_ms))
			continue;
		if (supporters(w, p, now_ms) == ACE_QUORUM - 1)
			return 1;
		tries++;
	}
	return 0;
}

static int is_believed(const struct swarm *w, const struct peer *p, uint64_t now_ms)
{
	return supporters(w, p, now_ms) || (p->ace.moved && !has_quorum(w, now_ms));
}

/* The greatest claim below that; of several the one told last. NULL: none. */
static const struct peer *greatest(const struct swarm *w, uint32_t below, uint64_t now_ms)
{
	const struct peer *best = NULL;

	for (uint32_t i = 0; i < w->npeers; i++) {
		const struct peer *p = &w->peer[i];

		if (!claims(w, p, now_ms) || p->ace.head >= below)
			continue;
		if (!best || p->ace.head > best->ace.head ||
		    (p->ace.head == best->ace.head &&
		     p->ace.sampled_ms > best->ace.sampled_ms))
			best = p;
	}
	return best;
}

static const struct peer *believed(const struct swarm *w, uint64_t now_ms)
{
	const struct peer *first = greatest(w, SHM_UNKNOWN, now_ms), *second = NULL;
	const struct peer *p = first;

	for (int i = 0; p && i < CLAIMS_MAX; i++) {
		if (is_believed(w, p, now_ms))
			return p;
		if (!second && !same_addr(p, first))
			second = p;
		p = greatest(w, p->ace.head, now_ms);
	}
	return second ? second : first;
}

/* ---- lag ------------------------------------------------------------------------- */

/* The swarm's head when p was asked. -1: those times can't be compared. */
static int64_t head_then(const struct swarm *w, const struct peer_ace *a)
{
	const struct swarm_ace *s = &w->ace;
	int64_t head = s->head, dt = (int64_t)s->head_ms - (int64_t)a->sampled_ms;

	if (s->piece_ms && s->motion != MOTION_STALE)
		head -= dt / (int64_t)s->piece_ms;
	else if (apart(s->head_ms, a->sampled_ms) > ACE_APART_MS)
		return -1;
	return head;
}

static void measure_lag(const struct swarm *w, struct peer_ace *a)
{
	int64_t head;

	if (!a->sampled_ms)
		return; /* of an earlier life, or hearsay */
	if (a->position == SHM_UNKNOWN) {
		a->lag = SHM_UNKNOWN;
		return;
	}
	head = head_then(w, a);
	if (head < 0 && a->lag != SHM_UNKNOWN)
		return; /* as it was then */
	if (a->head != SHM_UNKNOWN && a->head <= w->ace.head && head < a->head)
		head = a->head; /* it knew better itself */
	if (head >= 0)
		a->lag = head > a->position ? (uint32_t)(head - a->position) : 0;
}

void swarm_head_measure(struct swarm *w, uint64_t now_ms)
{
	const struct peer *p;

	if (!w->ace.dirty)
		return;
	w->ace.dirty = 0;
	p = believed(w, now_ms);
	if (!p)
		return;
	w->ace.head = p->ace.head;
	w->ace.head_ms = p->ace.sampled_ms;
	for (uint32_t i = 0; i < w->npeers; i++)
		measure_lag(w, &w->peer[i].ace);
}

/* ---- samples ---------------------------------------------------------------------- */

static uint32_t piece(int64_t n)
{
	return n >= 0 && n < SHM_UNKNOWN ? (uint32_t)n : SHM_UNKNOWN;
}

static int moved_on(uint32_t from, uint64_t from_ms, uint32_t to, uint64_t to_ms)
{
	return from != SHM_UNKNOWN && to != SHM_UNKNOWN && to > from &&
	       to_ms - from_ms >= (uint64_t)(to - from) * ACE_PIECE_LEAST_MS;
}

/* What a head of an earlier call says about this one. */
static void compare(struct peer_ace *a, uint32_t head, uint64_t now_ms)
{
	if (!a->sampled_ms)
		return;
	if (moved_on(a->head, a->sampled_ms, head, now_ms))
		a->moved = 1;
	else if (head != a->head || now_ms - a->sampled_ms >= ACE_STALE_MS)
		a->moved = 0;
}

void swarm_head_sample(struct swarm *w, struct peer *p, const struct acewire_told *t,
		       int first, uint64_t now_ms)
{
	struct peer_ace *a = &p->ace;
	uint32_t head = piece(acewire_head(t));

	if (first)
		compare(a, head, now_ms);
	if (first && a->looked == LOOK_WAITS)
		a->looked = LOOK_SEEN;
	a->head = head;
	a->position = piece(acewire_position(t));
	a->sampled_ms = now_ms;
	if (w->ace.kind != KIND_LIVE && a->kind != KIND_UNKNOWN)
		w->ace.kind = a->kind;
	w->ace.dirty = 1;
}

/* ---- the second look ----------------------------------------------------------------- */

void swarm_head_lost(struct swarm *w, struct peer *p)
{
	if (p->ace.looked == LOOK_NONE)
		return;
	p->ace.looked = LOOK_NONE;
	if (--w->ace.looking == 0)
		w->ace.look_ms = 0; /* others, then */
}

/* Once in a round of revisits, whatever it says then. */
static int may_look(const struct swarm *w, const struct peer *p, uint64_t now_ms)
{
	const struct peer_ace *a = &p->ace;

	if (a->base_ms && now_ms - a->base_ms < w->ace.revisit_ms)
		return 0;
	return claims(w, p, now_ms) && !a->looked && !a->calling && a->fails == 0 &&
	       now_ms - a->sampled_ms <= w->ace.second_look_ms + ACE_APART_MS;
}

/* The newest head, of those that are believed, or that are beyond. */
static struct peer *freshest(struct swarm *w, int beyond, uint64_t now_ms)
{
	struct peer *best = NULL;

	for (uint32_t i = 0; i < w->npeers; i++) {
		struct peer *p = &w->peer[i];

		if (may_look(w, p, now_ms) && (p->ace.head > w->ace.head) == beyond &&
		    (!best || p->ace.head > best->ace.head))
			best = p;
	}
	return best;
}

/* If it is due before that anyhow, then at that time. */
static void call_again(struct swarm *w, struct peer *p, uint64_t at_ms, uint64_t now_ms)
{
	p->ace.looked = LOOK_WAITS;
	if (at_ms < now_ms)
		at_ms = now_ms;
	if (!p->ace.next_ms || at_ms < p->ace.next_ms)
		swarm_ace_plan(w, p, at_ms);
}

static void look_again_at(struct swarm *w, struct peer *p, uint64_t now_ms)
{
	p->ace.base = p->ace.head;
	p->ace.base_ms = p->ace.sampled_ms;
	call_again(w, p, p->ace.base_ms + w->ace.second_look_ms, now_ms);
	w->ace.looking++;
	w->ace.look_ms = now_ms;
}

/* One that nobody believes is among them: if its head moves on, it may be the live one
 * between some that stand still. */
static void look_begin(struct swarm *w, uint64_t now_ms)
{
	struct peer *p = freshest(w, 1, now_ms);

	if (p)
		look_again_at(w, p, now_ms);
	while (w->ace.looking < ACE_LOOKS && (p = freshest(w, 0, now_ms)))
		look_again_at(w, p, now_ms);
}

static void look_end(struct swarm *w, enum ace_motion motion, uint64_t now_ms)
{
	for (uint32_t i = 0; i < w->npeers; i++)
		w->peer[i].ace.looked = LOOK_NONE;
	w->ace.looking = 0;
	w->ace.motion = (uint8_t)motion;
	w->ace.motion_ms = now_ms;
	w->ace.dirty = 1; /* lag may be measured better now */
	w->changed_ms = now_ms;
	w->important = 1;
}

struct look {
	uint32_t waits, seen, moved;
	uint64_t span_ms;             /* shortest time between two samples of one */
	uint64_t piece_ms[ACE_LOOKS]; /* of those that moved */
};

/* Of one that was seen again. */
static void look_at(const struct swarm *w, struct look *l, const struct peer *p,
		    uint64_t now_ms)
{
	const struct peer_ace *a = &p->ace;
	uint64_t span = a->sampled_ms - a->base_ms;

	l->seen++;
	if (span < l->span_ms)
		l->span_ms = span;
	if (a->head > a->base && l->moved < ACE_LOOKS && is_believed(w, p, now_ms))
		l->piece_ms[l->moved++] = span / (a->head - a->base);
}

/* A head that goes back, or too far, is nothing to go by. */
static int is_sane(const struct peer_ace *a)
{
	return a->head == a->base ||
	       moved_on(a->base, a->base_ms, a->head, a->sampled_ms);
}

static struct look look_all(struct swarm *w, uint64_t now_ms)
{
	struct look l = {.span_ms = UINT64_MAX};

	for (uint32_t i = 0; i < w->npeers; i++) {
		struct peer *p = &w->peer[i];

		if (p->ace.looked == LOOK_SEEN && !is_sane(&p->ace))
			swarm_head_lost(w, p);
		l.waits +=
			p->ace.looked == LOOK_WAITS || (p->ace.looked && p->ace.calling);
		if (p->ace.looked == LOOK_SEEN && !p->ace.calling)
			look_at(w, &l, p, now_ms);
	}
	return l;
}

static uint64_t median(const uint64_t *v, uint32_t n)
{
	uint64_t low = v[0], high = v[0], sum = 0;

	for (uint32_t i = 0; i < n; i++) {
		low = v[i] < low ? v[i] : low;
		high = v[i] > high ? v[i] : high;
		sum += v[i];
	}
	return n < 3 ? sum / n : sum - low - high;
}

static uint64_t long_enough(const struct swarm *w)
{
	uint64_t pieces = (uint64_t)w->ace.piece_ms * ACE_STALE_PIECES;

	return pieces > ACE_STALE_MS ? pieces : ACE_STALE_MS;
}

static void look_on(struct swarm *w, uint64_t now_ms)
{
	struct look l = look_all(w, now_ms);

	if (l.moved && !l.waits) {
		w->ace.piece_ms = (uint32_t)median(l.piece_ms, l.moved);
		look_end(w, MOTION_ADVANCING, now_ms);
		return;
	}
	if (l.waits || !l.seen)
		return;
	if (l.span_ms >= long_enough(w)) {
		look_end(w, MOTION_STALE, now_ms);
		return;
	}
	for (uint32_t i = 0; i < w->npeers; i++)
		if (w->peer[i].ace.looked)
			call_again(w, &w->peer[i],
				   w->peer[i].ace.base_ms + long_enough(w), now_ms);
}

static int somebody_is_reached(const struct swarm *w, uint64_t now_ms)
{
	for (uint32_t i = 0; i < w->npeers; i++)
		if (!w->peer[i].ace.twin && swarm_ace_reached(w, &w->peer[i], now_ms))
			return 1;
	return 0;
}

/* What a look has found proves little once the next one is overdue, and nothing about a
 * swarm that nobody answers in any more. */
static void motion_ages(struct swarm *w, uint64_t now_ms)
{
	struct swarm_ace *a = &w->ace;

	if (a->motion == MOTION_UNPROVEN ||
	    (now_ms - a->motion_ms < a->revisit_ms + ACE_REACH_MS &&
	     somebody_is_reached(w, now_ms)))
		return;
	a->motion = MOTION_UNPROVEN;
	a->motion_ms = 0;
	w->changed_ms = now_ms;
	w->important = 1;
}

void swarm_head_look(struct swarm *w, uint64_t now_ms)
{
	motion_ages(w, now_ms);
	if (!w->round_done)
		return;
	swarm_head_measure(w, now_ms);
	if (!w->ace.head_ms)
		return;
	if (w->ace.looking)
		look_on(w, now_ms);
	else if (!w->ace.look_ms || now_ms - w->ace.look_ms >= w->ace.revisit_ms)
		look_begin(w, now_ms);
}
