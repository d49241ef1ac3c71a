/*
 * geo.c -- see geo.h.
 *
 * One list of paths serves every layout: for each field the nested one first, then
 * the flat ones. A path that a record does not have costs a few comparisons, so
 * nothing needs to know which layout a file has; and a file that mixes them (a
 * country file with AS names) gives what it has.
 */
#include "geo/geo.h"

#include <errno.h>
#include <maxminddb.h>
#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "geo/country.h"

#define GEO_PROBES 1024 /* tree nodes looked at when a file is opened */
#define GEO_PATH_MAX 5  /* keys of a path, and its NULL */

struct geo_file {
	int open;
	MMDB_s db;
};

struct geo {
	struct geo_file city, asn;
};

typedef const char *const geo_path[GEO_PATH_MAX];

static geo_path path_code[] = {{"country", "iso_code"},
			       {"country_code"},
			       {"registered_country", "iso_code"},
			       {NULL}};
static geo_path path_country[] = {{"country", "names", "en"},
				  {"country_name"},
				  {"country"},
				  {"registered_country", "names", "en"},
				  {NULL}};
static geo_path path_city[] = {{"city", "names", "en"}, {"city"}, {NULL}};
static geo_path path_region[] = {{"subdivisions", "0", "names", "en"},
				 {"state1"},
				 {"region"},
				 {NULL}};
static geo_path path_timezone[] = {{"location", "time_zone"}, {"timezone"}, {NULL}};
static geo_path path_lat[] = {{"location", "latitude"}, {"latitude"}, {NULL}};
static geo_path path_lon[] = {{"location", "longitude"}, {"longitude"}, {NULL}};
static geo_path path_accuracy[] = {{"location", "accuracy_radius"}, {NULL}};
static geo_path path_isp[] = {{"isp"},
			      {"traits", "isp"},
			      {"autonomous_system_organization"},
			      {"traits", "autonomous_system_organization"},
			      {"as_name"},
			      {NULL}};
static geo_path path_asn[] = {{"autonomous_system_number"},
			      {"traits", "autonomous_system_number"},
			      {"asn"},
			      {NULL}};

/* --- values --------------------------------------------------------------- */

/* 1: the record has a value there; 0: not; -1: the file is damaged. */
static int geo_value(MMDB_entry_s *e, const char *const *path, MMDB_entry_data_s *out)
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
static void geo_copy(char *out, size_t size, const char *from, size_t len)
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

/* The first path that leads to a text. Returns 1, 0 or -1 like geo_value. */
static int geo_text(MMDB_entry_s *e, geo_path *paths, char *out, size_t size)
{
	MMDB_entry_data_s v;
	int rc;

	if (out[0])
		return 0; /* an earlier file knew it */
	for (; (*paths)[0]; paths++) {
		rc = geo_value(e, *paths, &v);
		if (rc < 0)
			return -1;
		if (rc == 0 || v.type != MMDB_DATA_TYPE_UTF8_STRING || v.data_size == 0)
			continue;
		geo_copy(out, size, v.utf8_string, v.data_size);
		return 1;
	}
	return 0;
}

/* A number in any of the types that files use for one; "AS174" and "12.5" too. */
static int geo_as_number(const MMDB_entry_data_s *v, double *out)
{
	char text[32], *from = text, *end;

	switch (v->type) {
	case MMDB_DATA_TYPE_DOUBLE: *out = v->double_value; break;
	case MMDB_DATA_TYPE_FLOAT: *out = v->float_value; break;
	case MMDB_DATA_TYPE_UINT16: *out = v->uint16; break;
	case MMDB_DATA_TYPE_UINT32: *out = v->uint32; break;
	case MMDB_DATA_TYPE_UINT64: *out = (double)v->uint64; break;
	case MMDB_DATA_TYPE_INT32: *out = v->int32; break;
	case MMDB_DATA_TYPE_UTF8_STRING:
		if (v->data_size == 0 || v->data_size >= sizeof(text))
			return 0;
		geo_copy(text, sizeof(text), v->utf8_string, v->data_size);
		if (strncmp(text, "AS", 2) == 0)
			from += 2;
		*out = strtod(from, &end);
		if (end == from || *end)
			return 0;
		break;
	default: return 0;
	}
	return isfinite(*out);
}

