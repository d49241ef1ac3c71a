/*
 * word.h -- how shared words are read and written: the seqlock of HOUSE 5.6.
 *
 * Writer: sequence odd (relaxed), release fence, words (relaxed), even (release).
 * Reader: sequence (acquire), words (relaxed), acquire fence, sequence again.
 *
 * ThreadSanitizer does not know fences. Its builds use the other formulation that
 * C11 allows: each word is stored with release and loaded with acquire. A reader
 * that saw a word of a later writing then also sees the odd sequence stored before
 * it, which is all the fences were for. shm/README.md has the argument.
 */
#ifndef PEERSCOPE_SHM_WORD_H
#define PEERSCOPE_SHM_WORD_H

#include <stddef.h>
#include <string.h>

#include "common/err.h"
#include "shm/layout.h"

#if defined(__SANITIZE_THREAD__)
#define WORD_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WORD_TSAN 1
#endif
#endif

#ifdef WORD_TSAN
#define WORD_LOAD memory_order_acquire
#define WORD_STORE memory_order_release
static inline void word_fence_acquire(void) { }
static inline void word_fence_release(void) { }
#else
#define WORD_LOAD memory_order_relaxed
#define WORD_STORE memory_order_relaxed
static inline void word_fence_acquire(void) { atomic_thread_fence(memory_order_acquire); }
static inline void word_fence_release(void) { atomic_thread_fence(memory_order_release); }
#endif

static inline uint32_t word_get(const shm_u32 *w)
{
	return atomic_load_explicit(w, WORD_LOAD);
}

static inline void word_set(shm_u32 *w, uint32_t v)
{
	atomic_store_explicit(w, v, WORD_STORE);
}

static inline void word_read(void *dst, const shm_u64 *src, size_t words)
{
	for (size_t i = 0; i < words; i++) {
		uint64_t v = atomic_load_explicit(&src[i], WORD_LOAD);

		memcpy((char *)dst + i * 8, &v, 8);
	}
}

static inline void word_write(shm_u64 *dst, const void *src, size_t words)
{
	for (size_t i = 0; i < words; i++) {
		uint64_t v;

		memcpy(&v, (const char *)src + i * 8, 8);
		atomic_store_explicit(&dst[i], v, WORD_STORE);
	}
}

static inline uint32_t seq_read(const shm_u32 *seq)
{
	return atomic_load_explicit(seq, memory_order_acquire);
}

/* After the words: did they stand still? */
static inline int seq_same(const shm_u32 *seq, uint32_t before)
{
	word_fence_acquire();
	return atomic_load_explicit(seq, memory_order_relaxed) == before;
}

static inline void seq_begin(shm_u32 *seq)
{
	uint32_t s = atomic_load_explicit(seq, memory_order_relaxed);

	PS_ASSERT((s & 1) == 0);	/* the one writer is not inside already */
	atomic_store_explicit(seq, s + 1, memory_order_relaxed);
	word_fence_release();
}

static inline void seq_end(shm_u32 *seq)
{
	uint32_t s = atomic_load_explicit(seq, memory_order_relaxed);

	PS_ASSERT((s & 1) == 1);
	atomic_store_explicit(seq, s + 1, memory_order_release);
}

/* Keyed, because ids and client names are chosen by strangers. Words of 8 bytes;
 * the tail is padded with zeros, so callers hash fixed lengths or the length too. */
static inline uint64_t word_hash(uint64_t seed, const void *data, size_t len)
{
	const char *at = data;
	uint64_t h = seed ^ (len * 0x9e3779b97f4a7c15ull);

	while (len > 0) {
		size_t n = len < 8 ? len : 8;
		uint64_t w = 0;

		memcpy(&w, at, n);
		h = (h ^ w) * 0xff51afd7ed558ccdull;
		h = (h ^ (h >> 32) ^ seed) * 0xc4ceb9fe1a85ec53ull;
		h ^= h >> 29;
		at += n;
		len -= n;
	}
	return h ^ (h >> 32);
}

#endif
