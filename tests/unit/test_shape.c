/*
 * test_shape.c -- filters, order, summary, CSV and NDJSON: from a query to the bytes,
 * over a real table.
 */
#include "shm_stage.h"

#include <cJSON.h>

#include "common/addr.h"
#include "worker/fold.h"
#include "worker/lines.h"
#include "worker/order.h"
#include "worker/peers.h"
#include "worker/pick.h"

/* --- letters ------------------------------------------------------------------- */

static void case_is_folded_where_names_have_it(void **state)
{
	static const char *const t[][2] = {
		{"AZ az 09 @[`{", "az az 09 @[`{"},
		{"São PAULO ÀÖØÞß×÷", "são paulo àöøþß×÷"},
		{"ŁÓDŹ İ Ÿ Ĺľ Ňŋ Žž", "łódź İ ÿ ĺľ ňŋ žž"},
		{"ΆΈΉΊΌΎΏ ΑΩΪΫ ΟΔΟΣ οδος", "άέήίόύώ αωϊϋ οδοσ οδοσ"},
		{"ЂЏ АЯ ҐҊ ӁӐԮ", "ђџ ая ґҋ ӂӑԯ"},
		{"日本 😀 ﬀ", "日本 😀 ﬀ"},
		{"", ""},
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(t); i++) {
		char text[128];

		snprintf(text, sizeof text, "%s", t[i][0]);
		fold_text(text);
		assert_string_equal(text, t[i][1]);
		fold_text(text);
		assert_string_equal(text, t[i][1]);
	}
}

static int by_value(const void *arg, uint16_t a, uint16_t b)
{
	const uint8_t *v = arg;

	return (int)v[a] - (int)v[b];
}

static void a_sort_is_one_and_stable(void **state)
{
	uint16_t at[300], spare[300];
	uint8_t v[300] = {0};

	(void)state;
	for (uint32_t n = 0; n <= 300; n += n < 20 ? 1 : 35) {
		uint32_t x = 7 * n + 1;

		for (uint32_t i = 0; i < n; i++) {
			x = x * 1103515245 + 12345;
			v[i] = (uint8_t)(x >> 16 & 15);
			at[i] = (uint16_t)i;
		}
		order_sort(at, spare, n, by_value, v);
		for (uint32_t i = 1; i < n; i++)
			assert_true(v[at[i - 1]] < v[at[i]] ||
				    (v[at[i - 1]] == v[at[i]] && at[i - 1] < at[i]));
	}
}

/* --- the query ------------------------------------------------------------------ */

static int ask(struct peers_question *q, const char *query, char err[ERRLEN])
{
	memset(q, 0, sizeof *q);
	q->limit = 50;
	q->wait_ms = -1;
	return peers_query(q, query, err);
}

