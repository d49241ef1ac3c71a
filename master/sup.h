/*
 * sup.h -- supervision as a pure function: (table, event, now) -> actions.
 *
 * No syscall, no clock, no global: who starts, drains, is killed or waits is
 * decided here and done in serve.c. One row per process:
 *
 *            START            READY            DRAIN            exit
 *   EMPTY ----------> STARTING ----> RUNNING ----------> DRAINING ----> EMPTY
 *                        | 10 s         | exit, or hung      | due
 *                        v              v                    v
 *                     KILLED --exit--> COOLING --due-->   KILLED --exit--> EMPTY
 *
 * Rows 0 .. 2N-1 are worker slots in two halves of N; a generation fills one half
 * and the next one the other, so there are two at most. Row 2N is the collector,
 * 2N+1 Redis; a row holds one process and is used again only after its exit was
 * reported, so neither can overlap itself. Proof: tests/unit/test_sup.c.
 */
#ifndef PEERSCOPE_MASTER_SUP_H
#define PEERSCOPE_MASTER_SUP_H

#include <stddef.h>
#include <stdint.h>

#include "common/kid.h"

#define SUP_ROWS (KID_SLOTS + 2)
#define SUP_READY_MS 10000		/* STARTING at most this long */
#define SUP_FORGIVE_MS 60000		/* alive this long: earlier deaths are forgiven */
#define SUP_DELAY_MIN_MS 100		/* back-off: doubles from here ... */
#define SUP_DELAY_MAX_MS 30000		/* ... to here */
#define SUP_COLLECTOR_STOP_MS 10000	/* to tell trackers "stopped", and to publish */
#define SUP_REDIS_STOP_MS 3000		/* it has nothing to save */
#define SUP_NOW_MS 300			/* "leave now": to close what is open, then KILL */
#define SUP_TERM_AGAIN_MS 1000		/* a second TERM sooner is the first one, sent twice */
#define SUP_REDIS_HEALTHY_MS 1000	/* it says no READY: alive this long is running */
/*
 * A loop of ours turns each second and never waits for anybody, so one that stood still
 * at so many looks hangs: 10 to 12 s. Looks are counted, and not time: if all of us were
 * frozen (SIGSTOP to the group, a paused container), that is one look, not a verdict.
 * A suspended machine is nothing at all: the clock stands still, too.
 */
#define SUP_LOOK_MS 2000
#define SUP_LOOKS 5
#define SUP_NEVER UINT64_MAX

enum sup_state {			/* also in shm_page.state: values are stored */
	SUP_EMPTY = 0,
	SUP_STARTING = 1,
	SUP_RUNNING = 2,
	SUP_DRAINING = 3,
	SUP_KILLED = 4,
	SUP_COOLING = 5,		/* dead; due_ms says when it starts, SUP_NEVER: 78 */
};
const char *sup_state_name(enum sup_state s);

enum sup_phase {			/* of the daemon; order matters: >= SUP_LEAVE leaves */
	SUP_FIRST = 0,			/* first start: a worker that fails fails us */
	SUP_UP = 1,
	SUP_LEAVE = 2,			/* workers drain */
	SUP_LEAVE_COLLECTOR = 3,
	SUP_LEAVE_REDIS = 4,
	SUP_LEAVE_NOW = 5,		/* nobody has more than SUP_NOW_MS */
	SUP_GONE = 6,			/* SUP_A_EXIT was said */
};

/* The generation that starts brings a new collector: at once, since it finds the same segment
 * as the old one; or when the old workers have left, who use another segment with it. */
enum sup_renew { SUP_RENEW_NOT, SUP_RENEW_AT_ONCE, SUP_RENEW_LAST };

struct sup_row {
	enum sup_state state;
	enum kid_role role;
	int index;			/* worker: 0 .. N-1 */
	int wanted;			/* to be started again when it dies */
	int ready;			/* was RUNNING in this life */
	int again;			/* collector: draining, and then started anew */
	int elsewhere;			/* in another segment: we don't see its page */
	uint32_t gen;			/* of this life, see start_row; collector: epoch */
	uint32_t generation;		/* worker: as people count; a respawn keeps it */
	uint32_t fast_deaths;
	uint32_t mask;			/* worker: indexes it was told to listen on */
	uint64_t started_ms, due_ms;
	uint64_t beat_ms;		/* of its page, when we looked last */
	uint32_t looks;			/* since its loop has turned */
};

