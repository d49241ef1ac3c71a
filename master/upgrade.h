/*
 * upgrade.h -- USR2: another binary takes this process's place, by execve.
 *
 *	USR2 --> probe: a child runs the new binary with --takeover-check
 *	           | good                          | anything else: a line, nothing changed
 *	         no reload under way, slots free
 *	           | execve --takeover
 *	         the new image: same pid, locks, sockets, children, segment
 *	           | a worker generation of its own is ready     | it fails
 *	         old workers drain, the collector is renewed     execve --takeback: the old image
 *
 * The probe holds the very file that is executed afterwards (a descriptor, not a name), reads
 * the hand-over and the configuration, and looks at the segment, as the new image will.
 *
 * A segment of another layout, or of other sizes, can't stay: the new image makes one beside it
 * (own_segment_next), has it filled from swarm.state, which the old collector has just written,
 * and starts its workers there. It gets the name when they are ready. The old workers and the
 * old collector go on in the old one until the last request there is answered; then the new
 * collector starts, and until it does new questions wait for it (hold_ms in the header).
 *
 * What is handed over: handover.h. Proof: tests/e2e/test_upgrade.py.
 */
#ifndef PEERSCOPE_MASTER_UPGRADE_H
#define PEERSCOPE_MASTER_UPGRADE_H

#include <sys/types.h>

#include "common/err.h"
#include "master/handover.h"

#define UPGRADE_PROBE_MS 10000		/* the probe is killed then */
#define UPGRADE_SAVE_MS 5000		/* the collector has this long to write known peers */
#define UPGRADE_RESTORE_MS 5000		/* and a child to read them into a new segment */

struct cli;
struct master;

struct upgrade {
	char exe[HANDOVER_EXE];		/* what we were started from; "": not known */
	pid_t pid;			/* of the probe; 0: none */
	uint64_t due_ms;		/* when it is killed; UINT64_MAX: no probe */
	int exe_fd;			/* the file that is tried, or was found good; -1 */
	int said_fd;			/* what the probe says; -1 */
	int late;			/* the probe was killed for that */
	int go;				/* execute it, once this turn of the loop is over */
	struct handover *in;		/* what we were handed, until we serve; else NULL */
	int in_fd;			/* its memfd */
	const char *back_why;		/* go back to who handed it; NULL: no */
	uint64_t saving_ms;		/* the collector writes known peers down since then; 0 */
	int apart;			/* with a segment of its own */
	pid_t restorer;			/* that fills it; 0: none */
};

void upgrade_init(struct master *m);
void upgrade_ask(struct master *m);			/* USR2 */
/* A child was reaped that is in no row. 1: it was the probe. */
int upgrade_reaped(struct master *m, pid_t pid, int status);
/* The probe's time; and what go and back_why ask for. */
void upgrade_turn(struct master *m);

/* The new image: read what was handed over, before anything else. -1: err. */
PS_MUST int upgrade_receive(struct master *m, char err[ERRLEN]);
/* With m->conf loaded: everything is ours as it was begin()'s. -1: err. */
PS_MUST int upgrade_take(struct master *m, char err[ERRLEN]);
/* And the loop is about to run: a generation of our own. */
void upgrade_begin(struct master *m);
/* The generation of the new image serves. */
void upgrade_done(struct master *m);
/* A child is ready, or died: if it is the next collector, no question waits any more. */
void upgrade_let_go(struct master *m, int row);
/* Execute the image again that handed over to us. Returns only if that fails, or if
 * nobody did. */
void upgrade_back(struct master *m, const char *why);

/* The probe. Prints UPGRADE_GOOD as the start of its last line, or why not. Exit code. */
int upgrade_check(const struct cli *cli);
#define UPGRADE_GOOD "takeover: good, "

#endif
