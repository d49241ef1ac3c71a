/*
 * said.h -- what a child says that does not write into our log: Redis, and a new
 * binary that is tried before an upgrade. It prints into a memfd that can't grow.
 */
#ifndef PEERSCOPE_MASTER_SAID_H
#define PEERSCOPE_MASTER_SAID_H

#include <stddef.h>

#include "common/err.h"

#define SAID_MAX 16384
#define SAID_TEXT (SAID_MAX + 1)

/* Before the fork: a memfd of SAID_MAX bytes, or -1. The caller closes. */
int said_open(void);
/* In the child: 0 is /dev/null, 1 and 2 are said_fd (-1: /dev/null, too). */
void said_redirect(int said_fd);
/* All of it, without the newlines at its end; "" if there is nothing. */
void said_all(int said_fd, char out[SAID_TEXT]);
/* Its last line. */
void said_last(int said_fd, char out[ERRLEN]);

#endif
