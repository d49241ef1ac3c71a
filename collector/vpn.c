/*
 * vpn.c -- see vpn.h. One round:
 *
 *   port (the route that worked last, then the others) -> status -> address
 *                                     -> health, if nobody said up or down -> judge
 *
 * A server that does not answer the first question is not asked the next two. Status and
 * address are left out of most rounds while all is well.
 */
#include "collector/vpn.h"

#include <fcntl.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/clock.h"
#include "common/log.h"
#include "shm/note.h"
#include "shm/stat.h"

#define VPN_URL_MAX 600
#define VPN_HEADER_MAX 256
#define VPN_SWEEP_ROUNDS 10u /* see plan_sweep */
#define VPN_POKE_MS 500u     /* devices come and go in bursts */

enum vpn_question { VPN_Q_PORT, VPN_Q_STATUS, VPN_Q_IP, VPN_Q_HEALTH };

struct vpn {
	struct event_base *base;
	struct web *web;
	const struct conf *conf;
	struct vpn_use use;
	char url[sizeof(((struct conf *)0)->vpn_gluetun_url)]; /* that the facts are of */
	struct event *timer;                                   /* next round */
	struct web_req *req; /* the question under way */
	enum vpn_question question;
	uint64_t began_ms; /* of this round */
	int asks_all;      /* status and address too, in this round */
	int sweeps;        /* it tries the other routes, too */
	unsigned rests;    /* rounds since that was done */
	enum vpn_reply fault,
		swept;   /* first reply of the last round; best of all routes */
	unsigned rounds; /* since all was asked last */
	enum vpn_route first, route; /* worked last; asked now */
	enum vpn_reply best;         /* of the routes of this round */
	struct vpn_facts facts;
	struct vpn_judge judge;
	char role[NOTE_SIZE]; /* as it was said in the log; "": nothing is refused */
	char ip[46];          /* as it was told to the owner */
	int dead_said;
};

static void next(struct vpn *v, enum vpn_question q);

/* ---- asking ------------------------------------------------------------------------- */

static void arm(struct vpn *v, uint64_t ms)
{
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000) * 1000};

	event_add(v->timer, &tv);
}

/* The first reply of a round. The other routes are tried when it is another than before,
 * and now and then: not each time, Gluetun logs every question. */
static void plan_sweep(struct vpn *v, enum vpn_reply reply)
{
	v->sweeps = reply != v->fault || ++v->rests >= VPN_SWEEP_ROUNDS;
	if (v->sweeps)
		v->rests = 0;
	v->fault = reply;
}

static void take_port(struct vpn *v, const struct web_answer *a)
{
	enum vpn_route after = (v->route + 1) % VPN_ROUTES;
	struct vpn_facts *f = &v->facts;
	int more;

	vpn_take_port(f, a);
	if (v->route == v->first)
		plan_sweep(v, f->port_reply);
	v->best = vpn_better(v->best, f->port_reply);
	more = vpn_try_next_route(f->port_reply) && after != v->first;
	if (f->port_reply == VPN_R_GOOD)
		v->first = v->route;
	if (more && v->sweeps) {
		v->route = after;
		next(v, VPN_Q_PORT);
		return;
	}
	if (v->sweeps)
		v->swept = v->best;
	f->port_reply = more ? v->swept : v->best;
	next(v, VPN_Q_STATUS);
}

static void on_answer(void *arg, const struct web_answer *a)
{
	struct vpn *v = arg;

	v->req = NULL;
	if (a->rc != WEB_OK && v->question != VPN_Q_HEALTH)
		snprintf(v->facts.error, sizeof(v->facts.error), "%s", a->error);
	switch (v->question) {
	case VPN_Q_PORT: take_port(v, a); break;
	case VPN_Q_STATUS:
		vpn_take_status(&v->facts, a);
		next(v, VPN_Q_IP);
		break;
	case VPN_Q_IP:
		vpn_take_ip(&v->facts, a);
		next(v, VPN_Q_HEALTH);
		break;
	case VPN_Q_HEALTH:
		vpn_take_health(&v->facts, a);
		next(v, VPN_Q_HEALTH + 1);
		break;
	}
}

static void ask(struct vpn *v, const char *url, const char *path)
{
	char full[VPN_URL_MAX], key[VPN_HEADER_MAX], err[ERRLEN];
	const char *const headers[] = {v->conf->vpn_api_key[0] ? key : NULL, NULL};
	struct web_ask a = {.url = full,
			    .timeout_ms = VPN_ASK_MS,
			    .connect_ms = VPN_ASK_MS,
			    .max_body = VPN_BODY_MAX,
			    .fn = on_answer,
			    .arg = v};
	size_t len = strlen(url);

	while (path[0] == '/' && len > 0 && url[len - 1] == '/')
		len--;
	snprintf(full, sizeof(full), "%.*s%s", (int)len, url, path);
	if (v->question != VPN_Q_HEALTH) { /* the health port wants no secret */
		snprintf(key, sizeof(key), "X-API-Key: %s", v->conf->vpn_api_key);
		a.headers = headers;
		a.user = v->conf->vpn_user;
		a.password = v->conf->vpn_password;
	}
	v->req = web_start(v->web, &a, err);
	if (!v->req) {
		struct web_answer none = {.rc = WEB_FAILED, .body = "", .error = err};

		on_answer(v, &none);
	}
}

