/*
 * main.c -- the collector's loop. One thread; libtorrent's are behind lt.h.
 *
 *   bell (eventfd)  workers left jobs in their lanes   -> jobs_take
 *   lt bell         the session has records             -> swarm_event, publish
 *   channel         the master: settings, drain; EOF: it is gone
 *   timers          publish (25 ms), wake (waiters), tick (1 s)
 */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <event2/event.h>

#include "collector/coll.h"
#include "collector/resolver.h"
#include "common/clock.h"
#include "common/log.h"
#include "shm/redishow.h"
#include "shm/selfpage.h"

#define EVENT_BATCH 256
#define EVENT_TURNS 16 /* batches before lanes and timers have a turn */
/* How long trackers may take to hear "stopped" when we leave. */
#define STOP_WAIT_MS 1500

/* ---- records of the session ------------------------------------------------- */

static void dht_file(const struct coll *c, const struct lt_event *e)
{
	const char *path = c->kid.conf.swarm_dht_state;

	if (e->text[0])
		log_warn("dht", "%s: %s", path, e->text);
	else if (e->kind == LT_DHT_SAVED)
		stat_inc(dht_saves);
	else if (e->n > 0)
		log_notice("dht", "%d nodes of an earlier life in %s", e->n, path);
}

static void session_event(struct coll *c, const struct lt_event *e)
{
	switch (e->kind) {
	case LT_LISTENING:
		own_learn(c, e->addr, e->port);
		follow_listening(c, e->port);
		net_listening(c, e);
		acefind_port(c->acefind, c->listens.port);
		break;
	case LT_LISTEN_FAILED: net_cant_listen(c, e); break;
	case LT_EXTERNAL:
		own_learn(c, e->addr, 0);
		own_forget_peers(c);
		break;
	case LT_DHT_LOADED:
	case LT_DHT_SAVED: dht_file(c, e); break;
	case LT_STATS:
		c->dht_nodes = e->n > 0 ? (uint32_t)e->n : 0;
		stat_set(dht_nodes, c->dht_nodes);
		stat_set(connections, e->have);
		acewatch_event(c, e);
		break;
	case LT_DHT_FOUND:
	case LT_DHT_AT_WORK: acewatch_event(c, e); break;
	}
}

static int endpoint_is_listed(const struct coll *c, const struct lt_event *e)
{
	if (e->kind != LT_PEER_LEARNED && e->kind != LT_PEER_DIALLED &&
	    e->kind != LT_PEER_HANDSHAKE)
		return 1;
	if (own_may_list(c, e->addr, e->port))
		return 1;
	stat_inc(peers_refused);
	return 0;
}

static void peer_news(struct coll *c, struct swarm *w, const struct lt_event *e,
		      const struct swarm_news *news)
{
	if (news->fresh) {
		stat_inc(peers_learned);
		if (news->fresh->place == 0)
			(void)publish_place(c, w, news->fresh, 0);
	}
	if (news->named) {
		uint32_t ref = ptab_string(c->ptab, e->text, strlen(e->text));

		w->important |= ref != news->named->client;
		news->named->client = ref;
	}
	if (news->contacted)
		stat_inc(peers_contacted);
	stat_add(STAT_peers_evicted, (uint64_t)news->evicted);
}

static void join_failed(struct coll *c, struct swarm *w, const struct lt_event *e)
{
	char hex[IH_HEX_LEN];

	ih_hex(hex, w->id);
	log_error("swarm", "%s can't be joined: %s", hex, e->text);
	w->round_done = 1; /* whoever waits gets what is known: nothing */
	publish_soon(c);
}

