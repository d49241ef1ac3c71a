/* acewire.c -- see acewire.h. The handshake both ways, and frames out of a stream. */
#include <string.h>
#include <sys/random.h>

#include <sodium.h>

#include "collector/acewire.h"

/* Both protocols begin with the length of their name, then the name. */
static const uint8_t ACE[] = "\x11"
			     "AceStreamProtocol";
static const uint8_t BITTORRENT[] = "\x13"
				    "BitTorrent protocol";
#define ACE_LEN (sizeof(ACE) - 1)
#define BITTORRENT_LEN (sizeof(BITTORRENT) - 1)
#define KEY_AT (ACE_LEN + 8) /* eight reserved bytes, which mean nothing */
_Static_assert(KEY_AT + IH_LEN == AW_HAND_ID, "the key ends where the peer_id begins");
_Static_assert(AW_HAND_ID + AW_ID_LEN == AW_HAND, "the peer_id ends the handshake");

/* What they call a version family, and the alphabet of what follows. */
#define FAMILY "R30------"
#define FAMILY_LEN (sizeof(FAMILY) - 1)
static const char ALPHABET[] =
	"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz.-";
_Static_assert(sizeof(ALPHABET) - 1 == 64, "six bits of a random byte choose one");

#define FRAME_HEAD 4

int acewire_secret_make(struct acewire_secret *s, char err[ERRLEN])
{
	if (sodium_init() < 0)
		return err_set(err, "libsodium can't be set up");
	if (getrandom(s->key, sizeof(s->key), 0) != (ssize_t)sizeof(s->key))
		return err_errno(err, "getrandom");
	return 0;
}

int acewire_port(uint16_t port)
{
	return (port >= 8621 && port <= 8623) || port == 7764;
}

/* ---- handshake ----------------------------------------------------------------- */

int acewire_hand(uint8_t out[AW_HAND], const uint8_t key[IH_LEN])
{
	uint8_t random[AW_ID_LEN - FAMILY_LEN];
	uint8_t *tail = out + AW_HAND_ID + FAMILY_LEN;

	/* The pool of a machine that just started may be empty: the loop does not wait. */
	if (getrandom(random, sizeof(random), GRND_NONBLOCK) != (ssize_t)sizeof(random))
		return -1;
	memset(out, 0, AW_HAND);
	memcpy(out, ACE, ACE_LEN);
	memcpy(out + KEY_AT, key, IH_LEN);
	memcpy(out + AW_HAND_ID, FAMILY, FAMILY_LEN);
	for (size_t i = 0; i < sizeof(random); i++)
		tail[i] = (uint8_t)ALPHABET[random[i] & 63];
	return 0;
}

static int is_alnum(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

int acewire_id_ok(const uint8_t id[AW_ID_LEN])
{
	return id[0] == 'R' && is_alnum(id[1]) && is_alnum(id[2]) &&
	       memcmp(id + 3, "------", 6) == 0;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Says what can be said of the first len bytes of a reply. */
static enum acewire_step judge(const uint8_t *p, size_t len, const uint8_t key[IH_LEN])
{
	if (len && memcmp(p, ACE, least(len, ACE_LEN)) != 0) {
		if (memcmp(p, BITTORRENT, least(len, BITTORRENT_LEN)) != 0)
			return AW_OTHER;
		return len < BITTORRENT_LEN ? AW_MORE : AW_BITTORRENT;
	}
	if (len > KEY_AT && memcmp(p + KEY_AT, key, least(len - KEY_AT, IH_LEN)) != 0)
		return AW_WRONG_KEY;
	return len < AW_HAND ? AW_MORE : AW_SHAKEN;
}

/* ---- the stream ---------------------------------------------------------------- */

void acewire_in_begin(struct acewire_in *in, const uint8_t key[IH_LEN])
{
	memset(in, 0, sizeof(*in));
	buf_init(&in->b, AW_IN_MAX);
	in->most = AW_IN_MAX;
	in->verdict = AW_MORE;
	memcpy(in->key, key, IH_LEN);
}

void acewire_in_end(struct acewire_in *in)
{
	if (in->b.p)
		sodium_memzero(in->b.p, in->b.cap);
	buf_free(&in->b);
	memset(in, 0, sizeof(*in));
}

void acewire_in_feed(struct acewire_in *in, const void *bytes, size_t len)
{
	size_t room = in->most - in->total;

	if (in->verdict != AW_MORE)
		return;
	if (len > room) {
		in->over = 1;
		len = room;
	}
	if (in->at) {
		in->b.len -= in->at;
		memmove(in->b.p, in->b.p + in->at, in->b.len);
		in->at = 0;
	}
	buf_add(&in->b, bytes, len);
	in->total += (uint32_t)len;
	if (in->b.failed)
		in->verdict = AW_NOMEM;
}

static enum acewire_step shake(struct acewire_in *in)
{
	const uint8_t *p = (const uint8_t *)in->b.p;
	enum acewire_step step = judge(p, in->b.len, in->key);

	if (step == AW_SHAKEN) {
		in->shaken = 1;
		memcpy(in->peer_id, p + AW_HAND_ID, AW_ID_LEN);
		in->at = AW_HAND;
	}
	return step;
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* A length is absurd as soon as it promises more than we would ever read: no need to
 * wait for the rest of it. */
static enum acewire_step next_frame(struct acewire_in *in, struct acewire_frame *out)
{
	for (;;) {
		const uint8_t *p = (const uint8_t *)in->b.p + in->at;
		size_t have = in->b.len - in->at;
		uint32_t len;

		if (have < FRAME_HEAD)
			return AW_MORE;
		len = be32(p);
		if (len > in->most - (in->total - have) - FRAME_HEAD)
			return AW_ABSURD;
		if (have - FRAME_HEAD < len)
			return AW_MORE;
		in->at += FRAME_HEAD + len;
		if (len == 0)
			continue; /* keep-alive */
		in->frames++;
		out->id = p[FRAME_HEAD];
		out->body = p + FRAME_HEAD + 1;
		out->len = len - 1;
		return AW_FRAME;
	}
}

enum acewire_step acewire_in_next(struct acewire_in *in, struct acewire_frame *out)
{
	enum acewire_step step;

	if (in->verdict != AW_MORE)
		return in->verdict;
	step = in->shaken ? next_frame(in, out) : shake(in);
	if (step == AW_MORE && in->over)
		step = AW_FLOOD;
	if (step > AW_FRAME)
		in->verdict = step;
	return step;
}

const char *acewire_step_name(enum acewire_step step)
{
	static const char *const NAMES[] = {
		[AW_MORE] = "more to come",
		[AW_SHAKEN] = "handshake",
		[AW_FRAME] = "message",
		[AW_BITTORRENT] = "speaks BitTorrent",
		[AW_OTHER] = "speaks something else",
		[AW_WRONG_KEY] = "another swarm",
		[AW_ABSURD] = "absurd length",
		[AW_FLOOD] = "too many bytes",
		[AW_NOMEM] = "out of memory",
	};

	PS_ASSERT((size_t)step < PS_ARRAY_LEN(NAMES));
	return NAMES[step];
}
