/*
 * test_acetold.c -- what an AceStream peer's messages tell, and what is shown of it. The
 * bytes are those of contracts/acestream-wire.md 7.2, whose hashes they must have; then
 * its hostile variants, every cut of every message, and changed ones without end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/ace_stage.h"

static struct bytes b;
static struct acewire_told t;

static int setup(void **state)
{
	(void)state;
	b.n = 0;
	acewire_told_begin(&t);
	return 0;
}

/* One message of which the frame is the whole of b, from memory of exactly its size. */
static enum acewire_take take_body(uint8_t id, const uint8_t *body, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	struct acewire_frame f = {id, copy, len};
	enum acewire_take took;

	assert_non_null(copy);
	if (len)
		memcpy(copy, body, len);
	took = acewire_take(&t, &f, &STAGE_SECRET);
	free(copy);
	return took;
}

static enum acewire_take take_frame(void)
{
	uint32_t len = (uint32_t)b.p[0] << 24 | b.p[1] << 16 | b.p[2] << 8 | b.p[3];
	enum acewire_take took;

	assert_int_equal(b.n, len + 4);
	took = take_body(b.p[4], b.p + 5, len - 1);
	b.n = 0;
	return took;
}

static enum acewire_take take_ext(struct stage_ext e)
{
	stage_ext(&b, &e);
	return take_frame();
}

/* An unsigned dict as extended handshake, or as status. */
static enum acewire_take take_text(uint8_t id, const char *text)
{
	enum acewire_take took;

	b.n = 0;
	if (id == 20)
		stage_add(&b, "", 1);
	stage_str(&b, text);
	took = take_body(id, b.p, b.n);
	b.n = 0;
	return took;
}

static void assert_client(const char *want)
{
	char text[AW_CLIENT_MAX];

	acewire_client(text, &t, (const uint8_t *)STAGE_ID);
	assert_string_equal(text, want);
}

static void assert_addr(const uint8_t addr[ADDR_LEN], const char *want)
{
	char text[ADDR_TEXT_MAX];

	addr_text(text, addr);
	assert_string_equal(text, want);
}

/* ---- SHA-1 (FIPS 180-4): the contract gives its frames' ------------------------------ */

static uint32_t rotl(uint32_t x, int n)
{
	return x << n | x >> (32 - n);
}