static void good_queries(void **state)
{
	static const struct {
		const char *query;
		unsigned nword, states, sources, protocols, nsort, form, summary;
	} t[] = {
		{"", 0, 0, 0, 0, 0, SHAPE_JSON, 0},
		{"country=DE", 1, 0, 0, 0, 0, SHAPE_JSON, 0},
		{"country=de%2Cfr,%20United+States%20", 3, 0, 0, 0, 0, SHAPE_JSON, 0},
		{"country=de&country=fr&isp=%C3%89&client=a", 4, 0, 0, 0, 0, 0, 0},
		{"state=known,Connected", 0, 9, 0, 0, 0, SHAPE_JSON, 0},
		{"source=TRACKER&source=lsd,incoming", 0, 0, 25, 0, 0, SHAPE_JSON, 0},
		{"protocol=acestream", 0, 0, 0, 2, 0, SHAPE_JSON, 0},
		{"sort=-progress,up,-ip", 0, 0, 0, 0, 3, SHAPE_JSON, 0},
		{"sort=state", 0, 0, 0, 0, 0, SHAPE_JSON, 0},
		{"sort=-state", 0, 0, 0, 0, 1, SHAPE_JSON, 0},
		{"sort=state,isp", 0, 0, 0, 0, 2, SHAPE_JSON, 0},
		{"sort=ip,up,down&sort=city", 0, 0, 0, 0, 1, SHAPE_JSON, 0},
		{"format=csv", 0, 0, 0, 0, 0, SHAPE_CSV, 0},
		{"format=NDJSON", 0, 0, 0, 0, 0, SHAPE_NDJSON, 0},
		{"format=csv&format=json", 0, 0, 0, 0, 0, SHAPE_JSON, 0},
		{"summary=1&limit=0", 0, 0, 0, 0, 0, SHAPE_JSON, 1},
		{"limit=0&summary=1", 0, 0, 0, 0, 0, SHAPE_JSON, 1},
		{"Country=x,&countries=%2C&sort_by=rubbish", 0, 0, 0, 0, 0, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(t); i++) {
		struct peers_question q;
		char err[ERRLEN];

		if (ask(&q, t[i].query, err) != 0)
			fail_msg("%s: %s", t[i].query, err);
		if (q.shape.nword != t[i].nword || q.shape.states != t[i].states ||
		    q.shape.sources != t[i].sources ||
		    q.shape.protocols != t[i].protocols || q.shape.nsort != t[i].nsort ||
		    q.shape.form != t[i].form || q.shape.summary != t[i].summary)
			fail_msg("%s", t[i].query);
		assert_int_equal(shape_is_plain(&q.shape),
				 !(t[i].nword || t[i].states || t[i].sources ||
				   t[i].protocols || t[i].nsort || t[i].form ||
				   t[i].summary));
	}
}

static void wrong_values_name_the_right_ones(void **state)
{
	static const char *const t[][2] = {
		{"country=",
		 "country is one or more ISO codes or names of 1 to 64 bytes"},
		{"country", "country is"},
		{"country=DE,,FR", "country is"},
		{"country=DE,", "country is"},
		{"country=%20", "country is"},
		{"isp=%ff", "UTF-8"},
		{"isp=%c3", "UTF-8"},
		{"client=%ed%a0%80", "UTF-8"},
		{"client=", "client is"},
		{"state=alive", "known, tried, contacted, connected"},
		{"state=", "known, tried"},
		{"state=known,,tried", "known, tried"},
		{"source=trackers", "tracker, dht, pex, lsd, incoming, x.pe"},
		{"protocol=ftp", "bittorrent, acestream"},
		{"sort=speed",
		 "state, progress, down, up, country, city, isp, client, ip, "
		 "first_seen, last_seen"},
		{"sort=--ip", "sort is up to 3 of"},
		{"sort=%2Bip", "sort is"},
		{"sort=", "sort is"},
		{"sort=ip,up,down,isp", "up to 3"},
		{"format=xml", "json, csv or ndjson"},
		{"format=", "json, csv or ndjson"},
		{"format=csv,json", "json, csv or ndjson"},
		{"summary=yes", "1 or 0"},
		{"summary", "1 or 0"},
		{"summary=1&format=csv", "leave format away"},
		{"format=ndjson&summary=1", "leave format away"},
		{"limit=0", "1 to 2000"},
		{"limit=0&summary=0", "1 to 2000"},
		{"limit=2001&summary=1", "1 to 2000"},
		{"country=%zz", "percent-escape"},
	};
	char err[ERRLEN];

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(t); i++) {
		struct peers_question q;

		if (ask(&q, t[i][0], err) != -1)
			fail_msg("%s was taken", t[i][0]);
		if (!strstr(err, t[i][1]))
			fail_msg("%s: %s", t[i][0], err);
		assert_true(err[strlen(err) - 1] == '.' || strstr(err, "limit"));
	}
}

