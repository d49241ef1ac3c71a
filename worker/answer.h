/*
 * answer.h -- a swarm of the table as an HTTP answer: kept bodies, ETag, Age, 304, and
 * the hot path around evhttp. What is no plain question goes on to shaped.c.
 */
#ifndef PEERSCOPE_WORKER_ANSWER_H
#define PEERSCOPE_WORKER_ANSWER_H

#include "worker/http.h"
#include "worker/park.h"

/* Answer from the table. 0: answered; -1: the swarm is not there, or torn. */
PS_MUST int answer_table(struct ask *a, const struct peers_question *q);
/* The swarm's header; 0, or -1: not there, or torn (counted). */
PS_MUST int answer_peek(struct worker *w, const uint8_t id[IH_LEN], struct shm_swarm *out);
/* Whole milliseconds since the version was put together; never negative. */
uint64_t answer_age_ms(uint64_t cached_at_ms, uint64_t now_wall_ms);

/* --- for shaped.c ----------------------------------------------------------- */

#define ANSWER_MAX_BYTES (8u << 20)	/* 2,000 peers with the longest texts */
#define ANSWER_TRIES 4			/* the names may be compacted while we render */

/* The swarm into w->copy; 0, or -1: not there, or torn (counted). */
PS_MUST int answer_get(struct worker *w, const uint8_t id[IH_LEN], uint32_t max_peers);
/* Age, Cache-Control, ETag (NULL: none). */
void answer_headers(struct ask *a, uint64_t cached_at_ms, int settled, const char *etag);
/* Nothing better is on its way. */
int answer_is_settled(const struct shm_swarm *s);

#endif
