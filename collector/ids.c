/*
 * ids.c -- which swarm an id means.
 *
 * A hybrid torrent (BEP 52) has two hashes, and one swarm each; to us they are one. Once
 * the metadata is known, the other hash is a further id of the swarm, and libtorrent asks
 * trackers, DHT and peers under both. Where both were joined already, it stops both: then
 * they are left, made one here, and joined once with both hashes.
 *
 * An AceStream content id names a transport file. With an engine configured, it is asked
 * which infohash that is (engine.h), and the id becomes a further one of that swarm. Until
 * it answers, the asker waits without a swarm; if it does not, the id is taken as it is,
 * and moves when the engine says better.
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

/* What is better known is not unsaid by what is less. */
static int weight(int how)
{
	static const uint8_t of[] =
		{[RESOLVED_TAKEN] = 0, [RESOLVED_NO_ANSWER] = 1, [RESOLVED_NOT_FOUND] = 2,
		 [RESOLVED_SAME] = 2,  [RESOLVED_ENGINE] = 3,    [RESOLVED_HYBRID] = 0};

	return of[how];
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
	if (how != e->resolved && (first || weight(how) >= weight(e->resolved))) {
		e->resolved = (uint8_t)how;
		w->changed_ms = w->asked_ms;
		w->important = 1;
	}
	if (first && w->round_done)
		(void)publish_now(c, w, 1);
	else if (w->important)
		publish_soon(c);
}

/* ---- content ids --------------------------------------------------------------------- */

/* An engine that fails does not make unknown what it said before: the slot of an earlier
 * life of ours may still tell. */
static void remember_slot(const struct coll *c, const uint8_t id[IH_LEN],
			  struct resolved *r)
{
	char title[SHM_STRING_MAX + 1];
	uint32_t any = UINT32_MAX;
	struct shm_swarm s;

	if (ptab_peek(c->ptab, id, &any, &s) != PTAB_OK || s.resolved != RESOLVED_ENGINE)
		return;
	memcpy(r->infohash, s.infohash, IH_LEN);
	r->how = RESOLVED_ENGINE;
	ptab_client(c->ptab, s.title, title);
	resolve_set_title(r, title);
}

int ids_is_cold(const struct coll *c, const struct shm_job *job)
{
	struct resolved r;

	if (swarms_find(c->swarms, job->id))
		return 0;
	if (tier_is_asking(c, job->id))
		return 0;
	if (job->flags & (JOB_F_V2 | JOB_F_INFOHASH))
		return 1;
	switch (engine_look(c->engine, job->id, &r)) {
	case ENGINE_ASKED: return 0;
	case ENGINE_KNOWN: return swarms_find(c->swarms, r.infohash) == NULL;
	default: return 1;
	}
}

int ids_known(struct coll *c, const struct shm_job *job, struct resolved *r)
{
	enum engine_rc rc = ENGINE_NOBODY;

	memcpy(r->infohash, job->id, IH_LEN);
	r->how = RESOLVED_TAKEN;
	r->title[0] = '\0';
	if (!(job->flags & (JOB_F_V2 | JOB_F_INFOHASH)))
		rc = engine_ask(c->engine, job->id, r);
	if (rc == ENGINE_KNOWN && r->how == RESOLVED_NO_ANSWER)
		remember_slot(c, job->id, r);
	return rc != ENGINE_ASKED;
}

/* e has meant another swarm so far: that one is left, unless somebody else asks for it.
 * Metadata under this very hash proves an infohash, whatever the engine says. */
static struct swarm *move(struct coll *c, struct swarm_id *e, const struct resolved *r)
{
	struct swarm *from = e->swarm;
	int is_key = e == &from->ids[0], asked = e->asked_ms != 0;
	char was[IH_HEX_LEN], is[IH_HEX_LEN];
	uint8_t id[IH_LEN];

	if (swarm_has_hash(from, e->id) &&
	    (!is_key || from->pieces || swarm_ids_asked(from) > (uint32_t)asked))
		return from;
	memcpy(id, e->id, IH_LEN);
	ih_hex(was, swarm_infohash(from));
	ih_hex(is, r->infohash);
	log_info("engine", "an id meant %s so far and means %s", was, is);
	stat_inc(engine_moved);
	ptab_drop(c->ptab, id); /* the list of another swarm */
	wait_hand_over(c, from, NULL, id);
	swarms_unalias(c->swarms, e);
	if (swarm_ids_asked(from) == 0 && from->waiters == 0)
		jobs_leave(c, from);
	else if (swarm_ace_unkey(from, id))
		(void)jobs_follow(c, from);
	return swarms_find(c->swarms, r->infohash);
}

