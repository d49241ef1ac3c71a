/*
 * relist.c -- lists in the table whose swarm is not joined: another node's, an earlier
 * life's, that of a swarm which was left. While such a list is fresh it answers, so its
 * peers get places as those of joined swarms do: it is published again, as old as it was,
 * when a place that it lacked is known, or when databases are others.
 *
 *   relist_look --> pass over all slots, in slices --> offers to geoweb, or a new version
 *
 * A list is published when all of it was looked at, unless it has moved meanwhile: then it
 * is looked at anew. Proof: tests/e2e/test_online.py, test_tier.py.
 */
#include <event2/event.h>
#include <string.h>

#include "collector/coll.h"
#include "common/clock.h"

/* The loop stands still for so long at most; then others have their turn. */
#define SLICE_US 2000
#define PAUSE_US 1000
/* Peers between two looks at the clock; to look them all up takes some 0.1 ms. */
#define PEERS_A_LOOK 32u

static void arm(struct coll *c)
{
	event_add(c->relist.more, &(struct timeval){0, PAUSE_US});
}

static int is_meant(const struct coll *c, const struct shm_swarm *s, uint64_t now_wall_ms)
{
	const struct conf *conf = &c->kid.conf;

	return s->npeers &&
	       s->cached_at_ms + conf->cache_ttl_ms + conf->cache_grace_ms >
		       now_wall_ms &&
	       !swarms_find(c->swarms, s->id);
}

static uint32_t place_again(struct coll *c, const struct shm_peer *p)
{
	if (c->relist.all) {
		stat_inc(geo_again);
		return publish_better(c, p->addr, p->place);
	}
	if (ptab_has_country(c->ptab, p->place))
		return p->place;
	if (geoweb_knows(c->geoweb, p->addr))
		return publish_better(c, p->addr, p->place);
	if (geoweb_has_room(c->geoweb) && !places_pending(c))
		(void)geoweb_offer(c->geoweb, p->addr);
	return p->place;
}

static void put(struct coll *c, struct swarm_copy *copy)
{
	for (uint32_t i = 0; i < copy->s.npeers; i++)
		copy->peer[i].place = c->relist.place[i];
	if (ptab_put(c->ptab, &copy->s, copy->peer) == PTAB_PUT)
		stat_inc(publishes);
	else
		stat_inc(publish_full);
}

/* The list of this moment; that of the last slice goes on where it was left. */
static int begin_list(struct coll *c, const struct shm_swarm *s)
{
	struct relist *r = &c->relist;

	if (ptab_get(c->ptab, s->id, CONF_SLOT_PEERS, &c->copy) != PTAB_OK) {
		r->moved = 0;
		return -1;
	}
	if (r->at == 0 || r->version != c->copy.s.version ||
	    r->names_seq != c->copy.names_seq) {
		r->at = r->moved = 0;
		r->version = c->copy.s.version;
		r->names_seq = c->copy.names_seq;
	}
	return 0;
}

/* 1: done with this one. */
static int list_again(struct coll *c, const struct shm_swarm *s, uint64_t until_us)
{
	struct relist *r = &c->relist;

	if (begin_list(c, s) != 0)
		return 1;
	for (uint32_t n = 1; r->at < c->copy.s.npeers; r->at++, n++) {
		const struct shm_peer *p = &c->copy.peer[r->at];

		r->place[r->at] = place_again(c, p);
		r->moved |= r->place[r->at] != p->place;
		if (n % PEERS_A_LOOK == 0 && clock_us() >= until_us) {
			r->at++;
			return r->at == c->copy.s.npeers;
		}
	}
	return 1;
}

static void on_more(evutil_socket_t fd, short what, void *arg)
{
	struct coll *c = arg;
	struct relist *r = &c->relist;
	uint64_t now_wall_ms = clock_wall_ms(), until_us = clock_us() + SLICE_US;
	struct shm_swarm s;

	(void)fd;
	(void)what;
	for (; r->slot < seg_dims_of(c->seg)->slots; r->slot++, r->at = 0) {
		if (clock_us() >= until_us) {
			arm(c);
			return;
		}
		if (ptab_slot(c->ptab, r->slot, &s) != PTAB_OK ||
		    !is_meant(c, &s, now_wall_ms))
			continue;
		if (!list_again(c, &s, until_us)) {
			arm(c);
			return;
		}
		if (r->moved)
			put(c, &c->copy);
	}
	r->running = r->all = 0;
	if (r->again)
		relist_look(c, 0);
}

void relist_look(struct coll *c, int all)
{
	struct relist *r = &c->relist;

	if (r->running && !all) {
		r->again = 1;
		return;
	}
	r->running = 1;
	r->all |= all != 0;
	r->again = 0;
	r->slot = r->at = 0;
	arm(c);
}

int relist_open(struct coll *c)
{
	c->relist.more = evtimer_new(c->base, on_more, c);
	return c->relist.more ? 0 : -1;
}

void relist_close(struct coll *c)
{
	if (c->relist.more)
		event_free(c->relist.more);
}
