/* shaped.c -- answers rendered for one question; see shaped.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "shm/stat.h"
#include "shm/verdictjson.h"
#include "worker/answer.h"
#include "worker/lines.h"
#include "worker/pick.h"
#include "worker/shaped.h"

#define SHAPED_ETAG_MAX 80

/* --- forms ------------------------------------------------------------------- */

static const char *content_type(const struct shape *sh)
{
	switch (sh->form) {
	case SHAPE_CSV: return "text/csv; charset=utf-8; header=present";
	case SHAPE_NDJSON: return "application/x-ndjson";
	default: return NULL; /* http.c knows JSON */
	}
}

/* Lines have no room for what is said of the whole swarm. */
static void lines_headers(struct ask *a, const struct shape *sh, int phase,
			  uint32_t total, uint32_t matched, const char *error)
{
	char text[24];

	http_header(a, "X-Peerscope-Phase", swarm_phase_name(phase));
	snprintf(text, sizeof text, "%" PRIu32, total);
	http_header(a, "X-Peerscope-Total", text);
	if (shape_filters(sh)) {
		snprintf(text, sizeof text, "%" PRIu32, matched);
		http_header(a, "X-Peerscope-Matched", text);
	}
	if (error)
		http_header(a, "X-Peerscope-Error", error);
}

static struct swarm_pick pick_of(struct worker *w, const struct shape *sh,
				 const struct swarm_copy *copy)
{
	struct pick *k = w->pick;

	pick_make(k, sh, copy);
	return (struct swarm_pick){
		.index = k->index,
		.n = k->n,
		.filtered = shape_filters(sh),
		.more = sh->summary ? pick_summary : NULL,
		.arg = k,
	};
}

static int render_form(struct worker *w, const struct peers_question *q, struct buf *out)
{
	const struct swarm_copy *c = w->copy;
	struct swarm_pick pick;

	if (shape_is_plain(&q->shape))
		return swarm_json(out, w->ptab, c, q->id.text, q->limit, NULL);
	pick = pick_of(w, &q->shape, c);
	switch (q->shape.form) {
	case SHAPE_CSV: return lines_csv(out, w->ptab, c, q->limit, &pick);
	case SHAPE_NDJSON: return lines_ndjson(out, w->ptab, c, q->limit, &pick);
	default: return swarm_json(out, w->ptab, c, q->id.text, q->limit, &pick);
	}
}

/* --- sending ------------------------------------------------------------------- */

static void make_etag(char etag[SHAPED_ETAG_MAX], const struct worker *w,
		      const struct peers_question *q)
{
	uint64_t shape = shape_is_plain(&q->shape)
				 ? 0
				 : shape_hash(&q->shape, seg_head(w->seg)->seed);

	snprintf(etag, SHAPED_ETAG_MAX, "\"%" PRIx64 "-%" PRIu32 "-%d-%" PRIx64 "\"",
		 w->copy->s.version, q->limit, (int)q->id.form, shape);
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

static void send_once(struct ask *a, const struct peers_question *q, struct buf *out,
		      const char *etag)
{
	struct worker *w = a->w;
	const struct shm_swarm *s = &w->copy->s;
	char *text, *fit;
	size_t len;

	if (sending_full(w, out->len)) {
		buf_free(out);
		stat_inc(http_sending_full);
		http_error(a, 503, "busy",
			   "Too many answers are waiting for slow clients "
			   "(http.max_sending).");
		return;
	}
	answer_headers(a, s->cached_at_ms, answer_is_settled(s), etag);
	if (q->shape.form != SHAPE_JSON) {
		uint32_t n = w->pick->n;

		lines_headers(a, &q->shape, s->phase, s->total_peers, n,
			      n > 0 ? NULL : swarm_empty_text(s, n));
	}
	text = buf_take(out, &len);
	/* The buffer grew by doubling; this is what we count. */
	fit = len > 0 ? realloc(text, len) : NULL;
	w->sending_bytes += len;
	a->type = content_type(&q->shape);
	http_body(a, 200, fit ? fit : text, len, once_sent, w);
}

int shaped_table(struct ask *a, const struct peers_question *q)
{
	uint32_t want = shape_is_plain(&q->shape) ? q->limit : CONF_SLOT_PEERS;
	struct worker *w = a->w;
	char etag[SHAPED_ETAG_MAX];
	struct buf out;

	buf_init(&out, ANSWER_MAX_BYTES);
	for (int i = 0; i < ANSWER_TRIES && !out.failed; i++) {
		if (answer_get(w, q->id.key, want) != 0)
			break;
		make_etag(etag, w, q);
		if (http_none_match(gate_request(a->conn), etag)) {
			buf_free(&out);
			answer_headers(a, w->copy->s.cached_at_ms,
				       answer_is_settled(&w->copy->s), etag);
			http_empty(a, 304);
			return 0;
		}
		buf_reset(&out);
		if (render_form(w, q, &out) == 0) {
			stat_inc(peers_rendered);
			send_once(a, q, &out, etag);
			return 0;
		}
	}
	buf_free(&out);
	return -1;
}

void shaped_nothing(struct ask *a, const struct peers_question *q, const char *why)
{
	struct swarm_pick pick = pick_of(a->w, &q->shape, NULL);
	uint64_t now = clock_wall_ms();
	struct buf out;

	buf_init(&out, ANSWER_MAX_BYTES);
	answer_headers(a, now, 0, NULL);
	if (q->shape.form == SHAPE_JSON)
		swarm_json_empty(&out, q->id.text, q->id.key, now, why,
				 path_now(a->w->seg), &pick);
	else
		lines_headers(a, &q->shape, SWARM_JOINING, 0, 0, why);
	if (q->shape.form == SHAPE_CSV)
		lines_csv_head(&out);
	a->type = content_type(&q->shape);
	http_json(a, 200, &out);
}
