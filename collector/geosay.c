/* geosay.c -- see geosay.h. */
#include "collector/geosay.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "geo/country.h"
#include "geo/geo.h"

/* ---- single fields ------------------------------------------------------------------ */

static const cJSON *member(const cJSON *j, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(j, name);
}

/* C0, DEL, C1: they move cursors and break lines. */
static int is_control(const unsigned char *s, size_t len)
{
	return (len == 1 && (s[0] < 0x20 || s[0] == 0x7f)) ||
	       (len == 2 && s[0] == 0xc2 && s[1] < 0xa0);
}

/* A stranger's text, clean, without blanks around it, cut between two characters. */
static void take_text(char *out, size_t size, const cJSON *j)
{
	const char *s = cJSON_IsString(j) ? j->valuestring : "";
	size_t left = strlen(s), n = 0, len;

	for (; left > 0; s += len, left -= len) {
		len = utf8_len(s, left);
		if (len == 0) { /* not UTF-8: without this byte */
			len = 1;
			continue;
		}
		if (is_control((const unsigned char *)s, len) || (n == 0 && *s == ' '))
			continue;
		if (n + len >= size)
			break;
		memcpy(out + n, s, len);
		n += len;
	}
	while (n > 0 && out[n - 1] == ' ')
		n--;
	out[n] = '\0';
}

/* 52.5 or "52.5" -> degrees * 100000. 0: neither, or out of bounds. */
static int take_degrees(int32_t *out, const cJSON *j, double most)
{
	double v = NAN;
	char *end = NULL;

	if (cJSON_IsNumber(j))
		v = j->valuedouble;
	else if (cJSON_IsString(j) && j->valuestring[0] &&
		 strspn(j->valuestring, "0123456789+-.") == strlen(j->valuestring))
		v = strtod(j->valuestring, &end);
	if (!(fabs(v) <= most) || (end && *end))
		return 0;
	*out = (int32_t)lround(v * 1e5);
	return 1;
}

/* 15169, "15169" or "AS15169"; 0: none of them. */
static uint32_t read_asn(const cJSON *j)
{
	const char *s = cJSON_IsString(j) ? j->valuestring : "";
	size_t digits;

	if (cJSON_IsNumber(j))
		return j->valuedouble >= 1 && j->valuedouble <= UINT32_MAX
			       ? (uint32_t)j->valuedouble
			       : 0;
	if (strncasecmp(s, "as", 2) == 0)
		s += 2;
	digits = strspn(s, "0123456789");
	if (digits == 0 || digits > 10 || s[digits])
		return 0;
	unsigned long long n = strtoull(s, NULL, 10);

	return n <= UINT32_MAX ? (uint32_t)n : 0;
}

/* Two letters, or nothing. */
static void take_code(char out[4], const cJSON *j)
{
	const char *s = cJSON_IsString(j) ? j->valuestring : "";

	memset(out, 0, 4);
	for (int i = 0; i < 2; i++)
		if (!((s[i] >= 'A' && s[i] <= 'Z') || (s[i] >= 'a' && s[i] <= 'z')))
			return;
	if (s[2])
		return;
	out[0] = (char)(s[0] & ~0x20);
	out[1] = (char)(s[1] & ~0x20);
}

static void take_country(struct place *p, const cJSON *j)
{
	const char *name;

	take_code(p->code, member(j, "country_code"));
	take_text(p->country, sizeof(p->country), member(j, "country"));
	name = p->country[0] || !p->code[0] ? NULL : country_name(p->code);
	if (name)
		snprintf(p->country, sizeof(p->country), "%s", name);
}

/* Nested in "connection", or beside the rest; the organisation where no ISP is named. */
static void take_isp(struct place *p, const cJSON *j)
{
	const cJSON *c = member(j, "connection");

	if (!cJSON_IsObject(c))
		c = j;
	p->asn = read_asn(member(c, "asn"));
	take_text(p->isp, sizeof(p->isp), member(c, "isp"));
	if (!p->isp[0])
		take_text(p->isp, sizeof(p->isp), member(c, "org"));
}

static void take_place(struct place *p, const cJSON *j)
{
	const cJSON *zone = member(j, "timezone");

	memset(p, 0, sizeof(*p));
	take_country(p, j);
	take_text(p->region, sizeof(p->region), member(j, "region"));
	take_text(p->city, sizeof(p->city), member(j, "city"));
	take_isp(p, j);
	take_text(p->timezone, sizeof(p->timezone),
		  cJSON_IsObject(zone) ? member(zone, "id") : zone);
	p->has_point = take_degrees(&p->lat_e5, member(j, "latitude"), 90) &&
		       take_degrees(&p->lon_e5, member(j, "longitude"), 180);
	if (!p->has_point)
		p->lat_e5 = p->lon_e5 = 0;
}

/* ---- the answer ------------------------------------------------------------------------- */

/* Of an address, whatever the question was: nobody has it, or nothing is known of it. The
 * last one is ours (geosay_write). */
