/* state.c -- see state.h. */
#include "collector/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <event2/event.h>

#include "collector/coll.h"
#include "collector/statefile.h"
#include "collector/writer.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"

struct found { /* a slot that is worth it */
	uint64_t cached_at_ms;
	uint8_t id[IH_LEN];
};

struct state {
	struct event *turn; /* armed while a save is under way */
	uint64_t due_ms;
	int running;
	uint32_t slot, slots; /* looked at; how many there are */
	struct found *found;
	uint32_t nfound, next, left_out;
	struct buf list;
	struct writer out;
	int writing;
	/* Sums of cached_at_ms, of what is there and of what path has: a list that is new, or
	 * gone, moves them, whatever a clock that was set may have done. */
	uint64_t there, written;
};

static const char *path_of(const struct coll *c)
{
	return c->kid.conf.swarm_state[0] == '/' ? c->kid.conf.swarm_state : NULL;
}

/* ---- in ---------------------------------------------------------------------------- */

/* Nobody is connected to whom an earlier life was. */
static void cool(struct shm_swarm *s, struct shm_peer *peer)
{
	for (uint32_t i = 0; i < s->npeers; i++) {
		if (peer[i].state == PEER_CONNECTED)
			peer[i].state = PEER_CONTACTED;
		peer[i].down_rate = peer[i].up_rate = 0;
	}
	s->contacted += s->connected;
	s->connected = 0;
	if (s->phase == SWARM_SETTLED)
		s->phase = SWARM_COLLECTING;
}

static uint64_t oldest_ms(const struct coll *c)
{
	uint64_t now = clock_wall_ms(), keep = c->kid.conf.swarm_peer_expiry_ms;

	return now > keep ? now - keep : 0;
}

/* 1: in the table; 0: it knows better, or it is too old; -1: it is none of this version. */
static int take(struct coll *c, const uint8_t *id, const void *list, size_t len)
{
	struct listcode *l = &c->tier->list;

	if (listcode_read(l, id, list, len, clock_wall_ms()) != 0)
		return -1;
	if (l->s.cached_at_ms < oldest_ms(c) || !tier_is_newer(c, &l->s))
		return 0;
	cool(&l->s, l->peer);
	return tier_put(c) == 0;
}

static void take_all(struct coll *c, struct statefile *f, const char *path)
{
	uint32_t taken = 0, bad = 0;
	const uint8_t *id;
	const void *list;
	size_t len;

	while (statefile_next(f, &id, &list, &len)) {
		int rc = take(c, id, list, len);

		taken += rc > 0;
		bad += rc < 0;
	}
	stat_add(STAT_state_taken, taken);
	if (bad)
		log_warn("state", "%s: %u lists are of another version, or damaged", path,
			 bad);
	if (taken)
		log_notice("state", "%u swarms of an earlier life in %s", taken, path);
}

void state_load(struct coll *c)
{
	const char *path = path_of(c);
	struct statefile f;
	char err[ERRLEN], *data = NULL;
	size_t len;
	int rc;

	if (!path)
		return;
	rc = file_read(path, STATEFILE_MAX, &data, &len, err);
	if (rc == 1 && statefile_open(&f, data, len, clock_wall_ms(), err) == 0)
		take_all(c, &f, path);
	else if (rc != 0)
		log_warn("state", "%s is not used: %s", path, err);
	free(data);
}

/* ---- out --------------------------------------------------------------------------- */

static void failed(struct state *st, const char *why)
{
	log_warn("state", "known peers are not kept: %s", why);
	st->written = 0; /* not even those of before may be there: once more */
}

/* Looks what became of the file, or waits for it. */
static void look_at_out(struct state *st, int wait)
{
	if (!st->writing || !writer_ended(&st->out, wait))
		return;
	st->writing = 0;
	if (st->out.err[0])
		failed(st, st->out.err);
	else
		stat_inc(state_saves);
}

static void end(struct state *st)
{
	free(st->found);
	st->found = NULL;
	st->running = 0;
}

static int by_age(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	return x->cached_at_ms < y->cached_at_ms   ? 1
	       : x->cached_at_ms > y->cached_at_ms ? -1
						   : 0;
}

static void begin(struct coll *c)
{
	struct state *st = c->state;

	st->slot = st->nfound = st->next = st->left_out = 0;
	st->slots = seg_dims_of(c->seg)->slots;
	st->there = 0;
	buf_reset(&st->out.data);
	st->found = malloc(st->slots * sizeof(*st->found));
	st->running = st->found != NULL;
	if (!st->running)
		log_warn("state", "known peers are not kept: out of memory");
}

static void look_at(struct coll *c, uint32_t slot)
{
	struct state *st = c->state;
	struct shm_swarm s;

	if (ptab_slot(c->ptab, slot, &s) != PTAB_OK || s.npeers == 0 ||
	    s.cached_at_ms < oldest_ms(c))
		return;
	st->found[st->nfound].cached_at_ms = s.cached_at_ms;
	memcpy(st->found[st->nfound++].id, s.id, IH_LEN);
	st->there += s.cached_at_ms;
}

