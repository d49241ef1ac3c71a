/*
 * swarm_ace.h -- the AceStream side of a swarm: whom to call in that protocol, and what
 * the answers mean. Part of swarm.h, and pure as that is.
 *
 *	OFF    BitTorrent alone: acestream.peers is off, or the question was a torrent's
 *	MAYBE  nobody knows: the session joins it; ports of engines are called in AceStream,
 *	       others in BitTorrent, and who then says not one byte once in the other one
 *	FIRST  an engine knows the id: everybody is called in AceStream, nothing is joined
 *	PINNED its peers answer in AceStream alone: the same, whatever happens
 *	BT     its peers answer in BitTorrent alone: as OFF
 *
 *	MAYBE, FIRST --ACE_PIN answers in one protocol, none in the other--> PINNED, BT
 *	PINNED, BT --a day, or ACE_UNPIN_FAILS hang-ups in a row--> what it was
 *	FIRST --nobody answered, and somebody said not one byte--> MAYBE, which is joined
 *	quietly then: the key is AceStream's, so it is announced nowhere
 *
 * Source of the numbers: contracts/acestream-wire.md, sections 4 and 9 D, E, F, H.
 * Monotonic times are milliseconds, 0 is never. swarm_ace.c: modes; swarm_call.c: calls;
 * swarm_head.c: heads, lag, second looks; swarm_node.c: who is who, what is shown;
 * swarm_word.c: who is the source.
 * Proof: tests/unit/test_swarm_ace.c, test_swarm_head.c, tests/e2e/test_ace.py.
 */
#ifndef PEERSCOPE_COLLECTOR_SWARM_ACE_H
#define PEERSCOPE_COLLECTOR_SWARM_ACE_H

#include <stddef.h>
#include <stdint.h>

#include "collector/ace.h"
#include "collector/acepast.h"
#include "collector/lt.h"
#include "shm/layout.h"
#include "shm/peerwords.h"

/* Keys that a swarm is known by to engines: its infohash (or the id as it was asked for),
 * then one content id. */
#define ACE_KEYS 2
/* Peers that must have answered in one protocol alone before a swarm is pinned to it. */
#define ACE_PIN 3
/* A pin is judged anew after a day, or when so many peers in a row took our connection and
 * said nothing in its protocol. Those that can't be connected to say nothing about it. */
#define ACE_PIN_MS 86400000ull
#define ACE_UNPIN_FAILS 20
/* Beside acestream.revisit: who answered so lately is reachable; a call takes a while. */
#define ACE_REACH_MS 300000u
/* After each further failure; then the last one again and again. */
#define ACE_AGAIN_1_MS 600000u
#define ACE_AGAIN_2_MS 3600000u
#define ACE_AGAIN_3_MS 21600000u
/* Who refused so often is left alone until another source names it. */
#define ACE_REFUSALS 3
/* After its extended handshake the first round gives a peer this long to say what it has:
 * that follows on its heels, or never (idle ones say nothing more). */
#define ACE_FIELD_MS 60
/* Peers whose head is looked at twice, and pieces by which honest claims made at the same
 * moment may differ: a live window has 100. */
#define ACE_LOOKS 3
#define ACE_SPAN 128
/* A stream moves on by no more than one piece in so many milliseconds; measured ones take
 * 300 to 10,000. */
#define ACE_PIECE_LEAST_MS 100
/* Stale: no head moved over as long as this, and as four pieces take. */
#define ACE_STALE_MS 30000u
#define ACE_STALE_PIECES 4
/* Samples that are this far apart are compared as they are; others need piece_ms. */
#define ACE_APART_MS 30000u

struct swarm;
struct peer;
struct swarm_news;

enum ace_look {
	LOOK_NONE = 0,
	LOOK_WAITS = 1,			/* one of the second look; its next call tells */
	LOOK_SEEN = 2,			/* it was seen again */
};

