/*
 * places.c -- which databases of places are in use. geo/watch.c brings them, in a thread of
 * its own; here is what the loop does with them: it takes the new set, says so, and looks
 * up the peers that it knows again, a few milliseconds at a time.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "collector/coll.h"
#include "common/clock.h"
#include "common/log.h"
#include "shm/geonote.h"

/* Eight stat(2) at most, in the thread. */
#define PLACES_LOOK_MS 2000
/* A small database is there before the first question. A large one takes two seconds to
 * verify, which nobody is to wait for: places follow, as a next version. */
#define PLACES_START_MS 300
/* The loop stands still for so long at most while known peers are looked up again; a swarm
 * that was begun is finished, which is 2,000 peers and some 5 ms. */
#define PLACES_SLICE_MS 5
/* A database that is not read by then is not waited for before others are asked. */
#define PLACES_PENDING_MS 60000u

static const char *state_word(enum watch_state s)
{
	switch (s) {
	case WATCH_NONE: return "";
	case WATCH_GOOD: return "ok";
	case WATCH_REFUSED: return "refused";
	case WATCH_MISSING: return "missing";
	case WATCH_WRITING: return "writing";
	case WATCH_VERIFYING: return "verifying";
	}
	return "";
}

/* ---- what is told ------------------------------------------------------------ */

static void put_note(int i, const struct watch_file *f)
{
	struct geo_note note;
	char text[NOTE_SIZE] = "";

	memset(&note, 0, sizeof(note));
	snprintf(note.state, sizeof(note.state), "%s", state_word(f->state));
	snprintf(note.err, sizeof(note.err), "%.*s", NOTE_SIZE - 1, f->err);
	if (f->open) {
		snprintf(note.type, sizeof(note.type), "%s",
			 f->info.type[0] ? f->info.type : "?");
		note.built_s = f->info.built_s;
		note.bytes = f->info.bytes;
		note.in_memory = f->info.in_memory;
	}
	if (f->state != WATCH_NONE)
		geonote_put(text, &note);
	note_set(geonote_of(i), text);
}

static void day_of(char out[16], uint64_t at_s)
{
	time_t t = (time_t)at_s;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || strftime(out, 16, "%Y-%m-%d", &tm) == 0)
		snprintf(out, 16, "?");
}

static void log_opened(int i, const char *path, const struct watch_file *f)
{
	uint64_t days = file_age_days(&f->info, clock_wall_ms() / 1000);
	char day[16];

	day_of(day, f->info.built_s);
	log_notice("geo", "%s database %s: '%s' of %s, %" PRIu64 " KB%s", geo_role(i),
		   path, f->info.type, day, f->info.bytes / 1024,
		   f->info.in_memory ? "; held in memory for want of a disk: see TMPDIR"
				     : "");
	if (days >= FILE_OLD_DAYS)
		log_warn("geo", "%s database %s: " FILE_OLD_WORDS, geo_role(i), path,
			 days);
}

static void log_file(int i, const char *path, const struct watch_file *f)
{
	if (f->opened)
		log_opened(i, path, f);
	if (f->refused || f->missing || f->put_off)
		log_warn("geo", "%s database %s: %s; %s", geo_role(i), path,
			 f->err[0] ? f->err : "it was not good for a while",
			 f->open ? "the one that was read before stays in use"
				 : "no place comes from it");
}

static void take_report(const struct watch_report *r)
{
	uint64_t open = 0;

	for (int i = 0; i < GEO_FILES_MAX; i++) {
		const struct watch_file *f = &r->file[i];

		log_file(i, r->paths.path[i], f);
		put_note(i, f);
		stat_add(STAT_geo_opened, f->opened);
		stat_add(STAT_geo_refused, f->refused);
		stat_add(STAT_geo_missing, f->missing);
		stat_add(STAT_geo_put_off, f->put_off);
		open += f->open != 0;
	}
	stat_set(geo_databases, open);
	stat_set(geo_city_built_s, r->file[0].open ? r->file[0].info.built_s : 0);
	stat_set(geo_asn_built_s, r->file[1].open ? r->file[1].info.built_s : 0);
}

/* ---- known peers, again -------------------------------------------------------- */

struct slice {
	struct coll *c;
	uint64_t until_us;
	int more;
};

/* It is owed places, and the names were compacted since. */
static int has_room_for(const struct coll *c, const struct swarm *w)
{
	return w->places_owed && w->places_owed != c->places.room;
}

