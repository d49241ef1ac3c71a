/*
 * test_metainfo.c -- info dicts of every sort, what is refused of them and why; names and
 * paths made clean and distinct; the JSON of a torrent, and its .torrent. What is said of
 * sizes, offsets and refusals is what libtorrent 2.0.8 says of the same bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "tests/unit/meta_stage.h"

static const uint8_t V1[IH_LEN] = {0xc1, 0x2f};
static const uint8_t V2[IH_V2_LEN] = {0xca, 0xf1};
#define V1_HEX "c12f000000000000000000000000000000000000"
#define V2_HEX "caf1000000000000000000000000000000000000000000000000000000000000"

static struct buf in, out;
static struct metainfo m;
static struct metainfo_beside none;

static int setup(void **state)
{
	(void)state;
	buf_init(&in, 64u << 20);
	buf_init(&out, 64u << 20);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	buf_free(&in);
	buf_free(&out);
	return 0;
}

static void reading(const char *what)
{
	char err[ERRLEN] = "";

	assert_false(in.failed);
	if (metainfo_read(&m, in.p, in.len, err) != 0)
		fail_msg("%s: %s", what, err);
}

static void refusing(const char *what, const char *why)
{
	char err[ERRLEN] = "";

	if (metainfo_read(&m, in.p, in.len, err) == 0)
		fail_msg("%s passes", what);
	if (!strstr(err, why))
		fail_msg("%s: %s", what, err);
}

/* "path size offset flags" of each file, a line each. */
static const char *listing(void)
{
	static char text[65536];
	struct metainfo_iter *it = malloc(sizeof(*it));
	struct metainfo_file f;
	size_t n = 0;

	assert_non_null(it);
	assert_int_equal(metainfo_begin(it, &m), 0);
	text[0] = '\0';
	for (uint32_t i = 0; metainfo_next(it, &f); i++) {
		assert_int_equal(f.index, i);
		assert_int_equal(strlen(f.path), f.path_len);
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s %llu %llu%s%s%s\n",
				      f.path, (unsigned long long)f.size,
				      (unsigned long long)f.offset, f.pad ? " pad" : "",
				      f.attr[0] ? " " : "", f.attr);
	}
	metainfo_end(it);
	free(it);
	return text;
}

/* ---- v1 -------------------------------------------------------------------------------- */

static void test_single(void **state)
{
	(void)state;
	stage_add(&in, "d<length>i20000e");
	stage_end_v1(&in, 2);
	reading("single");
	assert_true(m.has_v1 && !m.has_v2 && !m.is_private && !m.needs_layers);
	assert_int_equal(m.size, 20000);
	assert_int_equal(m.piece_length, STAGE_PIECE);
	assert_int_equal(m.piece_count, 2);
	assert_int_equal(m.nfiles, 1);
	assert_int_equal(m.npads, 0);
	assert_string_equal(listing(), "name 20000 0\n");
}

static void test_files(void **state)
{
	(void)state;
	stage_v1(&in,
		 "d<length>i3e<path>l<b><c d.txt>ee"
		 "d<attr><xh><length>i0e<path>l<a>ee"
		 "d<attr><p><length>i7e<path>l<.pad><7>ee"
		 "d<length>i16384e<path>l<e>e<path.utf-8>l<\xc3\xa9>ee"
		 "d<attr><l><path>l<link>e<symlink path>l<a>ee"
		 "d<length>i1e<path>l<dir><_____padding_file_0_x>ee",
		 2);
	reading("files");
	assert_int_equal(m.size, 16387);
	assert_int_equal(m.nfiles, 6);
	assert_int_equal(m.npads, 2);
	assert_string_equal(listing(), "b/c d.txt 3 0\n"
				       "a 0 3 xh\n"
				       ".pad/7 7 3 pad p\n"
				       "\xc3\xa9 16384 10\n"
				       "link 0 16394 l\n"
				       "dir/_____padding_file_0_x 1 16394 pad\n");
}

