/*
 * online.h -- states of the web service that is asked for places, as a gauge holds them:
 * the collector writes, workers name them on /health.
 */
#ifndef PEERSCOPE_SHM_ONLINE_H
#define PEERSCOPE_SHM_ONLINE_H

enum online_state {
	ONLINE_OFF = 0,		/* geo.online is off */
	ONLINE_READY = 1,
	ONLINE_LIMITED = 2,	/* it says that we ask too much: left alone for a while */
	ONLINE_DOWN = 3,	/* it fails: left alone for a while */
	ONLINE_SPENT = 4,	/* geo.online_daily is used up */
	ONLINE_UNKNOWN = 5,	/* no collector that could say */
};

const char *online_state_name(int state);

#endif
