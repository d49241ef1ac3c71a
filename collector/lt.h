/*
 * lt.h -- libtorrent-rasterbar behind a C face. Everything C++ is in lt.cc; no
 * exception crosses this line.
 *
 * A plugin on libtorrent's network threads copies what it sees into a bounded queue
 * of fixed records and rings an eventfd; the loop thread takes them with
 * lt_next(). All other calls here are made on the loop thread and none of them
 * waits for a network thread. No payload is ever asked for and no file is ever
 * made: upload mode, and disabled_disk_io. lt.cc includes this inside extern "C".
 */
#ifndef PEERSCOPE_COLLECTOR_LT_H
#define PEERSCOPE_COLLECTOR_LT_H

#include <stddef.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/conf.h"
#include "common/err.h"
#include "common/ident.h"

#define LT_TEXT_MAX 95
/* swarm.event_queue records may wait; the default is each peer of a full session twice.
 * More are dropped, and counted; what a connected peer says of itself is said again a
 * second later. */

struct lt_session;				/* the session; opaque */

/* The hashes of one torrent: a hybrid (BEP 52) has both. */
struct lt_ids {
	uint8_t has_v1, has_v2;
	uint8_t v1[IH_LEN], v2[IH_V2_LEN];
};
/* How a peer is dialled. A joined swarm dials whoever it hears of PLAIN, once. Whoever
 * does not answer that is visited in the other ways, and later again: lt_visit. */
enum lt_way {
	LT_WAY_PLAIN = 0,	/* TCP; quickest with most peers */
	LT_WAY_ENCRYPTED = 1,	/* TCP, encrypted (MSE) or not at all */
	LT_WAY_UTP = 2,		/* uTP (BEP 29), encrypted, then plain */
	LT_WAY_V2 = 3,		/* added to one of these: with the v2 hash of a hybrid */
};
#define LT_TRANSPORTS 3
#define LT_WAYS 6
/* The same with whichever hash. */
static inline enum lt_way lt_transport(int way)
{
	return (enum lt_way)(way % LT_TRANSPORTS);
}

enum lt_kind {
	LT_PEER_LEARNED = 1,	/* addr, port, source: an endpoint was heard of */
	LT_PEER_DIALLED,	/* a connection attempt began: way */
	LT_PEER_HANDSHAKE,	/* handshake done; client from the peer id; incoming, extended */
	LT_PEER_TOLD,		/* what the peer says of itself: client, have, pieces, rates */
	LT_PEER_GONE,		/* connection over, or attempt failed: way, connected; forget */
	LT_TRACKER_ASKED,	/* one announce to `tracker` went out */
	LT_TRACKER_OK,		/* one announce was answered; n: peers in the answer */
	LT_TRACKER_FAILED,	/* one announce failed; n: enum lt_failure; text: the reason */
	LT_SCRAPE,		/* seeds, leechers: what `tracker` has just counted, if it did */
	LT_DHT_REPLY,		/* n: peers in the answer */
	LT_METADATA,		/* pieces: how many the torrent has; ids: its hashes; the rest
				 * is there for lt_metadata_take */
	LT_CONFLICT,		/* ids: it and another join are one hybrid torrent; both stopped */
	LT_JOIN_FAILED,		/* text */
	LT_LISTENING,		/* addr, port */
	LT_LISTEN_FAILED,	/* addr, port, n: errno or 0, text: all of it in words */
	LT_EXTERNAL,		/* addr: how others see us */
	LT_STATS,		/* n: nodes in the DHT; have: connections and attempts; pieces,
				 * down_rate: DHT messages sent and received, ever */
	LT_DHT_LOADED,		/* n: nodes of an earlier life; text: why there are none */
	LT_DHT_SAVED,		/* n: nodes written to swarm.dht_state; text: why not */
	LT_DHT_FOUND,		/* id: a key of lt_dht_find; addr, port: who announced there */
	LT_DHT_AT_WORK,		/* id: it is being looked up; LT_STATS follows the last of these */
};
enum lt_failure {		/* of an announce: what it says about the way there */
	LT_FAIL_NONE = 0,
	LT_FAIL_SILENT = 1,	/* nothing came back in time */
	LT_FAIL_NAME = 2,	/* the tracker's name was not found */
	LT_FAIL_REFUSED = 3,	/* somebody said no: closed port, reset */
	LT_FAIL_UNREACHABLE = 4, /* our own system has no way there */
	LT_FAIL_ANSWERED = 5,	/* an error that a tracker answered: the way is open */
	LT_FAIL_GARBLED = 6,	/* no tracker's answer: the page of a captive portal, say */
};
/* Low bit of lt_event.tracker: it is asked over UDP (BEP 15), else over TCP. */
#define LT_TRACKER_UDP 1u
#define LT_ALL_PIECES UINT32_MAX	/* have and pieces of a seed that did not say how many */

