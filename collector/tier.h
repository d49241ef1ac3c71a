/*
 * tier.h -- Redis is read, and shared: a cold question is answered from the list of another
 * node, or of an earlier life; and of two nodes that are asked for one swarm, one joins it.
 *
 *	cold question --> list:<id> --> list:<infohash> --> peer_stats:<id> --> claim --> join
 *	                     |               |                   |                |
 *	                     '---- fresh: in the table, answered-'              lost: look for the
 *	                                                  holder's list until it is there, the claim
 *	                                                  is free, or patience ends
 *
 * Who wants a settled list (?wait=) is not answered by one that is still collected: the swarm
 * is joined if nobody has the claim, and else its holder's next lists are waited for.
 *
 * Keys: peerscope:list:<id> (listcode.h) and peerscope:claim:<infohash>, whose value is a
 * node and which ends by itself (redis.claim) unless the node renews it, while it is joined.
 * A node's name is that of its run_dir: device, inode and path, on this host since it was
 * started. A master holds that directory's lock, so no two living nodes have one name, also
 * not two containers with one hostname and the default paths; and a life that follows in the
 * directory does not wait for its own dead claim. Who is killed and comes back in another one
 * (a container made anew, a RuntimeDirectory) waits for itself as for any dead holder, at most
 * until redis.claim is over; one that is stopped gives its claims back. Only with
 * redis.mode = external: a bundled Redis has no other node.
 *
 * Nodes' clocks differ: times in a list are those of Redis' clock, from which each node knows
 * how far its own is away. Where that is not known, one that is ahead by more than
 * LISTCODE_SKEW_MS writes lists that nobody believes, and one that is behind writes old ones:
 * then everybody joins.
 *
 * Redis is never waited for longer than TIER_WAIT_MS before somebody joins. A claim is a
 * wish to be polite, not a lock: where it can't be had or trusted, a node joins.
 * Proof: tests/e2e/test_tier.py.
 */
#ifndef PEERSCOPE_COLLECTOR_TIER_H
#define PEERSCOPE_COLLECTOR_TIER_H

#include "collector/listcode.h"
#include "collector/redis.h"
#include "collector/resolve.h"
#include "common/addr.h"
#include "common/reqid.h"

/* Cold questions under way in Redis, those included that wait for a holder: more than a
 * page of channels has. Further ones join at once. */
#define TIER_FLIGHTS 256
/* For all that Redis is asked before a join, what an id means among it (ENGINE_REDIS_MS).
 * Redis is near, or it is no help. */
#define TIER_WAIT_MS 200
/* Lists of holders are looked for this often, */
#define TIER_POLL_MS 150
/* for as long as a first round may take, and so much more. */
#define TIER_PATIENCE_MS 400
/* A list that is not settled yet is looked for less often: it is written once a second. */
#define TIER_SETTLE_MS 500
#define TIER_NODE_MAX 40

struct coll;
struct swarm;
struct redis_get;
struct swarm_copy;

enum tier_step { TIER_LIST_ASKED, TIER_LIST_KEY, TIER_JSON, TIER_CLAIM, TIER_PAUSE };

/* A cold question. What it means is in r; who waits for it is in coll.waiters. */
struct tier_flight {
	struct coll *c;			/* NULL: free */
	enum tier_step step;
	uint8_t asked[IH_LEN];
	struct resolved r;
	uint8_t v2[IH_V2_LEN], has_v2, torrent;
	uint8_t lost;			/* another node holds the claim */
	uint8_t listed;			/* a list is there, and who waits wants it settled */
	uint64_t soon_ms, end_ms;	/* monotonic: the answer of Redis; of the holder */
	uint64_t look_ms;		/* TIER_PAUSE: not before */
	struct redis_get *get;
	char request[REQID_MAX + 1];	/* who asked first, for the log */
};

struct tier {
	char node[TIER_NODE_MAX];	/* what we call ourselves in claims */
	struct tier_flight flight[TIER_FLIGHTS];
	struct event *poll;
	int poll_armed;
	struct {			/* claims being made or renewed: one batch at a time */
		uint8_t id[REDIS_KEYS_MAX][IH_LEN];
		unsigned n;
		uint64_t sent_ms;
		struct redis_get *get;
	} batch;
	int64_t ahead_s;		/* of our clock: that of Redis */
	uint64_t clock_ms;		/* monotonic; asked for it last, 0: never */
	struct redis_get *clock;
	struct buf out;			/* scratch, as are all below */
	struct listcode list;
	uint32_t text[LISTCODE_TEXTS + 1], place[CONF_SLOT_PEERS + 1];
};

