/* vpn_judge.c -- see vpn_judge.h. */
#include "collector/vpn_judge.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- answers ---------------------------------------------------------------------- */

const char *vpn_route_path(enum vpn_route r)
{
	static const char *const paths[VPN_ROUTES] = {
		"/v1/portforward",           /* since v3.41 */
		"/v1/openvpn/portforwarded", /* until v4 */
		"/openvpn/portforwarded",
	};

	return paths[r];
}

static enum vpn_reply reply_of(const struct web_answer *a)
{
	switch (a->rc) {
	case WEB_OK:
		if (a->status == 401 || a->status == 403)
			return VPN_R_UNAUTHORIZED;
		return a->status == 200 ? VPN_R_GOOD : VPN_R_NO_ROUTE;
	case WEB_REFUSED: return VPN_R_REFUSED;
	case WEB_TIMEOUT: return VPN_R_SILENT;
	case WEB_TOO_LARGE: return VPN_R_BAD;
	default: return VPN_R_GONE;
	}
}

/* NULL unless it is an object. Nothing may follow but white space. The caller frees. */
static cJSON *parse(const struct web_answer *a)
{
	const char *end;
	cJSON *root = cJSON_ParseWithLengthOpts(a->body, a->len, &end, 0);

	if (root && (!cJSON_IsObject(root) ||
		     strspn(end, " \t\r\n") != (size_t)(a->body + a->len - end))) {
		cJSON_Delete(root);
		root = NULL;
	}
	return root;
}

/* 0: none; -1: no port at all. */
static int port_of(const cJSON *v)
{
	double d = cJSON_IsNumber(v) ? v->valuedouble : -1;

	return d >= 0 && d <= 65535 && d == floor(d) ? (int)d : -1;
}

/* The first one that is not 0; -1 if there is something else in it. */
static int port_of_list(const cJSON *list)
{
	const cJSON *v;
	int port, found = 0;

	if (cJSON_IsNull(list)) /* Go's form of an empty list */
		return 0;
	if (!cJSON_IsArray(list))
		return -1;
	cJSON_ArrayForEach(v, list)
	{
		port = port_of(v);
		if (port < 0)
			return -1;
		if (!found)
			found = port;
	}
	return found;
}

void vpn_take_port(struct vpn_facts *f, const struct web_answer *a)
{
	const cJSON *one, *list;
	int first = 0, many = 0;
	cJSON *root;

	f->port = 0;
	f->port_reply = reply_of(a);
	if (f->port_reply != VPN_R_GOOD)
		return;
	root = parse(a);
	one = cJSON_GetObjectItemCaseSensitive(root, "port");
	list = cJSON_GetObjectItemCaseSensitive(root, "ports");
	if (one)
		first = port_of(one);
	if (list)
		many = port_of_list(list);
	if ((!one && !list) || first < 0 || many < 0)
		f->port_reply = VPN_R_BAD;
	else
		f->port = (uint16_t)(first ? first : many);
	cJSON_Delete(root);
}

/* Copies text, cut; 0, or -1 if the member is there and is none. Absent: "". */
static int text_of(const cJSON *root, const char *key, char *out, size_t size)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(root, key);

	out[0] = '\0';
	if (!v || cJSON_IsNull(v))
		return 0;
	if (!cJSON_IsString(v))
		return -1;
	snprintf(out, size, "%s", v->valuestring);
	return 0;
}

void vpn_take_status(struct vpn_facts *f, const struct web_answer *a)
{
	cJSON *root;

	f->running = 0;
	f->status[0] = '\0';
	f->status_reply = reply_of(a);
	if (f->status_reply != VPN_R_GOOD)
		return;
	root = parse(a);
	if (!root || text_of(root, "status", f->status, sizeof(f->status)) != 0 ||
	    !f->status[0])
		f->status_reply = VPN_R_BAD;
	f->running = strcmp(f->status, "running") == 0;
	cJSON_Delete(root);
}

