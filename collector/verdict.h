/*
 * verdict.h -- whose fault is an empty list: the stream's, or our own path's?
 *
 * Pure: events, facts and the time go in, a verdict comes out; no clock, no network, no
 * shared memory. `struct path` gathers the evidence about our way to the world, of all
 * swarms together; verdict_swarm judges one swarm in its light. jobs.c asks, publish.c
 * writes what comes out into slots and gauges, shm/verdictjson.h puts it in words.
 * Proof: tests/unit/test_verdict.c, tests/e2e/test_verdict.py.
 *
 * The rule of the path: an answer proves that packets come and go; silence proves
 * nothing by itself, since trackers and peers die too. So a transport is `open` after an
 * answer, and `blocked` only when what was asked since then, and was silent for
 * PATH_SILENT_MS, weighs enough: 2, or 3 while the other transport is open, for then the
 * network is there and dead trackers are the likelier reason. It weighs
 *   1  each tracker, whatever the kind of silence, but not one that was silent before
 *      while others of its transport answered;
 *   1  PATH_DIALS attempts at peers (their list may be stale); 2 if they were of two
 *      swarms; 3 if four times as many were of four; four calls to engines are one;
 *   1  a DHT that knows only its routers (routers die: qBittorrent #24296), 2 with nodes;
 *   2  a control swarm, which always has peers, that was silent on this transport.
 *
 * All times are monotonic milliseconds of the loop; 0 means never.
 */
#ifndef PEERSCOPE_COLLECTOR_VERDICT_H
#define PEERSCOPE_COLLECTOR_VERDICT_H

#include "collector/lt.h"
#include "collector/swarm.h"
#include "shm/peerwords.h"

/* Longer than libtorrent waits for a TCP connection (7 s), and than most answers take. */
#define PATH_SILENT_MS 10000u
/* A proof older than this is history: the DHT alone speaks several times a minute. */
#define PATH_FRESH_MS 120000u
/* Attempts at peers that make a silent swarm weigh. Of a public swarm's list a third
 * answers; 16 that are all dead are one chance in several hundred. */
#define PATH_DIALS 16u
/* Swarms whose attempts are told apart, by their keys: one that is dialled in both
 * protocols, or was joined twice, is one. */
#define PATH_SWARMS 4u
/* Trackers remembered: as many as a swarm can have (swarm.max_trackers). */
#define PATH_TRACKERS 64u
/* Nobody called for this long although we reach others: what callers need is shut. */
#define PATH_CALLERS_MS 600000u

/* "Reached lately": a settled swarm is revisited at a growing pace, minutes apart. */
#define VERDICT_LATELY_MS 600000u
/* Thin: fewer than one of VERDICT_THIN_OF dialled peers was reached, once at least
 * VERDICT_THIN_MIN were. Behind NAT 60 to 80 % of a live list don't answer; 95 % are dead
 * entries, or a crowd that lets nobody in. A small swarm is thin only if nobody answers. */
#define VERDICT_THIN_OF 20u
#define VERDICT_THIN_MIN 20u
/* Peers that wait for their turn don't hold the verdict up for longer than this. */
#define VERDICT_DIAL_MS 30000u

/* NONE: there is none, or nobody says how it is. */
enum path_vpn { PATH_VPN_NONE = 0, PATH_VPN_UP = 1, PATH_VPN_DOWN = 2 };

/* One transport: what was heard, and how much was asked without an answer since. */
struct path_side {
	uint64_t answer_ms;		/* last proof of life */
	uint32_t unanswered;		/* announces and attempts since then */
};
struct path_tracker {
	uint32_t hash;			/* of lt_event; 0: free */
	uint64_t since_ms;		/* asked, without a proof since; 0: not so */
	int dead;			/* was silent while others answered */
	int unnamed;			/* its name was not found, last time */
};

