/*
 * own.c -- which endpoints are our own, so that we list nobody for ourselves. Addresses are
 * local ones and what the world calls us, ports those that we listen on.
 */
#include <string.h>

#include "collector/coll.h"

static int is_own(const struct coll *c, const uint8_t addr[ADDR_LEN], uint16_t port)
{
	uint32_t i;

	for (i = 0; i < c->nports && c->own_port[i] != port; i++)
		;
	if (i == c->nports)
		return 0;
	for (i = 0; i < c->nown; i++)
		if (memcmp(c->own_addr[i], addr, ADDR_LEN) == 0)
			return 1;
	return 0;
}

int own_may_be(const struct coll *c, const uint8_t addr[ADDR_LEN],
	       const uint8_t from[ADDR_LEN])
{
	int known = 0;

	if (!addr_is_global(addr))
		return !addr_is_global(from);
	for (uint32_t i = 0; i < c->nown; i++) {
		const uint8_t *own = c->own_addr[i];

		if (memcmp(own, addr, ADDR_LEN) == 0)
			return 1;
		known |= addr_is_global(own) && addr_is_v4(own) == addr_is_v4(addr);
	}
	return !known;
}

/* The newest last. A port that Gluetun has changed stays ours for a while: trackers go on
 * telling it. */
static void learn_port(struct coll *c, uint16_t port)
{
	uint32_t i;

	for (i = 0; i < c->nports && c->own_port[i] != port; i++)
		;
	if (i == c->nports && c->nports == PS_ARRAY_LEN(c->own_port))
		i = 0;
	if (i == c->nports)
		c->nports++;
	else
		memmove(c->own_port + i, c->own_port + i + 1,
			(c->nports - i - 1) * sizeof(c->own_port[0]));
	c->own_port[c->nports - 1] = port;
}

void own_learn(struct coll *c, const uint8_t addr[ADDR_LEN], uint16_t port)
{
	uint32_t i;

	for (i = 0; i < c->nown && memcmp(c->own_addr[i], addr, ADDR_LEN) != 0; i++)
		;
	if (i == c->nown && c->nown == OWN_MAX) /* the oldest one out */
		memmove(c->own_addr[0], c->own_addr[1], (size_t)--c->nown * ADDR_LEN);
	if (i >= c->nown)
		memcpy(c->own_addr[c->nown++], addr, ADDR_LEN);
	if (port)
		learn_port(c, port);
}

/* Heard of before we knew that it is us. */
static void forget_ourselves(struct swarm *w, void *arg)
{
	const struct coll *c = arg;

	for (uint32_t i = 0; i < c->nown; i++)
		for (uint32_t j = 0; j < c->nports; j++)
			swarm_forget(w, c->own_addr[i], c->own_port[j]);
}

void own_forget_peers(struct coll *c)
{
	swarms_each(c->swarms, forget_ourselves, c);
}

int own_may_list(const struct coll *c, const uint8_t addr[ADDR_LEN], uint16_t port)
{
	return port != 0 && !is_own(c, addr, port) &&
	       (c->kid.conf.swarm_allow_private || addr_is_global(addr));
}
