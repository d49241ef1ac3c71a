/* note.c -- see note.h. */
#include "shm/note.h"

#include <string.h>

#include "shm/stat.h"
#include "shm/word.h"

static struct shm_note *own; /* NULL unless this process is the collector */

size_t note_at(void)
{
	return shm_round_up(STAT_GAUGE_N * sizeof(shm_u64), SHM_LINE);
}

size_t note_bytes(void)
{
	return NOTE_N * sizeof(struct shm_note);
}

static struct shm_note *notes(const struct seg *seg)
{
	return (struct shm_note *)((char *)seg_at(seg, SHM_BOARD) + note_at());
}

/* Where to cut, so that no character loses its tail. */
static size_t cut(const char *text, size_t max)
{
	size_t len = strlen(text);

	if (len <= max)
		return len;
	for (len = max; len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80;)
		len--;
	return len;
}

void note_own(struct seg *seg)
{
	static const char empty[NOTE_SIZE];

	own = seg ? notes(seg) : NULL;
	for (int i = 0; own && i < NOTE_N; i++) {
		/* Odd: a predecessor died inside. It stays odd until the words are ours:
		 * a reader may still hold the even number before it. */
		if ((seq_read(&own[i].seq) & 1) == 0)
			seq_begin(&own[i].seq);
		word_write(own[i].text, empty, NOTE_SIZE / 8);
		seq_end(&own[i].seq);
	}
}

void note_set(enum note n, const char *text)
{
	char now[NOTE_SIZE], next[NOTE_SIZE] = "";

	if (!own)
		return;
	memcpy(next, text, cut(text, NOTE_SIZE - 1));
	word_read(now, own[n].text, NOTE_SIZE / 8);
	if (memcmp(now, next, NOTE_SIZE) == 0)
		return;
	seq_begin(&own[n].seq);
	word_write(own[n].text, next, NOTE_SIZE / 8);
	seq_end(&own[n].seq);
}

int note_get(const struct seg *seg, enum note n, char out[NOTE_SIZE])
{
	const struct shm_note *note = &notes(seg)[n];

	for (int i = 0; i < NOTE_TRIES; i++) {
		uint32_t seq = seq_read(&note->seq);

		if (seq & 1)
			continue;
		word_read(out, note->text, NOTE_SIZE / 8);
		if (!seq_same(&note->seq, seq))
			continue;
		out[NOTE_SIZE - 1] = '\0'; /* whatever the segment says */
		return 0;
	}
	out[0] = '\0';
	return -1;
}
