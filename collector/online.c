/*
 * online.c -- peers whose country no database knows: geoweb.c asks for it, and what it
 * hears is in the next version of their swarms. Joined ones here; other lists in relist.c.
 */
#include <event2/event.h>

#include "collector/coll.h"
#include "common/clock.h"

/* Soon the first time; then a version for each answer would be many. */
#define TELL_MS 100
#define TELL_GAP_MS 2000
/* Who was not asked about, for want of room or of an answer, is thought of this often. */
#define OFFER_GAP_MS 5000
/* The loop stands still for so long at most; a swarm that was begun is finished, which is 2,000
 * peers and a few milliseconds. */
#define SLICE_US 2000
#define PAUSE_US 1000

static void place_again(struct coll *c, struct swarm *w, struct peer *p)
{
	if (!publish_place(c, w, p, 0))
		return;
	w->changed_ms = clock_ms();
	w->important = 1;
}

static int is_lost(const struct coll *c, const struct peer *p)
{
	return !ptab_has_country(c->ptab, p->place);
}

/* ---- a pass over all peers, in slices ------------------------------------------- */

struct slice {
	struct coll *c;
	uint64_t until_us;
	int more;
};

static void look_at(struct coll *c, struct swarm *w, struct peer *p)
{
	if (!is_lost(c, p))
		return;
	if (geoweb_knows(c->geoweb, p->addr))
		place_again(c, w, p);
	else if (geoweb_has_room(c->geoweb) && !places_pending(c))
		(void)geoweb_offer(c->geoweb, p->addr);
}

static void swarm_again(struct swarm *w, void *arg)
{
	struct slice *s = arg;
	uint32_t pass = s->c->online.pass;

	if (w->online_pass == pass)
		return;
	if (clock_us() >= s->until_us) {
		s->more = 1;
		return;
	}
	w->online_pass = pass;
	for (uint32_t i = 0; i < w->npeers; i++)
		look_at(s->c, w, &w->peer[i]);
}

/* Swarms come and go between two slices: each has the number of the pass that saw it last. */
static void on_more(evutil_socket_t fd, short what, void *arg)
{
	struct coll *c = arg;
	struct online *o = &c->online;
	struct slice s = {c, clock_us() + SLICE_US, 0};

	(void)fd;
	(void)what;
	swarms_each(c->swarms, swarm_again, &s);
	publish_soon(c);
	if (!s.more && !o->again)
		return;
	if (!s.more) {
		o->again = 0;
		o->pass++;
	}
	event_add(o->more, &(struct timeval){0, PAUSE_US});
}

/* One that is under way may have passed by whom this is about. */
static void look(struct coll *c)
{
	struct online *o = &c->online;

	relist_look(c, 0);
	if (event_pending(o->more, EV_TIMEOUT, NULL)) {
		o->again = 1;
		return;
	}
	o->pass++;
	on_more(-1, 0, c);
}

/* ---- when ----------------------------------------------------------------------- */

static void on_tell(evutil_socket_t fd, short what, void *arg)
{
	struct coll *c = arg;

	(void)fd;
	(void)what;
	c->online.told_ms = clock_ms();
	look(c);
}

/* Whose place it is, the pass finds out. */
static void on_place(void *arg, const uint8_t addr[ADDR_LEN])
{
	struct coll *c = arg;
	struct online *o = &c->online;
	uint64_t since = clock_ms() - o->told_ms;
	uint64_t ms = since < TELL_GAP_MS ? TELL_GAP_MS - since : TELL_MS;

	(void)addr;
	if (!event_pending(o->tell, EV_TIMEOUT, NULL))
		event_add(o->tell, &(struct timeval){(time_t)(ms / 1000),
						     (suseconds_t)(ms % 1000) * 1000});
}

static void offer_all(struct coll *c)
{
	if (!geoweb_has_room(c->geoweb) || places_pending(c))
		return;
	c->online.offered_ms = clock_ms();
	look(c);
}

void online_tick(struct coll *c)
{
	if (clock_ms() - c->online.offered_ms >= OFFER_GAP_MS)
		offer_all(c);
}

void online_configure(struct coll *c)
{
	if (geoweb_configure(c->geoweb, &c->kid.conf))
		offer_all(c);
}

/* ---- life ----------------------------------------------------------------------- */

int online_open(struct coll *c)
{
	c->online.tell = evtimer_new(c->base, on_tell, c);
	c->online.more = evtimer_new(c->base, on_more, c);
	if (!c->online.tell || !c->online.more || relist_open(c) != 0)
		return -1;
	return geoweb_open(&c->geoweb, c->base, c->web,
			   stat_gauge_get(c->seg, GAUGE_geo_online_day),
			   stat_gauge_get(c->seg, GAUGE_geo_online_used), on_place, c);
}

void online_close(struct coll *c)
{
	geoweb_close(&c->geoweb);
	relist_close(c);
	if (c->online.tell)
		event_free(c->online.tell);
	if (c->online.more)
		event_free(c->online.more);
}
