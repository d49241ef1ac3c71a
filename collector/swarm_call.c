/*
 * swarm_call.c -- endpoints in, calls out, and what was heard in them. See swarm_ace.h.
 */
#include <string.h>

#include "collector/swarm.h"

#define BIT(key) ((uint8_t)(1u << (key)))

/* ---- endpoints ------------------------------------------------------------------- */

/* A further key is worth a call to who said nothing to the ones that we had. */
void swarm_ace_under(struct swarm *w, struct peer *p, uint32_t key, uint64_t now_ms)
{
	struct peer_ace *a = &p->ace;
	int first = a->under == 0, more = !(a->under & BIT(key));

	if (key >= w->ace.nkeys)
		return;
	a->under |= BIT(key);
	if (first)
		a->key = (uint8_t)key;
	if (first || !more || !(a->silent & BIT(a->key)) || a->calling ||
	    a->turn != PEER_ACESTREAM)
		return;
	a->key = (uint8_t)key;
	swarm_ace_plan(w, p, now_ms);
}

struct peer *swarm_ace_heard(struct swarm *w, const uint8_t addr[ADDR_LEN], uint16_t port,
			     uint8_t source, uint32_t key, uint64_t now_ms,
			     uint32_t now_s, struct swarm_news *news)
{
	struct peer *p = swarm_find_peer(w, addr, port);

	memset(news, 0, sizeof(*news));
	if (!p)
		p = swarm_add_peer(w, addr, port, PEER_KNOWN, now_ms, now_s, news);
	if (!p)
		return NULL;
	swarm_ace_named(w, p, source, now_ms);
	p->sources |= source;
	p->last_seen_s = now_s;
	swarm_ace_under(w, p, key, now_ms);
	w->changed_ms = now_ms;
	w->important |= news->fresh != NULL;
	return p;
}

/* It told us what it is itself: here, or in BitTorrent. */
static int knows_better(const struct peer *p)
{
	return p->ace.told_s ||
	       (p->state >= PEER_CONTACTED && p->ace.speaks != PEER_ACESTREAM);
}

static uint32_t piece(int64_t n)
{
	return n >= 0 && n < SHM_UNKNOWN ? (uint32_t)n : SHM_UNKNOWN;
}

struct peer *swarm_ace_gossip(struct swarm *w, const struct acewire_rec *r, uint32_t key,
			      uint64_t now_ms, uint32_t now_s, struct swarm_news *news,
			      char client[AW_CLIENT_MAX])
{
	struct peer *p = swarm_ace_heard(w, r->addr, r->port, PEER_SRC_PEX, key, now_ms,
					 now_s, news);
	struct peer_ace *a = p ? &p->ace : NULL;
	const char *country = r->geo_country[0] ? r->geo_country : r->asn_country;

	client[0] = '\0';
	if (!p)
		return NULL;
	if (news->fresh && swarm_ace_on(w) && a->turn != PEER_ACESTREAM) {
		a->turn = PEER_ACESTREAM; /* whatever its port, engines know engines */
		swarm_ace_want(w, p, now_ms);
	}
	w->important |= !a->gossiped;
	a->gossiped = 1;
	if (knows_better(p))
		return p;
	acewire_rec_client(client, r);
	a->version = r->version;
	a->platform = r->platform;
	a->asn = r->asn;
	memcpy(a->country, country, sizeof(a->country));
	a->head = piece(r->max_piece);
	a->position = piece(r->position);
	if (r->max_piece >= 0)
		a->kind = KIND_LIVE;
	return p;
}

/* ---- calls ------------------------------------------------------------------------- */

static int is_due(const struct swarm *w, const struct peer *p, uint64_t now_ms)
{
	const struct peer_ace *a = &p->ace;

	if (!a->next_ms || now_ms < a->next_ms || a->calling || p->links)
		return 0;
	/* It may have been visited in BitTorrent since that was planned. */
	return a->turn == PEER_ACESTREAM || now_ms - a->ended_ms >= w->ace.other_ms;
}

int swarm_ace_due(const struct swarm *w, uint64_t now_ms, uint32_t *at,
		  struct ace_target *out)
{
	uint32_t n = w->npeers;

