/*
 * test_magnet.c -- magnet links and bare hashes: what they name, what they may leave out,
 * why they are refused; the form that is written back; names of strangers made clean.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/clean.h"
#include "common/magnet.h"
#include "common/selected.h"

#define A40 "c12fe1c06bba254a9dc9f519b335aa7c1367a88a"
#define A32 "YEX6DQDLXISUVHOJ6UM3GNNKPQJWPKEK"
#define B40 "0123456789abcdef0123456789abcdef01234567"
#define V64 "caf1e1c30e81cb361b9ee167c4aa64228a7fa4fa9f6105232b28ad099f3a302e"
#define ZEROS "0000000000000000000000000000000000000000"

static struct magnet m;

/* From memory of exactly that size, so that ASan sees a byte too far. */
static int parse_n(const char *text, size_t len, char err[ERRLEN])
{
	char *copy = malloc(len ? len : 1);
	int rc;

	assert_non_null(copy);
	memcpy(copy, text, len);
	err[0] = '\0';
	rc = magnet_parse(&m, copy, len, err);
	free(copy);
	assert_int_equal(rc != 0, err[0] != '\0');
	return rc;
}

static void parse(const char *text)
{
	char err[ERRLEN];

	if (parse_n(text, strlen(text), err) != 0)
		fail_msg("%s: %s", text, err);
}

static void hex(char out[2 * IH_V2_LEN + 1], const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		snprintf(out + 2 * i, 3, "%02x", p[i]);
}

static void expect_hashes(const char *v1, const char *v2)
{
	char text[2 * IH_V2_LEN + 1];

	assert_int_equal(m.has_v1, v1 != NULL);
	assert_int_equal(m.has_v2, v2 != NULL);
	if (v1) {
		hex(text, m.v1, IH_LEN);
		assert_string_equal(text, v1);
	}
	if (v2) {
		hex(text, m.v2, IH_V2_LEN);
		assert_string_equal(text, v2);
	}
	assert_ptr_equal(magnet_key(&m), v1 ? m.v1 : m.v2);
}

static void test_hashes(void **state)
{
	static const struct {
		const char *text, *v1, *v2;
	} CASES[] = {
		{"magnet:?xt=urn:btih:" A40, A40, NULL},
		{"MAGNET:?xt=URN:BTIH:C12FE1C06BBA254A9DC9F519B335AA7C1367A88A", A40,
		 NULL},
		{"magnet:?xt=urn:btih:" A32, A40, NULL},
		{"magnet:?xt=urn:btih:yex6dqdlxisuvhoj6um3gnnkpqjwpkek", A40, NULL},
		{"magnet:?xt=urn:btih:yEx6DQDLxisuvhoj6um3gnnkpqjwpkek", A40, NULL},
		{"magnet:?xt=urn:btmh:1220" V64, NULL, V64},
		{"magnet:?xt=urn:BTMH:1220" V64, NULL, V64},
		{"magnet:?xt=urn:btih:" A40 "&xt=urn:btmh:1220" V64, A40, V64},
		{"magnet:?xt=urn:btmh:1220" V64 "&dn=x&xt=urn:btih:" A32, A40, V64},
		{"magnet:?dn=x&tr=http://t/&xt=urn:btih:" A40, A40, NULL},
		{"magnet:?xt.1=urn:btih:" A40 "&xt.2=urn:btmh:1220" V64, A40, V64},
		{"magnet:?xt=urn:sha1:" A32 "&xt=urn:btih:" A40, A40, NULL},
		{"magnet:?xt=urn%3Abtih%3a" A40, A40, NULL},
		{"magnet:?xt=urn:btih:" A40 "&amp;xt=urn:btmh:1220" V64, A40, V64},
		{"magnet:?xt=urn:btih:" A40 "&xt=urn:btih:" A32, A40, NULL},
		{"magnet:?xt=urn:btmh:1220" V64 "&xt=urn:btmh:1220" V64, NULL, V64},
		{"&&magnet", NULL, NULL},
		{"magnet:?&&xt=urn:btih:" A40 "&&=&x&so=&xt=&tr=", A40, NULL},
		{" \r\n\tmagnet:?xt=urn:btih:" A40 "\n ", A40, NULL},
		{A40, A40, NULL},
		{"C12FE1C06BBA254A9DC9F519B335AA7C1367A88A\n", A40, NULL},
		{A32, A40, NULL},
		{V64, NULL, V64},
		{"1220" V64, NULL, V64},
		{"urn:btih:" A32, A40, NULL},
		{"urn:btmh:1220" V64, NULL, V64},
		{"magnet:?xt=urn:btih:" A40
		 "&xs=http://evil/&as=http://evil/&kt=a+b&xl=5",
		 A40, NULL},
	};
	char err[ERRLEN];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(CASES); i++) {
		if (!CASES[i].v1 && !CASES[i].v2) {
			assert_int_not_equal(parse_n(CASES[i].text, strlen(CASES[i].text),
						     err),
					     0);
			continue;
		}
		parse(CASES[i].text);
		expect_hashes(CASES[i].v1, CASES[i].v2);
		assert_int_equal(m.nranges + m.nseeds + m.given.n + m.left_out, 0);
	}
}

