/*
 * coll.h -- the collector's own state, shared by its files and by nobody else.
 *
 *   main.c     the loop: bells, timers, words from the master
 *   jobs.c     questions in: join, wait, answer, leave
 *   waiters.c  who waits, and the answers
 *   net.c      the network comes, goes, changes
 *   visit.c    attempts and revisits, paced
 *   acevisit.c calls to AceStream engines, paced
 *   acewatch.c who looks for them, and where they are found
 *   places.c   databases of places: new ones taken, known peers looked up again
 *   publish.c  swarms out: peer table, completions' data, Redis
 *   ids.c      which swarm an id means: hashes of a hybrid, content ids
 *   engine.c   an AceStream engine, asked about content ids
 *   tier.c     Redis, asked before a join   tierlist.c  lists   claim.c  who joins
 *   geoweb.c   a web service, asked for places      online.c   whose, and what then
 *   swarm.c    what is known of a swarm (pure)   swarms.c   all of them, by id
 *   given.c    peers that a question names (x.pe)
 *   fetch*.c   metadata: who asks, where it is looked for, where it is kept
 *   follow.c   the port that Gluetun forwards -> the session
 *   lt.cc      the BitTorrent session          redis.c   the second tier
 *   web.c      outgoing HTTP                    vpn.c     beside Gluetun
 *   ace.c      calls to AceStream engines
 *
 * One thread. All of it belongs to collector_main's frame.
 */
#ifndef PEERSCOPE_COLLECTOR_COLL_H
#define PEERSCOPE_COLLECTOR_COLL_H

#include <stdint.h>

#include "collector/ace.h"
#include "collector/acefind.h"
#include "collector/bucket.h"
#include "collector/dhtwatch.h"
#include "collector/engine.h"
#include "collector/fetch.h"
#include "collector/geoweb.h"
#include "collector/listens.h"
#include "collector/lt.h"
#include "collector/netwatch.h"
#include "collector/recover.h"
#include "collector/recent.h"
#include "collector/redis.h"
#include "collector/state.h"
#include "collector/swarm.h"
#include "collector/tracksay.h"
#include "collector/tier.h"
#include "collector/verdict.h"
#include "collector/vpn.h"
#include "collector/web.h"
#include "collector/swarms.h"
#include "common/buf.h"
#include "common/kid.h"
#include "geo/watch.h"
#include "shm/given.h"
#include "shm/lane.h"
#include "shm/note.h"
#include "shm/ptab.h"
#include "shm/seg.h"
#include "shm/stat.h"

/* A slot is written this often at most while handshakes pour in. */
#define PUBLISH_MS 25
/* Rates and last_seen alone are worth a version this often. */
#define PUBLISH_SOFT_MS 5000
/* Addresses that are ours: local ones and what the world calls us. */
#define OWN_MAX 64
/* Longest JSON written to Redis: 2,000 peers of about 900 bytes. */
#define REDIS_VALUE_MAX (3u << 20)

struct event_base;
struct event;

/* A question that waits. In coll.waiters, newest first. */
struct waiter {
	uint64_t token;
	uint64_t until_ms;		/* monotonic; answered then, come what may */
	struct swarm *swarm;		/* lives as long as it has waiters; NULL: the engine is
					 * asked which one it is */
	const struct fetch_flight *meta;	/* it is metadata that is waited for; no swarm then */
	uint32_t wait_ms;		/* of the question, from when the swarm is known */
	uint8_t id[IH_LEN];		/* as asked for */
	int settled;			/* wants a settled swarm, not the first round */
	struct waiter *next;
};

/* Peers given under an id whose swarm is not there yet. */
struct given_kept {
	uint8_t id[IH_LEN];
	struct given given;		/* n is 0: a free place */
};

/* Whose token the question for an id has cost, until it is known whether a swarm is joined for
 * it. Of each id that is asked about elsewhere, and of the question under way. */
#define COLD_MAX (ENGINE_FLIGHTS + TIER_FLIGHTS + 1)
struct cold {
	uint8_t id[IH_LEN], client[ADDR_LEN], open;
};

/* Of the databases of places; places.c. */
struct places {
	struct geo_watch *watch;
	struct geo_paths paths;
	struct event *bell, *again;
	int bell_fd;
	uint32_t set;			/* goes up with each set that is taken into use */
	uint64_t asked_ms;		/* when these paths were asked for; 0: all were tried */
	uint32_t room;			/* goes up with each compaction of the names; never 0 */
	int lists_owed;			/* a list lacks a place for want of room; relist.c */
};

