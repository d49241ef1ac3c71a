/* fetch_keep.c -- what was found: as JSON, on disk, in Redis, for other peers; see fetch.h. */
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collector/fetch.h"
#include "collector/fetch_int.h"
#include "common/clock.h"
#include "common/log.h"

/* A .torrent is its info dict and a little more. */
#define TORRENT_MAX (METAINFO_MAX + (1u << 20))
/* JSON that could not grow was so close to its bound, or there was no memory. */
#define JSON_CLOSE (1u << 20)

/* What stands beside the info dict is its asker's own word, and often has his passkey in
 * it: nothing of it is in a cache that others are served from. */
static const struct metainfo_beside nothing;

/* ---- away with it ---------------------------------------------------------------------- */

int fetch_key(char out[64], const uint8_t key[IH_LEN])
{
	char hex[IH_HEX_LEN];

	ih_hex(hex, key);
	return snprintf(out, 64, "peerscope:meta:1:%s", hex) < 64 ? 0 : -1;
}

static void to_redis(const struct fetch_flight *f)
{
	const uint8_t *hash[2] = {f->ids.has_v1 ? f->ids.v1 : NULL,
				  f->ids.has_v2 ? f->ids.v2 : NULL};
	char key[64];

	if (f->from_redis || !redis_up(f->c->redis) || f->m.info.len > FETCH_REDIS_MAX)
		return;
	for (int i = 0; i < 2; i++)
		if (hash[i] && fetch_key(key, hash[i]) == 0)
			redis_setex(f->c->redis, key, FETCH_REDIS_TTL_MS,
				    (const char *)f->m.info.p, f->m.info.len);
}

/* -1: no memory. */
static int to_disk(struct fetch_flight *f)
{
	struct metastore_item it = {.len = {0, 0}};
	struct buf torrent;

	buf_init(&torrent, TORRENT_MAX);
	metainfo_torrent(&torrent, &f->m, &nothing);
	if (f->json.failed || torrent.failed) {
		buf_free(&torrent);
		return -1;
	}
	memcpy(it.key, f->key, IH_LEN);
	if (f->ids.has_v1 && f->ids.has_v2)
		memcpy(it.other,
		       memcmp(f->key, f->ids.v1, IH_LEN) == 0 ? f->ids.v2 : f->ids.v1,
		       IH_LEN);
	it.data[META_JSON] = buf_take(&f->json, &it.len[META_JSON]);
	it.data[META_TORRENT] = buf_take(&torrent, &it.len[META_TORRENT]);
	f->step = FETCH_STORING;
	if (metastore_put(f->c->fetch->store, &it, f->number) != 0)
		fetch_end(f, LANE_META_DISK);
	return 0;
}

/* ---- as JSON ----------------------------------------------------------------------------- */

static void turn_soon(struct fetch *fe)
{
	static const struct timeval now = {0, 0};

	if (fe->turn_armed)
		return;
	fe->turn_armed = 1;
	event_add(fe->turn, &now);
}

void fetch_render(struct fetch_flight *f)
{
	int rc = metainfo_json_begin(&f->w, &f->json, &f->m, &nothing,
				     f->ids.has_v1 ? f->ids.v1 : NULL,
				     f->ids.has_v2 ? f->ids.v2 : NULL);

	f->step = FETCH_RENDERING;
	if (rc != 0)
		f->json.failed = 1; /* ends with the next turn */
	turn_soon(f->c->fetch);
}

/* The text is complete. */
static void rendered(struct fetch_flight *f)
{
	char hex[IH_HEX_LEN];

	metainfo_json_end(&f->w);
	f->step = FETCH_STORING;
	ih_hex(hex, f->key);
	if (f->json.failed && f->json.len > META_BYTES_MAX - JSON_CLOSE) {
		log_warn("metadata", "%s: as JSON it is too long", hex);
		fetch_odd(f);
		return;
	}
	to_redis(f);
	if (to_disk(f) == 0)
		return;
	log_error("metadata", "%s: no memory for its files", hex);
	fetch_end(f, LANE_FAILED);
}

/* A step of one flight; others have theirs in later turns. */
static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct coll *c = arg;
	struct fetch_flight *f = c->fetch->flights, *oldest = NULL;

	(void)fd;
	(void)what;
	c->fetch->turn_armed = 0;
	for (; f; f = f->next)
		if (f->step == FETCH_RENDERING)
			oldest = f;
	if (!oldest)
		return;
	turn_soon(c->fetch);
	if (oldest->json.failed || !metainfo_json_step(&oldest->w, FETCH_STEP_FILES)) {
		log_about(oldest->request);
		rendered(oldest);
		log_about("");
	}
}

/* ---- on disk ---------------------------------------------------------------------------- */

static void stored(struct coll *c, const struct metastore_done *done)
{
	struct fetch_flight *f = c->fetch->flights;

	while (f && f->number != done->tag)
		f = f->next;
	if (!f || f->step != FETCH_STORING)
		return;
	if (done->rc == METADISK_OK) {
		stat_inc(meta_found);
		stat_add(STAT_meta_found_ms, clock_ms() - f->began_ms);
		metadead_found(c->fetch->dead, f->key);
	}
	fetch_end(f, done->rc != METADISK_OK ? LANE_META_DISK
		     : f->from_redis         ? LANE_META_REDIS
					     : LANE_OK);
}

