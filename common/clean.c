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

/* Letters, too: a run that begins with the end of a word is hidden with it. */
static int looks_like_address(const char *s, size_t n)
{
	size_t dots = 0, colons = 0, digits = 0;

	for (size_t i = 0; i < n; i++) {
		dots += s[i] == '.';
		colons += s[i] == ':';
		digits += s[i] != '.' && s[i] != ':';
	}
	return digits > 0 && (dots >= 3 || colons >= 7 || memmem(s, n, "::", 2) != NULL);
}

void clean_addresses(char *text)
{
	static const char of_addresses[] = "0123456789abcdefABCDEF.:";

	while (*text) {
		size_t n = strspn(text, of_addresses);

		if (looks_like_address(text, n))
			memset(text, '*', n);
		text += n > 0 ? n : 1;
	}
}
