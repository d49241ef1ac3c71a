/*
 * shaped.h -- an answer that is rendered for one question: a limit of its own, filters,
 * an order, a summary, CSV or NDJSON. Nothing of it is kept but its ETag, which the
 * client has: the version and a hash of the question.
 */
#ifndef PEERSCOPE_WORKER_SHAPED_H
#define PEERSCOPE_WORKER_SHAPED_H

#include "worker/http.h"
#include "worker/park.h"

/* Answer from the table. 0: answered; -1: the swarm is not there, or torn. */
PS_MUST int shaped_table(struct ask *a, const struct peers_question *q);
/* 200 with nobody in it, in the form that was asked for, and why. */
void shaped_nothing(struct ask *a, const struct peers_question *q, const char *why);

#endif
