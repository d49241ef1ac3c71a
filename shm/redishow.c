/* redishow.c -- see redishow.h. */
#include "shm/redishow.h"

#include <stddef.h>

const char *redishow_name(int how)
{
	static const char *const name[] =
		{[REDISHOW_OFF] = "off",         [REDISHOW_CONNECTING] = "connecting",
		 [REDISHOW_UP] = "up",           [REDISHOW_DOWN] = "down",
		 [REDISHOW_SILENT] = "silent",   [REDISHOW_PASSWORD] = "password",
		 [REDISHOW_DENIED] = "denied",   [REDISHOW_LOADING] = "loading",
		 [REDISHOW_FULL] = "full",       [REDISHOW_READ_ONLY] = "read-only",
		 [REDISHOW_CLUSTER] = "cluster", [REDISHOW_GARBAGE] = "garbage",
		 [REDISHOW_ERROR] = "error"};

	return how >= 0 && (size_t)how < sizeof(name) / sizeof(*name) ? name[how]
								      : "unknown";
}