/* A quarter of what is free there: the file of before stays until this one is whole, and in a
 * container that may be /dev/shm, in which the segment has yet to grow. */
static size_t room_at(const char *path)
{
	char dir[sizeof(((struct conf *)0)->swarm_state)];
	uint64_t room = STATEFILE_MAX;
	struct statvfs fs;

	memcpy(dir, path, strlen(path) + 1);
	strrchr(dir, '/')[1] = '\0';
	if (statvfs(dir, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize / 4 < room)
		room = (uint64_t)fs.f_bavail * fs.f_frsize / 4;
	return room < STATEFILE_LEAST ? STATEFILE_LEAST : (size_t)room;
}

/* What the file says already is not written again. */
static void looked(struct coll *c)
{
	struct state *st = c->state;
	const char *path = path_of(c);

	if (!path || (st->there == st->written && strcmp(path, st->out.path) == 0)) {
		st->next = st->nfound;
		return;
	}
	qsort(st->found, st->nfound, sizeof(*st->found), by_age);
	st->out.data.max = room_at(path);
	statefile_begin(&st->out.data, clock_wall_ms());
}

static void add(struct coll *c, const struct found *f)
{
	struct state *st = c->state;

	buf_reset(&st->list);
	if (ptab_get(c->ptab, f->id, CONF_SLOT_PEERS, &c->copy) != PTAB_OK ||
	    tier_list(c, &st->list, &c->copy) != 0)
		return; /* it went meanwhile */
	st->left_out +=
		statefile_add(&st->out.data, f->id, st->list.p, st->list.len) != 0;
}

/* 1: all that is news is in out. Nothing else is done for longer than us. */
static int work(struct coll *c, uint64_t us)
{
	struct state *st = c->state;
	uint64_t until = clock_us() + us;

	while (clock_us() < until) {
		if (st->slot < st->slots) {
			look_at(c, st->slot++);
			if (st->slot == st->slots)
				looked(c);
		} else if (st->next < st->nfound) {
			add(c, &st->found[st->next++]);
		} else {
			return 1;
		}
	}
	return 0;
}

/* 1: out is to be written to path. */
static int is_ready(struct coll *c, const char *path)
{
	struct state *st = c->state;

	if (st->nfound == 0) {
		stat_set(state_swarms, 0);
		st->written = 0;
		if (unlink(path) != 0 && errno != ENOENT)
			log_warn("state", "%s: %s", path, strerror(errno));
		return 0;
	}
	if (st->out.data.len == 0 && !st->out.data.failed)
		return 0;
	stat_set(state_swarms, st->nfound - st->left_out);
	stat_add(STAT_state_left_out, st->left_out);
	st->written = st->there;
	st->writing = statefile_end(&st->out.data) == 0;
	if (!st->writing)
		failed(st, "out of memory");
	return st->writing;
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval soon = {0, 10000};
	struct coll *c = arg;
	struct state *st = c->state;
	const char *path = path_of(c);

	(void)fd;
	(void)what;
	if (!work(c, STATE_SLICE_US)) {
		event_add(st->turn, &soon);
		return;
	}
	end(st);
	if (path && is_ready(c, path))
		writer_start(&st->out, path);
}

void state_tick(struct coll *c)
{
	struct state *st = c->state;
	uint64_t now = clock_ms();

	look_at_out(st, 0);
	if (now < st->due_ms || st->running || st->writing || !path_of(c))
		return;
	st->due_ms = now + STATE_SAVE_MS;
	begin(c);
	if (st->running)
		on_turn(-1, 0, c);
}

void state_save(struct coll *c)
{
	struct state *st = c->state;
	const char *path = path_of(c);

	look_at_out(st, 1);
	end(st); /* what was begun is older */
	event_del(st->turn);
	if (!path)
		return;
	begin(c);
	if (!st->running)
		return;
	while (!work(c, STATE_SLICE_US))
		;
	end(st);
	if (is_ready(c, path)) {
		writer_now(&st->out, path);
		look_at_out(st, 1);
	}
}

int state_open(struct coll *c, char err[ERRLEN])
{
	struct state *st = calloc(1, sizeof(*st));

	if (!st)
		return err_set(err, "out of memory");
	c->state = st;
	buf_init(&st->list, LISTCODE_MAX);
	writer_open(&st->out, STATEFILE_MAX);
	st->due_ms = clock_ms() + STATE_FIRST_MS;
	st->turn = event_new(c->base, -1, 0, on_turn, c);
	return st->turn ? 0 : err_set(err, "out of memory");
}

void state_close(struct coll *c)
{
	struct state *st = c->state;

	if (!st)
		return;
	state_save(c);
	event_free(st->turn);
	buf_free(&st->list);
	writer_close(&st->out);
	free(st);
	c->state = NULL;
}
