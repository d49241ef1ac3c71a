/*
 * lane.c -- the rings between a worker and the collector. See lane.h.
 *
 * Ordinary single-producer single-consumer rings: the producer writes the record,
 * then moves its count with release; the consumer reads the count with acquire,
 * copies, then moves its own with release. Nothing is written where the other
 * side may be reading, so plain copies will do.
 */
#include <stdlib.h>
#include <string.h>

#include "shm/lane.h"

struct lane {
	struct shm_lane *at;
	uint8_t *jobs;
	struct shm_done *done;
	uint32_t job_bytes, done_n; /* powers of two */
};

uint64_t lane_token(int slot, uint32_t gen, uint32_t seq)
{
	PS_ASSERT(slot >= 0 && slot < KID_SLOTS);
	/* slot + 1, so that no token is 0, which says that nobody waits */
	return (uint64_t)(slot + 1) << 56 | (uint64_t)(gen & 0xffffff) << 32 | seq;
}

int lane_token_slot(uint64_t token)
{
	return (int)(token >> 56) - 1;
}

uint32_t lane_token_gen(uint64_t token)
{
	return (uint32_t)(token >> 32) & 0xffffff;
}

uint32_t lane_token_seq(uint64_t token)
{
	return (uint32_t)token;
}

static uint8_t *lane_at(const struct seg *seg, uint32_t slot)
{
	const struct shm_dims *d = seg_dims_of(seg);
	size_t stride = sizeof(struct shm_lane) + d->lane_bytes +
			(size_t)d->lane_done * sizeof(struct shm_done);

	PS_ASSERT(slot < d->worker_slots);
	return (uint8_t *)seg_at(seg, SHM_LANES) + stride * slot;
}

int lane_open(struct lane **out, struct seg *seg, int slot, char err[ERRLEN])
{
	const struct shm_dims *d = seg_dims_of(seg);
	struct lane *l;
	uint8_t *at;

	if (slot < 0 || (uint32_t)slot >= d->worker_slots)
		return err_set(err, "lane %d: there are %u", slot, d->worker_slots);
	l = calloc(1, sizeof(*l));
	if (l == NULL)
		return err_set(err, "lane %d: out of memory", slot);
	at = lane_at(seg, (uint32_t)slot);
	l->at = (struct shm_lane *)at;
	l->jobs = at + sizeof(struct shm_lane);
	l->done = (struct shm_done *)(l->jobs + d->lane_bytes);
	l->job_bytes = d->lane_bytes;
	l->done_n = d->lane_done;
	*out = l;
	return 0;
}

void lane_close(struct lane **l)
{
	free(*l);
	*l = NULL;
}

/* Bytes of a job with its text: whole lines. */
static uint32_t job_bytes(uint32_t text_len)
{
	return (uint32_t)(sizeof(struct shm_job) + shm_round_up(text_len, SHM_LINE));
}

static void ring_write(struct lane *l, uint32_t pos, const void *data, uint32_t len)
{
	uint32_t at = pos & (l->job_bytes - 1);
	uint32_t first = l->job_bytes - at < len ? l->job_bytes - at : len;

	memcpy(l->jobs + at, data, first);
	memcpy(l->jobs, (const uint8_t *)data + first, len - first);
}

static void ring_read(const struct lane *l, uint32_t pos, void *data, uint32_t len)
{
	uint32_t at = pos & (l->job_bytes - 1);
	uint32_t first = l->job_bytes - at < len ? l->job_bytes - at : len;

	memcpy(data, l->jobs + at, first);
	memcpy((uint8_t *)data + first, l->jobs, len - first);
}

/* A job matters more than its name: that takes no room which another job may need. */
static uint32_t name_bytes(const struct lane *l, const struct shm_job *job,
			   uint32_t depth, const char *request)
{
	size_t len = strnlen(request, REQID_MAX);

	return depth > l->job_bytes / 4 || job->text_len + len > SHM_JOB_TEXT_MAX
		       ? 0
		       : (uint32_t)len;
}

int lane_push(struct lane *l, const struct shm_job *job, const void *text,
	      const char *request)
{
	uint32_t tail = atomic_load_explicit(&l->at->job_tail, memory_order_relaxed);
	uint32_t head = atomic_load_explicit(&l->at->job_head, memory_order_acquire);
	uint32_t name = name_bytes(l, job, tail - head, request), at = tail;
	uint32_t need = job_bytes(job->text_len + name);
	struct shm_job out = *job;

	PS_ASSERT(job->text_len <= SHM_JOB_TEXT_MAX && job->flags >> JOB_F_REQUEST == 0 &&
		  (text != NULL || job->text_len == 0));
	/* a head beyond the tail is nonsense: then nothing fits until it is emptied */
	if (tail - head > l->job_bytes || l->job_bytes - (tail - head) < need)
		return -1;
	out.flags |= name << JOB_F_REQUEST;
	out.text_len = (uint16_t)(out.text_len + name);
	ring_write(l, at, &out, sizeof(out));
	at += (uint32_t)sizeof(out);
	if (job->text_len > 0)
		ring_write(l, at, text, job->text_len);
	ring_write(l, at + job->text_len, request, name);
	atomic_store_explicit(&l->at->job_tail, tail + need, memory_order_release);
	return 0;
}

