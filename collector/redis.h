/*
 * redis.h -- the second tier: one asynchronous connection to Redis (hiredis).
 *
 * Nobody ever waits for Redis: a command that can't be sent now is skipped and
 * counted. The connection is made, checked (PING) and made again with back-off
 * behind the scenes; hiredis 0.14 has no time-outs of its own, so each step here
 * runs under redis.timeout. Host names are resolved by evdns, off the loop.
 * Proof: tests/unit/test_redis_url.c, tests/e2e/test_redis.py (real servers).
 */
#ifndef PEERSCOPE_COLLECTOR_REDIS_H
#define PEERSCOPE_COLLECTOR_REDIS_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

/* Commands under way; more are skipped: a server this far behind is no help. */
#define REDIS_INFLIGHT_MAX 512
/* The same of bytes in values: who writes more than a slow server takes writes less. */
#define REDIS_UNSENT_MAX (16u << 20)

struct event_base;
struct redis;				/* opaque */

struct redis_target {
	int tcp;			/* 0: unix socket */
	char host[256];			/* or the path */
	uint16_t port;
	int db;
	char password[256];
};

/* redis://[[default]:password@]host[:port][/db] or unix:///path[?db=n]. The password is
 * percent-decoded; another user than default is refused, since AUTH takes one word.
 * rediss:// is an error that names a way out. */
PS_MUST int redis_parse_url(struct redis_target *out, const char *url, char err[ERRLEN]);

/* Starts connecting at once. Borrows base; copies target. */
PS_MUST int redis_open(struct redis **out, struct event_base *base,
		       const struct redis_target *target, uint64_t timeout_ms);
void redis_close(struct redis **r);	/* drops what is under way; NULL is fine */
int redis_up(const struct redis *r);	/* answered lately; NULL: 0 */
/* The same, and it has not refused writes a moment ago: 0.1 s ago, doubled up to 10 s while it
 * goes on. */
int redis_takes(const struct redis *r);
/* SETEX. The value is copied. */
void redis_setex(struct redis *r, const char *key, uint64_t ttl_ms, const char *value,
		 size_t len);
/* Write what waits to be sent, as far as the kernel takes it: before redis_close. */
void redis_flush(struct redis *r);

/* value: NULL if there is none: no such key, an empty one, something else than a string,
 * larger than max, an error, too late, or the connection ended. It is valid only during the
 * call. May not close r. */
typedef void redis_get_fn(void *arg, const char *value, size_t len);
struct redis_get;			/* a GET under way; opaque */
/* fn is called once, later, from the loop, after timeout_ms at most; also from redis_close.
 * NULL, and no call: Redis is down or too far behind, or was late for somebody and has not
 * answered anything since (counted): ask nobody, wait for nothing. */
PS_MUST struct redis_get *redis_get(struct redis *r, const char *key, uint64_t timeout_ms,
				    size_t max, redis_get_fn *fn, void *arg);
/* A Lua script that answers with a string of at most REDIS_KEYS_MAX bytes; texts are borrowed
 * for the call. */
#define REDIS_KEYS_MAX 64
#define REDIS_ARGS_MAX 4
struct redis_script {
	const char *text;
	const char *key[REDIS_KEYS_MAX], *arg[REDIS_ARGS_MAX];
	unsigned nkeys, nargs;
};
/* The same for EVAL; fn may be NULL. */
struct redis_get *redis_eval(struct redis *r, const struct redis_script *s,
			     uint64_t timeout_ms, redis_get_fn *fn, void *arg);
/* fn will not be called. Not for a get whose fn was. NULL is fine. */
void redis_get_cancel(struct redis_get **g);

#endif
