/*
 * err.h -- how a function says that something failed.
 *
 * The world failed (syscall, network, input): the function returns -1 and a
 * sentence in err[ERRLEN]. We failed (an invariant): PS_ASSERT, which is kept in
 * release builds, prints last words and aborts; the master starts another one.
 * Nothing here allocates. Proof: tests/unit/test_common.c.
 */
#ifndef PEERSCOPE_COMMON_ERR_H
#define PEERSCOPE_COMMON_ERR_H

#include <stddef.h>

#define ERRLEN 256

/* Exit codes the master understands. */
#define EXIT_STAY_DOWN 78		/* EX_CONFIG: starting again is pointless */

#define PS_MUST __attribute__((warn_unused_result))
#define PS_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define PS_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Format into err; always returns -1, so that `return err_set(...)` reads well. */
int err_set(char err[ERRLEN], const char *fmt, ...) PS_PRINTF(2, 3);
/* The same, followed by ": " and strerror(errno). errno is kept. */
int err_errno(char err[ERRLEN], const char *fmt, ...) PS_PRINTF(2, 3);

/* Who says last words, once there is a log (log_open); before that they go to fd 2. */
void err_last_words(void (*say)(const char *words));

/* Invariant. Says file, line and expression and aborts. */
#define PS_ASSERT(x)                                                          \
	((x) ? (void)0 : ps_assert_failed(#x, __FILE__, __LINE__))
__attribute__((noreturn)) void ps_assert_failed(const char *what, const char *file,
						int line);

/* Start-up only: a failed allocation ends the process with a message. */
PS_MUST void *xcalloc(size_t n, size_t size);

#endif
