/* test_config.c -- the loader: file, environment, -o, precedence, every complaint. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/conf.h"
#include "master/config.h"

static char dir[] = "/tmp/peerscope-conf-XXXXXX";
static char path[64], secret[64];
static struct config cfg;
static char said[65536]; /* every complaint, a line each, after "E " or "W " */

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/peerscope.conf", dir);
	snprintf(secret, sizeof(secret), "%s/secret", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	unlink(secret);
	return rmdir(dir);
}

static void hear(void *arg, enum config_kind kind, const char *text)
{
	size_t used = strlen(said);

	assert_ptr_equal(arg, &cfg);
	assert_true(strlen(text) < CONFIG_SAY_MAX);
	if (kind != CONFIG_CAUTION) /* of modes of files: tests/e2e/test_check.py */
		snprintf(said + used, sizeof(said) - used, "%c %s\n",
			 kind == CONFIG_ERROR ? 'E' : 'W', text);
}

static void put_file(const char *name, const char *text, size_t len)
{
	FILE *f = fopen(name, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	fclose(f);
}

/* Load with a file (its text), environment and options; NULL: none. Without a file
 * an empty one is named, so that one of this machine is not read. */
static int load(const char *text, const char *const *env, const char *const *opts)
{
	size_t nopts = 0;

	while (opts && opts[nopts])
		nopts++;
	put_file(path, text ? text : "", text ? strlen(text) : 0);
	memset(&cfg, 0x5a, sizeof(cfg));
	said[0] = '\0';
	return config_load(&cfg, path, (char *const *)(uintptr_t)opts, nopts,
			   (char *const *)(uintptr_t)env, hear, &cfg);
}

#define ENV(...) ((const char *const[]){__VA_ARGS__, NULL})
#define OPT(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Exactly these complaints, in this order; "%" stands for the file's path. */
static void heard(const char *want)
{
	char all[4096] = "";
	size_t used = 0;

	for (; *want; want++) {
		if (*want == '%')
			used += (size_t)snprintf(all + used, sizeof(all) - used, "%s",
						 path);
		else
			all[used++] = *want;
		all[used] = '\0';
	}
	assert_string_equal(said, all);
}

/* --- the file -------------------------------------------------------------- */

static void test_file(void **state)
{
	(void)state;
	assert_int_equal(load("\xef\xbb\xbf# a comment\n; another\n\n"
			      "[http]\r\n"
			      "listen = 127.0.0.1:80 , [::1]:80\r\n"
			      "  workers=3  \n"
			      "\t[swarm]\n"
			      "interface =\n"
			      "dht=off",
			      NULL, NULL),
			 0);
	heard("");
	assert_string_equal(cfg.conf.http_listen, "127.0.0.1:80 , [::1]:80");
	assert_int_equal(cfg.conf.http_workers, 3);
	assert_int_equal(cfg.conf.swarm_dht, 0);
	assert_string_equal(cfg.conf.swarm_interface, "");
	assert_int_equal(cfg.conf.cache_ttl_ms, 30000);
	assert_string_equal(cfg.origin[CONFIG_KEY_cache_ttl], "default");
	assert_non_null(strstr(cfg.origin[CONFIG_KEY_http_listen], "/peerscope.conf:5"));
	assert_non_null(strstr(cfg.origin[CONFIG_KEY_swarm_dht], "/peerscope.conf:9"));
}

static void test_every_error_is_said(void **state)
{
	(void)state;
	assert_int_equal(load("early = 1\n"
			      "[http]\n"
			      "lisen = 1.2.3.4:80\n"
			      "workers = many\n"
			      "workers = 2\n"
			      "key: value\n"
			      "= 3\n"
			      "trackers = x\n"
			      "dht = on # really\n"
			      "[swarm] yes\n"
			      "dht = off\n"
			      "[swarn]\n"
			      "dht = maybe\n"
			      "[nothing_like_it]\n"
			      "[swarm\n"
			      "[swarm]\n"
			      "dht = on # really\n"
			      "linger = 5\n"
			      "wholly_unlike_anything = 5\n"
			      "[cache]\n"
			      "max_peers = 2001\n",
			      NULL, NULL),
			 16);
	heard("E %:1: early stands before the first [section]\n"
	      "E %:3: unknown key http.lisen; did you mean http.listen?\n"
	      "E %:4: http.workers = many: must be a whole number, e.g. 0\n"
	      "E %:5: http.workers is set again, first in line 4\n"
	      "E %:6: not `key = value`, `[section]` or `# comment`\n"
	      "E %:7: not `key = value`, `[section]` or `# comment`\n"
	      "E %:8: unknown key http.trackers; did you mean swarm.trackers?\n"
	      "E %:9: unknown key http.dht; did you mean swarm.dht?\n"
	      "E %:10: a section is [name], alone on its line\n"
	      "E %:12: unknown section [swarn]; did you mean [swarm]?\n"
	      "E %:14: unknown section [nothing_like_it]\n"
	      "E %:15: a section is [name], alone on its line\n"
	      "E %:17: swarm.dht: a comment needs a line of its own\n"
	      "E %:18: swarm.linger = 5: needs a unit, e.g. 2m\n"
	      "E %:19: unknown key swarm.wholly_unlike_anything\n"
	      "E %:21: cache.max_peers = 2001: out of range, 1 to 2000\n");
	assert_int_equal(cfg.conf.swarm_dht, 1); /* line 11 stood in no section */
}

/* Lines up to 8 KiB reach the key; longer ones are named, never cut. */
static void test_long_lines(void **state)
{
	static char text[20000], value[4001];
	size_t used = 0;

	(void)state;
	for (int i = 0; used + 50 < 4000; i++)
		used += (size_t)snprintf(value + used, sizeof(value) - used,
					 "%sudp://tracker%d.example.org:6969/announce",
					 i ? "," : "", i);
	snprintf(text, sizeof(text), "[swarm]\ntrackers = %s\nlinger = 9s\n", value);
	assert_int_equal(load(text, NULL, NULL), 0);
	assert_string_equal(cfg.conf.swarm_trackers, value);
	assert_int_equal(cfg.conf.swarm_linger_ms, 9000);

	used = (size_t)snprintf(text, sizeof(text), "[swarm]\ntrackers = ");
	memset(text + used, 'x', CONFIG_LINE_MAX - 11);
	snprintf(text + used + CONFIG_LINE_MAX - 11, 100, "\nlinger = 9\n");
	assert_int_equal(load(text, NULL, NULL), 2);
	assert_non_null(strstr(said, "conf:2: swarm.trackers = xxxxxxx"));
	assert_non_null(strstr(said, "xxx...: too long, 8181 bytes of at most 4000\n"));
	assert_non_null(strstr(said, "conf:3: swarm.linger = 9: needs a unit"));

	memset(text + used, 'x', CONFIG_LINE_MAX - 10);
	snprintf(text + used + CONFIG_LINE_MAX - 10, 100, "\nlinger = 9\n");
	assert_int_equal(load(text, NULL, NULL), 2);
	heard("E %:2: too long, a line has at most 8192 bytes\n"
	      "E %:3: swarm.linger = 9: needs a unit, e.g. 2m\n");
}

static void test_strange_bytes(void **state)
{
	static const char bytes[] =
		"[http]\nlisten = 127.0.0.1:1\0:2\nworkers = \x1b[31m\n";

	(void)state;
	put_file(path, bytes, sizeof(bytes) - 1);
	said[0] = '\0';
	assert_int_equal(config_load(&cfg, path, NULL, 0, NULL, hear, &cfg), 2);
	heard("E %:2: a NUL byte\n"
	      "E %:3: http.workers = ?[31m: must be a whole number, e.g. 0\n");
}

static void test_file_that_is_not_there(void **state)
{
	const char *none = "/nonexistent/peerscope.conf";

	(void)state;
	said[0] = '\0';
	assert_int_equal(config_load(&cfg, none, NULL, 0, NULL, hear, &cfg), 1);
	assert_string_equal(said,
			    "E /nonexistent/peerscope.conf: No such file or directory\n");
	said[0] = '\0';
	assert_int_equal(config_load(&cfg, dir, NULL, 0, NULL, hear, &cfg), 1);
	assert_non_null(strstr(said, ": Is a directory\n"));
	if (access(CONFIG_DEFAULT_FILE, F_OK) != 0) { /* the default one may be missing */
		said[0] = '\0';
		assert_int_equal(config_load(&cfg, NULL, NULL, 0, NULL, hear, &cfg), 0);
		assert_string_equal(said, "");
	}
}

/* --- environment and options ------------------------------------------------- */

static void test_precedence(void **state)
{
	static const char file[] = "[cache]\nttl = 1s\nmax_peers = 1\ngrace = 1s\n";

	(void)state;
	assert_int_equal(load(file,
			      ENV("HOME=/", "PEERSCOPE_CACHE_TTL=2s",
				  "PEERSCOPE_CACHE_GRACE=2s"),
			      OPT("cache.ttl=3s", "cache.ttl=4s")),
			 0);
	heard("");
	assert_int_equal(cfg.conf.cache_ttl_ms, 4000); /* the last -o counts */
	assert_int_equal(cfg.conf.cache_grace_ms, 2000);
	assert_int_equal(cfg.conf.cache_max_peers, 1);
	assert_string_equal(cfg.origin[CONFIG_KEY_cache_ttl], "-o");
	assert_string_equal(cfg.origin[CONFIG_KEY_cache_grace],
			    "env PEERSCOPE_CACHE_GRACE");
	assert_non_null(
		strstr(cfg.origin[CONFIG_KEY_cache_max_peers], "peerscope.conf:3"));
	assert_string_equal(cfg.origin[CONFIG_KEY_http_listen], "default");
}

static void test_options_refused(void **state)
{
	(void)state;
	assert_int_equal(load(NULL, NULL,
			      OPT("ttl=3s", "cache.ttl", ".ttl=1s", "cache.=1s",
				  "cache.tll=3s", "cache.ttl=3", "http.api.key=1",
				  "swarm.trackers=udp://a=b.c:1")),
			 7);
	heard("E -o ttl=3s: must be section.key=value\n"
	      "E -o cache.ttl: must be section.key=value\n"
	      "E -o .ttl=1s: must be section.key=value\n"
	      "E -o cache.=1s: must be section.key=value\n"
	      "E -o: unknown key cache.tll; did you mean cache.ttl?\n"
	      "E -o: cache.ttl = 3: needs a unit, e.g. 30s\n"
	      "E -o: unknown key http.api.key\n");
	assert_string_equal(cfg.conf.swarm_trackers, "udp://a=b.c:1");
}

static void test_environment_refused(void **state)
{
	(void)state;
	assert_int_equal(load(NULL,
			      ENV("PEERSCOPE_HTTP_LISTN=0.0.0.0:1", "PEERSCOPE_=1",
				  "PEERSCOPE_X", "PEERSCOPE_HTTP_WORKERS=x",
				  "PEERSCOPE_HTTP_LISTEN_FILE=/x", "PEERSCOPEX=1",
				  "peerscope_http_workers=9",
				  "PEERSCOPE_HTTP_MAX_BODY=1m"),
			      NULL),
			 4);
	heard("E env PEERSCOPE_HTTP_LISTN: no such key; did you mean PEERSCOPE_HTTP_LISTEN?\n"
	      "E env PEERSCOPE_: no such key\n"
	      "E env PEERSCOPE_HTTP_WORKERS: http.workers = x: must be a whole number, e.g. 0\n"
	      "E env PEERSCOPE_HTTP_LISTEN_FILE: no such key; did you mean "
	      "PEERSCOPE_HTTP_LISTEN?\n");
	assert_int_equal(cfg.conf.http_max_body_bytes, 1048576);
}

static void test_secret_files(void **state)
{
	char env[128], opt[128];

	(void)state;
	put_file(secret, "redis://:pw@db:6379/1\r\n", 23);
	snprintf(env, sizeof(env), "PEERSCOPE_REDIS_URL_FILE=%s", secret);
	assert_int_equal(load(NULL, ENV(env, "PEERSCOPE_REDIS_MODE=external"), NULL), 0);
	assert_string_equal(cfg.conf.redis_url, "redis://:pw@db:6379/1");
	assert_string_equal(cfg.origin[CONFIG_KEY_redis_url],
			    "env PEERSCOPE_REDIS_URL_FILE");

	snprintf(opt, sizeof(opt), "redis.url_file=%s", secret);
	assert_int_equal(load("[redis]\nmode = external\nurl = redis://other\n", NULL,
			      OPT(opt)),
			 0);
	assert_string_equal(cfg.conf.redis_url, "redis://:pw@db:6379/1");

	assert_int_equal(
		load("[redis]\nmode = external\nurl = redis://other\nurl_file = /x\n",
		     NULL, NULL),
		1);
	heard("E %:4: redis.url_file is set again, first in line 3\n");

	assert_int_equal(load(NULL,
			      ENV(env, "PEERSCOPE_REDIS_URL=redis://other",
				  "PEERSCOPE_REDIS_MODE=external"),
			      NULL),
			 1);
	heard("E env PEERSCOPE_REDIS_URL_FILE: PEERSCOPE_REDIS_URL is set too; use one of "
	      "them\n");

	assert_int_equal(load(NULL, ENV("PEERSCOPE_REDIS_URL_FILE=/nonexistent/x"), NULL),
			 1);
	heard("E env PEERSCOPE_REDIS_URL_FILE: redis.url_file: /nonexistent/x: No such file or "
	      "directory\n");

	put_file(secret, "\n", 1);
	snprintf(opt, sizeof(opt), "vpn.api_key_file=%s", secret);
	assert_int_equal(load(NULL, NULL, OPT(opt)), 0);
	assert_non_null(strstr(said, "W -o: vpn.api_key_file: "));
	assert_non_null(strstr(said, ": is empty, as if the key were not set\n"));
}

static void test_secrets_are_not_said(void **state)
{
	static char big[700] = "PEERSCOPE_REDIS_URL=redis://:geheim@";
	char text[4096] = "";
	FILE *f;

	(void)state;
	memset(big + strlen(big), 'x', 600);
	assert_int_equal(load(NULL, ENV(big), NULL), 1);
	heard("E env PEERSCOPE_REDIS_URL: redis.url = ***: too long, 616 bytes of at most 500\n");
	assert_int_equal(load(NULL, ENV("REDIS_URL=rediss://:geheim@h:1"), NULL), 1);
	assert_null(strstr(said, "geheim"));
	assert_non_null(
		strstr(said, "env REDIS_URL: redis.url = ***: rediss:// (TLS) is not"));
	assert_non_null(strstr(said, "stunnel"));
	assert_int_equal(load(NULL, ENV("REDIS_URL=redis://:geheim@h:1"), NULL), 0);
	f = fmemopen(text, sizeof(text), "w");
	assert_non_null(f);
	config_print(f, &cfg);
	fclose(f);
	assert_null(strstr(text, "geheim"));
	assert_non_null(strstr(text, "\nredis.url = ***  # env REDIS_URL\n"));
	assert_non_null(strstr(text, "\nhttp.listen = 0.0.0.0:8080  # default\n"));
	assert_non_null(strstr(text, "\ncache.ttl = 30s  # default\n"));
}

/* --- the replaced services' names ---------------------------------------------- */

static void test_old_names(void **state)
{
	(void)state;
	assert_int_equal(load("[cache]\nttl = 1s\n",
			      ENV("PORT=9000", "CLIENT_PORT=7000", "CACHE_TTL_SECONDS=45",
				  "MAX_PEERS_TO_ENRICH=60", "CACHE_DIR=/data",
				  "ENABLE_DOWNLOADS=true", "DOWNLOAD_BASE_URL=http://x",
				  "SEEDING_ENABLED=false"),
			      NULL),
			 0);
	assert_string_equal(cfg.conf.http_listen, "0.0.0.0:9000");
	assert_string_equal(cfg.conf.swarm_listen, "0.0.0.0:7000,[::]:7000");
	assert_int_equal(cfg.conf.cache_ttl_ms, 45000);
	assert_int_equal(cfg.conf.cache_max_peers, 60);
	assert_string_equal(cfg.conf.metadata_cache_dir, "/data");
	assert_int_equal(cfg.conf.metadata_downloads, 1);
	assert_string_equal(cfg.conf.metadata_base_url, "http://x");
	assert_int_equal(cfg.conf.metadata_seeding, 0);
	assert_string_equal(cfg.origin[CONFIG_KEY_http_listen], "env PORT");
	assert_string_equal(cfg.origin[CONFIG_KEY_cache_ttl], "env CACHE_TTL_SECONDS");
}

static void test_old_names_only_true_is_true(void **state)
{
	static const char *const words[] = {"True", "TRUE", "1", "yes", "on", "no"};
	char a[64], b[64];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(words); i++) {
		snprintf(a, sizeof(a), "ENABLE_DOWNLOADS=%s", words[i]);
		snprintf(b, sizeof(b), "SEEDING_ENABLED=%s", words[i]);
		assert_int_equal(load(NULL, ENV(a, b), NULL), 0);
		assert_int_equal(cfg.conf.metadata_downloads, 0);
		assert_int_equal(cfg.conf.metadata_seeding, 0);
	}
	assert_int_equal(load(NULL, ENV("SEEDING_ENABLED=", "ENABLE_DOWNLOADS="), NULL),
			 0);
	assert_int_equal(cfg.conf.metadata_seeding, 1); /* empty is not set */
}

