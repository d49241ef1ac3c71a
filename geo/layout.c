/* layout.c -- see layout.h. */
#include "geo/layout.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "geo/country.h"

#define PATH_MAX_KEYS 5 /* keys of a path, and its NULL */

enum field {
	F_CODE,
	F_COUNTRY,
	F_CITY,
	F_REGION,
	F_TIMEZONE,
	F_LATITUDE,
	F_LONGITUDE,
	F_ACCURACY,
	F_ASN,
	F_ISP,
};
_Static_assert(F_ISP + 1 == LAYOUT_FIELDS, "all of them");

struct row {
	enum field field;
	const char *only; /* in files with this word in their type; NULL: in all */
	const char *path[PATH_MAX_KEYS];
};

/*
 * Rows of a field stand together, the one to be believed first at the top. The registered
 * country is where a range's owner lives: better than nothing. "name" and "radius" are
 * words that other publishers might use for something else.
 */
static const struct row table[] = {
	{F_CODE, NULL, {"country", "iso_code"}},
	{F_CODE, NULL, {"country_code"}},
	{F_CODE, NULL, {"country"}}, /* some call the code so, some the name */
	{F_CODE, NULL, {"registered_country", "iso_code"}},
	{F_COUNTRY, NULL, {"country", "names", "en"}},
	{F_COUNTRY, NULL, {"country_name"}},
	{F_COUNTRY, NULL, {"country"}},
	{F_COUNTRY, NULL, {"registered_country", "names", "en"}},
	{F_CITY, NULL, {"city", "names", "en"}},
	{F_CITY, NULL, {"city"}},
	{F_REGION, NULL, {"subdivisions", "0", "names", "en"}},
	{F_REGION, NULL, {"state1"}},
	{F_REGION, NULL, {"region"}},
	{F_TIMEZONE, NULL, {"location", "time_zone"}},
	{F_TIMEZONE, NULL, {"timezone"}},
	{F_TIMEZONE, NULL, {"time_zone"}},
	{F_LATITUDE, NULL, {"location", "latitude"}},
	{F_LATITUDE, NULL, {"latitude"}},
	{F_LATITUDE, NULL, {"lat"}},
	{F_LONGITUDE, NULL, {"location", "longitude"}},
	{F_LONGITUDE, NULL, {"longitude"}},
	{F_LONGITUDE, NULL, {"lng"}},
	{F_LONGITUDE, NULL, {"lon"}},
	{F_ACCURACY, NULL, {"location", "accuracy_radius"}},
	{F_ACCURACY, NULL, {"accuracy_radius"}},
	{F_ACCURACY, "ipinfo", {"radius"}},
	{F_ASN, NULL, {"autonomous_system_number"}},
	{F_ASN, NULL, {"traits", "autonomous_system_number"}},
	{F_ASN, NULL, {"asn"}},
	{F_ISP, NULL, {"isp"}},
	{F_ISP, NULL, {"traits", "isp"}},
	{F_ISP, NULL, {"autonomous_system_organization"}},
	{F_ISP, NULL, {"traits", "autonomous_system_organization"}},
	{F_ISP, NULL, {"as_name"}},
	{F_ISP, NULL, {"organization"}},
	{F_ISP, NULL, {"traits", "organization"}},
	{F_ISP, "ipinfo", {"name"}},
};
#define ROWS PS_ARRAY_LEN(table)
_Static_assert(ROWS < 64, "they are bits");

/* --- values --------------------------------------------------------------- */

/* 1: the record has a value there; 0: not; -1: the file is damaged. */
static int value(MMDB_entry_s *e, const char *const *path, MMDB_entry_data_s *out)
{
	int rc = MMDB_aget_value(e, out, path);

	if (rc == MMDB_LOOKUP_PATH_DOES_NOT_MATCH_DATA_ERROR ||
	    rc == MMDB_INVALID_LOOKUP_PATH_ERROR)
		return 0;
	if (rc != MMDB_SUCCESS)
		return -1;
	return out->has_data ? 1 : 0;
}

/* Copies a text; one that is too long is cut between characters, control
 * characters become spaces. */
