/*
 * kid.h -- everything that crosses the fork: what the master hands to a child,
 * and the few words they say to each other afterwards.
 *
 * struct kid is plain bytes. A worker inherits it by fork; the collector, which
 * is exec'd because libtorrent brings threads, reads it from a sealed memfd whose
 * number is its only argument. Descriptors in it are open in the child; each
 * child closes what belongs to its siblings (kid_enter). Proof: tests/unit/test_kid.c.
 */
#ifndef PEERSCOPE_COMMON_KID_H
#define PEERSCOPE_COMMON_KID_H

#include <stdint.h>

#include "common/conf.h"
#include "common/err.h"

#define KID_SLOTS (2 * CONF_MAX_WORKERS)	/* two generations */

enum kid_role { KID_WORKER = 1, KID_COLLECTOR = 2, KID_REDIS = 3 };

struct kid {
	uint32_t magic, size;		/* KID_MAGIC, sizeof(struct kid) */
	int role;
	int slot;			/* worker: its lanes, 0 .. 2 * nworkers - 1 */
	int index;			/* worker: its listening sockets, 0 .. nworkers - 1 */
	int nworkers;
	uint32_t gen;			/* worker: no two processes of a slot share it; collector: epoch */
	uint32_t generation;		/* worker: as people count; only a reload moves it */
	int nlisten;			/* addresses in http.listen */
	int restore;			/* collector: fill the table from swarm.state, and exit */
	int chan_fd;			/* SOCK_SEQPACKET to the master; EOF: it is gone */
	int seg_fd;
	int collector_bell_fd;		/* eventfd: workers ring, the collector waits */
	int worker_bell_fd[KID_SLOTS];	/* eventfd per slot: the collector rings */
	int listen_fd[CONF_MAX_WORKERS][CONF_MAX_LISTEN];	/* worker only; -1: none */
	char run_dir[204];
	char redis_sock[232];		/* bundled Redis; "" if there is none */
	struct conf conf;
};
#define KID_MAGIC 0x50534b44u		/* "PSKD" */

/* Messages. To the master: */
#define KID_M_READY 1u			/* serving; arg unused */
#define KID_M_SAVED 8u			/* collector: known peers are in swarm.state */
#define KID_M_LEAVE 6u			/* collector: drain and end the daemon with code arg */
/* To a child: */
#define KID_M_DRAIN 2u			/* stop accepting, finish, exit 0 */
#define KID_M_LISTEN 3u			/* worker: arg is the mask of indexes to listen on */
#define KID_M_CONF 4u			/* collector: new settings; fd is a memfd with struct conf */
#define KID_M_SAVE 7u			/* collector: write them there, for another image */
#define KID_M_REOPEN 5u			/* open the log file again */

struct kid_msg {
	uint32_t type;
	uint32_t arg;
};

/* Never blocks; -1: the other side is gone or its queue is full. fd -1: none.
 * The caller keeps fd. */
PS_MUST int kid_send(int chan_fd, uint32_t type, uint32_t arg, int fd);
/* 1: a message, *fd is -1 or owned by the caller; 0: none now; -1: EOF or error. */
PS_MUST int kid_recv(int chan_fd, struct kid_msg *out, int *fd);

/* memfd with a copy of the bytes, sealed; -1 with err. The caller closes. */
PS_MUST int kid_pack(const char *name, const void *data, size_t len, char err[ERRLEN]);
/* Read exactly len bytes from the start of fd. */
PS_MUST int kid_unpack(int fd, void *data, size_t len, char err[ERRLEN]);

/* Ring an eventfd. Never blocks; a bell that is already ringing stays so. */
void kid_ring(int bell_fd);
/* Silence it before looking at what it announced. */
void kid_hush(int bell_fd);

/*
 * Before anything else in main(): makes room for process names (moves environ, so
 * that the space behind argv is ours). Then names as ps shows them.
 */
void kid_title_init(int argc, char **argv);
void kid_title(const char *fmt, ...) PS_PRINTF(1, 2);

/*
 * First call in every child, same order for all: reset signals, parent-death
 * signal, process name, log identity, descriptors of siblings closed.
 *
 * Afterwards HUP, INT, QUIT, USR1, USR2 and PIPE are ignored: Ctrl-C and a service
 * manager reach the whole group, but what a child does is the master's word, over
 * chan_fd. EOF there: the daemon is gone; a worker closes its listening sockets at
 * once (a new daemon's share the port, and what queues on ours would hang), answers
 * what it has and leaves. TERM alone does nothing either, while
 * the master lives; once it is gone TERM gives the child drain_timeout + 2 s, so
 * that a hung one does not stay for ever. A child may handle TERM itself.
 */
PS_MUST int kid_enter(const struct kid *k, char err[ERRLEN]);

/* The children's entries. They return an exit code. */
int worker_main(const struct kid *k);
int collector_main(const struct kid *k);

#endif
