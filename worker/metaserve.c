/* metaserve.c -- an answer from the metadata cache; see metaserve.h. */
#include "worker/metaserve.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event_struct.h>

#include "common/log.h"
#include "common/selected.h"
#include "shm/metajob.h"
#include "shm/stat.h"
#include "worker/metadata.h"

#define DIR_MAX 4096
/* Each byte of the URLs as \u00xx. */
#define FRONT_MAX (MAGNET_MAX * 6 + LANE_BESIDE_MAX + 4096)
#define ETAG_MAX 64

/* One answer on its way; it ends with serving_end. */
struct serving {
	struct waiting waiting; /* first: http_wait has this */
	struct ask ask;
	struct metaserve q;
	struct meta_file f;
	struct event timer;
	int slicing; /* counted in w->meta_slicing, if it does not wait; the timer is ours */
	int waits; /* in w->meta_queue */
	TAILQ_ENTRY(serving) queue;
	int verified;
	char *copy; /* of a question with so: at bytes of f.h.len */
	uint64_t at;
	struct selected selected;
};

/* --- the cache ---------------------------------------------------------------- */

/* In both places; one that can't be read does not hide the other. */
static enum meta_rc open_cached(struct meta_file *f, const struct worker *w,
				const uint8_t key[IH_LEN], enum meta_kind kind, int touch)
{
	enum meta_rc rc = META_MISS, now;
	char dir[DIR_MAX], err[ERRLEN];

	for (int which = 0; which < 2; which++) {
		if (meta_dir(dir, sizeof dir, w->conf->metadata_cache_dir,
			     w->kid->run_dir, which) != 0)
			continue;
		now = meta_open(f, dir, key, kind, touch, err);
		if (now == META_OK)
			return now;
		if (now == META_FAIL)
			log_warn("metadata", "%s", err);
		if (now != META_MISS)
			rc = now;
	}
	return rc;
}

int metaserve_has(const struct worker *w, const uint8_t key[IH_LEN], enum meta_kind kind)
{
	struct meta_file f;

	if (open_cached(&f, w, key, kind, 0) != META_OK)
		return 0;
	meta_close(&f);
	return 1;
}

/* The collector removes what is damaged; a full lane is fine, the next one will say it. */
static void tell_damage(struct worker *w, const uint8_t key[IH_LEN])
{
	struct shm_job job = {.kind = JOB_META_BAD};

	memcpy(job.id, key, IH_LEN);
	stat_inc(meta_damaged);
	if (worker_collector_up(w) && lane_push(w->lane, &job, NULL, log_subject()) == 0)
		kid_ring(w->kid->collector_bell_fd);
}

/* --- what stands before the file ------------------------------------------------ */

static void put_download(struct json *j, const struct worker *w,
			 const uint8_t key[IH_LEN])
{
	char hex[IH_HEX_LEN];

	if (!w->conf->metadata_downloads || !metaserve_has(w, key, META_TORRENT))
		return;
	ih_hex(hex, key);
	metajob_put_url(j, "download_url", w->conf->metadata_base_url, "/download/", hex);
}

/* Of the link that this asker has: of nobody else's. */
static void put_urls(struct json *j, const struct magnet *link)
{
	if (link->ntrackers) {
		json_arr(j, "trackers");
		for (uint32_t i = 0; i < link->ntrackers; i++)
			json_str(j, NULL, magnet_tracker(link, i));
		json_arr_end(j);
	}
	if (link->nseeds) {
		json_arr(j, "web_seeds");
		for (uint32_t i = 0; i < link->nseeds; i++)
			json_str(j, NULL, magnet_seed(link, i));
		json_arr_end(j);
	}
}

/* Its members, without the braces. */
static void put_beside(struct buf *out, const char *object)
{
	size_t len = object ? strlen(object) : 0;

	if (len <= 2)
		return;
	buf_add(out, object + 1, len - 2);
	buf_str(out, ",");
}

/* In place of the file's "{"; the file's other members follow. */
static void make_front(struct buf *out, const struct serving *s)
{
	const struct magnet *link = s->q.link;
	struct json j;

	buf_init(out, FRONT_MAX);
	if (s->q.kind != META_JSON)
		return;
	json_init(&j, out);
	json_obj(&j, NULL);
	json_str(&j, "source", s->q.source);
	put_download(&j, s->ask.w, s->q.key);
	if (link)
		put_urls(&j, link);
	buf_str(out, ",");
	put_beside(out, s->q.beside);
}

/* Of the file and of what stands before it (FNV-1a). */
static void make_etag(char etag[ETAG_MAX], const struct serving *s,
		      const struct buf *front)
{
	uint64_t h = 14695981039346656037u;
	int n = 0;

	for (size_t i = 0; i < front->len; i++)
		h = (h ^ (unsigned char)front->p[i]) * 1099511628211u;
	n += snprintf(etag, ETAG_MAX, "\"");
	for (int i = 0; i < META_DIGEST; i++)
		n += snprintf(etag + n, (size_t)(ETAG_MAX - n), "%02x", s->f.h.digest[i]);
	if (front->len)
		n += snprintf(etag + n, (size_t)(ETAG_MAX - n), "-%" PRIx64, h);
	snprintf(etag + n, (size_t)(ETAG_MAX - n), "\"");
}

