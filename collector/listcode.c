/*
 * listcode.c -- see listcode.h.
 */
#include "collector/listcode.h"

#include <stdlib.h>
#include <string.h>

#include "shm/peerwords.h"

static const char MAGIC[8] = "PSLIST\r\n"; /* no text passes a gateway with that in it */
#define FORMAT 1u
#define HEAD_BYTES (sizeof(MAGIC) + 2 + 4)

/* ---- every field ----------------------------------------------------------------- */

enum kind {
	RAW,     /* bytes as they are */
	NUM,     /* at most max */
	SECONDS, /* since 1970, not in the future; 0: never */
	MILLIS,
	TEXT, /* a reference */
	PLACE,
	LOCAL, /* means something in this segment only: not sent, read as 0 */
};

/* clang-format off */
#define SWARM_FIELDS(X) \
X(id, RAW, 0) X(phase, NUM, SWARM_DEAD) X(why, NUM, WHY_N - 1) \
X(verdict, NUM, VERDICT_PATH_BLOCKED) X(protocol, NUM, PEER_UNSPOKEN) X(version, LOCAL, 0) \
X(cached_at_ms, MILLIS, 0) X(npeers, NUM, CONF_SLOT_PEERS) X(total_peers, NUM, UINT32_MAX) \
X(connected, NUM, UINT32_MAX) X(connected_at_s, SECONDS, 0) \
X(tracker_seeds, NUM, UINT32_MAX) X(tracker_leechers, NUM, UINT32_MAX) \
X(tracker_at_s, SECONDS, 0) X(dht_peers, NUM, UINT32_MAX) X(dht_at_s, SECONDS, 0) \
X(trackers, NUM, UINT32_MAX) X(trackers_ok, NUM, UINT32_MAX) X(pieces, NUM, UINT32_MAX) \
X(first_chunk, LOCAL, 0) X(contacted, NUM, UINT32_MAX) X(tried, NUM, UINT32_MAX) \
X(infohash, RAW, 0) X(resolved, NUM, RESOLVED_HYBRID) X(has_v2, NUM, 1) \
X(incoming, NUM, 1) X(path, NUM, 255) X(joined_at_s, SECONDS, 0) X(v2, RAW, 0) \
X(reached, NUM, UINT32_MAX) X(tracker_said, TEXT, 0) X(title, TEXT, 0) \
X(ace_mode, NUM, ACE_MODE_BT) X(motion, NUM, MOTION_STALE) X(kind, NUM, KIND_VOD) \
X(has_content, NUM, 1) X(head, NUM, UINT32_MAX) X(head_s, SECONDS, 0) \
X(piece_ms, NUM, UINT32_MAX) X(motion_s, SECONDS, 0) X(sources, NUM, UINT32_MAX) \
X(source_like, NUM, UINT32_MAX) X(discovered, NUM, UINT32_MAX) \
X(reachable, NUM, UINT32_MAX) X(gossiped, NUM, UINT32_MAX) X(content, RAW, 0)

#define PEER_FIELDS(X) \
X(addr, RAW, 0) X(port, NUM, UINT16_MAX) X(state, NUM, PEER_CONNECTED) \
X(sources, NUM, 63) X(protocol, NUM, PEER_ACESTREAM) X(flags, NUM, 63) \
X(progress, NUM, 10000) X(down_rate, NUM, UINT32_MAX) X(up_rate, NUM, UINT32_MAX) \
X(first_seen_s, SECONDS, 0) X(last_seen_s, SECONDS, 0) X(client, TEXT, 0) \
X(place, PLACE, 0) X(version, NUM, UINT32_MAX) X(asn, NUM, UINT32_MAX) \
X(head, NUM, UINT32_MAX) X(position, NUM, UINT32_MAX) X(lag, NUM, UINT32_MAX) \
X(told_s, SECONDS, 0) X(platform, NUM, 255) X(distance, RAW, 0) X(country, RAW, 0) \
X(role, NUM, ROLE_SOURCE) X(kind, NUM, KIND_VOD) X(accessible, NUM, ACCESS_YES) \
X(key, NUM, KEY_CONTENT)

