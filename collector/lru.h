/*
 * lru.h -- which of so many entries a key has, and which was used longest ago: the index
 * of a table of fixed size. The caller keeps the values, in an array of its own under the
 * same numbers.
 *
 * Strangers choose the keys (ids, addresses), so their hash is keyed with a secret of
 * each index (SipHash). Pure, but for the secret. Proof: tests/unit/test_lru.c.
 */
#ifndef PEERSCOPE_COLLECTOR_LRU_H
#define PEERSCOPE_COLLECTOR_LRU_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define LRU_NONE UINT32_MAX

struct lru;				/* opaque */

/* max: entries, at least 1; key_len in bytes. -1: no memory. */
PS_MUST int lru_open(struct lru **out, uint32_t max, size_t key_len);
void lru_close(struct lru **l);		/* NULL is fine */
/* The number of the key's entry, below max; or LRU_NONE. Its place in the order stays. */
uint32_t lru_find(const struct lru *l, const void *key);
/* The same, and it is the newest now. There is none: it gets a number, if need be that of
 * the oldest, which is gone then: *gone is 1, else 0. */
uint32_t lru_put(struct lru *l, const void *key, int *gone);
void lru_touch(struct lru *l, uint32_t i);	/* is the newest now */
void lru_drop(struct lru *l, uint32_t i);	/* the number is free */
uint32_t lru_newest(const struct lru *l);	/* LRU_NONE: it is empty */
uint32_t lru_older(const struct lru *l, uint32_t i);	/* LRU_NONE: i is the oldest */
const void *lru_key(const struct lru *l, uint32_t i);
uint32_t lru_count(const struct lru *l);

#endif
