/*
 * layout.h -- the segment, byte by byte. The only header that knows it.
 *
 *   +--------+-------+------------+-------+-------+-------+-------+--------+------+
 *   | header | pages | lanes x 2N | stats | board | index | slots | places | pool |
 *   +--------+-------+------------+-------+-------+-------+-------+--------+------+
 *    master   master   see lane.h   owner   collector ...
 *
 * Offsets only. Every section starts on a page, so that each can be mapped with
 * its own protection: a worker that writes the table faults. Who writes which
 * byte, the ordering argument and the death table are in shm/README.md.
 * All times are uint64_t milliseconds or uint32_t seconds since the epoch; there
 * is no time_t, bool, pointer or lock here.
 */
#ifndef PEERSCOPE_SHM_LAYOUT_H
#define PEERSCOPE_SHM_LAYOUT_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

#include "common/conf.h"
#include "common/kid.h"

#define SHM_MAGIC 0x31504f4353504550ull		/* "PEPSCOP1" */
#ifndef SHM_VERSION				/* a test has another one */
#define SHM_VERSION 6u
#endif
#define SHM_LINE 64
#define SHM_PAGE 4096
#define SHM_STEP (1u << 20)			/* growth of the pool */
#define SHM_NAMES_STEP (1u << 18)		/* growth of places, and of strings */

_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "32-bit atomics must be lock-free");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "64-bit atomics must be lock-free");

typedef _Atomic uint32_t shm_u32;	/* the one exception to "no typedefs": */
typedef _Atomic uint64_t shm_u64;	/* a word that other processes read */

enum shm_section {
	SHM_PAGES = 0,		/* struct shm_page per worker slot, and three more */
	SHM_LANES = 1,		/* struct shm_lane per worker slot */
	SHM_STATS = 2,		/* counters per process, and the retired ones */
	SHM_BOARD = 3,		/* gauges and notes: what the collector says of itself */
	SHM_INDEX = 4,		/* hash buckets of the peer table */
	SHM_SLOTS = 5,		/* struct shm_slot */
	SHM_PLACES = 6,		/* places and strings; grows */
	SHM_POOL = 7,		/* chunks of peers, and their links; grows */
	SHM_SECTIONS = 8,
};

struct shm_range {
	uint64_t off, len;	/* bytes from the start of the segment */
};

/* Sizes that follow from the configuration; fixed for the segment's life. */
struct shm_dims {
	uint32_t worker_slots;	/* 2 * workers */
	uint32_t lane_bytes;	/* job ring of one lane, a power of two */
	uint32_t lane_done;	/* entries of one completion ring, a power of two */
	uint32_t buckets;	/* power of two */
	uint32_t slots;
	uint32_t chunks;
	uint32_t places;
	uint32_t string_bytes;
};

/* Page 0. Written by the master alone. */
struct shm_head {
	uint64_t magic;
	uint32_t version, head_size;
	uint64_t total;
	uint64_t shape;			/* hash of every sizeof in this file */
	uint64_t boot_wall_ms;		/* when the daemon started */
	uint64_t seed;			/* random: keys our hashes, ids are the public's choice */
	struct shm_dims dims;
	struct shm_range range[SHM_SECTIONS];
	alignas(SHM_LINE) shm_u32 master_pid;
	shm_u32 generation;		/* of workers, the one that serves; a reload moves it */
	shm_u32 lease_pid;		/* collector that may write the table; 0: none */
	shm_u32 epoch;			/* goes up with each new collector */
	shm_u32 draining;		/* 1: the daemon is leaving */
	shm_u32 respawns;		/* children started again after a death */
	shm_u64 hold_ms;		/* monotonic: since then the next collector is on its
					 * way, for an upgrade, and questions wait; 0: no */
};
_Static_assert(sizeof(struct shm_head) <= SHM_PAGE, "the header is one page");

/* One per process: 0 .. 2N-1 workers, then collector, Redis, master.
 * First line: the master. Second line: the process itself. */
struct shm_page {
	alignas(SHM_LINE) shm_u32 pid;	/* 0: nobody */
	shm_u32 gen;			/* of this life, in its tokens; collector: epoch */
	shm_u32 state;			/* enum sup_state, for people */
	shm_u32 deaths;			/* worker: of all that had its number; ever */
	shm_u64 started_ms;		/* wall */
	shm_u32 generation;		/* worker: as people count, a respawn keeps it */
	alignas(SHM_LINE) shm_u64 beat_ms;	/* monotonic; the loop turned last */
	shm_u32 busy;			/* worker: connections; collector: torrents */
	shm_u32 parked;			/* worker: parked requests; collector: waiters */
	shm_u64 cpu_ms;			/* selfpage.h: of all its threads, since it began */
	shm_u64 rss_bytes;		/* resident, shared pages too */
	shm_u32 fds, max_fds;		/* open descriptors, and how many it may have */
};
_Static_assert(sizeof(struct shm_page) == 2 * SHM_LINE, "two lines");