#define PLACE_TEXTS(X) \
X(country) X(city) X(region) X(timezone) X(isp) X(source) X(code)
/* As write_place has them. */
#define PLACE_NUMBERS(X) \
X(has_point) X(lat_e5) X(lon_e5) X(asn) X(accuracy_km)
/* clang-format on */

#define X(name, kind, max) +sizeof(((struct shm_swarm *)0)->name)
_Static_assert(0 SWARM_FIELDS(X) == sizeof(struct shm_swarm), "a field is forgotten");
#undef X
#define X(name, kind, max) +sizeof(((struct shm_peer *)0)->name)
_Static_assert(0 PEER_FIELDS(X) == sizeof(struct shm_peer), "a field is forgotten");
#undef X
#define X(name) +sizeof(((struct place *)0)->name)
_Static_assert(0 PLACE_TEXTS(X) PLACE_NUMBERS(X) == sizeof(struct place),
	       "a field is forgotten");
#undef X

struct field {
	uint16_t at, size;
	uint32_t max;
	enum kind kind;
};

#define X(name, kind, max)                                                             \
	{offsetof(struct shm_swarm, name), sizeof(((struct shm_swarm *)0)->name), max, \
	 kind},
static const struct field swarm_fields[] = {SWARM_FIELDS(X)};
#undef X
#define X(name, kind, max)                                                           \
	{offsetof(struct shm_peer, name), sizeof(((struct shm_peer *)0)->name), max, \
	 kind},
static const struct field peer_fields[] = {PEER_FIELDS(X)};
#undef X
#define X(name) {offsetof(struct place, name), sizeof(((struct place *)0)->name), 0, RAW},
static const struct field place_texts[] = {PLACE_TEXTS(X)};
#undef X

static uint32_t shape_of(uint32_t h, const struct field *f, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t word[4] = {f[i].at, f[i].size, f[i].max, (uint32_t)f[i].kind};

		for (size_t k = 0; k < 4; k++)
			h = (h ^ word[k]) * 16777619u;
	}
	return h;
}

static uint32_t shape(void)
{
	uint32_t h = 2166136261u;

	h = shape_of(h, swarm_fields, PS_ARRAY_LEN(swarm_fields));
	h = shape_of(h, peer_fields, PS_ARRAY_LEN(peer_fields));
	return shape_of(h, place_texts, PS_ARRAY_LEN(place_texts));
}

/* A number of 1, 2, 4 or 8 bytes of our own memory. */
static uint64_t host_get(const void *p, size_t size)
{
	uint64_t v8;
	uint32_t v4;
	uint16_t v2;

	switch (size) {
	case 1: return *(const uint8_t *)p;
	case 2: memcpy(&v2, p, 2); return v2;
	case 4: memcpy(&v4, p, 4); return v4;
	default: PS_ASSERT(size == 8); memcpy(&v8, p, 8);
	}
	return v8;
}

static void host_put(void *p, size_t size, uint64_t v)
{
	uint32_t v4 = (uint32_t)v;
	uint16_t v2 = (uint16_t)v;
	uint8_t v1 = (uint8_t)v;

	switch (size) {
	case 1: memcpy(p, &v1, 1); return;
	case 2: memcpy(p, &v2, 2); return;
	case 4: memcpy(p, &v4, 4); return;
	default: PS_ASSERT(size == 8); memcpy(p, &v, 8);
	}
}

/* ---- another clock ----------------------------------------------------------------- */

static void shift(const struct field *f, size_t n, void *record, int64_t seconds)
{
	for (size_t i = 0; i < n; i++) {
		uint8_t *p = (uint8_t *)record + f[i].at;
		uint64_t v = f[i].kind == SECONDS || f[i].kind == MILLIS
				     ? host_get(p, f[i].size)
				     : 0;
		int64_t to = (int64_t)v + (f[i].kind == MILLIS ? 1000 : 1) * seconds;

		if (v)
			host_put(p, f[i].size, to > 0 ? (uint64_t)to : 1);
	}
}

