/* watch.c -- see watch.h. */
#include "geo/watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/kid.h"
#include "common/thread.h"

/* Sets alive at once: the owner's, the one it gave back, the next one, and a newer one. */
#define SETS_MAX 4

/* While there is no room the whole file would be copied in vain each time. */
#define AGAIN_MAX_MS 300000u
#define AGAIN_SHIFT_MAX 10

/* Of one path; the thread's alone. */
struct seat {
	char path[GEO_PATH_MAX + 1];
	struct geo_file *file;              /* in use; NULL: none */
	struct file_id used, refused, last; /* what was met there */
	uint64_t again_ms;                  /* refused for want of room: till then */
	unsigned tries;
	int stands_in; /* the file is that of the path which stood here before */
	struct watch_file shown;
};

struct set {
	struct geo *geo; /* NULL: a free place */
	struct geo_file *file[GEO_FILES_MAX];
};

struct geo_watch {
	int bell_fd, started;
	uint64_t look_ms;
	atomic_int quit;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond;

	/* Under the lock: */
	struct geo_paths wanted;
	int kicked, news;
	uint64_t asked, answered; /* watch_look() calls */
	struct geo *next, *back;  /* for the owner; from the owner */
	struct watch_report report;

	/* The thread's: */
	struct seat seat[GEO_FILES_MAX];
	struct set set[SETS_MAX];
	int stale; /* there was no memory for a set of the seats */
};

/* --- sets ------------------------------------------------------------------- */

static int is_used(const struct geo_watch *w, const struct geo_file *f)
{
	for (int i = 0; i < GEO_FILES_MAX; i++)
		if (w->seat[i].file == f)
			return 1;
	for (int s = 0; s < SETS_MAX; s++)
		for (int i = 0; w->set[s].geo && i < GEO_FILES_MAX; i++)
			if (w->set[s].file[i] == f)
				return 1;
	return 0;
}

static void close_unused(const struct geo_watch *w, struct geo_file *f)
{
	if (f && !is_used(w, f))
		file_close(&f);
}

static void drop_set(struct geo_watch *w, struct geo *geo)
{
	struct set was;
	int s;

	if (!geo)
		return;
	for (s = 0; s < SETS_MAX && w->set[s].geo != geo; s++)
		;
	PS_ASSERT(s < SETS_MAX);
	was = w->set[s];
	w->set[s].geo = NULL;
	geo_close(&geo);
	for (int i = 0; i < GEO_FILES_MAX; i++)
		close_unused(w, was.file[i]);
}

/* The seats as a set; NULL: no memory, and the next look tries again. */
static struct geo *make_set(struct geo_watch *w)
{
	struct set fresh;
	int s;

	for (s = 0; s < SETS_MAX && w->set[s].geo; s++)
		;
	PS_ASSERT(s < SETS_MAX);
	for (int i = 0; i < GEO_FILES_MAX; i++)
		fresh.file[i] = w->seat[i].file;
	fresh.geo = geo_of_files(fresh.file);
	if (fresh.geo)
		w->set[s] = fresh;
	return fresh.geo;
}

/* --- one look ---------------------------------------------------------------- */

static void show(struct seat *s, enum watch_state state, const char *err)
{
	s->shown.state = state;
	snprintf(s->shown.err, sizeof(s->shown.err), "%s", err);
}

static void never_refused(struct seat *s)
{
	memset(&s->refused, 0, sizeof(s->refused));
	s->again_ms = 0;
	s->tries = 0;
}

static void missing(struct seat *s, const char *err)
{
	if (s->shown.state != WATCH_MISSING || strcmp(s->shown.err, err) != 0)
		s->shown.missing++;
	never_refused(s); /* tried again when it is back */
	show(s, WATCH_MISSING, err);
}

static void refuse(struct seat *s, const char *err)
{
	never_refused(s);
	s->refused = s->last;
	s->shown.refused++;
	show(s, WATCH_REFUSED, err);
}