static void test_old_ports(void **state)
{
	(void)state;
	assert_int_equal(load("[http]\nlisten = 127.0.0.1:80,[::1]:81\n[swarm]\nlisten = "
			      "tun0:5,[::]:6\n",
			      ENV("PORT=9000", "CLIENT_PORT=1"), NULL),
			 0);
	assert_string_equal(cfg.conf.http_listen, "127.0.0.1:9000,[::1]:9000");
	assert_string_equal(cfg.conf.swarm_listen, "tun0:1,[::]:1");
	assert_int_equal(load("[http]\nlisten = unix:/run/a:b, 127.0.0.1:80\n",
			      ENV("PORT=9000"), NULL),
			 0);
	assert_string_equal(cfg.conf.http_listen, "unix:/run/a:b,127.0.0.1:9000");
	/* our names beat them, and then nobody looks at their values */
	assert_int_equal(load(NULL, ENV("PORT=junk", "PEERSCOPE_HTTP_LISTEN=127.0.0.1:1"),
			      NULL),
			 0);
	assert_string_equal(cfg.conf.http_listen, "127.0.0.1:1");
	assert_int_equal(load(NULL, ENV("PORT=9000"), OPT("http.listen=127.0.0.1:2")), 0);
	assert_string_equal(cfg.conf.http_listen, "127.0.0.1:2");
	assert_int_equal(load(NULL,
			      ENV("PORT=70000", "CLIENT_PORT=-1", "CACHE_TTL_SECONDS=30s",
				  "MAX_PEERS_TO_ENRICH=many"),
			      NULL),
			 4);
	heard("E env PORT = 70000: must be a port, 1 to 65535\n"
	      "E env CLIENT_PORT = -1: must be a port, 1 to 65535\n"
	      "E env CACHE_TTL_SECONDS = 30s: must be whole seconds without a unit, e.g. 30\n"
	      "E env MAX_PEERS_TO_ENRICH = many: must be a whole number\n");
}

