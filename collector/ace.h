/*
 * ace.h -- the sockets of the AceStream prober: one peek at one engine, politely.
 *
 *   connect --3 s--> 66 bytes, once --3 s--> its 66 --4 s--> its extended handshake
 *   (ACE_TOLD) --half a second of listening--> FIN (ACE_END); never more than 8 s
 *
 * Each of these is a key: connect_time, reply_time, tell_time, listen_time and call_time
 * of acestream; a change counts for calls under way, too, from their next step on.
 * Nothing but those 66 bytes is ever sent (contracts/acestream-wire.md 2, 9 B), and what
 * comes is bounded by acestream.call_bytes, 64 KiB (AW_IN_MAX) at most. acewire.h knows what the bytes mean; whom to call, and
 * when again, is acevisit.c's affair: there is no queue in here, who is refused is asked
 * for again later. On the collector's loop; no thread, nothing that waits.
 *
 * With swarm.interface every socket is bound to that device (SO_BINDTODEVICE) before it
 * is connected; where that fails, nothing is sent: ACE_UNREACHABLE. Source address and
 * port are the kernel's choice on that device; we are not called back there.
 * Proof: tests/unit/test_ace.c.
 */
#ifndef PEERSCOPE_COLLECTOR_ACE_H
#define PEERSCOPE_COLLECTOR_ACE_H

#include <stdint.h>

#include "collector/acewire.h"
#include "common/addr.h"
#include "common/conf.h"
#include "common/err.h"
#include "common/ident.h"

/* After our FIN, which ends the call, the other end has this long for its own. */
#define ACE_LEAVE_MS 3000
/* The pace (acestream.connection_speed) may be ahead by this much after a quiet time: a
 * small swarm is met at once, and no second sees more than one and a half times the pace. */
#define ACE_BURST_MS 500

struct event_base;
struct ace;				/* opaque */

/* One call. swarm and life are the asker's; they come back as they are. */
struct ace_target {
	uint8_t swarm[IH_LEN];		/* calls of one swarm are bounded together */
	uint32_t life;
	uint8_t addr[ADDR_LEN];
	uint16_t port;			/* not 0 */
	uint8_t key[IH_LEN];		/* what the handshake names */
};

enum ace_rc {
	ACE_STARTED,			/* there will be an ACE_END, unless it is hushed */
	ACE_BUSY_ALL,			/* acestream.connections; or acestream.peers is off */
	ACE_BUSY_SWARM,			/* acestream.swarm_connections */
	ACE_BUSY_ADDRESS,		/* acestream.per_address: behind it is a household or a
					 * rented machine, to whom a crowd is an attack */
	ACE_TOO_FAST,			/* acestream.connection_speed */
	ACE_FAILED,			/* no descriptor, memory or random bytes: later */
};

enum ace_what {
	ACE_SHAKEN,			/* its handshake came: it is an engine of this key */
	ACE_TOLD,			/* its extended handshake was read, once; told has also
					 * what came with it */
	ACE_MORE,			/* it said something after that: its bitfield, mostly;
					 * any number of times, or never */
	ACE_END,			/* once, last */
};

enum ace_outcome {
	ACE_DONE,			/* extended handshake read, however it ended then */
	ACE_SHOOK,			/* only the handshake: then it closed, was mute, sent
					 * content, a flood, nonsense */
	ACE_BITTORRENT,			/* it replied in BitTorrent */
	ACE_WRONG_KEY,			/* it replied for another swarm */
	ACE_OTHER,			/* it replied something else, or half a handshake */
	ACE_ZERO,			/* connected, and not one byte came: closed, reset, or
					 * acestream.reply_time of silence */
	ACE_REFUSED,			/* nobody listens there */
	ACE_TIMEOUT,			/* no answer to the SYN, or the network says no way */
	ACE_UNREACHABLE,		/* our own system: no route, the device is gone or may
					 * not be used, a firewall of ours, no memory */
	ACE_OUTCOMES,			/* how many there are */
};
const char *ace_outcome_name(enum ace_outcome how);

/* What is known by now; valid during the call alone. */
struct ace_seen {
	struct ace_target target;
	enum ace_what what;
	enum ace_outcome how;		/* ACE_END only */
	int connected;			/* TCP was accepted */
	uint32_t bytes_in;		/* that came so far, up to the bound */
	const struct acewire_told *told;	/* NULL until it shook hands */
	uint8_t peer_id[AW_ID_LEN];	/* theirs; zero unless has_peer_id */
	int has_peer_id;
	int replayed;			/* what it signed was not meant for us; of the caller */
};

/* From the loop, never from within a function of this header. May call ace_call and
 * ace_hush, but not ace_close. With ACE_END its place is free already. */
typedef void ace_fn(void *arg, const struct ace_seen *s);

/* Borrows base; conf is copied from. leave_ms: ACE_LEAVE_MS but in tests. */
PS_MUST int ace_open(struct ace **out, struct event_base *base, const struct conf *conf,
		     uint32_t leave_ms, ace_fn *fn, void *arg, char err[ERRLEN]);
void ace_close(struct ace **a);		/* no callbacks; NULL is fine */
/* New bounds and pace. If swarm.interface is another one, or acestream.peers is off now,
 * calls under way end soon (ACE_UNREACHABLE). */
void ace_configure(struct ace *a, const struct conf *conf);

/* The bounds are looked at in the order of enum ace_rc. */
PS_MUST enum ace_rc ace_call(struct ace *a, const struct ace_target *t);
/* Hang up on everybody of this swarm (NULL: of all), without a callback. */
void ace_hush(struct ace *a, const uint8_t *swarm);

struct ace_load {
	uint32_t open;			/* calls under way */
	uint32_t room;			/* calls that may begin now, as far as all swarms
					 * together and the pace go */
	uint32_t wait_ms;		/* until the pace allows the next; 0: it does */
};
void ace_load(const struct ace *a, struct ace_load *out);

/* Descriptors that calls may use under the process's own limit, half of them for those
 * that are over but for the other end's FIN (aceleave.h); 0: acestream.peers is off. The
 * BitTorrent session leaves them over (lt.cc). */
int ace_descriptors(const struct conf *conf);

#endif