static void one_event(struct coll *c, const struct lt_event *e)
{
	struct swarm_news news;
	struct swarm *w;

	stat_inc(lt_events);
	if (e->kind >= LT_LISTENING) {
		path_event(&c->path, e, clock_ms());
		session_event(c, e);
		return;
	}
	w = swarms_find(c->swarms, e->id);
	if (!w || !endpoint_is_listed(c, e))
		return;
	path_event(&c->path, e, clock_ms());
	if (e->life != w->life)
		return; /* of a connection that was left */
	if (e->kind == LT_JOIN_FAILED) {
		join_failed(c, w, e);
		return;
	}
	swarm_event(w, e, clock_ms(), (uint32_t)(clock_wall_ms() / 1000), &news);
	peer_news(c, w, e, &news);
	if (news.tracker_failed)
		publish_tracker_failed(c, w, e, c->kid.conf.swarm_trackers);
	if (w->plans)
		visit_soon(c);
	acevisit_look(c, w);
	if (w->important)
		publish_soon(c);
	if (e->kind == LT_METADATA) {
		fetch_found(c, e);
		w = swarms_find(c->swarms, e->id);
	}
	if (w && (e->kind == LT_METADATA || e->kind == LT_CONFLICT))
		ids_hashes(c, w, &e->ids, e->kind == LT_CONFLICT);
}

static void on_lt_bell(evutil_socket_t fd, short what, void *arg)
{
	static struct lt_event batch[EVENT_BATCH];
	struct coll *c = arg;
	size_t n = 0;

	(void)what;
	kid_hush((int)fd);
	for (int turn = 0; turn < EVENT_TURNS; turn++) {
		if ((n = lt_next(c->lt, batch, EVENT_BATCH)) == 0)
			break;
		for (size_t i = 0; i < n; i++)
			one_event(c, &batch[i]);
	}
	if (n > 0)
		kid_ring((int)fd); /* the rest after others had their turn */
	wait_check(c);
}

/* ---- bells and timers ---------------------------------------------------------- */

static void on_bell(evutil_socket_t fd, short what, void *arg)
{
	(void)what;
	kid_hush((int)fd);
	jobs_take(arg);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	wait_check(arg);
}

static void on_publish(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	publish_due(arg);
}

static void on_visit(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	visit_run(arg);
}

static void count_losses(struct coll *c)
{
	struct lt_load *was = &c->counted, now;

	lt_load(c->lt, &now);
	if (now.dropped != was->dropped)
		log_warn("swarm", "%llu session events lost: the loop fell behind",
			 (unsigned long long)(now.dropped - was->dropped));
	stat_add(STAT_lt_events_dropped, now.dropped - was->dropped);
	stat_add(STAT_lt_alerts_dropped, now.alerts_dropped - was->alerts_dropped);
	stat_add(STAT_peers_refused, now.filtered - was->filtered);
	stat_add(STAT_ace_past_lost, acepast_lost(c->acepast));
	*was = now;
}

static void watch_dht(struct coll *c)
{
	int on = c->kid.conf.swarm_dht && net_why(c) == IFACE_OK;
	enum dhtwatch_do what = dhtwatch_step(&c->dht, on, c->dht_nodes, clock_ms());

	if (what == DHTWATCH_SAVE)
		lt_dht_save(c->lt);
	if (what != DHTWATCH_AGAIN && what != DHTWATCH_RESTART)
		return;
	stat_inc(dht_rescues);
	log_warn("dht", "no node answers, for %llu s: %s",
		 (unsigned long long)(clock_ms() - c->dht.since_ms) / 1000,
		 dhtwatch_name(what));
	if (what == DHTWATCH_RESTART)
		lt_dht_restart(c->lt, &c->kid.conf);
	else
		lt_dht_again(c->lt, &c->kid.conf);
}

/* 0: of nobody yet; what our predecessor left there is not ours. */
static void beat(const struct coll *c, uint64_t at_ms)
{
	atomic_store(&seg_page(c->seg, 2 * (uint32_t)c->kid.nworkers)->beat_ms, at_ms);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct coll *c = arg;
	struct shm_page *page = seg_page(c->seg, (uint32_t)c->nlanes);

	(void)fd;
	(void)what;
	lt_poll(c->lt);
	net_tick(c);
	watch_dht(c);
	jobs_take(c); /* a lost ring costs a second at most */
	path_tick(c);
	jobs_tick(c);
	fetch_tick(c);
	tier_tick(c);
	online_tick(c);
	publish_tick(c);
	state_tick(c);
	count_losses(c);
	beat(c, clock_ms());
	atomic_store(&page->busy, swarms_count(c->swarms));
	atomic_store(&page->parked, c->nwaiters);
	selfpage_write(page);
}

