/* geopace.c -- see geopace.h. */
#include "collector/geopace.h"

#include "common/err.h"

#define QUESTION \
	1000u /* of the level: rate a second is so many thousandths a millisecond */

/* ---- the bucket and the budget ------------------------------------------------------- */

static void refill(struct geopace *p, uint64_t now_ms)
{
	uint64_t full = (uint64_t)p->burst * QUESTION, gone = now_ms - p->level_ms;

	p->level_ms = now_ms;
	if (gone >= full / p->rate + 1 || p->level + gone * p->rate > full)
		p->level = full;
	else
		p->level += gone * p->rate;
}

void geopace_configure(struct geopace *p, uint32_t rate, uint32_t burst, uint32_t daily,
		       uint64_t now_ms)
{
	int first = p->burst == 0;

	PS_ASSERT(rate > 0 && burst > 0);
	if (!first)
		refill(p, now_ms);
	p->rate = rate;
	p->burst = burst;
	p->daily = daily;
	p->level_ms = now_ms;
	if (first)
		p->backoff_ms = GEOPACE_BACKOFF_MIN_MS;
	if ((first && p->used == 0) || p->level > (uint64_t)burst * QUESTION)
		p->level = (uint64_t)burst * QUESTION;
}

static void new_day(struct geopace *p, uint64_t wall_ms)
{
	if (wall_ms / GEOPACE_DAY_MS == p->day)
		return;
	p->day = wall_ms / GEOPACE_DAY_MS;
	p->used = 0;
}

uint32_t geopace_left(const struct geopace *p, uint64_t wall_ms)
{
	uint32_t used = wall_ms / GEOPACE_DAY_MS == p->day ? p->used : 0;

	if (p->daily == 0)
		return UINT32_MAX;
	return used < p->daily ? p->daily - used : 0;
}

/* ---- the question ------------------------------------------------------------------------ */

uint64_t geopace_wait_ms(struct geopace *p, uint64_t now_ms, uint64_t wall_ms)
{
	refill(p, now_ms);
	new_day(p, wall_ms);
	if (p->probing)
		return UINT64_MAX;
	if (p->state != GEOPACE_READY && now_ms < p->until_ms)
		return p->until_ms - now_ms;
	if (geopace_left(p, wall_ms) == 0)
		return GEOPACE_DAY_MS - wall_ms % GEOPACE_DAY_MS;
	if (p->level < QUESTION)
		return (QUESTION - p->level + p->rate - 1) / p->rate;
	return 0;
}

enum geopace_go geopace_next(struct geopace *p, uint64_t now_ms, uint64_t wall_ms,
			     uint64_t *wait_ms)
{
	int probe = p->state != GEOPACE_READY;

	*wait_ms = geopace_wait_ms(p, now_ms, wall_ms);
	if (*wait_ms)
		return GEOPACE_WAIT;
	p->level -= QUESTION;
	p->used++;
	p->probing = probe;
	return probe ? GEOPACE_PROBE : GEOPACE_GO;
}

/* ---- how it ended -------------------------------------------------------------------------- */

/* A question that was on its way before says nothing about the time after. */
void geopace_answered(struct geopace *p, int probe)
{
	if (p->state != GEOPACE_READY && !probe)
		return;
	if (p->state == GEOPACE_LIMITED)
		p->level = 0; /* no burst: the bucket filled up while nobody was asked */
	p->probing = 0;
	p->state = GEOPACE_READY;
	p->failures = 0;
	p->backoff_ms = GEOPACE_BACKOFF_MIN_MS;
}

static void leave_alone(struct geopace *p, enum geopace_state state, uint64_t now_ms,
			uint64_t for_ms)
{
	p->state = state;
	if (p->until_ms < now_ms + for_ms)
		p->until_ms = now_ms + for_ms;
}

/* The time to leave it alone now; the next one is twice as long. */
static uint64_t back_off(struct geopace *p)
{
	uint64_t ms = p->backoff_ms;

	p->backoff_ms = ms * 2 > GEOPACE_BACKOFF_MAX_MS ? GEOPACE_BACKOFF_MAX_MS : ms * 2;
	return ms;
}

void geopace_failed(struct geopace *p, uint64_t now_ms, int probe)
{
	if (probe)
		p->probing = 0;
	else if (p->state != GEOPACE_READY || ++p->failures < GEOPACE_FAILS)
		return;
	leave_alone(p, GEOPACE_DOWN, now_ms, back_off(p));
}

void geopace_limited(struct geopace *p, uint64_t now_ms, uint64_t retry_ms, int probe)
{
	if (probe)
		p->probing = 0;
	/* Of a burst that is refused, the first one decides on the time. */
	if (!retry_ms && (probe || p->state == GEOPACE_READY))
		retry_ms = back_off(p);
	leave_alone(p, GEOPACE_LIMITED, now_ms, retry_ms);
}

void geopace_cancelled(struct geopace *p, int probe)
{
	if (probe)
		p->probing = 0;
}

void geopace_forgive(struct geopace *p)
{
	p->state = GEOPACE_READY;
	p->probing = 0;
	p->failures = 0;
	p->until_ms = 0;
	p->backoff_ms = GEOPACE_BACKOFF_MIN_MS;
}
