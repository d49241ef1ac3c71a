/* iface.c -- see iface.h. */
#include "shm/iface.h"

const char *iface_why_text(enum iface_why why)
{
	switch (why) {
	case IFACE_OK: return "is there";
	case IFACE_MISSING: return "is missing";
	case IFACE_DOWN: return "is down";
	case IFACE_NO_CARRIER: return "has no carrier";
	case IFACE_NO_ADDRESS: return "has no address";
	}
	return "can't be used";
}
