/*
 * verdict.c -- see verdict.h.
 */
#include "collector/verdict.h"

#include <string.h>

#include "common/ident.h"

/* ---- evidence about the path ---------------------------------------------- */

static int within(uint64_t then_ms, uint64_t now_ms, uint64_t span_ms)
{
	return then_ms != 0 && now_ms - then_ms < span_ms;
}

static struct path_side *side_of(struct path *p, uint32_t tracker)
{
	return tracker & LT_TRACKER_UDP ? &p->udp : &p->tcp;
}

/* Packets come and go: what was not answered before says nothing any more. */
static void side_answered(struct path *p, uint32_t bit, uint64_t now_ms)
{
	struct path_side *s = side_of(p, bit);

	s->answer_ms = now_ms;
	s->unanswered = 0;
	for (uint32_t i = 0; i < PATH_TRACKERS; i++)
		if ((p->tracker[i].hash & LT_TRACKER_UDP) == bit)
			p->tracker[i].since_ms = 0;
}

static void udp_answered(struct path *p, uint64_t now_ms)
{
	side_answered(p, LT_TRACKER_UDP, now_ms);
	p->dht_unanswered = 0;
	p->dht_asked_ms = 0;
}

static void tcp_answered(struct path *p, uint64_t now_ms)
{
	side_answered(p, 0, now_ms);
	p->dials = p->nswarms = 0;
}

/* The entry of a tracker, made if it is new. A full table is that of an earlier
 * configuration: the place is taken over. */
static struct path_tracker *tracker_of(struct path *p, uint32_t hash)
{
	struct path_tracker *t = &p->tracker[(hash >> 1) % PATH_TRACKERS];

	for (uint32_t i = 0; i < PATH_TRACKERS; i++)
		if (p->tracker[i].hash == hash)
			return &p->tracker[i];
	for (uint32_t i = 0; i < PATH_TRACKERS && t->hash; i++)
		if (!p->tracker[i].hash)
			t = &p->tracker[i];
	memset(t, 0, sizeof(*t));
	t->hash = hash;
	return t;
}

static void tracker_asked(struct path *p, uint32_t hash, uint64_t now_ms)
{
	struct path_tracker *t = tracker_of(p, hash);

	side_of(p, hash)->unanswered++;
	if (!t->since_ms)
		t->since_ms = now_ms;
}

static void tracker_answered(struct path *p, uint32_t hash, uint64_t now_ms)
{
	struct path_tracker *t = tracker_of(p, hash);

	p->name_failures = 0;
	t->dead = t->unnamed = 0;
	if (hash & LT_TRACKER_UDP) {
		p->udp_tracker_ms = now_ms;
		udp_answered(p, now_ms);
	} else {
		p->http_tracker_ms = now_ms;
		tcp_answered(p, now_ms);
	}
}

/* Who refuses is not silent, but a firewall may do it too: it counts for neither side.
 * Nor does garbage: a captive portal answers for everybody. */
static void tracker_failed(struct path *p, const struct lt_event *e, uint64_t now_ms)
{
	struct path_tracker *t = tracker_of(p, e->tracker);

	p->failed_ms = now_ms;
	p->failure = (enum lt_failure)e->n;
	t->unnamed = p->failure == LT_FAIL_NAME;
	if (p->failure == LT_FAIL_ANSWERED)
		tracker_answered(p, e->tracker, now_ms);
	else if (p->failure == LT_FAIL_REFUSED || p->failure == LT_FAIL_GARBLED)
		t->since_ms = 0;
	else if (t->since_ms == 0)
		t->dead = 1; /* others answered since it was asked */
	if (p->failure == LT_FAIL_NAME)
		p->name_failures++;
}

/* A peer over uTP that does not answer may be behind NAT or not speak it: only TCP
 * attempts, which every peer should take, can make silence; each peer counts once. */
