/*
 * test_swarmjson.c -- the peers answer, field for field, from a real table.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <cJSON.h>

#include "common/addr.h"
#include "shm/stat.h"
#include "shm/iface.h"
#include "shm/note.h"
#include "shm/swarmjson.h"
#include "shm/verdictjson.h"

#define ID "94c2fd8fb9bc8f2fc71a2cbe9d4b866f227a0209"

struct stage {
	struct seg *master, *seg;
	struct ptab *p;
	struct shm_swarm s;
	struct shm_peer peer[4];
	struct swarm_copy copy;
	struct buf out;
};

static int setup(void **state)
{
	static struct stage st;
	struct shm_dims d = {
		.worker_slots = 2,
		.lane_bytes = 65536,
		.lane_done = 64,
		.buckets = 16,
		.slots = 8,
		.chunks = 64,
		.places = 64,
		.string_bytes = 8192,
	};
	char name[64], err[ERRLEN];
	int leftover;

	memset(&st, 0, sizeof(st));
	snprintf(name, sizeof(name), "/peerscope-json-%d", (int)getpid());
	assert_int_equal(seg_create(&st.master, name, &d, &leftover, err), 0);
	seg_unlink(name);
	atomic_store(&seg_head_rw(st.master)->lease_pid, (uint32_t)getpid());
	assert_int_equal(seg_attach(&st.seg, seg_fd(st.master), SEG_COLLECTOR, err), 0);
	assert_int_equal(ptab_open(&st.p, st.seg, SEG_COLLECTOR, err), 0);
	buf_init(&st.out, 1 << 20);
	for (int i = 0; i < IH_LEN; i++)
		sscanf(&ID[2 * i], "%2hhx", &st.s.id[i]);
	memcpy(st.s.infohash, st.s.id, sizeof(st.s.infohash));
	*state = &st;
	return 0;
}

static int teardown(void **state)
{
	struct stage *st = *state;

	buf_free(&st->out);
	ptab_close(&st->p);
	seg_close(&st->seg);
	seg_close(&st->master);
	return 0;
}

static void publish(struct stage *st, uint32_t npeers)
{
	st->s.npeers = npeers;
	assert_int_equal(ptab_put(st->p, &st->s, st->peer), PTAB_PUT);
	assert_int_equal(ptab_get(st->p, st->s.id, CONF_SLOT_PEERS, &st->copy), PTAB_OK);
}

static const char *render(struct stage *st, uint32_t limit)
{
	buf_reset(&st->out);
	assert_int_equal(swarm_json(&st->out, st->p, &st->copy, ID, limit, NULL), 0);
	return st->out.p;
}

#define SAID "udp://a.b:1 answered no \033such torrent"

/* Two peers of whom all and nothing is known. */
static void two_peers(struct stage *st)
{
	static const struct place ny = {
		.country = "United States",
		.code = "US",
		.city = "New York",
		.region = "New York",
		.timezone = "America/New_York",
		.isp = "Example \"ISP\"",
		.source = "mmdb:city",
		.has_point = 1,
		.lat_e5 = 4071000,
		.lon_e5 = -7400000,
		.asn = 64500,
	};
	struct shm_peer *p = st->peer;

	assert_int_equal(addr_parse(p[0].addr, "1.2.3.4"), 0);
	p[0].port = 12345;
	p[0].state = PEER_CONNECTED;
	p[0].sources = PEER_SRC_TRACKER | PEER_SRC_PEX;
	p[0].flags = PEER_F_ENCRYPTED | PEER_F_SEED;
	p[0].progress = 10000;
	p[0].up_rate = 256000;
	p[0].first_seen_s = 1705343600;
	p[0].last_seen_s = 1705343670;
	p[0].client = ptab_string(st->p, "uTorrent 3.5.5", 14);
	p[0].place = ptab_intern_place(st->p, &ny);
	assert_int_equal(addr_parse(p[1].addr, "2001:db8::1"), 0);
	p[1].port = 6881;
	p[1].sources = PEER_SRC_INCOMING;
	p[1].protocol = PEER_ACESTREAM;
	p[1].progress = 9999;
	shm_peer_ace_unknown(&p[1]);
}

