/*
 * jobs.c -- questions: one join per infohash, whatever the number of askers; who
 * waits is answered when the swarm is known well enough, or when the wait is over.
 */
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "collector/coll.h"
#include "common/clock.h"
#include "common/log.h"

/* ---- answers --------------------------------------------------------------- */

/* Tokens of a worker that is gone are dropped: its successor has another
 * generation, and its lane must not fill with strangers' answers. */
static void answer_in(struct coll *c, uint64_t token, enum lane_rc rc, uint32_t retry_s)
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

static void answer(struct coll *c, uint64_t token, enum lane_rc rc)
{
	answer_in(c, token, rc, 0);
}

static void waiter_drop(struct coll *c, struct waiter **at)
{
	struct waiter *q = *at;

	*at = q->next;
	q->swarm->waiters--;
	c->nwaiters--;
	c->slot_waiters[lane_token_slot(q->token)]--;
	free(q);
}

/* Look at a swarm once in a pass, however many wait for it. The first round may be over
 * by its own time: discovery_wait. */
static void judge(struct coll *c, struct swarm *w, uint64_t now)
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

static int waiter_ready(const struct waiter *q, uint64_t now)
{
	return now >= q->until_ms || (q->settled ? q->swarm->settled : q->swarm->ready);
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
		return LANE_BUSY;
	if (w->redis_due)
		publish_redis(c, w);
	return LANE_OK;
}

void jobs_check(struct coll *c)
{
	uint64_t now = clock_ms(), next = UINT64_MAX;

	c->pass++;
	for (struct waiter **at = &c->waiters; *at;) {
		struct waiter *q = *at;
		struct swarm *w = q->swarm;

		judge(c, w, now);
		if (waiter_ready(q, now)) {
			uint64_t token = q->token;
			enum lane_rc rc = bring_up_to_date(c, w, now);

			waiter_drop(c, at);
			answer(c, token, rc);
			continue;
		}
		if (q->until_ms < next)
			next = q->until_ms;
		if (w->recheck_ms && w->recheck_ms < next)
			next = w->recheck_ms;
		at = &q->next;
	}
	if (next != UINT64_MAX)
		wake_at(c, now, next);
	stat_set(waiters, c->nwaiters);
}

/* ---- joining and leaving ------------------------------------------------------ */

static void leave(struct coll *c, struct swarm *w)
{
	char hex[IH_HEX_LEN];

	ih_hex(hex, w->id);
	log_info("swarm", "%s left after %llu s: %u peers known", hex,
		 (unsigned long long)(clock_ms() - w->joined_ms) / 1000, w->npeers);
	recent_put(&c->recent, w->id, w->announced_ms);
	lt_leave(c->lt, w->id);
	swarms_remove(c->swarms, w);
	stat_inc(leaves);
}

/* An earlier life knew more hashes than the question names. */
static void hashes_from_slot(struct swarm *w, const struct shm_swarm *s)
{
	w->ih.has_v2 = 1;
	memcpy(w->ih.v2, s->v2, IH_V2_LEN);
	w->ih.has_v1 = memcmp(s->infohash, s->v2, IH_LEN) != 0;
	memcpy(w->ih.v1, s->infohash, IH_LEN);
}

/* What an earlier life of this swarm, or of the collector, left in the slot of id. */
static size_t seed_from_table(struct coll *c, struct swarm *w, const uint8_t id[IH_LEN],
			      struct lt_endpoint *known, size_t n)
{
	uint32_t oldest =
		(uint32_t)((clock_wall_ms() - c->kid.conf.swarm_peer_expiry_ms) / 1000);
	const struct shm_swarm *s = &c->copy.s;

	if (ptab_get(c->ptab, id, CONF_SLOT_PEERS, &c->copy) != PTAB_OK)
		return n;
	if (memcmp(s->infohash, w->id, IH_LEN) != 0 &&
	    !(s->has_v2 && memcmp(s->v2, w->id, IH_LEN) == 0))
		return n; /* the id meant another swarm then */
	if (s->has_v2 && !w->ih.has_v2)
		hashes_from_slot(w, s);
	for (uint32_t i = 0; i < c->copy.s.npeers && w->npeers < w->max_peers; i++) {
		const struct shm_peer *p = &c->copy.peer[i];

		struct peer *seeded =
			p->last_seen_s < oldest ? NULL : swarm_seed(w, p, clock_ms());

		if (!seeded)
			continue;
		seeded->place =
			publish_place(c, p->addr); /* databases may be others now */
		memcpy(known[n].addr, p->addr, ADDR_LEN);
		known[n++].port = p->port;
	}
	return n;
}

