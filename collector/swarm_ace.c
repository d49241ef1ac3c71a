/*
 * swarm_ace.c -- which protocol a swarm's peers are spoken to in, whom to call, and what
 * a call's end means for the next one. See swarm_ace.h.
 */
#include <string.h>

#include "collector/swarm.h"

#define BIT(key) ((uint8_t)(1u << (key)))

int swarm_ace_on(const struct swarm *w)
{
	return w->ace.mode == ACE_MODE_MAYBE || w->ace.mode == ACE_MODE_FIRST ||
	       w->ace.mode == ACE_MODE_PINNED;
}

int swarm_ace_joins(const struct swarm *w)
{
	return w->ace.mode != ACE_MODE_FIRST && w->ace.mode != ACE_MODE_PINNED;
}

int swarm_ace_quiet(const struct swarm *w)
{
	return w->ace.mode == ACE_MODE_MAYBE && w->ace.meant == ACE_MODE_FIRST;
}

int swarm_ace_alone(const struct swarm *w)
{
	return swarm_ace_on(w) && (!swarm_ace_joins(w) || swarm_ace_quiet(w));
}

static int is_pinned(const struct swarm *w)
{
	return w->ace.mode == ACE_MODE_PINNED || w->ace.mode == ACE_MODE_BT;
}

/* ---- whose turn it is ---------------------------------------------------------- */

/* Nobody is due before the earliest time that was planned. */
static void due_at(struct swarm *w, uint64_t at_ms)
{
	if (w->ace.due_ms == 0 || at_ms < w->ace.due_ms)
		w->ace.due_ms = at_ms;
}

void swarm_ace_plan(struct swarm *w, struct peer *p, uint64_t at_ms)
{
	p->ace.next_ms = at_ms;
	due_at(w, at_ms);
}

void swarm_ace_cross(struct swarm *w, struct peer *p, uint64_t at_ms)
{
	p->ace.bt_ms = at_ms;
	due_at(w, at_ms);
}

void swarm_ace_want(struct swarm *w, struct peer *p, uint64_t at_ms)
{
	if (p->ace.refused < ACE_REFUSALS)
		swarm_ace_plan(w, p, at_ms > p->ace.not_ms ? at_ms : p->ace.not_ms);
}

/* Not on the heels of our last connection, which was in the other protocol. */
static uint64_t after_other(const struct swarm *w, const struct peer *p, uint64_t now_ms)
{
	uint64_t at = p->ace.ended_ms ? p->ace.ended_ms + w->ace.other_ms : now_ms;

	return at > now_ms ? at : now_ms;
}

static enum peer_protocol home(const struct swarm *w, const struct peer *p)
{
	switch (w->ace.mode) {
	case ACE_MODE_FIRST:
	case ACE_MODE_PINNED: return PEER_ACESTREAM;
	case ACE_MODE_MAYBE:
		if (w->ace.meant == ACE_MODE_FIRST || acewire_port(p->port))
			return PEER_ACESTREAM;
	}
	return PEER_BITTORRENT;
}

/* Nobody has dialled it in BitTorrent in this round, or is about to. */
static int is_untouched(const struct peer *p)
{
	return !p->dialled && !p->tried && !p->links && !p->next;
}

static void to_bittorrent(struct swarm *w, struct peer *p, uint64_t now_ms)
{
	p->ace.turn = PEER_BITTORRENT;
	p->ace.next_ms = 0;
	if (is_untouched(p))
		swarm_ace_cross(w, p, after_other(w, p, now_ms));
}

static void to_acestream(struct swarm *w, struct peer *p, uint64_t now_ms)
{
	int visited = p->links || (p->tried && !p->dialled); /* just now */

	p->ace.turn = PEER_ACESTREAM;
	swarm_unwant(w, p);
	swarm_ace_want(w, p,
		       visited ? now_ms + w->ace.other_ms : after_other(w, p, now_ms));
}

/* AceStream is spoken again: who answered in it, or would have been called, is. Who did so
 * lately still counts. */
static void turn_back(struct swarm *w, uint64_t now_ms)
{
	for (uint32_t i = 0; i < w->npeers; i++) {
		struct peer *p = &w->peer[i];

		if (p->ace.speaks != PEER_UNSPOKEN)
			continue;
		if (swarm_ace_reached(w, p, now_ms))
			p->ace.speaks = PEER_ACESTREAM;
		if (p->ace.turn == PEER_BITTORRENT &&
		    (p->ace.shaken_ms || home(w, p) == PEER_ACESTREAM))
			to_acestream(w, p, now_ms);
	}
}