static void a_whole_answer_is_the_contract(void **state)
{
	struct stage *st = *state;

	two_peers(st);
	st->s.cached_at_ms = 1705343674007;
	st->s.total_peers = 9;
	st->s.phase = SWARM_SETTLED;
	st->s.tracker_at_s = 1705343671;
	st->s.tracker_seeds = 3;
	st->s.tracker_leechers = 4;
	st->s.connected = 1;
	st->s.connected_at_s = 1705343674;
	st->s.trackers = 5;
	st->s.verdict = VERDICT_ALIVE;
	st->s.path = PATH_PACK(PATH_OPEN, PATH_BLOCKED, PATH_OPEN);
	st->s.tried = st->s.reached = st->s.trackers_ok = 2;
	st->s.contacted = st->s.incoming = 1;
	st->s.joined_at_s = 1705343600;
	st->s.tracker_said = ptab_string(st->p, SAID, strlen(SAID));
	publish(st, 2);
	assert_string_equal(
		render(st, 50),
		"{\"acestream_id\":\"" ID "\",\"infohash\":\"" ID "\",\"peers\":["
		"{\"ip\":\"1.2.3.4\",\"port\":12345,\"client\":\"uTorrent 3.5.5\",\"progress\":100.0,"
		"\"download_rate\":0,\"upload_rate\":256000,\"country\":\"United States\","
		"\"country_code\":\"US\",\"city\":\"New York\",\"isp\":\"Example \\\"ISP\\\"\","
		"\"region\":\"New York\",\"latitude\":40.71,\"longitude\":-74.0,"
		"\"timezone\":\"America/New_York\",\"flags\":\"ES\",\"state\":\"connected\","
		"\"sources\":[\"tracker\",\"pex\"],\"protocol\":\"bittorrent\","
		"\"first_seen\":1705343600,\"last_seen\":1705343670,\"asn\":64500,"
		"\"geo_source\":\"mmdb:city\",\"accuracy_radius_km\":null},"
		"{\"ip\":\"2001:db8::1\",\"port\":6881,\"client\":\"Unknown\",\"progress\":99.9,"
		"\"download_rate\":0,\"upload_rate\":0,\"country\":\"Unknown\",\"country_code\":\"??\","
		"\"city\":\"Unknown\",\"isp\":\"Unknown\",\"region\":\"Unknown\",\"latitude\":null,"
		"\"longitude\":null,\"timezone\":\"Unknown\",\"flags\":\"I\",\"state\":\"known\","
		"\"sources\":[\"incoming\"],\"protocol\":\"acestream\",\"first_seen\":0,"
		"\"last_seen\":0,\"asn\":null,\"geo_source\":null,"
		"\"accuracy_radius_km\":null,\"ace\":{\"version\":null,"
		"\"platform\":null,\"role\":null,\"kind\":null,\"head\":null,\"position\":null,"
		"\"lag\":null,\"lag_seconds\":null,\"distance\":null,\"accessible\":null,"
		"\"country\":null,\"asn\":null,\"key\":null,\"gossiped\":false,"
		"\"told_at\":null}}],"
		"\"peer_count\":2,\"total_peers\":9,\"cached_at\":1705343674.007,\"error\":null,"
		"\"phase\":\"settled\",\"counts\":{\"tracker\":{\"seeds\":3,\"leechers\":4,"
		"\"at\":1705343671},\"dht\":null,\"connected\":{\"peers\":1,\"at\":1705343674},"
		"\"trackers\":{\"asked\":5,\"answered\":2}},\"infohash_v2\":null,"
		"\"resolution\":\"taken\",\"resolution_detail\":\"the id is taken as an "
		"infohash; no engine was asked\",\"title\":null,"
		"\"protocol\":\"bittorrent\",\"ace\":null,"
		"\"verdict\":\"alive\",\"evidence\":{"
		"\"says\":\"peers were reached in the last ten minutes\","
		"\"path\":{\"verdict\":\"open\",\"udp\":\"blocked\",\"tcp\":\"open\"},"
		"\"peers\":{\"known\":5,\"tried\":2,\"contacted\":1,\"connected\":1,"
		"\"reached_lately\":2,\"incoming\":true},"
		"\"trackers\":{\"asked\":5,\"answered\":2,\"last_failure\":"
		"{\"tracker\":\"udp://a.b:1\",\"kind\":\"answered\","
		"\"says\":\"no ?such torrent\"}},\"dht\":null,"
		"\"joined_at\":1705343600}}");
}

