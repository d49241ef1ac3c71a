/* metainfo_torrent.c -- a whole .torrent, taken apart and made; see metainfo.h. */
#include "collector/metainfo.h"

#include <string.h>

static const struct benc_bounds BOUNDS = {METAINFO_MAX, BENC_DEPTH_MAX, 1};

/* ---- trackers and web seeds --------------------------------------------------------- */

static int same(struct benc_span a, struct benc_span b)
{
	return a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
}

static void add_tracker(struct metainfo_beside *b, struct benc_span url, uint32_t tier)
{
	if (url.len == 0)
		return;
	for (uint32_t i = 0; i < b->ntrackers; i++)
		if (same(b->tracker[i].url, url))
			return;
	if (b->ntrackers == MAGNET_URLS || !magnet_url(MAGNET_TRACKER, url.p, url.len)) {
		b->left_out++;
		return;
	}
	b->tracker[b->ntrackers++] = (struct metainfo_tracker){url, tier};
}

static void add_seed(struct metainfo_beside *b, struct benc_span url)
{
	if (url.len == 0)
		return;
	for (uint32_t i = 0; i < b->nseeds; i++)
		if (same(b->seed[i], url))
			return;
	if (b->nseeds == MAGNET_URLS || !magnet_url(MAGNET_WEB_SEED, url.p, url.len)) {
		b->left_out++;
		return;
	}
	b->seed[b->nseeds++] = url;
}

/* A tier is a list; some makers wrote a string where it is of one. */
static void add_tier(struct metainfo_beside *b, struct benc tier, uint32_t number)
{
	struct benc_iter it;
	struct benc v;

	add_tracker(b, benc_str(tier), number);
	benc_begin(&it, tier);
	while (benc_type(tier) == BENC_LIST && benc_next(&it, NULL, &v))
		add_tracker(b, benc_str(v), number);
}

static int tier_has(struct benc tier, struct benc_span url)
{
	struct benc_iter it;
	struct benc v;

	benc_begin(&it, tier);
	while (benc_type(tier) == BENC_LIST && benc_next(&it, NULL, &v))
		if (benc_type(v) == BENC_STR && same(benc_str(v), url))
			return 1;
	return 0;
}

/* announce comes first, in the list's first tier if it stands there, else before it. */
static void take_trackers(struct metainfo_beside *b, struct benc announce,
			  struct benc list)
{
	struct benc_span first = benc_str(announce);
	uint32_t tier = 0;
	struct benc_iter it;
	struct benc v;

	add_tracker(b, first, 0);
	if (benc_type(list) != BENC_LIST)
		return;
	benc_begin(&it, list);
	while (benc_next(&it, NULL, &v)) {
		if (tier == 0 && b->ntrackers && !tier_has(v, first))
			tier = 1;
		add_tier(b, v, tier++);
	}
}

static void take_seeds(struct metainfo_beside *b, struct benc list)
{
	struct benc_iter it;
	struct benc v;

	add_seed(b, benc_str(list));
	benc_begin(&it, list);
	while (benc_type(list) == BENC_LIST && benc_next(&it, NULL, &v))
		add_seed(b, benc_str(v));
}

/* ---- taken apart ---------------------------------------------------------------------- */

struct torrent_dict {
	struct benc announce, list, comment, comment_utf8, by, date, layers, seeds;
};

static void read_torrent_dict(struct torrent_dict *d, struct benc torrent)
{
	const struct benc_pick want[] = {
		{"announce", &d->announce},   {"announce-list", &d->list},
		{"comment", &d->comment},     {"comment.utf-8", &d->comment_utf8},
		{"created by", &d->by},       {"creation date", &d->date},
		{"piece layers", &d->layers}, {"url-list", &d->seeds},
	};

	benc_pick(torrent, want, PS_ARRAY_LEN(want));
}

