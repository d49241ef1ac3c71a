/* addr.c -- see addr.h. */
#include "common/addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#define MAPPED 0x0000ffff00000000ull /* low half of ::ffff:0:0/96 */
#define NAT64 0x0064ff9b00000000ull  /* high half of 64:ff9b::/96: RFC 6052 */
#define SIX_TO_FOUR 0x2002ull        /* the first 16 bits: RFC 3056 */
#define V4(a, b, c, d, bits) \
	0, MAPPED | (uint64_t)(a) << 24 | (b) << 16 | (c) << 8 | (d), 96 + (bits)

struct addr_block {
	uint64_t hi, lo;
	int bits, global;
};

/*
 * IANA's IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890, 8190), and
 * the multicast and reserved blocks beside them. The first match decides, so an
 * exception stands before the block it is cut out of.
 */
static const struct addr_block addr_blocks[] = {
	{V4(0, 0, 0, 0, 8), 0},          /* this network: RFC 791 */
	{V4(10, 0, 0, 0, 8), 0},         /* private: RFC 1918 */
	{V4(100, 64, 0, 0, 10), 0},      /* shared, CGNAT: RFC 6598 */
	{V4(127, 0, 0, 0, 8), 0},        /* loopback */
	{V4(169, 254, 0, 0, 16), 0},     /* link-local: RFC 3927 */
	{V4(172, 16, 0, 0, 12), 0},      /* private: RFC 1918 */
	{V4(192, 0, 0, 9, 32), 1},       /* PCP anycast: RFC 7723 */
	{V4(192, 0, 0, 10, 32), 1},      /* TURN anycast: RFC 8155 */
	{V4(192, 0, 0, 0, 24), 0},       /* protocol assignments: RFC 6890 */
	{V4(192, 0, 2, 0, 24), 0},       /* documentation: RFC 5737 */
	{V4(192, 88, 99, 0, 24), 0},     /* 6to4 relay, given up: RFC 7526 */
	{V4(192, 168, 0, 0, 16), 0},     /* private: RFC 1918 */
	{V4(198, 18, 0, 0, 15), 0},      /* benchmarking: RFC 2544 */
	{V4(198, 51, 100, 0, 24), 0},    /* documentation: RFC 5737 */
	{V4(203, 0, 113, 0, 24), 0},     /* documentation: RFC 5737 */
	{V4(224, 0, 0, 0, 3), 0},        /* multicast, and 240/4: reserved, broadcast */
	{V4(0, 0, 0, 0, 0), 1},          /* the rest of IPv4 */
	{NAT64, 0, 96, 1},               /* by the address inside: addr_is_global */
	{0x2001000100000000, 1, 128, 1}, /* PCP anycast: RFC 7723 */
	{0x2001000100000000, 2, 128, 1}, /* TURN anycast: RFC 8155 */
	{0x2001000100000000, 3, 128, 1}, /* DNS-SD anycast: RFC 9665 */
	{0x2001000300000000, 0, 32, 1},  /* AMT: RFC 7450 */
	{0x2001000401120000, 0, 48, 1},  /* AS112: RFC 7535 */
	{0x2001002000000000, 0, 28, 1},  /* ORCHIDv2: RFC 7343 */
	{0x2001003000000000, 0, 28, 1},  /* drone tags: RFC 9374 */
	{0x2001000000000000, 0, 23, 0},  /* assignments; Teredo, benchmarking */
	{0x20010db800000000, 0, 32, 0},  /* documentation: RFC 3849 */
	{0x3fff000000000000, 0, 20, 0},  /* documentation: RFC 9637 */
	{0x2000000000000000, 0, 3, 1},   /* what IANA gives out as global unicast */
	{0, 0, 0, 0}, /* the rest of IPv6: unspecified, loopback, discard, local, ... */
};

static uint64_t addr_half(const uint8_t *a)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | a[i];
	return v;
}

static int addr_in(uint64_t hi, uint64_t lo, const struct addr_block *b)
{
	int high = b->bits < 64 ? b->bits : 64, low = b->bits - high;

	if (high && (hi ^ b->hi) >> (64 - high))
		return 0;
	return !low || !((lo ^ b->lo) >> (64 - low));
}

static int addr_block_global(uint64_t hi, uint64_t lo)
{
	const struct addr_block *b = addr_blocks;

	while (!addr_in(hi, lo, b)) /* the last one matches all */
		b++;
	return b->global;
}

int addr_is_v4(const uint8_t a[ADDR_LEN])
{
	return addr_half(a) == 0 && addr_half(a + 8) >> 32 == MAPPED >> 32;
}