/* Old makers did not sort; the first of two keys counts. */
static void test_any_order(void **state)
{
	(void)state;
	stage_add(&in, "d<private>i1e<length>i5e<name><x><length>i6e");
	stage_bytes(&in, "<pieces>", 'p', 20);
	stage_add(&in, "<piece length>i16384e<name.utf-8><y>e");
	reading("unsorted");
	assert_true(m.is_private);
	assert_string_equal(listing(), "y 5 0\n");
}

static void test_refused(void **state)
{
	static const struct {
		const char *files, *why;
	} FILES[] = {
		{"", "fit its size"},
		{"i5e", "no dict"},
		{"d<path>l<a>ee", "without a length"},
		{"d<length>i-1e<path>l<a>ee", "wild"},
		{"d<length><5><path>l<a>ee", "wild"},
		{"d<length>i9007199254740992e<path>l<a>ee", "wild"},
		{"d<length>i9007199254740991e<path>l<a>eed<length>i1e<path>l<b>ee",
		 "wild"},
		{"d<length>i5ee", "without a path"},
		{"d<length>i5e<path>lee", "without a path"},
		{"d<length>i5e<path><a>e", "without a path"},
		{"d<length>i5e<path>li5eee", "no list of names"},
		{"d<length>i16385e<path>l<a>ee", "fit its size"},
		{"d<length>i0e<path>l<a>ee", "fit its size"},
	};
	static const struct {
		const char *info, *why;
	} INFOS[] = {
		{"", "ends inside"},
		{"d", "ends inside"},
		{"i5e", "no dict"},
		{"le", "no dict"},
		{"dex", "behind its end"},
		{"d<length>i05ee", "bad integer"},
		{"de", "no name"},
		{"d<name>i5ee", "no name"},
		{"d<name><x>e", "piece length"},
		{"d<name><x><piece length>i0ee", "piece length"},
		{"d<name><x><piece length>i1073741825ee", "piece length"},
		{"d<name><x><piece length>i16384ee", "no pieces"},
		{"d<length>i5e<name><x><piece length>i16384e<pieces><0123456789>e",
		 "cut off"},
		{"d<name><x><piece length>i16384e<pieces><01234567890123456789>e",
		 "neither files nor"},
		{"d<length>i0e<name><x><piece length>i16384e<pieces><>e", "no content"},
		{"d<length>i5e<meta version>i3e<name><x>e", "meta version"},
		{"d<meta version>i2e<name><x><piece length>i16384ee", "no file tree"},
		{"d<file tree>de<meta version>i2e<name><x><piece length>i30000ee",
		 "none of BitTorrent v2"},
		{"d<file tree>de<meta version>i2e<name><x><piece length>i8192ee",
		 "none of BitTorrent v2"},
		{"d<file tree>de<meta version>i2e<name><x><piece length>i16384ee",
		 "no content"},
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(FILES); i++) {
		buf_reset(&in);
		stage_v1(&in, FILES[i].files, 1);
		refusing(FILES[i].files, FILES[i].why);
	}
	for (size_t i = 0; i < PS_ARRAY_LEN(INFOS); i++) {
		buf_reset(&in);
		stage_add(&in, INFOS[i].info);
		refusing(INFOS[i].info, INFOS[i].why);
	}
}

/* ---- v2 and hybrids ------------------------------------------------------------------- */

static void test_v2(void **state)
{
	(void)state;
	stage_v2(&in, "d<a>#<d>d<x>@<y>d<z>#e<empty>dee<e>#e", NULL, 0);
	reading("v2");
	assert_true(!m.has_v1 && m.has_v2 && m.needs_layers);
	assert_int_equal(m.size, 3 * 5 + 2 * STAGE_PIECE + 1);
	assert_int_equal(m.piece_count, 6);
	assert_string_equal(listing(),
			    "a 5 0\nd/x 32769 16384\nd/y/z 5 65536\ne 5 81920\n");
	buf_reset(&in);
	stage_v2(&in, "d<name>#e", NULL, 0);
	reading("single v2");
	assert_false(m.needs_layers);
	assert_string_equal(listing(), "name 5 0\n");
}

