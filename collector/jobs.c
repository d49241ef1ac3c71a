/*
 * jobs.c -- questions: one join per infohash, whatever the number of askers; who joins,
 * who leaves, and what is done once a second. Who waits is in waiters.c.
 */
#include <stdlib.h>
#include <string.h>

#include "collector/coll.h"
#include "common/clock.h"
#include "common/log.h"

/* ---- joining and leaving ------------------------------------------------------ */

void jobs_leave(struct coll *c, struct swarm *w)
{
	char hex[IH_HEX_LEN];

	ih_hex(hex, w->id);
	log_info("swarm", "%s left after %llu s: %u peers known", hex,
		 (unsigned long long)(clock_ms() - w->joined_ms) / 1000, w->npeers);
	recent_put(&c->recent, w->id, w->announced_ms);
	claim_leave(c, w);
	lt_leave(c->lt, w->id);
	acewatch_end(c, w);
	swarms_remove(c->swarms, w);
	stat_inc(leaves);
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
		w->joined = 0;
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
		wait_answer_all(c, w, LANE_REFUSED);
}

void jobs_suspend(struct coll *c)
{
	acefind_suspend(c->acefind);
	ace_hush(c->ace, NULL);
	swarms_each(c->swarms, suspend, c);
}

/* Whom the session asks; acewatch.c says whom acefind asked. */
static void apply_sources(struct swarm *w, const struct conf *conf)
{
	w->dht = conf->swarm_dht;
	w->nlinked = 0;
	w->trackers_expected =
		swarm_ace_alone(w) || w->trackers_at_ms ? 0 : lt_tracker_count(conf);
}

static void apply_conf(struct swarm *w, const struct conf *conf)
{
	w->max_peers = (uint32_t)conf->swarm_max_peers;
	swarm_ace_configure(w, conf, clock_ms());
	apply_sources(w, conf);
}

static void ask_trackers(struct coll *c, struct swarm *w)
{
	w->trackers_at_ms = 0;
	w->nlinked = 0;
	w->trackers_expected = lt_tracker_count(&c->kid.conf);
	lt_ask_trackers(c->lt, w->id, &c->kid.conf);
}

/* Into the session, as the swarm's mode wants it. */
static int enter(struct coll *c, struct swarm *w, const struct lt_endpoint *known,
		 size_t n)
{
	enum lt_announce how = swarm_ace_quiet(w)  ? LT_ANNOUNCE_NEVER
			       : w->trackers_at_ms ? LT_ANNOUNCE_LATER
						   : LT_ANNOUNCE;
	char err[ERRLEN];

	apply_sources(w, &c->kid.conf);
	if (lt_join(c->lt, w->id, &w->ih, known, n, how, &c->kid.conf, &w->life, err) !=
	    0) {
		log_error("swarm", "%s", err);
		return -1;
	}
	w->joined = 1;
	w->quiet = how == LT_ANNOUNCE_NEVER;
	return 0;
}

/* Trackers heard of it a moment ago, in an earlier life. */
static void keep_interval(struct coll *c, struct swarm *w)
{
	if (w->npeers && swarm_ace_joins(w) && !swarm_ace_quiet(w) &&
	    swarm_keep_interval(w, recent_get(&c->recent, w->id),
				c->kid.conf.swarm_announce_gap_ms, clock_ms()))
		stat_inc(announces_deferred);
}

/* A swarm that the session does not join has a life, too: records of another are stale. */
static int begin(struct coll *c, struct swarm *w, const struct lt_endpoint *known,
		 size_t n)
{
	apply_sources(w, &c->kid.conf);
	if (swarm_ace_joins(w) && enter(c, w, known, n) != 0)
		return -1;
	acewatch_begin(c, w);
	return 0;
}

/* v2 and a key that is not its beginning: both hashes of a hybrid, as a link names them. */
static void name_hashes(struct lt_ids *ih, const uint8_t key[IH_LEN], const uint8_t *v2)
{
	ih->has_v2 = v2 != NULL;
	ih->has_v1 = !v2 || memcmp(v2, key, IH_LEN) != 0;
	if (ih->has_v1)
		memcpy(ih->v1, key, IH_LEN);
	if (v2)
		memcpy(ih->v2, v2, IH_V2_LEN);
}

