/*
 * prom.h -- the Prometheus text format 0.0.4, written only. Pure.
 *
 *	prom_family(p, "lane_job_bytes", PROM_GAUGE, "jobs that wait");
 *	prom_label(p, "slot", "3");
 *	prom_uint(p, 512);			peerscope_lane_job_bytes{slot="3"} 512
 *
 * A family is begun once, with all its samples behind it. Names and label names are
 * literals; help and label values are escaped. Proof: tests/unit/test_metrics.c, and
 * promtool in tests/e2e/test_metrics.py.
 */
#ifndef PEERSCOPE_WORKER_PROM_H
#define PEERSCOPE_WORKER_PROM_H

#include "common/buf.h"

#define PROM_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define PROM_NAME_MAX 96

enum prom_type { PROM_GAUGE = 0, PROM_COUNTER = 1, PROM_HISTOGRAM = 2 };

struct prom {
	struct buf *out;		/* borrowed; says at the end whether all fitted */
	char name[PROM_NAME_MAX];	/* of the family that is open, with our prefix */
	const char *suffix;
	int labels;			/* of the sample that is being written */
};

void prom_init(struct prom *p, struct buf *out);
/* name: without "peerscope_"; a counter's ends in _total. */
void prom_family(struct prom *p, const char *name, enum prom_type type, const char *help);
/* A label of the next sample. */
void prom_label(struct prom *p, const char *key, const char *value);
void prom_label_uint(struct prom *p, const char *key, uint64_t value);
void prom_uint(struct prom *p, uint64_t v);
/* v scaled by 10^decimals (1 .. 9): (12500, 3) is 12.5. */
void prom_fixed(struct prom *p, uint64_t v, int decimals);
/* One histogram of seconds, all of whose samples have this label: n buckets, each counted
 * alone; le_us: the upper ends of all but the last. */
void prom_times(struct prom *p, const char *key, const char *val, const uint64_t *bucket,
		const uint32_t *le_us, int n, uint64_t sum_us);

#endif
