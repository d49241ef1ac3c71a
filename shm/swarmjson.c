/*
 * swarmjson.c -- a swarm as JSON. See swarmjson.h; the contract is the peers
 * answer that the replaced service gave, field for field, ours beside it.
 */
#include <stdio.h>
#include <string.h>

#include "shm/acejson.h"
#include "shm/swarmjson.h"
#include "shm/verdictjson.h"

const char *swarm_why_text(int why)
{
	static const char *const text[WHY_N] = {
		[WHY_JOINING] =
			"the swarm was joined a moment ago and nothing was heard yet",
		[WHY_NOBODY] = "trackers and DHT were asked and nobody is in this swarm",
		[WHY_NO_SOURCE] =
			"there is no tracker and no DHT to ask about this swarm",
		[WHY_TRACKERS_FAIL] = "no tracker has answered (the DHT is off)",
		[WHY_DHT_SILENT] =
			"the DHT has found nobody so far (there is no tracker)",
		[WHY_SILENCE] = "neither a tracker nor the DHT has answered; is the "
				"network (or the VPN) up?",
		[WHY_TRACKERS_ERROR] = "trackers answered with an error, and nobody else "
				       "has answered (evidence.trackers.last_failure)",
		[WHY_TRACKERS_NAMES] = "the names of the trackers are not found, so "
				       "nobody has answered: check the resolver (DNS)",
		[WHY_NOBODY_TRACKERS] =
			"trackers were asked and nobody is in this swarm (the DHT is off)",
		[WHY_NOBODY_DHT] = "the DHT was asked and nobody is in this swarm "
				   "(there is no tracker)",
		[WHY_NOBODY_NO_DHT] =
			"trackers know nobody in this swarm, and the DHT has not answered",
		[WHY_NOBODY_NO_TRACKER] = "the DHT knows nobody in this swarm, and no "
					  "tracker has given peers",
	};

	if (why < 0 || why >= WHY_N || text[why] == NULL)
		return "no peer is known";
	return text[why];
}

/* --- texts that strangers chose ---------------------------------------- */

/* Bytes of a sequence at s that would move a cursor, turn the direction of writing
 * or break a line: C0, DEL, C1, and the format characters that do so. 0: harmless. */
static size_t unprintable(const uint8_t *s, size_t left)
{
	if (s[0] < 0x20 || s[0] == 0x7f)
		return 1;
	if (left >= 2 && s[0] == 0xc2 && s[1] >= 0x80 && s[1] <= 0x9f)
		return 2; /* C1 */
	if (left >= 2 && s[0] == 0xd8 && s[1] == 0x9c)
		return 2; /* U+061C */
	if (left < 3 || s[0] != 0xe2)
		return 0;
	if (s[1] == 0x80 &&
	    ((s[2] >= 0x8b && s[2] <= 0x8f) || (s[2] >= 0xa8 && s[2] <= 0xae)))
		return 3; /* U+200B..200F, U+2028..202E */
	if (s[1] == 0x81 && s[2] >= 0xa0 && s[2] <= 0xaf)
		return 3; /* U+2060..206F */
	return 0;
}

size_t swarm_clean_text(char *text)
{
	uint8_t *s = (uint8_t *)text;
	size_t len = strlen(text), from = 0, to = 0;

	while (from < len) {
		size_t bad = unprintable(s + from, len - from);
		size_t n = bad > 0 ? 0 : utf8_len(s + from, len - from);

		if (n > 0)
			memmove(s + to, s + from, n);
		else
			s[to] = '?';
		to += n > 0 ? n : 1;
		from += n + bad > 0 ? n + bad : 1;
	}
	s[to] = '\0';
	return to;
}

static void show(char *text, size_t size, const char *unknown)
{
	if (swarm_clean_text(text) == 0)
		snprintf(text, size, "%s", unknown);
}

/* --- one peer ---------------------------------------------------------- */

const char *swarm_source_name(int i)
{
	static const char *const name[] = {"tracker", "dht",      "pex",
					   "lsd",     "incoming", "x.pe"};

	_Static_assert(PEER_SRC_TRACKER == 1u << 0 && PEER_SRC_DHT == 1u << 1 &&
			       PEER_SRC_PEX == 1u << 2 && PEER_SRC_LSD == 1u << 3 &&
			       PEER_SRC_INCOMING == 1u << 4 &&
			       PEER_SRC_GIVEN == 1u << 5 &&
			       PS_ARRAY_LEN(name) == SWARM_SOURCES,
		       "a name for each bit");
	return name[i];
}

const char *swarm_protocol_name(int protocol)
{
	return protocol == PEER_ACESTREAM ? "acestream" : "bittorrent";
}

const char *swarm_spoken_name(const struct shm_swarm *s)
{
	return s->protocol == PEER_UNSPOKEN ? NULL : swarm_protocol_name(s->protocol);
}

uint32_t swarm_progress(const struct shm_peer *peer)
{
	return (peer->progress > 10000 ? 10000u : peer->progress) / 10u;
}

