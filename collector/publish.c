/*
 * publish.c -- from what the collector knows to where others read it: the peer
 * table (at most every PUBLISH_MS for a swarm) and Redis.
 */
#include <event2/event.h>
#include <stdio.h>
#include <string.h>

#include "collector/coll.h"
#include "collector/geosay.h"
#include "common/clean.h"
#include "common/clock.h"
#include "common/log.h"
#include "shm/swarmjson.h"
#include "shm/verdictjson.h"

/* peer_stats:<id>, in the contract's shape, with the TTL that it promises; and the whole
 * list, for other nodes. */
static void redis_one(struct coll *c, const struct swarm *w, const uint8_t id[IH_LEN])
{
	const struct conf *conf = &c->kid.conf;
	uint32_t limit = (uint32_t)conf->cache_max_peers;
	char hex[IH_HEX_LEN], key[16 + IH_HEX_LEN] = "peer_stats:";

	if (ptab_get(c->ptab, id, limit, &c->copy) != PTAB_OK ||
	    !tier_may_share(c, w, &c->copy.s))
		return;
	ih_hex(hex, id);
	memcpy(key + strlen(key), hex, sizeof(hex));
	buf_reset(&c->json);
	if (swarm_json(&c->json, c->ptab, &c->copy, hex, limit, NULL) == 0)
		redis_setex(c->redis, key, conf->cache_ttl_ms, c->json.p, c->json.len);
	tier_write(c, w, id);
}

void publish_redis(struct coll *c, struct swarm *w)
{
	if (!redis_takes(c->redis))
		return; /* later, in publish_soft */
	w->redis_ms = clock_ms();
	w->redis_phase = w->published_phase;
	claim_look(c, w);
	for (uint32_t i = 0; i < SWARM_IDS; i++)
		if (w->ids[i].asked_ms && w->ids[i].written)
			redis_one(c, w, w->ids[i].id);
	w->redis_due = !redis_takes(c->redis); /* not if that was a trial */
}

/* Under an id that is not the infohash, of a hybrid, it says so. */
static enum swarm_resolved how_of(const struct swarm_id *e, const struct shm_swarm *head)
{
	if (e->resolved != RESOLVED_ENGINE && memcmp(e->id, head->infohash, IH_LEN) != 0)
		return RESOLVED_HYBRID;
	return e->resolved;
}

static int publish_id(struct coll *c, struct swarm_id *e, struct shm_swarm *head)
{
	memcpy(head->id, e->id, IH_LEN);
	head->resolved = how_of(e, head);
	if (ptab_put(c->ptab, head, c->record) != PTAB_PUT) {
		stat_inc(publish_full);
		log_warn("table",
			 "no room to publish a swarm of %u peers: raise shm.peers",
			 head->npeers);
		return -1;
	}
	e->written = 1;
	stat_inc(publishes);
	return 0;
}

int publish_now(struct coll *c, struct swarm *w, int with_redis)
{
	struct shm_swarm head;

	path_look(c);
	swarm_snapshot(w, clock_ms(), clock_wall_ms(), &head, c->record);
	verdict_swarm(&c->path, w, clock_ms(), &head);
	w->published_verdict = head.verdict;
	w->published_path = head.path;
	w->published_ms = clock_ms();
	for (uint32_t i = 0; i < SWARM_IDS; i++)
		if (publish_may_id(&w->ids[i]) && publish_id(c, &w->ids[i], &head) != 0) {
			w->changed_ms = w->published_ms; /* still to be said */
			return -1;
		}
	w->redis_due = 1;
	if (with_redis)
		publish_redis(c, w);
	return 0;
}

int publish_verdict_moved(const struct coll *c, const struct swarm *w)
{
	return w->published_path != path_packed(&c->path) ||
	       w->published_verdict != verdict_of(&c->path, w, clock_ms());
}

int publish_may_id(const struct swarm_id *e)
{
	return e->asked_ms && !e->swarm->away && (e->swarm->round_done || !e->had_slot);
}

int publish_may(const struct swarm *w)
{
	int may = 0;

	for (uint32_t i = 0; i < SWARM_IDS; i++)
		may |= publish_may_id(&w->ids[i]);
	return may;
}

int publish_missing(const struct swarm *w)
{
	int missing = 0;

	for (uint32_t i = 0; i < SWARM_IDS; i++)
		missing |= publish_may_id(&w->ids[i]) && !w->ids[i].written;
	return missing;
}

void publish_soon(struct coll *c)
{
	static const struct timeval tv = {0, PUBLISH_MS * 1000};

	if (c->publish_armed)
		return;
	c->publish_armed = 1;
	event_add(c->publish, &tv);
}

static void publish_important(struct swarm *w, void *arg)
{
	struct coll *c = arg;

	if (w->important && publish_may(w))
		(void)publish_now(c, w, 0);
}

void publish_due(struct coll *c)
{
	c->publish_armed = 0;
	swarms_each(c->swarms, publish_important, c);
}

/* Another node may hold a question back until the list of whom it left the swarm to is
 * settled. */
static int is_awaited(const struct swarm *w)
{
	return w->claim == CLAIM_HELD && w->redis_phase != w->published_phase;
}

