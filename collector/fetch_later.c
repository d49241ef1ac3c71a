/*
 * fetch_later.c -- questions for metadata that nobody waits for (shm/metajob.h); see fetch.h.
 *
 *   JOB_META_LATER --> pending --flight--> done, failed --> webhook --> forgotten
 *                         |  ^                                  (metadata.job_keep)
 *                         '--' no room for its flight, or the network is gone
 *
 * One that is done is pending again when its file in the cache is found to be damaged.
 * Each change is a file in METAJOB_DIR first, so who starts after us goes on where we were:
 * pending ones are looked for again, webhooks that were not heard are sent again.
 * metadata.jobs are remembered; then ended ones make room, oldest first, if they were told
 * for LATER_TOLD_MS and have no webhook due.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "collector/fetch.h"
#include "collector/fetch_int.h"
#include "collector/jobfile.h"
#include "collector/webhook.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/metafile.h"
#include "shm/metajob.h"

#define LATER_TOLD_MS 60000
#define LATER_AGAIN_MS 5000 /* when a flight could not be had, or ended for our reasons */
#define LATER_DISK_MS 60000 /* when it was found, and the disk had no place for it */
#define LATER_FULL_S 30     /* Retry-After when there is no room */
#define LATER_RESULT_MAX (1u << 20) /* bytes of metadata that a webhook has in it */

struct entry {
	struct coll *c;
	struct metajob j;
	int flies;
	uint64_t
		again_ms; /* monotonic: of the flight while pending, then of the webhook */
	struct web_req *hook; /* under way */
	TAILQ_ENTRY(entry) all;
};

struct later {
	TAILQ_HEAD(entries, entry) all; /* oldest first */
	uint32_t n, hooks;
};

static void show(const struct later *l)
{
	const struct entry *e;
	uint64_t pending = 0;

	TAILQ_FOREACH(e, &l->all, all)
	pending += e->j.state == METAJOB_PENDING;
	stat_set(meta_jobs_kept, l->n);
	stat_set(meta_jobs_pending, pending);
}

/* ---- remembered ones --------------------------------------------------------------- */

static void entry_free(struct entry *e)
{
	struct later *l = e->c->fetch->later;

	if (e->hook)
		l->hooks--;
	web_cancel(&e->hook);
	TAILQ_REMOVE(&l->all, e, all);
	l->n--;
	metajob_free(&e->j);
	free(e);
}

static void forget(struct entry *e)
{
	jobfile_remove(e->c->kid.run_dir, METAJOB_DIR, e->j.id);
	entry_free(e);
}

/* Takes what j holds; NULL: no memory. */
static struct entry *entry_new(struct coll *c, struct metajob *j)
{
	struct later *l = c->fetch->later;
	struct entry *e = calloc(1, sizeof(*e)), *at;

	if (!e) {
		metajob_free(j);
		return NULL;
	}
	e->c = c;
	e->j = *j;
	TAILQ_FOREACH_REVERSE(at, &l->all, entries, all)
	if (at->j.created_ms <= j->created_ms)
		break;
	if (at)
		TAILQ_INSERT_AFTER(&l->all, at, e, all);
	else
		TAILQ_INSERT_HEAD(&l->all, e, all);
	l->n++;
	return e;
}

static struct entry *find(const struct later *l, const char *id)
{
	struct entry *e;

	TAILQ_FOREACH(e, &l->all, all)
	if (strcmp(e->j.id, id) == 0)
		return e;
	return NULL;
}

static int is_full(const struct coll *c)
{
	return c->fetch->later->n >= (uint32_t)c->kid.conf.metadata_jobs;
}

/* Of those that may make room, the one that ended first; NULL: there is none. */
static struct entry *told(const struct coll *c)
{
	uint64_t now = clock_wall_ms();
	struct entry *e, *oldest = NULL;