static void sha1_block(uint32_t h[5], const uint8_t p[64])
{
	static const uint32_t K[] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
	uint32_t w[80], s[5];

	for (int i = 0; i < 16; i++)
		w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 |
		       (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
	for (int i = 16; i < 80; i++)
		w[i] = rotl(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
	memcpy(s, h, sizeof(s));
	for (int i = 0; i < 80; i++) {
		uint32_t f = i < 20        ? (s[1] & s[2]) | (~s[1] & s[3])
			     : i / 20 == 2 ? (s[1] & s[2]) | (s[1] & s[3]) | (s[2] & s[3])
					   : s[1] ^ s[2] ^ s[3];
		uint32_t next = rotl(s[0], 5) + f + s[4] + K[i / 20] + w[i];

		memmove(s + 1, s, 4 * sizeof(s[0]));
		s[0] = next;
		s[2] = rotl(s[2], 30);
	}
	for (int i = 0; i < 5; i++)
		h[i] += s[i];
}

static void assert_sha1(const struct bytes *bytes, const char *want)
{
	uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
	static uint8_t padded[1024];
	size_t n = (bytes->n + 9 + 63) / 64 * 64;
	char hex[41];

	assert_true(n <= sizeof(padded));
	memset(padded, 0, sizeof(padded));
	memcpy(padded, bytes->p, bytes->n);
	padded[bytes->n] = 0x80;
	stage_be32(padded + n - 4, (uint32_t)bytes->n * 8);
	for (size_t i = 0; i < n; i += 64)
		sha1_block(h, padded + i);
	snprintf(hex, sizeof(hex), "%08x%08x%08x%08x%08x", h[0], h[1], h[2], h[3], h[4]);
	assert_string_equal(hex, want);
}

/* ---- 7.2, byte for byte ------------------------------------------------------------- */

static void test_bytes_of_the_contract(void **state)
{
	const struct stage_ext as_is = {0};
	struct bytes *want = calloc(1, sizeof(*want));

	(void)state;
	assert_non_null(want);
	stage_str(&b, "abc");
	assert_sha1(&b, "a9993e364706816aba3e25717850c26c9cd0d89d");
	b.n = 0;
	stage_ext(&b, &as_is);
	assert_int_equal(b.n, 679);
	stage_hex(want, "000002a3 14 00");
	assert_memory_equal(b.p, want->p, want->n);
	assert_sha1(&b, "04cd5ab12965631b2edbe7d59a56e737f03562d7");
	want->n = 0;
	stage_hex(want,
		  "0d07557c633883f65f4e34d3465061810219d0398cd3e577bc52103c6e7591ad"
		  "a7be8af098d4f23064fabab46837a87a50f92ddabc6be388467cdeebed51e30c");
	assert_non_null(memmem(b.p, b.n, want->p, want->n));
	want->n = 0;
	stage_hex(want,
		  "197f6b23e16c8532c6abc838facd5ea789be0c76b2920334039bfa8b3d368d61");
	assert_non_null(memmem(b.p, b.n, want->p, want->n));
	b.n = 0;
	stage_pex(&b);
	assert_int_equal(b.n, 237);
	assert_sha1(&b, "902bf635dd4d80f7a10be9b3b15d95169645dd21");
	free(want);
}

static void assert_mi_of_the_contract(void)
{
	assert_int_equal(t.mi.distance_from_source, 1);
	assert_int_equal(t.mi.down_rate, 412000);
	assert_int_equal(t.mi.up_rate, 30000);
	assert_int_equal(t.mi.download_window_end, 5063);
	assert_int_equal(t.mi.is_accessible, 1);
	assert_int_equal(t.mi.live_window_size, 100);
	assert_int_equal(t.mi.lsp, 5063);
	assert_int_equal(t.mi.mam, -1);
	assert_int_equal(t.mi.max_piece, 5063);
	assert_int_equal(t.mi.min_piece, 5000);
	assert_int_equal(t.mi.peer_type, 0);
	assert_int_equal(t.mi.ping_from_source, 40);
	assert_int_equal(t.mi.position, 5060);
	assert_int_equal(t.mi.time_from_source, 1500);
	assert_int_equal(t.mi.top_session_up_rate, 90000);
	assert_int_equal(t.mi.top_up_rate, 120000);
	assert_int_equal(t.mi.upload_rating, 2);
}

static void test_extended(void **state)
{
	(void)state;
	assert_int_equal(take_ext((struct stage_ext){0}), AW_TOOK);
	assert_int_equal(t.saw, AW_SAW_EXT);
	assert_int_equal(t.sig, AW_SIG_GOOD);
	assert_true(t.has_yourip);
	assert_memory_equal(t.yourip, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\1", ADDR_LEN);
	assert_int_equal(t.version, 3021100);
	assert_int_equal(t.platform, 2);
	assert_int_equal(t.port, 8621);
	assert_int_equal(t.asn, 64500);
	assert_int_equal(t.ts, 1000);
	assert_int_equal(t.lsp, 5063);
	assert_int_equal(t.node_state, AW_UNTOLD);
	assert_string_equal(t.asn_country, "ZZ");
	assert_string_equal(t.geo_country, "ZZ");
	assert_mi_of_the_contract();
	assert_client("Ace Stream 3.2.11 (Linux)");
	assert_int_equal(acewire_kind(&t), AW_LIVE);
	assert_int_equal(acewire_head(&t), 5063);
	assert_int_equal(acewire_position(&t), 5060);
	assert_int_equal(acewire_fill(&t, 0), 6400);
	assert_int_equal(acewire_down_rate(&t), 412000);
	assert_int_equal(acewire_up_rate(&t), 30000);
	assert_int_equal(acewire_role(&t, 0), AW_VIEWER);
	assert_int_equal(acewire_role(&t, 1), AW_SOURCE);
}

/* Who a node is depends on the secret, never the raw id; it is the same on a second
 * connection. */
static void test_who(void **state)
{
	static const struct acewire_secret OTHER = {{4, 5, 6}};
	uint8_t who[AW_WHO_LEN];
	const struct stage_ext as_is = {0};
	struct acewire_frame f;
	struct bytes raw = {.n = 0};

	(void)state;
	assert_int_equal(take_ext(as_is), AW_TOOK);
	memcpy(who, t.who, sizeof(who));
	stage_hex(&raw,
		  "197f6b23e16c8532c6abc838facd5ea789be0c76b2920334039bfa8b3d368d61");
	assert_null(memmem(&t, sizeof(t), raw.p, 8));
	acewire_told_begin(&t);
	assert_int_equal(take_ext((struct stage_ext){.ts = 77}), AW_TOOK);
	assert_memory_equal(t.who, who, sizeof(who));
	acewire_told_begin(&t);
	stage_ext(&b, &as_is);
	f = (struct acewire_frame){20, b.p + 5, b.n - 5};
	assert_int_equal(acewire_take(&t, &f, &OTHER), AW_TOOK);
	assert_int_equal(t.sig, AW_SIG_GOOD);
	assert_memory_not_equal(t.who, who, sizeof(who));
}

static void test_window_moves(void **state)
{
	(void)state;
	assert_int_equal(take_ext((struct stage_ext){0}), AW_TOOK);
	stage_field(&b);
	assert_int_equal(take_frame(), AW_TOOK);
	assert_int_equal(t.field_first, 5000);
	assert_int_equal(t.field_bits, 64);
	assert_int_equal(t.field_set, 64);
	assert_int_equal(acewire_fill(&t, 0), 10000);
	stage_have(&b);
	assert_int_equal(take_frame(), AW_TOOK);
	assert_int_equal(t.mi.max_piece, 5064);
	assert_int_equal(acewire_head(&t), 5064);
	stage_tail(&b);
	assert_int_equal(take_frame(), AW_TOOK);
	assert_int_equal(t.mi.min_piece, 5001);
	assert_int_equal(t.saw, AW_SAW_EXT | AW_SAW_FIELD | AW_SAW_HAVE | AW_SAW_TAIL);
	/* The head never goes back, and another stream is another. */
	stage_hex(&b, "00000009 04 00000000 00001388");
	assert_int_equal(take_frame(), AW_TOOK);
	assert_int_equal(t.mi.max_piece, 5064);
	stage_hex(&b, "00000009 04 00000000 ffffffff");
	assert_int_equal(take_frame(), AW_MALFORMED);
	assert_int_equal(t.mi.max_piece, 5064);
	stage_hex(&b, "00000009 04 00000001 00009999");
	assert_int_equal(take_frame(), AW_IGNORED);
	assert_int_equal(t.mi.max_piece, 5064);
}

static void test_status(void **state)
{
	(void)state;
	stage_status(&b);
	assert_int_equal(take_frame(), AW_TOOK);
	assert_int_equal(t.saw, AW_SAW_STATUS);
	assert_int_equal(t.mi.min_piece, 5001);
	assert_int_equal(t.mi.max_piece, 5064);
	assert_int_equal(t.mi.live_window_size, 100);
	assert_int_equal(t.mi.down_rate, AW_UNTOLD);
	assert_int_equal(acewire_fill(&t, 0), 6400);
	assert_int_equal(take_text(11, "d1:hi0e1:ii-1e1:ji-1ee"), AW_TOOK);
	assert_int_equal(t.mi.min_piece, 5001);
	assert_int_equal(t.mi.max_piece, 5064);
	assert_int_equal(t.mi.live_window_size, 100);
	assert_int_equal(take_text(11, "i1e"), AW_MALFORMED);
	assert_int_equal(take_text(11, "d1:a"), AW_MALFORMED);
	assert_int_equal(t.why, BENC_SHORT);
	assert_int_equal(take_text(11, ""), AW_MALFORMED);
	assert_int_equal(t.malformed, 3);
}

static void test_neighbours(void **state)
{
	const struct acewire_rec *r = t.rec;
	char text[AW_CLIENT_MAX];

	(void)state;
	stage_pex(&b);
	assert_int_equal(take_frame(), AW_TOOK);
	assert_int_equal(t.recs, 2);
	assert_addr(r[0].addr, "192.0.2.10");
	assert_int_equal(r[0].port, 8621);
	assert_int_equal(r[0].version, 3021900);
	assert_int_equal(r[0].platform, 3);
	assert_int_equal(r[0].position, 5060);
	assert_int_equal(r[0].min_piece, 5000);
	assert_int_equal(r[0].max_piece, 5063);
	assert_int_equal(r[0].asn, 0);
	assert_string_equal(r[0].geo_country, "ZZ");
	assert_string_equal(r[0].asn_country, "");
	assert_true(r[0].has_id);
	assert_memory_equal(r[0].peer_id, "R30------AAAAAAAAAAA", AW_ID_LEN);
	acewire_rec_client(text, &r[0]);
	assert_string_equal(text, "Ace Stream 3.2.19");
	assert_addr(r[1].addr, "198.51.100.7");
	assert_int_equal(r[1].port, 8622);
	assert_int_equal(r[1].version, 3021100);
	assert_int_equal(r[1].position, -1);
	assert_int_equal(r[1].asn, 64500);
	assert_string_equal(r[1].asn_country, "ZZ");
	acewire_rec_client(text, &r[1]);
	assert_string_equal(text, "Ace Stream 3.2.11 (Linux)");
	/* The same two again are the same two. */
	stage_pex(&b);
	assert_int_equal(take_frame(), AW_TOOK);
	assert_int_equal(t.recs, 2);
	assert_int_equal(t.recs_lost, 0);
}

static void test_source(void **state)
{
	(void)state;
	stage_source(&b);
	assert_int_equal(b.n, 85);
	assert_int_equal(take_frame(), AW_TOOK);
	assert_addr(t.source_addr, "203.0.113.9");
	assert_int_equal(t.source_port, 7764);
	/* Of many only the first one counts, however often it comes. */
	for (uint8_t i = 0; i < 100; i++) {
		stage_source(&b);
		b.p[5 + 11] = (uint8_t)(9 + i);
		assert_int_equal(take_frame(), AW_IGNORED);
	}
	assert_addr(t.source_addr, "203.0.113.9");
	assert_int_equal(t.sources_lost, 99);
	for (size_t i = 0; i < 8; i++) {
		stage_source(&b);
		b.p[5 + i] ^= 1;
		assert_int_equal(take_frame(), AW_MALFORMED);
	}
	stage_source(&b);
	b.p[5 + 12] = b.p[5 + 13] = 0; /* port 0 */
	assert_int_equal(take_frame(), AW_MALFORMED);
}

/* ---- hostile variants ---------------------------------------------------------------- */

/* (b), and everything else in any order. */
static void test_any_order(void **state)
{
	static void (*const PARTS[])(struct bytes *) = {stage_field, stage_have,
							stage_tail,  stage_status,
							stage_pex,   stage_source};
	const size_t n = PS_ARRAY_LEN(PARTS);

	(void)state;
	for (size_t first = 0; first < n; first++) {
		acewire_told_begin(&t);
		for (size_t i = 0; i < n; i++) {
			if (i == n / 2)
				assert_int_equal(take_ext((struct stage_ext){0}),
						 AW_TOOK);
			PARTS[(first + i) % n](&b);
			assert_int_equal(take_frame(), AW_TOOK);
		}
		assert_int_equal(t.saw, 0xff & ~AW_SAW_PLAIN);
		assert_int_equal(t.recs, 2);
		assert_int_equal(t.mi.max_piece, 5064);
		assert_int_equal(acewire_head(&t), 5064);
		assert_true(t.mi.min_piece == 5000 || t.mi.min_piece == 5001);
		assert_int_equal(t.mi.position, 5060);
		assert_int_equal(acewire_fill(&t, 0), 10000);
	}
}

/* (g) */
static void test_bad_bencode(void **state)
{
	static const struct {
		const char *text;
		enum benc_rc why;
	} CASES[] = {
		{"d1:vi3021100e1:vi3021100ee", BENC_UNSORTED},
		{"d1:vi3021100e1:pi8621ee", BENC_UNSORTED},
		{"d1:vi99999999999999999999ee", BENC_BAD_INT},
		{"d1:vi03021100ee", BENC_BAD_INT},
		{"d1:vi3021100eex", BENC_LONG},
		{"d1:a99999999999:x", BENC_BAD_STR},
		{"", BENC_SHORT},
		{"d1:allllllllllllllllllllllllllllllllllllleeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"
		 "eeeee",
		 BENC_DEEP},
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(CASES); i++) {
		assert_int_equal(take_text(20, CASES[i].text), AW_MALFORMED);
		assert_int_equal(t.why, CASES[i].why);
		assert_int_equal(t.saw, 0);
		assert_int_equal(t.version, AW_UNTOLD);
	}
	assert_int_equal(take_text(20, "le"), AW_MALFORMED);
	assert_int_equal(t.malformed, PS_ARRAY_LEN(CASES) + 1);
	assert_int_equal(take_body(20, b.p, 0), AW_MALFORMED);
	assert_client("Ace Stream 3.x");
	assert_int_equal(take_ext((struct stage_ext){0}), AW_TOOK);
	assert_client("Ace Stream 3.2.11 (Linux)");
}

/* (h): every bit of the signature, the node id, and of what is signed. */
static void test_flipped_bits(void **state)
{
	static const struct stage_ext AS_IS = {0};
	size_t good = 0, sig;
	struct bytes *frame = calloc(1, sizeof(*frame));

	(void)state;
	assert_non_null(frame);
	stage_ext(frame, &AS_IS);
	sig = (size_t)((uint8_t *)memmem(frame->p, frame->n, "9:signature64:", 14) -
		       frame->p);
	for (size_t bit = 6 * 8; bit < frame->n * 8; bit++) {
		enum acewire_take took;

		acewire_told_begin(&t);
		frame->p[bit / 8] ^= (uint8_t)(1 << bit % 8);
		took = take_body(20, frame->p + 5, frame->n - 5);
		frame->p[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (took == AW_TOOK)
			assert_int_not_equal(t.sig, AW_SIG_GOOD);
		good += took == AW_TOOK;
		if (bit / 8 >= sig + 14 && bit / 8 < sig + 14 + 64) {
			assert_int_equal(took, AW_TOOK);
			assert_int_equal(t.sig, AW_SIG_BAD);
			assert_int_equal(t.version, 3021100);
		}
	}
	assert_true(good > 96 * 8);
	free(frame);
}

static void test_unsigned(void **state)
{
	(void)state;
	assert_int_equal(take_text(20, "d1:vi3020600ee"), AW_TOOK);
	assert_int_equal(t.sig, AW_SIG_NONE);
	assert_client("Ace Stream 3.2.6");
	acewire_told_begin(&t);
	assert_int_equal(take_text(20, "d7:node_id3:abc9:signature1:xe"), AW_TOOK);
	assert_int_equal(t.sig, AW_SIG_BAD);
	assert_client("Ace Stream 3.x");
	acewire_told_begin(&t);
	assert_int_equal(take_text(20, "d7:node_idi1e9:signature1:xe"), AW_TOOK);
	assert_int_equal(t.sig, AW_SIG_NONE);
	acewire_told_begin(&t);
	assert_int_equal(take_text(20, "de"), AW_TOOK);
	assert_int_equal(t.saw, AW_SAW_EXT);
	assert_int_equal(acewire_kind(&t), AW_KIND_UNKNOWN);
}

/* Signed as it must be, but the key or the signature is a byte longer than one. */
static void test_long_key(void **state)
{
	uint8_t seed[crypto_sign_SEEDBYTES] = {1}, pk[crypto_sign_PUBLICKEYBYTES];
	uint8_t sk[crypto_sign_SECRETKEYBYTES], zeros[crypto_sign_BYTES] = {0};
	uint8_t digest[crypto_hash_sha256_BYTES];

	(void)state;
	crypto_sign_seed_keypair(pk, sk, seed);
	for (int which = 0; which < 3; which++) {
		size_t at;

		acewire_told_begin(&t);
		b.n = 0;
		stage_str(&b, which == 1 ? "d7:node_id33:" : "d7:node_id32:");
		stage_add(&b, pk, sizeof(pk));
		stage_str(&b, which == 1 ? "x" : "");
		stage_str(&b, which == 2 ? "9:signature65:" : "9:signature64:");
		at = b.n;
		stage_add(&b, zeros, sizeof(zeros));
		stage_str(&b, "e"); /* "signed" with the byte too many left out */
		crypto_hash_sha256(digest, b.p, b.n);
		b.n = at;
		crypto_sign_detached(b.p + at, NULL, digest, sizeof(digest), sk);
		b.n += crypto_sign_BYTES;
		stage_str(&b, which == 2 ? "xe" : "e");
		memmove(b.p + 1, b.p, b.n++);
		b.p[0] = 0;
		assert_int_equal(take_body(20, b.p, b.n), AW_TOOK);
		assert_int_equal(t.sig, which ? AW_SIG_BAD : AW_SIG_GOOD);
	}
}

/* The first handshake counts: a peer can't become another one, or make us verify one
 * signature after the other. Sub-ids but 0 are ut_metadata's and the like. */
static void test_second_handshake(void **state)
{
	(void)state;
	assert_int_equal(take_ext((struct stage_ext){0}), AW_TOOK);
	assert_int_equal(take_text(20, "d1:vi3020600ee"), AW_IGNORED);
	assert_int_equal(t.version, 3021100);
	assert_int_equal(t.sig, AW_SIG_GOOD);
	acewire_told_begin(&t);
	assert_int_equal(take_body(20, (const uint8_t *)"\x02xyz", 4), AW_IGNORED);
	assert_int_equal(t.saw, 0);
}

/* (i) */
static void test_idle(void **state)
{
	(void)state;
	assert_int_equal(take_ext((struct stage_ext){.top = STAGE_TOP_IDLE,
						     .mi = STAGE_MI_IDLE}),
			 AW_TOOK);
	assert_int_equal(t.sig, AW_SIG_GOOD);
	assert_int_equal(acewire_kind(&t), AW_KIND_UNKNOWN);
	assert_int_equal(acewire_head(&t), -1);
	assert_int_equal(acewire_position(&t), -1);
	assert_int_equal(acewire_fill(&t, 0), -1);
	assert_int_equal(acewire_role(&t, 0), AW_VIEWER);
	assert_int_equal(t.mi.distance_from_source, -1);
	assert_int_equal(t.asn, AW_UNTOLD);
	assert_string_equal(t.geo_country, "");
	assert_int_equal(t.outpace, 0);
}

/* (j), and more neighbours than are kept. */
static void test_counts_that_lie(void **state)
{
	(void)state;
	stage_pex(&b);
	b.p[6] = 0x01;
	b.p[7] = 0xf4;
	b.n -= 108;
	b.p[3] -= 108;
	assert_int_equal(take_frame(), AW_TOOK);
	assert_int_equal(t.recs, 1);
	stage_pex(&b);
	b.p[7] = 0; /* none is announced */
	assert_int_equal(take_frame(), AW_TOOK);
	assert_int_equal(t.recs, 1);
}

static void put_pex(uint32_t header, uint32_t size, uint32_t count)
{
	uint8_t head[16] = {5};

	b.n = 0;
	head[1] = (uint8_t)(count >> 8);
	head[2] = (uint8_t)count;
	stage_be32(head + 3, header);
	stage_be32(head + 7, size);
	stage_add(&b, head, sizeof(head));
}

static void test_many_neighbours(void **state)
{
	(void)state;
	put_pex(17, 17, 100);
	for (uint8_t i = 0; i < 100; i++) {
		stage_hex(&b, "01 0000000000000000 0000 c0000200 21ad");
		b.p[b.n - 3] = i;
	}
	assert_int_equal(take_body(12, b.p, b.n), AW_TOOK);
	assert_int_equal(t.recs, AW_RECS);
	assert_int_equal(t.recs_lost, 100 - AW_RECS);
	assert_addr(t.rec[63].addr, "192.0.2.63");
	assert_int_equal(t.rec[63].port, 8621);
	assert_int_equal(t.rec[63].position, -1);
	assert_false(t.rec[63].has_id);
}

/* Records of every size: what fits is read, nothing behind them (ASan sees). */
static void test_record_sizes(void **state)
{
	(void)state;
	for (uint32_t size = 0; size < 200; size++) {
		uint8_t rec[200];

		acewire_told_begin(&t);
		memset(rec, 'Z', sizeof(rec));
		put_pex(17, size, 1);
		stage_add(&b, rec, size);
		if (size < 17) {
			assert_int_equal(take_body(12, b.p, b.n), AW_MALFORMED);
			continue;
		}
		assert_int_equal(take_body(12, b.p, b.n), AW_TOOK);
		assert_int_equal(t.recs, 1);
		assert_int_equal(t.rec[0].port, 0x5a5a);
		assert_int_equal(t.rec[0].has_id, size >= 59);
		assert_int_equal(t.rec[0].platform, size >= 96 ? 'Z' : 0);
		assert_int_equal(t.rec[0].version, 0); /* beyond 99.99.99 */
		assert_int_equal(t.rec[0].asn, size >= 104 ? 0x5a5a5a5a : 0);
		assert_string_equal(t.rec[0].geo_country, size >= 106 ? "ZZ" : "");
		assert_string_equal(t.rec[0].asn_country, size >= 108 ? "ZZ" : "");
		assert_int_equal(take_body(12, b.p, b.n - 1), AW_TOOK);
		stage_check(&t, NULL);
	}
	put_pex(18, 108, 1);
	assert_int_equal(take_body(12, b.p, b.n), AW_MALFORMED);
	put_pex(17, 0xffffffff, 500);
	assert_int_equal(take_body(12, b.p, b.n), AW_TOOK);
	put_pex(17, 17, 1);
	stage_hex(&b, "01 0000000000000000 0000 c0000200 0000"); /* port 0 */
	acewire_told_begin(&t);
	assert_int_equal(take_body(12, b.p, b.n), AW_TOOK);
	assert_int_equal(t.recs, 0);
}

/* (m) */
static void test_second_look(void **state)
{
	static const char LATER[] =
		"d9:max_piecei5103e9:min_piecei5040e8:positioni5100ee";
	int64_t head;

	(void)state;
	assert_int_equal(take_ext((struct stage_ext){0}), AW_TOOK);
	head = acewire_head(&t);
	acewire_told_begin(&t);
	assert_int_equal(take_ext((struct stage_ext){.mi = LATER}), AW_TOOK);
	assert_int_equal(acewire_head(&t), head + 40);
	assert_int_equal(t.sig, AW_SIG_GOOD);
	acewire_told_begin(&t);
	assert_int_equal(take_ext((struct stage_ext){0}), AW_TOOK);
	assert_int_equal(acewire_head(&t), head);
}

/* (o) */
static void test_content(void **state)
{
	(void)state;
	assert_int_equal(take_body(7, (const uint8_t *)"video", 5), AW_CONTENT);
	assert_int_equal(take_body(7, NULL, 0), AW_CONTENT);
	assert_int_equal(take_body(6, (const uint8_t *)"0123456789", 10), AW_IGNORED);
	assert_int_equal(take_body(0, NULL, 0), AW_IGNORED);
	assert_int_equal(take_body(255, NULL, 0), AW_IGNORED);
}

/* ---- what is shown -------------------------------------------------------------------- */

static void test_clients(void **state)
{
	char text[AW_CLIENT_MAX];
	static const struct {
		const char *dict, *want;
	} CASES[] = {
		{"d8:platformi2e1:vi3021900ee", "Ace Stream 3.2.19 (Linux)"},
		{"d8:platformi1e1:vi3020600ee", "Ace Stream 3.2.6"},
		{"d8:platformi3e1:vi3021903ee", "Ace Stream 3.2.19.3"},
		{"d8:platformi77e1:vi10203040ee", "Ace Stream 10.20.30.40"},
		{"d1:vi99999999ee", "Ace Stream 99.99.99.99"},
		{"d1:vi100000000ee", "Ace Stream 3.x"},
		{"d1:vi999999ee", "Ace Stream 3.x"},
		{"d1:vi-3021100ee", "Ace Stream 3.x"},
		{"d1:v6:3.2.11e", "Ace Stream 3.x"},
		{"d8:platformi2ee", "Ace Stream 3.x (Linux)"},
	};

	(void)state;
	assert_client("Ace Stream 3.x");
	for (size_t i = 0; i < PS_ARRAY_LEN(CASES); i++) {
		acewire_told_begin(&t);
		assert_int_equal(take_text(20, CASES[i].dict), AW_TOOK);
		assert_client(CASES[i].want);
	}
	acewire_told_begin(&t);
	acewire_client(text, &t, NULL);
	assert_string_equal(text, "Ace Stream");
	acewire_client(text, &t, (const uint8_t *)"-TR4030-............");
	assert_string_equal(text, "Ace Stream");
	acewire_client(text, &t, (const uint8_t *)"-3030-..............");
	assert_string_equal(text, "Ace Stream");
	acewire_client(text, &t, (const uint8_t *)"R41------...........");
	assert_string_equal(text, "Ace Stream 4.x");
}

static void test_outpace(void **state)
{
	static const long YES[] = {4500, 5000, 5500}, NO[] = {1, 749972};
	static const char SEEDING[] = "d3:asni0e11:asn_country0:13:geoip_country0:"
				      "8:platformi2e2:tsi0e1:vi3021100ee";

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(YES); i++) {
		acewire_told_begin(&t);
		take_ext((struct stage_ext){.top = STAGE_TOP_OUTPACE, .ts = YES[i]});
		assert_client("outpace (claims 3.2.11)");
		assert_int_equal(t.sig, AW_SIG_GOOD);
	}
	for (size_t i = 0; i < PS_ARRAY_LEN(NO); i++) {
		acewire_told_begin(&t);
		take_ext((struct stage_ext){.top = STAGE_TOP_OUTPACE, .ts = NO[i]});
		assert_client("Ace Stream 3.2.11 (Linux)");
	}
	acewire_told_begin(&t);
	assert_int_equal(take_text(20, SEEDING), AW_TOOK);
	assert_client("outpace (claims 3.2.11)");
	acewire_told_begin(&t);
	take_ext((struct stage_ext){.top = STAGE_TOP_OUTPACE, .ts = 5000, .v = 3021900});
	assert_client("Ace Stream 3.2.19 (Linux)");
	acewire_told_begin(&t);
	take_ext((struct stage_ext){.ts = 5000});
	assert_client("Ace Stream 3.2.11 (Linux)");
}

/* One trait that differs, and it is no outpace. */
static void test_nearly_outpace(void **state)
{
	static const char *const DICTS[] = {
		"d3:asni64500e11:asn_country0:13:geoip_country0:8:platformi2e2:tsi0e"
		"1:vi3021100ee",
		"d11:asn_country0:13:geoip_country0:8:platformi2e2:tsi0e1:vi3021100ee",
		"d3:asni0e11:asn_country2:ZZ13:geoip_country0:8:platformi2e2:tsi0e1:vi3021100ee",
		"d3:asni0e13:geoip_country0:8:platformi2e2:tsi0e1:vi3021100ee",
		"d3:asni0e11:asn_country0:13:geoip_country2:ZZ8:platformi2e2:tsi0e1:vi3021100ee",
		"d3:asni0e11:asn_country0:8:platformi2e2:tsi0e1:vi3021100ee",
		"d3:asni0e11:asn_country0:13:geoip_country0:8:platformi3e2:tsi0e1:vi3021100ee",
		"d3:asni0e11:asn_country0:13:geoip_country0:8:platformi2e1:vi3021100ee",
		"d3:asni0e11:asn_country0:13:geoip_country0:8:platformi2e2:tsi0e1:vi3021101ee",
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(DICTS); i++) {
		acewire_told_begin(&t);
		assert_int_equal(take_text(20, DICTS[i]), AW_TOOK);
		if (t.outpace)
			fail_msg("%s", DICTS[i]);
	}
}

static void test_source_like(void **state)
{
	(void)state;
	take_ext((struct stage_ext){.mi = STAGE_MI_SOURCE, .end = STAGE_END_SOURCE});
	assert_int_equal(acewire_role(&t, 0), AW_SOURCE_LIKE);
	assert_int_equal(acewire_role(&t, 1), AW_SOURCE);
	assert_int_equal(t.port, 7764);
	/* It stays one when its head moves on. */
	stage_have(&b);
	assert_int_equal(take_frame(), AW_TOOK);
	assert_int_equal(acewire_role(&t, 0), AW_SOURCE_LIKE);
	acewire_told_begin(&t);
	take_ext((struct stage_ext){.mi = STAGE_MI_SOURCE});
	assert_int_equal(acewire_role(&t, 0), AW_VIEWER);
	acewire_told_begin(&t);
	take_ext((struct stage_ext){.end = STAGE_END_SOURCE});
	assert_int_equal(acewire_role(&t, 0), AW_VIEWER);
	acewire_told_begin(&t);
	take_ext((struct stage_ext){.mi = STAGE_MI_IDLE, .end = STAGE_END_SOURCE});
	assert_int_equal(acewire_role(&t, 0), AW_VIEWER);
}

/* One trait that differs, and it is no source. */
static void test_nearly_source_like(void **state)
{
	static const char MI[] = STAGE_MI_SOURCE;
	static const struct {
		const char *from, *to;
	} CASES[] = {
		{"", ""},
		{"sourcei-1e9:down", "sourcei1e9:down"},
		{"down_ratei0e", "down_ratei1e"},
		{"endi5063e", "endi5064e"},
		{"lspi5063e", "lspi5062e"},
		{"min_piecei4949e", "min_piecei5064e"},
		{"min_piecei4949e", "min_piecei-1e"},
		{"positioni5063e", "positioni5062e"},
		{"session_up_ratei0e", "session_up_ratei1e"},
		{"11:top_up_ratei0e", "11:top_up_ratei1e"},
		{"7:up_ratei0e", "7:up_ratei1e"},
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(CASES); i++) {
		const char *at = strstr(MI, CASES[i].from);
		char mi[1024];

		assert_non_null(at);
		snprintf(mi, sizeof(mi), "%.*s%s%s", (int)(at - MI), MI, CASES[i].to,
			 at + strlen(CASES[i].from));
		acewire_told_begin(&t);
		assert_int_equal(take_ext((struct stage_ext){.mi = mi,
							     .end = STAGE_END_SOURCE}),
				 AW_TOOK);
		if (acewire_role(&t, 0) != (i ? AW_VIEWER : AW_SOURCE_LIKE))
			fail_msg("%s", mi);
	}
}

static void test_fields(void **state)
{
	(void)state;
	/* Ten pieces from 100, of which 100, 101 and 108; bits behind the tenth are none. */
	stage_hex(&b, "0000000f 05 00000000 00000064 0000000a c0bf");
	assert_int_equal(take_frame(), AW_TOOK);
	assert_int_equal(t.field_set, 3);
	assert_int_equal(t.mi.max_piece, 108);
	assert_int_equal(acewire_fill(&t, 0), 3000);
	assert_int_equal(acewire_kind(&t), AW_LIVE);
	/* One byte too many is no live field, and a peer has one. */
	stage_hex(&b, "00000010 05 00000000 00000064 0000000a c0bf00");
	assert_int_equal(take_frame(), AW_IGNORED);
	assert_int_equal(acewire_fill(&t, 0), 3000);
	stage_hex(&b, "0000000e 05 00000000 ffffffff 00000001 80");
	assert_int_equal(take_frame(), AW_MALFORMED);
	stage_hex(&b, "0000000e 05 00000000 fffffffe 00000001 80");
	assert_int_equal(take_frame(), AW_TOOK);
	assert_int_equal(acewire_head(&t), 0xfffffffe);
	acewire_told_begin(&t);
	stage_hex(&b, "0000000d 05 00000000 00000064 00000000"); /* empty window */
	assert_int_equal(take_frame(), AW_IGNORED);
	assert_int_equal(take_body(5, NULL, 0), AW_MALFORMED);
	assert_int_equal(acewire_kind(&t), AW_KIND_UNKNOWN);
}

static void test_vod(void **state)
{
	(void)state;
	stage_hex(&b, "00000003 05 ffe0");
	assert_int_equal(take_frame(), AW_TOOK);
	assert_int_equal(acewire_kind(&t), AW_VOD);
	assert_int_equal(acewire_fill(&t, 11), 10000);
	assert_int_equal(acewire_fill(&t, 0), 6875);
	assert_int_equal(acewire_fill(&t, 5000), 6875); /* not this torrent's */
	assert_int_equal(acewire_head(&t), -1);
	stage_hex(&b, "00000005 04 00000003");
	assert_int_equal(take_frame(), AW_IGNORED);
	assert_int_equal(acewire_kind(&t), AW_VOD);
	/* A live one is better informed. */
	stage_field(&b);
	assert_int_equal(take_frame(), AW_TOOK);
	assert_int_equal(acewire_kind(&t), AW_LIVE);
	assert_int_equal(t.saw & AW_SAW_PLAIN, 0);
}

/* Numbers beyond reason were not told. */
static void test_absurd_numbers(void **state)
{
	static const char MI[] = "d9:down_ratei9223372036854775807e13:is_accessiblei2e"
				 "16:live_window_sizei0e9:max_piecei4294967295e"
				 "9:min_piecei-9223372036854775808e8:positioni4294967294e"
				 "7:up_rate3:abce";

	(void)state;
	assert_int_equal(take_ext((struct stage_ext){.mi = MI}), AW_TOOK);
	assert_int_equal(t.mi.max_piece, AW_UNTOLD);
	assert_int_equal(t.mi.min_piece, AW_UNTOLD);
	assert_int_equal(t.mi.is_accessible, AW_UNTOLD);
	assert_int_equal(t.mi.position, 4294967294);
	assert_int_equal(acewire_down_rate(&t), -1);
	assert_int_equal(acewire_up_rate(&t), -1);
	assert_int_equal(acewire_fill(&t, 0), -1);
	stage_check(&t, NULL);
	acewire_told_begin(&t);
	assert_int_equal(take_text(20, "d3:asni4294967296e13:geoip_country2:zz"
				       "2:mii5e1:pi65536e8:platformi256e2:tsi-1ee"),
			 AW_TOOK);
	assert_int_equal(t.asn, AW_UNTOLD);
	assert_int_equal(t.port, AW_UNTOLD);
	assert_int_equal(t.platform, AW_UNTOLD);
	assert_int_equal(t.ts, AW_UNTOLD);
	assert_string_equal(t.geo_country, "");
	assert_int_equal(t.mi.max_piece, AW_UNTOLD);
	stage_check(&t, NULL);
}

/* More than the window holds is the whole window; less than nothing is unknown. */
static void test_odd_windows(void **state)
{
	(void)state;
	take_text(20, "d2:mid16:live_window_sizei10e9:max_piecei99e9:min_piecei0eee");
	assert_int_equal(acewire_fill(&t, 0), 10000);
	acewire_told_begin(&t);
	take_text(20, "d2:mid16:live_window_sizei10e9:max_piecei14e9:min_piecei0eee");
	assert_int_equal(acewire_fill(&t, 0), 10000);
	acewire_told_begin(&t);
	take_text(20, "d2:mid16:live_window_sizei10e9:max_piecei5e9:min_piecei9eee");
	assert_int_equal(acewire_fill(&t, 0), -1);
	acewire_told_begin(&t);
	take_text(20, "d2:mid16:live_window_sizei0e9:max_piecei9e9:min_piecei5eee");
	assert_int_equal(acewire_fill(&t, 0), -1);
	acewire_told_begin(&t);
	take_text(20, "d3:lspi77e2:mid3:lspi78e9:max_piecei-1eee");
	assert_int_equal(acewire_head(&t), 78);
	acewire_told_begin(&t);
	take_text(20, "d3:lspi80e2:mid3:lspi78e9:max_piecei79eee");
	assert_int_equal(acewire_head(&t), 80);
}

/* ---- every cut, every change ---------------------------------------------------------- */

/* Message and body cut anywhere: no overrun; what is refused leaves no trace; the bencoded
 * ones are never whole without their last byte, nor with one more. */
static void cut_everywhere(void (*part)(struct bytes *), int bencoded)
{
	struct acewire_told before;
	struct bytes *whole = calloc(1, sizeof(*whole));

	assert_non_null(whole);
	part(whole);
	for (size_t len = 0; len <= whole->n - 5 + 1; len++) {
		enum acewire_take took;

		acewire_told_begin(&t);
		before = t;
		took = take_body(whole->p[4], whole->p + 5, len);
		stage_check(&t, NULL);
		if (len == whole->n - 5)
			assert_int_equal(took, AW_TOOK);
		else if (bencoded)
			assert_int_equal(took, AW_MALFORMED);
		if (took == AW_TOOK)
			continue;
		before.malformed = t.malformed;
		before.why = t.why;
		assert_memory_equal(&before, &t, sizeof(t));
	}
	free(whole);
}

static void put_ext(struct bytes *to)
{
	const struct stage_ext as_is = {0};

	stage_ext(to, &as_is);
}

static void test_cuts(void **state)
{
	(void)state;
	cut_everywhere(put_ext, 1);
	cut_everywhere(stage_status, 1);
	cut_everywhere(stage_field, 0);
	cut_everywhere(stage_have, 0);
	cut_everywhere(stage_tail, 0);
	cut_everywhere(stage_pex, 0);
	cut_everywhere(stage_source, 0);
}

/* xorshift64 (Marsaglia): the same numbers in each run. */
static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

#define ROUNDS 6000

static void change(struct bytes *c, uint64_t *x)
{
	static const uint8_t NASTY[] = {0,   1,   0x7f, 0x80, 0xff, 'd',
					'l', 'e', 'i',  ':',  '9'};
	size_t at = AW_HAND + next_random(x) % (c->n - AW_HAND);

	switch (next_random(x) % 4) {
	case 0: c->p[at] ^= (uint8_t)(1 << next_random(x) % 8); break;
	case 1: c->p[at] = NASTY[next_random(x) % sizeof(NASTY)]; break;
	case 2: /* a byte goes */
		memmove(c->p + at, c->p + at + 1, c->n - at - 1);
		c->n--;
		break;
	case 3: /* a byte comes */
		memmove(c->p + at + 1, c->p + at, c->n - at);
		c->p[at] = (uint8_t)next_random(x);
		c->n++;
		break;
	}
}

static void test_changes(void **state)
{
	struct bytes *whole = calloc(1, sizeof(*whole)), *c = calloc(1, sizeof(*c));
	uint64_t x = 88172645463325252ull;
	size_t verdicts = 0, malformed = 0, contents = 0;
	int content;

	(void)state;
	assert_non_null(whole);
	assert_non_null(c);
	stage_hand(whole);
	stage_messages(whole);
	for (int i = 0; i < ROUNDS; i++) {
		memcpy(c->p, whole->p, whole->n);
		c->n = whole->n;
		for (uint64_t n = 1 + next_random(&x) % 8; n > 0; n--)
			change(c, &x);
		verdicts += stage_run(&t, c->p, c->n, 1 + next_random(&x) % 700,
				      &content) > AW_FRAME;
		malformed += t.malformed > 0;
		contents += (size_t)content;
	}
	/* The changes reach all the ways out, or this test proves little. */
	assert_true(verdicts > ROUNDS / 20);
	assert_true(malformed > ROUNDS / 20);
	assert_true(contents > 0);
	assert_int_equal(stage_run(&t, whole->p, whole->n, 1, &content), AW_MORE);
	assert_int_equal(t.saw, 0xff & ~AW_SAW_PLAIN);
	assert_int_equal(t.malformed, 0);
	free(whole);
	free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_bytes_of_the_contract, setup),
		cmocka_unit_test_setup(test_extended, setup),
		cmocka_unit_test_setup(test_who, setup),
		cmocka_unit_test_setup(test_window_moves, setup),
		cmocka_unit_test_setup(test_status, setup),
		cmocka_unit_test_setup(test_neighbours, setup),
		cmocka_unit_test_setup(test_source, setup),
		cmocka_unit_test_setup(test_any_order, setup),
		cmocka_unit_test_setup(test_bad_bencode, setup),
		cmocka_unit_test_setup(test_flipped_bits, setup),
		cmocka_unit_test_setup(test_unsigned, setup),
		cmocka_unit_test_setup(test_long_key, setup),
		cmocka_unit_test_setup(test_second_handshake, setup),
		cmocka_unit_test_setup(test_idle, setup),
		cmocka_unit_test_setup(test_counts_that_lie, setup),
		cmocka_unit_test_setup(test_many_neighbours, setup),
		cmocka_unit_test_setup(test_record_sizes, setup),
		cmocka_unit_test_setup(test_second_look, setup),
		cmocka_unit_test_setup(test_content, setup),
		cmocka_unit_test_setup(test_clients, setup),
		cmocka_unit_test_setup(test_outpace, setup),
		cmocka_unit_test_setup(test_source_like, setup),
		cmocka_unit_test_setup(test_nearly_outpace, setup),
		cmocka_unit_test_setup(test_nearly_source_like, setup),
		cmocka_unit_test_setup(test_fields, setup),
		cmocka_unit_test_setup(test_vod, setup),
		cmocka_unit_test_setup(test_absurd_numbers, setup),
		cmocka_unit_test_setup(test_odd_windows, setup),
		cmocka_unit_test_setup(test_cuts, setup),
		cmocka_unit_test_setup(test_changes, setup),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
