/*
 * check.c -- `peerscope check`: everything that would go wrong later, said now, all
 * of it, as `where: what`, in the order of the file's lines. Errors: exit 1. Warnings do
 * not count. What can be seen in the values alone is said by config_check.c; here is what
 * has to be opened: databases, the room for the segment, Redis, files, addresses.
 */
#include <errno.h>
#include <hiredis.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <unistd.h>

#include "collector/redis.h"
#include "common/clock.h"
#include "geo/geo.h"
#include "master/cli.h"
#include "master/config.h"
#include "master/own.h"
#include "master/sock.h"
#include "master/user.h"
#include "shm/seg.h"

#define CHECK_FINDINGS 256 /* put in order together; a file has fewer */

extern char **environ;

struct check {
	struct config c;
	const struct cli *cli;
	int was_root;
	int errors;
	size_t n;
	struct finding {
		unsigned line; /* UINT_MAX: not of the file */
		enum config_kind kind;
		char text[CONFIG_SAY_MAX];
	} found[CHECK_FINDINGS];
};

/* "peerscope.conf:12: ..." is line 12; what names no line comes behind the file. */
static unsigned line_of(const char *text)
{
	if (strncmp(text, "env ", 4) == 0 || strncmp(text, "-o", 2) == 0)
		return UINT_MAX;
	for (const char *p = strchr(text, ':'); p; p = strchr(p + 1, ':')) {
		size_t digits = strspn(p + 1, "0123456789");

		if (digits > 0 && digits < 9 && p[1 + digits] == ':')
			return (unsigned)strtoul(p + 1, NULL, 10);
	}
	return UINT_MAX;
}

static void print_findings(struct check *k)
{
	for (size_t i = 0; i < k->n; i++)
		fprintf(stderr, "%s%s\n", k->found[i].text,
			k->found[i].kind == CONFIG_ERROR ? "" : " (warning)");
	k->n = 0;
}

/* Kept in order: behind those of the same line. */
static void say(void *arg, enum config_kind kind, const char *text)
{
	struct check *k = arg;
	unsigned line = line_of(text);
	size_t at;

	if (kind == CONFIG_ERROR)
		k->errors++;
	if (k->n == CHECK_FINDINGS)
		print_findings(k);
	for (at = k->n; at > 0 && k->found[at - 1].line > line; at--)
		;
	memmove(&k->found[at + 1], &k->found[at], (k->n - at) * sizeof k->found[0]);
	k->found[at].line = line;
	k->found[at].kind = kind;
	snprintf(k->found[at].text, sizeof k->found[at].text, "%s", text);
	k->n++;
}

/* A complaint about the value of a key, from where that value came. */
static void complain(struct check *k, int key, enum config_kind kind, const char *what)
{
	const struct conf_key *keys = conf_keys(NULL);
	char text[CONFIG_SAY_MAX];

	snprintf(text, sizeof text, "%s: %s.%s: %s", k->c.origin[key], keys[key].section,
		 keys[key].key, what);
	say(k, kind, text);
}

static int geo_key(int i)
{
	static const int keys[] = {CONFIG_KEY_geo_city_db, CONFIG_KEY_geo_asn_db};

	return i < 2 ? keys[i] : CONFIG_KEY_geo_more_db;
}

/* `serve` works without any of them, and takes one as soon as it is there and good. So it
 * is an error only if the wrong thing lies there, which does not mend itself. */
static void complain_geo(struct check *k, int i, enum file_rc rc, const char *why)
{
	static const char *const then[] = {
		[-FILE_BAD] = "no place would come from it",
		[-FILE_MISSING] = "no place comes from it until it is there",
		[-FILE_LATER] = "it would be tried again",
	};
	char what[CONFIG_SAY_MAX];

	snprintf(what, sizeof what, "%s; %s", why, then[-rc]);
	complain(k, geo_key(i), rc == FILE_BAD ? CONFIG_ERROR : CONFIG_WARNING, what);
}

static void check_age(struct check *k, int i, const char *path, const struct geo *g)
{
	char what[CONFIG_SAY_MAX];
	struct file_info info;
	uint64_t days;

	if (!geo_info(g, i, &info))
		return;
	days = file_age_days(&info, clock_wall_ms() / 1000);
	if (days < FILE_OLD_DAYS)
		return;
	snprintf(what, sizeof what, "%s database %s: " FILE_OLD_WORDS, geo_role(i), path,
		 days);
	complain(k, geo_key(i), CONFIG_WARNING, what);
}

