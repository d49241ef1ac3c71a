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

#endif
