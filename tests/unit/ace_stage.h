/*
 * ace_stage.h -- an AceStream peer's bytes for tests: contracts/acestream-wire.md 7.2, byte
 * for byte, and variants of them, signed anew; also a run of the whole reader that
 * checks what must hold whatever came. Included by one program each.
 */
#ifndef PEERSCOPE_TESTS_ACE_STAGE_H
#define PEERSCOPE_TESTS_ACE_STAGE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "collector/acewire.h"

#define STAGE_MAX 70000
#define STAGE_ID "R30------TestPeer.01"

struct bytes {
	uint8_t p[STAGE_MAX];
	size_t n;
};

/* Key a0 .. b3; secret and seed are of the test alone. */
static const uint8_t STAGE_KEY[IH_LEN] = {0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6,
					  0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad,
					  0xae, 0xaf, 0xb0, 0xb1, 0xb2, 0xb3};
static const struct acewire_secret STAGE_SECRET = {{1, 2, 3}};

/* Parts of an extended handshake: `mi` of a viewer (7.2), an idle engine, a source. */
#define STAGE_MI                                                                           \
	"d20:distance_from_sourcei1e9:down_ratei412000e19:download_window_endi5063e"        \
	"13:is_accessiblei1e16:live_window_sizei100e3:lspi5063e3:mami-1e"                   \
	"9:max_piecei5063e9:min_piecei5000e9:peer_typei0e16:ping_from_sourcei40e"           \
	"8:positioni5060e16:time_from_sourcei1500e19:top_session_up_ratei90000e"            \
	"11:top_up_ratei120000e7:up_ratei30000e13:upload_ratingi2ee"
#define STAGE_MI_IDLE                                                                      \
	"d20:distance_from_sourcei-1e9:down_ratei0e19:download_window_endi-1e"              \
	"13:is_accessiblei0e16:live_window_sizei774e3:lspi-1e3:mami-1e"                     \
	"9:max_piecei-1e9:min_piecei-1e9:peer_typei0e16:ping_from_sourcei-1e"               \
	"8:positioni-1e16:time_from_sourcei-1e19:top_session_up_ratei0e"                    \
	"11:top_up_ratei0e7:up_ratei0e13:upload_ratingi-1ee"
#define STAGE_MI_SOURCE                                                                    \
	"d20:distance_from_sourcei-1e9:down_ratei0e19:download_window_endi5063e"            \
	"13:is_accessiblei1e16:live_window_sizei115e3:lspi5063e3:mami-1e"                   \
	"9:max_piecei5063e9:min_piecei4949e9:peer_typei0e16:ping_from_sourcei-1e"           \
	"8:positioni5063e16:time_from_sourcei-1e19:top_session_up_ratei0e"                  \
	"11:top_up_ratei0e7:up_ratei0e13:upload_ratingi0ee"
/* What stands before `mi`. */
#define STAGE_TOP                                                                          \
	"d20:ace_metadata_versioni1e3:asni64500e11:asn_country2:ZZ13:geoip_country2:ZZ"     \
	"3:lspi5063e1:md11:ut_metadatai2ee"
#define STAGE_TOP_IDLE                                                                     \
	"d20:ace_metadata_versioni1e13:geoip_country0:3:lspi-1e1:md11:ut_metadatai2ee"
#define STAGE_TOP_OUTPACE                                                                  \
	"d20:ace_metadata_versioni1e3:asni0e11:asn_country0:13:geoip_country0:"             \
	"3:lspi5063e1:md11:ut_metadatai2ee"
/* Between node_id and signature. */
#define STAGE_END "2:nti1e1:pi8621e8:platformi2e2:pvi2e"
#define STAGE_END_SOURCE "10:node_statei1e2:nti1e1:pi7764e8:platformi2e2:pvi2e"

/* An extended handshake by its parts; NULL and 0: as in 7.2. */
struct stage_ext {
	const char *top, *mi, *end;
	long ts, v;
};

static inline void stage_add(struct bytes *b, const void *p, size_t n)
{
	PS_ASSERT(n <= STAGE_MAX - b->n);
	if (n)
		memcpy(b->p + b->n, p, n);
	b->n += n;
}

static inline void stage_str(struct bytes *b, const char *s)
{
	stage_add(b, s, strlen(s));
}

/* Hex digits; blanks between them. */
static inline void stage_hex(struct bytes *b, const char *hex)
{
	size_t n;

	PS_ASSERT(sodium_hex2bin(b->p + b->n, STAGE_MAX - b->n, hex, strlen(hex), " ", &n,
				 NULL) == 0);
	b->n += n;
}