	if (!swarm_ace_on(w) || !w->ace.due_ms || now_ms < w->ace.due_ms)
		return 0;
	while (*at < 2 * n) {
		int later = *at >= n;
		const struct peer *p = &w->peer[(*at)++ % n];

		if (p->ace.called != later || !is_due(w, p, now_ms))
			continue;
		memset(out, 0, sizeof(*out));
		memcpy(out->swarm, w->id, IH_LEN);
		memcpy(out->addr, p->addr, ADDR_LEN);
		memcpy(out->key, w->ace.key[p->ace.key], IH_LEN);
		out->port = p->port;
		out->life = w->ace.life;
		return 1;
	}
	return 0;
}

void swarm_ace_called(struct swarm *w, const struct ace_target *t)
{
	struct peer *p = swarm_find_peer(w, t->addr, t->port);

	PS_ASSERT(p != NULL);
	p->ace.calling = 1;
	p->ace.next_ms = 0;
	p->ace.told_ms = 0;
	p->ace.has_field = 0;
}

static uint64_t backoff_ms(uint32_t fails)
{
	if (fails <= 1)
		return ACE_AGAIN_1_MS;
	return fails == 2 ? ACE_AGAIN_2_MS : ACE_AGAIN_3_MS;
}

/* A route, IPv6's most often, may come a moment after the address that we waited for; where
 * there is none, asking costs nobody but us. */
static uint64_t ours_ms(uint8_t ours)
{
	uint64_t ms = ours < 6 ? (uint64_t)SWARM_AGAIN_MS << ours : ACE_AGAIN_1_MS;

	return ms < ACE_AGAIN_1_MS ? ms : ACE_AGAIN_1_MS;
}

/* Another key that it was named under (or any, if none was told), and that we have not
 * tried. -1: none. */
static int another_key(const struct swarm *w, const struct peer *p)
{
	unsigned under = p->ace.under ? p->ace.under : ~0u;

	for (uint32_t i = 0; i < w->ace.nkeys; i++)
		if (under & ~(unsigned)p->ace.silent & BIT(i))
			return (int)i;
	return -1;
}

/* While the swarm is not joined nobody is visited: it waits until there is no pin. */
static void cross(struct swarm *w, struct peer *p, uint64_t now_ms)
{
	if (p->ace.crossed)
		return;
	p->ace.crossed = 1;
	swarm_ace_cross(w, p, now_ms + w->ace.other_ms);
}

/* When again, and how. */
static void after_failure(struct swarm *w, struct peer *p, enum ace_outcome how,
			  uint64_t now_ms)
{
	struct peer_ace *a = &p->ace;
	int key;

	if (a->turn == PEER_ACESTREAM && (how == ACE_ZERO || how == ACE_WRONG_KEY)) {
		a->silent |= BIT(a->key);
		if ((key = another_key(w, p)) >= 0) {
			a->key = (uint8_t)key;
			swarm_ace_plan(w, p, now_ms + w->ace.other_ms);
			return;
		}
	}
	a->fails += a->fails < UINT8_MAX;
	a->not_ms = now_ms + backoff_ms(a->fails);
	swarm_ace_keep(w, p, now_ms);
	if (a->turn == PEER_BITTORRENT)
		return; /* that was its one call in this protocol */
	if (how == ACE_ZERO || how == ACE_BITTORRENT)
		cross(w, p, now_ms);
	if (a->speaks != PEER_BITTORRENT)
		swarm_ace_want(w, p, now_ms);
}

static void failed(struct swarm *w, struct peer *p, enum ace_outcome how, uint64_t now_ms)
{
	struct peer_ace *a = &p->ace;

	swarm_head_lost(w, p);
	if (how == ACE_UNREACHABLE) { /* which says nothing of the peer */
		swarm_ace_plan(w, p, now_ms + ours_ms(a->ours));
		a->ours += a->ours < UINT8_MAX;
		return;
	}
	a->ours = 0;
	a->unheard = how == ACE_TIMEOUT;
	if (p->state == PEER_KNOWN)
		p->state = PEER_TRIED;
	if (how == ACE_REFUSED)
		a->refused++;
	if (how == ACE_ZERO || how == ACE_BITTORRENT || how == ACE_OTHER)
		w->ace.straight++;
	if (how == ACE_BITTORRENT && a->speaks == PEER_UNSPOKEN)
		a->speaks = PEER_BITTORRENT;
	after_failure(w, p, how, now_ms);
}

