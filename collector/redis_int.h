/*
 * redis_int.h -- what redis.c, which holds the connection, shares with redis_ask.c, which
 * asks over it.
 */
#ifndef PEERSCOPE_COLLECTOR_REDIS_INT_H
#define PEERSCOPE_COLLECTOR_REDIS_INT_H

#include <event2/event.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>

#include "collector/redis.h"
#include "shm/redishow.h"

struct resolver_query;

enum redis_state { R_DOWN, R_RESOLVING, R_CONNECTING, R_HELLO, R_UP };

struct redis {
	struct event_base *base;
	struct redis_target target;
	char name[272];			/* host:port or path, for the log */
	uint64_t timeout_ms;
	enum redis_state state;
	redisAsyncContext *ctx;		/* hiredis's: see redis.c */
	struct event *timer;		/* back-off, step time-out, or next PING */
	struct resolver_query *lookup;
	unsigned dials;			/* by name */
	unsigned inflight;
	size_t bytes;			/* of values in them */
	uint64_t oldest_ms;		/* when the oldest unanswered command left */
	int slow;			/* somebody waited in vain, and nothing has come since */
	uint64_t backoff_ms;
	uint64_t up_ms;			/* since then it answers */
	int forgiven;			/* it did so for STEADY_MS: the back-off begins anew */
	unsigned flaps;			/* ends before that, one after the other */
	int complained;			/* one warning per outage */
	uint64_t said_ms;		/* that it answers with errors; 0: never */
	enum redis_how how;
	uint64_t write_ms;		/* writes were refused: the next one, not before */
	uint64_t write_wait_ms;
};

/* Can a command be sent now, with so many bytes of a value? */
int redis_may_send(const struct redis *r, size_t bytes);
/* It was: its answer is due. */
void redis_sent(struct redis *r);
/* One answer came: whose, and was it an error (text in *bad)? NULL: the connection is
 * ending, and redis.c has seen to it or will. */
struct redis *redis_take_reply(const redisAsyncContext *ctx, const redisReply *rep,
			       const char **bad);
/* Full, a replica, another type under our key: it may say so for each command. Where it wants
 * a password now, or loads, it is greeted anew until it does not. */
void redis_complain(struct redis *r, const char *bad);

#endif