/* asked: the id of the question; key: of the swarm that it means. */
static struct swarm *join(struct coll *c, const uint8_t asked[IH_LEN],
			  const uint8_t key[IH_LEN], const uint8_t *v2,
			  enum swarm_ace_mode mode)
{
	static struct lt_endpoint known[CONF_SLOT_PEERS];
	struct swarm *w = swarms_add(c->swarms, key, clock_ms());
	char hex[IH_HEX_LEN];
	size_t n;

	if (!w)
		return NULL;
	w->ace.past = c->acepast;
	(void)swarm_ace_key(w, key);
	if (mode == ACE_MODE_FIRST)
		(void)swarm_ace_key(w, asked);
	apply_conf(w, &c->kid.conf);
	swarm_ace_meant(w, mode, clock_ms());
	name_hashes(&w->ih, key, v2);
	n = earlier_join(c, w, key, known, 0);
	if (memcmp(asked, key, IH_LEN) != 0)
		n = earlier_join(c, w, asked, known, n);
	keep_interval(c, w);
	n = given_join(c, w, asked, known, n);
	if (begin(c, w, known, n) != 0) {
		swarms_remove(c->swarms, w);
		return NULL;
	}
	stat_add(STAT_trackers_left_out, lt_trackers_left_out(&c->kid.conf));
	ih_hex(hex, w->id);
	log_info("swarm", "%s joined, %u peers known from earlier", hex, w->npeers);
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
	struct swarm *w =
		net_why(c) == IFACE_OK ? join(c, id, id, NULL, ACE_MODE_OFF) : NULL;

	if (w)
		w->control = 1;
	return w;
}

void jobs_leave_control(struct coll *c, struct swarm *w)
{
	jobs_leave(c, w);
}

/* Room for one more: the one that was idle longest leaves. */
static int make_room(struct coll *c)
{
	struct swarm *idle;
	char hex[IH_HEX_LEN];

	if (users(c) < (uint32_t)c->kid.conf.swarm_max_swarms)
		return 0;
	idle = swarms_oldest_idle(c->swarms);
	if (!idle)
		return -1;
	ih_hex(hex, idle->id);
	log_info("swarm", "%s makes room: swarm.max_swarms is %u", hex,
		 (unsigned)c->kid.conf.swarm_max_swarms);
	jobs_leave(c, idle);
	stat_inc(swarms_evicted);
	return 0;
}

/* A stale version of a quiet swarm is as true as ever: say so with a new one. */
static void freshen(struct coll *c, struct swarm *w)
{
	uint64_t ttl = c->kid.conf.cache_ttl_ms, age = clock_ms() - w->published_ms;

	if (w->round_done && !w->away && (!w->published_ms || age >= ttl / 2))
		(void)publish_now(c, w, 1);
}

uint32_t jobs_cold_s(struct coll *c, const struct shm_job *job)
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

struct swarm *jobs_join(struct coll *c, const uint8_t asked[IH_LEN],
			const uint8_t key[IH_LEN], const uint8_t *v2,
			enum swarm_ace_mode mode, enum lane_rc *why)
{
	struct swarm *w = NULL;

	*why = LANE_FAILED;
	if (net_why(c) != IFACE_OK)
		*why = LANE_REFUSED;
	else if (make_room(c) != 0)
		*why = LANE_BUSY;
	else
		w = join(c, asked, key, v2, mode);
	return w;
}

/* The engine, or Redis, is asked first. */
static void wait_unjoined(struct coll *c, const struct shm_job *job)
{
	if (job->token != 0)
		wait_for(c, NULL, job);
}

