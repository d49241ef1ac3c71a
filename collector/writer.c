/* writer.c -- see writer.h. */
#include "collector/writer.h"

#include <string.h>

#include "common/file.h"
#include "common/thread.h"

static void *write_it(void *arg)
{
	struct writer *w = arg;

	if (file_write(w->path, w->data.p, w->data.len, w->err) == 0)
		w->err[0] = '\0';
	atomic_store(&w->done, 1);
	return NULL;
}

void writer_open(struct writer *w, size_t max)
{
	memset(w, 0, sizeof(*w));
	buf_init(&w->data, max);
}

static void name(struct writer *w, const char *path)
{
	PS_ASSERT(!w->busy && strlen(path) < sizeof(w->path));
	memcpy(w->path, path, strlen(path) + 1);
}

void writer_start(struct writer *w, const char *path)
{
	name(w, path);
	atomic_store(&w->done, 0);
	w->busy = thread_start(&w->thread, write_it, w, w->err) == 0;
}

void writer_now(struct writer *w, const char *path)
{
	name(w, path);
	(void)write_it(w);
}

int writer_ended(struct writer *w, int wait)
{
	size_t max = w->data.max;

	if (w->busy && !wait && !atomic_load(&w->done))
		return 0;
	if (w->busy)
		pthread_join(w->thread, NULL);
	w->busy = 0;
	buf_free(&w->data);
	buf_init(&w->data, max);
	return 1;
}

void writer_close(struct writer *w)
{
	(void)writer_ended(w, 1);
	buf_free(&w->data);
}
