/*
 * conf.h -- every configuration key, once.
 *
 * One row of CONF_KEYS yields the field of struct conf, parser, bounds, default,
 * environment name (PEERSCOPE_<SECTION>_<KEY>), the line of `peerscope config`,
 * the decision of a reload, and the check that conf/peerscope.conf and
 * doc/peerscope.conf.5 speak of it. master/config.c parses; everybody else reads
 * a frozen struct conf, which is plain bytes: it is copied to the collector
 * through a file descriptor and holds no pointer.
 *
 *   X(section, key, TYPE, "default", min, max, HOW, "help")
 *
 * TYPE    field                      written as
 * STR     char s_k[max + 1]          text; min and max are lengths
 * SECRET  char s_k[max + 1]          the same, shown as ***; also from a _FILE
 * MS      uint64_t s_k_ms            30s, 1500ms, 10m, 1h, 1d
 * SIZE    uint64_t s_k_bytes         500b, 64k, 32m, 1g
 * INT     int64_t s_k                a number
 * BOOL    int s_k                    on, off, true, false, yes, no, 1, 0
 * REDIS_MODE, LOG_LEVEL, LOG_FORMAT  int s_k: a word, see conf_words()
 *
 * HOW     what a reload (HUP) does with a changed value
 * RELOAD  taken at once
 * RESTART the whole reload is refused, naming the key
 */
#ifndef PEERSCOPE_COMMON_CONF_H
#define PEERSCOPE_COMMON_CONF_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define CONF_MAX_WORKERS 32
#define CONF_MAX_LISTEN 4		/* addresses in http.listen */
#define CONF_SLOT_PEERS 2000		/* peers that one slot can hold */

