/*
 * redis_url.c -- redis.url, read; see redis.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/redis.h"
#include "common/ident.h"

static int parse_number(const char *s, long max, long *out)
{
	char *end;

	errno = 0;
	*out = strtol(s, &end, 10);
	return *s && *end == '\0' && errno == 0 && *out >= 0 && *out <= max ? 0 : -1;
}

/* RFC 3986, 2.1, in place. -1: a malformed escape, or one of NUL. */
static int unescape(char *s)
{
	char *out = s;

	for (; *s; s++) {
		int hi, lo;

		if (*s != '%') {
			*out++ = *s;
			continue;
		}
		hi = hex_value(s[1]);
		lo = hi >= 0 ? hex_value(s[2]) : -1;
		if (lo < 0 || hi + lo == 0)
			return -1;
		*out++ = (char)(hi << 4 | lo);
		s += 2;
	}
	*out = '\0';
	return 0;
}

/* [default]:password. AUTH of hiredis' day, and of Redis before 6, has one word; its user is
 * `default`, whom hosters write into their URLs. */
static int parse_user(struct redis_target *t, char *s, char err[ERRLEN])
{
	char *colon = strchr(s, ':');

	if (!colon)
		return err_set(err, "redis.url: only a password is supported, as "
				    "redis://:password@host");
	*colon = '\0';
	if (unescape(s) != 0 || unescape(colon + 1) != 0)
		return err_set(err, "redis.url: a malformed percent-escape; %% itself is "
				    "written %%25");
	if (*s && strcmp(s, "default") != 0)
		return err_set(err, "redis.url: no user but default is supported, only a "
				    "password, as redis://:password@host");
	memcpy(t->password, colon + 1, strlen(colon + 1) + 1);
	return 0;
}

static int parse_unix(struct redis_target *t, const char *rest, char err[ERRLEN])
{
	const char *q = strchr(rest, '?');
	size_t len = q ? (size_t)(q - rest) : strlen(rest);
	long db = 0;

	if (len == 0 || len >= sizeof(t->host) || rest[0] != '/')
		return err_set(err, "redis.url: the socket's path must be absolute");
	memcpy(t->host, rest, len);
	if (q && (strncmp(q, "?db=", 4) != 0 || parse_number(q + 4, 9999, &db) != 0))
		return err_set(err, "redis.url: after the path only ?db=N is known");
	t->db = (int)db;
	return 0;
}

/* host[:port][/db], host may be [v6] */
static int parse_host(struct redis_target *t, char *s, char err[ERRLEN])
{
	char *slash = strchr(s, '/'), *close = s[0] == '[' ? strchr(s, ']') : NULL;
	char *colon;
	long n = 6379;

	if (s[0] == '[' && !close)
		return err_set(err,
			       "redis.url: the bracket of the address is not closed");
	if (slash)
		*slash = '\0';
	if (slash && slash[1]) {
		if (parse_number(slash + 1, 9999, &n) != 0)
			return err_set(err, "redis.url: the database is a number");
		t->db = (int)n;
		n = 6379;
	}
	colon = strrchr(close ? close : s, ':');
	if (colon) {
		*colon = '\0';
		if (parse_number(colon + 1, 65535, &n) != 0 || n == 0)
			return err_set(err, "redis.url: a port is 1 to 65535");
	}
	if (close) {
		*close = '\0';
		s++;
	}
	if (*s == '\0')
		return err_set(err, "redis.url: the host is missing");
	t->tcp = 1;
	t->port = (uint16_t)n;
	memcpy(t->host, s, strlen(s) + 1);
	return 0;
}

int redis_parse_url(struct redis_target *out, const char *url, char err[ERRLEN])
{
	char rest[256];
	char *at, *host;

	memset(out, 0, sizeof(*out));
	if (strncmp(url, "unix://", 7) == 0)
		return parse_unix(out, url + 7, err);
	if (strncmp(url, "rediss://", 9) == 0)
		return err_set(err,
			       "redis.url: rediss:// (TLS) is not supported; run a local "
			       "stunnel and use redis://127.0.0.1:PORT");
	if (strncmp(url, "redis://", 8) != 0)
		return err_set(err, "redis.url: must begin with redis:// or unix://");
	if (strlen(url + 8) >= sizeof(rest))
		return err_set(err, "redis.url: too long");
	memcpy(rest, url + 8, strlen(url + 8) + 1);
	host = rest;
	at = strrchr(rest, '@');
	if (at) {
		*at = '\0';
		host = at + 1;
		if (parse_user(out, rest, err) != 0)
			return -1;
	}
	return parse_host(out, host, err);
}
