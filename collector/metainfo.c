/* metainfo.c -- an info dict, and the files in it; see metainfo.h. */
#include "collector/metainfo.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clean.h"

#define SHA1_LEN 20
#define V2_PIECE_MIN 16384u /* BEP 52: a block, or a power of two above */
#define EXT_MAX 16          /* bytes of an extension that a cut name keeps, dot and all */

/* ---- one file as it is written --------------------------------------------------------- */

struct entry {
	struct benc_span part[BENC_DEPTH_MAX]; /* of its path */
	uint32_t nparts;
	uint64_t length;
	struct benc_span attr;
	struct benc_span root; /* v2 */
	int pad;
};

static int has_attr(const struct entry *e, char c)
{
	return e->attr.len && memchr(e->attr.p, c, e->attr.len);
}

/* BitComet pads with files of that name, and no attribute. */
static int is_pad(const struct entry *e)
{
	static const char PAD[] = "_____padding_file_";
	struct benc_span name = e->part[e->nparts - 1];

	return has_attr(e, 'p') ||
	       (name.len >= sizeof(PAD) - 1 && memcmp(name.p, PAD, sizeof(PAD) - 1) == 0);
}

/* NULL, or what is wrong. */
static const char *take_length(struct entry *e, struct benc length)
{
	int64_t n = benc_int(length, -1);

	if (benc_type(length) == BENC_NONE && has_attr(e, 'l'))
		n = 0; /* a symbolic link has none */
	if (n < 0 || (uint64_t)n > METAINFO_SIZE_MAX)
		return "a file without a length, or with a wild one";
	e->length = (uint64_t)n;
	return NULL;
}

static const char *take_parts(struct entry *e, struct benc path)
{
	struct benc_iter it;
	struct benc v;

	e->nparts = 0;
	benc_begin(&it, path);
	while (benc_next(&it, NULL, &v)) {
		if (e->nparts == BENC_DEPTH_MAX)
			return "a path of more than 100 parts";
		e->part[e->nparts] = benc_str(v);
		if (!e->part[e->nparts++].p)
			return "a path that is no list of names";
	}
	return e->nparts ? NULL : "a file without a path";
}

struct file_dict {
	struct benc length, path, path_utf8, attr, root;
};

/* What both lists say alike. NULL, or what is wrong. */
static const char *read_file(struct entry *e, struct file_dict *f, struct benc d)
{
	const struct benc_pick want[] = {
		{"length", &f->length},        {"path", &f->path},
		{"path.utf-8", &f->path_utf8}, {"attr", &f->attr},
		{"pieces root", &f->root},
	};

	if (benc_type(d) != BENC_DICT)
		return "a file that is no dict";
	benc_pick(d, want, PS_ARRAY_LEN(want));
	e->attr = benc_str(f->attr);
	return take_length(e, f->length);
}

static const char *read_v1(struct entry *e, struct benc d)
{
	struct file_dict f;
	const char *bad = read_file(e, &f, d);

	e->root = (struct benc_span){NULL, 0};
	if (!bad && (benc_type(f.path_utf8) != BENC_LIST || take_parts(e, f.path_utf8)))
		bad = take_parts(e, f.path);
	return bad;
}

static const char *read_v2(struct entry *e, struct benc d)
{
	struct file_dict f;
	const char *bad = read_file(e, &f, d);

	if (bad)
		return bad;
	e->root = benc_str(f.root);
	return e->length && e->root.len != IH_V2_LEN ? "a file without its pieces root"
						     : NULL;
}

/* ---- all of them ----------------------------------------------------------------------- */

static void raw_begin(struct metainfo_raw *r, const struct metainfo *m, int v2)
{
	r->m = m;
	r->v2 = v2;
	r->done = 0;
	r->depth = 0;
	benc_begin(&r->it, v2 ? m->tree : m->files);
}

/* Of the tree: names lead down to a dict with the empty key, which is a file and then has
 * no other. 1: a file; 0: no more; -1: *bad says what is wrong. */
static int next_v2(struct metainfo_raw *r, struct entry *e, const char **bad)
{
	struct benc_span key;
	struct benc v;
	int entered = 0;

	for (;;) {
		switch (benc_walk(&r->it, "", &key, &v)) {
		case BENC_WALK_END: return 0;
		case BENC_WALK_UP:
			r->depth--;
			entered = 0;
			break;
		case BENC_WALK_DOWN:
			PS_ASSERT(r->depth < BENC_DEPTH_MAX); /* as benc_read_in says */
			r->dir[r->depth++] = key;
			entered = 1;
			break;
		case BENC_WALK_VALUE:
			*bad = "a file tree that holds something else";
			if (key.len || !entered || *r->it.at != 'e')
				return -1;
			memcpy(e->part, r->dir, r->depth * sizeof(r->dir[0]));
			e->nparts = r->depth;
			*bad = read_v2(e, v);
			return *bad ? -1 : 1;
		}
	}
}

