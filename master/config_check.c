/*
 * config_check.c -- what one row of the key table can't say: the form of lists and
 * addresses, keys that need each other, keys that nothing reads yet. It opens
 * nothing; `peerscope check` does that.
 */
#include <stdlib.h>
#include <string.h>

#include "collector/acetrack.h"
#include "collector/redis.h"
#include "collector/verdict.h"
#include "common/ident.h"
#include "geo/geo.h"
#include "master/config_int.h"
#include "master/sock.h"
#include "worker/proxies.h"

#define CHECK_ITEM_MAX 512 /* longest tracker or router; lt.cc has this room */

/* A user and password in a URL are a mistake, and must not be said aloud for it. */
static void hide_user(char *text)
{
	char *from = strstr(text, "://"), *at = from ? strrchr(from, '@') : NULL;

	if (at)
		memset(from + 3, '*', (size_t)(at - from - 3));
}

/* Behind the host of a tracker, or of a web service, may stand a passkey: of each item the
 * rest is shown only if it is what all have. */
static void hide_paths(char *text)
{
	static const char usual[] = "/announce";
	char *to = text;

	for (const char *at = text; *at;) {
		size_t len = strcspn(at, ","), host = strcspn(at, ":/?#,"), rest;

		if (at[host] == ':')
			host += 1 + strspn(at + host + 1, "/");
		host += strcspn(at + host, "/?#,");
		rest = len - host;
		if (rest == 1 ||
		    (rest == sizeof(usual) - 1 && memcmp(at + host, usual, rest) == 0))
			host = len;
		memmove(to, at, host);
		to += host;
		if (len - host >= 4)
			to = (char *)memcpy(to, "/...", 4) + 4;
		at += len;
		if (*at)
			*to++ = *at++;
	}
	*to = '\0';
}

void config_hide(int key, char *text)
{
	hide_user(text);
	if (key == CONFIG_KEY_swarm_trackers || key == CONFIG_KEY_acestream_trackers ||
	    key == CONFIG_KEY_geo_online_url)
		hide_paths(text);
}

static void check_say(struct config_load *l, enum config_kind kind, int key,
		      const char *what)
{
	const struct conf_key *k = &conf_keys(NULL)[key];
	char text[CHECK_ITEM_MAX];

	conf_text(&l->cfg->conf, k, text, sizeof(text));
	if (k->type == CONF_SECRET && text[0])
		snprintf(text, sizeof(text), "***");
	config_hide(key, text);
	config_say(l, kind, "%s: %s.%s = %.60s%s: %s", l->cfg->origin[key], k->section,
		   k->key, text, strlen(text) > 60 ? "..." : "", what);
}

static int check_set(const struct config_load *l, int key)
{
	return strcmp(l->cfg->origin[key], "default") != 0;
}

/* A port in text, all of it. */
static int check_port(const char *text, long least)
{
	size_t len = strspn(text, "0123456789");
	long port;

	if (len == 0 || len > 5 || text[len])
		return 0;
	port = strtol(text, NULL, 10);
	return port >= least && port <= 65535;
}

static void check_http_listen(struct config_load *l)
{
	struct sock_addr at[CONF_MAX_LISTEN];
	char err[ERRLEN];

	if (sock_parse_list(at, l->cfg->conf.http_listen, err) < 0)
		check_say(l, CONFIG_ERROR, CONFIG_KEY_http_listen, err);
}

/* By the rules of whoever reads the header. */
static void check_proxies(struct config_load *l)
{
	struct proxies p;
	char err[ERRLEN];

	if (proxies_parse(&p, l->cfg->conf.http_trusted_proxies, err) != 0)
		check_say(l, CONFIG_ERROR, CONFIG_KEY_http_trusted_proxies, err);
}

/* address:port, [address]:port or device:port. */
static int check_swarm_item(const char *item)
{
	const char *colon = strrchr(item, ':');
	struct sock_addr at;
	char err[ERRLEN];
	size_t len;

	if (!colon || !check_port(colon + 1, 0))
		return 0;
	if (sock_parse(&at, item, err) == 0)
		return 1;
	len = (size_t)(colon - item);
	return len > 0 && len <= 15 && strcspn(item, "[]/ :%") == len &&
	       strspn(item, "0123456789.") != len;
}

