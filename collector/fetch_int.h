/*
 * fetch_int.h -- what fetch.c (questions, Redis, swarms), fetch_track.c (trackers of links),
 * fetch_read.c (reading), fetch_keep.c (JSON, disk, seeding), fetch_up.c (uploads) and
 * fetch_later.c (jobs) share. See fetch.h.
 */
#ifndef PEERSCOPE_COLLECTOR_FETCH_INT_H
#define PEERSCOPE_COLLECTOR_FETCH_INT_H

#include <sys/queue.h>

#include "collector/coll.h"
#include "collector/metadead.h"
#include "collector/metainfo.h"
#include "collector/metaread.h"
#include "collector/metastore.h"

enum fetch_step {
	FETCH_ASKING, /* Redis */
	FETCH_IN_SWARM,
	FETCH_READING, /* waits for it, or is being read */
	FETCH_RENDERING,
	FETCH_STORING,
};

struct fetch_flight {
	struct coll *c;
	uint64_t number; /* tag of its put */
	enum fetch_step step;
	uint8_t key[IH_LEN];
	uint8_t client[ADDR_LEN];
	struct magnet *link; /* ours; NULL of an upload */
	uint64_t end_ms;     /* monotonic: then nobody has it */
	uint64_t since_ms;   /* monotonic: it is looked for since */
	int lasts;	     /* longer than metadata.timeout: somebody's job */
	/* That is said, and it goes on until idle_ms, for who waits and for the cache's
	 * sake, unless nobody waits and its place is wanted by a question. */
	int idle;
	uint64_t idle_ms;
	uint64_t began_ms;
	struct redis_get *get;
	/* Ours: an info dict, or a whole .torrent; NULL while it is being read. */
	char *bytes;
	size_t held; /* bytes of them */
	struct metainfo m; /* of bytes */
	struct lt_ids ids;
	int from_redis;
	struct metainfo_json w; /* while FETCH_RENDERING */
	struct buf json;
	int listed; /* an upload is once it is known which torrent it is */
	char up[FETCH_UP_NAME + 1]; /* name of an upload; "": it is none */
	char request[REQID_MAX + 1]; /* for the log: the one that began it; "" */
	TAILQ_ENTRY(fetch_flight) turn; /* while FETCH_READING */
	struct fetch_flight *next;
};

struct fetch {
	struct fetch_flight *flights; /* newest first; metadata.flights at most */
	uint32_t nflights;
	size_t held; /* bytes of all flights */
	struct reading *reading; /* fetch_read.c */
	uint64_t last; /* number */
	struct metadead *dead;
	/* What an earlier metadata.cache_dir still writes is waited for, then closed. */
	struct metastore *store, *old;
	char dir[1300];
	struct event *bell, *turn;
	int bell_fd, turn_armed;
	uint64_t swept_ms;
	struct later *later; /* fetch_later.c */
};

/* --- fetch.c --- */
/* One that nobody finds yet; NULL: no memory. */
struct fetch_flight *fetch_new(struct coll *c);
/* From now on they do. -1: metadata.flights. */
PS_MUST int fetch_list(struct fetch_flight *f);
void fetch_free(struct fetch_flight *f); /* without a word to anybody */
struct fetch_flight *fetch_of(const struct coll *c, const uint8_t key[IH_LEN]);
/* It is over: whoever waits hears rc. */
void fetch_end(struct fetch_flight *f, enum lane_rc rc);
/* What is right by its hash is none that we can tell of, and will be none the next time. */
void fetch_odd(struct fetch_flight *f);
/* Other flights for what f found end in it. */
void fetch_join(struct fetch_flight *f);
void fetch_enter(struct fetch_flight *f); /* its swarm, or it ends */

/* Is it the torrent of this key that f looks for, or found? */
int fetch_is(const struct fetch_flight *f, const uint8_t key[IH_LEN]);
/* Is there room for a flight for key that lasts longer than metadata.timeout? */
int fetch_may_last(const struct coll *c, const uint8_t key[IH_LEN]);
/* If so: see that link is looked for until end_ms, though nobody waits. later_ended will say
 * how it ended, maybe before this returns. Takes link. -1: there was no room, after all. */
PS_MUST int fetch_long(struct coll *c, struct magnet *link,
		       const uint8_t client[ADDR_LEN], uint64_t end_ms);

/* --- fetch_track.c --- */
/* Those of link are asked in w, too, up to swarm.max_trackers. */
void fetch_trackers(struct coll *c, struct swarm *w, const struct magnet *link);
/* If the session's list was made anew (jobs.c: a reload, a join), so that none is in it. */
void fetch_trackers_again(struct coll *c, struct swarm *w, const struct magnet *link);
/* Does it name one that was not asked when nobody had that torrent (metadead.h)? */
int fetch_trackers_new(const struct coll *c, const uint8_t key[IH_LEN],
		       const struct magnet *link);

/* --- fetch_later.c --- */
PS_MUST int later_open(struct coll *c, char err[ERRLEN]);
void later_close(struct coll *c);
void later_job(struct coll *c, const struct shm_job *job, const uint8_t *text);
void later_ended(struct coll *c, const struct fetch_flight *f, enum lane_rc rc);
/* What is cached under key is damaged: it is no result, and is looked for again, in a
 * moment, by when it is removed. */
void later_lost(struct coll *c, const uint8_t key[IH_LEN]);
void later_tick(struct coll *c);

/* --- fetch_read.c --- */
PS_MUST int fetch_read_open(struct coll *c, char err[ERRLEN]);
void fetch_read_close(struct coll *c);
/* Takes bytes, an info dict from f's swarm or Redis: what it means follows. */
void fetch_read(struct fetch_flight *f, char *bytes, size_t len);
/* Takes f, an upload, which its askers wait for. Only if there is room. */
int fetch_read_room(const struct coll *c);
void fetch_read_up(struct fetch_flight *f);
void fetch_read_turn(struct coll *c); /* there may be room for the next one */

/* --- fetch_keep.c --- */
PS_MUST int fetch_keep_open(struct coll *c, char err[ERRLEN]);
void fetch_keep_close(struct fetch *fe);
void fetch_keep_configure(struct coll *c);
void fetch_render(struct fetch_flight *f);
void fetch_keep_tick(struct coll *c);
/* What was found stays in its swarm for others. */
void fetch_seed(const struct coll *c, struct swarm *w, const struct metainfo *found);
int fetch_key(char out[64], const uint8_t key[IH_LEN]); /* of Redis */

/* --- fetch_up.c --- */
void fetch_up_open(struct coll *c);
void fetch_up(struct coll *c, const struct shm_job *job, const uint8_t *text);
void fetch_up_tick(struct coll *c);
/* Who waits is answered; then its file goes: had we died before, it would be done again. */
void fetch_up_end(const struct fetch_flight *f, enum lane_rc rc);
int fetch_up_path(const struct coll *c, char out[METAREAD_PATH], const char *name,
		  const char *end);

#endif
