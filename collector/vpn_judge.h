/*
 * vpn_judge.h -- what Gluetun's answers mean. Pure: bytes, facts and the time go in; state
 * of the VPN, forwarded port and what to tell people come out. vpn.c asks and acts.
 *
 * The forms are those of Gluetun v3.38 to its master of 2026: {"port":N}, {"ports":[..]}
 * or both; a 401 may mean a missing role or a route that does not exist.
 * Proof: tests/unit/test_vpn.c.
 */
#ifndef PEERSCOPE_COLLECTOR_VPN_JUDGE_H
#define PEERSCOPE_COLLECTOR_VPN_JUDGE_H

#include <stddef.h>
#include <stdint.h>

#include "collector/web.h"
#include "common/conf.h"
#include "shm/note.h"
#include "shm/stat.h"

/* Longer than any answer of Gluetun: a place is about 300 bytes. */
#define VPN_BODY_MAX 8192
/* From the start of one round of questions to the next: a change of port is seen and
 * announced within five seconds, a recovery too. Gluetun logs each question. */
#define VPN_POLL_MS 2000u
#define VPN_POLL_BAD_MS 3500u
/* Status and address are asked in each third round, or in any that finds a fault. */
#define VPN_POLL_ALL 3u
/* One question. Two that hang, one after the other, fit into VPN_POLL_BAD_MS. */
#define VPN_ASK_MS 1500u
/* No word for so long, or one answer in between: a hiccup, not a state. */
#define VPN_HICCUP_MS 5000u
/* Gluetun names no port while the VPN reconnects, and then often the same as before. */
#define VPN_NO_PORT_MS 10000u
/* Nothing but lo, and nobody listens: longer than Gluetun needs to start, since its
 * network is there before it and has more than lo. */
#define VPN_DEAD_MS 10000u
/* So many new ports in so long is churn: peers are lost with each of them. A healthy
 * lease changes when the VPN reconnects, a few times a day. */
#define VPN_CHURN_PORTS 6
#define VPN_CHURN_MS 3600000u

enum vpn_reply {
	VPN_R_UNASKED = 0,
	VPN_R_GOOD,			/* the answer that it should be */
	VPN_R_UNAUTHORIZED,		/* 401, 403 */
	VPN_R_NO_ROUTE,			/* another status: an old or a new Gluetun, or none */
	VPN_R_BAD,			/* 200 and garbage */
	VPN_R_REFUSED,			/* nobody listens */
	VPN_R_GONE,			/* no way there: route, name, connection cut */
	VPN_R_SILENT,			/* no answer in time */
};

enum vpn_route { VPN_ROUTE_NEW, VPN_ROUTE_OPENVPN, VPN_ROUTE_OLD, VPN_ROUTES };
/* Path of a route: "/v1/portforward", ... */
const char *vpn_route_path(enum vpn_route r);

struct vpn_place {
	char ip[46], country[64], city[96];	/* "" where Gluetun does not know */
};

/* All that is known, from the newest answer to each question. */
struct vpn_facts {
	enum vpn_reply port_reply, status_reply, ip_reply, health_reply;
	uint16_t port;			/* port_reply GOOD; 0: none forwarded */
	enum vpn_route route;		/* that was asked last */
	int running;			/* status_reply GOOD */
	char status[24];
	struct vpn_place place;		/* ip_reply GOOD; ip "": no address */
	int healthy;			/* health_reply GOOD */
	int file_port;			/* -1: no file, or nothing in it that is a port or 0 */
	int interface_gone;		/* swarm.interface is named and missing */
	int only_lo;			/* no device but lo */
	char error[ERRLEN];		/* of the control server, in libcurl's words */
};

/* What an answer means. Each fills its part of f, and the reply. */
void vpn_take_port(struct vpn_facts *f, const struct web_answer *a);
void vpn_take_status(struct vpn_facts *f, const struct web_answer *a);
void vpn_take_ip(struct vpn_facts *f, const struct web_answer *a);
void vpn_take_health(struct vpn_facts *f, const struct web_answer *a);
/* "51820\n", or one port per line: the first. -1: no such thing. */
int vpn_file_port(const char *text, size_t len);

/* Is another route worth a try after this reply? */
int vpn_try_next_route(enum vpn_reply r);
/* Of what two routes replied: the one that tells more. */
enum vpn_reply vpn_better(enum vpn_reply a, enum vpn_reply b);
/* Does a reply come from a server, whatever it says? */
int vpn_answers(enum vpn_reply r);
/* Nobody has said whether the VPN is up, or only that there is no address: ask the health
 * port. */
int vpn_wants_health(const struct vpn_facts *f);

struct vpn_judge {			/* zeroed at start, or when the URL is another */
	enum vpn_state state;
	uint16_t port;			/* to listen on; 0: that of swarm.listen */
	uint64_t no_port_ms;		/* Gluetun names none since; 0: it does */
	uint64_t no_word_ms;		/* nobody says up or down since; 0: somebody does */
	uint64_t dead_ms;		/* looks like a dead namespace since; 0: no */
	uint64_t taken_ms[VPN_CHURN_PORTS];	/* when the last ports were taken */
	uint64_t churn_ms;		/* warned then; 0: never */
};

struct vpn_news {
	int state_changed, port_changed, churn;
};
/* After each round. now_ms: monotonic, not 0. */
void vpn_judge(struct vpn_judge *j, const struct vpn_facts *f, uint64_t now_ms,
	       struct vpn_news *out);

/* What is wrong and what mends it; "" if nothing is. */
void vpn_detail(const struct vpn_judge *j, const struct vpn_facts *f, const struct conf *c,
		char out[NOTE_SIZE]);
/* The control server refuses a question: the role that it lacks, as TOML, lines ending in
 * \n, without secrets. "" if it refuses none. */
void vpn_role(const struct vpn_facts *f, const struct conf *c, char out[NOTE_SIZE]);

/* c->swarm_listen with each port replaced; the same item twice stands once. -1: no room. */
PS_MUST int vpn_listen(struct conf *c, uint16_t port);

#endif
