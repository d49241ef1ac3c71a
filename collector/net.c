/*
 * net.c -- the network under the session comes, goes, changes: netwatch.c notices,
 * recover.c says what to do, and here it is done.
 */
#include "collector/coll.h"
#include "common/clock.h"
#include "common/log.h"

enum iface_why net_why(const struct coll *c)
{
	return netstate_why(netwatch_state(c->netwatch));
}

static int wants_to_listen(const struct coll *c)
{
	return c->kid.conf.swarm_listen[0] != '\0';
}

void net_gauges(const struct coll *c)
{
	int there = net_why(c) == IFACE_OK;
	int listens = c->listens.port != 0 || !wants_to_listen(c);
	const char *why = there && wants_to_listen(c) ? listens_why(&c->listens) : NULL;

	stat_set(interface_ok, (uint64_t)there);
	stat_set(interface_why, (uint64_t)net_why(c));
	stat_set(lt_listening, (uint64_t)(there && listens));
	stat_set(listen_port, there ? c->listens.port : 0);
	note_set(NOTE_listen_error, why ? why : "");
}

static void act(struct coll *c, unsigned todo)
{
	const struct conf *conf = &c->kid.conf;

	if (todo & (RECOVER_LEAVE | RECOVER_REBIND))
		path_anew(&c->path);
	path_look(c);  /* before anything is asked over the new way out */
	net_gauges(c); /* whoever is turned away below is told why by them */
	if (todo & RECOVER_LEAVE)
		jobs_suspend(c);
	if (todo & RECOVER_REBIND) {
		stat_inc(recoveries);
		c->nports = 0; /* it says them again */
		listens_ask(&c->listens, 1, clock_ms());
		lt_rebind(c->lt, follow_conf(c));
	}
	if (todo & RECOVER_REOPEN) {
		listens_ask(&c->listens, 0, clock_ms());
		lt_reopen(c->lt);
	}
	if ((todo & RECOVER_DHT) && conf->swarm_dht) {
		dhtwatch_reset(&c->dht);
		lt_dht_again(c->lt, conf);
	}
	if (todo & RECOVER_JOIN) {
		uint32_t n = swarms_count(c->swarms);

		log_info("net", "joining %u swarm%s again", n, n == 1 ? "" : "s");
		jobs_resume(c);
	}
	if (todo & RECOVER_ANNOUNCE)
		lt_reannounce(c->lt);
	net_gauges(c);
}

/* The one event that whoever runs a VPN must see. */
static void say(const struct coll *c, enum net_change change)
{
	const char *name = c->kid.conf.swarm_interface;

	if (net_why(c) != IFACE_OK)
		log_warn("net", "swarm.interface %s %s: nothing is joined", name,
			 iface_why_text(net_why(c)));
	else if (name[0] && change == NET_BACK)
		log_notice("net", "swarm.interface %s is there: joining again", name);
	else if (name[0])
		log_notice("net", "swarm.interface %s %s", name, net_change_name(change));
	else
		log_notice("net", "our way to the world %s", net_change_name(change));
}

static void on_change(void *arg, enum net_change change)
{
	struct coll *c = arg;

	say(c, change);
	act(c, recover_change(&c->recover, change, wants_to_listen(c), clock_ms()));
	if (c->vpn)
		vpn_poke(c->vpn); /* is it the tunnel, or all of Gluetun? */
}

/* An interface or port of the configuration: every connection is on an old one. */
void net_reconfigure(struct coll *c)
{
	enum net_change change;

	netwatch_name(c->netwatch, c->kid.conf.swarm_interface);
	change = net_why(c) == IFACE_OK ? NET_BACK : NET_GONE;
	if (change == NET_GONE)
		say(c, change);
	act(c, recover_change(&c->recover, change, wants_to_listen(c), clock_ms()));
}

void net_listen_anew(struct coll *c)
{
	if (!wants_to_listen(c) || net_why(c) != IFACE_OK)
		return;
	listens_ask(&c->listens, 1, clock_ms());
	recover_elsewhere(&c->recover, clock_ms());
	net_gauges(c);
}

void net_hasten(struct coll *c)
{
	recover_hasten(&c->recover, clock_ms());
	net_tick(c);
}

/* One socket stands: if others don't, they are tried again beside it. */
static void rest(struct coll *c)
{
	if (c->listens.loud.text[0] && net_why(c) == IFACE_OK)
		recover_missing(&c->recover, c->listens.port != 0, clock_ms());
}

void net_listening(struct coll *c, const struct lt_event *e)
{
	if (listens_stand(&c->listens, e->addr, e->port))
		log_notice("swarm", "listening on port %u after all", e->port);
	if (c->listens.port) /* not one that is nobody's way to us */
		act(c, recover_listening(&c->recover));
	else
		net_gauges(c);
	rest(c);
}

void net_cant_listen(struct coll *c, const struct lt_event *e)
{
	int news = listens_fail(&c->listens, e, clock_ms());

	if (news && net_why(c) == IFACE_OK)
		log_warn("swarm", "can't listen: %s; trying again", e->text);
	else
		log_debug("swarm", "can't listen: %s", e->text);
	rest(c);
	net_gauges(c);
}

void net_tick(struct coll *c)
{
	unsigned todo;

	netwatch_tick(c->netwatch);
	todo = recover_tick(&c->recover, clock_ms());
	if (listens_tick(&c->listens, clock_ms()))
		todo |= RECOVER_REOPEN;
	act(c, todo);
}

int net_open(struct coll *c, char err[ERRLEN])
{
	if (netwatch_open(&c->netwatch, c->base, c->kid.conf.swarm_interface, on_change,
			  c) != 0)
		return err_set(err, "out of memory");
	if (net_why(c) != IFACE_OK)
		say(c, NET_GONE);
	else
		recover_start(&c->recover, wants_to_listen(c), clock_ms());
	net_gauges(c);
	return 0;
}

void net_close(struct coll *c)
{
	netwatch_close(&c->netwatch);
}
