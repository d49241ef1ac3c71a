/* answer.c -- a swarm of the table as an HTTP answer; see answer.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "shm/stat.h"
#include "shm/swarmjson.h"
#include "worker/answer.h"
#include "worker/bodies.h"
#include "worker/peers.h"
#include "worker/shaped.h"
#include "worker/status.h"

uint64_t answer_age_ms(uint64_t cached_at_ms, uint64_t now_wall_ms)
{
	return now_wall_ms > cached_at_ms ? now_wall_ms - cached_at_ms : 0;
}

int answer_peek(struct worker *w, const uint8_t id[IH_LEN], struct shm_swarm *out)
{
	struct body *kept = bodies_find(w->bodies, id);
	uint32_t any = UINT32_MAX;
	enum ptab_rc rc = ptab_peek(w->ptab, id, kept ? &kept->slot : &any, out);

	if (rc == PTAB_TORN)
		stat_inc(peers_torn);
	return rc == PTAB_OK ? 0 : -1;
}

/* A version that is still growing is not worth keeping for anybody behind us. */
static unsigned max_age_s(const struct worker *w, int settled)
{
	return settled ? (unsigned)(w->conf->cache_ttl_ms / 1000) : 0;
}

void answer_headers(struct ask *a, uint64_t cached_at_ms, int settled, const char *etag)
{
	char text[48];

	snprintf(text, sizeof text, "%" PRIu64,
		 answer_age_ms(cached_at_ms, clock_wall_ms()) / 1000);
	http_header(a, "Age", text);
	snprintf(text, sizeof text, "max-age=%u", max_age_s(a->w, settled));
	http_header(a, "Cache-Control", text);
	if (etag)
		http_header(a, "ETag", etag);
}

static void send_body(struct ask *a, struct body *body)
{
	answer_headers(a, body->cached_at_ms, body->settled, body->etag);
	if (http_none_match(gate_request(a->conn), body->etag)) {
		http_empty(a, 304);
		return;
	}
	body_ref(body);
	http_body(a, 200, body->json, body->len, body_unref_cb, body);
}

int answer_is_settled(const struct shm_swarm *s)
{
	return s->phase == SWARM_SETTLED || s->phase == SWARM_DEAD;
}

int answer_get(struct worker *w, const uint8_t id[IH_LEN], uint32_t max_peers)
{
	enum ptab_rc rc = ptab_get(w->ptab, id, max_peers, w->copy);

	if (rc == PTAB_TORN)
		stat_inc(peers_torn);
	return rc == PTAB_OK ? 0 : -1;
}

/* Read and render; 0, or -1: not there, torn, or the names never held still. */
static int render(struct worker *w, const struct peers_question *q, struct buf *out)
{
	for (int i = 0; i < ANSWER_TRIES; i++) {
		if (answer_get(w, q->id.key, q->limit) != 0)
			return -1;
		buf_reset(out);
		if (swarm_json(out, w->ptab, w->copy, q->id.text, q->limit, NULL) == 0) {
			stat_inc(peers_rendered);
			return 0;
		}
		if (out->failed)
			return -1;
	}
	return -1;
}

/* The question that is asked over and over: 40 hex digits, default limit. */
static int is_plain(const struct worker *w, const struct peers_question *q)
{
	return q->id.form == IDENT_HEX40 &&
	       q->limit == (uint32_t)w->conf->cache_max_peers &&
	       shape_is_plain(&q->shape);
}

static int send_plain(struct ask *a, const struct peers_question *q, struct buf *out)
{
	struct worker *w = a->w;
	const struct shm_swarm *s = &w->copy->s;
	struct body *body;
	size_t len;
	char *json = buf_take(out, &len);

	body = bodies_put(w->bodies, q->id.key, json, len, s->version);
	if (!body)
		return -1;
	body->slot = w->copy->slot;
	body->cached_at_ms = s->cached_at_ms;
	body->settled = answer_is_settled(s);
	send_body(a, body);
	body_unref(body);
	return 0;
}

