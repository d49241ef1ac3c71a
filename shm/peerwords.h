/*
 * peerwords.h -- the words of a peer record and of a swarm. Plain C and C++:
 * lt.cc speaks them too. Values are stored in the segment: never renumber.
 */
#ifndef PEERSCOPE_SHM_PEERWORDS_H
#define PEERSCOPE_SHM_PEERWORDS_H

enum peer_state {		/* a list is ordered by this, downwards */
	PEER_KNOWN = 0,		/* heard of, never dialled */
	PEER_TRIED = 1,		/* dialled, no handshake came */
	PEER_CONTACTED = 2,	/* a handshake was completed at least once */
	PEER_CONNECTED = 3,	/* now */
};
enum peer_protocol {
	PEER_BITTORRENT = 0,
	PEER_ACESTREAM = 1,
	PEER_UNSPOKEN = 2,	/* a swarm's: nobody has answered in either yet */
};

#define PEER_SRC_TRACKER 1u
#define PEER_SRC_DHT 2u
#define PEER_SRC_PEX 4u
#define PEER_SRC_LSD 8u
#define PEER_SRC_INCOMING 16u
#define PEER_SRC_GIVEN 32u	/* x.pe: whoever asks for the swarm named it */

#define PEER_F_ENCRYPTED 1u
#define PEER_F_UTP 2u
#define PEER_F_SEED 4u
#define PEER_F_INTERESTED 8u	/* the peer wants something from us */
#define PEER_F_CHOKED 16u	/* the peer chokes us */
#define PEER_F_GOSSIPED 32u	/* AceStream: described by a neighbour (message 12) */

/* AceStream, contracts/acestream-wire.md 3.3 and 4. */
enum peer_role {
	ROLE_UNKNOWN = 0,
	ROLE_VIEWER = 1,
	ROLE_SOURCE_LIKE = 2,	/* looks like a source, by its own word alone */
	ROLE_SOURCE = 3,	/* and another peer named its address as the source */
};
enum ace_kind { KIND_UNKNOWN = 0, KIND_LIVE = 1, KIND_VOD = 2 };
enum peer_accessible { ACCESS_UNKNOWN = 0, ACCESS_NO = 1, ACCESS_YES = 2 };
enum peer_key { KEY_UNKNOWN = 0, KEY_INFOHASH = 1, KEY_CONTENT = 2 };
enum ace_motion {		/* of a swarm: do its pieces go on? */
	MOTION_UNPROVEN = 0,	/* one look, or none that can be compared */
	MOTION_ADVANCING = 1,	/* somebody's head has moved */
	MOTION_STALE = 2,	/* nobody's has, for long enough */
};
enum swarm_ace_mode {		/* which protocol is spoken to a swarm's peers */
	ACE_MODE_OFF = 0,	/* BitTorrent: acestream.peers is off, or it is a torrent's id */
	ACE_MODE_MAYBE = 1,	/* nobody knows yet: by port, then the other one */
	ACE_MODE_FIRST = 2,	/* an engine knows the id: AceStream */
	ACE_MODE_PINNED = 3,	/* AceStream, since its peers answer in it alone */
	ACE_MODE_BT = 4,	/* BitTorrent, for the same reason */
};

enum swarm_phase {
	SWARM_JOINING = 0,	/* the first round is under way: not yet an answer */
	SWARM_COLLECTING = 1,	/* the first round is done, more may come */
	SWARM_SETTLED = 2,	/* everybody known was asked, nobody new lately */
	SWARM_DEAD = 3,		/* every source was asked: nobody is there */
};
enum swarm_verdict {		/* of a swarm: is it the stream's fault, or the path's? */
	VERDICT_UNKNOWN = 0,	/* not enough was heard yet */
	VERDICT_ALIVE = 1,	/* peers were reached */
	VERDICT_THIN = 2,	/* peers are known, but hardly any can be reached */
	VERDICT_DEAD = 3,	/* the path works, and nobody is there */
	VERDICT_PATH_BLOCKED = 4, /* nothing can be said: our own way out is blocked */
};
enum path_verdict {		/* of our way to the world, for all swarms */
	PATH_UNKNOWN = 0,
	PATH_OPEN = 1,
	PATH_BLOCKED = 2,	/* we ask, and nobody answers */
	PATH_DOWN = 3,		/* swarm.interface or the VPN is down */
};
enum path_cause {		/* what is known of the reason */
	PATH_CAUSE_NONE = 0,
	PATH_CAUSE_NAMES = 1,	/* nothing is silent but trackers whose name is not found */
	PATH_CAUSE_INTERFACE = 2, /* swarm.interface can't be used */
	PATH_CAUSE_VPN = 3,	/* Gluetun says that its VPN is down */
};
/* The path's verdict, that of UDP and that of TCP in one byte: shm_swarm.path. */
#define PATH_PACK(all, udp, tcp) \
	((unsigned)(all) | (unsigned)(udp) << 2 | (unsigned)(tcp) << 4)
#define PATH_BECAUSE(cause) ((unsigned)(cause) << 6)	/* | to it */
#define PATH_CAUSE(packed) ((packed) >> 6 & 3u)
#define PATH_ALL(packed) ((packed) & 3u)
#define PATH_UDP(packed) ((packed) >> 2 & 3u)
#define PATH_TCP(packed) ((packed) >> 4 & 3u)
enum path_reach {		/* can others call us? */
	REACH_UNKNOWN = 0,
	REACH_CONNECTED = 1,	/* somebody did, lately */
	REACH_FIREWALLED = 2,	/* we reach others, and nobody calls */
	REACH_DISCONNECTED = 3,	/* the path is blocked or down */
};
enum swarm_resolved {		/* how an id became the infohash of its swarm */
	RESOLVED_TAKEN = 0,	/* the id is the infohash: no engine is configured */
	RESOLVED_ENGINE = 1,	/* a content id; the engine named the infohash */
	RESOLVED_SAME = 2,	/* the engine says that the id is an infohash */
	RESOLVED_NOT_FOUND = 3,	/* the engine does not know the id: taken as it is */
	RESOLVED_NO_ANSWER = 4,	/* the engine did not answer: taken as it is for now */
	RESOLVED_HYBRID = 5,	/* the other hash of a hybrid torrent (BEP 52) */
	RESOLVED_UNKNOWN = 255,	/* never in a slot: nothing is known of the id yet */
};
enum swarm_why {		/* why a list is empty; swarmjson has a sentence each */
	WHY_NONE = 0,
	WHY_JOINING = 1,	/* nothing heard yet */
	WHY_NOBODY = 2,		/* trackers and DHT answered, nobody there */
	WHY_NO_SOURCE = 3,	/* no tracker and no DHT to ask */
	WHY_TRACKERS_FAIL = 5,	/* no tracker answered, and the DHT is off */
	WHY_DHT_SILENT = 6,	/* there is only the DHT, and it found nobody */
	WHY_SILENCE = 7,	/* neither a tracker nor the DHT answered */
	WHY_TRACKERS_ERROR = 8,	/* trackers answered with errors, and no other source did */
	WHY_TRACKERS_NAMES = 9,	/* no tracker's name is found, and no other source answered */
	WHY_NOBODY_TRACKERS = 10, /* trackers answered, nobody there; the DHT is off */
	WHY_NOBODY_DHT = 11,	/* the DHT answered, nobody there; there is no tracker */
	WHY_NOBODY_NO_DHT = 12,	/* trackers answered, nobody there; the DHT is silent */
	WHY_NOBODY_NO_TRACKER = 13, /* the DHT answered, nobody there; no tracker answered */
	WHY_N,
};

#endif