/* --- the end -------------------------------------------------------------------- */

static void slice_soon(struct serving *s)
{
	static const struct timeval now = {0, 0};

	evtimer_add(&s->timer, &now);
}

/* Its place is free, in which the first that waits has its turn. */
static void leave_slices(struct serving *s)
{
	struct worker *w = s->ask.w;
	struct serving *next = TAILQ_FIRST(&w->meta_queue);

	if (s->waits) {
		TAILQ_REMOVE(&w->meta_queue, s, queue);
		w->meta_waiting--;
	} else if (next) {
		TAILQ_REMOVE(&w->meta_queue, next, queue);
		w->meta_waiting--;
		next->waits = 0;
		slice_soon(next);
	} else {
		w->meta_slicing--;
	}
	http_wait(&s->ask, NULL);
}

static void serving_end(struct serving *s)
{
	if (s->slicing) {
		evtimer_del(&s->timer);
		leave_slices(s);
	}
	if (s->copy)
		s->ask.w->sending_bytes -= s->f.h.len;
	free(s->copy);
	meta_close(&s->f);
	free(s->q.link);
	free(s->q.beside);
	free(s);
}

static void gone(struct worker *w, struct waiting *me)
{
	(void)w;
	serving_end((struct serving *)(void *)me);
}

static void missed(struct serving *s, enum meta_rc rc)
{
	struct ask a = s->ask;
	struct metaserve q = s->q;

	s->q.link = NULL;
	serving_end(s);
	q.missed(&a, q.key, q.link, rc);
}

static void busy(struct serving *s, const char *why)
{
	struct ask a = s->ask;

	serving_end(s);
	http_fault(&a, 503, METADATA_FAILED, "busy", "%s", why);
}

static void no_memory(struct serving *s)
{
	struct ask a = s->ask;

	serving_end(s);
	metadata_no_memory(&a);
}

/* The copy was counted when it was begun. */
static void once_sent(const void *data, size_t len, void *arg)
{
	struct worker *w = arg;

	w->sending_bytes -= len;
	free((void *)(uintptr_t)data);
}

/* --- sending -------------------------------------------------------------------- */

static void headers(struct ask *a, const struct serving *s, const char *etag)
{
	char hex[IH_HEX_LEN], text[96];

	if (gate_request(a->conn)->method == HTTP_POST)
		return;
	http_header(a, "ETag", etag);
	http_date(text, s->f.mtime.tv_sec);
	http_header(a, "Last-Modified", text);
	http_header(a, "Cache-Control", "no-cache");
	if (s->q.kind != META_TORRENT)
		return;
	ih_hex(hex, s->q.key);
	snprintf(text, sizeof text, "attachment; filename=\"%s.torrent\"", hex);
	http_header(a, "Content-Disposition", text);
}

/* 1: the client has it. */
static int unchanged(struct ask *a, const char *etag, int64_t mtime_s)
{
	return gate_request(a->conn)->method != HTTP_POST &&
	       (http_none_match(gate_request(a->conn), etag) ||
		http_not_since(a, mtime_s));
}

/* Front and copy as one block: http_body has one reference. */
static void send_copy(struct serving *s, struct buf *front)
{
	struct ask a = s->ask;
	size_t skip = front->len - 1, len = skip + s->f.h.len;
	char *all = front->failed ? NULL : realloc(s->copy, len);

	if (!all) {
		buf_free(front);
		no_memory(s);
		return;
	}
	memmove(all + skip, all, s->f.h.len);
	memcpy(all, front->p, front->len); /* its comma is where "{" was */
	buf_free(front);
	s->copy = NULL;
	a.w->sending_bytes += skip;
	serving_end(s);
	http_body(&a, 200, all, len, once_sent, a.w);
}

/* Whole, and copied if that is needed. */
static void answer(struct serving *s)
{
	struct ask a = s->ask;
	uint64_t skip = s->q.kind == META_JSON; /* its "{" is in front */
	uint64_t len = s->f.h.len - skip;
	char etag[ETAG_MAX];
	struct buf front;
	int fd;

	make_front(&front, s);
	make_etag(etag, s, &front);
	a.type = s->q.kind == META_TORRENT ? "application/x-bittorrent" : NULL;
	if (unchanged(&a, etag, s->f.mtime.tv_sec)) {
		headers(&a, s, etag);
		buf_free(&front);
		serving_end(s);
		http_empty(&a, 304);
		return;
	}
	stat_inc(meta_served);
	headers(&a, s, etag);
	if (s->copy) {
		send_copy(s, &front);
		return;
	}
	fd = s->f.fd;
	s->f.fd = -1;
	serving_end(s);
	http_file(&a, 200, &front, fd, META_HEAD + skip, len);
}

