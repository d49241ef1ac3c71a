/*
 * vpn.h -- beside Gluetun: is its VPN up, which port is forwarded, what is wrong.
 *
 * Follows the control server at vpn.gluetun_url: one round of questions each two seconds,
 * one question at a time, none that waits. A port that is another is told to the owner
 * (on_port) within five seconds; an unchanged one never is. What is known stands in gauges
 * (stat.h: vpn_*) and notes (note.h), where /health finds it.
 *
 * It informs. What keeps BitTorrent inside the VPN is swarm.interface: nothing here stops
 * or starts a swarm. Proof: tests/e2e/test_vpn.py, with a scripted Gluetun.
 */
#ifndef PEERSCOPE_COLLECTOR_VPN_H
#define PEERSCOPE_COLLECTOR_VPN_H

#include <stdint.h>

#include "collector/vpn_judge.h"
#include "common/addr.h"
#include "common/conf.h"

struct event_base;
struct vpn;				/* opaque */

struct vpn_use {			/* none is called before vpn_open returns */
	/* Listen on this port instead of those in swarm.listen; 0: on those again. */
	void (*on_port)(void *arg, uint16_t port);
	/* The world sees us as this address. */
	void (*on_address)(void *arg, const uint8_t addr[ADDR_LEN]);
	/* vpn.exit_when_dead, and the namespace is dead. */
	void (*on_dead)(void *arg);
	void *arg;
};

/* Borrows base, web and c, which the owner may change in place: see vpn_configure. The
 * first round begins with the loop. port: what an earlier life has followed, or 0: it
 * holds until Gluetun names another. */
PS_MUST int vpn_open(struct vpn **out, struct event_base *base, struct web *web,
		     const struct conf *c, uint16_t port, const struct vpn_use *use,
		     char err[ERRLEN]);
void vpn_close(struct vpn **vpn);	/* before web_close; NULL is fine */
/* *c is new. May call on_port(0), if Gluetun is no longer to be followed. */
void vpn_configure(struct vpn *vpn);
/* A device came or went: ask now, not at the next round. */
void vpn_poke(struct vpn *vpn);

/* NULL: VPN_OFF, 0. Also the gauges vpn_state and vpn_port. */
enum vpn_state vpn_state(const struct vpn *vpn);
uint16_t vpn_port(const struct vpn *vpn);	/* followed now; 0: none */

#endif
