/*
 * listjson.c -- see listjson.h.
 */
#include "collector/listjson.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "common/addr.h"
#include "shm/peerwords.h"
#include "shm/swarmjson.h"

/* Everything of one conversion: 200 KiB. */
struct conv {
	struct shm_swarm s;
	struct shm_peer peer[CONF_SLOT_PEERS];
	const cJSON *item[CONF_SLOT_PEERS];
};

/* ---- values ----------------------------------------------------------------------- */

/* From 0 to max. */
static int number(const cJSON *o, const char *key, double max, double *out)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);

	if (!cJSON_IsNumber(v) || !(v->valuedouble >= 0 && v->valuedouble <= max))
		return -1;
	*out = v->valuedouble;
	return 0;
}

/* The same, without a fraction. */
static int whole(const cJSON *o, const char *key, double max, double *out)
{
	return number(o, key, max, out) == 0 && *out == (double)(uint64_t)*out ? 0 : -1;
}

/* The same, 0 where it is not there. */
static int maybe_u32(const cJSON *o, const char *key, uint32_t *out)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);
	double n = 0;

	if (v && !cJSON_IsNull(v) && whole(o, key, UINT32_MAX, &n) != 0)
		return -1;
	*out = (uint32_t)n;
	return 0;
}

static const char *text(const cJSON *o, const char *key)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, key));
}