/* --- tier.c: questions --- */
PS_MUST int tier_open(struct coll *c);
/* Claims are given back, as far as Redis takes that word now. Before redis_close. */
void tier_close(struct coll *c);
/* A swarm would have to be joined for asked, which means r. 1: Redis is asked; who waits is
 * answered, or ids_join is called, from the loop. 0: nobody is there to be asked, or the
 * swarm is joined: go on. torrent: see ids_swarm. spent_ms: of TIER_WAIT_MS, before. */
int tier_ask(struct coll *c, const uint8_t asked[IH_LEN], const struct resolved *r,
	     const uint8_t *v2, int torrent, uint64_t spent_ms);
int tier_is_asking(const struct coll *c, const uint8_t asked[IH_LEN]);
void tier_tick(struct coll *c);		/* once a second: claims */

/* --- tierlist.c: lists --- */
/* The list that was read into c->tier->list, to the table. -1: it has no room (counted). */
PS_MUST int tier_put(struct coll *c);
/* Does the table know nothing newer of its id? */
int tier_is_newer(const struct coll *c, const struct shm_swarm *s);
/* A list of the table, appended to out as others read it. -1: out has no room. */
PS_MUST int tier_list(struct coll *c, struct buf *out, const struct swarm_copy *copy);

enum tier_age { TIER_NONE = 0, TIER_STALE = 1, TIER_FRESH = 2 };
/* A value of list:<key> into the table, as the answer to f; how good an answer it is. */
enum tier_age tier_take(struct tier_flight *f, const uint8_t key[IH_LEN], const char *value,
			size_t len);
/* The same for peer_stats:<asked>. */
enum tier_age tier_take_json(struct tier_flight *f, const char *value, size_t len);
/* Did its writer see the swarm? That nobody is there takes a proof: an answer of a source,
 * over a path that is open. A path that is not judged yet proves nothing, nor does one whose
 * sources are silent. */
int tier_is_seen(const struct shm_swarm *s);
/* May others be told what s, a version of w, says? Not what a path sees that is blocked, nor
 * that nobody is there, without a proof; and while another node has the claim, it speaks.
 * A bundled Redis has no others. */
int tier_may_share(const struct coll *c, const struct swarm *w, const struct shm_swarm *s);
/* A version of w that was put into the table: for others. id: its slot. */
void tier_write(struct coll *c, const struct swarm *w, const uint8_t id[IH_LEN]);

/* --- tierclock.c --- */
/* Clocks that differ by no more than this are the same (LISTCODE_SKEW_MS is for two such);
 * by more than a day, nothing that they say is believed. */
#define TIER_CLOCK_SAME_S 2
#define TIER_CLOCK_MAX_S 86400
/* Milliseconds since 1970, as Redis said them when ours was at wall_ms. -1: it did not. */
PS_MUST int tier_clock_read(int64_t *ahead_s, const char *text, size_t len, uint64_t wall_ms);
void tier_clock_tick(struct coll *c);		/* once a second */
void tier_clock_forget(struct coll *c);		/* another Redis will be used */

/* --- claim.c --- */
enum claim_state {
	CLAIM_NONE = 0,			/* not asked for, or nobody knows */
	CLAIM_HELD = 1,
	CLAIM_LOST = 2,			/* another node has it, and we joined all the same */
};
/* Do claims mean anything now: another node may be there, and we could join? */
int claim_may(const struct coll *c);
/* fn is told "1": it is ours, "0": another's; NULL: nobody knows. NULL: not asked. */
PS_MUST struct redis_get *claim_ask(struct coll *c, const uint8_t key[IH_LEN],
				    uint64_t timeout_ms, redis_get_fn *fn, void *arg);
void claim_won(struct coll *c, const uint8_t key[IH_LEN]);	/* w: NULL: it is not joined */
/* A version of w was put together. Who saw nothing, and can't tell why, lets others try. */
void claim_look(struct coll *c, struct swarm *w);
/* w is being left. */
void claim_leave(struct coll *c, struct swarm *w);
void claim_tick(struct coll *c);
/* Another Redis will be used: claims in this one are given back, and nothing of it holds. */
void claim_forget(struct coll *c);
void claim_close(struct coll *c);

#endif
