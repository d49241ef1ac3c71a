/* metawait.c -- questions for metadata that wait for the collector; see metawait.h. */
#include "worker/metawait.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"
#include "shm/metajob.h"
#include "shm/metaword.h"
#include "worker/metadata.h"
#include "worker/metaserve.h"
#include "worker/park.h"

struct own {
	uint8_t key[IH_LEN];
	int is_file; /* text is the name of an upload, key is not known yet */
	size_t room; /* of http.max_uploads, as long as there is a file */
	size_t len;
	char text[]; /* the link, as magnet_write has it; with a NUL */
};

static void say(struct ask *a, enum lane_rc rc)
{
	const struct metaword *w = metaword(rc);

	http_fault(a, w->status, w->error, w->code, "%s", w->message);
}

/* --- from the cache, after all ---------------------------------------------------- */

/* Written and gone again, or damaged at once: the disk's fault. */
static void lost(struct ask *a, const uint8_t key[IH_LEN], struct magnet *link,
		 enum meta_rc rc)
{
	(void)key;
	(void)rc;
	free(link);
	http_fault(a, 503, METADATA_FAILED, "cache_unreadable",
		   "The metadata was found, but could not be read from the cache.");
}

/* Nobody said that it is there. */
static void not_there(struct ask *a, const uint8_t key[IH_LEN], struct magnet *link,
		      enum meta_rc rc)
{
	(void)key;
	(void)rc;
	free(link);
	if (worker_collector_up(a->w))
		say(a, LANE_META_NONE);
	else
		http_fault(a, 503, METADATA_FAILED, "collector_down",
			   "The collector is down; it is being started again.");
}

/* --- uploads ---------------------------------------------------------------------- */

#define UP_PATH (sizeof(((struct kid *)0)->run_dir) + 64)

static void up_path(char out[UP_PATH], const struct worker *w, const struct own *own,
		    const char *end)
{
	snprintf(out, UP_PATH, "%s/" META_UP "/%s%s", w->kid->run_dir, own->text, end);
}

/* And what the collector left for us. */
static void remove_upload(struct worker *w, struct own *own)
{
	char path[UP_PATH];

	if (!own->is_file)
		return;
	w->uploads.used -= own->room;
	own->room = 0;
	up_path(path, w, own, "");
	(void)unlink(path);
	up_path(path, w, own, ".key");
	(void)unlink(path);
}

int metawait_put(const char *path, const struct buf *body, char err[ERRLEN])
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	int rc = 0;

	if (fd < 0)
		return err_errno(err, "%s", path);
	if (file_write_all(fd, body->p, body->len) != 0)
		rc = err_errno(err, "%s", path);
	if (close(fd) != 0 && rc == 0)
		rc = err_errno(err, "%s", path);
	return rc;
}

/* NULL: err. */
static struct own *own_of_upload(struct worker *w, const struct buf *body,
				 char err[ERRLEN])
{
	struct own *own = calloc(1, sizeof *own + METAJOB_ID + 1);
	char path[UP_PATH];

	if (!own || metajob_name(own->text) != 0) {
		(void)err_errno(err, "no memory, or no random bytes");
		free(own);
		return NULL;
	}
	own->is_file = 1;
	own->len = METAJOB_ID;
	up_path(path, w, own, "");
	if (metawait_put(path, body, err) == 0)
		return own;
	remove_upload(w, own);
	free(own);
	return NULL;
}

/* Which torrent it was, by the collector's word, and what stood beside it: *beside, the
 * caller's, or NULL. */
static int read_key(const struct worker *w, struct own *own, char **beside,
		    char err[ERRLEN])
{
	char path[UP_PATH], *text = NULL;
	struct ident id;
	size_t len = 0;
	int rc = -1;

	*beside = NULL;
	up_path(path, w, own, ".key");
	if (file_read(path, IH_HEX_LEN + LANE_BESIDE_MAX, &text, &len, err) != 1)
		return err_set(err, "an upload has no key");
	if (len >= IH_HEX_LEN - 1)
		rc = ident_parse(&id, text, IH_HEX_LEN - 1, err);
	if (rc == 0) {
		memcpy(own->key, id.key, IH_LEN);
		if (len > IH_HEX_LEN + 1 && text[IH_HEX_LEN] == '{' &&
		    text[len - 1] == '}')
			*beside = strndup(text + IH_HEX_LEN, len - IH_HEX_LEN);
	}
	free(text);
	return rc;
}

