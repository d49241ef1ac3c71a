/*
 * tierlist.c -- lists of other nodes: into the table, and ours out of it; see tier.h.
 */
#include <stdio.h>
#include <string.h>

#include "collector/coll.h"
#include "collector/listjson.h"
#include "collector/tier.h"
#include "common/clock.h"

/* ---- in ---------------------------------------------------------------------------- */

/* The reference of a text, made when it is first needed. */
static uint32_t text_ref(struct coll *c, uint32_t i)
{
	struct tier *t = c->tier;
	const char *s;
	size_t len;

	if (i && !t->text[i]) {
		s = listcode_text(&t->list, i, &len);
		t->text[i] = ptab_string(c->ptab, s, len);
	}
	return i ? t->text[i] : 0;
}

static uint32_t place_ref(struct coll *c, uint32_t i)
{
	struct tier *t = c->tier;
	struct place pl;

	if (i && !t->place[i]) {
		listcode_place(&t->list, i, &pl);
		t->place[i] = publish_listed(c, &pl);
	}
	return i ? t->place[i] : 0;
}

/* What the list says, where we don't know better. */
static uint32_t best_place(struct coll *c, const struct shm_peer *p)
{
	struct place pl = {.asn = 0};
	uint32_t own = 0;

	if (p->place)
		listcode_place(&c->tier->list, p->place, &pl);
	if (publish_find(c, p->addr, &pl))
		own = publish_listed(c, &pl);
	return own ? own : place_ref(c, p->place);
}

/* Without those that we don't list: us, and who is private. */
static void settle_in(struct coll *c, struct shm_swarm *s, struct shm_peer *peer)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < s->npeers; i++) {
		struct shm_peer *p = &peer[n];

		if (!own_may_list(c, peer[i].addr, peer[i].port)) {
			s->connected -= peer[i].state == PEER_CONNECTED && s->connected;
			s->contacted -= peer[i].state == PEER_CONTACTED && s->contacted;
			s->tried -= peer[i].state == PEER_TRIED && s->tried;
			stat_inc(peers_refused);
			continue;
		}
		*p = peer[i];
		p->client = text_ref(c, p->client);
		p->place = best_place(c, p);
		n++;
	}
	s->total_peers -= s->npeers - n;
	s->npeers = n;
	s->title = text_ref(c, s->title);
	s->tracker_said = text_ref(c, s->tracker_said);
}

int tier_is_seen(const struct shm_swarm *s)
{
	if (s->phase == SWARM_JOINING || s->verdict == VERDICT_PATH_BLOCKED ||
	    PATH_ALL(s->path) >= PATH_BLOCKED)
		return 0;
	return s->npeers || (PATH_ALL(s->path) == PATH_OPEN &&
			     (s->trackers_ok || s->dht_at_s || s->discovered ||
			      s->verdict == VERDICT_DEAD));
}

int tier_may_share(const struct coll *c, const struct swarm *w, const struct shm_swarm *s)
{
	return c->kid.conf.redis_mode != REDIS_EXTERNAL ||
	       (w->claim != CLAIM_LOST && tier_is_seen(s) &&
		PATH_ALL(path_packed(&c->path)) < PATH_BLOCKED);
}

/* May what this list says stand for the swarm that is meant? */
static int is_answer(const struct tier_flight *f, const struct shm_swarm *s)
{
	int same = memcmp(s->infohash, f->r.infohash, IH_LEN) == 0 ||
		   (s->has_v2 && memcmp(s->v2, f->r.infohash, IH_LEN) == 0);

	if (f->r.how == RESOLVED_ENGINE && !same)
		return 0; /* the id means another swarm now */
	return tier_is_seen(s);
}

int tier_is_newer(const struct coll *c, const struct shm_swarm *s)
{
	uint32_t any = UINT32_MAX;
	struct shm_swarm old;

	return ptab_peek(c->ptab, s->id, &any, &old) != PTAB_OK ||
	       s->cached_at_ms > old.cached_at_ms;
}

static enum tier_age age_of(const struct coll *c, const struct shm_swarm *s, uint64_t now)
{
	const struct conf *conf = &c->kid.conf;
	uint64_t age = now - s->cached_at_ms;

	if (age < conf->cache_ttl_ms)
		return TIER_FRESH;
	return age < conf->cache_ttl_ms + conf->cache_grace_ms ? TIER_STALE : TIER_NONE;
}

