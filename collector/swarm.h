/*
 * swarm.h -- what the collector remembers of each swarm that it has joined.
 *
 * Pure: events and the time go in, state comes out; no libtorrent call, no clock,
 * no shared memory, so that every rule (when is a swarm known well enough, who
 * leaves, what a peer's state is) is tested without a network.
 * Proof: tests/unit/test_swarm.c.
 */
#ifndef PEERSCOPE_COLLECTOR_SWARM_H
#define PEERSCOPE_COLLECTOR_SWARM_H

#include <stddef.h>
#include <stdint.h>

#include "collector/lt.h"
#include "collector/swarm_ace.h"
#include "common/conf.h"
#include "common/ident.h"
#include "shm/layout.h"
#include "shm/ptab.h"

/* A peer that shook hands has this long to say who it is before the first round stops
 * waiting for it: Transmission takes 500 ms after the handshake, on loopback. */
#define SWARM_TELL_MS 1000
/* What it has comes with that or never: a peer without pieces may say nothing. */
#define SWARM_PIECES_MS 150
/* Until the metadata is there, progress is off by up to 7 pieces. Once somebody offers
 * it, the first round gives it this long. */
#define SWARM_METADATA_MS 300
#define SWARM_METADATA_LATE_MS 4000
#define SWARM_METADATA_APART_MS 6000 /* two visits: the first connection is over (lt.cc) */
#define SWARM_METADATA_STEP_MS 500 /* longer than before one */
#define SWARM_METADATA_GAP_MS 60000 /* at most */
/* TCP that says nothing for so long is tried by uTP beside it: behind a NAT that may be
 * the only way. SYNs are sent again after a second. */
#define SWARM_SILENT_MS 1000
/* The first round waits so long for a second way to a peer: libtorrent dials once a second,
 * then a handshake. What comes later is in the next version. */
#define SWARM_SECOND_MS 1300
#define SWARM_CLEAR_MS 2500		/* and so long it is not settled */
/* Who answered in no way is asked once more soon: it may just have been full, or still
 * have had our last connection. */
#define SWARM_AGAIN_MS 15000
/* And not while a visit of the last round is under way; one whose end was never heard (the
 * session may have known better than to dial) is over then: all ways, each 7 + 7 s. */
#define SWARM_ROUND_MS 60000
/* Rounds in which a peer answered in no way; then it is left alone until another source
 * names it. */
#define SWARM_FAILS 3
/* Settled: everybody was asked, and nobody new for this long. */
#define SWARM_QUIET_MS 1000
/* Dead: nobody was ever heard of, this long after joining. */
#define SWARM_DEAD_MS 30000
#define SWARM_TRACKERS 64

struct peer {
	uint8_t addr[ADDR_LEN];
	uint16_t port;
	uint8_t state;			/* enum peer_state */
	uint8_t sources, flags;		/* PEER_SRC_*, PEER_F_* */
	uint8_t links;			/* connections and attempts now */
	uint8_t told;			/* TOLD_* */
	uint8_t dialled;		/* an attempt was made and has ended, or stands */
	uint8_t likely_seed;		/* as in struct lt_event: counts until there is metadata */
	uint8_t way;			/* enum lt_way that worked last, + 1; 0: none yet */
	uint8_t next;			/* enum lt_way of the visit it waits for, + 1; 0: none */
	uint8_t tried;			/* bit per way: used in this round */
	uint8_t reached;		/* answered in this round */
	uint8_t stood;			/* bit per way: a connection stood in this round */
	uint8_t failed;			/* this round was counted in fails */
	uint8_t fails;			/* rounds without an answer */
	uint8_t place_owed;		/* enum place_owed */
	uint16_t progress;		/* hundredths of a percent */
	uint32_t have, pieces;		/* as the peer says; LT_ALL_PIECES: all */
	uint32_t down_rate, up_rate;	/* bytes per second */
	uint32_t first_seen_s, last_seen_s;	/* wall */
	uint64_t shaken_ms;		/* monotonic, last handshake; 0: none */
	uint64_t dialled_ms;		/* monotonic, first attempt of this round */
	uint64_t second_ms;		/* monotonic, when another way was seen to be needed; 0 */
	uint64_t named_ms;		/* monotonic, when a TOLD_ bit about its name was set */
	uint32_t client, place;		/* references into the names table */
	struct peer_ace ace;
};
/* The names table had no room for its place: it is looked up again when it has; place is
 * what was known before, which others may have said. */
