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
#include "worker/status.h"

#define ANSWER_MAX_BYTES (8u << 20) /* 2,000 peers with the longest texts */
#define ANSWER_TRIES 4              /* the names may be compacted while we render */

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

static void headers(struct ask *a, uint64_t cached_at_ms, int settled, const char *etag)
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
	headers(a, body->cached_at_ms, body->settled, body->etag);
	if (http_none_match(gate_request(a->conn), body->etag)) {
		http_empty(a, 304);
		return;
	}
	body_ref(body);
	http_body(a, 200, body->json, body->len, body_unref_cb, body);
}

static int is_settled(const struct shm_swarm *s)
{
	return s->phase == SWARM_SETTLED || s->phase == SWARM_DEAD;
}

/* Read and render; 0, or -1: not there, torn, or the names never held still. */
static int render(struct worker *w, const struct peers_question *q, struct buf *out)
{
	for (int i = 0; i < ANSWER_TRIES; i++) {
		enum ptab_rc rc = ptab_get(w->ptab, q->id.key, q->limit, w->copy);

		if (rc == PTAB_TORN)
			stat_inc(peers_torn);
		if (rc != PTAB_OK)
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
	       q->limit == (uint32_t)w->conf->cache_max_peers;
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
	body->settled = is_settled(s);
	send_body(a, body);
	body_unref(body);
	return 0;
}

static void once_sent(const void *data, size_t len, void *arg)
{
	struct worker *w = arg;

	PS_ASSERT(w->sending_bytes >= len);
	w->sending_bytes -= len;
	free((void *)(uintptr_t)data);
}

/* Such a body lies here until its one client took it, for up to http.write_timeout and
 * as often as there are connections. One is always allowed, however large. */
static int sending_full(const struct worker *w, size_t len)
{
	return w->sending_bytes > 0 &&
	       w->sending_bytes + len > w->conf->http_max_sending_bytes;
}

static void send_once(struct ask *a, const struct peers_question *q, struct buf *out)
{
	struct worker *w = a->w;
	const struct shm_swarm *s = &w->copy->s;
	char etag[64], *json, *fit;
	size_t len;

	snprintf(etag, sizeof etag, "\"%" PRIx64 "-%u-%d\"", s->version, q->limit,
		 (int)q->id.form);
	if (http_none_match(gate_request(a->conn), etag)) {
		buf_free(out);
		headers(a, s->cached_at_ms, is_settled(s), etag);
		http_empty(a, 304);
		return;
	}
	if (sending_full(w, out->len)) {
		buf_free(out);
		stat_inc(http_sending_full);
		http_error(a, 503, "busy",
			   "Too many answers are waiting for slow clients.");
		return;
	}
	headers(a, s->cached_at_ms, is_settled(s), etag);
	json = buf_take(out, &len);
	fit = realloc(json, len); /* the buffer grew by doubling; this is what we count */
	w->sending_bytes += len;
	http_body(a, 200, fit ? fit : json, len, once_sent, w);
}

int answer_table(struct ask *a, const struct peers_question *q)
{
	struct worker *w = a->w;
	struct body *kept = is_plain(w, q) ? bodies_find(w->bodies, q->id.key) : NULL;
	struct shm_swarm s;
	struct buf out;

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
	if (is_plain(w, q))
		return send_plain(a, q, &out);
	send_once(a, q, &out);
	return 0;
}

void answer_nothing(struct ask *a, const struct peers_question *q, const char *why)
{
	uint64_t now = clock_wall_ms();
	struct buf out;

	buf_init(&out, ANSWER_MAX_BYTES);
	swarm_json_empty(&out, q->id.text, q->id.key, now, why, NULL);
	headers(a, now, 0, NULL);
	http_json(a, 200, &out);
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
		"Date: %s\r\n\r\n",
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
			 "\r\nCache-Control: max-age=%u\r\nETag: %s\r\nDate: %s\r\n\r\n",
			 age_s, max_age_s(w, body->settled), body->etag,
			 gate_date(w->gate));

	PS_ASSERT(n > 0 && (size_t)n < sizeof head);
	status_count(304);
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
	status_count(200);
	body_ref(body);
	gate_send(c, body->head, body->head_len, body->json, body->len, body_unref_cb,
		  body);
	return 1;
}