/* clang-format off */
#define CONF_KEYS(X) \
X(master, run_dir, STR, "", 0, 200, RESTART, "directory of the pid file and the Redis socket; empty: /run/peerscope if it can be written, else a private directory in /dev/shm") \
X(master, user, STR, "", 0, 32, RESTART, "user to become when root starts us; empty: we stay who we are") \
X(master, drain_timeout, MS, "30s", 1000, 600000, RELOAD, "how long a draining worker may finish its requests before it is killed") \
X(http, listen, STR, "0.0.0.0:8080", 1, 400, RESTART, "where to serve HTTP, address:port or unix:/path, at most 4") \
X(http, trusted_proxies, STR, "", 0, 1000, RELOAD, "proxies whose X-Forwarded-For names the client: addresses, networks such as 10.0.0.0/8, unix:; empty: nobody's") \
X(http, workers, INT, "0", 0, CONF_MAX_WORKERS, RESTART, "number of HTTP worker processes; 0: one per core") \
X(http, max_parked, INT, "1024", 1, 16384, RESTART, "requests that one worker may hold while the collector looks; more are answered 503") \
X(http, max_connections, INT, "4096", 16, 65536, RELOAD, "open connections of one worker; more are answered 503") \
X(http, max_uri, SIZE, "8k", 256, 32768, RELOAD, "longest request target; longer is answered 414") \
X(http, max_header, SIZE, "16k", 1024, 65536, RELOAD, "all header lines of a request together; more is answered 431") \
X(http, max_body, SIZE, "64k", 0, 1048576, RELOAD, "largest request body; larger is answered 413") \
X(http, header_timeout, MS, "10s", 100, 300000, RELOAD, "a request (line, headers and body) must be complete this long after its first byte; else 408") \
X(http, idle_timeout, MS, "75s", 100, 3600000, RELOAD, "a kept-alive connection is closed after this long without a request; keep it above nginx's keepalive_timeout (60s)") \
X(http, write_timeout, MS, "30s", 100, 600000, RELOAD, "a client that takes no byte of its answer for this long is closed") \
X(http, body_cache, SIZE, "8m", 65536, 1073741824, RELOAD, "rendered answers that one worker keeps") \
X(http, max_uploads, SIZE, "64m", 0, 1073741824, RELOAD, "uploaded .torrent files, until they are answered, and batches that one worker holds at once, as far as they are longer than max_body; more are answered 503") \
X(http, max_sending, SIZE, "64m", 65536, 1073741824, RELOAD, "answers of one worker, rendered for one client each, that are not yet taken; more are answered 503") \
X(swarm, listen, STR, "0.0.0.0:42069,[::]:42069", 0, 400, RELOAD, "where peers reach us, address:port or device:port; empty: nowhere") \
X(swarm, interface, STR, "", 0, 15, RELOAD, "network device for all swarm traffic, both directions, e.g. tun0; without it nothing is joined; empty: any") \
X(swarm, trackers, STR, "udp://tracker.opentrackr.org:1337/announce,udp://open.demonii.com:1337/announce,udp://open.stealth.si:80/announce,udp://exodus.desync.com:6969/announce,udp://tracker.torrent.eu.org:451/announce", 0, 4000, RELOAD, "trackers asked for a bare infohash") \
X(swarm, max_trackers, INT, "20", 0, 64, RELOAD, "trackers per swarm, and as many that links name beside them; further ones are left out (90 trackers on 140 torrents took 2 GB in one report)") \
X(swarm, announce_gap, MS, "10m", 0, 86400000, RELOAD, "a swarm that was left and is asked for again is announced to trackers again only this long after the last time; 0: always at once") \
X(swarm, dht, BOOL, "on", 0, 1, RELOAD, "use the mainline DHT (BEP 5)") \
X(swarm, dht_bootstrap, STR, "dht.libtorrent.org:25401,dht.transmissionbt.com:6881,router.bt.ouinet.work:6881", 0, 1000, RELOAD, "DHT routers for a first start") \
X(swarm, dht_state, STR, "", 0, 1000, RELOAD, "file in which the nodes of the DHT are kept from one life to the next; empty: dht.state in master.run_dir") \
X(swarm, state, STR, "", 0, 1000, RELOAD, "file in which known peers of swarms are kept from one life to the next; empty: swarms.state beside swarm.dht_state; off: nowhere") \
X(swarm, lsd, BOOL, "off", 0, 1, RELOAD, "find peers on the local network by multicast (BEP 14); not with swarm.interface") \
X(swarm, allow_private, BOOL, "off", 0, 1, RELOAD, "accept loopback and private peers and trackers") \
X(swarm, discovery_wait, MS, "2s", 0, 20000, RELOAD, "how long a first question waits at most for the swarm to be known") \
X(swarm, linger, MS, "2m", 1000, 86400000, RELOAD, "a swarm nobody asked for is left after this") \
X(swarm, max_swarms, INT, "200", 1, 5000, RELOAD, "joined swarms; the one that was idle longest leaves for a new one") \
X(swarm, max_waiters, INT, "4096", 1, 65536, RELOAD, "questions that wait for swarms, of all workers; more are answered 503") \
X(swarm, alert_queue, INT, "10000", 16, 1000000, RELOAD, "alerts of the BitTorrent session that may wait; more are lost, and counted") \
X(swarm, event_queue, INT, "32768", 16, 1000000, RELOAD, "records about peers that may wait, 200 bytes each; more are dropped, and counted") \
X(swarm, cold_rate, INT, "600", 0, 1000000, RELOAD, "swarms a minute that one client may ask for and that are not joined yet; more are answered 503 (metadata: 429); 0: no limit") \
X(swarm, cold_burst, INT, "300", 1, 1000000, RELOAD, "the same at once, after a quiet time") \
X(swarm, control, STR, "", 0, 1000, RELOAD, "infohashes of swarms that always have peers, asked when the path is in doubt") \
X(swarm, max_peers, INT, "2000", 1, CONF_SLOT_PEERS, RELOAD, "peers remembered per swarm; the longest unseen leaves for a new one") \
X(swarm, peer_expiry, MS, "30m", 1000, 604800000, RELOAD, "a peer that was not heard of for this long leaves the list") \
X(swarm, connections, INT, "2000", 2, 16000, RELOAD, "open peer connections of all swarms; bounded by the descriptor limit too") \
X(swarm, connection_speed, INT, "200", 1, 2000, RELOAD, "new peer connections per second; lower it if the VPN or router stalls") \
X(swarm, half_open, INT, "500", 2, 16000, RELOAD, "connection attempts under way at once; a home router forgets its oldest ones beyond some hundreds") \
X(swarm, hold, MS, "90s", 3000, 86400000, RELOAD, "a peer that has told everything is let go after this, so that it and we can use the slot") \
X(swarm, keep, INT, "20", 0, 2000, RELOAD, "connections per swarm that are kept nevertheless: they tell of newcomers, and of progress") \
X(swarm, revisit, MS, "2m", 1000, 86400000, RELOAD, "peers that were let go are visited again after this, then after twice the time, and so on") \
X(swarm, revisit_max, MS, "30m", 1000, 86400000, RELOAD, "longest time between two visits") \
X(swarm, connect_boost, INT, "255", 0, 255, RELOAD, "connections opened at once for a new swarm, beside connection_speed") \
X(cache, ttl, MS, "30s", 100, 86400000, RELOAD, "an answer older than this is stale") \
X(cache, grace, MS, "10m", 0, 604800000, RELOAD, "a stale answer is served at once, and refreshed behind it, for this long") \
X(cache, max_peers, INT, "50", 1, CONF_SLOT_PEERS, RELOAD, "peers in an answer without ?limit=") \
X(redis, mode, REDIS_MODE, "bundled", 0, 2, RESTART, "bundled: run one beside us; external: use redis.url; off") \
X(redis, url, SECRET, "", 0, 500, RELOAD, "redis://[:password@]host[:port][/db] or unix:///path[?db=n]") \
X(redis, max_memory, SIZE, "32m", 2097152, 1099511627776, RESTART, "memory ceiling of the bundled Redis; the least recently used goes first") \
X(redis, claim, MS, "10s", 3000, 600000, RELOAD, "external: a claim to join a swarm for all nodes ends by itself after this, unless it is renewed") \
X(redis, timeout, MS, "1s", 10, 60000, RELOAD, "give up on a Redis command or connection after this") \
X(geo, city_db, STR, "", 0, 1000, RELOAD, "City database (MMDB)") \
X(geo, asn_db, STR, "", 0, 1000, RELOAD, "ASN database (MMDB)") \
X(geo, more_db, STR, "", 0, 4000, RELOAD, "further databases (MMDB), at most 6, asked after those two") \
X(geo, online, BOOL, "on", 0, 1, RELOAD, "ask a web service about addresses that no database knows: it learns them") \
X(geo, online_url, STR, "https://ipwho.is/", 1, 500, RELOAD, "which one; the address is put behind it") \
X(geo, online_rate, INT, "1", 1, 1000, RELOAD, "questions to it per second") \
X(geo, online_burst, INT, "60", 1, 100000, RELOAD, "the same at once, after a quiet time") \
X(geo, online_daily, INT, "10000", 0, 1000000000, RELOAD, "the same a day, from midnight UTC; 0: no limit") \
X(metadata, cache_dir, STR, "", 0, 1000, RELOAD, "directory of the metadata cache; empty: meta in master.run_dir") \
X(metadata, cache_size, SIZE, "1g", 1048576, 1125899906842624, RELOAD, "space that the metadata cache may take on disk; what was wanted longest ago goes first") \
X(metadata, timeout, MS, "30s", 100, 3600000, RELOAD, "how long who asks for metadata waits, at most; then nobody has it") \
X(metadata, flights, INT, "64", 1, 1024, RELOAD, "torrents whose metadata is looked for at once; more are answered 503") \
X(metadata, downloads, BOOL, "off", 0, 1, RELOAD, "serve .torrent files") \
X(metadata, base_url, STR, "http://localhost:8080", 0, 500, RELOAD, "prefix of download_url") \
X(metadata, seeding, BOOL, "on", 0, 1, RELOAD, "stay in swarms whose metadata was found, so that others get it") \
X(metadata, seed_time, MS, "30m", 1000, 604800000, RELOAD, "for so long") \
X(metadata, seed_count, INT, "50", 0, 5000, RELOAD, "in so many of them; the one whose time is over first leaves") \
X(metadata, jobs, INT, "256", 1, 4096, RELOAD, "questions with async=1 that are remembered; more are answered 503") \
X(metadata, job_timeout, MS, "10m", 1000, 86400000, RELOAD, "how long metadata is looked for when nobody waits: jobs, and what came too late for its asker") \
X(metadata, job_keep, MS, "1h", 1000, 604800000, RELOAD, "how long it is told how such a question ended") \
X(metadata, webhook_secret, SECRET, "", 0, 200, RELOAD, "key that webhooks are signed with; empty: none are sent") \
X(vpn, gluetun_url, STR, "", 0, 500, RELOAD, "control server of Gluetun, whose forwarded port is followed; empty: none") \
X(vpn, api_key, SECRET, "", 0, 200, RELOAD, "its API key") \
X(vpn, user, STR, "", 0, 100, RELOAD, "its user, for basic authentication") \
X(vpn, password, SECRET, "", 0, 200, RELOAD, "and the user's password") \
X(vpn, health_url, STR, "http://127.0.0.1:9999/", 0, 500, RELOAD, "health server of Gluetun, asked when the control server says nothing; empty: none") \
X(vpn, port_file, STR, "", 0, 1000, RELOAD, "file with the forwarded port, read when the control server does not tell it") \
X(vpn, exit_when_dead, BOOL, "off", 0, 1, RELOAD, "leave with code 1 when the Gluetun container whose network we share is gone") \
X(acestream, engine_url, STR, "", 0, 500, RELOAD, "AceStream engine that resolves content ids; empty: none, ids are infohashes") \
X(acestream, timeout, MS, "3s", 100, 10000, RELOAD, "how long the engine may take for one id, which is then taken as an infohash") \
X(acestream, peers, BOOL, "on", 0, 1, RELOAD, "call AceStream engines, who speak a protocol of their own; off: BitTorrent peers only") \
X(acestream, swarm_connections, INT, "8", 1, 1000, RELOAD, "engines of one swarm that are called at once") \
X(acestream, connections, INT, "64", 1, 4000, RELOAD, "the same of all swarms; bounded by the descriptor limit too") \
X(acestream, connection_speed, INT, "20", 1, 2000, RELOAD, "engines called per second; half a second's worth may be called at once") \
X(acestream, per_address, INT, "1", 1, 64, RELOAD, "engines behind one address that are called at once, over all swarms and ports") \
X(acestream, connect_time, MS, "3s", 100, 60000, RELOAD, "an engine must accept a call within this") \
X(acestream, reply_time, MS, "3s", 100, 60000, RELOAD, "then answer the handshake within this") \
X(acestream, tell_time, MS, "4s", 100, 60000, RELOAD, "then say who it is within this") \
X(acestream, listen_time, MS, "500ms", 0, 10000, RELOAD, "then it is listened to for this long, and hung up on") \
X(acestream, call_time, MS, "8s", 500, 120000, RELOAD, "a call ends after this in all") \
X(acestream, call_bytes, SIZE, "64k", 2048, 65536, RELOAD, "a call ends when an engine has sent so much") \
X(acestream, trackers, STR, "udp://t1.torrentstream.org:2710/announce", 0, 4000, RELOAD, "UDP trackers asked about AceStream swarms") \
X(acestream, lookup, MS, "15m", 1000, 86400000, RELOAD, "the DHT is asked again about an AceStream swarm after this") \
X(acestream, revisit, MS, "30m", 1000, 86400000, RELOAD, "an engine that answered is called again after this") \
X(acestream, second_look, MS, "40s", 1000, 3600000, RELOAD, "two or three engines of a swarm are called again after this, to see whether its stream moves on") \
X(acestream, other_protocol, MS, "30s", 1000, 3600000, RELOAD, "who takes a connection and says nothing is called in the other protocol after this, once") \
X(log, level, LOG_LEVEL, "notice", 0, 5, RELOAD, "fatal, error, warn, notice, info or debug") \
X(log, format, LOG_FORMAT, "text", 0, 1, RELOAD, "text or json") \
X(log, file, STR, "", 0, 1000, RELOAD, "append to this file instead of stderr; USR1 opens it again") \
X(shm, name, STR, "/peerscope", 2, 100, RESTART, "name of the shared memory segment") \
X(shm, swarms, INT, "5000", 16, 100000, RESTART, "slots of the peer table") \
X(shm, peers, SIZE, "32m", 1048576, 4294967296, RESTART, "ceiling of the peer pool; reserved in 1 MiB steps as it fills")
/* clang-format on */

