/* acewire_told.c -- see acewire.h. One message at a time into what a peer told. */
#include <string.h>

#include <sodium.h>

#include "collector/acewire.h"

enum {
	HAVE = 4,
	FIELD = 5,
	CONTENT = 7,
	TAIL = 10,
	STATUS = 11,
	PEX = 12,
	EXTENDED = AW_EXTENDED,
	SOURCE = 36
};

#define PIECE_MAX ((int64_t)UINT32_MAX - 1) /* all ones say "unknown" */
#define RATE_MAX (1ll << 40)
#define ANY_MAX (1ll << 40)
#define VERSION_MAX 99999999 /* 99.99.99.99 */

#define NODE_ID_LEN crypto_sign_PUBLICKEYBYTES
#define SIGNATURE_LEN crypto_sign_BYTES

/* outpace, another implementation, passes for this engine. It does not know its network,
 * and begins its clock at 0 when it seeds, at about 5000 otherwise. */
#define OUTPACE_VERSION 3021100
#define OUTPACE_PLATFORM 2
#define OUTPACE_TS_LEAST 4500
#define OUTPACE_TS_MOST 5500

static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)be16(p) << 16 | be16(p + 2);
}

static uint64_t be64(const uint8_t *p)
{
	return (uint64_t)be32(p) << 32 | be32(p + 4);
}

/* An int between least and most, or AW_UNTOLD. */
static int64_t told_int(struct benc d, const char *key, int64_t least, int64_t most)
{
	int64_t n = benc_int(benc_get(d, key), AW_UNTOLD);

	return n >= least && n <= most ? n : AW_UNTOLD;
}

static int is_capital(uint8_t c)
{
	return c >= 'A' && c <= 'Z';
}

static void take_country(char out[3], const uint8_t *p, size_t len)
{
	memset(out, 0, 3);
	if (len == 2 && is_capital(p[0]) && is_capital(p[1]))
		memcpy(out, p, 2);
}

static int read_dict(struct acewire_told *t, struct benc *d, const uint8_t *p, size_t len)
{
	enum benc_rc rc = benc_read(d, p, len);

	if (rc != BENC_OK)
		t->why = rc;
	return rc == BENC_OK && benc_type(*d) == BENC_DICT;
}

/* The pieces that a peer holds are told in many messages. */
static void raise_max(struct acewire_told *t, int64_t piece)
{
	if (piece > t->mi.max_piece)
		t->mi.max_piece = piece;
}

/* ---- 20: extended handshake ------------------------------------------------------ */

/* SHA-256 of the dict with zeros for the signature. The dict passed the strict reader, so
 * its bytes are what the peer signed, or it did not sign them. */
static void digest(uint8_t out[crypto_hash_sha256_BYTES], struct benc d,
		   struct benc_span signature)
{
	static const uint8_t ZEROS[SIGNATURE_LEN];
	const uint8_t *rest = signature.p + signature.len;
	crypto_hash_sha256_state state;

	crypto_hash_sha256_init(&state);
	crypto_hash_sha256_update(&state, d.p, (size_t)(signature.p - d.p));
	crypto_hash_sha256_update(&state, ZEROS, sizeof(ZEROS));
	crypto_hash_sha256_update(&state, rest, (size_t)(d.p + d.len - rest));
	crypto_hash_sha256_final(&state, out);
}

static enum acewire_sig identify(struct acewire_told *t, struct benc d,
				 const struct acewire_secret *secret)
{
	struct benc_span node = benc_str(benc_get(d, "node_id"));
	struct benc_span signature = benc_str(benc_get(d, "signature"));
	uint8_t hash[crypto_hash_sha256_BYTES];

	if (!node.p || !signature.p)
		return AW_SIG_NONE;
	if (node.len != NODE_ID_LEN || signature.len != SIGNATURE_LEN)
		return AW_SIG_BAD;
	digest(hash, d, signature);
	if (crypto_sign_verify_detached(signature.p, hash, sizeof(hash), node.p) != 0)
		return AW_SIG_BAD;
	crypto_generichash(t->who, sizeof(t->who), node.p, node.len, secret->key,
			   sizeof(secret->key));
	return AW_SIG_GOOD;
}

static void read_yourip(struct acewire_told *t, struct benc_span s)
{
	t->has_yourip = s.p != NULL;
	if (s.p && s.len == ADDR_LEN)
		memcpy(t->yourip, s.p, ADDR_LEN);
	if (s.p && s.len == 4) {
		t->yourip[10] = t->yourip[11] = 0xff;
		memcpy(t->yourip + 12, s.p, 4);
	}
}

