/* magnet.c -- see magnet.h. */
#include "common/magnet.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/clean.h"

static const char PREFIX[] = "magnet:?";
#define PREFIX_LEN (sizeof(PREFIX) - 1)
#define MULTIHASH_LEN (4 + 2 * IH_V2_LEN) /* sha2-256 is 12, its 32 bytes are 20 */

/* ---- hashes -------------------------------------------------------------------------- */

static int take_v1(struct magnet *m, const struct ident *id, char err[ERRLEN])
{
	if (m->has_v1 && memcmp(m->v1, id->key, IH_LEN) != 0)
		return err_set(err, "the link names two torrents (two different btih)");
	memcpy(m->v1, id->key, IH_LEN);
	m->has_v1 = 1;
	return 0;
}

static int take_v2(struct magnet *m, const struct ident *id, char err[ERRLEN])
{
	if (m->has_v2 && memcmp(m->v2, id->v2, IH_V2_LEN) != 0)
		return err_set(err, "the link names two torrents (two different btmh)");
	memcpy(m->v2, id->v2, IH_V2_LEN);
	m->has_v2 = 1;
	return 0;
}

static int take_btih(struct magnet *m, const char *s, size_t len, char err[ERRLEN])
{
	struct ident id;

	if (len != 40 && len != 32)
		return err_set(err,
			       "urn:btih: is followed by 40 hex digits or 32 base32 "
			       "digits, not by %zu characters",
			       len);
	return ident_parse(&id, s, len, err) != 0 ? -1 : take_v1(m, &id, err);
}

static int take_btmh(struct magnet *m, const char *s, size_t len, char err[ERRLEN])
{
	struct ident id;

	if (len != MULTIHASH_LEN || memcmp(s, "1220", 4) != 0)
		return err_set(err, "urn:btmh: is followed by 1220 (for SHA-256) and 64 "
				    "hex digits");
	return ident_parse(&id, s + 4, len - 4, err) != 0 ? -1 : take_v2(m, &id, err);
}

/* Behind the prefix, in whatever case it is; NULL: it is another one. */
static const char *behind(const char *s, size_t len, const char *prefix)
{
	size_t n = strlen(prefix);

	return len >= n && strncasecmp(s, prefix, n) == 0 ? s + n : NULL;
}

/* A link may name the same content for other networks, too: those urns are passed over. */
static int take_xt(struct magnet *m, const char *s, size_t len, char err[ERRLEN])
{
	const char *hash = behind(s, len, "urn:btih:");

	if (hash)
		return take_btih(m, hash, len - (size_t)(hash - s), err);
	hash = behind(s, len, "urn:btmh:");
	return hash ? take_btmh(m, hash, len - (size_t)(hash - s), err) : 0;
}

static int take_bare(struct magnet *m, const char *s, size_t len, char err[ERRLEN])
{
	struct ident id;

	if (behind(s, len, "urn:"))
		return take_xt(m, s, len, err);
	if (len == MULTIHASH_LEN)
		return take_btmh(m, s, len, err);
	if (ident_parse(&id, s, len, err) != 0)
		return -1;
	return id.form == IDENT_V2 ? take_v2(m, &id, err) : take_v1(m, &id, err);
}

/* ---- URLs ------------------------------------------------------------------------------ */

