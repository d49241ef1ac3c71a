/*
 * pathwatch.c -- once a second: the verdict on the path, its gauges, and the control
 * probes. The rules are verdict.c's; this is where they meet the world.
 */
#include <string.h>

#include "collector/coll.h"
#include "common/clock.h"
#include "common/log.h"
#include "shm/verdictjson.h"

/* A time of the loop's clock as one for people; 0 stays "never". */
static uint64_t wall_s(uint64_t then_ms, uint64_t now_ms)
{
	return then_ms ? (clock_wall_ms() - (now_ms - then_ms)) / 1000 : 0;
}

static void set_times(const struct path *p, uint64_t now)
{
	stat_set(path_since_s, wall_s(p->since_ms, now));
	stat_set(path_udp_tracker_s, wall_s(p->udp_tracker_ms, now));
	stat_set(path_http_tracker_s, wall_s(p->http_tracker_ms, now));
	stat_set(path_dht_s, wall_s(p->dht_ms, now));
	stat_set(path_tcp_s, wall_s(p->tcp_out_ms, now));
	stat_set(path_utp_s, wall_s(p->utp_ms, now));
	stat_set(path_incoming_s, wall_s(p->incoming_ms, now));
	stat_set(path_failed_s, wall_s(p->failed_ms, now));
	stat_set(path_control_s, wall_s(p->control_ms, now));
}

static uint64_t control_state(const struct coll *c)
{
	if (c->control.running)
		return 3;
	if (!c->path.control_ms)
		return 0;
	return c->path.control_answered ? 1 : 2;
}

static void set_gauges(const struct coll *c, uint64_t now)
{
	const struct path *p = &c->path;

	stat_set(path, p->verdict);
	stat_set(path_cause, p->cause);
	stat_set(path_udp, p->udp_verdict);
	stat_set(path_tcp, p->tcp_verdict);
	stat_set(path_reach, path_reach(p, now));
	stat_set(path_failure, p->failure);
	stat_set(path_udp_unanswered, p->udp.unanswered);
	stat_set(path_tcp_unanswered, p->tcp.unanswered);
	stat_set(path_dht_unanswered, p->dht_unanswered);
	stat_set(path_names_failed, p->name_failures);
	stat_set(path_control, control_state(c));
	set_times(p, now);
}

/* What Gluetun says of its VPN. That nobody says anything is not that it is down. */
static enum path_vpn vpn_fact(const struct coll *c)
{
	switch (vpn_state(c->vpn)) {
	case VPN_UP: return PATH_VPN_UP;
	case VPN_DOWN:
	case VPN_DEAD_NAMESPACE: return PATH_VPN_DOWN;
	default: return PATH_VPN_NONE;
	}
}

void path_look(struct coll *c)
{
	enum path_verdict was = c->path.verdict;
	enum path_cause because = c->path.cause;

	path_facts(&c->path, net_why(c) == IFACE_OK, vpn_fact(c), c->kid.conf.swarm_dht);
	if (!path_judge(&c->path, clock_ms()))
		return;
	if (c->path.verdict != was ||
	    (c->path.cause != because && c->path.cause != PATH_CAUSE_NONE))
		log_notice("path", "%s (UDP %s, TCP %s): %s", path_name(c->path.verdict),
			   path_name(c->path.udp_verdict), path_name(c->path.tcp_verdict),
			   path_text(path_packed(&c->path)));
	set_gauges(c, clock_ms());
}

/* ---- control probes ------------------------------------------------------------- */

struct doubt {
	uint64_t now;
	int any;
};

static void look_for_doubt(struct swarm *w, void *arg)
{
	struct doubt *d = arg;

	d->any |= verdict_doubt(w, d->now);
}

static void control_begin(struct coll *c, uint64_t now)
{
	struct control *k = &c->control;
	char hex[IH_HEX_LEN];

	for (uint32_t i = 0; i < CONTROL_MAX; i++) {
		if (control_id(c->kid.conf.swarm_control, k->turn, k->id) != 0)
			return;
		k->turn++;
		if (swarms_find(c->swarms, k->id))
			continue; /* somebody asks for it: it is evidence already */
		if (!jobs_join_control(c, k->id))
			return;
		k->running = 1;
		k->began_ms = now;
		stat_inc(controls);
		ih_hex(hex, k->id);
		log_info("path", "in doubt: control swarm %s is asked", hex);
		return;
	}
}

static void control_look(struct coll *c, uint64_t now)
{
	struct control *k = &c->control;
	struct swarm *w = swarms_find(c->swarms, k->id);
	int answered;

	if (!w) {
		k->running = 0; /* it was left for another reason */
		return;
	}
	if (!control_over(k, w, now, &answered))
		return;
	control_ended(k, &c->path, answered, w->npeers, now);
	if (!answered)
		stat_inc(controls_silent);
	log_info("path", "the control swarm %s",
		 answered ? "answered" : "is silent: nobody was reached");
	if (w->control)
		jobs_leave_control(c, w);
}

void path_tick(struct coll *c)
{
	struct doubt d = {.now = clock_ms()};

	if (c->control.running)
		control_look(c, d.now);
	path_look(c);
	swarms_each(c->swarms, look_for_doubt, &d);
	if (control_wanted(&c->control, &c->path, d.any, d.now))
		control_begin(c, d.now);
	set_gauges(c, d.now);
}
