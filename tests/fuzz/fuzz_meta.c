/*
 * fuzz_meta.c -- libFuzzer against what people and swarms say of a torrent: magnet links,
 * info dicts, whole .torrent files.
 *
 * The first byte of an input chooses the reader. What was read is written, and what was
 * written is read again: links and torrents as the same, JSON by another reader.
 * FUZZ_SEEDS=DIR writes seeds there and ends.
 */
#include <string.h>

#include <cjson/cJSON.h>

#include "tests/fuzz/seeds.h"
#include "tests/unit/meta_stage.h"

enum { LINK, INFO, TORRENT, MODES };

/* ---- seeds ---------------------------------------------------------------------- */

static const char SEED_LINK[] =
	"magnet:?xt=urn:btih:c12fe1c06bba254a9dc9f519b335aa7c1367a88a&xt.2=urn:btmh:1220"
	"caf1e1c30e81cb361b9ee167c4aa64228a7fa4fa9f6105232b28ad099f3a302e&dn=a+%C3%A4"
	"&tr=udp%3A%2F%2Ft.example%3A1337&amp;tr.1=http://u@[::1]:80/x?y&ws=https://w/"
	"&x.pe=192.0.2.7:6881&x.pe=[2001:db8::1]:1&so=0,2,6-8";
static const char SEED_BASE32[] =
	"magnet:?dn=x&xt=urn:btih:YEX6DQDLXISUVHOJ6UM3GNNKPQJWPKEK";

static const char FILES[] = "d<length>i3e<path>l<b><c d.txt>ee"
			    "d<attr><xh><length>i0e<path>l<a>ee"
			    "d<attr><p><length>i7e<path>l<.pad><7>ee"
			    "d<length>i16384e<path>l<e>e<path.utf-8>l<\xc3\xa9>ee"
			    "d<attr><l><path>l<link>e<symlink path>l<a>ee"
			    "d<length>i1e<path>l<a>eed<length>i1e<path>l<..></>ee";
static const char HYBRID[] =
	"<files>ld<length>i5e<path>l<a>eed<attr><p><length>i16379e<path>l<.pad>"
	"<1>eed<length>i32769e<path>l<d><x>eee";
static const char TORRENT_HEAD[] =
	"d<announce><http://b/><announce-list>ll<udp://a:1><http://b/>el<udp://d:1>ee"
	"<comment><\xc3\xa9 \"x\"><created by><me><creation date>i1700000000e<info>";
static const char TORRENT_TAIL[] = "<piece layers>d<x><y>e<url-list>l<https://w/>ee";

