/* metadata.c -- the routes of the metadata API; see metadata.h. */
#include "worker/metadata.h"

#include <stdlib.h>
#include <string.h>

#include "shm/stat.h"
#include "worker/health.h"
#include "worker/metaask.h"
#include "worker/metalater.h"
#include "worker/metaserve.h"
#include "worker/metawait.h"

void metadata_no_memory(struct ask *a)
{
	http_fault(a, 503, METADATA_FAILED, "no_memory",
		   "There is no memory for this request.");
}

/* --- POST /api/v1/metadata ------------------------------------------------------ */

static uint64_t wait_ms(const struct ask *a)
{
	uint64_t ms = a->w->conf->metadata_timeout_ms;

	return a->timeout_ms < ms ? a->timeout_ms : ms;
}

static void post_missed(struct ask *a, const uint8_t key[IH_LEN], struct magnet *link,
			enum meta_rc rc)
{
	(void)key;
	(void)rc; /* what could not be read here may be found again, for the other place */
	metawait_link(a, link, wait_ms(a));
}

void metadata_link(struct ask *a, struct magnet *link)
{
	struct metaserve q = {
		.kind = META_JSON,
		.source = "disk",
		.link = link,
		.missed = post_missed,
	};

	memcpy(q.key, magnet_key(link), IH_LEN);
	metaserve(a, &q);
}

int metadata_query(struct ask *a, int *async)
{
	char name[32], value[HTTP_VALUE_MAX];
	int rc;

	a->timeout_ms = UINT64_MAX;
	*async = 0;
	while ((rc = http_param(&a->query, name, value)) > 0) {
		if (strcmp(name, "timeout") == 0 &&
		    metaask_timeout(value, &a->timeout_ms) != 0) {
			http_fault(a, 400, "Invalid timeout", "bad_query",
				   "timeout is a time, as in 500 (milliseconds), 500ms, "
				   "2s or 1m, from 1 ms to a day.");
			return -1;
		}
		if (strcmp(name, "async") == 0 && metaask_flag(value, async) != 0) {
			http_fault(a, 400, "Invalid query", "bad_query",
				   "async is 1 or 0.");
			return -1;
		}
	}
	if (rc < 0)
		http_fault(a, 400, "Invalid query", "bad_query",
			   "The query has a malformed percent-escape.");
	return rc;
}

/* Takes link and webhook. */
static void post_link(struct ask *a, struct magnet *link, char *webhook, int async)
{
	if (async) {
		metalater(a, link, webhook);
		return;
	}
	if (!webhook) {
		metadata_link(a, link);
		return;
	}
	free(link);
	free(webhook);
	http_fault(a, 400, "Invalid webhook", "webhook_needs_async",
		   "webhook is only for questions with ?async=1.");
}

static void post_file(struct ask *a, int async)
{
	if (!async)
		metawait_file(a, wait_ms(a));
	else
		http_fault(a, 400, "Invalid query", "async_upload",
			   "A .torrent is read at once: async is for links.");
}

void metadata_post(struct ask *a)
{
	struct evkeyvalq *h = evhttp_request_get_input_headers(a->req);
	const struct buf *body = &gate_request(a->conn)->body;
	struct magnet *link;
	struct metaask_fault f;
	char *webhook;
	int async;

	if (metadata_query(a, &async) != 0)
		return;
	link = malloc(sizeof *link);
	if (!link) {
		metadata_no_memory(a);
		return;
	}
	switch (metaask_read(link, &webhook, evhttp_find_header(h, "Content-Type"),
			     body->p ? body->p : "", body->len, &f)) {
	case METAASK_LINK: post_link(a, link, webhook, async); return;
	case METAASK_TORRENT:
		free(link);
		post_file(a, async);
		return;
	case METAASK_BAD: http_fault(a, f.status, f.error, f.code, "%s", f.message);
	}
	free(link);
}

/* --- GET ------------------------------------------------------------------------ */

/* The key that {hash} names: 0, or -1: answered. */
static int key_of(struct ask *a, uint8_t key[IH_LEN])
{
	char err[ERRLEN];
	struct ident id;

	if (ident_parse(&id, a->part, strlen(a->part), err) != 0) {
		http_fault(a, 400, "Invalid info hash", "invalid_hash", "%s",
			   strlen(a->part) == IH_HEX_LEN - 1
				   ? err
				   : "Info hash must be 40 characters");
		return -1;
	}
	memcpy(key, id.key, IH_LEN);
	return 0;
}

