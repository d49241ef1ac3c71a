/*
 * test_acewire.c -- what we send an AceStream peer, what its bytes are judged to be, and
 * the frames that come out of them, however they are cut. Messages: test_acetold.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/ace_stage.h"

static struct bytes b;

static int setup(void **state)
{
	(void)state;
	b.n = 0;
	return 0;
}

/* ---- ours ----------------------------------------------------------------------- */

static void test_hand(void **state)
{
	uint8_t one[AW_HAND], two[AW_HAND];

	(void)state;
	assert_int_equal(acewire_hand(one, STAGE_KEY), 0);
	assert_int_equal(acewire_hand(two, STAGE_KEY), 0);
	stage_hand(&b);
	assert_int_equal(b.n, AW_HAND);
	assert_memory_equal(one, b.p, AW_HAND_ID);
	assert_memory_equal(one + AW_HAND_ID, "R30------", 9);
	assert_memory_equal(two, one, AW_HAND_ID + 9);
	assert_memory_not_equal(two + AW_HAND_ID + 9, one + AW_HAND_ID + 9, 11);
	for (size_t i = AW_HAND_ID + 9; i < AW_HAND; i++)
		assert_non_null(strchr("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				       "abcdefghijklmnopqrstuvwxyz.-",
				       one[i]));
	assert_true(acewire_id_ok(one + AW_HAND_ID));
}

static void test_id(void **state)
{
	(void)state;
	assert_true(acewire_id_ok((const uint8_t *)STAGE_ID));
	assert_true(acewire_id_ok((const uint8_t *)"Rz9------..........."));
	assert_false(acewire_id_ok((const uint8_t *)"-TR4030-...........x"));
	assert_false(acewire_id_ok((const uint8_t *)"R30-----x..........x"));
	assert_false(acewire_id_ok((const uint8_t *)"R3.------..........x"));
	assert_false(acewire_id_ok((const uint8_t *)"r30------..........x"));
}

static void test_secret(void **state)
{
	struct acewire_secret one, two;
	char err[ERRLEN];

	(void)state;
	assert_int_equal(acewire_secret_make(&one, err), 0);
	assert_int_equal(acewire_secret_make(&two, err), 0);
	assert_memory_not_equal(&one, &two, sizeof(one));
}

/* ---- their handshake -------------------------------------------------------------- */

/* The verdict after each byte, and that it stays. */
static enum acewire_step judged_at(const struct bytes *bytes, size_t *at)
{
	struct acewire_frame f;
	struct acewire_in in;
	enum acewire_step step = AW_MORE;

	acewire_in_begin(&in, STAGE_KEY);
	for (*at = 0; *at < bytes->n && step == AW_MORE; ++*at) {
		acewire_in_feed(&in, bytes->p + *at, 1);
		step = acewire_in_next(&in, &f);
	}
	if (step > AW_FRAME) {
		acewire_in_feed(&in, bytes->p, bytes->n);
		assert_int_equal(acewire_in_next(&in, &f), step);
		assert_int_equal(in.total, *at);
	}
	if (step == AW_SHAKEN)
		assert_memory_equal(in.peer_id, STAGE_ID, AW_ID_LEN);
	acewire_in_end(&in);
	return step;
}

static void test_reply(void **state)
{
	size_t at;

	(void)state;
	stage_hand(&b);
	assert_int_equal(judged_at(&b, &at), AW_SHAKEN);
	assert_int_equal(at, AW_HAND);
	b.p[20] = 0x10; /* reserved bits mean nothing */
	assert_int_equal(judged_at(&b, &at), AW_SHAKEN);
}

/* (d), as far as bytes come: every byte of the key counts. */
static void test_wrong_key(void **state)
{
	size_t at;

	(void)state;
	stage_hand(&b);
	for (size_t i = 26; i < AW_HAND_ID; i++) {
		b.p[i] ^= 1;
		assert_int_equal(judged_at(&b, &at), AW_WRONG_KEY);
		assert_int_equal(at, i + 1);
		b.p[i] ^= 1;
	}
}

/* (k) */
static void test_bittorrent(void **state)
{
	size_t at;

	(void)state;
	stage_str(&b, "\x13"
		      "BitTorrent protocol");
	assert_int_equal(judged_at(&b, &at), AW_BITTORRENT);
	assert_int_equal(at, 20);
	for (size_t i = 1; i < 20; i++) {
		b.p[i] ^= 1;
		assert_int_equal(judged_at(&b, &at), AW_OTHER);
		assert_int_equal(at, i + 1);
		b.p[i] ^= 1;
	}
}

