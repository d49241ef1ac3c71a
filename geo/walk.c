/* walk.c -- see walk.h. */
#include "geo/walk.h"

#include <maxminddb.h>
#include <string.h>

/* Values overlap only where a pointer leads into one: nobody writes a file in which each is
 * met this often. It bounds the time that a file made to be slow can take. */
#define VISITS_PER_BYTE 4u
/* Between two looks at `stop`: about a millisecond. */
#define STOP_VALUES 65536u

static const char mark[] = "\xab\xcd\xefMaxMind.com";
#define MARK_LEN (sizeof(mark) - 1)

/* Where a walk is, and how many values it may yet meet until pointers. */
struct place_in {
	size_t at;
	uint32_t left;
};

/* What the first bytes of a value say. size: of the payload; elements of an array, pairs of
 * a map; where a pointer leads. */
struct head {
	uint32_t type, size;
};

const char *walk_word(enum walk_rc rc)
{
	switch (rc) {
	case WALK_OK: return "";
	case WALK_DEEP: return "damaged: values within values, too deep";
	case WALK_LONG: return "damaged: a value with too many parts";
	case WALK_STOPPED: return "not read: we are leaving";
	case WALK_DAMAGED: break;
	}
	return "damaged";
}

/* n bytes, most significant first; -1: there are not as many. */
static int number(const struct walk *w, size_t *at, uint32_t n, uint32_t *out)
{
	if (w->len - *at < n)
		return -1;
	for (*out = 0; n > 0; n--)
		*out = *out << 8 | w->p[(*at)++];
	return 0;
}

static int pointer(const struct walk *w, size_t *at, uint8_t first, struct head *h)
{
	static const uint32_t base[] = {0, 2048, 2048 + (1u << 19), 0};
	uint32_t n = first >> 3 & 3, high = n < 3 ? first & 7 : 0;

	if (number(w, at, n + 1, &h->size) != 0)
		return -1;
	h->size += base[n] + (n < 3 ? high << 8 * (n + 1) : 0);
	return h->size < w->len ? 0 : -1;
}

/* 29 and more: the size stands in the next one, two or three bytes. */
static int size_of(const struct walk *w, size_t *at, uint8_t first, struct head *h)
{
	static const uint32_t base[] = {29, 285, 65821};
	uint32_t n = first & 31u;

	h->size = n;
	if (n < 29)
		return 0;
	if (number(w, at, n - 28, &h->size) != 0)
		return -1;
	h->size += base[n - 29];
	return 0;
}

/* Numbers have at most so many bytes, and those with a point all of them. */
static int fits(const struct head *h, size_t left)
{
	switch (h->type) {
	case MMDB_DATA_TYPE_UTF8_STRING:
	case MMDB_DATA_TYPE_BYTES:
	case MMDB_DATA_TYPE_ARRAY: return h->size <= left;
	case MMDB_DATA_TYPE_MAP: return h->size <= left / 2;
	case MMDB_DATA_TYPE_DOUBLE: return h->size == 8 && left >= 8;
	case MMDB_DATA_TYPE_FLOAT: return h->size == 4 && left >= 4;
	case MMDB_DATA_TYPE_UINT16: return h->size <= 2 && h->size <= left;
	case MMDB_DATA_TYPE_UINT32:
	case MMDB_DATA_TYPE_INT32: return h->size <= 4 && h->size <= left;
	case MMDB_DATA_TYPE_UINT64: return h->size <= 8 && h->size <= left;
	case MMDB_DATA_TYPE_UINT128: return h->size <= 16 && h->size <= left;
	case MMDB_DATA_TYPE_BOOLEAN: return 1;
	default: return 0; /* of no value that may be in a file */
	}
}

/* Moves *at behind it. -1: damaged. */
static int read_head(const struct walk *w, size_t *at, struct head *h)
{
	uint8_t first;

	if (*at >= w->len)
		return -1;
	first = w->p[(*at)++];
	h->type = first >> 5;
	if (h->type == MMDB_DATA_TYPE_POINTER)
		return pointer(w, at, first, h);
	if (h->type == MMDB_DATA_TYPE_EXTENDED) {
		if (*at >= w->len || w->p[*at] == 0)
			return -1; /* 0 would be a map for some, and nothing for others */
		h->type = 7u + w->p[(*at)++];
	}
	return size_of(w, at, first, h) == 0 && fits(h, w->len - *at) ? 0 : -1;
}

