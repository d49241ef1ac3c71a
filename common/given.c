/* given.c -- see given.h. */
#include "common/given.h"

#include <string.h>

int given_add(struct given *g, const char *value, char err[ERRLEN])
{
	struct given_peer p;

	memset(&p, 0, sizeof(p));
	if (addr_endpoint(p.addr, &p.port, value) != 0)
		return err_set(err,
			       "x.pe is an address and a port, as in 192.0.2.7:6881 or "
			       "[2001:db8::1]:6881; host names are not looked up.");
	for (uint32_t i = 0; i < g->n; i++)
		if (memcmp(&g->peer[i], &p, sizeof(p)) == 0)
			return 0;
	if (g->n == GIVEN_MAX)
		return err_set(err, "x.pe names at most %d peers.", GIVEN_MAX);
	g->peer[g->n++] = p;
	return 0;
}