#define CONF_FIELD_STR(s, k, max) char s##_##k[(max) + 1];
#define CONF_FIELD_SECRET(s, k, max) char s##_##k[(max) + 1];
#define CONF_FIELD_MS(s, k, max) uint64_t s##_##k##_ms;
#define CONF_FIELD_SIZE(s, k, max) uint64_t s##_##k##_bytes;
#define CONF_FIELD_INT(s, k, max) int64_t s##_##k;
#define CONF_FIELD_BOOL(s, k, max) int s##_##k;
#define CONF_FIELD_REDIS_MODE(s, k, max) int s##_##k;
#define CONF_FIELD_LOG_LEVEL(s, k, max) int s##_##k;
#define CONF_FIELD_LOG_FORMAT(s, k, max) int s##_##k;

struct conf {
#define X(s, k, type, def, min, max, how, help) CONF_FIELD_##type(s, k, max)
	CONF_KEYS(X)
#undef X
};

enum conf_type {
	CONF_STR, CONF_SECRET, CONF_MS, CONF_SIZE, CONF_INT, CONF_BOOL,
	CONF_REDIS_MODE, CONF_LOG_LEVEL, CONF_LOG_FORMAT,
};
enum conf_how { CONF_RELOAD, CONF_RESTART };

enum conf_redis_mode { REDIS_BUNDLED = 0, REDIS_EXTERNAL = 1, REDIS_OFF = 2 };
enum conf_log_format { LOG_TEXT = 0, LOG_JSON = 1 };