/* ---- configuration ------------------------------------------------------------- */

static void open_redis(struct coll *c)
{
	const struct conf *conf = &c->kid.conf;
	struct redis_target target;
	char err[ERRLEN];

	stat_set(redis_mode, (uint64_t)conf->redis_mode);
	memset(&target, 0, sizeof(target));
	if (conf->redis_mode == REDIS_BUNDLED) {
		size_t len = strlen(c->kid.redis_sock);

		PS_ASSERT(len < sizeof(target.host));
		memcpy(target.host, c->kid.redis_sock, len);
	} else if (conf->redis_mode == REDIS_EXTERNAL &&
		   redis_parse_url(&target, conf->redis_url, err) != 0) {
		log_error("redis", "%s; %s", err,
			  c->redis ? "the old one stays" : "none is used");
		if (!c->redis) {
			stat_set(redis_state, REDISHOW_ERROR);
			note_set(NOTE_redis_detail, err);
		}
		return;
	}
	claim_forget(c);                   /* what is held is held there */
	engine_set_redis(c->engine, NULL); /* closing tells who waits for it */
	geoweb_set_redis(c->geoweb, NULL);
	redis_close(&c->redis);
	if (conf->redis_mode == REDIS_OFF)
		return;
	if (redis_open(&c->redis, c->base, &target, conf->redis_timeout_ms) != 0)
		log_error("redis", "out of memory");
	engine_set_redis(c->engine, c->redis);
	geoweb_set_redis(c->geoweb, c->redis);
}

/* What only the running daemon knows: where its own directory is. */
static void complete(struct conf *conf, const char *run_dir)
{
	char path[sizeof(conf->swarm_dht_state)];
	const char *slash;

	if (conf->swarm_dht_state[0] == '\0' && run_dir[0]) {
		snprintf(path, sizeof(path), "%s/dht.state", run_dir);
		memcpy(conf->swarm_dht_state, path, sizeof(path));
	}
	slash = strrchr(conf->swarm_dht_state, '/');
	if (conf->swarm_state[0] == '\0' && slash) {
		snprintf(path, sizeof(path), "%.*s/swarms.state",
			 (int)(slash - conf->swarm_dht_state), conf->swarm_dht_state);
		memcpy(conf->swarm_state, path, sizeof(path));
	}
}

/* A new configuration, already validated by the master. Nothing is dropped. */
static void reconfigure(struct coll *c, int fd)
{
	struct conf old = c->kid.conf, fresh;
	int redis, session;
	char err[ERRLEN];

	if (kid_unpack(fd, &fresh, sizeof(fresh), err) != 0) {
		log_error("config", "%s; the old settings stay", err);
		return;
	}
	complete(&fresh, c->kid.run_dir);
	c->kid.conf = fresh;
	redis = strcmp(old.redis_url, fresh.redis_url) != 0 ||
		old.redis_timeout_ms != fresh.redis_timeout_ms;
	session = strcmp(old.swarm_listen, fresh.swarm_listen) != 0 ||
		  strcmp(old.swarm_interface, fresh.swarm_interface) != 0;
	if (log_open("collector", fresh.log_level, fresh.log_format == LOG_JSON,
		     fresh.log_file, err) != 0)
		log_warn("log", "%s", err);
	follow_configure(c);
	vpn_configure(c->vpn);
	swarms_set_max(c->swarms, (uint32_t)fresh.swarm_max_swarms + 1);
	acewatch_configure(c);
	jobs_reconfigure(c, strcmp(old.swarm_trackers, fresh.swarm_trackers) != 0 ||
				    old.swarm_max_trackers != fresh.swarm_max_trackers);
	if (session)
		net_reconfigure(c);
	else
		net_hasten(c);
	places_configure(c);
	if (redis)
		open_redis(c);
	engine_configure(c->engine, fresh.acestream_engine_url,
			 fresh.acestream_timeout_ms);
	online_configure(c);
	fetch_configure(c);
	log_notice("config", "new settings taken");
}

/* ---- life --------------------------------------------------------------------- */

static void leave_now(struct coll *c)
{
	event_base_loopbreak(c->base);
}

/* Another binary is about to take over; if its segment is another one, the table of ours is
 * known to it only by this. */
