/*
 * metrics.h -- GET /metrics: counters and gauges for Prometheus, of the whole daemon,
 * whichever worker is asked. From the segment alone, so that it answers while everything
 * else hangs; its cost is bounded by the slots of the table and the processes. No label
 * has a value that strangers choose.
 * Proof: tests/unit/test_metrics.c, tests/e2e/test_metrics.py.
 */
#ifndef PEERSCOPE_WORKER_METRICS_H
#define PEERSCOPE_WORKER_METRICS_H

#include "worker/http.h"

void metrics_get(struct ask *a);
/* The text, for the tests; all but the collector's gauges if it does not run. */
void metrics_write(const struct worker *w, struct buf *out);

#endif
