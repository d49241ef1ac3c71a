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
#include "common/log.h"

int fetch_up_path(const struct coll *c, char out[METAREAD_PATH], const char *name,
		  const char *end)
{
	int n = snprintf(out, METAREAD_PATH, "%s/" META_UP "/%s%s", c->kid.run_dir, name,
			 end);

	return n > 0 && n < METAREAD_PATH ? 0 : -1;
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

/* LANE_OK: it may have its turn. Reading it is work, whoever sent it. */
static enum lane_rc admit(struct coll *c, const struct shm_job *job, uint32_t *retry_s)
{
	if (!fetch_read_room(c)) {
		stat_inc(meta_uploads_full);
		return LANE_BUSY;
	}
	*retry_s = jobs_cold_s(c, job);
	return *retry_s ? LANE_LIMITED : LANE_OK;
}

void fetch_up(struct coll *c, const struct shm_job *job, const uint8_t *text)
{
	char name[FETCH_UP_NAME + 1], path[METAREAD_PATH];
	struct fetch_flight *f = NULL;
	uint32_t retry_s = 0;
	enum lane_rc rc;

	if (name_of(name, text, job->text_len) != 0 ||
	    fetch_up_path(c, path, name, ".key") != 0) {
		stat_inc(lane_bad);
		wait_answer(c, job->token, LANE_FAILED);
		return;
	}
	rc = admit(c, job, &retry_s);
	if (rc == LANE_OK && !(f = fetch_new(c)))
		rc = LANE_FAILED;
	if (!f) {
		wait_answer_in(c, job->token, rc, retry_s); /* its worker removes it */
		return;
	}
	memcpy(f->up, name, sizeof(name));
	wait_for_meta(c, f, job);
	fetch_read_up(f);
}

void fetch_up_end(const struct fetch_flight *f, enum lane_rc rc)
{
	int heard = wait_is_for_meta(f->c, f);
	char path[METAREAD_PATH];

	wait_answer_meta(f->c, f, rc);
	if (fetch_up_path(f->c, path, f->up, "") == 0)
		(void)unlink(path);
	/* What says which one it was is the worker's. If he left, he doesn't know of it. */
	if (!heard && fetch_up_path(f->c, path, f->up, ".key") == 0)
		(void)unlink(path);
}

/* ---- what nobody took -------------------------------------------------------------------- */

static void sweep(const struct coll *c)
{
	int64_t old_s = (int64_t)(clock_wall_ms() / 1000) - FETCH_UP_KEEP_S;
	char path[METAREAD_PATH];
	struct dirent *e;
	struct stat st;
	DIR *d;

	if (fetch_up_path(c, path, "", "") != 0 || !(d = opendir(path)))
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
	char path[METAREAD_PATH];

	if (!c->kid.run_dir[0] || fetch_up_path(c, path, "", "") != 0)
		return;
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		log_warn("metadata", "%s: %s: no .torrent can be uploaded", path,
			 strerror(errno));
	sweep(c);
	c->fetch->swept_ms = clock_ms();
}