static int next_v1(struct metainfo_raw *r, struct entry *e, const char **bad)
{
	struct benc v;

	if (benc_type(r->m->files) == BENC_LIST) {
		if (!benc_next(&r->it, NULL, &v))
			return 0;
		*bad = read_v1(e, v);
		return *bad ? -1 : 1;
	}
	if (r->done++)
		return 0;
	memset(e, 0, sizeof(*e));
	e->part[0] = r->m->name;
	e->nparts = 1;
	e->length = r->m->length;
	return 1;
}

static int raw_next(struct metainfo_raw *r, struct entry *e, const char **bad)
{
	int rc = r->v2 ? next_v2(r, e, bad) : next_v1(r, e, bad);

	if (rc > 0)
		e->pad = is_pad(e);
	return rc;
}

/* ---- the info dict -------------------------------------------------------------------- */

struct info_dict {
	struct benc name, name_utf8, piece_length, pieces, files, length, priv, version,
		tree;
};

static void read_info_dict(struct info_dict *d, struct benc info)
{
	const struct benc_pick want[] = {
		{"name", &d->name},
		{"name.utf-8", &d->name_utf8},
		{"piece length", &d->piece_length},
		{"pieces", &d->pieces},
		{"files", &d->files},
		{"length", &d->length},
		{"private", &d->priv},
		{"meta version", &d->version},
		{"file tree", &d->tree},
	};

	benc_pick(info, want, PS_ARRAY_LEN(want));
}

static const char *take_pieces(struct metainfo *m, const struct info_dict *d)
{
	int64_t n = benc_int(d->piece_length, 0);
	struct benc_span pieces = benc_str(d->pieces);

	if (n <= 0 || n > (int64_t)METAINFO_PIECE_MAX)
		return "its piece length is missing, or a wild one";
	m->piece_length = (uint64_t)n;
	if (m->has_v2 && (n < (int64_t)V2_PIECE_MIN || (n & (n - 1))))
		return "its piece length is none of BitTorrent v2";
	if (!pieces.p && !m->has_v2)
		return "it has no pieces";
	if (pieces.len % SHA1_LEN)
		return "its pieces are cut off";
	m->has_v1 = pieces.p != NULL;
	m->piece_count = pieces.len / SHA1_LEN;
	return NULL;
}

/* Which versions of BitTorrent it is, and where their files are. */
static const char *take_versions(struct metainfo *m, const struct info_dict *d)
{
	int64_t version = benc_int(d->version, 1);
	const char *bad;

	if (version != 1 && version != 2)
		return "its meta version is unknown";
	m->has_v2 = version == 2;
	if (m->has_v2)
		m->tree = d->tree;
	if (m->has_v2 && benc_type(m->tree) != BENC_DICT)
		return "it has no file tree";
	bad = take_pieces(m, d);
	if (bad || !m->has_v1)
		return bad;
	if (benc_type(d->files) == BENC_LIST) {
		m->files = d->files;
		return NULL;
	}
	if (benc_int(d->length, -1) < 0 ||
	    (uint64_t)benc_int(d->length, -1) > METAINFO_SIZE_MAX)
		return "it has neither files nor a length";
	m->length = (uint64_t)benc_int(d->length, -1);
	return NULL;
}

static const char *take_name(struct metainfo *m, const struct info_dict *d)
{
	m->name = benc_str(d->name_utf8);
	if (!m->name.len)
		m->name = benc_str(d->name);
	return m->name.p ? NULL : "it has no name";
}

static uint64_t pieces_of(const struct metainfo *m, uint64_t bytes)
{
	return bytes / m->piece_length + (bytes % m->piece_length != 0);
}

/* Of a hybrid, both lists name the same: a client of either sort gets what the other gets. */
static int same_file(const struct entry *a, const struct entry *b)
{
	if (a->length != b->length || a->nparts != b->nparts)
		return 0;
	for (uint32_t i = 0; i < a->nparts; i++)
		if (a->part[i].len != b->part[i].len ||
		    memcmp(a->part[i].p, b->part[i].p, a->part[i].len) != 0)
			return 0;
	return 1;
}

/* What is counted while the files pass. */
struct count {
	uint64_t bytes, pieces; /* pads counted; of v2: each file in pieces of its own */
};