static void test_refused(void **state)
{
	static const struct {
		const char *text, *why;
	} CASES[] = {
		{"", "an id is"},
		{"   ", "an id is"},
		{"magnet:", "begins with magnet:?"},
		{"magnet:xt=urn:btih:" A40, "begins with magnet:?"},
		{"http://example.com/a.torrent", "begins with magnet:?"},
		{"magnet:?", "names no torrent"},
		{"magnet:?dn=x", "names no torrent"},
		{"magnet:?xt=urn:sha1:" A32, "names no torrent"},
		{"urn:sha1:" A32, "names no torrent"},
		{"magnet:?XT=urn:btih:" A40, "names no torrent"},
		{"magnet:?xt=urn:btih:", "not by 0"},
		{"magnet:?xt=urn:btih:" A40 "0", "not by 41"},
		{"magnet:?xt=urn:btih:" V64, "not by 64"},
		{"magnet:?xt=urn:btih:x12fe1c06bba254a9dc9f519b335aa7c1367a88a",
		 "character 1"},
		{"magnet:?xt=urn:btih:1EX6DQDLXISUVHOJ6UM3GNNKPQJWPKEK", "character 1"},
		{"magnet:?xt=urn:btih:" ZEROS, "zeros"},
		{"magnet:?xt=urn:btih:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "zeros"},
		{"magnet:?xt=urn:btmh:1220" ZEROS "000000000000000000000001", "zeros"},
		{ZEROS, "zeros"},
		{"magnet:?xt=urn:btmh:" V64, "1220"},
		{"magnet:?xt=urn:btmh:1114" A40, "1220"},
		{"magnet:?xt=urn:btih:" A40 "&xt=urn:btih:" B40, "two torrents"},
		{"magnet:?xt=urn:btmh:1220" V64 "&xt=urn:btmh:1220" B40
		 "0123456789abcdef01234567",
		 "two torrents"},
		{"magnet:?xt=urn:btih:" A40 "&so=x", "so lists"},
		{"magnet:?xt=urn:btih:" A40 "&so=1-", "so lists"},
		{"magnet:?xt=urn:btih:" A40 "&so=1,", "so lists"},
		{"magnet:?xt=urn:btih:" A40 "&so=,1", "so lists"},
		{"magnet:?xt=urn:btih:" A40 "&so=5-4", "so lists"},
		{"magnet:?xt=urn:btih:" A40 "&so=1-2-3", "so lists"},
		{"magnet:?xt=urn:btih:" A40 "&so=-1", "so lists"},
		{"magnet:?xt=urn:btih:" A40 "&so=100000", "so lists"},
		{"magnet:?xt=urn:btih:" A40 "&so=99999999999999999999", "so lists"},
		{"magnet:?xt=urn:btih:" A40 "&so=1%002", "so lists"},
	};
	char err[ERRLEN];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(CASES); i++) {
		if (parse_n(CASES[i].text, strlen(CASES[i].text), err) == 0)
			fail_msg("%s passes", CASES[i].text);
		if (!strstr(err, CASES[i].why))
			fail_msg("%s: %s", CASES[i].text, err);
	}
	assert_int_not_equal(parse_n("magnet:?xt=urn:btih:" A40 "&dn=a\0b", 67, err), 0);
	assert_non_null(strstr(err, "zero byte"));
}

