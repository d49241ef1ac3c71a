/*
 * verdictjson.c -- see verdictjson.h.
 */
#include "shm/verdictjson.h"

#include <string.h>

#include "shm/iface.h"
#include "shm/note.h"
#include "shm/stat.h"

const char *verdict_name(uint64_t verdict)
{
	static const char *const name[] = {"unknown", "alive", "thin", "dead",
					   "path-blocked"};

	return verdict < PS_ARRAY_LEN(name) ? name[verdict] : "unknown";
}

const char *path_name(uint64_t path)
{
	static const char *const name[] = {"unknown", "open", "blocked", "down"};

	return path < PS_ARRAY_LEN(name) ? name[path] : "unknown";
}

const char *reach_name(uint64_t reach)
{
	static const char *const name[] = {"unknown", "connected", "firewalled",
					   "disconnected"};

	return reach < PS_ARRAY_LEN(name) ? name[reach] : "unknown";
}

const char *failure_name(uint64_t failure)
{
	static const char *const name[] = {"none",        "silent",   "name",   "refused",
					   "unreachable", "answered", "garbage"};

	return failure < PS_ARRAY_LEN(name) ? name[failure] : "none";
}

const char *control_name(uint64_t control)
{
	static const char *const name[] = {"none", "answered", "silent", "running"};

	return control < PS_ARRAY_LEN(name) ? name[control] : "none";
}

/* With some verdicts the reason is known. */
static const char *cause_text(unsigned path)
{
	switch (PATH_CAUSE(path)) {
	case PATH_CAUSE_NAMES:
		return "names of trackers are not found: check the resolver (DNS)";
	case PATH_CAUSE_INTERFACE:
		return "the network device (swarm.interface) is down or can't be used; "
		       "interface_error of /health says why";
	case PATH_CAUSE_VPN:
		return "the VPN is down, says Gluetun; vpn of /health has more";
	default: return NULL;
	}
}

static const char *blocked_text(unsigned path)
{
	if (cause_text(path))
		return cause_text(path);
	if (PATH_ALL(path) == PATH_DOWN)
		return "the network device or the VPN is down";
	if (PATH_UDP(path) == PATH_BLOCKED && PATH_TCP(path) == PATH_OPEN)
		return "UDP (trackers, DHT) is silent while TCP works: the fault lies on our way out";
	if (PATH_TCP(path) == PATH_BLOCKED && PATH_UDP(path) == PATH_OPEN)
		return "UDP works and no peer answers over TCP in any swarm: the fault lies on our way out";
	return "everything that was asked is silent: the fault lies on our way out";
}

/* Of a swarm whose sources were silent for so long, "yet" is no word any more. */
#define SILENT_LONG_S 15u

static int for_long(const struct shm_swarm *s)
{
	return s->phase == SWARM_DEAD ||
	       (s->joined_at_s &&
		s->cached_at_ms / 1000 >= (uint64_t)s->joined_at_s + SILENT_LONG_S);
}

/* A source answered, and knows nobody; but is the way out what it was? */
static const char *nobody_text(const struct shm_swarm *s)
{
	if (!for_long(s))
		return "nobody was found so far, and it is too early to call the swarm dead";
	return "nobody was found, and nothing has proven lately that the way out works";
}

static const char *silent_text(const struct shm_swarm *s)
{
	if (!for_long(s))
		return "nothing that was asked has answered yet";
	if (s->why == WHY_SILENCE)
		return "neither trackers nor the DHT answer; too little to decide: set "
		       "swarm.control";
	if (s->why == WHY_DHT_SILENT)
		return "the DHT does not answer; too little to decide: set swarm.control "
		       "or swarm.trackers";
	if (s->trackers == 1)
		return "the one tracker that was asked does not answer; too little to "
		       "decide: set swarm.control or further trackers";
	return "no tracker that was asked answers; too little to decide: set "
	       "swarm.control or further trackers";
}

static const char *unknown_text(const struct shm_swarm *s)
{
	if (s->total_peers)
		return "peers are known and not all of them were dialled yet";
	switch (s->why) {
	case WHY_NO_SOURCE: return "there is no tracker and no DHT to ask";
	case WHY_TRACKERS_ERROR:
		return "trackers answered with an error, and nobody else has answered: "
		       "trackers.last_failure";
	case WHY_TRACKERS_NAMES:
		return "names of trackers are not found: check the resolver (DNS)";
	default: break;
	}
	return s->trackers_ok || s->dht_at_s ? nobody_text(s) : silent_text(s);
}