/* The members of "ace", as they stand there. */
static const char *ace_of(const char *answer, int of_peer)
{
	static char text[512];
	const char *from =
		strstr(answer, of_peer ? "\"ace\":{\"version" : "\"ace\":{\"mode");
	size_t n;

	assert_non_null(from);
	n = strcspn(from, "}");
	assert_true(n < sizeof(text));
	memcpy(text, from, n);
	text[n] = '\0';
	return text;
}

static void an_acestream_peer_says_what_it_told(void **state)
{
	static const struct shm_peer told = {
		.protocol = PEER_ACESTREAM,
		.version = 3021904,
		.platform = 2,
		.role = ROLE_SOURCE,
		.kind = KIND_LIVE,
		.head = 0,
		.position = 4294967294u,
		.lag = 43,
		.distance = -1,
		.accessible = ACCESS_NO,
		.country = {'Z', 'Z'},
		.asn = 4294967295u,
		.key = KEY_INFOHASH,
		.told_s = 1705343600,
	};
	struct stage *st = *state;

	st->peer[0] = told;
	publish(st, 1);
	assert_string_equal(
		ace_of(render(st, 1), 1),
		"\"ace\":{\"version\":\"3.2.19.4\",\"platform\":2,\"role\":\"source\","
		"\"kind\":\"live\",\"head\":0,\"position\":4294967294,\"lag\":43,"
		"\"lag_seconds\":null,\"distance\":-1,\"accessible\":false,"
		"\"country\":\"ZZ\",\"asn\":4294967295,\"key\":\"infohash\","
		"\"gossiped\":false,\"told_at\":1705343600");
	/* seconds only where the time of a piece was measured: 43 * 1.234 = 53.062 */
	st->s.piece_ms = 1234;
	publish(st, 1);
	assert_non_null(strstr(render(st, 1), "\"lag\":43,\"lag_seconds\":53.1,"));
	st->peer[0].lag = SHM_UNKNOWN;
	st->peer[0].flags = PEER_F_GOSSIPED;
	publish(st, 1);
	assert_non_null(strstr(render(st, 1), "\"lag\":null,\"lag_seconds\":null,"));
	assert_non_null(strstr(st->out.p, "\"gossiped\":true"));
	/* what never was an engine's */
	st->peer[0].version = 999999;
	st->peer[0].role = st->peer[0].kind = st->peer[0].key = 99;
	st->peer[0].accessible = 99;
	publish(st, 1);
	assert_non_null(strstr(render(st, 1), "\"version\":null,\"platform\":2,"
					      "\"role\":null,\"kind\":null,"));
	assert_non_null(strstr(st->out.p, "\"accessible\":null,"));
	assert_non_null(strstr(st->out.p, "\"key\":null,"));
	st->peer[0].protocol = PEER_BITTORRENT;
	publish(st, 1);
	assert_null(strstr(render(st, 1), "\"version\""));
}

/* Theirs stands for longer: ten minutes it is only where no engine answered. */
static void alive_says_by_which_rule(void **state)
{
	static const char minutes[] = "last ten minutes", revisit[] = "acestream.revisit";
	struct shm_swarm s = {.verdict = VERDICT_ALIVE,
			      .ace_mode = ACE_MODE_PINNED,
			      .protocol = PEER_ACESTREAM,
			      .reachable = 1};

	(void)state;
	assert_non_null(strstr(verdict_text(&s), revisit));
	s.ace_mode = ACE_MODE_MAYBE;
	s.protocol = PEER_UNSPOKEN;
	assert_non_null(strstr(verdict_text(&s), revisit));
	s.reachable = 0;
	assert_non_null(strstr(verdict_text(&s), minutes));
	s.ace_mode = ACE_MODE_BT;
	s.reachable = 1;
	assert_non_null(strstr(verdict_text(&s), minutes));
}

