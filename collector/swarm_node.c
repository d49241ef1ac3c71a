/*
 * swarm_node.c -- who is who among AceStream peers, and what is shown of them. See
 * swarm_ace.h; contracts/acestream-wire.md, sections 4, 9 F and 9 H.
 *
 * One node on two endpoints is one peer: who answered first is listed, the other is its
 * twin, which nobody sees and which is called no more often than others. Only a proven
 * node id (AW_SIG_GOOD, and not replayed: own_may_be) makes twins; several behind one
 * address are several.
 */
#include <string.h>

#include "collector/swarm.h"

/* ---- twins ----------------------------------------------------------------------- */

static struct peer *same_node(const struct swarm *w, const struct peer *p, int twin)
{
	for (uint32_t i = 0; i < w->npeers; i++) {
		struct peer *q = &w->peer[i];

		if (q != p && q->ace.has_who && q->ace.twin == twin &&
		    memcmp(q->ace.who, p->ace.who, AW_WHO_LEN) == 0)
			return q;
	}
	return NULL;
}

void swarm_node_is(struct swarm *w, struct peer *p, const uint8_t who[AW_WHO_LEN])
{
	struct peer *listed;

	if (p->ace.has_who && memcmp(p->ace.who, who, AW_WHO_LEN) != 0)
		swarm_node_lost(w, p);
	if (p->ace.has_who && !p->ace.twin)
		return;
	memcpy(p->ace.who, who, AW_WHO_LEN);
	p->ace.has_who = 1;
	listed = same_node(w, p, 0);
	if (listed && listed->ace.fails) { /* it was there, and is here now */
		listed->ace.twin = 1;
		listed = NULL;
	}
	p->ace.twin = listed != NULL;
}

void swarm_node_lost(struct swarm *w, struct peer *p)
{
	struct peer *heir;

	if (!p->ace.has_who)
		return;
	heir = p->ace.twin ? NULL : same_node(w, p, 1);
	if (heir)
		heir->ace.twin = 0;
	p->ace.has_who = p->ace.twin = 0;
	memset(p->ace.who, 0, AW_WHO_LEN);
}

/* ---- what it told ------------------------------------------------------------------- */

static uint32_t or_zero(int64_t n)
{
	return n > 0 && n < UINT32_MAX ? (uint32_t)n : 0;
}

/* By its own word; others' are swarm_word.c's. */
static uint8_t role_of(const struct acewire_told *t)
{
	return acewire_role(t, 0) == AW_SOURCE_LIKE ? ROLE_SOURCE_LIKE : ROLE_VIEWER;
}

static int8_t distance_of(const struct acewire_told *t)
{
	int64_t n = t->mi.distance_from_source;

	if (n < -1)
		return SHM_DISTANCE_UNKNOWN;
	return n > INT8_MAX ? INT8_MAX : (int8_t)n;
}