static void test_v2_refused(void **state)
{
	static const struct {
		const char *tree, *why;
	} CASES[] = {
		{"d<a>i5ee", "something else"},
		{"d<a><b>e", "something else"},
		{"d<a>l#ee", "something else"},
		{"d<>d<length>i5eee", "something else"},
		{"d<a>d<>i5eee", "no dict"},
		{"d<a>d<>d<length>i5eeee", "pieces root"},
		{"d<a>d<>d<length>i5e<pieces root><short>eee", "pieces root"},
		{"d<a>d<>deee", "without a length"},
		{"d<a>d<>d<length>i0ee<b>#ee", "something else"},
		{"d<a>d<b>#<>d<length>i0eeee", "something else"},
		{"d<a>d<>d<length>i0ee<>d<length>i0eeee", "something else"},
		{"d<a>d<>d<length>i0eeee", "no content"},
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(CASES); i++) {
		buf_reset(&in);
		stage_v2(&in, CASES[i].tree, NULL, 0);
		refusing(CASES[i].tree, CASES[i].why);
	}
}

static void test_hybrid(void **state)
{
	static const char files[] =
		"<files>ld<length>i5e<path>l<a>eed<attr><p><length>i16379e<path>l<.pad>"
		"<1>eed<length>i32769e<path>l<d><x>eee";
	static const struct {
		const char *tree, *files;
		size_t pieces;
	} BAD[] = {
		{"d<b>#<d>d<x>@ee", files, 4},           {"d<a>#<d>d<x>#ee", files, 4},
		{"d<a>#<d>d<x>@<y>#ee", files, 4},       {"d<a>#e", files, 4},
		{"d<d>d<x>@e<a>#e", files, 4},           {"d<a>#<d>@e", files, 4},
		{"d<other>#e", "<length>i5e", 1},        {"d<name>@e", "<length>i5e", 1},
		{"d<name>d<name>#ee", "<length>i5e", 1},
	};

	(void)state;
	stage_v2(&in, "d<a>#<d>d<x>@ee", files, 4);
	reading("hybrid");
	assert_true(m.has_v1 && m.has_v2 && m.needs_layers);
	assert_int_equal(m.size, 32774);
	assert_int_equal(m.piece_count, 4);
	assert_string_equal(listing(), "a 5 0\n.pad/1 16379 5 pad p\nd/x 32769 16384\n");
	for (size_t i = 0; i < PS_ARRAY_LEN(BAD); i++) {
		buf_reset(&in);
		stage_v2(&in, BAD[i].tree, BAD[i].files, BAD[i].pieces);
		refusing(BAD[i].tree, "v1 files are not its v2 files");
	}
	buf_reset(&in);
	stage_v2(&in, "d<name>#e", "<length>i5e", 1);
	reading("single hybrid");
	assert_string_equal(listing(), "name 5 0\n");
}

/* ---- bounds --------------------------------------------------------------------------- */

static void test_bounds(void **state)
{
	(void)state;
	stage_add(&in, "d<files>l");
	for (uint32_t i = 0; i < METAINFO_FILES; i++)
		stage_add(&in, "d<length>i1e<path>l<a>ee");
	buf_str(&in, "e");
	stage_end_v1(&in, 7);
	reading("100,000 files");
	assert_int_equal(m.nfiles, METAINFO_FILES);
	buf_reset(&in);
	stage_add(&in, "d<files>l");
	for (uint32_t i = 0; i <= METAINFO_FILES; i++)
		stage_add(&in, "d<length>i1e<path>l<a>ee");
	buf_str(&in, "e");
	stage_end_v1(&in, 7);
	refusing("one more", "more than 100000 files");
	buf_reset(&in);
	stage_add(&in, "d<length>i5e");
	stage_bytes(&in, "<x>", 'x', METAINFO_MAX);
	stage_end_v1(&in, 1);
	refusing("more than 10 MiB", "too large");
	buf_reset(&in);
	stage_add(&in, "d<files>ld<length>i5e<path>l");
	for (int i = 0; i < BENC_DEPTH_MAX + 1; i++)
		stage_add(&in, "<a>");
	stage_add(&in, "eee");
	stage_end_v1(&in, 1);
	refusing("a path of 101 parts", "100 parts");
	buf_reset(&in);
	for (int i = 0; i < BENC_DEPTH_MAX + 1; i++)
		stage_add(&in, "d<a>");
	refusing("101 levels", "too deep");
}

