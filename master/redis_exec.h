/*
 * redis_exec.h -- the bundled Redis: a cache of ours alone, on a unix socket, that
 * keeps nothing on disk and dies with the master, also at kill -9.
 */
#ifndef PEERSCOPE_MASTER_REDIS_EXEC_H
#define PEERSCOPE_MASTER_REDIS_EXEC_H

#include <sys/types.h>

#include "common/conf.h"

/* Before the fork: see off what a killed daemon left on this socket. Returns said_open's,
 * for what Redis prints. */
int redis_exec_prepare(const char *sock);
/* In the child. Returns only if it can't be started; said_fd tells why. */
void redis_exec(const struct conf *c, const char *dir, const char *sock, int said_fd,
		pid_t master);

#endif