static enum walk_rc walk_one(struct walk *w, struct place_in *in, int depth);

/* read_head has seen that the target is in the section. */
static enum walk_rc follow(struct walk *w, uint32_t target, int depth)
{
	struct place_in there = {target, WALK_VALUES};

	if (w->met) {
		uint64_t bit = 1ull << (target & 63);

		if (w->met[target / 64] & bit)
			return WALK_OK;
		w->met[target / 64] |= bit;
	}
	if (w->p[target] >> 5 == MMDB_DATA_TYPE_POINTER)
		return WALK_DAMAGED;
	return walk_one(w, &there, depth);
}

/* A text, or a pointer to one; walked as a value afterwards. */
static int is_key(const struct walk *w, size_t at)
{
	struct head h;

	if (read_head(w, &at, &h) != 0)
		return 0;
	if (h.type == MMDB_DATA_TYPE_POINTER)
		return w->p[h.size] >> 5 == MMDB_DATA_TYPE_UTF8_STRING;
	return h.type == MMDB_DATA_TYPE_UTF8_STRING;
}

static enum walk_rc walk_parts(struct walk *w, struct place_in *in, const struct head *h,
			       int depth)
{
	for (uint32_t i = 0; i < h->size; i++) {
		enum walk_rc rc = WALK_OK;

		if (h->type == MMDB_DATA_TYPE_MAP)
			rc = is_key(w, in->at) ? walk_one(w, in, depth) : WALK_DAMAGED;
		if (rc == WALK_OK)
			rc = walk_one(w, in, depth);
		if (rc != WALK_OK)
			return rc;
	}
	return WALK_OK;
}

static enum walk_rc count(struct walk *w, struct place_in *in)
{
	if (in->left == 0 || w->values == w->max)
		return WALK_LONG;
	in->left--;
	if (++w->values % STOP_VALUES == 0 && w->stop && atomic_load(w->stop))
		return WALK_STOPPED;
	return WALK_OK;
}

/* The one at in->at, which moves behind it. */
static enum walk_rc walk_one(struct walk *w, struct place_in *in, int depth)
{
	enum walk_rc rc = count(w, in);
	struct head h;

	if (rc != WALK_OK)
		return rc;
	if (depth == WALK_DEPTH)
		return WALK_DEEP;
	if (read_head(w, &in->at, &h) != 0)
		return WALK_DAMAGED;
	switch (h.type) {
	case MMDB_DATA_TYPE_POINTER: return follow(w, h.size, depth + 1);
	case MMDB_DATA_TYPE_MAP:
	case MMDB_DATA_TYPE_ARRAY: return walk_parts(w, in, &h, depth + 1);
	case MMDB_DATA_TYPE_BOOLEAN: break; /* its size is its value */
	default: in->at += h.size; break;
	}
	return WALK_OK;
}

void walk_begin(struct walk *w, const uint8_t *p, size_t len, uint64_t *met,
		const atomic_int *stop)
{
	memset(w, 0, sizeof(*w));
	w->p = p;
	w->len = len;
	w->met = met;
	w->max = met ? (uint64_t)len * VISITS_PER_BYTE : WALK_VALUES;
	w->stop = stop;
}

enum walk_rc walk_value(struct walk *w, size_t at)
{
	struct place_in in = {at, WALK_VALUES};

	return walk_one(w, &in, 0);
}

/* The last mark counts: the bytes before it may be anything. */
static const uint8_t *behind_mark(const uint8_t *p, size_t len)
{
	for (size_t at = len; at >= MARK_LEN; at--)
		if (memcmp(p + at - MARK_LEN, mark, MARK_LEN) == 0)
			return p + at;
	return NULL;
}

enum walk_rc walk_meta(const uint8_t *tail, size_t len)
{
	const uint8_t *meta = behind_mark(tail, len);
	struct walk w;

	if (!meta || meta == tail + len)
		return WALK_OK;
	walk_begin(&w, meta, (size_t)(tail + len - meta), NULL, NULL);
	return walk_value(&w, 0);
}
