/* webhook.c -- signed messages to clients' servers; see webhook.h. */
#include "collector/webhook.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

void webhook_sign(char out[WEBHOOK_SIGNATURE], const char *secret, uint64_t now_s,
		  const void *body, size_t len)
{
	unsigned char mac[crypto_auth_hmacsha256_BYTES];
	crypto_auth_hmacsha256_state st;
	char head[32];
	int n = snprintf(head, sizeof head, "%llu.", (unsigned long long)now_s);

	crypto_auth_hmacsha256_init(&st, (const unsigned char *)secret, strlen(secret));
	crypto_auth_hmacsha256_update(&st, (const unsigned char *)head, (size_t)n);
	crypto_auth_hmacsha256_update(&st, body, len);
	crypto_auth_hmacsha256_final(&st, mac);
	memcpy(out, "sha256=", 7);
	sodium_bin2hex(out + 7, WEBHOOK_SIGNATURE - 7, mac, sizeof mac);
	sodium_memzero(&st, sizeof st);
}

uint64_t webhook_pause_ms(uint32_t tries, uint64_t retry_after_ms)
{
	static const uint64_t pause_ms[WEBHOOK_TRIES] = {0, 5000, 30000};
	uint64_t ms;

	if (tries >= WEBHOOK_TRIES)
		return 0;
	ms = pause_ms[tries] > retry_after_ms ? pause_ms[tries] : retry_after_ms;
	return ms < WEBHOOK_PAUSE_MAX_MS ? ms : WEBHOOK_PAUSE_MAX_MS;
}

static int may_world(void *arg, const uint8_t addr[ADDR_LEN])
{
	(void)arg;
	return addr_is_global(addr);
}

static int may_any(void *arg, const uint8_t addr[ADDR_LEN])
{
	(void)arg;
	(void)addr;
	return 1;
}

struct web_req *webhook_post(struct web *web, const struct webhook *w, web_fn *fn,
			     void *arg, char err[ERRLEN])
{
	char job[80], when[64], sign[WEBHOOK_SIGNATURE], signature[128];
	const char *headers[] = {"Content-Type: application/json",
				 "Expect:", /* libcurl would wait for a 100 */
				 job,
				 when,
				 signature,
				 NULL};
	struct web_ask ask = {
		.url = w->url,
		.headers = headers,
		.timeout_ms = WEBHOOK_TIMEOUT_MS,
		.connect_ms = WEBHOOK_CONNECT_MS,
		.max_body = WEBHOOK_ANSWER_MAX,
		.post = w->body,
		.post_len = w->len,
		.may = w->allow_private ? may_any : may_world,
		.fn = fn,
		.arg = arg,
	};

	webhook_sign(sign, w->secret, w->now_s, w->body, w->len);
	snprintf(job, sizeof job, "X-Peerscope-Job: %s", w->id);
	snprintf(when, sizeof when, "X-Peerscope-Timestamp: %llu",
		 (unsigned long long)w->now_s);
	snprintf(signature, sizeof signature, "X-Peerscope-Signature: %s", sign);
	return web_start(web, &ask, err);
}
