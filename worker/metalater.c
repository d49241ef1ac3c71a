/* metalater.c -- questions that nobody waits for; see metalater.h. */
#include "worker/metalater.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"
#include "shm/metajob.h"
#include "worker/metadata.h"
#include "worker/metaserve.h"
#include "worker/metawait.h"
#include "worker/park.h"

#define PATH_LEN (sizeof(((struct kid *)0)->run_dir) + 64)
#define JSON_MAX 8192

static void path_of(char out[PATH_LEN], const struct worker *w, const char *dir,
		    const char *id)
{
	snprintf(out, PATH_LEN, "%s/%s/%s", w->kid->run_dir, dir, id);
}

/* --- what is known of a job ------------------------------------------------------ */

/* 1: metajob_free ends that; 0: there is none; -1: it can't be read (logged). */
static int read_job(struct metajob *j, const struct worker *w, const char *id)
{
	char path[PATH_LEN], err[ERRLEN], *text = NULL;
	size_t len = 0;
	int rc;

	path_of(path, w, METAJOB_DIR, id);
	rc = file_read(path, METAJOB_FILE_MAX, &text, &len, err);
	if (rc == 1 && metajob_read(j, text, len, err) != 0)
		rc = -1;
	free(text);
	if (rc < 0)
		log_warn("metadata", "job %s: %s", id, err);
	return rc;
}

static void tell(struct ask *a, int status, const struct metajob *j)
{
	struct buf body;
	struct json out;
	char text[64];

	if (status == 202) {
		snprintf(text, sizeof text, "/api/v1/jobs/%s", j->id);
		http_header(a, "Location", text);
		http_header(a, "Access-Control-Expose-Headers", "Location, Retry-After");
	}
	if (j->state == METAJOB_PENDING) {
		snprintf(text, sizeof text, "%d", METAJOB_RETRY_S);
		http_header(a, "Retry-After", text);
	}
	http_header(a, "Cache-Control", "no-store");
	buf_init(&body, JSON_MAX);
	json_init(&out, &body);
	metajob_json(&out, j, a->w->conf->metadata_base_url);
	json_obj_end(&out);
	http_json(a, status, &body);
}

void metalater_get(struct ask *a)
{
	struct metajob j;
	int rc = metajob_is_id(a->part) ? read_job(&j, a->w, a->part) : 0;

	if (rc < 0) {
		http_fault(a, 503, METADATA_FAILED, "job_unreadable",
			   "The file of this job could not be read.");
		return;
	}
	if (rc == 0) {
		http_fault(a, 404, "Job not found", "unknown_job",
			   "There is no such job, or it ended long ago.");
		return;
	}
	tell(a, 200, &j);
	metajob_free(&j);
}

/* --- a new one --------------------------------------------------------------------- */

struct own {
	char id[METAJOB_ID + 1];
	uint8_t key[IH_LEN];
};

static int push(struct parked *p)
{
	const struct own *own = p->own;
	struct shm_job job = {.kind = JOB_META_LATER,
			      .token = p->token,
			      .deadline_ms = p->until_ms,
			      .text_len = METAJOB_ID};

	memcpy(job.id, own->key, IH_LEN);
	gate_client(p->ask.conn, job.client);
	return lane_push(p->ask.w->lane, &job, own->id, gate_request_id(p->ask.conn));
}

/* What the collector did not take. */
static void own_free(const struct worker *w, struct own *own)
{
	char path[PATH_LEN];

	path_of(path, w, META_UP, own->id);
	(void)unlink(path);
	free(own);
}

static void refuse(struct ask *a, enum lane_rc rc)
{
	const struct metaword *word = metaword(rc);

	if (rc == LANE_BUSY)
		http_fault(a, 503, METADATA_FAILED, "jobs_full",
			   "There are too many jobs already (metadata.jobs).");
	else
		http_fault(a, word->status, word->error, word->code, "%s", word->message);
}