/* What lane_push put behind the text. 0, or -1: it makes no sense. */
static int take_name(struct shm_job *job, const uint8_t *text,
		     char request[REQID_MAX + 1])
{
	uint32_t name = job->flags >> JOB_F_REQUEST;

	if (name > REQID_MAX || name > job->text_len)
		return -1;
	job->flags &= (1u << JOB_F_REQUEST) - 1;
	job->text_len = (uint16_t)(job->text_len - name);
	memcpy(request, text + job->text_len, name);
	request[name] = '\0';
	return 0;
}

int lane_pop(struct lane *l, struct shm_job *job, void *text, char request[REQID_MAX + 1])
{
	uint32_t head = atomic_load_explicit(&l->at->job_head, memory_order_relaxed);
	uint32_t tail = atomic_load_explicit(&l->at->job_tail, memory_order_acquire);
	uint32_t depth = tail - head, bytes;

	if (depth == 0)
		return 0;
	if (depth > l->job_bytes || depth < sizeof(*job))
		goto nonsense;
	ring_read(l, head, job, sizeof(*job));
	bytes = job_bytes(job->text_len);
	if (job->text_len > SHM_JOB_TEXT_MAX || bytes > depth)
		goto nonsense;
	ring_read(l, head + (uint32_t)sizeof(*job), text, job->text_len);
	if (take_name(job, text, request) != 0)
		goto nonsense;
	atomic_store_explicit(&l->at->job_head, head + bytes, memory_order_release);
	return 1;
nonsense:
	atomic_store_explicit(&l->at->job_head, tail, memory_order_release);
	return -1;
}

/* What lies between two counts; never more than there is room for. */
static uint32_t between(const shm_u32 *head, const shm_u32 *tail, uint32_t room)
{
	uint32_t from = atomic_load_explicit(head, memory_order_acquire);
	uint32_t n = atomic_load_explicit(tail, memory_order_acquire) - from;

	return n <= room ? n : room;
}

uint32_t lane_depth(const struct lane *l)
{
	return between(&l->at->job_head, &l->at->job_tail, l->job_bytes);
}

void lane_look(const struct seg *seg, uint32_t slot, uint32_t *job_bytes, uint32_t *done)
{
	const struct shm_lane *at = (const struct shm_lane *)lane_at(seg, slot);
	const struct shm_dims *d = seg_dims_of(seg);

	*job_bytes = between(&at->job_head, &at->job_tail, d->lane_bytes);
	*done = between(&at->done_head, &at->done_tail, d->lane_done);
}

uint32_t lane_done_room(const struct lane *l)
{
	uint32_t tail = atomic_load_explicit(&l->at->done_tail, memory_order_relaxed);
	uint32_t used =
		tail - atomic_load_explicit(&l->at->done_head, memory_order_acquire);

	return used <= l->done_n ? l->done_n - used : 0;
}

void lane_done_push(struct lane *l, uint64_t token, enum lane_rc rc, uint32_t retry_s)
{
	uint32_t tail = atomic_load_explicit(&l->at->done_tail, memory_order_relaxed);
	struct shm_done *d = &l->done[tail & (l->done_n - 1)];

	PS_ASSERT(lane_done_room(l) > 0);
	atomic_store_explicit(&d->token, token, memory_order_relaxed);
	atomic_store_explicit(&d->rc, (uint32_t)rc, memory_order_relaxed);
	atomic_store_explicit(&d->retry_s, retry_s, memory_order_relaxed);
	atomic_store_explicit(&l->at->done_tail, tail + 1, memory_order_release);
}

int lane_done_pop(struct lane *l, uint64_t *token, enum lane_rc *rc, uint32_t *retry_s)
{
	uint32_t head = atomic_load_explicit(&l->at->done_head, memory_order_relaxed);
	uint32_t tail = atomic_load_explicit(&l->at->done_tail, memory_order_acquire);
	const struct shm_done *d = &l->done[head & (l->done_n - 1)];
	uint32_t word;

	if (tail == head)
		return 0;
	if (tail - head > l->done_n) {
		lane_enter(l); /* nonsense: requests fall back on their deadlines */
		return 0;
	}
	*token = atomic_load_explicit(&d->token, memory_order_relaxed);
	word = atomic_load_explicit(&d->rc, memory_order_relaxed);
	*rc = word <= LANE_RC_LAST ? (enum lane_rc)word : LANE_FAILED;
	*retry_s = atomic_load_explicit(&d->retry_s, memory_order_relaxed);
	atomic_store_explicit(&l->at->done_head, head + 1, memory_order_release);
	return 1;
}

void lane_enter(struct lane *l)
{
	uint32_t tail = atomic_load_explicit(&l->at->done_tail, memory_order_acquire);

	atomic_store_explicit(&l->at->done_head, tail, memory_order_release);
}