/* ---- names and paths ------------------------------------------------------------------- */

static void expect_paths(const char *files, const char *want)
{
	buf_reset(&in);
	stage_v1(&in, files, 1);
	reading(files);
	assert_string_equal(listing(), want);
}

static void test_hygiene(void **state)
{
	(void)state;
	expect_paths("d<length>i1e<path>l<..><..><etc><passwd>ee",
		     "__/__/etc/passwd 1 0\n");
	expect_paths("d<length>i1e<path>l</etc/passwd>ee", "_etc_passwd 1 0\n");
	expect_paths("d<length>i1e<path>l<a\\b><c/d>ee", "a_b/c_d 1 0\n");
	expect_paths("d<length>i1e<path>l<><a><.><><b>ee", "a/b 1 0\n");
	expect_paths("d<length>i1e<path>l<a><.>ee", "a 1 0\n");
	expect_paths("d<length>i1e<path>l<.><>ee", "_ 1 0\n");
	expect_paths("d<length>i1e<path>l<..>ee", "__ 1 0\n");
	expect_paths("d<length>i1e<path>l<...><.a>ee", ".../.a 1 0\n");
	expect_paths("d<length>i1e<path>l<a\n\x1b[2J><b\xff>ee",
		     "a__[2J/b\xef\xbf\xbd 1 0\n");
	expect_paths("d<length>i1e<path>l<\xe2\x80\xaegpj.exe>ee", "_gpj.exe 1 0\n");
}

static void test_distinct(void **state)
{
	(void)state;
	expect_paths("d<length>i1e<path>l<a.txt>eed<length>i2e<path>l<b>ee"
		     "d<length>i3e<path>l<a.txt>eed<length>i4e<path>l<A.txt>ee"
		     "d<length>i5e<path>l<a.txt>ee",
		     "a.txt 1 0\nb 2 1\na (2).txt 3 3\nA.txt 4 6\na (4).txt 5 10\n");
	/* Who has our suffix already, before us and behind us. */
	expect_paths("d<length>i1e<path>l<d.x><a>eed<length>i1e<path>l<d.x><a (2)>ee"
		     "d<length>i1e<path>l<d.x><a>eed<length>i1e<path>l<d.x><a (2-2)>ee",
		     "d.x/a 1 0\nd.x/a (2) 1 1\nd.x/a (2-2) 1 2\nd.x/a (2-2) (3) 1 3\n");
	/* Hygiene makes alike what was not. */
	expect_paths("d<length>i1e<path>l<a><b>eed<length>i1e<path>l<a><><b>ee"
		     "d<length>i1e<path>l<..>eed<length>i1e<path>l<__>ee"
		     "d<length>i1e<path>l<.x>eed<length>i1e<path>l<.x>ee",
		     "a/b 1 0\na/b (1) 1 1\n__ 1 2\n__ (3) 1 3\n.x 1 4\n.x (5) 1 5\n");
}

