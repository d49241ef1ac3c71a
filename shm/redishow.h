/*
 * redishow.h -- how it is with Redis, as a gauge holds it: the collector writes, workers name
 * it on /health.
 */
#ifndef PEERSCOPE_SHM_REDISHOW_H
#define PEERSCOPE_SHM_REDISHOW_H

enum redis_how {			/* what the gauge redis_state says: values stay */
	REDISHOW_OFF = 0,		/* redis.mode */
	REDISHOW_CONNECTING = 1,	/* nothing was heard of it yet */
	REDISHOW_UP = 2,
	REDISHOW_DOWN = 3,		/* no connection can be made, or it has ended */
	REDISHOW_SILENT = 4,		/* there is one, and no answer in time */
	REDISHOW_PASSWORD = 5,		/* it wants one, or another one, or none */
	REDISHOW_DENIED = 6,		/* we may not: rights of our user, protected mode, too many */
	REDISHOW_LOADING = 7,		/* it has just been started, or follows another one */
	REDISHOW_FULL = 8,		/* it answers, and keeps nothing of ours */
	REDISHOW_READ_ONLY = 9,		/* a replica, or its disk fails */
	REDISHOW_CLUSTER = 10,		/* keys of ours are on other servers */
	REDISHOW_GARBAGE = 11,		/* it is something else */
	REDISHOW_ERROR = 12,		/* another error: /health has its words */
};

const char *redishow_name(int how);

#endif
