/*
 * acewire.h -- the AceStream peer wire as bytes: what we send (66 of them), what comes
 * back, and what it says about a peer. Pure: no socket, no clock; ace.c has those.
 *
 * Numbers are as in contracts/acestream-wire.md (sections named below), which is also
 * the source of every layout; bencode is BEP 3, id 20 is BEP 10. All of it is what a
 * peer says of itself or of others: nothing is proven but the node id, by its signature.
 * acewire.c: handshake and frames; acewire_told.c: messages; acewire_show.c: section 4.
 * Proof: tests/unit/test_acewire.c, tests/unit/test_acetold.c, tests/fuzz/fuzz_ace.c.
 */
#ifndef PEERSCOPE_COLLECTOR_ACEWIRE_H
#define PEERSCOPE_COLLECTOR_ACEWIRE_H

#include <stddef.h>
#include <stdint.h>

#include "collector/benc.h"
#include "common/addr.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/ident.h"

#define AW_HAND 66			/* bytes of a handshake: 1 + 17 + 8 + 20 + 20 */
#define AW_HAND_ID 46			/* where its peer_id begins; an engine pauses there */
#define AW_ID_LEN 20			/* peer_id, new in each session */
#define AW_IN_MAX BENC_MAX		/* bytes that one connection may bring in all (9 B) */
#define AW_EXTENDED 20			/* id of the extended handshake (BEP 10) */
#define AW_RECS 64			/* neighbours kept per peer; an engine names 50 at most */
#define AW_CLIENT_MAX 48		/* with the final NUL */
#define AW_WHO_LEN 16

/* What a peer did not say, or said beyond reason. Values that may be told as -1
 * ("unknown" on the wire) stay -1: whoever asks "is it known" asks ">= 0". */
#define AW_UNTOLD INT64_MIN

/* ---- the key that hides node ids (section 8) -------------------------------------- */

struct acewire_secret {
	uint8_t key[32];
};

/* Once per life of the collector, before anything below; never stored, never sent. -1:
 * no random numbers, or libsodium refuses. */
PS_MUST int acewire_secret_make(struct acewire_secret *s, char err[ERRLEN]);

/* Engines listen there unless told otherwise: 8621 to 8623, and 7764 (section 1.5). */
int acewire_port(uint16_t port);

/* ---- handshake (section 2) --------------------------------------------------------- */

/* All that we ever send, with a peer_id of its own for each call. -1: no random bytes
 * to be had now; out is not to be sent. */
PS_MUST int acewire_hand(uint8_t out[AW_HAND], const uint8_t key[IH_LEN]);
/* "R", two letters or digits, dashes: a peer_id in their scheme. It is not required. */
int acewire_id_ok(const uint8_t id[AW_ID_LEN]);

/* ---- what came so far ---------------------------------------------------------------- */

enum acewire_step {
	AW_MORE,			/* nothing complete yet: read on */
	AW_SHAKEN,			/* the handshake is complete and right; comes once, first */
	AW_FRAME,			/* a message: see struct acewire_frame */
	/* Verdicts: hang up. They stay, whatever comes afterwards. */
	AW_BITTORRENT,			/* it speaks BitTorrent */
	AW_OTHER,			/* neither protocol */
	AW_WRONG_KEY,			/* another swarm than the one we named */
	AW_ABSURD,			/* a message longer than what may still come */
	AW_FLOOD,			/* the bytes that may come are over */
	AW_NOMEM,
};
const char *acewire_step_name(enum acewire_step step);

struct acewire_frame {
	uint8_t id;
	const uint8_t *body;		/* borrowed until the next feed or end */
	size_t len;			/* without the id: 0 .. AW_IN_MAX */
};