static void dialled(struct path *p, const struct lt_event *e, uint64_t now_ms)
{
	uint32_t i;

	if (e->way != LT_WAY_PLAIN)
		return;
	p->tcp.unanswered++;
	if (p->dials++ == 0)
		p->dial_ms = now_ms;
	for (i = 0; i < p->nswarms && memcmp(p->swarm[i], e->id, IH_LEN) != 0; i++)
		;
	if (i == p->nswarms && i < PATH_SWARMS)
		memcpy(p->swarm[p->nswarms++], e->id, IH_LEN);
}

static void shook(struct path *p, const struct lt_event *e, uint64_t now_ms)
{
	p->reached_ms = now_ms;
	if (e->incoming)
		p->incoming_ms = now_ms;
	if (e->flags & PEER_F_UTP) {
		p->utp_ms = now_ms;
		udp_answered(p, now_ms);
		return;
	}
	if (!e->incoming)
		p->tcp_out_ms = now_ms;
	tcp_answered(p, now_ms);
}

/* A peer that sends is as good a proof as one that shakes hands. */
static void told(struct path *p, const struct lt_event *e, uint64_t now_ms)
{
	if (e->down_rate == 0)
		return;
	p->reached_ms = now_ms;
	if (e->flags & PEER_F_UTP)
		udp_answered(p, now_ms);
	else
		tcp_answered(p, now_ms);
}

/* The transport stood, though the peer then said nothing. */
static void gone(struct path *p, const struct lt_event *e, uint64_t now_ms)
{
	if (e->connected && lt_transport(e->way) == LT_WAY_UTP)
		udp_answered(p, now_ms);
	else if (e->connected)
		tcp_answered(p, now_ms);
}

/* Counters of the session only rise, but for a new session. */
static void dht_counted(struct path *p, const struct lt_event *e, uint64_t now_ms)
{
	p->dht_nodes = e->n > 0 ? (uint32_t)e->n : 0;
	if (e->down_rate > p->dht_in) {
		p->dht_ms = now_ms;
		udp_answered(p, now_ms);
	} else if (e->pieces > p->dht_out && e->down_rate == p->dht_in) {
		p->dht_unanswered += e->pieces - p->dht_out;
		if (!p->dht_asked_ms)
			p->dht_asked_ms = now_ms;
	}
	p->dht_in = e->down_rate;
	p->dht_out = e->pieces;
}

void path_event(struct path *p, const struct lt_event *e, uint64_t now_ms)
{
	switch (e->kind) {
	case LT_TRACKER_ASKED: tracker_asked(p, e->tracker, now_ms); break;
	case LT_TRACKER_OK: tracker_answered(p, e->tracker, now_ms); break;
	case LT_TRACKER_FAILED: tracker_failed(p, e, now_ms); break;
	case LT_PEER_DIALLED: dialled(p, e, now_ms); break;
	case LT_PEER_HANDSHAKE: shook(p, e, now_ms); break;
	case LT_PEER_TOLD: told(p, e, now_ms); break;
	case LT_PEER_GONE: gone(p, e, now_ms); break;
	case LT_DHT_REPLY:
	case LT_DHT_FOUND:
		p->dht_ms = now_ms;
		udp_answered(p, now_ms);
		break;
	case LT_STATS: dht_counted(p, e, now_ms); break;
	default: break;
	}
}

void path_anew(struct path *p)
{
	memset(&p->udp, 0, sizeof(p->udp));
	memset(&p->tcp, 0, sizeof(p->tcp));
	memset(p->tracker, 0, sizeof(p->tracker));
	p->dials = p->nswarms = p->name_failures = p->dht_unanswered = 0;
	p->dht_asked_ms = p->reached_ms = p->incoming_ms = p->control_ms = 0;
}

void path_facts(struct path *p, int there, enum path_vpn vpn, int dht)
{
	if (there != p->interface_there || dht != p->dht ||
	    (vpn == PATH_VPN_DOWN) != (p->vpn == PATH_VPN_DOWN))
		path_anew(p);
	p->interface_there = there;
	p->vpn = vpn;
	p->dht = dht;
}

