/* metrics.c -- see metrics.h. A family is one call or one short function. */
#include "worker/metrics.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "shm/stat.h"
#include "shm/verdictjson.h"
#include "worker/health.h"
#include "worker/prom.h"
#include "worker/route.h"

#define METRICS_MAX_BYTES (1u << 20) /* some 400 KiB with 64 workers and 24 routes */

static uint32_t load(const shm_u32 *p)
{
	return atomic_load_explicit(p, memory_order_relaxed);
}

static uint64_t load64(const shm_u64 *p)
{
	return atomic_load_explicit(p, memory_order_relaxed);
}

static uint64_t ago(uint64_t now, uint64_t then)
{
	return now > then ? now - then : 0;
}

static void gauge(struct prom *p, const char *name, uint64_t v, const char *help)
{
	prom_family(p, name, PROM_GAUGE, help);
	prom_uint(p, v);
}

static void counter(struct prom *p, const char *name, uint64_t v, const char *help)
{
	prom_family(p, name, PROM_COUNTER, help);
	prom_uint(p, v);
}

/* --- the daemon and its processes ------------------------------------------------- */

static void daemon_as_such(struct prom *p, const struct worker *w)
{
	const struct shm_head *h = seg_head(w->seg);

	prom_family(p, "build_info", PROM_GAUGE, "what runs; always 1");
	prom_label(p, "version", PEERSCOPE_VERSION);
	prom_label(p, "commit", PEERSCOPE_COMMIT);
	prom_uint(p, 1);
	prom_family(p, "uptime_seconds", PROM_GAUGE, "since the daemon started");
	prom_fixed(p, ago(clock_wall_ms(), h->boot_wall_ms), 3);
	gauge(p, "generation", load(&h->generation),
	      "generation of workers that serves: each reload makes one");
	gauge(p, "draining", load(&h->draining), "1: the daemon is leaving");
	gauge(p, "workers", (uint64_t)w->kid->nworkers,
	      "worker processes of a generation");
	counter(p, "respawns_total", load(&h->respawns),
		"children started again after a death");
}

/* runs: read once, since it may come back between its row and its gauges. */
static void collector(struct prom *p, const struct worker *w, int runs)
{
	const struct shm_page *page = seg_page(w->seg, seg_dims_of(w->seg)->worker_slots);
	uint64_t beat = load64(&page->beat_ms);

	gauge(p, "collector_up", (uint64_t)runs,
	      "1: the collector lives and its loop turns; else the gauges that it sets "
	      "are not shown");
	counter(p, "collector_starts_total", load(&seg_head(w->seg)->epoch),
		"collectors started, the first one too");
	if (beat == 0)
		return; /* its first turn is yet to come */
	prom_family(p, "collector_beat_age_seconds", PROM_GAUGE,
		    "since the collector's loop turned last");
	prom_fixed(p, ago(clock_ms(), beat), 3);
}

struct process {
	const struct shm_page *page;
	const char *role;
	uint32_t slot;
	uint64_t started_ms; /* wall */
};

#define PROCESSES_MAX (KID_SLOTS + 2)

static uint32_t processes(const struct worker *w, struct process out[PROCESSES_MAX])
{
	const struct shm_head *h = seg_head(w->seg);
	uint32_t n = 0, slots = seg_dims_of(w->seg)->worker_slots;

	out[n++] = (struct process){seg_page(w->seg, slots + 2), "master", 0,
				    h->boot_wall_ms};
	for (uint32_t i = 0; i <= slots; i++) {
		const struct shm_page *page = seg_page(w->seg, i);

		if (load(&page->pid) != 0)
			out[n++] =
				(struct process){page, i < slots ? "worker" : "collector",
						 i < slots ? i : 0,
						 load64(&page->started_ms)};
	}
	return n;
}

enum use { USE_RSS, USE_CPU, USE_FDS, USE_MAX_FDS, USE_START, USE_N };