static int is_host_char(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

/* Bytes of the host at s, brackets and all; 0: it is none. */
static size_t host_len(const char *s, size_t len)
{
	size_t n = 0;

	if (len && s[0] == '[') {
		n = strspn(s + 1, "0123456789abcdefABCDEF:.") + 1;
		return n > 2 && n < len && s[n] == ']' ? n + 1 : 0;
	}
	while (n < len && is_host_char((unsigned char)s[n]))
		n++;
	return n;
}

/* ":" and 1 to 65535 at s, or nothing. -1: neither. */
static int port_of(const char *s, size_t len)
{
	int port = 0;

	if (len == 0)
		return 0;
	if (s[0] != ':' || len < 2 || len > 6)
		return -1;
	for (size_t i = 1; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return -1;
		port = port * 10 + (s[i] - '0');
	}
	return port >= 1 && port <= 65535 ? port : -1;
}

int magnet_url(enum magnet_scheme scheme, const void *url, size_t len)
{
	const char *s = url, *rest = NULL, *user;
	char text[MAGNET_URL_MAX + 1];
	size_t authority, host;
	int udp = 0, port;

	if (len > MAGNET_URL_MAX)
		return 0;
	for (size_t i = 0; i < len; i++)
		if (s[i] <= ' ' || s[i] > '~')
			return 0;
	memcpy(text, s, len);
	text[len] = '\0';
	rest = behind(text, len, "http://");
	if (!rest)
		rest = behind(text, len, "https://");
	if (!rest && scheme == MAGNET_TRACKER)
		udp = (rest = behind(text, len, "udp://")) != NULL;
	if (!rest)
		return 0;
	authority = strcspn(rest, "/?#");
	user = memchr(rest, '@', authority);
	if (user) { /* a user and a password; a second @ is no host's */
		authority -= (size_t)(user + 1 - rest);
		rest = user + 1;
	}
	host = host_len(rest, authority);
	port = host ? port_of(rest + host, authority - host) : -1;
	return port > 0 || (port == 0 && !udp);
}

static void take_url(struct magnet *m, uint16_t *list, uint32_t *n,
		     enum magnet_scheme scheme, const char *s, size_t len)
{
	for (uint32_t i = 0; i < *n; i++)
		if (strcmp(m->text + list[i], s) == 0)
			return;
	if (*n == MAGNET_URLS || !magnet_url(scheme, s, len)) {
		m->left_out++;
		return;
	}
	PS_ASSERT(len <
		  sizeof(m->text) - m->ntext); /* a link is longer than its values */
	list[(*n)++] = (uint16_t)m->ntext;
	memcpy(m->text + m->ntext, s, len + 1);
	m->ntext += (uint32_t)len + 1;
}

void magnet_take_trackers(struct magnet *m, const struct magnet *from)
{
	for (uint32_t i = 0; i < from->ntrackers; i++) {
		const char *url = magnet_tracker(from, i);
		size_t len = strlen(url);

		if (len < sizeof(m->text) - m->ntext)
			take_url(m, m->tracker, &m->ntrackers, MAGNET_TRACKER, url, len);
		else
			m->left_out++;
	}
}

static void take_peer(struct magnet *m, const char *s)
{
	char err[ERRLEN];

	if (given_add(&m->given, s, err) != 0)
		m->left_out++;
}

/* ---- so ---------------------------------------------------------------------------- */

/* Digits at *s, which moves behind them. -1: none, or too much. */
static int take_index(const char **s, uint32_t *out)
{
	const char *p = *s;
	uint32_t n = 0;

	for (; *p >= '0' && *p <= '9'; p++) {
		n = n * 10 + (uint32_t)(*p - '0');
		if (n > MAGNET_INDEX_MAX)
			return -1;
	}
	if (p == *s)
		return -1;
	*s = p;
	*out = n;
	return 0;
}

/* In order, joined with those that it touches. -1: no room. */
static int add_range(struct magnet *m, struct magnet_range r)
{
	uint32_t at = 0, end;

	while (at < m->nranges && m->range[at].last + 1 < r.first)
		at++;
	for (end = at; end < m->nranges && m->range[end].first <= r.last + 1; end++) {
		if (m->range[end].first < r.first)
			r.first = m->range[end].first;
		if (m->range[end].last > r.last)
			r.last = m->range[end].last;
	}
	if (end == at && m->nranges == MAGNET_RANGES)
		return -1;
	memmove(&m->range[at + 1], &m->range[end],
		(m->nranges - end) * sizeof(m->range[0]));
	m->nranges = m->nranges - (end - at) + 1;
	m->range[at] = r;
	return 0;
}

static int take_so(struct magnet *m, const char *s, char err[ERRLEN])
{
	while (*s) {
		struct magnet_range r;

		if (take_index(&s, &r.first) != 0)
			goto bad;
		r.last = r.first;
		if (*s == '-' && (s++, take_index(&s, &r.last)) != 0)
			goto bad;
		if (r.last < r.first || (*s != ',' && *s != '\0'))
			goto bad;
		if (add_range(m, r) != 0)
			return err_set(err, "so has more than %d ranges", MAGNET_RANGES);
		if (*s == ',' && *++s == '\0')
			goto bad;
	}
	return 0;
bad:
	return err_set(err,
		       "so lists files by index (0 to %u), as in so=0,2,4-7 (BEP 53)",
		       MAGNET_INDEX_MAX);
}

/* ---- parameters ----------------------------------------------------------------------- */

enum param { P_XT, P_DN, P_TR, P_WS, P_PE, P_SO, P_NONE };

static enum param param_of(const char *s, size_t len)
{
	static const char *const NAMES[] =
		{[P_XT] = "xt", [P_DN] = "dn",   [P_TR] = "tr",
		 [P_WS] = "ws", [P_PE] = "x.pe", [P_SO] = "so"};

	if (behind(s, len, "amp;")) {
		s += 4;
		len -= 4;
	}
	for (int i = 0; i < P_NONE; i++) {
		size_t n = strlen(NAMES[i]);

		if (len < n || memcmp(s, NAMES[i], n) != 0)
			continue;
		/* A number behind it: xt.1, tr.12. */
		if (len == n ||
		    (s[n] == '.' && strspn(s + n + 1, "0123456789") + n + 1 >= len))
			return (enum param)i;
	}
	return P_NONE;
}

/* len bytes of s without their escapes, but for %00: what follows reads C strings. out has
 * room for len and a NUL. */
static size_t unescape(char *out, const char *s, size_t len, int plus)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		int high, low;

		out[n] = plus && s[i] == '+' ? ' ' : s[i];
		if (s[i] == '%' && len - i > 2) {
			high = hex_value(s[i + 1]);
			low = hex_value(s[i + 2]);
			if (high >= 0 && low >= 0 && high + low > 0) {
				out[n] = (char)(high << 4 | low);
				i += 2;
			}
		}
		n++;
	}
	out[n] = '\0';
	return n;
}