/* The mode is another one. MAYBE leaves everybody where he is, but after a time in which
 * nobody was called. */
static void turn_all(struct swarm *w, enum swarm_ace_mode was, uint64_t now_ms)
{
	if (was == ACE_MODE_OFF || was == ACE_MODE_BT)
		turn_back(w, now_ms);
	if (w->ace.mode == ACE_MODE_MAYBE)
		return;
	for (uint32_t i = 0; i < w->npeers; i++) {
		struct peer *p = &w->peer[i];

		p->ace.bt_ms = 0;
		p->ace.crossed = 0;
		if (w->ace.mode == ACE_MODE_OFF && p->ace.speaks == PEER_ACESTREAM)
			p->ace.speaks = PEER_UNSPOKEN; /* we no longer speak it */
		if (p->ace.speaks != PEER_UNSPOKEN)
			continue;
		if (p->ace.turn == home(w, p))
			continue;
		if (p->ace.turn == PEER_ACESTREAM)
			to_bittorrent(w, p, now_ms);
		else
			to_acestream(w, p, now_ms);
	}
}

static void set_mode(struct swarm *w, enum swarm_ace_mode mode, uint64_t now_ms)
{
	enum swarm_ace_mode was = (enum swarm_ace_mode)w->ace.mode;

	if (was == mode)
		return;
	w->ace.mode = (uint8_t)mode;
	w->changed_ms = now_ms;
	w->important = 1;
	turn_all(w, was, now_ms);
}

/* ---- evidence -------------------------------------------------------------------- */

struct answers {
	uint32_t ace, bt;
};

static struct answers answers(const struct swarm *w)
{
	struct answers n = {0, 0};

	for (uint32_t i = 0; i < w->npeers; i++) {
		const struct peer *p = &w->peer[i];
		uint64_t bt_ms = p->shaken_ms ? p->shaken_ms : p->ace.ended_ms;

		if (p->ace.twin)
			continue;
		n.ace += p->ace.speaks == PEER_ACESTREAM && p->ace.shaken_ms &&
			 p->ace.shaken_ms >= w->ace.since_ms;
		n.bt += p->state == PEER_CONNECTED ||
			(p->ace.speaks == PEER_BITTORRENT && bt_ms >= w->ace.since_ms);
	}
	return n;
}

int swarm_ace_waits(const struct swarm *w)
{
	struct answers n;

	if (!swarm_ace_on(w) || w->ace.find_done)
		return 0;
	if (w->ace.mode != ACE_MODE_MAYBE)
		return 1;
	n = answers(w);
	return n.bt == 0 || n.ace;
}

/* What it is without a pin. With BitTorrent peers the session is not left. */
static enum swarm_ace_mode unpinned(const struct swarm *w)
{
	if (!w->ace.enabled)
		return ACE_MODE_OFF;
	if (w->ace.meant == ACE_MODE_FIRST && answers(w).bt)
		return ACE_MODE_MAYBE;
	return (enum swarm_ace_mode)w->ace.meant;
}

static void pin(struct swarm *w, enum swarm_ace_mode mode, uint64_t now_ms)
{
	w->ace.pinned_ms = now_ms;
	w->ace.straight = 0;
	set_mode(w, mode, now_ms);
}

/* Answers from before since_ms count no more. */
static void unpin(struct swarm *w, uint64_t since_ms, uint64_t now_ms)
{
	w->ace.since_ms = since_ms;
	w->ace.straight = 0;
	set_mode(w, unpinned(w), now_ms);
}

static int somebody_is_connected(const struct swarm *w)
{
	for (uint32_t i = 0; i < w->npeers; i++)
		if (w->peer[i].state == PEER_CONNECTED)
			return 1;
	return 0;
}

/* A day's pin ends with the answers of the last round still good: if they go on, it is
 * pinned again at once. */
static void judge_pin(struct swarm *w, uint64_t now_ms)
{
	uint64_t lately = w->ace.revisit_ms + ACE_REACH_MS;

	if (w->ace.straight >= ACE_UNPIN_FAILS && somebody_is_connected(w))
		w->ace.straight = 0; /* that one still speaks */
	if (w->ace.straight >= ACE_UNPIN_FAILS)
		unpin(w, now_ms, now_ms);
	else if (now_ms - w->ace.pinned_ms >= ACE_PIN_MS)
		unpin(w, now_ms > lately ? now_ms - lately : 0, now_ms);
}

