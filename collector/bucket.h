/*
 * bucket.h -- token buckets: how many cold lookups one client may ask for.
 *
 * A cold lookup makes a join: announces, a DHT search, hundreds of connections. One
 * client that asks for thousands would push everybody else's swarms out. The collector
 * keeps the buckets, so one client has one, however many workers it talks to. A client is
 * an IPv4 address or an IPv6 /64, which is what one customer gets (RFC 6177). Clients of
 * this machine (loopback, unix socket) have none: a proxy stands there as a rule, and one
 * bucket for all that are behind it would punish the many for one; the proxy knows them
 * apart and can limit them (nginx: limit_req).
 *
 * Pure: the time comes in. The table is fixed; when it is full, the bucket that was used
 * longest ago makes room, which gives that client a full one: it was idle the longest, so
 * it had most of its tokens back. Proof: tests/unit/test_bucket.c.
 */
#ifndef PEERSCOPE_COLLECTOR_BUCKET_H
#define PEERSCOPE_COLLECTOR_BUCKET_H

#include <stdint.h>

#include "common/addr.h"
#include "common/err.h"

/* A home has tens of clients, a public one thousands; 48 bytes each. */
#define BUCKET_CLIENTS 2048u

struct buckets;				/* opaque */

PS_MUST int buckets_open(struct buckets **out);
void buckets_close(struct buckets **b);
/*
 * One cold lookup of this client. 0: go on. Else: come back after so many seconds, at
 * least 1: there will be a token then. rate: tokens a minute, 0: no limit; burst: tokens
 * that a bucket holds. *forgotten is raised by one if another client made room.
 */
PS_MUST uint32_t bucket_take(struct buckets *b, const uint8_t client[ADDR_LEN],
			     uint32_t rate, uint32_t burst, uint64_t now_ms,
			     uint64_t *forgotten);
/* It was taken for nothing: one token of this client comes back. */
void bucket_give(struct buckets *b, const uint8_t client[ADDR_LEN], uint32_t burst);
/* The key of a client's bucket; 0: it has none (this machine). */
int bucket_key(const uint8_t client[ADDR_LEN], uint8_t key[ADDR_LEN]);
uint32_t buckets_used(const struct buckets *b);

#endif
