/*
 * rig.h -- what the torture programs share: a small segment of their own, and
 * swarms whose every byte follows from one number, so that a mixture shows.
 */
#ifndef PEERSCOPE_TESTS_TORTURE_RIG_H
#define PEERSCOPE_TESTS_TORTURE_RIG_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "shm/ptab.h"
#include "shm/seg.h"
#include "shm/word.h"

#define RIG_SWARMS 12			/* ids in play */
#define RIG_WRONG 3			/* exit code: what was sabotaged was found out */

static inline _Noreturn void rig_fail(const char *what)
{
	fprintf(stderr, "FAIL: %s\n", what);
	exit(1);
}

/* The same program, sabotaged, must fail: else a green run means nothing. */
static inline void rig_sabotage_is_seen(const char *self)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		/* the bytes are to give it away, not a report */
		setenv("TSAN_OPTIONS", "report_bugs=0", 1);
		execl(self, self, "--sabotage", "60", (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
	    WEXITSTATUS(status) != RIG_WRONG)
		rig_fail("the sabotaged run was not found out");
}

static inline uint64_t rig_mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

static inline uint64_t rig_rand(uint64_t *state)
{
	*state += 0x9e3779b97f4a7c15ull;
	return rig_mix(*state);
}

/* The master's part. slots below RIG_SWARMS make the writer evict. */
static inline struct seg *rig_segment(char name[64], uint32_t slots, uint32_t chunks)
{
	struct shm_dims d = {
		.worker_slots = 2, .lane_bytes = 65536, .lane_done = 64, .buckets = 4,
		.slots = slots, .chunks = chunks, .places = 64, .string_bytes = 8192,
	};
	char err[ERRLEN];
	struct seg *seg;
	int leftover;

	snprintf(name, 64, "/peerscope-torture-%d", (int)getpid());
	if (seg_create(&seg, name, &d, &leftover, err) != 0)
		rig_fail(err);
	return seg;
}

static inline struct seg *rig_attach(const struct seg *master, enum seg_side side)
{
	char err[ERRLEN];
	struct seg *seg;

	if (seg_attach(&seg, seg_fd(master), side, err) != 0)
		rig_fail(err);
	return seg;
}

static inline struct ptab *rig_table(struct seg *seg, enum seg_side side)
{
	char err[ERRLEN];
	struct ptab *p;

	if (ptab_open(&p, seg, side, err) != 0)
		rig_fail(err);
	return p;
}

static inline void rig_id(uint8_t id[IH_LEN], uint32_t k)
{
	uint64_t a = rig_mix(k), b = rig_mix(a);

	memcpy(id, &a, 8);
	memcpy(id + 8, &b, 8);
	memcpy(id + 16, &k, 4);
}

static inline uint32_t rig_npeers(uint64_t v, uint32_t max)
{
	return (uint32_t)(rig_mix(v * 3) % (max + 1));
}

static inline void rig_peer(struct shm_peer *out, uint32_t k, uint64_t v, uint32_t n)
{
	uint64_t w[sizeof(*out) / 8];

	for (size_t i = 0; i < PS_ARRAY_LEN(w); i++)
		w[i] = rig_mix(v * 1000003 + (uint64_t)k * 65537 + n * 16ull + i);
	memcpy(out, w, sizeof(*out));
	out->client = out->place = 0;
}

/* The last words of a slot: a mixture shows wherever the writer stopped. The names that
 * stand between v2 and these are translated by a compaction, so they stay 0. */
#define RIG_TAIL offsetof(struct shm_swarm, head)
static inline void rig_tail(struct shm_swarm *s, uint64_t v)
{
	uint8_t *end = (uint8_t *)(s + 1);
	uint64_t w;

	for (uint8_t *at = s->v2; at < s->v2 + sizeof(s->v2); at += sizeof(w)) {
		w = rig_mix(v += 4);
		memcpy(at, &w, sizeof(w));
	}
	for (uint8_t *at = (uint8_t *)s + RIG_TAIL; at < end; at += sizeof(w)) {
		w = rig_mix(v += 4);
		memcpy(at, &w, sizeof(w));
	}
}
_Static_assert((sizeof(struct shm_swarm) - RIG_TAIL) % 8 == 0, "whole words");

