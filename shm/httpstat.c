/* httpstat.c -- see httpstat.h. */
#include "shm/httpstat.h"

#include <stddef.h>

#include "shm/stat.h"

#define CELL(member) (offsetof(struct httpstat_route, member) / sizeof(uint64_t))
#define ROUTE_CELLS (sizeof(struct httpstat_route) / sizeof(uint64_t))

const uint32_t httpstat_le_us[HTTPSTAT_BUCKETS - 1] = {
	500,    1000,   2500,    5000,    10000,   25000,    50000,    100000,
	250000, 500000, 1000000, 2500000, 5000000, 10000000, 30000000,
};

static const uint16_t codes[HTTPSTAT_CODES] = {
	0,   200, 202, 204, 304, 400, 404, 405, 408, 413, 414,
	415, 417, 422, 429, 431, 500, 501, 503, 504, 505,
};

int httpstat_code(uint32_t i)
{
	return codes[i];
}

/* 200 and 304 come early; all others are rare. */
static uint32_t code_index(int status)
{
	for (uint32_t i = 1; i < HTTPSTAT_CODES; i++)
		if (codes[i] == status)
			return i;
	return 0;
}

static uint32_t bucket_index(uint64_t us)
{
	uint32_t i = 0;

	while (i < HTTPSTAT_BUCKETS - 1 && us > httpstat_le_us[i])
		i++;
	return i;
}

static void count(uint32_t route, uint32_t cell, uint64_t n)
{
	PS_ASSERT(route < HTTPSTAT_ROUTES);
	stat_cell_add(route * (uint32_t)ROUTE_CELLS + cell, n);
}

void httpstat_answered(uint32_t route, int status, uint64_t us)
{
	count(route, CELL(code) + code_index(status), 1);
	count(route, CELL(bucket) + bucket_index(us), 1);
	count(route, CELL(sum_us), us);
}

void httpstat_refused(int status)
{
	count(0, CELL(code) + code_index(status), 1);
}

void httpstat_read(const struct seg *seg, struct httpstat *out)
{
	stat_cells(seg, (uint64_t *)out);
}
