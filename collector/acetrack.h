/*
 * acetrack.h -- one announce to a UDP tracker (BEP 15), and "stopped" right behind it.
 *
 *	NAME --addresses--> CONNECT --id--> ANNOUNCE (started) --peers--> STOP --> over
 *	    each step: sent, again after 3 s, given up after 6 more; STOP: once more, 3 s
 *
 * libtorrent announces for as long as a torrent is there, and in its own name; a census of
 * an AceStream swarm wants to hear who is in it, and not to be in it (contract, section 9 A).
 * One socket for each announce, bound to the device: whatever comes to it comes from the
 * tracker's address (it is connected), and counts only with the transaction id that we sent.
 * Everything on the collector's loop; nothing blocks.
 * acepacket.c: the packets, pure. acetrack.c: socket and timers.
 * Proof: tests/unit/test_acetrack.c, tests/e2e/test_ace_find.py (opentracker).
 */
#ifndef PEERSCOPE_COLLECTOR_ACETRACK_H
#define PEERSCOPE_COLLECTOR_ACETRACK_H

#include <stddef.h>
#include <stdint.h>

#include "collector/lt.h"
#include "common/err.h"
#include "common/ident.h"

#define ACETRACK_MAX 64			/* trackers in acestream.trackers (contract, 1.1) */
#define ACETRACK_URL_MAX 256		/* with the final NUL */
#define ACETRACK_WANT 200		/* peers asked for */
#define ACETRACK_PEERS 512		/* taken of an answer, whatever was asked for */
#define ACETRACK_TEXT_MAX 96		/* of a tracker's error, with the final NUL */
#define ACETRACK_NAME_MS 5000u		/* for the name */
#define ACETRACK_TRY_MS 3000u		/* then it is sent again, */
#define ACETRACK_LAST_MS 6000u		/* and then the tracker is silent */

/* ---- a tracker ------------------------------------------------------------------ */

struct acetrack_url {
	char host[ACETRACK_URL_MAX];	/* name or address, without brackets */
	uint16_t port;
};
/* udp://host:port, udp://[v6]:port, with or without a path: that is not sent. */
PS_MUST int acetrack_parse(struct acetrack_url *out, const char *url, char err[ERRLEN]);

/* ---- packets; numbers are big-endian (BEP 15) ----------------------------------- */

#define ACETRACK_CONNECT_LEN 16
#define ACETRACK_ANNOUNCE_LEN 98
/* Longest answer read; more is cut off. */
#define ACETRACK_ANSWER_LEN (20 + 18 * ACETRACK_PEERS)

enum acetrack_action { ACETRACK_CONNECT = 0, ACETRACK_ANNOUNCE = 1, ACETRACK_ERROR = 3 };
enum acetrack_event { ACETRACK_STARTED = 2, ACETRACK_STOPPED = 3 };

struct acetrack_ask {			/* the same for "started" and "stopped" */
	uint8_t hash[IH_LEN];
	uint8_t peer_id[IH_LEN];
	uint32_t key;			/* ours, whatever our address */
	uint16_t port;			/* where peers would reach us */
};

struct acetrack_answer {
	uint64_t connection;		/* of CONNECT */
	uint32_t interval_s, leechers, seeders;
	uint32_t n;
	struct lt_endpoint peer[ACETRACK_PEERS];	/* none with port 0 */
	char text[ACETRACK_TEXT_MAX];	/* of ERROR: raw bytes; never "" */
};

enum acetrack_rc {
	ACETRACK_NOT_OURS,		/* no answer to this transaction: wait on */
	ACETRACK_OK,			/* the answer asked for */
	ACETRACK_NO,			/* action 3: text */
	ACETRACK_GARBLED,		/* our transaction, but it makes no sense */
};

void acetrack_put_connect(uint8_t out[ACETRACK_CONNECT_LEN], uint32_t txid);
void acetrack_put_announce(uint8_t out[ACETRACK_ANNOUNCE_LEN], uint64_t connection,
			   uint32_t txid, const struct acetrack_ask *ask,
			   enum acetrack_event event);
/* A datagram, in answer to `action` with this txid. v6: it was asked over IPv6, so a peer
 * takes 18 bytes, not 6; bytes left over at the end are ignored. */
PS_MUST enum acetrack_rc acetrack_get(struct acetrack_answer *out, const uint8_t *packet,
				      size_t len, enum acetrack_action action, uint32_t txid,
				      int v6);

/* ---- an announce ---------------------------------------------------------------- */

struct event_base;
struct acetrack;			/* under way; opaque */

struct acetrack_way {			/* how packets leave; copied */
	char device[16];		/* swarm.interface; "": any */
	uint8_t from4[ADDR_LEN], from6[ADDR_LEN];	/* our addresses; 0.0.0.0, ::: any */
	int allow_private;		/* trackers with private addresses, too */
	uint32_t try_ms, last_ms;	/* ACETRACK_TRY_MS, ACETRACK_LAST_MS; tests have less time */
};

enum acetrack_what {
	ACETRACK_ASKED,			/* "started" goes out for the first time */
	ACETRACK_ANSWERED,		/* answer is set */
	ACETRACK_FAILED,		/* failure, text */
	ACETRACK_OVER,			/* the last word, after one of those two: it is freed */
};
struct acetrack_news {
	enum acetrack_what what;
	enum lt_failure failure;
	const char *text;		/* for the log; a tracker's own words are raw bytes */
	const struct acetrack_answer *answer;	/* borrowed */
};
/* From the loop, never from within a call made here. May not end t. */
typedef void acetrack_fn(void *arg, const struct acetrack_news *news);

/* 0, or -1: no memory, no random bytes. */
PS_MUST int acetrack_begin(struct acetrack **out, struct event_base *base,
			   const struct acetrack_url *url, const struct acetrack_ask *ask,
			   const struct acetrack_way *way, acetrack_fn *fn, void *arg);
/* Nothing more is wanted of it, fn is not called again, and it is freed. stop: a tracker
 * that may have taken us in hears "stopped", once; 0: not a packet more. Sets *t to
 * NULL; NULL is fine. */
void acetrack_end(struct acetrack **t, int stop);

#endif
