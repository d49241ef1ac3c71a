/*
 * redis_url.c -- redis.url, read; see redis.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/redis.h"

static int parse_number(const char *s, long max, long *out)
{
	char *end;

	errno = 0;
	*out = strtol(s, &end, 10);
	return *s && *end == '\0' && errno == 0 && *out >= 0 && *out <= max ? 0 : -1;
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
		if (rest[0] != ':')
			return err_set(err, "redis.url: only a password is supported, as "
					    "redis://:password@host");
		memcpy(out->password, rest + 1, strlen(rest + 1) + 1);
	}
	return parse_host(out, host, err);
}
