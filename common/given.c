/* given.c -- see given.h. */
#include "common/given.h"

#include <string.h>

/* 0, also if it is there already; -1: there is no room. */
static int put(struct given *g, const struct given_peer *p)
{
	for (uint32_t i = 0; i < g->n; i++)
		if (memcmp(&g->peer[i], p, sizeof(*p)) == 0)
			return 0;
	if (g->n == GIVEN_MAX)
		return -1;
	g->peer[g->n++] = *p;
	return 0;
}

uint32_t given_more(struct given *g, const struct given *from)
{
	uint32_t lost = 0;

	for (uint32_t i = 0; i < from->n; i++)
		lost += put(g, &from->peer[i]) != 0;
	return lost;
}

int given_add(struct given *g, const char *value, char err[ERRLEN])
{
	struct given_peer p;

	memset(&p, 0, sizeof(p));
	if (addr_endpoint(p.addr, &p.port, value) != 0)
		return err_set(err,
			       "x.pe is an address and a port, as in 192.0.2.7:6881 or "
			       "[2001:db8::1]:6881; host names are not looked up.");
	if (put(g, &p) != 0)
		return err_set(err, "x.pe names at most %d peers.", GIVEN_MAX);
	return 0;
}