static void copy(char *out, size_t size, const char *from, size_t len)
{
	if (len >= size) {
		len = size - 1;
		while (len > 0 && ((uint8_t)from[len] & 0xc0) == 0x80)
			len--;
	}
	for (size_t i = 0; i < len; i++)
		out[i] = (uint8_t)from[i] < 0x20 || from[i] == 0x7f ? ' ' : from[i];
	out[len] = '\0';
}

/* The first path that leads to a text. Returns 1, 0 or -1 like value. */
static int text(const struct layout *l, enum field f, MMDB_entry_s *e, char *out,
		size_t size)
{
	MMDB_entry_data_s v;
	int rc;

	if (out[0])
		return 0; /* an earlier file knew it */
	for (const uint8_t *row = l->of[f]; *row; row++) {
		rc = value(e, table[*row - 1].path, &v);
		if (rc < 0)
			return -1;
		if (rc == 0 || v.type != MMDB_DATA_TYPE_UTF8_STRING || v.data_size == 0)
			continue;
		if (f == F_CODE && v.data_size != 2)
			continue;
		copy(out, size, v.utf8_string, v.data_size);
		return 1;
	}
	return 0;
}

/* A number in any of the types that files use for one; "AS174" and "12.5" too. */
static int as_number(const MMDB_entry_data_s *v, double *out)
{
	char digits[32], *from = digits, *end;

	switch (v->type) {
	case MMDB_DATA_TYPE_DOUBLE: *out = v->double_value; break;
	case MMDB_DATA_TYPE_FLOAT: *out = v->float_value; break;
	case MMDB_DATA_TYPE_UINT16: *out = v->uint16; break;
	case MMDB_DATA_TYPE_UINT32: *out = v->uint32; break;
	case MMDB_DATA_TYPE_UINT64: *out = (double)v->uint64; break;
	case MMDB_DATA_TYPE_INT32: *out = v->int32; break;
	case MMDB_DATA_TYPE_UTF8_STRING:
		if (v->data_size == 0 || v->data_size >= sizeof(digits))
			return 0;
		copy(digits, sizeof(digits), v->utf8_string, v->data_size);
		if (strncmp(digits, "AS", 2) == 0)
			from += 2;
		*out = strtod(from, &end);
		if (end == from || *end)
			return 0;
		break;
	default: return 0;
	}
	return isfinite(*out);
}

static int number(const struct layout *l, enum field f, MMDB_entry_s *e, double low,
		  double high, double *out)
{
	MMDB_entry_data_s v;
	int rc;

	for (const uint8_t *row = l->of[f]; *row; row++) {
		rc = value(e, table[*row - 1].path, &v);
		if (rc < 0)
			return -1;
		if (rc == 1 && as_number(&v, out) && *out >= low && *out <= high)
			return 1;
	}
	return 0;
}

/* --- one record ----------------------------------------------------------- */

/* Two capitals, or nothing. */
static void tidy_code(char code[4])
{
	for (int i = 0; i < 2; i++) {
		if (code[i] >= 'a' && code[i] <= 'z')
			code[i] = (char)(code[i] - 32);
		if (code[i] < 'A' || code[i] > 'Z') {
			memset(code, 0, 4);
			return;
		}
	}
}

/* The country of this record, into two empty texts. */
static int country(const struct layout *l, MMDB_entry_s *e, char code[4], char *name,
		   size_t size)
{
	int rc = text(l, F_CODE, e, code, 4), rc2 = text(l, F_COUNTRY, e, name, size);
	const char *known;

	if (rc < 0 || rc2 < 0)
		return -1;
	if (strlen(name) == 2)
		name[0] = '\0';
	tidy_code(code);
	known = name[0] ? NULL : country_name(code);
	if (known)
		copy(name, size, known, strlen(known));
	return code[0] || name[0];
}

/* 1: taken; 0: no news; -1: damaged; -2: it says another country than is known. */
static int take_country(const struct layout *l, MMDB_entry_s *e, struct place *p)
{
	char code[4] = "", name[sizeof(p->country)] = "";
	int rc;

	if (!p->code[0] && !p->country[0])
		return country(l, e, p->code, p->country, sizeof(p->country));
	rc = country(l, e, code, name, sizeof(name));
	if (rc <= 0)
		return rc;
	if (p->code[0] && code[0])
		return strcmp(p->code, code) == 0 ? 0 : -2;
	return p->country[0] && name[0] && strcmp(p->country, name) != 0 ? -2 : 0;
}