/* An old compose file must not stop the new service. */
static void test_old_counts_are_clamped(void **state)
{
	(void)state;
	assert_int_equal(load(NULL,
			      ENV("CACHE_TTL_SECONDS=0", "MAX_PEERS_TO_ENRICH=5000"),
			      NULL),
			 0);
	assert_int_equal(cfg.conf.cache_ttl_ms, 100);
	assert_int_equal(cfg.conf.cache_max_peers, 2000);
	heard("W env CACHE_TTL_SECONDS = 0: out of our bounds, taken as 100ms\n"
	      "W env MAX_PEERS_TO_ENRICH = 5000: out of our bounds, taken as 2000\n");
	assert_int_equal(load(NULL, ENV("CACHE_TTL_SECONDS=100000"), NULL), 0);
	heard("W env CACHE_TTL_SECONDS = 100000: out of our bounds, taken as 1d\n");
	assert_int_equal(load(NULL, ENV("MAX_PEERS_TO_ENRICH=0"), NULL), 0);
	assert_int_equal(cfg.conf.cache_max_peers, 1);
}

static void test_names_of_kubernetes(void **state)
{
	(void)state;
	assert_int_equal(load(NULL,
			      ENV("PEERSCOPE_SERVICE_HOST=10.0.0.1",
				  "PEERSCOPE_PORT=tcp://10.0.0.1:80",
				  "PEERSCOPE_PORT_80_TCP=tcp://10.0.0.1:80",
				  "PEERSCOPE_SERVICE_PORT_HTTP=80"),
			      NULL),
			 0);
	assert_int_equal(load(NULL, ENV("PEERSCOPE_HTTP_LISTN=1"), NULL), 1);
}