enum place_owed { PLACE_GIVEN, PLACE_OWED, PLACE_OWED_TOLD };
#define TOLD_CLIENT 1u			/* the name that it gives itself */
#define TOLD_PIECES 2u
#define TOLD_NO_EXTENSION 4u		/* it will not give a better name */

struct swarm_tracker {
	uint32_t hash;
	uint16_t asked, answered;	/* announces */
	uint8_t ok, failed;		/* ever; failed: the last enum lt_failure */
};

/* An id that a swarm answers to (swarms.h). Each that is asked for costs a slot of the
 * table and a copy of the list in its pool, so there are few: the two hashes of a hybrid,
 * and the content ids under which one channel is known at a time. */
#define SWARM_IDS 8
struct swarm_id {
	uint8_t id[IH_LEN];
	uint8_t resolved;		/* enum swarm_resolved */
	uint8_t had_slot;		/* an earlier life's answer stands in its slot */
	uint8_t written;		/* its slot was written in this life */
	uint64_t asked_ms;		/* monotonic, last question; 0: none, it has no slot */
	struct swarm *swarm;		/* whose it is; NULL: a free entry */
	struct swarm_id *next;		/* in its bucket */
};

struct swarm {
	uint8_t id[IH_LEN];		/* key in the session: one of its hashes */
	struct swarm_id ids[SWARM_IDS];	/* what it answers to; the first is the key */
	uint32_t life;			/* of lt_join: records of another life are stale */
	struct lt_ids ih;		/* of the torrent, as far as they are known */
	struct peer *peer;		/* npeers of cap, in no order */
	uint32_t npeers, cap, max_peers;
	uint32_t *hash;			/* endpoint -> index + 1; hash_size is a power of two */
	uint32_t hash_size;

	struct swarm_tracker tracker[SWARM_TRACKERS];
	uint32_t ntrackers;		/* seen so far */
	struct swarm_tracker ace_tracker[SWARM_TRACKERS];	/* of acestream.trackers */
	uint32_t nace_trackers;		/* that were asked; swarm_ace_waits waits for them */
	uint32_t said, said_by;		/* text of the last failure (names table), and whose */
	uint32_t title;			/* by an engine (names table); 0: none */
	uint32_t trackers_expected;	/* to be asked now; 0 while trackers_at_ms is in the way */
	/* Of links (fetch_track.c): hashes of the URLs that the session's list has beside those of
	 * the configuration; whoever makes that list anew, or expects others, begins with 0. */
	uint64_t linked[SWARM_TRACKERS];
	uint32_t nlinked;
	uint64_t announced_ms;		/* monotonic; a tracker was asked last; 0: never */
	uint64_t trackers_at_ms;	/* trackers are asked then, not before; 0: they are */
	int dht;			/* the DHT is asked too */
	int32_t seeds, leechers;	/* what counted_by counted; -1: unknown */
	uint32_t tracker_at_s, counted_by;	/* 0: nobody in this life */
	uint32_t dht_peers, dht_at_s;	/* at 0: no answer yet */
	uint32_t plans;			/* peers with a visit to come */
	uint64_t revisit_ms, revisit_gap_ms;	/* next visit to everybody; 0: none planned */
	uint32_t pieces;		/* 0: no metadata yet */
	uint64_t offered_ms;		/* monotonic; a peer first offered metadata; 0: none did */
	uint32_t metadata_turn;		/* index of the peer that may be visited for it next */
	uint32_t metadata_visits;	/* planned for it */
	uint64_t metadata_ms;		/* monotonic; none before that */

