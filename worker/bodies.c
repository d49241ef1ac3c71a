/* bodies.c -- rendered answers that a worker keeps; see bodies.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/stat.h"
#include "worker/bodies.h"

#define BODIES_BUCKETS 4096u /* power of two; about one per slot of the table */

struct bodies {
	size_t bytes, max;
	struct body *newest, *oldest;
	struct body *bucket[BODIES_BUCKETS];
};

static size_t weight(const struct body *body)
{
	return sizeof *body + body->len;
}

static struct body **bucket_of(struct bodies *b, const uint8_t id[IH_LEN])
{
	uint32_t h;

	memcpy(&h, id, sizeof h); /* an infohash is a hash already */
	return &b->bucket[h & (BODIES_BUCKETS - 1)];
}

void body_ref(struct body *body)
{
	body->refs++;
}

void body_unref(struct body *body)
{
	PS_ASSERT(body->refs > 0);
	if (--body->refs > 0)
		return;
	free(body->json);
	free(body);
}

void body_unref_cb(const void *data, size_t len, void *arg)
{
	(void)data;
	(void)len;
	body_unref(arg);
}

static void age_unlink(struct bodies *b, struct body *body)
{
	*(body->newer ? &body->newer->older : &b->newest) = body->older;
	*(body->older ? &body->older->newer : &b->oldest) = body->newer;
}

static void age_push(struct bodies *b, struct body *body)
{
	body->newer = NULL;
	body->older = b->newest;
	*(b->newest ? &b->newest->newer : &b->oldest) = body;
	b->newest = body;
}

static void drop(struct bodies *b, struct body *body)
{
	struct body **at = bucket_of(b, body->id);

	while (*at != body)
		at = &(*at)->hash_next;
	*at = body->hash_next;
	age_unlink(b, body);
	b->bytes -= weight(body);
	body_unref(body);
}

struct bodies *bodies_new(size_t max_bytes)
{
	struct bodies *b = xcalloc(1, sizeof *b);

	b->max = max_bytes;
	return b;
}

void bodies_free(struct bodies **b)
{
	if (!*b)
		return;
	while ((*b)->oldest)
		drop(*b, (*b)->oldest);
	free(*b);
	*b = NULL;
}

struct body *bodies_find(struct bodies *b, const uint8_t id[IH_LEN])
{
	struct body *body = *bucket_of(b, id);

	while (body && memcmp(body->id, id, IH_LEN) != 0)
		body = body->hash_next;
	if (body && body != b->newest) {
		age_unlink(b, body);
		age_push(b, body);
	}
	return body;
}

static void make_room(struct bodies *b, size_t bytes)
{
	while (b->oldest && b->bytes + bytes > b->max) {
		drop(b, b->oldest);
		stat_inc(body_cache_evicted);
	}
}

struct body *bodies_put(struct bodies *b, const uint8_t id[IH_LEN], char *json,
			size_t len, uint64_t version)
{
	struct body *old = bodies_find(b, id), *body = calloc(1, sizeof *body);
	struct body **at = bucket_of(b, id);

	if (!body) {
		free(json);
		return NULL;
	}
	if (old)
		drop(b, old);
	memcpy(body->id, id, IH_LEN);
	body->json = json;
	body->len = len;
	body->version = version;
	body->refs = 1; /* the caller's */
	snprintf(body->etag, sizeof body->etag, "\"%" PRIx64 "\"", version);
	if (weight(body) > b->max)
		return body; /* larger than all room: sent, not kept */
	make_room(b, weight(body));
	body->refs++;
	body->hash_next = *at;
	*at = body;
	age_push(b, body);
	b->bytes += weight(body);
	return body;
}

size_t bodies_bytes(const struct bodies *b)
{
	return b->bytes;
}
