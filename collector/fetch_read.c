/*
 * fetch_read.c -- info dicts and uploads are read on a thread (metaread.h), one at a time,
 * since that may take half a second; see fetch.h. What was found comes before uploads,
 * which wait as files.
 */
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "collector/fetch.h"
#include "collector/fetch_int.h"
#include "collector/metaread.h"
#include "common/log.h"

struct reading {
	struct metaread *thread;
	struct event *bell;
	int bell_fd;
	struct fetch_flight *now; /* of which the thread reads */
	TAILQ_HEAD(turns, fetch_flight) found, ups;
	uint32_t nups;
};

/* ---- whose turn ------------------------------------------------------------------------ */

static void begin(struct coll *c, struct fetch_flight *f)
{
	struct metaread_ask ask = {.bytes = f->bytes, .len = f->held};

	if (f->up[0] && fetch_up_path(c, ask.path, f->up, "") != 0)
		ask.path[0] = '\0'; /* nothing is no torrent */
	f->bytes = NULL;
	c->fetch->reading->now = f;
	PS_ASSERT(metaread_begin(c->fetch->reading->thread, &ask) == 0);
}

/* The next one that somebody waits for; others cost no more than this look. */
static struct fetch_flight *next_up(struct coll *c)
{
	struct reading *r = c->fetch->reading;
	struct fetch_flight *f;

	while (c->fetch->held < FETCH_HELD_MAX && (f = TAILQ_FIRST(&r->ups))) {
		TAILQ_REMOVE(&r->ups, f, turn);
		r->nups--;
		if (wait_is_for_meta(c, f))
			return f;
		fetch_end(f, LANE_META_NONE);
	}
	return NULL;
}

void fetch_read_turn(struct coll *c)
{
	struct reading *r = c->fetch->reading;
	struct fetch_flight *f;

	if (r->now)
		return;
	f = TAILQ_FIRST(&r->found);
	if (f)
		TAILQ_REMOVE(&r->found, f, turn);
	else
		f = next_up(c);
	if (f)
		begin(c, f);
	stat_set(meta_uploads_waiting, r->nups);
}

void fetch_read(struct fetch_flight *f, char *bytes, size_t len)
{
	struct fetch *fe = f->c->fetch;

	redis_get_cancel(&f->get); /* the swarm was quicker */
	f->step = FETCH_READING;
	f->bytes = bytes;
	f->held = len;
	fe->held += len;
	TAILQ_INSERT_TAIL(&fe->reading->found, f, turn);
	fetch_read_turn(f->c);
}

int fetch_read_room(const struct coll *c)
{
	return c->fetch->reading->nups < FETCH_UPS;
}

void fetch_read_up(struct fetch_flight *f)
{
	struct reading *r = f->c->fetch->reading;

	f->step = FETCH_READING;
	TAILQ_INSERT_TAIL(&r->ups, f, turn);
	r->nups++;
	fetch_read_turn(f->c);
}

/* ---- what was read --------------------------------------------------------------------- */

/* Is that what the question names? A v2 hash cut to 20 bytes is one, too. */
static int is_asked(const struct fetch_flight *f)
{
	const struct magnet *l = f->link;

	if (l && l->has_v1 && l->has_v2 && f->ids.has_v1 && f->ids.has_v2)
		return memcmp(l->v1, f->ids.v1, IH_LEN) == 0 &&
		       memcmp(l->v2, f->ids.v2, IH_V2_LEN) == 0;
	return (f->ids.has_v1 && memcmp(f->key, f->ids.v1, IH_LEN) == 0) ||
	       (f->ids.has_v2 && memcmp(f->key, f->ids.v2, IH_LEN) == 0);
}

/* f, then its other askers, have what they wait for. Takes what was read. -1: it is no
 * metadata, or another torrent's. */
