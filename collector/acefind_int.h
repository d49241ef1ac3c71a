/*
 * acefind_int.h -- the insides of the search for AceStream swarms, shared by its two files
 * and by nobody else.
 *
 *	acefind_swarm --> key[] --> at[]: one key at one tracker, when it is due
 *	     ^              ^
 *	     '--- flight ---'-- lookup: what is under way
 *
 *	acefind.c      the table: who is looked for, what is due, when a round is over
 *	acefind_ask.c  look-ups and announces: begun, answered, ended
 *
 * What is due begins from the timer; what comes back changes the table and arms that timer.
 * The owner is called last, when nothing of ours is held any more: he may stop any swarm
 * from there.
 */
#ifndef PEERSCOPE_COLLECTOR_ACEFIND_INT_H
#define PEERSCOPE_COLLECTOR_ACEFIND_INT_H

#include "collector/acefind.h"
#include "collector/recent.h"
#include "common/clock.h"
#include "shm/stat.h"

struct event;

struct acefind_tracker {
	struct acetrack_url url;
	uint32_t hash;
	uint32_t fails; /* in a row, whatever the swarm */
};

struct acefind_at {
	uint64_t due_ms;
	uint32_t fails;
	uint8_t flying; /* an announce, or its "stopped", is under way */
	uint8_t done;   /* the first round does not wait for it */
};

struct acefind_key {
	uint8_t id[IH_LEN];
	uint64_t due_ms;       /* of a look-up */
	uint64_t looking_ms;   /* since when one is under way; 0: none */
	uint64_t replied_ms;   /* to it; 0: nobody yet */
	uint64_t announced_ms; /* the last "started"; 0: never */
	uint32_t named;        /* endpoints, by it */
	uint32_t empty;        /* look-ups in a row that named nobody */
	uint8_t looked;        /* one was made in this life */
	uint8_t at_work;       /* so says the poll that is being read */
	uint32_t heard;        /* the record that it was told of last */
	struct acefind_at *at; /* one for each tracker */
};

struct acefind_swarm {
	uint8_t id[IH_LEN];
	uint32_t life;
	uint32_t nkeys;
	struct acefind_key key[ACEFIND_KEYS];
	int round_said;
	int session_asks; /* the DHT about the key that is its id */
	struct acefind_swarm *next;
};

struct acefind_flight { /* an announce under way; t NULL: a free place */
	struct acefind *f;
	struct acefind_swarm *w;
	struct acetrack *t;
	uint8_t key[IH_LEN];
	uint32_t tracker; /* hash */
	int doubtful;
};

struct acefind {
	struct event_base *base;
	struct lt_session *lt;
	acefind_fn *fn;
	void *arg;
	struct event *timer;
	struct acefind_swarm *first, **last;
	uint32_t nswarms, max_swarms;
	struct acefind_tracker tracker[ACETRACK_MAX];
	uint32_t ntrackers;
	char list[sizeof(((struct conf *)0)->acestream_trackers)]; /* as taken */
	struct acetrack_way way;
	uint64_t lookup_ms, gap_ms;
	uint16_t port;
	int dht, suspended;
	uint32_t lookups; /* under way */
	uint32_t heard;   /* records of the session about keys */
	struct acefind_flight flight[ACEFIND_ANNOUNCES];
	struct recent recent; /* keys that were left, and when they were announced */
};

/* --- acefind.c --- */
struct acefind_swarm *acefind_swarm(const struct acefind *f, const uint8_t swarm[IH_LEN]);
struct acefind_key *acefind_key(struct acefind_swarm *w, const uint8_t id[IH_LEN]);
/* Its place; f->ntrackers: it is not there any more. */
uint32_t acefind_tracker(const struct acefind *f, uint32_t hash);
/* Something may be due: soon, but never within the caller's call. */
void acefind_wake(struct acefind *f, uint64_t ms);

/* --- acefind_ask.c --- */
int acefind_may_look(const struct acefind *f);
/* 0: begun, or to be tried again in a second; -1: it waits for a place. */
PS_MUST int acefind_look(struct acefind *f, struct acefind_key *k, uint64_t now);
PS_MUST int acefind_announce(struct acefind *f, struct acefind_swarm *w,
			     struct acefind_key *k, uint32_t tracker, uint64_t now);
void acefind_drop_lookup(struct acefind *f, struct acefind_key *k);
void acefind_land(struct acefind_flight *fl, int stop);

#endif