static void test_other(void **state)
{
	size_t at;

	(void)state;
	stage_hand(&b);
	for (size_t i = 0; i < 18; i++) {
		b.p[i] ^= 0x40;
		assert_int_equal(judged_at(&b, &at), AW_OTHER);
		assert_int_equal(at, i + 1);
		b.p[i] ^= 0x40;
	}
	b.n = 0;
	stage_str(&b, "HTTP/1.1 400 Bad Request\r\n");
	assert_int_equal(judged_at(&b, &at), AW_OTHER);
	assert_int_equal(at, 1);
}

/* (e), and (n) between its two parts: no verdict on what is not there. */
static void test_silent(void **state)
{
	struct acewire_frame f;
	struct acewire_in in;

	(void)state;
	acewire_in_begin(&in, STAGE_KEY);
	assert_int_equal(acewire_in_next(&in, &f), AW_MORE);
	acewire_in_feed(&in, "", 0);
	assert_int_equal(acewire_in_next(&in, &f), AW_MORE);
	assert_int_equal(in.total, 0);
	stage_hand(&b);
	acewire_in_feed(&in, b.p, AW_HAND_ID);
	assert_int_equal(acewire_in_next(&in, &f), AW_MORE);
	assert_false(in.shaken);
	acewire_in_feed(&in, b.p + AW_HAND_ID, AW_ID_LEN);
	assert_int_equal(acewire_in_next(&in, &f), AW_SHAKEN);
	assert_int_equal(acewire_in_next(&in, &f), AW_MORE);
	acewire_in_end(&in);
	acewire_in_end(&in);
}

/* ---- frames ---------------------------------------------------------------------- */

static const uint8_t IDS[] = {20, 5, 13, 34, 4, 10, 11, 12, 36};
static const uint32_t LENS[] = {674, 20, 0, 8, 8, 8, 141, 232, 80};

/* All frames of b, in pieces of n bytes; returns how many came. */
static size_t frames_of(const struct bytes *bytes, size_t n, enum acewire_step *last)
{
	struct acewire_frame f;
	struct acewire_in in;
	size_t got = 0;

	acewire_in_begin(&in, STAGE_KEY);
	for (size_t at = 0; at < bytes->n; at += n) {
		acewire_in_feed(&in, bytes->p + at,
				bytes->n - at < n ? bytes->n - at : n);
		while ((*last = acewire_in_next(&in, &f)) == AW_SHAKEN ||
		       *last == AW_FRAME) {
			if (*last == AW_SHAKEN)
				continue;
			assert_true(got < PS_ARRAY_LEN(IDS));
			assert_int_equal(f.id, IDS[got]);
			assert_int_equal(f.len, LENS[got]);
			got++;
		}
	}
	assert_int_equal(in.frames, got);
	acewire_in_end(&in);
	return got;
}

/* (a): any size of pieces, down to single bytes. */
static void test_pieces(void **state)
{
	enum acewire_step last;

	(void)state;
	stage_hand(&b);
	stage_messages(&b);
	for (size_t n = 1; n <= b.n; n++) {
		assert_int_equal(frames_of(&b, n, &last), PS_ARRAY_LEN(IDS));
		assert_int_equal(last, AW_MORE);
	}
}

/* Every end of a connection, (c) among them: the frames that were whole came, and no
 * verdict. */
static void test_cut(void **state)
{
	struct bytes *cut = malloc(sizeof(*cut));
	size_t whole = 0, next = AW_HAND + 4 + 1 + LENS[0];
	enum acewire_step last;

	(void)state;
	assert_non_null(cut);
	stage_hand(&b);
	stage_messages(&b);
	for (size_t n = 0; n <= b.n; n++) {
		while (whole < PS_ARRAY_LEN(IDS) && n >= next) {
			whole++;
			next += 4 + 1 + (whole < PS_ARRAY_LEN(IDS) ? LENS[whole] : 0);
			next += whole == 2 ? 4 : 0; /* the keep-alive */
		}
		memcpy(cut->p, b.p, n);
		cut->n = n;
		last = AW_MORE;
		assert_int_equal(frames_of(cut, STAGE_MAX, &last), whole);
		assert_int_equal(last, AW_MORE);
	}
	assert_int_equal(whole, PS_ARRAY_LEN(IDS));
	free(cut);
}

