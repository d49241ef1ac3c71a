/*
 * top.h -- `peerscope top`: the daemon as seen from shared memory alone.
 *
 * Maps the segment read-only, so it can't disturb anything, and asks no process,
 * so it works while they hang. What it reads may be half written, or not ours: all
 * of it is bounded and shown as it is.
 */
#ifndef PEERSCOPE_SHM_TOP_H
#define PEERSCOPE_SHM_TOP_H

#include <stdio.h>

#include "common/err.h"

/*
 * once: print one picture and return; else repaint each second until q, a signal
 * that ends us, or the end of the daemon. as_json: one object per picture and line.
 * 0, or -1 with a sentence, as for a segment whose master is dead.
 */
PS_MUST int top_run(const char *shm_name, int once, int as_json, FILE *out, char err[ERRLEN]);

#endif