static void not_cached(struct ask *a, enum meta_rc rc, const char *error,
		       const char *message)
{
	if (rc == META_FAIL)
		http_fault(a, 503, METADATA_FAILED, "cache_unreadable",
			   "The metadata cache could not be read.");
	else
		http_fault(a, 404, error, "not_cached", "%s", message);
}

static void get_missed(struct ask *a, const uint8_t key[IH_LEN], struct magnet *link,
		       enum meta_rc rc)
{
	(void)key;
	(void)link;
	not_cached(
		a, rc, "Metadata not found",
		"Nothing is cached of this torrent; POST /api/v1/metadata asks for it.");
}

void metadata_get(struct ask *a)
{
	struct metaserve q = {.kind = META_JSON, .source = "disk", .missed = get_missed};

	if (key_of(a, q.key) == 0)
		metaserve(a, &q);
}

static void download_missed(struct ask *a, const uint8_t key[IH_LEN], struct magnet *link,
			    enum meta_rc rc)
{
	(void)key;
	(void)link;
	not_cached(a, rc, "Torrent file not found",
		   "Torrent file not available in cache");
}

void metadata_download(struct ask *a)
{
	struct metaserve q = {.kind = META_TORRENT, .missed = download_missed};

	if (!a->w->conf->metadata_downloads)
		http_fault(a, 404, "Downloads disabled", "downloads_disabled",
			   "Download functionality is disabled");
	else if (key_of(a, q.key) == 0)
		metaserve(a, &q);
}

/* --- GET /api/v1/health ---------------------------------------------------------- */

#define HEALTH_BYTES \
	16384 /* two texts of the configuration, should each byte be escaped */

static void degraded(struct json *j, const struct worker *w, int runs)
{
	json_arr(j, "degraded");
	if (!runs)
		json_str(j, NULL, "collector");
	else if (w->conf->redis_mode != REDIS_OFF &&
		 !stat_gauge_get(w->seg, GAUGE_redis_up))
		json_str(j, NULL, "redis");
	if (runs && !stat_gauge_get(w->seg, GAUGE_interface_ok))
		json_str(j, NULL, "interface");
	if (runs && (stat_gauge_get(w->seg, GAUGE_meta_elsewhere) ||
		     stat_gauge_get(w->seg, GAUGE_meta_unwritable)))
		json_str(j, NULL, "cache");
	json_arr_end(j);
}

static void cache(struct json *j, const struct worker *w)
{
	json_obj(j, "cache");
	json_uint(j, "bytes", stat_gauge_get(w->seg, GAUGE_meta_bytes));
	json_uint(j, "entries", stat_gauge_get(w->seg, GAUGE_meta_entries));
	json_uint(j, "damaged", stat_total(w->seg, STAT_meta_damaged));
	json_obj_end(j);
}

void metadata_health(struct ask *a)
{
	const struct worker *w = a->w;
	int runs = health_collector_runs(w);
	const char *configured = stat_gauge_get(w->seg, GAUGE_meta_elsewhere)
					 ? ""
					 : w->conf->metadata_cache_dir;
	char dir[2048];
	struct buf b;
	struct json j;

	buf_init(&b, HEALTH_BYTES);
	json_init(&j, &b);
	json_obj(&j, NULL);
	json_str(&j, "status", "ok");
	json_obj(&j, "stats");
	json_uint(&j, "active_torrents",
		  stat_gauge_get(w->seg, GAUGE_swarms) +
			  stat_gauge_get(w->seg, GAUGE_meta_entries));
	json_uint(&j, "active_locks",
		  runs ? stat_gauge_get(w->seg, GAUGE_meta_flying) : 0);
	json_obj_end(&j);
	degraded(&j, w, runs);
	if (meta_dir(dir, sizeof dir, configured, w->kid->run_dir, 0) == 0)
		json_str(&j, "cache_dir", dir);
	json_bool(&j, "seeding_enabled", w->conf->metadata_seeding);
	json_bool(&j, "downloads_enabled", w->conf->metadata_downloads);
	cache(&j, w);
	json_str(&j, "collector", health_collector(w));
	json_uint(&j, "dht_nodes", runs ? stat_gauge_get(w->seg, GAUGE_dht_nodes) : 0);
	json_uint(&j, "queue", runs ? stat_gauge_get(w->seg, GAUGE_waiters) : 0);
	json_uint(&j, "jobs", runs ? stat_gauge_get(w->seg, GAUGE_meta_jobs_pending) : 0);
	json_str(&j, "version", PEERSCOPE_VERSION);
	json_obj_end(&j);
	http_header(a, "Cache-Control", "no-store");
	http_json(a, 200, &b);
}