	uint64_t joined_ms, asked_ms;	/* monotonic; asked: last question or touch */
	uint64_t grew_ms;		/* monotonic; last new endpoint */
	uint64_t published_ms;		/* monotonic; 0: never in this life */
	enum swarm_phase published_phase;
	uint64_t changed_ms;		/* monotonic; 0: nothing new since published */
	int important;			/* the change is one that people look for */
	int redis_due;			/* a version was published that Redis has not seen */
	uint64_t redis_ms;		/* monotonic; last written there */
	enum swarm_phase redis_phase;	/* and what that said */
	uint8_t claim;			/* enum claim_state */
	uint64_t claim_ms;		/* monotonic; last asked for; 0: never */
	uint32_t places_set;		/* databases that all its places are of; places.c */
	uint32_t places_owed;		/* coll.places.room when one was left out last; 0: none */
	uint32_t online_pass;		/* the last that saw its peers; online.c */
	uint8_t published_verdict, published_path;	/* of the newest version */
	int meta;			/* its metadata is waited for (fetch.c) */
	uint64_t seed_until_ms;		/* monotonic; it serves its metadata to others; 0 */
	uint32_t seed_bytes;		/* of that */
	int control;			/* a probe of ours, not a question of anybody's */
	int round_done;			/* the first round is over: stays set */
	int joined, quiet;		/* in the session; and there announced nowhere */
	int away;			/* not in the session: the network is gone or changing */
	struct swarm_ace ace;
	uint32_t waiters;
	uint64_t judged;		/* jobs.c: number of the pass that looked at it last */
	int ready, settled;		/* what that pass found */
	uint64_t recheck_ms;

	struct swarm *next, *prev;	/* in the list of all */
};

/* Result of an event: did it make a peer, or tell a name? */
struct swarm_news {
	struct peer *fresh;		/* a new peer: wants a place; NULL: none */
	struct peer *named;		/* e->text is its client name; NULL: none */
	int contacted;			/* it completed its first handshake */
	int evicted;			/* peers that made room */
	int tracker_failed;		/* in a way that is news; e->text: why */
};
void swarm_event(struct swarm *w, const struct lt_event *e, uint64_t now_ms,
		 uint32_t now_s, struct swarm_news *news);
/*
 * Visits: how to reach who did not answer, and when to see the others again.
 *
 *	plain TCP --stood, no handshake--> encrypted TCP --no--> uTP --no--> a failed round
 *	    |------refused, or silent for a second------------->
 *
 * A peer of a hybrid torrent may know it by one of its hashes only, and hangs up on who says
 * the other: where a connection stood without a handshake, the other hash comes next.
 *
 * A round is the first contact, or a revisit; that one begins with the way that worked.
 */
struct swarm_visit {
	struct lt_endpoint to;
	enum lt_way way;
};
/* Take up to max visits that are due; they are under way then. */
size_t swarm_visits(struct swarm *w, uint64_t now_ms, struct swarm_visit *out, size_t max);
/* One that was taken could not be made yet: it is due again. */
void swarm_visit_later(struct swarm *w, const struct swarm_visit *v);
/* Once a second: peers that are silent on TCP; and, after the first round and if its time
 * has come, a new round for everybody who is not connected: SWARM_AGAIN_MS after the
 * first one, gap_ms later, then after twice that, up to max_ms. */
void swarm_plan(struct swarm *w, uint64_t now_ms, uint64_t gap_ms, uint64_t max_ms);
/* Once a second, while metadata is wanted: if it is offered for SWARM_METADATA_LATE_MS and
 * does not come, the connected peers are visited for it, one after the other, each alone, and
 * ever more slowly: in one torrent a single one that lies about its size keeps libtorrent from
 * taking it of all others, and visits to one swarm are one torrent while they last. */
