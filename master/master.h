/*
 * master.h -- the running master: one struct, shared by serve.c (loop and actions),
 * spawn.c (fork, exec, reap), reload.c (HUP) and upgrade.c (USR2).
 */
#ifndef PEERSCOPE_MASTER_MASTER_H
#define PEERSCOPE_MASTER_MASTER_H

#include <sys/types.h>

#include "common/err.h"
#include "common/kid.h"
#include "master/cli.h"
#include "master/config.h"
#include "master/own.h"
#include "master/sock.h"
#include "master/sup.h"
#include "master/upgrade.h"
#include "shm/seg.h"

struct child {				/* row i of the supervision table */
	pid_t pid;			/* 0: none */
	int chan_fd;			/* -1: none, or closed by the child */
	int status;			/* its end, while it is being reported */
	uint32_t deaths;		/* see deaths_of in spawn.c */
	const char *killed_for;		/* why we killed it; NULL: we did not */
};

struct master {
	const struct cli *cli;
	struct conf conf;		/* what the serving generation runs on */
	struct conf staged;		/* what the starting one runs on */
	struct own own;
	struct sock_set socks;
	struct seg *seg;
	int seg_fd;			/* for children; a duplicate, see spawn.c */
	int signal_fd;
	int redis_said_fd;		/* what the bundled Redis printed; -1: none */
	int collector_bell_fd;
	int worker_bell_fd[KID_SLOTS];
	struct sup sup;
	struct child child[SUP_ROWS];
	struct kid kid;			/* filled anew for each child; large */
	struct upgrade up;
	uint64_t look_ms;		/* when to look at the beats again */
	int gone, exit_code;
	int asked_code;			/* of whoever asked to leave: KID_M_LEAVE */
};

/* An event for the table, and everything that follows from it. serve.c */
void master_event(struct master *m, enum sup_event_type type, int row, int code);

/* spawn.c */
void spawn_init(struct master *m);
/* Fork the row's process. -1: it could not be started (logged). */
PS_MUST int spawn_row(struct master *m, int row, uint32_t gen, int again);
/* One line about an exit: what the row was, how it ended, what out does about it. */
void spawn_obituary(struct master *m, int row, const struct sup_row *was,
		    const struct sup_actions *out);
/* A collector in no row that fills the table and exits. Its pid, or 0 (logged). */
pid_t spawn_restorer(struct master *m);
void spawn_kill(struct master *m, int row, const char *why);
/* Whoever was the row's process in our segment is gone: its page, lease and counters. */
void spawn_clear(struct master *m, int row);
/* Take all exits that are there, strangers' too (PID 1). */
void spawn_reap(struct master *m);
/* "worker 1 (gen 3)", "collector", "redis-server" */
const char *spawn_name(const struct master *m, int row, char out[48]);

/* reload.c */
/* A complaint about the configuration, into the log: of the start, and of a reload. */
void reload_say(void *arg, enum config_kind kind, const char *text);
/* Read the file again into m->staged. 0, or -1: refused, and logged why. */
PS_MUST int reload_read(struct master *m);
void reload_adopt(struct master *m);
void reload_give_up(struct master *m, const char *why);
void reload_logs(struct master *m);		/* USR1 */

#endif
