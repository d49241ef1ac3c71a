/* engine.c -- see engine.h. */
#include "shm/engine.h"

const char *engine_state_name(int state)
{
	switch (state) {
	case ENGINE_OFF: return "off";
	case ENGINE_UP: return "up";
	case ENGINE_DOWN: return "down";
	default: return "unknown";
	}
}
