/*
 * places.c -- `peerscope geo`: open the databases of places that are configured, verify them
 * whole as the daemon does, and look addresses up in them. scripts/geo-update asks it whether
 * what it fetched is any good.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "geo/geo.h"
#include "master/cli.h"

static const char *or_none(const char *text)
{
	return text[0] ? text : "-";
}

static void print_file(int i, const char *path, const struct file_info *info)
{
	uint64_t days = file_age_days(info, clock_wall_ms() / 1000);
	time_t t = (time_t)info->built_s;
	char day[16] = "-";
	struct tm tm;

	if (gmtime_r(&t, &tm))
		strftime(day, sizeof day, "%Y-%m-%d", &tm);
	printf("%s\t%s\t%s\t%s\t%" PRIu64 " KB\t%" PRIu64 " days\n", geo_role(i), path,
	       or_none(info->type), day, info->bytes / 1024, days);
	if (days >= FILE_OLD_DAYS)
		fprintf(stderr,
			"peerscope geo: %s database %s: " FILE_OLD_WORDS " (warning)\n",
			geo_role(i), path, days);
}

static void print_place(const char *address, const struct place *p)
{
	printf("%s\t%s\t%s\t%s\t%s\t", address, or_none(p->code), or_none(p->country),
	       or_none(p->region), or_none(p->city));
	if (p->has_point)
		printf("%.5f,%.5f", p->lat_e5 / 1e5, p->lon_e5 / 1e5);
	else
		printf("-");
	printf("\t%s\t%s\t%s\n", or_none(p->timezone), or_none(p->isp),
	       or_none(p->source));
}

/* Each file alone, so that all of them are heard of. The number of bad ones. */
static int print_files(const struct geo_paths *all)
{
	static struct geo_paths one;
	struct file_info info;
	char err[ERRLEN];
	int bad = 0;

	for (int i = 0; i < GEO_FILES_MAX; i++) {
		struct geo *g = NULL;

		if (!all->path[i][0])
			continue;
		memset(&one, 0, sizeof one);
		memcpy(one.path[i], all->path[i], sizeof one.path[i]);
		if (geo_open(&g, &one, err) != 0) {
			fprintf(stderr, "peerscope geo: %s\n", err);
			bad++;
		} else if (geo_info(g, i, &info)) {
			print_file(i, all->path[i], &info);
		}
		geo_close(&g);
	}
	return bad;
}

static int print_places(const struct cli *cli, const struct geo_paths *paths)
{
	struct geo *g = NULL;
	uint8_t addr[ADDR_LEN];
	char err[ERRLEN];
	struct place p;
	int bad = 0;

	if (geo_open(&g, paths, err) != 0) {
		fprintf(stderr, "peerscope geo: %s\n", err);
		return 1;
	}
	for (size_t i = 0; i < cli->nwords; i++) {
		if (addr_parse(addr, cli->words[i]) != 0) {
			fprintf(stderr, "peerscope geo: %s: not an address\n",
				cli->words[i]);
			bad++;
			continue;
		}
		geo_lookup(g, addr, &p) ? print_place(cli->words[i], &p)
					: (void)printf("%s\t-\n", cli->words[i]);
	}
	geo_close(&g);
	return bad;
}

int cmd_geo(const struct cli *cli)
{
	static struct geo_paths paths;
	static struct conf c;
	char err[ERRLEN];
	int any = 0;

	if (cli_conf(cli, &c) != 0)
		return 1;
	if (geo_paths(&paths, &c, err) != 0) {
		fprintf(stderr, "peerscope geo: geo.more_db: %s\n", err);
		return 1;
	}
	for (int i = 0; i < GEO_FILES_MAX; i++)
		any |= paths.path[i][0] != '\0';
	if (!any) {
		fprintf(stderr, "peerscope geo: no database is configured; "
				"scripts/geo-update fetches one\n");
		return 1;
	}
	if (cli->nwords > 0)
		return print_places(cli, &paths) > 0;
	return print_files(&paths) > 0;
}