static void save_for_upgrade(struct coll *c)
{
	state_save(c);
	if (kid_send(c->kid.chan_fd, KID_M_SAVED, 0, -1) != 0)
		log_warn("collector", "the master does not hear us");
}

static void on_chan(evutil_socket_t fd, short what, void *arg)
{
	struct coll *c = arg;
	struct kid_msg msg;
	int rc, got = -1;
	char err[ERRLEN];

	(void)what;
	while ((rc = kid_recv((int)fd, &msg, &got)) == 1) {
		if (msg.type == KID_M_CONF && got >= 0)
			reconfigure(c, got);
		else if (msg.type == KID_M_DRAIN)
			leave_now(c);
		else if (msg.type == KID_M_SAVE)
			save_for_upgrade(c);
		else if (msg.type == KID_M_REOPEN && log_reopen(err) != 0)
			log_warn("log", "%s", err);
		if (got >= 0)
			close(got);
		got = -1;
	}
	if (rc < 0) {
		log_notice("collector", "the master is gone");
		leave_now(c);
	}
}

static void on_term(evutil_socket_t sig, short what, void *arg)
{
	(void)sig;
	(void)what;
	leave_now(arg);
}

static struct event *watch(struct coll *c, int fd, short what, event_callback_fn fn)
{
	struct event *ev = event_new(c->base, fd, what, fn, c);

	PS_ASSERT(ev != NULL);
	return ev;
}

static void make_events(struct coll *c)
{
	static const struct timeval second = {1, 0};

	c->bell = watch(c, c->kid.collector_bell_fd, EV_READ | EV_PERSIST, on_bell);
	c->lt_bell = watch(c, c->lt_bell_fd, EV_READ | EV_PERSIST, on_lt_bell);
	c->chan = watch(c, c->kid.chan_fd, EV_READ | EV_PERSIST, on_chan);
	c->term = watch(c, SIGTERM, EV_SIGNAL | EV_PERSIST, on_term);
	c->tick = watch(c, -1, EV_PERSIST, on_tick);
	c->publish = watch(c, -1, 0, on_publish);
	c->visit = watch(c, -1, 0, on_visit);
	c->wake = watch(c, -1, 0, on_wake);
	event_add(c->bell, NULL);
	event_add(c->lt_bell, NULL);
	event_add(c->chan, NULL);
	event_add(c->term, NULL);
	event_add(c->tick, &second);
}

static int open_lanes(struct coll *c, char err[ERRLEN])
{
	c->nlanes = 2 * c->kid.nworkers;
	for (int i = 0; i < c->nlanes; i++)
		if (lane_open(&c->lane[i], c->seg, i, err) != 0)
			return -1;
	return 0;
}

static int coll_open(struct coll *c, char err[ERRLEN])
{
	if (seg_attach(&c->seg, c->kid.seg_fd, SEG_COLLECTOR, err) != 0)
		return -1;
	beat(c, 0);
	stat_own(c->seg, (uint32_t)(2 * c->kid.nworkers));
	note_own(c->seg);
	if (ptab_open(&c->ptab, c->seg, SEG_COLLECTOR, err) != 0 ||
	    open_lanes(c, err) != 0)
		return -1;
	ptab_set_idle(c->ptab, jobs_is_idle, c);
	/* One more than users may have: a control probe takes no place of theirs. */
	if (swarms_open(&c->swarms, (uint32_t)c->kid.conf.swarm_max_swarms + 1) != 0 ||
	    buckets_open(&c->buckets) != 0)
		return err_set(err, "out of memory");
	buf_init(&c->json, REDIS_VALUE_MAX);
	c->base = event_base_new();
	c->lt_bell_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (!c->base || c->lt_bell_fd < 0)
		return err_errno(err, "event loop");
	/* Two arenas: libtorrent's threads would get one each, megabytes of air. */
	mallopt(M_ARENA_MAX, 2);
	/* Before the session, which starts threads: see web_open. */
	if (web_open(&c->web, c->base, err) != 0 || net_open(c, err) != 0 ||
	    follow_open(c, err) != 0 ||
	    lt_open(&c->lt, follow_conf(c), c->lt_bell_fd, err) != 0)
		return -1;
	if (acewatch_open(c, err) != 0)
		return -1;
	if (engine_open(&c->engine, c->base, c->web, ids_resolved, c) != 0 ||
	    online_open(c) != 0)
		return err_set(err, "out of memory");
	if (places_open(c, err) != 0)
		return -1;
	if (tier_open(c) != 0)
		return err_set(err, "out of memory");
	if (state_open(c, err) != 0)
		return -1;
	state_load(c);
	if (fetch_open(c, err) != 0)
		return -1;
	open_redis(c);
	engine_configure(c->engine, c->kid.conf.acestream_engine_url,
			 c->kid.conf.acestream_timeout_ms);
	path_look(c);
	make_events(c);
	online_configure(c); /* may set one */
	return 0;
}

