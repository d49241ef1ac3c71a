/*
 * log.h -- one line per event, one write(2) per line.
 *
 *   2026-01-31T12:00:00.123Z peerscope[w2.g7 812] warn geo: text
 *
 * or, with log.format = json, the same fields as one JSON object. A line that is
 * about a request says which: "(request ID)", "request_id". Lines are cut
 * at 1 KiB; control characters and bytes that are not ASCII are replaced, so raw
 * bytes of a peer never reach a terminal. Addresses of peers stand in no line above
 * debug (tests/e2e/test_logs.py). A call site that repeats itself more
 * than LOG_BURST times in a second is silent for the rest of it and says
 * before its next line how many are missing ("(+37 alike)"). One thread per
 * process logs. Proof: tests/unit/test_log.c.
 */
#ifndef PEERSCOPE_COMMON_LOG_H
#define PEERSCOPE_COMMON_LOG_H

#include <stdint.h>

#include "common/err.h"

enum log_level {		/* order matters: log.level names the last shown */
	LOG_FATAL = 0,		/* the process ends */
	LOG_ERROR = 1,		/* someone must act */
	LOG_WARN = 2,		/* we coped */
	LOG_NOTICE = 3,		/* life events */
	LOG_INFO = 4,
	LOG_DEBUG = 5,
};

#define LOG_BURST 20

struct log_site {		/* one static per call site, made by LOG() */
	uint64_t second;
	uint32_t lines, dropped;
};

/*
 * who: "master", "w2.g7", "collector"; copied. path: "" for stderr, else a file
 * opened with O_APPEND. May be called again (after fork, on reload).
 * On failure logging goes on where it went before.
 */
PS_MUST int log_open(const char *who, enum log_level level, int json,
		     const char *path, char err[ERRLEN]);
/* USR1: open the file again, after logrotate moved it. stderr: nothing. */
PS_MUST int log_reopen(char err[ERRLEN]);

int log_wants(enum log_level level);
/* The lines that follow are about the request of this id (reqid.h; copied), until the next
 * call; "" is none. */
void log_about(const char *request);
const char *log_subject(void);		/* that id, or "" */
/* topic: "geo", "http"; the text must not end in a newline. */
void log_line(struct log_site *site, enum log_level level, const char *topic,
	      const char *fmt, ...) PS_PRINTF(4, 5);

/* For event_set_log_callback: what libevent says would go to stderr in a form of its own. That
 * a name server is silent (debug) is told by whoever asked it. */
void log_libevent(int severity, const char *msg);

#define LOG(level, topic, ...)                                                \
	do {                                                                  \
		static struct log_site log_site_;                             \
		if (log_wants(level))                                         \
			log_line(&log_site_, level, topic, __VA_ARGS__);      \
	} while (0)

#define log_fatal(topic, ...) LOG(LOG_FATAL, topic, __VA_ARGS__)
#define log_error(topic, ...) LOG(LOG_ERROR, topic, __VA_ARGS__)
#define log_warn(topic, ...) LOG(LOG_WARN, topic, __VA_ARGS__)
#define log_notice(topic, ...) LOG(LOG_NOTICE, topic, __VA_ARGS__)
#define log_info(topic, ...) LOG(LOG_INFO, topic, __VA_ARGS__)
#define log_debug(topic, ...) LOG(LOG_DEBUG, topic, __VA_ARGS__)

#endif