static void a_swarm_of_engines_says_what_was_made_of_it(void **state)
{
	static const char *const mode[] = {NULL, "maybe", "first", "pinned", NULL, NULL};
	static const char *const motion[] = {"unproven", "advancing", "stale",
					     "unproven"};
	struct stage *st = *state;

	st->s.ace_mode = ACE_MODE_FIRST;
	st->s.protocol = PEER_UNSPOKEN;
	st->s.head = SHM_UNKNOWN;
	publish(st, 0);
	assert_string_equal(
		ace_of(render(st, 1), 0),
		"\"ace\":{\"mode\":\"first\",\"motion\":\"unproven\",\"motion_at\":null,"
		"\"kind\":null,\"head\":null,\"head_at\":null,\"piece_seconds\":null,"
		"\"sources\":0,\"source_like\":0,\"discovered\":0,\"reachable\":0,"
		"\"gossiped\":0,\"content_id\":null");
	assert_non_null(strstr(st->out.p, "\"protocol\":null,\"ace\":{"));
	st->s.ace_mode = ACE_MODE_PINNED;
	st->s.protocol = PEER_ACESTREAM;
	st->s.motion = MOTION_ADVANCING;
	st->s.motion_s = 1705343640;
	st->s.kind = KIND_VOD;
	st->s.head = 5063;
	st->s.head_s = 1705343600;
	st->s.piece_ms = 1234;
	st->s.sources = 1;
	st->s.source_like = 2;
	st->s.discovered = 40;
	st->s.reachable = 5;
	st->s.gossiped = 12;
	st->s.has_content = 1;
	memset(st->s.content, 0xab, sizeof(st->s.content));
	publish(st, 0);
	assert_string_equal(
		ace_of(render(st, 1), 0),
		"\"ace\":{\"mode\":\"pinned\",\"motion\":\"advancing\","
		"\"motion_at\":1705343640,\"kind\":\"vod\",\"head\":5063,"
		"\"head_at\":1705343600,\"piece_seconds\":1.234,\"sources\":1,"
		"\"source_like\":2,\"discovered\":40,\"reachable\":5,\"gossiped\":12,"
		"\"content_id\":\"abababababababababababababababababababab\"");
	assert_non_null(strstr(st->out.p, "\"protocol\":\"acestream\",\"ace\":{"));
	for (uint8_t i = 0; i < PS_ARRAY_LEN(mode); i++) {
		st->s.ace_mode = i;
		st->s.motion = i % PS_ARRAY_LEN(motion);
		publish(st, 0);
		if (mode[i] == NULL)
			assert_non_null(strstr(render(st, 1), "\"ace\":null"));
		else
			assert_non_null(strstr(render(st, 1), mode[i]));
		if (mode[i] != NULL)
			assert_non_null(strstr(st->out.p, motion[st->s.motion]));
	}
}

