/*
 * reqid.h -- what a request is called: in X-Request-Id, both ways, in the error that
 * answers it, and in each line of a log that is about it (issue 7, point 5).
 *
 * The name that a client or a proxy in front gives is taken if it is sane; else one is
 * made. It is text for people and for grep: nothing rests on its being unique or true.
 * Proof: tests/unit/test_log.c.
 */
#ifndef PEERSCOPE_COMMON_REQID_H
#define PEERSCOPE_COMMON_REQID_H

#include <stddef.h>

#define REQID_MAX 64			/* bytes */
#define REQID_MADE 32			/* of one that we make: hex digits, as nginx does */

/* 1 to REQID_MAX letters, digits and - _ . ~ : / + = @: UUIDs, base64, trace ids; nothing
 * that a log, JSON, a shell or a header could read otherwise. */
int reqid_sane(const char *s, size_t len);
/* One that no other request of this process has had, and hardly one of another: 16 digits
 * of the process (drawn with the first call, so after the fork), 16 of the request. */
void reqid_make(char out[REQID_MAX + 1]);

#endif
