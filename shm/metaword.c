/* metaword.c -- the words for an end; see metaword.h. */
#include "shm/metaword.h"

const struct metaword *metaword(enum lane_rc rc)
{
	static const struct {
		enum lane_rc rc;
		struct metaword word;
	} words[] = {
		{LANE_META_NONE,
		 {504, "Timeout", "timeout", "Timeout while retrieving metadata"}},
		{LANE_META_DEAD,
		 {504, "Timeout", "nobody_has_it",
		  "Nobody had the metadata of this torrent a moment ago."}},
		{LANE_META_BADFILE,
		 {400, "Invalid torrent file", "invalid_torrent",
		  "The body is not a .torrent whose metadata can be read. Send the file "
		  "as it is, e.g. curl --data-binary @FILE."}},
		{LANE_META_ODD,
		 {422, "Unreadable metadata", "unreadable_metadata",
		  "This torrent's own metadata is none that can be read, or too long."}},
		{LANE_META_DISK,
		 {503, METADATA_FAILED, "cache_full",
		  "The metadata was found, but the cache has no place for it."}},
		{LANE_LIMITED,
		 {429, "Too many requests", "limited",
		  "You asked for too many torrents that were not known "
		  "(swarm.cold_rate)."}},
		{LANE_REFUSED,
		 {503, METADATA_FAILED, "interface",
		  "The network interface that is asked for (swarm.interface) cannot be "
		  "used."}},
		{LANE_FAILED,
		 {503, METADATA_FAILED, "metadata_unavailable",
		  "The collector could not look for this torrent."}},
	};
	static const struct metaword busy =
		{503, METADATA_FAILED, "busy",
		 "Too many torrents are being looked for already."};

	for (size_t i = 0; i < PS_ARRAY_LEN(words); i++)
		if (words[i].rc == rc)
			return &words[i].word;
	return &busy;
}