static void use_value(struct prom *p, const struct process *x, enum use use)
{
	switch (use) {
	case USE_RSS: prom_uint(p, load64(&x->page->rss_bytes)); break;
	case USE_CPU: prom_fixed(p, load64(&x->page->cpu_ms), 3); break;
	case USE_FDS: prom_uint(p, load(&x->page->fds)); break;
	case USE_MAX_FDS: prom_uint(p, load(&x->page->max_fds)); break;
	case USE_START:
	default: prom_fixed(p, x->started_ms, 3); break;
	}
}

/* A worker has the number of its slot, of which there are two per worker: a reload begins
 * the other half. */
static void process_use(struct prom *p, const struct process *x, uint32_t n)
{
	static const struct {
		const char *name;
		enum prom_type type;
		const char *help;
	} family[USE_N] = {
		{"process_resident_memory_bytes", PROM_GAUGE,
		 "resident memory of a process, the shared segment too, as it said itself"},
		{"process_cpu_seconds_total", PROM_COUNTER,
		 "time that a process has computed, in user and system mode"},
		{"process_open_fds", PROM_GAUGE, "open descriptors of a process"},
		{"process_max_fds", PROM_GAUGE, "open descriptors that it may have"},
		{"process_start_time_seconds", PROM_GAUGE,
		 "when a process started, seconds since 1970"},
	};

	for (int use = 0; use < USE_N; use++) {
		prom_family(p, family[use].name, family[use].type, family[use].help);
		for (uint32_t i = 0; i < n; i++) {
			prom_label(p, "role", x[i].role);
			prom_label_uint(p, "slot", x[i].slot);
			use_value(p, &x[i], (enum use)use);
		}
	}
}

enum lane_gauge { OF_CONNECTIONS, OF_PARKED, OF_JOBS, OF_DONE, OF_N };

static void worker_value(struct prom *p, const struct worker *w, const struct process *x,
			 enum lane_gauge of)
{
	uint32_t jobs, done;

	lane_look(w->seg, x->slot, &jobs, &done);
	prom_label_uint(p, "slot", x->slot);
	prom_uint(p, of == OF_CONNECTIONS ? load(&x->page->busy)
		     : of == OF_PARKED    ? load(&x->page->parked)
		     : of == OF_JOBS      ? jobs
					  : done);
}

static void each_worker(struct prom *p, const struct worker *w, const struct process *x,
			uint32_t n)
{
	static const struct {
		const char *name, *help;
	} family[OF_N] = {
		{"http_open_connections",
		 "connections of clients that a worker has open"},
		{"http_parked_requests",
		 "questions that wait in a worker for the collector"},
		{"lane_job_bytes", "depth of a worker's lane: bytes of jobs that the "
				   "collector has not taken"},
		{"lane_completions", "completions that a worker has not taken"},
	};

	for (int of = 0; of < OF_N; of++) {
		prom_family(p, family[of].name, PROM_GAUGE, family[of].help);
		for (uint32_t i = 0; i < n; i++)
			if (strcmp(x[i].role, "worker") == 0)
				worker_value(p, w, &x[i], (enum lane_gauge)of);
	}
	gauge(p, "lane_job_max_bytes", seg_dims_of(w->seg)->lane_bytes,
	      "jobs that a lane holds; beyond, questions are answered 503");
}

/* --- HTTP ---------------------------------------------------------------------------- */

/* Rows of one path are one route: their counts go to the first of them. */
static void join_rows(struct httpstat *st)
{
	for (uint32_t i = 2; i <= route_count(); i++)
		for (uint32_t k = 1; k < i; k++) {
			uint64_t *to = (uint64_t *)&st->route[k];
			uint64_t *from = (uint64_t *)&st->route[i];

			if (strcmp(route_pattern(i), route_pattern(k)) != 0)
				continue;
			for (size_t c = 0; c < sizeof st->route[0] / sizeof *to; c++) {
				to[c] += from[c];
				from[c] = 0;
			}
			break;
		}
}

