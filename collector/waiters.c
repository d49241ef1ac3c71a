/*
 * waiters.c -- who waits: for a swarm to be known well enough, or first for the engine's
 * word which swarm is meant; and the answers, over the workers' completion lanes.
 */
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "collector/coll.h"
#include "common/clock.h"

/* ---- answers --------------------------------------------------------------- */

/* Tokens of a worker that is gone are dropped: its successor has another
 * generation, and its lane must not fill with strangers' answers. */
void wait_answer_in(struct coll *c, uint64_t token, enum lane_rc rc, uint32_t retry_s)
{
	int slot = lane_token_slot(token);
	const struct shm_page *page;

	if (token == 0)
		return;
	page = seg_page(c->seg, (uint32_t)slot);
	if ((atomic_load(&page->gen) & 0xffffffu) != lane_token_gen(token))
		return;
	if (lane_done_room(c->lane[slot]) == 0) {
		stat_inc(done_lost); /* the request's own deadline answers it */
		return;
	}
	lane_done_push(c->lane[slot], token, rc, retry_s);
	kid_ring(c->kid.worker_bell_fd[slot]);
}

void wait_answer(struct coll *c, uint64_t token, enum lane_rc rc)
{
	wait_answer_in(c, token, rc, 0);
}

static void waiter_drop(struct coll *c, struct waiter **at)
{
	struct waiter *q = *at;

	*at = q->next;
	if (q->swarm)
		q->swarm->waiters--;
	c->nwaiters--;
	c->slot_waiters[lane_token_slot(q->token)]--;
	stat_set(waiters, c->nwaiters);
	free(q);
}

/* Look at a swarm once in a pass, however many wait for it. The first round may be over
 * by its own time: discovery_wait. */
void wait_judge(struct coll *c, struct swarm *w, uint64_t now)
{
	if (w->judged == c->pass)
		return;
	w->judged = c->pass;
	if (w->away) {
		w->ready = w->settled = 0;
		w->recheck_ms = 0;
		return;
	}
	if (!w->round_done && now - w->joined_ms >= c->kid.conf.swarm_discovery_wait_ms)
		w->round_done = 1;
	w->ready = swarm_round_done(w, now, &w->recheck_ms);
	w->settled = w->ready && swarm_phase(w, now) >= SWARM_SETTLED;
	if (w->ready && !w->settled)
		w->recheck_ms = now + 50; /* quiet is a matter of time, not of an event */
}

/* Without a swarm: the engine is still being asked what the id means, or Redis what is
 * known of it (tier.h). */
static int waiter_ready(const struct waiter *q, uint64_t now)
{
	if (now >= q->until_ms || !q->swarm) /* or it is fetch.c that answers */
		return now >= q->until_ms;
	return q->settled ? q->swarm->settled : q->swarm->ready;
}

static void wake_at(struct coll *c, uint64_t now, uint64_t when)
{
	uint64_t ms = when > now ? when - now : 1;
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000) * 1000};

	event_add(c->wake, &tv);
}

/* See that the table says all we know, before somebody is sent to look there. An older
 * answer stays while the first round of a new life is under way. */
static enum lane_rc bring_up_to_date(struct coll *c, struct swarm *w, uint64_t now)
{
	if (!publish_may(w))
		return LANE_OK;
	if ((w->changed_ms || !w->published_ms || publish_missing(w) ||
	     swarm_phase(w, now) != w->published_phase) &&
	    publish_now(c, w, 1) != 0)
		return LANE_TABLE;
	if (w->redis_due)
		publish_redis(c, w);
	return LANE_OK;
}