static int take_point(const struct layout *l, MMDB_entry_s *e, struct place *p)
{
	double lat = 0, lon = 0, km = 0;
	int rc, rc2;

	if (p->has_point)
		return 0;
	rc = number(l, F_LATITUDE, e, -90, 90, &lat);
	rc2 = number(l, F_LONGITUDE, e, -180, 180, &lon);
	if (rc < 0 || rc2 < 0)
		return -1;
	if (rc == 0 || rc2 == 0)
		return 0;
	p->has_point = 1;
	p->lat_e5 = (int32_t)lround(lat * 1e5);
	p->lon_e5 = (int32_t)lround(lon * 1e5);
	rc = number(l, F_ACCURACY, e, 0, 40000, &km);
	if (rc == 1)
		p->accuracy_km = (uint32_t)km;
	return rc < 0 ? -1 : 1;
}

static int take_asn(const struct layout *l, MMDB_entry_s *e, struct place *p)
{
	double n = 0;
	int rc = p->asn ? 0 : number(l, F_ASN, e, 1, UINT32_MAX, &n);

	if (rc == 1)
		p->asn = (uint32_t)n;
	return rc;
}

/* -1 if one of them is, else 1 if one of them is. */
static int any(const int *rc, size_t n)
{
	int out = 0;

	for (size_t i = 0; i < n; i++) {
		if (rc[i] < 0)
			return -1;
		out |= rc[i];
	}
	return out;
}

int layout_record(const struct layout *l, MMDB_entry_s *e, struct place *p)
{
	int rc[7] = {take_country(l, e, p)};
	size_t n = 1;

	if (rc[0] == -2) {
		rc[0] = 0;
	} else {
		rc[n++] = text(l, F_CITY, e, p->city, sizeof(p->city));
		rc[n++] = text(l, F_REGION, e, p->region, sizeof(p->region));
		rc[n++] = text(l, F_TIMEZONE, e, p->timezone, sizeof(p->timezone));
		rc[n++] = take_point(l, e, p);
	}
	rc[n++] = take_asn(l, e, p);
	rc[n++] = text(l, F_ISP, e, p->isp, sizeof(p->isp));
	return any(rc, n);
}

/* --- which rows a file has ------------------------------------------------- */

static int has_word(const char *type, size_t len, const char *word)
{
	size_t n = strlen(word);

	for (size_t i = 0; i + n <= len; i++)
		if (strncasecmp(type + i, word, n) == 0)
			return 1;
	return 0;
}

void layout_of_type(struct layout *l, const char *type, size_t len)
{
	uint64_t rows = 0;

	for (size_t i = 0; i < ROWS; i++)
		if (!table[i].only || has_word(type, len, table[i].only))
			rows |= 1ull << i;
	layout_keep(l, rows);
}

void layout_keep(struct layout *l, uint64_t rows)
{
	size_t n[LAYOUT_FIELDS] = {0};

	memset(l, 0, sizeof(*l));
	l->rows = rows;
	for (size_t i = 0; i < ROWS; i++) {
		enum field f = table[i].field;

		if (!(rows >> i & 1))
			continue;
		PS_ASSERT(n[f] < LAYOUT_FIELD_ROWS - 1);
		l->of[f][n[f]++] = (uint8_t)(i + 1);
	}
}

int layout_probe(const struct layout *l, MMDB_entry_s *e, uint64_t *seen)
{
	MMDB_entry_data_s v;

	for (size_t i = 0; i < ROWS; i++) {
		int rc = l->rows >> i & 1 ? value(e, table[i].path, &v) : 0;

		if (rc < 0)
			return -1;
		/* "country" may be a text in one layout and a map in another */
		if (rc == 1 && v.type != MMDB_DATA_TYPE_MAP &&
		    v.type != MMDB_DATA_TYPE_ARRAY)
			*seen |= 1ull << i;
	}
	return 0;
}
