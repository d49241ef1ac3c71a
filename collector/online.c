/*
 * online.c -- peers whose country no database knows: geoweb.c asks for it, and what it
 * hears is in the next version of their swarms. Joined ones here; other lists in relist.c.
 */
#include <event2/event.h>
#include <string.h>

#include "collector/coll.h"
#include "collector/geosay.h"
#include "common/clock.h"

/* Soon the first time; then a version for each answer would be many. */
#define TELL_MS 100
#define TELL_GAP_MS 2000
/* Who was not asked about, for want of room or of an answer, is thought of this often. */
#define OFFER_GAP_MS 5000

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

/* ---- answers ------------------------------------------------------------------ */

static int is_news(const struct online *o, const uint8_t addr[ADDR_LEN])
{
	uint8_t subject[ADDR_LEN];

	if (geosay_subject(subject, addr) != 0)
		return 0;
	if (o->nnews > ONLINE_NEWS)
		return 1;
	for (uint32_t i = 0; i < o->nnews; i++)
		if (memcmp(o->news[i], subject, ADDR_LEN) == 0)
			return 1;
	return 0;
}

static void take_news(struct swarm *w, void *arg)
{
	struct coll *c = arg;

	for (uint32_t i = 0; i < w->npeers; i++)
		if (is_lost(c, &w->peer[i]) && is_news(&c->online, w->peer[i].addr))
			place_again(c, w, &w->peer[i]);
}

static void on_tell(evutil_socket_t fd, short what, void *arg)
{
	struct coll *c = arg;

	(void)fd;
	(void)what;
	swarms_each(c->swarms, take_news, c);
	relist_look(c, 0);
	c->online.told_ms = clock_ms();
	c->online.nnews = 0;
	publish_soon(c);
}

static void on_place(void *arg, const uint8_t addr[ADDR_LEN])
{
	struct coll *c = arg;
	struct online *o = &c->online;
	uint64_t since = clock_ms() - o->told_ms;
	uint64_t ms = since < TELL_GAP_MS ? TELL_GAP_MS - since : TELL_MS;

	if (o->nnews < ONLINE_NEWS)
		memcpy(o->news[o->nnews], addr, ADDR_LEN);
	if (o->nnews++ > 0)
		return;
	event_add(o->tell, &(struct timeval){(time_t)(ms / 1000),
					     (suseconds_t)(ms % 1000) * 1000});
}

/* ---- questions ------------------------------------------------------------------ */

static void offer(struct swarm *w, void *arg)
{
	struct coll *c = arg;

	for (uint32_t i = 0; i < w->npeers && geoweb_has_room(c->geoweb); i++)
		if (is_lost(c, &w->peer[i]) &&
		    geoweb_offer(c->geoweb, w->peer[i].addr) == 1)
			place_again(c, w, &w->peer[i]);
}

static void offer_all(struct coll *c)
{
	if (!geoweb_has_room(c->geoweb) || places_pending(c))
		return;
	c->online.offered_ms = clock_ms();
	swarms_each(c->swarms, offer, c);
	relist_look(c, 0);
	publish_soon(c);
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
	if (!c->online.tell || relist_open(c) != 0)
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
}