/* all: for databases are others; else who was left out. 1: some place is another one. */
static int peers_again(struct coll *c, struct swarm *w, int all)
{
	uint64_t n = 0;
	int moved = 0;

	for (uint32_t i = 0; i < w->npeers; i++) {
		struct peer *p = &w->peer[i];

		if (!all && p->place_owed == PLACE_GIVEN)
			continue;
		moved |= publish_place(c, w, p, !all && p->place_owed == PLACE_OWED_TOLD);
		n++;
	}
	stat_add(STAT_geo_again, n);
	return moved;
}

static void swarm_again(struct swarm *w, void *arg)
{
	struct slice *s = arg;
	struct coll *c = s->c;
	int all = w->places_set != c->places.set;

	if (!all && !has_room_for(c, w))
		return;
	if (clock_us() >= s->until_us) {
		s->more = 1;
		return;
	}
	w->places_set = c->places.set;
	w->places_owed = 0;
	if (!peers_again(c, w, all))
		return;
	w->changed_ms = clock_ms();
	w->important = 1;
}

static void again(struct coll *c)
{
	struct slice s = {c, clock_us() + PLACES_SLICE_MS * 1000, 0};

	swarms_each(c->swarms, swarm_again, &s);
	publish_soon(c);
	if (s.more)
		event_add(c->places.again, &(struct timeval){0, 1000});
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	again(arg);
}

void places_room(struct coll *c)
{
	c->places.room++;
	again(c);
	if (c->places.lists_owed)
		relist_look(c, 1);
	c->places.lists_owed = 0;
}

static void take(struct coll *c)
{
	struct watch_report report;
	int rc = watch_take(c->places.watch, &c->geo, &report);

	if (rc == 0)
		return;
	if (report.settled)
		c->places.asked_ms = 0;
	take_report(&report);
	if (rc < 2)
		return;
	c->places.set++;
	if (swarms_count(c->swarms) > 0)
		again(c);
	relist_look(c, 1);
}

static void on_bell(evutil_socket_t fd, short what, void *arg)
{
	(void)what;
	kid_hush((int)fd);
	take(arg);
}

/* ---- life ----------------------------------------------------------------------- */

/* It names a file that the old one does not. */
static int is_new(const struct geo_paths *old, const struct geo_paths *fresh)
{
	for (int i = 0; i < GEO_FILES_MAX; i++)
		if (fresh->path[i][0] && !geo_names(old, fresh->path[i]))
			return 1;
	return 0;
}

int places_pending(const struct coll *c)
{
	uint64_t asked_ms = c->places.asked_ms;

	return asked_ms && clock_ms() - asked_ms < PLACES_PENDING_MS;
}

void places_configure(struct coll *c)
{
	struct geo_paths *paths = &c->places.paths, fresh;
	char err[ERRLEN];

	if (geo_paths(&fresh, &c->kid.conf, err) != 0) {
		log_error("geo", "geo.more_db: %s; the old list stays", err);
	} else {
		if (is_new(paths, &fresh))
			c->places.asked_ms = clock_ms();
		*paths = fresh;
	}
	if (watch_look(c->places.watch, paths, err) != 0)
		log_error("geo", "%s; places stay unknown", err);
}

/* Until all were tried, or there are better things to do. */
static void first_look(struct coll *c)
{
	struct pollfd bell = {.fd = c->places.bell_fd, .events = POLLIN};
	uint64_t until = clock_ms() + PLACES_START_MS, now;

	while (c->places.asked_ms && (now = clock_ms()) < until &&
	       poll(&bell, 1, (int)(until - now)) == 1)
		on_bell(bell.fd, EV_READ, c);
}

int places_open(struct coll *c, char err[ERRLEN])
{
	struct places *p = &c->places;

	p->room = 1;
	p->bell_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (p->bell_fd < 0)
		return err_errno(err, "eventfd");
	if (watch_open(&p->watch, p->bell_fd, PLACES_LOOK_MS, err) != 0)
		return -1;
	p->bell = event_new(c->base, p->bell_fd, EV_READ | EV_PERSIST, on_bell, c);
	p->again = event_new(c->base, -1, 0, on_again, c);
	if (!p->bell || !p->again || event_add(p->bell, NULL) != 0)
		return err_set(err, "out of memory");
	places_configure(c);
	first_look(c);
	return 0;
}

void places_close(struct coll *c)
{
	struct places *p = &c->places;

	watch_close(&p->watch);
	c->geo = NULL;
	if (p->bell)
		event_free(p->bell);
	if (p->again)
		event_free(p->again);
	if (p->watch == NULL && p->bell_fd > 0)
		close(p->bell_fd);
}
