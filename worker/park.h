/*
 * park.h -- requests that wait for the collector: a fixed array, made at start, of
 * http.max_parked places. A token names a place and how often it was used, so a
 * completion that comes after its request is gone finds nothing.
 *
 *   park_take, park_begin --> kind->push --> lane ... park_bell --> kind->done
 *                                             |          (new collector: pushed again)
 *                                             +-- client gone: JOB_FORGET, kind->release
 *                                             +-- deadline: JOB_FORGET, kind->late
 *
 * While an upgrade replaces the collector (hold_ms in the segment's header) all clocks here stand
 * still: the next one gets the questions with the time that they had left.
 */
#ifndef PEERSCOPE_WORKER_PARK_H
#define PEERSCOPE_WORKER_PARK_H

#include <event2/event_struct.h>
#include <stdint.h>

#include "common/ident.h"
#include "shm/given.h"
#include "worker/http.h"
#include "worker/shape.h"

struct peers_question {
	struct ident id;
	uint32_t limit;			/* 0: only with a summary */
	int64_t wait_ms;		/* as asked; -1: not said */
	struct shape shape;
	struct given given;		/* x.pe */
};

struct parked;

/* What differs between kinds of questions. */
struct parked_kind {
	/* Its job into the lane: 0, or -1: the lane is full. */
	int (*push)(struct parked *p);
	/* The collector is done with it. To be answered, after park_end. */
	void (*done)(struct parked *p, enum lane_rc rc, uint32_t retry_s);
	/* Its own deadline came; the collector was told to forget it. The same. */
	void (*late)(struct parked *p);
	/* NULL, or: lets go of what own holds. */
	void (*release)(struct parked *p);
};

struct parked {
	struct waiting waiting;		/* first: http_wait has this */
	const struct parked_kind *kind;
	struct ask ask;			/* query and part are not valid any more */
	struct peers_question q;	/* peers.c */
	void *own;			/* of other kinds */
	uint64_t until_ms;		/* monotonic: the collector answers by then */
	uint64_t began_ms, late_ms;	/* monotonic: park_take, and our own deadline */
	uint64_t token;
	int pushed;			/* the collector of this epoch has it */
	/* park.c */
	uint32_t index, uses;
	int used;
	struct parked *next_free;
	struct event timer;
};

struct park;

struct park *park_new(struct worker *w, uint32_t places);
void park_free(struct park **park);
/* A place with a token, whose deadline is ms from now; NULL: all are taken (counted). */
PS_MUST struct parked *park_take(struct park *park, const struct ask *ask,
				 const struct parked_kind *kind, uint64_t ms);
/* Pushes it, and hears from now on when its client leaves. -1: the lane is full, and its
 * place is free again (kind->release was called). */
PS_MUST int park_begin(struct parked *p);
struct parked *park_find(struct park *park, uint64_t token);
/* Its place is free: before its answer. */
void park_end(struct parked *p);
/* The collector rang, or a second passed. */
void park_bell(struct worker *w);
uint32_t park_used(const struct park *park);
/* The deadline of all of them is now. */
void park_late(struct park *park);

#endif