void jobs_hand_over(struct coll *c, struct swarm *from, struct swarm *to,
		    const uint8_t *id)
{
	for (struct waiter *q = c->waiters; q; q = q->next) {
		if (q->swarm != from || (id && memcmp(q->id, id, IH_LEN) != 0))
			continue;
		from->waiters--;
		q->swarm = to;
		to->waiters++;
	}
}

static void answer_all(struct coll *c, const struct swarm *w, enum lane_rc rc)
{
	for (struct waiter **at = &c->waiters; *at;) {
		uint64_t token = (*at)->token;

		if ((*at)->swarm != w) {
			at = &(*at)->next;
			continue;
		}
		waiter_drop(c, at);
		answer(c, token, rc);
	}
}

static void drop_slots(struct coll *c, const struct swarm *w)
{
	for (uint32_t i = 0; i < SWARM_IDS; i++)
		if (w->ids[i].asked_ms)
			ptab_drop(c->ptab, w->ids[i].id);
}

/* The device is gone, or about to be bound anew. An answer that names peers stays, for
 * who waits and for who asks later, in a version that calls nobody connected; an empty
 * one would only say something untrue about the trackers. */
static void suspend(struct swarm *w, void *arg)
{
	struct coll *c = arg;

	if (!w->away) {
		lt_leave(c->lt, w->id);
		swarm_rejoin(w, clock_ms());
		w->life = 0; /* records on their way are stale */
		w->round_done = 1;
		if (w->npeers == 0)
			drop_slots(c, w);
		else
			(void)publish_now(c, w, 0);
		for (uint32_t i = 0; i < SWARM_IDS; i++)
			w->ids[i].had_slot = w->npeers != 0;
		w->round_done = 0;
		w->away = 1;
	}
	if (net_why(c) != IFACE_OK)
		answer_all(c, w, LANE_REFUSED);
}

void jobs_suspend(struct coll *c)
{
	swarms_each(c->swarms, suspend, c);
}

static void apply_conf(struct swarm *w, const struct conf *conf)
{
	w->max_peers = (uint32_t)conf->swarm_max_peers;
	w->trackers_expected = w->trackers_at_ms ? 0 : lt_tracker_count(conf);
	w->dht = conf->swarm_dht;
}

static void ask_trackers(struct coll *c, struct swarm *w)
{
	w->trackers_at_ms = 0;
	w->trackers_expected = lt_tracker_count(&c->kid.conf);
	lt_ask_trackers(c->lt, w->id, &c->kid.conf);
}

/* asked: the id of the question; key: of the swarm that it means. */
static struct swarm *join(struct coll *c, const uint8_t asked[IH_LEN],
			  const uint8_t key[IH_LEN], const uint8_t *v2)
{
	static struct lt_endpoint known[CONF_SLOT_PEERS];
	struct swarm *w = swarms_add(c->swarms, key, clock_ms());
	char err[ERRLEN], hex[IH_HEX_LEN];
	size_t n;

	if (!w)
		return NULL;
	apply_conf(w, &c->kid.conf);
	w->ih.has_v1 = !v2;
	w->ih.has_v2 = v2 != NULL;
	memcpy(v2 ? w->ih.v2 : w->ih.v1, v2 ? v2 : key, v2 ? IH_V2_LEN : IH_LEN);
	n = seed_from_table(c, w, key, known, 0);
	if (memcmp(asked, key, IH_LEN) != 0)
		n = seed_from_table(c, w, asked, known, n);
	if (n && swarm_keep_interval(w, recent_get(&c->recent, w->id),
				     c->kid.conf.swarm_announce_gap_ms, clock_ms()))
		stat_inc(announces_deferred);
	if (lt_join(c->lt, key, &w->ih, known, n, w->trackers_at_ms == 0, &c->kid.conf,
		    &w->life, err) != 0) {
		log_error("swarm", "%s", err);
		swarms_remove(c->swarms, w);
		return NULL;
	}
	stat_add(STAT_trackers_left_out, lt_trackers_left_out(&c->kid.conf));
	ih_hex(hex, w->id);
	log_info("swarm", "%s joined, %zu peers known from earlier", hex, n);
	stat_inc(joins);
	return w;
}

/* Joined for somebody; a control probe counts while nobody asked for it not. */
static uint32_t users(const struct coll *c)
{
	const struct swarm *w =
		c->control.running ? swarms_find(c->swarms, c->control.id) : NULL;

	return swarms_count(c->swarms) - (w && w->control);
}