static void texts_are_bounded(void **state)
{
	char query[4096], err[ERRLEN];
	struct peers_question q;
	int n;

	(void)state;
	n = snprintf(query, sizeof query, "isp=");
	memset(query + n, 'a', 65);
	query[n + 64] = '\0';
	assert_int_equal(ask(&q, query, err), 0);
	query[n + 64] = 'a';
	query[n + 65] = '\0';
	assert_int_equal(ask(&q, query, err), -1);
	for (int words = 1; words <= 49; words++) {
		n = snprintf(query, sizeof query, "client=");
		for (int i = 0; i < words; i++)
			n += snprintf(query + n, sizeof query - (size_t)n, "%sx",
				      i ? "," : "");
		assert_int_equal(ask(&q, query, err), words <= SHAPE_WORDS ? 0 : -1);
	}
	assert_non_null(strstr(err, "at most 48 texts"));
	n = snprintf(query, sizeof query,
		     "isp="); /* 640 bytes with the NULs are 10 of 63 */
	for (int i = 0; i < 11; i++)
		n += snprintf(query + n, sizeof query - (size_t)n, "%s%063d",
			      i ? "," : "", i);
	assert_int_equal(ask(&q, query, err), -1);
	query[4 + 10 * 64 - 1] = '\0';
	assert_int_equal(ask(&q, query, err), 0);
	assert_int_equal(q.shape.text_len, SHAPE_TEXT_MAX);
	n = snprintf(query, sizeof query, "isp="); /* longer than any value of ours */
	memset(query + n, 'b', 3000);
	query[n + 3000] = '\0';
	assert_int_equal(ask(&q, query, err), -1);
}

static uint64_t hash_of(const char *query)
{
	struct peers_question q;
	char err[ERRLEN];

	if (ask(&q, query, err) != 0)
		fail_msg("%s: %s", query, err);
	return shape_hash(&q.shape, 42);
}

static void a_hash_tells_questions_apart_and_spellings_not(void **state)
{
	static const char *const all[] = {
		"",
		"country=de",
		"isp=de",
		"client=de",
		"isp=d,e",
		"country=de,fr",
		"state=known",
		"state=tried",
		"source=dht",
		"source=tracker",
		"protocol=bittorrent",
		"sort=ip",
		"sort=-ip",
		"sort=ip,up",
		"sort=up,ip",
		"format=csv",
		"format=ndjson",
		"summary=1",
		"sort=state,ip",
		"isp=a&client=b",
		"isp=b&client=a",
		"isp=ab",
		"isp=a,b",
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(all); i++)
		for (size_t k = 0; k < i; k++)
			if (hash_of(all[i]) == hash_of(all[k]))
				fail_msg("%s and %s", all[i], all[k]);
	assert_true(hash_of("country=DE") == hash_of("country=+de"));
	assert_true(hash_of("country=DE,FR") == hash_of("country=de&country=%46r"));
	assert_true(hash_of("sort=ip,up,isp&sort=city") == hash_of("sort=city"));
	assert_true(hash_of("sort=state") == hash_of("nothing=of&ours"));
	assert_true(hash_of("state=known,tried") == hash_of("state=TRIED,known,tried"));
}

/* --- a swarm to look at ------------------------------------------------------------- */

static const struct {
	const char *ip, *client, *code, *country, *city, *isp;
	int state, sources, protocol, progress;
	uint32_t down, up, first, last;
} cast[] = {
	{"10.0.0.9", "qBittorrent 4.5", "DE", "Germany", "Berlin", "Deutsche Telekom AG",
	 PEER_CONNECTED, PEER_SRC_TRACKER | PEER_SRC_PEX, PEER_BITTORRENT, 10000, 10, 5,
	 100, 900},
	{"10.0.0.10", "=cmd|' /C calc'!A0", "BR", "Brazil", "São Paulo", "TELEFÔNICA",
	 PEER_CONNECTED, PEER_SRC_DHT, PEER_BITTORRENT, 9999, 0, 7, 300, 700},
	{"2001:db8::1", "", "", "", "", "", PEER_CONTACTED, PEER_SRC_INCOMING,
	 PEER_ACESTREAM, 0, 0, 0, 200, 800},
	{"9.9.9.9", "Trans\"mission\", 3\r\n", "US", "United States", "New York",
	 "Cloudflare, Inc.", PEER_TRIED, PEER_SRC_TRACKER, PEER_BITTORRENT, 0, 0, 0, 50,
	 600},
	{"10.0.0.9", "qbittorrent 4.6", "DE", "Germany", "Aachen", "NetAachen \xff\xfe",
	 PEER_KNOWN,
	 PEER_SRC_TRACKER | PEER_SRC_DHT | PEER_SRC_PEX | PEER_SRC_LSD | PEER_SRC_GIVEN,
	 PEER_ACESTREAM, 0, 0, 0, 400, 500},
};
#define CAST ((uint32_t)PS_ARRAY_LEN(cast))