/* One connection's reader. Frames stand in a buffer that grows to AW_IN_MAX at most. */
struct acewire_in {
	struct buf b;
	size_t at;			/* of b: read already */
	uint32_t most;			/* bytes that may come: AW_IN_MAX, unless it is lowered
					 * before the first feed */
	uint32_t total;			/* bytes that came, up to most; 0: not one */
	uint32_t frames;		/* messages taken; keep-alives are none */
	enum acewire_step verdict;	/* AW_MORE while there is none */
	uint8_t shaken, over;
	uint8_t key[IH_LEN];
	uint8_t peer_id[AW_ID_LEN];	/* theirs, once shaken */
};

void acewire_in_begin(struct acewire_in *in, const uint8_t key[IH_LEN]);
/* Bytes from the socket, in pieces of any size. Invalidates the last frame. */
void acewire_in_feed(struct acewire_in *in, const void *bytes, size_t len);
/* Call until AW_MORE or a verdict. out is set with AW_FRAME alone. */
PS_MUST enum acewire_step acewire_in_next(struct acewire_in *in, struct acewire_frame *out);
/* Frees, and wipes what came: node ids are in it. Begun or zeroed memory. */
void acewire_in_end(struct acewire_in *in);

/* ---- what a peer told (section 3) -------------------------------------------------- */

enum acewire_sig {
	AW_SIG_NONE,			/* no node id, or no signature */
	AW_SIG_BAD,			/* it is not theirs, or has a wrong size: a fake */
	AW_SIG_GOOD,			/* who is set; its owner signed this, for yourip */
};

/* Bits of acewire_told.saw. */
#define AW_SAW_EXT 1u			/* extended handshake, id 20 */
#define AW_SAW_HAVE 2u			/* 4: the head moves */
#define AW_SAW_FIELD 4u			/* 5: live bitfield, with its first piece */
#define AW_SAW_PLAIN 8u			/* 5: plain bitfield, as VOD has it */
#define AW_SAW_TAIL 16u			/* 10: the oldest piece moves */
#define AW_SAW_STATUS 32u		/* 11 */
#define AW_SAW_PEX 64u			/* 12: recs */
#define AW_SAW_SOURCE 128u		/* 36: source_addr */

/* Ints of `mi` (3.3). Pieces are 0 .. 2^32 - 2, rates bytes per second up to 2^40; what
 * is beyond is AW_UNTOLD. The names are those of the wire. */
struct acewire_mi {
	int64_t min_piece, max_piece, position, live_window_size, lsp;
	int64_t download_window_end;
	int64_t distance_from_source;	/* hops; -1: the source itself, or idle */
	int64_t down_rate, up_rate;
	int64_t top_up_rate, top_session_up_rate;
	int64_t is_accessible;		/* 0, 1 */
	int64_t peer_type;
	int64_t time_from_source, ping_from_source;	/* milliseconds? (contract) */
	int64_t upload_rating, mam;	/* meaning unknown */
};

/* A neighbour as described in message 12: hearsay. Only the proven offsets are read. */
struct acewire_rec {
	uint8_t addr[ADDR_LEN];		/* IPv4-mapped; may be private, ours, anything */
	uint16_t port;			/* never 0 */
	uint8_t platform;		/* 0: not told */
	uint8_t has_id;			/* peer_id is set */
	uint8_t peer_id[AW_ID_LEN];
	uint32_t version;		/* as `v`; 0: not told */
	uint32_t asn;			/* 0: none */
	char geo_country[3], asn_country[3];	/* two capitals, or "" */
	int64_t min_piece, max_piece, position;	/* -1: not told */
};