static void test_urls(void **state)
{
	static const struct {
		const char *url;
		int tracker, seed;
	} CASES[] = {
		{"http://t.example/announce", 1, 1},
		{"https://t.example:443/a?passkey=0123", 1, 1},
		{"HTTPS://T.Example", 1, 1},
		{"http://user:word@t.example:8080/", 1, 1},
		{"http://192.0.2.1:80/", 1, 1},
		{"http://[2001:db8::1]:80/", 1, 1},
		{"http://[2001:db8::1]", 1, 1},
		{"http://t.example?x", 1, 1},
		{"udp://t.example:1337/announce", 1, 0},
		{"udp://[2001:db8::1]:1337", 1, 0},
		{"udp://t.example/announce", 0, 0},
		{"udp://t.example:0/announce", 0, 0},
		{"ws://t.example/", 0, 0},
		{"wss://t.example:443/", 0, 0},
		{"ftp://t.example/", 0, 0},
		{"file:///etc/passwd", 0, 0},
		{"gopher://127.0.0.1:6379/_x", 0, 0},
		{"http:/t.example", 0, 0},
		{"http://", 0, 0},
		{"http:///x", 0, 0},
		{"http://@/x", 0, 0},
		{"http://a@b@c/", 0, 0},
		{"http://t.example:", 0, 0},
		{"http://t.example:65536/", 0, 0},
		{"http://t.example:080000/", 0, 0},
		{"http://t.example:8a/", 0, 0},
		{"http://[::1/", 0, 0},
		{"http://[]/", 0, 0},
		{"http://[::1]x/", 0, 0},
		{"http://t example/", 0, 0},
		{"http://t.example/\n", 0, 0},
		{"http://t.example/\xc3\xa4", 0, 0},
		{"http://t%2eexample/", 0, 0},
		{"//t.example", 0, 0},
		{"", 0, 0},
	};
	char long_url[MAGNET_URL_MAX + 2];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(CASES); i++) {
		const char *u = CASES[i].url;

		if (magnet_url(MAGNET_TRACKER, u, strlen(u)) != CASES[i].tracker ||
		    magnet_url(MAGNET_WEB_SEED, u, strlen(u)) != CASES[i].seed)
			fail_msg("%s", u);
	}
	memset(long_url, 'a', sizeof(long_url));
	memcpy(long_url, "http://t/", 9);
	assert_int_equal(magnet_url(MAGNET_TRACKER, long_url, MAGNET_URL_MAX), 1);
	assert_int_equal(magnet_url(MAGNET_TRACKER, long_url, MAGNET_URL_MAX + 1), 0);
}

static void test_parameters(void **state)
{
	(void)state;
	parse("magnet:?tr=udp%3A%2F%2Fa.example%3A1%2Fx&xt=urn:btih:" A40
	      "&dn=A+b%20c%2B%26d%zz%4&tr.1=http://b/?k%3d1%26l=2+3&amp;tr=wss://c/"
	      "&tr=udp://a.example:1/x&ws=https://w/f%2520g&ws=ftp://w/&ws.2=http://v/"
	      "&x.pe=192.0.2.7:6881&x.pe=%5B2001:db8::1%5D:6881&x.pe=name.example:1"
	      "&dn=other&tr2=http://no/&dnx=no&x.pe=192.0.2.7:6881");
	assert_string_equal(m.name, "A b c+&d%zz%4");
	assert_int_equal(m.ntrackers, 2);
	assert_string_equal(magnet_tracker(&m, 0), "udp://a.example:1/x");
	assert_string_equal(magnet_tracker(&m, 1), "http://b/?k=1&l=2+3");
	assert_int_equal(m.nseeds, 2);
	assert_string_equal(magnet_seed(&m, 0), "https://w/f%20g");
	assert_string_equal(magnet_seed(&m, 1), "http://v/");
	assert_int_equal(m.given.n, 2);
	assert_int_equal(m.given.peer[1].port, 6881);
	assert_int_equal(m.left_out, 3);
	parse("magnet:?xt=urn:btih:" A40 "&dn=%ff%00a%0Ab%E2%80%AEgpj.exe");
	assert_string_equal(m.name, "\xef\xbf\xbd%00a_b_gpj.exe");
}

