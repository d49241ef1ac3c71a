/*
 * ids.c -- which swarm an id means.
 *
 * A hybrid torrent (BEP 52) has two hashes, and one swarm each; to us they are one. Once
 * the metadata is known, the other hash is a further id of the swarm, and libtorrent asks
 * trackers, DHT and peers under both. Where both were joined already, it stops both: then
 * they are left, made one here, and joined once with both hashes.
 */
#include <string.h>

#include "collector/coll.h"
#include "common/clock.h"
#include "common/log.h"

static struct swarm_id *alias(struct coll *c, struct swarm *w, const uint8_t id[IH_LEN])
{
	int evicted;
	struct swarm_id *e = swarms_alias(c->swarms, w, id, &evicted);

	stat_add(STAT_swarm_ids_evicted, (uint64_t)evicted);
	return e;
}

/* What stands in its slot: an answer of an earlier life, or of another swarm that it
 * meant then, which would be a wrong one now. */
static void look_at_slot(struct coll *c, const struct swarm *w, struct swarm_id *e)
{
	uint32_t any = UINT32_MAX;
	struct shm_swarm old;

	if (ptab_peek(c->ptab, e->id, &any, &old) != PTAB_OK)
		return;
	if (swarm_has_hash(w, old.infohash))
		e->had_slot = old.phase != SWARM_JOINING;
	else
		ptab_drop(c->ptab, e->id);
}

void ids_asked(struct coll *c, struct swarm *w, const uint8_t id[IH_LEN],
	       enum swarm_resolved how)
{
	struct swarm_id *e = alias(c, w, id);
	int first;

	w->asked_ms = clock_ms();
	if (!e)
		return;
	first = !e->asked_ms;
	if (first)
		look_at_slot(c, w, e);
	e->asked_ms = w->asked_ms;
	e->resolved = (uint8_t)how;
	if (first && w->round_done)
		(void)publish_now(c, w, 1);
}

/* ---- the two hashes of a hybrid --------------------------------------------------- */

/* All that `from` is goes over to w. */
static void take_over(struct coll *c, struct swarm *w, struct swarm *from)
{
	struct swarm_id ids[SWARM_IDS];

	lt_leave(c->lt, from->id);
	swarm_rejoin(from, clock_ms());
	swarm_absorb(w, from, clock_ms());
	jobs_hand_over(c, from, w, NULL);
	if (from->asked_ms > w->asked_ms)
		w->asked_ms = from->asked_ms;
	w->control = w->control && from->control;
	memcpy(ids, from->ids, sizeof(ids));
	swarms_remove(c->swarms, from);
	for (uint32_t i = 0; i < SWARM_IDS; i++) {
		struct swarm_id *e = ids[i].swarm ? alias(c, w, ids[i].id) : NULL;

		if (!e)
			continue;
		e->resolved = ids[i].resolved;
		e->asked_ms = ids[i].asked_ms;
		e->had_slot = ids[i].had_slot;
		e->written = ids[i].written;
	}
}

static void merge(struct coll *c, struct swarm *w, struct swarm *other)
{
	char hex[IH_HEX_LEN];

	if (other) {
		take_over(c, w, other);
		stat_inc(swarms_merged);
	}
	ih_hex(hex, swarm_infohash(w));
	log_info("swarm", "%s is a hybrid: joined again with both hashes, %u peers known",
		 hex, w->npeers);
	jobs_rejoin(c, w);
}

void ids_hashes(struct coll *c, struct swarm *w, const struct lt_ids *ids, int conflict)
{
	const uint8_t *hash[2] = {ids->v1, ids->v2};
	struct swarm *other = NULL;

	if (ids->has_v1 + ids->has_v2 == 0)
		return;
	w->ih = *ids;
	for (int i = 0; i < 2; i++) {
		struct swarm *who = swarms_find(c->swarms, hash[i]);

		if (!(i == 0 ? ids->has_v1 : ids->has_v2))
			continue;
		if (!who)
			(void)alias(c, w, hash[i]);
		else if (who != w)
			other = who;
	}
	if (other && memcmp(other->id, ids->v1, IH_LEN) == 0) {
		other->ih = *ids; /* the v1 hash is the better known key */
		merge(c, other, w);
	} else if (other || conflict) {
		merge(c, w, other);
	}
}

void ids_whole_v2(struct coll *c, struct swarm *w, const uint8_t v2[IH_V2_LEN])
{
	if (w->ih.has_v2 || w->pieces || memcmp(w->id, v2, IH_LEN) != 0)
		return;
	w->ih.has_v1 = 0;
	w->ih.has_v2 = 1;
	memcpy(w->ih.v2, v2, IH_V2_LEN);
	jobs_rejoin(c, w);
}
