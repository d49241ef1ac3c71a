/*
 * topwords.h -- numbers as people read them, for `top`: ages, states, times. JSON has
 * the numbers as they are. Pure. Proof: tests/unit/test_shm.c.
 */
#ifndef PEERSCOPE_SHM_TOPWORDS_H
#define PEERSCOPE_SHM_TOPWORDS_H

#include "shm/stat.h"

#define TOPWORDS_MAX 64

/* "-" for UINT64_MAX (never), "2.5s", "40s", "3h05m", "2d". */
const char *topwords_age(char out[TOPWORDS_MAX], uint64_t ms);
/* The value of a gauge: a word for a state, an age for a time, else the number. */
const char *topwords_gauge(char out[TOPWORDS_MAX], enum stat_gauge g, uint64_t v,
			   uint64_t wall_ms);
/* Its help without the list of numbers that the words replace; perhaps empty. */
const char *topwords_help(char out[128], enum stat_gauge g);

#endif