/* Of places that are asked for online; online.c. Answers are told together, in a pass over all
 * joined swarms, in slices. */
struct online {
	uint64_t told_ms, offered_ms;
	struct event *tell, *more;
	uint32_t pass;			/* goes up with each: swarm.online_pass */
	int again;			/* another one behind the one that is under way */
};

/* Of lists that stand in the table, whose swarm is not joined; relist.c. A pass over the
 * slots is under way, in slices. */
struct relist {
	struct event *more;
	int running, again;		/* a pass; and another one behind it */
	int all;			/* peers whose country is known, too */
	uint32_t slot, at;		/* where it is: peer `at` of this slot */
	uint64_t version;		/* of the list, and */
	uint32_t names_seq;		/* of the names: what place[] refers to */
	int moved;			/* place[0 .. at) is not what the list has */
	uint32_t place[CONF_SLOT_PEERS];
};

struct coll {
	struct kid kid;			/* kid.conf is the newest configuration */
	struct seg *seg;
	struct ptab *ptab;
	struct lane *lane[KID_SLOTS];
	int nlanes;
	struct lt_session *lt;
	struct geo *geo;		/* the watch's; NULL: none is read yet */
	struct places places;
	struct redis *redis;
	struct tier *tier;
	struct web *web;
	struct vpn *vpn;
	struct engine *engine;
	struct geoweb *geoweb;
	struct online online;
	struct relist relist;
	struct swarms *swarms;
	struct ace *ace;
	struct acefind *acefind;
	struct acepast *acepast;
	struct fetch *fetch;
	uint32_t ace_lives;		/* of calls and look-ups: swarm.ace.life */
	uint32_t ace_calls;		/* made */
	uint8_t ace_last[IH_LEN];	/* the swarm whose engines were called last */

	struct waiter *waiters;
	uint32_t nwaiters, slot_waiters[KID_SLOTS];
	uint64_t pass;			/* of wait_check: each swarm is judged once in one */

	uint8_t own_addr[OWN_MAX][ADDR_LEN];
	uint16_t own_port[8];
	uint32_t nown, nports;

	struct event_base *base;
	struct event *bell, *chan, *lt_bell, *tick, *publish, *visit, *call, *wake, *term;
	int lt_bell_fd;
	struct netwatch *netwatch;
	struct recover recover;
	struct listens listens;
	int publish_armed, visit_armed;
	int call_armed;			/* acevisit.c's; CALL_LAZY: something may be sooner */
	uint64_t visit_ms, visit_dials;	/* when the pace was looked at last, and dials then */
	int64_t visit_room;		/* thousandths of a visit that may be made now */
	int port_is_new;		/* Gluetun's, not announced yet */
	uint8_t vpn_addr[ADDR_LEN];	/* what Gluetun calls us; all 0: unknown */
	struct recent recent;
	struct dhtwatch dht;
	struct state *state;
	uint32_t dht_nodes;
	struct path path;		/* our way to the world */
	struct control control;
	struct tracksay tracksay;	/* what the log has said of trackers */
	struct buckets *buckets;	/* of cold lookups */
	struct cold cold[COLD_MAX];
	uint32_t ncold;			/* that are open */
	/* One for each id that the engine is asked about, and the question under way. */
	struct given_kept kept[ENGINE_FLIGHTS + 1];
	uint64_t evictions;		/* of the table, already counted */
	struct lt_load counted;		/* as of the last second */

	/* Scratch: 130 KiB each, too large for a stack. */
	struct swarm_copy copy;
	struct shm_peer record[CONF_SLOT_PEERS];
	struct buf json;
	uint8_t text[SHM_JOB_TEXT_MAX];
};

/* --- jobs.c --- */
/* Take everything that lies in the lanes. */
void jobs_take(struct coll *c);
/* Once a second: linger, expiry, and the bound of swarm.max_swarms. */
void jobs_tick(struct coll *c);
/* kid.conf is new. trackers: they are others now. */
void jobs_reconfigure(struct coll *c, int trackers);
/* Leave every swarm in the session, but remember all of it: no connection stays. */
void jobs_suspend(struct coll *c);
/* Join again what jobs_suspend left; it is those that are still asked for. */
void jobs_resume(struct coll *c);
/* Leave and join again, with all that is known. -1: that failed, and w is gone. */
int jobs_rejoin(struct coll *c, struct swarm *w);
void jobs_leave(struct coll *c, struct swarm *w);
/* Join the swarm of key, asked for as `asked`. NULL: *why says why not. */
struct swarm *jobs_join(struct coll *c, const uint8_t asked[IH_LEN],
			const uint8_t key[IH_LEN], const uint8_t *v2,
			enum swarm_ace_mode mode, enum lane_rc *why);
