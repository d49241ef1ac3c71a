/* buf.c -- see buf.h. */
#include "common/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_FIRST_BYTES 256 /* enough for an error answer without growing */

void buf_init(struct buf *b, size_t max_bytes)
{
	memset(b, 0, sizeof(*b));
	b->max = max_bytes;
}

void buf_free(struct buf *b)
{
	size_t max = b->max;

	free(b->p);
	buf_init(b, max);
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	b->failed = 0;
	if (b->p)
		b->p[0] = '\0';
}

/* Room for more bytes and the final NUL. 0, or -1 and the buffer has failed. */
static int buf_room(struct buf *b, size_t more)
{
	size_t want, cap;
	char *p;

	if (b->failed)
		return -1;
	if (more > b->max - b->len)
		goto fail;
	want = b->len + more + 1;
	if (want <= b->cap)
		return 0;
	cap = b->cap ? b->cap : BUF_FIRST_BYTES;
	while (cap < want)
		cap *= 2;
	if (cap > b->max + 1)
		cap = b->max + 1;
	p = realloc(b->p, cap);
	if (!p)
		goto fail;
	b->p = p;
	b->cap = cap;
	return 0;
fail:
	b->failed = 1;
	return -1;
}

void buf_add(struct buf *b, const void *data, size_t len)
{
	if (buf_room(b, len) != 0)
		return;
	if (len)
		memcpy(b->p + b->len, data, len);
	b->len += len;
	b->p[b->len] = '\0';
}

void buf_str(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	PS_ASSERT(n >= 0);
	if (buf_room(b, (size_t)n) != 0)
		return;
	va_start(ap, fmt);
	vsnprintf(b->p + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
}

char *buf_take(struct buf *b, size_t *len)
{
	char *p = b->p;

	if (len)
		*len = b->len;
	b->p = NULL;
	buf_init(b, b->max);
	return p;
}

/* --- JSON --------------------------------------------------------------- */

void json_init(struct json *j, struct buf *out)
{
	memset(j, 0, sizeof(*j));
	j->out = out;
}

/* What stands before every value: comma, and key if there is one. */
static void json_begin(struct json *j, const char *key)
{
	if (j->comma[j->depth])
		buf_add(j->out, ",", 1);
	j->comma[j->depth] = 1;
	if (key) {
		buf_add(j->out, "\"", 1);
		buf_str(j->out, key);
		buf_add(j->out, "\":", 2);
	}
}

static void json_down(struct json *j, const char *key, const char *open)
{
	json_begin(j, key);
	PS_ASSERT(j->depth + 1 < JSON_DEPTH);
	j->comma[++j->depth] = 0;
	buf_add(j->out, open, 1);
}

static void json_up(struct json *j, const char *close)
{
	PS_ASSERT(j->depth > 0);
	j->depth--;
	buf_add(j->out, close, 1);
}

void json_obj(struct json *j, const char *key)
{
	json_down(j, key, "{");
}

void json_obj_end(struct json *j)
{
	json_up(j, "}");
}

void json_arr(struct json *j, const char *key)
{
	json_down(j, key, "[");
}

void json_arr_end(struct json *j)
{
	json_up(j, "]");
}

/* Shortest form only, no surrogates, nothing above U+10FFFF. */
size_t utf8_len(const void *text, size_t left)
{
	const uint8_t *s = text;
	size_t n = s[0] < 0x80   ? 1
		   : s[0] < 0xc2 ? 0
		   : s[0] < 0xe0 ? 2
		   : s[0] < 0xf0 ? 3
				 : 4;
	uint8_t low = 0x80, high = 0xbf; /* bounds of the second byte */

	if (n == 0 || n > left || s[0] > 0xf4)
		return 0;
	switch (s[0]) {
	case 0xe0: low = 0xa0; break;
	case 0xed: high = 0x9f; break;
	case 0xf0: low = 0x90; break;
	case 0xf4: high = 0x8f; break;
	}
	if (n > 1 && (s[1] < low || s[1] > high))
		return 0;
	for (size_t i = 2; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	}
	return n;
}

static int json_plain(uint8_t c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* One byte that can't stand as it is. */
static void json_escape(struct buf *b, uint8_t c)
{
	static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
	const char *at = c ? strchr(from, c) : NULL;

	if (at) {
		char pair[2] = {'\\', to[at - from]};

		buf_add(b, pair, 2);
	} else if (c < 0x20) {
		buf_printf(b, "\\u%04x", c);
	} else {
		buf_add(b, "\xef\xbf\xbd", 3); /* U+FFFD */
	}
}

void json_strn(struct json *j, const char *key, const char *str, size_t len)
{
	const uint8_t *s = (const uint8_t *)str;
	size_t at = 0, run = 0; /* [run, at) is copied in one go */

	json_begin(j, key);
	buf_add(j->out, "\"", 1);
	while (at < len) {
		size_t n = json_plain(s[at]) ? 1
			   : s[at] < 0x80    ? 0
					     : utf8_len(s + at, len - at);

		if (n > 0) {
			at += n;
			continue;
		}
		buf_add(j->out, s + run, at - run);
		json_escape(j->out, s[at]);
		run = ++at;
	}
	buf_add(j->out, s + run, at - run);
	buf_add(j->out, "\"", 1);
}

void json_str(struct json *j, const char *key, const char *s)
{
	json_strn(j, key, s, strlen(s));
}

/* Decimal digits of v, ending at end; returns the first. 20 bytes are enough. */
static char *json_digits(char *end, uint64_t v)
{
	do {
		*--end = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	return end;
}

static uint64_t json_magnitude(int64_t v)
{
	return v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
}

void json_uint(struct json *j, const char *key, uint64_t v)
{
	char text[20], *end = text + sizeof(text), *p = json_digits(end, v);

	json_begin(j, key);
	buf_add(j->out, p, (size_t)(end - p));
}

void json_int(struct json *j, const char *key, int64_t v)
{
	char text[21], *end = text + sizeof(text),
		       *p = json_digits(end, json_magnitude(v));

	if (v < 0)
		*--p = '-';
	json_begin(j, key);
	buf_add(j->out, p, (size_t)(end - p));
}

void json_fixed(struct json *j, const char *key, int64_t v, int decimals)
{
	char text[24], *end = text + sizeof(text), *p = end;
	uint64_t m = json_magnitude(v);

	PS_ASSERT(decimals >= 1 && decimals <= 18);
	for (; decimals > 1 && m % 10 == 0; decimals--)
		m /= 10;
	for (; decimals > 0; decimals--, m /= 10)
		*--p = (char)('0' + m % 10);
	*--p = '.';
	p = json_digits(p, m);
	if (v < 0)
		*--p = '-';
	json_begin(j, key);
	buf_add(j->out, p, (size_t)(end - p));
}

void json_bool(struct json *j, const char *key, int v)
{
	json_begin(j, key);
	buf_str(j->out, v ? "true" : "false");
}

void json_null(struct json *j, const char *key)
{
	json_begin(j, key);
	buf_str(j->out, "null");
}

void json_str_or_null(struct json *j, const char *key, const char *s)
{
	if (s != NULL)
		json_str(j, key, s);
	else
		json_null(j, key);
}

void json_uint_known(struct json *j, const char *key, uint64_t v, int known)
{
	if (known)
		json_uint(j, key, v);
	else
		json_null(j, key);
}
