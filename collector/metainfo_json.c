/* metainfo_json.c -- a torrent as JSON, a few files at a time; see metainfo.h. */
#include "collector/metainfo.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/clean.h"

enum { STEP_FILES, STEP_DONE };

static void put_hash(struct json *j, const char *key, const uint8_t *p, size_t len)
{
	char text[2 * IH_V2_LEN + 1];

	hex_text(text, p, len);
	json_str(j, key, text);
}

/* ---- what stands before the files ------------------------------------------------------ */

static void put_head(struct metainfo_json *w)
{
	char name[METAINFO_NAME + 1];

	json_obj(&w->j, NULL);
	put_hash(&w->j, "info_hash", w->v1 ? w->v1 : w->v2, IH_LEN);
	if (w->v2)
		put_hash(&w->j, "info_hash_v2", w->v2, IH_V2_LEN);
	metainfo_name(w->m, name);
	json_str(&w->j, "name", name);
	json_uint(&w->j, "size", w->m->size);
	json_arr(&w->j, "files");
}

static void put_file(struct json *j, const struct metainfo_file *f)
{
	json_obj(j, NULL);
	json_strn(j, "path", f->path, f->path_len);
	json_uint(j, "size", f->size);
	json_uint(j, "offset", f->offset);
	json_uint(j, "index", f->index);
	json_bool(j, "pad", f->pad);
	if (f->attr[0])
		json_str(j, "attr", f->attr);
	/* The blank makes room for "false": SELECTED_YES. */
	json_bool(j, "selected", 1);
	buf_str(j->out, " ");
	json_obj_end(j);
}

/* ---- what stands behind them ----------------------------------------------------------- */

/* RFC 3339, in UTC; what cannot be a date since 1970 with four digits is none. */
static void put_date(struct json *j, int64_t s)
{
	const int64_t end = 253402300800; /* of the year 9999 */
	time_t t = (time_t)s;
	struct tm tm;
	char text[64];

	if (s <= 0 || s >= end || !gmtime_r(&t, &tm))
		return;
	snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900,
		 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
	json_str(j, "created_at", text);
}

static void put_comment(struct json *j, struct benc_span s)
{
	size_t len = 0;

	while (len < s.len) {
		size_t n = utf8_len(s.p + len, s.len - len);

		n += n == 0;
		if (len + n > METAINFO_COMMENT)
			break;
		len += n;
	}
	if (len)
		json_strn(j, "comment", (const char *)s.p, len);
}

static void put_urls(struct json *j, const struct metainfo_beside *b)
{
	if (b->ntrackers) {
		json_arr(j, "trackers");
		for (uint32_t i = 0; i < b->ntrackers; i++)
			json_strn(j, NULL, (const char *)b->tracker[i].url.p,
				  b->tracker[i].url.len);
		json_arr_end(j);
	}
	if (b->nseeds) {
		json_arr(j, "web_seeds");
		for (uint32_t i = 0; i < b->nseeds; i++)
			json_strn(j, NULL, (const char *)b->seed[i].p, b->seed[i].len);
		json_arr_end(j);
	}
}

/* What is known of it that its hash does not prove. */
static void put_beside(struct json *j, const struct metainfo_beside *b)
{
	char by[METAINFO_NAME + 1];

	if (b->created_by.len) {
		clean_text(by, sizeof(by), b->created_by.p, b->created_by.len, "", NULL);
		json_str(j, "created_by", by);
	}
	put_date(j, b->created_s);
	put_comment(j, b->comment);
	put_urls(j, b);
}

void metainfo_json_beside(struct buf *out, const struct metainfo_beside *b)
{
	struct json j;

	json_init(&j, out);
	json_obj(&j, NULL);
	put_beside(&j, b);
	json_obj_end(&j);
}

/* What a link needs to find it again; as many URLs as a link may have bytes. */
static void put_link(struct metainfo_json *w)
{
	const struct metainfo_beside *b = w->b;
	char name[METAINFO_NAME + 1];
	struct magnet_writer link;
	struct buf text;

	buf_init(&text, MAGNET_MAX);
	magnet_begin(&link, &text, MAGNET_MAX, w->v1, w->v2);
	magnet_put(&link, "dn", name, metainfo_name(w->m, name));
	for (uint32_t i = 0; i < b->ntrackers; i++)
		magnet_put(&link, "tr", b->tracker[i].url.p, b->tracker[i].url.len);
	for (uint32_t i = 0; i < b->nseeds; i++)
		magnet_put(&link, "ws", b->seed[i].p, b->seed[i].len);
	if (text.failed)
		w->j.out->failed = 1; /* no memory */
	else
		json_strn(&w->j, "magnet_uri", text.p, text.len);
	buf_free(&text);
}

static void put_tail(struct metainfo_json *w)
{
	struct json *j = &w->j;

	json_arr_end(j);
	json_uint(j, "file_count", w->m->nfiles - w->m->npads);
	put_beside(j, w->b);
	json_uint(j, "piece_length", w->m->piece_length);
	json_uint(j, "piece_count", w->m->piece_count);
	json_bool(j, "private", w->m->is_private);
	put_link(w);
	json_bool(j, "verified", 1); /* or we were not here */
	json_obj_end(j);
}

/* ---- steps --------------------------------------------------------------------------- */

int metainfo_json_begin(struct metainfo_json *w, struct buf *out,
			const struct metainfo *m, const struct metainfo_beside *b,
			const uint8_t v1[IH_LEN], const uint8_t v2[IH_V2_LEN])
{
	PS_ASSERT(v1 || v2);
	w->m = m;
	w->b = b;
	w->v1 = v1;
	w->v2 = v2;
	w->step = STEP_FILES;
	json_init(&w->j, out);
	if (metainfo_begin(&w->files, m) != 0)
		return -1;
	put_head(w);
	return 0;
}

int metainfo_json_step(struct metainfo_json *w, uint32_t files)
{
	struct metainfo_file f;

	for (; w->step == STEP_FILES && files; files--) {
		if (metainfo_next(&w->files, &f)) {
			put_file(&w->j, &f);
			continue;
		}
		put_tail(w);
		w->step = STEP_DONE;
	}
	return w->step != STEP_DONE;
}

void metainfo_json_end(struct metainfo_json *w)
{
	metainfo_end(&w->files);
}
