/*
 * resolve.c -- see resolve.h.
 */
#include "collector/resolve.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "collector/lru.h"
#include "shm/swarmjson.h"

/* ---- the engine's words -------------------------------------------------------- */

void resolve_set_title(struct resolved *r, const char *text)
{
	size_t n = text ? strnlen(text, RESOLVE_TITLE_MAX - 1) : 0;

	/* the first byte that is left out must not be inside a character */
	while (n > 0 && ((uint8_t)text[n] & 0xc0) == 0x80)
		n--;
	memcpy(r->title, text ? text : "", n);
	r->title[n] = '\0';
	(void)swarm_clean_text(r->title);
}

/* Exactly 40 hexadecimal digits, not all of them zero. */
static int parse_infohash(uint8_t out[IH_LEN], const char *text)
{
	struct ident id;
	char err[ERRLEN];

	if (strlen(text) != IH_HEX_LEN - 1 ||
	    ident_parse(&id, text, strlen(text), err) != 0 || id.form != IDENT_HEX40)
		return -1;
	memcpy(out, id.key, IH_LEN);
	return 0;
}

static int taken_as_it_is(struct resolved *out, const uint8_t id[IH_LEN],
			  enum swarm_resolved how)
{
	memcpy(out->infohash, id, IH_LEN);
	out->how = (uint8_t)how;
	out->title[0] = '\0';
	return 0;
}

/* NULL: no such string. */
static const char *text_in(const cJSON *o, const char *key)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, key));
}

static int parse_result(struct resolved *out, const uint8_t id[IH_LEN],
			const cJSON *result, char err[ERRLEN])
{
	const cJSON *hash = cJSON_GetObjectItemCaseSensitive(result, "infohash");

	if (!hash || cJSON_IsNull(hash)) /* a web stream, say: no swarm is known */
		return taken_as_it_is(out, id, RESOLVED_NOT_FOUND);
	if (!cJSON_IsString(hash) || parse_infohash(out->infohash, hash->valuestring))
		return err_set(err, "its infohash is not 40 hexadecimal digits");
	out->how =
		memcmp(out->infohash, id, IH_LEN) == 0 ? RESOLVED_SAME : RESOLVED_ENGINE;
	resolve_set_title(out, text_in(result, "title"));
	return 0;
}

/* Errors come with status 200, beside a result of null. */
int resolve_parse(struct resolved *out, const uint8_t id[IH_LEN], const char *body,
		  size_t len, char err[ERRLEN])
{
	cJSON *j = cJSON_ParseWithLength(body, len);
	const cJSON *result = cJSON_GetObjectItemCaseSensitive(j, "result");
	const cJSON *error = cJSON_GetObjectItemCaseSensitive(j, "error");
	int rc;

	if (!cJSON_IsObject(j))
		rc = err_set(err, "its answer is not a JSON object");
	else if (cJSON_IsString(error) && !cJSON_IsObject(result))
		rc = taken_as_it_is(out, id, RESOLVED_NOT_FOUND);
	else if (cJSON_IsObject(result) && (!error || cJSON_IsNull(error)))
		rc = parse_result(out, id, result, err);
	else
		rc = err_set(err, "its answer has neither result nor error");
	cJSON_Delete(j);
	return rc;
}

int resolve_is_engine(const char *body, size_t len, char err[ERRLEN])
{
	cJSON *j = cJSON_ParseWithLength(body, len);
	const char *version =
		text_in(cJSON_GetObjectItemCaseSensitive(j, "result"), "version");
	int is = version && version[0];

	cJSON_Delete(j);
	if (!is)
		(void)err_set(err, "its answer about its version is no engine's");
	return is;
}

uint64_t resolve_ttl_ms(const struct resolved *r)
{
	switch (r->how) {
	case RESOLVED_ENGINE:
	case RESOLVED_SAME: return RESOLVE_KNOWN_MS;
	case RESOLVED_NOT_FOUND: return RESOLVE_NOT_FOUND_MS;
	default: return RESOLVE_NO_ANSWER_MS;
	}
}

