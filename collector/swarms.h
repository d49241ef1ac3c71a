/*
 * swarms.h -- all swarms that are joined, and the ids that each answers to.
 *
 * A swarm has a key (its id in the BitTorrent session) and may have further ids: the
 * other hash of a hybrid torrent (BEP 52), AceStream content ids that an engine resolved
 * to it. It is found under each of them, and published under each that was asked for.
 * Pure, as swarm.h is. Proof: tests/unit/test_swarms.c.
 */
#ifndef PEERSCOPE_COLLECTOR_SWARMS_H
#define PEERSCOPE_COLLECTOR_SWARMS_H

#include "collector/swarm.h"

struct swarms;				/* all of them; opaque */

PS_MUST int swarms_open(struct swarms **out, uint32_t max);
void swarms_close(struct swarms **s);
/* By its key or any further id. */
struct swarm *swarms_find(const struct swarms *s, const uint8_t id[IH_LEN]);
uint32_t swarms_count(const struct swarms *s);
/* NULL: no memory, swarms_count is at the max of swarms_set_max, or the id is taken. */
struct swarm *swarms_add(struct swarms *s, const uint8_t id[IH_LEN], uint64_t now_ms);
void swarms_remove(struct swarms *s, struct swarm *w);
void swarms_set_max(struct swarms *s, uint32_t max);
/* The one without waiters that was asked for longest ago; NULL: none. */
struct swarm *swarms_oldest_idle(const struct swarms *s);
/* All, in no order; fn may remove the one it is given. */
void swarms_each(struct swarms *s, void (*fn)(struct swarm *, void *), void *arg);

/* The entry of an id, in whichever swarm; NULL: none. Good until the swarm or the id is
 * removed. */
struct swarm_id *swarms_id(const struct swarms *s, const uint8_t id[IH_LEN]);
/* w answers to id from now on. An id that another swarm only was called by moves here;
 * NULL: it is the key of another swarm. At SWARM_IDS the one that nobody asked for
 * longest gives way, and *evicted is 1. */
struct swarm_id *swarms_alias(struct swarms *s, struct swarm *w, const uint8_t id[IH_LEN],
			      int *evicted);
/* It no longer does. The key stays with its swarm: then only nobody asks for it. */
void swarms_unalias(struct swarms *s, struct swarm_id *e);
/* Ids that nobody asked for since before_ms: no longer published; content ids go. */
void swarms_forget_ids(struct swarms *s, struct swarm *w, uint64_t before_ms);
/* Ids that somebody asks for. */
uint32_t swarm_ids_asked(const struct swarm *w);

#endif