struct conf_key {
	const char *section, *key;
	enum conf_type type;
	const char *def;
	int64_t min, max;
	enum conf_how how;
	const char *help;
	size_t offset;			/* of the field in struct conf */
};

/* The table, in file order; n may be NULL. */
const struct conf_key *conf_keys(size_t *n);
/* "bundled", "external", ...: words of a word type, NULL-terminated; else NULL. */
const char *const *conf_words(enum conf_type type);
/* Set one field from text. 0, or -1 with e.g. "needs a unit, e.g. 1500ms". */
PS_MUST int conf_set(struct conf *c, const struct conf_key *k, const char *text,
		     char err[ERRLEN]);
/* The field as text, in the form that conf_set reads; secrets in the clear. */
void conf_text(const struct conf *c, const struct conf_key *k, char *out, size_t size);
/* All defaults; cannot fail (the table is checked by a unit test). */
void conf_defaults(struct conf *c);
/*
 * Next item of a comma-separated list: copies it, trimmed, into out; returns the
 * rest (perhaps ""), or NULL and an empty out when there was no item left:
 *	while ((list = conf_list_next(list, item, sizeof(item))))
 * Items that do not fit in out are an empty string, as are empty ones.
 */
const char *conf_list_next(const char *list, char *out, size_t size);

#endif
