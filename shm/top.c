/*
 * top.c -- the daemon as seen from shared memory alone. See top.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "shm/lane.h"
#include "shm/ptab.h"
#include "shm/seg.h"
#include "shm/stat.h"
#include "shm/swarmjson.h"
#include "shm/top.h"
#include "shm/topscreen.h"
#include "shm/topwords.h"
#include "shm/verdictjson.h"

#define TOP_SWARMS 15
#define TOP_BYTES (1u << 20) /* ceiling of one picture */
#define TOP_PERIOD_MS 1000

struct process {
	const char *role;
	char name[40]; /* as in ps and in the log */
	uint32_t pid, gen, state, deaths, busy, parked, lane_bytes, lane_done;
	uint64_t age_ms, beat_age_ms; /* UINT64_MAX: never */
};

struct picture {
	uint64_t at_ms, wall_ms, uptime_ms;
	uint32_t version, master_pid, generation, epoch, lease_pid, draining, respawns;
	uint32_t nproc;
	struct process proc[KID_SLOTS + 3];
	uint64_t counter[STAT_COUNTER_N], gauge[STAT_GAUGE_N];
	uint32_t nswarms; /* entries of swarm[] */
	uint32_t slots, slots_used, slots_torn;
	struct shm_swarm swarm[TOP_SWARMS];
};

/* --- taking a picture --------------------------------------------------- */

/* The master's enum sup_state; shm/ may not look into master/. */
static const char *state_name(uint32_t state)
{
	static const char *const name[] = {
		"empty", "starting", "running", "draining", "killed", "cooling",
	};

	return state < PS_ARRAY_LEN(name) ? name[state] : "?";
}

static uint64_t ago(uint64_t now, uint64_t then)
{
	if (then == 0)
		return UINT64_MAX;
	return now > then ? now - then : 0;
}

static void take_process(struct picture *pic, const struct seg *seg, uint32_t i)
{
	const struct shm_page *page = seg_page(seg, i);
	uint32_t slots = seg_dims_of(seg)->worker_slots; /* two halves of all workers */
	struct process *out = &pic->proc[pic->nproc];

	memset(out, 0, sizeof(*out));
	out->pid = atomic_load(&page->pid);
	out->deaths = atomic_load(&page->deaths);
	out->state = atomic_load(&page->state);
	if (out->pid == 0 && out->state == 0)
		return; /* a slot that waits for a reload */
	out->role = i < slots ? "worker" : i == slots ? "collector" : "redis";
	out->gen = atomic_load(i < slots ? &page->generation : &page->gen);
	if (i < slots)
		snprintf(out->name, sizeof(out->name), "worker %u (gen %u)",
			 i % (slots / 2) + 1, out->gen);
	else
		snprintf(out->name, sizeof(out->name), "%s", out->role);
	if (i < slots)
		lane_look(seg, i, &out->lane_bytes, &out->lane_done);
	out->busy = atomic_load(&page->busy);
	out->parked = atomic_load(&page->parked);
	out->age_ms = ago(pic->wall_ms, atomic_load(&page->started_ms));
	out->beat_age_ms = ago(pic->at_ms, atomic_load(&page->beat_ms));
	pic->nproc++;
}

static void take_header(struct picture *pic, const struct seg *seg)
{
	const struct shm_head *h = seg_head(seg);

	pic->version = h->version;
	pic->uptime_ms = ago(pic->wall_ms, h->boot_wall_ms);
	pic->master_pid = atomic_load(&h->master_pid);
	pic->generation = atomic_load(&h->generation);
	pic->lease_pid = atomic_load(&h->lease_pid);
	pic->epoch = atomic_load(&h->epoch);
	pic->draining = atomic_load(&h->draining);
	pic->respawns = atomic_load(&h->respawns);
}

static void take_master(struct picture *pic)
{
	struct process *out = &pic->proc[pic->nproc++];

	out->role = "master";
	snprintf(out->name, sizeof(out->name), "%s", out->role);
	out->pid = pic->master_pid;
	out->state = pic->draining ? 3 : 2;
	out->age_ms = pic->uptime_ms;
	out->beat_age_ms = UINT64_MAX; /* it waits in poll: no beat */
}

static int busier(const struct shm_swarm *a, const struct shm_swarm *b)
{
	if (a->connected != b->connected)
		return a->connected > b->connected;
	if (a->total_peers != b->total_peers)
		return a->total_peers > b->total_peers;
	return a->version > b->version;
}