static void put_sources(struct json *j, unsigned sources)
{
	json_arr(j, "sources");
	for (int i = 0; i < SWARM_SOURCES; i++)
		if (sources & 1u << i)
			json_str(j, NULL, swarm_source_name(i));
	json_arr_end(j);
}

/* Letters; shm/README.md says what they stand for. */
static void flags_text(char out[8], const struct shm_peer *peer)
{
	size_t n = 0;

	if (peer->flags & PEER_F_ENCRYPTED)
		out[n++] = 'E';
	if (peer->flags & PEER_F_UTP)
		out[n++] = 'U';
	if (peer->sources & PEER_SRC_INCOMING)
		out[n++] = 'I';
	if (peer->flags & PEER_F_SEED)
		out[n++] = 'S';
	if (peer->flags & PEER_F_INTERESTED)
		out[n++] = 'W';
	if (peer->flags & PEER_F_CHOKED)
		out[n++] = 'C';
	out[n] = '\0';
}

void swarm_text(struct swarm_text *out, const struct ptab *p, const struct shm_peer *peer)
{
	struct place *at = &out->at;

	addr_text(out->ip, peer->addr);
	flags_text(out->flags, peer);
	ptab_client(p, peer->client, out->client);
	ptab_place(p, peer->place, at);
	show(out->client, sizeof(out->client), "Unknown");
	show(at->country, sizeof(at->country), "Unknown");
	show(at->code, sizeof(at->code), "??");
	show(at->city, sizeof(at->city), "Unknown");
	show(at->isp, sizeof(at->isp), "Unknown");
	show(at->region, sizeof(at->region), "Unknown");
	show(at->timezone, sizeof(at->timezone), "Unknown");
	show(at->source, sizeof(at->source), "");
}

static void put_place(struct json *j, const struct place *at)
{
	json_str(j, "country", at->country);
	json_str(j, "country_code", at->code);
	json_str(j, "city", at->city);
	json_str(j, "isp", at->isp);
	json_str(j, "region", at->region);
	if (at->has_point) {
		json_fixed(j, "latitude", at->lat_e5, 5);
		json_fixed(j, "longitude", at->lon_e5, 5);
	} else {
		json_null(j, "latitude");
		json_null(j, "longitude");
	}
	json_str(j, "timezone", at->timezone);
}

void swarm_peer_json(struct json *j, const struct shm_swarm *s,
		     const struct shm_peer *peer, const struct swarm_text *text)
{
	json_obj(j, NULL);
	json_str(j, "ip", text->ip);
	json_uint(j, "port", peer->port);
	json_str(j, "client", text->client);
	json_fixed(j, "progress", swarm_progress(peer), 1);
	json_uint(j, "download_rate", peer->down_rate);
	json_uint(j, "upload_rate", peer->up_rate);
	put_place(j, &text->at);
	json_str(j, "flags", text->flags);
	json_str(j, "state", peer_state_name(peer->state));
	put_sources(j, peer->sources);
	json_str(j, "protocol", swarm_protocol_name(peer->protocol));
	json_uint(j, "first_seen", peer->first_seen_s);
	json_uint(j, "last_seen", peer->last_seen_s);
	json_uint_known(j, "asn", text->at.asn, text->at.asn != 0);
	json_str_or_null(j, "geo_source", text->at.source[0] ? text->at.source : NULL);
	json_uint_known(j, "accuracy_radius_km", text->at.accuracy_km,
			text->at.accuracy_km != 0);
	if (peer->protocol == PEER_ACESTREAM)
		ace_peer_json(j, peer, s->piece_ms);
	json_obj_end(j);
}

/* --- the swarm --------------------------------------------------------- */

static void put_counts(struct json *j, const struct shm_swarm *s)
{
	json_obj(j, "counts");
	if (s->tracker_at_s != 0) {
		json_obj(j, "tracker");
		json_uint(j, "seeds", s->tracker_seeds);
		json_uint(j, "leechers", s->tracker_leechers);
		json_uint(j, "at", s->tracker_at_s);
		json_obj_end(j);
	} else {
		json_null(j, "tracker");
	}
	dht_json(j, s);
	json_obj(j, "connected");
	json_uint(j, "peers", s->connected);
	json_uint(j, "at", s->connected_at_s);
	json_obj_end(j);
	json_obj(j, "trackers");
	json_uint(j, "asked", s->trackers);
	json_uint(j, "answered", s->trackers_ok);
	json_obj_end(j);
	json_obj_end(j);
}

const char *swarm_resolved_word(int how)
{
	switch (how) {
	case RESOLVED_TAKEN: return "taken";
	case RESOLVED_ENGINE: return "resolved";
	case RESOLVED_SAME: return "same";
	case RESOLVED_NOT_FOUND: return "not_found";
	case RESOLVED_NO_ANSWER: return "no_answer";
	case RESOLVED_HYBRID: return "hybrid";
	default: return NULL;
	}
}