static inline void stage_be32(uint8_t *p, uint32_t n)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(n >> (24 - 8 * i));
}

static inline void stage_frame(struct bytes *b, uint8_t id, const void *body, size_t n)
{
	uint8_t head[5];

	stage_be32(head, (uint32_t)n + 1);
	head[4] = id;
	stage_add(b, head, sizeof(head));
	stage_add(b, body, n);
}

static inline void stage_hand(struct bytes *b)
{
	stage_hex(b, "11 4163655374726561 6d50726f746f636f6c 0000000000000000"
		     "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3"
		     "5233302d2d2d2d2d2d54657374506565722e3031");
}

/* The dict, signed by the key of seed 32 x 2a; yourip is 127.0.0.1. */
static inline void stage_dict(struct bytes *b, const struct stage_ext *e)
{
	uint8_t seed[crypto_sign_SEEDBYTES], pk[crypto_sign_PUBLICKEYBYTES];
	uint8_t sk[crypto_sign_SECRETKEYBYTES], zeros[crypto_sign_BYTES] = {0};
	uint8_t digest[crypto_hash_sha256_BYTES];
	size_t from = b->n, at;
	char last[96];

	memset(seed, 0x2a, sizeof(seed));
	crypto_sign_seed_keypair(pk, sk, seed);
	stage_str(b, e->top ? e->top : STAGE_TOP);
	stage_str(b, "2:mi");
	stage_str(b, e->mi ? e->mi : STAGE_MI);
	stage_str(b, "7:node_id32:");
	stage_add(b, pk, sizeof(pk));
	stage_str(b, e->end ? e->end : STAGE_END);
	stage_str(b, "9:signature64:");
	at = b->n;
	stage_add(b, zeros, sizeof(zeros));
	snprintf(last, sizeof(last), "15:stream_statusesde2:tsi%lde2:tt2:bt1:vi%lde6:yourip4:",
		 e->ts ? e->ts : 1000, e->v ? e->v : 3021100);
	stage_str(b, last);
	stage_add(b, "\x7f\0\0\1e", 5);
	crypto_hash_sha256(digest, b->p + from, b->n - from);
	crypto_sign_detached(b->p + at, NULL, digest, sizeof(digest), sk);
}

/* Frame 20, sub 0. */
static inline void stage_ext(struct bytes *b, const struct stage_ext *e)
{
	static struct bytes body;

	body.n = 0;
	stage_add(&body, "", 1);
	stage_dict(&body, e);
	stage_frame(b, 20, body.p, body.n);
}

static inline void stage_field(struct bytes *b)
{
	stage_hex(b, "00000015 05 00000000 00001388 00000040 ffffffffffffffff");
}

static inline void stage_have(struct bytes *b)
{
	stage_hex(b, "00000009 04 00000000 000013c8");
}

static inline void stage_tail(struct bytes *b)
{
	stage_hex(b, "00000009 0a 00000000 00001389");
}

static inline void stage_status(struct bytes *b)
{
	stage_hex(b, "0000008e 0b");
	stage_str(b, "d1:ai1e1:bi0e1:ci0e1:di0e1:ei0e1:fi0e1:gi5065e1:hi100e1:ii5001e"
		     "1:ji5064e1:ki1e1:li0e1:mi-1e1:ni0e1:oi0e1:pi0e1:qi1e1:ri5064e1:si5064e"
		     "1:ti-1ee");
}

static inline void stage_pex(struct bytes *b)
{
	stage_hex(b, "000000e9 0c 05 0002 00000011 0000006c deadbeef00");
	stage_hex(b, "01 0000000000000000 0000 c000020a 21ad 01 000003e8 00 0000000000001388 "
		     "00000000000013c7 5233302d2d2d2d2d2d4141414141414141414141 00000000 "
		     "00000000 ffffffff 00000000000013c7 00000000000013c4 00000000000013c7 03 "
		     "002e1c4c ffffffff 5a5a 2d2d");
	stage_hex(b, "00 0000000000000000 0000 c6336407 21ae 01 000003e8 00 000000000000137e "
		     "00000000000013c7 5233302d2d2d2d2d2d4242424242424242424242 00000000 "
		     "00000000 ffffffff 00000000000013c7 ffffffffffffffff 00000000000013c7 02 "
		     "002e192c 0000fbf4 5a5a 5a5a");
}

static inline void stage_source(struct bytes *b)
{
	static const uint8_t ZEROS[46];

	stage_hex(b, "00000051 24 0002 0034 003f 0040 cb007109 1e54 "
		     "5233302d2d2d2d2d2d536f757263654e6f646530");
	stage_add(b, ZEROS, sizeof(ZEROS));
}

