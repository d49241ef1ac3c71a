/*
 * acevisit.c -- calls the engines that swarms want called, fairly, and tells the swarms
 * what was heard. ace.c bounds the calls and keeps their pace; whoever is refused by it
 * stays due and is asked for again when a call has ended, or the pace allows.
 */
#include <event2/event.h>
#include <string.h>

#include "collector/coll.h"
#include "common/clock.h"

#define CALL_BATCH 4 /* of one swarm, before others have their turn */
/* No descriptor or memory: they may be there again then. */
#define CALL_FAILED_MS 1000
/* Of BitTorrent peers that are listed a third answers, of engines one in twelve or fewer
 * (most are behind NAT): so many calls without an answer say as much about our way out as
 * one attempt at a peer. */
#define CALLS_PER_DIAL 4
/* Who is due and can't be called, for a connection of the session or a call to the same
 * address: the end of a call brings a pass at once, each record so soon at most. */
#define CALL_IDLE_MS 50

enum call_armed { CALL_AT = 1, CALL_LAZY = 2 };

struct call_pass {
	struct coll *c;
	uint64_t now;
	int full;         /* nobody else may be called now */
	int begun;        /* in this turn */
	int from_here;    /* the swarm of last time has been passed */
	uint32_t wait_ms; /* then again; 0: when a call ends */
};

/* What a call says about our way to the world. */
static void evidence(struct coll *c, const struct ace_target *t, enum lt_kind kind,
		     int connected)
{
	struct lt_event e;

	memset(&e, 0, sizeof(e));
	e.kind = (uint8_t)kind;
	e.way = LT_WAY_PLAIN;
	e.connected = (uint8_t)connected;
	memcpy(e.id, t->swarm, IH_LEN);
	memcpy(e.addr, t->addr, ADDR_LEN);
	e.port = t->port;
	path_event(&c->path, &e, clock_ms());
}

/* ---- calls --------------------------------------------------------------------------- */

static int is_due(const struct swarm *w, uint64_t now)
{
	return swarm_ace_on(w) && w->ace.due_ms && now >= w->ace.due_ms;
}

static void refused(struct call_pass *pass, enum ace_rc rc)
{
	struct ace_load load;

	pass->full = 1;
	if (rc == ACE_FAILED)
		pass->wait_ms = CALL_FAILED_MS;
	if (rc != ACE_TOO_FAST)
		return;
	ace_load(pass->c->ace, &load);
	pass->wait_ms = load.wait_ms ? load.wait_ms : 1;
}

static void call_some(struct call_pass *pass, struct swarm *w)
{
	int due = is_due(w, pass->now) && !pass->full;
	struct ace_target t;
	uint32_t at = 0;
	int n = 0;

	while (n < CALL_BATCH && !pass->full && swarm_ace_due(w, pass->now, &at, &t)) {
		enum ace_rc rc = ace_call(pass->c->ace, &t);

		if (rc == ACE_STARTED) {
			swarm_ace_called(w, &t);
			if (pass->c->ace_calls++ % CALLS_PER_DIAL == 0)
				evidence(pass->c, &t, LT_PEER_DIALLED, 0);
			memcpy(pass->c->ace_last, w->id, IH_LEN);
			n++;
		} else if (rc == ACE_BUSY_SWARM) {
			break;
		} else if (rc != ACE_BUSY_ADDRESS) {
			refused(pass, rc);
		}
	}
	pass->begun += n;
	w->ace.idle_ms = due && n == 0 ? pass->now : 0;
}

/* Those behind the swarm that was served last come first, then those before it. */
static void call_behind(struct swarm *w, void *arg)
{
	struct call_pass *pass = arg;

	if (!w->away && pass->from_here)
		call_some(pass, w);
	pass->from_here |= memcmp(w->id, pass->c->ace_last, IH_LEN) == 0;
}

static void call_all(struct swarm *w, void *arg)
{
	struct call_pass *pass = arg;

	if (!w->away)
		call_some(pass, w);
}

static void arm(struct coll *c, uint32_t ms, enum call_armed how)
{
	struct timeval tv = {ms / 1000, ms % 1000 * 1000};

	c->call_armed = how;
	event_add(c->call, &tv);
}

static void run(evutil_socket_t fd, short what, void *arg)
{
	struct coll *c = arg;
	struct call_pass pass = {.c = c, .now = clock_ms()};

	(void)fd;
	(void)what;
	c->call_armed = 0;
	if (net_why(c) != IFACE_OK)
		return; /* not one packet: jobs_resume comes back to it */
	swarms_each(c->swarms, call_behind, &pass);
	do {
		pass.begun = 0;
		swarms_each(c->swarms, call_all, &pass);
	} while (pass.begun && !pass.full);
	if (pass.wait_ms)
		arm(c, pass.wait_ms, CALL_AT);
}