	TAILQ_FOREACH(e, &c->fetch->later->all, all)
	if (e->j.state != METAJOB_PENDING && e->j.hook != METAJOB_HOOK_DUE &&
	    e->j.since_ms + LATER_TOLD_MS <= now &&
	    (!oldest || e->j.since_ms < oldest->j.since_ms))
		oldest = e;
	return oldest;
}

/* For one that was admitted: nobody is forgotten for a question that is refused. */
static void make_room(struct coll *c)
{
	struct entry *e = is_full(c) ? told(c) : NULL;

	if (!e)
		return;
	stat_inc(meta_jobs_early);
	forget(e);
}

/* ---- the cache ---------------------------------------------------------------------- */

static int open_cached(const struct coll *c, const uint8_t key[IH_LEN],
		       struct meta_file *f)
{
	char dir[4096], err[ERRLEN];

	for (int which = 0; which < 2; which++)
		if (meta_dir(dir, sizeof(dir), c->kid.conf.metadata_cache_dir,
			     c->kid.run_dir, which) == 0 &&
		    meta_open(f, dir, key, META_JSON, 0, err) == META_OK)
			return 0;
	return -1;
}

static int is_cached(const struct coll *c, const uint8_t key[IH_LEN])
{
	struct meta_file f;

	if (open_cached(c, key, &f) != 0)
		return 0;
	meta_close(&f);
	return 1;
}

/* The JSON, if it is short (a millisecond to read); the caller frees. */
static char *read_cached(const struct coll *c, const uint8_t key[IH_LEN], size_t *len)
{
	char err[ERRLEN], *out = NULL;
	struct meta_file f;

	if (open_cached(c, key, &f) != 0)
		return NULL;
	*len = f.h.len;
	if (f.h.len <= LATER_RESULT_MAX && meta_verify(&f, 0, err) == META_OK)
		out = malloc(f.h.len);
	if (out && pread(f.fd, out, f.h.len, META_HEAD) != (ssize_t)f.h.len) {
		free(out);
		out = NULL;
	}
	meta_close(&f);
	return out;
}

/* ---- the end of one --------------------------------------------------------------- */

static void ended(struct entry *e, enum lane_rc rc)
{
	uint64_t now = clock_wall_ms();

	e->flies = 0;
	e->j.rc = rc;
	e->j.state = rc == LANE_OK ? METAJOB_DONE : METAJOB_FAILED;
	e->j.since_ms = now;
	e->j.until_ms = now + e->c->kid.conf.metadata_job_keep_ms;
	e->again_ms = 0; /* its webhook, with the next tick */
	if (rc != LANE_OK)
		stat_inc(meta_jobs_failed);
	(void)jobfile_save(e->c->kid.run_dir, &e->j);
}

/* What ended for a reason that may pass is tried again while there is time. */
static int is_final(const struct entry *e, enum lane_rc rc)
{
	switch (rc) {
	case LANE_OK:
	case LANE_META_REDIS:
	case LANE_META_ODD:
	case LANE_META_BADFILE: return 1;
	default:
		return e->j.until_ms != 0 &&
		       clock_wall_ms() + LATER_AGAIN_MS >= e->j.until_ms;
	}
}

void later_ended(struct coll *c, const struct fetch_flight *f, enum lane_rc rc)
{
	struct entry *e;

	TAILQ_FOREACH(e, &c->fetch->later->all, all)
	{
		if (e->j.state != METAJOB_PENDING || !fetch_is(f, e->j.key))
			continue;
		e->flies = 0;
		e->again_ms = clock_ms() +
			      (rc == LANE_META_DISK ? LATER_DISK_MS : LATER_AGAIN_MS);
		if (is_final(e, rc))
			ended(e, rc == LANE_META_REDIS ? LANE_OK : rc);
	}
	show(c->fetch->later);
}