struct lt_event {			/* fields a kind does not name are zero */
	uint8_t kind;			/* enum lt_kind */
	uint8_t source;			/* PEER_SRC_* */
	uint8_t flags;			/* PEER_F_* */
	uint8_t incoming;		/* the peer dialled us */
	uint8_t extended;		/* an extension handshake follows (BEP 10) */
	uint8_t forget;			/* this endpoint is no peer: ourselves, or one that moved */
	uint8_t metadata;		/* it offers the metadata (BEP 9) */
	uint8_t likely_seed;		/* lacks only what may be spare bits of its last byte */
	uint8_t way;			/* enum lt_way, of outgoing ones */
	uint8_t again;			/* LEARNED: the session knew it before; it won't dial twice */
	uint8_t filtered;		/* LEARNED: on a port that the session does not dial;
					 * again is 0 then */
	uint8_t connected;		/* the transport stood, whatever came of it */
	uint8_t id[IH_LEN];		/* key of the swarm */
	uint32_t life;			/* which join of it; a record of another one is stale */
	uint8_t addr[ADDR_LEN];
	uint16_t port;			/* where the peer listens, as far as it is known */
	int32_t n;
	int32_t seeds, leechers;	/* -1: unknown */
	uint32_t tracker;		/* tracker_hash() of the URL */
	uint32_t have, pieces;		/* pieces: 0 unknown, else bits in the peer's field */
	uint32_t down_rate, up_rate;	/* bytes per second */
	union {
		char text[LT_TEXT_MAX + 1];	/* client or message: raw bytes, NUL-terminated */
		struct lt_ids ids;
	};
};

/* bell_fd is borrowed: it is rung when lt_next has something. Starts with the nodes in
 * c->swarm_dht_state, if that names a file of an earlier life. */
PS_MUST int lt_open(struct lt_session **out, const struct conf *c, int bell_fd, char err[ERRLEN]);
/* Writes down the DHT's nodes and ends the session; waits at most wait_ms for that and
 * for trackers to hear "stopped". 0, or -1: its threads still run, so the caller may
 * only _exit. */
PS_MUST int lt_close(struct lt_session **lt, int wait_ms);
/* New settings in place: interfaces, limits, DHT, filter, trackers of every swarm. Open
 * connections stay: after a change of interface or port the caller joins anew. */
PS_MUST int lt_configure(struct lt_session *lt, const struct conf *c, char err[ERRLEN]);

struct lt_endpoint {
	uint8_t addr[ADDR_LEN];
	uint16_t port;
};
/* The network changed: look at the interfaces anew. */
void lt_reopen(struct lt_session *lt);
/* The same, but close everything that listens first: a socket that is bound to a device
 * of that name which is gone looks as good as new. */
void lt_rebind(struct lt_session *lt, const struct conf *c);
/* Announce every swarm now, to trackers (whatever their interval) and to the DHT: our
 * address or port is another. */
void lt_reannounce(struct lt_session *lt);
/* No node of the DHT is left: ask the routers and nodes of earlier again. */
void lt_dht_again(struct lt_session *lt, const struct conf *c);
/* The same, with a DHT that is started anew. */
void lt_dht_restart(struct lt_session *lt, const struct conf *c);
/* Look up who announced himself under key in the DHT, without doing so: LT_DHT_FOUND for
 * each endpoint, as replies come (the same one may come often, and of any kind). libtorrent
 * does not say when it ends: for LT_DHT_FIND_S seconds each LT_STATS comes with an
 * LT_DHT_AT_WORK of each look-up that was under way then. 0; -1: no memory. */
#define LT_DHT_FIND_S 40
PS_MUST int lt_dht_find(struct lt_session *lt, const uint8_t key[IH_LEN]);
/* Write the DHT's nodes to c->swarm_dht_state, in a thread of its own; LT_DHT_SAVED
 * tells how it went. Nothing is written while there are none, or one is under way. */
void lt_dht_save(struct lt_session *lt);