static void expect_so(const char *so, const char *ranges)
{
	char text[128], got[64] = "";
	size_t n = 0;

	snprintf(text, sizeof(text), "magnet:?xt=urn:btih:" A40 "&so=%s", so);
	parse(text);
	for (uint32_t i = 0; i < m.nranges; i++)
		n += (size_t)snprintf(got + n, sizeof(got) - n, "%u-%u ",
				      m.range[i].first, m.range[i].last);
	assert_string_equal(got, ranges);
}

static void test_so(void **state)
{
	char text[MAGNET_MAX], err[ERRLEN];
	size_t n;

	(void)state;
	expect_so("", "");
	assert_int_equal(magnet_wants(&m, 0), 1);
	assert_int_equal(magnet_wants(&m, 77), 1);
	expect_so("0", "0-0 ");
	expect_so("0,2,4,6-8", "0-0 2-2 4-4 6-8 ");
	for (uint32_t i = 0; i < 12; i++)
		assert_int_equal(magnet_wants(&m, i),
				 i < 9 && i != 1 && i != 3 && i != 5);
	expect_so("0%2C2&so=1", "0-2 ");
	expect_so("8,6,4,4,5", "4-6 8-8 ");
	expect_so("1-3,9,20-30,2-21", "1-30 ");
	expect_so("3,1,2", "1-3 ");
	expect_so("0-99999", "0-99999 ");
	n = (size_t)snprintf(text, sizeof(text), "magnet:?xt=urn:btih:" A40 "&so=");
	for (int i = 0; i < MAGNET_RANGES; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%d,", 99000 - 2 * i);
	assert_int_equal(parse_n(text, n - 1, err), 0);
	assert_int_equal(m.nranges, MAGNET_RANGES);
	assert_int_equal(m.range[0].first, 99000 - 2 * (MAGNET_RANGES - 1));
	/* What joins two leaves room for one more. */
	snprintf(text + n, sizeof(text) - n, "98999,1");
	assert_int_equal(parse_n(text, strlen(text), err), 0);
	assert_int_equal(m.nranges, MAGNET_RANGES);
	snprintf(text + n, sizeof(text) - n, "98999,1,5");
	assert_int_not_equal(parse_n(text, strlen(text), err), 0);
	assert_non_null(strstr(err, "ranges"));
}

/* Beyond the bounds is left out and counted; a longer link is refused. */
static void test_bounds(void **state)
{
	static char text[MAGNET_MAX + 2];
	char err[ERRLEN];
	size_t n;

	(void)state;
	n = (size_t)snprintf(text, sizeof(text), "magnet:?xt=urn:btih:" A40);
	for (int i = 0; i < MAGNET_URLS + 7; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n,
				      "&tr=http://%d/&ws=http://%d/&x.pe=192.0.2.7:%d", i,
				      i, i + 1);
	assert_int_equal(parse_n(text, n, err), 0);
	assert_int_equal(m.ntrackers, MAGNET_URLS);
	assert_int_equal(m.nseeds, MAGNET_URLS);
	assert_int_equal(m.given.n, GIVEN_MAX);
	assert_int_equal(m.left_out, 7 + 7 + MAGNET_URLS + 7 - GIVEN_MAX);
	n = strlen("magnet:?xt=urn:btih:" A40 "&dn=");
	memset(text, 'x', sizeof(text));
	memcpy(text, "magnet:?xt=urn:btih:" A40 "&dn=", n);
	assert_int_equal(parse_n(text, MAGNET_MAX, err), 0);
	assert_int_equal(strlen(m.name), MAGNET_NAME_MAX);
	assert_int_not_equal(parse_n(text, MAGNET_MAX + 1, err), 0);
	assert_non_null(strstr(err, "8192"));
}

#define LINK "magnet:?xt=urn:btih:" A40

static void test_trackers_of_another_link(void **state)
{
	static struct magnet one, other;
	char text[MAGNET_MAX];

	(void)state;
	parse(LINK "&tr=udp://b.test:2&tr=udp://c.test:3");
	other = m;
	parse(LINK "&tr=udp://a.test:1&tr=udp://b.test:2");
	one = m;
	magnet_take_trackers(&one, &other);
	assert_int_equal(one.ntrackers, 3);
	assert_string_equal(magnet_tracker(&one, 2), "udp://c.test:3");
	assert_int_equal(one.left_out, 0);
	for (unsigned i = 0; i < 8; i++) { /* of which there is no room for the last */
		snprintf(text, sizeof(text), LINK "&tr=http://a.test/%01009u", i);
		parse(text);
		magnet_take_trackers(&one, &m);
	}
	assert_int_equal(one.ntrackers, 3 + 7);
	assert_int_equal(one.left_out, 1);
	assert_true(one.ntext <= sizeof(one.text));
	assert_string_equal(magnet_tracker(&one, 0), "udp://a.test:1");
}

static void expect_form(const char *text, const char *form)
{
	struct buf out;

	parse(text);
	buf_init(&out, MAGNET_MAX);
	assert_int_equal(magnet_write(&m, &out, MAGNET_MAX), 0);
	assert_int_equal(out.failed, 0);
	assert_string_equal(out.p, form);
	buf_free(&out);
}

static void test_form(void **state)
{
	(void)state;
	expect_form(A32, "magnet:?xt=urn:btih:" A40);
	expect_form(V64, "magnet:?xt=urn:btmh:1220" V64);
	expect_form(
		"magnet:?ws=http://w/%25&tr=udp://a:1/x y&tr=udp://a:1/x+y&x.pe=[::2]:2"
		"&so=4,3&xl=5&dn=a+%C3%A4%2B~&x.pe=192.0.2.7:6881&xt=urn:btmh:1220" V64
		"&xt=urn:btih:" A32,
		"magnet:?xt=urn:btih:" A40 "&xt=urn:btmh:1220" V64
		"&dn=a%20%C3%A4%2B~&so=3-4&x.pe=[::2]:2"
		"&x.pe=192.0.2.7:6881&tr=udp%3A%2F%2Fa%3A1%2Fx%2By"
		"&ws=http%3A%2F%2Fw%2F%25");
}

/* A link full of characters that grow: what is written still fits, reads back as the same
 * beginning, and says how much is missing. */
static void test_growth(void **state)
{
	static char text[MAGNET_MAX + 1];
	static struct magnet first;
	struct buf out;
	char err[ERRLEN];
	uint32_t missing;
	size_t n;

	(void)state;
	n = (size_t)snprintf(text, sizeof(text), "magnet:?xt=urn:btih:" A40);
	for (int i = 0; i < 40; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n,
				      "&tr=http://%d/%0150d?!!!!!!!!!!!!!!!!!!!!!!!!!!!!",
				      i, i);
	assert_int_equal(parse_n(text, n, err), 0);
	first = m;
	buf_init(&out, 2 * MAGNET_MAX);
	missing = magnet_write(&m, &out, MAGNET_MAX);
	assert_true(missing > 0 && missing < 40);
	assert_true(out.len <= MAGNET_MAX && out.len > MAGNET_MAX - 400);
	assert_int_equal(parse_n(out.p, out.len, err), 0);
	assert_int_equal(m.ntrackers, 40 - missing);
	for (uint32_t i = 0; i < m.ntrackers; i++)
		assert_string_equal(magnet_tracker(&m, i), magnet_tracker(&first, i));
	buf_free(&out);
}

/* A stored answer, in pieces of every size: only the marks change, each its own file's. */
static void test_selected(void **state)
{
	static const char stored[] =
		"{\"files\":[{\"path\":\"\\\"selected\\\":true }\"," SELECTED_YES
		",{\"x\":\"\"," SELECTED_YES ",{\"path\":\"\"selected\"," SELECTED_YES
		",{" SELECTED_YES "],"
		"\"verified\":true}";
	static const char want[] =
		"{\"files\":[{\"path\":\"\\\"selected\\\":true }\"," SELECTED_NO
		",{\"x\":\"\"," SELECTED_YES ",{\"path\":\"\"selected\"," SELECTED_YES
		",{" SELECTED_NO "],"
		"\"verified\":true}";
	char text[sizeof(stored)];
	struct selected s;

	(void)state;
	parse("magnet:?xt=urn:btih:" A40 "&so=1-2");
	for (size_t step = 1; step < sizeof(stored); step++) {
		memcpy(text, stored, sizeof(text));
		selected_begin(&s, &m);
		for (size_t at = 0; at < sizeof(text); at += step)
			selected_pass(&s, text + at,
				      sizeof(text) - at < step ? sizeof(text) - at
							       : step);
		assert_string_equal(text, want);
		assert_int_equal(s.index, 4);
	}
	parse(A40);
	memcpy(text, stored, sizeof(text));
	selected_begin(&s, &m);
	selected_pass(&s, text, sizeof(text));
	assert_string_equal(text, stored);
}

static void expect_clean(const char *in, size_t len, size_t size, const char *want,
			 size_t used)
{
	char out[64];
	size_t took, n = clean_text(out, size, in, len, "/\\", &took);

	assert_string_equal(out, want);
	assert_int_equal(n, strlen(want));
	assert_int_equal(took, used);
}

static void test_addresses(void **state)
{
	static const char *const rows[][2] = {
		{"", ""},
		{"banned: 192.0.2.7", "banned: *********"},
		{"192.0.2.7:6881 and 10.0.0.1.", "************** and *********"},
		{"[2001:db8::1]:6881", "[***********]:6881"},
		{"::1, ::ffff:192.0.2.7", "***, ****************"},
		{"2001:0db8:0:0:0:0:0:1x", "*********************x"},
		{"{\"ip\":\"203.0.113.9\"}", "{\"ip\":\"***********\"}"},
		{"at 12:30:45, error 3.14: bad", "at 12:30:45, error 3.14: bad"},
		{"a ... b :: c", "a ... b :: c"},
	};
	char text[64];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(rows); i++) {
		snprintf(text, sizeof text, "%s", rows[i][0]);
		clean_addresses(text);
		assert_string_equal(text, rows[i][1]);
	}
}