static void check_redis(const char *const *env, int mode, const char *url)
{
	assert_int_equal(load(NULL, env, NULL), 0);
	assert_int_equal(cfg.conf.redis_mode, mode);
	assert_string_equal(cfg.conf.redis_url, url);
}

static void test_old_redis(void **state)
{
	(void)state;
	check_redis(ENV("REDIS_HOST=redis"), REDIS_EXTERNAL, "redis://redis:6379/0");
	assert_string_equal(cfg.origin[CONFIG_KEY_redis_mode], "env REDIS_HOST");
	check_redis(ENV("REDIS_HOST=10.1.2.3", "REDIS_PORT=1234", "REDIS_DB=5"),
		    REDIS_EXTERNAL, "redis://10.1.2.3:1234/5");
	check_redis(ENV("REDIS_HOST=fd00::1"), REDIS_EXTERNAL,
		    "redis://[fd00::1]:6379/0");
	check_redis(ENV("REDIS_URL=redis://a/1", "REDIS_HOST=b"), REDIS_EXTERNAL,
		    "redis://a/1");
	check_redis(ENV("REDIS_URL=redis://localhost:1"), REDIS_EXTERNAL,
		    "redis://localhost:1");
	check_redis(ENV("REDIS_HOST=localhost", "REDIS_PORT=6379", "REDIS_DB=0"),
		    REDIS_BUNDLED, "");
	heard("");
	check_redis(ENV("REDIS_HOST=127.0.0.9"), REDIS_BUNDLED, "");
	check_redis(ENV("REDIS_HOST=::1"), REDIS_BUNDLED, "");
	check_redis(ENV("REDIS_HOST=h", "PEERSCOPE_REDIS_MODE=off"), REDIS_OFF,
		    "redis://h:6379/0");
	check_redis(ENV("REDIS_HOST=h", "PEERSCOPE_REDIS_URL=redis://mine"),
		    REDIS_EXTERNAL, "redis://mine");
	/* what a Kubernetes service called redis leaves in the environment */
	check_redis(ENV("REDIS_PORT=tcp://10.0.0.1:6379"), REDIS_BUNDLED, "");
	assert_non_null(strstr(said, "W env REDIS_PORT: not used"));
	assert_int_equal(load(NULL, ENV("REDIS_HOST=h", "REDIS_PORT=x", "REDIS_DB=y"),
			      NULL),
			 2);
	heard("E env REDIS_PORT = x: must be a port, 1 to 65535\n"
	      "E env REDIS_DB = y: must be a whole number\n");
	/* loopback means ours, over what a file says */
	assert_int_equal(load("[redis]\nmode = external\nurl = redis://f\n",
			      ENV("REDIS_HOST=localhost"), NULL),
			 0);
	assert_int_equal(cfg.conf.redis_mode, REDIS_BUNDLED);
}