/* The swarm's mode is another one: is it in the session, are engines looked for? -1:
 * it had to be joined anew, which failed, and w is gone. */
int jobs_follow(struct coll *c, struct swarm *w);
/* A join costs the world and us something: each client has its measure. Seconds until
 * it may again, or 0: it may. */
uint32_t jobs_cold_s(struct coll *c, const struct shm_job *job);
int jobs_is_idle(void *arg, const uint8_t id[IH_LEN]);	/* ptab_idle_fn */
/* Join for ourselves; NULL: it can't be. It ends when jobs_leave_control says so, unless
 * somebody asked for it meanwhile. */
struct swarm *jobs_join_control(struct coll *c, const uint8_t id[IH_LEN]);
void jobs_leave_control(struct coll *c, struct swarm *w);

/* --- earlier.c --- */
/* w is about to be joined: what the slot of id has is known again. known has room for
 * CONF_SLOT_PEERS, n of which are taken. Returns how many then. */
size_t earlier_join(struct coll *c, struct swarm *w, const uint8_t id[IH_LEN],
		    struct lt_endpoint *known, size_t n);

/* --- pathwatch.c --- */
/* Judge the path now; set its gauges if that made a difference. */
void path_look(struct coll *c);
void path_tick(struct coll *c);		/* once a second: the same, and control probes */

/* --- waiters.c --- */
/* Answer a token; retry_s: for LANE_LIMITED. Nobody there, or token 0: nothing. */
void wait_answer(struct coll *c, uint64_t token, enum lane_rc rc);
void wait_answer_in(struct coll *c, uint64_t token, enum lane_rc rc, uint32_t retry_s);
void wait_answer_all(struct coll *c, const struct swarm *w, enum lane_rc rc);
/* Hold a question, or refuse it; w: NULL while the engine is asked which swarm is meant, or
 * Redis what others know of it. */
void wait_for(struct coll *c, struct swarm *w, const struct shm_job *job);
void wait_forget(struct coll *c, uint64_t token);	/* the asker has left */
/* Does its asker wait already? Then until this one says. */
int wait_has(struct coll *c, const struct shm_job *job);
/* The same for metadata: until f ends, or the job's time (LANE_META_NONE). Token 0: nobody
 * waits. */
void wait_for_meta(struct coll *c, const struct fetch_flight *f, const struct shm_job *job);
void wait_answer_meta(struct coll *c, const struct fetch_flight *f, enum lane_rc rc);
int wait_is_for_meta(const struct coll *c, const struct fetch_flight *f);	/* does anybody? */
void wait_move_meta(struct coll *c, const struct fetch_flight *from,
		    const struct fetch_flight *to);
/* Who waited to hear what id means now waits for w; or is answered from the table; or is
 * told that it can't be joined. */
void wait_found(struct coll *c, struct swarm *w, const uint8_t id[IH_LEN]);
void wait_answer_id(struct coll *c, const uint8_t id[IH_LEN], enum lane_rc rc);
/* The same for those whom a list in the table satisfies, settled or not. How many wait on. */
uint32_t wait_satisfy(struct coll *c, const uint8_t id[IH_LEN], int settled);
/* Of who waits for a settled list under id, without a swarm. */
uint32_t wait_for_more(const struct coll *c, const uint8_t id[IH_LEN]);
void wait_refuse(struct coll *c, const uint8_t id[IH_LEN], enum lane_rc rc);
/* Who waits for `from` (under id only, unless that is NULL) now waits for `to`; NULL is
 * to wait for the engine's word. */
void wait_hand_over(struct coll *c, struct swarm *from, struct swarm *to, const uint8_t *id);
/* ready and settled of w; once in a pass, however many wait for it. */
void wait_judge(struct coll *c, struct swarm *w, uint64_t now);
/* Answer who can be answered now, and set the next look. */
void wait_check(struct coll *c);

/* --- net.c --- */
PS_MUST int net_open(struct coll *c, char err[ERRLEN]);
void net_close(struct coll *c);
/* IFACE_OK: swarm.interface can be used, or none is asked for. Else nothing is joined. */
enum iface_why net_why(const struct coll *c);
void net_gauges(const struct coll *c);	/* what /health says of it */
void net_reconfigure(struct coll *c);	/* swarm.interface or swarm.listen is another */
/* The session is told to listen elsewhere, without anything else being done anew. */
void net_listen_anew(struct coll *c);
void net_hasten(struct coll *c);	/* HUP: try now what is tried again and again */
/* A socket of the session listens, or can't. */
void net_listening(struct coll *c, const struct lt_event *e);
void net_cant_listen(struct coll *c, const struct lt_event *e);
void net_tick(struct coll *c);		/* once a second */
/* --- visit.c --- */
/* Some swarm has visits to make: see to it, now and until all are under way. */
void visit_soon(struct coll *c);
void visit_run(struct coll *c);

