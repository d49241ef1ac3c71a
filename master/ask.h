/*
 * ask.h -- one HTTP question to a running daemon, for `peers` and `healthcheck`.
 */
#ifndef PEERSCOPE_MASTER_ASK_H
#define PEERSCOPE_MASTER_ASK_H

#include <stddef.h>

#include "common/conf.h"
#include "common/err.h"

#define ASK_URL_MAX 256
#define ASK_PATH_MAX 4096
#define ASK_BODY_MAX (16u << 20)	/* 2,000 peers are about 1 MiB */

struct ask_reply {
	int status;
	char *body;			/* NUL-terminated; the caller frees */
	size_t len;
};

/* Where the daemon of this config listens, seen from here: http://127.0.0.1:8080, or
 * unix:/path if it serves there alone.
 * url, if not NULL, wins. */
PS_MUST int ask_base(char out[ASK_URL_MAX], const char *url, const struct conf *c,
		     char err[ERRLEN]);
/* GET base + path. 0: there is an answer, whatever its status. Else err says why; what
 * was asked is for the caller to say. */
PS_MUST int ask_get(struct ask_reply *out, const char *base, const char *path, int timeout_s,
		    char err[ERRLEN]);

#endif