/* What the third one said, and one that others only speak of. */
static void say(struct shm_peer *met, struct shm_peer *gossiped)
{
	met->version = 3021100;
	met->platform = 2;
	met->role = ROLE_SOURCE_LIKE;
	met->kind = KIND_LIVE;
	met->head = 5063;
	met->position = 5060;
	met->lag = 3;
	met->distance = -1;
	met->accessible = ACCESS_YES;
	memcpy(met->country, "ZZ", 2);
	met->asn = 64501;
	met->key = KEY_CONTENT;
	met->told_s = 1705343670;
	shm_peer_ace_unknown(gossiped);
	gossiped->flags = PEER_F_GOSSIPED;
	gossiped->lag = 7;
}

static struct pick *scratch;
static struct buf out;

static int raise_curtain(void **state)
{
	struct stage *st;
	struct shm_swarm s = swarm(7, CAST);

	if (setup(state) != 0)
		return -1;
	st = *state;
	for (uint32_t i = 0; i < CAST; i++) {
		struct shm_peer *p = &st->peer[i];
		struct place at = {.has_point = cast[i].code[0] != '\0',
				   .lat_e5 = -3500000,
				   .lon_e5 = 1,
				   .asn = cast[i].code[0] ? 64500 : 0};

		snprintf(at.code, sizeof at.code, "%s", cast[i].code);
		snprintf(at.country, sizeof at.country, "%s", cast[i].country);
		snprintf(at.city, sizeof at.city, "%s", cast[i].city);
		snprintf(at.isp, sizeof at.isp, "%s", cast[i].isp);
		assert_int_equal(addr_parse(p->addr, cast[i].ip), 0);
		p->port = (uint16_t)(6881 + i);
		p->state = (uint8_t)cast[i].state;
		p->sources = (uint8_t)cast[i].sources;
		p->protocol = (uint8_t)cast[i].protocol;
		p->progress = (uint16_t)cast[i].progress;
		p->down_rate = cast[i].down;
		p->up_rate = cast[i].up;
		p->first_seen_s = cast[i].first;
		p->last_seen_s = cast[i].last;
		p->client = ptab_string(st->p, cast[i].client, strlen(cast[i].client));
		p->place = cast[i].code[0] ? ptab_intern_place(st->p, &at) : 0;
	}
	say(&st->peer[2], &st->peer[4]);
	s.phase = SWARM_SETTLED;
	s.piece_ms = 1200;
	assert_int_equal(ptab_put(st->p, &s, st->peer), PTAB_PUT);
	assert_int_equal(ptab_get(st->reader, s.id, CONF_SLOT_PEERS, &st->copy), PTAB_OK);
	scratch = pick_new(st->reader, 4711);
	buf_init(&out, 1 << 20);
	return 0;
}

static int drop_curtain(void **state)
{
	buf_free(&out);
	free(scratch);
	return teardown(state);
}

static struct peers_question question; /* a pick borrows its shape */

static struct swarm_pick pick(struct stage *st, const char *query)
{
	char err[ERRLEN];

	if (ask(&question, query, err) != 0)
		fail_msg("%s: %s", query, err);
	pick_make(scratch, &question.shape, &st->copy);
	return (struct swarm_pick){.index = scratch->index,
				   .n = scratch->n,
				   .filtered = shape_filters(&question.shape),
				   .more = question.shape.summary ? pick_summary : NULL,
				   .arg = scratch};
}

