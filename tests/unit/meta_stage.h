/*
 * meta_stage.h -- info dicts and torrents, made by the test.
 * Included by test_metainfo.c and tests/fuzz/fuzz_meta.c.
 */
#ifndef PEERSCOPE_TESTS_META_STAGE_H
#define PEERSCOPE_TESTS_META_STAGE_H

#include <string.h>

#include "collector/metainfo.h"

#define STAGE_PIECE 16384

/* Bencode as it is typed, but strings without their lengths: <name> is 4:name. Of digits
 * and letters outside of < > nothing changes. */
static inline void stage_add(struct buf *b, const char *text)
{
	while (*text) {
		const char *end = *text == '<' ? strchr(text, '>') : NULL;

		if (end) {
			buf_printf(b, "%zu:", (size_t)(end - text - 1));
			buf_add(b, text + 1, (size_t)(end - text - 1));
			text = end + 1;
		} else {
			buf_add(b, text++, 1);
		}
	}
}

/* key and a string of that many bytes. */
static inline void stage_bytes(struct buf *b, const char *key, char fill, size_t n)
{
	stage_add(b, key);
	buf_printf(b, "%zu:", n);
	for (size_t i = 0; i < n; i++)
		buf_add(b, &fill, 1);
}

static inline void stage_end_v1(struct buf *b, size_t pieces)
{
	buf_printf(b, "4:name4:name12:piece lengthi%de", STAGE_PIECE);
	stage_bytes(b, "<pieces>", 'p', pieces * 20);
	buf_str(b, "e");
}

/* files: each "d<length>i5e<path>l<a>ee"; pieces: how many. */
static inline void stage_v1(struct buf *b, const char *files, size_t pieces)
{
	stage_add(b, "d<files>l");
	stage_add(b, files);
	buf_str(b, "e");
	stage_end_v1(b, pieces);
}

/* A leaf of a file tree. */
static inline void stage_leaf(struct buf *b, uint64_t length)
{
	buf_printf(b, "d0:d6:lengthi%llue", (unsigned long long)length);
	if (length)
		stage_bytes(b, "<pieces root>", 'r', 32);
	buf_str(b, "ee");
}

/* tree: as of stage_add; each "#" is a leaf of 5 bytes, "@" one of two pieces and a byte.
 * files: what stands there for v1, with so many pieces; or NULL. */
static inline void stage_v2(struct buf *b, const char *tree, const char *files,
			    size_t pieces)
{
	char one[2] = "";

	stage_add(b, "d<file tree>");
	for (; *tree; tree++) {
		const char *end = *tree == '<' ? strchr(tree, '>') : NULL;

		if (*tree == '#') {
			stage_leaf(b, 5);
		} else if (*tree == '@') {
			stage_leaf(b, 2 * STAGE_PIECE + 1);
		} else if (end) {
			buf_printf(b, "%zu:", (size_t)(end - tree - 1));
			buf_add(b, tree + 1, (size_t)(end - tree - 1));
			tree = end;
		} else {
			one[0] = *tree;
			buf_str(b, one);
		}
	}
	if (files)
		stage_add(b, files);
	stage_add(b, "<meta version>i2e<name><name>");
	buf_printf(b, "12:piece lengthi%de", STAGE_PIECE);
	if (files)
		stage_bytes(b, "<pieces>", 'p', pieces * 20);
	buf_str(b, "e");
}

#endif
