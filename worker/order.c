/* order.c -- a merge sort, bottom up; see order.h. */
#include <string.h>

#include "worker/order.h"

/* Two sorted runs, from[lo .. mid) and from[mid .. hi), into to[lo .. hi). */
static void merge(uint16_t *to, const uint16_t *from, uint32_t lo, uint32_t mid,
		  uint32_t hi, order_fn *fn, const void *arg)
{
	uint32_t a = lo, b = mid;

	for (uint32_t n = lo; n < hi; n++) {
		int left = b >= hi || (a < mid && fn(arg, from[a], from[b]) <= 0);

		to[n] = left ? from[a++] : from[b++];
	}
}

void order_sort(uint16_t *at, uint16_t *spare, uint32_t n, order_fn *fn, const void *arg)
{
	uint16_t *from = at, *to = spare;

	for (uint32_t run = 1; run < n; run *= 2) {
		uint16_t *was = from;

		for (uint32_t lo = 0; lo < n; lo += 2 * run) {
			uint32_t mid = lo + run < n ? lo + run : n;
			uint32_t hi = mid + run < n ? mid + run : n;

			merge(to, from, lo, mid, hi, fn, arg);
		}
		from = to;
		to = was;
	}
	if (from != at)
		memcpy(at, from, n * sizeof *at);
}
