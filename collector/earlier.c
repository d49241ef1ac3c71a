/* earlier.c -- what an earlier life of a swarm, or of the collector, left in the table. */
#include <string.h>

#include "collector/coll.h"
#include "common/clock.h"

/* An earlier life knew more hashes than the question names. */
static void hashes_from_slot(struct swarm *w, const struct shm_swarm *s)
{
	w->ih.has_v2 = 1;
	memcpy(w->ih.v2, s->v2, IH_V2_LEN);
	w->ih.has_v1 = memcmp(s->infohash, s->v2, IH_LEN) != 0;
	memcpy(w->ih.v1, s->infohash, IH_LEN);
}

static uint64_t age_ms(uint64_t wall_ms)
{
	uint64_t now = clock_wall_ms();

	return now > wall_ms ? now - wall_ms : 0;
}

size_t earlier_join(struct coll *c, struct swarm *w, const uint8_t id[IH_LEN],
		    struct lt_endpoint *known, size_t n)
{
	uint32_t oldest =
		(uint32_t)((clock_wall_ms() - c->kid.conf.swarm_peer_expiry_ms) / 1000);
	const struct shm_swarm *s = &c->copy.s;

	if (ptab_get(c->ptab, id, CONF_SLOT_PEERS, &c->copy) != PTAB_OK)
		return n;
	if (memcmp(s->infohash, w->id, IH_LEN) != 0 &&
	    !(s->has_v2 && memcmp(s->v2, w->id, IH_LEN) == 0))
		return n; /* the id meant another swarm then */
	if (s->has_v2 && !w->ih.has_v2)
		hashes_from_slot(w, s);
	swarm_ace_remember(w, s, age_ms(s->cached_at_ms), clock_ms());
	for (uint32_t i = 0; i < c->copy.s.npeers && w->npeers < w->max_peers; i++) {
		const struct shm_peer *p = &c->copy.peer[i];

		struct peer *seeded =
			p->last_seen_s < oldest ? NULL : swarm_seed(w, p, clock_ms());

		if (!seeded)
			continue;
		swarm_ace_seed(w, seeded, p, clock_ms(),
			       (uint32_t)(clock_wall_ms() / 1000));
		/* Databases may be others now; or not be read yet. */
		(void)publish_place(c, w, seeded, 1);
		if (seeded->ace.turn != PEER_BITTORRENT)
			continue; /* the session would dial it */
		memcpy(known[n].addr, p->addr, ADDR_LEN);
		known[n++].port = p->port;
	}
	return n;
}
