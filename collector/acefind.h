/*
 * acefind.h -- who is in an AceStream swarm, by those who know: the DHT and trackers.
 *
 *	start --> for each key: DHT look-up, announce to each tracker --> news, news, ...
 *	                 ^------------- acestream.lookup, interval -----------'
 *
 * For swarms that libtorrent must not join, since a torrent of its announces itself in the
 * DHT: nothing is announced there by what is here (contract, section 9 A). A tracker hears
 * "started" and at once "stopped". Each key of a swarm (content id, infohash) is asked about
 * by itself, and what is found is told under that key.
 * Bounded: swarms (swarm.max_swarms), keys and trackers of each, look-ups and announces
 * under way; what waits for its turn has its place in the table of swarms.
 * Proof: tests/unit/test_acefind.c, tests/e2e/test_ace_find.py.
 */
#ifndef PEERSCOPE_COLLECTOR_ACEFIND_H
#define PEERSCOPE_COLLECTOR_ACEFIND_H

#include <stdint.h>

#include "collector/acetrack.h"
#include "collector/lt.h"
#include "common/conf.h"
#include "common/err.h"

#define ACEFIND_KEYS 8			/* of a swarm: as many as it has ids */
#define ACEFIND_LOOKUPS 16		/* under way; libtorrent sends 8 KB/s to the DHT */
#define ACEFIND_ANNOUNCES 64		/* under way: a socket each */
#define ACEFIND_FOUND_MAX 2000		/* endpoints of one look-up: what a swarm can hold */
/* A tracker is asked so often at most, and so often at least. */
#define ACEFIND_INTERVAL_MIN_S 1800u
#define ACEFIND_INTERVAL_MAX_S 86400u
/* As to the first round a look-up is over when its replies pause for so long: it goes on
 * for many seconds, over nodes that don't answer. */
#define ACEFIND_QUIET_MS 300u
/* Whatever the session says of it, a look-up is over then. */
#define ACEFIND_LOOKUP_MS 30000u
#define ACEFIND_EMPTY_MS 20000u		/* first pause after one that found nobody */

struct event_base;
struct acefind;				/* opaque */

enum acefind_what {
	ACEFIND_FOUND,			/* peer[n], n > 0; the same one may come again */
	ACEFIND_LOOKED,			/* a DHT look-up is over; n: endpoints named in all */
	ACEFIND_ASKED,			/* tracker: one announce went out */
	ACEFIND_ANSWERED,		/* tracker, seeds, leechers, n; its peers came as FOUND */
	ACEFIND_FAILED,			/* tracker, failure, text */
	ACEFIND_ROUND,			/* once in a life: all was asked, and answered or failed */
};
struct acefind_news {			/* fields a kind does not name are zero */
	enum acefind_what what;
	uint8_t swarm[IH_LEN];
	uint32_t life;
	const uint8_t *key;		/* that was asked about; NULL with ROUND */
	uint32_t index;			/* its place in the keys of the last acefind_start */
	uint8_t source;			/* of FOUND: PEER_SRC_DHT or PEER_SRC_TRACKER */
	const struct lt_endpoint *peer;	/* as told: may be private, ours, anything but port 0 */
	uint32_t n;
	uint32_t tracker;		/* tracker_hash() of its URL, LT_TRACKER_UDP and all */
	int32_t seeds, leechers;
	enum lt_failure failure;
	const char *text;		/* why; a tracker's own words are raw bytes */
};
/* From the loop, never from within a call made here but acefind_event. It may call
 * acefind_start and acefind_stop. */
typedef void acefind_fn(void *arg, const struct acefind_news *news);

/* Borrows base and lt (NULL: no DHT); copies what it needs of c. */
PS_MUST int acefind_open(struct acefind **out, struct event_base *base, const struct conf *c,
			 struct lt_session *lt, acefind_fn *fn, void *arg);
/* Trackers that were asked hear "stopped" once, unless it is suspended. */
void acefind_close(struct acefind **f);	/* NULL is fine */
void acefind_configure(struct acefind *f, const struct conf *c);
/* The port that peers reach us on, as trackers are told; 0: none. */
void acefind_port(struct acefind *f, uint16_t port);

/*
 * Look for this swarm from now on. Called again for it: keys that are new are asked about,
 * others keep what is known of them (no tracker hears of us early), those that are not
 * named any more are given up; with another life there will be another ROUND. A key that
 * was left within swarm.announce_gap is announced when that is over; it is not waited for.
 * 0; -1: no room (counted), or no memory.
 */
PS_MUST int acefind_start(struct acefind *f, const uint8_t swarm[IH_LEN], uint32_t life,
			  const uint8_t (*keys)[IH_LEN], uint32_t nkeys);
void acefind_stop(struct acefind *f, const uint8_t swarm[IH_LEN]);	/* unknown: nothing */
/* After each acefind_start, before the loop goes on. 1: the session has joined the swarm,
 * and asks the DHT about the key that is its id; it is not looked up here as well. */
void acefind_session_asks(struct acefind *f, const uint8_t swarm[IH_LEN], int asks);
/* What has failed, or found nobody, is asked again now: of one swarm, or (NULL) of all. */
void acefind_hasten(struct acefind *f, const uint8_t *swarm);
/* The network is gone: not one packet more; swarms are remembered. */
void acefind_suspend(struct acefind *f);
/* It is back: the DHT is asked anew; trackers as far as their interval is over, or they
 * had not answered. */
void acefind_resume(struct acefind *f);

/* LT_DHT_FOUND, LT_DHT_AT_WORK and LT_STATS of the session; may call fn. */
void acefind_event(struct acefind *f, const struct lt_event *e);

/* Pure: milliseconds until a tracker is asked again, that said interval_s when it answered,
 * or failed so many times since. */
uint64_t acefind_again_ms(uint32_t interval_s, uint32_t fails);
/* The same of the DHT: so many look-ups in a row found nobody. */
uint64_t acefind_lookup_ms(uint64_t lookup_ms, uint32_t empty);

#endif