static void job_peers(struct coll *c, const struct shm_job *job, const uint8_t *text)
{
	struct swarm *w = swarms_find(c->swarms, job->id);
	const uint8_t *v2;
	enum lane_rc why = LANE_REFUSED;
	int torrent = (job->flags & (JOB_F_V2 | JOB_F_INFOHASH)) != 0;
	int cold = ids_is_cold(c, job);
	uint32_t wait_s;
	struct resolved r = {.how = RESOLVED_TAKEN};
	struct given given;

	memcpy(r.infohash, job->id, IH_LEN);
	if (given_read(job, text, &v2, &given) != 0) {
		stat_inc(lane_bad);
		wait_answer(c, job->token, LANE_FAILED);
		return;
	}
	if (net_why(c) == IFACE_OK || (w && !w->away)) {
		if (cold && (wait_s = jobs_cold_s(c, job)) != 0) {
			wait_answer_in(c, job->token, LANE_LIMITED, wait_s);
			return;
		}
		if (cold)
			cold_paid(c, job);
		given_sift(c, w, job->client, &given);
		given_keep(c, job->id, &given);
		if ((!ids_known(c, job, &r) && !w) ||
		    tier_ask(c, job->id, &r, v2, torrent, 0)) {
			wait_unjoined(c, job);
			return;
		}
		w = ids_swarm(c, job->id, &r, v2, torrent, &why);
	} else if (w) {
		w->asked_ms = clock_ms(); /* it is wanted when we are back */
		given_sift(c, w, job->client, &given);
		given_take(c, w, &given);
		w = NULL;
	} else if (tier_ask(c, job->id, &r, v2, torrent, 0)) {
		wait_unjoined(c, job); /* another node may see what we can't */
		return;
	}
	if (!w) {
		stat_inc(jobs_refused);
		wait_answer(c, job->token, why);
		return;
	}
	ids_asked(c, w, job->id, r.how);
	w->control = 0;
	freshen(c, w);
	if (job->token != 0)
		wait_for(c, w, job);
}

/* A lane outlives its collector, and a new one is given all questions once more: who had not
 * been heard by the old one would have two places, and be refused for want of a third. */
static int is_held(struct coll *c, const struct shm_job *job)
{
	return job->token && job->kind != JOB_FORGET && wait_has(c, job);
}

void jobs_take(struct coll *c)
{
	struct shm_job job;
	char request[REQID_MAX + 1];
	int rc;

	for (int i = 0; i < c->nlanes; i++) {
		while ((rc = lane_pop(c->lane[i], &job, c->text, request)) == 1) {
			stat_inc(jobs);
			log_about(request);
			if (job.token && lane_token_slot(job.token) != i)
				stat_inc(lane_bad);
			else if (is_held(c, &job))
				continue;
			else if (job.kind == JOB_PEERS)
				job_peers(c, &job, c->text);
			else if (job.kind == JOB_FORGET)
				wait_forget(c, job.token);
			else if (job.kind >= JOB_META && job.kind <= JOB_META_LATER)
				fetch_job(c, &job, c->text);
			else
				wait_answer(c, job.token, LANE_FAILED);
			log_about("");
		}
		if (rc < 0) {
			stat_inc(lane_bad);
			log_error("lane", "slot %d made no sense and was emptied", i);
		}
	}
	wait_check(c);
}

/* ---- once a second --------------------------------------------------------------- */

/* What the session announces can't be changed but by joining anew. */
static int announced_right(const struct swarm *w)
{
	return !w->joined || w->quiet == swarm_ace_quiet(w);
}

static void say_mode(const struct swarm *w)
{
	static const char *const text[] = {[ACE_MODE_OFF] = "BitTorrent alone",
					   [ACE_MODE_MAYBE] = "either protocol",
					   [ACE_MODE_FIRST] = "AceStream first",
					   [ACE_MODE_PINNED] = "pinned to AceStream",
					   [ACE_MODE_BT] = "pinned to BitTorrent"};
	char hex[IH_HEX_LEN];

	ih_hex(hex, w->id);
	log_info("ace", "%s: %s, as its peers answer", hex, text[w->ace.mode]);
}