struct sup {
	int nworkers;
	int has_redis;
	uint64_t drain_ms;		/* owner may change it at any time */
	/* The rest is ours. */
	enum sup_phase phase;
	int half;			/* 0 or 1: half of the serving generation */
	int staged;			/* the other half is starting */
	int hup;			/* a reload waits for free slots */
	int upgrade;			/* 1: and so does an upgrade; 2: it is under way */
	int renew;			/* enum sup_renew */
	int exit_code;
	uint32_t last_gen, last_generation, last_epoch;
	uint64_t term_ms;		/* when the first TERM came */
	struct sup_row row[SUP_ROWS];
};

enum sup_event_type {
	SUP_E_START,			/* once: first start */
	SUP_E_READY,			/* row */
	SUP_E_EXIT,			/* row, code, jitter: reaped, or fork failed */
	SUP_E_TICK,			/* sup_next_ms is over */
	SUP_E_HUP,			/* somebody wants a reload */
	SUP_E_UPGRADE,			/* a new binary was found good */
	SUP_E_NO_UPGRADE,		/* answer to SUP_A_UPGRADE: it could not be executed */
	SUP_E_GENERATION,		/* answer to SUP_A_RELOAD: the file is good */
	SUP_E_BEAT,			/* row, beat_ms: each SUP_LOOK_MS for whoever runs */
	SUP_E_TERM,			/* or QUIT; see sup_term_counts */
	SUP_E_INT,			/* leave now */
};

struct sup_event {
	enum sup_event_type type;
	int row;
	int code;			/* exit code, or -1: by a signal */
	uint32_t jitter;		/* any random number */
	uint64_t beat_ms;		/* shm_page.beat_ms */
};

enum sup_action_type {
	SUP_A_START,			/* row, gen; arg 1: again, after a death */
	SUP_A_DRAIN,			/* row: ask it to finish */
	SUP_A_KILL,			/* row: SIGKILL, for the reason in why */
	SUP_A_LISTEN,			/* row, mask: listen on these indexes */
	SUP_A_UP,			/* first start done */
	SUP_A_RELOAD,			/* read the file; if good, SUP_E_GENERATION */
	SUP_A_UPGRADE,			/* execute the new binary; until then, no reload */
	SUP_A_ADOPT,			/* the new generation serves: its config is ours */
	SUP_A_GIVE_UP,			/* it failed, why: the old one stays */
	SUP_A_COOL,			/* row, arg: starts again in arg ms */
	SUP_A_DOWN,			/* row exited 78: stays down until a reload */
	SUP_A_EXIT,			/* arg: leave with this code */
};

struct sup_action {
	enum sup_action_type type;
	int row;
	uint32_t gen, mask, arg;
	const char *why;
};

#define SUP_ACTIONS_MAX (4 * SUP_ROWS)
struct sup_actions {
	size_t n;
	struct sup_action a[SUP_ACTIONS_MAX];
};

void sup_init(struct sup *t, int nworkers, int has_redis, uint64_t drain_ms);
/* Appends nothing to an earlier list: out is filled anew. */
void sup_step(struct sup *t, const struct sup_event *ev, uint64_t now_ms,
	      struct sup_actions *out);
/* When to send SUP_E_TICK; SUP_NEVER: nothing is due. */
uint64_t sup_next_ms(const struct sup *t);

/*
 * Would a TERM do something now? The first does; another one only when it comes
 * SUP_TERM_AGAIN_MS later: `timeout` and service managers signal the process and then
 * its group, and that is one wish, not two.
 */
int sup_term_counts(const struct sup *t, uint64_t now_ms);

int sup_collector_row(const struct sup *t);
int sup_redis_row(const struct sup *t);
/* Half of a worker row; the staged generation's is !t->half. */
int sup_half(const struct sup *t, int row);
int sup_alive(const struct sup *t, int row);	/* a process is in it */
int sup_beats(const struct sup *t, int row);	/* it runs, and its loop has to turn */

#endif