/* Every path of a torrent that wants all of them the same is another one, soon. */
static void test_all_alike(void **state)
{
	struct metainfo_iter *it = malloc(sizeof(*it));
	struct metainfo_file f;
	uint32_t n = 0;

	(void)state;
	assert_non_null(it);
	stage_add(&in, "d<files>l");
	for (uint32_t i = 0; i < METAINFO_FILES; i++) {
		char name[32];
		int len = snprintf(name, sizeof(name), "%s", "a");

		if (i % 3 == 0)
			len = snprintf(name, sizeof(name), "a (%u)", i + 1);
		buf_printf(&in, "d6:lengthi1e4:pathl%d:%see", len, name);
	}
	buf_str(&in, "e");
	stage_end_v1(&in, 7);
	reading("all alike");
	assert_int_equal(metainfo_begin(it, &m), 0);
	for (; metainfo_next(it, &f); n++) {
		if (n % 3 == 1 && n > 1) {
			char want[32];

			snprintf(want, sizeof(want), "a (%u-2)", n);
			assert_string_equal(f.path, want);
		}
	}
	assert_int_equal(n, METAINFO_FILES);
	metainfo_end(it);
	free(it);
}

static void add_long(size_t bytes, const char *ending)
{
	buf_printf(&in, "%zu:", bytes + strlen(ending));
	for (size_t i = 0; i < bytes; i++)
		buf_add(&in, &"\xc3\xa4"[i % 2], 1);
	buf_str(&in, ending);
}

/* A name too long keeps its extension, whole characters and the bound. */
static void test_long(void **state)
{
	const char *text;
	size_t levels = 1;

	(void)state;
	stage_add(&in, "d<files>ld<length>i1e<path>l");
	add_long(300, ".mkv");
	stage_add(&in, "eed<length>i1e<path>l");
	add_long(300, ".mkv");
	stage_add(&in, "eed<length>i1e<path>l");
	add_long(300, ".this is no extension");
	stage_add(&in, "eee");
	stage_end_v1(&in, 1);
	reading("long names");
	text = listing();
	assert_int_equal(strcspn(text, "\n"), 250 + 4 + 4);
	assert_memory_equal(text + 250, ".mkv 1 0\n", 9);
	text = strchr(text, '\n') + 1;
	assert_memory_equal(text + 250, " (1).mkv 1 1\n", 13);
	text = strchr(text, '\n') + 1;
	assert_memory_equal(text + 252, "\xc3\xa4 1 2\n", 7);
	buf_reset(&in);
	stage_add(&in, "d<files>ld<length>i1e<path>l");
	for (int i = 0; i < 99; i++)
		add_long(2, "");
	stage_add(&in, "<end.mkv>eed<length>i1e<path>l");
	for (int i = 0; i < 99; i++)
		add_long(300, "");
	add_long(400, ".mkv");
	stage_add(&in, "eee");
	stage_end_v1(&in, 1);
	reading("deep paths");
	text = listing();
	for (const char *c = text; *c != '\n'; c++)
		levels += *c == '/';
	assert_int_equal(levels, METAINFO_LEVELS);
	text = strchr(text, '\n') + 1;
	assert_true(strcspn(text, " ") <= METAINFO_PATH - 15);
	assert_true(strcspn(text, " ") > METAINFO_PATH - 4 * METAINFO_NAME);
	assert_memory_equal(text + strcspn(text, " ") - 4, ".mkv", 4);
}

/* ---- beside the info dict --------------------------------------------------------------- */

static const char WHOLE[] =
	"d<announce><http://b/>"
	"<announce-list>ll<udp://a:1><http://b/><wss://c/>el<udp://d:1><udp://a:1>e<http://e/>"
	"i5ee<comment><old><comment.utf-8><\xc3\xa9 \"x\"><created by><me\n>"
	"<creation date>i1700000000e<encoding><UTF-8><info>d<length>i5e<name><n>"
	"<piece length>i16384e<pieces><01234567890123456789>e"
	"<piece layers>d<x><y>e<url-list>l<https://w/><ftp://w/>ee";

static void expect_tracker(const struct metainfo_beside *b, uint32_t i, const char *url,
			   uint32_t tier)
{
	assert_true(i < b->ntrackers);
	assert_int_equal(b->tracker[i].url.len, strlen(url));
	assert_memory_equal(b->tracker[i].url.p, url, strlen(url));
	assert_int_equal(b->tracker[i].tier, tier);
}

