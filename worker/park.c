/* park.c -- requests that wait for the collector; see park.h. */
#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"
#include "shm/stat.h"
#include "worker/park.h"

#define PARK_HOLD_LOOK_MS 100
/* Longer than a collector is away for: its workers drain first, and then it has to stop. */
#define PARK_HOLD_MORE_MS 20000
#define PARK_INDEX_BITS 14 /* http.max_parked is at most 16384 */

struct park {
	struct worker *w;
	uint32_t places, used;
	struct parked *free;
	struct parked *place;
};

/* Its place is used again: the collector must not keep the old token. */
static void forget(struct parked *p)
{
	struct worker *w = p->ask.w;
	struct shm_job job = {.kind = JOB_FORGET, .token = p->token};

	if (!p->pushed)
		return;
	p->pushed = 0;
	if (lane_push(w->lane, &job, NULL, "") == 0)
		kid_ring(w->kid->collector_bell_fd);
	else
		stat_inc(lane_full); /* its wait ends by itself */
}

static void arm(struct parked *p, uint64_t ms)
{
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

	evtimer_add(&p->timer, &tv);
}

static uint64_t hold_of(const struct worker *w)
{
	const struct shm_head *h = seg_head(w->seg);
	uint64_t since = atomic_load_explicit(&h->hold_ms, memory_order_acquire);

	if (!since || atomic_load(&h->draining)) /* no other collector comes */
		return 0;
	return clock_ms() - since < w->conf->master_drain_timeout_ms + PARK_HOLD_MORE_MS
		       ? since
		       : 0;
}

static void be_late(struct parked *p)
{
	stat_inc(peers_park_late);
	forget(p);
	http_about(&p->ask);
	p->kind->late(p);
	log_about("");
}

void park_late(struct park *park)
{
	for (uint32_t i = 0; i < park->places; i++)
		if (park->place[i].used)
			be_late(&park->place[i]);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct parked *p = arg;

	(void)fd;
	(void)what;
	if (p->ask.w->hold_ms || hold_of(p->ask.w)) {
		arm(p, PARK_HOLD_LOOK_MS); /* park_bell ends it */
		return;
	}
	be_late(p);
}

static void on_gone(struct worker *w, struct waiting *me)
{
	struct parked *p = (struct parked *)(void *)me;

	(void)w;
	forget(p);
	if (p->kind->release)
		p->kind->release(p);
	park_end(p);
}

/* Our own line of the page: `top` shows it at once. */
static void show(const struct park *park)
{
	if (park->w->page)
		atomic_store_explicit(&park->w->page->parked, park->used,
				      memory_order_relaxed);
}

struct park *park_new(struct worker *w, uint32_t places)
{
	struct park *park = xcalloc(1, sizeof *park);

	PS_ASSERT(places > 0 && places <= 1u << PARK_INDEX_BITS);
	park->w = w;
	park->places = places;
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

struct parked *park_take(struct park *park, const struct ask *ask,
			 const struct parked_kind *kind, uint64_t ms)
{
	struct worker *w = park->w;
	struct parked *p = park->free;

	if (!p) {
		stat_inc(peers_park_full);
		return NULL;
	}
	park->free = p->next_free;
	park->used++;
	show(park);
	p->kind = kind;
	p->waiting.gone = on_gone;
	p->own = NULL;
	p->ask = *ask;
	p->ask.query = "";
	p->used = 1;
	p->pushed = 0;
	p->uses++;
	p->token = lane_token(w->kid->slot, w->kid->gen,
			      p->uses << PARK_INDEX_BITS | p->index);
	evtimer_assign(&p->timer, w->base, on_timer, p);
	p->began_ms = clock_ms();
	p->late_ms = p->began_ms + ms;
	arm(p, ms);
	return p;
}

struct parked *park_find(struct park *park, uint64_t token)
{
	uint32_t i = lane_token_seq(token) & ((1u << PARK_INDEX_BITS) - 1);
	struct parked *p = i < park->places ? &park->place[i] : NULL;

	return p && p->used && p->token == token ? p : NULL;
}

int park_begin(struct parked *p)
{
	if (hold_of(p->ask.w)) { /* for the next collector: park_bell */
		p->ask.w->repush = 1;
		stat_inc(peers_parked);
		http_wait(&p->ask, &p->waiting);
		return 0;
	}
	if (p->kind->push(p) != 0) {
		stat_inc(lane_full);
		if (p->kind->release)
			p->kind->release(p);
		park_end(p);
		return -1;
	}
	p->pushed = 1;
	kid_ring(p->ask.w->kid->collector_bell_fd);
	stat_inc(peers_parked);
	http_wait(&p->ask, &p->waiting);
	return 0;
}

void park_end(struct parked *p)
{
	struct park *park = p->ask.w->park;

	PS_ASSERT(p->used);
	http_wait(&p->ask, NULL);
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

/* A full lane is tried again at the next bell. */
static void push_again(struct parked *p)
{
	struct worker *w = p->ask.w;

	if (p->pushed)
		return;
	p->pushed = p->kind->push(p) == 0;
	if (p->pushed) {
		kid_ring(w->kid->collector_bell_fd);
		return;
	}
	stat_inc(lane_full);
	w->repush = 1;
}

static void push_all(struct park *park, int new_collector)
{
	for (uint32_t i = 0; i < park->places; i++) {
		struct parked *p = &park->place[i];

		if (!p->used)
			continue;
		if (new_collector)
			p->pushed = 0;
		push_again(p);
	}
}

/*
 * Its clock goes on; it stood still since then. The next collector begins anew with the
 * swarm: who had less left than such a beginning takes has that.
 */
static void let_go(struct parked *p, uint64_t since_ms, uint64_t now)
{
	uint64_t least = p->ask.w->conf->swarm_discovery_wait_ms;
	uint64_t more = now - (p->began_ms > since_ms ? p->began_ms : since_ms);

	if (least > p->until_ms - p->began_ms)
		least = p->until_ms - p->began_ms;
	if (p->until_ms + more < now + least)
		more = now + least - p->until_ms;
	p->until_ms += more;
	p->late_ms += more;
	arm(p, p->late_ms > now ? p->late_ms - now : 0);
}

static void let_all_go(struct park *park, uint64_t since_ms)
{
	uint64_t now = clock_ms();

	for (uint32_t i = 0; i < park->places; i++)
		if (park->place[i].used)
			let_go(&park->place[i], since_ms, now);
}

static void look_at_hold(struct worker *w)
{
	uint64_t since = hold_of(w);

	if (w->hold_ms && !since)
		let_all_go(w->park, w->hold_ms);
	w->hold_ms = since;
}

/* Completions first: what an old collector finished is not asked again. */
void park_bell(struct worker *w)
{
	uint32_t epoch =
		atomic_load_explicit(&seg_head(w->seg)->epoch, memory_order_acquire);
	int moved;
	enum lane_rc rc;
	uint32_t retry_s;
	uint64_t token;

	while (lane_done_pop(w->lane, &token, &rc, &retry_s)) {
		struct parked *p = park_find(w->park, token);

		if (!p) {
			stat_inc(lane_old);
			continue;
		}
		http_about(&p->ask);
		p->kind->done(p, rc, retry_s);
		log_about("");
	}
	look_at_hold(w);
	if (w->hold_ms)
		return; /* they are pushed with the time that they have then */
	moved = epoch != w->epoch;
	w->epoch = epoch;
	if (moved || w->repush) {
		w->repush = 0;
		push_all(w->park, moved);
	}
}
