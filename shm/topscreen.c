/* topscreen.c -- see topscreen.h. */
#include "shm/topscreen.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/clock.h"

#define SCREEN_BYTES (1u << 20) /* ceiling of what is painted at once */
#define FOLD_INDENT "    "

static volatile sig_atomic_t told_to_end; /* set by a signal, nothing else */

static void on_signal(int sig)
{
	(void)sig;
	told_to_end = 1;
}

void topscreen_enter(struct topscreen *s, FILE *out)
{
	static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	struct sigaction sa = {.sa_handler = on_signal};
	struct termios raw;

	told_to_end = 0;
	for (size_t i = 0; i < PS_ARRAY_LEN(ends); i++)
		sigaction(ends[i], &sa, NULL);
	memset(s, 0, sizeof(*s));
	s->out = out;
	s->tty_out = isatty(fileno(out));
	s->tty_in = s->tty_out && isatty(STDIN_FILENO) &&
		    tcgetattr(STDIN_FILENO, &s->before) == 0;
	if (!s->tty_in)
		return;
	raw = s->before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VMIN] = 0;
	raw.c_cc[VTIME] = 0;
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

void topscreen_leave(const struct topscreen *s)
{
	if (s->tty_in)
		tcsetattr(STDIN_FILENO, TCSANOW, &s->before);
}

/* --- what fits ------------------------------------------------------------- */

void topscreen_fold(struct buf *out, const char *text, size_t cols)
{
	const size_t indent = sizeof(FOLD_INDENT) - 1;

	cols = cols > 2 * indent ? cols : 2 * indent;
	while (*text) {
		size_t len = strcspn(text, "\n"), room = cols;

		for (; len > room; room = cols - indent) {
			buf_add(out, text, room);
			buf_str(out, "\n" FOLD_INDENT);
			text += room;
			len -= room;
		}
		buf_add(out, text, len);
		buf_str(out, "\n");
		text += len + (text[len] == '\n');
	}
}

static size_t rows_of(const char *text)
{
	size_t n = 0;

	for (; (text = strchr(text, '\n')); text++)
		n++;
	return n;
}

static const char *row(const char *text, size_t n)
{
	while (n-- > 0)
		text = strchr(text, '\n') + 1;
	return text;
}

void topscreen_page(struct buf *out, const char *text, size_t rows, size_t *at)
{
	size_t all = rows_of(text), page = rows > 1 ? rows - 1 : 1;
	const char *from;

	if (all <= rows) {
		*at = 0;
		buf_add(out, text, strlen(text) - (all > 0)); /* no scrolling */
		return;
	}
	if (*at > all - page)
		*at = all - page;
	from = row(text, *at);
	buf_add(out, from, (size_t)(row(from, page) - from));
	buf_printf(out, "-- rows %zu to %zu of %zu; " TOPSCREEN_HELP, *at + 1, *at + page,
		   all);
}

int topscreen_keys(const char *keys, size_t len, size_t rows, size_t *at)
{
	static const struct {
		const char *key;
		char is;
	} known[] = {{"\033[A", 'k'}, {"\033[B", 'j'},  {"\033OA", 'k'},
		     {"\033OB", 'j'}, {"\033[5~", 'b'}, {"\033[6~", ' '},
		     {"\033[H", 'g'}, {"\033[1~", 'g'}, {"\033[F", 'G'},
		     {"\033[4~", 'G'}};
	size_t page = rows > 2 ? rows - 2 : 1;

	while (len > 0) {
		size_t took = 1;
		char key = *keys;

		for (size_t i = 0; i < PS_ARRAY_LEN(known); i++)
			if (strlen(known[i].key) <= len &&
			    memcmp(keys, known[i].key, strlen(known[i].key)) == 0) {
				took = strlen(known[i].key);
				key = known[i].is;
			}
		keys += took;
		len -= took;
		switch (key) {
		case 'q':
		case 'Q': return 1;
		case 'j':
		case '\n': ++*at; break;
		case 'k': *at -= *at > 0; break;
		case ' ': *at += page; break;
		case 'b': *at -= *at > page ? page : *at; break;
		case 'g': *at = 0; break;
		case 'G': *at = SIZE_MAX / 2; break;
		default: break;
		}
	}
	return 0;
}

/* --- the terminal ------------------------------------------------------------ */

/* 0: nobody says how large it is. */
static size_t rows_there(const struct topscreen *s, size_t *cols)
{
	struct winsize size;

	if (ioctl(fileno(s->out), TIOCGWINSZ, &size) != 0 || size.ws_row < 2 ||
	    size.ws_col < 2)
		return 0;
	*cols = size.ws_col;
	return size.ws_row;
}

static int paint(FILE *out, const struct buf *b)
{
	if (b->failed || fwrite(b->p, 1, b->len, out) != b->len)
		return -1;
	return fflush(out) == 0 ? 0 : -1;
}

int topscreen_show(struct topscreen *s, const struct buf *picture)
{
	struct buf folded, page;
	size_t cols, rows;
	int rc;

	if (!s->tty_out)
		return paint(s->out, picture);
	buf_init(&folded, SCREEN_BYTES);
	buf_init(&page, SCREEN_BYTES);
	buf_str(&page, "\033[H\033[J");
	rows = rows_there(s, &cols);
	if (rows == 0) {
		buf_add(&page, picture->p, picture->len);
	} else {
		topscreen_fold(&folded, picture->p, cols);
		if (!folded.failed)
			topscreen_page(&page, folded.p, rows, &s->at);
	}
	page.failed |= folded.failed;
	rc = paint(s->out, &page);
	buf_free(&folded);
	buf_free(&page);
	return rc;
}

enum topscreen_rc topscreen_wait(struct topscreen *s, uint64_t until_ms)
{
	struct pollfd p = {.fd = s->tty_in ? STDIN_FILENO : -1, .events = POLLIN};
	uint64_t now;

	while ((now = clock_ms()) < until_ms && !told_to_end) {
		size_t cols, was = s->at;
		char keys[64];
		ssize_t n;

		if (poll(&p, 1, (int)(until_ms - now)) <= 0)
			continue;
		n = read(STDIN_FILENO, keys, sizeof(keys));
		if (n <= 0)
			p.fd = -1; /* no more keys: signals still end us */
		else if (topscreen_keys(keys, (size_t)n, rows_there(s, &cols), &s->at))
			return TOPSCREEN_LEAVE;
		else if (s->at != was)
			return TOPSCREEN_MOVED;
	}
	return told_to_end ? TOPSCREEN_LEAVE : TOPSCREEN_TIME;
}