/* Nothing is wrong with the file: it is tried again although it stays the same. */
static void put_off(struct geo_watch *w, struct seat *s, const char *err)
{
	uint64_t wait_ms = w->look_ms
			   << (s->tries < AGAIN_SHIFT_MAX ? ++s->tries : AGAIN_SHIFT_MAX);
	char why[ERRLEN];

	if (wait_ms > AGAIN_MAX_MS)
		wait_ms = AGAIN_MAX_MS;
	(void)err_set(why, "%.200s; it is tried again", err);
	s->refused = s->last;
	s->again_ms = clock_ms() + wait_ms;
	s->shown.put_off++;
	show(s, WATCH_REFUSED, why);
}

/* 1: the seat has another file now; its former one is left for close_unused. */
static int open_seat(struct geo_watch *w, struct seat *s)
{
	struct geo_file *fresh = NULL;
	char err[ERRLEN] = "";

	switch (file_open(&fresh, s->path, &s->last, &w->quit, err)) {
	case FILE_OK: break;
	case FILE_BAD: refuse(s, err); return 0;
	case FILE_MISSING: missing(s, err); return 0;
	case FILE_LATER: put_off(w, s, err); return 0;
	}
	s->file = fresh;
	s->stands_in = 0;
	s->used = s->last;
	never_refused(s);
	file_info(fresh, &s->shown.info);
	s->shown.open = 1;
	s->shown.opened++;
	show(s, WATCH_GOOD, "");
	return 1;
}

/* Somebody may be writing into a file that we have met: it must stand still for a look. */
static int is_moving(const struct seat *s, const struct file_id *id)
{
	return !file_same(id, &s->last) && file_same_inode(id, &s->last);
}

static int is_time(const struct seat *s)
{
	return s->again_ms && clock_ms() >= s->again_ms;
}

/* 1: what lies there is to be opened now. */
static int is_due(struct seat *s, int kicked)
{
	struct file_id id;
	char err[ERRLEN] = "";
	int moving, refused;

	if (!s->path[0])
		return 0;
	if (file_look(s->path, &id, err) != 0) {
		missing(s, err);
		return 0;
	}
	moving = is_moving(s, &id);
	refused = file_same(&id, &s->refused);
	s->last = id;
	if (s->file && file_same(&id, &s->used)) {
		show(s, WATCH_GOOD, "");
		return 0;
	}
	if (!kicked && refused && !is_time(s))
		return 0;
	if (!kicked && moving) {
		show(s, WATCH_WRITING, "");
		return 0;
	}
	if (kicked || !refused)
		never_refused(s);
	show(s, WATCH_VERIFYING, "");
	return 1;
}

/* The seat whose path this is, the one at i before all others; NULL: none. */
static struct seat *seat_of(struct seat *seat, const char *path, int i)
{
	if (strcmp(seat[i].path, path) == 0)
		return &seat[i];
	for (int k = 0; k < GEO_FILES_MAX; k++)
		if (strcmp(seat[k].path, path) == 0)
			return &seat[k];
	return NULL;
}

static void vacate(struct seat *s)
{
	s->file = NULL;
	s->stands_in = s->shown.open = 0;
	memset(&s->shown.info, 0, sizeof(s->shown.info));
}

/*
 * Of the seats that were, s is given what belongs to its path. One that is new has, until
 * its own file is good, that of a path which stood in its place and is wanted no more: a
 * database that moved is no gap. It stands in for no path elsewhere.
 */
static void take_seat(struct seat *s, struct seat *was, int i,
		      const struct geo_paths *paths)
{
	const char *path = paths->path[i];
	struct seat *from = path[0] ? seat_of(was, path, i) : NULL;

	memset(s, 0, sizeof(*s));
	if (from) {
		*s = *from;
		if (s->stands_in && from != &was[i])
			vacate(s);
		memset(from, 0, sizeof(*from)); /* a path may be named twice */
		return;
	}
	memcpy(s->path, path, sizeof(s->path));
	if (!path[0] || !was[i].file || geo_names(paths, was[i].path))
		return;
	s->file = was[i].file;
	s->stands_in = 1;
	s->shown = was[i].shown;
}

