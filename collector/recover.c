/* recover.c -- see recover.h. */
#include <string.h>

#include "collector/recover.h"

static unsigned begin(struct recover *r, int listens, uint64_t now_ms)
{
	unsigned now = RECOVER_LEAVE | RECOVER_REBIND | RECOVER_DHT;

	memset(r, 0, sizeof(*r));
	if (!listens)
		return now | RECOVER_JOIN;
	r->began_ms = now_ms;
	r->join_ms = now_ms + RECOVER_JOIN_MS;
	r->gap_ms = RECOVER_GAP_MS;
	r->again_ms = now_ms + r->gap_ms;
	return now;
}

void recover_start(struct recover *r, int listens, uint64_t now_ms)
{
	memset(r, 0, sizeof(*r));
	if (!listens)
		return;
	r->gap_ms = RECOVER_GAP_MS;
	r->again_ms = now_ms + r->gap_ms;
}

void recover_missing(struct recover *r, int partly, uint64_t now_ms)
{
	if (!r->again_ms || r->partly != partly)
		recover_elsewhere(r, now_ms);
	r->partly = partly;
}

void recover_elsewhere(struct recover *r, uint64_t now_ms)
{
	r->partly = 0;
	r->gap_ms = RECOVER_GAP_MS;
	r->again_ms = now_ms + r->gap_ms;
}

void recover_hasten(struct recover *r, uint64_t now_ms)
{
	if (!r->again_ms)
		return;
	r->again_ms = now_ms;
	r->gap_ms = RECOVER_GAP_MS / 2; /* doubled by the attempt */
}

unsigned recover_change(struct recover *r, enum net_change change, int listens,
			uint64_t now_ms)
{
	switch (change) {
	case NET_SAME:
	case NET_WHY: return 0;
	case NET_GONE: memset(r, 0, sizeof(*r)); return RECOVER_LEAVE;
	case NET_BACK:
	case NET_MOVED: return begin(r, listens, now_ms);
	case NET_GREW: return RECOVER_REOPEN | RECOVER_DHT | RECOVER_ANNOUNCE;
	}
	return 0;
}

unsigned recover_listening(struct recover *r)
{
	unsigned todo = 0;

	if (r->join_ms)
		todo = RECOVER_JOIN;
	else if (r->began_ms) /* joined without it: nobody could call us */
		todo = RECOVER_ANNOUNCE;
	memset(r, 0, sizeof(*r));
	return todo;
}

unsigned recover_tick(struct recover *r, uint64_t now_ms)
{
	unsigned todo = 0;

	if (r->join_ms && now_ms >= r->join_ms) {
		r->join_ms = 0;
		todo |= RECOVER_JOIN;
	}
	if (r->again_ms && now_ms >= r->again_ms) {
		r->gap_ms = r->gap_ms * 2 < RECOVER_GAP_LAST_MS ? r->gap_ms * 2
								: RECOVER_GAP_LAST_MS;
		r->again_ms = now_ms + r->gap_ms;
		if (!r->began_ms)
			r->began_ms = now_ms; /* from now on it is a recovery */
		todo |= r->partly ? RECOVER_REOPEN : RECOVER_REBIND | RECOVER_DHT;
	}
	return todo;
}
