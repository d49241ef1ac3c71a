/* metabatch.c -- several questions for metadata in one; see metabatch.h. */
#include "worker/metabatch.h"

#include <stdlib.h>
#include <string.h>

#include "shm/stat.h"
#include "worker/metaask.h"
#include "worker/metadata.h"

struct batch;

struct item {
	struct http_part part; /* first: done gets this */
	struct batch *batch;
	struct evbuffer *body; /* NULL: not done */
};

struct batch {
	struct waiting waiting; /* first: http_wait has this */
	struct ask ask;
	int n, left; /* items that are not done, and one while they are begun */
	struct item item[];
};

/* The items count until their bytes are sent. */
static void batch_free(struct batch *b)
{
	for (int i = 0; i < b->n; i++)
		if (b->item[i].body)
			evbuffer_free(b->item[i].body);
	free(b);
}

/* --- the answer ------------------------------------------------------------------- */

struct count {
	struct worker *w;
	uint32_t items;
};

static void once_sent(const void *data, size_t len, void *arg)
{
	struct count *c = arg;

	(void)data;
	(void)len;
	c->w->batch_items -= c->items;
	free(c);
}

/* The last byte of the answer gives the items' places back. */
static int add_end(struct evbuffer *out, const struct batch *b)
{
	struct count *c = malloc(sizeof *c);

	if (!c)
		return -1;
	c->w = b->ask.w;
	c->items = (uint32_t)b->n;
	if (evbuffer_add_reference(out, "]", 1, once_sent, c) == 0)
		return 0;
	free(c);
	return -1;
}

static struct evbuffer *joined(struct batch *b)
{
	struct evbuffer *out = evbuffer_new();

	if (!out || evbuffer_add(out, "[", 1) != 0)
		goto bad;
	for (int i = 0; i < b->n; i++) {
		struct evbuffer *body = b->item[i].body;

		if ((i > 0 && evbuffer_add(out, ",", 1) != 0) || !body ||
		    evbuffer_add_buffer(out, body) != 0)
			goto bad;
	}
	if (add_end(out, b) == 0)
		return out;
bad:
	if (out)
		evbuffer_free(out);
	return NULL;
}

static void one_less(struct batch *b)
{
	struct ask a = b->ask;
	struct evbuffer *out;

	if (--b->left > 0)
		return;
	http_wait(&a, NULL);
	out = joined(b);
	if (!out)
		a.w->batch_items -= (uint32_t)b->n;
	batch_free(b);
	if (out)
		http_buffer(&a, 200, out);
	else
		metadata_no_memory(&a);
}

static void done(struct http_part *p, struct evbuffer *body)
{
	struct item *it = (struct item *)(void *)p;

	it->body = body;
	one_less(it->batch);
}

static void gone(struct worker *w, struct waiting *me)
{
	struct batch *b = (struct batch *)(void *)me;

	for (int i = 0; i < b->n; i++)
		if (b->item[i].part.waiting)
			b->item[i].part.waiting->gone(w, b->item[i].part.waiting);
	w->batch_items -= (uint32_t)b->n;
	batch_free(b);
}

/* --- the question ------------------------------------------------------------------ */

static void begin_item(struct item *it, struct metaask_list *list)
{
	struct magnet *link = malloc(sizeof *link);
	struct ask a = it->batch->ask;
	struct metaask_fault f;

	a.one = &it->part;
	it->part.done = done;
	if (!link) {
		metadata_no_memory(&a);
	} else if (metaask_next(list, link, &f) == METAASK_LINK) {
		metadata_link(&a, link);
	} else {
		free(link);
		http_fault(&a, f.status, f.error, f.code, "%s", f.message);
	}
}

static void begin(struct batch *b, struct metaask_list *list)
{
	b->left = b->n + 1;
	b->waiting.gone = gone;
	for (int i = 0; i < b->n; i++)
		b->item[i].batch = b;
	for (int i = 0; i < b->n; i++)
		begin_item(&b->item[i], list);
	http_wait(&b->ask, &b->waiting);
	one_less(b);
}

/* NULL: answered. */
static struct batch *batch_new(struct ask *a, int n)
{
	struct batch *b;

	if (a->w->batch_items + (uint32_t)n > METABATCH_OPEN) {
		stat_inc(meta_batches_full);
		http_fault(a, 503, METADATA_FAILED, "busy",
			   "Too many items of other batches are under way.");
		return NULL;
	}
	b = calloc(1, sizeof *b + (size_t)n * sizeof b->item[0]);
	if (!b) {
		metadata_no_memory(a);
		return NULL;
	}
	b->ask = *a;
	b->n = n;
	a->w->batch_items += (uint32_t)n;
	return b;
}

void metabatch_post(struct ask *a)
{
	struct evkeyvalq *h = evhttp_request_get_input_headers(a->req);
	const struct buf *body = &gate_request(a->conn)->body;
	struct metaask_list list;
	struct metaask_fault f;
	struct batch *b;
	int async;

	if (metadata_query(a, &async) != 0)
		return;
	if (async) {
		http_fault(a, 400, "Invalid query", "async_batch",
			   "async is for single questions.");
		return;
	}
	if (metaask_list(&list, evhttp_find_header(h, "Content-Type"),
			 body->p ? body->p : "", body->len, &f) != 0) {
		http_fault(a, f.status, f.error, f.code, "%s", f.message);
		return;
	}
	gate_drop_body(a->conn);
	stat_inc(meta_batches);
	b = batch_new(a, list.n);
	if (b)
		begin(b, &list);
	metaask_list_free(&list);
}