void acevisit_soon(struct coll *c)
{
	if (c->call_armed != CALL_AT)
		arm(c, 1, CALL_AT);
}

void acevisit_look(struct coll *c, const struct swarm *w)
{
	uint64_t now = clock_ms(), idle = now - w->ace.idle_ms;

	if (!is_due(w, now) || c->call_armed)
		return;
	if (w->ace.idle_ms && idle < CALL_IDLE_MS)
		arm(c, (uint32_t)(CALL_IDLE_MS - idle), CALL_LAZY);
	else
		acevisit_soon(c);
}

/* ---- what was heard ---------------------------------------------------------------- */

static uint32_t wall_s(void)
{
	return (uint32_t)(clock_wall_ms() / 1000);
}

/* Whom it named in message 12. They answer to the key that it answered to. */
static void hearsay(struct coll *c, struct swarm *w, const struct acewire_told *t,
		    uint32_t key)
{
	char client[AW_CLIENT_MAX];
	struct swarm_news news;
	struct peer *p;

	for (uint32_t i = 0; i < t->recs; i++) {
		if (!own_may_list(c, t->rec[i].addr, t->rec[i].port)) {
			stat_inc(peers_refused);
			continue;
		}
		p = swarm_ace_gossip(w, &t->rec[i], key, clock_ms(), wall_s(), &news,
				     client);
		acewatch_found(c, w, p, &news, client);
	}
}

/* Whom it named as the source: one in a call. */
static void source(struct coll *c, struct swarm *w, const struct ace_seen *s,
		   uint32_t key)
{
	const struct acewire_told *t = s->told;
	struct lt_endpoint word = {.port = t->source_port};
	struct swarm_news news;
	struct peer *p;

	memcpy(word.addr, t->source_addr, ADDR_LEN);
	if ((t->saw & AW_SAW_SOURCE) && own_may_list(c, word.addr, word.port)) {
		p = swarm_ace_source(w, &s->target, &word, key, clock_ms(), wall_s(),
				     &news);
		acewatch_found(c, w, p, &news, "");
	} else if (s->what == ACE_END && s->how == ACE_DONE) {
		swarm_ace_no_source(w, &s->target, clock_ms());
	}
	if (s->what == ACE_END)
		stat_add(STAT_ace_sources_lost, t->sources_lost);
}

/* A node id that is signed for another address than ours was recorded elsewhere. */
static int is_replayed(const struct coll *c, const struct ace_seen *s)
{
	return s->told && s->told->sig == AW_SIG_GOOD && s->told->has_yourip &&
	       !own_may_be(c, s->told->yourip, s->target.addr);
}

static void tell(struct coll *c, struct swarm *w, const struct ace_seen *s)
{
	struct ace_seen seen = *s;
	struct swarm_ace_news heard;
	struct swarm_news none;
	uint32_t key;

	memset(&none, 0, sizeof(none));
	seen.replayed = is_replayed(c, s);
	if (seen.replayed && s->what == ACE_TOLD)
		stat_inc(ace_replayed);
	swarm_ace_seen(w, &seen, clock_ms(), wall_s(), &heard);
	if (!heard.peer)
		return;
	key = heard.peer->ace.key;
	acewatch_found(c, w, heard.peer, &none, heard.client);
	if (heard.contacted)
		stat_inc(peers_contacted);
	if (s->told && s->what != ACE_SHAKEN) {
		hearsay(c, w, s->told, key);
		source(c, w, s, key);
	}
	if (w->important)
		publish_soon(c);
}

static void on_seen(void *arg, const struct ace_seen *s)
{
	struct coll *c = arg;
	struct swarm *w = swarms_find(c->swarms, s->target.swarm);

	if (s->what == ACE_SHAKEN)
		evidence(c, &s->target, LT_PEER_HANDSHAKE, 1);
	if (s->what == ACE_END) {
		evidence(c, &s->target, LT_PEER_GONE, s->connected);
		acevisit_soon(c);
	}
	if (w)
		tell(c, w, s);
	event_active(c->wake, EV_TIMEOUT, 0); /* who waits may be answered now */
}

int acevisit_open(struct coll *c, char err[ERRLEN])
{
	c->call = event_new(c->base, -1, 0, run, c);
	if (!c->call)
		return err_set(err, "out of memory");
	return ace_open(&c->ace, c->base, &c->kid.conf, ACE_LEAVE_MS, on_seen, c, err);
}

void acevisit_close(struct coll *c)
{
	ace_close(&c->ace);
	if (c->call)
		event_free(c->call);
}
