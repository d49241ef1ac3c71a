/* fetch.c -- questions for metadata, Redis, the swarm; see fetch.h. */
#include "collector/fetch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/fetch_int.h"
#include "common/clock.h"
#include "common/log.h"

/* ---- flights ----------------------------------------------------------------------- */

static int same(const uint8_t a[IH_LEN], const uint8_t b[IH_LEN])
{
	return memcmp(a, b, IH_LEN) == 0;
}

struct fetch_flight *fetch_of(const struct coll *c, const uint8_t key[IH_LEN])
{
	struct fetch_flight *f = c->fetch->flights;

	while (f && !same(f->key, key) &&
	       !(f->link && f->link->has_v1 && f->link->has_v2 && same(f->link->v2, key)))
		f = f->next;
	return f;
}

/* Of those that nobody waits for, the one that was asked for longest ago. */
static void make_room(struct fetch *fe)
{
	struct fetch_flight *oldest = NULL;

	for (struct fetch_flight *f = fe->flights; f; f = f->next)
		if (f->idle && f->step == FETCH_IN_SWARM &&
		    (!oldest || f->idle_ms < oldest->idle_ms) &&
		    !wait_is_for_meta(f->c, f))
			oldest = f;
	if (!oldest)
		return;
	stat_inc(meta_idle_dropped);
	fetch_end(oldest, LANE_META_NONE);
}

/* A question for it. When nobody had it that is said again after the same time. */
static void wanted(struct fetch_flight *f)
{
	const struct conf *conf = &f->c->kid.conf;
	uint64_t now = clock_ms(), wait = conf->metadata_timeout_ms,
		 on = conf->metadata_job_timeout_ms;

	f->idle_ms = now + (on > wait ? on : wait);
	if (f->idle || !f->end_ms) {
		f->end_ms = now + wait;
		f->since_ms = now;
	}
	f->idle = 0;
}

struct fetch_flight *fetch_new(struct coll *c)
{
	struct fetch_flight *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->c = c;
	f->number = ++c->fetch->last;
	f->began_ms = clock_ms();
	snprintf(f->request, sizeof(f->request), "%s", log_subject());
	wanted(f);
	buf_init(&f->json, META_BYTES_MAX);
	return f;
}

int fetch_list(struct fetch_flight *f)
{
	struct fetch *fe = f->c->fetch;
	uint32_t max = (uint32_t)f->c->kid.conf.metadata_flights;

	if (fe->nflights >= max)
		make_room(fe);
	if (fe->nflights >= max) {
		stat_inc(meta_full);
		return -1;
	}
	f->listed = 1;
	f->next = fe->flights;
	fe->flights = f;
	stat_inc(meta_flights);
	stat_set(meta_flying, ++fe->nflights);
	return 0;
}

/* NULL: there is no room. */
static struct fetch_flight *begin(struct coll *c, const uint8_t key[IH_LEN])
{
	struct fetch_flight *f = fetch_new(c);

	if (!f)
		return NULL;
	memcpy(f->key, key, IH_LEN);
	if (fetch_list(f) == 0)
		return f;
	fetch_free(f);
	return NULL;
}

static void unlist(struct fetch_flight *f)
{
	struct fetch *fe = f->c->fetch;
	struct fetch_flight **at = &fe->flights;

	while (*at != f)
		at = &(*at)->next;
	*at = f->next;
	stat_set(meta_flying, --fe->nflights);
}

void fetch_free(struct fetch_flight *f)
{
	struct fetch *fe = f->c->fetch;

	if (f->listed)
		unlist(f);
	redis_get_cancel(&f->get);
	if (f->step == FETCH_RENDERING)
		metainfo_json_end(&f->w);
	buf_free(&f->json);
	fe->held -= f->held;
	free(f->bytes);
	free(f->link);
	free(f);
}

/* Its swarm is wanted no longer; what was found (NULL: nothing) may be given to others for a
 * while. */
static void let_go(struct fetch_flight *f, const struct metainfo *found)
{
	struct coll *c = f->c;
	struct swarm *w = f->link ? swarms_find(c->swarms, f->key) : NULL;

	if (!w || !w->meta)
		return;
	w->meta = 0;
	if (found && c->kid.conf.metadata_seeding && !found->is_private) /* BEP 27 */
		fetch_seed(c, w, found);
	else if (w->waiters == 0 && swarm_ids_asked(w) == 0)
		jobs_leave(c, w);
}

int fetch_is(const struct fetch_flight *f, const uint8_t key[IH_LEN])
{
	const struct magnet *l = f->link;

	return same(f->key, key) || (f->ids.has_v1 && same(f->ids.v1, key)) ||
	       (f->ids.has_v2 && same(f->ids.v2, key)) ||
	       (l && l->has_v1 && l->has_v2 && (same(l->v1, key) || same(l->v2, key)));
}