/* Keep the busiest, in order: an insertion into a short list. */
static void keep(struct picture *pic, const struct shm_swarm *s)
{
	uint32_t at = pic->nswarms;

	while (at > 0 && busier(s, &pic->swarm[at - 1]))
		at--;
	if (at == TOP_SWARMS)
		return;
	if (pic->nswarms < TOP_SWARMS)
		pic->nswarms++;
	memmove(&pic->swarm[at + 1], &pic->swarm[at],
		(pic->nswarms - 1 - at) * sizeof(pic->swarm[0]));
	pic->swarm[at] = *s;
}

static void take_swarms(struct picture *pic, const struct seg *seg, const struct ptab *p)
{
	struct shm_swarm s;

	pic->slots = seg_dims_of(seg)->slots;
	for (uint32_t i = 0; i < pic->slots; i++) {
		enum ptab_rc rc = ptab_slot(p, i, &s);

		pic->slots_torn += rc == PTAB_TORN;
		if (rc != PTAB_OK)
			continue;
		pic->slots_used++;
		keep(pic, &s);
	}
}

static void take_picture(struct picture *pic, const struct seg *seg, const struct ptab *p)
{
	memset(pic, 0, sizeof(*pic));
	pic->at_ms = clock_ms();
	pic->wall_ms = clock_wall_ms();
	take_header(pic, seg);
	take_master(pic);
	for (uint32_t i = 0; i < seg_dims_of(seg)->worker_slots + 2; i++)
		take_process(pic, seg, i);
	for (int i = 0; i < STAT_COUNTER_N; i++)
		pic->counter[i] = stat_total(seg, i);
	for (int i = 0; i < STAT_GAUGE_N; i++)
		pic->gauge[i] = stat_gauge_get(seg, i);
	take_swarms(pic, seg, p);
}

/* --- showing it as text ------------------------------------------------- */

static void show_head(struct buf *b, const struct picture *pic)
{
	char age[TOPWORDS_MAX];

	buf_printf(b,
		   "peerscope  layout %u  up %s  master %u  generation %u  epoch %u  "
		   "respawns %u%s%s\n",
		   pic->version, topwords_age(age, pic->uptime_ms), pic->master_pid,
		   pic->generation, pic->epoch, pic->respawns,
		   pic->lease_pid == 0 ? "  NO COLLECTOR" : "",
		   pic->draining ? "  DRAINING" : "");
	buf_str(b,
		"layout: of the segment; generation: of workers, a reload makes one; epoch: "
		"collectors so far; respawns: processes started again after a death\n");
	buf_printf(b, "path: %s  (UDP %s, TCP %s)\n\n", path_name(pic->gauge[GAUGE_path]),
		   path_name(pic->gauge[GAUGE_path_udp]),
		   path_name(pic->gauge[GAUGE_path_tcp]));
}

static void show_processes(struct buf *b, const struct picture *pic)
{
	buf_printf(b, "%-18s %7s %-9s %6s %6s %6s %6s %6s %6s\n", "process", "pid",
		   "state", "age", "beat", "busy", "parked", "lane", "deaths");
	for (uint32_t i = 0; i < pic->nproc; i++) {
		const struct process *p = &pic->proc[i];
		char age[TOPWORDS_MAX], beat[TOPWORDS_MAX];

		buf_printf(b, "%-18s %7u %-9s %6s %6s %6u %6u %6u %6u\n", p->name, p->pid,
			   state_name(p->state), topwords_age(age, p->age_ms),
			   topwords_age(beat, p->beat_age_ms), p->busy, p->parked,
			   p->lane_bytes, p->deaths);
	}
	buf_str(b, "age: since it started; beat: since its loop turned last; busy: "
		   "connections (worker), swarms (collector); parked: questions that "
		   "wait; lane: bytes of jobs that the collector has not taken; deaths: "
		   "of all that had this name\n\n");
}

static void show_gauges(struct buf *b, const struct picture *pic)
{
	char word[TOPWORDS_MAX], help[128];

	buf_str(b, "how it is, as the collector said last:\n");
	for (int i = 0; i < STAT_GAUGE_N; i++)
		buf_printf(b, "%-24s %14s            %s\n", stat_gauges[i].name,
			   topwords_gauge(word, i, pic->gauge[i], pic->wall_ms),
			   topwords_help(help, i));
	buf_str(b, "\n");
}