/* ---- written down ---------------------------------------------------------------- */

void resolve_write(struct buf *out, const struct resolved *r, uint64_t until_wall_ms)
{
	char hex[IH_HEX_LEN];
	struct json j;

	ih_hex(hex, r->infohash);
	json_init(&j, out);
	json_obj(&j, NULL);
	json_str(&j, "infohash", hex);
	json_str(&j, "resolution", swarm_resolved_word(r->how));
	json_str_or_null(&j, "title", r->title[0] ? r->title : NULL);
	json_uint(&j, "until", until_wall_ms);
	json_obj_end(&j);
}

/* Who shares our Redis may write there, too: only what an engine could have said. */
static int is_sound(const struct resolved *r, const uint8_t id[IH_LEN])
{
	int same = memcmp(r->infohash, id, IH_LEN) == 0;

	return r->how == RESOLVED_ENGINE ? !same : same;
}

static int word_of(struct resolved *out, const char *word)
{
	static const uint8_t how[] = {RESOLVED_ENGINE, RESOLVED_SAME, RESOLVED_NOT_FOUND};

	for (size_t i = 0; i < PS_ARRAY_LEN(how); i++)
		if (strcmp(word, swarm_resolved_word(how[i])) == 0) {
			out->how = how[i];
			return 0;
		}
	return -1;
}

int resolve_read(struct resolved *out, uint64_t *left_ms, const uint8_t id[IH_LEN],
		 const char *text, size_t len, uint64_t now_wall_ms)
{
	cJSON *j = cJSON_ParseWithLength(text, len);
	const cJSON *hash = cJSON_GetObjectItemCaseSensitive(j, "infohash");
	const cJSON *word = cJSON_GetObjectItemCaseSensitive(j, "resolution");
	const cJSON *until = cJSON_GetObjectItemCaseSensitive(j, "until");
	double left =
		cJSON_IsNumber(until) ? until->valuedouble - (double)now_wall_ms : 0;
	int rc = -1;

	if (cJSON_IsString(hash) && cJSON_IsString(word) && left >= 1 &&
	    parse_infohash(out->infohash, hash->valuestring) == 0 &&
	    word_of(out, word->valuestring) == 0 && is_sound(out, id)) {
		uint64_t most = resolve_ttl_ms(out); /* clocks differ */

		*left_ms = left < (double)most ? (uint64_t)left : most;
		resolve_set_title(out, text_in(j, "title"));
		rc = 0;
	}
	cJSON_Delete(j);
	return rc;
}

/* ---- in memory ---------------------------------------------------------------------- */

struct rescache {
	struct lru *lru;
	struct resentry *entry; /* max of them, under the index's numbers */
};

int rescache_open(struct rescache **out, uint32_t max)
{
	struct rescache *c = calloc(1, sizeof(*c));

	if (!c)
		return -1;
	c->entry = calloc(max, sizeof(*c->entry));
	if (!c->entry || lru_open(&c->lru, max, IH_LEN) != 0) {
		rescache_close(&c);
		return -1;
	}
	*out = c;
	return 0;
}

void rescache_close(struct rescache **cp)
{
	struct rescache *c = *cp;

	if (!c)
		return;
	*cp = NULL;
	lru_close(&c->lru);
	free(c->entry);
	free(c);
}

const struct resentry *rescache_find(struct rescache *c, const uint8_t id[IH_LEN])
{
	uint32_t i = lru_find(c->lru, id);

	if (i == LRU_NONE)
		return NULL;
	lru_touch(c->lru, i);
	return &c->entry[i];
}

int rescache_put(struct rescache *c, const struct resentry *e)
{
	int gone;

	c->entry[lru_put(c->lru, e->id, &gone)] = *e;
	return gone;
}

uint32_t rescache_count(const struct rescache *c)
{
	return lru_count(c->lru);
}
