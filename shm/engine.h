/*
 * engine.h -- states of the AceStream engine that resolves content ids, as a gauge holds
 * them: the collector writes, workers name them on /health.
 */
#ifndef PEERSCOPE_SHM_ENGINE_H
#define PEERSCOPE_SHM_ENGINE_H

enum engine_state {
	ENGINE_OFF = 0,		/* acestream.engine_url is empty */
	ENGINE_UNKNOWN = 1,	/* not heard of yet */
	ENGINE_UP = 2,
	ENGINE_DOWN = 3,	/* ids are taken as they are meanwhile */
};

const char *engine_state_name(int state);

#endif