/* Every verdict has its word and a sentence that fits it. */
static void a_verdict_is_a_word_and_a_sentence(void **state)
{
	static const struct {
		uint8_t verdict, path, reached;
		const char *word, *says;
	} want[] = {
		{VERDICT_UNKNOWN, 0, 0, "unknown",
		 "nothing that was asked has answered yet"},
		{VERDICT_DEAD, PATH_PACK(1, 1, 1), 0, "dead", "nobody is there"},
		{VERDICT_THIN, PATH_PACK(1, 1, 1), 0, "thin", "none of them"},
		{VERDICT_THIN, PATH_PACK(1, 1, 1), 1, "thin", "hardly any"},
		{VERDICT_PATH_BLOCKED, PATH_PACK(3, 0, 0), 0, "path-blocked", "is down"},
		{VERDICT_PATH_BLOCKED, PATH_PACK(2, 2, 1), 0, "path-blocked",
		 "UDP (trackers, DHT) is silent while TCP works"},
		{VERDICT_PATH_BLOCKED, PATH_PACK(2, 1, 2), 0, "path-blocked",
		 "UDP works and no peer answers over TCP"},
		{VERDICT_PATH_BLOCKED, PATH_PACK(2, 2, 0), 0, "path-blocked",
		 "everything that was asked is silent"},
		{VERDICT_PATH_BLOCKED,
		 PATH_PACK(2, 2, 0) | PATH_BECAUSE(PATH_CAUSE_NAMES), 0, "path-blocked",
		 "names of trackers are not found"},
		{VERDICT_PATH_BLOCKED, PATH_PACK(3, 0, 0) | PATH_BECAUSE(PATH_CAUSE_VPN),
		 0, "path-blocked", "the VPN is down, says Gluetun"},
		{VERDICT_PATH_BLOCKED,
		 PATH_PACK(3, 0, 0) | PATH_BECAUSE(PATH_CAUSE_INTERFACE), 0,
		 "path-blocked", "the network device (swarm.interface)"},
		{99, 0xff, 0, "unknown", "nothing that was asked"},
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(want); i++) {
		struct shm_swarm s = {.verdict = want[i].verdict,
				      .path = want[i].path,
				      .reached = want[i].reached};

		assert_string_equal(verdict_name(s.verdict), want[i].word);
		assert_non_null(strstr(verdict_text(&s), want[i].says));
	}
}

/* "Yet" is for a young swarm, and of the DHT nothing is said while it is off. */
static void unknown_says_what_was_asked(void **state)
{
	static const struct {
		uint8_t why, trackers, ok;
		const char *young, *old;
	} want[] = {
		{WHY_TRACKERS_FAIL, 1, 0, "answered yet",
		 "the one tracker that was asked"},
		{WHY_TRACKERS_FAIL, 3, 0, "answered yet", "no tracker that was asked"},
		{WHY_TRACKERS_ERROR, 1, 0, "answered with an error",
		 "answered with an error"},
		{WHY_TRACKERS_NAMES, 1, 0, "(DNS)", "(DNS)"},
		{WHY_NO_SOURCE, 0, 0, "no tracker and no DHT", "no tracker and no DHT"},
		{WHY_SILENCE, 1, 0, "answered yet",
		 "neither trackers nor the DHT answer"},
		{WHY_DHT_SILENT, 0, 0, "answered yet", "the DHT does not answer"},
		{WHY_NOBODY_TRACKERS, 1, 1, "too early", "nobody was found, and"},
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(want); i++) {
		struct shm_swarm s = {.why = want[i].why,
				      .trackers = want[i].trackers,
				      .trackers_ok = want[i].ok,
				      .joined_at_s = 1000,
				      .cached_at_ms = 1014999};

		assert_non_null(strstr(verdict_text(&s), want[i].young));
		s.cached_at_ms++;
		assert_non_null(strstr(verdict_text(&s), want[i].old));
		assert_null(strstr(verdict_text(&s), "yet"));
		s.joined_at_s = 1014;
		s.phase = SWARM_DEAD;
		assert_non_null(strstr(verdict_text(&s), want[i].old));
	}
	assert_null(strstr(swarm_why_text(WHY_NOBODY_TRACKERS), "trackers and DHT"));
}

static const char *string_of(cJSON *j, const char *key)
{
	return cJSON_GetStringValue(cJSON_GetObjectItem(j, key));
}

