/* health.h -- how we are: /health, /livez, /readyz. */
#ifndef PEERSCOPE_WORKER_HEALTH_H
#define PEERSCOPE_WORKER_HEALTH_H

#include "worker/http.h"

void health_get(struct ask *a);		/* contracts/peers.md; always 200 */
void health_livez(struct ask *a);	/* the loop turns: 200 */
void health_readyz(struct ask *a);	/* 200, or 503: draining, or no segment */

/* For metadata.c: "running", "starting", "stalled" or "down"; only the first two answer for
 * what the gauges say. */
const char *health_collector(const struct worker *w);
int health_collector_runs(const struct worker *w);

#endif