static void tick_swarm(struct swarm *w, void *arg)
{
	struct coll *c = arg;
	const struct conf *conf = &c->kid.conf;
	uint64_t now = clock_ms();
	uint32_t gone;

	if (w->waiters == 0 && !w->control && !w->meta && now >= w->seed_until_ms &&
	    now - w->asked_ms >= conf->swarm_linger_ms) {
		jobs_leave(c, w);
		return;
	}
	if (w->away)
		return;
	if (w->waiters == 0 && now > conf->swarm_linger_ms)
		swarms_forget_ids(c->swarms, w, now - conf->swarm_linger_ms);
	if (w->trackers_at_ms && now >= w->trackers_at_ms)
		ask_trackers(c, w);
	c->pass++;
	wait_judge(c, w, now);
	if (swarm_ace_tick(w, now))
		say_mode(w);
	if ((w->joined != swarm_ace_joins(w) || !announced_right(w)) &&
	    jobs_follow(c, w) != 0)
		return;
	acevisit_look(c, w);
	swarm_plan(w, now, conf->swarm_revisit_ms, conf->swarm_revisit_max_ms);
	if (w->plans)
		visit_soon(c);
	gone = swarm_expire(w,
			    (uint32_t)((clock_wall_ms() - conf->swarm_peer_expiry_ms) /
				       1000),
			    now);
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

struct reconfigured {
	struct coll *c;
	int trackers; /* they are others now */
};

/* Others are asked now, at once (lt_configure). */
static void forget_trackers(struct swarm *w, const struct conf *conf)
{
	w->ntrackers = w->nlinked = 0;
	w->said = 0;
	w->trackers_at_ms = 0;
	w->trackers_expected = lt_tracker_count(conf);
}

static void reconfigure_swarm(struct swarm *w, void *arg)
{
	const struct reconfigured *r = arg;

	apply_conf(w, &r->c->kid.conf);
	if (r->trackers && !swarm_ace_alone(w))
		forget_trackers(w, &r->c->kid.conf);
	acewatch_forget(r->c, w);
	(void)jobs_follow(r->c, w);
}

static int join_again(struct coll *c, struct swarm *w)
{
	static struct lt_endpoint known[CONF_SLOT_PEERS];
	size_t n = 0;

	w->joined_ms = w->grew_ms = clock_ms();
	for (uint32_t i = 0; i < w->npeers; i++) {
		if (w->peer[i].ace.turn != PEER_BITTORRENT)
			continue;
		memcpy(known[n].addr, w->peer[i].addr, ADDR_LEN);
		known[n++].port = w->peer[i].port;
	}
	w->trackers_at_ms = 0; /* our address may be another, or the hashes are */
	if (begin(c, w, known, n) != 0) {
		wait_answer_all(c, w, LANE_FAILED);
		jobs_leave(c, w);
		return -1;
	}
	return 0;
}

static void resume(struct swarm *w, void *arg)
{
	if (!w->away)
		return;
	w->away = 0;
	(void)join_again(arg, w);
}

int jobs_rejoin(struct coll *c, struct swarm *w)
{
	if (w->away)
		return 0; /* jobs_resume does it */
	lt_leave(c->lt, w->id);
	w->joined = 0;
	ace_hush(c->ace, w->id);
	swarm_rejoin(w, clock_ms());
	return join_again(c, w);
}

void jobs_resume(struct coll *c)
{
	acefind_resume(c->acefind);
	acepast_new_way(c->acepast);
	swarms_each(c->swarms, resume, c);
}

/* Its peers speak AceStream: the session has nothing to do with it. */
static void unjoin(struct coll *c, struct swarm *w)
{
	recent_put(&c->recent, w->id, w->announced_ms);
	lt_leave(c->lt, w->id);
	w->joined = 0;
	swarm_ace_unjoined(w);
}

/* Its trackers are others from now on: the session's, or acefind's. */
static void forget_answers(struct swarm *w)
{
	w->ntrackers = w->nlinked = w->trackers_expected = 0;
	w->said = w->counted_by = 0;
}

/* In the session after all: whoever is to be dialled is visited. If that fails it is tried
 * again in a second. */
static void join_after_all(struct coll *c, struct swarm *w)
{
	keep_interval(c, w);
	(void)enter(c, w, NULL, 0);
}

int jobs_follow(struct coll *c, struct swarm *w)
{
	if (w->away)
		return 0;
	if (w->joined && !swarm_ace_joins(w)) {
		unjoin(c, w);
	} else if (!announced_right(w)) {
		forget_answers(w);
		return jobs_rejoin(c, w);
	} else if (!w->joined && swarm_ace_joins(w)) {
		join_after_all(c, w);
	}
	acewatch_follow(c, w);
	return 0;
}

void jobs_reconfigure(struct coll *c, int trackers)
{
	struct reconfigured r = {.c = c, .trackers = trackers};

	swarms_each(c->swarms, reconfigure_swarm, &r);
}

int jobs_is_idle(void *arg, const uint8_t id[IH_LEN])
{
	const struct coll *c = arg;

	return swarms_find(c->swarms, id) == NULL;
}
