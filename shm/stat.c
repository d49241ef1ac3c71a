/*
 * stat.c -- counters and gauges. See stat.h.
 */
#include <string.h>

#include "shm/stat.h"
#include "shm/word.h"

#define RETIRED_TRIES 64

/* clang-format off */
const struct stat_meta stat_counters[STAT_COUNTER_N] = {
#define X(name, help) { #name, help },
	STAT_COUNTERS(X)
#undef X
};
const struct stat_meta stat_gauges[STAT_GAUGE_N] = {
#define X(name, help) { #name, help },
	STAT_GAUGES(X)
#undef X
};
/* clang-format on */

const char *vpn_state_name(enum vpn_state s)
{
	static const char *const names[] = {
		"off",         "up",      "down", "unauthorized", "dead_namespace",
		"unreachable", "unknown",
	};

	return (size_t)s < PS_ARRAY_LEN(names) ? names[s] : "unknown";
}

static shm_u64 *own;   /* this process's block; NULL: counts go nowhere */
static shm_u64 *board; /* NULL unless this process is the collector */

static shm_u64 *block_at(const struct seg *seg, uint32_t block)
{
	PS_ASSERT(block < seg_dims_of(seg)->worker_slots + 3);
	return (shm_u64 *)((char *)seg_at(seg, SHM_STATS) + sizeof(struct shm_stats) +
			   (size_t)block * STAT_BLOCK_BYTES);
}

void stat_own(struct seg *seg, uint32_t block)
{
	own = seg == NULL ? NULL : block_at(seg, block);
	board = seg != NULL && block == seg_dims_of(seg)->worker_slots
			? seg_at(seg, SHM_BOARD)
			: NULL;
}

/* One writer: a load and a store, no locked instruction. */
static void add(uint32_t word, uint64_t n)
{
	uint64_t v;

	if (own == NULL)
		return;
	v = atomic_load_explicit(&own[word], memory_order_relaxed);
	atomic_store_explicit(&own[word], v + n, memory_order_relaxed);
}

void stat_add(enum stat_counter c, uint64_t n)
{
	add(c, n);
}

void stat_cell_add(uint32_t cell, uint64_t n)
{
	PS_ASSERT(cell < HTTPSTAT_CELLS);
	add(STAT_COUNTER_N + cell, n);
}

int stat_is_time(enum stat_gauge g)
{
	const char *name = stat_gauges[g].name;
	size_t len = strlen(name);

	return len > 2 && strcmp(name + len - 2, "_s") == 0;
}

void stat_gauge_set(enum stat_gauge g, uint64_t v)
{
	if (board != NULL)
		atomic_store_explicit(&board[g], v, memory_order_relaxed);
}

static void sum_once(const struct seg *seg, uint32_t word, uint32_t n, uint64_t *out)
{
	uint32_t blocks = seg_dims_of(seg)->worker_slots + 3;

	memset(out, 0, n * sizeof(*out));
	for (uint32_t i = 0; i < blocks; i++) {
		const shm_u64 *from = block_at(seg, i) + word;

		for (uint32_t k = 0; k < n; k++)
			out[k] += atomic_load_explicit(&from[k], WORD_LOAD);
	}
}

/* A master that died while retiring leaves the sequence odd; then the sum may hold
 * one block twice, and everybody is leaving anyway. */
static void sum_words(const struct seg *seg, uint32_t word, uint32_t n, uint64_t *out)
{
	const struct shm_stats *st = seg_at(seg, SHM_STATS);

	for (int i = 0; i < RETIRED_TRIES; i++) {
		uint32_t before = seq_read(&st->seq);

		sum_once(seg, word, n, out);
		if ((before & 1) == 0 && seq_same(&st->seq, before))
			break;
	}
}

uint64_t stat_total(const struct seg *seg, enum stat_counter c)
{
	uint64_t sum;

	sum_words(seg, c, 1, &sum);
	return sum;
}

void stat_cells(const struct seg *seg, uint64_t out[HTTPSTAT_CELLS])
{
	sum_words(seg, STAT_COUNTER_N, HTTPSTAT_CELLS, out);
}

uint64_t stat_gauge_get(const struct seg *seg, enum stat_gauge g)
{
	const shm_u64 *at = seg_at(seg, SHM_BOARD);

	return atomic_load_explicit(&at[g], memory_order_relaxed);
}

void stat_retire(struct seg *seg, uint32_t block)
{
	struct shm_stats *st = seg_at(seg, SHM_STATS);
	shm_u64 *retired = block_at(seg, seg_dims_of(seg)->worker_slots + 2);
	shm_u64 *from = block_at(seg, block);

	PS_ASSERT(from != retired);
	seq_begin(&st->seq);
	for (uint32_t i = 0; i < STAT_BLOCK_WORDS; i++) {
		uint64_t v = atomic_load_explicit(&from[i], memory_order_relaxed);
		uint64_t sum = atomic_load_explicit(&retired[i], memory_order_relaxed);

		atomic_store_explicit(&retired[i], sum + v, WORD_STORE);
		atomic_store_explicit(&from[i], 0, WORD_STORE);
	}
	seq_end(&st->seq);
}
