/*
 * topscreen.h -- the terminal of `peerscope top`: a picture that is longer than the screen is
 * looked at piece by piece, with the keys of a pager. Not a terminal: the picture as it is.
 * The folding and choosing is pure. Proof: tests/unit/test_shm.c, tests/e2e/test_top.py.
 */
#ifndef PEERSCOPE_SHM_TOPSCREEN_H
#define PEERSCOPE_SHM_TOPSCREEN_H

#include <stdio.h>
#include <termios.h>

#include "common/buf.h"

#define TOPSCREEN_HELP "arrows, space, b, g, G: move; q: leave"

struct topscreen {
	FILE *out;			/* borrowed */
	int tty_out, tty_in;
	struct termios before;
	size_t at;			/* first row that is shown */
};

/* Signals that end us are heard from here on. */
void topscreen_enter(struct topscreen *s, FILE *out);
void topscreen_leave(const struct topscreen *s);
/* As much of a picture as fits. 0, or -1: it could not be written. */
PS_MUST int topscreen_show(struct topscreen *s, const struct buf *picture);

enum topscreen_rc { TOPSCREEN_TIME = 0, TOPSCREEN_MOVED = 1, TOPSCREEN_LEAVE = 2 };
/* Until the time (clock_ms) of the next picture comes, the user moves, or has seen enough. */
enum topscreen_rc topscreen_wait(struct topscreen *s, uint64_t until_ms);

/* Text in rows of cols bytes at most; a row that goes on is indented. */
void topscreen_fold(struct buf *out, const char *text, size_t cols);
/* rows rows of a folded text from *at on, which is made less if the text ends before; the
 * last one says where we are, if there is more to see. */
void topscreen_page(struct buf *out, const char *text, size_t rows, size_t *at);
/* Where these bytes of a keyboard lead; 1: to the end of `top`. The page is rows long. */
int topscreen_keys(const char *keys, size_t len, size_t rows, size_t *at);

#endif