void vpn_take_ip(struct vpn_facts *f, const struct web_answer *a)
{
	struct vpn_place *p = &f->place;
	cJSON *root;

	memset(p, 0, sizeof(*p));
	f->ip_reply = reply_of(a);
	if (f->ip_reply != VPN_R_GOOD)
		return;
	root = parse(a);
	if (!cJSON_GetObjectItemCaseSensitive(root, "public_ip") ||
	    text_of(root, "public_ip", p->ip, sizeof(p->ip)) != 0 ||
	    text_of(root, "country", p->country, sizeof(p->country)) != 0 ||
	    text_of(root, "city", p->city, sizeof(p->city)) != 0) {
		memset(p, 0, sizeof(*p));
		f->ip_reply = VPN_R_BAD;
	}
	cJSON_Delete(root);
}

/* 200 or 500 and some text. Anything else is some other server. */
void vpn_take_health(struct vpn_facts *f, const struct web_answer *a)
{
	f->health_reply = reply_of(a);
	f->healthy = f->health_reply == VPN_R_GOOD;
	if (a->rc == WEB_OK && a->status == 500)
		f->health_reply = VPN_R_GOOD;
}

int vpn_file_port(const char *text, size_t len)
{
	int port = 0;
	size_t i = 0;

	for (; i < len && text[i] >= '0' && text[i] <= '9' && port <= 65535; i++)
		port = port * 10 + (text[i] - '0');
	if (i == 0 || port > 65535)
		return -1;
	return i == len || strchr(" \t\r\n", text[i]) ? port : -1;
}

int vpn_try_next_route(enum vpn_reply r)
{
	return r == VPN_R_UNAUTHORIZED || r == VPN_R_NO_ROUTE || r == VPN_R_BAD;
}

/* An answer, then a refusal that a role would mend, then what else there was. */
enum vpn_reply vpn_better(enum vpn_reply a, enum vpn_reply b)
{
	if (a == VPN_R_UNASKED || b == VPN_R_GOOD)
		return b;
	if (a == VPN_R_GOOD || a == VPN_R_UNAUTHORIZED || b != VPN_R_UNAUTHORIZED)
		return a;
	return b;
}

int vpn_answers(enum vpn_reply r)
{
	return r == VPN_R_GOOD || vpn_try_next_route(r);
}

static int says_up_or_down(const struct vpn_facts *f)
{
	return f->status_reply == VPN_R_GOOD || f->ip_reply == VPN_R_GOOD;
}

/* Gluetun shows no address while its VPN is down; but also if it was told not to look
 * (PUBLICIP_ENABLED=off), and as long as those it asks refuse it (429). */
static int has_no_address(const struct vpn_facts *f)
{
	return f->ip_reply == VPN_R_GOOD && !f->place.ip[0];
}

int vpn_wants_health(const struct vpn_facts *f)
{
	return !says_up_or_down(f) ||
	       (has_no_address(f) && (f->status_reply != VPN_R_GOOD || f->running));
}

/* ---- the state ---------------------------------------------------------------------- */

static int control_answers(const struct vpn_facts *f)
{
	return vpn_answers(f->port_reply) || vpn_answers(f->status_reply) ||
	       vpn_answers(f->ip_reply);
}

static int refuses(const struct vpn_facts *f)
{
	return f->port_reply == VPN_R_UNAUTHORIZED ||
	       f->status_reply == VPN_R_UNAUTHORIZED || f->ip_reply == VPN_R_UNAUTHORIZED;
}

/* A server that hangs is a server; a dead namespace has none, and no way out of it. */
static int nobody(enum vpn_reply r)
{
	return r == VPN_R_REFUSED || r == VPN_R_GONE;
}

static int looks_dead(const struct vpn_facts *f)
{
	return f->only_lo && nobody(f->port_reply) &&
	       (f->health_reply == VPN_R_UNASKED || nobody(f->health_reply));
}

static int is_down(const struct vpn_facts *f)
{
	if (f->interface_gone)
		return 1;
	if (!says_up_or_down(f))
		return !f->healthy;
	return (f->status_reply == VPN_R_GOOD && !f->running) ||
	       (has_no_address(f) && !f->healthy);
}