static const char *route_name(uint32_t i)
{
	return i == 0 ? "none" : route_pattern(i);
}

static void requests(struct prom *p, const struct httpstat *st)
{
	prom_family(p, "http_requests_total", PROM_COUNTER,
		    "requests answered, by route and status code; none: at no path of "
		    "ours, or refused before they were whole");
	for (uint32_t i = 0; i <= route_count(); i++)
		for (uint32_t c = 0; c < HTTPSTAT_CODES; c++) {
			if (st->route[i].code[c] == 0)
				continue;
			prom_label(p, "route", route_name(i));
			if (httpstat_code(c))
				prom_label_uint(p, "code", (uint64_t)httpstat_code(c));
			else
				prom_label(p, "code", "other");
			prom_uint(p, st->route[i].code[c]);
		}
}

/* One that was never asked for says nothing. */
static int is_silent(const struct httpstat_route *r)
{
	for (int i = 0; i < HTTPSTAT_BUCKETS; i++)
		if (r->bucket[i])
			return 0;
	return 1;
}

static void http(struct prom *p, const struct worker *w)
{
	struct httpstat *st = calloc(1, sizeof *st);

	if (!st) {
		p->out->failed = 1;
		return;
	}
	httpstat_read(w->seg, st);
	join_rows(st);
	requests(p, st);
	prom_family(p, "http_request_duration_seconds", PROM_HISTOGRAM,
		    "from the whole request to its answer, waiting for the collector "
		    "included, sending not");
	for (uint32_t i = 0; i <= route_count(); i++)
		if (!is_silent(&st->route[i]))
			prom_times(p, "route", route_name(i), st->route[i].bucket,
				   httpstat_le_us, HTTPSTAT_BUCKETS, st->route[i].sum_us);
	free(st);
}

/* --- the table ----------------------------------------------------------------------- */

#define PHASES (SWARM_DEAD + 1)
#define STATES (PEER_CONNECTED + 1)
#define VERDICTS (VERDICT_PATH_BLOCKED + 1)

struct table {
	uint64_t phase[PHASES], peers[STATES], verdict[VERDICTS];
};

static void add_swarm(struct table *t, const struct shm_swarm *s)
{
	uint64_t spoken = (uint64_t)s->connected + s->contacted + s->tried;

	if (s->phase < PHASES)
		t->phase[s->phase]++;
	if (s->verdict < VERDICTS)
		t->verdict[s->verdict]++;
	t->peers[PEER_CONNECTED] += s->connected;
	t->peers[PEER_CONTACTED] += s->contacted;
	t->peers[PEER_TRIED] += s->tried;
	t->peers[PEER_KNOWN] += ago(s->total_peers, spoken);
}

typedef const char *name_fn(int value);

static const char *verdict_word(int value)
{
	return verdict_name((uint64_t)value);
}

static void by_word(struct prom *p, const char *name, const char *key, name_fn *word,
		    const uint64_t *v, int n, const char *help)
{
	prom_family(p, name, PROM_GAUGE, help);
	for (int i = 0; i < n; i++) {
		prom_label(p, key, word(i));
		prom_uint(p, v[i]);
	}
}

static void table(struct prom *p, const struct worker *w)
{
	uint32_t slots = seg_dims_of(w->seg)->slots;
	struct table t = {{0}, {0}, {0}};
	struct shm_swarm s;

	for (uint32_t i = 0; i < slots; i++)
		if (ptab_slot(w->ptab, i, &s) == PTAB_OK)
			add_swarm(&t, &s);
	gauge(p, "table_slots", slots, "swarms that the peer table has room for");
	gauge(p, "table_chunks", seg_dims_of(w->seg)->chunks,
	      "chunks of 16 peers that it has room for");
	by_word(p, "table_swarms", "phase", swarm_phase_name, t.phase, PHASES,
		"swarms in the peer table by phase; one with two ids counts twice");
	by_word(p, "table_peers", "state", peer_state_name, t.peers, STATES,
		"peers of the swarms in the table, by state");
	by_word(p, "table_verdicts", "verdict", verdict_word, t.verdict, VERDICTS,
		"swarms in the peer table by verdict");
}