static int check_tracker_item(const char *item)
{
	static const char *const schemes[] = {"udp://", "http://", "https://"};

	for (size_t i = 0; i < PS_ARRAY_LEN(schemes); i++) {
		size_t len = strlen(schemes[i]);

		if (strncmp(item, schemes[i], len) == 0)
			return item[len] && !strchr("/:?#", item[len]) &&
			       !strpbrk(item, " \t");
	}
	return 0;
}

static int check_ace_item(const char *item)
{
	struct acetrack_url url;
	char err[ERRLEN];

	return acetrack_parse(&url, item, err) == 0;
}

static int check_router_item(const char *item)
{
	const char *colon = strrchr(item, ':');

	return colon && colon != item && check_port(colon + 1, 1) && !strpbrk(item, " /");
}

static void check_list(struct config_load *l, int key, const char *list,
		       int (*good)(const char *), const char *form)
{
	char item[CHECK_ITEM_MAX], what[ERRLEN];
	const char *rest, *at = list;

	while ((rest = conf_list_next(at, item, sizeof(item)))) {
		if (!good(item)) {
			config_hide(key, item);
			if (!item[0])
				err_set(what, "an item is empty or longer than %d bytes",
					CHECK_ITEM_MAX - 1);
			else
				err_set(what, "'%.100s' is not %s", item, form);
			check_say(l, CONFIG_ERROR, key, what);
		}
		at = rest;
	}
}

/* collector/acefind.c asks all of them, or none. */
static void check_ace_trackers(struct config_load *l)
{
	char item[CHECK_ITEM_MAX], what[ERRLEN];
	const char *at = l->cfg->conf.acestream_trackers;
	int n = 0;

	check_list(l, CONFIG_KEY_acestream_trackers, at, check_ace_item,
		   "a UDP tracker, udp://host:port/announce, in 255 bytes at most");
	while ((at = conf_list_next(at, item, sizeof(item))))
		n++;
	if (n > ACETRACK_MAX) {
		err_set(what, "there may be %d of them", ACETRACK_MAX);
		check_say(l, CONFIG_ERROR, CONFIG_KEY_acestream_trackers, what);
	}
}

/* One at a time is asked, in turn (collector/verdict.h); who parses ids says why. */
static void check_control(struct config_load *l)
{
	char item[CHECK_ITEM_MAX], err[ERRLEN], what[ERRLEN];
	const char *rest, *at = l->cfg->conf.swarm_control;
	struct ident id;
	int n = 0;

	for (; (rest = conf_list_next(at, item, sizeof(item))); at = rest, n++) {
		if (ident_parse(&id, item, strlen(item), err) == 0)
			continue;
		err_set(what, "'%.70s': %s", item, err);
		check_say(l, CONFIG_ERROR, CONFIG_KEY_swarm_control, what);
	}
	if (n > CONTROL_MAX) {
		err_set(what, "the first %d count, the others are not asked",
			CONTROL_MAX);
		check_say(l, CONFIG_WARNING, CONFIG_KEY_swarm_control, what);
	}
}

/*
 * By the rules of whoever connects. Its words may quote the URL: behind an '@' nothing
 * is secret, but without one a password may stand where the port belongs.
 */
static void check_redis_url(struct config_load *l, const char *url)
{
	static const char own[] = "redis.url: ";
	struct redis_target target;
	char err[ERRLEN];

	if (redis_parse_url(&target, url, err) == 0)
		return;
	if (strncmp(url, "redis://", 8) == 0 && !strchr(url, '@'))
		check_say(l, CONFIG_ERROR, CONFIG_KEY_redis_url,
			  "must be redis://[:password@]host[:port][/db]");
	else
		check_say(l, CONFIG_ERROR, CONFIG_KEY_redis_url,
			  strncmp(err, own, sizeof(own) - 1) == 0 ? err + sizeof(own) - 1
								  : err);
}

