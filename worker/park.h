/*
 * park.h -- requests that wait for the collector: a fixed array, made at start, of
 * http.max_parked places. A token names a place and how often it was used, so a
 * completion that comes after its request is gone finds nothing.
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

struct parked {
	struct waiting waiting;		/* first: gate_user is this */
	struct ask ask;			/* query and part are not valid any more */
	struct peers_question q;
	uint64_t until_ms;		/* monotonic: the collector answers by then */
	uint64_t token;
	int pushed;			/* the collector of this epoch has it */
	/* park.c */
	uint32_t index, uses;
	int used;
	struct parked *next_free;
	struct event timer;
};

struct park;

/* late: the request's own deadline came; it still holds its place. */
struct park *park_new(struct worker *w, uint32_t places, void (*late)(struct parked *p));
void park_free(struct park **park);

/* A place with a token, whose deadline is ms from now; NULL: all are taken. */
PS_MUST struct parked *park_take(struct park *park, const struct ask *ask, uint64_t ms);
struct parked *park_find(struct park *park, uint64_t token);
void park_release(struct park *park, struct parked *p);
uint32_t park_used(const struct park *park);
/* fn for each parked request; it may release the one it gets. */
void park_each(struct park *park, void (*fn)(struct parked *p));

#endif
