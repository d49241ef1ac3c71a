/* health.c -- how we are; see health.h. Reads the segment, asks nobody. */
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "shm/engine.h"
#include "shm/geonote.h"
#include "shm/iface.h"
#include "shm/note.h"
#include "shm/online.h"
#include "shm/redishow.h"
#include "shm/stat.h"
#include "shm/verdictjson.h"
#include "worker/health.h"

#define HEALTH_MAX_BYTES 49152 /* eighteen notes, should each byte be escaped */
#define HEALTH_STALLED_MS 5000 /* a loop that did not turn for this long hangs */

static uint32_t load(const shm_u32 *p)
{
	return atomic_load_explicit(p, memory_order_relaxed);
}

/* "2026-01-31T12:00:00Z", or null for 0. */
static void time_of(struct json *j, const char *key, uint64_t at_s)
{
	time_t t = (time_t)at_s;
	char text[40];
	struct tm tm;

	if (at_s == 0 || !gmtime_r(&t, &tm)) {
		json_null(j, key);
		return;
	}
	strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	json_str(j, key, text);
}

static void built(struct json *j, const char *key, uint64_t at_s)
{
	if (at_s == 0) {
		json_null(j, key);
		return;
	}
	json_obj(j, key);
	time_of(j, "built", at_s);
	json_obj_end(j);
}

static void database(struct json *j, const char *name, const struct geo_note *n)
{
	json_obj(j, NULL);
	json_str(j, "name", name);
	json_str(j, "state", n->state);
	json_str_or_null(j, "type", n->type[0] ? n->type : NULL);
	time_of(j, "built", n->built_s);
	json_uint(j, "bytes", n->bytes);
	json_bool(j, "in_memory", n->in_memory);
	json_str_or_null(j, "error", n->err[0] ? n->err : NULL);
	json_obj_end(j);
}

static void databases(struct json *j, const struct worker *w)
{
	static const char *const names[PLACE_DB_MAX] = PLACE_DB_NAMES;
	struct geo_note n;
	char text[NOTE_SIZE];

	json_arr(j, "databases");
	for (int i = 0; i < PLACE_DB_MAX; i++)
		if (note_get(w->seg, geonote_of(i), text) == 0 &&
		    geonote_get(&n, text) == 0)
			database(j, names[i], &n);
	json_arr_end(j);
}

const char *health_collector(const struct worker *w)
{
	const struct shm_page *p = seg_page(w->seg, seg_head(w->seg)->dims.worker_slots);
	uint64_t beat = atomic_load_explicit(&p->beat_ms, memory_order_relaxed);

	if (!worker_collector_up(w))
		return "down";
	if (beat == 0)
		return "starting";
	return clock_ms() - beat > HEALTH_STALLED_MS ? "stalled" : "running";
}

/* One that hangs answers for nothing that its gauges say. */
int health_collector_runs(const struct worker *w)
{
	return worker_collector_up(w) && strcmp(health_collector(w), "stalled") != 0;
}

static void collector(struct json *j, const struct worker *w)
{
	const struct shm_head *h = seg_head(w->seg);
	const struct shm_page *p = seg_page(w->seg, h->dims.worker_slots);
	uint64_t now = clock_wall_ms(), started;

	started = atomic_load_explicit(&p->started_ms, memory_order_relaxed);
	json_obj(j, "collector");
	json_str(j, "state", health_collector(w));
	json_uint(j, "epoch", load(&h->epoch));
	json_uint(j, "age_s", started && now > started ? (now - started) / 1000 : 0);
	json_obj_end(j);
}

static void interface(struct json *j, const struct worker *w)
{
	enum iface_why why = stat_gauge_get(w->seg, GAUGE_interface_why);
	char text[ERRLEN];

	json_bool(j, "interface_ok", stat_gauge_get(w->seg, GAUGE_interface_ok) != 0);
	if (why == IFACE_OK) {
		json_null(j, "interface_error");
		return;
	}
	(void)err_set(text, "%s %s", w->conf->swarm_interface, iface_why_text(why));
	json_str(j, "interface_error", text);
}

