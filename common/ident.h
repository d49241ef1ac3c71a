/*
 * ident.h -- the ids that people ask for, and the key of a swarm.
 *
 * 40 hex digits in any case and 32 base32 digits (RFC 4648, either case) are a
 * v1 infohash (BEP 3, BEP 9); 64 hex digits are a v2 infohash (BEP 52), whose
 * swarm is keyed by its first 20 bytes, as trackers and the DHT do. A key of zeros
 * alone is refused: libtorrent takes it for "no infohash".
 * Proof: tests/unit/test_ident.c.
 */
#ifndef PEERSCOPE_COMMON_IDENT_H
#define PEERSCOPE_COMMON_IDENT_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define IH_LEN 20
#define IH_V2_LEN 32
#define IH_HEX_LEN 41			/* with the final NUL */
#define IDENT_TEXT_MAX 64		/* longest spelling, without NUL */

enum ident_form { IDENT_HEX40 = 0, IDENT_BASE32 = 1, IDENT_V2 = 2 };

struct ident {
	uint8_t key[IH_LEN];		/* the swarm */
	uint8_t v2[IH_V2_LEN];		/* whole v2 hash if form is IDENT_V2 */
	enum ident_form form;
	int canonical;			/* 40 lower-case digits: the spelling we store */
	char text[IDENT_TEXT_MAX + 1];	/* as asked for, lower case */
};

/* 0, or -1 with a sentence that says what an id looks like. len: bytes of s. */
PS_MUST int ident_parse(struct ident *out, const char *s, size_t len, char err[ERRLEN]);
/* 40 lower-case digits and a NUL. */
void ih_hex(char out[IH_HEX_LEN], const uint8_t ih[IH_LEN]);
/* The same of any bytes: 2 * len digits and a NUL. */
void hex_text(char *out, const uint8_t *p, size_t len);
/* Of a digit in either case; -1: it is none. */
int hex_value(char c);

#endif
