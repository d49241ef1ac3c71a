/* status.c -- status codes; see status.h. */
#include "shm/stat.h"
#include "worker/status.h"

const char *status_phrase(int status)
{
	switch (status) {
	case 200: return "OK";
	case 202: return "Accepted";
	case 204: return "No Content";
	case 304: return "Not Modified";
	case 400: return "Bad Request";
	case 404: return "Not Found";
	case 405: return "Method Not Allowed";
	case 408: return "Request Timeout";
	case 413: return "Content Too Large";
	case 414: return "URI Too Long";
	case 415: return "Unsupported Media Type";
	case 417: return "Expectation Failed";
	case 422: return "Unprocessable Content";
	case 429: return "Too Many Requests";
	case 431: return "Request Header Fields Too Large";
	case 500: return "Internal Server Error";
	case 501: return "Not Implemented";
	case 503: return "Service Unavailable";
	case 504: return "Gateway Timeout";
	case 505: return "HTTP Version Not Supported";
	}
	return "Unknown";
}

void status_count(int status)
{
	stat_inc(http_requests);
	if (status == 304)
		stat_inc(http_304);
	else if (status >= 500)
		stat_inc(http_5xx);
	else if (status >= 400)
		stat_inc(http_4xx);
	else
		stat_inc(http_2xx);
}

static void begin(struct json *j, struct buf *out, const char *error, const char *message,
		  const char *code)
{
	json_init(j, out);
	json_obj(j, NULL);
	json_str(j, "error", error);
	json_str(j, "message", message);
	json_str(j, "code", code);
}

void status_error_json(struct buf *out, const char *error, const char *message,
		       const char *code, const char *request_id)
{
	struct json j;

	begin(&j, out, error, message, code);
	json_str(&j, "request_id", request_id);
	json_obj_end(&j);
}

void status_part_json(struct buf *out, const char *error, const char *message,
		      const char *code, int status, uint32_t retry_s)
{
	struct json j;

	begin(&j, out, error, message, code);
	json_int(&j, "status", status);
	if (retry_s)
		json_uint(&j, "retry_after", retry_s);
	json_obj_end(&j);
}