/* Only what ever happened; the rate is since the picture before. */
static void show_counters(struct buf *b, const struct picture *pic,
			  const struct picture *was)
{
	uint64_t ms =
		was != NULL && pic->at_ms > was->at_ms ? pic->at_ms - was->at_ms : 0;

	buf_str(b,
		"what happened since the daemon started, and how often a second now:\n");
	for (int i = 0; i < STAT_COUNTER_N; i++) {
		uint64_t now = pic->counter[i];

		if (now == 0)
			continue;
		buf_printf(b, "%-24s %14" PRIu64, stat_counters[i].name, now);
		if (ms > 0 && now >= was->counter[i])
			buf_printf(b, " %8.1f/s",
				   (double)(now - was->counter[i]) * 1000 / (double)ms);
		else
			buf_str(b, "           ");
		buf_printf(b, " %s\n", stat_counters[i].help);
	}
	buf_str(b, "\n");
}

static void show_swarms(struct buf *b, const struct picture *pic)
{
	buf_printf(b, "swarms: %u of %u slots%s; the busiest:\n", pic->slots_used,
		   pic->slots, pic->slots_torn > 0 ? ", some being written" : "");
	buf_str(b,
		"peers: known of; connected: now; reached: that, or shook hands lately; "
		"age: of what is served of it\n");
	buf_printf(b, "%-40s %-10s %-10s %-12s %8s %9s %7s %7s\n", "infohash", "protocol",
		   "phase", "verdict", "peers", "connected", "reached", "age");
	for (uint32_t i = 0; i < pic->nswarms; i++) {
		const struct shm_swarm *s = &pic->swarm[i];
		const char *protocol = swarm_spoken_name(s);
		char hex[IH_HEX_LEN], age[TOPWORDS_MAX];

		ih_hex(hex, s->id);
		buf_printf(b, "%-40s %-10s %-10s %-12s %8u %9u %7u %7s\n", hex,
			   protocol != NULL ? protocol : "-", swarm_phase_name(s->phase),
			   verdict_name(s->verdict), s->total_peers, s->connected,
			   s->reached,
			   topwords_age(age, ago(pic->wall_ms, s->cached_at_ms)));
	}
}

static void show_text(struct buf *b, const struct picture *pic, const struct picture *was)
{
	show_head(b, pic);
	show_processes(b, pic);
	show_swarms(b, pic);
	buf_str(b, "\n");
	show_counters(b, pic, was);
	show_gauges(b, pic);
}

/* --- and as JSON -------------------------------------------------------- */

static void json_age(struct json *j, const char *key, uint64_t ms)
{
	json_uint_known(j, key, ms, ms != UINT64_MAX);
}

static void json_processes(struct json *j, const struct picture *pic)
{
	json_arr(j, "processes");
	for (uint32_t i = 0; i < pic->nproc; i++) {
		const struct process *p = &pic->proc[i];

		json_obj(j, NULL);
		json_str(j, "role", p->role);
		json_str(j, "name", p->name);
		json_uint(j, "pid", p->pid);
		json_str(j, "state", state_name(p->state));
		json_uint(j, "gen", p->gen);
		json_age(j, "age_ms", p->age_ms);
		json_age(j, "beat_age_ms", p->beat_age_ms);
		json_uint(j, "busy", p->busy);
		json_uint(j, "parked", p->parked);
		json_uint(j, "deaths", p->deaths);
		json_uint(j, "lane_bytes", p->lane_bytes);
		json_uint(j, "lane_completions", p->lane_done);
		json_obj_end(j);
	}
	json_arr_end(j);
}

static void json_numbers(struct json *j, const char *key, const struct stat_meta *meta,
			 const uint64_t *value, int n)
{
	json_obj(j, key);
	for (int i = 0; i < n; i++)
		json_uint(j, meta[i].name, value[i]);
	json_obj_end(j);
}

static void json_swarms(struct json *j, const struct picture *pic)
{
	json_obj(j, "table");
	json_uint(j, "slots", pic->slots);
	json_uint(j, "used", pic->slots_used);
	json_uint(j, "torn", pic->slots_torn);
	json_obj_end(j);
	json_arr(j, "swarms");
	for (uint32_t i = 0; i < pic->nswarms; i++) {
		const struct shm_swarm *s = &pic->swarm[i];
		char hex[IH_HEX_LEN];

		ih_hex(hex, s->id);
		json_obj(j, NULL);
		json_str(j, "infohash", hex);
		json_str_or_null(j, "protocol", swarm_spoken_name(s));
		json_str(j, "phase", swarm_phase_name(s->phase));
		json_str(j, "verdict", verdict_name(s->verdict));
		json_uint(j, "peers", s->total_peers);
		json_uint(j, "connected", s->connected);
		json_uint(j, "reached", s->reached);
		json_age(j, "age_ms", ago(pic->wall_ms, s->cached_at_ms));
		json_obj_end(j);
	}
	json_arr_end(j);
}

