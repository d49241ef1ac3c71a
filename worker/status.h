/*
 * status.h -- status codes: their phrases, their counters, and the one form of an
 * error: {"error": "<code word>", "message": "<sentence>"}.
 */
#ifndef PEERSCOPE_WORKER_STATUS_H
#define PEERSCOPE_WORKER_STATUS_H

#include "common/buf.h"

#define STATUS_RETRY_S 1		/* Retry-After of a 503 that passes soon */

const char *status_phrase(int status);
/* One answer was given; counts it and its class. */
void status_count(int status);
void status_error_json(struct buf *out, const char *word, const char *message);

#endif
