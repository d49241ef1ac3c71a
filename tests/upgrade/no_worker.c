/* no_worker.c -- in the place of worker/main.c: a binary that takes the daemon over, and
 * whose workers then fail. For tests/e2e/test_upgrade.py. */
#include "worker/worker.h"

int worker_main(const struct kid *k)
{
	(void)k;
	return 1;
}

int worker_collector_up(const struct worker *w)
{
	(void)w;
	return 0;
}
