/* peers.c -- GET /peers/{id}; see peers.h. */
#include <string.h>

#include "common/clock.h"
#include "shm/iface.h"
#include "shm/stat.h"
#include "worker/answer.h"
#include "worker/peers.h"
#include "worker/shaped.h"

/* Decimal digits at the start of text, at most max; *rest is behind them. -1: none, or
 * too large. */
static int64_t number(const char *text, int64_t max, const char **rest)
{
	int64_t v = 0;
	size_t n = strspn(text, "0123456789");

	*rest = text + n;
	for (size_t i = 0; i < n; i++) {
		v = v * 10 + (text[i] - '0');
		if (v > max)
			return -1;
	}
	return n ? v : -1;
}

/* 0 is left to peers_query: it needs the whole question. */
static int set_limit(struct peers_question *q, const char *value, char err[ERRLEN])
{
	const char *rest;
	int64_t v = number(value, CONF_SLOT_PEERS, &rest);

	if (v < 0 || *rest)
		return err_set(err, "limit is a number from 1 to %d.", CONF_SLOT_PEERS);
	q->limit = (uint32_t)v;
	return 0;
}

static int set_wait(struct peers_question *q, const char *value, char err[ERRLEN])
{
	const char *unit;
	int64_t v = number(value, PEERS_WAIT_MAX_MS, &unit);

	if (v >= 0 && strcmp(unit, "s") == 0)
		v *= 1000;
	else if (*unit && strcmp(unit, "ms") != 0)
		v = -1;
	if (v < 0 || v > PEERS_WAIT_MAX_MS)
		return err_set(err,
			       "wait is a time from 0 to %ds, as in 500 (milliseconds), "
			       "500ms or 2s.",
			       PEERS_WAIT_MAX_MS / 1000);
	q->wait_ms = v;
	return 0;
}

int peers_query(struct peers_question *q, const char *query, char err[ERRLEN])
{
	char name[32], value[HTTP_VALUE_MAX];
	int rc;

	while ((rc = http_param(&query, name, value)) > 0) {
		if (strcmp(name, "limit") == 0 && set_limit(q, value, err) != 0)
			return -1;
		if (strcmp(name, "wait") == 0 && set_wait(q, value, err) != 0)
			return -1;
		if (strcmp(name, "x.pe") == 0 && given_add(&q->given, value, err) != 0)
			return -1;
		if (shape_set(&q->shape, name, value, err) < 0)
			return -1;
	}
	if (rc < 0)
		return err_set(err, "The query has a malformed percent-escape.");
	if (q->limit == 0 && !q->shape.summary)
		return err_set(err,
			       "limit is a number from 1 to %d (0 only with summary=1).",
			       CONF_SLOT_PEERS);
	return shape_check(&q->shape, err);
}

/* --- jobs ----------------------------------------------------------------- */

/* Of the question under way at conn. */
static int push_quietly(struct worker *w, const struct gate_conn *conn,
			const struct ident *id, const struct given *given,
			struct shm_job *job)
{
	uint8_t text[GIVEN_TEXT_MAX];

	gate_client(conn, job->client);
	memcpy(job->id, id->key, IH_LEN);
	if (id->form == IDENT_BASE32)
		job->flags |= JOB_F_INFOHASH;
	return lane_push(w->lane, job,
			 given_write(job, text, id->form == IDENT_V2 ? id->v2 : NULL,
				     given),
			 gate_request_id(conn));
}

static int push(struct worker *w, const struct gate_conn *conn, const struct ident *id,
		const struct given *given)
{
	struct shm_job job = {.kind = JOB_PEERS};

	if (push_quietly(w, conn, id, given, &job) != 0) {
		stat_inc(lane_full);
		return -1;
	}
	kid_ring(w->kid->collector_bell_fd);
	return 0;
}

/* Behind an answer, at most once in gap_ms. A full lane is fine: who asks next tries
 * again. Without a collector the lane is kept for those who wait. Two ids in one place
 * of the table only refresh more often. */