/* Of a peer. A wrong or hostile one may have said any of it; told values only. */
struct peer_ace {
	uint8_t who[AW_WHO_LEN];	/* keyed hash of its node id; never leaves the collector */
	uint8_t has_who;
	uint8_t twin;			/* hidden: its node is listed under another endpoint */
	uint8_t turn;			/* enum peer_protocol: it is called in this one */
	uint8_t speaks;			/* the same: what it answered; PEER_UNSPOKEN */
	uint8_t crossed;		/* it had its turn in the other protocol: once */
	uint8_t calling;		/* a call is under way */
	uint8_t called;			/* a call ended in this life, however it did */
	uint8_t under;			/* bit per key that sources named it under */
	uint8_t key;			/* index: named in calls; it answers to it once it spoke */
	uint8_t silent;			/* bit per key to which not one byte came back */
	uint8_t fails, refused;		/* in a row */
	uint8_t ours;			/* the same, by our own system's fault */
	uint8_t unheard;		/* the last failure: our SYNs were not answered */
	uint8_t before;			/* sources that named it when it was known before */
	uint8_t gossiped;		/* messages 12 or 36 of others named it */
	uint8_t named_source;		/* another's word says now that it is the source */
	uint8_t role;			/* enum peer_role, by its own word (swarm_word_role) */
	struct lt_endpoint word;	/* whom its message 36 named; port 0: nobody */
	uint8_t kind;			/* enum ace_kind */
	uint8_t accessible;		/* enum peer_accessible */
	uint8_t platform;		/* as on the wire; 0: unknown */
	int8_t distance;		/* SHM_DISTANCE_UNKNOWN; -1: the source, or idle */
	char country[2];		/* NULs: unknown */
	uint8_t moved;			/* its head was seen to move on, at a sane pace */
	uint8_t looked;			/* enum ace_look */
	uint32_t version, asn;		/* 0: unknown */
	uint32_t head, position, lag;	/* SHM_UNKNOWN */
	uint32_t base;			/* its head when the look began */
	uint32_t told_s;		/* wall; it said this then; 0: never */
	uint64_t next_ms;		/* called then; 0: not */
	uint64_t not_ms;		/* not called before then: it failed, or answered, lately */
	uint64_t bt_ms;			/* visited in BitTorrent then; 0: not planned */
	uint64_t ended_ms;		/* our last connection to it, in either protocol, ended */
	uint64_t shaken_ms;		/* it answered our AceStream handshake last */
	uint64_t told_ms;		/* extended handshake of the call under way, or the last */
	uint8_t has_field;		/* of that call: it said what it has, too */
	uint64_t sampled_ms;		/* head and position are of then; 0: of an earlier life */
	uint64_t base_ms;		/* base is of then; it stays, the look over */
};

/* A monotonic time as one for people: worked out once, or it would differ by a second from
 * one version to the next, since both clocks are cut to seconds. */
struct ace_moment {
	uint64_t of_ms;
	uint32_t wall_s;
};

struct swarm_ace {
	uint8_t mode;			/* enum swarm_ace_mode */
	uint8_t meant;			/* OFF, MAYBE, FIRST: what it is without a pin */
	uint8_t enabled;		/* acestream.peers */
	uint8_t kind;			/* enum ace_kind */
	uint8_t motion;			/* enum ace_motion */
	uint8_t find_done;		/* acefind's first round is over */
	uint8_t has_trackers, answered;	/* acestream.trackers are configured; one answered */
	uint8_t dirty;			/* a head or position was told since they were measured */
	uint8_t words;			/* somebody was named as the source */
	uint8_t looking;		/* peers of the second look under way; 0: none */
	uint8_t nkeys;
	uint8_t key[ACE_KEYS][IH_LEN];	/* the first is swarm.id */
	uint32_t life;			/* of calls and look-ups */
	struct acepast *past;		/* borrowed; NULL: nobody is remembered */
	uint64_t revisit_ms, second_look_ms, other_ms;	/* of the configuration */
	uint64_t pinned_ms;
	uint64_t since_ms;		/* answers from before don't count for a pin */
	uint32_t straight;		/* hang-ups in a row */
	uint32_t head;			/* newest piece that is believed; SHM_UNKNOWN */
	uint32_t piece_ms;		/* measured; 0: not */
	uint64_t head_ms;		/* when that was told */
	uint64_t motion_ms;		/* when motion was found; 0: it is unproven */
	struct ace_moment head_at, motion_at;	/* both as they are shown */
	uint64_t look_ms;		/* when it began */
	uint64_t idle_ms;		/* acevisit.c found nobody of those due to call; 0: it did */
	uint64_t due_ms;		/* no next_ms or bt_ms of its peers is earlier; 0: none */
};

/* Section 9 H: each by its own rule, a peer may be in all three; twins are in none. */
struct swarm_ace_counts {
	uint32_t discovered;		/* named by a tracker, the DHT, LSD or a question, or
					 * it called us */
	uint32_t reachable;		/* answered our AceStream handshake lately */
	uint32_t gossiped;		/* described or named by a neighbour, met or not */
	uint32_t sources, source_like;	/* by role */
};

