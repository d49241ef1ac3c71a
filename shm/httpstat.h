/*
 * httpstat.h -- what was answered, by route and status code, and how long that took.
 *
 * Cells behind the counters of each process's block (stat.h): the worker is their one
 * writer, the master folds them into the retired ones when it was reaped, so that no
 * sum ever falls. Sets of labels are bounded here: a route is a number that the owner
 * of the routes gives (0: none), a code one of those that we send.
 * Proof: tests/unit/test_metrics.c, tests/e2e/test_metrics.py.
 */
#ifndef PEERSCOPE_SHM_HTTPSTAT_H
#define PEERSCOPE_SHM_HTTPSTAT_H

#include <stdint.h>

#define HTTPSTAT_ROUTES 24		/* numbers of routes, 0 among them */
#define HTTPSTAT_CODES 21		/* the first one stands for any other */
#define HTTPSTAT_BUCKETS 16		/* the last one has no upper end */

struct httpstat_route {
	uint64_t code[HTTPSTAT_CODES];
	uint64_t bucket[HTTPSTAT_BUCKETS];	/* each alone, not added up */
	uint64_t sum_us;
};
struct httpstat {
	struct httpstat_route route[HTTPSTAT_ROUTES];
};
#define HTTPSTAT_CELLS (sizeof(struct httpstat) / sizeof(uint64_t))

/* Upper ends of all buckets but the last, in microseconds, rising: 0.5 ms to 30 s. */
extern const uint32_t httpstat_le_us[HTTPSTAT_BUCKETS - 1];
int httpstat_code(uint32_t i);		/* status code of code[i]; 0: any other */

struct seg;
/* One answer, and the time from the whole request to it. Goes nowhere before stat_own. */
void httpstat_answered(uint32_t route, int status, uint64_t us);
/* One answer to what was no whole request: it has no time. */
void httpstat_refused(int status);
/* Sums over all processes, the dead ones too; any side. */
void httpstat_read(const struct seg *seg, struct httpstat *out);

#endif
