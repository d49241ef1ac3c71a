/*
 * redis_guard.c -- see redis_guard.h.
 */
#include "collector/redis_guard.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <event2/event.h>
#include <hiredis/adapters/libevent.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>

static const char UNASKED[] = "speaks without being asked: it is no Redis";
#define ARRAY "answers with an array: it is no Redis"

/* ---- errors ------------------------------------------------------------------------- */

/* The first word of an error is its code; where there is only ERR, it is the sentence. */
static const struct {
	const char *code;
	enum redis_how how;
} CODES[] = {
	{"NOAUTH", REDISHOW_PASSWORD},
	{"WRONGPASS", REDISHOW_PASSWORD},
	{"ERR AUTH", REDISHOW_PASSWORD},
	{"ERR Client sent AUTH", REDISHOW_PASSWORD},
	{"ERR invalid password", REDISHOW_PASSWORD},
	{"NOPERM", REDISHOW_DENIED},
	{"DENIED", REDISHOW_DENIED},
	{"ERR max number of clients", REDISHOW_DENIED},
	{"LOADING", REDISHOW_LOADING},
	{"MASTERDOWN", REDISHOW_LOADING},
	{"OOM", REDISHOW_FULL},
	{"READONLY", REDISHOW_READ_ONLY},
	{"MISCONF", REDISHOW_READ_ONLY},
	{"NOREPLICAS", REDISHOW_READ_ONLY},
	{"MOVED", REDISHOW_CLUSTER},
	{"ASK", REDISHOW_CLUSTER},
	{"CROSSSLOT", REDISHOW_CLUSTER},
	{"CLUSTERDOWN", REDISHOW_CLUSTER},
	{"TRYAGAIN", REDISHOW_CLUSTER},
	{"ERR SELECT is not allowed in cluster mode", REDISHOW_CLUSTER},
	{"Protocol error", REDISHOW_GARBAGE},
	{"Bad integer value", REDISHOW_GARBAGE},
	{"Bad bulk string length", REDISHOW_GARBAGE},
	{"Multi-bulk length", REDISHOW_GARBAGE},
	{"Bulk string length", REDISHOW_GARBAGE},
	{"No support for nested", REDISHOW_GARBAGE},
	{ARRAY, REDISHOW_GARBAGE}, /* redis_guard_end */
};

static int is_code(const char *text, const char *code)
{
	size_t len = strlen(code);

	return strncmp(text, code, len) == 0 &&
	       (text[len] == '\0' || text[len] == ' ' || text[len] == ',');
}

/* Before Redis 7, in a script, the error stands in a sentence: ... : -OOM command ... */
static const char *inner(const char *text)
{
	const char *at = strncmp(text, "ERR Error running script", 24) == 0
				 ? strstr(text, ": -")
				 : NULL;

	return at ? at + 3 : text;
}

enum redis_how redis_guard_error(const char *text)
{
	text = inner(text);
	for (size_t i = 0; i < PS_ARRAY_LEN(CODES); i++)
		if (is_code(text, CODES[i].code))
			return CODES[i].how;
	return REDISHOW_ERROR;
}

/* ---- bytes -------------------------------------------------------------------------- */

/* hiredis takes the NULL for a lack of memory, so it is noted that it is none. */
static void *no_array(const redisReadTask *task, int elements)
{
	redisReader *reader = task->privdata;

	(void)elements;
	reader->privdata = NULL;
	return NULL;
}

static void refuse_arrays(redisReader *reader)
{
	static redisReplyObjectFunctions fn;

	fn = *reader->fn;
	fn.createArray = no_array;
	reader->fn = &fn;
	reader->privdata = reader; /* what no_array finds in each task */
}

const char *redis_guard_end(const struct redisAsyncContext *ctx)
{
	return ctx->c.reader->privdata ? ctx->errstr : ARRAY;
}

int redis_guard_attach(struct redisAsyncContext *ctx, struct event_base *base,
		       event_callback_fn on_readable)
{
	redisLibeventEvents *e;
	struct event *readable = event_new(base, ctx->c.fd, EV_READ, on_readable, ctx);

	if (!readable)
		return -1;
	if (redisLibeventAttach(ctx, base) != REDIS_OK) {
		event_free(readable);
		return -1;
	}
	e = ctx->ev.data;
	event_free(e->rev);
	e->rev = readable; /* freed with the rest of it */
	event_add(readable, NULL);
	refuse_arrays(ctx->c.reader);
	return 0;
}

/* Nothing is due: the end of the connection may come, and an error, which hiredis takes for
 * the reason of that end. Not a read where there is nothing: it would take away the socket's
 * own error. */
static int is_unasked(int fd)
{
	int there = 0;
	char first;

	return ioctl(fd, FIONREAD, &there) == 0 && there > 0 &&
	       recv(fd, &first, 1, MSG_PEEK | MSG_DONTWAIT) == 1 && first != '-';
}

const char *redis_guard_read(const struct redisAsyncContext *ctx, unsigned due)
{
	const redisReader *reader = ctx->c.reader;

	if (due == 0 && is_unasked(ctx->c.fd))
		return UNASKED;
	if (reader->len - reader->pos > REDIS_REPLY_MAX)
		return "answers more than it was asked for: it is no Redis";
	return NULL;
}

const char *redis_guard_reply(const struct redisAsyncContext *ctx, unsigned due)
{
	const redisReader *reader = ctx->c.reader;

	return due == 0 && reader->pos < reader->len ? UNASKED : NULL;
}
