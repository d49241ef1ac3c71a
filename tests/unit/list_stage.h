/*
 * list_stage.h -- a list with something in every field, and the names that it refers to.
 * Included by test_listcode.c, test_listjson.c and tests/fuzz/fuzz_list.c.
 */
#ifndef PEERSCOPE_TESTS_LIST_STAGE_H
#define PEERSCOPE_TESTS_LIST_STAGE_H

#include <stdio.h>
#include <string.h>

#include "collector/listcode.h"
#include "shm/peerwords.h"

#define STAGE_NOW_MS 1790000000000ull

static const uint8_t STAGE_ID[IH_LEN] = {0x94, 0xc2, 0xfd, 0x8f, 0xb9, 0xbc, 0x8f,
					 0x2f, 0xc7, 0x1a, 0x2c, 0xbe, 0x9d, 0x4b,
					 0x86, 0x6f, 0x22, 0x7a, 0x02, 0x09};

/* Texts and places of the references: 7 and 9000 are empty ones. */
static void stage_text(void *arg, uint32_t ref, char out[SHM_STRING_MAX + 1])
{
	(void)arg;
	if (ref == 7 || ref == 9000)
		out[0] = '\0';
	else if (ref == 8)
		memset(out, 'x', SHM_STRING_MAX), out[SHM_STRING_MAX] = '\0';
	else
		snprintf(out, SHM_STRING_MAX + 1, "text \xff %u", ref);
}

static void stage_place(void *arg, uint32_t ref, struct place *out)
{
	(void)arg;
	memset(out, 0, sizeof(*out));
	if (ref == 9000)
		return;
	snprintf(out->country, sizeof(out->country), "Country %u", ref);
	memset(out->city, 'c', sizeof(out->city) - 1);
	snprintf(out->region, sizeof(out->region), "Region");
	snprintf(out->timezone, sizeof(out->timezone), "Europe/Berlin");
	snprintf(out->isp, sizeof(out->isp), "ISP %u", ref);
	snprintf(out->source, sizeof(out->source), "mmdb:city");
	snprintf(out->code, sizeof(out->code), "DE");
	out->has_point = 1;
	out->lat_e5 = -8999999;
	out->lon_e5 = 17999999;
	out->asn = 4200000000u;
	out->accuracy_km = 20;
}

static const struct listcode_names STAGE_NAMES __attribute__((unused)) = {stage_text, stage_place, NULL};

static inline void stage_peer(struct shm_peer *p, uint32_t i)
{
	uint32_t now_s = STAGE_NOW_MS / 1000;

	memset(p, 0, sizeof(*p));
	shm_peer_ace_unknown(p);
	for (int k = 0; k < 12; k++)
		p->addr[k] = k >= 10 ? 0xff : 0;
	p->addr[12] = 203;
	p->addr[14] = (uint8_t)(i >> 8);
	p->addr[15] = (uint8_t)i;
	p->port = (uint16_t)(1000 + i);
	p->state = (uint8_t)(PEER_CONNECTED - i % 4);
	p->sources = 63;
	p->flags = 63;
	p->progress = (uint16_t)(i % 10001);
	p->down_rate = 0xdeadbeef;
	p->up_rate = i;
	p->first_seen_s = now_s - 100;
	p->last_seen_s = now_s;
	p->client = i % 10;
	p->place = i % 6;
	if (i % 2 == 0)
		return;
	p->protocol = PEER_ACESTREAM;
	p->version = 3021100;
	p->asn = 64500;
	p->head = 5063;
	p->position = 5060;
	p->lag = 3;
	p->told_s = now_s;
	p->platform = 2;
	p->distance = (int8_t)(i % 3 - 1);
	memcpy(p->country, "ZZ", 2);
	p->role = ROLE_SOURCE;
	p->kind = KIND_LIVE;
	p->accessible = ACCESS_YES;
	p->key = KEY_CONTENT;
}

static inline void stage_list(struct shm_swarm *s, struct shm_peer *peer, uint32_t n)
{
	uint32_t now_s = STAGE_NOW_MS / 1000;

	memset(s, 0, sizeof(*s));
	memcpy(s->id, STAGE_ID, IH_LEN);
	memset(s->infohash, 0x11, IH_LEN);
	memset(s->v2, 0x22, sizeof(s->v2));
	memset(s->content, 0x33, IH_LEN);
	s->phase = SWARM_SETTLED;
	s->verdict = VERDICT_ALIVE;
	s->protocol = PEER_ACESTREAM;
	s->cached_at_ms = STAGE_NOW_MS - 1500;
	s->npeers = n;
	s->total_peers = n + 5;
	s->tracker_seeds = 7;
	s->tracker_leechers = 0xffffffff;
	s->tracker_at_s = s->connected_at_s = s->dht_at_s = s->joined_at_s = now_s;
	s->trackers = 3;
	s->trackers_ok = 2;
	s->pieces = 1000;
	s->resolved = RESOLVED_ENGINE;
	s->has_v2 = s->incoming = s->has_content = 1;
	s->path = 0x55;
	s->tracker_said = 8;
	s->title = 42;
	s->ace_mode = ACE_MODE_PINNED;
	s->motion = MOTION_ADVANCING;
	s->kind = KIND_LIVE;
	s->head = 5063;
	s->head_s = s->motion_s = now_s;
	s->piece_ms = 500;
	s->sources = s->source_like = s->discovered = s->reachable = s->gossiped = 4;
	for (uint32_t i = 0; i < n; i++) {
		stage_peer(&peer[i], i);
		s->connected += peer[i].state == PEER_CONNECTED;
		s->contacted += peer[i].state == PEER_CONTACTED;
		s->tried += peer[i].state == PEER_TRIED;
	}
}

#endif