static void splitting(struct metainfo_beside *b)
{
	char err[ERRLEN];
	struct benc info;

	assert_int_equal(metainfo_split(&info, b, in.p, in.len, err), 0);
	assert_int_equal(metainfo_read(&m, info.p, info.len, err), 0);
}

static void test_split(void **state)
{
	static struct metainfo_beside b;

	(void)state;
	stage_add(&in, WHOLE);
	splitting(&b);
	assert_string_equal(listing(), "n 5 0\n");
	assert_int_equal(b.ntrackers, 4);
	expect_tracker(&b, 0, "http://b/", 0);
	expect_tracker(&b, 1, "udp://a:1", 0);
	expect_tracker(&b, 2, "udp://d:1", 1);
	expect_tracker(&b, 3, "http://e/", 2);
	assert_int_equal(b.nseeds, 1);
	assert_int_equal(b.left_out, 2);
	assert_int_equal(b.created_s, 1700000000);
	assert_memory_equal(b.comment.p, "\xc3\xa9 \"x\"", b.comment.len);
	assert_int_equal(b.layers.len, 8);
	metainfo_torrent(&out, &m, &b);
	buf_reset(&in);
	stage_add(&in,
		  "d<announce><http://b/><announce-list>ll<http://b/><udp://a:1>el"
		  "<udp://d:1>el<http://e/>ee<comment><\xc3\xa9 \"x\"><created by><me\n>"
		  "<creation date>i1700000000e<info>d<length>i5e<name><n><piece length>"
		  "i16384e<pieces><01234567890123456789>e<url-list>l<https://w/>ee");
	assert_string_equal(out.p, in.p);
}

static void test_split_others(void **state)
{
	static const struct {
		const char *torrent, *why;
	} BAD[] = {
		{"", "ends inside"},
		{"<!DOCTYPE html>", "no info"},
		{"de", "no info"},
		{"d<info>i5ee", "no info"},
		{"d<info>de<info>dee", "two info"},
		{"d<info>de", "ends inside"},
		{"ld<info>deee", "no info"},
	};
	static struct metainfo_beside b;
	char err[ERRLEN];
	struct benc info;

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(BAD); i++) {
		buf_reset(&in);
		stage_add(&in, BAD[i].torrent);
		buf_add(&in, "", 0);
		assert_int_not_equal(metainfo_split(&info, &b, in.p, in.len, err), 0);
		assert_non_null(strstr(err, BAD[i].why));
	}
	/* Not in the list: a tier before it. Unsorted; web seed as a string. */
	buf_reset(&in);
	stage_add(&in, "d<url-list><http://w/><info>de<announce-list>ll<udp://a:1>ee"
		       "<announce><http://b/>e");
	assert_int_equal(metainfo_split(&info, &b, in.p, in.len, err), 0);
	expect_tracker(&b, 0, "http://b/", 0);
	expect_tracker(&b, 1, "udp://a:1", 1);
	assert_int_equal(b.nseeds, 1);
	assert_null(b.comment.p);
	/* More than we keep. */
	buf_reset(&in);
	stage_add(&in, "d<announce><file:///x><announce-list>l");
	for (int i = 0; i < MAGNET_URLS + 3; i++) {
		char url[32];

		snprintf(url, sizeof(url), "l<http://%d/>e", i);
		stage_add(&in, url);
	}
	stage_add(&in, "e<info>dee");
	assert_int_equal(metainfo_split(&info, &b, in.p, in.len, err), 0);
	assert_int_equal(b.ntrackers, MAGNET_URLS);
	assert_int_equal(b.left_out, 4);
	expect_tracker(&b, 0, "http://0/", 0);
	expect_tracker(&b, 49, "http://49/", 49);
}

