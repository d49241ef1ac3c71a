/*
 * config_old.c -- the environment names of the two services that this one
 * replaces, in their own forms: seconds without a unit, and only the word `true`
 * is true. A name of ours for the same key beats them; so does -o.
 */
#include <stdlib.h>
#include <string.h>

#include "common/addr.h"
#include "master/config_int.h"

enum old_form { OLD_TEXT, OLD_SECONDS, OLD_COUNT, OLD_TRUE, OLD_PORT };

static const struct old_name {
	const char *name;
	int key;
	enum old_form form;
} old_names[] = {
	{"PORT", CONFIG_KEY_http_listen, OLD_PORT},
	{"CLIENT_PORT", CONFIG_KEY_swarm_listen, OLD_PORT},
	{"CACHE_TTL_SECONDS", CONFIG_KEY_cache_ttl, OLD_SECONDS},
	{"MAX_PEERS_TO_ENRICH", CONFIG_KEY_cache_max_peers, OLD_COUNT},
	{"CACHE_DIR", CONFIG_KEY_metadata_cache_dir, OLD_TEXT},
	{"ENABLE_DOWNLOADS", CONFIG_KEY_metadata_downloads, OLD_TRUE},
	{"DOWNLOAD_BASE_URL", CONFIG_KEY_metadata_base_url, OLD_TEXT},
	{"SEEDING_ENABLED", CONFIG_KEY_metadata_seeding, OLD_TRUE},
};

/* An empty variable is what compose makes of one that is not set. */
static const char *old_value(const struct config_load *l, const char *name)
{
	const char *v = config_env(l, name);

	return v && v[0] ? v : NULL;
}

/* A whole number of at most 9 digits; -1: it is none. */
static long old_number(const char *text)
{
	size_t len = strspn(text, "0123456789");

	return len && len <= 9 && !text[len] ? strtol(text, NULL, 10) : -1;
}

static void old_put(struct config_load *l, int key, const char *value, const char *where)
{
	if (!config_env_ours(l, key) && config_put(l, key, value, where) != 0)
		return; /* said and counted */
}

/* The port of every address in a list; one that has none is left for the checks. */
static void old_port(struct config_load *l, const struct old_name *o, const char *value,
		     const char *where)
{
	const char *list = o->key == CONFIG_KEY_http_listen ? l->cfg->conf.http_listen
							    : l->cfg->conf.swarm_listen;
	long port = old_number(value);
	char item[128], all[1024] = "", *colon;
	size_t used = 0;

	if (port < 1 || port > 65535) {
		config_say(l, CONFIG_ERROR, "%s = %.40s: must be a port, 1 to 65535",
			   where, value);
		return;
	}
	while ((list = conf_list_next(list, item, sizeof(item)))) {
		colon = strncmp(item, "unix:", 5) ? strrchr(item, ':') : NULL;
		if (colon)
			*colon = '\0';
		if (used + strlen(item) + 8 < sizeof(all))
			used += (size_t)snprintf(all + used, sizeof(all) - used,
						 colon ? "%s%s:%ld" : "%s%s",
						 used ? "," : "", item, port);
	}
	old_put(l, o->key, all, where);
}

/* What the old services took must not stop the new one: a number out of our bounds
 * is taken as the nearest that is in them, and said. unit: of the key in one of o's. */
static void old_count(struct config_load *l, const struct old_name *o, const char *value,
		      const char *where, int64_t unit)
{
	const struct conf_key *k = &conf_keys(NULL)[o->key];
	int64_t n = old_number(value) * unit, in = n < k->min ? k->min : n;
	char text[32];

	if (in > k->max)
		in = k->max;
	snprintf(text, sizeof(text), unit > 1 ? "%lldms" : "%lld", (long long)in);
	old_put(l, o->key, text, where);
	if (in == n)
		return;
	conf_text(&l->cfg->conf, k, text, sizeof(text)); /* as people write it: 1d */
	config_say(l, CONFIG_WARNING, "%s = %.40s: out of our bounds, taken as %s", where,
		   value, text);
}