/* A job: 64 bytes, followed by text_len bytes, padded to a multiple of 64. */
#define SHM_JOB_TEXT_MAX 8192
struct shm_job {
	uint16_t kind;			/* enum lane_job */
	uint16_t text_len;
	uint32_t flags;
	uint64_t token;			/* 0: nobody waits for an answer */
	uint64_t deadline_ms;		/* monotonic; the worker stops waiting then */
	uint32_t wait_ms;		/* hold for a better answer this long */
	uint8_t id[20];
	uint8_t client[16];		/* who asked, for fairness between clients */
};
_Static_assert(sizeof(struct shm_job) == 64, "a job is a line");

struct shm_done {
	shm_u64 token;
	shm_u32 rc;			/* enum lane_rc */
	shm_u32 retry_s;		/* LANE_LIMITED, LANE_META_DEAD: come back then */
};
_Static_assert(sizeof(struct shm_done) == 16, "");

/* Head and tail are byte (jobs) or entry (done) counts that wrap at 2^32. */
struct shm_lane {
	alignas(SHM_LINE) shm_u32 job_tail;	/* worker */
	alignas(SHM_LINE) shm_u32 job_head;	/* collector */
	alignas(SHM_LINE) shm_u32 done_tail;	/* collector */
	alignas(SHM_LINE) shm_u32 done_head;	/* worker */
	/* then lane_bytes of jobs, then lane_done of struct shm_done */
};
_Static_assert(sizeof(struct shm_lane) == 4 * SHM_LINE, "four writers' lines");

/* A peer as it lies in a chunk: 80 bytes, copied word by word. What stands under
 * AceStream is good only with protocol PEER_ACESTREAM; it is the peer's own word, or a
 * neighbour's (PEER_F_GOSSIPED), never checked. shm_peer_ace_unknown makes it unknown. */
struct shm_peer {
	uint8_t addr[16];		/* addr.h */
	uint16_t port;
	uint8_t state;			/* enum peer_state */
	uint8_t sources;		/* PEER_SRC_* */
	uint8_t protocol;		/* enum peer_protocol */
	uint8_t flags;			/* PEER_F_* */
	uint16_t progress;		/* 0 .. 10000: hundredths of a percent */
	uint32_t down_rate, up_rate;	/* bytes per second between us and the peer */
	uint32_t first_seen_s, last_seen_s;
	uint32_t client;		/* string offset in SHM_PLACES; 0: unknown */
	uint32_t place;			/* place index; 0: unknown */
	/* AceStream */
	uint32_t version;		/* 3021100: 3.2.11; 0: unknown */
	uint32_t asn;			/* 0: unknown */
	uint32_t head, position;	/* pieces: newest known, played; SHM_UNKNOWN */
	uint32_t lag;			/* pieces behind the swarm's head then; SHM_UNKNOWN */
	uint32_t told_s;		/* when it said this; 0: never, it was not met */
	uint8_t platform;		/* as on the wire; 0: unknown */
	int8_t distance;		/* hops from the source; -1: source, or idle */
	char country[2];		/* two capitals; NULs: unknown */
	uint8_t role, kind;		/* enum peer_role, enum ace_kind */
	uint8_t accessible;		/* enum peer_accessible */
	uint8_t key;			/* enum peer_key: answers to, else was found under */
};
_Static_assert(sizeof(struct shm_peer) == 80, "ten words");
#define SHM_UNKNOWN UINT32_MAX		/* in head, position, lag of peer and swarm */
#define SHM_DISTANCE_UNKNOWN INT8_MIN

/* Nothing is known of what stands under AceStream. */
static inline void shm_peer_ace_unknown(struct shm_peer *p)
{
	p->version = p->asn = p->told_s = 0;
	p->head = p->position = p->lag = SHM_UNKNOWN;
	p->distance = SHM_DISTANCE_UNKNOWN;
	p->country[0] = p->country[1] = '\0';
	p->platform = p->role = p->kind = p->accessible = p->key = 0;
}

#define SHM_CHUNK_PEERS 16
struct shm_chunk {
	struct shm_peer peer[SHM_CHUNK_PEERS];
};
_Static_assert(sizeof(struct shm_chunk) == 1280, "");

