/*
 * lane.c -- both rings of a lane between two threads, with counters that start just
 * below 2^32 and wrap, records of every length, and rings that are often full or
 * empty. Each job is answered; each answer must come back in order.
 *
 *   lane [seconds]               2 by default
 *   lane --sabotage [seconds]    the producer moves the tail before it writes: the
 *                                consumer must notice before the time is over
 *
 * Without arguments both are run, the sabotage as a child.
 */
#include <pthread.h>

#include "rig.h"
#include "shm/lane.h"

#define WINDOW 64          /* jobs under way: all that the done ring takes */
#define LAZY_SPINS 3000    /* the consumer looks away, so that the ring fills */
#define RING 65536u        /* as rig_segment makes it */
#define BEFORE_WRAP 65536u /* bytes of jobs, and entries / 1024, before 2^32 */

static struct seg *master;
static atomic_int stop; /* the producer is done */
static atomic_ullong wrong;
static int sabotage;

static struct {
	uint64_t pushed, full, popped, empty, answered, bytes, named;
} tally;

static uint32_t text_len(uint64_t n)
{
	uint64_t r = rig_mix(n);

	switch ((n >> 8) % 2 ? 3 : r % 4) { /* every other stretch: long ones */
	case 0: return 0;
	case 1: return (uint32_t)(r >> 8) % 64;
	case 2: return (uint32_t)(r >> 8) % 1000;
	default: return (uint32_t)(r >> 8) % (SHM_JOB_TEXT_MAX + 1);
	}
}

static void make_job(struct shm_job *job, uint8_t *text, uint64_t n)
{
	uint64_t r = rig_mix(n * 7);

	memset(job, 0, sizeof(*job));
	job->kind = JOB_PEERS;
	job->text_len = (uint16_t)text_len(n);
	job->token = lane_token(1, 5, (uint32_t)n);
	job->deadline_ms = n;
	memcpy(job->id, &r, 8);
	for (uint32_t i = 0; i < job->text_len; i++)
		text[i] = (uint8_t)(r + i * 31);
}

/* Of every third job. */
static const char *name_of(char name[REQID_MAX + 1], uint64_t n)
{
	name[0] = '\0';
	if (n % 3 == 0)
		snprintf(name, REQID_MAX + 1, "%0*" PRIu64, (int)(1 + n % REQID_MAX), n);
	return name;
}

static void complain(const char *what, uint64_t n)
{
	if (atomic_fetch_add(&wrong, 1) == 0)
		fprintf(stderr, "job %" PRIu64 ": %s\n", n, what);
}

static struct shm_lane *lane_at(const struct seg *seg)
{
	size_t stride = sizeof(struct shm_lane) + RING + 64 * sizeof(struct shm_done);

	return (struct shm_lane *)((uint8_t *)seg_at(seg, SHM_LANES) + stride);
}

/* What lane_push would be if it moved the tail first. */
static int push_early(struct seg *seg, const struct shm_job *job, const uint8_t *text)
{
	struct shm_lane *at = lane_at(seg);
	uint8_t *ring = (uint8_t *)(at + 1);
	uint32_t tail = atomic_load(&at->job_tail);
	uint32_t need = (uint32_t)(sizeof(*job) + shm_round_up(job->text_len, SHM_LINE));

	if (RING - (tail - atomic_load(&at->job_head)) < need)
		return -1;
	atomic_store(&at->job_tail, tail + need);
	for (uint32_t i = 0; i < sizeof(*job) + job->text_len; i++)
		ring[(tail + i) & (RING - 1)] = i < sizeof(*job)
							? ((const uint8_t *)job)[i]
							: text[i - sizeof(*job)];
	return 0;
}

static void look_away(const struct lane *l, uint64_t n)
{
	for (int i = 0; (n >> 8) % 2 && i < LAZY_SPINS; i++)
		if (lane_depth(l) > RING - SHM_JOB_TEXT_MAX || atomic_load(&stop))
			return;
}