/* --- acevisit.c --- */
PS_MUST int acevisit_open(struct coll *c, char err[ERRLEN]);
void acevisit_close(struct coll *c);
/* Some swarm has engines to call: see to it, now and until all are called. */
void acevisit_soon(struct coll *c);
/* The same if somebody in w is due. */
void acevisit_look(struct coll *c, const struct swarm *w);

/* --- acewatch.c --- */
PS_MUST int acewatch_open(struct coll *c, char err[ERRLEN]);
void acewatch_close(struct coll *c);
void acewatch_configure(struct coll *c);	/* kid.conf is new */
/* A life of w begins: its calls are told apart from older ones, and it is looked for, if
 * its mode says so. */
void acewatch_begin(struct coll *c, struct swarm *w);
/* It is over: nobody is called or looked for any more. */
void acewatch_end(struct coll *c, const struct swarm *w);
/* Its mode or keys are others: look for it, or don't. */
void acewatch_follow(struct coll *c, struct swarm *w);
void acewatch_forget(struct coll *c, struct swarm *w);	/* trackers gone from kid.conf */
/* A peer that was found: place, name ("": none) and counters. */
void acewatch_found(struct coll *c, struct swarm *w, struct peer *p,
		    const struct swarm_news *news, const char *client);
/* A record of the session that is acefind's. */
void acewatch_event(struct coll *c, const struct lt_event *e);

/* --- given.c --- */
/* Leaves those in g that may be listed and that the client may have dialled. */
void given_sift(struct coll *c, const struct swarm *w, const uint8_t client[ADDR_LEN],
		struct given *g);
/* They are peers of w now, and who is new there is dialled. */
void given_take(struct coll *c, struct swarm *w, const struct given *g);
/* Kept until it is known what id means: for given_join, then given_found. */
void given_keep(struct coll *c, const uint8_t id[IH_LEN], const struct given *g);
int given_waits(struct coll *c, const uint8_t id[IH_LEN]);	/* are there any? */
/* w is about to be joined: those kept for it are dialled with the known ones, which is at
 * once. known has room for CONF_SLOT_PEERS, n of which are taken. Returns how many then. */
size_t given_join(struct coll *c, struct swarm *w, const uint8_t id[IH_LEN],
		  struct lt_endpoint *known, size_t n);
/* For a swarm that was joined already. w: NULL if there is none. */
void given_found(struct coll *c, struct swarm *w, const uint8_t id[IH_LEN]);

/* --- own.c --- */
/* A peer that may stand in a list: not ourselves, not private, port not 0. */
int own_may_list(const struct coll *c, const uint8_t addr[ADDR_LEN], uint16_t port);
/* May a peer at `from` see us as addr? What the world calls us may be unknown: then it may;
 * an address that is not of the world only peers see that are not of it either. */
int own_may_be(const struct coll *c, const uint8_t addr[ADDR_LEN],
	       const uint8_t from[ADDR_LEN]);
/* An address of ours, or (0: none) a port that we listen on. */
void own_learn(struct coll *c, const uint8_t addr[ADDR_LEN], uint16_t port);
void own_forget_peers(struct coll *c);	/* heard of before we knew that it is us */

/* --- follow.c --- */
PS_MUST int follow_open(struct coll *c, char err[ERRLEN]);
/* lt_configure with kid.conf, and the port that Gluetun forwards. */
void follow_configure(struct coll *c);
/* kid.conf, or a copy with that port in swarm.listen; valid until the next call. */
const struct conf *follow_conf(const struct coll *c);
/* The session listens there: if it is Gluetun's new port, everybody must hear of it. */
void follow_listening(struct coll *c, uint16_t port);

/* --- cold.c --- */
/* jobs_cold_s has taken a token for this question. Proof: tests/unit/test_cold.c. */
void cold_paid(struct coll *c, const struct shm_job *job);
/* It was taken for nothing. */
void cold_give(struct coll *c, const uint8_t client[ADDR_LEN]);
/* It is decided; the token comes back unless a swarm was joined. For any id. */
void cold_end(struct coll *c, const uint8_t id[IH_LEN], int joined);