/* FIRST: somebody may speak BitTorrent, and his time has come. */
static int somebody_crosses(const struct swarm *w, uint64_t now_ms)
{
	for (uint32_t i = 0; i < w->npeers; i++)
		if (w->peer[i].ace.bt_ms && now_ms >= w->peer[i].ace.bt_ms)
			return 1;
	return 0;
}

static void judge_answers(struct swarm *w, uint64_t now_ms)
{
	struct answers n = answers(w);

	if (n.ace >= ACE_PIN && n.bt == 0)
		pin(w, ACE_MODE_PINNED, now_ms);
	else if (n.bt >= ACE_PIN && n.ace == 0)
		pin(w, ACE_MODE_BT, now_ms);
	else if (w->ace.mode == ACE_MODE_FIRST && n.ace == 0 &&
		 somebody_crosses(w, now_ms))
		set_mode(w, ACE_MODE_MAYBE, now_ms);
}

/* ---- modes ------------------------------------------------------------------------ */

void swarm_ace_configure(struct swarm *w, const struct conf *c, uint64_t now_ms)
{
	int was = w->ace.enabled;

	w->ace.revisit_ms = c->acestream_revisit_ms;
	w->ace.second_look_ms = c->acestream_second_look_ms;
	w->ace.other_ms = c->acestream_other_protocol_ms;
	w->ace.enabled = c->acestream_peers != 0;
	w->ace.has_trackers = c->acestream_trackers[0] != '\0';
	if (w->ace.enabled != was)
		set_mode(w, unpinned(w), now_ms);
}

void swarm_ace_meant(struct swarm *w, enum swarm_ace_mode mode, uint64_t now_ms)
{
	if (mode <= w->ace.meant || w->pieces) /* metadata: it is a torrent's */
		return;
	w->ace.meant = (uint8_t)mode;
	if (!is_pinned(w))
		set_mode(w, unpinned(w), now_ms);
}

void swarm_ace_remember(struct swarm *w, const struct shm_swarm *s, uint64_t age_ms,
			uint64_t now_ms)
{
	struct swarm_ace *a = &w->ace;
	uint64_t proven_ms = UINT64_MAX;

	if (!swarm_ace_on(w) || age_ms >= now_ms)
		return;
	if (s->ace_mode == ACE_MODE_PINNED || s->ace_mode == ACE_MODE_BT)
		pin(w, (enum swarm_ace_mode)s->ace_mode, now_ms);
	if (age_ms >= a->revisit_ms + ACE_REACH_MS || s->head == SHM_UNKNOWN)
		return;
	a->head = s->head;
	a->head_ms = now_ms - age_ms;
	a->kind = s->kind;
	a->piece_ms = s->piece_ms;
	if (s->motion_s && s->cached_at_ms / 1000 >= s->motion_s)
		proven_ms = age_ms + s->cached_at_ms - s->motion_s * 1000ull;
	if (proven_ms >= now_ms)
		return;
	a->motion = s->motion;
	a->motion_ms = now_ms - proven_ms;
	a->motion_at.of_ms = a->motion_ms;
	a->motion_at.wall_s = s->motion_s;
}

int swarm_ace_key(struct swarm *w, const uint8_t id[IH_LEN])
{
	struct swarm_ace *a = &w->ace;

	for (uint32_t i = 0; i < a->nkeys; i++)
		if (memcmp(a->key[i], id, IH_LEN) == 0)
			return 0;
	if (a->nkeys == ACE_KEYS)
		return 0;
	memcpy(a->key[a->nkeys++], id, IH_LEN);
	return 1;
}

int swarm_ace_unkey(struct swarm *w, const uint8_t id[IH_LEN])
{
	struct swarm_ace *a = &w->ace;

	if (a->nkeys != ACE_KEYS || memcmp(a->key[1], id, IH_LEN) != 0)
		return 0;
	a->nkeys = 1;
	for (uint32_t i = 0; i < w->npeers; i++) {
		struct peer_ace *p = &w->peer[i].ace;

		p->key = 0;
		p->under &= BIT(0);
		p->silent &= BIT(0);
	}
	return 1;
}

/* Visits of the other protocol whose time has come; and when to look again. */
static void look_ahead(struct swarm *w, uint64_t now_ms)
{
	if (w->ace.due_ms == 0 || now_ms < w->ace.due_ms)
		return;
	w->ace.due_ms = 0;
	for (uint32_t i = 0; i < w->npeers; i++) {
		struct peer *p = &w->peer[i];

		if (p->ace.bt_ms && now_ms >= p->ace.bt_ms && swarm_ace_joins(w)) {
			p->ace.bt_ms = 0;
			p->tried = p->reached = p->stood = p->failed = 0;
			p->dialled_ms = 0;
			swarm_want(w, p, LT_WAY_PLAIN);
		}
		if (p->ace.next_ms)
			due_at(w, p->ace.next_ms);
		if (p->ace.bt_ms)
			due_at(w, p->ace.bt_ms);
	}
}

