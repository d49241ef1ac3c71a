/* aceleave.c -- see aceleave.h. */
#include "collector/aceleave.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>
#include <sodium.h>

#include "common/clock.h"
#include "shm/stat.h"

#define READ_BYTES 4096

struct leaving {
	struct aceleave *all;
	struct leaving *next, **at;
	struct event *ev;
	int fd;
	size_t bytes;
	uint64_t until_ms;
};

struct aceleave {
	struct event_base *base;
	uint32_t ms, count;
	struct leaving *oldest, **end;
};

static void let_go(struct leaving *v)
{
	*v->at = v->next;
	if (v->next)
		v->next->at = v->at;
	else
		v->all->end = v->at;
	stat_set(ace_leaving, --v->all->count);
	event_free(v->ev);
	close(v->fd);
	free(v);
}

/* 1: nothing more can come, or only too much. Node ids are in it: wiped. */
static int throw_away(struct leaving *v)
{
	uint8_t heard[READ_BYTES];
	ssize_t n = 0;

	while (v->bytes > 0) {
		n = recv(v->fd, heard, v->bytes < READ_BYTES ? v->bytes : READ_BYTES, 0);
		if (n <= 0)
			break;
		v->bytes -= (size_t)n;
		sodium_memzero(heard, (size_t)n);
	}
	return v->bytes > 0 && (n == 0 || (errno != EAGAIN && errno != EINTR));
}

/* Until something comes; if no more of it may be read, only for the time that is left. */
static void on_event(evutil_socket_t fd, short what, void *arg)
{
	struct leaving *v = arg;
	uint64_t now = clock_ms();
	struct timeval tv;

	(void)fd;
	(void)what;
	if (throw_away(v) || now >= v->until_ms ||
	    event_assign(v->ev, v->all->base, v->fd, v->bytes > 0 ? EV_READ : 0, on_event,
			 v) != 0) {
		let_go(v);
		return;
	}
	tv.tv_sec = (time_t)((v->until_ms - now) / 1000);
	tv.tv_usec = (suseconds_t)((v->until_ms - now) % 1000 * 1000);
	if (event_add(v->ev, &tv) != 0)
		let_go(v);
}

void aceleave_take(struct aceleave *l, int fd, size_t bytes, uint32_t max)
{
	struct leaving *v = calloc(1, sizeof(*v));

	if (v)
		v->ev = event_new(l->base, fd, EV_READ, on_event, v);
	/* Not connected any more: there is nothing to wait for. */
	if (!v || !v->ev || shutdown(fd, SHUT_WR) != 0) {
		if (v && v->ev)
			event_free(v->ev);
		free(v);
		close(fd);
		return;
	}
	v->all = l;
	v->fd = fd;
	v->bytes = bytes;
	v->until_ms = clock_ms() + l->ms;
	v->at = l->end;
	*l->end = v;
	l->end = &v->next;
	stat_set(ace_leaving, ++l->count);
	on_event(fd, 0, v);
	while (l->count > max) {
		stat_inc(ace_left_early);
		let_go(l->oldest);
	}
}

int aceleave_open(struct aceleave **out, struct event_base *base, uint32_t ms)
{
	struct aceleave *l = calloc(1, sizeof(*l));

	if (!l)
		return -1;
	l->base = base;
	l->ms = ms;
	l->end = &l->oldest;
	*out = l;
	return 0;
}

void aceleave_close(struct aceleave **l)
{
	if (!*l)
		return;
	while ((*l)->oldest)
		let_go((*l)->oldest);
	free(*l);
	*l = NULL;
}
