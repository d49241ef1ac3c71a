/* lt_conf.c -- how much of the machine the session may have, whom its DHT asks first; lt.h. */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "collector/ace.h"
#include "collector/lt.h"

/* Descriptors that are not peer connections: listening, UDP, trackers, files, bells. The
 * AceStream prober has its own part. */
#define FDS_KEPT 256
#define FDS_SANE (1 << 20)

int lt_connections(const struct conf *c)
{
	long want = (long)c->swarm_connections, all, left;
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur == RLIM_INFINITY)
		return (int)want;
	all = r.rlim_cur < FDS_SANE ? (long)r.rlim_cur : FDS_SANE;
	left = (all > 2 * FDS_KEPT ? all - FDS_KEPT : all / 2) - ace_descriptors(c);
	left = left * LT_VISITS_SHARE / (LT_VISITS_SHARE + LT_TRANSPORTS);
	return (int)(want < left ? want : left);
}

/* [::1] -> ::1 */
static void bare(char *host)
{
	size_t n = strlen(host);

	if (n <= 2 || host[0] != '[' || host[n - 1] != ']')
		return;
	host[n - 1] = '\0';
	memmove(host, host + 1, n - 1);
}

const char *lt_router_next(const char *at, char host[LT_ROUTER_MAX], uint16_t *port)
{
	char *colon;
	long n = 0;

	at = conf_list_next(at, host, LT_ROUTER_MAX);
	if (!at)
		return NULL;
	colon = strrchr(host, ':');
	if (colon) {
		n = strtol(colon + 1, NULL, 10);
		*colon = '\0';
	}
	*port = n > 0 && n <= UINT16_MAX ? (uint16_t)n : 0;
	bare(host);
	return at;
}
