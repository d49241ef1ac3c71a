/* watch.c -- see watch.h. */
#include "geo/watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "common/kid.h"
#include "common/thread.h"

/* Sets alive at once: the owner's, the one it gave back, the next one, and a newer one. */
#define SETS_MAX 4

/* Of one path; the thread's alone. */
struct seat {
	char path[GEO_PATH_MAX + 1];
	struct geo_file *file;              /* in use; NULL: none */
	struct file_id used, refused, last; /* what was met there */
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
	struct geo *next, *back; /* for the owner; from the owner */
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

static void missing(struct seat *s, const char *err)
{
	if (s->shown.state != WATCH_MISSING || strcmp(s->shown.err, err) != 0)
		s->shown.missing++;
	memset(&s->refused, 0, sizeof(s->refused)); /* tried again when it is back */
	show(s, WATCH_MISSING, err);
}

/* 1: the seat has another file now; its former one is left for close_unused. */
static int open_seat(struct geo_watch *w, struct seat *s, struct file_id id)
{
	struct geo_file *fresh = NULL;
	char err[ERRLEN] = "";

	if (file_open(&fresh, s->path, &id, &w->quit, err) != FILE_OK) {
		s->refused = s->last = id;
		s->shown.refused++;
		show(s, WATCH_REFUSED, err);
		return 0;
	}
	s->file = fresh;
	s->used = s->last = id;
	memset(&s->refused, 0, sizeof(s->refused));
	file_info(fresh, &s->shown.info);
	s->shown.open = 1;
	s->shown.opened++;
	show(s, WATCH_GOOD, "");
	return 1;
}

/* Somebody may be writing into a file that we have met: it must stand still for a look. */
static int is_moving(struct seat *s, const struct file_id *id)
{
	int moving = !file_same(id, &s->last) && file_same_inode(id, &s->last);

	s->last = *id;
	return moving;
}

static int look_at(struct geo_watch *w, struct seat *s, int kicked)
{
	struct file_id id;
	char err[ERRLEN] = "";

	if (!s->path[0])
		return 0;
	if (file_look(s->path, &id, err) != 0) {
		missing(s, err);
		return 0;
	}
	if (s->file && file_same(&id, &s->used)) {
		s->last = id;
		show(s, WATCH_GOOD, "");
		return 0;
	}
	if (kicked)
		return open_seat(w, s, id);
	if (file_same(&id, &s->refused))
		return 0;
	if (is_moving(s, &id)) {
		show(s, WATCH_WRITING, "");
		return 0;
	}
	return open_seat(w, s, id);
}

/* A seat with another path keeps its file until the new path has a good one; but one
 * without a path is empty. 1: it is another set now. */
static int take_path(struct seat *s, const char *path)
{
	int had = s->file != NULL;

	if (strcmp(s->path, path) == 0)
		return 0;
	memcpy(s->path, path, sizeof(s->path));
	memset(&s->used, 0, sizeof(s->used));
	memset(&s->refused, 0, sizeof(s->refused));
	memset(&s->last, 0, sizeof(s->last));
	if (path[0])
		return 0;
	s->file = NULL;
	memset(&s->shown, 0, sizeof(s->shown));
	return had;
}

static int same_shown(const struct watch_file *a, const struct watch_file *b)
{
	return a->state == b->state && a->open == b->open && b->opened == 0 &&
	       b->refused == 0 && b->missing == 0 && strcmp(a->err, b->err) == 0;
}

/* Under the lock: what the seats say, the counts added to those not yet taken. */
static void tell(struct geo_watch *w)
{
	for (int i = 0; i < GEO_FILES_MAX; i++) {
		struct watch_file *out = &w->report.file[i], was = *out;
		struct watch_file *now = &w->seat[i].shown;

		w->news |= !same_shown(out, now);
		*out = *now;
		out->opened += was.opened;
		out->refused += was.refused;
		out->missing += was.missing;
		now->opened = now->refused = now->missing = 0;
	}
}

/* Leaves a set of what the seats hold now, and the report. */
static void leave(struct geo_watch *w, int changed, int kicked)
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
	w->news |= kicked;
	if (fresh)
		w->next = fresh;
	news = w->news || fresh;
	pthread_mutex_unlock(&w->lock);
	if (news)
		kid_ring(w->bell_fd);
}

static void look(struct geo_watch *w, const struct geo_paths *paths, int kicked)
{
	int changed = w->stale;

	for (int i = 0; i < GEO_FILES_MAX && !atomic_load(&w->quit); i++) {
		struct geo_file *former = w->seat[i].file;

		changed |= take_path(&w->seat[i], paths->path[i]);
		changed |= look_at(w, &w->seat[i], kicked);
		close_unused(w, former); /* it never was in a set */
	}
	if (!atomic_load(&w->quit))
		leave(w, changed, kicked);
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
		int kicked, late = 0;

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
		kicked = w->kicked;
		w->kicked = 0;
		paths = w->wanted;
		pthread_mutex_unlock(&w->lock);
		look(w, &paths, kicked);
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
		for (int i = 0; i < GEO_FILES_MAX; i++) {
			struct watch_file *f = &w->report.file[i];

			f->opened = f->refused = f->missing = 0;
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