void listcode_shift(struct shm_swarm *s, struct shm_peer *peer, int64_t seconds)
{
	shift(swarm_fields, PS_ARRAY_LEN(swarm_fields), s, seconds);
	for (uint32_t i = 0; i < s->npeers; i++)
		shift(peer_fields, PS_ARRAY_LEN(peer_fields), &peer[i], seconds);
}

/* ---- writing ----------------------------------------------------------------------- */

/* References in use, in order, without doubles; number[i] is what ref[i] is called. */
struct dict {
	uint32_t n, ref[LISTCODE_TEXTS];
	uint16_t number[LISTCODE_TEXTS];
};

struct writer {
	struct buf *out;
	struct dict texts, places;
};

static void put_num(struct buf *out, uint64_t v, size_t size)
{
	uint8_t b[8];

	for (size_t i = 0; i < size; i++)
		b[i] = (uint8_t)(v >> 8 * i);
	buf_add(out, b, size);
}

static void put_text(struct buf *out, const char *s, size_t max)
{
	size_t len = strnlen(s, max);

	put_num(out, len, 1);
	buf_add(out, s, len);
}

static int by_ref(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void dict_add(struct dict *d, uint32_t ref)
{
	if (ref)
		d->ref[d->n++] = ref;
}

static void dict_close(struct dict *d)
{
	uint32_t n = 0;

	qsort(d->ref, d->n, sizeof(d->ref[0]), by_ref);
	for (uint32_t i = 0; i < d->n; i++)
		if (n == 0 || d->ref[n - 1] != d->ref[i])
			d->ref[n++] = d->ref[i];
	d->n = n;
}

static uint32_t dict_number(const struct dict *d, uint32_t ref)
{
	const uint32_t *at =
		ref ? bsearch(&ref, d->ref, d->n, sizeof(d->ref[0]), by_ref) : NULL;

	return at ? d->number[at - d->ref] : 0;
}

/* The count goes before the texts, those that turn out to be empty have no number. */
static void write_texts(struct writer *w, const struct listcode_names *names)
{
	char text[SHM_STRING_MAX + 1];
	struct dict *d = &w->texts;
	size_t at = w->out->len;
	uint16_t n = 0;

	put_num(w->out, 0, 2);
	for (uint32_t i = 0; i < d->n; i++) {
		names->text(names->arg, d->ref[i], text);
		d->number[i] = text[0] ? ++n : 0;
		if (text[0])
			put_text(w->out, text, SHM_STRING_MAX);
	}
	if (w->out->failed)
		return;
	w->out->p[at] = (char)(n & 255);
	w->out->p[at + 1] = (char)(n >> 8);
}

static void write_place(struct buf *out, const struct place *pl)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(place_texts); i++)
		put_text(out, (const char *)pl + place_texts[i].at,
			 place_texts[i].size - 1);
	put_num(out, pl->has_point != 0, 1);
	put_num(out, (uint32_t)pl->lat_e5, 4);
	put_num(out, (uint32_t)pl->lon_e5, 4);
	put_num(out, pl->asn, 4);
	put_num(out, pl->accuracy_km, 4);
}

static void write_places(struct writer *w, const struct listcode_names *names)
{
	struct dict *d = &w->places;
	struct place pl;

	put_num(w->out, d->n, 2);
	for (uint32_t i = 0; i < d->n; i++) {
		memset(&pl, 0, sizeof(pl));
		names->place(names->arg, d->ref[i], &pl);
		d->number[i] = (uint16_t)(i + 1);
		write_place(w->out, &pl);
	}
}

static void write_fields(const struct writer *w, const struct field *f, size_t n,
			 const void *from)
{
	for (size_t i = 0; i < n; i++) {
		const uint8_t *p = (const uint8_t *)from + f[i].at;

		if (f[i].kind == RAW)
			buf_add(w->out, p, f[i].size);
		else if (f[i].kind == TEXT)
			put_num(w->out, dict_number(&w->texts, (uint32_t)host_get(p, 4)),
				4);
		else if (f[i].kind == PLACE)
			put_num(w->out, dict_number(&w->places, (uint32_t)host_get(p, 4)),
				4);
		else if (f[i].kind != LOCAL)
			put_num(w->out, host_get(p, f[i].size), f[i].size);
	}
}