static int take(struct fetch_flight *f, const struct metaread_done *d)
{
	struct fetch *fe = f->c->fetch;
	char hex[IH_HEX_LEN];

	fe->held -= f->held;
	f->held = 0;
	f->ids = d->ids;
	if (d->rc == METAREAD_OK && is_asked(f)) {
		f->bytes = d->bytes;
		f->m = d->m;
		f->held = d->len;
		fe->held += d->len;
		return 0;
	}
	ih_hex(hex, f->key);
	log_warn("metadata", "%s: %s", hex,
		 d->rc != METAREAD_OK ? d->err : "the metadata is another torrent's");
	stat_inc(meta_rejected);
	memset(&f->ids, 0, sizeof(f->ids));
	free(d->bytes);
	return -1;
}

/* From Redis, or a swarm. */
static void landed(struct fetch_flight *f, const struct metaread_done *d)
{
	if (take(f, d) == 0) {
		if (f->from_redis)
			stat_inc(meta_redis_hits);
		fetch_join(f);
		fetch_render(f);
	} else if (f->from_redis) {
		f->from_redis = 0;
		f->step = FETCH_ASKING;
		fetch_enter(f);
	} else {
		fetch_odd(f);
	}
}

/* An upload becomes a flight that has what it wants. */
static void landed_up(struct fetch_flight *f, const struct metaread_done *d)
{
	if (d->rc == METAREAD_GONE) {
		log_warn("metadata", "an upload: %s", d->err);
		fetch_end(f, LANE_FAILED);
		return;
	}
	stat_inc(meta_uploads);
	if (d->rc == METAREAD_BAD) {
		log_info("metadata", "an upload is no torrent: %s", d->err);
		stat_inc(meta_bad_uploads);
		fetch_end(f, LANE_META_BADFILE);
		return;
	}
	memcpy(f->key, d->ids.has_v1 ? d->ids.v1 : d->ids.v2, IH_LEN);
	if (take(f, d) != 0) {
		fetch_end(f, LANE_META_BADFILE);
	} else if (fetch_list(f) != 0) {
		fetch_end(f, LANE_BUSY);
	} else {
		fetch_join(f);
		fetch_render(f);
	}
}

static void on_bell(evutil_socket_t fd, short what, void *arg)
{
	struct coll *c = arg;
	struct reading *r = c->fetch->reading;
	struct fetch_flight *f = r->now;
	struct metaread_done done;

	(void)what;
	kid_hush((int)fd);
	if (!f || !metaread_take(r->thread, &done))
		return;
	r->now = NULL;
	log_about(f->request);
	if (f->up[0])
		landed_up(f, &done);
	else
		landed(f, &done);
	log_about("");
	fetch_read_turn(c);
	wait_check(c);
}

/* ---- life ------------------------------------------------------------------------------- */

int fetch_read_open(struct coll *c, char err[ERRLEN])
{
	struct reading *r = calloc(1, sizeof(*r));

	if (!r)
		return err_set(err, "out of memory");
	c->fetch->reading = r;
	TAILQ_INIT(&r->found);
	TAILQ_INIT(&r->ups);
	r->bell_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (r->bell_fd < 0)
		return err_errno(err, "eventfd");
	r->bell = event_new(c->base, r->bell_fd, EV_READ | EV_PERSIST, on_bell, c);
	if (!r->bell)
		return err_set(err, "out of memory");
	event_add(r->bell, NULL);
	return metaread_open(&r->thread, r->bell_fd, err);
}

/* Files of uploads stay, for who starts after us. */
void fetch_read_close(struct coll *c)
{
	struct reading *r = c->fetch->reading;
	struct fetch_flight *f;

	if (!r)
		return;
	metaread_close(&r->thread);
	if (r->now && !r->now->listed)
		fetch_free(r->now);
	while ((f = TAILQ_FIRST(&r->ups)) != NULL) {
		TAILQ_REMOVE(&r->ups, f, turn);
		fetch_free(f);
	}
	if (r->bell)
		event_free(r->bell);
	if (r->bell_fd > 0)
		close(r->bell_fd);
	free(r);
	c->fetch->reading = NULL;
}
