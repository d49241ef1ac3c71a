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

static void drop(struct thread *t)
{
	pthread_cond_destroy(&t->cond);
	pthread_mutex_destroy(&t->lock);
}

int thread_open(struct thread *t, void *(*run)(void *), void *arg, char err[ERRLEN])
{
	t->quit = 0;
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->cond, NULL);
	if (thread_start(&t->id, run, arg, err) == 0)
		return 0;
	drop(t);
	return -1;
}

void thread_close(struct thread *t)
{
	pthread_mutex_lock(&t->lock);
	t->quit = 1;
	pthread_cond_signal(&t->cond);
	pthread_mutex_unlock(&t->lock);
	pthread_join(t->id, NULL);
	drop(t);
}
