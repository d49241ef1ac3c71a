/* thread.c -- see thread.h. */
#include "common/thread.h"

#include <signal.h>
#include <string.h>

int thread_start(pthread_t *out, void *(*run)(void *), void *arg, char err[ERRLEN])
{
	pthread_attr_t attr;
	sigset_t all, was;
	int rc;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	rc = pthread_create(out, &attr, run, arg);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	pthread_attr_destroy(&attr);
	return rc == 0 ? 0 : err_set(err, "thread: %s", strerror(rc));
}
