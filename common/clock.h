/*
 * clock.h -- the two times we use.
 *
 * Monotonic milliseconds order events and carry deadlines; CLOCK_MONOTONIC is
 * one clock for all processes of a machine, so a deadline may cross shared
 * memory. Wall time is only shown to people and stored in answers.
 */
#ifndef PEERSCOPE_COMMON_CLOCK_H
#define PEERSCOPE_COMMON_CLOCK_H

#include <stdint.h>

uint64_t clock_ms(void);		/* monotonic, milliseconds */
uint64_t clock_us(void);		/* monotonic, microseconds */
uint64_t clock_wall_ms(void);		/* since the epoch, milliseconds */

#endif