int tier_put(struct coll *c)
{
	struct tier *t = c->tier;

	memset(t->text, 0, sizeof(t->text));
	memset(t->place, 0, sizeof(t->place));
	settle_in(c, &t->list.s, t->list.peer);
	if (ptab_put(c->ptab, &t->list.s, t->list.peer) != PTAB_PUT) {
		stat_inc(publish_full);
		return -1;
	}
	stat_inc(publishes);
	return 0;
}

/* ahead_s: of our clock, that of its times. */
static enum tier_age take(struct tier_flight *f, const uint8_t key[IH_LEN],
			  const char *value, size_t len, int64_t ahead_s)
{
	struct coll *c = f->c;
	struct tier *t = c->tier;
	struct shm_swarm *s = &t->list.s;
	uint64_t now = clock_wall_ms();

	if (listcode_read(&t->list, key, value, len, now + (uint64_t)(ahead_s * 1000)) !=
	    0) {
		stat_inc(tier_bad);
		return TIER_NONE;
	}
	listcode_shift(s, t->list.peer, -ahead_s);
	if (!is_answer(f, s) || swarms_find(c->swarms, f->asked))
		return TIER_NONE;
	if (memcmp(key, f->asked, IH_LEN) != 0) {
		memcpy(s->id, f->asked, IH_LEN);
		s->resolved = f->r.how;
	}
	if (s->cached_at_ms > now)
		s->cached_at_ms = now; /* of a clock that is a little ahead */
	if (tier_is_newer(c, s) && tier_put(c) != 0)
		return TIER_NONE;
	return age_of(c, s, now);
}

enum tier_age tier_take(struct tier_flight *f, const uint8_t key[IH_LEN],
			const char *value, size_t len)
{
	return take(f, key, value, len, f->c->tier->ahead_s);
}

/* Its writer's clock is nobody's but its own. */
enum tier_age tier_take_json(struct tier_flight *f, const char *value, size_t len)
{
	struct tier *t = f->c->tier;

	buf_reset(&t->out);
	if (listjson_convert(&t->out, f->asked, value, len) != 0) {
		stat_inc(tier_bad);
		return TIER_NONE;
	}
	return take(f, f->asked, t->out.p, t->out.len, 0);
}

/* ---- out --------------------------------------------------------------------------- */

static void text_of(void *arg, uint32_t ref, char out[SHM_STRING_MAX + 1])
{
	ptab_client(arg, ref, out);
}

static void place_of(void *arg, uint32_t ref, struct place *out)
{
	ptab_place(arg, ref, out);
}

int tier_list(struct coll *c, struct buf *out, const struct swarm_copy *copy)
{
	const struct listcode_names names = {text_of, place_of, c->ptab};

	return listcode_write(out, &copy->s, copy->peer, &names);
}

static void write_as(struct coll *c, const struct swarm_copy *copy)
{
	const struct conf *conf = &c->kid.conf;
	struct buf *out = &c->tier->out;
	char hex[IH_HEX_LEN], key[64];

	ih_hex(hex, copy->s.id);
	snprintf(key, sizeof(key), "peerscope:list:%s", hex);
	buf_reset(out);
	if (tier_list(c, out, copy) == 0)
		redis_setex(c->redis, key, conf->cache_ttl_ms + conf->cache_grace_ms,
			    out->p, out->len);
}

/* The holder of a claim speaks for the swarm: also under its infohash, where those look who
 * came by another id. */
void tier_write(struct coll *c, const struct swarm *w, const uint8_t id[IH_LEN])
{
	struct swarm_copy *copy = &c->copy;
	const struct swarm_id *e = swarms_id(c->swarms, w->id);

	if (ptab_get(c->ptab, id, CONF_SLOT_PEERS, copy) != PTAB_OK ||
	    copy->s.phase == SWARM_JOINING || !tier_may_share(c, w, &copy->s))
		return;
	listcode_shift(&copy->s, copy->peer, c->tier->ahead_s);
	write_as(c, copy);
	if (w->claim != CLAIM_HELD || (e && e->asked_ms))
		return;
	memcpy(copy->s.id, w->id, IH_LEN);
	copy->s.resolved = RESOLVED_TAKEN;
	write_as(c, copy);
}
