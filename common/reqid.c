/* reqid.c -- see reqid.h. */
#include "common/reqid.h"

#include <stdint.h>
#include <string.h>
#include <sys/random.h>

#include "common/err.h"

int reqid_sane(const char *s, size_t len)
{
	if (len == 0 || len > REQID_MAX)
		return 0;
	for (size_t i = 0; i < len; i++) {
		char c = s[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
		    !(c >= '0' && c <= '9') && (!c || !strchr("-_.~:/+=@", c)))
			return 0;
	}
	return 1;
}

/* splitmix64's last step, a bijection: counts become digits that look drawn, none twice. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

static void hex16(char *out, uint64_t x)
{
	for (int i = 0; i < 16; i++, x <<= 4)
		out[i] = "0123456789abcdef"[x >> 60];
}

void reqid_make(char out[REQID_MAX + 1])
{
	static uint64_t drawn[2]; /* who we are, and where counting began; 0: not yet */

	while (!drawn[0])
		PS_ASSERT(getrandom(drawn, sizeof drawn, 0) == sizeof drawn);
	hex16(out, drawn[0]);
	hex16(out + 16, mix(drawn[1]++));
	out[REQID_MADE] = '\0';
}