static void read_mi(struct acewire_mi *mi, struct benc d)
{
	const struct {
		const char *key;
		int64_t *to, most;
	} KEYS[] = {
		{"min_piece", &mi->min_piece, PIECE_MAX},
		{"max_piece", &mi->max_piece, PIECE_MAX},
		{"position", &mi->position, PIECE_MAX},
		{"live_window_size", &mi->live_window_size, PIECE_MAX},
		{"lsp", &mi->lsp, PIECE_MAX},
		{"download_window_end", &mi->download_window_end, PIECE_MAX},
		{"distance_from_source", &mi->distance_from_source, ANY_MAX},
		{"down_rate", &mi->down_rate, RATE_MAX},
		{"up_rate", &mi->up_rate, RATE_MAX},
		{"top_up_rate", &mi->top_up_rate, RATE_MAX},
		{"top_session_up_rate", &mi->top_session_up_rate, RATE_MAX},
		{"is_accessible", &mi->is_accessible, 1},
		{"peer_type", &mi->peer_type, ANY_MAX},
		{"time_from_source", &mi->time_from_source, ANY_MAX},
		{"ping_from_source", &mi->ping_from_source, ANY_MAX},
		{"upload_rating", &mi->upload_rating, ANY_MAX},
		{"mam", &mi->mam, ANY_MAX},
	};

	for (size_t i = 0; i < PS_ARRAY_LEN(KEYS); i++)
		*KEYS[i].to = told_int(d, KEYS[i].key, -1, KEYS[i].most);
}

static int is_outpace(const struct acewire_told *t, struct benc d)
{
	struct benc_span a = benc_str(benc_get(d, "asn_country"));
	struct benc_span g = benc_str(benc_get(d, "geoip_country"));

	return t->version == OUTPACE_VERSION && t->platform == OUTPACE_PLATFORM &&
	       t->asn == 0 && a.p && a.len == 0 && g.p && g.len == 0 &&
	       (t->ts == 0 || (t->ts >= OUTPACE_TS_LEAST && t->ts <= OUTPACE_TS_MOST));
}

/* A window whose player stands at its newest piece, and no rates: nobody plays there. */
static int is_source_like(const struct acewire_told *t, const struct acewire_mi *mi)
{
	return t->node_state == 1 && mi->min_piece >= 0 &&
	       mi->max_piece >= mi->min_piece && mi->position == mi->max_piece &&
	       mi->lsp == mi->max_piece && mi->download_window_end == mi->max_piece &&
	       mi->distance_from_source == -1 && mi->down_rate == 0 && mi->up_rate == 0 &&
	       mi->top_up_rate <= 0 && mi->top_session_up_rate <= 0;
}

static void read_top(struct acewire_told *t, struct benc d)
{
	struct benc_span a = benc_str(benc_get(d, "asn_country"));
	struct benc_span g = benc_str(benc_get(d, "geoip_country"));

	t->version = told_int(d, "v", 0, VERSION_MAX);
	t->platform = told_int(d, "platform", 0, UINT8_MAX);
	t->port = told_int(d, "p", 0, UINT16_MAX);
	t->asn = told_int(d, "asn", 0, UINT32_MAX);
	t->ts = told_int(d, "ts", 0, INT64_MAX);
	t->node_state = told_int(d, "node_state", -1, ANY_MAX);
	t->lsp = told_int(d, "lsp", -1, PIECE_MAX);
	take_country(t->asn_country, a.p, a.len);
	take_country(t->geo_country, g.p, g.len);
	t->outpace = (uint8_t)is_outpace(t, d);
}

void acewire_told_begin(struct acewire_told *t)
{
	struct benc none = {NULL, 0};

	memset(t, 0, sizeof(*t));
	read_top(t, none);
	read_mi(&t->mi, none);
}

static enum acewire_take on_extended(struct acewire_told *t,
				     const struct acewire_frame *f,
				     const struct acewire_secret *secret)
{
	struct acewire_mi mi;
	struct benc d;

	if (f->len == 0)
		return AW_MALFORMED;
	if (f->body[0] != 0 || (t->saw & AW_SAW_EXT))
		return AW_IGNORED;
	if (!read_dict(t, &d, f->body + 1, f->len - 1))
		return AW_MALFORMED;
	t->saw |= AW_SAW_EXT;
	t->sig = identify(t, d, secret);
	read_yourip(t, benc_str(benc_get(d, "yourip")));
	read_top(t, d);
	read_mi(&mi, benc_get(d, "mi"));
	t->source_like = (uint8_t)is_source_like(t, &mi);
	/* What 4, 5, 10 or 11 said before is older, but the head never goes back. */
	if (t->mi.max_piece > mi.max_piece)
		mi.max_piece = t->mi.max_piece;
	if (mi.min_piece < 0)
		mi.min_piece = t->mi.min_piece;
	if (mi.live_window_size < 0)
		mi.live_window_size = t->mi.live_window_size;
	t->mi = mi;
	return AW_TOOK;
}

