/* proxies.c -- see proxies.h. */
#include "worker/proxies.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/conf.h"

#define ITEM_MAX 64 /* of the key, and of the header: an address, brackets, a port */

/* --- the key ------------------------------------------------------------- */

/* The bits behind a '/': 0 to most; -1: none of these. */
static int parse_bits(const char *text, int most)
{
	size_t n = strspn(text, "0123456789");

	if (n < 1 || n > 3 || text[n] || strtol(text, NULL, 10) > most)
		return -1;
	return (int)strtol(text, NULL, 10);
}

static int in_block(const uint8_t a[ADDR_LEN], const uint8_t net[ADDR_LEN], unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	return memcmp(a, net, whole) == 0 &&
	       (rest == 0 || (a[whole] ^ net[whole]) >> (8 - rest) == 0);
}

static int parse_block(struct proxies *p, char *item, char err[ERRLEN])
{
	char *slash = strchr(item, '/');
	uint8_t *net = p->block[p->n].net;
	int bits = 128, v4;

	if (slash)
		*slash = '\0';
	if (addr_parse(net, item) != 0)
		return err_set(err,
			       "'%.50s' is neither an address, nor a network such as "
			       "10.0.0.0/8, nor unix:",
			       item);
	v4 = strchr(item, ':') == NULL;
	if (slash)
		bits = parse_bits(slash + 1, v4 ? 32 : 128) + (v4 ? 96 : 0);
	if (bits < (v4 ? 96 : 0))
		return err_set(err, "'%.50s/%.10s': %s", item, slash + 1,
			       v4 ? "behind the slash stands 0 to 32"
				  : "behind the slash stands 0 to 128");
	p->block[p->n++].bits = (unsigned)bits;
	return 0;
}

int proxies_parse(struct proxies *out, const char *list, char err[ERRLEN])
{
	char item[ITEM_MAX];

	memset(out, 0, sizeof *out);
	while ((list = conf_list_next(list, item, sizeof item))) {
		if (strcmp(item, "unix:") == 0)
			out->local = 1;
		else if (out->n == PROXIES_MAX)
			return err_set(err, "more than %d of them", PROXIES_MAX);
		else if (parse_block(out, item, err) != 0)
			return -1;
	}
	return 0;
}

/* --- the header ---------------------------------------------------------- */

static int trusted(const struct proxies *p, const uint8_t a[ADDR_LEN])
{
	static const uint8_t nobody[ADDR_LEN];

	if (p->local && memcmp(a, nobody, ADDR_LEN) == 0)
		return 1;
	for (size_t i = 0; i < p->n; i++)
		if (in_block(a, p->block[i].net, p->block[i].bits))
			return 1;
	return 0;
}

/* 203.0.113.7, 2001:db8::7, and both as some proxies write them: [2001:db8::7], with a port. */
static int parse_item(uint8_t out[ADDR_LEN], const char *at, size_t len)
{
	char text[ITEM_MAX];
	uint16_t port;

	while (len && (*at == ' ' || *at == '\t'))
		at++, len--;
	while (len && (at[len - 1] == ' ' || at[len - 1] == '\t'))
		len--;
	if (len == 0 || len >= sizeof text)
		return -1;
	memcpy(text, at, len);
	text[len] = '\0';
	if (addr_parse(out, text) == 0 || addr_endpoint(out, &port, text) == 0)
		return 0;
	if (text[0] != '[' || text[len - 1] != ']')
		return -1;
	text[len - 1] = '\0';
	return addr_parse(out, text + 1);
}

/* The list that all X-Forwarded-For lines are together (RFC 9110 5.3), from its end. */
struct backwards {
	const char *head, *value; /* value: of the line under way; NULL: none is */
	size_t left, n; /* bytes of head before that line; of value not yet read */
};

static int line_before(struct backwards *b)
{
	static const char name[] = "X-Forwarded-For:";
	size_t skip = sizeof name - 1;

	while (b->left > 0) {
		const char *end = b->head + b->left, *line;

		line = memrchr(b->head, '\n', b->left - 1);
		line = line ? line + 1 : b->head;
		b->left = (size_t)(line - b->head);
		b->n = (size_t)(end - line);
		if (b->n < skip || strncasecmp(line, name, skip) != 0)
			continue;
		b->value = line + skip;
		b->n -= skip;
		while (b->n && strchr("\r\n", b->value[b->n - 1]))
			b->n--;
		return 0;
	}
	return -1;
}

static int address_before(struct backwards *b, uint8_t out[ADDR_LEN])
{
	const char *at, *end;

	if (!b->value && line_before(b) != 0)
		return -1;
	end = b->value + b->n;
	for (at = end; at > b->value && at[-1] != ','; at--)
		;
	b->n = at > b->value ? (size_t)(at - b->value) - 1 : 0;
	if (at == b->value)
		b->value = NULL;
	return parse_item(out, at, (size_t)(end - at));
}

void proxies_client(const struct proxies *p, uint8_t addr[ADDR_LEN], const char *head,
		    size_t len)
{
	struct backwards b = {.head = head, .left = len};
	uint8_t next[ADDR_LEN];

	while (trusted(p, addr) && address_before(&b, next) == 0)
		memcpy(addr, next, ADDR_LEN);
}