void later_lost(struct coll *c, const uint8_t key[IH_LEN])
{
	struct entry *e;

	TAILQ_FOREACH(e, &c->fetch->later->all, all)
	{
		if (e->j.state != METAJOB_DONE || memcmp(e->j.key, key, IH_LEN) != 0)
			continue;
		e->j.state = METAJOB_PENDING;
		e->j.since_ms = clock_wall_ms();
		e->j.until_ms = 0;
		e->again_ms = clock_ms() + LATER_AGAIN_MS;
		(void)jobfile_save(c->kid.run_dir, &e->j);
	}
	show(c->fetch->later);
}

/* Its time begins with its first turn. A clock that was set back makes it no longer. */
static uint64_t begin_time(struct entry *e)
{
	uint64_t now = clock_wall_ms(), most = e->c->kid.conf.metadata_job_timeout_ms;

	if (e->j.until_ms == 0 || e->j.until_ms > now + most) {
		e->j.until_ms = now + most;
		jobfile_save(e->c->kid.run_dir, &e->j);
	}
	return e->j.until_ms > now ? e->j.until_ms - now : 0;
}

/* Look for it: 0, though it may have ended when this returns; or -1: there is no room for one
 * more that lasts. */
static int fly(struct entry *e)
{
	struct magnet *link;
	char err[ERRLEN];

	if (is_cached(e->c, e->j.key)) { /* who died before us had found it */
		ended(e, LANE_OK);
		return 0;
	}
	if (!fetch_may_last(e->c, e->j.key))
		return -1;
	link = malloc(sizeof(*link));
	if (!link || magnet_parse(link, e->j.link, strlen(e->j.link), err) != 0) {
		free(link);
		e->again_ms = clock_ms() + LATER_AGAIN_MS;
		return 0;
	}
	e->flies = 1; /* before later_ended may say otherwise */
	if (fetch_long(e->c, link, e->j.client, clock_ms() + begin_time(e)) != 0) {
		e->flies = 0; /* fetch_may_last thought that somebody would make room */
		e->again_ms = clock_ms() + LATER_AGAIN_MS;
	}
	return 0;
}

/* ---- questions ---------------------------------------------------------------------- */

/* 0, or -1: the text is no id. */
static int take_id(char id[METAJOB_ID + 1], const struct shm_job *job,
		   const uint8_t *text)
{
	if (job->text_len != METAJOB_ID)
		return -1;
	memcpy(id, text, METAJOB_ID);
	id[METAJOB_ID] = '\0';
	return metajob_is_id(id) ? 0 : -1;
}

/* Is it what a worker writes? 0, or -1. */
static int take_question(struct coll *c, const struct shm_job *job, const char *id,
			 struct metajob *j)
{
	struct magnet *link;
	char err[ERRLEN];
	int rc;

	rc = jobfile_read(j, c->kid.run_dir, META_UP, id, err);
	jobfile_remove(c->kid.run_dir, META_UP, id);
	if (rc != 0) {
		log_warn("metadata", "job %s: %s", id, err);
		return -1;
	}
	link = malloc(sizeof(*link));
	if (!link || magnet_parse(link, j->link, strlen(j->link), err) != 0 ||
	    memcmp(magnet_key(link), j->key, IH_LEN) != 0 ||
	    memcmp(j->key, job->id, IH_LEN) != 0 || j->state == METAJOB_FAILED) {
		metajob_free(j);
		rc = -1;
	}
	free(link);
	return rc;
}

/* LANE_OK: it may be remembered. */
static enum lane_rc admit(struct coll *c, const struct shm_job *job,
			  const struct metajob *j, uint32_t *retry_s)
{
	if (is_full(c) && !told(c)) {
		stat_inc(meta_jobs_full);
		*retry_s = LATER_FULL_S;
		return LANE_BUSY;
	}
	/* Its place is kept for long, whatever is known of its torrent; and a webhook is
	 * something that we do for him in the world, too. */
	*retry_s = jobs_cold_s(c, job);
	if (*retry_s)
		return LANE_LIMITED;
	if (j->hook != METAJOB_NO_HOOK)
		*retry_s = jobs_cold_s(c, job);
	if (*retry_s)
		cold_give(c, job->client);
	return *retry_s ? LANE_LIMITED : LANE_OK;
}