static void refresh(struct worker *w, const struct gate_conn *conn,
		    const struct ident *id, uint64_t gap_ms)
{
	uint64_t now = clock_ms();
	uint32_t at;

	memcpy(&at, id->key, sizeof at);
	at %= WORKER_REFRESH_SLOTS;
	if (!worker_collector_up(w) ||
	    (memcmp(w->refreshed[at].id, id->key, IH_LEN) == 0 &&
	     now - w->refreshed[at].at_ms < gap_ms))
		return;
	memcpy(w->refreshed[at].id, id->key, IH_LEN);
	w->refreshed[at].at_ms = now;
	(void)push(w, conn, id, NULL);
}

/* Behind an answer, too, but none of them is left out: each may name others. A lane that
 * is half full is kept for those who wait. */
static void hand_over(struct worker *w, const struct gate_conn *conn,
		      const struct peers_question *q)
{
	if (!worker_collector_up(w) ||
	    lane_depth(w->lane) > seg_dims_of(w->seg)->lane_bytes / 2) {
		stat_add(STAT_given_lost, q->given.n);
		return;
	}
	if (push(w, conn, &q->id, &q->given) != 0)
		stat_add(STAT_given_lost, q->given.n);
}

/* The collector does not see what the table answers: without a word now and then it
 * would leave a swarm that is asked for all the time (swarm.linger). */
static uint64_t touch_gap_ms(const struct worker *w)
{
	uint64_t ttl = w->conf->cache_ttl_ms / 2, linger = w->conf->swarm_linger_ms / 4;
	uint64_t gap = ttl < linger ? ttl : linger;

	return gap < WORKER_REFRESH_MS ? WORKER_REFRESH_MS : gap;
}

void peers_touch(struct worker *w, const struct gate_conn *conn,
		 const uint8_t key[IH_LEN])
{
	struct ident id = {.form = IDENT_HEX40};

	memcpy(id.key, key, IH_LEN);
	refresh(w, conn, &id, touch_gap_ms(w));
}

/* The collector asks the engine what an id means before it joins. Who named no time has
 * that much more, so that the engine's seconds are not taken from the swarm's. */
static uint64_t engine_ms(const struct worker *w, const struct peers_question *q)
{
	return q->wait_ms < 0 && w->conf->acestream_engine_url[0]
		       ? w->conf->acestream_timeout_ms
		       : 0;
}

static int push_parked(struct parked *p)
{
	struct worker *w = p->ask.w;
	uint64_t now = clock_ms();
	struct shm_job job = {.kind = JOB_PEERS,
			      .flags = p->q.wait_ms > 0 ? JOB_F_SETTLED : 0,
			      .token = p->token,
			      .deadline_ms = p->until_ms + engine_ms(w, &p->q) +
					     PEERS_MARGIN_MS};

	job.wait_ms = p->until_ms > now ? (uint32_t)(p->until_ms - now) : 0;
	return push_quietly(w, p->ask.conn, &p->q.id, &p->q.given, &job);
}

/* --- parked requests ------------------------------------------------------- */

/* What there is, now that waiting is over; else 0. */
static int settle(struct ask *a, const struct peers_question *q, enum lane_rc rc)
{
	enum iface_why iface = stat_gauge_get(a->w->seg, GAUGE_interface_why);
	char why[ERRLEN];

	switch (rc) {
	/* An old answer, with its Age, is better than none. */
	case LANE_BUSY:
		if (answer_table(a, q) != 0)
			http_error(
				a, 503, "busy",
				"All swarms that may be joined are asked for; there is no room "
				"for one more (swarm.max_swarms).");
		return 1;
	case LANE_WAITERS:
		http_error(a, 503, "busy",
			   "Too many questions wait for swarms already "
			   "(swarm.max_waiters).");
		return 1;
	case LANE_TABLE:
		http_error(
			a, 503, "busy",
			"The table has no room for its peers (shm.peers, shm.swarms).");
		return 1;
	case LANE_LIMITED:
		if (answer_table(a, q) == 0)
			return 1;
		http_error(a, 503, "limited",
			   "You asked for too many swarms that were not known; come back "
			   "in %u s (swarm.cold_rate).",
			   a->retry_s);
		return 1;
	case LANE_META_NONE:
	case LANE_META_DEAD:
	case LANE_META_BADFILE:
	case LANE_META_DISK:
	case LANE_META_ODD:
	case LANE_META_REDIS: /* of other questions */
	case LANE_FAILED:
		http_error(a, 500, "failed", "The collector could not join the swarm.");
		return 1;
	case LANE_REFUSED:
		(void)err_set(
			why,
			"The network interface %s (swarm.interface) %s, so no swarm "
			"is joined.",
			a->w->conf->swarm_interface, iface_why_text(iface));
		if (answer_table(a, q) != 0)
			shaped_nothing(a, q, why);
		return 1;
	case LANE_OK: break;
	}
	return answer_table(a, q) == 0;
}