/* --- keys beside each other ------------------------------------------------------ */

static int refuses(const char *opt)
{
	return load(NULL, NULL, OPT(opt));
}

static void test_lists_are_parsed(void **state)
{
	static const char *const good[] =
		{"http.listen=127.0.0.1:0",
		 "http.listen=[::]:80,0.0.0.0:80",
		 "http.listen=unix:/run/peerscope/http.sock,127.0.0.1:80",
		 "http.trusted_proxies=127.0.0.1, fd00::/8, unix:",
		 "swarm.listen=",
		 "swarm.listen=tun0:6881",
		 "swarm.listen=eth0.5:1,[fd00::1]:2,1.2.3.4:0",
		 "swarm.trackers=",
		 "swarm.trackers=https://t.example/announce?k=v",
		 "swarm.dht_bootstrap=",
		 "swarm.dht_bootstrap=127.0.0.1:1,[::1]:2,router:3",
		 "acestream.trackers=",
		 "acestream.trackers=udp://t.example:2710,udp://[::1]:1/announce?x",
		 "master.run_dir=/run/x",
		 "shm.name=/x",
		 "swarm.interface=wg0-mullvad"};
	static const char *const bad[] =
		{"http.listen=8080",
		 "http.listen=localhost:80",
		 "http.listen=::1:80",
		 "http.listen=1.2.3.4:65536",
		 "http.listen=1.2.3.4:1,1.2.3.4:2,1.2.3.4:3,1.2.3.4:4,1.2.3.4:5",
		 "http.listen= , ",
		 "http.listen=unix:http.sock",
		 "http.trusted_proxies=nginx",
		 "swarm.listen=unix:/run/peerscope/p:1",
		 "swarm.listen=6881",
		 "swarm.listen=tun0",
		 "swarm.listen=tun0:",
		 "swarm.listen=tun0:99999",
		 "swarm.listen=a b:1",
		 "swarm.listen=averylongdevicename:1",
		 "swarm.listen=1.2.3:1",
		 "swarm.listen=fd00::1:2",
		 "swarm.listen=tun0:6881s",
		 "swarm.trackers=tracker.example:80",
		 "swarm.trackers=udp://",
		 "swarm.trackers=ftp://x/",
		 "swarm.trackers=udp://a:1 udp://b:1",
		 "swarm.trackers=udp://a:1,,udp://b:1",
		 "acestream.trackers=http://t.example:80/announce",
		 "acestream.trackers=udp://t.example/announce",
		 "acestream.trackers=udp://t:1,,udp://u:1",
		 "swarm.dht_bootstrap=router.example",
		 "swarm.dht_bootstrap=:6881",
		 "swarm.dht_bootstrap=r:0",
		 "master.run_dir=run",
		 "shm.name=x",
		 "shm.name=/x/y",
		 "swarm.interface=a/b"};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(good); i++) {
		if (refuses(good[i]) != 0)
			fail_msg("%s: %s", good[i], said);
		assert_string_equal(said, "");
	}
	for (size_t i = 0; i < PS_ARRAY_LEN(bad); i++) {
		if (refuses(bad[i]) != 1)
			fail_msg("%s: %s", bad[i], said);
		assert_non_null(strstr(said, "E -o: "));
	}
	refuses("swarm.trackers=udp://a:1/secret,ftp://b/secret,c:80/secret?k=secret,http:/d/"
		"secret,http://e#secret,udp://f:1/s");
	assert_null(strstr(said, "secret"));
	assert_non_null(strstr(said, " = udp://a:1/...,ftp://b/...,c:80/...,http:/d/"));
	assert_non_null(strstr(said, "'c:80/...' is not "));
	refuses("swarm.trackers=udp://a:1/announce,http://b/secret/announce,ftp://b/");
	assert_non_null(strstr(said, " = udp://a:1/announce,http://b/...,ftp://b/: "));
	refuses("swarm.listen=6881");
	heard("E -o: swarm.listen = 6881: '6881' is not address:port or device:port, e.g. "
	      "0.0.0.0:42069 or tun0:42069\n");
}