void later_job(struct coll *c, const struct shm_job *job, const uint8_t *text)
{
	const struct conf *conf = &c->kid.conf;
	uint64_t now = clock_wall_ms();
	struct entry *e = NULL;
	struct metajob j;
	char id[METAJOB_ID + 1];
	int is_id = take_id(id, job, text) == 0;
	uint32_t retry_s = 0;
	enum lane_rc rc;

	if (is_id && find(c->fetch->later, id)) {
		/* Who died before us had it, and could not say so. */
		wait_answer(c, job->token, LANE_OK);
		return;
	}
	if (!is_id || take_question(c, job, id, &j) != 0) {
		stat_inc(lane_bad);
		wait_answer(c, job->token, LANE_FAILED);
		return;
	}
	rc = admit(c, job, &j, &retry_s);
	if (rc != LANE_OK) {
		metajob_free(&j);
		wait_answer_in(c, job->token, rc, retry_s);
		return;
	}
	make_room(c);
	j.created_ms = j.since_ms = now;
	j.until_ms = j.state == METAJOB_PENDING ? 0 : now + conf->metadata_job_keep_ms;
	e = entry_new(c, &j);
	if (!e || jobfile_save(c->kid.run_dir, &j) != 0) {
		if (e)
			entry_free(e);
		wait_answer(c, job->token, LANE_FAILED);
		return;
	}
	stat_inc(meta_jobs);
	log_info("metadata", "job %s is taken", id); /* what follows has its name alone */
	if (e->j.state == METAJOB_PENDING)
		(void)fly(e); /* so that its asker reads the deadline, too */
	wait_answer(c, job->token, LANE_OK);
	show(c->fetch->later);
}

/* ---- webhooks ------------------------------------------------------------------------ */

/* The job, and what was found. */
static void message(struct buf *out, const struct entry *e)
{
	char *result = NULL;
	struct json j;
	size_t len = 0;

	buf_init(out, LATER_RESULT_MAX + 8192);
	json_init(&j, out);
	metajob_json(&j, &e->j, e->c->kid.conf.metadata_base_url);
	if (e->j.state == METAJOB_DONE)
		result = read_cached(e->c, e->j.key, &len);
	if (result) {
		buf_str(out, ",\"result\":");
		buf_add(out, result, len);
	}
	free(result);
	json_obj_end(&j);
}

static void tried(struct entry *e, int heard, uint64_t retry_after_ms)
{
	uint64_t pause = webhook_pause_ms(e->j.tries, retry_after_ms);

	if (heard) {
		stat_inc(webhooks_delivered);
		e->j.hook = METAJOB_HOOK_SENT;
	} else if (pause == 0) {
		stat_inc(webhooks_given_up);
		e->j.hook = METAJOB_HOOK_FAILED;
	} else {
		e->again_ms = clock_ms() + pause;
	}
	(void)jobfile_save(e->c->kid.run_dir, &e->j);
}

static void failed(const struct entry *e, const char *why)
{
	if (e->j.tries < WEBHOOK_TRIES)
		log_info("metadata", "webhook of job %s, try %u: %s", e->j.id, e->j.tries,
			 why);
	else
		log_warn("metadata", "webhook of job %s is given up: %s", e->j.id, why);
}

static void on_answer(void *arg, const struct web_answer *a)
{
	struct entry *e = arg;
	int heard = a->status >= 200 && a->status < 300; /* nobody reads what it says */
	char answered[32];

	e->hook = NULL;
	e->c->fetch->later->hooks--;
	e->j.said = heard       ? METAJOB_SAID_NOTHING
		    : a->status ? (uint32_t)a->status
				: METAJOB_SAID_NO_ANSWER;
	if (a->rc == WEB_DENIED) {
		stat_inc(webhooks_denied);
		e->j.said = METAJOB_SAID_DENIED;
		e->j.tries = WEBHOOK_TRIES; /* it is what the name means */
	}
	snprintf(answered, sizeof answered, "it answered %d", a->status);
	if (!heard)
		failed(e, a->status ? answered : a->error);
	tried(e, heard, a->retry_after_ms);
}

