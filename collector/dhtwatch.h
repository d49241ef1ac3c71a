/*
 * dhtwatch.h -- when to help the DHT, and when to write down its nodes.
 *
 * libtorrent asks its routers once, at start: a network that comes late, or a VPN that
 * was away for a while, would leave it without nodes for ever. Pure: the number of nodes
 * and the time go in, what to do comes out. Proof: tests/unit/test_dhtwatch.c.
 */
#ifndef PEERSCOPE_COLLECTOR_DHTWATCH_H
#define PEERSCOPE_COLLECTOR_DHTWATCH_H

#include <stdint.h>

/* Without nodes for this long: routers and saved nodes are asked again; then after
 * twice the time, and so on. */
#define DHTWATCH_FIRST_MS 5000
#define DHTWATCH_LAST_MS 300000
/* Each of so many tries starts the DHT anew instead: its sockets may be stale. */
#define DHTWATCH_RESTART_EVERY 3
/* Nodes are written down this long after there were some, and then this often. */
#define DHTWATCH_SAVE_FIRST_MS 30000
#define DHTWATCH_SAVE_MS 300000

enum dhtwatch_do { DHTWATCH_NOTHING, DHTWATCH_AGAIN, DHTWATCH_RESTART, DHTWATCH_SAVE };

struct dhtwatch {			/* zeroed at start */
	uint64_t since_ms;		/* no nodes since; 0: there are some, or it is off */
	uint64_t due_ms, gap_ms;	/* next help, and how long after the one before */
	uint32_t tries;
	uint64_t save_ms;		/* 0: there was nothing to save yet */
};

/* Once a second. on: swarm.dht and a network to use it on. */
enum dhtwatch_do dhtwatch_step(struct dhtwatch *d, int on, uint32_t nodes, uint64_t now_ms);
/* The network changed: be quick again. */
void dhtwatch_reset(struct dhtwatch *d);
const char *dhtwatch_name(enum dhtwatch_do what);

#endif
