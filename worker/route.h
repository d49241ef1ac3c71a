/*
 * route.h -- one table of routes. Adding one is one row and one function.
 */
#ifndef PEERSCOPE_WORKER_ROUTE_H
#define PEERSCOPE_WORKER_ROUTE_H

#include "worker/http.h"

#define ROUTE_GET 1u			/* and HEAD */
#define ROUTE_POST 2u
#define ROUTE_CORS 4u			/* pages of any origin may ask (contracts/metadata.md) */

struct route {
	const char *pattern;		/* {name} is one segment of the path */
	unsigned methods;
	void (*handle)(struct ask *a);
};

enum route_rc { ROUTE_OK = 0, ROUTE_NONE = 1, ROUTE_METHOD = 2, ROUTE_BAD = 3 };

/* Which row of table[0 .. n) a target (path, maybe ?query) means. part: {}, decoded.
 * METHOD: *allowed is the mask of methods that the path has, with
 * ROUTE_CORS, and *out its first row. BAD: malformed escape. */
PS_MUST enum route_rc route_find(const struct route *table, size_t n, const char *target,
				 unsigned method, const struct route **out,
				 unsigned *allowed, char part[HTTP_PART_MAX + 1]);

/* Routes as counts know them (httpstat.h): 1 .. route_count(), 0 is none. Several rows of
 * one path have numbers of their own. */
uint32_t route_count(void);
const char *route_pattern(uint32_t number);
/* The number of the row that this function answers. */
uint32_t route_number(void (*handle)(struct ask *a));

#endif