static const char *count_file(struct metainfo *m, struct count *c, const struct entry *e)
{
	if (m->nfiles == METAINFO_FILES)
		return "it has more than 100000 files";
	if (e->length > METAINFO_SIZE_MAX - c->bytes)
		return "its size is a wild one";
	c->bytes += e->length;
	c->pieces += pieces_of(m, e->length);
	m->nfiles++;
	if (e->pad)
		m->npads++;
	else
		m->size += e->length;
	return NULL;
}

static const char *take_v2_files(struct metainfo *m)
{
	struct count c = {0, 0};
	struct metainfo_raw raw;
	struct entry e;
	const char *bad = NULL;

	raw_begin(&raw, m, 1);
	while (!bad && raw_next(&raw, &e, &bad) > 0) {
		bad = count_file(m, &c, &e);
		m->needs_layers |= e.length > m->piece_length;
	}
	m->piece_count = c.pieces;
	return bad;
}

/* The next file of the tree, for one of v1's. */
static const char *meet_v2(struct metainfo *m, struct metainfo_raw *tree,
			   const struct entry *e)
{
	struct entry other;
	const char *bad = NULL;

	if (raw_next(tree, &other, &bad) <= 0 || !same_file(e, &other))
		return bad ? bad : "its v1 files are not its v2 files";
	m->needs_layers |= e->length > m->piece_length;
	return NULL;
}

static const char *take_v1_files(struct metainfo *m)
{
	struct count c = {0, 0};
	struct metainfo_raw raw, tree;
	struct entry e;
	const char *bad = NULL;

	raw_begin(&raw, m, 0);
	raw_begin(&tree, m, 1);
	while (!bad && raw_next(&raw, &e, &bad) > 0) {
		bad = count_file(m, &c, &e);
		if (!bad && m->has_v2 && !e.pad)
			bad = meet_v2(m, &tree, &e);
	}
	if (!bad && m->has_v2 && raw_next(&tree, &e, &bad) > 0)
		bad = "its v1 files are not its v2 files";
	if (!bad && pieces_of(m, c.bytes) != m->piece_count)
		bad = "its pieces do not fit its size";
	return bad;
}

static const struct benc_bounds BOUNDS = {METAINFO_MAX, BENC_DEPTH_MAX, 1};

int metainfo_read(struct metainfo *m, const void *info, size_t len, char err[ERRLEN])
{
	struct info_dict d;
	const char *bad = NULL;
	enum benc_rc rc;

	memset(m, 0, sizeof(*m));
	rc = benc_read_in(&m->info, info, len, &BOUNDS);
	if (rc != BENC_OK)
		return err_set(err, "the metadata is no bencode: %s", benc_rc_name(rc));
	if (benc_type(m->info) != BENC_DICT)
		return err_set(err, "the metadata is no dict");
	read_info_dict(&d, m->info);
	bad = take_name(m, &d);
	if (!bad)
		bad = take_versions(m, &d);
	if (!bad)
		bad = m->has_v1 ? take_v1_files(m) : take_v2_files(m);
	if (!bad && m->size == 0)
		bad = "it has no content";
	m->is_private = benc_int(d.priv, 0) == 1;
	return bad ? err_set(err, "the metadata is none of a torrent: %s", bad) : 0;
}

/* ---- names ----------------------------------------------------------------------------- */

/* Where the extension begins in a name of that many bytes; len: it has none. */
static size_t ext_at(const char *s, size_t len)
{
	for (size_t i = len; i-- > 1 && len - i <= EXT_MAX;)
		if (s[i] == '.')
			return i;
	return len;
}

/* At most METAINFO_NAME bytes; a longer one is cut before its extension. */
static size_t put_name(char *out, struct benc_span s)
{
	char ext[3 * EXT_MAX + 1];
	size_t used, n, at, next;

	n = clean_text(out, METAINFO_NAME + 1, s.p, s.len, "/\\", &used);
	if (used == s.len)
		return n;
	at = ext_at((const char *)s.p, s.len);
	next = clean_text(ext, sizeof(ext), s.p + at, s.len - at, "/\\", NULL);
	n = n < METAINFO_NAME - next ? n : METAINFO_NAME - next;
	while (n > 0 && ((uint8_t)out[n] & 0xc0) == 0x80)
		n--; /* not inside a character */
	memcpy(out + n, ext, next + 1);
	return n + next;
}

static size_t put_part(char *out, struct benc_span s)
{
	if (benc_is(s, "..")) {
		memcpy(out, "__", 3);
		return 2;
	}
	return put_name(out, s);
}

static int names_nothing(struct benc_span s)
{
	return s.len == 0 || benc_is(s, ".");
}