int swarm_ace_tick(struct swarm *w, uint64_t now_ms)
{
	int was = w->ace.mode;

	if (is_pinned(w))
		judge_pin(w, now_ms);
	if (!is_pinned(w) && w->ace.mode != ACE_MODE_OFF && w->round_done)
		judge_answers(w, now_ms);
	if (swarm_ace_on(w))
		swarm_head_look(w, now_ms);
	swarm_word_judge(w, now_ms);
	look_ahead(w, now_ms);
	return w->ace.mode != was;
}

/* What is known of the last failure is a word of one of acestream.trackers. */
static int is_said_by_ours(const struct swarm *w)
{
	for (uint32_t i = 0; i < w->nace_trackers; i++)
		if (w->ace_tracker[i].hash == w->said_by)
			return 1;
	return 0;
}

void swarm_ace_unjoined(struct swarm *w)
{
	swarm_hang_up(w); /* shaken_ms stays: it says in which protocol who answered */
	w->ntrackers = w->nlinked = w->trackers_expected = 0;
	w->trackers_at_ms = 0;
	if (!is_said_by_ours(w))
		w->said = 0;
	w->life = 0; /* records on their way are stale */
}

/* ---- for swarm.c and swarm_visit.c ------------------------------------------------ */

void swarm_ace_keep(struct swarm *w, const struct peer *p, uint64_t now_ms)
{
	const struct peer_ace *a = &p->ace;
	struct acepast_peer past = {.fails = a->fails,
				    .refused = a->refused,
				    .sources = p->sources | a->before,
				    .bittorrent = a->speaks == PEER_BITTORRENT,
				    .unheard = a->unheard,
				    .not_ms = a->not_ms};

	acepast_put(w->ace.past, w->id, p->addr, p->port, &past, now_ms);
}

/* How its calls went while it was known before. */
static void recall(struct swarm *w, struct peer *p, uint64_t now_ms)
{
	struct peer_ace *a = &p->ace;
	struct acepast_peer past;

	if (!acepast_get(w->ace.past, w->id, p->addr, p->port, &past, now_ms))
		return;
	a->fails = past.fails;
	a->refused = past.refused;
	a->before = past.sources;
	a->unheard = past.unheard;
	a->not_ms = past.not_ms;
	if (past.bittorrent && w->ace.mode == ACE_MODE_MAYBE)
		a->turn = PEER_BITTORRENT;
}

void swarm_ace_fresh(struct swarm *w, struct peer *p, uint64_t now_ms)
{
	struct peer_ace *a = &p->ace;

	memset(a, 0, sizeof(*a));
	a->speaks = PEER_UNSPOKEN;
	a->distance = SHM_DISTANCE_UNKNOWN;
	a->head = a->position = a->lag = SHM_UNKNOWN;
	a->turn = (uint8_t)home(w, p);
	recall(w, p, now_ms);
	if (a->turn == PEER_ACESTREAM)
		swarm_ace_want(w, p, now_ms);
}

/* What it said in an earlier life, if that is not so old that it is asked again now. */
static void seed_told(struct swarm *w, struct peer *p, const struct shm_peer *s,
		      uint64_t now_ms, uint32_t now_s)
{
	struct peer_ace *a = &p->ace;
	uint64_t age = s->told_s < now_s ? (uint64_t)(now_s - s->told_s) * 1000 : 0;

	a->told_s = s->told_s;
	a->head = s->head;
	a->position = s->position;
	a->lag = s->lag;
	a->role = s->role;
	w->ace.words |= s->role == ROLE_SOURCE;
	a->kind = s->kind;
	if (age >= w->ace.revisit_ms || age >= now_ms)
		return;
	a->speaks = PEER_ACESTREAM;
	a->shaken_ms = now_ms - age;
	if (!a->fails)
		a->not_ms = a->shaken_ms + w->ace.revisit_ms;
	swarm_ace_want(w, p, now_ms);
}