int answer_table(struct ask *a, const struct peers_question *q)
{
	struct worker *w = a->w;
	struct body *kept;
	struct shm_swarm s;
	struct buf out;

	if (!is_plain(w, q))
		return shaped_table(a, q);
	kept = bodies_find(w->bodies, q->id.key);
	if (kept && answer_peek(w, q->id.key, &s) == 0 && s.version == kept->version) {
		stat_inc(peers_hit);
		send_body(a, kept);
		return 0;
	}
	buf_init(&out, ANSWER_MAX_BYTES);
	if (render(w, q, &out) != 0) {
		buf_free(&out);
		return -1;
	}
	return send_plain(a, q, &out);
}

/* --- the hot path --------------------------------------------------------- */

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "/peers/" and 40 lower-case digits, nothing else. */
static int plain_target(const struct buf *t, uint8_t id[IH_LEN])
{
	static const char prefix[] = "/peers/";
	const char *hex = t->p + sizeof prefix - 1;

	if (t->len != sizeof prefix - 1 + 2 * IH_LEN ||
	    memcmp(t->p, prefix, sizeof prefix - 1) != 0)
		return 0;
	for (int i = 0; i < IH_LEN; i++) {
		int hi = nibble(hex[2 * i]), lo = nibble(hex[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return 0;
		id[i] = (uint8_t)(hi << 4 | lo);
	}
	return 1;
}

/* Date and Age change once a second each; between that the head is the same bytes. */
static void hot_head(struct worker *w, struct body *body, uint64_t now_ms, uint64_t age_s)
{
	int n;

	if (body->head_len && body->head_s == now_ms / 1000 && body->head_age_s == age_s)
		return;
	n = snprintf(
		body->head, sizeof body->head,
		"HTTP/1.1 200 OK\r\nAge: %" PRIu64 "\r\nCache-Control: max-age=%u\r\n"
		"ETag: %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
		"Date: %s\r\n",
		age_s, max_age_s(w, body->settled), body->etag, body->len,
		gate_date(w->gate));
	PS_ASSERT(n > 0 && (size_t)n < sizeof body->head);
	body->head_len = (size_t)n;
	body->head_s = now_ms / 1000;
	body->head_age_s = age_s;
}

static void hot_unchanged(struct worker *w, struct gate_conn *c, const struct body *body,
			  uint64_t age_s)
{
	char head[BODY_HEAD_MAX];
	int n = snprintf(head, sizeof head,
			 "HTTP/1.1 304 Not Modified\r\nAge: %" PRIu64
			 "\r\nCache-Control: max-age=%u\r\nETag: %s\r\nDate: %s\r\n",
			 age_s, max_age_s(w, body->settled), body->etag,
			 gate_date(w->gate));

	PS_ASSERT(n > 0 && (size_t)n < sizeof head);
	gate_count(c, 304);
	gate_send(c, head, (size_t)n, NULL, 0, NULL, NULL);
}

/*
 * A warm, plain question is most of what we are asked, and evhttp spends more on it
 * than all the rest of the way costs: with it we reach 0.7 of what nginx does for the
 * same bytes. So the one verb that matters is answered here, from a kept body whose
 * version is still the newest. Everything else returns 0 and takes the usual way,
 * which says the same, byte for byte but for the order of headers.
 */
int peers_hot(void *arg, struct gate_conn *c, const struct strict *rq)
{
	struct worker *w = arg;
	uint8_t id[IH_LEN];
	struct shm_swarm s;
	struct body *body;
	uint64_t now, age;

	if (rq->method != HTTP_GET || rq->minor != 1 || rq->has_body ||
	    rq->none_match < 0 || !plain_target(&rq->target, id))
		return 0;
	body = bodies_find(w->bodies, id);
	if (!body || ptab_peek(w->ptab, id, &body->slot, &s) != PTAB_OK ||
	    s.version != body->version)
		return 0;
	now = clock_wall_ms();
	age = answer_age_ms(s.cached_at_ms, now);
	if (age >= w->conf->cache_ttl_ms || s.phase == SWARM_JOINING)
		return 0;
	stat_inc(peers_hit);
	peers_touch(w, c, id);
	if (http_none_match(rq, body->etag)) {
		hot_unchanged(w, c, body, age / 1000);
		return 1;
	}
	hot_head(w, body, now, age / 1000);
	gate_count(c, 200);
	body_ref(body);
	gate_send(c, body->head, body->head_len, body->json, body->len, body_unref_cb,
		  body);
	return 1;
}