void fetch_end(struct fetch_flight *f, enum lane_rc rc)
{
	let_go(f, rc == LANE_OK || rc == LANE_META_REDIS ? &f->m : NULL);
	if (f->up[0])
		fetch_up_end(f, rc);
	else
		wait_answer_meta(f->c, f, rc);
	if (f->listed)
		later_ended(f->c, f, rc);
	fetch_free(f);
}

void fetch_odd(struct fetch_flight *f)
{
	/* A link whose two hashes do not belong together says nothing of either. */
	if (f->link && !(f->link->has_v1 && f->link->has_v2))
		metadead_odd(f->c->fetch->dead, f->key, clock_ms());
	fetch_end(f, LANE_META_ODD);
}

/* Another flight is for the same torrent, by its other hash. */
void fetch_join(struct fetch_flight *f)
{
	struct fetch_flight *next;

	for (struct fetch_flight *g = f->c->fetch->flights; g; g = next) {
		next = g->next;
		if (g == f || g->step > FETCH_IN_SWARM ||
		    !((f->ids.has_v1 && same(g->key, f->ids.v1)) ||
		      (f->ids.has_v2 && same(g->key, f->ids.v2))))
			continue;
		wait_move_meta(f->c, g, f);
		if (!f->link || swarms_find(f->c->swarms, g->key) !=
					swarms_find(f->c->swarms, f->key))
			let_go(g, &f->m);
		fetch_free(g);
	}
}

/* ---- found ---------------------------------------------------------------------------- */

static struct fetch_flight *waiting_for(const struct coll *c, const struct lt_event *e)
{
	struct fetch_flight *f = c->fetch->flights;

	while (f &&
	       !(f->step <= FETCH_IN_SWARM && f->link &&
		 (same(f->key, e->id) || (e->ids.has_v1 && same(f->key, e->ids.v1)) ||
		  (e->ids.has_v2 && same(f->key, e->ids.v2)))))
		f = f->next;
	return f;
}

void fetch_found(struct coll *c, const struct lt_event *e)
{
	struct fetch_flight *f = waiting_for(c, e);
	size_t len;
	char *info;

	if (!f || c->fetch->held >= FETCH_HELD_MAX ||
	    lt_metadata_take(c->lt, e->id, &info, &len) != 0)
		return; /* asked for again in a second */
	fetch_read(f, info, len);
}

/* ---- the swarm ------------------------------------------------------------------------ */

/* LANE_OK: it is in the session. */
static enum lane_rc enter(struct fetch_flight *f)
{
	struct coll *c = f->c;
	struct swarm *w = swarms_find(c->swarms, f->key);
	struct resolved r = {.how = RESOLVED_TAKEN};
	enum lane_rc why = LANE_REFUSED;

	if (net_why(c) != IFACE_OK)
		return LANE_REFUSED;
	memcpy(r.infohash, f->key, IH_LEN);
	given_keep(c, f->key, &f->link->given);
	w = ids_swarm(c, f->key, &r, f->link->has_v2 ? f->link->v2 : NULL, 1, &why);
	if (!w)
		return why;
	w->control = 0;
	w->meta = 1;
	w->asked_ms = clock_ms();
	fetch_trackers(c, w, f->link);
	if (f->step == FETCH_ASKING)
		f->since_ms = clock_ms();
	f->step = FETCH_IN_SWARM;
	lt_metadata(c->lt, w->id);
	return LANE_OK;
}

void fetch_enter(struct fetch_flight *f)
{
	enum lane_rc rc = enter(f);

	if (rc != LANE_OK)
		fetch_end(f, rc);
}

/* ---- Redis ---------------------------------------------------------------------------- */

/* It is checked as everything is. */
static int took(struct fetch_flight *f, const char *value, size_t len)
{
	char *bytes = malloc(len + 1);

	if (!bytes)
		return 0;
	memcpy(bytes, value, len);
	f->from_redis = 1;
	fetch_read(f, bytes, len);
	return 1;
}

static void on_value(void *arg, const char *value, size_t len)
{
	struct fetch_flight *f = arg;
	struct coll *c = f->c;

	f->get = NULL;
	if (!value || !took(f, value, len))
		fetch_enter(f); /* which may be its end */
	wait_check(c);
}

static void take_off(struct fetch_flight *f)
{
	const struct swarm *w = swarms_find(f->c->swarms, f->key);
	char key[64];

	given_sift(f->c, w, f->client, &f->link->given);
	f->step = FETCH_ASKING;
	if (redis_up(f->c->redis) && fetch_key(key, f->key) == 0)
		f->get = redis_get(f->c->redis, key, FETCH_REDIS_WAIT_MS, FETCH_REDIS_MAX,
				   on_value, f);
	if (!f->get)
		fetch_enter(f);
}

