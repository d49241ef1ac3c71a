/* fetch_track.c -- the trackers of links, beside those of the configuration; see fetch.h. */
#include <string.h>

#include "collector/fetch_int.h"

static int is_configured(const struct conf *conf, const char *url)
{
	char one[MAGNET_URL_MAX];

	for (const char *at = conf->swarm_trackers;
	     (at = conf_list_next(at, one, sizeof(one))) != NULL;)
		if (strcmp(one, url) == 0)
			return 1;
	return 0;
}

/* FNV-1a. libtorrent compares bytes, and so do we. */
static uint64_t mark_of(const char *url)
{
	uint64_t h = 14695981039346656037u;

	for (; *url; url++)
		h = (h ^ (uint8_t)*url) * 1099511628211u;
	return h;
}

static int is_linked(const struct swarm *w, uint64_t mark)
{
	for (uint32_t i = 0; i < w->nlinked; i++)
		if (w->linked[i] == mark)
			return 1;
	return 0;
}

/* An answer more is expected of each, so the same one is never added twice, whoever asks. */
static void add(struct coll *c, struct swarm *w, const char *url)
{
	uint64_t mark = mark_of(url);

	if (is_configured(&c->kid.conf, url) || is_linked(w, mark))
		return;
	if (w->nlinked >= (uint32_t)c->kid.conf.swarm_max_trackers ||
	    w->nlinked >= SWARM_TRACKERS) {
		stat_inc(trackers_left_out);
		return;
	}
	w->linked[w->nlinked++] = mark;
	lt_add_tracker(c->lt, w->id, url);
	if (w->trackers_expected < SWARM_TRACKERS)
		w->trackers_expected++;
}

/* Beyond swarm.max_trackers none would be asked, so those make no question a new one. */
int fetch_trackers_new(const struct coll *c, const uint8_t key[IH_LEN],
		       const struct magnet *link)
{
	uint32_t n = (uint32_t)c->kid.conf.swarm_max_trackers;

	for (uint32_t i = 0; i < link->ntrackers && i < n; i++) {
		const char *url = magnet_tracker(link, i);

		if (!is_configured(&c->kid.conf, url) &&
		    !metadead_was_asked(c->fetch->dead, key, mark_of(url)))
			return 1;
	}
	return 0;
}

void fetch_trackers(struct coll *c, struct swarm *w, const struct magnet *link)
{
	for (uint32_t i = 0; i < link->ntrackers; i++)
		add(c, w, magnet_tracker(link, i));
}

void fetch_trackers_again(struct coll *c, struct swarm *w, const struct magnet *link)
{
	if (!w->nlinked && !w->trackers_at_ms && c->kid.conf.swarm_max_trackers)
		fetch_trackers(c, w, link);
}