static void call_hook(struct entry *e)
{
	const struct conf *conf = &e->c->kid.conf;
	struct webhook w = {.url = e->j.url,
			    .secret = conf->metadata_webhook_secret,
			    .id = e->j.id,
			    .now_s = clock_wall_ms() / 1000,
			    .allow_private = conf->swarm_allow_private};
	struct buf body;
	char err[ERRLEN] = "no memory";

	if (!w.secret[0]) { /* it was taken away */
		e->j.tries = WEBHOOK_TRIES;
		e->j.said = METAJOB_SAID_NO_KEY;
		failed(e, "metadata.webhook_secret is empty");
		tried(e, 0, 0);
		return;
	}
	e->j.tries++;
	stat_inc(webhooks);
	message(&body, e);
	if (!body.failed) {
		w.body = body.p;
		w.len = body.len;
		e->hook = webhook_post(e->c->web, &w, on_answer, e, err);
	}
	buf_free(&body);
	if (e->hook) {
		e->c->fetch->later->hooks++;
		return;
	}
	e->j.said = METAJOB_SAID_NO_ANSWER;
	failed(e, err);
	tried(e, 0, 0);
}

/* ---- once a second -------------------------------------------------------------------- */

static void tick_ended(struct entry *e)
{
	const struct later *l = e->c->fetch->later;

	if (e->j.hook == METAJOB_HOOK_DUE && !e->hook && l->hooks < WEBHOOK_AT_ONCE &&
	    clock_ms() >= e->again_ms)
		call_hook(e);
	/* Three tries are over within minutes, however long that is told. */
	if (e->j.hook != METAJOB_HOOK_DUE && clock_wall_ms() >= e->j.until_ms)
		forget(e);
}

/* full: nobody else has a turn now. */
static void tick_pending(struct entry *e, int *full)
{
	/* The end of its flight comes first, if it has one of its own. */
	if (e->j.until_ms && clock_wall_ms() >= e->j.until_ms + LATER_AGAIN_MS)
		ended(e, LANE_META_NONE);
	else if (!e->flies && !*full && clock_ms() >= e->again_ms)
		*full = fly(e) != 0;
}

void later_tick(struct coll *c)
{
	struct later *l = c->fetch->later;
	struct entry *e, *next;
	int full = 0;

	for (e = TAILQ_FIRST(&l->all); e; e = next) {
		next = TAILQ_NEXT(e, all);
		if (e->j.state == METAJOB_PENDING)
			tick_pending(e, &full);
		else
			tick_ended(e);
	}
	show(l);
}

/* ---- life ----------------------------------------------------------------------------- */

/* What our predecessor left: all of it, also if metadata.jobs is less now. */
static int resume(void *arg, const char *id)
{
	struct coll *c = arg;
	char err[ERRLEN];
	struct metajob j;

	if (jobfile_read(&j, c->kid.run_dir, METAJOB_DIR, id, err) != 0) {
		log_warn("metadata", "job %s: %s", id, err);
		return 0;
	}
	if (entry_new(c, &j) && j.state == METAJOB_PENDING)
		stat_inc(meta_jobs_resumed);
	return 1;
}

int later_open(struct coll *c, char err[ERRLEN])
{
	struct later *l = calloc(1, sizeof(*l));

	if (!l)
		return err_set(err, "out of memory");
	TAILQ_INIT(&l->all);
	c->fetch->later = l;
	jobfile_each(c->kid.run_dir, resume, c);
	show(l);
	return 0;
}

void later_close(struct coll *c)
{
	struct later *l = c->fetch->later;

	if (!l)
		return;
	while (!TAILQ_EMPTY(&l->all))
		entry_free(TAILQ_FIRST(&l->all));
	free(l);
	c->fetch->later = NULL;
}