static void how_an_id_became_an_infohash_is_told(void **state)
{
	static const char *const word[] = {"taken",     "resolved",  "same",
					   "not_found", "no_answer", "hybrid"};
	struct stage *st = *state;

	memset(st->s.infohash, 0xab, sizeof(st->s.infohash));
	memset(st->s.v2, 0xcd, sizeof(st->s.v2));
	st->s.has_v2 = 1;
	for (uint8_t how = 0; how < PS_ARRAY_LEN(word); how++) {
		cJSON *j;

		st->s.resolved = how;
		publish(st, 1);
		j = cJSON_Parse(render(st, 1));
		assert_string_equal(string_of(j, "acestream_id"), ID);
		assert_memory_equal(string_of(j, "infohash"), "abababab", 8);
		assert_memory_equal(string_of(j, "infohash_v2"), "cdcdcdcd", 8);
		assert_int_equal(strlen(string_of(j, "infohash_v2")), 64);
		assert_string_equal(string_of(j, "resolution"), word[how]);
		assert_true(strlen(string_of(j, "resolution_detail")) > 20);
		cJSON_Delete(j);
	}
}

static void a_limit_cuts_the_list_and_not_the_count(void **state)
{
	struct stage *st = *state;
	cJSON *j;

	st->s.total_peers = 4;
	publish(st, 4);
	j = cJSON_Parse(render(st, 3));
	assert_non_null(j);
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(j, "peers")), 3);
	assert_int_equal(cJSON_GetObjectItem(j, "peer_count")->valueint, 3);
	assert_int_equal(cJSON_GetObjectItem(j, "total_peers")->valueint, 4);
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(j, "error")));
	cJSON_Delete(j);
}

/* Every string of two bytes a stranger may send, and the characters that harm. */
static void a_hostile_name_stays_printable(void **state)
{
	static const char *const bad[] = {
		"a\x1b[2Jb",
		"\xe2\x80\xae"
		"evil",
		"\xc2\x9b"
		"31m",
		"\x7f",
		"\r\n",
		"\xff\xfe",
		"\xed\xa0\x80",
		"\xe2\x80",
		"\xd8\x9c",
		"\"},{\"",
		"\\u0000\\",
		"\xe2\x81\xa6x",
	};
	struct stage *st = *state;

	for (size_t i = 0; i < PS_ARRAY_LEN(bad) + 65536;
	     i += i < PS_ARRAY_LEN(bad) ? 1 : 251) {
		size_t n = i - PS_ARRAY_LEN(bad);
		char two[3] = {(char)(n >> 8), (char)n, 0};
		const char *name = i < PS_ARRAY_LEN(bad) ? bad[i] : two, *at;
		cJSON *j, *peers;

		st->peer[0].client = ptab_string(st->p, name, strlen(name));
		publish(st, 1);
		j = cJSON_Parse(render(st, 1));
		assert_non_null(j);
		peers = cJSON_GetObjectItem(j, "peers");
		at = cJSON_GetStringValue(
			cJSON_GetObjectItem(cJSON_GetArrayItem(peers, 0), "client"));
		assert_non_null(at);
		assert_true(at[0] != '\0');
		assert_null(strstr(at, "\xe2\x80\xae"));
		assert_null(strstr(at, "\xe2\x81\xa6"));
		for (; *at != '\0'; at++) {
			assert_true((uint8_t)*at >= 0x20 && *at != 0x7f);
			assert_false((uint8_t)at[0] == 0xc2 && (uint8_t)at[1] < 0xa0);
		}
		cJSON_Delete(j);
	}
}

static void an_empty_list_says_why(void **state)
{
	struct stage *st = *state;

	for (int why = WHY_NONE; why < WHY_N; why++) {
		cJSON *j;

		st->s.why = (uint8_t)why;
		publish(st, 0);
		j = cJSON_Parse(render(st, 50));
		assert_non_null(j);
		assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(j, "error")),
				    swarm_why_text(why));
		assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(j, "peers")), 0);
		cJSON_Delete(j);
	}
}

/* That nobody was asked for is no error. */
static void a_limit_of_none_is_no_error(void **state)
{
	struct stage *st = *state;

	publish(st, 2);
	assert_non_null(strstr(render(st, 0), "\"peers\":[],\"peer_count\":0"));
	assert_non_null(strstr(st->out.p, "\"error\":null"));
	assert_null(swarm_empty_text(&st->copy.s, 1));
	assert_non_null(strstr(swarm_empty_text(&st->copy.s, 0), "filters"));
}

