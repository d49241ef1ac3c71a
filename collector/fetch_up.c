/* fetch_up.c -- uploaded .torrent files; see fetch.h and JOB_META_FILE in shm/lane.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collector/fetch.h"
#include "collector/fetch_int.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"

#define PATH_LEN 512

static int path_of(const struct coll *c, char out[PATH_LEN], const char *name,
		   const char *end)
{
	int n = snprintf(out, PATH_LEN, "%s/" META_UP "/%s%s", c->kid.run_dir, name, end);

	return n > 0 && n < PATH_LEN ? 0 : -1;
}

/* Letters and digits: what a worker makes of random bytes. */
static int name_of(char out[FETCH_UP_NAME + 1], const uint8_t *text, size_t len)
{
	if (len == 0 || len > FETCH_UP_NAME)
		return -1;
	for (size_t i = 0; i < len; i++)
		if (!((text[i] >= '0' && text[i] <= '9') ||
		      (text[i] >= 'a' && text[i] <= 'z') ||
		      (text[i] >= 'A' && text[i] <= 'Z')))
			return -1;
	memcpy(out, text, len);
	out[len] = '\0';
	return 0;
}

/* Which torrent it is. -1: none. */
static int identify(const char *bytes, size_t len, struct metainfo_beside *b,
		    struct benc *info, struct lt_ids *ids, char err[ERRLEN])
{
	struct metainfo m;

	if (metainfo_split(info, b, bytes, len, err) != 0 ||
	    metainfo_read(&m, info->p, info->len, err) != 0)
		return -1;
	fetch_hashes(ids, info->p, info->len);
	ids->has_v1 = ids->has_v1 && m.has_v1;
	ids->has_v2 = ids->has_v2 && m.has_v2;
	return 0;
}

/* Which torrent it was, and what stood beside its info dict, for the worker. */
static int tell(const struct coll *c, const char *name, const uint8_t key[IH_LEN],
		const struct metainfo_beside *b, char err[ERRLEN])
{
	char path[PATH_LEN], hex[IH_HEX_LEN];
	struct buf text;
	size_t own;
	int rc = -1;

	ih_hex(hex, key);
	buf_init(&text, IH_HEX_LEN + LANE_BESIDE_MAX);
	buf_printf(&text, "%s\n", hex);
	own = text.len;
	metainfo_json_beside(&text, b);
	if (path_of(c, path, name, ".key") == 0 && text.len >= own)
		rc = file_write(path, text.p, text.failed ? own : text.len, err);
	buf_free(&text);
	return rc;
}

/* The bytes of an upload as a flight that has what it wants. */
static void land(struct coll *c, const struct shm_job *job, const char *name, char *bytes,
		 size_t len)
{
	struct metainfo_beside beside;
	char err[ERRLEN];
	struct fetch_flight *f;
	const uint8_t *key;
	struct lt_ids ids;
	struct benc info;

	if (identify(bytes, len, &beside, &info, &ids, err) != 0) {
		log_info("metadata", "an upload is no torrent: %s", err);
		stat_inc(meta_bad_uploads);
		free(bytes);
		wait_answer(c, job->token, LANE_META_BADFILE);
		return;
	}
	key = ids.has_v1 ? ids.v1 : ids.v2;
	if (tell(c, name, key, &beside, err) != 0) {
		log_warn("metadata", "an upload: %s", err);
		free(bytes);
		wait_answer(c, job->token, LANE_FAILED);
		return;
	}
	f = c->fetch->held < FETCH_HELD_MAX ? fetch_begin(c, key) : NULL;
	if (!f) {
		free(bytes);
		wait_answer(c, job->token, LANE_BUSY);
		return;
	}
	wait_for_meta(c, f, job);
	if (fetch_has(f, bytes, info.p, info.len, &ids) != 0)
		fetch_end(f, LANE_META_BADFILE);
}

void fetch_up(struct coll *c, const struct shm_job *job, const uint8_t *text)
{
	char name[FETCH_UP_NAME + 1], path[PATH_LEN], err[ERRLEN], *bytes = NULL;
	size_t len = 0;
	int rc;

	if (name_of(name, text, job->text_len) != 0 || path_of(c, path, name, "") != 0) {
		stat_inc(lane_bad);
		wait_answer(c, job->token, LANE_FAILED);
		return;
	}
	rc = file_read(path, METAINFO_MAX, &bytes, &len, err);
	(void)unlink(path);
	if (rc == 1) {
		stat_inc(meta_uploads);
		land(c, job, name, bytes, len);
		return;
	}
	log_warn("metadata", "an upload: %s", rc == 0 ? "it is gone" : err);
	wait_answer(c, job->token, LANE_FAILED);
}

/* ---- what nobody took -------------------------------------------------------------------- */

static void sweep(const struct coll *c)
{
	int64_t old_s = (int64_t)(clock_wall_ms() / 1000) - FETCH_UP_KEEP_S;
	char path[PATH_LEN];
	struct dirent *e;
	struct stat st;
	DIR *d;

	if (path_of(c, path, "", "") != 0 || !(d = opendir(path)))
		return;
	for (int i = 0; i < FETCH_UP_LOOK && (e = readdir(d)); i++)
		if (e->d_name[0] != '.' &&
		    fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISREG(st.st_mode) && st.st_mtime < old_s)
			(void)unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
}

void fetch_up_tick(struct coll *c)
{
	uint64_t now = clock_ms();

	if (now - c->fetch->swept_ms < FETCH_UP_SWEEP_MS)
		return;
	c->fetch->swept_ms = now;
	sweep(c);
}

void fetch_up_open(struct coll *c)
{
	char path[PATH_LEN];

	if (!c->kid.run_dir[0] || path_of(c, path, "", "") != 0)
		return;
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		log_warn("metadata", "%s: %s: no .torrent can be uploaded", path,
			 strerror(errno));
	sweep(c);
	c->fetch->swept_ms = clock_ms();
}