static enum acewire_step after_hand(uint32_t len)
{
	struct acewire_frame f;
	struct acewire_in in;
	enum acewire_step step;
	uint8_t head[4];

	b.n = 0;
	stage_hand(&b);
	stage_be32(head, len);
	stage_add(&b, head, 4);
	acewire_in_begin(&in, STAGE_KEY);
	acewire_in_feed(&in, b.p, b.n);
	assert_int_equal(acewire_in_next(&in, &f), AW_SHAKEN);
	step = acewire_in_next(&in, &f);
	acewire_in_end(&in);
	return step;
}

/* (f), at once: not after the bytes that it promises. */
static void test_absurd(void **state)
{
	(void)state;
	assert_int_equal(after_hand(0xffffffff), AW_ABSURD);
	assert_int_equal(after_hand(0x80000000), AW_ABSURD);
	assert_int_equal(after_hand(AW_IN_MAX), AW_ABSURD);
	assert_int_equal(after_hand(AW_IN_MAX - AW_HAND - 4 + 1), AW_ABSURD);
	assert_int_equal(after_hand(AW_IN_MAX - AW_HAND - 4), AW_MORE);
	assert_int_equal(after_hand(0), AW_MORE);
}

/* The longest message that fits comes; the byte behind it is one too many. */
static void test_longest(void **state)
{
	static uint8_t body[AW_IN_MAX - AW_HAND - 5];
	struct acewire_frame f;
	struct acewire_in in;

	(void)state;
	stage_hand(&b);
	stage_frame(&b, 99, body, sizeof(body));
	assert_int_equal(b.n, AW_IN_MAX);
	stage_str(&b, "x");
	for (size_t more = 0; more < 2; more++) {
		acewire_in_begin(&in, STAGE_KEY);
		acewire_in_feed(&in, b.p, AW_IN_MAX + more);
		assert_int_equal(acewire_in_next(&in, &f), AW_SHAKEN);
		assert_int_equal(acewire_in_next(&in, &f), AW_FRAME);
		assert_int_equal(f.len, sizeof(body));
		assert_int_equal(acewire_in_next(&in, &f), more ? AW_FLOOD : AW_MORE);
		acewire_in_feed(&in, "y", 1);
		assert_int_equal(acewire_in_next(&in, &f), AW_FLOOD);
		assert_int_equal(in.total, AW_IN_MAX);
		acewire_in_end(&in);
	}
}

/* Keep-alives are no frames, but they count as bytes. */
static void test_keepalives(void **state)
{
	static const uint8_t ZEROS[4096];
	struct acewire_frame f;
	struct acewire_in in;
	enum acewire_step step = AW_MORE;
	int rounds = 0;

	(void)state;
	stage_hand(&b);
	acewire_in_begin(&in, STAGE_KEY);
	acewire_in_feed(&in, b.p, b.n);
	assert_int_equal(acewire_in_next(&in, &f), AW_SHAKEN);
	while (step == AW_MORE && rounds++ < 100) {
		acewire_in_feed(&in, ZEROS, sizeof(ZEROS));
		step = acewire_in_next(&in, &f);
		assert_true(in.b.cap <= 4 * sizeof(ZEROS));
	}
	assert_int_equal(step, AW_FLOOD);
	assert_int_equal(rounds, 16);
	assert_int_equal(in.frames, 0);
	acewire_in_end(&in);
}

static void test_names(void **state)
{
	(void)state;
	for (int i = AW_MORE; i <= AW_NOMEM; i++)
		assert_true(strlen(acewire_step_name((enum acewire_step)i)) > 0);
	for (int i = BENC_OK; i <= BENC_BAD_BYTE; i++)
		assert_true(strlen(benc_rc_name((enum benc_rc)i)) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_secret, setup),
		cmocka_unit_test_setup(test_hand, setup),
		cmocka_unit_test_setup(test_id, setup),
		cmocka_unit_test_setup(test_reply, setup),
		cmocka_unit_test_setup(test_wrong_key, setup),
		cmocka_unit_test_setup(test_bittorrent, setup),
		cmocka_unit_test_setup(test_other, setup),
		cmocka_unit_test_setup(test_silent, setup),
		cmocka_unit_test_setup(test_pieces, setup),
		cmocka_unit_test_setup(test_cut, setup),
		cmocka_unit_test_setup(test_absurd, setup),
		cmocka_unit_test_setup(test_longest, setup),
		cmocka_unit_test_setup(test_keepalives, setup),
		cmocka_unit_test_setup(test_names, setup),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
