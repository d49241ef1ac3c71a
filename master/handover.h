/*
 * handover.h -- what one image of the master leaves for the next, which takes its place
 * by execve: same pid, same children, same sockets, another binary.
 *
 * Plain bytes in a sealed memfd. Both sides may be of different versions: a struct that
 * is not ours to the byte is refused, and the daemon has to be restarted instead. Keys
 * of the configuration are texts, as their table differs from version to version.
 * Pure but for fcntl. Proof: tests/unit/test_handover.c, tests/e2e/test_upgrade.py.
 */
#ifndef PEERSCOPE_MASTER_HANDOVER_H
#define PEERSCOPE_MASTER_HANDOVER_H

#include <stddef.h>
#include <stdint.h>

#include "common/conf.h"
#include "common/err.h"
#include "common/kid.h"
#include "master/sup.h"

#define HANDOVER_MAGIC 0x50534855u	/* "PSHU" */
#define HANDOVER_VERSION 1u
#define HANDOVER_EXE 1024
#define HANDOVER_CONF 16384

struct handover_row {			/* of the supervision table, and its child */
	int32_t pid, chan_fd;		/* 0: nobody; -1: none */
	uint32_t state, wanted, ready, again;
	uint32_t gen, generation, fast_deaths, mask, deaths;
	uint32_t elsewhere;
	uint64_t started_ms, due_ms;	/* monotonic, which goes on */
};

struct handover {
	uint32_t magic, version, size;
	uint32_t nworkers, naddr, has_redis, half;
	uint32_t last_gen, last_generation, last_epoch;
	uint32_t own_fallback;
	int32_t pid_fd;			/* holds the lock of the pid file: never closed */
	int32_t seg_fd, seg_lock_fd;	/* the same of the segment; both stay open */
	int32_t said_fd;		/* of Redis; -1: none */
	int32_t back_fd;		/* the image that wrote this, to be had back, */
	int32_t conf_fd;		/* and its struct conf, which only it understands */
	int32_t collector_bell_fd;
	int32_t worker_bell_fd[KID_SLOTS];	/* the first 2 * nworkers */
	int32_t listen_fd[CONF_MAX_WORKERS][CONF_MAX_LISTEN];
	char from[64];			/* version of the image that wrote this */
	char exe[HANDOVER_EXE];		/* what it was started from: the next one, too */
	char run_dir[204];
	char conf[HANDOVER_CONF];	/* "section.key=value\n" of what only a restart changes */
	struct handover_row row[SUP_ROWS];
};

/* Does it make sense, and are its descriptors open? 0, or -1 and what is wrong. */
PS_MUST int handover_check(const struct handover *h, char err[ERRLEN]);
/* Close-on-exec of everything that is handed over. */
void handover_keep(const struct handover *h, int keep);

/* The table, both ways. */
void handover_give_sup(struct handover *h, const struct sup *t);
void handover_take_sup(const struct handover *h, struct sup *t, uint64_t drain_ms);

/* -1: longer than HANDOVER_CONF. */
PS_MUST int handover_give_conf(struct handover *h, const struct conf *c);
/* now, with what only a restart can change as it was. Keys that one side does not know
 * are no difference. */
void handover_take_conf(const struct handover *h, const struct conf *now,
			struct conf *was);

#endif
