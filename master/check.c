/*
 * check.c -- `peerscope check`: everything that would go wrong later, said now, all
 * of it, as `where: what`. Errors: exit 1. Warnings do not count. What can be seen in
 * the values alone is said by config_check.c; here is what has to be opened: databases,
 * the room for the segment, Redis.
 */
#include <errno.h>
#include <hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <unistd.h>

#include "collector/redis.h"
#include "geo/geo.h"
#include "master/cli.h"
#include "master/config.h"
#include "shm/seg.h"

extern char **environ;

struct check {
	struct config c;
	int errors;
};

static void say(void *arg, enum config_kind kind, const char *text)
{
	struct check *k = arg;

	if (kind == CONFIG_ERROR)
		k->errors++;
	fprintf(stderr, "%s%s\n", text, kind == CONFIG_ERROR ? "" : " (warning)");
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

static void check_geo(struct check *k)
{
	struct geo *g = NULL;
	char err[ERRLEN];

	if (geo_open(&g, k->c.conf.geo_city_db, "", err) != 0)
		complain(k, CONFIG_KEY_geo_city_db, CONFIG_ERROR, err);
	geo_close(&g);
	if (geo_open(&g, "", k->c.conf.geo_asn_db, err) != 0)
		complain(k, CONFIG_KEY_geo_asn_db, CONFIG_ERROR, err);
	geo_close(&g);
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

int cmd_check(const struct cli *cli)
{
	struct check *k = xcalloc(1, sizeof *k);
	int loaded, rc;

	/* Its return value is what say() counted. */
	loaded = config_load(&k->c, cli->file, cli->opts, cli->nopts, environ, say, k);
	PS_ASSERT(loaded == k->errors);
	check_geo(k);
	check_shm(k);
	if (k->c.conf.redis_mode == REDIS_BUNDLED)
		check_bundled(k);
	else if (k->c.conf.redis_mode == REDIS_EXTERNAL)
		check_external(k);
	rc = k->errors > 0;
	if (rc == 0)
		printf("%s: ok\n", cli->file ? cli->file : "configuration");
	free(k);
	return rc;
}