/* What a tracker said goes along with a slot that nobody publishes anew. */
static void a_compaction_keeps_what_a_tracker_said(void **state)
{
	struct stage *st = *state;

	(void)ptab_string(st->p, "nobody refers to this", 21);
	st->s.tracker_said = ptab_string(st->p, SAID, strlen(SAID));
	publish(st, 0);
	assert_non_null(strstr(render(st, 50), "\"says\":\"no ?such torrent\""));
	ptab_compact_begin(st->p);
	ptab_compact_end(st->p);
	assert_int_equal(ptab_get(st->p, st->s.id, 50, &st->copy), PTAB_OK);
	assert_int_not_equal(st->copy.s.tracker_said, st->s.tracker_said);
	assert_non_null(strstr(render(st, 50), "\"says\":\"no ?such torrent\""));
}

/* A stranger's words, as a client's name is; and they go along in a compaction. */
static void a_title_is_printable_and_stays(void **state)
{
	static const char raw[] = "Canal \"+\" \\ \xff\x1b[2J \xc3\xa9\xe2\x80\xae!";
	static const char shown[] = "Canal \"+\" \\ ??[2J \xc3\xa9?!";
	struct stage *st = *state;

	(void)ptab_string(st->p, "nobody refers to this", 21);
	st->s.title = ptab_string(st->p, raw, strlen(raw));
	publish(st, 0);
	for (int i = 0; i < 2; i++) {
		cJSON *j = cJSON_Parse(render(st, 50));

		assert_string_equal(string_of(j, "title"), shown);
		cJSON_Delete(j);
		ptab_compact_begin(st->p);
		ptab_compact_end(st->p);
		assert_int_equal(ptab_get(st->p, st->s.id, 50, &st->copy), PTAB_OK);
		assert_int_equal(st->copy.s.version, st->s.version);
		assert_int_not_equal(st->copy.s.title, st->s.title);
	}
	st->s.title = 0;
	publish(st, 0);
	assert_non_null(strstr(render(st, 50), "\"title\":null"));
}

/* Which of the two it is, and of a device what is wrong with it; and the failure of a
 * tracker with its name. */
static void the_path_says_what_is_known(void **state)
{
	struct stage *st = *state;
	struct json j;

	stat_own(st->seg, seg_dims_of(st->seg)->worker_slots);
	note_own(st->seg);
	stat_set(path, PATH_DOWN);
	stat_set(path_cause, PATH_CAUSE_INTERFACE);
	stat_set(interface_why, IFACE_NO_ADDRESS);
	stat_set(path_failure, 6);
	note_set(NOTE_tracker_failure, "http://a:1 garbage \xff<html>");
	json_init(&j, &st->out);
	json_obj(&j, NULL);
	path_json(&j, st->seg);
	stat_set(path_cause, PATH_CAUSE_VPN);
	note_set(NOTE_tracker_failure, "");
	path_json(&j, st->seg);
	json_obj_end(&j);
	note_own(NULL);
	stat_own(NULL, 0);
	assert_non_null(strstr(
		st->out.p,
		"\"says\":\"the network device (swarm.interface) has no address\""));
	assert_non_null(strstr(st->out.p, "\"kind\":\"garbage\",\"names_not_found\":0,"
					  "\"last_failure\":{\"tracker\":\"http://a:1\","
					  "\"kind\":\"garbage\",\"says\":\"?<html>\"}}"));
	assert_non_null(strstr(st->out.p, "\"says\":\"the VPN is down, says Gluetun"));
	assert_non_null(strstr(st->out.p, "\"last_failure\":null"));
}