/* Engines are called less often than peers are dialled: what stands for them is older. */
static const char *alive_text(const struct shm_swarm *s)
{
	int called = s->ace_mode == ACE_MODE_MAYBE || s->ace_mode == ACE_MODE_FIRST ||
		     s->ace_mode == ACE_MODE_PINNED;

	return called && s->reachable
		       ? "AceStream peers answered a call within acestream.revisit and "
			 "five minutes (35 minutes unless it was changed)"
		       : "peers were reached in the last ten minutes";
}

const char *verdict_text(const struct shm_swarm *s)
{
	switch (s->verdict) {
	case VERDICT_ALIVE: return alive_text(s);
	case VERDICT_THIN:
		return s->reached
			       ? "hardly any of the peers that are known can be reached"
			       : "peers are known, and none of them can be reached";
	case VERDICT_DEAD:
		return "the way out works, the sources answer, and nobody is there";
	case VERDICT_PATH_BLOCKED: return blocked_text(s->path);
	default: return unknown_text(s);
	}
}

static void put_path(struct json *j, unsigned path)
{
	json_obj(j, "path");
	json_str(j, "verdict", path_name(PATH_ALL(path)));
	json_str(j, "udp", path_name(PATH_UDP(path)));
	json_str(j, "tcp", path_name(PATH_TCP(path)));
	json_obj_end(j);
}

static void put_peers(struct json *j, const struct shm_swarm *s)
{
	uint32_t others = s->tried + s->contacted + s->connected;

	json_obj(j, "peers");
	json_uint(j, "known", s->total_peers > others ? s->total_peers - others : 0);
	json_uint(j, "tried", s->tried);
	json_uint(j, "contacted", s->contacted);
	json_uint(j, "connected", s->connected);
	json_uint(j, "reached_lately", s->reached);
	json_bool(j, "incoming", s->incoming);
	json_obj_end(j);
}

/* said is "tracker kind text". */
static void put_failure(struct json *j, const char *said)
{
	size_t site = strcspn(said, " "), kind = 0;
	char text[256];

	if (said[site])
		kind = strcspn(said + site + 1, " ");
	if (!kind || strlen(said) >= sizeof(text) || !said[site + 1 + kind]) {
		json_null(j, "last_failure");
		return;
	}
	memcpy(text, said, strlen(said) + 1);
	text[site] = text[site + 1 + kind] = '\0';
	json_obj(j, "last_failure");
	json_str(j, "tracker", text);
	json_str(j, "kind", text + site + 1);
	json_str(j, "says", text + site + kind + 2);
	json_obj_end(j);
}

void dht_json(struct json *j, const struct shm_swarm *s)
{
	if (s->dht_at_s == 0) {
		json_null(j, "dht");
		return;
	}
	json_obj(j, "dht");
	json_uint(j, "peers", s->dht_peers);
	json_uint(j, "at", s->dht_at_s);
	json_obj_end(j);
}

void verdict_json(struct json *j, const struct shm_swarm *s, const char *said)
{
	json_str(j, "verdict", verdict_name(s->verdict));
	json_obj(j, "evidence");
	json_str(j, "says", verdict_text(s));
	put_path(j, s->path);
	put_peers(j, s);
	json_obj(j, "trackers");
	json_uint(j, "asked", s->trackers);
	json_uint(j, "answered", s->trackers_ok);
	put_failure(j, said);
	json_obj_end(j);
	dht_json(j, s);
	json_uint_known(j, "joined_at", s->joined_at_s, s->joined_at_s != 0);
	json_obj_end(j);
}

/* ---- the path, now ----------------------------------------------------------- */

static void put_at(struct json *j, const char *key, const struct seg *seg,
		   enum stat_gauge gauge)
{
	uint64_t at = stat_gauge_get(seg, gauge);

	json_uint_known(j, key, at, at != 0);
}

/* Without a collector nobody looks: what it was is history. */
static int nobody_looks(const struct seg *seg)
{
	return atomic_load_explicit(&seg_head(seg)->lease_pid, memory_order_acquire) == 0;
}

