/*
 * stat.c -- counters and gauges. See stat.h.
 */
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
void stat_add(enum stat_counter c, uint64_t n)
{
	uint64_t v;

	if (own == NULL)
		return;
	v = atomic_load_explicit(&own[c], memory_order_relaxed);
	atomic_store_explicit(&own[c], v + n, memory_order_relaxed);
}

void stat_gauge_set(enum stat_gauge g, uint64_t v)
{
	if (board != NULL)
		atomic_store_explicit(&board[g], v, memory_order_relaxed);
}

static uint64_t sum_once(const struct seg *seg, enum stat_counter c)
{
	uint32_t n = seg_dims_of(seg)->worker_slots + 3;
	uint64_t sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += atomic_load_explicit(&block_at(seg, i)[c], WORD_LOAD);
	return sum;
}

/* A master that died while retiring leaves the sequence odd; then the sum may hold
 * one block twice, and everybody is leaving anyway. */
uint64_t stat_total(const struct seg *seg, enum stat_counter c)
{
	const struct shm_stats *st = seg_at(seg, SHM_STATS);
	uint64_t sum = 0;

	for (int i = 0; i < RETIRED_TRIES; i++) {
		uint32_t before = seq_read(&st->seq);

		sum = sum_once(seg, c);
		if ((before & 1) == 0 && seq_same(&st->seq, before))
			break;
	}
	return sum;
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
	for (int i = 0; i < STAT_COUNTER_N; i++) {
		uint64_t v = atomic_load_explicit(&from[i], memory_order_relaxed);
		uint64_t sum = atomic_load_explicit(&retired[i], memory_order_relaxed);

		atomic_store_explicit(&retired[i], sum + v, WORD_STORE);
		atomic_store_explicit(&from[i], 0, WORD_STORE);
	}
	seq_end(&st->seq);
}
