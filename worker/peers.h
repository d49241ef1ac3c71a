/*
 * peers.h -- GET /peers/{id}: who is in a swarm (contracts/peers.md).
 *
 *   fresh in the table ---------------------> answered at once
 *   stale, within cache.grace --------------> answered at once; a job makes it fresh
 *   first round still under way (joining) --> a job; the request is parked
 *   else, or ?wait= and not settled yet ----> a job; the request is parked
 */
#ifndef PEERSCOPE_WORKER_PEERS_H
#define PEERSCOPE_WORKER_PEERS_H

#include "worker/http.h"
#include "worker/park.h"

#define PEERS_WAIT_MAX_MS 25000		/* the orchestrator gives up after 30 s */
#define PEERS_MARGIN_MS 3000		/* our deadline, behind the collector's */

void peers_get(struct ask *a);
/* The gate's hook for the hot verb. */
int peers_hot(void *arg, struct gate_conn *c, const struct strict *rq);
/* An answer was given without the collector: tell it now and then. */
void peers_touch(struct worker *w, const struct gate_conn *conn, const uint8_t key[IH_LEN]);

/* What a query says (limit, wait, and shape.h); 0, or -1 with a sentence. */
PS_MUST int peers_query(struct peers_question *q, const char *query, char err[ERRLEN]);

#endif
