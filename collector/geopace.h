/*
 * geopace.h -- may a web service be asked now? A token bucket, a budget for each day (UTC),
 * and a breaker that leaves it alone while it fails or says that we ask too much.
 *
 *   READY --GEOPACE_FAILS failures in a row--> DOWN --time is over--> one question
 *     |--it says: too many (429, Retry-After)--> LIMITED --the same--^     |
 *     ^----------------------- it was answered ---------------------------'
 *                              (if not: twice the time, up to GEOPACE_BACKOFF_MAX_MS)
 *
 * Pure: times come in. The limit of a service belongs to the address that we have in the
 * world, which behind a VPN is that of strangers, too: its word counts more than our own
 * reckoning. Proof: tests/unit/test_geopace.c.
 */
#ifndef PEERSCOPE_COLLECTOR_GEOPACE_H
#define PEERSCOPE_COLLECTOR_GEOPACE_H

#include <stdint.h>

#define GEOPACE_FAILS 3
#define GEOPACE_BACKOFF_MIN_MS 30000u
#define GEOPACE_BACKOFF_MAX_MS 1800000u
#define GEOPACE_DAY_MS 86400000u

enum geopace_state { GEOPACE_READY = 0, GEOPACE_LIMITED = 1, GEOPACE_DOWN = 2 };

struct geopace {			/* all 0: never asked; then geopace_configure */
	uint32_t rate, burst;		/* questions a second; and at once */
	uint32_t daily;			/* questions a day; 0: no bound */
	uint64_t level, level_ms;	/* thousandths of a question, and when that was so */
	uint64_t day;			/* since 1970 */
	uint32_t used;			/* questions of that day */
	enum geopace_state state;
	uint64_t until_ms;		/* not before, unless it is READY */
	uint64_t backoff_ms;		/* of the next time */
	uint32_t failures;		/* in a row */
	int probing;			/* the one question is under way */
};

enum geopace_go {
	GEOPACE_WAIT = 0,		/* not now: in *wait_ms; UINT64_MAX: when an answer came */
	GEOPACE_GO = 1,
	GEOPACE_PROBE = 2,		/* go, and tell the result as of a probe */
};

/* At the first call the bucket is full, or empty if an earlier life has used some of the
 * budget: who dies again and again must not burst again and again. rate and burst are at
 * least 1. */
void geopace_configure(struct geopace *p, uint32_t rate, uint32_t burst, uint32_t daily,
		       uint64_t now_ms);
/* How long until a question may be asked: 0: now; UINT64_MAX: when an answer came. */
uint64_t geopace_wait_ms(struct geopace *p, uint64_t now_ms, uint64_t wall_ms);
/* A question is about to be asked; unless it is GEOPACE_WAIT, it counts. */
enum geopace_go geopace_next(struct geopace *p, uint64_t now_ms, uint64_t wall_ms,
			     uint64_t *wait_ms);
/* Each question that counted ends in one of these. probe: it was one. */
void geopace_answered(struct geopace *p, int probe);
void geopace_failed(struct geopace *p, uint64_t now_ms, int probe);
/* retry_ms: what the service said; 0: nothing. */
void geopace_limited(struct geopace *p, uint64_t now_ms, uint64_t retry_ms, int probe);
void geopace_cancelled(struct geopace *p, int probe);
/* It is another service: what the former one did is nothing to it. */
void geopace_forgive(struct geopace *p);
/* Questions that are left of the day; UINT32_MAX: no bound. */
uint32_t geopace_left(const struct geopace *p, uint64_t wall_ms);

#endif