/* Each file alone, so that all of them are heard of. */
static void check_geo(struct check *k)
{
	static struct geo_paths all, one;
	char err[ERRLEN];

	if (geo_paths(&all, &k->c.conf, err) != 0)
		return; /* said when the file was read */
	for (int i = 0; i < GEO_FILES_MAX; i++) {
		struct geo *g = NULL;
		enum file_rc rc;

		memset(&one, 0, sizeof one);
		memcpy(one.path[i], all.path[i], sizeof one.path[i]);
		rc = geo_open(&g, &one, err);
		if (rc != FILE_OK)
			complain_geo(k, i, rc, err);
		else
			check_age(k, i, one.path[i], g);
		geo_close(&g);
	}
}

/* What a running daemon of this name holds is room that its successor gets. */
static uint64_t held_bytes(const char *name)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof path, "/dev/shm%s", name);
	return stat(path, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static void check_shm(struct check *k)
{
	const struct conf *c = &k->c.conf;
	uint64_t total, at_start, room;
	struct shm_dims dims;
	struct statvfs vfs;
	char what[256];

	if (statvfs("/dev/shm", &vfs) != 0) {
		snprintf(what, sizeof what, "/dev/shm: %s", strerror(errno));
		complain(k, CONFIG_KEY_shm_name, CONFIG_ERROR, what);
		return;
	}
	seg_dims(&dims, c, cli_workers(c));
	seg_sizes(&dims, &total, &at_start);
	room = (uint64_t)vfs.f_bavail * vfs.f_frsize + held_bytes(c->shm_name);
	if (total <= room)
		return;
	snprintf(what, sizeof what,
		 "the segment takes %" PRIu64 " KiB at start and %" PRIu64
		 " KiB when full; /dev/shm has room for %" PRIu64 " KiB",
		 at_start >> 10, total >> 10, room >> 10);
	complain(k, CONFIG_KEY_shm_peers, at_start > room ? CONFIG_ERROR : CONFIG_WARNING,
		 what);
}

static int in_path(const char *program)
{
	const char *path = getenv("PATH");
	char file[1024];

	if (!path)
		path = "/bin:/usr/bin"; /* as execvp does */
	while (path && *path) {
		size_t len = strcspn(path, ":");

		snprintf(file, sizeof file, "%.*s/%s", (int)len, path, program);
		if (access(file, X_OK) == 0)
			return 1;
		path += len + (path[len] == ':');
	}
	return 0;
}

static void check_bundled(struct check *k)
{
	struct sockaddr_un sun;

	if (!in_path("redis-server"))
		complain(k, CONFIG_KEY_redis_mode, CONFIG_WARNING,
			 "bundled, but redis-server is not in PATH");
	if (strlen(k->c.conf.master_run_dir) + sizeof "/redis.sock" > sizeof sun.sun_path)
		complain(k, CONFIG_KEY_master_run_dir, CONFIG_ERROR,
			 "too long for the path of a unix socket below it");
}

static void check_external(struct check *k)
{
	const struct conf *c = &k->c.conf;
	struct timeval tv = {.tv_sec = (time_t)(c->redis_timeout_ms / 1000),
			     .tv_usec = (suseconds_t)(c->redis_timeout_ms % 1000 * 1000)};
	struct redis_target t;
	redisContext *r;
	char err[ERRLEN], what[ERRLEN];

	if (redis_parse_url(&t, c->redis_url, err) != 0)
		return; /* said when the file was read */
	r = t.tcp ? redisConnectWithTimeout(t.host, t.port, tv)
		  : redisConnectUnixWithTimeout(t.host, tv);
	if (!r || r->err) {
		snprintf(what, sizeof what, "can't be reached now: %.128s",
			 r ? r->errstr : "out of memory");
		complain(k, CONFIG_KEY_redis_url, CONFIG_WARNING, what);
	}
	if (r)
		redisFree(r);
}

/* 0 if a file can be made in the directory of path; else -1, and why. */
static int dir_takes(const char *path, int mode, char err[ERRLEN])
{
	char copy[1024], *dir; /* longer than any key */

	snprintf(copy, sizeof copy, "%s", path);
	dir = dirname(copy);
	if (access(dir, mode) != 0)
		return err_errno(err, "directory %s", dir);
	return 0;
}

/* `serve` does not start without it. Nothing is made here. */
static void check_log_file(struct check *k)
{
	const char *path = k->c.conf.log_file;
	struct stat st;
	char err[ERRLEN];

	if (!path[0])
		return;
	if (stat(path, &st) != 0 && errno == ENOENT) {
		if (dir_takes(path, W_OK | X_OK, err) != 0)
			complain(k, CONFIG_KEY_log_file, CONFIG_ERROR, err);
		return;
	}
	if (access(path, W_OK) != 0) {
		err_set(err, "can't be written: %s", strerror(errno));
		complain(k, CONFIG_KEY_log_file, CONFIG_ERROR, err);
	} else if (S_ISDIR(st.st_mode)) {
		complain(k, CONFIG_KEY_log_file, CONFIG_ERROR, "is a directory");
	}
}

static void check_state(struct check *k, const char *path, int key, const char *whose)
{
	char err[ERRLEN], what[ERRLEN];

	if (path[0] != '/' || dir_takes(path, W_OK | X_OK, err) == 0)
		return; /* none, or said when the file was read */
	err_set(what, "%s can't be kept: %s", whose, err);
	complain(k, key, CONFIG_WARNING, what);
}

/* The collector makes it, with no more than its last name, or goes on in master.run_dir. */
static void check_cache_dir(struct check *k)
{
	const char *path = k->c.conf.metadata_cache_dir;
	char err[ERRLEN], what[ERRLEN];
	struct stat st;

	if (!path[0])
		return;
	if (stat(path, &st) == 0) {
		if (!S_ISDIR(st.st_mode))
			err_set(err, "not a directory");
		else if (access(path, R_OK | W_OK | X_OK) != 0)
			err_set(err, "%s", strerror(errno));
		else
			return;
	} else if (errno != ENOENT) {
		err_set(err, "%s", strerror(errno));
	} else if (dir_takes(path, W_OK | X_OK, err) == 0) {
		return;
	}
	err_set(what, "metadata will be kept in master.run_dir: %s", err);
	complain(k, CONFIG_KEY_metadata_cache_dir, CONFIG_WARNING, what);
}

static void check_interface(struct check *k)
{
	const struct conf *c = &k->c.conf;

	if (c->swarm_interface[0] && if_nametoindex(c->swarm_interface) == 0)
		complain(k, CONFIG_KEY_swarm_interface, CONFIG_WARNING,
			 "there is no such device now; without it no swarm is joined");
}

/* A unix socket in the run directory. 1: that is not there yet; serve makes it, for us alone. */
static int check_socket(struct check *k, const char *at)
{
	const char *dir = own_wish(k->c.conf.master_run_dir);
	size_t len = strlen(dir), unix_len = strlen("unix:");
	struct stat st = {.st_mode = 0700};
	char what[ERRLEN];
	int rc;

	if (strncmp(at, "unix:", unix_len) != 0 ||
	    strncmp(at + unix_len, dir, len) != 0 || at[unix_len + len] != '/')
		return 0;
	rc = stat(dir, &st) != 0 && errno == ENOENT;
	if (st.st_mode & 0011)
		return 0;
	err_set(what,
		"%s is in master.run_dir, which nobody else may enter: a proxy of another "
		"user can't ask there",
		at);
	complain(k, CONFIG_KEY_http_listen, CONFIG_WARNING, what);
	return rc;
}

static void check_listen(struct check *k)
{
	char err[ERRLEN], what[ERRLEN];
	struct sock_addr at[CONF_MAX_LISTEN];
	int early = 0, n = sock_parse_list(at, k->c.conf.http_listen, err);

	for (int i = 0; i < n; i++)
		early |= check_socket(k, at[i].text);
	if (n < 0 || early)
		return; /* said when the file was read, or now */
	if (sock_probe(k->c.conf.http_listen, err) == 0)
		return;
	err_set(what, "%s%s", err,
		strstr(err, strerror(EADDRINUSE)) ? " (perhaps our own daemon that runs)"
						  : "");
	complain(k, CONFIG_KEY_http_listen, CONFIG_WARNING, what);
}

/* TCP alone: with SO_REUSEADDR, which libtorrent sets, too, a bind that does not listen keeps
 * nobody from listening, so it does no harm to a daemon that starts this instant. */
static int can_be_called(const struct sock_addr *at)
{
	int on = 1, fd = socket(at->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), rc,
	    saved;

	if (fd < 0)
		return 0;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (at->sa.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	rc = bind(fd, (const struct sockaddr *)&at->sa, at->len);
	saved = errno;
	close(fd);
	errno = saved;
	return rc == 0;
}

/* The daemon starts all the same, and tries again until it can. */
static void check_swarm_listen(struct check *k)
{
	char item[512], err[ERRLEN], what[ERRLEN];
	const char *at = k->c.conf.swarm_listen;
	struct sock_addr a;

	while ((at = conf_list_next(at, item, sizeof item))) {
		if (sock_parse(&a, item, err) == 0) {
			if (can_be_called(&a))
				continue;
			err_set(what, "%.100s: %s; no peer can call us there now", item,
				strerror(errno));
		} else {
			char *colon = strchr(item, ':');

			if (!colon || colon == item || colon - item > IFNAMSIZ - 1)
				continue; /* said when the file was read */
			*colon = '\0';
			if (if_nametoindex(item) > 0)
				continue;
			err_set(what,
				"there is no device %s now; no peer can call us there",
				item);
		}
		complain(k, CONFIG_KEY_swarm_listen, CONFIG_WARNING, what);
	}
}

static void first_error(void *arg, enum config_kind kind, const char *text)
{
	char *err = arg;

	if (kind == CONFIG_ERROR && !err[0])
		err_set(err, "%s", text);
}

/* The file, and those of secrets, are read again by a reload. */
static void check_reload(struct check *k)
{
	struct config *c = xcalloc(1, sizeof *c);
	const struct cli *cli = k->cli;
	char err[ERRLEN] = "", what[CONFIG_SAY_MAX];

	if (config_load(c, cli->file, cli->opts, cli->nopts, environ, first_error, err) >
	    0) {
		snprintf(what, sizeof what, "a reload would be refused: %s", err);
		complain(k, CONFIG_KEY_master_user, CONFIG_WARNING, what);
	}
	free(c);
}

/* First of all: what follows is seen with the eyes of that user. */
static void check_user(struct check *k)
{
	char err[ERRLEN];

	if (user_become(k->c.conf.master_user, "", err) != 0)
		complain(k, CONFIG_KEY_master_user, CONFIG_ERROR, err);
	else if (k->c.conf.master_user[0] && k->errors == 0)
		check_reload(k);
}

/* serve makes it, with no more than its last name. */
static void check_run_dir(struct check *k)
{
	const char *path = k->c.conf.master_run_dir;
	char err[ERRLEN];
	struct stat st;
	int rc;

	if (path[0] != '/')
		return; /* there is always one, or said when the file was read */
	if (stat(path, &st) != 0 && errno == ENOENT)
		rc = dir_takes(path, k->was_root ? F_OK : W_OK | X_OK, err);
	else
		rc = own_dir_check(path, err);
	if (rc != 0)
		complain(k, CONFIG_KEY_master_run_dir, CONFIG_ERROR, err);
}

static void check_sources(struct check *k)
{
	const struct conf *c = &k->c.conf;

	if (c->swarm_trackers[0] || c->swarm_dht || c->swarm_lsd)
		return;
	complain(k, CONFIG_KEY_swarm_trackers, CONFIG_WARNING,
		 c->acestream_peers && c->acestream_trackers[0]
			 ? "no tracker, and swarm.dht is off: nobody can be found but by "
			   "acestream.trackers, in swarms of AceStream"
			 : "no tracker, and swarm.dht is off: nobody can be found");
}

int cmd_check(const struct cli *cli)
{
	struct check *k = xcalloc(1, sizeof *k);
	int loaded, rc;

	/* Its return value is what say() counted. */
	loaded = config_load(&k->c, cli->file, cli->opts, cli->nopts, environ, say, k);
	PS_ASSERT(loaded == k->errors);
	k->cli = cli;
	k->was_root = geteuid() == 0;
	check_user(k);
	check_run_dir(k);
	check_geo(k);
	check_shm(k);
	if (k->c.conf.redis_mode == REDIS_BUNDLED)
		check_bundled(k);
	else if (k->c.conf.redis_mode == REDIS_EXTERNAL)
		check_external(k);
	check_log_file(k);
	check_state(k, k->c.conf.swarm_dht_state, CONFIG_KEY_swarm_dht_state,
		    "the DHT's nodes");
	check_state(k, k->c.conf.swarm_state, CONFIG_KEY_swarm_state, "known peers");
	check_cache_dir(k);
	check_interface(k);
	if (!own_is_held(k->c.conf.master_run_dir)) { /* else it is we who listen there */
		check_listen(k);
		check_swarm_listen(k);
	}
	check_sources(k);
	print_findings(k);
	rc = k->errors > 0;
	if (rc == 0)
		printf("%s: ok\n", cli->file ? cli->file : "configuration");
	free(k);
	return rc;
}