unsigned path_now(const struct seg *seg)
{
	if (nobody_looks(seg))
		return PATH_PACK(PATH_UNKNOWN, PATH_UNKNOWN, PATH_UNKNOWN);
	return PATH_PACK(stat_gauge_get(seg, GAUGE_path) & 3,
			 stat_gauge_get(seg, GAUGE_path_udp) & 3,
			 stat_gauge_get(seg, GAUGE_path_tcp) & 3) |
	       PATH_BECAUSE(stat_gauge_get(seg, GAUGE_path_cause) & 3);
}

const char *path_text(unsigned path)
{
	switch (PATH_ALL(path)) {
	case PATH_OPEN:
		if (PATH_UDP(path) == PATH_BLOCKED)
			return "peers are reached, but UDP (trackers, DHT) is silent";
		if (PATH_TCP(path) == PATH_BLOCKED)
			return "peers are reached, but nothing answers over TCP";
		return "answers come";
	case PATH_BLOCKED: return blocked_text(path);
	case PATH_DOWN: return blocked_text(path);
	default:
		return cause_text(path) ? cause_text(path)
					: "too little was asked or heard lately to tell";
	}
}

static void put_udp(struct json *j, const struct seg *seg, unsigned path)
{
	json_obj(j, "udp");
	json_str(j, "verdict", path_name(PATH_UDP(path)));
	put_at(j, "tracker_at", seg, GAUGE_path_udp_tracker_s);
	put_at(j, "dht_at", seg, GAUGE_path_dht_s);
	json_uint(j, "dht_nodes", stat_gauge_get(seg, GAUGE_dht_nodes));
	json_uint(j, "dht_unanswered", stat_gauge_get(seg, GAUGE_path_dht_unanswered));
	put_at(j, "utp_at", seg, GAUGE_path_utp_s);
	json_uint(j, "unanswered", stat_gauge_get(seg, GAUGE_path_udp_unanswered));
	json_obj_end(j);
}

static void put_tcp(struct json *j, const struct seg *seg, unsigned path)
{
	json_obj(j, "tcp");
	json_str(j, "verdict", path_name(PATH_TCP(path)));
	put_at(j, "tracker_at", seg, GAUGE_path_http_tracker_s);
	put_at(j, "handshake_at", seg, GAUGE_path_tcp_s);
	json_uint(j, "unanswered", stat_gauge_get(seg, GAUGE_path_tcp_unanswered));
	json_obj_end(j);
}

/* Of a device it is known what is wrong with it. */
static void put_says(struct json *j, const struct seg *seg, unsigned path)
{
	char text[ERRLEN];

	if (PATH_CAUSE(path) != PATH_CAUSE_INTERFACE) {
		json_str(j, "says", path_text(path));
		return;
	}
	(void)err_set(text, "the network device (swarm.interface) %s",
		      iface_why_text(stat_gauge_get(seg, GAUGE_interface_why)));
	json_str(j, "says", text);
}

static void put_tracker_failure(struct json *j, const struct seg *seg)
{
	char said[NOTE_SIZE];

	json_obj(j, "tracker_failure");
	put_at(j, "at", seg, GAUGE_path_failed_s);
	json_str(j, "kind", failure_name(stat_gauge_get(seg, GAUGE_path_failure)));
	json_uint(j, "names_not_found", stat_gauge_get(seg, GAUGE_path_names_failed));
	if (note_get(seg, NOTE_tracker_failure, said) != 0)
		said[0] = '\0';
	for (char *s = said; *s; s++)
		if ((uint8_t)*s < 0x20 || (uint8_t)*s >= 0x7f)
			*s = '?'; /* strangers chose it */
	put_failure(j, said);
	json_obj_end(j);
}

void path_json(struct json *j, const struct seg *seg)
{
	unsigned path = path_now(seg);
	uint64_t reach =
		nobody_looks(seg) ? REACH_UNKNOWN : stat_gauge_get(seg, GAUGE_path_reach);

	json_obj(j, "path");
	json_str(j, "verdict", path_name(PATH_ALL(path)));
	put_at(j, "since", seg, GAUGE_path_since_s);
	put_says(j, seg, path);
	json_str(j, "reachability", reach_name(reach));
	put_at(j, "incoming_at", seg, GAUGE_path_incoming_s);
	put_udp(j, seg, path);
	put_tcp(j, seg, path);
	put_tracker_failure(j, seg);
	json_obj(j, "control");
	json_str(j, "result", control_name(stat_gauge_get(seg, GAUGE_path_control)));
	put_at(j, "at", seg, GAUGE_path_control_s);
	json_obj_end(j);
	json_obj_end(j);
}