/* ---- 4, 5, 10, 11: the window moves ---------------------------------------------- */

/* Pieces of two streams are no one window. What the number means is not known: the first
 * one that is spoken of is ours. */
static int other_stream(struct acewire_told *t, uint32_t stream)
{
	if (!t->has_stream) {
		t->has_stream = 1;
		t->stream = stream;
	}
	return t->stream != stream;
}

static enum acewire_take on_edge(struct acewire_told *t, const struct acewire_frame *f)
{
	int64_t piece;

	if (f->id == HAVE && f->len == 4)
		return AW_IGNORED; /* BEP 3: one of a VOD's pieces */
	if (f->len != 8)
		return AW_MALFORMED;
	piece = be32(f->body + 4);
	if (piece > PIECE_MAX)
		return AW_MALFORMED;
	if (other_stream(t, be32(f->body)))
		return AW_IGNORED;
	t->saw |= f->id == HAVE ? AW_SAW_HAVE : AW_SAW_TAIL;
	if (f->id == HAVE)
		raise_max(t, piece);
	else
		t->mi.min_piece = piece;
	return AW_TOOK;
}

/* Set bits among the first n; *last is the number of the last one. Bits behind the n-th
 * are no pieces, whatever they are. */
static uint32_t count_bits(const uint8_t *p, uint32_t n, uint32_t *last)
{
	uint32_t set = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (!(p[i / 8] & (0x80 >> (i % 8))))
			continue;
		set++;
		*last = i;
	}
	return set;
}

#define FIELD_HEAD 12

static enum acewire_take on_live_field(struct acewire_told *t, const uint8_t *p)
{
	uint32_t first = be32(p + 4), bits = be32(p + 8), last = 0;

	if ((int64_t)first + bits - 1 > PIECE_MAX)
		return AW_MALFORMED;
	if (other_stream(t, be32(p)))
		return AW_IGNORED;
	t->saw = (t->saw | AW_SAW_FIELD) & ~AW_SAW_PLAIN;
	t->field_first = first;
	t->field_bits = bits;
	t->field_set = count_bits(p + FIELD_HEAD, bits, &last);
	if (t->field_set)
		raise_max(t, (int64_t)first + last);
	return AW_TOOK;
}

/* The live form is known by its length alone: 12 bytes and exactly the bits that they
 * announce. Everything else is a VOD's. */
static enum acewire_take on_field(struct acewire_told *t, const struct acewire_frame *f)
{
	uint64_t bits = f->len >= FIELD_HEAD ? be32(f->body + 8) : 0;
	uint32_t last;

	if (bits && f->len == FIELD_HEAD + (bits + 7) / 8)
		return on_live_field(t, f->body);
	if (f->len == 0)
		return AW_MALFORMED;
	/* An empty window looks like 96 pieces, and a peer has one field. */
	if ((f->len == FIELD_HEAD && bits == 0) || (t->saw & AW_SAW_FIELD))
		return AW_IGNORED;
	t->saw |= AW_SAW_PLAIN;
	t->field_bits = (uint32_t)f->len * 8;
	t->field_set = count_bits(f->body, t->field_bits, &last);
	return AW_TOOK;
}

/* One-letter keys. Of those whose meaning is certain the window's are new to us; rates
 * among the rest are a guess, and not read (section 4). */
static enum acewire_take on_status(struct acewire_told *t, const struct acewire_frame *f)
{
	struct benc d;
	int64_t n;

	if (!read_dict(t, &d, f->body, f->len))
		return AW_MALFORMED;
	t->saw |= AW_SAW_STATUS;
	if ((n = told_int(d, "i", 0, PIECE_MAX)) >= 0)
		t->mi.min_piece = n;
	if ((n = told_int(d, "h", 1, PIECE_MAX)) > 0)
		t->mi.live_window_size = n;
	raise_max(t, told_int(d, "j", 0, PIECE_MAX));
	return AW_TOOK;
}

/* ---- 12, 36: others --------------------------------------------------------------- */

static void map_v4(uint8_t out[ADDR_LEN], const uint8_t *v4)
{
	memset(out, 0, ADDR_LEN);
	out[10] = out[11] = 0xff;
	memcpy(out + 12, v4, 4);
}

static int64_t wide_piece(const uint8_t *p)
{
	uint64_t n = be64(p);

	return n <= (uint64_t)PIECE_MAX ? (int64_t)n : -1;
}

static uint32_t below(uint32_t n, uint32_t most)
{
	return n <= most ? n : 0;
}

/* Offsets of a record of message 12; a record ends where the sender says. */
#define REC_ADDR 11
#define REC_PORT 15
#define REC_LEAST 17
#define REC_MIN 23
#define REC_MAX 31
#define REC_ID 39
#define REC_POSITION 79
#define REC_PLATFORM 95
#define REC_VERSION 96
#define REC_ASN 100
#define REC_GEO 104
#define REC_ASN_COUNTRY 106

