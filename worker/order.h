/*
 * order.h -- a stable sort of indexes that allocates nothing (glibc's qsort may take
 * memory, and is not promised to be stable).
 */
#ifndef PEERSCOPE_WORKER_ORDER_H
#define PEERSCOPE_WORKER_ORDER_H

#include <stdint.h>

/* Below, at or above 0: a stands before b, alike, behind. */
typedef int order_fn(const void *arg, uint16_t a, uint16_t b);

/* at[0 .. n) in order; spare has room for n. What is alike keeps its order. */
void order_sort(uint16_t *at, uint16_t *spare, uint32_t n, order_fn *fn, const void *arg);

#endif