/* Indexes as digits: "014". */
static void expect_pick(struct stage *st, const char *query, const char *want)
{
	struct swarm_pick p = pick(st, query);
	char got[CAST + 1];

	for (uint32_t i = 0; i < p.n; i++)
		got[i] = (char)('0' + p.index[i]);
	got[p.n] = '\0';
	if (strcmp(got, want) != 0)
		fail_msg("%s: %s, not %s", query, got, want);
}

static void filters_let_through_what_they_say(void **state)
{
	static const char *const t[][2] = {
		{"", "01234"},
		{"country=de", "04"},
		{"country=Germany", "04"},
		{"country=germany,US", "034"},
		{"country=UNITED%20STATES", "3"},
		{"country=United", ""},
		{"country=unknown", "2"},
		{"country=%3f%3F", "2"},
		{"country=D", ""},
		{"isp=telekom", "0"},
		{"isp=TELEF%c3%b4nica", "1"},
		{"isp=telef%C3%94nica", "1"},
		{"isp=aachen", "4"},
		{"isp=a", "0134"},
		{"isp=,a", NULL},
		{"isp=%3F%3f", "4"}, /* as it is shown */
		{"client=QBIT", "04"},
		{"client=qbit,mission", "034"},
		{"client=Unknown", "2"},
		{"client=%22mission%22", "3"},
		{"client=3%3F%3F", "3"},
		{"client=4.5&country=de", "0"},
		{"client=4.5&country=us", ""},
		{"client=4.5,cmd&country=de,br", "01"},
		{"state=connected", "01"},
		{"state=known,tried", "34"},
		{"source=pex", "04"},
		{"source=incoming,lsd", "24"},
		{"source=x.pe", "4"},
		{"protocol=acestream", "24"},
		{"protocol=bittorrent,acestream", "01234"},
		{"source=tracker&state=connected,known&client=qb&isp=net&country=DE",
		 "4"},
	};
	struct stage *st = *state;

	for (size_t i = 0; i < PS_ARRAY_LEN(t); i++)
		if (t[i][1])
			expect_pick(st, t[i][0], t[i][1]);
}

static void orders_are_total_and_turn_round(void **state)
{
	static const char *const t[][2] = {
		{"sort=state", "01234"},
		{"sort=-state", "43201"},
		{"sort=progress", "23410"},
		{"sort=-progress", "01234"},
		{"sort=down", "12340"},
		{"sort=-up", "10234"},
		{"sort=country",
		 "10432"}, /* Brazil, Germany x2, United States, unknown */
		{"sort=-country", "30412"},
		{"sort=country,city", "14032"},
		{"sort=country,-city", "10432"},
		{"sort=city", "40312"},
		{"sort=-city", "13042"},
		{"sort=isp", "30412"},
		{"sort=client", "10432"},
		{"sort=-client", "34012"},
		{"sort=ip", "30412"},
		{"sort=-ip", "21403"},
		{"sort=first_seen", "30214"},
		{"sort=last_seen", "43120"},
		{"sort=-last_seen", "02134"},
		{"sort=lag", "24013"}, /* unknown comes last, whichever way */
		{"sort=-lag", "42013"},
		{"sort=-state,country,city&source=tracker", "430"},
		{"country=de&sort=city", "40"},
		{"state=known&sort=-ip,up,down", "4"},
		{"isp=nobody&sort=isp", ""},
	};
	struct stage *st = *state;

	for (size_t i = 0; i < PS_ARRAY_LEN(t); i++)
		expect_pick(st, t[i][0], t[i][1]);
}

static cJSON *json_of(struct stage *st, const char *query)
{
	struct swarm_pick p = pick(st, query);
	cJSON *j;

	buf_reset(&out);
	assert_int_equal(swarm_json(&out, st->reader, &st->copy, "id", question.limit,
				    &p),
			 0);
	j = cJSON_Parse(out.p);
	assert_non_null(j);
	return j;
}

static int number_in(const cJSON *o, const char *key)
{
	const cJSON *n = cJSON_GetObjectItem(o, key);

	assert_true(cJSON_IsNumber(n));
	return n->valueint;
}

