/* conf.c -- see conf.h. */
#include "common/conf.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CONF_OFF_STR(s, k) offsetof(struct conf, s##_##k)
#define CONF_OFF_SECRET(s, k) offsetof(struct conf, s##_##k)
#define CONF_OFF_MS(s, k) offsetof(struct conf, s##_##k##_ms)
#define CONF_OFF_SIZE(s, k) offsetof(struct conf, s##_##k##_bytes)
#define CONF_OFF_INT(s, k) offsetof(struct conf, s##_##k)
#define CONF_OFF_BOOL(s, k) offsetof(struct conf, s##_##k)
#define CONF_OFF_REDIS_MODE(s, k) offsetof(struct conf, s##_##k)
#define CONF_OFF_LOG_LEVEL(s, k) offsetof(struct conf, s##_##k)
#define CONF_OFF_LOG_FORMAT(s, k) offsetof(struct conf, s##_##k)

static const struct conf_key conf_table[] = {
#define X(s, k, type, def, min, max, how, help) \
	{#s, #k, CONF_##type, def, min, max, CONF_##how, help, CONF_OFF_##type(s, k)},
	CONF_KEYS(X)
#undef X
};

/* Largest first: conf_text takes the first that divides. */
struct conf_unit {
	const char *name;
	uint64_t factor;
};
static const struct conf_unit conf_units_ms[] = {
	{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}, {NULL, 0},
};
static const struct conf_unit conf_units_size[] = {
	{"g", 1u << 30}, {"m", 1u << 20}, {"k", 1u << 10}, {"b", 1}, {NULL, 0},
};

const struct conf_key *conf_keys(size_t *n)
{
	if (n)
		*n = PS_ARRAY_LEN(conf_table);
	return conf_table;
}

const char *const *conf_words(enum conf_type type)
{
	static const char *const modes[] = {"bundled", "external", "off", NULL};
	static const char *const levels[] = {"fatal", "error", "warn", "notice",
					     "info",  "debug", NULL};
	static const char *const formats[] = {"text", "json", NULL};

	switch (type) {
	case CONF_REDIS_MODE: return modes;
	case CONF_LOG_LEVEL: return levels;
	case CONF_LOG_FORMAT: return formats;
	default: return NULL;
	}
}

static const struct conf_unit *conf_units(enum conf_type type)
{
	return type == CONF_MS     ? conf_units_ms
	       : type == CONF_SIZE ? conf_units_size
				   : NULL;
}

static void conf_unit_text(char *out, size_t size, enum conf_type type, uint64_t v)
{
	const struct conf_unit *u = conf_units(type);

	if (!u) {
		snprintf(out, size, "%" PRIu64, v);
		return;
	}
	if (v == 0)
		u = type == CONF_MS ? &conf_units_ms[3] : &conf_units_size[3];
	while (v % u->factor)
		u++; /* ends at the factor 1 */
	snprintf(out, size, "%" PRIu64 "%s", v / u->factor, u->name);
}

static int conf_range(const struct conf_key *k, char err[ERRLEN])
{
	char low[32], high[32];

	conf_unit_text(low, sizeof(low), k->type, (uint64_t)k->min);
	conf_unit_text(high, sizeof(high), k->type, (uint64_t)k->max);
	return err_set(err, "out of range, %s to %s", low, high);
}

static const struct conf_unit *conf_find_unit(const struct conf_unit *units,
					      const char *name)
{
	for (; units->name; units++) {
		if (strcasecmp(units->name, name) == 0)
			return units;
	}
	return NULL;
}

/* Digits and, for a type that has units, one of them. All minima are >= 0. */
static int conf_number(const struct conf_key *k, const char *text, uint64_t *out,
		       char err[ERRLEN])
{
	const struct conf_unit *units = conf_units(k->type), *u;
	uint64_t factor = 1, v;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return err_set(err,
			       units ? "must be a number and a unit, e.g. %s"
				     : "must be a whole number, e.g. %s",
			       k->def);
	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno)
		return conf_range(k, err);
	if (units) {
		const char *names =
			k->type == CONF_MS ? "ms, s, m, h or d" : "b, k, m or g";

		if (!*end)
			return err_set(err, "needs a unit, e.g. %s", k->def);
		u = conf_find_unit(units, end);
		if (!u)
			return err_set(err, "units are %s", names);
		factor = u->factor;
	} else if (*end) {
		return err_set(err, "must be a whole number, e.g. %s", k->def);
	}
	if (v > (uint64_t)k->max / factor || v * factor < (uint64_t)k->min)
		return conf_range(k, err);
	*out = v * factor;
	return 0;
}