/* What became of a call, for its driver. */
struct swarm_ace_news {
	struct peer *peer;		/* that was called; NULL: it is no longer known */
	int contacted;			/* it answered for the first time */
	char client[AW_CLIENT_MAX];	/* its name; "": none was told */
};

/* --- swarm_ace.c: modes; swarm_call.c: calls --- */

/* Intervals, and acestream.peers: while that is off every swarm is OFF. */
void swarm_ace_configure(struct swarm *w, const struct conf *c, uint64_t now_ms);
/* What a question or an engine says of it: OFF, MAYBE or FIRST. Evidence stands: what is
 * pinned stays so, and what is known better is not unsaid. */
void swarm_ace_meant(struct swarm *w, enum swarm_ace_mode mode, uint64_t now_ms);
/* A slot of an earlier life, cached age_ms ago, says how it was: mode, head, motion. */
void swarm_ace_remember(struct swarm *w, const struct shm_swarm *s, uint64_t age_ms,
			uint64_t now_ms);
/* Another key of it. 1: it is new, and there was room. */
int swarm_ace_key(struct swarm *w, const uint8_t id[IH_LEN]);
/* The second one means another swarm, it turned out. 1: it was a key of this one. */
int swarm_ace_unkey(struct swarm *w, const uint8_t id[IH_LEN]);
/* Is it called in AceStream (MAYBE, FIRST, PINNED); does the session join it (all but
 * FIRST and PINNED), and is nothing announced then? */
int swarm_ace_on(const struct swarm *w);
int swarm_ace_joins(const struct swarm *w);
int swarm_ace_quiet(const struct swarm *w);
/* No source is asked but acestream.trackers, and the DHT by acefind. */
int swarm_ace_alone(const struct swarm *w);
/* swarm.c: as swarm_event, of one of acestream.trackers: once it is asked it is one of the
 * swarm's own. */
void swarm_ace_tracker(struct swarm *w, const struct lt_event *e, uint64_t now_ms,
		       uint32_t now_s, struct swarm_news *news);

/* A source named an endpoint under key number `key`. NULL: no room. news->fresh: it is new;
 * then, if its turn is BitTorrent's, the session must be told of it. */
struct peer *swarm_ace_heard(struct swarm *w, const uint8_t addr[ADDR_LEN], uint16_t port,
			     uint8_t source, uint32_t key, uint64_t now_ms, uint32_t now_s,
			     struct swarm_news *news);
/* A neighbour was described (message 12) by a peer that answers to key number `key`. client:
 * its name, if it has not said one itself. */
struct peer *swarm_ace_gossip(struct swarm *w, const struct acewire_rec *r, uint32_t key,
			      uint64_t now_ms, uint32_t now_s, struct swarm_news *news,
			      char client[AW_CLIENT_MAX]);

/* It is named under key number `key` (one beyond the last: no news). */
void swarm_ace_under(struct swarm *w, struct peer *p, uint32_t key, uint64_t now_ms);
/* It is called then, and not at another time; visited in BitTorrent, once. */
void swarm_ace_plan(struct swarm *w, struct peer *p, uint64_t at_ms);
void swarm_ace_cross(struct swarm *w, struct peer *p, uint64_t at_ms);
/* The same as plan, but not before its not_ms; nor at all who refused too often. */
void swarm_ace_want(struct swarm *w, struct peer *p, uint64_t at_ms);
/* How its calls went, for when it is known again. */
void swarm_ace_keep(struct swarm *w, const struct peer *p, uint64_t now_ms);

/* The next peer that is due, from *at on (0 at first): those never called before others.
 * 0: none. It stays due until swarm_ace_called says that its call has begun. */
int swarm_ace_due(const struct swarm *w, uint64_t now_ms, uint32_t *at,
		  struct ace_target *out);
void swarm_ace_called(struct swarm *w, const struct ace_target *t);
void swarm_ace_seen(struct swarm *w, const struct ace_seen *s, uint64_t now_ms,
		    uint32_t now_s, struct swarm_ace_news *news);
/* Once a second: pins, the other protocol, second looks. 1: the mode is another one. */
int swarm_ace_tick(struct swarm *w, uint64_t now_ms);
/* The session has left it since it is pinned: nobody is connected, all are still known. */
void swarm_ace_unjoined(struct swarm *w);