static int take_value(struct magnet *m, enum param p, const char *s, size_t len,
		      char err[ERRLEN])
{
	if (len == 0)
		return 0;
	switch (p) {
	case P_XT: return take_xt(m, s, len, err);
	case P_DN:
		if (!m->name[0])
			clean_text(m->name, sizeof(m->name), s, len, "", NULL);
		break;
	case P_TR: take_url(m, m->tracker, &m->ntrackers, MAGNET_TRACKER, s, len); break;
	case P_WS: take_url(m, m->seed, &m->nseeds, MAGNET_WEB_SEED, s, len); break;
	case P_PE: take_peer(m, s); break;
	case P_SO: return take_so(m, s, err);
	case P_NONE: break;
	}
	return 0;
}

/* name=value; what has no "=" is nobody's. */
static int take_param(struct magnet *m, const char *s, size_t len, char err[ERRLEN])
{
	const char *eq = memchr(s, '=', len);
	char value[MAGNET_MAX];
	enum param p;
	size_t n;

	if (!eq)
		return 0;
	p = param_of(s, (size_t)(eq - s));
	if (p == P_NONE)
		return 0;
	n = unescape(value, eq + 1, len - (size_t)(eq + 1 - s), p == P_DN);
	return take_value(m, p, value, n, err);
}

static int take_link(struct magnet *m, const char *s, size_t len, char err[ERRLEN])
{
	while (len) {
		const char *amp = memchr(s, '&', len);
		size_t n = amp ? (size_t)(amp - s) : len;

		if (take_param(m, s, n, err) != 0)
			return -1;
		n += amp != NULL;
		s += n;
		len -= n;
	}
	return 0;
}

static int is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

int magnet_parse(struct magnet *m, const char *s, size_t len, char err[ERRLEN])
{
	const char *params;
	int rc;

	memset(m, 0, sizeof(*m));
	while (len && is_blank(s[0]))
		s++, len--;
	while (len && is_blank(s[len - 1]))
		len--;
	if (len > MAGNET_MAX)
		return err_set(err, "a magnet link has at most %d bytes, this one %zu",
			       MAGNET_MAX, len);
	if (memchr(s, '\0', len))
		return err_set(err, "a magnet link has no zero byte in it");
	params = behind(s, len, PREFIX);
	if (!params && (behind(s, len, "magnet:") || memchr(s, '/', len)))
		return err_set(err, "a magnet link begins with magnet:?");
	rc = params ? take_link(m, params, len - PREFIX_LEN, err)
		    : take_bare(m, s, len, err);
	if (rc == 0 && !m->has_v1 && !m->has_v2)
		return err_set(err, "this names no torrent: it needs xt=urn:btih: or "
				    "xt=urn:btmh:");
	return rc;
}

/* ---- what was read -------------------------------------------------------------------- */

const uint8_t *magnet_key(const struct magnet *m)
{
	PS_ASSERT(m->has_v1 || m->has_v2);
	return m->has_v1 ? m->v1 : m->v2;
}

const char *magnet_tracker(const struct magnet *m, uint32_t i)
{
	PS_ASSERT(i < m->ntrackers);
	return m->text + m->tracker[i];
}

const char *magnet_seed(const struct magnet *m, uint32_t i)
{
	PS_ASSERT(i < m->nseeds);
	return m->text + m->seed[i];
}