static int conf_bool(const char *text, int *out, char err[ERRLEN])
{
	static const char *const yes[] = {"on", "true", "yes", "1"};
	static const char *const no[] = {"off", "false", "no", "0"};

	for (size_t i = 0; i < PS_ARRAY_LEN(yes); i++) {
		if (strcasecmp(text, yes[i]) == 0 || strcasecmp(text, no[i]) == 0) {
			*out = strcasecmp(text, yes[i]) == 0;
			return 0;
		}
	}
	return err_set(err, "must be on or off");
}

static int conf_word(const struct conf_key *k, const char *text, int *out,
		     char err[ERRLEN])
{
	const char *const *words = conf_words(k->type);
	size_t used;

	for (int i = 0; words[i]; i++) {
		if (strcasecmp(text, words[i]) == 0) {
			*out = i;
			return 0;
		}
	}
	err_set(err, "must be");
	for (int i = 0; words[i]; i++) {
		used = strlen(err);
		snprintf(err + used, ERRLEN - used, "%s%s",
			 i == 0         ? " "
			 : words[i + 1] ? ", "
					: " or ",
			 words[i]);
	}
	return -1;
}

static int conf_str(const struct conf_key *k, const char *text, char *out,
		    char err[ERRLEN])
{
	size_t len = strlen(text);

	if (len > (size_t)k->max)
		return err_set(err, "too long, %zu bytes of at most %" PRId64, len,
			       k->max);
	if (len < (size_t)k->min)
		return err_set(err, len ? "too short" : "must not be empty");
	if (text[0] == '"' || text[0] == '\'')
		return err_set(err, "values are written without quotes");
	for (size_t i = 0; i < len; i++) {
		if (iscntrl((unsigned char)text[i]))
			return err_set(err, "contains a control character");
	}
	memset(out, 0, (size_t)k->max + 1); /* equal values are equal bytes */
	memcpy(out, text, len);
	return 0;
}

int conf_set(struct conf *c, const struct conf_key *k, const char *text, char err[ERRLEN])
{
	char *field = (char *)c + k->offset;
	uint64_t n = 0;
	int v = 0;

	switch (k->type) {
	case CONF_STR:
	case CONF_SECRET: return conf_str(k, text, field, err);
	case CONF_MS:
	case CONF_SIZE:
	case CONF_INT: /* int64_t and uint64_t have one representation up to max */
		if (conf_number(k, text, &n, err) != 0)
			return -1;
		memcpy(field, &n, sizeof(n));
		return 0;
	case CONF_BOOL:
		if (conf_bool(text, &v, err) != 0)
			return -1;
		break;
	default:
		if (conf_word(k, text, &v, err) != 0)
			return -1;
	}
	memcpy(field, &v, sizeof(v));
	return 0;
}

void conf_text(const struct conf *c, const struct conf_key *k, char *out, size_t size)
{
	const char *field = (const char *)c + k->offset;
	uint64_t n;
	int v;

	switch (k->type) {
	case CONF_STR:
	case CONF_SECRET: snprintf(out, size, "%s", field); return;
	case CONF_MS:
	case CONF_SIZE:
	case CONF_INT:
		memcpy(&n, field, sizeof(n));
		conf_unit_text(out, size, k->type, n);
		return;
	default:
		memcpy(&v, field, sizeof(v));
		snprintf(out, size, "%s",
			 k->type != CONF_BOOL ? conf_words(k->type)[v]
			 : v                  ? "on"
					      : "off");
	}
}

void conf_defaults(struct conf *c)
{
	char err[ERRLEN];

	memset(c, 0, sizeof(*c));
	for (size_t i = 0; i < PS_ARRAY_LEN(conf_table); i++) {
		int rc = conf_set(c, &conf_table[i], conf_table[i].def, err);

		PS_ASSERT(rc == 0);
	}
}

const char *conf_list_next(const char *list, char *out, size_t size)
{
	const char *end;
	size_t len;

	while (isspace((unsigned char)*list))
		list++;
	out[0] = '\0';
	if (!*list)
		return NULL;
	end = list + strcspn(list, ",");
	len = (size_t)(end - list);
	while (len && isspace((unsigned char)list[len - 1]))
		len--;
	if (len >= size)
		len = 0;
	memcpy(out, list, len);
	out[len] = '\0';
	return *end ? end + 1 : end;
}
