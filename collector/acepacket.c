/*
 * acepacket.c -- packets of BEP 15, and URLs of trackers: see acetrack.h. Pure.
 *
 *	connect:  magic 8 | action 4 | txid 4          -> action 4 | txid 4 | connection 8
 *	announce: connection 8 | action 4 | txid 4 |   -> action 4 | txid 4 | interval 4 |
 *	          hash 20 | peer_id 20 |                  leechers 4 | seeders 4 |
 *	          downloaded 8 | left 8 | uploaded 8 |    n times (address 4 or 16 | port 2)
 *	          event 4 | IP 4 | key 4 | want 4 | port 2
 *	error:                                         -> action 4 | txid 4 | text
 */
#include "collector/acetrack.h"

#include <string.h>

#define MAGIC 0x41727101980u
#define HEAD_LEN 8
#define PEERS_AT 20

/* ---- URLs ------------------------------------------------------------------------ */

static int parse_port(uint16_t *out, const char *text)
{
	size_t n = strspn(text, "0123456789");
	uint32_t v = 0;

	for (size_t i = 0; i < n && i < 5; i++)
		v = v * 10 + (uint32_t)(text[i] - '0');
	*out = (uint16_t)v;
	return n >= 1 && n <= 5 && v >= 1 && v <= UINT16_MAX &&
			       (text[n] == '\0' || strchr("/?#", text[n]))
		       ? 0
		       : -1;
}

/* host, without the brackets of an IPv6 address; returns what follows it, or NULL. */
static const char *parse_host(char *out, const char *text)
{
	int v6 = text[0] == '[';
	size_t len = strcspn(text += v6, v6 ? "]" : ":/?#");
	uint8_t addr[ADDR_LEN];

	memcpy(out, text, len);
	out[len] = '\0';
	if (len == 0 || (v6 && text[len] != ']') ||
	    (v6 && (!strchr(out, ':') || addr_parse(addr, out) != 0)))
		return NULL;
	return text + len + v6;
}

int acetrack_parse(struct acetrack_url *out, const char *url, char err[ERRLEN])
{
	static const char form[] = "must be udp://host:port/announce";
	const char *rest;

	if (strlen(url) >= ACETRACK_URL_MAX)
		return err_set(err, "is longer than %d bytes", ACETRACK_URL_MAX - 1);
	if (strncmp(url, "udp://", 6) != 0 || strpbrk(url, " \t\r\n@") ||
	    !(rest = parse_host(out->host, url + 6)) || *rest != ':' ||
	    parse_port(&out->port, rest + 1) != 0)
		return err_set(err, form);
	return 0;
}

/* ---- what we say ------------------------------------------------------------------ */

static uint8_t *put32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (24 - 8 * i));
	return p + 4;
}

static uint8_t *put64(uint8_t *p, uint64_t v)
{
	return put32(put32(p, (uint32_t)(v >> 32)), (uint32_t)v);
}

void acetrack_put_connect(uint8_t out[ACETRACK_CONNECT_LEN], uint32_t txid)
{
	put32(put32(put64(out, MAGIC), ACETRACK_CONNECT), txid);
}

void acetrack_put_announce(uint8_t out[ACETRACK_ANNOUNCE_LEN], uint64_t connection,
			   uint32_t txid, const struct acetrack_ask *ask,
			   enum acetrack_event event)
{
	uint8_t *p = put32(put32(put64(out, connection), ACETRACK_ANNOUNCE), txid);

	memcpy(p, ask->hash, IH_LEN);
	memcpy(p + IH_LEN, ask->peer_id, IH_LEN);
	p = put64(p + 2 * IH_LEN, 0); /* downloaded */
	p = put64(p,
		  UINT64_MAX); /* left: we have nothing and don't know how much it is */
	p = put64(p, 0);       /* uploaded */
	p = put32(p, (uint32_t)event);
	p = put32(p, 0); /* our address: the one that this comes from */
	p = put32(p, ask->key);
	p = put32(p, event == ACETRACK_STARTED ? ACETRACK_WANT : 0);
	p[0] = (uint8_t)(ask->port >> 8);
	p[1] = (uint8_t)ask->port;
}

/* ---- what a tracker says ------------------------------------------------------------ */

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void get_peers(struct acetrack_answer *out, const uint8_t *p, size_t len, int v6)
{
	size_t addr_len = v6 ? 16 : 4;

	for (; len >= addr_len + 2 && out->n < ACETRACK_PEERS; len -= addr_len + 2) {
		struct lt_endpoint *to = &out->peer[out->n];

		memset(to->addr, 0, 10);
		memset(to->addr + 10, 0xff, 2);
		memcpy(to->addr + ADDR_LEN - addr_len, p, addr_len);
		to->port = (uint16_t)(p[addr_len] << 8 | p[addr_len + 1]);
		out->n += to->port != 0;
		p += addr_len + 2;
	}
}

static void get_text(struct acetrack_answer *out, const uint8_t *p, size_t len)
{
	static const char none[] = "an error without a word";

	if (len == 0 || p[0] == '\0') {
		memcpy(out->text, none, sizeof(none));
		return;
	}
	len = len < ACETRACK_TEXT_MAX - 1 ? len : ACETRACK_TEXT_MAX - 1;
	memcpy(out->text, p, len);
	out->text[len] = '\0';
}

enum acetrack_rc acetrack_get(struct acetrack_answer *out, const uint8_t *packet,
			      size_t len, enum acetrack_action action, uint32_t txid,
			      int v6)
{
	uint32_t what;

	out->n = 0;
	if (len < HEAD_LEN || get32(packet + 4) != txid)
		return ACETRACK_NOT_OURS;
	what = get32(packet);
	if (what == ACETRACK_ERROR) {
		get_text(out, packet + HEAD_LEN, len - HEAD_LEN);
		return ACETRACK_NO;
	}
	if (what != (uint32_t)action)
		return ACETRACK_GARBLED;
	if (action == ACETRACK_CONNECT) {
		if (len < HEAD_LEN + 8)
			return ACETRACK_GARBLED;
		out->connection = (uint64_t)get32(packet + 8) << 32 | get32(packet + 12);
		return ACETRACK_OK;
	}
	if (len < PEERS_AT)
		return ACETRACK_GARBLED;
	out->interval_s = get32(packet + 8);
	out->leechers = get32(packet + 12);
	out->seeders = get32(packet + 16);
	get_peers(out, packet + PEERS_AT, len - PEERS_AT, v6);
	return ACETRACK_OK;
}