static void old_one(struct config_load *l, const struct old_name *o)
{
	const char *value = old_value(l, o->name);
	char where[64];

	if (!value || config_env_ours(l, o->key))
		return;
	snprintf(where, sizeof(where), "env %s", o->name);
	switch (o->form) {
	case OLD_PORT: old_port(l, o, value, where); return;
	case OLD_SECONDS:
		if (old_number(value) < 0) {
			config_say(
				l, CONFIG_ERROR,
				"%s = %.40s: must be whole seconds without a unit, e.g. 30",
				where, value);
			return;
		}
		old_count(l, o, value, where, 1000);
		return;
	case OLD_COUNT:
		if (old_number(value) < 0) {
			config_say(l, CONFIG_ERROR, "%s = %.40s: must be a whole number",
				   where, value);
			return;
		}
		old_count(l, o, value, where, 1);
		return;
	case OLD_TRUE: value = strcmp(value, "true") == 0 ? "on" : "off"; break;
	case OLD_TEXT: break;
	}
	old_put(l, o->key, value, where);
}

static int old_is_loopback(const char *host)
{
	uint8_t a[ADDR_LEN];
	static const uint8_t one[ADDR_LEN] = {[15] = 1};

	if (strcmp(host, "localhost") == 0)
		return 1;
	if (addr_parse(a, host) != 0)
		return 0;
	return addr_is_v4(a) ? a[12] == 127 : memcmp(a, one, ADDR_LEN) == 0;
}

/* REDIS_PORT or REDIS_DB that a bundled Redis makes void, unless it is the default. */
static void old_redis_void(struct config_load *l, const char *name, const char *def)
{
	const char *v = old_value(l, name);

	if (v && strcmp(v, def) != 0)
		config_say(
			l, CONFIG_WARNING,
			"env %s: not used: without REDIS_HOST, or with a loopback one, "
			"Peerscope runs a Redis of its own",
			name);
}

static void old_redis_host(struct config_load *l, const char *host)
{
	const char *port = old_value(l, "REDIS_PORT"), *db = old_value(l, "REDIS_DB");
	long nport = port ? old_number(port) : 6379, ndb = db ? old_number(db) : 0;
	char url[512];

	if (nport < 1 || nport > 65535)
		config_say(l, CONFIG_ERROR,
			   "env REDIS_PORT = %.40s: must be a port, 1 to 65535", port);
	if (ndb < 0)
		config_say(l, CONFIG_ERROR,
			   "env REDIS_DB = %.40s: must be a whole number", db);
	if (nport < 1 || nport > 65535 || ndb < 0)
		return;
	snprintf(url, sizeof(url),
		 strchr(host, ':') ? "redis://[%.255s]:%ld/%ld"
				   : "redis://%.255s:%ld/%ld",
		 host, nport, ndb);
	old_put(l, CONFIG_KEY_redis_url, url, "env REDIS_HOST");
	old_put(l, CONFIG_KEY_redis_mode, "external", "env REDIS_HOST");
}

static void old_redis(struct config_load *l)
{
	const char *url = old_value(l, "REDIS_URL"), *host = old_value(l, "REDIS_HOST");

	if (url) {
		old_put(l, CONFIG_KEY_redis_url, url, "env REDIS_URL");
		old_put(l, CONFIG_KEY_redis_mode, "external", "env REDIS_URL");
	} else if (host && !old_is_loopback(host)) {
		old_redis_host(l, host);
	} else {
		if (host)
			old_put(l, CONFIG_KEY_redis_mode, "bundled", "env REDIS_HOST");
		if (l->cfg->conf.redis_mode == REDIS_BUNDLED) {
			old_redis_void(l, "REDIS_PORT", "6379");
			old_redis_void(l, "REDIS_DB", "0");
		}
	}
}

void config_old(struct config_load *l)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(old_names); i++)
		old_one(l, &old_names[i]);
	old_redis(l);
}
