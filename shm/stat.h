/*
 * stat.h -- counters and gauges.
 *
 * A counter only goes up. Each process owns a block and is its only writer (the
 * master while the process is dead: it folds the block into `retired` and zeroes
 * it, so that totals never go backwards over a respawn). A gauge says how things
 * are now; the collector owns all of them (the board). One row declares, names,
 * documents, sums; `peerscope top` and GET /metrics show its text, which must be
 * clear alone.
 */
#ifndef PEERSCOPE_SHM_STAT_H
#define PEERSCOPE_SHM_STAT_H

#include <stdint.h>

#include "shm/httpstat.h"
#include "shm/layout.h"
#include "shm/seg.h"

/* clang-format off */
#define STAT_COUNTERS(X) \
X(http_connections, "connections accepted") \
X(http_connections_refused, "connections answered 503 at http.max_connections") \
X(http_requests, "requests answered") \
X(http_2xx, "answers 2xx") \
X(http_304, "answers 304") \
X(http_4xx, "answers 4xx") \
X(http_5xx, "answers 5xx") \
X(http_gate_refused, "requests the strict parser refused") \
X(http_ids_refused, "X-Request-Id headers not taken: twice, too long, or odd characters") \
X(http_sending_full, "questions answered 503 at http.max_sending") \
X(http_uploads_full, "uploads answered 503 at http.max_uploads") \
X(http_timeouts, "connections closed for taking too long") \
X(http_clients_gone, "clients that left before their answer") \
X(peers_hit, "peers questions answered from a kept body") \
X(peers_rendered, "bodies rendered") \
X(peers_stale, "stale answers served at once") \
X(peers_parked, "questions that waited for the collector: for peers, and for metadata") \
X(peers_park_full, "questions answered 503 at http.max_parked") \
X(peers_park_late, "parked questions whose own deadline came first") \
X(peers_torn, "slots that stayed torn") \
X(body_cache_evicted, "kept bodies dropped for room") \
X(lane_full, "jobs refused by a full lane") \
X(lane_bad, "lanes that made no sense and were emptied") \
X(lane_old, "completions for a request that was gone") \
X(done_lost, "completions without room in their lane: its worker takes none") \
X(jobs, "jobs taken") \
X(jobs_refused, "jobs refused at a limit") \
X(cold_limited, "questions answered 503 at swarm.cold_rate") \
X(cold_given, "tokens of cold lookups that came back: no swarm was joined") \
X(cold_forgotten, "clients whose cold bucket made room for another client's") \
X(waiters_refused, "questions answered 503 at swarm.max_waiters") \
X(trackers_left_out, "trackers not asked at swarm.max_trackers, with each join") \
X(joins, "swarms joined") \
X(leaves, "swarms left") \
X(swarms_evicted, "swarms left early at swarm.max_swarms") \
X(swarms_merged, "swarms that were one: the two hashes of a hybrid torrent") \
X(swarm_ids_evicted, "ids of a swarm dropped for another id of it: 8 are kept") \
X(publishes, "versions published") \
X(publish_full, "publications without room") \
X(table_evicted, "slots dropped for room") \
X(places_full, "places without room: looked up again after the next compaction") \
X(names_compacted, "compactions of names and places") \
X(controls, "control probes begun") \
X(controls_silent, "control probes that reached nobody") \
X(peers_learned, "endpoints learned") \
X(peers_contacted, "peers that completed a handshake for the first time") \
X(peers_expired, "peers not heard of for swarm.peer_expiry") \
X(peers_evicted, "peers dropped at swarm.max_peers") \
X(peers_refused, "endpoints refused: private, ours, port 0") \
X(given_limited, "peers of x.pe not taken at swarm.cold_rate") \
X(given_lost, "peers of x.pe not taken for want of room or of a collector") \
X(lt_events, "events from the BitTorrent session") \
X(lt_events_dropped, "events lost to a full queue") \
X(lt_alerts_dropped, "times the session lost alerts") \
X(recoveries, "times the network came back or changed and sockets were bound anew") \
X(net_overruns, "netlink overruns: what is there was asked for anew") \
X(net_polls, "looks at the network for want of netlink") \
X(announces_deferred, "swarms joined again within swarm.announce_gap: trackers are asked later") \
X(visits, "peers dialled in a second way, or again") \
X(visits_lost, "visits that could not be made: the swarm was left meanwhile") \
X(dht_rescues, "times the DHT had no nodes and was helped") \
X(dht_saves, "times the nodes of the DHT were written down") \
X(state_saves, "times known peers were written down") \
X(state_taken, "swarms whose peers an earlier life had written down") \
X(state_left_out, "swarms that were not written down: the file was full") \
X(geo_lookups, "addresses looked up") \
X(geo_hits, "addresses whose place a database knew") \
X(geo_opened, "databases of places taken into use") \
X(geo_refused, "databases of places not taken: damaged, cut short, not readable") \
X(geo_missing, "times a database of places was not there") \
X(geo_put_off, "databases of places not read for want of room, memory or a sound disk: tried again") \
X(geo_again, "peers looked up again: a database is another one") \
X(geo_online_asked, "addresses that the web service was asked about") \
X(geo_online_answered, "addresses that the web service answered for: with a place, or that there is none") \
X(geo_online_failed, "addresses that the web service did not answer for, or not well") \
X(geo_online_limited, "addresses that the web service refused because we ask too much") \
X(geo_online_redis, "addresses whose place was known from Redis") \
X(geo_online_hits, "addresses whose place the web service had told before") \
X(geo_online_dropped, "addresses that waited to be asked about and gave way to others") \
X(geo_online_evicted, "answers of the web service dropped from memory for room") \
X(redis_commands, "Redis commands sent") \
X(redis_errors, "Redis commands that failed or timed out") \
X(redis_skipped, "Redis commands not sent: down or too many under way") \
X(redis_connects, "Redis connections made") \
X(redis_lost, "Redis connections that ended, were given up, or could not be made") \
X(vpn_ports, "forwarded ports taken from Gluetun") \
X(redis_gets_late, "Redis answers that came too late for who asked") \
X(tier_hits, "cold questions answered from a list in Redis, without a join") \
X(tier_misses, "cold questions that Redis had no answer for") \
X(tier_bad, "values in Redis that were no list, or not a true one") \
X(tier_late, "cold questions that did not wait any longer for Redis") \
X(tier_full, "cold questions that did not ask Redis: too many did already") \
X(claims_won, "swarms that we join for all nodes") \
X(claims_lost, "cold questions that waited for another node's list") \
X(claims_idle, "cold questions that got no list of another node in time, so that we joined") \
X(engine_asked, "ids that the AceStream engine was asked about") \
X(engine_failed, "questions that the engine did not answer, or not well") \
X(engine_known, "ids whose meaning was known from memory") \
X(engine_redis, "ids whose meaning was known from Redis") \
X(engine_full, "ids taken as they are: too many are asked about already") \
X(engine_evicted, "meanings of ids dropped from memory for room") \
X(engine_moved, "ids that were found to mean another swarm") \
X(ace_lookups, "DHT look-ups of AceStream swarms") \
X(ace_announces, "announces to acestream.trackers") \
X(ace_tracker_failures, "announces to acestream.trackers that failed") \
X(ace_trackers_private, "trackers not asked: their address is private") \
X(ace_found, "endpoints named by look-ups and announces, each time they were") \
X(ace_found_lost, "endpoints not taken: one look-up named more than 2,000") \
X(ace_find_full, "AceStream swarms not looked for: no room") \
X(ace_calls, "AceStream engines called") \
X(ace_connected, "calls that were accepted and heard our handshake") \
X(ace_answers, "calls answered in the AceStream protocol") \
X(ace_told, "calls in which the engine said who it is") \
X(ace_cut, "calls ended because of content, nonsense, too many bytes or an absurd length") \
X(ace_sources_lost, "further sources that an engine named in one call; the first is taken") \
X(ace_busy_all, "calls put off at acestream.connections") \
X(ace_busy_swarm, "calls put off at acestream.swarm_connections") \
X(ace_busy_address, "calls put off: that address is called already") \
X(ace_too_fast, "calls put off at acestream.connection_speed") \
X(ace_left_early, "engines not given time for their own end: too many take it") \
X(ace_replayed, "node ids not believed: signed for another address than ours") \
X(ace_past_lost, "engines that did not answer forgotten early: too many of them") \
X(ace_failed, "calls not made for want of a descriptor, memory or random bytes") \
X(meta_flights, "torrents whose metadata was looked for") \
X(meta_found, "torrents whose metadata was found and is in the cache") \
X(meta_found_ms, "time that finding meta_found took, all together; in top in milliseconds") \
X(meta_none, "torrents whose metadata nobody had in time") \
X(meta_redis_hits, "torrents whose metadata was found in Redis") \
X(meta_rejected, "metadata that was not believed: another torrent's, or no true one") \
X(meta_dead, "questions for metadata that nobody had lately") \
X(meta_full, "questions for metadata refused at metadata.flights") \
X(meta_idle_dropped, "torrents nobody waited for, given up for a question at metadata.flights") \
X(meta_uploads, "uploaded .torrent files read") \
X(meta_bad_uploads, "uploaded files that were no torrents") \
X(meta_uploads_full, "uploads answered 503: 64 wait to be read") \
X(meta_stored, "torrents whose metadata was written to disk") \
X(meta_refused, "torrents whose metadata was not written, or not looked at again: too many under way, or no room in the cache") \
X(meta_failed, "times the disk of the metadata cache refused") \
X(meta_evicted, "cached metadata removed for room") \
X(meta_bad, "damaged files of the metadata cache removed") \
X(meta_leftovers, "unfinished files of the metadata cache removed") \
X(meta_jobs, "async questions for metadata: nobody waits for them") \
X(meta_jobs_full, "async questions answered 503 at metadata.jobs") \
X(meta_jobs_failed, "async questions that ended without metadata") \
X(meta_jobs_resumed, "async questions taken over from a collector that died") \
X(meta_jobs_early, "ends of async questions forgotten early: metadata.jobs") \
X(meta_jobs_unsaved, "times the file of an async question could not be written") \
X(webhooks, "webhooks tried") \
X(webhooks_delivered, "webhooks answered 2xx") \
X(webhooks_denied, "webhooks to an address that may not be asked") \
X(webhooks_given_up, "webhooks that no try delivered") \
X(meta_batches, "batches of questions for metadata") \
X(meta_batches_full, "batches answered 503: too many items of others were under way") \
X(meta_served, "answers from the metadata cache") \
X(meta_looks_full, "answers from the metadata cache refused: too many large files were being looked through") \
X(meta_damaged, "files of the metadata cache that a worker found to be damaged") \
X(web_requests, "outgoing HTTP requests") \
X(web_errors, "outgoing HTTP requests without a whole answer") \
X(web_refused, "outgoing HTTP requests not made: too many under way") \
X(deaths_signal, "children that died by a signal") \
X(deaths_exit, "children that ended by themselves though they were wanted, or failed") \
X(deaths_late, "children killed for being late, or hung") \
X(config_reloads, "reloads done") \
X(config_refused, "reloads refused") \
X(upgrades, "upgrades in place that were done") \
X(upgrades_refused, "upgrades that were not: the new binary was no good, or could not serve")

