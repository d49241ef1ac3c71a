/*
 * resolver.h -- addresses of a name, without waiting: libevent's evdns, one for all.
 *
 * It asks the servers in /etc/resolv.conf, which is read again when it has changed (a VPN
 * writes it anew), and /etc/hosts. Such a question goes its own way through the routing
 * table, as those of the system's resolver do. The loop thread's.
 * Proof: tests/unit/test_acetrack.c, tests/e2e/test_redis.py.
 */
#ifndef PEERSCOPE_COLLECTOR_RESOLVER_H
#define PEERSCOPE_COLLECTOR_RESOLVER_H

#include <stddef.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/err.h"

#define RESOLVER_MAX 8			/* addresses taken of an answer */

struct event_base;
struct resolver_query;			/* under way; opaque */

/* n 0: not found, or no server answers. The query is over then. */
typedef void resolver_fn(void *arg, const uint8_t (*addr)[ADDR_LEN], size_t n);

/* A name or an address. fn is called once, from the loop, after up to 15 s (evdns asks three
 * times): who has less time cancels. NULL: no memory. */
PS_MUST struct resolver_query *resolver_ask(struct event_base *base, const char *host,
					    resolver_fn *fn, void *arg);
void resolver_cancel(struct resolver_query **q);	/* fn is not called; NULL is fine */
/* At the end of the process: a cancelled query is touched a turn of the loop later. */
void resolver_reset(void);

#endif
