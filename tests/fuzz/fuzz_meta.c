/*
 * fuzz_meta.c -- libFuzzer against what people and swarms say of a torrent: magnet links.
 *
 * The first byte of an input chooses the reader. FUZZ_SEEDS=DIR writes seeds there and ends.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/magnet.h"

enum { LINK, MODES };

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- seeds ---------------------------------------------------------------------- */

static void write_seed(const char *dir, const char *name, int mode, const char *p,
		       size_t n)
{
	uint8_t head = (uint8_t)mode;
	char path[1024];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	PS_ASSERT(fd >= 0);
	PS_ASSERT(write(fd, &head, 1) == 1);
	PS_ASSERT(write(fd, p, n) == (ssize_t)n);
	close(fd);
}

static const char SEED_LINK[] =
	"magnet:?xt=urn:btih:c12fe1c06bba254a9dc9f519b335aa7c1367a88a&xt.2=urn:btmh:1220"
	"caf1e1c30e81cb361b9ee167c4aa64228a7fa4fa9f6105232b28ad099f3a302e&dn=a+%C3%A4"
	"&tr=udp%3A%2F%2Ft.example%3A1337&amp;tr.1=http://u@[::1]:80/x?y&ws=https://w/"
	"&x.pe=192.0.2.7:6881&x.pe=[2001:db8::1]:1&so=0,2,6-8";
static const char SEED_BASE32[] =
	"magnet:?dn=x&xt=urn:btih:YEX6DQDLXISUVHOJ6UM3GNNKPQJWPKEK";

static void write_seeds(const char *dir)
{
	write_seed(dir, "link", LINK, SEED_LINK, sizeof(SEED_LINK) - 1);
	write_seed(dir, "base32", LINK, SEED_BASE32, sizeof(SEED_BASE32) - 1);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *dir = getenv("FUZZ_SEEDS");

	(void)argc;
	(void)argv;
	if (!dir)
		return 0;
	write_seeds(dir);
	exit(0);
}

/* ---- targets -------------------------------------------------------------------- */

static void check_link(const struct magnet *m)
{
	PS_ASSERT(m->has_v1 || m->has_v2);
	PS_ASSERT(memchr(m->name, '\0', sizeof(m->name)));
	PS_ASSERT(m->ntrackers <= MAGNET_URLS && m->nseeds <= MAGNET_URLS);
	for (uint32_t i = 0; i < m->ntrackers; i++)
		PS_ASSERT(magnet_url(MAGNET_TRACKER, magnet_tracker(m, i),
				     strlen(magnet_tracker(m, i))));
	for (uint32_t i = 0; i < m->nseeds; i++)
		PS_ASSERT(magnet_url(MAGNET_WEB_SEED, magnet_seed(m, i),
				     strlen(magnet_seed(m, i))));
	for (uint32_t i = 0; i < m->nranges; i++) {
		PS_ASSERT(m->range[i].first <= m->range[i].last);
		PS_ASSERT(i == 0 || m->range[i - 1].last + 1 < m->range[i].first);
		PS_ASSERT(magnet_wants(m, m->range[i].first));
		PS_ASSERT(!magnet_wants(m, m->range[i].last + 1));
	}
}

/* What is read is written, and what was written reads as the same. */
static void read_link(const char *p, size_t n)
{
	static struct magnet one, two;
	char err[ERRLEN];
	struct buf a, b;
	uint32_t missing;

	if (magnet_parse(&one, p, n, err) != 0)
		return;
	check_link(&one);
	buf_init(&a, MAGNET_MAX);
	buf_init(&b, MAGNET_MAX);
	missing = magnet_write(&one, &a, MAGNET_MAX);
	PS_ASSERT(!a.failed && a.len <= MAGNET_MAX);
	PS_ASSERT(magnet_parse(&two, a.p, a.len, err) == 0);
	check_link(&two);
	PS_ASSERT(memcmp(one.v1, two.v1, IH_LEN) == 0);
	PS_ASSERT(memcmp(one.v2, two.v2, IH_V2_LEN) == 0);
	PS_ASSERT(strcmp(one.name, two.name) == 0);
	PS_ASSERT(one.nranges == two.nranges);
	PS_ASSERT(memcmp(one.range, two.range, one.nranges * sizeof(one.range[0])) == 0);
	PS_ASSERT(memcmp(&one.given, &two.given, sizeof(one.given)) == 0);
	PS_ASSERT(two.ntrackers + two.nseeds + missing == one.ntrackers + one.nseeds);
	PS_ASSERT(magnet_write(&two, &b, MAGNET_MAX) == 0);
	PS_ASSERT(a.len == b.len && memcmp(a.p, b.p, a.len) == 0);
	buf_free(&a);
	buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	switch (data[0] % MODES) {
	case LINK: read_link((const char *)data + 1, size - 1); break;
	}
	return 0;
}