/* --- slices --------------------------------------------------------------------- */

static enum meta_rc verify(struct serving *s)
{
	struct worker *w = s->ask.w;
	char err[ERRLEN];
	enum meta_rc rc;

	if (meta_seen(w->meta_seen, &s->f))
		return META_OK;
	rc = meta_verify(&s->f, METASERVE_SLICE, err);
	if (rc == META_OK)
		meta_saw(w->meta_seen, &s->f);
	if (rc == META_FAIL)
		log_warn("metadata", "%s", err);
	return rc;
}

/* META_OK: nothing (more) is to be copied. */
static enum meta_rc copy(struct serving *s)
{
	uint64_t left = s->f.h.len - s->at;
	size_t n = left < METASERVE_SLICE ? left : METASERVE_SLICE;
	ssize_t got;

	if (!s->copy)
		return META_OK;
	got = pread(s->f.fd, s->copy + s->at, n, (off_t)(META_HEAD + s->at));
	if (got <= 0)
		return META_FAIL;
	selected_pass(&s->selected, s->copy + s->at, (size_t)got);
	s->at += (uint64_t)got;
	return s->at == s->f.h.len ? META_OK : META_MORE;
}

/* What so needs; 0, or -1: answered, s is gone. */
static int begin_copy(struct serving *s)
{
	struct worker *w = s->ask.w;

	if (s->copy || s->q.kind != META_JSON || !s->q.link || !s->q.link->nranges)
		return 0;
	if (w->sending_bytes > 0 &&
	    w->sending_bytes + s->f.h.len > w->conf->http_max_sending_bytes) {
		stat_inc(http_sending_full);
		busy(s, "Too many answers are waiting for slow clients "
			"(http.max_sending).");
		return -1;
	}
	s->copy = malloc(s->f.h.len + 1);
	if (!s->copy) {
		no_memory(s);
		return -1;
	}
	w->sending_bytes += s->f.h.len;
	selected_begin(&s->selected, s->q.link);
	return 0;
}

static void on_timer(evutil_socket_t fd, short what, void *arg);

/* Its first slice is done; others come in turns of its own. */
static void begin_slices(struct serving *s)
{
	struct worker *w = s->ask.w;

	if (w->meta_slicing == METASERVE_SLICING &&
	    w->meta_waiting == METASERVE_WAITING) {
		stat_inc(meta_looks_full);
		busy(s, "Too many large files of the metadata cache are being looked "
			"through.");
		return;
	}
	s->slicing = 1;
	s->waiting.gone = gone;
	evtimer_assign(&s->timer, w->base, on_timer, s);
	http_wait(&s->ask, &s->waiting);
	if (w->meta_slicing == METASERVE_SLICING) {
		s->waits = 1;
		w->meta_waiting++;
		TAILQ_INSERT_TAIL(&w->meta_queue, s, queue);
		return;
	}
	w->meta_slicing++;
	slice_soon(s);
}

static void later(struct serving *s)
{
	if (s->slicing)
		slice_soon(s);
	else
		begin_slices(s);
}

/* One slice of work; others have their turn before the next one. */
static void step(struct serving *s)
{
	enum meta_rc rc = META_OK;

	if (!s->verified) {
		rc = verify(s);
		s->verified = rc == META_OK;
		if (s->verified && begin_copy(s) != 0)
			return;
	}
	if (rc == META_OK)
		rc = copy(s);
	if (rc == META_MORE) {
		later(s);
	} else if (rc == META_OK) {
		answer(s);
	} else {
		if (rc == META_BAD)
			tell_damage(s->ask.w, s->q.key);
		missed(s, rc);
	}
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	http_about(&((struct serving *)arg)->ask);
	step(arg);
	log_about("");
}

static struct serving *serving_new(void)
{
	struct serving *s = aligned_alloc(_Alignof(struct serving), sizeof *s);

	if (s)
		memset(s, 0, sizeof *s);
	return s;
}

void metaserve(struct ask *a, const struct metaserve *q)
{
	struct serving *s = serving_new();
	enum meta_rc rc;

	if (!s) {
		free(q->link);
		free(q->beside);
		metadata_no_memory(a);
		return;
	}
	s->ask = *a;
	s->q = *q;
	rc = open_cached(&s->f, a->w, q->key, q->kind, 1);
	if (rc == META_OK && s->f.h.len < 3) { /* no object with a member in it */
		meta_close(&s->f);
		rc = META_BAD;
	}
	if (rc == META_OK) {
		step(s);
		return;
	}
	if (rc == META_BAD)
		tell_damage(a->w, q->key);
	s->f.fd = -1;
	missed(s, rc);
}