static void test_layers(void **state)
{
	(void)state;
	stage_v2(&in, "d<a>#e", NULL, 0);
	reading("small v2");
	metainfo_torrent(&out, &m, &none);
	assert_non_null(strstr(out.p, "12:piece layersdee"));
	buf_reset(&in);
	buf_reset(&out);
	stage_v2(&in, "d<a>@e", NULL, 0);
	reading("v2");
	metainfo_torrent(&out, &m, &none);
	assert_null(strstr(out.p, "piece layers"));
}

/* ---- JSON ------------------------------------------------------------------------------ */

static const char *rendering(const struct metainfo_beside *b, const uint8_t *v1,
			     const uint8_t *v2, uint32_t step)
{
	struct metainfo_json *w = malloc(sizeof(*w));
	struct buf part;

	assert_non_null(w);
	buf_init(&part, 1u << 20);
	buf_reset(&out);
	assert_int_equal(metainfo_json_begin(w, &part, &m, b, v1, v2), 0);
	for (int more = 1; more;) {
		more = metainfo_json_step(w, step);
		assert_false(part.failed);
		buf_add(&out, part.p, part.len);
		buf_reset(&part);
	}
	assert_int_equal(metainfo_json_step(w, 1), 0);
	assert_int_equal(part.len, 0);
	metainfo_json_end(w);
	buf_free(&part);
	free(w);
	return out.p;
}

static void test_json_whole(void **state)
{
	static struct metainfo_beside b;

	(void)state;
	stage_add(&in, WHOLE);
	splitting(&b);
	assert_string_equal(
		rendering(&b, V1, NULL, 100),
		"{\"info_hash\":\"" V1_HEX "\",\"name\":\"n\",\"size\":5,\"files\":[{"
		"\"path\":\"n\",\"size\":5,\"offset\":0,\"index\":0,\"pad\":false,"
		"\"selected\":true }],\"file_count\":1,\"created_by\":\"me_\","
		"\"created_at\":\"2023-11-14T22:13:20Z\",\"comment\":\"\xc3\xa9 \\\"x\\\"\","
		"\"trackers\":[\"http://b/\",\"udp://a:1\",\"udp://d:1\",\"http://e/\"],"
		"\"web_seeds\":[\"https://w/\"],\"piece_length\":16384,\"piece_count\":1,"
		"\"private\":false,\"magnet_uri\":\"magnet:?xt=urn:btih:" V1_HEX
		"&dn=n&tr=http%3A%2F%2Fb%2F&tr=udp%3A%2F%2Fa%3A1&tr=udp%3A%2F%2Fd%3A1"
		"&tr=http%3A%2F%2Fe%2F&ws=https%3A%2F%2Fw%2F\",\"verified\":true}");
}

/* What an uploader is told beside what others are told, too: no member is in both. */
static void test_json_beside(void **state)
{
	static struct metainfo_beside b;

	(void)state;
	stage_add(&in, WHOLE);
	splitting(&b);
	buf_reset(&out);
	metainfo_json_beside(&out, &b);
	assert_string_equal(
		out.p,
		"{\"created_by\":\"me_\",\"created_at\":\"2023-11-14T22:13:20Z\","
		"\"comment\":\"\xc3\xa9 \\\"x\\\"\",\"trackers\":[\"http://b/\","
		"\"udp://a:1\",\"udp://d:1\",\"http://e/\"],\"web_seeds\":[\"https://w/\"]}");
	rendering(&none, V1, NULL, 9);
	assert_null(strstr(out.p, "trackers"));
	assert_null(strstr(out.p, "created"));
	buf_reset(&out);
	metainfo_json_beside(&out, &none);
	assert_string_equal(out.p, "{}");
}