/* --- ids.c --- */
/* Nothing that we have or do already answers it: a swarm must be joined for it. */
int ids_is_cold(const struct coll *c, const struct shm_job *job);
/* What the id of a question means. 0: an engine is being asked; *r is the id as it is. */
int ids_known(struct coll *c, const struct shm_job *job, struct resolved *r);
/* The swarm that id means by r, joined now if it is not. An id that meant another one
 * moves. torrent: it was spelled as only infohashes are. NULL: *why. */
struct swarm *ids_swarm(struct coll *c, const uint8_t id[IH_LEN], const struct resolved *r,
			const uint8_t *v2, int torrent, enum lane_rc *why);
/* The same, asked for by those who wait to hear what id means. */
void ids_join(struct coll *c, const uint8_t id[IH_LEN], const struct resolved *r,
	      const uint8_t *v2, int torrent);
void ids_resolved(void *arg, const uint8_t id[IH_LEN], const struct resolved *r);
/* Somebody asks for w under this id. */
void ids_asked(struct coll *c, struct swarm *w, const uint8_t id[IH_LEN],
	       enum swarm_resolved how);
/* The hashes of its torrent became known. conflict: the session has stopped it, because
 * it is joined under each of them. w may be gone afterwards, or be part of another. */
void ids_hashes(struct coll *c, struct swarm *w, const struct lt_ids *ids, int conflict);
/* A question named the whole v2 hash of w, which was joined under the short one. w may
 * be gone afterwards. */
void ids_whole_v2(struct coll *c, struct swarm *w, const uint8_t v2[IH_V2_LEN]);

/* --- publish.c --- */
/* Write the swarm's slot now; with_redis: also the second tier. -1: no room. */
int publish_now(struct coll *c, struct swarm *w, int with_redis);
/* Redis has not seen the newest version: write it. */
void publish_redis(struct coll *c, struct swarm *w);
/* While the first round of a swarm with an older answer is under way, the older answer
 * is the better one: it stays. Is there an id whose slot may be written? */
int publish_may(const struct swarm *w);
/* The same of one id of it; and is there one that was never written in this life? */
int publish_may_id(const struct swarm_id *e);
int publish_missing(const struct swarm *w);
/* Something changed: see that a version follows, within PUBLISH_MS. */
void publish_soon(struct coll *c);
void publish_due(struct coll *c);	/* PUBLISH_MS is over */
/* 1: what would be published now has another verdict, on the swarm or on the path. */
int publish_verdict_moved(const struct coll *c, const struct swarm *w);
void publish_tick(struct coll *c);	/* once a second: soft changes, compaction */
/* What a tracker says, or how it fails: for the swarm's evidence, /health and the log. */
void publish_tracker_failed(struct coll *c, struct swarm *w, const struct lt_event *e,
			    const char *among);
/* The place of p, a peer of w. told: the one that it has is what others said, or an earlier
 * life: what we know wins, field by field, and online only those are asked about whose
 * country nobody knows. Without room in the names table it stays, and is owed (places_room).
 * 1: it is another one. */
int publish_place(struct coll *c, struct swarm *w, struct peer *p, int told);
/* The same of a peer in a list, as references; told by others, 0: nothing. */
uint32_t publish_better(struct coll *c, const uint8_t addr[ADDR_LEN], uint32_t place);
/* The reference of a place in a list. 0: no room, so the list is looked at again. */
uint32_t publish_listed(struct coll *c, const struct place *p);
/* The same in words: p is what was said, and then what is best. 1: we know something. */
int publish_find(struct coll *c, const uint8_t addr[ADDR_LEN], struct place *p);

/* --- places.c --- */
PS_MUST int places_open(struct coll *c, char err[ERRLEN]);
/* kid.conf may be new, and a HUP also means: look whether the files are. */
void places_configure(struct coll *c);
/* What the databases know is not known yet: they are being read. */
int places_pending(const struct coll *c);
/* The names were compacted: who was left out is looked up again. */
void places_room(struct coll *c);
void places_close(struct coll *c);	/* it may wait for a read of the disk */

/* --- online.c --- */
PS_MUST int online_open(struct coll *c);
void online_configure(struct coll *c);	/* kid.conf may be new */
void online_tick(struct coll *c);	/* once a second */
void online_close(struct coll *c);

/* --- relist.c --- */
PS_MUST int relist_open(struct coll *c);
/* Places came, or may be asked for; all: databases are others now. */
void relist_look(struct coll *c, int all);
void relist_close(struct coll *c);

#endif