/* Nothing may leave swarm.interface, so what can't be kept to it is no setting. */
static void test_lsd_needs_the_local_network(void **state)
{
	(void)state;
	assert_int_equal(load(NULL, NULL,
			      OPT("swarm.lsd=on", "swarm.interface=tun0",
				  "swarm.allow_private=on")),
			 1);
	heard("E -o: swarm.lsd = on: can't be kept to swarm.interface: use one of the two"
	      "\n");
	assert_int_equal(refuses("swarm.lsd=on"), 0);
	heard("W -o: swarm.lsd = on: neighbours have private addresses as a rule, which "
	      "are refused without swarm.allow_private\n");
	assert_int_equal(load(NULL, NULL, OPT("swarm.lsd=on", "swarm.allow_private=on")),
			 0);
	heard("");
	assert_int_equal(load(NULL, NULL, OPT("swarm.lsd=off", "swarm.interface=tun0")),
			 0);
	heard("");
}

static void test_redis_url(void **state)
{
	static const char *const good[] = {"redis://h",
					   "redis://h:1",
					   "redis://:pw@h:1/2",
					   "redis://:p@ss@h/0",
					   "redis://[::1]:6379/0",
					   "redis://[::1]",
					   "unix:///run/r.sock",
					   "unix:///run/r.sock?db=2"};
	static const char *const bad[] = {"h:6379",         "http://h",
					  "redis://",       "redis://:6379",
					  "redis://h:x",    "redis://h:0",
					  "redis://h:1/db", "unix://relative",
					  "rediss://h",     "redis://pw@",
					  "redis://u:p@h",  "redis://h/99999",
					  "unix:///s?x=1"};
	char url[128];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(good); i++) {
		snprintf(url, sizeof(url), "redis.url=%s", good[i]);
		if (load(NULL, NULL, OPT("redis.mode=external", url)) != 0)
			fail_msg("%s: %s", url, said);
	}
	for (size_t i = 0; i < PS_ARRAY_LEN(bad); i++) {
		snprintf(url, sizeof(url), "redis.url=%s", bad[i]);
		if (load(NULL, NULL, OPT("redis.mode=external", url)) != 1)
			fail_msg("%s: %s", url, said);
	}
	/* Behind the '@' a reason may quote; without one it may be the password. */
	assert_int_equal(load(NULL, NULL,
			      OPT("redis.mode=external", "redis.url=redis://:pw@h:12x")),
			 1);
	heard("E -o: redis.url = ***: a port is 1 to 65535\n");
	assert_int_equal(load(NULL, NULL,
			      OPT("redis.mode=external", "redis.url=redis://:geheim")),
			 1);
	heard("E -o: redis.url = ***: must be redis://[:password@]host[:port][/db]\n");
	assert_int_equal(refuses("redis.mode=external"), 1);
	heard("E -o: redis.mode = external: needs redis.url, e.g. redis://127.0.0.1:6379/0\n");
	assert_int_equal(refuses("redis.url=redis://h"), 0);
	heard("W -o: redis.url = ***: not used: redis.mode is not external\n");
}

#define FOUR HASH "," HASH "," HASH "," HASH ","
#define HASH "94c2fd8fb9bc8f2fc71a2cbe9d4b866f227a0209"

static void test_vpn(void **state)
{
	static const char *const urls[] = {
		"vpn.gluetun_url=ftp://127.0.0.1/", "vpn.gluetun_url=127.0.0.1:8000",
		"vpn.gluetun_url=http://",          "vpn.gluetun_url=http://:8000",
		"vpn.gluetun_url=http://me@h:8000", "vpn.health_url=http://h 1",
		"vpn.gluetun_url=http://h:8000/?a",
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(urls); i++)
		assert_int_equal(refuses(urls[i]), 1);
	assert_int_equal(refuses("vpn.gluetun_url=http://me:geheim@h:8000"), 1);
	heard("E -o: vpn.gluetun_url = http://*********@h:8000: must be http://host:port or "
	      "https://, without a user in it\n");
	assert_int_equal(refuses("vpn.user=a:b"), 1);
	assert_int_equal(refuses("vpn.port_file=tmp/forwarded_port"), 1);
	assert_int_equal(load(NULL, NULL,
			      OPT("vpn.gluetun_url=http://127.0.0.1:8000/",
				  "vpn.health_url=", "vpn.api_key=k",
				  "vpn.port_file=/tmp/gluetun/forwarded_port")),
			 0);
	heard("");
	assert_int_equal(load(NULL, NULL, OPT("vpn.password=geheim")), 0);
	heard("W -o: vpn.password = ***: not used: vpn.user is empty\n");
	assert_int_equal(refuses("vpn.user=me"), 0);
	heard("W -o: vpn.user = me: vpn.password is empty: Gluetun is asked with an empty "
	      "one\n");
}

