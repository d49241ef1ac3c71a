/*
 * answer.h -- a swarm of the table as an HTTP answer: kept bodies, ETag, Age, 304, and
 * the hot path around evhttp.
 */
#ifndef PEERSCOPE_WORKER_ANSWER_H
#define PEERSCOPE_WORKER_ANSWER_H

#include "worker/http.h"
#include "worker/park.h"

/* Answer from the table. 0: answered; -1: the swarm is not there, or torn. */
PS_MUST int answer_table(struct ask *a, const struct peers_question *q);
/* 200 with an empty list that says why. */
void answer_nothing(struct ask *a, const struct peers_question *q, const char *why);
/* The swarm's header; 0, or -1: not there, or torn (counted). */
PS_MUST int answer_peek(struct worker *w, const uint8_t id[IH_LEN], struct shm_swarm *out);
/* Whole milliseconds since the version was put together; never negative. */
uint64_t answer_age_ms(uint64_t cached_at_ms, uint64_t now_wall_ms);

#endif