int magnet_wants(const struct magnet *m, uint32_t index)
{
	uint32_t low = 0, high = m->nranges;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (index > m->range[mid].last)
			low = mid + 1;
		else if (index < m->range[mid].first)
			high = mid;
		else
			return 1;
	}
	return m->nranges == 0;
}

/* ---- writing ------------------------------------------------------------------------ */

static void put_hex(struct buf *out, const uint8_t *p, size_t len)
{
	char text[2 * IH_V2_LEN + 1];

	hex_text(text, p, len);
	buf_add(out, text, 2 * len);
}

void magnet_begin(struct magnet_writer *w, struct buf *out, size_t max, const uint8_t *v1,
		  const uint8_t *v2)
{
	*w = (struct magnet_writer){.out = out, .end = out->len + max};
	PS_ASSERT(v1 || v2);
	buf_str(out, PREFIX);
	if (v1) {
		buf_str(out, "xt=urn:btih:");
		put_hex(out, v1, IH_LEN);
	}
	if (v2) {
		buf_str(out, v1 ? "&xt=urn:btmh:1220" : "xt=urn:btmh:1220");
		put_hex(out, v2, IH_V2_LEN);
	}
	PS_ASSERT(out->failed || out->len <= w->end);
}

/* RFC 3986, 2.3. */
static int is_unreserved(uint8_t c)
{
	return is_host_char(c) || c == '~';
}

static size_t escaped_len(const uint8_t *s, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += is_unreserved(s[i]) ? 1 : 3;
	return n;
}

/* Room for name, value and what stands between; then the value may follow. */
static int put_name(struct magnet_writer *w, const char *name, size_t value)
{
	if (w->out->failed || w->out->len + strlen(name) + 2 + value > w->end) {
		w->left_out++;
		return 0;
	}
	buf_str(w->out, "&");
	buf_str(w->out, name);
	buf_str(w->out, "=");
	return 1;
}

/* Others read so and x.pe without undoing escapes (libtorrent does); none is needed. */
static void put_plain(struct magnet_writer *w, const char *name, const char *s,
		      size_t len)
{
	if (len && put_name(w, name, len))
		buf_add(w->out, s, len);
}

void magnet_put(struct magnet_writer *w, const char *name, const void *value, size_t len)
{
	const uint8_t *s = value;

	if (len == 0 || !put_name(w, name, escaped_len(s, len)))
		return;
	for (size_t i = 0; i < len; i++) {
		char text[3] = {'%', "0123456789ABCDEF"[s[i] >> 4],
				"0123456789ABCDEF"[s[i] & 15]};

		if (is_unreserved(s[i]))
			buf_add(w->out, &s[i], 1);
		else
			buf_add(w->out, text, 3);
	}
}

static void put_so(const struct magnet *m, struct magnet_writer *w)
{
	char text[MAGNET_RANGES * sizeof("99999-99999,")];
	size_t n = 0;

	for (uint32_t i = 0; i < m->nranges; i++) {
		const struct magnet_range *r = &m->range[i];

		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%u", i ? "," : "",
				      r->first);
		if (r->last > r->first)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "-%u", r->last);
	}
	put_plain(w, "so", text, n);
}

static void put_peers(const struct magnet *m, struct magnet_writer *w)
{
	for (uint32_t i = 0; i < m->given.n; i++) {
		const struct given_peer *p = &m->given.peer[i];
		char addr[ADDR_TEXT_MAX], text[ADDR_TEXT_MAX + sizeof("[]:65535")];
		int v4 = addr_is_v4(p->addr), n;

		addr_text(addr, p->addr);
		n = snprintf(text, sizeof(text), v4 ? "%s:%u" : "[%s]:%u", addr,
			     (unsigned)p->port);
		put_plain(w, "x.pe", text, (size_t)n);
	}
}

uint32_t magnet_write(const struct magnet *m, struct buf *out, size_t max)
{
	struct magnet_writer w;

	magnet_begin(&w, out, max, m->has_v1 ? m->v1 : NULL, m->has_v2 ? m->v2 : NULL);
	magnet_put(&w, "dn", m->name, strlen(m->name));
	put_so(m, &w);
	put_peers(m, &w);
	for (uint32_t i = 0; i < m->ntrackers; i++)
		magnet_put(&w, "tr", magnet_tracker(m, i), strlen(magnet_tracker(m, i)));
	for (uint32_t i = 0; i < m->nseeds; i++)
		magnet_put(&w, "ws", magnet_seed(m, i), strlen(magnet_seed(m, i)));
	return w.left_out;
}
