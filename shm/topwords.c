/* topwords.c -- see topwords.h. */
#include "shm/topwords.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/conf.h"
#include "shm/engine.h"
#include "shm/iface.h"
#include "shm/online.h"
#include "shm/redishow.h"
#include "shm/verdictjson.h"

const char *topwords_age(char out[TOPWORDS_MAX], uint64_t ms)
{
	if (ms == UINT64_MAX)
		snprintf(out, TOPWORDS_MAX, "-");
	else if (ms < 10000)
		snprintf(out, TOPWORDS_MAX, "%" PRIu64 ".%" PRIu64 "s", ms / 1000,
			 ms % 1000 / 100);
	else if (ms < 600000)
		snprintf(out, TOPWORDS_MAX, "%" PRIu64 "s", ms / 1000);
	else if (ms < 172800000)
		snprintf(out, TOPWORDS_MAX, "%" PRIu64 "h%02" PRIu64 "m", ms / 3600000,
			 ms / 60000 % 60);
	else
		snprintf(out, TOPWORDS_MAX, "%" PRIu64 "d", ms / 86400000);
	return out;
}

static const char *redis_word(uint64_t mode)
{
	return mode <= REDIS_OFF ? conf_words(CONF_REDIS_MODE)[mode] : "?";
}

/* What 1 means is all that its row says. */
static int is_flag(enum stat_gauge g)
{
	return strncmp(stat_gauges[g].help, "1: ", 3) == 0;
}

/* NULL: no state. */
static const char *state_word(enum stat_gauge g, uint64_t v)
{
	switch (g) {
	case GAUGE_vpn_state: return vpn_state_name((enum vpn_state)v);
	case GAUGE_engine_state: return engine_state_name((int)v);
	case GAUGE_geo_online_state: return online_state_name((int)v);
	case GAUGE_redis_mode: return redis_word(v);
	case GAUGE_redis_state: return redishow_name((int)v);
	case GAUGE_interface_why:
		return v == IFACE_OK ? "-" : iface_why_text((enum iface_why)v);
	case GAUGE_path:
	case GAUGE_path_udp:
	case GAUGE_path_tcp: return path_name(v);
	case GAUGE_path_reach: return reach_name(v);
	case GAUGE_path_failure: return failure_name(v);
	case GAUGE_path_control: return control_name(v);
	default: return !is_flag(g) ? NULL : v ? "yes" : "no";
	}
}

const char *topwords_gauge(char out[TOPWORDS_MAX], enum stat_gauge g, uint64_t v,
			   uint64_t wall_ms)
{
	const char *word = state_word(g, v);
	char age[TOPWORDS_MAX];

	if (word)
		return word;
	if (!stat_is_time(g))
		snprintf(out, TOPWORDS_MAX, "%" PRIu64, v);
	else if (v == 0)
		snprintf(out, TOPWORDS_MAX, "never");
	else
		snprintf(out, TOPWORDS_MAX, "%.32s ago",
			 topwords_age(age, wall_ms > v * 1000 ? wall_ms - v * 1000 : 0));
	return out;
}

/* "verdict on the path: 0 unknown, 1 open" -> "verdict on the path";
 * "when that began, seconds since 1970" -> "when that began"; "1: Redis answers" ->
 * "Redis answers". */
const char *topwords_help(char out[128], enum stat_gauge g)
{
	const char *help = stat_gauges[g].help;
	size_t len = strlen(help);

	if (is_flag(g)) {
		help += 3;
		len -= 3;
	} else if (stat_is_time(g)) {
		len = strcspn(help, ",");
	} else if (state_word(g, 0)) {
		len = strcspn(help, "0123456789");
	}
	while (len && (isspace((unsigned char)help[len - 1]) || help[len - 1] == ':'))
		len--;
	snprintf(out, 128, "%.*s", (int)len, help);
	return out;
}
