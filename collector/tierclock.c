/*
 * tierclock.c -- clocks of nodes differ; the times in a list are those of Redis' clock; see
 * tier.h.
 */
#include <stdlib.h>
#include <string.h>

#include "collector/coll.h"
#include "collector/tier.h"
#include "common/clock.h"
#include "common/log.h"

/* How often Redis is asked; an NTP daemon may set a clock at any time. */
#define ASK_MS 10000u
/* What an answer took longer than this says too little. */
#define TRIP_MS 1000u

static const char TIME[] = "local t = redis.call('TIME')\n"
			   "return string.format('%d%03d', t[1], t[2] / 1000)";

int tier_clock_read(int64_t *ahead_s, const char *text, size_t len, uint64_t wall_ms)
{
	uint64_t said = 0;
	int64_t ms;

	if (len < 4 || len > 15)
		return -1;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -1;
		said = said * 10 + (uint64_t)(text[i] - '0');
	}
	ms = (int64_t)said - (int64_t)wall_ms;
	*ahead_s = (ms + (ms < 0 ? -500 : 500)) / 1000;
	if (llabs(*ahead_s) > TIER_CLOCK_MAX_S)
		return -1;
	if (llabs(*ahead_s) <= TIER_CLOCK_SAME_S)
		*ahead_s = 0;
	return 0;
}

/* Who is a second off now and then should not be said to be so again and again. */
static void take(struct tier *t, int64_t ahead_s)
{
	if (llabs(ahead_s - t->ahead_s) <= 1)
		return;
	t->ahead_s = ahead_s;
	if (ahead_s)
		log_warn("redis",
			 "its clock is %lld s %s ours; lists go by its clock, and one of "
			 "them is wrong",
			 llabs(ahead_s), ahead_s > 0 ? "ahead of" : "behind");
	else
		log_notice("redis", "its clock and ours agree");
}

static void on_time(void *arg, const char *value, size_t len)
{
	struct tier *t = arg;
	uint64_t trip = clock_ms() - t->clock_ms;
	int64_t ahead_s;

	t->clock = NULL;
	if (value && trip <= TRIP_MS &&
	    tier_clock_read(&ahead_s, value, len, clock_wall_ms() - trip / 2) == 0)
		take(t, ahead_s);
}

void tier_clock_tick(struct coll *c)
{
	const struct redis_script s = {.text = TIME};
	struct tier *t = c->tier;
	uint64_t now = clock_ms();

	if (c->kid.conf.redis_mode != REDIS_EXTERNAL || t->clock || !redis_up(c->redis) ||
	    (t->clock_ms && now - t->clock_ms < ASK_MS))
		return;
	t->clock_ms = now;
	t->clock = redis_eval(c->redis, &s, c->kid.conf.redis_timeout_ms, on_time, t);
}

void tier_clock_forget(struct coll *c)
{
	redis_get_cancel(&c->tier->clock);
	c->tier->clock_ms = 0;
	c->tier->ahead_s = 0;
}