static void a_swarm_in_no_slot_has_the_same_fields(void **state)
{
	struct stage *st = *state;
	cJSON *with, *without, *at;

	publish(st, 0);
	with = cJSON_Parse(render(st, 50));
	buf_reset(&st->out);
	swarm_json_empty(&st->out, ID, st->s.id, 1705343674123, "no collector", 0, NULL);
	assert_non_null(
		strstr(st->out.p,
		       "\"cached_at\":1705343674.123,\"error\":\"no collector\""));
	without = cJSON_Parse(st->out.p);
	assert_non_null(with);
	assert_non_null(without);
	assert_int_equal(cJSON_GetArraySize(with), cJSON_GetArraySize(without));
	cJSON_ArrayForEach(at, with)
		assert_true(cJSON_HasObjectItem(without, at->string));
	cJSON_Delete(with);
	cJSON_Delete(without);
}

static void a_compaction_in_between_is_noticed(void **state)
{
	struct stage *st = *state;

	st->peer[0].client = ptab_string(st->p, "old", 3);
	publish(st, 1);
	ptab_compact_begin(st->p);
	ptab_compact_end(st->p);
	buf_reset(&st->out);
	buf_str(&st->out, "kept");
	assert_int_equal(swarm_json(&st->out, st->p, &st->copy, ID, 50, NULL), -1);
	assert_false(st->out.failed);
	assert_string_equal(st->out.p, "kept");
	assert_int_equal(ptab_get(st->p, st->s.id, 50, &st->copy), PTAB_OK);
	assert_non_null(strstr(render(st, 50), "\"client\":\"old\""));
}

static void a_full_buffer_is_said(void **state)
{
	struct stage *st = *state;
	struct buf small;

	publish(st, 4);
	buf_init(&small, 300);
	assert_int_equal(swarm_json(&small, st->p, &st->copy, ID, 50, NULL), -1);
	assert_true(small.failed);
	buf_free(&small);
}

static void the_path_of_a_dead_collector_is_history(void **state)
{
	struct stage *st = *state;
	unsigned open = PATH_PACK(PATH_OPEN, PATH_OPEN, PATH_OPEN);
	struct json j;

	stat_own(st->seg, seg_dims_of(st->seg)->worker_slots);
	stat_set(path, PATH_OPEN);
	stat_set(path_udp, PATH_OPEN);
	stat_set(path_tcp, PATH_OPEN);
	stat_set(path_reach, REACH_CONNECTED);
	stat_own(NULL, 0);
	assert_int_equal(path_now(st->seg), open);
	atomic_store(&seg_head_rw(st->master)->lease_pid, 0);
	assert_int_equal(path_now(st->seg), 0);
	json_init(&j, &st->out);
	json_obj(&j, NULL);
	path_json(&j, st->seg);
	json_obj_end(&j);
	assert_non_null(strstr(st->out.p, "\"verdict\":\"unknown\""));
	assert_null(strstr(st->out.p, "\"open\""));
	assert_null(strstr(st->out.p, "\"connected\""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_verdict_is_a_word_and_a_sentence),
		cmocka_unit_test(unknown_says_what_was_asked),
		cmocka_unit_test_setup_teardown(a_limit_of_none_is_no_error, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_compaction_keeps_what_a_tracker_said,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_title_is_printable_and_stays, setup,
						teardown),
		cmocka_unit_test_setup_teardown(an_acestream_peer_says_what_it_told,
						setup, teardown),
		cmocka_unit_test(alive_says_by_which_rule),
		cmocka_unit_test_setup_teardown(
			a_swarm_of_engines_says_what_was_made_of_it, setup, teardown),
		cmocka_unit_test_setup_teardown(the_path_says_what_is_known, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_whole_answer_is_the_contract, setup,
						teardown),
		cmocka_unit_test_setup_teardown(how_an_id_became_an_infohash_is_told,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_limit_cuts_the_list_and_not_the_count,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_hostile_name_stays_printable, setup,
						teardown),
		cmocka_unit_test_setup_teardown(an_empty_list_says_why, setup, teardown),
		cmocka_unit_test_setup_teardown(a_swarm_in_no_slot_has_the_same_fields,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_compaction_in_between_is_noticed, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_full_buffer_is_said, setup, teardown),
		cmocka_unit_test_setup_teardown(the_path_of_a_dead_collector_is_history,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