/* ---- what else is to be seen -------------------------------------------------------------- */

static int only_lo(void)
{
	struct if_nameindex *all = if_nameindex();
	int others = 0;

	if (!all)
		return 0;
	for (struct if_nameindex *i = all; i->if_name; i++)
		others += strcmp(i->if_name, "lo") != 0;
	if_freenameindex(all);
	return others == 0;
}

/* A regular file of a few bytes; whatever else stands there is none. */
static int file_port(const char *path)
{
	char text[64];
	struct stat st;
	ssize_t n = -1;
	int fd;

	if (!path[0])
		return -1;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		n = read(fd, text, sizeof(text));
	close(fd);
	return n > 0 ? vpn_file_port(text, (size_t)n) : -1;
}

static void look_around(struct vpn *v)
{
	const char *device = v->conf->swarm_interface;
	struct vpn_facts *f = &v->facts;

	f->interface_gone = device[0] && if_nametoindex(device) == 0;
	f->only_lo = only_lo();
	f->file_port =
		f->port_reply == VPN_R_GOOD ? -1 : file_port(v->conf->vpn_port_file);
}

/* ---- telling ----------------------------------------------------------------------------------- */

static void say_role(struct vpn *v)
{
	char role[NOTE_SIZE];
	char *line, *rest = role;

	vpn_role(&v->facts, v->conf, role);
	note_set(NOTE_vpn_role, role);
	if (strcmp(role, v->role) == 0)
		return;
	memcpy(v->role, role, sizeof(v->role));
	if (!role[0]) {
		log_notice("vpn", "Gluetun answers all our questions again");
		return;
	}
	log_warn(
		"vpn",
		"Gluetun refuses a question (401): add this to /gluetun/auth/config.toml "
		"and start Gluetun again; before v3.41 the first route is GET "
		"/v1/openvpn/portforwarded");
	while ((line = strsep(&rest, "\n")))
		if (line[0])
			log_warn("vpn", "  %s", line);
}

static void say_state(const struct vpn *v, const char *detail)
{
	const struct vpn_place *p = &v->facts.place;

	if (v->judge.state == VPN_UP)
		log_notice("vpn", "up%s%s%s%s%s%s", p->ip[0] ? ": " : "", p->ip,
			   p->city[0] ? ", " : "", p->city, p->country[0] ? ", " : "",
			   p->country);
	else if (v->judge.state == VPN_DEAD_NAMESPACE)
		log_error("vpn", "%s", detail);
	else if (v->judge.state == VPN_OFF || v->judge.state == VPN_UNKNOWN)
		log_debug("vpn", "%s", vpn_state_name(v->judge.state));
	else
		log_warn("vpn", "%s: %s", vpn_state_name(v->judge.state), detail);
}

static void show(struct vpn *v, const struct vpn_news *news)
{
	const struct vpn_place *p = &v->facts.place;
	char detail[NOTE_SIZE];

	vpn_detail(&v->judge, &v->facts, v->conf, detail);
	if (news->state_changed) {
		stat_set(vpn_since_s, clock_wall_ms() / 1000);
		say_state(v, detail);
	}
	stat_set(vpn_state, v->judge.state);
	stat_set(vpn_port, v->judge.port);
	note_set(NOTE_vpn_detail, detail);
	note_set(NOTE_vpn_public_ip, p->ip);
	note_set(NOTE_vpn_country, p->country);
	note_set(NOTE_vpn_city, p->city);
	say_role(v);
}

static void tell_port(struct vpn *v, const struct vpn_news *news)
{
	unsigned port = v->judge.port;

	if (!news->port_changed)
		return;
	if (port) {
		stat_inc(vpn_ports);
		log_notice("vpn", "forwarded port %u: listening there and announcing it",
			   port);
	} else {
		log_warn("vpn", "no port is forwarded any more: back to swarm.listen");
	}
	if (news->churn)
		log_warn("vpn",
			 "%d forwarded ports within an hour: peers lose us with each; "
			 "another VPN server may keep its port longer",
			 VPN_CHURN_PORTS);
	v->use.on_port(v->use.arg, v->judge.port);
}

static void tell_address(struct vpn *v)
{
	uint8_t addr[ADDR_LEN];

	if (strcmp(v->ip, v->facts.place.ip) == 0)
		return;
	memcpy(v->ip, v->facts.place.ip, sizeof(v->ip));
	if (v->ip[0] && addr_parse(addr, v->ip) == 0)
		v->use.on_address(v->use.arg, addr);
}

static void tell_death(struct vpn *v)
{
	if (v->judge.state != VPN_DEAD_NAMESPACE) {
		v->dead_said = 0;
		return;
	}
	if (!v->dead_said && v->conf->vpn_exit_when_dead)
		v->use.on_dead(v->use.arg);
	v->dead_said = 1;
}

/* ---- a round ------------------------------------------------------------------------------------- */

