/*
 * geoweb.h -- places from a web service (geo.online_url): asked about the addresses of
 * which no database knows the country.
 *
 *   memory --> waits --> Redis --> service: GET <url><address>, when geopace.h says so
 *
 * It never delays anything: an answer is in the next version of a swarm. One question per
 * address, however many peers and swarms have it; the newest wish first, because somebody
 * looks at that swarm now. What is not global is never sent (geosay_subject). Nothing that
 * the service does, hangs or says costs more than a place. Who waits is looked up in Redis
 * again, after 2 s, 4 s and so on up to every minute, also while the service may not be asked,
 * since other nodes have budgets of their own; and once more before it is asked.
 *
 * Bounds: GEOWEB_WAITING addresses wait, of which the oldest gives way (counted; asked for
 * again by geoweb_offer when there is room), GEOWEB_KNOWN answers are kept, the longest
 * unused gives way. Proof: tests/unit/test_geoweb.c, tests/e2e/test_online.py.
 */
#ifndef PEERSCOPE_COLLECTOR_GEOWEB_H
#define PEERSCOPE_COLLECTOR_GEOWEB_H

#include <stdint.h>

#include "collector/redis.h"
#include "collector/web.h"
#include "common/addr.h"
#include "common/conf.h"
#include "common/err.h"
#include "common/place.h"
#include "shm/online.h"

/* Twenty full answers' worth, and an hour's at one question a second. */
#define GEOWEB_WAITING 1024u
#define GEOWEB_KNOWN 4096u		/* 450 bytes each */
#define GEOWEB_FLIGHTS 8u		/* of WEB_MAX, which others need, too */
#define GEOWEB_LOOKS 64u		/* of REDIS_INFLIGHT_MAX */
#define GEOWEB_REDIS_MS 200		/* Redis may take this long before the service is asked */
#define GEOWEB_TIMEOUT_MS 10000
#define GEOWEB_CONNECT_MS 5000
#define GEOWEB_BODY_MAX 16384		/* ipwho.is says about 1,200 bytes */
#define GEOWEB_FAILED_MS 60000		/* an address whose question failed is left alone */

struct event_base;
struct geoweb;				/* opaque */

/* The place of addr, or of one that carries it (geosay_subject), is known by now. From
 * the loop; may call geoweb_place and geoweb_offer. */
typedef void geoweb_fn(void *arg, const uint8_t addr[ADDR_LEN]);

/* Borrows base and web. Nobody is asked before geoweb_configure. day and used: the budget
 * that an earlier life of the collector has used (gauges); 0, 0: there was none. */
PS_MUST int geoweb_open(struct geoweb **out, struct event_base *base, struct web *web,
			uint64_t day, uint64_t used, geoweb_fn *fn, void *arg);
void geoweb_close(struct geoweb **g);	/* before web_close; NULL is fine */
/* geo.online and what belongs to it. 1: it was turned on. */
int geoweb_configure(struct geoweb *g, const struct conf *conf);
/* r is borrowed, and may be NULL. To be called before the old one is closed. */
void geoweb_set_redis(struct geoweb *g, struct redis *r);

/* 1: p was filled in from what is known (geosay_fill). Unless that is fresh, the address
 * waits to be asked about. p must want it: geosay_wanted. */
int geoweb_place(struct geoweb *g, const uint8_t addr[ADDR_LEN], struct place *p);
/* Is there a place of addr in memory, fresh or old? Nobody is asked. */
int geoweb_knows(const struct geoweb *g, const uint8_t addr[ADDR_LEN]);
/* Of a peer whose country is not known: 1: by now it is, ask geoweb_place. 0: it waits, or
 * nothing is to be done. -1: no more have room. */
int geoweb_offer(struct geoweb *g, const uint8_t addr[ADDR_LEN]);
int geoweb_has_room(const struct geoweb *g);	/* for many more that are offered */

#endif