static void check_redis(struct config_load *l)
{
	const struct conf *c = &l->cfg->conf;
	const char *url = c->redis_url;

	if (c->redis_mode == REDIS_EXTERNAL && !url[0])
		check_say(l, CONFIG_ERROR, CONFIG_KEY_redis_mode,
			  "needs redis.url, e.g. redis://127.0.0.1:6379/0");
	if (c->redis_mode != REDIS_EXTERNAL && url[0] &&
	    check_set(l, CONFIG_KEY_redis_url))
		check_say(l, CONFIG_WARNING, CONFIG_KEY_redis_url,
			  "not used: redis.mode is not external");
	if (url[0])
		check_redis_url(l, url);
}

/* By the rules of collector/web.c, which would refuse each question otherwise. */
static int check_web_url(const char *url)
{
	const char *host = strncmp(url, "http://", 7) == 0    ? url + 7
			   : strncmp(url, "https://", 8) == 0 ? url + 8
							      : "";

	return *host && !strchr("/:?#", *host) && !strpbrk(url, " \t\r\n@");
}

static void check_vpn(struct config_load *l)
{
	static const char form[] =
		"must be http://host:port or https://, without a user in it";
	const struct conf *c = &l->cfg->conf;

	if (c->vpn_gluetun_url[0] &&
	    (!check_web_url(c->vpn_gluetun_url) || strpbrk(c->vpn_gluetun_url, "?#")))
		check_say(l, CONFIG_ERROR, CONFIG_KEY_vpn_gluetun_url, form);
	if (c->vpn_health_url[0] && !check_web_url(c->vpn_health_url))
		check_say(l, CONFIG_ERROR, CONFIG_KEY_vpn_health_url, form);
	if (strpbrk(c->vpn_api_key, "\r\n"))
		check_say(l, CONFIG_ERROR, CONFIG_KEY_vpn_api_key, "must be one line");
	if (strchr(c->vpn_user, ':'))
		check_say(l, CONFIG_ERROR, CONFIG_KEY_vpn_user,
			  "can't have a colon (RFC 7617)");
	if (c->vpn_password[0] && !c->vpn_user[0])
		check_say(l, CONFIG_WARNING, CONFIG_KEY_vpn_password,
			  "not used: vpn.user is empty");
	if (c->vpn_user[0] && !c->vpn_password[0])
		check_say(l, CONFIG_WARNING, CONFIG_KEY_vpn_user,
			  "vpn.password is empty: Gluetun is asked with an empty one");
	if (c->vpn_port_file[0] && c->vpn_port_file[0] != '/')
		check_say(l, CONFIG_ERROR, CONFIG_KEY_vpn_port_file,
			  "must be an absolute path");
}

/* collector/engine.c puts its own paths behind it; slashes at the end do no harm. */
static void check_engine_url(struct config_load *l)
{
	const char *url = l->cfg->conf.acestream_engine_url;
	const char *host = strstr(url, "://"),
		   *path = host ? strchr(host + 3, '/') : NULL;

	if (url[0] && (!check_web_url(url) || strpbrk(url, "?#") ||
		       (path && path[strspn(path, "/")])))
		check_say(l, CONFIG_ERROR, CONFIG_KEY_acestream_engine_url,
			  "must be http://host[:port] or https://, without a path, e.g. "
			  "http://127.0.0.1:6878");
}

/* collector/geoweb.c puts an address behind it. */
static void check_online_url(struct config_load *l)
{
	const char *url = l->cfg->conf.geo_online_url;

	if (!check_web_url(url) || strpbrk(url, "?#"))
		check_say(l, CONFIG_ERROR, CONFIG_KEY_geo_online_url,
			  "must be https://host/path/, without a question mark, e.g. "
			  "https://ipwho.is/");
	else if (strncmp(url, "http://", 7) == 0)
		check_say(
			l, CONFIG_WARNING, CONFIG_KEY_geo_online_url,
			"without TLS everybody on the way reads the addresses of peers, "
			"and can change the answers");
}

