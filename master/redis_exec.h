/*
 * redis_exec.h -- the bundled Redis: a cache of ours alone, on a unix socket, that
 * keeps nothing on disk and dies with the master, also at kill -9.
 */
#ifndef PEERSCOPE_MASTER_REDIS_EXEC_H
#define PEERSCOPE_MASTER_REDIS_EXEC_H

#include <sys/types.h>

#include "common/conf.h"

#define REDIS_SAID_MAX 16384

/* Before the fork: see off what a killed daemon left on this socket. Returns a memfd
 * for what Redis prints (it can't grow beyond REDIS_SAID_MAX), or -1. */
int redis_exec_prepare(const char *sock);
/* In the child. Returns only if it can't be started; said_fd tells why. */
void redis_exec(const struct conf *c, const char *dir, const char *sock, int said_fd,
		pid_t master);
/* Its last line, for the obituary; "" if there is none. */
void redis_last_words(int said_fd, char out[ERRLEN]);

#endif
