/*
 * follow.c -- what the session does when Gluetun's word changes: it listens on the
 * forwarded port in place of the configured ones, and announces itself anew. Connections
 * stay open and no swarm is left; an unchanged port never gets here (vpn.h).
 */
#include <string.h>

#include <event2/event.h>

#include "collector/coll.h"
#include "common/log.h"

/* The port that Gluetun forwards, or gave back: now that somebody listens there, whoever
 * knows us by another one must hear of it. */
void follow_listening(struct coll *c, uint16_t port)
{
	static const uint8_t unknown[ADDR_LEN];
	uint16_t forwarded = vpn_port(c->vpn);

	if (memcmp(c->vpn_addr, unknown, ADDR_LEN) != 0)
		own_learn(c, c->vpn_addr, 0); /* net.c may have forgotten it */
	if (!c->port_is_new || (forwarded && forwarded != port))
		return;
	c->port_is_new = 0;
	own_forget_peers(c);
	lt_reannounce(c->lt);
}

const struct conf *follow_conf(const struct coll *c)
{
	static struct conf copy;
	uint16_t port = vpn_port(c->vpn);

	if (!port)
		return &c->kid.conf;
	copy = c->kid.conf;
	if (vpn_listen(&copy, port) != 0)
		log_error("vpn", "swarm.listen is too long for the forwarded port");
	return &copy;
}

void follow_configure(struct coll *c)
{
	char err[ERRLEN];

	if (lt_configure(c->lt, follow_conf(c), err) != 0)
		log_error("swarm", "%s", err);
}

static void on_vpn_port(void *arg, uint16_t port)
{
	struct coll *c = arg;

	c->port_is_new = 1;
	follow_configure(c);
	if (port != c->listens.port) /* else it is open, and nothing will be said of it */
		net_listen_anew(c);
}

static void on_vpn_address(void *arg, const uint8_t addr[ADDR_LEN])
{
	struct coll *c = arg;

	memcpy(c->vpn_addr, addr, ADDR_LEN);
	own_learn(c, addr, 0);
	own_forget_peers(c);
}

static void on_vpn_dead(void *arg)
{
	struct coll *c = arg;

	log_error("vpn", "vpn.exit_when_dead is on: leaving");
	if (kid_send(c->kid.chan_fd, KID_M_LEAVE, 1, -1) != 0)
		event_base_loopbreak(c->base); /* the master is gone, too */
}

int follow_open(struct coll *c, char err[ERRLEN])
{
	struct vpn_use use = {.on_port = on_vpn_port,
			      .on_address = on_vpn_address,
			      .on_dead = on_vpn_dead,
			      .arg = c};

	/* A collector before us may have announced it: no tracker shall hear another. */
	uint64_t port = stat_gauge_get(c->seg, GAUGE_vpn_port);

	return vpn_open(&c->vpn, c->base, c->web, &c->kid.conf,
			port <= UINT16_MAX ? (uint16_t)port : 0, &use, err);
}