static void write_seeds(const char *dir)
{
	struct buf b, whole;

	write_seed(dir, "link", LINK, SEED_LINK, sizeof(SEED_LINK) - 1);
	write_seed(dir, "base32", LINK, SEED_BASE32, sizeof(SEED_BASE32) - 1);
	buf_init(&b, 1u << 16);
	buf_init(&whole, 1u << 16);
	stage_v1(&b, FILES, 2);
	write_seed(dir, "v1", INFO, b.p, b.len);
	stage_add(&whole, TORRENT_HEAD);
	buf_add(&whole, b.p, b.len);
	stage_add(&whole, TORRENT_TAIL);
	write_seed(dir, "torrent", TORRENT, whole.p, whole.len);
	buf_reset(&b);
	stage_add(&b, "d<length>i20000e");
	stage_end_v1(&b, 2);
	write_seed(dir, "single", INFO, b.p, b.len);
	buf_reset(&b);
	stage_v2(&b, "d<a>#<d>d<x>@<y>d<z>#e<empty>dee<e>#e", NULL, 0);
	write_seed(dir, "v2", INFO, b.p, b.len);
	buf_reset(&b);
	stage_v2(&b, "d<a>#<d>d<x>@ee", HYBRID, 4);
	write_seed(dir, "hybrid", INFO, b.p, b.len);
	buf_free(&b);
	buf_free(&whole);
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

/* A path that is fit for a line, a page and a file system. */
static void check_path(const struct metainfo_file *f)
{
	const char *part = f->path;
	unsigned levels = 0;

	PS_ASSERT(f->path_len <= METAINFO_PATH && strlen(f->path) == f->path_len);
	for (size_t i = 0; i < f->path_len;) {
		size_t n = utf8_len(f->path + i, f->path_len - i);

		PS_ASSERT(n > 0);
		PS_ASSERT((uint8_t)f->path[i] >= 0x20 && f->path[i] != 0x7f);
		PS_ASSERT(f->path[i] != '\\');
		i += n;
	}
	for (;;) {
		size_t n = strcspn(part, "/");

		PS_ASSERT(n > 0 && n <= METAINFO_NAME + 16);
		PS_ASSERT(!(n == 1 && part[0] == '.') &&
			  !(n == 2 && !memcmp(part, "..", 2)));
		levels++;
		if (part[n] == '\0')
			break;
		part += n + 1;
	}
	PS_ASSERT(levels <= METAINFO_LEVELS);
}

static void check_files(const struct metainfo *m)
{
	static struct metainfo_iter it;
	static char *path[4096]; /* more than an input has room for */
	struct metainfo_file f;
	uint64_t size = 0;
	uint32_t n = 0, pads = 0;

	PS_ASSERT(metainfo_begin(&it, m) == 0);
	for (; metainfo_next(&it, &f); n++) {
		PS_ASSERT(n < PS_ARRAY_LEN(path) && f.index == n);
		check_path(&f);
		for (uint32_t i = 0; i < n; i++)
			PS_ASSERT(strcmp(path[i], f.path) != 0);
		path[n] = strdup(f.path);
		PS_ASSERT(f.size <= METAINFO_SIZE_MAX);
		size += f.pad ? 0 : f.size;
		pads += f.pad != 0;
	}
	PS_ASSERT(n == m->nfiles && pads == m->npads && size == m->size);
	metainfo_end(&it);
	while (n--)
		free(path[n]);
}

static void render(struct buf *out, const struct metainfo *m,
		   const struct metainfo_beside *b, uint32_t files)
{
	static const uint8_t v1[IH_LEN] = {1}, v2[IH_V2_LEN] = {2};
	static struct metainfo_json w;

	buf_init(out, 1u << 24);
	PS_ASSERT(metainfo_json_begin(&w, out, m, b, m->has_v1 ? v1 : NULL,
				      m->has_v2 ? v2 : NULL) == 0);
	while (metainfo_json_step(&w, files))
		;
	metainfo_json_end(&w);
	PS_ASSERT(!out->failed);
}

static unsigned occurrences(const struct buf *in, const char *what)
{
	unsigned n = 0;

	for (const char *at = in->p; (at = strstr(at, what)) != NULL; at++)
		n++;
	return n;
}

static void check_json(const struct metainfo *m, const struct metainfo_beside *b)
{
	static struct magnet link;
	struct buf one, two;
	char err[ERRLEN];
	const char *uri;
	cJSON *json;

	render(&one, m, b, 1);
	render(&two, m, b, 1000);
	PS_ASSERT(one.len == two.len && memcmp(one.p, two.p, one.len) == 0);
	PS_ASSERT(strlen(one.p) == one.len);
	PS_ASSERT(occurrences(&one, SELECTED_YES) == m->nfiles);
	json = cJSON_ParseWithLength(one.p, one.len);
	PS_ASSERT(json);
	PS_ASSERT((uint32_t)cJSON_GetArraySize(cJSON_GetObjectItem(json, "files")) ==
		  m->nfiles);
	uri = cJSON_GetObjectItem(json, "magnet_uri")->valuestring;
	PS_ASSERT(magnet_parse(&link, uri, strlen(uri), err) == 0);
	PS_ASSERT(link.has_v1 == m->has_v1 && link.has_v2 == m->has_v2);
	cJSON_Delete(json);
	buf_free(&one);
	buf_free(&two);
}

static int same_span(struct benc_span a, struct benc_span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

static void check_same(const struct metainfo_beside *a, const struct metainfo_beside *b)
{
	PS_ASSERT(a->ntrackers == b->ntrackers && a->nseeds == b->nseeds);
	for (uint32_t i = 0; i < a->ntrackers; i++) {
		PS_ASSERT(same_span(a->tracker[i].url, b->tracker[i].url));
		PS_ASSERT(i == 0 ||
			  (a->tracker[i].tier == a->tracker[i - 1].tier) ==
				  (b->tracker[i].tier == b->tracker[i - 1].tier));
	}
	for (uint32_t i = 0; i < a->nseeds; i++)
		PS_ASSERT(same_span(a->seed[i], b->seed[i]));
	PS_ASSERT(same_span(a->comment, b->comment));
	PS_ASSERT(same_span(a->created_by, b->created_by));
	PS_ASSERT(a->created_s == b->created_s || a->created_s < 0);
}

/* What is written has the same info dict, so the same hash. */
static void check_torrent(const struct metainfo *m, const struct metainfo_beside *b)
{
	static struct metainfo_beside again;
	char err[ERRLEN];
	struct benc info;
	struct buf out;

	buf_init(&out, 1u << 20);
	metainfo_torrent(&out, m, b);
	PS_ASSERT(!out.failed);
	PS_ASSERT(metainfo_split(&info, &again, out.p, out.len, err) == 0);
	PS_ASSERT(info.len == m->info.len && memcmp(info.p, m->info.p, info.len) == 0);
	PS_ASSERT(again.left_out == 0);
	check_same(b, &again);
	buf_free(&out);
}

static void read_info(const uint8_t *p, size_t n, const struct metainfo_beside *b)
{
	struct metainfo m;
	char err[ERRLEN];

	if (metainfo_read(&m, p, n, err) != 0)
		return;
	check_files(&m);
	check_json(&m, b);
	check_torrent(&m, b);
}

static void read_torrent(const uint8_t *p, size_t n)
{
	static struct metainfo_beside b;
	char err[ERRLEN];
	struct benc info;

	if (metainfo_split(&info, &b, p, n, err) == 0)
		read_info(info.p, info.len, &b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct metainfo_beside none;

	if (size == 0)
		return 0;
	switch (data[0] % MODES) {
	case LINK: read_link((const char *)data + 1, size - 1); break;
	case INFO: read_info(data + 1, size - 1, &none); break;
	case TORRENT: read_torrent(data + 1, size - 1); break;
	}
	return 0;
}