static int geo_number(MMDB_entry_s *e, geo_path *paths, double low, double high,
		      double *out)
{
	MMDB_entry_data_s v;
	int rc;

	for (; (*paths)[0]; paths++) {
		rc = geo_value(e, *paths, &v);
		if (rc < 0)
			return -1;
		if (rc == 1 && geo_as_number(&v, out) && *out >= low && *out <= high)
			return 1;
	}
	return 0;
}

/* --- one record ----------------------------------------------------------- */

/* The code in two capitals, from where a code may stand; and the country's name. */
static int geo_country(MMDB_entry_s *e, struct place *p)
{
	int known = p->code[0] || p->country[0], rc, rc2;
	const char *name;

	if (known)
		return 0;
	rc = geo_text(e, path_code, p->code, sizeof(p->code));
	rc2 = geo_text(e, path_country, p->country, sizeof(p->country));
	if (rc < 0 || rc2 < 0)
		return -1;
	if (strlen(p->country) == 2) { /* files that call the code "country" */
		if (!p->code[0])
			memcpy(p->code, p->country, 3);
		p->country[0] = '\0';
	}
	for (char *c = p->code; *c; c++) {
		if (*c >= 'a' && *c <= 'z')
			*c = (char)(*c - 32);
	}
	if (strspn(p->code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 2 || p->code[2])
		memset(p->code, 0, sizeof(p->code));
	name = p->country[0] ? NULL : country_name(p->code);
	if (name)
		snprintf(p->country, sizeof(p->country), "%s", name);
	return p->code[0] || p->country[0];
}

static int geo_point(MMDB_entry_s *e, struct place *p)
{
	double lat = 0, lon = 0, km = 0;
	int rc, rc2;

	if (p->has_point)
		return 0;
	rc = geo_number(e, path_lat, -90, 90, &lat);
	rc2 = geo_number(e, path_lon, -180, 180, &lon);
	if (rc < 0 || rc2 < 0)
		return -1;
	if (rc == 0 || rc2 == 0)
		return 0;
	p->has_point = 1;
	p->lat_e5 = (int32_t)lround(lat * 1e5);
	p->lon_e5 = (int32_t)lround(lon * 1e5);
	rc = geo_number(e, path_accuracy, 0, 40000, &km);
	if (rc == 1)
		p->accuracy_km = (uint32_t)km;
	return rc < 0 ? -1 : 1;
}

static int geo_asn(MMDB_entry_s *e, struct place *p)
{
	double n = 0;
	int rc = p->asn ? 0 : geo_number(e, path_asn, 1, UINT32_MAX, &n);

	if (rc == 1)
		p->asn = (uint32_t)n;
	return rc;
}

/* Fills what is still empty. 1: something, 0: nothing, -1: the file is damaged. */
static int geo_record(MMDB_entry_s *e, struct place *p)
{
	int rc[] = {
		geo_country(e, p),
		geo_text(e, path_city, p->city, sizeof(p->city)),
		geo_text(e, path_region, p->region, sizeof(p->region)),
		geo_text(e, path_timezone, p->timezone, sizeof(p->timezone)),
		geo_point(e, p),
		geo_asn(e, p),
		geo_text(e, path_isp, p->isp, sizeof(p->isp)),
	};
	int any = 0;

	for (size_t i = 0; i < PS_ARRAY_LEN(rc); i++) {
		if (rc[i] < 0)
			return -1;
		any |= rc[i];
	}
	return any;
}

/* --- files ---------------------------------------------------------------- */

static int geo_probe_entry(MMDB_entry_s *e, uint8_t type)
{
	struct place p;

	if (type == MMDB_RECORD_TYPE_INVALID)
		return -1;
	if (type != MMDB_RECORD_TYPE_DATA)
		return 0;
	memset(&p, 0, sizeof(p));
	return geo_record(e, &p) < 0 ? -1 : 0;
}

/*
 * Looks at nodes spread over the whole tree (all, in a small file) and at the
 * records they lead to, so that a damaged file is refused while its predecessor
 * is still open. libmaxminddb checks bounds on every lookup as well.
 */
static int geo_probe(const MMDB_s *db)
{
	uint32_t n = db->metadata.node_count, step = n / GEO_PROBES + 1;
	MMDB_search_node_s node;

	for (uint64_t i = 0; i < n; i += step) {
		if (MMDB_read_node(db, (uint32_t)i, &node) != MMDB_SUCCESS ||
		    geo_probe_entry(&node.left_record_entry, node.left_record_type) !=
			    0 ||
		    geo_probe_entry(&node.right_record_entry, node.right_record_type) !=
			    0)
			return -1;
	}
	return 0;
}

static int geo_file_open(struct geo_file *f, const char *what, const char *path,
			 char err[ERRLEN])
{
	struct stat st;
	int rc;

	if (!path[0])
		return 0;
	if (stat(path, &st) != 0)
		return err_errno(err, "%s database %.150s", what, path);
	if (!S_ISREG(st.st_mode)) /* opening a FIFO would wait for its writer */
		return err_set(err, "%s database %.150s: not a regular file", what, path);
	rc = MMDB_open(path, MMDB_MODE_MMAP, &f->db);
	if (rc == MMDB_IO_ERROR || rc == MMDB_FILE_OPEN_ERROR)
		return err_errno(err, "%s database %.150s", what, path);
	if (rc != MMDB_SUCCESS)
		return err_set(err, "%s database %.150s: %s", what, path,
			       MMDB_strerror(rc));
	if (geo_probe(&f->db) != 0) {
		MMDB_close(&f->db);
		return err_set(err, "%s database %.150s: damaged", what, path);
	}
	/* What the probe touched need not stay in our memory; failing is fine. */
	(void)madvise((void *)(uintptr_t)f->db.file_content, (size_t)f->db.file_size,
		      MADV_DONTNEED);
	f->open = 1;
	return 0;
}

static void geo_file_close(struct geo_file *f)
{
	if (f->open)
		MMDB_close(&f->db);
	f->open = 0;
}

int geo_open(struct geo **out, const char *city_db, const char *asn_db, char err[ERRLEN])
{
	struct geo *g = calloc(1, sizeof(*g));

	if (!g)
		return err_set(err, "places: out of memory");
	if (geo_file_open(&g->city, "City", city_db, err) != 0 ||
	    geo_file_open(&g->asn, "ASN", asn_db, err) != 0) {
		geo_close(&g);
		return -1;
	}
	*out = g;
	return 0;
}

void geo_close(struct geo **g)
{
	if (!*g)
		return;
	geo_file_close(&(*g)->city);
	geo_file_close(&(*g)->asn);
	free(*g);
	*g = NULL;
}

static int geo_file_lookup(struct geo_file *f, const uint8_t addr[ADDR_LEN],
			   struct place *p)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	const struct sockaddr *sa = (const void *)&in6;
	MMDB_lookup_result_s found;
	int error = 0;

	memcpy(&in.sin_addr, addr + 12, 4);
	memcpy(&in6.sin6_addr, addr, ADDR_LEN);
	if (addr_is_v4(addr))
		sa = (const void *)&in;
	else if (f->db.metadata.ip_version == 4)
		return 0;
	found = MMDB_lookup_sockaddr(&f->db, sa, &error);
	if (error != MMDB_SUCCESS || !found.found_entry)
		return 0;
	return geo_record(&found.entry, p) > 0;
}

int geo_lookup(struct geo *g, const uint8_t addr[ADDR_LEN], struct place *out)
{
	int city, asn;

	memset(out, 0, sizeof(*out));
	city = g->city.open && geo_file_lookup(&g->city, addr, out);
	asn = g->asn.open && geo_file_lookup(&g->asn, addr, out);
	if (city || asn)
		snprintf(out->source, sizeof(out->source), "%s",
			 city ? "mmdb:city" : "mmdb:asn");
	return city || asn;
}

uint64_t geo_city_built_s(const struct geo *g)
{
	return g->city.open ? g->city.db.metadata.build_epoch : 0;
}

uint64_t geo_asn_built_s(const struct geo *g)
{
	return g->asn.open ? g->asn.db.metadata.build_epoch : 0;
}
