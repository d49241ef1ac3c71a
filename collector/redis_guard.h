/*
 * redis_guard.h -- what comes out of a connection that should be Redis: what its errors mean,
 * and what no Redis says.
 *
 * hiredis 0.14 asserts that nothing comes unasked: a POP3 server under redis.url, or any other
 * that talks first or more than it is asked, would end the collector. It also keeps whatever is
 * sent, half a gigabyte of it, and makes arrays of as many members as are announced. So bytes
 * are looked at before it reads them, and it is given no arrays: no command of ours is answered
 * with one. Proof: tests/unit/test_redis_guard.c, tests/e2e/test_redis.py.
 */
#ifndef PEERSCOPE_COLLECTOR_REDIS_GUARD_H
#define PEERSCOPE_COLLECTOR_REDIS_GUARD_H

#include <event2/event.h>

#include "common/err.h"
#include "shm/redishow.h"

/* Of a reply: the largest list, and room for what is around it. */
#define REDIS_REPLY_MAX ((2u << 20) + 65536u)

struct redisAsyncContext;

/* What an error reply, or hiredis' own word, says of the server. */
enum redis_how redis_guard_error(const char *text);
/* ctx is new: it belongs to the loop now. on_readable is called, with ctx, instead of hiredis'
 * own reading. -1: out of memory. */
PS_MUST int redis_guard_attach(struct redisAsyncContext *ctx, struct event_base *base,
			       event_callback_fn on_readable);
/* Bytes wait to be read; due: replies that are to come. NULL: let hiredis read them. Else it
 * must not, and the connection is to be given up: what is wrong with them. */
PS_MUST const char *redis_guard_read(const struct redisAsyncContext *ctx, unsigned due);
/* The same in the callback of a reply, behind which due more are to come. */
PS_MUST const char *redis_guard_reply(const struct redisAsyncContext *ctx, unsigned due);
/* The connection ended with an error: which. */
const char *redis_guard_end(const struct redisAsyncContext *ctx);

#endif
