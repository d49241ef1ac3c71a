/*
 * tracksay.c -- see tracksay.h; and, of lt.h, how many trackers a swarm asks.
 */
#include "collector/tracksay.h"

#include <stdio.h>
#include <string.h>

#include "collector/lt.h"
#include "common/conf.h"

static uint32_t hash_text(const char *s)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (; *s; s++)
		h = (h ^ (uint8_t)*s) * 16777619u;
	return h;
}

uint32_t tracker_hash(const char *url)
{
	uint32_t udp = strncmp(url, "udp:", 4) == 0 ? LT_TRACKER_UDP : 0;
	uint32_t h = (hash_text(url) & ~LT_TRACKER_UDP) | udp;

	return h ? h : 2;
}

void tracker_site(const char *url, char out[TRACKER_SITE_MAX])
{
	const char *host = strstr(url, "://");
	size_t scheme, len;

	if (!host || host == url) {
		snprintf(out, TRACKER_SITE_MAX, "unknown");
		return;
	}
	host += 3;
	scheme = (size_t)(host - url);
	len = strcspn(host, "/?#");
	for (size_t i = len; i > 0; i--)
		if (host[i - 1] == '@') { /* what is before it is a secret */
			host += i;
			len -= i;
			break;
		}
	snprintf(out, TRACKER_SITE_MAX, "%.*s%.*s", (int)scheme, url, (int)len, host);
	for (char *s = out; *s; s++)
		if ((uint8_t)*s <= 0x20 || (uint8_t)*s >= 0x7f)
			*s = '?';
}

void tracker_find(const char *list, uint32_t hash, char out[TRACKER_SITE_MAX])
{
	char url[512]; /* as lt.cc takes them */

	while (list) {
		list = conf_list_next(list, url, sizeof(url));
		if (url[0] && tracker_hash(url) == hash) {
			tracker_site(url, out);
			return;
		}
	}
	tracker_site("", out);
}

int tracksay_is_news(struct tracksay *t, uint32_t tracker, const char *text,
		     uint64_t now_ms)
{
	uint32_t what = hash_text(text), oldest = 0;

	for (uint32_t i = 0; i < TRACKSAY_MAX; i++) {
		if (t->said[i].at_ms && t->said[i].tracker == tracker &&
		    t->said[i].text == what) {
			if (now_ms - t->said[i].at_ms < TRACKSAY_GAP_MS)
				return 0;
			oldest = i;
			break;
		}
		if (t->said[i].at_ms < t->said[oldest].at_ms)
			oldest = i;
	}
	t->said[oldest].tracker = tracker;
	t->said[oldest].text = what;
	t->said[oldest].at_ms = now_ms;
	return 1;
}

static int stands_before(const char *list, const char *end, const char *url)
{
	char item[512];

	while (list < end) {
		list = conf_list_next(list, item, sizeof(item));
		if (strcmp(item, url) == 0)
			return 1;
	}
	return 0;
}

/* Distinct ones, as trackers_of() in lt.cc takes them. */
static uint32_t trackers_in(const char *list)
{
	const char *rest, *at = list;
	char url[512];
	uint32_t n = 0;

	for (; (rest = conf_list_next(at, url, sizeof(url))); at = rest)
		n += url[0] && !stands_before(list, at, url);
	return n;
}

uint32_t lt_tracker_count(const struct conf *c)
{
	uint32_t n = trackers_in(c->swarm_trackers),
		 max = (uint32_t)c->swarm_max_trackers;

	return n < max ? n : max;
}

uint32_t lt_trackers_left_out(const struct conf *c)
{
	return trackers_in(c->swarm_trackers) - lt_tracker_count(c);
}
