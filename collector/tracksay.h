/*
 * tracksay.h -- what trackers say when they fail, fit for a log and for strangers.
 *
 * Pure. An announce URL may hold a passkey, so nobody gets to see more of it than
 * scheme://host:port. The same word of the same tracker, of whichever swarm, is logged
 * once in TRACKSAY_GAP_MS; what is new each time is left to the log's own brake.
 * Proof: tests/unit/test_tracksay.c, tests/e2e/test_trackers.py.
 */
#ifndef PEERSCOPE_COLLECTOR_TRACKSAY_H
#define PEERSCOPE_COLLECTOR_TRACKSAY_H

#include <stdint.h>

/* Fits a name of 100 bytes, which is more than trackers have; cut there. */
#define TRACKER_SITE_MAX 128
/* Remembered at a time: three words of each tracker that a swarm can have. The one that
 * was said longest ago makes room, so it may be said twice. */
#define TRACKSAY_MAX 192
#define TRACKSAY_GAP_MS 600000u

/* Of an announce URL: lt_event.tracker, with LT_TRACKER_UDP; never 0. */
uint32_t tracker_hash(const char *url);
/* scheme://host:port of it, without user and password; no blank in it, never "". */
void tracker_site(const char *url, char out[TRACKER_SITE_MAX]);
/* The site of the tracker in list (swarm.trackers) that has this hash. One that a reload
 * took away is "unknown". */
void tracker_find(const char *list, uint32_t hash, char out[TRACKER_SITE_MAX]);

struct tracksay {
	struct {
		uint32_t tracker, text;	/* hashes */
		uint64_t at_ms;		/* 0: free */
	} said[TRACKSAY_MAX];
};
/* 1: say it; it counts as said. text: how it failed, and its words. */
int tracksay_is_news(struct tracksay *t, uint32_t tracker, const char *text,
		     uint64_t now_ms);

#endif