static int all_is_well(const struct vpn *v)
{
	return v->judge.state == VPN_UP && v->facts.port_reply == VPN_R_GOOD;
}

static void end_round(struct vpn *v)
{
	uint64_t now = clock_ms(), took = now - v->began_ms, pace;
	struct vpn_news news;

	look_around(v);
	vpn_judge(&v->judge, &v->facts, now, &news);
	show(v, &news);
	tell_address(v);
	tell_port(v, &news);
	tell_death(v);
	pace = all_is_well(v) ? VPN_POLL_MS : VPN_POLL_BAD_MS;
	arm(v, took < pace ? pace - took : 1);
}

/* The control server gave no answer at all: the next question would fare alike. */
static int skip(struct vpn *v)
{
	if (vpn_answers(v->facts.port_reply))
		return 0;
	v->facts.status_reply = v->facts.ip_reply = v->facts.port_reply;
	memset(&v->facts.place, 0, sizeof(v->facts.place));
	return 1;
}

static void next(struct vpn *v, enum vpn_question q)
{
	static const char *const paths[] = {
		[VPN_Q_STATUS] = "/v1/vpn/status",
		[VPN_Q_IP] = "/v1/publicip/ip",
	};
	const char *url = v->conf->vpn_gluetun_url;

	if (q == VPN_Q_STATUS) {
		v->asks_all = !skip(v) && (!all_is_well(v) || v->rounds >= VPN_POLL_ALL);
		if (v->asks_all)
			v->rounds = 0;
	}
	if ((q == VPN_Q_STATUS || q == VPN_Q_IP) && !v->asks_all)
		q = VPN_Q_HEALTH;
	if (q == VPN_Q_HEALTH &&
	    (!vpn_wants_health(&v->facts) || !v->conf->vpn_health_url[0]))
		q = VPN_Q_HEALTH + 1;
	v->question = q;
	if (q == VPN_Q_PORT)
		ask(v, url, vpn_route_path(v->route));
	else if (q < VPN_Q_HEALTH)
		ask(v, url, paths[q]);
	else if (q == VPN_Q_HEALTH)
		ask(v, v->conf->vpn_health_url, "");
	else
		end_round(v);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct vpn *v = arg;

	(void)fd;
	(void)what;
	v->began_ms = clock_ms();
	v->rounds++;
	v->route = v->first;
	v->best = v->facts.health_reply = VPN_R_UNASKED;
	v->facts.healthy = 0;
	next(v, VPN_Q_PORT);
}

/* ---- life ------------------------------------------------------------------------------------------ */

/* Another Gluetun, or none: nothing is known of it. The port stays until it names one. */
static void start_anew(struct vpn *v, const char *url)
{
	struct vpn_news news = {.state_changed = 1};
	uint16_t port = v->judge.port;

	snprintf(v->url, sizeof(v->url), "%s", url);
	memset(&v->facts, 0, sizeof(v->facts));
	memset(&v->judge, 0, sizeof(v->judge));
	v->facts.file_port = -1;
	v->first = VPN_ROUTE_NEW;
	v->fault = VPN_R_UNASKED;
	v->judge.port = port;
	v->judge.state = url[0] ? VPN_UNKNOWN : VPN_OFF;
	show(v, &news);
}

void vpn_configure(struct vpn *v)
{
	const char *url = v->conf->vpn_gluetun_url;

	web_cancel(&v->req);
	event_del(v->timer);
	v->ip[0] = '\0'; /* the owner may have forgotten it: say it again */
	v->dead_said = 0;
	if (strcmp(v->url, url) != 0)
		start_anew(v, url);
	if (url[0]) {
		arm(v, 0);
	} else if (v->judge.port) {
		v->judge.port = 0;
		stat_set(vpn_port, 0);
		v->use.on_port(v->use.arg, 0);
	}
}

void vpn_poke(struct vpn *v)
{
	uint64_t since = clock_ms() - v->began_ms;

	if (v->url[0] && !v->req)
		arm(v, since < VPN_POKE_MS ? VPN_POKE_MS - since : 0);
}

int vpn_open(struct vpn **out, struct event_base *base, struct web *web,
	     const struct conf *c, uint16_t port, const struct vpn_use *use,
	     char err[ERRLEN])
{
	struct vpn *v = calloc(1, sizeof(*v));

	if (v)
		v->timer = event_new(base, -1, 0, on_timer, v);
	if (!v || !v->timer) {
		free(v);
		return err_set(err, "out of memory");
	}
	v->base = base;
	v->web = web;
	v->conf = c;
	v->use = *use;
	v->judge.port = c->vpn_gluetun_url[0] ? port : 0;
	start_anew(v, "");
	vpn_configure(v);
	*out = v;
	return 0;
}

void vpn_close(struct vpn **vpn)
{
	struct vpn *v = *vpn;

	*vpn = NULL;
	if (!v)
		return;
	web_cancel(&v->req);
	event_free(v->timer);
	free(v);
}

enum vpn_state vpn_state(const struct vpn *v)
{
	return v ? v->judge.state : VPN_OFF;
}

uint16_t vpn_port(const struct vpn *v)
{
	return v ? v->judge.port : 0;
}