void swarm_ace_seed(struct swarm *w, struct peer *p, const struct shm_peer *s,
		    uint64_t now_ms, uint32_t now_s)
{
	struct peer_ace *a = &p->ace;

	if (!swarm_ace_on(w) || s->protocol != PEER_ACESTREAM)
		return;
	a->turn = PEER_ACESTREAM;
	a->gossiped = (s->flags & PEER_F_GOSSIPED) != 0;
	a->version = s->version;
	a->asn = s->asn;
	a->platform = s->platform;
	a->distance = s->distance;
	memcpy(a->country, s->country, sizeof(a->country));
	a->accessible = s->accessible;
	a->key = s->key == KEY_CONTENT && w->ace.nkeys > 1;
	a->under = BIT(a->key);
	swarm_ace_want(w, p, now_ms);
	if (s->told_s)
		seed_told(w, p, s, now_ms, now_s);
}

void swarm_ace_gone(struct swarm *w, struct peer *p)
{
	swarm_head_lost(w, p);
	swarm_node_lost(w, p);
}

/* Who was left alone is not, if somebody else can reach it, it seems. */
void swarm_ace_named(struct swarm *w, struct peer *p, uint8_t source, uint64_t now_ms)
{
	if (p->ace.fails)
		swarm_ace_keep(w, p, now_ms); /* for another day */
	if ((source & ~(p->sources | p->ace.before)) == 0 ||
	    p->ace.refused < ACE_REFUSALS)
		return;
	p->ace.refused = 0;
	if (p->ace.turn == PEER_ACESTREAM && !p->ace.calling && !p->ace.next_ms)
		swarm_ace_want(w, p, now_ms);
}

void swarm_ace_filtered(struct swarm *w, struct peer *p)
{
	if (p->ace.turn == PEER_BITTORRENT && swarm_ace_joins(w) && is_untouched(p))
		swarm_want(w, p, LT_WAY_PLAIN);
}

void swarm_ace_bt_answered(struct swarm *w, struct peer *p, uint64_t now_ms)
{
	w->ace.straight = 0;
	if (p->ace.speaks == PEER_ACESTREAM)
		return; /* it speaks both, and we speak more of this one */
	p->ace.speaks = PEER_BITTORRENT;
	if (p->ace.turn == PEER_ACESTREAM)
		swarm_ace_keep(w, p, now_ms);
	p->ace.turn = PEER_BITTORRENT;
	p->ace.next_ms = p->ace.bt_ms = 0;
}

void swarm_ace_bt_ended(struct peer *p, uint64_t now_ms)
{
	p->ace.ended_ms = now_ms;
}

void swarm_ace_bt_failed(struct swarm *w, struct peer *p, uint64_t now_ms)
{
	if (w->ace.mode == ACE_MODE_BT && p->stood)
		w->ace.straight++;
	if (w->ace.mode != ACE_MODE_MAYBE || !p->stood || p->ace.crossed ||
	    p->ace.turn != PEER_BITTORRENT || p->ace.speaks != PEER_UNSPOKEN)
		return;
	p->ace.crossed = 1;
	swarm_ace_want(w, p, now_ms + w->ace.other_ms);
}

int swarm_ace_bt_may(const struct swarm *w, const struct peer *p, uint64_t now_ms)
{
	if (!swarm_ace_joins(w) || p->ace.turn == PEER_ACESTREAM || p->ace.calling)
		return 0;
	return !p->ace.called || now_ms - p->ace.ended_ms >= w->ace.other_ms;
}

/* acefind keeps to its trackers' intervals: what they said stands until they are asked
 * again. Whoever has not answered is asked again, or his answer is no news. */
static void keep_answers(struct swarm *w)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < w->nace_trackers; i++)
		if (w->ace_tracker[i].answered >= w->ace_tracker[i].asked)
			w->ace_tracker[n++] = w->ace_tracker[i];
	w->nace_trackers = n;
}

/* Who answered lately is not asked again for it, nor who took our connection, or refused it,
 * and so is not out of reach. */
void swarm_ace_rejoin(struct swarm *w, uint64_t now_ms)
{
	keep_answers(w);
	for (uint32_t i = 0; i < w->npeers; i++) {
		struct peer *p = &w->peer[i];
		int again = p->ace.calling || !swarm_ace_reached(w, p, now_ms);

		swarm_head_lost(w, p);
		p->ace.calling = p->ace.called = 0;
		p->ace.bt_ms = 0;
		if (p->ace.turn != PEER_ACESTREAM || !again)
			continue;
		p->ace.ours = 0;
		if (p->ace.unheard)
			p->ace.fails = p->ace.not_ms = 0;
		swarm_ace_want(w, p, now_ms);
	}
	w->ace.find_done = 0;
}
