/* mmdb_stage.h -- MMDB files as bytes, also those that no writer would make. MaxMind DB 2.0;
 * the tree has one node, and both sides of it lead to the value at the start of the data. */
#ifndef PEERSCOPE_TESTS_MMDB_STAGE_H
#define PEERSCOPE_TESTS_MMDB_STAGE_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"

#define MM_MAX (128u << 10)

struct mm {
	uint8_t p[MM_MAX];
	size_t n;
};

static void mm_add(struct mm *m, const void *p, size_t n)
{
	PS_ASSERT(n <= sizeof(m->p) - m->n);
	if (n)
		memcpy(m->p + m->n, p, n);
	m->n += n;
}

static void mm_byte(struct mm *m, unsigned b)
{
	uint8_t byte = (uint8_t)b;

	mm_add(m, &byte, 1);
}

/* Of at most 284 bytes. */
static void mm_text(struct mm *m, const char *s)
{
	size_t n = strlen(s);

	mm_byte(m, 0x40u | (unsigned)(n < 29 ? n : 29));
	if (n >= 29)
		mm_byte(m, (unsigned)n - 29);
	mm_add(m, s, n);
}

/* Of at most 28 pairs, which follow. */
static void mm_map(struct mm *m, unsigned pairs)
{
	mm_byte(m, 0xe0u | pairs);
}

static void mm_array(struct mm *m, unsigned n)
{
	mm_byte(m, n);
	mm_byte(m, 4);
}

static void mm_number(struct mm *m, unsigned type, uint32_t v)
{
	mm_byte(m, type < 8 ? type << 5 | 4u : 4u);
	if (type >= 8)
		mm_byte(m, type - 7);
	for (int shift = 24; shift >= 0; shift -= 8)
		mm_byte(m, v >> shift);
}

static void mm_pointer(struct mm *m, uint32_t to)
{
	mm_byte(m, 1u << 5 | 3u << 3);
	for (int shift = 24; shift >= 0; shift -= 8)
		mm_byte(m, to >> shift);
}

/* Arrays within arrays, and a text. */
static void mm_nest(struct mm *m, uint32_t depth)
{
	while (depth-- > 0)
		mm_array(m, 1);
	mm_text(m, "x");
}

static void mm_pair(struct mm *m, const char *key, const char *text)
{
	mm_text(m, key);
	mm_text(m, text);
}

static void mm_short(struct mm *m, const char *key, unsigned v)
{
	mm_text(m, key);
	mm_byte(m, 5u << 5 | 2u);
	mm_byte(m, v >> 8);
	mm_byte(m, v);
}

/* 5 to 10 pairs: `more` counts those that follow. */
static void mm_meta(struct mm *m, unsigned more)
{
	mm_map(m, 7 + more);
	mm_short(m, "binary_format_major_version", 2);
	mm_short(m, "binary_format_minor_version", 0);
	mm_short(m, "ip_version", 4);
	mm_short(m, "record_size", 24);
	mm_text(m, "node_count");
	mm_number(m, 6, 1);
	mm_text(m, "build_epoch");
	mm_number(m, 9, 1700000000);
	mm_pair(m, "database_type", "City");
}

static void mm_languages(struct mm *m)
{
	mm_text(m, "languages");
	mm_array(m, 1);
	mm_text(m, "en");
	mm_text(m, "description");
	mm_map(m, 1);
	mm_pair(m, "en", "of a test");
}

/* The tree, and room for the separator; data follows. */
static void mm_begin(struct mm *m)
{
	static const uint8_t zero[16], node[] = {0, 0, 17, 0, 0, 17};

	m->n = 0;
	mm_add(m, node, sizeof(node));
	mm_add(m, zero, sizeof(zero));
}
#define MM_DATA (6u + 16u)		/* where the data begins */

/* The metadata follows. */
static void mm_mark(struct mm *m)
{
	mm_add(m, "\xab\xcd\xefMaxMind.com", 14);
}

static void mm_end(struct mm *m)
{
	mm_mark(m);
	mm_meta(m, 2);
	mm_languages(m);
}

#endif
