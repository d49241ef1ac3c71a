/*
 * acejson.c -- see acejson.h.
 */
#include "shm/acejson.h"

#include <stdio.h>

#include "common/ident.h"

/* v = major * 10^6 + minor * 10^4 + patch * 100 + build. */
#define MAJOR 1000000u
#define MINOR 10000u
#define PATCH 100u

/* ---- words -------------------------------------------------------------------- */

static const char *word(const char *const name[], size_t n, int i)
{
	return i >= 0 && (size_t)i < n ? name[i] : NULL;
}

const char *ace_role_name(int role)
{
	static const char *const name[] = {NULL, "viewer", "source-like", "source"};

	return word(name, PS_ARRAY_LEN(name), role);
}

const char *ace_kind_name(int kind)
{
	static const char *const name[] = {NULL, "live", "vod"};

	return word(name, PS_ARRAY_LEN(name), kind);
}

const char *ace_key_name(int key)
{
	static const char *const name[] = {NULL, "infohash", "content_id"};

	return word(name, PS_ARRAY_LEN(name), key);
}

const char *ace_motion_name(int motion)
{
	static const char *const name[] = {"unproven", "advancing", "stale"};
	const char *is = word(name, PS_ARRAY_LEN(name), motion);

	return is != NULL ? is : name[MOTION_UNPROVEN];
}

const char *ace_mode_name(int mode)
{
	static const char *const name[] = {NULL, "maybe", "first", "pinned"};

	return word(name, PS_ARRAY_LEN(name), mode);
}

void ace_version_text(char out[ACE_VERSION_MAX], int64_t version)
{
	uint32_t v = version > 0 && version <= UINT32_MAX ? (uint32_t)version : 0;
	int n;

	out[0] = '\0';
	if (v < MAJOR)
		return;
	n = snprintf(out, ACE_VERSION_MAX, "%u.%u.%u", v / MAJOR, v / MINOR % 100,
		     v / PATCH % 100);
	if (v % PATCH)
		snprintf(out + n, ACE_VERSION_MAX - (size_t)n, ".%u", v % PATCH);
}

/* ---- a peer --------------------------------------------------------------------- */

int64_t ace_lag_ms(const struct shm_peer *p, uint32_t piece_ms)
{
	if (p->lag == SHM_UNKNOWN || piece_ms == 0)
		return -1;
	return (int64_t)p->lag * piece_ms;
}

int64_t ace_lag_s10(int64_t lag_ms)
{
	return (lag_ms + 50) / 100;
}

static void put_piece(struct json *j, const char *key, uint32_t piece)
{
	json_uint_known(j, key, piece, piece != SHM_UNKNOWN);
}

static void put_country(struct json *j, const char code[2])
{
	if (code[0] != '\0')
		json_strn(j, "country", code, 2);
	else
		json_null(j, "country");
}

/* What can be true, false or not told. */
static void put_accessible(struct json *j, int accessible)
{
	if (accessible == ACCESS_YES || accessible == ACCESS_NO)
		json_bool(j, "accessible", accessible == ACCESS_YES);
	else
		json_null(j, "accessible");
}

static void put_lag(struct json *j, const struct shm_peer *p, uint32_t piece_ms)
{
	int64_t ms = ace_lag_ms(p, piece_ms);

	put_piece(j, "lag", p->lag);
	if (ms >= 0)
		json_fixed(j, "lag_seconds", ace_lag_s10(ms), 1);
	else
		json_null(j, "lag_seconds");
}

void ace_peer_json(struct json *j, const struct shm_peer *p, uint32_t piece_ms)
{
	char version[ACE_VERSION_MAX];

	ace_version_text(version, p->version);
	json_obj(j, "ace");
	json_str_or_null(j, "version", version[0] ? version : NULL);
	json_uint_known(j, "platform", p->platform, p->platform != 0);
	json_str_or_null(j, "role", ace_role_name(p->role));
	json_str_or_null(j, "kind", ace_kind_name(p->kind));
	put_piece(j, "head", p->head);
	put_piece(j, "position", p->position);
	put_lag(j, p, piece_ms);
	if (p->distance != SHM_DISTANCE_UNKNOWN)
		json_int(j, "distance", p->distance);
	else
		json_null(j, "distance");
	put_accessible(j, p->accessible);
	put_country(j, p->country);
	json_uint_known(j, "asn", p->asn, p->asn != 0);
	json_str_or_null(j, "key", ace_key_name(p->key));
	json_bool(j, "gossiped", (p->flags & PEER_F_GOSSIPED) != 0);
	json_uint_known(j, "told_at", p->told_s, p->told_s != 0);
	json_obj_end(j);
}

/* ---- a swarm --------------------------------------------------------------------- */

void ace_swarm_json(struct json *j, const struct shm_swarm *s)
{
	const char *mode = ace_mode_name(s->ace_mode);
	char content[IH_HEX_LEN];

	if (mode == NULL) {
		json_null(j, "ace");
		return;
	}
	ih_hex(content, s->content);
	json_obj(j, "ace");
	json_str(j, "mode", mode);
	json_str(j, "motion", ace_motion_name(s->motion));
	json_uint_known(j, "motion_at", s->motion_s, s->motion_s != 0);
	json_str_or_null(j, "kind", ace_kind_name(s->kind));
	put_piece(j, "head", s->head);
	json_uint_known(j, "head_at", s->head_s, s->head_s != 0);
	if (s->piece_ms != 0)
		json_fixed(j, "piece_seconds", s->piece_ms, 3);
	else
		json_null(j, "piece_seconds");
	json_uint(j, "sources", s->sources);
	json_uint(j, "source_like", s->source_like);
	json_uint(j, "discovered", s->discovered);
	json_uint(j, "reachable", s->reachable);
	json_uint(j, "gossiped", s->gossiped);
	json_str_or_null(j, "content_id", s->has_content ? content : NULL);
	json_obj_end(j);
}
