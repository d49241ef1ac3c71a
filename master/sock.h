/*
 * sock.h -- the listening sockets: one per address and worker index, made once by
 * the master and kept for its life, so that a reload drops no queue.
 *
 * A unix socket is one for all indexes, since SO_REUSEPORT is for addresses: who is idle
 * accepts. Its file goes before its listening ends, so that a successor finds either us or
 * room; what a killed daemon leaves there is known by nobody listening on it.
 * Proof: tests/unit/test_own.c, tests/e2e/test_unix.py.
 */
#ifndef PEERSCOPE_MASTER_SOCK_H
#define PEERSCOPE_MASTER_SOCK_H

#include <stdint.h>
#include <sys/socket.h>

#include "common/conf.h"
#include "common/err.h"

/* For sock_open: the workers of a killed master are gone long before. */
#define SOCK_WAIT_MS 5000

struct sock_addr {
	struct sockaddr_storage sa;
	socklen_t len;
	char text[128];			/* 127.0.0.1:8080, [::1]:8080, unix:/path */
};

struct sock_set {
	int naddr, nworkers;
	struct sock_addr addr[CONF_MAX_LISTEN];		/* as bound: no port 0 */
	int fd[CONF_MAX_WORKERS][CONF_MAX_LISTEN];
	int shut;			/* after sock_shutdown: files at our paths are others' */
};

/* One address:port; names are not resolved. */
PS_MUST int sock_parse(struct sock_addr *out, const char *text, char err[ERRLEN]);
int sock_is_unix(const struct sock_addr *a);
/* A list, commas, of address:port and unix:/path; returns how many, or -1. */
PS_MUST int sock_parse_list(struct sock_addr out[CONF_MAX_LISTEN], const char *list,
			    char err[ERRLEN]);
/* All or nothing. Port 0 takes a free one, the same for all indexes. A daemon
 * that listens there is an error; what a killed one left may leave within wait_ms. */
PS_MUST int sock_open(struct sock_set *out, const char *list, int nworkers,
		      uint64_t wait_ms, char err[ERRLEN]);
/* What another image of ours opened, for the same naddr and nworkers. */
PS_MUST int sock_take(struct sock_set *out, const int32_t fd[][CONF_MAX_LISTEN], int naddr,
		      int nworkers, char err[ERRLEN]);
/* Could all of them be had now? 0, or -1 and why not. Nothing listens, nothing stays. */
PS_MUST int sock_probe(const char *list, char err[ERRLEN]);
/* Nobody gets in any more, in no process: refused at once instead of left waiting. */
void sock_shutdown(struct sock_set *s);
void sock_close(struct sock_set *s);

#endif
