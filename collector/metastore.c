/* metastore.c -- see metastore.h. */
#include "collector/metastore.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/kid.h"
#include "common/log.h"
#include "common/thread.h"
#include "shm/stat.h"

#define SAY_MS 60000u

enum job_kind { JOB_PUT, JOB_MEND };

struct job {
	enum job_kind kind;
	uint64_t tag;
	struct metastore_item item; /* data belongs to the job until it is done */
	enum metadisk_rc rc;
};

struct metastore {
	struct metadisk *disk; /* the thread's alone */
	int bell_fd;
	struct thread t;

	/* Under the lock. Jobs are numbered; job n lies at n % METASTORE_JOBS:
	 * taken <= done <= given <= taken + METASTORE_JOBS. */
	struct job job[METASTORE_JOBS];
	uint64_t given, done, taken;
	uint64_t bytes; /* of content of jobs that are not done */
	uint64_t quota;
	int new_quota;
	struct metadisk_stats stats;

	/* The loop's alone: */
	struct metadisk_stats told; /* what is counted already */
	uint64_t said_ms;           /* when a failure was spoken of, 0: never */
	uint64_t unsaid;            /* failures since */
};

/* --- the thread --------------------------------------------------------------- */

static void free_data(struct metastore_item *it)
{
	for (int k = 0; k < META_KINDS; k++) {
		free(it->data[k]);
		it->data[k] = NULL;
	}
}

static uint64_t item_bytes(const struct metastore_item *it)
{
	uint64_t n = 0;

	for (int k = 0; k < META_KINDS; k++)
		n += it->data[k] ? it->len[k] : 0;
	return n;
}

static void work(struct metadisk *disk, struct job *j)
{
	struct metadisk_item it;
	char err[ERRLEN] = "";

	j->rc = METADISK_OK;
	if (j->kind == JOB_MEND) {
		(void)metadisk_mend(disk, j->item.key);
		return;
	}
	memcpy(it.key, j->item.key, IH_LEN);
	memcpy(it.other, j->item.other, IH_LEN);
	for (int k = 0; k < META_KINDS; k++) {
		it.data[k] = j->item.data[k];
		it.len[k] = j->item.len[k];
	}
	j->rc = metadisk_put(disk, &it, err);
}

/* One job. The lock is held before and afterwards; the job is nobody else's meanwhile. */
static void do_job(struct metastore *m)
{
	struct job *j = &m->job[m->done % METASTORE_JOBS];
	uint64_t bytes = item_bytes(&j->item);

	pthread_mutex_unlock(&m->t.lock);
	work(m->disk, j);
	free_data(&j->item);
	pthread_mutex_lock(&m->t.lock);
	m->bytes -= bytes;
	m->done++;
	metadisk_stats(m->disk, &m->stats);
	kid_ring(m->bell_fd);
}

/* A slice of a sweep. 0: there is nothing to sweep. */
static int do_slice(struct metastore *m)
{
	struct metadisk_stats now;
	int more;

	pthread_mutex_unlock(&m->t.lock);
	more = metadisk_step(m->disk);
	metadisk_stats(m->disk, &now);
	pthread_mutex_lock(&m->t.lock);
	if (now.known != m->stats.known || now.failed != m->stats.failed ||
	    now.bytes != m->stats.bytes)
		kid_ring(m->bell_fd);
	m->stats = now;
	return more;
}

static void *run(void *arg)
{
	struct metastore *m = arg;
	int sweep = 1;

	/* What a sweep costs others may need more; failing is fine. */
	(void)setpriority(PRIO_PROCESS, (id_t)gettid(), 5);
	pthread_mutex_lock(&m->t.lock);
	while (!m->t.quit || m->done < m->given) {
		if (m->new_quota) {
			metadisk_quota(m->disk, m->quota);
			m->new_quota = 0;
			sweep = 1;
		} else if (m->done < m->given) {
			do_job(m);
			sweep = 1;
		} else if (sweep) {
			sweep = do_slice(m);
		} else {
			pthread_cond_wait(&m->t.cond, &m->t.lock);
		}
	}
	pthread_mutex_unlock(&m->t.lock);
	return NULL;
}

/* --- the loop ------------------------------------------------------------------- */

static void drop(struct metastore *m)
{
	metadisk_close(&m->disk);
	free(m);
}