#define STAT_GAUGES(X) \
X(lt_listening, "1: the session listens") \
X(dht_nodes, "nodes in the DHT table") \
X(state_swarms, "swarms that are written down") \
X(swarms, "swarms joined") \
X(waiters, "questions waiting for a swarm, or for metadata") \
X(peers, "peers remembered in joined swarms") \
X(connections, "open peer connections") \
X(listen_port, "port peers reach us on") \
X(redis_up, "1: Redis answers") \
X(redis_state, "how Redis is: 0 off, 1 connecting, 2 up, 3 down, 4 silent, 5 password, 6 denied, 7 loading, 8 full, 9 read-only, 10 cluster, 11 garbage, 12 another error") \
X(vpn_state, "the VPN: 0 off, 1 up, 2 down, 3 unauthorized, 4 dead namespace, 5 unreachable, 6 not known yet") \
X(vpn_since_s, "when vpn_state became so, seconds since 1970") \
X(vpn_port, "port that Gluetun forwards, 0: none") \
X(engine_state, "AceStream engine: 0 off, 1 unknown, 2 up, 3 down") \
X(engine_since_s, "when engine_state became so") \
X(ace_leaving, "calls to AceStream engines that are over, but for the end of the other side") \
X(ace_open, "AceStream engines being called") \
X(claims_held, "swarms joined for all nodes") \
X(redis_mode, "which Redis: 0 bundled, 1 external, 2 off") \
X(interface_ok, "1: swarm.interface can be used, or none is asked for") \
X(interface_why, "why swarm.interface cannot be used: 1 missing, 2 down, 3 no carrier, 4 no address, 5 not allowed") \
X(path, "verdict on the path: 0 unknown, 1 open, 2 blocked, 3 down") \
X(path_cause, "why the path is blocked or down: 0 unknown, 1 no tracker's name is found, 2 swarm.interface, 3 the VPN") \
X(path_udp, "verdict on UDP (trackers, DHT, uTP): 0 unknown, 1 open, 2 blocked, 3 down") \
X(path_tcp, "verdict on TCP (HTTP trackers, peers): 0 unknown, 1 open, 2 blocked, 3 down") \
X(path_since_s, "when the verdict on the path became what it is") \
X(path_reach, "can others call us: 0 unknown, 1 they do, 2 nobody does, 3 disconnected") \
X(path_udp_tracker_s, "last answer of a UDP tracker, 0: never") \
X(path_http_tracker_s, "last answer of an HTTP tracker") \
X(path_dht_s, "last message of the DHT") \
X(path_tcp_s, "last handshake with a peer that we dialled over TCP") \
X(path_utp_s, "last handshake over uTP") \
X(path_incoming_s, "last peer that called us") \
X(path_failed_s, "last failure of a tracker") \
X(path_failure, "how a tracker failed last: 1 silent, 2 name not found, 3 refused, 4 no way there, 5 an error answered, 6 garbage answered") \
X(path_udp_unanswered, "announces over UDP since anything came over UDP") \
X(path_tcp_unanswered, "announces and dials over TCP since anything came over TCP") \
X(path_dht_unanswered, "DHT messages sent since one came") \
X(path_names_failed, "trackers whose name was not found since one answered") \
X(path_control, "last control probe: 0 none yet, 1 answered, 2 silent, 3 under way") \
X(path_control_s, "when the last control probe ended") \
X(geo_databases, "databases of places in use") \
X(geo_city_built_s, "build time of the City database, 0: none") \
X(geo_asn_built_s, "build time of the ASN database, 0: none") \
X(geo_online_state, "web service for places: 0 off, 1 ready, 2 limited, 3 down, 4 spent") \
X(geo_online_waiting, "addresses that wait to be asked about") \
X(geo_online_known, "answers of the web service for places in memory") \
X(geo_online_left, "questions left of geo.online_daily") \
X(geo_online_used, "questions that the web service for places was asked that day") \
X(geo_online_day, "the day of geo_online_used, counted from 1970") \
X(meta_flying, "torrents whose metadata is looked for") \
X(meta_idle, "torrents whose metadata is looked for on though nobody had it in time") \
X(meta_uploads_waiting, "uploads that wait to be read") \
X(meta_jobs_kept, "async questions for metadata, ended ones too") \
X(meta_jobs_pending, "async questions for metadata that have not ended") \
X(meta_seeds, "swarms in which others get their metadata of us") \
X(meta_bytes, "bytes of the metadata cache on disk, in whole blocks of 4096") \
X(meta_entries, "torrents in the metadata cache; a hybrid counts for each of its hashes") \
X(meta_elsewhere, "1: metadata.cache_dir cannot be used, master.run_dir is instead") \
X(meta_unwritable, "1: the disk of the metadata cache refused the last torrent") \
X(slots_used, "slots of the peer table in use") \
X(chunks_used, "chunks of peers in use") \
X(chunks_reserved, "chunks whose memory is reserved") \
X(places_used, "places remembered") \
X(string_bytes, "bytes of names and texts")
/* clang-format on */