size_t metainfo_name(const struct metainfo *m, char out[METAINFO_NAME + 1])
{
	if (!names_nothing(m->name))
		return put_part(out, m->name);
	memcpy(out, "_", 2);
	return 1;
}

/* ---- paths ---------------------------------------------------------------------------- */

#define SUFFIX_MAX sizeof(" (99999-99999)") /* that may come to a path */
/* A directory is kept if behind it there is room for the file's name. */
#define DIRS_END (METAINFO_PATH - 2 * METAINFO_NAME - 2 - SUFFIX_MAX)

/* The place of the file's own name in the path. */
static size_t put_path(char *out, const struct entry *e, size_t *len)
{
	uint32_t last = e->nparts, levels = 1;
	size_t n = 0;

	while (last > 0 && names_nothing(e->part[last - 1]))
		last--;
	for (uint32_t i = 0; i + 1 < last && levels < METAINFO_LEVELS && n < DIRS_END;
	     i++) {
		if (names_nothing(e->part[i]))
			continue;
		n += put_part(out + n, e->part[i]);
		out[n++] = '/';
		levels++;
	}
	if (last > 0)
		*len = n + put_part(out + n, e->part[last - 1]);
	else
		*len = n + (size_t)snprintf(out + n, 2, "_");
	return n;
}

/* 1: it was not there. The table is never more than half full. */
static int see(struct metainfo_iter *it, const char *path, size_t len)
{
	uint8_t sum[crypto_shorthash_BYTES];
	uint64_t h;
	size_t at;

	_Static_assert(sizeof(sum) == sizeof(h), "SipHash has 64 bits");
	_Static_assert(sizeof(it->key) == crypto_shorthash_KEYBYTES, "and a key of 128");
	crypto_shorthash(sum, (const uint8_t *)path, len, it->key);
	memcpy(&h, sum, sizeof(h));
	h |= h == 0; /* 0 is a free place */
	for (at = h & it->mask; it->seen[at]; at = (at + 1) & it->mask)
		if (it->seen[at] == h)
			return 0;
	it->seen[at] = h;
	return 1;
}

/*
 * Until the path is a new one. A name with our index in it stands before us only if the
 * torrent has one more file for it, so that all tries of all files are at most twice the
 * files.
 */
static size_t make_distinct(struct metainfo_iter *it, size_t name, size_t len)
{
	size_t ext = name + ext_at(it->path + name, len - name), tail_len = len - ext,
	       more;
	char suffix[SUFFIX_MAX + 8], tail[EXT_MAX];

	memcpy(tail, it->path + ext, tail_len);
	for (uint32_t try = 1; !see(it, it->path, len); try++) {
		if (try == 1)
			more = (size_t)snprintf(suffix, sizeof(suffix), " (%u)",
						it->index);
		else
			more = (size_t)snprintf(suffix, sizeof(suffix), " (%u-%u)",
						it->index, try);
		PS_ASSERT(more < SUFFIX_MAX);
		memcpy(it->path + ext, suffix, more);
		memcpy(it->path + ext + more, tail, tail_len);
		len = ext + more + tail_len;
	}
	it->path[len] = '\0';
	return len;
}

int metainfo_begin(struct metainfo_iter *it, const struct metainfo *m)
{
	size_t places = 2;

	memset(it, 0, offsetof(struct metainfo_iter, path));
	raw_begin(&it->raw, m, !m->has_v1);
	while (places < 2 * (size_t)m->nfiles)
		places *= 2;
	it->mask = places - 1;
	it->seen = calloc(places, sizeof(it->seen[0]));
	randombytes_buf(it->key, sizeof(it->key));
	return it->seen ? 0 : -1;
}

int metainfo_next(struct metainfo_iter *it, struct metainfo_file *out)
{
	const struct metainfo *m = it->raw.m;
	struct entry e;
	const char *bad = NULL;
	size_t name, n = 0;

	if (raw_next(&it->raw, &e, &bad) <= 0) {
		PS_ASSERT(!bad); /* metainfo_read came to the same end */
		return 0;
	}
	if (!m->has_v1 && e.length)
		it->end = pieces_of(m, it->end) * m->piece_length;
	name = put_path(it->path, &e, &out->path_len);
	out->path_len = make_distinct(it, name, out->path_len);
	out->path = it->path;
	out->size = e.length;
	out->offset = it->end;
	out->index = it->index++;
	out->pad = e.pad;
	for (const char *c = "xhlp"; *c; c++)
		if (has_attr(&e, *c))
			out->attr[n++] = *c;
	out->attr[n] = '\0';
	it->end += e.length;
	return 1;
}

void metainfo_end(struct metainfo_iter *it)
{
	free(it->seen);
	it->seen = NULL;
}
