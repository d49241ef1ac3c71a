/*
 * writer.h -- one file at a time, put on disk by a thread beside the loop, or at once.
 *
 * The loop fills data, starts, and looks now and then whether it ended; between the two all of
 * this is the thread's. Proof: tests/torture/writer.c, tests/unit/test_state.c.
 */
#ifndef PEERSCOPE_COLLECTOR_WRITER_H
#define PEERSCOPE_COLLECTOR_WRITER_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/buf.h"
#include "common/conf.h"
#include "common/err.h"

struct writer {
	struct buf data;		/* ours; the caller fills it while it is not busy */
	char path[sizeof(((struct conf *)0)->swarm_state)];	/* of the last one */
	char err[ERRLEN];		/* why it is not there; "": it is */
	int busy;			/* started, and writer_ended has not said 1 yet */
	pthread_t thread;
	atomic_int done;
};

void writer_open(struct writer *w, size_t max);		/* bytes of data */
/* Not while it is busy; path is copied, and no longer than swarm.state may be. It may end at
 * once, if there can be no thread; err says so. */
void writer_start(struct writer *w, const char *path);
void writer_now(struct writer *w, const char *path);	/* the same, here */
/* 1: what was started has ended; see err. data is empty. wait: for the disk, if need be. */
int writer_ended(struct writer *w, int wait);
void writer_close(struct writer *w);			/* waits */

#endif