/* ---- questions ------------------------------------------------------------------------ */

/* Did nobody have it a moment ago? Then the answer is given. Peers and trackers that the
 * question names may know what others did not. */
static int is_dead(struct coll *c, const struct shm_job *job, const struct magnet *link)
{
	uint32_t wait_s = metadead_wait_s(c->fetch->dead, job->id, clock_ms());
	int odd = metadead_is_odd(c->fetch->dead, job->id);

	if (!wait_s || (!odd && (link->given.n || fetch_trackers_new(c, job->id, link))))
		return 0;
	stat_inc(meta_dead);
	if (odd)
		wait_answer(c, job->token, LANE_META_ODD);
	else
		wait_answer_in(c, job->token, LANE_META_DEAD, wait_s);
	return 1;
}

/* A flight for it, or why there is none. */
static struct fetch_flight *admit(struct coll *c, const struct shm_job *job)
{
	int cold = !swarms_find(c->swarms, job->id);
	uint32_t wait_s = cold ? jobs_cold_s(c, job) : 0;
	struct fetch_flight *f = wait_s ? NULL : begin(c, job->id);

	if (wait_s) {
		wait_answer_in(c, job->token, LANE_LIMITED, wait_s);
	} else if (!f) {
		if (cold)
			cold_give(c, job->client);
		wait_answer(c, job->token, LANE_BUSY);
	}
	return f;
}

/* Who comes later may know more peers and trackers. */
static void more(struct fetch_flight *f, const uint8_t client[ADDR_LEN],
		 struct magnet *link)
{
	struct swarm *w = swarms_find(f->c->swarms, f->key);

	if (!f->link || f->step > FETCH_IN_SWARM)
		return;
	given_sift(f->c, w, client, &link->given);
	magnet_take_trackers(f->link, link);
	if (!w || f->step == FETCH_ASKING) { /* enter() has them then */
		stat_add(STAT_given_lost, given_more(&f->link->given, &link->given));
		return;
	}
	given_take(f->c, w, &link->given);
	fetch_trackers_again(f->c, w, f->link);
	fetch_trackers(f->c, w, link);
}

static struct fetch_flight *of_link(const struct coll *c, const struct magnet *link)
{
	struct fetch_flight *f = fetch_of(c, magnet_key(link));

	return f || !link->has_v1 || !link->has_v2 ? f : fetch_of(c, link->v2);
}

static void question(struct coll *c, const struct shm_job *job, const uint8_t *text)
{
	struct magnet *link = malloc(sizeof(*link));
	struct fetch_flight *f = NULL;
	char err[ERRLEN];

	if (!link || magnet_parse(link, (const char *)text, job->text_len, err) != 0 ||
	    !same(magnet_key(link), job->id)) {
		if (link)
			stat_inc(lane_bad);
		wait_answer(c, job->token, LANE_FAILED);
		goto out;
	}
	f = of_link(c, link);
	if ((!f || f->idle) && is_dead(c, job, link))
		goto out;
	if (f) {
		more(f, job->client, link);
		wanted(f);
		wait_for_meta(c, f, job);
		goto out;
	}
	f = admit(c, job);
	if (!f)
		goto out;
	memcpy(f->client, job->client, ADDR_LEN);
	f->link = link;
	wait_for_meta(c, f, job);
	take_off(f);
	return;
out:
	free(link);
}

/* Half of them, so that there is room for those who wait. */
int fetch_may_last(const struct coll *c, const uint8_t key[IH_LEN])
{
	uint32_t n = 0, busy = 0, max = (uint32_t)c->kid.conf.metadata_flights;
	const struct fetch_flight *mine = fetch_of(c, key);

	if (mine && mine->lasts)
		return 1;
	for (const struct fetch_flight *f = c->fetch->flights; f; f = f->next) {
		n += f->lasts != 0;
		busy += !f->idle; /* others make room */
	}
	return n < (max > 1 ? max / 2 : 1) && (mine || busy < max);
}

int fetch_long(struct coll *c, struct magnet *link, const uint8_t client[ADDR_LEN],
	       uint64_t end_ms)
{
	struct fetch_flight *f = of_link(c, link);
	int fresh = !f;

	if (fresh)
		f = begin(c, magnet_key(link));
	else
		more(f, client, link);
	if (f && (fresh || f->end_ms < end_ms)) {
		f->end_ms = end_ms;
		f->lasts = 1;
		f->idle = 0;
	}
	if (!fresh || !f) {
		free(link);
		return f ? 0 : -1;
	}
	memcpy(f->client, client, ADDR_LEN);
	f->link = link;
	take_off(f);
	return 0;
}

