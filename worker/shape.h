/*
 * shape.h -- what a question wants of a swarm besides its id: which peers, in which
 * order, in which form. Read from the query once, plain bytes, kept with a parked
 * request. Every value is bounded; a value that is none of the allowed ones is an error
 * that names them.
 *
 *   country=  isp=  client=            texts, case does not matter, several by comma
 *   state=  source=  protocol=         words
 *   sort=  format=  summary=
 *
 * Words of one name are alternatives, names go together: country=DE,FR&client=qbit is
 * (Germany or France) and qbit. Proof: tests/unit/test_shape.c.
 */
#ifndef PEERSCOPE_WORKER_SHAPE_H
#define PEERSCOPE_WORKER_SHAPE_H

#include "common/err.h"
#include "shm/swarmjson.h"

#define SHAPE_WORD_MAX 64		/* bytes of one text */
#define SHAPE_WORDS 48			/* texts of one question: all the EU fits */
#define SHAPE_TEXT_MAX 640		/* bytes of all of them, with a NUL each */
#define SHAPE_SORTS 3

enum shape_by { SHAPE_COUNTRY = 0, SHAPE_ISP = 1, SHAPE_CLIENT = 2, SHAPE_BYS = 3 };
enum shape_form { SHAPE_JSON = 0, SHAPE_CSV = 1, SHAPE_NDJSON = 2 };
enum shape_sort {
	SORT_STATE = 0, SORT_PROGRESS, SORT_DOWN, SORT_UP, SORT_COUNTRY, SORT_CITY,
	SORT_ISP, SORT_CLIENT, SORT_IP, SORT_FIRST_SEEN, SORT_LAST_SEEN, SORT_LAG, SORT_KEYS,
};

struct shape {
	uint8_t form;			/* enum shape_form */
	uint8_t summary;
	uint8_t states, sources, protocols;	/* masks; 0: any */
	uint8_t nsort, nword;
	struct {
		uint8_t key, down;	/* enum shape_sort; turned round */
	} sort[SHAPE_SORTS];
	struct {
		uint16_t at;		/* in text */
		uint8_t by;		/* enum shape_by */
	} word[SHAPE_WORDS];
	uint16_t text_len;
	char text[SHAPE_TEXT_MAX];	/* folded (fold.h), a NUL behind each */
};

/* One parameter of the query, decoded. 1: taken; 0: the name is none of these; -1: a
 * wrong value, with a sentence. A repeated filter adds to the first; of the others the
 * last one counts. */
PS_MUST int shape_set(struct shape *sh, const char *name, const char *value,
		      char err[ERRLEN]);
/* What no single parameter shows: 0, or -1 with a sentence. */
PS_MUST int shape_check(const struct shape *sh, char err[ERRLEN]);

/* Nothing is asked for: every peer, as the table has them, as JSON. */
int shape_is_plain(const struct shape *sh);
int shape_filters(const struct shape *sh);	/* a filter is in use */
/* Two questions that are answered alike have the same; keyed, for an ETag. */
uint64_t shape_hash(const struct shape *sh, uint64_t seed);

/* text: of the peer; not looked at unless shape_wants_text. */
int shape_match(const struct shape *sh, const struct shm_peer *peer,
		const struct swarm_text *text);
int shape_wants_text(const struct shape *sh);

#endif