static void done(struct parked *p, enum lane_rc rc, uint32_t retry_s)
{
	struct ask a = p->ask;
	struct own *own = p->own;
	struct metajob j;

	a.retry_s = retry_s;
	park_end(p);
	if (rc != LANE_OK) {
		refuse(&a, rc);
	} else if (read_job(&j, a.w, own->id) == 1) {
		tell(&a, 202, &j);
		metajob_free(&j);
	} else {
		refuse(&a, LANE_FAILED);
	}
	own_free(a.w, own);
}

static void late(struct parked *p)
{
	struct ask a = p->ask;
	struct own *own = p->own;

	park_end(p);
	own_free(a.w, own);
	http_fault(&a, 503, METADATA_FAILED, "collector_down",
		   "The collector does not answer; it is being started again.");
}

static void release(struct parked *p)
{
	own_free(p->ask.w, p->own);
	p->own = NULL;
}

/* The question as a file. 0, or -1: err. */
static int write_question(struct ask *a, struct own *own, const struct magnet *link,
			  char *webhook, char err[ERRLEN])
{
	struct metajob j = {.url = webhook ? webhook : (char[]){""}};
	char path[PATH_LEN];
	struct buf text, file;
	int rc;

	memcpy(own->key, magnet_key(link), IH_LEN);
	if (metajob_name(own->id) != 0)
		return err_errno(err, "no random bytes");
	memcpy(j.id, own->id, sizeof j.id);
	memcpy(j.key, own->key, IH_LEN);
	gate_client(a->conn, j.client);
	j.hook = webhook ? METAJOB_HOOK_DUE : METAJOB_NO_HOOK;
	if (metaserve_has(a->w, own->key, META_JSON))
		j.state = METAJOB_DONE;
	buf_init(&text, MAGNET_MAX + 1);
	buf_init(&file, METAJOB_FILE_MAX);
	magnet_write(link, &text, MAGNET_MAX);
	j.link = text.p;
	path_of(path, a->w, META_UP, own->id);
	if (text.failed || !text.p) {
		rc = err_set(err, "no memory for the link");
	} else {
		metajob_write(&file, &j);
		rc = file.failed ? err_set(err, "no memory for the question")
				 : metawait_put(path, &file, err);
	}
	buf_free(&text);
	buf_free(&file);
	return rc;
}

/* -1: answered. */
static int check_hook(struct ask *a, const char *webhook)
{
	const struct conf *conf = a->w->conf;
	char err[ERRLEN];

	if (!webhook)
		return 0;
	if (!conf->metadata_webhook_secret[0])
		http_fault(
			a, 400, "Webhooks disabled", "webhooks_disabled",
			"This server sends no webhooks: it has no key to sign them with "
			"(metadata.webhook_secret).");
	else if (metajob_url(webhook, conf->swarm_allow_private, err) != 0)
		http_fault(a, 400, "Invalid webhook", "invalid_webhook", "webhook: %s",
			   err);
	else
		return 0;
	return -1;
}

/* Takes own. */
static void wait_for(struct ask *a, struct own *own)
{
	static const struct parked_kind kind = {push, done, late, release};
	struct parked *p = park_take(a->w->park, a, &kind, METALATER_WAIT_MS);

	if (!p) {
		own_free(a->w, own);
		http_fault(a, 503, METADATA_FAILED, "busy",
			   "Too many questions are waiting already (http.max_parked).");
		return;
	}
	p->own = own;
	p->until_ms = clock_ms() + METALATER_WAIT_MS;
	if (park_begin(p) != 0)
		http_fault(a, 503, METADATA_FAILED, "busy",
			   "The collector has too much to do.");
}

void metalater(struct ask *a, struct magnet *link, char *webhook)
{
	struct own *own = NULL;
	char err[ERRLEN] = "no memory";

	if (check_hook(a, webhook) != 0)
		goto out;
	own = calloc(1, sizeof *own);
	if (own && write_question(a, own, link, webhook, err) == 0) {
		wait_for(a, own);
		goto out;
	}
	free(own);
	log_warn("metadata", "a job: %s", err);
	http_fault(a, 503, METADATA_FAILED, "job_failed",
		   "The question could not be handed to the collector.");
out:
	free(link);
	free(webhook);
}