/* All that one connection said, in one plain struct. Messages may come in any order. */
struct acewire_told {
	uint32_t saw;			/* AW_SAW_* */
	enum acewire_sig sig;
	uint8_t who[AW_WHO_LEN];	/* keyed hash of the node id; only with AW_SIG_GOOD */
	/* `yourip`: whom it says that it speaks to, as it sees him. Signed with the rest, so a
	 * handshake that others recorded and play to us says their address, not ours; IPv4-
	 * mapped, all 0 if it has a wrong size. */
	uint8_t has_yourip, yourip[ADDR_LEN];
	int64_t version;		/* `v`: 3021100 is 3.2.11 */
	int64_t platform;		/* 2: Linux; others are guesses (3.2) */
	int64_t port;			/* `p`, their listening port: 0 .. 65535 */
	int64_t asn;			/* 0 .. 2^32 - 1 */
	int64_t ts;			/* seconds of some clock of theirs */
	int64_t node_state;		/* 1: profile of a source */
	int64_t lsp;			/* newest source piece known, top level */
	char asn_country[3], geo_country[3];	/* two capitals, or "": none */
	uint8_t outpace;		/* its tell-tale (section 4): not the engine it claims */
	uint8_t source_like;		/* tell-tale of a source, as it shook hands (4 b) */
	struct acewire_mi mi;		/* max_piece, min_piece and window move with 4, 10, 11 */

	uint32_t stream;		/* of the first 4, 5 or 10; others are ignored */
	uint8_t has_stream;
	uint32_t field_first, field_bits, field_set;	/* id 5; plain: first is 0 */

	struct acewire_rec rec[AW_RECS];	/* one per address and port, newest words */
	uint32_t recs, recs_lost;	/* lost: no room */
	uint8_t source_addr[ADDR_LEN];	/* the first 36; zero: not told */
	uint16_t source_port;
	uint32_t sources_lost;		/* others that it named then */

	uint32_t malformed;		/* messages refused */
	enum benc_rc why;		/* of the last refused bencode; BENC_OK: none */
};

enum acewire_take {
	AW_TOOK,
	AW_IGNORED,			/* of no use to us, or unknown */
	AW_MALFORMED,			/* makes no sense; told is as it was, but for the count */
	AW_CONTENT,			/* id 7, content: close */
};

void acewire_told_begin(struct acewire_told *t);
/* One message. The raw node id is hashed here and goes no further. The first extended
 * handshake counts, further ones are ignored. */
PS_MUST enum acewire_take acewire_take(struct acewire_told *t, const struct acewire_frame *f,
				       const struct acewire_secret *secret);

/* ---- what is shown of it (section 4) ------------------------------------------------- */

enum acewire_kind { AW_KIND_UNKNOWN = 0, AW_LIVE = 1, AW_VOD = 2 };
enum acewire_role { AW_VIEWER = 0, AW_SOURCE_LIKE = 1, AW_SOURCE = 2 };

/* "Ace Stream 3.2.11 (Linux)"; "outpace (claims 3.2.11)"; without an extended handshake
 * what peer_id gives away (NULL: not known): "Ace Stream 3.x". Never empty. */
void acewire_client(char out[AW_CLIENT_MAX], const struct acewire_told *t,
		    const uint8_t *peer_id);
/* The same for a neighbour; "" if nothing was told of it. */
void acewire_rec_client(char out[AW_CLIENT_MAX], const struct acewire_rec *r);

enum acewire_kind acewire_kind(const struct acewire_told *t);
/* Newest piece that this peer knows of; -1: it says none. The swarm's head is the
 * greatest of these, a liar's too: judge it before others are measured by it. */
int64_t acewire_head(const struct acewire_told *t);
int64_t acewire_position(const struct acewire_told *t);	/* piece played; -1: unknown */
/* Fill of the live window, or share of a VOD's pieces: 0 .. 10000 hundredths of a percent;
 * -1: unknown. pieces of the VOD, 0: unknown (then its bits, rounded up to 8, count). */
int acewire_fill(const struct acewire_told *t, uint32_t pieces);
/* named: another peer's message 36 gives its address. */
enum acewire_role acewire_role(const struct acewire_told *t, int named);
/* Self-reported, bytes per second; -1: unknown. */
int64_t acewire_down_rate(const struct acewire_told *t);
int64_t acewire_up_rate(const struct acewire_told *t);

#endif
