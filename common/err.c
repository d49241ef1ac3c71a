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

void ps_assert_failed(const char *what, const char *file, int line)
{
	char words[512];
	int n = snprintf(words, sizeof(words), "peerscope[%ld] assert %s:%d: %s\n",
			 (long)getpid(), file, line, what);
	size_t len = n < (int)sizeof(words) ? (size_t)n : sizeof(words) - 1;

	if (write(STDERR_FILENO, words, len) < 0)
		abort(); /* nobody to tell; the signal says enough */
	abort();
}

void *xcalloc(size_t n, size_t size)
{
	static const char words[] = "peerscope: out of memory at start\n";
	void *p = calloc(n, size);

	if (!p) {
		if (write(STDERR_FILENO, words, sizeof(words) - 1) < 0)
			_exit(2);
		_exit(1);
	}
	return p;
}
