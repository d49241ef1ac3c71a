/*
 * bodies.h -- rendered answers that a worker keeps: one per swarm, of the newest
 * version that was asked for, sent by reference and never changed.
 *
 * Bounded by http.body_cache; the least recently used goes first. A body that is
 * being sent outlives its place in the cache (it is counted by reference).
 */
#ifndef PEERSCOPE_WORKER_BODIES_H
#define PEERSCOPE_WORKER_BODIES_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/ident.h"

#define BODY_HEAD_MAX 384

struct body {
	uint8_t id[IH_LEN];
	uint32_t slot;			/* hint for ptab_peek */
	uint64_t version;
	uint64_t cached_at_ms;		/* wall */
	int settled;			/* nothing better is on its way */
	char *json;
	size_t len;
	char etag[20];
	/* The head of a 200 on the hot path, good for one second of one age. */
	char head[BODY_HEAD_MAX];
	size_t head_len;
	uint64_t head_s, head_age_s;
	/* bodies.c */
	unsigned refs;
	struct body *hash_next, *newer, *older;
};

struct bodies;

struct bodies *bodies_new(size_t max_bytes);
void bodies_free(struct bodies **b);	/* references that are out stay good */

/* Borrowed: good until the next bodies_put. NULL: none. Counts as a use. */
struct body *bodies_find(struct bodies *b, const uint8_t id[IH_LEN]);
/* Keep json (taken) as the answer for id, in the place of an older one; returns it with
 * a reference for the caller. NULL without memory: json is freed. */
PS_MUST struct body *bodies_put(struct bodies *b, const uint8_t id[IH_LEN], char *json,
				size_t len, uint64_t version);
void body_ref(struct body *body);
void body_unref(struct body *body);
/* The form evbuffer_add_reference calls; arg is the body. */
void body_unref_cb(const void *data, size_t len, void *arg);
size_t bodies_bytes(const struct bodies *b);

#endif
