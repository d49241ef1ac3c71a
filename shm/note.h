/*
 * note.h -- short texts of the collector for everybody else: what a gauge can't say.
 *
 * Behind the gauges of the board, so the collector is the one writer. Each note is a
 * seqlock of its own: a reader tries NOTE_TRIES times and then has nothing, for once.
 * One row declares, names and documents a note.
 * Proof: tests/unit/test_note.c.
 */
#ifndef PEERSCOPE_SHM_NOTE_H
#define PEERSCOPE_SHM_NOTE_H

#include "shm/layout.h"
#include "shm/seg.h"

/* clang-format off */
#define NOTES(X) \
X(vpn_public_ip, "address that Gluetun has in the world") \
X(vpn_country, "where that is, as Gluetun says") \
X(vpn_city, "where that is, as Gluetun says") \
X(vpn_detail, "what is wrong with the VPN, and what mends it") \
X(vpn_role, "the role that Gluetun's control server lacks, as TOML") \
X(listen_error, "where the session can't listen, and why") \
X(geo_city, "the databases of places, as geonote.h has it") \
X(geo_asn, "the same") \
X(geo_more1, "the same") \
X(geo_more2, "the same") \
X(geo_more3, "the same") \
X(geo_more4, "the same") \
X(geo_more5, "the same") \
X(geo_more6, "the same") \
X(engine_detail, "why the AceStream engine does not answer") \
X(geo_online_detail, "what is wrong with the last answer of the web service for places") \
X(redis_detail, "why Redis does not answer, or the error with which it did") \
X(tracker_failure, "the tracker that failed last, how, and what it said, a blank between")
/* clang-format on */

enum note {
#define X(name, help) NOTE_##name,
	NOTES(X)
#undef X
	NOTE_N,
};

#define NOTE_SIZE SHM_NOTE_BYTES	/* of a buffer: text and its NUL */
#define NOTE_TRIES 64

/* Bytes of the board before the notes, and of all notes; for seg.c. */
size_t note_at(void);
size_t note_bytes(void);

/* Collector: notes are ours from now on, and empty; one that its predecessor left half
 * written is whole again. NULL: note_set goes nowhere, as before the first call. */
void note_own(struct seg *seg);
/* Cut to NOTE_SIZE - 1 bytes, between two characters of UTF-8. The same text again costs
 * nothing. */
void note_set(enum note n, const char *text);
/* Any side. -1 and "" if the note did not stand still. */
PS_MUST int note_get(const struct seg *seg, enum note n, char out[NOTE_SIZE]);

#endif