static void json_says_how_many_matched(void **state)
{
	struct stage *st = *state;
	cJSON *j = json_of(st, "country=de&limit=1&sort=-client");

	assert_int_equal(number_in(j, "peer_count"), 1);
	assert_int_equal(number_in(j, "total_peers"), CAST);
	assert_int_equal(number_in(j, "matched"), 2);
	assert_non_null(strstr(out.p, "qbittorrent 4.6"));
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(j, "error")));
	cJSON_Delete(j);
	j = json_of(st, "sort=ip");
	assert_null(cJSON_GetObjectItem(j, "matched"));
	assert_int_equal(number_in(j, "peer_count"), CAST);
	cJSON_Delete(j);
	j = json_of(st, "country=zz");
	assert_int_equal(number_in(j, "matched"), 0);
	assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(j, "error")),
			    "peers are known, but none passes the filters");
	cJSON_Delete(j);
}

/* name=count of a list, in its order, as one text */
static void expect_list(const cJSON *j, const char *which, const char *want)
{
	const cJSON *o = cJSON_GetObjectItem(cJSON_GetObjectItem(j, "summary"), which),
		    *e;
	char got[512] = "";
	size_t n = 0;

	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(o, "list")),
			 number_in(o, "distinct"));
	assert_int_equal(number_in(o, "other"), 0);
	cJSON_ArrayForEach(e, cJSON_GetObjectItem(o, "list"))
	{
		const char *code = cJSON_GetStringValue(cJSON_GetObjectItem(e, "code"));

		n += (size_t)snprintf(got + n, sizeof got - n, "%s%s%s:%d;",
				      code ? code : "", code ? " " : "",
				      cJSON_GetStringValue(
					      cJSON_GetObjectItem(e, "name")),
				      number_in(e, "count"));
	}
	assert_string_equal(got, want);
}

static void a_summary_counts_what_passed(void **state)
{
	struct stage *st = *state;
	cJSON *j = json_of(st, "summary=1&limit=0");

	assert_int_equal(number_in(j, "peer_count"), 0);
	assert_int_equal(number_in(cJSON_GetObjectItem(j, "summary"), "peers"), CAST);
	expect_list(j, "country",
		    "DE Germany:2;BR Brazil:1;US United States:1;"
		    "?? Unknown:1;");
	expect_list(j, "isp",
		    "Cloudflare, Inc.:1;Deutsche Telekom AG:1;NetAachen ??:1;"
		    "TELEFÔNICA:1;Unknown:1;");
	expect_list(j, "client",
		    "=cmd|' /C calc'!A0:1;Trans\"mission\", 3??:1;Unknown:1;"
		    "qBittorrent 4.5:1;qbittorrent 4.6:1;");
	expect_list(j, "source", "tracker:3;dht:2;pex:2;incoming:1;lsd:1;x.pe:1;");
	expect_list(j, "state", "connected:2;contacted:1;known:1;tried:1;");
	expect_list(j, "protocol", "bittorrent:3;acestream:2;");
	cJSON_Delete(j);
	j = json_of(st, "summary=1&country=de,us");
	assert_int_equal(number_in(cJSON_GetObjectItem(j, "summary"), "peers"), 3);
	assert_int_equal(number_in(j, "matched"), 3);
	assert_int_equal(number_in(j, "peer_count"), 3);
	expect_list(j, "country", "DE Germany:2;US United States:1;");
	cJSON_Delete(j);
	j = json_of(st, "summary=1&isp=nobody");
	expect_list(j, "client", "");
	expect_list(j, "state", "");
	cJSON_Delete(j);
}

static void a_swarm_in_no_slot_has_an_empty_summary(void **state)
{
	struct stage *st = *state;
	struct swarm_pick p = pick(st, "summary=1&country=de");
	cJSON *j;

	pick_make(scratch, &question.shape, NULL);
	p.n = scratch->n;
	assert_int_equal(p.n, 0);
	buf_reset(&out);
	swarm_json_empty(&out, "id", st->copy.s.id, 1, "nobody", 0, &p);
	j = cJSON_Parse(out.p);
	assert_non_null(j);
	assert_int_equal(number_in(j, "matched"), 0);
	expect_list(j, "country", "");
	cJSON_Delete(j);
}

