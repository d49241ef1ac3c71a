/* ident.c -- see ident.h. */
#include "common/ident.h"

#include <string.h>

int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* RFC 4648 section 6, lower case. */
static int base32_value(char c)
{
	if (c >= 'a' && c <= 'z')
		return c - 'a';
	if (c >= '2' && c <= '7')
		return c - '2' + 26;
	return -1;
}

/*
 * len digits of bits each into out, most significant first. Returns len, or the
 * place of the first character that is no digit. All three forms fill whole bytes.
 */
static size_t ident_decode(uint8_t *out, const char *s, size_t len, int bits,
			   int (*value)(char))
{
	uint32_t have = 0;
	int nbits = 0;

	for (size_t i = 0; i < len; i++) {
		int v = value(s[i]);

		if (v < 0)
			return i;
		have = have << bits | (uint32_t)v;
		nbits += bits;
		if (nbits >= 8) {
			nbits -= 8;
			*out++ = (uint8_t)(have >> nbits);
			have &= (1u << nbits) - 1;
		}
	}
	return len;
}

static int ident_bad(char err[ERRLEN], size_t len, size_t at)
{
	static const char forms[] =
		"an id is 40 hex digits (v1 infohash), 32 base32 digits "
		"(the same, shorter) or 64 hex digits (v2 infohash)";

	if (at < len)
		return err_set(err, "%s; character %zu of these %zu is none of them",
			       forms, at + 1, len);
	return err_set(err, "%s; these are %zu characters", forms, len);
}

int ident_parse(struct ident *out, const char *s, size_t len, char err[ERRLEN])
{
	static const uint8_t zeros[IH_LEN];
	uint8_t hash[IH_V2_LEN] = {0};
	size_t good;

	if (len != 40 && len != 32 && len != 64)
		return ident_bad(err, len, len);
	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < len; i++)
		out->text[i] = s[i] >= 'A' && s[i] <= 'Z' ? (char)(s[i] + 32) : s[i];
	if (len == 32)
		good = ident_decode(hash, out->text, len, 5, base32_value);
	else
		good = ident_decode(hash, out->text, len, 4, hex_value);
	if (good < len)
		return ident_bad(err, len, good);
	if (memcmp(hash, zeros, IH_LEN) == 0)
		return err_set(err, "zeros alone name no swarm");
	memcpy(out->key, hash, IH_LEN);
	out->form = len == 40 ? IDENT_HEX40 : len == 32 ? IDENT_BASE32 : IDENT_V2;
	if (out->form == IDENT_V2)
		memcpy(out->v2, hash, IH_V2_LEN);
	out->canonical = len == 40 && memcmp(out->text, s, len) == 0;
	return 0;
}

void hex_text(char *out, const uint8_t *p, size_t len)
{
	static const char digit[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		*out++ = digit[p[i] >> 4];
		*out++ = digit[p[i] & 15];
	}
	*out = '\0';
}

void ih_hex(char out[IH_HEX_LEN], const uint8_t ih[IH_LEN])
{
	hex_text(out, ih, IH_LEN);
}
