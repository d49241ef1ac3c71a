/*
 * status.h -- status codes: their phrases, their counters, and the one form of an
 * error: {"error": "<what clients know>", "message": "<sentence>", "code": "<word>",
 * "request_id": "<as in X-Request-Id>"}. Ours
 * have the word in "error", too; where a contract has words of its own, they stand there.
 */
#ifndef PEERSCOPE_WORKER_STATUS_H
#define PEERSCOPE_WORKER_STATUS_H

#include "common/buf.h"

#define STATUS_RETRY_S 1		/* Retry-After of a 503 that passes soon */

const char *status_phrase(int status);
/* One answer was given; counts it and its class. */
void status_count(int status);
void status_error_json(struct buf *out, const char *error, const char *message,
		       const char *code, const char *request_id);
/* The same where no status line and no Retry-After (0: none) stand beside it. */
void status_part_json(struct buf *out, const char *error, const char *message,
		      const char *code, int status, uint32_t retry_s);

#endif