/* Seats go where their paths are now. 1: it is another set. */
static int take_paths(struct geo_watch *w, const struct geo_paths *paths)
{
	struct geo_file *had[GEO_FILES_MAX];
	struct seat was[GEO_FILES_MAX];
	int changed = 0;

	memcpy(was, w->seat, sizeof(was));
	for (int i = 0; i < GEO_FILES_MAX; i++)
		had[i] = was[i].file;
	for (int i = 0; i < GEO_FILES_MAX; i++)
		take_seat(&w->seat[i], was, i, paths);
	for (int i = 0; i < GEO_FILES_MAX; i++) {
		changed |= w->seat[i].file != had[i];
		close_unused(w, had[i]);
	}
	return changed;
}

static int same_shown(const struct watch_file *a, const struct watch_file *b)
{
	return a->state == b->state && a->open == b->open && b->opened == 0 &&
	       b->refused == 0 && b->missing == 0 && b->put_off == 0 &&
	       strcmp(a->err, b->err) == 0;
}

/* What was told of this path, and not yet taken. */
static const struct watch_file *told(const struct watch_report *r, const char *path,
				     int i)
{
	static const struct watch_file nothing;

	if (strcmp(r->paths.path[i], path) == 0)
		return &r->file[i];
	for (int k = 0; path[0] && k < GEO_FILES_MAX; k++)
		if (strcmp(r->paths.path[k], path) == 0)
			return &r->file[k];
	return &nothing;
}

/* Under the lock: what the seats say, the counts added to those not yet taken. */
static void tell(struct geo_watch *w)
{
	const struct watch_report was = w->report;

	for (int i = 0; i < GEO_FILES_MAX; i++) {
		struct watch_file *out = &w->report.file[i];
		struct watch_file *now = &w->seat[i].shown;
		const struct watch_file *before = told(&was, w->seat[i].path, i);

		w->news |= before != &was.file[i] || !same_shown(before, now);
		*out = *now;
		out->opened += before->opened;
		out->refused += before->refused;
		out->missing += before->missing;
		out->put_off += before->put_off;
		now->opened = now->refused = now->missing = now->put_off = 0;
		memcpy(w->report.paths.path[i], w->seat[i].path, GEO_PATH_MAX + 1);
	}
}

static void ring(const struct geo_watch *w)
{
	(void)!write(w->bell_fd, &(uint64_t){1}, 8);
}

/* What is about to be done, which may take seconds. */
static void announce(struct geo_watch *w)
{
	int news;

	pthread_mutex_lock(&w->lock);
	tell(w);
	news = w->news;
	pthread_mutex_unlock(&w->lock);
	if (news)
		ring(w);
}

/* Leaves a set of what the seats hold now, and the report. answers: the watch_look() that is
 * done by this; 0: none. */
static void leave(struct geo_watch *w, int changed, uint64_t answers)
{
	struct geo *unused = NULL, *back, *fresh;
	int news;

	pthread_mutex_lock(&w->lock);
	back = w->back;
	w->back = NULL;
	if (changed) {
		unused = w->next;
		w->next = NULL;
	}
	pthread_mutex_unlock(&w->lock);
	drop_set(w, back);
	drop_set(w, unused);
	fresh = changed ? make_set(w) : NULL;
	w->stale = changed && !fresh;
	pthread_mutex_lock(&w->lock);
	tell(w);
	if (answers) {
		w->answered = answers;
		w->news = 1;
	}
	if (fresh)
		w->next = fresh;
	news = w->news || fresh;
	pthread_mutex_unlock(&w->lock);
	if (news)
		ring(w);
}

/* answers: as above; what was refused is tried again then. */
static void look(struct geo_watch *w, const struct geo_paths *paths, uint64_t answers)
{
	int changed = take_paths(w, paths) || w->stale, any = 0;
	int due[GEO_FILES_MAX];

	for (int i = 0; i < GEO_FILES_MAX; i++)
		any |= due[i] = is_due(&w->seat[i], answers != 0);
	if (any)
		announce(w);
	for (int i = 0; i < GEO_FILES_MAX && !atomic_load(&w->quit); i++) {
		struct geo_file *former = w->seat[i].file;

		changed |= due[i] && open_seat(w, &w->seat[i]);
		close_unused(w, former); /* it never was in a set */
	}
	if (!atomic_load(&w->quit))
		leave(w, changed, answers);
}

/* --- the thread --------------------------------------------------------------- */