static enum vpn_state state_now(struct vpn_judge *j, const struct vpn_facts *f,
				uint64_t now)
{
	if (!looks_dead(f))
		j->dead_ms = 0;
	else if (!j->dead_ms)
		j->dead_ms = now;
	if (says_up_or_down(f) || f->health_reply == VPN_R_GOOD ||
	    (f->interface_gone && control_answers(f))) {
		j->no_word_ms = 0;
		return is_down(f) ? VPN_DOWN : VPN_UP;
	}
	if (refuses(f))
		return VPN_UNAUTHORIZED;
	if (j->dead_ms && now - j->dead_ms >= VPN_DEAD_MS)
		return VPN_DEAD_NAMESPACE;
	if (!j->no_word_ms)
		j->no_word_ms = now;
	return now - j->no_word_ms >= VPN_HICCUP_MS ? VPN_UNREACHABLE : j->state;
}

/* ---- the port --------------------------------------------------------------------------- */

static void take_port(struct vpn_judge *j, uint16_t port, uint64_t now,
		      struct vpn_news *out)
{
	int last = VPN_CHURN_PORTS - 1;

	j->port = port;
	out->port_changed = 1;
	if (port == 0)
		return;
	memmove(j->taken_ms, j->taken_ms + 1, (size_t)last * sizeof(j->taken_ms[0]));
	j->taken_ms[last] = now;
	if (j->taken_ms[0] && now - j->taken_ms[0] <= VPN_CHURN_MS &&
	    (!j->churn_ms || now - j->churn_ms > VPN_CHURN_MS)) {
		j->churn_ms = now;
		out->churn = 1;
	}
}

/* What Gluetun says now; -1: nothing, so what was is kept. */
static int port_said(const struct vpn_facts *f)
{
	if (f->port_reply == VPN_R_GOOD)
		return f->port;
	return f->file_port;
}

static void follow_port(struct vpn_judge *j, const struct vpn_facts *f, uint64_t now,
			struct vpn_news *out)
{
	int said = port_said(f);

	if (said > 0) {
		j->no_port_ms = 0;
		if (said != j->port)
			take_port(j, (uint16_t)said, now, out);
		return;
	}
	if (said < 0 || j->port == 0)
		return;
	if (!j->no_port_ms)
		j->no_port_ms = now;
	if (now - j->no_port_ms >= VPN_NO_PORT_MS)
		take_port(j, 0, now, out);
}

void vpn_judge(struct vpn_judge *j, const struct vpn_facts *f, uint64_t now_ms,
	       struct vpn_news *out)
{
	enum vpn_state was = j->state;

	memset(out, 0, sizeof(*out));
	if (j->state == VPN_OFF)
		j->state = VPN_UNKNOWN;
	j->state = state_now(j, f, now_ms);
	out->state_changed = j->state != was;
	follow_port(j, f, now_ms, out);
}

/* ---- words --------------------------------------------------------------------------------- */

static void detail_up(const struct vpn_facts *f, const struct conf *c,
		      char out[NOTE_SIZE])
{
	if (refuses(f))
		snprintf(out, NOTE_SIZE,
			 "Gluetun refuses some of our questions (401): add the role to "
			 "/gluetun/auth/config.toml and start Gluetun again");
	else if (!control_answers(f))
		snprintf(out, NOTE_SIZE,
			 "the control server does not answer (%.100s), so no port is "
			 "followed: is vpn.gluetun_url right?",
			 f->error);
	else if (f->port_reply != VPN_R_GOOD && f->file_port < 0)
		snprintf(out, NOTE_SIZE,
			 "no route of the control server tells a forwarded port");
	else if (!c->swarm_listen[0] && port_said(f) > 0)
		snprintf(
			out, NOTE_SIZE,
			"a port is forwarded, but swarm.listen is empty: nobody listens");
	else if (has_no_address(f))
		snprintf(out, NOTE_SIZE,
			 "Gluetun is healthy, but does not know its public address: "
			 "PUBLICIP_ENABLED is off, or whoever it asks does not answer");
}