static void serve_upload(struct ask *a, struct own *own)
{
	struct metaserve q = {.kind = META_JSON, .source = "upload", .missed = lost};
	char err[ERRLEN] = "an upload has half a key";

	if (read_key(a->w, own, &q.beside, err) == 0) {
		memcpy(q.key, own->key, IH_LEN);
		metaserve(a, &q);
	} else {
		log_warn("metadata", "%s", err);
		say(a, LANE_FAILED);
	}
	remove_upload(a->w, own);
	free(own);
}

/* Takes own. */
static void serve(struct ask *a, struct own *own, const char *source,
		  void (*missed)(struct ask *a, const uint8_t key[IH_LEN],
				 struct magnet *link, enum meta_rc rc))
{
	struct magnet *link = malloc(sizeof *link);
	char err[ERRLEN];

	if (link && magnet_parse(link, own->text, own->len, err) == 0) {
		struct metaserve q = {.kind = META_JSON,
				      .source = source,
				      .link = link,
				      .missed = missed};

		memcpy(q.key, own->key, IH_LEN);
		metaserve(a, &q);
	} else {
		free(link);
		metadata_no_memory(a);
	}
	free(own);
}

/* --- parked ----------------------------------------------------------------------- */

static int push(struct parked *p)
{
	const struct own *own = p->own;
	uint64_t now = clock_ms();
	struct shm_job job = {.kind = own->is_file ? JOB_META_FILE : JOB_META,
			      .token = p->token,
			      .deadline_ms = p->until_ms + METAWAIT_MARGIN_MS,
			      .text_len = (uint16_t)own->len};

	job.wait_ms = p->until_ms > now ? (uint32_t)(p->until_ms - now) : 0;
	memcpy(job.id, own->key, IH_LEN);
	gate_client(p->ask.conn, job.client);
	return lane_push(p->ask.w->lane, &job, own->text, gate_request_id(p->ask.conn));
}

static void done(struct parked *p, enum lane_rc rc, uint32_t retry_s)
{
	struct ask a = p->ask;
	struct own *own = p->own;

	a.retry_s = retry_s;
	park_end(p);
	if (rc == LANE_OK && own->is_file) {
		serve_upload(&a, own);
		return;
	}
	if (rc == LANE_OK || rc == LANE_META_REDIS) {
		serve(&a, own, rc == LANE_OK ? "dht" : "redis", lost);
		return;
	}
	remove_upload(a.w, own);
	free(own);
	say(&a, rc);
}

/* A collector that died may have written it before. */
static void late(struct parked *p)
{
	struct ask a = p->ask;
	struct own *own = p->own;

	park_end(p);
	if (own->is_file) {
		remove_upload(a.w, own);
		not_there(&a, own->key, NULL, META_MISS);
		free(own);
		return;
	}
	serve(&a, own, "disk", not_there);
}

static void release(struct parked *p)
{
	remove_upload(p->ask.w, p->own);
	free(p->own);
	p->own = NULL;
}

static struct own *own_of(const struct magnet *link)
{
	struct own *own = NULL;
	struct buf text;

	buf_init(&text, MAGNET_MAX);
	magnet_write(link, &text, MAGNET_MAX);
	if (!text.failed)
		own = calloc(1, sizeof *own + text.len + 1);
	if (own) {
		memcpy(own->key, magnet_key(link), IH_LEN);
		memcpy(own->text, text.p, text.len);
		own->len = text.len;
	}
	buf_free(&text);
	return own;
}

/* Takes own. */
static void wait_for(struct ask *a, struct own *own, uint64_t ms)
{
	static const struct parked_kind kind = {push, done, late, release};
	struct parked *p = park_take(a->w->park, a, &kind, ms + METAWAIT_MARGIN_MS);

	if (!p) {
		remove_upload(a->w, own);
		free(own);
		http_fault(a, 503, METADATA_FAILED, "busy",
			   "Too many questions are waiting already (http.max_parked).");
		return;
	}
	p->own = own;
	p->until_ms = clock_ms() + ms;
	if (park_begin(p) != 0)
		http_fault(a, 503, METADATA_FAILED, "busy",
			   "The collector has too much to do.");
}

void metawait_link(struct ask *a, struct magnet *link, uint64_t ms)
{
	struct own *own = own_of(link);

	free(link);
	if (own)
		wait_for(a, own, ms);
	else
		metadata_no_memory(a);
}

void metawait_file(struct ask *a, uint64_t ms)
{
	char err[ERRLEN];
	struct own *own = own_of_upload(a->w, &gate_request(a->conn)->body, err);

	if (own)
		own->room = gate_keep_room(a->conn);
	gate_drop_body(a->conn);
	if (own) {
		wait_for(a, own, ms);
		return;
	}
	log_warn("metadata", "an upload: %s", err);
	http_fault(a, 503, METADATA_FAILED, "upload_failed",
		   "The .torrent could not be handed to the collector.");
}
