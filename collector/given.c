/*
 * given.c -- peers that a question names (x.pe): what is taken of them, and their way to
 * the swarm that is meant, which may become known later than they.
 */
#include <string.h>

#include "collector/coll.h"
#include "common/clock.h"

/* A new one is a connection to an address that the client chose: it costs what a cold
 * lookup costs. */
static int may_give(struct coll *c, const uint8_t client[ADDR_LEN])
{
	const struct conf *conf = &c->kid.conf;
	uint64_t forgotten = 0;
	uint32_t wait_s =
		bucket_take(c->buckets, client, (uint32_t)conf->swarm_cold_rate,
			    (uint32_t)conf->swarm_cold_burst, clock_ms(), &forgotten);

	stat_add(STAT_cold_forgotten, forgotten);
	return wait_s == 0;
}

void given_sift(struct coll *c, const struct swarm *w, const uint8_t client[ADDR_LEN],
		struct given *g)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < g->n; i++) {
		const struct given_peer p = g->peer[i];

		if (!own_may_list(c, p.addr, p.port))
			stat_inc(peers_refused);
		else if (!(w && swarm_knows(w, p.addr, p.port)) && !may_give(c, client))
			stat_inc(given_limited);
		else
			g->peer[n++] = p;
	}
	g->n = n;
}

/* 1: it is new in w, and the session is to dial it; engines are called by acevisit.c. */
static int give(struct coll *c, struct swarm *w, const struct given_peer *p)
{
	struct swarm_news news;

	if (!swarm_give(w, p->addr, p->port, clock_ms(),
			(uint32_t)(clock_wall_ms() / 1000), &news))
		stat_inc(given_lost);
	stat_add(STAT_peers_evicted, (uint64_t)news.evicted);
	acevisit_look(c, w);
	if (!news.fresh)
		return 0;
	stat_inc(peers_learned);
	(void)publish_place(c, w, news.fresh, 0);
	return news.fresh->ace.turn == PEER_BITTORRENT;
}

static size_t give_all(struct coll *c, struct swarm *w, const struct given *g,
		       struct lt_endpoint *to, size_t n, size_t max)
{
	for (uint32_t i = 0; i < g->n; i++) {
		if (!give(c, w, &g->peer[i]) || n == max)
			continue;
		memcpy(to[n].addr, g->peer[i].addr, ADDR_LEN);
		to[n++].port = g->peer[i].port;
	}
	return n;
}

void given_take(struct coll *c, struct swarm *w, const struct given *g)
{
	struct lt_endpoint to[GIVEN_MAX];
	size_t n = give_all(c, w, g, to, 0, GIVEN_MAX);

	/* Away from the network it is joined later, with everybody that it knows. */
	if (n && w->joined && lt_give(c->lt, w->id, to, n) != 0)
		stat_add(STAT_given_lost, n);
	if (w->important)
		publish_soon(c);
}

/* ---- until it is known which swarm is meant ----------------------------------------- */

static struct given_kept *kept_of(struct coll *c, const uint8_t id[IH_LEN])
{
	for (size_t i = 0; i < PS_ARRAY_LEN(c->kept); i++)
		if (c->kept[i].given.n && memcmp(c->kept[i].id, id, IH_LEN) == 0)
			return &c->kept[i];
	return NULL;
}

static struct given_kept *kept_new(struct coll *c, const uint8_t id[IH_LEN])
{
	for (size_t i = 0; i < PS_ARRAY_LEN(c->kept); i++) {
		if (c->kept[i].given.n)
			continue;
		memcpy(c->kept[i].id, id, IH_LEN);
		return &c->kept[i];
	}
	return NULL;
}

int given_waits(struct coll *c, const uint8_t id[IH_LEN])
{
	return kept_of(c, id) != NULL;
}

void given_keep(struct coll *c, const uint8_t id[IH_LEN], const struct given *g)
{
	struct given_kept *k = kept_of(c, id);

	if (g->n == 0)
		return;
	if (!k)
		k = kept_new(c, id);
	stat_add(STAT_given_lost, k ? given_more(&k->given, g) : g->n);
}

size_t given_join(struct coll *c, struct swarm *w, const uint8_t id[IH_LEN],
		  struct lt_endpoint *known, size_t n)
{
	struct given_kept *k = kept_of(c, id);

	if (!k)
		return n;
	n = give_all(c, w, &k->given, known, n, CONF_SLOT_PEERS);
	k->given.n = 0;
	return n;
}

void given_found(struct coll *c, struct swarm *w, const uint8_t id[IH_LEN])
{
	struct given_kept *k = kept_of(c, id);

	if (!k)
		return;
	if (w)
		given_take(c, w, &k->given);
	else
		stat_add(STAT_given_lost, k->given.n);
	k->given.n = 0;
}
