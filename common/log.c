/* log.c -- see log.h. */
#include "common/log.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/reqid.h"

#define LOG_LINE_BYTES 1024
#define LOG_PATH_MAX 1000

static struct {
	int fd;
	int json;
	enum log_level level;
	char who[32];
	char path[LOG_PATH_MAX + 1];
	char request[REQID_MAX + 1];
} log_state = {STDERR_FILENO, 0, LOG_NOTICE, "start", "", ""};

static const char *const log_names[] = {"fatal",  "error", "warn",
					"notice", "info",  "debug"};

static void log_last_words(const char *words);

/* Opens path (stderr for "") and lets go of the file before. */
static int log_take(const char *path, char err[ERRLEN])
{
	int fd = STDERR_FILENO, old = log_state.fd;

	if (strlen(path) > LOG_PATH_MAX)
		return err_set(err, "log file: path is longer than %d bytes",
			       LOG_PATH_MAX);
	if (path[0])
		fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY,
			  0640);
	if (fd < 0)
		return err_errno(err, "log file %s", path);
	log_state.fd = fd;
	if (old != STDERR_FILENO)
		close(old);
	return 0;
}

int log_open(const char *who, enum log_level level, int json, const char *path,
	     char err[ERRLEN])
{
	if (log_take(path, err) != 0)
		return -1;
	if (path != log_state.path)
		snprintf(log_state.path, sizeof(log_state.path), "%s", path);
	snprintf(log_state.who, sizeof(log_state.who), "%s", who);
	log_state.level = level;
	log_state.json = json;
	err_last_words(log_last_words);
	return 0;
}

int log_reopen(char err[ERRLEN])
{
	if (!log_state.path[0] || log_take(log_state.path, err) == 0)
		return 0;
	return err_set(err, "can't open %.*s again: %s; the old file stays in use",
		       ERRLEN / 2, log_state.path, strerror(errno));
}

int log_wants(enum log_level level)
{
	return level <= log_state.level;
}

void log_about(const char *request)
{
	size_t n = strnlen(request, REQID_MAX + 1);

	if (!reqid_sane(request, n))
		n = 0;
	memcpy(log_state.request, request, n);
	log_state.request[n] = '\0';
}

const char *log_subject(void)
{
	return log_state.request;
}

/* Peers choose bytes that end up here: nothing but printable ASCII passes. */
static void log_clean(char *s)
{
	for (; *s; s++) {
		if ((unsigned char)*s < 0x20 || (unsigned char)*s > 0x7e)
			*s = '?';
	}
}

/* As much of text as fits, without a NUL; its length. After log_clean only two bytes need
 * an escape in JSON. */
static size_t log_fit(char *out, size_t size, const char *text)
{
	size_t n = 0;

	for (; *text && n + 2 <= size; text++) {
		if (log_state.json && (*text == '"' || *text == '\\'))
			out[n++] = '\\';
		out[n++] = *text;
	}
	return n;
}

static void log_time(char out[32])
{
	uint64_t now = clock_wall_ms();
	time_t second = (time_t)(now / 1000);
	struct tm tm;
	size_t n;

	gmtime_r(&second, &tm);
	n = strftime(out, 24, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + n, 32 - n, ".%03uZ", (unsigned)(now % 1000));
}

/* request: an id, or "". What stands behind the text is never cut. */
static void log_write(int fd, enum log_level level, const char *topic, const char *text,
		      const char *request)
{
	char line[LOG_LINE_BYTES], tail[REQID_MAX + 32], when[32];
	int json = log_state.json;
	size_t n;
	ssize_t rc;

	log_time(when);
	snprintf(line, sizeof(line),
		 json ? "{\"time\":\"%s\",\"who\":\"%s\",\"pid\":%ld,\"level\":\"%s\","
			"\"topic\":\"%.16s\",\"message\":\""
		      : "%s peerscope[%s %ld] %s %.16s: ",
		 when, log_state.who, (long)getpid(), log_names[level], topic);
	if (request[0])
		snprintf(tail, sizeof(tail),
			 json ? "\",\"request_id\":\"%s\"}\n" : " (request %s)\n",
			 request);
	else
		snprintf(tail, sizeof(tail), "%s", json ? "\"}\n" : "\n");
	n = strlen(line);
	n += log_fit(line + n, sizeof(line) - n - strlen(tail), text);
	memcpy(line + n, tail, strlen(tail));
	n += strlen(tail);
	do
		rc = write(fd, line, n);
	while (rc < 0 && errno == EINTR);
}

/* Of a process that dies: into the log, and on stderr in any case. */
static void log_last_words(const char *words)
{
	char text[LOG_LINE_BYTES];

	snprintf(text, sizeof(text), "%s", words);
	log_clean(text);
	log_write(log_state.fd, LOG_FATAL, "last words", text, log_state.request);
	if (log_state.fd != STDERR_FILENO)
		log_write(STDERR_FILENO, LOG_FATAL, "last words", text,
			  log_state.request);
}

/* May this site speak? Tells what it kept back in an earlier second. */
static int log_may(struct log_site *site, enum log_level level, const char *topic)
{
	uint64_t second = clock_ms() / 1000;
	uint32_t missing = site->dropped;
	char text[32];

	if (site->second != second) {
		site->second = second;
		site->lines = site->dropped = 0;
		if (missing) {
			snprintf(text, sizeof(text), "(+%u alike)", missing);
			log_write(log_state.fd, level, topic, text, "");
		}
	}
	if (site->lines >= LOG_BURST) {
		site->dropped++;
		return 0;
	}
	site->lines++;
	return 1;
}

void log_line(struct log_site *site, enum log_level level, const char *topic,
	      const char *fmt, ...)
{
	char text[LOG_LINE_BYTES];
	int saved = errno; /* a caller may log before it looks */
	va_list ap;

	PS_ASSERT(level >= LOG_FATAL && level <= LOG_DEBUG);
	if (log_may(site, level, topic)) {
		va_start(ap, fmt);
		vsnprintf(text, sizeof(text), fmt, ap);
		va_end(ap);
		log_clean(text);
		log_write(log_state.fd, level, topic, text, log_state.request);
	}
	errno = saved;
}

void log_libevent(int severity, const char *msg)
{
	if (severity >= EVENT_LOG_WARN)
		log_warn("libevent", "%s", msg);
	else
		log_debug("libevent", "%s", msg);
}