/* What is not known is absent; steps of any size write the same text. */
static void test_json_bare(void **state)
{
	static const char files[] =
		"<files>ld<length>i5e<path>l<a>eed<attr><p><length>i16379e<path>l<.pad>"
		"<1>eed<length>i5e<path>l<\" selected\":true }>eee";
	char *one;

	(void)state;
	stage_v2(&in, "d<a>#<\" selected\":true }>#e", files, 2);
	reading("hybrid");
	assert_string_equal(
		rendering(&none, V1, V2, 1),
		"{\"info_hash\":\"" V1_HEX "\",\"info_hash_v2\":\"" V2_HEX
		"\",\"name\":\"name\",\"size\":10,\"files\":["
		"{\"path\":\"a\",\"size\":5,\"offset\":0,\"index\":0,\"pad\":false,"
		"\"selected\":true },"
		"{\"path\":\".pad/1\",\"size\":16379,\"offset\":5,\"index\":1,\"pad\":true,"
		"\"attr\":\"p\",\"selected\":true },"
		"{\"path\":\"\\\" selected\\\":true }\",\"size\":5,\"offset\":16384,"
		"\"index\":2,\"pad\":false,\"selected\":true }],\"file_count\":2,"
		"\"piece_length\":16384,\"piece_count\":2,\"private\":false,"
		"\"magnet_uri\":\"magnet:?xt=urn:btih:" V1_HEX "&xt=urn:btmh:1220" V2_HEX
		"&dn=name\",\"verified\":true}");
	one = strdup(out.p);
	assert_string_equal(rendering(&none, V1, V2, 2), one);
	assert_string_equal(rendering(&none, V1, V2, 3), one);
	assert_string_equal(rendering(&none, V1, V2, 1000), one);
	free(one);
	rendering(&none, NULL, V2, 10);
	assert_non_null(strstr(out.p,
			       "{\"info_hash\":\"caf1000000000000000000000000000000"
			       "000000\",\"info_hash_v2\":\"" V2_HEX "\""));
}

static void expect_date(int64_t s, const char *want)
{
	struct metainfo_beside b = none;
	const char *at;

	b.created_s = s;
	at = strstr(rendering(&b, V1, NULL, 9), "\"created_at\"");
	assert_int_equal(at != NULL, want != NULL);
	if (want)
		assert_memory_equal(at + 13, want, strlen(want));
}

static void test_json_odd(void **state)
{
	static uint8_t comment[METAINFO_COMMENT + 1];
	struct metainfo_beside b = none;
	cJSON *json;

	(void)state;
	stage_add(&in, "d<length>i1e<name><../\"\n\xff><piece length>i1e<pieces>"
		       "<01234567890123456789><private>i1ee");
	reading("odd");
	expect_date(0, NULL);
	expect_date(-1, NULL);
	expect_date(INT64_MIN, NULL);
	expect_date(INT64_MAX, NULL);
	expect_date(253402300800, NULL);
	expect_date(253402300799, "\"9999-12-31T23:59:59Z\"");
	expect_date(1, "\"1970-01-01T00:00:01Z\"");
	memset(comment, 'x', sizeof(comment));
	b.comment = (struct benc_span){comment, sizeof(comment)};
	json = cJSON_Parse(rendering(&b, V1, NULL, 9));
	assert_non_null(json);
	assert_string_equal(cJSON_GetObjectItem(json, "name")->valuestring,
			    ".._\"_\xef\xbf\xbd");
	assert_int_equal(strlen(cJSON_GetObjectItem(json, "comment")->valuestring),
			 METAINFO_COMMENT);
	assert_true(cJSON_IsTrue(cJSON_GetObjectItem(json, "private")));
	cJSON_Delete(json);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_single),      T(test_files),        T(test_any_order),
		T(test_refused),     T(test_v2),           T(test_v2_refused),
		T(test_hybrid),      T(test_bounds),       T(test_hygiene),
		T(test_distinct),    T(test_all_alike),    T(test_long),
		T(test_split),       T(test_split_others), T(test_layers),
		T(test_json_beside), T(test_json_whole),   T(test_json_bare),
		T(test_json_odd),
	};

	return cmocka_run_group_tests_name("metainfo", tests, NULL, NULL);
}