int listcode_write(struct buf *out, const struct shm_swarm *s,
		   const struct shm_peer *peer, const struct listcode_names *names)
{
	struct writer w;

	PS_ASSERT(s->npeers <= CONF_SLOT_PEERS);
	w.out = out;
	w.texts.n = w.places.n = 0;
	dict_add(&w.texts, s->tracker_said);
	dict_add(&w.texts, s->title);
	for (uint32_t i = 0; i < s->npeers; i++) {
		dict_add(&w.texts, peer[i].client);
		dict_add(&w.places, peer[i].place);
	}
	dict_close(&w.texts);
	dict_close(&w.places);
	buf_add(out, MAGIC, sizeof(MAGIC));
	put_num(out, FORMAT, 2);
	put_num(out, shape(), 4);
	write_texts(&w, names);
	write_places(&w, names);
	write_fields(&w, swarm_fields, PS_ARRAY_LEN(swarm_fields), s);
	for (uint32_t i = 0; i < s->npeers; i++)
		write_fields(&w, peer_fields, PS_ARRAY_LEN(peer_fields), &peer[i]);
	return out->failed ? -1 : 0;
}

/* ---- reading ----------------------------------------------------------------------- */

struct reader {
	const uint8_t *p;
	size_t len, at;
	uint64_t latest_ms; /* no time is later */
	int bad;
};

/* n bytes, or NULL: there are not that many. */
static const uint8_t *take(struct reader *r, size_t n)
{
	const uint8_t *p = r->p + r->at;

	if (r->bad || n > r->len - r->at) {
		r->bad = 1;
		return NULL;
	}
	r->at += n;
	return p;
}

static uint64_t take_num(struct reader *r, size_t size)
{
	const uint8_t *b = take(r, size);
	uint64_t v = 0;

	for (size_t i = 0; b && i < size; i++)
		v |= (uint64_t)b[i] << 8 * i;
	return v;
}

/* Over a text of least to most bytes, none of them a NUL: we write C strings. */
static void pass_text(struct reader *r, size_t least, size_t most)
{
	size_t len = take_num(r, 1);
	const uint8_t *s = len < least || len > most ? NULL : take(r, len);

	if (!s || memchr(s, 0, len))
		r->bad = 1;
}

int listcode_is_country(const char *s, size_t len)
{
	return len == 0 ||
	       (len == 2 && s[0] >= 'A' && s[0] <= 'Z' && s[1] >= 'A' && s[1] <= 'Z');
}

/* The last text of a place. */
static void pass_code(struct reader *r)
{
	const uint8_t *s = r->p + r->at;

	pass_text(r, 0, 2);
	if (!r->bad && !listcode_is_country((const char *)s + 1, s[0]))
		r->bad = 1;
}

static void pass_place(struct reader *r)
{
	int32_t lat, lon;

	for (size_t i = 0; i < PS_ARRAY_LEN(place_texts) - 1; i++)
		pass_text(r, 0, place_texts[i].size - 1);
	pass_code(r);
	if (take_num(r, 1) > 1)
		r->bad = 1;
	lat = (int32_t)(uint32_t)take_num(r, 4);
	lon = (int32_t)(uint32_t)take_num(r, 4);
	if (lat < -9000000 || lat > 9000000 || lon < -18000000 || lon > 18000000)
		r->bad = 1;
	(void)take_num(r, 4); /* the AS: any number is one */
	if (take_num(r, 4) > LISTCODE_KM_MAX)
		r->bad = 1;
}

static void read_dicts(struct reader *r, struct listcode *out)
{
	out->ntexts = (uint32_t)take_num(r, 2);
	if (out->ntexts > LISTCODE_TEXTS)
		r->bad = 1;
	for (uint32_t i = 1; !r->bad && i <= out->ntexts; i++) {
		out->text[i] = (uint32_t)r->at;
		pass_text(r, 1, SHM_STRING_MAX);
	}
	out->nplaces = (uint32_t)take_num(r, 2);
	if (out->nplaces > CONF_SLOT_PEERS)
		r->bad = 1;
	for (uint32_t i = 1; !r->bad && i <= out->nplaces; i++) {
		out->place[i] = (uint32_t)r->at;
		pass_place(r);
	}
}