static void detail_down(const struct vpn_facts *f, const struct conf *c,
			char out[NOTE_SIZE])
{
	static const char mends[] =
		"Gluetun brings it back by itself; if not, see its log";

	if (f->status_reply == VPN_R_GOOD && !f->running)
		snprintf(out, NOTE_SIZE, "Gluetun says that the VPN is %.20s: %s",
			 f->status, mends);
	else if (f->interface_gone)
		snprintf(out, NOTE_SIZE,
			 "Gluetun answers, but the device %.15s is missing: %s",
			 c->swarm_interface, mends);
	else if (has_no_address(f))
		snprintf(out, NOTE_SIZE,
			 "Gluetun has no public address, and its health port does not "
			 "say that all is well: %s",
			 mends);
	else
		snprintf(out, NOTE_SIZE,
			 "Gluetun's health port says that the VPN is down: %s", mends);
}

void vpn_detail(const struct vpn_judge *j, const struct vpn_facts *f,
		const struct conf *c, char out[NOTE_SIZE])
{
	out[0] = '\0';
	switch (j->state) {
	case VPN_OFF:
	case VPN_UNKNOWN: break;
	case VPN_UP: detail_up(f, c, out); break;
	case VPN_DOWN: detail_down(f, c, out); break;
	case VPN_UNAUTHORIZED:
		snprintf(
			out, NOTE_SIZE,
			"Gluetun refuses all our questions (401) and its health port is "
			"silent: add the role to /gluetun/auth/config.toml and start Gluetun "
			"again");
		break;
	case VPN_DEAD_NAMESPACE:
		snprintf(
			out, NOTE_SIZE,
			"this container is left in the network of a Gluetun container that "
			"is gone: only lo is there. Recreate this container (docker compose "
			"up -d --force-recreate); a restart helps only if Gluetun was merely "
			"restarted");
		break;
	case VPN_UNREACHABLE:
		snprintf(
			out, NOTE_SIZE,
			"neither control server (%.90s) nor health port answers: does Gluetun "
			"run, and are vpn.gluetun_url and vpn.health_url right?",
			f->error);
		break;
	}
}

void vpn_role(const struct vpn_facts *f, const struct conf *c, char out[NOTE_SIZE])
{
	out[0] = '\0';
	if (!refuses(f))
		return;
	snprintf(out, NOTE_SIZE,
		 "[[roles]]\n"
		 "name = \"peerscope\"\n"
		 "routes = [\"GET /v1/portforward\", \"GET /v1/publicip/ip\", "
		 "\"GET /v1/vpn/status\"]\n"
		 "%s\n",
		 c->vpn_user[0] ? "auth = \"basic\"\n"
				  "username = \"<vpn.user>\"\n"
				  "password = \"<vpn.password>\""
				: "auth = \"apikey\"\n"
				  "apikey = \"<vpn.api_key>\"");
}

/* ---- where to listen --------------------------------------------------------------------------- */

static int has_item(const char *list, const char *item)
{
	char one[128];

	while ((list = conf_list_next(list, one, sizeof(one))))
		if (strcmp(one, item) == 0)
			return 1;
	return 0;
}

int vpn_listen(struct conf *c, uint16_t port)
{
	char out[sizeof(c->swarm_listen)] = "", item[128], one[140];
	const char *list = c->swarm_listen;
	size_t len = 0;

	while ((list = conf_list_next(list, item, sizeof(item)))) {
		char *colon = strrchr(item, ':');

		if (!colon)
			continue; /* the master has refused such items */
		*colon = '\0';
		snprintf(one, sizeof(one), "%s:%u", item, port);
		if (has_item(out, one))
			continue;
		if (len + strlen(one) + 2 > sizeof(out))
			return -1;
		len += (size_t)snprintf(out + len, sizeof(out) - len, "%s%s",
					len ? "," : "", one);
	}
	memcpy(c->swarm_listen, out, sizeof(out));
	return 0;
}
