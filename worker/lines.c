/* lines.c -- CSV and NDJSON; see lines.h. */
#include <inttypes.h>
#include <string.h>

#include "shm/acejson.h"
#include "worker/lines.h"

void lines_csv_head(struct buf *out)
{
	buf_str(out,
		"ip,port,client,progress,download_rate,upload_rate,country,country_code,"
		"city,isp,region,latitude,longitude,timezone,flags,state,sources,protocol,"
		"first_seen,last_seen,asn,geo_source,accuracy_radius_km,ace_version,"
		"ace_platform,ace_role,ace_kind,ace_head,ace_position,ace_lag,ace_lag_seconds,ace_distance,"
		"ace_accessible,ace_country,ace_asn,ace_key,ace_gossiped,ace_told_at\r\n");
}

void lines_cell(struct buf *out, const char *text)
{
	int formula = text[0] && strchr("=+-@\t\r", text[0]) != NULL;

	if (!text[strcspn(text, ",\"\r\n")] && text[0] != ' ') {
		if (formula)
			buf_str(out, "'");
		buf_str(out, text);
		return;
	}
	buf_str(out, formula ? "\"'" : "\"");
	while (*text) {
		size_t n = strcspn(text, "\"");

		buf_add(out, text, n);
		text += n;
		if (*text) {
			buf_str(out, "\"\"");
			text++;
		}
	}
	buf_str(out, "\"");
}

/* text and a comma */
static void cell(struct buf *out, const char *text)
{
	lines_cell(out, text);
	buf_add(out, ",", 1);
}

static void point(struct buf *out, const struct place *at, int32_t e5)
{
	struct json j;

	if (at->has_point) {
		json_init(&j, out);
		json_fixed(&j, NULL, e5, 5);
	}
	buf_add(out, ",", 1);
}

static void sources(struct buf *out, unsigned mask)
{
	int any = 0;

	for (int i = 0; i < SWARM_SOURCES; i++)
		if (mask & 1u << i) {
			buf_printf(out, "%s%s", any ? " " : "", swarm_source_name(i));
			any = 1;
		}
	buf_add(out, ",", 1);
}

/* A comma, and the value if it is known. */
static void next_number(struct buf *out, int64_t v, int known)
{
	struct json j;

	buf_add(out, ",", 1);
	if (!known)
		return;
	json_init(&j, out);
	json_int(&j, NULL, v);
}

static void next_word(struct buf *out, const char *word)
{
	buf_add(out, ",", 1);
	if (word)
		buf_str(out, word);
}

static void next_lag(struct buf *out, int64_t lag_ms)
{
	struct json j;

	buf_add(out, ",", 1);
	if (lag_ms < 0)
		return;
	json_init(&j, out);
	json_fixed(&j, NULL, ace_lag_s10(lag_ms), 1);
}

/* In the order of the header, which is that of JSON; of others, nothing. */
static void csv_ace(struct buf *out, const struct shm_swarm *s, const struct shm_peer *p)
{
	static const char *const accessible[] = {NULL, "false", "true"};
	char version[ACE_VERSION_MAX];

	if (p->protocol != PEER_ACESTREAM) {
		buf_str(out, ",,,,,,,,,,,,,,,");
		return;
	}
	ace_version_text(version, p->version);
	next_word(out, version);
	next_number(out, p->platform, p->platform != 0);
	next_word(out, ace_role_name(p->role));
	next_word(out, ace_kind_name(p->kind));
	next_number(out, p->head, p->head != SHM_UNKNOWN);
	next_number(out, p->position, p->position != SHM_UNKNOWN);
	next_number(out, p->lag, p->lag != SHM_UNKNOWN);
	next_lag(out, ace_lag_ms(p, s->piece_ms));
	next_number(out, p->distance, p->distance != SHM_DISTANCE_UNKNOWN);
	next_word(out, p->accessible <= ACCESS_YES ? accessible[p->accessible] : NULL);
	buf_add(out, ",", 1);
	buf_add(out, p->country, p->country[0] ? 2 : 0);
	next_number(out, p->asn, p->asn != 0);
	next_word(out, ace_key_name(p->key));
	next_word(out, p->flags & PEER_F_GOSSIPED ? "true" : "false");
	next_number(out, p->told_s, p->told_s != 0);
}

static void csv_peer(struct buf *out, const struct shm_swarm *s,
		     const struct shm_peer *peer, const struct swarm_text *t)
{
	uint32_t progress = swarm_progress(peer);

	buf_printf(out, "%s,%u,", t->ip, peer->port);
	cell(out, t->client);
	buf_printf(out, "%" PRIu32 ".%" PRIu32 ",%" PRIu32 ",%" PRIu32 ",", progress / 10,
		   progress % 10, peer->down_rate, peer->up_rate);
	cell(out, t->at.country);
	cell(out, t->at.code);
	cell(out, t->at.city);
	cell(out, t->at.isp);
	cell(out, t->at.region);
	point(out, &t->at, t->at.lat_e5);
	point(out, &t->at, t->at.lon_e5);
	cell(out, t->at.timezone);
	cell(out, t->flags);
	cell(out, peer_state_name(peer->state));
	sources(out, peer->sources);
	cell(out, swarm_protocol_name(peer->protocol));
	buf_printf(out, "%" PRIu32 ",%" PRIu32 ",", peer->first_seen_s,
		   peer->last_seen_s);
	if (t->at.asn != 0)
		buf_printf(out, "%" PRIu32, t->at.asn);
	buf_add(out, ",", 1);
	lines_cell(out, t->at.source);
	next_number(out, t->at.accuracy_km, t->at.accuracy_km != 0);
	csv_ace(out, s, peer);
	buf_str(out, "\r\n");
}

static void ndjson_peer(struct buf *out, const struct shm_swarm *s,
			const struct shm_peer *peer, const struct swarm_text *t)
{
	struct json j;

	json_init(&j, out);
	swarm_peer_json(&j, s, peer, t);
	buf_str(out, "\n");
}

static int write_all(struct buf *out, const struct ptab *p, const struct swarm_copy *c,
		     uint32_t limit, const struct swarm_pick *pick,
		     void (*put)(struct buf *, const struct shm_swarm *,
				 const struct shm_peer *, const struct swarm_text *))
{
	uint32_t n = pick->n < limit ? pick->n : limit;
	struct swarm_text text;

	for (uint32_t i = 0; i < n && !out->failed; i++) {
		const struct shm_peer *peer = &c->peer[pick->index[i]];

		swarm_text(&text, p, peer);
		put(out, &c->s, peer, &text);
	}
	return out->failed || !ptab_names_valid(p, c->names_seq) ? -1 : 0;
}

int lines_csv(struct buf *out, const struct ptab *p, const struct swarm_copy *c,
	      uint32_t limit, const struct swarm_pick *pick)
{
	lines_csv_head(out);
	return write_all(out, p, c, limit, pick, csv_peer);
}

int lines_ndjson(struct buf *out, const struct ptab *p, const struct swarm_copy *c,
		 uint32_t limit, const struct swarm_pick *pick)
{
	return write_all(out, p, c, limit, pick, ndjson_peer);
}