void wait_check(struct coll *c)
{
	uint64_t now = clock_ms(), next = UINT64_MAX;

	c->pass++;
	for (struct waiter **at = &c->waiters; *at;) {
		struct waiter *q = *at;
		struct swarm *w = q->swarm;

		if (w)
			wait_judge(c, w, now);
		if (waiter_ready(q, now)) {
			uint64_t token = q->token;
			enum lane_rc rc = w         ? bring_up_to_date(c, w, now)
					  : q->meta ? LANE_META_NONE
						    : LANE_OK;

			waiter_drop(c, at);
			wait_answer(c, token, rc);
			continue;
		}
		if (q->until_ms < next)
			next = q->until_ms;
		if (w && w->recheck_ms && w->recheck_ms < next)
			next = w->recheck_ms;
		at = &q->next;
	}
	if (next != UINT64_MAX)
		wake_at(c, now, next);
}

/* ---- from one swarm to another ------------------------------------------------- */

void wait_hand_over(struct coll *c, struct swarm *from, struct swarm *to,
		    const uint8_t *id)
{
	for (struct waiter *q = c->waiters; q; q = q->next) {
		if (q->meta || q->swarm != from || (id && memcmp(q->id, id, IH_LEN) != 0))
			continue;
		q->swarm = to;
		if (from)
			from->waiters--;
		if (to)
			to->waiters++;
	}
}

/* Waits under id for what is not joined, or not yet. */
static int waits_unjoined(const struct waiter *q, const uint8_t id[IH_LEN])
{
	return !q->swarm && !q->meta && memcmp(q->id, id, IH_LEN) == 0;
}

void wait_found(struct coll *c, struct swarm *w, const uint8_t id[IH_LEN])
{
	uint64_t now = clock_ms();

	for (struct waiter *q = c->waiters; q; q = q->next)
		if (waits_unjoined(q, id) && !q->settled &&
		    now + q->wait_ms < q->until_ms)
			q->until_ms = now + q->wait_ms;
	wait_hand_over(c, NULL, w, id);
}

/* Of those who want a settled list only if it is. How many. */
static uint32_t answer_id(struct coll *c, const uint8_t id[IH_LEN], enum lane_rc rc,
			  int settled)
{
	uint32_t n = 0;

	for (struct waiter **at = &c->waiters; *at;) {
		uint64_t token = (*at)->token;

		if (!waits_unjoined(*at, id) || ((*at)->settled && !settled)) {
			at = &(*at)->next;
			continue;
		}
		waiter_drop(c, at);
		wait_answer(c, token, rc);
		n++;
	}
	return n;
}

void wait_answer_id(struct coll *c, const uint8_t id[IH_LEN], enum lane_rc rc)
{
	(void)answer_id(c, id, rc, 1);
}

uint32_t wait_for_more(const struct coll *c, const uint8_t id[IH_LEN])
{
	uint32_t n = 0;

	for (const struct waiter *q = c->waiters; q; q = q->next)
		n += waits_unjoined(q, id) && q->settled;
	return n;
}

uint32_t wait_satisfy(struct coll *c, const uint8_t id[IH_LEN], int settled)
{
	(void)answer_id(c, id, LANE_OK, settled);
	return settled ? 0 : wait_for_more(c, id);
}

void wait_refuse(struct coll *c, const uint8_t id[IH_LEN], enum lane_rc rc)
{
	stat_add(STAT_jobs_refused, answer_id(c, id, rc, 1));
}

void wait_answer_all(struct coll *c, const struct swarm *w, enum lane_rc rc)
{
	for (struct waiter **at = &c->waiters; *at;) {
		uint64_t token = (*at)->token;

		if ((*at)->swarm != w) {
			at = &(*at)->next;
			continue;
		}
		waiter_drop(c, at);
		wait_answer(c, token, rc);
	}
}

void wait_answer_meta(struct coll *c, const struct fetch_flight *f, enum lane_rc rc)
{
	for (struct waiter **at = &c->waiters; *at;) {
		uint64_t token = (*at)->token;

		if ((*at)->meta != f) {
			at = &(*at)->next;
			continue;
		}
		waiter_drop(c, at);
		wait_answer(c, token, rc);
	}
}

