/* online.c -- see online.h. */
#include "shm/online.h"

const char *online_state_name(int state)
{
	switch (state) {
	case ONLINE_OFF: return "off";
	case ONLINE_READY: return "ready";
	case ONLINE_LIMITED: return "limited";
	case ONLINE_DOWN: return "down";
	case ONLINE_SPENT: return "spent";
	default: return "unknown";
	}
}