/* Swarm k in its version v; peer has room for max. */
static inline void rig_swarm(struct shm_swarm *s, struct shm_peer *peer, uint32_t k, uint64_t v,
			     uint32_t max)
{
	memset(s, 0, sizeof(*s));
	rig_id(s->id, k);
	s->cached_at_ms = v;
	s->npeers = rig_npeers(v, max);
	s->total_peers = s->npeers + 7;
	s->tracker_seeds = (uint32_t)rig_mix(v + 1);
	s->dht_peers = (uint32_t)rig_mix(v + 2);
	s->pieces = (uint32_t)rig_mix(v + 3);
	rig_tail(s, v);
	for (uint32_t n = 0; n < s->npeers; n++)
		rig_peer(&peer[n], k, v, n);
}

/* 0: every byte belongs to one version; else what does not, as a word. */
static inline const char *rig_wrong(const struct swarm_copy *c, uint32_t k, uint32_t max)
{
	uint64_t v = c->s.cached_at_ms;
	struct shm_swarm tail;
	struct shm_peer want;

	if (c->s.npeers != rig_npeers(v, max) || c->s.total_peers != c->s.npeers + 7 ||
	    c->s.tracker_seeds != (uint32_t)rig_mix(v + 1) ||
	    c->s.dht_peers != (uint32_t)rig_mix(v + 2) ||
	    c->s.pieces != (uint32_t)rig_mix(v + 3))
		return "header mixed of two versions";
	rig_tail(&tail, v);
	if (memcmp(tail.v2, c->s.v2, sizeof(tail.v2)) != 0 ||
	    memcmp((const uint8_t *)&tail + RIG_TAIL, (const uint8_t *)&c->s + RIG_TAIL,
		   sizeof(tail) - RIG_TAIL) != 0)
		return "header mixed of two versions";
	for (uint32_t n = 0; n < c->s.npeers; n++) {
		struct shm_peer got = c->peer[n];

		rig_peer(&want, k, v, n);
		got.client = got.place = 0;
		if (memcmp(&got, &want, sizeof(want)) != 0)
			return "peers of another version";
	}
	return NULL;
}

/* Count chunks by walking the slots, as a stranger would. NULL: all is in order. */
static inline const char *rig_account(const struct ptab *p, const struct seg *seg)
{
	const struct shm_dims *d = seg_dims_of(seg);
	struct shm_pool *pool = seg_at(seg, SHM_POOL);
	const shm_u32 *link = (const shm_u32 *)(pool + 1);
	uint32_t reserved = word_get(&pool->reserved), used = 0, slots = 0;
	uint8_t *seen = calloc(d->chunks + 1, 1);
	const char *wrong = NULL;
	struct ptab_usage u;
	struct shm_swarm s;

	if (seen == NULL)
		return "out of memory";
	for (uint32_t i = 0; i < d->slots && wrong == NULL; i++) {
		enum ptab_rc rc = ptab_slot(p, i, &s);
		uint32_t hint = UINT32_MAX, at = s.first_chunk;

		if (rc == PTAB_TORN)
			wrong = "a slot is odd after takeover";
		if (rc != PTAB_OK)
			continue;
		slots++;
		if (ptab_peek(p, s.id, &hint, &s) != PTAB_OK || hint != i)
			wrong = "a slot is in no bucket";
		for (uint32_t n = 0; n < s.npeers && wrong == NULL; n += SHM_CHUNK_PEERS) {
			if (at == 0 || at > reserved || seen[at]++)
				wrong = "a chain is broken or shares a chunk";
			else
				at = word_get(&link[at - 1]);
			used++;
		}
		if (wrong == NULL && at != 0)
			wrong = "a chain is too long";
	}
	free(seen);
	ptab_usage(p, &u);
	if (wrong == NULL && (u.chunks_used != used || u.slots_used != slots ||
			      u.chunks_reserved != reserved ||
			      u.chunks_used + u.chunks_free != reserved))
		wrong = "used + free chunks are not what is reserved";
	return wrong;
}

#endif