/* Code that goes behind it has paths of its own. */
static void test_engine_url(void **state)
{
	(void)state;
	assert_int_equal(refuses("acestream.engine_url=http://127.0.0.1:6878"), 0);
	assert_int_equal(refuses("acestream.engine_url=http://engine/"), 0);
	assert_int_equal(refuses("acestream.engine_url=https://[::1]:6878"), 0);
	heard("");
	assert_int_equal(refuses("acestream.engine_url=http://engine:6878/ace"), 1);
	heard("E -o: acestream.engine_url = http://engine:6878/ace: must be "
	      "http://host[:port] or https://, without a path, e.g. "
	      "http://127.0.0.1:6878\n");
	assert_int_equal(refuses("acestream.engine_url=http://engine:6878?x"), 1);
	assert_int_equal(refuses("acestream.engine_url=engine:6878"), 1);
}

static void test_control_and_state(void **state)
{
	(void)state;
	assert_int_equal(refuses("swarm.control=" HASH ",nonsense"), 1);
	assert_int_equal(refuses("swarm.control=" HASH ",,"), 1);
	assert_int_equal(
		refuses("swarm.control=abc,0000000000000000000000000000000000000000"), 2);
	assert_non_null(strstr(said, "swarm.control = abc"));
	assert_non_null(strstr(said, ": 'abc': "));
	assert_non_null(strstr(said, "these are 3 characters\n"));
	assert_non_null(strstr(said, ": zeros alone name no swarm\n"));
	assert_int_equal(refuses("swarm.control=" FOUR FOUR FOUR FOUR HASH), 0);
	assert_non_null(strstr(said, ": the first 16 count, the others are not asked\n"));
	assert_int_equal(refuses("swarm.dht_state=dht.state"), 1);
	assert_int_equal(load(NULL, NULL,
			      OPT("swarm.control=" HASH ", " HASH,
				  "swarm.dht_state=/var/lib/peerscope/dht.state")),
			 0);
	heard("");
}

static void test_base_url(void **state)
{
	(void)state;
	assert_int_equal(load(NULL, NULL, NULL), 0);
	assert_string_equal(cfg.conf.metadata_base_url, "http://localhost:8080");
	assert_int_equal(load(NULL, ENV("PORT=18081"), NULL), 0);
	assert_string_equal(cfg.conf.metadata_base_url, "http://localhost:18081");
	assert_int_equal(load(NULL, NULL, OPT("http.listen=[::1]:81,127.0.0.1:82")), 0);
	assert_string_equal(cfg.conf.metadata_base_url, "http://localhost:81");
	assert_int_equal(load(NULL, ENV("PORT=81", "DOWNLOAD_BASE_URL=https://m.test/x"),
			      NULL),
			 0);
	assert_string_equal(cfg.conf.metadata_base_url, "https://m.test/x");
	assert_int_equal(refuses("metadata.base_url=https://m.test:8443/x/"), 0);
	assert_int_equal(refuses("metadata.base_url="), 0);
	assert_string_equal(cfg.conf.metadata_base_url, "");
	assert_int_equal(refuses("metadata.base_url=foo"), 1);
	assert_int_equal(refuses("metadata.base_url=m.example:8080"), 1);
	assert_int_equal(refuses("metadata.base_url=ftp://m.example/"), 1);
	assert_int_equal(refuses("metadata.base_url=http://m.example/?a"), 1);
	heard("E -o: metadata.base_url = http://m.example/?a: must be http://host[:port][/path] "
	      "or https://, as your clients see this server\n");
}

static void test_online_url(void **state)
{
	(void)state;
	assert_int_equal(refuses("geo.online_url=https://ipwho.is"), 0);
	assert_int_equal(refuses("geo.online_url=https://[::1]:8043/json/"), 0);
	heard("");
	assert_int_equal(refuses("geo.online_url=http://127.0.0.1:8043/"), 0);
	heard("W -o: geo.online_url = http://127.0.0.1:8043/: without TLS everybody on "
	      "the way reads the addresses of peers, and can change the answers\n");
	assert_int_equal(refuses("geo.online_url="), 1);
	assert_int_equal(refuses("geo.online_url=ftp://ipwho.is/"), 1);
	assert_int_equal(refuses("geo.online_url=https://me:secret@ipwho.is/"), 1);
	assert_int_equal(refuses("geo.online_url=https://ipwho.is/?ip="), 1);
	heard("E -o: geo.online_url = https://ipwho.is/...: must be https://host/path/, "
	      "without a question mark, e.g. https://ipwho.is/\n");
	assert_int_equal(refuses("geo.online_url=http://h/s3cret/"), 0);
	heard("W -o: geo.online_url = http://h/...: without TLS everybody on the way reads the "
	      "addresses of peers, and can change the answers\n");
	assert_int_equal(refuses("geo.online_rate=0"), 1);
	assert_int_equal(refuses("geo.more_db=/1,/2,/3,/4,/5,/6"), 0);
	assert_int_equal(refuses("geo.more_db=/1,/2,/3,/4,/5,/6,/7"), 1);
	heard("E -o: geo.more_db = /1,/2,/3,/4,/5,/6,/7: more than 6 further databases\n");
}