static uint64_t most_of(const struct reader *r, const struct listcode *l,
			const struct field *f)
{
	switch (f->kind) {
	case SECONDS: return r->latest_ms / 1000;
	case MILLIS: return r->latest_ms;
	case TEXT: return l->ntexts;
	case PLACE: return l->nplaces;
	default: return f->max;
	}
}

static void read_fields(struct reader *r, const struct listcode *l, const struct field *f,
			size_t n, void *to)
{
	for (size_t i = 0; i < n; i++) {
		uint8_t *p = (uint8_t *)to + f[i].at;
		const uint8_t *raw;
		uint64_t v;

		if (f[i].kind == LOCAL) {
			memset(p, 0, f[i].size);
		} else if (f[i].kind == RAW) {
			raw = take(r, f[i].size);
			if (raw)
				memcpy(p, raw, f[i].size);
		} else {
			v = take_num(r, f[i].size);
			if (v > most_of(r, l, &f[i]))
				r->bad = 1;
			host_put(p, f[i].size, v);
		}
	}
}

static int peer_is_sound(const struct shm_peer *p)
{
	size_t len = p->country[0] || p->country[1] ? 2 : 0;

	return p->port != 0 && listcode_is_country(p->country, len);
}

static int swarm_is_sound(const struct shm_swarm *s, const uint8_t id[IH_LEN])
{
	uint64_t states = (uint64_t)s->connected + s->contacted + s->tried;

	return memcmp(s->id, id, IH_LEN) == 0 && s->total_peers >= s->npeers &&
	       states <= s->total_peers && s->trackers_ok <= s->trackers &&
	       s->cached_at_ms != 0;
}

int listcode_read(struct listcode *out, const uint8_t id[IH_LEN], const void *p,
		  size_t len, uint64_t now_ms)
{
	struct reader r = {.p = p, .len = len, .latest_ms = now_ms + LISTCODE_SKEW_MS};
	const uint8_t *magic = take(&r, sizeof(MAGIC));

	if (!magic || memcmp(magic, MAGIC, sizeof(MAGIC)) != 0 || len > LISTCODE_MAX ||
	    take_num(&r, 2) != FORMAT || take_num(&r, 4) != shape())
		return -1;
	out->p = p;
	read_dicts(&r, out);
	read_fields(&r, out, swarm_fields, PS_ARRAY_LEN(swarm_fields), &out->s);
	if (r.bad || !swarm_is_sound(&out->s, id))
		return -1;
	for (uint32_t i = 0; !r.bad && i < out->s.npeers; i++) {
		read_fields(&r, out, peer_fields, PS_ARRAY_LEN(peer_fields),
			    &out->peer[i]);
		if (!r.bad && !peer_is_sound(&out->peer[i]))
			r.bad = 1;
	}
	return r.bad || r.at != len ? -1 : 0;
}

const char *listcode_text(const struct listcode *l, uint32_t i, size_t *len)
{
	PS_ASSERT(i >= 1 && i <= l->ntexts);
	*len = l->p[l->text[i]];
	return (const char *)l->p + l->text[i] + 1;
}

void listcode_place(const struct listcode *l, uint32_t i, struct place *out)
{
	const uint8_t *p = l->p + l->place[i];
	uint32_t n[4];

	PS_ASSERT(i >= 1 && i <= l->nplaces);
	memset(out, 0, sizeof(*out));
	for (size_t k = 0; k < PS_ARRAY_LEN(place_texts); k++) {
		memcpy((char *)out + place_texts[k].at, p + 1, p[0]);
		p += 1 + p[0];
	}
	out->has_point = *p++;
	for (size_t k = 0; k < 4; k++, p += 4)
		n[k] = p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
		       (uint32_t)p[3] << 24;
	out->lat_e5 = (int32_t)n[0];
	out->lon_e5 = (int32_t)n[1];
	out->asn = n[2];
	out->accuracy_km = n[3];
}