/* --- places, and the rows of stat.h -------------------------------------------------- */

static void places(struct prom *p, const struct worker *w)
{
	static const struct {
		const char *source;
		enum stat_counter counter;
	} said[] = {{"database", STAT_geo_hits},
		    {"memory", STAT_geo_online_hits},
		    {"redis", STAT_geo_online_redis},
		    {"online", STAT_geo_online_answered}};

	prom_family(p, "geo_places_total", PROM_COUNTER,
		    "addresses whose place was found, by who knew it");
	for (size_t i = 0; i < PS_ARRAY_LEN(said); i++) {
		prom_label(p, "source", said[i].source);
		prom_uint(p, stat_total(w->seg, said[i].counter));
	}
}

/* The rule of names: seconds, and _total behind them. */
static void counter_row(struct prom *p, enum stat_counter c, uint64_t v)
{
	const char *is = stat_counters[c].name;
	int len = (int)strlen(is);
	char name[PROM_NAME_MAX];

	if (len > 3 && strcmp(is + len - 3, "_ms") == 0) {
		snprintf(name, sizeof name, "%.*s_seconds_total", len - 3, is);
		prom_family(p, name, PROM_COUNTER, stat_counters[c].help);
		prom_fixed(p, v, 3);
	} else {
		snprintf(name, sizeof name, "%s_total", is);
		counter(p, name, v, stat_counters[c].help);
	}
}

static void counters(struct prom *p, const struct worker *w)
{
	for (int i = 0; i < STAT_COUNTER_N; i++)
		if (i != STAT_http_requests) /* it has its labels above */
			counter_row(p, (enum stat_counter)i,
				    stat_total(w->seg, (enum stat_counter)i));
}

/* Without a collector nobody knows. */
static void gauges(struct prom *p, const struct worker *w)
{
	char name[PROM_NAME_MAX];

	for (int i = 0; i < STAT_GAUGE_N; i++) {
		const char *is = stat_gauges[i].name;
		size_t len = strlen(is);

		if (i == GAUGE_geo_online_left && w->conf->geo_online_daily == 0)
			continue; /* as many as we like: 0 would tell a lie */
		if (stat_is_time((enum stat_gauge)i))
			snprintf(name, sizeof name, "%.*s_timestamp_seconds",
				 (int)len - 2, is);
		else
			snprintf(name, sizeof name, "%s", is);
		gauge(p, name, stat_gauge_get(w->seg, (enum stat_gauge)i),
		      stat_gauges[i].help);
	}
}

void metrics_write(const struct worker *w, struct buf *out)
{
	struct process x[PROCESSES_MAX];
	struct prom p;
	uint32_t n = processes(w, x);
	int runs = health_collector_runs(w);

	prom_init(&p, out);
	daemon_as_such(&p, w);
	collector(&p, w, runs);
	process_use(&p, x, n);
	each_worker(&p, w, x, n);
	http(&p, w);
	table(&p, w);
	places(&p, w);
	counters(&p, w);
	if (runs)
		gauges(&p, w);
}

void metrics_get(struct ask *a)
{
	struct buf b;

	buf_init(&b, METRICS_MAX_BYTES);
	metrics_write(a->w, &b);
	if (b.failed) {
		buf_free(&b);
		http_error(a, 503, "no_memory", "There is no memory for this answer.");
		return;
	}
	a->type = PROM_TYPE;
	http_header(a, "Cache-Control", "no-store");
	http_json(a, 200, &b);
}
