/* benc.c -- see benc.h. */
#include <string.h>

#include "collector/benc.h"

/* Of INT64_MAX; more of them would not fit in uint64_t either. */
#define INT_DIGITS 19

static int is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

/* ---- scalars: *at moves behind the value if BENC_OK ---------------------------- */

/* The number between *at and stop. Leading zeros are no number. */
static enum benc_rc digits(const uint8_t **at, const uint8_t *end, char stop,
			   uint64_t *out, enum benc_rc bad)
{
	const uint8_t *p = *at;
	uint64_t n = 0;

	for (; p < end && is_digit(*p); p++) {
		if (p - *at >= INT_DIGITS || (p > *at && n == 0))
			return bad;
		n = n * 10 + (uint64_t)(*p - '0');
	}
	if (p == end)
		return BENC_SHORT;
	if (p == *at || *p != stop)
		return bad;
	*at = p + 1;
	*out = n;
	return BENC_OK;
}

static enum benc_rc read_int(const uint8_t **at, const uint8_t *end, int64_t *out)
{
	const uint8_t *p = *at + 1;
	int minus = p < end && *p == '-';
	uint64_t n;
	enum benc_rc rc;

	p += minus;
	rc = digits(&p, end, 'e', &n, BENC_BAD_INT);
	if (rc != BENC_OK)
		return rc;
	if ((minus && n == 0) || n > (uint64_t)INT64_MAX + (minus ? 1 : 0))
		return BENC_BAD_INT;
	*out = minus ? -(int64_t)(n - 1) - 1 : (int64_t)n;
	*at = p;
	return BENC_OK;
}

static enum benc_rc read_str(const uint8_t **at, const uint8_t *end,
			     struct benc_span *out)
{
	const uint8_t *p = *at;
	uint64_t n;
	enum benc_rc rc = digits(&p, end, ':', &n, BENC_BAD_STR);

	if (rc != BENC_OK)
		return rc;
	if (n > (uint64_t)(end - p))
		return BENC_SHORT;
	out->p = p;
	out->len = (size_t)n;
	*at = p + n;
	return BENC_OK;
}

/* ---- the whole: one level of the stack for each open list or dict --------------- */

struct level {
	struct benc_span key; /* the last one; p is NULL before the first */
	uint8_t dict, owes;   /* owes: a key stands there without its value */
};

struct walk {
	const uint8_t *at, *end;
	const struct benc_bounds *bounds;
	struct level level[BENC_DEPTH_MAX];
	int depth;
};

static int in_order(struct benc_span a, struct benc_span b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int c = n ? memcmp(a.p, b.p, n) : 0;

	return c < 0 || (c == 0 && a.len < b.len);
}

/* A length beyond the bounds is bad, rather than one that ends too soon. */
static enum benc_rc walk_str(struct walk *w, struct benc_span *out)
{
	const uint8_t *p = w->at;
	enum benc_rc rc = read_str(&w->at, w->end, out);
	uint64_t n;

	if (rc == BENC_SHORT && digits(&p, w->end, ':', &n, rc) == BENC_OK &&
	    n > w->bounds->bytes)
		return BENC_BAD_STR;
	return rc;
}

static enum benc_rc take_key(struct walk *w, struct level *l)
{
	struct benc_span key;
	enum benc_rc rc;

	if (!is_digit(*w->at))
		return BENC_BAD_KEY;
	rc = walk_str(w, &key);
	if (rc != BENC_OK)
		return rc;
	if (l->key.p && !w->bounds->any_order && !in_order(l->key, key))
		return BENC_UNSORTED;
	l->key = key;
	l->owes = 1;
	return BENC_OK;
}

static enum benc_rc open_level(struct walk *w)
{
	struct level *l;

	if (w->depth == w->bounds->depth)
		return BENC_DEEP;
	l = &w->level[w->depth];
	memset(l, 0, sizeof(*l));
	l->dict = *w->at == 'd';
	w->depth++;
	w->at++;
	return BENC_OK;
}

/* The value that starts here, or the first byte of one that holds others. */
static enum benc_rc take_value(struct walk *w)
{
	struct benc_span s;
	int64_t n;

	switch (*w->at) {
	case 'i': return read_int(&w->at, w->end, &n);
	case 'l':
	case 'd': return open_level(w);
	}
	return is_digit(*w->at) ? walk_str(w, &s) : BENC_BAD_BYTE;
}

/* One step inside a list or dict. */
static enum benc_rc step(struct walk *w)
{
	struct level *l = &w->level[w->depth - 1];

	if (w->at == w->end)
		return BENC_SHORT;
	if (*w->at == 'e') {
		if (l->owes)
			return BENC_BAD_KEY;
		w->depth--;
		w->at++;
		return BENC_OK;
	}
	if (l->dict && !l->owes)
		return take_key(w, l);
	l->owes = 0;
	return take_value(w);
}

enum benc_rc benc_read_in(struct benc *out, const void *bytes, size_t len,
			  const struct benc_bounds *bounds)
{
	struct walk w;
	enum benc_rc rc;

	PS_ASSERT(bounds->depth <= BENC_DEPTH_MAX);
	if (len > bounds->bytes)
		return BENC_BIG;
	if (len == 0)
		return BENC_SHORT;
	w.at = bytes;
	w.end = w.at + len;
	w.bounds = bounds;
	w.depth = 0;
	rc = take_value(&w);
	while (rc == BENC_OK && w.depth > 0)
		rc = step(&w);
	if (rc != BENC_OK)
		return rc;
	if (w.at != w.end)
		return BENC_LONG;
	out->p = bytes;
	out->len = len;
	return BENC_OK;
}