static const char *resolved_text(int how)
{
	switch (how) {
	case RESOLVED_TAKEN: return "the id is taken as an infohash; no engine was asked";
	case RESOLVED_ENGINE:
		return "the AceStream engine knows the id as a content id of this infohash";
	case RESOLVED_SAME: return "the AceStream engine says that the id is an infohash";
	case RESOLVED_NOT_FOUND:
		return "the AceStream engine does not know the id, so it is taken as an infohash";
	case RESOLVED_NO_ANSWER:
		return "the AceStream engine did not answer, so the id is taken as an infohash "
		       "for now";
	case RESOLVED_HYBRID:
		return "the id is one of the two hashes of a hybrid torrent (BEP 52); this is "
		       "the other";
	default: return NULL;
	}
}

/* How the id became the infohash, what else the engine said, and the torrent's other
 * hash. */
static void put_resolution(struct json *j, const struct shm_swarm *s, const char *title)
{
	char hex[2 * IH_V2_LEN + 1];

	hex_text(hex, s->v2, IH_V2_LEN);
	json_str_or_null(j, "infohash_v2", s->has_v2 ? hex : NULL);
	json_str_or_null(j, "resolution", swarm_resolved_word(s->resolved));
	json_str_or_null(j, "resolution_detail", resolved_text(s->resolved));
	json_str_or_null(j, "title", title[0] ? title : NULL);
}

/* Texts of a swarm itself, as they are shown. */
struct words {
	char said[SHM_STRING_MAX + 1], title[SHM_STRING_MAX + 1];
};

static void get_words(struct words *out, const struct ptab *p, const struct shm_swarm *s)
{
	ptab_client(p, s->tracker_said, out->said);
	ptab_client(p, s->title, out->title);
	(void)swarm_clean_text(out->said);
	(void)swarm_clean_text(out->title);
}

static void put_ids(struct json *j, const char *asked, const uint8_t id[IH_LEN])
{
	char hex[IH_HEX_LEN];

	ih_hex(hex, id);
	json_obj(j, NULL);
	json_str(j, "acestream_id", asked);
	json_str(j, "infohash", hex);
	json_arr(j, "peers");
}

static void put_rest(struct json *j, const struct shm_swarm *s, uint32_t count,
		     const char *error, const struct words *words,
		     const struct swarm_pick *pick)
{
	json_arr_end(j);
	json_uint(j, "peer_count", count);
	json_uint(j, "total_peers", s->total_peers);
	if (pick != NULL && pick->filtered)
		json_uint(j, "matched", pick->n);
	json_fixed(j, "cached_at", (int64_t)s->cached_at_ms, 3);
	json_str_or_null(j, "error", error);
	json_str(j, "phase", swarm_phase_name(s->phase));
	put_counts(j, s);
	put_resolution(j, s, words->title);
	json_str_or_null(j, "protocol", swarm_spoken_name(s));
	ace_swarm_json(j, s);
	verdict_json(j, s, words->said);
	if (pick != NULL && pick->more != NULL)
		pick->more(j, pick->arg);
	json_obj_end(j);
}

const char *swarm_empty_text(const struct shm_swarm *s, uint32_t npick)
{
	if (s->npeers == 0)
		return swarm_why_text(s->why);
	return npick == 0 ? "peers are known, but none passes the filters" : NULL;
}

int swarm_json(struct buf *out, const struct ptab *p, const struct swarm_copy *c,
	       const char *asked, uint32_t limit, const struct swarm_pick *pick)
{
	uint32_t have = pick != NULL ? pick->n : c->s.npeers;
	uint32_t n = have < limit ? have : limit;
	size_t start = out->len;
	struct swarm_text text;
	struct words words;
	struct json j;

	PS_ASSERT(c->s.npeers <= CONF_SLOT_PEERS && have <= c->s.npeers);
	json_init(&j, out);
	put_ids(&j, asked, c->s.infohash);
	for (uint32_t i = 0; i < n && !out->failed; i++) {
		const struct shm_peer *peer = &c->peer[pick != NULL ? pick->index[i] : i];

		swarm_text(&text, p, peer);
		swarm_peer_json(&j, &c->s, peer, &text);
	}
	get_words(&words, p, &c->s);
	put_rest(&j, &c->s, n, n > 0 ? NULL : swarm_empty_text(&c->s, have), &words,
		 pick);
	if (out->failed)
		return -1;
	if (ptab_names_valid(p, c->names_seq))
		return 0;
	out->len = start;
	out->p[start] = '\0';
	return -1;
}

void swarm_json_empty(struct buf *out, const char *asked, const uint8_t id[IH_LEN],
		      uint64_t now_wall_ms, const char *error, unsigned path,
		      const struct swarm_pick *pick)
{
	struct words none = {"", ""};
	struct shm_swarm s;
	struct json j;

	memset(&s, 0, sizeof(s));
	s.resolved = RESOLVED_UNKNOWN;
	s.protocol = PEER_UNSPOKEN;
	s.cached_at_ms = now_wall_ms;
	s.path = (uint8_t)path;
	if (PATH_ALL(path) >= PATH_BLOCKED)
		s.verdict = VERDICT_PATH_BLOCKED;
	s.connected_at_s = (uint32_t)(now_wall_ms / 1000);
	json_init(&j, out);
	put_ids(&j, asked, id);
	put_rest(&j, &s, 0, error, &none, pick);
}
