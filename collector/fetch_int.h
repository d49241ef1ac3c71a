/*
 * fetch_int.h -- what fetch.c (questions, Redis, swarms), fetch_track.c (trackers of links),
 * fetch_keep.c (JSON, disk, seeding) and fetch_up.c (uploads) share. See fetch.h.
 */
#ifndef PEERSCOPE_COLLECTOR_FETCH_INT_H
#define PEERSCOPE_COLLECTOR_FETCH_INT_H

#include "collector/coll.h"
#include "collector/metadead.h"
#include "collector/metainfo.h"
#include "collector/metastore.h"

enum fetch_step {
	FETCH_ASKING, /* Redis */
	FETCH_IN_SWARM,
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
	uint64_t end_ms;     /* monotonic: then nobody has it, who waits is told */
	uint64_t since_ms;   /* monotonic: it is looked for since */
	int lasts;	     /* longer than metadata.timeout: somebody's job */
	/* That is said, and it goes on until idle_ms for the cache's sake, unless its
	 * place is wanted by a question. */
	int idle;
	uint64_t idle_ms;
	uint64_t began_ms;
	struct redis_get *get;
	char *bytes;       /* ours: an info dict, or a whole .torrent */
	size_t held;       /* bytes of them */
	struct metainfo m; /* of bytes */
	struct lt_ids ids;
	int from_redis;
	struct metainfo_json w; /* while FETCH_RENDERING */
	struct buf json;
	struct fetch_flight *next;
};

struct fetch {
	struct fetch_flight *flights; /* newest first; metadata.flights at most */
	uint32_t nflights;
	size_t held; /* bytes of all flights */
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
struct fetch_flight *fetch_begin(struct coll *c, const uint8_t key[IH_LEN]);
struct fetch_flight *fetch_of(const struct coll *c, const uint8_t key[IH_LEN]);
/* It is over: whoever waits hears rc. */
void fetch_end(struct fetch_flight *f, enum lane_rc rc);
/* What is right by its hash is none that we can tell of, and will be none the next time. */
void fetch_odd(struct fetch_flight *f);
/* Takes bytes, of which len bytes at info are the dict: f, then its other askers, have what
 * they wait for. hashes: which they are, checked. -1: it is no metadata, or not that of f. */
PS_MUST int fetch_has(struct fetch_flight *f, char *bytes, const void *info, size_t len,
		      const struct lt_ids *hashes);
/* Both hashes of an info dict. */
void fetch_hashes(struct lt_ids *out, const void *info, size_t len);

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
void later_tick(struct coll *c);

/* --- fetch_keep.c --- */
PS_MUST int fetch_keep_open(struct coll *c, char err[ERRLEN]);
void fetch_keep_close(struct fetch *fe);
void fetch_keep_configure(struct coll *c);
void fetch_render(struct fetch_flight *f);
void fetch_keep_tick(struct coll *c);
/* What f found stays in its swarm for others. */
void fetch_seed(struct swarm *w, const struct fetch_flight *f);
int fetch_key(char out[64], const uint8_t key[IH_LEN]); /* of Redis */

/* --- fetch_up.c --- */
void fetch_up_open(struct coll *c);
void fetch_up(struct coll *c, const struct shm_job *job, const uint8_t *text);
void fetch_up_tick(struct coll *c);

#endif