static void publish_soft(struct swarm *w, void *arg)
{
	struct coll *c = arg;
	uint64_t now = clock_ms(), ttl = c->kid.conf.cache_ttl_ms;
	uint64_t gap = ttl / 4 < PUBLISH_SOFT_MS ? ttl / 4 : PUBLISH_SOFT_MS;

	if (w->changed_ms && publish_may(w) && now - w->published_ms >= PUBLISH_SOFT_MS)
		(void)publish_now(c, w, 0);
	/* Who holds the claim speaks for the others, who may be asked while we are not. */
	if (w->claim == CLAIM_HELD && w->round_done && publish_may(w) &&
	    now - w->published_ms >= ttl / 2)
		(void)publish_now(c, w, 0);
	if (w->redis_due && (now - w->redis_ms >= gap || is_awaited(w)) &&
	    (now - w->asked_ms < ttl || w->claim == CLAIM_HELD))
		publish_redis(c, w);
}

void publish_tracker_failed(struct coll *c, struct swarm *w, const struct lt_event *e,
			    const char *among)
{
	char site[TRACKER_SITE_MAX], said[SHM_STRING_MAX + 1], hex[IH_HEX_LEN];
	char words[sizeof(e->text)];
	const char *kind = failure_name((uint64_t)e->n);

	tracker_find(among, e->tracker, site);
	snprintf(said, sizeof(said), "%s %s %s", site, kind, e->text);
	w->said = ptab_string(c->ptab, said, strlen(said));
	w->said_by = e->tracker;
	note_set(NOTE_tracker_failure, said);
	if (!tracksay_is_news(&c->tracksay, e->tracker, said, clock_ms()))
		return;
	ih_hex(hex, w->id);
	memcpy(words, e->text, sizeof(words));
	clean_addresses(words);
	log_info("tracker", "%s: %s: %s (swarm %s)", site, kind, words, hex);
}

static void translate_names(struct swarm *w, void *arg)
{
	struct coll *c = arg;

	w->said = ptab_old_client(c->ptab, w->said);
	w->title = ptab_old_client(c->ptab, w->title);
	for (uint32_t i = 0; i < w->npeers; i++) {
		w->peer[i].client = ptab_old_client(c->ptab, w->peer[i].client);
		w->peer[i].place = ptab_old_place(c->ptab, w->peer[i].place);
	}
}

static void publish_any(struct swarm *w, void *arg)
{
	struct coll *c = arg;

	if (publish_may(w))
		(void)publish_now(c, w, 0);
}

static void publish_compact(struct coll *c)
{
	ptab_compact_begin(c->ptab);
	swarms_each(c->swarms, translate_names, c);
	swarms_each(c->swarms, publish_any, c);
	ptab_compact_end(c->ptab);
	stat_inc(names_compacted);
	log_info("table", "names and places compacted");
}

static void publish_usage(struct coll *c)
{
	struct ptab_usage u;

	ptab_usage(c->ptab, &u);
	stat_add(STAT_table_evicted, u.evictions - c->evictions);
	c->evictions = u.evictions;
	stat_set(slots_used, u.slots_used);
	stat_set(chunks_used, u.chunks_used);
	stat_set(chunks_reserved, u.chunks_reserved);
	stat_set(places_used, u.places_used);
	stat_set(string_bytes, u.string_bytes);
}

void publish_tick(struct coll *c)
{
	swarms_each(c->swarms, publish_soft, c);
	if (ptab_names_full(c->ptab)) {
		publish_compact(c);
		places_room(c);
	}
	publish_usage(c);
}

int publish_find(struct coll *c, const uint8_t addr[ADDR_LEN], struct place *p)
{
	struct place told = *p;
	int in_file, online = 0;

	stat_inc(geo_lookups);
	memset(p, 0, sizeof(*p));
	in_file = c->geo && geo_lookup(c->geo, addr, p);
	geosay_fill(p, &told);
	if (c->geoweb && geosay_wanted(p) && !places_pending(c))
		online = geoweb_place(c->geoweb, addr, p);
	stat_add(STAT_geo_hits, (uint64_t)(in_file != 0));
	stat_add(STAT_geo_online_hits, (uint64_t)(online != 0));
	return in_file || online;
}

/* 0: no room. */
static uint32_t intern(struct coll *c, const struct place *p)
{
	uint32_t ref = ptab_intern_place(c->ptab, p);

	stat_add(STAT_places_full, ref == 0);
	return ref;
}

int publish_place(struct coll *c, struct swarm *w, struct peer *p, int told)
{
	uint32_t was = p->place, place = told ? was : 0;
	struct place known;

	ptab_place(c->ptab, place, &known);
	if (publish_find(c, p->addr, &known) && (place = intern(c, &known)) == 0) {
		p->place_owed = told ? PLACE_OWED_TOLD : PLACE_OWED;
		w->places_owed = c->places.room;
		return 0;
	}
	p->place_owed = PLACE_GIVEN;
	p->place = place;
	return place != was;
}

uint32_t publish_listed(struct coll *c, const struct place *p)
{
	uint32_t ref = intern(c, p);

	c->places.lists_owed |= ref == 0;
	return ref;
}

uint32_t publish_better(struct coll *c, const uint8_t addr[ADDR_LEN], uint32_t place)
{
	struct place p;
	uint32_t better;

	ptab_place(c->ptab, place, &p);
	if (!publish_find(c, addr, &p))
		return place;
	better = publish_listed(c, &p);
	return better ? better : place;
}