/* Two thousand peers, each with a name of its own: 100 are listed, the rest is summed. */
static void a_long_summary_is_cut(void **state)
{
	struct tally *t = &scratch->tally;
	char text[TALLY_TEXT_MAX + 50];

	(void)state;
	tally_reset(t);
	for (uint32_t i = 0; i < TALLY_MAX; i++) {
		/* as long as any name, alike up to the very last byte that is kept */
		memset(text, 'n', sizeof text);
		snprintf(text + TALLY_TEXT_MAX - 5, 50, "%04u", i);
		assert_int_equal(tally_add(t, 1, text, i), i);
	}
	assert_int_equal(t->n, TALLY_MAX);
	assert_int_equal(t->text_len, TALLY_MAX * TALLY_TEXT_MAX);
	tally_by_count(t);
	for (uint32_t i = 0; i < TALLY_MAX; i++)
		assert_int_equal(t->order[i], i);
	tally_reset(t);
	for (uint32_t i = 0; i < TALLY_MAX; i++) {
		snprintf(text, sizeof text, "%u", i % 150);
		tally_add(t, 1, text, i);
	}
	assert_int_equal(t->n, 150);
	tally_by_count(t);
	assert_int_equal(t->entry[t->order[0]].count, 14);
	assert_int_equal(t->entry[t->order[49]].count, 14);
	assert_int_equal(t->entry[t->order[50]].count, 13);
}

/* --- lines ---------------------------------------------------------------------------- */

static void cells_are_quoted_and_no_formula(void **state)
{
	static const char *const t[][2] = {
		{"plain", "plain"},
		{"", ""},
		{"a b", "a b"},
		{" a", "\" a\""},
		{"a,b", "\"a,b\""},
		{"a\"b", "\"a\"\"b\""},
		{"\"", "\"\"\"\""},
		{"a\r\nb", "\"a\r\nb\""},
		{"=1+1", "'=1+1"},
		{"+1", "'+1"},
		{"-1", "'-1"},
		{"@SUM(1)", "'@SUM(1)"},
		{"\tx", "'\tx"},
		{"\rx", "\"'\rx\""},
		{"=\"a\",b", "\"'=\"\"a\"\",b\""},
		{"a=1", "a=1"},
		{"Ünï", "Ünï"},
	};
	struct buf b;

	(void)state;
	buf_init(&b, 256);
	for (size_t i = 0; i < PS_ARRAY_LEN(t); i++) {
		buf_reset(&b);
		buf_str(&b, ">");
		lines_cell(&b, t[i][0]);
		assert_string_equal(b.p + 1, t[i][1]);
	}
	buf_free(&b);
}