/* ---- the path's verdict ---------------------------------------------------- */

static int is_silent(const struct path_tracker *t, uint64_t now_ms)
{
	return t->since_ms && !t->dead && now_ms - t->since_ms >= PATH_SILENT_MS;
}

static unsigned silent_trackers(const struct path *p, uint32_t bit, uint64_t now_ms)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < PATH_TRACKERS; i++) {
		const struct path_tracker *t = &p->tracker[i];

		n += (t->hash & LT_TRACKER_UDP) == bit && is_silent(t, now_ms);
	}
	return n;
}

/* 1: a control swarm found nobody since this side answered last. */
static int control_failed(const struct path *p, const struct path_side *s)
{
	return p->control_ms != 0 && !p->control_answered && p->control_ms > s->answer_ms;
}

/* A control swarm of which nobody was even heard was failed by its sources. */
static unsigned udp_silence(const struct path *p, uint64_t now_ms)
{
	unsigned weight = silent_trackers(p, LT_TRACKER_UDP, now_ms);

	if (p->dht && p->dht_unanswered && now_ms - p->dht_asked_ms >= PATH_SILENT_MS)
		weight += p->dht_nodes ? 2 : 1;
	if (weight && control_failed(p, &p->udp) && p->control_known == 0)
		weight += 2;
	return weight;
}

static unsigned tcp_silence(const struct path *p, uint64_t now_ms)
{
	unsigned weight = silent_trackers(p, 0, now_ms);

	if (p->dials >= PATH_DIALS && now_ms - p->dial_ms >= PATH_SILENT_MS)
		weight += p->nswarms < 2                                          ? 1
			  : p->nswarms < PATH_SWARMS || p->dials < 4 * PATH_DIALS ? 2
										  : 3;
	if (p->dials && control_failed(p, &p->tcp) && p->control_known > 0)
		weight += 2;
	return weight;
}

static enum path_verdict side_verdict(const struct path_side *s, unsigned silence,
				      int other_open, uint64_t now_ms)
{
	if (silence >= (other_open ? 3u : 2u))
		return PATH_BLOCKED;
	return within(s->answer_ms, now_ms, PATH_FRESH_MS) ? PATH_OPEN : PATH_UNKNOWN;
}

static void judge_sides(struct path *p, uint64_t now_ms)
{
	unsigned udp = udp_silence(p, now_ms), tcp = tcp_silence(p, now_ms);
	int udp_open = udp < 2 && within(p->udp.answer_ms, now_ms, PATH_FRESH_MS);
	int tcp_open = tcp < 2 && within(p->tcp.answer_ms, now_ms, PATH_FRESH_MS);

	p->udp_verdict = side_verdict(&p->udp, udp, tcp_open, now_ms);
	p->tcp_verdict = side_verdict(&p->tcp, tcp, udp_open, now_ms);
}

/* Who reached a peer has what swarms need, though a part be blocked. */
static enum path_verdict overall(const struct path *p, uint64_t now_ms)
{
	if (!p->interface_there || p->vpn == PATH_VPN_DOWN)
		return PATH_DOWN;
	if (within(p->reached_ms, now_ms, PATH_FRESH_MS) &&
	    (p->udp_verdict == PATH_OPEN || p->tcp_verdict == PATH_OPEN))
		return PATH_OPEN;
	if (p->udp_verdict == PATH_BLOCKED || p->tcp_verdict == PATH_BLOCKED)
		return PATH_BLOCKED;
	if (p->udp_verdict == PATH_OPEN || p->tcp_verdict == PATH_OPEN)
		return PATH_OPEN;
	return PATH_UNKNOWN;
}

/* 1: all that is silent is trackers whose name is not found. A DHT that knows nobody is
 * no witness: the names of its routers were not found either. */
