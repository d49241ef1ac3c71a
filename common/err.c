/* err.c -- see err.h. */
#include "common/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int err_set(char err[ERRLEN], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, ERRLEN, fmt, ap);
	va_end(ap);
	return -1;
}

int err_errno(char err[ERRLEN], const char *fmt, ...)
{
	int saved = errno;
	size_t used;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, ERRLEN, fmt, ap);
	va_end(ap);
	used = strlen(err);
	snprintf(err + used, ERRLEN - used, ": %s", strerror(saved));
	errno = saved;
	return -1;
}

/* Nobody may be there to read them; the signal, or the exit code, says enough. */
static void say_plainly(const char *words)
{
	dprintf(STDERR_FILENO, "peerscope[%ld] last words: %s\n", (long)getpid(), words);
}

static void (*say_last)(const char *words) = say_plainly;

void err_last_words(void (*say)(const char *words))
{
	say_last = say;
}

void ps_assert_failed(const char *what, const char *file, int line)
{
	char words[512];

	snprintf(words, sizeof(words), "assert %s:%d: %s", file, line, what);
	say_last(words);
	abort();
}

void *xcalloc(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p) {
		say_last("out of memory at start");
		_exit(1);
	}
	return p;
}
