/*
 * acepast.h -- who did not answer our AceStream calls, and when he may be called again.
 *
 * A swarm forgets a peer that nobody named for swarm.peer_expiry, and is itself left after
 * swarm.linger: both much sooner than the hours that contracts/acestream-wire.md, 9 E wants
 * between calls that fail. So the bad news is kept here, per endpoint and swarm, and given
 * to a peer that becomes known again. A day after it was last known it is forgotten.
 *
 * Pure, bounded, of one size: if it is full, the longest unused makes room, who is called a
 * little early then. Proof: tests/unit/test_acepast.c, test_swarm_ace.c.
 */
#ifndef PEERSCOPE_COLLECTOR_ACEPAST_H
#define PEERSCOPE_COLLECTOR_ACEPAST_H

#include <stdint.h>

#include "common/addr.h"
#include "common/err.h"
#include "common/ident.h"

/* A few swarms of the largest size (CONF_SLOT_PEERS) in which nobody answers; 1 MiB. */
#define ACEPAST_MAX 8192u
#define ACEPAST_MS 86400000ull

struct acepast; /* opaque */

struct acepast_peer {
	uint8_t fails, refused; /* as in struct peer_ace */
	uint8_t sources;        /* PEER_SRC_*: had named it by then */
	uint8_t bittorrent;     /* it answered in that */
	uint8_t unheard;        /* its last failure: our SYNs were not answered */
	uint64_t not_ms;        /* monotonic: not called before; 0: whenever */
};

PS_MUST int acepast_open(struct acepast **out); /* -1: no memory */
void acepast_close(struct acepast **a);         /* NULL is fine */
/* a may be NULL in all of these: nothing is known, or kept. */
void acepast_put(struct acepast *a, const uint8_t swarm[IH_LEN],
		 const uint8_t addr[ADDR_LEN], uint16_t port,
		 const struct acepast_peer *p, uint64_t now_ms);
/* 1: *out is set, and is known for another day. */
int acepast_get(struct acepast *a, const uint8_t swarm[IH_LEN],
		const uint8_t addr[ADDR_LEN], uint16_t port, struct acepast_peer *out,
		uint64_t now_ms);
void acepast_drop(struct acepast *a, const uint8_t swarm[IH_LEN],
		  const uint8_t addr[ADDR_LEN], uint16_t port);
/* Our way to the world is another one: who was out of reach may be called at once. */
void acepast_new_way(struct acepast *a);
/* Those that made room before their time, since the last question. */
uint64_t acepast_lost(struct acepast *a);

#endif