static void done(struct parked *p, enum lane_rc rc, uint32_t retry_s)
{
	struct ask a = p->ask;
	struct peers_question q = p->q;

	a.retry_s = retry_s;
	park_end(p);
	if (!settle(&a, &q, rc))
		shaped_nothing(&a, &q, "Nothing is known of this swarm yet.");
}

static void late(struct parked *p)
{
	struct ask a = p->ask;
	struct peers_question q = p->q;

	park_end(p);
	if (answer_table(&a, &q) == 0)
		return;
	if (worker_collector_up(a.w))
		http_error(&a, 503, "late", "The collector did not answer in time.");
	else
		http_error(&a, 503, "collector_down",
			   "The collector is down; it is being started again.");
}

static void park(struct ask *a, const struct peers_question *q)
{
	static const struct parked_kind kind = {push_parked, done, late, NULL};
	struct worker *w = a->w;
	uint64_t wait =
		q->wait_ms >= 0 ? (uint64_t)q->wait_ms : w->conf->swarm_discovery_wait_ms;
	struct parked *p =
		park_take(w->park, a, &kind, wait + engine_ms(w, q) + PEERS_MARGIN_MS);

	if (!p) {
		http_error(a, 503, "busy",
			   "Too many questions are waiting already (http.max_parked).");
		return;
	}
	p->q = *q;
	p->until_ms = clock_ms() + wait;
	if (park_begin(p) != 0)
		http_error(a, 503, "busy", "The collector has too much to do.");
}

/* --- the question ----------------------------------------------------------- */

static int has_to_wait(const struct worker *w, const struct peers_question *q,
		       const struct shm_swarm *s)
{
	uint64_t age = answer_age_ms(s->cached_at_ms, clock_wall_ms());
	int settled = s->phase == SWARM_SETTLED || s->phase == SWARM_DEAD;

	if (q->wait_ms == 0)
		return 0;
	if (q->wait_ms > 0) /* the collector knows if a peer that it names is new */
		return !settled || q->given.n || age >= w->conf->cache_ttl_ms;
	if (s->phase == SWARM_JOINING)
		return 1; /* not yet an answer: the lucky few */
	return age >= w->conf->cache_ttl_ms + w->conf->cache_grace_ms;
}

/* The question is answered; what the collector has to hear of it. */
static void tell(struct ask *a, const struct peers_question *q, uint64_t gap_ms)
{
	if (q->given.n)
		hand_over(a->w, a->conn, q);
	else
		refresh(a->w, a->conn, &q->id, gap_ms);
}

void peers_get(struct ask *a)
{
	struct worker *w = a->w;
	struct peers_question q = {.limit = (uint32_t)w->conf->cache_max_peers,
				   .wait_ms = -1};
	struct shm_swarm s;
	char err[ERRLEN];
	int there;

	if (ident_parse(&q.id, a->part, strlen(a->part), err) != 0) {
		http_error(a, 400, "bad_id", "%s", err);
		return;
	}
	if (peers_query(&q, a->query, err) != 0) {
		http_error(a, 400, "bad_query", "%s", err);
		return;
	}
	there = answer_peek(w, q.id.key, &s) == 0;
	if (there && !has_to_wait(w, &q, &s)) {
		int stale = answer_age_ms(s.cached_at_ms, clock_wall_ms()) >=
			    w->conf->cache_ttl_ms;

		if (answer_table(a, &q) == 0) {
			stat_add(STAT_peers_stale, (uint64_t)stale);
			tell(a, &q, stale ? WORKER_REFRESH_MS : touch_gap_ms(w));
			return;
		}
	}
	if (q.wait_ms == 0) {
		tell(a, &q, WORKER_REFRESH_MS);
		/* A limit of the collector may stop it, and we don't hear of that. */
		shaped_nothing(
			a, &q,
			"Nothing is known of this swarm yet; ask again to see what was found.");
		return;
	}
	park(a, &q);
}