static int is_of_an_address(const char *said)
{
	static const char *const known[] = {"invalid ip", "private range",
					    "address not found", "ip not found",
					    "not known"};

	for (size_t i = 0; i < PS_ARRAY_LEN(known); i++)
		if (strcasestr(said, known[i]))
			return 1;
	return 0;
}

/* The service may word its messages anew any day, so what is not known to be about the address
 * is about us: "Invalid API key" would be the answer to each question, all day. */
static enum geosay refusal(const cJSON *j, char err[ERRLEN])
{
	char said[128];

	take_text(said, sizeof(said), member(j, "message"));
	(void)err_set(err, "it says: %s", said[0] ? said : "no");
	if (strcasestr(said, "limit") || strcasestr(said, "quota"))
		return GEOSAY_LIMITED;
	if (strcasestr(said, "reserved"))
		return GEOSAY_RESERVED;
	return is_of_an_address(said) ? GEOSAY_NOTHING : GEOSAY_NONSENSE;
}

/* One that speaks of another address, as a cache gone wrong would, or a portal. */
static int is_of(const cJSON *j, const uint8_t addr[ADDR_LEN])
{
	const cJSON *ip = member(j, "ip");
	uint8_t told[ADDR_LEN];

	if (!ip)
		return 1;
	return cJSON_IsString(ip) && addr_parse(told, ip->valuestring) == 0 &&
	       memcmp(told, addr, ADDR_LEN) == 0;
}

static enum geosay read_object(struct place *out, const uint8_t addr[ADDR_LEN],
			       const cJSON *j, char err[ERRLEN])
{
	const cJSON *success = member(j, "success");

	if (!cJSON_IsObject(j)) {
		(void)err_set(err, "its answer is not a JSON object");
		return GEOSAY_NONSENSE;
	}
	if (cJSON_IsFalse(success))
		return refusal(j, err);
	if (!cJSON_IsTrue(success) || !is_of(j, addr)) {
		(void)err_set(err, "its answer is %s",
			      cJSON_IsTrue(success) ? "about another address"
						    : "neither a success nor a failure");
		return GEOSAY_NONSENSE;
	}
	take_place(out, j);
	err[0] = '\0';
	if (!geosay_wanted(out))
		return GEOSAY_PLACE;
	(void)err_set(err, "its answer names no country");
	return GEOSAY_NOTHING;
}

enum geosay geosay_read(struct place *out, const uint8_t addr[ADDR_LEN], const char *body,
			size_t len, char err[ERRLEN])
{
	cJSON *j = cJSON_ParseWithLength(body, len);
	enum geosay what = read_object(out, addr, j, err);

	cJSON_Delete(j);
	return what;
}

/* 401 and 403 are about who asks, whatever else is said. */
static int is_of_address(int status, enum geosay what)
{
	return status != 401 && status != 403 &&
	       (what == GEOSAY_NOTHING || what == GEOSAY_RESERVED);
}

enum geosay geosay_answer(struct place *p, const uint8_t addr[ADDR_LEN],
			  const struct web_answer *a, char why[ERRLEN])
{
	enum geosay what = GEOSAY_NONSENSE;
	char said[ERRLEN];

	why[0] = '\0';
	if (a->rc != WEB_OK) {
		(void)err_set(why, "%s", a->error);
		return GEOSAY_NONSENSE;
	}
	if (a->status == 429 || (a->status >= 400 && a->retry_after_ms))
		what = GEOSAY_LIMITED;
	else if (a->status == 200 || (a->status >= 400 && a->status < 500))
		what = geosay_read(p, addr, a->body, a->len, why);
	if (a->status == 200)
		return what;
	(void)err_set(said, "%s", what == GEOSAY_NONSENSE ? why : "");
	(void)err_set(why, "it answers with HTTP status %d%s%s", a->status,
		      said[0] ? ": " : "", said);
	return what == GEOSAY_LIMITED || is_of_address(a->status, what) ? what
									: GEOSAY_NONSENSE;
}

uint64_t geosay_ttl_ms(enum geosay what)
{
	switch (what) {
	case GEOSAY_PLACE: return GEOSAY_PLACE_MS;
	case GEOSAY_NOTHING: return GEOSAY_NOTHING_MS;
	case GEOSAY_RESERVED: return GEOSAY_RESERVED_MS;
	default: return 0;
	}
}

/* ---- written down ------------------------------------------------------------------------ */

static void write_place(struct json *j, const struct place *p)
{
	json_str(j, "country", p->country);
	json_str(j, "country_code", p->code);
	json_str(j, "region", p->region);
	json_str(j, "city", p->city);
	if (p->has_point) {
		json_fixed(j, "latitude", p->lat_e5, 5);
		json_fixed(j, "longitude", p->lon_e5, 5);
	}
	json_obj(j, "connection");
	json_uint(j, "asn", p->asn);
	json_str(j, "isp", p->isp);
	json_obj_end(j);
	json_obj(j, "timezone");
	json_str(j, "id", p->timezone);
	json_obj_end(j);
	json_str(j, "source", p->source);
}