static void *consumer(void *arg)
{
	struct seg *seg = rig_attach(master, SEG_COLLECTOR);
	static uint8_t text[SHM_JOB_TEXT_MAX], want_text[SHM_JOB_TEXT_MAX];
	struct shm_job job, want;
	char err[ERRLEN], got[REQID_MAX + 1], name[REQID_MAX + 1];
	struct lane *l;
	uint64_t n = 0;

	(void)arg;
	if (lane_open(&l, seg, 1, err) != 0)
		rig_fail(err);
	for (;;) {
		int last = atomic_load(&stop), rc = lane_pop(l, &job, text, got);

		if (rc == 0 && last)
			break;
		if (rc == 0) {
			tally.empty++;
			look_away(l, n);
			continue;
		}
		if (rc < 0) {
			complain("the ring made no sense", n);
			break;
		}
		make_job(&want, want_text, n);
		if (memcmp(&job, &want, sizeof(job)) != 0 ||
		    memcmp(text, want_text, job.text_len) != 0 ||
		    (got[0] && strcmp(got, name_of(name, n)) != 0)) {
			complain("not the bytes that were pushed", n);
			break;
		}
		lane_done_push(l, job.token, n % 4, (uint32_t)n);
		tally.popped++;
		tally.named += got[0] != '\0';
		tally.bytes += sizeof(job) + job.text_len;
		n++;
	}
	lane_close(&l);
	seg_close(&seg);
	return NULL;
}

/* Take what came back. */
static void take_answers(struct lane *l)
{
	enum lane_rc rc;
	uint32_t retry_s;
	uint64_t token;

	while (lane_done_pop(l, &token, &rc, &retry_s)) {
		if (token != lane_token(1, 5, (uint32_t)tally.answered) ||
		    rc != (enum lane_rc)(tally.answered % 4) ||
		    retry_s != (uint32_t)tally.answered)
			complain("answered out of turn", tally.answered);
		tally.answered++;
	}
}

static void produce(struct lane *l, struct seg *seg, double seconds)
{
	uint64_t end = clock_ms() + (uint64_t)(seconds * 1000);
	static uint8_t text[SHM_JOB_TEXT_MAX];
	char name[REQID_MAX + 1];
	struct shm_job job;

	while (clock_ms() < end && atomic_load(&wrong) == 0) {
		int rc;

		take_answers(l);
		if (tally.pushed - tally.answered >= WINDOW)
			continue;
		make_job(&job, text, tally.pushed);
		rc = sabotage ? push_early(seg, &job, text)
			      : lane_push(l, &job, text, name_of(name, tally.pushed));
		if (rc == 0)
			tally.pushed++;
		else
			tally.full++;
	}
	while (tally.answered < tally.pushed && atomic_load(&wrong) == 0)
		take_answers(l);
}

static void set_counters(struct seg *seg)
{
	struct shm_lane *at = lane_at(seg);

	atomic_store(&at->job_tail, 0u - BEFORE_WRAP);
	atomic_store(&at->job_head, 0u - BEFORE_WRAP);
	atomic_store(&at->done_tail, 0u - BEFORE_WRAP / 1024);
	atomic_store(&at->done_head, 0u - BEFORE_WRAP / 1024);
}

int main(int argc, char **argv)
{
	struct seg *worker;
	pthread_t thread;
	struct lane *l;
	double seconds = 2;
	char name[64], err[ERRLEN];

	sabotage = argc > 1 && strcmp(argv[1], "--sabotage") == 0;
	if (argc > 1 + sabotage)
		seconds = strtod(argv[1 + sabotage], NULL);
	if (!sabotage)
		rig_sabotage_is_seen(argv[0]);
	master = rig_segment(name, 16, 16);
	seg_unlink(name);
	worker = rig_attach(master, SEG_WORKER);
	set_counters(worker);
	if (lane_open(&l, worker, 1, err) != 0)
		rig_fail(err);
	if (pthread_create(&thread, NULL, consumer, NULL) != 0)
		rig_fail("pthread_create");
	produce(l, worker, seconds);
	atomic_store(&stop, 1);
	pthread_join(thread, NULL);
	printf("lane%s: %" PRIu64 " jobs, %" PRIu64 " KiB, %" PRIu64
	       " times full, %" PRIu64 " times empty, %" PRIu64 " answers, %" PRIu64
	       " named, %llu WRONG\n",
	       sabotage ? " (sabotage)" : "", tally.pushed, tally.bytes / 1024,
	       tally.full, tally.empty, tally.answered, tally.named,
	       (unsigned long long)atomic_load(&wrong));
	lane_close(&l);
	seg_close(&worker);
	seg_close(&master);
	if (atomic_load(&wrong) > 0)
		return RIG_WRONG;
	if (!sabotage && (tally.popped != tally.pushed || tally.bytes < 4 * BEFORE_WRAP ||
			  tally.full == 0 || tally.named == 0))
		rig_fail("not everything arrived, or the counters did not wrap");
	return 0;
}