static void on_bell(evutil_socket_t fd, short what, void *arg)
{
	struct coll *c = arg;
	struct metastore_done done;

	(void)what;
	kid_hush((int)fd);
	while (c->fetch->old && metastore_take(c->fetch->old, &done))
		stored(c, &done);
	while (metastore_take(c->fetch->store, &done))
		stored(c, &done);
	fetch_read_turn(c);
}

/* The first place that can be used, and how much may be in it. */
static void choose(const struct coll *c, char *dir, size_t size, uint64_t *quota)
{
	const struct conf *conf = &c->kid.conf;

	*quota = conf->metadata_cache_size_bytes;
	stat_set(meta_elsewhere, 0);
	if (conf->metadata_cache_dir[0] &&
	    meta_dir(dir, size, conf->metadata_cache_dir, c->kid.run_dir, 0) == 0) {
		if ((mkdir(dir, 0700) == 0 || errno == EEXIST) &&
		    access(dir, R_OK | W_OK | X_OK) == 0)
			return;
		stat_set(meta_elsewhere, 1);
		log_warn("metadata", "%s: %s: metadata is kept in master.run_dir", dir,
			 strerror(errno));
	}
	if (meta_dir(dir, size, "", c->kid.run_dir, 0) != 0)
		snprintf(dir, size,
			 "/nonexistent/meta"); /* each put is refused, and counted */
	if (*quota > META_DIR_QUOTA)
		*quota = META_DIR_QUOTA;
}

int fetch_keep_open(struct coll *c, char err[ERRLEN])
{
	struct fetch *fe = c->fetch;
	uint64_t quota;

	fe->bell_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (fe->bell_fd < 0)
		return err_errno(err, "eventfd");
	fe->bell = event_new(c->base, fe->bell_fd, EV_READ | EV_PERSIST, on_bell, c);
	fe->turn = evtimer_new(c->base, on_turn, c);
	if (!fe->bell || !fe->turn)
		return err_set(err, "out of memory");
	event_add(fe->bell, NULL);
	choose(c, fe->dir, sizeof(fe->dir), &quota);
	return metastore_open(&fe->store, fe->dir, quota, fe->bell_fd, err);
}

void fetch_keep_close(struct fetch *fe)
{
	metastore_close(&fe->old);
	metastore_close(&fe->store);
	if (fe->bell)
		event_free(fe->bell);
	if (fe->turn)
		event_free(fe->turn);
	if (fe->bell_fd > 0)
		close(fe->bell_fd);
}

/* What the old place still has to write is written before it is closed (fetch_keep_tick). */
static void move_to(struct coll *c, const char *dir, uint64_t quota)
{
	struct fetch *fe = c->fetch;
	struct metastore *fresh;
	char err[ERRLEN];

	if (metastore_open(&fresh, dir, quota, fe->bell_fd, err) != 0) {
		log_error("metadata", "%s; the old place stays", err);
		return;
	}
	metastore_close(&fe->old); /* only after two changes within a moment */
	fe->old = fe->store;
	fe->store = fresh;
	snprintf(fe->dir, sizeof(fe->dir), "%s", dir);
}

static void stop_seeding(struct swarm *w, void *arg)
{
	(void)arg;
	w->seed_until_ms = 0;
}

void fetch_keep_configure(struct coll *c)
{
	char dir[sizeof(c->fetch->dir)];
	uint64_t quota;

	choose(c, dir, sizeof(dir), &quota);
	if (strcmp(dir, c->fetch->dir) != 0)
		move_to(c, dir, quota);
	else
		metastore_quota(c->fetch->store, quota);
	if (!c->kid.conf.metadata_seeding)
		swarms_each(c->swarms, stop_seeding, NULL);
}

/* ---- for others --------------------------------------------------------------------------- */

struct seeds {
	uint64_t now_ms, bytes;
	uint32_t n;
	struct swarm *first; /* whose time is over first */
};

static void count_seed(struct swarm *w, void *arg)
{
	struct seeds *s = arg;

	if (w->seed_until_ms <= s->now_ms)
		return;
	s->n++;
	s->bytes += w->seed_bytes;
	if (!s->first || w->seed_until_ms < s->first->seed_until_ms)
		s->first = w;
}

void fetch_seed(const struct coll *c, struct swarm *w, const struct metainfo *found)
{
	w->seed_until_ms = clock_ms() + c->kid.conf.metadata_seed_time_ms;
	w->seed_bytes = (uint32_t)found->info.len;
}

/* The last metadata.seed_count stay, if they are no more than FETCH_SEED_MAX. */
static void bound_seeds(struct coll *c)
{
	struct seeds s = {.now_ms = clock_ms()};

	swarms_each(c->swarms, count_seed, &s);
	while (s.n > (uint32_t)c->kid.conf.metadata_seed_count ||
	       (s.n && s.bytes > FETCH_SEED_MAX)) {
		s.first->seed_until_ms = 0;
		s = (struct seeds){.now_ms = s.now_ms};
		swarms_each(c->swarms, count_seed, &s);
	}
	stat_set(meta_seeds, s.n);
}

void fetch_keep_tick(struct coll *c)
{
	struct fetch *fe = c->fetch;
	int storing = 0;

	bound_seeds(c);
	for (const struct fetch_flight *f = fe->flights; f; f = f->next)
		storing |= f->step == FETCH_STORING;
	if (!storing)
		metastore_close(&fe->old);
}