/* What the engine calls it; no word of it says nothing against an older one. */
static void entitle(struct coll *c, struct swarm *w, const struct resolved *r)
{
	uint32_t title = ptab_string(c->ptab, r->title, strlen(r->title));

	if (title == 0 || title == w->title)
		return;
	w->title = title;
	w->changed_ms = clock_ms();
	w->important = 1;
}

/* An engine knows AceStream's ids alone; what is spelled like an infohash is a torrent. */
static enum swarm_ace_mode mode_of(const struct resolved *r, int torrent)
{
	if (torrent)
		return ACE_MODE_OFF;
	return r->how == RESOLVED_ENGINE || r->how == RESOLVED_SAME ? ACE_MODE_FIRST
								    : ACE_MODE_MAYBE;
}

/* What the question and the engine say of a swarm that may be there already. -1: it could
 * not be joined as they want it, and is gone. */
static int learn(struct coll *c, struct swarm *w, const uint8_t id[IH_LEN],
		 const struct resolved *r, enum swarm_ace_mode mode)
{
	int more = r->how == RESOLVED_ENGINE && swarm_ace_key(w, id);
	int was = w->ace.mode;

	entitle(c, w, r);
	swarm_ace_meant(w, mode, clock_ms());
	return more || w->ace.mode != was ? jobs_follow(c, w) : 0;
}

struct swarm *ids_swarm(struct coll *c, const uint8_t id[IH_LEN],
			const struct resolved *r, const uint8_t *v2, int torrent,
			enum lane_rc *why)
{
	enum swarm_ace_mode mode = mode_of(r, torrent);
	struct swarm_id *e = swarms_id(c->swarms, id);
	struct swarm *w = e ? e->swarm : NULL;
	int joined = 0;

	if (w && v2) {
		ids_whole_v2(c, w, v2);
		w = swarms_find(c->swarms, id);
	}
	if (r->how == RESOLVED_ENGINE && !(w && w == swarms_find(c->swarms, r->infohash)))
		w = e ? move(c, e, r) : swarms_find(c->swarms, r->infohash);
	if (!w) {
		w = jobs_join(c, id, r->infohash, v2, mode, why);
		joined = w != NULL;
	}
	cold_end(c, id, joined);
	given_found(c, w, id);
	if (w && learn(c, w, id, r, mode) != 0) {
		*why = LANE_FAILED;
		w = NULL;
	}
	if (w)
		wait_found(c, w, id);
	else
		wait_refuse(c, id, *why);
	return w;
}

void ids_join(struct coll *c, const uint8_t id[IH_LEN], const struct resolved *r,
	      const uint8_t *v2, int torrent)
{
	enum lane_rc why;
	struct swarm *w = ids_swarm(c, id, r, v2, torrent, &why);

	if (w)
		ids_asked(c, w, id, r->how);
	wait_check(c);
}

/* The engine's word, late: who waited for it gets his swarm. */
void ids_resolved(void *arg, const uint8_t id[IH_LEN], const struct resolved *r)
{
	struct coll *c = arg;
	struct resolved sure = *r;

	if (sure.how == RESOLVED_NO_ANSWER)
		remember_slot(c, id, &sure);
	if (!tier_ask(c, id, &sure, NULL, 0, ENGINE_REDIS_MS))
		ids_join(c, id, &sure, NULL, 0);
}

/* ---- the two hashes of a hybrid --------------------------------------------------- */

/* All that `from` is goes over to w. */
static void take_over(struct coll *c, struct swarm *w, struct swarm *from)
{
	struct swarm_id ids[SWARM_IDS];

	claim_leave(c, from);
	lt_leave(c->lt, from->id);
	acewatch_end(c, from);
	swarm_rejoin(from, clock_ms());
	swarm_absorb(w, from, clock_ms());
	wait_hand_over(c, from, w, NULL);
	if (from->asked_ms > w->asked_ms)
		w->asked_ms = from->asked_ms;
	w->control = w->control && from->control;
	w->meta |= from->meta;
	if (from->seed_until_ms > w->seed_until_ms) {
		w->seed_until_ms = from->seed_until_ms;
		w->seed_bytes = from->seed_bytes;
	}
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
	(void)jobs_rejoin(c, w);
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
	(void)jobs_rejoin(c, w);
}
