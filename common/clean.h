/*
 * clean.h -- names that strangers gave, made fit for a line of text.
 *
 * Bytes that are not UTF-8 become U+FFFD, one each. What is not to be seen, or turns the
 * reading order so that "exe.txt" may be neither (controls of ASCII and Latin-1, Unicode's
 * marks and overrides of direction, separators of lines), becomes an underscore, as does
 * each ASCII character of a set that the caller names. Nothing else changes: no letters
 * are folded, nothing is trimmed.
 * Proof: tests/unit/test_magnet.c, test_metainfo.c.
 */
#ifndef PEERSCOPE_COMMON_CLEAN_H
#define PEERSCOPE_COMMON_CLEAN_H

#include <stddef.h>

#include "common/err.h"

/*
 * At most size - 1 bytes and a NUL, whole characters only; the number of bytes. *used (may
 * be NULL) says how many of the len bytes went in: fewer than len if it was too long.
 */
size_t clean_text(char *out, size_t size, const void *s, size_t len, const char *set,
		  size_t *used);

/*
 * What looks like an address in a text of strangers (what a tracker or a web service says)
 * becomes as many stars, in place: the log names no peer above debug. IPv4 and IPv6, with or
 * without a port; rather a version number too much than an address too few.
 */
void clean_addresses(char *text);

#endif