/* How many it has; the last of them in *info. */
static unsigned find_info(struct benc *info, struct benc torrent)
{
	struct benc_span key;
	struct benc_iter it;
	unsigned infos = 0;
	struct benc v;

	benc_begin(&it, torrent);
	while (benc_next(&it, &key, &v))
		if (benc_is(key, "info")) {
			*info = v;
			infos++;
		}
	return infos;
}

int metainfo_split(struct benc *info, struct metainfo_beside *b, const void *torrent,
		   size_t len, char err[ERRLEN])
{
	struct torrent_dict d;
	struct benc whole;
	unsigned infos;
	enum benc_rc rc = benc_read_in(&whole, torrent, len, &BOUNDS);

	memset(b, 0, sizeof(*b));
	if (rc != BENC_OK)
		return err_set(err, "the torrent is no bencode: %s", benc_rc_name(rc));
	infos = find_info(info, whole);
	if (infos != 1 || benc_type(*info) != BENC_DICT)
		return err_set(err, infos > 1 ? "the torrent has two info dicts"
					      : "the torrent has no info dict");
	read_torrent_dict(&d, whole);
	take_trackers(b, d.announce, d.list);
	take_seeds(b, d.seeds);
	b->comment = benc_str(d.comment_utf8);
	if (!b->comment.len)
		b->comment = benc_str(d.comment);
	b->created_by = benc_str(d.by);
	b->created_s = benc_int(d.date, 0);
	if (benc_type(d.layers) == BENC_DICT)
		b->layers = d.layers;
	return 0;
}

/* ---- made --------------------------------------------------------------------------- */

static void put_str(struct buf *out, const void *p, size_t len)
{
	buf_printf(out, "%zu:", len);
	buf_add(out, p, len);
}

static void put_key(struct buf *out, const char *key)
{
	put_str(out, key, strlen(key));
}

/* An empty one is as good as none. */
static void put_text(struct buf *out, const char *key, struct benc_span text)
{
	if (text.len == 0)
		return;
	put_key(out, key);
	put_str(out, text.p, text.len);
}

static void put_trackers(struct buf *out, const struct metainfo_beside *b)
{
	if (b->ntrackers == 0)
		return;
	put_text(out, "announce", b->tracker[0].url);
	if (b->ntrackers == 1)
		return;
	put_key(out, "announce-list");
	buf_str(out, "ll");
	for (uint32_t i = 0; i < b->ntrackers; i++) {
		if (i && b->tracker[i].tier != b->tracker[i - 1].tier)
			buf_str(out, "el");
		put_str(out, b->tracker[i].url.p, b->tracker[i].url.len);
	}
	buf_str(out, "ee");
}

/* A swarm does not send the layers with the metadata. Where every file is one piece there
 * are none; where some are missing the key is left out, and readers get them from peers. */
static void put_layers(struct buf *out, const struct metainfo *m,
		       const struct metainfo_beside *b)
{
	if (!m->has_v2 || (!b->layers.p && m->needs_layers))
		return;
	put_key(out, "piece layers");
	if (b->layers.p)
		buf_add(out, b->layers.p, b->layers.len);
	else
		buf_str(out, "de");
}

void metainfo_torrent(struct buf *out, const struct metainfo *m,
		      const struct metainfo_beside *b)
{
	buf_str(out, "d");
	put_trackers(out, b);
	put_text(out, "comment", b->comment);
	put_text(out, "created by", b->created_by);
	if (b->created_s > 0) {
		put_key(out, "creation date");
		buf_printf(out, "i%llde", (long long)b->created_s);
	}
	put_key(out, "info");
	buf_add(out, m->info.p, m->info.len);
	put_layers(out, m, b);
	if (b->nseeds) {
		put_key(out, "url-list");
		buf_str(out, "l");
		for (uint32_t i = 0; i < b->nseeds; i++)
			put_str(out, b->seed[i].p, b->seed[i].len);
		buf_str(out, "e");
	}
	buf_str(out, "e");
}