/* Everything of 7.2 behind the handshake, with a keep-alive and two that say nothing. */
static inline void stage_messages(struct bytes *b)
{
	const struct stage_ext as_is = {0};

	stage_ext(b, &as_is);
	stage_field(b);
	stage_hex(b, "00000000 00000001 0d 00000009 22 00000001 00000007");
	stage_have(b);
	stage_tail(b);
	stage_status(b);
	stage_pex(b);
	stage_source(b);
}

/* ---- what must hold, whatever came -------------------------------------------------- */

static inline void stage_check_int(int64_t n, int64_t most)
{
	PS_ASSERT(n == AW_UNTOLD || (n >= -1 && n <= most));
}

static inline void stage_check_country(const char c[3])
{
	PS_ASSERT(c[2] == 0 && (c[0] != 0) == (c[1] != 0));
	for (int i = 0; i < 2; i++)
		PS_ASSERT(c[i] == 0 || (c[i] >= 'A' && c[i] <= 'Z'));
}

static inline void stage_check_text(const char *text)
{
	PS_ASSERT(memchr(text, '\0', AW_CLIENT_MAX));
	for (; *text; text++)
		PS_ASSERT(*text >= ' ' && *text <= '~');
}

static inline void stage_check_recs(const struct acewire_told *t)
{
	char text[AW_CLIENT_MAX];

	PS_ASSERT(t->recs <= AW_RECS);
	for (uint32_t i = 0; i < t->recs; i++) {
		const struct acewire_rec *r = &t->rec[i];

		PS_ASSERT(r->port && addr_is_v4(r->addr));
		stage_check_int(r->min_piece, UINT32_MAX);
		stage_check_int(r->max_piece, UINT32_MAX);
		stage_check_int(r->position, UINT32_MAX);
		stage_check_country(r->geo_country);
		stage_check_country(r->asn_country);
		acewire_rec_client(text, r);
		stage_check_text(text);
	}
}

static inline void stage_check(const struct acewire_told *t, const uint8_t *peer_id)
{
	static const uint8_t NOBODY[AW_WHO_LEN];
	char text[AW_CLIENT_MAX];
	int fill = acewire_fill(t, 1000);
	int64_t head = acewire_head(t);

	PS_ASSERT(t->sig == AW_SIG_GOOD || memcmp(t->who, NOBODY, AW_WHO_LEN) == 0);
	stage_check_int(t->port, UINT16_MAX);
	stage_check_int(t->asn, UINT32_MAX);
	stage_check_int(t->mi.position, UINT32_MAX);
	stage_check_int(t->mi.min_piece, UINT32_MAX);
	stage_check_int(t->mi.live_window_size, UINT32_MAX);
	stage_check_country(t->asn_country);
	stage_check_country(t->geo_country);
	PS_ASSERT(t->field_set <= t->field_bits);
	PS_ASSERT(fill >= -1 && fill <= 10000);
	PS_ASSERT(head >= -1 && head < UINT32_MAX);
	PS_ASSERT(acewire_down_rate(t) >= -1 && acewire_up_rate(t) >= -1);
	acewire_client(text, t, peer_id);
	stage_check_text(text);
	PS_ASSERT(text[0]);
	stage_check_recs(t);
}

/* The whole way of a connection's bytes, in pieces of `piece` bytes (each in memory of its
 * own, so that ASan sees its end). What the reader says at last; content counts as
 * malformed nowhere: *content is set. */
static inline enum acewire_step stage_run(struct acewire_told *t, const uint8_t *p, size_t n,
					  size_t piece, int *content)
{
	struct acewire_frame f;
	struct acewire_in in;
	enum acewire_step step = AW_MORE;
	uint8_t id[AW_ID_LEN];

	*content = 0;
	acewire_told_begin(t);
	acewire_in_begin(&in, STAGE_KEY);
	for (size_t at = 0, k; at < n; at += k) {
		uint8_t *copy;

		k = n - at < piece ? n - at : piece;
		copy = malloc(k);
		PS_ASSERT(copy);
		memcpy(copy, p + at, k);
		acewire_in_feed(&in, copy, k);
		free(copy);
		while ((step = acewire_in_next(&in, &f)) == AW_FRAME || step == AW_SHAKEN)
			if (step == AW_FRAME)
				*content |= acewire_take(t, &f, &STAGE_SECRET) == AW_CONTENT;
		PS_ASSERT(in.b.len <= AW_IN_MAX && in.at <= in.b.len);
	}
	memcpy(id, in.peer_id, sizeof(id));
	stage_check(t, in.shaken ? id : NULL);
	acewire_in_end(&in);
	return step;
}

#endif