static void note(struct json *j, const char *key, const struct seg *seg, enum note n)
{
	char text[NOTE_SIZE];

	json_str_or_null(j, key, note_get(seg, n, text) == 0 && text[0] ? text : NULL);
}

/* When a state began that the collector saw begin. */
static void since(struct json *j, const struct worker *w, enum stat_gauge at_s,
		  int is_off)
{
	uint64_t s = stat_gauge_get(w->seg, at_s);

	json_uint_known(j, "since", s, s != 0 && !is_off && health_collector_runs(w));
}

/* Without a collector nobody asks Gluetun: what it said last is history. */
static void vpn(struct json *j, const struct worker *w)
{
	uint64_t port = stat_gauge_get(w->seg, GAUGE_vpn_port);
	enum vpn_state state = stat_gauge_get(w->seg, GAUGE_vpn_state);

	if (state != VPN_OFF && !health_collector_runs(w))
		state = VPN_UNKNOWN;
	json_obj(j, "vpn");
	json_str(j, "state", vpn_state_name(state));
	note(j, "public_ip", w->seg, NOTE_vpn_public_ip);
	note(j, "country", w->seg, NOTE_vpn_country);
	note(j, "city", w->seg, NOTE_vpn_city);
	json_uint_known(j, "port", port, port != 0);
	json_uint(j, "port_generation", stat_total(w->seg, STAT_vpn_ports));
	since(j, w, GAUGE_vpn_since_s, state == VPN_OFF);
	note(j, "detail", w->seg, NOTE_vpn_detail);
	note(j, "role", w->seg, NOTE_vpn_role);
	json_obj_end(j);
}

/* Without a collector nobody is asked. */
static void online(struct json *j, const struct worker *w)
{
	enum online_state state = stat_gauge_get(w->seg, GAUGE_geo_online_state);

	if (state != ONLINE_OFF && !health_collector_runs(w))
		state = ONLINE_UNKNOWN;
	json_obj(j, "online");
	json_str(j, "state", online_state_name(state));
	json_uint(j, "waiting", stat_gauge_get(w->seg, GAUGE_geo_online_waiting));
	if (w->conf->geo_online_daily)
		json_uint(j, "left", stat_gauge_get(w->seg, GAUGE_geo_online_left));
	else
		json_null(j, "left");
	note(j, "error", w->seg, NOTE_geo_online_detail);
	json_obj_end(j);
}

static void gauges(struct json *j, const struct worker *w)
{
	const char *const *words = conf_words(CONF_REDIS_MODE);

	json_uint(j, "dht_nodes", stat_gauge_get(w->seg, GAUGE_dht_nodes));
	json_uint(j, "swarms", stat_gauge_get(w->seg, GAUGE_swarms));
	json_uint(j, "waiters", stat_gauge_get(w->seg, GAUGE_waiters));
	json_uint(j, "peers", stat_gauge_get(w->seg, GAUGE_peers));
	json_uint(j, "connections", stat_gauge_get(w->seg, GAUGE_connections));
	json_uint(j, "ace_open", stat_gauge_get(w->seg, GAUGE_ace_open));
	json_uint(j, "listen_port", stat_gauge_get(w->seg, GAUGE_listen_port));
	if (health_collector_runs(w))
		note(j, "listen_error", w->seg, NOTE_listen_error);
	else
		json_null(j, "listen_error");
	interface(j, w);
	json_str(j, "redis_mode", words[w->conf->redis_mode]);
	json_obj(j, "geo");
	built(j, "city", stat_gauge_get(w->seg, GAUGE_geo_city_built_s));
	built(j, "asn", stat_gauge_get(w->seg, GAUGE_geo_asn_built_s));
	databases(j, w);
	online(j, w);
	json_obj_end(j);
}