static void answered(struct swarm *w, struct peer *p, const struct ace_seen *s,
		     uint64_t now_ms, uint32_t now_s, struct swarm_ace_news *news)
{
	struct peer_ace *a = &p->ace;

	news->contacted = p->state < PEER_CONTACTED;
	if (news->contacted)
		p->state = PEER_CONTACTED;
	p->last_seen_s = now_s;
	for (uint32_t i = 0; i < w->ace.nkeys; i++)
		if (memcmp(w->ace.key[i], s->target.key, IH_LEN) == 0)
			a->key = (uint8_t)i;
	a->speaks = a->turn = PEER_ACESTREAM;
	a->shaken_ms = now_ms;
	a->fails = a->refused = a->silent = a->ours = a->unheard = 0;
	a->not_ms = now_ms + w->ace.revisit_ms;
	acepast_drop(w->ace.past, w->id, p->addr, p->port);
	a->bt_ms = 0;
	w->ace.straight = 0;
	swarm_unwant(w, p);
}

static void told(struct swarm *w, struct peer *p, const struct ace_seen *s,
		 uint64_t now_ms, uint32_t now_s, struct swarm_ace_news *news)
{
	const struct acewire_told *t = s->told;
	int first = p->ace.told_ms == 0;

	if (first)
		p->ace.told_ms = now_ms;
	p->ace.told_s = p->last_seen_s = now_s;
	p->ace.has_field |= (t->saw & (AW_SAW_FIELD | AW_SAW_PLAIN)) != 0;
	swarm_node_told(p, t);
	if (t->sig == AW_SIG_GOOD && !s->replayed)
		swarm_node_is(w, p, t->who);
	else
		swarm_node_lost(w, p);
	swarm_head_sample(w, p, t, first, now_ms);
	acewire_client(news->client, t, s->has_peer_id ? s->peer_id : NULL);
}

static void ended(struct swarm *w, struct peer *p, const struct ace_seen *s,
		  uint64_t now_ms, uint32_t now_s, struct swarm_ace_news *news)
{
	struct peer_ace *a = &p->ace;

	a->calling = 0;
	a->called = 1;
	if (s->connected)
		a->ended_ms = now_ms;
	if (s->how != ACE_DONE && s->how != ACE_SHOOK) {
		failed(w, p, s->how, now_ms);
		return;
	}
	swarm_ace_plan(w, p, now_ms + w->ace.revisit_ms);
	if (s->how == ACE_DONE)
		told(w, p, s, now_ms, now_s, news);
	else
		swarm_head_lost(w, p);
	if (s->how == ACE_SHOOK && a->told_s == 0 && s->told)
		acewire_client(news->client, s->told, s->peer_id);
}

void swarm_ace_seen(struct swarm *w, const struct ace_seen *s, uint64_t now_ms,
		    uint32_t now_s, struct swarm_ace_news *news)
{
	struct peer *p = swarm_find_peer(w, s->target.addr, s->target.port);

	memset(news, 0, sizeof(*news));
	if (!p || s->target.life != w->ace.life)
		return;
	news->peer = p;
	switch (s->what) {
	case ACE_SHAKEN: answered(w, p, s, now_ms, now_s, news); break;
	case ACE_TOLD:
	case ACE_MORE: told(w, p, s, now_ms, now_s, news); break;
	case ACE_END: ended(w, p, s, now_ms, now_s, news); break;
	}
	w->changed_ms = now_ms;
	w->important = 1;
}

/* ---- the first round ---------------------------------------------------------------- */

static int later(uint64_t end_ms, uint64_t now_ms, uint64_t *recheck_ms)
{
	if (now_ms >= end_ms)
		return 1;
	if (*recheck_ms == 0 || end_ms < *recheck_ms)
		*recheck_ms = end_ms;
	return 0;
}

int swarm_ace_done(const struct peer *p, uint64_t now_ms, uint64_t *recheck_ms)
{
	const struct peer_ace *a = &p->ace;

	if (!a->calling) /* it waits for its turn, or had it */
		return a->called || !a->next_ms || now_ms < a->next_ms;
	if (a->told_ms)
		return a->has_field ||
		       later(a->told_ms + ACE_FIELD_MS, now_ms, recheck_ms);
	if (a->called)
		return 1; /* not the first call to it */
	return a->shaken_ms && later(a->shaken_ms + SWARM_TELL_MS, now_ms, recheck_ms);
}
