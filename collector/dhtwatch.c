/* dhtwatch.c -- see dhtwatch.h. */
#include "collector/dhtwatch.h"

void dhtwatch_reset(struct dhtwatch *d)
{
	d->since_ms = d->due_ms = d->gap_ms = 0;
	d->tries = 0;
}

const char *dhtwatch_name(enum dhtwatch_do what)
{
	switch (what) {
	case DHTWATCH_NOTHING: return "nothing";
	case DHTWATCH_AGAIN: return "asking the routers again";
	case DHTWATCH_RESTART: return "starting it anew";
	case DHTWATCH_SAVE: return "saving its nodes";
	}
	return "?";
}

static enum dhtwatch_do save_if_due(struct dhtwatch *d, uint64_t now_ms)
{
	if (d->save_ms == 0)
		d->save_ms = now_ms + DHTWATCH_SAVE_FIRST_MS;
	if (now_ms < d->save_ms)
		return DHTWATCH_NOTHING;
	d->save_ms = now_ms + DHTWATCH_SAVE_MS;
	return DHTWATCH_SAVE;
}

enum dhtwatch_do dhtwatch_step(struct dhtwatch *d, int on, uint32_t nodes,
			       uint64_t now_ms)
{
	if (!on) {
		dhtwatch_reset(d);
		return DHTWATCH_NOTHING;
	}
	if (nodes > 0) {
		dhtwatch_reset(d);
		return save_if_due(d, now_ms);
	}
	if (d->since_ms == 0) {
		d->since_ms = now_ms;
		d->gap_ms = DHTWATCH_FIRST_MS;
		d->due_ms = now_ms + d->gap_ms;
	}
	if (now_ms < d->due_ms)
		return DHTWATCH_NOTHING;
	d->gap_ms = d->gap_ms * 2 < DHTWATCH_LAST_MS ? d->gap_ms * 2 : DHTWATCH_LAST_MS;
	d->due_ms = now_ms + d->gap_ms;
	return ++d->tries % DHTWATCH_RESTART_EVERY == 0 ? DHTWATCH_RESTART
							: DHTWATCH_AGAIN;
}