static void redis(struct json *j, const struct worker *w)
{
	static const struct {
		const char *key;
		enum stat_counter counter;
	} said[] = {{"hits", STAT_tier_hits},         {"misses", STAT_tier_misses},
		    {"bad", STAT_tier_bad},           {"late", STAT_tier_late},
		    {"errors", STAT_redis_errors},    {"skipped", STAT_redis_skipped},
		    {"lost", STAT_redis_lost},        {"claims_won", STAT_claims_won},
		    {"claims_lost", STAT_claims_lost}};

	json_obj(j, "redis");
	json_str(j, "state",
		 w->conf->redis_mode != REDIS_OFF && !health_collector_runs(w)
			 ? "unknown"
			 : redishow_name((int)stat_gauge_get(w->seg, GAUGE_redis_state)));
	for (size_t i = 0; i < PS_ARRAY_LEN(said); i++)
		json_uint(j, said[i].key, stat_total(w->seg, said[i].counter));
	json_uint(j, "claims_held", stat_gauge_get(w->seg, GAUGE_claims_held));
	if (health_collector_runs(w))
		note(j, "error", w->seg, NOTE_redis_detail);
	else
		json_null(j, "error");
	json_obj_end(j);
}

/* Without a collector nobody asks the engine: what it was is history. */
static void engine(struct json *j, const struct worker *w)
{
	uint64_t state = stat_gauge_get(w->seg, GAUGE_engine_state);

	if (state != ENGINE_OFF && !health_collector_runs(w))
		state = ENGINE_UNKNOWN;
	json_obj(j, "engine");
	json_str(j, "state", engine_state_name((int)state));
	since(j, w, GAUGE_engine_since_s, state == ENGINE_OFF);
	note(j, "error", w->seg, NOTE_engine_detail);
	json_obj_end(j);
}

void health_get(struct ask *a)
{
	const struct worker *w = a->w;
	const struct shm_head *h = seg_head(w->seg);
	uint64_t now = clock_wall_ms();
	int up = health_collector_runs(w);
	struct buf b;
	struct json j;

	buf_init(&b, HEALTH_MAX_BYTES);
	json_init(&j, &b);
	json_obj(&j, NULL);
	json_str(&j, "status", "healthy");
	json_bool(&j, "libtorrent_available",
		  up && stat_gauge_get(w->seg, GAUGE_lt_listening) != 0);
	json_bool(&j, "redis_available",
		  up && stat_gauge_get(w->seg, GAUGE_redis_up) != 0);
	json_str(&j, "version", PEERSCOPE_VERSION);
	json_uint(&j, "uptime_s",
		  now > h->boot_wall_ms ? (now - h->boot_wall_ms) / 1000 : 0);
	collector(&j, w);
	gauges(&j, w);
	vpn(&j, w);
	path_json(&j, w->seg);
	engine(&j, w);
	redis(&j, w);
	json_int(&j, "workers", w->kid->nworkers);
	json_uint(&j, "generation", w->kid->generation);
	json_obj_end(&j);
	http_header(a, "Cache-Control", "no-store");
	http_json(a, 200, &b);
}

static void say(struct ask *a, const char *status)
{
	struct buf b;
	struct json j;

	buf_init(&b, HEALTH_MAX_BYTES);
	json_init(&j, &b);
	json_obj(&j, NULL);
	json_str(&j, "status", status);
	json_obj_end(&j);
	http_header(a, "Cache-Control", "no-store");
	http_json(a, 200, &b);
}

void health_livez(struct ask *a)
{
	say(a, "alive");
}

void health_readyz(struct ask *a)
{
	const struct shm_head *h = seg_head(a->w->seg);

	/* A worker that a reload replaces drains, too, but the daemon goes on. */
	if (a->w->orphan || load(&h->draining))
		http_error(a, 503, "draining", "This server is leaving.");
	else if (h->magic != SHM_MAGIC || h->version != SHM_VERSION)
		http_error(a, 503, "no_segment", "The shared memory is unusable.");
	else
		say(a, "ready");
}
