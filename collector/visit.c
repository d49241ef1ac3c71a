/*
 * visit.c -- makes the visits that swarms want, at a pace that the network bears: with
 * what swarms dial by themselves no more than swarm.connection_speed in a second and
 * swarm.half_open at once.
 */
#include <event2/event.h>
#include <string.h>

#include "collector/coll.h"
#include "common/clock.h"

#define VISIT_BATCH 64    /* of one swarm, before others have their turn */
#define VISIT_WAIT_MS 100 /* until there is room again */

struct visit_pass {
	struct coll *c;
	int early;     /* some swarm is not added yet */
	int64_t room;  /* visits that may still be made */
	uint32_t left; /* visits that have to wait */
};

/* A tenth of the pace is always there for visits, the rest is what swarms leave over. */
static int64_t refill(struct coll *c, const struct lt_load *load)
{
	int64_t speed = c->kid.conf.swarm_connection_speed;
	uint64_t now = clock_ms(), passed = now - c->visit_ms;
	int64_t own = (int64_t)(load->dials - c->visit_dials) * 1000;
	int64_t more, least;

	if (passed > 1000)
		passed = 1000;
	least = (int64_t)passed * speed / 10;
	more = (int64_t)passed * speed - own;
	c->visit_ms = now;
	c->visit_dials = load->dials;
	c->visit_room += more > least ? more : least;
	if (c->visit_room > speed * 1000)
		c->visit_room = speed * 1000;
	return c->visit_room / 1000;
}

static int64_t room(struct coll *c)
{
	const struct conf *conf = &c->kid.conf;
	struct lt_load load;
	int64_t n, half, open;

	lt_load(c->lt, &load);
	n = refill(c, &load);
	half = conf->swarm_half_open - (int64_t)load.half_open;
	open = (int64_t)load.limit - (int64_t)load.open;
	n = n < half ? n : half;
	n = n < open ? n : open;
	return n > 0 ? n : 0;
}

/* Those of one way, out of n. How many were made. */
static size_t visit_way(struct visit_pass *pass, struct swarm *w, enum lt_way way,
			const struct swarm_visit *visit, size_t n)
{
	struct lt_endpoint to[VISIT_BATCH];
	size_t of_way = 0;
	int rc;

	for (size_t i = 0; i < n; i++)
		if (visit[i].way == way)
			to[of_way++] = visit[i].to;
	if (of_way == 0)
		return 0;
	rc = lt_visit(pass->c->lt, w->id, way, to, of_way);
	if (rc < 0)
		stat_add(STAT_visits_lost, of_way);
	for (size_t i = 0; i < n && rc > 0; i++)
		if (visit[i].way == way)
			swarm_visit_later(w, &visit[i]);
	pass->early |= rc > 0;
	return rc > 0 ? 0 : of_way;
}

static void visit_swarm(struct swarm *w, void *arg)
{
	struct visit_pass *pass = arg;
	struct swarm_visit visit[VISIT_BATCH];
	size_t max = pass->room < VISIT_BATCH ? (size_t)pass->room : VISIT_BATCH, n;
	size_t made = 0;

	if (w->plans == 0 || !w->joined)
		return;
	n = swarm_visits(w, clock_ms(), visit, max);
	for (int way = 0; way < LT_WAYS; way++)
		made += visit_way(pass, w, (enum lt_way)way, visit, n);
	stat_add(STAT_visits, made);
	pass->room -= (int64_t)made;
	pass->c->visit_room -= (int64_t)made * 1000;
	pass->left += w->plans;
}

void visit_soon(struct coll *c)
{
	static const struct timeval now = {0, 1000};

	if (c->visit_armed)
		return;
	c->visit_armed = 1;
	event_add(c->visit, &now);
}

void visit_run(struct coll *c)
{
	static const struct timeval later = {0, VISIT_WAIT_MS * 1000};
	static const struct timeval soon = {0, 1000};
	struct visit_pass pass = {.c = c};

	c->visit_armed = 0;
	pass.room = room(c);
	swarms_each(c->swarms, visit_swarm, &pass);
	if (pass.left == 0)
		return;
	c->visit_armed = 1;
	event_add(c->visit, pass.room > 0 && !pass.early ? &soon : &later);
}
