/* tally.c -- counting texts; see tally.h. */
#include <string.h>

#include "common/err.h"
#include "shm/word.h"
#include "worker/order.h"
#include "worker/tally.h"

void tally_reset(struct tally *t)
{
	t->n = 0;
	t->text_len = 0;
	memset(t->cell, 0, sizeof t->cell);
}

const char *tally_text(const struct tally *t, uint32_t entry)
{
	return t->text + t->entry[entry].at;
}

static uint32_t add_entry(struct tally *t, const char *text, size_t len, uint32_t first)
{
	uint32_t e = t->n++;

	PS_ASSERT(e < TALLY_MAX);
	t->entry[e].at = t->text_len;
	t->entry[e].count = 0;
	t->entry[e].first = (uint16_t)first;
	memcpy(t->text + t->text_len, text, len);
	t->text[t->text_len + len] = '\0';
	t->text_len += (uint32_t)len + 1;
	return e;
}

uint32_t tally_add(struct tally *t, uint64_t seed, const char *text, uint32_t first)
{
	size_t len = strnlen(text, TALLY_TEXT_MAX - 1);
	uint32_t i = (uint32_t)word_hash(seed, text, len) & (TALLY_CELLS - 1), e;

	for (; t->cell[i]; i = (i + 1) & (TALLY_CELLS - 1)) {
		const char *have = tally_text(t, t->cell[i] - 1u);

		if (strncmp(have, text, len) == 0 && have[len] == '\0')
			break;
	}
	if (!t->cell[i])
		t->cell[i] = (uint16_t)(add_entry(t, text, len, first) + 1);
	e = t->cell[i] - 1u;
	t->entry[e].count++;
	return e;
}

static int by_text(const void *arg, uint16_t a, uint16_t b)
{
	return strcmp(tally_text(arg, a), tally_text(arg, b));
}

static int by_count(const void *arg, uint16_t a, uint16_t b)
{
	const struct tally *t = arg;
	uint32_t na = t->entry[a].count, nb = t->entry[b].count;

	return na > nb ? -1 : na < nb ? 1 : by_text(arg, a, b);
}

static void sort(struct tally *t, order_fn *fn)
{
	for (uint32_t i = 0; i < t->n; i++)
		t->order[i] = (uint16_t)i;
	order_sort(t->order, t->spare, t->n, fn, t);
}

void tally_by_text(struct tally *t)
{
	sort(t, by_text);
}

void tally_by_count(struct tally *t)
{
	sort(t, by_count);
}
