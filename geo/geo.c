/* geo.c -- see geo.h. */
#include "geo/geo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct geo {
	struct geo_file *file[GEO_FILES_MAX]; /* NULL: none there */
	int owns;
};

static const char *const roles[GEO_FILES_MAX] = PLACE_DB_NAMES;
static const char sources[GEO_FILES_MAX][12] = PLACE_DB_SOURCES;

const char *geo_role(int i)
{
	PS_ASSERT(i >= 0 && i < GEO_FILES_MAX);
	return roles[i];
}

int geo_paths(struct geo_paths *out, const struct conf *conf, char err[ERRLEN])
{
	const char *list = conf->geo_more_db;
	char item[GEO_PATH_MAX + 1];
	int n = 2;

	_Static_assert(sizeof(conf->geo_city_db) == sizeof(out->path[0]), "the same");
	memset(out, 0, sizeof(*out));
	snprintf(out->path[0], sizeof(out->path[0]), "%s", conf->geo_city_db);
	snprintf(out->path[1], sizeof(out->path[1]), "%s", conf->geo_asn_db);
	while ((list = conf_list_next(list, item, sizeof(item)))) {
		if (!item[0])
			return err_set(err, "an item is empty, or longer than %d bytes",
				       GEO_PATH_MAX);
		if (n == GEO_FILES_MAX)
			return err_set(err, "more than %d further databases",
				       GEO_MORE_MAX);
		memcpy(out->path[n++], item, sizeof(item));
	}
	return 0;
}

int geo_names(const struct geo_paths *paths, const char *path)
{
	for (int i = 0; i < GEO_FILES_MAX; i++)
		if (strcmp(paths->path[i], path) == 0)
			return 1;
	return 0;
}

enum file_rc geo_open(struct geo **out, const struct geo_paths *paths, char err[ERRLEN])
{
	struct geo *g = calloc(1, sizeof(*g));
	enum file_rc rc = FILE_LATER;
	struct file_id id;
	char why[ERRLEN];

	if (!g) {
		(void)err_set(err, "places: out of memory");
		return rc;
	}
	g->owns = 1;
	for (int i = 0; i < GEO_FILES_MAX; i++) {
		const char *path = paths->path[i];

		if (!path[0])
			continue;
		rc = file_open(&g->file[i], path, &id, NULL, why);
		if (rc == FILE_OK)
			continue;
		geo_close(&g);
		(void)err_set(err, "%s database %.120s: %.100s", roles[i], path, why);
		return rc;
	}
	*out = g;
	return FILE_OK;
}

struct geo *geo_of_files(struct geo_file *const file[GEO_FILES_MAX])
{
	struct geo *g = calloc(1, sizeof(*g));

	if (g)
		memcpy(g->file, file, sizeof(g->file));
	return g;
}

void geo_close(struct geo **g)
{
	if (!*g)
		return;
	for (int i = 0; (*g)->owns && i < GEO_FILES_MAX; i++)
		file_close(&(*g)->file[i]);
	free(*g);
	*g = NULL;
}

int geo_info(const struct geo *g, int i, struct file_info *out)
{
	PS_ASSERT(i >= 0 && i < GEO_FILES_MAX);
	if (!g->file[i])
		return 0;
	file_info(g->file[i], out);
	return 1;
}

void geo_meant(uint8_t out[ADDR_LEN], const uint8_t addr[ADDR_LEN])
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	uint8_t v4[4];

	if (addr[0] == 0x20 && addr[1] == 0x02) {
		memcpy(v4, addr + 2, 4);
	} else if (memcmp(addr, "\x20\x01\0\0", 4) == 0) {
		for (int i = 0; i < 4; i++)
			v4[i] = addr[12 + i] ^ 0xff;
	} else {
		memmove(out, addr, ADDR_LEN);
		return;
	}
	memcpy(out, mapped, sizeof(mapped));
	memcpy(out + 12, v4, 4);
}

int geo_lookup(const struct geo *g, const uint8_t addr[ADDR_LEN], struct place *out)
{
	uint8_t meant[ADDR_LEN];

	memset(out, 0, sizeof(*out));
	geo_meant(meant, addr);
	for (int i = 0; i < GEO_FILES_MAX; i++) {
		if (!g->file[i] || !file_lookup(g->file[i], meant, out) || out->source[0])
			continue;
		memcpy(out->source, sources[i], sizeof(sources[i]));
	}
	return out->source[0] != '\0';
}
