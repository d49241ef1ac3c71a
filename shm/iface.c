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
	case IFACE_BARRED: return "can't be bound to (Linux 5.7 or CAP_NET_RAW needed)";
	}
	return "can't be used";
}