/* worker and collector put paths behind it. Empty: what they name is relative. */
static void check_base_url(struct config_load *l)
{
	const char *url = l->cfg->conf.metadata_base_url;

	if (url[0] && (!check_web_url(url) || strpbrk(url, "?#")))
		check_say(
			l, CONFIG_ERROR, CONFIG_KEY_metadata_base_url,
			"must be http://host[:port][/path] or https://, as your clients "
			"see this server");
}

/* The collector takes all of them or none. */
static void check_more_db(struct config_load *l)
{
	static struct geo_paths paths;
	char err[ERRLEN];

	if (geo_paths(&paths, &l->cfg->conf, err) != 0)
		check_say(l, CONFIG_ERROR, CONFIG_KEY_geo_more_db, err);
}

static void check_names(struct config_load *l)
{
	const struct conf *c = &l->cfg->conf;

	if (c->master_run_dir[0] && c->master_run_dir[0] != '/')
		check_say(l, CONFIG_ERROR, CONFIG_KEY_master_run_dir,
			  "must be an absolute path");
	if (c->swarm_state[0] && c->swarm_state[0] != '/' &&
	    strcmp(c->swarm_state, "off") != 0)
		check_say(l, CONFIG_ERROR, CONFIG_KEY_swarm_state,
			  "must be an absolute path, or off");
	if (c->swarm_dht_state[0] && c->swarm_dht_state[0] != '/')
		check_say(l, CONFIG_ERROR, CONFIG_KEY_swarm_dht_state,
			  "must be an absolute path");
	if (c->shm_name[0] != '/' || strchr(c->shm_name + 1, '/'))
		check_say(l, CONFIG_ERROR, CONFIG_KEY_shm_name,
			  "must be a slash and a name without one, e.g. /peerscope");
	if (strpbrk(c->swarm_interface, "/: \t"))
		check_say(l, CONFIG_ERROR, CONFIG_KEY_swarm_interface,
			  "must be the name of a network device, e.g. tun0");
}

/* libtorrent sends its IPv6 announces (ff15::efc0:988f) by the routing table. */
static void check_lsd(struct config_load *l)
{
	const struct conf *c = &l->cfg->conf;

	if (!c->swarm_lsd)
		return;
	if (c->swarm_interface[0])
		check_say(l, CONFIG_ERROR, CONFIG_KEY_swarm_lsd,
			  "can't be kept to swarm.interface: use one of the two");
	if (!c->swarm_allow_private)
		check_say(l, CONFIG_WARNING, CONFIG_KEY_swarm_lsd,
			  "neighbours have private addresses as a rule, which are "
			  "refused without swarm.allow_private");
}

static void check_sizes(struct config_load *l)
{
	const struct conf *c = &l->cfg->conf;

	if (c->swarm_max_swarms > c->shm_swarms)
		check_say(
			l, CONFIG_WARNING, CONFIG_KEY_swarm_max_swarms,
			"more than shm.swarms: the table can't show all that are joined");
	if (c->cache_max_peers > c->swarm_max_peers)
		check_say(l, CONFIG_WARNING, CONFIG_KEY_cache_max_peers,
			  "more than swarm.max_peers, which bounds it");
}

void config_check(struct config_load *l)
{
	const struct conf *c = &l->cfg->conf;

	check_http_listen(l);
	check_proxies(l);
	check_list(l, CONFIG_KEY_swarm_listen, c->swarm_listen, check_swarm_item,
		   "address:port or device:port, e.g. 0.0.0.0:42069 or tun0:42069");
	check_list(l, CONFIG_KEY_swarm_trackers, c->swarm_trackers, check_tracker_item,
		   "a tracker, udp://host:port/announce, http:// or https://");
	check_list(l, CONFIG_KEY_swarm_dht_bootstrap, c->swarm_dht_bootstrap,
		   check_router_item, "host:port");
	check_control(l);
	check_redis(l);
	check_vpn(l);
	check_engine_url(l);
	check_ace_trackers(l);
	check_online_url(l);
	check_base_url(l);
	check_more_db(l);
	check_names(l);
	check_lsd(l);
	check_sizes(l);
}