void swarm_plan_metadata(struct swarm *w, uint64_t now_ms);
/* For swarm.c: the plan of one peer, made, dropped, and made by a failed attempt. */
void swarm_want(struct swarm *w, struct peer *p, enum lt_way way);
void swarm_unwant(struct swarm *w, struct peer *p);
/* For swarm.c and swarm_ace.c: the session has left the swarm, so nobody is connected in it,
 * wanted or counted as tried; who was met, and when, stays. */
void swarm_hang_up(struct swarm *w);
void swarm_attempt_failed(struct swarm *w, struct peer *p, const struct lt_event *e,
			  uint64_t now_ms);
/* A peer from an earlier life. NULL: it is there already, or no memory. */
struct peer *swarm_seed(struct swarm *w, const struct shm_peer *p, uint64_t now_ms);
/* Whoever asks names this peer (x.pe); it counts as heard of now. NULL: no room. */
struct peer *swarm_give(struct swarm *w, const uint8_t addr[ADDR_LEN], uint16_t port,
			uint64_t now_ms, uint32_t now_s, struct swarm_news *news);
/* For its own files: the peer of an endpoint (NULL: unknown), and a new one (NULL: no
 * room; as: the state that it will have). Any new peer may move all others. */
struct peer *swarm_find_peer(const struct swarm *w, const uint8_t addr[ADDR_LEN],
			     uint16_t port);
struct peer *swarm_add_peer(struct swarm *w, const uint8_t addr[ADDR_LEN], uint16_t port,
			    enum peer_state as, uint64_t now_ms, uint32_t now_s,
			    struct swarm_news *news);
/* Is it known here? */
int swarm_knows(const struct swarm *w, const uint8_t addr[ADDR_LEN], uint16_t port);
/* Everything that `from` knows, too: the same torrent under its other hash. Nobody is
 * connected in either (swarm_rejoin). */
void swarm_absorb(struct swarm *w, const struct swarm *from, uint64_t now_ms);
void swarm_free(struct swarm *w);		/* for swarms.c */
/* What people call it: the v1 hash, else the v2 hash cut to 20 bytes. */
const uint8_t *swarm_infohash(const struct swarm *w);
int swarm_has_hash(const struct swarm *w, const uint8_t id[IH_LEN]);
/* Trackers heard of us at at_ms (0: never), in an earlier life: if gap_ms are not over they
 * are told again then, not now. Whom we knew is still known, and the DHT may be asked.
 * 1: so it is. */
int swarm_keep_interval(struct swarm *w, uint64_t at_ms, uint64_t gap_ms, uint64_t now_ms);
/* All connections are gone: it is joined anew. Who was known stays known. */
void swarm_rejoin(struct swarm *w, uint64_t now_ms);
/* Forget an endpoint (it is ourselves). */
void swarm_forget(struct swarm *w, const uint8_t addr[ADDR_LEN], uint16_t port);
/* Peers not heard of since before_s leave, but not the connected ones, nor engines that
 * answered since they were last due. How many. */
uint32_t swarm_expire(struct swarm *w, uint32_t before_s, uint64_t now_ms);

/*
 * Is the first round over? All trackers have answered, and every known peer was
 * dialled and has told what it has to tell, or failed. *recheck_ms: if not, look
 * again then even without an event (0: only events matter).
 */
int swarm_round_done(struct swarm *w, uint64_t now_ms, uint64_t *recheck_ms);
enum swarm_phase swarm_phase(const struct swarm *w, uint64_t now_ms);
enum swarm_why swarm_why(const struct swarm *w);
/* Header and records for the table, best known first. out has room for
 * CONF_SLOT_PEERS. */
void swarm_snapshot(struct swarm *w, uint64_t now_ms, uint64_t wall_ms,
		    struct shm_swarm *head, struct shm_peer *out);

#endif