static void coll_close(struct coll *c)
{
	struct event *ev[] = {c->bell, c->lt_bell, c->chan,  c->term,
			      c->tick, c->publish, c->visit, c->wake};

	state_close(c);
	stat_set(lt_listening, 0);
	fetch_close(c);
	tier_close(c);
	acewatch_close(c); /* before the session, which it asks */
	if (lt_close(&c->lt, STOP_WAIT_MS) != 0) {
		log_info("swarm", "a tracker does not hear us: leaving without a word");
		_exit(0); /* the session's threads still run */
	}
	while (c->waiters) {
		struct waiter *q = c->waiters;

		c->waiters = q->next;
		free(q);
	}
	engine_close(&c->engine);
	online_close(c);
	redis_close(&c->redis);
	resolver_reset();
	vpn_close(&c->vpn);
	web_close(&c->web);
	for (size_t i = 0; i < PS_ARRAY_LEN(ev); i++)
		if (ev[i])
			event_free(ev[i]);
	net_close(c);
	places_close(c);
	if (c->base)
		event_base_free(c->base);
	swarms_close(&c->swarms);
	buckets_close(&c->buckets);
	buf_free(&c->json);
	for (int i = 0; i < c->nlanes; i++)
		lane_close(&c->lane[i]);
	ptab_close(&c->ptab);
	seg_close(&c->seg);
	close(c->lt_bell_fd);
}

/* Everybody who waits pushes again when it sees our epoch: wake them all. */
static void ring_workers(const struct coll *c)
{
	for (int i = 0; i < c->nlanes; i++)
		kid_ring(c->kid.worker_bell_fd[i]);
}

/* A new segment, and the old collector still serves who uses the other one: the table is
 * filled, so that new workers have something to answer from, and that is all. */
static int restore(struct coll *c, char err[ERRLEN])
{
	if (seg_attach(&c->seg, c->kid.seg_fd, SEG_COLLECTOR, err) != 0)
		return -1;
	stat_own(c->seg, (uint32_t)(2 * c->kid.nworkers));
	if (ptab_open(&c->ptab, c->seg, SEG_COLLECTOR, err) != 0)
		return -1;
	c->base = event_base_new();
	if (!c->base || tier_open(c) != 0)
		return err_set(err, "out of memory");
	state_load(c);
	return 0;
}

int collector_main(const struct kid *k)
{
	struct coll *c = calloc(1, sizeof(*c));
	char err[ERRLEN];

	if (!c)
		return 1;
	c->kid = *k;
	complete(&c->kid.conf, k->run_dir);
	c->lt_bell_fd = -1;
	event_set_log_callback(log_libevent);
	if (kid_enter(k, err) != 0 ||
	    (k->restore ? restore(c, err) : coll_open(c, err)) != 0) {
		log_fatal("collector", "%s", err);
		return 1;
	}
	if (k->restore)
		_exit(0); /* nothing else was begun */
	selfpage_write(seg_page(c->seg, (uint32_t)c->nlanes));
	beat(c, clock_ms()); /* who stops before its first second hangs, too */
	if (kid_send(k->chan_fd, KID_M_READY, 0, -1) != 0) {
		log_fatal("collector", "the master is gone");
		return 1;
	}
	ring_workers(c);
	jobs_take(c);
	event_base_dispatch(c->base);
	coll_close(c);
	free(c);
	return 0;
}
