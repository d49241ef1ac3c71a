/* fold.c -- lower case; see fold.h. Facts: Unicode's CaseFolding.txt, status C. */
#include <stdint.h>

#include "worker/fold.h"

/* Pairs of capital and small letter that stand side by side: the capital is the even
 * one of a pair, or the odd one. */
static unsigned fold_pair(unsigned c)
{
	int odd = (c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17e) ||
		  (c >= 0x4c1 && c <= 0x4ce);
	int even = (c >= 0x100 && c <= 0x137 && c != 0x130 && c != 0x131) ||
		   (c >= 0x14a && c <= 0x177) || (c >= 0x460 && c <= 0x481) ||
		   (c >= 0x48a && c <= 0x4bf) || (c >= 0x4d0 && c <= 0x52f);

	if (odd)
		return c + (c & 1);
	return even ? c | 1 : c;
}

/* A code point of two bytes, U+0080 to U+07FF. */
static unsigned fold_two(unsigned c)
{
	if ((c >= 0xc0 && c <= 0xde && c != 0xd7) || (c >= 0x391 && c <= 0x3ab) ||
	    (c >= 0x410 && c <= 0x42f))
		return c + 32;
	if (c >= 0x400 && c <= 0x40f)
		return c + 80;
	switch (c) {
	case 0x178: return 0xff;
	case 0x386: return 0x3ac;
	case 0x388:
	case 0x389:
	case 0x38a: return c + 37;
	case 0x38c: return 0x3cc;
	case 0x38e:
	case 0x38f: return c + 63;
	case 0x3c2: return 0x3c3; /* a sigma at the end of a word */
	}
	return fold_pair(c);
}

void fold_text(char *text)
{
	for (uint8_t *s = (uint8_t *)text; *s; s++) {
		unsigned c;

		if (*s >= 'A' && *s <= 'Z') {
			*s = (uint8_t)(*s + 32);
		} else if (*s >= 0xc2 && *s < 0xe0 && s[1]) {
			c = fold_two((*s & 0x1fu) << 6 | (s[1] & 0x3fu));
			*s++ = (uint8_t)(0xc0 | c >> 6);
			*s = (uint8_t)(0x80 | (c & 0x3f));
		}
	}
}