static void in_ms(struct timespec *t, uint64_t ms)
{
	clock_gettime(CLOCK_MONOTONIC, t);
	t->tv_sec += (time_t)(ms / 1000);
	t->tv_nsec += (long)(ms % 1000) * 1000000;
	if (t->tv_nsec >= 1000000000) {
		t->tv_nsec -= 1000000000;
		t->tv_sec++;
	}
}

static void *run(void *arg)
{
	struct geo_watch *w = arg;
	struct timespec until;
	struct geo_paths paths;

	/* Verifying takes a second of a core, which others may need more; failing is fine. */
	(void)setpriority(PRIO_PROCESS, (id_t)gettid(), 10);
	in_ms(&until, 0);
	pthread_mutex_lock(&w->lock);
	while (!atomic_load(&w->quit)) {
		struct geo *back = w->back;
		uint64_t answers;
		int late = 0;

		w->back = NULL;
		if (back) {
			pthread_mutex_unlock(&w->lock);
			drop_set(w, back);
			pthread_mutex_lock(&w->lock);
			continue;
		}
		if (!w->kicked)
			late = pthread_cond_timedwait(&w->cond, &w->lock, &until) ==
			       ETIMEDOUT;
		if (!w->kicked && !late)
			continue;
		answers = w->kicked ? w->asked : 0;
		w->kicked = 0;
		paths = w->wanted;
		pthread_mutex_unlock(&w->lock);
		look(w, &paths, answers);
		in_ms(&until, w->look_ms);
		pthread_mutex_lock(&w->lock);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

int watch_open(struct geo_watch **out, int bell_fd, uint64_t look_ms, char err[ERRLEN])
{
	struct geo_watch *w = calloc(1, sizeof(*w));
	pthread_condattr_t attr;

	if (!w)
		return err_set(err, "places: out of memory");
	w->bell_fd = bell_fd;
	w->look_ms = look_ms;
	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->cond, &attr);
	pthread_condattr_destroy(&attr);
	*out = w;
	return 0;
}

int watch_look(struct geo_watch *w, const struct geo_paths *paths, char err[ERRLEN])
{
	int any = 0;

	for (int i = 0; i < GEO_FILES_MAX; i++)
		any |= paths->path[i][0] != '\0';
	pthread_mutex_lock(&w->lock);
	w->wanted = *paths;
	w->kicked = 1;
	w->asked++;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
	if (!any || w->started)
		return 0;
	if (thread_start(&w->thread, run, w, err) != 0)
		return -1;
	w->started = 1;
	return 0;
}

int watch_take(struct geo_watch *w, struct geo **set, struct watch_report *out)
{
	int rc = 0;

	pthread_mutex_lock(&w->lock);
	if (w->news || w->next) {
		rc = 1;
		*out = w->report;
		out->settled = w->answered == w->asked;
		for (int i = 0; i < GEO_FILES_MAX; i++) {
			struct watch_file *f = &w->report.file[i];

			f->opened = f->refused = f->missing = f->put_off = 0;
		}
		w->news = 0;
	}
	if (w->next) {
		PS_ASSERT(!w->back); /* taken before another set is left */
		rc = 2;
		w->back = *set;
		*set = w->next;
		w->next = NULL;
		pthread_cond_signal(&w->cond);
	}
	pthread_mutex_unlock(&w->lock);
	return rc;
}

void watch_close(struct geo_watch **w)
{
	struct geo_watch *own = *w;

	if (!own)
		return;
	pthread_mutex_lock(&own->lock);
	atomic_store(&own->quit, 1);
	pthread_cond_signal(&own->cond);
	pthread_mutex_unlock(&own->lock);
	if (own->started)
		pthread_join(own->thread, NULL);
	for (int s = 0; s < SETS_MAX; s++)
		drop_set(own, own->set[s].geo);
	for (int i = 0; i < GEO_FILES_MAX; i++) {
		struct geo_file *f = own->seat[i].file;

		own->seat[i].file = NULL;
		close_unused(own, f);
	}
	pthread_cond_destroy(&own->cond);
	pthread_mutex_destroy(&own->lock);
	free(own);
	*w = NULL;
}