struct swarm *jobs_join_control(struct coll *c, const uint8_t id[IH_LEN])
{
	struct swarm *w = net_why(c) == IFACE_OK ? join(c, id, id, NULL) : NULL;

	if (w)
		w->control = 1;
	return w;
}

void jobs_leave_control(struct coll *c, struct swarm *w)
{
	leave(c, w);
}

/* Room for one more: the one that was idle longest leaves. */
static int make_room(struct coll *c)
{
	struct swarm *idle;

	if (users(c) < (uint32_t)c->kid.conf.swarm_max_swarms)
		return 0;
	idle = swarms_oldest_idle(c->swarms);
	if (!idle)
		return -1;
	leave(c, idle);
	stat_inc(swarms_evicted);
	return 0;
}

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

static void wait_for(struct coll *c, struct swarm *w, const struct shm_job *job)
{
	uint64_t now = clock_ms();
	int slot = lane_token_slot(job->token);
	struct waiter *q = may_wait(c, slot) ? calloc(1, sizeof(*q)) : NULL;

	if (!q) {
		stat_inc(jobs_refused);
		answer(c, job->token, LANE_BUSY);
		return;
	}
	q->token = job->token;
	q->until_ms = now + job->wait_ms;
	if (job->deadline_ms && q->until_ms > job->deadline_ms)
		q->until_ms = job->deadline_ms;
	q->settled = (job->flags & JOB_F_SETTLED) != 0;
	q->swarm = w;
	memcpy(q->id, job->id, IH_LEN);
	q->next = c->waiters;
	c->waiters = q;
	c->nwaiters++;
	c->slot_waiters[slot]++;
	w->waiters++;
}

/* The asker left. Its worker reuses the place, so the waiter must go too, or one
 * worker could own more waiters than its completion lane has room for. */
static void job_forget(struct coll *c, uint64_t token)
{
	struct waiter **at = &c->waiters;

	while (*at && (*at)->token != token)
		at = &(*at)->next;
	if (*at)
		waiter_drop(c, at);
}

/* A stale version of a quiet swarm is as true as ever: say so with a new one. */
static void freshen(struct coll *c, struct swarm *w)
{
	uint64_t age = clock_ms() - w->published_ms;

	if (w->round_done && !w->away &&
	    (!w->published_ms || age >= c->kid.conf.cache_ttl_ms / 2))
		(void)publish_now(c, w, 1);
}

/* A join costs the world and us something: each client has its measure. Seconds until
 * it may again, or 0: it may. */
static uint32_t cold_wait_s(struct coll *c, const struct shm_job *job)
{
	uint64_t forgotten = 0;
	uint32_t wait_s = bucket_take(c->buckets, job->client,
				      (uint32_t)c->kid.conf.swarm_cold_rate,
				      (uint32_t)c->kid.conf.swarm_cold_burst, clock_ms(),
				      &forgotten);

	stat_add(STAT_cold_forgotten, forgotten);
	if (wait_s)
		stat_inc(cold_limited);
	return wait_s;
}

static void job_peers(struct coll *c, const struct shm_job *job, const uint8_t *text)
{
	struct swarm *w = swarms_find(c->swarms, job->id);
	const uint8_t *v2 =
		(job->flags & JOB_F_V2) && job->text_len == IH_V2_LEN ? text : NULL;
	uint32_t wait_s;

	if (net_why(c) != IFACE_OK && (!w || w->away)) {
		if (w)
			w->asked_ms = clock_ms(); /* it is wanted when we are back */
		stat_inc(jobs_refused);
		answer(c, job->token, LANE_REFUSED);
		return;
	}
	if (w && v2) {
		ids_whole_v2(c, w, v2);
		w = swarms_find(c->swarms, job->id);
	}
	if (!w && (wait_s = cold_wait_s(c, job)) != 0) {
		answer_in(c, job->token, LANE_LIMITED, wait_s);
		return;
	}
	if (!w && (make_room(c) != 0 || !(w = join(c, job->id, job->id, v2)))) {
		stat_inc(jobs_refused);
		answer(c, job->token, LANE_BUSY);
		return;
	}
	ids_asked(c, w, job->id, RESOLVED_TAKEN);
	w->control = 0;
	freshen(c, w);
	if (job->token != 0)
		wait_for(c, w, job);
}

