/*
 * swarm_word.c -- who is the source of a stream, by the word of others (message 36). See
 * swarm_ace.h.
 *
 * A peer has one word: the endpoint that it named in its last call. It counts while that
 * peer is reachable and listed, is replaced by what the next call says, and withdrawn by one
 * that says nothing of it. Nobody makes his own address the source. So one liar makes one
 * wrong source, for as long as he is there to say so.
 */
#include <string.h>

#include "collector/swarm.h"

#define NAMED 1 /* as of the last time */
#define NOW 2   /* and as of this one */

enum peer_role swarm_word_role(const struct peer *p)
{
	return p->ace.named_source ? ROLE_SOURCE : (enum peer_role)p->ace.role;
}

static int counts(const struct swarm *w, const struct peer *p, uint64_t now_ms)
{
	return p->ace.word.port && !p->ace.twin && swarm_ace_reached(w, p, now_ms) &&
	       memcmp(p->ace.word.addr, p->addr, ADDR_LEN) != 0;
}

/* What an earlier life knew, while it would still be known: nobody remembers whose word it
 * was. Then the peer is what it says of itself. */
static int is_heirloom(const struct swarm *w, struct peer *p, uint64_t now_ms)
{
	if (p->ace.role == ROLE_SOURCE && !swarm_ace_reached(w, p, now_ms))
		p->ace.role = ROLE_UNKNOWN;
	return p->ace.role == ROLE_SOURCE;
}

void swarm_word_judge(struct swarm *w, uint64_t now_ms)
{
	int any = 0, changed = 0;

	if (!w->ace.words)
		return;
	for (uint32_t i = 0; i < w->npeers; i++) {
		struct peer_ace *a = &w->peer[i].ace;
		struct peer *named = NULL;

		any |= is_heirloom(w, &w->peer[i], now_ms);
		if (counts(w, &w->peer[i], now_ms))
			named = swarm_find_peer(w, a->word.addr, a->word.port);
		any |= a->word.port != 0;
		if (named)
			named->ace.named_source |= NOW;
	}
	for (uint32_t i = 0; i < w->npeers; i++) {
		struct peer_ace *a = &w->peer[i].ace;

		changed |= a->named_source == NAMED || a->named_source == NOW;
		a->named_source = a->named_source & NOW ? NAMED : 0;
	}
	w->ace.words = (uint8_t)any;
	if (changed) {
		w->changed_ms = now_ms;
		w->important = 1;
	}
}

static void say(struct swarm *w, const struct ace_target *by,
		const struct lt_endpoint *word, uint64_t now_ms)
{
	struct peer *p = swarm_find_peer(w, by->addr, by->port);

	if (!p || by->life != w->ace.life)
		return;
	p->ace.word = *word;
	w->ace.words |= word->port != 0;
	swarm_word_judge(w, now_ms);
}

struct peer *swarm_ace_source(struct swarm *w, const struct ace_target *by,
			      const struct lt_endpoint *word, uint32_t key,
			      uint64_t now_ms, uint32_t now_s, struct swarm_news *news)
{
	struct peer *p = swarm_ace_heard(w, word->addr, word->port, PEER_SRC_PEX, key,
					 now_ms, now_s, news);

	if (!p)
		return NULL;
	p->ace.gossiped = 1;
	say(w, by, word, now_ms);
	return p;
}

void swarm_ace_no_source(struct swarm *w, const struct ace_target *by, uint64_t now_ms)
{
	static const struct lt_endpoint nobody;

	say(w, by, &nobody, now_ms);
}
