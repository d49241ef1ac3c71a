/* strict_int.h -- between strict.c (llhttp and its callbacks) and strict_lines.c (the
 * reader of lines that stands before it). Nobody else includes it. */
#ifndef PEERSCOPE_WORKER_STRICT_INT_H
#define PEERSCOPE_WORKER_STRICT_INT_H

#include "worker/strict.h"

/* The first refusal counts. Returns what a callback of llhttp returns to stop it. */
int strict_refuse(struct strict *s, int status, const char *word, const char *why);

int strict_is_token(unsigned char c);		/* tchar of RFC 9110 */
/* Blank lines (RFC 9112 2.2 wants one to be ignored) and the method with its space.
 * Returns the bytes taken; *done is 1 once the space was read. */
size_t strict_read_method(struct strict *s, const char *p, size_t n, int *done);
/* How many bytes llhttp may have: up to the end of the head, or of what is wrong. */
size_t strict_read_lines(struct strict *s, const char *p, size_t n);
/* Refuse a first line that does not end as one of HTTP/1.0 or 1.1 does. */
int strict_refuse_protocol(struct strict *s);

#endif