enum benc_rc benc_read(struct benc *out, const void *bytes, size_t len)
{
	static const struct benc_bounds BOUNDS = {BENC_MAX, BENC_DEPTH, 0};

	return benc_read_in(out, bytes, len, &BOUNDS);
}

const char *benc_rc_name(enum benc_rc rc)
{
	static const char *const NAMES[] = {
		[BENC_OK] = "ok",
		[BENC_SHORT] = "ends inside a value",
		[BENC_LONG] = "goes on behind its end",
		[BENC_BIG] = "too large",
		[BENC_DEEP] = "too deep",
		[BENC_BAD_INT] = "bad integer",
		[BENC_BAD_STR] = "bad string length",
		[BENC_BAD_KEY] = "bad key",
		[BENC_UNSORTED] = "keys unsorted or repeated",
		[BENC_BAD_BYTE] = "no value begins like this",
	};

	PS_ASSERT((size_t)rc < PS_ARRAY_LEN(NAMES));
	return NAMES[rc];
}

/* ---- what was read ------------------------------------------------------------- */

enum benc_type benc_type(struct benc v)
{
	if (v.len == 0)
		return BENC_NONE;
	switch (v.p[0]) {
	case 'i': return BENC_INT;
	case 'l': return BENC_LIST;
	case 'd': return BENC_DICT;
	}
	return BENC_STR;
}

int64_t benc_int(struct benc v, int64_t def)
{
	const uint8_t *at = v.p;
	int64_t n;

	if (benc_type(v) != BENC_INT)
		return def;
	PS_ASSERT(read_int(&at, v.p + v.len, &n) == BENC_OK);
	return n;
}

struct benc_span benc_str(struct benc v)
{
	struct benc_span s = {NULL, 0};
	const uint8_t *at = v.p;

	if (benc_type(v) == BENC_STR)
		PS_ASSERT(read_str(&at, v.p + v.len, &s) == BENC_OK);
	return s;
}

int benc_is(struct benc_span s, const char *text)
{
	size_t len = strlen(text);

	return s.p && s.len == len && memcmp(s.p, text, len) == 0;
}

void benc_begin(struct benc_iter *it, struct benc v)
{
	enum benc_type type = benc_type(v);

	memset(it, 0, sizeof(*it));
	if (type != BENC_LIST && type != BENC_DICT)
		return;
	it->at = v.p + 1;
	it->end = v.p + v.len - 1;
	it->dict = type == BENC_DICT;
}

/* Behind the value at `at`, which is known to be whole. */
static const uint8_t *behind(const uint8_t *at, const uint8_t *end)
{
	struct benc_span s;
	int64_t n;
	int open = 0;

	do {
		enum benc_rc rc = BENC_OK;

		PS_ASSERT(at < end);
		if (*at == 'i')
			rc = read_int(&at, end, &n);
		else if (is_digit(*at))
			rc = read_str(&at, end, &s);
		else
			open += *at++ == 'e' ? -1 : 1;
		PS_ASSERT(rc == BENC_OK);
	} while (open > 0);
	return at;
}

int benc_next(struct benc_iter *it, struct benc_span *key, struct benc *value)
{
	struct benc_span k = {NULL, 0};

	if (it->at == it->end)
		return 0;
	if (it->dict)
		PS_ASSERT(read_str(&it->at, it->end, &k) == BENC_OK);
	value->p = it->at;
	it->at = behind(it->at, it->end);
	value->len = (size_t)(it->at - value->p);
	if (key)
		*key = k;
	return 1;
}

struct benc benc_get(struct benc d, const char *key)
{
	struct benc none = {NULL, 0}, value;
	struct benc_iter it;
	struct benc_span k;

	if (benc_type(d) != BENC_DICT)
		return none;
	benc_begin(&it, d);
	while (benc_next(&it, &k, &value))
		if (benc_is(k, key))
			return value;
	return none;
}

void benc_pick(struct benc d, const struct benc_pick *want, size_t n)
{
	struct benc_span key;
	struct benc_iter it;
	struct benc v;

	for (size_t i = 0; i < n; i++)
		*want[i].to = (struct benc){NULL, 0};
	benc_begin(&it, d);
	while (benc_next(&it, &key, &v))
		for (size_t i = 0; i < n; i++)
			if (!want[i].to->p && benc_is(key, want[i].key))
				*want[i].to = v;
}

enum benc_walk benc_walk(struct benc_iter *it, const char *leaf, struct benc_span *key,
			 struct benc *value)
{
	if (it->at == it->end)
		return BENC_WALK_END;
	if (*it->at == 'e') {
		it->at++;
		return BENC_WALK_UP;
	}
	PS_ASSERT(read_str(&it->at, it->end, key) == BENC_OK);
	if (*it->at == 'd' && !benc_is(*key, leaf)) {
		it->at++;
		return BENC_WALK_DOWN;
	}
	value->p = it->at;
	it->at = behind(it->at, it->end);
	value->len = (size_t)(it->at - value->p);
	return BENC_WALK_VALUE;
}