void jobs_take(struct coll *c)
{
	struct shm_job job;
	int rc;

	for (int i = 0; i < c->nlanes; i++) {
		while ((rc = lane_pop(c->lane[i], &job, c->text)) == 1) {
			stat_inc(jobs);
			if (job.token && lane_token_slot(job.token) != i)
				stat_inc(lane_bad);
			else if (job.kind == JOB_PEERS)
				job_peers(c, &job, c->text);
			else if (job.kind == JOB_FORGET)
				job_forget(c, job.token);
			else
				answer(c, job.token, LANE_FAILED);
		}
		if (rc < 0) {
			stat_inc(lane_bad);
			log_error("lane", "slot %d made no sense and was emptied", i);
		}
	}
	jobs_check(c);
}

/* ---- once a second --------------------------------------------------------------- */

static void tick_swarm(struct swarm *w, void *arg)
{
	struct coll *c = arg;
	const struct conf *conf = &c->kid.conf;
	uint64_t now = clock_ms();
	uint32_t gone;

	if (w->waiters == 0 && !w->control &&
	    now - w->asked_ms >= conf->swarm_linger_ms) {
		leave(c, w);
		return;
	}
	if (w->away)
		return;
	if (w->waiters == 0 && now > conf->swarm_linger_ms)
		swarms_forget_ids(c->swarms, w, now - conf->swarm_linger_ms);
	if (w->trackers_at_ms && now >= w->trackers_at_ms)
		ask_trackers(c, w);
	c->pass++;
	judge(c, w, now);
	swarm_plan(w, now, conf->swarm_revisit_ms, conf->swarm_revisit_max_ms);
	if (w->plans)
		visit_soon(c);
	gone = swarm_expire(w, (uint32_t)((clock_wall_ms() - conf->swarm_peer_expiry_ms) /
					  1000));
	if (gone) {
		stat_add(STAT_peers_expired, gone);
		w->changed_ms = now;
		w->important = 1;
	}
	if (w->published_ms && swarm_phase(w, now) != w->published_phase)
		w->important = 1; /* quiet is news, too */
	if (w->published_ms && publish_verdict_moved(c, w))
		w->important = 1;
	if (w->important)
		publish_soon(c);
}

static void count_up(struct swarm *w, void *arg)
{
	uint64_t *sum = arg;

	sum[0] += w->npeers;
	sum[1] += !w->away;
}

void jobs_tick(struct coll *c)
{
	uint64_t sum[2] = {0, 0}; /* peers, swarms in the session */

	swarms_each(c->swarms, tick_swarm, c);
	while (users(c) > (uint32_t)c->kid.conf.swarm_max_swarms && make_room(c) == 0)
		;
	swarms_each(c->swarms, count_up, sum);
	stat_set(peers, sum[0]);
	stat_set(swarms, sum[1]);
}

static void reconfigure_swarm(struct swarm *w, void *arg)
{
	apply_conf(w, arg);
}

/* Others are asked now, at once (lt_configure). */
static void forget_trackers(struct swarm *w, void *arg)
{
	w->ntrackers = 0;
	w->trackers_at_ms = 0;
	w->trackers_expected = lt_tracker_count(arg);
}

static void join_again(struct coll *c, struct swarm *w)
{
	static struct lt_endpoint known[CONF_SLOT_PEERS];
	char err[ERRLEN];

	w->joined_ms = w->grew_ms = clock_ms();
	for (uint32_t i = 0; i < w->npeers; i++) {
		memcpy(known[i].addr, w->peer[i].addr, ADDR_LEN);
		known[i].port = w->peer[i].port;
	}
	w->trackers_at_ms = 0; /* our address may be another, or the hashes are */
	w->trackers_expected = lt_tracker_count(&c->kid.conf);
	if (lt_join(c->lt, w->id, &w->ih, known, w->npeers, 1, &c->kid.conf, &w->life,
		    err) != 0) {
		log_error("swarm", "%s", err);
		answer_all(c, w, LANE_FAILED);
		leave(c, w);
	}
}

static void resume(struct swarm *w, void *arg)
{
	if (!w->away)
		return;
	w->away = 0;
	join_again(arg, w);
}

void jobs_rejoin(struct coll *c, struct swarm *w)
{
	if (w->away)
		return; /* jobs_resume does it */
	lt_leave(c->lt, w->id);
	swarm_rejoin(w, clock_ms());
	join_again(c, w);
}

void jobs_resume(struct coll *c)
{
	swarms_each(c->swarms, resume, c);
}

void jobs_reconfigure(struct coll *c, int trackers)
{
	swarms_each(c->swarms, reconfigure_swarm, &c->kid.conf);
	if (trackers)
		swarms_each(c->swarms, forget_trackers, &c->kid.conf);
}

int jobs_is_idle(void *arg, const uint8_t id[IH_LEN])
{
	const struct coll *c = arg;

	return swarms_find(c->swarms, id) == NULL;
}