static int only_names_fail(const struct path *p, uint64_t now_ms)
{
	unsigned n = 0;

	if (p->dials >= PATH_DIALS || (p->dht_nodes && p->dht_unanswered))
		return 0;
	for (uint32_t i = 0; i < PATH_TRACKERS; i++) {
		if (!is_silent(&p->tracker[i], now_ms))
			continue;
		if (!p->tracker[i].unnamed)
			return 0;
		n++;
	}
	return n > 0;
}

static enum path_cause cause_of(const struct path *p, uint64_t now_ms)
{
	switch (p->verdict) {
	case PATH_DOWN: return p->interface_there ? PATH_CAUSE_VPN : PATH_CAUSE_INTERFACE;
	case PATH_OPEN: return PATH_CAUSE_NONE;
	default: return only_names_fail(p, now_ms) ? PATH_CAUSE_NAMES : PATH_CAUSE_NONE;
	}
}

int path_judge(struct path *p, uint64_t now_ms)
{
	enum path_verdict was = p->verdict;
	uint8_t before = path_packed(p);

	judge_sides(p, now_ms);
	p->verdict = overall(p, now_ms);
	p->cause = cause_of(p, now_ms);
	if (p->verdict != was || p->since_ms == 0)
		p->since_ms = now_ms;
	return path_packed(p) != before;
}

uint8_t path_packed(const struct path *p)
{
	return (uint8_t)(PATH_PACK(p->verdict, p->udp_verdict, p->tcp_verdict) |
			 PATH_BECAUSE(p->cause));
}

enum path_reach path_reach(const struct path *p, uint64_t now_ms)
{
	if (p->verdict == PATH_BLOCKED || p->verdict == PATH_DOWN)
		return REACH_DISCONNECTED;
	if (within(p->incoming_ms, now_ms, PATH_CALLERS_MS))
		return REACH_CONNECTED;
	if (within(p->reached_ms, now_ms, PATH_FRESH_MS) &&
	    now_ms - p->since_ms >= PATH_CALLERS_MS)
		return REACH_FIREWALLED;
	return REACH_UNKNOWN;
}

/* ---- the verdict on a swarm ------------------------------------------------- */

uint32_t verdict_reached(const struct swarm *w, uint64_t now_ms, uint64_t *last_ms)
{
	uint32_t n = 0;

	*last_ms = 0;
	for (uint32_t i = 0; i < w->npeers; i++) {
		const struct peer *p = &w->peer[i];

		n += !p->ace.twin && (p->state == PEER_CONNECTED ||
				      within(p->shaken_ms, now_ms, VERDICT_LATELY_MS) ||
				      swarm_ace_reached(w, p, now_ms));
		if (p->shaken_ms > *last_ms)
			*last_ms = p->shaken_ms;
		if (p->ace.shaken_ms > *last_ms)
			*last_ms = p->ace.shaken_ms;
	}
	return n;
}

/* An attempt was made, in this life or in an earlier one. */
static uint32_t dialled_peers(const struct swarm *w)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < w->npeers; i++)
		n += w->peer[i].state != PEER_KNOWN;
	return n;
}

static int a_source_answered(const struct swarm *w)
{
	for (uint32_t i = 0; i < w->ntrackers; i++)
		if (w->tracker[i].ok)
			return 1;
	return w->dht_at_s != 0 || w->ace.answered;
}

/* A tracker is silent, but not for long enough to say whether the path is to blame; and
 * nothing else has come through on its side. */
static int silence_is_undecided(const struct path *p, uint64_t now_ms)
{
	for (uint32_t i = 0; i < PATH_TRACKERS; i++) {
		const struct path_tracker *t = &p->tracker[i];
		enum path_verdict side =
			t->hash & LT_TRACKER_UDP ? p->udp_verdict : p->tcp_verdict;

		if (side != PATH_OPEN && t->since_ms && !t->dead && !is_silent(t, now_ms))
			return 1;
	}
	return 0;
}