static void show_json(struct buf *b, const struct picture *pic)
{
	struct json j;

	json_init(&j, b);
	json_obj(&j, NULL);
	json_uint(&j, "layout", pic->version);
	json_age(&j, "uptime_ms", pic->uptime_ms);
	json_uint(&j, "master_pid", pic->master_pid);
	json_uint(&j, "generation", pic->generation);
	json_uint(&j, "epoch", pic->epoch);
	json_uint(&j, "collector_pid", pic->lease_pid);
	json_bool(&j, "draining", pic->draining != 0);
	json_uint(&j, "respawns", pic->respawns);
	json_processes(&j, pic);
	json_numbers(&j, "counters", stat_counters, pic->counter, STAT_COUNTER_N);
	json_numbers(&j, "gauges", stat_gauges, pic->gauge, STAT_GAUGE_N);
	json_swarms(&j, pic);
	json_obj_end(&j);
	buf_str(b, "\n");
}

/* --- the loop ----------------------------------------------------------- */

static int show(const struct picture *pic, const struct picture *was, int as_json,
		struct topscreen *screen, struct buf *b, char err[ERRLEN])
{
	buf_reset(b);
	if (as_json)
		show_json(b, pic);
	else
		show_text(b, pic, was);
	if (b->failed)
		return err_set(err, "top: out of memory");
	if (topscreen_show(screen, b) != 0)
		return err_errno(err, "top: write");
	return 0;
}

/* 0: the name is what we look at. Else -1: nobody's, or that of another one. */
static int still_there(const char *name, const struct seg *ours, char err[ERRLEN])
{
	struct seg *seg;
	int same;

	if (seg_view(&seg, name, err) != 0)
		return -1;
	same = seg_head(seg)->seed == seg_head(ours)->seed;
	seg_close(&seg);
	if (same)
		return 0;
	return err_set(err,
		       "%s is another segment now: the daemon was upgraded, or "
		       "started again; so start top again",
		       name);
}

/*
 * A master that leaves takes the name along; one that was killed leaves all as it
 * was, states and beats included. The lock is looked at first: a daemon that leaves
 * between the two questions has given up the name already.
 */
static int look_alive(const char *name, const struct seg *seg, char err[ERRLEN])
{
	int owned = seg_owned(seg);

	if (still_there(name, seg, err) != 0)
		return -1;
	if (!owned)
		return err_set(err,
			       "the daemon of this segment is dead (%s, its master was "
			       "pid %u)",
			       name, atomic_load(&seg_head(seg)->master_pid));
	return 0;
}

/* Shown until its time is over, again whenever the user moves. */
static int show_while(const struct picture *pic, const struct picture *was, int as_json,
		      int once, struct topscreen *screen, struct buf *b, char err[ERRLEN])
{
	enum topscreen_rc rc;

	do {
		if (show(pic, was, as_json, screen, b, err) != 0)
			return -1;
		if (once)
			return 1;
		rc = topscreen_wait(screen, pic->at_ms + TOP_PERIOD_MS);
	} while (rc == TOPSCREEN_MOVED);
	return rc == TOPSCREEN_LEAVE;
}

static int top_loop(const char *name, const struct seg *seg, const struct ptab *p,
		    int once, int as_json, FILE *out, char err[ERRLEN])
{
	struct picture *pic = calloc(2, sizeof(*pic)), *was = NULL;
	struct topscreen screen = {.out = out};
	struct buf b;
	int rc, turn = 0;

	if (pic == NULL)
		return err_set(err, "top: out of memory");
	buf_init(&b, TOP_BYTES);
	if (!once)
		topscreen_enter(&screen, out);
	screen.tty_out &= !as_json;
	for (;; was = &pic[turn], turn = 1 - turn) {
		rc = look_alive(name, seg, err);
		if (rc != 0)
			break;
		take_picture(&pic[turn], seg, p);
		rc = show_while(&pic[turn], was, as_json, once, &screen, &b, err);
		if (rc != 0)
			break;
	}
	topscreen_leave(&screen);
	buf_free(&b);
	free(pic);
	return rc < 0 ? -1 : 0;
}

int top_run(const char *shm_name, int once, int as_json, FILE *out, char err[ERRLEN])
{
	struct ptab *p = NULL;
	struct seg *seg;
	int rc;

	if (seg_view(&seg, shm_name, err) != 0)
		return -1;
	rc = ptab_open(&p, seg, SEG_VIEWER, err);
	if (rc == 0)
		rc = top_loop(shm_name, seg, p, once, as_json, out, err);
	ptab_close(&p);
	seg_close(&seg);
	return rc;
}
