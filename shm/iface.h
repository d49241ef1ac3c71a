/*
 * iface.h -- why swarm.interface can't be used: the values of the gauge interface_why,
 * which the collector sets and workers turn into words. Never renumber.
 */
#ifndef PEERSCOPE_SHM_IFACE_H
#define PEERSCOPE_SHM_IFACE_H

enum iface_why {
	IFACE_OK = 0,			/* usable, or none is asked for */
	IFACE_MISSING = 1,		/* no device of that name */
	IFACE_DOWN = 2,			/* it is there, but not up */
	IFACE_NO_CARRIER = 3,		/* up, but nothing is at its other end */
	IFACE_NO_ADDRESS = 4,		/* up, without an address that packets could have */
	IFACE_BARRED = 5,		/* the kernel lets us bind no socket to it */
};

/* "is missing", "has no address", ...: goes behind the device's name. */
const char *iface_why_text(enum iface_why why);

#endif