void geosay_write(struct buf *out, const uint8_t addr[ADDR_LEN], enum geosay what,
		  const struct place *p, uint64_t until_wall_ms)
{
	char text[ADDR_TEXT_MAX];
	struct json j;

	addr_text(text, addr);
	json_init(&j, out);
	json_obj(&j, NULL);
	json_str(&j, "ip", text);
	json_bool(&j, "success", what == GEOSAY_PLACE);
	if (what == GEOSAY_PLACE)
		write_place(&j, p);
	else
		json_str(&j, "message",
			 what == GEOSAY_RESERVED ? "Reserved range" : "Not known");
	json_uint(&j, "until", until_wall_ms);
	json_obj_end(&j);
}

enum geosay geosay_stored(struct place *out, uint64_t *left_ms,
			  const uint8_t addr[ADDR_LEN], const char *text, size_t len,
			  uint64_t now_wall_ms)
{
	cJSON *j = cJSON_ParseWithLength(text, len);
	const cJSON *until = member(j, "until");
	double left =
		cJSON_IsNumber(until) ? until->valuedouble - (double)now_wall_ms : 0;
	char err[ERRLEN];
	enum geosay what = read_object(out, addr, j, err);
	uint64_t most = geosay_ttl_ms(what); /* clocks differ */

	if (!(left >= 1) || !is_of(j, addr) || most == 0)
		what = GEOSAY_NONSENSE;
	else
		*left_ms = left < (double)most ? (uint64_t)left : most;
	if (what == GEOSAY_PLACE)
		take_text(out->source, sizeof(out->source), member(j, "source"));
	cJSON_Delete(j);
	return what;
}

/* ---- beside the databases ------------------------------------------------------------------ */

int geosay_wanted(const struct place *p)
{
	return !p->country[0] && !p->code[0];
}

/* 1: it was empty, and is not any more. */
static int fill(char *field, const char *told, size_t size)
{
	if (field[0] || !told[0])
		return 0;
	memcpy(field, told, size);
	return 1;
}

/* A city of one country beside the name of another would be a place that does not exist. */
static int same_country(const struct place *a, const struct place *b)
{
	if (geosay_wanted(a) || geosay_wanted(b))
		return 1;
	if (a->code[0] && b->code[0])
		return strncmp(a->code, b->code, sizeof(a->code)) == 0;
	return strcmp(a->country, b->country) == 0;
}

static int fill_where(struct place *p, const struct place *told)
{
	int any = 0;

	any |= fill(p->country, told->country, sizeof(p->country));
	any |= fill(p->code, told->code, sizeof(p->code));
	any |= fill(p->region, told->region, sizeof(p->region));
	any |= fill(p->city, told->city, sizeof(p->city));
	any |= fill(p->timezone, told->timezone, sizeof(p->timezone));
	if (p->has_point || !told->has_point)
		return any;
	p->has_point = 1;
	p->lat_e5 = told->lat_e5;
	p->lon_e5 = told->lon_e5;
	p->accuracy_km = told->accuracy_km;
	return 1;
}

static int fill_network(struct place *p, const struct place *told)
{
	int any;

	if (p->asn && told->asn && p->asn != told->asn)
		return 0;
	any = fill(p->isp, told->isp, sizeof(p->isp));
	if (p->asn || !told->asn)
		return any;
	p->asn = told->asn;
	return 1;
}

static int names_source(const char *all, const char *one, size_t len)
{
	for (; *all; all += strcspn(all, "+"), all += *all == '+')
		if (strcspn(all, "+") == len && memcmp(all, one, len) == 0)
			return 1;
	return 0;
}

/* "mmdb:asn" and "mmdb:asn+ipwho.is": the latter. */
static void add_sources(char *source, size_t size, const char *told)
{
	size_t n, len;

	for (; *told; told += len, told += *told == '+') {
		len = strcspn(told, "+");
		n = strlen(source);
		if (!names_source(source, told, len))
			snprintf(source + n, size - n, "%s%.*s", n ? "+" : "", (int)len,
				 told);
	}
}

void geosay_fill(struct place *p, const struct place *told)
{
	int any = same_country(p, told) && fill_where(p, told);

	any |= fill_network(p, told);
	if (any)
		add_sources(p->source, sizeof(p->source), told->source);
}

void geosay_source(char out[GEOSAY_SOURCE], const char *url)
{
	const char *host = strstr(url, "://");

	host = host ? host + 3 : "";
	snprintf(out, GEOSAY_SOURCE, "%.*s",
		 (int)(host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/")),
		 host);
}

int geosay_subject(uint8_t out[ADDR_LEN], const uint8_t addr[ADDR_LEN])
{
	static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b}; /* RFC 6052 */

	geo_meant(out, addr);
	if (memcmp(addr, nat64, sizeof(nat64)) == 0) {
		memset(out, 0, 10);
		memset(out + 10, 0xff, 2);
	}
	return addr_is_global(out) ? 0 : -1;
}