int addr_is_global(const uint8_t a[ADDR_LEN])
{
	uint64_t hi = addr_half(a), lo = addr_half(a + 8);

	/* NAT64 (RFC 6052) and 6to4 (RFC 3056) lead to the IPv4 address inside. */
	if (hi == NAT64 && lo >> 32 == 0)
		return addr_block_global(0, MAPPED | lo);
	if (hi >> 48 == SIX_TO_FOUR)
		return addr_block_global(0, MAPPED | (hi >> 16 & 0xffffffff));
	return addr_block_global(hi, lo);
}

static void addr_fill(uint8_t out[ADDR_LEN], uint64_t hi, uint64_t lo)
{
	for (int i = 8; i-- > 0; hi >>= 8, lo >>= 8) {
		out[i] = (uint8_t)hi;
		out[i + 8] = (uint8_t)lo;
	}
}

/* Where a block of IPv4 lies in 6to4 or NAT64. */
static struct addr_block addr_inside(const struct addr_block *b, int nat64)
{
	uint64_t v4 = b->lo & 0xffffffff;

	if (nat64)
		return (struct addr_block){NAT64, v4, b->bits, b->global};
	return (struct addr_block){SIX_TO_FOUR << 48 | v4 << 16, 0, b->bits - 80,
				   b->global};
}

/* From the least to the most exact: the table, then IPv4 once more as 6to4 and as NAT64. */
static int addr_nth(struct addr_block *out, size_t i)
{
	size_t n = PS_ARRAY_LEN(addr_blocks), n4 = 0;

	if (i < n) {
		*out = addr_blocks[n - 1 - i];
		return 0;
	}
	while (addr_blocks[n4].lo >> 32 == MAPPED >> 32)
		n4++;
	i -= n;
	if (i >= 2 * n4)
		return -1;
	*out = addr_inside(&addr_blocks[n4 - 1 - i / 2], i % 2);
	return 0;
}

int addr_range(size_t i, uint8_t first[ADDR_LEN], uint8_t last[ADDR_LEN])
{
	struct addr_block block;
	const struct addr_block *b = &block;
	int low;

	if (addr_nth(&block, i) != 0)
		return -1;
	low = b->bits > 64 ? b->bits - 64 : 0;
	addr_fill(first, b->hi, b->lo);
	addr_fill(last, b->bits < 64 ? b->hi | UINT64_MAX >> b->bits : b->hi,
		  low < 64 ? b->lo | UINT64_MAX >> low : b->lo);
	return b->global;
}

static void addr_map(uint8_t out[ADDR_LEN], const void *v4)
{
	memset(out, 0, 10);
	memset(out + 10, 0xff, 2);
	memcpy(out + 12, v4, 4);
}

void addr_text(char out[ADDR_TEXT_MAX], const uint8_t a[ADDR_LEN])
{
	const char *p;

	if (addr_is_v4(a))
		p = inet_ntop(AF_INET, a + 12, out, ADDR_TEXT_MAX);
	else
		p = inet_ntop(AF_INET6, a, out, ADDR_TEXT_MAX);
	PS_ASSERT(p);
}

int addr_parse(uint8_t out[ADDR_LEN], const char *text)
{
	uint8_t v4[4];

	if (inet_pton(AF_INET, text, v4) == 1) {
		addr_map(out, v4);
		return 0;
	}
	return inet_pton(AF_INET6, text, out) == 1 ? 0 : -1;
}

/* At most five digits: 0 to 65535. */
static int parse_port(uint16_t *port, const char *text)
{
	size_t n = strspn(text, "0123456789");
	uint32_t v = 0;

	for (size_t i = 0; i < n && i < 6; i++)
		v = v * 10 + (uint32_t)(text[i] - '0');
	*port = (uint16_t)v;
	return n >= 1 && n <= 5 && text[n] == '\0' && v <= UINT16_MAX ? 0 : -1;
}

int addr_endpoint(uint8_t out[ADDR_LEN], uint16_t *port, const char *text)
{
	const char *end = strrchr(text, ':');
	int v6 = text[0] == '[';
	char host[ADDR_TEXT_MAX];
	size_t len;

	if (!end || (v6 && (end == text || end[-1] != ']')))
		return -1;
	len = (size_t)(end - text) - (v6 ? 2 : 0);
	if (len >= sizeof(host))
		return -1;
	memcpy(host, text + v6, len);
	host[len] = '\0';
	if (!!strchr(host, ':') != v6)
		return -1;
	return addr_parse(out, host) == 0 ? parse_port(port, end + 1) : -1;
}

int addr_from_sa(uint8_t out[ADDR_LEN], uint16_t *port, const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)sa;

		addr_map(out, &in->sin_addr);
		if (port)
			*port = ntohs(in->sin_port);
		return 0;
	}
	if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)sa;

		memcpy(out, &in6->sin6_addr, ADDR_LEN);
		if (port)
			*port = ntohs(in6->sin6_port);
		return 0;
	}
	return -1;
}