/* A text or nothing: null, or no such member. */
static int maybe_text(const cJSON *o, const char *key)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);

	return !v || cJSON_IsNull(v) || cJSON_IsString(v) ? 0 : -1;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int infohash(uint8_t out[IH_LEN], const char *hex)
{
	if (!hex || strlen(hex) != 2 * IH_LEN)
		return -1;
	for (size_t i = 0; i < IH_LEN; i++) {
		int hi = hex_digit(hex[2 * i]), lo = hex_digit(hex[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return -1;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	return 0;
}

/* ---- what the references of our records stand for: number of the peer + 1 --------------- */

static void conv_text(void *arg, uint32_t ref, char out[SHM_STRING_MAX + 1])
{
	const struct conv *c = arg;
	const char *name = text(c->item[ref - 1], "client");
	size_t len = strnlen(name, SHM_STRING_MAX);

	memcpy(out, name, len);
	out[len] = '\0';
	if (strcmp(out, "Unknown") == 0)
		out[0] = '\0';
}

static void place_text(char *out, size_t size, const cJSON *o, const char *key)
{
	const char *s = text(o, key);
	size_t len = s ? strnlen(s, size - 1) : 0;

	if (s && strcmp(s, "Unknown") != 0 && strcmp(s, "??") != 0)
		memcpy(out, s, len);
}

static int degrees(const cJSON *o, const char *key, double most, int32_t *out)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);

	if (!cJSON_IsNumber(v) || !(v->valuedouble >= -most && v->valuedouble <= most))
		return 0;
	*out = (int32_t)(v->valuedouble * 100000 + (v->valuedouble < 0 ? -0.5 : 0.5));
	return 1;
}

static void conv_place(void *arg, uint32_t ref, struct place *out)
{
	const cJSON *o = ((const struct conv *)arg)->item[ref - 1];
	int lat, lon;

	place_text(out->country, sizeof(out->country), o, "country");
	place_text(out->city, sizeof(out->city), o, "city");
	place_text(out->region, sizeof(out->region), o, "region");
	place_text(out->timezone, sizeof(out->timezone), o, "timezone");
	place_text(out->isp, sizeof(out->isp), o, "isp");
	place_text(out->source, sizeof(out->source), o, "geo_source");
	place_text(out->code, sizeof(out->code), o, "country_code");
	if (!listcode_is_country(out->code, strlen(out->code)))
		memset(out->code, 0, sizeof(out->code));
	lat = degrees(o, "latitude", 90, &out->lat_e5);
	lon = degrees(o, "longitude", 180, &out->lon_e5);
	out->has_point = lat && lon;
	if (maybe_u32(o, "asn", &out->asn) != 0)
		out->asn = 0;
}

/* ---- a peer --------------------------------------------------------------------------- */

/* That service lists whom it is connected to, and has no word for it. */
static int state(const cJSON *o, struct shm_peer *p)
{
	const char *word = text(o, "state");

	if (maybe_text(o, "state") != 0)
		return -1;
	p->state = PEER_CONTACTED;
	for (int i = PEER_KNOWN; word && i <= PEER_CONNECTED; i++)
		if (strcmp(word, peer_state_name(i)) == 0)
			p->state = (uint8_t)i;
	return 0;
}

static int sources(const cJSON *o, struct shm_peer *p)
{
	const cJSON *all = cJSON_GetObjectItemCaseSensitive(o, "sources"), *one;

	if (all && !cJSON_IsArray(all))
		return -1;
	cJSON_ArrayForEach(one, all)
	{
		if (!cJSON_IsString(one))
			return -1;
		for (int i = 0; i < SWARM_SOURCES; i++)
			if (strcmp(one->valuestring, swarm_source_name(i)) == 0)
				p->sources |= (uint8_t)(1u << i);
	}
	return 0;
}

static int texts_are_texts(const cJSON *o)
{
	static const char *const key[] = {"country",    "country_code", "city",
					  "isp",        "region",       "timezone",
					  "geo_source", "flags"};

	for (size_t i = 0; i < PS_ARRAY_LEN(key); i++)
		if (maybe_text(o, key[i]) != 0)
			return 0;
	return text(o, "client") != NULL;
}

static int peer(struct conv *c, uint32_t i)
{
	const cJSON *o = c->item[i];
	struct shm_peer *p = &c->peer[i];
	const char *ip = text(o, "ip"), *protocol = text(o, "protocol");
	double port, progress;

	shm_peer_ace_unknown(p);
	if (!ip || addr_parse(p->addr, ip) != 0 || whole(o, "port", 65535, &port) != 0 ||
	    number(o, "progress", 100, &progress) != 0 || !texts_are_texts(o))
		return -1;
	p->port = (uint16_t)port;
	p->progress = (uint16_t)(progress * 100 + 0.5);
	p->first_seen_s = p->last_seen_s = (uint32_t)(c->s.cached_at_ms / 1000);
	if (maybe_u32(o, "download_rate", &p->down_rate) != 0 ||
	    maybe_u32(o, "upload_rate", &p->up_rate) != 0 || state(o, p) != 0 ||
	    sources(o, p) != 0)
		return -1;
	if (protocol && strcmp(protocol, swarm_protocol_name(PEER_ACESTREAM)) == 0)
		p->protocol = PEER_ACESTREAM;
	p->client = p->place = i + 1;
	c->s.connected += p->state == PEER_CONNECTED;
	c->s.contacted += p->state == PEER_CONTACTED;
	c->s.tried += p->state == PEER_TRIED;
	return 0;
}

/* ---- the swarm -------------------------------------------------------------------------- */

static void phase(struct shm_swarm *s, const cJSON *o)
{
	const char *word = text(o, "phase");

	s->phase = SWARM_COLLECTING;
	for (int i = SWARM_JOINING; word && i <= SWARM_DEAD; i++)
		if (strcmp(word, swarm_phase_name(i)) == 0)
			s->phase = (uint8_t)i;
}

/* Its writer says himself that it is none: an error, or a way out that is blocked. */
static int is_unsure(const cJSON *o)
{
	const char *verdict = text(o, "verdict"), *error = text(o, "error");

	return maybe_text(o, "error") != 0 || maybe_text(o, "verdict") != 0 ||
	       (error && *error) || (verdict && strcmp(verdict, "path-blocked") == 0);
}

static int head(struct conv *c, const uint8_t id[IH_LEN], const cJSON *o)
{
	const cJSON *peers = cJSON_GetObjectItemCaseSensitive(o, "peers");
	double count, total, cached_at;
	struct shm_swarm *s = &c->s;
	uint8_t asked[IH_LEN];

	if (!cJSON_IsArray(peers) || infohash(asked, text(o, "acestream_id")) != 0 ||
	    memcmp(asked, id, IH_LEN) != 0 ||
	    infohash(s->infohash, text(o, "infohash")) != 0 ||
	    whole(o, "peer_count", CONF_SLOT_PEERS, &count) != 0 ||
	    whole(o, "total_peers", CONF_SLOT_PEERS, &total) != 0 ||
	    number(o, "cached_at", UINT32_MAX, &cached_at) != 0 || is_unsure(o))
		return -1;
	/* None is what that service says of a swarm that it has just joined. And if there are
	 * more than these, only its writer knows them. */
	if (count == 0 || count != total || count != cJSON_GetArraySize(peers))
		return -1;
	memcpy(s->id, id, IH_LEN);
	s->resolved =
		memcmp(id, s->infohash, IH_LEN) == 0 ? RESOLVED_TAKEN : RESOLVED_ENGINE;
	s->cached_at_ms = (uint64_t)(cached_at * 1000 + 0.5);
	s->connected_at_s = (uint32_t)cached_at;
	s->joined_at_s = (uint32_t)cached_at;
	s->protocol = PEER_UNSPOKEN;
	s->npeers = s->total_peers = (uint32_t)count;
	s->head = SHM_UNKNOWN;
	phase(s, o);
	return 0;
}

static int convert(struct conv *c, const uint8_t id[IH_LEN], const cJSON *o)
{
	const cJSON *one;
	uint32_t n = 0;

	if (!cJSON_IsObject(o) || head(c, id, o) != 0)
		return -1;
	cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(o, "peers"))
	{
		c->item[n] = one;
		if (!cJSON_IsObject(one) || peer(c, n++) != 0)
			return -1;
	}
	c->s.reached = c->s.connected + c->s.contacted;
	c->s.protocol = c->peer[0].protocol;
	return 0;
}

int listjson_convert(struct buf *out, const uint8_t id[IH_LEN], const char *json,
		     size_t len)
{
	struct listcode_names names = {conv_text, conv_place, NULL};
	struct conv *c = NULL;
	const char *end = NULL;
	cJSON *o = NULL;
	int rc = -1;

	if (len > LISTJSON_MAX)
		return -1;
	o = cJSON_ParseWithLengthOpts(json, len, &end, 0);
	c = calloc(1, sizeof(*c));
	names.arg = c;
	if (o && c && end == json + len && convert(c, id, o) == 0)
		rc = listcode_write(out, &c->s, c->peer, &names);
	free(c);
	cJSON_Delete(o);
	return rc;
}