enum vpn_state {			/* what the gauge vpn_state says: values stay */
	VPN_OFF = 0,			/* vpn.gluetun_url is empty */
	VPN_UP = 1,
	VPN_DOWN = 2,			/* Gluetun is there, its VPN is not */
	VPN_UNAUTHORIZED = 3,		/* it tells us nothing, and the health port neither */
	VPN_DEAD_NAMESPACE = 4,		/* our network is that of a container that is gone */
	VPN_UNREACHABLE = 5,		/* nobody answers, and it is not that */
	VPN_UNKNOWN = 6,		/* asked, no answer yet */
};
const char *vpn_state_name(enum vpn_state s);	/* as on /health */

enum stat_counter {
#define X(name, help) STAT_##name,
	STAT_COUNTERS(X)
#undef X
	STAT_COUNTER_N,
};
enum stat_gauge {
#define X(name, help) GAUGE_##name,
	STAT_GAUGES(X)
#undef X
	STAT_GAUGE_N,
};

struct stat_meta {
	const char *name, *help;
};
extern const struct stat_meta stat_counters[STAT_COUNTER_N];
extern const struct stat_meta stat_gauges[STAT_GAUGE_N];

/* One process's block: counters, then the cells of httpstat.h; whole cache lines. */
#define STAT_BLOCK_WORDS (STAT_COUNTER_N + HTTPSTAT_CELLS)
#define STAT_BLOCK_BYTES \
	((STAT_BLOCK_WORDS * 8 + SHM_LINE - 1) / SHM_LINE * SHM_LINE)

/* Whose block this process writes; worker slot, dims.worker_slots (collector),
 * + 1 (master). Before the call, and after it with NULL, counts go nowhere. */
void stat_own(struct seg *seg, uint32_t block);
void stat_add(enum stat_counter c, uint64_t n);
#define stat_inc(c) stat_add(STAT_##c, 1)
void stat_gauge_set(enum stat_gauge g, uint64_t v);	/* collector */
#define stat_set(g, v) stat_gauge_set(GAUGE_##g, (v))

/* Sum over all blocks and the retired one; any side. */
uint64_t stat_total(const struct seg *seg, enum stat_counter c);
uint64_t stat_gauge_get(const struct seg *seg, enum stat_gauge g);
/* A gauge that is seconds since 1970: its name ends in _s. */
int stat_is_time(enum stat_gauge g);
/* For httpstat.c: the cells of our block, and their sums over all blocks. */
void stat_cell_add(uint32_t cell, uint64_t n);
void stat_cells(const struct seg *seg, uint64_t out[HTTPSTAT_CELLS]);
/* Master: the owner of a block was reaped. */
void stat_retire(struct seg *seg, uint32_t block);

#endif