/* Nobody was reached, and the way there is not blocked: is it the stream, then? */
static enum swarm_verdict nobody(const struct path *p, const struct swarm *w,
				 uint64_t now_ms)
{
	if (!w->round_done)
		return VERDICT_UNKNOWN;
	if (w->npeers)
		return dialled_peers(w) == w->npeers ||
				       now_ms - w->joined_ms >= VERDICT_DIAL_MS
			       ? VERDICT_THIN
			       : VERDICT_UNKNOWN;
	if (p->verdict == PATH_OPEN && swarm_phase(w, now_ms) >= SWARM_SETTLED &&
	    a_source_answered(w) && !silence_is_undecided(p, now_ms))
		return VERDICT_DEAD;
	return VERDICT_UNKNOWN;
}

/* What this swarm needs is blocked, though another one may have what it needs: sources
 * if it knows nobody, peers if it does. */
static int needs_are_blocked(const struct path *p, const struct swarm *w)
{
	if (p->verdict == PATH_BLOCKED || p->verdict == PATH_DOWN)
		return 1;
	if (w->npeers)
		return p->tcp_verdict == PATH_BLOCKED;
	return p->udp_verdict == PATH_BLOCKED || p->tcp_verdict == PATH_BLOCKED;
}

enum swarm_verdict verdict_of(const struct path *p, const struct swarm *w,
			      uint64_t now_ms)
{
	uint64_t last_ms;
	uint32_t reached = verdict_reached(w, now_ms, &last_ms), dialled;

	if (p->verdict == PATH_DOWN ||
	    (p->verdict == PATH_BLOCKED && last_ms < p->since_ms))
		return VERDICT_PATH_BLOCKED;
	if (reached == 0)
		return needs_are_blocked(p, w) ? VERDICT_PATH_BLOCKED
					       : nobody(p, w, now_ms);
	dialled = dialled_peers(w);
	return dialled >= VERDICT_THIN_MIN && reached * VERDICT_THIN_OF < dialled
		       ? VERDICT_THIN
		       : VERDICT_ALIVE;
}

void verdict_swarm(const struct path *p, const struct swarm *w, uint64_t now_ms,
		   struct shm_swarm *head)
{
	uint64_t last_ms;

	head->verdict = (uint8_t)verdict_of(p, w, now_ms);
	head->path = path_packed(p);
	head->reached = verdict_reached(w, now_ms, &last_ms);
}

/* ---- control probes ----------------------------------------------------------- */

int verdict_doubt(const struct swarm *w, uint64_t now_ms)
{
	uint64_t last_ms;

	return !w->control && w->round_done && verdict_reached(w, now_ms, &last_ms) == 0;
}

int control_wanted(const struct control *k, const struct path *p, int doubt,
		   uint64_t now_ms)
{
	if (!doubt || k->running || p->verdict == PATH_DOWN)
		return 0;
	if (within(k->began_ms, now_ms, CONTROL_GAP_MS))
		return 0;
	return !within(p->reached_ms, now_ms, CONTROL_PROOF_MS);
}

int control_id(const char *list, uint32_t turn, uint8_t out[IH_LEN])
{
	struct ident id[CONTROL_MAX];
	char item[IDENT_TEXT_MAX + 2], err[ERRLEN];
	uint32_t n = 0;

	while (n < CONTROL_MAX && (list = conf_list_next(list, item, sizeof(item))))
		if (item[0] && ident_parse(&id[n], item, strlen(item), err) == 0)
			n++;
	if (n == 0)
		return -1;
	memcpy(out, id[turn % n].key, IH_LEN);
	return 0;
}

int control_over(const struct control *k, const struct swarm *w, uint64_t now_ms,
		 int *answered)
{
	uint64_t last_ms;

	*answered = verdict_reached(w, now_ms, &last_ms) > 0;
	return *answered || now_ms - k->began_ms >= CONTROL_MS;
}

void control_ended(struct control *k, struct path *p, int answered, uint32_t known,
		   uint64_t now_ms)
{
	k->running = 0;
	p->control_ms = now_ms;
	p->control_answered = answered;
	p->control_known = known;
}
