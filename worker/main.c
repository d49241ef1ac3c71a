/*
 * main.c -- a worker: HTTP in, the segment behind it. Entered after the fork; knows
 * no swarm, opens no file but those of the metadata cache, resolves no name.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "shm/selfpage.h"
#include "shm/stat.h"
#include "worker/bodies.h"
#include "worker/metabatch.h"
#include "worker/metadata.h"
#include "worker/park.h"
#include "worker/peers.h"
#include "worker/pick.h"
#include "worker/route.h"

#define WORKER_FDS_KEPT 64  /* log, segment, bells, epoll, channel, spare */
#define WORKER_LEAVE_MS 500 /* be gone this long before the master kills */

int worker_collector_up(const struct worker *w)
{
	return atomic_load_explicit(&seg_head(w->seg)->lease_pid, memory_order_acquire) !=
	       0;
}

static void leave(void *arg)
{
	struct worker *w = arg;

	event_base_loopbreak(w->base);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval to_send = {0, WORKER_LEAVE_MS / 2 * 1000};
	struct worker *w = arg;

	(void)fd;
	(void)what;
	if (park_used(w->park) > 0) { /* an answer is better than none */
		park_late(w->park);
		evtimer_add(w->deadline, &to_send);
		return;
	}
	log_notice("http", "drain_timeout is over: closing %u connections",
		   gate_connections(w->gate));
	leave(w);
}

static void drain(struct worker *w)
{
	uint64_t ms = w->conf->master_drain_timeout_ms;
	struct timeval tv;

	if (gate_draining(w->gate))
		return;
	ms = ms > 2 * WORKER_LEAVE_MS ? ms - WORKER_LEAVE_MS : ms / 2;
	tv.tv_sec = (time_t)(ms / 1000);
	tv.tv_usec = (suseconds_t)(ms % 1000 * 1000);
	log_info("http", "draining: %u connections, %u parked", gate_connections(w->gate),
		 park_used(w->park));
	gate_drain(w->gate);
	evtimer_add(w->deadline, &tv);
	if (gate_connections(w->gate) == 0)
		leave(w);
}

static void listen_on(struct worker *w, uint32_t mask)
{
	const struct kid *k = w->kid;

	for (int i = 0; i < k->nworkers; i++)
		for (int j = 0; j < k->nlisten; j++)
			if (k->listen_fd[i][j] >= 0 &&
			    gate_listen(w->gate, k->listen_fd[i][j],
					(mask >> i & 1) != 0) != 0)
				log_error("http",
					  "cannot listen on socket %d of worker %d", j,
					  i);
}

/* What queues on our sockets while we drain would hang, as a new daemon's sockets share
 * the port with them. This ends listening for every process that holds them. */
static void leave_port(const struct kid *k)
{
	for (int i = 0; i < k->nworkers; i++)
		for (int j = 0; j < k->nlisten; j++)
			if (k->listen_fd[i][j] >= 0)
				shutdown(k->listen_fd[i][j], SHUT_RDWR);
}

static void on_chan(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;
	struct kid_msg m;
	char err[ERRLEN];
	int rc, passed;

	(void)what;
	while ((rc = kid_recv(fd, &m, &passed)) > 0) {
		if (passed >= 0)
			close(passed);
		if (m.type == KID_M_DRAIN)
			drain(w);
		else if (m.type == KID_M_LISTEN)
			listen_on(w, m.arg);
		else if (m.type == KID_M_REOPEN && log_reopen(err) != 0)
			log_warn("http", "%s", err);
	}
	if (rc < 0) { /* the master is gone */
		event_del(w->chan);
		w->orphan = 1;
		leave_port(w->kid);
		drain(w);
	}
}

static void on_bell(evutil_socket_t fd, short what, void *arg)
{
	(void)what;
	kid_hush(fd);
	park_bell(arg);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;
	struct shm_page *p = w->page;

	(void)fd;
	(void)what;
	atomic_store_explicit(&p->beat_ms, clock_ms(), memory_order_relaxed);
	atomic_store_explicit(&p->busy, gate_connections(w->gate), memory_order_relaxed);
	selfpage_write(p);
	park_bell(w); /* a new collector, or a bell that was not heard */
}

static struct event_base *make_base(void)
{
	struct event_config *ec = event_config_new();
	struct event_base *base = NULL;

	if (ec &&
	    event_config_require_features(ec, EV_FEATURE_ET | EV_FEATURE_EARLY_CLOSE) ==
		    0 &&
	    event_config_set_flag(ec, EVENT_BASE_FLAG_NOLOCK) == 0)
		base = event_base_new_with_config(ec);
	if (ec)
		event_config_free(ec);
	return base;
}

/* Each connection is a descriptor, and so is the file of the metadata cache that it may be
 * sent; each listening socket is one, too. */
static uint32_t max_connections(const struct kid *k)
{
	uint64_t want = (uint64_t)k->conf.http_max_connections, room;
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur == RLIM_INFINITY)
		return (uint32_t)want;
	room = WORKER_FDS_KEPT + (uint64_t)k->nworkers * (uint64_t)k->nlisten +
	       GATE_LINGERING + METABATCH_OPEN;
	room = r.rlim_cur > room + 32 ? (r.rlim_cur - room) / 2 : 16;
	if (room < want)
		log_warn(
			"http",
			"http.max_connections is %llu here: only %llu descriptors are "
			"allowed, which bounds swarm.connections, too; raise LimitNOFILE= "
			"(systemd) or ulimit -n",
			(unsigned long long)room, (unsigned long long)r.rlim_cur);
	return (uint32_t)(room < want ? room : want);
}