void fetch_job(struct coll *c, const struct shm_job *job, const uint8_t *text)
{
	if (job->kind == JOB_META)
		question(c, job, text);
	else if (job->kind == JOB_META_FILE)
		fetch_up(c, job, text);
	else if (job->kind == JOB_META_LATER)
		later_job(c, job, text);
	else if (metastore_mend(c->fetch->store, job->id) == 0)
		later_lost(c, job->id);
	/* else: counted; who meets it again says so again */
}

/* ---- once a second -------------------------------------------------------------------- */

/* Could somebody say that he has it, all the time? Else it is our network that nobody was
 * heard, and says nothing of the torrent. Without trackers, DHT and peers there is nobody. */
static int could_hear(const struct fetch_flight *f, const struct swarm *w)
{
	if (!w || !w->joined || w->away || w->joined_ms > f->since_ms)
		return 0;
	if (w->dht && f->c->dht_nodes)
		return 1;
	for (uint32_t i = 0; i < w->ntrackers; i++)
		if (w->tracker[i].ok)
			return 1;
	for (uint32_t i = 0; i < w->npeers; i++)
		if (w->peer[i].shaken_ms)
			return 1;
	return !w->dht && !w->trackers_expected && !w->npeers;
}

/* Nobody had it in time: the next question is told so, and a job that has had its minutes.
 * Who still waits has the rest of his time: the swarm may have it yet. */
static void late(struct fetch_flight *f)
{
	struct coll *c = f->c;
	const struct swarm *w = swarms_find(c->swarms, f->key);
	char hex[IH_HEX_LEN];

	ih_hex(hex, f->key);
	log_about(f->request);
	log_info("metadata", "%s: nobody has its metadata", hex);
	log_about("");
	stat_inc(meta_none);
	if (could_hear(f, w) && !w->pieces) {
		(void)metadead_failed(c->fetch->dead, f->key, clock_ms());
		metadead_asked(c->fetch->dead, f->key, w->linked, w->nlinked);
	}
	f->idle = 1;
	f->lasts = 0;
	later_ended(c, f, LANE_META_NONE);
}

static void tick(struct fetch_flight *f)
{
	struct swarm *w = swarms_find(f->c->swarms, f->key);

	if (w && f->link && f->step != FETCH_ASKING)
		w->meta = 1;
	if (f->step != FETCH_IN_SWARM)
		return;
	if (f->idle && clock_ms() >= f->idle_ms) {
		fetch_end(f, LANE_META_NONE);
	} else if (!f->idle && clock_ms() >= f->end_ms) {
		late(f);
	} else if (!w) {
		fetch_enter(f); /* it was left for another reason */
	} else if (
		w->pieces) { /* it is there; the word of it was lost, or there was no room */
		lt_metadata(f->c->lt, w->id);
	} else {
		fetch_trackers_again(f->c, w, f->link);
		swarm_plan_metadata(w, clock_ms());
		if (w->plans)
			visit_soon(f->c);
	}
}

static void forget_use(struct swarm *w, void *arg)
{
	(void)arg;
	w->meta = 0;
}

void fetch_tick(struct coll *c)
{
	struct fetch_flight *next;
	uint32_t idle = 0;

	/* Said anew each time, so that no flight's end can leave it behind. */
	swarms_each(c->swarms, forget_use, NULL);
	for (struct fetch_flight *f = c->fetch->flights; f; f = next) {
		next = f->next;
		idle += f->idle;
		tick(f);
	}
	stat_set(meta_idle, idle);
	fetch_read_turn(c);
	fetch_keep_tick(c);
	fetch_up_tick(c);
	later_tick(c);
}

/* ---- life ------------------------------------------------------------------------------- */

int fetch_open(struct coll *c, char err[ERRLEN])
{
	c->fetch = calloc(1, sizeof(*c->fetch));
	if (!c->fetch || metadead_open(&c->fetch->dead) != 0)
		return err_set(err, "out of memory");
	fetch_up_open(c);
	return fetch_read_open(c, err) != 0 || fetch_keep_open(c, err) != 0 ||
			       later_open(c, err) != 0
		       ? -1
		       : 0;
}

void fetch_close(struct coll *c)
{
	struct fetch *fe = c->fetch;

	if (!fe)
		return;
	fetch_read_close(c);
	while (fe->flights)
		fetch_free(fe->flights);
	later_close(c);
	fetch_keep_close(fe);
	metadead_close(&fe->dead);
	free(fe);
	c->fetch = NULL;
}

void fetch_configure(struct coll *c)
{
	fetch_keep_configure(c);
}