int wait_is_for_meta(const struct coll *c, const struct fetch_flight *f)
{
	const struct waiter *q = c->waiters;

	while (q && q->meta != f)
		q = q->next;
	return q != NULL;
}

void wait_move_meta(struct coll *c, const struct fetch_flight *from,
		    const struct fetch_flight *to)
{
	for (struct waiter *q = c->waiters; q; q = q->next)
		if (q->meta == from)
			q->meta = to;
}

/* ---- coming and going ----------------------------------------------------------- */

/* Every waiter has its place in the completion lane of its worker, and as many
 * again are kept for answers that are given at once. */
static int may_wait(const struct coll *c, int slot)
{
	if (c->nwaiters >= (uint32_t)c->kid.conf.swarm_max_waiters) {
		stat_inc(waiters_refused);
		return 0;
	}
	return lane_done_room(c->lane[slot]) > 2 * c->slot_waiters[slot];
}

/* The answer, whatever it is, has to be there before its worker gives up: this is for its way. */
#define ANSWER_MS 250

/* How long to hold it. While the engine or Redis is asked, or another node waited for (no
 * w), an asker who named no time has acestream.timeout more; its worker knows
 * (worker/peers.c). */
static uint64_t until(const struct coll *c, const struct swarm *w,
		      const struct shm_job *job)
{
	uint64_t when = clock_ms() + job->wait_ms;
	uint64_t last = job->deadline_ms > ANSWER_MS ? job->deadline_ms - ANSWER_MS : 0;

	if (!w && !(job->flags & JOB_F_SETTLED))
		when += c->kid.conf.acestream_timeout_ms;
	return job->deadline_ms && when > last ? last : when;
}

/* NULL: it was refused. */
static struct waiter *hold(struct coll *c, const struct shm_job *job)
{
	int slot = lane_token_slot(job->token);
	struct waiter *q = may_wait(c, slot) ? calloc(1, sizeof(*q)) : NULL;

	if (!q) {
		stat_inc(jobs_refused);
		wait_answer(c, job->token, LANE_WAITERS);
		return NULL;
	}
	q->token = job->token;
	q->wait_ms = job->wait_ms;
	memcpy(q->id, job->id, IH_LEN);
	q->next = c->waiters;
	c->waiters = q;
	c->nwaiters++;
	c->slot_waiters[slot]++;
	stat_set(waiters, c->nwaiters);
	return q;
}

/* w: NULL until the engine, or Redis, has said what it knows of the id. */
void wait_for(struct coll *c, struct swarm *w, const struct shm_job *job)
{
	struct waiter *q = hold(c, job);

	if (!q)
		return;
	q->until_ms = until(c, w, job);
	q->settled = (job->flags & JOB_F_SETTLED) != 0;
	q->swarm = w;
	if (w)
		w->waiters++;
}

void wait_for_meta(struct coll *c, const struct fetch_flight *f,
		   const struct shm_job *job)
{
	struct waiter *q = job->token ? hold(c, job) : NULL;

	if (!q)
		return;
	q->meta = f;
	q->until_ms = clock_ms() + job->wait_ms;
	if (job->deadline_ms && q->until_ms > job->deadline_ms)
		q->until_ms = job->deadline_ms;
}

int wait_has(struct coll *c, const struct shm_job *job)
{
	struct waiter *q = c->waiters;
	uint64_t until_ms = clock_ms() + job->wait_ms;

	while (q && q->token != job->token)
		q = q->next;
	if (q && until_ms > q->until_ms && until_ms < job->deadline_ms)
		q->until_ms = until_ms;
	return q != NULL;
}

/* The asker left. Its worker reuses the place, so the waiter must go too, or one
 * worker could own more waiters than its completion lane has room for. */
void wait_forget(struct coll *c, uint64_t token)
{
	struct waiter **at = &c->waiters;

	while (*at && (*at)->token != token)
		at = &(*at)->next;
	if (*at)
		waiter_drop(c, at);
}