enum lt_announce {
	LT_ANNOUNCE,		/* to trackers, and in the DHT */
	LT_ANNOUNCE_LATER,	/* to trackers with lt_ask_trackers */
	LT_ANNOUNCE_NEVER,	/* to no tracker, not in the DHT or the LAN, whatever is called;
				 * who is dialled knows us, and may tell others */
};
/* Join, asynchronously. id: the key of its records; ids: what is known of its hashes, at
 * least one. known[n]: endpoints from an earlier life, dialled with the rest; NULL if n
 * is 0. *life is what its records will carry. The caller joins a key once at a time; of
 * a hybrid that is joined under each hash there will be LT_CONFLICT. 0; -1: no memory, or
 * the same key is just being left that was announced, and this one may not be. */
PS_MUST int lt_join(struct lt_session *lt, const uint8_t id[IH_LEN], const struct lt_ids *ids,
		    const struct lt_endpoint *known, size_t n, enum lt_announce announce,
		    const struct conf *c, uint32_t *life, char err[ERRLEN]);
/* Announce it to the configured trackers from now on. */
void lt_ask_trackers(struct lt_session *lt, const uint8_t id[IH_LEN], const struct conf *c);
void lt_leave(struct lt_session *lt, const uint8_t id[IH_LEN]);

/* Dial peers of a joined swarm in one way, beside what the swarm does by itself: with the
 * v1 hash, if there is one, or with what LT_WAY_V2 asks for. Their
 * records look like all others. Nothing is announced anywhere for it; a connection ends
 * by itself when the peer has told everything. An endpoint is given again only after
 * its LT_PEER_GONE. 0; 1: it is not added yet, later; -1: not joined, or no memory. */
PS_MUST int lt_visit(struct lt_session *lt, const uint8_t id[IH_LEN], enum lt_way way,
		     const struct lt_endpoint *peer, size_t n);
/* Peers for a swarm that is joined, or being joined: it dials them as those it hears of.
 * They have no source to the session, so their LT_PEER_LEARNED has none. 0; -1: not
 * joined, or no memory. */
PS_MUST int lt_give(struct lt_session *lt, const uint8_t id[IH_LEN],
		    const struct lt_endpoint *peer, size_t n);
/* Ask this one, too, until the swarm is left or its trackers are set anew; nothing where
 * nothing is announced. url: of magnet.h. libtorrent keeps those of private addresses out,
 * as the filter for peers says. */
void lt_add_tracker(struct lt_session *lt, const uint8_t id[IH_LEN], const char *url);
/* Say LT_METADATA (again), if it is there. */
void lt_metadata(struct lt_session *lt, const uint8_t id[IH_LEN]);
/* A copy of the info dict, whose hash libtorrent has checked; caller frees. After an
 * LT_METADATA. -1: not joined any more, or no memory. */
PS_MUST int lt_metadata_take(struct lt_session *lt, const uint8_t id[IH_LEN], char **info,
			     size_t *len);

/* Connections of all swarms and ways: how many there are, how many of them do not stand
 * yet, how many there may be (swarm.connections, or what descriptors allow); and what only
 * rises. */
struct lt_load {
	uint32_t open, half_open, limit;
	uint64_t dials;			/* attempts that swarms (not visits) made */
	uint64_t filtered;		/* endpoints that the filter of private addresses refused */
	uint64_t dropped;		/* records lost to a full queue */
	uint64_t alerts_dropped;	/* times libtorrent lost alerts */
};
void lt_load(const struct lt_session *lt, struct lt_load *out);

/* Up to max records; returns how many. Turns alerts into records on the way. */
size_t lt_next(struct lt_session *lt, struct lt_event *out, size_t max);
/* Once a second: ends visits that are over, sets what swarms may dial by themselves in the
 * next one, and asks for LT_STATS, which comes as a record. */
void lt_poll(struct lt_session *lt);
/* What lt.cc is told that needs no libtorrent; in lt_conf.c. Connections that the session
 * which joins may have: swarm.connections, or what descriptors allow. Each session for
 * visits has LT_VISITS_SHARE times fewer, beside those. */
#define LT_VISITS_SHARE 4
int lt_connections(const struct conf *c);
/* The router of the DHT at `at` in swarm.dht_bootstrap, port 0 if it has none that can be
 * used, and what is behind it; NULL: there is none. */
#define LT_ROUTER_MAX 256
const char *lt_router_next(const char *at, char host[LT_ROUTER_MAX], uint16_t *port);
/* Distinct trackers that a swarm joined with this configuration asks; in tracksay.c. */
uint32_t lt_tracker_count(const struct conf *c);
/* Distinct trackers of the configuration that swarm.max_trackers leaves out. */
uint32_t lt_trackers_left_out(const struct conf *c);

#endif
