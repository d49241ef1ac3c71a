/*
 * lt.h -- libtorrent-rasterbar behind a C face. Everything C++ is in lt.cc; no
 * exception crosses this line.
 *
 * A plugin on libtorrent's network thread copies what it sees into a bounded queue
 * of fixed records and rings an eventfd; the loop thread takes them with
 * lt_next(). All other calls here are made on the loop thread and none of them
 * waits for the network thread. No payload is ever asked for and no file is ever
 * made: upload mode, and disabled_disk_io.
 */
#ifndef PEERSCOPE_COLLECTOR_LT_H
#define PEERSCOPE_COLLECTOR_LT_H

#include <stddef.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/conf.h"
#include "common/err.h"
#include "common/ident.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LT_CLIENT_MAX 63
#define LT_QUEUE 32768			/* records; 4 MiB of address space */

struct lt;				/* the session; opaque */

enum lt_kind {
	LT_PEER_LEARNED = 1,	/* endpoint, source */
	LT_PEER_DIALLED,	/* a connection attempt began */
	LT_PEER_HANDSHAKE,	/* the BitTorrent handshake is done; client from peer id */
	LT_PEER_TOLD,		/* extension handshake, or pieces known: client, have, pieces */
	LT_PEER_GONE,		/* connection over, or attempt failed */
	LT_PEER_RATES,		/* once a second, if changed */
	LT_TRACKER_ASKED,	/* n: number of announces this stands for (1) */
	LT_TRACKER_OK,		/* peers in n; seeds/leechers if >= 0 */
	LT_TRACKER_FAILED,
	LT_DHT_REPLY,		/* peers in n */
	LT_METADATA,		/* pieces */
	LT_REMOVED,		/* the torrent is gone; nothing more comes for it */
	LT_LISTENING,		/* addr, port */
	LT_LISTEN_FAILED,	/* text in client */
	LT_EXTERNAL,		/* addr: how the world sees us */
	LT_STATS,		/* dht nodes in n, connections in have */
};

struct lt_event {
	uint8_t kind;			/* enum lt_kind */
	uint8_t source;			/* PEER_SRC_* */
	uint8_t flags;			/* PEER_F_* */
	uint8_t incoming;
	uint8_t id[IH_LEN];		/* key of the swarm */
	uint8_t addr[ADDR_LEN];
	uint16_t port;
	uint8_t self;			/* LT_PEER_GONE: it was ourselves */
	uint8_t extended;		/* LT_PEER_HANDSHAKE: an extension handshake follows */
	int32_t n;
	int32_t seeds, leechers;
	uint32_t have, pieces;		/* pieces: bits in the field; have == pieces: a seed */
	uint32_t down_rate, up_rate;	/* bytes per second */
	uint32_t tracker;		/* which announce: hash of url, endpoint, version */
	char client[LT_CLIENT_MAX + 1];	/* raw bytes of the peer, NUL-terminated */
};

/* bell_fd is borrowed: it is rung when lt_next has something. */
PS_MUST int lt_open(struct lt **out, const struct conf *c, int bell_fd, char err[ERRLEN]);
/* Stops the session. Waits at most wait_ms for trackers to hear "stopped". */
void lt_close(struct lt **lt, int wait_ms);
/* New settings in place: interfaces, limits, DHT. */
void lt_configure(struct lt *lt, const struct conf *c);

/* Join: asynchronous. v2 is NULL or the whole 32-byte hash. Joining twice is asserted
 * against by the caller's table. */
PS_MUST int lt_join(struct lt *lt, const uint8_t id[IH_LEN], const uint8_t *v2,
		    const struct conf *c, char err[ERRLEN]);
/* Give it an endpoint that we know from elsewhere. */
void lt_add_peer(struct lt *lt, const uint8_t id[IH_LEN], const uint8_t addr[ADDR_LEN],
		 uint16_t port);
void lt_leave(struct lt *lt, const uint8_t id[IH_LEN]);

/* Up to max records; returns how many. Also turns alerts into records. */
size_t lt_next(struct lt *lt, struct lt_event *out, size_t max);
/* Ask for LT_STATS. */
void lt_poll_stats(struct lt *lt);
/* Records lost to a full queue, and times libtorrent lost alerts; both only rise. */
uint64_t lt_dropped(const struct lt *lt);
uint64_t lt_alerts_dropped(const struct lt *lt);

#ifdef __cplusplus
}
#endif
#endif
