/*
 * recover.h -- after the network was away or became another: what to do, in which
 * order, and again with growing patience (FIELD-NOTES 2.3).
 *
 *   gone            leave all swarms (their peers stay known)
 *   back, moved     leave; close the listening sockets and open them anew; give the DHT
 *                   its nodes back; once we listen, join the swarms again
 *   grew            look at the interfaces; DHT nodes; announce
 *   not listening   open the sockets again after 2, 4, ... 64 s, also at start: the port
 *                   may still be somebody else's. If some listen, they stay open
 *
 * Joining announces by itself. A DHT that stays without nodes is dhtwatch.h's. Pure:
 * events and the time go in, actions come out. Proof: tests/unit/test_recover.c.
 */
#ifndef PEERSCOPE_COLLECTOR_RECOVER_H
#define PEERSCOPE_COLLECTOR_RECOVER_H

#include <stdint.h>

#include "collector/netstate.h"

/* Swarms are joined this long after the rebind at the latest: one can dial out without
 * a listening socket. */
#define RECOVER_JOIN_MS 1000
#define RECOVER_GAP_MS 2000
#define RECOVER_GAP_LAST_MS 64000

/* Actions, to be done in this order. */
#define RECOVER_LEAVE 1u
#define RECOVER_REBIND 2u		/* close and open: what is bound may be stale */
#define RECOVER_REOPEN 4u		/* open what is new */
#define RECOVER_DHT 8u
#define RECOVER_JOIN 16u
#define RECOVER_ANNOUNCE 32u

struct recover {			/* zeroed: all is well */
	uint64_t began_ms;		/* monotonic; 0: no recovery under way */
	uint64_t join_ms;		/* swarms wait to be joined until then; 0: they don't */
	uint64_t again_ms, gap_ms;	/* next attempt; 0: we listen */
	int partly;			/* some sockets listen, so they are not closed for it */
};

/* The sockets are being opened for the first time, on a device that is there. */
void recover_start(struct recover *r, int listens, uint64_t now_ms);
/* What netwatch says, or NET_BACK for a new configuration. listens: swarm.listen names
 * at least one place, so that a recovery ends with a listening socket. */
unsigned recover_change(struct recover *r, enum net_change change, int listens,
			uint64_t now_ms);
/* Other sockets are being opened: patience begins anew, a recovery goes on. */
void recover_elsewhere(struct recover *r, uint64_t now_ms);
/* Nothing listens, or (partly) not all that should: again, with patience. Nothing else is
 * done anew; a recovery that is under way goes on. */
void recover_missing(struct recover *r, int partly, uint64_t now_ms);
/* Whoever runs us wants the next attempt now, and has mended something, perhaps. */
void recover_hasten(struct recover *r, uint64_t now_ms);
/* A socket listens. */
unsigned recover_listening(struct recover *r);
/* Once a second. */
unsigned recover_tick(struct recover *r, uint64_t now_ms);

#endif
