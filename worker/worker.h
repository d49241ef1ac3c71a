/*
 * worker.h -- what the files of a worker share. One process, one loop, no globals:
 * main.c owns the one struct worker.
 */
#ifndef PEERSCOPE_WORKER_WORKER_H
#define PEERSCOPE_WORKER_WORKER_H

#include <event2/event.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/kid.h"
#include "common/metafile.h"
#include "shm/lane.h"
#include "shm/ptab.h"
#include "shm/seg.h"
#include "worker/gate.h"

#define WORKER_REFRESH_SLOTS 512	/* ids whose last refresh is remembered */
#define WORKER_REFRESH_MS 500		/* one refresh of an id per this */

struct worker {
	const struct kid *kid;
	const struct conf *conf;
	struct event_base *base;
	struct seg *seg;
	struct shm_page *page;		/* ours; NULL in unit tests */
	struct ptab *ptab;
	struct lane *lane;
	struct gate *gate;
	struct bodies *bodies;
	struct park *park;
	struct swarm_copy *copy;	/* scratch: one swarm is read at a time */
	struct pick *pick;		/* scratch: and filtered */
	uint32_t epoch;			/* of the collector that knows our tokens */
	uint64_t hold_ms;		/* of the header, as we saw it last */
	uint64_t sending_bytes;		/* of answers that one client alone gets */
	struct meta_seen *meta_seen;	/* files of the cache that are known to be whole */
	struct strict_room uploads;	/* bodies beyond http.max_body */
	uint32_t meta_slicing;		/* files that are being looked through */
	uint32_t meta_waiting;		/* those that wait for it: metaserve.c */
	TAILQ_HEAD(servings, serving) meta_queue;
	uint32_t batch_items;		/* of batches that are not sent yet; metabatch.h */
	int orphan;			/* the master is gone */
	int repush;			/* some parked request is not in its lane */
	struct {
		uint8_t id[IH_LEN];
		uint64_t at_ms;
	} refreshed[WORKER_REFRESH_SLOTS];
	struct event *bell, *chan, *tick, *deadline;
};

/* 1 while a collector lives. */
int worker_collector_up(const struct worker *w);
/* route.c: the gate's hook for everything that the hot path left. */
void route_request(void *arg, struct gate_conn *c, struct evhttp_request *req);

#endif
