/*
 * state.h -- known peers outlive the daemon: what the table says is written down now and
 * then, and at the end, and read by the next collector, so that a question after a restart is
 * answered from it, and its peers are dialled when somebody asks (earlier.c); nobody is
 * dialled before. swarm.state names the file (statefile.h).
 *
 * Lists that nobody would believe any more (swarm.peer_expiry) are not kept. What is on disk
 * are addresses of peers: mode 0600, and no file at all once nothing is known.
 * Proof: tests/e2e/test_state.py.
 */
#ifndef PEERSCOPE_COLLECTOR_STATE_H
#define PEERSCOPE_COLLECTOR_STATE_H

#include "common/err.h"

#define STATE_FIRST_MS 30000		/* the first time after the start, then */
#define STATE_SAVE_MS 300000
#define STATE_SLICE_US 2000		/* of the loop's time, in a turn */

struct coll;

PS_MUST int state_open(struct coll *c, char err[ERRLEN]);
/* What the file has, into the table, where that knows nothing newer. */
void state_load(struct coll *c);
void state_tick(struct coll *c);	/* once a second: is it time? */
/* Now and at once, waiting for the disk. */
void state_save(struct coll *c);
void state_close(struct coll *c);

#endif