static void test_warnings(void **state)
{
	(void)state;
	assert_int_equal(load(NULL, NULL,
			      OPT("metadata.timeout=30s", "metadata.seeding=on",
				  "vpn.gluetun_url=")),
			 0);
	heard("");
	assert_int_equal(load(NULL, NULL,
			      OPT("shm.swarms=16", "swarm.max_swarms=17",
				  "swarm.max_peers=10", "cache.max_peers=11")),
			 0);
	heard("W -o: swarm.max_swarms = 17: more than shm.swarms: the table can't show all "
	      "that are joined\n"
	      "W -o: cache.max_peers = 11: more than swarm.max_peers, which bounds it\n");
}

/* --- reload ------------------------------------------------------------------- */

static void test_diff(void **state)
{
	static struct conf was;
	char names[64], small[20];

	(void)state;
	assert_int_equal(load(NULL, NULL, NULL), 0);
	was = cfg.conf;
	assert_int_equal(config_diff_restart(&was, &cfg.conf, names, sizeof(names)), 0);
	assert_string_equal(names, "");
	assert_int_equal(config_diff(&was, &cfg.conf, names, sizeof(names)), 0);
	assert_int_equal(load(NULL, NULL,
			      OPT("cache.ttl=1s", "shm.name=/y",
				  "http.listen=127.0.0.1:1", "geo.online=off",
				  "metadata.base_url=http://localhost:8080")),
			 0);
	assert_int_equal(config_diff_restart(&was, &cfg.conf, names, sizeof(names)), 2);
	assert_string_equal(names, "http.listen, shm.name");
	assert_int_equal(config_diff(&was, &cfg.conf, names, sizeof(names)), 4);
	assert_string_equal(names, "http.listen, cache.ttl, geo.online, shm.name");
	assert_int_equal(config_diff_restart(&was, &cfg.conf, small, sizeof(small)), 2);
	assert_string_equal(small, "http.listen"); /* whole names only */
	/* the same value in other words is no change */
	assert_int_equal(load(NULL, NULL, OPT("cache.ttl=30000ms", "swarm.dht=yes")), 0);
	assert_int_equal(config_diff(&was, &cfg.conf, names, sizeof(names)), 0);
}

/* The sample as it is sets nothing; with every "#key = value" uncommented it sets
 * every key to its default. "# prose" has a space after the hash. */
static void test_sample_file(void **state)
{
	static char text[65536], line[CONFIG_LINE_MAX];
	static struct conf def;
	FILE *f = fopen("conf/peerscope.conf", "r");
	size_t used = 0;

	(void)state;
	assert_non_null(f);
	said[0] = '\0';
	assert_int_equal(config_load(&cfg, "conf/peerscope.conf", NULL, 0, NULL, hear,
				     &cfg),
			 0);
	assert_string_equal(said, "");
	for (int i = 0; i < CONFIG_KEY_N; i++)
		assert_string_equal(cfg.origin[i], "default");
	while (fgets(line, sizeof(line), f)) {
		const char *from = line[0] == '#' && line[1] >= 'a' ? line + 1 : line;

		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s", from);
		assert_true(used < sizeof(text));
	}
	fclose(f);
	if (load(text, NULL, NULL) != 0)
		fail_msg("%s", said);
	for (int i = 0; i < CONFIG_KEY_N; i++) {
		if (!strstr(cfg.origin[i], "peerscope.conf:"))
			fail_msg("%s.%s is not in the sample", conf_keys(NULL)[i].section,
				 conf_keys(NULL)[i].key);
	}
	conf_defaults(&def);
	assert_memory_equal(&cfg.conf, &def, sizeof(def));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_every_error_is_said),
		cmocka_unit_test(test_long_lines),
		cmocka_unit_test(test_strange_bytes),
		cmocka_unit_test(test_file_that_is_not_there),
		cmocka_unit_test(test_precedence),
		cmocka_unit_test(test_options_refused),
		cmocka_unit_test(test_environment_refused),
		cmocka_unit_test(test_secret_files),
		cmocka_unit_test(test_secrets_are_not_said),
		cmocka_unit_test(test_old_names),
		cmocka_unit_test(test_old_names_only_true_is_true),
		cmocka_unit_test(test_old_ports),
		cmocka_unit_test(test_old_counts_are_clamped),
		cmocka_unit_test(test_names_of_kubernetes),
		cmocka_unit_test(test_old_redis),
		cmocka_unit_test(test_lists_are_parsed),
		cmocka_unit_test(test_lsd_needs_the_local_network),
		cmocka_unit_test(test_redis_url),
		cmocka_unit_test(test_vpn),
		cmocka_unit_test(test_engine_url),
		cmocka_unit_test(test_base_url),
		cmocka_unit_test(test_online_url),
		cmocka_unit_test(test_control_and_state),
		cmocka_unit_test(test_warnings),
		cmocka_unit_test(test_diff),
		cmocka_unit_test(test_sample_file),
	};

	return cmocka_run_group_tests_name("config", tests, setup, teardown);
}
