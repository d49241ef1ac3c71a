/* metaread.c -- see metaread.h. */
#include "collector/metaread.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/file.h"
#include "common/kid.h"
#include "common/thread.h"
#include "shm/lane.h"

enum state { FREE, GIVEN, READ };

struct metaread {
	int bell_fd;
	struct thread t;
	/* Under the lock; ask and done are the thread's alone while GIVEN. */
	enum state state;
	struct metaread_ask ask;
	struct metaread_done done;
	struct metainfo_beside beside; /* the thread's: too large for its stack */
};

/* --- the thread --------------------------------------------------------------- */

/* Which torrent it was, and what stood beside its info dict, for the worker. */
static int write_key(const struct metaread *r, const struct lt_ids *ids, char err[ERRLEN])
{
	char path[METAREAD_PATH + 8], hex[IH_HEX_LEN];
	struct buf text;
	size_t own;
	int rc = err_set(err, "out of memory");

	ih_hex(hex, ids->has_v1 ? ids->v1 : ids->v2);
	snprintf(path, sizeof(path), "%s.key", r->ask.path);
	buf_init(&text, IH_HEX_LEN + LANE_BESIDE_MAX);
	buf_printf(&text, "%s\n", hex);
	own = text.len;
	metainfo_json_beside(&text, &r->beside);
	if (own == IH_HEX_LEN && text.len >= own)
		rc = file_write(path, text.p, text.failed ? own : text.len, err);
	buf_free(&text);
	return rc;
}

static void hash(struct lt_ids *out, const struct metainfo *m)
{
	out->has_v1 = (uint8_t)m->has_v1;
	out->has_v2 = (uint8_t)m->has_v2;
	if (m->has_v1)
		SHA1(m->info.p, m->info.len, out->v1);
	if (m->has_v2)
		SHA256(m->info.p, m->info.len, out->v2);
}

/* Of bytes, which are the whole .torrent of a path, or an info dict. */
static enum metaread_rc understand(struct metaread *r, struct metaread_done *d)
{
	struct benc info = {.p = NULL};
	const void *at = d->bytes;
	size_t len = d->len;

	if (r->ask.path[0]) {
		if (metainfo_split(&info, &r->beside, d->bytes, d->len, d->err) != 0)
			return METAREAD_BAD;
		at = info.p;
		len = info.len;
	}
	if (metainfo_read(&d->m, at, len, d->err) != 0)
		return METAREAD_BAD;
	hash(&d->ids, &d->m);
	if (r->ask.path[0] && write_key(r, &d->ids, d->err) != 0)
		return METAREAD_GONE;
	return METAREAD_OK;
}

static void work(struct metaread *r)
{
	struct metaread_done *d = &r->done;
	int there = 1;

	memset(d, 0, sizeof(*d));
	d->rc = METAREAD_GONE;
	d->bytes = r->ask.bytes;
	d->len = r->ask.len;
	if (r->ask.path[0])
		there = file_read(r->ask.path, METAINFO_MAX, &d->bytes, &d->len, d->err);
	if (there == 1)
		d->rc = understand(r, d);
	else if (there == 0)
		(void)err_set(d->err, "it is gone");
	if (d->rc == METAREAD_OK)
		return;
	free(d->bytes);
	d->bytes = NULL;
}

static void *run(void *arg)
{
	struct metaread *r = arg;

	/* The loop comes first; failing is fine. */
	(void)setpriority(PRIO_PROCESS, (id_t)gettid(), 5);
	pthread_mutex_lock(&r->t.lock);
	for (;;) {
		while (!r->t.quit && r->state != GIVEN)
			pthread_cond_wait(&r->t.cond, &r->t.lock);
		if (r->t.quit)
			break;
		pthread_mutex_unlock(&r->t.lock);
		work(r);
		pthread_mutex_lock(&r->t.lock);
		r->state = READ;
		kid_ring(r->bell_fd);
	}
	pthread_mutex_unlock(&r->t.lock);
	return NULL;
}

/* --- the loop ------------------------------------------------------------------- */

static void drop(struct metaread *r)
{
	if (r->state == GIVEN)
		free(r->ask.bytes);
	else if (r->state == READ)
		free(r->done.bytes);
	free(r);
}

int metaread_open(struct metaread **out, int bell_fd, char err[ERRLEN])
{
	struct metaread *r = calloc(1, sizeof(*r));

	if (!r)
		return err_set(err, "metadata: out of memory");
	r->bell_fd = bell_fd;
	if (thread_open(&r->t, run, r, err) != 0) {
		drop(r);
		return -1;
	}
	*out = r;
	return 0;
}

void metaread_close(struct metaread **r)
{
	struct metaread *own = *r;

	if (!own)
		return;
	thread_close(&own->t);
	drop(own);
	*r = NULL;
}

int metaread_begin(struct metaread *r, const struct metaread_ask *ask)
{
	int rc = -1;

	pthread_mutex_lock(&r->t.lock);
	if (r->state == FREE) {
		r->ask = *ask;
		r->state = GIVEN;
		pthread_cond_signal(&r->t.cond);
		rc = 0;
	}
	pthread_mutex_unlock(&r->t.lock);
	return rc;
}

int metaread_take(struct metaread *r, struct metaread_done *out)
{
	int rc = 0;

	pthread_mutex_lock(&r->t.lock);
	if (r->state == READ) {
		*out = r->done;
		r->state = FREE;
		rc = 1;
	}
	pthread_mutex_unlock(&r->t.lock);
	return rc;
}