/* For swarm.c and swarm_visit.c: a new peer, that nothing is known of; one of an earlier
 * life; one that goes; another source names it; the session won't dial it, as it is on an
 * engine's port; it answered in BitTorrent; an attempt to reach it so ended; and all ways
 * of that failed. */
void swarm_ace_fresh(struct swarm *w, struct peer *p, uint64_t now_ms);
void swarm_ace_seed(struct swarm *w, struct peer *p, const struct shm_peer *s,
		    uint64_t now_ms, uint32_t now_s);
void swarm_ace_gone(struct swarm *w, struct peer *p);
void swarm_ace_named(struct swarm *w, struct peer *p, uint8_t source, uint64_t now_ms);
void swarm_ace_filtered(struct swarm *w, struct peer *p);
void swarm_ace_bt_answered(struct swarm *w, struct peer *p, uint64_t now_ms);
void swarm_ace_bt_ended(struct peer *p, uint64_t now_ms);
void swarm_ace_bt_failed(struct swarm *w, struct peer *p, uint64_t now_ms);
/* The swarm is joined anew: calls that were under way are made again. */
void swarm_ace_rejoin(struct swarm *w, uint64_t now_ms);
/* May it be visited in BitTorrent by the rounds of swarm_visit.c? */
int swarm_ace_bt_may(const struct swarm *w, const struct peer *p, uint64_t now_ms);
/* Is acefind's first round waited for? Not in a swarm that so far looks like BitTorrent:
 * its first answer comes as soon as ever. */
int swarm_ace_waits(const struct swarm *w);
/* For swarm_judge.c: the same as its peer_done, for one whose turn is AceStream's. */
int swarm_ace_done(const struct peer *p, uint64_t now_ms, uint64_t *recheck_ms);

/* --- swarm_head.c: heads, lag, second looks --- */

/* A peer has told its window. first: in this call for the first time. */
void swarm_head_sample(struct swarm *w, struct peer *p, const struct acewire_told *t,
		       int first, uint64_t now_ms);
/* If something was told since the last time: the swarm's head and every peer's lag. */
void swarm_head_measure(struct swarm *w, uint64_t now_ms);
/* Once a second: begin, go on with, or judge a second look. */
void swarm_head_look(struct swarm *w, uint64_t now_ms);
/* Its call failed, or it goes: it is not looked at any more. */
void swarm_head_lost(struct swarm *w, struct peer *p);

/* --- swarm_word.c: who is the source, by others' words --- */

/* In a call to `by` it named this endpoint as the source (message 36): the same as
 * swarm_ace_heard, and its word from now on. */
struct peer *swarm_ace_source(struct swarm *w, const struct ace_target *by,
			      const struct lt_endpoint *word, uint32_t key,
			      uint64_t now_ms, uint32_t now_s, struct swarm_news *news);
/* A call to `by` ended, and it named nobody. */
void swarm_ace_no_source(struct swarm *w, const struct ace_target *by, uint64_t now_ms);
/* Once a second, and with each word: whose word counts. */
void swarm_word_judge(struct swarm *w, uint64_t now_ms);
/* As it is shown. */
enum peer_role swarm_word_role(const struct peer *p);

/* --- swarm_node.c: who is who, what is shown --- */

/* Its node id is proven: find its twin. */
void swarm_node_is(struct swarm *w, struct peer *p, const uint8_t who[AW_WHO_LEN]);
/* It goes, or is no longer that node: a twin takes its place. */
void swarm_node_lost(struct swarm *w, struct peer *p);
/* What the peer says of itself, of which all but the window is as it was first said. */
void swarm_node_told(struct peer *p, const struct acewire_told *t);
/* It answered our AceStream handshake lately. */
int swarm_ace_reached(const struct swarm *w, const struct peer *p, uint64_t now_ms);
void swarm_ace_count(const struct swarm *w, uint64_t now_ms, struct swarm_ace_counts *out);
/* In which protocol a peer is shown, and a swarm: by answers, else as they are called. */
enum peer_protocol swarm_ace_speaks(const struct peer *p);
enum peer_protocol swarm_ace_protocol(const struct swarm *w);
/* For swarm_judge.c: what a record and a slot say of AceStream, protocol and all. */
void swarm_ace_record(const struct swarm *w, const struct peer *p, struct shm_peer *out);
void swarm_ace_head(struct swarm *w, uint64_t now_ms, uint32_t now_s,
		    struct shm_swarm *head);

#endif