static void read_rec(struct acewire_rec *r, const uint8_t *p, size_t size)
{
	memset(r, 0, sizeof(*r));
	r->min_piece = r->max_piece = r->position = -1;
	map_v4(r->addr, p + REC_ADDR);
	r->port = be16(p + REC_PORT);
	if (size >= REC_MIN + 8)
		r->min_piece = wide_piece(p + REC_MIN);
	if (size >= REC_MAX + 8)
		r->max_piece = wide_piece(p + REC_MAX);
	if (size >= REC_ID + AW_ID_LEN) {
		r->has_id = 1;
		memcpy(r->peer_id, p + REC_ID, AW_ID_LEN);
	}
	if (size >= REC_POSITION + 8)
		r->position = wide_piece(p + REC_POSITION);
	if (size >= REC_PLATFORM + 1)
		r->platform = (uint8_t)below(p[REC_PLATFORM], UINT8_MAX - 1);
	if (size >= REC_VERSION + 4)
		r->version = below(be32(p + REC_VERSION), VERSION_MAX);
	if (size >= REC_ASN + 4)
		r->asn = below(be32(p + REC_ASN), UINT32_MAX - 1);
	if (size >= REC_GEO + 2)
		take_country(r->geo_country, p + REC_GEO, 2);
	if (size >= REC_ASN_COUNTRY + 2)
		take_country(r->asn_country, p + REC_ASN_COUNTRY, 2);
}

static void keep_rec(struct acewire_told *t, const struct acewire_rec *r)
{
	uint32_t i = 0;

	while (i < t->recs && (t->rec[i].port != r->port ||
			       memcmp(t->rec[i].addr, r->addr, ADDR_LEN) != 0))
		i++;
	if (i == AW_RECS) {
		t->recs_lost++;
		return;
	}
	t->rec[i] = *r;
	t->recs += i == t->recs;
}

/* u8 ?, u16 count, u32 17, u32 size of a record, 5 bytes ?, records. 17 is where the
 * records begin, with the id counted; another number would be another layout. */
#define PEX_HEAD 16

static enum acewire_take on_pex(struct acewire_told *t, const struct acewire_frame *f)
{
	struct acewire_rec r;
	const uint8_t *p = f->body;
	uint32_t count, size;
	size_t left;

	if (f->len < PEX_HEAD || be32(p + 3) != PEX_HEAD + 1)
		return AW_MALFORMED;
	count = be16(p + 1);
	size = be32(p + 7);
	if (size < REC_LEAST)
		return AW_MALFORMED;
	t->saw |= AW_SAW_PEX;
	left = f->len - PEX_HEAD;
	for (p += PEX_HEAD; count > 0 && left >= size; count--, p += size, left -= size) {
		read_rec(&r, p, size);
		if (r.port)
			keep_rec(t, &r);
	}
	return AW_TOOK;
}

/* Four offsets, then what stands there: address, port, peer_id. A stream has one source:
 * the first one that a connection names. */
static enum acewire_take on_source(struct acewire_told *t, const struct acewire_frame *f)
{
	static const uint8_t LAYOUT[] = {0, 2, 0, 52, 0, 63, 0, 64};

	if (f->len != 80 || memcmp(f->body, LAYOUT, sizeof(LAYOUT)) != 0)
		return AW_MALFORMED;
	if (be16(f->body + 12) == 0)
		return AW_MALFORMED;
	if (t->saw & AW_SAW_SOURCE) {
		t->sources_lost += t->source_port != be16(f->body + 12) ||
				   memcmp(t->source_addr + 12, f->body + 8, 4) != 0;
		return AW_IGNORED;
	}
	t->saw |= AW_SAW_SOURCE;
	map_v4(t->source_addr, f->body + 8);
	t->source_port = be16(f->body + 12);
	return AW_TOOK;
}

/* ---- all -------------------------------------------------------------------------- */

static enum acewire_take take(struct acewire_told *t, const struct acewire_frame *f,
			      const struct acewire_secret *secret)
{
	switch (f->id) {
	case HAVE:
	case TAIL: return on_edge(t, f);
	case FIELD: return on_field(t, f);
	case CONTENT: return AW_CONTENT;
	case STATUS: return on_status(t, f);
	case PEX: return on_pex(t, f);
	case EXTENDED: return on_extended(t, f, secret);
	case SOURCE: return on_source(t, f);
	}
	return AW_IGNORED;
}

enum acewire_take acewire_take(struct acewire_told *t, const struct acewire_frame *f,
			       const struct acewire_secret *secret)
{
	enum acewire_take took = take(t, f, secret);

	t->malformed += took == AW_MALFORMED;
	return took;
}