int metastore_open(struct metastore **out, const char *dir, uint64_t quota_bytes,
		   int bell_fd, char err[ERRLEN])
{
	struct metastore *m = calloc(1, sizeof(*m));

	if (!m)
		return err_set(err, "metadata cache: out of memory");
	m->bell_fd = bell_fd;
	if (metadisk_open(&m->disk, dir, quota_bytes, err) != 0 ||
	    thread_open(&m->t, run, m, err) != 0) {
		drop(m);
		return -1;
	}
	*out = m;
	return 0;
}

void metastore_close(struct metastore **m)
{
	struct metastore *own = *m;

	if (!own)
		return;
	thread_close(&own->t);
	drop(own);
	*m = NULL;
}

void metastore_quota(struct metastore *m, uint64_t quota_bytes)
{
	pthread_mutex_lock(&m->t.lock);
	m->quota = quota_bytes;
	m->new_quota = 1;
	pthread_cond_signal(&m->t.cond);
	pthread_mutex_unlock(&m->t.lock);
}

static int give(struct metastore *m, const struct job *j)
{
	uint64_t bytes = item_bytes(&j->item);
	int full;

	pthread_mutex_lock(&m->t.lock);
	full = m->given - m->taken == METASTORE_JOBS ||
	       (m->bytes > 0 && m->bytes + bytes > METASTORE_BYTES);
	if (!full) {
		m->job[m->given++ % METASTORE_JOBS] = *j;
		m->bytes += bytes;
		pthread_cond_signal(&m->t.cond);
	}
	pthread_mutex_unlock(&m->t.lock);
	if (full)
		stat_inc(meta_refused);
	return full ? -1 : 0;
}

int metastore_put(struct metastore *m, const struct metastore_item *it, uint64_t tag)
{
	struct job j = {.kind = JOB_PUT, .tag = tag, .item = *it};

	if (give(m, &j) == 0)
		return 0;
	free_data(&j.item);
	return -1;
}

int metastore_mend(struct metastore *m, const uint8_t key[IH_LEN])
{
	struct job j = {.kind = JOB_MEND};

	memcpy(j.item.key, key, IH_LEN);
	return give(m, &j);
}

/* At most once a minute; the next line says how many were not spoken of. */
static void say(struct metastore *m, const struct metadisk_stats *now)
{
	uint64_t ms = clock_ms();

	m->unsaid += now->failed - m->told.failed;
	if (m->unsaid == 0 || (m->said_ms != 0 && ms - m->said_ms < SAY_MS))
		return;
	log_warn("metadata",
		 "cache on disk: %s (%" PRIu64 " such failures); going on without",
		 now->err, m->unsaid);
	m->said_ms = ms;
	m->unsaid = 0;
}

static void tell(struct metastore *m, const struct metadisk_stats *now)
{
	stat_add(STAT_meta_evicted, now->evicted - m->told.evicted);
	stat_add(STAT_meta_bad, now->bad - m->told.bad);
	stat_add(STAT_meta_leftovers, now->leftovers - m->told.leftovers);
	stat_add(STAT_meta_failed, now->failed - m->told.failed);
	stat_set(meta_bytes, now->bytes);
	stat_set(meta_entries, now->entries);
	say(m, now);
	m->told = *now;
}

int metastore_take(struct metastore *m, struct metastore_done *out)
{
	struct metadisk_stats now;
	int found = 0;

	pthread_mutex_lock(&m->t.lock);
	while (!found && m->taken < m->done) {
		const struct job *j = &m->job[m->taken++ % METASTORE_JOBS];

		if (j->kind != JOB_PUT)
			continue;
		found = 1;
		out->tag = j->tag;
		out->rc = j->rc;
		memcpy(out->key, j->item.key, IH_LEN);
	}
	now = m->stats;
	pthread_mutex_unlock(&m->t.lock);
	tell(m, &now);
	if (found)
		stat_set(meta_unwritable, out->rc == METADISK_FAILED);
	if (found && out->rc == METADISK_OK)
		stat_inc(meta_stored);
	else if (found && out->rc == METADISK_FULL)
		stat_inc(meta_refused);
	return found;
}

void metastore_stats(struct metastore *m, struct metadisk_stats *out)
{
	pthread_mutex_lock(&m->t.lock);
	*out = m->stats;
	pthread_mutex_unlock(&m->t.lock);
}
