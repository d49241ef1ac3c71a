/* route.c -- which function answers what; see route.h. */
#include <string.h>

#include "shm/httpstat.h"
#include "worker/health.h"
#include "worker/metabatch.h"
#include "worker/metadata.h"
#include "worker/metalater.h"
#include "worker/metrics.h"
#include "worker/pages.h"
#include "worker/peers.h"
#include "worker/route.h"

static const struct route routes[] = {
	{"/api/v1/health", ROUTE_GET | ROUTE_CORS, metadata_health},
	{"/api/v1/jobs/{id}", ROUTE_GET | ROUTE_CORS, metalater_get},
	{METADATA_PATH, ROUTE_POST | ROUTE_CORS, metadata_post},
	{METADATA_BATCH_PATH, ROUTE_POST | ROUTE_CORS, metabatch_post},
	{"/api/v1/metadata/{hash}", ROUTE_GET | ROUTE_CORS, metadata_get},
	{"/download/{hash}", ROUTE_GET | ROUTE_CORS, metadata_download},
	{"/health", ROUTE_GET, health_get},
	{"/metrics", ROUTE_GET, metrics_get},
	{"/livez", ROUTE_GET, health_livez},
	{"/readyz", ROUTE_GET, health_readyz},
	{"/peers/{id}", ROUTE_GET, peers_get},
	{"/openapi.json", ROUTE_GET | ROUTE_CORS, pages_openapi},
	{"/docs", ROUTE_GET, pages_docs},
	{"/docs/{file}", ROUTE_GET, pages_part},
};

_Static_assert(PS_ARRAY_LEN(routes) < HTTPSTAT_ROUTES, "each is counted apart");

/* Segment by segment, each decoded alone, so that an escaped slash is no separator. */
static int matches(const char *pattern, const char *path, size_t len,
		   char part[HTTP_PART_MAX + 1])
{
	const char *end = path + len;

	while (*pattern == '/' && path < end && *path == '/') {
		char text[HTTP_PART_MAX + 1];
		const char *slash;
		size_t want, have;

		pattern++;
		path++;
		want = strcspn(pattern, "/");
		slash = memchr(path, '/', (size_t)(end - path));
		have = (size_t)((slash ? slash : end) - path);
		/* Too long for a part: the handler sees "", which is nobody's id. */
		if (http_decode(text, sizeof text, path, have, 0) != HTTP_TEXT_OK)
			text[0] = '\0';
		if (*pattern == '{')
			memcpy(part, text, sizeof text);
		else if (strlen(text) != want || memcmp(text, pattern, want) != 0)
			return 0;
		pattern += want;
		path += have;
	}
	return *pattern == '\0' && path == end;
}

enum route_rc route_find(const struct route *table, size_t n, const char *target,
			 unsigned method, const struct route **out, unsigned *allowed,
			 char part[HTTP_PART_MAX + 1])
{
	size_t len = strcspn(target, "?");
	char nothing[1];

	*allowed = 0;
	part[0] = '\0';
	if (http_decode(nothing, sizeof nothing, target, len, 0) == HTTP_TEXT_BAD)
		return ROUTE_BAD;
	for (size_t i = 0; i < n; i++) {
		if (!matches(table[i].pattern, target, len, part))
			continue;
		if (*allowed == 0 || table[i].methods & method)
			*out = &table[i];
		*allowed |= table[i].methods;
		if (table[i].methods & method)
			return ROUTE_OK;
	}
	return *allowed ? ROUTE_METHOD : ROUTE_NONE;
}

uint32_t route_count(void)
{
	return PS_ARRAY_LEN(routes);
}

const char *route_pattern(uint32_t number)
{
	PS_ASSERT(number >= 1 && number <= PS_ARRAY_LEN(routes));
	return routes[number - 1].pattern;
}

uint32_t route_number(void (*handle)(struct ask *a))
{
	for (uint32_t i = 0; i < PS_ARRAY_LEN(routes); i++)
		if (routes[i].handle == handle)
			return i + 1;
	return 0;
}

static void allow(struct ask *a, unsigned allowed)
{
	allowed &= ROUTE_GET | ROUTE_POST;
	http_header(a, "Allow",
		    allowed == ROUTE_GET    ? "GET, HEAD, OPTIONS"
		    : allowed == ROUTE_POST ? "POST, OPTIONS"
					    : "GET, HEAD, POST, OPTIONS");
}

/* As the service that this one replaces has it on all its routes. */
static void cors(struct ask *a)
{
	http_header(a, "Access-Control-Allow-Origin", "*");
	http_header(a, "Access-Control-Allow-Methods", "GET, POST, OPTIONS");
	http_header(a, "Access-Control-Allow-Headers", "Content-Type");
}

static unsigned method_bit(int method)
{
	if (method == HTTP_GET || method == HTTP_HEAD)
		return ROUTE_GET;
	return method == HTTP_POST ? ROUTE_POST : 0;
}

static void no_route(struct ask *a, enum route_rc rc, int method, unsigned allowed)
{
	if (rc == ROUTE_BAD) {
		http_error(a, 400, "bad_path",
			   "The path has a malformed percent-escape.");
	} else if (rc == ROUTE_NONE) {
		http_error(a, 404, "not_found",
			   "There is nothing at this path; /docs shows what there is.");
	} else {
		allow(a, allowed);
		if (method == HTTP_OPTIONS)
			http_empty(a, allowed & ROUTE_CORS ? 200 : 204);
		else
			http_error(a, 405, "method_not_allowed",
				   "This path does not know this method.");
	}
}

void route_request(void *arg, struct gate_conn *c, struct evhttp_request *req)
{
	const struct strict *rq = gate_request(c);
	struct ask a = {.w = arg, .conn = c, .req = req, .query = ""};
	const struct route *r = NULL;
	unsigned allowed;
	enum route_rc rc;
	const char *q;

	if (strcmp(rq->target.p, "*") == 0) { /* OPTIONS of the server itself */
		allow(&a, ROUTE_GET);
		http_empty(&a, 204);
		return;
	}
	q = strchr(rq->target.p, '?');
	if (q)
		a.query = q + 1;
	rc = route_find(routes, PS_ARRAY_LEN(routes), rq->target.p,
			method_bit(rq->method), &r, &allowed, a.part);
	if (r)
		gate_set_route(c, (uint32_t)(r - routes) + 1);
	if (allowed & ROUTE_CORS)
		cors(&a);
	if (rc == ROUTE_OK)
		r->handle(&a);
	else
		no_route(&a, rc, rq->method, allowed);
}
