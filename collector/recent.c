/* recent.c -- see recent.h. */
#include "collector/recent.h"

#include <string.h>

/* Four bytes of an infohash are as good as a hash of it. */
static uint32_t place_of(const uint8_t id[IH_LEN])
{
	uint32_t h;

	memcpy(&h, id + 8, sizeof(h));
	return h % RECENT_MAX;
}

void recent_put(struct recent *r, const uint8_t id[IH_LEN], uint64_t at_ms)
{
	uint32_t i = place_of(id);

	if (at_ms == 0)
		return;
	memcpy(r->place[i].id, id, IH_LEN);
	r->place[i].at_ms = at_ms;
}

uint64_t recent_get(const struct recent *r, const uint8_t id[IH_LEN])
{
	uint32_t i = place_of(id);

	return memcmp(r->place[i].id, id, IH_LEN) == 0 ? r->place[i].at_ms : 0;
}