static int make_gate(struct worker *w, char err[ERRLEN])
{
	static const struct strict_wide wide[] = {
		{METADATA_PATH, METADATA_UPLOAD_MAX, 1},
		{METADATA_BATCH_PATH, METADATA_BATCH_MAX, 0},
	};
	const struct conf *c = w->conf;
	struct gate_conf gc = {
		.limits = {(size_t)c->http_max_uri_bytes,
			   (size_t)c->http_max_header_bytes,
			   (size_t)c->http_max_body_bytes, wide, PS_ARRAY_LEN(wide),
			   &w->uploads},
		.request_ms = c->http_header_timeout_ms,
		.idle_ms = c->http_idle_timeout_ms,
		.write_ms = c->http_write_timeout_ms,
		.max_connections = max_connections(w->kid),
		.hot_route = route_number(peers_get),
	};
	struct gate_hooks hooks = {w, route_request, http_gone, peers_hot, leave};

	w->uploads.max = (size_t)c->http_max_uploads_bytes;
	if (proxies_parse(&gc.proxies, c->http_trusted_proxies, err) != 0)
		return -1;
	return gate_new(&w->gate, w->base, &gc, &hooks, err);
}

static int make_events(struct worker *w, char err[ERRLEN])
{
	static const struct timeval second = {1, 0};

	w->bell = event_new(w->base, w->kid->worker_bell_fd[w->kid->slot],
			    EV_READ | EV_PERSIST, on_bell, w);
	w->chan = event_new(w->base, w->kid->chan_fd, EV_READ | EV_PERSIST, on_chan, w);
	w->tick = event_new(w->base, -1, EV_PERSIST, on_tick, w);
	w->deadline = evtimer_new(w->base, on_deadline, w);
	if (!w->bell || !w->chan || !w->tick || !w->deadline ||
	    event_add(w->bell, NULL) != 0 || event_add(w->chan, NULL) != 0 ||
	    event_add(w->tick, &second) != 0)
		return err_set(err, "no memory for events");
	return 0;
}

static int start(struct worker *w, char err[ERRLEN])
{
	const struct kid *k = w->kid;

	if (seg_attach(&w->seg, k->seg_fd, SEG_WORKER, err) != 0 ||
	    ptab_open(&w->ptab, w->seg, SEG_WORKER, err) != 0 ||
	    lane_open(&w->lane, w->seg, k->slot, err) != 0)
		return -1;
	stat_own(w->seg, (uint32_t)k->slot);
	w->page = seg_page(w->seg, (uint32_t)k->slot);
	atomic_store_explicit(&w->page->parked, 0, memory_order_relaxed);
	lane_enter(w->lane);
	w->hold_ms = atomic_load(&seg_head(w->seg)->hold_ms);
	w->epoch = atomic_load_explicit(&seg_head(w->seg)->epoch, memory_order_acquire);
	w->base = make_base();
	if (!w->base)
		return err_set(err, "libevent has no epoll here");
	w->copy = xcalloc(1, sizeof *w->copy);
	w->meta_seen = xcalloc(1, sizeof *w->meta_seen);
	TAILQ_INIT(&w->meta_queue);
	w->pick = pick_new(w->ptab, seg_head(w->seg)->seed);
	w->bodies = bodies_new((size_t)w->conf->http_body_cache_bytes);
	w->park = park_new(w, (uint32_t)w->conf->http_max_parked);
	if (make_gate(w, err) != 0 || make_events(w, err) != 0)
		return -1;
	listen_on(w, 1u << k->index);
	on_tick(-1, 0, w);
	if (kid_send(k->chan_fd, KID_M_READY, 0, -1) != 0)
		return err_set(err, "the master is gone");
	return 0;
}

static void stop(struct worker *w)
{
	struct event *events[] = {w->bell, w->chan, w->tick, w->deadline};

	gate_free(&w->gate);
	park_free(&w->park);
	for (size_t i = 0; i < PS_ARRAY_LEN(events); i++)
		if (events[i])
			event_free(events[i]);
	if (w->base)
		event_base_free(w->base);
	bodies_free(&w->bodies);
	free(w->copy);
	free(w->meta_seen);
	free(w->pick);
	lane_close(&w->lane);
	ptab_close(&w->ptab);
	seg_close(&w->seg);
}

/* The master talks over the channel; a terminal's or a container's TERM to the whole
 * group is its business. A client that leaves must not end us with SIGPIPE. */
static void quiet_signals(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};

	sigaction(SIGTERM, &ignore, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
}

int worker_main(const struct kid *k)
{
	struct worker w = {.kid = k, .conf = &k->conf};
	char err[ERRLEN] = "";
	int rc = EXIT_FAILURE;

	if (kid_enter(k, err) != 0) {
		log_fatal("http", "%s", err);
		return rc;
	}
	quiet_signals();
	event_set_log_callback(log_libevent);
	if (start(&w, err) == 0) {
		event_base_dispatch(w.base);
		rc = EXIT_SUCCESS;
	} else {
		log_fatal("http", "%s", err);
	}
	stop(&w);
	return rc;
}
