/* park.c -- requests that wait for the collector; see park.h. */
#include <stdlib.h>

#include "worker/park.h"

#define PARK_INDEX_BITS 14 /* http.max_parked is at most 16384 */

struct park {
	struct worker *w;
	uint32_t places, used;
	struct parked *free;
	void (*late)(struct parked *p);
	struct parked *place;
};

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct parked *p = arg;

	(void)fd;
	(void)what;
	p->ask.w->park->late(p);
}

/* Our own line of the page: `top` shows it at once. */
static void show(const struct park *park)
{
	if (park->w->page)
		atomic_store_explicit(&park->w->page->parked, park->used,
				      memory_order_relaxed);
}

struct park *park_new(struct worker *w, uint32_t places, void (*late)(struct parked *p))
{
	struct park *park = xcalloc(1, sizeof *park);

	PS_ASSERT(places > 0 && places <= 1u << PARK_INDEX_BITS);
	park->w = w;
	park->places = places;
	park->late = late;
	park->place = xcalloc(places, sizeof *park->place);
	for (uint32_t i = places; i-- > 0;) {
		park->place[i].index = i;
		park->place[i].next_free = park->free;
		park->free = &park->place[i];
	}
	return park;
}

void park_free(struct park **park)
{
	if (!*park)
		return;
	free((*park)->place);
	free(*park);
	*park = NULL;
}

struct parked *park_take(struct park *park, const struct ask *ask, uint64_t ms)
{
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
	struct worker *w = park->w;
	struct parked *p = park->free;

	if (!p)
		return NULL;
	park->free = p->next_free;
	park->used++;
	show(park);
	p->ask = *ask;
	p->ask.query = "";
	p->used = 1;
	p->pushed = 0;
	p->uses++;
	p->token = lane_token(w->kid->slot, w->kid->gen,
			      p->uses << PARK_INDEX_BITS | p->index);
	evtimer_assign(&p->timer, w->base, on_timer, p);
	evtimer_add(&p->timer, &tv);
	return p;
}

struct parked *park_find(struct park *park, uint64_t token)
{
	uint32_t i = lane_token_seq(token) & ((1u << PARK_INDEX_BITS) - 1);
	struct parked *p = i < park->places ? &park->place[i] : NULL;

	return p && p->used && p->token == token ? p : NULL;
}

void park_release(struct park *park, struct parked *p)
{
	PS_ASSERT(p->used);
	evtimer_del(&p->timer);
	p->used = 0;
	p->next_free = park->free;
	park->free = p;
	park->used--;
	show(park);
}

uint32_t park_used(const struct park *park)
{
	return park->used;
}

void park_each(struct park *park, void (*fn)(struct parked *p))
{
	for (uint32_t i = 0; i < park->places; i++)
		if (park->place[i].used)
			fn(&park->place[i]);
}