/* What a slot says of its swarm; copied word by word under the slot's seq. */
struct shm_swarm {
	uint8_t id[20];
	uint8_t phase;			/* enum swarm_phase */
	uint8_t why;			/* enum swarm_why: reason of an empty list */
	uint8_t verdict;		/* enum swarm_verdict */
	uint8_t protocol;		/* enum peer_protocol, as its peers answer */
	uint64_t version;		/* goes up with each publication, over all slots */
	uint64_t cached_at_ms;		/* wall; when this version was put together */
	uint32_t npeers;		/* records in the chain */
	uint32_t total_peers;		/* known and not expired */
	uint32_t connected, connected_at_s;
	uint32_t tracker_seeds, tracker_leechers, tracker_at_s;	/* at 0: never answered */
	uint32_t dht_peers, dht_at_s;
	uint32_t trackers, trackers_ok;	/* asked, and answered without error */
	uint32_t pieces;		/* 0: metadata unknown */
	uint32_t first_chunk;		/* chunk number + 1; 0: none */
	uint32_t contacted, tried;	/* of total_peers, by state */
	uint8_t infohash[20];		/* of the swarm: id, or what id stands for */
	uint8_t resolved;		/* enum swarm_resolved: how infohash was found */
	uint8_t has_v2;			/* v2 is known (BEP 52) */
	uint8_t incoming;		/* 1: a peer of it has called us */
	uint8_t path;			/* PATH_PACK: verdicts on the path, at that time */
	uint32_t joined_at_s;		/* when this life of it began */
	uint8_t v2[32];			/* whole v2 infohash */
	uint32_t reached;		/* connected, or shook hands lately: verdict_reached */
	uint32_t tracker_said;		/* string: "tracker kind text" of the last failure; 0 */
	uint32_t title;			/* string, as the engine gave it; 0: none */
	/* AceStream; good with ace_mode MAYBE, FIRST and PINNED */
	uint8_t ace_mode;		/* enum swarm_ace_mode */
	uint8_t motion;			/* enum ace_motion */
	uint8_t kind;			/* enum ace_kind */
	uint8_t has_content;		/* content is known */
	uint32_t head;			/* piece, the newest that is believed; SHM_UNKNOWN */
	uint32_t head_s;		/* when it was told; 0: never */
	uint32_t piece_ms;		/* measured time per piece; 0: not measured */
	uint32_t motion_s;		/* when the second look was judged; 0: never */
	uint32_t sources, source_like;	/* peers by role */
	uint32_t discovered, reachable, gossiped;	/* each by its own rule: swarm_ace.c */
	uint8_t content[20];		/* another key: a content id of the infohash */
};
_Static_assert(sizeof(struct shm_swarm) == 232, "");

struct shm_slot {
	alignas(SHM_LINE) shm_u32 seq;	/* odd: being written */
	shm_u32 next;			/* next slot of the bucket + 1; 0: end */
	shm_u64 swarm[sizeof(struct shm_swarm) / 8];
	shm_u64 spare[2];
};
_Static_assert(sizeof(struct shm_slot) == 4 * SHM_LINE, "a slot is four lines");

/* A place; its texts are offsets of strings (0: unknown). 48 bytes. */
struct shm_place {
	uint32_t country, city, region, timezone, isp;
	uint32_t source;		/* string: which database */
	int32_t lat_e5, lon_e5;		/* degrees * 100000 */
	uint32_t asn;			/* 0: unknown */
	uint32_t accuracy_km;
	char code[4];			/* ISO 3166-1 alpha-2; "" unknown */
	uint32_t flags;			/* PLACE_F_HAS_POINT */
};
_Static_assert(sizeof(struct shm_place) == 48, "");
#define PLACE_F_HAS_POINT 1u

/* First line of SHM_STATS; then the blocks: workers, collector, master, retired. */
struct shm_stats {
	alignas(SHM_LINE) shm_u32 seq;	/* odd: the master moves counts to retired */
	shm_u32 spare[15];
};
_Static_assert(sizeof(struct shm_stats) == SHM_LINE, "one line");

/* A short text of the collector, behind the gauges of SHM_BOARD; see note.h. */
#define SHM_NOTE_BYTES 248
struct shm_note {
	alignas(SHM_LINE) shm_u32 seq;	/* odd: being written */
	shm_u32 spare;
	shm_u64 text[SHM_NOTE_BYTES / 8];	/* ends in a NUL */
};
_Static_assert(sizeof(struct shm_note) == 4 * SHM_LINE, "a note is four lines");

/* Start of SHM_PLACES. Then dims.places places; then, from shm_strings_at() on,
 * dims.string_bytes of strings: a length byte and up to 255 bytes as they came,
 * padded with zeros to 8. Offset 0 and place 0 mean "unknown". */
#define SHM_STRING_MAX 255
struct shm_names {
	alignas(SHM_LINE) shm_u32 seq;	/* odd: being compacted; moves with each one */
	shm_u32 nplaces;
	shm_u32 string_used;
	shm_u32 spare;
};

/* Start of SHM_POOL: links, then chunks. A link is chunk number + 1; 0: end. */
struct shm_pool {
	alignas(SHM_LINE) shm_u32 reserved;	/* chunks whose memory is really there */
	shm_u32 spare;
	shm_u64 version;		/* last one given out; never falls, also not by death */
};
_Static_assert(sizeof(struct shm_pool) == SHM_LINE, "one line");

static inline uint64_t shm_round_up(uint64_t n, uint64_t unit)
{
	return (n + unit - 1) / unit * unit;
}

/* Where strings begin in SHM_PLACES, and chunks in SHM_POOL. */
static inline uint64_t shm_strings_at(const struct shm_dims *d)
{
	return shm_round_up(sizeof(struct shm_names) +
			    (uint64_t)d->places * sizeof(struct shm_place), SHM_PAGE);
}

static inline uint64_t shm_chunks_at(const struct shm_dims *d)
{
	return shm_round_up(sizeof(struct shm_pool) + (uint64_t)d->chunks * 4, SHM_PAGE);
}

#endif