static uint32_t rate(int64_t n)
{
	if (n <= 0)
		return 0;
	return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

void swarm_node_told(struct peer *p, const struct acewire_told *t)
{
	const char *country = t->geo_country[0] ? t->geo_country : t->asn_country;
	struct peer_ace *a = &p->ace;
	int fill = acewire_fill(t, 0);

	a->version = or_zero(t->version);
	a->asn = or_zero(t->asn);
	a->platform = (uint8_t)or_zero(t->platform);
	memcpy(a->country, country, sizeof(a->country));
	a->distance = distance_of(t);
	a->kind = (uint8_t)acewire_kind(t);
	a->role = role_of(t);
	a->accessible = t->mi.is_accessible == 1   ? ACCESS_YES
			: t->mi.is_accessible == 0 ? ACCESS_NO
						   : ACCESS_UNKNOWN;
	p->progress = fill > 0 ? (uint16_t)fill : 0;
	p->down_rate = rate(acewire_down_rate(t));
	p->up_rate = rate(acewire_up_rate(t));
}

/* ---- what is shown ------------------------------------------------------------------ */

int swarm_ace_reached(const struct swarm *w, const struct peer *p, uint64_t now_ms)
{
	return p->ace.shaken_ms &&
	       now_ms - p->ace.shaken_ms < w->ace.revisit_ms + ACE_REACH_MS;
}

void swarm_ace_count(const struct swarm *w, uint64_t now_ms, struct swarm_ace_counts *out)
{
	const uint8_t named = PEER_SRC_TRACKER | PEER_SRC_DHT | PEER_SRC_LSD |
			      PEER_SRC_GIVEN | PEER_SRC_INCOMING;

	memset(out, 0, sizeof(*out));
	for (uint32_t i = 0; i < w->npeers; i++) {
		const struct peer *p = &w->peer[i];

		if (p->ace.twin)
			continue;
		out->discovered += (p->sources & named) != 0;
		out->reachable += swarm_ace_reached(w, p, now_ms);
		out->gossiped += p->ace.gossiped;
		out->sources += swarm_word_role(p) == ROLE_SOURCE;
		out->source_like += swarm_word_role(p) == ROLE_SOURCE_LIKE;
	}
}

enum peer_protocol swarm_ace_speaks(const struct peer *p)
{
	return (enum peer_protocol)(p->ace.speaks == PEER_UNSPOKEN ? p->ace.turn
								   : p->ace.speaks);
}

/* Both are spoken in a few swarms: the one of the more peers counts. */
enum peer_protocol swarm_ace_protocol(const struct swarm *w)
{
	uint32_t ace = 0, bt = 0;

	if (w->ace.mode == ACE_MODE_PINNED || w->ace.mode == ACE_MODE_FIRST)
		return PEER_ACESTREAM;
	if (!swarm_ace_on(w))
		return PEER_BITTORRENT;
	for (uint32_t i = 0; i < w->npeers; i++) {
		ace += w->peer[i].ace.speaks == PEER_ACESTREAM && !w->peer[i].ace.twin;
		bt += w->peer[i].ace.speaks == PEER_BITTORRENT;
	}
	if (ace + bt == 0)
		return PEER_UNSPOKEN;
	return ace >= bt ? PEER_ACESTREAM : PEER_BITTORRENT;
}

static uint8_t key_word(const struct swarm *w, const struct peer_ace *a)
{
	if (!a->under && a->speaks != PEER_ACESTREAM)
		return KEY_UNKNOWN;
	return a->key && w->ace.nkeys > 1 ? KEY_CONTENT : KEY_INFOHASH;
}

void swarm_ace_record(const struct swarm *w, const struct peer *p, struct shm_peer *out)
{
	const struct peer_ace *a = &p->ace;

	shm_peer_ace_unknown(out);
	out->protocol = (uint8_t)swarm_ace_speaks(p);
	if (out->protocol != PEER_ACESTREAM)
		return;
	if (a->gossiped)
		out->flags |= PEER_F_GOSSIPED;
	out->version = a->version;
	out->asn = a->asn;
	out->head = a->head;
	out->position = a->position;
	out->lag = a->lag;
	out->told_s = a->told_s;
	out->platform = a->platform;
	out->distance = a->distance;
	memcpy(out->country, a->country, sizeof(out->country));
	out->role = (uint8_t)swarm_word_role(p);
	out->kind = a->kind;
	out->accessible = a->accessible;
	out->key = key_word(w, a);
}

/* A time of the loop as one for people; 0 stays never. */
static uint32_t wall(struct ace_moment *at, uint64_t then_ms, uint64_t now_ms,
		     uint32_t now_s)
{
	if (at->of_ms != then_ms)
		at->wall_s = then_ms ? now_s - (uint32_t)((now_ms - then_ms) / 1000) : 0;
	at->of_ms = then_ms;
	return at->wall_s;
}

void swarm_ace_head(struct swarm *w, uint64_t now_ms, uint32_t now_s,
		    struct shm_swarm *head)
{
	struct swarm_ace *a = &w->ace;
	struct swarm_ace_counts n;

	swarm_head_measure(w, now_ms);
	head->protocol = (uint8_t)swarm_ace_protocol(w);
	head->ace_mode = a->mode;
	head->head = SHM_UNKNOWN;
	if (!swarm_ace_on(w))
		return;
	swarm_ace_count(w, now_ms, &n);
	head->motion = a->motion;
	head->motion_s = wall(&a->motion_at, a->motion_ms, now_ms, now_s);
	head->kind = a->kind;
	if (a->head_ms)
		head->head = a->head;
	head->head_s = wall(&a->head_at, a->head_ms, now_ms, now_s);
	head->piece_ms = a->piece_ms;
	head->discovered = n.discovered;
	head->reachable = n.reachable;
	head->gossiped = n.gossiped;
	head->sources = n.sources;
	head->source_like = n.source_like;
	head->has_content = a->nkeys > 1;
	if (head->has_content)
		memcpy(head->content, a->key[1], IH_LEN);
}