static void test_clean(void **state)
{
	(void)state;
	expect_clean("plain \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 15, 64,
		     "plain \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 15);
	expect_clean("a/b\\c", 5, 64, "a_b_c", 5);
	expect_clean("\0\x1f\x7f\t\r\n", 6, 64, "______", 6);
	expect_clean(
		"\xc2\x85|\xe2\x80\xae|\xe2\x80\x8f|\xe2\x81\xa6|\xef\xbb\xbf|\xd8\x9c",
		2 + 1 + 3 + 1 + 3 + 1 + 3 + 1 + 3 + 1 + 2, 64, "_|_|_|_|_|_", 21);
	expect_clean("\xc0\xaf\xed\xa0\x80\xe4x", 7, 64,
		     "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
		     "\xef\xbf\xbdx",
		     7);
	expect_clean("abcdef", 6, 4, "abc", 3);
	expect_clean("ab\xc3\xa4", 4, 4, "ab", 2);
	expect_clean("ab\xff", 3, 5, "ab", 2);
	expect_clean("", 0, 1, "", 0);
	expect_clean("x", 1, 1, "", 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hashes),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_urls),
		cmocka_unit_test(test_parameters),
		cmocka_unit_test(test_so),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_trackers_of_another_link),
		cmocka_unit_test(test_form),
		cmocka_unit_test(test_growth),
		cmocka_unit_test(test_selected),
		cmocka_unit_test(test_clean),
		cmocka_unit_test(test_addresses),
	};

	return cmocka_run_group_tests_name("magnet", tests, NULL, NULL);
}
