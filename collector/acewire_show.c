/* acewire_show.c -- see acewire.h. What is shown of what a peer told. */
#include <stdio.h>
#include <string.h>

#include "collector/acewire.h"
#include "shm/acejson.h"

#define LINUX 2
#define FULL 10000

/* ---- client ----------------------------------------------------------------------- */

/* A peer_id has a digit for each part of a version, but engines of all 3.x say R30. */
static void family_text(char *out, size_t size, const uint8_t *peer_id)
{
	out[0] = '\0';
	if (peer_id && acewire_id_ok(peer_id) && peer_id[1] >= '1' && peer_id[1] <= '9')
		snprintf(out, size, "%c.x", peer_id[1]);
}

static void engine_text(char out[AW_CLIENT_MAX], const char *version, int64_t platform)
{
	/* 1 and 3 were seen, too; what they are is a guess. */
	snprintf(out, AW_CLIENT_MAX, "Ace Stream%s%s%s", version[0] ? " " : "", version,
		 platform == LINUX ? " (Linux)" : "");
}

void acewire_client(char out[AW_CLIENT_MAX], const struct acewire_told *t,
		    const uint8_t *peer_id)
{
	char version[ACE_VERSION_MAX];

	ace_version_text(version, t->version);
	if (t->outpace) {
		snprintf(out, AW_CLIENT_MAX, "outpace (claims %s)", version);
		return;
	}
	if (!version[0])
		family_text(version, sizeof(version), peer_id);
	engine_text(out, version, t->platform);
}

void acewire_rec_client(char out[AW_CLIENT_MAX], const struct acewire_rec *r)
{
	char version[ACE_VERSION_MAX];

	out[0] = '\0';
	ace_version_text(version, r->version);
	if (version[0])
		engine_text(out, version, r->platform);
}

/* ---- the stream ------------------------------------------------------------------- */

enum acewire_kind acewire_kind(const struct acewire_told *t)
{
	if (t->mi.max_piece >= 0 || (t->saw & (AW_SAW_FIELD | AW_SAW_HAVE | AW_SAW_TAIL)))
		return AW_LIVE;
	return t->saw & AW_SAW_PLAIN ? AW_VOD : AW_KIND_UNKNOWN;
}

static int64_t known(int64_t n)
{
	return n >= 0 ? n : -1;
}

int64_t acewire_head(const struct acewire_told *t)
{
	int64_t head = known(t->mi.max_piece);

	if (t->mi.lsp > head)
		head = t->mi.lsp;
	return t->lsp > head ? t->lsp : head;
}

int64_t acewire_position(const struct acewire_told *t)
{
	return known(t->mi.position);
}

/* part of whole; more than the whole is the whole. */
static int share(int64_t part, int64_t whole)
{
	if (part >= whole)
		return FULL;
	return (int)(part * FULL / whole);
}

static int live_fill(const struct acewire_told *t)
{
	const struct acewire_mi *mi = &t->mi;

	if (t->saw & AW_SAW_FIELD)
		return share(t->field_set, t->field_bits);
	if (mi->min_piece < 0 || mi->max_piece < mi->min_piece ||
	    mi->live_window_size <= 0)
		return -1;
	return share(mi->max_piece - mi->min_piece + 1, mi->live_window_size);
}

int acewire_fill(const struct acewire_told *t, uint32_t pieces)
{
	uint32_t whole = t->field_bits;

	switch (acewire_kind(t)) {
	case AW_LIVE: return live_fill(t);
	case AW_VOD:
		if (pieces && ((uint64_t)pieces + 7) / 8 * 8 == whole)
			whole = pieces;
		return share(t->field_set, whole);
	case AW_KIND_UNKNOWN: break;
	}
	return -1;
}

enum acewire_role acewire_role(const struct acewire_told *t, int named)
{
	if (named)
		return AW_SOURCE;
	return t->source_like ? AW_SOURCE_LIKE : AW_VIEWER;
}

int64_t acewire_down_rate(const struct acewire_told *t)
{
	return known(t->mi.down_rate);
}

int64_t acewire_up_rate(const struct acewire_told *t)
{
	return known(t->mi.up_rate);
}
