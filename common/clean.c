/* clean.c -- see clean.h. */
#include "common/clean.h"

#include <stdint.h>
#include <string.h>

#include "common/buf.h"

static uint32_t code_point(const uint8_t *s, size_t n)
{
	uint32_t c = n == 1 ? s[0] : s[0] & (0x7fu >> n);

	for (size_t i = 1; i < n; i++)
		c = c << 6 | (s[i] & 0x3fu);
	return c;
}

static int is_hidden(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || c == 0x200e ||
	       c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

size_t clean_text(char *out, size_t size, const void *text, size_t len, const char *set,
		  size_t *used)
{
	const uint8_t *s = text;
	size_t at = 0, n = 0;

	PS_ASSERT(size > 0);
	while (at < len) {
		size_t seen = utf8_len(s + at, len - at), put = seen;
		const char *from = (const char *)s + at;

		if (seen == 0) {
			from = "\xef\xbf\xbd"; /* U+FFFD */
			seen = 1;
			put = 3;
		} else if (is_hidden(code_point(s + at, seen)) ||
			   (seen == 1 && strchr(set, s[at]))) {
			from = "_";
			put = 1;
		}
		if (put > size - 1 - n)
			break;
		memcpy(out + n, from, put);
		n += put;
		at += seen;
	}
	out[n] = '\0';
	if (used)
		*used = at;
	return n;
}