struct path {
	struct path_side udp, tcp;
	uint64_t udp_tracker_ms, http_tracker_ms, dht_ms;	/* last answers */
	uint64_t tcp_out_ms, utp_ms, incoming_ms, reached_ms;	/* last handshakes */
	uint64_t failed_ms;		/* last failure of a tracker, and its kind */
	enum lt_failure failure;
	uint32_t name_failures;		/* trackers whose name was not found since an answer */
	struct path_tracker tracker[PATH_TRACKERS];
	uint32_t dials, nswarms;	/* over TCP, without an answer since */
	uint8_t swarm[PATH_SWARMS][IH_LEN];	/* that these were of */
	uint64_t dial_ms;		/* the first of them */
	int dht;			/* 1: it is on */
	uint32_t dht_nodes, dht_in, dht_out;	/* messages, as last counted */
	uint32_t dht_unanswered;	/* messages sent since the last one came */
	uint64_t dht_asked_ms;		/* the first of them */
	int interface_there;
	enum path_vpn vpn;
	uint64_t control_ms;		/* when a control probe ended last */
	int control_answered;		/* what it found */
	uint32_t control_known;		/* peers that its sources named */

	enum path_verdict verdict, udp_verdict, tcp_verdict;	/* of path_judge */
	enum path_cause cause;		/* the same: why it is not open, if that is known */
	uint64_t since_ms;		/* when `verdict` became what it is */
};

/* Everything that the session says goes through here, of any swarm. */
void path_event(struct path *p, const struct lt_event *e, uint64_t now_ms);
/* Another way out: proofs and silence of the old one say nothing any more. */
void path_anew(struct path *p);
/* What only others know. there: swarm.interface is (or none is asked for). A change
 * begins anew. */
void path_facts(struct path *p, int there, enum path_vpn vpn, int dht);
/* Sets the three verdicts and the cause. 1: one of them is another than before. */
int path_judge(struct path *p, uint64_t now_ms);
/* The four in one byte, for a slot: peerwords.h. */
uint8_t path_packed(const struct path *p);
enum path_reach path_reach(const struct path *p, uint64_t now_ms);

/* Peers of w that are connected, or shook hands within VERDICT_LATELY_MS; engines, which
 * are called less often, within acestream.revisit and ACE_REACH_MS. *last_ms: the latest
 * handshake, 0: none. */
uint32_t verdict_reached(const struct swarm *w, uint64_t now_ms, uint64_t *last_ms);
enum swarm_verdict verdict_of(const struct path *p, const struct swarm *w,
			      uint64_t now_ms);
/* The same into head, with what it rests on: the rest of head is swarm_snapshot's. */
void verdict_swarm(const struct path *p, const struct swarm *w, uint64_t now_ms,
		   struct shm_swarm *head);

/*
 * Control probes: swarm.control names swarms that always have peers. When the path is in
 * doubt, one is joined like any other, until it answered or CONTROL_MS are over.
 */
#define CONTROL_MS 30000u
#define CONTROL_GAP_MS 300000u		/* one in five minutes: a guest that is polite */
/* A path that was proven this lately is not in doubt. */
#define CONTROL_PROOF_MS 60000u
#define CONTROL_MAX 16			/* ids of the list; further ones are left out */

struct control {
	uint64_t began_ms;		/* the last probe; 0: never one */
	int running;
	uint32_t turn;			/* which id comes next */
	uint8_t id[IH_LEN];		/* of the running one */
};
/* Is it time for a probe? doubt: a user's swarm has nobody, see verdict_doubt. */
int control_wanted(const struct control *k, const struct path *p, int doubt,
		   uint64_t now_ms);
/* 1: this swarm of a user's makes one doubt the path. */
int verdict_doubt(const struct swarm *w, uint64_t now_ms);
/* Id number turn of the list, round and round. -1: the list is empty. */
PS_MUST int control_id(const char *list, uint32_t turn, uint8_t out[IH_LEN]);
/* 1: the running probe is over; *answered says how. w is its swarm. */
int control_over(const struct control *k, const struct swarm *w, uint64_t now_ms,
		 int *answered);
void control_ended(struct control *k, struct path *p, int answered, uint32_t known,
		   uint64_t now_ms);

#endif
