/*
 * thread.h -- a thread beside an event loop, for what the loop may not wait for.
 *
 * Signals are the loop's: such a thread is born with all of them blocked. Its stack is small
 * (THREAD_STACK_BYTES), so large things lie in what it is given. Whoever started it ends it
 * by a word of his own, and joins it. Proof: tests/unit/test_common.c.
 */
#ifndef PEERSCOPE_COMMON_THREAD_H
#define PEERSCOPE_COMMON_THREAD_H

#include <pthread.h>

#include "common/err.h"

#define THREAD_STACK_BYTES (256u << 10)

/* Borrows arg until the thread is joined. 0, or -1: none was started. */
PS_MUST int thread_start(pthread_t *out, void *(*run)(void *), void *arg,
			 char err[ERRLEN]);

/* One that waits for work: by cond, under lock, until quit. Its owner holds the lock, too,
 * for whatever both use, and signals cond. */
struct thread {
	pthread_t id;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	int quit; /* under the lock; thread_close sets it */
};

/* As thread_start. -1: there is nothing to close. */
PS_MUST int thread_open(struct thread *t, void *(*run)(void *), void *arg,
			char err[ERRLEN]);
/* Returns when run has. */
void thread_close(struct thread *t);

#endif
