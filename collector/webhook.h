/*
 * webhook.h -- a message to a server that a client of ours has named: signed, so that it
 * knows whose it is; and only to addresses of the world, so that nobody can have us knock
 * on doors behind us (web_ask.may).
 *
 *   POST <url>
 *   Content-Type: application/json
 *   X-Peerscope-Job: <id>
 *   X-Peerscope-Timestamp: <seconds since 1970>
 *   X-Peerscope-Signature: sha256=<HMAC-SHA256 of timestamp, ".", body, with the key; hex>
 *
 * Any 2xx is a delivery; a redirect is none. Up to WEBHOOK_TRIES tries, each signed anew;
 * a message may come twice (we died before we knew), so its job's id is its name. It does not
 * leave through swarm.interface: like Gluetun and the engine it is no BitTorrent.
 * Proof: tests/unit/test_webhook.c, tests/e2e/test_metadata_jobs.py.
 */
#ifndef PEERSCOPE_COLLECTOR_WEBHOOK_H
#define PEERSCOPE_COLLECTOR_WEBHOOK_H

#include "collector/web.h"

#define WEBHOOK_TRIES 3
#define WEBHOOK_AT_ONCE 8		/* under way */
#define WEBHOOK_TIMEOUT_MS 10000
#define WEBHOOK_CONNECT_MS 5000
#define WEBHOOK_ANSWER_MAX 65536	/* bytes; nobody reads them */
#define WEBHOOK_PAUSE_MAX_MS 300000	/* whatever Retry-After says */
#define WEBHOOK_SIGNATURE 72		/* "sha256=", 64 digits, NUL */

struct webhook {
	const char *url, *secret, *id;
	const char *body;
	size_t len;
	uint64_t now_s;			/* wall clock */
	int allow_private;
};

void webhook_sign(char out[WEBHOOK_SIGNATURE], const char *secret, uint64_t now_s,
		  const void *body, size_t len);
/* After so many tries, of which none was heard: how long to wait for the next one; 0: there
 * is none. retry_after_ms: of the last answer, or 0. */
uint64_t webhook_pause_ms(uint32_t tries, uint64_t retry_after_ms);
/* As web_start; nothing is borrowed. */
PS_MUST struct web_req *webhook_post(struct web *web, const struct webhook *w, web_fn *fn,
				     void *arg, char err[ERRLEN]);

#endif