static void csv_is_the_fields_of_json(void **state)
{
	struct stage *st = *state;
	struct swarm_pick p = pick(st, "format=csv&sort=state");

	buf_reset(&out);
	assert_int_equal(lines_csv(&out, st->reader, &st->copy, 5, &p), 0);
	assert_string_equal(
		out.p,
		"ip,port,client,progress,download_rate,upload_rate,country,country_code,city,"
		"isp,region,latitude,longitude,timezone,flags,state,sources,protocol,"
		"first_seen,last_seen,asn,geo_source,accuracy_radius_km,ace_version,"
		"ace_platform,ace_role,ace_kind,ace_head,ace_position,ace_lag,ace_lag_seconds,ace_distance,"
		"ace_accessible,ace_country,ace_asn,ace_key,ace_gossiped,ace_told_at\r\n"
		"10.0.0.9,6881,qBittorrent 4.5,100.0,10,5,Germany,DE,Berlin,"
		"Deutsche Telekom AG,Unknown,-35.0,0.00001,Unknown,,connected,tracker pex,"
		"bittorrent,100,900,64500,,,,,,,,,,,,,,,,,\r\n"
		"10.0.0.10,6882,'=cmd|' /C calc'!A0,99.9,0,7,Brazil,BR,São Paulo,TELEFÔNICA,"
		"Unknown,-35.0,0.00001,Unknown,,connected,dht,bittorrent,300,700,64500,,,,,,,,,,,,,,,,,\r\n"
		"2001:db8::1,6883,Unknown,0.0,0,0,Unknown,??,Unknown,Unknown,Unknown,,,"
		"Unknown,I,contacted,incoming,acestream,200,800,,,,3.2.11,2,source-like,live,"
		"5063,5060,3,3.6,-1,true,ZZ,64501,content_id,false,1705343670\r\n"
		"9.9.9.9,6884,\"Trans\"\"mission\"\", 3??\",0.0,0,0,United States,US,New York,"
		"\"Cloudflare, Inc.\",Unknown,-35.0,0.00001,Unknown,,tried,tracker,"
		"bittorrent,50,600,64500,,,,,,,,,,,,,,,,,\r\n"
		"10.0.0.9,6885,qbittorrent 4.6,0.0,0,0,Germany,DE,Aachen,NetAachen ??,"
		"Unknown,-35.0,0.00001,Unknown,,known,tracker dht pex lsd x.pe,acestream,"
		"400,500,64500,,,,,,,,,7,8.4,,,,,,true,\r\n");
}

static void ndjson_is_the_list_line_by_line(void **state)
{
	struct stage *st = *state;
	struct swarm_pick p = pick(st, "sort=-ip");
	cJSON *j = json_of(st, "sort=-ip"), *peer;
	char *rest, *line;

	buf_reset(&out);
	assert_int_equal(lines_ndjson(&out, st->reader, &st->copy, 50, &p), 0);
	rest = out.p;
	cJSON_ArrayForEach(peer, cJSON_GetObjectItem(j, "peers"))
	{
		cJSON *alone;

		line = rest;
		rest = strchr(line, '\n');
		assert_non_null(rest);
		*rest++ = '\0';
		alone = cJSON_Parse(line);
		assert_true(cJSON_Compare(alone, peer, 1));
		cJSON_Delete(alone);
	}
	assert_string_equal(rest, "");
	cJSON_Delete(j);
}

static void lines_notice_what_json_notices(void **state)
{
	struct stage *st = *state;
	struct swarm_pick p = pick(st, "");
	struct buf b;

	buf_init(&b, 300);
	assert_int_equal(lines_csv(&b, st->reader, &st->copy, 50, &p), -1);
	assert_true(b.failed);
	buf_reset(&b);
	assert_int_equal(lines_ndjson(&b, st->reader, &st->copy, 50, &p), -1);
	assert_true(b.failed);
	buf_free(&b);
	ptab_compact_begin(st->p);
	ptab_compact_end(st->p);
	buf_reset(&out);
	assert_int_equal(lines_csv(&out, st->reader, &st->copy, 50, &p), -1);
	assert_false(out.failed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define ON_STAGE(name) cmocka_unit_test_setup_teardown(name, raise_curtain, drop_curtain)
		cmocka_unit_test(case_is_folded_where_names_have_it),
		cmocka_unit_test(a_sort_is_one_and_stable),
		cmocka_unit_test(good_queries),
		cmocka_unit_test(wrong_values_name_the_right_ones),
		cmocka_unit_test(texts_are_bounded),
		cmocka_unit_test(a_hash_tells_questions_apart_and_spellings_not),
		ON_STAGE(filters_let_through_what_they_say),
		ON_STAGE(orders_are_total_and_turn_round),
		ON_STAGE(json_says_how_many_matched),
		ON_STAGE(a_summary_counts_what_passed),
		ON_STAGE(a_swarm_in_no_slot_has_an_empty_summary),
		ON_STAGE(a_long_summary_is_cut),
		cmocka_unit_test(cells_are_quoted_and_no_formula),
		ON_STAGE(csv_is_the_fields_of_json),
		ON_STAGE(ndjson_is_the_list_line_by_line),
		ON_STAGE(lines_notice_what_json_notices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
